/* SPDX-License-Identifier: MIT
 *
 * White box: the steps of read/dirty, seen from inside. Each row of the table of states in read_dirty.c, promotion and its
 * count of misses, how dirty is built, and the shortcut of integers.
 */
#include "unit/read_dirty_fixture.h"

/* ---- the table of states ---- */

static void value_to_value(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 1);
    struct entry *e = in_read(f, 1);
    void *previous;
    assert_int_equal(store(f, 1, 10), 1);
    assert_ptr_equal(p_of(e), number(10));
    assert_int_equal(syncmap_swap(f.m, syncmap_u64(1), number(11), &previous), 1);
    assert_ptr_equal(previous, number(10));
    assert_ptr_equal(p_of(e), number(11));
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(1), number(10), number(12)), 0);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(1), number(11), number(12)), 1);
    assert_ptr_equal(p_of(e), number(12));
    assert_ptr_equal(in_read(f, 1), e);
    assert_false(is_amended(f)); /* none of it needed mu */
    finish_map(f.m, &counting);
}

static void value_to_deleted_and_back(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 1);
    struct entry *e = in_read(f, 1);
    void *out;
    assert_int_equal(syncmap_delete(f.m, syncmap_u64(1)), 1);
    assert_ptr_equal(p_of(e), DELETED);
    assert_int_equal(store(f, 1, 2), 0);
    assert_ptr_equal(p_of(e), number(2));
    assert_int_equal(syncmap_load_and_delete(f.m, syncmap_u64(1), &out), 1);
    assert_ptr_equal(p_of(e), DELETED);
    assert_int_equal(syncmap_swap(f.m, syncmap_u64(1), number(3), &out), 0);
    assert_null(out);
    assert_ptr_equal(p_of(e), number(3));
    assert_int_equal(syncmap_compare_and_delete(f.m, syncmap_u64(1), number(2)), 0);
    assert_int_equal(syncmap_compare_and_delete(f.m, syncmap_u64(1), number(3)), 1);
    assert_ptr_equal(p_of(e), DELETED);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(1), number(4), &out), 0);
    assert_ptr_equal(p_of(e), number(4));
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(1), number(5), &out), 1);
    assert_ptr_equal(out, number(4));
    assert_int_equal(syncmap_len(f.m), 1);
    assert_false(is_amended(f));
    finish_map(f.m, &counting);
}

/* A NULL that a user stored is a value like any other: neither DELETED nor EXPUNGED. */
static void null_is_a_value(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 1);
    void *out = number(1);
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), NULL), 1);
    assert_ptr_equal(p_of(in_read(f, 1)), &value_null);
    assert_int_equal(syncmap_load(f.m, syncmap_u64(1), &out), 1);
    assert_null(out);
    assert_int_equal(store(f, 2, 2), 0); /* builds dirty */
    assert_ptr_equal(in_dirty(f, 1), in_read(f, 1));
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), &value_null), SYNCMAP_EINVAL);
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), &value_expunged), SYNCMAP_EINVAL);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(1), EXPUNGED, NULL), SYNCMAP_EINVAL);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(1), &value_null, NULL), SYNCMAP_EINVAL);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(1), NULL, EXPUNGED), SYNCMAP_EINVAL);
    assert_int_equal(syncmap_compare_and_delete(f.m, syncmap_u64(1), &value_null), SYNCMAP_EINVAL);
    finish_map(f.m, &counting);
}

typedef int (*revive_function)(syncmap *m, syncmap_key key, void *value);

static int revive_by_swap(syncmap *m, syncmap_key key, void *value)
{
    void *previous = value;
    int result = syncmap_swap(m, key, value, &previous);
    assert_null(previous);
    return result;
}

static int revive_by_load_or_store(syncmap *m, syncmap_key key, void *value)
{
    void *actual = NULL;
    int result = syncmap_load_or_store(m, key, value, &actual);
    assert_ptr_equal(actual, value);
    return result;
}

