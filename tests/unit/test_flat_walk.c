/* SPDX-License-Identifier: MIT
 *
 * White box: flat's iteration. Chains that do not fit into the buffer of a walk, and are read more than once, or in rounds; what the
 * visit changes meanwhile; tables that are moved, or cleared, under a walk; scans; and writers beside it.
 */
#include "unit/flat_fixture.h"

#include <pthread.h>

/* ---- numbered keys: the first half in one bucket, the others anywhere else ---- */

enum { NUMBERS = 2048, HALF = NUMBERS / 2, BUCKETS = 512, SHIFT = 64 - 9, OTHERS = 200, FEW = 5 };

/* What the keys of the flooded bucket are. FEW_HASHES: each has one of FEW hashes. */
enum kind { INTEGERS, RECORDS, FEW_HASHES, ONE_HASH, KINDS };

/* The first bucket, the last, and two in the middle. */
static const uint64_t flooded[KINDS] = {0, 100, 300, BUCKETS - 1};

static struct hashed objects[NUMBERS];

struct walked {
    struct fixture f;
    enum kind kind;
    uint64_t flood; /* so many are in the flooded bucket */
    unsigned seen[NUMBERS];
    bool stays[NUMBERS]; /* it was there all the time */
    uint64_t visits;
    uint64_t stop_after;
    void (*change)(struct walked *w, uint64_t n);
    struct rng rng;
    /* Of scans: */
    uint64_t call_visits, call_limit; /* in this call; after so many there may be only what has the last one's hash */
    uint64_t call_stop;               /* the visit says stop at so many */
    uint64_t last_hash;
};

static struct walked w0;

static uint64_t hash_of_number(enum kind kind, uint64_t n)
{
    uint64_t first = flooded[kind] << SHIFT;
    if (n >= HALF) {
        uint64_t hash = n * 0xc2b2ae3d27d4eb4fu;
        return hash >> SHIFT == flooded[kind] ? hash ^ (uint64_t)1 << 63 : hash;
    }
    if (kind == ONE_HASH)
        return UINT64_MAX;
    return first + (kind == FEW_HASHES ? n % FEW << (SHIFT - 3) : n * 0x9e3779b97f4a7c15u >> (64 - SHIFT));
}

static syncmap_key key_number(const struct walked *w, uint64_t n)
{
    CHECK(n < NUMBERS);
    return w->kind == INTEGERS ? syncmap_u64(key_of_hash(w->f, hash_of_number(INTEGERS, n))) : syncmap_obj(&objects[n]);
}

static void put(struct walked *w, uint64_t n)
{
    CHECK(syncmap_store(w->f.m, key_number(w, n), number(n + 1)) >= 0);
}

static void take(struct walked *w, uint64_t n)
{
    CHECK(syncmap_delete(w->f.m, key_number(w, n)) >= 0);
    w->stays[n] = false;
}

/* Another record of the same key. */
static void renew(struct walked *w, uint64_t n)
{
    take(w, n);
    put(w, n);
}

/* A table of BUCKETS, with `flood` keys in one of them and OTHERS in the others. */
static struct walked *open_walk(enum kind kind, uint64_t flood)
{
    struct walked *w = &w0;
    *w = (struct walked){.kind = kind, .flood = flood, .stop_after = UINT64_MAX, .rng = rng_make(test_seed(), 9 + flood)};
    for (uint64_t n = 0; n < NUMBERS; n++)
        objects[n].hash = hash_of_number(kind, n);
    w->f = kind == INTEGERS ? make_sized(BUCKETS) : make_hashed((size_t)buckets_hold(BUCKETS), false);
    assert_int_equal(table_buckets(root_of(w->f)), BUCKETS);
    refuses = refuse_tables; /* what is moved is moved by hand */
    for (uint64_t n = 0; n < flood + OTHERS; n++) {
        uint64_t number = n < flood ? n : HALF + n - flood;
        put(w, number);
        w->stays[number] = true;
    }
    assert_int_equal(keys_in_chain(root_of(w->f), flooded[kind]), flood);
    assert_null(next_of(w->f));
    return w;
}

static bool visit(syncmap_key key, void *value, void *context)
{
    struct walked *w = context;
    uint64_t n = ((uintptr_t)value >> 4) - 1;
    CHECK(key.as.u64 == key_number(w, n).as.u64); /* the value is the key's */
    CHECK(w->seen[n]++ == 0); /* no key twice */
    if (w->change != NULL)
        w->change(w, n);
    return ++w->visits < w->stop_after;
}

