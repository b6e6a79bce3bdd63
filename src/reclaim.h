/* SPDX-License-Identifier: MIT
 *
 * Safe reclamation: memory that readers may still be looking at is freed when none can be any more.
 * Epoch-based (K. Fraser, Practical lock-freedom, 2004, section 5.2.3), process-wide, with the cost of the
 * reader's fence moved to the collector by membarrier (as liburcu's memb flavour and folly's rcu do).
 *
 *     a thread's record              under `collector`
 *     epoch: 0 or 17                 limbo[0] tag 15 --> link --> link ...     may be freed when epoch >= 17
 *     retired --> link --> link      limbo[1] tag 16 --> ...                                            18
 *          |        (stack)          limbo[2] tag 17 --> ...                                            19
 *          `---------------------->  (a pass takes every thread's stack)
 *     reclaim.epoch: 17              lasts: what must be freed after all before it
 *
 * READERS. To pin, a thread stores reclaim.epoch into its record and calls light(). To unpin it stores 0. Everything
 * that it loads from a map between the two stays allocated.
 *
 * RETIRERS. What has become unreachable for new readers is pushed on the thread's own stack by one CAS. It
 * carries its own link, or a slot that was taken before the operation took effect: retiring never needs memory.
 *
 * COLLECTORS. A thread that has retired enough tries the mutex and, if nobody else has it, makes one pass:
 *   1. e = epoch (only passes change it, so it stands still);
 *   2. takes what every record has retired (exchange);
 *   3. heavy();
 *   4. tags what it took with e: limbo[e % 3];
 *   5. if every pinned record shows e: epoch = e + 1;
 *   6. whatever is tagged t with t + 2 <= epoch is free to go: taken out, the mutex given up, and released, within bounds (UNFINISHED).
 * Nothing waits: where a reader is in the way, the pass ends at 5 and a later one goes on.
 *
 * Steps 2 and 3 in this order: on a machine that may load a pointer before it loads the epoch it pins, what is taken after the
 * heavy() could be held by a reader that has pinned t + 1. (x86 does not, so no test on it can tell; tests/promela does.)
 *
 *   R1  What is tagged t was unreachable for new readers before the heavy() of the pass that tagged it.
 *   R2  A record pinned at e holds off every step but the one from e to e + 1. So from light() to the unpin the epoch moves at most
 *       once, however long ago the thread read e.
 *   R3  What is tagged t is released when epoch >= t + 2.
 *   R4  Each link is on one list only, and every list is taken whole: each is released exactly once.
 *
 * Why it is safe. Let X be tagged t in pass A, and let a section S of thread R hold X. By M1 (membarrier.h), light() of
 * S and heavy() of A are ordered. If heavy() came first, S began after X was unreachable (R1), and does not hold
 * it. So light() came first, and what R stored before it, its pin at e, is visible from pass A on; since R
 * read e before that, e <= t. Every pass from A on that looks at the record (step 5) finds S pinned at e, until it reads
 * a later store of R's, which is a release: then S is over, and all that S did happened before. For X to be released,
 * some pass B moved epoch from t + 1 to t + 2. B came after A (epoch was still t in A, and passes exclude each other
 * by the mutex), so if S is not over, B finds a pin e <= t, which is not t + 1, and does not step.
 *
 * Pairs:
 *   P1  pin: record.epoch stored by release before light(), read (acquire) after heavy() in step 5. Both the store of
 *       0 and of a new pin tell that the section before is over, which is why neither may be relaxed.
 *   P2  retire: pushed by CAS (release) on record.retired, taken by exchange (acquire) in step 2.
 *   P3  freeing: record.freeing holds the number of the batch that the thread is releasing, set under the mutex, and 0
 *       (release) when it is done; read by acquire for `lasts`.
 *   P4  barrier: `passed` stored by release when all before it was released, read by acquire by who waits.
 *   P5  record.slots stored by release, so that the child of a fork in between finds whole lists.
 *   P6  ready: stored by release by the record's thread, taken by exchange (acquire), by it or a collector.
 *   reclaim.epoch needs no pair: readers may read it relaxed, since by the proof an old number only holds epochs
 *   off longer, and a number cannot come from a future that light() precedes.
 *
 * LAST THINGS. A map's own struct must outlive everything that was retired from it, wherever in the process that
 * lies or is just being released; and syncmap_barrier() must wait for the same. Both are `lasts`: an object
 * that is released after everything that was retired before it has been released. It waits for a pass that begins after
 * it was given (which takes all that was retired before), then for the tag of that pass to be free to go,
 * then for every batch that had been given out until then to be done (P3). Lasts go in the order they came.
 *
 * AMORTIZED. Objects that are freed by the hundred overflow what the allocator keeps for the thread, and go the slow way, past its
 * locks (D. Kim, T. Brown, A. Singh, Are your epochs too epic? Batch free can be harmful, PPoPP 2024). So unless it is much, or a
 * last thing waits, a writer leaves what its pass has found in `ready` of its record, and releases 2 * RECLAIM_SHARE of it each
 * time it has retired RECLAIM_SHARE; what is left when it has retired enough for its next pass is released before that. The record
 * shows `freeing` until all is done, so lasts wait for it. To release, its thread takes the list whole, by exchange, and puts the
 * rest back. Others take it over in the same way, in a pass, and the number with it: where a last thing waits, or somebody wants
 * all released; where the record's thread is gone; or when it is RECLAIM_IDLE passes old. What was taken over, or taken up
 * (UNFINISHED), is released at once, and all that the pass has found with it: if it were left ready again, with its old number, the
 * next pass would take it over at once, and so on, and nobody have the time to release it.
 *
 * UNFINISHED. A thread that came to collect is not to release whole tables, or thousands of objects, before it may go on: after
 * RECLAIM_BUDGET of them, or a part of a large one, it leaves the rest on `unfinished`, which the next pass takes up before what
 * it has found itself. The rest keeps the number of its batch (several: the lowest), so lasts wait for it. Who waits for the
 * end (a barrier, the end of a map) has no budget.
 *
 * SIGNALS. An operation's own pin is: if the record shows 0, set it, and clear it after; if not, leave it alone. So a
 * handler that runs a load at any instruction finds either 0, and puts 0 back, or a pin, and changes nothing.
 * The public pin adds a count. It sets the record first, then depth, then pin_owner; unpin clears
 * pin_owner, then depth, then the record. Whatever a handler finds half done in between, its own pin and unpin
 * bring depth back to what it was, and clear the record only if pin_owner says that this level set it: at depth 1 with
 * pin_owner set, and then the handler's own pin made it 2. Pushing to `retired` is one CAS, so a
 * load that promotes (read_dirty.c) may retire in a handler; collecting is left to writers, as it calls free.
 *
 * MEMORY. Garbage is counted in bytes and in pieces: a thread tries a pass after RECLAIM_WORK pieces, each RECLAIM_PIECE bytes
 * counting as one more; and when something large was retired by whatever thread, all writers try sooner. A try ends before its
 * heavy() if a reader is in the way already. A thread that does nothing more may keep some RECLAIM_WORK pieces ready, less than
 * RECLAIM_LARGE bytes, until somebody else writes.
 *
 * THREADS WITHOUT A RECORD (T3 of thread.h) share one: thread_shared.epoch holds the epoch of whoever pinned it first
 * and, in its low SHARED_BITS bits, how many have. Joining an older pin is safe (e is only smaller).
 *
 * Progress: pin and unpin wait-free (lock-free without a record); retire lock-free; a pass never waits;
 * syncmap_barrier() and giving a last thing block. If heavy() fails, a pass keeps what it took and frees nothing.
 */
