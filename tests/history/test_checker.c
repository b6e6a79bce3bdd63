/* SPDX-License-Identifier: MIT
 *
 * The proof of the checker: histories written by hand, random ones that are right or made wrong by their making, and small
 * random ones, right or corrupted, on which it must agree with a search through all orders.
 *
 * HISTORIES scales the random ones (in percent of what is usual).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "history/history.h"
#include "history/mutate.h"
#include "support/harness.h"

/* ---- written by hand ---- */

/* Values: 0 for the out of what found nothing. */
#define EVENT(t, b, e, op, ...) {.begin = (b), .end = (e), .thread = (t), .operation = (op), __VA_ARGS__}
#define LOAD(t, b, e, k, o) EVENT(t, b, e, H_LOAD, .key = (k), .result = (o) != 0, .out = (o))
#define STORE(t, b, e, k, v, r) EVENT(t, b, e, H_STORE, .key = (k), .result = (r), .value = (v))
#define LOAD_OR_STORE(t, b, e, k, v, r, o) \
    EVENT(t, b, e, H_LOAD_OR_STORE, .key = (k), .result = (r), .value = (v), .out = (o))
#define LOAD_AND_DELETE(t, b, e, k, o) EVENT(t, b, e, H_LOAD_AND_DELETE, .key = (k), .result = (o) != 0, .out = (o))
#define DELETE(t, b, e, k, r) EVENT(t, b, e, H_DELETE, .key = (k), .result = (r))
#define SWAP(t, b, e, k, v, o) EVENT(t, b, e, H_SWAP, .key = (k), .result = (o) != 0, .value = (v), .out = (o))
#define CAS(t, b, e, k, x, v, r) \
    EVENT(t, b, e, H_COMPARE_AND_SWAP, .key = (k), .result = (r), .value = (v), .expected = (x))
#define CAD(t, b, e, k, x, r) EVENT(t, b, e, H_COMPARE_AND_DELETE, .key = (k), .result = (r), .expected = (x))
#define CLEAR(t, b, e) EVENT(t, b, e, H_CLEAR, .result = 0)

enum { YES, NO, BY_KEY_ONLY };

struct written {
    const char *what;
    int linearizable;
    struct history_event events[10]; /* up to the first that ends at 0 */
};

