/* SPDX-License-Identifier: MIT */
#include "support/harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- a map under test ---- */

syncmap_options bed_options(const struct config *config, enum ownership ownership, struct counting *counting)
{
    syncmap_options options = config_options(config, counting);
    if (ownership != PLAIN) options.value_free = value_free;
    if (ownership == ACQUIRED) options.value_acquire = value_acquire;
    return options;
}

/* An allocation of the map's own first, to see whether it would fail; then the dup that support.c made for all. */
static void *dup_or_fail(const void *key, void *context)
{
    static const struct config any_custom = {.kind = SYNCMAP_CUSTOM};
    syncmap_allocator allocator = counting_allocator(context);
    void *probe = allocator.alloc(1, allocator.context);
    if (!probe) return NULL;
    allocator.free(probe, 1, allocator.context);
    return config_options(&any_custom, NULL).key.dup(key, NULL);
}

void options_dup_may_fail(syncmap_options *options, struct counting *counting)
{
    options->context = counting;
    if (options->key.dup) options->key.dup = dup_or_fail;
}

void bed_open(struct bed *bed, const struct config *config, enum ownership ownership)
{
    bed->config = config;
    bed->ownership = ownership;
    counting_init(&bed->counting);
    syncmap_options options = bed_options(config, ownership, &bed->counting);
    bed_open_with(bed, &options);
}

void bed_open_with(struct bed *bed, const syncmap_options *options)
{
    bed->map = syncmap_new(bed->config->kind, options);
    CHECK(bed->map != NULL);
}

void bed_close(struct bed *bed)
{
    finish_map(bed->map, &bed->counting);
    bed->map = NULL;
}

void bed_store(struct bed *bed, uint64_t index, int result)
{
    void *value = bed->ownership == PLAIN ? NULL : value_make(index);
    CHECK(syncmap_store(bed->map, KEY(bed, index), value) == result);
}

void bed_delete(struct bed *bed, uint64_t index, int result)
{
    CHECK(syncmap_delete(bed->map, KEY(bed, index)) == result);
}

void bed_check_present(struct bed *bed, uint64_t index)
{
    void *value = &value;
    handed_begin(bed->ownership);
    CHECK(syncmap_load(bed->map, KEY(bed, index), &value) == 1);
    CHECK(value != &value);
    if (value) value_check(value, index);
    handed_done(bed->ownership, value);
    handed_end(bed->ownership);
}

void bed_check_absent(struct bed *bed, uint64_t index)
{
    void *value = &value;
    handed_begin(bed->ownership);
    CHECK(syncmap_load(bed->map, KEY(bed, index), &value) == 0);
    CHECK(value == NULL);
    handed_end(bed->ownership);
}

void handed_begin(enum ownership ownership)
{
    if (ownership == OWNED) syncmap_pin();
}

void handed_end(enum ownership ownership)
{
    if (ownership == OWNED) syncmap_unpin();
}

void handed_done(enum ownership ownership, void *value)
{
    if (ownership == ACQUIRED && value) value_release(value);
}

void previous_done(enum ownership ownership, void *value)
{
    if (ownership == OWNED) CHECK(syncmap_retire(value, value_release) == 0);
    if (ownership == ACQUIRED && value) value_release(value);
}

void refused_done(enum ownership ownership, void *value)
{
    if (ownership != PLAIN && value) value_release(value);
}

struct given {
    void *value;
    bool taken;
};

static int give(syncmap_key key, void **value, void *context)
{
    struct given *given = context;
    (void)key;
    CHECK(*value == NULL && !given->taken);
    *value = given->value;
    given->taken = true;
    return 0;
}

/* With a reference more, as the map gives up what it does not store. */
int computed_load_or_store(syncmap *map, syncmap_key key, void *value, void **actual, enum ownership ownership)
{
    struct given given = {.value = value};
    bool counted = ownership != PLAIN && value != NULL;
    if (counted) value_acquire(value, NULL);
    int result = syncmap_load_or_compute(map, key, give, &given, actual);
    CHECK(result != 0 || given.taken);
    if (counted && (result == 0 || !given.taken)) value_release(value);
    return result;
}

struct range_count {
    struct bed *bed;
    size_t count;
    bool seen[RANGE_KEYS];
};

static bool visit_count(syncmap_key key, void *value, void *context)
{
    struct range_count *count = context;
    uint64_t index = config_key_index(count->bed->config, key);
    CHECK(index < RANGE_KEYS);
    CHECK(!count->seen[index]);
    count->seen[index] = true;
    count->count++;
    if (value) value_check(value, index);
    handed_done(count->bed->ownership, value);
    return true;
}

