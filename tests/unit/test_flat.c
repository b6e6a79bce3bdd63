/* SPDX-License-Identifier: MIT
 *
 * White box: flat's buckets and chains, seen from inside; when a table grows and shrinks, and how it is moved.
 */
#include "unit/flat_fixture.h"

/* ---- hashes ---- */

static void check_hash(uint64_t x, const uint64_t seed[2])
{
    assert_int_equal(unhash_u64(hash_u64(x, seed), seed), x);
    assert_int_equal(hash_u64(unhash_u64(x, seed), seed), x);
}

static void hash_and_unhash_are_inverse(void **state)
{
    (void)state;
    struct rng rng = rng_make(test_seed(), 1);
    for (int i = 0; i < 1000; i++) {
        uint64_t seed[2] = {rng_next(&rng), rng_next(&rng)};
        seed[0] &= -(uint64_t)(i != 1); /* some plain ones */
        seed[1] &= -(uint64_t)(i > 2);
        check_hash(0, seed);
        check_hash(UINT64_MAX, seed);
        for (int bit = 0; bit < 64; bit++) {
            check_hash((uint64_t)1 << bit, seed);
            check_hash(UINT64_MAX << bit, seed);
            check_hash(rng_next(&rng), seed);
        }
    }
}

/* ---- free slots (V5) ---- */

/* The key whose hash is the word of free slots, in whatever bucket it is, is absent until it is stored. */
static void check_absent_then_store(struct fixture f, uint64_t hash)
{
    uint64_t key = key_of_hash(f, hash);
    void *out = number(9);
    size_t len = syncmap_len(f.m);
    assert_int_equal(load(f, key), 0);
    assert_int_equal(erase(f, key), 0);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(key), NULL, number(1)), 0);
    assert_int_equal(syncmap_compare_and_delete(f.m, syncmap_u64(key), NULL), 0);
    assert_int_equal(syncmap_swap(f.m, syncmap_u64(key), number(1), &out), 0);
    assert_null(out);
    check_map(f, len + 1);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(key), number(2), &out), 1);
    assert_ptr_equal(out, number(1));
    assert_int_equal(erase(f, key), 1);
    assert_int_equal(load(f, key), 0);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(key), number(3), &out), 0); /* the slot's word is free again */
    assert_int_equal(erase(f, key), 1);
    check_map(f, len);
}

static void free_slots_have_no_key_of_their_bucket(void **state)
{
    (void)state;
    for (uint64_t buckets = LEAST_BUCKETS; buckets <= 64; buckets *= 4) {
        struct fixture f = make_sized(buckets);
        for (uint64_t i = 0; i < buckets; i++) {
            for (unsigned slot = 0; slot < SLOTS; slot++) {
                uint64_t word = ld_relaxed(&home_of(root_of(f), i)->word[slot]);
                assert_int_equal(word >> root_of(f)->shift, i ^ 1);
                check_absent_then_store(f, word);
            }
            check_absent_then_store(f, i << root_of(f)->shift); /* the first and the last hash of the bucket: 0, and 2^64 - 1 */
            check_absent_then_store(f, (i << root_of(f)->shift) + (((uint64_t)1 << root_of(f)->shift) - 1));
        }
        finish_map(f.m, &counting);
    }
}

/* The key whose hash is 0 in bucket 0, in a chain, among others that come and go, and while the table is moved. */
static void key_of_hash_zero(void **state)
{
    (void)state;
    struct fixture f = make_sized(64);
    uint64_t zero = key_of_hash(f, 0);
    assert_int_equal(hash_u64(zero, f.flat->map.key.seed), 0);
    for (uint64_t n = 1; n <= 10; n++) { /* four buckets, some slots are free */
        assert_int_equal(store(f, key_in(f, 64, 0, n), n), 0);
        check_absent_then_store(f, 0);
        if (n % 2 == 0)
            assert_int_equal(erase(f, key_in(f, 64, 0, n - 1)), 1);
        check_absent_then_store(f, 0);
        check_absent_then_store(f, (uint64_t)1 << root_of(f)->shift);
    }
    for (int with = 0; with < 2; with++) {
        static const uint64_t sizes[] = {128, 64, 1024, 512, 256, 128, 64};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            if (with)
                assert_int_equal(store(f, zero, 7), 0);
            begin_move(f, sizes[i]);
            while (next_of(f) != NULL) {
                assert_int_equal(load(f, zero), with);
                assert_int_equal(copies_of(f, syncmap_u64(zero)), with);
                move_chunk(f);
            }
            if (with)
                assert_int_equal(erase(f, zero), 1);
            check_absent_then_store(f, 0);
            check_absent_then_store(f, (uint64_t)1 << root_of(f)->shift);
        }
    }
    finish_map(f.m, &counting);
}

/* Records: the word of a free slot is 0, and a record with hash 0 is one like any other. */
static void record_of_hash_zero(void **state)
{
    (void)state;
    static const struct hashed zeros[8];
    static const struct hashed other = {(uint64_t)1 << 62};
    struct fixture f = make_hashed(0, false);
    for (uint64_t i = 0; i < LEAST_BUCKETS; i++)
        for (unsigned slot = 0; slot < SLOTS; slot++)
            assert_int_equal(ld_relaxed(&home_of(root_of(f), i)->word[slot]), 0);
    assert_int_equal(query_of(f, syncmap_obj(&zeros[0])).hash, 0);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(syncmap_load(f.m, syncmap_obj(&zeros[i]), NULL), 0);
        assert_int_equal(syncmap_store(f.m, syncmap_obj(&zeros[i]), number(i)), 0);
        assert_int_equal(syncmap_load(f.m, syncmap_obj(&other), NULL), 0);
        move_all(f);
        check_map(f, i + 1);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(syncmap_delete(f.m, syncmap_obj(&zeros[i])), 1);
        assert_int_equal(syncmap_load(f.m, syncmap_obj(&zeros[i]), NULL), 0);
        move_all(f);
        check_map(f, 7 - i);
    }
    finish_map(f.m, &counting);
}

/* ---- chains ---- */

static uint64_t version_of(struct flat_table *t, uint64_t index)
{
    return header_of(t, index) / BUCKET_VERSION;
}

