/* SPDX-License-Identifier: MIT
 *
 * The oracle: what a map must answer, in a form too plain to be wrong. An array under one mutex, indexed by the
 * number of a key (see config_key), with the results of syncmap.h. It owns nothing.
 */
#ifndef SYNCMAP_TEST_REFERENCE_H
#define SYNCMAP_TEST_REFERENCE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REFERENCE_KEYS = 256 };

struct reference {
    pthread_mutex_t mutex;
    /* As options.value_equal; NULL compares pointers. */
    bool (*equal)(const void *stored, const void *expected, void *context);
    size_t len;
    bool present[REFERENCE_KEYS];
    void *value[REFERENCE_KEYS];
};

void reference_init(struct reference *reference,
                    bool (*equal)(const void *stored, const void *expected, void *context));
void reference_end(struct reference *reference);

int reference_load(struct reference *reference, uint64_t key, void **value);
int reference_store(struct reference *reference, uint64_t key, void *value);
int reference_load_or_store(struct reference *reference, uint64_t key, void *value, void **actual);
int reference_load_and_delete(struct reference *reference, uint64_t key, void **previous);
int reference_swap(struct reference *reference, uint64_t key, void *value, void **previous);
int reference_compare_and_swap(struct reference *reference, uint64_t key, void *expected, void *desired);
int reference_compare_and_delete(struct reference *reference, uint64_t key, void *expected);
int reference_clear(struct reference *reference);
size_t reference_len(struct reference *reference);

#endif
