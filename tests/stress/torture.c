/* SPDX-License-Identifier: MIT
 *
 * Torture: SECONDS= of THREADS= threads that come and go and do everything, at random by SEED=, to several maps of all
 * kinds, which are replaced by others meanwhile. White box, to see the epochs and to count the rare steps.
 *
 * Checked as it goes: each result as far as it can be known (worker.h, owner.h), how old is what pinned readers see (age.h), that
 * nothing of a map is left after its end and a barrier (plot.h); and, by the main thread, that grace periods go on,
 * that garbage is bounded, and that syncmap_len() is about right. A watchdog ends what hangs, and says what it was.
 * At the end nothing is live; one line says how much was done.
 *
 * Who may wait for whom: a thread that is pinned waits for no gate; who has a gate to himself calls no barrier.
 */
#include "syncmap.c"

#define thread harness_thread /* the library has a struct of that name, too */
#include "plot.h"
#undef thread

enum {
    PLACES = 8,        /* maps at a time */
    ELEMENT_PLACES = 8, /* elements outside of maps */
    KEPT = 48,
    STALL_RESTS = 400,
    STALL_US = SANITIZED ? 10000000 : 3000000,
    HANG_SECONDS = SANITIZED ? 60 : 30
};
static const size_t GARBAGE_MAX = (size_t)64 << 20; /* twenty times what was ever seen: what grows for ever gets there */

/* A map, and the gate that a thread is inside of while it uses it: alone to replace it. */
struct place {
    pthread_rwlock_t gate;
    struct plot *plot;
};

/* A thread after another, and what is known of the one that lives. */
struct seat {
    pthread_t id;
    _Atomic(const char *) at; /* NULL: nothing that could hang */
    atomic_int place;
    atomic_uint doing; /* of worker.h */
    atomic_ullong operations, rests;
};

