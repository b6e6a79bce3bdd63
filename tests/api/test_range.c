/* SPDX-License-Identifier: MIT
 *
 * range and clear: what a visit may do, and what both promise beside other threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/harness.h"

enum { KEYS = 24 };

static void fill(struct bed *bed, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) bed_store(bed, i, 0);
}

/* ---- stopping and nesting ---- */

struct stopper {
    enum ownership ownership;
    size_t visits;
    size_t stop_at; /* 0: never */
};

static bool visit_stop(syncmap_key key, void *value, void *context)
{
    struct stopper *stopper = context;
    (void)key;
    handed_done(stopper->ownership, value);
    return ++stopper->visits != stopper->stop_at;
}

static void stops(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    CHECK(syncmap_range(bed.map, visit_stop, &(struct stopper){ownership, 0, 1}) == 1);
    fill(&bed, 0, KEYS);
    for (size_t stop_at = 1; stop_at <= KEYS; stop_at++) {
        struct stopper stopper = {ownership, 0, stop_at};
        CHECK(syncmap_range(bed.map, visit_stop, &stopper) == 0);
        CHECK(stopper.visits == stop_at);
    }
    struct stopper stopper = {ownership, 0, KEYS + 1};
    CHECK(syncmap_range(bed.map, visit_stop, &stopper) == 1);
    CHECK(stopper.visits == KEYS);
    bed_close(&bed);
}

static void test_stop(void **state)
{
    (void)state;
    for_each_ownership(stops);
}

struct nest {
    struct bed *bed;
    int depth;
    size_t visits;
};

static bool visit_nested(syncmap_key key, void *value, void *context)
{
    struct nest *nest = context;
    uint64_t index = config_key_index(nest->bed->config, key);
    nest->visits++;
    if (nest->depth > 0) {
        struct nest inner = {nest->bed, nest->depth - 1, 0};
        CHECK(syncmap_range(nest->bed->map, visit_nested, &inner) == 1);
        CHECK(inner.visits == 5);
        /* What the inner ones did must not have ended what this one holds. */
        if (value) value_check(value, index);
        CHECK(config_key_index(nest->bed->config, key) == index);
    }
    handed_done(nest->bed->ownership, value);
    return true;
}

static void nested(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, 5);
    struct nest nest = {&bed, 3, 0};
    CHECK(syncmap_range(bed.map, visit_nested, &nest) == 1);
    CHECK(nest.visits == 5);
    bed_close(&bed);
}

static void test_nested(void **state)
{
    (void)state;
    for_each_ownership(nested);
}

/* ---- a visit that changes the map ---- */

enum change {
    STORE_NEW,
    OVERWRITE,
    DELETE_SELF,
    DELETE_NEXT,
    DELETE_AND_STORE_AGAIN,
    CLEAR,
    CLEAR_AND_STORE_AGAIN,
    PROMOTE,
    CHANGES
};

struct changer {
    struct bed *bed;
    enum change change;
    uint64_t next_new;
    size_t visits;
    bool seen[RANGE_KEYS];
};

/* Stores whether or not the key is there. */
static void put(struct bed *bed, uint64_t index)
{
    void *value = bed->ownership == PLAIN ? NULL : value_make(index);
    CHECK(syncmap_store(bed->map, KEY(bed, index), value) >= 0);
}

static void change(struct changer *changer, uint64_t index)
{
    struct bed *bed = changer->bed;
    switch (changer->change) {
    case STORE_NEW:
        /* Ends, even if every new key is visited. */
        if (changer->next_new < 10 * KEYS) bed_store(bed, changer->next_new++, 0);
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
        for (uint64_t i = 0; i < KEYS; i++) bed_delete(bed, i, 1);
        /* A key that is stored while another dirty exists comes back as another entry. */
        bed_store(bed, KEYS, 0);
        for (uint64_t i = 0; i < KEYS; i++) bed_store(bed, i, 0);
        bed_delete(bed, KEYS, 1);
        break;
    case CLEAR:
        CHECK(syncmap_clear(bed->map) == 0);
        break;
    case CLEAR_AND_STORE_AGAIN:
        CHECK(syncmap_clear(bed->map) == 0);
        for (uint64_t i = 0; i < KEYS; i++) bed_store(bed, i, 0);
        break;
    default:
        put(bed, changer->next_new++);
        CHECK(bed_range_count(bed) >= KEYS);
    }
}

