/* SPDX-License-Identifier: MIT
 *
 * White box: what becomes of read/dirty's entries, what is reserved before the first visible step, and what does not happen
 * under mu.
 */
#include "unit/read_dirty_fixture.h"

/* ---- what becomes of entries ---- */

/* An expunged entry that nobody revives goes at the promotion: after it, its memory is back. */
static void expunged_is_freed_at_promotion(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 40);
    for (uint64_t key = 1; key <= 30; key++)
        syncmap_delete(f.m, syncmap_u64(key));
    store(f, 100, 1);
    assert_int_equal(ld_relaxed(&f.rd->expunged_count), 30);
    store(f, 30, 1); /* one is revived */
    assert_int_equal(ld_relaxed(&f.rd->expunged_count), 29);
    syncmap_barrier();
    long long blocks = atomic_load(&counting.live_blocks);
    promote_by_misses(f);
    assert_null(f.rd->expunged);
    syncmap_barrier();
    assert_int_equal(atomic_load(&counting.live_blocks), blocks - 29 - 1); /* and the old read */
    assert_int_equal(load(f, 30), 1);
    assert_int_equal(load(f, 29), 0);
    finish_map(f.m, &counting);
}

/* The obvious implementation retires the old read at promotion and lets its destructor free the entries that are EXPUNGED
 * *then*. But by then a later generation may have expunged an entry that the newer read still has. */
static void later_generation_expunges_what_old_read_had(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 4);
    struct entry *e = in_read(f, 1);
    syncmap_pin(); /* so that the old read's destructor runs late */
    store(f, 10, 1);
    promote_by_misses(f); /* retires the read that has 1 to 4; 1 lives on in the new one */
    assert_ptr_equal(in_read(f, 1), e);
    assert_int_equal(syncmap_delete(f.m, syncmap_u64(1)), 1);
    store(f, 11, 1); /* expunges 1, for the newer read */
    assert_ptr_equal(p_of(e), EXPUNGED);
    syncmap_unpin();
    syncmap_barrier(); /* now the old read goes; 1 is still in read, and must not go with it */
    assert_ptr_equal(in_read(f, 1), e);
    assert_int_equal(load(f, 1), 0);
    assert_int_equal(store(f, 1, 42), 0);
    assert_ptr_equal(p_of(e), number(42));
    promote_by_misses(f);
    assert_int_equal(load(f, 1), 1);
    finish_map(f.m, &counting);
}

/* An entry that only dirty has is retired by load_and_delete, once it is empty; its key can come back at once. */
static void deleted_from_dirty_is_freed(void **state)
{
    (void)state;
    struct fixture f = make();
    for (uint64_t key = 0; key < 10; key++)
        store(f, key, 1);
    syncmap_barrier();
    long long blocks = atomic_load(&counting.live_blocks);
    syncmap_pin();
    struct entry *e = in_dirty(f, 3);
    assert_int_equal(syncmap_delete(f.m, syncmap_u64(3)), 1);
    assert_null(in_dirty(f, 3));
    assert_ptr_equal(p_of(e), DELETED); /* emptied, and still there while we are pinned */
    assert_int_equal(store(f, 3, 2), 0);
    assert_ptr_not_equal(in_dirty(f, 3), e);
    syncmap_unpin();
    syncmap_barrier();
    assert_int_equal(atomic_load(&counting.live_blocks), blocks);
    finish_map(f.m, &counting);
}

/* Values of an owning map in every kind of place when it is cleared or freed: each is freed once. */
static void clear_frees_what_all_places_hold(void **state)
{
    (void)state;
    for (int with_free = 0; with_free < 2; with_free++) {
        struct fixture f = make_with(SYNCMAP_U64, 0, true);
        for (uint64_t key = 1; key <= 6; key++)
            assert_int_equal(syncmap_store(f.m, syncmap_u64(key), value_make(key)), 0);
        promote_by_misses(f);
        syncmap_delete(f.m, syncmap_u64(1)); /* to be expunged */
        assert_int_equal(syncmap_store(f.m, syncmap_u64(10), value_make(10)), 0);
        syncmap_delete(f.m, syncmap_u64(2)); /* DELETED, in both */
        assert_int_equal(syncmap_store(f.m, syncmap_u64(11), NULL), 0);
        syncmap_delete(f.m, syncmap_u64(10)); /* out of dirty */
        assert_int_equal(syncmap_len(f.m), 5);
        if (with_free == 0) {
            assert_int_equal(syncmap_clear(f.m), 0);
            assert_int_equal(syncmap_len(f.m), 0);
            assert_false(is_amended(f));
            assert_null(f.rd->expunged);
            assert_int_equal(syncmap_clear(f.m), 0);
            syncmap_barrier();
            assert_int_equal(values_live(), 0);
            assert_int_equal(syncmap_store(f.m, syncmap_u64(1), value_make(1)), 0);
        }
        finish_map(f.m, &counting);
    }
}

