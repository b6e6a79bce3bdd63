/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: the operations. The essay, with V1 to V11 and P1 to P11, is in flat.h.
 */
#include "flat.h"

/* ---- the hash that a table goes by ---- */

/* Runs user code for custom keys. */
static NOINLINE void query_rehash_slow(struct query *q, const struct key_type *type)
{
    q->type = type;
    q->hash = key_hash(type, q->key);
}

/* Gives the query the hash that table t goes by, if it has another: after RESEEDING. */
static ALWAYS_INLINE void query_fit(struct query *q, const struct flat_table *t, bool integers)
{
    if (likely(t->type == q->type))
        return;
    if (!integers) {
        query_rehash_slow(q, t->type);
        return;
    }
    q->hash = hash_u64(unhash_u64(q->hash, q->type->seed), t->type->seed);
    q->type = t->type;
}

/* ---- load ---- */

/* integers: the kind of keys; filtered: the filter is asked first. Both are constants for the compiler. */
static ALWAYS_INLINE int flat_search(struct flat *m, struct query *q, bool integers, bool filtered, void **value)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    struct flat_table *t = root_table(root);
    query_fit(q, t, integers);
    struct bucket *home = table_home(t, root & ROOT_SHIFT, q->hash);
    for (;;) {
        if (filtered && filter_denies(t, t->shift, q->hash)) {
            *value = NULL;
            return 0;
        }
        uint64_t header = bucket_header(home);
        if (unlikely(header & BUCKET_MOVED)) {
            t = ld_acquire(&t->next); /* P6 */
            query_fit(q, t, integers);
            home = table_home(t, t->shift, q->hash);
            continue;
        }
        unsigned slot;
        struct bucket *b = chain_find(&t->overflow, home, header, q, integers, false, &slot);
        void *p = b != NULL ? ld_seq_cst(&b->value[slot]) : NULL; /* P4 */
        if (unlikely(!bucket_unchanged(home, header)))
            continue;
        *value = value_decode(p);
        return p != NULL;
    }
}

/* For integers, by the hash that map.key makes: where the home bucket itself can tell, or (filtered) the filter. < 0: they cannot, and
 * flat_load() must look. (Few variables live at once: syncmap_load() has one register to save.) */
static ALWAYS_INLINE int flat_load_integer(struct flat *m, uint64_t hash, bool filtered, void **value)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    struct flat_table *t = root_table(root);
    if (unlikely(t->type != &m->map.key))
        return -1;
    if (filtered && filter_denies(t, root & ROOT_SHIFT, hash)) {
        *value = NULL;
        return 0;
    }
    struct bucket *home = table_home(t, root & ROOT_SHIFT, hash);
    uint64_t header = ld_seq_cst(&home->header); /* P2 */
    if (unlikely((header & (BUCKET_LOCKED | BUCKET_MOVED)) != 0))
        return -1;
    unsigned slot;
    void *p = NULL;
    if (bucket_find_integer(home, hash, &slot))
        p = ld_seq_cst(&home->value[slot]); /* P4 */
    else if (ld_acquire(&home->tags) >> LINK_SHIFT != 0) /* P5 */
        return -1;
    if (unlikely(!bucket_unchanged(home, header)))
        return -1;
    *value = value_decode(p);
    return p != NULL;
}

/* The same for strings and bytes: where the first slot with the key's tag can tell. Runs no user code. */
static ALWAYS_INLINE int flat_load_text(struct flat *m, syncmap_key key, uint64_t hash, void **value)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    struct flat_table *t = root_table(root);
    if (unlikely(t->type != &m->map.key))
        return -1;
    if (filter_denies(t, root & ROOT_SHIFT, hash)) {
        *value = NULL;
        return 0;
    }
    struct bucket *home = table_home(t, root & ROOT_SHIFT, hash);
    uint64_t header = ld_seq_cst(&home->header); /* P2 */
    if (unlikely((header & (BUCKET_LOCKED | BUCKET_MOVED)) != 0))
        return -1;
    void *p = NULL;
    uint64_t tags = ld_acquire(&home->tags), hits = bucket_candidates(hash, tags); /* P5 */
    if (hits != 0) {
        unsigned slot = candidate_slot(hits);
        p = ld_seq_cst(&home->value[slot]); /* P4; if there is none, what the slot keeps is not looked at: another line */
        const struct record *r = word_record(ld_acquire(&home->word[slot])); /* P3 */
        bool other = p == NULL ? (hits & (hits - 1)) != 0 : r == NULL || !record_has_text(r, key);
        if (unlikely(other))
            return -1;
    }
    if ((p == NULL && tags >> LINK_SHIFT != 0) || unlikely(!bucket_unchanged(home, header)))
        return -1;
    *value = value_decode(p);
    return p != NULL;
}

