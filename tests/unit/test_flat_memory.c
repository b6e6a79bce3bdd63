/* SPDX-License-Identifier: MIT
 *
 * White box: flat without memory, and the end of what it has: growth that cannot be, movers that give up, every allocation of every
 * operation refused, clear and free in the middle of a move, tables from the system, and release in steps.
 */
#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the system's mappings: each byte is given back once ---- */

static struct {
    size_t live;         /* bytes that are mapped, or whose unmapping was refused */
    unsigned maps, unmaps;
    size_t largest;      /* of the unmappings */
    bool refuse_map, refuse_unmap, refuse_advice;
    unsigned huge, small;  /* times that such pages were asked for */
    unsigned populations;  /* times that pages were to be made, */
    size_t populated, most; /* how much, and at once */
} pages;

static void *test_mmap(void *where, size_t size, int protection, int flags, int file, off_t offset);
static int test_munmap(void *start, size_t size);
static int test_madvise(void *start, size_t size, int advice);
#define mmap test_mmap
#define munmap test_munmap
#define madvise test_madvise
#include "unit/flat_fixture.h"
#undef mmap
#undef munmap
#undef madvise

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

static void *test_mmap(void *where, size_t size, int protection, int flags, int file, off_t offset)
{
    pages.maps++;
    if (pages.refuse_map) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *start = mmap(where, size, protection, flags, file, offset);
    if (start != MAP_FAILED)
        pages.live += whole_pages(size);
    return start;
}

static int test_madvise(void *start, size_t size, int advice)
{
    CHECK((uintptr_t)start == whole_pages((uintptr_t)start) && size > 0);
    CHECK(msync(start, size, MS_ASYNC) == 0); /* all of it is mapped */
    if (advice == MADV_POPULATE_WRITE) {
        pages.populations++;
        pages.populated += size;
        if (size > pages.most)
            pages.most = size;
    } else {
        CHECK(advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE);
        CHECK((uintptr_t)start % HUGE_PAGE == 0 && size % HUGE_PAGE == 0);
        *(advice == MADV_HUGEPAGE ? &pages.huge : &pages.small) += 1;
    }
    if (!pages.refuse_advice)
        return madvise(start, size, advice);
    errno = EINVAL;
    return -1;
}

/* A byte that is not mapped is one that was given back before. */
static int test_munmap(void *start, size_t size)
{
    CHECK((uintptr_t)start == whole_pages((uintptr_t)start) && size > 0);
    CHECK(msync(start, size, MS_ASYNC) == 0); /* all of it is mapped */
    CHECK(pages.live >= whole_pages(size));
    pages.live -= whole_pages(size);
    pages.unmaps++;
    if (whole_pages(size) > pages.largest)
        pages.largest = whole_pages(size);
    if (!pages.refuse_unmap)
        return munmap(start, size);
    errno = ENOMEM;
    return -1;
}

/* ---- keys by number, of integers or records, with hashes of their own ---- */

enum { NUMBERS = 1024, BUCKETS = 64, FLOOD_KEYS = 24, FLOODED = 10, LATE = 150 };

static struct hashed objects[NUMBERS];

/* The first FLOOD_KEYS keys in one bucket of 64, and in one half of it, which is full then, and key LATE there, too; the others anywhere else. */
static uint64_t hash_of_number(uint64_t n)
{
    uint64_t other = (n * 0x9e3779b97f4a7c15u) >> 7;
    if (n >= FLOOD_KEYS && n != LATE)
        return (n % (BUCKETS - 1) + (n % (BUCKETS - 1) >= FLOODED)) << 58 | other << 1;
    return ((uint64_t)FLOODED << 58) + n;
}

static syncmap_key key_number(struct fixture f, uint64_t n)
{
    assert_true(n < NUMBERS);
    if (f.flat->map.key.kind == SYNCMAP_U64)
        return syncmap_u64(key_of_hash(f, hash_of_number(n)));
    objects[n].hash = hash_of_number(n);
    return syncmap_obj(&objects[n]);
}

static void *value_number(struct fixture f, uint64_t n)
{
    return f.flat->map.value_free != NULL ? (void *)value_make(n) : number(n);
}

static void put(struct fixture f, uint64_t n)
{
    assert_int_equal(syncmap_store(f.m, key_number(f, n), value_number(f, n)), 0);
}

/* With keys from..to - 1, and a table of 64 buckets, whose growth, if it is due, waits. */
static struct fixture make_numbered(bool records, bool owning, uint64_t from, uint64_t to)
{
    size_t capacity = (size_t)buckets_hold(BUCKETS);
    struct fixture f = records ? make_hashed(capacity, owning) : make_with(SYNCMAP_U64, capacity, owning);
    assert_int_equal(table_buckets(root_of(f)), BUCKETS);
    refuses = refuse_tables;
    for (uint64_t n = from; n < to; n++)
        put(f, n);
    refuses = NULL;
    assert_null(next_of(f));
    return f;
}

static void check_numbers(struct fixture f, uint64_t from, uint64_t to)
{
    syncmap_pin();
    for (uint64_t n = 0; n < NUMBERS; n++) {
        void *value = NULL;
        bool present = n >= from && n < to;
        assert_int_equal(syncmap_load(f.m, key_number(f, n), &value), present);
        assert_int_equal(copies_of(f, key_number(f, n)), present);
        if (!present)
            continue;
        if (f.flat->map.value_free != NULL)
            value_check(value, n);
        else
            assert_ptr_equal(value, number(n));
    }
    syncmap_unpin();
    check_map(f, to > from ? to - from : 0);
}