/* EXPUNGED to DELETED to a value, and in dirty: or the next promotion would lose the store. */
static void expunged_is_revived(void **state)
{
    (void)state;
    const revive_function revive[] = {syncmap_store, revive_by_swap, revive_by_load_or_store};
    for (size_t i = 0; i < sizeof revive / sizeof *revive; i++) {
        struct fixture f = make();
        struct entry *e = expunge_one(f);
        assert_int_equal(load(f, 1), 0);
        assert_int_equal(revive[i](f.m, syncmap_u64(1), number(7)), 0);
        assert_ptr_equal(p_of(e), number(7));
        assert_ptr_equal(in_dirty(f, 1), e);
        assert_null(f.rd->expunged);
        assert_int_equal(ld_relaxed(&f.rd->expunged_count), 0);
        promote_by_misses(f);
        assert_ptr_equal(in_read(f, 1), e);
        void *value;
        assert_int_equal(syncmap_load(f.m, syncmap_u64(1), &value), 1);
        assert_ptr_equal(value, number(7));
        assert_int_equal(syncmap_len(f.m), 3);
        finish_map(f.m, &counting);
    }
}

/* What only reads, deletes or compares leaves an expunged entry as it is. */
static void expunged_is_absent(void **state)
{
    (void)state;
    struct fixture f = make();
    struct entry *e = expunge_one(f);
    void *out = number(9);
    assert_int_equal(syncmap_load(f.m, syncmap_u64(1), &out), 0);
    assert_null(out);
    assert_int_equal(syncmap_delete(f.m, syncmap_u64(1)), 0);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(1), number(1), number(2)), 0);
    assert_int_equal(syncmap_compare_and_swap(f.m, syncmap_u64(1), NULL, number(2)), 0);
    assert_int_equal(syncmap_compare_and_delete(f.m, syncmap_u64(1), number(1)), 0);
    assert_ptr_equal(p_of(e), EXPUNGED);
    assert_int_equal(syncmap_len(f.m), 2);
    finish_map(f.m, &counting);
}

/* try_expunge never takes a value, and unexpunge only what is EXPUNGED. */
static void expunge_steps_check_the_state(void **state)
{
    (void)state;
    struct fixture f = make();
    struct entry *e = expunge_one(f);
    assert_true(try_expunge(e)); /* it is already */
    lock(f.rd, NULL);
    struct query q = {0};
    assert_true(query_init(&q, f.m, syncmap_u64(1)));
    unexpunge(f.rd, q.hash, e);
    assert_ptr_equal(p_of(e), DELETED);
    assert_ptr_equal(in_dirty(f, 1), e);
    size_t keys = ld_relaxed(&dirty_of(f)->len);
    unexpunge(f.rd, q.hash, e); /* which it is not */
    assert_int_equal(ld_relaxed(&dirty_of(f)->len), keys);
    unlock(f.rd, NULL);
    struct entry *two = in_read(f, 2);
    assert_false(try_expunge(two));
    assert_ptr_equal(p_of(two), number(2));
    finish_map(f.m, &counting);
}

/* ---- misses and promotion ---- */

static void promotion_at_exactly_len_misses(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 20; n++) {
        struct fixture f = make();
        for (uint64_t key = 0; key < n; key++)
            store(f, key, 1);
        struct table *dirty = dirty_of(f);
        assert_int_equal(ld_relaxed(&dirty->len), n);
        for (uint64_t miss_number = 1; miss_number < n; miss_number++) {
            assert_int_equal(load(f, miss_number % 2 ? 0 : 1000), miss_number % 2);
            assert_int_equal(f.rd->misses, miss_number);
            assert_ptr_equal(dirty_of(f), dirty);
        }
        load(f, 0);
        assert_ptr_equal(read_of(f), dirty);
        assert_null(dirty_of(f));
        assert_false(is_amended(f));
        assert_int_equal(f.rd->misses, 0);
        finish_map(f.m, &counting);
    }
}

