/* SPDX-License-Identifier: MIT
 *
 * compare - syncmap beside what a careful C programmer does without it: a pthread_rwlock round GLib's GHashTable.
 *
 *     compare [--quick] [--threads LIST] [--sizes LIST] [--tsv FILE]
 *
 * What is measured, for each number of keys and of threads:
 *
 *   load            of keys that are all there; every thread all keys, each in an order of its own
 *   store           on keys that are all there; likewise
 *   load_or_store   of new keys into a fresh map, one pass; each thread a part of its own
 *   delete          of all keys of a full map, one pass; each thread a part of its own
 *
 * How:
 *
 *   - One workload, and one adapter for each map: both do the same operations on the same keys in the same order
 *     through the same indirect calls, in the same process. Each answer is checked, value included.
 *   - Keys are 64 scattered bits each, visited in random orders. Both maps grow from empty by themselves.
 *   - A map that is filled is then loaded from once through, by one thread, and by each thread through its own
 *     keys. For syncmap this promotes all keys to `read`, the steady state in which loads and deletes take
 *     no lock; for both it warms the caches. What load_or_store leaves behind is not promoted, and the
 *     figure of load_or_store is of that.
 *   - A phase lasts a tenth of a second at least: loads and stores make more passes, load_or_store and delete
 *     take a fresh map for each pass and add up the times; making, filling and freeing maps is not timed.
 *   - Threads are pinned to processors and start at a barrier. The maps and the numbers of threads take turns within each
 *     repetition, A1 B1 A2 B2 A1 B1 ..., on fresh maps, and a row is the median of all repetitions with the least and the greatest.
 *   - A thread that got less than 0.9 of its processor was disturbed: the phase is repeated, three times at the
 *     most, and the row is marked '*' if that was no help. A thread also gets less when it goes to sleep in
 *     front of a lock. That is the map's own doing, so it is not repeated, and marked '*s'.
 *
 * What the figures leave out: memory that syncmap gives back after the phase (an entry that was deleted from
 * `read` is freed after the next promotion), and the promotion after load_or_store.
 *
 * Values are integers in the pointer, which no map owns: no pin is needed, and none timed but the library's own.
 */
#include "compare_maps.h"
#include "compare_work.h"

#include <argp.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <syncmap.h>
#include <time.h>

/* ---- a phase ------------------------------------------------------------------------------------- */

/* A phase is some rounds, each on a map of its own; a round is some passes by all threads at the same time. */
struct phase {
    const struct adapter *adapter;
    const struct operation *operation;
    const struct workload *workload;
    size_t rounds;
    size_t passes;
    void *map;                 /* of this round; set by thread 0 */
    pthread_barrier_t asleep;  /* where the others sleep while thread 0 makes a map */
    _Atomic uint64_t arrivals; /* where all spin after that, so as to start at the same time */
};

