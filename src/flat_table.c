/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: tables, overflow buckets and records, made and freed. The essay is in flat.h.
 */
#include "flat.h"

/* ---- tables ---- */

/* So many overflow buckets are made with a table: what it has when it is full, and some more while it is moved. */
static uint64_t table_first_overflow(uint64_t buckets)
{
    return buckets / 4 + buckets / 16 + 2;
}

/* Of a table of so many buckets. */
static size_t filter_size(uint64_t buckets)
{
    return buckets > (uint64_t)1 << FILTER_BITS ? ((size_t)buckets * sizeof(filter_bits) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE : 0;
}

static size_t flat_table_size(const struct flat_table *t)
{
    return sizeof *t + (table_buckets(t) + t->overflow.first) * sizeof(struct bucket) + filter_size(table_buckets(t));
}

/* A hash that does not belong to home bucket `index`, for the words of its free slots (V5). */
static uint64_t foreign_integer(const struct flat_table *t, uint64_t index)
{
    return (index ^ 1) << t->shift;
}

static uint64_t foreign_word(const struct flat *m, const struct flat_table *t, uint64_t index)
{
    return m->map.key.kind == SYNCMAP_U64 ? foreign_integer(t, index) : 0;
}

/* A bucket with nothing in it, which nobody else can see yet. */
static void bucket_init(struct bucket *b, uint64_t foreign)
{
    st_relaxed(&b->header, 0); /* relaxed: P1, P2 or P5 publishes it, and all below */
    st_relaxed(&b->tags, 0); /* relaxed: as above */
    for (unsigned i = 0; i < SLOTS; i++) {
        st_relaxed(&b->word[i], foreign); /* relaxed: as above */
        st_relaxed(&b->value[i], NULL); /* relaxed: as above */
    }
}

/* Fills a free slot, under the lock. (Not one that is kept: see bucket_evict().) */
static inline void bucket_fill(struct bucket *b, unsigned slot, uint64_t hash, uint64_t word, void *value)
{
    uint64_t tags = ld_relaxed(&b->tags) & ~(TAG_MASK << slot * TAG_BITS); /* relaxed: under the lock */
    st_release(&b->tags, tags | hash_tag(hash) << slot * TAG_BITS); /* P5 */
    st_release(&b->word[slot], word); /* P3 */
    st_release(&b->value[slot], value); /* P4 */
}

/* A table whose buckets, and bits of the filter, are not made yet: their mover does it, or flat_table_clear(). NULL: memory is out. */
static struct flat_table *flat_table_new(const struct flat *m, uint64_t buckets, struct flat_era *era, const struct key_type *type)
{
    uint64_t first = table_first_overflow(buckets);
    if (buckets + first > (SIZE_MAX / 4) / sizeof(struct bucket) || first >= (uint64_t)1 << LINK_BITS)
        return NULL;
    void *base;
    size_t size = sizeof(struct flat_table) + (size_t)(buckets + first) * sizeof(struct bucket) + filter_size(buckets);
    struct flat_table *t = memory_get_table(&m->map.memory, size, &base);
    if (t == NULL)
        return NULL;
    memset(t, 0, sizeof *t);
    t->shift = 64 - (unsigned)__builtin_ctzll(buckets);
    t->era = era;
    t->type = type;
    t->base = base;
    t->overflow.first = (uint32_t)first;
    char *behind = (char *)table_home(t, 0, buckets);
    t->filter = filter_size(buckets) != 0 ? (filter_bits *)(void *)behind : NULL;
    st_relaxed(&t->overflow.segment[0], (struct bucket *)(void *)(behind + filter_size(buckets))); /* relaxed: P1 or P6 publishes it */
    st_relaxed(&t->full, (int64_t)(buckets / 4)); /* relaxed: as above */
    return t;
}

/* Buckets of a table, `count` from `first` on, are made next; the ones behind them later. */
static void flat_table_ahead(const struct flat *m, struct flat_table *t, const struct bucket *first, uint64_t count)
{
    memory_table_ahead(&m->map.memory, t, flat_table_size(t), first, first + count);
}

static void flat_table_clear(const struct flat *m, struct flat_table *t)
{
    flat_table_ahead(m, t, table_home(t, 0, 0), table_buckets(t));
    for (uint64_t i = 0; i < table_buckets(t); i++)
        bucket_init(table_home(t, 0, i), foreign_word(m, t, i));
    if (t->filter != NULL)
        memset((void *)t->filter, 0, filter_size(table_buckets(t)));
}

/* Makes all buckets of a table that has just been got, for RESEEDING. The zeros that large ones are got with are buckets: 0 is foreign to all
 * but the first. */
static void flat_table_zero(const struct flat *m, struct flat_table *t)
{
    size_t size = flat_table_size(t);
    if (!memory_table_is_zero(&m->map.memory, size))
        memset((void *)(t + 1), 0, size - sizeof *t);
    bucket_init(table_home(t, 0, 0), foreign_word(m, t, 0));
}

static uintptr_t table_root(struct flat_table *t)
{
    return (uintptr_t)t | t->shift;
}

/* Further overflow buckets, on cache lines; where the memory begins stands before the first. NULL: memory is out. */
static struct bucket *segment_new(const struct flat *m, size_t size)
{
    char *raw = memory_get(&m->map.memory, size + CACHE_LINE);
    if (raw == NULL)
        return NULL;
    void **first = (void **)(void *)(raw + CACHE_LINE - (uintptr_t)raw % CACHE_LINE);
    first[-1] = raw;
    return (struct bucket *)(void *)first;
}

static void segment_free(const struct flat *m, struct bucket *segment, size_t size)
{
    memory_put(&m->map.memory, ((void **)(void *)segment)[-1], size + CACHE_LINE);
}

/* Frees a part of a table's memory; true: all, and then it is not there any more. */
static bool flat_table_free_step(const struct flat *m, struct flat_table *t)
{
    for (unsigned s = 1; t->left == 0 && s < SEGMENTS; s++) { /* at the first step */
        struct bucket *segment = ld_relaxed(&t->overflow.segment[s]); /* relaxed: alone */
        if (segment != NULL)
            segment_free(m, segment, ((size_t)t->overflow.first << (s - 1)) * sizeof *segment);
    }
    size_t size = flat_table_size(t);
    size_t left = memory_put_table_part(&m->map.memory, t->base, size, t->left != 0 ? t->left : size);
    if (left != 0)
        t->left = left;
    return left == 0;
}

/* ---- overflow buckets: numbers from 1 on, as in links ---- */

/* Has the memory of overflow bucket `index`; false: memory is out. */
static bool overflow_back(const struct flat *m, struct flat_table *t, uint64_t index)
{
    struct overflow *overflow = &t->overflow;
    if (index < overflow->first)
        return true;
    unsigned s = 64 - (unsigned)__builtin_clzll(index / overflow->first);
    if (s >= SEGMENTS || index + 2 > (uint64_t)1 << LINK_BITS)
        return false;
    if (ld_acquire(&overflow->segment[s]) != NULL) /* P7 */
        return true;
    size_t size = ((size_t)overflow->first << (s - 1)) * sizeof(struct bucket);
    struct bucket *none = NULL, *segment = segment_new(m, size);
    if (segment != NULL && !cas_acq_rel(&overflow->segment[s], &none, segment)) /* P7 */
        segment_free(m, segment, size);
    return segment != NULL || none != NULL;
}

/* The top of a stack of overflow buckets: the number of the first below, a count of changes above, so that a number that went
 * and came back is told. */
enum { SPARE_BITS = 32 };
#define SPARE_NUMBER (((uint64_t)1 << SPARE_BITS) - 1)

/* An overflow bucket that nobody uses; 0: memory is out. The tags of a spare one are the number of the next. */
static uint64_t overflow_take(const struct flat *m, struct flat_table *t)
{
    uint64_t top = ld_acquire(&t->spare); /* P7 */
    while ((top & SPARE_NUMBER) != 0) {
        uint64_t number = top & SPARE_NUMBER;
        uint64_t next = ld_relaxed(&overflow_at(&t->overflow, number - 1)->tags) & SPARE_NUMBER; /* relaxed: the CAS checks it */
        if (cas_acq_rel(&t->spare, &top, ((top & ~SPARE_NUMBER) + ((uint64_t)1 << SPARE_BITS)) | next)) { /* P7 */
            add_relaxed(&t->used, 1); /* relaxed: a hint when to grow */
            return number;
        }
    }
    uint64_t index = ld_relaxed(&t->fresh); /* relaxed: the CAS checks it */
    do
        if (!overflow_back(m, t, index))
            return 0;
    while (!cas_acq_rel(&t->fresh, &index, index + 1)); /* P7 */
    if (index < t->overflow.first)
        flat_table_ahead(m, t, overflow_at(&t->overflow, index), 1);
    add_relaxed(&t->used, 1); /* relaxed: as above */
    return index + 1;
}

/* Gives back one that is in no chain. Who is still reading it finds the version of its old home changed (V7). */
static void overflow_give_back(struct flat_table *t, uint64_t number)
{
    if (number == 0)
        return;
    struct bucket *b = overflow_at(&t->overflow, number - 1);
    uint64_t top = ld_relaxed(&t->spare), changed; /* relaxed: the CAS checks it */
    do {
        st_release(&b->tags, top & SPARE_NUMBER); /* P5 */
        changed = ((top & ~SPARE_NUMBER) + ((uint64_t)1 << SPARE_BITS)) | number;
    } while (!cas_acq_rel(&t->spare, &top, changed)); /* P7 */
    add_relaxed(&t->used, -1); /* relaxed: a hint when to grow */
}

/* ---- records ---- */

static size_t record_size(const struct key_type *type, syncmap_key key)
{
    return sizeof(struct record) + key_copy_size(type, key);
}

static struct record *record_new(const struct flat *m, const struct query *q)
{
    size_t size = record_size(q->type, q->key);
    struct record *r = memory_get(&m->map.memory, size);
    syncmap_key copy;
    if (r == NULL)
        return NULL;
    memset(r, 0, sizeof *r);
    if (!key_copy(q->type, q->key, r + 1, &copy)) {
        memory_put(&m->map.memory, r, size);
        return NULL;
    }
    if (q->type->kind == SYNCMAP_CUSTOM)
        r->key.object = copy.as.ptr;
    else
        r->key.len = syncmap_key_len(copy);
    return r;
}

static void record_free(const struct flat *m, struct record *r)
{
    syncmap_key key = record_key(&m->map.key, r);
    size_t size = record_size(&m->map.key, key);
    key_drop(&m->map.key, key);
    memory_put(&m->map.memory, r, size);
}

static bool record_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    record_free(container_of(class, struct flat, record_class), container_of(link, struct record, retired));
    return true;
}

