/* SPDX-License-Identifier: MIT
 *
 * syncmap_load_or_compute(), from the header: who computes, how often, who waits for whom, and what becomes of a value that is not
 * stored. A thread that waits for ever shows as a hang, which the alarm ends.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/harness.h"

enum { FAILURE = -77, THREADS = 4 };

/* AddressSanitizer has to be told that a stack is left; it is by pthread_exit(), by nobody before a cancellation. NULL without
 * it. */
__attribute__((weak)) void __asan_handle_no_return(void);

/* Until the thread is cancelled. (Not in what ThreadSanitizer intercepts, as pause(): it would take no notice of mutexes from there
 * on.) */
static _Noreturn void wait_for_the_end(void)
{
    for (;;) {
        if (__asan_handle_no_return) __asan_handle_no_return();
        pthread_testcancel();
        sched_yield();
    }
}

/* ---- one thread ---- */

/* What a compute does, and what it was called with. */
struct order {
    struct bed *bed;
    uint64_t index;
    void *gives;
    int result;
    int calls;
    void (*first)(struct order *order); /* may be NULL */
};

static int obey(syncmap_key key, void **value, void *context)
{
    struct order *order = context;
    CHECK(config_key_index(order->bed->config, key) == order->index);
    CHECK(*value == NULL);
    order->calls++;
    if (order->first) order->first(order);
    if (order->result >= 0) *value = order->gives;
    return order->result;
}

/* Calls, and checks the result, how often compute was called, and the value. */
static void expect(struct order *order, int result, int calls, const void *value)
{
    struct bed *bed = order->bed;
    void *actual = order;
    order->calls = 0;
    handed_begin(bed->ownership);
    CHECK(syncmap_load_or_compute(bed->map, KEY(bed, order->index), obey, order, &actual) == result);
    CHECK(order->calls == calls);
    CHECK(actual == (result >= 0 ? value : order));
    if (result >= 0) handed_done(bed->ownership, actual);
    handed_end(bed->ownership);
}

static void *fresh(const struct bed *bed, uint64_t index)
{
    static char words[16];
    return bed->ownership == PLAIN ? &words[index % sizeof words] : (void *)value_make(index);
}

static void results(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    for (uint64_t index = 0; index < 40; index++) {
        struct order order = {.bed = &bed, .index = index, .result = FAILURE};
        expect(&order, FAILURE, 1, NULL);
        bed_check_absent(&bed, index);
        order.result = 0;
        void *value = order.gives = index % 8 == 7 ? NULL : fresh(&bed, index);
        expect(&order, 0, 1, value);
        order.gives = &order; /* which nobody takes */
        expect(&order, 1, 0, value);
        CHECK(syncmap_load_or_compute(bed.map, KEY(&bed, index), obey, &order, NULL) == 1);
        if (index % 3 == 0) {
            bed_delete(&bed, index, 1);
            order.gives = fresh(&bed, index);
            order.calls = 0;
            CHECK(syncmap_load_or_compute(bed.map, KEY(&bed, index), obey, &order, NULL) == 0);
            CHECK(order.calls == 1);
        }
    }
    CHECK(syncmap_len(bed.map) == 40);
    bed_close(&bed);
}

static void test_results(void **state)
{
    (void)state;
    for_each_ownership(results);
}

static void arguments(const struct config *config)
{
    struct bed bed;
    bed_open(&bed, config, PLAIN);
    struct order order = {.bed = &bed};
    void *actual = &order;
    syncmap_key good = KEY(&bed, 0), bad = config->kind == SYNCMAP_BYTES ? syncmap_u64(1) : syncmap_bytes("x", 1);
    CHECK(syncmap_load_or_compute(NULL, good, obey, &order, &actual) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_or_compute(bed.map, good, NULL, &order, &actual) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_or_compute(bed.map, bad, obey, &order, &actual) == SYNCMAP_EINVAL);
    if (config->kind == SYNCMAP_STRING) CHECK(syncmap_load_or_compute(bed.map, syncmap_str(NULL), obey, &order, &actual) == SYNCMAP_EINVAL);
    CHECK(order.calls == 0 && actual == &order && syncmap_len(bed.map) == 0);
    bed_close(&bed);
}

static void test_arguments(void **state)
{
    (void)state;
    for_each_config(arguments);
}

/* ---- what happens while it computes ---- */

static void *stored;

