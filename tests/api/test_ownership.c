/* SPDX-License-Identifier: MIT
 *
 * Who owns which value and which key when: each reference of a value, each copy of a key is given up exactly once, and
 * what the caller was handed is the caller's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/harness.h"

/* How many references `value` has once all that was given up is freed. It must have one of the test's own. */
static int references(struct value *value)
{
    syncmap_barrier();
    return atomic_load(&value->references);
}

/* A value with a reference that the test keeps, to look at it after the map has given up its own. */
static struct value *watched(uint64_t index)
{
    struct value *value = value_make(index);
    value_acquire(value, NULL);
    return value;
}

/* Both kinds of owning map, each with the key in dirty and in read. */
static void for_each_owning(void (*test)(struct bed *bed, bool promoted))
{
    for (size_t i = 0; i < test_config_count; i++) {
        harness_note(test_configs[i].name);
        for (int variant = 0; variant < 4; variant++) {
            struct bed bed;
            bed_open(&bed, &test_configs[i], variant % 2 ? OWNED : ACQUIRED);
            test(&bed, variant / 2);
            bed_close(&bed);
        }
    }
}

/* ---- what the map gives up ---- */

/* Stores a watched value under key 5 and returns it. */
static struct value *stored(struct bed *bed, bool promoted)
{
    struct value *value = watched(5);
    CHECK(syncmap_store(bed->map, KEY(bed, 5), value) == 0);
    if (promoted) bed_range_count(bed);
    CHECK(references(value) == 2);
    return value;
}

/* The map's reference is gone, the test's is left. */
static void given_up(struct value *value)
{
    CHECK(references(value) == 1);
    value_release(value);
}

static void gives_up(struct bed *bed, bool promoted)
{
    struct value *value = stored(bed, promoted);
    CHECK(syncmap_store(bed->map, KEY(bed, 5), value_make(5)) == 1);
    given_up(value);
    bed_delete(bed, 5, 1);

    value = stored(bed, promoted);
    CHECK(syncmap_swap(bed->map, KEY(bed, 5), NULL, NULL) == 1);
    given_up(value);
    bed_delete(bed, 5, 1);

    value = stored(bed, promoted);
    bed_delete(bed, 5, 1);
    given_up(value);

    value = stored(bed, promoted);
    CHECK(syncmap_load_and_delete(bed->map, KEY(bed, 5), NULL) == 1);
    given_up(value);

    value = stored(bed, promoted);
    CHECK(syncmap_compare_and_swap(bed->map, KEY(bed, 5), value, value_make(5)) == 1);
    given_up(value);
    bed_delete(bed, 5, 1);

    value = stored(bed, promoted);
    CHECK(syncmap_compare_and_delete(bed->map, KEY(bed, 5), value) == 1);
    given_up(value);

    value = stored(bed, promoted);
    CHECK(syncmap_clear(bed->map) == 0);
    given_up(value);
}

static void test_gives_up(void **state)
{
    (void)state;
    for_each_owning(gives_up);
}

static void gives_up_at_free(const struct config *config)
{
    enum { KEYS = 20 };
    struct value *values[KEYS];
    struct bed bed;
    bed_open(&bed, config, OWNED);
    for (uint64_t i = 0; i < KEYS; i++) {
        values[i] = watched(i);
        CHECK(syncmap_store(bed.map, KEY(&bed, i), values[i]) == 0);
        if (i == KEYS / 2) bed_range_count(&bed);
    }
    syncmap_free(bed.map);
    for (uint64_t i = 0; i < KEYS; i++) given_up(values[i]);
    bed.map = NULL;
    bed_close(&bed);
}

static void test_gives_up_at_free(void **state)
{
    (void)state;
    for_each_config(gives_up_at_free);
}

/* What was not stored stays with the caller. */
static void keeps_off(struct bed *bed, bool promoted)
{
    struct value *value = stored(bed, promoted);
    struct value *other = value_make(5);
    CHECK(syncmap_load_or_store(bed->map, KEY(bed, 5), other, NULL) == 1);
    CHECK(syncmap_compare_and_swap(bed->map, KEY(bed, 5), other, other) == 0);
    CHECK(syncmap_compare_and_swap(bed->map, KEY(bed, 5), NULL, other) == 0);
    CHECK(syncmap_compare_and_swap(bed->map, KEY(bed, 6), value, other) == 0);
    CHECK(syncmap_compare_and_delete(bed->map, KEY(bed, 5), other) == 0);
    CHECK(syncmap_compare_and_delete(bed->map, KEY(bed, 6), other) == 0);
    CHECK(references(other) == 1);
    CHECK(references(value) == 2);
    value_release(other);
    CHECK(syncmap_clear(bed->map) == 0);
    given_up(value);
}