/* Which operations count as a miss: those of the seed, and compare_and_... of the later versions. */
static void what_counts_as_a_miss(void **state)
{
    (void)state;
    struct fixture f = make();
    for (uint64_t key = 0; key < 50; key++)
        store(f, key, 1);
    assert_int_equal(f.rd->misses, 0); /* no store does */
    store(f, 1, 2);
    assert_int_equal(f.rd->misses, 0);
    load(f, 1);
    assert_int_equal(f.rd->misses, 1);
    load(f, 100);
    assert_int_equal(f.rd->misses, 2);
    syncmap_load_or_store(f.m, syncmap_u64(1), number(3), NULL);
    assert_int_equal(f.rd->misses, 3);
    syncmap_load_or_store(f.m, syncmap_u64(51), number(3), NULL); /* a new key: does not */
    assert_int_equal(f.rd->misses, 3);
    syncmap_delete(f.m, syncmap_u64(1));
    assert_int_equal(f.rd->misses, 4);
    syncmap_compare_and_swap(f.m, syncmap_u64(2), number(1), number(2));
    assert_int_equal(f.rd->misses, 5);
    syncmap_compare_and_delete(f.m, syncmap_u64(2), number(2));
    assert_int_equal(f.rd->misses, 6);
    assert_non_null(in_dirty(f, 2)); /* compare_and_delete leaves the entry in dirty, emptied */
    assert_ptr_equal(p_of(in_dirty(f, 2)), DELETED);
    finish_map(f.m, &counting);
}

static bool count_visit(syncmap_key key, void *value, void *context)
{
    (void)key;
    (void)value;
    ++*(size_t *)context;
    return true;
}

static void range_promotes_once(void **state)
{
    (void)state;
    struct fixture f = make();
    for (uint64_t key = 0; key < 10; key++)
        store(f, key, 1);
    struct table *dirty = dirty_of(f);
    f.rd->misses = 3;
    size_t visited = 0;
    assert_int_equal(syncmap_range(f.m, count_visit, &visited), 1);
    assert_int_equal(visited, 10);
    assert_ptr_equal(read_of(f), dirty);
    assert_null(dirty_of(f));
    assert_int_equal(f.rd->misses, 0);
    assert_int_equal(syncmap_range(f.m, count_visit, &visited), 1);
    assert_ptr_equal(read_of(f), dirty);
    finish_map(f.m, &counting);
}

/* ---- building dirty ---- */

static void dirty_is_built_once_per_generation(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_U64, 64, false); /* room: what changes dirty is no growth */
    fill_read(f, 20);
    syncmap_delete(f.m, syncmap_u64(5));
    struct table *read = read_of(f);
    assert_null(dirty_of(f));
    store(f, 100, 1);
    struct table *dirty = dirty_of(f);
    assert_non_null(dirty);
    assert_int_equal(ld_relaxed(&dirty->len), 20); /* 20 - 1 + 1 */
    for (uint64_t key = 1; key <= 20; key++)
        assert_ptr_equal(in_dirty(f, key), key == 5 ? NULL : in_read(f, key)); /* shared, not copied */
    /* Deleted after dirty was built: DELETED, not EXPUNGED, and revived without mu. */
    syncmap_delete(f.m, syncmap_u64(6));
    for (uint64_t key = 101; key < 110; key++) {
        store(f, key, 1);
        assert_ptr_equal(dirty_of(f), dirty);
        assert_ptr_equal(p_of(in_read(f, 6)), DELETED);
    }
    assert_ptr_equal(read_of(f), read);
    assert_int_equal(ld_relaxed(&read->len), 20);
    finish_map(f.m, &counting);
}

static void growth_keeps_every_key(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 5);
    syncmap_delete(f.m, syncmap_u64(1));
    for (uint64_t key = 10; key < 3000; key++)
        assert_int_equal(store(f, key, key), 0);
    assert_ptr_equal(p_of(in_read(f, 1)), EXPUNGED);
    assert_int_equal(store(f, 1, 1), 0); /* into a table that grew since it was expunged */
    for (uint64_t key = 10; key < 3000; key++)
        assert_ptr_equal(p_of(in_dirty(f, key)), number(key));
    assert_int_equal(syncmap_len(f.m), 2990 + 5);
    finish_map(f.m, &counting);
}

