/* SPDX-License-Identifier: MIT
 *
 * A thread that calls everything on a few keys of one map, and records each call.
 */
#ifndef SYNCMAP_TEST_PLAYER_H
#define SYNCMAP_TEST_PLAYER_H

#include "history/recorder.h"
#include "support/harness.h"

/* Actions are the operations of history.h and these. */
enum { A_RANGE = HISTORY_OPERATIONS, A_CHURN, ACTIONS };

struct mix {
    const char *name;
    unsigned weight[ACTIONS];
};

enum {
    HOT_KEYS = 4,    /* at most so many are fought for: 0 ... game.keys - 1 */
    EXTRA_KEY = 8,   /* 8 ... 10 come and go, so that tables are built and promoted */
    EXTRA_KEYS = 3,
    MISSING_KEY = 15 /* is loaded and never there: a miss */
};

/* One history. */
struct game {
    struct bed bed;
    const struct mix *mix;
    unsigned threads, keys;
    unsigned steps; /* at most, per thread */
};

struct player {
    struct game *game;
    struct recorder recorder;
    struct rng rng;
    uint16_t number;
    uint64_t made; /* values, in this history */
    bool pinned;
    unsigned depth; /* of ranges */
    struct {
        void *value;
        uint64_t number; /* 0: nothing */
    } seen[HISTORY_KEYS]; /* what compare_and_... expects */
};

/* From the first action to the last, in short sessions under a pin or without. */
void player_play(struct player *p);
/* Before others play: leaves keys in read, in dirty alone, deleted, expunged. */
void player_prepare(struct player *p);
/* After all have played: loads each key; how many are there. */
size_t player_look(struct player *p);

#endif
