/* SPDX-License-Identifier: MIT
 *
 * The recorder: what one thread called, and when. Each thread writes to a buffer of its own, made before; nothing is shared
 * while it records.
 */
#ifndef SYNCMAP_TEST_RECORDER_H
#define SYNCMAP_TEST_RECORDER_H

#include <stdalign.h>
#include <stdio.h>

#include "history/history.h"

struct recorder {
    alignas(64) struct history_event *events; /* of one thread: no line is shared with another's */
    size_t count, room;
    uint64_t last; /* the newest time that was given out */
};

void recorder_init(struct recorder *recorder, size_t room);
void recorder_reset(struct recorder *recorder);
void recorder_end(struct recorder *recorder);

/* The time in nanoseconds, for the moment before a call: later than every time that this recorder gave before. What follows
 * happens after it, also in the processor. */
uint64_t recorder_before(struct recorder *recorder);
/* For the moment after a call. */
uint64_t recorder_after(struct recorder *recorder);
/* Adds an event. */
void recorder_add(struct recorder *recorder, struct history_event event);

/* Copies the events of several recorders to `events`, which has room for `room`; how many. */
size_t recorder_merge(const struct recorder *recorders, size_t count, struct history_event *events, size_t room);

/* The most calls that were going on at one moment. */
unsigned history_overlap(const struct history_event *events, size_t count);
/* Prints the history, or that of event number `marked`'s key, in the order of begin, the times relative to the first. */
void history_print(FILE *file, const struct history_event *events, size_t count, size_t marked, bool its_key);

#endif
