/* SPDX-License-Identifier: MIT
 *
 * Threads' records. The essay is in thread.h.
 */
#include "thread.h"

static pthread_mutex_t thread_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t thread_key;   /* its destructor tells of a thread's end */
static _Atomic bool thread_ready;  /* the key is there */
static _Atomic unsigned thread_count;

static void thread_unpin_shared(void)
{
    st_release(&own.shared, false); /* P3: a handler that comes now pins for itself */
    uint64_t word = ld_relaxed(&thread_shared.epoch); /* relaxed: the CAS checks it */
    while (!cas_acq_rel(&thread_shared.epoch, &word, (word & SHARED_COUNT) == 1 ? 0 : word - 1)) /* P1 of reclaim.h */
        continue;
}

/* What the record's thread was just releasing will not be released. What it has yet to begin with will be. */
static void thread_stop_freeing(struct thread *record)
{
    if (ld_acquire(&record->ready) == NULL) /* P6 of reclaim.h */
        st_release(&record->freeing, 0); /* P3 of reclaim.h */
}

/* The end of a thread: it is unpinned, and at the second call detached. Destructors of other keys may use the library after the
 * first, so this one asks to be called again; the system calls destructors in rounds while any asks, but in no more than
 * PTHREAD_DESTRUCTOR_ITERATIONS. What uses the library later still attaches anew, or pins thread_shared. */
static void thread_detach(void *argument)
{
    struct thread *record = argument;
    st_release(&own.pin_owner, NULL); /* P3: in the order of syncmap_unpin() */
    st_release(&own.depth, 0); /* P3 */
    if (ld_relaxed(&own.shared)) /* relaxed: its own */
        thread_unpin_shared();
    if (record == &thread_shared) { /* it has none of its own */
        if (!own.exiting && pthread_setspecific(thread_key, record) == 0)
            own.exiting = true;
        return;
    }
    st_release(&record->epoch, 0); /* P1 of reclaim.h: unpinned */
    thread_stop_freeing(record); /* it may have left a release function by pthread_exit() */
    own.releasing = false;
    if (!own.exiting && pthread_setspecific(thread_key, record) == 0) {
        own.exiting = true;
        return;
    }
    st_release(&own.record, NULL); /* P3: before another thread can take it */
    st_release(&record->in_use, false); /* P1 */
}

/* Sections may begin. (In thread_process_init() another thread may be about to fork: nobody has a record or a map yet, so nobody looks, and
 * the fork settles it again.) */
static void sections_settle(void)
{
    st_release(&sections_open, ld_acquire(&membarrier_expedited) && !ld_acquire(&thread_forking)); /* P6; P1 of membarrier.h */
}

static bool thread_process_init(void)
{
    if (likely(ld_acquire(&thread_ready))) /* P4: thread_key */
        return true;
    pthread_mutex_lock(&thread_mutex);
    bool ready = ld_relaxed(&thread_ready); /* relaxed: the mutex orders it */
    if (!ready) {
        if (!ld_relaxed(&thread_shared.in_use)) { /* relaxed: only ever touched here, under the mutex */
            membarrier_init();
            sections_settle();
            membarrier_join(&thread_shared.cell);
            st_relaxed(&thread_shared.in_use, true); /* relaxed: as above */
        }
        ready = pthread_key_create(&thread_key, thread_detach) == 0;
        st_release(&thread_ready, ready); /* P4 */
    }
    pthread_mutex_unlock(&thread_mutex);
    return ready;
}

static void thread_fork_prepare(void)
{
    pthread_mutex_lock(&thread_mutex);
}

static void thread_fork_parent(void)
{
    pthread_mutex_unlock(&thread_mutex);
}

/* A fork is under way, or the thread has no record. */
static NOINLINE struct thread *section_enter_slow(struct thread *self)
{
    bool shared = self == &thread_shared;
    for (;;) {
        if (shared)
            add_acq_rel(&self->section, 1); /* P5 */
        else
            st_release(&self->section, 1); /* P5 */
        membarrier_light(&self->cell);
        if (!ld_acquire(&thread_forking)) /* P6 */
            return self;
        section_leave(self);
        platform_sleep(20000);
    }
}

static void sections_over(struct thread *t)
{
    while (ld_acquire(&t->section) != 0) /* P5 */
        platform_yield();
}

/* Before a fork: no section begins until sections_end_fork(). Nothing that a section needs is held. */
static void sections_begin_fork(void)
{
    st_release(&thread_forking, true); /* P6 */
    st_release(&sections_open, false); /* P6 */
    (void)membarrier_heavy();
    sections_over(&thread_shared);
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) /* P2 */
        sections_over(t);
}

static void sections_end_fork(void)
{
    st_release(&thread_forking, false); /* P6 */
    sections_settle();
}

/* In the child this thread is the only one: the others' records are free, and what they had pinned is not. (Nor are they in sections:
 * who says so was about to take it back.) */
static void thread_fork_child(void)
{
    pthread_mutex_unlock(&thread_mutex);
    membarrier_init();
    struct thread *mine = ld_relaxed(&own.record); /* relaxed: its own */
    st_release(&thread_shared.section, 0); /* P5 */
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) { /* P2 */
        if (t == mine)
            continue;
        st_release(&t->epoch, 0); /* P1 of reclaim.h */
        thread_stop_freeing(t);
        st_release(&t->section, 0); /* P5 */
        st_release(&t->in_use, false); /* P1 */
    }
}

/* A record whose thread is gone. */
static struct thread *thread_reuse(void)
{
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) { /* P2 */
        bool free = false;
        if (!ld_relaxed(&t->in_use) && cas_acq_rel(&t->in_use, &free, true)) /* P1; relaxed: a hint for the CAS */
            return t;
    }
    return NULL;
}

static struct thread *thread_create(void)
{
    void *memory = NULL;
    if (posix_memalign(&memory, alignof(struct thread), sizeof(struct thread)) != 0)
        return NULL;
    struct thread *t = memory;
    memset(t, 0, sizeof *t);
    st_relaxed(&t->in_use, true); /* relaxed: P2 publishes it */
    t->index = add_relaxed(&thread_count, 1); /* relaxed: only the number counts */
    membarrier_join(&t->cell);
    t->next = ld_relaxed(&thread_records); /* relaxed: the CAS checks it */
    while (!cas_release(&thread_records, &t->next, t)) /* P2 */
        continue;
    return t;
}

static NOINLINE struct thread *thread_attach_slow(void)
{
    st_release(&own.tried, true); /* P3 */
    if (ld_relaxed(&own.shared)) /* relaxed: its own. What it has pinned without a record it unpins without (T3) */
        return NULL;
    if (!thread_process_init())
        return NULL;
    struct thread *record = thread_reuse();
    if (record == NULL)
        record = thread_create();
    if (record == NULL) {
        (void)pthread_setspecific(thread_key, &thread_shared); /* so that its pins end with it */
        return NULL;
    }
    if (pthread_setspecific(thread_key, record) != 0) { /* without it nobody would learn of this thread's end */
        st_release(&record->in_use, false); /* P1 */
        (void)pthread_setspecific(thread_key, &thread_shared); /* so that its pins end with it: it may be granted now */
        return NULL;
    }
    st_release(&own.record, record); /* P3 */
    return record;
}

static struct thread *thread_attach(void)
{
    struct thread *record = ld_relaxed(&own.record); /* relaxed: its own */
    return likely(record != NULL) ? record : thread_attach_slow();
}
