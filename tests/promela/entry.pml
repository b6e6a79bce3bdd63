/* SPDX-License-Identifier: MIT
 *
 * The states of an entry (src/read_dirty.c): value, DELETED, EXPUNGED; read and dirty, mu, promotion, building of dirty.
 *
 * WHAT IS MODELLED. PROCS processes make OPS operations each on two keys: load, store (swap), load_or_store,
 * load_and_delete, compare_and_swap, compare_and_delete, in every combination, on a map that begins in one of
 * six states (see begin()), so that generations of tables before the first operation are there. Every access that is made
 * without mu, and every change that others may see, is a step of its own. Merged into one step are:
 *
 *   - a loop of load and CAS on p (what it does when the CAS succeeds is what a read-modify-write does then; try_expunge, too);
 *   - loading `read` and searching that table (its slots are frozen, P1);
 *   - what is only looked at under mu by who has it, as only who has mu changes it; and taking and giving back mu with the first and
 *     the last change in between (a section under mu that shows nothing to others is one step).
 *
 * An operation begins with its first step and ends with its last: there is no shorter one, so none is easier to refute.
 *
 * A miss promotes or does not, as the model chooses: the protocol must be right whenever dirty is promoted. Sequentially
 * consistent, as P1 to P4 are seq_cst. A load that misses in read takes mu or searches without it (find_unlocked), as the model
 * chooses, whether or not another has mu. With -DGROW, dirty may also be moved to a larger table when a key is added.
 * Explored to the end: 3 processes with 1 operation each, 2 with 2, and 2 with 1 and GROW; each from all six states.
 *
 * Reclamation is abstract: an operation is pinned from its beginning to its end, and who retires something may free it when all
 * operations that were under way then have ended. So an operation that touches what was retired before it began is an error.
 *
 * NOT MODELLED. clear and range (as a promotion, range is a miss), `versions` (custom keys), memory for new keys (there is always
 * room: lock_to_write only tries again), the values' own reclamation (P2, api.c).
 *
 * ASSERTED
 *   linearizable  A ghost map G, one value a key, changes where operations take effect: at the CAS on the key's entry;
 *                 for a new key, when its entry joins dirty; for load_and_delete of an entry that only dirty has, when it is
 *                 taken out of dirty. An operation that changes a value must find G's there. One that only looks (load, and what
 *                 finds that it has nothing to do) must return a value that G had between its beginning and its end: that is exactly
 *                 when it can be given a place in the order, as it changes nothing.
 *                 An entry that was taken out by load_and_delete has a history of its own, all of it just before it was
 *                 taken out: operations that change it later must have begun before that, and come before the
 *                 delete, which returns the last value; whoever was under way at that instant may have seen each of them.
 *                 After the delete has emptied the entry, nothing changes it. Nothing ever changes an entry that a
 *                 promotion left behind.
 *   I1, I2, I3, I5, and that the tables hold what G holds: whenever mu is given up.
 *   I6            no entry is retired twice; none, and no table, is touched by who began after it was retired.
 *
 * RESULTS_ONLY leaves I1 to I5 out: what do they forbid that would give a wrong result?
 *
 * SWITCHES. Each takes one thing away; the model must then fail.
 *   STORE_EXPUNGED         a store writes an EXPUNGED entry, which is not in dirty
 *   NO_JOIN                unexpunge, and the entry does not join dirty
 *   UNEXPUNGE_NO_MU        unexpunge before mu is taken
 *   LOAD_NO_SECOND_LOOK    load does not look at read again under mu: a spurious miss
 *   STORE_NO_SECOND_LOOK   store does not: a second entry for the key
 *   DELETE_NO_SECOND_LOOK  load_and_delete does not: it finds nothing to delete
 *   NO_RECHECK             find_unlocked does not look at read again when dirty has nothing
 *   EXPUNGE_NO_CAS         try_expunge by load and store: over a value stored in between
 *   EMPTY_FIRST            load_and_delete empties the entry before it takes it out: a store in between is lost
 *   NEVER_EMPTIES          load_and_delete takes out and reads, but does not empty: a late CAS succeeds on what was deleted
 *   RETIRE_FIRST           load_and_delete retires the entry before it takes it out
 *   KEEP_EXPUNGED          promotion leaves the list `expunged` to the next one, too: retired twice
 *   KEEP_DIRTY             promotion does not set dirty to NULL. Found by I1 alone: with RESULTS_ONLY no result is wrong, as nobody
 *                          here looks at dirty unless amended; room_needed(), which is not modelled, does
 *   KEEP_AMENDED           promotion does not clear AMENDED
 *   DIRTY_FIRST            promotion sets dirty to NULL before it stores read: find_unlocked finds the key nowhere
 *   PROMOTE_RETIRES_FIRST  promotion retires before it stores read
 *   FREED_BY_LOOKING       no list: what is EXPUNGED in an old table when that is freed goes with it (see What C adds, 1)
 */
