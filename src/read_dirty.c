/* SPDX-License-Identifier: MIT
 *
 * Engine 1, read/dirty: the map that Go's sync.Map was from 1.9 to 1.23, with its fields and steps by their names and
 * in its order. The algorithm is Bryan C. Mills's (Go's src/sync/map.go, BSD licence); swap, compare_and_swap,
 * compare_and_delete and clear follow the later versions of that file.
 *
 *        read (atomic word)                       dirty (under mu; NULL if not amended)
 *     [table | AMENDED]                           [table]
 *         |                                          |
 *     k1 --> entry {p: value} <--------------------- k1
 *     k2 --> entry {p: DELETED} <------------------- k2
 *     k3 --> entry {p: EXPUNGED}                     (not there)
 *            (nothing)         entry {p: value} <--- k4
 *
 * Two tables of pointers to shared entries. The table in `read` never changes and is searched with no lock. Dirty
 * is guarded by `mu`; when there is one it has every key that is not EXPUNGED, and AMENDED, the low bit of `read`,
 * says so. A search that must go to dirty is a miss; as many misses as dirty has keys pay for promoting it:
 * dirty becomes read, as it is. The next new key then builds a new dirty, a copy of read without what is deleted.
 *
 *   I1  `read` is AMENDED if and only if dirty is not NULL.
 *   I2  If there is a dirty, each entry of read is either in dirty, or EXPUNGED and in the list `expunged`.
 *   I3  No entry in dirty is EXPUNGED. If there is no dirty, no entry at all is, and the list is empty.
 *   I4  Dirty has room for all that is EXPUNGED, so that reviving an entry needs no memory:
 *       used + expunged_count <= limit.
 *   I5  A key has at most one entry in read and dirty together.
 *   I6  An entry is retired once, by whoever took its last place, under mu, out of the tables: see What C adds.
 *
 * The states of entry.p (who changes it):
 *
 *     value    -> value     store, swap, compare_and_swap: CAS, no lock
 *     value    -> DELETED   delete, load_and_delete, compare_and_delete: CAS, no lock
 *     DELETED  -> value     store, swap, load_or_store: CAS, no lock
 *     DELETED  -> EXPUNGED  try_expunge, when dirty is built, under mu
 *     EXPUNGED -> DELETED   unexpunge, under mu, after the entry has joined dirty
 *
 * Why expunged at all: an entry that is DELETED when dirty is built is left out, or deleted keys would be copied for
 * ever. But a store that finds it in read could then revive it by CAS, and the promotion of dirty would lose that
 * store. EXPUNGED makes such a store take mu and put the entry into dirty first.
 *
 * WHAT C ADDS to the seed:
 *
 * Reclamation. Every operation is pinned (reclaim.h), so what it found stays allocated.
 *   1. Promotion retires the old read. The entries that are EXPUNGED at that moment are in no table any more (I2), and
 *      go with it: the list `expunged` is handed to the retired table. (Looking at the old table's entries when it
 *      is released would be wrong: by then a later generation may have expunged an entry that the newer read has.)
 *   2. load_and_delete takes an entry that only dirty has out of it under mu, then empties it, then retires it. Others
 *      may have found it before and still change p by CAS; all that they do counts as done before it was taken out.
 *   3. What a CAS on p replaced is the caller's (api.c), who retires it.
 *   4. clear retires both tables, and all entries with the one that has them all. Operations that found an entry
 *      before count as done before the clear; the values that they leave there are freed with the entry. For
 *      the count of keys to be right regardless, it belongs to an era, the time between two clears.
 *
 * Memory first. A new key needs an entry, and perhaps a table. Both are made ready with no lock held (`struct room`)
 * before the first visible step, so ENOMEM changes nothing; what was guessed wrong is made again. I4 does it for the rest.
 *
 * No user code under mu. That is why memory is made ready before, and why a custom `equal` does not run there. For custom
 * keys lock() searches first without the lock, remembers the entry (or that there is none), takes mu and checks that no
 * new entry of a hash like this one has joined since (`versions`): then no other entry can have the key, and a search under mu
 * compares pointers. (If the entry has left, it finds none, which is right.) compare_and_swap looks at values after it has given mu back.
 *
 * Loads never wait. A load is promised to work in a signal handler, and a handler that waits for mu may wait for ever: for
 * its own thread, or for one that forks and holds every mu while it waits for what this thread has. So where the seed
 * locks, load tries to; if mu is taken it searches dirty without it (find_unlocked), and does not count the miss.
 * For that the slots of dirty are atomic, filled once and emptied to a TOMBSTONE once, and a dirty that has grown is
 * retired, not freed; if `read` is still the same after the search, nothing was promoted under it. A load may promote, but
 * never frees: it only pushes the old read on the list of what is retired.
 *
 * Pairs:
 *   P1  `read` is stored seq_cst under mu and loaded seq_cst: who sees a table sees all that is in it; and of a thread
 *       that stores a present key and then misses a new one, and one that makes that new key (setting AMENDED) and
 *       then loads the present key, one sees the other's (with P2).
 *   P2  p is changed by seq_cst CAS only and loaded seq_cst: this is where operations on present keys take effect. It
 *       publishes what the value points to, and the two-key promise of the header is the total order of these.
 *   P3  a slot's entry in a dirty that others may see is stored seq_cst under mu, and loaded seq_cst by searches without
 *       it; slot.hash is written before it. In a table that is read, slots are frozen: relaxed.
 *   P4  `dirty` is stored under mu and loaded seq_cst by searches without it. A new one is stored by release, before `read` is AMENDED, so
 *       that who sees that finds it; promotion and clear store NULL by release, after `read`, so that who finds dirty gone finds read
 *       changed, too. One that has grown is stored seq_cst, as nothing else tells of it.
 *   P5  versions: bumped by release under mu after the slot was written, read by acquire before a search without mu, and
 *       compared under mu.
 * All else is under mu.
 *
 * Progress: a key found in read: load is wait-free but for the probe, writers are lock-free. Else: load is lock-free, all others
 * block on mu.
 */
