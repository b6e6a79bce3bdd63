/* SPDX-License-Identifier: MIT
 *
 * What the stress tests share beyond the harness: integer values that carry their key, the clock, how long to run, and
 * how to crash.
 */
#ifndef SYNCMAP_TEST_STRESS_H
#define SYNCMAP_TEST_STRESS_H

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support/harness.h"

#define SANITIZED (TEST_SCALE > 1)
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

/* ---- integer values, for maps that own nothing ----
 *
 * The index of the key above a number. The top bits make it an address that no object can have, so it is
 * never one of the library's own marks. */
_Static_assert(sizeof(void *) == 8, "a word holds a tag, an index of 20 bits and a number of 40");
enum { WORD_NUMBER_BITS = 40, WORD_INDEX_BITS = 20 };
#define WORD_TAG (UINT64_C(0xa) << 60)
#define WORD_NUMBER_MASK ((UINT64_C(1) << WORD_NUMBER_BITS) - 1)
#define WORD_INDEX_MASK ((UINT64_C(1) << WORD_INDEX_BITS) - 1)

static inline void *word_make(uint64_t index, uint64_t number)
{
    CHECK(index <= WORD_INDEX_MASK);
    return (void *)(uintptr_t)(WORD_TAG | index << WORD_NUMBER_BITS | (number & WORD_NUMBER_MASK));
}

static inline uint64_t word_number(const void *word)
{
    return (uintptr_t)word & WORD_NUMBER_MASK;
}

static inline void word_check(const void *word, uint64_t index)
{
    CHECK((uintptr_t)word >> (WORD_NUMBER_BITS + WORD_INDEX_BITS) == WORD_TAG >> 60);
    CHECK(((uintptr_t)word >> WORD_NUMBER_BITS & WORD_INDEX_MASK) == index);
}

/* ---- values of either sort, by what the map does with them ---- */

static inline void *item_make(enum ownership ownership, uint64_t index, uint64_t number)
{
    return ownership == PLAIN ? word_make(index, number) : value_make(index);
}

/* NULL is every key's. */
static inline void item_check(enum ownership ownership, const void *item, uint64_t index)
{
    if (item == NULL) return;
    if (ownership == PLAIN)
        word_check(item, index);
    else
        value_check(item, index);
}

/* ---- how long ---- */

static inline uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000;
}

static inline void sleep_us(uint64_t us)
{
    struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

/* `percent` of the seconds that the whole program has: SECONDS, else `fallback`, or three times that where each step
 * takes a multiple of its time. */
static inline uint64_t share_us(unsigned percent, unsigned fallback)
{
    uint64_t seconds = test_env("SECONDS", SANITIZED ? 3 * fallback : fallback);
    return seconds * 10000 * percent;
}

/* ---- crashes ----
 *
 * cmocka jumps out of SIGSEGV and its like to the next test: from another thread, or in the child of a fork, to
 * nowhere. main() calls keep_crash_handlers(), each test then puts back what was there (a sanitizer's, mostly). */
enum { CRASH_SIGNALS = 4 };
static const int crash_signals[CRASH_SIGNALS] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
static struct sigaction crash_handlers[CRASH_SIGNALS];

static inline void keep_crash_handlers(void)
{
    for (int i = 0; i < CRASH_SIGNALS; i++) CHECK(sigaction(crash_signals[i], NULL, &crash_handlers[i]) == 0);
}

static inline void crash_plainly(void)
{
    for (int i = 0; i < CRASH_SIGNALS; i++) CHECK(sigaction(crash_signals[i], &crash_handlers[i], NULL) == 0);
}

#endif
