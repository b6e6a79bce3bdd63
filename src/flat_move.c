/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: locks, and growth and shrinking. The essay is in flat.h.
 *
 * A table is moved in groups: one bucket to two of a table twice as large (or up to TARGETS, see reserve), or two to one of a table
 * half the size. All of a group is locked, copied, and MOVED; nobody else is in the buckets that it goes to (V8), so these are
 * simply written. How many overflow buckets of next that takes is counted before the lock is taken, and they are taken then, too
 * (V6). It is never more than the group has: entries that fill k buckets beyond the first need no more than k when they are split.
 */
#include "flat.h"

/* ---- locks ---- */

enum { SPINS = 64 };

/* Waits a little for a lock to be given back; `round` counts. */
static void bucket_wait(unsigned *round)
{
    if (++*round % SPINS != 0)
        platform_pause();
    else
        platform_yield();
}

/* Takes the lock of a bucket whose header was *header, not LOCKED, if it still is; `version` is added to it: BUCKET_VERSION or 0. In a
 * section. On success *header is what it reads now. */
static inline bool bucket_cas_lock(struct bucket *home, uint64_t *header, uint64_t version)
{
    uint64_t locked = *header + version + BUCKET_LOCKED;
    if (unlikely(!cas_seq_cst(&home->header, header, locked))) /* P2 */
        return false;
    *header = locked;
    return true;
}

/* Gives it back; `header` as it was locked, with MOVED or another version added if need be. section_leave(), or section_leave_own(), must follow. */
static inline void bucket_unlock(struct bucket *home, uint64_t header)
{
    st_release(&home->header, header & ~(uint64_t)BUCKET_LOCKED); /* P2 */
}

/* A search has met a lock: waits for it a moment, or else sees to it that nothing is hidden of a section which is over (ACROSS KEYS). Returns
 * the header to go on with. */
static NOINLINE uint64_t bucket_header_slow(struct bucket *home)
{
    for (unsigned left = PATIENCE; left > 0; left--) {
        platform_pause();
        uint64_t header = ld_seq_cst(&home->header); /* P2 */
        if (!(header & BUCKET_LOCKED))
            return header;
    }
    debug_count(impatient);
    (void)membarrier_heavy();
    return ld_seq_cst(&home->header); /* P2; LOCKED still: that section goes on, or a later one */
}

/* What a search begins with. */
static ALWAYS_INLINE uint64_t bucket_header(struct bucket *home)
{
    uint64_t header = ld_seq_cst(&home->header); /* P2 */
    return likely((header & BUCKET_LOCKED) == 0) ? header : bucket_header_slow(home);
}

/* ---- a group ---- */

/* Overflow buckets of a table, taken and not used yet. */
struct spares {
    uint64_t first; /* chained by their tags; 0: none */
    uint64_t count;
};

/* Takes one of them. */
static uint64_t spares_use(struct flat_table *t, struct spares *spares)
{
    uint64_t number = spares->first;
    spares->first = ld_relaxed(&overflow_at(&t->overflow, number - 1)->tags); /* relaxed: its own */
    spares->count--;
    return number;
}

static void spares_give_back(struct flat_table *t, struct spares *spares)
{
    while (spares->count > 0) {
        overflow_give_back(t, spares_use(t, spares));
    }
}

/* False: memory is out. */
static bool spares_take(const struct flat *m, struct flat_table *t, struct spares *spares, uint64_t count)
{
    while (spares->count < count) {
        uint64_t number = overflow_take(m, t);
        if (number == 0)
            return false;
        st_relaxed(&overflow_at(&t->overflow, number - 1)->tags, spares->first); /* relaxed: its own */
        spares->first = number;
        spares->count++;
    }
    return true;
}

/* A bucket of next that is being filled. */
struct fill {
    struct bucket *b;
    uint64_t tags; /* of b, to be stored when it is done */
    uint64_t foreign;
    unsigned used;
    unsigned filter; /* of all its keys */
};

static void fill_begin(const struct flat *m, struct flat_table *t, uint64_t index, struct fill *fill)
{
    *fill = (struct fill){.b = table_home(t, 0, index), .foreign = foreign_word(m, t, index)};
    bucket_init(fill->b, fill->foreign);
}

static void fill_end(const struct fill *fill)
{
    st_relaxed(&fill->b->tags, fill->tags); /* relaxed: P2 of the bucket that is moved publishes it */
}