static void check_walk(const struct walked *w)
{
    for (uint64_t n = 0; n < NUMBERS; n++)
        if (w->stays[n])
            assert_int_equal(w->seen[n], 1); /* none is missed */
}

static void close_walk(struct walked *w)
{
    check_map(w->f, syncmap_len(w->f.m));
    refuses = NULL;
    finish_map(w->f.m, &counting);
}

/* How many hashes have more keys than fit into the buffer; or exactly as many, and then the bucket has some behind. */
static uint64_t hashes_in_rounds(const struct walked *w)
{
    uint64_t hashes = w->kind == ONE_HASH ? 1 : w->kind == FEW_HASHES ? FEW : 0, count = 0;
    for (uint64_t i = 0; i < hashes; i++)
        count += (w->flood + hashes - 1 - i) / hashes + (i + 1 < hashes) > WALK_BUFFER;
    return count;
}

static void walk_with(enum kind kind, uint64_t flood, void (*change)(struct walked *w, uint64_t n))
{
    struct walked *w = open_walk(kind, flood);
    w->change = change;
    assert_int_equal(syncmap_range(w->f.m, visit, w), 1);
    if (change == NULL) {
        assert_int_equal(w->visits, flood + OTHERS);
        assert_int_equal(ld_relaxed(&w->f.flat->ages), hashes_in_rounds(w)); /* bumped for these, and nothing else */
    }
    check_walk(w);
    close_walk(w);
}

/* (163: of five hashes, three have one key more than the buffer.) */
static const uint64_t floods[] = {0, 1, WALK_BUFFER - 1, WALK_BUFFER, WALK_BUFFER + 1, 2 * WALK_BUFFER, 2 * WALK_BUFFER + 1, 163, 200};
enum { FLOODS = sizeof floods / sizeof floods[0] };

static void walk_each(void (*change)(struct walked *w, uint64_t n))
{
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < FLOODS; i++)
            walk_with((enum kind)kind, floods[i], change);
}

/* A test of its own for a change. */
#define WALK_EACH(name, change) static void name(void **state) { (void)state; walk_each(change); }

/* ---- nothing changes ---- */

WALK_EACH(each_key_once_and_rounds_where_needed, NULL)

static void stopped_in_the_middle(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (uint64_t stop = 1; stop < 300; stop += 7) {
            struct walked *w = open_walk((enum kind)kind, 100);
            w->stop_after = stop;
            assert_int_equal(syncmap_range(w->f.m, visit, w), 0);
            assert_int_equal(w->visits, stop);
            close_walk(w);
        }
}

/* ---- values ---- */

/* Even numbers have the value NULL. The visit has a reference to each other value, and gives it up. */
static bool visit_values(syncmap_key key, void *value, void *context)
{
    struct walked *w = context;
    uint64_t n = (uint64_t)((const struct hashed *)key.as.ptr - objects);
    CHECK(w->seen[n]++ == 0 && (value == NULL) == (n % 2 == 0));
    CHECK(syncmap_delete(w->f.m, key) == 1);
    if (value != NULL) {
        value_check(value, n);
        value_release(value);
    }
    return true;
}

static void values_are_handed_out(void **state)
{
    (void)state;
    for (int kind = RECORDS; kind < KINDS; kind++)
        for (size_t count = 0; count < 10; count += 3) {
            struct walked *w = open_walk((enum kind)kind, 0);
            close_walk(w);
            w->f = hashed_map = make_of(SYNCMAP_CUSTOM, (syncmap_options){.value_free = value_free, .value_acquire = value_acquire,
                                                                          .key = {.hash = hashed_hash, .equal = hashed_equal}});
            for (uint64_t n = 0; n < 100; n++)
                assert_int_equal(syncmap_store(w->f.m, key_number(w, n), n % 2 ? value_make(n) : NULL), 0);
            syncmap_cursor cursor = {0};
            if (count == 0)
                assert_int_equal(syncmap_range(w->f.m, visit_values, w), 1);
            while (count > 0 && syncmap_scan(w->f.m, &cursor, count, visit_values, w) == 1)
                continue;
            for (uint64_t n = 0; n < 100; n++)
                assert_int_equal(w->seen[n], 1);
            finish_map(w->f.m, &counting); /* no value is left */
        }
}

/* ---- what the visit does ---- */