static struct {
    struct place places[PLACES];
    _Atomic(struct element *) elements[ELEMENT_PLACES];
    struct seat seats[MAX_THREADS + 1]; /* the last in use is the main thread's */
    size_t threads;
    uint64_t seconds, start, end;
    pthread_mutex_t graves_mutex;
    struct plot *graves;
    atomic_bool over;
    atomic_ullong maps, lives, cleared, retired, barriers, in_place, ages[2];
    size_t most_garbage;
} torture = {.graves_mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- one thread ---- */

struct life {
    struct seat *seat;
    struct rng rng;
    unsigned pins;         /* round several turns */
    uint64_t pinned_turns; /* until they end */
    struct tally tally;
    size_t kept_count, sight_count;
    struct {
        enum ownership ownership;
        void *value;
        uint64_t index;
    } kept[KEPT]; /* what was loaded under these pins */
    struct sight sights[KEPT];
};

static bool chance(struct life *l, uint64_t n)
{
    return rng_below(&l->rng, n) == 0;
}

static void done_one(struct life *l)
{
    atomic_fetch_add_explicit(&l->seat->operations, 1, memory_order_relaxed);
}

static void say(struct life *l, const char *at, int place)
{
    atomic_store_explicit(&l->seat->place, place, memory_order_relaxed);
    atomic_store_explicit(&l->seat->at, at, memory_order_relaxed);
}

/* Every other quarter of a second pins are few and short: then grace periods are short, too, and what should be pinned and
 * is not has no other pin to hide behind. */
static bool in_haste(void)
{
    return now_us() >> 18 & 1;
}

static void dally(struct life *l)
{
    if (chance(l, 4)) sched_yield();
    if (chance(l, 256)) sleep_us(10 + rng_below(&l->rng, 300));
}

/* Looks at what was found, and again after a while; under longer pins also at their end. */
static void look(struct life *l, struct sight sight)
{
    sight_check(&l->tally, sight);
    dally(l);
    sight_check(&l->tally, sight);
    if (l->pins > 0 && l->sight_count < KEPT) l->sights[l->sight_count++] = sight;
}

static void keep(struct life *l, struct worker *w)
{
    uint64_t index = rng_below(&l->rng, w->scene->keys);
    void *value = NULL;
    if (l->pins == 0 || l->kept_count == KEPT) return;
    CHECK(syncmap_load(w->map, KEY(&w->scene->bed, index), &value) >= 0);
    l->kept[l->kept_count].ownership = w->ownership;
    l->kept[l->kept_count].value = value;
    l->kept[l->kept_count++].index = index;
}

/* The maps that they came from may have ended. */
static void let_go_of_all(struct life *l)
{
    for (size_t i = 0; i < l->kept_count; i++) {
        item_check(l->kept[i].ownership, l->kept[i].value, l->kept[i].index);
        handed_done(l->kept[i].ownership, l->kept[i].value);
    }
    for (size_t i = 0; i < l->sight_count; i++) sight_check(&l->tally, l->sights[i]);
    l->kept_count = l->sight_count = 0;
}

static void pin_some(struct life *l, unsigned pins)
{
    for (unsigned i = 0; i < pins; i++) syncmap_pin();
    l->pins = pins;
}

static void unpin_all(struct life *l)
{
    let_go_of_all(l);
    while (l->pins > 0) {
        syncmap_unpin();
        l->pins--;
    }
}

/* ---- what a thread does on one map ---- */

static void play_anything(struct life *l, struct plot *plot)
{
    struct worker w;
    worker_init(&w, &plot->scene);
    w.doing = &l->seat->doing;
    bool haste = in_haste();
    unsigned pins = rng_below(&l->rng, 4) < (haste ? 3 : 1) ? 0 : 1 + chance(l, 8);
    for (unsigned i = 0; i < pins; i++) syncmap_pin();
    w.pinned = pins + l->pins > 0;
    for (uint64_t left = 1 + rng_below(&l->rng, haste && pins > 0 ? 8 : 40); left > 0; left--) {
        act_at_random(&w);
        done_one(l);
    }
    linger(&w);
    let_go(&w);
    for (unsigned i = 0; i < pins; i++) syncmap_unpin();
    keep(l, &w);
}

static void play_owner(struct life *l, struct plot *plot, size_t number)
{
    struct owner o = {.number = number, .known = plot->seats[number].known};
    worker_init(&o.w, &plot->scene);
    syncmap_pin();
    o.w.pinned = true;
    for (uint64_t left = 1 + rng_below(&l->rng, 40); left > 0; left--) {
        own_step(&o);
        done_one(l);
    }
    linger(&o.w);
    let_go(&o.w);
    syncmap_unpin();
}

struct ages_player {
    struct player player;
    struct life *life;
};

static void player_sees(struct player *player, struct sight sight)
{
    look(container_of(player, struct ages_player, player)->life, sight);
}

static void play_ages(struct life *l, struct plot *plot)
{
    struct ages_player p = {{.plot = plot, .rng = &l->rng, .see = player_sees}, l};
    syncmap_pin();
    for (uint64_t left = 1 + rng_below(&l->rng, in_haste() ? 4 : 30); left > 0; left--) {
        ages_act(&p.player);
        done_one(l);
    }
    syncmap_unpin();
}

static void play(struct life *l, struct plot *plot)
{
    bool free = false;
    size_t number = rng_below(&l->rng, SEATS);
    if (plot->game == GAME_AGES) {
        play_ages(l, plot);
    } else if (plot->scene.first > 0 && chance(l, 2) &&
               atomic_compare_exchange_strong(&plot->seats[number].taken, &free, true)) {
        play_owner(l, plot, number);
        atomic_store(&plot->seats[number].taken, false);
    } else {
        play_anything(l, plot);
    }
}

/* Most meet on one map, for a second; the others are on any. */
static struct place *enter(struct life *l)
{
    int number = (int)(chance(l, 3) ? rng_below(&l->rng, PLACES) : (now_us() >> 20) % PLACES);
    struct place *p = &torture.places[number];
    say(l, "at a map's gate", number);
    if (l->pins > 0 ? pthread_rwlock_tryrdlock(&p->gate) != 0 : pthread_rwlock_rdlock(&p->gate) != 0) return NULL;
    static const char *const playing[GAMES] = {"playing with clears", "playing on many keys", "playing balanced",
                                               "playing with elements"};
    say(l, playing[p->plot->game], number);
    return p;
}

static void visit_a_map(struct life *l)
{
    struct place *p = enter(l);
    if (p == NULL) return;
    play(l, p->plot);
    CHECK(pthread_rwlock_unlock(&p->gate) == 0);
}

/* ---- what else it does ---- */

static void play_outside(struct life *l)
{
    say(l, "on elements outside of maps", -1);
    syncmap_pin();
    for (uint64_t left = 1 + rng_below(&l->rng, in_haste() ? 4 : 20); left > 0; left--) {
        uint64_t index = rng_below(&l->rng, ELEMENT_PLACES);
        if (chance(l, 3)) {
            element_retire(atomic_exchange(&torture.elements[index], element_make(index)));
            atomic_fetch_add_explicit(&torture.retired, 1, memory_order_relaxed);
        } else {
            uint64_t first = epoch_now();
            look(l, (struct sight){atomic_load(&torture.elements[index]), index, first});
        }
        done_one(l);
    }
    syncmap_unpin();
}

static void bury(struct plot *plot)
{
    pthread_mutex_lock(&torture.graves_mutex);
    atomic_fetch_add(&torture.cleared, atomic_load(&plot->scene.cleared));
    plot->next = torture.graves;
    torture.graves = plot;
    pthread_mutex_unlock(&torture.graves_mutex);
}

/* A map for another. Pinned, only if nobody has it: see the top. */
static void replace(struct life *l)
{
    int number = (int)rng_below(&l->rng, PLACES);
    struct place *p = &torture.places[number];
    say(l, "replacing a map", number);
    if (l->pins > 0 ? pthread_rwlock_trywrlock(&p->gate) != 0 : pthread_rwlock_wrlock(&p->gate) != 0) return;
    bury(plot_end(p->plot));
    p->plot = plot_new(&l->rng);
    CHECK(pthread_rwlock_unlock(&p->gate) == 0);
    atomic_fetch_add(&torture.maps, 1);
    done_one(l);
}

/* Nothing is left of the maps that have ended. Not pinned. */
static void wait_and_dig(struct life *l)
{
    say(l, "in a barrier", -1);
    pthread_mutex_lock(&torture.graves_mutex);
    struct plot *plot = torture.graves;
    torture.graves = NULL;
    pthread_mutex_unlock(&torture.graves_mutex);
    atomic_store(&l->seat->doing, DOING_BARRIER);
    syncmap_barrier();
    atomic_store(&l->seat->doing, 0);
    atomic_fetch_add(&torture.barriers, 1);
    for (struct plot *next; plot != NULL; plot = next) {
        next = plot->next;
        plot_is_gone(plot);
    }
    done_one(l);
}

static void turn(struct life *l)
{
    if (l->pins == 0 && chance(l, 4) && !in_haste()) {
        pin_some(l, 1 + (unsigned)rng_below(&l->rng, 3));
        l->pinned_turns = 1 + rng_below(&l->rng, 8);
    }
    uint64_t what = rng_below(&l->rng, 128);
    if (what == 0)
        replace(l);
    else if (what < 3 && l->pins == 0)
        wait_and_dig(l);
    else if (what < 20)
        play_outside(l);
    else
        visit_a_map(l);
    if (l->pins > 0 && --l->pinned_turns == 0) unpin_all(l);
    if (l->pins == 0) atomic_fetch_add_explicit(&l->seat->rests, 1, memory_order_relaxed);
}

/* ---- how it begins and ends ---- */

/* The one thing that a thread does with the library. */
static void brief_life(struct life *l)
{
    struct place *p = enter(l);
    struct bed *bed = &p->plot->scene.bed;
    uint64_t what = rng_below(&l->rng, 5);
    if (what == 0)
        CHECK(syncmap_load(bed->map, KEY(bed, 0), NULL) >= 0);
    else if (what == 1)
        CHECK(syncmap_len(bed->map) <= SIZE_MAX / 2);
    else if (what == 2)
        syncmap_pin();
    else if (what == 3)
        syncmap_unpin();
    else
        CHECK(syncmap_retire(value_make(0), value_release) == 0);
    CHECK(pthread_rwlock_unlock(&p->gate) == 0);
    done_one(l);
}

struct last_visit {
    struct place *place;
    enum ownership ownership;
};

static bool visit_and_die(syncmap_key key, void *value, void *context)
{
    struct last_visit *visit = context;
    (void)key;
    if (visit->place->plot->game != GAME_AGES) handed_done(visit->ownership, value);
    CHECK(pthread_rwlock_unlock(&visit->place->gate) == 0); /* it is out of the map's hands */
    pthread_exit(NULL);
}

/* In one of eight lives: in the middle of a range. */
static void leave(struct life *l)
{
    let_go_of_all(l); /* but mostly with its pins, and its garbage */
    atomic_fetch_add(&torture.in_place, l->tally.in_place);
    for (size_t i = 0; i < 2; i++) atomic_fetch_add(&torture.ages[i], l->tally.age[i]);
    uint64_t how = rng_below(&l->rng, 8);
    if (how == 0) {
        struct last_visit visit = {.place = enter(l)};
        if (visit.place == NULL) return;
        visit.ownership = visit.place->plot->scene.bed.ownership;
        CHECK(syncmap_range(visit.place->plot->scene.bed.map, visit_and_die, &visit) == 1); /* it is empty */
        CHECK(pthread_rwlock_unlock(&visit.place->gate) == 0);
    } else if (how < 4) {
        pin_some(l, 1 + (unsigned)how);
        CHECK(syncmap_retire(value_make(0), value_release) == 0);
    } else if (how < 6) {
        unpin_all(l);
    }
}

static void *life(void *argument)
{
    struct life l = {.seat = argument};
    l.rng = rng_make(test_seed(), 2 + atomic_fetch_add(&torture.lives, 1));
    atomic_store(&l.seat->doing, 0);
    if (chance(&l, 8)) {
        brief_life(&l);
    } else {
        uint64_t turns = 1 + rng_below(&l.rng, chance(&l, 16) ? 4000 : 100);
        while (turns-- > 0 && now_us() < torture.end) turn(&l);
    }
    leave(&l);
    return NULL;
}

static void *sit(void *argument)
{
    struct seat *seat = argument;
    while (now_us() < torture.end) {
        pthread_t id;
        CHECK(pthread_create(&id, NULL, life, seat) == 0);
        CHECK(pthread_join(id, NULL) == 0);
        atomic_store(&seat->place, -1);
        atomic_fetch_add(&seat->rests, 1);
    }
    atomic_store(&seat->at, NULL);
    return NULL;
}

/* ---- what is watched ---- */

static void print_seats(void)
{
    for (size_t i = 0; i <= torture.threads; i++) {
        struct seat *seat = &torture.seats[i];
        unsigned doing = atomic_load(&seat->doing);
        const char *at = atomic_load(&seat->at);
        fprintf(stderr, "  thread %zu: %s, map %d, action %s, %llu operations\n", i, at != NULL ? at : "gone",
                atomic_load(&seat->place), doing == 0 ? "-" : doing <= ACTIONS ? actions[doing - 1].name : "barrier",
                atomic_load(&seat->operations));
    }
    fprintf(stderr, "  epoch %" PRIu64 ", pinned:", epoch_now());
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) {
        uint64_t epoch = ld_acquire(&t->epoch);
        if (epoch != 0) fprintf(stderr, " record %u%s at %" PRIu64, t->index, t->in_use ? "" : " (nobody's)", epoch);
    }
    fprintf(stderr, "\n");
}

