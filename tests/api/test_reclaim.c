/* SPDX-License-Identifier: MIT
 *
 * Pins, retire and barrier: nothing is released under a pin, everything is released after it, whichever threads come
 * and go. What never comes shows as a hang, which the alarm ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/harness.h"

/* ---- pins on another thread ---- */

/* One object that counts its releases. */
static atomic_int releases;

static void count_release(void *object)
{
    CHECK(object == &releases);
    atomic_fetch_add(&releases, 1);
}

static void retire_counted(void)
{
    CHECK(syncmap_retire(&releases, count_release) == 0);
}

/* Enough garbage to have the library collect many times over. */
static void make_garbage(void)
{
    for (int i = 0; i < 3000; i++) CHECK(syncmap_retire(value_make(0), value_release) == 0);
}

struct pinner {
    struct stage stage; /* even numbers are set by the pinning thread, odd ones by the test */
    int pins;
    struct bed *bed; /* where it is set, key 1 is loaded under the pin */
};

static void pinner_main(void *context)
{
    struct pinner *pinner = context;
    void *loaded = NULL;
    for (int i = 0; i < pinner->pins; i++) syncmap_pin();
    if (pinner->bed) CHECK(syncmap_load(pinner->bed->map, KEY(pinner->bed, 1), &loaded) == 1);
    for (int i = 0; i < pinner->pins; i++) {
        stage_set(&pinner->stage, 2 * i + 2);
        stage_wait(&pinner->stage, 2 * i + 3);
        if (loaded) value_check(loaded, 1);
        syncmap_unpin();
    }
    stage_set(&pinner->stage, 2 * pinner->pins + 2);
    stage_wait(&pinner->stage, 2 * pinner->pins + 3);
}

static void pinner_start(struct pinner *pinner, struct thread *thread)
{
    thread_start(thread, pinner_main, pinner);
    stage_wait(&pinner->stage, 2);
}

/* Lets it do all the unpins that it has left; it does not exit before pinner_join. */
static void pinner_unpin(struct pinner *pinner, int pins_left)
{
    for (int i = pinner->pins - pins_left; i < pinner->pins; i++) {
        stage_set(&pinner->stage, 2 * i + 3);
        stage_wait(&pinner->stage, 2 * i + 4);
    }
}

static void pinner_join(struct pinner *pinner, struct thread *thread)
{
    stage_set(&pinner->stage, 2 * pinner->pins + 3);
    thread_join(thread);
}

static void test_pin_holds(void **state)
{
    (void)state;
    struct thread thread;
    struct pinner pinner = {.pins = 1};
    atomic_store(&releases, 0);
    pinner_start(&pinner, &thread);
    retire_counted();
    make_garbage();
    CHECK(atomic_load(&releases) == 0);
    pinner_unpin(&pinner, 1);
    syncmap_barrier();
    CHECK(atomic_load(&releases) == 1);
    pinner_join(&pinner, &thread);
    finish_map(NULL, NULL);
    CHECK(atomic_load(&releases) == 1);
}

static void test_pins_nest(void **state)
{
    (void)state;
    enum { PINS = 5 };
    struct thread thread;
    struct pinner pinner = {.pins = PINS};
    atomic_store(&releases, 0);
    pinner_start(&pinner, &thread);
    retire_counted();
    for (int i = 0; i < PINS; i++) {
        make_garbage();
        CHECK(atomic_load(&releases) == 0);
        stage_set(&pinner.stage, 2 * i + 3);
        stage_wait(&pinner.stage, 2 * i + 4);
    }
    syncmap_barrier();
    CHECK(atomic_load(&releases) == 1);
    pinner_join(&pinner, &thread);
    finish_map(NULL, NULL);
}

/* What another thread has loaded outlives its replacement, its deletion and the map. */
static void pinned_elsewhere(const struct config *config)
{
    for (int way = 0; way < 4; way++) {
        struct bed bed;
        struct thread thread;
        struct pinner pinner = {.pins = 2, .bed = &bed};
        bed_open(&bed, config, OWNED);
        bed_store(&bed, 1, 0);
        if (way % 2) bed_range_count(&bed);
        pinner_start(&pinner, &thread);
        switch (way) {
        case 0: bed_delete(&bed, 1, 1); break;
        case 1: bed_store(&bed, 1, 1); break;
        case 2: CHECK(syncmap_clear(bed.map) == 0); break;
        default:
            syncmap_free(bed.map);
            bed.map = NULL;
        }
        make_garbage();
        pinner_unpin(&pinner, 2);
        pinner_join(&pinner, &thread);
        bed_close(&bed);
    }
}

