/* SPDX-License-Identifier: MIT
 *
 * scan: what one call visits, what all calls with one cursor visit, whatever the map becomes between them and in them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/harness.h"

enum { KEYS = 24 };

/* ---- one cursor, and all that it has visited ---- */

struct pass {
    struct bed *bed;
    syncmap_cursor cursor;
    size_t limit; /* indexes of keys are below */
    unsigned char *seen;
    size_t total; /* keys that all calls have visited */
    size_t visits; /* keys that the last call has visited */
    size_t stop_at; /* this visit of a call returns false; 0: none does */
    uint64_t last; /* the key that was visited last */
    /* What a visit does beside, or NULL. */
    void (*act)(struct pass *pass, uint64_t index);
    void *context;
};

static void pass_open(struct pass *pass, struct bed *bed, size_t limit)
{
    *pass = (struct pass){.bed = bed, .limit = limit, .seen = calloc(limit, 1)};
    CHECK(pass->seen != NULL);
}

/* A cursor may be copied: from here on each of the two owes the rest. */
static void pass_copy(struct pass *copy, const struct pass *pass)
{
    pass_open(copy, pass->bed, pass->limit);
    memcpy(copy->seen, pass->seen, pass->limit);
    copy->cursor = pass->cursor;
    copy->total = pass->total;
}

static void pass_close(struct pass *pass)
{
    free(pass->seen);
    pass->seen = NULL;
}

static bool visit_pass(syncmap_key key, void *value, void *context)
{
    struct pass *pass = context;
    uint64_t index = config_key_index(pass->bed->config, key);
    CHECK(index < pass->limit);
    CHECK(!pass->seen[index]);
    pass->seen[index] = 1;
    pass->total++;
    pass->visits++;
    pass->last = index;
    if (value) value_check(value, index);
    if (pass->act) {
        pass->act(pass, index);
        if (value) value_check(value, index);
        CHECK(config_key_index(pass->bed->config, key) == index);
    }
    handed_done(pass->bed->ownership, value);
    return pass->visits != pass->stop_at;
}

static bool good_hash(const struct config *config)
{
    return config->hash == TEST_HASH_GOOD;
}

/* Keys with four hashes are a flood if three of the four share a bucket and other secrets would scatter them, as may happen by chance:
 * then the order of all keys has changed, nothing was visited, and what holds of a cursor holds of a new one. */
static bool pass_stale(struct pass *pass, int result)
{
    if (result != SYNCMAP_ESTALE) return false;
    CHECK(pass->bed->config->engine == SYNCMAP_ENGINE_FLAT && pass->bed->config->hash == TEST_HASH_FOUR);
    CHECK(pass->visits == 0);
    memset(pass->seen, 0, pass->limit);
    pass->cursor = (syncmap_cursor){0};
    pass->total = 0;
    return true;
}

/* One call. Whatever other threads do: it visits as many as were asked for, or went through to the end. More only if they
 * have the hash of the last one. */
static int pass_step(struct pass *pass, size_t count)
{
    size_t asked = count ? count : 1;
    int result;
    do {
        pass->visits = 0;
        result = syncmap_scan(pass->bed->map, &pass->cursor, count, visit_pass, pass);
    } while (pass_stale(pass, result));
    if (pass->stop_at && pass->stop_at < asked) asked = pass->stop_at;
    CHECK(result == 0 || result == 1);
    if (result == 1) CHECK(pass->visits >= asked);
    if (good_hash(pass->bed->config)) CHECK(pass->visits <= asked);
    return result;
}

static bool visit_never(syncmap_key key, void *value, void *context)
{
    (void)key, (void)value, (void)context;
    CHECK(!"no visit");
    return true;
}

static void pass_check_ended(struct pass *pass)
{
    for (size_t count = 0; count < 3; count++)
        CHECK(syncmap_scan(pass->bed->map, &pass->cursor, count, visit_never, NULL) == 0);
}

/* The rest, by calls of `count` keys. */
static void pass_finish(struct pass *pass, size_t count)
{
    while (pass_step(pass, count) == 1) continue;
    pass_check_ended(pass);
}

static void pass_check_seen(const struct pass *pass, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) CHECK(pass->seen[i]);
}

/* Keys with the hash of `index` among the first `keys`. */
static size_t hash_mates(const struct config *config, uint64_t index, size_t keys)
{
    if (config->hash == TEST_HASH_CONSTANT) return keys;
    if (config->hash == TEST_HASH_GOOD) return index < keys;
    return keys / 4 + (index % 4 < keys % 4);
}

/* In a map of the first `keys` keys that stays as it is: of the keys with one hash the cursor has visited all or none. */
static void pass_check_whole_hashes(const struct pass *pass, size_t keys)
{
    enum { CLASSES = 4 };
    size_t seen[CLASSES] = {0};
    if (good_hash(pass->bed->config)) return;
    for (size_t i = 0; i < keys; i++) seen[pass->bed->config->hash == TEST_HASH_FOUR ? i % CLASSES : 0] += pass->seen[i];
    for (size_t class = 0; class < CLASSES; class++)
        CHECK(seen[class] == 0 || seen[class] == hash_mates(pass->bed->config, class, keys));
}

static void fill(struct bed *bed, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) bed_store(bed, i, 0);
}

static void drain(struct bed *bed, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) bed_delete(bed, i, 1);
}

/* Stores whether or not the key is there. */
static void put(struct bed *bed, uint64_t index)
{
    void *value = bed->ownership == PLAIN ? NULL : value_make(index);
    CHECK(syncmap_store(bed->map, KEY(bed, index), value) >= 0);
}

