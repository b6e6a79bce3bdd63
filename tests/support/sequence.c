/* SPDX-License-Identifier: MIT */
#include "support/sequence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/harness.h"

enum {
    KEYS_MAX = 12,
    ROUNDS_MAX = 3,
    CALLS_MIN = 20,
    CALLS_MAX = 60,
    /* One for each call's new value and one for its expected, in a map that does not own its values. */
    PLAIN_MAX = 2 * ROUNDS_MAX * CALLS_MAX
};

enum operation {
    LOAD,
    STORE,
    LOAD_OR_STORE,
    LOAD_AND_DELETE,
    DELETE,
    SWAP,
    COMPARE_AND_SWAP,
    COMPARE_AND_DELETE,
    RANGE,
    CLEAR,
    MISSES, /* loads of a key that is never stored, often enough to have dirty promoted */
    MANY,   /* load_many */
    SCAN,   /* from its beginning to its end, in calls of any length */
    RESERVE,
    OPERATIONS
};

/* How often each operation is called. The states of the engine's entries need different mixes to be reached: range and
 * clear end them all, deletes between promotions leave emptied and expunged entries. */
static const uint8_t profiles[][OPERATIONS] = {
    {10, 10, 10, 10, 10, 10, 10, 10, 4, 1, 4, 4, 4, 1},
    {4, 20, 6, 4, 16, 4, 4, 4, 0, 0, 6, 2, 0, 0},
    {8, 6, 12, 12, 6, 6, 8, 8, 0, 0, 12, 4, 0, 1},
    {20, 4, 4, 2, 4, 2, 14, 14, 1, 0, 2, 8, 1, 0},
    {2, 10, 4, 4, 10, 10, 2, 2, 8, 2, 0, 1, 6, 2},
};
enum { PROFILES = sizeof profiles / sizeof profiles[0] };

struct sequence {
    struct bed bed;
    struct rng rng;
    struct reference reference;
    uint64_t keys;
    bool faults;
    bool equal;     /* options.value_equal is set */
    bool borrowed;  /* a custom map without dup: it keeps the pointers to `original` */
    uint64_t scratch[KEY_BUFFER / 8];
    uint64_t original[KEYS_MAX + 1][KEY_BUFFER / 8];
    void *plain[PLAIN_MAX];
    size_t plain_count;
};

/* ---- callbacks ---- */

/* Half of all pairs are equal. */
static bool values_alike(const void *stored, const void *expected, void *context)
{
    const struct value *a = stored;
    const struct value *b = expected;
    (void)context;
    value_check(a, a->key_index);
    value_check(b, b->key_index);
    CHECK(a != b);
    return a->serial % 2 == b->serial % 2;
}

/* ---- what a call needs and leaves ---- */

/* The key of the next call. What it points to is overwritten once the call has returned. */
static syncmap_key key_of(struct sequence *s, uint64_t index)
{
    return config_key(s->bed.config, index, (char *)(s->borrowed ? s->original[index] : s->scratch));
}

/* Lets the allocator fail within the coming call, now and then. */
static void before_call(struct sequence *s)
{
    if (s->faults && rng_below(&s->rng, 2)) atomic_store(&s->bed.counting.fail_after, (long long)rng_below(&s->rng, 4));
}

static void after_call(struct sequence *s)
{
    atomic_store(&s->bed.counting.fail_after, -1);
    memset(s->scratch, 0xee, sizeof s->scratch);
}

static bool out_of_memory(const struct sequence *s, int result)
{
    return s->faults && result == SYNCMAP_ENOMEM;
}

/* What only takes away needs memory for the sake of the values alone. */
static bool out_of_memory_if_owning(const struct sequence *s, int result)
{
    return s->bed.ownership != PLAIN && out_of_memory(s, result);
}

static void *make(struct sequence *s, uint64_t index)
{
    void *value = value_make(index);
    if (s->bed.ownership == PLAIN) {
        CHECK(s->plain_count < PLAIN_MAX);
        s->plain[s->plain_count++] = value;
    }
    return value;
}

static void *make_or_null(struct sequence *s, uint64_t index)
{
    return rng_below(&s->rng, 5) ? make(s, index) : NULL;
}