/* ---- growth that cannot be ---- */

static unsigned tables_refused;

static bool refuse_tables_counted(size_t size)
{
    bool refused = refuse_tables(size);
    tables_refused += refused;
    return refused;
}

/* It goes on with longer chains, tries again when there are an eighth more, and grows as soon as it can. */
static void growth_waits_for_memory(void **state)
{
    (void)state;
    struct fixture f = make();
    refuses = refuse_tables_counted;
    tables_refused = 0;
    for (uint64_t key = 0; key < 2000; key++)
        assert_int_equal(store(f, key, key), 0);
    check_map(f, 2000);
    assert_int_equal(table_buckets(root_of(f)), LEAST_BUCKETS);
    assert_true(tables_refused > 10 && tables_refused < 80);
    assert_true(ld_relaxed(&root_of(f)->used) >= 2000 / SLOTS - LEAST_BUCKETS);
    assert_false(ld_relaxed(&root_of(f)->growing));
    refuses = NULL;
    uint64_t key = 2000;
    while (next_of(f) == NULL) {
        assert_true(key < 2000 + 2000 / 4);
        assert_int_equal(store(f, key, key), 0);
        key++;
    }
    for (; table_buckets(root_of(f)) < 512; key++)
        assert_int_equal(store(f, key, key), 0);
    assert_true(key < 3000);
    for (uint64_t k = 0; k < key; k++)
        assert_int_equal(load(f, k), 1);
    check_map(f, key);
    finish_map(f.m, &counting);
}

/* The same for halving: it goes on as it is. */
static void halving_waits_for_memory(void **state)
{
    (void)state;
    struct fixture f = make_numbered(false, false, 0, 200);
    allow_halving(f);
    refuses = refuse_tables_counted;
    tables_refused = 0;
    for (uint64_t n = 20; n < 200; n++)
        assert_int_equal(syncmap_delete(f.m, key_number(f, n)), 1);
    assert_true(tables_refused > 0);
    assert_int_equal(table_buckets(root_of(f)), BUCKETS);
    check_numbers(f, 0, 20);
    refuses = NULL;
    assert_int_equal(syncmap_delete(f.m, key_number(f, 19)), 1);
    assert_non_null(next_of(f));
    move_all(f);
    check_numbers(f, 0, 19);
    finish_map(f.m, &counting);
}

/* ---- a mover that gives up ---- */

/* A table of 64 buckets with a chain so long that a next of 128 or fewer needs more overflow buckets than come with it. Bucket FLOODED is
 * the one that cannot be moved, until there is memory. */
static struct fixture make_stuck(uint64_t buckets, uint64_t *keys)
{
    struct fixture f = make_numbered(false, false, 0, 0);
    *keys = 0;
    refuses = refuse_tables;
    for (uint64_t least = SLOTS * (table_first_overflow(buckets) + 3); *keys < least; ++*keys)
        assert_int_equal(store(f, key_in(f, BUCKETS, FLOODED, *keys), *keys), 0);
    for (uint64_t i = 0; i < BUCKETS; i++, ++*keys)
        assert_int_equal(store(f, key_in(f, BUCKETS, i, 1000), i), 0);
    refuses = NULL;
    begin_move(f, buckets);
    refuses = refuse_all;
    return f;
}

static void check_stuck(struct fixture f, uint64_t keys)
{
    for (uint64_t n = 0; n < keys - BUCKETS; n++) {
        assert_int_equal(load(f, key_in(f, BUCKETS, FLOODED, n)), 1);
        assert_int_equal(copies_of(f, syncmap_u64(key_in(f, BUCKETS, FLOODED, n))), 1);
    }
    for (uint64_t i = 0; i < BUCKETS; i++)
        assert_int_equal(copies_of(f, syncmap_u64(key_in(f, BUCKETS, i, 1000))), 1);
    check_map(f, keys);
}

/* All else is moved. The map works; each writer tries again, and when there is memory the last is moved, and promoted. */
static void a_mover_gives_up_and_is_followed(void **state)
{
    (void)state;
    for (uint64_t buckets = BUCKETS / 2; buckets <= 2 * BUCKETS; buckets *= 4) {
        uint64_t keys, last = buckets < BUCKETS ? 2 : 1;
        struct fixture f = make_stuck(buckets, &keys);
        struct flat_table *t = root_of(f), *next = next_of(f);
        for (int i = 0; i < 2 * BUCKETS; i++) {
            move_chunk(f);
            check_map(f, keys);
        }
        assert_true(ld_relaxed(&t->gave_up));
        assert_int_equal(ld_relaxed(&t->moved), BUCKETS - last);
        for (uint64_t i = 0; i < BUCKETS; i++)
            assert_int_equal(is_moved(t, i), i / last != FLOODED / last);
        assert_int_equal(spare_in(next) + (uint64_t)ld_relaxed(&next->used), ld_relaxed(&next->fresh));
        check_stuck(f, keys);
        assert_int_equal(store(f, key_in(f, BUCKETS, FLOODED, 0), 0), 1); /* in what is not moved, and in what is */
        assert_int_equal(store(f, key_in(f, BUCKETS, FLOODED + 2, 1000), FLOODED + 2), 1);
        assert_int_equal(erase(f, key_in(f, BUCKETS, FLOODED, keys - BUCKETS - 1)), 1);
        assert_int_equal(store(f, key_in(f, BUCKETS, FLOODED, keys - BUCKETS - 1), 1), 0);
        assert_ptr_equal(root_of(f), t);
        refuses = NULL;
        move_all(f);
        assert_ptr_equal(root_of(f), next);
        assert_int_equal(ld_relaxed(&t->moved), BUCKETS);
        check_stuck(f, keys);
        finish_map(f.m, &counting);
    }
}

