/* SPDX-License-Identifier: MIT
 *
 * White box: the filter that tells of absent keys without a look at their bucket (ABSENT KEYS of src/flat.h), here in tables of four
 * buckets on.
 */
#define SYNCMAP_FLAT_FILTER 1
#include "unit/flat_fixture.h"

enum { BUCKETS = 64, TARGET = 5, TEXTS = 3 };

static unsigned bits_of(struct flat_table *t, uint64_t index)
{
    assert_non_null(t->filter);
    return ld_relaxed(&t->filter[index]);
}

/* What the bits of a bucket are if they were just made. */
static unsigned bits_of_keys(struct flat_table *t, uint64_t index)
{
    unsigned bits = 0;
    for (uint64_t position = 0; position <= overflow_of(t, index); position++) {
        struct bucket *b = chain_at(t, index, position);
        for (unsigned i = 0; i < SLOTS; i++)
            if (ld_relaxed(&b->value[i]) != NULL)
                bits |= filter_bit(word_hash(t->type, ld_relaxed(&b->word[i])));
    }
    return bits;
}

/* That the bits of each bucket of the root are those of its keys, and of none that was deleted; of what was moved: all. */
static void assert_exact(struct fixture f)
{
    struct flat_table *t = root_of(f);
    for (uint64_t i = 0; i < table_buckets(t); i++)
        assert_int_equal(bits_of(t, i), is_moved(t, i) ? FILTER_ALL : bits_of_keys(t, i));
}

/* The key of TARGET whose bit is `bit`. */
static uint64_t key_of_bit(struct fixture f, unsigned bit, unsigned n)
{
    return key_in(f, BUCKETS, TARGET, bit + 16 * n);
}

/* ---- searches ---- */

/* Of a bucket whose lock is not given back each search notices if it looks at it: it runs out of patience. */
static void lock_for_ever(struct fixture f)
{
    struct bucket *home = home_of(root_of(f), TARGET);
    st_relaxed(&home->header, ld_relaxed(&home->header) | BUCKET_LOCKED);
}

static void unlock_at_last(struct fixture f)
{
    struct bucket *home = home_of(root_of(f), TARGET);
    st_relaxed(&home->header, ld_relaxed(&home->header) & ~(uint64_t)BUCKET_LOCKED);
}

static unsigned long looks(void)
{
    return ld_relaxed(&debug_counts.impatient);
}

/* An absent key whose bit nobody has: all calls that do not add it know without a look. */
static void assert_denied(struct fixture f, syncmap_key key)
{
    unsigned long before = looks();
    void *out = number(99);
    assert_int_equal(syncmap_load(f.m, key, &out), 0);
    assert_null(out);
    assert_int_equal(looks(), before); /* else the calls below would wait for the lock */
    out = number(99);
    assert_int_equal(syncmap_load_and_delete(f.m, key, &out), 0);
    assert_null(out);
    assert_int_equal(syncmap_delete(f.m, key), 0);
    assert_int_equal(syncmap_compare_and_swap(f.m, key, NULL, number(1)), 0);
    assert_int_equal(syncmap_compare_and_delete(f.m, key, NULL), 0);
    assert_int_equal(looks(), before);
}

/* One whose bit is set: a load looks. present: and finds it. */
static void assert_looked_for(struct fixture f, syncmap_key key, bool present)
{
    unsigned long before = looks();
    void *out = number(99);
    assert_int_equal(syncmap_load(f.m, key, &out), present);
    assert_ptr_equal(out, present ? number(1) : NULL);
    assert_true(looks() > before);
}

static void denied_integers(void **state)
{
    (void)state;
    struct fixture f = make_of(SYNCMAP_U64, (syncmap_options){.capacity = (size_t)buckets_hold(BUCKETS), .value_free = NULL});
    assert_int_equal(table_buckets(root_of(f)), BUCKETS);
    assert_int_equal(store(f, key_of_bit(f, 3, 0), 1), 0);
    assert_int_equal(store(f, key_of_bit(f, 15, 0), 1), 0);
    assert_exact(f);
    lock_for_ever(f);
    for (unsigned bit = 0; bit < 16; bit++) {
        bool set = bit == 3 || bit == 15;
        for (unsigned n = 0; n < 3; n++) {
            syncmap_key key = syncmap_u64(key_of_bit(f, bit, n));
            if (set)
                assert_looked_for(f, key, n == 0);
            else
                assert_denied(f, key);
        }
        void *out = NULL;
        bool present = true;
        syncmap_key key = syncmap_u64(key_of_bit(f, bit, 0));
        assert_int_equal(syncmap_load_many(f.m, 1, &key, &out, &present), set);
        assert_int_equal(present, set);
    }
    unlock_at_last(f);
    check_map(f, 2);
    finish_map(f.m, &counting);
}

