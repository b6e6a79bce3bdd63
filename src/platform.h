/* SPDX-License-Identifier: MIT
 *
 * What differs between compilers and systems, and nothing else: every #if on either stands here.
 */
#ifndef SYNCMAP_PLATFORM_H
#define SYNCMAP_PLATFORM_H

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#endif

/* ---- compiler ---- */

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define NOINLINE __attribute__((noinline))
#define FLATTEN __attribute__((flatten)) /* all that it calls is compiled into it */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* initial-exec: one instruction finds the block, from a shared library too (the library asks for -z nodelete, and
 * its few words fit the surplus that dynamic linkers keep for dlopen). */
#define THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

/* 64 is the line of x86-64 and of most ARM; where it is more, some lines are shared, and all stays correct. */
#define CACHE_LINE 64
/* Whether the processor can be asked for a line that will be written. What x86 has for it, PREFETCHW, is in no baseline (so compilers
 * make another prefetch of __builtin_prefetch(p, 1)), and not known to be a NOP wherever it is missing. */
static inline bool platform_has_prefetch_to_write(void)
{
#if defined(__x86_64__) || defined(__i386__)
    unsigned a, b, c = 0, d;
    return __get_cpuid(0x80000001u, &a, &b, &c, &d) && (c >> 8 & 1) != 0;
#else
    return true;
#endif
}

/* Asks for it. Any address will do. Orders nothing. */
static inline void platform_prefetch_to_write(const void *line)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* Where huge pages are of another size, the advice below is of no use, and does no harm. */
#define HUGE_PAGE ((size_t)2 << 20)

/* What is told the system about the pages of a large table: nothing, or to make them huge, or not to. */
enum pages { PAGES_AS_THEY_COME, PAGES_HUGE, PAGES_SMALL };

#define container_of(pointer, type, member) ((type *)((uintptr_t)(pointer) - offsetof(type, member)))

/* ThreadSanitizer knows neither membarrier nor stand-alone fences: under it (or on demand, for other checkers)
 * membarrier.h states its promise in terms of atomic operations. */
#if defined(SYNCMAP_CHECKED_FENCES) || defined(__SANITIZE_THREAD__)
#define CHECKED_FENCES 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHECKED_FENCES 1
#endif
#endif
#ifndef CHECKED_FENCES
#define CHECKED_FENCES 0
#endif

/* Invariants and misuse that abort: only in debug builds, never in a release. */
#if defined(SYNCMAP_DEBUG) && SYNCMAP_DEBUG
#define DEBUG_BUILD 1
#else
#define DEBUG_BUILD 0
#endif
#define debug_assert(condition) \
    do { \
        if (DEBUG_BUILD && !(condition)) debug_failed(__FILE__, __LINE__, #condition); \
    } while (0)

_Noreturn static inline void debug_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "syncmap (debug build): %s:%d: %s does not hold\n", file, line, condition);
    abort();
}

/* ---- operating system ---- */

/* MEMBARRIER_CMD_QUERY, _PRIVATE_EXPEDITED and _REGISTER_PRIVATE_EXPEDITED of <linux/membarrier.h>, which a build
 * machine need not have. */
enum { MEMBARRIER_QUERY = 0, MEMBARRIER_EXPEDITED = 1 << 3, MEMBARRIER_REGISTER = 1 << 4 };

#if defined(__linux__) && defined(SYS_membarrier)
/* Leaves errno alone: a load may call it, in a signal handler too. */
static inline long platform_membarrier(int command)
{
    int error = errno;
    long result = syscall(SYS_membarrier, command, 0, 0);
    errno = error;
    return result;
}
#else
static inline long platform_membarrier(int command)
{
    (void)command;
    return -1;
}
#endif

/* Fills `bytes` with random bytes; false where the system has none to give. */
static inline bool platform_random(void *bytes, size_t size)
{
    int cancelable; /* else a cancellation point */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    bool done = getrandom(bytes, size, GRND_NONBLOCK) == (ssize_t)size;
    pthread_setcancelstate(cancelable, NULL);
    return done;
}

/* Tells the system. An advice; failing is fine. The start of a huge page. */
static inline void platform_advise(void *start, size_t size, enum pages pages)
{
    if (pages != PAGES_AS_THEY_COME)
        (void)madvise(start, size - size % HUGE_PAGE, pages == PAGES_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; what is older refuses */
#endif

/* Has the system make pages that will be written soon: many at a time cost half as much as one by one. Failing is fine. The start of a
 * page. */
static inline void platform_populate(void *start, size_t size)
{
    (void)madvise(start, size, MADV_POPULATE_WRITE);
}

/* Zero pages of the system's that start on a huge page; NULL: memory is out. */
static inline void *platform_map(size_t size, enum pages pages)
{
    char *raw = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)raw % HUGE_PAGE) % HUGE_PAGE, page = (size_t)sysconf(_SC_PAGESIZE);
    size_t length = (size + page - 1) / page * page;
    if (before != 0)
        (void)munmap(raw, before);
    (void)munmap(raw + before + length, HUGE_PAGE - before);
    platform_advise(raw + before, size, pages);
    return raw + before;
}

static inline void platform_unmap(void *start, size_t size)
{
    (void)munmap(start, size);
}

/* A number that differs from call to call and from process to process: for when there is nothing better. */
static inline uint64_t platform_clock(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A mutex that, where there is such a kind, spins for a moment before it sleeps: for what is held for less time than it takes to
 * wake a thread. False: memory is out. */
static inline bool platform_mutex_init(pthread_mutex_t *mutex)
{
    bool made = false;
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
    pthread_mutexattr_t attributes;
    if (pthread_mutexattr_init(&attributes) != 0)
        return false;
    made = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP) == 0 && pthread_mutex_init(mutex, &attributes) == 0;
    pthread_mutexattr_destroy(&attributes);
#else
    made = pthread_mutex_init(mutex, NULL) == 0;
#endif
    return made;
}

/* In a loop that waits for another thread: of some ten instructions, ... */
static inline void platform_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__("isb" ::: "memory");
#endif
}

/* ... or of one that may not be running. */
static inline void platform_yield(void)
{
    (void)sched_yield();
}

static inline void platform_sleep(long nanoseconds)
{
    struct timespec pause = {0, nanoseconds};
    int cancelable; /* as above */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    nanosleep(&pause, NULL);
    pthread_setcancelstate(cancelable, NULL);
}

#endif
