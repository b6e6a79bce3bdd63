/* SPDX-License-Identifier: MIT
 *
 * The frame of the runner: threads, phases, time, output.
 *
 * The main thread makes and destroys the maps, and sleeps while the others, the workers, work. It is not pinned, so what
 * threads a map starts of its own when it is made are not either. All workers run the same function of a phase, each
 * for its part, and meet at barriers. A thread "attaches" to one map at a time, and is idle while it waits.
 *
 * A timed part of a phase, timed(): each worker warms up; all meet at a barrier with the main thread; the workers meet again
 * at the start line, where they spin, as they wake from the barrier some microseconds apart; each takes the time and
 * loops until it has done its operations, or, where a phase goes by time, the main thread has woken and set the stop flag.
 *
 * Where the processors are: in a virtual machine those of two threads may be neighbours or far apart, and that may change within a
 * second; what both write is some five times as slow to share in the second case. So before and after
 * each timed part workers 0 and 1 pass a cache line to and fro, and say how long that took.
 */
#ifndef BENCH_RUN_FRAME_H
#define BENCH_RUN_FRAME_H

#include "keys.h"

#include ADAPTER

#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#ifndef CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#endif

/* ---- data ----------------------------------------------------------------------------------------- */

struct options {
    size_t n;
    unsigned threads;
    double seconds;
    uint64_t seed;
    uint64_t operations; /* that each thread does in a timed phase; 0: as many as `seconds` allow */
    const char *latencies;
};

/* What a worker's loop walks along: copied to the stack for as long as the loop runs. */
struct cursor {
    const bench_draw *draws; /* the stream */
    const uint8_t *kinds;    /* which operation to do with each draw */
    size_t count;
    size_t at;
    uint64_t fresh;    /* the number of the next key that nobody has used */
    uint64_t inserted; /* so far */
    uint64_t deleted;
    uint64_t i; /* of Go's loops */
    uint64_t stores, loads;
};

struct worker {
    map_type *map;
    unsigned index;
    pthread_t thread;
    struct cursor cursor;
    bench_draw *draws; /* memory of the cursor's */
    uint8_t *kinds;
    uint32_t *latencies; /* of insert, in ns */
    uint64_t counted;    /* keys found present in its part */
    /* Of the timed part. */
    uint64_t done;     /* operations */
    uint64_t busy;     /* ns in the loop */
    uint64_t watched;  /* ns from before the start line to the end, and of these */
    uint64_t consumed; /* ns on a processor */
    uint64_t sleeps;
    uint64_t passes; /* of the line, so far */
} __attribute__((aligned(BENCH_CACHE_LINE)));

/* What is in the map that the phases share. */
enum contents {
    CONTENTS_NONE,
    CONTENTS_FULL, /* keys 0 to n-1 */
    CONTENTS_SOME  /* any of keys 0 to 2n-1 */
};

enum phase_flags {
    PHASE_TIMED = 1,   /* calls timed() once */
    PHASE_WHOLE = 2,   /* ... and goes on until its work is done, not by time */
    PHASE_OWN_MAP = 4, /* on a map of its own, empty at first */
    PHASE_MAIN = 8,    /* by the main thread alone, which makes its maps */
    PHASE_TWO = 16,    /* for two threads or more */
    PHASE_RANGE = 32,  /* needs map_range() */
    PHASE_GO = 64,     /* needs Go's further operations */
    PHASE_CLEAR = 128, /* needs map_clear() */
    PHASE_STRINGS = 256,
    PHASE_NEEDS_NONE = 512, /* what must be in the map */
    PHASE_NEEDS_FULL = 1024,
    PHASE_NEEDS_NO_MISSES = 2048, /* nothing but keys 0 to n-1 */
    PHASE_MANY = 4096 /* needs map_load_many() */
};

struct phase {
    const char *name;
    void (*run)(struct worker *worker); /* by each worker, or by the main thread with NULL */
    void (*report)(void);               /* by the main thread, after it; NULL: nothing to say */
    unsigned flags;
};

