/* SPDX-License-Identifier: MIT
 *
 * Adapter: oneTBB's concurrent_hash_map (C++; link with TBB::tbb and TBB::tbbmalloc).
 *
 * An operation gets at a value through an accessor, which holds the lock of that one entry: const_accessor a shared
 * one, accessor an exclusive one. The map finds an entry and takes its lock in one step, so what is done
 * under one accessor is atomic for that key. Entries come from the map's default allocator, TBB's own.
 *
 * erase by an accessor says whether this call took the entry out: another thread may have done so while we
 * held the lock (its erase then waits for us before it frees the entry), and then the key was absent.
 */
#ifndef ADAPTER_TBB_H
#define ADAPTER_TBB_H

#ifndef __cplusplus
#error "this adapter is C++"
#endif

#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/tbb/concurrent_hash_map.h>
#include <oneapi/tbb/scalable_allocator.h>
#include <oneapi/tbb/tbb_allocator.h>
#include <oneapi/tbb/version.h>
#include <string>
#include <string_view>
#include <utility>

#define MAP_NAME "oneTBB"
#define MAP_VERSION "oneTBB " TBB_VERSION_STRING
#define MAP_LANGUAGE "C++"

#ifdef KEYS_STRING

/* The map owns std::strings, and is asked by string_view: `is_transparent` turns on the find, insert and erase that
 * take any type which hash() and equal() accept, so only an insertion that happens makes a string. */
struct tbb_key_rules {
    using is_transparent = void;

    std::size_t hash(std::string_view key) const
    {
        return bench_hash(bench_key{key.data(), key.size()});
    }

    bool equal(std::string_view a, std::string_view b) const
    {
        return a == b;
    }
};

typedef std::string tbb_owned_key;

BENCH_INLINE std::string_view tbb_key(bench_key key)
{
    return std::string_view(key.bytes, key.len);
}

#else

/* The default hash of an integer is the integer: too little for keys that differ in their high bits only, since
 * the map takes a bucket by the low ones. */
struct tbb_key_rules {
    std::size_t hash(uint64_t key) const
    {
        return bench_hash(key);
    }

    bool equal(uint64_t a, uint64_t b) const
    {
        return a == b;
    }
};

typedef uint64_t tbb_owned_key;

BENCH_INLINE uint64_t tbb_key(bench_key key)
{
    return key;
}

#endif

/* A sanitizer cannot follow TBB's allocator, which would hide faults from it and show it some that are none. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
typedef std::allocator<std::pair<const tbb_owned_key, uint64_t>> tbb_entry_allocator;
#else
typedef tbb::tbb_allocator<std::pair<const tbb_owned_key, uint64_t>> tbb_entry_allocator;
#endif

typedef tbb::concurrent_hash_map<tbb_owned_key, uint64_t, tbb_key_rules, tbb_entry_allocator> map_type;

static inline map_type *map_create(void)
{
    return new map_type;
}

static inline void map_destroy(map_type *map)
{
    delete map;
}

/* Threads need no registration. */
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

/* An erase frees at once, but to TBB's allocator, which malloc_trim() does not reach: this is its counterpart. The
 * allocator has to have been used before, else the command reads another library's thread-specific data. */
static inline void map_quiesce(map_type *map)
{
    (void)map;
    scalable_free(scalable_malloc(1));
    scalable_allocation_command(TBBMALLOC_CLEAN_THREAD_BUFFERS, NULL);
    scalable_allocation_command(TBBMALLOC_CLEAN_ALL_BUFFERS, NULL);
}

BENCH_INLINE int map_load(map_type *map, bench_key key, uint64_t *value)
{
    map_type::const_accessor found;

    if (!map->find(found, tbb_key(key))) {
        return 0;
    }
    *value = found->second;
    return 1;
}

/* insert finds an entry that is there, or adds one that nobody else sees before this accessor lets it go. */
BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    map_type::accessor entry;
    bool added = map->insert(entry, tbb_key(key));

    entry->second = value;
    return !added;
}

/* With key and value at hand a shared lock is enough, as the entry is complete when it appears. With strings that would
 * make a std::string each time: insert by string_view takes no value, so the lock has to be exclusive there. */
BENCH_INLINE int map_load_or_store(map_type *map, bench_key key, uint64_t value, uint64_t *actual)
{
#ifdef KEYS_STRING
    map_type::accessor entry;
    bool added = map->insert(entry, tbb_key(key));

    if (added) {
        entry->second = value;
    }
#else
    map_type::const_accessor entry;
    bool added = map->insert(entry, map_type::value_type(key, value));
#endif
    *actual = entry->second;
    return !added;
}

BENCH_INLINE int map_delete(map_type *map, bench_key key)
{
    return map->erase(tbb_key(key));
}

/* ---- Go's further operations --------------------------------------------------------------------- */

#define MAP_HAS_GO 1

BENCH_INLINE int map_load_and_delete(map_type *map, bench_key key, uint64_t *previous)
{
    map_type::accessor entry;
    uint64_t value;

    if (!map->find(entry, tbb_key(key))) {
        return 0;
    }
    value = entry->second;
    if (!map->erase(entry)) {
        return 0;
    }
    *previous = value;
    return 1;
}

BENCH_INLINE int map_swap(map_type *map, bench_key key, uint64_t value, uint64_t *previous)
{
    map_type::accessor entry;
    bool added = map->insert(entry, tbb_key(key));

    if (!added) {
        *previous = entry->second;
    }
    entry->second = value;
    return !added;
}

BENCH_INLINE int map_compare_and_swap(map_type *map, bench_key key, uint64_t expected, uint64_t desired)
{
    map_type::accessor entry;

    if (!map->find(entry, tbb_key(key)) || entry->second != expected) {
        return 0;
    }
    entry->second = desired;
    return 1;
}

BENCH_INLINE int map_compare_and_delete(map_type *map, bench_key key, uint64_t expected)
{
    map_type::accessor entry;

    return map->find(entry, tbb_key(key)) && entry->second == expected && map->erase(entry);
}

#define MAP_CLEAR_ABSENT "clear() is not safe beside other operations"

/* ---- iteration ----------------------------------------------------------------------------------- */

#define MAP_RANGE_ABSENT "its iterators are not safe beside writers"

#endif
