/* SPDX-License-Identifier: MIT
 *
 * The buckets of flat (src/flat.h): headers, lock-free searches, sections, overflow buckets that are used again, moving.
 *
 * WHAT IS MODELLED. PROCS processes make OPS operations each on the integer keys 0, 2 and 4: load, store (swap), load_or_store,
 * load_and_delete, compare_and_swap, a walk over the key's bucket, and moving of a group of buckets to next (with promotion
 * after the last), in every combination, on a map that begins in one of some states (see begin()). The root has a next from the
 * beginning. A hash has three bits and is the key. Without HALVE the root has two buckets and next four (0 and 2 share a
 * bucket, and part when it is moved), with HALVE four and two (0 and 2 come together). Keys 1 and 5 are there in some
 * states only to make chains longer.
 *
 * A bucket has one slot. So the second key of a home is in an overflow bucket, and three keys make a chain of three; that a search
 * reads the slots of one bucket one after the other is what it does here with the buckets of a chain. Foreign words (V5)
 * are as in the code, which makes each of the three keys the foreign word of a bucket that another one has or gets; memory that
 * was never used reads as key 0. The buckets of next begin with keys that belong there, and false values: nobody may look.
 *
 * Every access without the lock, and every change under it that others may see, is a step of its own. Merged into one step are:
 *
 *   - root and the beginning of an operation; a load and what is decided from it alone;
 *   - taking from and giving to the stack of overflow buckets (one CAS each), and making one taken ready (but for its key);
 *   - what is only looked at under the lock by who has it;
 *   - copying a group to next, where by V8 nobody is.
 *
 * A writer waits for a lock before it begins to search, as spot_find() does; a search does not. An operation begins with its first step
 * and ends with its last.
 *
 * KEEP: the keys are strings, and the records of those that are deleted are kept. A word is a key, which stands for its record, or
 * none. A deletion takes the value only; so homes keep, and an overflow bucket is unlinked with what it keeps. Who inserts revives what
 * is kept of the key; else takes the first free slot; else the first kept one, and evicts what it keeps; else an overflow bucket. To
 * evict is two steps, before the new word and the value: no word, and a further version. Loads, deletions and compare_and_swap pass by
 * slots without a value, and read words after values; a load may try the home's first slot before it searches, as flat_load_text()
 * does. A walk reads a word before the value. Moving leaves behind what is kept.
 *   WIDE     with KEEP: a home has two slots. So a key may be kept beside a free slot, another key, or another that is kept.
 *   LARGE=k  with KEEP: the record of key k is not kept
 *
 * FILTER: each home has bits (ABSENT KEYS), here two, of which a key has one. load asks them at each home that it comes to, load_and_delete and
 * compare_and_swap at the root's, in a step of its own before the header is read. Who inserts sets the bit under the lock, before the key is there; a
 * deletion makes them anew from the keys that are left, if there is no overflow bucket; who moves a group sets all without the lock, and
 * sees to it under the lock that they are. The bits of next's homes begin with none.
 *
 * NOT MODELLED. That another order than one for all might be seen: spin works with sequential consistency only, so that P1 to P9, and
 * the fences round the end of a section, are not what is checked here (stress/litmus does that for two keys, on the machine it runs
 * on). Tags (each slot may have the key) and ages; clear; counts, and when to grow; reclamation (reclaim.pml: who is in a table keeps
 * it, and what was evicted); want of memory; a second next, and reseeding.
 *
 * ASSERTED
 *   linearizable  A ghost map G, one value a key, changes where operations take effect: at the store of the value, or of the link
 *                 to its overflow bucket. An operation that changes a value must find G's there (so of two that insert
 *                 one key, one wins; and with KEEP, of what replaces or deletes one, that there is one). One that only looks must
 *                 return a value that G had for that key between its beginning and its end.
 *                 So a value of another key, or none where there was always one, is an error.
 *   at the end    the map holds what G holds: nothing is lost in a move.
 *   V1, V5, V7    whenever a section ends: each key with a value is where V1 says, once, and with G's value; free slots
 *                 have foreign words; no overflow bucket in a chain is free. With KEEP: a slot has no word, or that of a key
 *                 of its bucket, which no other slot of it has, be it present or kept; no overflow bucket only keeps.
 *
 *    V11           With FILTER: a key's bit is set.
 *
 * RESULTS_ONLY leaves V1, V5, V7 and V11 out: what of that gives a wrong result? The switches are run so.
 *
 * SWITCHES. Each takes one thing away; the model must then fail.
 *   INSERT_KEEPS_VERSION   no new version for a new key
 *   DELETE_KEEPS_VERSION   nor for one that goes
 *   VERSION_AT_UNLOCK      the new version comes when the section ends, after the words
 *   FREE_KEEPS_WORD        the word of a free slot stays the key's: a search in the section that puts another key there sees the
 *                          old word with the new value
 *   HIT_NOT_VALIDATED      load returns what it found without a second look
 *   MISS_NOT_VALIDATED     or that it found nothing
 *   UNLINK_KEEPS_VERSION   no second new version for an overflow bucket that was unlinked: who is in it misses what was behind it
 *   GIVEN_EARLY            it is given away before the section has ended
 *   LINKED_FIRST           an overflow bucket is linked before it is made
 *   LOCK_IGNORES_VERSION   a writer takes the lock of a bucket that has changed since it searched
 *   LOCK_IGNORES_MOVED     or was moved since
 *   NO_RECHECK             compare_and_swap does not look at the value again under the lock
 *   MOVED_EARLY            MOVED before the copy
 *   MOVED_IGNORED          a search reads a bucket that was moved
 *   ONE_HALF               with HALVE: only the first of the two is locked
 *   PROMOTED_EARLY         promotion after the first group
 * With KEEP:
 *   EVICTS_IN_ONE_VERSION  no further version when a record is evicted: a walk that began in that section reads the old word, and
 *                          the new key's value. (A load does not: it finds no value beside the old word. With FEW there is no bug.)
 *   EVICTS_AT_UNLOCK       it comes when the section ends, as for an overflow bucket that was unlinked
 *   EVICTS_AFTER_VERSION   it comes before the old word goes
 *   REVIVAL_KEEPS_VERSION  no new version for a key that is revived: another writer that found it kept revives it once more
 *   TEXT_NOT_VALIDATED     what the home's first slot tells a load counts without a second look, though value and word are of two times
 *   DELETES_KEPT           load_and_delete does not pass by what is kept
 *   KEPT_IGNORED           store does, and puts its key into a free slot; then load_or_store finds it kept in the other. (With WIDE:
 *                          in a home of one slot the key would evict itself.)
 *   MOVES_KEPT             moving does not leave behind what is kept. Not with RESULTS_ONLY, but with HALVE: an overflow bucket of next
 *                          may have no key (V7)
 * With FILTER:
 *   BIT_LATE               the bit is set after the key is there: a walk sees the key, and then a load does not
 *   CLEARS_BIT             a deletion clears its key's bit, whoever else has it
 *   CLEARS_CHAIN           or makes the bits anew from the home, whatever is behind it
 *   NOT_OPENED             moving leaves the bits as they are
 *   OPENED_EARLY           or sets all only before it has the lock: a deletion makes them anew in between
 *   OPENED_LATE            or only after MOVED
 *   BITS_NOT_MOVED         next's bits stay none
 * Three take away what no result depends on, and must not fail:
 *   LOOK_WITHOUT_MOVED     searches do not mind MOVED in their second look: what was found in a bucket that was moved meanwhile was true when
 *                          MOVED was set, so after the search began. (Writers look by their CAS, and need it: LOCK_IGNORES_MOVED.)
 *   VALUE_FIRST            a new key's value before its word: it is there from the later of the two on
 *   LOADS_FIND_KEPT        with KEEP: loads do not pass by what is kept, and read words first
 *
 * FEW leaves out compare_and_swap and walk. BEGIN and ALSO: only these of the states that begin() has.
 * Explored to the end, each in one run of seconds: what check.sh says; by hand, besides: all states with 3 processes and 1 operation each,
 * and with 2 and 2, without FEW, with and without HALVE, KEEP, and WIDE.
 */
