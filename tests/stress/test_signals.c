/* SPDX-License-Identifier: MIT
 *
 * Loads in signal handlers. Threads do everything to two maps, and are interrupted as often as another thread and a timer can:
 * the handler pins, loads keys that are in read, in dirty alone, and nowhere, checks them, and unpins. It must not hang
 * (SIGALRM would end the test), must see what the interrupted thread knows of its own keys, and must leave that
 * thread's own pin as it was.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker.h"

enum { WATCHDOG = 240, SECONDS_FALLBACK = 8, RIDERS = 3, OWN = 3, RING = 64 };

/* Keys of the calm map: the first STABLE are always there, the next OWN are the first rider's, and so on; from `first` of the
 * scene on all riders do anything. In the wild map all is anybody's, and clear is in the mix. */
enum { STABLE = 4, CALM_FIRST = STABLE + RIDERS * OWN, CALM_KEYS = CALM_FIRST + 6, NEVER = 999 };

/* Made before: snprintf() and its like are not for handlers. */
struct handler_key {
    syncmap_key key;
    _Alignas(8) char buffer[KEY_BUFFER];
};

struct ride;

/* What a handler may have interrupted: nothing in particular, one of the actions (+ 1), or one of these. */
enum { IN_BARRIER = DOING_BARRIER, IN_PIN, IN_NEW_AND_FREE, IN_FORK, INS };
static const char *const extra_names[] = {"barrier", "pin and unpin", "new and free", "fork"};

/* What a rider tells its handler. */
struct rider {
    struct ride *ride;
    size_t number;
    struct worker calm, wild;
    pthread_t id;
    atomic_int knows[OWN]; /* of its own keys: 1 present, 0 absent, < 0: it is just writing */
    unsigned seed;         /* of the handler */
    /* References that the handler was given: giving one up may free, so the thread does it. */
    void *ring[RING];
    atomic_uint ring_in, ring_out;
    atomic_bool riding;
    bool forks;
    atomic_uint doing;
};

struct ride {
    struct scene calm, wild;
    struct handler_key keys[CALM_KEYS + 1]; /* of both maps; the last is NEVER's */
    struct rider riders[RIDERS];
    pthread_key_t late;
    uint64_t end;
    atomic_bool over; /* nobody sends signals any more */
    atomic_ullong interrupted[INS];
};

static _Thread_local struct rider *rider_here;

/* ---- the handler ---- */

static bool ring_has_room(struct rider *r)
{
    return atomic_load(&r->ring_in) - atomic_load(&r->ring_out) < RING;
}

static void ring_put(struct rider *r, void *value)
{
    unsigned in = atomic_load(&r->ring_in);
    r->ring[in % RING] = value;
    atomic_store(&r->ring_in, in + 1);
}

static void ring_empty(struct rider *r)
{
    while (atomic_load(&r->ring_out) != atomic_load(&r->ring_in)) {
        unsigned out = atomic_load(&r->ring_out);
        value_release(r->ring[out % RING]);
        atomic_store(&r->ring_out, out + 1);
    }
}

static int handler_load(struct rider *r, const struct worker *w, uint64_t index)
{
    size_t at = index == NEVER ? CALM_KEYS : index;
    void *value = NULL;
    bool take = w->ownership != ACQUIRED || ring_has_room(r);
    int result = syncmap_load(w->map, r->ride->keys[at].key, take ? &value : NULL);
    CHECK(result == 1 || (result == 0 && value == NULL));
    item_check(w->ownership, value, index);
    if (value != NULL && w->ownership == ACQUIRED) ring_put(r, value);
    return result;
}

static void look_around(struct rider *r)
{
    r->seed = r->seed * 1103515245u + 12345u;
    unsigned random = r->seed >> 16;
    syncmap_pin();
    CHECK(handler_load(r, &r->calm, random % STABLE) == 1);
    CHECK(handler_load(r, &r->calm, NEVER) == 0);
    for (size_t i = 0; i < OWN; i++) {
        int knows = atomic_load(&r->knows[i]);
        int result = handler_load(r, &r->calm, STABLE + r->number * OWN + i);
        CHECK(knows < 0 || result == knows);
    }
    handler_load(r, &r->calm, random % CALM_KEYS);
    handler_load(r, &r->wild, random % SMALL_KEYS);
    CHECK(handler_load(r, &r->wild, NEVER) == 0);
    syncmap_unpin();
}

static void on_signal(int number)
{
    (void)number;
    int saved = errno;
    struct rider *r = rider_here;
    if (r != NULL) {
        look_around(r);
        atomic_fetch_add(&r->ride->interrupted[atomic_load(&r->doing)], 1);
    }
    errno = saved;
}

/* ---- the riders ---- */

static void set_flag(void *flag)
{
    atomic_store((atomic_bool *)flag, true);
}

