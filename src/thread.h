/* SPDX-License-Identifier: MIT
 *
 * A record for each thread that uses the library: attached at first use, detached at exit, right after fork.
 *
 *     thread_records --> [record] --> [record] --> ...         linked once, never unlinked, reused
 *                            ^
 *     each thread: own.record, own.depth, own.pin_owner   (initial-exec TLS)
 *
 *   T1  A record on the list is never freed. `in_use` says whether a living thread has it; only a CAS
 *       from false to true takes it, only its thread's exit (or a fork) gives it back.
 *   T2  What other threads read of a record is atomic; the rest belongs to the thread that has it.
 *   T3  A thread that can have no record (memory is out, or the system has no more thread-specific keys) works
 *       on thread_shared, which many may pin at once. It can pin, load and retire what carries its own
 *       link; it has nothing reserved, so what needs a slot fails with ENOMEM. Each operation that may allocate tries
 *       again to attach, unless the thread has thread_shared pinned: it unpins what it has pinned. load tries at the
 *       thread's first use only, since a signal handler may run it.
 *
 * Pairs:
 *   P1  `in_use` false by release at detach, taken by CAS (acquire): the next owner sees all that the last one left.
 *   P2  a record is pushed on the list by CAS (release); who walks the list (acquire) sees it initialised.
 *   P3  the fields of `own` are read by the thread itself and by its signal handlers, which may interrupt it anywhere
 *       to pin, load and unpin. Release stores keep them in program order for a handler; no other thread looks.
 *       (The order of the writes itself is argued in reclaim.h.)
 *   P4  thread_ready by release after the key was made; who sees it (acquire) sees the key.
 *
 * SECTIONS. A fork must not find a bucket of a map locked by a thread that will not be in the child. So where a thread takes such a
 * lock, it says so in its record first, and fork waits until all sections are over, which lasts some hundred instructions at most:
 *
 *   enter:  record.section = 1; light(); if a fork is under way: record.section = 0, wait, again
 *   leave:  light(); record.section = 0
 *   fork:   forking = true; heavy(); wait for each record's section to be 0
 *
 * By M1 (membarrier.h) one of enter's light() and fork's heavy() comes first: so either enter sees the fork, or the fork sees the section.
 * (If heavy() fails, as under a seccomp filter that came later, the child may find a lock taken for ever.) The light() of leave is for who meets
 * such a lock: see ACROSS KEYS of flat.h.
 *
 * Where speed counts (section_enter_own()) one variable, sections_open, tells that no fork is under way and that light() was no more than
 * expedited, which for a thread stays so; and where an operation pins and begins its section at once (pin_enter_section() of reclaim.h), one
 * light() does for both. Such a section lasts for the search, too, some hundred instructions, in which nothing is waited for but memory.
 *
 *   P5  section stored by release, read by acquire by who forks: it has seen all that the section did.
 *   P6  thread_forking, and sections_open, stored by release; who enters reads it after light() (M1), by acquire.
 *
 * Progress: attaching takes a mutex until the process is set up, then is lock-free but for malloc.
 */
#ifndef SYNCMAP_THREAD_H
#define SYNCMAP_THREAD_H

#include <pthread.h>
#include <string.h>

#include "membarrier.h"

struct reclaim_link; /* of reclaim.h: what is retired */
struct reclaim_slot;

struct thread {
    /* Read by collectors, written by the thread alone (T2). */
    alignas(2 * CACHE_LINE) _Atomic uint64_t epoch; /* in which it is pinned; 0: it is not. thread_shared: see reclaim.h */
    struct membarrier_cell cell;
    _Atomic(struct reclaim_link *) retired; /* what it retired since the last collection: collectors take it all */
    _Atomic size_t retired_bytes;           /* ever */
    _Atomic uint64_t freeing;               /* the number of the batch that it is releasing, or has in `ready`; 0: none */
    _Atomic(struct reclaim_link *) ready;   /* what it may release, by and by; whoever takes it takes all */
    _Atomic unsigned section;               /* it is in one; thread_shared: how many threads are */
    _Atomic size_t work;                    /* of reclaim.c: how much it retired since it last tried to collect, */
    _Atomic size_t due;                     /* and at how much it looks what there is to do */

