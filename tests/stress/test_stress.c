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

#include "owner.h"

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

/* ---- private keys ---- */

static void own(size_t number, void *context)
{
    struct known known[OWN] = {{0, 0}};
    struct owner o = {.number = number, .known = known};
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