/* Where the chain has become short enough meanwhile, it needs no memory any more. */
static void a_mover_that_gave_up_needs_less(void **state)
{
    (void)state;
    uint64_t keys, n = 0;
    struct fixture f = make_stuck(2 * BUCKETS, &keys);
    struct flat_table *next = next_of(f);
    for (; root_of(f) != next; n++) {
        assert_true(n < keys - BUCKETS);
        assert_int_equal(erase(f, key_in(f, BUCKETS, FLOODED, n)), 1);
    }
    assert_true(n > 2 * SLOTS);
    check_map(f, keys - n);
    refuses = NULL;
    finish_map(f.m, &counting);
}

/* reserve says so while a mover cannot go on, and does its work as soon as there is memory. */
static void reserve_after_a_mover_gave_up(void **state)
{
    (void)state;
    uint64_t keys;
    struct fixture f = make_stuck(2 * BUCKETS, &keys);
    assert_int_equal(syncmap_reserve(f.m, 10000), SYNCMAP_ENOMEM);
    assert_int_equal(syncmap_reserve(f.m, 10000), SYNCMAP_ENOMEM);
    check_map(f, keys);
    refuses = NULL;
    assert_int_equal(syncmap_reserve(f.m, 10000), 0);
    assert_int_equal(table_buckets(root_of(f)), buckets_for(10000));
    assert_null(next_of(f));
    check_stuck(f, keys);
    finish_map(f.m, &counting);
}

/* With what the flooded bucket still has, in the old table, and all else in the new. */
static void clear_and_free_after_a_mover_gave_up(void **state)
{
    (void)state;
    for (int with_clear = 0; with_clear < 2; with_clear++) {
        uint64_t keys;
        struct fixture f = make_stuck(2 * BUCKETS, &keys);
        for (int i = 0; i < BUCKETS; i++)
            move_chunk(f);
        refuses = NULL;
        if (with_clear) {
            assert_int_equal(syncmap_clear(f.m), 0);
            check_map(f, 0);
        }
        finish_map(f.m, &counting);
    }
}

/* ---- each allocation of each operation ---- */

enum state { NO_KEYS, FULL_BUCKET, NO_SPARE, DUE_TO_GROW, MOVING, STATES };
enum operation { STORE, SWAP, LOAD_OR_STORE, REPLACE, DELETE, COMPARE_AND_SWAP, CLEAR, RESERVE, RESERVE_MUCH, OPERATIONS };

/* Keys 0 to *keys - 1. The next one goes to the flooded bucket, where it needs an overflow bucket (but in a map with no keys). */
static struct fixture make_state(enum state state, bool records, bool owning, uint64_t *keys)
{
    *keys = state == NO_KEYS ? 0 : state == FULL_BUCKET ? SLOTS : state == NO_SPARE ? 2 * SLOTS : LATE;
    if (state == DUE_TO_GROW || state == MOVING) {
        struct fixture f = make_numbered(records, owning, 0, *keys);
        st_relaxed(&root_of(f)->full, 0); /* the next overflow bucket */
        if (state == MOVING) {
            begin_move(f, 2 * BUCKETS);
            move_chunk(f);
        }
        return f;
    }
    struct fixture f = make_numbered(records, owning, 0, *keys);
    if (state == NO_SPARE)
        st_relaxed(&root_of(f)->fresh, root_of(f)->overflow.first); /* as if all were in use elsewhere */
    return f;
}

static int operate(struct fixture f, enum operation operation, uint64_t keys)
{
    void *value, *out = NULL;
    int result;
    switch (operation) {
    case STORE: case SWAP: case LOAD_OR_STORE: case REPLACE:
        keys -= operation == REPLACE;
        value = value_number(f, keys);
        syncmap_pin();
        result = operation == SWAP            ? syncmap_swap(f.m, key_number(f, keys), value, &out)
                 : operation == LOAD_OR_STORE ? syncmap_load_or_store(f.m, key_number(f, keys), value, &out)
                                              : syncmap_store(f.m, key_number(f, keys), value);
        syncmap_unpin();
        if (result < 0 && f.flat->map.value_free != NULL)
            value_release(value);
        return result;
    case DELETE:
        return syncmap_delete(f.m, key_number(f, keys - 1));
    case COMPARE_AND_SWAP:
        return syncmap_compare_and_swap(f.m, key_number(f, keys), NULL, NULL);
    case CLEAR:
        return syncmap_clear(f.m);
    case RESERVE:
        return syncmap_reserve(f.m, 3 * BUCKETS);
    default:
        return syncmap_reserve(f.m, (size_t)BUCKETS * 100);
    }
}

/* What an allocation that fails may make fail. */
static bool may_fail(enum operation operation)
{
    return operation != REPLACE && operation != DELETE && operation != COMPARE_AND_SWAP;
}

/* How many keys there are after an operation that did not fail. */
static uint64_t keys_after(enum operation operation, uint64_t keys)
{
    return operation <= LOAD_OR_STORE ? keys + 1 : operation == DELETE ? keys - 1 : operation == CLEAR ? 0 : keys;
}