#ifndef PROCS
#define PROCS 3
#endif
#ifndef OPS
#define OPS 1
#endif

#define DELETED  0
#define EXPUNGED 255
#define ENTRIES  (3 + PROCS * OPS) /* numbered from 1; 0: none */
#ifdef GROW
#define TABLES   (3 + 2 * PROCS * OPS)
#else
#define TABLES   (3 + PROCS * OPS)
#endif

#define BIT(i) (1 << (i))

/* The map. */
byte p[ENTRIES];
byte slot[2 * TABLES]; /* table t's entry of key k: SLOT(t, k) */
byte read;             /* 2 * table + AMENDED */
byte dirty;            /* a table, or 0 */
bool mu;
short expunged;        /* set of entries */

#define SLOT(t, k)  slot[2 * (t) + (k)]
#define TABLE(word) ((word) / 2)
#define IS_AMENDED(word) ((word) & 1)
#define LIVE(v)     ((v) != DELETED && (v) != EXPUNGED)

byte entries = 2, tables = 2; /* used so far */

/* Reclamation. */
short retired;         /* sets of entries, of tables */
short tables_retired;
byte hold[ENTRIES];    /* of what is retired: the operations that may still touch it */
byte hold_table[TABLES];
byte under_way;        /* set of processes */

/* Ghosts. */
byte G[2];
short seen[PROCS];     /* set of the values that G had for its key since the operation began */
short span[PROCS];     /* set of the entries that were taken out since it began */
byte key[PROCS];
short gone;            /* set of the entries in no table: taken out by load_and_delete, */
short left_behind;     /* or left behind by a promotion */
short closed;          /* those that load_and_delete has emptied */

hidden byte i, j;
byte first[PROCS];     /* the first operation of each: 2 * operation + key */

/* ---- ghosts, reclamation ---- */

inline set_G(k, v)
{
    G[k] = v;
    for (i : 0 .. PROCS - 1) {
        if
        :: (under_way & BIT(i)) && key[i] == k -> seen[i] = seen[i] | BIT(v)
        :: else
        fi
    };
    i = 0
}

#define MAY_TOUCH(e)       (!(retired & BIT(e)) || (hold[e] & BIT(me)))
#define MAY_TOUCH_TABLE(t) (!(tables_retired & BIT(t)) || (hold_table[t] & BIT(me)))

/* The operation changes entry e of key k from p[e] to v. */
inline change(e, k, v)
{
    assert(MAY_TOUCH(e));
    assert(!(left_behind & BIT(e))); /* lost */
    if
    :: gone & BIT(e) ->
        assert(span[me] & BIT(e)); /* it began before the entry was taken out */
        assert(!(closed & BIT(e)));
        for (i : 0 .. PROCS - 1) {
            if
            :: (under_way & BIT(i)) && (span[i] & BIT(e)) && key[i] == k -> seen[i] = seen[i] | BIT(v)
            :: else
            fi
        };
        i = 0
    :: else ->
        assert((p[e] == EXPUNGED && G[k] == DELETED) || G[k] == p[e]);
        set_G(k, v)
    fi;
    p[e] = v
}

/* The operation returns v (DELETED: nothing), and changed nothing. */
inline returns(v)
{
    assert(seen[me] & BIT(v))
}

/* It loads p[e]. */
inline look(e)
{
    assert(MAY_TOUCH(e));
    assert(!(gone & BIT(e)) || (span[me] & BIT(e)));
    if
    :: LIVE(p[e]) -> returns(p[e])
    :: else -> returns(DELETED)
    fi
}

inline take_out(e)
{
    gone = gone | BIT(e);
    for (i : 0 .. PROCS - 1) {
        if
        :: under_way & BIT(i) -> span[i] = span[i] | BIT(e)
        :: else
        fi
    };
    i = 0
}