static void fill_add(struct flat_table *t, struct fill *fill, struct spares *spares, uint64_t hash, uint64_t word, void *value)
{
    if (fill->used == SLOTS) {
        uint64_t number = spares_use(t, spares);
        struct bucket *b = overflow_at(&t->overflow, number - 1);
        fill->tags |= number << LINK_SHIFT;
        fill_end(fill);
        bucket_init(b, fill->foreign);
        fill->b = b;
        fill->tags = fill->used = 0;
    }
    fill->filter |= filter_bit(hash);
    fill->tags |= hash_tag(hash) << fill->used * TAG_BITS;
    st_relaxed(&fill->b->word[fill->used], word); /* relaxed: as in fill_end() */
    st_relaxed(&fill->b->value[fill->used], value); /* relaxed: as above */
    fill->used++;
}

enum { TARGETS_LOG = 4, TARGETS = 1 << TARGETS_LOG };

/* What a bucket has goes to one of some targets, by the bits of the hash. */
static void chain_copy(struct flat_table *t, struct bucket *b, struct flat_table *next,
                       struct fill *fills, unsigned targets, struct spares *spares, struct evicted *evicted)
{
    for (;;) {
        bucket_leave_kept(t, b, evicted);
        for (unsigned i = 0; i < SLOTS; i++) {
            void *value = ld_relaxed(&b->value[i]); /* relaxed: under the lock */
            if (value == NULL)
                continue;
            uint64_t word = ld_relaxed(&b->word[i]), hash = word_hash(t->type, word); /* relaxed: as above */
            fill_add(next, &fills[hash >> next->shift & (targets - 1)], spares, hash, word, value);
        }
        uint64_t link = ld_relaxed(&b->tags) >> LINK_SHIFT; /* relaxed: as above */
        if (link == 0)
            return;
        b = overflow_at(&t->overflow, link - 1);
    }
}

/* How many overflow buckets a chain has. (Who is in a bucket that was given away meanwhile may count wrong; then the lock is not
 * had either.) */
static uint64_t chain_overflow(struct flat_table *t, struct bucket *home, uint64_t header)
{
    uint64_t count = 0;
    for (struct bucket *b = home;; count++) {
        uint64_t link = ld_acquire(&b->tags) >> LINK_SHIFT; /* P5 */
        if (link == 0 || !bucket_unchanged(home, header))
            return count;
        b = overflow_at(&t->overflow, link - 1);
    }
}

enum moved { MOVE_DONE, MOVE_WAS_DONE, MOVE_BUSY, MOVE_NO_MEMORY };

/* A bucket of a table, or two of one that is halved, and their headers. */
struct group {
    struct flat_table *t, *next;
    uint64_t first;
    unsigned count;
    struct bucket *home; /* of `count` buckets */
    uint64_t header[2];
    bool last; /* it was the last one of the table */
    struct evicted evicted; /* of all groups that it was */
};

/* Copies the group to next, and ends it. Locked. */
static void group_copy(const struct flat *m, struct group *g, struct spares *spares)
{
    struct fill fills[TARGETS];
    unsigned targets = g->count == 1 ? 1u << (g->t->shift - g->next->shift) : 1;
    uint64_t to = bucket_across(g->t, g->next, g->first);
    for (unsigned i = 0; i < targets; i++)
        fill_begin(m, g->next, to + i, &fills[i]);
    for (unsigned i = 0; i < g->count; i++)
        chain_copy(g->t, g->home + i, g->next, fills, targets, spares, &g->evicted);
    for (unsigned i = 0; i < targets; i++) {
        fill_end(&fills[i]);
        if (g->next->filter != NULL)
            st_relaxed(&g->next->filter[to + i], (uint16_t)fills[i].filter); /* relaxed: as in fill_end() */
    }
    filter_open(g->t, g->first, g->count);
    for (unsigned i = 0; i < g->count; i++)
        bucket_unlock(g->home + i, g->header[i] | BUCKET_MOVED);
}

/* Locks the group whose headers were read; false: one has changed. */
static bool group_lock(struct group *g)
{
    if (!bucket_cas_lock(g->home, &g->header[0], 0))
        return false;
    if (g->count == 1 || bucket_cas_lock(g->home + 1, &g->header[1], 0))
        return true;
    bucket_unlock(g->home, g->header[0]);
    return false;
}