static void delete_it(struct walked *w, uint64_t n)
{
    assert_int_equal(syncmap_delete(w->f.m, key_number(w, n)), 1);
}

/* Each was there until it was visited, so none is missed; of what was in the chain, nothing is left to be found. */
WALK_EACH(visit_deletes_all, delete_it)

static void restore_it(struct walked *w, uint64_t n)
{
    delete_it(w, n);
    put(w, n);
}

/* The key comes back, as another record: it was visited. */
WALK_EACH(visit_restores_what_it_visited, restore_it)

static void restore_others(struct walked *w, uint64_t n)
{
    (void)n;
    for (uint64_t other = w->visits % 4 * 3; other < w->flood; other += 12)
        renew(w, other);
}
WALK_EACH(visit_restores_what_is_to_come, restore_others)

/* More and more keys in the bucket: the walk comes to its end all the same. */
static void put_new(struct walked *w, uint64_t n)
{
    (void)n;
    if (w->flood + w->visits < HALF)
        put(w, w->flood + w->visits);
}
WALK_EACH(visit_adds, put_new)

static void replace_all(struct walked *w, uint64_t n)
{
    (void)n;
    for (uint64_t other = w->visits % 4 * 5; other < w->flood; other += 20)
        put(w, other);
}

/* A value that is replaced changes nothing: the record is the same. */
WALK_EACH(visit_replaces, replace_all)

static void anything(struct walked *w, uint64_t n)
{
    for (int i = 0; i < 3; i++) {
        uint64_t other = rng_below(&w->rng, 300);
        switch (rng_below(&w->rng, 6)) {
        case 0: take(w, other); break;
        case 1: put(w, other); break;
        case 2: renew(w, n); break;
        case 3: renew(w, other); break;
        case 4: take(w, HALF + other); break;
        default: put(w, HALF + other); break;
        }
    }
}

static void visit_does_anything(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++)
        walk_each(anything);
}

/* ---- ages (V9) ---- */

static struct record *record_of(const struct walked *w, uint64_t n)
{
    struct query q = query_of(w->f, key_number(w, n));
    struct flat_table *t = root_of(w->f);
    unsigned slot = 0;
    struct bucket *b = chain_find(&t->overflow, home_of(t, q.hash >> SHIFT), header_of(t, q.hash >> SHIFT), &q, false, false, &slot);
    assert_non_null(b);
    return word_record(ld_relaxed(&b->word[slot]));
}

static uint64_t ages_seen;

/* Numbers from HALF - 1 down, in the bucket that rounds are in: new keys. */
static void look_at_ages(struct walked *w, uint64_t n)
{
    uint64_t age = ld_relaxed(&w->f.flat->ages), added = HALF - 1 - ages_seen;
    if (n >= w->flood || age == 0)
        return;
    assert_int_equal(ld_relaxed(&record_of(w, n)->age), 0); /* there before: below the number of these rounds, which is 1 */
    assert_int_equal(age, 1);
    put(w, added);
    assert_int_equal(ld_relaxed(&record_of(w, added)->age), age); /* whatever its address, these rounds leave it out */
    ages_seen++;
}

static void records_have_their_age(void **state)
{
    (void)state;
    ages_seen = 0;
    struct walked *w = open_walk(ONE_HASH, 100);
    w->change = look_at_ages;
    assert_int_equal(syncmap_range(w->f.m, visit, w), 1);
    assert_int_equal(ages_seen, 100);
    assert_int_equal(w->visits, 100 + OTHERS);
    check_walk(w);
    memset(w->seen, 0, sizeof w->seen);
    w->change = NULL;
    assert_int_equal(syncmap_range(w->f.m, visit, w), 1); /* the next ones do not */
    assert_int_equal(w->visits, 100 + OTHERS + 200 + OTHERS);
    close_walk(w);
}

/* A walk in the visit of a walk, with rounds in both: it visits what the outer one has to leave out. */
static void walk_inside(struct walked *w, uint64_t n)
{
    uint64_t count = 0;
    if (n % 16 != 0)
        return;
    renew(w, n);
    assert_int_equal(syncmap_range(w->f.m, count_visit, &count), 1);
    assert_int_equal(count, syncmap_len(w->f.m));
}
WALK_EACH(walks_nest, walk_inside)

/* ---- a table that is moved, or cleared, under a walk ---- */

static uint64_t move_to;      /* so many buckets */
static uint64_t change_after; /* so many visits */