/* What a compare operation expects: what is there, NULL, or some other value. `fresh` is what to end afterwards. */
static void *expected_of(struct sequence *s, uint64_t index, void **fresh)
{
    void *current;
    *fresh = NULL;
    reference_load(&s->reference, index, &current);
    switch (rng_below(&s->rng, 4)) {
    case 0:
        return NULL;
    case 1:
        return *fresh = make(s, index);
    default:
        return current;
    }
}

/* ---- one function for each operation ---- */

static void call_load(struct sequence *s, uint64_t index)
{
    void *value = s;
    void *expected;
    bool wanted = rng_below(&s->rng, 4) != 0;
    handed_begin(s->bed.ownership);
    int result = syncmap_load(s->bed.map, key_of(s, index), wanted ? &value : NULL);
    CHECK(result == reference_load(&s->reference, index, &expected));
    if (wanted) {
        CHECK(value == expected);
        if (value) value_check(value, index);
        handed_done(s->bed.ownership, value);
    }
    handed_end(s->bed.ownership);
}

static void call_store(struct sequence *s, uint64_t index)
{
    void *value = make_or_null(s, index);
    int result = syncmap_store(s->bed.map, key_of(s, index), value);
    if (out_of_memory(s, result)) {
        refused_done(s->bed.ownership, value);
    } else {
        CHECK(result == reference_store(&s->reference, index, value));
    }
}

static void call_load_or_store(struct sequence *s, uint64_t index)
{
    void *value = make_or_null(s, index);
    void *actual = s;
    void *expected;
    bool wanted = rng_below(&s->rng, 4) != 0;
    handed_begin(s->bed.ownership);
    void **out = wanted ? &actual : NULL;
    int result = rng_next(&s->rng) % 2 == 0 ? syncmap_load_or_store(s->bed.map, key_of(s, index), value, out)
                                            : computed_load_or_store(s->bed.map, key_of(s, index), value, out, s->bed.ownership);
    if (out_of_memory(s, result)) {
        CHECK(actual == s);
    } else {
        CHECK(result == reference_load_or_store(&s->reference, index, value, &expected));
        CHECK(!wanted || actual == expected);
        if (wanted) handed_done(s->bed.ownership, actual);
    }
    handed_end(s->bed.ownership);
    if (result != 0) refused_done(s->bed.ownership, value);
}

/* `deleting`: load_and_delete, else swap. The two differ in what they leave only. */
static void call_taking(struct sequence *s, uint64_t index, bool deleting)
{
    void *value = deleting ? NULL : make_or_null(s, index);
    void *previous = s;
    void *expected;
    bool wanted = rng_below(&s->rng, 4) != 0;
    void **out = wanted ? &previous : NULL;
    syncmap_key key = key_of(s, index);
    int result = deleting ? syncmap_load_and_delete(s->bed.map, key, out) : syncmap_swap(s->bed.map, key, value, out);
    if (deleting ? out_of_memory_if_owning(s, result) : out_of_memory(s, result)) {
        CHECK(previous == s);
        refused_done(s->bed.ownership, value);
        return;
    }
    CHECK(result == (deleting ? reference_load_and_delete(&s->reference, index, &expected)
                              : reference_swap(&s->reference, index, value, &expected)));
    if (!wanted) return;
    CHECK(previous == expected);
    if (previous) value_check(previous, index);
    previous_done(s->bed.ownership, previous);
}

static void call_delete(struct sequence *s, uint64_t index)
{
    int result = syncmap_delete(s->bed.map, key_of(s, index));
    if (!out_of_memory_if_owning(s, result)) CHECK(result == reference_load_and_delete(&s->reference, index, NULL));
}

/* The reference looks at the stored value after the map may have given it up. */
static void protect(const struct sequence *s)
{
    if (s->equal) syncmap_pin();
}

static void protect_end(const struct sequence *s)
{
    if (s->equal) syncmap_unpin();
}

static void call_compare_and_swap(struct sequence *s, uint64_t index)
{
    void *fresh;
    void *desired = make_or_null(s, index);
    void *expected = expected_of(s, index, &fresh);
    protect(s);
    int result = syncmap_compare_and_swap(s->bed.map, key_of(s, index), expected, desired);
    if (!out_of_memory_if_owning(s, result)) {
        CHECK(result == reference_compare_and_swap(&s->reference, index, expected, desired));
    }
    protect_end(s);
    if (result != 1) refused_done(s->bed.ownership, desired);
    refused_done(s->bed.ownership, fresh);
}

