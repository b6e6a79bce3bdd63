/* SPDX-License-Identifier: MIT
 *
 * The operations one by one, on one thread: against the reference in random sequences, then what a random sequence
 * does not reach (the edges of keys and values, out parameters).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/harness.h"
#include "support/sequence.h"

/* ---- random sequences ---- */

static void test_sequences(void **state)
{
    (void)state;
    sequences_run(100000, false);
}

/* ---- values ---- */

/* Every operation with NULL where a value may stand: absent and NULL must not be confused. */
static void null_values(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    void *value = &bed;
    CHECK(syncmap_compare_and_swap(bed.map, KEY(&bed, 3), NULL, NULL) == 0);
    CHECK(syncmap_compare_and_delete(bed.map, KEY(&bed, 3), NULL) == 0);
    CHECK(syncmap_store(bed.map, KEY(&bed, 3), NULL) == 0);
    CHECK(syncmap_len(bed.map) == 1);
    syncmap_pin();
    CHECK(syncmap_load(bed.map, KEY(&bed, 3), &value) == 1 && value == NULL);
    value = &bed;
    CHECK(syncmap_load_or_store(bed.map, KEY(&bed, 3), &bed, &value) == 1 && value == NULL);
    syncmap_unpin();
    value = &bed;
    CHECK(syncmap_swap(bed.map, KEY(&bed, 3), NULL, &value) == 1 && value == NULL);
    CHECK(syncmap_compare_and_swap(bed.map, KEY(&bed, 3), &bed, NULL) == 0);
    CHECK(syncmap_compare_and_swap(bed.map, KEY(&bed, 3), NULL, NULL) == 1);
    CHECK(bed_range_count(&bed) == 1);
    value = &bed;
    CHECK(syncmap_load_and_delete(bed.map, KEY(&bed, 3), &value) == 1 && value == NULL);
    value = &bed;
    CHECK(syncmap_load_and_delete(bed.map, KEY(&bed, 3), &value) == 0 && value == NULL);
    CHECK(syncmap_compare_and_swap(bed.map, KEY(&bed, 3), NULL, NULL) == 0);
    CHECK(syncmap_compare_and_delete(bed.map, KEY(&bed, 3), NULL) == 0);
    value = &bed;
    syncmap_pin();
    CHECK(syncmap_load_or_store(bed.map, KEY(&bed, 3), NULL, &value) == 0 && value == NULL);
    syncmap_unpin();
    CHECK(syncmap_compare_and_delete(bed.map, KEY(&bed, 3), NULL) == 1);
    CHECK(syncmap_len(bed.map) == 0 && bed_range_count(&bed) == 0);
    bed_close(&bed);
}

static void test_null_values(void **state)
{
    (void)state;
    for_each_ownership(null_values);
}

/* A map that does not own its values never looks at what they point to, so any number will do. */
static void number_values(const struct config *config)
{
    static const uintptr_t numbers[] = {1, 2, 3, 7, 8, 4095, UINTPTR_MAX, UINTPTR_MAX - 1, UINTPTR_MAX / 2 + 1};
    enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
    struct bed bed;
    void *value;
    bed_open(&bed, config, PLAIN);
    for (size_t i = 0; i < NUMBERS; i++) {
        CHECK(syncmap_store(bed.map, KEY(&bed, i), (void *)numbers[i]) == 0);
        CHECK(syncmap_load(bed.map, KEY(&bed, i), &value) == 1 && value == (void *)numbers[i]);
        void *other = (void *)numbers[NUMBERS - 1 - i];
        CHECK(syncmap_compare_and_swap(bed.map, KEY(&bed, i), (void *)numbers[i], other) == 1);
        CHECK(syncmap_swap(bed.map, KEY(&bed, i), (void *)numbers[i], &value) == 1 && value == other);
    }
    for (size_t i = 0; i < NUMBERS; i++) {
        CHECK(syncmap_compare_and_delete(bed.map, KEY(&bed, i), (void *)numbers[i]) == 1);
    }
    bed_close(&bed);
}

static void test_number_values(void **state)
{
    (void)state;
    for_each_config(number_values);
}

/* ---- keys ---- */

/* Stores each key, finds each, deletes each: whatever the keys are, none may be taken for another. The value of a
 * key is its address in `keys`. */