#include "read_dirty.h"

/* ---- searches, and mu ---- */

/* The entry of a key, searched in read and dirty without mu; NULL: at some instant of the search there was none. Lock-free.
 * What it returns may have left dirty since; then it is DELETED, or will be by whoever took it. */
static struct entry *find_unlocked(struct read_dirty *m, const struct query *q)
{
    uintptr_t before, read = ld_seq_cst(&m->read); /* P1 */
    do {
        before = read;
        struct entry *e = find(read_table(read), q);
        if (e != NULL || !amended(read))
            return e;
        struct table *dirty = ld_seq_cst(&m->dirty); /* P4 */
        e = dirty != NULL ? find_dirty(dirty, q) : NULL;
        if (e != NULL)
            return e;
        read = ld_seq_cst(&m->read); /* P1: else dirty was promoted, and another looked at */
    } while (read != before);
    return NULL;
}

/* What q's custom key is searched by under mu: what was found without it. */
static unsigned find_before_lock(struct read_dirty *m, struct query *q)
{
    unsigned version = ld_acquire(&m->versions[q->hash % VERSIONS]); /* P5 */
    q->known = find_unlocked(m, q);
    q->by_identity = true;
    return version;
}

/* Whether that still stands. Under mu. */
static bool found_before_stands(struct read_dirty *m, struct query *q, unsigned version)
{
    q->by_identity = ld_relaxed(&m->versions[q->hash % VERSIONS]) == version; /* relaxed: under mu */
    return q->by_identity;
}

/* Takes mu for an operation on q's key (NULL: on all). */
static void lock(struct read_dirty *m, struct query *q)
{
    bool custom = q != NULL && q->type->kind == SYNCMAP_CUSTOM;
    for (;;) {
        unsigned version = custom ? find_before_lock(m, q) : 0;
        pthread_mutex_lock(&m->mu);
        if (!custom || found_before_stands(m, q, version))
            return;
        pthread_mutex_unlock(&m->mu);
    }
}