static enum moved group_move(struct flat *m, struct group *g, struct spares *spares)
{
    for (unsigned round = 0;;) {
        uint64_t flags = 0, overflow = g->count - 1;
        for (unsigned i = 0; i < g->count; i++)
            flags |= g->header[i] = ld_acquire(&g->home[i].header); /* P2 */
        if (flags & BUCKET_MOVED)
            return MOVE_WAS_DONE;
        if (flags & BUCKET_LOCKED) {
            bucket_wait(&round);
            continue;
        }
        for (unsigned i = 0; i < g->count; i++)
            overflow += chain_overflow(g->t, g->home + i, g->header[i]);
        if (!spares_take(m, g->next, spares, overflow))
            return MOVE_NO_MEMORY;
        struct thread *self = section_enter();
        bool locked = group_lock(g);
        if (locked) { /* counted in the same section: a fork finds both or neither */
            group_copy(m, g, spares);
            g->last |= add_acq_rel(&g->t->moved, g->count) + g->count == table_buckets(g->t); /* P8 */
        }
        section_leave(self);
        if (locked)
            return MOVE_DONE;
    }
}

/* ---- a bucket that is reseeded: its keys go anywhere ---- */

/* The hashes that keys of a chain are to have, in its order. */
struct hashes {
    uint64_t *of, few[32];
    uint64_t count, room;
};

static void hashes_end(const struct flat *m, struct hashes *h)
{
    if (h->of != h->few)
        memory_put(&m->map.memory, h->of, (size_t)h->room * sizeof *h->of);
}

/* False: memory is out. */
static bool hashes_add(const struct flat *m, struct hashes *h, uint64_t hash)
{
    if (h->count == h->room) {
        uint64_t *more = memory_get(&m->map.memory, 2 * (size_t)h->room * sizeof *more);
        if (more == NULL)
            return false;
        memcpy(more, h->of, (size_t)h->count * sizeof *more);
        hashes_end(m, h);
        h->of = more;
        h->room *= 2;
    }
    h->of[h->count++] = hash;
    return true;
}

/* Of a chain that has changed since its home's header was `header` some may be wrong: then the lock is not had. With no lock held: runs
 * user code. False: memory is out. */
static bool hashes_of_chain(const struct flat *m, struct flat_table *t, const struct key_type *type, struct bucket *home, uint64_t header,
                            struct hashes *h)
{
    bool integers = type->kind == SYNCMAP_U64;
    h->count = 0;
    for (struct bucket *b = home;;) {
        for (unsigned i = 0; i < SLOTS; i++) {
            uint64_t word = ld_acquire(&b->word[i]); /* P3 */
            if (ld_acquire(&b->value[i]) == NULL || (!integers && word == 0)) /* P4 */
                continue;
            if (!hashes_add(m, h, key_hash(type, word_key(t->type, word))))
                return false;
        }
        uint64_t link = ld_acquire(&b->tags) >> LINK_SHIFT; /* P5 */
        if (link == 0 || !bucket_unchanged(home, header))
            return true;
        b = overflow_at(&t->overflow, link - 1);
    }
}

/* Puts a key into the first slot without a value of a chain, or into a spare bucket behind it. Under the lock; *header as it was locked. */
static void chain_add(const struct flat *m, struct flat_table *t, struct bucket *home, uint64_t *header, struct spares *spares, uint64_t hash,
                      uint64_t word, void *value, struct evicted *evicted)
{
    struct bucket *b = home, *last = NULL;
    uint64_t link = 0;
    do {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (ld_relaxed(&b->value[i]) != NULL) /* relaxed: under the lock */
                continue;
            if (word_has_record(m, ld_relaxed(&b->word[i]))) /* relaxed: as above */
                bucket_evict(home, header, b, i, evicted);
            bucket_fill(b, i, hash, word, value);
            return;
        }
        last = b;
        link = ld_relaxed(&b->tags) >> LINK_SHIFT; /* relaxed: as above */
        b = link != 0 ? overflow_at(&t->overflow, link - 1) : NULL;
    } while (b != NULL);
    uint64_t number = spares_use(t, spares);
    b = overflow_at(&t->overflow, number - 1);
    bucket_init(b, foreign_word(m, t, hash >> t->shift));
    bucket_fill(b, 0, hash, word, value);
    st_release(&last->tags, ld_relaxed(&last->tags) | number << LINK_SHIFT); /* P5; relaxed: as above */
}