/* Which sections take a new version (V3). */
static void versions_tell_of_change(void **state)
{
    (void)state;
    struct fixture f = make_sized(64);
    struct flat_table *t = root_of(f);
    uint64_t key = key_in(f, 64, 5, 0), before = version_of(t, 5);
    assert_int_equal(load(f, key), 0);
    assert_int_equal(erase(f, key), 0);
    assert_int_equal(version_of(t, 5), before);
    assert_int_equal(store(f, key, 1), 0);
    assert_int_equal(version_of(t, 5), before + 1);
    assert_int_equal(store(f, key, 2), 1);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(key), number(3), NULL), 1);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(key), number(2), number(3)), 1);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(key), number(2), number(3)), 0);
    assert_int_equal(syncmap_compare_and_delete(f.m, syncmap_u64(key), number(2)), 0);
    assert_int_equal(version_of(t, 5), before + 1);
    assert_int_equal(syncmap_compare_and_delete(f.m, syncmap_u64(key), number(3)), 1);
    assert_int_equal(version_of(t, 5), before + 2);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(key), number(3), NULL), 0);
    assert_int_equal(erase(f, key), 1);
    assert_int_equal(version_of(t, 5), before + 4);
    finish_map(f.m, &counting);
}

/* What was found without the lock does not stand if the chain has changed; if only a value was replaced, it does. */
static void a_spot_stands_or_not(void **state)
{
    (void)state;
    struct fixture f = make_sized(64);
    uint64_t key = key_in(f, 64, 5, 0);
    struct query q = query_of(f, syncmap_u64(key));
    struct spot s;
    spot_find_again(f.flat, &q, &s);
    assert_null(s.in);
    assert_int_equal(store(f, key, 1), 0); /* as another thread, in between */
    assert_false(spot_lock(&s, BUCKET_VERSION));
    assert_int_equal(ld_relaxed(&thread_attach()->section), 0);
    spot_find_again(f.flat, &q, &s);
    assert_non_null(s.in);
    assert_int_equal(store(f, key, 2), 1);
    assert_ptr_equal(spot_value(&s), number(2));
    assert_true(spot_lock(&s, 0));
    assert_int_equal(ld_relaxed(&thread_attach()->section), 1);
    assert_int_equal(load(f, key), 1); /* no load waits for a lock */
    assert_ptr_equal(spot_replace(&s, number(3)), number(2));
    spot_unlock(f.flat, &s);
    assert_int_equal(ld_relaxed(&thread_attach()->section), 0);
    spot_find_again(f.flat, &q, &s);
    assert_int_equal(erase(f, key), 1);
    assert_int_equal(store(f, key, 4), 0); /* it has come back, to the same slot */
    assert_null(spot_value(&s));
    assert_false(spot_lock(&s, 0));
    spot_find_again(f.flat, &q, &s);
    begin_move(f, 128);
    move_all(f);
    assert_null(spot_value(&s)); /* MOVED */
    assert_false(spot_lock(&s, 0));
    spot_find_again(f.flat, &q, &s);
    assert_ptr_equal(s.t, root_of(f));
    finish_map(f.m, &counting);
}

/* Who only replaces values moves a chunk with each of them, by whichever function. */
static void replacing_moves_the_table(void **state)
{
    (void)state;
    enum { BUCKETS = 1024 };
    for (int how = 0; how < 3; how++) {
        struct fixture f = make_sized(BUCKETS);
        for (uint64_t n = 0; n < 100; n++)
            assert_int_equal(store(f, n, n), 0);
        begin_move(f, 2 * BUCKETS);
        struct flat_table *next = next_of(f);
        for (uint64_t n = 0; n < BUCKETS / CHUNK; n++) {
            void *old;
            assert_ptr_not_equal(root_of(f), next);
            if (how == 0)
                assert_int_equal(store(f, n % 100, n), 1);
            else if (how == 1)
                assert_int_equal(syncmap_swap(f.m, syncmap_u64(n % 100), number(n), &old), 1);
            else
                assert_true(syncmap_compare_and_swap(f.m, syncmap_u64(n % 100), number(n), number(n + 1)) >= 0);
        }
        assert_ptr_equal(root_of(f), next);
        check_map(f, 100);
        finish_map(f.m, &counting);
    }
}

/* Three keys a bucket: a chain grows by one bucket for each three keys, is shortened by one where a bucket is empty (V7), wherever
 * that is, and takes what it gave back again. */
static void chains_grow_and_shrink(void **state)
{
    (void)state;
    enum { KEYS = 24 };
    struct fixture f = make_sized(64);
    struct flat_table *t = root_of(f);
    for (uint64_t n = 0; n < KEYS; n++) {
        assert_int_equal(store(f, key_in(f, 64, 3, n), n), 0);
        assert_int_equal(overflow_of(t, 3), n / SLOTS);
        check_map(f, n + 1);
    }
    assert_int_equal(ld_relaxed(&t->fresh), KEYS / SLOTS - 1);
    struct bucket *middle = chain_at(t, 3, 4);
    for (uint64_t n = 12; n < 15; n++) { /* it has exactly these */
        uint64_t before = version_of(t, 3);
        assert_ptr_equal(chain_at(t, 3, 4), middle);
        assert_int_equal(erase(f, key_in(f, 64, 3, n)), 1);
        assert_int_equal(version_of(t, 3), before + (n == 14 ? 2 : 1)); /* one more for the bucket that goes */
        check_map(f, KEYS - (n - 12) - 1);
    }
    assert_int_equal(overflow_of(t, 3), KEYS / SLOTS - 2);
    assert_ptr_not_equal(chain_at(t, 3, 4), middle);
    assert_int_equal(spare_in(t), 1);
    assert_ptr_equal(overflow_at(&t->overflow, (ld_relaxed(&t->spare) & SPARE_NUMBER) - 1), middle);
    for (uint64_t n = 0; n < 4; n++) /* another bucket has it now */
        assert_int_equal(store(f, key_in(f, 64, 60, n), n), 0);
    assert_ptr_equal(chain_at(t, 60, 1), middle);
    assert_int_equal(spare_in(t), 0);
    assert_int_equal(ld_relaxed(&t->fresh), KEYS / SLOTS - 1);
    for (uint64_t n = 0; n < 3; n++) { /* the home bucket is never given back, and filled first */
        assert_int_equal(erase(f, key_in(f, 64, 3, n)), 1);
        assert_int_equal(overflow_of(t, 3), KEYS / SLOTS - 2);
    }
    assert_int_equal(store(f, key_in(f, 64, 3, 100), 1), 0);
    assert_ptr_not_equal(ld_relaxed(&home_of(t, 3)->value[0]), NULL);
    assert_int_equal(store(f, key_in(f, 64, 3, 100), 2), 1);
    check_map(f, KEYS - 3 + 4 - 3 + 1);
    finish_map(f.m, &counting);
}

