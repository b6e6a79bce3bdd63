/* SPDX-License-Identifier: MIT
 *
 * Last things (src/reclaim.h, LAST THINGS; collector_move_lasts() and collect() of src/reclaim.c): what syncmap_barrier()
 * and the end of a map wait for.
 *
 * WHAT IS MODELLED. Two threads, each with a record and with a program of its own order: one retires object 0, gives last 0,
 * retires object 1, gives last 1; the other retires object 2. Two collectors contend for the mutex and make PASSES passes
 * between them. A pass does what collector_pass() does, step for step: takes the stacks, tags, may step, puts together
 * what is due, moves the lasts on by their stages, and marks its record as freeing that batch. The batch is released
 * after the mutex was given up, one object after another, in two steps each (begun, done); then the mark is cleared.
 *
 * Readers are abstract: at each pass the epoch steps or does not, as the model chooses, and heavy() may fail once.
 *
 * ASSERTED
 *   L1  when a last is released, all that was retired before it was given has been released, to the end (P3, P4);
 *   L2  lasts are released in the order they came;
 *   L3  nothing is released twice;
 *   L4  when all programs have ended, passes that are made alone release everything, lasts too.
 *
 * SWITCHES. Each takes one thing away; the model must then fail.
 *   NO_WAIT_FOR_BATCHES  a last whose tag is due goes with the next pass, whatever is still being released
 *   AT_ONCE              a last is released by the pass whose tag it waits for, before the batches: with the stage left out
 *   NO_TAG               a last waits for the batches that were given out when it was given, but not for a tag
 *   MARK_AFTER_MUTEX     a pass marks its record as freeing after it gave up the mutex: P3
 *   MARK_CLEARED_EARLY   the mark is cleared before the last object of the batch is released: P3
 *   NO_BATCH_OF_GONE     a last that stays behind another does not wait for the batch that the other goes with
 *   OUT_OF_ORDER         a last goes as soon as it may, though one before it has to wait: the batch that both wait for may be done
 *                        just after the first was looked at
 *
 * No bug, and so not among them: TAG_AT_ONCE, a last that is tagged when it is given, by the epoch of then. Giving takes the
 * mutex, so the epoch stands still until the next pass, which takes what was retired before, and tags it by that same epoch (a
 * pass whose heavy() fails does not step). The stage LAST_GIVEN could be done without.
 */
#ifndef PASSES
#define PASSES 6
#endif

#define OBJECTS 3
#define ALL     7
#define BIT(i)  (1 << (i))

#define GIVEN  1 /* the stages of a last; 0: not given yet */
#define TAGGED 2
#define TAKEN  3
#define GONE   4 /* in a batch */

byte epoch = 1;
byte stack;          /* of both threads */
byte retired_ever, done; /* sets of objects */
bool mutex;

/* Under the mutex. */
byte untagged, limbo[3], tag[3];
byte batches, passes, failures;
byte stage[2], last_tag[2], last_batch[2];

byte freeing[2];     /* of each collector's record */

/* Ghosts. */
byte due;            /* objects that were in a batch */
byte before[2];      /* what was retired when the last was given */
byte released_lasts; /* set */

/* ---- threads ---- */

inline retire(x)
{
    d_step { stack = stack | BIT(x); retired_ever = retired_ever | BIT(x) }
}

inline give(l)
{
    atomic {
        !mutex ->
#ifdef TAG_AT_ONCE
        stage[l] = TAGGED;
        last_tag[l] = epoch;
#elif defined(NO_TAG)
        stage[l] = TAKEN;
        last_batch[l] = batches;
#else
        stage[l] = GIVEN;
#endif
        before[l] = retired_ever
    }
}

proctype giver()
{
    retire(0);
    give(0);
    retire(1);
    give(1)
}

proctype retirer()
{
    retire(2)
}

/* ---- collectors ---- */

inline take_due(i)
{
    if
    :: tag[i] + 2 <= epoch -> ready = ready | limbo[i]; limbo[i] = 0; tag[i] = 0
    :: else
    fi
}

#ifdef NO_WAIT_FOR_BATCHES
#define BATCHES_DONE(batch) true
#else
#define BATCHES_DONE(batch) ((freeing[0] == 0 || freeing[0] > (batch)) && (freeing[1] == 0 || freeing[1] > (batch)))
#endif

#ifdef OUT_OF_ORDER
#define FIRST_IN_LINE true
#else
#define FIRST_IN_LINE (!waiting)
#endif