/* A constant hash makes each step a walk over all keys. */
static uint64_t as_many(const struct config *config, uint64_t good, uint64_t bad)
{
    uint64_t keys = good_hash(config) ? good : bad;
    return keys / TEST_SCALE > 300 ? keys / TEST_SCALE : keys;
}

/* ---- arguments ---- */

/* Each is refused, visits nothing, and leaves the cursor where it is. */
static void check_refused(struct bed *bed, syncmap_cursor cursor)
{
    const syncmap_cursor before = cursor;
    CHECK(syncmap_scan(NULL, &cursor, 1, visit_never, bed) == SYNCMAP_EINVAL);
    CHECK(syncmap_scan(bed->map, NULL, 1, visit_never, bed) == SYNCMAP_EINVAL);
    CHECK(syncmap_scan(bed->map, &cursor, 1, NULL, bed) == SYNCMAP_EINVAL);
    CHECK(syncmap_scan(NULL, NULL, 0, NULL, NULL) == SYNCMAP_EINVAL);
    CHECK(cursor.place == before.place && cursor.state == before.state);
}

static void arguments(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct pass pass;
    bed_open(&bed, config, ownership);
    pass_open(&pass, &bed, KEYS);
    check_refused(&bed, pass.cursor);
    fill(&bed, 0, KEYS);
    int more = 1;
    while (more) {
        check_refused(&bed, pass.cursor);
        more = pass_step(&pass, 5);
    }
    check_refused(&bed, pass.cursor);
    CHECK(pass.total == KEYS);
    pass_close(&pass);
    bed_close(&bed);
}

static void test_arguments(void **state)
{
    (void)state;
    for_each_ownership(arguments);
}

/* A cursor that no scan has made: refused with nothing done, or as good as any other, with no key twice and an end. Most are
 * refused: the odds that random bits are a cursor must be small. */
static void garbage(const struct config *config)
{
    enum { TRIES = 1000 };
    struct bed bed;
    struct pass real;
    struct rng rng = rng_make(test_seed(), 4000);
    size_t refused = 0;
    bed_open(&bed, config, ACQUIRED);
    fill(&bed, 0, KEYS);
    pass_open(&real, &bed, KEYS);
    for (int i = 0; i < TRIES; i++) {
        struct pass pass;
        syncmap_cursor cursor = {rng_next(&rng), rng_next(&rng)};
        /* Also one that is right but for one word, or one bit. */
        if (i % 4 == 1) cursor.place = real.cursor.place;
        if (i % 4 == 2) cursor.state = real.cursor.state;
        if (i % 4 == 3) {
            cursor = real.cursor;
            *(i % 8 == 3 ? &cursor.place : &cursor.state) ^= UINT64_C(1) << rng_below(&rng, 64);
        }
        pass_open(&pass, &bed, KEYS);
        pass.cursor = cursor;
        int result = syncmap_scan(bed.map, &pass.cursor, 1 + rng_below(&rng, 7), visit_pass, &pass);
        if (result == SYNCMAP_EINVAL) {
            CHECK(pass.total == 0);
            CHECK(pass.cursor.place == cursor.place && pass.cursor.state == cursor.state);
            if (i % 4 < 2) refused++;
        } else {
            CHECK(result == 0 || result == 1);
            pass_finish(&pass, 3);
        }
        pass_close(&pass);
        if (i % 50 == 0 && pass_step(&real, 3) == 0) {
            pass_close(&real);
            pass_open(&real, &bed, KEYS);
        }
    }
    CHECK(refused > TRIES / 2 * 9 / 10);
    pass_close(&real);
    bed_close(&bed);
}

static void test_garbage(void **state)
{
    (void)state;
    for_each_config(garbage);
}

/* Of another map, with another seed, of another size, of another engine: no place there, or one as good as any other. */
static void foreign(const struct config *config)
{
    struct bed bed, other;
    struct pass pass;
    bed_open(&bed, config, OWNED);
    fill(&bed, 0, 300);
    for (size_t i = 0; i < test_config_count; i++) {
        if (test_configs[i].kind != config->kind || test_configs[i].hash != config->hash) continue;
        bed_open(&other, &test_configs[i], OWNED);
        fill(&other, 0, KEYS);
        for (size_t steps = 0; steps < 8; steps++) {
            pass_open(&pass, &other, KEYS);
            for (size_t step = 0; step < steps; step++) pass_step(&pass, 5);
            syncmap_cursor cursor = pass.cursor;
            pass_close(&pass);
            pass_open(&pass, &bed, 300);
            pass.cursor = cursor;
            if (syncmap_scan(bed.map, &pass.cursor, 7, visit_pass, &pass) >= 0) pass_finish(&pass, 7);
            pass_close(&pass);
        }
        syncmap_free(other.map);
    }
    finish_map(bed.map, &bed.counting);
}

static void test_foreign(void **state)
{
    (void)state;
    for_each_config(foreign);
}

/* ---- how many ---- */

