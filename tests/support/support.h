/* SPDX-License-Identifier: MIT
 *
 * What the tests share: a seeded generator, an allocator that counts and can fail, every configuration
 * (engine x key kind x hash) that a suite runs over, and values that carry their key.
 */
#ifndef SYNCMAP_TEST_SUPPORT_H
#define SYNCMAP_TEST_SUPPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syncmap.h>

/* ---- random numbers: a run is repeated by SEED=<what it printed> ---- */

struct rng {
    uint64_t state;
};

/* SEED of the environment, else a random number; printed to stdout once per process. */
uint64_t test_seed(void);
/* An independent stream for each (seed, stream). */
struct rng rng_make(uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *rng);
/* Uniform in [0, n), n > 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* A positive number from the environment, else `fallback`: THREADS, SECONDS, SEQUENCES ... */
uint64_t test_env(const char *name, uint64_t fallback);

/* ---- an allocator that counts, and fails when told to ---- */

struct counting {
    atomic_llong live_bytes;
    atomic_llong live_blocks;
    atomic_llong calls;      /* of alloc, failed ones included */
    atomic_llong refused;
    atomic_llong fail_after; /* < 0: never fail. n >= 0: n more succeed, then all fail */
};

void counting_init(struct counting *counting);
/* alloc poisons what it returns, free checks the size and poisons; both abort on a wrong size. */
syncmap_allocator counting_allocator(struct counting *counting);

/* ---- values that carry their key: any mix-up is seen, each is freed exactly once ---- */

struct value {
    uint64_t magic;
    uint64_t key_index; /* of which key */
    uint64_t serial;    /* unique in the process */
    atomic_int references;
};

/* malloc'ed with one reference; counted as live until value_release. */
struct value *value_make(uint64_t key_index);
/* Aborts with a message when `value` is not a live value of that key. */
void value_check(const void *value, uint64_t key_index);
/* For options.value_free, options.value_acquire (context is ignored), and syncmap_retire. The last release
 * poisons and frees. Releasing a value too often aborts. */
void value_free(void *value, void *context);
void value_acquire(void *value, void *context);
void value_release(void *value);
long long values_live(void);

/* ---- configurations ---- */

enum test_hash {
    TEST_HASH_GOOD,
    TEST_HASH_CONSTANT, /* custom kind: every key has the same hash */
    TEST_HASH_FOUR      /* custom kind: four hashes in all */
};

struct config {
    const char *name; /* for example "read_dirty/custom/constant" */
    enum syncmap_engine engine;
    enum syncmap_kind kind;
    enum test_hash hash;
};

/* For what is tested without a configuration. */
#define FOR_EACH_ENGINE(e) for (enum syncmap_engine e = SYNCMAP_ENGINE_READ_DIRTY; e <= SYNCMAP_ENGINE_FLAT; e++)

/* Every engine with every key kind and every hash. A second engine is one more line there. */
extern const struct config test_configs[];
extern const size_t test_config_count;

/* Options for a configuration: engine, key functions (with dup and drop that count for SYNCMAP_CUSTOM), the
 * counting allocator when `counting` is not NULL. */
syncmap_options config_options(const struct config *config, struct counting *counting);
/* Custom keys (made by dup) that are live; 0 at the end of each test. */
long long custom_keys_live(void);

enum { KEY_BUFFER = 64 };
/* The key number `index` of a configuration. Distinct indexes give distinct keys. String and bytes keys (some of
 * them empty, with embedded NULs, long within the buffer) and custom objects are built in `buffer`, aligned for
 * uint64_t, which must live as long as the key. Integer keys include 0, 1 and 2^64-1 (indexes 0, 1, 2). */
syncmap_key config_key(const struct config *config, uint64_t index, char buffer[KEY_BUFFER]);
/* The index back from a key, as given to a visit. */
uint64_t config_key_index(const struct config *config, syncmap_key key);

/* ---- the end of a test ---- */

/* syncmap_free(m), syncmap_barrier(), and then aborts with a message unless no value, no custom key and no byte
 * of `counting` is live. */
void finish_map(syncmap *m, struct counting *counting);

/* The end of a forked child: _exit(status), after what it has covered was written down, in a build that counts that. */
_Noreturn void child_exit(int status);

/* Prints a message with file and line, and aborts: works on any thread, unlike cmocka's asserts. */
#define CHECK(condition) \
    do { \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition); \
    } while (0)
_Noreturn void check_failed(const char *file, int line, const char *condition);

#endif