static _Noreturn void failed(const char *what)
{
    fprintf(stderr, "torture: %s, after %.1f s (SEED=%" PRIu64 ")\n", what, (double)(now_us() - torture.start) / 1e6,
            test_seed());
    print_seats();
    fflush(NULL);
    abort();
}

/* Calls nothing of the library but what reads an atomic: whatever hangs, this does not. */
static void *watchdog(void *argument)
{
    static uint64_t seen[MAX_THREADS + 1], since[MAX_THREADS + 1];
    (void)argument;
    while (!atomic_load(&torture.over)) {
        sleep_us(50000);
        uint64_t now = now_us();
        for (size_t i = 0; i <= torture.threads; i++) {
            struct seat *seat = &torture.seats[i];
            uint64_t operations = atomic_load(&seat->operations);
            if (operations != seen[i] || since[i] == 0 || atomic_load(&seat->at) == NULL) since[i] = now;
            seen[i] = operations;
            if (now - since[i] > (uint64_t)HANG_SECONDS * 1000000) failed("a thread hangs");
        }
    }
    return NULL;
}

/* Grace periods go on: once each thread has been unpinned since the last step, nothing holds off the next, and what each does
 * in so many turns after that is garbage enough for many passes. Who is in a barrier is unpinned, and makes passes. */