static void counts_of(const struct config *config, enum ownership ownership, size_t keys)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 8, 9, 16, 64, 1000, SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX};
    struct bed bed;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, keys);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t asked = counts[i] ? counts[i] : 1;
        struct pass pass;
        pass_open(&pass, &bed, keys + 1);
        int more = 1;
        while (more) {
            size_t left = keys - pass.total;
            more = pass_step(&pass, counts[i]);
            if (good_hash(config)) CHECK(pass.visits == (left < asked ? left : asked));
            if (left < asked) CHECK(more == 0);
            pass_check_whole_hashes(&pass, keys);
            /* Without those that have the last one's hash it would have been too few. */
            if (!good_hash(config) && pass.visits > asked) CHECK(pass.visits - hash_mates(config, pass.last, keys) < asked);
        }
        CHECK(pass.total == keys);
        pass_check_ended(&pass);
        pass_close(&pass);
    }
    bed_close(&bed);
}

static void counts(const struct config *config, enum ownership ownership)
{
    static const size_t sizes[] = {0, 1, 2, 6, 7, 8, 33, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) counts_of(config, ownership, sizes[i]);
    if (ownership == PLAIN) counts_of(config, ownership, good_hash(config) ? 3000 : 700);
}

static void test_counts(void **state)
{
    (void)state;
    for_each_ownership(counts);
}

/* Hundreds of keys with one hash are a single call's; of four hashes at most four calls'. */
static void same_hash(const struct config *config, enum ownership ownership)
{
    enum { MANY = 500 };
    if (good_hash(config)) return;
    const size_t hashes = config->hash == TEST_HASH_CONSTANT ? 1 : 4;
    struct bed bed;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, MANY);
    for (size_t stop_at = 0; stop_at < 3; stop_at++) {
        struct pass pass;
        pass_open(&pass, &bed, MANY);
        /* A visit that stops stops no sooner than the hash is done. */
        pass.stop_at = stop_at;
        for (size_t call = 1; call <= hashes; call++) {
            int more = pass_step(&pass, stop_at ? MANY : 1);
            CHECK(pass.visits == MANY / hashes);
            CHECK(pass.total == call * MANY / hashes);
            CHECK(more == 1 || call == hashes);
            pass_check_whole_hashes(&pass, MANY);
        }
        pass_check_ended(&pass);
        pass_close(&pass);
    }
    bed_close(&bed);
}

static void test_same_hash(void **state)
{
    (void)state;
    for_each_ownership(same_hash);
}

static void stops(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, KEYS);
    for (size_t stop_at = 1; stop_at <= KEYS + 1; stop_at++) {
        for (size_t count = KEYS / 2; count <= 2 * KEYS; count += KEYS / 2) {
            struct pass pass;
            pass_open(&pass, &bed, KEYS);
            pass.stop_at = stop_at;
            int more = 1;
            while (more) {
                size_t left = KEYS - pass.total, asked = stop_at < count ? stop_at : count;
                more = pass_step(&pass, count);
                if (good_hash(config)) CHECK(pass.visits == (left < asked ? left : asked));
                CHECK(more == 1 || pass.total == KEYS);
                pass_check_whole_hashes(&pass, KEYS);
            }
            CHECK(pass.total == KEYS);
            pass_check_ended(&pass);
            pass_close(&pass);
        }
    }
    bed_close(&bed);
}

static void test_stop(void **state)
{
    (void)state;
    for_each_ownership(stops);
}

/* What has ended has ended, whatever comes into the map; it can begin again as any other, zeroed. */
static void ended(const struct config *config)
{
    struct bed bed;
    struct pass pass;
    bed_open(&bed, config, OWNED);
    for (uint64_t keys = 0; keys <= KEYS; keys += KEYS) {
        CHECK(syncmap_clear(bed.map) == 0);
        fill(&bed, 0, keys);
        pass_open(&pass, &bed, 1000);
        if (keys == 0) {
            /* Fewer than one: the end. */
            CHECK(pass_step(&pass, 0) == 0);
        }
        pass_finish(&pass, 1000);
        CHECK(pass.total == keys);
        fill(&bed, keys, 300);
        pass_check_ended(&pass);
        CHECK(bed_range_count(&bed) == 300);
        pass_check_ended(&pass);
        drain(&bed, 0, 290);
        pass_check_ended(&pass);
        CHECK(syncmap_clear(bed.map) == 0);
        pass_check_ended(&pass);
        fill(&bed, 0, 10);
        pass_check_ended(&pass);
        pass_close(&pass);
        pass_open(&pass, &bed, 10);
        pass_finish(&pass, 4);
        CHECK(pass.total == 10);
        pass_close(&pass);
    }
    bed_close(&bed);
}

static void test_ended(void **state)
{
    (void)state;
    for_each_config(ended);
}

/* ---- what it needs, and what it holds ---- */

/* No memory, as range. */
static void no_memory(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    for (uint64_t keys = 0; keys <= 300; keys += 100) {
        if (keys) fill(&bed, keys - 100, keys);
        atomic_store(&bed.counting.fail_after, 0);
        struct pass pass;
        pass_open(&pass, &bed, 300);
        pass_finish(&pass, 9);
        CHECK(pass.total == keys);
        pass_close(&pass);
        atomic_store(&bed.counting.fail_after, -1);
    }
    bed_close(&bed);
}

static void test_no_memory(void **state)
{
    (void)state;
    for_each_ownership(no_memory);
}

/* A cursor that is kept holds nothing up: all that was in the map goes, and the map itself. */
static void holds_nothing(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct pass pass;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, 300);
    pass_open(&pass, &bed, 300);
    CHECK(pass_step(&pass, 10) >= 0);
    CHECK(syncmap_clear(bed.map) == 0);
    syncmap_barrier();
    CHECK(values_live() == 0);
    fill(&bed, 0, 100);
    pass_step(&pass, 10);
    drain(&bed, 0, 100);
    pass_step(&pass, 10);
    bed_close(&bed);
    pass_close(&pass);
}