#ifndef PROCS
#define PROCS 2
#endif
#ifndef OPS
#define OPS 2
#endif

#ifdef HALVE
#define HOMES0 4
#define SHIFT0 1
#define HOMES1 2
#define SHIFT1 2
#define GROUP  2
#else
#define HOMES0 2
#define SHIFT0 2
#define HOMES1 4
#define SHIFT1 1
#define GROUP  1
#endif
#define OVERFLOW0 4
#define OVERFLOW1 6

/* The second slot of a home counts as a bucket, which is always linked behind it, and has the link of both. */
#ifdef WIDE
#define SECONDS(homes) (homes)
#define SECOND(h) ((h) + (IN_NEXT(h) -> HOMES1 : HOMES0))
#define TAIL(h) SECOND(h) /* what has the link of home h */
#else
#define SECONDS(homes) 0
#define SECOND(h) 0
#define TAIL(h) (h)
#endif
#define IN_HOME(b, h) ((b) == (h) || (b) == SECOND(h))

/* Buckets are numbered from 1: homes (and second slots) and overflow of the first table, then of its next. 0: none. */
#define FIRST0  1
#define OVER0   (FIRST0 + HOMES0 + SECONDS(HOMES0))
#define FIRST1  (OVER0 + OVERFLOW0)
#define OVER1   (FIRST1 + HOMES1 + SECONDS(HOMES1))
#define BUCKETS (OVER1 + OVERFLOW1)

