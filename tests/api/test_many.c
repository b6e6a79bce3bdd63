/* SPDX-License-Identifier: MIT
 *
 * load_many: as many single loads, each at an instant of its own in the call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/harness.h"

/* ---- keys, and room for what is loaded ---- */

enum { KEYS = 40, MOST = 1000 };

static const size_t counts[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 255, 256, 257, MOST};
enum { COUNTS = sizeof counts / sizeof counts[0] };

/* Keys of a call, and where it writes; one place more than it may. What is in the arrays before is neither a value nor a
 * truth, so what was not written shows. */
struct batch {
    const struct config *config;
    size_t count;
    uint64_t *index;
    syncmap_key *keys;
    void **values;
    unsigned char *present; /* bools, but for UNTOUCHED */
    uint64_t (*buffers)[KEY_BUFFER / 8];
};

enum { UNTOUCHED = 0xee };
static char untouched;

static void *array(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    CHECK(memory != NULL);
    return memory;
}

static void batch_reset(struct batch *batch)
{
    for (size_t i = 0; i <= batch->count; i++) batch->values[i] = &untouched;
    memset(batch->present, UNTOUCHED, batch->count + 1);
}

static void batch_open(struct batch *batch, const struct config *config, size_t count)
{
    *batch = (struct batch){.config = config, .count = count};
    batch->index = array(count, sizeof *batch->index);
    batch->keys = array(count, sizeof *batch->keys);
    batch->values = array(count, sizeof *batch->values);
    batch->present = array(count, sizeof *batch->present);
    batch->buffers = array(count, sizeof *batch->buffers);
    batch_reset(batch);
}

static void batch_key(struct batch *batch, size_t at, uint64_t index)
{
    batch->index[at] = index;
    batch->keys[at] = config_key(batch->config, index, (char *)batch->buffers[at]);
}

static void batch_close(struct batch *batch)
{
    free(batch->index);
    free(batch->keys);
    free(batch->values);
    free(batch->present);
    free(batch->buffers);
}

static int batch_load(struct batch *batch, syncmap *map)
{
    return syncmap_load_many(map, batch->count, batch->keys, batch->values, (bool *)batch->present);
}

/* Nothing was written from place `first` on. */
static void batch_check_untouched(const struct batch *batch, size_t first)
{
    for (size_t i = first; i <= batch->count; i++) {
        CHECK(batch->values[i] == &untouched);
        CHECK(batch->present[i] == UNTOUCHED);
    }
}

static void batch_done(struct batch *batch, enum ownership ownership)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->present[i] == 1) handed_done(ownership, batch->values[i]);
}

static void fill(struct bed *bed, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) bed_store(bed, i, 0);
}

/* ---- arguments ---- */

static void refused(struct batch *batch, syncmap *map)
{
    syncmap_pin();
    CHECK(batch_load(batch, map) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_many(map, batch->count, batch->keys, NULL, (bool *)batch->present) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_many(map, batch->count, batch->keys, batch->values, NULL) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_many(map, batch->count, batch->keys, NULL, NULL) == SYNCMAP_EINVAL);
    syncmap_unpin();
    batch_check_untouched(batch, 0);
}

static void null_arguments(const struct config *config)
{
    struct bed bed;
    struct batch batch;
    bed_open(&bed, config, OWNED);
    fill(&bed, 0, KEYS);
    for (size_t i = 0; i < COUNTS; i++) {
        batch_open(&batch, config, counts[i]);
        for (size_t at = 0; at < batch.count; at++) batch_key(&batch, at, at % (2 * KEYS));
        refused(&batch, NULL);
        CHECK(syncmap_load_many(NULL, batch.count, NULL, NULL, NULL) == SYNCMAP_EINVAL);
        syncmap_key *keys = batch.keys;
        batch.keys = NULL;
        if (counts[i] > 0) refused(&batch, bed.map);
        batch.keys = keys;
        batch_close(&batch);
    }
    CHECK(bed_range_count(&bed) == KEYS);
    bed_close(&bed);
}

