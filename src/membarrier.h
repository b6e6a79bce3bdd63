/* SPDX-License-Identifier: MIT
 *
 * An asymmetric fence: light() on the side that runs all the time, heavy() on the side that runs rarely.
 *
 *   M1  Of each light() and each heavy(), one comes first: what its thread did before it happens before
 *       what the other's thread does after the other.
 *
 * That is all that is promised: two light()s order nothing between each other. Three forms keep M1:
 *
 *   expedited  light() stops the compiler only; heavy() is membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), which makes
 *              every running thread of the process execute a full fence between two of its instructions
 *              (membarrier(2); a thread that is not running passed one when it was switched out).
 *   fence      where the kernel has no membarrier, both are a seq_cst fence.
 *   checked    for ThreadSanitizer and model checkers, which see neither: a cell per thread. light() is a
 *              read-modify-write of one's own cell, heavy() one of every cell, so M1 follows from the
 *              modification order of that cell. A cell that joins later orders itself behind the heavy()s before it by
 *              the read-modify-write on the list's head that both make.
 *
 * The form changes at most once in a process, from fence to expedited, and never while a heavy() of the weaker form may run:
 * it is decided before the first heavy() (membarrier_init), and a light() that has not heard of it yet uses the stronger
 * fence. (light_expedited() is not stronger: who uses it looks afterwards whether it was enough, and takes back what it has begun if it
 * was not.) In the child of a fork, which has one thread then, it may change either way.
 *
 * Progress: light() wait-free. heavy() is a system call of some microseconds. It can fail (ENOMEM in the
 * kernel; a seccomp filter put in place after registration): then nothing is promised and the caller
 * must go on without.
 */
#ifndef SYNCMAP_MEMBARRIER_H
#define SYNCMAP_MEMBARRIER_H

#include "atomic.h"

/* One for each thread that calls light(). Never freed: threads' records live as long as the process. */
struct membarrier_cell {
    _Atomic unsigned touched;
    struct membarrier_cell *next;
};

static _Atomic bool membarrier_expedited;

/* P1: order against heavy() of another thread, see M1. `mine` is the cell of the calling thread. */
static inline void membarrier_light(struct membarrier_cell *mine)
{
    if (CHECKED_FENCES) {
        add_acq_rel(&mine->touched, 1); /* P1 */
        return;
    }
    if (likely(ld_relaxed(&membarrier_expedited))) /* relaxed: an old answer only makes the fence stronger */
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

/* The same as if the form were expedited; the caller must know that it is, or find out before it relies on it. */
static inline void membarrier_light_expedited(struct membarrier_cell *mine)
{
    if (CHECKED_FENCES)
        add_acq_rel(&mine->touched, 1); /* P1 */
    else
        atomic_signal_fence(memory_order_seq_cst);
}

/* The other side of P1; false: the kernel refused, and no order was made. */
static bool membarrier_heavy(void);

/* Makes a cell known to heavy(); before the first light() with it. */
static void membarrier_join(struct membarrier_cell *cell);

/* Decides the form; again in the child of a fork. */
static void membarrier_init(void);

#endif
