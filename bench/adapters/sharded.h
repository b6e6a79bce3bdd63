/* SPDX-License-Identifier: MIT
 *
 * Adapter: what a C++ programmer writes with the standard library alone. 64 shards, each a std::unordered_map
 * beside a std::shared_mutex; the high bits of a key's hash choose the shard.
 *
 * Loads and walks hold the shard's lock shared, everything else exclusive. load_or_store takes the exclusive
 * lock at once: a look under the shared one first would be a second search for each key that is new.
 */
#ifndef ADAPTER_SHARDED_H
#define ADAPTER_SHARDED_H

#ifndef __cplusplus
#error "this adapter is C++"
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#define MAP_NAME "sharded unordered_map"
#define MAP_LANGUAGE "C++"

#define SHARDED_TEXT_OF(macro) #macro
#define SHARDED_TEXT(macro) SHARDED_TEXT_OF(macro)
#ifdef _GLIBCXX_RELEASE
#define MAP_VERSION "libstdc++ " SHARDED_TEXT(_GLIBCXX_RELEASE)
#else
#define MAP_VERSION "standard library unknown"
#endif

#ifdef KEYS_STRING

/* A string as a key of the tables. In C++17 std::unordered_map can be asked by its own key type only, and a
 * std::string made for each question would be an allocation for each of more than 15 characters. So the key that asks
 * borrows its bytes, and the copy that a table makes of it, when it adds an entry and not before, owns its own.
 * The hash is kept with it: it serves the choice of the shard, the table, the comparison and every growth. */
class sharded_key {
public:
    sharded_key(bench_key key, uint64_t hash_of_key) noexcept
        : bytes(key.bytes), hash(hash_of_key), len(static_cast<uint32_t>(key.len)), owned(false)
    {
    }

    sharded_key(const sharded_key &other) : hash(other.hash), len(other.len), owned(true)
    {
        char *copy = new char[len + 1];

        std::memcpy(copy, other.bytes, len);
        copy[len] = '\0';
        bytes = copy;
    }

    ~sharded_key()
    {
        if (owned) {
            delete[] bytes;
        }
    }

    sharded_key &operator=(const sharded_key &) = delete;

    bool operator==(const sharded_key &other) const noexcept
    {
        return hash == other.hash && len == other.len && std::memcmp(bytes, other.bytes, len) == 0;
    }

    const char *bytes;
    uint64_t hash;
    uint32_t len;

private:
    bool owned;
};

struct sharded_hash {
    std::size_t operator()(const sharded_key &key) const noexcept
    {
        return key.hash;
    }
};

typedef std::unordered_map<sharded_key, uint64_t, sharded_hash> sharded_table;

static inline bench_key sharded_bench_key(const sharded_key &key)
{
    return bench_key{key.bytes, key.len};
}

#else

/* The tables keep the standard hash of integers, the integer: they take it modulo a prime. */
typedef uint64_t sharded_key;
typedef std::unordered_map<uint64_t, uint64_t> sharded_table;

static inline bench_key sharded_bench_key(uint64_t key)
{
    return key;
}

#endif

/* ---- the map ------------------------------------------------------------------------------------- */

enum { SHARDED_BITS = 6, SHARDED_COUNT = 1 << SHARDED_BITS };

/* In cache lines of its own. */
struct alignas(BENCH_CACHE_LINE) sharded_shard {
    std::shared_mutex lock;
    sharded_table table;
};

struct map_type {
    sharded_shard shards[SHARDED_COUNT];
};

typedef std::shared_lock<std::shared_mutex> sharded_reader;
typedef std::unique_lock<std::shared_mutex> sharded_writer;

/* Where a key belongs, and the key as the table there wants it. */
struct sharded_place {
    sharded_shard *shard;
    sharded_key key;
};