/* The shortcut of loads: a key of the home bucket, one that only the rest of the chain can have, and one of a bucket that was moved. */
static void loads_of_a_chain(void **state)
{
    (void)state;
    enum { KEYS = 12 };
    struct fixture f = make_sized(64);
    for (uint64_t n = 0; n < KEYS; n++)
        assert_int_equal(store(f, key_in(f, 64, 3, n), n + 1), 0);
    for (int moved = 0; moved < 3; moved++) {
        for (uint64_t n = 0; n <= KEYS; n++) {
            syncmap_key key = syncmap_u64(key_in(f, 64, 3, n));
            void *out = NULL;
            bool present = false;
            int expected = moved == 1 || n >= SLOTS ? cannot_tell(f, hash_u64(key.as.u64, f.m->key.seed)) : 1;
            if (moved < 2)
                assert_int_equal(flat_load_integer(f.flat, hash_u64(key.as.u64, f.m->key.seed), true, &out), expected);
            assert_int_equal(syncmap_load(f.m, key, &out), n < KEYS);
            assert_ptr_equal(out, n < KEYS ? number(n + 1) : NULL);
            assert_int_equal(syncmap_load_many(f.m, 1, &key, &out, &present), n < KEYS);
            assert_int_equal(present, n < KEYS);
            assert_ptr_equal(out, n < KEYS ? number(n + 1) : NULL);
        }
        assert_int_equal(flat_load_integer(f.flat, hash_u64(key_in(f, 64, 40, 0), f.m->key.seed), true, &(void *){NULL}), moved == 1 ? -1 : 0);
        assert_int_equal(syncmap_load_and_delete(f.m, syncmap_u64(key_in(f, 64, 3, KEYS)), NULL), 0);
        if (moved == 0) {
            begin_move(f, 128);
            while (!is_moved(root_of(f), 3) || !is_moved(root_of(f), 40)) {
                assert_non_null(next_of(f)); /* else the move is over, and shows nothing */
                move_chunk(f);
            }
        } else {
            move_all(f);
        }
    }
    for (uint64_t n = 0; n < KEYS; n++)
        assert_int_equal(erase(f, key_in(f, 64, 3, n)), 1);
    check_map(f, 0);
    finish_map(f.m, &counting);
}

/* Searches of a bucket whose lock is not given back: each waits for a moment, makes the heavy fence, and goes on. */
static void searches_do_not_wait_for_a_lock(void **state)
{
    (void)state;
    enum { KEYS = 5 };
    struct fixture f = make_sized(64);
    struct bucket *home = home_of(root_of(f), 3);
    for (uint64_t n = 0; n < KEYS; n++)
        assert_int_equal(store(f, key_in(f, 64, 3, n), n + 1), 0);
    uint64_t header = header_of(root_of(f), 3);
    st_relaxed(&home->header, header | BUCKET_LOCKED);
    for (uint64_t n = 0; n <= KEYS; n++) { /* the last is absent, and has the first one's bit in a filter */
        syncmap_key key = syncmap_u64(key_in(f, 64, 3, n < KEYS ? n : 16));
        void *out = NULL;
        bool present = false;
        unsigned long before = ld_relaxed(&debug_counts.impatient);
        assert_int_equal(flat_load_integer(f.flat, hash_u64(key.as.u64, f.m->key.seed), true, &out), -1);
        assert_int_equal(syncmap_load(f.m, key, &out), n < KEYS);
        assert_ptr_equal(out, n < KEYS ? number(n + 1) : NULL);
        assert_int_equal(ld_relaxed(&debug_counts.impatient), before + 1);
        assert_int_equal(syncmap_load_many(f.m, 1, &key, &out, &present), n < KEYS);
        assert_ptr_equal(out, n < KEYS ? number(n + 1) : NULL);
        assert_int_equal(present, n < KEYS);
        assert_int_equal(ld_relaxed(&debug_counts.impatient), before + 2);
    }
    uint64_t visited = 0;
    unsigned long before = ld_relaxed(&debug_counts.impatient);
    assert_int_equal(syncmap_range(f.m, count_visit, &visited), 1);
    assert_int_equal(visited, KEYS);
    assert_int_equal(ld_relaxed(&debug_counts.impatient), before + 1);
    st_relaxed(&home->header, header);
    visited = 0;
    assert_int_equal(syncmap_range(f.m, count_visit, &visited), 1);
    assert_int_equal(load(f, key_in(f, 64, 3, 0)), 1);
    assert_int_equal(ld_relaxed(&debug_counts.impatient), before + 1);
    finish_map(f.m, &counting);
}

/* Keys of one chain deleted in a random order, several times: all that was taken is used again before anything fresh is. */
static void what_is_given_back_is_used_again(void **state)
{
    (void)state;
    enum { KEYS = 120, BUCKETS = 512 };
    struct fixture f = make_sized(BUCKETS);
    struct flat_table *t = root_of(f);
    struct rng rng = rng_make(test_seed(), 2);
    uint64_t order[KEYS];
    for (uint64_t n = 0; n < KEYS; n++)
        order[n] = n;
    for (int round = 0; round < 6; round++) {
        for (uint64_t n = KEYS - 1; n > 0; n--) {
            uint64_t other = rng_below(&rng, n + 1), swap = order[n];
            order[n] = order[other];
            order[other] = swap;
        }
        for (uint64_t n = 0; n < KEYS; n++)
            assert_int_equal(store(f, key_in(f, BUCKETS, (uint64_t)round, n), n), 0);
        for (uint64_t n = 0; n < KEYS; n++) {
            assert_int_equal(erase(f, key_in(f, BUCKETS, (uint64_t)round, order[n])), 1);
            check_map(f, KEYS - n - 1);
            for (uint64_t k = 0; k < KEYS; k++)
                assert_int_equal(load(f, key_in(f, BUCKETS, (uint64_t)round, order[k])), k > n);
        }
        assert_int_equal(overflow_of(t, (uint64_t)round), 0);
        assert_int_equal(ld_relaxed(&t->fresh), KEYS / SLOTS - 1);
    }
    assert_ptr_equal(root_of(f), t);
    finish_map(f.m, &counting);
}