/* The handlers' unpins have not unpinned this thread: what it loaded stays. */
static void check_pinned(struct rider *r)
{
    struct worker *w = &r->calm;
    uint64_t index = rng_below(&w->rng, STABLE);
    void *value = NULL, *previous = NULL;
    syncmap_pin();
    CHECK(syncmap_load(w->map, KEY(&w->scene->bed, index), &value) == 1);
    CHECK(syncmap_swap(w->map, KEY(&w->scene->bed, index), item_make(w->ownership, index, 1), &previous) == 1);
    item_check(w->ownership, previous, index);
    previous_done(w->ownership, previous);
    for (int i = 0; i < 20; i++) CHECK(syncmap_retire(value_make(0), value_release) == 0);
    item_check(w->ownership, value, index);
    handed_done(w->ownership, value);
    syncmap_unpin();
}

/* Nor have their pins stayed: a barrier under a pin does nothing. */
static void check_unpinned(void)
{
    atomic_bool released = false;
    CHECK(syncmap_retire(&released, set_flag) == 0);
    syncmap_barrier();
    CHECK(atomic_load(&released));
}

/* A map of its own. Handlers do not know of it, but of the list of all maps, which a fork locks. */
static void pass_through(void)
{
    FOR_EACH_ENGINE(engine) {
        syncmap *m = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = engine});
        CHECK(m != NULL);
        CHECK(syncmap_store(m, syncmap_u64(1), NULL) == 0);
        syncmap_free(m);
    }
}

/* The same again and again, so that each is interrupted often, however short or rare it is. */
static void dwell(struct rider *r, unsigned what)
{
    struct worker *w = &r->wild;
    bool pinned = rng_below(&w->rng, 4) != 0;
    if (what <= ACTIONS && pinned) syncmap_pin();
    w->pinned = what <= ACTIONS && pinned;
    begin_doing(w, what);
    unsigned times = what == IN_PIN || what == ACTIONS /* len */ ? 1000 : 24;
    for (unsigned i = 0; i < times; i++) {
        if (what <= ACTIONS)
            actions[what - 1].act(w, rng_below(&w->rng, SMALL_KEYS));
        else if (what == IN_PIN)
            syncmap_pin(), syncmap_pin(), syncmap_unpin(), syncmap_unpin();
        else if (what == IN_NEW_AND_FREE && i % 8 == 0)
            pass_through();
        else if (what == IN_BARRIER && i == 0)
            check_unpinned();
    }
    end_doing(w, 0);
    let_go(w);
    if (w->pinned) syncmap_unpin();
    w->pinned = false;
}

/* Takes a key of its own in or out, and lets the handler know when it is sure of it. */
static void write_own(struct rider *r)
{
    struct worker *w = &r->calm;
    size_t i = rng_below(&w->rng, OWN);
    uint64_t index = STABLE + r->number * OWN + i;
    int present = atomic_load(&r->knows[i]);
    atomic_store(&r->knows[i], -1);
    if (present == 0 || rng_below(&w->rng, 2) == 0) {
        CHECK(syncmap_store(w->map, KEY(&w->scene->bed, index), item_make(w->ownership, index, 2)) == present);
        present = 1;
    } else {
        CHECK(syncmap_delete(w->map, KEY(&w->scene->bed, index)) == 1);
        present = 0;
    }
    atomic_store(&r->knows[i], present);
}

