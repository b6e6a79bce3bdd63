/* SPDX-License-Identifier: MIT
 *
 * Adapter: Concurrency Kit's ck_ht, a table for one writer and many readers: loads take no lock, writers take turns by a
 * mutex. A load is a section of ck_epoch, which also frees what readers may still see: tables that were outgrown and
 * copies of string keys.
 *
 * Integer keys are stored as key + 1, as ck_ht keeps 0 and ~0 for itself. ck_ht takes the caller's hash with each call; its
 * own hash function is not used.
 *
 * ck_ht never makes a deleted slot empty again; it may use it for another key. Where most slots are such, an insertion
 * or a miss looks at a good part of the table. So after as many deletions as there are keys the writer copies the
 * table into a new one, which also lets it shrink. (ck_ht_gc() would not help: it moves keys, but empties no slot.)
 * ck_ht_put_spmc() takes a deleted slot that it meets without looking further for the key, so it is only
 * called for keys that a lookup under the mutex did not find.
 */
#ifndef ADAPTER_CK_HT_H
#define ADAPTER_CK_HT_H

#include <ck_epoch.h>
#include <ck_ht.h>

#define MAP_NAME "ck_ht + mutex"
#define MAP_VERSION "Concurrency Kit " CK_VERSION
#define MAP_LANGUAGE "C"
#define MAP_HAS_RANGE 1
#define MAP_HAS_GO 1

#define ADAPTER_SLOTS_FIRST 16
#define ADAPTER_DELETED_LEAST 1024 /* so many deletions at least between two copies of the table */
#define ADAPTER_PENDING_MOST 64    /* retired objects of one thread, above which it tries to free some, */
#define ADAPTER_POLLS 8            /* and so often after it has retired a table, which may be large */

/* A thread's part of the epochs. A record cannot be freed before all of the map is. */
struct adapter_record {
    ck_epoch_record_t epoch;
    unsigned polls; /* still to be made for the sake of a table */
    struct adapter_record *next;
};

typedef struct {
    ck_ht_t table;
    ck_epoch_t epoch;
    char apart[BENCH_CACHE_LINE]; /* what readers read, from what writers write */
    pthread_mutex_t writers;
    uint64_t deleted;               /* since the table was last copied */
    struct adapter_record *records; /* of all threads, ever */
} map_type;

static __thread struct adapter_record *adapter_mine;

/* ---- memory --------------------------------------------------------------------------------------- */

/* In front of what ck_ht and we allocate. */
struct adapter_header {
    ck_epoch_entry_t entry;
} __attribute__((aligned(16)));

static inline void *adapter_alloc(size_t size)
{
    struct adapter_header *header = (struct adapter_header *)malloc(sizeof *header + size);

    if (!header) {
        die("out of memory");
    }
    return header + 1;
}

static inline void adapter_free_now(ck_epoch_entry_t *entry)
{
    free(entry); /* the first member of a header */
}

/* `size` is 0 for a key; ck_ht tells the size of its tables. */
static inline void adapter_free(void *memory, size_t size, bool deferred)
{
    struct adapter_header *header = (struct adapter_header *)memory - 1;

    if (deferred) {
        ck_epoch_call(&adapter_mine->epoch, &header->entry, adapter_free_now);
        adapter_mine->polls = size ? ADAPTER_POLLS : adapter_mine->polls;
    } else {
        free(header);
    }
}

/* ---- keys ----------------------------------------------------------------------------------------- */

BENCH_INLINE ck_ht_hash_t adapter_hash(bench_key key)
{
    ck_ht_hash_t hash;

    hash.value = bench_hash(key);
    return hash;
}

#ifdef KEYS_STRING

#define ADAPTER_MODE CK_HT_MODE_BYTESTRING

/* What ck_ht would call where it has to hash a key again, which it has not, as its entries keep their hashes. */
static inline void adapter_hash_again(ck_ht_hash_t *hash, const void *text, size_t length, uint64_t seed)
{
    bench_key key;

    (void)seed;
    key.bytes = (const char *)text;
    key.len = length;
    *hash = adapter_hash(key);
}