/* Who is in a bucket that was given away finds the version changed, and looks again (V7). Played by hand: the two looks of a search. */
static void given_away_under_a_search(void **state)
{
    (void)state;
    struct fixture f = make_sized(64);
    struct flat_table *t = root_of(f);
    for (uint64_t n = 0; n < 4; n++)
        assert_int_equal(store(f, key_in(f, 64, 3, n), n), 0);
    uint64_t header = header_of(t, 3);
    struct bucket *last = chain_at(t, 3, 1);
    assert_true(bucket_unchanged(home_of(t, 3), header));
    assert_int_equal(erase(f, key_in(f, 64, 3, 3)), 1);
    for (uint64_t n = 0; n < 4; n++)
        assert_int_equal(store(f, key_in(f, 64, 9, n), n), 0);
    assert_ptr_equal(chain_at(t, 9, 1), last);
    assert_false(bucket_unchanged(home_of(t, 3), header));
    struct query q = query_of(f, syncmap_u64(key_in(f, 64, 3, 3)));
    unsigned slot;
    assert_null(chain_find(&t->overflow, home_of(t, 3), header, &q, true, false, &slot));
    finish_map(f.m, &counting);
}

/* A bucket of a table that was full of other things: an overflow bucket is made anew each time it is linked. */
static void reused_overflow_has_no_old_keys(void **state)
{
    (void)state;
    struct fixture f = make_sized(64);
    for (uint64_t n = 0; n < 6; n++)
        assert_int_equal(store(f, key_in(f, 64, 3, n), n), 0);
    for (uint64_t n = 0; n < 6; n++)
        assert_int_equal(erase(f, key_in(f, 64, 3, n)), 1);
    for (uint64_t n = 0; n < 4; n++)
        assert_int_equal(store(f, key_in(f, 64, 2, n), n), 0); /* its foreign word is a key of bucket 3 */
    for (unsigned i = 1; i < SLOTS; i++)
        assert_int_equal(ld_relaxed(&chain_at(root_of(f), 2, 1)->word[i]) >> root_of(f)->shift, 3);
    check_map(f, 4);
    finish_map(f.m, &counting);
}

/* ---- overflow buckets by number ---- */

/* Every overflow bucket has a place of its own, through all the borders of the segments. */
static void overflow_segments(void **state)
{
    (void)state;
    struct fixture f = make();
    struct flat_table *t = root_of(f);
    uint64_t first = t->overflow.first, count = 33 * first;
    assert_int_equal(first, table_first_overflow(LEAST_BUCKETS));
    for (uint64_t index = 0; index < count; index++) {
        assert_int_equal(overflow_take(f.flat, t), index + 1);
        st_relaxed(&overflow_at(&t->overflow, index)->word[1], index + 1000);
    }
    for (uint64_t index = 0; index < count; index++) {
        struct bucket *b = overflow_at(&t->overflow, index);
        assert_int_equal(ld_relaxed(&b->word[1]), index + 1000);
        assert_int_equal((uintptr_t)b % alignof(max_align_t), 0);
    }
    char *behind = (char *)home_of(t, LEAST_BUCKETS) + filter_size(LEAST_BUCKETS); /* the buckets, and the filter, if there is one */
    assert_ptr_equal(overflow_at(&t->overflow, 0), behind);
    for (unsigned s = 1; s <= 6; s++) { /* 0: first; 1: first; 2: 2 first; 3: 4 first ... */
        struct bucket *segment = ld_relaxed(&t->overflow.segment[s]);
        uint64_t begin = first << (s - 1), size = begin;
        assert_int_equal(segment != NULL, begin < count);
        if (segment == NULL)
            continue;
        assert_ptr_equal(overflow_at(&t->overflow, begin), segment);
        if (begin + size <= count)
            assert_ptr_equal(overflow_at(&t->overflow, begin + size - 1), segment + size - 1);
    }
    assert_int_equal(ld_relaxed(&t->used), count);
    for (uint64_t index = 0; index < count; index++)
        overflow_give_back(t, index + 1);
    overflow_give_back(t, 0); /* none */
    assert_int_equal(spare_in(t), count);
    for (uint64_t index = count; index > 0; index--) /* a stack */
        assert_int_equal(overflow_take(f.flat, t), index);
    for (uint64_t index = 0; index < count; index++)
        overflow_give_back(t, index + 1);
    check_map(f, 0);
    finish_map(f.m, &counting);
}

/* A number that went and came back is told by the count of changes above it. */
static void spare_numbers_are_counted(void **state)
{
    (void)state;
    struct fixture f = make();
    struct flat_table *t = root_of(f);
    uint64_t a = overflow_take(f.flat, t), b = overflow_take(f.flat, t);
    overflow_give_back(t, b);
    overflow_give_back(t, a);
    uint64_t top = ld_relaxed(&t->spare);
    assert_int_equal(overflow_take(f.flat, t), a);
    assert_int_equal(overflow_take(f.flat, t), b);
    overflow_give_back(t, a);
    assert_int_equal(ld_relaxed(&t->spare) & SPARE_NUMBER, top & SPARE_NUMBER);
    assert_int_not_equal(ld_relaxed(&t->spare), top);
    overflow_give_back(t, b);
    finish_map(f.m, &counting);
}

