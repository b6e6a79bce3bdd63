/* SPDX-License-Identifier: MIT
 *
 * The phases of the first set, but insert and memory. Every answer is checked.
 */
#ifndef BENCH_RUN_WORK_H
#define BENCH_RUN_WORK_H

#include "run_frame.h"
#include "run_streams.h"

/* ---- parts ---------------------------------------------------------------------------------------- */

/* A worker's part of the numbers 0 to count-1. */
static uint64_t part_begin(const struct worker *worker, uint64_t count)
{
    return count * worker->index / bench.options.threads;
}

static uint64_t part_end(const struct worker *worker, uint64_t count)
{
    return count * (worker->index + 1) / bench.options.threads;
}

static bench_draw draw_number(uint64_t i)
{
    return draw_in(bench.texts, i);
}

/* Calls map_tick() now and then in loops over numbers, which are not timed. */
static void tick_at(map_type *map, uint64_t i)
{
    if (i % BATCH == 0) {
        map_tick(map);
    }
}

/* Loads each key of 0 to n-1 once, which all are there, so that a map which learns from loads has learnt. */
static void load_each_once(struct worker *worker)
{
    if (worker->index == 0) {
        for (uint64_t i = 0; i < bench.options.n; i++) {
            bench_draw draw = draw_number(i);
            uint64_t value;

            if (map_load(worker->map, draw_key(draw), &value) != 1 || value != draw_value(draw)) {
                wrong("a key is missing that was inserted, or has a wrong value");
            }
            tick_at(worker->map, i);
        }
        map_quiesce(worker->map);
    }
    meet(&bench.together);
}

/* Sets worker->counted to the keys of its part of 0 to 2n-1 that are there. */
static void count_part(struct worker *worker)
{
    uint64_t end = part_end(worker, 2 * bench.options.n);

    worker->counted = 0;
    for (uint64_t i = part_begin(worker, 2 * bench.options.n); i < end; i++) {
        bench_draw draw = draw_number(i);
        uint64_t value;

        if (map_load(worker->map, draw_key(draw), &value) == 1) {
            if (value != draw_value(draw)) {
                wrong("wrong value");
            }
            worker->counted++;
        }
        tick_at(worker->map, i);
    }
}

static void use_stream(struct worker *worker, enum stream stream)
{
    const struct options *options = &bench.options;

    worker->draws = stream_make(stream, options->n, options->seed, worker->index, bench.texts);
    worker->cursor.draws = worker->draws;
    worker->cursor.count = stream_count(stream, options->n);
}

/* ---- fill and delete_all -------------------------------------------------------------------------- */

static void run_fill(struct worker *worker)
{
    uint64_t end = part_end(worker, bench.options.n);

    for (uint64_t i = part_begin(worker, bench.options.n); i < end; i++) {
        bench_draw draw = draw_number(i);
        uint64_t actual;

        if (map_load_or_store(worker->map, draw_key(draw), draw_value(draw), &actual) != 0 ||
            actual != draw_value(draw)) {
            wrong("a new key was there already, or has a wrong value");
        }
        tick_at(worker->map, i);
    }
    meet(&bench.together);
    load_each_once(worker);
}

static void report_full(void)
{
    bench.contents = CONTENTS_FULL;
    bench.present = bench.options.n;
}

static void run_delete_all(struct worker *worker)
{
    uint64_t end = part_end(worker, 2 * bench.options.n);

    for (uint64_t i = part_begin(worker, 2 * bench.options.n); i < end; i++) {
        worker->cursor.deleted += (uint64_t)map_delete(worker->map, draw_key(draw_number(i)));
        tick_at(worker->map, i);
    }
    meet(&bench.together);
    count_part(worker);
}

static void report_delete_all(void)
{
    for (unsigned t = 0; t < bench.options.threads; t++) {
        bench.present -= bench.workers[t].cursor.deleted;
        if (bench.workers[t].counted != 0) {
            wrong("a deleted key is there");
        }
    }
    if (bench.present != 0) {
        wrong("more or fewer keys were deleted than there were");
    }
    bench.contents = CONTENTS_NONE;
}

