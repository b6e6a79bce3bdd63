/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out: whichever allocation of whichever operation fails, nothing happened, nothing leaks, and the
 * next call works. The dup of custom keys counts as an allocation. (What is retired takes its memory from malloc, not
 * from the map's allocator: that malloc fails is not tested here.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/harness.h"
#include "support/sequence.h"

static void fail_after(struct bed *bed, long long allocations)
{
    atomic_store(&bed->counting.fail_after, allocations);
}

static long long calls(struct bed *bed)
{
    return atomic_load(&bed->counting.calls);
}

/* ---- syncmap_new ---- */

static void new_fails(const struct config *config)
{
    static const size_t capacities[] = {0, 1, 1000};
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        struct bed bed = {.config = config, .ownership = OWNED};
        counting_init(&bed.counting);
        syncmap_options options = bed_options(config, OWNED, &bed.counting);
        options.capacity = capacities[i];
        for (long long n = 0;; n++) {
            fail_after(&bed, n);
            errno = 0;
            bed.map = syncmap_new(config->kind, &options);
            fail_after(&bed, -1);
            if (bed.map) break;
            CHECK(errno == ENOMEM);
            CHECK(n < 100);
            /* At once: nobody else can have seen the map. */
            CHECK(atomic_load(&bed.counting.live_blocks) == 0);
        }
        CHECK(calls(&bed) > 0);
        bed_store(&bed, 1, 0);
        bed_close(&bed);
    }
}

static void test_new(void **state)
{
    (void)state;
    for_each_config(new_fails);
}

/* ---- every operation in every state ---- */

/* What the map went through, in the words of read_dirty: each state is that before it and one step more. Key 0 stays
 * live; 1 is deleted and then expunged; the first of the late keys is in dirty alone. */
enum state {
    EMPTY,
    IN_DIRTY,
    PROMOTED,
    DELETED_IN_READ,
    AMENDED,
    DELETED_IN_DIRTY,
    CLEARED,
    STATES
};
enum { EARLY_MIN = 4, EARLY_MAX = 13, LATE = 2, KEYS = EARLY_MAX + LATE + 2 };

enum operation {
    STORE,
    SWAP,
    LOAD_OR_STORE,
    LOAD_AND_DELETE,
    DELETE,
    COMPARE_AND_SWAP,
    COMPARE_AND_DELETE,
    CLEAR,
    LOAD,
    RANGE,
    OPERATIONS
};

struct trial {
    struct bed bed;
    struct reference reference;
    uint64_t early; /* keys of the first steps: around the sizes at which a table grows */
};

static void *trial_value(struct trial *trial, uint64_t index)
{
    return trial->bed.ownership == PLAIN ? NULL : value_make(index);
}

static void put(struct trial *trial, uint64_t index)
{
    void *value = trial_value(trial, index);
    CHECK(syncmap_store(trial->bed.map, KEY(&trial->bed, index), value) ==
          reference_store(&trial->reference, index, value));
}

static void take(struct trial *trial, uint64_t index)
{
    bed_delete(&trial->bed, index, 1);
    CHECK(reference_load_and_delete(&trial->reference, index, NULL) == 1);
}

static void trial_open(struct trial *trial, const struct config *config, enum ownership ownership, enum state state)
{
    trial->bed = (struct bed){.config = config, .ownership = ownership};
    counting_init(&trial->bed.counting);
    reference_init(&trial->reference, NULL);
    syncmap_options options = bed_options(config, ownership, &trial->bed.counting);
    options_dup_may_fail(&options, &trial->bed.counting);
    bed_open_with(&trial->bed, &options);
    if (state >= IN_DIRTY) {
        for (uint64_t i = 0; i < trial->early; i++) put(trial, i);
    }
    if (state >= PROMOTED) CHECK(bed_range_count(&trial->bed) == trial->early);
    if (state >= DELETED_IN_READ) {
        take(trial, 1);
        take(trial, 2);
    }
    if (state >= AMENDED) {
        for (uint64_t i = 0; i < LATE; i++) put(trial, trial->early + i);
    }
    if (state >= DELETED_IN_DIRTY) take(trial, trial->early + LATE - 1);
    if (state >= CLEARED) CHECK(syncmap_clear(trial->bed.map) == reference_clear(&trial->reference));
}