BENCH_INLINE sharded_place sharded_find(map_type *map, bench_key key)
{
    uint64_t hash = bench_hash(key);
    sharded_shard *shard = &map->shards[hash >> (64 - SHARDED_BITS)];

#ifdef KEYS_STRING
    return {shard, sharded_key(key, hash)};
#else
    return {shard, key};
#endif
}

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
    sharded_place place = sharded_find(map, key);
    sharded_reader held(place.shard->lock);
    auto found = place.shard->table.find(place.key);

    if (found == place.shard->table.end()) {
        return 0;
    }
    *value = found->second;
    return 1;
}

BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    sharded_place place = sharded_find(map, key);
    sharded_writer held(place.shard->lock);

    return !place.shard->table.insert_or_assign(place.key, value).second;
}

BENCH_INLINE int map_load_or_store(map_type *map, bench_key key, uint64_t value, uint64_t *actual)
{
    sharded_place place = sharded_find(map, key);
    sharded_writer held(place.shard->lock);
    auto result = place.shard->table.try_emplace(place.key, value);

    *actual = result.first->second;
    return !result.second;
}

BENCH_INLINE int map_delete(map_type *map, bench_key key)
{
    sharded_place place = sharded_find(map, key);
    sharded_writer held(place.shard->lock);

    return place.shard->table.erase(place.key) != 0;
}

/* ---- Go's further operations --------------------------------------------------------------------- */

#define MAP_HAS_GO 1

BENCH_INLINE int map_load_and_delete(map_type *map, bench_key key, uint64_t *previous)
{
    sharded_place place = sharded_find(map, key);
    sharded_writer held(place.shard->lock);
    auto found = place.shard->table.find(place.key);

    if (found == place.shard->table.end()) {
        return 0;
    }
    *previous = found->second;
    place.shard->table.erase(found);
    return 1;
}

BENCH_INLINE int map_swap(map_type *map, bench_key key, uint64_t value, uint64_t *previous)
{
    sharded_place place = sharded_find(map, key);
    sharded_writer held(place.shard->lock);
    auto result = place.shard->table.try_emplace(place.key, value);

    if (result.second) {
        return 0;
    }
    *previous = result.first->second;
    result.first->second = value;
    return 1;
}

BENCH_INLINE int map_compare_and_swap(map_type *map, bench_key key, uint64_t expected, uint64_t desired)
{
    sharded_place place = sharded_find(map, key);
    sharded_writer held(place.shard->lock);
    auto found = place.shard->table.find(place.key);

    if (found == place.shard->table.end() || found->second != expected) {
        return 0;
    }
    found->second = desired;
    return 1;
}

BENCH_INLINE int map_compare_and_delete(map_type *map, bench_key key, uint64_t expected)
{
    sharded_place place = sharded_find(map, key);
    sharded_writer held(place.shard->lock);
    auto found = place.shard->table.find(place.key);

    if (found == place.shard->table.end() || found->second != expected) {
        return 0;
    }
    place.shard->table.erase(found);
    return 1;
}

/* Holds all locks at once, so that the whole map is empty at one instant. Nobody else takes a second lock. */
static inline void map_clear(map_type *map)
{
    for (sharded_shard &shard : map->shards) {
        shard.lock.lock();
    }
    for (sharded_shard &shard : map->shards) {
        shard.table.clear();
    }
    for (sharded_shard &shard : map->shards) {
        shard.lock.unlock();
    }
}

/* ---- iteration ----------------------------------------------------------------------------------- */

#define MAP_HAS_RANGE 1

/* One shard after the other: writers wait for the one that is being walked only. */
static inline void map_range(map_type *map, int (*visit)(bench_key key, uint64_t value, void *context),
                             void *context)
{
    for (sharded_shard &shard : map->shards) {
        sharded_reader held(shard.lock);

        for (const auto &entry : shard.table) {
            if (!visit(sharded_bench_key(entry.first), entry.second, context)) {
                return;
            }
        }
    }
}

#endif
