/* SPDX-License-Identifier: MIT
 *
 * syncmap - a concurrent hash map for C with the semantics of Go's sync.Map.
 *
 * Threads share one map and call it with no lock of their own. The rules that hold for every call are
 * said here, once; each function below then says only what is its own.
 *
 * RESULTS. Every operation returns 1 for yes (present, loaded, swapped, deleted, replaced), 0 for no, and
 * a negative `enum syncmap_error` for an error (load_or_compute: or its compute's own number). An error means that nothing
 * happened: the map is as it was, no argument changed owner, and no out parameter was written. Every out parameter may be NULL.
 * Where an operation finds no value, it writes NULL to the out parameter.
 *
 * ERRORS. SYNCMAP_EINVAL: the map is NULL, the key is not of the map's kind, a string is NULL, bytes are
 * NULL with a length above 0, a needed callback is NULL, or a value is one of the two addresses inside the
 * library that are its own marks (no object of a caller can have one). SYNCMAP_ENOMEM: memory is out. Only
 * operations that say so can return it; load, len, pin and unpin need no memory, nor does range (but while FLOODS are dealt with),
 * even on a thread's first use of the library (they try to get some for the thread, and go on without). SYNCMAP_ESTALE: see
 * syncmap_scan(). SYNCMAP_EDEADLK: see syncmap_load_or_compute(). syncmap_strerror() names an error.
 *
 * ORDER. Each operation on one key, and clear, is linearizable: it takes effect at one instant between its
 * call and its return, and all threads agree on the order of these instants, across keys too. Of two
 * threads that each store one key and then load the other's, at least one sees the other's store; so it is
 * with one key and one atomic of the caller's, stored and loaded by seq_cst. What a
 * thread did before it stored a value happens before what another does after it has observed that value.
 * range and len are not one instant: they say what they promise instead.
 *
 * ENGINES. A map works by one of two algorithms, which options.engine selects; what is said here holds for both. READ_DIRTY is
 * Go's: a table that is searched with no lock, and a second one, under a mutex, for new keys. FLAT is one table of buckets, each
 * with a lock of its own for its writers. "Progress" is, for
 *                     READ_DIRTY                                                FLAT
 *   load, load_many   wait-free but for the probe when the key is in `read`,    lock-free: starts over only if a writer of the same bucket
 *                     else lock-free                                            got on; if one is in it, pauses for a microsecond or two, then
 *                                                                               makes a membarrier(2) system call, and goes on
 *   writers           lock-free when the key is in `read`; else block on the    block on the lock of one bucket, for the time of some
 *                     map's mutex                                               hundred instructions at most
 *   work of one call  a new key may copy the table                              bounded, whatever the size (growing is shared by all writers)
 *
 * PROGRESS. "Lock-free": some thread always completes, whatever the others do. "Blocks": the call may wait for a lock that is held
 * for the library's own work only. No lock is ever held over user code: a callback, an allocator, a release function may call
 * anything in this header, on the same map too, unless its own text forbids it. load, load_many, len, pin and unpin never wait for
 * another thread to get on; clear, reserve and syncmap_free() block; range and scan block at their start at most; load_or_compute
 * waits for user code: see there.
 *
 * KEYS are passed by value in a struct of two words, made by syncmap_u64(), syncmap_str(), syncmap_bytes()
 * or syncmap_obj(), one for each kind of map. Strings and bytes are copied when they are first stored; what
 * a key argument points to is read during the call only.
 *
 * VALUES are `void *`, NULL included. NULL is a value like any other, except that it owns nothing: no value
 * callback is ever called with it.
 *
 * OWNERSHIP. Without `value_free` the map never touches what a value points to. With it the map owns its
 * values: each successful store of a value, by whatever operation, hands the map one reference, and the
 * map gives each reference up exactly once, through `value_free`, after a grace period: when it was
 * overwritten, deleted, cleared, or is left at syncmap_free(). An operation that did not store its
 * value (load_or_store that loaded, compare_and_swap that did not swap, any error) leaves it with the
 * caller (but load_or_compute: see there). Storing the same pointer twice hands over two references.
 *   What swap and load_and_delete write to `*previous` leaves the map and belongs to the caller. Other threads
 * may still be reading it: give it to syncmap_retire(), do not free it at once. Where `previous` is NULL, the
 * map gives it up as above.
 *
 * LIFETIME OF WHAT IS HANDED OUT. A pointer that came from an owning map may be freed as soon as another
 * thread replaces it, unless the caller is pinned. There are two ways to hold it:
 *   - Pin. Between syncmap_pin() and syncmap_unpin() nothing that was loaded is freed.
 *   - Acquire. With `value_acquire` set the map calls it on every value that it hands out (load, *actual,
 *     *previous, the visit of range), while the value is still protected, so that the caller then owns one
 *     reference of its own and needs no pin. What swap and load_and_delete write to *previous is such a
 *     reference too, and the caller may give it up at once; the map's own goes through value_free.
 * A library built with SYNCMAP_DEBUG aborts when an owning map without value_acquire hands a value to a
 * thread that is not pinned; a load whose `value` is NULL hands out nothing, and
 * what swap and load_and_delete hand over is the caller's own. range pins by itself for as long as it
 * runs. Callbacks leave pins as they found them.
 *
 * THREADS need no registration: a thread attaches itself at its first call and is detached when it exits (by a destructor of
 * thread-specific data; one whose first call is in the last round of such destructors stays attached, so it must not leave a pin).
 * There is no background thread. Every function may be called by any thread at any time, but for syncmap_free() (see there).
 *
 * SIGNALS. syncmap_pin(), syncmap_load() and syncmap_unpin() are async-signal-safe on a thread that has made a map, pinned, or
 * completed an operation before: they never wait for another thread, allocate or free, and leave errno alone. For a SYNCMAP_CUSTOM
 * map this holds as far as its hash and equal are async-signal-safe, with `value_acquire` as far as that is. No other function is.
 * (READ_DIRTY: a load of a key that is not in `read` calls pthread_mutex_trylock(), which POSIX does not list; in glibc and musl it
 * is one atomic instruction on the mutex. FLAT: a load may make a membarrier(2) system call, which POSIX does not know.)
 *
 * FORK. The child of fork() may go on to use every map. What another thread was in the middle of at that
 * moment has either happened in the child or not; memory that it had in hand (one operation's worth, or the
 * garbage that it was just freeing) is lost to the child, and syncmap_len() there may stay off by one for each
 * such thread. fork() must not be called from a signal handler, a release function or value_free.
 *
 * FLOODS. Hash functions have secrets, new ones for each map, so that who chooses keys cannot choose collisions. The flat engine
 * looks for them all the same: if far more keys meet than chance would have it, it takes new secrets and moves all keys by and by,
 * unless a custom hash does not use its seed, where that would not help: so `hash` may be called, for keys that are stored, by all
 * functions but len, pin and barrier. No change begins while somebody is in a visit of range or scan (nor ever, once a thread has
 * ended in one, or in the child of a fork beside one). READ_DIRTY does not look.
 *
 * CANCELLATION. No function is a cancellation point but by the user code that it calls. A thread may be cancelled or exit
 * in a visit of range and in a compute; other callbacks must return.
 *
 * This header compiles alone, as C11 and as C++17.
 */