static void record_retire(struct flat *m, struct record *r)
{
    reclaim_retire(&r->retired, &m->record_class, record_size(&m->map.key, record_key(&m->map.key, r)));
}

/* ---- kept records ---- */

/* Records that are in no bucket any more, to be retired when the section is over. */
struct evicted {
    struct reclaim_link *first;
};

static inline void evicted_add(struct evicted *evicted, uint64_t word)
{
    struct reclaim_link *link = &word_record(word)->retired;
    link->next = evicted->first;
    evicted->first = link;
}

static inline void evicted_retire(struct flat *m, struct evicted *evicted)
{
    while (evicted->first != NULL) {
        struct reclaim_link *link = evicted->first;
        evicted->first = link->next;
        record_retire(m, container_of(link, struct record, retired));
    }
}

/* Whether a table keeps records of keys that were deleted. */
static inline bool table_keeps(const struct flat_table *t)
{
    return t->shift >= 64 - KEEP_BITS && t->type->kind != SYNCMAP_U64 && t->type->kind != SYNCMAP_CUSTOM;
}

/* Whether the record stays in its slot when its key is deleted. */
static inline bool record_is_to_keep(const struct flat_table *t, uint64_t word)
{
    return table_keeps(t) && word_record(word)->key.len <= KEEP_BYTES;
}

