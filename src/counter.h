/* SPDX-License-Identifier: MIT
 *
 * A counter that threads add to without meeting, and that is summed by whoever wants to know.
 *
 * Each of the first COUNTER_OWN records of threads (thread.h) has a stripe of its own, on its own cache line, which nobody else
 * writes: adding there takes no locked instruction. (A record has one thread at a time; who gets it next comes after by P1 of
 * thread.h.) All other threads share the last stripes, by number. Signal handlers do not count.
 */
#ifndef SYNCMAP_COUNTER_H
#define SYNCMAP_COUNTER_H

#include "thread.h"

enum { COUNTER_OWN = 8, COUNTER_SHARED = 4 };

struct counter {
    struct {
        alignas(CACHE_LINE) _Atomic long sum;
    } stripes[COUNTER_OWN + COUNTER_SHARED];
};

/* Returns what the stripe has come to. self: the calling thread's record, or NULL. */
static inline long counter_add_own(struct counter *counter, const struct thread *self, long number)
{
    if (likely(self != NULL && self->index < COUNTER_OWN)) {
        _Atomic long *sum = &counter->stripes[self->index].sum;
        long now = ld_relaxed(sum) + number; /* relaxed: nobody else writes it */
        st_relaxed(sum, now); /* relaxed: a sum beside writers is no instant */
        return now;
    }
    unsigned shared = self != NULL ? self->index % COUNTER_SHARED : 0;
    return add_relaxed(&counter->stripes[COUNTER_OWN + shared].sum, number) + number; /* relaxed: as above */
}

static inline long counter_add(struct counter *counter, long number)
{
    return counter_add_own(counter, ld_relaxed(&own.record), number); /* relaxed: its own */
}

static inline size_t counter_sum(const struct counter *counter)
{
    long sum = 0;
    for (size_t i = 0; i < COUNTER_OWN + COUNTER_SHARED; i++)
        sum += ld_relaxed(&counter->stripes[i].sum); /* relaxed: beside writers it is no instant */
    return sum > 0 ? (size_t)sum : 0;
}

#endif