/* Adds a key to its bucket of next. In a section. */
static void scatter_key(struct flat *m, struct flat_table *next, struct spares *spares, uint64_t hash, uint64_t word, void *value,
                        struct evicted *evicted)
{
    struct bucket *home = table_home(next, next->shift, hash);
    uint64_t header = ld_seq_cst(&home->header); /* P2 */
    for (unsigned round = 0; (header & BUCKET_LOCKED) || !bucket_cas_lock(home, &header, BUCKET_VERSION);) {
        bucket_wait(&round);
        header = ld_seq_cst(&home->header); /* P2 */
    }
    if (next->type->kind != SYNCMAP_U64)
        st_release(&word_record(word)->hash[next->type->number & 1], hash); /* P3 */
    filter_add(next, hash);
    chain_add(m, next, home, &header, spares, hash, word, value, evicted);
    if (DEBUG_BUILD)
        flat_check(m, next, home);
    bucket_unlock(home, header);
}

/* Copies all keys of a bucket, and ends it. Locked. */
static void scatter_chain(struct flat *m, struct group *g, struct spares *spares, const struct hashes *h)
{
    uint64_t at = 0;
    for (struct bucket *b = g->home;;) {
        bucket_leave_kept(g->t, b, &g->evicted);
        for (unsigned i = 0; i < SLOTS; i++) {
            void *value = ld_relaxed(&b->value[i]); /* relaxed: under the lock */
            if (value == NULL)
                continue;
            uint64_t word = ld_relaxed(&b->word[i]), hash = h->of[at++]; /* relaxed: as above */
            scatter_key(m, g->next, spares, hash, g->t->type->kind == SYNCMAP_U64 ? hash : word, value, &g->evicted);
        }
        uint64_t link = ld_relaxed(&b->tags) >> LINK_SHIFT; /* relaxed: as above */
        if (link == 0)
            break;
        b = overflow_at(&g->t->overflow, link - 1);
    }
    debug_assert(at == h->count);
    filter_open(g->t, g->first, 1);
    bucket_unlock(g->home, g->header[0] | BUCKET_MOVED);
}

enum { SCATTER_ROUNDS = 8 };

/* What group_move() does, for one bucket whose keys get other hashes. BUSY: others changed the chain, each time while its keys were hashed. */
static enum moved group_scatter(struct flat *m, struct group *g, struct spares *spares)
{
    struct hashes h = {.of = h.few, .room = sizeof h.few / sizeof h.few[0]};
    enum moved result = MOVE_BUSY;
    for (unsigned round = 0, rounds = 0; rounds < SCATTER_ROUNDS;) {
        g->header[0] = ld_acquire(&g->home->header); /* P2 */
        if (g->header[0] & BUCKET_MOVED) {
            result = MOVE_WAS_DONE;
            break;
        }
        if (g->header[0] & BUCKET_LOCKED) {
            bucket_wait(&round);
            continue;
        }
        rounds++;
        if (!hashes_of_chain(m, g->t, g->next->type, g->home, g->header[0], &h) || !spares_take(m, g->next, spares, h.count)) {
            result = MOVE_NO_MEMORY;
            break;
        }
        struct thread *self = section_enter();
        bool locked = group_lock(g);
        if (locked) {
            scatter_chain(m, g, spares, &h);
            g->last |= add_acq_rel(&g->t->moved, 1) + 1 == table_buckets(g->t); /* P8 */
        }
        section_leave(self);
        if (locked) {
            result = MOVE_DONE;
            break;
        }
    }
    hashes_end(m, &h);
    return result;
}

/* ---- chunks, and promotion ---- */

/* There are too many overflow buckets in use. */
static inline bool table_is_full(const struct flat_table *t)
{
    return ld_relaxed(&t->used) > ld_relaxed(&t->full); /* relaxed: a hint when to grow */
}

/* The next is complete, and takes the root; unless a clear has put another table there, and this one is freed with those. */
static void flat_promote(struct flat *m, struct flat_table *t, struct flat_table *next)
{
    uintptr_t root = table_root(t);
    if (!cas_seq_cst(&m->root, &root, table_root(next))) /* P1 */
        return;
    reclaim_retire(&t->retired, &m->table_class, flat_table_size(t));
    debug_count(promotions);
}

/* How many buckets are moved at once: fewer where each goes to more. */
static uint64_t table_chunk(const struct flat_table *t, const struct flat_table *next)
{
    uint64_t buckets = table_buckets(t), chunk = CHUNK;
    if (next->shift < t->shift - 1)
        chunk = chunk >> (t->shift - next->shift - 1) > 0 ? chunk >> (t->shift - next->shift - 1) : 1;
    return buckets < chunk ? buckets : chunk;
}

