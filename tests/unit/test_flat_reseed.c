/* SPDX-License-Identifier: MIT
 *
 * White box: floods of keys, and the change of secrets that they bring about (RESEEDING in flat.h).
 */
#include "flat_fixture.h"

enum {
    BUCKETS = 64,
    TARGET = 5,                        /* the bucket that is flooded */
    FLOODED = SLOTS * (FLOOD + 1) + 1, /* keys in one bucket that are one too many */
    MOST = 400
};

/* ---- maps whose keys can be aimed at a bucket, whatever the secrets are by now ---- */

enum aim { INTEGERS, OBJECTS };

/* A custom key, whose hash is told: what the map mixes with its secrets. */
struct object {
    uint64_t raw;
};

static atomic_ullong hash_calls;

static uint64_t object_hash(const void *key, uint64_t seed, void *context)
{
    (void)seed;
    (void)context;
    atomic_fetch_add_explicit(&hash_calls, 1, memory_order_relaxed);
    return ((const struct object *)key)->raw;
}

static bool object_equal(const void *a, const void *b, void *context)
{
    (void)context;
    return ((const struct object *)a)->raw == ((const struct object *)b)->raw;
}

struct flood {
    struct fixture f;
    enum aim aim;
    bool owning;
    uint64_t count;            /* keys in the map, or that were: */
    struct object key[MOST];   /* integers: raw is the key */
    struct value *value[MOST]; /* NULL: it is absent */
};

static syncmap_key flood_key(struct flood *x, uint64_t i)
{
    return x->aim == INTEGERS ? syncmap_u64(x->key[i].raw) : syncmap_obj(&x->key[i]);
}

static struct flood *flood_make(enum aim aim, bool owning)
{
    struct flood *x = test_calloc(1, sizeof *x);
    assert_non_null(x);
    x->aim = aim;
    x->owning = owning;
    x->f = make_of(aim == INTEGERS ? SYNCMAP_U64 : SYNCMAP_CUSTOM,
                   (syncmap_options){.capacity = (size_t)buckets_hold(BUCKETS),
                                     .value_free = owning ? value_free : NULL,
                                     .key = aim == INTEGERS ? (syncmap_key_functions){0}
                                                            : (syncmap_key_functions){.hash = object_hash, .equal = object_equal}});
    assert_int_equal(table_buckets(root_of(x->f)), BUCKETS);
    st_relaxed(&root_of(x->f)->era->flood_at, 0);
    return x;
}

static void flood_store(struct flood *x, uint64_t i)
{
    struct value *value = value_make(i);
    assert_int_equal(syncmap_store(x->f.m, flood_key(x, i), value), x->value[i] != NULL);
    if (x->value[i] != NULL && !x->owning)
        value_release(x->value[i]);
    x->value[i] = value;
}

static void flood_delete(struct flood *x, uint64_t i)
{
    assert_int_equal(syncmap_delete(x->f.m, flood_key(x, i)), x->value[i] != NULL);
    if (x->value[i] != NULL && !x->owning)
        value_release(x->value[i]);
    x->value[i] = NULL;
}

/* A new key whose hash by the root's secrets belongs to the bucket that is flooded. */
static uint64_t flood_aim(struct flood *x)
{
    assert_true(x->count < MOST);
    uint64_t i = x->count++, hash = ((uint64_t)TARGET << 58) + 977 * i;
    x->key[i].raw = unhash_u64(hash, root_of(x->f)->type->seed);
    return i;
}

/* So many new keys in one bucket. */
static void flood_with(struct flood *x, uint64_t keys)
{
    for (uint64_t n = 0; n < keys; n++)
        flood_store(x, flood_aim(x));
}

static uint64_t flood_len(const struct flood *x)
{
    uint64_t keys = 0;
    for (uint64_t i = 0; i < x->count; i++)
        keys += x->value[i] != NULL;
    return keys;
}

static void flood_check(struct flood *x)
{
    syncmap_pin();
    for (uint64_t i = 0; i < x->count; i++) {
        void *value = NULL;
        assert_int_equal(syncmap_load(x->f.m, flood_key(x, i), &value), x->value[i] != NULL);
        assert_ptr_equal(value, x->value[i]);
        assert_int_equal(copies_of(x->f, flood_key(x, i)), x->value[i] != NULL);
    }
    syncmap_unpin();
    check_map(x->f, flood_len(x));
}

