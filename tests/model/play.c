/* SPDX-License-Identifier: MIT
 *
 * Runs a play's calls, records what they return, and checks it. See play.h.
 */
#include "model/play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history/history.h"
#include "model/library.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) model_fail("a check: " #condition); \
    } while (0)

/* From the number, and the thread, of a call with another one in its compute to that one's; its thread is another, as the two
 * events overlap. */
enum { INNER = 10, INNER_THREADS = 28 };
enum { REFUSED = HISTORY_OPERATIONS };
enum { NULL_NUMBER = 99, NUMBERS = 100, KEYS = 10, EVENTS_MAX = 512, DUMMIES = 8 };

struct call {
    char letter;
    uint8_t key;
    uint8_t number, expected;
};

struct part {
    struct call calls[CALLS_MAX];
    unsigned count;
};

struct value {
    uint64_t number;
    int references;
    bool dummy; /* of G: it is in no map */
};

/* What a custom key is. */
struct object {
    uint64_t key;
};

static struct {
    const struct play *play;
    struct setting setting;
    struct part before, part[MODEL_MAIN];
    struct model_scene scene;
    /* of a run: */
    syncmap *map;
    struct value *values[NUMBERS];
    struct history_event events[EVENTS_MAX];
    size_t event_count;
    struct value *held[MODEL_THREADS];
    unsigned dummies[MODEL_THREADS]; /* retired and not released */
    unsigned computing[KEYS], computed[KEYS];
    uint64_t clock; /* of events: one thread at a time moves it on */
    struct object objects[KEYS];
} w;

/* ---- parts ---- */

static void parse(struct part *part, const char *text, unsigned first)
{
    part->count = 0;
    for (const char *at = text; at != NULL && *at != '\0';) {
        if (*at == ' ') {
            at++;
            continue;
        }
        if (part->count == CALLS_MAX) abort();
        struct call *call = &part->calls[part->count];
        *call = (struct call){.letter = *at++, .number = (uint8_t)(first + part->count)};
        if (*at >= '0' && *at <= '9') call->key = (uint8_t)(*at++ - '0');
        if (*at == ':') call->expected = (uint8_t)strtoul(at + 1, (char **)(uintptr_t)&at, 10);
        part->count++;
    }
}

/* ---- what the map is given ---- */

static void *map_alloc(size_t size, void *context)
{
    (void)context;
    return model_alloc(size, 16, MODEL_MAP);
}

static void map_free(void *memory, size_t size, void *context)
{
    (void)size, (void)context;
    model_free(memory);
}

/* Others may run before a value is looked at. */
static void touch(const struct value *value)
{
    static const struct model_site site = {__FILE__, __LINE__, "look at a value"};
    if (value == NULL) return;
    model_step(MODEL_TOUCH, value, sizeof *value, false, &site);
    CHECK(value->references > 0 && value->number < NUMBERS);
}

static void value_drop(struct value *value)
{
    model_alive(value, sizeof *value);
    CHECK(value->references > 0);
    if (--value->references == 0) model_free(value);
}

static void on_free(void *value, void *context)
{
    (void)context;
    touch(value);
    value_drop(value);
}

static void on_acquire(void *value, void *context)
{
    (void)context;
    touch(value);
    ((struct value *)value)->references++;
}

static void on_retired(void *value)
{
    touch(value);
    value_drop(value);
}

static uint64_t hash(const void *key, uint64_t seed, void *context)
{
    (void)seed, (void)context;
    model_alive(key, sizeof(struct object));
    return 7;
}

static bool equal(const void *a, const void *b, void *context)
{
    (void)context;
    model_alive(a, sizeof(struct object));
    model_alive(b, sizeof(struct object));
    return ((const struct object *)a)->key == ((const struct object *)b)->key;
}

static void *dup_key(const void *key, void *context)
{
    return memcpy(map_alloc(sizeof(struct object), context), key, sizeof(struct object));
}

static void drop_key(void *key, void *context)
{
    (void)context;
    model_free(key);
}