static const struct written sequential[] = {
    {"nothing", YES, {{0}}},
    {"load of nothing", YES, {LOAD(0, 1, 2, 0, 0)}},
    {"load of a value from nowhere", NO, {LOAD(0, 1, 2, 0, 5)}},
    {"store and load", YES, {STORE(0, 1, 2, 0, 5, 0), LOAD(0, 3, 4, 0, 5)}},
    {"lost write", NO, {STORE(0, 1, 2, 0, 5, 0), LOAD(0, 3, 4, 0, 0)}},
    {"lost write over a value", NO, {STORE(0, 1, 2, 0, 5, 0), STORE(1, 3, 4, 0, 6, 1), LOAD(2, 5, 6, 0, 5)}},
    {"store calls a new key replaced", NO, {STORE(0, 1, 2, 0, 5, 1)}},
    {"store calls an old key new", NO, {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 0, 6, 0)}},
    {"other key", NO, {STORE(0, 1, 2, 0, 5, 0), LOAD(0, 3, 4, 1, 5)}},
    {"load_or_store", YES, {LOAD_OR_STORE(0, 1, 2, 0, 5, 0, 5), LOAD_OR_STORE(1, 3, 4, 0, 6, 1, 5)}},
    {"load_or_store stores twice", NO, {LOAD_OR_STORE(0, 1, 2, 0, 5, 0, 5), LOAD_OR_STORE(1, 3, 4, 0, 6, 0, 6)}},
    {"load_or_store stores and gives another", NO, {LOAD_OR_STORE(0, 1, 2, 0, 5, 0, 6)}},
    {"load_or_store gives what it did not store", NO,
     {LOAD_OR_STORE(0, 1, 2, 0, 5, 0, 5), LOAD_OR_STORE(1, 3, 4, 0, 6, 1, 6)}},
    {"load_and_delete", YES,
     {STORE(0, 1, 2, 0, 5, 0), LOAD_AND_DELETE(0, 3, 4, 0, 5), LOAD_AND_DELETE(0, 5, 6, 0, 0), LOAD(1, 7, 8, 0, 0)}},
    {"double load_and_delete", NO,
     {STORE(0, 1, 2, 0, 5, 0), LOAD_AND_DELETE(0, 3, 4, 0, 5), LOAD_AND_DELETE(1, 5, 6, 0, 5)}},
    {"load_and_delete gives another", NO, {STORE(0, 1, 2, 0, 5, 0), LOAD_AND_DELETE(0, 3, 4, 0, 6)}},
    {"load_and_delete misses", NO, {STORE(0, 1, 2, 0, 5, 0), LOAD_AND_DELETE(1, 3, 4, 0, 0)}},
    {"delete", YES, {DELETE(0, 1, 2, 0, 0), STORE(0, 3, 4, 0, 5, 0), DELETE(0, 5, 6, 0, 1), DELETE(1, 7, 8, 0, 0)}},
    {"double delete", NO, {STORE(0, 3, 4, 0, 5, 0), DELETE(0, 5, 6, 0, 1), DELETE(1, 7, 8, 0, 1)}},
    {"delete misses", NO, {STORE(0, 3, 4, 0, 5, 0), DELETE(1, 5, 6, 0, 0)}},
    {"delete that resurrects", NO,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 0, 6, 1), DELETE(1, 5, 6, 0, 1), LOAD(0, 7, 8, 0, 5)}},
    {"delete that does nothing", NO, {STORE(0, 1, 2, 0, 5, 0), DELETE(1, 3, 4, 0, 1), LOAD(0, 5, 6, 0, 5)}},
    {"swap", YES, {SWAP(0, 1, 2, 0, 5, 0), SWAP(1, 3, 4, 0, 6, 5), SWAP(0, 5, 6, 0, 7, 6), LOAD(0, 7, 8, 0, 7)}},
    {"wrong previous", NO, {SWAP(0, 1, 2, 0, 5, 0), SWAP(1, 3, 4, 0, 6, 5), SWAP(0, 5, 6, 0, 7, 5)}},
    {"no previous", NO, {SWAP(0, 1, 2, 0, 5, 0), SWAP(1, 3, 4, 0, 6, 0)}},
    {"compare_and_swap", YES,
     {CAS(0, 1, 2, 0, 5, 6, 0), STORE(0, 3, 4, 0, 5, 0), CAS(1, 5, 6, 0, 5, 6, 1), CAS(0, 7, 8, 0, 5, 7, 0),
      LOAD(0, 9, 10, 0, 6)}},
    {"compare_and_swap from one value twice", NO,
     {STORE(0, 3, 4, 0, 5, 0), CAS(1, 5, 6, 0, 5, 6, 1), CAS(0, 7, 8, 0, 5, 7, 1)}},
    {"compare_and_swap of nothing", NO, {CAS(0, 1, 2, 0, 5, 6, 1)}},
    {"compare_and_swap fails on an equal value", NO, {STORE(0, 3, 4, 0, 5, 0), CAS(1, 5, 6, 0, 5, 6, 0)}},
    {"compare_and_swap that does nothing", NO,
     {STORE(0, 3, 4, 0, 5, 0), CAS(1, 5, 6, 0, 5, 6, 1), LOAD(1, 7, 8, 0, 5)}},
    {"failed compare_and_swap that swaps", NO,
     {STORE(0, 3, 4, 0, 5, 0), CAS(1, 5, 6, 0, 4, 6, 0), LOAD(1, 7, 8, 0, 6)}},
    {"compare_and_delete", YES,
     {CAD(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 0, 5, 0), CAD(1, 5, 6, 0, 6, 0), CAD(0, 7, 8, 0, 5, 1), LOAD(0, 9, 10, 0, 0)}},
    {"double compare_and_delete", NO, {STORE(0, 3, 4, 0, 5, 0), CAD(1, 5, 6, 0, 5, 1), CAD(0, 7, 8, 0, 5, 1)}},
    {"compare_and_delete of another value", NO, {STORE(0, 3, 4, 0, 5, 0), CAD(1, 5, 6, 0, 6, 1)}},
    {"compare_and_delete misses", NO, {STORE(0, 3, 4, 0, 5, 0), CAD(1, 5, 6, 0, 5, 0)}},
    {"clear", YES,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 3, 6, 0), CLEAR(1, 5, 6), LOAD(0, 7, 8, 0, 0), STORE(0, 9, 10, 3, 7, 0)}},
    {"clear that does nothing", NO, {STORE(0, 1, 2, 0, 5, 0), CLEAR(1, 5, 6), LOAD(0, 7, 8, 0, 5)}},
    {"clear of one key of two", NO,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 3, 6, 0), CLEAR(1, 5, 6), LOAD(0, 7, 8, 0, 0), LOAD(0, 9, 10, 3, 6)}},
    {"what was not asked for", YES,
     {STORE(0, 1, 2, 0, 5, 0), EVENT(0, 3, 4, H_LOAD, .result = 1, .out = HISTORY_UNASKED),
      EVENT(0, 5, 6, H_SWAP, .result = 1, .value = 6, .out = HISTORY_UNASKED), LOAD(0, 7, 8, 0, 6)}},
    {"what was not asked for, and is not there", NO, {EVENT(0, 3, 4, H_LOAD, .result = 1, .out = HISTORY_UNASKED)}},
};