static int flat_load(struct flat *m, struct query *q, bool integers, void **value)
{
    return integers ? flat_search(m, q, true, true, value) : flat_search(m, q, false, true, value);
}

/* The bucket was asked for long before. */
static int flat_load_prefetched(struct flat *m, struct query *q, bool integers, void **value)
{
    return integers ? flat_search(m, q, true, false, value) : flat_search(m, q, false, false, value);
}

/* ---- what all writers do ---- */

/* Whether the filter of the first table tells that a key is absent. (Nothing is said if its secrets are others than the query's.) */
static ALWAYS_INLINE bool flat_denies(struct flat *m, const struct query *q)
{
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    const struct flat_table *t = root_table(root);
    return t->type == q->type && filter_denies(t, root & ROOT_SHIFT, q->hash);
}

/* Asks for the line of a bucket whose lock is likely to be taken: see WRITERS. */
static ALWAYS_INLINE void bucket_will_be_locked(const struct flat *m, const struct bucket *home)
{
    if (likely(m->map.prefetches_to_write))
        platform_prefetch_to_write(home);
}

/* Where a key is, or is not: found without a lock, and true for as long as home's header is `header`. */
struct spot {
    uintptr_t root; /* where the search began */
    struct flat_table *t;
    struct bucket *home;
    uint64_t header; /* not LOCKED; once it is: as it is then */
    struct bucket *in; /* NULL: the key is absent */
    struct bucket *kept; /* what has its record then, to be revived; or NULL */
    unsigned slot; /* of either */
    struct thread *self; /* of the section */
};

/* kept: whether it matters if an absent key's record is kept. */
static ALWAYS_INLINE void spot_find(struct flat *m, struct query *q, bool integers, bool kept, struct spot *s)
{
    unsigned round = 0;
    uintptr_t root = s->root = ld_seq_cst(&m->root); /* P1 */
    s->t = root_table(root);
    query_fit(q, s->t, integers);
    s->home = table_home(s->t, root & ROOT_SHIFT, q->hash);
    for (;;) {
        s->header = ld_seq_cst(&s->home->header); /* P2 */
        if (unlikely(s->header & BUCKET_MOVED)) {
            s->t = ld_acquire(&s->t->next); /* P6 */
            query_fit(q, s->t, integers);
            s->home = table_home(s->t, s->t->shift, q->hash);
        } else if (unlikely(s->header & BUCKET_LOCKED)) {
            bucket_wait(&round);
        } else {
            s->in = chain_find(&s->t->overflow, s->home, s->header, q, integers, kept, &s->slot);
            s->kept = NULL;
            if (kept && s->in != NULL && ld_seq_cst(&s->in->value[s->slot]) == NULL) { /* P4 */
                s->kept = s->in;
                s->in = NULL;
            }
            return;
        }
    }
}

/* The same for the slow functions, which work on all kinds of keys. */
static NOINLINE void spot_find_again(struct flat *m, struct query *q, struct spot *s)
{
    if (q->type->kind == SYNCMAP_U64)
        spot_find(m, q, true, false, s);
    else
        spot_find(m, q, false, true, s);
}

/* Begins a section, if what was found still stands; true then. version: BUCKET_VERSION where a key comes or goes, else 0. */
static ALWAYS_INLINE bool spot_lock(struct spot *s, uint64_t version)
{
    s->self = section_enter();
    if (likely(bucket_cas_lock(s->home, &s->header, version)))
        return true;
    section_leave(s->self);
    return false;
}