static void denied_texts(void **state)
{
    (void)state;
    struct fixture f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold(BUCKETS), .seed = 1});
    uint64_t n = 0;
    struct text in = text_in(f, TARGET, "", &n, NULL);
    assert_int_equal(syncmap_store(f.m, syncmap_str(in.chars), number(1)), 0);
    assert_exact(f);
    lock_for_ever(f);
    assert_looked_for(f, syncmap_str(in.chars), true);
    unsigned denied = 0, looked = 0;
    while (denied < 5 || looked == 0) {
        struct text text = text_in(f, TARGET, "", &n, NULL);
        if (filter_bit(text.hash) == filter_bit(in.hash)) {
            assert_looked_for(f, syncmap_str(text.chars), false);
            looked++;
        } else {
            assert_denied(f, syncmap_str(text.chars));
            denied++;
        }
    }
    unlock_at_last(f);
    check_map(f, 1);
    finish_map(f.m, &counting);
}

static void denied_objects(void **state)
{
    (void)state;
    struct fixture f = make_hashed((size_t)buckets_hold(BUCKETS), false);
    struct hashed in = {.hash = ((uint64_t)TARGET << root_of(f)->shift) + 7}, out = {.hash = in.hash + 1}, same = {.hash = in.hash + 16};
    assert_int_equal(syncmap_store(f.m, syncmap_obj(&in), number(1)), 0);
    bool told = query_of(f, syncmap_obj(&in)).hash == in.hash;
    assert_true(told); /* else the keys below are not where they should be */
    lock_for_ever(f);
    assert_looked_for(f, syncmap_obj(&in), true);
    assert_looked_for(f, syncmap_obj(&same), false);
    assert_denied(f, syncmap_obj(&out));
    unlock_at_last(f);
    finish_map(f.m, &counting);
}

/* ---- writers ---- */

/* Each call that adds a key sets its bit, and each that deletes one makes the bits anew; while there are overflow buckets they may be too many, but
 * never too few. */
static void added_and_deleted(void **state)
{
    (void)state;
    enum { KEYS = 3 * SLOTS + 1 };
    struct fixture f = make_sized(BUCKETS);
    struct flat_table *t = root_of(f);
    for (unsigned n = 0; n < KEYS; n++) {
        syncmap_key key = syncmap_u64(key_of_bit(f, n, 0));
        void *actual = NULL;
        if (n % 2 == 0)
            assert_int_equal(syncmap_store(f.m, key, number(1)), 0);
        else
            assert_int_equal(syncmap_load_or_store(f.m, key, number(1), &actual), 0);
        assert_exact(f);
    }
    assert_int_equal(bits_of(t, TARGET), (1 << KEYS) - 1);
    assert_int_equal(store(f, key_of_bit(f, 0, 0), 2), 1); /* a replaced value changes nothing */
    assert_int_equal(store(f, key_of_bit(f, 0, 1), 2), 0); /* nor does a second key of the same bit, */
    assert_int_equal(erase(f, key_of_bit(f, 0, 1)), 1);    /* in a chain */
    assert_int_equal(bits_of(t, TARGET), (1 << KEYS) - 1);
    for (unsigned n = KEYS; n-- > 0;) {
        syncmap_key key = syncmap_u64(key_of_bit(f, n, 0));
        if (n % 2 == 0)
            assert_int_equal(syncmap_delete(f.m, key), 1);
        else
            assert_int_equal(syncmap_compare_and_delete(f.m, key, number(1)), 1);
        unsigned left = bits_of_keys(t, TARGET);
        if (overflow_of(t, TARGET) != 0)
            assert_int_equal(bits_of(t, TARGET) & left, left);
        else
            assert_exact(f);
        check_map(f, n);
    }
    assert_int_equal(bits_of(t, TARGET), 0);
    /* Two keys that share a bit, alone in their bucket: the first that goes leaves it. */
    assert_int_equal(store(f, key_of_bit(f, 9, 0), 1), 0);
    assert_int_equal(store(f, key_of_bit(f, 9, 1), 1), 0);
    assert_int_equal(erase(f, key_of_bit(f, 9, 0)), 1);
    assert_int_equal(bits_of(t, TARGET), 1 << 9);
    assert_int_equal(load(f, key_of_bit(f, 9, 1)), 1);
    assert_int_equal(erase(f, key_of_bit(f, 9, 1)), 1);
    assert_int_equal(bits_of(t, TARGET), 0);
    finish_map(f.m, &counting);
}