#define LOCKED  1
#define MOVED   2
#define VERSION 4

/* Choices: MOVE of two groups, then the operations on each of three keys. */
#define LOAD             0
#define STORE            1
#define LOAD_OR_STORE    2
#define LOAD_AND_DELETE  3
#define COMPARE_AND_SWAP 4
#define WALK             5
#define MOVE             6
#define CHOICE(op)       (2 + 3 * (op))
#ifdef FEW
#define CHOICES          CHOICE(COMPARE_AND_SWAP)
#else
#define CHOICES          CHOICE(MOVE)
#endif

#define KEYS 6
#define NO_KEY KEYS
#define FALSE_VALUE 14

#define BIT(i) (1 << (i))

byte header[BUCKETS];
byte word[BUCKETS];
byte value[BUCKETS];
byte link[BUCKETS];
#ifdef FILTER
byte filter[BUCKETS]; /* of homes */
#endif
bool promoted;   /* root is next */
byte left_groups; /* to be moved */
int free;        /* set of overflow buckets */

/* Ghosts. */
byte G[KEYS];
short seen[PROCS]; /* set of the values that G had for its key since the operation began */
byte key[PROCS];
byte under_way;    /* set of processes */
byte ended;

hidden byte i, j, f;
byte first[PROCS]; /* the first operation of each */

#define HOME0(k) (FIRST0 + ((k) >> SHIFT0))
#define HOME1(k) (FIRST1 + ((k) >> SHIFT1))
#define IN_NEXT(b) ((b) >= FIRST1)
#define BELONGS(h, k) ((h) == (IN_NEXT(h) -> HOME1(k) : HOME0(k)))
#ifdef KEEP
#define FOREIGN(h) NO_KEY
#else
#define FOREIGN(h) (IN_NEXT(h) -> (((h) - FIRST1) ^ 1) << SHIFT1 : (((h) - FIRST0) ^ 1) << SHIFT0)
#endif
#define HOME(t, k) (IN_NEXT(t) -> HOME1(k) : HOME0(k))
#define FILTER_BIT(k) BIT((k) & 1) /* 0, 2 and 4 have the same */
#define FILTER_ALL 3

/* By V1. */
#define WHERE(k) (promoted || (header[HOME0(k)] & MOVED) -> HOME1(k) : HOME0(k))

/* ---- ghosts ---- */

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

/* The operation takes effect: the key's value was `old`, and is v. */
inline change(old, v)
{
    assert(G[k] == old);
    set_G(k, v)
}

/* The operation returns v (0: nothing), and changed nothing. */
inline returns(v)
{
    assert(seen[me] & BIT(v))
}

/* f: the value of key j, where V1 says; it is there once in most. */
inline find_by_V1()
{
    i = WHERE(j);
    f = 0;
    do
    :: i != 0 ->
        if
        :: word[i] == j && value[i] != 0 -> assert(f == 0); f = value[i]
        :: else
        fi;
        i = link[i]
    :: else -> break
    od
}