/* A signal in the middle of a fork is a signal like any other; the child's own keys are as its thread left them. */
static void fork_once(struct rider *r)
{
    begin_doing(&r->calm, IN_FORK);
    pid_t child = fork();
    end_doing(&r->calm, 0);
    int status;
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        for (int i = 0; i < 8; i++) look_around(r);
        child_exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void ride_on(void *context)
{
    struct rider *r = context;
    worker_init(&r->calm, &r->ride->calm);
    worker_init(&r->wild, &r->ride->wild);
    r->calm.doing = r->wild.doing = &r->doing;
    r->id = pthread_self();
    syncmap_pin(); /* from now on handlers may load */
    syncmap_unpin();
    rider_here = r;
    atomic_store(&r->riding, true);
    for (uint64_t turn = 0; now_us() < r->ride->end; turn++) {
        for (int i = 0; i < 10; i++) write_own(r);
        live_a_while(&r->calm);
        live_a_while(&r->wild);
        check_pinned(r);
        dwell(r, 1 + (unsigned)(turn % (IN_FORK - 1)));
        ring_empty(r);
        if (r->forks && turn % 4 == 0) fork_once(r);
        ring_empty(r);
    }
    while (!atomic_load(&r->ride->over)) sleep_us(200); /* it is there as long as it may be signalled */
    CHECK(pthread_setspecific(r->ride->late, r) == 0);
}

/* The end of a rider, and of what the library has of it: one last handler, then none. */
static void late_signal(void *context)
{
    struct rider *r = context;
    raise(SIGUSR1);
    rider_here = NULL;
    ring_empty(r);
}

/* ---- the ride ---- */

/* Who waits in a barrier sleeps, and would take all the signals: he gets few. */
static bool is_worth_it(struct rider *r, struct rng *rng)
{
    return atomic_load(&r->riding) && (atomic_load(&r->doing) != IN_BARRIER || rng_below(rng, 64) == 0);
}

static void send_signals(void *context)
{
    struct ride *ride = context;
    struct rng rng = rng_make(test_seed(), 2000000);
    while (now_us() < ride->end) {
        for (size_t i = 0; i < RIDERS; i++)
            if (is_worth_it(&ride->riders[i], &rng)) CHECK(pthread_kill(ride->riders[i].id, SIGUSR1) == 0);
        for (uint64_t turns = rng_below(&rng, 10000); turns > 0; turns--) atomic_signal_fence(memory_order_seq_cst);
    }
}

static void set_timer(suseconds_t us)
{
    struct itimerval timer = {.it_interval.tv_usec = us, .it_value.tv_usec = us};
    CHECK(setitimer(ITIMER_PROF, &timer, NULL) == 0);
}

static void ride_open(struct ride *ride, const struct config *config, enum ownership ownership)
{
    memset(ride, 0, sizeof *ride);
    bed_open(&ride->calm.bed, config, ownership);
    bed_open(&ride->wild.bed, config, ownership);
    ride->calm.first = CALM_FIRST;
    ride->calm.keys = CALM_KEYS;
    ride->wild.keys = SMALL_KEYS;
    ride->wild.clears = true;
    for (uint64_t i = 0; i <= CALM_KEYS; i++)
        ride->keys[i].key = config_key(config, i < CALM_KEYS ? i : NEVER, ride->keys[i].buffer);
    for (uint64_t i = 0; i < STABLE; i++)
        CHECK(syncmap_store(ride->calm.bed.map, ride->keys[i].key, item_make(ownership, i, 0)) == 0);
    CHECK(pthread_key_create(&ride->late, late_signal) == 0);
}

static void ride_close(struct ride *ride)
{
    CHECK(pthread_key_delete(ride->late) == 0);
    syncmap_free(ride->wild.bed.map);
    bed_close(&ride->calm.bed);
    CHECK(atomic_load(&ride->wild.bed.counting.live_blocks) == 0);
}

static unsigned long long all_interrupted[INS];

static void ride_for(const struct config *config, enum ownership ownership, uint64_t us, bool forks)
{
    static struct ride ride;
    struct thread threads[RIDERS], sender;
    ride_open(&ride, config, ownership);
    ride.end = now_us() + us;
    for (size_t i = 0; i < RIDERS; i++) {
        struct rider *r = &ride.riders[i];
        r->ride = &ride;
        r->number = i;
        r->seed = (unsigned)(test_seed() + i);
        r->forks = forks && i == 0;
        thread_start(&threads[i], ride_on, r);
    }
    set_timer(1000);
    thread_start(&sender, send_signals, &ride);
    thread_join(&sender);
    set_timer(0);
    atomic_store(&ride.over, true);
    for (size_t i = 0; i < RIDERS; i++) thread_join(&threads[i]);
    for (size_t i = 0; i < INS; i++) all_interrupted[i] += ride.interrupted[i];
    ride_close(&ride);
}

static uint64_t us_each;

static void ride_plainly(const struct config *config, enum ownership ownership)
{
    ride_for(config, ownership, us_each, false);
}

static void begin(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    /* One handler at a time: the ring of references is not made for a handler within a handler. */
    sigaddset(&action.sa_mask, SIGUSR1);
    sigaddset(&action.sa_mask, SIGPROF);
    crash_plainly();
    test_seed();
    alarm(WATCHDOG);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sigaction(SIGPROF, &action, NULL) == 0);
    memset(all_interrupted, 0, sizeof all_interrupted);
}

static void end(void)
{
    unsigned long long all = 0;
    for (size_t i = 0; i < INS; i++) all += all_interrupted[i];
    printf("%llu handlers of %d loads, in", all, OWN + 5);
    for (size_t i = 1; i < INS; i++)
        printf(" %s %llu,", i <= ACTIONS ? actions[i - 1].name : extra_names[i - IN_BARRIER], all_interrupted[i]);
    printf(" between %llu\n", all_interrupted[0]);
    CHECK(all > 0);
    alarm(0);
}

static void test_handlers(void **state)
{
    (void)state;
    begin();
    us_each = share_us(80, SECONDS_FALLBACK) / (test_config_count * OWNERSHIPS);
    for_each_ownership(ride_plainly);
    end();
}

static void test_handlers_in_fork(void **state)
{
    (void)state;
    begin();
    us_each = share_us(20, SECONDS_FALLBACK) / test_config_count;
    for (size_t i = 0; i < test_config_count; i++)
        ride_for(&test_configs[i], (enum ownership)(i % OWNERSHIPS), us_each, true);
    end();
}

int main(void)
{
    keep_crash_handlers();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handlers),
        cmocka_unit_test(test_handlers_in_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
