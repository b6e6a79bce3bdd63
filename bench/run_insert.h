/* SPDX-License-Identifier: MIT
 *
 * The phase insert: from empty, with the latency of every single operation.
 *
 * One reading of the clock per operation: it ends one and begins the next, so that no time is lost, and what a thread does
 * between batches (map_tick) counts too. Percentiles are exact: of all threads' latencies, sorted, the
 * least that no fewer than so many per cent do not exceed.
 *
 * Before it begins, the threads touch about as much memory as a map will need, and give it back to the system. In a virtual machine
 * the first touch of a huge page may take 6 ms, while the host finds the memory for it, and 0.2 ms if the host has it: the
 * longest insert is to be the map's, not the host's.
 */
#ifndef BENCH_RUN_INSERT_H
#define BENCH_RUN_INSERT_H

#include "run_frame.h"
#include "run_streams.h"
#include "run_work.h"

#include <sys/mman.h>

/* ---- memory that the host has ---------------------------------------------------------------------- */

enum { TOUCHED_BYTES = 128 }; /* for each key */

static void touch_memory(size_t bytes)
{
    char *memory = (char *)mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        return; /* then there is less than a map will want */
    }
    madvise(memory, bytes, MADV_HUGEPAGE);
    for (size_t at = 0; at < bytes; at += 4096) {
        *(volatile char *)(memory + at) = 1;
    }
    munmap(memory, bytes + 1);
}

/* ---- a clock -------------------------------------------------------------------------------------- */

#if defined(__x86_64__)

BENCH_INLINE uint64_t clock_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

/* Nanoseconds of a tick, times 2^24. */
static uint64_t clock_calibrate(void)
{
    uint64_t ticks = clock_ticks();
    uint64_t ns = nanoseconds(CLOCK_MONOTONIC);

    sleep_seconds(0.05);
    ticks = clock_ticks() - ticks;
    ns = nanoseconds(CLOCK_MONOTONIC) - ns;
    return (uint64_t)((double)ns / (double)ticks * 0x1p24);
}

#else

BENCH_INLINE uint64_t clock_ticks(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

static uint64_t clock_calibrate(void)
{
    return 1 << 24;
}

#endif

static uint64_t clock_scale; /* set by worker 0 */

/* Of a period below an hour; what does not fit, 4.3 s, is the greatest that does. */
BENCH_INLINE uint32_t clock_ns(uint64_t ticks)
{
    uint64_t ns = ticks * clock_scale >> 24;

    return ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

/* ---- the phase ------------------------------------------------------------------------------------ */

/* All of the worker's part, whatever `operations` says. */
static uint64_t loop_insert(struct worker *worker, uint64_t operations)
{
    const bench_draw *draws = worker->cursor.draws;
    size_t count = worker->cursor.count;
    uint32_t *latencies = worker->latencies;
    map_type *map = worker->map;
    uint64_t before = clock_ticks();

    (void)operations;
    for (size_t at = 0; at < count;) {
        size_t end = count - at < BATCH ? count : at + BATCH;

        for (; at < end; at++) {
            uint64_t actual, now;

            if (BENCH_UNLIKELY(
                    map_load_or_store(map, draw_key(draws[at]), draw_value(draws[at]), &actual) != 0 ||
                    actual != draw_value(draws[at]))) {
                wrong("a new key was there already, or has a wrong value");
            }
            now = clock_ticks();
            latencies[at] = clock_ns(now - before);
            before = now;
        }
        map_tick(map);
    }
    return count;
}

static void run_insert(struct worker *worker)
{
    uint64_t begin = part_begin(worker, bench.options.n);

    if (worker->index == 0) {
        bench.order = order_make(bench.options.n, bench.options.seed, bench.texts);
        clock_scale = clock_calibrate();
    }
    meet(&bench.together);
    worker->cursor.draws = bench.order + begin;
    worker->cursor.count = (size_t)(part_end(worker, bench.options.n) - begin);
    worker->latencies = (uint32_t *)take(worker->cursor.count + 1, sizeof *worker->latencies);
    memset(worker->latencies, 1, worker->cursor.count * sizeof *worker->latencies); /* so that the pages are there */
    touch_memory(worker->cursor.count * TOUCHED_BYTES);
    timed(worker, loop_insert, NULL);
    meet(&bench.together);
    load_each_once(worker);
}

/* ---- percentiles ---------------------------------------------------------------------------------- */

/* Sorts by digits of 11 bits, the least significant first. */
static uint32_t *sort_latencies(uint32_t *numbers, size_t count)
{
    uint32_t *other = (uint32_t *)take(count, sizeof *other);

    for (unsigned shift = 0; shift < 33; shift += 11) {
        size_t places[2048] = {0};
        size_t place = 0;
        uint32_t *swap = numbers;

        for (size_t i = 0; i < count; i++) {
            places[numbers[i] >> shift & 2047]++;
        }
        for (size_t digit = 0; digit < 2048; digit++) {
            size_t here = places[digit];

            places[digit] = place;
            place += here;
        }
        for (size_t i = 0; i < count; i++) {
            other[places[numbers[i] >> shift & 2047]++] = numbers[i];
        }
        numbers = other;
        other = swap;
    }
    free(other);
    return numbers;
}

static uint32_t percentile(const uint32_t *sorted, size_t count, double percent)
{
    double rank = ceil(percent / 100 * (double)count - 1e-6); /* 99.9 % of 1000 is 999, whatever a double makes of it */

    return sorted[rank < 1 ? 0 : rank > (double)count ? count - 1 : (size_t)rank - 1];
}

static void append_curve(const char *path, const uint32_t *sorted, size_t count)
{
    static const double percents[] = {0,  10,   20,    30,    40,     50,     60,      70,      80, 90,
                                      95, 99,   99.5,  99.9,  99.95,  99.99,  99.995,  99.999,  99.9995,
                                      99.9999,  100};
    FILE *file = fopen(path, "a");

    if (!file) {
        die("%s: %s", path, strerror(errno));
    }
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        fprintf(file, "%.7g\t%u\n", percents[i], percentile(sorted, count, percents[i]));
    }
    if (fclose(file) != 0) {
        die("%s: %s", path, strerror(errno));
    }
}

static void report_insert(void)
{
    static const struct {
        const char *name;
        double percent;
    } lines[] = {{"insert_p50", 50}, {"insert_p99", 99}, {"insert_p99.9", 99.9}, {"insert_p99.99", 99.99},
                 {"insert_max", 100}};
    struct circumstances all = circumstances_of_timed();
    size_t n = bench.options.n;
    uint32_t *sorted = (uint32_t *)take(n, sizeof *sorted);
    uint64_t at = 0;

    for (unsigned t = 0; t < bench.options.threads; t++) {
        struct worker *worker = &bench.workers[t];

        memcpy(sorted + at, worker->latencies, worker->done * sizeof *sorted);
        at += worker->done;
        free(worker->latencies);
        worker->latencies = NULL;
    }
    sorted = sort_latencies(sorted, n);
    print_result("insert", "Mops/s", rate_of(0, bench.options.threads), &all);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        print_result(lines[i].name, "ns", percentile(sorted, n, lines[i].percent), &all);
    }
    if (bench.options.latencies) {
        append_curve(bench.options.latencies, sorted, n);
    }
    free(sorted);
    free(bench.order);
    bench.order = NULL;
    report_full();
}

#endif
