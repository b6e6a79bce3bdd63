/* SPDX-License-Identifier: MIT
 *
 * A thread that does everything to one map at random, and checks what it gets as it goes.
 */
#ifndef SYNCMAP_TEST_WORKER_H
#define SYNCMAP_TEST_WORKER_H

#include <sched.h>
#include <string.h>

#include "stress.h"

enum {
    MAX_THREADS = 64,
    MAX_KEYS = 1024,
    SMALL_KEYS = 12, /* few enough for threads to meet on one */
    HELD = 24,
    ACTIONS = 12,                /* of act_at_random() */
    DOING_BARRIER = ACTIONS + 1 /* what worker.doing says in a barrier */
};

/* One map and what its threads have in common. */
struct scene {
    struct bed bed;
    uint64_t first, keys; /* act_at_random() works on keys first ... keys - 1 */
    bool clears;   /* clear is in the mix */
    bool balanced; /* whatever leaves the map is asked for, so that `sum` is exact */
    uint64_t end;  /* by now_us() */
    atomic_ullong streams;
    atomic_ullong actions, lives, cleared;
    atomic_llong balance[MAX_KEYS]; /* of each key: how many times it was inserted less deleted */
    atomic_ullong sum[MAX_KEYS];    /* of each key: fingerprints of the values put in less taken out */
};

struct worker {
    struct scene *scene;
    syncmap *map;
    enum ownership ownership;
    struct rng rng;
    bool pinned;
    unsigned ranging; /* nested ranges */
    atomic_uint *doing; /* unless NULL, says what the thread is in: the number of an action + 1, or 0 */
    size_t held_count;
    struct {
        void *value;
        uint64_t index;
    } held[HELD];
};

static inline void worker_init(struct worker *w, struct scene *scene)
{
    *w = (struct worker){.scene = scene, .map = scene->bed.map, .ownership = scene->bed.ownership};
    w->rng = rng_make(test_seed(), atomic_fetch_add(&scene->streams, 1));
}

/* What `doing` says, for as long as an action lasts; in a visit it is the range's again after. */
static inline unsigned begin_doing(struct worker *w, unsigned what)
{
    return w->doing != NULL ? atomic_exchange_explicit(w->doing, what, memory_order_relaxed) : 0;
}

static inline void end_doing(struct worker *w, unsigned before)
{
    if (w->doing != NULL) atomic_store_explicit(w->doing, before, memory_order_relaxed);
}

static inline bool one_in(struct worker *w, uint64_t n)
{
    return rng_below(&w->rng, n) == 0;
}

/* ---- values ---- */

static inline void *make(struct worker *w, uint64_t index)
{
    return one_in(w, 16) ? NULL : item_make(w->ownership, index, rng_next(&w->rng));
}

/* A number for each value, to be summed. Of a value that may be freed any moment: before it is given away. */
static inline uint64_t fingerprint(enum ownership ownership, const void *value)
{
    if (value == NULL) return UINT64_C(0x9e3779b97f4a7c15);
    return ownership == PLAIN ? word_number(value) : ((const struct value *)value)->serial + 1;
}

static inline void account_put(struct worker *w, uint64_t index, uint64_t mark)
{
    atomic_fetch_add(&w->scene->sum[index], mark);
}

static inline void account_taken(struct worker *w, uint64_t index, uint64_t mark)
{
    atomic_fetch_sub(&w->scene->sum[index], mark);
}

static inline void account_keys(struct worker *w, uint64_t index, int change)
{
    atomic_fetch_add(&w->scene->balance[index], change);
}

/* Whether this thread may have a value handed out: a debug build aborts where nothing would protect it. */
static inline bool may_look(const struct worker *w)
{
    return w->pinned || w->ranging > 0 || w->ownership != OWNED;
}