static void flood_finish(struct flood *x)
{
    if (!x->owning)
        for (uint64_t i = 0; i < x->count; i++)
            if (x->value[i] != NULL)
                value_release(x->value[i]);
    refuses = NULL;
    syncmap_free(x->f.m);
    syncmap_barrier();
    assert_int_equal(atomic_load(&counting.live_blocks), 0);
    assert_int_equal(values_live(), 0);
    test_free(x);
}

static bool is_reseeding(const struct flood *x)
{
    struct flat_table *next = next_of(x->f);
    return next != NULL && next->type != root_of(x->f)->type;
}

static uint64_t longest_chain(struct flood *x)
{
    struct flat_table *t = root_of(x->f);
    uint64_t longest = 0;
    for (uint64_t i = 0; i < table_buckets(t); i++)
        longest = overflow_of(t, i) > longest ? overflow_of(t, i) : longest;
    return longest;
}

static unsigned number_now(const struct flood *x)
{
    return root_of(x->f)->type->number;
}

#define FOR_ALL(x)                                                          \
    for (int kind = 0; kind < 4; kind++)                                    \
        for (struct flood *x = flood_make(kind % 2 ? OBJECTS : INTEGERS, kind / 2); x != NULL; flood_finish(x), x = NULL)

/* ---- what begins it, and what it leads to ---- */

static void keys_are_scattered(void **state)
{
    (void)state;
    FOR_ALL (x) {
        flood_with(x, FLOODED - 1);
        assert_false(is_reseeding(x));
        assert_int_equal(longest_chain(x), FLOOD);
        flood_with(x, 1);
        assert_true(is_reseeding(x));
        flood_check(x);
        move_all(x->f);
        assert_int_equal(number_now(x), 1);
        assert_true(longest_chain(x) < FLOOD / 2);
        assert_int_equal(table_buckets(root_of(x->f)), BUCKETS);
        flood_check(x);
    }
}

/* An attacker who learns the new secrets, too. Each time takes twice as many keys as the last: so it costs no more than growing. */
static void again_and_again(void **state)
{
    (void)state;
    FOR_ALL (x) {
        unsigned changes = 0;
        uint64_t last = 0;
        while (x->count < MOST) {
            flood_with(x, 1);
            if (!is_reseeding(x))
                continue;
            assert_true(flood_len(x) >= 2 * last);
            last = flood_len(x);
            move_all(x->f);
            assert_int_equal(number_now(x), ++changes);
            flood_check(x);
        }
        assert_in_range(changes, 2, 5);
        flood_check(x);
    }
}

/* Where all keys have one hash, no secrets help; that is found out about as often as the keys double. */
static void hashes_that_are_equal(void **state)
{
    (void)state;
    struct flood *x = flood_make(OBJECTS, false);
    static struct object same[MOST];
    uint64_t attempts = 0, calls;
    x->f.flat->map.key.custom.equal = hashed_equal; /* by address */
    for (uint64_t i = 0; i < FLOOD_LOAD * BUCKETS; i++) {
        same[i].raw = 77;
        calls = atomic_load(&hash_calls);
        assert_int_equal(syncmap_store(x->f.m, syncmap_obj(&same[i]), number(1)), 0);
        attempts += atomic_load(&hash_calls) > calls + 1;
        assert_false(is_reseeding(x));
    }
    assert_in_range(attempts, 2, 5);
    assert_null(ld_relaxed(&x->f.flat->seeds));
    assert_int_equal(syncmap_clear(x->f.m), 0);
    flood_finish(x);
}

/* A table that could not grow has long chains by right. */
static void crowds_are_no_flood(void **state)
{
    (void)state;
    struct fixture f = make_sized(BUCKETS);
    st_relaxed(&root_of(f)->era->flood_at, 0);
    refuses = refuse_tables;
    for (uint64_t i = 0; i < (FLOOD_LOAD + 1) * BUCKETS; i++)
        assert_int_equal(store(f, i, i + 1), 0);
    for (uint64_t n = 0; n < FLOODED; n++)
        assert_int_equal(store(f, key_in(f, BUCKETS, TARGET, n), n + 1), 0);
    refuses = NULL;
    assert_null(ld_relaxed(&f.flat->seeds));
    assert_int_equal(root_of(f)->type->number, 0);
    syncmap_free(f.m);
    syncmap_barrier();
}