#ifndef SYNCMAP_H
#define SYNCMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SYNCMAP_VERSION_MAJOR 0
#define SYNCMAP_VERSION_MINOR 1
#define SYNCMAP_VERSION_PATCH 0
#define SYNCMAP_VERSION_STRING "0.1.0"
/* One number to compare: 10000 * major + 100 * minor + patch. */
#define SYNCMAP_VERSION (SYNCMAP_VERSION_MAJOR * 10000 + SYNCMAP_VERSION_MINOR * 100 + SYNCMAP_VERSION_PATCH)

#if defined(__GNUC__)
#define SYNCMAP_API __attribute__((visibility("default")))
#else
#define SYNCMAP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A map. Opaque; made by syncmap_new(), ended by syncmap_free(). */
typedef struct syncmap syncmap;

/* What went wrong. All are negative; the numbers are part of the ABI. */
enum syncmap_error {
    SYNCMAP_ENOMEM = -1, /* memory is out; nothing happened */
    SYNCMAP_EINVAL = -2, /* bad argument; nothing happened */
    SYNCMAP_ESTALE = -3, /* of syncmap_scan() alone: see there */
    SYNCMAP_EDEADLK = -4 /* of syncmap_load_or_compute() alone: see there; nothing happened */
};

/* The kind of all keys of one map. */
enum syncmap_kind {
    SYNCMAP_U64,    /* 64-bit integers, all 2^64 of them */
    SYNCMAP_STRING, /* NUL-terminated strings, the empty one included */
    SYNCMAP_BYTES,  /* byte strings with a length: NULs inside, and length 0, are fine */
    SYNCMAP_CUSTOM  /* pointers to objects of the caller's, with options.key.hash and .equal */
};

