/* SPDX-License-Identifier: MIT
 *
 * Many threads on one map at random, for a while, over every configuration and rule of ownership. What holds
 * whatever they do is checked as they go, and what it adds up to when they are done:
 *
 *   mix       all operations; every value is one of its key, also at the end of the pin under which it was loaded;
 *             inserts less deletes of a key are its presence; where all values are asked for, each that was put in was taken
 *             out once or is still there
 *   private   keys that one thread alone writes: each result is known exactly, whatever the others do to the map; keys
 *             that nobody deletes: always there, once in every range
 *   counters  lost writes: increments by compare_and_swap, and values taken out and put back
 *
 * Threads come and go in the first; some exit pinned.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "worker.h"

enum {
    SECONDS_FALLBACK = 14,
    MANY_KEYS = 1000,
    COLLIDING_KEYS = 40 /* "many", where all have the same hash */
};

static size_t thread_count(void)
{
    size_t threads = test_env("THREADS", 4);
    return threads < MAX_THREADS ? threads : MAX_THREADS;
}

static uint64_t many_keys(const struct config *config)
{
    return config->hash == TEST_HASH_GOOD ? MANY_KEYS : COLLIDING_KEYS;
}

/* ---- mix: threads that come and go ---- */

static void short_life(void *context)
{
    live_once(context, false);
}

static void seat(size_t number, void *context)
{
    struct scene *scene = context;
    if (number < 2) live_once(scene, true);
    while (now_us() < scene->end) {
        struct thread thread;
        thread_start(&thread, short_life, scene);
        thread_join(&thread);
    }
}

/* Equal is what has the same parity: so that values other than the very one that was loaded are replaced. */
static bool equal_parity(const void *stored, const void *expected, void *context)
{
    (void)context;
    const struct value *one = stored, *other = expected;
    value_check(one, other->key_index);
    return (one->serial - other->serial) % 2 == 0;
}

enum mix {
    MIX_CLEARED, /* few keys, with clear, and values that count as equal though they are not the same */
    MIX_MANY,    /* many keys, no clear */
    MIX_BALANCED /* few keys, no clear, each value accounted for */
};
enum { MIXES = MIX_BALANCED + 1 };

static struct {
    unsigned long long actions, lives, cleared;
} totals;

static void mix(const struct config *config, enum ownership ownership, enum mix kind, uint64_t us)
{
    static struct scene scene;
    memset(&scene, 0, sizeof scene);
    scene.bed.config = config;
    scene.bed.ownership = ownership;
    counting_init(&scene.bed.counting);
    syncmap_options options = bed_options(config, ownership, &scene.bed.counting);
    if (kind == MIX_CLEARED && ownership != PLAIN) options.value_equal = equal_parity;
    bed_open_with(&scene.bed, &options);
    scene.keys = kind == MIX_MANY ? many_keys(config) : SMALL_KEYS;
    scene.clears = kind == MIX_CLEARED;
    scene.balanced = kind == MIX_BALANCED;
    scene.end = now_us() + us;
    threads_run(thread_count(), seat, &scene);
    check_sums(&scene);
    bed_close(&scene.bed);
    totals.actions += scene.actions;
    totals.lives += scene.lives;
    totals.cleared += scene.cleared;
}

static uint64_t us_each; /* of the test that for_each_ownership runs, for one of its runs */

static void mix_all(const struct config *config, enum ownership ownership)
{
    for (int kind = 0; kind < MIXES; kind++) mix(config, ownership, (enum mix)kind, us_each / MIXES);
}

static void test_mix(void **state)
{
    (void)state;
    crash_plainly();
    us_each = share_us(52, SECONDS_FALLBACK) / (test_config_count * OWNERSHIPS);
    for_each_ownership(mix_all);
    printf("mix: %llu actions in %llu lives, %llu clears\n", totals.actions, totals.lives, totals.cleared);
}

/* ---- private keys: the first STABLE keys are nobody's, the next OWN the first thread's, and so on ---- */

enum { STABLE = 8, OWN = 6 };