/* ---- loads and updates ---------------------------------------------------------------------------- */

BENCH_INLINE void turn_load_hit(map_type *map, struct cursor *cursor)
{
    bench_draw draw = cursor->draws[cursor->at];
    uint64_t value;

    if (BENCH_UNLIKELY(map_load(map, draw_key(draw), &value) != 1 || value != draw_value(draw))) {
        wrong("a present key was not found, or with a wrong value");
    }
}

BENCH_INLINE void turn_load_miss(map_type *map, struct cursor *cursor)
{
    bench_draw draw = cursor->draws[cursor->at];
    uint64_t value;

    if (BENCH_UNLIKELY(map_load(map, draw_key(draw), &value) != 0)) {
        wrong("an absent key was found");
    }
}

BENCH_INLINE void turn_update(map_type *map, struct cursor *cursor)
{
    bench_draw draw = cursor->draws[cursor->at];

    if (BENCH_UNLIKELY(map_store(map, draw_key(draw), draw_value(draw)) != 1)) {
        wrong("a store to a present key did not replace");
    }
}

DEFINE_DRAW_LOOP(loop_load_hit, turn_load_hit)
DEFINE_DRAW_LOOP(loop_load_miss, turn_load_miss)
DEFINE_DRAW_LOOP(loop_update, turn_update)

static void run_load_hit(struct worker *worker)
{
    use_stream(worker, STREAM_HITS);
    timed(worker, loop_load_hit, loop_load_hit);
}

static void run_load_hit_zipf(struct worker *worker)
{
    use_stream(worker, STREAM_ZIPF);
    timed(worker, loop_load_hit, loop_load_hit);
}

static void run_load_miss(struct worker *worker)
{
    use_stream(worker, STREAM_MISSES);
    timed(worker, loop_load_miss, loop_load_miss);
}

static void run_update(struct worker *worker)
{
    use_stream(worker, STREAM_HITS);
    timed(worker, loop_update, loop_update);
}

#if defined(MAP_HAS_MANY) && !defined(KEYS_STRING)

#define MANY 64

/* As many loads in one call. */
BENCH_INLINE void turn_load_many(map_type *map, struct cursor *cursor)
{
    bench_key keys[MANY];
    uint64_t values[MANY];
    size_t at = cursor->at;

    at = at + MANY > cursor->count ? 0 : at;
    for (size_t i = 0; i < MANY; i++) {
        keys[i] = draw_key(cursor->draws[at + i]);
    }
    if (BENCH_UNLIKELY(map_load_many(map, MANY, keys, values) != 1)) {
        wrong("a present key was not found");
    }
    for (size_t i = 0; i < MANY; i++) {
        if (BENCH_UNLIKELY(values[i] != draw_value(cursor->draws[at + i]))) {
            wrong("a present key was found with a wrong value");
        }
    }
    cursor->at = at + MANY;
}

DEFINE_LOOP(loop_load_many, turn_load_many, MANY)

static void run_load_many(struct worker *worker)
{
    use_stream(worker, STREAM_HITS);
    timed(worker, loop_load_many, loop_load_many);
}

#endif

/* One key, stored and loaded in turns by all. */
BENCH_INLINE void turn_hot_key(map_type *map, struct cursor *cursor)
{
    bench_draw draw = cursor->draws[0];
    uint64_t value;

    if (BENCH_UNLIKELY(map_store(map, draw_key(draw), draw_value(draw)) != 1 ||
                       map_load(map, draw_key(draw), &value) != 1 || value != draw_value(draw))) {
        wrong("the key was not there, or had a wrong value");
    }
}

DEFINE_LOOP(loop_hot_key, turn_hot_key, 2)