static void test_keeps_off(void **state)
{
    (void)state;
    for_each_owning(keeps_off);
}

/* The same pointer again is one reference more each time, and the one before it is given up. */
static void same_pointer(struct bed *bed, bool promoted)
{
    struct value *value = stored(bed, promoted);
    value_acquire(value, NULL);
    CHECK(syncmap_store(bed->map, KEY(bed, 5), value) == 1);
    CHECK(references(value) == 2);
    value_acquire(value, NULL);
    CHECK(syncmap_compare_and_swap(bed->map, KEY(bed, 5), value, value) == 1);
    CHECK(references(value) == 2);
    value_acquire(value, NULL);
    CHECK(syncmap_swap(bed->map, KEY(bed, 5), value, NULL) == 1);
    CHECK(references(value) == 2);
    value_acquire(value, NULL);
    CHECK(syncmap_store(bed->map, KEY(bed, 6), value) == 0);
    CHECK(references(value) == 3);
    bed_delete(bed, 6, 1);
    CHECK(references(value) == 2);
    bed_delete(bed, 5, 1);
    given_up(value);
}

static void test_same_pointer(void **state)
{
    (void)state;
    for_each_owning(same_pointer);
}

/* ---- what the caller is handed ---- */

/* *previous is the map's own reference without value_acquire, and one more with it: either way one of the caller's. */
static void previous_is_the_callers(struct bed *bed, bool promoted)
{
    void *previous = NULL;
    struct value *value = stored(bed, promoted);
    CHECK(syncmap_swap(bed->map, KEY(bed, 5), value_make(5), &previous) == 1 && previous == value);
    CHECK(references(value) == 2);
    previous_done(bed->ownership, previous);
    given_up(value);
    bed_delete(bed, 5, 1);

    value = stored(bed, promoted);
    CHECK(syncmap_load_and_delete(bed->map, KEY(bed, 5), &previous) == 1 && previous == value);
    CHECK(references(value) == 2);
    previous_done(bed->ownership, previous);
    given_up(value);
}

static void test_previous(void **state)
{
    (void)state;
    for_each_owning(previous_is_the_callers);
}

static bool visit_keep(syncmap_key key, void *value, void *context)
{
    (void)key;
    *(void **)context = value;
    return true;
}

/* With value_acquire one reference each time, without it none. */
static void handed_out(struct bed *bed, bool promoted)
{
    int each = bed->ownership == ACQUIRED;
    void *got = NULL;
    struct value *value = stored(bed, promoted);
    syncmap_pin();
    CHECK(syncmap_load(bed->map, KEY(bed, 5), &got) == 1 && got == value);
    CHECK(atomic_load(&value->references) == 2 + each);
    CHECK(syncmap_load_or_store(bed->map, KEY(bed, 5), NULL, &got) == 1 && got == value);
    CHECK(atomic_load(&value->references) == 2 + 2 * each);
    CHECK(syncmap_range(bed->map, visit_keep, &got) == 1 && got == value);
    CHECK(atomic_load(&value->references) == 2 + 3 * each);
    CHECK(syncmap_load(bed->map, KEY(bed, 5), NULL) == 1);
    CHECK(syncmap_load_or_store(bed->map, KEY(bed, 5), NULL, NULL) == 1);
    CHECK(atomic_load(&value->references) == 2 + 3 * each);
    struct value *fresh = watched(6);
    CHECK(syncmap_load_or_store(bed->map, KEY(bed, 6), fresh, &got) == 0 && got == fresh);
    CHECK(atomic_load(&fresh->references) == 2 + each);
    syncmap_unpin();
    CHECK(syncmap_clear(bed->map) == 0);
    CHECK(references(value) == 1 + 3 * each);
    CHECK(references(fresh) == 1 + each);
    for (int i = 0; i < 3 * each; i++) value_release(value);
    if (each) value_release(fresh);
    value_release(fresh);
    value_release(value);
}

static void test_handed_out(void **state)
{
    (void)state;
    for_each_owning(handed_out);
}