static const struct written overlapping[] = {
    {"load of a store that has not returned", YES,
     {STORE(0, 1, 8, 0, 5, 0), LOAD(1, 2, 3, 0, 0), LOAD(1, 4, 5, 0, 5), LOAD(1, 6, 7, 0, 5)}},
    {"stale read: once seen, always seen", NO, {STORE(0, 1, 8, 0, 5, 0), LOAD(1, 2, 3, 0, 5), LOAD(2, 4, 5, 0, 0)}},
    {"two readers see two stores in two orders", NO,
     {STORE(0, 1, 9, 0, 5, 0), STORE(1, 1, 9, 0, 6, 1), LOAD(2, 2, 3, 0, 5), LOAD(2, 4, 5, 0, 6), LOAD(3, 2, 3, 0, 6),
      LOAD(3, 4, 5, 0, 5)}},
    {"two readers, one order", YES,
     {STORE(0, 1, 9, 0, 5, 0), STORE(1, 1, 9, 0, 6, 1), LOAD(2, 2, 3, 0, 5), LOAD(2, 4, 5, 0, 6), LOAD(3, 2, 3, 0, 5),
      LOAD(3, 4, 5, 0, 6)}},
    {"a return and a call at one time overlap", YES, {STORE(0, 1, 5, 0, 5, 0), LOAD(1, 5, 6, 0, 0)}},
    {"calls that take no time", YES, {STORE(0, 5, 5, 0, 5, 0), LOAD(1, 5, 5, 0, 0), LOAD(2, 5, 5, 0, 5)}},
    {"two deletes, one succeeds", YES, {STORE(0, 1, 2, 0, 5, 0), DELETE(0, 3, 6, 0, 1), DELETE(1, 3, 6, 0, 0)}},
    {"two deletes at once, both succeed", NO, {STORE(0, 1, 2, 0, 5, 0), DELETE(0, 3, 6, 0, 1), DELETE(1, 3, 6, 0, 1)}},
    {"two deletes around a store", YES,
     {STORE(0, 1, 2, 0, 5, 0), DELETE(0, 3, 6, 0, 1), DELETE(1, 3, 6, 0, 1), STORE(2, 3, 6, 0, 7, 0)}},
    {"a chain of swaps, explained backwards", YES,
     {SWAP(0, 1, 9, 0, 5, 6), SWAP(1, 1, 9, 0, 6, 7), SWAP(2, 1, 9, 0, 7, 8), SWAP(3, 1, 9, 0, 8, 0),
      LOAD(4, 10, 11, 0, 5)}},
    {"a ring of swaps", NO, {SWAP(0, 1, 9, 0, 5, 6), SWAP(1, 1, 9, 0, 6, 7), SWAP(2, 1, 9, 0, 7, 5)}},
    {"two swaps with one previous", NO,
     {SWAP(0, 1, 2, 0, 5, 0), SWAP(1, 3, 9, 0, 6, 5), SWAP(2, 3, 9, 0, 7, 5)}},
    {"two load_or_store at once", YES,
     {LOAD_OR_STORE(0, 1, 9, 0, 5, 1, 6), LOAD_OR_STORE(1, 1, 9, 0, 6, 0, 6)}},
    {"two load_or_store at once that both store", NO,
     {LOAD_OR_STORE(0, 1, 9, 0, 5, 0, 5), LOAD_OR_STORE(1, 1, 9, 0, 6, 0, 6)}},
    {"two load_or_store at once that load each other's", NO,
     {LOAD_OR_STORE(0, 1, 9, 0, 5, 1, 6), LOAD_OR_STORE(1, 1, 9, 0, 6, 1, 5)}},
    {"two load_or_store around a delete", YES,
     {LOAD_OR_STORE(0, 1, 9, 0, 5, 0, 5), LOAD_OR_STORE(1, 1, 9, 0, 6, 0, 6), DELETE(2, 2, 3, 0, 1)}},
    {"two compare_and_swap from one value at once", NO,
     {STORE(0, 1, 2, 0, 5, 0), CAS(0, 3, 9, 0, 5, 6, 1), CAS(1, 3, 9, 0, 5, 7, 1)}},
    {"two compare_and_swap, and back between", YES,
     {STORE(0, 1, 2, 0, 5, 0), CAS(0, 3, 9, 0, 5, 6, 1), CAS(1, 3, 9, 0, 5, 7, 1), CAS(2, 3, 9, 0, 6, 5, 1)}},
    {"compare_and_swap fails at a moment of another value", YES,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 9, 0, 6, 1), CAS(1, 3, 9, 0, 5, 7, 0), LOAD(2, 10, 11, 0, 6)}},
    {"compare_and_swap fails with no such moment", NO,
     {STORE(0, 1, 2, 0, 5, 0), LOAD(0, 3, 9, 0, 5), CAS(1, 3, 9, 0, 5, 7, 0)}},
    {"compare_and_delete against swap", YES,
     {STORE(0, 1, 2, 0, 5, 0), CAD(0, 3, 9, 0, 5, 1), SWAP(1, 3, 9, 0, 6, 0), LOAD(2, 10, 11, 0, 6)}},
    {"compare_and_delete and swap take one value", NO,
     {STORE(0, 1, 2, 0, 5, 0), CAD(0, 3, 9, 0, 5, 1), SWAP(1, 3, 9, 0, 6, 5)}},
    {"clear in the middle of it", YES,
     {STORE(0, 1, 2, 0, 5, 0), CLEAR(1, 3, 9), LOAD(0, 4, 5, 0, 5), LOAD(0, 6, 7, 0, 0)}},
    {"clear, and back again", NO, {STORE(0, 1, 2, 0, 5, 0), CLEAR(1, 3, 9), LOAD(0, 4, 5, 0, 0), LOAD(0, 6, 7, 0, 5)}},
};

