/* SPDX-License-Identifier: MIT
 *
 * How each mutation is made, and why it is wrong (mutate.h).
 */
#include "history/mutate.h"

const char *const mutation_names[MUTATIONS] = {
    "lost write",   "missed write", "stale read",  "double delete", "wrong previous",
    "double store", "double swap",  "resurrected", "half a clear"};

struct events {
    struct history_event *e;
    size_t count, start; /* searches start there, and go round */
};

static bool is_unique(uint64_t value)
{
    return value >= MUTATE_UNIQUE && value != HISTORY_UNASKED;
}

/* The unique value that an event put into the map; 0: none. */
static uint64_t put(const struct history_event *e)
{
    bool puts = e->operation == H_STORE || e->operation == H_SWAP ||
                (e->operation == H_LOAD_OR_STORE && e->result == 0) ||
                (e->operation == H_COMPARE_AND_SWAP && e->result == 1);
    return puts && is_unique(e->value) ? e->value : 0;
}

/* The unique value that an event is known to have taken out; 0: none. */
static uint64_t taken(const struct history_event *e)
{
    uint64_t value = 0;
    if (e->result != 1) return 0;
    if (e->operation == H_SWAP || e->operation == H_LOAD_AND_DELETE) value = e->out;
    if (e->operation == H_COMPARE_AND_SWAP || e->operation == H_COMPARE_AND_DELETE) value = e->expected;
    return is_unique(value) ? value : 0;
}

static bool before(const struct history_event *a, const struct history_event *b)
{
    return a->end < b->begin;
}

static bool is_load(const struct history_event *e)
{
    return e->operation == H_LOAD && e->out != HISTORY_UNASKED;
}

static struct history_event *nth(const struct events *all, size_t n)
{
    return &all->e[(all->start + n) % all->count];
}

static const struct history_event *find_put(const struct events *all, uint64_t value)
{
    for (size_t i = 0; i < all->count; i++) {
        if (put(&all->e[i]) == value) return &all->e[i];
    }
    return NULL;
}

static const struct history_event *find_taken(const struct events *all, uint64_t value)
{
    for (size_t i = 0; i < all->count; i++) {
        if (taken(&all->e[i]) == value) return &all->e[i];
    }
    return NULL;
}

/* Whether `value` was in the map all through e: put there before, taken out after. */
static bool stands_throughout(const struct events *all, uint64_t value, const struct history_event *e)
{
    if (!is_unique(value)) return false;
    const struct history_event *first = find_put(all, value), *last = find_taken(all, value);
    return first && last && before(first, e) && before(e, last);
}

static void now_loads(struct history_event *load, uint64_t value)
{
    load->result = 1;
    load->out = value;
}

/* A unique value put on e's key by a call that was over before `then`; 0: none. */
static uint64_t put_before(const struct events *all, uint8_t key, const struct history_event *then)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct history_event *e = nth(all, i);
        if (e->key == key && put(e) != 0 && before(e, then)) return put(e);
    }
    return 0;
}

/* Each tries to make `e` wrong. Why no order can explain it then: */

/* Two take `old`, or one loads it after `write` took it. */
static bool lost_write(const struct events *all, struct history_event *write)
{
    uint64_t old = taken(write), new = put(write);
    bool certain = false;
    if (old == 0 || new == 0) return false;
    for (size_t i = 0; i < all->count; i++) {
        const struct history_event *e = &all->e[i];
        certain |= taken(e) == new || (e->operation == H_LOAD && e->out == new && before(write, e));
    }
    for (size_t i = 0; i < all->count && certain; i++) {
        struct history_event *e = &all->e[i];
        if (e->out == new) e->out = old;
        if (e->expected == new && e->result == 1) e->expected = old;
    }
    return certain;
}

/* The value was there all the time. */
static bool missed_write(const struct events *all, struct history_event *load)
{
    if (!is_load(load) || !stands_throughout(all, load->out, load)) return false;
    load->result = 0;
    load->out = 0;
    return true;
}