/* The same without waiting; false: somebody has mu, or a custom key's answer did not stand. */
static bool try_lock(struct read_dirty *m, struct query *q)
{
    bool custom = q->type->kind == SYNCMAP_CUSTOM;
    unsigned version = custom ? find_before_lock(m, q) : 0;
    if (pthread_mutex_trylock(&m->mu) != 0) {
        q->by_identity = false;
        return false;
    }
    if (!custom || found_before_stands(m, q, version))
        return true;
    pthread_mutex_unlock(&m->mu);
    return false;
}

static void unlock(struct read_dirty *m, struct query *q)
{
    if (DEBUG_BUILD)
        rd_check(m);
    if (q != NULL)
        q->by_identity = false;
    pthread_mutex_unlock(&m->mu);
}

/* A new entry with this hash has joined. Under mu. */
static void bump_version(struct read_dirty *m, uint64_t hash)
{
    if (m->map.key.kind != SYNCMAP_CUSTOM)
        return;
    _Atomic unsigned *version = &m->versions[hash % VERSIONS];
    st_release(version, ld_relaxed(version) + 1); /* P5; relaxed: under mu */
}

/* Makes dirty the read, as it is. Under mu, amended. Needs no memory; async-signal-safe. */
static void promote(struct read_dirty *m)
{
    struct table *old = read_table(ld_relaxed(&m->read)); /* relaxed: under mu */
    struct table *dirty = ld_relaxed(&m->dirty);          /* relaxed: under mu */
    size_t expunged = ld_relaxed(&m->expunged_count);     /* relaxed: under mu */
    st_seq_cst(&m->read, read_word(dirty));              /* P1 */
    st_release(&m->dirty, NULL);                          /* P4: after read; see there */
    m->misses = 0;
    old->expunged = m->expunged; /* in no table now: they go with the old read */
    m->expunged = NULL;
    st_relaxed(&m->expunged_count, 0); /* relaxed: under mu; room_reserve() only guesses by it */
    table_retire(m, old, expunged);
    debug_count(promotions);
}

/* The seed's missLocked. Promotion costs a later copy of all slots: a dirty that has far more of them than keys (made for
 * options.capacity, or emptied by deletes) takes more misses than it has keys. */
static void miss(struct read_dirty *m)
{
    const struct table *dirty = ld_relaxed(&m->dirty); /* relaxed: under mu */
    m->misses++;
    if (m->misses < ld_relaxed(&dirty->len) || m->misses < table_slot_count(dirty) / 16) /* relaxed: under mu */
        return;
    promote(m);
}

/* ---- load ---- */

static inline int entry_load(struct entry *e, void **value)
{
    void *p = ld_seq_cst(&e->p); /* P2 */
    if (!value_is_live(p))
        return 0;
    *value = value_decode(p);
    return 1;
}

/* The slow functions make their query anew: what they are called with goes in registers, as the fast ones have it. */
static ALWAYS_INLINE struct query query_again(const struct read_dirty *m, syncmap_key key, uint64_t hash)
{
    return (struct query){.key = key, .hash = hash, .type = &m->map.key};
}

/* For load, `era` is NULL, and it does not wait. Others get the era to count in what they do to the entry. */
static NOINLINE struct entry *load_slow(struct read_dirty *m, syncmap_key key, uint64_t hash, struct era **era)
{
    struct query q = query_again(m, key, hash);
    if (era != NULL)
        lock(m, &q);
    else if (!try_lock(m, &q))
        return find_unlocked(m, &q);
    /* Do not report a spurious miss if dirty was promoted while we waited for mu. */
    uintptr_t read = ld_relaxed(&m->read); /* relaxed: under mu */
    struct entry *e = find(read_table(read), &q);
    if (e == NULL && amended(read)) {
        e = find_dirty(ld_relaxed(&m->dirty), &q); /* relaxed: under mu */
        /* Whether the key is there or not, it takes the slow path until dirty is promoted. */
        miss(m);
    }
    if (era != NULL)
        *era = m->era;
    unlock(m, &q);
    return e;
}

