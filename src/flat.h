/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: one table of cache-line buckets, searched with no lock, written under the lock of one bucket, and moved to
 * its successor a few buckets at a time.
 *
 *     root (word)                 table                                         next (while it is moved)
 *     [table | shift]  ------->   bucket 0  [h|tags|w w w|v v v] -> overflow    bucket 0  [...]
 *                                 bucket 1  [MOVED ............]                bucket 1  [...]
 *                                 bucket 2  [h|tags|w w w|v v v]                bucket 2  (not yet anybody's)
 *                                 ...                                           ...
 *                                 filter: 16 bits for each bucket, if the table is large
 *                                 overflow buckets, by index
 *
 * The names are those of the first engine: the root is what `read` was there, the table that is searched first; its `next` is the
 * dirty, where what read cannot take goes; moving makes the dirty complete, and then it is promoted. But nothing is copied at
 * once, new keys need no common lock, and a search never depends on one being given back.
 *
 * A bucket (bucket.h) has three keys. Which bucket: by the high bits of the hash. Bucket i of a table is exactly buckets 2i and
 * 2i + 1 of one twice as large, so moving is a sequential walk. A bucket that is full gets overflow buckets, chained to it, from
 * an array of its table's; "bucket" below means one with its chain, and its header is that of its first, the home bucket.
 *
 * INVARIANTS
 *   V1  A key is in its bucket in the first table, from the root on, in which that bucket is not MOVED; and nowhere else.
 *   V2  MOVED is set under the bucket's lock, when all it has stands in next, and never cleared. `next` is set before any bucket is
 *       MOVED, and once.
 *   V3  A bucket is changed by the holder of its lock only, in a *section*, from the CAS that takes the lock to the store that
 *       gives it back. A section that changes which keys there are, or where, takes the lock and a new version in the same CAS. One
 *       that only replaces a value, or moves, keeps the version. Within one version a slot that had a key, or keeps one, does not
 *       get another: what evicts (KEPT RECORDS) begins a further version before it stores the new value.
 *   V4  A search reads the header, a word, the value of that slot, and the header again. If its version or MOVED is another, it
 *       starts over. If not, and the word was the key's, the value was the key's: see below. One that begins at a LOCKED header
 *       first waits for the end of the section, or calls heavy(): see ACROSS KEYS.
 *   V5  A slot without a value (NULL) is free, or keeps the record of a key that was deleted. The word of a free one is never that
 *       of a key that this bucket could have: for records it is 0; for integers, whose word is the whole hash (H1 of hash.h: equal
 *       hashes, equal keys), it is a hash that belongs to another bucket. That is why there are two buckets at least. A key has one
 *       slot of its bucket at most, be it present or kept.
 *   V6  Under a bucket's lock nothing is allocated, no user code runs and nothing is waited for, but for the lock of the other
 *       half, where a table of half the size is made (2i, then 2i + 1), and by who reseeds, for that of one bucket of next; who has
 *       that waits for nothing. So a section is some ten or hundred instructions long.
 *   V7  An overflow bucket in a chain has a key, with a value. One that loses its last key is unlinked, and given away only after
 *       the section has ended with one more version: so who is still in it, and finds what is another bucket's by then, sees that.
 *   V8  While buckets are moved to a next that goes by the same hash, nobody but their mover is in those of next that they go to:
 *       before MOVED is set, by V1. So moving takes no lock in next. (Reseeding does.)
 *   V9  A record gets its age under the lock, when it is added, and keeps it. So of the records of one key, a walk that has bumped
 *       `ages` (flat_walk.c) finds one at most with a value and an age below that: had it found an earlier one, that was deleted,
 *       and this one been added in a section that began after the walk read the header, so after the bump, its age would not be
 *       below. (One that is revived is the same one, which the walk knows by its word.)
 *   V10 All tables that a walk sees go by one hash function: a walk is counted in `walkers`, and one that counts itself while the
 *       root is `reseeding` takes that back and waits for the end, or moves what is left itself.
 *   V11 Where a table has a filter, a bucket's bits in it have that of each key that the bucket has, and are all set once it is MOVED.
 *       They are changed under the bucket's lock; but all may be set by anybody at any time, which is forgotten at the next change.
 *
 * WHY A SEARCH IS RIGHT (V4). Say it read the version v, a word w that is its key's, and a value p other than NULL, and v again.
 * The word was w, so by V5 the slot was the key's, or about to be, or kept it, or just no more, in a section. If p was stored in a
 * later version than v, then by another tenant of the slot, or the same key come again; the header had that version before p was
 * stored by release (V3), and the search, which read p by acquire, would have found it in its second look. So p was stored while
 * the slot was the key's. If it found NULL, or no word, then at some instant of the search the key was not there: keys do not
 * change their slot but by being absent in between, except that a bucket is moved as a whole; and then what was found absent in the
 * old one was absent when MOVED was set. Searches of records, walks aside, read the value before the word, so as not to fetch a
 * record without one. Within a version a slot's key does not change, so that the two belong together, in either order; and where
 * the first slot with the tag tells all (flat_load_text()), the value that was read first is the result. Buckets that were given
 * away (V7) are the one case where a search that found nothing must look again: so all do.
 *
 * WRITERS search without the lock, like loads, but from a header that is not LOCKED; then make ready what they need (a record, an
 * overflow bucket); then take the lock by a CAS on that very header. If it succeeds no section has changed which keys there are
 * since, and what the search found still stands: the place of the key, or that it is absent. So user code (a custom `equal`) runs
 * without a lock, memory is had before the first visible step, and sections are short. If it fails they start over.
 * A locked instruction is not begun before it is the oldest of its processor's. If another processor had the line last, that is some
 * hundred ns in which nothing is finished, and the locks of operations in turn wait one after the other. So who stores, and is likely to
 * lock, asks for the line first, for writing: that prefetch is begun early, for as many operations as the processor looks ahead. And so
 * the fewer instructions an operation has, the better: where nobody owns the values, and the home bucket alone can tell all,
 * flat_integers.c and flat_text.c do what flat.c does in about half as many.
 *
 * ACROSS KEYS. Of two threads that each write one key and then load the other's, one must see what the other wrote. If a section
 * ended with a seq_cst exchange, that would be plain; but each write would pay for a second locked instruction. So it ends with a
 * plain store. That store, and all that the section wrote, may still be in the processor's store buffer when the operation has
 * returned; whoever meets the lock pays. The CAS that takes the lock is seen at once. A search that reads a header which is not
 * LOCKED, by seq_cst, reads it before that CAS in the one order of these operations, or after the section's end: nothing is hidden
 * from it. If it is LOCKED, the section goes on, or is over and in a buffer. The search waits for some pauses; if the lock is still
 * there it calls heavy() (membarrier.h), and goes on without it. Each section is followed by a light() (SECTIONS of thread.h)
 * before its operation goes on or returns. If light() came first, the search sees all that the section did. If heavy() came first,
 * what the searching thread did before it is seen by all that the section's thread loads after its light(). So let X write x and
 * load y, Y write y and load x, and let X's CAS be the first. X may miss y. Y looks for x after its own CAS, so after X's: it finds
 * the section's end, and sees x; or the lock, and then it sees x, or X loads y after Y's heavy() and sees y. (Where y is a seq_cst
 * atomic of the caller's, take Y's store to it for its CAS.) A lock hides no more than its own section. What came before had ended
 * when the lock was taken. What comes after begins after the search has read the header, which may count as earlier. Nor does
 * moving hide anything: who works in next has read MOVED, where the search had still read LOCKED, and so came later; and after
 * heavy() the header is read once more.
 * (That two readers agree on the order of two writers' values needs stores that all other threads see at once: multi-copy
 * atomicity, as on x86, ARMv8, RISC-V; not POWER. If heavy() fails, as by a seccomp filter that came later, a write may be missed
 * for as long as it stays in the buffer, after PATIENCE pauses.)
 *
 * GROWTH. A table is full when a quarter as many overflow buckets are in use as there are buckets: by Poisson's distribution that
 * is at 2.5 keys a bucket, and it needs no count of keys. A table with 5/8 of a key a bucket is halved. Every writer that finds a
 * root with a next moves CHUNK buckets first. Who moves the last one promotes the next: a CAS on root; the old table is retired.
 * Only the root is moved from. If memory for a next cannot be had, chains get longer, and it is tried again later.
 * By reserve a table grows sixteenfold at once, and none is halved below what was reserved.
 * A few keys that flood one bucket do not make a table grow: it grows only if it has a key a bucket on average.
 *
 * RESEEDING. A chain of more than FLOOD overflow buckets in a table that is not too small is no chance: somebody has learnt the
 * map's secrets (by the order of walks, say), and chooses keys. (Or a custom hash is poor: then other secrets may not help, which
 * is tried first, on the keys of that chain.) So a next of the same size is made, whose `type` has other secrets, and all is moved
 * as ever; but a bucket's keys go anywhere in next, each into its bucket under that one's lock, while others may be working there
 * with keys that have been moved. V1 holds as it stands. (A bucket whose chain others keep changing while its keys are hashed is
 * left for later. With an allocator of the user's, zeroing next takes one operation a moment for each megabyte; a chain that was
 * flooded for long is moved in one section.) A search that goes on to a table with another type hashes its key again. Integers are
 * stored as their other hash; records have room for two hashes, by the number of the secrets, odd or even: the other one is written
 * under the lock of the old bucket, which nobody reads by it, and read by it only in next. The user's hash function runs before the
 * lock is taken; if the lock is had then, the chain is still what was hashed. The number of keys must double between two changes,
 * or be halved, or all cleared.
 *
 * KEPT RECORDS. When a string is deleted, or bytes, that takes its value from it and no more: its record stays in the slot, which
 * is then *kept*, as in the other engine an entry stays in `read` with the pointer nil. If the key comes back, it is *revived*: it
 * gets a value where it was, in a section with a new version as for any new key, and nothing is allocated, copied, retired, or to
 * be fetched by other processors. Who wants a slot for another key takes one that is free; then one that is kept, whose record it
 * *evicts*, as the other engine expunges; then an overflow bucket. To evict is a deletion of its own in the section of the insert:
 * the word becomes 0, and the header gets a further version, LOCKED still, before the slot is filled. (A walk that began in this
 * section may have read the old word. It must not take the new key's value for the old one's. Searches of records read the value
 * first: see above.) Moving leaves behind what is kept, and an overflow bucket that is unlinked goes with all that it keeps.
 * Whatever leaves a bucket is retired after the section. So no more is kept than the table has room for. Not kept are large
 * records, of more than KEEP_BYTES; those of custom keys, whose drop the user may be waiting for; and those of a table of more than
 * 2^KEEP_BITS buckets, which with its records is likely to be out of the processor's caches: there a record that is evicted, long
 * after its key was deleted, is a miss, and costs more than is won where one is revived.
 *
 * ABSENT KEYS. Where a table is larger than the processor's own caches, a search waits for its bucket's line, only to learn that
 * the key is not there. So a table of more than 2^FILTER_BITS buckets has a filter, the 32nd part of its size: of each bucket 16
 * bits, one of which, by the low bits of its hash, each key has; and a search that finds its key's bit clear is over. It is right:
 * at that instant the key was not in this bucket, and the bucket not MOVED (V11), which is what a search of the bucket would have
 * found then. It has read no header, so there is no lock that could tell it of a section whose stores are in a buffer still (ACROSS
 * KEYS). So a bit is set by a seq_cst store, before its key is: of two threads that each add a key and then look for the other's,
 * one finds the bit. Only new keys pay for that, and only if no other has set it. A bit that is cleared late does no harm, as one
 * that is set for nothing: a delete makes the bits anew from the keys that are left, if the chain is one bucket; in longer ones
 * they may be too many until it is one again. Who moves a chunk sets all bits of its buckets at first, as the line is at hand, and
 * looks under each lock that they still are. The bucket's line is asked for before the filter is: whoever does find the bit set has
 * not waited twice. (Not all by load_many, where the bucket's line is asked for long before: there the filter would be one more
 * line. Nor do walks ask it.)
 *
 * clear puts a fresh table in the root, by the same hash function: its instant. Operations that had found the old root before count
 * as done before the clear. What the old tables still hold is freed with them, after a grace period. The count of keys is of an
 * era, the time between two clears, so that late operations do not disturb it.
 *
 * Who has what: root: CAS by anybody. seeds: CAS by who set `growing`; they live as long as the map. A bucket: the holder of its
 * lock. next: who set `growing`. A bucket of next before MOVED: its mover. Overflow buckets: a stack of those given away, and an
 * index up to which they were used at all.
 *
 * PAIRS
 *   P1  root: stored by CAS, seq_cst, and loaded seq_cst: who sees a table sees it made.
 *   P2  header: the lock is taken by CAS, seq_cst, and given back by release; a further version within a section is stored by
 *       release, too; a search begins with a seq_cst load. Its second look may be relaxed: it comes after loads by acquire from the
 *       stores by release of a section, which came after that section's CAS. (Across keys: with light() and heavy(), see there.)
 *   P3  word: stored by release in a section (or before the bucket is anybody's), read by acquire: the record, or what the version
 *       was. A record's hash, too: who is still in a table two changes of secrets ago, and reads the latest, finds the old bucket
 *       MOVED.
 *   P4  value: stored by release in a section, loaded by seq_cst: publishes what the value points to.
 *   P5  tags and link: stored by release in a section, read by acquire: an overflow bucket is made before it is linked.
 *   P6  next: stored seq_cst, read by acquire: who finds one finds it made.
 *   P7  overflow: a segment is published by CAS; buckets that were given away pass by CAS on the stack's head, acq_rel, so that the
 *       next user comes after the section that unlinked them.
 *   P8  moved: counted by acq_rel; who counts the last comes after all moving.
 *   P9  ages: bumped seq_cst, read seq_cst under the lock: see V9. (The age of a record is published with its word: P3.)
 *   P10 walkers is counted, then `reseeding` of the root read; `reseeding` set, then walkers read: all seq_cst, so that one sees
 *       the other's. A walk that reads another root's than who sets it came before or after that root.
 *   P11 filter: bits are set by a seq_cst store, and searches read them by seq_cst (ABSENT KEYS). Who changes them reads them by
 *       acquire: if it finds one set it comes after who set it. Cleared by release, after the value: who finds it clear comes after
 *       the delete.
 *
 * PROGRESS. A walk blocks while its map is reseeded, unless it ends that itself. load: lock-free: it starts over only when a writer
 * of the same bucket got on. It does not wait for the holder of a lock that it meets: after PATIENCE pauses and one system call it
 * goes on. Writers block on one bucket's lock, for the length of a section. Every operation: bounded work, whatever the size of the
 * table, for chains of bounded length.
 *
 * REFERENCES. A filter whose bits are those of one bucket: the blocked Bloom filter (F. Putze, P. Sanders, J. Singler, Cache-,
 * Hash- and Space-Efficient Bloom Filters, WEA 2007), here with one bit a key, and made anew by deletes. Buckets of a cache line
 * with in-place updates and lock-free reads: CLHT (T. David, R. Guerraoui, V. Trigonakis, Asynchronized Concurrency, ASPLOS 2015).
 * The fence on the side of who meets a lock: asymmetric Dekker synchronization (D. Dice, H. Huang, M. Yang, 2001), by
 * membarrier(2). Versions beside locks: optimistic locking of OPTIK (Guerraoui, Trigonakis, PPoPP 2016), seqlocks (H.-J. Boehm, Can
 * seqlocks get along with programming language memory models?, MSPC 2012). Moving by writers a few buckets at a time: the linear
 * hashing of W. Litwin (VLDB 1980) in the form that Redis and Java's ConcurrentHashMap have made common.
 */
#ifndef SYNCMAP_FLAT_H
#define SYNCMAP_FLAT_H

#include "bucket.h"
#include "counter.h"

/* Test builds make these small. The first two are powers of two. */
#ifndef SYNCMAP_FLAT_CHUNK
#define SYNCMAP_FLAT_CHUNK 16
#endif
#ifndef SYNCMAP_FLAT_LEAST
#define SYNCMAP_FLAT_LEAST 4
#endif
#ifndef SYNCMAP_FLAT_CACHED
#define SYNCMAP_FLAT_CACHED 12
#endif
#ifndef SYNCMAP_FLAT_PATIENCE
#define SYNCMAP_FLAT_PATIENCE 32
#endif
#ifndef SYNCMAP_FLAT_FLOOD
#define SYNCMAP_FLAT_FLOOD 8
#endif
#ifndef SYNCMAP_FLAT_KEEP_BITS
#define SYNCMAP_FLAT_KEEP_BITS 12
#endif
enum {
    CHUNK = SYNCMAP_FLAT_CHUNK,
    LEAST_BUCKETS = SYNCMAP_FLAT_LEAST,
    FLOOD = SYNCMAP_FLAT_FLOOD, /* overflow buckets of one chain; by chance it would have so many once in 1e16 times */
    CACHED_BITS = SYNCMAP_FLAT_CACHED, /* of the number of buckets: 256 KiB are likely to be in a processor's own cache */
    KEEP_BITS = SYNCMAP_FLAT_KEEP_BITS, /* of the number of buckets that a table has at most, to keep records, */
    KEEP_BYTES = 128, /* and the text that they have at most */
    PATIENCE = SYNCMAP_FLAT_PATIENCE, /* pauses that a search grants the section whose lock it has met */
    FLOOD_LOAD = 4 /* keys a bucket; with more it is no flood, but a table that could not grow */
};
/* Of the number of buckets that a table has at most, to have no filter. (No constant where plays choose it.) */
#ifndef SYNCMAP_FLAT_FILTER
#define SYNCMAP_FLAT_FILTER CACHED_BITS
#endif
#define FILTER_BITS SYNCMAP_FLAT_FILTER
_Static_assert(CHUNK >= 2 && LEAST_BUCKETS >= 2, "halving moves pairs; V5");

/* Of one bucket. */
typedef _Atomic uint16_t filter_bits;
enum { FILTER_ALL = 0xffff };

/* The time between two clears. */
struct flat_era {
    struct counter keys;
    _Atomic uint64_t flood_at; /* no other secrets are tried below so many keys */
    struct reclaim_link retired;
    void *base;
};

/* The buckets follow the struct, then the filter (so that it is in huge pages, if they are), then the first overflow buckets. */
struct flat_table {
    alignas(CACHE_LINE) _Atomic(struct flat_table *) next;
    filter_bits *filter; /* NULL: it has none */
    unsigned shift; /* of a hash to the number of its bucket: 64 less the logarithm of how many there are */
    bool owns_entries; /* once it is retired: by a clear */
    _Atomic bool growing; /* somebody makes, or has made, a next */
    _Atomic bool gave_up; /* a mover did, for want of memory: what it left must be looked for */
    const struct key_type *type; /* whose secrets its hashes are made with */
    _Atomic bool reseeding;      /* its next has, or will have, another */
    struct flat_era *era;
    void *base;
    struct reclaim_link retired;
    uint64_t freed; /* once it is: so many buckets are done, */
    size_t left;    /* and so much of its memory is there */

    /* Where to move on, and how far it got. */
    alignas(CACHE_LINE) _Atomic uint64_t cursor; /* in chunks */
    _Atomic uint64_t moved;  /* buckets */
    _Atomic uint64_t spare;  /* overflow buckets that were given away: a stack; the index of the first, from 1 on, and a count of changes */
    _Atomic uint64_t fresh;  /* no overflow bucket from this index on was ever used */
    _Atomic int64_t used;    /* overflow buckets */
    _Atomic int64_t full;    /* so many of them are too many */

    alignas(CACHE_LINE) struct overflow overflow;
};
_Static_assert(sizeof(struct flat_table) % CACHE_LINE == 0, "buckets start on a cache line");

/* Further secrets of a map. */
struct flat_seed {
    struct key_type type;
    struct flat_seed *older;
};

struct flat {
    struct syncmap map;
    struct reclaim_class table_class, record_class, era_class;
    _Atomic(struct flat_seed *) seeds; /* all but the first, which are map.key's; they live as long as the map */
    _Atomic uint64_t walkers; /* walks that go on */
    _Atomic uint64_t least; /* buckets: no table is halved to fewer. Of the options, or reserved; until a clear */

    /* The table that is searched first, and its shift in the low bits: a search needs no more to find its bucket. */
    alignas(CACHE_LINE) _Atomic uintptr_t root;
    _Atomic uint64_t ages;
};

#define ROOT_SHIFT ((uintptr_t)63)
_Static_assert(alignof(struct flat_table) > ROOT_SHIFT, "the low bits of a table's address are free");

static inline struct flat_table *root_table(uintptr_t root)
{
    return (struct flat_table *)(root & ~ROOT_SHIFT);
}

static inline uint64_t table_buckets(const struct flat_table *t)
{
    return (uint64_t)1 << (64 - t->shift);
}

/* The home bucket of a hash, in a table whose shift is known. */
static inline struct bucket *table_home(struct flat_table *t, unsigned shift, uint64_t hash)
{
    return (struct bucket *)(void *)(t + 1) + (hash >> shift);
}

/* ---- the filter: ABSENT KEYS ---- */

static inline unsigned filter_bit(uint64_t hash)
{
    return 1u << hash % 16;
}

/* Whether the filter tells that a key is absent from its home bucket, which is not MOVED. If it does not, the bucket is on its way. */
static ALWAYS_INLINE bool filter_denies(const struct flat_table *t, unsigned shift, uint64_t hash)
{
    if (t->filter == NULL)
        return false;
    __builtin_prefetch((const struct bucket *)(const void *)(t + 1) + (hash >> shift));
    return (ld_seq_cst(&t->filter[hash >> shift]) & filter_bit(hash)) == 0; /* P11 */
}

/* A key is about to be stored in its bucket. Under the lock. */
static inline void filter_add(struct flat_table *t, uint64_t hash)
{
    if (t->filter == NULL)
        return;
    filter_bits *bits = &t->filter[hash >> t->shift];
    unsigned has = ld_acquire(bits); /* P11 */
    if ((has & filter_bit(hash)) == 0)
        st_seq_cst(bits, (uint16_t)(has | filter_bit(hash))); /* P11 */
}

/* A key has left its bucket. Under the lock. */
static inline void filter_remove(struct flat_table *t, const struct bucket *home, uint64_t index)
{
    if (t->filter == NULL)
        return;
    uint64_t tags = ld_relaxed(&home->tags); /* relaxed: under the lock */
    if (tags >> LINK_SHIFT != 0)
        return;
    unsigned has = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        if (ld_relaxed(&home->value[i]) != NULL) /* relaxed: as above */
            has |= filter_bit(tags >> i * TAG_BITS); /* a tag is the low bits */
    if (ld_relaxed(&t->filter[index]) != has) /* relaxed: as above */
        st_release(&t->filter[index], (uint16_t)has); /* P11 */
}

/* Some buckets are, or may be, MOVED next. */
static inline void filter_open(struct flat_table *t, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; t->filter != NULL && i < first + count; i++)
        if (ld_acquire(&t->filter[i]) != FILTER_ALL) /* P11 */
            st_seq_cst(&t->filter[i], FILTER_ALL); /* P11 */
}

