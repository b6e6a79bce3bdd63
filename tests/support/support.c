/* SPDX-License-Identifier: MIT */
#include "support/support.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/harness.h"

/* ---- failing ---- */

static char note[256] = "nothing noted";

void harness_note(const char *text)
{
    snprintf(note, sizeof note, "%s", text);
}

_Noreturn void check_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: CHECK failed: %s (SEED=%" PRIu64 ", %s)\n", file, line, condition, test_seed(), note);
    fflush(NULL);
    abort();
}

/* ---- random numbers ---- */

static uint64_t seed_of_run;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

/* splitmix64's finisher: each bit of the argument reaches each bit of the result. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void seed_init(void)
{
    const char *text = getenv("SEED");
    if (text && *text) {
        seed_of_run = strtoull(text, NULL, 0);
    } else {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed_of_run = mix((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + (uint64_t)getpid());
    }
    printf("SEED=%" PRIu64 "\n", seed_of_run);
    fflush(stdout);
}

uint64_t test_seed(void)
{
    pthread_once(&seed_once, seed_init);
    return seed_of_run;
}

struct rng rng_make(uint64_t seed, uint64_t stream)
{
    return (struct rng){.state = mix(seed + UINT64_C(0x9e3779b97f4a7c15)) ^ mix(stream + 1)};
}

uint64_t rng_next(struct rng *rng)
{
    rng->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(rng->state);
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
    CHECK(n > 0);
    /* Refuse the part of the range that would make the small results likelier. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x;
    do {
        x = rng_next(rng);
    } while (x >= limit);
    return x % n;
}

uint64_t test_env(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    uint64_t number = text ? strtoull(text, NULL, 0) : 0;
    return number > 0 ? number : fallback;
}

/* ---- the counting allocator ---- */

/* In front of every block, as wide as the strictest alignment, so that what follows is aligned too. */
union block_head {
    struct {
        uint64_t magic;
        size_t size;
    } is;
    max_align_t align;
};

static const uint64_t BLOCK_MAGIC = UINT64_C(0xb10cb10cb10cb10c);
/* No test needs a block of a terabyte: refused here, since a sanitizer's malloc would abort on it. */
static const size_t BLOCK_MAX = SIZE_MAX >> 24;
enum { POISON_NEW = 0xa5, POISON_FREED = 0x5a };

void counting_init(struct counting *counting)
{
    atomic_init(&counting->live_bytes, 0);
    atomic_init(&counting->live_blocks, 0);
    atomic_init(&counting->calls, 0);
    atomic_init(&counting->refused, 0);
    atomic_init(&counting->fail_after, -1);
}

static bool counting_may_alloc(struct counting *counting)
{
    long long left = atomic_load(&counting->fail_after);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&counting->fail_after, &left, left - 1)) return true;
    }
    return left < 0;
}

static void *counting_alloc(size_t size, void *context)
{
    struct counting *counting = context;
    atomic_fetch_add(&counting->calls, 1);
    if (!counting_may_alloc(counting) || size > BLOCK_MAX) {
        atomic_fetch_add(&counting->refused, 1);
        return NULL;
    }
    union block_head *head = malloc(sizeof *head + size);
    if (!head) return NULL;
    head->is.magic = BLOCK_MAGIC;
    head->is.size = size;
    memset(head + 1, POISON_NEW, size);
    atomic_fetch_add(&counting->live_bytes, (long long)size);
    atomic_fetch_add(&counting->live_blocks, 1);
    return head + 1;
}

static void counting_free(void *memory, size_t size, void *context)
{
    struct counting *counting = context;
    CHECK(memory != NULL);
    union block_head *head = (union block_head *)memory - 1;
    CHECK(head->is.magic == BLOCK_MAGIC);
    CHECK(head->is.size == size);
    memset(head, POISON_FREED, sizeof *head + size);
    free(head);
    CHECK(atomic_fetch_sub(&counting->live_bytes, (long long)size) >= (long long)size);
    CHECK(atomic_fetch_sub(&counting->live_blocks, 1) > 0);
}

syncmap_allocator counting_allocator(struct counting *counting)
{
    return (syncmap_allocator){.alloc = counting_alloc, .free = counting_free, .context = counting};
}

/* ---- values ---- */

static const uint64_t VALUE_MAGIC = UINT64_C(0x7a1ae7a1ae7a1ae7);
static atomic_llong value_count;
static atomic_ullong value_serial;

struct value *value_make(uint64_t key_index)
{
    struct value *value = malloc(sizeof *value);
    CHECK(value != NULL);
    value->magic = VALUE_MAGIC;
    value->key_index = key_index;
    value->serial = atomic_fetch_add(&value_serial, 1);
    atomic_init(&value->references, 1);
    atomic_fetch_add(&value_count, 1);
    return value;
}