inline retire(set)
{
    assert(!(retired & (set))); /* I6 */
    retired = retired | (set);
    for (i : 1 .. ENTRIES - 1) {
        if
        :: (set) & BIT(i) -> hold[i] = under_way
        :: else
        fi
    };
    i = 0
}

inline retire_removed()
{
    if
    :: removed != 0 -> retire(BIT(removed))
    :: else
    fi
}

inline retire_table(t)
{
    assert(!(tables_retired & BIT(t)));
    tables_retired = tables_retired | BIT(t);
    hold_table[t] = under_way
}

inline start(k)
{
    under_way = under_way | BIT(me);
    key[me] = k;
    seen[me] = BIT(G[k]);
    span[me] = 0
}

inline finish()
{
    under_way = under_way & ~BIT(me);
    for (i : 1 .. ENTRIES - 1) {
        hold[i] = hold[i] & ~BIT(me);
        p[i] = ((retired & BIT(i)) && hold[i] == 0 -> 0 : p[i]) /* free: forgotten, to have fewer states */
    }
    for (i : 1 .. TABLES - 1) {
        hold_table[i] = hold_table[i] & ~BIT(me);
#ifdef FREED_BY_LOOKING
        if
        :: (tables_retired & BIT(i)) && hold_table[i] == 0 ->
            for (j : 0 .. 1) {
                if
                :: SLOT(i, j) != 0 && p[SLOT(i, j)] == EXPUNGED && !(retired & BIT(SLOT(i, j))) ->
                    retired = retired | BIT(SLOT(i, j))
                :: else
                fi
            }
        :: else
        fi;
#endif
        slot[2 * i] = ((tables_retired & BIT(i)) && hold_table[i] == 0 -> 0 : slot[2 * i]);
        slot[2 * i + 1] = ((tables_retired & BIT(i)) && hold_table[i] == 0 -> 0 : slot[2 * i + 1])
    };
    seen[me] = 0;
    span[me] = 0;
    key[me] = 0;
    op = 0; k = 0; e = 0; r = 0; d = 0; t = 0; removed = 0; n = 0; in_dirty = 0; new = 0
}

/* ---- mu ---- */

#define ENTRY_OF(j) (SLOT(TABLE(read), j) != 0 -> SLOT(TABLE(read), j) : (dirty != 0 -> SLOT(dirty, j) : 0))

inline check()
{
    assert(IS_AMENDED(read) == (dirty != 0)); /* I1 */
    assert(dirty != 0 || expunged == 0); /* I3 */
    for (j : 0 .. 1) {
        i = SLOT(TABLE(read), j);
        assert(i == 0 || !(retired & BIT(i)));
        assert(i == 0 || ((expunged & BIT(i)) != 0) == (p[i] == EXPUNGED)); /* I2, I3 */
        assert(i == 0 || dirty == 0 || SLOT(dirty, j) == (p[i] == EXPUNGED -> 0 : i)); /* I2, I3, I5 */
        i = (dirty != 0 -> SLOT(dirty, j) : 0);
        assert(i == 0 || p[i] != EXPUNGED); /* I3 */
        assert(i == 0 || !(retired & BIT(i)));
        i = ENTRY_OF(j);
        assert(G[j] == (i == 0 || p[i] == EXPUNGED -> DELETED : p[i]))
    };
    i = 0
}

inline lock()
{
    !mu -> mu = true
}

inline unlock()
{
#ifndef RESULTS_ONLY
    check();
#endif
    mu = false
}

inline leave_behind()
{
    for (j : 0 .. 1) {
        i = SLOT(TABLE(read), j);
        if
        :: i != 0 && SLOT(dirty, j) != i -> left_behind = left_behind | BIT(i); take_out(SLOT(TABLE(read), j))
        :: else
        fi
    };
    i = 0
}

inline retire_old(old)
{
    retire_table(old);
#ifndef FREED_BY_LOOKING
    retire(expunged);
#endif
#ifndef KEEP_EXPUNGED
    expunged = 0
#endif
}

/* Under mu, amended. In two steps, with what others may see in between. */
inline promote_begin()
{
    t = TABLE(read);
    d = dirty;
#if defined(PROMOTE_RETIRES_FIRST)
    retire_old(t)
#elif defined(DIRTY_FIRST)
    dirty = 0
#else
    promote_read()
#endif
}