/* What the owner of a key knows of it. */
struct known {
    int present;
    uint64_t mark;
};

struct owner {
    struct worker w;
    size_t number;
    struct known known[OWN];
    bool seen[MAX_KEYS];
};

static uint64_t own_index(const struct owner *o, size_t i)
{
    return STABLE + o->number * OWN + i;
}

/* `value` was handed out and `result` says that there was one: just what the owner knows. */
static void check_known(const struct owner *o, const struct known *known, int result, const void *value)
{
    CHECK(result == known->present);
    if (result == 1) CHECK(fingerprint(o->w.ownership, value) == known->mark);
}

static void own_swap(struct owner *o, struct known *known, uint64_t index)
{
    void *value = make(&o->w, index), *previous = NULL;
    struct known next = {1, fingerprint(o->w.ownership, value)};
    int result = syncmap_swap(o->w.map, KEY(&o->w.scene->bed, index), value, &previous);
    check_known(o, known, result, previous);
    previous_done(o->w.ownership, previous);
    *known = next;
}

static void own_store(struct owner *o, struct known *known, uint64_t index)
{
    void *value = make(&o->w, index);
    struct known next = {1, fingerprint(o->w.ownership, value)};
    CHECK(syncmap_store(o->w.map, KEY(&o->w.scene->bed, index), value) == known->present);
    *known = next;
}

static void own_load_or_store(struct owner *o, struct known *known, uint64_t index)
{
    void *value = make(&o->w, index), *actual = NULL;
    if (!known->present) known->mark = fingerprint(o->w.ownership, value);
    int result = syncmap_load_or_store(o->w.map, KEY(&o->w.scene->bed, index), value, &actual);
    CHECK(result == known->present);
    if (result == 1) refused_done(o->w.ownership, value);
    known->present = 1;
    check_known(o, known, 1, actual);
    handed(&o->w, index, actual);
}

static void own_load_and_delete(struct owner *o, struct known *known, uint64_t index)
{
    void *previous = NULL;
    int result = syncmap_load_and_delete(o->w.map, KEY(&o->w.scene->bed, index), &previous);
    check_known(o, known, result, previous);
    previous_done(o->w.ownership, previous);
    known->present = 0;
}

static void own_delete(struct owner *o, struct known *known, uint64_t index)
{
    CHECK(syncmap_delete(o->w.map, KEY(&o->w.scene->bed, index)) == known->present);
    known->present = 0;
}

static void own_load(struct owner *o, struct known *known, uint64_t index)
{
    void *value = NULL;
    int result = syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &value);
    check_known(o, known, result, value);
    handed(&o->w, index, value);
}

/* Nobody else writes the key, so what was loaded just now must be found. */
static void own_compare_and_swap(struct owner *o, struct known *known, uint64_t index)
{
    void *expected = NULL, *desired = make(&o->w, index);
    struct known next = {known->present, fingerprint(o->w.ownership, desired)};
    int result = syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &expected);
    check_known(o, known, result, expected);
    result = syncmap_compare_and_swap(o->w.map, KEY(&o->w.scene->bed, index), expected, desired);
    CHECK(result == known->present);
    if (result == 0) refused_done(o->w.ownership, desired);
    handed(&o->w, index, expected);
    *known = next;
}

static void own_compare_and_delete(struct owner *o, struct known *known, uint64_t index)
{
    void *expected = NULL;
    int result = syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &expected);
    check_known(o, known, result, expected);
    result = syncmap_compare_and_delete(o->w.map, KEY(&o->w.scene->bed, index), expected);
    CHECK(result == known->present);
    handed(&o->w, index, expected);
    known->present = 0;
}

static bool visit_own(syncmap_key key, void *value, void *context)
{
    struct owner *o = context;
    uint64_t index = config_key_index(o->w.scene->bed.config, key), first = own_index(o, 0);
    CHECK(index < o->w.scene->keys);
    CHECK(!o->seen[index]);
    o->seen[index] = true;
    if (index >= first && index - first < OWN) check_known(o, &o->known[index - first], 1, value);
    handed(&o->w, index, value);
    return true;
}