/* The algorithm behind a map. All have the same semantics. */
enum syncmap_engine {
    SYNCMAP_ENGINE_DEFAULT,    /* the library's choice; SYNCMAP_ENGINE_FLAT in this version */
    SYNCMAP_ENGINE_READ_DIRTY, /* Go's sync.Map (1.9 to 1.23): for maps that are written once and then read */
    SYNCMAP_ENGINE_FLAT        /* buckets of a cache line: for all others */
};

/* ---- keys ---------------------------------------------------------------------------------------- */

/* A key, passed by value. `as` is the integer or the pointer. The top two bits of `len` say which of the
 * four functions below made it (so that a key of the wrong kind is an error, not a crash), the others are
 * the length in bytes of a string (without its NUL) or of bytes; read it with syncmap_key_len().
 * For bytes the tag is 0, so there `len` is the length. A visit of range gets keys of the same form, which may be
 * passed to any operation. */
typedef struct syncmap_key {
    union {
        uint64_t u64;
        const void *ptr;
    } as;
    size_t len;
} syncmap_key;

#define SYNCMAP_KEY_LEN_BITS (sizeof(size_t) * 8 - 2)
#define SYNCMAP_KEY_LEN_MAX (((size_t)1 << SYNCMAP_KEY_LEN_BITS) - 1)
/* The tag in `len` of a kind: SYNCMAP_BYTES has 0. */
#define SYNCMAP_KEY_TAG(kind) ((size_t)((unsigned)(kind) ^ (unsigned)SYNCMAP_BYTES) << SYNCMAP_KEY_LEN_BITS)

/* A key of a SYNCMAP_U64 map: any integer. */
static inline syncmap_key syncmap_u64(uint64_t integer)
{
    syncmap_key key;
    key.as.u64 = integer;
    key.len = SYNCMAP_KEY_TAG(SYNCMAP_U64);
    return key;
}

/* A key of a SYNCMAP_STRING map: a NUL-terminated string. NULL makes a key that every operation refuses. */
static inline syncmap_key syncmap_str(const char *string)
{
    syncmap_key key;
    key.as.u64 = 0;
    key.as.ptr = string;
    key.len = SYNCMAP_KEY_TAG(SYNCMAP_STRING) | (string ? strlen(string) : 0);
    return key;
}

/* A key of a SYNCMAP_BYTES map: `len` bytes at `bytes`, at most SYNCMAP_KEY_LEN_MAX. `bytes` may be NULL if
 * `len` is 0. */
static inline syncmap_key syncmap_bytes(const void *bytes, size_t len)
{
    syncmap_key key;
    key.as.u64 = 0;
    key.as.ptr = bytes;
    key.len = len;
    return key;
}

/* A key of a SYNCMAP_CUSTOM map: a pointer that options.key.hash and .equal understand. */
static inline syncmap_key syncmap_obj(const void *object)
{
    syncmap_key key;
    key.as.u64 = 0;
    key.as.ptr = object;
    key.len = SYNCMAP_KEY_TAG(SYNCMAP_CUSTOM);
    return key;
}