/* No more than a link can say; and no segment is asked for behind that. */
static void overflow_numbers_end(void **state)
{
    (void)state;
    struct fixture f = make();
    struct flat_table *t = root_of(f);
    uint64_t end = ((uint64_t)1 << LINK_BITS) - 1;
    long long calls = atomic_load(&counting.calls);
    st_relaxed(&t->fresh, end);
    assert_int_equal(overflow_take(f.flat, t), 0);
    assert_int_equal(atomic_load(&counting.calls), calls);
    for (uint64_t n = 0; n <= SLOTS; n++) { /* the chain cannot be longer: the store fails, and nothing else does */
        int result = n == SLOTS ? SYNCMAP_ENOMEM : 0;
        assert_int_equal(store(f, key_in(f, LEAST_BUCKETS, 1, n), n), result);
        assert_int_equal(store(f, key_in(f, LEAST_BUCKETS, 2, n), n), result);
    }
    assert_int_equal(syncmap_len(f.m), 2 * SLOTS);
    st_relaxed(&t->fresh, 0);
    assert_int_equal(store(f, key_in(f, LEAST_BUCKETS, 1, SLOTS), 1), 0);
    check_map(f, 2 * SLOTS + 1);
    finish_map(f.m, &counting);
}

/* Tables that no memory has room for, or whose overflow buckets no link could name. */
static void too_large_is_refused(void **state)
{
    (void)state;
    struct fixture f = make();
    assert_null(flat_table_new(f.flat, (uint64_t)1 << 62, root_of(f)->era, root_of(f)->type));
    assert_null(flat_table_new(f.flat, (uint64_t)1 << 30, root_of(f)->era, root_of(f)->type));
    assert_int_equal(buckets_for(SIZE_MAX), 0);
    assert_int_equal(buckets_for(0), LEAST_BUCKETS);
    for (uint64_t buckets = LEAST_BUCKETS; buckets <= (uint64_t)1 << 40; buckets *= 2) {
        assert_int_equal(buckets_for((size_t)buckets_hold(buckets)), buckets);
        assert_int_equal(buckets_for((size_t)buckets_hold(buckets) + 1), 2 * buckets);
    }
    assert_int_equal(syncmap_reserve(f.m, SIZE_MAX), SYNCMAP_ENOMEM);
    assert_int_equal(table_buckets(root_of(f)), LEAST_BUCKETS);
    check_map(f, 0);
    finish_map(f.m, &counting);
}

/* ---- when a table grows, and shrinks ---- */

/* Fills all slots of the first buckets with SLOTS keys each. */
static uint64_t fill_homes(struct fixture f, uint64_t buckets, uint64_t filled)
{
    for (uint64_t i = 0; i < filled; i++)
        for (uint64_t n = 0; n < SLOTS; n++)
            assert_int_equal(store(f, key_spread(f, buckets, i, n), n), 0);
    assert_null(next_of(f));
    return filled * SLOTS;
}

static void grows_at_a_quarter_overflow(void **state)
{
    (void)state;
    for (uint64_t buckets = LEAST_BUCKETS; buckets <= 256; buckets *= 2) {
        struct fixture f = make_sized(buckets);
        uint64_t keys = fill_homes(f, buckets, buckets / 2), growths = debug_counts.growths;
        assert_true(keys >= buckets); /* so a key a bucket */
        assert_int_equal(ld_relaxed(&root_of(f)->full), buckets / 4);
        for (uint64_t i = 0; i < buckets / 4; i++) {
            assert_int_equal(store(f, key_spread(f, buckets, i, SLOTS), 1), 0);
            assert_null(next_of(f));
            check_map(f, ++keys);
        }
        assert_int_equal(ld_relaxed(&root_of(f)->used), buckets / 4);
        assert_int_equal(store(f, key_spread(f, buckets, buckets / 4, SLOTS), 1), 0);
        assert_non_null(next_of(f));
        assert_int_equal(table_buckets(next_of(f)), 2 * buckets);
        assert_int_equal(debug_counts.growths, growths + 1);
        check_map(f, ++keys);
        move_all(f);
        assert_int_equal(table_buckets(root_of(f)), 2 * buckets);
        check_map(f, keys);
        finish_map(f.m, &counting);
    }
}

/* A few buckets that are flooded do not make it grow, until it has a key a bucket. */
static void a_flood_is_no_reason_to_grow(void **state)
{
    (void)state;
    enum { BUCKETS = 256 };
    struct fixture f = make_sized(BUCKETS);
    int64_t full = ld_relaxed(&root_of(f)->full);
    for (uint64_t n = 0; n < BUCKETS - 1; n++) {
        assert_int_equal(store(f, key_in(f, BUCKETS, 7, n), n), 0);
        assert_null(next_of(f));
    }
    assert_int_equal(overflow_of(root_of(f), 7), (BUCKETS - 1) / SLOTS - 1);
    assert_true(ld_relaxed(&root_of(f)->full) > full); /* it was looked at, */
    assert_true(ld_relaxed(&root_of(f)->full) < ld_relaxed(&root_of(f)->used) * 5 / 4); /* and will be, some keys later */
    for (uint64_t n = BUCKETS - 1; n < 2 * BUCKETS && next_of(f) == NULL; n++)
        assert_int_equal(store(f, key_in(f, BUCKETS, 7, n), n), 0);
    assert_non_null(next_of(f));
    check_map(f, syncmap_len(f.m));
    finish_map(f.m, &counting);
}

static void shrinks_at_five_eighths(void **state)
{
    (void)state;
    for (uint64_t buckets = 2 * LEAST_BUCKETS; buckets <= 64; buckets *= 2) { /* from 128 on not every delete looks */
        struct fixture f = make_sized(buckets);
        allow_halving(f);
        uint64_t keys = 0, least = buckets / 8 * 5;
        for (uint64_t i = 0; i < buckets; i++, keys++)
            assert_int_equal(store(f, key_in(f, buckets, i, 0), 1), 0);
        while (keys > least) {
            assert_int_equal(erase(f, key_in(f, buckets, --keys, 0)), 1);
            assert_null(next_of(f));
        }
        assert_int_equal(erase(f, key_in(f, buckets, --keys, 0)), 1);
        assert_non_null(next_of(f));
        assert_int_equal(table_buckets(next_of(f)), buckets / 2);
        check_map(f, keys);
        move_all(f);
        assert_int_equal(table_buckets(root_of(f)), buckets / 2);
        check_map(f, keys);
        for (uint64_t i = 0; i < buckets; i++)
            assert_int_equal(load(f, key_in(f, buckets, i, 0)), i < keys);
        finish_map(f.m, &counting);
    }
}

