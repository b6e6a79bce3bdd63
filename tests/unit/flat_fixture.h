/* SPDX-License-Identifier: MIT
 *
 * White box: a flat map, keys of chosen hashes, and looks into it. The library is in the same unit.
 */
#ifndef SYNCMAP_TEST_FLAT_FIXTURE_H
#define SYNCMAP_TEST_FLAT_FIXTURE_H

#include "syncmap.c"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "support/support.h"

static struct counting counting;

/* ---- an allocator that refuses by size ---- */

static bool (*refuses)(size_t size); /* NULL: nothing, beyond what `counting` does */
static void (*calls_back)(size_t size); /* from every allocation; NULL: nothing */

static void *choosy_alloc(size_t size, void *context)
{
    syncmap_allocator allocator = counting_allocator(context);
    if (calls_back != NULL)
        calls_back(size);
    return refuses != NULL && refuses(size) ? NULL : allocator.alloc(size, context);
}

static void choosy_free(void *memory, size_t size, void *context)
{
    counting_allocator(context).free(memory, size, context);
}

static inline bool refuse_all(size_t size)
{
    (void)size;
    return true;
}

/* What a table of so many buckets asks for. */
static inline size_t table_bytes(uint64_t buckets)
{
    return sizeof(struct flat_table) + (size_t)(buckets + table_first_overflow(buckets)) * sizeof(struct bucket) + filter_size(buckets) + CACHE_LINE;
}

/* Tables only, whatever their size (up to 2^20 buckets); and all but them. */
static inline bool refuse_tables(size_t size)
{
    for (uint64_t buckets = LEAST_BUCKETS; buckets <= (uint64_t)1 << 20; buckets *= 2)
        if (size == table_bytes(buckets))
            return true;
    return false;
}

static inline bool refuse_overflow(size_t size)
{
    return !refuse_tables(size) && size >= 4 * sizeof(struct bucket);
}

/* ---- maps ---- */

struct fixture {
    syncmap *m;
    struct flat *flat;
};

static inline struct fixture make_of(enum syncmap_kind kind, syncmap_options options)
{
    struct fixture f;
    counting_init(&counting);
    refuses = NULL;
    calls_back = NULL;
    options.engine = SYNCMAP_ENGINE_FLAT;
    options.allocator = (syncmap_allocator){.alloc = choosy_alloc, .free = choosy_free, .context = &counting};
    f.m = syncmap_new(kind, &options);
    assert_non_null(f.m);
    if (test_env("SHORTCUTS", 1) == 0) /* else flat.c's operations get only what these leave */
        f.m->quick_write = FLAT_OTHERS;
    f.flat = flat_of(f.m);
    st_relaxed(&root_table(ld_relaxed(&f.flat->root))->era->flood_at, UINT64_MAX); /* suites flood buckets at will; test_flat_reseed.c takes it back */
    return f;
}

static inline struct fixture make_with(enum syncmap_kind kind, size_t capacity, bool owning)
{
    return make_of(kind, (syncmap_options){.capacity = capacity, .value_free = owning ? value_free : NULL});
}

static inline struct fixture make(void)
{
    return make_with(SYNCMAP_U64, 0, false);
}

/* A map with a table of so many buckets, which is not halved unless `least` is made smaller. */
static inline struct fixture make_sized(uint64_t buckets)
{
    struct fixture f = make_with(SYNCMAP_U64, (size_t)buckets_hold(buckets), false);
    assert_int_equal(table_buckets(root_table(ld_relaxed(&f.flat->root))), buckets);
    return f;
}

static inline void allow_halving(struct fixture f)
{
    st_relaxed(&f.flat->least, LEAST_BUCKETS);
}

static inline struct flat_table *root_of(struct fixture f)
{
    return root_table(ld_acquire(&f.flat->root));
}

static inline struct flat_table *next_of(struct fixture f)
{
    return ld_relaxed(&root_of(f)->next);
}

/* A visit that counts, in a uint64_t. */
static inline bool count_visit(syncmap_key key, void *value, void *context)
{
    (void)key;
    (void)value;
    ++*(uint64_t *)context;
    return true;
}

static inline void *number(uintptr_t n)
{
    return (void *)(n << 4);
}

static inline int store(struct fixture f, uint64_t key, uintptr_t value)
{
    return syncmap_store(f.m, syncmap_u64(key), number(value));
}