/* ---- in the middle of it ---- */

/* Every operation, on keys that were moved and keys that were not, after each chunk. */
static void while_it_is_moved(void **state)
{
    (void)state;
    FOR_ALL (x) {
        for (uint64_t i = 0; i < 60; i++) { /* others, all over the table */
            x->key[x->count].raw = 0x1234567 * (i + 1);
            flood_store(x, x->count++);
        }
        while (!is_reseeding(x))
            flood_with(x, 1);
        unsigned chunks = 0;
        struct rng rng = rng_make(test_seed(), 900 + (uint64_t)kind);
        for (; next_of(x->f) != NULL; chunks++) {
            flood_check(x);
            for (int n = 0; n < 3; n++) { /* each of which moves a chunk */
                uint64_t i = rng_below(&rng, x->count);
                void *now = NULL;
                switch (rng_below(&rng, 4)) {
                case 0:
                    flood_store(x, i);
                    break;
                case 1:
                    flood_delete(x, i);
                    break;
                case 2:
                    syncmap_pin();
                    assert_int_equal(syncmap_load_or_store(x->f.m, flood_key(x, i), x->value[i], &now), x->value[i] != NULL);
                    assert_ptr_equal(now, x->value[i]);
                    syncmap_unpin();
                    if (x->value[i] == NULL)
                        assert_int_equal(syncmap_compare_and_delete(x->f.m, flood_key(x, i), NULL), 1);
                    break;
                default: {
                    struct value *value = value_make(i), *old = x->value[i];
                    int swapped = syncmap_compare_and_swap(x->f.m, flood_key(x, i), old, value);
                    assert_int_equal(swapped, old != NULL);
                    x->value[i] = swapped ? value : NULL;
                    if (!swapped)
                        value_release(value);
                    else if (!x->owning)
                        value_release(old);
                }
                }
                if (next_of(x->f) == NULL)
                    break;
            }
        }
        assert_in_range(chunks, 1, BUCKETS / CHUNK);
        assert_int_equal(number_now(x), 1);
        flood_check(x);
    }
}

static void cleared_in_the_middle(void **state)
{
    (void)state;
    FOR_ALL (x) {
        flood_with(x, FLOODED);
        if (kind % 2)
            move_chunk(x->f);
        assert_true(is_reseeding(x));
        if (!x->owning)
            for (uint64_t i = 0; i < x->count; i++)
                value_release(x->value[i]);
        assert_int_equal(syncmap_clear(x->f.m), 0);
        memset(x->value, 0, sizeof x->value);
        assert_int_equal(ld_relaxed(&root_of(x->f)->era->flood_at), 0);
        flood_check(x);
        syncmap_barrier();
        assert_int_equal(values_live(), 0);
        for (uint64_t i = 0; i < x->count; i++)
            flood_store(x, i);
        move_all(x->f);
        flood_check(x);
    }
}

static void freed_in_the_middle(void **state)
{
    (void)state;
    for (int chunks = 0; chunks < BUCKETS / CHUNK; chunks++) {
        FOR_ALL (x) {
            flood_with(x, FLOODED);
            for (int n = 0; n < chunks; n++)
                move_chunk(x->f);
            assert_true(is_reseeding(x));
        }
    }
}

static bool refuse_seeds(size_t size)
{
    return size == sizeof(struct flat_seed);
}

/* ---- walks ---- */

/* A walk ends what goes on, and sees each key once. */
static void a_walk_ends_it(void **state)
{
    (void)state;
    FOR_ALL (x) {
        uint64_t visits = 0;
        flood_with(x, FLOODED);
        assert_true(is_reseeding(x));
        assert_int_equal(syncmap_range(x->f.m, count_visit, &visits), 1);
        assert_int_equal(visits, FLOODED);
        assert_int_equal(number_now(x), 1);
        assert_int_equal(ld_relaxed(&x->f.flat->walkers), 0);
        flood_check(x);
    }
}