/* As check_numbers, for a state in which some numbers of overflow buckets are set aside. */
static void check_state(struct fixture f, enum state state, uint64_t keys)
{
    if (state != NO_SPARE) {
        check_numbers(f, 0, keys);
        return;
    }
    for (uint64_t n = 0; n < NUMBERS; n++)
        assert_int_equal(syncmap_load(f.m, key_number(f, n), NULL), n < keys);
    assert_int_equal(syncmap_len(f.m), keys);
}

/* The n-th allocation fails, with all after it, for each n. Returns how many were refused. */
static unsigned refuse_each(enum state state, enum operation operation, bool records, bool owning)
{
    for (unsigned n = 0;; n++) {
        uint64_t keys;
        struct fixture f = make_state(state, records, owning, &keys);
        struct flat_table *t = root_of(f);
        int64_t used = ld_relaxed(&t->used);
        syncmap_barrier();
        long long blocks = atomic_load(&counting.live_blocks), calls = atomic_load(&counting.calls);
        assert_true(n < 100);
        atomic_store(&counting.fail_after, n);
        int result = operate(f, operation, keys);
        atomic_store(&counting.fail_after, -1);
        bool refused = atomic_load(&counting.calls) - calls > n;
        if (result < 0) {
            assert_int_equal(result, SYNCMAP_ENOMEM);
            assert_true(refused && may_fail(operation));
            check_state(f, state, keys);
            if (operation < CLEAR) { /* nothing is left of it */
                syncmap_barrier();
                if (state != MOVING)
                    assert_int_equal(atomic_load(&counting.live_blocks), blocks);
                assert_int_equal(ld_relaxed(&t->used), used);
            }
            assert_true(operate(f, operation, keys) >= 0);
        }
        move_all(f);
        check_state(f, state, keys_after(operation, keys));
        finish_map(f.m, &counting);
        if (!refused)
            return n;
    }
}

static void every_allocation_is_refused(void **state)
{
    (void)state;
    unsigned refused[OPERATIONS] = {0};
    for (int s = 0; s < STATES; s++)
        for (int operation = 0; operation < OPERATIONS; operation++)
            for (int form = 0; form < 4; form++) {
                if (s == NO_KEYS && (operation == REPLACE || operation == DELETE))
                    continue;
                refused[operation] += refuse_each((enum state)s, (enum operation)operation, form & 1, form & 2);
            }
    for (int operation = 0; operation < OPERATIONS; operation++)
        assert_int_equal(refused[operation] > 0, may_fail((enum operation)operation));
}

static void new_is_refused(void **state)
{
    (void)state;
    static const size_t capacities[] = {0, 1000, 100000};
    for (size_t i = 0; i < 3; i++) {
        counting_init(&counting);
        refuses = NULL;
        syncmap_options options = {.engine = SYNCMAP_ENGINE_FLAT, .capacity = capacities[i],
                                   .allocator = counting_allocator(&counting)};
        syncmap *m = NULL;
        for (int n = 0; m == NULL; n++) {
            assert_true(n <= 3); /* the map, an era, a table */
            atomic_store(&counting.fail_after, n);
            m = syncmap_new(SYNCMAP_U64, &options);
            assert_int_equal(m == NULL, n < 3);
            if (m == NULL)
                assert_int_equal(atomic_load(&counting.live_blocks), 0);
        }
        atomic_store(&counting.fail_after, -1);
        finish_map(m, &counting);
        options.capacity = SIZE_MAX;
        assert_null(syncmap_new(SYNCMAP_U64, &options));
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(atomic_load(&counting.live_blocks), 0);
    }
}

/* Where the key is, or what it needs. False: memory is out. */
static bool find_or_reserve(struct flat *m, struct query *q, struct spot *s, struct flat_seat *seat)
{
    spot_find_again(m, q, s);
    return s->in != NULL || seat_reserve(m, s, q, seat);
}

/* What an operation made ready and did not need: the record, the overflow bucket. */
static void seats_are_given_back(void **state)
{
    (void)state;
    struct fixture f = make_numbered(true, false, 0, SLOTS);
    struct query q = query_of(f, key_number(f, SLOTS));
    long long blocks = atomic_load(&counting.live_blocks);
    struct flat_seat seat = {0};
    struct spot s;
    assert_true(find_or_reserve(f.flat, &q, &s, &seat));
    assert_non_null(seat.record);
    assert_int_not_equal(seat.overflow, 0);
    assert_int_equal(ld_relaxed(&root_of(f)->used), 1);
    struct record *record = seat.record;
    put(f, SLOTS + 1); /* another is quicker */
    assert_false(spot_lock(&s, BUCKET_VERSION));
    assert_true(find_or_reserve(f.flat, &q, &s, &seat)); /* it has an overflow bucket now, with a free slot */
    assert_ptr_equal(seat.record, record);
    begin_move(f, 2 * BUCKETS);
    move_all(f);
    assert_true(find_or_reserve(f.flat, &q, &s, &seat)); /* in another table */
    for (uint64_t n = SLOTS + 2; n <= 2 * SLOTS; n++) /* and that is full, too */
        put(f, n);
    assert_true(find_or_reserve(f.flat, &q, &s, &seat));
    assert_ptr_equal(seat.t, root_of(f));
    seat_release(f.flat, &seat);
    for (uint64_t n = SLOTS + 1; n <= 2 * SLOTS; n++)
        assert_int_equal(syncmap_delete(f.m, key_number(f, n)), 1);
    move_all(f); /* back to half the size */
    syncmap_barrier();
    assert_int_equal(atomic_load(&counting.live_blocks), blocks);
    check_map(f, SLOTS);
    finish_map(f.m, &counting);
}