#ifndef SYNCMAP_RECLAIM_H
#define SYNCMAP_RECLAIM_H

#include "../include/syncmap.h"
#include "memory.h"
#include "thread.h"

/* Test builds set 1: a pass after every retirement. */
#ifndef SYNCMAP_RECLAIM_WORK
#define SYNCMAP_RECLAIM_WORK 256
#endif
#ifndef SYNCMAP_RECLAIM_BUDGET
#define SYNCMAP_RECLAIM_BUDGET 1024
#endif
enum {
    RECLAIM_WORK = SYNCMAP_RECLAIM_WORK,
    RECLAIM_SHARE = RECLAIM_WORK / 32, /* of it that a thread retires between two looks at what it has ready */
    RECLAIM_IDLE = 32, /* passes after which what a thread has ready is taken over */
    RECLAIM_BUDGET = SYNCMAP_RECLAIM_BUDGET, /* objects that a thread releases before it goes on with its own work */
    FREE_STEP = 128, /* parts of a large object that one call of its release frees */
    RECLAIM_PIECE = 1024,       /* bytes that count as a piece */
    RECLAIM_LARGE = 64 * 1024,  /* bytes that make every writer hurry */
    RECLAIM_SLOTS = 2 * RECLAIM_WORK + 8 /* spare slots that a thread keeps */
};

/* How one kind of retired object is released. The link tells the object (container_of), the class its context. True: it is. False: a
 * part of the work is done, some ten microseconds of it, and it is to be called again. */