/* The map has handed out `value`: it must be one of the key, now and for as long as the thread has a right to it. */
static inline void handed(struct worker *w, uint64_t index, void *value)
{
    item_check(w->ownership, value, index);
    bool may_hold = w->pinned || w->ownership == ACQUIRED;
    if (value == NULL || !may_hold || w->held_count == HELD) {
        handed_done(w->ownership, value);
        return;
    }
    w->held[w->held_count].value = value;
    w->held[w->held_count++].index = index;
}

static inline void let_go(struct worker *w)
{
    for (size_t i = 0; i < w->held_count; i++) {
        item_check(w->ownership, w->held[i].value, w->held[i].index);
        handed_done(w->ownership, w->held[i].value);
    }
    w->held_count = 0;
}

/* Equal is what has the same parity: so that values other than the very one that was loaded are replaced. */
static inline bool equal_parity(const void *stored, const void *expected, void *context)
{
    (void)context;
    const struct value *one = stored, *other = expected;
    value_check(one, other->key_index);
    return (one->serial - other->serial) % 2 == 0;
}

/* ---- what a thread may do ---- */

static inline void act_load(struct worker *w, uint64_t index)
{
    void *value = NULL;
    int result = syncmap_load(w->map, KEY(&w->scene->bed, index), may_look(w) ? &value : NULL);
    CHECK(result == 1 || (result == 0 && value == NULL));
    handed(w, index, value);
}

static inline void act_swap(struct worker *w, uint64_t index)
{
    void *value = make(w, index), *previous = NULL;
    uint64_t mark = fingerprint(w->ownership, value);
    int result = syncmap_swap(w->map, KEY(&w->scene->bed, index), value, &previous);
    CHECK(result == 1 || (result == 0 && previous == NULL));
    account_put(w, index, mark);
    if (result == 0)
        account_keys(w, index, 1);
    else
        account_taken(w, index, fingerprint(w->ownership, previous));
    item_check(w->ownership, previous, index);
    previous_done(w->ownership, previous);
}

static inline void act_store(struct worker *w, uint64_t index)
{
    if (w->scene->balanced) {
        act_swap(w, index);
        return;
    }
    int result = syncmap_store(w->map, KEY(&w->scene->bed, index), make(w, index));
    CHECK(result == 1 || result == 0);
    if (result == 0) account_keys(w, index, 1);
}

static inline void act_load_or_store(struct worker *w, uint64_t index)
{
    void *value = make(w, index), *actual = NULL;
    uint64_t mark = fingerprint(w->ownership, value);
    void **out = may_look(w) ? &actual : NULL;
    int result = rng_next(&w->rng) % 2 == 0 ? syncmap_load_or_store(w->map, KEY(&w->scene->bed, index), value, out)
                                            : computed_load_or_store(w->map, KEY(&w->scene->bed, index), value, out, w->ownership);
    CHECK(result == 1 || result == 0);
    if (result == 0) {
        CHECK(!may_look(w) || actual == value);
        account_put(w, index, mark);
        account_keys(w, index, 1);
    } else {
        refused_done(w->ownership, value);
    }
    handed(w, index, actual);
}

static inline void act_load_and_delete(struct worker *w, uint64_t index)
{
    void *previous = NULL;
    int result = syncmap_load_and_delete(w->map, KEY(&w->scene->bed, index), &previous);
    CHECK(result == 1 || (result == 0 && previous == NULL));
    if (result == 0) return;
    account_taken(w, index, fingerprint(w->ownership, previous));
    account_keys(w, index, -1);
    item_check(w->ownership, previous, index);
    previous_done(w->ownership, previous);
}

static inline void act_delete(struct worker *w, uint64_t index)
{
    if (w->scene->balanced) {
        act_load_and_delete(w, index);
        return;
    }
    int result = syncmap_delete(w->map, KEY(&w->scene->bed, index));
    CHECK(result == 1 || result == 0);
    if (result == 1) account_keys(w, index, -1);
}

/* What a compare_and_... expects: mostly what the key has, else a value that no key ever had. */
struct guess {
    void *value;
    bool loaded;
};