static void distinct_keys_in(enum syncmap_engine engine, enum syncmap_kind kind, const syncmap_key *keys, size_t count)
{
    struct counting counting;
    counting_init(&counting);
    syncmap_options options = {.engine = engine, .allocator = counting_allocator(&counting)};
    syncmap *map = syncmap_new(kind, &options);
    CHECK(map != NULL);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            void *value = &counting;
            CHECK(syncmap_load(map, keys[i], &value) == 0 && value == NULL);
            CHECK(syncmap_store(map, keys[i], (void *)&keys[i]) == 0);
            CHECK(syncmap_len(map) == i + 1);
        }
        for (size_t i = 0; i < count; i++) {
            void *value = NULL;
            CHECK(syncmap_load(map, keys[i], &value) == 1 && value == &keys[i]);
        }
        for (size_t i = 0; i < count; i++) {
            void *value = NULL;
            CHECK(syncmap_load_and_delete(map, keys[i], &value) == 1 && value == &keys[i]);
            CHECK(syncmap_load(map, keys[i], NULL) == 0);
            CHECK(syncmap_len(map) == count - i - 1);
        }
    }
    finish_map(map, &counting);
}

static void distinct_keys(enum syncmap_kind kind, const syncmap_key *keys, size_t count)
{
    FOR_EACH_ENGINE(engine) distinct_keys_in(engine, kind, keys, count);
}

static void test_integer_keys(void **state)
{
    (void)state;
    syncmap_key keys[3 + 64 + 62];
    size_t count = 0;
    keys[count++] = syncmap_u64(0);
    keys[count++] = syncmap_u64(UINT64_MAX);
    keys[count++] = syncmap_u64(UINT64_MAX - 1);
    for (int bit = 0; bit < 64; bit++) keys[count++] = syncmap_u64(UINT64_C(1) << bit);
    for (int bit = 2; bit < 64; bit++) keys[count++] = syncmap_u64((UINT64_C(1) << bit) - 1);
    distinct_keys(SYNCMAP_U64, keys, count);
}

static void test_string_keys(void **state)
{
    (void)state;
    /* Every length over the edges of a hash's blocks, each string a prefix of the next; then bytes above 127. */
    enum { LENGTHS = 300 };
    static char text[LENGTHS][LENGTHS + 1];
    syncmap_key keys[LENGTHS + 3];
    for (int len = 0; len < LENGTHS; len++) {
        for (int i = 0; i < len; i++) text[len][i] = 'a';
        keys[len] = syncmap_str(text[len]);
    }
    keys[LENGTHS] = syncmap_str("\xff");
    keys[LENGTHS + 1] = syncmap_str("\x7f");
    keys[LENGTHS + 2] = syncmap_str("a\xff");
    distinct_keys(SYNCMAP_STRING, keys, LENGTHS + 3);
}

static void test_bytes_keys(void **state)
{
    (void)state;
    enum { LENGTHS = 300 };
    static const char nuls[LENGTHS];
    syncmap_key keys[LENGTHS + 4];
    for (size_t len = 0; len < LENGTHS; len++) keys[len] = syncmap_bytes(nuls, len);
    keys[LENGTHS] = syncmap_bytes("\0a", 2);
    keys[LENGTHS + 1] = syncmap_bytes("\0b", 2);
    keys[LENGTHS + 2] = syncmap_bytes("a\0", 2);
    keys[LENGTHS + 3] = syncmap_bytes("a\0b", 3);
    distinct_keys(SYNCMAP_BYTES, keys, LENGTHS + 4);
}

/* Length 0 is one key, whatever the pointer. */
static void empty_bytes(enum syncmap_engine engine)
{
    syncmap *map = syncmap_new(SYNCMAP_BYTES, &(syncmap_options){.engine = engine});
    CHECK(map != NULL);
    CHECK(syncmap_store(map, syncmap_bytes(NULL, 0), map) == 0);
    CHECK(syncmap_load(map, syncmap_bytes("x", 0), NULL) == 1);
    CHECK(syncmap_store(map, syncmap_bytes("y", 0), NULL) == 1);
    CHECK(syncmap_delete(map, syncmap_bytes(NULL, 0)) == 1);
    CHECK(syncmap_len(map) == 0);
    finish_map(map, NULL);
}

static void test_empty_bytes(void **state)
{
    (void)state;
    FOR_EACH_ENGINE(engine) empty_bytes(engine);
}

/* Keys of 1 MiB that differ in one byte: at the front, in the middle, at the end, or by one in length. */
static void big_keys(enum syncmap_kind kind)
{
    enum { MIB = 1 << 20, BIG_KEYS = 5 };
    char *text[BIG_KEYS];
    syncmap_key keys[BIG_KEYS];
    for (size_t i = 0; i < BIG_KEYS; i++) {
        text[i] = malloc(MIB + 1);
        CHECK(text[i] != NULL);
        for (size_t at = 0; at < MIB; at++) text[i][at] = (char)('a' + at % 26);
        text[i][MIB] = '\0';
    }
    text[1][0] = '!';
    text[2][MIB / 2] = '!';
    text[3][MIB - 1] = '!';
    text[4][MIB - 1] = '\0';
    for (size_t i = 0; i < BIG_KEYS; i++) {
        keys[i] = kind == SYNCMAP_STRING ? syncmap_str(text[i]) : syncmap_bytes(text[i], i == 4 ? MIB - 1 : MIB);
    }
    distinct_keys(kind, keys, BIG_KEYS);
    for (size_t i = 0; i < BIG_KEYS; i++) free(text[i]);
}