static struct bench {
    struct options options;
    cpu_set_t allowed;
    const struct phase *phase; /* that runs; NULL: the workers are to end */
    map_type *shared;          /* the map of the phases that have none of their own; NULL: not made yet */
    map_type *own;             /* that of this phase */
    enum contents contents;    /* of the shared map */
    uint64_t present;          /* keys in it */
    struct worker *workers;
    char *texts;                /* of string keys */
    bench_draw *order;          /* of insert */
    pthread_barrier_t everyone; /* workers and the main thread */
    pthread_barrier_t together; /* workers alone */
    /* Of the timed part, by the whole process. */
    uint64_t process_from, process_consumed, wall_from, wall;
    unsigned finished;
    double line_ns[2]; /* before and after; 0: not measured */
    uint64_t line __attribute__((aligned(BENCH_CACHE_LINE)));
    uint64_t arrivals __attribute__((aligned(BENCH_CACHE_LINE))); /* at start lines */
    int stop __attribute__((aligned(BENCH_CACHE_LINE)));
    char apart[BENCH_CACHE_LINE];
} bench;

__attribute__((noreturn, noinline, cold)) static void wrong(const char *what)
{
    die("%s, %s: %s", MAP_NAME, bench.phase->name, what);
}

/* ---- attached and idle ---------------------------------------------------------------------------- */

static __thread map_type *attached_to;

static void detach(void)
{
    if (attached_to) {
        map_thread_leave(attached_to);
        attached_to = NULL;
    }
}

static void attach(map_type *map)
{
    if (attached_to != map) {
        detach();
        map_thread_enter(map);
        attached_to = map;
    }
}

/* By the main thread, after all workers have detached. */
static void destroy_map(map_type *map)
{
    attach(map);
    map_destroy(map);
    attached_to = NULL;
}

static void meet(pthread_barrier_t *barrier)
{
    if (attached_to) {
        map_idle(attached_to);
    }
    pthread_barrier_wait(barrier);
    if (attached_to) {
        map_busy(attached_to);
    }
}

/* ---- loops ---------------------------------------------------------------------------------------- */

#define BATCH 64

/* A worker's loop over some operations of a phase. Returns how many it has done: no fewer than it was asked for unless the
 * stop flag was set. */
typedef uint64_t loop_function(struct worker *worker, uint64_t operations);

BENCH_INLINE int stopped(void)
{
    return __atomic_load_n(&bench.stop, __ATOMIC_RELAXED);
}

/* Defines the loop NAME, of turns TURN(map, cursor), each of COST operations. */
#define DEFINE_LOOP(NAME, TURN, COST)                                                               \
    static __attribute__((noinline)) uint64_t NAME(struct worker *worker, uint64_t operations)      \
    {                                                                                               \
        struct cursor cursor = worker->cursor;                                                      \
        map_type *map = worker->map;                                                                \
        uint64_t done = 0;                                                                          \
        do {                                                                                        \
            uint64_t left = (operations - done + (COST) - 1) / (COST);                              \
            uint64_t turns = left < BATCH / (COST) ? left : BATCH / (COST);                         \
            for (uint64_t turn = 0; turn < turns; turn++) {                                         \
                TURN(map, &cursor);                                                                 \
            }                                                                                       \
            done += turns * (COST);                                                                 \
            map_tick(map);                                                                          \
        } while (done < operations && !stopped());                                                  \
        worker->cursor = cursor;                                                                    \
        return done;                                                                                \
    }

/* The same for turns that take one draw each: these look for the end of the stream once in a batch. */
#define DEFINE_DRAW_LOOP(NAME, TURN)                                                                \
    static __attribute__((noinline)) uint64_t NAME(struct worker *worker, uint64_t operations)      \
    {                                                                                               \
        struct cursor cursor = worker->cursor;                                                      \
        map_type *map = worker->map;                                                                \
        uint64_t done = 0;                                                                          \
        do {                                                                                        \
            uint64_t left = operations - done;                                                      \
            uint64_t turns = left < BATCH ? left : BATCH;                                           \
            cursor.at = cursor.at == cursor.count ? 0 : cursor.at;                                  \
            turns = turns < cursor.count - cursor.at ? turns : cursor.count - cursor.at;            \
            for (uint64_t end = cursor.at + turns; cursor.at < end; cursor.at++) {                  \
                TURN(map, &cursor);                                                                 \
            }                                                                                       \
            done += turns;                                                                          \
            map_tick(map);                                                                          \
        } while (done < operations && !stopped());                                                  \
        worker->cursor = cursor;                                                                    \
        return done;                                                                                \
    }

