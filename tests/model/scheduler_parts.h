/* SPDX-License-Identifier: MIT
 *
 * What the scheduler's own files share: threads, buffers, choices. See scheduler.h.
 */
#ifndef SYNCMAP_MODEL_SCHEDULER_PARTS_H
#define SYNCMAP_MODEL_SCHEDULER_PARTS_H

#include <setjmp.h>
#include <stdbool.h>
#include <ucontext.h>

#include "model/scheduler.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif

/* ---- memory.c ---- */

void memory_reset(void);
/* In scheduler.c: the running thread frees `memory`, which is no step, but others' accesses must not change places with it. */
void model_freed(const void *memory, size_t size);

/* ---- choices.c: which way to go on ---- */

enum explore_mode { EXHAUSTIVE, RANDOM, REPLAY };

/* Before each run. */
void choices_begin(enum explore_mode mode, const struct model_limits *limits, uint64_t stream, const char *replay);
/* A number below `count`; 0 is free, the others cost one if `costly`. */
unsigned choose(unsigned count, bool costly, const struct model_site *site);
/* After a run of EXHAUSTIVE: prepares the next one; false: there is none. */
bool choices_advance(void);
void choices_forget(void);
bool choices_exhaustive(void);
/* Of this run, until now: how many were made, and what they cost. */
unsigned choices_made(void);
unsigned choices_cost(void);
/* choices_advance() will look for the next run as if no choice had been made after the first `count`. */
void choices_keep(unsigned count);
/* Prints them, in a form that `replay` takes. */
void choices_print(void);

/* ---- coroutine.c: stacks ---- */

struct coroutine {
    ucontext_t context; /* where it begins */
    jmp_buf left;       /* where it was left, if it has begun */
    bool begun;
    char *stack; /* NULL: the system thread's own */
    void *fake;  /* of AddressSanitizer */
    const void *bottom;
    size_t size;
};
void coroutine_start(struct coroutine *coroutine, void (*body)(void));
void coroutine_switch(struct coroutine *from, struct coroutine *to);
/* First of all in `body`. */
void coroutine_arrived(struct coroutine *self);

#endif