static void test_pinned_elsewhere(void **state)
{
    (void)state;
    for_each_config(pinned_elsewhere);
}

/* ---- barrier ---- */

static void barrier_main(void *context)
{
    struct stage *stage = context;
    stage_set(stage, 1);
    syncmap_barrier();
    CHECK(atomic_load(&releases) == 1);
    stage_set(stage, 2);
}

static void test_barrier_waits(void **state)
{
    (void)state;
    struct thread pinning, waiting;
    struct pinner pinner = {.pins = 2};
    struct stage stage = {0};
    atomic_store(&releases, 0);
    pinner_start(&pinner, &pinning);
    retire_counted();
    thread_start(&waiting, barrier_main, &stage);
    stage_wait(&stage, 1);
    sleep_ms(30);
    CHECK(atomic_load(&stage.reached) == 1);
    stage_set(&pinner.stage, 3); /* the inner pin ends: still not */
    stage_wait(&pinner.stage, 4);
    sleep_ms(30);
    CHECK(atomic_load(&stage.reached) == 1 && atomic_load(&releases) == 0);
    pinner_unpin(&pinner, 1);
    thread_join(&waiting);
    CHECK(atomic_load(&stage.reached) == 2);
    pinner_join(&pinner, &pinning);
    finish_map(NULL, NULL);
}

/* Whoever is pinned, itself, must not wait for itself, and its pin must hold all the same. */
static bool visit_barrier(syncmap_key key, void *value, void *context)
{
    (void)key;
    (void)value;
    retire_counted();
    syncmap_barrier();
    CHECK(atomic_load(&releases) == *(int *)context);
    return true;
}

static void test_barrier_while_pinned(void **state)
{
    (void)state;
    atomic_store(&releases, 0);
    syncmap_pin();
    syncmap_pin();
    retire_counted();
    syncmap_barrier();
    make_garbage();
    syncmap_unpin();
    syncmap_barrier();
    CHECK(atomic_load(&releases) == 0);
    syncmap_unpin();
    syncmap_barrier();
    CHECK(atomic_load(&releases) == 1);
    FOR_EACH_ENGINE(engine) {
        syncmap *map = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = engine});
        CHECK(map != NULL && syncmap_store(map, syncmap_u64(1), NULL) == 0);
        int before = atomic_load(&releases);
        CHECK(syncmap_range(map, visit_barrier, &before) == 1);
        finish_map(map, NULL);
        CHECK(atomic_load(&releases) == before + 1);
    }
}

static void release_again(void *object)
{
    int *left = object;
    syncmap_barrier();
    syncmap_pin();
    syncmap_barrier();
    syncmap_unpin();
    if (--*left > 0) CHECK(syncmap_retire(left, release_again) == 0);
}

/* A release function that retires: each barrier ends at least one of the chain. */
static void test_barrier_in_release(void **state)
{
    (void)state;
    int left = 10;
    CHECK(syncmap_retire(&left, release_again) == 0);
    for (int i = 0; i < 10; i++) {
        int before = left;
        syncmap_barrier();
        CHECK(left < before || left == 0);
    }
    CHECK(left == 0);
    finish_map(NULL, NULL);
}

/* ---- barrier beside a release that takes long ---- */

struct slow {
    struct stage stage; /* 1: the release has begun, 2: and ended */
};

static void release_slowly(void *object)
{
    struct slow *slow = object;
    stage_set(&slow->stage, 1);
    sleep_ms(20);
    stage_set(&slow->stage, 2);
}

static void collect_slowly(void *context)
{
    CHECK(syncmap_retire(context, release_slowly) == 0);
    syncmap_barrier();
}