inline promote_end()
{
#if defined(PROMOTE_RETIRES_FIRST)
    promote_read();
#elif defined(DIRTY_FIRST)
    dirty = d;
    promote_read();
    retire_old(t);
#else
    retire_old(t);
#endif
#ifndef KEEP_DIRTY
    dirty = 0;
#endif
    t = 0;
    d = 0
}

inline promote_read()
{
    leave_behind();
#ifdef KEEP_AMENDED
    read = 2 * dirty + 1
#else
    read = 2 * dirty
#endif
}

/* The end of a section under mu in which there was a miss, if in_dirty says so; within an atomic step. What begins with
 * t != 0 is completed by end_promotion. */
inline miss_and_unlock()
{
    if
    :: true -> unlock()
    :: in_dirty -> promote_begin()
    fi
}

#define end_promotion d_step { t != 0 -> promote_end(); unlock() }

/* ---- searches ---- */

/* Loads read and searches that table. */
inline find_in_read()
{
    r = read;
    assert(MAY_TOUCH_TABLE(TABLE(r)));
    e = SLOT(TABLE(r), k)
}

/* Under mu. */
inline find_under_mu(second_look)
{
    in_dirty = false;
    e = (second_look -> SLOT(TABLE(read), k) : 0);
    if
    :: e == 0 && IS_AMENDED(read) ->
        e = SLOT(dirty, k);
        in_dirty = true
    :: else
    fi
}

inline find_unlocked()
{
    do
    :: atomic { find_in_read() };
        if
        :: atomic { e != 0 || !IS_AMENDED(r) -> break }
        :: atomic { e == 0 && IS_AMENDED(r) -> d = dirty }; /* P4 */
            if
            :: atomic { d != 0 -> assert(MAY_TOUCH_TABLE(d)); e = SLOT(d, k); d = 0 }; /* P3 */
            :: atomic { d == 0 -> skip }
            fi;
            if
            :: atomic { e != 0 -> break }
#ifdef NO_RECHECK
            :: atomic { e == 0 -> break }
#else
            :: atomic { e == 0 && read == r -> break }
            :: atomic { e == 0 && read != r -> skip }
#endif
            fi
        fi
    od
}

#ifdef LOAD_NO_SECOND_LOOK
#define LOAD_LOOKS false
#else
#define LOAD_LOOKS true
#endif
#ifdef STORE_NO_SECOND_LOOK
#define STORE_LOOKS false
#else
#define STORE_LOOKS true
#endif
#ifdef DELETE_NO_SECOND_LOOK
#define DELETE_LOOKS false
#else
#define DELETE_LOOKS true
#endif

/* load_slow() of those that wait for mu. */
inline find_with_mu()
{
    atomic { lock(); find_under_mu(LOAD_LOOKS); miss_and_unlock() }
}

/* ---- writes ---- */

/* Under mu. */
inline find_to_write()
{
    atomic {
        lock();
#ifdef UNEXPUNGE_NO_MU
        expunged = expunged & ~BIT(removed);
        if
        :: removed != 0 && dirty != 0 -> SLOT(dirty, k) = removed
        :: else
        fi;
        removed = 0;
#endif
        find_under_mu(STORE_LOOKS);
        n = (e != 0 && p[e] == EXPUNGED);
        if
        :: n -> p[e] = DELETED
        :: else
        fi
    };
    if
    :: n ->
        d_step {
            expunged = expunged & ~BIT(e);
#ifndef NO_JOIN
            SLOT(dirty, k) = e;
#endif
            n = 0
        }
    :: else
    fi
}

inline try_expunge(which)
{
    e = SLOT(TABLE(read), which);
    if
    :: e != 0 ->
        assert(p[e] != EXPUNGED);
#ifdef EXPUNGE_NO_CAS
        n = p[e];
        if
        :: n == DELETED -> d_step { p[e] = EXPUNGED; expunged = expunged | BIT(e) }
        :: else -> SLOT(t, which) = e
        fi;
        n = 0
#else
        d_step {
            if
            :: p[e] == DELETED -> p[e] = EXPUNGED; expunged = expunged | BIT(e)
            :: else -> SLOT(t, which) = e
            fi
        }
#endif
    :: else
    fi;
    e = 0
}

/* A new table in t. Numbers are never used again. */
inline new_table()
{
    tables++;
    t = tables
}