void value_check(const void *value, uint64_t key_index)
{
    const struct value *v = value;
    CHECK(v != NULL);
    CHECK(v->magic == VALUE_MAGIC);
    CHECK(v->key_index == key_index);
    CHECK(atomic_load(&v->references) > 0);
}

void value_acquire(void *value, void *context)
{
    struct value *v = value;
    (void)context;
    CHECK(v != NULL);
    CHECK(v->magic == VALUE_MAGIC);
    CHECK(atomic_fetch_add(&v->references, 1) > 0);
}

void value_release(void *value)
{
    struct value *v = value;
    CHECK(v != NULL);
    CHECK(v->magic == VALUE_MAGIC);
    int before = atomic_fetch_sub(&v->references, 1);
    CHECK(before > 0);
    if (before > 1) return;
    memset(v, POISON_FREED, sizeof *v);
    free(v);
    atomic_fetch_sub(&value_count, 1);
}

void value_free(void *value, void *context)
{
    (void)context;
    value_release(value);
}

long long values_live(void)
{
    return atomic_load(&value_count);
}

/* ---- custom keys ---- */

/* What a custom key points to. A copy differs from what it was made of, so that drop sees when it is given
 * something that is not dup's. */
struct custom_key {
    uint64_t magic;
    uint64_t index;
};

static const uint64_t CUSTOM_ORIGINAL = UINT64_C(0xc057084c057084c0);
static const uint64_t CUSTOM_COPY = UINT64_C(0xc09ec09ec09ec09e);
static atomic_llong custom_count;

/* By memcpy: a buffer on the stack is an array of char, which no struct pointer may look at. */
static struct custom_key custom_read(const void *object)
{
    struct custom_key key;
    memcpy(&key, object, sizeof key);
    CHECK(key.magic == CUSTOM_ORIGINAL || key.magic == CUSTOM_COPY);
    return key;
}

static uint64_t custom_hash_good(const void *key, uint64_t seed, void *context)
{
    (void)context;
    return mix(custom_read(key).index ^ seed);
}

static uint64_t custom_hash_constant(const void *key, uint64_t seed, void *context)
{
    (void)context;
    (void)seed;
    (void)custom_read(key);
    return 7;
}

static uint64_t custom_hash_four(const void *key, uint64_t seed, void *context)
{
    (void)context;
    (void)seed;
    return custom_read(key).index % 4;
}

static bool custom_equal(const void *a, const void *b, void *context)
{
    (void)context;
    return custom_read(a).index == custom_read(b).index;
}

static void *custom_dup(const void *key, void *context)
{
    (void)context;
    struct custom_key *copy = malloc(sizeof *copy);
    CHECK(copy != NULL);
    copy->index = custom_read(key).index;
    copy->magic = CUSTOM_COPY;
    atomic_fetch_add(&custom_count, 1);
    return copy;
}

static void custom_drop(void *key, void *context)
{
    (void)context;
    CHECK(key != NULL);
    struct custom_key *copy = key;
    CHECK(copy->magic == CUSTOM_COPY);
    memset(copy, POISON_FREED, sizeof *copy);
    free(copy);
    atomic_fetch_sub(&custom_count, 1);
}

long long custom_keys_live(void)
{
    return atomic_load(&custom_count);
}

/* ---- configurations ---- */

#define ENGINE_CONFIGS(engine, name)                                         \
    {name "/u64", engine, SYNCMAP_U64, TEST_HASH_GOOD},                      \
    {name "/string", engine, SYNCMAP_STRING, TEST_HASH_GOOD},                \
    {name "/bytes", engine, SYNCMAP_BYTES, TEST_HASH_GOOD},                  \
    {name "/custom/good", engine, SYNCMAP_CUSTOM, TEST_HASH_GOOD},           \
    {name "/custom/constant", engine, SYNCMAP_CUSTOM, TEST_HASH_CONSTANT},   \
    {name "/custom/four", engine, SYNCMAP_CUSTOM, TEST_HASH_FOUR}

const struct config test_configs[] = {
    ENGINE_CONFIGS(SYNCMAP_ENGINE_READ_DIRTY, "read_dirty"),
    ENGINE_CONFIGS(SYNCMAP_ENGINE_FLAT, "flat"),
};
const size_t test_config_count = sizeof test_configs / sizeof test_configs[0];

syncmap_options config_options(const struct config *config, struct counting *counting)
{
    syncmap_options options = {.engine = config->engine};
    if (config->kind == SYNCMAP_CUSTOM) {
        options.key.hash = config->hash == TEST_HASH_GOOD       ? custom_hash_good
                           : config->hash == TEST_HASH_CONSTANT ? custom_hash_constant
                                                                : custom_hash_four;
        options.key.equal = custom_equal;
        options.key.dup = custom_dup;
        options.key.drop = custom_drop;
    }
    if (counting) options.allocator = counting_allocator(counting);
    return options;
}

