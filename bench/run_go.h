/* SPDX-License-Identifier: MIT
 *
 * The phases of the second set: the workloads of Go's own benchmark file for sync.Map (sync/map_bench_test.go), by its
 * names and to its definitions.
 *
 * Key i is the integer i as it is; its value is i + 1, as 0 means "absent" to some maps. Each thread counts its own i from
 * thread * 2^32. An operation is one turn of Go's loop. Where an answer cannot depend on what other threads do,
 * it is checked; Go's own loops check less.
 *
 * In AdversarialDelete Go deletes the first key of a range from inside the visit, which then ends the range. Here it is
 * deleted right after the range: the same calls, and possible too where a visit holds the map's lock.
 */
#ifndef BENCH_RUN_GO_H
#define BENCH_RUN_GO_H

#include "run_frame.h"

#ifndef KEYS_STRING

BENCH_INLINE uint64_t go_value(uint64_t i)
{
    return i + 1;
}

BENCH_INLINE void go_check(int right)
{
    if (BENCH_UNLIKELY(!right)) {
        wrong("wrong answer");
    }
}

/* ---- setups --------------------------------------------------------------------------------------- */

static void go_insert(map_type *map, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t actual;

        go_check(map_load_or_store(map, i, go_value(i), &actual) == 0 && actual == go_value(i));
        map_tick(map);
    }
}

/* Go's words: "Prime the map to get it into a steady state." */
static void go_prime(map_type *map, uint64_t hits)
{
    go_insert(map, hits);
    for (uint64_t i = 0; i < hits * 2; i++) {
        uint64_t value;

        go_check(map_load(map, i % hits, &value) == 1 && value == go_value(i % hits));
        map_tick(map);
    }
}

/* Worker 0 makes keys 0 to count-1, and loads each of them twice if the map is to be primed. */
static void go_start(struct worker *worker, uint64_t count, int primed)
{
    worker->cursor.i = (uint64_t)worker->index << 32;
    if (worker->index == 0 && primed) {
        go_prime(worker->map, count);
    } else if (worker->index == 0) {
        go_insert(worker->map, count);
    }
    meet(&bench.together);
}