static void test_null_arguments(void **state)
{
    (void)state;
    for_each_config(null_arguments);
}

/* None is all that were asked for. */
static void none(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct batch batch;
    bed_open(&bed, config, ownership);
    batch_open(&batch, config, 0);
    for (int filled = 0; filled < 2; filled++) {
        CHECK(batch_load(&batch, bed.map) == 1);
        CHECK(syncmap_load_many(bed.map, 0, batch.keys, NULL, NULL) == 1);
        batch_check_untouched(&batch, 0);
        if (!filled) fill(&bed, 0, KEYS);
    }
    batch_close(&batch);
    bed_close(&bed);
}

static void test_none(void **state)
{
    (void)state;
    for_each_ownership(none);
}

/* A few keys that this kind of map refuses. */
static size_t bad_keys(enum syncmap_kind kind, syncmap_key bad[8])
{
    static const uint64_t object[2];
    size_t count = 0;
    if (kind != SYNCMAP_U64) bad[count++] = syncmap_u64(1);
    if (kind != SYNCMAP_STRING) bad[count++] = syncmap_str("key");
    if (kind != SYNCMAP_BYTES) bad[count++] = syncmap_bytes("key", 3);
    if (kind != SYNCMAP_CUSTOM) bad[count++] = syncmap_obj(object);
    if (kind == SYNCMAP_STRING) bad[count++] = syncmap_str(NULL);
    if (kind == SYNCMAP_BYTES) {
        bad[count++] = syncmap_bytes(NULL, 1);
        bad[count++] = syncmap_bytes(NULL, SYNCMAP_KEY_LEN_MAX);
        bad[count++] = syncmap_bytes("key", SYNCMAP_KEY_LEN_MAX + 1);
        bad[count++] = syncmap_bytes("key", SIZE_MAX);
    }
    return count;
}

/* One key that is not of the map's kind, anywhere: nothing is written, no reference is taken. */
static void invalid_keys(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct batch batch;
    syncmap_key bad[8];
    const size_t bad_count = bad_keys(config->kind, bad);
    bed_open(&bed, config, ownership);
    for (int filled = 0; filled < 2; filled++) {
        for (size_t i = 1; i < COUNTS; i++) {
            batch_open(&batch, config, counts[i]);
            for (size_t at = 0; at < batch.count; at++) batch_key(&batch, at, at % KEYS);
            for (size_t at = 0; at < batch.count; at += 1 + batch.count / 9) {
                for (int last = 0; last < 2; last++) {
                    size_t place = last ? batch.count - 1 - at : at;
                    syncmap_key good = batch.keys[place];
                    batch.keys[place] = bad[(at + i) % bad_count];
                    refused(&batch, bed.map);
                    batch.keys[place] = good;
                }
            }
            /* All of them bad. */
            for (size_t at = 0; at < batch.count; at++) batch.keys[at] = bad[at % bad_count];
            refused(&batch, bed.map);
            batch_close(&batch);
        }
        if (!filled) fill(&bed, 0, KEYS);
    }
    for (uint64_t i = 0; i < KEYS && ownership != PLAIN; i++) {
        void *value = NULL;
        syncmap_pin();
        CHECK(syncmap_load(bed.map, KEY(&bed, i), &value) == 1);
        CHECK(atomic_load(&((struct value *)value)->references) == (ownership == ACQUIRED ? 2 : 1));
        handed_done(ownership, value);
        syncmap_unpin();
    }
    bed_close(&bed);
}

static void test_invalid_keys(void **state)
{
    (void)state;
    for_each_ownership(invalid_keys);
}

/* ---- as single loads ---- */

