/* SPDX-License-Identifier: MIT
 *
 * Histories: what threads called, when, and what they got; and whether a map could have answered so.
 */
#ifndef SYNCMAP_TEST_HISTORY_H
#define SYNCMAP_TEST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum history_operation {
    H_LOAD,
    H_STORE,
    H_LOAD_OR_STORE,
    H_LOAD_AND_DELETE,
    H_DELETE,
    H_SWAP,
    H_COMPARE_AND_SWAP,
    H_COMPARE_AND_DELETE,
    H_CLEAR, /* of all keys */
    HISTORY_OPERATIONS
};

/* Values are numbers: 0 says that there is none, so a test numbers its values, the user's NULL included, from 1. */
struct history_event {
    uint64_t begin, end; /* before the call and after it: end of one < begin of another, and it came first */
    uint16_t thread;     /* below HISTORY_THREADS; each event of one ends before its next begins */
    uint8_t operation;
    uint8_t key;         /* below HISTORY_KEYS; of clear: 0 */
    int8_t result;       /* as in syncmap.h: 1 or 0 */
    uint64_t value;      /* stored (store, load_or_store, swap), desired (compare_and_swap), else 0 */
    uint64_t expected;   /* of compare_and_...; else 0 */
    uint64_t out;        /* value, actual or previous, if the test asked for it; HISTORY_UNASKED: it did not */
};

enum { HISTORY_THREADS = 32, HISTORY_KEYS = 16 };
#define HISTORY_UNASKED UINT64_MAX

/* Why a history is refused, in words for a person. */
struct history_verdict {
    bool linearizable;
    size_t event; /* the first, by its end, that no order explains; an index of `events` */
    char why[512];
};

/* Whether the events of one map, which was empty before all of them, have an order that agrees with time and in which a map
 * for one thread gives the same results. The map as a whole: that is linearizability across keys. The work grows with how
 * many calls overlap and with the keys, not with the length. `events` in any order. */
struct history_verdict history_check(const struct history_event *events, size_t count);

/* The same for each key by itself; clear is an operation on every key. Linearizability is local (Herlihy and Wing 1990), so for
 * operations on one key this says as much: two stores that each wait in a store buffer show as a late store of one of the
 * keys. But a clear may be at another instant for each key. */
struct history_verdict history_check_by_key(const struct history_event *events, size_t count);

/* One event in words, for a person. */
void history_text(const struct history_event *event, char *text, size_t size);

#endif
