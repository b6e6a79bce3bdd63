/* SPDX-License-Identifier: MIT
 *
 * What a thread does to the map, and how each call becomes an event (player.h).
 */
#include "history/player.h"

#include "stress/stress.h"

static bool one_in(struct player *p, uint64_t n)
{
    return rng_below(&p->rng, n) == 0;
}

/* ---- values and their numbers: NULL is 1, others are unique from 2 on ---- */

static uint64_t number_of(const struct player *p, const void *value, uint64_t key)
{
    item_check(p->game->bed.ownership, value, key);
    if (value == NULL) return 1;
    return p->game->bed.ownership == PLAIN ? word_number(value) : ((const struct value *)value)->serial + 2;
}

static void *make(struct player *p, uint64_t key, uint64_t *number)
{
    void *value = NULL;
    if (!one_in(p, 16)) value = item_make(p->game->bed.ownership, key, 2 + ((uint64_t)p->number << 20) + p->made++);
    *number = number_of(p, value, key);
    return value;
}

/* Whether a value may be handed out here: a debug build aborts where nothing would protect it. */
static bool may_look(const struct player *p)
{
    return p->pinned || p->game->bed.ownership != OWNED;
}

/* Keeps what was handed out, to expect it later. */
static void see(struct player *p, uint8_t key, void *value, uint64_t number)
{
    handed_done(p->game->bed.ownership, p->seen[key].value);
    p->seen[key].value = value;
    p->seen[key].number = number;
}

static void forget(struct player *p)
{
    for (uint8_t key = 0; key < HISTORY_KEYS; key++) see(p, key, NULL, 0);
}

/* ---- the operations, recorded ---- */

#define CALL(p, e, call)                                          \
    do {                                                          \
        (e).begin = recorder_before(&(p)->recorder);              \
        int called = (call);                                      \
        (e).end = recorder_after(&(p)->recorder);                 \
        CHECK(called == 0 || called == 1);                        \
        (e).result = (int8_t)called;                              \
    } while (0)

static struct history_event event(const struct player *p, enum history_operation operation, uint8_t key)
{
    return (struct history_event){.thread = p->number, .operation = (uint8_t)operation, .key = key};
}

static void do_load(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_LOAD, key);
    syncmap_key k = KEY(&p->game->bed, key);
    void *value = NULL;
    bool ask = may_look(p) && !one_in(p, 16);
    CALL(p, e, syncmap_load(p->game->bed.map, k, ask ? &value : NULL));
    CHECK(e.result == 1 || value == NULL);
    e.out = !ask ? HISTORY_UNASKED : e.result == 1 ? number_of(p, value, key) : 0;
    see(p, key, value, ask ? e.out : 0);
    recorder_add(&p->recorder, e);
}

static void do_store(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_STORE, key);
    syncmap_key k = KEY(&p->game->bed, key);
    void *value = make(p, key, &e.value);
    CALL(p, e, syncmap_store(p->game->bed.map, k, value));
    recorder_add(&p->recorder, e);
}

static void do_load_or_store(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_LOAD_OR_STORE, key);
    syncmap_key k = KEY(&p->game->bed, key);
    void *value = make(p, key, &e.value), *actual = NULL;
    bool ask = may_look(p) && !one_in(p, 16);
    bool computed = one_in(p, 2);
    CALL(p, e, computed ? computed_load_or_store(p->game->bed.map, k, value, ask ? &actual : NULL, p->game->bed.ownership)
                        : syncmap_load_or_store(p->game->bed.map, k, value, ask ? &actual : NULL));
    e.out = ask ? number_of(p, actual, key) : HISTORY_UNASKED;
    if (e.result == 1) refused_done(p->game->bed.ownership, value);
    see(p, key, actual, ask ? e.out : 0);
    recorder_add(&p->recorder, e);
}

static void do_load_and_delete(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_LOAD_AND_DELETE, key);
    syncmap_key k = KEY(&p->game->bed, key);
    void *previous = NULL;
    bool ask = !one_in(p, 16);
    CALL(p, e, syncmap_load_and_delete(p->game->bed.map, k, ask ? &previous : NULL));
    CHECK(e.result == 1 || previous == NULL);
    e.out = !ask ? HISTORY_UNASKED : e.result == 1 ? number_of(p, previous, key) : 0;
    previous_done(p->game->bed.ownership, previous);
    recorder_add(&p->recorder, e);
}

