/* SPDX-License-Identifier: MIT
 *
 * Every error that the header documents: its code or errno, and that nothing happened.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/harness.h"

/* A sanitizer's malloc aborts on a size that cannot be; the capacities below ask for it. */
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

enum { KEYS = 6 };
static const enum syncmap_kind kinds[] = {SYNCMAP_U64, SYNCMAP_STRING, SYNCMAP_BYTES, SYNCMAP_CUSTOM};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- operations that must be refused ---- */

/* All operations with a key, on a value that stays the caller's. */
static void keyed_refused(syncmap *map, syncmap_key key)
{
    struct value *value = value_make(0);
    void *out = &out;
    syncmap_pin();
    CHECK(syncmap_load(map, key, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_load(map, key, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_store(map, key, value) == SYNCMAP_EINVAL);
    CHECK(syncmap_store(map, key, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_or_store(map, key, value, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_or_store(map, key, value, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_and_delete(map, key, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_and_delete(map, key, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_delete(map, key) == SYNCMAP_EINVAL);
    CHECK(syncmap_swap(map, key, value, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_swap(map, key, value, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_compare_and_swap(map, key, value, value) == SYNCMAP_EINVAL);
    CHECK(syncmap_compare_and_swap(map, key, NULL, value) == SYNCMAP_EINVAL);
    CHECK(syncmap_compare_and_delete(map, key, value) == SYNCMAP_EINVAL);
    CHECK(syncmap_compare_and_delete(map, key, NULL) == SYNCMAP_EINVAL);
    syncmap_unpin();
    CHECK(out == &out);
    value_check(value, 0);
    CHECK(atomic_load(&value->references) == 1);
    value_release(value);
}

/* A map with some keys in read, some outside, one deleted; the reference knows what is in it. */
static void fill(struct bed *bed, struct reference *reference)
{
    reference_init(reference, NULL);
    for (uint64_t i = 0; i < KEYS; i++) {
        void *value = value_make(i);
        CHECK(syncmap_store(bed->map, KEY(bed, i), value) == 0);
        reference_store(reference, i, value);
        if (i == KEYS / 2) bed_range_count(bed);
    }
    bed_delete(bed, 1, 1);
    reference_load_and_delete(reference, 1, NULL);
}

static void check_and_close(struct bed *bed, struct reference *reference)
{
    bed_compare(bed, reference, KEYS + 2);
    bed_close(bed);
    reference_end(reference);
}

/* A key that is fine for maps of `kind`. */
static syncmap_key key_of_kind(enum syncmap_kind kind)
{
    static const uint64_t object[2];
    switch (kind) {
    case SYNCMAP_U64: return syncmap_u64(1);
    case SYNCMAP_STRING: return syncmap_str("key");
    case SYNCMAP_BYTES: return syncmap_bytes("key", 3);
    default: return syncmap_obj(object);
    }
}

static void wrong_kinds(const struct config *config, enum ownership ownership)
{
    if (ownership == PLAIN) return;
    struct bed bed;
    struct reference reference;
    bed_open(&bed, config, ownership);
    /* On an empty map first: there is nothing to compare a key with. */
    for (size_t i = 0; i < KINDS; i++) {
        if (kinds[i] != config->kind) keyed_refused(bed.map, key_of_kind(kinds[i]));
    }
    CHECK(syncmap_len(bed.map) == 0 && syncmap_clear(bed.map) == 0);
    fill(&bed, &reference);
    for (size_t i = 0; i < KINDS; i++) {
        if (kinds[i] != config->kind) keyed_refused(bed.map, key_of_kind(kinds[i]));
    }
    check_and_close(&bed, &reference);
}

static void test_wrong_kinds(void **state)
{
    (void)state;
    for_each_ownership(wrong_kinds);
}

static void bad_keys(const struct config *config)
{
    struct bed bed;
    struct reference reference;
    bed_open(&bed, config, OWNED);
    fill(&bed, &reference);
    if (config->kind == SYNCMAP_STRING) {
        keyed_refused(bed.map, syncmap_str(NULL));
    }
    if (config->kind == SYNCMAP_BYTES) {
        keyed_refused(bed.map, syncmap_bytes(NULL, 1));
        keyed_refused(bed.map, syncmap_bytes(NULL, SYNCMAP_KEY_LEN_MAX));
        keyed_refused(bed.map, syncmap_bytes("key", SYNCMAP_KEY_LEN_MAX + 1));
        keyed_refused(bed.map, syncmap_bytes("key", SIZE_MAX));
        keyed_refused(bed.map, syncmap_bytes(NULL, SIZE_MAX));
    }
    check_and_close(&bed, &reference);
}

static void test_bad_keys(void **state)
{
    (void)state;
    for_each_config(bad_keys);
}

static bool visit_never(syncmap_key key, void *value, void *context)
{
    (void)key;
    (void)value;
    (void)context;
    CHECK(!"no visit");
    return true;
}

static void test_null_map(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) keyed_refused(NULL, key_of_kind(kinds[i]));
    CHECK(syncmap_range(NULL, visit_never, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_range(NULL, NULL, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_clear(NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_len(NULL) == 0);
    syncmap_free(NULL);
    finish_map(NULL, NULL);
}

static void null_visit(const struct config *config)
{
    struct bed bed;
    struct reference reference;
    bed_open(&bed, config, OWNED);
    CHECK(syncmap_range(bed.map, NULL, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_range(bed.map, visit_never, NULL) == 1);
    fill(&bed, &reference);
    CHECK(syncmap_range(bed.map, NULL, &bed) == SYNCMAP_EINVAL);
    check_and_close(&bed, &reference);
}

static void test_null_visit(void **state)
{
    (void)state;
    for_each_config(null_visit);
}

/* ---- options ---- */

static uint64_t some_hash(const void *key, uint64_t seed, void *context)
{
    (void)context;
    return (uint64_t)(uintptr_t)key ^ seed;
}

static bool some_equal(const void *a, const void *b, void *context)
{
    (void)context;
    return a == b;
}

static void *some_dup(const void *key, void *context)
{
    (void)context;
    return (void *)(uintptr_t)key;
}

static void some_drop(void *key, void *context)
{
    (void)key;
    (void)context;
}

/* The allocator must not have been touched, or must have got all back. */
static void refused(enum syncmap_kind kind, const syncmap_options *options, int error)
{
    errno = 0;
    CHECK(syncmap_new(kind, options) == NULL);
    CHECK(errno == error);
}

static void accepted(enum syncmap_kind kind, const syncmap_options *options)
{
    syncmap *map = syncmap_new(kind, options);
    CHECK(map != NULL);
    CHECK(syncmap_len(map) == 0);
    CHECK(syncmap_load(map, key_of_kind(kind), NULL) == 0);
    CHECK(syncmap_store(map, key_of_kind(kind), NULL) == 0);
    CHECK(syncmap_load(map, key_of_kind(kind), NULL) == 1);
    finish_map(map, NULL);
}

static void test_kinds_and_engines(void **state)
{
    (void)state;
    const syncmap_key_functions both = {.hash = some_hash, .equal = some_equal};
    for (size_t i = 0; i < KINDS; i++) {
        syncmap_options options = {.engine = SYNCMAP_ENGINE_DEFAULT};
        if (kinds[i] == SYNCMAP_CUSTOM) options.key = both;
        accepted(kinds[i], &options);
        options.engine = SYNCMAP_ENGINE_READ_DIRTY;
        accepted(kinds[i], &options);
        options.engine = SYNCMAP_ENGINE_FLAT;
        accepted(kinds[i], &options);
        options.engine = (enum syncmap_engine)(SYNCMAP_ENGINE_FLAT + 1);
        refused(kinds[i], &options, EINVAL);
        options.engine = (enum syncmap_engine)-1;
        refused(kinds[i], &options, EINVAL);
        options.engine = SYNCMAP_ENGINE_DEFAULT;
        options.huge_pages = SYNCMAP_HUGE_PAGES_ASK;
        accepted(kinds[i], &options);
        options.huge_pages = SYNCMAP_HUGE_PAGES_NEVER;
        accepted(kinds[i], &options);
        options.huge_pages = (enum syncmap_huge_pages)(SYNCMAP_HUGE_PAGES_NEVER + 1);
        refused(kinds[i], &options, EINVAL);
        options.huge_pages = (enum syncmap_huge_pages)-1;
        refused(kinds[i], &options, EINVAL);
        if (kinds[i] != SYNCMAP_CUSTOM) accepted(kinds[i], NULL);
    }
    refused(SYNCMAP_CUSTOM, NULL, EINVAL);
    const syncmap_options with_key = {.key = both};
    const syncmap_options zero = {.capacity = 0};
    static const int bad[] = {SYNCMAP_CUSTOM + 1, -1, 100, 1 << 30};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refused((enum syncmap_kind)bad[i], NULL, EINVAL);
        refused((enum syncmap_kind)bad[i], &zero, EINVAL);
        refused((enum syncmap_kind)bad[i], &with_key, EINVAL);
    }
}

/* All sixteen choices of key functions, with each kind. */
static void test_key_functions(void **state)
{
    (void)state;
    for (unsigned mask = 0; mask < 16; mask++) {
        syncmap_options options = {.capacity = 0};
        bool hash = mask & 1, equal = mask & 2, dup = mask & 4, drop = mask & 8;
        if (hash) options.key.hash = some_hash;
        if (equal) options.key.equal = some_equal;
        if (dup) options.key.dup = some_dup;
        if (drop) options.key.drop = some_drop;
        for (size_t i = 0; i < KINDS; i++) {
            bool fine = kinds[i] == SYNCMAP_CUSTOM ? hash && equal && (dup || !drop) : mask == 0;
            if (fine) {
                accepted(kinds[i], &options);
            } else {
                refused(kinds[i], &options, EINVAL);
            }
        }
    }
}

static void test_value_functions(void **state)
{
    (void)state;
    for (unsigned mask = 0; mask < 8; mask++) {
        syncmap_options options = {.capacity = 0};
        if (mask & 1) options.value_free = value_free;
        if (mask & 2) options.value_acquire = value_acquire;
        if (mask & 4) options.value_equal = (bool (*)(const void *, const void *, void *))some_equal;
        if ((mask & 2) && !(mask & 1)) {
            refused(SYNCMAP_U64, &options, EINVAL);
        } else {
            accepted(SYNCMAP_U64, &options);
        }
    }
}

static void test_allocators(void **state)
{
    (void)state;
    struct counting counting;
    counting_init(&counting);
    syncmap_options options = {.allocator = counting_allocator(&counting)};
    accepted(SYNCMAP_STRING, &options);
    CHECK(atomic_load(&counting.calls) > 0);
    options.allocator.free = NULL;
    refused(SYNCMAP_STRING, &options, EINVAL);
    options.allocator = counting_allocator(&counting);
    options.allocator.alloc = NULL;
    refused(SYNCMAP_STRING, &options, EINVAL);
    /* Refused for another reason: the allocator is left as it was. */
    long long calls = atomic_load(&counting.calls);
    options.allocator = counting_allocator(&counting);
    options.value_acquire = value_acquire;
    refused(SYNCMAP_STRING, &options, EINVAL);
    options.value_acquire = NULL;
    options.engine = (enum syncmap_engine)(SYNCMAP_ENGINE_FLAT + 1);
    refused(SYNCMAP_STRING, &options, EINVAL);
    CHECK(atomic_load(&counting.calls) == calls);
    finish_map(NULL, &counting);
}

static void test_huge_capacity(void **state)
{
    (void)state;
    /* The last ones make a product with a small size that fits again, once it has wrapped round. */
    static const size_t huge[] = {SIZE_MAX,      SIZE_MAX - 1,           SIZE_MAX / 2,           SIZE_MAX / 4,
                                  SIZE_MAX / 16, (size_t)1 << 60,        ((size_t)1 << 63),      ((size_t)1 << 63) + 1,
                                  (size_t)1 << 61, ((size_t)1 << 61) + 1, ((size_t)1 << 60) + 1, ((size_t)1 << 62) + 1};
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        struct counting counting;
        counting_init(&counting);
        syncmap_options options = {.capacity = huge[i]};
        refused(SYNCMAP_U64, &options, ENOMEM);
        refused(SYNCMAP_STRING, &options, ENOMEM);
        options.allocator = counting_allocator(&counting);
        refused(SYNCMAP_U64, &options, ENOMEM);
        finish_map(NULL, &counting);
    }
}

/* The options are copied: what happens to them afterwards is nothing to the map. */
static void options_copied(const struct config *config)
{
    struct bed bed = {.config = config, .ownership = ACQUIRED};
    counting_init(&bed.counting);
    syncmap_options options = bed_options(config, ACQUIRED, &bed.counting);
    bed_open_with(&bed, &options);
    memset(&options, 0xff, sizeof options);
    for (uint64_t i = 0; i < 50; i++) bed_store(&bed, i, 0);
    for (uint64_t i = 0; i < 50; i++) bed_check_present(&bed, i);
    bed_close(&bed);
}

static void test_options_copied(void **state)
{
    (void)state;
    for_each_config(options_copied);
}

/* ---- the rest ---- */

static int released;

static void count_release(void *object)
{
    CHECK(object == &released);
    released++;
}

static void release_never(void *object)
{
    (void)object;
    CHECK(!"no release");
}

static void test_retire(void **state)
{
    (void)state;
    released = 0;
    CHECK(syncmap_retire(&released, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_retire(NULL, release_never) == 0);
    syncmap_barrier();
    CHECK(syncmap_retire(&released, count_release) == 0);
    CHECK(syncmap_retire(&released, count_release) == 0);
    syncmap_barrier();
    CHECK(released == 2);
    syncmap_barrier();
    CHECK(released == 2);
}

/* An unpin too many must not make the next pin void, nor leave the thread pinned. */
static void test_unpin_without_pin(void **state)
{
    (void)state;
    released = 0;
    for (int i = 0; i < 3; i++) syncmap_unpin();
    syncmap_pin();
    syncmap_unpin();
    syncmap_unpin();
    CHECK(syncmap_retire(&released, count_release) == 0);
    syncmap_barrier();
    CHECK(released == 1);
    syncmap_unpin();
    syncmap_pin();
    CHECK(syncmap_retire(&released, count_release) == 0);
    syncmap_barrier();
    CHECK(released == 1);
    syncmap_unpin();
    syncmap_barrier();
    CHECK(released == 2);
}

static void test_strerror(void **state)
{
    (void)state;
    static const int codes[] = {0,  1,  2,    SYNCMAP_ENOMEM, SYNCMAP_EINVAL,
                                -3, -4, -100, 1000,           -2147483647 - 1, 2147483647};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const char *text = syncmap_strerror(codes[i]);
        CHECK(text != NULL && *text != '\0');
        CHECK(syncmap_strerror(codes[i]) == text);
    }
    CHECK(strcmp(syncmap_strerror(SYNCMAP_ENOMEM), syncmap_strerror(SYNCMAP_EINVAL)) != 0);
    CHECK(SYNCMAP_ENOMEM == -1 && SYNCMAP_EINVAL == -2);
}

static void test_version(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", SYNCMAP_VERSION_MAJOR, SYNCMAP_VERSION_MINOR, SYNCMAP_VERSION_PATCH);
    CHECK(strcmp(text, SYNCMAP_VERSION_STRING) == 0);
    CHECK(syncmap_version() == SYNCMAP_VERSION);
}

static void test_key_constructors(void **state)
{
    (void)state;
    CHECK(syncmap_u64(7).as.u64 == 7 && syncmap_key_len(syncmap_u64(UINT64_MAX)) == 0);
    CHECK(syncmap_key_len(syncmap_str("")) == 0 && syncmap_key_len(syncmap_str("four")) == 4);
    CHECK(syncmap_key_len(syncmap_str(NULL)) == 0);
    CHECK(syncmap_key_len(syncmap_bytes("\0\0", 2)) == 2 && syncmap_bytes("\0\0", 2).len == 2);
    CHECK(syncmap_key_len(syncmap_obj(&released)) == 0 && syncmap_obj(&released).as.ptr == &released);
    CHECK(sizeof(syncmap_key) == 8 + sizeof(size_t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpin_without_pin), /* first, on a thread that the library has not seen */
        cmocka_unit_test(test_null_map),
        cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_null_visit),
        cmocka_unit_test(test_kinds_and_engines),
        cmocka_unit_test(test_key_functions),
        cmocka_unit_test(test_value_functions),
        cmocka_unit_test(test_allocators),
        cmocka_unit_test(test_huge_capacity),
        cmocka_unit_test(test_options_copied),
        cmocka_unit_test(test_retire),
        cmocka_unit_test(test_strerror),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_key_constructors),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
