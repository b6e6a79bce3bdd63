/* SPDX-License-Identifier: MIT
 *
 * For SYNCMAP_ATOMICS (src/atomic.h): in front of each atomic operation, and each look at a mutex, the thread may lose the
 * processor, so that threads meet in the middle of what they do far more often than they would by themselves. How
 * often is the test's to say: yield.h.
 */
#ifndef SYNCMAP_TEST_YIELD_ATOMICS_H
#define SYNCMAP_TEST_YIELD_ATOMICS_H

#include <pthread.h>
#include <stdatomic.h>

extern void history_yield_point(void);

#define atomic_ld(object, order) (history_yield_point(), atomic_load_explicit(object, order))
#define atomic_st(object, value, order) (history_yield_point(), atomic_store_explicit(object, value, order))
#define atomic_add(object, value, order) (history_yield_point(), atomic_fetch_add_explicit(object, value, order))
#define atomic_xchg(object, value, order) (history_yield_point(), atomic_exchange_explicit(object, value, order))
#define atomic_cas(object, expected, desired, order, failed) \
    (history_yield_point(), atomic_compare_exchange_strong_explicit(object, expected, desired, order, failed))

#define pthread_mutex_lock(mutex) (history_yield_point(), pthread_mutex_lock(mutex))
#define pthread_mutex_trylock(mutex) (history_yield_point(), pthread_mutex_trylock(mutex))
#define pthread_mutex_unlock(mutex) (history_yield_point(), pthread_mutex_unlock(mutex))

#endif
