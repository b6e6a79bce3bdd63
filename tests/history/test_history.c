/* SPDX-License-Identifier: MIT
 *
 * Histories of the map: threads that meet on a few keys, in a library that yields at its atomics, and the checker's word on
 * what they got. Then the same histories with one answer made wrong, each of which the checker must refuse.
 *
 * HISTORIES: how many for each of test_configs. THREADS: at most so many (8; from 4 on their number is drawn).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "history/mutate.h"
#include "history/player.h"
#include "history/yield.h"
#include "history/yielding.h"
#include "stress/stress.h"

enum {
    TEAM = 8,
    STEPS = 40,
    ROOM = 4096,            /* events of one player, and more than it can have */
    HISTORIES = 2000,       /* by default, for each configuration */
    ENOUGH = 200,           /* for every rare step and every mutation to occur */
    MUTATE_ONE_IN = 4
};

/*                     load store l_o_s l_a_d delete swap c_a_s c_a_d clear range churn */
static const struct mix mixes[] = {
    {"general", {20, 12, 12, 10, 8, 10, 10, 8, 0, 0, 10}},
    {"revive",  {15, 20, 10, 15, 10, 5, 0, 5, 0, 0, 20}},
    {"insert",  {10, 0, 40, 20, 20, 0, 0, 0, 0, 0, 10}},
    {"compare", {10, 5, 10, 0, 0, 10, 40, 25, 0, 0, 0}},
    {"clear",   {20, 14, 12, 8, 6, 10, 8, 6, 5, 0, 11}},
    {"range",   {10, 15, 12, 10, 10, 8, 5, 5, 0, 12, 13}},
    {"all",     {18, 12, 10, 8, 8, 10, 8, 6, 3, 6, 11}},
};
enum { MIXES = sizeof mixes / sizeof mixes[0] };

static struct {
    uint64_t histories, events, whole, refused, stops;
    unsigned overlap;
    uint64_t applied[MUTATIONS], mutants_refused[MUTATIONS];
} totals;

/* ---- the team: threads that are made once ---- */

static struct {
    pthread_barrier_t start, end;
    atomic_uint ready;
    atomic_ullong stops;
    bool over;
    uint32_t yield_one_in;
    struct game game;
    struct player players[TEAM];
    pthread_t ids[TEAM];
} team;

static void play(struct player *p)
{
    if (p->number >= team.game.threads) return;
    uint64_t before = history_yields();
    history_yield_begin(rng_next(&p->rng), team.yield_one_in);
    /* The barrier wakes threads one after the other: the first waits for the last. */
    atomic_fetch_add(&team.ready, 1);
    while (atomic_load(&team.ready) < team.game.threads) sched_yield();
    player_play(p);
    history_yield_begin(0, 0);
    atomic_fetch_add(&team.stops, history_yields() - before);
}

static void *member(void *argument)
{
    for (;;) {
        pthread_barrier_wait(&team.start);
        if (team.over) return NULL;
        play(argument);
        pthread_barrier_wait(&team.end);
    }
}

static void team_open(void)
{
    CHECK(pthread_barrier_init(&team.start, NULL, TEAM) == 0);
    CHECK(pthread_barrier_init(&team.end, NULL, TEAM) == 0);
    for (unsigned i = 0; i < TEAM; i++) {
        team.players[i] = (struct player){.game = &team.game, .number = (uint16_t)i};
        recorder_init(&team.players[i].recorder, ROOM);
        if (i > 0) CHECK(pthread_create(&team.ids[i], NULL, member, &team.players[i]) == 0);
    }
}

static void team_close(void)
{
    team.over = true;
    pthread_barrier_wait(&team.start);
    for (unsigned i = 0; i < TEAM; i++) {
        if (i > 0) CHECK(pthread_join(team.ids[i], NULL) == 0);
        recorder_end(&team.players[i].recorder);
    }
    CHECK(pthread_barrier_destroy(&team.start) == 0);
    CHECK(pthread_barrier_destroy(&team.end) == 0);
}

/* ---- one history ---- */

static struct history_event events[TEAM * ROOM], wrong[TEAM * ROOM];

static void draw_game(struct rng *rng)
{
    static const uint32_t yields[] = {0, 200, 50, 20, 8, 3};
    unsigned most = (unsigned)test_env("THREADS", TEAM);
    if (most > TEAM) most = TEAM;
    unsigned least = most < 4 ? most : 4;
    team.game.threads = least + (unsigned)rng_below(rng, most - least + 1);
    team.game.keys = 1 + (unsigned)rng_below(rng, HOT_KEYS);
    team.game.mix = &mixes[rng_below(rng, MIXES)];
    team.game.steps = 15 + (unsigned)rng_below(rng, STEPS - 15 + 1);
    team.yield_one_in = yields[rng_below(rng, sizeof yields / sizeof yields[0])];
    /* A range is as many threads, for the checker, as it may have keys to visit. */
    bool ranges = team.game.mix->weight[A_RANGE] > 0;
    while (ranges && team.game.threads * (1 + team.game.keys) > HISTORY_THREADS) team.game.keys--;
}