static void store_meanwhile(struct order *order)
{
    CHECK(syncmap_load(order->bed->map, KEY(order->bed, order->index), NULL) == 0);
    CHECK(syncmap_store(order->bed->map, KEY(order->bed, order->index), stored) == 0);
}

static void store_and_delete(struct order *order)
{
    bed_store(order->bed, order->index, 0);
    bed_delete(order->bed, order->index, 1);
}

static void clear_meanwhile(struct order *order)
{
    bed_store(order->bed, order->index + 1, 0);
    CHECK(syncmap_clear(order->bed->map) == 0);
}

static void lost_races(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    struct order order = {.bed = &bed, .index = 3, .first = store_meanwhile};
    stored = fresh(&bed, 3);
    order.gives = fresh(&bed, 3); /* which the map gives up: bed_close() counts what it owned */
    expect(&order, 1, 1, stored);
    order = (struct order){.bed = &bed, .index = 4, .first = store_meanwhile};
    stored = fresh(&bed, 4);
    expect(&order, 1, 1, stored); /* NULL owns nothing */
    order = (struct order){.bed = &bed, .index = 5, .result = FAILURE, .first = store_meanwhile};
    stored = fresh(&bed, 5);
    expect(&order, FAILURE, 1, NULL);
    bed_check_present(&bed, 5);
    order = (struct order){.bed = &bed, .index = 6, .gives = fresh(&bed, 6), .first = store_and_delete};
    expect(&order, 0, 1, order.gives);
    order = (struct order){.bed = &bed, .index = 7, .gives = fresh(&bed, 7), .first = clear_meanwhile};
    expect(&order, 0, 1, order.gives);
    CHECK(syncmap_len(bed.map) == 1);
    bed_close(&bed);
}

/* bed_check_present() knows no words. */
static void lost_races_owned(const struct config *config, enum ownership ownership)
{
    if (ownership != PLAIN) lost_races(config, ownership);
}

static void test_lost_races(void **state)
{
    (void)state;
    for_each_ownership(lost_races_owned);
}

/* A value that is not stored is freed when nobody waits for its flight any more, as in any release: nobody waits for what value_free
 * waits for then, and it is not cut off. */
struct losing {
    struct bed bed;
    struct stage stage;
};

static void value_free_and_wait(void *value, void *context)
{
    syncmap_barrier(); /* which returns at once, whoever is pinned */
    pthread_testcancel();
    value_free(value, context);
}

static int lose(syncmap_key key, void **value, void *context)
{
    struct losing *losing = context;
    (void)key;
    stage_set(&losing->stage, 1);
    stage_wait(&losing->stage, 2);
    CHECK(pthread_cancel(pthread_self()) == 0);
    *value = value_make(1);
    return 0;
}

static void *losing_thread(void *context)
{
    struct losing *losing = context;
    CHECK(syncmap_load_or_compute(losing->bed.map, KEY(&losing->bed, 1), lose, losing, NULL) == 1);
    stage_set(&losing->stage, 3);
    wait_for_the_end(); /* which it is told already */
}

static void pinned_waiter(void *context)
{
    struct losing *losing = context;
    void *actual;
    syncmap_pin();
    CHECK(syncmap_load_or_compute(losing->bed.map, KEY(&losing->bed, 1), lose, losing, &actual) == 1);
    value_check(actual, 1);
    stage_wait(&losing->stage, 3);
    syncmap_unpin();
}

static void freed_after_the_flight(const struct config *config)
{
    struct losing losing = {.bed = {.config = config, .ownership = OWNED}};
    counting_init(&losing.bed.counting);
    syncmap_options options = bed_options(config, OWNED, &losing.bed.counting);
    options.value_free = value_free_and_wait;
    bed_open_with(&losing.bed, &options);
    pthread_t first;
    struct thread second;
    CHECK(pthread_create(&first, NULL, losing_thread, &losing) == 0);
    stage_wait(&losing.stage, 1);
    thread_start(&second, pinned_waiter, &losing);
    sleep_ms(2);
    bed_store(&losing.bed, 1, 0);
    stage_set(&losing.stage, 2);
    void *end;
    CHECK(pthread_join(first, &end) == 0 && end == PTHREAD_CANCELED);
    thread_join(&second);
    CHECK(atomic_load(&losing.stage.reached) == 3);
    bed_close(&losing.bed);
}

static void test_freed_after_the_flight(void **state)
{
    (void)state;
    for_each_config(freed_after_the_flight);
}

/* Memory is out when the value is to be stored. */
static struct counting *starved;

