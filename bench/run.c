/* SPDX-License-Identifier: MIT
 *
 * run - one map's runner: does the phases that it is told on one map, and prints a line of JSON for each result.
 *
 *     run_MAP[_str] --n N --threads T --seconds S --seed R --phases a,b,c [--ops K] [--latencies FILE]
 *
 * Compiled once for each map and kind of keys: ADAPTER is the adapter's header, KEYS_STRING makes the keys strings. As C11
 * for maps in C, as C++17 for those in C++. docs/benchmarks.md tells what the phases are; `--phases list` prints
 * their names, `--phases all` runs them all, in an order that works.
 *
 *     run_frame.h    threads, time, output       run_insert.h   the phase insert, with latencies
 *     run_streams.h  keys in random orders       run_memory.h   the phase memory
 *     run_work.h     the other phases            run_go.h       the workloads of Go's benchmark file
 *
 * Exit status: 0 done, 1 a wrong answer (or no memory ...), 2 a wrong command line. What the map cannot do is a line with
 * "absent", and no error.
 */
#include "run_frame.h"
#include "run_go.h"
#include "run_insert.h"
#include "run_memory.h"
#include "run_streams.h"
#include "run_work.h"

#include <getopt.h>

/* ---- the phases ----------------------------------------------------------------------------------- */

#ifdef KEYS_STRING
#define INTEGERS(function) NULL
#define GO(function) NULL
#else
#define INTEGERS(function) function
#define GO(name) go_run_##name
#endif
#if defined(MAP_HAS_RANGE) && !defined(KEYS_STRING)
#define RANGE(function) function
#else
#define RANGE(function) NULL
#endif
#if defined(MAP_HAS_GO) && !defined(KEYS_STRING)
#define FURTHER(name) go_run_##name
#else
#define FURTHER(name) NULL
#endif
#if defined(MAP_HAS_MANY) && !defined(KEYS_STRING)
#define MANY_KEYS(function) function
#else
#define MANY_KEYS(function) NULL
#endif
#if defined(MAP_HAS_GO) && !defined(MAP_CLEAR_ABSENT) && !defined(KEYS_STRING)
#define CLEAR(name) go_run_##name
#else
#define CLEAR(name) NULL
#endif

enum { /* flags of similar phases */
    ON_FULL = PHASE_TIMED | PHASE_NEEDS_FULL,
    GO_BASIC = PHASE_TIMED | PHASE_OWN_MAP,
    GO_RANGE = GO_BASIC | PHASE_RANGE,
    GO_FURTHER = GO_BASIC | PHASE_GO
};