/* Whether this is the word of a record. */
static inline bool word_has_record(const struct flat *m, uint64_t word)
{
    return word != 0 && m->map.key.kind != SYNCMAP_U64;
}

/* Frees a kept slot, in a section; *header, of the chain, is as it was locked, and is then of a further version. */
static void bucket_evict(struct bucket *home, uint64_t *header, struct bucket *b, unsigned slot, struct evicted *evicted)
{
    evicted_add(evicted, ld_relaxed(&b->word[slot])); /* relaxed: under the lock */
    st_release(&b->word[slot], 0); /* P3 */
    *header += BUCKET_VERSION;
    st_release(&home->header, *header); /* P2: before the value that the slot gets next, LOCKED as it is */
}

/* Adds what a bucket keeps that nobody will find any more. Under the lock. */
static void bucket_leave_kept(const struct flat_table *t, const struct bucket *b, struct evicted *evicted)
{
    if (!table_keeps(t))
        return;
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t word = ld_relaxed(&b->word[i]); /* relaxed: under the lock */
        if (word != 0 && ld_relaxed(&b->value[i]) == NULL) /* relaxed: as above */
            evicted_add(evicted, word);
    }
}

/* ---- what is retired whole ---- */

static void bucket_free_entries(const struct flat *m, struct bucket *b)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        void *value = ld_relaxed(&b->value[i]); /* relaxed: a grace period has passed */
        uint64_t word = ld_relaxed(&b->word[i]); /* relaxed: as above */
        if (value != NULL && m->map.value_free != NULL && value_decode(value) != NULL)
            m->map.value_free(value, m->map.context);
        if (word_has_record(m, word)) /* also one that is kept */
            record_free(m, word_record(word));
    }
}