/* One turn of the loop in collector_move_lasts(). */
inline move_last(l, e)
{
    if
    :: stage[l] == GIVEN -> stage[l] = TAGGED; last_tag[l] = e; waiting = true
    :: stage[l] == TAGGED && last_tag[l] + 2 <= epoch ->
#ifdef AT_ONCE
        stage[l] = GONE; ready_lasts = ready_lasts | BIT(l); gone = true
#else
        stage[l] = TAKEN; last_batch[l] = batches + 1; last_tag[l] = 0; waiting = true
#endif
    :: stage[l] == TAGGED && last_tag[l] + 2 > epoch -> waiting = true
    :: stage[l] == TAKEN && FIRST_IN_LINE && BATCHES_DONE(last_batch[l]) ->
        stage[l] = GONE; last_batch[l] = 0; ready_lasts = ready_lasts | BIT(l); gone = true
    :: stage[l] == TAKEN && !(FIRST_IN_LINE && BATCHES_DONE(last_batch[l])) ->
        waiting = true
    :: else
    fi;
#ifndef NO_BATCH_OF_GONE
    if
    :: gone && stage[l] == TAKEN -> last_batch[l] = batches + 1
    :: else
    fi
#endif
}

inline mark()
{
    if
    :: ready != 0 || ready_lasts != 0 -> batches++; freeing[me] = batches
    :: else
    fi
}

inline take_and_tag()
{
    untagged = untagged | stack;
    stack = 0
}

/* Steps 4 to 6, under the mutex; may_step says whether no pin holds the epoch off. */
inline pass(may_step)
{
    e = epoch;
    if
    :: tag[e % 3] != e -> ready = ready | limbo[e % 3]; limbo[e % 3] = 0
    :: else
    fi;
    tag[e % 3] = (limbo[e % 3] | untagged -> e : 0);
    limbo[e % 3] = limbo[e % 3] | untagged;
    untagged = 0;
    epoch = epoch + may_step;
    take_due(0);
    take_due(1);
    take_due(2);
    waiting = false;
    gone = false;
    assert((ready & due) == 0); /* L3 */
    due = due | ready;
    move_last(0, e)
}

/* A step of its own: a batch may be done in between. */
inline pass_on()
{
    move_last(1, e);
    waiting = false;
    gone = false;
    e = 0
}

/* A last is released at once: it is the last touch (P4). */
inline release_last(l)
{
    ready_lasts = ready_lasts & ~BIT(l);
    assert(!(released_lasts & BIT(l))); /* L3 */
    assert((before[l] & ~done) == 0); /* L1 */
    assert(l == 0 || (released_lasts & 1)); /* L2 */
    released_lasts = released_lasts | BIT(l)
}

#ifdef MARK_CLEARED_EARLY
#define CLEAR_EARLY freeing[me] = 0
#else
#define CLEAR_EARLY skip
#endif

proctype collector(byte me)
{
    byte ready, ready_lasts, e, x;
    bool waiting, gone;
    do
    :: atomic { !mutex && passes < PASSES -> mutex = true; passes++ };
        d_step { take_and_tag() };
        if
        :: d_step { failures == 0 -> failures++; mutex = false } /* heavy() failed */
        :: true ->
            if
            :: x = 0
            :: x = 1
            fi;
            atomic {
                pass(x);
                x = 0
            };
            atomic {
                pass_on();
#ifndef MARK_AFTER_MUTEX
                mark();
#endif
                mutex = false
            };
#ifdef MARK_AFTER_MUTEX
            d_step { mark() };
#endif
            do /* collector_release(): objects in any order, then the lasts */
            :: atomic { x == 0 && (ready & BIT(0)) -> x = 1 + 0; CLEAR_EARLY }
            :: atomic { x == 0 && (ready & BIT(1)) -> x = 1 + 1; CLEAR_EARLY }
            :: atomic { x == 0 && (ready & BIT(2)) -> x = 1 + 2; CLEAR_EARLY }
            :: atomic {
                    x != 0 ->
                    ready = ready & ~BIT(x - 1);
                    done = done | BIT(x - 1);
                    x = 0
                }
            :: atomic { x == 0 && ready == 0 && (ready_lasts & 1) -> release_last(0) }
            :: atomic { x == 0 && ready == 0 && ready_lasts == 2 -> release_last(1) }
            :: atomic { x == 0 && ready == 0 && ready_lasts == 0 -> freeing[me] = 0; break }
            od
        fi
    :: atomic { passes == PASSES -> break }
    od
}

init {
    byte ready, ready_lasts, e, round;
    bool waiting, gone;
    atomic {
        run giver();
        run retirer();
        run collector(0);
        run collector(1)
    };
    _nr_pr == 1; /* all have ended */
    d_step {
        do
        :: round < 7 ->
            round++;
            take_and_tag();
            pass(1);
            pass_on();
            done = done | ready;
            ready = 0;
            if
            :: ready_lasts & 1 -> release_last(0)
            :: else
            fi;
            if
            :: ready_lasts & 2 -> release_last(1)
            :: else
            fi
        :: else -> break
        od
    };
    assert(done == ALL && released_lasts == 3) /* L4 */
}