inline check_map()
{
    for (j : 0 .. KEYS - 1) {
        find_by_V1();
        assert(f == G[j])
    };
    j = 0; f = 0
}

/* A section in bucket h is about to end. */
inline check(h)
{
#ifdef RESULTS_ONLY
    skip
#else
    check_map();
    i = h;
    do
    :: i != 0 ->
#ifdef KEEP
        assert(word[i] != NO_KEY -> BELONGS(h, word[i]) && !(f & BIT(word[i])) : value[i] == 0); /* V1, V5 */
        f = f | (word[i] != NO_KEY -> BIT(word[i]) : 0);
#else
        assert(value[i] != 0 -> BELONGS(h, word[i]) : !BELONGS(h, word[i])); /* V1, V5 */
#endif
        assert(IN_HOME(i, h) || value[i] != 0); /* V7 */
#ifdef FILTER
        assert(value[i] == 0 || (filter[h] & FILTER_BIT(word[i])) != 0); /* V11 */
#endif
        i = link[i]
    :: else -> break
    od;
    f = 0
#endif
}

inline start()
{
    under_way = under_way | BIT(me);
    key[me] = k;
    seen[me] = BIT(G[k])
}

/* It gives back an overflow bucket that it did not need, too. */
inline finish()
{
    free = free | spares;
    under_way = under_way & ~BIT(me);
    seen[me] = 0;
    key[me] = 0;
    op = 0; k = 0; home = 0; h = 0; b = 0; l = 0; at = 0; last = 0; n = 0; late = 0; spares = 0; new = 0;
#ifdef KEEP
    revives = false;
#endif
    if
    :: left == 0 ->
        ended++;
        if
        :: ended == PROCS -> check_map()
        :: else
        fi
    :: else
    fi
}

/* ---- searches ---- */

#ifdef LOOK_WITHOUT_MOVED
#define LOOK (LOCKED | MOVED)
#else
#define LOOK LOCKED
#endif
#define UNCHANGED (((header[home] ^ h) & ~(LOCKED)) == 0)
#define UNCHANGED_FOR_SEARCH (((header[home] ^ h) & ~(LOOK)) == 0)
#ifdef MOVED_IGNORED
#define FOLLOWS (IS_WRITER && (header[home] & MOVED))
#else
#define FOLLOWS (header[home] & MOVED)
#endif
#define IS_WRITER (op != LOAD && op != WALK)

/* The operation may be over, by what the filter tells. */
inline ask_filter()
{
#ifdef FILTER
    if
    :: atomic { !(filter[home] & FILTER_BIT(k)) -> returns(0); finish(); goto over }
    :: atomic { (filter[home] & FILTER_BIT(k)) -> skip }
    fi
#else
    skip
#endif
}

/* Reads the header, of next's bucket if need be; writers wait. */
inline begin_search()
{
    do
#ifdef FILTER
    :: atomic { FOLLOWS -> home = HOME1(k) };
        if
        :: op == LOAD -> ask_filter()
        :: op != LOAD
        fi
    :: atomic { !FOLLOWS && (!IS_WRITER || !(header[home] & LOCKED)) -> h = header[home]; b = home; break }
#else
    :: atomic {
            FOLLOWS || !IS_WRITER || !(header[home] & LOCKED) ->
            if
            :: FOLLOWS -> home = HOME1(k)
            :: else -> h = header[home]; b = home; break
            fi
        }
#endif
    od
}

#ifdef FREE_KEEPS_WORD /* writers know better, so that what a load returns is what shows */
#define HAS_KEY (word[b] == k && !(IS_WRITER && value[b] == 0))
#else
#define HAS_KEY (word[b] == k)
#endif

#ifdef KEEP

#if defined(LOADS_FIND_KEPT)
#define PASSES_KEPT (op == LOAD_AND_DELETE || op == COMPARE_AND_SWAP)
#elif defined(DELETES_KEPT)
#define PASSES_KEPT (op == LOAD || op == COMPARE_AND_SWAP)
#elif defined(KEPT_IGNORED)
#define PASSES_KEPT (op != LOAD_OR_STORE)
#else
#define PASSES_KEPT (op != STORE && op != LOAD_OR_STORE)
#endif
#ifdef WIDE
#define FIRST_OF_TWO(b) ((b) == home)
#else
#define FIRST_OF_TWO(b) false
#endif