/* In the order of `--phases all`. */
static const struct phase phases[] = {
    {"line", run_line, report_line, PHASE_TWO | PHASE_STRINGS},
    {"memory", run_memory, NULL, PHASE_MAIN | PHASE_STRINGS},
    {"fill", run_fill, report_full, PHASE_NEEDS_NONE | PHASE_STRINGS},
    {"load_hit", run_load_hit, report_rate, ON_FULL | PHASE_STRINGS},
    {"load_hit_zipf", run_load_hit_zipf, report_rate, ON_FULL | PHASE_STRINGS},
    {"load_miss", run_load_miss, report_rate, PHASE_TIMED | PHASE_NEEDS_NO_MISSES | PHASE_STRINGS},
    {"load_many", MANY_KEYS(run_load_many), report_rate, ON_FULL | PHASE_MANY},
    {"update", run_update, report_rate, ON_FULL | PHASE_STRINGS},
    {"hot_key", run_hot_key, report_rate, ON_FULL | PHASE_STRINGS},
    {"reader_beside_writer", INTEGERS(run_reader_beside_writer), INTEGERS(report_reader_beside_writer),
     ON_FULL | PHASE_TWO},
    {"range", RANGE(run_range), RANGE(report_range), ON_FULL | PHASE_TWO | PHASE_RANGE},
    {"mixed_90_5_5", run_mixed_90_5_5, report_mixed, PHASE_TIMED | PHASE_STRINGS},
    {"mixed_50_25_25", run_mixed_50_25_25, report_mixed, PHASE_TIMED | PHASE_STRINGS},
    {"delete_all", run_delete_all, report_delete_all, PHASE_STRINGS},
    {"insert", run_insert, report_insert, PHASE_TIMED | PHASE_WHOLE | PHASE_NEEDS_NONE | PHASE_STRINGS},
    {"churn", INTEGERS(run_churn), report_rate, PHASE_TIMED | PHASE_OWN_MAP},
    {"go:LoadMostlyHits", GO(LoadMostlyHits), report_rate, GO_BASIC},
    {"go:LoadMostlyMisses", GO(LoadMostlyMisses), report_rate, GO_BASIC},
    {"go:LoadOrStoreBalanced", GO(LoadOrStoreBalanced), report_rate, GO_BASIC},
    {"go:LoadOrStoreUnique", GO(LoadOrStoreUnique), report_rate, GO_BASIC},
    {"go:LoadOrStoreCollision", GO(LoadOrStoreCollision), report_rate, GO_BASIC},
    {"go:LoadAndDeleteBalanced", FURTHER(LoadAndDeleteBalanced), report_rate, GO_FURTHER},
    {"go:LoadAndDeleteUnique", FURTHER(LoadAndDeleteUnique), report_rate, GO_FURTHER},
    {"go:LoadAndDeleteCollision", FURTHER(LoadAndDeleteCollision), report_rate, GO_FURTHER},
    {"go:Range", RANGE(go_run_Range), report_rate, GO_RANGE},
    {"go:AdversarialAlloc", GO(AdversarialAlloc), report_rate, GO_BASIC},
    {"go:AdversarialDelete", RANGE(go_run_AdversarialDelete), report_rate, GO_RANGE},
    {"go:DeleteCollision", GO(DeleteCollision), report_rate, GO_BASIC},
    {"go:SwapCollision", FURTHER(SwapCollision), report_rate, GO_FURTHER},
    {"go:SwapMostlyHits", FURTHER(SwapMostlyHits), report_rate, GO_FURTHER},
    {"go:SwapMostlyMisses", FURTHER(SwapMostlyMisses), report_rate, GO_FURTHER},
    {"go:CompareAndSwapCollision", FURTHER(CompareAndSwapCollision), report_rate, GO_FURTHER},
    {"go:CompareAndSwapNoExistingKey", FURTHER(CompareAndSwapNoExistingKey), report_rate, GO_FURTHER},
    {"go:CompareAndSwapValueNotEqual", FURTHER(CompareAndSwapValueNotEqual), report_rate, GO_FURTHER},
    {"go:CompareAndSwapMostlyHits", FURTHER(CompareAndSwapMostlyHits), report_rate, GO_FURTHER},
    {"go:CompareAndSwapMostlyMisses", FURTHER(CompareAndSwapMostlyMisses), report_rate, GO_FURTHER},
    {"go:CompareAndDeleteCollision", FURTHER(CompareAndDeleteCollision), report_rate, GO_FURTHER},
    {"go:CompareAndDeleteMostlyHits", FURTHER(CompareAndDeleteMostlyHits), report_rate, GO_FURTHER},
    {"go:CompareAndDeleteMostlyMisses", FURTHER(CompareAndDeleteMostlyMisses), report_rate, GO_FURTHER},
    {"go:Clear", CLEAR(Clear), report_rate, GO_FURTHER | PHASE_CLEAR},
};

#define PHASE_COUNT (sizeof phases / sizeof phases[0])

#ifndef MAP_THREADS_MOST
#define MAP_THREADS_MOST UINT32_MAX
#endif
#ifndef MAP_RANGE_ABSENT
#define MAP_RANGE_ABSENT "no walk that is safe beside writers"
#endif
#ifndef MAP_GO_ABSENT
#define MAP_GO_ABSENT "the map has no such operation"
#endif
#ifndef MAP_CLEAR_ABSENT
#define MAP_CLEAR_ABSENT MAP_GO_ABSENT
#endif

/* Why this runner cannot do a phase; NULL if it can. */
static const char *why_absent(const struct phase *phase)
{
    if (bench.options.threads > MAP_THREADS_MOST) {
        return "for one thread only";
    }
    if ((phase->flags & PHASE_TWO) && bench.options.threads < 2) {
        return "needs two threads";
    }
#ifdef KEYS_STRING
    if (!(phase->flags & PHASE_STRINGS)) {
        return "for integer keys only";
    }
#endif
    if (phase->run) {
        return NULL;
    }
    if (phase->flags & PHASE_MANY) {
        return "no such call";
    }
    return phase->flags & PHASE_RANGE ? MAP_RANGE_ABSENT : phase->flags & PHASE_CLEAR ? MAP_CLEAR_ABSENT : MAP_GO_ABSENT;
}