/* Without a pin: what was acquired outlives the map itself. */
static void acquired_outlives_map(const struct config *config)
{
    struct bed bed;
    void *loaded = NULL;
    void *previous = NULL;
    bed_open(&bed, config, ACQUIRED);
    bed_store(&bed, 1, 0);
    bed_store(&bed, 2, 0);
    CHECK(syncmap_load(bed.map, KEY(&bed, 1), &loaded) == 1);
    CHECK(syncmap_swap(bed.map, KEY(&bed, 2), NULL, &previous) == 1);
    syncmap_free(bed.map);
    syncmap_barrier();
    value_check(loaded, 1);
    value_check(previous, 2);
    value_release(loaded);
    value_release(previous);
    bed.map = NULL;
    bed_close(&bed);
}

static void test_acquired_outlives_map(void **state)
{
    (void)state;
    for_each_config(acquired_outlives_map);
}

/* What was loaded under a pin outlives its deletion and the map, until the pin ends. */
static void pinned_outlives_map(const struct config *config)
{
    struct bed bed;
    void *first = NULL;
    void *second = NULL;
    bed_open(&bed, config, OWNED);
    bed_store(&bed, 1, 0);
    bed_store(&bed, 2, 0);
    syncmap_pin();
    CHECK(syncmap_load(bed.map, KEY(&bed, 1), &first) == 1);
    CHECK(syncmap_load(bed.map, KEY(&bed, 2), &second) == 1);
    bed_delete(&bed, 1, 1);
    for (int i = 0; i < 1000; i++) bed_store(&bed, 3, i > 0);
    value_check(first, 1);
    syncmap_free(bed.map);
    for (int i = 0; i < 1000; i++) CHECK(syncmap_retire(value_make(0), value_release) == 0);
    value_check(first, 1);
    value_check(second, 2);
    syncmap_unpin();
    bed.map = NULL;
    bed_close(&bed);
}

static void test_pinned_outlives_map(void **state)
{
    (void)state;
    for_each_config(pinned_outlives_map);
}

/* ---- copies of custom keys ---- */

static void custom_copies(const struct config *config)
{
    if (config->kind != SYNCMAP_CUSTOM) return;
    struct bed bed;
    bed_open(&bed, config, OWNED);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 30; i++) bed_store(&bed, i, round > 0);
        syncmap_barrier();
        CHECK(custom_keys_live() == 30);
    }
    bed_range_count(&bed);
    for (uint64_t i = 0; i < 30; i++) bed_delete(&bed, i, 1);
    CHECK(syncmap_clear(bed.map) == 0);
    syncmap_barrier();
    CHECK(custom_keys_live() == 0);
    bed_store(&bed, 1, 0);
    bed_close(&bed);
}

/* Without drop nothing ends the copies; without dup as well, the map keeps the caller's pointers. */
static void *dup_same(const void *key, void *context)
{
    (void)context;
    return (void *)(uintptr_t)key;
}

static bool visit_same_object(syncmap_key key, void *value, void *context)
{
    (void)value;
    CHECK(key.as.ptr == context);
    return true;
}

static void custom_borrowed(const struct config *config)
{
    if (config->kind != SYNCMAP_CUSTOM) return;
    for (int with_dup = 0; with_dup < 2; with_dup++) {
        uint64_t buffer[KEY_BUFFER / 8];
        struct bed bed = {.config = config, .ownership = PLAIN};
        counting_init(&bed.counting);
        syncmap_options options = bed_options(config, PLAIN, &bed.counting);
        options.key.dup = with_dup ? dup_same : NULL;
        options.key.drop = NULL;
        bed_open_with(&bed, &options);
        syncmap_key key = config_key(config, 7, (char *)buffer);
        CHECK(syncmap_store(bed.map, key, NULL) == 0);
        CHECK(syncmap_store(bed.map, KEY(&bed, 7), NULL) == 1);
        CHECK(syncmap_range(bed.map, visit_same_object, buffer) == 1);
        bed_delete(&bed, 7, 1);
        bed_close(&bed);
    }
}

static void test_custom_keys(void **state)
{
    (void)state;
    for_each_config(custom_copies);
    for_each_config(custom_borrowed);
}

static void freed_by_free(enum syncmap_engine engine)
{
    syncmap_options options = {.engine = engine, .value_free = syncmap_free_value};
    syncmap *map = syncmap_new(SYNCMAP_STRING, &options);
    CHECK(map != NULL);
    for (int i = 0; i < 100; i++) {
        CHECK(syncmap_store(map, syncmap_str("a"), malloc(16)) == (i > 0));
        CHECK(syncmap_store(map, syncmap_str("b"), NULL) == (i > 0));
    }
    /* A leak is the sanitizer's to see. */
    finish_map(map, NULL);
}