/* Each of the four ways to ask, compared with loads of the same keys one by one. */
static void compare(struct bed *bed, struct batch *batch)
{
    enum ownership ownership = bed->ownership;
    int all = 1;
    handed_begin(ownership);
    batch_reset(batch);
    int result = batch_load(batch, bed->map);
    for (size_t i = 0; i < batch->count; i++) {
        void *value = &untouched;
        int present = syncmap_load(bed->map, batch->keys[i], &value);
        CHECK(present >= 0);
        CHECK(batch->present[i] == present);
        CHECK(batch->values[i] == value);
        if (!present) all = 0;
        handed_done(ownership, value);
    }
    CHECK(result == all);
    batch_check_untouched(batch, batch->count);
    batch_done(batch, ownership);

    batch_reset(batch);
    CHECK(syncmap_load_many(bed->map, batch->count, batch->keys, batch->values, NULL) == all);
    for (size_t i = 0; i <= batch->count; i++) CHECK(batch->present[i] == UNTOUCHED);
    for (size_t i = 0; i < batch->count; i++) {
        void *value = &untouched;
        CHECK(syncmap_load(bed->map, batch->keys[i], &value) >= 0);
        CHECK(batch->values[i] == value);
        handed_done(ownership, value);
        handed_done(ownership, batch->values[i]);
    }
    CHECK(batch->values[batch->count] == &untouched);
    handed_end(ownership);

    /* Without values nothing is handed out: no pin is needed, and no reference taken. */
    batch_reset(batch);
    CHECK(syncmap_load_many(bed->map, batch->count, batch->keys, NULL, (bool *)batch->present) == all);
    for (size_t i = 0; i < batch->count; i++)
        CHECK(batch->present[i] == syncmap_load(bed->map, batch->keys[i], NULL));
    CHECK(batch->present[batch->count] == UNTOUCHED);
    for (size_t i = 0; i <= batch->count; i++) CHECK(batch->values[i] == &untouched);
    CHECK(syncmap_load_many(bed->map, batch->count, batch->keys, NULL, NULL) == all);
}

static void as_single_loads(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct rng rng = rng_make(test_seed(), 8000 + (uint64_t)ownership);
    bed_open(&bed, config, ownership);
    for (int shape = 0; shape < 6; shape++) {
        /* Nothing; some; some, NULL among them; after a range; after deletes; after a clear. */
        if (shape == 1) fill(&bed, 0, KEYS);
        if (shape == 2) {
            for (uint64_t i = 0; i < KEYS; i += 5) CHECK(syncmap_store(bed.map, KEY(&bed, i), NULL) == 1);
        }
        if (shape == 3) {
            CHECK(bed_range_count(&bed) == KEYS);
            fill(&bed, KEYS, 2 * KEYS);
        }
        if (shape == 4) {
            for (uint64_t i = 0; i < 2 * KEYS; i += 3) bed_delete(&bed, i, 1);
        }
        if (shape == 5) {
            CHECK(syncmap_clear(bed.map) == 0);
            fill(&bed, 5, 7);
        }
        for (size_t i = 0; i < COUNTS; i++) {
            struct batch batch;
            batch_open(&batch, config, counts[i]);
            /* Distinct keys where there are enough, one key only, any with duplicates, none that is there, all there. */
            for (int draw = 0; draw < 5; draw++) {
                uint64_t only = rng_below(&rng, 3 * KEYS);
                for (size_t at = 0; at < batch.count; at++) {
                    uint64_t index = draw == 0   ? at
                                     : draw == 1 ? only
                                     : draw == 2 ? rng_below(&rng, 3 * KEYS)
                                     : draw == 3 ? 10 * MOST + at
                                                 : 5 + at % 2;
                    batch_key(&batch, at, index);
                }
                compare(&bed, &batch);
            }
            batch_close(&batch);
        }
    }
    bed_close(&bed);
}

static void test_as_single_loads(void **state)
{
    (void)state;
    for_each_ownership(as_single_loads);
}

