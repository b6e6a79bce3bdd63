/* SPDX-License-Identifier: MIT
 *
 * A thread with keys of its own: it alone writes them, so each result is known exactly, whatever the others do to the map.
 * The first STABLE keys are nobody's, and never deleted; the next OWN are those of number 0, and so on.
 */
#ifndef SYNCMAP_TEST_OWNER_H
#define SYNCMAP_TEST_OWNER_H

#include "worker.h"

enum { STABLE = 8, OWN = 6 };

/* What the owner of a key knows of it. */
struct known {
    int present;
    uint64_t mark;
};

struct owner {
    struct worker w;
    size_t number;
    struct known *known; /* OWN of them */
    bool seen[MAX_KEYS];
};

static inline uint64_t own_index(const struct owner *o, size_t i)
{
    return STABLE + o->number * OWN + i;
}

/* `value` was handed out and `result` says that there was one: just what the owner knows. */
static inline void check_known(const struct owner *o, const struct known *known, int result, const void *value)
{
    CHECK(result == known->present);
    if (result == 1) CHECK(fingerprint(o->w.ownership, value) == known->mark);
}

static inline void own_swap(struct owner *o, struct known *known, uint64_t index)
{
    void *value = make(&o->w, index), *previous = NULL;
    struct known next = {1, fingerprint(o->w.ownership, value)};
    int result = syncmap_swap(o->w.map, KEY(&o->w.scene->bed, index), value, &previous);
    check_known(o, known, result, previous);
    previous_done(o->w.ownership, previous);
    *known = next;
}

static inline void own_store(struct owner *o, struct known *known, uint64_t index)
{
    void *value = make(&o->w, index);
    struct known next = {1, fingerprint(o->w.ownership, value)};
    CHECK(syncmap_store(o->w.map, KEY(&o->w.scene->bed, index), value) == known->present);
    *known = next;
}

static inline void own_load_or_store(struct owner *o, struct known *known, uint64_t index)
{
    void *value = make(&o->w, index), *actual = NULL;
    if (!known->present) known->mark = fingerprint(o->w.ownership, value);
    int result = rng_next(&o->w.rng) % 2 == 0 ? syncmap_load_or_store(o->w.map, KEY(&o->w.scene->bed, index), value, &actual)
                                              : computed_load_or_store(o->w.map, KEY(&o->w.scene->bed, index), value, &actual, o->w.ownership);
    CHECK(result == known->present);
    if (result == 1) refused_done(o->w.ownership, value);
    known->present = 1;
    check_known(o, known, 1, actual);
    handed(&o->w, index, actual);
}

static inline void own_load_and_delete(struct owner *o, struct known *known, uint64_t index)
{
    void *previous = NULL;
    int result = syncmap_load_and_delete(o->w.map, KEY(&o->w.scene->bed, index), &previous);
    check_known(o, known, result, previous);
    previous_done(o->w.ownership, previous);
    known->present = 0;
}

static inline void own_delete(struct owner *o, struct known *known, uint64_t index)
{
    CHECK(syncmap_delete(o->w.map, KEY(&o->w.scene->bed, index)) == known->present);
    known->present = 0;
}

static inline void own_load(struct owner *o, struct known *known, uint64_t index)
{
    void *value = NULL;
    int result = syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &value);
    check_known(o, known, result, value);
    handed(&o->w, index, value);
}

/* Nobody else writes the key, so what was loaded just now must be found. */
static inline void own_compare_and_swap(struct owner *o, struct known *known, uint64_t index)
{
    void *expected = NULL, *desired = make(&o->w, index);
    struct known next = {known->present, fingerprint(o->w.ownership, desired)};
    int result = syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &expected);
    check_known(o, known, result, expected);
    result = syncmap_compare_and_swap(o->w.map, KEY(&o->w.scene->bed, index), expected, desired);
    CHECK(result == known->present);
    if (result == 0) refused_done(o->w.ownership, desired);
    handed(&o->w, index, expected);
    *known = next;
}

static inline void own_compare_and_delete(struct owner *o, struct known *known, uint64_t index)
{
    void *expected = NULL;
    int result = syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &expected);
    check_known(o, known, result, expected);
    result = syncmap_compare_and_delete(o->w.map, KEY(&o->w.scene->bed, index), expected);
    CHECK(result == known->present);
    handed(&o->w, index, expected);
    known->present = 0;
}

static inline bool visit_own(syncmap_key key, void *value, void *context)
{
    struct owner *o = context;
    uint64_t index = config_key_index(o->w.scene->bed.config, key), first = own_index(o, 0);
    CHECK(index < o->w.scene->keys);
    CHECK(!o->seen[index]);
    o->seen[index] = true;
    if (index >= first && index - first < OWN) check_known(o, &o->known[index - first], 1, value);
    handed(&o->w, index, value);
    return true;
}

/* Keys that are there all the while are seen once, keys that are not, not; the others' may or may not. */
static inline void own_range(struct owner *o)
{
    memset(o->seen, 0, sizeof o->seen);
    CHECK(syncmap_range(o->w.map, visit_own, o) == 1);
    for (size_t i = 0; i < STABLE; i++) CHECK(o->seen[i]);
    for (size_t i = 0; i < OWN; i++) CHECK(o->seen[own_index(o, i)] == o->known[i].present);
    size_t len = syncmap_len(o->w.map), off = 2 * MAX_THREADS;
    CHECK(len + off >= STABLE && len <= o->w.scene->keys + off);
}

static inline void stable_step(struct owner *o)
{
    uint64_t index = rng_below(&o->w.rng, STABLE);
    void *value = NULL;
    if (one_in(&o->w, 2)) {
        CHECK(syncmap_load(o->w.map, KEY(&o->w.scene->bed, index), &value) == 1);
        handed(&o->w, index, value);
    } else {
        CHECK(syncmap_swap(o->w.map, KEY(&o->w.scene->bed, index), make(&o->w, index), &value) == 1);
        item_check(o->w.ownership, value, index);
        previous_done(o->w.ownership, value);
    }
}

static inline void own_step(struct owner *o)
{
    static void (*const steps[])(struct owner *o, struct known *known, uint64_t index) = {
        own_swap, own_store, own_load_or_store, own_load_and_delete, own_delete, own_load, own_load, own_compare_and_swap,
        own_compare_and_delete};
    uint64_t what = rng_below(&o->w.rng, 32);
    size_t i = rng_below(&o->w.rng, OWN);
    if (what == 0)
        own_range(o);
    else if (what < 4)
        act_load(&o->w, rng_below(&o->w.rng, o->w.scene->keys)); /* somebody else's */
    else if (what < 8)
        stable_step(o);
    else
        steps[rng_below(&o->w.rng, sizeof steps / sizeof steps[0])](o, &o->known[i], own_index(o, i));
}

#endif
