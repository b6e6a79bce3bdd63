/* SPDX-License-Identifier: MIT
 *
 * White box: the records of deleted strings, which flat keeps (KEPT RECORDS of src/flat.h).
 */
#include "unit/flat_fixture.h"

enum { BUCKETS = 64, TARGET = 5, TEXTS = 12 };

/* A map, and strings that share a bucket of its. */
struct kept {
    struct fixture f;
    struct text text[TEXTS];
};

static struct kept begin(uint64_t buckets)
{
    struct kept k = {.f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold(buckets), .seed = 1})};
    assert_int_equal(table_buckets(root_of(k.f)), buckets);
    uint64_t n = 0;
    for (int i = 0; i < TEXTS; i++)
        k.text[i] = text_in(k.f, TARGET, "", &n, NULL);
    return k;
}

static syncmap_key key_of(const struct kept *k, int i)
{
    return syncmap_str(k->text[i].chars);
}

static int put(const struct kept *k, int i)
{
    return syncmap_store(k->f.m, key_of(k, i), number((uintptr_t)i + 1));
}

static int take(const struct kept *k, int i)
{
    return syncmap_delete(k->f.m, key_of(k, i));
}

static void put_some(const struct kept *k, int first, int end)
{
    for (int i = first; i < end; i++)
        assert_int_equal(put(k, i), 0);
}

static void take_some(const struct kept *k, int first, int end)
{
    for (int i = first; i < end; i++)
        assert_int_equal(take(k, i), 1);
}

/* A string's record in its bucket of the root, whether its key is there or kept; NULL: none. */
static struct record *record_of(const struct kept *k, int i)
{
    struct query q = query_of(k->f, key_of(k, i));
    struct flat_table *t = root_of(k->f);
    unsigned slot;
    query_fit(&q, t, false);
    struct bucket *home = table_home(t, t->shift, q.hash);
    struct bucket *b = chain_find(&t->overflow, home, ld_relaxed(&home->header), &q, false, true, &slot);
    return b != NULL ? word_record(ld_relaxed(&b->word[slot])) : NULL;
}

static void assert_absent(const struct kept *k, int i)
{
    void *out = number(99);
    assert_int_equal(syncmap_load(k->f.m, key_of(k, i), &out), 0);
    assert_null(out);
    assert_int_equal(copies_of(k->f, key_of(k, i)), 0);
}

static void assert_present(const struct kept *k, int i)
{
    void *out = NULL;
    assert_int_equal(syncmap_load(k->f.m, key_of(k, i), &out), 1);
    assert_ptr_equal(out, number((uintptr_t)i + 1));
    assert_int_equal(copies_of(k->f, key_of(k, i)), 1);
}

static long long live(void)
{
    syncmap_barrier();
    return counting.live_blocks;
}

/* The versions that the header of the bucket has had. */
static uint64_t version_of(const struct kept *k)
{
    return header_of(root_of(k->f), TARGET) / BUCKET_VERSION;
}

/* ---- kept and revived ---- */

/* A key that was deleted is absent for all calls; its record waits, and has its key back, by each call that adds one, for no memory at all. */
static void revived(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    put_some(&k, 0, 2);
    struct record *record = record_of(&k, 0);
    long long blocks = live();
    for (int turn = 0; turn < 4; turn++) {
        uint64_t version = version_of(&k), visited = 0;
        assert_int_equal(take(&k, 0), 1);
        assert_int_equal(version_of(&k), version + 1);
        assert_absent(&k, 0);
        assert_present(&k, 1);
        assert_int_equal(take(&k, 0), 0);
        assert_int_equal(syncmap_compare_and_swap(k.f.m, key_of(&k, 0), NULL, number(1)), 0);
        assert_int_equal(syncmap_compare_and_delete(k.f.m, key_of(&k, 0), number(1)), 0);
        assert_int_equal(version_of(&k), version + 1);
        assert_int_equal(syncmap_range(k.f.m, count_visit, &visited), 1);
        assert_int_equal(visited, 1);
        check_map(k.f, 1);
        assert_ptr_equal(record_of(&k, 0), record);
        assert_int_equal(live(), blocks);
        refuses = refuse_all;
        if (turn % 2 == 0)
            assert_int_equal(put(&k, 0), 0);
        else
            assert_int_equal(syncmap_load_or_store(k.f.m, key_of(&k, 0), number(1), NULL), 0);
        refuses = NULL;
        assert_int_equal(version_of(&k), version + 2); /* it is a new key: who had found it absent must look again */
        assert_present(&k, 0);
        assert_ptr_equal(record_of(&k, 0), record);
        assert_int_equal(live(), blocks);
        check_map(k.f, 2);
    }
    finish_map(k.f.m, &counting);
}

