/* SPDX-License-Identifier: MIT
 *
 * White box: a system that refuses when told to, things to retire, and passes made by hand. The library is in the same unit.
 */
#ifndef SYNCMAP_TEST_RECLAIM_FIXTURE_H
#define SYNCMAP_TEST_RECLAIM_FIXTURE_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* What the system refuses, while set. */
static bool refuse_record, refuse_specific, refuse_membarrier, refuse_malloc;

static inline int test_memalign(void **memory, size_t alignment, size_t size)
{
    return refuse_record ? ENOMEM : posix_memalign(memory, alignment, size);
}

static inline int test_setspecific(pthread_key_t key, const void *value)
{
    return refuse_specific ? ENOMEM : pthread_setspecific(key, value);
}

static inline void *test_malloc(size_t size)
{
    return refuse_malloc ? NULL : malloc(size);
}

static inline long test_syscall(long number, int command, int flags, int cpu)
{
    return refuse_membarrier ? -1 : syscall(number, command, flags, cpu);
}

#include "platform.h" /* before the names below change, all but its own system call */
#define posix_memalign test_memalign
#define pthread_setspecific test_setspecific
#define malloc test_malloc
#define platform_membarrier(command) test_syscall(SYS_membarrier, command, 0, 0)
#include "syncmap.c"
#undef malloc

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "support/support.h"

/* ---- things to retire ---- */

struct thing {
    struct reclaim_link link;
    int released;
};

static int released_in_all;

static inline bool thing_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    container_of(link, struct thing, link)->released++;
    released_in_all++;
    return true;
}

static const struct reclaim_class thing_class = {thing_release};

/* One pass of this thread; the epoch after it. */
static inline uint64_t pass(void)
{
    collect(thread_attach(), EFFORT_WAIT);
    return ld_relaxed(&reclaim.epoch);
}

/* ---- what goes last ---- */

struct last_thing {
    struct reclaim_last last;
    int released_before; /* of the others, when it was released; -1: not yet */
};

static inline bool last_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    container_of(link, struct last_thing, last.link)->released_before = released_in_all;
    return true;
}

static const struct reclaim_class last_class = {last_release};

/* ---- threads ---- */

static inline void run_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
    pthread_join(thread, NULL);
}

/* So that none can be reused. */
static inline int hold_spare_records(struct thread *records[64])
{
    int held = 0;
    for (struct thread *t = ld_acquire(&thread_records); t && held < 64; t = t->next) {
        bool free = false;
        if (cas_acq_rel(&t->in_use, &free, true))
            records[held++] = t;
    }
    return held;
}

#endif