/* The length in bytes of a string or bytes key; 0 for the other kinds. */
static inline size_t syncmap_key_len(syncmap_key key)
{
    return key.len & SYNCMAP_KEY_LEN_MAX;
}

/* ---- options ------------------------------------------------------------------------------------- */

/* How a SYNCMAP_CUSTOM map handles its keys. All must be zero for the other kinds. `hash` and `equal` are
 * required; they are pure functions of what the keys point to, and a key must not change in what they
 * see for as long as it is in a map. None is called with a lock held. */
typedef struct syncmap_key_functions {
    /* Equal keys have equal hashes. `seed` is the map's own random number: a hash that mixes it in cannot be
     * flooded. The result is mixed once more, so an identity is good enough for keys that nobody chooses. */
    uint64_t (*hash)(const void *key, uint64_t seed, void *context);
    bool (*equal)(const void *a, const void *b, void *context);
    /* Makes the copy that the map keeps, when a key is stored that may be new; NULL says that memory is out.
     * The copy of a key that turns out to be there already is dropped again at once. Without dup the map
     * keeps the pointer that the key was first stored with, also after the key was deleted: it must stay valid
     * until a syncmap_barrier() that follows syncmap_clear() or syncmap_free(). */
    void *(*dup)(const void *key, void *context);
    /* Ends a copy that dup made, exactly once, after a grace period. Needs dup. NULL: nothing to do. */
    void (*drop)(void *key, void *context);
} syncmap_key_functions;

/* Where a map takes its memory from: the map itself, tables, entries, copies of strings and bytes. Both or
 * neither. Both may be called by any thread, also after syncmap_free() and until a syncmap_barrier() after it has
 * returned. (The records of threads and what syncmap_retire() needs belong to no map and come from malloc.) */
typedef struct syncmap_allocator {
    /* `size` bytes, aligned for any type, or NULL. */
    void *(*alloc)(size_t size, void *context);
    /* Ends what alloc returned; `size` is the size that was asked for. `memory` is never NULL. */
    void (*free)(void *memory, size_t size, void *context);
    /* Passed to both. NULL: options.context is passed. */
    void *context;
} syncmap_allocator;

/* Whether a map asks the system for huge pages for its tables, by madvise(2), which misses the TLB less. It matters most where the system
 * gives them only to those who ask (/sys/kernel/mm/transparent_hugepage/enabled). */
enum syncmap_huge_pages {
    /* Integer keys in the flat engine: ASK, as the table is all that they touch. All others say nothing: they have a record for each key,
     * in malloc's pages. With glibc these are small, so that huge ones for the table save the lesser part of the misses; and a
     * virtual machine whose host shadows its page tables can pay for the mixture with half of the speed and more. */
    SYNCMAP_HUGE_PAGES_DEFAULT,
    SYNCMAP_HUGE_PAGES_ASK,  /* for records best together with GLIBC_TUNABLES=glibc.malloc.hugetlb=1 */
    SYNCMAP_HUGE_PAGES_NEVER /* not even where all get them: after a fork() each write to one copies all of it */
};

/* Zero-initialised is every default. Copied by syncmap_new(). */
typedef struct syncmap_options {
    enum syncmap_engine engine;
    /* Makes the map own its values (OWNERSHIP above). Called after a grace period, by whatever thread happens to
     * collect, at any time until a syncmap_barrier() that follows syncmap_free() has returned. (What was computed
     * and not stored goes at once, in the call of syncmap_load_or_compute().) */
    void (*value_free)(void *value, void *context);
    /* Takes a reference for whoever the value is handed to. Needs value_free. */
    void (*value_acquire)(void *value, void *context);
    /* Equality for compare_and_swap and compare_and_delete; the default is of pointers. Not called for the
     * same pointer (equal) nor when just one is NULL (unequal). `stored` is protected during the call. May be
     * called several times in one operation. */
    bool (*value_equal)(const void *stored, const void *expected, void *context);
    syncmap_key_functions key;
    syncmap_allocator allocator;
    /* Passed as the last argument to the callbacks for values and keys. */
    void *context;
    /* So many keys fit without further growth, until a clear, if their hash is good; the memory is taken at once. 0: grow from
     * small. */
    size_t capacity;
    /* Seed of the hash; 0: random. Fix it to repeat a run, never where keys come from strangers. */
    uint64_t seed;
    /* What pages large tables (of 2 MiB and more) are in; of no effect with `allocator`. */
    enum syncmap_huge_pages huge_pages;
} syncmap_options;