struct worker {
    struct phase *phase;
    unsigned index;
    uint64_t begin, end; /* of the passes of this round */
    /* Sums over the rounds. */
    uint64_t busy;     /* ns in the passes */
    uint64_t watched;  /* ns from before the start line to the end of the passes, and of these */
    uint64_t consumed; /* ns on a processor */
    long sleeps;       /* how often the thread gave it up by itself */
    uint64_t wall;     /* thread 0 only: ns from the first begin to the last end */
    size_t right;      /* right answers */
};

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static long sleeps_so_far(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

/* Spins until all threads are here. They wake from the other barrier some microseconds apart, which would be much
 * of a pass over a small map; from here they go within one transfer of a cache line. */
static void start_line(struct phase *phase)
{
    uint64_t threads = phase->workload->threads;
    uint64_t before = atomic_fetch_add(&phase->arrivals, 1);
    uint64_t complete = before - before % threads + threads;

    for (unsigned spins = 1; atomic_load(&phase->arrivals) < complete; spins++) {
        if (spins % 1024 == 0) {
            sched_yield(); /* for more threads than processors */
        }
    }
}

/* A map for the next round: empty, or filled and then loaded from once through. */
static void prepare(struct phase *phase)
{
    const struct workload *workload = phase->workload;
    const struct adapter *adapter = phase->adapter;
    void *map = adapter->create();

    phase->map = map;
    if (!phase->operation->on_full_map) {
        return;
    }
    if (pass_load_or_store(adapter, map, workload->keys, workload->count) != workload->count ||
        pass_load(adapter, map, workload->keys, workload->count) != workload->count) {
        die("%s: a map could not be filled", adapter->name);
    }
}

static void run_round(struct worker *worker, struct slice slice)
{
    struct phase *phase = worker->phase;
    const struct adapter *adapter = phase->adapter;
    uint64_t watched_from, consumed_from;
    long sleeps_from;

    if (phase->operation->on_full_map) {
        pass_load(adapter, phase->map, slice.keys, slice.count);
    }
    sleeps_from = sleeps_so_far();
    consumed_from = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    watched_from = nanoseconds(CLOCK_MONOTONIC);
    start_line(phase);
    worker->begin = nanoseconds(CLOCK_MONOTONIC);
    for (size_t pass = 0; pass < phase->passes; pass++) {
        worker->right += phase->operation->pass(adapter, phase->map, slice.keys, slice.count);
    }
    worker->end = nanoseconds(CLOCK_MONOTONIC);
    worker->consumed += nanoseconds(CLOCK_THREAD_CPUTIME_ID) - consumed_from;
    worker->watched += worker->end - watched_from;
    worker->sleeps += sleeps_so_far() - sleeps_from;
    worker->busy += worker->end - worker->begin;
}

/* For thread 0, which knows that the array of workers starts with it. */
static void add_wall(struct worker *workers, unsigned count)
{
    uint64_t begin = workers[0].begin, end = workers[0].end;

    for (unsigned i = 1; i < count; i++) {
        begin = workers[i].begin < begin ? workers[i].begin : begin;
        end = workers[i].end > end ? workers[i].end : end;
    }
    workers[0].wall += end - begin;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct phase *phase = worker->phase;
    struct slice slice = slice_of(phase->workload, phase->operation, worker->index);

    for (size_t round = 0; round < phase->rounds; round++) {
        if (worker->index == 0) {
            prepare(phase);
        }
        pthread_barrier_wait(&phase->asleep);
        run_round(worker, slice);
        pthread_barrier_wait(&phase->asleep);
        if (worker->index == 0) {
            add_wall(worker, phase->workload->threads);
            phase->adapter->destroy(phase->map);
        }
    }
    return NULL;
}

/* Of the n processors that this process may use, the one with this number modulo n. */
static size_t processor_of(unsigned number)
{
    cpu_set_t allowed;
    size_t processor = 0;
    unsigned skip;

    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        die("sched_getaffinity: %s", strerror(errno));
    }
    skip = number % (unsigned)CPU_COUNT(&allowed);
    while (!CPU_ISSET(processor, &allowed) || skip-- > 0) {
        processor++;
    }
    return processor;
}

static pthread_t start_pinned(struct worker *worker)
{
    size_t processor = processor_of(worker->index);
    pthread_attr_t attributes;
    pthread_t thread;
    cpu_set_t chosen;
    int error;

    CPU_ZERO(&chosen);
    CPU_SET(processor, &chosen);
    pthread_attr_init(&attributes);
    error = pthread_attr_setaffinity_np(&attributes, sizeof chosen, &chosen);
    if (error == 0) {
        error = pthread_create(&thread, &attributes, work, worker);
    }
    if (error != 0) {
        die("cannot start a thread on processor %zu: %s", processor, strerror(error));
    }
    pthread_attr_destroy(&attributes);
    return thread;
}

/* What one phase came to. */
struct sample {
    double seconds; /* of passes */
    double ns;      /* per operation, in a thread */
    double mops;    /* million operations a second: the sum of the threads' rates, each over its own time */
    double share;   /* of its processor that a thread had; the least of all threads */
    bool slept;     /* a thread was away by itself, in front of a lock */
};

static struct sample evaluate(const struct phase *phase, const struct worker *workers)
{
    unsigned threads = phase->workload->threads;
    struct sample sample = {(double)workers[0].wall / 1e9, 0, 0, 1, false};