BENCH_INLINE void adapter_entry(ck_ht_entry_t *entry, ck_ht_hash_t hash, bench_key key, uint64_t value)
{
    ck_ht_entry_set(entry, hash, key.bytes, (uint16_t)key.len, (const void *)(uintptr_t)value);
}

static inline void adapter_entry_new(ck_ht_entry_t *entry, ck_ht_hash_t hash, bench_key key, uint64_t value)
{
    char *copy = (char *)adapter_alloc(key.len);

    memcpy(copy, key.bytes, key.len);
    key.bytes = copy;
    adapter_entry(entry, hash, key, value);
}

static inline void adapter_entry_end(ck_ht_entry_t *entry, bool deferred)
{
    adapter_free(ck_ht_entry_key(entry), 0, deferred);
}

static inline bench_key adapter_visited(ck_ht_entry_t *entry)
{
    bench_key key;

    key.bytes = (const char *)ck_ht_entry_key(entry);
    key.len = ck_ht_entry_key_length(entry);
    return key;
}

#else

#define ADAPTER_MODE CK_HT_MODE_DIRECT

static inline void adapter_hash_again(ck_ht_hash_t *hash, const void *key, size_t length, uint64_t seed)
{
    (void)length;
    (void)seed;
    *hash = adapter_hash(*(const uintptr_t *)key - 1);
}

BENCH_INLINE void adapter_entry(ck_ht_entry_t *entry, ck_ht_hash_t hash, bench_key key, uint64_t value)
{
    if (BENCH_UNLIKELY(key >= UINT64_MAX - 1)) {
        die("ck_ht cannot hold this key");
    }
    ck_ht_entry_set_direct(entry, hash, key + 1, value);
}

BENCH_INLINE void adapter_entry_new(ck_ht_entry_t *entry, ck_ht_hash_t hash, bench_key key, uint64_t value)
{
    adapter_entry(entry, hash, key, value);
}

static inline void adapter_entry_end(ck_ht_entry_t *entry, bool deferred)
{
    (void)entry;
    (void)deferred;
}

static inline bench_key adapter_visited(ck_ht_entry_t *entry)
{
    return ck_ht_entry_key_direct(entry) - 1;
}

#endif

/* ---- life ----------------------------------------------------------------------------------------- */

static inline void adapter_init(ck_ht_t *table, uint64_t slots)
{
    static struct ck_malloc memory = {adapter_alloc, NULL, adapter_free};

    if (!ck_ht_init(table, ADAPTER_MODE, adapter_hash_again, &memory, slots, 0)) {
        die("ck_ht_init failed");
    }
}

static inline map_type *map_create(void)
{
    map_type *map = (map_type *)take(1, sizeof *map);

    adapter_init(&map->table, ADAPTER_SLOTS_FIRST);
    ck_epoch_init(&map->epoch);
    pthread_mutex_init(&map->writers, NULL);
    return map;
}

static inline void map_thread_enter(map_type *map)
{
    void *memory;

    if (posix_memalign(&memory, CK_MD_CACHELINE, sizeof *adapter_mine) != 0) {
        die("out of memory");
    }
    adapter_mine = (struct adapter_record *)memory;
    adapter_mine->polls = 0;
    ck_epoch_register(&map->epoch, &adapter_mine->epoch, NULL);
    pthread_mutex_lock(&map->writers);
    adapter_mine->next = map->records;
    map->records = adapter_mine;
    pthread_mutex_unlock(&map->writers);
}