/* One that is absent, at each place of the batch, among some that are present; and the reverse. */
static void one_differs(const struct config *config)
{
    struct bed bed;
    struct batch batch;
    bed_open(&bed, config, ACQUIRED);
    fill(&bed, 0, KEYS);
    for (size_t count = 1; count <= KEYS; count++) {
        batch_open(&batch, config, count);
        for (size_t other = 0; other < count; other++) {
            for (int absent = 0; absent < 2; absent++) {
                for (size_t at = 0; at < count; at++) batch_key(&batch, at, (at == other) == absent ? KEYS + at : at);
                batch_reset(&batch);
                CHECK(batch_load(&batch, bed.map) == (count == 1 && !absent));
                for (size_t at = 0; at < count; at++) {
                    CHECK(batch.present[at] == ((at == other) != absent));
                    if (batch.present[at]) {
                        value_check(batch.values[at], at);
                    } else {
                        CHECK(batch.values[at] == NULL);
                    }
                }
                batch_done(&batch, ACQUIRED);
            }
        }
        batch_close(&batch);
    }
    bed_close(&bed);
}

static void test_one_differs(void **state)
{
    (void)state;
    for_each_config(one_differs);
}

/* ---- what it hands out, needs, and reads ---- */

/* One reference for each place, duplicates too; none without value_acquire. */
static void references(const struct config *config, enum ownership ownership)
{
    if (ownership == PLAIN) return;
    struct bed bed;
    struct batch batch;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, KEYS);
    batch_open(&batch, config, 17 * KEYS);
    for (size_t at = 0; at < batch.count; at++) batch_key(&batch, at, at * 7 % KEYS);
    syncmap_pin();
    CHECK(batch_load(&batch, bed.map) == 1);
    for (size_t at = 0; at < batch.count; at++) {
        value_check(batch.values[at], batch.index[at]);
        int taken = atomic_load(&((struct value *)batch.values[at])->references);
        CHECK(taken == (ownership == ACQUIRED ? 18 : 1));
    }
    if (ownership == ACQUIRED) syncmap_unpin();
    /* They stay good when the map has lost them: by the reference, or by the pin. */
    for (uint64_t i = 0; i < KEYS; i++) bed_delete(&bed, i, 1);
    for (int i = 0; i < 200; i++) {
        bed_store(&bed, 0, i > 0);
        CHECK(syncmap_retire(value_make(0), value_release) == 0);
    }
    syncmap_barrier();
    for (size_t at = 0; at < batch.count; at++) value_check(batch.values[at], batch.index[at]);
    batch_done(&batch, ownership);
    if (ownership == OWNED) syncmap_unpin();
    batch_close(&batch);
    bed_close(&bed);
}

static void test_references(void **state)
{
    (void)state;
    for_each_ownership(references);
}

/* The keys, and what they point to, may be constant: nothing of it is written; nothing is allocated or freed. */
static void reads_only(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    struct batch batch;
    bed_open(&bed, config, ownership);
    fill(&bed, 0, 150);
    batch_open(&batch, config, 300);
    for (size_t at = 0; at < batch.count; at++) batch_key(&batch, at, at);
    syncmap_key *keys = array(batch.count, sizeof *keys);
    memcpy(keys, batch.keys, batch.count * sizeof *keys);
    for (int time = 0; time < 5; time++) {
        long long calls = atomic_load(&bed.counting.calls), bytes = atomic_load(&bed.counting.live_bytes);
        atomic_store(&bed.counting.fail_after, 0);
        handed_begin(ownership);
        CHECK(batch_load(&batch, bed.map) == 0);
        batch_done(&batch, ownership);
        handed_end(ownership);
        atomic_store(&bed.counting.fail_after, -1);
        CHECK(atomic_load(&bed.counting.calls) == calls);
        CHECK(atomic_load(&bed.counting.live_bytes) == bytes);
        CHECK(memcmp(keys, batch.keys, batch.count * sizeof *keys) == 0);
        for (size_t at = 0; at < batch.count; at++) CHECK(config_key_index(config, batch.keys[at]) == at);
    }
    free(keys);
    batch_close(&batch);
    bed_close(&bed);
}

static void test_reads_only(void **state)
{
    (void)state;
    for_each_ownership(reads_only);
}

/* ---- beside what changes the map ---- */

