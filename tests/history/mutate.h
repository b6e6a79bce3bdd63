/* SPDX-License-Identifier: MIT
 *
 * Histories made wrong: each mutation is what a broken map would have answered, and is wrong by its making, whatever order
 * is tried. So a checker must refuse every one.
 */
#ifndef SYNCMAP_TEST_MUTATE_H
#define SYNCMAP_TEST_MUTATE_H

#include "history/history.h"
#include "support/support.h"

enum mutation {
    M_LOST_WRITE,     /* a swap or compare_and_swap that succeeded changed nothing: what it replaced is seen for ever */
    M_MISSED_WRITE,   /* a load finds nothing between a store and what takes its value out */
    M_STALE_READ,     /* a load gives a value that was taken or overwritten before it began */
    M_DOUBLE_DELETE,  /* two deletes give the same value */
    M_WRONG_PREVIOUS, /* a swap gives as previous what another took */
    M_DOUBLE_STORE,   /* a load_or_store stores over a value */
    M_DOUBLE_SWAP,    /* two compare_and_swaps from one value succeed */
    M_RESURRECTED,    /* a load gives a value from before a delete */
    M_HALF_CLEAR,     /* a load gives a value from before a clear */
    MUTATIONS
};
extern const char *const mutation_names[MUTATIONS];

/* Values from 2 on are stored at most once in a history; 1 (NULL, say) may be stored any number of times. */
enum { MUTATE_UNIQUE = 2 };

/* Changes `events`, which are linearizable, in a place drawn by rng. False: there is no place for it. */
bool history_mutate(enum mutation mutation, struct history_event *events, size_t count, struct rng *rng);

#endif