static inline void map_thread_leave(map_type *map)
{
    (void)map;
    ck_epoch_barrier(&adapter_mine->epoch);
    ck_epoch_unregister(&adapter_mine->epoch);
    adapter_mine = NULL;
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

/* What this thread has retired. */
static inline void map_quiesce(map_type *map)
{
    (void)map;
    ck_epoch_barrier(&adapter_mine->epoch);
}

static inline void map_destroy(map_type *map)
{
    ck_ht_iterator_t at = CK_HT_ITERATOR_INITIALIZER;
    ck_ht_entry_t *entry;

    while (ck_ht_next(&map->table, &at, &entry)) {
        adapter_entry_end(entry, false);
    }
    map_thread_leave(map);
    ck_ht_destroy(&map->table);
    while (map->records) {
        struct adapter_record *record = map->records;

        map->records = record->next;
        free(record);
    }
    pthread_mutex_destroy(&map->writers);
    free(map);
}

/* ---- the writer ----------------------------------------------------------------------------------- */

/* All below are called with the mutex, and outside of a section. */

BENCH_INLINE void adapter_lock(map_type *map)
{
    pthread_mutex_lock(&map->writers);
}

BENCH_INLINE void adapter_unlock(map_type *map)
{
    pthread_mutex_unlock(&map->writers);
    if (BENCH_UNLIKELY(adapter_mine->epoch.n_pending > ADAPTER_PENDING_MOST || adapter_mine->polls > 0)) {
        adapter_mine->polls -= adapter_mine->polls > 0;
        ck_epoch_poll(&adapter_mine->epoch);
    }
}

/* Copies the table into a new one with two to four slots for a key, and no deleted ones; what ck_ht_grow_spmc() does. */
static __attribute__((noinline)) void adapter_rebuild(map_type *map)
{
    ck_ht_iterator_t at = CK_HT_ITERATOR_INITIALIZER;
    ck_ht_t fresh, old = map->table;
    ck_ht_entry_t *entry;
    uint64_t slots = 2 * ck_ht_count(&old);

    adapter_init(&fresh, slots > ADAPTER_SLOTS_FIRST ? slots : ADAPTER_SLOTS_FIRST);
    while (ck_ht_next(&old, &at, &entry)) {
        ck_ht_entry_t copy = *entry;
        ck_ht_hash_t hash = adapter_hash(adapter_visited(entry));

        if (!ck_ht_put_spmc(&fresh, hash, &copy)) {
            die("ck_ht_put_spmc failed");
        }
    }
    ck_pr_fence_store();
    ck_pr_store_ptr(&map->table.map, fresh.map);
    adapter_free(old.map, 1, true);
    map->deleted = 0;
}

BENCH_INLINE uint64_t adapter_find(map_type *map, ck_ht_hash_t hash, bench_key key, ck_ht_entry_t *entry)
{
    adapter_entry(entry, hash, key, 0);
    return ck_ht_get_spmc(&map->table, hash, entry) ? (uintptr_t)ck_ht_entry_value(entry) : 0;
}

/* For a key that was not found. */
BENCH_INLINE void adapter_add(map_type *map, ck_ht_hash_t hash, bench_key key, uint64_t value)
{
    ck_ht_entry_t entry;

    adapter_entry_new(&entry, hash, key, value);
    if (BENCH_UNLIKELY(!ck_ht_put_spmc(&map->table, hash, &entry))) {
        die("ck_ht_put_spmc failed");
    }
}

/* For a key that adapter_find() found: `entry` is its answer, with the table's own copy of the key. */
BENCH_INLINE void adapter_replace(map_type *map, ck_ht_hash_t hash, ck_ht_entry_t *entry, uint64_t value)
{
    entry->value = value;
    if (BENCH_UNLIKELY(!ck_ht_set_spmc(&map->table, hash, entry))) {
        die("ck_ht_set_spmc failed");
    }
}

/* 1 if the key was there; `entry` is what it had. */
BENCH_INLINE int adapter_remove(map_type *map, ck_ht_hash_t hash, bench_key key, ck_ht_entry_t *entry)
{
    adapter_entry(entry, hash, key, 0);
    if (!ck_ht_remove_spmc(&map->table, hash, entry)) {
        return 0;
    }
    adapter_entry_end(entry, true);
    if (BENCH_UNLIKELY(++map->deleted > ADAPTER_DELETED_LEAST + ck_ht_count(&map->table))) {
        adapter_rebuild(map);
    }
    return 1;
}

/* ---- operations ----------------------------------------------------------------------------------- */

BENCH_INLINE int map_load(map_type *map, bench_key key, uint64_t *value)
{
    ck_ht_entry_t entry;
    ck_ht_hash_t hash = adapter_hash(key);

    ck_epoch_begin(&adapter_mine->epoch, NULL);
    *value = adapter_find(map, hash, key, &entry);
    ck_epoch_end(&adapter_mine->epoch, NULL);
    return *value != 0;
}

BENCH_INLINE int map_swap(map_type *map, bench_key key, uint64_t value, uint64_t *previous)
{
    ck_ht_entry_t entry;
    ck_ht_hash_t hash = adapter_hash(key);

    adapter_lock(map);
    *previous = adapter_find(map, hash, key, &entry);
    if (*previous) {
        adapter_replace(map, hash, &entry, value);
    } else {
        adapter_add(map, hash, key, value);
    }
    adapter_unlock(map);
    return *previous != 0;
}

#ifdef KEYS_STRING

BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    uint64_t previous;

    return map_swap(map, key, value, &previous);
}