static bool visit_change(syncmap_key key, void *value, void *context)
{
    struct changer *changer = context;
    uint64_t index = config_key_index(changer->bed->config, key);
    CHECK(index < RANGE_KEYS);
    CHECK(!changer->seen[index]);
    changer->seen[index] = true;
    changer->visits++;
    if (value) value_check(value, index);
    change(changer, index);
    if (value) value_check(value, index);
    CHECK(config_key_index(changer->bed->config, key) == index);
    handed_done(changer->bed->ownership, value);
    return true;
}

/* Whether every key was there for the whole call, so that each must have been visited. */
static bool keeps_all(enum change change)
{
    return change == STORE_NEW || change == OVERWRITE || change == DELETE_SELF || change == PROMOTE;
}

static void changes(const struct config *config, enum ownership ownership)
{
    for (int kind = 0; kind < CHANGES; kind++) {
        for (int promoted = 0; promoted < 2; promoted++) {
            struct bed bed;
            bed_open(&bed, config, ownership);
            fill(&bed, 0, KEYS);
            if (promoted) CHECK(bed_range_count(&bed) == KEYS);
            struct changer changer = {.bed = &bed, .change = (enum change)kind, .next_new = KEYS};
            CHECK(syncmap_range(bed.map, visit_change, &changer) == 1);
            CHECK(changer.visits > 0);
            for (uint64_t i = 0; keeps_all(changer.change) && i < KEYS; i++) CHECK(changer.seen[i]);
            if (changer.change == DELETE_SELF || changer.change == CLEAR) CHECK(syncmap_len(bed.map) == 0);
            CHECK(bed_range_count(&bed) == syncmap_len(bed.map));
            bed_close(&bed);
        }
    }
}

static void test_changes(void **state)
{
    (void)state;
    for_each_ownership(changes);
}

/* ---- what a visit is given ---- */

/* Every operation with the very key of the visit. Ends with the key stored, but for every third. */
static bool visit_use_key(syncmap_key key, void *value, void *context)
{
    struct bed *bed = context;
    uint64_t index = config_key_index(bed->config, key);
    void *got = bed;
    CHECK(syncmap_load(bed->map, key, &got) == 1 && got == value);
    handed_done(bed->ownership, got);
    CHECK(syncmap_load_or_store(bed->map, key, bed, &got) == 1 && got == value);
    handed_done(bed->ownership, got);
    void *first = value_make(index);
    CHECK(syncmap_compare_and_swap(bed->map, key, value, first) == 1);
    CHECK(syncmap_compare_and_delete(bed->map, key, value) == 0);
    CHECK(syncmap_compare_and_delete(bed->map, key, first) == 1);
    CHECK(syncmap_delete(bed->map, key) == 0);
    void *second = value_make(index);
    CHECK(syncmap_store(bed->map, key, second) == 0);
    void *third = value_make(index);
    CHECK(syncmap_swap(bed->map, key, third, &got) == 1 && got == second);
    previous_done(bed->ownership, got);
    if (index % 3 == 0) {
        CHECK(syncmap_load_and_delete(bed->map, key, &got) == 1 && got == third);
        previous_done(bed->ownership, got);
    }
    CHECK(config_key_index(bed->config, key) == index);
    handed_done(bed->ownership, value);
    return true;
}

static void keys_usable(const struct config *config, enum ownership ownership)
{
    if (ownership == PLAIN) return;
    struct bed bed;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, KEYS);
    CHECK(syncmap_range(bed.map, visit_use_key, &bed) == 1);
    CHECK(syncmap_len(bed.map) == KEYS - KEYS / 3);
    for (uint64_t i = 0; i < KEYS; i++) {
        if (i % 3 == 0) {
            bed_check_absent(&bed, i);
        } else {
            bed_check_present(&bed, i);
        }
    }
    bed_close(&bed);
}