static bool flat_init(struct flat *m, size_t capacity);
static bool flat_destroy_step(struct flat *m);
/* integers: whether the keys are; a constant where speed counts. */
static int flat_load(struct flat *m, struct query *q, bool integers, void **value);
static int flat_load_prefetched(struct flat *m, struct query *q, bool integers, void **value);
static ALWAYS_INLINE int flat_swap(struct flat *m, struct query *q, bool integers, void *value, void **previous);
static ALWAYS_INLINE int flat_load_or_store(struct flat *m, struct query *q, bool integers, void *value, void **actual);
static ALWAYS_INLINE int flat_load_and_delete(struct flat *m, struct query *q, bool integers, void **previous);
static ALWAYS_INLINE int flat_compare_and_swap(struct flat *m, struct query *q, bool integers, void *expected, void *desired,
                                               void **previous);
static ALWAYS_INLINE int flat_compare_and_delete(struct flat *m, struct query *q, bool integers, void *expected, void **previous);
static int flat_range(struct flat *m, bool (*visit)(syncmap_key, void *, void *), void *context);
static int flat_clear(struct flat *m);
static int flat_scan(struct flat *m, uint64_t *place, uint64_t *number, struct scan *scan);
static void flat_prefetch(struct flat *m, uint64_t hash);
static bool flat_is_cached(struct flat *m);
static ALWAYS_INLINE void flat_prefetch_overflow(struct flat *m, uint64_t hash);
static void flat_prefetch_record(struct flat *m, const struct query *q);
static int flat_reserve(struct flat *m, size_t keys);
static void flat_fork_child(struct flat *m);
static size_t flat_len(struct flat *m);

#endif