static syncmap_key key_of(unsigned key)
{
    static const char *const names[KEYS] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    w.objects[key].key = key;
    if (w.setting.kind == SYNCMAP_STRING) return syncmap_str(names[key]);
    return w.setting.kind == SYNCMAP_CUSTOM ? syncmap_obj(&w.objects[key]) : syncmap_u64(key);
}

static uint8_t index_of(syncmap_key key)
{
    if (w.setting.kind == SYNCMAP_STRING) return (uint8_t)(*(const char *)key.as.ptr - '0');
    return (uint8_t)(w.setting.kind == SYNCMAP_CUSTOM ? ((const struct object *)key.as.ptr)->key : key.as.u64);
}

/* ---- values ---- */

static struct value *value_make(unsigned number)
{
    struct value *value = model_alloc(sizeof *value, 16, MODEL_VALUE);
    *value = (struct value){.number = number, .references = 1};
    return w.values[number] = value;
}

static uint64_t number_of(const struct value *value)
{
    return value == NULL ? NULL_NUMBER : value->number;
}

/* It was not stored. */
static void value_refused(struct value *value)
{
    if (value != NULL && w.setting.ownership != PLAIN) value_drop(value);
}

static void begin_handed(void)
{
    if (w.setting.ownership == OWNED) syncmap_pin();
}

/* The caller is done with a value that was handed out, and protected until here; its number. */
static uint64_t end_handed(struct value *value, bool present)
{
    uint64_t number = 0;
    if (present) {
        touch(value);
        number = number_of(value);
        if (w.setting.ownership == ACQUIRED && value != NULL) value_drop(value);
    }
    if (w.setting.ownership == OWNED) syncmap_unpin();
    return number;
}

/* The same for `previous`, whose reference the caller has now. */
static uint64_t previous_done(struct value *value, bool present)
{
    if (!present) return 0;
    touch(value);
    uint64_t number = number_of(value);
    if (value == NULL || w.setting.ownership == PLAIN) return number;
    if (w.setting.ownership == ACQUIRED)
        value_drop(value);
    else
        CHECK(syncmap_retire(value, on_retired) == 0);
    return number;
}

/* ---- calls ---- */

static struct history_event *event_begin(unsigned thread, enum history_operation operation, unsigned key)
{
    CHECK(w.event_count < EVENTS_MAX);
    struct history_event *event = &w.events[w.event_count++];
    *event = (struct history_event){.begin = ++w.clock, .thread = (uint16_t)thread, .operation = (uint8_t)operation,
                                    .key = (uint8_t)key, .out = HISTORY_UNASKED};
    model_event();
    return event;
}

static void event_end(struct history_event *event, int result)
{
    CHECK(result == 0 || result == 1);
    event->result = (int8_t)result;
    event->end = ++w.clock;
    model_event();
}

static struct history_event *load(const struct call *call, unsigned thread, void **value)
{
    struct history_event *event = event_begin(thread, H_LOAD, call->key);
    event_end(event, syncmap_load(w.map, key_of(call->key), value));
    return event;
}

static void call_load(const struct call *call, unsigned thread)
{
    void *value = NULL;
    begin_handed();
    struct history_event *event = load(call, thread, &value);
    event->out = end_handed(value, event->result == 1);
}

static void call_store(const struct call *call, unsigned thread)
{
    struct value *value = call->letter == 's' ? NULL : value_make(call->number);
    struct history_event *event = event_begin(thread, H_STORE, call->key);
    event->value = value == NULL ? NULL_NUMBER : call->number;
    event_end(event, syncmap_store(w.map, key_of(call->key), value));
}

static void call_load_or_store(const struct call *call, unsigned thread)
{
    struct value *value = value_make(call->number);
    void *actual = NULL;
    begin_handed();
    struct history_event *event = event_begin(thread, H_LOAD_OR_STORE, call->key);
    event->value = call->number;
    int result = syncmap_load_or_store(w.map, key_of(call->key), value, &actual);
    event_end(event, result);
    event->out = end_handed(actual, true);
    if (result == 1) value_refused(value);
}

