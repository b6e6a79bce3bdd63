/* SPDX-License-Identifier: MIT
 *
 * What all programs of the benchmark share: how they end on an error, memory, clocks, processors. Compiles as C11 and as
 * C++17, as the adapters of C++ maps need it.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define BENCH_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define BENCH_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define BENCH_INLINE static inline __attribute__((always_inline))
#define BENCH_CACHE_LINE 128 /* two of 64, as the processor fetches pairs */

/* Ends the program with a message and status 1. */
__attribute__((noreturn, noinline, cold, format(printf, 1, 2), unused)) static void die(const char *format, ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, message); /* at once: another thread may be dying too */
    _Exit(EXIT_FAILURE); /* not exit(): other threads run, and handlers of libraries might wait for them */
}

/* Zeroed memory of a benchmark or an adapter: there, or the program ends. */
static inline void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        die("out of memory");
    }
    return memory;
}

static inline uint64_t nanoseconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* How often this thread gave up its processor by itself. */
static inline uint64_t sleeps_so_far(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nvcsw;
}

static inline void sleep_seconds(double seconds)
{
    struct timespec left;

    left.tv_sec = (time_t)seconds;
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

/* Pins the calling thread to the processor with this number, modulo their count, among those in `allowed`. */
static inline void pin_to(unsigned number, const cpu_set_t *allowed)
{
    unsigned skip = number % (unsigned)CPU_COUNT(allowed);
    cpu_set_t chosen;
    size_t processor = 0;

    while (!CPU_ISSET(processor, allowed) || skip-- > 0) {
        processor++;
    }
    CPU_ZERO(&chosen);
    CPU_SET(processor, &chosen);
    if (sched_setaffinity(0, sizeof chosen, &chosen) != 0) {
        die("cannot pin a thread to processor %zu: %s", processor, strerror(errno));
    }
}

/* The processors that this process may use. */
static inline cpu_set_t allowed_processors(void)
{
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        die("sched_getaffinity: %s", strerror(errno));
    }
    return allowed;
}

#endif