/* Whether there was no key at an instant of the call: nothing to pin for. */
static inline bool rd_is_empty(struct read_dirty *m)
{
    return (ld_seq_cst(&m->read) & (EMPTY | AMENDED)) == EMPTY; /* P1 */
}

/* Whether a key that is not found in read may be in dirty. */
static inline bool rd_is_amended(struct read_dirty *m)
{
    return amended(ld_seq_cst(&m->read)); /* P1 */
}

static ALWAYS_INLINE int rd_load(struct read_dirty *m, struct query *q, void **value)
{
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    struct entry *e = find(read_table(read), q);
    if (e == NULL && amended(read))
        e = load_slow(m, q->key, q->hash, NULL);
    return e != NULL ? entry_load(e, value) : 0;
}

/* For integers: where the home line itself can tell. < 0: it cannot, and rd_load() must look. (Few variables live at once, as in
 * flat_load_integer(). No branch depends on which slot it is: the sum is the slot if one has the hash; that is checked.) */
static ALWAYS_INLINE int rd_load_integer(struct read_dirty *m, uint64_t hash, void **value)
{
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    const struct table *t = read_table(read);
    const struct slot *line = &table_slots(t)[table_home_slot(t, hash)];
    unsigned hits = (unsigned)(ld_relaxed(&line[1].hash) == hash); /* relaxed: frozen since P1 published it */
    hits += 2 * (unsigned)(ld_relaxed(&line[2].hash) == hash); /* relaxed: as above */
    hits += 3 * (unsigned)(ld_relaxed(&line[3].hash) == hash); /* relaxed: as above */
    const struct slot *slot = &line[hits % LINE_SLOTS];
    if (ld_relaxed(&slot->hash) == hash) { /* relaxed: as above */
        struct entry *e = ld_relaxed(&slot->entry); /* relaxed: as above */
        return likely(e != NULL && e != TOMBSTONE) ? entry_load(e, value) : -1;
    }
    bool ends = hits == 0 && ld_relaxed(&line[LINE_SLOTS - 1].entry) == NULL; /* relaxed: as above */
    return ends && !amended(read) ? 0 : -1;
}

/* ---- memory for a new key ---- */

/* What a new key will need, made ready with no lock held. */
struct room {
    struct entry *entry;
    struct table *table;
    size_t keys; /* so many it must take; 0: none is needed. Exact once lock_to_write() has returned */
};

/* How many keys the table must take that a new key would need; 0: dirty has room. Exact under mu, else a guess. */
static size_t room_needed(const struct read_dirty *m)
{
    struct table *dirty = ld_seq_cst(&m->dirty); /* P4 */
    if (dirty == NULL) {
        size_t keys = ld_relaxed(&read_table(ld_seq_cst(&m->read))->len) + 1; /* P1; relaxed: frozen */
        size_t capacity = ld_relaxed(&m->capacity); /* relaxed: under mu, or a guess */
        return keys > capacity ? keys : capacity;
    }
    size_t expunged = ld_relaxed(&m->expunged_count); /* relaxed: under mu, or a guess */
    if (ld_relaxed(&dirty->used) + expunged < table_limit(dirty)) /* relaxed: as above */
        return 0;
    size_t keys = ld_relaxed(&dirty->len) + expunged + 1; /* relaxed: as above */
    return keys + keys / 2;
}

static bool room_has_table(const struct room *room)
{
    return room->keys == 0 || (room->table != NULL && table_limit(room->table) >= room->keys);
}

/* Makes ready what a new key needs, if this one is new. If there is a dirty, it is taken to have room, unless it was found full under mu: how
 * full it is, others are changing. False: memory is out. With no lock held: runs user code. */