/* After each of the steps of a growing and then of a shrinking map all keys at once: so in each state of a move. */
static void step_by_step(const struct config *config)
{
    enum { WINDOW = 48 };
    const uint64_t most = config->hash == TEST_HASH_GOOD ? 4000 / TEST_SCALE : 150;
    struct bed bed;
    struct batch batch;
    struct rng rng = rng_make(test_seed(), 9000);
    bed_open(&bed, config, ACQUIRED);
    batch_open(&batch, config, WINDOW);
    for (int down = 0; down < 2; down++) {
        for (uint64_t step = 0; step < most; step++) {
            uint64_t keys = down ? most - step - 1 : step + 1;
            if (down) {
                bed_delete(&bed, keys, 1);
            } else {
                bed_store(&bed, keys - 1, 0);
            }
            int all = 1;
            for (size_t at = 0; at < WINDOW; at++) {
                uint64_t index = rng_below(&rng, 8) ? rng_below(&rng, keys + 1) : keys + at;
                batch_key(&batch, at, index);
                if (index >= keys) all = 0;
            }
            CHECK(batch_load(&batch, bed.map) == all);
            for (size_t at = 0; at < WINDOW; at++) {
                CHECK(batch.present[at] == (batch.index[at] < keys));
                if (batch.present[at]) value_check(batch.values[at], batch.index[at]);
            }
            batch_done(&batch, ACQUIRED);
        }
    }
    batch_close(&batch);
    bed_close(&bed);
}

static void test_step_by_step(void **state)
{
    (void)state;
    for_each_config(step_by_step);
}

/* A hundred thousand at once. */
static void large(const struct config *config)
{
    const size_t keys = config->hash == TEST_HASH_GOOD ? 100000 / TEST_SCALE : 500;
    struct bed bed;
    struct batch batch;
    bed_open(&bed, config, OWNED);
    fill(&bed, 0, keys);
    batch_open(&batch, config, keys + 1);
    for (size_t at = 0; at < batch.count; at++) batch_key(&batch, at, keys - at);
    syncmap_pin();
    CHECK(batch_load(&batch, bed.map) == 0);
    CHECK(batch.present[0] == 0 && batch.values[0] == NULL);
    for (size_t at = 1; at < batch.count; at++) {
        CHECK(batch.present[at] == 1);
        value_check(batch.values[at], keys - at);
    }
    batch.count = keys;
    batch_key(&batch, 0, 0);
    CHECK(batch_load(&batch, bed.map) == 1);
    syncmap_unpin();
    batch_close(&batch);
    bed_close(&bed);
}

static void test_large(void **state)
{
    (void)state;
    for_each_config(large);
}

struct visit_load {
    struct bed *bed;
    size_t visits;
};

/* The key that is visited, twice, with one that is absent between. */
static bool visit_load(syncmap_key key, void *value, void *context)
{
    struct visit_load *visit = context;
    enum ownership ownership = visit->bed->ownership;
    syncmap_key keys[3] = {key, KEY(visit->bed, 3 * KEYS), key};
    void *values[3] = {NULL, &untouched, NULL};
    bool present[3] = {false, true, false};
    CHECK(syncmap_load_many(visit->bed->map, 3, keys, values, present) == 0);
    CHECK(present[0] && !present[1] && present[2]);
    CHECK(values[0] == value && values[1] == NULL && values[2] == value);
    CHECK(syncmap_load_many(visit->bed->map, 1, keys, NULL, NULL) == 1);
    handed_done(ownership, values[0]);
    handed_done(ownership, values[2]);
    handed_done(ownership, value);
    visit->visits++;
    return true;
}

static void in_visits(const struct config *config, enum ownership ownership)
{
    struct bed bed;
    syncmap_cursor cursor = {0};
    bed_open(&bed, config, ownership);
    fill(&bed, 0, KEYS);
    struct visit_load visit = {&bed, 0};
    CHECK(syncmap_range(bed.map, visit_load, &visit) == 1);
    while (syncmap_scan(bed.map, &cursor, 3, visit_load, &visit) == 1) continue;
    CHECK(visit.visits == 2 * KEYS);
    bed_close(&bed);
}