static void begin_move_by_hand(struct walked *w, uint64_t buckets)
{
    refuses = NULL;
    begin_move(w->f, buckets);
    refuses = refuse_tables;
}

static void move_in_between(struct walked *w, uint64_t n)
{
    (void)n;
    if (w->visits != change_after)
        return;
    begin_move_by_hand(w, move_to);
    move_all(w->f);
    syncmap_barrier(); /* does nothing: the walk is pinned, and may be in the old table */
    for (uint64_t other = 0; other < w->flood; other += 7) { /* not known to the old table */
        take(w, other);
        if (other % 2)
            put(w, other);
    }
    for (uint64_t other = HALF; other < HALF + OTHERS; other += 7)
        take(w, other);
}

static void moved_under_a_walk(void **state)
{
    (void)state;
    static const uint64_t afters[] = {0, 10, 50, 90, 120, 150, 300};
    for (move_to = BUCKETS / 2; move_to <= BUCKETS * TARGETS; move_to *= 2)
        for (size_t i = 0; move_to != BUCKETS && i < sizeof afters / sizeof afters[0]; i++) {
            change_after = afters[i];
            for (int kind = 0; kind < KINDS; kind++)
                walk_with((enum kind)kind, 200, move_in_between);
        }
}

/* A chunk at each visit, to and fro. */
static void move_a_chunk(struct walked *w, uint64_t n)
{
    (void)n;
    if (next_of(w->f) == NULL)
        begin_move_by_hand(w, table_buckets(root_of(w->f)) > BUCKETS ? BUCKETS : 2 * BUCKETS);
    move_chunk(w->f);
}
WALK_EACH(moved_chunk_by_chunk_under_a_walk, move_a_chunk)

/* A walk that begins when some of the chunks are moved visits exactly what there is then: also what came and went after its bucket
 * was moved. */
static void walk_of_a_half_moved_table(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (uint64_t buckets = BUCKETS / 2; buckets <= BUCKETS * TARGETS; buckets *= 2)
            for (int chunks = 0; buckets != BUCKETS && chunks < BUCKETS / CHUNK; chunks += 7) {
                struct walked *w = open_walk((enum kind)kind, 80);
                begin_move_by_hand(w, buckets);
                for (int i = 0; i < chunks; i++)
                    move_chunk(w->f);
                take(w, 1);
                take(w, HALF + 1);
                put(w, HALF - 1);
                put(w, NUMBERS - 1);
                w->stays[HALF - 1] = w->stays[NUMBERS - 1] = true;
                assert_int_equal(syncmap_range(w->f.m, visit, w), 1);
                assert_int_equal(w->visits, 80 + OTHERS);
                check_walk(w);
                close_walk(w);
            }
}

static void clear_map(struct walked *w)
{
    refuses = NULL;
    assert_int_equal(syncmap_clear(w->f.m), 0);
    syncmap_barrier(); /* frees nothing that a walk is in */
    refuses = refuse_tables;
    memset(w->stays, 0, sizeof w->stays);
    for (uint64_t other = 0; other < 150; other++)
        put(w, other);
}

static void clear_in_between(struct walked *w, uint64_t n)
{
    (void)n;
    if (w->visits == change_after)
        clear_map(w);
}

/* What was visited and is stored again, in a small table, is not visited twice. */
static void cleared_under_a_walk(void **state)
{
    (void)state;
    for (change_after = 0; change_after < 300; change_after += 37)
        for (int kind = 0; kind < KINDS; kind++)
            walk_with((enum kind)kind, 120, clear_in_between);
}

/* ---- scans ---- */

/* In the order of hashes, and at most so many in a call, but for those with one hash. */
static bool visit_scanned(syncmap_key key, void *value, void *context)
{
    struct walked *w = context;
    uint64_t hash = query_of(w->f, key).hash;
    bool first = w->call_visits++ == 0;
    if (w->visits > 0)
        CHECK(first ? hash > w->last_hash : hash >= w->last_hash);
    if (w->call_visits > w->call_limit)
        CHECK(hash == w->last_hash);
    w->last_hash = hash;
    bool stop = w->call_visits == w->call_stop;
    if (stop && w->call_limit > w->call_visits)
        w->call_limit = w->call_visits;
    return visit(key, value, w) && !stop;
}

