/* SPDX-License-Identifier: MIT
 *
 * Two threads do a few operations at the same moment, a million times: outcomes that no order of whole operations explains
 * must never show. Above all the store buffer:
 *
 *     side 0: store A, load B          side 1: store B, load A          not both may miss the other's store
 *
 * with each key in each place where read/dirty can have it, and with an atomic of the caller's for B; and once more over each engine, with as little else between two
 * rounds as can be, for a million rounds each. Prints how often each outcome was seen, so that one can tell
 * that the two did meet; the control, which does the same to two relaxed atomics, should show what is forbidden
 * to the map.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "stress.h"

enum {
    SECONDS_FALLBACK = 18,
    ROUNDS_FALLBACK = 1700000, /* of all litmus tests of `tests` together, where there is time */
    STEADY_SECONDS_FALLBACK = 40,
    STEADY_ROUNDS_FALLBACK = 1000000, /* of each of `steady_tests` and each engine, likewise */
    MAPS = 8, /* that those are shared among: in one of four that are new, flat has the two keys in one bucket */
    FIRST_ORDERED = 10,
    ORDERED = 24,
    FIRST_FILLER = 100, /* above: keys that only make of the tables what a round needs */
    FILLERS = 3
};

/* Where a key is before a round. */
enum place {
    ABSENT,
    IN_READ,       /* and in dirty, if there is one */
    IN_DIRTY,      /* only */
    DELETED_FIRST, /* its entry is in read; if there is a dirty, it was built after the delete: expunged */
    DELETED_LATER, /* its entry is in read, and in dirty if there is one */
    ANYWHERE
};

struct duel;

/* Outcomes are 2 * saw[0] + saw[1]; sets of them are bits. */
enum { NEITHER = 1, SECOND_ONLY = 2, FIRST_ONLY = 4, BOTH = 8 };

struct litmus {
    const char *name;
    void (*act)(struct duel *duel, int side);
    unsigned forbidden;
    unsigned weight;
    enum place place[2];
    bool amended; /* there is a dirty */
    void (*arrange)(struct duel *duel);
    void (*check)(struct duel *duel); /* more to check after a round, or NULL */
};

struct duel {
    struct bed bed;
    const struct litmus *litmus;
    struct rng rng[2];
    unsigned long long rounds;
    uint64_t end; /* by now_us() */
    /* What side 0 sets before a round. */
    unsigned long long round;
    bool over;
    int handicap;    /* so much longer side 0 waits before it acts; negative: side 1 */
    bool mirrored;   /* the places of the two keys are exchanged */
    bool present[2]; /* each side's key, before the round */
    void *old[2], *fresh[2];
    uint64_t target;
    /* What comes of the round. */
    int saw[2];
    int replaced[ORDERED];
    int rank[2]; /* who finished first */
    uint64_t letter; /* no atomic: the map's order protects it */
    unsigned long long outcomes[4];
    /* Where the two meet. */
    alignas(64) atomic_ullong arrived[2];
    alignas(64) atomic_int finished;
    alignas(64) atomic_ullong progress;
    alignas(64) atomic_ullong control[2];
    alignas(64) atomic_ullong atomic; /* as a caller may have one */
};

/* ---- the places of the keys ---- */

static uint64_t key_of(int side)
{
    return (uint64_t)side;
}

static bool visit_nothing(syncmap_key key, void *value, void *context)
{
    (void)key, (void)value, (void)context;
    return false;
}

/* A range begins with a promotion. */
static void promote(struct duel *d)
{
    CHECK(syncmap_range(d->bed.map, visit_nothing, NULL) >= 0);
}

static void put(struct duel *d, uint64_t index, void *value)
{
    CHECK(syncmap_store(d->bed.map, KEY(&d->bed, index), value) == 0);
}

static void put_fillers(struct duel *d, uint64_t first)
{
    for (uint64_t i = 0; i < FILLERS; i++) put(d, first + i, NULL);
}