/* ---- clear and free in the middle of a move ---- */

static struct fixture make_half_moved(uint64_t buckets, int chunks, bool records)
{
    struct fixture f = make_numbered(records, true, 0, 200);
    begin_move(f, buckets);
    while (chunks-- > 0)
        move_chunk(f);
    return f;
}

/* `how`: 0 free; 1 clear, and then free; 2 clear while another is pinned that goes on with the old tables. */
static void end_half_moved(uint64_t buckets, int chunks, bool records, int how)
{
    struct fixture f = make_half_moved(buckets, chunks, records);
    struct flat_table *t = root_of(f), *next = next_of(f);
    if (how > 0) {
        struct query q = query_of(f, key_number(f, 150)), absent = query_of(f, key_number(f, 300));
        struct flat_seat seat = {0};
        struct spot s, s_absent;
        syncmap_pin();
        spot_find_again(f.flat, &q, &s);
        assert_true(find_or_reserve(f.flat, &absent, &s_absent, &seat));
        assert_int_equal(syncmap_clear(f.m), 0);
        assert_int_equal(syncmap_len(f.m), 0);
        put(f, 5);
        if (how == 2) { /* the old era's keys come, go and are replaced, and the rest is moved, and not promoted */
            assert_true(spot_lock(&s_absent, BUCKET_VERSION));
            spot_insert(f.flat, &s_absent, &absent, &seat, value_make(300));
            spot_find_again(f.flat, &q, &s); /* absent: it looks at the new root */
            assert_null(s.in);
            for (int i = 0; next != NULL && ld_relaxed(&t->moved) < BUCKETS; i++) {
                assert_true(i < 2 * BUCKETS);
                (void)flat_move_slow(f.flat, t, next, false);
            }
            assert_ptr_not_equal(root_of(f), next);
            assert_ptr_not_equal(root_of(f), t);
        }
        seat_release(f.flat, &seat);
        syncmap_barrier(); /* pinned: does nothing */
        assert_true(values_live() >= 201);
        syncmap_unpin();
        syncmap_barrier();
        assert_int_equal(values_live(), 1);
        check_numbers(f, 5, 6);
    }
    finish_map(f.m, &counting);
}

static void ended_in_the_middle_of_a_move(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++)
        for (int records = 0; records < 2; records++)
            for (uint64_t buckets = BUCKETS / 2; buckets <= BUCKETS * TARGETS; buckets *= 2)
                for (int chunks = 0; buckets != BUCKETS && chunks <= BUCKETS / CHUNK * 8; chunks = 2 * chunks + 1)
                    end_half_moved(buckets, chunks, records, how);
}

/* Who deletes or replaces in a table that was cleared meanwhile: the count of the new era does not notice. */
static void late_in_a_cleared_table(void **state)
{
    (void)state;
    struct fixture f = make_numbered(true, true, 0, 20);
    struct query q = query_of(f, key_number(f, 3)), other = query_of(f, key_number(f, 4));
    struct spot s, s_other;
    syncmap_pin();
    spot_find_again(f.flat, &q, &s);
    spot_find_again(f.flat, &other, &s_other);
    assert_int_equal(syncmap_clear(f.m), 0);
    put(f, 3);
    assert_true(spot_lock(&s, 0));
    void *old = spot_replace(&s, value_make(3));
    value_check(old, 3);
    value_release(old);
    spot_unlock(f.flat, &s);
    spot_find_again(f.flat, &q, &s);
    assert_ptr_equal(s.t, root_of(f));
    assert_true(spot_lock(&s_other, BUCKET_VERSION));
    old = spot_delete(f.flat, s_other);
    value_check(old, 4);
    value_release(old);
    assert_int_equal(syncmap_len(f.m), 1);
    syncmap_unpin();
    syncmap_barrier();
    assert_int_equal(values_live(), 1);
    check_numbers(f, 3, 4);
    finish_map(f.m, &counting);
}

/* ---- tables from the system ---- */

static struct fixture make_mapped(size_t capacity, bool owning)
{
    struct fixture f;
    syncmap_options options = {.engine = SYNCMAP_ENGINE_FLAT, .capacity = capacity, .value_free = owning ? value_free : NULL};
    pages.largest = pages.maps = pages.unmaps = 0;
    assert_int_equal(pages.live, 0);
    f.m = syncmap_new(SYNCMAP_U64, &options);
    f.flat = f.m != NULL ? flat_of(f.m) : NULL;
    return f;
}

static void finish_mapped(struct fixture f)
{
    syncmap_free(f.m);
    syncmap_barrier();
    assert_int_equal(pages.live, 0);
    assert_int_equal(values_live(), 0);
}

enum { SMALLEST_MAPPED = 32768 }; /* buckets: 2 MiB */

