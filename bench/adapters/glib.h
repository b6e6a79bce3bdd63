/* SPDX-License-Identifier: MIT
 *
 * GLib's GHashTable behind a lock: the body of the adapters rwlock_glib.h, mutex_glib.h and glib_alone.h, which define the
 * lock before they include it:
 *
 *   LOCK_TYPE, lock_init(lock), lock_end(lock), lock_read(lock), lock_write(lock), unlock(lock)
 *
 * Integer keys are the pointers themselves, so the table allocates nothing for them, and without an equality function it
 * compares in line: the fastest that a GHashTable can be. Its hash folds both halves, as g_direct_hash() would take
 * the low one only. String keys are copied, each with its length in front. Values are never 0, so one lookup tells
 * present from absent.
 *
 * load_or_store takes the write lock at once: a look under the read lock first would only cost where keys are new.
 */
#ifndef ADAPTER_GLIB_H
#define ADAPTER_GLIB_H

#include <glib.h>

#define MAP_VERSION \
    "GLib " G_STRINGIFY(GLIB_MAJOR_VERSION) "." G_STRINGIFY(GLIB_MINOR_VERSION) "." G_STRINGIFY(GLIB_MICRO_VERSION)
#define MAP_LANGUAGE "C"
#define MAP_HAS_RANGE 1
#define MAP_HAS_GO 1

typedef struct {
    LOCK_TYPE lock;
    GHashTable *table;
} map_type;

BENCH_INLINE gpointer adapter_pointer(uint64_t value)
{
    return (gpointer)(uintptr_t)value;
}

#ifdef KEYS_STRING

/* The table's keys point to this, and so do those that it is asked for. */
struct adapter_string {
    bench_key key;
    char text[];
};

static inline guint adapter_hash(gconstpointer key)
{
    return (guint)bench_hash(*(const bench_key *)key);
}

static inline gboolean adapter_equal(gconstpointer a, gconstpointer b)
{
    return bench_equal(*(const bench_key *)a, *(const bench_key *)b);
}

#define ADAPTER_LOOK_UP_KEY(key) (&(key))

static inline gpointer adapter_new_key(bench_key key)
{
    struct adapter_string *copy = (struct adapter_string *)malloc(sizeof *copy + key.len);

    if (!copy) {
        die("out of memory");
    }
    memcpy(copy->text, key.bytes, key.len);
    copy->key.bytes = copy->text;
    copy->key.len = key.len;
    return copy;
}

static inline bench_key adapter_visited(gpointer key)
{
    return *(const bench_key *)key;
}

static inline GHashTable *adapter_new_table(void)
{
    return g_hash_table_new_full(adapter_hash, adapter_equal, free, NULL);
}

#else

static inline guint adapter_hash(gconstpointer key)
{
    uint64_t integer = (uintptr_t)key;

    return (guint)(integer ^ integer >> 32);
}

#define ADAPTER_LOOK_UP_KEY(key) adapter_pointer(key)

static inline gpointer adapter_new_key(bench_key key)
{
    return adapter_pointer(key);
}

static inline bench_key adapter_visited(gpointer key)
{
    return (uintptr_t)key;
}

static inline GHashTable *adapter_new_table(void)
{
    return g_hash_table_new(adapter_hash, NULL);
}

#endif

/* ---- life ----------------------------------------------------------------------------------------- */

static inline map_type *map_create(void)
{
    map_type *map = (map_type *)take(1, sizeof *map);

    lock_init(&map->lock);
    map->table = adapter_new_table();
    return map;
}

static inline void map_destroy(map_type *map)
{
    g_hash_table_destroy(map->table);
    lock_end(&map->lock);
    free(map);
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
}

/* ---- operations ----------------------------------------------------------------------------------- */

BENCH_INLINE uint64_t adapter_find(map_type *map, bench_key key)
{
    return (uintptr_t)g_hash_table_lookup(map->table, ADAPTER_LOOK_UP_KEY(key));
}

BENCH_INLINE int map_load(map_type *map, bench_key key, uint64_t *value)
{
    lock_read(&map->lock);
    *value = adapter_find(map, key);
    unlock(&map->lock);
    return *value != 0;
}

BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    gboolean added;

    lock_write(&map->lock);
    added = g_hash_table_insert(map->table, adapter_new_key(key), adapter_pointer(value));
    unlock(&map->lock);
    return !added;
}

BENCH_INLINE int map_load_or_store(map_type *map, bench_key key, uint64_t value, uint64_t *actual)
{
    uint64_t present;

    lock_write(&map->lock);
    present = adapter_find(map, key);
    if (present == 0) {
        g_hash_table_insert(map->table, adapter_new_key(key), adapter_pointer(value));
    }
    unlock(&map->lock);
    *actual = present ? present : value;
    return present != 0;
}

BENCH_INLINE int map_delete(map_type *map, bench_key key)
{
    gboolean removed;

    lock_write(&map->lock);
    removed = g_hash_table_remove(map->table, ADAPTER_LOOK_UP_KEY(key));
    unlock(&map->lock);
    return removed;
}

static inline void map_range(map_type *map, int (*visit)(bench_key, uint64_t, void *), void *context)
{
    GHashTableIter at;
    gpointer key, value;

    lock_read(&map->lock);
    g_hash_table_iter_init(&at, map->table);
    while (g_hash_table_iter_next(&at, &key, &value) &&
           visit(adapter_visited(key), (uintptr_t)value, context)) {
    }
    unlock(&map->lock);
}

/* ---- Go's further operations ---------------------------------------------------------------------- */

BENCH_INLINE int map_load_and_delete(map_type *map, bench_key key, uint64_t *previous)
{
    lock_write(&map->lock);
    *previous = adapter_find(map, key);
    if (*previous) {
        g_hash_table_remove(map->table, ADAPTER_LOOK_UP_KEY(key));
    }
    unlock(&map->lock);
    return *previous != 0;
}

BENCH_INLINE int map_swap(map_type *map, bench_key key, uint64_t value, uint64_t *previous)
{
    lock_write(&map->lock);
    *previous = adapter_find(map, key);
    g_hash_table_insert(map->table, adapter_new_key(key), adapter_pointer(value));
    unlock(&map->lock);
    return *previous != 0;
}

BENCH_INLINE int map_compare_and_swap(map_type *map, bench_key key, uint64_t expected, uint64_t desired)
{
    int equal;

    lock_write(&map->lock);
    equal = adapter_find(map, key) == expected;
    if (equal) {
        g_hash_table_insert(map->table, adapter_new_key(key), adapter_pointer(desired));
    }
    unlock(&map->lock);
    return equal;
}

BENCH_INLINE int map_compare_and_delete(map_type *map, bench_key key, uint64_t expected)
{
    int equal;

    lock_write(&map->lock);
    equal = adapter_find(map, key) == expected;
    if (equal) {
        g_hash_table_remove(map->table, ADAPTER_LOOK_UP_KEY(key));
    }
    unlock(&map->lock);
    return equal;
}

BENCH_INLINE void map_clear(map_type *map)
{
    lock_write(&map->lock);
    g_hash_table_remove_all(map->table);
    unlock(&map->lock);
}

#endif
