/* SPDX-License-Identifier: MIT
 *
 * A deterministic scheduler of a few cooperative threads, which explores how they can interleave.
 *
 * The library is compiled with SYNCMAP_ATOMICS = model_atomics.h, and with its locks, fences, allocations and thread-specific data
 * renamed to the functions below (library.c). So each atomic access, lock, fence and wait is a *step*, before which the scheduler
 * may run another thread. Threads are coroutines (ucontext) of one system thread: nothing else moves, and a run is
 * repeated by repeating its choices.
 *
 * EXPLORING. A choice is made wherever there is more than one way to go on: which thread runs next, and (see below) whether a
 * plain store stays in its thread's store buffer. Going on with the running thread is free; so is any choice when it cannot go on
 * (it waits for a lock, or is done). Each other choice costs one: a preemption, or a delay. First, *all* runs whose cost is at most
 * a bound are made, depth first; most bugs of this kind need two preemptions or fewer (M. Musuvathi and S. Qadeer, Iterative context
 * bounding, PLDI 2007). Then runs at random with no bound; the seed is printed.
 *
 * AS GOOD AS ANOTHER. Many of these runs differ only in the order of two steps that have nothing to do with each other; a run is
 * left as soon as it shows that another one, which is made, does the same at the same cost or less, and so are all that begin as it
 * did:
 *  - A thread made a step p, was then preempted, and comes back; nobody has meanwhile accessed what p accessed (or both only
 *    read). Then it could as well have been preempted before p. A store that reaches memory after p, and not before it, is the same.
 *  - A store waited in a buffer, alone or in front, and nobody else has accessed its object before it reached memory. Then it need
 *    not have waited.
 * Of two such runs the one that is made has fewer delays, or as many and earlier preemptions; so there is no circle. A step is only
 * thought to change places with others if before it, too, there was a choice, if it is a load, a store, a read-modify-write or
 * a look, and if its thread did nothing after it that the scheduler does not see as a step: begin or end a call, free memory, look
 * at an invariant (model_event). COMPARE=1 of model.c makes all runs both ways, and compares what the calls returned, and in
 * which order they began and ended: the two sets of these must be the same. Runs at random, and repeated ones, are never left.
 * (The idea is that of partial-order reduction: P. Godefroid, Partial-Order Methods for the Verification of Concurrent Systems,
 * 1996; with a bound on preemptions a run may only be left for one that costs no more: K. Coons, M. Musuvathi and K. McKinley, Bounded
 * Partial-Order Reduction, OOPSLA 2013.)
 *
 * STORE BUFFERS. A thread's plain stores (relaxed, release) may wait in a buffer, first in first out, while later loads of the
 * thread, which see its own buffer, take place: that is what x86 does (P. Sewell et al., x86-TSO, 2010). A read-modify-write, a
 * seq_cst store, a lock and the end of the thread empty the own buffer, membarrier everyone's. Beside that a buffer's oldest
 * store may reach memory before any step, at a cost. What only weaker machines do is not seen here: tests/promela and
 * ThreadSanitizer are for that.
 *
 * MEMORY. model_alloc's blocks come from an arena that is never reused within a run: what is freed is filled with 0xdd, and
 * remembered. Each step checks that what it is about to access is allocated, so a use after free is seen in the schedule
 * where it happens, by the access that does it; under AddressSanitizer so is each plain access.
 */
#ifndef SYNCMAP_MODEL_SCHEDULER_H
#define SYNCMAP_MODEL_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_THREADS = 4 }; /* the last one is what runs before and after the others: main */
enum { MODEL_MAIN = MODEL_THREADS - 1 };

/* ---- what the library is given ---- */

enum model_access {
    MODEL_LOAD, MODEL_STORE, MODEL_RMW, MODEL_TOUCH, MODEL_MEMBARRIER, MODEL_LOCK, MODEL_TRYLOCK, MODEL_UNLOCK, MODEL_WAKE, MODEL_SLEEP
};

struct model_site {
    const char *file;
    int line;
    const char *what;
};

/* A step: others may run first. Then the object must be allocated. `drains`: the store buffer is emptied. */
void model_step(enum model_access access, const volatile void *object, size_t size, bool drains, const struct model_site *site);
/* Whether the thread's buffer has a store to `object`: then *value is the latest. */
bool model_forward(const volatile void *object, void *value, size_t size);
/* Takes a plain store if it is to wait; false: it is to be made now. */
bool model_delay(volatile void *object, const void *value, size_t size, const struct model_site *site);

int model_mutex_init(void *mutex);
int model_mutex_lock(void *mutex, const struct model_site *site);
int model_mutex_trylock(void *mutex, const struct model_site *site);
int model_mutex_unlock(void *mutex, const struct model_site *site);
/* A condition that nobody wakes a thread from but these. */
int model_cond_wait(void *cond, void *mutex, const struct model_site *site);
int model_cond_wake(void *cond, bool all, const struct model_site *site);
void model_sleep(const struct model_site *site);
/* membarrier of the expedited kind: all store buffers are emptied. */
void model_membarrier(const struct model_site *site);

/* The running thread does what is no step, but what others do must not change places with: see AS GOOD AS ANOTHER. */
void model_event(void);

/* Between the two, accesses are no steps: what a debug build does beside the library's work. */
void model_quiet(bool quiet);

/* ---- memory ---- */

/* What is counted apart: what must be gone at a run's end, and what the library keeps (threads' records, slots). */
enum model_owner { MODEL_LIBRARY, MODEL_MAP, MODEL_VALUE, MODEL_OWNERS };
void *model_alloc(size_t size, size_t alignment, enum model_owner owner);
void model_free(void *memory);
/* Aborts unless it is allocated. */
void model_alive(const volatile void *memory, size_t size);
size_t model_live(enum model_owner owner);

/* ---- what a test gives ---- */

struct model_scene {
    const char *name;
    unsigned threads; /* below MODEL_MAIN */
    void (*reset)(void);            /* first of all: the library's variables as at the start of the process */
    void (*before)(void);           /* by main, alone */
    void (*warm)(unsigned thread);  /* by each thread, with no steps; may be NULL */
    void (*run)(unsigned thread);   /* by each thread, explored */
    void (*exit)(unsigned thread);  /* the same, when it is done */
    void (*after)(void);            /* by main, alone: checks */
};

struct model_limits {
    unsigned bound;       /* of the cost of a run */
    bool delays;          /* store buffers */
    uint64_t runs;        /* at most so many of the exhaustive ones; 0: all */
    uint64_t random;      /* so many at random */
    uint64_t seed;
    bool all;             /* also what is as good as another */
    void (*seen)(void);   /* called after each of the exhaustive runs that was not left; may be NULL */
};

struct model_result {
    uint64_t runs, random, steps;
    uint64_t left_early; /* of runs: as good as another */
    unsigned longest; /* in steps */
    bool complete;    /* all runs within the bound were made, or another that is as good */
};

/* The library's thread-local variables, one set for each thread: accesses to them are no steps, and each run begins with them as
 * they are now. Before the first exploration. */
void model_thread_local(void *variables, size_t size);

/* Explores; on a failure prints the steps that led there and how to repeat them, and ends the process with status 1. */
struct model_result model_explore(const struct model_scene *scene, const struct model_limits *limits);

/* One run by the choices that a failure printed, each step told. */
void model_replay(const struct model_scene *scene, const struct model_limits *limits, const char *choices);

/* Fails the run: `why` and the steps are printed. */
_Noreturn void model_fail(const char *why);
/* The running thread. */
unsigned model_self(void);

#endif