struct reclaim_class {
    bool (*release)(struct reclaim_link *link, const struct reclaim_class *class);
};

/* What a retired object carries. Free for other use until it is retired; the object's own release leaves it alone until it is done. */
struct reclaim_link {
    struct reclaim_link *next;
    const struct reclaim_class *class;
};

/* The link of an object that has none of its own. */
struct reclaim_slot {
    struct reclaim_link link;
    void *object;
    union {
        void (*release)(void *object);   /* of syncmap_retire() */
        struct reclaim_slot *next_spare; /* while it is spare */
    };
};

/* The link of an object that goes after all that was retired before it. */
struct reclaim_last {
    struct reclaim_link link;
    enum { LAST_GIVEN, LAST_TAGGED, LAST_TAKEN } stage;
    uint64_t tag;   /* LAST_TAGGED: of the pass that took all that was retired before */
    uint64_t batch; /* LAST_TAKEN: all batches up to this one must be done */
};

/* On a line of its own: every pin reads it, only a step writes it. */
static struct {
    alignas(CACHE_LINE) _Atomic uint64_t epoch;
    alignas(CACHE_LINE) _Atomic bool hurry; /* something large awaits its epoch */
} reclaim = {.epoch = 1};

static struct thread *pin_enter_slow(bool may_attach);

/* Pins for one operation of a thread that has the record `self`. The result goes to pin_leave(), or pin_leave_own(). */
static ALWAYS_INLINE struct thread *pin_enter_own(struct thread *self)
{
    struct thread *ours = NULL;
    if (likely(ld_relaxed(&self->epoch) == 0)) { /* relaxed: its own, or its handler's, which puts 0 back */
        /* P1; relaxed: see Pairs */
        st_release(&self->epoch, ld_relaxed(&reclaim.epoch));
        ours = self;
    }
    membarrier_light(&self->cell);
    return ours;
}

/* The same, and begins a section, with one light() for both (SECTIONS of thread.h). False: no section was begun. It ends by section_leave_own(),
 * before the pin. */
static ALWAYS_INLINE bool pin_enter_section(struct thread *self, struct thread **pin)
{
    struct thread *ours = NULL;
    if (likely(ld_relaxed(&self->epoch) == 0)) { /* relaxed: as above */
        /* P1; relaxed: see Pairs */
        st_release(&self->epoch, ld_relaxed(&reclaim.epoch));
        ours = self;
    }
    *pin = ours;
    if (likely(section_enter_own(self)))
        return true;
    membarrier_light(&self->cell);
    return false;
}

static ALWAYS_INLINE void pin_leave_own(struct thread *ours)
{
    if (likely(ours != NULL))
        st_release(&ours->epoch, 0); /* P1 */
}

/* Pins for one operation. The result goes to pin_leave(). may_attach: the operation may allocate. */
static ALWAYS_INLINE struct thread *pin_enter(bool may_attach)
{
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    return likely(self != NULL) ? pin_enter_own(self) : pin_enter_slow(may_attach);
}

static ALWAYS_INLINE void pin_leave(struct thread *ours)
{
    if (unlikely(ours == &thread_shared))
        thread_unpin_shared();
    else
        pin_leave_own(ours);
}

/* Whether the thread is between syncmap_pin() and syncmap_unpin(). */
static inline bool pin_held(void)
{
    return ld_relaxed(&own.depth) != 0; /* relaxed: its own */
}

/* A slot, taken before the first visible step of an operation that may retire an object; NULL: ENOMEM. Not for
 * signal handlers. Given back if it was not needed. */
static struct reclaim_slot *slot_take(void);
static void slot_give_back(struct reclaim_slot *slot);

/* Retires what carries `link`: `class` will release it. `bytes`: what that will free, about. Async-signal-safe. */
static void reclaim_retire(struct reclaim_link *link, const struct reclaim_class *class, size_t bytes);

/* Tries a pass if this thread has retired enough. With no lock held: it runs user code. */
static ALWAYS_INLINE void reclaim_poll(void);

/* The same for a thread that has the record `self`. Returns `result`: to be an operation's last call. */
static ALWAYS_INLINE int reclaim_poll_own(struct thread *self, int result);

/* Retires an object that is to go last. Takes the collector's mutex. */
static void reclaim_retire_last(struct reclaim_last *last, const struct reclaim_class *class);

/* Makes some passes, as far as they get without waiting for others, and releases all that they find. */
static void reclaim_flush(void);

/* Round a fork, as in thread.h, inside its calls. */
static void reclaim_fork_prepare(void);
static void reclaim_fork_parent(void);
static void reclaim_fork_child(void);

#endif