/* Two keys. Without a clear, what is wrong across keys is wrong for one of them: linearizability is local. */
static const struct written across[] = {
    {"store buffers", NO,
     {STORE(0, 1, 2, 0, 5, 0), STORE(1, 1, 2, 1, 6, 0), LOAD(0, 3, 4, 1, 0), LOAD(1, 3, 4, 0, 0)}},
    {"store buffers, one late", YES,
     {STORE(0, 1, 2, 0, 5, 0), STORE(1, 1, 5, 1, 6, 0), LOAD(0, 3, 4, 1, 0), LOAD(1, 6, 7, 0, 5)}},
    {"independent reads of independent writes", NO,
     {STORE(0, 1, 9, 0, 5, 0), STORE(1, 1, 9, 1, 6, 0), LOAD(2, 2, 3, 0, 5), LOAD(2, 5, 6, 1, 0), LOAD(3, 2, 3, 1, 6),
      LOAD(3, 5, 6, 0, 0)}},
    {"a clear seen on one key, not yet on the other", BY_KEY_ONLY,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 1, 6, 0), CLEAR(1, 5, 20), LOAD(0, 6, 7, 0, 0), LOAD(0, 8, 9, 1, 6)}},
    {"a clear seen on both keys", YES,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 1, 6, 0), CLEAR(1, 5, 20), LOAD(0, 6, 7, 0, 5), LOAD(0, 8, 9, 1, 0)}},
    {"two keys seen in opposite order around a clear", NO,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 1, 6, 0), CLEAR(1, 5, 20), LOAD(2, 6, 10, 0, 0), LOAD(2, 11, 19, 1, 6),
      LOAD(3, 6, 10, 1, 0), LOAD(3, 11, 19, 0, 5)}},
    {"a clear takes one new key and not the one before it", BY_KEY_ONLY,
     {CLEAR(1, 1, 20), STORE(0, 2, 3, 0, 5, 0), STORE(0, 4, 5, 1, 6, 0), LOAD(0, 6, 7, 1, 0), LOAD(0, 21, 22, 0, 5)}},
    {"two clears explain it", YES,
     {STORE(0, 1, 2, 0, 5, 0), STORE(0, 3, 4, 1, 6, 0), CLEAR(1, 5, 20), LOAD(0, 6, 7, 0, 0), STORE(0, 8, 9, 0, 7, 0),
      CLEAR(2, 5, 20), LOAD(0, 10, 11, 1, 0), LOAD(0, 12, 13, 0, 7), LOAD(0, 21, 22, 0, 0)}},
    {"what another thread stores must come before a clear", YES,
     {STORE(2, 1, 20, 1, 6, 0), CLEAR(1, 1, 20), DELETE(3, 1, 20, 1, 1), STORE(0, 2, 3, 0, 5, 0), LOAD(0, 4, 5, 0, 0),
      LOAD(0, 6, 7, 1, 6)}},
};

