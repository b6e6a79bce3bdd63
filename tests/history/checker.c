/* SPDX-License-Identifier: MIT
 *
 * The linearizability checker: just-in-time linearization (Gavin Lowe, "Testing for linearizability", 2017).
 *
 * The calls and returns are walked in the order of time, calls first where times are equal, so that a tie is an overlap.
 * A configuration says which of the pending calls have taken effect, and what the map holds then. All configurations
 * that are possible so far are carried along. A call only becomes pending. At a return, each configuration in which
 * that call has not taken effect yet is replaced by all that follow from it by letting some other pending calls take
 * effect and then this one (later is soon enough for everything else). None left: the history is refused.
 *
 * Two rules keep the set small, and lose nothing:
 *   Observers. A call whose result says that it changed nothing takes effect as soon as the state agrees with it: what
 *   follows is possible without it, if it was possible with it later.
 *   Keys. Before a call on one key returns, a call on another key need not take effect unless a clear follows it. And
 *   with no clear at all, linearizability is local: each key is checked by itself.
 *
 * A set is an array of configurations and a hash table of their places; both grow. Memory that is out aborts.
 */
#include "history/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HISTORY_THREADS <= 32, "who has taken effect is half a word");
_Static_assert(HISTORY_KEYS <= 32, "the keys of a history are a mask");

/* ---- one operation on one key; 0: absent ---- */

static bool has_key(const struct history_event *e)
{
    return e->operation != H_CLEAR;
}

static bool out_agrees(const struct history_event *e, uint64_t value)
{
    return e->out == HISTORY_UNASKED || e->out == value;
}

/* Whether an operation with this result is possible where the key has *value; if so, what it has then. */
static bool apply(const struct history_event *e, uint64_t *value)
{
    uint64_t before = *value;
    bool present = before != 0, yes = e->result == 1;
    switch ((enum history_operation)e->operation) {
    case H_LOAD:
        return present == yes && out_agrees(e, before);
    case H_STORE:
        *value = e->value;
        return present == yes;
    case H_LOAD_OR_STORE:
        if (!present) *value = e->value;
        return present == yes && out_agrees(e, *value);
    case H_LOAD_AND_DELETE:
        *value = 0;
        return present == yes && out_agrees(e, before);
    case H_DELETE:
        *value = 0;
        return present == yes;
    case H_SWAP:
        *value = e->value;
        return present == yes && out_agrees(e, before);
    case H_COMPARE_AND_SWAP:
        if (yes) *value = e->value;
        return (before == e->expected) == yes;
    case H_COMPARE_AND_DELETE:
        if (yes) *value = 0;
        return (before == e->expected) == yes;
    case H_CLEAR:
    case HISTORY_OPERATIONS:
        break;
    }
    return false;
}

/* Whether the result says that nothing was changed. */
static bool is_observer(const struct history_event *e)
{
    switch ((enum history_operation)e->operation) {
    case H_LOAD:
        return true;
    case H_LOAD_OR_STORE:
        return e->result == 1;
    case H_LOAD_AND_DELETE:
    case H_DELETE:
    case H_COMPARE_AND_SWAP:
    case H_COMPARE_AND_DELETE:
        return e->result == 0;
    default:
        return false;
    }
}

/* ---- words for a person ---- */

static void value_text(uint64_t value, char text[32])
{
    if (value == HISTORY_UNASKED)
        snprintf(text, 32, "?");
    else if (value == 0)
        snprintf(text, 32, "none");
    else
        snprintf(text, 32, "%" PRIu64, value);
}

void history_text(const struct history_event *e, char *text, size_t size)
{
    static const char *const names[HISTORY_OPERATIONS] = {
        "load", "store", "load_or_store", "load_and_delete", "delete", "swap", "compare_and_swap",
        "compare_and_delete", "clear"};
    const char *name = e->operation < HISTORY_OPERATIONS ? names[e->operation] : "unknown operation";
    char arguments[64] = "", out[32] = "";
    bool expects = e->operation == H_COMPARE_AND_SWAP || e->operation == H_COMPARE_AND_DELETE;
    bool gives = e->operation == H_LOAD || e->operation == H_LOAD_OR_STORE || e->operation == H_LOAD_AND_DELETE ||
                 e->operation == H_SWAP;
    int at = 0;
    if (expects) at = snprintf(arguments, sizeof arguments, ", %" PRIu64, e->expected);
    if (e->value != 0) snprintf(arguments + at, sizeof arguments - (size_t)at, ", %" PRIu64, e->value);
    value_text(e->out, out);
    snprintf(text, size, "[%" PRIu64 ", %" PRIu64 "] thread %u: %s(k%u%s) = %d%s%s", e->begin, e->end, e->thread, name,
             e->key, arguments, e->result, gives ? ", " : "", gives ? out : "");
}