static void check_steps(void)
{
    static uint64_t last, since, rests[MAX_THREADS];
    uint64_t epoch = epoch_now(), now = now_us();
    bool stalled = epoch == last, waited = now - since > STALL_US;
    CHECK(epoch >= last);
    if (epoch != last) since = now;
    for (size_t i = 0; i < torture.threads; i++) {
        struct seat *seat = &torture.seats[i];
        bool in_barrier = atomic_load(&seat->doing) == DOING_BARRIER;
        uint64_t rested = atomic_load(&seat->rests);
        if (epoch != last) rests[i] = rested;
        stalled = stalled && (rested - rests[i] > STALL_RESTS || (in_barrier && waited));
    }
    last = epoch;
    if (stalled) failed("a stall: nobody stays pinned, and the epoch does not move");
}

/* As the library counts it, in bytes: what was retired and is not yet given out to be released. */
static void check_garbage(void)
{
    size_t garbage = 0;
    if (pthread_mutex_trylock(&collector.mutex) != 0) return;
    for (size_t i = 0; i < 3; i++) garbage += collector.limbo[i].bytes;
    garbage += collector.untagged.bytes + (ld_relaxed(&thread_shared.retired_bytes) - thread_shared.stolen_bytes);
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next)
        garbage += ld_relaxed(&t->retired_bytes) - t->stolen_bytes;
    pthread_mutex_unlock(&collector.mutex);
    if (garbage > torture.most_garbage) torture.most_garbage = garbage;
    if (garbage > GARBAGE_MAX) failed("garbage grows without bound");
}