static bool room_reserve(struct read_dirty *m, struct query *q, struct room *room)
{
    bool is_amended = rd_is_amended(m);
    if (is_amended && find_unlocked(m, q) != NULL) /* (else the caller has searched all there is) */
        return true;
    if (room->entry == NULL && (room->entry = entry_new(m, q)) == NULL)
        return false;
    if (!is_amended)
        room->keys = room_needed(m);
    if (room_has_table(room))
        return true;
    table_free(m, room->table);
    room->table = table_new(m, room->keys);
    return room->table != NULL;
}

/* Gives back what was not needed. With no lock held: runs user code. */
static void room_release(struct read_dirty *m, struct room *room)
{
    table_free(m, room->table);
    if (room->entry != NULL)
        entry_free(m, room->entry);
}

/* ---- store and swap ---- */

/* Puts an entry into dirty, which has room. Under mu. */
static void dirty_add(struct read_dirty *m, uint64_t hash, struct entry *e)
{
    table_add(ld_relaxed(&m->dirty), hash, e, true); /* relaxed: under mu */
}

/* DELETED becomes EXPUNGED; true if the entry is. Under mu. */
static bool try_expunge(struct entry *e)
{
    void *p = ld_seq_cst(&e->p); /* P2 */
    while (p == DELETED)
        if (cas_seq_cst(&e->p, &p, EXPUNGED)) /* P2: never over a value that was stored meanwhile */
            return true;
    return p == EXPUNGED;
}

/* The seed's dirtyLocked: a copy of read without what is deleted. Under mu, not amended. */
static void build_dirty(struct read_dirty *m, struct table *dirty)
{
    struct table *read = read_table(ld_relaxed(&m->read)); /* relaxed: under mu */
    struct slot *slots = table_slots(read);
    size_t count = ld_relaxed(&read->len) != 0 ? table_slot_count(read) : 0; /* relaxed: frozen */
    for (size_t i = 0; i < count; i++) {
        struct entry *e = ld_relaxed(&slots[i].entry); /* relaxed: frozen */
        if (e == NULL || e == TOMBSTONE)
            continue;
        if (!try_expunge(e)) {
            table_add(dirty, ld_relaxed(&slots[i].hash), e, false); /* relaxed: frozen */
            continue;
        }
        e->link.dead.prev = NULL;
        e->link.dead.next = m->expunged;
        if (m->expunged != NULL)
            m->expunged->link.dead.prev = e;
        m->expunged = e;
        st_relaxed(&m->expunged_count, ld_relaxed(&m->expunged_count) + 1); /* relaxed: under mu */
        debug_count(expunged);
    }
    dirty->era = m->era;
    st_release(&m->dirty, dirty); /* P4 */
    debug_count(builds);
}

/* EXPUNGED becomes DELETED, if it is, once the entry is in dirty: from then on anybody may store to it with no lock, and a scan, which
 * goes through dirty alone, must find it. Under mu, without which nobody makes an entry EXPUNGED or ends that. */
static void unexpunge(struct read_dirty *m, uint64_t hash, struct entry *e)
{
    void *p = EXPUNGED;
    if (ld_seq_cst(&e->p) != EXPUNGED) /* P2 */
        return;
    dirty_add(m, hash, e); /* there is a dirty, and the entry was not in it (I2) */
    cas_seq_cst(&e->p, &p, DELETED); /* P2 */
    if (e->link.dead.prev != NULL)
        e->link.dead.prev->link.dead.next = e->link.dead.next;
    else
        m->expunged = e->link.dead.next;
    if (e->link.dead.next != NULL)
        e->link.dead.next->link.dead.prev = e->link.dead.prev;
    st_relaxed(&m->expunged_count, ld_relaxed(&m->expunged_count) - 1); /* relaxed: under mu */
    debug_count(revived);
}