/* ---- sets of configurations ---- */

/* A configuration is a word, which calls have taken effect (bits by thread) and CLEAR_AHEAD, and a value for each key. */
#define CLEAR_AHEAD (UINT64_C(1) << 32)
enum { CONFIGURATION_MAX = 1 + HISTORY_KEYS };

struct set {
    uint64_t *words; /* stride words each */
    size_t count, room;
    size_t *table;   /* places + 1; mask + 1 are in use */
    size_t table_room, mask;
};

static void *grow(void *memory, size_t count, size_t size)
{
    void *grown = count <= SIZE_MAX / size ? realloc(memory, count * size) : NULL;
    if (!grown) {
        fprintf(stderr, "history: memory is out\n");
        abort();
    }
    return grown;
}

static uint64_t configuration_hash(const uint64_t *c, size_t stride)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < stride; i++) {
        hash = (hash ^ c[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash;
}

static void set_table(struct set *set, size_t size)
{
    if (set->table_room < size) {
        set->table = grow(set->table, size, sizeof *set->table);
        set->table_room = size;
    }
    set->mask = size - 1;
    memset(set->table, 0, size * sizeof *set->table);
}

/* Small again, so that one wide moment does not slow down all that follow. */
static void set_empty(struct set *set)
{
    set->count = 0;
    set_table(set, 16);
}

static void set_place(struct set *set, size_t place, size_t stride)
{
    size_t i = configuration_hash(set->words + place * stride, stride) & set->mask;
    while (set->table[i] != 0) i = (i + 1) & set->mask;
    set->table[i] = place + 1;
}

static void set_add(struct set *set, const uint64_t *c, size_t stride)
{
    size_t i = configuration_hash(c, stride) & set->mask;
    for (; set->table[i] != 0; i = (i + 1) & set->mask) {
        if (memcmp(set->words + (set->table[i] - 1) * stride, c, stride * sizeof *c) == 0) return;
    }
    if (set->count == set->room) {
        set->room = set->room ? 2 * set->room : 16;
        set->words = grow(set->words, set->room, stride * sizeof *set->words);
    }
    memcpy(set->words + set->count * stride, c, stride * sizeof *c);
    set->table[i] = ++set->count;
    if (2 * set->count <= set->mask) return;
    set_table(set, 2 * (set->mask + 1));
    for (size_t place = 0; place < set->count; place++) set_place(set, place, stride);
}

static void set_free(struct set *set)
{
    free(set->words);
    free(set->table);
}

/* ---- the walk ---- */

/* A call or a return. */
struct point {
    uint64_t time;
    size_t event;
    bool returns;
};

struct walk {
    const struct history_event *events;
    struct point *points;
    size_t count;  /* of points */
    size_t stride; /* words of a configuration */
    uint8_t column[HISTORY_KEYS]; /* the word of each key */
    const struct history_event *pending[HISTORY_THREADS];
    uint32_t observers, changers, clears; /* bits of the threads whose pending call is one */
    struct set sets[2], closure;
    struct set *now, *next; /* the two sets */
};

/* Lets all observers take effect that agree with the state. */
static void observe(const struct walk *w, uint64_t *c)
{
    for (uint32_t left = w->observers & ~(uint32_t)c[0]; left != 0; left &= left - 1) {
        int thread = __builtin_ctz(left);
        uint64_t value = c[w->column[w->pending[thread]->key]];
        if (apply(w->pending[thread], &value)) c[0] |= UINT64_C(1) << thread;
    }
}

/* Lets the pending call of `thread`, which changes something, take effect, if it can. */
static bool take_effect(const struct walk *w, uint64_t *c, int thread)
{
    const struct history_event *e = w->pending[thread];
    if (!has_key(e))
        memset(c + 1, 0, (w->stride - 1) * sizeof *c);
    else if (!apply(e, &c[w->column[e->key]]))
        return false;
    c[0] |= UINT64_C(1) << thread;
    observe(w, c);
    return true;
}

static void call(struct walk *w, const struct history_event *e)
{
    uint32_t bit = UINT32_C(1) << e->thread;
    w->pending[e->thread] = e;
    if (!is_observer(e)) {
        *(has_key(e) ? &w->changers : &w->clears) |= bit;
        return;
    }
    w->observers |= bit;
    for (size_t i = 0; i < w->now->count; i++) {
        uint64_t *c = w->now->words + i * w->stride;
        uint64_t value = c[w->column[e->key]];
        if (apply(e, &value)) c[0] |= bit;
    }
}

/* The pending calls that may take effect next in c on the way to the return of e. */
static uint32_t candidates(const struct walk *w, const uint64_t *c, const struct history_event *e)
{
    uint32_t left = ~(uint32_t)c[0];
    if (w->stride == 2 || !has_key(e)) return (w->changers | w->clears) & left;
    if (c[0] & CLEAR_AHEAD) /* so e is not next */
        return (w->clears & left) ? (w->changers | w->clears) & left & ~(UINT32_C(1) << e->thread) : 0;
    uint32_t same_key = 0;
    for (left &= w->changers; left != 0; left &= left - 1) {
        int thread = __builtin_ctz(left);
        if (w->pending[thread]->key == e->key) same_key |= UINT32_C(1) << thread;
    }
    return same_key;
}

/* Adds c, in which e has or has not taken effect, to where it belongs. */
static void reached(struct walk *w, uint64_t *c, const struct history_event *e, bool after_clear)
{
    uint64_t bit = UINT64_C(1) << e->thread;
    if (c[0] & bit) {
        c[0] &= ~(bit | CLEAR_AHEAD);
        set_add(w->next, c, w->stride);
        return;
    }
    set_add(&w->closure, c, w->stride);
    if (!after_clear || w->stride == 2 || !has_key(e)) return;
    c[0] ^= CLEAR_AHEAD; /* both: with another clear ahead, and without */
    set_add(&w->closure, c, w->stride);
}

/* False: e cannot have returned, and `now` is left as it was. */
static bool returns(struct walk *w, const struct history_event *e)
{
    uint64_t c[CONFIGURATION_MAX];
    size_t size = w->stride * sizeof *c;
    set_empty(w->next);
    set_empty(&w->closure);
    for (size_t i = 0; i < w->now->count; i++) {
        memcpy(c, w->now->words + i * w->stride, size);
        reached(w, c, e, w->clears != 0);
    }
    for (size_t i = 0; i < w->closure.count; i++) { /* which grows */
        uint32_t left = candidates(w, w->closure.words + i * w->stride, e);
        for (; left != 0; left &= left - 1) {
            int thread = __builtin_ctz(left);
            memcpy(c, w->closure.words + i * w->stride, size);
            if (take_effect(w, c, thread)) reached(w, c, e, !has_key(w->pending[thread]));
        }
    }
    if (w->next->count == 0) return false;
    struct set *old = w->now;
    w->now = w->next;
    w->next = old;
    uint32_t others = ~(UINT32_C(1) << e->thread);
    w->observers &= others;
    w->changers &= others;
    w->clears &= others;
    return true;
}

/* Walks what concerns the keys of the mask; the event that nothing explains, or NULL. */
static const struct history_event *walk(struct walk *w, uint32_t keys)
{
    uint64_t empty[CONFIGURATION_MAX] = {0};
    w->stride = 1;
    for (unsigned key = 0; key < HISTORY_KEYS; key++) {
        if (keys >> key & 1) w->column[key] = (uint8_t)w->stride++;
    }
    w->observers = w->changers = w->clears = 0;
    w->now = &w->sets[0];
    w->next = &w->sets[1];
    for (int i = 0; i < 2; i++) w->sets[i].room = 0; /* the stride is another: as many words hold other numbers of them */
    w->closure.room = 0;
    set_empty(w->now);
    set_add(w->now, empty, w->stride);
    for (size_t i = 0; i < w->count; i++) {
        const struct history_event *e = &w->events[w->points[i].event];
        if (has_key(e) && !(keys >> e->key & 1)) continue;
        if (!w->points[i].returns)
            call(w, e);
        else if (!returns(w, e))
            return e;
    }
    return NULL;
}

/* ---- what no history can have ---- */

static const char *malformed_result(const struct history_event *e)
{
    bool out_is_none = e->out == 0 || e->out == HISTORY_UNASKED;
    if (e->result != 0 && e->result != 1) return "the result is neither 1 nor 0";
    switch ((enum history_operation)e->operation) {
    case H_LOAD_OR_STORE:
        if (e->result == 0) return out_agrees(e, e->value) ? NULL : "it stored, and gave another value";
        return e->out != 0 ? NULL : "it loaded, and gave none";
    case H_LOAD:
    case H_LOAD_AND_DELETE:
    case H_SWAP:
        if (e->result == 0) return out_is_none ? NULL : "absent, and gave a value";
        return e->out != 0 ? NULL : "present, and gave no value";
    case H_CLEAR:
        if (e->result != 0) return "clear returns 0";
        return out_is_none ? NULL : "clear gives no value";
    default:
        return out_is_none ? NULL : "the operation gives no value";
    }
}

static const char *malformed(const struct history_event *e)
{
    if (e->operation >= HISTORY_OPERATIONS) return "no such operation";
    if (e->thread >= HISTORY_THREADS) return "no such thread";
    if (e->key >= HISTORY_KEYS || (e->operation == H_CLEAR && e->key != 0)) return "no such key";
    if (e->end < e->begin) return "it ends before it begins";
    bool stores = e->operation == H_STORE || e->operation == H_LOAD_OR_STORE || e->operation == H_SWAP ||
                  e->operation == H_COMPARE_AND_SWAP;
    bool expects = e->operation == H_COMPARE_AND_SWAP || e->operation == H_COMPARE_AND_DELETE;
    if (stores != (e->value != 0) || e->value == HISTORY_UNASKED) return "no such value";
    if (expects != (e->expected != 0) || e->expected == HISTORY_UNASKED) return "no such value is expected";
    return malformed_result(e);
}

static struct history_verdict refusal(const struct history_event *events, const struct history_event *e, const char *why)
{
    struct history_verdict verdict = {.linearizable = false, .event = (size_t)(e - events)};
    char text[192];
    history_text(e, text, sizeof text);
    snprintf(verdict.why, sizeof verdict.why, "%s: %s", text, why);
    return verdict;
}

/* ---- the verdict ---- */

/* What the key could have had while e was pending and had not taken effect. */
static struct history_verdict unexplained(const struct walk *w, const struct history_event *e)
{
    char why[288] = "", value[32];
    size_t at = (size_t)snprintf(why, sizeof why, "no order explains it; %d calls were pending, and the map was one of ",
                                 __builtin_popcount(w->observers | w->changers | w->clears));
    for (size_t i = 0; i < w->now->count && at + 64 < sizeof why; i++) {
        const uint64_t *c = w->now->words + i * w->stride;
        for (unsigned key = 0; key < HISTORY_KEYS && at + 64 < sizeof why; key++) {
            if (w->column[key] == 0) continue;
            value_text(c[w->column[key]], value);
            at += (size_t)snprintf(why + at, sizeof why - at, "k%u: %s ", key, value);
        }
        const char *and = at + 64 < sizeof why ? "| " : "...";
        if (i + 1 < w->now->count) at += (size_t)snprintf(why + at, sizeof why - at, "%s", and);
    }
    return refusal(w->events, e, why);
}

static int point_order(const void *a, const void *b)
{
    const struct point *p = a, *q = b;
    if (p->time != q->time) return p->time < q->time ? -1 : 1;
    if (p->returns != q->returns) return p->returns ? 1 : -1;
    return (p->event > q->event) - (p->event < q->event);
}

static void points_sort(struct point *points, size_t count)
{
    if (count > 64) {
        qsort(points, count, sizeof *points, point_order);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct point moved = points[i];
        size_t at = i;
        for (; at > 0 && point_order(&points[at - 1], &moved) > 0; at--) points[at] = points[at - 1];
        points[at] = moved;
    }
}

/* Fills the walk's points; the event that cannot be, and why, or NULL. */
static const struct history_event *prepare(struct walk *w, const struct history_event *events, size_t count,
                                           const char **why)
{
    uint32_t busy = 0;
    w->events = events;
    w->points = grow(NULL, count ? 2 * count : 1, sizeof *w->points);
    for (size_t i = 0; i < count; i++) {
        *why = malformed(&events[i]);
        if (*why) return &events[i];
        w->points[w->count++] = (struct point){events[i].begin, i, false};
        w->points[w->count++] = (struct point){events[i].end, i, true};
    }
    points_sort(w->points, w->count);
    for (size_t i = 0; i < w->count; i++) {
        uint32_t bit = UINT32_C(1) << events[w->points[i].event].thread;
        *why = "its thread was in another call";
        if (!w->points[i].returns && (busy & bit)) return &events[w->points[i].event];
        busy ^= bit;
    }
    return NULL;
}

static struct history_verdict check(const struct history_event *events, size_t count, bool whole)
{
    struct walk w = {0};
    struct history_verdict verdict;
    const char *why;
    verdict.linearizable = true;
    verdict.event = 0;
    verdict.why[0] = '\0';
    const struct history_event *bad = prepare(&w, events, count, &why);
    uint32_t keys = 0;
    bool clears = false;
    if (bad) verdict = refusal(events, bad, why);
    for (size_t i = 0; i < count && !bad; i++) {
        if (has_key(&events[i]))
            keys |= UINT32_C(1) << events[i].key;
        else
            clears = true;
    }
    while (keys != 0) {
        uint32_t some = whole && clears ? keys : keys & -keys;
        keys &= ~some;
        memset(w.column, 0, sizeof w.column);
        const struct history_event *e = walk(&w, some);
        if (e && (verdict.linearizable || e->end < events[verdict.event].end)) verdict = unexplained(&w, e);
    }
    set_free(&w.sets[0]);
    set_free(&w.sets[1]);
    set_free(&w.closure);
    free(w.points);
    return verdict;
}

struct history_verdict history_check(const struct history_event *events, size_t count)
{
    return check(events, count, true);
}

struct history_verdict history_check_by_key(const struct history_event *events, size_t count)
{
    return check(events, count, false);
}