/* Under mu; the key has no entry. */
inline add_new()
{
    if
    :: !IS_AMENDED(read) ->
#ifdef EXPUNGE_NO_CAS
        new_table();
        try_expunge(0);
        try_expunge(1);
#else
        atomic { new_table(); try_expunge(0) };
        atomic { try_expunge(1) };
#endif
        atomic { dirty = t; t = 0 };
        read = read | 1
#ifdef GROW
    :: IS_AMENDED(read) ->
        d_step { new_table(); SLOT(t, 0) = SLOT(dirty, 0); SLOT(t, 1) = SLOT(dirty, 1); d = dirty; dirty = t; t = 0 };
        d_step { retire_table(d); d = 0 }
#endif
    :: IS_AMENDED(read)
    fi;
    d_step {
        assert(G[k] == DELETED);
        entries++;
        p[entries] = new;
        SLOT(dirty, k) = entries;
        set_G(k, new);
        unlock();
        finish()
    }
}

/* ---- operations ---- */

#define LOAD               0
#define STORE              1
#define LOAD_OR_STORE      2
#define LOAD_AND_DELETE    3
#define COMPARE_AND_SWAP   4
#define COMPARE_AND_DELETE 5
#define OPERATIONS         6

#define DONE 9 /* n: the operation has ended */

inline load()
{
    if
    :: e == 0 && IS_AMENDED(r) ->
        if
        :: find_with_mu() /* try_lock() */
        :: find_unlocked() /* another has mu; to have fewer states, perhaps none has */
        fi
    :: else
    fi;
    do
    :: end_promotion
    :: atomic {
            t == 0 ->
            if
            :: e != 0 -> look(e)
            :: else -> returns(DELETED)
            fi;
            finish();
            break
        }
    od
}

inline store()
{
    d_step {
        if
#ifdef STORE_EXPUNGED
        :: e != 0 -> change(e, k, new); n = DONE
#else
        :: e != 0 && p[e] != EXPUNGED -> change(e, k, new); n = DONE
#endif
#ifdef UNEXPUNGE_NO_MU
        :: e != 0 && p[e] == EXPUNGED -> p[e] = DELETED; removed = e
#endif
        :: else -> assert(e == 0 || MAY_TOUCH(e))
        fi;
        if
        :: n == DONE -> finish(); n = DONE
        :: else
        fi
    };
    if
    :: n != DONE ->
        find_to_write();
        if
        :: e != 0 -> d_step { change(e, k, new); unlock(); finish() }
        :: else -> add_new()
        fi
    :: else
    fi
}

inline try_load_or_store()
{
    if
    :: p[e] == EXPUNGED -> assert(MAY_TOUCH(e))
    :: p[e] == DELETED -> change(e, k, new); n = DONE
    :: else -> look(e); n = DONE
    fi
}

inline load_or_store()
{
    d_step {
        if
        :: e != 0 -> try_load_or_store()
        :: else
        fi;
        if
        :: n == DONE -> finish(); n = DONE
        :: else
        fi
    };
    if
    :: n != DONE ->
        find_to_write();
        if
        :: e != 0 ->
            atomic { try_load_or_store(); assert(n == DONE); n = 0; miss_and_unlock() };
            do
            :: end_promotion
            :: atomic { t == 0 -> finish(); break }
            od
        :: else -> add_new()
        fi
    :: else
    fi
}

/* entry_delete(), or its like: nothing to delete is an answer, too. */
inline empty_entry()
{
    if
    :: e != 0 && LIVE(p[e]) -> change(e, k, DELETED)
    :: e != 0 && !LIVE(p[e]) -> look(e)
    :: else -> returns(DELETED)
    fi
}

inline unlink_from_dirty()
{
    removed = e;
    SLOT(dirty, k) = 0;
    take_out(e);
#ifndef EMPTY_FIRST
    assert(p[e] == G[k]);
    set_G(k, DELETED)
#endif
}

