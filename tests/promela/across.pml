/* SPDX-License-Identifier: MIT
 *
 * ACROSS KEYS of src/flat.h: a section that ends with a plain store and light(), searches that meet its lock and call heavy().
 *
 * WHAT IS MODELLED. PROCS processes make OPS operations each, a store or a load of one of two keys, in every combination. Each key has a
 * bucket of its own: a header, which is LOCKED or not, and a value. (Versions, words and moving: flat.pml. A replaced value keeps the version.)
 *
 *   store  waits until the header is not LOCKED; takes the lock by CAS; stores the value; stores the header; light()
 *   load   reads the header; while it is LOCKED waits, or at any time calls heavy() and goes on; reads the value (that the header is read
 *          again after heavy() is for tables that are moved)
 *
 *   FILTER: the keys are absent at first, and each bucket has a bit that tells so (ABSENT KEYS). A store sets it, if it is clear, by seq_cst after it has
 *   the lock; a load reads it first, and if it is clear has found nothing.
 *
 * THE WEAK MACHINE. What is stored stays in the process's store buffer, and reaches memory, which all see at once, at any later instant, the value
 * before the header (P2). A process reads what it has stored itself. A CAS empties the own buffer first. Loads are performed in order (seq_cst, then
 * acquire).
 *   M1     of membarrier.h, and no more: when heavy() passes a process, what that one stored before its last light() reaches memory; what
 *          it stored since may stay where it is. heavy() empties the own buffer, then passes one process after another.
 *
 * ASSERTED. When all is over: the calls are linearizable, in the order of their begins and ends, by trying all orders.
 *
 * SWITCHES. Each takes one thing away; the model must then fail.
 *   NO_HEAVY         a load that meets a lock goes on without
 *   NO_LIGHT         a section ends without
 *   LIGHT_EARLY      light() comes before the value is stored
 *   LOCK_NOT_SEEN    the lock is not seen at once: the CAS stays in the store buffer, too
 *   BIT_NOT_SEEN     nor is the bit, with FILTER
 *
 * FEW: each process stores, and then loads. Explored to the end: what check.sh says; by hand, besides: all that two processes can do in two calls
 * each (3.7 million states), and with FEW in three calls each (9.5 million).
 */
#ifndef PROCS
#define PROCS 2
#endif
#ifndef OPS
#define OPS 2
#endif
#define KEYS  2
#define CALLS (PROCS * OPS)

#define STORE 0
#define LOAD  1

/* Memory. */
bool locked[KEYS];
byte value[KEYS];
bool mark[KEYS];

/* Store buffers: at most one section's. */
byte at[PROCS];       /* the key */
bool has_lock[PROCS]; /* only with LOCK_NOT_SEEN */
bool has_bit[PROCS];  /* only with BIT_NOT_SEEN */
bool has_value[PROCS];
bool has_header[PROCS];
byte stored[PROCS];
bool lit_value[PROCS]; /* light() came after it */
bool lit_header[PROCS];

/* The history. Call c of process p is number p * OPS + c; its value, if it stores, that number + 1. */
byte kind[CALLS], key[CALLS], result[CALLS], begun[CALLS], ended[CALLS];
byte clock;
byte over; /* processes */
bool fine;

c_decl {
    \#include <string.h>
}
c_code {
    /* Whether some order explains what was read: `done` calls are placed. */
    static int explains(unsigned placed, unsigned char *v)
    {
        int c, d, all = 1;
        for (c = 0; c < CALLS; c++) {
            int next = 1;
            if (placed >> c & 1) continue;
            all = 0;
            for (d = 0; d < CALLS; d++)
                if (d != c && !(placed >> d & 1) && now.ended[d] < now.begun[c]) next = 0;
            if (!next) continue;
            if (now.kind[c] == LOAD) {
                if (v[now.key[c]] == now.result[c] && explains(placed | 1u << c, v)) return 1;
            } else {
                unsigned char old = v[now.key[c]];
                v[now.key[c]] = c + 1;
                if (explains(placed | 1u << c, v)) return 1;
                v[now.key[c]] = old;
            }
        }
        return all;
    }
    static int linearizable(void)
    {
        unsigned char v[KEYS];
        memset(v, 0, sizeof v);
        return explains(0, v);
    }
}

#define WAITS(q) (has_lock[q] || has_bit[q] || has_value[q] || has_header[q])