/* For options.value_free: calls free(value). */
SYNCMAP_API void syncmap_free_value(void *value, void *context);

/* ---- life of a map ------------------------------------------------------------------------------- */

/* Makes an empty map. `options` may be NULL. NULL on error, with errno ENOMEM (memory is out, or the
 * process has no more thread-specific keys), EINVAL (no such
 * kind or engine, SYNCMAP_CUSTOM without hash or equal, key functions with another kind, drop without dup,
 * value_acquire without value_free, alloc without free or the reverse). */
SYNCMAP_API syncmap *syncmap_new(enum syncmap_kind kind, const syncmap_options *options);

/* Ends a map. No other thread may be inside an operation on it or start one, nor may a range on it be
 * running. What was loaded from it under a pin stays valid until that pin ends: the map's memory,
 * its keys and the values that it owns are freed after a grace period, by this call if no other thread is pinned
 * or collecting, else by a later one. To wait for that, call syncmap_barrier(). NULL is ignored. Blocks. Never fails. */
SYNCMAP_API void syncmap_free(syncmap *m);

/* ---- the ten operations -------------------------------------------------------------------------- */

/* The value of a key. 1 present, 0 absent. Needs a pin or value_acquire on an owning map. Never
 * allocates or frees, nor waits for another thread. */
SYNCMAP_API int syncmap_load(syncmap *m, syncmap_key key, void **value);

/* Sets the value of a key. 1 replaced a value, 0 the key was absent. SYNCMAP_ENOMEM possible. */
SYNCMAP_API int syncmap_store(syncmap *m, syncmap_key key, void *value);

/* The value of a key if it is present (1: *actual is that one, and the caller keeps `value`), else stores
 * `value` (0: *actual is `value`). `actual` needs a pin or value_acquire on an owning map. SYNCMAP_ENOMEM
 * possible. */
SYNCMAP_API int syncmap_load_or_store(syncmap *m, syncmap_key key, void *value, void **actual);

/* Deletes a key. 1 it was present and *previous was its value, 0 it was absent. SYNCMAP_ENOMEM possible on an
 * owning map. */
SYNCMAP_API int syncmap_load_and_delete(syncmap *m, syncmap_key key, void **previous);

/* As syncmap_load_and_delete(m, key, NULL). */
SYNCMAP_API int syncmap_delete(syncmap *m, syncmap_key key);

/* Sets the value of a key. 1 it was present and *previous was its value, 0 the key is new. SYNCMAP_ENOMEM
 * possible. */
SYNCMAP_API int syncmap_swap(syncmap *m, syncmap_key key, void *value, void **previous);

/* Sets the value of a key to `desired` if it is present with a value equal to `expected`. 1 swapped, 0 not. An
 * absent key never matches. SYNCMAP_ENOMEM possible on an owning map. */
SYNCMAP_API int syncmap_compare_and_swap(syncmap *m, syncmap_key key, void *expected, void *desired);

/* Deletes a key if it is present with a value equal to `expected`. 1 deleted, 0 not. SYNCMAP_ENOMEM possible on
 * an owning map. */
SYNCMAP_API int syncmap_compare_and_delete(syncmap *m, syncmap_key key, void *expected);