/* Moves one chunk. all: also one that others have begun. Not in a section: may allocate overflow buckets. False: memory is out. */
static NOINLINE bool flat_move_slow(struct flat *m, struct flat_table *t, struct flat_table *next, bool all)
{
    uint64_t buckets = table_buckets(t), chunk = table_chunk(t, next);
    bool has_memory = true;
    /* All is being moved by others; which is looked at again if one gave up, or is not running, so that next has to wait for its own. */
    all |= ld_relaxed(&t->gave_up) || table_is_full(next); /* relaxed: a hint */
    if (ld_relaxed(&t->cursor) >= buckets / chunk && !all) /* relaxed: only grows */
        return true;
    uint64_t first = add_relaxed(&t->cursor, 1) % (buckets / chunk) * chunk; /* relaxed: the locks order it all */
    struct group g = {.t = t, .next = next, .count = next->shift > t->shift ? 2 : 1};
    struct spares spares = {0};
    for (uint64_t i = 0; i < chunk; i++)
        __builtin_prefetch(table_home(t, 0, first + i), 1);
    uint64_t begin = bucket_across(t, next, first), end = bucket_across(t, next, first + chunk);
    flat_table_ahead(m, next, table_home(next, 0, begin), end - begin);
    filter_open(t, first, chunk);
    for (uint64_t i = 0; i < chunk; i += g.count) {
        g.first = first + i;
        g.home = table_home(t, 0, g.first);
        enum moved moved = next->type == t->type ? group_move(m, &g, &spares) : group_scatter(m, &g, &spares);
        if (moved == MOVE_BUSY || moved == MOVE_NO_MEMORY)
            st_relaxed(&t->gave_up, true); /* relaxed: a hint what to look at again */
        has_memory &= moved != MOVE_NO_MEMORY;
    }
    spares_give_back(next, &spares);
    evicted_retire(m, &g.evicted);
    debug_count(moves);
    if (g.last)
        flat_promote(m, t, next);
    return has_memory;
}

/* What each writer does first: a part of the work, if there is some. */
static inline void flat_help(struct flat *m)
{
    struct flat_table *t = root_table(ld_acquire(&m->root)); /* P1 */
    struct flat_table *next = ld_acquire(&t->next); /* P6 */
    if (unlikely(next != NULL))
        (void)flat_move_slow(m, t, next, false);
}

/* ---- when to grow and to shrink ---- */

/* Whether RESEEDING may begin: by P10 a walk sees that it has, or this sees the walk. What sets next comes at once. */
static bool flat_begin_reseeding(struct flat *m, struct flat_table *t)
{
    st_seq_cst(&t->reseeding, true); /* P10 */
    if (ld_seq_cst(&m->walkers) == 0) /* P10 */
        return true;
    st_release(&t->reseeding, false); /* P10 */
    return false;
}

enum resized { RESIZE_BEGUN, RESIZE_NOT_NOW, RESIZE_NO_MEMORY };

/* Has a next made for a table, if it is the root and has none. type: its own, or one with other secrets. NOT_NOW: it is not, another does it, or a
 * walk does not let it have other secrets. (Memory is had before `growing` is set: who waits for that to end, as a reserve does,
 * waits for nobody's allocator, which may be what has called it.) */
static enum resized flat_resize(struct flat *m, struct flat_table *t, uint64_t buckets, const struct key_type *type)
{
    bool growing = false;
    if (root_table(ld_acquire(&m->root)) != t || ld_relaxed(&t->growing)) /* P1; relaxed: the CAS checks it */
        return RESIZE_NOT_NOW;
    struct flat_table *next = flat_table_new(m, buckets, t->era, type), *none = NULL;
    if (next == NULL)
        return RESIZE_NO_MEMORY;
    if (type != t->type)
        flat_table_zero(m, next);
    if (cas_acq_rel(&t->growing, &growing, true)) { /* P6 */
        bool may = type == t->type || flat_begin_reseeding(m, t);
        if (may && cas_seq_cst(&t->next, &none, next)) { /* P6 */
            debug_count(growths);
            return RESIZE_BEGUN;
        }
        if (ld_acquire(&t->next) == NULL) /* P6 */
            st_release(&t->growing, false); /* P6: another may try */
    }
    while (!flat_table_free_step(m, next))
        continue;
    return RESIZE_NOT_NOW;
}