/* The entry that read or dirty has for the key, fit to be stored to; NULL: the key is new. in_dirty: only dirty has it. Under mu. */
static struct entry *find_to_write(struct read_dirty *m, const struct query *q, bool *in_dirty)
{
    uintptr_t read = ld_relaxed(&m->read); /* relaxed: under mu */
    struct entry *e = find(read_table(read), q);
    *in_dirty = false;
    if (e != NULL) {
        unexpunge(m, q->hash, e);
    } else if (amended(read)) {
        e = find_dirty(ld_relaxed(&m->dirty), q); /* relaxed: under mu */
        *in_dirty = e != NULL;
    }
    return e;
}

/* Dirty has no empty slot to spare: moves it to a larger table (or to one without its tombstones). Under mu. */
static void grow_dirty(struct read_dirty *m, struct table *larger)
{
    struct table *dirty = ld_relaxed(&m->dirty); /* relaxed: under mu */
    struct slot *slots = table_slots(dirty);
    for (size_t i = 0; i < table_slot_count(dirty); i++) {
        struct entry *e = ld_relaxed(&slots[i].entry); /* relaxed: under mu */
        if (e != NULL && e != TOMBSTONE)
            table_add(larger, ld_relaxed(&slots[i].hash), e, false); /* relaxed: under mu */
    }
    larger->era = m->era;
    st_seq_cst(&m->dirty, larger); /* P4 */
    table_retire(m, dirty, 0);
    debug_count(growths);
}

/* Adds the new key with its value. `room` suffices. Under mu. */
static void add_new(struct read_dirty *m, const struct query *q, struct room *room, void *value)
{
    uintptr_t read = ld_relaxed(&m->read); /* relaxed: under mu */
    if (room->keys != 0) {
        if (amended(read))
            grow_dirty(m, room->table);
        else
            build_dirty(m, room->table);
        room->table = NULL;
    }
    if (!amended(read))
        st_seq_cst(&m->read, read | AMENDED); /* P1 */
    st_relaxed(&room->entry->p, value_encode(value)); /* relaxed: P3 publishes it */
    dirty_add(m, q->hash, room->entry);
    bump_version(m, q->hash);
    room->entry = NULL;
    era_count(m->era, 1);
}

/* Empties the entry's p of what it was and stores `value`, unless it is EXPUNGED: then false, and nothing happens. */
static bool entry_try_swap(struct entry *e, void *value, void **old)
{
    void *p = ld_seq_cst(&e->p); /* P2 */
    do {
        if (p == EXPUNGED)
            return false;
    } while (!cas_seq_cst(&e->p, &p, value_encode(value))); /* P2 */
    *old = p;
    return true;
}

/* The result of a swap that found `old`. */
static int swapped(struct era *era, void *old, void **previous)
{
    if (old == DELETED) {
        era_count(era, 1);
        return 0;
    }
    *previous = value_decode(old);
    return 1;
}

/* Takes mu with all at hand that a write needs: the entry that read or dirty has, or (*e is NULL) room for a new key. False:
 * memory is out, and nothing happened. */
static bool lock_to_write(struct read_dirty *m, struct query *q, struct room *room, struct entry **e, bool *in_dirty)
{
    for (;;) {
        if (!room_reserve(m, q, room)) {
            room_release(m, room);
            return false;
        }
        lock(m, q);
        *e = find_to_write(m, q, in_dirty);
        room->keys = *e == NULL ? room_needed(m) : 0;
        if (*e != NULL || (room->entry != NULL && room_has_table(room)))
            return true;
        unlock(m, q); /* what was reserved is not what is needed by now */
    }
}

static NOINLINE int swap_slow(struct read_dirty *m, syncmap_key key, uint64_t hash, void *value, void **previous)
{
    struct query q = query_again(m, key, hash);
    struct room room = {0};
    struct entry *e;
    bool in_dirty;
    int result = 0;
    if (!lock_to_write(m, &q, &room, &e, &in_dirty))
        return SYNCMAP_ENOMEM;
    if (e != NULL) {
        void *old = DELETED;
        entry_try_swap(e, value, &old); /* under mu nothing is EXPUNGED that find_to_write returned: it succeeds */
        result = swapped(m->era, old, previous);
    } else {
        add_new(m, &q, &room, value);
    }
    unlock(m, &q);
    room_release(m, &room);
    return result;
}