static void test_in_visits(void **state)
{
    (void)state;
    for_each_ownership(in_visits);
}

/* ---- beside other threads ---- */

enum { ORDERED = 40, READERS = 2 };

/* One thread stores the ordered keys, one after another, with the number of the round as their value; or, each round, keys that
 * are new. The others load some of them, in any order: what a call finds is not older than what any call before it has found, and no newer than
 * the round that goes on when it ends. */
struct ordered {
    struct bed bed;
    uint64_t rounds;
    bool new_keys;
    atomic_ullong round;
    atomic_bool done;
};

static uint64_t ordered_key(const struct ordered *ordered, uint64_t round, uint64_t at)
{
    return ordered->new_keys ? round * ORDERED + at : at;
}

static void ordered_writer(struct ordered *ordered)
{
    for (uint64_t round = 1; round <= ordered->rounds; round++) {
        atomic_store(&ordered->round, round);
        for (uint64_t at = 0; at < ORDERED; at++) {
            int result = syncmap_store(ordered->bed.map, KEY(&ordered->bed, ordered_key(ordered, round, at)),
                                       (void *)(uintptr_t)round);
            CHECK(result == (!ordered->new_keys && round > 1));
        }
    }
    atomic_store(&ordered->done, true);
}

static void ordered_reader(struct ordered *ordered, struct rng *rng)
{
    struct batch batch;
    uint64_t at[ORDERED], stored = 0; /* the newest store that was seen, as round * ORDERED + at */
    batch_open(&batch, ordered->bed.config, ORDERED);
    while (!atomic_load(&ordered->done)) {
        uint64_t round = atomic_load(&ordered->round), newest = stored;
        if (round == 0) continue;
        batch.count = 1 + rng_below(rng, ORDERED);
        for (size_t i = 0; i < batch.count; i++) {
            at[i] = rng_below(rng, ORDERED);
            batch_key(&batch, i, ordered_key(ordered, round, at[i]));
        }
        int result = batch_load(&batch, ordered->bed.map);
        uint64_t last_round = atomic_load(&ordered->round);
        bool all = true;
        for (size_t i = 0; i < batch.count; i++) {
            uint64_t value = (uintptr_t)batch.values[i];
            CHECK(batch.present[i] == (value != 0));
            all = all && batch.present[i];
            CHECK(value <= last_round);
            if (ordered->new_keys)
                CHECK(value == round || (value == 0 && round * ORDERED + at[i] > stored));
            else
                CHECK((value + 1) * ORDERED + at[i] > stored);
            if (value != 0 && value * ORDERED + at[i] > newest) newest = value * ORDERED + at[i];
        }
        CHECK(result == all);
        stored = newest;
    }
    batch_close(&batch);
}

static void ordered_thread(size_t number, void *context)
{
    struct ordered *ordered = context;
    struct rng rng = rng_make(test_seed(), 10000 + number);
    if (number == 0)
        ordered_writer(ordered);
    else
        ordered_reader(ordered, &rng);
}

static void none_stale(const struct config *config)
{
    for (int new_keys = 0; new_keys < 2; new_keys++) {
        struct ordered ordered = {.new_keys = new_keys};
        if (config->hash == TEST_HASH_GOOD)
            ordered.rounds = (new_keys ? 2000 : 20000) / TEST_SCALE;
        else
            ordered.rounds = new_keys ? 20 : 5000 / TEST_SCALE;
        bed_open(&ordered.bed, config, PLAIN);
        threads_run(1 + READERS, ordered_thread, &ordered);
        bed_close(&ordered.bed);
    }
}

static void test_none_stale(void **state)
{
    (void)state;
    for_each_config(none_stale);
}

/* Writers replace, delete and store, so that the map grows and shrinks; readers load stable keys and others at once. */
struct crowd {
    struct bed bed;
    uint64_t stable, churn, steps;
    atomic_int reading;
};