static void test_big_keys(void **state)
{
    (void)state;
    big_keys(SYNCMAP_STRING);
    big_keys(SYNCMAP_BYTES);
}

/* NULL is a pointer like any other where hash and equal understand it. */
static uint64_t hash_address(const void *key, uint64_t seed, void *context)
{
    (void)context;
    return (uint64_t)(uintptr_t)key ^ seed;
}

static bool equal_address(const void *a, const void *b, void *context)
{
    (void)context;
    return a == b;
}

static void null_object_key(enum syncmap_engine engine)
{
    syncmap_options options = {.engine = engine, .key = {.hash = hash_address, .equal = equal_address}};
    syncmap *map = syncmap_new(SYNCMAP_CUSTOM, &options);
    CHECK(map != NULL);
    CHECK(syncmap_store(map, syncmap_obj(NULL), map) == 0);
    CHECK(syncmap_store(map, syncmap_obj(&options), &options) == 0);
    void *value = NULL;
    CHECK(syncmap_load(map, syncmap_obj(NULL), &value) == 1 && value == map);
    CHECK(syncmap_delete(map, syncmap_obj(NULL)) == 1);
    CHECK(syncmap_load(map, syncmap_obj(NULL), NULL) == 0);
    CHECK(syncmap_len(map) == 1);
    finish_map(map, NULL);
}

static void test_null_object_key(void **state)
{
    (void)state;
    FOR_EACH_ENGINE(engine) null_object_key(engine);
}

/* What a key argument points to is read during the call only. */
static void key_buffers(const struct config *config)
{
    enum { KEYS = 40 };
    struct bed bed;
    uint64_t buffer[KEY_BUFFER / 8];
    bed_open(&bed, config, PLAIN);
    for (uint64_t i = 0; i < KEYS; i++) {
        syncmap_key key = config_key(config, i, (char *)buffer);
        CHECK((i % 2 ? syncmap_load_or_store(bed.map, key, NULL, NULL) : syncmap_store(bed.map, key, NULL)) == 0);
        for (size_t word = 0; word < KEY_BUFFER / 8; word++) buffer[word] = UINT64_MAX;
    }
    CHECK(bed_range_count(&bed) == KEYS);
    for (uint64_t i = 0; i < KEYS; i++) bed_check_present(&bed, i);
    bed_close(&bed);
}

static void test_key_buffers(void **state)
{
    (void)state;
    for_each_config(key_buffers);
}

/* ---- out parameters ---- */

/* Absent: NULL is written. (That an error writes nothing is in test_arguments and fault/test_allocator.) */
static void out_written_when_absent(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    void *out = &bed;
    bed_open(&bed, config, ownership);
    syncmap_pin();
    for (uint64_t i = 0; i < 2; i++) {
        out = &bed;
        CHECK(syncmap_load(bed.map, KEY(&bed, i), &out) == 0 && out == NULL);
        out = &bed;
        CHECK(syncmap_load_and_delete(bed.map, KEY(&bed, i), &out) == 0 && out == NULL);
        out = &bed;
        struct value *value = ownership == PLAIN ? NULL : value_make(i);
        CHECK(syncmap_swap(bed.map, KEY(&bed, i), value, &out) == 0 && out == NULL);
        bed_delete(&bed, i, 1);
        out = &bed;
        CHECK(syncmap_swap(bed.map, KEY(&bed, i), NULL, &out) == 0 && out == NULL);
        bed_delete(&bed, i, 1);
        out = &bed;
        CHECK(syncmap_load(bed.map, KEY(&bed, i), &out) == 0 && out == NULL);
        /* The second key is then stored anew when the first is in read. */
        bed_range_count(&bed);
    }
    syncmap_unpin();
    bed_close(&bed);
}

static void out_null(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    bed_open(&bed, config, ownership);
    for (uint64_t i = 0; i < 4; i++) {
        CHECK(syncmap_load(bed.map, KEY(&bed, i), NULL) == 0);
        CHECK(syncmap_load_and_delete(bed.map, KEY(&bed, i), NULL) == 0);
        void *value = ownership == PLAIN ? NULL : value_make(i);
        CHECK(syncmap_load_or_store(bed.map, KEY(&bed, i), value, NULL) == 0);
        /* It takes no value where it loads, so this one is not handed over. */
        CHECK(syncmap_load_or_store(bed.map, KEY(&bed, i), value, NULL) == 1);
        CHECK(syncmap_load(bed.map, KEY(&bed, i), NULL) == 1);
        value = ownership == PLAIN ? NULL : value_make(i);
        CHECK(syncmap_swap(bed.map, KEY(&bed, i), value, NULL) == 1);
        if (i % 2) CHECK(syncmap_load_and_delete(bed.map, KEY(&bed, i), NULL) == 1);
        value = ownership == PLAIN ? NULL : value_make(i);
        CHECK(syncmap_swap(bed.map, KEY(&bed, i), value, NULL) == (i % 2 == 0));
        if (i == 1) CHECK(bed_range_count(&bed) == 2);
    }
    bed_close(&bed);
}