/* ---- workers -------------------------------------------------------------------------------------- */

static void *work(void *argument)
{
    struct worker *worker = (struct worker *)argument;

    pin_to(worker->index, &bench.allowed);
    for (;;) {
        meet(&bench.everyone);
        if (!bench.phase) {
            detach();
            return NULL;
        }
        worker->map = bench.phase->flags & PHASE_OWN_MAP ? bench.own : bench.shared;
        attach(worker->map);
        memset(&worker->cursor, 0, sizeof worker->cursor);
        bench.phase->run(worker);
        free(worker->draws);
        free(worker->kinds);
        worker->draws = NULL;
        worker->kinds = NULL;
        if (bench.phase->flags & PHASE_OWN_MAP) {
            detach();
        }
        meet(&bench.everyone);
    }
}

static void start_workers(void)
{
    void *memory;

    if (bench.workers) {
        return;
    }
    bench.texts = texts_make(2 * bench.options.n);
    if (posix_memalign(&memory, BENCH_CACHE_LINE, bench.options.threads * sizeof(struct worker)) != 0) {
        die("out of memory");
    }
    bench.workers = (struct worker *)memory;
    memset(memory, 0, bench.options.threads * sizeof(struct worker));
    for (unsigned t = 0; t < bench.options.threads; t++) {
        int error;

        bench.workers[t].index = t;
        error = pthread_create(&bench.workers[t].thread, NULL, work, &bench.workers[t]);
        if (error != 0) {
            die("cannot start a thread: %s", strerror(error));
        }
    }
}

static void end_workers(void)
{
    if (!bench.workers) {
        return;
    }
    bench.phase = NULL;
    meet(&bench.everyone);
    for (unsigned t = 0; t < bench.options.threads; t++) {
        pthread_join(bench.workers[t].thread, NULL);
    }
    free(bench.workers);
}

/* ---- a phase, by the main thread ------------------------------------------------------------------ */

static void check_contents(const struct phase *phase)
{
    const char *needs = NULL;

    if ((phase->flags & PHASE_NEEDS_NONE) && bench.contents != CONTENTS_NONE) {
        needs = "an empty map (before it: delete_all)";
    } else if ((phase->flags & PHASE_NEEDS_FULL) && bench.contents != CONTENTS_FULL) {
        needs = "a full map (before it: fill)";
    } else if ((phase->flags & PHASE_NEEDS_NO_MISSES) && bench.contents == CONTENTS_SOME) {
        needs = "a map that no mixed phase has changed (before it: delete_all)";
    }
    if (needs) {
        fprintf(stderr, "%s: %s needs %s\n", program_invocation_short_name, phase->name, needs);
        _Exit(2);
    }
}

static void run_phase_by_workers(const struct phase *phase)
{
    check_contents(phase);
    if (phase->flags & PHASE_OWN_MAP) {
        bench.own = map_create();
    } else if (!bench.shared) {
        bench.shared = map_create();
    }
    bench.stop = 0;
    bench.finished = 0;
    start_workers();
    meet(&bench.everyone);
    if (phase->flags & PHASE_TIMED) {
        meet(&bench.everyone);
        if (!(phase->flags & PHASE_WHOLE) && !bench.options.operations) {
            sleep_seconds(bench.options.seconds);
            __atomic_store_n(&bench.stop, 1, __ATOMIC_RELAXED);
        }
    }
    meet(&bench.everyone);
    if (phase->report) {
        phase->report();
    }
    if (phase->flags & PHASE_OWN_MAP) {
        destroy_map(bench.own);
        bench.own = NULL;
    }
}

static void run_phase(const struct phase *phase)
{
    const char *absent = why_absent(phase);

    bench.phase = phase;
    if (absent) {
        print_absent(phase->name, absent);
    } else if (phase->flags & PHASE_MAIN) {
        phase->run(NULL);
    } else {
        run_phase_by_workers(phase);
    }
    fflush(stdout);
}

