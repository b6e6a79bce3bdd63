/* SPDX-License-Identifier: MIT
 *
 * Reclamation (src/reclaim.h): pin, light and heavy fence, pass, step, free; the end of a thread and the reuse of its
 * record (src/thread.h).
 *
 * WHAT IS MODELLED. A cell `ptr` that readers load: it holds object 0, then perhaps 1, then none. A writer replaces the
 * object and retires the old one. Reader 0 has a record, pins, loads, uses, perhaps unpins and pins again at once, and ends
 * pinned: its end clears the pin and gives the record back. Reader 1 attaches at any time, to that record if it is free,
 * else to a new one, and has one section. One or two collectors make PASSES passes between them, of which
 * one may find that heavy() fails. When all have ended, passes made alone must free what is left.
 *
 * THE WEAK MACHINE. A reader is a window of instructions (below), each of which is performed at an instant of its own, in an
 * order of the machine's choice; `did` says which have been. A store that was not performed while later instructions
 * were is one that sits in the store buffer; a load that was performed before earlier ones is one that a weak machine
 * (or the compiler) moved up; a load performed long before its value is used reads what is stale by then. Only this is kept:
 *
 *   data       the pin stores what LDE read; USE goes through what LDP read;
 *   coherence  a reader's stores to its record become visible in order, and a later load of one cell reads nothing older; but a
 *              store that the next one overwrites may never be seen (0, then a new pin: merged into the pin);
 *   release    what a release store follows was performed before it (STP, STU, and the store that gives a record back);
 *   M1         of membarrier.h, and no more: when heavy() passes a reader, then for each light() of that reader, either all
 *              before it was performed, or nothing after it was. heavy() passes one reader after another.
 *
 * M1 is weaker than what membarrier(2) does (all before some instruction was performed and nothing after it), so the fence
 * form and the checked form are covered, too. FIFO store buffers (x86) are the case in which only LDP and LDE overtake stores.
 * Performed means visible to all at once: machines whose stores reach some processors earlier than others are not covered.
 * Writer and collectors go step by step: their steps are ordered by P2 (release CAS, acquire exchange) and by the mutex.
 *
 * NOT MODELLED. Signals, forks, `work`, `hurry` and the try that ends early (collector_would_fail): they only make
 * passes rarer. Lasts: lasts.pml. The links of a stack: a set of objects (R4 is then that sets stay disjoint, asserted
 * at each push, tag and free).
 *
 * ASSERTED
 *   no object is used after it was freed (the proof of reclaim.h)
 *   no object is retired or freed twice (R4)
 *   when all readers have ended, passes free all that was retired: nothing is lost, no pin is left behind
 *
 * VARIANTS, each explored to its end. PASSES is 4 in all of them: the epoch goes from 1 to 5 at most.
 *   (none)         reader 0 has one section, one object is retired, one collector. What a pass frees it frees under the mutex here,
 *                  which is the earliest that it can be, so that a second collector adds little: a free that comes later finds no
 *                  more uses in its way.
 *   REPIN          reader 0 has two sections, the second right after the first
 *   OBJECTS=2      two objects are retired
 *   COLLECTORS=2   two collectors contend for the mutex
 *   SHARED         both readers pin thread_shared, a word of the first pin's epoch and a count (T3 of thread.h); no record is given back
 *   TSO            loads are performed in their order, as on x86: only they overtake stores
 *
 * SWITCHES. Each takes one thing away; the model must then fail.
 *   NO_HEAVY          (TSO, too) the pass has no heavy(): a pin that is still in the store buffer is not seen
 *   FAILED_HEAVY      heavy() failed, and the pass goes on as if it had not
 *   NO_LIGHT          (TSO, too) the compiler moves the load of the pointer before the pin (and heavy(), now all that membarrier(2) is, may
 *                     come between the two): M1 has nothing to hold on to
 *   EARLY             freed at tag + 1: R3
 *   NO_LOOK           the step does not look at the pins: R2
 *   NO_MUTEX          passes overlap: the epoch does not stand still
 *   TAG_BEFORE_MUTEX  the pass reads its epoch before it has the mutex: the tag is older than the unlink
 *   TAG_AT_UNLINK     the writer tags what it retires, by the epoch that it read before the unlink
 *   TAKE_AFTER_HEAVY  the stacks are taken after heavy(): R1. A reader loads the pointer, a pass takes and tags t what is unlinked
 *                     then, and steps; the reader loads the epoch, t + 1, and pins that: it holds off nothing. Needs a load
 *                     of the pointer that passes the load of the epoch: with TSO there is no error
 *   PUSH_FIRST        retired before it is unlinked: R1
 *   UNPIN_RELAXED     the store of 0 is seen before the section's last use is performed: P1
 *   REPIN_RELAXED     a new pin, merged with the 0 before it, is seen before the last use of the section before: P1
 *   TAKE_NO_XCHG      a stack is taken by load and store: a push in between is lost: P2
 *   PUSH_NO_CAS       a push is a load and a store: what a collector took meanwhile is on two lists: P2, R4
 *   EXIT_NO_CLEAR     a thread ends and leaves its record pinned: nothing is freed any more
 *   EXIT_GIVES_FIRST  a thread ends and gives its record back before it clears the pin: it may clear the next owner's: P1 of thread.h
 *   SHARED_CLEARS     (SHARED) the first to unpin clears the word of all
 */