size_t bed_range_count(struct bed *bed)
{
    struct range_count count = {.bed = bed};
    CHECK(syncmap_range(bed->map, visit_count, &count) == 1);
    return count.count;
}

/* ---- the map against the reference ---- */

struct comparison {
    struct bed *bed;
    struct reference *reference;
    size_t count;
    bool seen[REFERENCE_KEYS];
};

static bool visit_compare(syncmap_key key, void *value, void *context)
{
    struct comparison *comparison = context;
    uint64_t index = config_key_index(comparison->bed->config, key);
    CHECK(index < REFERENCE_KEYS);
    CHECK(!comparison->seen[index]);
    comparison->seen[index] = true;
    comparison->count++;
    void *expected;
    CHECK(reference_load(comparison->reference, index, &expected) == 1);
    CHECK(value == expected);
    handed_done(comparison->bed->ownership, value);
    return true;
}

void bed_compare(struct bed *bed, struct reference *reference, uint64_t keys)
{
    CHECK(syncmap_len(bed->map) == reference_len(reference));
    handed_begin(bed->ownership);
    for (uint64_t index = 0; index < keys; index++) {
        void *value = &value;
        void *expected;
        int present = reference_load(reference, index, &expected);
        CHECK(syncmap_load(bed->map, KEY(bed, index), &value) == present);
        CHECK(value == expected);
        if (value) value_check(value, index);
        handed_done(bed->ownership, value);
    }
    handed_end(bed->ownership);
    struct comparison comparison = {.bed = bed, .reference = reference};
    CHECK(syncmap_range(bed->map, visit_compare, &comparison) == 1);
    CHECK(comparison.count == reference_len(reference));
    CHECK(syncmap_len(bed->map) == comparison.count);
}

void for_each_config(void (*test)(const struct config *config))
{
    test_seed();
    for (size_t i = 0; i < test_config_count; i++) {
        harness_note(test_configs[i].name);
        test(&test_configs[i]);
    }
}

void for_each_ownership(void (*test)(const struct config *config, enum ownership ownership))
{
    static const char *const names[OWNERSHIPS] = {"plain", "owned", "acquired"};
    test_seed();
    for (size_t i = 0; i < test_config_count; i++) {
        for (int ownership = 0; ownership < OWNERSHIPS; ownership++) {
            char text[128];
            snprintf(text, sizeof text, "%s, %s values", test_configs[i].name, names[ownership]);
            harness_note(text);
            test(&test_configs[i], (enum ownership)ownership);
        }
    }
}

/* ---- threads ---- */

struct team_member {
    pthread_barrier_t *gate;
    void (*body)(size_t number, void *context);
    void *context;
    size_t number;
    pthread_t id;
};

static void *team_main(void *argument)
{
    struct team_member *member = argument;
    pthread_barrier_wait(member->gate);
    member->body(member->number, member->context);
    return NULL;
}

void threads_run(size_t count, void (*body)(size_t number, void *context), void *context)
{
    pthread_barrier_t gate;
    struct team_member *team = calloc(count, sizeof *team);
    CHECK(team != NULL);
    CHECK(pthread_barrier_init(&gate, NULL, (unsigned)count) == 0);
    for (size_t i = 0; i < count; i++) {
        team[i] = (struct team_member){.gate = &gate, .body = body, .context = context, .number = i};
        CHECK(pthread_create(&team[i].id, NULL, team_main, &team[i]) == 0);
    }
    for (size_t i = 0; i < count; i++) CHECK(pthread_join(team[i].id, NULL) == 0);
    CHECK(pthread_barrier_destroy(&gate) == 0);
    free(team);
}

static void *thread_main(void *argument)
{
    struct thread *thread = argument;
    thread->body(thread->context);
    return NULL;
}

void thread_start(struct thread *thread, void (*body)(void *context), void *context)
{
    thread->body = body;
    thread->context = context;
    CHECK(pthread_create(&thread->id, NULL, thread_main, thread) == 0);
}

void thread_join(struct thread *thread)
{
    CHECK(pthread_join(thread->id, NULL) == 0);
}

void stage_set(struct stage *stage, int number)
{
    atomic_store(&stage->reached, number);
}

void stage_wait(struct stage *stage, int number)
{
    while (atomic_load(&stage->reached) < number) sched_yield();
}

void sleep_ms(unsigned milliseconds)
{
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    nanosleep(&time, NULL);
}