static inline struct guess guess(struct worker *w, uint64_t index)
{
    void *value = NULL;
    if (may_look(w) && !one_in(w, 8) && syncmap_load(w->map, KEY(&w->scene->bed, index), &value) == 1)
        return (struct guess){value, true};
    return (struct guess){make(w, index), false};
}

static inline void guess_done(struct worker *w, uint64_t index, struct guess guess)
{
    if (guess.loaded)
        handed(w, index, guess.value);
    else
        refused_done(w->ownership, guess.value);
}

static inline void act_compare_and_swap(struct worker *w, uint64_t index)
{
    struct guess expected = guess(w, index);
    void *desired = make(w, index);
    uint64_t out = fingerprint(w->ownership, expected.value), in = fingerprint(w->ownership, desired);
    if (one_in(w, 4)) sched_yield(); /* so that it is overtaken more often */
    int result = syncmap_compare_and_swap(w->map, KEY(&w->scene->bed, index), expected.value, desired);
    CHECK(result == 1 || result == 0);
    if (result == 1) {
        account_taken(w, index, out);
        account_put(w, index, in);
    } else {
        refused_done(w->ownership, desired);
    }
    guess_done(w, index, expected);
}

static inline void act_compare_and_delete(struct worker *w, uint64_t index)
{
    struct guess expected = guess(w, index);
    uint64_t out = fingerprint(w->ownership, expected.value);
    int result = syncmap_compare_and_delete(w->map, KEY(&w->scene->bed, index), expected.value);
    CHECK(result == 1 || result == 0);
    if (result == 1) {
        account_taken(w, index, out);
        account_keys(w, index, -1);
    }
    guess_done(w, index, expected);
}

static inline void act_clear(struct worker *w, uint64_t index)
{
    if (!w->scene->clears || !one_in(w, 16)) {
        act_load(w, index);
        return;
    }
    CHECK(syncmap_clear(w->map) == 0);
    atomic_fetch_add(&w->scene->cleared, 1);
}

static inline void act_retire(struct worker *w, uint64_t index)
{
    CHECK(syncmap_retire(value_make(index), value_release) == 0);
    if (!one_in(w, 50)) return;
    unsigned before = begin_doing(w, DOING_BARRIER);
    syncmap_barrier(); /* under a pin it does nothing */
    end_doing(w, before);
}

static inline void act_len(struct worker *w, uint64_t index)
{
    (void)index;
    CHECK(syncmap_len(w->map) <= SIZE_MAX / 2);
}

static inline void act_range(struct worker *w, uint64_t index);

static const struct {
    void (*act)(struct worker *w, uint64_t index);
    unsigned weight;
    const char *name;
} actions[] = {
    {act_load, 32, "load"},
    {act_store, 12, "store"},
    {act_load_or_store, 10, "load_or_store"},
    {act_load_and_delete, 8, "load_and_delete"},
    {act_delete, 6, "delete"},
    {act_swap, 8, "swap"},
    {act_compare_and_swap, 9, "compare_and_swap"},
    {act_compare_and_delete, 6, "compare_and_delete"},
    {act_range, 5, "range"},
    {act_clear, 2, "clear"},
    {act_retire, 1, "retire"},
    {act_len, 1, "len"},
};
enum { ALL_WEIGHTS = 100 };
_Static_assert(sizeof actions / sizeof actions[0] == ACTIONS, "each has a number");

static inline void act_at_random(struct worker *w)
{
    uint64_t index = w->scene->first + rng_below(&w->rng, w->scene->keys - w->scene->first);
    unsigned at = (unsigned)rng_below(&w->rng, ALL_WEIGHTS), i = 0;
    for (; at >= actions[i].weight; i++) at -= actions[i].weight;
    unsigned before = begin_doing(w, i + 1);
    actions[i].act(w, index);
    end_doing(w, before);
}

/* ---- range, with whatever comes to mind inside ---- */

