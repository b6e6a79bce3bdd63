/* SPDX-License-Identifier: MIT
 *
 * Plays: what a few threads do to one map, written in a line each, and how a run of one is checked.
 *
 * A thread's part is a list of calls, each a letter, a key, and what the letter needs:
 *
 *   L1    load                     S1    store              s1   store NULL        W1   swap
 *   O1    load_or_store            D1    delete             X1   load_and_delete   Z    clear
 *   P1    load_or_compute                                N1:2  the same, with a load_or_compute of key 2 in its compute
 *   C1:7  compare_and_swap, expecting value 7               K1:7 compare_and_delete, expecting value 7
 *   R     range                    Q     scan of everything, in one call
 *   M     range that is not recorded: promotes
 *   H1    pin and load, and hold what came                  T    look at what is held          U   unpin
 *   G     retire an object         B     barrier: then all that this thread retired is gone
 *   F     flat begins to move all to other buckets, as in a flood of keys (RESEEDING); read/dirty: nothing
 *
 * Values have numbers: the n-th call of what is done before is n; the i-th call of thread t stores 20 * (t + 1) + i,
 * counting both from 0, but calls before from 1. NULL is 99, as an expected value too.
 */
#ifndef SYNCMAP_MODEL_PLAY_H
#define SYNCMAP_MODEL_PLAY_H

#include <syncmap.h>

#include "model/scheduler.h"

enum { CALLS_MAX = 12, PART_MAX = 64, PLAY_NAME = 96 };

enum ownership { PLAIN, OWNED, ACQUIRED };

enum { COLD = 1, /* each thread's first call is explored: it gets its record then */
       EXIT = 2, /* so is its end */
       NO_RECORD = 4, /* thread 0 can have no record */
       NO_RECORDS = 8, /* nor can thread 1 */
       REUSE = 16, /* each has had a record, and given it back: there is one that all may take again */
       MOVES = 32, /* what flat does there read/dirty has other plays for: the bound is one less for it */
       ONCE = 64, /* nobody deletes: each key is computed once at most */
       RING = 128, /* calls may be refused, as they would wait for themselves */
       FILTER = 256 /* flat's tables have filters (ABSENT KEYS), however small they are; read/dirty has none */ };

struct play {
    const char *name;
    const char *before;
    const char *part[MODEL_MAIN]; /* NULL: no such thread */
    unsigned flags;
};

struct setting {
    const char *name;
    enum syncmap_engine engine;
    enum syncmap_kind kind; /* SYNCMAP_CUSTOM: all keys have one hash */
    enum ownership ownership;
    unsigned less; /* of the bound: what differs little from another setting */
};

/* The scene of a play; good until the next call. */
const struct model_scene *play_scene(const struct play *play, const struct setting *setting);

/* Of the run that was just made: what its calls and those of the checks at its end returned, and in which order they began and
 * ended, as a number. */
uint64_t play_outcome(void);

extern const struct play plays[];
extern const size_t play_count;

/* A play made up from a seed. Its strings live until the next call. */
const struct play *play_random(uint64_t seed);

#endif