/* Builds the map of a round from nothing. */
static void arrange_places(struct duel *d)
{
    enum place place[2];
    bool in_read[2];
    for (int side = 0; side < 2; side++) {
        place[side] = d->litmus->place[side ^ d->mirrored];
        if (place[side] == ANYWHERE) place[side] = (enum place)rng_below(&d->rng[0], ANYWHERE);
        in_read[side] = place[side] != ABSENT && place[side] != IN_DIRTY;
        d->present[side] = place[side] == IN_READ || place[side] == IN_DIRTY;
    }
    CHECK(syncmap_clear(d->bed.map) == 0);
    for (int side = 0; side < 2; side++)
        if (in_read[side]) put(d, key_of(side), d->old[side]);
    if (in_read[0] || in_read[1] || rng_below(&d->rng[0], 2) == 0) {
        put_fillers(d, FIRST_FILLER);
        promote(d);
    }
    for (int side = 0; side < 2; side++)
        if (place[side] == DELETED_FIRST) bed_delete(&d->bed, key_of(side), 1);
    /* The first new key after a promotion builds dirty, and expunges what is deleted. */
    if (d->litmus->amended) put_fillers(d, FIRST_FILLER + FILLERS);
    for (int side = 0; side < 2; side++) {
        if (place[side] == IN_DIRTY) put(d, key_of(side), d->old[side]);
        if (place[side] == DELETED_LATER) bed_delete(&d->bed, key_of(side), 1);
    }
}

/* As arrange_places; but what two stores leave behind is already what the next round wants: more rounds fit in. */
static void arrange_steady(struct duel *d)
{
    if (d->round > 1 && rng_below(&d->rng[0], 64) != 0)
        memcpy(d->old, d->fresh, sizeof d->old);
    else
        arrange_places(d);
}

/* The same for rounds that begin without the keys, and end with them: */
static void arrange_deleted(struct duel *d)
{
    if (d->round == 1 || rng_below(&d->rng[0], 64) == 0)
        arrange_places(d);
    else
        for (int side = 0; side < 2; side++) bed_delete(&d->bed, key_of(side), 1);
}

/* and for the reverse. */
static void arrange_stored(struct duel *d)
{
    if (d->round == 1 || rng_below(&d->rng[0], 64) == 0)
        arrange_places(d);
    else
        for (int side = 0; side < 2; side++) put(d, key_of(side), d->old[side]);
}

/* The ordered keys, some of them in read, the others in dirty alone. */
static void arrange_ordered(struct duel *d)
{
    CHECK(syncmap_clear(d->bed.map) == 0);
    uint64_t promoted = rng_below(&d->rng[0], ORDERED + 1);
    for (uint64_t i = 0; i < ORDERED; i++) {
        if (i == promoted) promote(d);
        put(d, FIRST_ORDERED + i, NULL);
    }
}

static void prepare(struct duel *d)
{
    d->mirrored = rng_below(&d->rng[0], 2);
    d->target = rng_below(&d->rng[0], ORDERED);
    atomic_store_explicit(&d->progress, 0, memory_order_relaxed);
    if (d->litmus->arrange != arrange_steady || d->round == 1)
        for (int side = 0; side < 2; side++) d->old[side] = word_make((uint64_t)side, 0);
    if (d->litmus->arrange) d->litmus->arrange(d);
    for (int side = 0; side < 2; side++) d->fresh[side] = word_make((uint64_t)side, d->round);
}

/* ---- what the two do ---- */

/* Gives side `whose`'s key its fresh value, by any of the operations that can. */
static void write_key(struct duel *d, struct rng *rng, int whose)
{
    syncmap_key key = KEY(&d->bed, key_of(whose));
    bool present = d->present[whose];
    void *previous = NULL;
    switch (rng_below(rng, 3)) {
    case 0:
        CHECK(syncmap_store(d->bed.map, key, d->fresh[whose]) == present);
        break;
    case 1:
        CHECK(syncmap_swap(d->bed.map, key, d->fresh[whose], &previous) == present);
        CHECK(previous == (present ? d->old[whose] : NULL));
        break;
    default:
        if (present)
            CHECK(syncmap_compare_and_swap(d->bed.map, key, d->old[whose], d->fresh[whose]) == 1);
        else
            CHECK(syncmap_load_or_store(d->bed.map, key, d->fresh[whose], NULL) == 0);
    }
}