/* Where bucket `index` of a table is in one before or after it in the chain: the first of them, if there are two. */
static uint64_t bucket_across(const struct flat_table *from, const struct flat_table *to, uint64_t index)
{
    return to->shift < from->shift ? index << (from->shift - to->shift) : index >> (to->shift - from->shift);
}

/* Whether bucket `index` of a table is its to free (V1): it was not moved, and it was made, which one that is only the next of
 * `before` (else NULL) was when a bucket was moved there; or all were, for RESEEDING. */
static bool bucket_is_owned(struct flat_table *t, struct flat_table *before, uint64_t index)
{
    if (before != NULL && before->type == t->type) {
        struct bucket *source = table_home(before, 0, bucket_across(t, before, index));
        if (!(ld_relaxed(&source->header) & BUCKET_MOVED)) /* relaxed: a grace period has passed */
            return false;
    }
    return !(ld_relaxed(&table_home(t, 0, index)->header) & BUCKET_MOVED); /* relaxed: as above */
}

static void chain_free_entries(const struct flat *m, struct flat_table *t, uint64_t index)
{
    for (struct bucket *b = table_home(t, 0, index);;) {
        bucket_free_entries(m, b);
        uint64_t link = ld_relaxed(&b->tags) >> LINK_SHIFT; /* relaxed: a grace period has passed */
        if (link == 0)
            return;
        b = overflow_at(&t->overflow, link - 1);
    }
}

/* Frees a part of a table's entries; true: all. before: as in bucket_is_owned(). */
static bool flat_table_empty_step(const struct flat *m, struct flat_table *t, struct flat_table *before)
{
    if (m->map.value_free == NULL && m->map.key.kind == SYNCMAP_U64)
        return true;
    uint64_t buckets = table_buckets(t);
    for (unsigned i = 0; t->freed < buckets && i < FREE_STEP; i++, t->freed++)
        if (bucket_is_owned(t, before, t->freed))
            chain_free_entries(m, t, t->freed);
    return t->freed == buckets;
}