/* Not only what lies waiting is waited for, but also what another thread is just releasing. */
static void test_barrier_waits_for_release(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct thread thread;
        struct slow slow = {.stage = {0}};
        thread_start(&thread, collect_slowly, &slow);
        stage_wait(&slow.stage, 1);
        syncmap_barrier();
        CHECK(atomic_load(&slow.stage.reached) == 2);
        thread_join(&thread);
    }
    finish_map(NULL, NULL);
}

struct own_barrier {
    uint64_t steps;
};

static void set_flag(void *object)
{
    atomic_store((atomic_int *)object, 1);
}

/* What a thread has retired is released when its own barrier returns, whoever collected it. */
static void own_barrier_thread(size_t number, void *context)
{
    struct own_barrier *job = context;
    struct rng rng = rng_make(test_seed(), 6000 + number);
    for (uint64_t i = 0; i < job->steps; i++) {
        atomic_int flag = 0;
        bool pins = rng_below(&rng, 2);
        if (pins) syncmap_pin();
        CHECK(syncmap_retire(&flag, set_flag) == 0);
        if (pins) CHECK(atomic_load(&flag) == 0);
        if (pins) syncmap_unpin();
        if (rng_below(&rng, 4) == 0) make_garbage();
        syncmap_barrier();
        CHECK(atomic_load(&flag) == 1);
    }
}

static void test_own_barrier(void **state)
{
    (void)state;
    threads_run(4, own_barrier_thread, &(struct own_barrier){400 / TEST_SCALE});
    finish_map(NULL, NULL);
}

/* ---- readers beside retirers ---- */

enum { CELLS = 4 };

struct cells {
    _Atomic(struct value *) cell[CELLS];
    atomic_int writers; /* that are not done */
    uint64_t steps;
};
enum { CELL_WRITERS = 2, CELL_READERS = 2 };

static void cell_reader(struct cells *cells, struct rng *rng)
{
    struct value *seen[CELLS];
    syncmap_pin();
    for (uint64_t i = 0; i < CELLS; i++) seen[i] = atomic_load(&cells->cell[i]);
    if (rng_below(rng, 64) == 0) sleep_ms(1);
    for (uint64_t i = 0; i < CELLS; i++) value_check(seen[i], i);
    syncmap_unpin();
}

static void cell_thread(size_t number, void *context)
{
    struct cells *cells = context;
    struct rng rng = rng_make(test_seed(), 7000 + number);
    if (number >= CELL_WRITERS) {
        while (atomic_load(&cells->writers) > 0) cell_reader(cells, &rng);
        return;
    }
    for (uint64_t i = 0; i < cells->steps; i++) {
        uint64_t cell = rng_below(&rng, CELLS);
        CHECK(syncmap_retire(atomic_exchange(&cells->cell[cell], value_make(cell)), value_release) == 0);
    }
    atomic_fetch_sub(&cells->writers, 1);
}

static void test_cells(void **state)
{
    (void)state;
    struct cells cells = {.writers = CELL_WRITERS, .steps = 1000000 / TEST_SCALE};
    for (uint64_t i = 0; i < CELLS; i++) atomic_init(&cells.cell[i], value_make(i));
    threads_run(CELL_WRITERS + CELL_READERS, cell_thread, &cells);
    for (uint64_t i = 0; i < CELLS; i++) value_release(atomic_load(&cells.cell[i]));
    finish_map(NULL, NULL);
}

/* ---- threads that end ---- */

struct visitor {
    struct bed *bed;
    bool stays_pinned;
};

static void short_life(void *context)
{
    struct visitor *visitor = context;
    struct bed *bed = visitor->bed;
    if (visitor->stays_pinned) syncmap_pin();
    for (uint64_t i = 0; i < 5; i++) {
        CHECK(syncmap_store(bed->map, KEY(bed, i), value_make(i)) >= 0);
        CHECK(syncmap_store(bed->map, KEY(bed, i + 5), value_make(i + 5)) >= 0);
        CHECK(syncmap_delete(bed->map, KEY(bed, i)) >= 0);
        CHECK(syncmap_retire(value_make(0), value_release) == 0);
    }
}