/* The bucket that has the key: at. The link is read first: it goes with the tags. Who passes by what is kept reads a word only if
 * there is a value. */
inline find()
{
    at = 0;
    begin_search();
    do
    :: atomic {
            if
            :: b == SECOND(home) /* its link was read with the home's tags */
            :: else -> l = link[(b == home -> TAIL(home) : b)]
            fi
        };
        if
        :: PASSES_KEPT && value[b] == 0
        :: PASSES_KEPT && value[b] != 0 -> at = (word[b] == k -> b : 0)
        :: atomic { !PASSES_KEPT -> at = (word[b] == k -> b : 0) }
        fi;
        atomic {
            if
            :: at == 0 && FIRST_OF_TWO(b) -> b = SECOND(b)
            :: at == 0 && !FIRST_OF_TWO(b) && l != 0 && UNCHANGED_FOR_SEARCH -> b = l; l = 0
            :: else -> b = 0; l = 0; break
            fi
        }
    od
}

#else

/* The bucket that has the key: at. */
inline find()
{
    at = 0;
    begin_search();
    do
    :: l = link[b];
        atomic {
            if
            :: HAS_KEY -> at = b; l = 0; b = 0; break
            :: !HAS_KEY && l == 0 -> b = 0; break
            :: else
            fi
        };
        atomic {
            if
            :: UNCHANGED_FOR_SEARCH -> b = l; l = 0
            :: else -> b = 0; l = 0; break
            fi
        }
    od
}

#endif

#ifdef KEEP
/* flat_load_text(): what the first slot of the home can tell, whose value is read before its word. If that does not tell, or was not
 * tried, the search follows. */
inline load_text()
{
    if
    :: atomic { !(header[home] & (LOCKED | MOVED)) -> h = header[home] };
        l = link[TAIL(home)];
        atomic {
            n = value[home];
            at = (n == 0 && l == 0 && !FIRST_OF_TWO(home)) /* whether it tells */
        };
        l = 0;
        if
        :: n == 0
        :: n != 0 -> at = (word[home] == k)
        fi;
        atomic {
            if
            :: at != 0 && UNCHANGED_FOR_SEARCH -> returns(n); finish(); goto loaded
#ifdef TEXT_NOT_VALIDATED
            :: at != 0 && n != 0 && !UNCHANGED_FOR_SEARCH -> returns(n); finish(); goto loaded
#endif
            :: else -> n = 0; h = 0
            fi
        }
    :: true
    fi
}
#endif

inline load()
{
#ifdef KEEP
    load_text();
#endif
    ask_filter();
    do
    :: find();
        if
        :: at != 0 -> n = value[at]
        :: else
        fi;
        atomic {
            if
            :: UNCHANGED_FOR_SEARCH -> returns(n); finish(); break
#ifdef HIT_NOT_VALIDATED
            :: !UNCHANGED_FOR_SEARCH && n != 0 -> returns(n); finish(); break
#endif
#ifdef MISS_NOT_VALIDATED
            :: !UNCHANGED_FOR_SEARCH && n == 0 -> returns(0); finish(); break
#endif
            :: else -> n = 0
            fi
        }
    od
#ifdef KEEP
    ; loaded: skip
#endif
}

/* Of all that a walk finds in the chain, `n` is the value of the key. */
inline walk()
{
    do
    :: b == 0 -> begin_search()
    :: atomic { b != 0 -> at = word[b] };
        atomic {
            if
            :: at == k && value[b] != 0 -> n = value[b]
            :: else /* another key, or a foreign word, which walk_wants() leaves out */
            fi;
            at = 0
        };
        l = link[b];
        atomic {
            if
            :: UNCHANGED_FOR_SEARCH && l != 0 -> b = l; l = 0
            :: UNCHANGED_FOR_SEARCH && l == 0 -> returns(n); finish(); break
            :: else -> b = 0; l = 0; n = 0
            fi
        }
    od
}

/* ---- sections ---- */