static inline int load(struct fixture f, uint64_t key)
{
    return syncmap_load(f.m, syncmap_u64(key), NULL);
}

static inline int erase(struct fixture f, uint64_t key)
{
    return syncmap_delete(f.m, syncmap_u64(key));
}

static inline struct query query_of(struct fixture f, syncmap_key key)
{
    struct query q = {0};
    assert_true(query_init(&q, f.m, key));
    return q;
}

/* ---- keys of chosen hashes ---- */

static inline uint64_t key_of_hash(struct fixture f, uint64_t hash)
{
    return unhash_u64(hash, f.flat->map.key.seed);
}

/* The n-th key of a bucket, where the table has so many buckets; in a larger one they are all in one, too. */
static inline uint64_t key_in(struct fixture f, uint64_t buckets, uint64_t bucket, uint64_t n)
{
    unsigned shift = 64 - (unsigned)__builtin_ctzll(buckets);
    return key_of_hash(f, (bucket << shift) + n);
}

/* The same, but spread over its halves, quarters ... when the table grows. */
static inline uint64_t key_spread(struct fixture f, uint64_t buckets, uint64_t bucket, uint64_t n)
{
    unsigned shift = 64 - (unsigned)__builtin_ctzll(buckets);
    return key_of_hash(f, (bucket << shift) + (n * 0x9e3779b97f4a7c15u >> (64 - shift)));
}

/* A custom key with a hash of its own, in a map that has its address for a context. */
struct hashed {
    uint64_t hash;
};

static struct fixture hashed_map;

static inline uint64_t hashed_hash(const void *key, uint64_t seed, void *context)
{
    (void)seed;
    (void)context;
    return key_of_hash(hashed_map, ((const struct hashed *)key)->hash);
}

static inline bool hashed_equal(const void *a, const void *b, void *context)
{
    (void)context;
    return a == b;
}

static inline struct fixture make_hashed(size_t capacity, bool owning)
{
    hashed_map = make_of(SYNCMAP_CUSTOM, (syncmap_options){.capacity = capacity, .value_free = owning ? value_free : NULL,
                                                           .key = {.hash = hashed_hash, .equal = hashed_equal}});
    return hashed_map;
}

/* ---- looks ---- */

static inline struct bucket *home_of(struct flat_table *t, uint64_t index)
{
    return table_home(t, 0, index);
}

static inline uint64_t header_of(struct flat_table *t, uint64_t index)
{
    return ld_relaxed(&home_of(t, index)->header);
}

static inline bool is_moved(struct flat_table *t, uint64_t index)
{
    return (header_of(t, index) & BUCKET_MOVED) != 0;
}

/* What a shortcut returns that finds no key in the home bucket of this hash, and cannot tell: unless the filter can. */
static inline int cannot_tell(struct fixture f, uint64_t hash)
{
    struct flat_table *t = root_of(f);
    return t->type == &f.m->key && filter_denies(t, t->shift, hash) ? 0 : -1;
}

/* The buckets of a chain behind the first. */
static inline uint64_t overflow_of(struct flat_table *t, uint64_t index)
{
    return chain_overflow(t, home_of(t, index), header_of(t, index));
}

/* Bucket number `position` of a chain. */
static inline struct bucket *chain_at(struct flat_table *t, uint64_t index, uint64_t position)
{
    struct bucket *b = home_of(t, index);
    for (; position > 0; position--)
        b = overflow_at(&t->overflow, (ld_relaxed(&b->tags) >> LINK_SHIFT) - 1);
    return b;
}

static inline uint64_t keys_in_chain(struct flat_table *t, uint64_t index)
{
    uint64_t keys = 0;
    for (uint64_t position = 0; position <= overflow_of(t, index); position++)
        for (unsigned i = 0; i < SLOTS; i++)
            keys += ld_relaxed(&chain_at(t, index, position)->value[i]) != NULL;
    return keys;
}

/* Whether the memory of a bucket of next was made, and is anybody's (V1). */
static inline bool is_made(struct flat_table *t, struct flat_table *next, uint64_t index)
{
    return t->type != next->type || is_moved(t, bucket_across(next, t, index));
}

/* How many overflow buckets are spare; each is at most once on the stack. */
static inline uint64_t spare_in(struct flat_table *t)
{
    uint64_t count = 0, number = ld_relaxed(&t->spare) & SPARE_NUMBER;
    for (; number != 0; count++, number = ld_relaxed(&overflow_at(&t->overflow, number - 1)->tags) & SPARE_NUMBER)
        assert_true(count <= ld_relaxed(&t->fresh));
    return count;
}