/* Who has found a key kept finds by the lock that another has revived it, or evicted it, or let it go again. */
static void found_kept(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    put_some(&k, 0, SLOTS);
    struct query q = query_of(k.f, key_of(&k, 0));
    struct spot s;
    for (int what = 0; what < 3; what++) {
        assert_int_equal(take(&k, 0), 1);
        spot_find_again(k.f.flat, &q, &s);
        assert_null(s.in);
        assert_non_null(s.kept);
        assert_int_equal(put(&k, what == 2 ? SLOTS : 0), 0);
        if (what == 1)
            assert_int_equal(take(&k, 0), 1);
        assert_false(spot_lock(&s, BUCKET_VERSION));
        spot_find_again(k.f.flat, &q, &s);
        assert_int_equal(s.in != NULL, what == 0);
        assert_int_equal(s.kept != NULL, what == 1);
        if (what == 1)
            assert_int_equal(put(&k, 0), 0);
    }
    finish_map(k.f.m, &counting);
}

/* A kept slot with the tag of another key that is there: a load of that one passes it by, and of a third finds nothing. */
static void with_one_tag(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    uint64_t n = 0, tag = hash_tag(k.text[0].hash);
    k.text[1] = text_in(k.f, TARGET, "a", &n, &tag);
    k.text[2] = text_in(k.f, TARGET, "b", &n, &tag);
    put_some(&k, 0, 2);
    assert_int_equal(take(&k, 0), 1);
    assert_present(&k, 1);
    assert_absent(&k, 0);
    assert_absent(&k, 2);
    void *out = NULL;
    syncmap_key keys[3] = {key_of(&k, 0), key_of(&k, 1), key_of(&k, 2)};
    void *values[3];
    bool present[3];
    assert_int_equal(syncmap_load_many(k.f.m, 3, keys, values, present), 0);
    assert_false(present[0] || !present[1] || present[2]);
    assert_int_equal(take(&k, 1), 1);
    assert_int_equal(flat_load_text(k.f.flat, key_of(&k, 2), k.text[2].hash, &out), cannot_tell(k.f, k.text[2].hash)); /* two that might have it */
    assert_absent(&k, 2);
    put_some(&k, 0, SLOTS); /* each to its own record, or a free slot */
    for (int i = 0; i < SLOTS; i++)
        assert_present(&k, i);
    assert_int_equal(overflow_of(root_of(k.f), TARGET), 0);
    finish_map(k.f.m, &counting);
}

/* ---- evicted ---- */

/* Another key takes a free slot first, then a kept one, then an overflow bucket; what is evicted is freed. */
static void slots_in_order(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    put_some(&k, 0, SLOTS - 1);
    long long blocks = live();
    assert_int_equal(take(&k, 0), 1);
    assert_int_equal(put(&k, 3), 0);
    assert_non_null(record_of(&k, 0));
    assert_int_equal(live(), blocks + 1);
    uint64_t version = version_of(&k);
    assert_int_equal(put(&k, 4), 0);
    assert_int_equal(version_of(&k), version + 2); /* it was let go, and this one came */
    assert_null(record_of(&k, 0));
    assert_int_equal(live(), blocks + 1);
    assert_int_equal(overflow_of(root_of(k.f), TARGET), 0);
    version = version_of(&k);
    assert_int_equal(put(&k, 5), 0);
    assert_int_equal(version_of(&k), version + 1);
    assert_int_equal(overflow_of(root_of(k.f), TARGET), 1);
    assert_int_equal(live(), blocks + 2);
    put_some(&k, 0, 1);
    for (int i = 0; i < 6; i++)
        if (i != 2)
            assert_present(&k, i);
    check_map(k.f, 5);
    finish_map(k.f.m, &counting);
}

