/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: iteration. The essay is in flat.h.
 *
 * A walk goes by the hash, from 0 to 2^64 - 1, bucket by bucket, and its place is one number: all keys with a smaller hash are
 * behind it. A bucket is a range of hashes in every table, so that place means the same whatever was moved since. Each bucket is
 * read like a search reads it, with a second look at the header, into a buffer; when that is half full, with nothing held, the keys
 * are visited whose hash is not behind the place. So no key is visited twice (its hash is passed once), and none is missed that
 * stays (its bucket is read while it is there).
 *
 * A bucket that has more keys than fit into the buffer (its table could not be moved for a while, or the hash is poor) is read more
 * than once: each time those with the smallest hashes are kept, and visited but for the largest of these hashes, where the next
 * reading begins. Only keys with one and the same hash, more than fit, need *rounds*: each takes those with the smallest words,
 * which are addresses of records, above the last round's. A record that is added meanwhile could have any address, so only records
 * are visited whose age is below the number that `ages` was bumped to when the rounds began (V9). Rounds stay in the table where
 * they began, also when the bucket is moved: what it held then stays there for as long as the walk is pinned.
 */
#include "flat.h"

enum { WALK_BUFFER = 32 };

struct walk {
    const struct syncmap *m;
    const struct key_type *type; /* of all tables that it sees (V10) */
    uint64_t from, last; /* hashes, both included */
    /* Of rounds: */
    bool rounds, again; /* `again`: not the first */
    uint64_t above;     /* words */
    uint64_t age;
    /* What was found: */
    unsigned count;
    bool more; /* than fit */
    struct walk_entry {
        uint64_t word;
        void *value;
    } found[WALK_BUFFER];
};

/* Before a walk: no other secrets are brought in until walk_leave(); what was being reseeded has been. The type whose secrets they are; NULL: memory is out
 * for the end of that. */
static const struct key_type *walk_enter(struct flat *m)
{
    for (;;) {
        add_seq_cst(&m->walkers, 1); /* P10 */
        struct flat_table *t = root_table(ld_seq_cst(&m->root)); /* P1 */
        if (likely(!ld_seq_cst(&t->reseeding))) /* P10 */
            return t->type;
        add_seq_cst(&m->walkers, (uint64_t)-1); /* P10 */
        struct flat_table *next = ld_acquire(&t->next); /* P6 */
        if (next == NULL)
            platform_yield();
        else if (!flat_move_or_wait(m, t, next))
            return NULL;
    }
}

static void walk_leave(struct flat *m)
{
    add_seq_cst(&m->walkers, (uint64_t)-1); /* P10 */
}

/* (Not by an initialiser, which would clear the buffer, too.) */
static void walk_begin(struct walk *w, const struct flat *m, const struct key_type *type, uint64_t place)
{
    w->m = &m->map;
    w->type = type;
    w->from = place;
    w->rounds = false;
    w->count = 0;
    w->more = false;
}

/* A round wants what the last ones did not have. */
static bool walk_round_wants(const struct walk *w, uint64_t word)
{
    if (w->again && word <= w->above)
        return false;
    return w->type->kind == SYNCMAP_U64 || ld_relaxed(&word_record(word)->age) < w->age; /* P9; relaxed: P3 */
}

/* What the smallest are kept of. */
static uint64_t walk_order(const struct walk *w, uint64_t word)
{
    return w->rounds ? word : word_hash(w->type, word);
}

/* Where the largest of what was found is. */
static unsigned walk_largest(const struct walk *w)
{
    unsigned at = 0;
    for (unsigned i = 1; i < w->count; i++)
        if (walk_order(w, w->found[i].word) > walk_order(w, w->found[at].word))
            at = i;
    return at;
}

/* The buffer is full: the largest goes, which may be the new one. */
static NOINLINE void walk_squeeze_slow(struct walk *w, uint64_t word, void *value)
{
    unsigned at = walk_largest(w);
    w->more = true;
    if (walk_order(w, w->found[at].word) <= walk_order(w, word))
        return;
    w->found[at].word = word;
    w->found[at].value = value;
}

static ALWAYS_INLINE void walk_add(struct walk *w, uint64_t word, void *value)
{
    if (unlikely(w->count == WALK_BUFFER)) {
        walk_squeeze_slow(w, word, value);
        return;
    }
    w->found[w->count].word = word;
    w->found[w->count].value = value;
    w->count++;
}

/* Adds what is wanted of one bucket of a chain. */
static ALWAYS_INLINE void walk_take(struct walk *w, const struct bucket *b, uint64_t span, bool integers)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t word = ld_acquire(&b->word[i]); /* P3 */
        void *value = ld_seq_cst(&b->value[i]);  /* P4 */
        if (value == NULL || (!integers && word == 0))
            continue;
        uint64_t hash = integers ? word : record_hash(w->type, word_record(word));
        if (hash - w->from <= span && (likely(!w->rounds) || walk_round_wants(w, word)))
            walk_add(w, word, value);
    }
}