static void run_hot_key(struct worker *worker)
{
    worker->draws = (bench_draw *)take(1, sizeof *worker->draws);
    worker->draws[0] = draw_number(0);
    worker->cursor.draws = worker->draws;
    worker->cursor.count = UNIFORM_LEAST; /* to warm up with: as long as in the other phases */
    timed(worker, loop_hot_key, loop_hot_key);
}

/* ---- mixed ---------------------------------------------------------------------------------------- */

BENCH_INLINE void turn_mixed(map_type *map, struct cursor *cursor)
{
    unsigned kind = cursor->kinds[cursor->at];
    bench_draw draw = cursor->draws[cursor->at];
    uint64_t value = draw_value(draw);

    if (kind == KIND_LOAD) {
        if (map_load(map, draw_key(draw), &value) == 0) {
            return;
        }
    } else if (kind == KIND_LOAD_OR_STORE) {
        cursor->inserted += map_load_or_store(map, draw_key(draw), draw_value(draw), &value) == 0;
    } else {
        cursor->deleted += (uint64_t)map_delete(map, draw_key(draw));
    }
    if (BENCH_UNLIKELY(value != draw_value(draw))) {
        wrong("wrong value");
    }
}

DEFINE_DRAW_LOOP(loop_mixed, turn_mixed)

static void run_mixed(struct worker *worker, unsigned loads, unsigned stores)
{
    use_stream(worker, STREAM_MIXED);
    worker->kinds = kinds_make(bench.options.n, bench.options.seed, worker->index, loads, stores);
    worker->cursor.kinds = worker->kinds;
    timed(worker, loop_mixed, loop_mixed);
    meet(&bench.together);
    count_part(worker);
}

static void run_mixed_90_5_5(struct worker *worker)
{
    run_mixed(worker, 90, 5);
}

static void run_mixed_50_25_25(struct worker *worker)
{
    run_mixed(worker, 50, 25);
}

static void report_mixed(void)
{
    uint64_t counted = 0;

    for (unsigned t = 0; t < bench.options.threads; t++) {
        const struct worker *worker = &bench.workers[t];

        counted += worker->counted;
        bench.present += worker->cursor.inserted - worker->cursor.deleted;
    }
    if (counted != bench.present) {
        die("%s, %s: %lld keys are there in place of %lld", MAP_NAME, bench.phase->name, (long long)counted,
            (long long)bench.present);
    }
    bench.contents = CONTENTS_SOME;
    report_rate();
}

/* ---- phases that make keys as they go: integers only ---------------------------------------------- */

#ifndef KEYS_STRING

/* Numbers of keys that only this worker uses. */
static uint64_t fresh_of(const struct worker *worker)
{
    return ((uint64_t)worker->index + 1) << 40;
}

#define FRESH_CHECKED 10000

/* After the phase: of the last keys that this worker made, the last `kept` are there, and the others are not. */
static void check_fresh(struct worker *worker, uint64_t kept)
{
    uint64_t end = worker->cursor.fresh;
    uint64_t begin = end - fresh_of(worker) < FRESH_CHECKED ? fresh_of(worker) : end - FRESH_CHECKED;

    for (uint64_t i = begin; i < end; i++) {
        uint64_t value;

        if (map_load(worker->map, draw_key(draw_of(i, NULL)), &value) != (i >= end - kept)) {
            wrong("a deleted key is there, or a key is missing that was inserted");
        }
        tick_at(worker->map, i);
    }
}

#define CHURN_DISTANCE 1000 /* rounds from a key's insertion to its deletion */

BENCH_INLINE void churn_insert(map_type *map, bench_draw draw)
{
    uint64_t actual;

    if (BENCH_UNLIKELY(map_load_or_store(map, draw_key(draw), draw_value(draw), &actual) != 0 ||
                       actual != draw_value(draw))) {
        wrong("a new key was there already, or has a wrong value");
    }
}