/* A string whose record is kept has no bit, and has it again when it is revived. */
static void kept_and_revived(void **state)
{
    (void)state;
    struct fixture f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold(BUCKETS), .seed = 1});
    struct text text[TEXTS];
    uint64_t n = 0;
    for (int i = 0; i < TEXTS; i++) {
        text[i] = text_in(f, TARGET, "", &n, NULL);
        assert_int_equal(syncmap_store(f.m, syncmap_str(text[i].chars), number(1)), 0);
    }
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < TEXTS; i++) {
            assert_int_equal(syncmap_delete(f.m, syncmap_str(text[i].chars)), 1);
            assert_exact(f);
        }
        assert_int_equal(bits_of(root_of(f), TARGET), 0);
        for (int i = 0; i < TEXTS; i++) {
            assert_int_equal(syncmap_store(f.m, syncmap_str(text[i].chars), number(1)), 0);
            assert_exact(f);
            assert_int_equal(syncmap_load(f.m, syncmap_str(text[i].chars), NULL), 1);
        }
    }
    finish_map(f.m, &counting);
}

/* ---- tables ---- */

/* Memory that is not zero. */
static void *dirty_alloc(size_t size, void *context)
{
    (void)context;
    void *memory = malloc(size);
    return memory != NULL ? memset(memory, 0x5a, size) : NULL;
}

static void dirty_free(void *memory, size_t size, void *context)
{
    (void)context;
    memset(memory, 0x5a, size);
    free(memory);
}

static struct fixture make_dirty(void)
{
    syncmap_allocator allocator = {.alloc = dirty_alloc, .free = dirty_free};
    struct fixture f = {.m = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = SYNCMAP_ENGINE_FLAT, .allocator = allocator})};
    assert_non_null(f.m);
    f.flat = flat_of(f.m);
    return f;
}

/* The bits are those of the keys in each table that a growing map has, while it is moved, and after a clear, as it shrinks. */
static void made_with_tables(void **state)
{
    (void)state;
    enum { KEYS = 2000 };
    struct fixture f = make_dirty();
    for (uint64_t n = 0; n < KEYS; n++) {
        assert_int_equal(store(f, n, 1), 0);
        assert_exact(f);
        assert_int_equal(load(f, n) + load(f, n / 2) + load(f, 0), 3);
    }
    assert_true(table_buckets(root_of(f)) >= KEYS / 3);
    check_map(f, KEYS);
    for (uint64_t n = 0; n < KEYS; n++) {
        assert_int_equal(load(f, KEYS - 1), 1);
        assert_int_equal(erase(f, n), 1);
        assert_int_equal(load(f, n), 0);
        check_map(f, KEYS - 1 - n);
    }
    assert_true(table_buckets(root_of(f)) < KEYS / 64);
    assert_int_equal(store(f, 1, 1), 0);
    assert_int_equal(syncmap_clear(f.m), 0);
    assert_int_equal(load(f, 1), 0);
    assert_exact(f);
    for (uint64_t n = 0; n < KEYS; n++)
        assert_int_equal(store(f, n, 1), 0);
    check_map(f, KEYS);
    syncmap_free(f.m);
    syncmap_barrier();
}