static ALWAYS_INLINE void spot_unlock(struct flat *m, struct spot *s)
{
    if (DEBUG_BUILD)
        flat_check(m, s->t, s->home);
    bucket_unlock(s->home, s->header);
    section_leave(s->self);
}

/* The value of the key that was found; NULL: it has changed, and nothing is true any more. */
static ALWAYS_INLINE void *spot_value(const struct spot *s)
{
    void *p = ld_seq_cst(&s->in->value[s->slot]); /* P4 */
    return bucket_unchanged(s->home, s->header) ? p : NULL;
}

/* Replaces the value, in a section. */
static ALWAYS_INLINE void *value_replace(struct bucket *b, unsigned slot, void *value)
{
    void *old = ld_relaxed(&b->value[slot]); /* relaxed: under the lock */
    st_release(&b->value[slot], value_encode(value)); /* P4 */
    return value_decode(old);
}

static ALWAYS_INLINE void *spot_replace(struct spot *s, void *value)
{
    return value_replace(s->in, s->slot, value);
}

/* ---- a new key ---- */

/* What a new key will need, made ready with no lock held. */
struct flat_seat {
    struct record *record;
    uint64_t overflow; /* the number of a bucket of ... */
    struct flat_table *t;
    struct bucket *in; /* where it will be: a free slot, or a kept one; or NULL, and then the overflow bucket goes behind `last` */
    struct bucket *last;
    unsigned slot;
    bool revives; /* the record of that slot */
    unsigned depth; /* overflow buckets that the chain has */
};

/* Finds the first free slot of a chain in which the key was not found, or the first kept one, or that there is none. */
static void seat_find_slot(const struct flat *m, const struct spot *s, struct flat_seat *seat)
{
    seat->depth = 0;
    seat->in = NULL;
    for (struct bucket *b = s->home;; seat->depth++) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (ld_acquire(&b->value[i]) != NULL) /* P4 */
                continue;
            bool kept = word_has_record(m, ld_acquire(&b->word[i])); /* P3 */
            if (kept && seat->in != NULL)
                continue;
            seat->in = b;
            seat->slot = i;
            if (!kept)
                return;
            __builtin_prefetch(word_record(ld_relaxed(&b->word[i])), 1); /* relaxed: no more than that */
        }
        uint64_t link = ld_acquire(&b->tags) >> LINK_SHIFT; /* P5 */
        seat->last = b;
        if (link == 0 || !bucket_unchanged(s->home, s->header))
            return;
        b = overflow_at(&s->t->overflow, link - 1);
    }
}

static void seat_release(struct flat *m, struct flat_seat *seat)
{
    overflow_give_back(seat->t, seat->overflow);
    if (seat->record != NULL)
        record_free(m, seat->record);
}

/* Makes ready what the absent key needs. False: memory is out. With no lock held: runs user code. */
static bool seat_reserve(struct flat *m, const struct spot *s, const struct query *q, struct flat_seat *seat)
{
    seat->revives = s->kept != NULL;
    if (seat->revives) {
        seat->in = s->kept;
        seat->slot = s->slot;
        return true;
    }
    seat_find_slot(m, s, seat);
    if (q->type->kind != SYNCMAP_U64 && seat->record == NULL && (seat->record = record_new(m, q)) == NULL)
        return false;
    if (likely(seat->in != NULL) || (seat->overflow != 0 && seat->t == s->t))
        return true;
    overflow_give_back(seat->t, seat->overflow);
    seat->t = s->t;
    seat->overflow = overflow_take(m, s->t);
    return seat->overflow != 0;
}

/* Takes the lock with all at hand that a write needs: a key that is there, or (s->in is NULL) room for it. Looks again where the key is,
 * unless it was not found before. False: memory is out. */
static bool seat_lock(struct flat *m, struct query *q, struct spot *s, struct flat_seat *seat)
{
    if (s->in != NULL)
        spot_find_again(m, q, s);
    for (;; spot_find_again(m, q, s)) {
        if (s->in == NULL && !seat_reserve(m, s, q, seat)) {
            seat_release(m, seat);
            return false;
        }
        /* Had an allocator of the user's cleared the map, the key would come before that, into a table that is no more. */
        if (unlikely(ld_seq_cst(&m->root) != s->root)) /* P1 */
            continue;
        if (spot_lock(s, s->in != NULL ? 0 : BUCKET_VERSION))
            return true;
    }
}