/* What compute is given. */
struct computation {
    const struct call *call;
    unsigned thread;
    bool computed, failed;
};

static int compute(syncmap_key key, void **value, void *context);

/* One that is refused has no effect, and is no event. */
static int load_or_compute(const struct call *call, unsigned thread)
{
    struct computation c = {.call = call, .thread = thread};
    void *actual = NULL;
    begin_handed();
    struct history_event *event = event_begin(thread, H_LOAD_OR_STORE, call->key);
    event->value = call->number;
    int result = syncmap_load_or_compute(w.map, key_of(call->key), compute, &c, &actual);
    if (result < 0) {
        CHECK(result == SYNCMAP_EDEADLK && (w.play->flags & RING));
        event->operation = REFUSED;
        result = 0;
    } else {
        CHECK(result == 1 || c.computed);
    }
    event_end(event, result);
    event->out = end_handed(actual, event->operation != REFUSED);
    return event->operation == REFUSED ? SYNCMAP_EDEADLK : result;
}

/* Nobody else is here for the key. Others may run meanwhile. */
static int compute(syncmap_key key, void **value, void *context)
{
    static const struct model_site begins = {__FILE__, __LINE__, "compute begins"}, ends = {__FILE__, __LINE__, "compute ends"};
    struct computation *c = context;
    uint8_t index = index_of(key);
    CHECK(index == c->call->key);
    model_step(MODEL_TOUCH, &w.computing[index], sizeof w.computing[index], false, &begins);
    CHECK(w.computing[index]++ == 0);
    if (w.play->flags & ONCE) CHECK(w.computed[index]++ == 0);
    int result = 0;
    if (c->call->letter == 'N') {
        struct call inner = {.letter = 'P', .key = c->call->expected, .number = c->call->number + INNER};
        result = load_or_compute(&inner, INNER_THREADS + c->thread);
    }
    model_step(MODEL_TOUCH, &w.computing[index], sizeof w.computing[index], false, &ends);
    w.computing[index]--;
    c->computed = result >= 0;
    if (c->computed) *value = value_make(c->call->number);
    return result < 0 ? result : 0;
}

static void call_load_or_compute(const struct call *call, unsigned thread)
{
    (void)load_or_compute(call, thread);
}

/* What was refused is no event of the history. */
static void forget_refused(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < w.event_count; i++)
        if (w.events[i].operation != REFUSED) w.events[kept++] = w.events[i];
    w.event_count = kept;
}

static void call_taking(const struct call *call, unsigned thread)
{
    void *previous = NULL;
    bool swap = call->letter == 'W';
    struct value *value = swap ? value_make(call->number) : NULL;
    struct history_event *event = event_begin(thread, swap ? H_SWAP : H_LOAD_AND_DELETE, call->key);
    event->value = swap ? call->number : 0;
    int result = swap ? syncmap_swap(w.map, key_of(call->key), value, &previous)
                      : syncmap_load_and_delete(w.map, key_of(call->key), &previous);
    event_end(event, result);
    event->out = previous_done(previous, result == 1);
}

static void call_compare(const struct call *call, unsigned thread)
{
    bool swap = call->letter == 'C';
    struct value *value = swap ? value_make(call->number) : NULL, *expected = w.values[call->expected];
    struct history_event *event = event_begin(thread, swap ? H_COMPARE_AND_SWAP : H_COMPARE_AND_DELETE, call->key);
    event->value = swap ? call->number : 0;
    /* A value that was never made is one that nothing equals. */
    event->expected = call->expected;
    if (expected == NULL && call->expected != NULL_NUMBER) expected = (struct value *)&w;
    int result = swap ? syncmap_compare_and_swap(w.map, key_of(call->key), expected, value)
                      : syncmap_compare_and_delete(w.map, key_of(call->key), expected);
    event_end(event, result);
    if (result == 0) value_refused(value);
}

static void call_simple(const struct call *call, unsigned thread)
{
    struct history_event *event = event_begin(thread, call->letter == 'Z' ? H_CLEAR : H_DELETE, call->key);
    event_end(event, call->letter == 'Z' ? syncmap_clear(w.map) : syncmap_delete(w.map, key_of(call->key)));
}