#ifndef PASSES
#define PASSES 4
#endif
#ifndef OBJECTS
#define OBJECTS 1
#endif
#ifndef COLLECTORS
#define COLLECTORS 1
#endif
#define ALL  (BIT(OBJECTS) - 1)
#define NONE 2

/* A section's instructions, in program order. The second section's are SECTION further. */
#ifdef NO_LIGHT
#define LDP 0
#define LDE 1
#define STP 2
#else
#define LDE 0 /* loads reclaim.epoch */
#define STP 1 /* stores the pin */
/*          --- light() --- */
#define LDP 2 /* loads ptr */
#endif
#define USE 3 /* uses the object */
#define STU 4 /* stores 0 */
#define SECTION 5
#define GIVE 10 /* after the last section of reader 0: its record is free */

#define BIT(i)         (1 << (i))
#define BEFORE(i)      (BIT(i) - 1)
#define HAS(set, some) (((set) & (some)) == (some))

/* What heavy() waits for: M1. Each section's light() stands before its LDP. */
#ifdef NO_LIGHT
#define M1(set) (((set) & ((set) + 1)) == 0) /* what was performed is the beginning of the program */
#else
#define LIGHT_ORDERED(set, at) (HAS(set, BEFORE(at)) || ((set) & ~BEFORE(at)) == 0)
#define M1(set) (LIGHT_ORDERED(set, LDP) && LIGHT_ORDERED(set, SECTION + LDP))
#endif

#ifdef REPIN
#define SKIPPED 0
#else
#define SKIPPED BEFORE(SECTION) /* the first section of reader 0 is over from the start */
#endif

byte epoch = 1;
byte ptr = 0;
byte freed;        /* sets of objects */
byte retired_ever;

byte stack;        /* the writer's record.retired */
byte pin[2];       /* record.epoch, as memory has it */
byte shared_pins;  /* SHARED: the count of pin[0] */
bool in_use0 = true;
byte records = 1;

short did[2];      /* of each reader: what was performed */

/* Under the mutex. */
bool mutex;
byte untagged, limbo[3], tag[3];
byte passes, failures;

/* ---- readers ---- */

#define S(i)   (BIT(i) << base) /* instruction i of this section */
#define DONE(set) HAS(did[r], set)
#define TODO(i)   ((base == 0 || r == 0) && (did[r] & S(i)) == 0)
#define OLDER(i)  (base == 0 || DONE(BIT(i))) /* the same instruction of the section before */

/* TSO: loads are performed in their order. (Stores are anyway, as all are by release.) */
#ifdef TSO
#define IN_ORDER(before) DONE((before) & (LOADS | LOADS << SECTION))
#define LOADS (BIT(LDE) | BIT(LDP) | BIT(USE))
#else
#define IN_ORDER(before) true
#endif

#ifdef UNPIN_RELAXED
#define STU_AFTER (S(STP))
#else
#define STU_AFTER (S(STU) - 1) /* release: everything before */
#endif

/* The store of 0 that ended the section before need not have been performed: then the pin takes its place. */
#ifdef REPIN_RELAXED
#define STP_AFTER (S(LDE) | (base == 0 -> 0 : BIT(STP)))
#else
#define STP_AFTER (S(LDE) | (BEFORE(base) & ~BIT(STU)))
#endif