/* Defines a phase's run function: a setup and a loop of go_NAME(map, cursor). */
#define GO_PHASE(NAME, COUNT, PRIMED)                     \
    DEFINE_LOOP(go_loop_##NAME, go_##NAME, 1)             \
    static void go_run_##NAME(struct worker *worker)      \
    {                                                     \
        go_start(worker, COUNT, PRIMED);                  \
        timed(worker, go_loop_##NAME, NULL);              \
    }

/* A key of the first `hits` in that part of the turns, else the thread's own. */
BENCH_INLINE uint64_t go_key(uint64_t i, uint64_t hits, uint64_t of)
{
    return i % of < hits ? i % of : i;
}

/* ---- loads ---------------------------------------------------------------------------------------- */

BENCH_INLINE void go_load_mostly(map_type *map, struct cursor *cursor, uint64_t hits)
{
    uint64_t j = cursor->i++ % 1024;
    uint64_t value;
    int loaded = map_load(map, j, &value);

    go_check(loaded == (j < hits) && (!loaded || value == go_value(j)));
}

BENCH_INLINE void go_LoadMostlyHits(map_type *map, struct cursor *cursor)
{
    go_load_mostly(map, cursor, 1023);
}

BENCH_INLINE void go_LoadMostlyMisses(map_type *map, struct cursor *cursor)
{
    go_load_mostly(map, cursor, 1);
}

BENCH_INLINE void go_LoadOrStoreBalanced(map_type *map, struct cursor *cursor)
{
    uint64_t i = cursor->i++;
    uint64_t j = i % 256;
    uint64_t actual;

    if (j < 128) {
        go_check(map_load_or_store(map, j, go_value(i), &actual) == 1 && actual == go_value(j));
    } else {
        go_check(map_load_or_store(map, i, go_value(i), &actual) == 0 && actual == go_value(i));
    }
}

BENCH_INLINE void go_LoadOrStoreUnique(map_type *map, struct cursor *cursor)
{
    uint64_t i = cursor->i++;
    uint64_t actual;

    go_check(map_load_or_store(map, i, go_value(i), &actual) == 0);
}

BENCH_INLINE void go_LoadOrStoreCollision(map_type *map, struct cursor *cursor)
{
    uint64_t actual;

    cursor->i++;
    go_check(map_load_or_store(map, 0, go_value(0), &actual) == 1 && actual == go_value(0));
}

GO_PHASE(LoadMostlyHits, 1023, 1)
GO_PHASE(LoadMostlyMisses, 1, 1)
GO_PHASE(LoadOrStoreBalanced, 128, 1)
GO_PHASE(LoadOrStoreUnique, 0, 0)
GO_PHASE(LoadOrStoreCollision, 1, 0)

/* ---- walks and deletions -------------------------------------------------------------------------- */

BENCH_INLINE void go_DeleteCollision(map_type *map, struct cursor *cursor)
{
    cursor->i++;
    map_delete(map, 0);
}

GO_PHASE(DeleteCollision, 1, 0)

/* A unique key that is not there is loaded; whenever the map may just have learnt, another is stored. */
BENCH_INLINE void go_AdversarialAlloc(map_type *map, struct cursor *cursor)
{
    uint64_t i = cursor->i++;
    uint64_t value;

    go_check(map_load(map, i, &value) == 0);
    if (++cursor->loads > cursor->stores) {
        go_check(map_load_or_store(map, i, go_value(cursor->stores), &value) == 0);
        cursor->loads = 0;
        cursor->stores++;
    }
}

GO_PHASE(AdversarialAlloc, 0, 0)

#ifdef MAP_HAS_RANGE

static int go_count(bench_key key, uint64_t value, void *context)
{
    (void)key;
    (void)value;
    ++*(uint64_t *)context;
    return 1;
}

BENCH_INLINE void go_Range(map_type *map, struct cursor *cursor)
{
    uint64_t seen = 0;

    cursor->i++;
    map_range(map, go_count, &seen);
    go_check(seen == 1024);
}

struct go_first {
    bench_key key;
    int found;
};

static int go_take_first(bench_key key, uint64_t value, void *context)
{
    struct go_first *first = (struct go_first *)context;

    (void)value;
    first->key = key;
    first->found = 1;
    return 0;
}

BENCH_INLINE void go_AdversarialDelete(map_type *map, struct cursor *cursor)
{
    uint64_t i = cursor->i++;
    uint64_t value;

    map_load(map, i, &value);
    if (i % 1024 == 0) {
        struct go_first first = {0, 0};

        map_range(map, go_take_first, &first);
        if (first.found) {
            map_delete(map, first.key);
        }
        map_store(map, i, go_value(i));
    }
}

GO_PHASE(Range, 1024, 0)
GO_PHASE(AdversarialDelete, 1024, 0)

#endif

/* ---- Go's further operations ---------------------------------------------------------------------- */

#ifdef MAP_HAS_GO

BENCH_INLINE void go_LoadAndDeleteBalanced(map_type *map, struct cursor *cursor)
{
    uint64_t i = cursor->i++;
    uint64_t previous;
    int deleted = map_load_and_delete(map, go_key(i, 128, 256), &previous);

    go_check(!deleted || previous == go_value(i % 256));
}

BENCH_INLINE void go_LoadAndDeleteUnique(map_type *map, struct cursor *cursor)
{
    uint64_t previous;

    go_check(map_load_and_delete(map, cursor->i++, &previous) == 0);
}

BENCH_INLINE void go_LoadAndDeleteCollision(map_type *map, struct cursor *cursor)
{
    uint64_t previous;

    cursor->i++;
    if (map_load_and_delete(map, 0, &previous)) {
        go_check(previous == go_value(0) && map_store(map, 0, go_value(0)) == 0);
    }
}

BENCH_INLINE void go_SwapCollision(map_type *map, struct cursor *cursor)
{
    uint64_t previous;

    cursor->i++;
    go_check(map_swap(map, 0, go_value(0), &previous) == 1 && previous == go_value(0));
}

BENCH_INLINE void go_swap_mostly(map_type *map, struct cursor *cursor, uint64_t hits)
{
    uint64_t i = cursor->i++;
    uint64_t previous;

    if (i % 1024 < hits) {
        uint64_t j = i % 1024;

        go_check(map_swap(map, j, go_value(j), &previous) == 1 && previous == go_value(j));
    } else {
        go_check(map_swap(map, i, go_value(i), &previous) == 0 && map_delete(map, i) == 1);
    }
}

BENCH_INLINE void go_SwapMostlyHits(map_type *map, struct cursor *cursor)
{
    go_swap_mostly(map, cursor, 1023);
}

BENCH_INLINE void go_SwapMostlyMisses(map_type *map, struct cursor *cursor)
{
    go_swap_mostly(map, cursor, 1);
}

BENCH_INLINE void go_CompareAndSwapCollision(map_type *map, struct cursor *cursor)
{
    cursor->i++;
    if (map_compare_and_swap(map, 0, go_value(0), go_value(42))) {
        go_check(map_compare_and_swap(map, 0, go_value(42), go_value(0)) == 1);
    }
}

BENCH_INLINE void go_CompareAndSwapNoExistingKey(map_type *map, struct cursor *cursor)
{
    go_check(map_compare_and_swap(map, cursor->i++, go_value(0), go_value(0)) == 0);
}

BENCH_INLINE void go_CompareAndSwapValueNotEqual(map_type *map, struct cursor *cursor)
{
    cursor->i++;
    go_check(map_compare_and_swap(map, 0, go_value(1), go_value(2)) == 0);
}

BENCH_INLINE void go_compare_and_swap_mostly(map_type *map, struct cursor *cursor, uint64_t hits)
{
    uint64_t i = cursor->i++;
    uint64_t v = go_key(i, hits, 1024);

    go_check(map_compare_and_swap(map, v, go_value(v), go_value(v)) == (i % 1024 < hits));
}

BENCH_INLINE void go_CompareAndSwapMostlyHits(map_type *map, struct cursor *cursor)
{
    go_compare_and_swap_mostly(map, cursor, 1023);
}

BENCH_INLINE void go_CompareAndSwapMostlyMisses(map_type *map, struct cursor *cursor)
{
    go_compare_and_swap_mostly(map, cursor, 1);
}

BENCH_INLINE void go_CompareAndDeleteCollision(map_type *map, struct cursor *cursor)
{
    cursor->i++;
    if (map_compare_and_delete(map, 0, go_value(0))) {
        go_check(map_store(map, 0, go_value(0)) == 0);
    }
}

BENCH_INLINE void go_compare_and_delete_mostly(map_type *map, struct cursor *cursor, uint64_t hits)
{
    uint64_t i = cursor->i++;
    uint64_t v = go_key(i, hits, 1024);

    if (map_compare_and_delete(map, v, go_value(v))) {
        go_check(i % 1024 < hits && map_store(map, v, go_value(v)) == 0);
    }
}

BENCH_INLINE void go_CompareAndDeleteMostlyHits(map_type *map, struct cursor *cursor)
{
    go_compare_and_delete_mostly(map, cursor, 1023);
}

BENCH_INLINE void go_CompareAndDeleteMostlyMisses(map_type *map, struct cursor *cursor)
{
    go_compare_and_delete_mostly(map, cursor, 1);
}

GO_PHASE(LoadAndDeleteBalanced, 128, 1)
GO_PHASE(LoadAndDeleteUnique, 0, 0)
GO_PHASE(LoadAndDeleteCollision, 1, 0)
GO_PHASE(SwapCollision, 1, 0)
GO_PHASE(SwapMostlyHits, 1023, 1)
GO_PHASE(SwapMostlyMisses, 1, 1)
GO_PHASE(CompareAndSwapCollision, 1, 0)
GO_PHASE(CompareAndSwapNoExistingKey, 0, 0)
GO_PHASE(CompareAndSwapValueNotEqual, 1, 0)
GO_PHASE(CompareAndSwapMostlyHits, 1023, 1)
GO_PHASE(CompareAndSwapMostlyMisses, 1, 1)
GO_PHASE(CompareAndDeleteCollision, 1, 0)
GO_PHASE(CompareAndDeleteMostlyHits, 1023, 1)
GO_PHASE(CompareAndDeleteMostlyMisses, 1, 1)

#ifndef MAP_CLEAR_ABSENT

BENCH_INLINE void go_Clear(map_type *map, struct cursor *cursor)
{
    uint64_t i = cursor->i++ % 256;

    map_clear(map);
    map_store(map, i, go_value(i));
}

GO_PHASE(Clear, 0, 0)

#endif
#endif
#endif
#endif
