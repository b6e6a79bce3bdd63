/* SPDX-License-Identifier: MIT
 *
 * How often a thread loses the processor at the points that yield_atomics.h puts into the library.
 */
#ifndef SYNCMAP_TEST_YIELD_H
#define SYNCMAP_TEST_YIELD_H

#include <stdint.h>

/* From now on the calling thread stops at one point in `one_in` on average (0: at none), which ones by `seed`. A thread that
 * never calls it stops nowhere. */
void history_yield_begin(uint64_t seed, uint32_t one_in);
/* How often this thread has stopped so far. */
uint64_t history_yields(void);

#endif