/* Keys that are there all the while are seen once, keys that are not, not; the others' may or may not. */
static void own_range(struct owner *o)
{
    memset(o->seen, 0, sizeof o->seen);
    CHECK(syncmap_range(o->w.map, visit_own, o) == 1);
    for (size_t i = 0; i < STABLE; i++) CHECK(o->seen[i]);
    for (size_t i = 0; i < OWN; i++) CHECK(o->seen[own_index(o, i)] == o->known[i].present);
    size_t len = syncmap_len(o->w.map), off = 2 * MAX_THREADS;
    CHECK(len + off >= STABLE && len <= o->w.scene->keys + off);
}

static void stable_step(struct owner *o)
{
    uint64_t index = rng_below(&o->w.rng, STABLE);
    void *value = NULL;
    if (one_in(&o->w, 2)) {
        CHECK(syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &value) == 1);
        handed(&o->w, index, value);
    } else {
        CHECK(syncmap_swap(o->w.map, KEY(&o->w.scene->bed, index), make(&o->w, index), &value) == 1);
        item_check(o->w.ownership, value, index);
        previous_done(o->w.ownership, value);
    }
}

static void own_step(struct owner *o)
{
    static void (*const steps[])(struct owner *o, struct known *known, uint64_t index) = {
        own_swap, own_store, own_load_or_store, own_load_and_delete, own_delete, own_load, own_load, own_compare_and_swap,
        own_compare_and_delete};
    uint64_t what = rng_below(&o->w.rng, 32);
    size_t i = rng_below(&o->w.rng, OWN);
    if (what == 0)
        own_range(o);
    else if (what < 4)
        act_load(&o->w, rng_below(&o->w.rng, o->w.scene->keys)); /* somebody else's */
    else if (what < 8)
        stable_step(o);
    else
        steps[rng_below(&o->w.rng, sizeof steps / sizeof steps[0])](o, &o->known[i], own_index(o, i));
}

static void own(size_t number, void *context)
{
    struct owner o = {.number = number};
    worker_init(&o.w, context);
    while (now_us() < o.w.scene->end) {
        syncmap_pin();
        o.w.pinned = true;
        for (uint64_t steps = 1 + rng_below(&o.w.rng, 40); steps > 0; steps--) own_step(&o);
        linger(&o.w);
        let_go(&o.w);
        syncmap_unpin();
    }
}

/* Again and again from an empty map: small and new ones grow, promote and expunge most. */
static void private_keys(const struct config *config, enum ownership ownership)
{
    static struct scene scene;
    size_t threads = thread_count();
    uint64_t end = now_us() + us_each;
    for (unsigned long long streams = 0; now_us() < end; streams = scene.streams) {
        memset(&scene, 0, sizeof scene);
        scene.streams = streams;
        scene.keys = STABLE + threads * OWN;
        bed_open(&scene.bed, config, ownership);
        for (uint64_t i = 0; i < STABLE; i++)
            CHECK(syncmap_store(scene.bed.map, KEY(&scene.bed, i), item_make(ownership, i, 0)) == 0);
        scene.end = now_us() + (SANITIZED ? 60000 : 20000);
        threads_run(threads, own, &scene);
        bed_close(&scene.bed);
    }
}

static void test_private(void **state)
{
    (void)state;
    crash_plainly();
    us_each = share_us(34, SECONDS_FALLBACK) / (test_config_count * OWNERSHIPS);
    for_each_ownership(private_keys);
}

/* ---- counters: the value of a key is a number, in the index of a struct value or in an integer ---- */

enum { COUNTERS = 3, JUNK = 8 };

struct counters {
    struct bed bed;
    uint64_t end;
    atomic_ullong streams, added[COUNTERS], taken;
};

static void *counter_make(enum ownership ownership, uint64_t count)
{
    return ownership == PLAIN ? word_make(0, count) : value_make(count);
}