/* Frees a part of a table and its next, with all that they have; true: all. (By GROWTH the next has none.) */
static bool flat_table_end_step(const struct flat *m, struct flat_table *t)
{
    struct flat_table *next = ld_relaxed(&t->next); /* relaxed: alone */
    if (t->freed != table_buckets(t) && !flat_table_empty_step(m, t, NULL))
        return false;
    if (next == NULL)
        return flat_table_free_step(m, t);
    if (flat_table_empty_step(m, next, t) && flat_table_free_step(m, next))
        st_relaxed(&t->next, NULL); /* relaxed: alone */
    return false;
}

static bool flat_table_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    const struct flat *m = container_of(class, struct flat, table_class);
    struct flat_table *t = container_of(link, struct flat_table, retired);
    return t->owns_entries ? flat_table_end_step(m, t) : flat_table_free_step(m, t);
}

static struct flat_era *flat_era_new(const struct flat *m)
{
    void *base;
    struct flat_era *era = memory_get_lines(&m->map.memory, sizeof *era, &base);
    if (era != NULL)
        era->base = base;
    return era;
}

static void flat_era_free(const struct flat *m, struct flat_era *era)
{
    memory_put_lines(&m->map.memory, era->base, sizeof *era);
}

static bool flat_era_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    flat_era_free(container_of(class, struct flat, era_class), container_of(link, struct flat_era, retired));
    return true;
}

/* ---- invariants ---- */

/* Whether the keys of two words of one table are equal; of custom keys, whether these are the same record: no user code may run. */
static bool words_are_equal(const struct flat_table *t, uint64_t a, uint64_t b)
{
    if (a == b || t->type->kind == SYNCMAP_U64 || t->type->kind == SYNCMAP_CUSTOM)
        return a == b;
    return word_hash(t->type, a) == word_hash(t->type, b) && key_is_equal(t->type, word_key(t->type, a), word_key(t->type, b));
}

/* Aborts unless V5, V7 and V11 hold for a bucket, its keys differ, and are where they belong. Under its lock. */
static void flat_check(struct flat *m, struct flat_table *t, struct bucket *home)
{
    uint64_t index = (uint64_t)(home - table_home(t, 0, 0)), words[32];
    unsigned keys = 0;
    for (struct bucket *b = home;;) {
        unsigned here = 0;
        for (unsigned i = 0; i < SLOTS; i++) {
            void *value = ld_relaxed(&b->value[i]); /* relaxed: under the lock */
            uint64_t word = ld_relaxed(&b->word[i]); /* relaxed: as above */
            if (value == NULL && !word_has_record(m, word)) {
                debug_assert(word == 0 ? m->map.key.kind != SYNCMAP_U64 || index != 0 : word >> t->shift != index); /* V5 */
                continue;
            }
            here += value != NULL;
            debug_assert(value != NULL || record_is_to_keep(t, word));
            uint64_t hash = word_hash(t->type, word);
            debug_assert(hash >> t->shift == index);
            debug_assert(value == NULL || t->filter == NULL || (ld_relaxed(&t->filter[index]) & filter_bit(hash)) != 0); /* V11; relaxed: as above */
            for (unsigned k = 0; k < keys; k++)
                debug_assert(!words_are_equal(t, words[k], word)); /* V5 */
            if (keys < sizeof words / sizeof words[0])
                words[keys++] = word;
        }
        uint64_t link = ld_relaxed(&b->tags) >> LINK_SHIFT; /* relaxed: as above */
        debug_assert(b == home || here != 0); /* V7 */
        if (link == 0)
            return;
        b = overflow_at(&t->overflow, link - 1);
    }
}