static void starve(struct order *order)
{
    (void)order;
    atomic_store(&starved->fail_after, 0);
}

static void out_of_memory(const struct config *config, enum ownership ownership)
{
    unsigned failed = 0;
    struct bed bed;
    bed_open(&bed, config, ownership);
    starved = &bed.counting;
    for (uint64_t index = 0; index < 100; index++) {
        struct order order = {.bed = &bed, .index = index, .gives = fresh(&bed, index), .first = starve};
        order.calls = 0;
        int result = syncmap_load_or_compute(bed.map, KEY(&bed, index), obey, &order, NULL);
        atomic_store(&bed.counting.fail_after, -1);
        CHECK(result == 0 || result == SYNCMAP_ENOMEM);
        CHECK(order.calls == 1 && syncmap_load(bed.map, KEY(&bed, index), NULL) == (result == 0));
        failed += result != 0;
        order = (struct order){.bed = &bed, .index = index, .gives = fresh(&bed, index)};
        if (result != 0) CHECK(syncmap_load_or_compute(bed.map, KEY(&bed, index), obey, &order, NULL) == 0);
        else if (ownership != PLAIN) value_release(order.gives);
    }
    CHECK(failed > 0);
    bed_close(&bed);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for_each_ownership(out_of_memory);
}

/* ---- calls inside calls ---- */

enum { DEEP = 20 };

struct nest {
    struct bed *bed, *other;
    uint64_t depth;
};

static int dig(syncmap_key key, void **value, void *context)
{
    struct nest *nest = context;
    uint64_t index = config_key_index(nest->bed->config, key);
    CHECK(index == nest->depth);
    /* All those that are being computed. */
    for (uint64_t i = 0; i <= index; i++) CHECK(syncmap_load_or_compute(nest->bed->map, KEY(nest->bed, i), dig, nest, NULL) == SYNCMAP_EDEADLK);
    /* That key in another map is another key. */
    CHECK(syncmap_load_or_compute(nest->other->map, KEY(nest->other, index), obey,
                                  &(struct order){.bed = nest->other, .index = index, .gives = fresh(nest->other, index)}, NULL) == 0);
    if (index < DEEP) {
        nest->depth++;
        CHECK(syncmap_load_or_compute(nest->bed->map, KEY(nest->bed, index + 1), dig, nest, NULL) == 0);
    }
    *value = fresh(nest->bed, index);
    return 0;
}

static void nested(const struct config *config, enum ownership ownership)
{
    struct bed bed, other;
    bed_open(&bed, config, ownership);
    bed_open(&other, config, ownership);
    struct nest nest = {.bed = &bed, .other = &other};
    CHECK(syncmap_load_or_compute(bed.map, KEY(&bed, 0), dig, &nest, NULL) == 0);
    CHECK(syncmap_len(bed.map) == DEEP + 1 && syncmap_len(other.map) == DEEP + 1);
    syncmap_free(other.map); /* values of both are counted at the end */
    other.map = NULL;
    bed_close(&bed);
    finish_map(NULL, &other.counting);
}

static void test_nested(void **state)
{
    (void)state;
    for_each_ownership(nested);
}

/* ---- once ---- */

enum { RACE_KEYS = 64 };

struct race {
    struct bed bed;
    bool deletes;
    int failures;                   /* so many computes of each key fail */
    uint64_t rounds;
    atomic_int calls[RACE_KEYS], computing[RACE_KEYS];
    _Atomic(void *) values[RACE_KEYS];
    atomic_ullong computed;
};

static int compute_alone(syncmap_key key, void **value, void *context)
{
    struct race *race = context;
    uint64_t index = config_key_index(race->bed.config, key);
    CHECK(atomic_fetch_add(&race->computing[index], 1) == 0);
    CHECK(race->deletes || syncmap_load(race->bed.map, key, NULL) == 0);
    if (race->deletes) sched_yield(); /* so that others come and wait */
    else if (index % 4 == 0) sleep_ms(1);
    bool fails = atomic_fetch_add(&race->calls[index], 1) < race->failures;
    if (!fails) *value = fresh(&race->bed, index);
    CHECK(atomic_fetch_add(&race->computing[index], -1) == 1);
    return fails ? FAILURE : 0;
}