    for (unsigned i = 0; i < threads; i++) {
        const struct worker *worker = &workers[i];
        size_t done = slice_of(phase->workload, phase->operation, i).count * phase->passes * phase->rounds;
        double share = (double)worker->consumed / (double)worker->watched;

        if (worker->right != done) {
            die("%s, %s: %zu wrong answers of %zu", phase->adapter->name, phase->operation->name,
                done - worker->right, done);
        }
        sample.mops += (double)done / (double)worker->busy * 1e3;
        sample.ns += (double)worker->busy / (double)done / threads;
        sample.share = share < sample.share ? share : sample.share;
        sample.slept |= (double)worker->sleeps > (double)worker->watched / 1e6; /* once a millisecond */
    }
    return sample;
}

static struct sample run_phase(const struct adapter *adapter, const struct operation *operation,
                               const struct workload *workload, size_t repeat)
{
    struct phase phase = {.adapter = adapter, .operation = operation, .workload = workload};
    struct worker *workers = take(workload->threads, sizeof *workers);
    pthread_t *threads = take(workload->threads, sizeof *threads);
    struct sample sample;

    phase.rounds = operation->once ? repeat : 1;
    phase.passes = operation->once ? 1 : repeat;
    pthread_barrier_init(&phase.asleep, NULL, workload->threads);
    for (unsigned i = 0; i < workload->threads; i++) {
        workers[i].phase = &phase;
        workers[i].index = i;
        threads[i] = start_pinned(&workers[i]);
    }
    for (unsigned i = 0; i < workload->threads; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&phase.asleep);
    sample = evaluate(&phase, workers);
    free(threads);
    free(workers);
    return sample;
}

/* ---- repetitions --------------------------------------------------------------------------------- */

#define SHARE_ENOUGH 0.9
#define REPEATS_MOST 3
#define LIST_MOST 8

struct options {
    size_t sizes[LIST_MOST];
    size_t size_count;
    size_t threads[LIST_MOST];
    size_t thread_count;
    unsigned repetitions; /* odd, for a median that is one of them */
    double seconds;       /* that a phase lasts at least */
    bool quick;
    const char *tsv;
};

/* One line of the table. */
struct row {
    double ns, ns_least, ns_greatest; /* ns: the median */
    double mops;                      /* the median */
    double share;                     /* the least */
    bool slept;
};

static struct row rows[LIST_MOST][LIST_MOST][OPERATIONS][MAPS]; /* by size, threads, operation, map */

/* How many passes a phase needs to last long enough. */
static size_t calibrate(const struct adapter *adapter, const struct operation *operation,
                        const struct workload *workload, double seconds)
{
    size_t repeat = 1;

    for (;;) {
        struct sample sample = run_phase(adapter, operation, workload, repeat);
        double factor = 1.2 * seconds / sample.seconds;

        if (sample.seconds >= seconds) {
            return repeat;
        }
        factor = factor < 64 ? factor : 64; /* the first pass over a small map is all clock */
        repeat = (size_t)((double)repeat * factor) + 1;
    }
}

/* A phase that nobody disturbed, or the least disturbed of several. */
static struct sample run_undisturbed(const struct adapter *adapter, const struct operation *operation,
                                     const struct workload *workload, size_t repeat)
{
    struct sample best = run_phase(adapter, operation, workload, repeat);

    for (int i = 0; i < REPEATS_MOST && best.share < SHARE_ENOUGH && !best.slept; i++) {
        struct sample sample = run_phase(adapter, operation, workload, repeat);

        best = sample.share > best.share ? sample : best;
    }
    return best;
}

static int by_ns(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;

    return (x->ns > y->ns) - (x->ns < y->ns);
}

static int by_mops(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;

    return (x->mops > y->mops) - (x->mops < y->mops);
}

static struct row summarise(struct sample *samples, unsigned count)
{
    struct row row = {.share = 1, .slept = false};

    qsort(samples, count, sizeof *samples, by_mops);
    row.mops = samples[count / 2].mops;
    qsort(samples, count, sizeof *samples, by_ns);
    row.ns = samples[count / 2].ns;
    row.ns_least = samples[0].ns;
    row.ns_greatest = samples[count - 1].ns;
    for (unsigned i = 0; i < count; i++) {
        row.share = samples[i].share < row.share ? samples[i].share : row.share;
        row.slept |= samples[i].slept;
    }
    return row;
}

