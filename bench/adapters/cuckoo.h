/* SPDX-License-Identifier: MIT
 *
 * Adapter: libcuckoo's cuckoohash_map (C++, headers only).
 *
 * Each operation locks the two buckets where its key can be, and calls a function on the value while it holds
 * them: what such a function does is atomic for that key. The map is made as its users make it, with its default
 * capacity of 2^18 entries: it takes 9 MB when it is empty, 15 MB with keys of strings.
 */
#ifndef ADAPTER_CUCKOO_H
#define ADAPTER_CUCKOO_H

#ifndef __cplusplus
#error "this adapter is C++"
#endif

#include <cstddef>
#include <cstdint>
#include <libcuckoo/cuckoohash_map.hh>

/* The headers do not tell their version; whoever compiles this may. */
#ifndef LIBCUCKOO_VERSION
#define LIBCUCKOO_VERSION "unknown"
#endif

#define MAP_NAME "libcuckoo"
#define MAP_VERSION "libcuckoo " LIBCUCKOO_VERSION
#define MAP_LANGUAGE "C++"

#ifdef KEYS_STRING

#include <string>
#include <string_view>

/* The map owns std::strings, and is asked by string_view: every operation takes any type that the hash and the
 * equality accept, and makes a string only for an insertion that happens. */
struct cuckoo_hash {
    std::size_t operator()(std::string_view key) const
    {
        return bench_hash(bench_key{key.data(), key.size()});
    }
};

struct cuckoo_equal {
    bool operator()(std::string_view a, std::string_view b) const
    {
        return a == b;
    }
};

typedef libcuckoo::cuckoohash_map<std::string, uint64_t, cuckoo_hash, cuckoo_equal> map_type;

BENCH_INLINE std::string_view cuckoo_key(bench_key key)
{
    return std::string_view(key.bytes, key.len);
}

static inline bench_key cuckoo_bench_key(const std::string &key)
{
    return bench_key{key.data(), key.size()};
}

#else

/* The default hash of an integer is the integer: too little for keys that differ in their high bits only, since
 * the map takes a bucket by the low ones. */
struct cuckoo_hash {
    std::size_t operator()(uint64_t key) const
    {
        return bench_hash(key);
    }
};

typedef libcuckoo::cuckoohash_map<uint64_t, uint64_t, cuckoo_hash> map_type;

BENCH_INLINE uint64_t cuckoo_key(bench_key key)
{
    return key;
}

static inline bench_key cuckoo_bench_key(uint64_t key)
{
    return key;
}

#endif

static inline map_type *map_create(void)
{
    return new map_type;
}

static inline void map_destroy(map_type *map)
{
    delete map;
}

/* Threads need no registration, and what is erased is gone at once. */
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
}

BENCH_INLINE int map_load(map_type *map, bench_key key, uint64_t *value)
{
    return map->find_fn(cuckoo_key(key), [value](const uint64_t &stored) { *value = stored; });
}

/* upsert calls the function on the value of a key that is there, else it adds the key with the value given last. */
BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    return !map->upsert(cuckoo_key(key), [value](uint64_t &stored) { stored = value; }, value);
}

BENCH_INLINE int map_load_or_store(map_type *map, bench_key key, uint64_t value, uint64_t *actual)
{
    *actual = value;
    return !map->upsert(cuckoo_key(key), [actual](const uint64_t &stored) { *actual = stored; }, value);
}

BENCH_INLINE int map_delete(map_type *map, bench_key key)
{
    return map->erase(cuckoo_key(key));
}

/* ---- Go's further operations --------------------------------------------------------------------- */

#define MAP_HAS_GO 1

/* The function that erase_fn is given says whether the entry goes. */
BENCH_INLINE int map_load_and_delete(map_type *map, bench_key key, uint64_t *previous)
{
    return map->erase_fn(cuckoo_key(key), [previous](const uint64_t &stored) {
        *previous = stored;
        return true;
    });
}

BENCH_INLINE int map_swap(map_type *map, bench_key key, uint64_t value, uint64_t *previous)
{
    auto exchange = [value, previous](uint64_t &stored) {
        *previous = stored;
        stored = value;
    };

    return !map->upsert(cuckoo_key(key), exchange, value);
}

BENCH_INLINE int map_compare_and_swap(map_type *map, bench_key key, uint64_t expected, uint64_t desired)
{
    bool same = false;

    map->update_fn(cuckoo_key(key), [expected, desired, &same](uint64_t &stored) {
        same = stored == expected;
        if (same) {
            stored = desired;
        }
    });
    return same;
}

BENCH_INLINE int map_compare_and_delete(map_type *map, bench_key key, uint64_t expected)
{
    bool same = false;

    map->erase_fn(cuckoo_key(key), [expected, &same](const uint64_t &stored) {
        same = stored == expected;
        return same;
    });
    return same;
}

/* Takes all locks, so it is safe at any time and one instant. */
static inline void map_clear(map_type *map)
{
    map->clear();
}

/* ---- iteration ----------------------------------------------------------------------------------- */

#define MAP_HAS_RANGE 1

/* The only way to walk this map is to lock it as a whole: everybody else waits until the walk ends. */
static inline void map_range(map_type *map, int (*visit)(bench_key key, uint64_t value, void *context),
                             void *context)
{
    map_type::locked_table locked = map->lock_table();

    for (const auto &entry : locked) {
        if (!visit(cuckoo_bench_key(entry.first), entry.second, context)) {
            return;
        }
    }
}

#endif