/* ---- keys ---- */

enum {
    PREFIX_KEYS = 8,  /* strings and bytes: the first ones are prefixes of each other, from the empty one on */
    LONG_EVERY = 7    /* one key in so many fills its buffer */
};

/* Small numbers and numbers without low bits: both are hard on a hash that is no good. */
static uint64_t integer_of_index(uint64_t index)
{
    CHECK(index >> 32 == 0);
    if (index == 2) return UINT64_MAX;
    return index < 2 || index % 2 == 1 ? index : index << 32;
}

static uint64_t index_of_integer(uint64_t integer)
{
    if (integer == UINT64_MAX) return 2;
    return integer != 0 && (integer & UINT32_MAX) == 0 ? integer >> 32 : integer;
}

static syncmap_key string_of_index(uint64_t index, char buffer[KEY_BUFFER])
{
    memset(buffer, 0, KEY_BUFFER);
    if (index < PREFIX_KEYS) {
        memset(buffer, 'k', index);
        return syncmap_str(buffer);
    }
    int len = snprintf(buffer, KEY_BUFFER, "k%" PRIu64 ".", index);
    if (index % LONG_EVERY == 0) memset(buffer + len, 'x', (size_t)(KEY_BUFFER - 1 - len));
    return syncmap_str(buffer);
}

static uint64_t index_of_string(const char *string)
{
    size_t prefix = strspn(string, "k");
    return string[prefix] == '\0' ? prefix : strtoull(string + 1, NULL, 10);
}

/* The short ones are nothing but NULs, and only their length tells them apart. */
static syncmap_key bytes_of_index(uint64_t index, char buffer[KEY_BUFFER])
{
    memset(buffer, 0, KEY_BUFFER);
    if (index == 0) return syncmap_bytes(NULL, 0);
    if (index < PREFIX_KEYS) return syncmap_bytes(buffer, (size_t)index);
    memcpy(buffer, &index, sizeof index);
    return syncmap_bytes(buffer, index % LONG_EVERY == 0 ? KEY_BUFFER : sizeof index + (size_t)index % 5);
}

static uint64_t index_of_bytes(const void *bytes, size_t len)
{
    uint64_t index = len;
    if (len >= PREFIX_KEYS) memcpy(&index, bytes, sizeof index);
    return index;
}

syncmap_key config_key(const struct config *config, uint64_t index, char buffer[KEY_BUFFER])
{
    switch (config->kind) {
    case SYNCMAP_U64:
        return syncmap_u64(integer_of_index(index));
    case SYNCMAP_STRING:
        return string_of_index(index, buffer);
    case SYNCMAP_BYTES:
        return bytes_of_index(index, buffer);
    default:
        memcpy(buffer, &(struct custom_key){CUSTOM_ORIGINAL, index}, sizeof(struct custom_key));
        return syncmap_obj(buffer);
    }
}

/* Decodes, then builds the key again: so every byte of what a visit was given is compared. */
uint64_t config_key_index(const struct config *config, syncmap_key key)
{
    char buffer[KEY_BUFFER];
    uint64_t index;
    switch (config->kind) {
    case SYNCMAP_U64:
        CHECK(key.len == SYNCMAP_KEY_TAG(SYNCMAP_U64));
        return index_of_integer(key.as.u64);
    case SYNCMAP_STRING:
        CHECK(key.as.ptr != NULL);
        index = index_of_string(key.as.ptr);
        string_of_index(index, buffer);
        CHECK(key.len == syncmap_str(buffer).len && strcmp(buffer, key.as.ptr) == 0);
        return index;
    case SYNCMAP_BYTES:
        index = index_of_bytes(key.as.ptr, key.len);
        CHECK(bytes_of_index(index, buffer).len == key.len);
        CHECK(key.len == 0 || memcmp(buffer, key.as.ptr, key.len) == 0);
        return index;
    default:
        CHECK(key.len == SYNCMAP_KEY_TAG(SYNCMAP_CUSTOM));
        return custom_read(key.as.ptr).index;
    }
}

/* ---- the end of a test ---- */

void finish_map(syncmap *m, struct counting *counting)
{
    syncmap_free(m);
    syncmap_barrier();
    long long bytes = counting ? atomic_load(&counting->live_bytes) : 0;
    long long blocks = counting ? atomic_load(&counting->live_blocks) : 0;
    if (values_live() == 0 && custom_keys_live() == 0 && bytes == 0 && blocks == 0) return;
    fprintf(stderr, "live at the end: %lld values, %lld custom keys, %lld bytes in %lld blocks\n", values_live(),
            custom_keys_live(), bytes, blocks);
    CHECK(!"nothing is live at the end");
}

/* Of libgcov; not there in other builds. */
void __gcov_dump(void) __attribute__((weak));

void child_exit(int status)
{
    if (__gcov_dump) __gcov_dump();
    _exit(status);
}
