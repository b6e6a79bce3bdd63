/* SPDX-License-Identifier: MIT
 *
 * Loads in a signal handler that interrupts every single instruction of every operation: the processor's trap flag raises
 * SIGTRAP after each, and the handler pins, loads and unpins. x86-64 only; elsewhere, and under ThreadSanitizer (which
 * delays signals), the tests of tests/stress that use a timer are all there is.
 */
#include "syncmap.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

#include "support/support.h"

#if defined(__x86_64__) && !CHECKED_FENCES
#define STEPPING 1
/* The red zone of the function that sets the flag must not be pushed over. */
#define trap_on() __asm__ volatile("sub $128, %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n add $128, %%rsp" ::: "memory", "cc")
#define trap_off() __asm__ volatile("sub $128, %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n add $128, %%rsp" ::: "memory", "cc")
#else
#define STEPPING 0
#define trap_on() ((void)0)
#define trap_off() ((void)0)
#endif

enum { STABLE = 4 }; /* keys that no operation here touches */

/* Under AddressSanitizer each operation is four times as many instructions. */
#if defined(__SANITIZE_ADDRESS__)
enum { ROUNDS = 4 };
#else
enum { ROUNDS = 12 };
#endif

static syncmap *map;
static syncmap_key stable[STABLE], absent;
static long interrupted;

static void *value_of(size_t i)
{
    return (void *)((i + 1) << 4);
}

static void on_trap(int signal_number)
{
    (void)signal_number;
    unsigned depth = ld_relaxed(&own.depth);
    uint64_t epoch = ld_relaxed(&own.record)->epoch;
    void *value = NULL;
    syncmap_pin();
    CHECK(ld_relaxed(&own.record)->epoch != 0);
    CHECK(syncmap_load(map, stable[interrupted % STABLE], &value) == 1);
    CHECK(value == value_of((size_t)interrupted % STABLE));
    if (interrupted % 4 == 0)
        CHECK(syncmap_load(map, absent, &value) == 0);
    CHECK(ld_relaxed(&own.record)->epoch != 0);
    syncmap_unpin();
    /* All is as it was found. */
    CHECK(ld_relaxed(&own.depth) == depth);
    CHECK(ld_relaxed(&own.record)->epoch == epoch);
    interrupted++;
}

static bool visit(syncmap_key key, void *value, void *context)
{
    (void)key;
    (void)value;
    (void)context;
    return true;
}

static void nothing(void *object)
{
    (void)object;
}

/* Every operation on a key in its every state, and the public pins. */
static void operate(syncmap *m, syncmap_key key)
{
    void *out;
    syncmap_pin();
    syncmap_pin();
    syncmap_unpin();
    syncmap_load(m, key, &out);
    syncmap_unpin();
    syncmap_store(m, key, value_of(100));
    syncmap_load(m, key, &out);
    syncmap_swap(m, key, value_of(101), &out);
    syncmap_compare_and_swap(m, key, value_of(101), value_of(102));
    syncmap_range(m, visit, NULL);
    syncmap_delete(m, key);
    syncmap_load_or_store(m, key, value_of(103), &out);
    syncmap_compare_and_delete(m, key, value_of(103));
    syncmap_load_and_delete(m, key, &out);
    syncmap_retire(&out, nothing);
    syncmap_len(m);
    syncmap_barrier();
}

static struct bucket *home_of(syncmap *m, syncmap_key key)
{
    struct flat_table *t = root_table(ld_acquire(&flat_of(m)->root));
    return table_home(t, t->shift, key_hash(t->type, key));
}

/* Whether the handler looks into a bucket in which one of the keys that are operated on will be. */
static bool shares_bucket(syncmap *m, syncmap_key (*key)(uint64_t))
{
    bool shares = false;
    for (uint64_t round = 0; round < ROUNDS; round++)
        for (uint64_t i = 0; i < STABLE; i++)
            shares |= home_of(m, key(10 + round % 8)) == home_of(m, key(i));
    return shares;
}

/* Of one in a hundred secrets the test would see nothing of the locks that the handler meets. */
static syncmap *new_map(enum syncmap_kind kind, const syncmap_options *options, syncmap_key (*key)(uint64_t))
{
    for (int i = 0; i < 100; i++) {
        syncmap *m = syncmap_new(kind, options);
        assert_non_null(m);
        if (options->engine != SYNCMAP_ENGINE_FLAT || shares_bucket(m, key))
            return m;
        syncmap_free(m);
    }
    fail();
    return NULL;
}

/* The handler's map is the one that is operated on, or another: then the thread holds the other's mu, or the lock of one of its buckets. */
static void run(enum syncmap_kind kind, const syncmap_options *options, syncmap_key (*key)(uint64_t), bool same)
{
    unsigned long impatient = ld_relaxed(&debug_counts.impatient);
    map = new_map(kind, options, key);
    syncmap *other = syncmap_new(kind, options);
    absent = key(1000);
    for (size_t i = 0; i < STABLE; i++) {
        stable[i] = key(i);
        assert_int_equal(syncmap_store(map, stable[i], value_of(i)), 0);
        if (i == STABLE / 2)
            syncmap_range(map, visit, NULL); /* some in read, some in dirty alone */
    }
    syncmap *m = same ? map : other;
    interrupted = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trap_on();
        operate(m, key(10 + round % 8));
        trap_off();
    }
    trap_on();
    if (!same)
        syncmap_clear(m);
    syncmap_free(other);
    trap_off();
    printf("interrupted after %ld instructions\n", interrupted);
    assert_true(!STEPPING || interrupted > 10000);
    assert_false(pin_held());
    if (STEPPING && options->engine == SYNCMAP_ENGINE_FLAT) /* loads have met the lock of their own thread */
        assert_int_equal(ld_relaxed(&debug_counts.impatient) > impatient, same);
    syncmap_free(map);
    syncmap_barrier();
}

static syncmap_key integer(uint64_t i)
{
    return syncmap_u64(i);
}

static syncmap_key string(uint64_t i)
{
    static char names[1024][8];
    snprintf(names[i], sizeof names[i], "k%u", (unsigned)i);
    return syncmap_str(names[i]);
}

static syncmap_key object(uint64_t i)
{
    static char objects[1024];
    return syncmap_obj(&objects[i]);
}

static uint64_t four_hashes(const void *key, uint64_t seed, void *context)
{
    (void)context;
    return ((uintptr_t)key & 3) + seed;
}

static bool same_pointer(const void *a, const void *b, void *context)
{
    (void)context;
    return a == b;
}

static void run_all(enum syncmap_kind kind, syncmap_options options, syncmap_key (*key)(uint64_t))
{
    static const enum syncmap_engine engines[] = {SYNCMAP_ENGINE_READ_DIRTY, SYNCMAP_ENGINE_FLAT};
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        options.engine = engines[i];
        run(kind, &options, key, true);
        run(kind, &options, key, false);
    }
}

static void integers(void **state)
{
    (void)state;
    run_all(SYNCMAP_U64, (syncmap_options){0}, integer);
}

static void strings(void **state)
{
    (void)state;
    run_all(SYNCMAP_STRING, (syncmap_options){0}, string);
}

static void objects(void **state)
{
    (void)state;
    run_all(SYNCMAP_CUSTOM, (syncmap_options){.key = {.hash = four_hashes, .equal = same_pointer}}, object);
}

int main(void)
{
    test_seed();
    struct sigaction action = {.sa_handler = on_trap};
    sigaction(SIGTRAP, &action, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(strings),
        cmocka_unit_test(objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