static void crowd_writer(struct crowd *crowd, struct rng *rng)
{
    struct bed *bed = &crowd->bed;
    while (atomic_load(&crowd->reading) > 0) {
        uint64_t size = 1 + rng_below(rng, crowd->churn), up = rng_below(rng, 2);
        for (uint64_t i = 0; i < size && atomic_load(&crowd->reading) > 0; i++) {
            uint64_t index = crowd->stable + rng_below(rng, size);
            if (rng_below(rng, 4) == up * 3) CHECK(syncmap_delete(bed->map, KEY(bed, index)) >= 0);
            if (rng_below(rng, 8) == 0) index = rng_below(rng, crowd->stable);
            if (index < crowd->stable || rng_below(rng, 4) == 0 || up) {
                void *value = bed->ownership == PLAIN ? NULL : value_make(index);
                int result = syncmap_store(bed->map, KEY(bed, index), value);
                CHECK(index < crowd->stable ? result == 1 : result >= 0);
            }
        }
    }
}

static void crowd_reader(struct crowd *crowd, struct rng *rng)
{
    enum ownership ownership = crowd->bed.ownership;
    struct batch batch;
    batch_open(&batch, crowd->bed.config, 64);
    for (uint64_t step = 0; step < crowd->steps; step++) {
        int all = 1;
        batch.count = rng_below(rng, 65);
        for (size_t i = 0; i < batch.count; i++) {
            bool stable = rng_below(rng, 2);
            batch_key(&batch, i, stable ? rng_below(rng, crowd->stable) : crowd->stable + rng_below(rng, crowd->churn));
        }
        batch_reset(&batch);
        handed_begin(ownership);
        int result = batch_load(&batch, crowd->bed.map);
        batch_check_untouched(&batch, batch.count);
        for (size_t i = 0; i < batch.count; i++) {
            CHECK(batch.present[i] < 2);
            if (batch.index[i] < crowd->stable) CHECK(batch.present[i] == 1);
            if (batch.present[i] == 0) CHECK(batch.values[i] == NULL);
            if (batch.present[i] == 1 && ownership != PLAIN) value_check(batch.values[i], batch.index[i]);
            if (batch.present[i] == 0) all = 0;
        }
        CHECK(result == all);
        batch_done(&batch, ownership);
        handed_end(ownership);
    }
    batch_close(&batch);
    atomic_fetch_sub(&crowd->reading, 1);
}

static void crowd_thread(size_t number, void *context)
{
    struct rng rng = rng_make(test_seed(), 11000 + number);
    if (number < READERS)
        crowd_reader(context, &rng);
    else
        crowd_writer(context, &rng);
}

static void beside_writers(const struct config *config, enum ownership ownership)
{
    const bool good = config->hash == TEST_HASH_GOOD;
    struct crowd crowd = {.stable = 32, .churn = good ? 2000 : 80, .steps = 10000 / TEST_SCALE, .reading = READERS};
    bed_open(&crowd.bed, config, ownership);
    fill(&crowd.bed, 0, crowd.stable);
    threads_run(READERS + 2, crowd_thread, &crowd);
    CHECK(bed_range_count(&crowd.bed) == syncmap_len(crowd.bed.map));
    bed_close(&crowd.bed);
}

static void test_beside_writers(void **state)
{
    (void)state;
    for_each_ownership(beside_writers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_arguments), cmocka_unit_test(test_none),       cmocka_unit_test(test_invalid_keys),
        cmocka_unit_test(test_as_single_loads), cmocka_unit_test(test_one_differs), cmocka_unit_test(test_references),
        cmocka_unit_test(test_reads_only),     cmocka_unit_test(test_step_by_step), cmocka_unit_test(test_large),
        cmocka_unit_test(test_in_visits),      cmocka_unit_test(test_none_stale),   cmocka_unit_test(test_beside_writers),
    };
    test_seed();
    cmocka_set_test_filter(getenv("TESTS")); /* a pattern; not set: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