/* A large one looks a few times only, and is halved in time all the same, down to the smallest. */
static void shrinks_to_the_least(void **state)
{
    (void)state;
    enum { BUCKETS = 4096 };
    struct fixture f = make_sized(BUCKETS);
    uint64_t keys = 2 * BUCKETS;
    allow_halving(f);
    for (uint64_t key = 0; key < keys; key++)
        assert_int_equal(store(f, key, key), 0);
    assert_true(table_buckets(root_of(f)) >= BUCKETS);
    while (keys > 0) {
        assert_int_equal(erase(f, --keys), 1);
        uint64_t buckets = table_buckets(next_of(f) != NULL ? next_of(f) : root_of(f));
        assert_true(keys + buckets / 64 + 2 * LEAST_BUCKETS >= buckets / 8 * 5);
    }
    for (int i = 0; i < 20; i++) { /* the last steps: each delete looks, and moves */
        assert_int_equal(store(f, 1, 1), 0);
        assert_int_equal(erase(f, 1), 1);
    }
    assert_null(next_of(f));
    assert_int_equal(table_buckets(root_of(f)), LEAST_BUCKETS);
    check_map(f, 0);
    finish_map(f.m, &counting);
}

/* By reserve a table grows up to sixteenfold at once, with all that it has; and is not halved below that, until a clear. */
static void reserve_grows_and_keeps(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    struct fixture f = make();
    for (uint64_t key = 0; key < KEYS; key++)
        assert_int_equal(store(f, key, key), 0);
    move_all(f);
    uint64_t buckets = table_buckets(root_of(f)), growths = debug_counts.growths, promotions = debug_counts.promotions;
    uint64_t wanted = buckets * TARGETS * TARGETS * 2;
    assert_int_equal(syncmap_reserve(f.m, (size_t)(wanted / 4 * 9)), 0);
    assert_null(next_of(f));
    assert_int_equal(table_buckets(root_of(f)), wanted);
    assert_int_equal(debug_counts.growths, growths + 3);
    assert_int_equal(debug_counts.promotions, promotions + 3);
    check_map(f, KEYS);
    for (uint64_t key = 0; key < KEYS; key++) {
        assert_int_equal(load(f, key), 1);
        assert_int_equal(copies_of(f, syncmap_u64(key)), 1);
    }
    assert_int_equal(syncmap_reserve(f.m, 1), 0); /* there is room */
    assert_int_equal(debug_counts.growths, growths + 3);
    assert_int_equal(ld_relaxed(&f.flat->least), wanted);
    struct flat_table *t = root_of(f);
    for (uint64_t key = 0; key < KEYS; key++)
        assert_int_equal(erase(f, key), 1);
    for (uint64_t key = 0; key < wanted / 4 * 9; key++)
        assert_int_equal(store(f, key, key), 0);
    for (uint64_t key = 0; key < wanted / 4 * 9; key++)
        assert_int_equal(erase(f, key), 1);
    assert_ptr_equal(root_of(f), t);
    assert_null(next_of(f));
    assert_int_equal(syncmap_clear(f.m), 0);
    assert_int_equal(table_buckets(root_of(f)), LEAST_BUCKETS);
    assert_int_equal(ld_relaxed(&f.flat->least), LEAST_BUCKETS);
    finish_map(f.m, &counting);
}

/* What a table is made with counts as reserved; and reserve ends what is in the middle of being moved, to a larger or smaller. */
static void reserve_in_the_middle_of_a_move(void **state)
{
    (void)state;
    for (int halved = 0; halved < 2; halved++) {
        struct fixture f = make_sized(128);
        for (uint64_t key = 0; key < 100; key++)
            assert_int_equal(store(f, key, key), 0);
        begin_move(f, halved ? 64 : 256);
        move_chunk(f);
        assert_int_equal(syncmap_reserve(f.m, (size_t)buckets_hold(1024)), 0);
        assert_int_equal(table_buckets(root_of(f)), 1024);
        assert_null(next_of(f));
        check_map(f, 100);
        finish_map(f.m, &counting);
    }
    struct fixture f = make_with(SYNCMAP_U64, 1000, false);
    uint64_t buckets = table_buckets(root_of(f));
    for (uint64_t key = 0; key < 1000; key++)
        assert_int_equal(store(f, key, key), 0);
    for (uint64_t key = 0; key < 1000; key++)
        assert_int_equal(erase(f, key), 1);
    assert_int_equal(table_buckets(root_of(f)), buckets);
    assert_null(next_of(f));
    finish_map(f.m, &counting);
}

/* ---- moving ---- */

enum { MOVE_KEYS = 1200, MOVE_BUCKETS = 512 };

/* Keys 0 to n - 1, of which each third is in bucket 1 or the last, in long chains. */
static uint64_t move_key(struct fixture f, uint64_t n)
{
    if (n % 3 != 0)
        return n;
    return key_spread(f, MOVE_BUCKETS, n % 2 ? 1 : MOVE_BUCKETS - 1, n);
}

static struct fixture make_to_move(void)
{
    struct fixture f = make_sized(MOVE_BUCKETS);
    refuses = refuse_tables; /* what comes is begun by hand */
    for (uint64_t n = 0; n < MOVE_KEYS; n++)
        assert_int_equal(store(f, move_key(f, n), n), 0);
    refuses = NULL;
    assert_null(next_of(f));
    return f;
}

static void check_moved(struct fixture f)
{
    for (uint64_t n = 0; n < MOVE_KEYS; n++) {
        void *value = NULL;
        assert_int_equal(syncmap_load(f.m, syncmap_u64(move_key(f, n)), &value), 1);
        assert_ptr_equal(value, number(n));
        assert_int_equal(copies_of(f, syncmap_u64(move_key(f, n))), 1);
        assert_int_equal(load(f, n + (uint64_t)1000000), 0);
    }
    check_map(f, MOVE_KEYS);
}