/* An operation that found its entry before a clear: it works on what is cleared, and neither the count nor the values of
 * the new era notice. Played by hand: `e` is what such an operation holds. */
static void late_store_into_cleared_entry(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_U64, 0, true);
    for (uint64_t key = 1; key <= 3; key++)
        assert_int_equal(syncmap_store(f.m, syncmap_u64(key), value_make(key)), 0);
    promote_by_misses(f);
    syncmap_pin();
    struct entry *e = in_read(f, 1);
    struct era *era = read_of(f)->era;
    assert_int_equal(syncmap_clear(f.m), 0);
    void *old = NULL, *previous = NULL;
    assert_true(entry_try_swap(e, value_make(1), &old));
    assert_int_equal(swapped(era, old, &previous), 1);
    value_release(previous);
    assert_int_equal(entry_delete(in_read(f, 1) ? in_read(f, 1) : e, era, &previous), 1);
    value_release(previous);
    assert_int_equal(syncmap_len(f.m), 0);
    assert_int_equal(entry_try_load_or_store(e, era, value_make(1), &previous), 0); /* stays there; freed with the entry */
    assert_int_equal(syncmap_len(f.m), 0);
    syncmap_unpin();
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), value_make(1)), 0);
    assert_int_equal(syncmap_len(f.m), 1);
    finish_map(f.m, &counting);
}

/* ---- memory ---- */

static void capacity_is_taken_at_once(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_U64, 1000, false);
    struct table *dirty = dirty_of(f);
    assert_non_null(dirty);
    for (uint64_t key = 0; key < 1000; key++)
        assert_int_equal(store(f, key, 1), 0);
    assert_ptr_equal(dirty_of(f), dirty);
    finish_map(f.m, &counting);
}

/* With memory out, an expunged entry is still revived (I4), and a new key is refused before anything is expunged. */
static void reserved_before_the_first_step(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 6); /* 6 of 8 slots: as full as a table gets */
    syncmap_delete(f.m, syncmap_u64(1));
    atomic_store(&counting.fail_after, 0);
    assert_int_equal(store(f, 7, 1), SYNCMAP_ENOMEM);
    atomic_store(&counting.fail_after, 1); /* the entry is had, the table is not */
    assert_int_equal(store(f, 7, 1), SYNCMAP_ENOMEM);
    assert_ptr_equal(p_of(in_read(f, 1)), DELETED);
    assert_false(is_amended(f));
    atomic_store(&counting.fail_after, -1);
    assert_int_equal(store(f, 7, 1), 0);
    assert_ptr_equal(p_of(in_read(f, 1)), EXPUNGED);
    atomic_store(&counting.fail_after, 0);
    assert_int_equal(store(f, 1, 1), 0);
    assert_int_equal(load(f, 1), 1);
    atomic_store(&counting.fail_after, -1);
    finish_map(f.m, &counting);
}

/* The slot for the replaced value comes back when the operation fails after it was taken. */
static void slot_comes_back(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_U64, 0, true);
    syncmap_store(f.m, syncmap_u64(1), value_make(1));
    slot_give_back(slot_take());
    size_t before = thread_attach()->slot_count;
    assert_true(before > 0);
    atomic_store(&counting.fail_after, 0);
    assert_int_equal(syncmap_store(f.m, syncmap_u64(2), &before), SYNCMAP_ENOMEM);
    assert_int_equal(thread_attach()->slot_count, before);
    atomic_store(&counting.fail_after, -1);
    finish_map(f.m, &counting);
}

/* ---- custom keys: no user code under mu ---- */

static uint64_t zero_hash(const void *key, uint64_t seed, void *context)
{
    (void)key;
    (void)seed;
    (void)context;
    return 0;
}

static struct read_dirty *unlocked_map;

/* Aborts if this map's mu is held. */
static bool equal_without_lock(const void *a, const void *b, void *context)
{
    (void)context;
    CHECK(pthread_mutex_trylock(&unlocked_map->mu) == 0);
    pthread_mutex_unlock(&unlocked_map->mu);
    return a == b;
}

static void equal_runs_without_mu(void **state)
{
    (void)state;
    static char keys[64];
    syncmap_options options = {.engine = SYNCMAP_ENGINE_READ_DIRTY, .key = {.hash = zero_hash, .equal = equal_without_lock}};
    counting_init(&counting);
    options.allocator = counting_allocator(&counting);
    syncmap *m = syncmap_new(SYNCMAP_CUSTOM, &options);
    assert_non_null(m);
    unlocked_map = engine_of(m);
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < sizeof keys; i++)
            assert_int_equal(syncmap_store(m, syncmap_obj(&keys[i]), number(i)), round > 0 && i % 2 == 0);
        for (size_t i = 0; i < sizeof keys; i++)
            assert_int_equal(syncmap_load(m, syncmap_obj(&keys[i]), NULL), 1);
        for (size_t i = 1; i < sizeof keys; i += 2)
            assert_int_equal(syncmap_delete(m, syncmap_obj(&keys[i])), 1);
        assert_int_equal(syncmap_len(m), sizeof keys / 2);
    }
    finish_map(m, &counting);
}