static void test_out_parameters(void **state)
{
    (void)state;
    for_each_ownership(out_written_when_absent);
    for_each_ownership(out_null);
}

/* ---- len, clear, growth ---- */

static void many_keys(const struct config *config)
{
    /* A constant hash makes each step a walk over all keys. */
    const uint64_t keys = config->hash == TEST_HASH_GOOD ? 3000 : 300;
    struct bed bed;
    bed_open(&bed, config, OWNED);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < keys; i++) {
            bed_store(&bed, i, 0);
            CHECK(syncmap_len(bed.map) == i + 1);
            if (i % 97 == 0) bed_check_absent(&bed, keys + i);
        }
        for (uint64_t i = 0; i < keys; i++) bed_store(&bed, i, 1);
        for (uint64_t i = 0; i < keys; i++) bed_check_present(&bed, i);
        CHECK(bed_range_count(&bed) == keys);
        for (uint64_t i = 0; i < keys; i += 2) bed_delete(&bed, i, 1);
        for (uint64_t i = 0; i < keys; i += 2) bed_check_absent(&bed, i);
        CHECK(syncmap_len(bed.map) == keys / 2);
        CHECK(bed_range_count(&bed) == keys / 2);
        for (uint64_t i = 1; i < keys; i += 2) bed_check_present(&bed, i);
        if (round % 2) {
            for (uint64_t i = 1; i < keys; i += 2) bed_delete(&bed, i, 1);
        }
        CHECK(syncmap_clear(bed.map) == 0);
        CHECK(syncmap_len(bed.map) == 0);
        CHECK(bed_range_count(&bed) == 0);
    }
    bed_close(&bed);
}

static void test_many_keys(void **state)
{
    (void)state;
    for_each_config(many_keys);
}

/* Of an empty map, of one with keys in dirty, in both, in read, of one whose keys were deleted; and twice each time. */
static void clears(const struct config *config)
{
    struct bed bed;
    bed_open(&bed, config, OWNED);
    for (int shape = 0; shape < 5; shape++) {
        if (shape > 0) bed_store(&bed, 1, 0);
        if (shape > 1) CHECK(bed_range_count(&bed) == 1);
        if (shape == 2) bed_store(&bed, 2, 0);
        if (shape == 4) bed_delete(&bed, 1, 1);
        for (int time = 0; time < 2; time++) {
            CHECK(syncmap_clear(bed.map) == 0);
            CHECK(syncmap_len(bed.map) == 0);
            bed_check_absent(&bed, 1);
            CHECK(bed_range_count(&bed) == 0);
        }
        bed_delete(&bed, 1, 0);
    }
    bed_close(&bed);
}

static void test_clear(void **state)
{
    (void)state;
    for_each_config(clears);
}

/* Any capacity makes the same map. */
static void capacities(const struct config *config)
{
    static const size_t sizes[] = {1, 2, 3, 15, 16, 17, 1000, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct bed bed = {.config = config, .ownership = OWNED};
        counting_init(&bed.counting);
        syncmap_options options = bed_options(config, OWNED, &bed.counting);
        options.capacity = sizes[i];
        bed_open_with(&bed, &options);
        CHECK(syncmap_len(bed.map) == 0);
        CHECK(bed_range_count(&bed) == 0);
        for (uint64_t key = 0; key < 200; key++) bed_store(&bed, key, 0);
        CHECK(bed_range_count(&bed) == 200);
        CHECK(syncmap_clear(bed.map) == 0);
        for (uint64_t key = 0; key < 20; key++) bed_store(&bed, key, 0);
        CHECK(bed_range_count(&bed) == 20);
        bed_close(&bed);
    }
}

static void test_capacities(void **state)
{
    (void)state;
    for_each_config(capacities);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_values),   cmocka_unit_test(test_number_values), cmocka_unit_test(test_integer_keys),
        cmocka_unit_test(test_string_keys),   cmocka_unit_test(test_bytes_keys),    cmocka_unit_test(test_empty_bytes),
        cmocka_unit_test(test_big_keys),      cmocka_unit_test(test_null_object_key),
        cmocka_unit_test(test_key_buffers),   cmocka_unit_test(test_out_parameters), cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_clear),         cmocka_unit_test(test_capacities),    cmocka_unit_test(test_sequences),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