static void large_tables_are_mapped(void **state)
{
    (void)state;
    struct fixture f = make_mapped(SMALLEST_MAPPED / 2 / 4 * 9, false);
    assert_int_equal(table_buckets(root_of(f)), SMALLEST_MAPPED / 2);
    assert_int_equal(pages.maps, 0);
    for (uint64_t key = 0; pages.maps == 0; key++) /* grows */
        assert_int_equal(store(f, key, key), 0);
    assert_int_equal(pages.live, whole_pages(flat_table_size(next_of(f))));
    finish_mapped(f);
    assert_true(pages.unmaps >= 2);
    for (uint64_t buckets = SMALLEST_MAPPED; buckets <= 8 * SMALLEST_MAPPED; buckets *= 2) {
        f = make_mapped((size_t)(buckets / 4 * 9), false);
        struct flat_table *t = root_of(f);
        size_t size = flat_table_size(t);
        assert_int_equal(table_buckets(t), buckets);
        assert_int_equal(pages.maps, 1);
        assert_int_equal((uintptr_t)t % HUGE_PAGE, 0);
        assert_int_equal(pages.live, whole_pages(size)); /* what was too much is back */
        for (uint64_t i = 0; i < 4 * buckets / 4; i++)
            assert_int_equal(store(f, i, i), 0);
        pages.unmaps = 0;
        pages.largest = 0;
        finish_mapped(f);
        assert_true(pages.unmaps >= size / (TABLE_PART + HUGE_PAGE) && pages.unmaps <= size / TABLE_PART + 1);
        assert_true(pages.largest < TABLE_PART + HUGE_PAGE);
    }
}

/* One part at each step, from the end, and never what is before it. */
static void mapped_tables_go_in_parts(void **state)
{
    (void)state;
    struct fixture f = make_mapped(8 * SMALLEST_MAPPED / 4 * 9, false);
    struct flat_table *t = root_of(f);
    size_t size = flat_table_size(t), left = size;
    syncmap_barrier();
    assert_int_equal(syncmap_clear(f.m), 0);
    struct thread *self = thread_attach();
    while (pages.live == whole_pages(size)) /* its grace period */
        collect(self, EFFORT_POLL);
    while (pages.live > 0) {
        assert_true(pages.live >= left - TABLE_PART - HUGE_PAGE);
        assert_true(pages.live <= left - TABLE_PART + HUGE_PAGE);
        assert_int_equal(pages.live % HUGE_PAGE, 0);
        assert_int_equal(t->left, pages.live); /* it is still there */
        left = pages.live;
        collect(self, EFFORT_POLL);
    }
    syncmap_barrier();
    finish_mapped(f);
}

/* No mapping is to be had: as with any other memory. */
static void mapping_is_refused(void **state)
{
    (void)state;
    pages.refuse_map = true;
    struct fixture f = make_mapped(SMALLEST_MAPPED / 4 * 9, false);
    assert_null(f.m);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(pages.maps, 1);
    f = make_mapped(SMALLEST_MAPPED / 4, false);
    assert_non_null(f.m);
    uint64_t keys = SMALLEST_MAPPED * 2;
    for (uint64_t key = 0; key < keys; key++)
        assert_int_equal(store(f, key, key), 0);
    assert_int_equal(syncmap_reserve(f.m, SMALLEST_MAPPED * 4), SYNCMAP_ENOMEM);
    assert_true(pages.maps > 1 && pages.maps < 20);
    assert_int_equal(table_buckets(root_of(f)), SMALLEST_MAPPED / 2);
    pages.refuse_map = false;
    assert_int_equal(syncmap_reserve(f.m, SMALLEST_MAPPED * 4), 0);
    for (uint64_t key = 0; key < keys; key++)
        assert_int_equal(load(f, key), 1);
    check_map(f, keys);
    finish_mapped(f);
}

/* What cannot be unmapped is lost, and no more than that. */
static void unmapping_is_refused(void **state)
{
    (void)state;
    pages.refuse_unmap = true;
    struct fixture f = make_mapped(SMALLEST_MAPPED / 4 * 9, true);
    assert_non_null(f.m);
    for (uint64_t key = 0; key < 1000; key++)
        assert_int_equal(syncmap_store(f.m, syncmap_u64(key), value_make(key)), 0);
    assert_int_equal(syncmap_reserve(f.m, 4 * SMALLEST_MAPPED), 0);
    assert_int_equal(syncmap_clear(f.m), 0);
    syncmap_barrier();
    assert_int_equal(values_live(), 0);
    assert_int_equal(syncmap_reserve(f.m, 4 * SMALLEST_MAPPED), 0);
    finish_mapped(f);
    pages.refuse_unmap = false;
}

static void forget_advice(void)
{
    pages.huge = pages.small = pages.populations = 0;
    pages.populated = pages.most = 0;
}

static syncmap *make_paged(enum syncmap_kind kind, enum syncmap_engine engine, enum syncmap_huge_pages huge_pages)
{
    const syncmap_options options = {.engine = engine, .huge_pages = huge_pages};
    forget_advice();
    syncmap *m = syncmap_new(kind, &options);
    assert_non_null(m);
    return m;
}

static void store_strings(syncmap *m, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        assert_int_equal(syncmap_store(m, syncmap_str(text), m), 0);
    }
}

/* Huge pages are asked for where the table is all there is, or where the caller does; small ones are made ahead, in order, TABLE_AHEAD at a
 * time, and each once; whether the system does as it is told or not. */
