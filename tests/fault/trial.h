/* SPDX-License-Identifier: MIT
 *
 * One map in a known state, its reference, and one call on it while a plan of faults.h is armed: the call must do what it
 * does without faults, or return SYNCMAP_ENOMEM where the header lets it and have done nothing.
 */
#ifndef SYNCMAP_TEST_TRIAL_H
#define SYNCMAP_TEST_TRIAL_H

#include "fault/faults.h"
#include "support/harness.h"

/* What the map went through, in the words of read_dirty: each state is that before it and one step more. Key 0 stays
 * live; 1 and 2 are deleted, and expunged when the next new key comes; the late keys are in dirty alone. */
enum trial_state {
    EMPTY,
    IN_DIRTY,
    PROMOTED,
    DELETED_IN_READ,
    AMENDED,
    DELETED_IN_DIRTY,
    CLEARED,
    TRIAL_STATES
};
enum { TRIAL_EARLY_MAX = 13, TRIAL_LATE = 2, TRIAL_KEYS = TRIAL_EARLY_MAX + TRIAL_LATE + 2, TRIAL_INDEXES = 5 };

enum trial_operation {
    STORE,
    SWAP,
    LOAD_OR_STORE,
    LOAD_OR_COMPUTE,
    LOAD_AND_DELETE,
    DELETE,
    COMPARE_AND_SWAP,
    COMPARE_AND_DELETE,
    CLEAR,
    LOAD,
    PEEK, /* load, without asking for the value */
    RANGE,
    LEN,
    /* From here on the key does not matter. */
    RETIRE,
    PIN,
    BARRIER,
    NEW,
    FREE,
    TRIAL_OPERATIONS
};

/* In the sites of a plan: the map's own allocator, where the dup of custom keys counts as an allocation. From the `first`
 * of a call on all fail, whatever the plan's `count`. */
enum { TRIAL_ALLOCATOR = 1u << FAULT_SITES };

struct trial {
    struct bed bed;
    struct reference reference;
    uint64_t early; /* keys of the first steps: 6 and 12 are where the next one makes a table grow */
    bool malloced;  /* the map has no allocator of its own, so that its tables and entries come from the library's malloc */
    bool pinned;    /* the calling thread is: a barrier returns at once */
    bool nulls;     /* a map that does not own its values has NULL for each */
    struct fault_plan plan;     /* of the call */
    struct fault_report report; /* of the last one */
    long allocations;           /* that the last one asked of the map's allocator */
    unsigned met;               /* the sites that failed in any */
    int retired, released;      /* how often the object of RETIRE and BARRIER was */
    void *kept[2 * TRIAL_KEYS]; /* values that the trial has to end itself: those of a map that does not own them */
    size_t kept_count;
};

/* `trial` is zero, but for early, malloced, pinned and nulls. */
void trial_open(struct trial *trial, const struct config *config, enum ownership ownership, enum trial_state state);
/* Compares the map with the reference, ends it and checks that nothing is left. */
void trial_close(struct trial *trial);

/* Calls with `plan` armed, and checks all that came of it; after SYNCMAP_ENOMEM calls again, which has to succeed.
 * compare: looks at the map before that (which changes the state that the second call finds). True: a fault was met. */
bool trial_call(struct trial *trial, enum trial_operation operation, uint64_t index, struct fault_plan plan, bool compare);

/* The call alone, with plan armed: its result, checked against the reference where it is not negative. */
int trial_try(struct trial *trial, enum trial_operation operation, uint64_t index, struct fault_plan plan);

/* The keys of interest to the operation, and how many they are: a live one, a deleted one, one in dirty alone, one deleted
 * from there, one that never was. */
size_t trial_indexes(enum trial_operation operation, uint64_t early, uint64_t indexes[TRIAL_INDEXES]);

/* Pins the calling thread and uses up the slots that it has spare, so that the next one comes from malloc. */
void thread_drain(void);
/* Waits until all is released, and then leaves the calling thread with as many spare slots as it ever keeps: after
 * that, fault_live_blocks() is the same number as the last time, unless something leaked. */
void thread_settle(void);

#endif
