/* SPDX-License-Identifier: MIT
 *
 * No lock is ever held over user code: every callback, the allocator and release functions call the library again, on
 * the same map. A lock held there shows as a deadlock, which the alarm ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/harness.h"

enum callback {
    VALUE_FREE,
    VALUE_ACQUIRE,
    VALUE_EQUAL,
    VISIT,
    RELEASE,
    ALLOC,
    FREE,
    KEY_HASH, /* from here on for the custom kind only */
    KEY_EQUAL,
    KEY_DUP,
    KEY_DROP,
    CALLBACKS
};
static const char *const callback_names[CALLBACKS] = {
    "value_free", "value_acquire", "value_equal", "visit", "release", "alloc", "free", "hash", "equal", "dup", "drop",
};
enum { ALL_CALLBACKS = (1 << CALLBACKS) - 1 };

enum {
    KEYS = 12,
    /* Calls from callbacks for each call of the test. Without a limit a map that starts over when its table was changed
     * under it would never be done, and rightly so. */
    BUDGET = 6,
    DEPTH_MAX = 2
};

/* The context of all callbacks, the allocator's included. */
struct scene {
    struct bed bed;
    unsigned mask; /* which callbacks call back */
    uint64_t steps;
    uint64_t stream;
    syncmap_options plain;     /* the callbacks that do the work */
    _Atomic(syncmap *) target; /* NULL while the map may not be called: before syncmap_new returned, at its end */
    atomic_ullong called[CALLBACKS];
};

static struct scene *scene_now;
static _Thread_local int depth;
static _Thread_local int budget;
static _Thread_local struct rng thread_rng;

/* ---- the calls, from the test and from inside a callback alike ---- */

static void poke(struct scene *scene, enum callback callback);

static void release_and_poke(void *value)
{
    value_release(value);
    poke(scene_now, RELEASE);
}

static bool visit_and_poke(syncmap_key key, void *value, void *context)
{
    struct scene *scene = context;
    uint64_t index = config_key_index(scene->bed.config, key);
    poke(scene, VISIT);
    if (value) value_check(value, index);
    CHECK(config_key_index(scene->bed.config, key) == index);
    handed_done(scene->bed.ownership, value);
    return true;
}

static void call_loading(struct scene *scene, uint64_t index, bool storing)
{
    void *got = scene;
    struct value *value = storing ? value_make(index) : NULL;
    handed_begin(scene->bed.ownership);
    int result = storing ? syncmap_load_or_store(scene->bed.map, KEY(&scene->bed, index), value, &got)
                         : syncmap_load(scene->bed.map, KEY(&scene->bed, index), &got);
    CHECK(result == 0 || result == 1);
    if (got) value_check(got, index);
    handed_done(scene->bed.ownership, got);
    handed_end(scene->bed.ownership);
    if (storing && result == 1) value_release(value);
}

static void call_taking(struct scene *scene, uint64_t index, bool deleting)
{
    void *previous = scene;
    syncmap_key key = KEY(&scene->bed, index);
    CHECK((deleting ? syncmap_load_and_delete(scene->bed.map, key, &previous)
                    : syncmap_swap(scene->bed.map, key, value_make(index), &previous)) >= 0);
    if (previous) value_check(previous, index);
    if (scene->bed.ownership == ACQUIRED && previous) value_release(previous);
    if (scene->bed.ownership == OWNED) CHECK(syncmap_retire(previous, release_and_poke) == 0);
}

static void call_comparing(struct scene *scene, uint64_t index, bool deleting)
{
    struct value *expected = value_make(index);
    struct value *desired = deleting ? NULL : value_make(index);
    syncmap_key key = KEY(&scene->bed, index);
    int result = deleting ? syncmap_compare_and_delete(scene->bed.map, key, expected)
                          : syncmap_compare_and_swap(scene->bed.map, key, expected, desired);
    CHECK(result == 0 || result == 1);
    if (desired && !result) value_release(desired);
    value_release(expected);
}

static void call_any(struct scene *scene)
{
    struct rng *rng = &thread_rng;
    syncmap *map = scene->bed.map;
    uint64_t index = rng_below(rng, KEYS);
    syncmap_key key = KEY(&scene->bed, index);
    switch (rng_below(rng, 16)) {
    case 0: case 1: CHECK(syncmap_store(map, key, value_make(index)) >= 0); break;
    case 2: CHECK(syncmap_delete(map, key) >= 0); break;
    case 3: call_loading(scene, index, false); break;
    case 4: call_loading(scene, index, true); break;
    case 5: call_taking(scene, index, false); break;
    case 6: call_taking(scene, index, true); break;
    case 7: case 8: call_comparing(scene, index, false); break;
    case 9: case 10: call_comparing(scene, index, true); break;
    case 11: CHECK(syncmap_range(map, visit_and_poke, scene) == 1); break;
    case 12: CHECK(syncmap_len(map) <= 100 * KEYS); break;
    case 13: CHECK(syncmap_load(map, KEY(&scene->bed, KEYS + index), NULL) == 0); break;
    case 14: CHECK(syncmap_retire(value_make(index), release_and_poke) == 0); break;
    default:
        syncmap_barrier();
        if (rng_below(rng, 2)) CHECK(syncmap_clear(map) == 0);
    }
}