#if defined(LOCK_IGNORES_VERSION)
#define MAY_LOCK ((header[home] & (LOCKED | MOVED)) == 0)
#elif defined(LOCK_IGNORES_MOVED)
#define MAY_LOCK ((header[home] & ~MOVED) == h)
#else
#define MAY_LOCK (header[home] == h)
#endif

#ifdef VERSION_AT_UNLOCK
#define take_lock(version) header[home] = header[home] + LOCKED; late = version
#else
#define take_lock(version) header[home] = header[home] + LOCKED + (version)
#endif
#ifdef INSERT_KEEPS_VERSION
#define INSERT_VERSION 0
#else
#define INSERT_VERSION VERSION
#endif
#ifdef DELETE_KEEPS_VERSION
#define DELETE_VERSION 0
#else
#define DELETE_VERSION VERSION
#endif
#ifdef REVIVAL_KEEPS_VERSION
#define REVIVAL_VERSION 0
#else
#define REVIVAL_VERSION VERSION
#endif

/* n: whether it has the lock. */
inline lock(version)
{
    atomic {
        if
        :: MAY_LOCK -> take_lock(version); h = header[home]; n = 1
        :: else ->
#ifdef KEEP
            revives = false;
#endif
            h = 0; n = 0; at = 0; last = 0
        fi
    }
}

inline unlock()
{
    check(home);
    header[home] = h - LOCKED + late
}

/* Takes an overflow bucket of home's table, if it has none; one of another table is given back. The lowest: one that was
 * used before sooner than one that was not. */
inline take_overflow()
{
    if
    :: spares != 0 && IN_NEXT(home) && (spares & (BIT(FIRST1) - 1)) -> free = free | spares; spares = 0
    :: else
    fi;
    if
    :: spares == 0 ->
        i = (IN_NEXT(home) -> OVER1 : OVER0);
        do
        :: free & BIT(i) -> break
        :: else -> i++; assert(i < (IN_NEXT(home) -> BUCKETS : FIRST1)) /* the model is large enough */
        od;
        spares = BIT(i);
        free = free & ~BIT(i);
        i = 0
    :: else
    fi
}

#ifdef KEEP

/* Room for a new key: the first free slot `at`, or the first kept one; or none, and an overflow bucket that goes behind `last`. */
inline find_seat()
{
    b = home;
    do
    :: if
        :: value[b] != 0
        :: value[b] == 0 ->
            atomic {
                if
                :: word[b] == NO_KEY -> at = b; b = 0; break
                :: word[b] != NO_KEY && at == 0 -> at = b
                :: else
                fi
            }
        fi;
        atomic {
            l = link[b];
            if
            :: l == 0 -> last = (at == 0 -> b : 0); b = 0; break
            :: else
            fi
        };
        atomic {
            if
            :: UNCHANGED -> b = l; l = 0
            :: else -> last = (at == 0 -> b : 0); b = 0; l = 0; break
            fi
        }
    od;
    if
    :: last != 0 -> atomic { take_overflow() }
    :: else
    fi
}

#else

/* Room for a new key: the free slot `at`; or none, and an overflow bucket that goes behind `last`. */
inline find_seat()
{
    b = home;
    do
    :: atomic {
            if
            :: value[b] == 0 -> at = b; b = 0; break
            :: else
            fi
        };
        atomic {
            l = link[b];
            if
            :: l == 0 -> last = b; b = 0; break
            :: else
            fi
        };
        atomic {
            if
            :: UNCHANGED -> b = l; l = 0
            :: else -> last = b; b = 0; l = 0; break
            fi
        }
    od;
    if
    :: last != 0 -> atomic { take_overflow() }
    :: else
    fi
}

#endif

#ifdef VALUE_FIRST
#define fill_first  value[at] = new
#define fill_second word[at] = k
#else
#define fill_first  word[at] = k
#define fill_second value[at] = new
#endif

#if defined(EVICTS_IN_ONE_VERSION)
#define new_version_of_eviction skip
#elif defined(EVICTS_AT_UNLOCK)
#define new_version_of_eviction h = h + VERSION
#else
#define new_version_of_eviction h = h + VERSION; header[home] = h
#endif

/* Frees the kept slot `at`, in a section. */
inline evict()
{
#ifdef EVICTS_AFTER_VERSION
    d_step { new_version_of_eviction };
    word[at] = NO_KEY
#else
    word[at] = NO_KEY;
    d_step { new_version_of_eviction }
#endif
}