/* Calls visit(key, value, context) for the keys of the map, in no particular order, until it returns false.
 * 1 went through to the end, 0 the visit stopped it. No key is visited twice. A key that is present for the whole call is visited;
 * one that is stored or deleted meanwhile may or may not be. The value is one that the key had at some moment during the call. The
 * visit may call anything, also on the same map, nested range included. `key` and `value` stay valid until range returns (or the
 * pin ends that it was called under), as range pins: a visit that takes long delays the reclamation of the whole process. With
 * value_acquire the visit owns a reference to each value that it is given. O(slots of the table). SYNCMAP_ENOMEM, and no visit: the
 * flat engine was just changing its hash function because of a flood of keys (see FLOODS), which must be over before a walk, and
 * there is no memory for that. */
SYNCMAP_API int syncmap_range(syncmap *m, bool (*visit)(syncmap_key key, void *value, void *context),
                              void *context);

/* The value of a key if it is present (1), else the one that compute(key, &value, context) makes, and that is stored (0). An
 * absent key is computed by one such call at a time: others that want it by this function wait meanwhile, and then find the value.
 * So a key that nobody deletes or clears is computed once, unless that fails. All other operations wait for nothing, on this key
 * either; if one of them has stored a value when compute returns, that is the result (1), and the computed one is given up: this
 * call passes it to value_free, if the map owns its values (else it is compute's to remember).
 *   compute sets *value, which is NULL, to what it hands over a reference of its own to, and returns 0; or it returns a number below
 * 0: that is the result then, nothing is stored, and one of those who wait calls its own compute (so choose numbers that you can
 * tell from those of this library; what *value is then is compute's own affair). It is called with no lock held, may take its time,
 * and may call anything, on the same map too, but syncmap_free() of that one. It must not change what `key` points to, nor leave by
 * longjmp(), a C++ exception or a switch to another coroutine; nor wait for those who may wait for it: for a lock that they hold, or
 * by syncmap_barrier(), if they are pinned, or call from a release function or value_free. A thread may exit or be cancelled in it,
 * as if it had failed, if no other callback of the library is below it on the stack. There is no time limit, and who waits cannot be
 * cancelled.
 *   SYNCMAP_EDEADLK, and compute is not called: this thread is computing this key already; or the thread that is waits, itself or
 * through others, for a key that this one is computing. (Who waits for a custom key goes by its 64-bit hash: unequal keys with the
 * same one are computed one after the other, and count as one in the second case.) SYNCMAP_ENOMEM possible, also after compute was
 * called, as SYNCMAP_EINVAL is if what it made is one of the library's marks: the map is as it was, and the value given up as above
 * (a mark is not). `actual` needs a pin or value_acquire on an owning map; who computes or waits with a pin holds up what the process
 * retires. A present key costs a load; an absent one compute, two loads and a load_or_store, and two short locks of one of sixteen
 * mutexes of the process. */
SYNCMAP_API int syncmap_load_or_compute(syncmap *m, syncmap_key key,
                                        int (*compute)(syncmap_key key, void **value, void *context), void *context,
                                        void **actual);

/* Where a scan is: zero-initialised, at its beginning. Its fields are the library's. It may be copied, and kept for as long as one
 * likes: it refers to no memory, and holds nothing up. */
typedef struct syncmap_cursor {
    uint64_t place;
    uint64_t state;
} syncmap_cursor;

/* Visits some keys from where *cursor is, and moves it on: `count` keys (0 is taken as 1), fewer at the end, or until
 * the visit returns false; and then those that have the very hash of the last one, if there are any (with a good hash there are
 * none). 1 there may be more, 0 went through to the end (another call with that cursor visits nothing and returns 0). Over all
 * calls with one cursor, whatever happens in between: no key twice; a key that is present from the first call to the last is
 * visited. All else as range: the visit, pins, what stays valid. Other cursors, and range, may be used at the same time, by any
 * thread. SYNCMAP_EINVAL: an argument is NULL, or the cursor is none. SYNCMAP_ENOMEM as range. SYNCMAP_ESTALE: since the cursor's
 * first call the flat engine has changed its hash function because of a flood of keys (see FLOODS), and with it the order of all
 * keys; nothing was visited; only a new cursor helps, from the beginning. O(keys visited) for one call, O(slots) for all. */
