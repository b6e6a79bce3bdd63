/* SPDX-License-Identifier: MIT
 *
 * Random call sequences on one small map, each result compared with the reference's.
 */
#ifndef SYNCMAP_TEST_SEQUENCE_H
#define SYNCMAP_TEST_SEQUENCE_H

#include "support/support.h"

/* Runs sequence `number` of this configuration, from map to finish_map: a few rounds of 20 to 60 calls on 1 to 12
 * keys, a clear between rounds. Ownership, equality of values, copies of custom keys, capacity and the mix of
 * operations are drawn as well. With `faults` the allocator fails at random, and so does the dup of custom keys: then
 * each call either does all or returns SYNCMAP_ENOMEM and does nothing. Returns the number of rounds. */
uint64_t sequence_run(const struct config *config, uint64_t number, bool faults);

/* Runs sequences 1, 2 ... of every configuration, until each has had SEQUENCES (of the environment) or rounds / TEST_SCALE
 * rounds. ONLY=<number> SEED=<seed> repeats one sequence that has failed. */
void sequences_run(uint64_t rounds, bool faults);

#endif