/* What was found without mu does not stand if a new entry joined meanwhile; if one left, it does. */
static void versions_tell_of_change(void **state)
{
    (void)state;
    static char keys[4];
    syncmap_options options = {.engine = SYNCMAP_ENGINE_READ_DIRTY, .key = {.hash = zero_hash, .equal = equal_without_lock}};
    counting_init(&counting);
    options.allocator = counting_allocator(&counting);
    syncmap *m = syncmap_new(SYNCMAP_CUSTOM, &options);
    struct read_dirty *rd = unlocked_map = engine_of(m);
    struct query q = {0};
    assert_true(query_init(&q, m, syncmap_obj(&keys[0])));
    _Atomic unsigned *version = &rd->versions[q.hash % VERSIONS];
    unsigned before = ld_relaxed(version);
    syncmap_store(m, syncmap_obj(&keys[0]), number(1));
    assert_int_not_equal(ld_relaxed(version), before);
    before = ld_relaxed(version);
    syncmap_store(m, syncmap_obj(&keys[0]), number(2)); /* neither */
    assert_int_equal(ld_relaxed(version), before);
    lock(rd, &q);
    assert_non_null(q.known);
    unlock(rd, &q);
    unsigned version_before = find_before_lock(rd, &q);
    syncmap_delete(m, syncmap_obj(&keys[0])); /* as another thread, between the search and the lock */
    assert_true(found_before_stands(rd, &q, version_before));
    assert_null(find_dirty(ld_relaxed(&rd->dirty) ? ld_relaxed(&rd->dirty) : read_table(ld_relaxed(&rd->read)), &q));
    syncmap_store(m, syncmap_obj(&keys[0]), number(3));
    assert_false(found_before_stands(rd, &q, version_before));
    version_before = find_before_lock(rd, &q);
    syncmap_clear(m);
    assert_true(found_before_stands(rd, &q, version_before));
    assert_null(find(read_table(ld_relaxed(&rd->read)), &q));
    q.by_identity = false;
    finish_map(m, &counting);
}

/* A load never waits for mu, whoever holds it: here its own thread, as when a handler interrupts an operation. */
static void load_with_mu_held(void **state)
{
    (void)state;
    struct fixture f = make();
    fill_read(f, 2);
    store(f, 3, 3);
    store(f, 4, 4);
    lock(f.rd, NULL);
    assert_int_equal(load(f, 1), 1);
    assert_int_equal(load(f, 3), 1);
    assert_int_equal(load(f, 5), 0);
    assert_int_equal(f.rd->misses, 0); /* nothing under mu was touched */
    unlock(f.rd, NULL);
    finish_map(f.m, &counting);
}

/* Few keys in a dirty of many slots: a promotion, and the copy after it, must be paid for by their cost. */
static void sparse_dirty_takes_more_misses(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_U64, 3000, false);
    size_t slots = table_slot_count(dirty_of(f));
    assert_int_equal(slots, 4096);
    for (size_t i = 0; i < slots / 16 - 1; i++)
        load(f, 1);
    assert_true(is_amended(f));
    load(f, 1);
    assert_false(is_amended(f));
    finish_map(f.m, &counting);
}

/* A debug build aborts where an owning map hands out a value that nothing protects. */
static void unprotected_load_aborts(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_U64, 0, true);
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), value_make(1)), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        void *value;
        if (freopen("/dev/null", "w", stderr) == NULL)
            child_exit(2);
        syncmap_load(f.m, syncmap_u64(1), NULL); /* nothing is handed out */
        syncmap_pin();
        syncmap_load(f.m, syncmap_u64(1), &value);
        syncmap_unpin();
        syncmap_load(f.m, syncmap_u64(1), &value);
        child_exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    finish_map(f.m, &counting);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expunged_is_freed_at_promotion),
        cmocka_unit_test(later_generation_expunges_what_old_read_had),
        cmocka_unit_test(deleted_from_dirty_is_freed),
        cmocka_unit_test(clear_frees_what_all_places_hold),
        cmocka_unit_test(late_store_into_cleared_entry),
        cmocka_unit_test(capacity_is_taken_at_once),
        cmocka_unit_test(reserved_before_the_first_step),
        cmocka_unit_test(slot_comes_back),
        cmocka_unit_test(equal_runs_without_mu),
        cmocka_unit_test(versions_tell_of_change),
        cmocka_unit_test(load_with_mu_held),
        cmocka_unit_test(sparse_dirty_takes_more_misses),
        cmocka_unit_test(unprotected_load_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
