/* SPDX-License-Identifier: MIT
 *
 * White box: the shortcuts of what writes strings (src/flat_text.c), where their bucket changes, or the map is cleared, between search and lock.
 */
#include <stdbool.h>
#include <stddef.h>

/* Before each load of an atomic. */
static void (*before_load)(const volatile void *object);

static void loaded(const volatile void *object)
{
    if (before_load != NULL)
        before_load(object);
}

#define SYNCMAP_ATOMICS "unit/watched_atomics.h"
#include "unit/flat_fixture.h"

enum { BUCKETS = 64, TARGET = 5, TEXTS = 4 };

static struct fixture f;
static struct text texts[TEXTS]; /* which share a bucket */

static syncmap_key key_of(int i)
{
    return syncmap_str(texts[i].chars);
}

static void begin(uint64_t buckets)
{
    uint64_t n = 0;
    f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold(buckets), .seed = 1});
    assert_int_equal(table_buckets(root_of(f)), buckets);
    assert_int_equal(f.m->quick_write, FLAT_TEXT);
    for (int i = 0; i < TEXTS; i++)
        texts[i] = text_in(f, TARGET, "", &n, NULL);
}

static void *value_of(int i)
{
    void *value = NULL;
    return syncmap_load(f.m, key_of(i), &value) == 1 ? value : NULL;
}

/* ---- the bucket changes when the section has begun ---- */

static int looks, begun, afterwards;

/* As if others had added a key there, and deleted it. The operation leaves its section before it goes on. */
static void change_the_bucket(const volatile void *object)
{
    if (object == &sections_open && ++looks == 2) { /* once before the search, once in the section */
        struct bucket *home = home_of(root_of(f), TARGET);
        begun = 1;
        st_release(&home->header, ld_relaxed(&home->header) + BUCKET_VERSION);
    } else if (object == &f.flat->root && begun == 1 && afterwards++ == 0) {
        CHECK(ld_relaxed(&own.record->section) == 0);
    }
}

static void watch(void)
{
    looks = begun = afterwards = 0;
    before_load = change_the_bucket;
}

/* The operation has begun its section in vain, and was done all the same. */
static void unwatch(void)
{
    before_load = NULL;
    assert_true(begun > 0);
    assert_true(afterwards > 0);
    assert_int_equal(ld_relaxed(&own.record->section), 0);
}

static void changed_before_the_lock(void **state)
{
    (void)state;
    void *out;
    begin(BUCKETS);
    thread_attach();
    if (!ld_acquire(&sections_open)) { /* no membarrier: no shortcut */
        finish_map(f.m, &counting);
        skip();
    }
    watch();
    assert_int_equal(syncmap_store(f.m, key_of(0), number(1)), 0); /* a new key, whose record is made again */
    unwatch();
    assert_ptr_equal(value_of(0), number(1));
    watch();
    assert_int_equal(syncmap_swap(f.m, key_of(0), number(2), &out), 1);
    unwatch();
    assert_ptr_equal(out, number(1));
    watch();
    assert_int_equal(syncmap_load_and_delete(f.m, key_of(0), &out), 1);
    unwatch();
    assert_ptr_equal(out, number(2));
    watch();
    assert_int_equal(syncmap_load_or_store(f.m, key_of(0), number(3), &out), 0); /* revived */
    unwatch();
    assert_ptr_equal(value_of(0), number(3));
    assert_int_equal(syncmap_len(f.m), 1);
    finish_map(f.m, &counting);
}

/* ---- records ---- */

static const struct record *record_of(int i)
{
    struct bucket *home = home_of(root_of(f), TARGET);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        const struct record *r = word_record(ld_relaxed(&home->word[slot]));
        if (r != NULL && record_has_text(r, key_of(i)))
            return r;
    }
    return NULL;
}

/* V9: of when it was added; and what is revived keeps its own. */
static void records_have_their_age(void **state)
{
    (void)state;
    begin(BUCKETS);
    st_seq_cst(&f.flat->ages, 7);
    assert_int_equal(syncmap_store(f.m, key_of(0), number(1)), 0);
    const struct record *r = record_of(0);
    assert_non_null(r);
    assert_int_equal(ld_relaxed(&r->age), 7);
    assert_int_equal(syncmap_delete(f.m, key_of(0)), 1);
    st_seq_cst(&f.flat->ages, 9);
    assert_int_equal(syncmap_load_or_store(f.m, key_of(0), number(2), NULL), 0);
    assert_ptr_equal(record_of(0), r);
    assert_int_equal(ld_relaxed(&r->age), 7);
    assert_int_equal(syncmap_load_or_store(f.m, key_of(1), number(2), NULL), 0);
    assert_int_equal(ld_relaxed(&record_of(1)->age), 9);
    finish_map(f.m, &counting);
}