/* Checks the buckets of one table that are anybody's, and its overflow buckets: each is in a chain or spare. Returns how many
 * keys it has. `before`: as in bucket_is_owned(). */
static inline uint64_t check_table(struct fixture f, struct flat_table *t, struct flat_table *before)
{
    uint64_t keys = 0, linked = 0;
    for (uint64_t i = 0; i < table_buckets(t); i++) {
        if (before != NULL && !is_made(before, t, i))
            continue;
        assert_int_equal(header_of(t, i) & BUCKET_LOCKED, 0);
        linked += overflow_of(t, i);
        if (is_moved(t, i)) {
            assert_true(t->filter == NULL || ld_relaxed(&t->filter[i]) == FILTER_ALL); /* V11 */
            continue;
        }
        flat_check(f.flat, t, home_of(t, i));
        keys += keys_in_chain(t, i);
    }
    assert_int_equal(ld_relaxed(&t->used), linked);
    assert_int_equal(spare_in(t) + linked, ld_relaxed(&t->fresh));
    return keys;
}

/* Checks the whole map: V1 (with the loads of its keys: each is somewhere, and nothing is anywhere else), V5, V7, V11, and that no
 * overflow bucket is lost. Nothing is in flight. */
static inline void check_map(struct fixture f, uint64_t keys)
{
    struct flat_table *t = root_of(f), *next = next_of(f);
    uint64_t found = check_table(f, t, NULL);
    if (next != NULL)
        found += check_table(f, next, t);
    assert_int_equal(found, keys);
    assert_int_equal(syncmap_len(f.m), keys);
}

/* How many buckets, of those that are somebody's, have the key. */
static inline unsigned copies_of(struct fixture f, syncmap_key key)
{
    struct query q = query_of(f, key);
    unsigned slot, copies = 0;
    for (struct flat_table *t = root_of(f), *before = NULL; t != NULL; before = t, t = ld_relaxed(&t->next)) {
        query_fit(&q, t, q.type->kind == SYNCMAP_U64);
        uint64_t index = q.hash >> t->shift;
        if ((before != NULL && !is_made(before, t, index)) || is_moved(t, index))
            continue;
        struct bucket *home = home_of(t, index);
        copies += chain_find(&t->overflow, home, header_of(t, index), &q, q.type->kind == SYNCMAP_U64, false, &slot) != NULL;
    }
    return copies;
}

/* ---- strings of a chosen bucket ---- */

struct text {
    char chars[48];
    uint64_t hash;
};

/* The next string after number *n that belongs to a bucket of the root, by the first secrets; tag: and has this tag. */
static inline struct text text_in(struct fixture f, uint64_t bucket, const char *begin, uint64_t *n, const uint64_t *tag)
{
    for (struct text text;;) {
        snprintf(text.chars, sizeof text.chars, "%.20s%llu", begin, (unsigned long long)++*n);
        text.hash = hash_bytes(text.chars, strlen(text.chars), f.m->key.secret);
        if (text.hash >> root_of(f)->shift == bucket && (tag == NULL || hash_tag(text.hash) == *tag))
            return text;
    }
}

/* ---- moving by hand ---- */

/* Moves a chunk, as a writer would. */
static inline void move_chunk(struct fixture f)
{
    struct thread *pin = pin_enter(true);
    flat_help(f.flat);
    pin_leave(pin);
}

static inline void move_all(struct fixture f)
{
    struct flat_table *t = root_of(f);
    for (int i = 0; root_of(f) == t && next_of(f) != NULL; i++) {
        assert_true(i < 1000000);
        move_chunk(f);
    }
}

/* Gives the root a next of so many buckets: half as many, or up to TARGETS times. */
static inline void begin_move(struct fixture f, uint64_t buckets)
{
    assert_true(2 * buckets >= table_buckets(root_of(f)) && buckets <= TARGETS * table_buckets(root_of(f)));
    struct thread *pin = pin_enter(true);
    assert_int_equal(flat_resize(f.flat, root_of(f), buckets, root_of(f)->type), RESIZE_BEGUN);
    pin_leave(pin);
    assert_non_null(next_of(f));
    assert_int_equal(table_buckets(next_of(f)), buckets);
}

#endif
