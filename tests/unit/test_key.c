/* SPDX-License-Identifier: MIT
 *
 * White box: hashes, key kinds, and the layout of key arguments.
 */
#include "syncmap.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "support/support.h"

static struct rng rng;

static uint64_t inverse_of(uint64_t odd)
{
    uint64_t inverse = odd; /* Newton: each round doubles the bits that are right, from 3 */
    for (int i = 0; i < 5; i++)
        inverse *= 2 - odd * inverse;
    return inverse;
}

static uint64_t unshift(uint64_t x, int by)
{
    uint64_t y = x;
    for (int i = 0; i < 64 / by; i++)
        y = x ^ y >> by;
    return y;
}

static uint64_t unhash(uint64_t h, const uint64_t seed[2])
{
    h = unshift(h, 27) * inverse_of(0x1c69b3f74ac4ae35u) - seed[1];
    h = unshift(h, 33) * inverse_of(0x3c79ac492ba7b653u);
    return unshift(h, 27) ^ seed[0];
}

/* H1: what the tables' search for integers rests on. */
static void integer_hash_is_a_bijection(void **state)
{
    (void)state;
    const uint64_t edges[] = {0, 1, 2, UINT64_MAX, UINT64_MAX - 1, (uint64_t)1 << 63, (uint64_t)1 << 32};
    for (int i = 0; i < 100000; i++) {
        const uint64_t seed[2] = {rng_next(&rng), rng_next(&rng)};
        uint64_t x = i < 7 ? edges[i] : rng_next(&rng);
        assert_true(unhash(hash_u64(x, seed), seed) == x);
    }
}

/* Each bit of the key flips each bit of the hash about every second time. */
static void integer_hash_avalanches(void **state)
{
    (void)state;
    enum { TRIES = 4000 };
    static int flips[64][64];
    const uint64_t seed[2] = {rng_next(&rng), rng_next(&rng)};
    for (int i = 0; i < TRIES; i++) {
        uint64_t x = rng_next(&rng);
        for (int in = 0; in < 64; in++) {
            uint64_t change = hash_u64(x, seed) ^ hash_u64(x ^ (uint64_t)1 << in, seed);
            for (int out = 0; out < 64; out++)
                flips[in][out] += change >> out & 1;
        }
    }
    for (int in = 0; in < 64; in++)
        for (int out = 0; out < 64; out++)
            assert_in_range(flips[in][out], TRIES * 40 / 100, TRIES * 60 / 100); /* 12 standard deviations */
}

/* Dense integers, multiples of powers of two, and floats' bits fill a table as random numbers would: no run of filled
 * slots in half a table is long. */
static void integer_patterns_spread(void **state)
{
    (void)state;
    enum { SLOTS = 1 << 16 };
    static unsigned char filled[SLOTS];
    for (int shift = 0; shift < 48; shift++) {
        const uint64_t seed[2] = {rng_next(&rng), rng_next(&rng)};
        memset(filled, 0, sizeof filled);
        size_t longest = 0;
        for (uint64_t i = 0; i < SLOTS / 2; i++) {
            size_t probes = 1, slot = hash_u64(i << shift, seed) % SLOTS;
            for (; filled[slot]; slot = (slot + 1) % SLOTS)
                probes++;
            filled[slot] = 1;
            longest = probes > longest ? probes : longest;
        }
        assert_in_range(longest, 2, 200);
    }
}

static struct key_type type_of(enum syncmap_kind kind, uint64_t seed)
{
    struct key_type type;
    syncmap_options options = {.seed = seed};
    key_type_init(&type, kind, &options);
    return type;
}

static void seeds(void **state)
{
    (void)state;
    const enum syncmap_kind kinds[] = {SYNCMAP_U64, SYNCMAP_BYTES};
    const syncmap_key keys[] = {syncmap_u64(5), syncmap_bytes("hello", 5)};
    for (size_t i = 0; i < 2; i++) {
        struct key_type a = type_of(kinds[i], 7), b = type_of(kinds[i], 7), c = type_of(kinds[i], 8);
        struct key_type random = type_of(kinds[i], 0), other = type_of(kinds[i], 0);
        assert_true(key_hash(&a, keys[i]) == key_hash(&b, keys[i]));
        assert_true(key_hash(&a, keys[i]) != key_hash(&c, keys[i]));
        assert_true(key_hash(&random, keys[i]) != key_hash(&other, keys[i]));
    }
    assert_true(key_weak_seed(&rng) != key_weak_seed(&rng));
}

static void kinds_are_told_apart(void **state)
{
    (void)state;
    const syncmap_key keys[] = {syncmap_u64(0), syncmap_str("a"), syncmap_bytes("a", 1), syncmap_obj("a")};
    for (int kind = SYNCMAP_U64; kind <= SYNCMAP_CUSTOM; kind++) {
        struct key_type type = {.kind = (enum syncmap_kind)kind};
        for (int made = 0; made < 4; made++)
            assert_int_equal(key_is_valid(&type, keys[made]), made == kind);
    }
    assert_int_equal(syncmap_key_len(keys[1]), 1);
    assert_int_equal(keys[2].len, 1); /* for bytes the tag is 0 */
    struct key_type strings = {.kind = SYNCMAP_STRING}, bytes = {.kind = SYNCMAP_BYTES};
    assert_true(key_is_valid(&strings, syncmap_str("")));
    assert_false(key_is_valid(&strings, syncmap_str(NULL)));
    assert_true(key_is_valid(&bytes, syncmap_bytes(NULL, 0)));
    assert_false(key_is_valid(&bytes, syncmap_bytes(NULL, 1)));
    assert_false(key_is_valid(&bytes, syncmap_bytes("", SYNCMAP_KEY_LEN_MAX + 1)));
    assert_int_equal(sizeof(syncmap_key), 2 * sizeof(void *));
}

static void copies(void **state)
{
    (void)state;
    struct key_type strings = type_of(SYNCMAP_STRING, 1), bytes = type_of(SYNCMAP_BYTES, 1);
    char room[16], text[] = "abc";
    syncmap_key copy;
    assert_int_equal(key_copy_size(&strings, syncmap_str(text)), 4);
    assert_true(key_copy(&strings, syncmap_str(text), room, &copy));
    text[0] = 'x';
    assert_string_equal(copy.as.ptr, "abc");
    assert_true(key_is_equal(&strings, copy, syncmap_str("abc")));
    assert_false(key_is_equal(&strings, copy, syncmap_str("abd")));
    assert_int_equal(key_copy_size(&bytes, syncmap_bytes(NULL, 0)), 0);
    assert_true(key_copy(&bytes, syncmap_bytes(NULL, 0), room, &copy));
    assert_true(key_is_equal(&bytes, copy, syncmap_bytes("", 0)));
    assert_true(key_copy(&bytes, syncmap_bytes("a\0b", 3), room, &copy));
    assert_true(key_is_equal(&bytes, copy, syncmap_bytes("a\0b", 3)));
    assert_false(key_is_equal(&bytes, copy, syncmap_bytes("a\0c", 3)));
    assert_false(key_is_equal(&bytes, copy, syncmap_bytes("a", 1)));
}

int main(void)
{
    rng = rng_make(test_seed(), 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_hash_is_a_bijection),
        cmocka_unit_test(integer_hash_avalanches),
        cmocka_unit_test(integer_patterns_spread),
        cmocka_unit_test(seeds),
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