static void trial_close(struct trial *trial)
{
    bed_compare(&trial->bed, &trial->reference, KEYS);
    bed_close(&trial->bed);
    reference_end(&trial->reference);
}

/* Whether the header lets the operation run out of memory. */
static bool may_fail(enum operation operation, enum ownership ownership)
{
    switch (operation) {
    case STORE: case SWAP: case LOAD_OR_STORE: case CLEAR: return true;
    case LOAD: case RANGE: return false;
    default: return ownership != PLAIN;
    }
}

static int store_like(struct trial *trial, enum operation operation, uint64_t index)
{
    struct bed *bed = &trial->bed;
    void *value = trial_value(trial, index);
    void *out = trial;
    void *expected = trial;
    syncmap_key key = KEY(bed, index);
    handed_begin(bed->ownership);
    int result = operation == STORE  ? syncmap_store(bed->map, key, value)
                 : operation == SWAP ? syncmap_swap(bed->map, key, value, &out)
                                     : syncmap_load_or_store(bed->map, key, value, &out);
    if (result >= 0) {
        int wanted = operation == STORE  ? reference_store(&trial->reference, index, value)
                     : operation == SWAP ? reference_swap(&trial->reference, index, value, &expected)
                                         : reference_load_or_store(&trial->reference, index, value, &expected);
        CHECK(result == wanted);
        CHECK(out == expected);
        if (operation == SWAP) previous_done(bed->ownership, out);
        if (operation == LOAD_OR_STORE) handed_done(bed->ownership, out);
    } else {
        CHECK(out == trial);
    }
    handed_end(bed->ownership);
    if (result < 0 || (operation == LOAD_OR_STORE && result == 1)) refused_done(bed->ownership, value);
    return result;
}

static int delete_like(struct trial *trial, enum operation operation, uint64_t index)
{
    struct bed *bed = &trial->bed;
    void *out = trial;
    void *current;
    syncmap_key key = KEY(bed, index);
    reference_load(&trial->reference, index, &current);
    int result = operation == LOAD_AND_DELETE ? syncmap_load_and_delete(bed->map, key, &out)
                 : operation == DELETE        ? syncmap_delete(bed->map, key)
                                              : syncmap_compare_and_delete(bed->map, key, current);
    if (result < 0) {
        CHECK(out == trial);
        return result;
    }
    CHECK(result == reference_load_and_delete(&trial->reference, index, NULL));
    if (operation == LOAD_AND_DELETE) {
        CHECK(out == current);
        previous_done(bed->ownership, out);
    }
    return result;
}

static int compare_and_swap(struct trial *trial, uint64_t index)
{
    void *current;
    void *desired = trial_value(trial, index);
    reference_load(&trial->reference, index, &current);
    int result = syncmap_compare_and_swap(trial->bed.map, KEY(&trial->bed, index), current, desired);
    if (result >= 0) CHECK(result == reference_compare_and_swap(&trial->reference, index, current, desired));
    if (result != 1) refused_done(trial->bed.ownership, desired);
    return result;
}

/* load and range need no memory and, by the header, a load gives none back either. */
static int load_like(struct trial *trial, enum operation operation, uint64_t index)
{
    struct bed *bed = &trial->bed;
    long long calls_before = calls(bed);
    long long blocks_before = atomic_load(&bed->counting.live_blocks);
    if (operation == RANGE) {
        CHECK(bed_range_count(bed) == reference_len(&trial->reference));
    } else {
        CHECK(syncmap_load(bed->map, KEY(bed, index), NULL) == reference_load(&trial->reference, index, NULL));
        CHECK(atomic_load(&bed->counting.live_blocks) == blocks_before);
    }
    CHECK(syncmap_len(bed->map) == reference_len(&trial->reference));
    CHECK(calls(bed) == calls_before);
    return 0;
}