static void test_keys_usable(void **state)
{
    (void)state;
    for_each_ownership(keys_usable);
}

struct collected {
    struct bed *bed;
    size_t count;
    uint64_t index[KEYS];
    syncmap_key key[KEYS];
    void *value[KEYS];
};

/* Deletes what it was given, makes enough garbage to have the library collect, and looks at all again. */
static bool visit_collect(syncmap_key key, void *value, void *context)
{
    struct collected *collected = context;
    struct bed *bed = collected->bed;
    uint64_t index = config_key_index(bed->config, key);
    CHECK(collected->count < KEYS);
    collected->index[collected->count] = index;
    collected->key[collected->count] = key;
    collected->value[collected->count++] = value;
    bed_delete(bed, index, 1);
    for (int i = 0; i < 100; i++) {
        bed_store(bed, KEYS + index, i > 0);
        CHECK(syncmap_retire(value_make(0), value_release) == 0);
    }
    bed_delete(bed, KEYS + index, 1);
    /* Waits for nothing, as the range is a pin. */
    syncmap_barrier();
    for (size_t i = 0; i < collected->count; i++) {
        CHECK(config_key_index(bed->config, collected->key[i]) == collected->index[i]);
        if (collected->value[i]) value_check(collected->value[i], collected->index[i]);
    }
    return true;
}

static void valid_until_return(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, KEYS);
    struct collected collected = {.bed = &bed};
    CHECK(syncmap_range(bed.map, visit_collect, &collected) == 1);
    CHECK(collected.count == KEYS);
    for (size_t i = 0; i < KEYS; i++) handed_done(ownership, collected.value[i]);
    CHECK(syncmap_len(bed.map) == 0);
    bed_close(&bed);
}

static void test_valid_until_return(void **state)
{
    (void)state;
    for_each_ownership(valid_until_return);
}

/* ---- a visit that does not return ---- */

/* AddressSanitizer takes the frames that were left for frames still in use, unless it is told: by the compiler before
 * pthread_exit(), by nobody before a cancellation. NULL without it. */
__attribute__((weak)) void __asan_handle_no_return(void);

struct leaver {
    struct bed *bed;
    bool cancelled;
    size_t visits;
};

static bool visit_leave(syncmap_key key, void *value, void *context)
{
    struct leaver *leaver = context;
    config_key_index(leaver->bed->config, key);
    handed_done(leaver->bed->ownership, value);
    if (++leaver->visits < KEYS / 2) return true;
    if (leaver->cancelled) {
        CHECK(pthread_cancel(pthread_self()) == 0);
        if (__asan_handle_no_return) __asan_handle_no_return();
        pthread_testcancel();
    }
    pthread_exit(NULL);
}

static void leave(void *context)
{
    struct leaver *leaver = context;
    syncmap_range(leaver->bed->map, visit_leave, leaver);
    CHECK(!"the visit left");
}

/* A thread that ends in a visit leaves no pin behind. */
static void leaves(const struct config *config, enum ownership ownership)
{
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct bed bed;
        struct thread thread;
        struct leaver leaver = {&bed, cancelled, 0};
        bed_open(&bed, config, ownership);
        fill(&bed, 0, KEYS);
        thread_start(&thread, leave, &leaver);
        thread_join(&thread);
        for (uint64_t i = 0; i < KEYS; i++) bed_delete(&bed, i, 1);
        CHECK(syncmap_clear(bed.map) == 0);
        syncmap_barrier();
        CHECK(values_live() == 0);
        fill(&bed, 0, KEYS);
        CHECK(bed_range_count(&bed) == KEYS);
        bed_close(&bed);
    }
}

static void test_leave(void **state)
{
    (void)state;
    for_each_ownership(leaves);
}

/* ---- beside other threads ---- */

