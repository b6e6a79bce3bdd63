/* SPDX-License-Identifier: MIT
 *
 * The two maps of compare.c behind one interface: 64-bit keys to 64-bit values, both kept in pointers.
 */
#ifndef COMPARE_MAPS_H
#define COMPARE_MAPS_H

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syncmap.h>

_Static_assert(sizeof(void *) >= sizeof(uint64_t), "keys and values of 64 bits are kept in pointers");

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

/* Memory of a benchmark: there, or the program ends. */
static inline void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        die("out of memory");
    }
    return memory;
}

/* ---- the interface ------------------------------------------------------------------------------- */

/* What both maps can do. Results are as in syncmap.h: 1 yes, 0 no, negative an error. */
struct adapter {
    const char *name;
    void *(*create)(void);
    void (*destroy)(void *map);
    int (*load)(void *map, uint64_t key, uint64_t *value);
    int (*store)(void *map, uint64_t key, uint64_t value);
    int (*load_or_store)(void *map, uint64_t key, uint64_t value, uint64_t *actual);
    int (*delete)(void *map, uint64_t key);
};

static inline gpointer as_pointer(uint64_t integer)
{
    return (gpointer)(uintptr_t)integer;
}

static inline uint64_t as_integer(gpointer pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* ---- syncmap ------------------------------------------------------------------------------------- */

static inline void *syncmap_create(void)
{
    syncmap *map = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = SYNCMAP_ENGINE_READ_DIRTY});

    if (!map) {
        die("syncmap_new: %s", strerror(errno));
    }
    return map;
}

/* Waits for what was retired, so that no phase pays for the one before. */
static inline void syncmap_destroy(void *map)
{
    syncmap_free(map);
    syncmap_barrier();
}

static inline int syncmap_load_u64(void *map, uint64_t key, uint64_t *value)
{
    void *found = NULL;
    int result = syncmap_load(map, syncmap_u64(key), &found);

    *value = as_integer(found);
    return result;
}

static inline int syncmap_store_u64(void *map, uint64_t key, uint64_t value)
{
    return syncmap_store(map, syncmap_u64(key), as_pointer(value));
}

static inline int syncmap_load_or_store_u64(void *map, uint64_t key, uint64_t value, uint64_t *actual)
{
    void *found = NULL;
    int result = syncmap_load_or_store(map, syncmap_u64(key), as_pointer(value), &found);

    *actual = as_integer(found);
    return result;
}

static inline int syncmap_delete_u64(void *map, uint64_t key)
{
    return syncmap_delete(map, syncmap_u64(key));
}

/* ---- pthread_rwlock and GHashTable --------------------------------------------------------------- */

/* The key is the pointer, so the table allocates nothing for it: the fastest that GHashTable can be.
 * g_direct_hash takes the low half of the key, which is as good as any hash for keys this scattered, and no equality
 * function means a comparison in line. Values here are never NULL, so one lookup tells present from absent. */
struct locked_table {
    pthread_rwlock_t lock;
    GHashTable *table;
};

static inline void *rwlock_create(void)
{
    struct locked_table *map = take(1, sizeof *map);

    if (pthread_rwlock_init(&map->lock, NULL) != 0) {
        die("out of memory");
    }
    map->table = g_hash_table_new(g_direct_hash, NULL);
    return map;
}

static inline void rwlock_destroy(void *argument)
{
    struct locked_table *map = argument;

    g_hash_table_destroy(map->table);
    pthread_rwlock_destroy(&map->lock);
    free(map);
}

static inline int rwlock_load(void *argument, uint64_t key, uint64_t *value)
{
    struct locked_table *map = argument;

    pthread_rwlock_rdlock(&map->lock);
    *value = as_integer(g_hash_table_lookup(map->table, as_pointer(key)));
    pthread_rwlock_unlock(&map->lock);
    return *value != 0;
}

static inline int rwlock_store(void *argument, uint64_t key, uint64_t value)
{
    struct locked_table *map = argument;
    gboolean added;

    pthread_rwlock_wrlock(&map->lock);
    added = g_hash_table_insert(map->table, as_pointer(key), as_pointer(value));
    pthread_rwlock_unlock(&map->lock);
    return !added;
}

/* Takes the write lock at once: a look under the read lock first would only cost, as the keys are new. */
static inline int rwlock_load_or_store(void *argument, uint64_t key, uint64_t value, uint64_t *actual)
{
    struct locked_table *map = argument;
    uint64_t present;

    pthread_rwlock_wrlock(&map->lock);
    present = as_integer(g_hash_table_lookup(map->table, as_pointer(key)));
    if (present == 0) {
        g_hash_table_insert(map->table, as_pointer(key), as_pointer(value));
    }
    pthread_rwlock_unlock(&map->lock);
    *actual = present ? present : value;
    return present != 0;
}

static inline int rwlock_delete(void *argument, uint64_t key)
{
    struct locked_table *map = argument;
    gboolean removed;

    pthread_rwlock_wrlock(&map->lock);
    removed = g_hash_table_remove(map->table, as_pointer(key));
    pthread_rwlock_unlock(&map->lock);
    return removed;
}

/* ---- both ---------------------------------------------------------------------------------------- */

enum { SYNCMAP, RWLOCK, MAPS };

static const struct adapter adapters[MAPS] = {
    [SYNCMAP] = {"syncmap", syncmap_create, syncmap_destroy, syncmap_load_u64, syncmap_store_u64,
                 syncmap_load_or_store_u64, syncmap_delete_u64},
    [RWLOCK] = {"rwlock+GLib", rwlock_create, rwlock_destroy, rwlock_load, rwlock_store, rwlock_load_or_store,
                rwlock_delete},
};

#endif
