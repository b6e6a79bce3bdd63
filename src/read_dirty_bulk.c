/* SPDX-License-Identifier: MIT
 *
 * Engine 1, read/dirty: what the seed does not have, for many keys at once: scan, load_many, reserve, clear. The essay is in read_dirty.c.
 *
 * SCAN goes through the table that has all keys, dirty if there is one, else read, without mu and without promoting. A table places
 * a key by the low bits of its hash. So the order of a scan is that of the hash with its bits reversed: the home lines of a
 * table are then ranges, in any table's size, and the place in a scan is one number, as it is in the other engine. All keys of one home
 * line are in the slots from its first to the next empty one. Slots of a dirty are filled and emptied meanwhile, but no key moves; and
 * a table that was replaced keeps what it had while this thread is pinned: a key that stays is in any table that was looked up.
 */
#include "read_dirty.h"

static uint64_t bits_reversed(uint64_t x)
{
    x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
    x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0fu) | (x & 0x0f0f0f0f0f0f0f0fu) << 4;
    return __builtin_bswap64(x);
}

/* A table that has every key. */
static struct table *scan_table(struct read_dirty *m)
{
    for (;;) {
        uintptr_t read = ld_seq_cst(&m->read); /* P1 */
        struct table *t = amended(read) ? ld_seq_cst(&m->dirty) : read_table(read); /* P4 */
        if (t != NULL)
            return t;
    }
}

/* The entries of one home line, in one table. */
struct scan_home {
    const struct table *t;
    size_t home, end; /* the line, and how many slots from its first on are not empty; a key that comes later has a later slot, and is left out */
    uint64_t at;      /* the place of the last entry that was found, */
    size_t slot;      /* and its slot, counted from the line's first */
};

/* The next entry in the order of places, and of slots where these are the same; NULL: no more. */
static struct entry *scan_next(struct scan_home *h)
{
    const struct slot *slots = table_slots(h->t);
    size_t at = table_home_slot(h->t, h->home);
    uint64_t after = h->at;
    size_t past = h->slot;
    struct entry *best = NULL;
    for (size_t n = 0; n < h->end; n++, at = table_next_slot(h->t, at)) {
        const struct slot *slot = &slots[at];
        struct entry *e = ld_seq_cst(&slot->entry); /* P3 */
        uint64_t hash = ld_relaxed(&slot->hash), place = bits_reversed(hash); /* relaxed: P3 */
        if (e == TOMBSTONE || (hash & h->t->mask) != h->home || place < after || (place == after && n < past))
            continue;
        if (best == NULL || place < h->at) {
            best = e;
            h->at = place;
            h->slot = n + 1;
        }
    }
    return best;
}

/* Visits the entries of one home line from *place on; where the scan is over before the end, *place is the next one's. */
static void scan_one(struct read_dirty *m, const struct table *t, uint64_t *place, struct scan *scan)
{
    struct scan_home h = {.t = t, .home = bits_reversed(*place) & t->mask, .at = *place};
    for (size_t i = table_home_slot(t, h.home); ld_seq_cst(&table_slots(t)[i].entry) != NULL; i = table_next_slot(t, i)) /* P3 */
        h.end++;
    *place = (*place | ~bits_reversed(t->mask)) + 1;
    for (struct entry *e; (e = scan_next(&h)) != NULL;) {
        void *value;
        if (scan_is_over(scan) && h.at != scan->hash) {
            *place = h.at;
            return;
        }
        if (!entry_load(e, &value))
            continue;
        scan->hash = h.at;
        value_hand_out(&m->map, value);
        scan_visit(e->key, value, scan);
    }
}

static void rd_scan(struct read_dirty *m, uint64_t *place, struct scan *scan)
{
    do
        scan_one(m, scan_table(m), place, scan);
    while (*place != 0 && !scan_is_over(scan));
}

/* ---- load_many ---- */

static struct slot *first_slot(struct read_dirty *m, uint64_t hash)
{
    struct table *read = read_table(ld_seq_cst(&m->read)); /* P1 */
    return &table_slots(read)[table_home_slot(read, hash)];
}

static void rd_prefetch(struct read_dirty *m, uint64_t hash)
{
    __builtin_prefetch(first_slot(m, hash));
}