enum { STABLE = 32, CHURN = 64, RANGERS = 2, WRITERS = 2 };

struct crowd {
    struct bed bed;
    uint64_t stream;
    bool clears;
    uint64_t steps;
    atomic_int ranging; /* rangers that are not done */
};

static void churn_step(struct crowd *crowd, struct rng *rng)
{
    uint64_t index = STABLE + rng_below(rng, CHURN);
    switch (rng_below(rng, 8)) {
    case 0: case 1: case 2: put(&crowd->bed, index); break;
    case 3: case 4: CHECK(syncmap_delete(crowd->bed.map, KEY(&crowd->bed, index)) >= 0); break;
    case 5:
        /* Stable keys are replaced, too: they are never absent. */
        bed_store(&crowd->bed, rng_below(rng, STABLE), 1);
        break;
    case 6: CHECK(syncmap_load(crowd->bed.map, KEY(&crowd->bed, STABLE + CHURN), NULL) == 0); break;
    default: {
        void *previous;
        CHECK(syncmap_load_and_delete(crowd->bed.map, KEY(&crowd->bed, index), &previous) >= 0);
        previous_done(crowd->bed.ownership, previous);
    }
    }
}

struct crowd_visit {
    struct crowd *crowd;
    size_t stable;
    bool seen[STABLE + CHURN];
};

static bool visit_crowd(syncmap_key key, void *value, void *context)
{
    struct crowd_visit *visit = context;
    uint64_t index = config_key_index(visit->crowd->bed.config, key);
    CHECK(index < STABLE + CHURN);
    CHECK(!visit->seen[index]);
    visit->seen[index] = true;
    if (index < STABLE) visit->stable++;
    if (value) value_check(value, index);
    handed_done(visit->crowd->bed.ownership, value);
    return true;
}

static void crowd_thread(size_t number, void *context)
{
    struct crowd *crowd = context;
    struct rng rng = rng_make(test_seed(), crowd->stream + number);
    if (number >= RANGERS) {
        while (atomic_load(&crowd->ranging) > 0) churn_step(crowd, &rng);
        return;
    }
    for (uint64_t i = 0; i < crowd->steps; i++) {
        struct crowd_visit visit = {.crowd = crowd};
        CHECK(syncmap_range(crowd->bed.map, visit_crowd, &visit) == 1);
        CHECK(visit.stable == STABLE);
        CHECK(syncmap_len(crowd->bed.map) <= STABLE + CHURN + WRITERS);
    }
    atomic_fetch_sub(&crowd->ranging, 1);
}

static void range_in_crowd(const struct config *config, enum ownership ownership)
{
    struct crowd crowd = {.stream = 1000, .steps = 5000 / TEST_SCALE, .ranging = RANGERS};
    bed_open(&crowd.bed, config, ownership);
    fill(&crowd.bed, 0, STABLE);
    threads_run(RANGERS + WRITERS, crowd_thread, &crowd);
    size_t count = bed_range_count(&crowd.bed);
    CHECK(count >= STABLE);
    CHECK(syncmap_len(crowd.bed.map) == count);
    bed_close(&crowd.bed);
}

static void test_range_in_crowd(void **state)
{
    (void)state;
    for_each_ownership(range_in_crowd);
}

/* ---- clear beside other threads ---- */

static void writer_and_clearer(size_t number, void *context)
{
    struct crowd *crowd = context;
    struct bed *bed = &crowd->bed;
    struct rng rng = rng_make(test_seed(), crowd->stream + number);
    for (uint64_t i = 0; i < crowd->steps; i++) {
        uint64_t index = rng_below(&rng, CHURN);
        if (number == 0 && i % 16 == 0) {
            CHECK(syncmap_clear(bed->map) == 0);
        } else if (rng_below(&rng, 4) == 0) {
            CHECK(syncmap_delete(bed->map, KEY(bed, index)) >= 0);
        } else if (rng_below(&rng, 16) == 0) {
            CHECK(bed_range_count(bed) <= CHURN);
        } else {
            put(bed, index);
        }
        /* A clear in the middle may have all keys counted twice: those that were and those that are. */
        if (rng_below(&rng, 32) == 0) CHECK(syncmap_len(bed->map) <= 2 * CHURN + 4);
    }
}