/* ---- the command line ----------------------------------------------------------------------------- */

__attribute__((noreturn)) static void usage(void)
{
    fprintf(stderr,
            "usage: %s --n N --threads T --seconds S --seed R --phases a,b,c [--ops K] [--latencies FILE]\n"
            "       --phases list prints the names of the phases, --phases all runs all of them\n",
            program_invocation_short_name);
    _Exit(2);
}

static uint64_t parse_number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < least || number > most) {
        fprintf(stderr, "%s: '%s' is not a number from %llu to %llu\n", program_invocation_short_name, text,
                (unsigned long long)least, (unsigned long long)most);
        usage();
    }
    return number;
}

static double parse_seconds(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds > 0 && seconds <= 3600)) {
        fprintf(stderr, "%s: '%s' is not a number of seconds\n", program_invocation_short_name, text);
        usage();
    }
    return seconds;
}

/* Returns the list of phases. */
static const char *parse_options(int argc, char **argv)
{
    static const struct option names[] = {{"n", 1, NULL, 'n'},       {"threads", 1, NULL, 't'},
                                          {"seconds", 1, NULL, 's'}, {"seed", 1, NULL, 'r'},
                                          {"phases", 1, NULL, 'p'},  {"ops", 1, NULL, 'o'},
                                          {"latencies", 1, NULL, 'l'}, {NULL, 0, NULL, 0}};
    const char *list = NULL;
    int name;

    bench.options.threads = 1;
    bench.options.seconds = 1;
    bench.options.seed = 1;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 'n': bench.options.n = parse_number(optarg, 1, 1000000000); break;
        case 't': bench.options.threads = (unsigned)parse_number(optarg, 1, 1024); break;
        case 's': bench.options.seconds = parse_seconds(optarg); break;
        case 'r': bench.options.seed = parse_number(optarg, 0, UINT64_MAX); break;
        case 'p': list = optarg; break;
        case 'o': bench.options.operations = parse_number(optarg, 1, UINT64_MAX / 4); break;
        case 'l': bench.options.latencies = optarg; break;
        default: usage();
        }
    }
    if (optind != argc || !list || (bench.options.n == 0 && strcmp(list, "list") != 0)) {
        usage();
    }
    return list;
}

static const struct phase *find_phase(const char *name, size_t length)
{
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        if (strlen(phases[i].name) == length && memcmp(phases[i].name, name, length) == 0) {
            return &phases[i];
        }
    }
    fprintf(stderr, "%s: there is no phase '%.*s'\n", program_invocation_short_name, (int)length, name);
    usage();
}

/* Calls each(phase) for the phases of the list. */
static void for_each_phase(const char *list, void (*each)(const struct phase *phase))
{
    if (strcmp(list, "all") == 0) {
        for (size_t i = 0; i < PHASE_COUNT; i++) {
            each(&phases[i]);
        }
        return;
    }
    for (;;) {
        size_t length = strcspn(list, ",");

        each(find_phase(list, length));
        if (list[length] == '\0') {
            return;
        }
        list += length + 1;
    }
}

static void ignore_phase(const struct phase *phase)
{
    (void)phase;
}

static void list_phases(void)
{
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        puts(phases[i].name);
    }
}

int main(int argc, char **argv)
{
    const char *list = parse_options(argc, argv);

    if (strcmp(list, "list") == 0) {
        list_phases();
        return EXIT_SUCCESS;
    }
    for_each_phase(list, ignore_phase); /* all names are right before the first is run */
    bench.allowed = allowed_processors();
    pthread_barrier_init(&bench.everyone, NULL, bench.options.threads + 1);
    pthread_barrier_init(&bench.together, NULL, bench.options.threads);
    printf("{\"map\":\"%s\",\"version\":\"%s\",\"language\":\"%s\",\"keys\":\"%s\"}\n", MAP_NAME, MAP_VERSION,
           MAP_LANGUAGE, KEYS_KIND);
    fflush(stdout);
    for_each_phase(list, run_phase);
    end_workers();
    if (bench.shared) {
        destroy_map(bench.shared);
    }
    free(bench.texts);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        die("cannot write the results: %s", strerror(errno));
    }
    return EXIT_SUCCESS;
}
