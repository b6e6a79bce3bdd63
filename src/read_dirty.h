/* SPDX-License-Identifier: MIT
 *
 * Engine 1, read/dirty: Go's sync.Map (versions 1.9 to 1.23). The essay is in read_dirty.c.
 */
#ifndef SYNCMAP_READ_DIRTY_H
#define SYNCMAP_READ_DIRTY_H

#include "counter.h"
#include "map.h"

/* Marks: in `read`, in entry.p, in slot.entry. */
#define AMENDED ((uintptr_t)1)
#define EMPTY ((uintptr_t)2)
#define DELETED NULL
#define EXPUNGED ((void *)&value_expunged)
#define TOMBSTONE (&tombstone)

/* What the map has for one key: shared by the tables that have the key. */
struct entry {
    _Atomic(void *) p; /* a value, DELETED or EXPUNGED */
    syncmap_key key;   /* the map's own copy; the contents of a string or bytes follow the struct */
    union {
        struct {
            struct entry *prev, *next;
        } dead;                      /* while EXPUNGED: its place in read_dirty.expunged */
        struct reclaim_link retired; /* once it is in no table */
    } link;
};

/* The whole hash stands beside the pointer: no entry is visited for a key that cannot match (for integers, none
 * at all: H1 of hash.h). */
struct slot {
    _Atomic uint64_t hash;         /* written before `entry`, never changed after */
    _Atomic(struct entry *) entry; /* NULL: empty. TOMBSTONE: its key was deleted from dirty */
};

/* Open addressing by cache lines: a key is in the first line from its home on that had an empty slot when it came. Lines are filled
 * from their first slot on, so one whose last slot is empty ends a search. At most 3/4 of the slots are used. They follow the struct. */
enum { LINE_SLOTS = 4 };
struct table {
    alignas(CACHE_LINE) size_t mask; /* lines - 1, a power of two less 1 */
    struct era *era;     /* whose keys it has */
    void *base;          /* of its memory; NULL: it is an era's empty table */
    /* Apart, since searches without mu read what is above: */
    alignas(CACHE_LINE) _Atomic size_t len; /* keys: the seed's len(m) */
    _Atomic size_t used; /* slots that are not empty: keys and tombstones */
    /* Once it is retired: */
    struct reclaim_link retired;
    struct entry *expunged; /* entries that go with it */
    bool owns_entries;      /* those in its slots go with it, too */
    size_t freed;           /* so many slots are done */
};

static struct entry tombstone;

/* The time between two clears: how many keys were stored less deleted, and the empty table that it begins with. */
struct era {
    struct counter keys;
    struct table empty;
    struct slot empty_slots[LINE_SLOTS]; /* the one line of `empty` */
    struct reclaim_link retired;
    void *base;
};

enum { VERSIONS = 16 };

struct read_dirty {
    struct syncmap map;
    struct reclaim_class table_class, entry_class, era_class;
    _Atomic size_t capacity; /* of the options, or reserved: no dirty is built smaller */

    /* The table that is searched with no lock, and AMENDED. */
    alignas(CACHE_LINE) _Atomic uintptr_t read;
    _Atomic(struct table *) dirty; /* here, away from what every writer under mu changes */

    /* Guards all below, and every change of the two above. */
    alignas(CACHE_LINE) pthread_mutex_t mu;
    size_t misses;
    struct entry *expunged;       /* all that are EXPUNGED */
    _Atomic size_t expunged_count;
    struct era *era;
    bool ending; /* rd_destroy_step() has begun */
    _Atomic unsigned versions[VERSIONS]; /* custom keys only: counts, by hash, the new entries */
};

_Static_assert(LINE_SLOTS * sizeof(struct slot) == CACHE_LINE || sizeof(void *) != 8, "LINE_SLOTS slots are a cache line");
_Static_assert(sizeof(struct table) % CACHE_LINE == 0, "slots start on a cache line");
_Static_assert(alignof(struct table) > (AMENDED | EMPTY), "the low bits of a table's address are free");

/* For queries by an integer, of whose type this engine needs no more. A constant, so that compilers see the kind. */
static const struct key_type integer_keys = {.kind = SYNCMAP_U64};

static inline struct table *read_table(uintptr_t read)
{
    return (struct table *)(read & ~(AMENDED | EMPTY));
}

static inline bool amended(uintptr_t read)
{
    return read & AMENDED;
}

/* The word for a table that nobody changes any more. (One without any key says so, as Go's map does: what finds nothing there
 * need not look.) */
static inline uintptr_t read_word(struct table *t)
{
    return (uintptr_t)t | (ld_relaxed(&t->len) == 0 ? EMPTY : 0); /* relaxed: frozen, or under mu */
}

static inline bool value_is_live(const void *p)
{
    return p != DELETED && p != EXPUNGED;
}

static void rd_check(struct read_dirty *m);
static bool rd_init(struct read_dirty *m, size_t capacity);
static bool rd_destroy_step(struct read_dirty *m);
static ALWAYS_INLINE int rd_load(struct read_dirty *m, struct query *q, void **value);
static ALWAYS_INLINE int rd_swap(struct read_dirty *m, struct query *q, void *value, void **previous);
static ALWAYS_INLINE int rd_load_or_store(struct read_dirty *m, struct query *q, void *value, void **actual);
static ALWAYS_INLINE int rd_load_and_delete(struct read_dirty *m, struct query *q, void **previous);
static ALWAYS_INLINE int rd_compare_and_swap(struct read_dirty *m, struct query *q, void *expected, void *desired, void **previous);
static ALWAYS_INLINE int rd_compare_and_delete(struct read_dirty *m, struct query *q, void *expected, void **previous);
static int rd_range(struct read_dirty *m, bool (*visit)(syncmap_key, void *, void *), void *context);
static int rd_clear(struct read_dirty *m);
static void rd_scan(struct read_dirty *m, uint64_t *place, struct scan *scan);
static void rd_prefetch(struct read_dirty *m, uint64_t hash);
static void rd_prefetch_record(struct read_dirty *m, const struct query *q);
static int rd_reserve(struct read_dirty *m, size_t keys);
static size_t rd_len(struct read_dirty *m);
static void rd_fork_prepare(struct read_dirty *m);
static void rd_fork_resume(struct read_dirty *m);

#endif