/* The same for integers that fit, without a branch, as none could be foretold. */
static ALWAYS_INLINE void walk_take_integers(struct walk *w, const struct bucket *b, uint64_t span)
{
    unsigned count = w->count;
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t word = ld_acquire(&b->word[i]); /* P3 */
        void *value = ld_seq_cst(&b->value[i]);  /* P4 */
        w->found[count].word = word;
        w->found[count].value = value;
        count += (value != NULL) & (word - w->from <= span);
    }
    w->count = count;
}

/* Reads a chain, behind what was found before. False: it has changed meanwhile, and nothing was found. */
static ALWAYS_INLINE bool walk_read(struct walk *w, struct flat_table *t, struct bucket *home, uint64_t header, bool integers)
{
    const uint64_t span = w->last - w->from;
    const unsigned before = w->count;
    for (struct bucket *b = home;;) {
        if (integers && likely(w->count <= WALK_BUFFER - SLOTS))
            walk_take_integers(w, b, span);
        else
            walk_take(w, b, span, integers);
        uint64_t link = ld_acquire(&b->tags) >> LINK_SHIFT; /* P5 */
        uint64_t now = ld_relaxed(&home->header); /* relaxed: P2; see V4 */
        if (unlikely(((now ^ header) & ~(uint64_t)(BUCKET_LOCKED | BUCKET_MOVED)) != 0)) {
            w->count = before;
            w->more = false;
            return false;
        }
        if (link == 0)
            return true;
        b = overflow_at(&t->overflow, link - 1);
    }
}

/* Visits what was found; false: the visit said stop. */
static ALWAYS_INLINE bool walk_visit(const struct walk *w, bool integers, bool (*visit)(syncmap_key, void *, void *), void *context)
{
    for (unsigned i = 0; i < w->count; i++) {
        void *value = value_decode(w->found[i].value);
        value_hand_out(w->m, value);
        uint64_t word = w->found[i].word;
        syncmap_key key = integers ? syncmap_u64(unhash_u64(word, w->type->seed)) : record_key(w->type, word_record(word));
        if (!visit(key, value, context))
            return false;
    }
    return true;
}

/* More keys with the hash w->from than fit into the buffer. */
static NOINLINE bool walk_rounds_slow(struct flat *m, struct walk *w, struct flat_table *t, struct bucket *home,
                                      bool (*visit)(syncmap_key, void *, void *), void *context)
{
    w->rounds = true;
    w->again = false;
    w->last = w->from;
    w->age = add_seq_cst(&m->ages, 1) + 1; /* P9 */
    do {
        w->count = 0;
        w->more = false;
        while (!walk_read(w, t, home, bucket_header(home), false))
            continue;
        if (!walk_visit(w, false, visit, context))
            return false;
        if (w->count > 0)
            w->above = w->found[walk_largest(w)].word;
        w->again = true;
    } while (w->more);
    return true;
}

/* What was found did not fit: keeps what is below the largest hash. True: there is nothing, all have one hash, which is w->from then. */
static NOINLINE bool walk_keep_slow(struct walk *w)
{
    uint64_t largest = word_hash(w->type, w->found[walk_largest(w)].word);
    unsigned kept = 0;
    for (unsigned i = 0; i < w->count; i++)
        if (word_hash(w->type, w->found[i].word) < largest)
            w->found[kept++] = w->found[i];
    w->count = kept;
    if (kept > 0)
        w->last = largest - 1;
    else
        w->from = largest;
    return kept == 0;
}

/* Reads the bucket of w->from, and sets w->last. Returns it, and its table. */
static ALWAYS_INLINE struct bucket *walk_find(struct flat *m, struct walk *w, bool integers, struct flat_table **in)
{
    struct flat_table *t = root_table(ld_seq_cst(&m->root)); /* P1 */
    for (;;) {
        struct bucket *home = table_home(t, t->shift, w->from);
        uint64_t header = bucket_header(home);
        if (header & BUCKET_MOVED) {
            t = ld_acquire(&t->next); /* P6 */
            continue;
        }
        w->last = w->from | (((uint64_t)1 << t->shift) - 1);
        *in = t;
        if (likely(walk_read(w, t, home, header, integers)))
            return home;
    }
}

/* Visits keys of some buckets from *place on, and moves that behind them; to 0 after the last. False: the visit said stop. The caller has
 * pinned by syncmap_pin(): what was read stays, whatever the visit does. */
