/* SPDX-License-Identifier: MIT
 *
 * The scheduler: threads, steps, locks, store buffers, and the loop that explores. See scheduler.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/scheduler_parts.h"

enum { STEPS_MAX = 100000, TOLD_STEPS = 400, BUFFER_MAX = 64, SLEEPS_MAX = 10000 };

enum state { READY, BLOCKED, SLEEPING, DONE };

/* What a step looks at or changes; no object: nothing that others could. */
struct access {
    const volatile void *object;
    size_t size;
    bool writes;
};

/* A store that waits. */
struct waiting {
    volatile void *object;
    unsigned char value[8];
    size_t size;
    const struct model_site *site;
    uint64_t since; /* the number of the step after it */
    bool first;     /* nothing waited when it came */
};

struct model_thread {
    struct coroutine coroutine;
    enum state state;
    const void *waits_for; /* BLOCKED: a mutex, or a condition */
    unsigned slept;    /* SLEEPING: since which sleep of the run */
    struct waiting buffer[BUFFER_MAX];
    unsigned waiting;
    struct access last; /* of its last step */
    bool fixed;         /* that step cannot change places with what others do next, see AS GOOD AS ANOTHER */
};

/* A step that was made: of a run's record, and one line of what a failure tells. */
struct told {
    const struct model_site *site;
    struct access access;
    const char *note;
    unsigned char thread;
};

static struct {
    const struct model_scene *scene;
    struct model_limits limits;
    struct model_thread threads[MODEL_THREADS];
    unsigned self;
    bool exploring; /* steps are choices */
    bool quiet;     /* they would be, but for model_quiet() */
    bool telling;   /* each step is printed */
    bool left_early;
    uint64_t steps; /* of this run */
    unsigned sleeps;
    uint64_t run;
    struct told told[STEPS_MAX + 1];
    void *local;
    size_t local_size;
    char *start_local; /* as the process began */
} s = {.self = MODEL_MAIN};

unsigned model_self(void)
{
    return s.self;
}


/* ---- failures ---- */

static void tell(const struct told *t, uint64_t number)
{
    const char *slash = strrchr(t->site->file, '/'), *what = t->site->what;
    const char *nested = strstr(what, "__extension__"); /* an operation within an operation: its own line says the rest */
    fprintf(stderr, "%6llu  %*s%u  %s:%d  %.*s%s\n", (unsigned long long)number, 4 * t->thread, "", t->thread,
            slash ? slash + 1 : t->site->file, t->site->line, (int)(nested ? nested - what : (long)strlen(what)), what, t->note);
}

static void note(const struct model_site *site, unsigned thread, const char *text, struct access access)
{
    struct told *t = &s.told[s.steps < STEPS_MAX ? s.steps : STEPS_MAX];
    *t = (struct told){site, access, text, (unsigned char)thread};
    if (s.telling) tell(t, s.steps);
    if (++s.steps >= STEPS_MAX) model_fail("so many steps: this does not end");
}

static void report(const char *why)
{
    fflush(stdout);
    fprintf(stderr, "\nFAILED: %s\nscenario: %s; run %llu; thread %u\n", why, s.scene ? s.scene->name : "none",
            (unsigned long long)s.run, s.self);
    uint64_t first = s.steps > TOLD_STEPS ? s.steps - TOLD_STEPS : 0;
    for (uint64_t i = first; i < s.steps && !s.telling; i++) tell(&s.told[i], i);
    fprintf(stderr, "FAILED: %s\nto repeat: REPLAY='", why);
    choices_print();
    fprintf(stderr, "' SCENARIO='%s'\n", s.scene ? s.scene->name : "none");
}

_Noreturn void model_fail(const char *why)
{
    signal(SIGABRT, SIG_DFL);
    report(why);
    _exit(1);
}

static void crashed(int number)
{
    signal(number, SIG_DFL);
    report(number == SIGABRT ? "a check (above)" : "a crash");
    _exit(1);
}

/* ---- threads ---- */

void model_thread_local(void *variables, size_t size)
{
    s.local = variables;
    s.local_size = size;
    if ((s.start_local = malloc(size)) == NULL) abort();
    memcpy(s.start_local, variables, size);
}

static void switch_to(unsigned next)
{
    struct model_thread *from = &s.threads[s.self], *to = &s.threads[next];
    if (to->state == SLEEPING) to->state = READY;
    s.self = next;
    coroutine_switch(&from->coroutine, &to->coroutine);
}