/* Gives the key its value back, in a section. Its record stays as it is. */
static void seat_revive(const struct flat_seat *seat, void *value)
{
    st_release(&seat->in->value[seat->slot], value_encode(value)); /* P4 */
}

/* Puts the new key into the slot that was found, in a section. */
static void seat_fill(struct flat *m, struct spot *s, const struct query *q, struct flat_seat *seat, void *value, struct evicted *evicted)
{
    struct bucket *b = seat->in;
    uint64_t word = q->hash, link = 0;
    if (seat->record != NULL) {
        if (b != NULL && ld_relaxed(&b->word[seat->slot]) != 0) /* relaxed: under the lock */
            bucket_evict(s->home, &s->header, b, seat->slot, evicted);
        st_relaxed(&seat->record->age, ld_seq_cst(&m->ages)); /* P9; relaxed: P3 publishes it */
        st_relaxed(&seat->record->hash[q->type->number & 1], q->hash); /* relaxed: as above */
        word = (uint64_t)(uintptr_t)seat->record;
        seat->record = NULL;
    }
    if (b == NULL) {
        b = overflow_at(&s->t->overflow, seat->overflow - 1);
        bucket_init(b, foreign_word(m, s->t, q->hash >> s->t->shift));
        seat->slot = 0;
        link = seat->overflow;
        seat->overflow = 0;
    }
    bucket_fill(b, seat->slot, q->hash, word, value_encode(value));
    if (link != 0)
        st_release(&seat->last->tags, ld_relaxed(&seat->last->tags) | link << LINK_SHIFT); /* P5; relaxed: under the lock */
}

/* Adds the new key, for which there is room, in a section, and ends it. */
static inline void spot_insert(struct flat *m, struct spot *s, const struct query *q, struct flat_seat *seat, void *value)
{
    bool linked = seat->in == NULL;
    struct evicted evicted = {NULL};
    filter_add(s->t, q->hash);
    if (seat->revives)
        seat_revive(seat, value);
    else
        seat_fill(m, s, q, seat, value, &evicted);
    counter_add(&s->t->era->keys, 1);
    spot_unlock(m, s);
    evicted_retire(m, &evicted);
    if (unlikely(linked)) {
        if (table_is_full(s->t))
            flat_grow_slow(m, s->t);
        if (seat->depth >= FLOOD)
            flat_flood_slow(m, s->t, s->home);
    }
}

/* (The slow functions take query and spot by value, so that the fast ones can keep theirs in registers.) */
static NOINLINE int flat_swap_slow(struct flat *m, struct query q, struct spot s, void *value, void **previous)
{
    struct flat_seat seat = {0};
    if (!seat_lock(m, &q, &s, &seat))
        return SYNCMAP_ENOMEM;
    int result = s.in != NULL;
    if (s.in != NULL) {
        *previous = spot_replace(&s, value);
        spot_unlock(m, &s);
    } else {
        spot_insert(m, &s, &q, &seat, value);
    }
    seat_release(m, &seat);
    return result;
}

static ALWAYS_INLINE int flat_swap(struct flat *m, struct query *q, bool integers, void *value, void **previous)
{
    struct spot s;
    flat_help(m);
    uintptr_t root = ld_relaxed(&m->root); /* relaxed: no more than a hint, as is the hash */
    bucket_will_be_locked(m, table_home(root_table(root), root & ROOT_SHIFT, q->hash));
    spot_find(m, q, integers, !integers, &s);
    if (s.in == NULL || !spot_lock(&s, 0))
        return flat_swap_slow(m, *q, s, value, previous);
    *previous = spot_replace(&s, value);
    spot_unlock(m, &s);
    return 1;
}

