/* SPDX-License-Identifier: MIT
 *
 * Adapter: syncmap. Values are integers in the pointer, which the map does not own, so a load needs no pin. Threads need no
 * registration. Strings are keys of bytes with their length, as every map here is told it; the map copies them.
 *
 * Another engine is another two lines: define SYNCMAP_BENCH_ENGINE and MAP_NAME, and include this file.
 */
#ifndef ADAPTER_SYNCMAP_H
#define ADAPTER_SYNCMAP_H

#include <syncmap.h>

#ifndef SYNCMAP_BENCH_ENGINE
#define SYNCMAP_BENCH_ENGINE SYNCMAP_ENGINE_READ_DIRTY
#define MAP_NAME "syncmap read/dirty"
#endif
#ifndef SYNCMAP_BENCH_HUGE_PAGES
#define SYNCMAP_BENCH_HUGE_PAGES SYNCMAP_HUGE_PAGES_DEFAULT
#endif
#define MAP_VERSION "syncmap " SYNCMAP_VERSION_STRING
#define MAP_LANGUAGE "C"
#define MAP_HAS_RANGE 1
#define MAP_HAS_GO 1
#define MAP_HAS_MANY 1

typedef syncmap map_type;

#ifdef KEYS_STRING

#define ADAPTER_KIND SYNCMAP_BYTES

BENCH_INLINE syncmap_key adapter_key(bench_key key)
{
    return syncmap_bytes(key.bytes, key.len);
}

BENCH_INLINE bench_key adapter_visited(syncmap_key key)
{
    bench_key visited;

    visited.bytes = (const char *)key.as.ptr;
    visited.len = syncmap_key_len(key);
    return visited;
}

#else

#define ADAPTER_KIND SYNCMAP_U64

BENCH_INLINE syncmap_key adapter_key(bench_key key)
{
    return syncmap_u64(key);
}

BENCH_INLINE bench_key adapter_visited(syncmap_key key)
{
    return key.as.u64;
}

#endif

/* ---- life ----------------------------------------------------------------------------------------- */

static inline map_type *map_create(void)
{
    syncmap_options options;
    syncmap *map;

    memset(&options, 0, sizeof options);
    options.engine = SYNCMAP_BENCH_ENGINE;
    options.huge_pages = SYNCMAP_BENCH_HUGE_PAGES;
    map = syncmap_new(ADAPTER_KIND, &options);
    if (!map) {
        die("syncmap_new: %s", strerror(errno));
    }
    return map;
}

static inline void map_destroy(map_type *map)
{
    syncmap_free(map);
    syncmap_barrier();
}

static inline void map_thread_enter(map_type *map)
{
    (void)map;
}

static inline void map_thread_leave(map_type *map)
{
    (void)map;
}

static inline void map_idle(map_type *map)
{
    (void)map;
}

static inline void map_busy(map_type *map)
{
    (void)map;
}

BENCH_INLINE void map_tick(map_type *map)
{
    (void)map;
}

static inline void map_quiesce(map_type *map)
{
    (void)map;
    syncmap_barrier();
}

/* ---- operations ----------------------------------------------------------------------------------- */

/* What a call that needs memory says: an error ends the program. */
BENCH_INLINE int adapter_result(int result)
{
    if (BENCH_UNLIKELY(result < 0)) {
        die("syncmap: %s", syncmap_strerror(result));
    }
    return result;
}

BENCH_INLINE void *adapter_value(uint64_t value)
{
    return (void *)(uintptr_t)value;
}

BENCH_INLINE int map_load(map_type *map, bench_key key, uint64_t *value)
{
    void *found;
    int result = syncmap_load(map, adapter_key(key), &found);

    *value = (uintptr_t)found;
    return result;
}

BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    return adapter_result(syncmap_store(map, adapter_key(key), adapter_value(value)));
}

BENCH_INLINE int map_load_or_store(map_type *map, bench_key key, uint64_t value, uint64_t *actual)
{
    void *found;
    int result = adapter_result(syncmap_load_or_store(map, adapter_key(key), adapter_value(value), &found));

    *actual = (uintptr_t)found;
    return result;
}

BENCH_INLINE int map_delete(map_type *map, bench_key key)
{
    return adapter_result(syncmap_delete(map, adapter_key(key)));
}

struct adapter_visit {
    int (*visit)(bench_key key, uint64_t value, void *context);
    void *context;
};

static inline bool adapter_visit_one(syncmap_key key, void *value, void *argument)
{
    const struct adapter_visit *visit = (const struct adapter_visit *)argument;

    return visit->visit(adapter_visited(key), (uintptr_t)value, visit->context) != 0;
}

static inline void map_range(map_type *map, int (*visit)(bench_key, uint64_t, void *), void *context)
{
    struct adapter_visit state;

    state.visit = visit;
    state.context = context;
    adapter_result(syncmap_range(map, adapter_visit_one, &state));
}

/* Whether all are there. `count` is a constant. */
BENCH_INLINE int map_load_many(map_type *map, size_t count, const bench_key *keys, uint64_t *values)
{
    syncmap_key wanted[64];
    void *found[64];
    int result;

    for (size_t i = 0; i < count; i++) {
        wanted[i] = adapter_key(keys[i]);
    }
    result = adapter_result(syncmap_load_many(map, count, wanted, found, NULL));
    for (size_t i = 0; i < count; i++) {
        values[i] = (uintptr_t)found[i];
    }
    return result;
}

/* ---- Go's further operations ---------------------------------------------------------------------- */

BENCH_INLINE int map_load_and_delete(map_type *map, bench_key key, uint64_t *previous)
{
    void *found;
    int result = adapter_result(syncmap_load_and_delete(map, adapter_key(key), &found));

    *previous = (uintptr_t)found;
    return result;
}

BENCH_INLINE int map_swap(map_type *map, bench_key key, uint64_t value, uint64_t *previous)
{
    void *found;
    int result = adapter_result(syncmap_swap(map, adapter_key(key), adapter_value(value), &found));

    *previous = (uintptr_t)found;
    return result;
}

BENCH_INLINE int map_compare_and_swap(map_type *map, bench_key key, uint64_t expected, uint64_t desired)
{
    return adapter_result(
        syncmap_compare_and_swap(map, adapter_key(key), adapter_value(expected), adapter_value(desired)));
}

BENCH_INLINE int map_compare_and_delete(map_type *map, bench_key key, uint64_t expected)
{
    return adapter_result(syncmap_compare_and_delete(map, adapter_key(key), adapter_value(expected)));
}

BENCH_INLINE void map_clear(map_type *map)
{
    adapter_result(syncmap_clear(map));
}

#endif