static void poke(struct scene *scene, enum callback callback)
{
    CHECK(scene == scene_now);
    if (!(scene->mask >> callback & 1) || !atomic_load(&scene->target)) return;
    if (depth >= DEPTH_MAX || budget == 0) return;
    /* Not at every chance: else the first callback of a call uses up the budget, and those that come later in it, where
     * the library is in the middle of more, never get a turn. */
    if (rng_below(&thread_rng, depth == 0 ? 3 : 8) != 0) return;
    depth++;
    budget--;
    atomic_fetch_add(&scene->called[callback], 1);
    call_any(scene);
    depth--;
}

/* ---- the callbacks ---- */

static void poking_value_free(void *value, void *context)
{
    value_free(value, NULL);
    poke(context, VALUE_FREE);
}

static void poking_value_acquire(void *value, void *context)
{
    poke(context, VALUE_ACQUIRE);
    value_acquire(value, NULL);
}

static bool poking_value_equal(const void *stored, const void *expected, void *context)
{
    const struct value *a = stored;
    const struct value *b = expected;
    poke(context, VALUE_EQUAL);
    /* Protected: whatever the call above has stored or deleted. */
    value_check(a, b->key_index);
    return a->serial % 2 == b->serial % 2;
}

static uint64_t poking_hash(const void *key, uint64_t seed, void *context)
{
    struct scene *scene = context;
    poke(scene, KEY_HASH);
    return scene->plain.key.hash(key, seed, NULL);
}

static bool poking_equal(const void *a, const void *b, void *context)
{
    struct scene *scene = context;
    poke(scene, KEY_EQUAL);
    return scene->plain.key.equal(a, b, NULL);
}

static void *poking_dup(const void *key, void *context)
{
    struct scene *scene = context;
    poke(scene, KEY_DUP);
    return scene->plain.key.dup(key, NULL);
}

static void poking_drop(void *key, void *context)
{
    struct scene *scene = context;
    scene->plain.key.drop(key, NULL);
    poke(scene, KEY_DROP);
}

static void *poking_alloc(size_t size, void *context)
{
    struct scene *scene = context;
    poke(scene, ALLOC);
    return scene->plain.allocator.alloc(size, scene->plain.allocator.context);
}

static void poking_free(void *memory, size_t size, void *context)
{
    struct scene *scene = context;
    scene->plain.allocator.free(memory, size, scene->plain.allocator.context);
    poke(scene, FREE);
}

/* ---- the scenes ---- */

static void scene_open(struct scene *scene, const struct config *config, enum ownership ownership, unsigned mask)
{
    *scene = (struct scene){.bed = {.config = config, .ownership = ownership}, .mask = mask};
    counting_init(&scene->bed.counting);
    scene_now = scene;
    scene->plain = bed_options(config, ownership, &scene->bed.counting);
    syncmap_options options = scene->plain;
    options.value_free = poking_value_free;
    if (ownership == ACQUIRED) options.value_acquire = poking_value_acquire;
    options.value_equal = poking_value_equal;
    if (config->kind == SYNCMAP_CUSTOM) {
        options.key = (syncmap_key_functions){poking_hash, poking_equal, poking_dup, poking_drop};
    }
    /* Without a context of its own the allocator is given the one of all. */
    options.allocator = (syncmap_allocator){.alloc = poking_alloc, .free = poking_free};
    options.context = scene;
    bed_open_with(&scene->bed, &options);
    atomic_store(&scene->target, scene->bed.map);
}

static void scene_thread(size_t number, void *context)
{
    struct scene *scene = context;
    thread_rng = rng_make(test_seed(), scene->stream + number);
    for (uint64_t i = 0; i < scene->steps; i++) {
        budget = BUDGET;
        call_any(scene);
        CHECK(depth == 0);
    }
}

static void scene_close(struct scene *scene)
{
    budget = 0;
    CHECK(bed_range_count(&scene->bed) == syncmap_len(scene->bed.map));
    atomic_store(&scene->target, NULL);
    bed_close(&scene->bed);
}

