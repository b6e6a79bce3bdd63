/* SPDX-License-Identifier: MIT
 *
 * reserve: room that is there, and memory that comes back when the keys have gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/harness.h"

/* A sanitizer's malloc aborts on a size that cannot be; what is reserved below asks for it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

enum { KEYS = 24 };

/* ---- an allocator that tells tables from entries ---- */

/* Entries and copies of keys are smaller: a table is not, but for the smallest. What this machine has, for one map. */
enum { LARGE = 512, LIMIT = 1 << 26 };

struct yard {
    struct bed bed;
    atomic_llong large; /* blocks of LARGE bytes and more that were asked for */
};

static void *yard_alloc(size_t size, void *context)
{
    struct yard *yard = context;
    if (size >= LARGE) atomic_fetch_add(&yard->large, 1);
    if (size > LIMIT || atomic_load(&yard->bed.counting.live_bytes) > LIMIT - (long long)size) return NULL;
    syncmap_allocator allocator = counting_allocator(&yard->bed.counting);
    return allocator.alloc(size, allocator.context);
}

static void yard_free(void *memory, size_t size, void *context)
{
    struct yard *yard = context;
    syncmap_allocator allocator = counting_allocator(&yard->bed.counting);
    allocator.free(memory, size, allocator.context);
}

static void yard_open(struct yard *yard, const struct config *config, enum ownership ownership, size_t capacity)
{
    yard->bed = (struct bed){.config = config, .ownership = ownership};
    atomic_init(&yard->large, 0);
    counting_init(&yard->bed.counting);
    syncmap_options options = bed_options(config, ownership, &yard->bed.counting);
    options.allocator = (syncmap_allocator){.alloc = yard_alloc, .free = yard_free, .context = yard};
    options.capacity = capacity;
    bed_open_with(&yard->bed, &options);
}

static long long live_bytes(const struct yard *yard)
{
    return atomic_load(&yard->bed.counting.live_bytes);
}

static void fill(struct bed *bed, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) bed_store(bed, i, 0);
}

static void drain(struct bed *bed, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) bed_delete(bed, i, 1);
}

static bool good_hash(const struct config *config)
{
    return config->hash == TEST_HASH_GOOD;
}

/* ---- the keys are what they were ---- */

struct seen {
    struct bed *bed;
    size_t limit;
    unsigned char *seen;
    size_t total;
};

static bool visit_seen(syncmap_key key, void *value, void *context)
{
    struct seen *seen = context;
    uint64_t index = config_key_index(seen->bed->config, key);
    CHECK(index < seen->limit);
    CHECK(!seen->seen[index]);
    seen->seen[index] = 1;
    seen->total++;
    if (value) value_check(value, index);
    handed_done(seen->bed->ownership, value);
    return true;
}

/* Exactly the keys from `first` to `end`, by len, load, range and scan. */
static void check_keys(struct bed *bed, uint64_t first, uint64_t end)
{
    struct seen seen = {.bed = bed, .limit = end, .seen = calloc(end + 1, 1)};
    syncmap_cursor cursor = {0};
    CHECK(seen.seen != NULL);
    CHECK(syncmap_len(bed->map) == end - first);
    CHECK(syncmap_range(bed->map, visit_seen, &seen) == 1);
    CHECK(seen.total == end - first);
    memset(seen.seen, 0, end);
    while (syncmap_scan(bed->map, &cursor, 100, visit_seen, &seen) == 1) continue;
    CHECK(seen.total == 2 * (end - first));
    for (uint64_t i = first; i < end; i++) {
        CHECK(seen.seen[i]);
        bed_check_present(bed, i);
    }
    bed_check_absent(bed, end);
    if (first > 0) bed_check_absent(bed, first - 1);
    free(seen.seen);
}

/* ---- sizes ---- */