/* The entry that is probably the key's, once its line was prefetched. */
static void rd_prefetch_record(struct read_dirty *m, const struct query *q)
{
    const struct slot *slot = first_slot(m, q->hash);
    for (size_t i = 0; i < LINE_SLOTS; i++)
        if (ld_relaxed(&slot[i].hash) == q->hash) /* relaxed: frozen */
            __builtin_prefetch(ld_relaxed(&slot[i].entry)); /* relaxed: as above */
}

/* ---- reserve ---- */

/* The slots of a new dirty that keys cannot have: those for what is, or would be, EXPUNGED (I4). Exact under mu, else a guess. */
static size_t reserve_burden(struct read_dirty *m)
{
    if (ld_seq_cst(&m->dirty) != NULL) /* P4 */
        return ld_relaxed(&m->expunged_count); /* relaxed: under mu, or a guess */
    return ld_relaxed(&read_table(ld_seq_cst(&m->read))->len); /* P1; relaxed: frozen */
}

/* Whether dirty takes so many keys, those that it has included. Under mu. */
static bool dirty_holds(const struct read_dirty *m, size_t keys)
{
    const struct table *dirty = ld_relaxed(&m->dirty); /* relaxed: under mu */
    if (dirty == NULL)
        return false;
    size_t gone = ld_relaxed(&dirty->used) - ld_relaxed(&dirty->len); /* relaxed: under mu */
    return gone + ld_relaxed(&m->expunged_count) + keys <= table_limit(dirty); /* relaxed: under mu */
}

/* Gives dirty a table with room for so many keys. 0, or SYNCMAP_ENOMEM. */
static int rd_reserve(struct read_dirty *m, size_t keys)
{
    for (;;) {
        size_t burden = reserve_burden(m);
        struct table *larger = keys <= SIZE_MAX - burden ? table_new(m, keys + burden) : NULL;
        if (larger == NULL)
            return SYNCMAP_ENOMEM;
        lock(m, NULL);
        bool holds = dirty_holds(m, keys), fits = keys + reserve_burden(m) <= table_limit(larger);
        struct table *dirty = ld_relaxed(&m->dirty); /* relaxed: under mu */
        fits = fits && (dirty == NULL || ld_relaxed(&dirty->len) <= keys); /* relaxed: under mu */
        if (!holds && fits && dirty != NULL) {
            grow_dirty(m, larger);
        } else if (!holds && fits) {
            build_dirty(m, larger);
            st_seq_cst(&m->read, ld_relaxed(&m->read) | AMENDED); /* P1; relaxed: under mu */
        }
        bool done = holds || fits || (dirty != NULL && ld_relaxed(&dirty->len) > keys); /* relaxed: under mu */
        if (done && ld_relaxed(&m->capacity) < keys) /* relaxed: under mu */
            st_relaxed(&m->capacity, keys); /* relaxed: under mu; room_reserve() only guesses by it */
        unlock(m, NULL);
        if (holds || !fits)
            table_free(m, larger);
        if (done)
            return 0;
    }
}

/* ---- clear ---- */

static int rd_clear(struct read_dirty *m)
{
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    if (!amended(read) && read_table(read)->base == NULL)
        return 0; /* an era's first, empty table */
    struct era *fresh = era_new(m);
    if (fresh == NULL)
        return SYNCMAP_ENOMEM;
    lock(m, NULL);
    struct table *old = read_table(ld_relaxed(&m->read)), *dirty = ld_relaxed(&m->dirty); /* relaxed: under mu */
    size_t keys = ld_relaxed(&old->len); /* relaxed: frozen */
    give_entries_to_tables(m, old, dirty);
    st_seq_cst(&m->read, read_word(&fresh->empty)); /* P1: the instant of the clear */
    st_release(&m->dirty, NULL); /* P4 */
    m->misses = 0;
    table_retire(m, old, keys);
    if (dirty != NULL)
        table_retire(m, dirty, ld_relaxed(&dirty->len)); /* relaxed: under mu */
    reclaim_retire(&m->era->retired, &m->era_class, sizeof *m->era);
    m->era = fresh;
    unlock(m, NULL);
    return 0;
}