static void test_holds_nothing(void **state)
{
    (void)state;
    for_each_ownership(holds_nothing);
}

/* ---- what a visit is given ---- */

struct handed {
    struct bed *bed;
    void *current[KEYS]; /* what is stored under each key; NULL: it is absent */
    syncmap_cursor cursor;
    size_t visits;
    bool seen[KEYS];
};

static bool visit_current(syncmap_key key, void *value, void *context)
{
    struct handed *handed = context;
    uint64_t index = config_key_index(handed->bed->config, key);
    CHECK(index < KEYS && !handed->seen[index]);
    handed->seen[index] = true;
    handed->visits++;
    CHECK(value != NULL && value == handed->current[index]);
    value_check(value, index);
    int references = atomic_load(&((struct value *)value)->references);
    CHECK(references == (handed->bed->ownership == ACQUIRED ? 2 : 1));
    handed_done(handed->bed->ownership, value);
    return true;
}

/* Each call hands out the values of its own time: what was replaced, deleted or stored before it counts. */
static void current_values(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct rng rng = rng_make(test_seed(), 5000);
    bed_open(&bed, config, ownership);
    for (int time = 0; time < 20; time++) {
        struct handed handed = {.bed = &bed};
        int more = 1;
        while (more) {
            for (uint64_t i = 0; i < KEYS; i++) {
                void *value = rng_below(&rng, 3) ? value_make(i) : NULL;
                void *previous = handed.current[i];
                /* NULL here: the key is deleted. */
                if (value) {
                    CHECK(syncmap_store(bed.map, KEY(&bed, i), value) == (previous != NULL));
                } else {
                    CHECK(syncmap_delete(bed.map, KEY(&bed, i)) == (previous != NULL));
                }
                if (ownership == PLAIN && previous) value_release(previous);
                handed.current[i] = value;
            }
            more = syncmap_scan(bed.map, &handed.cursor, 3, visit_current, &handed);
            CHECK(more >= 0);
        }
        CHECK(handed.visits > 0);
        for (uint64_t i = 0; i < KEYS; i++) {
            CHECK(syncmap_delete(bed.map, KEY(&bed, i)) == (handed.current[i] != NULL));
            if (ownership == PLAIN && handed.current[i]) value_release(handed.current[i]);
        }
    }
    bed_close(&bed);
}

static void test_current_values(void **state)
{
    (void)state;
    for_each_ownership(current_values);
}

static bool visit_null(syncmap_key key, void *value, void *context)
{
    (void)key;
    CHECK(value == NULL);
    ++*(size_t *)context;
    return true;
}

static void null_values(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    size_t visits = 0;
    syncmap_cursor cursor = {0};
    bed_open(&bed, config, ownership);
    for (uint64_t i = 0; i < KEYS; i++) CHECK(syncmap_store(bed.map, KEY(&bed, i), NULL) == 0);
    while (syncmap_scan(bed.map, &cursor, 5, visit_null, &visits) == 1) continue;
    CHECK(visits == KEYS);
    bed_close(&bed);
}

static void test_null_values(void **state)
{
    (void)state;
    for_each_ownership(null_values);
}

struct collected {
    struct bed *bed;
    size_t count;
    uint64_t index[KEYS];
    syncmap_key key[KEYS];
    void *value[KEYS];
};

static void check_collected(const struct collected *collected)
{
    for (size_t i = 0; i < collected->count; i++) {
        CHECK(config_key_index(collected->bed->config, collected->key[i]) == collected->index[i]);
        if (collected->value[i]) value_check(collected->value[i], collected->index[i]);
    }
}

static void make_garbage(struct bed *bed, uint64_t index)
{
    for (int i = 0; i < 100; i++) {
        bed_store(bed, index, i > 0);
        CHECK(syncmap_retire(value_make(0), value_release) == 0);
    }
    bed_delete(bed, index, 1);
    syncmap_barrier();
}

/* Deletes what it was given, makes enough garbage to have the library collect, and looks at all again. */
static bool visit_collect(syncmap_key key, void *value, void *context)
{
    struct collected *collected = context;
    struct bed *bed = collected->bed;
    uint64_t index = config_key_index(bed->config, key);
    /* What a visit stores and deletes again is never there for the scan to see. */
    CHECK(index < KEYS && collected->count < KEYS);
    collected->index[collected->count] = index;
    collected->key[collected->count] = key;
    collected->value[collected->count++] = value;
    bed_delete(bed, index, 1);
    make_garbage(bed, KEYS + index);
    check_collected(collected);
    return true;
}

/* Keys and values are valid until scan returns; under a pin that began before, until that ends. */
static void valid_until_return(const struct config *config, enum ownership ownership)
{
    for (int pinned = 0; pinned < 2; pinned++) {
        struct bed bed;
        bed_open(&bed, config, ownership);
        fill(&bed, 0, KEYS);
        struct collected collected = {.bed = &bed};
        syncmap_cursor cursor = {0};
        if (pinned) syncmap_pin();
        while (syncmap_scan(bed.map, &cursor, pinned ? 5 : SIZE_MAX, visit_collect, &collected) == 1) CHECK(pinned);
        CHECK(collected.count == KEYS);
        if (pinned) {
            make_garbage(&bed, 2 * KEYS);
            check_collected(&collected);
            syncmap_unpin();
        }
        for (size_t i = 0; i < KEYS; i++) handed_done(ownership, collected.value[i]);
        CHECK(syncmap_len(bed.map) == 0);
        bed_close(&bed);
    }
}