static void any_size(const struct config *config, enum ownership ownership)
{
    static const size_t sizes[] = {0, 1, 2, 7, 8, 15, 16, 17, 100, 1000, 3, 0, 20000, 1, 20000};
    for (uint64_t keys = 0; keys < 400; keys = 2 * keys + KEYS) {
        struct yard yard;
        struct bed *bed = &yard.bed;
        yard_open(&yard, config, ownership, 0);
        fill(bed, 0, keys);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            CHECK(syncmap_reserve(bed->map, sizes[i]) == 0);
            check_keys(bed, 0, keys);
        }
        fill(bed, keys, keys + 100);
        drain(bed, 0, 50);
        check_keys(bed, 50, keys + 100);
        CHECK(syncmap_reserve(bed->map, 500) == 0);
        CHECK(syncmap_clear(bed->map) == 0);
        CHECK(syncmap_reserve(bed->map, 200) == 0);
        check_keys(bed, 0, 0);
        fill(bed, 0, KEYS);
        check_keys(bed, 0, KEYS);
        bed_close(bed);
    }
}

static void test_any_size(void **state)
{
    (void)state;
    CHECK(syncmap_reserve(NULL, 0) == SYNCMAP_EINVAL);
    CHECK(syncmap_reserve(NULL, SIZE_MAX) == SYNCMAP_EINVAL);
    for_each_ownership(any_size);
}

/* More than there can be, or than the machine has: the map is as it was, and works. */
static void too_large(const struct config *config, enum ownership ownership)
{
    for (uint64_t keys = 0; keys <= 300; keys += 150) {
        struct yard yard;
        struct bed *bed = &yard.bed;
        yard_open(&yard, config, ownership, 0);
        fill(bed, 0, keys);
        /* All powers of two from 2^30 keys on, and what is beside them: where a size wraps around to a small one. */
        for (int bit = 30; bit <= 64; bit++) {
            size_t power = bit < 64 ? (size_t)1 << bit : 0;
            CHECK(syncmap_reserve(bed->map, power - 1) == SYNCMAP_ENOMEM);
            if (bit == 64) break;
            CHECK(syncmap_reserve(bed->map, power) == SYNCMAP_ENOMEM);
            CHECK(syncmap_reserve(bed->map, power + 1) == SYNCMAP_ENOMEM);
            CHECK(syncmap_reserve(bed->map, power + power / 2) == SYNCMAP_ENOMEM);
            CHECK(syncmap_reserve(bed->map, power + power / 2 + power / 4) == SYNCMAP_ENOMEM);
        }
        CHECK(live_bytes(&yard) < LIMIT);
        check_keys(bed, 0, keys);
        fill(bed, keys, keys + 100);
        CHECK(syncmap_reserve(bed->map, 1000) == 0);
        CHECK(syncmap_reserve(bed->map, SIZE_MAX) == SYNCMAP_ENOMEM);
        drain(bed, 0, 50);
        check_keys(bed, 50, keys + 100);
        bed_close(bed);
    }
}

/* From malloc. */
static void too_large_for_all(const struct config *config)
{
    struct bed bed = {.config = config, .ownership = PLAIN};
    counting_init(&bed.counting);
    syncmap_options options = config_options(config, NULL);
    bed_open_with(&bed, &options);
    fill(&bed, 0, KEYS);
    CHECK(syncmap_reserve(bed.map, SIZE_MAX) == SYNCMAP_ENOMEM);
    CHECK(syncmap_reserve(bed.map, SIZE_MAX / 2) == SYNCMAP_ENOMEM);
    CHECK(syncmap_reserve(bed.map, SIZE_MAX / 16 + 2) == SYNCMAP_ENOMEM);
    check_keys(&bed, 0, KEYS);
    bed_close(&bed);
}

static void test_too_large(void **state)
{
    (void)state;
    for_each_ownership(too_large);
    for_each_config(too_large_for_all);
}

/* ---- room ---- */

/* Stores a new key by each of the operations that can. */
static void insert(struct bed *bed, uint64_t index)
{
    void *value = bed->ownership == PLAIN ? NULL : value_make(index);
    void *previous = bed;
    switch (index % 3) {
    case 0: CHECK(syncmap_store(bed->map, KEY(bed, index), value) == 0); break;
    case 1: CHECK(syncmap_load_or_store(bed->map, KEY(bed, index), value, NULL) == 0); break;
    default:
        CHECK(syncmap_swap(bed->map, KEY(bed, index), value, &previous) == 0);
        CHECK(previous == NULL);
    }
}

