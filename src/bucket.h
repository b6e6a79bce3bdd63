/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: a bucket, which is one cache line, and its search. The essay, with its invariants (V1 to V11) and pairs
 * (P1 to P11), is in flat.h.
 *
 *     header   | version (62 bits)                        | MOVED | LOCKED |
 *     tags     | link (28 bits): overflow bucket, 0: none | tag 2 (12) | tag 1 (12) | tag 0 (12) |
 *     word[3]  integers: the hash of the key; else the address of its record; see V5 for what is free
 *     value[3] the value; NULL: the slot is free, or keeps the record of a key that was deleted (KEPT RECORDS)
 */
#ifndef SYNCMAP_BUCKET_H
#define SYNCMAP_BUCKET_H

#include "map.h"

enum { SLOTS = 3 };
enum { BUCKET_LOCKED = 1, BUCKET_MOVED = 2, BUCKET_VERSION = 4 };
enum { TAG_BITS = 12, LINK_SHIFT = SLOTS * TAG_BITS, LINK_BITS = 64 - LINK_SHIFT };
#define TAG_MASK (((uint64_t)1 << TAG_BITS) - 1)
#define TAGS_MASK (((uint64_t)1 << LINK_SHIFT) - 1)

struct bucket {
    alignas(CACHE_LINE) _Atomic uint64_t header;
    _Atomic uint64_t tags;
    _Atomic uint64_t word[SLOTS];
    _Atomic(void *) value[SLOTS];
};
_Static_assert(sizeof(struct bucket) == CACHE_LINE || sizeof(void *) != 8, "a bucket is a cache line");

/* What a key that is no integer has in the map: never changes once it is in a bucket, but for the link, and the hash that it
 * is about to have (RESEEDING). What a search reads comes last, so that it is near the contents of a string or bytes, which
 * follow. */
struct record {
    _Atomic uint64_t age; /* of long walks: see V9 */
    struct reclaim_link retired;
    _Atomic uint64_t hash[2]; /* by the secrets with an even number, and an odd one */
    union {
        size_t len;          /* strings and bytes */
        const void *object;  /* custom keys */
    } key;
};

static inline struct record *word_record(uint64_t word)
{
    return (struct record *)(uintptr_t)word;
}

static inline syncmap_key record_key(const struct key_type *type, const struct record *r)
{
    syncmap_key key;
    if (type->kind == SYNCMAP_CUSTOM)
        return syncmap_obj(r->key.object);
    key.as.u64 = 0;
    key.as.ptr = r + 1;
    key.len = r->key.len | SYNCMAP_KEY_TAG(type->kind);
    return key;
}

/* Whether the record has this string, or these bytes, which are not at NULL. */
static inline bool record_has_text(const struct record *r, syncmap_key key)
{
    size_t len = syncmap_key_len(key);
    return r->key.len == len && memcmp(r + 1, key.as.ptr, len) == 0;
}

static inline uint64_t record_hash(const struct key_type *type, const struct record *r)
{
    return ld_acquire(&r->hash[type->number & 1]); /* P3 */
}

static inline uint64_t word_hash(const struct key_type *type, uint64_t word)
{
    return likely(type->kind == SYNCMAP_U64) ? word : record_hash(type, word_record(word));
}

static inline syncmap_key word_key(const struct key_type *type, uint64_t word)
{
    return type->kind == SYNCMAP_U64 ? syncmap_u64(unhash_u64(word, type->seed)) : record_key(type, word_record(word));
}

static inline uint64_t hash_tag(uint64_t hash)
{
    return hash & TAG_MASK; /* the low bits: buckets go by the high ones */
}

/* ---- the search ---- */

/* Overflow buckets come from arrays of the table's: the first and the second have `first`, each next one twice the one before. */
enum { SEGMENTS = LINK_BITS };
struct overflow {
    uint32_t first;
    _Atomic(struct bucket *) segment[SEGMENTS];
};

static inline struct bucket *overflow_at(const struct overflow *overflow, uint64_t index)
{
    if (likely(index < overflow->first))
        return &ld_acquire(&overflow->segment[0])[index]; /* P7 */
    /* Segment s > 0 has first << (s - 1) buckets, and begins at that very index. */
    unsigned s = 64 - (unsigned)__builtin_clzll(index / overflow->first);
    return &ld_acquire(&overflow->segment[s])[index - ((uint64_t)overflow->first << (s - 1))]; /* P7 */
}