/* Before the key is there, under the lock. */
inline set_bit()
{
#ifdef FILTER
    filter[home] = filter[home] | FILTER_BIT(k)
#else
    skip
#endif
}

/* Puts the new key into the seat, and ends the section. */
inline insert()
{
#if defined(FILTER) && !defined(BIT_LATE)
    set_bit();
#endif
    if
#ifdef KEEP
    :: last == 0 ->
        if
        :: word[at] == NO_KEY
        :: word[at] != NO_KEY -> evict()
        fi;
#else
    :: last == 0 ->
#endif
        fill_first;
        d_step { fill_second; change(0, new) }
    :: else ->
        d_step {
            do
            :: BIT(at) & spares -> break
            :: else -> at++
            od;
            spares = 0
        };
#ifdef LINKED_FIRST
        link[last] = at;
#endif
        d_step { link[at] = 0; word[at] = FOREIGN(home); value[at] = 0 };
        fill_first;
#ifdef LINKED_FIRST
        d_step { fill_second; change(0, new) }
#else
        fill_second;
        d_step { link[last] = at; change(0, new) }
#endif
    fi;
#ifdef BIT_LATE
    set_bit();
#endif
    d_step { unlock(); finish() }
}

#ifdef KEEP
/* Gives the key in the kept slot `at` a value again, and ends the section. */
inline revive()
{
#ifdef FILTER
    set_bit();
#endif
    d_step { change(0, new); value[at] = new };
    d_step { unlock(); finish() }
}
#endif

inline replace()
{
#ifdef KEEP
    d_step { assert(value[at] != 0); change(value[at], new); value[at] = new };
#else
    d_step { change(value[at], new); value[at] = new };
#endif
    d_step { unlock(); finish() }
}

/* ---- operations ---- */

/* store, and a load_or_store that has found nothing (in == 0) */
inline store()
{
    do
    :: find();
#ifdef KEEP
        if
        :: at == 0 || PASSES_KEPT
        :: at != 0 && !PASSES_KEPT -> revives = (value[at] == 0)
        fi;
#endif
        if
#ifdef KEEP
        :: revives ->
            lock(REVIVAL_VERSION);
            if
            :: n != 0 -> revive(); break
            :: else
            fi
        :: at != 0 && !revives && op == STORE ->
#else
        :: at != 0 && op == STORE ->
#endif
            lock(0);
            if
            :: n != 0 -> replace(); break
            :: else
            fi
#ifdef KEEP
        :: at != 0 && !revives && op == LOAD_OR_STORE ->
#else
        :: at != 0 && op == LOAD_OR_STORE ->
#endif
            n = value[at];
            atomic {
                if
                :: UNCHANGED -> assert(n != 0); returns(n); finish(); break
                :: else -> n = 0
                fi
            }
        :: else ->
            find_seat();
            lock(INSERT_VERSION);
            if
            :: n != 0 -> insert(); break
            :: else
            fi
        fi
    od
}

inline finds_nothing()
{
    atomic {
        if
        :: UNCHANGED -> returns(0); finish(); break
        :: else
        fi
    }
}

inline unlink()
{
    b = home;
    do
    :: link[b] == at -> break
    :: else -> b = link[b]
    od;
    link[b] = link[at];
    b = 0;
    last = at;
#ifndef UNLINK_KEEPS_VERSION
    h = h + VERSION
#endif
}

/* A key has left its bucket. */
inline remake_bits()
{
#if defined(CLEARS_BIT)
    filter[home] = filter[home] & ~(FILTER_BIT(k))
#else
    if
#ifdef CLEARS_CHAIN
    :: true ->
#else
    :: link[TAIL(home)] != 0
    :: else ->
#endif
        filter[home] = (value[home] != 0 -> FILTER_BIT(word[home]) : 0);
#ifdef WIDE
        filter[home] = filter[home] | (value[SECOND(home)] != 0 -> FILTER_BIT(word[SECOND(home)]) : 0)
#endif
    fi
#endif
}