static void do_delete(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_DELETE, key);
    syncmap_key k = KEY(&p->game->bed, key);
    CALL(p, e, syncmap_delete(p->game->bed.map, k));
    recorder_add(&p->recorder, e);
}

static void do_swap(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_SWAP, key);
    syncmap_key k = KEY(&p->game->bed, key);
    void *value = make(p, key, &e.value), *previous = NULL;
    bool ask = !one_in(p, 16);
    CALL(p, e, syncmap_swap(p->game->bed.map, k, value, ask ? &previous : NULL));
    CHECK(e.result == 1 || previous == NULL);
    e.out = !ask ? HISTORY_UNASKED : e.result == 1 ? number_of(p, previous, key) : 0;
    previous_done(p->game->bed.ownership, previous);
    recorder_add(&p->recorder, e);
}

/* What a compare_and_... expects: mostly what this thread saw last. False: it may not look, or saw nothing. */
static bool expect(struct player *p, uint8_t key, void **value, uint64_t *number)
{
    *value = NULL;
    *number = 1;
    if (one_in(p, 8)) return true;
    if (!may_look(p)) return false;
    if (p->seen[key].number == 0 || one_in(p, 4)) do_load(p, key);
    *value = p->seen[key].value;
    *number = p->seen[key].number;
    return *number != 0;
}

static void do_compare_and_swap(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_COMPARE_AND_SWAP, key);
    syncmap_key k = KEY(&p->game->bed, key);
    void *expected;
    if (!expect(p, key, &expected, &e.expected)) return;
    void *desired = make(p, key, &e.value);
    CALL(p, e, syncmap_compare_and_swap(p->game->bed.map, k, expected, desired));
    if (e.result == 0) refused_done(p->game->bed.ownership, desired);
    recorder_add(&p->recorder, e);
}

static void do_compare_and_delete(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_COMPARE_AND_DELETE, key);
    syncmap_key k = KEY(&p->game->bed, key);
    void *expected;
    if (!expect(p, key, &expected, &e.expected)) return;
    CALL(p, e, syncmap_compare_and_delete(p->game->bed.map, k, expected));
    recorder_add(&p->recorder, e);
}

static void do_clear(struct player *p, uint8_t key)
{
    struct history_event e = event(p, H_CLEAR, 0);
    (void)key;
    CALL(p, e, syncmap_clear(p->game->bed.map));
    CHECK(e.result == 0);
    recorder_add(&p->recorder, e);
}

/* ---- range: several events at once, each of a thread of its own as far as the checker knows ---- */

static void act(struct player *p, unsigned actions);

struct visit {
    struct player *p;
    uint64_t left; /* visits until it stops the range */
    struct history_event seen[HISTORY_KEYS]; /* end 0: not visited */
};

static bool visit_key(syncmap_key key, void *value, void *context)
{
    struct visit *visit = context;
    struct player *p = visit->p;
    uint64_t index = config_key_index(p->game->bed.config, key);
    uint64_t now = recorder_after(&p->recorder);
    CHECK(index < HISTORY_KEYS);
    struct history_event *e = &visit->seen[index];
    CHECK(e->end == 0); /* no key is visited twice */
    e->end = now;
    e->result = 1;
    e->out = number_of(p, value, index);
    handed_done(p->game->bed.ownership, value);
    if (one_in(p, 4)) act(p, A_RANGE);
    return --visit->left > 0;
}

/* What a visit saw, the key had at some moment between the call of range and the visit. A key that is not visited was not
 * there at some moment of the call, unless the range was stopped. */
static void do_range(struct player *p, uint8_t key)
{
    struct visit visit = {.p = p, .left = one_in(p, 4) ? UINT64_C(1) + key : UINT64_MAX};
    uint64_t begin = recorder_before(&p->recorder);
    p->depth++;
    int result = syncmap_range(p->game->bed.map, visit_key, &visit);
    p->depth--;
    uint64_t end = recorder_after(&p->recorder);
    CHECK(result == (visit.left > 0));
    for (uint8_t k = 0; k < p->game->keys; k++) {
        struct history_event *e = &visit.seen[k];
        if (e->end == 0) {
            if (result == 0) continue;
            e->end = end;
        }
        e->begin = begin;
        e->key = k;
        e->operation = H_LOAD;
        e->thread = (uint16_t)(p->game->threads + p->number * p->game->keys + k);
        CHECK(e->thread < HISTORY_THREADS);
        recorder_add(&p->recorder, *e);
    }
}