SYNCMAP_API int syncmap_scan(syncmap *m, syncmap_cursor *cursor, size_t count,
                             bool (*visit)(syncmap_key key, void *value, void *context), void *context);

/* Loads `count` keys: values[i] and present[i] for keys[i], as syncmap_load() would (each at an instant of its own in the call, in no order);
 * either array may be NULL. Faster than as many loads, since it waits for the memory of many at the same time. 1 all are present, 0
 * not all. SYNCMAP_EINVAL if one key is not of the map's kind, and then nothing is written. Needs a pin as syncmap_load(); never
 * allocates or frees, nor waits for another thread. */
SYNCMAP_API int syncmap_load_many(syncmap *m, size_t count, const syncmap_key *keys, void **values, bool *present);

/* Makes room: as options.capacity, later. What is there already counts. 0 done. SYNCMAP_ENOMEM possible: then the map has the
 * same keys, and perhaps a part of the room. O(keys). */
SYNCMAP_API int syncmap_reserve(syncmap *m, size_t keys);

/* Deletes all keys, at one instant. 0 done. SYNCMAP_ENOMEM possible. What was reserved may go, too. */
SYNCMAP_API int syncmap_clear(syncmap *m);

/* The number of keys. Exact if all writes happened before the call; else off by what writers are in the middle of, or have
 * only just ended.
 * 0 if m is NULL. Wait-free, O(1). */
SYNCMAP_API size_t syncmap_len(syncmap *m);

/* ---- reclamation --------------------------------------------------------------------------------- */

/* From syncmap_pin() to the matching syncmap_unpin() nothing that this thread loaded, from any map, is freed. Pins
 * nest: the outermost unpin ends the protection. Both cost about a nanosecond, are wait-free, and never
 * fail. What any thread of the process retires meanwhile is kept: do not hold a pin while you wait for
 * something. A thread that exits is unpinned (if the system has let the library ask for its end: where
 * pthread_setspecific() fails for as long as the thread lives, it has to unpin). An unpin without a pin is ignored. */
SYNCMAP_API void syncmap_pin(void);
SYNCMAP_API void syncmap_unpin(void);

/* Has release(object) called, exactly once, after every thread that is pinned now has unpinned; by any
 * thread, with no lock held. For what a swap or a load_and_delete took out of a map, or for any object that readers
 * under a pin may see and that no new reader can reach. 0 done; SYNCMAP_ENOMEM: not retired, the object is still
 * the caller's (wait with syncmap_barrier(), unpinned, then release it); SYNCMAP_EINVAL: release is NULL.
 * A NULL object is ignored: 0, and release is not called. Lock-free but for malloc. */
SYNCMAP_API int syncmap_retire(void *object, void (*release)(void *object));

/* Waits until all that was retired before the call, by any thread, was released: replaced and deleted values, keys,
 * objects given to syncmap_retire(), maps given to syncmap_free(). Blocks until every thread that is pinned now has unpinned.
 * Called by a thread that is pinned, or from what the library calls to release something (a release function, value_free, drop, the
 * allocator's free), it would wait for itself: there it returns at once and has done nothing. Where the kernel has membarrier(2)
 * when the library is loaded, and refuses it later (a seccomp filter), nothing is freed any more, and this waits for ever (and
 * ORDER across keys holds in FLAT but for the moment that a store is in a processor's buffer): allow it in such a filter. */
SYNCMAP_API void syncmap_barrier(void);

/* ---- the rest ------------------------------------------------------------------------------------ */

/* A short English text for a result of this library, in static memory; never NULL. */
SYNCMAP_API const char *syncmap_strerror(int error);

/* SYNCMAP_VERSION of the library that is linked, which may differ from the header's. */
SYNCMAP_API int syncmap_version(void);

#ifdef __cplusplus
}
#endif

#endif
