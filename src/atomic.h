/* SPDX-License-Identifier: MIT
 *
 * The only place where atomics are called. The memory order is in the operation's name. Each use elsewhere
 * cites, on its line or the one above, the pair that it belongs to (P1, P2 ... of its file's essay), or says
 * `relaxed:` and why; tools/check-orders.sh looks.
 *
 * A test may put its own five operations behind these names: SYNCMAP_ATOMICS is then the header that defines them, as
 * tests/model does to schedule threads at each access, and tests/history to let them meet more often.
 */
#ifndef SYNCMAP_ATOMIC_H
#define SYNCMAP_ATOMIC_H

#include <stdatomic.h>

#include "platform.h"

#ifdef SYNCMAP_ATOMICS
#include SYNCMAP_ATOMICS
#else
#define atomic_ld(object, order) atomic_load_explicit(object, order)
#define atomic_st(object, value, order) atomic_store_explicit(object, value, order)
#define atomic_add(object, value, order) atomic_fetch_add_explicit(object, value, order)
#define atomic_xchg(object, value, order) atomic_exchange_explicit(object, value, order)
#define atomic_cas(object, expected, desired, order, failed) \
    atomic_compare_exchange_strong_explicit(object, expected, desired, order, failed)
#endif

#define ld_relaxed(object) atomic_ld(object, memory_order_relaxed)
#define ld_acquire(object) atomic_ld(object, memory_order_acquire)
#define ld_seq_cst(object) atomic_ld(object, memory_order_seq_cst)

#define st_relaxed(object, value) atomic_st(object, value, memory_order_relaxed)
#define st_release(object, value) atomic_st(object, value, memory_order_release)
#define st_seq_cst(object, value) atomic_st(object, value, memory_order_seq_cst)

#define add_relaxed(object, value) atomic_add(object, value, memory_order_relaxed)
#define add_acq_rel(object, value) atomic_add(object, value, memory_order_acq_rel)
#define add_seq_cst(object, value) atomic_add(object, value, memory_order_seq_cst)

#define xchg_acquire(object, value) atomic_xchg(object, value, memory_order_acquire)

/* Strong compare-and-swap: false writes what it found to *expected. */
#define cas_acq_rel(object, expected, desired) \
    atomic_cas(object, expected, desired, memory_order_acq_rel, memory_order_acquire)
#define cas_release(object, expected, desired) \
    atomic_cas(object, expected, desired, memory_order_release, memory_order_relaxed)
#define cas_seq_cst(object, expected, desired) \
    atomic_cas(object, expected, desired, memory_order_seq_cst, memory_order_seq_cst)

/* How often the rare steps were taken, counted by debug builds only: so that a test can tell that it came there. */
static struct {
    _Atomic unsigned long promotions, builds, growths, expunged, revived, passes, moves, impatient;
} debug_counts;
#define debug_count(step) \
    ((void)(DEBUG_BUILD && atomic_fetch_add_explicit(&debug_counts.step, 1, memory_order_relaxed)))

#endif
