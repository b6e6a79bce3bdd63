/* SPDX-License-Identifier: MIT
 *
 * What the API suites share beyond support.h: a map with its allocator and its rule of ownership, threads that
 * start together, and the comparison of a map with the reference.
 */
#ifndef SYNCMAP_TEST_HARNESS_H
#define SYNCMAP_TEST_HARNESS_H

#include "support/reference.h"
#include "support/support.h"

/* How much smaller a random test is made where a sanitizer makes each step slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SCALE 10
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define TEST_SCALE 10
#endif
#endif
#ifndef TEST_SCALE
#define TEST_SCALE 1
#endif

/* What check_failed adds to its message: say which configuration is running. Called by the main thread. */
void harness_note(const char *text);

/* ---- a map under test ---- */

enum ownership {
    PLAIN,   /* no value callbacks */
    OWNED,   /* value_free: what is loaded needs a pin */
    ACQUIRED /* value_free and value_acquire: what is handed out is the caller's */
};
enum { OWNERSHIPS = ACQUIRED + 1 };

struct bed {
    const struct config *config;
    enum ownership ownership;
    struct counting counting;
    syncmap *map;
};

/* config_options with the callbacks of `ownership`. */
syncmap_options bed_options(const struct config *config, enum ownership ownership, struct counting *counting);
/* Sets options->context, and makes the dup of custom keys fail as an allocation of `counting` would. */
void options_dup_may_fail(syncmap_options *options, struct counting *counting);
void bed_open(struct bed *bed, const struct config *config, enum ownership ownership);
/* With these options, which the caller made by bed_options(config, ownership, &bed->counting). */
void bed_open_with(struct bed *bed, const syncmap_options *options);
/* finish_map: all that the map owned must be gone. */
void bed_close(struct bed *bed);

/* A key that lives as long as the block it stands in. */
#define KEY(bed, index) config_key((bed)->config, (index), (char *)(uint64_t[KEY_BUFFER / 8]){0})

/* Stores a fresh value under key `index` and checks the result: 1 replaced, 0 new. */
void bed_store(struct bed *bed, uint64_t index, int result);
void bed_delete(struct bed *bed, uint64_t index, int result);
/* Checks that the key is there with a value of its own, or (absent) that it is not. */
void bed_check_present(struct bed *bed, uint64_t index);
void bed_check_absent(struct bed *bed, uint64_t index);

/* Around a call that hands out a value, and its use: a pin where the header asks for one, and nowhere else, so that an
 * acquired value has to do without. */
void handed_begin(enum ownership ownership);
void handed_end(enum ownership ownership);
/* The caller is done with what load, actual or a visit handed out; with what swap or load_and_delete wrote to
 * previous; with a value that the map refused. NULL is fine. */
void handed_done(enum ownership ownership, void *value);
void previous_done(enum ownership ownership, void *value);
void refused_done(enum ownership ownership, void *value);

/* syncmap_load_or_store(), by way of a compute that gives `value`: the same, also in that the caller keeps a value that was not
 * stored. */
int computed_load_or_store(syncmap *map, syncmap_key key, void *value, void **actual, enum ownership ownership);

/* The number of keys that range visits, each checked to be visited once with a value of its own (or NULL). Key
 * indexes must be below RANGE_KEYS. */
enum { RANGE_KEYS = 4096 };
size_t bed_range_count(struct bed *bed);

/* Aborts unless the first `keys` keys of the map, by load and by range, and its len are what the reference has. */
void bed_compare(struct bed *bed, struct reference *reference, uint64_t keys);

/* Runs `test` for every configuration, or for every configuration and ownership, noting which. */
void for_each_config(void (*test)(const struct config *config));
void for_each_ownership(void (*test)(const struct config *config, enum ownership ownership));

/* ---- threads ---- */

/* Runs body(0, context) ... body(count - 1, context) on threads of their own that start together; joins them. */
void threads_run(size_t count, void (*body)(size_t number, void *context), void *context);

/* One thread in the background; joined by thread_join. */
struct thread {
    void (*body)(void *context);
    void *context;
    pthread_t id;
};
void thread_start(struct thread *thread, void (*body)(void *context), void *context);
void thread_join(struct thread *thread);

/* A number that only grows, to wait for: the hand-shakes between threads of a test. */
struct stage {
    atomic_int reached;
};
void stage_set(struct stage *stage, int number);
void stage_wait(struct stage *stage, int number);
void sleep_ms(unsigned milliseconds);

#endif