static void call_compare_and_delete(struct sequence *s, uint64_t index)
{
    void *fresh;
    void *expected = expected_of(s, index, &fresh);
    protect(s);
    int result = syncmap_compare_and_delete(s->bed.map, key_of(s, index), expected);
    if (!out_of_memory_if_owning(s, result)) {
        CHECK(result == reference_compare_and_delete(&s->reference, index, expected));
    }
    protect_end(s);
    refused_done(s->bed.ownership, fresh);
}

struct partial {
    struct sequence *s;
    uint64_t left; /* visits until it stops; 0: at none */
    size_t visits;
    bool seen[KEYS_MAX];
};

static bool visit_partial(syncmap_key key, void *value, void *context)
{
    struct partial *partial = context;
    struct sequence *s = partial->s;
    void *expected;
    uint64_t index = config_key_index(s->bed.config, key);
    CHECK(index < s->keys);
    CHECK(!partial->seen[index]);
    partial->seen[index] = true;
    partial->visits++;
    CHECK(reference_load(&s->reference, index, &expected) == 1);
    CHECK(value == expected);
    handed_done(s->bed.ownership, value);
    return partial->left == 0 || --partial->left > 0;
}

static void call_range(struct sequence *s)
{
    uint64_t stop = rng_below(&s->rng, s->keys + 1);
    size_t len = reference_len(&s->reference);
    struct partial partial = {.s = s, .left = stop};
    bool stops = stop != 0 && stop <= len;
    CHECK(syncmap_range(s->bed.map, visit_partial, &partial) == !stops);
    CHECK(partial.visits == (stops ? stop : len));
}

static void call_scan(struct sequence *s)
{
    size_t len = reference_len(&s->reference);
    struct partial partial = {.s = s};
    syncmap_cursor cursor = {0};
    for (int result = 1; result != 0;) {
        size_t before = partial.visits, count = (size_t)rng_below(&s->rng, s->keys + 1);
        result = syncmap_scan(s->bed.map, &cursor, count, visit_partial, &partial);
        CHECK(result == 0 || (result == 1 && partial.visits - before >= count + !count));
        if (s->bed.config->hash == TEST_HASH_GOOD) CHECK(partial.visits - before <= count + !count);
    }
    CHECK(partial.visits == len);
}

static void call_many(struct sequence *s)
{
    syncmap_key keys[2 * KEYS_MAX];
    void *values[2 * KEYS_MAX];
    bool present[2 * KEYS_MAX], all = true;
    uint64_t room[2 * KEYS_MAX][KEY_BUFFER / 8], index[2 * KEYS_MAX];
    size_t count = (size_t)rng_below(&s->rng, 2 * KEYS_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        index[i] = rng_below(&s->rng, s->keys);
        keys[i] = config_key(s->bed.config, index[i], (char *)(s->borrowed ? s->original[index[i]] : room[i]));
    }
    handed_begin(s->bed.ownership);
    int result = syncmap_load_many(s->bed.map, count, keys, values, present);
    for (size_t i = 0; i < count; i++) {
        void *expected;
        CHECK(present[i] == reference_load(&s->reference, index[i], &expected));
        CHECK(values[i] == expected);
        all = all && present[i];
        if (values[i]) value_check(values[i], index[i]);
        handed_done(s->bed.ownership, values[i]);
    }
    CHECK(result == all);
    handed_end(s->bed.ownership);
}

static void call_reserve(struct sequence *s)
{
    int result = syncmap_reserve(s->bed.map, (size_t)rng_below(&s->rng, 4 * KEYS_MAX));
    if (!out_of_memory(s, result)) CHECK(result == 0);
}

static void call_clear(struct sequence *s)
{
    int result = syncmap_clear(s->bed.map);
    if (!out_of_memory(s, result)) CHECK(result == reference_clear(&s->reference));
}

static void call_misses(struct sequence *s)
{
    /* Not always the same number of them: sometimes the last one promotes, sometimes it is one short. */
    for (uint64_t left = rng_below(&s->rng, s->keys + 2); left > 0; left--) {
        CHECK(syncmap_load(s->bed.map, key_of(s, s->keys), NULL) == 0);
    }
}