/* The others that can run; how many. */
static unsigned others(unsigned char list[MODEL_THREADS])
{
    unsigned count = 0;
    for (unsigned i = 0; i < s.scene->threads; i++)
        if (i != s.self && (s.threads[i].state == READY || s.threads[i].state == SLEEPING)) list[count++] = (unsigned char)i;
    return count;
}

/* The running thread cannot go on: another must. */
static void leave(const struct model_site *site)
{
    unsigned char list[MODEL_THREADS];
    unsigned count = others(list);
    if (count == 0) model_fail("deadlock: each thread waits");
    switch_to(list[choose(count, false, site)]);
}

/* ---- as good as another ---- */

static bool leaves_early(void)
{
    return s.exploring && !s.limits.all && choices_exhaustive();
}

/* The running thread's way here is another run's, too, from its last but `kept` choices on: this run ends here, and so do all that
 * begin with these choices. Does not return. */
static void leave_early(unsigned kept)
{
    s.left_early = true;
    choices_keep(kept);
    switch_to(MODEL_MAIN);
    abort();
}

static bool conflict(const struct access *a, const struct access *b)
{
    uintptr_t from_a = (uintptr_t)a->object, from_b = (uintptr_t)b->object;
    return (a->writes || b->writes) && from_a < from_b + b->size && from_b < from_a + a->size;
}

/* Whether no step since number `from`, but `thread`'s own, minds when that access takes place. */
static bool nobody_minds(const struct access *access, unsigned thread, uint64_t from)
{
    for (uint64_t i = from; i < s.steps; i++)
        if (s.told[i].thread != thread && conflict(&s.told[i].access, access)) return false;
    return true;
}

/* Whether `thread` has, since number `from`, no store that reached memory. */
static bool nothing_arrived(unsigned thread, uint64_t from)
{
    for (uint64_t i = from; i < s.steps; i++)
        if (s.told[i].thread == thread) return false;
    return true;
}

void model_event(void)
{
    s.threads[s.self].fixed = true;
}

void model_freed(const void *memory, size_t size)
{
    static const struct model_site site = {__FILE__, __LINE__, "memory is freed"};
    model_event();
    if (s.exploring) note(&site, s.self, "", (struct access){memory, size, true});
}

/* ---- store buffers ---- */

static struct access access_of(const struct waiting *w)
{
    return (struct access){w->object, w->size, true};
}

static void commit_oldest(struct model_thread *t)
{
    struct waiting *w = &t->buffer[0];
    struct access access = access_of(w);
    unsigned number = (unsigned)(t - s.threads);
    if (w->first && leaves_early() && nobody_minds(&access, number, w->since)) leave_early(choices_made());
    note(w->site, number, " ... reaches memory", access);
    model_alive(w->object, w->size);
    memcpy((void *)(uintptr_t)w->object, w->value, w->size);
    t->waiting--;
    memmove(w, w + 1, t->waiting * sizeof *w);
}

static void drain(struct model_thread *t)
{
    while (t->waiting > 0) commit_oldest(t);
}

bool model_forward(const volatile void *object, void *value, size_t size)
{
    const struct model_thread *t = &s.threads[s.self];
    for (unsigned i = t->waiting; i-- > 0;)
        if (t->buffer[i].object == object) {
            memcpy(value, t->buffer[i].value, size);
            return true;
        }
    return false;
}

static bool is_local(const volatile void *object)
{
    return (uintptr_t)object - (uintptr_t)s.local < s.local_size;
}

bool model_delay(volatile void *object, const void *value, size_t size, const struct model_site *site)
{
    struct model_thread *t = &s.threads[s.self];
    if (!s.exploring || !s.limits.delays || is_local(object)) return false;
    if (t->waiting == 0 && choose(2, true, site) == 0) return false;
    if (t->waiting == BUFFER_MAX) drain(t);
    bool first = t->waiting == 0;
    struct waiting *w = &t->buffer[t->waiting++];
    *w = (struct waiting){.object = object, .size = size, .site = site, .since = s.steps, .first = first};
    memcpy(w->value, value, size);
    s.told[s.steps - 1].note = " ... waits in the store buffer";
    return true;
}

void model_membarrier(const struct model_site *site)
{
    model_step(MODEL_MEMBARRIER, NULL, 0, true, site);
    for (unsigned i = 0; i < s.scene->threads; i++) drain(&s.threads[i]);
}

/* ---- steps ---- */