/* A full bucket, of which one slot keeps a record: another key evicts it, which is flat.c's to do. */
static void kept_slots_are_not_free(void **state)
{
    (void)state;
    begin(BUCKETS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(syncmap_store(f.m, key_of(i), number(i + 1)), 0);
    assert_int_equal(syncmap_delete(f.m, key_of(1)), 1);
    assert_non_null(record_of(1));
    assert_int_equal(syncmap_store(f.m, key_of(3), number(4)), 0);
    assert_null(record_of(1));
    assert_int_equal(ld_relaxed(&root_of(f)->used), 0);
    for (int i = 0; i < TEXTS; i++)
        assert_ptr_equal(value_of(i), i == 1 ? NULL : number(i + 1));
    finish_map(f.m, &counting);
}

/* A key that was deleted where records are not kept leaves its tag, which means nothing. */
static void stale_tags(void **state)
{
    (void)state;
    begin((uint64_t)2 << KEEP_BITS);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(syncmap_store(f.m, key_of(0), number(1)), 0);
        assert_int_equal(syncmap_delete(f.m, key_of(0)), 1);
        assert_null(record_of(0));
        assert_int_equal(syncmap_delete(f.m, key_of(0)), 0);
        assert_int_equal(syncmap_load_or_store(f.m, key_of(0), number(2), NULL), 0);
        assert_int_equal(syncmap_delete(f.m, key_of(0)), 1);
    }
    assert_int_equal(syncmap_len(f.m), 0);
    finish_map(f.m, &counting);
}

/* ---- an allocator that clears the map ---- */

static int clears;

static void clear_once(size_t size)
{
    (void)size;
    if (clears-- == 1)
        assert_int_equal(syncmap_clear(f.m), 0);
}

/* The key comes after the clear, into the new table. */
static void cleared_by_the_allocator(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        begin(BUCKETS);
        assert_int_equal(syncmap_store(f.m, key_of(1), number(1)), 0);
        clears = 1;
        calls_back = clear_once;
        int result = how == 0 ? syncmap_store(f.m, key_of(0), number(2)) : syncmap_load_or_store(f.m, key_of(0), number(2), NULL);
        calls_back = NULL;
        assert_int_equal(result, 0);
        assert_true(clears < 1);
        assert_ptr_equal(value_of(0), number(2));
        assert_null(value_of(1));
        assert_int_equal(syncmap_len(f.m), 1);
        finish_map(f.m, &counting);
    }
}

/* Out of memory, nothing has changed, and nothing was handed out. */
static void no_memory_for_a_record(void **state)
{
    (void)state;
    void *out = number(77);
    begin(BUCKETS);
    refuses = refuse_all;
    assert_int_equal(syncmap_store(f.m, key_of(0), number(1)), SYNCMAP_ENOMEM);
    assert_int_equal(syncmap_swap(f.m, key_of(0), number(1), &out), SYNCMAP_ENOMEM);
    assert_int_equal(syncmap_load_or_store(f.m, key_of(0), number(1), &out), SYNCMAP_ENOMEM);
    assert_ptr_equal(out, number(77));
    refuses = NULL;
    assert_int_equal(syncmap_len(f.m), 0);
    assert_int_equal(syncmap_store(f.m, key_of(0), number(1)), 0);
    refuses = refuse_all;
    assert_int_equal(syncmap_store(f.m, key_of(0), number(2)), 1);
    assert_int_equal(syncmap_delete(f.m, key_of(0)), 1);
    assert_int_equal(syncmap_store(f.m, key_of(0), number(3)), 0); /* revived */
    refuses = NULL;
    finish_map(f.m, &counting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changed_before_the_lock), cmocka_unit_test(records_have_their_age), cmocka_unit_test(kept_slots_are_not_free),
        cmocka_unit_test(stale_tags),              cmocka_unit_test(cleared_by_the_allocator), cmocka_unit_test(no_memory_for_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
