/* SPDX-License-Identifier: MIT
 *
 * For SYNCMAP_ATOMICS (atomic.h): before each access to what is shared a thread may lose its turn, or sleep for a while. What
 * lies between two accesses is a few instructions, and becomes wide enough for all the others to pass through.
 */
#ifndef SYNCMAP_TEST_JITTER_H
#define SYNCMAP_TEST_JITTER_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

static _Thread_local uint32_t jitter_state;

static inline void jitter(void)
{
    if (jitter_state == 0) jitter_state = (uint32_t)((uintptr_t)&jitter_state >> 6) | 1;
    jitter_state = jitter_state * 1664525u + 1013904223u;
    uint32_t random = jitter_state >> 16;
    if (random < 4)
        nanosleep(&(struct timespec){.tv_nsec = 20000L << 2 * random}, NULL); /* up to a millisecond */
    else if (random < 160)
        sched_yield();
}

#define atomic_ld(object, order) (jitter(), atomic_load_explicit(object, order))
#define atomic_st(object, value, order) (jitter(), atomic_store_explicit(object, value, order))
#define atomic_add(object, value, order) (jitter(), atomic_fetch_add_explicit(object, value, order))
#define atomic_xchg(object, value, order) (jitter(), atomic_exchange_explicit(object, value, order))
#define atomic_cas(object, expected, desired, order, failed) \
    (jitter(), atomic_compare_exchange_strong_explicit(object, expected, desired, order, failed))

#endif