#ifdef SHARED
#define SHARED_ONLY(condition) (condition) /* a read-modify-write: nothing is merged */
#define LEFT_PINNED false
#else
#define SHARED_ONLY(condition) true
#define LEFT_PINNED (r == 1 && pin[own] != 0)
#endif

#ifdef EXIT_GIVES_FIRST
#define GIVE_AFTER  (BEFORE(GIVE) & ~BIT(SECTION + STU))
#define GIVEN_FIRST && (r == 1 || base == 0 || DONE(BIT(GIVE)))
#else
#define GIVE_AFTER  BEFORE(GIVE) /* release */
#define GIVEN_FIRST
#endif

inline perform(base, i)
{
    did[r] = did[r] | S(i)
}

inline store_pin(base)
{
#ifdef SHARED
    pin[0] = (shared_pins == 0 -> e[base / SECTION] : pin[0]);
    shared_pins++
#else
    if
    :: found_pinned
    :: else -> pin[own] = e[base / SECTION]
    fi;
    did[r] = did[r] | (base == 0 -> 0 : BIT(STU))
#endif
}

inline store_zero(base)
{
#ifdef SHARED
    shared_pins--;
#ifdef SHARED_CLEARS
    pin[0] = 0
#else
    pin[0] = (shared_pins == 0 -> 0 : pin[0])
#endif
#else
    if
    :: found_pinned
#ifdef EXIT_NO_CLEAR
    :: r == 0 && base != 0
#endif
    :: else -> pin[own] = 0
    fi
#endif
}

/* One step of the section at `base`, whichever may be performed. */
inline step_of_section(base)
{
    if
    :: TODO(LDE) && OLDER(LDE) && IN_ORDER(BEFORE(base)) ->
        found_pinned = LEFT_PINNED; /* pin_enter() leaves such a pin alone */
        e[base / SECTION] = epoch;
        perform(base, LDE)
    :: TODO(STP) && DONE(STP_AFTER) && SHARED_ONLY(OLDER(STU)) ->
        store_pin(base);
        perform(base, STP);
        e[base / SECTION] = 0
    :: TODO(LDP) && OLDER(LDP) && IN_ORDER(BEFORE(base + LDP)) ->
        p[base / SECTION] = ptr;
        perform(base, LDP)
    :: TODO(USE) && DONE(S(LDP)) ->
        assert(p[base / SECTION] == NONE || !(freed & BIT(p[base / SECTION]))); /* used after it was freed? */
        p[base / SECTION] = NONE;
        perform(base, USE)
    :: TODO(STU) && DONE(STU_AFTER) && OLDER(STU) GIVEN_FIRST ->
        store_zero(base);
        perform(base, STU)
    fi
}

proctype reader(byte r)
{
    byte e[2], p[2], own;
    bool found_pinned;

    p[0] = NONE;
    p[1] = NONE;
#ifndef SHARED
    atomic { /* thread_attach(): CAS, acquire; nothing after it is performed earlier */
        if
        :: r == 0
        :: r == 1 && !in_use0 -> in_use0 = true
        :: r == 1 && in_use0 -> own = 1; records = 2
        fi
    };
#endif
    do
    :: atomic { step_of_section(0) }
    :: atomic { step_of_section(SECTION) }
#ifndef SHARED
    :: atomic { r == 0 && DONE(GIVE_AFTER) && !DONE(BIT(GIVE)) -> in_use0 = false; did[0] = did[0] | BIT(GIVE) }
    :: atomic { r == 0 && DONE(BEFORE(GIVE + 1)) -> break }
#else
    :: atomic { r == 0 && DONE(BEFORE(GIVE)) -> break }
#endif
    :: atomic { r == 1 && DONE(BEFORE(SECTION)) -> break }
    od
}

/* ---- the writer ---- */

inline push(x)
{
    assert(!(retired_ever & BIT(x)));
    retired_ever = retired_ever | BIT(x);
    stack = stack | BIT(x)
}

inline replace(x, next)
{
#if defined(PUSH_FIRST)
    d_step { push(x) };
    ptr = next
#elif defined(TAG_AT_UNLINK)
    t = epoch;
    ptr = next;
    d_step { /* as if a pass had tagged it so */
        retired_ever = retired_ever | BIT(x);
        if
        :: t + 2 <= epoch -> freed = freed | BIT(x)
        :: else ->
            tag[t % 3] = t;
            limbo[t % 3] = limbo[t % 3] | BIT(x)
        fi;
        t = 0
    }
#elif defined(PUSH_NO_CAS)
    ptr = next;
    t = stack;
    d_step { push(x); stack = t | BIT(x); t = 0 }
#else
    ptr = next; /* by seq_cst or release: seen before the push */
    d_step { push(x) }
#endif
}