/* Whether side `whose`'s key has its fresh value; else it must be as it was. */
static int sees_write(struct duel *d, int whose)
{
    void *value = NULL;
    int result = syncmap_load(d->bed.map, KEY(&d->bed, key_of(whose)), &value);
    if (result == 1 && value == d->fresh[whose]) return 1;
    CHECK(result == d->present[whose]);
    CHECK(value == (result ? d->old[whose] : NULL));
    return 0;
}

static void store_load(struct duel *d, int side)
{
    write_key(d, &d->rng[side], side);
    d->saw[side] = sees_write(d, !side);
}

/* The same with an atomic of the caller's in place of the second key. */
static void store_atomic(struct duel *d, int side)
{
    if (side == 0) {
        write_key(d, &d->rng[0], 0);
        d->saw[0] = atomic_load(&d->atomic) == d->round;
    } else {
        atomic_store(&d->atomic, d->round);
        d->saw[1] = sees_write(d, 0);
    }
}

static void delete_load(struct duel *d, int side)
{
    syncmap_key key = KEY(&d->bed, key_of(side));
    void *previous = d->old[side];
    switch (rng_below(&d->rng[side], 3)) {
    case 0:
        CHECK(syncmap_delete(d->bed.map, key) == 1);
        break;
    case 1:
        CHECK(syncmap_load_and_delete(d->bed.map, key, &previous) == 1);
        CHECK(previous == d->old[side]);
        break;
    default:
        CHECK(syncmap_compare_and_delete(d->bed.map, key, d->old[side]) == 1);
    }
    d->saw[side] = !syncmap_load(d->bed.map, KEY(&d->bed, key_of(!side)), NULL);
}

/* Side 0: data, then flag. Side 1: flag, then data. saw: flag, data. */
static void message(struct duel *d, int side)
{
    if (side == 0) {
        d->letter = d->round;
        write_key(d, &d->rng[0], 0);
        write_key(d, &d->rng[0], 1);
        return;
    }
    d->saw[0] = sees_write(d, 1);
    if (d->saw[0]) CHECK(d->letter == d->round);
    d->saw[1] = sees_write(d, 0);
}

/* Side 1 loads twice what side 0 writes. saw: the first load, the second. */
static void load_twice(struct duel *d, int side)
{
    if (side == 0) {
        write_key(d, &d->rng[0], 0);
        return;
    }
    d->saw[0] = sees_write(d, 0);
    d->saw[1] = sees_write(d, 0);
}

/* Both want the same key; saw: who got it. */
static void both_delete(struct duel *d, int side)
{
    void *previous = NULL;
    d->saw[side] = syncmap_load_and_delete(d->bed.map, KEY(&d->bed, key_of(0)), &previous);
    CHECK(previous == (d->saw[side] ? d->old[0] : NULL));
}

static void both_insert(struct duel *d, int side)
{
    void *actual = NULL;
    d->saw[side] = !syncmap_load_or_store(d->bed.map, KEY(&d->bed, key_of(0)), d->fresh[side], &actual);
    CHECK(actual == d->fresh[d->saw[side] ? side : !side]);
}

static void both_swap(struct duel *d, int side)
{
    syncmap_key key = KEY(&d->bed, key_of(0));
    if (side == 0)
        d->saw[0] = syncmap_compare_and_swap(d->bed.map, key, d->old[0], d->fresh[0]);
    else
        d->saw[1] = syncmap_compare_and_delete(d->bed.map, key, d->old[0]);
}