static const struct written malformed[] = {
    {"result", NO, {EVENT(0, 1, 2, H_LOAD, .result = 2, .out = 1)}},
    {"error", NO, {EVENT(0, 1, 2, H_STORE, .result = -1, .value = 1)}},
    {"operation", NO, {EVENT(0, 1, 2, HISTORY_OPERATIONS, .result = 0)}},
    {"thread", NO, {LOAD(HISTORY_THREADS, 1, 2, 0, 0)}},
    {"key", NO, {LOAD(0, 1, 2, HISTORY_KEYS, 0)}},
    {"clear of a key", NO, {EVENT(0, 1, 2, H_CLEAR, .key = 1)}},
    {"clear says 1", NO, {EVENT(0, 1, 2, H_CLEAR, .result = 1)}},
    {"ends before it begins", NO, {LOAD(0, 3, 2, 0, 0)}},
    {"overlaps itself", NO, {LOAD(0, 1, 4, 0, 0), LOAD(0, 3, 5, 1, 0)}},
    {"one within the other", NO, {LOAD(0, 1, 9, 0, 0), LOAD(0, 3, 5, 1, 0)}},
    {"next begins as it ends", NO, {LOAD(0, 1, 2, 0, 0), LOAD(0, 2, 3, 0, 0)}},
    {"present without a value", NO, {STORE(0, 1, 2, 0, 5, 0), EVENT(0, 3, 4, H_LOAD, .result = 1, .out = 0)}},
    {"absent with a value", NO, {EVENT(0, 3, 4, H_LOAD, .result = 0, .out = 1)}},
    {"stores nothing", NO, {STORE(0, 1, 2, 0, 0, 0)}},
    {"stores what cannot be", NO, {STORE(0, 1, 2, 0, HISTORY_UNASKED, 0)}},
    {"expects nothing", NO, {CAD(0, 1, 2, 0, 0, 0)}},
    {"delete gives a value", NO, {EVENT(0, 1, 2, H_DELETE, .result = 0, .out = 4)}},
};

static void check_written(const struct written *written, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct written *w = &written[i];
        size_t events = 0;
        while (events < 10 && w->events[events].end != 0) events++;
        struct history_verdict whole = history_check(w->events, events);
        struct history_verdict by_key = history_check_by_key(w->events, events);
        if (whole.linearizable != (w->linearizable == YES) || by_key.linearizable != (w->linearizable != NO)) {
            print_error("%s: whole %d (%s), by key %d (%s)\n", w->what, whole.linearizable, whole.why,
                        by_key.linearizable, by_key.why);
            fail();
        }
        assert_true(whole.linearizable ? whole.why[0] == '\0' : whole.why[0] != '\0' && whole.event < events);
    }
}

static void test_sequential(void **state)
{
    (void)state;
    check_written(sequential, sizeof sequential / sizeof *sequential);
}

static void test_overlapping(void **state)
{
    (void)state;
    check_written(overlapping, sizeof overlapping / sizeof *overlapping);
}

static void test_across(void **state)
{
    (void)state;
    check_written(across, sizeof across / sizeof *across);
}