/* Up to so many keys no table is allocated any more, with what was there counted; and the memory of the tables was taken at
 * once. How it is asked for: by reserve in the empty map, by reserve with keys, by reserve after deletes, by capacity. */
enum room { RESERVED, RESERVED_LATER, RESERVED_AFTER_DELETES, RESERVED_IN_STEPS, CAPACITY, ROOMS };

static void room_for(const struct config *config, enum ownership ownership, enum room room, size_t keys)
{
    struct yard yard;
    struct bed *bed = &yard.bed;
    uint64_t first = 0, there = 0;
    yard_open(&yard, config, ownership, room == CAPACITY ? keys : 0);
    if (room == RESERVED_LATER) there = keys / 3;
    if (room == RESERVED_AFTER_DELETES) there = keys + 100;
    fill(bed, 0, there);
    if (room == RESERVED_AFTER_DELETES) {
        first = there - keys / 2;
        drain(bed, 0, first);
    }
    if (room == RESERVED_IN_STEPS) {
        for (size_t part = 1; part < keys; part *= 3) CHECK(syncmap_reserve(bed->map, part) == 0);
    }
    if (room != CAPACITY) CHECK(syncmap_reserve(bed->map, keys) == 0);
    /* What is retired by growing is no part of the room. */
    syncmap_barrier();
    long long bytes = live_bytes(&yard);
    CHECK(bytes >= (long long)(keys * sizeof(void *)));
    atomic_store(&yard.large, 0);
    for (uint64_t i = there; i < first + keys; i++) insert(bed, i);
    CHECK(syncmap_len(bed->map) == keys);
    /* The library cannot know how many buckets a poor hash will leave empty. */
    bool sure = good_hash(config);
    CHECK(!sure || atomic_load(&yard.large) == 0);
    for (uint64_t i = first; i < first + keys; i += 7) bed_store(bed, i, 1);
    CHECK(!sure || atomic_load(&yard.large) == 0);
    check_keys(bed, first, first + keys);
    bed_close(bed);
}

static void rooms_of(const struct config *config, enum ownership ownership, enum room room)
{
    static const size_t sizes[] = {1, 2, 8, 30, 100, 300, 1000, 7000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (good_hash(config) || sizes[i] <= 300) room_for(config, ownership, room, sizes[i]);
    }
    if (ownership == PLAIN && good_hash(config)) room_for(config, PLAIN, room, 100000 / TEST_SCALE);
}

static void rooms(const struct config *config, enum ownership ownership)
{
    for (int room = 0; room < ROOMS; room++)
        if (room != RESERVED_AFTER_DELETES) rooms_of(config, ownership, (enum room)room);
}

static void test_rooms(void **state)
{
    (void)state;
    for_each_ownership(rooms);
}

/* What deleted keys have left behind in a table is no room. */
static void rooms_after_deletes(const struct config *config, enum ownership ownership)
{
    rooms_of(config, ownership, RESERVED_AFTER_DELETES);
}

static void test_rooms_after_deletes(void **state)
{
    (void)state;
    for_each_ownership(rooms_after_deletes);
}

/* Every small size, whatever the seed of the hash: few keys may meet in one place of a table. */
static void rooms_for_few(const struct config *config)
{
    enum { FEW = 64, SEEDS = 20 };
    for (size_t keys = 1; keys <= FEW; keys++) {
        for (int seed = 0; seed < SEEDS; seed++) room_for(config, PLAIN, seed % 2 ? CAPACITY : RESERVED, keys);
    }
}

static void test_rooms_for_few(void **state)
{
    (void)state;
    for_each_config(rooms_for_few);
}

/* Without reserve the same keys do need tables: what the tests above do not see would be seen. */
static void no_room(const struct config *config)
{
    struct yard yard;
    yard_open(&yard, config, PLAIN, 0);
    atomic_store(&yard.large, 0);
    fill(&yard.bed, 0, 300);
    if (good_hash(config) || config->engine == SYNCMAP_ENGINE_READ_DIRTY) CHECK(atomic_load(&yard.large) > 0);
    bed_close(&yard.bed);
}

static void test_no_room(void **state)
{
    (void)state;
    for_each_config(no_room);
}

/* ---- memory that is out ---- */

