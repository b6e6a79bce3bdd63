/* SPDX-License-Identifier: MIT
 *
 * The two hash functions. Both are keyed by the map, so that who chooses keys cannot choose collisions.
 *
 * Integers: xor with a secret, then "moremur" (Pelle Evensen, 2019, a retuned finalizer of MurmurHash3 by Austin
 * Appleby), with a second secret added half way. Two multiplications.
 *
 *   H1  It is a bijection of the 64-bit integers: each step (xor, add, xorshift, multiplication by an odd number) is
 *       one. So two integer keys of one map are equal exactly if their hashes are, and tables that keep whole
 *       hashes need not look at integer keys at all.
 *
 * Strings and bytes: XXH3 of xxHash (Yann Collet) with a secret of the map's own, compiled in from its header: no symbol of
 * it is seen outside. It needs no seed beside: the secret enters every length's path.
 */
#ifndef SYNCMAP_HASH_H
#define SYNCMAP_HASH_H

#define XXH_INLINE_ALL
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "platform.h"

enum { HASH_SECRET_SIZE = XXH3_SECRET_DEFAULT_SIZE, HASH_SHORT = 128 /* bytes: a few multiplications, no loop */ };

/* H1 */
static inline uint64_t hash_u64(uint64_t x, const uint64_t seed[2])
{
    x ^= seed[0];
    x ^= x >> 27;
    x *= 0x3c79ac492ba7b653u;
    x ^= x >> 33;
    x += seed[1];
    x *= 0x1c69b3f74ac4ae35u;
    return x ^ x >> 27;
}

/* The integer whose hash it is: hash_u64 backwards, with the inverses of its multipliers modulo 2^64. */
static inline uint64_t unhash_u64(uint64_t x, const uint64_t seed[2])
{
    x ^= x >> 27 ^ x >> 54;
    x *= 0xc47c8f6b6bafb41du;
    x -= seed[1];
    x ^= x >> 33;
    x *= 0xc09c5fe5bd6dfddbu;
    x ^= x >> 27 ^ x >> 54;
    return x ^ seed[0];
}

static NOINLINE uint64_t hash_long(const void *bytes, size_t size, const unsigned char secret[HASH_SECRET_SIZE])
{
    return XXH3_64bits_withSecret(bytes, size, secret, HASH_SECRET_SIZE);
}

/* Apart from what is long, it saves no registers: every instruction of a load is one less of the next load that the processor could have begun. */
static NOINLINE FLATTEN uint64_t hash_bytes(const void *bytes, size_t size, const unsigned char secret[HASH_SECRET_SIZE])
{
    if (unlikely(size > HASH_SHORT))
        return hash_long(bytes, size, secret);
    return XXH3_64bits_withSecret(bytes, size, secret, HASH_SECRET_SIZE);
}

/* A secret out of a seed: the same for the same seed. */
static inline void hash_secret(unsigned char secret[HASH_SECRET_SIZE], uint64_t seed)
{
    XXH3_generateSecret_fromSeed(secret, seed);
}

#endif