static void race_thread(size_t number, void *context)
{
    struct race *race = context;
    struct rng rng = rng_make(test_seed(), number);
    for (uint64_t round = 0; round < race->rounds; round++) {
        uint64_t index = race->deletes ? rng_below(&rng, RACE_KEYS / 8) : (round + number / 2) % RACE_KEYS;
        void *actual = NULL;
        if (race->deletes && rng_below(&rng, 4) == 0) {
            CHECK(syncmap_delete(race->bed.map, KEY(&race->bed, index)) >= 0);
            continue;
        }
        handed_begin(race->bed.ownership);
        int result = syncmap_load_or_compute(race->bed.map, KEY(&race->bed, index), compute_alone, race, &actual);
        CHECK(result == 0 || result == 1 || (result == FAILURE && race->failures > 0));
        if (result >= 0 && !race->deletes) { /* all were given the same one */
            void *first = NULL;
            if (!atomic_compare_exchange_strong(&race->values[index], &first, actual)) CHECK(first == actual);
        }
        if (result >= 0) {
            if (race->bed.ownership != PLAIN) value_check(actual, index);
            handed_done(race->bed.ownership, actual);
        }
        handed_end(race->bed.ownership);
        atomic_fetch_add(&race->computed, result == 0);
    }
}

static void race_with(const struct config *config, enum ownership ownership, bool deletes, int failures, uint64_t rounds)
{
    static struct race race;
    race = (struct race){.deletes = deletes, .failures = failures, .rounds = rounds};
    bed_open(&race.bed, config, ownership);
    threads_run(THREADS, race_thread, &race);
    if (!deletes) {
        CHECK(atomic_load(&race.computed) == RACE_KEYS);
        for (size_t i = 0; i < RACE_KEYS; i++) CHECK(atomic_load(&race.calls[i]) == failures + 1);
    }
    bed_close(&race.bed);
}

static void once(const struct config *config, enum ownership ownership)
{
    race_with(config, ownership, false, 0, 2 * RACE_KEYS);
    race_with(config, ownership, false, 2, 4 * RACE_KEYS);
    race_with(config, ownership, true, 0, 20000 / TEST_SCALE);
}

static void test_once(void **state)
{
    (void)state;
    for_each_ownership(once);
}

/* ---- who waits for whom ---- */

static bool hash_is_good(const struct config *config)
{
    return config->kind != SYNCMAP_CUSTOM || config->hash == TEST_HASH_GOOD;
}

/* A ring: thread t computes key t, and wants key t + 1, when all do. */
struct ring {
    struct bed bed;
    size_t threads;
    atomic_size_t inside;
    atomic_int refused;
};

static int want_the_next(syncmap_key key, void **value, void *context)
{
    struct ring *ring = context;
    uint64_t index = config_key_index(ring->bed.config, key), next = (index + 1) % ring->threads;
    atomic_fetch_add(&ring->inside, 1);
    while (atomic_load(&ring->inside) < ring->threads) sleep_ms(1);
    int result = syncmap_load_or_compute(ring->bed.map, KEY(&ring->bed, next), want_the_next, ring, NULL);
    CHECK(result == 1 || result == SYNCMAP_EDEADLK);
    atomic_fetch_add(&ring->refused, result == SYNCMAP_EDEADLK);
    *value = fresh(&ring->bed, index);
    return 0;
}

static void ring_thread(size_t number, void *context)
{
    struct ring *ring = context;
    CHECK(syncmap_load_or_compute(ring->bed.map, KEY(&ring->bed, number), want_the_next, ring, NULL) == 0);
}

static void rings(const struct config *config, enum ownership ownership)
{
    if (!hash_is_good(config)) return;
    for (size_t threads = 2; threads <= 5; threads++) {
        static struct ring ring;
        ring = (struct ring){.threads = threads};
        bed_open(&ring.bed, config, ownership);
        threads_run(threads, ring_thread, &ring);
        CHECK(atomic_load(&ring.refused) == 1);
        CHECK(syncmap_len(ring.bed.map) == threads);
        bed_close(&ring.bed);
    }
}

static void test_rings(void **state)
{
    (void)state;
    for_each_ownership(rings);
}

/* Threads that want keys while they compute keys: upwards, where nobody may be refused, or anyhow. */
enum { WEB_KEYS = 24, WEB_DEPTH = 3 };

struct web {
    struct bed bed;
    bool upwards;
    uint64_t rounds;
    atomic_ullong refused;
};
struct spider {
    struct web *web;
    struct rng rng;
    unsigned depth;
    uint64_t above;
};

static int spin(syncmap_key key, void **value, void *context);