BENCH_INLINE void turn_churn(map_type *map, struct cursor *cursor)
{
    bench_draw draw = draw_of(cursor->fresh, NULL);

    churn_insert(map, draw);
    for (int i = 0; i < 4; i++) {
        uint64_t value;

        if (BENCH_UNLIKELY(map_load(map, draw_key(draw), &value) != 1 || value != draw_value(draw))) {
            wrong("a new key was not found, or with a wrong value");
        }
    }
    if (BENCH_UNLIKELY(map_delete(map, draw_key(draw_of(cursor->fresh - CHURN_DISTANCE, NULL))) != 1)) {
        wrong("a key was not there to be deleted");
    }
    cursor->fresh++;
}

DEFINE_LOOP(loop_churn, turn_churn, 6)

static void run_churn(struct worker *worker)
{
    worker->cursor.fresh = fresh_of(worker);
    for (int i = 0; i < CHURN_DISTANCE; i++) {
        churn_insert(worker->map, draw_of(worker->cursor.fresh++, NULL));
        tick_at(worker->map, (uint64_t)i);
    }
    timed(worker, loop_churn, NULL);
    check_fresh(worker, CHURN_DISTANCE);
}

/* A writer's turn: an update, an insertion, and the deletion of that key. */
BENCH_INLINE void turn_write(map_type *map, struct cursor *cursor)
{
    bench_draw fresh = draw_of(cursor->fresh++, NULL);
    uint64_t actual;

    turn_update(map, cursor);
    if (BENCH_UNLIKELY(map_load_or_store(map, draw_key(fresh), draw_value(fresh), &actual) != 0 ||
                       actual != draw_value(fresh))) {
        wrong("a new key was there already, or has a wrong value");
    }
    if (BENCH_UNLIKELY(map_delete(map, draw_key(fresh)) != 1)) {
        wrong("a key was not there to be deleted");
    }
}

DEFINE_LOOP(loop_write, turn_write, 3)

static void run_reader_beside_writer(struct worker *worker)
{
    use_stream(worker, STREAM_HITS);
    worker->cursor.fresh = fresh_of(worker);
    if (worker->index == 0) {
        timed(worker, loop_write, NULL);
        check_fresh(worker, 0);
    } else {
        timed(worker, loop_load_hit, loop_load_hit);
    }
}

static void report_reader_beside_writer(void)
{
    struct circumstances all = circumstances_of_timed();

    print_result("reader_beside_writer", "Mops/s", rate_of(1, bench.options.threads), &all);
    print_result("writer_beside_reader", "Mops/s", rate_of(0, 1), &all);
}

#ifdef MAP_HAS_RANGE

/* `context` counts the entries of one walk. */
static int walk_visit(bench_key key, uint64_t value, void *context)
{
    uint64_t *seen = (uint64_t *)context;

    if (BENCH_UNLIKELY(value != draw_value(key))) {
        wrong("wrong value");
    }
    return ++*seen % BATCH != 0 || !stopped();
}

/* Walks until it has seen so many entries. A walk that the stop flag ended need not have seen all. */
static uint64_t loop_walk(struct worker *worker, uint64_t operations)
{
    uint64_t done = 0;

    while (done < operations && !stopped()) {
        uint64_t seen = 0;

        map_range(worker->map, walk_visit, &seen);
        if (seen < bench.options.n && !stopped()) {
            wrong("a walk has missed a key that was there all the time");
        }
        done += seen;
        map_tick(worker->map);
    }
    return done;
}

static void run_range(struct worker *worker)
{
    use_stream(worker, STREAM_HITS);
    worker->cursor.fresh = fresh_of(worker);
    timed(worker, worker->index == 0 ? loop_walk : loop_write, NULL);
    if (worker->index != 0) {
        check_fresh(worker, 0);
    }
}

static void report_range(void)
{
    struct circumstances all = circumstances_of_timed();

    print_result("range", "Mentries/s", rate_of(0, 1), &all);
    print_result("writer_beside_range", "Mops/s", rate_of(1, bench.options.threads), &all);
}

#endif
#endif
#endif
