/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out: whichever allocation of whichever operation fails, nothing happened, nothing leaks, and the
 * next call works. The dup of custom keys counts as an allocation. (What is retired takes its memory from malloc, not
 * from the map's allocator: test_system.c lets that fail.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault/trial.h"
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

/* A plan: n allocations of the call succeed, then all fail. */
static struct fault_plan all_but(long n)
{
    return (struct fault_plan){TRIAL_ALLOCATOR, n + 1, FAULT_FOREVER};
}

/* Each allocation of the operation fails, with those after it; the last time none does. */
static void every_allocation(const struct trial *form, enum trial_state state, enum trial_operation operation, uint64_t index)
{
    bool failed = true;
    for (long n = 0; failed; n++) {
        struct trial trial = *form;
        CHECK(n < 100);
        trial_open(&trial, form->bed.config, form->bed.ownership, state);
        if (form->pinned) syncmap_pin();
        /* Looking at the map changes its state, so only every other time. */
        failed = trial_call(&trial, operation, index, all_but(n), (n + (long)form->early + operation) % 2);
        if (form->pinned) syncmap_unpin();
        trial_close(&trial);
    }
}

static void every_operation(const struct trial *form)
{
    for (int state = 0; state < TRIAL_STATES; state++) {
        for (int operation = 0; operation < TRIAL_OPERATIONS; operation++) {
            uint64_t indexes[TRIAL_INDEXES];
            size_t count = trial_indexes((enum trial_operation)operation, form->early, indexes);
            for (size_t i = 0; i < count; i++) {
                every_allocation(form, (enum trial_state)state, (enum trial_operation)operation, indexes[i]);
            }
        }
    }
}

/* Around the sizes at which a table grows. What the library itself has from malloc must not leak either. */
static void operations_fail(const struct config *config, enum ownership ownership)
{
    enum { EARLY_MIN = 4 };
    thread_settle();
    long blocks = fault_live_blocks();
    for (uint64_t early = EARLY_MIN; early <= TRIAL_EARLY_MAX; early += TEST_SCALE > 1 ? 3 : 1) {
        struct trial form = {.bed = {.config = config, .ownership = ownership}, .early = early};
        for (int pinned = 0; pinned < 2; pinned++) {
            form.pinned = pinned;
            form.nulls = ownership == PLAIN && !pinned;
            every_operation(&form);
        }
    }
    thread_settle();
    CHECK(fault_live_blocks() == blocks);
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
    for (int pinned = 0; pinned < 2; pinned++) {
        struct trial trial = {.early = 0, .pinned = pinned};
        trial_open(&trial, config, OWNED, EMPTY);
        for (uint64_t i = 0; i < MANY; i++) {
            int result = SYNCMAP_ENOMEM;
            for (long n = 0; result < 0; n++) {
                CHECK(n < 100);
                if (pinned) syncmap_pin();
                result = trial_try(&trial, i % 2 ? STORE : LOAD_OR_STORE, i, all_but(n));
                if (pinned) syncmap_unpin();
                CHECK(syncmap_len(trial.bed.map) == i + (result >= 0));
                if (result < 0) bed_check_absent(&trial.bed, i);
            }
            CHECK(result == 0);
            if (i % 50 == 0) bed_compare(&trial.bed, &trial.reference, MANY);
        }
        bed_compare(&trial.bed, &trial.reference, MANY);
        trial_close(&trial);
    }
}

static void test_growth(void **state)
{
    (void)state;
    for_each_config(growth_fails);
}

/* Out of memory for good: what is there can be read, replaced and deleted all the same, as far as the header says. */
static void starved(const struct config *config)
{
    for (int nulls = 0; nulls < 2; nulls++) {
        struct trial trial = {.early = TRIAL_EARLY_MAX, .nulls = nulls};
        trial_open(&trial, config, PLAIN, AMENDED);
        for (int round = 0; round < 100; round++) {
            CHECK(trial_try(&trial, RANGE, 0, all_but(0)) == 0);
            for (uint64_t i = 0; i < TRIAL_KEYS; i++) CHECK(trial_try(&trial, PEEK, i, all_but(0)) == 0);
        }
        for (uint64_t i = 0; i < TRIAL_KEYS; i += 2) CHECK(trial_try(&trial, DELETE, i, all_but(0)) >= 0);
        for (uint64_t i = 1; i < TRIAL_KEYS; i += 2) CHECK(trial_try(&trial, COMPARE_AND_SWAP, i, all_but(0)) >= 0);
        for (uint64_t i = 1; i < TRIAL_KEYS; i += 2) CHECK(trial_try(&trial, LOAD_AND_DELETE, i, all_but(0)) >= 0);
        CHECK(syncmap_len(trial.bed.map) == 0);
        trial_close(&trial);
    }
}

static void test_starved(void **state)
{
    (void)state;
    for_each_config(starved);
}

/* ---- at random, and beside other threads ---- */

static void test_sequences(void **state)
{
    (void)state;
    sequences_run(20000, true);
}

struct hungry {
    struct bed bed;
    uint64_t steps;
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
            if (result < 0) value_release(value);
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
    CHECK(atomic_load(&hungry.bed.counting.refused) > 0);
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
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_starved),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_hungry_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