static void scan_all(struct walked *w, size_t count, uint64_t stop, void (*between)(struct walked *w))
{
    syncmap_cursor cursor = {0};
    int more;
    do {
        w->call_visits = 0;
        w->call_limit = count;
        w->call_stop = stop;
        more = syncmap_scan(w->f.m, &cursor, count, visit_scanned, w);
        assert_in_range(more, 0, 1);
        if (more)
            assert_true(w->call_visits >= w->call_limit);
        if (between != NULL)
            between(w);
    } while (more);
    uint64_t visits = w->visits;
    assert_int_equal(syncmap_scan(w->f.m, &cursor, count, visit_scanned, w), 0);
    assert_int_equal(w->visits, visits);
    check_walk(w);
}

static void scan_each(uint64_t stop, void (*between)(struct walked *w))
{
    static const size_t counts[] = {1, 2, 7, 31, 32, 33, 100, 1000};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < FLOODS; i += 2)
            for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
                struct walked *w = open_walk((enum kind)kind, floods[i]);
                scan_all(w, counts[k], stop, between);
                close_walk(w);
            }
}

static void scans_in_order(void **state)
{
    (void)state;
    static const uint64_t stops[] = {UINT64_MAX, 1, 5, 40};
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++)
        scan_each(stops[i], NULL);
}

/* The place means the same in whatever table. */
static void resize_between(struct walked *w)
{
    uint64_t buckets = table_buckets(root_of(w->f));
    if (next_of(w->f) != NULL && rng_below(&w->rng, 2))
        move_all(w->f);
    else if (next_of(w->f) != NULL)
        move_chunk(w->f);
    else
        begin_move_by_hand(w, buckets > BUCKETS / 8 && (buckets >= BUCKETS || rng_below(&w->rng, 2)) ? buckets / 2 : 4 * buckets);
    anything(w, rng_below(&w->rng, 300));
}

static void scans_beside_moves(void **state)
{
    (void)state;
    scan_each(UINT64_MAX, resize_between);
}

static void clear_between(struct walked *w)
{
    if (w->visits % 3 == 0)
        clear_map(w);
}

static void scans_beside_clears(void **state)
{
    (void)state;
    scan_each(UINT64_MAX, clear_between);
}

/* ---- a walk beside a section, played by hand ---- */

/* How many keys a reading of the flooded bucket finds, which began when its header was that. NOT_TRUE: it has to begin again. */
enum { NOT_TRUE = -1 };

static int keys_read(const struct walked *w, struct flat_table *t, uint64_t header)
{
    uint64_t first = flooded[w->kind] << SHIFT;
    struct walk walk = {.m = &w->f.flat->map, .type = t->type, .from = first, .last = first + (((uint64_t)1 << SHIFT) - 1)};
    return walk_read(&walk, t, home_of(t, flooded[w->kind]), header, w->kind == INTEGERS) ? (int)walk.count : NOT_TRUE;
}

/* Of a key that is just going or coming it finds word and value, or nothing. It waits for no lock. */
static void beside_a_section(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct walked *w = open_walk((enum kind)kind, 3);
        struct flat_table *t = root_of(w->f);
        struct bucket *home = home_of(t, flooded[kind]);
        uint64_t before = header_of(t, flooded[kind]), header = before, word = ld_relaxed(&home->word[2]);
        void *value = ld_relaxed(&home->value[2]);
        assert_int_equal(keys_read(w, t, before), 3);
        struct thread *self = section_enter();
        assert_true(bucket_cas_lock(home, &header, BUCKET_VERSION));
        assert_int_equal(keys_read(w, t, before), NOT_TRUE);
        assert_int_equal(keys_read(w, t, header), 3);
        st_release(&home->value[2], NULL); /* as a delete does */
        assert_int_equal(keys_read(w, t, header), 2);
        st_release(&home->word[2], foreign_word(w->f.flat, t, flooded[kind]));
        assert_int_equal(keys_read(w, t, header), 2);
        st_release(&home->value[2], value); /* as it is for who read the word before an insert stored it, and the value after */
        assert_int_equal(keys_read(w, t, header), 2);
        st_release(&home->word[2], word);
        assert_int_equal(keys_read(w, t, header), 3);
        bucket_unlock(home, header);
        section_leave(self);
        assert_int_equal(keys_read(w, t, before), NOT_TRUE);
        assert_int_equal(keys_read(w, t, header), 3); /* LOCKED or not: it is the same version */
        close_walk(w);
    }
}