inline load_and_delete()
{
    if
    :: e == 0 && IS_AMENDED(r) ->
#ifdef EMPTY_FIRST
        atomic { lock(); find_under_mu(true); unlock() };
        d_step { empty_entry() };
        atomic {
            lock();
            d = e;
            find_under_mu(true);
            if
            :: in_dirty && e != 0 && e == d -> unlink_from_dirty()
            :: else
            fi;
            unlock();
            retire_removed();
            finish()
        };
        goto ended
#else
#ifdef RETIRE_FIRST
        atomic { lock(); find_under_mu(DELETE_LOOKS); if :: in_dirty && e != 0 -> retire(BIT(e)) :: else fi };
        atomic {
#else
        atomic {
            lock();
            find_under_mu(DELETE_LOOKS);
#endif
            if
            :: in_dirty && e != 0 -> unlink_from_dirty()
            :: else
            fi;
            miss_and_unlock()
        }
#endif
    :: else
    fi;
    do
    :: end_promotion
    :: atomic {
            t == 0 ->
#ifdef NEVER_EMPTIES
            if
            :: removed == 0 -> empty_entry()
            :: else
            fi;
#else
            empty_entry();
#endif
            closed = closed | (removed != 0 -> BIT(removed) : 0);
            break
        }
    od;
    atomic {
#ifndef RETIRE_FIRST
        retire_removed();
#endif
        finish()
    }
}

/* What was expected is there, if anything is: else it would only look. */
inline compare_and_set(v)
{
    if
    :: e == 0 && IS_AMENDED(r) -> find_with_mu()
    :: else
    fi;
    do
    :: end_promotion
    :: atomic {
            t == 0 ->
            if
            :: e != 0 && LIVE(p[e]) -> change(e, k, v)
            :: e != 0 && !LIVE(p[e]) -> look(e)
            :: else -> returns(DELETED)
            fi;
            finish();
            break
        }
    od
}

proctype process(byte me)
{
    byte op, k, e, r, d, t, removed, n, new, left = OPS;
    bool in_dirty;
    do
    :: atomic {
            left > 0 ->
            if
            :: left == OPS -> op = first[me] / 2; k = first[me] % 2
            :: left != OPS -> select(op : 0 .. OPERATIONS - 1); select(k : 0 .. 1)
            fi;
            n = 0;
            new = 1 + PROCS * (OPS - left) + me + 1;
            first[me] = 0;
            left--;
            start(k);
            find_in_read() /* every operation begins so */
        };
        if
        :: op == LOAD -> load()
        :: op == STORE -> store()
        :: op == LOAD_OR_STORE -> load_or_store()
        :: op == LOAD_AND_DELETE -> load_and_delete()
        :: op == COMPARE_AND_SWAP -> compare_and_set(new)
        :: op == COMPARE_AND_DELETE -> compare_and_set(DELETED)
        fi;
ended:
        n = 0
    :: atomic { left == 0 -> break }
    od
}

#ifdef BEGIN
#define BEGINS(n) (BEGIN == n)
#else
#define BEGINS(n) true
#endif

/* How the map begins. Table 1 is read, entry 1 has key 0. */
inline begin()
{
    if
    :: BEGINS(0) -> read = 2 /* nothing */
    :: BEGINS(1) -> read = 2; SLOT(1, 0) = 1; p[1] = 1 /* read: k0 */
    :: BEGINS(2) -> read = 2; SLOT(1, 0) = 1; p[1] = DELETED /* read: k0, deleted */
    :: BEGINS(3) -> read = 3; dirty = 2; SLOT(2, 0) = 1; p[1] = 1 /* dirty: k0 */
    :: BEGINS(4) -> read = 3; dirty = 2; SLOT(1, 0) = 1; SLOT(2, 0) = 1; p[1] = 1 /* both: k0; k1 has left dirty */
    :: BEGINS(5) -> read = 3; dirty = 2; SLOT(1, 0) = 1; p[1] = EXPUNGED; expunged = BIT(1); SLOT(2, 1) = 2; p[2] = 1 /* k0 expunged; dirty: k1 */
    fi;
    for (i : 0 .. 1) {
        j = ENTRY_OF(i);
        G[i] = (j == 0 || p[j] == EXPUNGED -> DELETED : p[j])
    };
    i = 0;
    j = 0
}

init {
    byte choice;
    atomic {
        begin();
        /* Processes are alike, so their first operations may be taken in order. */
        select(choice : 0 .. 2 * OPERATIONS - 1);
        first[0] = choice;
        select(choice : first[0] .. 2 * OPERATIONS - 1);
        first[1] = choice;
#if PROCS == 3
        select(choice : first[1] .. 2 * OPERATIONS - 1);
        first[2] = choice;
#endif
        choice = 0;
        run process(0);
        run process(1)
#if PROCS == 3
        ; run process(2)
#endif
    }
}