/* Whether no section that changes which keys a chain has was begun since its home's header was `header`, nor was it moved. What
 * was read before was read by acquire, so it is not older than what this finds. */
static ALWAYS_INLINE bool bucket_unchanged(const struct bucket *home, uint64_t header)
{
    uint64_t now = ld_relaxed(&home->header); /* relaxed: P2; see V4 */
    return ((now ^ header) & ~(uint64_t)BUCKET_LOCKED) == 0;
}

/* Whether a bucket has an integer's hash, and in which slot; if it seems to be in two, as the words are not read at one instant, then in one of
 * them (and the caller's second look fails). Without a branch: which slot it is, nobody can predict. */
static ALWAYS_INLINE bool bucket_find_integer(const struct bucket *b, uint64_t hash, unsigned *slot)
{
    bool first = ld_acquire(&b->word[0]) == hash;  /* P3 */
    bool second = ld_acquire(&b->word[1]) == hash; /* P3 */
    bool third = ld_acquire(&b->word[2]) == hash;  /* P3 */
    *slot = 2 * (unsigned)third + (second & !third);
    return (*slot | (unsigned)first) != 0;
}

/* Which slots of a bucket may have the key, which is no integer: the highest bit of each one's tag. (Where a field of `differ` is zero, one less borrows
 * into that bit; so may the field above a zero one, if it is 1: that is one more that is compared in vain.) */
static ALWAYS_INLINE uint64_t bucket_candidates(uint64_t hash, uint64_t tags)
{
    uint64_t lows = 1 | (uint64_t)1 << TAG_BITS | (uint64_t)1 << 2 * TAG_BITS;
    uint64_t differ = tags ^ hash_tag(hash) * lows;
    return (differ - lows) & ~differ & lows << (TAG_BITS - 1);
}

/* The slot of the first candidate. */
static ALWAYS_INLINE unsigned candidate_slot(uint64_t candidates)
{
    return ((unsigned)__builtin_ctzll(candidates) * 3 >> 5) - 1; /* that is, of 11, 23 and 35, / TAG_BITS */
}

/* Whether the slot, whose tag is the key's, has the key, which is no integer. Runs user code for custom keys. (Strings are compared
 * without a look at the hash first: where the tags are the same, they are, too, but once in some thousand times.) */
static inline bool bucket_slot_has(const struct bucket *b, unsigned slot, const struct query *q)
{
    const struct record *r = word_record(ld_acquire(&b->word[slot])); /* P3 */
    if (r == NULL)
        return false;
    bool may_be = q->type->kind != SYNCMAP_CUSTOM || record_hash(q->type, r) == q->hash;
    return may_be && key_is_equal(q->type, record_key(q->type, r), q->key);
}

/* The bucket of a chain, and the slot in it, that has the key; NULL: none has, or the chain has changed since its home's header
 * was `header` (the caller looks). kept: also one that keeps its record; else a slot without a value is passed by, and what it
 * keeps is not looked at. integers: the kind of keys. Both are constants wherever speed counts. */
static ALWAYS_INLINE struct bucket *chain_find(const struct overflow *overflow, struct bucket *home, uint64_t header,
                                        const struct query *q, bool integers, bool kept, unsigned *slot)
{
    for (struct bucket *b = home;;) {
        uint64_t tags = ld_acquire(&b->tags); /* P5 */
        if (integers && bucket_find_integer(b, q->hash, slot))
            return b;
        for (uint64_t hits = integers ? 0 : bucket_candidates(q->hash, tags); hits != 0; hits &= hits - 1) {
            *slot = candidate_slot(hits);
            if ((kept || ld_seq_cst(&b->value[*slot]) != NULL) && bucket_slot_has(b, *slot, q)) /* P4 */
                return b;
        }
        uint64_t link = tags >> LINK_SHIFT;
        if (link == 0 || !bucket_unchanged(home, header)) /* a bucket that was given away may lead anywhere */
            return NULL;
        b = overflow_at(overflow, link - 1);
    }
}

#endif