/* A range is a load of each key, each with a thread of its own: a visit's is over when it comes, that of a key which was not
 * visited lasts for the whole range. */
struct visits {
    uint64_t begin;
    unsigned thread;
    bool seen[KEYS];
};

enum { RANGE_THREADS = 8 }; /* threads 8 to 17 and 18 to 27: of the ranges of two threads */

static struct history_event *range_event(const struct visits *v, unsigned key)
{
    unsigned lane = v->thread == MODEL_MAIN ? 0 : v->thread % 2;
    struct history_event *event = event_begin(RANGE_THREADS + lane * KEYS + key, H_LOAD, key);
    event->begin = v->begin;
    return event;
}

static bool on_visit(syncmap_key key, void *value, void *context)
{
    struct visits *v = context;
    uint8_t index = index_of(key);
    CHECK(index < KEYS && !v->seen[index]);
    v->seen[index] = true;
    struct history_event *event = range_event(v, index);
    touch(value);
    event->out = number_of(value);
    event_end(event, 1);
    if (w.setting.ownership == ACQUIRED && value != NULL) value_drop(value);
    return true;
}

static void call_range(unsigned thread, bool scan)
{
    struct visits v = {.begin = ++w.clock, .thread = thread};
    syncmap_cursor cursor = {0};
    CHECK(scan ? syncmap_scan(w.map, &cursor, KEYS + 1, on_visit, &v) == 0 : syncmap_range(w.map, on_visit, &v) == 1);
    for (unsigned key = 0; key < KEYS; key++)
        if (!v.seen[key]) {
            struct history_event *event = range_event(&v, key);
            event->out = 0;
            event_end(event, 0);
        }
}

static bool on_visit_quietly(syncmap_key key, void *value, void *context)
{
    (void)key, (void)context;
    if (w.setting.ownership == ACQUIRED && value != NULL) value_drop(value);
    return true;
}

static void call_hold(const struct call *call, unsigned thread)
{
    void *value = NULL;
    syncmap_pin();
    struct history_event *event = load(call, thread, &value);
    event->out = event->result == 1 ? number_of(value) : 0;
    if (value != NULL && w.setting.ownership == ACQUIRED) value_drop(value);
    w.held[thread] = value;
}

static void on_dummy(void *object)
{
    struct value *dummy = object;
    touch(dummy);
    w.dummies[dummy->number]--;
    value_drop(dummy);
}

static void call_retire(unsigned thread)
{
    struct value *dummy = model_alloc(sizeof *dummy, 16, MODEL_VALUE);
    *dummy = (struct value){.number = thread, .references = 1, .dummy = true};
    w.dummies[thread]++;
    CHECK(syncmap_retire(dummy, on_dummy) == 0);
}

static void call_barrier(unsigned thread)
{
    syncmap_barrier();
    CHECK(w.dummies[thread] == 0);
}

static void make_call(const struct call *call, unsigned thread)
{
    model_event();
    switch (call->letter) {
    case 'L': call_load(call, thread); break;
    case 'S':
    case 's': call_store(call, thread); break;
    case 'O': call_load_or_store(call, thread); break;
    case 'P':
    case 'N': call_load_or_compute(call, thread); break;
    case 'W':
    case 'X': call_taking(call, thread); break;
    case 'C':
    case 'K': call_compare(call, thread); break;
    case 'D':
    case 'Z': call_simple(call, thread); break;
    case 'R':
    case 'Q': call_range(thread, call->letter == 'Q'); break;
    case 'M': CHECK(syncmap_range(w.map, on_visit_quietly, NULL) == 1); break;
    case 'H': call_hold(call, thread); break;
    case 'T': touch(w.held[thread]); break;
    case 'U': syncmap_unpin(); break;
    case 'G': call_retire(thread); break;
    case 'B': call_barrier(thread); break;
    case 'F': library_reseed(w.map); break;
    default: abort();
    }
    model_event();
}

/* ---- a run ---- */