static bool flooding_visit(syncmap_key key, void *value, void *context)
{
    (void)key;
    (void)value;
    struct flood *x = context;
    uint64_t visits = 0;
    if (x->count > FLOODED)
        return true;
    flood_with(x, FLOODED);
    assert_false(is_reseeding(x));
    assert_int_equal(syncmap_range(x->f.m, count_visit, &visits), 1); /* nested */
    assert_int_equal(visits, flood_len(x));
    return false;
}

/* None begins while somebody walks; it begins with the next key that is too many. */
static void a_walk_holds_it_up(void **state)
{
    (void)state;
    FOR_ALL (x) {
        x->key[x->count].raw = 1;
        flood_store(x, x->count++);
        assert_int_equal(syncmap_range(x->f.m, flooding_visit, x), 0);
        assert_int_equal(ld_relaxed(&x->f.flat->walkers), 0);
        assert_false(is_reseeding(x));
        flood_with(x, SLOTS);
        assert_true(is_reseeding(x));
        move_all(x->f);
        flood_check(x);
    }
}

static struct flood *calling;
static uint64_t walks_within;
static bool (*calls_at)(size_t);

static void walking_callback(size_t size)
{
    if (!calls_at(size))
        return;
    uint64_t visits = 0;
    calls_back = NULL;
    walks_within++;
    assert_int_equal(syncmap_range(calling->f.m, count_visit, &visits), 1);
    assert_int_equal(visits, syncmap_len(calling->f.m));
    calls_back = walking_callback;
}

static bool refuse_hashes(size_t size);

/* From an allocation of the one that begins it, or moves a chunk. */
static void a_walk_within_it(void **state)
{
    (void)state;
    static bool (*const where[])(size_t) = {refuse_seeds, refuse_tables, refuse_hashes, refuse_all};
    for (size_t n = 0; n < sizeof where / sizeof where[0]; n++) {
        FOR_ALL (x) {
            uint64_t visits = 0;
            st_relaxed(&root_of(x->f)->era->flood_at, UINT64_MAX);
            flood_with(x, 100);
            st_relaxed(&root_of(x->f)->era->flood_at, 0);
            calling = x;
            calls_at = where[n];
            walks_within = 0;
            calls_back = walking_callback;
            flood_with(x, SLOTS);
            move_all(x->f);
            assert_int_equal(syncmap_range(x->f.m, count_visit, &visits), 1);
            calls_back = NULL;
            assert_int_equal(visits, 100 + SLOTS);
            assert_true(walks_within > 0);
            assert_int_equal(number_now(x), 1);
            assert_int_equal(ld_relaxed(&x->f.flat->walkers), 0);
            flood_check(x);
        }
    }
}

static void cursors_go_stale(void **state)
{
    (void)state;
    FOR_ALL (x) {
        syncmap_cursor cursor = {0}, ended = {0}, fresh = {0}, kept;
        uint64_t visits = 0;
        for (uint64_t i = 0; i < 20; i++) {
            x->key[x->count].raw = 0x1234567 * (i + 1);
            flood_store(x, x->count++);
        }
        assert_int_equal(syncmap_scan(x->f.m, &cursor, 5, count_visit, &visits), 1);
        assert_int_equal(syncmap_scan(x->f.m, &ended, 1000, count_visit, &visits), 0);
        flood_with(x, FLOODED);
        move_all(x->f);
        assert_int_equal(number_now(x), 1);
        visits = 0;
        kept = cursor;
        assert_int_equal(syncmap_scan(x->f.m, &cursor, 5, count_visit, &visits), SYNCMAP_ESTALE);
        assert_memory_equal(&cursor, &kept, sizeof kept);
        assert_int_equal(syncmap_scan(x->f.m, &ended, 5, count_visit, &visits), 0);
        assert_int_equal(visits, 0);
        while (syncmap_scan(x->f.m, &fresh, 7, count_visit, &visits) == 1)
            continue;
        assert_int_equal(visits, flood_len(x));
        assert_int_equal(syncmap_scan(x->f.m, &fresh, 7, count_visit, &visits), 0);
        cursor = (syncmap_cursor){0}; /* over a clear the order stays */
        assert_int_equal(syncmap_scan(x->f.m, &cursor, 5, count_visit, &visits), 1);
        for (uint64_t i = 0; i < x->count; i++)
            flood_delete(x, i);
        assert_int_equal(syncmap_clear(x->f.m), 0);
        assert_int_equal(syncmap_scan(x->f.m, &cursor, 5, count_visit, &visits), 0);
        assert_string_not_equal(syncmap_strerror(SYNCMAP_ESTALE), syncmap_strerror(0));
    }
}