/* The value was taken out before, or another was stored since; and it is stored once. */
static bool stale_read(const struct events *all, struct history_event *load)
{
    for (size_t i = 0; i < all->count && is_load(load); i++) {
        const struct history_event *e = nth(all, i);
        if (e->key != load->key || e->operation == H_CLEAR || !before(e, load)) continue;
        uint64_t stale = taken(e);
        if (stale == 0 && put(e) != 0) stale = put_before(all, e->key, e);
        if (stale == 0) continue;
        now_loads(load, stale);
        return true;
    }
    return false;
}

/* Whether some event other than e, on its key, took a value out; that value. */
static uint64_t other_took(const struct events *all, const struct history_event *e, bool by_delete)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct history_event *other = nth(all, i);
        bool deletes = other->operation == H_LOAD_AND_DELETE || other->operation == H_COMPARE_AND_DELETE;
        if (other != e && other->key == e->key && taken(other) != 0 && (deletes || !by_delete)) return taken(other);
    }
    return 0;
}

/* Two take it. */
static bool double_delete(const struct events *all, struct history_event *e)
{
    uint64_t value = e->operation == H_LOAD_AND_DELETE ? other_took(all, e, true) : 0;
    if (value != 0) now_loads(e, value);
    return value != 0;
}

/* Two take it. */
static bool wrong_previous(const struct events *all, struct history_event *e)
{
    uint64_t value = e->operation == H_SWAP ? other_took(all, e, false) : 0;
    if (value != 0) now_loads(e, value);
    return value != 0;
}

/* A value was there all the time. */
static bool double_store(const struct events *all, struct history_event *e)
{
    if (e->operation != H_LOAD_OR_STORE || e->result != 1 || !stands_throughout(all, e->out, e)) return false;
    e->result = 0;
    e->out = e->value;
    return true;
}

/* Two take it. */
static bool double_swap(const struct events *all, struct history_event *e)
{
    if (e->operation != H_COMPARE_AND_SWAP || e->result != 0 || !is_unique(e->expected)) return false;
    if (!find_taken(all, e->expected)) return false;
    e->result = 1;
    return true;
}

/* The value was stored before a delete or clear, which was over before the load. */
static bool outlives(const struct events *all, struct history_event *load, bool clear)
{
    for (size_t i = 0; i < all->count && is_load(load); i++) {
        const struct history_event *e = nth(all, i);
        bool deletes = e->key == load->key && (e->operation == H_DELETE || e->operation == H_LOAD_AND_DELETE);
        if (!(clear ? e->operation == H_CLEAR : deletes) || !before(e, load)) continue;
        uint64_t value = put_before(all, load->key, e);
        if (value == 0) continue;
        now_loads(load, value);
        return true;
    }
    return false;
}

static bool resurrected(const struct events *all, struct history_event *load)
{
    return outlives(all, load, false);
}

static bool half_clear(const struct events *all, struct history_event *load)
{
    return outlives(all, load, true);
}

static bool (*const mutators[MUTATIONS])(const struct events *all, struct history_event *e) = {
    [M_LOST_WRITE] = lost_write,
    [M_MISSED_WRITE] = missed_write,
    [M_STALE_READ] = stale_read,
    [M_DOUBLE_DELETE] = double_delete,
    [M_WRONG_PREVIOUS] = wrong_previous,
    [M_DOUBLE_STORE] = double_store,
    [M_DOUBLE_SWAP] = double_swap,
    [M_RESURRECTED] = resurrected,
    [M_HALF_CLEAR] = half_clear,
};

bool history_mutate(enum mutation mutation, struct history_event *events, size_t count, struct rng *rng)
{
    struct events all = {.e = events, .count = count};
    size_t first = count ? rng_below(rng, count) : 0;
    for (size_t i = 0; i < count; i++) {
        all.start = rng_below(rng, count);
        if (mutators[mutation](&all, &events[(first + i) % count])) return true;
    }
    return false;
}