proctype writer()
{
    byte t;
#if OBJECTS == 1
    replace(0, NONE)
#else
    replace(0, 1);
    replace(1, NONE)
#endif
}

/* ---- collectors ---- */

inline release(set)
{
    assert(!(freed & set)); /* twice? */
    freed = freed | set;
    set = 0
}

inline tag_taken(e)
{
    if
    :: tag[e % 3] != e -> ready = ready | limbo[e % 3]; limbo[e % 3] = 0
    :: else
    fi;
    tag[e % 3] = (limbo[e % 3] | untagged -> e : 0); /* of an empty list it does not matter */
    assert(!((limbo[0] | limbo[1] | limbo[2]) & untagged)); /* R4 */
    limbo[e % 3] = limbo[e % 3] | untagged;
    untagged = 0
}

#ifdef EARLY
#define GRACE 1
#else
#define GRACE 2
#endif

inline take_due(i)
{
    if
    :: tag[i] + GRACE <= epoch -> ready = ready | limbo[i]; limbo[i] = 0; tag[i] = 0
    :: else
    fi
}

#ifdef NO_MUTEX
#define FREE_MUTEX true
#else
#define FREE_MUTEX (!mutex)
#endif

#ifdef NO_LOOK
#define HOLDS_OFF(at) false
#else
#define HOLDS_OFF(at) (pin[at] != 0 && pin[at] != e)
#endif

inline take_stacks()
{
#ifdef TAKE_NO_XCHG
    s = stack;
    d_step { untagged = untagged | s; stack = 0; s = 0 }
#else
    d_step { untagged = untagged | stack; stack = 0 }
#endif
}

proctype collector()
{
    byte e, ready, s;
    do
#ifdef TAG_BEFORE_MUTEX
    :: passes < PASSES -> e = epoch;
        atomic {
            if
            :: FREE_MUTEX && passes < PASSES -> mutex = true; passes++
            :: passes == PASSES -> break
            fi
        };
#else
    :: atomic { FREE_MUTEX && passes < PASSES -> mutex = true; passes++; e = epoch }; /* step 1 */
#endif
#ifndef TAKE_AFTER_HEAVY
        take_stacks(); /* step 2 */
#endif
        if /* step 3 */
#ifdef NO_HEAVY
        :: skip
#else
        :: atomic { M1(did[0]) -> skip };
            atomic { M1(did[1]) -> skip }
        :: atomic { failures == 0 -> failures++ };
#ifndef FAILED_HEAVY
            atomic { mutex = false; e = 0 };
            goto again
#endif
#endif
        fi;
#ifdef TAKE_AFTER_HEAVY
        take_stacks();
#endif
        atomic { tag_taken(e); s = records }; /* step 4; who walks the list loads its head once */
        do /* step 5: each record by itself, the newest first */
        :: atomic { s > 0 && !HOLDS_OFF(s - 1) -> s-- }
        :: atomic { s > 0 && HOLDS_OFF(s - 1) -> break }
        :: atomic { s == 0 -> epoch = e + 1; break }
        od;
        atomic { take_due(0); take_due(1); take_due(2); e = 0; s = 0; release(ready); mutex = false }; /* step 6 */
again:
        skip
    :: atomic { passes == PASSES -> break }
    od
}

init {
    byte ready, round;
    atomic {
        did[0] = SKIPPED;
        run reader(0);
        run reader(1);
        run writer();
        run collector()
#if COLLECTORS == 2
        ; run collector()
#endif
    };
    _nr_pr == 1; /* all have ended */
    d_step {
        do
        :: round < 4 ->
            round++;
            untagged = untagged | stack;
            stack = 0;
            tag_taken(epoch);
            epoch = (pin[0] == 0 && pin[1] == 0 -> epoch + 1 : epoch);
            take_due(0);
            take_due(1);
            take_due(2);
            release(ready)
        :: else -> break
        od
    };
    assert(freed == ALL) /* was anything lost? */
}