/* Each thread may be in the middle of a few operations, one in the visit of another. */
static void check_lens(void)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &torture.places[i];
        if (pthread_rwlock_tryrdlock(&p->gate) != 0) continue;
        size_t len = syncmap_len(p->plot->scene.bed.map), off = 4 * torture.threads;
        CHECK(len <= p->plot->scene.keys + off);
        CHECK(len + off >= (p->plot->scene.first > 0 ? STABLE : 0));
        CHECK(pthread_rwlock_unlock(&p->gate) == 0);
    }
}

static void watch(struct seat *self)
{
    bool terminal = isatty(STDOUT_FILENO);
    for (unsigned tick = 0; now_us() < torture.end; tick++) {
        sleep_us(5000);
        check_steps();
        check_garbage();
        if (tick % 8 == 0) check_lens();
        atomic_fetch_add(&self->operations, 1);
        if (terminal && tick % 200 == 0)
            printf("\r%3.0f s: epoch %" PRIu64 ", %llu maps, %llu threads ", (double)(now_us() - torture.start) / 1e6,
                   epoch_now(), atomic_load(&torture.maps), atomic_load(&torture.lives));
        if (terminal) fflush(stdout);
    }
    if (terminal) printf("\r%*s\r", 70, "");
}

/* ---- from start to end ---- */