/* One more allocation succeeds each time, until all do. */
static void out_of_memory(const struct config *config, enum ownership ownership)
{
    for (uint64_t keys = 0; keys <= 300; keys += 100) {
        struct yard yard;
        struct bed *bed = &yard.bed;
        yard_open(&yard, config, ownership, 0);
        fill(bed, 0, keys);
        if (keys == 200) CHECK(bed_range_count(bed) == keys);
        int result = SYNCMAP_ENOMEM;
        for (long long successes = 0; result != 0; successes++) {
            CHECK(successes < 1000);
            atomic_store(&bed->counting.fail_after, successes);
            result = syncmap_reserve(bed->map, 5000);
            /* Memory is still out: what needs none works. */
            check_keys(bed, 0, keys);
            atomic_store(&bed->counting.fail_after, -1);
            CHECK(result == 0 || result == SYNCMAP_ENOMEM);
            CHECK(successes > 0 || result == SYNCMAP_ENOMEM);
            if (successes % 3 == 1) {
                /* It may be used in between. */
                bed_store(bed, keys, 0);
                bed_delete(bed, keys, 1);
            }
        }
        fill(bed, keys, 1000);
        check_keys(bed, 0, 1000);
        bed_close(bed);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for_each_ownership(out_of_memory);
}

/* ---- beside others ---- */

struct visit_reserve {
    struct bed *bed;
    size_t visits;
};

static bool visit_reserve(syncmap_key key, void *value, void *context)
{
    struct visit_reserve *visit = context;
    uint64_t index = config_key_index(visit->bed->config, key);
    CHECK(index < KEYS);
    CHECK(syncmap_reserve(visit->bed->map, (size_t)KEYS << visit->visits % 10) == 0);
    CHECK(syncmap_reserve(visit->bed->map, SIZE_MAX) == SYNCMAP_ENOMEM);
    if (value) value_check(value, index);
    CHECK(config_key_index(visit->bed->config, key) == index);
    handed_done(visit->bed->ownership, value);
    visit->visits++;
    return true;
}

static void in_visits(const struct config *config, enum ownership ownership)
{
    struct yard yard;
    syncmap_cursor cursor = {0};
    yard_open(&yard, config, ownership, 0);
    fill(&yard.bed, 0, KEYS);
    struct visit_reserve visit = {&yard.bed, 0};
    CHECK(syncmap_range(yard.bed.map, visit_reserve, &visit) == 1);
    CHECK(visit.visits == KEYS);
    while (syncmap_scan(yard.bed.map, &cursor, 5, visit_reserve, &visit) == 1) continue;
    CHECK(visit.visits == 2 * KEYS);
    check_keys(&yard.bed, 0, KEYS);
    bed_close(&yard.bed);
}

static void test_in_visits(void **state)
{
    (void)state;
    for_each_ownership(in_visits);
}

/* Every table that was replaced stays for as long as one thread is pinned, and a thread can lose its processor in there: between two
 * barriers of its own each makes few enough for the yard, so that no memory is what it seems. */
enum { WRITERS = 2, RESERVERS = 2, OWN = 400, WRITER_ROUND = 32, RESERVER_ROUND = 8 };

/* Each writer has keys of its own, and knows which are there. */
struct crowd {
    struct yard yard;
    uint64_t own, steps;
    atomic_int writing;
    bool present[WRITERS][OWN];
};

static void crowd_writer(struct crowd *crowd, struct rng *rng, size_t number)
{
    struct bed *bed = &crowd->yard.bed;
    for (uint64_t step = 0; step < crowd->steps; step++) {
        if (step % WRITER_ROUND == 0) syncmap_barrier();
        /* Within a part of them that changes: now there are many, now few. */
        uint64_t at = rng_below(rng, 1 + step % crowd->own), index = at * WRITERS + number;
        bool *present = &crowd->present[number][at];
        switch (rng_below(rng, 4)) {
        case 0:
            bed_delete(bed, index, *present);
            *present = false;
            break;
        case 1: CHECK(syncmap_load(bed->map, KEY(bed, index), NULL) == *present); break;
        default:
            bed_store(bed, index, *present);
            *present = true;
        }
    }
    atomic_fetch_sub(&crowd->writing, 1);
}

static void crowd_reserver(struct crowd *crowd, struct rng *rng)
{
    struct bed *bed = &crowd->yard.bed;
    for (uint64_t step = 0; atomic_load(&crowd->writing) > 0; step++) {
        if (step % RESERVER_ROUND == 0) syncmap_barrier();
        size_t keys = (size_t)1 << rng_below(rng, 14);
        CHECK(syncmap_reserve(bed->map, rng_below(rng, keys)) == 0);
        if (rng_below(rng, 8) == 0) CHECK(syncmap_reserve(bed->map, SIZE_MAX - keys) == SYNCMAP_ENOMEM);
        if (rng_below(rng, 8) == 0) CHECK(bed_range_count(bed) <= WRITERS * crowd->own);
    }
}

static void crowd_thread(size_t number, void *context)
{
    struct rng rng = rng_make(test_seed(), 12000 + number);
    if (number < WRITERS)
        crowd_writer(context, &rng, number);
    else
        crowd_reserver(context, &rng);
}

static void beside_writers(const struct config *config, enum ownership ownership)
{
    static struct crowd crowd;
    struct bed *bed = &crowd.yard.bed;
    memset(&crowd, 0, sizeof crowd);
    crowd.own = good_hash(config) ? OWN : 40;
    crowd.steps = 20000 / TEST_SCALE;
    atomic_store(&crowd.writing, WRITERS);
    yard_open(&crowd.yard, config, ownership, 0);
    threads_run(WRITERS + RESERVERS, crowd_thread, &crowd);
    size_t keys = 0;
    for (uint64_t index = 0; index < WRITERS * crowd.own; index++) {
        if (crowd.present[index % WRITERS][index / WRITERS]) {
            bed_check_present(bed, index);
            keys++;
        } else {
            bed_check_absent(bed, index);
        }
    }
    CHECK(syncmap_len(bed->map) == keys);
    CHECK(bed_range_count(bed) == keys);
    bed_close(bed);
}

static void test_beside_writers(void **state)
{
    (void)state;
    for_each_ownership(beside_writers);
}

/* ---- memory that comes back ---- */

/* What is there when the keys have been deleted, and a few stored and deleted after that, is a small part of what was. Of
 * the flat engine: a table of read/dirty's keeps its size until a clear. */
static void shrinks(const struct config *config)
{
    enum { PART = 50, EMPTY = 4096, ROUNDS = 3, LEFT = 10, LATER = 200 }; /* EMPTY: bytes of a map with few keys */
    const uint64_t keys = good_hash(config) ? 100000 / TEST_SCALE : 1000;
    if (config->engine != SYNCMAP_ENGINE_FLAT) return;
    struct yard yard;
    struct bed *bed = &yard.bed;
    yard_open(&yard, config, OWNED, 0);
    fill(bed, 0, LEFT);
    for (int round = 0; round < ROUNDS; round++) {
        fill(bed, LEFT, keys);
        syncmap_barrier();
        long long most = live_bytes(&yard);
        CHECK(most >= (long long)(keys * 2 * sizeof(void *)));
        drain(bed, LEFT, keys);
        for (uint64_t i = keys; i < keys + LATER; i++) {
            bed_store(bed, i, 0);
            bed_delete(bed, i, 1);
        }
        syncmap_barrier();
        long long least = live_bytes(&yard);
        printf("%s: %lld bytes with %llu keys, %lld with %d\n", config->name, most, (unsigned long long)keys, least, LEFT);
        if (least > most / PART + EMPTY) CHECK(!"memory comes back");
        check_keys(bed, 0, LEFT);
    }
    bed_close(bed);
}

static void test_shrinks(void **state)
{
    (void)state;
    for_each_config(shrinks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_size),       cmocka_unit_test(test_too_large), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_out_of_memory),  cmocka_unit_test(test_in_visits), cmocka_unit_test(test_beside_writers),
        cmocka_unit_test(test_shrinks),        cmocka_unit_test(test_rooms),     cmocka_unit_test(test_rooms_for_few),
        cmocka_unit_test(test_rooms_after_deletes),
    };
    test_seed();
    cmocka_set_test_filter(getenv("TESTS")); /* a pattern; not set: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