static void call(struct sequence *s, enum operation operation, uint64_t index)
{
    switch (operation) {
    case LOAD: call_load(s, index); break;
    case STORE: call_store(s, index); break;
    case LOAD_OR_STORE: call_load_or_store(s, index); break;
    case LOAD_AND_DELETE: call_taking(s, index, true); break;
    case DELETE: call_delete(s, index); break;
    case SWAP: call_taking(s, index, false); break;
    case COMPARE_AND_SWAP: call_compare_and_swap(s, index); break;
    case COMPARE_AND_DELETE: call_compare_and_delete(s, index); break;
    case RANGE: call_range(s); break;
    case CLEAR: call_clear(s); break;
    case MISSES: call_misses(s); break;
    case MANY: call_many(s); break;
    case SCAN: call_scan(s); break;
    case RESERVE: call_reserve(s); break;
    default: CHECK(!"an operation");
    }
}

/* ---- the sequence ---- */

static enum operation draw(struct rng *rng, const uint8_t profile[OPERATIONS])
{
    uint64_t sum = 0;
    for (int i = 0; i < OPERATIONS; i++) sum += profile[i];
    uint64_t at = rng_below(rng, sum);
    int i = 0;
    while (at >= profile[i]) at -= profile[i++];
    return (enum operation)i;
}

static void run_round(struct sequence *s)
{
    const uint8_t *profile = profiles[rng_below(&s->rng, PROFILES)];
    uint64_t calls = CALLS_MIN + rng_below(&s->rng, CALLS_MAX - CALLS_MIN + 1);
    for (uint64_t i = 0; i < calls; i++) {
        enum operation operation = draw(&s->rng, profile);
        uint64_t index = rng_below(&s->rng, s->keys);
        before_call(s);
        call(s, operation, index);
        after_call(s);
        CHECK(syncmap_len(s->bed.map) == reference_len(&s->reference));
        /* Rarely, because looking at the map changes the engine's state. */
        if (rng_below(&s->rng, 64) == 0) bed_compare(&s->bed, &s->reference, s->keys);
    }
    bed_compare(&s->bed, &s->reference, s->keys);
}

static void set_up(struct sequence *s, const struct config *config, bool faults)
{
    static const size_t capacities[] = {0, 0, 0, 1, 7, 8, 100};
    s->keys = 1 + rng_below(&s->rng, KEYS_MAX);
    s->faults = faults;
    s->equal = rng_below(&s->rng, 3) == 0;
    s->borrowed = config->kind == SYNCMAP_CUSTOM && rng_below(&s->rng, 4) == 0;
    s->plain_count = 0;
    reference_init(&s->reference, s->equal ? values_alike : NULL);
    s->bed.config = config;
    s->bed.ownership = (enum ownership)rng_below(&s->rng, OWNERSHIPS);
    counting_init(&s->bed.counting);
    syncmap_options options = bed_options(config, s->bed.ownership, &s->bed.counting);
    if (s->equal) options.value_equal = values_alike;
    if (s->borrowed) options.key.dup = NULL, options.key.drop = NULL;
    options_dup_may_fail(&options, &s->bed.counting);
    options.capacity = capacities[rng_below(&s->rng, sizeof capacities / sizeof capacities[0])];
    options.seed = rng_next(&s->rng) | 1;
    bed_open_with(&s->bed, &options);
}

uint64_t sequence_run(const struct config *config, uint64_t number, bool faults)
{
    struct sequence s = {.rng = rng_make(test_seed(), number)};
    char text[128];
    snprintf(text, sizeof text, "%s, sequence %" PRIu64 "%s", config->name, number, faults ? " with faults" : "");
    harness_note(text);
    set_up(&s, config, faults);
    uint64_t rounds = 1 + rng_below(&s.rng, ROUNDS_MAX);
    for (uint64_t round = 0; round < rounds; round++) {
        if (round > 0) call_clear(&s);
        run_round(&s);
    }
    if (s.bed.ownership == PLAIN) {
        for (size_t i = 0; i < s.plain_count; i++) value_release(s.plain[i]);
    }
    bed_close(&s.bed);
    reference_end(&s.reference);
    return rounds;
}

void sequences_run(uint64_t rounds, bool faults)
{
    uint64_t target = test_env("SEQUENCES", rounds / TEST_SCALE);
    uint64_t only = test_env("ONLY", 0);
    for (size_t i = 0; i < test_config_count; i++) {
        uint64_t done = 0;
        for (uint64_t number = 1; only == 0 && done < target; number++) done += sequence_run(&test_configs[i], number, faults);
        if (only > 0) sequence_run(&test_configs[i], only, faults);
    }
}