/* Before a step: go on, let a buffer's oldest store reach memory, or let another thread run. Whether others have run. */
static bool choose_next(const struct model_site *site)
{
    struct model_thread *self = &s.threads[s.self];
    bool early = leaves_early() && !self->fixed;
    uint64_t from = s.steps;
    for (;;) {
        unsigned char list[2 * MODEL_THREADS];
        unsigned count = others(list), threads = count;
        bool waiting = false;
        for (unsigned i = 0; i < s.scene->threads; i++) {
            if (s.threads[i].waiting == 0) continue;
            waiting = true;
            struct access store = access_of(&s.threads[i].buffer[0]);
            if (early && s.steps == from && &s.threads[i] != self && !conflict(&self->last, &store)) continue;
            list[count++] = (unsigned char)i;
        }
        unsigned taken = choose(1 + count, true, site);
        if (taken == 0) return false;
        if (taken <= threads) {
            unsigned choices = choices_made(), cost = choices_cost(), me = s.self;
            switch_to(list[taken - 1]);
            if (early && nobody_minds(&self->last, me, from) && nothing_arrived(me, from)) {
                bool all = s.scene->threads == 2 && !waiting && choices_cost() == cost;
                leave_early(all ? choices : choices_made());
            }
            return true;
        }
        commit_oldest(&s.threads[list[taken - 1]]);
    }
}

void model_step(enum model_access access, const volatile void *object, size_t size, bool drains, const struct model_site *site)
{
    if (!s.exploring || is_local(object)) {
        if (object == NULL || is_local(object) || s.scene == NULL) return;
        if (s.quiet) note(site, s.self, " (a check)", (struct access){object, size, access != MODEL_LOAD});
        model_alive(object, size);
        return;
    }
    struct model_thread *self = &s.threads[s.self];
    bool resumed = choose_next(site), drained = drains && self->waiting > 0;
    if (drains) drain(self);
    self->last = (struct access){object, size, access != MODEL_LOAD};
    bool simple = access == MODEL_LOAD || access == MODEL_STORE || access == MODEL_RMW || access == MODEL_TOUCH;
    self->fixed = resumed || drained || !simple;
    note(site, s.self, "", self->last);
    if (object != NULL) model_alive(object, size);
}

void model_quiet(bool quiet)
{
    if (!s.exploring && !s.quiet) return;
    model_event();
    s.exploring = !quiet;
    s.quiet = quiet;
}

/* ---- mutexes, with the number of the owner, from 1, in the first word; and conditions ---- */

static void wake(const void *waits_for, unsigned most)
{
    for (unsigned i = 0; i < MODEL_THREADS && most > 0; i++)
        if (s.threads[i].state == BLOCKED && s.threads[i].waits_for == waits_for) {
            s.threads[i].state = READY;
            most--;
        }
}

static unsigned *owner_of(void *mutex)
{
    return mutex;
}

int model_mutex_init(void *mutex)
{
    *owner_of(mutex) = 0;
    return 0;
}

int model_mutex_lock(void *mutex, const struct model_site *site)
{
    model_step(MODEL_LOCK, mutex, sizeof(unsigned), true, site);
    while (*owner_of(mutex) != 0) {
        if (!s.exploring) model_fail("main would wait for a mutex for ever");
        if (*owner_of(mutex) == s.self + 1) model_fail("a thread locks a mutex that it has");
        s.threads[s.self].state = BLOCKED;
        s.threads[s.self].waits_for = mutex;
        leave(site);
        model_alive(mutex, sizeof(unsigned));
    }
    *owner_of(mutex) = s.self + 1;
    return 0;
}

int model_mutex_trylock(void *mutex, const struct model_site *site)
{
    model_step(MODEL_TRYLOCK, mutex, sizeof(unsigned), true, site);
    if (*owner_of(mutex) != 0) return EBUSY;
    *owner_of(mutex) = s.self + 1;
    return 0;
}

int model_mutex_unlock(void *mutex, const struct model_site *site)
{
    model_step(MODEL_UNLOCK, mutex, sizeof(unsigned), true, site);
    if (*owner_of(mutex) != s.self + 1) model_fail("a thread unlocks a mutex that it does not have");
    *owner_of(mutex) = 0;
    wake(mutex, MODEL_THREADS);
    return 0;
}

