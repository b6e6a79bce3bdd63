/* SPDX-License-Identifier: MIT
 *
 * White box: a read/dirty map and looks into it. The library is in the same unit.
 */
#ifndef SYNCMAP_TEST_READ_DIRTY_FIXTURE_H
#define SYNCMAP_TEST_READ_DIRTY_FIXTURE_H

#include "syncmap.c"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "support/support.h"

static struct counting counting;

struct fixture {
    syncmap *m;
    struct read_dirty *rd;
};

static inline struct fixture make_with(enum syncmap_kind kind, size_t capacity, bool owning)
{
    syncmap_options options = {.engine = SYNCMAP_ENGINE_READ_DIRTY, .capacity = capacity, .value_free = owning ? value_free : NULL};
    counting_init(&counting);
    options.allocator = counting_allocator(&counting);
    struct fixture f;
    f.m = syncmap_new(kind, &options);
    assert_non_null(f.m);
    f.rd = engine_of(f.m);
    return f;
}

static inline struct fixture make(void)
{
    return make_with(SYNCMAP_U64, 0, false);
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

static inline bool is_amended(struct fixture f)
{
    return amended(ld_relaxed(&f.rd->read));
}

static inline struct table *dirty_of(struct fixture f)
{
    return ld_relaxed(&f.rd->dirty);
}

static inline struct table *read_of(struct fixture f)
{
    return read_table(ld_relaxed(&f.rd->read));
}

static inline struct entry *in_read(struct fixture f, uint64_t key)
{
    struct query q = {0};
    assert_true(query_init(&q, f.m, syncmap_u64(key)));
    return find(read_of(f), &q);
}

static inline struct entry *in_dirty(struct fixture f, uint64_t key)
{
    struct query q = {0};
    assert_true(query_init(&q, f.m, syncmap_u64(key)));
    return dirty_of(f) != NULL ? find_dirty(dirty_of(f), &q) : NULL;
}

static inline void *p_of(const struct entry *e)
{
    return ld_relaxed(&e->p);
}

/* Misses an absent key until dirty is promoted. */
static inline void promote_by_misses(struct fixture f)
{
    for (int misses = 0; is_amended(f); misses++) {
        assert_true(misses < 100000); /* far more than any dirty here takes */
        load(f, UINT64_MAX);
    }
}

/* Keys 1 to n in read, no dirty. */
static inline void fill_read(struct fixture f, uint64_t n)
{
    for (uint64_t key = 1; key <= n; key++)
        assert_int_equal(store(f, key, key), 0);
    promote_by_misses(f);
    assert_int_equal(ld_relaxed(&read_of(f)->len), n);
}

/* Key 1 EXPUNGED in read, 2 in both, 3 in dirty alone. */
static inline struct entry *expunge_one(struct fixture f)
{
    fill_read(f, 2);
    struct entry *e = in_read(f, 1);
    assert_int_equal(syncmap_delete(f.m, syncmap_u64(1)), 1);
    assert_ptr_equal(p_of(e), DELETED);
    assert_int_equal(store(f, 3, 3), 0);
    assert_ptr_equal(p_of(e), EXPUNGED);
    assert_null(in_dirty(f, 1));
    assert_ptr_equal(f.rd->expunged, e);
    assert_int_equal(ld_relaxed(&f.rd->expunged_count), 1);
    return e;
}

#endif
