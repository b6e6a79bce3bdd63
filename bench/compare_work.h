/* SPDX-License-Identifier: MIT
 *
 * The work of compare.c, the same for each map: what the operations are, and on which keys in which order.
 */
#ifndef COMPARE_WORK_H
#define COMPARE_WORK_H

#include "compare_maps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- the operations ------------------------------------------------------------------------------ */

/* The value that belongs to a key: never 0, which stands for absent in one adapter, and never the key itself, as
 * GHashTable keeps a table of such values as a set. */
static inline uint64_t value_of(uint64_t key)
{
    return ~key | 1;
}

/* One pass over some keys. Returns how many answers were right. */
typedef size_t pass_function(const struct adapter *adapter, void *map, const uint64_t *keys, size_t count);

static inline size_t pass_load(const struct adapter *adapter, void *map, const uint64_t *keys, size_t count)
{
    size_t right = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t value;

        right += adapter->load(map, keys[i], &value) == 1 && value == value_of(keys[i]);
    }
    return right;
}

static inline size_t pass_store(const struct adapter *adapter, void *map, const uint64_t *keys, size_t count)
{
    size_t right = 0;

    for (size_t i = 0; i < count; i++) {
        right += adapter->store(map, keys[i], value_of(keys[i])) == 1;
    }
    return right;
}

static inline size_t pass_load_or_store(const struct adapter *adapter, void *map, const uint64_t *keys, size_t count)
{
    size_t right = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t actual;

        right += adapter->load_or_store(map, keys[i], value_of(keys[i]), &actual) == 0 &&
                 actual == value_of(keys[i]);
    }
    return right;
}

static inline size_t pass_delete(const struct adapter *adapter, void *map, const uint64_t *keys, size_t count)
{
    size_t right = 0;

    for (size_t i = 0; i < count; i++) {
        right += adapter->delete(map, keys[i]) == 1;
    }
    return right;
}

struct operation {
    const char *name;
    pass_function *pass;
    bool on_full_map; /* else on an empty one */
    bool once;        /* a second pass would not be the same: each pass needs a fresh map, each thread its own keys */
};

enum { LOAD, STORE, LOAD_OR_STORE, DELETE, OPERATIONS };

static const struct operation operations[OPERATIONS] = {
    [LOAD] = {"load", pass_load, true, false},
    [STORE] = {"store", pass_store, true, false},
    [LOAD_OR_STORE] = {"load_or_store", pass_load_or_store, false, true},
    [DELETE] = {"delete", pass_delete, true, true},
};

/* ---- the keys ------------------------------------------------------------------------------------ */

/* The i-th number of Steele, Lea and Flood's SplitMix64: a bijection, so different i give different keys. */
static inline uint64_t splitmix64(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The keys, and an order of them for each thread. */
struct workload {
    size_t count;
    unsigned threads;
    uint64_t *keys; /* in the order in which a map is filled */
    uint64_t **orders;
};

static inline struct workload workload_make(size_t count, unsigned threads)
{
    struct workload workload = {count, threads, take(count, sizeof(uint64_t)), take(threads, sizeof(uint64_t *))};
    uint64_t random = 0;

    for (size_t i = 0; i < count; i++) {
        workload.keys[i] = splitmix64(i);
    }
    for (unsigned t = 0; t < threads; t++) {
        uint64_t *order = take(count, sizeof *order);

        memcpy(order, workload.keys, count * sizeof *order);
        for (size_t i = count; i > 1; i--) {
            size_t j = splitmix64(~random++) % i;
            uint64_t key = order[i - 1];

            order[i - 1] = order[j];
            order[j] = key;
        }
        workload.orders[t] = order;
    }
    return workload;
}

static inline void workload_free(struct workload *workload)
{
    for (unsigned t = 0; t < workload->threads; t++) {
        free(workload->orders[t]);
    }
    free(workload->orders);
    free(workload->keys);
}

struct slice {
    const uint64_t *keys;
    size_t count;
};

/* The keys of one thread: all of them in its own order, or its share of the first thread's order. */
static inline struct slice slice_of(const struct workload *workload, const struct operation *operation,
                                    unsigned thread)
{
    size_t begin = workload->count * thread / workload->threads;
    size_t end = workload->count * (thread + 1) / workload->threads;

    if (!operation->once) {
        return (struct slice){workload->orders[thread], workload->count};
    }
    return (struct slice){workload->orders[0] + begin, end - begin};
}

#endif