static void test_valid_until_return(void **state)
{
    (void)state;
    for_each_ownership(valid_until_return);
}

/* ---- a visit that calls ---- */

/* Another scan in each visit, and a range and many loads in the innermost. */
static void act_nested(struct pass *pass, uint64_t index)
{
    struct bed *bed = pass->bed;
    int depth = *(int *)pass->context;
    if (depth == 0) {
        CHECK(bed_range_count(bed) == pass->limit);
        bed_check_present(bed, index);
        return;
    }
    struct pass inner;
    pass_open(&inner, bed, pass->limit);
    inner.act = act_nested;
    inner.context = &(int){depth - 1};
    pass_finish(&inner, (size_t)depth + 1);
    CHECK(inner.total == pass->limit);
    pass_close(&inner);
}

static void nested(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct pass pass;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, 7);
    pass_open(&pass, &bed, 7);
    pass.act = act_nested;
    pass.context = &(int){3};
    pass_finish(&pass, 3);
    CHECK(pass.total == 7);
    pass_close(&pass);
    bed_close(&bed);
}

static bool visit_then_scan(syncmap_key key, void *value, void *context)
{
    struct pass *outer = context;
    struct pass inner;
    pass_open(&inner, outer->bed, outer->limit);
    pass_finish(&inner, 2);
    CHECK(inner.total == outer->limit);
    pass_close(&inner);
    return visit_pass(key, value, outer);
}

static void scan_in_range(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct pass outer;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, 7);
    pass_open(&outer, &bed, 7);
    CHECK(syncmap_range(bed.map, visit_then_scan, &outer) == 1);
    CHECK(outer.total == 7);
    pass_close(&outer);
    bed_close(&bed);
}

static void test_nested(void **state)
{
    (void)state;
    for_each_ownership(nested);
    for_each_ownership(scan_in_range);
}

enum change {
    STORE_NEW,
    OVERWRITE,
    DELETE_SELF,
    DELETE_NEXT,
    DELETE_AND_STORE_AGAIN,
    CLEAR,
    CLEAR_AND_STORE_AGAIN,
    RANGE_AND_STORE,
    GROW,
    GROW_AND_SHRINK,
    GROW_AND_CLEAR,
    RESERVE,
    SCAN_AND_DELETE,
    CHANGES
};

enum { GROWN = 10 * KEYS, GROWN_MUCH = 2000 };

struct changer {
    enum change change;
    uint64_t next_new;
};

static void act_delete(struct pass *pass, uint64_t index)
{
    CHECK(syncmap_delete(pass->bed->map, KEY(pass->bed, index)) >= 0);
}

static void act_change(struct pass *pass, uint64_t index)
{
    struct changer *changer = pass->context;
    struct bed *bed = pass->bed;
    const uint64_t much = good_hash(bed->config) ? GROWN_MUCH : GROWN;
    struct pass inner;
    switch (changer->change) {
    case STORE_NEW:
        /* Ends, even if every new key is visited. */
        if (changer->next_new < GROWN) bed_store(bed, changer->next_new++, 0);
        break;
    case OVERWRITE:
        for (uint64_t i = 0; i < KEYS; i++) bed_store(bed, i, 1);
        break;
    case DELETE_SELF:
        bed_delete(bed, index, 1);
        break;
    case DELETE_NEXT:
        CHECK(syncmap_delete(bed->map, KEY(bed, (index + 1) % KEYS)) >= 0);
        break;
    case DELETE_AND_STORE_AGAIN:
        drain(bed, 0, KEYS);
        bed_store(bed, KEYS, 0);
        fill(bed, 0, KEYS);
        bed_delete(bed, KEYS, 1);
        break;
    case CLEAR:
        CHECK(syncmap_clear(bed->map) == 0);
        break;
    case CLEAR_AND_STORE_AGAIN:
        CHECK(syncmap_clear(bed->map) == 0);
        fill(bed, 0, KEYS);
        break;
    case RANGE_AND_STORE:
        put(bed, changer->next_new++);
        CHECK(bed_range_count(bed) >= KEYS);
        break;
    case GROW:
        /* Once, in the midst of a call. */
        if (pass->total == 3) fill(bed, KEYS, much);
        break;
    case GROW_AND_SHRINK:
        if (pass->total % 4 == 1) {
            fill(bed, KEYS, much);
            drain(bed, KEYS, much);
            for (uint64_t i = 0; i < KEYS; i++) bed_store(bed, i, 1);
        }
        break;
    case GROW_AND_CLEAR:
        if (pass->total % 8 == 1) {
            fill(bed, KEYS, much);
            CHECK(syncmap_clear(bed->map) == 0);
            fill(bed, 0, KEYS);
        }
        break;
    case RESERVE:
        CHECK(syncmap_reserve(bed->map, KEYS << (pass->total % 8)) == 0);
        break;
    default:
        /* Another scan deletes all that is left. */
        pass_open(&inner, bed, pass->limit);
        inner.act = act_delete;
        pass_finish(&inner, 5);
        pass_close(&inner);
        CHECK(syncmap_len(bed->map) == 0);
    }
}

/* Whether every key was there for the whole call, so that each must have been visited. */
static bool keeps_all(enum change change)
{
    return change == STORE_NEW || change == OVERWRITE || change == DELETE_SELF || change == RANGE_AND_STORE ||
           change == GROW || change == GROW_AND_SHRINK || change == RESERVE;
}

