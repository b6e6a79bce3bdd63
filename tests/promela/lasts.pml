/* SPDX-License-Identifier: MIT
 *
 * Last things (src/reclaim.h, LAST THINGS; collector_move_lasts() and collect() of src/reclaim.c): what syncmap_barrier()
 * and the end of a map wait for; and what is released by and by (AMORTIZED; release_ready(), collector_take_ready()).
 *
 * WHAT IS MODELLED. Two threads, each with a record and with a program of its own order: one retires object 0, gives last 0,
 * retires object 1, gives last 1; the other retires object 2. Two collectors contend for the mutex and make PASSES passes
 * between them. A pass does what collector_pass() does, step for step: takes the stacks, tags, may step, puts together
 * what is due, moves the lasts on by their stages, and marks its record as freeing that batch. The batch is released
 * after the mutex was given up, one object after another, in two steps each (begun, done); then the mark is cleared. Or, if no
 * last was waiting, it is left ready, with the mark. Then its collector takes all of it at any time, releases some, and puts the
 * rest back, or clears the mark; it releases all before its next pass. A pass of the other one takes it over where a last waits, or as the
 * model chooses.
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
 *   READY_UNMARKED       the mark is cleared when a batch is left ready
 *   SHARE_CLEARS_MARK    the mark is cleared when some was released, and the rest put back
 *   READ_NOT_TAKEN       to release some, its collector reads what is ready, and then clears it: no exchange
 *   TAKEN_OVER_UNMARKED  who takes over what is ready does not take the mark over
 *   NOT_TAKEN_OVER       what is ready is left to its collector, whatever waits
 *   OUT_OF_ORDER         a last goes as soon as it may, though one before it has to wait: the batch that both wait for may be done
 *                        just after the first was looked at
 *
 * No bug, and so not among them: TAG_AT_ONCE, a last that is tagged when it is given, by the epoch of then. Giving takes the
 * mutex, so the epoch stands still until the next pass, which takes what was retired before, and tags it by that same epoch (a
 * pass whose heavy() fails does not step). The stage LAST_GIVEN could be done without.
 * TAKEN_OVER_LATE, that who takes over what is ready marks itself with the number of its own batch and not the older one, is none with two collectors: a last
 * that waits for the older one goes with that pass at the earliest, behind what was taken over. With a third, which holds the last off for a moment,
 * it is: that takes more states than there is memory for.
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

byte freeing[2];     /* of each collector's record, */
byte left[2];        /* and what it has ready: a set */

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
    :: ready != 0 || ready_lasts != 0 ->
        batches++;
        freeing[me] = (freeing[me] == 0 -> batches : freeing[me])
    :: else
    fi
}

inline take_and_tag()
{
    untagged = untagged | stack;
    stack = 0
}

#define LAST_WAITS ((stage[0] != 0 && stage[0] != GONE) || (stage[1] != 0 && stage[1] != GONE))

/* Under the mutex. at_once: whether a last waits. */
inline take_over(other)
{
    if
#ifndef NOT_TAKEN_OVER
    :: left[other] != 0 ->
        taken = left[other];
        left[other] = 0;
#ifndef TAKEN_OVER_UNMARKED
        freeing[me] = freeing[other];
#endif
        freeing[other] = 0
#endif
    :: left[other] == 0 || !at_once -> skip
#ifdef NOT_TAKEN_OVER
    :: left[other] != 0 && at_once -> skip
#endif
    fi
}

/* Its collector takes what it has ready. */
inline take_ready()
{
#ifdef READ_NOT_TAKEN
    ready = left[me];
    d_step { left[me] = 0; had = ready != 0 }
#else
    d_step { ready = left[me]; left[me] = 0; had = ready != 0 }
#endif
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

/* One object, or one step of it. */
inline release_one()
{
    if
    :: atomic { x == 0 && (ready & BIT(0)) -> x = 1 + 0; CLEAR_EARLY }
    :: atomic { x == 0 && (ready & BIT(1)) -> x = 1 + 1; CLEAR_EARLY }
    :: atomic { x == 0 && (ready & BIT(2)) -> x = 1 + 2; CLEAR_EARLY }
    :: atomic {
            x != 0 ->
            assert(!(done & BIT(x - 1))); /* L3 */
            ready = ready & ~BIT(x - 1);
            done = done | BIT(x - 1);
            x = 0
        }
    fi
}

proctype collector(byte me)
{
    byte ready, ready_lasts, e, x, taken;
    bool waiting, gone, at_once, had;
    do
    :: atomic { left[me] != 0 && passes < PASSES -> skip }; /* some of it */
        take_ready();
        do
        :: x != 0 || ready != 0 -> release_one()
        :: atomic { x == 0 && ready != 0 ->
#ifdef SHARE_CLEARS_MARK
                freeing[me] = 0;
#endif
                left[me] = ready; ready = 0; break }
        :: atomic { x == 0 && ready == 0 -> freeing[me] = (had -> 0 : freeing[me]); break }
        od;
        had = false
    :: atomic { left[me] == 0 && !mutex && passes < PASSES -> mutex = true; passes++; at_once = LAST_WAITS };
        atomic { take_over(1 - me) };
        d_step { take_and_tag() };
        if
        :: d_step { failures == 0 && taken == 0 -> failures++; mutex = false } /* heavy() failed */
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
                ready = ready | taken;
                taken = 0;
                mutex = false
            };
#ifdef MARK_AFTER_MUTEX
            d_step { mark() };
#endif
            if
            :: atomic { ready != 0 && !at_once ->
                    assert(ready_lasts == 0);
#ifdef READY_UNMARKED
                    freeing[me] = 0;
#endif
                    left[me] = ready; ready = 0 }
            :: true ->
                do /* release_some(): objects in any order, then the lasts */
                :: x != 0 || ready != 0 -> release_one()
                :: atomic { x == 0 && ready == 0 && (ready_lasts & 1) -> release_last(0) }
                :: atomic { x == 0 && ready == 0 && ready_lasts == 2 -> release_last(1) }
                :: atomic { x == 0 && ready == 0 && ready_lasts == 0 -> freeing[me] = 0; break }
                od
            fi
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
#ifndef NOT_TAKEN_OVER
            ready = left[0] | left[1];
            done = done | ready;
            ready = 0;
            left[0] = 0;
            left[1] = 0;
            freeing[0] = 0;
            freeing[1] = 0;
#endif
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