/* ---- without memory ---- */

static void without_memory(void **state)
{
    (void)state;
    static bool (*const what[])(size_t) = {refuse_seeds, refuse_tables};
    for (int n = 0; n < 2; n++) {
        FOR_ALL (x) {
            flood_with(x, FLOODED - 1);
            refuses = what[n];
            flood_with(x, 1);
            refuses = NULL;
            assert_false(is_reseeding(x));
            assert_false(ld_relaxed(&root_of(x->f)->reseeding));
            assert_false(ld_relaxed(&root_of(x->f)->growing));
            assert_null(ld_relaxed(&x->f.flat->seeds));
            flood_check(x);
            flood_with(x, 2 * SLOTS); /* another time */
            assert_true(is_reseeding(x));
            move_all(x->f);
            flood_check(x);
        }
    }
}

static bool refuse_hashes(size_t size)
{
    return size % (64 * sizeof(uint64_t)) == 0;
}

/* A chain of more keys than there is room for hashes without memory: then the bucket stays, and a walk says that it cannot be. */
static void a_bucket_that_cannot_be_moved(void **state)
{
    (void)state;
    FOR_ALL (x) {
        uint64_t visits = 0;
        syncmap_cursor cursor = {0};
        st_relaxed(&root_of(x->f)->era->flood_at, UINT64_MAX);
        flood_with(x, 100);
        st_relaxed(&root_of(x->f)->era->flood_at, 0);
        flood_with(x, SLOTS);
        assert_true(is_reseeding(x));
        refuses = refuse_hashes;
        for (int i = 0; i < 8 * BUCKETS / CHUNK; i++)
            move_chunk(x->f);
        assert_true(is_reseeding(x));
        assert_int_equal(ld_relaxed(&root_of(x->f)->moved), table_buckets(root_of(x->f)) - 1);
        assert_int_equal(syncmap_range(x->f.m, count_visit, &visits), SYNCMAP_ENOMEM);
        assert_int_equal(syncmap_scan(x->f.m, &cursor, 1, count_visit, &visits), SYNCMAP_ENOMEM);
        assert_int_equal(visits, 0);
        assert_int_equal(cursor.place, 0);
        flood_check(x);
        refuses = NULL;
        assert_int_equal(syncmap_range(x->f.m, count_visit, &visits), 1);
        assert_int_equal(visits, 100 + SLOTS);
        assert_int_equal(number_now(x), 1);
        flood_check(x);
    }
}

/* ---- a fork ---- */

static void in_the_child_of_a_fork(void **state)
{
    (void)state;
    struct fixture f = make_sized(BUCKETS);
    struct flat_table *t = root_of(f);
    st_relaxed(&t->growing, true); /* another thread was about to begin, */
    st_relaxed(&t->reseeding, true);
    st_relaxed(&f.flat->walkers, 2); /* and others walked */
    flat_fork_child(f.flat);
    assert_false(ld_relaxed(&t->growing));
    assert_false(ld_relaxed(&t->reseeding));
    assert_int_equal(ld_relaxed(&f.flat->walkers), 0);
    syncmap_pin(); /* in a visit */
    st_relaxed(&f.flat->walkers, 1);
    flat_fork_child(f.flat);
    assert_int_equal(ld_relaxed(&f.flat->walkers), 1);
    st_relaxed(&f.flat->walkers, 0);
    syncmap_unpin();
    syncmap_free(f.m);
    syncmap_barrier();
}

/* ---- under fire ---- */

enum { SHOOTERS = 3, OWN = 40 };

struct fire {
    struct flood *x;
    atomic_bool over;
};

struct shooter {
    pthread_t id;
    unsigned number;
    struct fire *fire;
    struct object key[OWN];
};