/* Each callback alone, so that the note says which one it was. */
static void each_callback(const struct config *config)
{
    int count = config->kind == SYNCMAP_CUSTOM ? CALLBACKS : KEY_HASH;
    for (int callback = 0; callback < count; callback++) {
        static struct scene scene;
        char text[128];
        snprintf(text, sizeof text, "%s, %s calls back", config->name, callback_names[callback]);
        harness_note(text);
        scene_open(&scene, config, callback == VALUE_ACQUIRE ? ACQUIRED : OWNED, 1u << callback);
        scene.steps = 10000 / TEST_SCALE;
        scene_thread(0, &scene);
        scene_close(&scene);
        CHECK(atomic_load(&scene.called[callback]) > 0);
    }
}

static void test_each_callback(void **state)
{
    (void)state;
    for_each_config(each_callback);
}

static void all_callbacks(const struct config *config, enum ownership ownership)
{
    static struct scene scene;
    if (ownership == PLAIN) return;
    scene_open(&scene, config, ownership, ALL_CALLBACKS);
    scene.stream = 100;
    scene.steps = 10000 / TEST_SCALE;
    threads_run(4, scene_thread, &scene);
    scene_close(&scene);
}

static void test_all_callbacks(void **state)
{
    (void)state;
    for_each_ownership(all_callbacks);
}

/* ---- arguments of value_equal ---- */

struct equal_call {
    const void *stored;
    const void *expected;
    bool answer;
    int calls;
};

static bool check_equal_call(const void *stored, const void *expected, void *context)
{
    struct equal_call *call = context;
    CHECK(stored == call->stored && expected == call->expected);
    call->calls++;
    return call->answer;
}

static void asked_for_equality(enum syncmap_engine engine)
{
    int a, b, c;
    struct equal_call call = {.stored = &a, .expected = &b};
    syncmap_options options = {.engine = engine, .value_equal = check_equal_call, .context = &call};
    syncmap *map = syncmap_new(SYNCMAP_U64, &options);
    syncmap_key key = syncmap_u64(1);
    CHECK(map != NULL && syncmap_store(map, key, &a) == 0);
    CHECK(syncmap_compare_and_swap(map, key, &b, &c) == 0);
    CHECK(syncmap_compare_and_delete(map, key, &b) == 0);
    CHECK(call.calls >= 2);
    /* Not asked: an absent key, the same pointer, one NULL, two NULLs. */
    call.calls = 0;
    call.answer = true;
    CHECK(syncmap_compare_and_swap(map, syncmap_u64(2), &b, &c) == 0);
    CHECK(syncmap_compare_and_swap(map, key, NULL, &c) == 0);
    CHECK(syncmap_compare_and_delete(map, key, NULL) == 0);
    CHECK(syncmap_compare_and_swap(map, key, &a, &a) == 1);
    CHECK(syncmap_store(map, syncmap_u64(3), NULL) == 0);
    CHECK(syncmap_compare_and_swap(map, syncmap_u64(3), &b, &c) == 0);
    CHECK(syncmap_compare_and_swap(map, syncmap_u64(3), NULL, NULL) == 1);
    CHECK(call.calls == 0);
    CHECK(syncmap_compare_and_swap(map, key, &b, &c) == 1);
    call.stored = &c;
    CHECK(syncmap_compare_and_delete(map, key, &b) == 1);
    CHECK(call.calls >= 2);
    CHECK(syncmap_len(map) == 1);
    finish_map(map, NULL);
}

static void test_value_equal(void **state)
{
    (void)state;
    FOR_EACH_ENGINE(engine) asked_for_equality(engine);
}

/* ---- maps in maps ---- */

static void free_inner(void *value, void *context)
{
    (void)context;
    syncmap_free(value);
}

/* value_free that ends a map, from inside the collection of another one's values. */
static void maps_of_maps(const struct config *config)
{
    struct counting counting;
    counting_init(&counting);
    struct bed outer = {.config = config, .ownership = OWNED};
    struct bed inner = {.config = config, .ownership = OWNED};
    syncmap_options options = config_options(config, &counting);
    options.value_free = free_inner;
    outer.map = syncmap_new(config->kind, &options);
    CHECK(outer.map != NULL);
    options.value_free = value_free;
    for (uint64_t i = 0; i < 300; i++) {
        inner.map = syncmap_new(config->kind, &options);
        CHECK(inner.map != NULL);
        for (uint64_t key = 0; key < 10; key++) bed_store(&inner, key, 0);
        CHECK(syncmap_store(outer.map, KEY(&outer, i % 7), inner.map) == (i >= 7));
    }
    syncmap_free(outer.map);
    /* The first one ends the inner maps, so what they held is retired only then. */
    syncmap_barrier();
    finish_map(NULL, &counting);
}

static void test_maps_of_maps(void **state)
{
    (void)state;
    for_each_config(maps_of_maps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_equal),
        cmocka_unit_test(test_maps_of_maps),
        cmocka_unit_test(test_each_callback),
        cmocka_unit_test(test_all_callbacks),
    };
    test_seed();
    alarm((unsigned)test_env("TIME_LIMIT", 120));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