/* The oldest store of a buffer reaches memory. */
inline reach(q)
{
    if
    :: has_lock[q] -> locked[at[q]] = true; has_lock[q] = false
    :: !has_lock[q] && has_bit[q] -> mark[at[q]] = true; has_bit[q] = false
    :: else ->
        if
        :: has_value[q] -> value[at[q]] = stored[q]; has_value[q] = false; lit_value[q] = false
        :: else -> assert(has_header[q]); locked[at[q]] = false; has_header[q] = false; lit_header[q] = false
        fi
    fi
}

inline drain(q)
{
    do
    :: WAITS(q) -> reach(q)
    :: else -> break
    od
}

inline light()
{
    lit_value[p] = has_value[p];
    lit_header[p] = has_header[p]
}

#define IS_LOCKED(k) (at[p] == (k) && has_header[p] -> false : (at[p] == (k) && has_lock[p] -> true : locked[k]))
#define BIT(k)       (at[p] == (k) && has_bit[p] -> true : mark[k])
#ifdef FILTER
#define MAY_ASK BIT(k)
#define DENIED  (q > PROCS)
#else
#define MAY_ASK true
#define DENIED  false
#endif
#define VALUE(k)     (at[p] == (k) && has_value[p] -> stored[p] : value[k])

proctype work(byte p)
{
    byte call, q, k;
    do
    :: call < OPS ->
        atomic { /* chosen, and begun */
            if
#ifdef FEW
            :: call == 0 -> kind[p * OPS + call] = STORE
            :: call > 0 -> kind[p * OPS + call] = LOAD
#else
            :: kind[p * OPS + call] = STORE
            :: kind[p * OPS + call] = LOAD
#endif
            fi;
            if
            :: k = 0
            :: k = 1
            fi;
            key[p * OPS + call] = k;
            clock++;
            begun[p * OPS + call] = clock
        }
        if
        :: kind[p * OPS + call] == STORE ->
            atomic {
                !IS_LOCKED(k) -> /* the CAS */
                drain(p);
                at[p] = k;
#ifdef LOCK_NOT_SEEN
                has_lock[p] = true
#else
                locked[k] = true
#endif
            }
#ifdef FILTER
            d_step {
                if
                :: BIT(k)
#ifdef BIT_NOT_SEEN
                :: else -> has_bit[p] = true
#else
                :: else -> drain(p); mark[k] = true
#endif
                fi
            }
#endif
#ifdef LIGHT_EARLY
            d_step { light() }
#endif
            d_step { stored[p] = p * OPS + call + 1; has_value[p] = true }
            has_header[p] = true;
#if !defined(NO_LIGHT) && !defined(LIGHT_EARLY)
            d_step { light() }
#endif
        :: else ->
            do
#ifdef FILTER
            :: atomic { !BIT(k) -> q = PROCS + 1; break } /* denied */
            :: BIT(k) && !IS_LOCKED(k) -> break /* the bit is read before the header, but never cleared here */
#else
            :: !IS_LOCKED(k) -> break
#endif
#ifdef NO_HEAVY
            :: MAY_ASK && IS_LOCKED(k) -> break
#else
            :: MAY_ASK && IS_LOCKED(k) -> /* each further look is one at a later instant */
                d_step { drain(p); q = 0 };
                do
                :: q < PROCS ->
                    d_step {
                        do
                        :: (lit_header[q] && has_header[q]) || (lit_value[q] && has_value[q]) -> reach(q)
                        :: else -> break
                        od;
                        q++
                    }
                :: else -> break
                od;
                break
#endif
            od;
            result[p * OPS + call] = (DENIED -> 0 : VALUE(k))
        fi;
        atomic { /* ended */
            clock++;
            ended[p * OPS + call] = clock;
            call++;
            q = 0;
            k = 0
        }
    :: else ->
        over++;
        break
    od
}

/* Buffers reach memory at any time. */
active proctype memory()
{
end:
    do
    :: d_step { WAITS(0) -> reach(0) }
    :: d_step { WAITS(1) -> reach(1) }
#if PROCS > 2
    :: d_step { WAITS(2) -> reach(2) }
#endif
    od
}

init
{
    atomic {
        run work(0);
        run work(1);
#if PROCS > 2
        run work(2)
#endif
    }
    d_step {
        over == PROCS -> c_code { now.fine = linearizable(); };
        assert(fine)
    }
}