static uint64_t counter_read(enum ownership ownership, const void *value)
{
    if (ownership == PLAIN) return word_number(value);
    uint64_t count = ((const struct value *)value)->key_index;
    value_check(value, count);
    return count;
}

static void counter_add(struct counters *c, uint64_t counter, syncmap_key key)
{
    enum ownership ownership = c->bed.ownership;
    void *value = NULL;
    syncmap_pin();
    if (syncmap_load(c->bed.map, key, &value) == 1) {
        void *next = counter_make(ownership, counter_read(ownership, value) + 1);
        if (syncmap_compare_and_swap(c->bed.map, key, value, next) == 1)
            atomic_fetch_add(&c->added[counter], 1);
        else
            refused_done(ownership, next);
        handed_done(ownership, value);
    }
    syncmap_unpin();
}

/* While a counter is taken out nobody else puts one in: it must be absent until it is put back, and then count on. New
 * and deleted keys in between build dirty, expunge the counter's entry, and promote. */
static void counter_take(struct counters *c, struct rng *rng, syncmap_key key)
{
    enum ownership ownership = c->bed.ownership;
    void *value = NULL;
    if (syncmap_load_and_delete(c->bed.map, key, &value) == 0) return;
    atomic_fetch_add(&c->taken, 1);
    void *back = counter_make(ownership, counter_read(ownership, value));
    previous_done(ownership, value);
    for (uint64_t steps = rng_below(rng, 6); steps > 0; steps--) {
        uint64_t junk = COUNTERS + rng_below(rng, JUNK);
        if (rng_below(rng, 2) == 0)
            CHECK(syncmap_store(c->bed.map, KEY(&c->bed, junk), counter_make(ownership, 0)) >= 0);
        else
            CHECK(syncmap_delete(c->bed.map, KEY(&c->bed, junk)) >= 0);
        CHECK(syncmap_load(c->bed.map, key, NULL) == 0);
    }
    if (rng_below(rng, 2) == 0)
        CHECK(syncmap_store(c->bed.map, key, back) == 0);
    else
        CHECK(syncmap_load_or_store(c->bed.map, key, back, NULL) == 0);
}

static void count(size_t number, void *context)
{
    struct counters *c = context;
    (void)number;
    struct rng rng = rng_make(test_seed(), atomic_fetch_add(&c->streams, 1));
    while (now_us() < c->end) {
        for (int i = 0; i < 50; i++) {
            uint64_t counter = rng_below(&rng, COUNTERS);
            if (rng_below(&rng, 12) == 0)
                counter_take(c, &rng, KEY(&c->bed, counter));
            else
                counter_add(c, counter, KEY(&c->bed, counter));
        }
    }
}

static unsigned long long all_added, all_taken;

static void counters(const struct config *config, enum ownership ownership)
{
    static struct counters c;
    memset(&c, 0, sizeof c);
    bed_open(&c.bed, config, ownership);
    for (uint64_t i = 0; i < COUNTERS; i++)
        CHECK(syncmap_store(c.bed.map, KEY(&c.bed, i), counter_make(ownership, 0)) == 0);
    c.end = now_us() + us_each;
    threads_run(thread_count(), count, &c);
    for (uint64_t i = 0; i < COUNTERS; i++) {
        void *value = NULL;
        syncmap_pin();
        CHECK(syncmap_load(c.bed.map, KEY(&c.bed, i), &value) == 1);
        CHECK(counter_read(ownership, value) == atomic_load(&c.added[i]));
        handed_done(ownership, value);
        syncmap_unpin();
        all_added += c.added[i];
    }
    all_taken += c.taken;
    bed_close(&c.bed);
}

static void test_counters(void **state)
{
    (void)state;
    crash_plainly();
    us_each = share_us(14, SECONDS_FALLBACK) / (test_config_count * OWNERSHIPS);
    for_each_ownership(counters);
    printf("counters: %llu increments, taken out and put back %llu times\n", all_added, all_taken);
}

int main(void)
{
    keep_crash_handlers();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