static void test_malformed(void **state)
{
    (void)state;
    check_written(malformed, sizeof malformed / sizeof *malformed);
}

/* The event named is the first, by its end, that has no explanation. */
static void test_first(void **state)
{
    (void)state;
    const struct history_event events[] = {LOAD(0, 7, 8, 0, 9), LOAD(1, 5, 6, 1, 9), STORE(2, 1, 2, 0, 5, 0)};
    assert_int_equal(history_check(events, 3).event, 1);
    assert_int_equal(history_check_by_key(events, 3).event, 1);
}

/* ---- random histories ---- */

/* A map for one thread, which knows nothing of the checker: it performs an event, and fills in what it gives. */
struct plain_map {
    uint64_t value[HISTORY_KEYS];
};

static void perform(struct plain_map *map, struct history_event *e)
{
    uint64_t *place = &map->value[e->key], old = *place, out = 0;
    bool there = old != 0;
    switch (e->operation) {
    case H_LOAD:              e->result = there; out = old; break;
    case H_STORE:             e->result = there; *place = e->value; break;
    case H_LOAD_OR_STORE:     e->result = there; out = *place = there ? old : e->value; break;
    case H_LOAD_AND_DELETE:   e->result = there; out = old; *place = 0; break;
    case H_DELETE:            e->result = there; *place = 0; break;
    case H_SWAP:              e->result = there; out = old; *place = e->value; break;
    case H_COMPARE_AND_SWAP:  e->result = old == e->expected; if (e->result) *place = e->value; break;
    case H_COMPARE_AND_DELETE: e->result = old == e->expected; if (e->result) *place = 0; break;
    default:                  e->result = 0; memset(map, 0, sizeof *map); break;
    }
    if (e->out != HISTORY_UNASKED) e->out = out;
}

struct shape {
    unsigned threads, keys, clear_one_in;
    bool split_clears; /* a clear takes the keys one by one, which is wrong as a whole, and right for each key */
    uint64_t values;   /* drawn from 1 to so many; 0: all unique, from 2 on */
    size_t count;
    uint64_t next_value;
};

static void draw_event(struct shape *shape, const struct plain_map *map, struct rng *rng, struct history_event *e)
{
    memset(e, 0, sizeof *e);
    e->operation = (uint8_t)rng_below(rng, H_CLEAR);
    e->key = (uint8_t)rng_below(rng, shape->keys);
    if (shape->split_clears && rng_below(rng, 4) != 0) /* what shows it best */
        e->operation = map->value[e->key] == 0 && rng_below(rng, 2) == 0 ? H_STORE : H_LOAD;
    if (rng_below(rng, shape->clear_one_in) == 0) {
        e->operation = H_CLEAR;
        e->key = 0;
        return;
    }
    bool has_out = e->operation == H_LOAD || e->operation == H_LOAD_OR_STORE || e->operation == H_SWAP ||
                   e->operation == H_LOAD_AND_DELETE;
    if (has_out && rng_below(rng, 10) == 0) e->out = HISTORY_UNASKED;
    uint64_t value = shape->values ? 1 + rng_below(rng, shape->values) : shape->next_value++;
    if (e->operation == H_STORE || e->operation == H_LOAD_OR_STORE || e->operation == H_SWAP ||
        e->operation == H_COMPARE_AND_SWAP)
        e->value = value;
    if (e->operation != H_COMPARE_AND_SWAP && e->operation != H_COMPARE_AND_DELETE) return;
    uint64_t now = map->value[e->key];
    e->expected = now != 0 && rng_below(rng, 4) != 0 ? now : 1 + rng_below(rng, shape->values ? shape->values : value);
}

/* The next step of a call; whether it is the last. `step` is how many there were. */
static bool take_step(const struct shape *shape, struct plain_map *map, struct history_event *e, unsigned step)
{
    if (e->operation != H_CLEAR || !shape->split_clears) {
        perform(map, e);
        return true;
    }
    map->value[step] = 0;
    return step + 1 == shape->keys;
}

