/* SPDX-License-Identifier: MIT
 *
 * The only place where atomics are called. The memory order is in the operation's name. Each use elsewhere
 * cites, on its line or the one above, the pair that it belongs to (P1, P2 ... of its file's essay), or says
 * `relaxed:` and why; tools/check-orders.sh looks.
 */
#ifndef SYNCMAP_ATOMIC_H
#define SYNCMAP_ATOMIC_H

#include <stdatomic.h>

#include "platform.h"

#define ld_relaxed(object) atomic_load_explicit(object, memory_order_relaxed)
#define ld_acquire(object) atomic_load_explicit(object, memory_order_acquire)
#define ld_seq_cst(object) atomic_load_explicit(object, memory_order_seq_cst)

#define st_relaxed(object, value) atomic_store_explicit(object, value, memory_order_relaxed)
#define st_release(object, value) atomic_store_explicit(object, value, memory_order_release)
#define st_seq_cst(object, value) atomic_store_explicit(object, value, memory_order_seq_cst)

#define add_relaxed(object, value) atomic_fetch_add_explicit(object, value, memory_order_relaxed)
#define add_acq_rel(object, value) atomic_fetch_add_explicit(object, value, memory_order_acq_rel)

#define xchg_acquire(object, value) atomic_exchange_explicit(object, value, memory_order_acquire)

/* Strong compare-and-swap: false writes what it found to *expected. */
#define cas_acq_rel(object, expected, desired) \
    atomic_compare_exchange_strong_explicit(object, expected, desired, memory_order_acq_rel, memory_order_acquire)
#define cas_release(object, expected, desired) \
    atomic_compare_exchange_strong_explicit(object, expected, desired, memory_order_release, memory_order_relaxed)
#define cas_seq_cst(object, expected, desired) \
    atomic_compare_exchange_strong_explicit(object, expected, desired, memory_order_seq_cst, memory_order_seq_cst)

#endif