/* Two tables, of which one key after the other is looked for in the second, and the first tells of none that is moved. */
static void moved(void **state)
{
    (void)state;
    enum { KEYS = 2 * BUCKETS };
    for (int halves = 0; halves < 2; halves++) {
        struct fixture f = make_sized(BUCKETS);
        for (uint64_t n = 0; n < KEYS; n++)
            assert_int_equal(store(f, key_in(f, BUCKETS, n / 2, n), 1), 0);
        assert_exact(f);
        begin_move(f, halves ? BUCKETS / 2 : 2 * BUCKETS);
        while (next_of(f) != NULL) {
            move_chunk(f);
            for (uint64_t n = 0; n < KEYS; n++) {
                assert_int_equal(load(f, key_in(f, BUCKETS, n / 2, n)), 1);
                assert_int_equal(load(f, key_in(f, BUCKETS, n / 2, n + KEYS)), 0);
            }
            check_map(f, KEYS);
            struct flat_table *t = root_of(f);
            for (uint64_t i = 0; i < table_buckets(t); i++)
                if (is_moved(t, i))
                    assert_int_equal(bits_of(t, i), FILTER_ALL);
        }
        assert_int_equal(table_buckets(root_of(f)), halves ? BUCKETS / 2 : 2 * BUCKETS);
        assert_exact(f);
        finish_map(f.m, &counting);
    }
}

/* A move that finds no memory leaves all bits of its chunk set; the next delete makes them anew, and the bucket is moved all the same. */
static void opened_in_vain(void **state)
{
    (void)state;
    struct fixture f = make_sized(BUCKETS);
    assert_int_equal(store(f, key_of_bit(f, 4, 0), 1), 0);
    assert_int_equal(store(f, key_of_bit(f, 5, 0), 1), 0);
    begin_move(f, 2 * BUCKETS);
    struct flat_table *t = root_of(f);
    filter_open(t, 0, CHUNK);
    assert_int_equal(bits_of(t, TARGET), FILTER_ALL);
    filter_remove(t, home_of(t, TARGET), TARGET);
    assert_int_equal(bits_of(t, TARGET), 1 << 4 | 1 << 5);
    filter_open(t, 0, CHUNK);
    filter_add(t, 6 + ((uint64_t)TARGET << t->shift));
    assert_int_equal(bits_of(t, TARGET), FILTER_ALL);
    struct group g = {.t = t, .next = next_of(f), .count = 1, .first = TARGET, .home = home_of(t, TARGET)};
    struct spares spares = {0};
    filter_remove(t, home_of(t, TARGET), TARGET); /* between who opens a chunk and who locks the bucket */
    struct thread *pin = pin_enter(true);
    assert_int_equal(group_move(f.flat, &g, &spares), MOVE_DONE);
    pin_leave(pin);
    assert_int_equal(bits_of(t, TARGET), FILTER_ALL);
    assert_int_equal(bits_of(next_of(f), 2 * TARGET), 1 << 4 | 1 << 5);
    assert_int_equal(bits_of(next_of(f), 2 * TARGET + 1), 0);
    move_all(f);
    check_map(f, 2);
    assert_exact(f);
    finish_map(f.m, &counting);
}

/* Tables that the processor's own caches hold have none. */
static void large_tables_only(void **state)
{
    (void)state;
    struct fixture f = make();
    uint64_t least = (uint64_t)1 << FILTER_BITS;
    for (uint64_t buckets = 2; buckets <= 16 * least; buckets *= 2) {
        struct flat_table *t = flat_table_new(f.flat, buckets, NULL, &f.m->key);
        assert_non_null(t);
        assert_int_equal(t->filter != NULL, buckets > least);
        assert_true(t->filter == NULL || (void *)t->filter == (void *)home_of(t, buckets));
        assert_true((char *)overflow_at(&t->overflow, 0) >= (char *)(t->filter != NULL ? &t->filter[buckets] : (void *)home_of(t, buckets)));
        assert_true((char *)(overflow_at(&t->overflow, 0) + t->overflow.first) == (char *)t + flat_table_size(t));
        assert_int_equal(flat_table_size(t) + CACHE_LINE, table_bytes(buckets));
        while (!flat_table_free_step(f.flat, t))
            continue;
    }
    finish_map(f.m, &counting);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(denied_integers),
        cmocka_unit_test(denied_texts),
        cmocka_unit_test(denied_objects),
        cmocka_unit_test(added_and_deleted),
        cmocka_unit_test(kept_and_revived),
        cmocka_unit_test(made_with_tables),
        cmocka_unit_test(moved),
        cmocka_unit_test(opened_in_vain),
        cmocka_unit_test(large_tables_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
