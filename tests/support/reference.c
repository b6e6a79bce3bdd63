/* SPDX-License-Identifier: MIT */
#include "support/reference.h"

#include <string.h>

#include "support/support.h"

void reference_init(struct reference *reference,
                    bool (*equal)(const void *stored, const void *expected, void *context))
{
    memset(reference, 0, sizeof *reference);
    CHECK(pthread_mutex_init(&reference->mutex, NULL) == 0);
    reference->equal = equal;
}

void reference_end(struct reference *reference)
{
    CHECK(pthread_mutex_destroy(&reference->mutex) == 0);
}

static void lock(struct reference *reference, uint64_t key)
{
    CHECK(key < REFERENCE_KEYS);
    CHECK(pthread_mutex_lock(&reference->mutex) == 0);
}

static int unlock(struct reference *reference, int result)
{
    CHECK(pthread_mutex_unlock(&reference->mutex) == 0);
    return result;
}

/* The five below are called under the mutex. */

static int get(const struct reference *reference, uint64_t key, void **value)
{
    bool present = reference->present[key];
    if (value) *value = present ? reference->value[key] : NULL;
    return present;
}

static void put(struct reference *reference, uint64_t key, void *value)
{
    if (!reference->present[key]) reference->len++;
    reference->present[key] = true;
    reference->value[key] = value;
}

static void take(struct reference *reference, uint64_t key)
{
    if (reference->present[key]) reference->len--;
    reference->present[key] = false;
    reference->value[key] = NULL;
}

static bool matches(const struct reference *reference, uint64_t key, const void *expected)
{
    const void *stored = reference->value[key];
    if (!reference->present[key]) return false;
    if (stored == expected) return true;
    if (!stored || !expected || !reference->equal) return false;
    return reference->equal(stored, expected, NULL);
}

int reference_load(struct reference *reference, uint64_t key, void **value)
{
    lock(reference, key);
    return unlock(reference, get(reference, key, value));
}

int reference_store(struct reference *reference, uint64_t key, void *value)
{
    return reference_swap(reference, key, value, NULL);
}

int reference_load_or_store(struct reference *reference, uint64_t key, void *value, void **actual)
{
    lock(reference, key);
    int loaded = get(reference, key, actual);
    if (!loaded) {
        put(reference, key, value);
        if (actual) *actual = value;
    }
    return unlock(reference, loaded);
}

int reference_load_and_delete(struct reference *reference, uint64_t key, void **previous)
{
    lock(reference, key);
    int present = get(reference, key, previous);
    take(reference, key);
    return unlock(reference, present);
}

int reference_swap(struct reference *reference, uint64_t key, void *value, void **previous)
{
    lock(reference, key);
    int present = get(reference, key, previous);
    put(reference, key, value);
    return unlock(reference, present);
}

int reference_compare_and_swap(struct reference *reference, uint64_t key, void *expected, void *desired)
{
    lock(reference, key);
    bool match = matches(reference, key, expected);
    if (match) put(reference, key, desired);
    return unlock(reference, match);
}

int reference_compare_and_delete(struct reference *reference, uint64_t key, void *expected)
{
    lock(reference, key);
    bool match = matches(reference, key, expected);
    if (match) take(reference, key);
    return unlock(reference, match);
}

int reference_clear(struct reference *reference)
{
    lock(reference, 0);
    reference->len = 0;
    memset(reference->present, 0, sizeof reference->present);
    memset(reference->value, 0, sizeof reference->value);
    return unlock(reference, 0);
}

size_t reference_len(struct reference *reference)
{
    lock(reference, 0);
    size_t len = reference->len;
    unlock(reference, 0);
    return len;
}