/* A search that has begun while a section evicts, and has read the old word, must not take the new value for its own. */
static void search_beside_an_eviction(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    put_some(&k, 0, SLOTS);
    assert_int_equal(take(&k, 0), 1);
    struct query q = query_of(k.f, key_of(&k, SLOTS));
    struct spot s;
    struct flat_seat seat = {0};
    struct thread *pin = pin_enter(true);
    spot_find_again(k.f.flat, &q, &s);
    assert_true(seat_lock(k.f.flat, &q, &s, &seat));
    uint64_t header = ld_relaxed(&s.home->header);
    assert_true(header & BUCKET_LOCKED);
    assert_ptr_equal(word_record(ld_relaxed(&seat.in->word[seat.slot])), record_of(&k, 0)); /* the search reads this word; */
    struct bucket *in = seat.in;
    spot_insert(k.f.flat, &s, &q, &seat, number(7));
    assert_ptr_equal(ld_relaxed(&in->value[seat.slot]), value_encode(number(7))); /* and this value: */
    assert_false(bucket_unchanged(s.home, header));
    seat_release(k.f.flat, &seat);
    pin_leave(pin);
    check_map(k.f, SLOTS);
    finish_map(k.f.m, &counting);
}

/* The same in steps: no value is stored into the slot before the further version. */
static void evicted_before_it_is_filled(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    put_some(&k, 0, SLOTS);
    assert_int_equal(take(&k, 1), 1);
    struct query q = query_of(k.f, key_of(&k, SLOTS));
    struct spot s;
    struct evicted evicted = {NULL};
    struct record *record = record_of(&k, 1);
    struct thread *pin = pin_enter(true);
    spot_find_again(k.f.flat, &q, &s);
    assert_true(spot_lock(&s, BUCKET_VERSION));
    uint64_t header = s.header;
    bucket_evict(s.home, &s.header, s.home, 1, &evicted);
    assert_int_equal(s.header, header + BUCKET_VERSION);
    assert_int_equal(ld_relaxed(&s.home->header), s.header);
    assert_int_equal(ld_relaxed(&s.home->word[1]), 0);
    assert_null(ld_relaxed(&s.home->value[1]));
    assert_ptr_equal(evicted.first, &record->retired);
    spot_unlock(k.f.flat, &s);
    evicted_retire(k.f.flat, &evicted);
    assert_null(evicted.first);
    pin_leave(pin);
    check_map(k.f, SLOTS - 1);
    finish_map(k.f.m, &counting);
}

/* Without memory a key that is not kept is refused, and nothing is evicted for it. */
static void refused(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    put_some(&k, 0, SLOTS);
    assert_int_equal(take(&k, 0), 1);
    uint64_t version = version_of(&k);
    refuses = refuse_all;
    assert_int_equal(put(&k, SLOTS), SYNCMAP_ENOMEM);
    assert_int_equal(version_of(&k), version);
    assert_int_equal(put(&k, 0), 0);
    refuses = NULL;
    check_map(k.f, SLOTS);
    finish_map(k.f.m, &counting);
}

/* ---- left behind ---- */

/* An overflow bucket that loses its last key goes with what it keeps; what homes keep stays. */
static void unlinked(void **state)
{
    (void)state;
    struct kept k = begin(BUCKETS);
    put_some(&k, 0, 2 * SLOTS);
    long long blocks = live();
    take_some(&k, SLOTS, 2 * SLOTS - 1);
    assert_non_null(record_of(&k, SLOTS));
    assert_int_equal(live(), blocks);
    assert_int_equal(take(&k, 2 * SLOTS - 1), 1);
    assert_int_equal(overflow_of(root_of(k.f), TARGET), 0);
    assert_int_equal(live(), blocks - SLOTS);
    take_some(&k, 0, SLOTS);
    assert_int_equal(live(), blocks - SLOTS);
    put_some(&k, 0, 2 * SLOTS);
    assert_int_equal(live(), blocks);
    for (int i = 0; i < 2 * SLOTS; i++)
        assert_present(&k, i);
    check_map(k.f, 2 * SLOTS);
    finish_map(k.f.m, &counting);
}