/* The seed's Store, which since Go 1.20 is Swap. */
static ALWAYS_INLINE int rd_swap(struct read_dirty *m, struct query *q, void *value, void **previous)
{
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    struct entry *e = find(read_table(read), q);
    void *old;
    if (e != NULL && entry_try_swap(e, value, &old))
        return swapped(read_table(read)->era, old, previous);
    return swap_slow(m, q->key, q->hash, value, previous);
}

/* ---- load_or_store ---- */

/* 1 loaded, 0 stored; < 0: the entry is EXPUNGED, and nothing happened. */
static int entry_try_load_or_store(struct entry *e, struct era *era, void *value, void **actual)
{
    void *p = ld_seq_cst(&e->p); /* P2 */
    for (;;) {
        if (p == EXPUNGED)
            return -1;
        if (p != DELETED) {
            *actual = value_decode(p);
            return 1;
        }
        if (cas_seq_cst(&e->p, &p, value_encode(value))) { /* P2 */
            era_count(era, 1);
            *actual = value;
            return 0;
        }
    }
}

static NOINLINE int load_or_store_slow(struct read_dirty *m, syncmap_key key, uint64_t hash, void *value, void **actual)
{
    struct query q = query_again(m, key, hash);
    struct room room = {0};
    struct entry *e;
    bool in_dirty;
    int result = 0;
    if (!lock_to_write(m, &q, &room, &e, &in_dirty))
        return SYNCMAP_ENOMEM;
    if (e != NULL) {
        result = entry_try_load_or_store(e, m->era, value, actual); /* as in swap_slow: never < 0 */
        if (in_dirty)
            miss(m);
    } else {
        add_new(m, &q, &room, value);
        *actual = value;
    }
    unlock(m, &q);
    room_release(m, &room);
    return result;
}

static ALWAYS_INLINE int rd_load_or_store(struct read_dirty *m, struct query *q, void *value, void **actual)
{
    /* No lock if it is a clean hit. */
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    struct entry *e = find(read_table(read), q);
    if (e != NULL) {
        int result = entry_try_load_or_store(e, read_table(read)->era, value, actual);
        if (result >= 0)
            return result;
    }
    return load_or_store_slow(m, q->key, q->hash, value, actual);
}

/* ---- load_and_delete, and the operations that came after the seed ---- */

static int entry_delete(struct entry *e, struct era *era, void **previous)
{
    void *p = ld_seq_cst(&e->p); /* P2 */
    do {
        if (!value_is_live(p))
            return 0;
    } while (!cas_seq_cst(&e->p, &p, DELETED)); /* P2 */
    era_count(era, -1);
    *previous = value_decode(p);
    return 1;
}

/* The seed's delete(m.dirty, key): takes the key's entry out of dirty. Under mu. */
static struct entry *dirty_remove(struct read_dirty *m, const struct query *q)
{
    struct table *dirty = ld_relaxed(&m->dirty); /* relaxed: under mu */
    struct entry *e = find_dirty(dirty, q);
    if (e == NULL)
        return NULL;
    struct slot *slots = table_slots(dirty);
    size_t i = table_home_slot(dirty, q->hash);
    while (ld_relaxed(&slots[i].entry) != e) /* relaxed: under mu */
        i = table_next_slot(dirty, i);
    st_seq_cst(&slots[i].entry, TOMBSTONE); /* P3 */
    st_relaxed(&dirty->len, ld_relaxed(&dirty->len) - 1); /* relaxed: under mu */
    return e;
}