/* ---- time ----------------------------------------------------------------------------------------- */

/* One pass over the stream, or a quarter of the phase's time; a fixed number of operations where the phase has one. */
static void warm_up(struct worker *worker, loop_function *loop)
{
    uint64_t until = nanoseconds(CLOCK_MONOTONIC) + (uint64_t)(bench.options.seconds * 0.25e9);
    uint64_t pass = worker->cursor.count;

    if (bench.options.operations) {
        loop(worker, bench.options.operations < pass ? bench.options.operations : pass);
        return;
    }
    for (uint64_t done = 0; done < pass && nanoseconds(CLOCK_MONOTONIC) < until;) {
        done += loop(worker, pass - done < 8 * BATCH ? pass - done : 8 * BATCH);
    }
}

static void start_line(void)
{
    uint64_t threads = bench.options.threads;
    uint64_t before = __atomic_fetch_add(&bench.arrivals, 1, __ATOMIC_SEQ_CST);
    uint64_t complete = before - before % threads + threads;

    for (unsigned spins = 1; __atomic_load_n(&bench.arrivals, __ATOMIC_SEQ_CST) < complete; spins++) {
        if (spins % 1024 == 0) {
            sched_yield(); /* for more threads than processors */
        }
    }
}

enum { PASSES = 1000 };

/* Worker 0 and worker 1 each call this. Returns, to worker 0, how many ns the line took to the other processor and back. */
static double pass_line(struct worker *worker)
{
    uint64_t from = 0;

    for (int i = 0; i <= PASSES; i++) {
        uint64_t mine = 2 * worker->passes++ + worker->index;

        for (unsigned spins = 1; __atomic_load_n(&bench.line, __ATOMIC_SEQ_CST) != mine; spins++) {
            if (spins % 65536 == 0) {
                sched_yield();
            }
        }
        if (i == 1) { /* the first pass waits for the other to come */
            from = nanoseconds(CLOCK_MONOTONIC);
        }
        if (i == PASSES) {
            from = nanoseconds(CLOCK_MONOTONIC) - from;
        }
        __atomic_store_n(&bench.line, mine + 1, __ATOMIC_SEQ_CST);
    }
    return (double)from / (PASSES - 1);
}

/* end: 0 before the timed part, 1 after it. */
static void look_where(struct worker *worker, int end)
{
    unsigned processors = (unsigned)CPU_COUNT(&bench.allowed);

    if (worker->index < 2 && bench.options.threads >= 2 && bench.options.threads <= processors && !bench.options.operations) {
        double ns = pass_line(worker);

        if (worker->index == 0) {
            bench.line_ns[end] = ns;
        }
    }
}

/* `warm` is the loop to warm up with, or NULL. */
static void timed(struct worker *worker, loop_function *loop, loop_function *warm)
{
    uint64_t operations = bench.options.operations ? bench.options.operations : UINT64_MAX / 2;
    uint64_t from, end, sleeps_from, consumed_from, watched_from;

    if (warm) {
        warm_up(worker, warm);
    }
    map_idle(worker->map);
    pthread_barrier_wait(&bench.everyone);
    look_where(worker, 0);
    sleeps_from = sleeps_so_far();
    consumed_from = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    watched_from = nanoseconds(CLOCK_MONOTONIC);
    start_line();
    map_busy(worker->map);
    if (worker->index == 0) {
        bench.wall_from = nanoseconds(CLOCK_MONOTONIC);
        bench.process_from = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    }
    from = nanoseconds(CLOCK_MONOTONIC);
    CALLGRIND_START_INSTRUMENTATION;
    worker->done = loop(worker, operations);
    CALLGRIND_STOP_INSTRUMENTATION;
    end = nanoseconds(CLOCK_MONOTONIC);
    if (__atomic_add_fetch(&bench.finished, 1, __ATOMIC_SEQ_CST) == bench.options.threads) {
        bench.wall = end - bench.wall_from;
        bench.process_consumed = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - bench.process_from;
    }
    worker->consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - consumed_from;
    worker->busy = end - from;
    worker->watched = nanoseconds(CLOCK_MONOTONIC) - watched_from;
    worker->sleeps = sleeps_so_far() - sleeps_from;
    look_where(worker, 1);
}