/* Side 0 clears, then loads side 1's key; side 1 stores that, then loads side 0's. If side 1 still sees a key of
 * before the clear, its store came before too, and side 0 cannot see it. replaced[1]: what side 1's store returned. */
static void clear_load(struct duel *d, int side)
{
    syncmap_key own = KEY(&d->bed, key_of(1)), other = KEY(&d->bed, key_of(0));
    void *value = NULL;
    if (side == 0) {
        CHECK(syncmap_clear(d->bed.map) == 0);
        d->saw[0] = syncmap_load(d->bed.map, own, &value);
        CHECK(value == (d->saw[0] ? d->fresh[1] : NULL));
    } else {
        d->replaced[1] = syncmap_store(d->bed.map, own, d->fresh[1]);
        d->saw[1] = syncmap_load(d->bed.map, other, &value);
        CHECK(value == (d->saw[1] ? d->old[0] : NULL));
    }
}

static void check_clear_load(struct duel *d)
{
    int left = syncmap_load(d->bed.map, KEY(&d->bed, key_of(1)), NULL);
    if (d->saw[0]) CHECK(left == 1);
    if (d->saw[1]) CHECK(left == 0);
    if (d->present[1]) CHECK(left == !d->replaced[1]);
    CHECK(syncmap_load(d->bed.map, KEY(&d->bed, key_of(0)), NULL) == 0);
    CHECK(syncmap_len(d->bed.map) == (size_t)left);
}

static void spin(uint64_t turns)
{
    while (turns-- > 0) atomic_signal_fence(memory_order_seq_cst);
}

/* Side 0 stores all keys once more, in order; side 1 clears somewhere in the middle. */
static void clear_between(struct duel *d, int side)
{
    if (side == 1) {
        for (int i = 0; atomic_load_explicit(&d->progress, memory_order_relaxed) < d->target; i++)
            if (i > 1000) sched_yield();
        CHECK(syncmap_clear(d->bed.map) == 0);
        return;
    }
    for (uint64_t i = 0; i < ORDERED; i++) {
        atomic_store_explicit(&d->progress, i, memory_order_relaxed);
        spin(rng_below(&d->rng[0], 100)); /* a clear takes as long as many stores */
        d->replaced[i] = syncmap_store(d->bed.map, KEY(&d->bed, FIRST_ORDERED + i), NULL);
    }
}

/* What was stored before the clear replaced a value and is gone; what was stored after it did not, and is there. saw: some
 * of each. */
static void check_clear_between(struct duel *d)
{
    size_t left = 0;
    for (uint64_t i = 0; i < ORDERED; i++) {
        int present = syncmap_load(d->bed.map, KEY(&d->bed, FIRST_ORDERED + i), NULL);
        CHECK(present == !d->replaced[i]);
        CHECK(i == 0 || d->replaced[i] <= d->replaced[i - 1]);
        left += (size_t)present;
    }
    CHECK(syncmap_len(d->bed.map) == left);
    d->saw[0] = left < ORDERED;
    d->saw[1] = left > 0;
}

static void control(struct duel *d, int side)
{
    atomic_store_explicit(&d->control[side], d->round, memory_order_relaxed);
    d->saw[side] = atomic_load_explicit(&d->control[!side], memory_order_relaxed) == d->round;
}