static void tables_get_their_pages(void **state)
{
    (void)state;
    enum { KEYS = SMALLEST_MAPPED / 2 * 3 + 1000 }; /* more than the last table that is not mapped holds: 2.5 a bucket */
    static const struct {
        enum syncmap_kind kind;
        enum syncmap_huge_pages option;
        unsigned huge, small;
    } cases[] = {
        {SYNCMAP_U64, SYNCMAP_HUGE_PAGES_DEFAULT, 1, 0},    {SYNCMAP_U64, SYNCMAP_HUGE_PAGES_ASK, 1, 0},
        {SYNCMAP_U64, SYNCMAP_HUGE_PAGES_NEVER, 0, 1},      {SYNCMAP_STRING, SYNCMAP_HUGE_PAGES_DEFAULT, 0, 0},
        {SYNCMAP_STRING, SYNCMAP_HUGE_PAGES_ASK, 1, 0},     {SYNCMAP_STRING, SYNCMAP_HUGE_PAGES_NEVER, 0, 1},
    };
    for (unsigned i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        pages.refuse_advice = i % 2;
        pages.maps = 0;
        struct fixture f = {.m = make_paged(cases[i / 2].kind, SYNCMAP_ENGINE_FLAT, cases[i / 2].option)};
        f.flat = flat_of(f.m);
        if (cases[i / 2].kind == SYNCMAP_STRING)
            store_strings(f.m, KEYS);
        else
            for (uint64_t key = 0; key < KEYS; key++)
                assert_int_equal(store(f, key, key), 0);
        move_all(f);
        struct flat_table *t = root_of(f);
        size_t buckets = (size_t)table_buckets(t) * sizeof(struct bucket);
        assert_int_equal(table_buckets(t), SMALLEST_MAPPED);
        assert_int_equal(pages.maps, 1);
        assert_int_equal(pages.huge, cases[i / 2].huge);
        assert_int_equal(pages.small, cases[i / 2].small);
        if (pages.huge > 0) {
            assert_int_equal(pages.populations, 0);
        } else { /* the first part, with the head, comes as it is; of the overflow buckets, those that were ever used */
            assert_int_equal(pages.most, TABLE_AHEAD);
            assert_true(pages.populated >= buckets - TABLE_AHEAD && pages.populated <= flat_table_size(t));
            size_t used = buckets + (size_t)ld_relaxed(&t->fresh) * sizeof(struct bucket);
            assert_true(pages.populated <= used + TABLE_AHEAD);
        }
        finish_mapped(f);
    }
    pages.refuse_advice = false;
}

/* A table that is made at once has its pages made at once; so has one of the other engine. */
static void whole_tables_get_their_pages(void **state)
{
    (void)state;
    for (int engine = SYNCMAP_ENGINE_READ_DIRTY; engine <= SYNCMAP_ENGINE_FLAT; engine++) {
        for (int option = 0; option <= SYNCMAP_HUGE_PAGES_NEVER; option++) {
            for (int kind = 0; kind < 2; kind++) {
                bool flat = engine == SYNCMAP_ENGINE_FLAT;
                bool huge = option == SYNCMAP_HUGE_PAGES_ASK || (option == SYNCMAP_HUGE_PAGES_DEFAULT && flat && kind == 0);
                const syncmap_options options = {.engine = (enum syncmap_engine)engine,
                                                 .huge_pages = (enum syncmap_huge_pages)option,
                                                 .capacity = SMALLEST_MAPPED / 4 * 9};
                forget_advice();
                syncmap *m = syncmap_new(kind == 0 ? SYNCMAP_U64 : SYNCMAP_STRING, &options);
                assert_non_null(m);
                assert_int_equal(pages.huge, huge);
                assert_int_equal(pages.small, option == SYNCMAP_HUGE_PAGES_NEVER);
                assert_int_equal(pages.populations, !huge);
                assert_true(huge || pages.populated >= HUGE_PAGE - TABLE_AHEAD);
                syncmap_free(m);
                syncmap_barrier();
                assert_int_equal(pages.live, 0);
            }
        }
    }
}

/* Whoever writes up to the end: each page is made ahead once, but for those of the first part, and none beyond the end. */
static void pages_are_made_up_to_the_end(void **state)
{
    (void)state;
    const struct memory memory = {.pages = PAGES_AS_THEY_COME};
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = HUGE_PAGE + TABLE_AHEAD + page + CACHE_LINE;
    for (size_t step = CACHE_LINE; step <= 4 * TABLE_AHEAD; step *= 2) {
        void *base = NULL;
        char *table = memory_get_table(&memory, size, &base);
        assert_non_null(table);
        forget_advice();
        for (size_t at = CACHE_LINE; at < size; at += step)
            memory_table_ahead(&memory, table, size, table + at, table + (at + step < size ? at + step : size));
        assert_int_equal(pages.populated, size - TABLE_AHEAD);
        for (size_t left = size; left != 0;)
            left = memory_put_table_part(&memory, base, size, left);
        assert_int_equal(pages.live, 0);
    }
}

/* What the caller's allocator gives is the caller's. */
static void no_advice_for_an_allocator(void **state)
{
    (void)state;
    struct counting counting;
    counting_init(&counting);
    for (int option = 0; option <= SYNCMAP_HUGE_PAGES_NEVER; option++) {
        const syncmap_options options = {.allocator = counting_allocator(&counting),
                                         .huge_pages = (enum syncmap_huge_pages)option,
                                         .capacity = SMALLEST_MAPPED / 4 * 9};
        forget_advice();
        syncmap *m = syncmap_new(SYNCMAP_STRING, &options);
        assert_non_null(m);
        store_strings(m, 1000);
        assert_int_equal(pages.huge + pages.small + pages.populations, 0);
        finish_map(m, &counting);
    }
}

/* ---- release in steps ---- */

enum { MANY = 100000 };