/* Insert and delete in dirty for ever: the tombstones are swept by tables of the same size. */
static void tombstones_do_not_accumulate(void **state)
{
    (void)state;
    struct fixture f = make();
    for (uint64_t key = 0; key < 100; key++)
        store(f, key, 1);
    for (uint64_t key = 100; key < 20000; key++) {
        assert_int_equal(store(f, key, 1), 0);
        f.rd->misses = 0;
        assert_int_equal(syncmap_delete(f.m, syncmap_u64(key - 100)), 1);
        f.rd->misses = 0;
    }
    assert_int_equal(ld_relaxed(&dirty_of(f)->len), 100);
    assert_true(dirty_of(f)->mask < 1024);
    finish_map(f.m, &counting);
}

/* ---- the shortcut of integers ---- */

/* The n-th key whose home is the same line as the others', in tables of up to 2^32 lines. */
static uint64_t key_of_line(struct fixture f, uint64_t n)
{
    return unhash_u64((n + 1) << 32, f.m->key.seed); /* (not 0: an empty slot has it, too) */
}

static int shortcut(struct fixture f, uint64_t key)
{
    void *value;
    return rd_load_integer(f.rd, hash_u64(key, f.m->key.seed), &value);
}

/* What a load and all that take its shortcut find: `value`, or 0 for nothing. */
static void check_key(struct fixture f, uint64_t key, uintptr_t value)
{
    void *out = NULL;
    bool present = false;
    syncmap_key k = syncmap_u64(key);
    assert_int_equal(syncmap_load(f.m, k, &out), value != 0);
    assert_ptr_equal(out, number(value));
    assert_int_equal(syncmap_load_many(f.m, 1, &k, &out, &present), value != 0);
    assert_int_equal(present, value != 0);
    assert_ptr_equal(out, number(value));
    if (value == 0) {
        assert_int_equal(syncmap_load_and_delete(f.m, k, &out), 0);
        assert_null(out);
    } else {
        assert_int_equal(syncmap_load_or_store(f.m, k, number(1), &out), 1);
        assert_ptr_equal(out, number(value));
        assert_int_equal(syncmap_load_or_store(f.m, k, number(1), NULL), 1);
    }
}

/* Keys that the home line has no slot for: the shortcut says so, present or not. */
static void beyond_a_full_line(void **state)
{
    (void)state;
    enum { KEYS = 3 * LINE_SLOTS };
    struct fixture f = make_with(SYNCMAP_U64, 64, false);
    for (uint64_t n = 0; n < KEYS; n++)
        assert_int_equal(store(f, key_of_line(f, n), n + 1), 0);
    promote_by_misses(f);
    for (uint64_t n = 0; n < KEYS; n++) {
        assert_int_equal(shortcut(f, key_of_line(f, n)), n < LINE_SLOTS ? 1 : -1);
        check_key(f, key_of_line(f, n), n + 1);
    }
    assert_int_equal(shortcut(f, key_of_line(f, KEYS)), -1);
    assert_int_equal(shortcut(f, unhash_u64(8, f.m->key.seed)), 0); /* an empty line */
    check_key(f, key_of_line(f, KEYS), 0);
    check_key(f, unhash_u64(8, f.m->key.seed), 0);
    assert_false(is_amended(f));
    for (uint64_t n = 0; n < KEYS; n++) {
        assert_int_equal(syncmap_delete(f.m, syncmap_u64(key_of_line(f, n))), 1);
        check_key(f, key_of_line(f, n), 0);
    }
    finish_map(f.m, &counting);
}