/* Fills the rows of an operation: by threads and map, which all take turns within each repetition, so that what else the
 * machine does in these seconds meets them alike. */
static void measure(const struct operation *operation, const struct workload *workloads,
                    const struct options *options, struct row results[LIST_MOST][OPERATIONS][MAPS])
{
    struct sample *samples[LIST_MOST][MAPS];
    size_t repeats[LIST_MOST][MAPS];

    for (size_t t = 0; t < options->thread_count; t++) {
        for (int map = 0; map < MAPS; map++) {
            samples[t][map] = take(options->repetitions, sizeof *samples[t][map]);
            repeats[t][map] = calibrate(&adapters[map], operation, &workloads[t], options->seconds);
        }
    }
    for (unsigned i = 0; i < options->repetitions; i++) {
        for (size_t t = 0; t < options->thread_count; t++) {
            for (int map = 0; map < MAPS; map++) {
                samples[t][map][i] = run_undisturbed(&adapters[map], operation, &workloads[t], repeats[t][map]);
            }
        }
    }
    for (size_t t = 0; t < options->thread_count; t++) {
        for (int map = 0; map < MAPS; map++) {
            results[t][operation - operations][map] = summarise(samples[t][map], options->repetitions);
            free(samples[t][map]);
        }
    }
}

/* ---- output -------------------------------------------------------------------------------------- */

/* The name of the processor, as the kernel tells it. */
static void print_processor(void)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon) {
            printf("processor: %s", colon + 2);
            break;
        }
    }
    if (file) {
        fclose(file);
    }
}

static void print_head(const struct options *options, FILE *tsv)
{
    int version = syncmap_version();

    print_processor();
    printf("maps: syncmap %d.%d.%d (read/dirty); pthread_rwlock round GHashTable of GLib %u.%u.%u\n",
           version / 10000, version / 100 % 100, version % 100, glib_major_version, glib_minor_version,
           glib_micro_version);
    printf("each row: the median of %u repetitions of at least %.2f s\n\n", options->repetitions, options->seconds);
    printf("%-14s %9s %7s  %-12s %9s %9s %9s %9s %6s\n", "operation", "keys", "threads", "map", "ns/op", "least",
           "greatest", "Mops/s", "share");
    if (tsv) {
        fputs("operation\tkeys\tthreads\tmap\tns_per_op\tns_least\tns_greatest\tmops\tshare\tmark\n", tsv);
    }
}

static void print_row(const struct operation *operation, const struct workload *workload, int map,
                      const struct row *row, FILE *tsv)
{
    const char *name = adapters[map].name;
    const char *mark = row->share >= SHARE_ENOUGH ? "" : row->slept ? "*s" : "*";

    printf("%-14s %9zu %7u  %-12s %9.1f %9.1f %9.1f %9.2f %6.2f%s\n", operation->name, workload->count,
           workload->threads, name, row->ns, row->ns_least, row->ns_greatest, row->mops, row->share, mark);
    fflush(stdout);
    if (tsv) {
        fprintf(tsv, "%s\t%zu\t%u\t%s\t%.2f\t%.2f\t%.2f\t%.3f\t%.3f\t%s\n", operation->name, workload->count,
                workload->threads, name, row->ns, row->ns_least, row->ns_greatest, row->mops, row->share, mark);
    }
}

/* What the table says about loads, in ratios of the throughput of all threads. */
static void print_ratios(const struct options *options)
{
    printf("\n*: a thread had less than %.1f of its processor; *s: as it slept in front of a lock\n\n", SHARE_ENOUGH);
    for (size_t s = 0; s < options->size_count; s++) {
        for (size_t t = 0; t < options->thread_count; t++) {
            const struct row *pair = rows[s][t][LOAD];

            printf("load, %zu keys, threads %zu: %s / %s = %.2f\n", options->sizes[s], options->threads[t],
                   adapters[SYNCMAP].name, adapters[RWLOCK].name, pair[SYNCMAP].mops / pair[RWLOCK].mops);
        }
        for (size_t t = 1; t < options->thread_count; t++) {
            for (int map = 0; map < MAPS; map++) {
                printf("load, %zu keys, threads %zu / %zu: %s = %.2f\n", options->sizes[s],
                       options->threads[t], options->threads[0], adapters[map].name,
                       rows[s][t][LOAD][map].mops / rows[s][0][LOAD][map].mops);
            }
        }
    }
}