static ALWAYS_INLINE bool walk_buckets(struct flat *m, const struct key_type *type, bool integers, uint64_t *place, bool (*visit)(syncmap_key, void *, void *),
                                       void *context)
{
    struct walk w;
    walk_begin(&w, m, type, *place);
    do {
        struct flat_table *t;
        unsigned before = w.count;
        struct bucket *home = walk_find(m, &w, integers, &t);
        if (unlikely(w.more)) {
            if (before > 0) { /* next time, alone; what was found before is what has smaller hashes */
                w.count = before;
                break;
            }
            if (walk_keep_slow(&w)) {
                *place = w.from + 1;
                return walk_rounds_slow(m, &w, t, home, visit, context);
            }
            w.from = w.last + 1;
            break;
        }
        w.from = w.last + 1;
    } while (w.from != 0 && w.count <= WALK_BUFFER / 2);
    *place = w.from;
    return walk_visit(&w, integers, visit, context);
}

static ALWAYS_INLINE int walk_all(struct flat *m, const struct key_type *type, bool integers, bool (*visit)(syncmap_key, void *, void *), void *context)
{
    uint64_t place = 0;
    do
        if (!walk_buckets(m, type, integers, &place, visit, context))
            return 0;
    while (place != 0);
    return 1;
}

static int flat_range(struct flat *m, bool (*visit)(syncmap_key, void *, void *), void *context)
{
    const struct key_type *type = walk_enter(m);
    if (type == NULL)
        return SYNCMAP_ENOMEM;
    int result = type->kind == SYNCMAP_U64 ? walk_all(m, type, true, visit, context) : walk_all(m, type, false, visit, context);
    walk_leave(m);
    return result;
}

/* ---- scan ---- */

/* By hash, so that a scan can stop between any two. */
static void walk_sort(struct walk *w)
{
    for (unsigned i = 1; i < w->count; i++) {
        struct walk_entry entry = w->found[i];
        uint64_t hash = word_hash(w->type, entry.word);
        unsigned k = i;
        for (; k > 0 && word_hash(w->type, w->found[k - 1].word) > hash; k--)
            w->found[k] = w->found[k - 1];
        w->found[k] = entry;
    }
}

/* Visits what was found, in order, until `count` or the visit says stop, and what has the same hash as the last then. Where it stops
 * before the end, *place is the next one's hash. */
static void walk_visit_some(struct walk *w, uint64_t *place, struct scan *scan)
{
    walk_sort(w);
    for (unsigned i = 0; i < w->count; i++) {
        uint64_t hash = word_hash(w->type, w->found[i].word);
        if (scan_is_over(scan) && hash != scan->hash) {
            *place = hash;
            return;
        }
        scan->hash = hash;
        void *value = value_decode(w->found[i].value);
        value_hand_out(w->m, value);
        scan_visit(word_key(w->type, w->found[i].word), value, scan);
    }
}

/* number: of the secrets whose order the place is in. 0, or an error. */
static int flat_scan(struct flat *m, uint64_t *place, uint64_t *number, struct scan *scan)
{
    const struct key_type *type = walk_enter(m);
    if (type == NULL)
        return SYNCMAP_ENOMEM;
    if (*number > type->number || (*place != 0 && *number != type->number)) {
        walk_leave(m);
        return *number > type->number ? SYNCMAP_EINVAL : SYNCMAP_ESTALE;
    }
    *number = type->number;
    do {
        struct walk w;
        struct flat_table *t;
        walk_begin(&w, m, type, *place);
        struct bucket *home = m->map.key.kind == SYNCMAP_U64 ? walk_find(m, &w, true, &t) : walk_find(m, &w, false, &t);
        if (unlikely(w.more) && walk_keep_slow(&w)) {
            *place = w.from + 1;
            walk_rounds_slow(m, &w, t, home, scan_visit, scan);
        } else {
            *place = w.last + 1;
            walk_visit_some(&w, place, scan);
        }
    } while (*place != 0 && !scan_is_over(scan));
    walk_leave(m);
    return 0;
}

/* ---- load_many ---- */

static void flat_prefetch(struct flat *m, uint64_t hash)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    __builtin_prefetch(table_home(root_table(root), root & ROOT_SHIFT, hash));
}

static bool flat_is_cached(struct flat *m)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    return 64 - (root & ROOT_SHIFT) <= CACHED_BITS;
}

/* The first overflow bucket of a bucket that was prefetched. */
static ALWAYS_INLINE void flat_prefetch_overflow(struct flat *m, uint64_t hash)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    struct flat_table *t = root_table(root);
    uint64_t link = ld_acquire(&table_home(t, root & ROOT_SHIFT, hash)->tags) >> LINK_SHIFT; /* P5 */
    if (link != 0)
        __builtin_prefetch(overflow_at(&t->overflow, link - 1));
}

/* The records whose tags match, in a bucket that was prefetched. */
static void flat_prefetch_record(struct flat *m, const struct query *q)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    struct bucket *b = table_home(root_table(root), root & ROOT_SHIFT, q->hash);
    for (uint64_t hits = bucket_candidates(q->hash, ld_acquire(&b->tags)); hits != 0; hits &= hits - 1) /* P5 */
        __builtin_prefetch(word_record(ld_acquire(&b->word[candidate_slot(hits)]))); /* P3 */
}