static NOINLINE int flat_load_or_store_slow(struct flat *m, struct query q, struct spot s, void *value, void **actual)
{
    struct flat_seat seat = {0};
    if (!seat_lock(m, &q, &s, &seat))
        return SYNCMAP_ENOMEM;
    int result = s.in != NULL;
    if (s.in != NULL) {
        *actual = value_decode(ld_relaxed(&s.in->value[s.slot])); /* relaxed: under the lock */
        spot_unlock(m, &s);
    } else {
        spot_insert(m, &s, &q, &seat, value);
        *actual = value;
    }
    seat_release(m, &seat);
    return result;
}

static ALWAYS_INLINE int flat_load_or_store(struct flat *m, struct query *q, bool integers, void *value, void **actual)
{
    struct spot s;
    flat_help(m);
    spot_find(m, q, integers, !integers, &s);
    void *p = s.in != NULL ? spot_value(&s) : NULL;
    if (p == NULL)
        return flat_load_or_store_slow(m, *q, s, value, actual);
    *actual = value_decode(p);
    return 1;
}

/* ---- delete ---- */

/* Unlinks `b` from its chain, if it is an overflow bucket and has no key left, with what it keeps. In a section. Returns its number, to be given back
 * when the section is over, with one more version (V7); or 0. */
static uint64_t chain_trim(struct spot *s, struct bucket *b, struct evicted *evicted)
{
    if (b == s->home)
        return 0;
    for (unsigned i = 0; i < SLOTS; i++)
        if (ld_relaxed(&b->value[i]) != NULL) /* relaxed: under the lock */
            return 0;
    bucket_leave_kept(s->t, b, evicted);
    for (struct bucket *before = s->home;;) {
        uint64_t tags = ld_relaxed(&before->tags), link = tags >> LINK_SHIFT; /* relaxed: as above */
        struct bucket *next = overflow_at(&s->t->overflow, link - 1);
        if (next == b) {
            st_release(&before->tags, (tags & TAGS_MASK) | (ld_relaxed(&b->tags) & ~TAGS_MASK)); /* P5; relaxed: as above */
            s->header += BUCKET_VERSION;
            return link;
        }
        before = next;
    }
}

/* Takes the key out, in a section, and ends it. Returns its value. */
static NOINLINE void *spot_delete(struct flat *m, struct spot s)
{
    struct bucket *b = s.in;
    void *old = ld_relaxed(&b->value[s.slot]); /* relaxed: under the lock */
    uint64_t word = ld_relaxed(&b->word[s.slot]); /* relaxed: as above */
    uint64_t index = (uint64_t)(s.home - table_home(s.t, 0, 0));
    bool integers = m->map.key.kind == SYNCMAP_U64;
    struct evicted evicted = {NULL};
    st_release(&b->value[s.slot], NULL); /* P4: before the word, so that who sees a foreign word sees no value */
    if (integers || !record_is_to_keep(s.t, word)) {
        st_release(&b->word[s.slot], foreign_word(m, s.t, index)); /* P3 */
        if (!integers)
            evicted_add(&evicted, word);
    }
    uint64_t given = chain_trim(&s, b, &evicted);
    filter_remove(s.t, s.home, index);
    long keys = counter_add(&s.t->era->keys, -1);
    spot_unlock(m, &s);
    overflow_give_back(s.t, given);
    evicted_retire(m, &evicted);
    if (unlikely(time_to_look(s.t, keys)))
        flat_shrink_slow(m, s.t);
    return value_decode(old);
}

static ALWAYS_INLINE int flat_load_and_delete(struct flat *m, struct query *q, bool integers, void **previous)
{
    struct spot s;
    flat_help(m);
    if (flat_denies(m, q))
        return 0;
    do {
        spot_find(m, q, integers, false, &s);
        if (s.in == NULL) {
            if (bucket_unchanged(s.home, s.header))
                return 0;
            continue;
        }
        if (spot_lock(&s, BUCKET_VERSION))
            break;
    } while (true);
    *previous = spot_delete(m, s);
    return 1;
}

/* ---- compare_and_... ---- */

/* Finds the key with a value that equals `expected`, and takes the lock; true then, and in a section. version: as in spot_lock(). Runs
 * user code, before. */