static const struct litmus tests[] = {
    {"store, load: read/read", store_load, NEITHER, 24, {IN_READ, IN_READ}, false, arrange_steady, NULL},
    {"store, load: read/read, a dirty", store_load, NEITHER, 8, {IN_READ, IN_READ}, true, arrange_steady, NULL},
    {"store, load: dirty/dirty", store_load, NEITHER, 4, {IN_DIRTY, IN_DIRTY}, true, arrange_places, NULL},
    {"store, load: read/dirty", store_load, NEITHER, 4, {IN_READ, IN_DIRTY}, true, arrange_places, NULL},
    {"store, load: new/new", store_load, NEITHER, 6, {ABSENT, ABSENT}, false, arrange_places, NULL},
    {"store, load: new/new, a dirty", store_load, NEITHER, 6, {ABSENT, ABSENT}, true, arrange_places, NULL},
    {"store, load: read/new", store_load, NEITHER, 10, {IN_READ, ABSENT}, false, arrange_places, NULL},
    {"store, load: read/new, a dirty", store_load, NEITHER, 6, {IN_READ, ABSENT}, true, arrange_places, NULL},
    {"store, load: deleted/deleted", store_load, NEITHER, 4, {DELETED_FIRST, DELETED_FIRST}, false, arrange_places, NULL},
    {"store, load: deleted/new", store_load, NEITHER, 6, {DELETED_FIRST, ABSENT}, false, arrange_places, NULL},
    {"store, load: expunged/expunged", store_load, NEITHER, 4, {DELETED_FIRST, DELETED_FIRST}, true, arrange_places, NULL},
    {"store, load: expunged/read", store_load, NEITHER, 4, {DELETED_FIRST, IN_READ}, true, arrange_places, NULL},
    {"store, load: any/any, a dirty", store_load, NEITHER, 4, {ANYWHERE, ANYWHERE}, true, arrange_places, NULL},
    {"store, an atomic: read", store_atomic, NEITHER, 6, {IN_READ, ABSENT}, false, arrange_places, NULL},
    {"store, an atomic: any, a dirty", store_atomic, NEITHER, 6, {ANYWHERE, ABSENT}, true, arrange_places, NULL},
    {"delete, load: read/read", delete_load, NEITHER, 4, {IN_READ, IN_READ}, false, arrange_places, NULL},
    {"delete, load: read/dirty", delete_load, NEITHER, 3, {IN_READ, IN_DIRTY}, true, arrange_places, NULL},
    {"clear, load; store, load: read", clear_load, BOTH, 4, {IN_READ, ANYWHERE}, false, arrange_places, check_clear_load},
    {"clear, load; store, load: dirty", clear_load, BOTH, 4, {IN_DIRTY, ANYWHERE}, true, arrange_places, check_clear_load},
    {"clear between two stores", clear_between, 0, 3, {ABSENT, ABSENT}, false, arrange_ordered, check_clear_between},
    {"data, flag; flag, data: read/read", message, FIRST_ONLY, 8, {IN_READ, IN_READ}, false, arrange_steady, NULL},
    {"data, flag; flag, data: any/any", message, FIRST_ONLY, 4, {ANYWHERE, ANYWHERE}, false, arrange_places, NULL},
    {"data, flag; flag, data: any/any, a dirty", message, FIRST_ONLY, 4, {ANYWHERE, ANYWHERE}, true, arrange_places, NULL},
    {"store; load, load: any", load_twice, FIRST_ONLY, 4, {ANYWHERE, ANYWHERE}, true, arrange_places, NULL},
    {"both delete one: read", both_delete, NEITHER | BOTH, 3, {IN_READ, IN_READ}, false, arrange_places, NULL},
    {"both delete one: dirty", both_delete, NEITHER | BOTH, 3, {IN_DIRTY, IN_DIRTY}, true, arrange_places, NULL},
    {"both insert one: new", both_insert, NEITHER | BOTH, 3, {ABSENT, ABSENT}, true, arrange_places, NULL},
    {"both insert one: deleted", both_insert, NEITHER | BOTH, 3, {DELETED_LATER, DELETED_FIRST}, true, arrange_places, NULL},
    {"swap or delete one: read", both_swap, NEITHER | BOTH, 3, {IN_READ, IN_READ}, true, arrange_places, NULL},
    {"swap or delete one: dirty", both_swap, NEITHER | BOTH, 3, {IN_DIRTY, IN_DIRTY}, true, arrange_places, NULL},
};
enum { TESTS = sizeof tests / sizeof tests[0] };