/* Keys that dirty alone has, or neither: the shortcut says so. */
static void beyond_read(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_U64, 1000, false); /* takes many misses */
    fill_read(f, 1);
    assert_int_equal(store(f, 2, 2), 0);
    assert_int_equal(shortcut(f, 1), 1);
    assert_int_equal(shortcut(f, 2), -1);
    assert_int_equal(shortcut(f, 3), -1);
    check_key(f, 1, 1);
    check_key(f, 2, 2);
    check_key(f, 3, 0);
    assert_true(is_amended(f)); /* else nothing was shown */
    finish_map(f.m, &counting);
}

/* A line may have a hash twice: of a key that was deleted from dirty, and of the same that came again. */
static void twice_in_a_line(void **state)
{
    (void)state;
    for (uint64_t first = 0; first < LINE_SLOTS - 1; first++) {
        for (uint64_t others = first + 1; others < LINE_SLOTS; others++) { /* so many keys there before it comes again */
            struct fixture f = make_with(SYNCMAP_U64, 1000, false);
            for (uint64_t n = 0; n < others; n++)
                assert_int_equal(store(f, key_of_line(f, n), n + 1), 0);
            assert_int_equal(syncmap_delete(f.m, syncmap_u64(key_of_line(f, first))), 1);
            assert_int_equal(store(f, key_of_line(f, first), 100), 0);
            promote_by_misses(f);
            unsigned hits = line_hits(&table_slots(read_of(f))[0], hash_u64(key_of_line(f, first), f.m->key.seed));
            assert_int_equal(hits, 1u << first | 1u << others);
            for (uint64_t n = 0; n < others; n++)
                check_key(f, key_of_line(f, n), n == first ? 100 : n + 1);
            assert_int_equal(syncmap_delete(f.m, syncmap_u64(key_of_line(f, first))), 1);
            check_key(f, key_of_line(f, first), 0);
            finish_map(f.m, &counting);
        }
    }
}

/* What is marked, NULL, or not there to be told. */
static void values_of_the_shortcut(void **state)
{
    (void)state;
    struct fixture f = make();
    void *out = number(1);
    (void)expunge_one(f);
    assert_int_equal(shortcut(f, 1), 0); /* EXPUNGED */
    check_key(f, 1, 0);
    assert_int_equal(syncmap_store(f.m, syncmap_u64(2), NULL), 1);
    assert_int_equal(shortcut(f, 2), 1);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(2), number(1), &out), 1);
    assert_null(out);
    out = number(1);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(2), EXPUNGED, &out), SYNCMAP_EINVAL);
    assert_ptr_equal(out, number(1));
    finish_map(f.m, &counting);
}

/* Whoever does nothing but hit still releases what was retired. */
static void hits_of_load_or_store_collect(void **state)
{
    (void)state;
    struct fixture f = make();
    void *out = NULL;
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), number(1)), 0);
    promote_by_misses(f);
    assert_int_equal(shortcut(f, 1), 1);
    st_relaxed(&own.record->work, RECLAIM_WORK);
    assert_int_equal(syncmap_load_or_store(f.m, syncmap_u64(1), number(2), &out), 1);
    assert_ptr_equal(out, number(1));
    assert_int_equal(ld_relaxed(&own.record->work), 0);
    finish_map(f.m, &counting);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_to_value),
        cmocka_unit_test(value_to_deleted_and_back),
        cmocka_unit_test(null_is_a_value),
        cmocka_unit_test(expunged_is_revived),
        cmocka_unit_test(expunged_is_absent),
        cmocka_unit_test(expunge_steps_check_the_state),
        cmocka_unit_test(promotion_at_exactly_len_misses),
        cmocka_unit_test(what_counts_as_a_miss),
        cmocka_unit_test(range_promotes_once),
        cmocka_unit_test(dirty_is_built_once_per_generation),
        cmocka_unit_test(growth_keeps_every_key),
        cmocka_unit_test(tombstones_do_not_accumulate),
        cmocka_unit_test(beyond_a_full_line),
        cmocka_unit_test(beyond_read),
        cmocka_unit_test(twice_in_a_line),
        cmocka_unit_test(values_of_the_shortcut),
        cmocka_unit_test(hits_of_load_or_store_collect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