static syncmap_key shooter_key(struct shooter *s, uint64_t i)
{
    return s->fire->x->aim == INTEGERS ? syncmap_u64(s->key[i].raw) : syncmap_obj(&s->key[i]);
}

/* Works on keys of its own, each of whose values it knows. */
static void *shooter_run(void *context)
{
    struct shooter *s = context;
    syncmap *m = s->fire->x->f.m;
    uintptr_t has[OWN] = {0}, next = 1;
    struct rng rng = rng_make(test_seed(), 950 + s->number);
    while (!atomic_load(&s->fire->over)) {
        uint64_t i = rng_below(&rng, OWN);
        syncmap_key key = shooter_key(s, i);
        void *value = NULL;
        switch (rng_below(&rng, 4)) {
        case 0:
            CHECK(syncmap_swap(m, key, number(next), &value) == (has[i] != 0));
            CHECK(value == number(has[i]));
            has[i] = next++;
            break;
        case 1:
            CHECK(syncmap_load_and_delete(m, key, &value) == (has[i] != 0));
            CHECK(value == number(has[i]));
            has[i] = 0;
            break;
        case 2:
            if (rng_below(&rng, 50) == 0) {
                uint64_t visits = 0;
                CHECK(syncmap_range(m, count_visit, &visits) == 1);
            }
            /* fall through */
        default:
            CHECK(syncmap_load(m, key, &value) == (has[i] != 0));
            CHECK(value == number(has[i]));
        }
    }
    for (uint64_t i = 0; i < OWN; i++)
        (void)syncmap_delete(m, shooter_key(s, i));
    return NULL;
}

/* Floods one bucket after each change of secrets, beside threads that use the map. */
static void under_fire(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct fire fire = {.x = flood_make(kind ? OBJECTS : INTEGERS, false)};
        static struct shooter shooters[SHOOTERS];
        for (unsigned n = 0; n < SHOOTERS; n++) {
            shooters[n] = (struct shooter){.number = n, .fire = &fire};
            for (uint64_t i = 0; i < OWN; i++)
                shooters[n].key[i].raw = 0x9e3779b97f4a7c15u * (n * OWN + i + 1);
            assert_int_equal(pthread_create(&shooters[n].id, NULL, shooter_run, &shooters[n]), 0);
        }
        struct flood *x = fire.x;
        unsigned changes = 0;
        for (int round = 0; round < (kind == OBJECTS ? 300 : 3000); round++) {
            syncmap_pin(); /* as flood_aim() looks into the root */
            st_relaxed(&root_of(x->f)->era->flood_at, 0);
            unsigned before = number_now(x);
            x->count = 0;
            for (int n = 0; n < FLOODED + 2 * SLOTS; n++) {
                uint64_t i = flood_aim(x);
                CHECK(syncmap_store(x->f.m, flood_key(x, i), number(i + 1)) >= 0);
            }
            for (uint64_t i = 0; i < x->count; i++) {
                void *value;
                CHECK(syncmap_load(x->f.m, flood_key(x, i), &value) == 1 && value == number(i + 1));
            }
            for (uint64_t i = 0; i < x->count; i++)
                CHECK(syncmap_delete(x->f.m, flood_key(x, i)) == 1);
            changes += number_now(x) != before;
            syncmap_unpin();
            if (kind == OBJECTS)
                syncmap_barrier(); /* the keys are the map's own objects: who moves them may still be hashing one */
        }
        assert_true(changes > 0);
        atomic_store(&fire.over, true);
        for (unsigned n = 0; n < SHOOTERS; n++)
            assert_int_equal(pthread_join(shooters[n].id, NULL), 0);
        x->count = 0;
        move_all(x->f);
        check_map(x->f, 0);
        flood_finish(x);
    }
}

/* ---- the shortcut of strings ---- */

enum { TEXTS = 40 };

static void texts_check(struct fixture f, const struct text *texts, uint64_t count, bool by_first_secrets)
{
    for (uint64_t i = 0; i <= count; i++) { /* the last one is absent */
        syncmap_key key = syncmap_str(texts[i].chars);
        void *out = NULL;
        assert_int_equal(syncmap_load(f.m, key, &out), i < count);
        assert_ptr_equal(out, i < count ? number(i + 1) : NULL);
        assert_int_equal(flat_load_text(f.flat, key, texts[i].hash, &out), by_first_secrets && i < SLOTS ? 1 : cannot_tell(f, texts[i].hash));
        assert_int_equal(copies_of(f, key), i < count);
    }
    check_map(f, count);
}