static void clear_in_crowd(const struct config *config, enum ownership ownership)
{
    struct crowd crowd = {.stream = 2000, .steps = 30000 / TEST_SCALE};
    bed_open(&crowd.bed, config, ownership);
    threads_run(4, writer_and_clearer, &crowd);
    size_t present = 0;
    for (uint64_t i = 0; i < CHURN; i++) present += (size_t)syncmap_load(crowd.bed.map, KEY(&crowd.bed, i), NULL);
    CHECK(syncmap_len(crowd.bed.map) == present);
    CHECK(bed_range_count(&crowd.bed) == present);
    CHECK(syncmap_clear(crowd.bed.map) == 0);
    CHECK(syncmap_len(crowd.bed.map) == 0);
    CHECK(bed_range_count(&crowd.bed) == 0);
    bed_close(&crowd.bed);
}

static void test_clear_in_crowd(void **state)
{
    (void)state;
    for_each_ownership(clear_in_crowd);
}

/* One thread stores the keys in order, with the number of the round as their value, then clears. Who has seen the last
 * key of a round knows that all of that round were there, and who then misses one knows that the clear has been: no
 * other key of that round may turn up any more. */
struct instant {
    syncmap *map;
    uint64_t rounds;
    atomic_bool done;
};
enum { INSTANT_KEYS = 8 };

static uintptr_t round_of(struct instant *instant, uint64_t key)
{
    void *value;
    syncmap_load(instant->map, syncmap_u64(key), &value);
    return (uintptr_t)value;
}

static void instant_writer(struct instant *instant)
{
    for (uint64_t round = 1; round <= instant->rounds; round++) {
        for (uint64_t key = 0; key < INSTANT_KEYS; key++) {
            CHECK(syncmap_store(instant->map, syncmap_u64(key), (void *)(uintptr_t)round) == 0);
        }
        /* Half of the rounds are cleared from read, half from dirty. */
        for (uint64_t miss = 0; round % 2 && miss <= INSTANT_KEYS; miss++) round_of(instant, INSTANT_KEYS);
        CHECK(syncmap_clear(instant->map) == 0);
    }
    atomic_store(&instant->done, true);
}

static void instant_thread(size_t number, void *context)
{
    struct instant *instant = context;
    struct rng rng = rng_make(test_seed(), 3000 + number);
    if (number == 0) {
        instant_writer(instant);
        return;
    }
    while (!atomic_load(&instant->done)) {
        uint64_t first = rng_below(&rng, INSTANT_KEYS);
        uint64_t second = rng_below(&rng, INSTANT_KEYS);
        uintptr_t round = round_of(instant, INSTANT_KEYS - 1);
        if (round == 0 || round_of(instant, first) == round) continue;
        CHECK(round_of(instant, second) != round);
    }
}

static void clear_is_an_instant(enum syncmap_engine engine)
{
    struct counting counting;
    counting_init(&counting);
    struct instant instant = {.rounds = 100000 / TEST_SCALE};
    syncmap_options options = {.engine = engine, .allocator = counting_allocator(&counting)};
    instant.map = syncmap_new(SYNCMAP_U64, &options);
    CHECK(instant.map != NULL);
    threads_run(3, instant_thread, &instant);
    finish_map(instant.map, &counting);
}

static void test_clear_is_an_instant(void **state)
{
    (void)state;
    FOR_EACH_ENGINE(engine) clear_is_an_instant(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop),           cmocka_unit_test(test_nested),
        cmocka_unit_test(test_changes),        cmocka_unit_test(test_keys_usable),
        cmocka_unit_test(test_valid_until_return), cmocka_unit_test(test_leave),
        cmocka_unit_test(test_range_in_crowd), cmocka_unit_test(test_clear_in_crowd),
        cmocka_unit_test(test_clear_is_an_instant),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