struct visit {
    struct worker *w;
    uint64_t left; /* visits until it stops the range */
    bool seen[MAX_KEYS];
};

static inline bool visit_key(syncmap_key key, void *value, void *context)
{
    struct visit *visit = context;
    struct worker *w = visit->w;
    uint64_t index = config_key_index(w->scene->bed.config, key);
    CHECK(index < w->scene->keys);
    CHECK(!visit->seen[index]);
    visit->seen[index] = true;
    if (w->ranging < 3 && one_in(w, 32)) act_at_random(w);
    CHECK(config_key_index(w->scene->bed.config, key) == index);
    handed(w, index, value);
    return --visit->left > 0;
}

static inline void act_range(struct worker *w, uint64_t index)
{
    /* As rare as the range is long, or nothing else would get a turn. */
    if (w->ranging == 2 || rng_below(&w->rng, w->scene->keys) >= SMALL_KEYS) {
        act_load(w, index);
        return;
    }
    struct visit visit = {.w = w, .left = one_in(w, 4) ? 1 + index : UINT64_MAX};
    w->ranging++;
    int result = syncmap_range(w->map, visit_key, &visit);
    w->ranging--;
    CHECK(result == (visit.left > 0));
}

/* ---- a life ---- */

static inline void linger(struct worker *w)
{
    if (one_in(w, 16)) sched_yield();
    if (one_in(w, 256)) sleep_us(10 + rng_below(&w->rng, 200));
}

/* Some actions in a row, mostly under a pin, which may be nested. */
static inline void live_a_while(struct worker *w)
{
    unsigned pins = one_in(w, 4) ? 0 : 1 + one_in(w, 8);
    for (unsigned i = 0; i < pins; i++) syncmap_pin();
    w->pinned = pins > 0;
    uint64_t actions_left = 1 + rng_below(&w->rng, 40);
    atomic_fetch_add(&w->scene->actions, actions_left);
    while (actions_left-- > 0) act_at_random(w);
    linger(w);
    let_go(w);
    for (unsigned i = 0; i < pins; i++) syncmap_unpin();
    w->pinned = false;
}

static inline void live_once(struct scene *scene, bool to_the_end)
{
    struct worker w;
    worker_init(&w, scene);
    atomic_fetch_add(&scene->lives, 1);
    uint64_t turns = to_the_end ? UINT64_MAX : 1 + rng_below(&w.rng, 100);
    while (turns-- > 0 && now_us() < scene->end) live_a_while(&w);
    if (one_in(&w, 2)) {
        syncmap_pin(); /* a thread that exits is unpinned */
        act_load(&w, 0);
        let_go(&w);
    }
}

static inline bool count_visit(syncmap_key key, void *value, void *context)
{
    struct worker *w = context;
    item_check(w->ownership, value, config_key_index(w->scene->bed.config, key));
    handed_done(w->ownership, value);
    w->held_count++;
    return true;
}

/* When all threads are gone. Keys below `first` are not accounted. */
static inline void check_sums(struct scene *scene)
{
    struct worker w;
    worker_init(&w, scene);
    size_t present = 0;
    syncmap_pin();
    for (uint64_t index = 0; index < scene->keys; index++) {
        void *value = NULL;
        int result = syncmap_load(w.map, KEY(&scene->bed, index), &value);
        bool accounted = index >= scene->first;
        long long balance = atomic_load(&scene->balance[index]);
        CHECK(!accounted || (scene->clears ? balance >= result : balance == result));
        item_check(w.ownership, value, index);
        uint64_t left = result == 1 ? fingerprint(w.ownership, value) : 0;
        CHECK(!accounted || !scene->balanced || atomic_load(&scene->sum[index]) == left);
        handed_done(w.ownership, value);
        present += (size_t)result;
    }
    syncmap_unpin();
    CHECK(syncmap_range(w.map, count_visit, &w) == 1);
    CHECK(w.held_count == present);
    CHECK(syncmap_len(w.map) == present);
}

#endif