static int operate(struct trial *trial, enum operation operation, uint64_t index)
{
    switch (operation) {
    case STORE: case SWAP: case LOAD_OR_STORE: return store_like(trial, operation, index);
    case LOAD_AND_DELETE: case DELETE: case COMPARE_AND_DELETE: return delete_like(trial, operation, index);
    case COMPARE_AND_SWAP: return compare_and_swap(trial, index);
    case LOAD: case RANGE: return load_like(trial, operation, index);
    default: {
        int result = syncmap_clear(trial->bed.map);
        if (result >= 0) CHECK(result == reference_clear(&trial->reference));
        return result;
    }
    }
}

/* Lets the n-th allocation of one call fail. False: the call made no more than n. */
static bool nth_fails(struct trial *trial, enum operation operation, uint64_t index, long long n)
{
    long long before = calls(&trial->bed);
    fail_after(&trial->bed, n);
    int result = operate(trial, operation, index);
    bool failed = calls(&trial->bed) - before > n;
    fail_after(&trial->bed, -1);
    CHECK(result >= 0 || result == SYNCMAP_ENOMEM);
    if (result < 0) {
        CHECK(failed);
        CHECK(may_fail(operation, trial->bed.ownership));
        /* The map is as it was; without looking at it, which would change its state, or after having looked. */
        if ((n + (long long)trial->early + operation) % 2) bed_compare(&trial->bed, &trial->reference, KEYS);
        CHECK(operate(trial, operation, index) >= 0);
    }
    return failed;
}

static void every_failure(const struct config *config, enum ownership ownership, uint64_t early)
{
    for (int state = 0; state < STATES; state++) {
        /* A live key, a deleted one, one in dirty alone, one deleted from there, one that never was. */
        const uint64_t indexes[] = {0, 1, early, early + LATE - 1, early + LATE};
        for (int operation = 0; operation < OPERATIONS; operation++) {
            for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
                bool failed = true;
                for (long long n = 0; failed; n++) {
                    struct trial trial = {.early = early};
                    CHECK(n < 100);
                    trial_open(&trial, config, ownership, (enum state)state);
                    failed = nth_fails(&trial, (enum operation)operation, indexes[i], n);
                    trial_close(&trial);
                }
            }
        }
    }
}

static void operations_fail(const struct config *config, enum ownership ownership)
{
    for (uint64_t early = EARLY_MIN; early <= EARLY_MAX; early += TEST_SCALE > 1 ? 3 : 1) {
        every_failure(config, ownership, early);
    }
}

static void test_operations(void **state)
{
    (void)state;
    for_each_ownership(operations_fail);
}

/* ---- growth ---- */

/* Each new key is refused until its n-th allocation is let through, over several sizes of the table. */
static void growth_fails(const struct config *config)
{
    enum { MANY = 200 };
    struct trial trial = {.early = 0};
    trial_open(&trial, config, OWNED, EMPTY);
    for (uint64_t i = 0; i < MANY; i++) {
        int result = SYNCMAP_ENOMEM;
        for (long long n = 0; result < 0; n++) {
            CHECK(n < 100);
            fail_after(&trial.bed, n);
            result = operate(&trial, i % 2 ? STORE : LOAD_OR_STORE, i);
            fail_after(&trial.bed, -1);
            CHECK(syncmap_len(trial.bed.map) == i + (result >= 0));
            if (result < 0) bed_check_absent(&trial.bed, i);
        }
        CHECK(result == 0);
        if (i % 50 == 0) bed_compare(&trial.bed, &trial.reference, MANY);
    }
    bed_compare(&trial.bed, &trial.reference, MANY);
    bed_close(&trial.bed);
    reference_end(&trial.reference);
}

static void test_growth(void **state)
{
    (void)state;
    for_each_config(growth_fails);
}