/* What does not change which keys there are does not disturb a reading; what does, does. */
static void what_disturbs_a_reading(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct walked *w = open_walk((enum kind)kind, 4); /* one in an overflow bucket */
        struct flat_table *t = root_of(w->f);
        uint64_t header = header_of(t, flooded[kind]);
        put(w, 2);
        assert_int_equal(keys_read(w, t, header), 4);
        put(w, 4);
        assert_int_equal(keys_read(w, t, header), NOT_TRUE);
        header = header_of(t, flooded[kind]);
        take(w, 4);
        assert_int_equal(keys_read(w, t, header), NOT_TRUE);
        header = header_of(t, flooded[kind]);
        syncmap_pin();
        begin_move_by_hand(w, 2 * BUCKETS);
        move_all(w->f);
        assert_true(is_moved(t, flooded[kind]));
        assert_int_equal(keys_read(w, t, header), 4); /* what the old table had stays */
        syncmap_unpin();
        close_walk(w);
    }
}

/* ---- a walk beside writers that run ---- */

enum { WALKS = 120, WRITES = 4000 };

static atomic_bool over;
static atomic_ullong writes;

/* Numbers that are no multiples of 4 come and go. */
static void *come_and_go(void *context)
{
    struct walked *w = context;
    struct rng rng = rng_make(test_seed(), 77);
    while (!atomic_load(&over)) {
        uint64_t n = rng_below(&rng, w->flood + OTHERS);
        n = n < w->flood ? n : HALF + n - w->flood;
        if (n % 4 != 0 && syncmap_delete(w->f.m, key_number(w, n)) == 0)
            put(w, n);
        atomic_fetch_add(&writes, 1);
    }
    return NULL;
}

static void *to_and_fro(void *context)
{
    struct walked *w = context;
    while (!atomic_load(&over)) {
        struct thread *pin = pin_enter(true);
        struct flat_table *t = root_table(ld_seq_cst(&w->f.flat->root));
        uint64_t buckets = table_buckets(t) > BUCKETS ? table_buckets(t) / 2 : 4 * table_buckets(t);
        CHECK(flat_resize(w->f.flat, t, buckets, t->type) != RESIZE_NO_MEMORY);
        while (!atomic_load(&over) && root_table(ld_seq_cst(&w->f.flat->root)) == t)
            flat_help(w->f.flat);
        pin_leave(pin);
    }
    return NULL;
}

static void beside_writers(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct walked *w = open_walk((enum kind)kind, 200);
        pthread_t threads[2];
        refuses = NULL;
        atomic_store(&over, false);
        atomic_store(&writes, 0);
        for (uint64_t n = 0; n < NUMBERS; n++)
            w->stays[n] = w->stays[n] && n % 4 == 0;
        assert_int_equal(pthread_create(&threads[0], NULL, come_and_go, w), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, to_and_fro, w), 0);
        for (int walks = 0; walks < WALKS || atomic_load(&writes) < WRITES; walks++) {
            memset(w->seen, 0, sizeof w->seen);
            w->visits = 0;
            if (walks % 2)
                scan_all(w, 30, UINT64_MAX, NULL);
            else
                assert_int_equal(syncmap_range(w->f.m, visit, w), 1);
            check_walk(w);
        }
        atomic_store(&over, true);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        close_walk(w);
    }
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_once_and_rounds_where_needed),
        cmocka_unit_test(stopped_in_the_middle),
        cmocka_unit_test(values_are_handed_out),
        cmocka_unit_test(visit_deletes_all),
        cmocka_unit_test(visit_restores_what_it_visited),
        cmocka_unit_test(visit_restores_what_is_to_come),
        cmocka_unit_test(visit_adds),
        cmocka_unit_test(visit_replaces),
        cmocka_unit_test(visit_does_anything),
        cmocka_unit_test(records_have_their_age),
        cmocka_unit_test(walks_nest),
        cmocka_unit_test(moved_under_a_walk),
        cmocka_unit_test(moved_chunk_by_chunk_under_a_walk),
        cmocka_unit_test(walk_of_a_half_moved_table),
        cmocka_unit_test(cleared_under_a_walk),
        cmocka_unit_test(scans_in_order),
        cmocka_unit_test(scans_beside_moves),
        cmocka_unit_test(scans_beside_clears),
        cmocka_unit_test(beside_a_section),
        cmocka_unit_test(what_disturbs_a_reading),
        cmocka_unit_test(beside_writers),
    };
    cmocka_set_test_filter(getenv("TESTS")); /* a pattern; not set: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
