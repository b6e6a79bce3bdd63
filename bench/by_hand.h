/* SPDX-License-Identifier: MIT
 *
 * The clock, loop and command line of the programs by_hand_*, which check that the runner is fair: no code of the runner's but
 * the keys and the streams.
 *
 *     by_hand_* --n N [--seconds S] [--seed R]
 *
 * A program defines, before it includes this, hand_map, and after it make_full(), loads(), updates(), destroy() and head().
 *
 * The work is done by a thread that is not the first, as the runner's is: GLib's table is 7 % slower on the first thread, from
 * whatever it has its memory.
 */
#ifndef BENCH_BY_HAND_H
#define BENCH_BY_HAND_H

#include "run_streams.h"

#include <getopt.h>

/* A map of n keys, each looked up once. */
static hand_map *make_full(size_t n);
/* So many operations, each answer checked. */
static void loads(hand_map *map, const uint64_t *keys, size_t count);
static void updates(hand_map *map, const uint64_t *keys, size_t count);
static void destroy(hand_map *map);
/* Prints the line that tells what is measured. */
static void head(void);

static struct {
    size_t n;
    double seconds;
    uint64_t seed;
    cpu_set_t allowed;
} hand = {.seconds = 1, .seed = 1};

/* Walks the stream in steps of 1024 keys for so many seconds; returns how many operations that were. */
static uint64_t run_for(double seconds, void (*step)(hand_map *, const uint64_t *, size_t), hand_map *map,
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

static void measure(const char *workload, void (*step)(hand_map *, const uint64_t *, size_t), hand_map *map)
{
    uint64_t *stream = stream_make(STREAM_HITS, hand.n, hand.seed, 0, NULL);
    size_t count = stream_count(STREAM_HITS, hand.n);
    size_t at = 0;
    uint64_t sleeps, consumed, wall, done;
    double share;

    run_for(hand.seconds / 4, step, map, stream, count, &at);
    sleeps = sleeps_so_far();
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    wall = nanoseconds(CLOCK_MONOTONIC);
    done = run_for(hand.seconds, step, map, stream, count, &at);
    wall = nanoseconds(CLOCK_MONOTONIC) - wall;
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - consumed;
    share = (double)consumed / (double)wall;
    printf("{\"workload\":\"%s\",\"n\":%zu,\"threads\":1,\"unit\":\"Mops/s\",\"value\":%.9g,\"share\":%.4f,"
           "\"process_share\":%.4f,\"sleeps\":%llu,\"ops\":%llu}\n",
           workload, hand.n, (double)done / (double)wall * 1e3, share, share,
           (unsigned long long)(sleeps_so_far() - sleeps), (unsigned long long)done);
    free(stream);
}

static void *work(void *context)
{
    hand_map *map;

    (void)context;
    pin_to(0, &hand.allowed);
    map = make_full(hand.n);
    measure("load_hit", loads, map);
    measure("update", updates, map);
    destroy(map);
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"n", 1, NULL, 'n'}, {"seconds", 1, NULL, 's'}, {"seed", 1, NULL, 'r'}, {NULL, 0, NULL, 0}};
    pthread_t worker;
    int name;

    hand.allowed = allowed_processors();
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        hand.n = name == 'n' ? strtoull(optarg, NULL, 10) : hand.n;
        hand.seconds = name == 's' ? strtod(optarg, NULL) : hand.seconds;
        hand.seed = name == 'r' ? strtoull(optarg, NULL, 10) : hand.seed;
    }
    if (hand.n == 0 || hand.n > 1000000000 || !(hand.seconds > 0 && hand.seconds <= 3600)) {
        fprintf(stderr, "usage: %s --n N [--seconds S] [--seed R]\n", program_invocation_short_name);
        return 2;
    }
    head();
    if (pthread_create(&worker, NULL, work, NULL) != 0 || pthread_join(worker, NULL) != 0) {
        die("no thread");
    }
    return EXIT_SUCCESS;
}

#endif