inline load_and_delete()
{
    ask_filter();
    do
    :: find();
        if
        :: at == 0 -> finds_nothing()
        :: else ->
            lock(DELETE_VERSION);
            if
            :: n != 0 -> break
            :: else
            fi
        fi
    od;
    if
    :: op != 0 ->
#ifdef KEEP
        d_step { assert(value[at] != 0); change(value[at], 0); value[at] = 0 };
#else
        d_step { change(value[at], 0); value[at] = 0 };
#endif
#ifdef KEEP
#ifdef LARGE /* a key whose record is not kept */
        if
        :: k == LARGE -> word[at] = NO_KEY
        :: k != LARGE
        fi;
#endif
#elif !defined(FREE_KEEPS_WORD)
        word[at] = FOREIGN(home);
#endif
        if
        :: !IN_HOME(at, home) -> d_step { unlink() }
        :: else
        fi;
#ifdef FILTER
        d_step { remake_bits() };
#endif
#ifdef GIVEN_EARLY
        free = free | (last != 0 -> BIT(last) : 0);
        d_step { unlock(); finish() }
#else
        d_step { unlock() };
        d_step { free = free | (last != 0 -> BIT(last) : 0); finish() }
#endif
    :: else
    fi
}

/* What was expected is there, if anything is: else it would only look. new: what it returns as the value before. */
inline compare_and_swap()
{
    ask_filter();
    do
    :: find();
        if
        :: at == 0 -> finds_nothing()
        :: else ->
            last = value[at];
            atomic {
                if
                :: UNCHANGED
                :: else -> last = 0
                fi
            };
            if
            :: last != 0 ->
                b = last;
                lock(0);
                if
#ifdef NO_RECHECK
                :: n != 0 ->
#else
                :: n != 0 && value[at] == b ->
#endif
                    d_step { change(b, new); value[at] = new };
                    d_step { unlock(); finish() };
                    break
                :: n != 0 && value[at] != b -> d_step { unlock(); n = 0; b = 0; last = 0 }
                :: else -> b = 0
                fi
            :: else
            fi
        fi
    od
}

#include "flat_move.inc"

proctype process(byte me)
{
    byte op, k, home, h, b, l, at, last, n, late, new, left = OPS;
    int spares;
#ifdef KEEP
    bool revives;
#endif
    do
    :: atomic {
            left > 0 ->
            if
            :: left == OPS -> n = first[me]
            :: left != OPS -> select(n : 0 .. CHOICES - 1)
            fi;
            if
            :: n < CHOICE(LOAD) -> op = MOVE; k = 4 * n
            :: n >= CHOICE(LOAD) -> op = (n - CHOICE(LOAD)) / 3; k = 2 * ((n - CHOICE(LOAD)) % 3)
            fi;
            n = 0;
            first[me] = 0;
            new = KEYS + 1 + PROCS * (OPS - left) + me;
            left--;
            start();
            home = (promoted -> HOME1(k) : HOME0(k))
        };
        if
        :: op == LOAD -> load()
        :: op == STORE || op == LOAD_OR_STORE -> store()
        :: op == LOAD_AND_DELETE -> load_and_delete()
        :: op == COMPARE_AND_SWAP -> compare_and_swap()
        :: op == WALK -> walk()
        :: op == MOVE && IN_NEXT(home) -> d_step { finish() }
        :: op == MOVE && !IN_NEXT(home) -> move_group()
        fi;
over:
        skip
    :: atomic { left == 0 -> break }
    od
}

init {
    byte choice;
    atomic {
        begin();
        /* Processes are alike, so their first operations may be taken in order. */
#if PROCS == 3
        if /* of three, one loads or walks */
        :: select(choice : CHOICE(LOAD) .. CHOICE(STORE) - 1)
#ifndef FEW
        :: select(choice : CHOICE(WALK) .. CHOICES - 1)
#endif
        fi;
        first[2] = choice;
        select(choice : 0 .. CHOICES - 1);
        first[0] = choice;
        select(choice : first[0] .. CHOICES - 1);
        first[1] = choice;
#else
        select(choice : 0 .. CHOICES - 1);
        first[0] = choice;
        select(choice : first[0] .. CHOICES - 1);
        first[1] = choice;
#endif
        choice = 0;
        run process(0);
        run process(1)
#if PROCS == 3
        ; run process(2)
#endif
    }
}