static NOINLINE void flat_grow_slow(struct flat *m, struct flat_table *t)
{
    uint64_t buckets = table_buckets(t);
    bool crowded = counter_sum(&t->era->keys) >= buckets; /* else a few buckets are flooded, and more would not help */
    if (crowded && flat_resize(m, t, 2 * buckets, t->type) != RESIZE_NO_MEMORY)
        return;
    int64_t used = ld_relaxed(&t->used); /* relaxed: a hint when to grow, */
    st_relaxed(&t->full, used + used / 8); /* relaxed: or to try again */
}

/* Whether a stripe that has come to `keys` is one of about 64 times, between full and empty, to look whether a table is too large. */
static inline bool time_to_look(const struct flat_table *t, long keys)
{
    uint64_t buckets = table_buckets(t);
    return ((uint64_t)keys & (buckets / 64 - (buckets >= 64))) == 0;
}

static NOINLINE void flat_shrink_slow(struct flat *m, struct flat_table *t)
{
    uint64_t buckets = table_buckets(t);
    if (buckets / 2 < ld_relaxed(&m->least) || counter_sum(&t->era->keys) >= buckets / 8 * 5 + buckets % 8 / 2) /* relaxed: a hint */
        return;
    if (flat_resize(m, t, buckets / 2, t->type) == RESIZE_BEGUN) /* else it goes on as it is */
        st_relaxed(&t->era->flood_at, ld_relaxed(&t->era->flood_at) / 2); /* relaxed: a hint when to try other secrets */
}

/* ---- when to reseed ---- */

enum helps { SEED_HELPS, SEED_DOES_NOT, SEED_UNKNOWN };

/* Whether other secrets would scatter the keys of a chain: fewer than half of them would have one bucket. UNKNOWN: it has changed. Runs user
 * code. */
static enum helps seed_helps(struct flat_table *t, struct bucket *home, const struct key_type *type)
{
    uint64_t header = ld_seq_cst(&home->header); /* P2 */
    bool integers = type->kind == SYNCMAP_U64;
    uint64_t keys = 0, votes = 0, favourite = 0, has = 0;
    for (int pass = 0; pass < 2; pass++) { /* the vote of Boyer and Moore, and a count */
        for (struct bucket *b = home;;) {
            for (unsigned i = 0; i < SLOTS; i++) {
                uint64_t word = ld_acquire(&b->word[i]); /* P3 */
                if (ld_acquire(&b->value[i]) == NULL || (!integers && word == 0)) /* P4 */
                    continue;
                uint64_t index = key_hash(type, word_key(t->type, word)) >> t->shift;
                if (pass == 1) {
                    keys++;
                    has += index == favourite;
                } else if (votes == 0 || index == favourite) {
                    favourite = index;
                    votes++;
                } else {
                    votes--;
                }
            }
            uint64_t link = ld_acquire(&b->tags) >> LINK_SHIFT; /* P5 */
            if (!bucket_unchanged(home, header))
                return SEED_UNKNOWN;
            if (link == 0)
                break;
            b = overflow_at(&t->overflow, link - 1);
        }
    }
    return 2 * has < keys ? SEED_HELPS : SEED_DOES_NOT;
}

/* Puts it on the map's list. */
static void seed_keep(struct flat *m, struct flat_seed *seed)
{
    seed->older = ld_relaxed(&m->seeds); /* relaxed: the CAS checks it */
    while (!cas_release(&m->seeds, &seed->older, seed)) /* P1: it goes with the root */
        continue;
}

/* A chain of a table is far longer than chance would have it. What was settled is not looked at again before there are twice as many keys. */
static NOINLINE void flat_flood_slow(struct flat *m, struct flat_table *t, struct bucket *home)
{
    uint64_t keys = counter_sum(&t->era->keys);
    if (keys > FLOOD_LOAD * table_buckets(t) || keys < ld_relaxed(&t->era->flood_at)) /* relaxed: a hint */
        return;
    if (root_table(ld_acquire(&m->root)) != t || ld_acquire(&t->next) != NULL || ld_relaxed(&m->walkers) != 0) /* P1, P6; relaxed: a hint */
        return;
    struct flat_seed *seed = memory_get(&m->map.memory, sizeof *seed);
    if (seed == NULL)
        return;
    st_relaxed(&t->era->flood_at, keys + keys / 8); /* relaxed: as above; others need not try at the same time */
    key_type_reseed(&seed->type, t->type);
    enum helps helps = seed_helps(t, home, &seed->type);
    bool begun = helps == SEED_HELPS && flat_resize(m, t, table_buckets(t), &seed->type) == RESIZE_BEGUN;
    if (begun)
        seed_keep(m, seed);
    else
        memory_put(&m->map.memory, seed, sizeof *seed);
    if (begun || helps == SEED_DOES_NOT)
        st_relaxed(&t->era->flood_at, 2 * keys); /* relaxed: as above */
}