/* ---- output --------------------------------------------------------------------------------------- */

/* What a timed part came to, for all workers. */
struct circumstances {
    double share;         /* of a processor, the least that a worker had */
    double process_share; /* of one processor for each worker, what the whole process had */
    uint64_t sleeps;
    uint64_t operations;
};

static struct circumstances circumstances_of_timed(void)
{
    struct circumstances all = {1, 0, 0, 0};

    for (unsigned t = 0; t < bench.options.threads; t++) {
        const struct worker *worker = &bench.workers[t];
        double share = (double)worker->consumed / (double)worker->watched;

        all.share = share < all.share ? share : all.share;
        all.sleeps += worker->sleeps;
        all.operations += worker->done;
    }
    all.process_share = (double)bench.process_consumed / ((double)bench.wall * bench.options.threads);
    return all;
}

/* One line of results. `all` is NULL for what was not timed. */
static void print_result(const char *workload, const char *unit, double value, const struct circumstances *all)
{
    struct circumstances none = {1, 1, 0, 0};

    all = all ? all : &none;
    printf("{\"workload\":\"%s\",\"n\":%zu,\"threads\":%u,\"unit\":\"%s\",\"value\":%.9g,\"share\":%.4f,"
           "\"process_share\":%.4f,\"sleeps\":%llu,\"ops\":%llu",
           workload, bench.options.n, bench.options.threads, unit, value, all->share, all->process_share,
           (unsigned long long)all->sleeps, (unsigned long long)all->operations);
    if (all != &none && bench.line_ns[0] > 0) {
        printf(",\"line_ns\":[%.0f,%.0f]", bench.line_ns[0], bench.line_ns[1]);
    }
    printf("}\n");
}

static void print_absent(const char *workload, const char *why)
{
    printf("{\"workload\":\"%s\",\"absent\":\"%s\"}\n", workload, why);
}

/* The sum of the rates of workers `first` to `end` - 1, each over its own time, in millions a second. */
static double rate_of(unsigned first, unsigned end)
{
    double rate = 0;

    for (unsigned t = first; t < end; t++) {
        rate += (double)bench.workers[t].done / (double)bench.workers[t].busy * 1e3;
    }
    return rate;
}

/* ---- the phase line ------------------------------------------------------------------------------- */

enum { LOOKS_A_SECOND = 50, LOOKS_MOST = 5000 };

static double looks[LOOKS_MOST];

static unsigned looks_wanted(void)
{
    double wanted = bench.options.seconds * LOOKS_A_SECOND;

    return wanted < 1 ? 1u : wanted > LOOKS_MOST ? (unsigned)LOOKS_MOST : (unsigned)wanted;
}

/* Where the processors are, again and again. */
static void run_line(struct worker *worker)
{
    if (worker->index >= 2) {
        return;
    }
    for (unsigned i = 0; i < looks_wanted(); i++) {
        double ns = pass_line(worker);

        if (worker->index == 0) {
            looks[i] = ns;
        }
        sleep_seconds(1.0 / LOOKS_A_SECOND);
    }
}

static int compare_looks(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median; the rest is for people. */
static void report_line(void)
{
    unsigned count = looks_wanted();

    qsort(looks, count, sizeof *looks, compare_looks);
    print_result("line", "ns", looks[count / 2], NULL);
    print_result("line_p10", "ns", looks[count / 10], NULL);
    print_result("line_p90", "ns", looks[count - 1 - count / 10], NULL);
}

/* The report of most phases. */
static void report_rate(void)
{
    struct circumstances all = circumstances_of_timed();

    print_result(bench.phase->name, "Mops/s", rate_of(0, bench.options.threads), &all);
}

#endif