/* To a table of each size that there is. At every step each key is found, once (V1). */
static void moved_chunk_by_chunk(void **state)
{
    (void)state;
    for (uint64_t buckets = MOVE_BUCKETS / 2; buckets <= MOVE_BUCKETS * TARGETS; buckets *= 2) {
        if (buckets == MOVE_BUCKETS)
            continue;
        struct fixture f = make_to_move();
        struct flat_table *t = root_of(f);
        begin_move(f, buckets);
        struct flat_table *next = next_of(f);
        uint64_t chunk = table_chunk(t, next), promotions = debug_counts.promotions;
        assert_int_equal(chunk, buckets <= 2 * MOVE_BUCKETS ? CHUNK : CHUNK * 2 * MOVE_BUCKETS / buckets);
        for (uint64_t moved = 0; moved < MOVE_BUCKETS; moved += chunk) {
            assert_int_equal(ld_relaxed(&t->moved), moved);
            assert_ptr_equal(root_of(f), t);
            check_moved(f);
            move_chunk(f);
        }
        assert_int_equal(debug_counts.promotions, promotions + 1);
        assert_ptr_equal(root_of(f), next);
        check_moved(f);
        assert_int_equal(spare_in(next) + (uint64_t)ld_relaxed(&next->used), ld_relaxed(&next->fresh));
        finish_map(f.m, &counting);
    }
}

/* In any order: groups that several movers have. */
static void moved_in_any_order(void **state)
{
    (void)state;
    struct rng rng = rng_make(test_seed(), 3);
    for (uint64_t buckets = MOVE_BUCKETS / 2; buckets <= MOVE_BUCKETS * 4; buckets *= 2) {
        if (buckets == MOVE_BUCKETS)
            continue;
        struct fixture f = make_to_move();
        struct flat_table *t = root_of(f);
        begin_move(f, buckets);
        struct thread *pin = pin_enter(true);
        struct spares spares = {0};
        struct group g = {.t = t, .next = next_of(f), .count = buckets < MOVE_BUCKETS ? 2 : 1};
        for (int i = 0; i < 1000; i++) {
            g.first = rng_below(&rng, MOVE_BUCKETS / g.count) * g.count;
            g.home = home_of(t, g.first);
            enum moved wanted = is_moved(t, g.first) ? MOVE_WAS_DONE : MOVE_DONE;
            assert_int_equal(group_move(f.flat, &g, &spares), wanted);
            assert_true(is_moved(t, g.first) && is_moved(t, g.first + g.count - 1));
            if (i % 100 == 0) {
                spares_give_back(g.next, &spares);
                check_moved(f);
            }
        }
        spares_give_back(g.next, &spares);
        if (g.last)
            flat_promote(f.flat, t, g.next);
        pin_leave(pin);
        check_moved(f);
        move_all(f); /* finds some of each chunk done */
        assert_int_equal(table_buckets(root_of(f)), buckets);
        check_moved(f);
        finish_map(f.m, &counting);
    }
}

/* A mover needs no more overflow buckets than the group has, and gives back what it took too many. */
static void moving_takes_what_it_needs(void **state)
{
    (void)state;
    struct rng rng = rng_make(test_seed(), 4);
    for (int round = 0; round < 200; round++) {
        struct fixture f = make_sized(64);
        uint64_t length = 1 + rng_below(&rng, 40), keys = 0, targets = (uint64_t)1 << (1 + rng_below(&rng, TARGETS_LOG));
        for (uint64_t n = 0; n < length; n++, keys++)
            assert_int_equal(store(f, key_spread(f, 64, 10, rng_next(&rng)), n), 0);
        if (rng_below(&rng, 2)) /* a mover that is to be short of them exactly then */
            refuses = refuse_all;
        if (next_of(f) == NULL) {
            refuses = NULL;
            begin_move(f, 64 * targets);
        }
        struct flat_table *next = next_of(f);
        uint64_t overflow = overflow_of(root_of(f), 10);
        struct thread *pin = pin_enter(true);
        struct spares spares = {0};
        struct group g = {.t = root_of(f), .next = next, .first = 10, .count = 1, .home = home_of(root_of(f), 10)};
        assert_int_equal(group_move(f.flat, &g, &spares), MOVE_DONE);
        assert_true(spares.count <= overflow);
        assert_int_equal(ld_relaxed(&next->fresh), overflow);
        spares_give_back(next, &spares);
        assert_int_equal(spares.count, 0);
        pin_leave(pin);
        check_map(f, keys);
        refuses = NULL;
        finish_map(f.m, &counting);
    }
}

/* Every writer moves a chunk first; loads and what counts or walks do not. */
static void writers_help(void **state)
{
    (void)state;
    struct fixture f = make_to_move();
    struct flat_table *t = root_of(f);
    uint64_t key = move_key(f, 5), moves = 0;
    void *out;
    begin_move(f, 2 * MOVE_BUCKETS);
    load(f, key);
    syncmap_len(f.m);
    assert_int_equal(ld_relaxed(&t->moved), 0);
    syncmap_store(f.m, syncmap_u64(key), number(5));
    assert_int_equal(ld_relaxed(&t->moved), ++moves * CHUNK);
    syncmap_load_or_store(f.m, syncmap_u64(key), number(5), &out);
    assert_int_equal(ld_relaxed(&t->moved), ++moves * CHUNK);
    syncmap_compare_and_swap(f.m, syncmap_u64(key), number(5), number(5));
    assert_int_equal(ld_relaxed(&t->moved), ++moves * CHUNK);
    syncmap_compare_and_delete(f.m, syncmap_u64(key), number(6));
    assert_int_equal(ld_relaxed(&t->moved), ++moves * CHUNK);
    syncmap_delete(f.m, syncmap_u64(5000)); /* which is not there */
    assert_int_equal(ld_relaxed(&t->moved), moves * CHUNK);
    syncmap_delete(f.m, syncmap_u64(key));
    assert_int_equal(ld_relaxed(&t->moved), ++moves * CHUNK);
    syncmap_swap(f.m, syncmap_u64(key), number(5), &out);
    assert_int_equal(ld_relaxed(&t->moved), ++moves * CHUNK);
    check_moved(f);
    finish_map(f.m, &counting);
}