static void changes(const struct config *config, enum ownership ownership)
{
    static const size_t counts[] = {1, 5, SIZE_MAX};
    for (int kind = 0; kind < CHANGES; kind++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            struct bed bed;
            struct pass pass;
            bed_open(&bed, config, ownership);
            fill(&bed, 0, KEYS);
            if (i == 1) CHECK(bed_range_count(&bed) == KEYS);
            pass_open(&pass, &bed, RANGE_KEYS);
            pass.act = act_change;
            pass.context = &(struct changer){.change = (enum change)kind, .next_new = KEYS};
            pass_finish(&pass, counts[i]);
            CHECK(pass.total > 0);
            if (keeps_all((enum change)kind)) pass_check_seen(&pass, 0, KEYS);
            if (kind == DELETE_SELF || kind == CLEAR || kind == SCAN_AND_DELETE) CHECK(syncmap_len(bed.map) == 0);
            CHECK(bed_range_count(&bed) == syncmap_len(bed.map));
            pass_close(&pass);
            bed_close(&bed);
        }
    }
}

static void test_changes(void **state)
{
    (void)state;
    for_each_ownership(changes);
}

/* AddressSanitizer takes the frames that were left for frames still in use, unless it is told (see test_range.c). */
__attribute__((weak)) void __asan_handle_no_return(void);

static bool visit_leave(syncmap_key key, void *value, void *context)
{
    struct pass *pass = context;
    if (visit_pass(key, value, pass) && pass->visits < KEYS / 2) return true;
    if (pass->context) {
        CHECK(pthread_cancel(pthread_self()) == 0);
        if (__asan_handle_no_return) __asan_handle_no_return();
        pthread_testcancel();
    }
    pthread_exit(NULL);
}

static void leave(void *context)
{
    struct pass *pass = context;
    syncmap_scan(pass->bed->map, &pass->cursor, SIZE_MAX, visit_leave, pass);
    CHECK(!"the visit left");
}

/* A thread that ends in a visit leaves no pin behind. */
static void leaves(const struct config *config, enum ownership ownership)
{
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct bed bed;
        struct thread thread;
        struct pass pass;
        bed_open(&bed, config, ownership);
        fill(&bed, 0, KEYS);
        pass_open(&pass, &bed, KEYS);
        pass.context = cancelled ? &thread : NULL;
        thread_start(&thread, leave, &pass);
        thread_join(&thread);
        pass_close(&pass);
        drain(&bed, 0, KEYS);
        CHECK(syncmap_clear(bed.map) == 0);
        syncmap_barrier();
        CHECK(values_live() == 0);
        fill(&bed, 0, KEYS);
        pass_open(&pass, &bed, KEYS);
        pass_finish(&pass, 7);
        CHECK(pass.total == KEYS);
        pass_close(&pass);
        bed_close(&bed);
    }
}

static void test_leave(void **state)
{
    (void)state;
    for_each_ownership(leaves);
}

/* ---- what becomes of the map between the calls ---- */

/* From 10 keys to 100,000 and back by deletes, with one cursor over all of it, and a copy of it from each stage, to be ended
 * where all is over. The first ten stay. */
static void grown_and_shrunk(const struct config *config)
{
    enum { FEW = 10, COPIES = 24 };
    const uint64_t most = as_many(config, 100000, 600);
    struct bed bed;
    struct pass pass, copies[COPIES];
    size_t copied = 0;
    bed_open(&bed, config, PLAIN);
    fill(&bed, 0, FEW);
    pass_open(&pass, &bed, most);
    pass_step(&pass, 3);
    CHECK(pass.total >= 3 && (pass.total < FEW || config->hash == TEST_HASH_CONSTANT));
    uint64_t keys = FEW;
    for (int down = 0; down < 2; down++) {
        for (int stage = 0; stage < 6; stage++) {
            pass_copy(&copies[copied++], &pass);
            uint64_t next = down ? keys / 8 : keys * 8;
            if (stage == 5) next = down ? FEW : most;
            next = next > most ? most : next < FEW ? FEW : next;
            if (next > keys) fill(&bed, keys, next);
            if (next < keys) drain(&bed, next, keys);
            keys = next;
            pass_step(&pass, stage % 2 + 1);
        }
        /* In the full map some more of them; a copy goes through all of it. */
        if (!down) {
            struct pass through;
            pass_step(&pass, most / 10);
            pass_copy(&through, &pass);
            pass_finish(&through, most / 3);
            pass_check_seen(&through, 0, FEW);
            /* All but what came behind the cursor: it stood somewhere among the first ten. */
            CHECK(!good_hash(config) || through.total > most / 100);
            pass_close(&through);
        }
    }
    CHECK(keys == FEW && syncmap_len(bed.map) == FEW);
    copies[copied] = pass;
    for (size_t i = 0; i <= copied; i++) {
        pass_finish(&copies[i], i % 5);
        pass_check_seen(&copies[i], 0, FEW);
        pass_close(&copies[i]);
    }
    bed_close(&bed);
}

static void test_grown_and_shrunk(void **state)
{
    (void)state;
    for_each_config(grown_and_shrunk);
}