/* Executes shape->count calls of random threads, each with its instant somewhere between call and return. */
static void generate(struct shape shape, struct rng *rng, struct history_event *events)
{
    struct plain_map map = {{0}};
    struct history_event *in_call[HISTORY_THREADS] = {NULL};
    bool done[HISTORY_THREADS] = {false};
    unsigned steps[HISTORY_THREADS] = {0};
    uint64_t last[HISTORY_THREADS] = {0}, time = 1;
    size_t started = 0, busy = 0;
    shape.next_value = MUTATE_UNIQUE;
    while (started < shape.count || busy > 0) {
        unsigned t = (unsigned)rng_below(rng, shape.threads);
        time += rng_below(rng, 3);
        struct history_event *e = in_call[t];
        if (e && e->operation == H_CLEAR && shape.split_clears && rng_below(rng, 8) != 0) continue;
        if (!e && started < shape.count) {
            if (time == last[t]) time++;
            e = in_call[t] = &events[started++];
            draw_event(&shape, &map, rng, e);
            e->thread = (uint16_t)t;
            e->begin = time;
            steps[t] = 0;
            busy++;
        } else if (e && !done[t]) {
            done[t] = take_step(&shape, &map, e, steps[t]++);
        } else if (e) {
            e->end = last[t] = time;
            in_call[t] = NULL;
            done[t] = false;
            busy--;
        }
    }
}

enum { LONGEST = 400 };

static void expect(const struct history_event *events, size_t count, bool whole, bool linearizable, const char *what)
{
    struct history_verdict verdict = whole ? history_check(events, count) : history_check_by_key(events, count);
    if (verdict.linearizable == linearizable) return;
    for (size_t i = 0; i < count; i++) {
        char text[256];
        history_text(&events[i], text, sizeof text);
        fprintf(stderr, "%3zu %s\n", i, text);
    }
    fprintf(stderr, "%s, %s: %s\n", what, whole ? "whole" : "by key", verdict.why);
    CHECK(!"the verdict is what was to be expected");
}

static uint64_t scaled(uint64_t usual)
{
    uint64_t count = usual * test_env("HISTORIES", 100) / 100 / TEST_SCALE;
    return count ? count : 1;
}

static uint64_t applied[MUTATIONS];

/* What really happened is accepted, and what cannot have happened is not. */
static void test_random(void **state)
{
    (void)state;
    static struct history_event events[LONGEST], wrong[LONGEST];
    uint64_t histories = scaled(4000), total = 0;
    harness_note("random");
    for (uint64_t i = 0; i < histories; i++) {
        struct rng rng = rng_make(test_seed(), i);
        struct shape shape = {.threads = 1 + (unsigned)rng_below(&rng, 8),
                              .keys = 1 + (unsigned)rng_below(&rng, 3),
                              .clear_one_in = rng_below(&rng, 2) == 0 ? UINT32_MAX : 20,
                              .values = rng_below(&rng, 4) == 0 ? 3 : 0,
                              .count = 1 + rng_below(&rng, LONGEST)};
        generate(shape, &rng, events);
        total += shape.count;
        expect(events, shape.count, false, true, "what happened");
        expect(events, shape.count, true, true, "what happened");
        for (int kind = 0; kind < MUTATIONS && shape.values == 0; kind++) {
            memcpy(wrong, events, shape.count * sizeof *events);
            if (!history_mutate((enum mutation)kind, wrong, shape.count, &rng)) continue;
            applied[kind]++;
            expect(wrong, shape.count, false, false, mutation_names[kind]);
            expect(wrong, shape.count, true, false, mutation_names[kind]);
        }
    }
    printf("random: %llu histories, %llu events, all accepted; all refused:", (unsigned long long)histories,
           (unsigned long long)total);
    for (int kind = 0; kind < MUTATIONS; kind++) {
        printf(" %s %llu%s", mutation_names[kind], (unsigned long long)applied[kind], kind + 1 < MUTATIONS ? "," : "\n");
        CHECK(applied[kind] > histories / 8);
    }
}

/* ---- all orders ---- */

enum { SMALLEST = 7 }; /* 5040 orders */

static bool same_answer(const struct history_event *a, const struct history_event *b)
{
    return a->result == b->result && a->out == b->out;
}

/* Whether the events of `left` can follow in some order, from this state. */
static bool some_order(const struct history_event *events, size_t count, unsigned left, struct plain_map map)
{
    if (left == 0) return true;
    for (size_t i = 0; i < count; i++) {
        bool first = left >> i & 1;
        for (size_t j = 0; j < count; j++) {
            if ((left >> j & 1) && events[j].end < events[i].begin) first = false;
        }
        if (!first) continue;
        struct plain_map after = map;
        struct history_event e = events[i];
        perform(&after, &e);
        if (same_answer(&e, &events[i]) && some_order(events, count, left & ~(1u << i), after)) return true;
    }
    return false;
}