/* ---- the command line ---------------------------------------------------------------------------- */

/* A list such as 1,2,4. Anything else ends the program with a message. Returns how many there are. */
static size_t parse_list(const char *text, size_t list[LIST_MOST], size_t least, size_t most,
                         struct argp_state *state)
{
    const char *at = text;

    for (size_t count = 0; count < LIST_MOST; at++) {
        char *end = NULL;
        unsigned long long number = 0;

        errno = 0;
        if (*at >= '0' && *at <= '9') { /* strtoull would take blanks and a sign too */
            number = strtoull(at, &end, 10);
        }
        if (!end || errno != 0 || number < least || number > most || (*end != ',' && *end != '\0')) {
            break;
        }
        list[count++] = (size_t)number;
        at = end;
        if (*at == '\0') {
            return count;
        }
    }
    argp_error(state, "'%s' is not a list of at most %d numbers from %zu to %zu", text, LIST_MOST, least, most);
    return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'q':
        options->quick = true;
        return 0;
    case 't':
        options->thread_count = parse_list(argument, options->threads, 1, 64, state);
        return 0;
    case 's':
        options->size_count = parse_list(argument, options->sizes, 100, 100000000, state);
        return 0;
    case 'o':
        options->tsv = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"quick", 'q', NULL, 0, "3 repetitions of 0.01 s, to see that it works, not to be quoted", 0},
    {"threads", 't', "LIST", 0, "Numbers of threads (default: 1,2)", 0},
    {"sizes", 's', "LIST", 0, "Numbers of keys (default: 1000,1000000; with --quick 1000,100000)", 0},
    {"tsv", 'o', "FILE", 0, "Write the table to FILE as well, with tabs", 0},
    {NULL, 0, NULL, 0, NULL, 0}};

static struct options parse_options(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list,
        .parser = parse_option,
        .doc = "Measures syncmap beside a pthread_rwlock round GLib's GHashTable, on the same work.\v"
               "ns/op is the time of an operation as its thread sees it; Mops/s counts the operations of all "
               "threads; share is the least part of its processor that a thread had.",
    };
    struct options options = {.threads = {1, 2}, .thread_count = 2};

    argp_err_exit_status = 2;
    if (argp_parse(&parser, argc, argv, 0, NULL, &options) != 0) {
        die("out of memory");
    }
    options.repetitions = options.quick ? 3 : 9;
    options.seconds = options.quick ? 0.01 : 0.1;
    if (options.size_count == 0) {
        options.size_count = 2;
        options.sizes[0] = 1000;
        options.sizes[1] = options.quick ? 100000 : 1000000;
    }
    return options;
}

static void measure_size(size_t s, const struct options *options, FILE *tsv)
{
    struct workload workloads[LIST_MOST];

    for (size_t t = 0; t < options->thread_count; t++) {
        workloads[t] = workload_make(options->sizes[s], (unsigned)options->threads[t]);
    }
    for (int operation = 0; operation < OPERATIONS; operation++) {
        measure(&operations[operation], workloads, options, rows[s]);
        for (size_t t = 0; t < options->thread_count; t++) {
            for (int map = 0; map < MAPS; map++) {
                print_row(&operations[operation], &workloads[t], map, &rows[s][t][operation][map], tsv);
            }
        }
    }
    for (size_t t = 0; t < options->thread_count; t++) {
        workload_free(&workloads[t]);
    }
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    FILE *tsv = NULL;

    if (options.tsv && !(tsv = fopen(options.tsv, "w"))) {
        die("%s: %s", options.tsv, strerror(errno));
    }
    print_head(&options, tsv);
    for (size_t s = 0; s < options.size_count; s++) {
        measure_size(s, &options, tsv);
    }
    print_ratios(&options);
    if (tsv && (ferror(tsv) | fclose(tsv))) {
        die("%s: %s", options.tsv, strerror(errno));
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        die("cannot write the table: %s", strerror(errno));
    }
    return EXIT_SUCCESS;
}
