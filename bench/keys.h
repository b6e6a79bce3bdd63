/* SPDX-License-Identifier: MIT
 *
 * The keys and values of the benchmark. Key number i is the same in every runner, of every language:
 *
 *   integers   splitmix64(i), a bijection that scatters the numbers over 64 bits
 *   strings    8 + splitmix64(i ^ 0x5555555555555555) % 57 characters, 0-9 and a-z: first i modulo 36^8 as 8 digits of base
 *              36, the least significant one first, so that strings differ early; then, from s = splitmix64(i) on, for each
 *              further character s = splitmix64(s), and the digit s % 36
 *
 * The value of key number i is splitmix64(i) | 1 in both cases: never 0, which some maps need for "absent".
 *
 * Compiles as C11 and as C++17. With KEYS_STRING defined the keys are strings, else integers.
 */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include "common.h"

#ifdef KEYS_STRING
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

/* The i-th number of Steele, Lea and Flood's SplitMix64. */
static inline uint64_t splitmix64(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint64_t value_of_number(uint64_t i)
{
    return splitmix64(i) | 1;
}

#define STRING_LENGTH_MOST 64
#define STRING_STRIDE 72 /* of strings in an arena: room for the longest one and its NUL, and aligned to 8 */

static inline size_t string_length(uint64_t i)
{
    return 8 + (size_t)(splitmix64(i ^ 0x5555555555555555u) % 57);
}

/* Writes string key number i with its NUL. */
static inline void string_write(char text[STRING_STRIDE], uint64_t i)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    size_t length = string_length(i);
    uint64_t rest = i;
    uint64_t state = splitmix64(i);

    for (size_t at = 0; at < 8; at++) {
        text[at] = digits[rest % 36];
        rest /= 36;
    }
    for (size_t at = 8; at < length; at++) {
        state = splitmix64(state);
        text[at] = digits[state % 36];
    }
    text[length] = '\0';
}

/* ---- what an adapter sees ------------------------------------------------------------------------- */

#ifdef KEYS_STRING

/* NUL-terminated as well. An adapter whose map does not copy keys copies them. */
typedef struct {
    const char *bytes;
    size_t len;
} bench_key;

static inline uint64_t bench_hash(bench_key key)
{
    return XXH3_64bits(key.bytes, key.len);
}

static inline int bench_equal(bench_key a, bench_key b)
{
    return a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;
}

#else

typedef uint64_t bench_key;

/* The finaliser of MurmurHash3. The keys need no mixing, but a map of integers in general does. */
static inline uint64_t bench_hash(bench_key key)
{
    key = (key ^ key >> 33) * 0xff51afd7ed558ccdu;
    key = (key ^ key >> 33) * 0xc4ceb9fe1a85ec53u;
    return key ^ key >> 33;
}

static inline int bench_equal(bench_key a, bench_key b)
{
    return a == b;
}

#endif

/* ---- draws: what the streams of operations are made of -------------------------------------------- */

#ifdef KEYS_STRING

#define KEYS_KIND "str"

/* A key and the value that belongs to it. */
typedef struct {
    bench_key key;
    uint64_t value;
} bench_draw;

static inline bench_key draw_key(bench_draw draw)
{
    return draw.key;
}

static inline uint64_t draw_value(bench_draw draw)
{
    return draw.value;
}

/* A draw of key number i, whose text string_write() has written to `text`. */
static inline bench_draw draw_of(uint64_t i, const char *text)
{
    bench_draw draw;

    draw.key.bytes = text;
    draw.key.len = string_length(i);
    draw.value = value_of_number(i);
    return draw;
}

#else

#define KEYS_KIND "u64"

/* The key says its value too. */
typedef bench_key bench_draw;

static inline bench_key draw_key(bench_draw draw)
{
    return draw;
}

static inline uint64_t draw_value(bench_draw draw)
{
    return draw | 1;
}

static inline bench_draw draw_of(uint64_t i, const char *text)
{
    (void)text;
    return splitmix64(i);
}

#endif
#endif