static const struct litmus steady_tests[] = {
    {"store, load: present", store_load, NEITHER, 1, {IN_READ, IN_READ}, false, arrange_steady, NULL},
    {"store, load: new", store_load, NEITHER, 1, {ABSENT, ABSENT}, false, arrange_deleted, NULL},
    {"delete, load", delete_load, NEITHER, 1, {IN_READ, IN_READ}, false, arrange_stored, NULL},
    {"store, an atomic: present", store_atomic, NEITHER, 1, {IN_READ, IN_READ}, false, arrange_steady, NULL},
};
enum { STEADY_TESTS = sizeof steady_tests / sizeof steady_tests[0] };

/* Whoever has no hardware to show it on wants to know that the rounds of the others prove little. */
static const struct litmus the_control = {"control: relaxed atomics", control, 0, 24, {ABSENT, ABSENT}, false, NULL, NULL};

/* ---- the duel ---- */

static void meet(struct duel *d, int side, unsigned long long time)
{
    atomic_store_explicit(&d->arrived[side], time, memory_order_release);
    for (int i = 0; atomic_load_explicit(&d->arrived[!side], memory_order_acquire) < time; i++)
        if (i > 20000) sched_yield(); /* the other is not running */
}

/* The two on one processor would hardly ever meet. Failing to be alone is fine. */
static void move_apart(int side)
{
    cpu_set_t allowed, mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
    for (int cpu = 0, found = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || found++ != side) continue;
        CPU_SET(cpu, &mine);
        (void)sched_setaffinity(0, sizeof mine, &mine);
        return;
    }
}

/* The later one to a meeting leaves it first. The handicap makes up for that, and for what one side has more to do: it follows
 * who finishes first. On top of it a little while of 0 to about 100 ns, so that each instruction of one side
 * meets each of the other. */
static void stagger(struct duel *d, int side)
{
    int handicap = side == 0 ? d->handicap : -d->handicap;
    uint64_t turns = rng_below(&d->rng[side], rng_below(&d->rng[side], 4) == 0 ? 200 : 20);
    spin(turns + (handicap > 0 ? (uint64_t)handicap : 0));
}

static void adjust_handicap(struct duel *d)
{
    enum { MOST = 4000, STEP = 3 };
    d->handicap += d->rank[0] < d->rank[1] ? STEP : -STEP;
    if (d->handicap > MOST || d->handicap < -MOST) d->handicap = 0;
}

static void duel_side(size_t number, void *context)
{
    struct duel *d = context;
    int side = (int)number;
    move_apart(side);
    for (unsigned long long time = 1;; time += 2) {
        if (side == 0) {
            d->over = d->round == d->rounds || (d->round % 64 == 0 && now_us() > d->end);
            d->round++;
            if (!d->over) prepare(d);
        }
        meet(d, side, time);
        if (d->over) return;
        stagger(d, side);
        d->litmus->act(d, side);
        d->rank[side] = atomic_fetch_add_explicit(&d->finished, 1, memory_order_relaxed);
        meet(d, side, time + 1);
        if (side == 0) {
            adjust_handicap(d);
            if (d->litmus->check) d->litmus->check(d);
            d->outcomes[2 * d->saw[0] + d->saw[1]]++;
        }
    }
}

static bool first_of_engine(const struct config *config)
{
    return config == &test_configs[0] || config[-1].engine != config->engine;
}

/* What part of all rounds and all time a litmus gets in a configuration: the fastest map of each engine gets most. */
static double share(const struct litmus *litmus, const struct config *config)
{
    const unsigned first = 15;
    unsigned weights = 0, configs = 0;
    for (size_t i = 0; i < TESTS; i++) weights += tests[i].weight;
    for (size_t i = 0; i < test_config_count; i++) configs += first_of_engine(&test_configs[i]) ? first : 1;
    return (double)litmus->weight / weights * (first_of_engine(config) ? first : 1) / configs;
}

