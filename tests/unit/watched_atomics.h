/* SPDX-License-Identifier: MIT
 *
 * For SYNCMAP_ATOMICS (src/atomic.h): loads tell the unit, by loaded(), what they are about to load.
 */
#define atomic_ld(object, order) (loaded(object), atomic_load_explicit(object, order))
#define atomic_st(object, value, order) atomic_store_explicit(object, value, order)
#define atomic_add(object, value, order) atomic_fetch_add_explicit(object, value, order)
#define atomic_xchg(object, value, order) atomic_exchange_explicit(object, value, order)
#define atomic_cas(object, expected, desired, order, failed) \
    atomic_compare_exchange_strong_explicit(object, expected, desired, order, failed)