/* Any size after any other, in steps of any length, with two cursors and copies of them, over several passes. */
static void any_sizes(const struct config *config, enum ownership ownership)
{
    enum { FEW = 20, STEPS = 60 };
    static const uint64_t sizes[] = {FEW, FEW + 1, 30, 100, 300, 1000, 4000};
    struct rng rng = rng_make(test_seed(), 6000 + (uint64_t)ownership);
    struct bed bed;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, FEW);
    uint64_t keys = FEW;
    for (int time = 0; time < 4; time++) {
        struct pass pass[2];
        bool over[2] = {false, false};
        for (int i = 0; i < 2; i++) pass_open(&pass[i], &bed, 4000);
        for (int step = 0; step < STEPS; step++) {
            uint64_t next = sizes[rng_below(&rng, good_hash(config) ? 7 : 5)];
            if (next > keys) fill(&bed, keys, next);
            if (next < keys) drain(&bed, next, keys);
            keys = next;
            if (rng_below(&rng, 8) == 0) CHECK(bed_range_count(&bed) == keys);
            int which = (int)rng_below(&rng, 2);
            if (rng_below(&rng, 8) == 0 && !over[which]) {
                /* The copy goes on, the original is forgotten. */
                struct pass copy;
                pass_copy(&copy, &pass[which]);
                pass_close(&pass[which]);
                pass[which] = copy;
            }
            pass[which].stop_at = rng_below(&rng, 4) == 0 ? 1 + rng_below(&rng, 10) : 0;
            size_t count = rng_below(&rng, 4) == 0 ? keys / 3 : rng_below(&rng, 4);
            if (over[which]) {
                pass_check_ended(&pass[which]);
            } else {
                over[which] = !pass_step(&pass[which], count);
            }
            if (over[which]) pass_check_seen(&pass[which], 0, FEW);
        }
        for (int i = 0; i < 2; i++) {
            pass[i].stop_at = 0;
            pass_finish(&pass[i], 50);
            pass_check_seen(&pass[i], 0, FEW);
            pass_close(&pass[i]);
        }
    }
    bed_close(&bed);
}

static void test_any_sizes(void **state)
{
    (void)state;
    for_each_ownership(any_sizes);
}

/* Across clears, and all keys stored again: no key twice, and of what is there in the end all that is ahead of the cursor,
 * however it gets there. */
static void across_clears(const struct config *config, enum ownership ownership)
{
    static const uint64_t sizes[] = {KEYS, 300, 5, 1000, KEYS, 0, KEYS, 2000, 50};
    struct bed bed;
    bed_open(&bed, config, ownership);
    for (size_t count = 1; count < 40; count += 13) {
        struct pass pass;
        int more = 1;
        pass_open(&pass, &bed, 2000);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint64_t keys = good_hash(config) || sizes[i] < 300 ? sizes[i] : 300;
            CHECK(syncmap_clear(bed.map) == 0);
            fill(&bed, 0, keys);
            if (more) more = pass_step(&pass, count);
        }
        struct pass copy;
        pass_copy(&copy, &pass);
        if (more) pass_finish(&pass, count);
        pass_finish(&copy, 1);
        CHECK(memcmp(copy.seen, pass.seen, pass.limit) == 0);
        pass_close(&copy);
        pass_close(&pass);
    }
    bed_close(&bed);
}

static void test_across_clears(void **state)
{
    (void)state;
    for_each_ownership(across_clears);
}

/* ---- beside other threads ---- */

enum { STABLE = 48, SCANNERS = 2, WRITERS = 2 };

struct crowd {
    struct bed bed;
    uint64_t stream;
    uint64_t churn;   /* keys that come and go */
    uint64_t stable;  /* keys that stay, before them; 0: and the map is cleared now and then */
    uint64_t passes;
    atomic_int scanning; /* scanners that are not done */
    pthread_mutex_t mutex;
    struct pass shared; /* whose cursor all scanners use, one after another */
    uint64_t shared_passes;
};

static void crowd_write(struct crowd *crowd, struct rng *rng, uint64_t index)
{
    struct bed *bed = &crowd->bed;
    void *previous;
    switch (rng_below(rng, 8)) {
    case 0:
        /* Stable keys are replaced, too: they are never absent. */
        if (crowd->stable) bed_store(bed, rng_below(rng, crowd->stable), 1);
        break;
    case 1:
        CHECK(syncmap_load_and_delete(bed->map, KEY(bed, index), &previous) >= 0);
        previous_done(bed->ownership, previous);
        break;
    case 2: CHECK(syncmap_delete(bed->map, KEY(bed, index)) >= 0); break;
    default: put(bed, index);
    }
}

/* Writes until the scanners are done: grows the map to its most, makes it small again, or writes here and there. */
static void crowd_writer(struct crowd *crowd, struct rng *rng, size_t number)
{
    struct bed *bed = &crowd->bed;
    while (atomic_load(&crowd->scanning) > 0) {
        uint64_t half = crowd->churn / WRITERS, first = crowd->stable + number % WRITERS * half;
        uint64_t size = 1 + rng_below(rng, half);
        for (uint64_t i = 0; i < size && atomic_load(&crowd->scanning) > 0; i++) put(bed, first + i);
        for (uint64_t i = 0; i < size / 4; i++) crowd_write(crowd, rng, crowd->stable + rng_below(rng, crowd->churn));
        if (crowd->stable == 0 && rng_below(rng, 4) == 0) CHECK(syncmap_clear(bed->map) == 0);
        if (rng_below(rng, 8) == 0) CHECK(syncmap_reserve(bed->map, rng_below(rng, crowd->churn)) == 0);
        for (uint64_t i = 0; i < size; i++) CHECK(syncmap_delete(bed->map, KEY(bed, first + i)) >= 0);
    }
}