/* Growing, and halving: what was kept is freed, and the keys that are there are. */
static void moved(void **state)
{
    (void)state;
    for (int grows = 0; grows < 2; grows++) {
        struct kept k = begin(BUCKETS);
        put_some(&k, 0, SLOTS + 2); /* two in the overflow bucket */
        take_some(&k, 1, SLOTS + 1);
        begin_move(k.f, grows ? 2 * BUCKETS : BUCKETS / 2);
        long long blocks = live();
        move_all(k.f);
        assert_int_equal(live(), blocks - 1 - SLOTS); /* the table, and what was kept */
        for (int i = 0; i < SLOTS + 2; i++) {
            if (i == 0 || i > SLOTS)
                assert_present(&k, i);
            else
                assert_absent(&k, i);
            assert_int_equal(record_of(&k, i) != NULL, i == 0 || i > SLOTS);
        }
        check_map(k.f, 2);
        put_some(&k, 1, SLOTS + 1);
        check_map(k.f, SLOTS + 2);
        finish_map(k.f.m, &counting);
    }
}

/* A key that is deleted while its table is moved stays in the old bucket, or the new one, and comes back there. */
static void kept_while_it_is_moved(void **state)
{
    (void)state;
    for (uint64_t chunks = 0; chunks < BUCKETS / CHUNK; chunks++) {
        struct kept k = begin(BUCKETS);
        put_some(&k, 0, SLOTS);
        begin_move(k.f, 2 * BUCKETS);
        for (uint64_t i = 0; i < chunks; i++)
            move_chunk(k.f);
        assert_int_equal(take(&k, 0), 1);
        assert_absent(&k, 0);
        assert_int_equal(put(&k, 0), 0);
        assert_int_equal(take(&k, 1), 1);
        move_all(k.f);
        assert_present(&k, 0);
        assert_absent(&k, 1);
        put_some(&k, 1, 2);
        check_map(k.f, SLOTS);
        finish_map(k.f.m, &counting);
    }
}

/* Gives the root a next with other secrets. */
static void begin_reseeding(struct fixture f)
{
    struct thread *pin = pin_enter(true);
    struct flat_seed *seed = memory_get(&f.m->memory, sizeof *seed);
    assert_non_null(seed);
    key_type_reseed(&seed->type, root_of(f)->type);
    assert_int_equal(flat_resize(f.flat, root_of(f), table_buckets(root_of(f)), &seed->type), RESIZE_BEGUN);
    seed_keep(f.flat, seed);
    pin_leave(pin);
}

/* Other secrets: what was kept is left, and keys that come to a bucket of next, where others have been deleted meanwhile, evict these. */
static void reseeded(void **state)
{
    (void)state;
    enum { KEYS = 600 };
    struct fixture f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold(256), .seed = 1});
    uint64_t keys = 0;
    char name[24];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < KEYS; i++) { /* of what the first round has added, half are deleted by the second */
            snprintf(name, sizeof name, "%d", i);
            if (round == 0)
                assert_int_equal(syncmap_store(f.m, syncmap_str(name), number((uintptr_t)i + 1)), 0);
            else if (i % 2 == 0)
                assert_int_equal(syncmap_delete(f.m, syncmap_str(name)), 1);
        }
    keys = KEYS / 2;
    begin_reseeding(f);
    struct flat_table *t = root_of(f);
    for (int i = 1; root_of(f) == t; i = (i + 2) % KEYS) { /* each call moves a chunk */
        snprintf(name, sizeof name, "%d", i);
        keys -= (uint64_t)syncmap_delete(f.m, syncmap_str(name));
    }
    check_map(f, keys);
    for (int i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%d", i);
        keys += syncmap_store(f.m, syncmap_str(name), number((uintptr_t)i + 1)) == 0;
    }
    assert_int_equal(keys, KEYS);
    check_map(f, KEYS);
    finish_map(f.m, &counting);
}