/* A key that is stored, replaced or deleted in the middle of a move is so in whichever table its bucket is. */
static void written_while_moved(void **state)
{
    (void)state;
    for (uint64_t buckets = MOVE_BUCKETS / 2; buckets <= 4 * MOVE_BUCKETS; buckets *= 4) {
        struct fixture f = make_to_move();
        begin_move(f, buckets);
        for (uint64_t n = 0; n < 2 * MOVE_KEYS; n++) {
            uint64_t key = move_key(f, n);
            assert_int_equal(store(f, key, n + 1), n < MOVE_KEYS);
            assert_int_equal(copies_of(f, syncmap_u64(key)), 1);
            if (n % 2 == 0) {
                assert_int_equal(erase(f, key), 1);
                assert_int_equal(copies_of(f, syncmap_u64(key)), 0);
            }
            if (n % 50 == 0)
                check_map(f, syncmap_len(f.m));
        }
        for (uint64_t n = 0; n < 2 * MOVE_KEYS; n++) {
            void *value = NULL;
            assert_int_equal(syncmap_load(f.m, syncmap_u64(move_key(f, n)), &value), n % 2);
            assert_ptr_equal(value, n % 2 ? number(n + 1) : NULL);
        }
        check_map(f, MOVE_KEYS);
        finish_map(f.m, &counting);
    }
}

/* A table is freed once it was promoted over, and nobody can be in it any more. */
static void promotion_retires_the_old_table(void **state)
{
    (void)state;
    struct fixture f = make_to_move();
    syncmap_barrier();
    long long blocks = atomic_load(&counting.live_blocks);
    struct flat_table *t = root_of(f);
    unsigned segments = 0;
    for (unsigned s = 1; s < SEGMENTS; s++)
        segments += ld_relaxed(&t->overflow.segment[s]) != NULL;
    begin_move(f, 2 * MOVE_BUCKETS);
    syncmap_pin();
    move_all(f);
    struct flat_table *next = root_of(f);
    syncmap_barrier();
    assert_ptr_equal(ld_relaxed(&t->next), next); /* whoever is in it still finds the way */
    syncmap_unpin();
    syncmap_barrier();
    unsigned more = 0;
    for (unsigned s = 1; s < SEGMENTS; s++)
        more += ld_relaxed(&next->overflow.segment[s]) != NULL;
    assert_int_equal(atomic_load(&counting.live_blocks), blocks - segments + more);
    finish_map(f.m, &counting);
}

/* Only the root is moved from, and once. */
static void only_the_root_grows(void **state)
{
    (void)state;
    struct fixture f = make_to_move();
    struct flat_table *t = root_of(f);
    begin_move(f, 2 * MOVE_BUCKETS);
    struct flat_table *next = next_of(f);
    uint64_t growths = debug_counts.growths;
    syncmap_pin();
    assert_int_equal(flat_resize(f.flat, t, 4 * MOVE_BUCKETS, t->type), RESIZE_NOT_NOW);
    assert_int_equal(flat_resize(f.flat, next, 4 * MOVE_BUCKETS, t->type), RESIZE_NOT_NOW);
    assert_ptr_equal(next_of(f), next);
    assert_null(ld_relaxed(&next->next));
    move_all(f);
    assert_int_equal(flat_resize(f.flat, t, 4 * MOVE_BUCKETS, t->type), RESIZE_NOT_NOW); /* late */
    assert_ptr_equal(ld_relaxed(&t->next), next);
    assert_int_equal(debug_counts.growths, growths);
    syncmap_unpin();
    check_moved(f);
    finish_map(f.m, &counting);
}

/* What a map is made of where nobody says it. */
static void default_engine(void **state)
{
    (void)state;
    for (int kind = SYNCMAP_U64; kind < SYNCMAP_CUSTOM; kind++) {
        syncmap *plain = syncmap_new((enum syncmap_kind)kind, NULL), *zeroed = syncmap_new((enum syncmap_kind)kind, &(syncmap_options){.context = NULL});
        syncmap *other = syncmap_new((enum syncmap_kind)kind, &(syncmap_options){.engine = SYNCMAP_ENGINE_READ_DIRTY});
        assert_non_null(plain);
        assert_non_null(zeroed);
        assert_non_null(other);
        assert_true(is_flat(plain) && is_flat(zeroed) && !is_flat(other));
        syncmap_free(plain);
        syncmap_free(zeroed);
        syncmap_free(other);
    }
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_engine),
        cmocka_unit_test(hash_and_unhash_are_inverse),
        cmocka_unit_test(replacing_moves_the_table),
        cmocka_unit_test(free_slots_have_no_key_of_their_bucket),
        cmocka_unit_test(key_of_hash_zero),
        cmocka_unit_test(record_of_hash_zero),
        cmocka_unit_test(versions_tell_of_change),
        cmocka_unit_test(a_spot_stands_or_not),
        cmocka_unit_test(chains_grow_and_shrink),
        cmocka_unit_test(loads_of_a_chain),
        cmocka_unit_test(searches_do_not_wait_for_a_lock),
        cmocka_unit_test(what_is_given_back_is_used_again),
        cmocka_unit_test(given_away_under_a_search),
        cmocka_unit_test(reused_overflow_has_no_old_keys),
        cmocka_unit_test(overflow_segments),
        cmocka_unit_test(spare_numbers_are_counted),
        cmocka_unit_test(overflow_numbers_end),
        cmocka_unit_test(too_large_is_refused),
        cmocka_unit_test(grows_at_a_quarter_overflow),
        cmocka_unit_test(a_flood_is_no_reason_to_grow),
        cmocka_unit_test(shrinks_at_five_eighths),
        cmocka_unit_test(shrinks_to_the_least),
        cmocka_unit_test(reserve_grows_and_keeps),
        cmocka_unit_test(reserve_in_the_middle_of_a_move),
        cmocka_unit_test(moved_chunk_by_chunk),
        cmocka_unit_test(moved_in_any_order),
        cmocka_unit_test(moving_takes_what_it_needs),
        cmocka_unit_test(writers_help),
        cmocka_unit_test(written_while_moved),
        cmocka_unit_test(promotion_retires_the_old_table),
        cmocka_unit_test(only_the_root_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