/* Out of memory for good: what is there can be read, replaced and deleted all the same, as far as the header says. */
static void starved(const struct config *config)
{
    struct trial trial = {.early = EARLY_MAX};
    trial_open(&trial, config, PLAIN, AMENDED);
    fail_after(&trial.bed, 0);
    for (int round = 0; round < 100; round++) {
        CHECK(bed_range_count(&trial.bed) == reference_len(&trial.reference));
        for (uint64_t i = 0; i < KEYS; i++) CHECK(operate(&trial, LOAD, i) == 0);
    }
    for (uint64_t i = 0; i < KEYS; i += 2) CHECK(operate(&trial, DELETE, i) >= 0);
    for (uint64_t i = 1; i < KEYS; i += 2) CHECK(operate(&trial, COMPARE_AND_SWAP, i) >= 0);
    for (uint64_t i = 1; i < KEYS; i += 2) CHECK(operate(&trial, LOAD_AND_DELETE, i) >= 0);
    CHECK(syncmap_len(trial.bed.map) == 0);
    fail_after(&trial.bed, -1);
    trial_close(&trial);
}

static void test_starved(void **state)
{
    (void)state;
    for_each_config(starved);
}

/* ---- at random, and beside other threads ---- */

static void sequences(const struct config *config)
{
    uint64_t target = test_env("SEQUENCES", 20000 / TEST_SCALE);
    uint64_t done = 0;
    for (uint64_t number = 1; done < target; number++) done += sequence_run(config, number, true);
}

static void test_sequences(void **state)
{
    (void)state;
    uint64_t only = test_env("ONLY", 0);
    if (only == 0) {
        for_each_config(sequences);
        return;
    }
    for (size_t i = 0; i < test_config_count; i++) sequence_run(&test_configs[i], only, true);
}

struct hungry {
    struct bed bed;
    uint64_t steps;
    atomic_ullong failures;
};

static void hungry_thread(size_t number, void *context)
{
    struct hungry *hungry = context;
    struct bed *bed = &hungry->bed;
    struct rng rng = rng_make(test_seed(), 5000 + number);
    for (uint64_t i = 0; i < hungry->steps; i++) {
        uint64_t index = rng_below(&rng, 64);
        /* A few allocations succeed, then all fail until the next round. */
        if (number == 0 && i % 16 == 0) fail_after(bed, (long long)rng_below(&rng, 8));
        if (rng_below(&rng, 3) > 0) {
            struct value *value = value_make(index);
            int result = syncmap_store(bed->map, KEY(bed, index), value);
            CHECK(result >= 0 || result == SYNCMAP_ENOMEM);
            if (result < 0) {
                value_release(value);
                atomic_fetch_add(&hungry->failures, 1);
            }
        } else if (rng_below(&rng, 64) == 0) {
            int result = syncmap_clear(bed->map);
            CHECK(result >= 0 || result == SYNCMAP_ENOMEM);
        } else {
            int result = syncmap_delete(bed->map, KEY(bed, index));
            CHECK(result >= 0 || result == SYNCMAP_ENOMEM);
        }
    }
}

static void hungry_crowd(const struct config *config, enum ownership ownership)
{
    if (ownership == PLAIN) return;
    struct hungry hungry = {.steps = 30000 / TEST_SCALE};
    bed_open(&hungry.bed, config, ownership);
    threads_run(4, hungry_thread, &hungry);
    fail_after(&hungry.bed, -1);
    CHECK(atomic_load(&hungry.failures) > 0);
    CHECK(bed_range_count(&hungry.bed) == syncmap_len(hungry.bed.map));
    CHECK(syncmap_clear(hungry.bed.map) == 0);
    for (uint64_t i = 0; i < 64; i++) bed_store(&hungry.bed, i, 0);
    bed_close(&hungry.bed);
}

static void test_hungry_crowd(void **state)
{
    (void)state;
    for_each_ownership(hungry_crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),       cmocka_unit_test(test_operations), cmocka_unit_test(test_growth),
        cmocka_unit_test(test_starved),   cmocka_unit_test(test_sequences),  cmocka_unit_test(test_hungry_crowd),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