static struct fixture make_many(void)
{
    struct fixture f = make_with(SYNCMAP_U64, 0, true);
    for (uint64_t key = 0; key < MANY; key++)
        assert_int_equal(syncmap_store(f.m, syncmap_u64(key), value_make(key)), 0);
    move_all(f);
    syncmap_barrier();
    return f;
}

/* One step frees the entries of FREE_STEP buckets, and a pass of a thread that only polls makes one. */
static void a_step_frees_some_buckets(void **state)
{
    (void)state;
    struct fixture f = make_many();
    struct flat_table *t = root_of(f);
    struct thread *self = thread_attach();
    uint64_t passes = 0, freed = 0, buckets = table_buckets(t);
    assert_int_equal(syncmap_clear(f.m), 0);
    for (int i = 0; i < 3 && t->freed == 0; i++)
        collect(self, EFFORT_POLL);
    for (; values_live() > 0; passes++) {
        long long live = values_live();
        assert_int_equal(t->freed, freed + FREE_STEP);
        freed = t->freed;
        collect(self, EFFORT_POLL);
        assert_true(live - values_live() <= 5 * FREE_STEP); /* 1.5 to 2.5 keys a bucket on average */
        assert_true(values_live() > 0 || freed + FREE_STEP == buckets);
    }
    assert_int_equal(passes + 1, buckets / FREE_STEP);
    finish_map(f.m, &counting);
}

/* In the middle of that a barrier waits for all of it; so does the end of the map, which is a last thing. */
static void a_barrier_waits_for_all_steps(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct fixture f = make_many();
        struct thread *self = thread_attach();
        if (how < 2)
            assert_int_equal(syncmap_clear(f.m), 0);
        else
            reclaim_retire_last((syncmap_pin(), &f.m->last), &f.m->map_class);
        if (how == 2) { /* as syncmap_free(), which would go on to the end */
            syncmap_unpin();
            pthread_mutex_lock(&maps_mutex);
            *f.m->link = f.m->next;
            if (f.m->next != NULL)
                f.m->next->link = f.m->link;
            pthread_mutex_unlock(&maps_mutex);
        }
        while (values_live() == MANY)
            collect(self, EFFORT_POLL);
        for (int i = 0; i < 5; i++)
            collect(self, EFFORT_POLL);
        assert_true(values_live() > 0);
        if (how == 1)
            syncmap_free(f.m);
        else
            syncmap_barrier();
        assert_int_equal(values_live(), 0);
        finish_map(how == 0 ? f.m : NULL, &counting);
    }
}

/* Who writes to any map brings it to its end by and by: each sixteenth write makes a step. */
static void writers_release_by_and_by(void **state)
{
    (void)state;
    struct fixture f = make_many();
    syncmap *other = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = SYNCMAP_ENGINE_FLAT});
    uint64_t writes = 0, steps = table_buckets(root_of(f)) / FREE_STEP;
    assert_int_equal(syncmap_clear(f.m), 0);
    for (; values_live() > 0; writes++) {
        assert_true(writes < 17 * (steps + 3));
        assert_true(syncmap_store(other, syncmap_u64(writes % 4), number(1)) >= 0);
    }
    assert_true(writes > 15 * (steps - 3));
    syncmap_free(other);
    finish_map(f.m, &counting);
}

/* An allocator may call anything, on the map that asks it, too: what makes room there does not wait for the one that is asking. */
static struct fixture called;

static void reserving_callback(size_t size)
{
    if (!refuse_tables(size))
        return;
    calls_back = NULL;
    assert_int_equal(syncmap_reserve(called.m, (size_t)buckets_hold(8 * table_buckets(root_of(called)))), 0);
    calls_back = reserving_callback;
}

static void an_allocator_that_reserves(void **state)
{
    (void)state;
    enum { KEYS = 5000 };
    called = make();
    calls_back = reserving_callback;
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(store(called, i, i + 1), 0);
    assert_int_equal(syncmap_reserve(called.m, 2 * KEYS), 0);
    calls_back = NULL;
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(load(called, i), 1);
    check_map(called, KEYS);
    finish_map(called.m, &counting);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth_waits_for_memory),
        cmocka_unit_test(halving_waits_for_memory),
        cmocka_unit_test(a_mover_gives_up_and_is_followed),
        cmocka_unit_test(a_mover_that_gave_up_needs_less),
        cmocka_unit_test(reserve_after_a_mover_gave_up),
        cmocka_unit_test(clear_and_free_after_a_mover_gave_up),
        cmocka_unit_test(every_allocation_is_refused),
        cmocka_unit_test(new_is_refused),
        cmocka_unit_test(seats_are_given_back),
        cmocka_unit_test(ended_in_the_middle_of_a_move),
        cmocka_unit_test(late_in_a_cleared_table),
        cmocka_unit_test(large_tables_are_mapped),
        cmocka_unit_test(mapped_tables_go_in_parts),
        cmocka_unit_test(tables_get_their_pages),
        cmocka_unit_test(whole_tables_get_their_pages),
        cmocka_unit_test(pages_are_made_up_to_the_end),
        cmocka_unit_test(no_advice_for_an_allocator),
        cmocka_unit_test(mapping_is_refused),
        cmocka_unit_test(unmapping_is_refused),
        cmocka_unit_test(a_step_frees_some_buckets),
        cmocka_unit_test(a_barrier_waits_for_all_steps),
        cmocka_unit_test(writers_release_by_and_by),
        cmocka_unit_test(an_allocator_that_reserves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
