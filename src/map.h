/* SPDX-License-Identifier: MIT
 *
 * What every map has, whatever its engine: the struct that engines begin with, values, and the memory that both
 * the engines and the API use.
 */
#ifndef SYNCMAP_MAP_H
#define SYNCMAP_MAP_H

#include "key.h"
#include "reclaim.h"

/* What the operations are compiled for, each on its own; FLAT_TEXT: shortcuts only. */
enum variant { READ_DIRTY_INTEGERS, READ_DIRTY_OTHERS, FLAT_INTEGERS, FLAT_TEXT, FLAT_OTHERS };

/* Never changes after syncmap_new(), but for the last four fields. Engines put it first in their own struct. */
struct syncmap {
    struct key_type key;
    enum variant variant; /* of its engine and kind of keys */
    enum variant quick;   /* what loads, and what only loads if it can, have a shortcut for, if there is no value_acquire: integers,
                           * FLAT_TEXT; else FLAT_OTHERS */
    enum variant quick_write; /* the same of what writes, where nobody owns values */
    bool prefetches_to_write; /* the processor can */
    void *context; /* of the value functions */
    void (*value_free)(void *value, void *context);
    void (*value_acquire)(void *value, void *context);
    bool (*value_equal)(const void *stored, const void *expected, void *context);
    struct memory memory;
    struct reclaim_class value_class; /* of the slots that carry this map's values */
    struct reclaim_class map_class;   /* of the map itself */
    struct reclaim_last last;         /* at syncmap_free() */
    void *base;                       /* of its memory, and its size */
    size_t size;
    struct syncmap *next, **link;     /* api.c's list of all maps, under its mutex */
};

/* ---- values in tables ----
 *
 * A table's value word is NULL where the seed has nil. The user's NULL is stored as the address of value_null; the
 * engines' other marks are addresses of objects of the library's own, too. So no pointer to an object of a user's
 * is ever taken for a mark, and an integer cast to a pointer that happens to be one is refused. */
static char value_marks[2];
#define value_null (value_marks[0])
#define value_expunged (value_marks[1])

static inline bool value_is_reserved(const void *value)
{
    return (uintptr_t)value - (uintptr_t)value_marks < sizeof value_marks;
}

static inline void *value_encode(void *value)
{
    return value != NULL ? value : &value_null;
}

static inline void *value_decode(void *word)
{
    return word != &value_null ? word : NULL;
}

/* Runs user code. */
static inline bool value_is_equal(const struct syncmap *m, const void *stored, const void *expected)
{
    if (stored == expected)
        return true;
    return m->value_equal && stored && expected && m->value_equal(stored, expected, m->context);
}

/* Takes the reference of whoever is given the value, while the caller is pinned. Runs user code. */
static inline void value_hand_out(const struct syncmap *m, void *value)
{
    if (m->value_acquire != NULL && value != NULL)
        m->value_acquire(value, m->context);
}

/* ---- a scan: some keys from a place on ---- */

struct scan {
    bool (*visit)(syncmap_key key, void *value, void *context);
    void *context;
    size_t left;   /* so many are still wanted */
    uint64_t hash; /* of the last one visited, for the engine's use */
};

static inline bool scan_is_over(const struct scan *scan)
{
    return scan->left == 0;
}

/* For a value that was handed out. Always goes on: who calls it looks whether the scan is over, where it can stop. Runs user code. */
static bool scan_visit(syncmap_key key, void *value, void *context)
{
    struct scan *scan = context;
    bool go_on = scan->visit(key, value, scan->context);
    scan->left = go_on && scan->left > 0 ? scan->left - 1 : 0;
    return true;
}

/* ---- a search: one operation's key, hashed once ---- */

struct query {
    syncmap_key key;
    uint64_t hash;
    const struct key_type *type;
    /* For engines that may not run a custom `equal` where they search, as they hold a lock there: the only thing that
     * has this key, found before without the lock, or NULL. */
    const void *known;
    bool by_identity; /* it is to be used */
};

static inline bool query_init(struct query *q, const struct syncmap *m, syncmap_key key)
{
    if (unlikely(!key_is_valid(&m->key, key)))
        return false;
    /* Field by field: compilers would copy the key as one vector right after its halves were stored, which stalls. */
    q->key.as.u64 = key.as.u64;
    q->key.len = key.len;
    q->hash = key_hash(&m->key, key);
    q->type = &m->key;
    q->known = NULL;
    q->by_identity = false;
    return true;
}

/* Whether `holder`, which has the key `stored` with the very hash of the query, is what is looked for. */
static inline bool query_matches(const struct query *q, const void *holder, syncmap_key stored)
{
    if (unlikely(q->by_identity))
        return holder == q->known;
    return key_is_equal(q->type, stored, q->key);
}

#endif