static void play_reset(void)
{
    library_reset();
    memset(w.values, 0, sizeof w.values);
    memset(w.dummies, 0, sizeof w.dummies);
    memset(w.computing, 0, sizeof w.computing);
    memset(w.computed, 0, sizeof w.computed);
    w.event_count = 0;
    w.clock = 0;
}

static void play_before(void)
{
    syncmap_options options = {.engine = w.setting.engine, .seed = 1, .allocator = {map_alloc, map_free, NULL}};
    if (w.setting.ownership != PLAIN) options.value_free = on_free;
    if (w.setting.ownership == ACQUIRED) options.value_acquire = on_acquire;
    if (w.setting.kind == SYNCMAP_CUSTOM) options.key = (syncmap_key_functions){hash, equal, dup_key, drop_key};
    library_filter(w.play->flags & FILTER);
    w.map = syncmap_new(w.setting.kind, &options);
    CHECK(w.map != NULL);
    for (unsigned i = 0; i < w.before.count; i++) make_call(&w.before.calls[i], MODEL_MAIN);
}

/* A thread's record is there before, unless that is what the play is about. */
static void play_warm(unsigned thread)
{
    w.held[thread] = NULL;
    library_refuse_records((w.play->flags & NO_RECORD ? 1u : 0) | (w.play->flags & NO_RECORDS ? 2u : 0));
    if (!(w.play->flags & COLD)) library_thread_attach();
    if (w.play->flags & REUSE) library_thread_exit();
}

static void play_run(unsigned thread)
{
    for (unsigned i = 0; i < w.part[thread].count; i++) make_call(&w.part[thread].calls[i], thread);
}

static void play_exit(unsigned thread)
{
    (void)thread;
    if (w.play->flags & EXIT) library_thread_exit();
}

/* All keys, by load and by range; the order of all calls; and then nothing may be left. */
static void play_after(void)
{
    size_t present = 0;
    forget_refused();
    for (unsigned key = 0; key < KEYS; key++) {
        struct call load = {.letter = 'L', .key = (uint8_t)key};
        call_load(&load, MODEL_MAIN);
        present += w.events[w.event_count - 1].result == 1;
    }
    CHECK(syncmap_len(w.map) == present);
    call_range(MODEL_MAIN, false);
    CHECK(syncmap_len(w.map) == present);
    struct history_verdict verdict = history_check(w.events, w.event_count);
    if (!verdict.linearizable) {
        fprintf(stderr, "%s\n", verdict.why);
        model_fail("no order of the calls explains what they returned");
    }
    syncmap_free(w.map);
    syncmap_barrier();
    CHECK(model_live(MODEL_MAP) == 0);
    if (w.setting.ownership == PLAIN)
        for (unsigned i = 0; i < NUMBERS; i++) model_free(w.values[i]);
    CHECK(model_live(MODEL_VALUE) == 0);
}

uint64_t play_outcome(void)
{
    uint64_t digest = w.event_count;
    for (size_t i = 0; i < w.event_count; i++) {
        const struct history_event *e = &w.events[i];
        uint64_t words[] = {e->begin, e->end, e->thread, e->operation, e->key, (uint64_t)e->result, e->value, e->expected, e->out};
        for (size_t j = 0; j < sizeof words / sizeof words[0]; j++) {
            digest = (digest ^ words[j]) * 0x9e3779b97f4a7c15u;
            digest ^= digest >> 32;
        }
    }
    return digest;
}

const struct model_scene *play_scene(const struct play *play, const struct setting *setting)
{
    static char name[PLAY_NAME + 64];
    snprintf(name, sizeof name, "%s (%s)", play->name, setting->name);
    w.play = play;
    w.setting = *setting;
    parse(&w.before, play->before, 1);
    unsigned threads = 0;
    for (; threads < MODEL_MAIN && play->part[threads] != NULL; threads++)
        parse(&w.part[threads], play->part[threads], 20 * (threads + 1));
    w.scene = (struct model_scene){name, threads, play_reset, play_before, play_warm, play_run, play_exit, play_after};
    return &w.scene;
}