/* Strings of the home bucket, of the rest of its chain, absent; while all is moved to other secrets, and after. */
static void strings_of_a_flood(void **state)
{
    (void)state;
    struct fixture f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold(BUCKETS), .seed = 1});
    struct text texts[TEXTS + 1];
    uint64_t n = 0, count = 0;
    for (int i = 0; i <= TEXTS; i++)
        texts[i] = text_in(f, TARGET, "", &n, NULL);
    for (; count < TEXTS - 1; count++) {
        assert_int_equal(syncmap_store(f.m, syncmap_str(texts[count].chars), number(count + 1)), 0);
        if (count >= SLOTS)
            texts_check(f, texts, count + 1, true);
    }
    st_relaxed(&root_of(f)->era->flood_at, 0);
    assert_int_equal(syncmap_store(f.m, syncmap_str(texts[count].chars), number(count + 1)), 0);
    count++;
    struct flat_table *t = root_of(f);
    assert_non_null(next_of(f));
    assert_ptr_not_equal(next_of(f)->type, t->type);
    while (root_of(f) == t) {
        texts_check(f, texts, count, !is_moved(t, TARGET));
        move_chunk(f);
    }
    assert_ptr_not_equal(root_of(f)->type, &f.flat->map.key);
    texts_check(f, texts, count, false);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(syncmap_delete(f.m, syncmap_str(texts[i].chars)), 1);
    check_map(f, 0);
    finish_map(f.m, &counting);
}

/* A string and another that it begins, in one bucket and with one tag: only their lengths tell them apart. */
static void strings_with_one_beginning(void **state)
{
    (void)state;
    struct fixture f = make_of(SYNCMAP_STRING, (syncmap_options){.capacity = (size_t)buckets_hold(BUCKETS), .seed = 1});
    uint64_t n = 0, m = 0;
    struct text one = text_in(f, TARGET, "", &n, NULL);
    uint64_t tag = hash_tag(one.hash);
    struct text other = text_in(f, TARGET, one.chars, &m, &tag);
    syncmap_key first = syncmap_str(one.chars), second = syncmap_str(other.chars);
    for (int turn = 0; turn < 2; turn++) {
        void *out = NULL;
        assert_int_equal(syncmap_store(f.m, turn == 0 ? second : first, number(1)), 0);
        assert_int_equal(syncmap_load(f.m, turn == 0 ? first : second, NULL), 0);
        assert_int_equal(syncmap_delete(f.m, turn == 0 ? first : second), 0);
        assert_int_equal(syncmap_store(f.m, turn == 0 ? first : second, number(2)), 0);
        assert_int_equal(syncmap_load(f.m, turn == 0 ? first : second, &out), 1);
        assert_ptr_equal(out, number(2));
        assert_int_equal(syncmap_load(f.m, turn == 0 ? second : first, &out), 1);
        assert_ptr_equal(out, number(1));
        assert_int_equal(syncmap_delete(f.m, first), 1);
        assert_int_equal(syncmap_delete(f.m, second), 1);
    }
    finish_map(f.m, &counting);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_scattered),
        cmocka_unit_test(again_and_again),
        cmocka_unit_test(hashes_that_are_equal),
        cmocka_unit_test(crowds_are_no_flood),
        cmocka_unit_test(while_it_is_moved),
        cmocka_unit_test(cleared_in_the_middle),
        cmocka_unit_test(freed_in_the_middle),
        cmocka_unit_test(a_walk_ends_it),
        cmocka_unit_test(a_walk_holds_it_up),
        cmocka_unit_test(a_walk_within_it),
        cmocka_unit_test(cursors_go_stale),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(a_bucket_that_cannot_be_moved),
        cmocka_unit_test(in_the_child_of_a_fork),
        cmocka_unit_test(under_fire),
        cmocka_unit_test(strings_of_a_flood),
        cmocka_unit_test(strings_with_one_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