static void duel(const struct litmus *litmus, const struct config *config, double rounds, double us,
                 unsigned long long outcomes[4])
{
    static struct duel d;
    static uint64_t streams;
    memset(&d, 0, sizeof d);
    bed_open(&d.bed, config, PLAIN);
    d.litmus = litmus;
    for (int side = 0; side < 2; side++)
        d.rng[side] = rng_make(test_seed(), streams++);
    d.rounds = 1 + (unsigned long long)rounds;
    d.end = now_us() + (uint64_t)us;
    threads_run(2, duel_side, &d);
    for (int i = 0; i < 4; i++) {
        outcomes[i] += d.outcomes[i];
        if (d.outcomes[i] == 0 || !(litmus->forbidden >> i & 1)) continue;
        fprintf(stderr, "%s, %s: saw (%d,%d) %llu times in %llu rounds\n", litmus->name, config->name, i / 2, i % 2,
                d.outcomes[i], d.round - 1);
        CHECK(!"no forbidden outcome");
    }
    bed_close(&d.bed);
}

static void duel_shared(const struct litmus *litmus, const struct config *config, unsigned long long outcomes[4])
{
    double part = share(litmus, config);
    duel(litmus, config, part * (double)test_env("ROUNDS", ROUNDS_FALLBACK / TEST_SCALE),
         part * (double)share_us(100, SECONDS_FALLBACK), outcomes);
}

static void print_heading(void)
{
    printf("%-42s %9s %9s %9s %9s\n", "what was seen by side 0, side 1:", "0,0", "0,1", "1,0", "1,1");
}

static unsigned long long print_outcomes(const struct litmus *litmus, const char *engine, const unsigned long long outcomes[4])
{
    printf("%s%-*s", engine, 42 - (int)strlen(engine), litmus->name);
    for (int i = 0; i < 4; i++) {
        if (litmus->forbidden >> i & 1)
            printf(" %9s", "never");
        else
            printf(" %9llu", outcomes[i]);
    }
    printf("\n");
    return outcomes[0] + outcomes[1] + outcomes[2] + outcomes[3];
}

static void test_litmus(void **state)
{
    (void)state;
    crash_plainly();
    unsigned long long rounds = 0, seen[4] = {0};
    test_seed();
    print_heading();
    for (size_t i = 0; i < TESTS; i++) {
        unsigned long long outcomes[4] = {0};
        for (size_t j = 0; j < test_config_count; j++) duel_shared(&tests[i], &test_configs[j], outcomes);
        rounds += print_outcomes(&tests[i], "", outcomes);
    }
    duel_shared(&the_control, &test_configs[0], seen);
    print_outcomes(&the_control, "", seen);
    printf("%llu rounds\n", rounds);
    if (seen[0] == 0) printf("warning: the control never saw 0,0: on this machine, at this time, the above proves little\n");
}

/* The promise across keys, of each engine. */
static void test_steady(void **state)
{
    (void)state;
    crash_plainly();
    double rounds = (double)test_env("ROUNDS", STEADY_ROUNDS_FALLBACK / TEST_SCALE) / MAPS;
    double us = (double)share_us(100, STEADY_SECONDS_FALLBACK) / (2 * STEADY_TESTS * MAPS);
    test_seed();
    print_heading();
    for (size_t j = 0; j < test_config_count; j++) {
        if (!first_of_engine(&test_configs[j])) continue;
        for (size_t i = 0; i < STEADY_TESTS; i++) {
            char engine[32];
            unsigned long long outcomes[4] = {0};
            for (int map = 0; map < MAPS; map++) duel(&steady_tests[i], &test_configs[j], rounds, us, outcomes);
            snprintf(engine, sizeof engine, "%s: ", test_configs[j].name);
            unsigned long long done = print_outcomes(&steady_tests[i], engine, outcomes);
            if (done < (unsigned long long)rounds * MAPS) printf("(%llu rounds, for want of time)\n", done);
        }
    }
}

int main(void)
{
    keep_crash_handlers();
    const struct CMUnitTest group[] = {
        cmocka_unit_test(test_litmus),
        cmocka_unit_test(test_steady),
    };
    return cmocka_run_group_tests(group, NULL, NULL);
}