/* *removed: it was in dirty alone, and is in no table now. */
static NOINLINE struct entry *delete_slow(struct read_dirty *m, syncmap_key key, uint64_t hash, struct era **era, struct entry **removed)
{
    struct query q = query_again(m, key, hash);
    lock(m, &q);
    uintptr_t read = ld_relaxed(&m->read); /* relaxed: under mu */
    struct entry *e = find(read_table(read), &q);
    if (e == NULL && amended(read)) {
        e = *removed = dirty_remove(m, &q);
        miss(m);
    }
    *era = m->era;
    unlock(m, &q);
    return e;
}

static ALWAYS_INLINE int rd_load_and_delete(struct read_dirty *m, struct query *q, void **previous)
{
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    struct entry *e = find(read_table(read), q), *removed = NULL;
    struct era *era = read_table(read)->era;
    if (e == NULL && amended(read))
        e = delete_slow(m, q->key, q->hash, &era, &removed);
    if (e == NULL)
        return 0;
    int result = entry_delete(e, era, previous);
    if (removed != NULL) /* ours to retire, once it is empty */
        reclaim_retire(&removed->link.retired, &m->entry_class, sizeof *removed + key_copy_size(q->type, q->key));
    return result;
}

/* The entry that a compare_and_... works on. One that only dirty has stays there, unlike load_and_delete's. */
static struct entry *find_to_compare(struct read_dirty *m, struct query *q, struct era **era)
{
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    struct entry *e = find(read_table(read), q);
    *era = read_table(read)->era;
    return e == NULL && amended(read) ? load_slow(m, q->key, q->hash, era) : e;
}

/* Changes p from a value that equals `expected` to `word`; 1: *previous was the value. Runs user code: after mu was given
 * back, what happens to the entry counts as done before it was taken out, if it was. */
static int entry_compare_and_set(struct read_dirty *m, struct entry *e, void *expected, void *word, void **previous)
{
    void *p = ld_seq_cst(&e->p); /* P2 */
    do {
        if (!value_is_live(p) || !value_is_equal(&m->map, value_decode(p), expected))
            return 0;
    } while (!cas_seq_cst(&e->p, &p, word)); /* P2 */
    *previous = value_decode(p);
    return 1;
}

static ALWAYS_INLINE int rd_compare_and_swap(struct read_dirty *m, struct query *q, void *expected, void *desired, void **previous)
{
    struct era *era;
    struct entry *e = find_to_compare(m, q, &era);
    return e != NULL ? entry_compare_and_set(m, e, expected, value_encode(desired), previous) : 0;
}

static ALWAYS_INLINE int rd_compare_and_delete(struct read_dirty *m, struct query *q, void *expected, void **previous)
{
    struct era *era;
    struct entry *e = find_to_compare(m, q, &era);
    int result = e != NULL ? entry_compare_and_set(m, e, expected, DELETED, previous) : 0;
    if (result == 1)
        era_count(era, -1);
    return result;
}

/* ---- range ---- */

/* The caller has pinned by syncmap_pin(): the table that is walked stays, whatever the visit does. */
static int rd_range(struct read_dirty *m, bool (*visit)(syncmap_key, void *, void *), void *context)
{
    /* All keys that are there now must be in the table that is walked. A range is O(n) anyway, so it may as well promote. */
    uintptr_t read = ld_seq_cst(&m->read); /* P1 */
    if (amended(read)) {
        lock(m, NULL);
        if (amended(ld_relaxed(&m->read))) /* relaxed: under mu */
            promote(m);
        read = ld_relaxed(&m->read); /* relaxed: under mu */
        unlock(m, NULL);
    }
    struct table *t = read_table(read);
    struct slot *slots = table_slots(t);
    for (size_t i = 0; i < table_slot_count(t); i++) {
        struct entry *e = ld_relaxed(&slots[i].entry); /* relaxed: frozen */
        void *value;
        if (e == NULL || e == TOMBSTONE || !entry_load(e, &value))
            continue;
        value_hand_out(&m->map, value);
        if (!visit(e->key, value, context))
            return 0;
    }
    return 1;
}