/* ---- reserve ---- */

/* The keys that so many buckets hold, and do not grow: 2.25 a bucket, where GROWTH takes 2.5. How many overflow buckets they need is
 * a matter of chance, which has more play in small tables: these are made to hold fewer, so that six standard deviations are to
 * spare. */
static uint64_t buckets_hold(uint64_t buckets)
{
    uint64_t keys = buckets / 4 * 9 + buckets % 4 * 9 / 4;
    return buckets > 2048 ? keys : buckets > 32 ? keys / 2 : keys / 4;
}

/* The buckets that so many keys need; 0: too many for any memory. */
static uint64_t buckets_for(size_t keys)
{
    uint64_t buckets = LEAST_BUCKETS;
    while (buckets_hold(buckets) < keys) {
        if (buckets > SIZE_MAX / sizeof(struct bucket) / 4)
            return 0;
        buckets *= 2;
    }
    return buckets;
}

/* Moves a chunk, or looks at all of them and lets others, who move the last ones, run. False: that got nowhere, as there is no memory. */
static bool flat_move_or_wait(struct flat *m, struct flat_table *t, struct flat_table *next)
{
    uint64_t before = ld_acquire(&t->moved), chunks = table_buckets(t) / table_chunk(t, next); /* P8 */
    bool has_memory = true;
    for (uint64_t i = 0; i < chunks; i++) {
        has_memory &= flat_move_slow(m, t, next, true);
        if (root_table(ld_acquire(&m->root)) != t || ld_acquire(&t->moved) != before) /* P1, P8 */
            return true;
    }
    platform_yield();
    return has_memory;
}

/* Has room for so many keys without further growth. 0, or SYNCMAP_ENOMEM: it may have grown by a part. Moves all itself. */
static int flat_reserve(struct flat *m, size_t keys)
{
    uint64_t wanted = buckets_for(keys);
    if (wanted == 0)
        return SYNCMAP_ENOMEM;
    for (;;) {
        struct flat_table *t = root_table(ld_acquire(&m->root)); /* P1 */
        struct flat_table *next = ld_acquire(&t->next); /* P6 */
        uint64_t buckets = table_buckets(t);
        if (next != NULL) {
            if (!flat_move_or_wait(m, t, next))
                return SYNCMAP_ENOMEM;
        } else if (buckets >= wanted) {
            break;
        } else if (ld_relaxed(&t->growing)) { /* relaxed: a hint; another makes the next */
            platform_yield();
        } else if (flat_resize(m, t, wanted / buckets > TARGETS ? buckets * TARGETS : wanted, t->type) == RESIZE_NO_MEMORY) {
            return SYNCMAP_ENOMEM;
        }
    }
    uint64_t least = ld_relaxed(&m->least); /* relaxed: a hint when to halve */
    while (least < wanted && !cas_release(&m->least, &least, wanted)) /* relaxed: as above; P1: nothing hangs on it */
        continue;
    return 0;
}

/* ---- fork ---- */

/* In the child: what others were doing beside sections nobody goes on with. Who was making a next makes none; chunks that were begun are
 * looked at again; and a table whose last bucket was moved is promoted. */
static void flat_fork_child(struct flat *m)
{
    struct flat_table *t = root_table(ld_acquire(&m->root)); /* P1 */
    struct flat_table *next = ld_acquire(&t->next); /* P6 */
    if (!pin_held())
        st_release(&m->walkers, 0); /* P10: nobody walks */
    if (next == NULL) {
        st_release(&t->reseeding, false); /* P10 */
        st_release(&t->growing, false); /* P6: another may try */
    } else if (ld_acquire(&t->moved) == table_buckets(t)) { /* P8 */
        flat_promote(m, t, next);
    } else {
        st_relaxed(&t->gave_up, true); /* relaxed: a hint what to look at again */
    }
}