static bool brute_force(const struct history_event *events, size_t count)
{
    return some_order(events, count, (1u << count) - 1, (struct plain_map){{0}});
}

static bool brute_force_by_key(const struct history_event *events, size_t count)
{
    for (unsigned key = 0; key < HISTORY_KEYS; key++) {
        struct history_event some[SMALLEST];
        size_t n = 0;
        for (size_t i = 0; i < count; i++) {
            if (events[i].operation == H_CLEAR || events[i].key == key) some[n++] = events[i];
        }
        if (!brute_force(some, n)) return false;
    }
    return true;
}

/* Changes something about one event: what it gave, what it was given, or when it was. */
static void corrupt(struct history_event *events, size_t count, const struct shape *shape, struct rng *rng)
{
    struct history_event *e = &events[rng_below(rng, count)];
    switch (rng_below(rng, 5)) {
    case 0:
        if (e->operation == H_CLEAR) break;
        e->result = !e->result;
        if (e->out != HISTORY_UNASKED &&
            (e->operation == H_LOAD || e->operation == H_LOAD_AND_DELETE || e->operation == H_SWAP))
            e->out = e->result ? 1 + rng_below(rng, shape->values) : 0;
        break;
    case 1:
        if (e->out != 0 && e->out != HISTORY_UNASKED) e->out = 1 + rng_below(rng, shape->values);
        break;
    case 2:
        if (e->value != 0) e->value = 1 + rng_below(rng, shape->values);
        break;
    case 3:
        if (e->operation != H_CLEAR) e->key = (uint8_t)rng_below(rng, shape->keys);
        break;
    default: /* another time, so another thread */
        e->thread = (uint16_t)(HISTORY_THREADS - 1 - (e - events));
        e->begin = 1 + rng_below(rng, 20);
        e->end = e->begin + rng_below(rng, 8);
        break;
    }
}

static void test_brute_force(void **state)
{
    (void)state;
    uint64_t counts[2][2] = {{0}}; /* by whether the whole, and each key, is linearizable */
    uint64_t histories = scaled(200000);
    harness_note("against all orders");
    for (uint64_t i = 0; i < histories; i++) {
        struct history_event events[SMALLEST];
        struct rng rng = rng_make(test_seed(), UINT64_C(1) << 32 | i);
        struct shape shape = {.threads = 1 + (unsigned)rng_below(&rng, 5),
                              .keys = 1 + (unsigned)rng_below(&rng, 3),
                              .clear_one_in = 2 + (unsigned)rng_below(&rng, 10),
                              .values = 2 + rng_below(&rng, 4),
                              .count = 1 + rng_below(&rng, SMALLEST)};
        if (rng_below(&rng, 2) == 0) {
            shape.split_clears = true;
            shape.threads = 2;
            shape.keys = 2;
            shape.count = SMALLEST;
        }
        generate(shape, &rng, events);
        for (uint64_t corruptions = rng_below(&rng, shape.split_clears ? 2 : 4); corruptions > 0; corruptions--)
            corrupt(events, shape.count, &shape, &rng);
        bool whole = brute_force(events, shape.count), by_key = brute_force_by_key(events, shape.count);
        expect(events, shape.count, true, whole, "all orders");
        expect(events, shape.count, false, by_key, "all orders");
        CHECK(by_key || !whole);
        counts[whole][by_key]++;
    }
    printf("against all orders: %llu histories: %llu linearizable, %llu not, %llu by key only\n",
           (unsigned long long)histories, (unsigned long long)counts[1][1], (unsigned long long)counts[0][0],
           (unsigned long long)counts[0][1]);
    CHECK(counts[1][1] > histories / 5 && counts[0][0] > histories / 10 && counts[0][1] > histories / 2000);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequential), cmocka_unit_test(test_overlapping), cmocka_unit_test(test_across),
        cmocka_unit_test(test_malformed),  cmocka_unit_test(test_first),       cmocka_unit_test(test_random),
        cmocka_unit_test(test_brute_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