int model_cond_wait(void *cond, void *mutex, const struct model_site *site)
{
    model_mutex_unlock(mutex, site);
    s.threads[s.self].state = BLOCKED;
    s.threads[s.self].waits_for = cond;
    leave(site);
    return model_mutex_lock(mutex, site);
}

int model_cond_wake(void *cond, bool all, const struct model_site *site)
{
    model_step(MODEL_WAKE, cond, 1, true, site);
    wake(cond, all ? MODEL_THREADS : 1);
    return 0;
}

/* Who sleeps waits for others: for one that does not sleep, if there is one, else for the one that has slept longest. */
void model_sleep(const struct model_site *site)
{
    unsigned char list[MODEL_THREADS], ready = 0;
    if (++s.sleeps > SLEEPS_MAX) model_fail("a thread waits for ever");
    model_step(MODEL_SLEEP, NULL, 0, true, site);
    unsigned count = s.exploring ? others(list) : 0;
    if (count == 0) return;
    unsigned char oldest = list[0];
    for (unsigned i = 0; i < count; i++) {
        const struct model_thread *t = &s.threads[list[i]];
        if (t->state == READY) list[ready++] = list[i];
        else if (s.threads[oldest].state == READY || t->slept < s.threads[oldest].slept) oldest = list[i];
    }
    s.threads[s.self].state = SLEEPING;
    s.threads[s.self].slept = s.sleeps;
    switch_to(ready > 0 ? list[choose(ready, false, site)] : oldest);
}

/* ---- a run ---- */

static const struct model_site start_site = {"start", 0, "begins"}, end_site = {"end", 0, "is done"};

/* A thread's life: warmed up by main's turn, then explored from its first choice to its end. */
static void thread_main(void)
{
    struct model_thread *t = &s.threads[s.self];
    coroutine_arrived(&t->coroutine);
    if (s.scene->warm != NULL) s.scene->warm(s.self);
    switch_to(MODEL_MAIN);
    note(&start_site, s.self, "", (struct access){0});
    model_event();
    s.scene->run(s.self);
    if (s.scene->exit != NULL) s.scene->exit(s.self);
    drain(t);
    note(&end_site, s.self, "", (struct access){0});
    t->state = DONE;
    for (unsigned i = 0; i < s.scene->threads; i++)
        if (s.threads[i].state != DONE) leave(&end_site);
    switch_to(MODEL_MAIN);
    abort();
}

static void run_once(void)
{
    const struct model_scene *scene = s.scene;
    s.self = MODEL_MAIN;
    s.exploring = false;
    s.steps = 0;
    s.sleeps = 0;
    s.left_early = false;
    memory_reset();
    for (unsigned i = 0; i < MODEL_THREADS; i++) {
        s.threads[i].state = i < scene->threads ? READY : DONE;
        s.threads[i].waiting = 0;
    }
    memcpy(s.local, s.start_local, s.local_size);
    scene->reset();
    scene->before();
    for (unsigned i = 0; i < scene->threads; i++) {
        coroutine_start(&s.threads[i].coroutine, thread_main);
        switch_to(i);
    }
    s.exploring = true;
    switch_to(choose(scene->threads, false, &start_site));
    s.exploring = false;
    if (!s.left_early) scene->after();
    s.run++;
}

static void begin(const struct model_scene *scene, const struct model_limits *limits)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) signal(signals[i], crashed);
    s.scene = scene;
    s.limits = *limits;
    s.run = 0;
}

static void account(struct model_result *result)
{
    result->steps += s.steps;
    if (s.steps > result->longest) result->longest = (unsigned)s.steps;
}

struct model_result model_explore(const struct model_scene *scene, const struct model_limits *limits)
{
    struct model_result result = {0};
    begin(scene, limits);
    choices_forget();
    for (bool more = true; more && (limits->runs == 0 || result.runs < limits->runs);) {
        choices_begin(EXHAUSTIVE, limits, 0, NULL);
        run_once();
        account(&result);
        result.runs++;
        result.left_early += s.left_early;
        if (!s.left_early && limits->seen != NULL) limits->seen();
        more = choices_advance();
        result.complete = !more;
    }
    for (; result.random < limits->random; result.random++) {
        choices_begin(RANDOM, limits, result.random + 1, NULL);
        run_once();
        account(&result);
    }
    return result;
}

void model_replay(const struct model_scene *scene, const struct model_limits *limits, const char *choices)
{
    begin(scene, limits);
    s.telling = true;
    choices_begin(REPLAY, limits, 0, choices);
    run_once();
    s.telling = false;
}
