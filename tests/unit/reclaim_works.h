/* SPDX-License-Identifier: MIT
 *
 * White box: what takes several calls of its release, and notes when it is called.
 */
#ifndef SYNCMAP_TEST_RECLAIM_WORKS_H
#define SYNCMAP_TEST_RECLAIM_WORKS_H

#include "unit/reclaim_fixture.h"

/* What takes several calls of its release. */
struct work {
    struct reclaim_link link;
    int steps;    /* that are left */
    int calls, position; /* when it was done, in the order of all; 0: not yet */
    uint64_t batch;      /* the number that was being released when it was called first */
};

static int work_done, work_calls;
static size_t work_retires; /* so many pieces, as the release of each seems to */

static inline bool work_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    struct work *work = container_of(link, struct work, link);
    CHECK(work->position == 0); /* not after it was done */
    struct thread *self = ld_relaxed(&own.record);
    if (work->calls++ == 0)
        work->batch = ld_acquire(&(self != NULL ? self : &thread_shared)->freeing);
    work_calls++;
    if (work_retires != 0)
        st_relaxed(&self->work, work_retires);
    CHECK(!collector_batches_done(work->batch)); /* not while it is being released, in whatever pass: nothing last may overtake it */
    if (--work->steps > 0)
        return false;
    work->position = ++work_done;
    return true;
}

static const struct reclaim_class work_class = {work_release};

enum { WORKS = 3 * RECLAIM_BUDGET + 10 };
static struct work works[WORKS];

/* Retires `count` of one step each, so that they are due at the next pass but one. */
static inline void works_retire_as(int count, size_t bytes)
{
    syncmap_barrier();
    memset(works, 0, sizeof works);
    work_done = work_calls = 0;
    for (int i = count - 1; i >= 0; i--) { /* a stack: number 0 is the first */
        works[i].steps = 1;
        reclaim_retire(&works[i].link, &work_class, i == 0 ? bytes : 1);
    }
}

/* Too much to be amortized. */
static inline void works_retire(int count)
{
    works_retire_as(count, RECLAIM_LARGE);
}

static inline void poll_once(void)
{
    collect(thread_attach(), EFFORT_POLL);
}

/* Until the first of them is touched. */
static inline void poll_until_due(void)
{
    for (int i = 0; work_calls == 0; i++) {
        assert_true(i < 3);
        poll_once();
    }
}

struct pause_work {
    struct work work;
    _Atomic int entered, go;
};

static inline bool pause_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    struct pause_work *pause = container_of(container_of(link, struct work, link), struct pause_work, work);
    atomic_store(&pause->entered, 1);
    while (!atomic_load(&pause->go))
        sched_yield();
    return work_release(link, class);
}

static const struct reclaim_class pause_class = {pause_release};

#endif
