/* SPDX-License-Identifier: MIT
 *
 * Explores every play in every setting. Environment:
 *
 *   BOUND   all runs of this cost are made (2; plays of three threads: one less; and of values that are not owned, and of what one
 *           engine only is at home in, at least 1)
 *   RANDOM  runs at random of each play (1000)
 *   PLAYS   plays made up at random (3000), each with 100 runs of cost 1 at most, and 100 at random
 *   SEED    of all that is random (printed)
 *   PART    "1/2": only the first half of the plays
 *   SCENARIO, REPLAY   one play, and one run of it, as a failure printed them
 *   VERBOSE each play's figures
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/library.h"
#include "model/play.h"
#include "support/support.h"

static const struct setting settings[] = {
    {"read/dirty, u64, owned", SYNCMAP_ENGINE_READ_DIRTY, SYNCMAP_U64, OWNED, 0},
    {"read/dirty, u64, plain", SYNCMAP_ENGINE_READ_DIRTY, SYNCMAP_U64, PLAIN, 1},
    {"read/dirty, custom, acquired", SYNCMAP_ENGINE_READ_DIRTY, SYNCMAP_CUSTOM, ACQUIRED, 0},
    {"flat, u64, owned", SYNCMAP_ENGINE_FLAT, SYNCMAP_U64, OWNED, 0},
    {"flat, u64, plain", SYNCMAP_ENGINE_FLAT, SYNCMAP_U64, PLAIN, 1},
    {"flat, custom, acquired", SYNCMAP_ENGINE_FLAT, SYNCMAP_CUSTOM, ACQUIRED, 0},
    {"flat, string, owned", SYNCMAP_ENGINE_FLAT, SYNCMAP_STRING, OWNED, 0},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

static struct {
    uint64_t plays, runs, random, steps, incomplete;
} total;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void explore(const struct play *play, const struct setting *setting, const struct model_limits *limits)
{
    const struct model_scene *scene = play_scene(play, setting);
    const char *wanted = getenv("SCENARIO"), *replay = getenv("REPLAY");
    if (wanted != NULL && strcmp(wanted, scene->name) != 0) return;
    if (replay != NULL) {
        model_replay(scene, limits, replay);
        printf("replayed: no failure\n");
        exit(0);
    }
    double start = seconds();
    struct model_result result = model_explore(scene, limits);
    total.plays++;
    total.runs += result.runs;
    total.random += result.random;
    total.steps += result.steps;
    total.incomplete += !result.complete;
    if (getenv("VERBOSE") != NULL)
        printf("%-75s bound %u: %8llu runs%s, longest %u, %.2f s\n", scene->name, limits->bound,
               (unsigned long long)result.runs, result.complete ? "" : " (not all)", result.longest, seconds() - start);
}

static bool in_part(size_t number)
{
    const char *part = getenv("PART");
    unsigned mine, parts;
    return part == NULL || sscanf(part, "%u/%u", &mine, &parts) != 2 || number % parts == mine - 1;
}

static void summary(const char *what, double start)
{
    printf("%s: %llu plays, %llu runs within the bound (%s), %llu at random, %llu steps, %.1f s\n", what,
           (unsigned long long)total.plays, (unsigned long long)total.runs,
           total.incomplete == 0 ? "all that there are" : "not all that there are", (unsigned long long)total.random,
           (unsigned long long)total.steps, seconds() - start);
    memset(&total, 0, sizeof total);
}

int main(void)
{
    library_begin();
    uint64_t seed = test_seed();
    unsigned bound = (unsigned)test_env("BOUND", 2);
    double start = seconds();
    for (size_t i = 0; i < play_count; i++) {
        for (size_t j = 0; in_part(i) && j < SETTINGS; j++) {
            unsigned most = bound - (plays[i].part[2] != NULL);
            bool other = (plays[i].flags & MOVES) && settings[j].engine == SYNCMAP_ENGINE_READ_DIRTY;
            unsigned less = most > 1 && (settings[j].less != 0 || other);
            struct model_limits limits = {.bound = most - less, .delays = true,
                                          .random = test_env("RANDOM", 1000), .seed = seed};
            explore(&plays[i], &settings[j], &limits);
        }
    }
    summary("by hand", start);
    start = seconds();
    uint64_t made_up = test_env("PLAYS", 3000);
    for (uint64_t i = 0; i < made_up; i++) {
        uint64_t number = seed + i;
        struct model_limits limits = {.bound = 1, .delays = true, .runs = 100, .random = 100, .seed = seed};
        if (in_part(i)) explore(play_random(number), &settings[i % SETTINGS], &limits);
    }
    summary("made up", start);
    return 0;
}