static ALWAYS_INLINE bool spot_lock_equal(struct flat *m, struct query *q, bool integers, void *expected, struct spot *s,
                                          uint64_t version)
{
    flat_help(m);
    if (flat_denies(m, q))
        return false;
    for (;;) {
        spot_find(m, q, integers, false, s);
        void *p = s->in != NULL ? spot_value(s) : NULL;
        if (p == NULL) {
            if (bucket_unchanged(s->home, s->header))
                return false;
            continue;
        }
        if (!value_is_equal(&m->map, value_decode(p), expected))
            return false;
        if (!spot_lock(s, version))
            continue;
        if (ld_relaxed(&s->in->value[s->slot]) == p) /* relaxed: under the lock */
            return true;
        spot_unlock(m, s);
    }
}

static ALWAYS_INLINE int flat_compare_and_swap(struct flat *m, struct query *q, bool integers, void *expected, void *desired, void **previous)
{
    struct spot s;
    if (!spot_lock_equal(m, q, integers, expected, &s, 0))
        return 0;
    *previous = spot_replace(&s, desired);
    spot_unlock(m, &s);
    return 1;
}

static ALWAYS_INLINE int flat_compare_and_delete(struct flat *m, struct query *q, bool integers, void *expected, void **previous)
{
    struct spot s;
    if (!spot_lock_equal(m, q, integers, expected, &s, BUCKET_VERSION))
        return 0;
    *previous = spot_delete(m, s);
    return 1;
}

/* ---- clear, len ---- */

static int flat_clear(struct flat *m)
{
    struct flat_era *era = flat_era_new(m);
    struct flat_table *fresh = era != NULL ? flat_table_new(m, LEAST_BUCKETS, era, &m->map.key) : NULL;
    if (fresh == NULL) {
        if (era != NULL)
            flat_era_free(m, era);
        return SYNCMAP_ENOMEM;
    }
    flat_table_clear(m, fresh);
    uintptr_t root = ld_seq_cst(&m->root); /* P1 */
    do /* with the secrets that walks go by (V10) */
        fresh->type = root_table(root)->type;
    while (!cas_seq_cst(&m->root, &root, table_root(fresh))); /* P1: the instant of the clear */
    struct flat_table *old = root_table(root);
    st_relaxed(&m->least, LEAST_BUCKETS); /* relaxed: a hint when to halve */
    old->owns_entries = true;
    size_t keys = counter_sum(&old->era->keys);
    reclaim_retire(&old->era->retired, &m->era_class, sizeof *old->era);
    reclaim_retire(&old->retired, &m->table_class, flat_table_size(old) + keys * sizeof(struct record));
    return 0;
}

static size_t flat_len(struct flat *m)
{
    return counter_sum(&root_table(ld_seq_cst(&m->root))->era->keys); /* P1 */
}

/* ---- life ---- */

static bool flat_init(struct flat *m, size_t capacity)
{
    m->table_class.release = flat_table_release;
    m->record_class.release = record_release;
    m->era_class.release = flat_era_release;
    uint64_t buckets = buckets_for(capacity);
    if (buckets == 0)
        return false;
    st_relaxed(&m->least, buckets); /* relaxed: nobody else has the map yet */
    struct flat_era *era = flat_era_new(m);
    struct flat_table *t = era != NULL ? flat_table_new(m, buckets, era, &m->map.key) : NULL;
    if (t == NULL) {
        if (era != NULL)
            flat_era_free(m, era);
        return false;
    }
    flat_table_clear(m, t);
    st_relaxed(&m->root, table_root(t)); /* relaxed: nobody else has the map yet */
    return true;
}

/* Frees a part of all that the map holds, once nobody can see it; true: all. */
static bool flat_destroy_step(struct flat *m)
{
    struct flat_table *t = root_table(ld_relaxed(&m->root)); /* relaxed: alone */
    struct flat_era *era = t->era;
    if (!flat_table_end_step(m, t))
        return false;
    flat_era_free(m, era);
    for (struct flat_seed *seed = ld_relaxed(&m->seeds), *older; seed != NULL; seed = older) { /* relaxed: alone */
        older = seed->older;
        memory_put(&m->map.memory, seed, sizeof *seed);
    }
    return true;
}
