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
 *   COMPARE=1          each play also with all those runs that are left as good as another (scheduler.h): does the same come out?
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
    {"flat, string, plain", SYNCMAP_ENGINE_FLAT, SYNCMAP_STRING, PLAIN, 1},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

static struct {
    uint64_t plays, runs, left_early, random, steps, incomplete, outcomes;
} total;

/* ---- COMPARE: what came out ---- */

static struct outcomes {
    uint64_t *list;
    size_t count, room;
} outcomes[2], *outcomes_now;

static void outcome_seen(void)
{
    struct outcomes *o = outcomes_now;
    if (o->count == o->room) {
        o->room = o->room == 0 ? 1024 : 2 * o->room;
        if ((o->list = realloc(o->list, o->room * sizeof *o->list)) == NULL) abort();
    }
    o->list[o->count++] = play_outcome();
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Each once, in order. */
static void outcomes_sort(struct outcomes *o)
{
    size_t kept = 0;
    qsort(o->list, o->count, sizeof *o->list, compare_numbers);
    for (size_t i = 0; i < o->count; i++)
        if (i == 0 || o->list[i] != o->list[kept - 1]) o->list[kept++] = o->list[i];
    o->count = kept;
}

static void compare(const struct model_scene *scene, const struct model_limits *limits)
{
    for (unsigned all = 0; all < 2; all++) {
        struct model_limits with = *limits;
        with.all = all;
        with.random = 0;
        with.seen = outcome_seen;
        outcomes_now = &outcomes[all];
        outcomes_now->count = 0;
        model_explore(scene, &with);
        outcomes_sort(outcomes_now);
    }
    total.outcomes += outcomes[1].count;
    if (outcomes[0].count != outcomes[1].count ||
        memcmp(outcomes[0].list, outcomes[1].list, outcomes[0].count * sizeof *outcomes[0].list) != 0) {
        printf("FAILED: %s: %zu outcomes, and %zu where no run is left early\n", scene->name, outcomes[0].count, outcomes[1].count);
        exit(1);
    }
}

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
    if (test_env("COMPARE", 0) != 0 && limits->runs == 0) compare(scene, limits);
    struct model_result result = model_explore(scene, limits);
    total.plays++;
    total.runs += result.runs;
    total.left_early += result.left_early;
    total.random += result.random;
    total.steps += result.steps;
    total.incomplete += !result.complete;
    if (getenv("VERBOSE") != NULL)
        printf("%-75s bound %u: %8llu runs%s, %llu of them left, longest %u, %.2f s\n", scene->name, limits->bound,
               (unsigned long long)result.runs, result.complete ? "" : " (not all)", (unsigned long long)result.left_early,
               result.longest, seconds() - start);
}

static bool in_part(size_t number)
{
    const char *part = getenv("PART");
    unsigned mine, parts;
    return part == NULL || sscanf(part, "%u/%u", &mine, &parts) != 2 || number % parts == mine - 1;
}

static void summary(const char *what, double start)
{
    printf("%s: %llu plays, %llu runs within the bound (%s; %llu were left as good as another), %llu at random, %llu steps, %.1f s\n",
           what, (unsigned long long)total.plays, (unsigned long long)total.runs,
           total.incomplete == 0 ? "all that there are" : "not all that there are", (unsigned long long)total.left_early,
           (unsigned long long)total.random, (unsigned long long)total.steps, seconds() - start);
    if (total.outcomes != 0) printf("%llu outcomes, and the same where no run is left\n", (unsigned long long)total.outcomes);
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
            if ((plays[i].flags & FILTER) && settings[j].engine == SYNCMAP_ENGINE_READ_DIRTY) continue;
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