#else

/* No key to be copied, so the table may find out by itself whether it is there. */
BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    ck_ht_entry_t entry;
    ck_ht_hash_t hash = adapter_hash(key);

    adapter_entry(&entry, hash, key, value);
    adapter_lock(map);
    if (BENCH_UNLIKELY(!ck_ht_set_spmc(&map->table, hash, &entry))) {
        die("ck_ht_set_spmc failed");
    }
    adapter_unlock(map);
    return !ck_ht_entry_empty(&entry);
}

#endif

BENCH_INLINE int map_load_or_store(map_type *map, bench_key key, uint64_t value, uint64_t *actual)
{
    ck_ht_entry_t entry;
    ck_ht_hash_t hash = adapter_hash(key);
    uint64_t present;

    adapter_lock(map);
    present = adapter_find(map, hash, key, &entry);
    if (!present) {
        adapter_add(map, hash, key, value);
    }
    adapter_unlock(map);
    *actual = present ? present : value;
    return present != 0;
}

BENCH_INLINE int map_load_and_delete(map_type *map, bench_key key, uint64_t *previous)
{
    ck_ht_entry_t entry;
    int deleted;

    adapter_lock(map);
    deleted = adapter_remove(map, adapter_hash(key), key, &entry);
    adapter_unlock(map);
    *previous = deleted ? (uintptr_t)ck_ht_entry_value(&entry) : 0;
    return deleted;
}

BENCH_INLINE int map_delete(map_type *map, bench_key key)
{
    uint64_t previous;

    return map_load_and_delete(map, key, &previous);
}

BENCH_INLINE int map_compare_and_swap(map_type *map, bench_key key, uint64_t expected, uint64_t desired)
{
    ck_ht_entry_t entry;
    ck_ht_hash_t hash = adapter_hash(key);
    int equal;

    adapter_lock(map);
    equal = adapter_find(map, hash, key, &entry) == expected;
    if (equal) {
        adapter_replace(map, hash, &entry, desired);
    }
    adapter_unlock(map);
    return equal;
}

BENCH_INLINE int map_compare_and_delete(map_type *map, bench_key key, uint64_t expected)
{
    ck_ht_entry_t entry;
    ck_ht_hash_t hash = adapter_hash(key);
    int equal;

    adapter_lock(map);
    equal = adapter_find(map, hash, key, &entry) == expected;
    if (equal) {
        adapter_remove(map, hash, key, &entry);
    }
    adapter_unlock(map);
    return equal;
}

/* ck_ht wants no writer beside an iteration. */
static inline void map_range(map_type *map, int (*visit)(bench_key, uint64_t, void *), void *context)
{
    ck_ht_iterator_t at = CK_HT_ITERATOR_INITIALIZER;
    ck_ht_entry_t *entry;

    adapter_lock(map);
    while (ck_ht_next(&map->table, &at, &entry) &&
           visit(adapter_visited(entry), (uintptr_t)ck_ht_entry_value(entry), context)) {
    }
    adapter_unlock(map);
}

static inline void map_clear(map_type *map)
{
    ck_ht_iterator_t at = CK_HT_ITERATOR_INITIALIZER;
    ck_ht_entry_t *entry;

    adapter_lock(map);
    while (ck_ht_next(&map->table, &at, &entry)) {
        adapter_entry_end(entry, true);
    }
    if (!ck_ht_reset_size_spmc(&map->table, ADAPTER_SLOTS_FIRST)) {
        die("ck_ht_reset_size_spmc failed");
    }
    map->deleted = 0;
    adapter_unlock(map);
}

#endif