    /* The thread's own. */
    alignas(CACHE_LINE) _Atomic(struct reclaim_slot *) slots; /* spare ones; a child that is forked meanwhile finds all */
    size_t slot_count;

    /* Collectors' own, under their mutex. */
    size_t stolen_bytes; /* the part of retired_bytes that they have taken */

    /* The list's. */
    unsigned index; /* 0, 1, 2 ... in order of creation: picks a stripe of a counter */
    struct thread *next;
    _Atomic bool in_use;
};

/* What a thread knows of itself. */
struct thread_own {
    _Atomic(struct thread *) record;    /* NULL: none yet, or none any more */
    _Atomic(struct thread *) pin_owner; /* the record that the outermost syncmap_pin() set; NULL: it found one set */
    _Atomic unsigned depth;             /* of syncmap_pin() */
    _Atomic bool shared;                /* it has pinned thread_shared */
    _Atomic bool tried;                 /* it has tried to attach: load will not try again */
    bool releasing;                     /* it is inside a release function; no handler looks */
    bool exiting;                       /* its destructor has run once */
    struct flight *flights;             /* of api_compute.c: those that it computes, the innermost first; no handler looks, */
    struct thread_own *waits_for;       /* and whom it waits for */
};

#ifndef own /* a test that plays threads in one (tests/model) has one for each */
static THREAD_LOCAL struct thread_own own;
#endif
static struct thread thread_shared;
static _Atomic(struct thread *) thread_records;

/* The count in the low bits of thread_shared.epoch; see reclaim.h. */
enum { SHARED_BITS = 20 };
#define SHARED_COUNT (((uint64_t)1 << SHARED_BITS) - 1)

static _Atomic bool thread_forking;
static _Atomic bool sections_open; /* not thread_forking, and light() does without a fence */

static NOINLINE struct thread *section_enter_slow(struct thread *self);

/* A section: no fork takes place in it. No user code, allocation or wait in it but for the lock that it is for. The
 * result goes to section_leave(). */
static ALWAYS_INLINE struct thread *section_enter(void)
{
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    if (unlikely(self == NULL))
        return section_enter_slow(&thread_shared);
    st_release(&self->section, 1); /* P5 */
    membarrier_light(&self->cell);
    return likely(!ld_acquire(&thread_forking)) ? self : section_enter_slow(self); /* P6 */
}

static ALWAYS_INLINE void section_leave(struct thread *self)
{
    membarrier_light(&self->cell);
    if (likely(self != &thread_shared))
        st_release(&self->section, 0); /* P5 */
    else
        add_acq_rel(&self->section, -1u); /* P5 */
}

/* The same for a thread that has the record `self`. False: none was begun. It ends by section_leave_own(). */
static ALWAYS_INLINE bool section_enter_own(struct thread *self)
{
    st_release(&self->section, 1); /* P5 */
    membarrier_light_expedited(&self->cell);
    if (likely(ld_acquire(&sections_open))) /* P6 */
        return true;
    st_release(&self->section, 0); /* P5 */
    return false;
}

static ALWAYS_INLINE void section_leave_own(struct thread *self)
{
    membarrier_light_expedited(&self->cell);
    st_release(&self->section, 0); /* P5 */
}

/* Ends the calling thread's pin of thread_shared. */
static void thread_unpin_shared(void);

/* What the whole process needs: membarrier's form and a thread-specific key. False: no key is to be had now; may be
 * called again. */
static bool thread_process_init(void);

/* Round a fork: prepare and parent in the parent, prepare and child in the child. */
static void thread_fork_prepare(void);
static void thread_fork_parent(void);
static void thread_fork_child(void);

/* The calling thread's record, attached now if need be; NULL: none to be had (T3). */
static struct thread *thread_attach(void);

#endif