static void want(struct spider *spider)
{
    struct web *web = spider->web;
    uint64_t above = spider->above, from = web->upwards ? above : 0;
    if (from == WEB_KEYS) return;
    uint64_t index = from + rng_below(&spider->rng, WEB_KEYS - from);
    int result = syncmap_load_or_compute(web->bed.map, KEY(&web->bed, index), spin, spider, NULL);
    CHECK(result >= 0 || (result == SYNCMAP_EDEADLK && !(web->upwards && hash_is_good(web->bed.config))));
    if (result < 0) atomic_fetch_add(&web->refused, 1);
    if (spider->depth == 0 && rng_below(&spider->rng, 2) == 0) CHECK(syncmap_delete(web->bed.map, KEY(&web->bed, index)) >= 0);
    spider->above = above;
}

static int spin(syncmap_key key, void **value, void *context)
{
    struct spider *spider = context;
    uint64_t index = config_key_index(spider->web->bed.config, key);
    if (spider->depth < WEB_DEPTH) {
        spider->depth++;
        spider->above = index + 1;
        want(spider);
        want(spider);
        spider->depth--;
    }
    *value = fresh(&spider->web->bed, index);
    return 0;
}

static void web_thread(size_t number, void *context)
{
    struct spider spider = {.web = context, .rng = rng_make(test_seed(), 100 + number)};
    for (uint64_t i = 0; i < spider.web->rounds; i++) {
        spider.above = 0;
        want(&spider);
    }
}

static void webs(const struct config *config, enum ownership ownership)
{
    if (ownership == ACQUIRED) return;
    for (int upwards = 0; upwards < 2; upwards++) {
        static struct web web;
        web = (struct web){.upwards = upwards, .rounds = 2000 / TEST_SCALE};
        bed_open(&web.bed, config, ownership);
        threads_run(THREADS, web_thread, &web);
        bed_close(&web.bed);
    }
}

static void test_webs(void **state)
{
    (void)state;
    for_each_ownership(webs);
}

/* ---- threads that end while they compute, or wait ---- */

enum end { END_EXIT, END_CANCEL, ENDS };

struct ending {
    struct bed bed;
    enum end how;
    struct stage stage;
    int calls;
};

static int end_here(syncmap_key key, void **value, void *context)
{
    struct ending *ending = context;
    (void)key;
    (void)value;
    stage_set(&ending->stage, 1);
    stage_wait(&ending->stage, 2);
    if (ending->how == END_EXIT) pthread_exit(NULL);
    wait_for_the_end();
}

static void *ending_thread(void *context)
{
    struct ending *ending = context;
    (void)syncmap_load_or_compute(ending->bed.map, KEY(&ending->bed, 1), end_here, ending, NULL);
    CHECK(!"comes here");
    return NULL;
}

static int take_over(syncmap_key key, void **value, void *context)
{
    struct ending *ending = context;
    (void)key;
    ending->calls++;
    *value = fresh(&ending->bed, 1);
    return 0;
}

static void waiting_thread(void *context)
{
    struct ending *ending = context;
    CHECK(syncmap_load_or_compute(ending->bed.map, KEY(&ending->bed, 1), take_over, ending, NULL) == 0);
}

static void endings(const struct config *config, enum ownership ownership)
{
    for (enum end how = END_EXIT; how < ENDS; how++) {
        struct ending ending = {.how = how};
        bed_open(&ending.bed, config, ownership);
        pthread_t first;
        struct thread second;
        CHECK(pthread_create(&first, NULL, ending_thread, &ending) == 0);
        stage_wait(&ending.stage, 1);
        thread_start(&second, waiting_thread, &ending);
        sleep_ms(2);
        CHECK(ending.calls == 0);
        stage_set(&ending.stage, 2);
        if (how == END_CANCEL) CHECK(pthread_cancel(first) == 0);
        CHECK(pthread_join(first, NULL) == 0);
        thread_join(&second);
        CHECK(ending.calls == 1);
        bed_close(&ending.bed);
    }
}

static void test_endings(void **state)
{
    (void)state;
    for_each_ownership(endings);
}

/* A thread that is cancelled while it waits goes on to wait, and has its result. */
static int compute_slowly(syncmap_key key, void **value, void *context)
{
    struct ending *ending = context;
    (void)key;
    stage_set(&ending->stage, 1);
    stage_wait(&ending->stage, 2);
    *value = fresh(&ending->bed, 1);
    return 0;
}