/* The garbage of a thread that is gone is not gone with it; nor is its pin left behind. */
static void exit_hands_over(const struct config *config)
{
    for (int stays_pinned = 0; stays_pinned < 2; stays_pinned++) {
        struct bed bed;
        struct thread thread;
        struct visitor visitor = {&bed, stays_pinned};
        bed_open(&bed, config, OWNED);
        thread_start(&thread, short_life, &visitor);
        thread_join(&thread);
        syncmap_barrier();
        CHECK(values_live() == 5);
        CHECK(bed_range_count(&bed) == 5);
        bed_close(&bed);
    }
}

static void test_exit_hands_over(void **state)
{
    (void)state;
    for_each_config(exit_hands_over);
}

static void test_short_lives(void **state)
{
    (void)state;
    enum { AT_ONCE = 20 };
    const int rounds = 2000 / AT_ONCE;
    struct bed bed;
    struct visitor visitors[AT_ONCE];
    struct thread threads[AT_ONCE];
    bed_open(&bed, &test_configs[0], OWNED);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            visitors[i] = (struct visitor){&bed, i % 5 == 0};
            thread_start(&threads[i], short_life, &visitors[i]);
        }
        for (int i = 0; i < AT_ONCE; i++) thread_join(&threads[i]);
    }
    syncmap_barrier();
    CHECK(values_live() == (long long)syncmap_len(bed.map));
    bed_close(&bed);
}

/* ---- destructors of thread-specific data ---- */

static pthread_key_t late_key;

/* May run after the library's own detaching of the thread, which then attaches again. */
static void late_destructor(void *context)
{
    struct bed *bed = context;
    CHECK(syncmap_store(bed->map, KEY(bed, 1), value_make(1)) >= 0);
    bed_check_present(bed, 2);
    bed_store(bed, 3, 1);
    CHECK(syncmap_retire(value_make(0), value_release) == 0);
    syncmap_pin();
}

static void late_life(void *context)
{
    struct bed *bed = context;
    CHECK(pthread_setspecific(late_key, bed) == 0);
    bed_check_present(bed, 2);
    bed_store(bed, 3, 1);
}

/* A thread whose first call of the library is in a destructor. */
static void later_life(void *context)
{
    CHECK(pthread_setspecific(late_key, context) == 0);
}

static void test_late_destructors(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, &test_configs[0], OWNED);
    bed_store(&bed, 2, 0);
    bed_store(&bed, 3, 0);
    CHECK(pthread_key_create(&late_key, late_destructor) == 0);
    for (int i = 0; i < 200; i++) {
        struct thread thread;
        thread_start(&thread, i % 2 ? late_life : later_life, &bed);
        thread_join(&thread);
    }
    CHECK(pthread_key_delete(late_key) == 0);
    syncmap_barrier();
    CHECK(values_live() == 3);
    bed_close(&bed);
}

/* ---- nothing needs memory to be pinned ---- */

static void first_calls(void *context)
{
    struct bed *bed = context;
    void *value = bed;
    syncmap_unpin();
    syncmap_pin();
    CHECK(syncmap_load(bed->map, KEY(bed, 1), &value) == 1);
    value_check(value, 1);
    bed_delete(bed, 1, 1);
    make_garbage();
    value_check(value, 1);
    syncmap_unpin();
    syncmap_barrier();
}

/* The pin of a thread that the library has not seen before is as good as any: it began before the thread was
 * attached. */
static void test_first_pin(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct bed bed;
        struct thread thread;
        bed_open(&bed, &test_configs[i % test_config_count], OWNED);
        bed_store(&bed, 1, 0);
        if (i % 2) bed_range_count(&bed);
        thread_start(&thread, first_calls, &bed);
        thread_join(&thread);
        CHECK(values_live() == 0);
        bed_close(&bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pin_holds),
        cmocka_unit_test(test_pins_nest),
        cmocka_unit_test(test_pinned_elsewhere),
        cmocka_unit_test(test_barrier_waits),
        cmocka_unit_test(test_barrier_while_pinned),
        cmocka_unit_test(test_barrier_in_release),
        cmocka_unit_test(test_barrier_waits_for_release),
        cmocka_unit_test(test_own_barrier),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_exit_hands_over),
        cmocka_unit_test(test_short_lives),
        cmocka_unit_test(test_late_destructors),
        cmocka_unit_test(test_first_pin),
    };
    test_seed();
    alarm((unsigned)test_env("TIME_LIMIT", 120));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