static void test_free_value(void **state)
{
    (void)state;
    FOR_EACH_ENGINE(engine) freed_by_free(engine);
}

/* ---- many threads ---- */

enum { SHARED_KEYS = 16 };

struct shared {
    struct bed bed;
    uint64_t steps;
};

static void shared_taking(struct bed *bed, uint64_t index, bool deleting)
{
    void *previous = bed;
    syncmap_key key = KEY(bed, index);
    if (deleting) {
        CHECK(syncmap_load_and_delete(bed->map, key, &previous) >= 0);
    } else {
        CHECK(syncmap_swap(bed->map, key, value_make(index), &previous) >= 0);
    }
    if (previous) value_check(previous, index);
    previous_done(bed->ownership, previous);
}

/* Load, then replace or delete just what was loaded. */
static void shared_comparing(struct bed *bed, uint64_t index, bool deleting)
{
    void *current = bed;
    handed_begin(bed->ownership);
    int present = syncmap_load(bed->map, KEY(bed, index), &current);
    CHECK(present == (current != NULL));
    if (current) value_check(current, index);
    if (deleting) {
        CHECK(syncmap_compare_and_delete(bed->map, KEY(bed, index), current) <= present);
    } else {
        struct value *desired = value_make(index);
        int swapped = syncmap_compare_and_swap(bed->map, KEY(bed, index), current, desired);
        CHECK(swapped == 0 || (swapped == 1 && present));
        if (!swapped) value_release(desired);
    }
    if (current) value_check(current, index);
    handed_done(bed->ownership, current);
    handed_end(bed->ownership);
}

static void shared_load_or_store(struct bed *bed, uint64_t index)
{
    void *actual = bed;
    struct value *value = value_make(index);
    handed_begin(bed->ownership);
    int loaded = syncmap_load_or_store(bed->map, KEY(bed, index), value, &actual);
    CHECK(loaded == (actual != value));
    value_check(actual, index);
    handed_done(bed->ownership, actual);
    handed_end(bed->ownership);
    if (loaded) value_release(value);
}

static void shared_thread(size_t number, void *context)
{
    struct shared *shared = context;
    struct bed *bed = &shared->bed;
    struct rng rng = rng_make(test_seed(), 4000 + number);
    for (uint64_t i = 0; i < shared->steps; i++) {
        uint64_t index = rng_below(&rng, SHARED_KEYS);
        switch (rng_below(&rng, 10)) {
        case 0: CHECK(syncmap_store(bed->map, KEY(bed, index), value_make(index)) >= 0); break;
        case 1: CHECK(syncmap_delete(bed->map, KEY(bed, index)) >= 0); break;
        case 2: shared_taking(bed, index, true); break;
        case 3: shared_taking(bed, index, false); break;
        case 4: shared_comparing(bed, index, true); break;
        case 5: shared_comparing(bed, index, false); break;
        case 6: case 7: shared_load_or_store(bed, index); break;
        case 8: CHECK(syncmap_load(bed->map, KEY(bed, SHARED_KEYS + index), NULL) == 0); break;
        default:
            if (rng_below(&rng, 8) == 0) CHECK(syncmap_clear(bed->map) == 0);
            CHECK(bed_range_count(bed) <= SHARED_KEYS);
        }
    }
}

static void shared(const struct config *config, enum ownership ownership)
{
    if (ownership == PLAIN) return;
    struct shared shared = {.steps = 60000 / TEST_SCALE};
    bed_open(&shared.bed, config, ownership);
    threads_run(4, shared_thread, &shared);
    CHECK(bed_range_count(&shared.bed) == syncmap_len(shared.bed.map));
    bed_close(&shared.bed);
}

static void test_shared(void **state)
{
    (void)state;
    for_each_ownership(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_gives_up_at_free),
        cmocka_unit_test(test_keeps_off),
        cmocka_unit_test(test_same_pointer),
        cmocka_unit_test(test_previous),
        cmocka_unit_test(test_handed_out),
        cmocka_unit_test(test_acquired_outlives_map),
        cmocka_unit_test(test_pinned_outlives_map),
        cmocka_unit_test(test_custom_keys),
        cmocka_unit_test(test_free_value),
        cmocka_unit_test(test_shared),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