/* Misses, and keys that come and go: what promotes a dirty table, and builds the next, which expunges. */
static void do_churn(struct player *p, uint8_t key)
{
    uint8_t extra = (uint8_t)(EXTRA_KEY + rng_below(&p->rng, EXTRA_KEYS));
    (void)key;
    switch (rng_below(&p->rng, 4)) {
    case 0:
        do_store(p, extra);
        break;
    case 1:
        do_delete(p, extra);
        break;
    default:
        for (uint64_t misses = 1 + rng_below(&p->rng, 4); misses > 0; misses--) do_load(p, MISSING_KEY);
        break;
    }
}

static void (*const acts[ACTIONS])(struct player *p, uint8_t key) = {
    [H_LOAD] = do_load,
    [H_STORE] = do_store,
    [H_LOAD_OR_STORE] = do_load_or_store,
    [H_LOAD_AND_DELETE] = do_load_and_delete,
    [H_DELETE] = do_delete,
    [H_SWAP] = do_swap,
    [H_COMPARE_AND_SWAP] = do_compare_and_swap,
    [H_COMPARE_AND_DELETE] = do_compare_and_delete,
    [H_CLEAR] = do_clear,
    [A_RANGE] = do_range,
    [A_CHURN] = do_churn,
};

/* One of the first so many actions, by the weights of the mix. */
static void act(struct player *p, unsigned actions)
{
    const unsigned *weight = p->game->mix->weight;
    unsigned all = 0;
    for (unsigned i = 0; i < actions; i++) all += weight[i];
    uint64_t at = rng_below(&p->rng, all);
    unsigned i = 0;
    for (; at >= weight[i]; i++) at -= weight[i];
    acts[i](p, (uint8_t)rng_below(&p->rng, p->game->keys));
}

/* ---- a history ---- */

void player_play(struct player *p)
{
    uint64_t steps = p->game->steps / 3 + rng_below(&p->rng, p->game->steps * 2 / 3 + 1);
    while (steps > 0) {
        uint64_t session = 1 + rng_below(&p->rng, 8);
        p->pinned = !one_in(p, p->game->bed.ownership == OWNED ? 8 : 2);
        if (p->pinned) syncmap_pin();
        for (; session > 0 && steps > 0; session--, steps--) act(p, ACTIONS);
        forget(p);
        if (p->pinned) syncmap_unpin();
        p->pinned = false;
    }
}

static void promote(struct player *p)
{
    for (int misses = HISTORY_KEYS; misses > 0; misses--) do_load(p, MISSING_KEY);
}

void player_prepare(struct player *p)
{
    uint64_t stage = rng_below(&p->rng, 6);
    uint64_t present = rng_below(&p->rng, UINT64_C(1) << p->game->keys);
    uint64_t deleted = rng_below(&p->rng, UINT64_C(1) << p->game->keys);
    if (stage == 0) return; /* empty */
    for (uint8_t key = 0; key < p->game->keys; key++) {
        if (present >> key & 1) do_store(p, key);
    }
    if (stage == 1) return; /* in dirty alone */
    promote(p);
    if (stage == 2) return; /* in read */
    for (uint8_t key = 0; key < p->game->keys; key++) {
        if (deleted >> key & 1) do_delete(p, key);
    }
    if (stage == 3) return; /* deleted, in read */
    do_store(p, EXTRA_KEY); /* expunged, where it was deleted */
    if (stage == 4) return;
    for (uint8_t key = 0; key < p->game->keys; key++) {
        if (one_in(p, 3)) do_store(p, key); /* revived, or new and in dirty alone */
    }
}

size_t player_look(struct player *p)
{
    size_t keys = 0;
    handed_begin(p->game->bed.ownership);
    p->pinned = p->game->bed.ownership == OWNED;
    for (uint8_t key = 0; key < HISTORY_KEYS; key++) {
        if (key >= p->game->keys && key < EXTRA_KEY) continue;
        do_load(p, key);
        keys += p->recorder.events[p->recorder.count - 1].result == 1;
    }
    forget(p);
    handed_end(p->game->bed.ownership);
    p->pinned = false;
    return keys;
}