static void check_history(size_t count, const char *text, bool whole)
{
    struct history_verdict verdict = whole ? history_check(events, count) : history_check_by_key(events, count);
    if (verdict.linearizable) return;
    totals.refused++;
    fprintf(stderr, "REFUSED %s: %s\n%s\n", whole ? "as a whole" : "by key", text, verdict.why);
    history_print(stderr, events, count, verdict.event, !whole);
    CHECK(!"the history is linearizable");
}

static void mutate(size_t count, struct rng *rng)
{
    for (int kind = 0; kind < MUTATIONS; kind++) {
        memcpy(wrong, events, count * sizeof *events);
        if (!history_mutate((enum mutation)kind, wrong, count, rng)) continue;
        totals.applied[kind]++;
        totals.mutants_refused[kind] += !history_check_by_key(wrong, count).linearizable;
    }
}

static void one_history(const struct config *config, enum ownership ownership, uint64_t stream)
{
    struct rng rng = rng_make(test_seed(), stream);
    draw_game(&rng);
    bed_open(&team.game.bed, config, ownership);
    for (unsigned i = 0; i < TEAM; i++) {
        struct player *p = &team.players[i];
        recorder_reset(&p->recorder);
        p->rng = rng_make(rng_next(&rng), i);
        p->made = 0;
    }
    atomic_store(&team.ready, 0);
    handed_begin(ownership);
    team.players[0].pinned = ownership == OWNED;
    player_prepare(&team.players[0]);
    team.players[0].pinned = false;
    handed_end(ownership);
    pthread_barrier_wait(&team.start);
    play(&team.players[0]);
    pthread_barrier_wait(&team.end);
    size_t keys = player_look(&team.players[0]);

    struct recorder recorders[TEAM];
    for (unsigned i = 0; i < TEAM; i++) recorders[i] = team.players[i].recorder;
    size_t count = recorder_merge(recorders, TEAM, events, sizeof events / sizeof events[0]);
    char text[160];
    snprintf(text, sizeof text, "%s, ownership %d, history %llu: %u threads, %u keys, %s, a stop in %u", config->name,
             (int)ownership, (unsigned long long)stream, team.game.threads, team.game.keys, team.game.mix->name,
             (unsigned)team.yield_one_in);
    totals.histories++;
    totals.events += count;
    check_history(count, text, false);
    if (team.game.mix->weight[H_CLEAR] > 0) { /* without a clear, all keys by themselves are the whole */
        check_history(count, text, true);
        totals.whole++;
    }
    CHECK(syncmap_len(team.game.bed.map) == keys);
    bed_close(&team.game.bed);
    if (stream % MUTATE_ONE_IN == 0) {
        unsigned overlap = history_overlap(events, count);
        if (overlap > totals.overlap) totals.overlap = overlap;
        mutate(count, &rng);
    }
}

static void histories(const struct config *config, enum ownership ownership)
{
    uint64_t count = test_env("HISTORIES", HISTORIES / TEST_SCALE) / OWNERSHIPS;
    if (count == 0) count = 1;
    uint64_t first = ((uint64_t)(config - test_configs) * OWNERSHIPS + ownership) << 32;
    for (uint64_t i = 0; i < count; i++) one_history(config, ownership, first + i);
}

static void test_map(void **state)
{
    (void)state;
    crash_plainly();
    uint64_t start = now_us();
    team_open();
    for_each_ownership(histories);
    team_close();
    totals.stops = atomic_load(&team.stops);
    struct history_steps steps = history_steps();
    printf("map: %" PRIu64 " histories (%" PRIu64 " with clears, as a whole too), %" PRIu64 " events, at most %u at once, "
           "%" PRIu64 " stops; refused %" PRIu64 "; %.1f s\n", totals.histories, totals.whole, totals.events,
           totals.overlap, totals.stops, totals.refused, (double)(now_us() - start) / 1e6);
    printf("map: %lu promotions, %lu builds, %lu growths, %lu expunged, %lu revived\n", steps.promotions, steps.builds,
           steps.growths, steps.expunged, steps.revived);
    if (totals.histories < ENOUGH) return;
    CHECK(totals.overlap > 1 || test_env("THREADS", TEAM) == 1);
    CHECK(steps.promotions && steps.builds && steps.expunged && steps.revived);
}

/* Of what was recorded above. */
static void test_mutants(void **state)
{
    (void)state;
    printf("mutants refused:");
    for (int kind = 0; kind < MUTATIONS; kind++) {
        printf(" %s %" PRIu64 " of %" PRIu64 "%s", mutation_names[kind], totals.mutants_refused[kind], totals.applied[kind],
               kind + 1 < MUTATIONS ? "," : "\n");
    }
    for (int kind = 0; kind < MUTATIONS; kind++) {
        CHECK(totals.mutants_refused[kind] == totals.applied[kind]);
        CHECK(totals.applied[kind] > 0 || totals.histories < ENOUGH);
    }
}

int main(void)
{
    keep_crash_handlers();
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_mutants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