/* ---- freed with the map, and not kept at all ---- */

/* A clear frees what was kept, in the old table and, while that is moved, in its next. */
static void cleared(void **state)
{
    (void)state;
    for (int moving = 0; moving < 2; moving++) {
        struct kept k = begin(BUCKETS);
        long long blocks = live();
        put_some(&k, 0, 2 * SLOTS);
        if (moving) {
            begin_move(k.f, 2 * BUCKETS);
            while (!is_moved(root_of(k.f), TARGET))
                move_chunk(k.f);
        }
        take_some(&k, 0, SLOTS);
        syncmap_clear(k.f.m);
        for (int i = 0; i < 2 * SLOTS; i++)
            assert_absent(&k, i);
        assert_int_equal(live(), blocks);
        put_some(&k, 0, SLOTS);
        take_some(&k, 0, SLOTS);
        finish_map(k.f.m, &counting); /* and what is kept is freed with the map */
    }
}

/* Texts beyond KEEP_BYTES, custom keys, and tables of more than 2^KEEP_BITS buckets. */
static void not_kept(void **state)
{
    (void)state;
    char bytes[KEEP_BYTES + 1] = {0};
    for (size_t size = KEEP_BYTES; size <= KEEP_BYTES + 1; size++) {
        struct fixture f = make_of(SYNCMAP_BYTES, (syncmap_options){.seed = 1});
        long long blocks = live();
        assert_int_equal(syncmap_store(f.m, syncmap_bytes(bytes, size), number(1)), 0);
        assert_int_equal(syncmap_delete(f.m, syncmap_bytes(bytes, size)), 1);
        assert_int_equal(live(), blocks + (size <= KEEP_BYTES));
        finish_map(f.m, &counting);
    }
    for (uint64_t bits = KEEP_BITS; bits <= KEEP_BITS + 1; bits++) {
        struct fixture f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold((uint64_t)1 << bits), .seed = 1});
        long long blocks = live();
        assert_int_equal(syncmap_store(f.m, syncmap_str("key"), number(1)), 0);
        assert_int_equal(syncmap_delete(f.m, syncmap_str("key")), 1);
        assert_int_equal(live(), blocks + (bits <= KEEP_BITS));
        finish_map(f.m, &counting);
    }
    struct fixture f = make_hashed(0, false);
    struct hashed object = {.hash = 1};
    long long blocks = live();
    assert_int_equal(syncmap_store(f.m, syncmap_obj(&object), number(1)), 0);
    assert_int_equal(syncmap_delete(f.m, syncmap_obj(&object)), 1);
    assert_int_equal(live(), blocks);
    finish_map(f.m, &counting);
}

/* A value that the map owns is freed when its key is deleted, whatever is kept. */
static void values_are_not_kept(void **state)
{
    (void)state;
    struct fixture f = make_with(SYNCMAP_STRING, 0, true);
    long long values = values_live();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(syncmap_store(f.m, syncmap_str("key"), value_make(1)), 0);
        assert_int_equal(values_live(), values + 1);
        assert_int_equal(syncmap_delete(f.m, syncmap_str("key")), 1);
        syncmap_barrier();
        assert_int_equal(values_live(), values);
    }
    finish_map(f.m, &counting);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revived),
        cmocka_unit_test(found_kept),
        cmocka_unit_test(with_one_tag),
        cmocka_unit_test(slots_in_order),
        cmocka_unit_test(search_beside_an_eviction),
        cmocka_unit_test(evicted_before_it_is_filled),
        cmocka_unit_test(refused),
        cmocka_unit_test(unlinked),
        cmocka_unit_test(moved),
        cmocka_unit_test(kept_while_it_is_moved),
        cmocka_unit_test(reseeded),
        cmocka_unit_test(cleared),
        cmocka_unit_test(not_kept),
        cmocka_unit_test(values_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