static void begin(void)
{
    pthread_rwlockattr_t patient; /* so that who wants to replace a map is let in between those who use it */
    struct rng rng = rng_make(test_seed(), 0);
    CHECK(pthread_rwlockattr_init(&patient) == 0);
    CHECK(pthread_rwlockattr_setkind_np(&patient, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    for (size_t i = 0; i < PLACES; i++) {
        CHECK(pthread_rwlock_init(&torture.places[i].gate, &patient) == 0);
        torture.places[i].plot = plot_new(&rng);
    }
    atomic_store(&torture.maps, PLACES);
    for (size_t i = 0; i < ELEMENT_PLACES; i++) atomic_store(&torture.elements[i], element_make(i));
    for (size_t i = 0; i <= MAX_THREADS; i++) atomic_store(&torture.seats[i].place, -1);
    torture.start = now_us();
    torture.end = torture.start + torture.seconds * 1000000;
}

static void end(struct life *l)
{
    for (size_t i = 0; i < PLACES; i++) bury(plot_end(torture.places[i].plot));
    for (size_t i = 0; i < ELEMENT_PLACES; i++) element_retire(atomic_exchange(&torture.elements[i], NULL));
    wait_and_dig(l);
    quarantine_empty();
    if (values_live() == 0 && custom_keys_live() == 0 && atomic_load(&elements_live) == 0) return;
    fprintf(stderr, "live: %lld values, %lld custom keys, %lld elements\n", values_live(), custom_keys_live(),
            atomic_load(&elements_live));
    failed("something is left at the end");
}

/* 12,345,678: good for a dozen at a time. */
static const char *grouped(unsigned long long number)
{
    static char texts[16][32];
    static unsigned next;
    char *at = texts[next++ % 16] + 31;
    *at = '\0';
    for (unsigned digits = 0; digits == 0 || number > 0; digits++, number /= 10) {
        if (digits > 0 && digits % 3 == 0) *--at = ',';
        *--at = (char)('0' + number % 10);
    }
    return at;
}

static void summary(void)
{
    unsigned long long operations = 0;
    for (size_t i = 0; i < torture.threads; i++) operations += atomic_load(&torture.seats[i].operations);
    printf("torture: %" PRIu64 " s, %zu threads, seed %" PRIu64 ": %s operations, %s maps, %s threads, %s clears, %s barriers, ",
           torture.seconds, torture.threads, test_seed(), grouped(operations), grouped(torture.maps), grouped(torture.lives),
           grouped(torture.cleared), grouped(torture.barriers));
    printf("%s promotions, %s builds, %s growths, %s expunged, %s revived, ", grouped(debug_counts.promotions),
           grouped(debug_counts.builds), grouped(debug_counts.growths), grouped(debug_counts.expunged),
           grouped(debug_counts.revived));
    printf("%s grace periods in %s passes, most garbage %.1f MB, ages in place: %s 0: %s 1: %s 2+: 0\n", grouped(epoch_now()),
           grouped(debug_counts.passes), (double)torture.most_garbage / 1e6, grouped(torture.in_place),
           grouped(torture.ages[0]), grouped(torture.ages[1]));
}

/* torture [SECONDS]: how long if the environment does not say. */
int main(int argc, char **argv)
{
    uint64_t threads = test_env("THREADS", 4), fallback = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    pthread_t dog;
    torture.seconds = test_env("SECONDS", fallback > 0 ? fallback : 5);
    torture.threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    struct life main_life = {.seat = &torture.seats[torture.threads], .rng = rng_make(test_seed(), 1)};
    harness_note("torture");
    begin();
    CHECK(pthread_create(&dog, NULL, watchdog, NULL) == 0);
    say(&main_life, "watching", -1);
    for (size_t i = 0; i < torture.threads; i++)
        CHECK(pthread_create(&torture.seats[i].id, NULL, sit, &torture.seats[i]) == 0);
    watch(main_life.seat);
    say(&main_life, "waiting for the threads", -1);
    for (size_t i = 0; i < torture.threads; i++) CHECK(pthread_join(torture.seats[i].id, NULL) == 0);
    end(&main_life);
    atomic_store(&torture.over, true);
    CHECK(pthread_join(dog, NULL) == 0);
    summary();
    return 0;
}