/* Now and then a visit writes, ranges, or begins and gives up another scan. */
static void act_crowd(struct pass *pass, uint64_t index)
{
    struct crowd *crowd = pass->context;
    if (index % 64 == 0) put(pass->bed, crowd->stable + (index * 7 + pass->total) % crowd->churn);
    if (index % 256 == 1) {
        struct pass inner;
        pass_open(&inner, pass->bed, pass->limit);
        pass_step(&inner, 20);
        pass_close(&inner);
    }
}

/* One call, of any length; whether it was the last. Then what is owed must have come. */
static bool crowd_step(struct crowd *crowd, struct pass *pass, struct rng *rng)
{
    static const size_t counts[] = {0, 1, 2, 5, 17, 100, 1000};
    pass->stop_at = rng_below(rng, 8) == 0 ? 1 + rng_below(rng, 10) : 0;
    if (pass_step(pass, counts[rng_below(rng, sizeof counts / sizeof counts[0])]) == 1) return false;
    pass_check_seen(pass, 0, crowd->stable);
    pass_check_ended(pass);
    return true;
}

static void crowd_pass_open(struct crowd *crowd, struct pass *pass)
{
    pass_open(pass, &crowd->bed, crowd->stable + crowd->churn);
    pass->act = act_crowd;
    pass->context = crowd;
}

static void shared_step(struct crowd *crowd, struct rng *rng)
{
    CHECK(pthread_mutex_lock(&crowd->mutex) == 0);
    if (crowd_step(crowd, &crowd->shared, rng)) {
        pass_close(&crowd->shared);
        crowd_pass_open(crowd, &crowd->shared);
        crowd->shared_passes++;
    }
    CHECK(pthread_mutex_unlock(&crowd->mutex) == 0);
}

static void crowd_scanner(struct crowd *crowd, struct rng *rng)
{
    for (uint64_t i = 0; i < crowd->passes; i++) {
        struct pass pass, copy;
        bool copied = false, over = false;
        crowd_pass_open(crowd, &pass);
        while (!over) {
            if (!copied && rng_below(rng, 8) == 0) {
                pass_copy(&copy, &pass);
                copied = true;
            }
            if (copied && rng_below(rng, 4) == 0 && crowd_step(crowd, &copy, rng)) {
                pass_close(&copy);
                copied = false;
            }
            if (rng_below(rng, 4) == 0) shared_step(crowd, rng);
            over = crowd_step(crowd, &pass, rng);
        }
        if (copied) {
            while (!crowd_step(crowd, &copy, rng)) continue;
            pass_close(&copy);
        }
        pass_close(&pass);
    }
    atomic_fetch_sub(&crowd->scanning, 1);
}

static void crowd_thread(size_t number, void *context)
{
    struct crowd *crowd = context;
    struct rng rng = rng_make(test_seed(), crowd->stream + number);
    if (number < SCANNERS)
        crowd_scanner(crowd, &rng);
    else
        crowd_writer(crowd, &rng, number);
}

static void scan_in_crowd(const struct config *config, enum ownership ownership, uint64_t stable)
{
    struct crowd crowd = {.stream = 7000 + stable, .stable = stable, .scanning = SCANNERS};
    crowd.churn = good_hash(config) ? 3000 : 100;
    crowd.passes = (good_hash(config) ? 60 : 200) / TEST_SCALE;
    bed_open(&crowd.bed, config, ownership);
    fill(&crowd.bed, 0, stable);
    crowd_pass_open(&crowd, &crowd.shared);
    CHECK(pthread_mutex_init(&crowd.mutex, NULL) == 0);
    threads_run(SCANNERS + WRITERS, crowd_thread, &crowd);
    CHECK(pthread_mutex_destroy(&crowd.mutex) == 0);
    pass_close(&crowd.shared);
    struct pass after;
    pass_open(&after, &crowd.bed, crowd.stable + crowd.churn);
    pass_finish(&after, 10);
    CHECK(after.total == syncmap_len(crowd.bed.map));
    CHECK(after.total == bed_range_count(&crowd.bed));
    pass_check_seen(&after, 0, stable);
    pass_close(&after);
    bed_close(&crowd.bed);
}

static void beside_writers(const struct config *config, enum ownership ownership)
{
    scan_in_crowd(config, ownership, STABLE);
}

static void beside_clears(const struct config *config, enum ownership ownership)
{
    scan_in_crowd(config, ownership, 0);
}

static void test_beside_writers(void **state)
{
    (void)state;
    for_each_ownership(beside_writers);
}

static void test_beside_clears(void **state)
{
    (void)state;
    for_each_ownership(beside_clears);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),      cmocka_unit_test(test_garbage),       cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_counts),         cmocka_unit_test(test_same_hash),     cmocka_unit_test(test_stop),
        cmocka_unit_test(test_ended),          cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_holds_nothing),
        cmocka_unit_test(test_current_values), cmocka_unit_test(test_null_values),   cmocka_unit_test(test_valid_until_return),
        cmocka_unit_test(test_nested),         cmocka_unit_test(test_changes),       cmocka_unit_test(test_leave),
        cmocka_unit_test(test_grown_and_shrunk), cmocka_unit_test(test_any_sizes),   cmocka_unit_test(test_across_clears),
        cmocka_unit_test(test_beside_writers), cmocka_unit_test(test_beside_clears),
    };
    test_seed();
    cmocka_set_test_filter(getenv("TESTS")); /* a pattern; not set: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