static void slow_thread(void *context)
{
    struct ending *ending = context;
    CHECK(syncmap_load_or_compute(ending->bed.map, KEY(&ending->bed, 1), compute_slowly, ending, NULL) == 0);
}

static void *cancelled_thread(void *context)
{
    struct ending *ending = context;
    CHECK(syncmap_load_or_compute(ending->bed.map, KEY(&ending->bed, 1), take_over, ending, NULL) == 1);
    stage_set(&ending->stage, 3);
    wait_for_the_end();
}

/* One thread computes, and another waits for it. */
static void begin_and_wait(struct ending *ending, const struct config *config, struct thread *first, pthread_t *second)
{
    bed_open(&ending->bed, config, OWNED);
    thread_start(first, slow_thread, ending);
    stage_wait(&ending->stage, 1);
    CHECK(pthread_create(second, NULL, cancelled_thread, ending) == 0);
    sleep_ms(2);
}

static void cancelled_waiters(const struct config *config)
{
    struct ending ending = {0};
    struct thread first;
    pthread_t second;
    begin_and_wait(&ending, config, &first, &second);
    CHECK(pthread_cancel(second) == 0);
    sleep_ms(2);
    stage_set(&ending.stage, 2);
    void *end;
    CHECK(pthread_join(second, &end) == 0 && end == PTHREAD_CANCELED);
    thread_join(&first);
    CHECK(atomic_load(&ending.stage.reached) == 3 && ending.calls == 0);
    bed_close(&ending.bed);
}

static void test_cancelled_waiters(void **state)
{
    (void)state;
    for_each_config(cancelled_waiters);
}

/* ---- fork ---- */

static void child_ends(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Of the threads that compute and wait at the fork the child has none: it does not wait for them. */
static void forked_beside(const struct config *config)
{
    struct ending ending = {0};
    struct thread first;
    pthread_t second;
    begin_and_wait(&ending, config, &first, &second);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(20);
        CHECK(syncmap_load_or_compute(ending.bed.map, KEY(&ending.bed, 1), take_over, &ending, NULL) == 0);
        CHECK(syncmap_load_or_compute(ending.bed.map, KEY(&ending.bed, 1), take_over, &ending, NULL) == 1);
        CHECK(ending.calls == 1);
        child_exit(0);
    }
    child_ends(child);
    stage_set(&ending.stage, 2);
    stage_wait(&ending.stage, 3);
    CHECK(pthread_cancel(second) == 0 && pthread_join(second, NULL) == 0);
    thread_join(&first);
    bed_close(&ending.bed);
}

struct forking {
    struct bed bed;
    pid_t child;
};

/* In the child other threads may wait for this flight, and for those after it. */
static int fork_here(syncmap_key key, void **value, void *context)
{
    struct forking *forking = context;
    uint64_t index = config_key_index(forking->bed.config, key);
    forking->child = fork();
    CHECK(forking->child >= 0);
    CHECK(syncmap_load_or_compute(forking->bed.map, key, fork_here, forking, NULL) == SYNCMAP_EDEADLK);
    *value = fresh(&forking->bed, index);
    return 0;
}

static void forked_inside(const struct config *config)
{
    struct forking forking = {.child = 0};
    bed_open(&forking.bed, config, OWNED);
    CHECK(syncmap_load_or_compute(forking.bed.map, KEY(&forking.bed, 1), fork_here, &forking, NULL) == 0);
    if (forking.child == 0) {
        alarm(20);
        struct order order = {.bed = &forking.bed, .index = 1};
        CHECK(syncmap_load_or_compute(forking.bed.map, KEY(&forking.bed, 1), obey, &order, NULL) == 1);
        order = (struct order){.bed = &forking.bed, .index = 2, .gives = fresh(&forking.bed, 2)};
        CHECK(syncmap_load_or_compute(forking.bed.map, KEY(&forking.bed, 2), obey, &order, NULL) == 0);
        child_exit(0);
    }
    child_ends(forking.child);
    bed_close(&forking.bed);
}

static void test_forks(void **state)
{
    (void)state;
    for_each_config(forked_beside);
    for_each_config(forked_inside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_lost_races),
        cmocka_unit_test(test_freed_after_the_flight),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_webs),
        cmocka_unit_test(test_endings),
        cmocka_unit_test(test_cancelled_waiters),
        cmocka_unit_test(test_forks),
    };
    test_seed();
    alarm((unsigned)test_env("TIME_LIMIT", 120));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
