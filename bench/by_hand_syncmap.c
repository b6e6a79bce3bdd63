/* SPDX-License-Identifier: MIT
 *
 * by_hand_syncmap - a check that the runner is fair: the phases load_hit and update on syncmap with one thread, written by
 * hand against its API, without the runner and without its adapter. Same keys, same streams, loops and clock of its
 * own. What run_read_dirty says must be within 5 % of this.
 *
 *     by_hand_syncmap --n N [--seconds S] [--seed R]
 */
#include "run_streams.h"

#include <getopt.h>
#include <stdbool.h>
#include <syncmap.h>

static void *pointer_of(uint64_t value)
{
    return (void *)(uintptr_t)value;
}

static syncmap *make_full(size_t n)
{
    syncmap *map = syncmap_new(SYNCMAP_U64, NULL);
    void *value;

    if (!map) {
        die("syncmap_new failed");
    }
    for (size_t i = 0; i < n; i++) {
        if (syncmap_load_or_store(map, syncmap_u64(splitmix64(i)), pointer_of(value_of_number(i)), NULL) != 0) {
            die("load_or_store");
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (syncmap_load(map, syncmap_u64(splitmix64(i)), &value) != 1 || value != pointer_of(value_of_number(i))) {
            die("load");
        }
    }
    syncmap_barrier();
    return map;
}

static void loads(syncmap *map, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *value;

        if (syncmap_load(map, syncmap_u64(keys[i]), &value) != 1 || value != pointer_of(keys[i] | 1)) {
            die("wrong answer of a load");
        }
    }
}

static void updates(syncmap *map, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (syncmap_store(map, syncmap_u64(keys[i]), pointer_of(keys[i] | 1)) != 1) {
            die("wrong answer of a store");
        }
    }
}

/* Walks the stream in steps of 1024 keys for so many seconds; returns how many operations that were. */
static uint64_t run_for(double seconds, void (*step)(syncmap *, const uint64_t *, size_t), syncmap *map,
                        const uint64_t *stream, size_t count, size_t *at)
{
    uint64_t until = nanoseconds(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
    uint64_t done = 0;

    while (nanoseconds(CLOCK_MONOTONIC) < until) {
        size_t length = count - *at < 1024 ? count - *at : 1024;

        step(map, stream + *at, length);
        *at = *at + length == count ? 0 : *at + length;
        done += length;
    }
    return done;
}

static void measure(const char *workload, void (*step)(syncmap *, const uint64_t *, size_t), syncmap *map, size_t n,
                    double seconds, uint64_t seed)
{
    uint64_t *stream = stream_make(STREAM_HITS, n, seed, 0, NULL);
    size_t count = stream_count(STREAM_HITS, n);
    size_t at = 0;
    uint64_t sleeps, consumed, wall, done;
    double share;

    run_for(seconds / 4, step, map, stream, count, &at);
    sleeps = sleeps_so_far();
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    wall = nanoseconds(CLOCK_MONOTONIC);
    done = run_for(seconds, step, map, stream, count, &at);
    wall = nanoseconds(CLOCK_MONOTONIC) - wall;
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - consumed;
    share = (double)consumed / (double)wall;
    printf("{\"workload\":\"%s\",\"n\":%zu,\"threads\":1,\"unit\":\"Mops/s\",\"value\":%.9g,\"share\":%.4f,"
           "\"process_share\":%.4f,\"sleeps\":%llu,\"ops\":%llu}\n",
           workload, n, (double)done / (double)wall * 1e3, share, share,
           (unsigned long long)(sleeps_so_far() - sleeps), (unsigned long long)done);
    free(stream);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"n", 1, NULL, 'n'}, {"seconds", 1, NULL, 's'}, {"seed", 1, NULL, 'r'}, {NULL, 0, NULL, 0}};
    cpu_set_t allowed = allowed_processors();
    size_t n = 0;
    double seconds = 1;
    uint64_t seed = 1;
    syncmap *map;
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        n = name == 'n' ? strtoull(optarg, NULL, 10) : n;
        seconds = name == 's' ? strtod(optarg, NULL) : seconds;
        seed = name == 'r' ? strtoull(optarg, NULL, 10) : seed;
    }
    if (n == 0 || n > 1000000000 || !(seconds > 0 && seconds <= 3600)) {
        fprintf(stderr, "usage: %s --n N [--seconds S] [--seed R]\n", program_invocation_short_name);
        return 2;
    }
    pin_to(0, &allowed);
    printf("{\"map\":\"by hand: syncmap read/dirty\",\"version\":\"syncmap " SYNCMAP_VERSION_STRING
           "\",\"language\":\"C\",\"keys\":\"u64\"}\n");
    map = make_full(n);
    measure("load_hit", loads, map, n, seconds, seed);
    measure("update", updates, map, n, seconds, seed);
    syncmap_free(map);
    return EXIT_SUCCESS;
}
