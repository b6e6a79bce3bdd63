/* SPDX-License-Identifier: MIT
 *
 * load_or_compute: a value that is made once, by one of those who want it.
 *
 * It is made of loads and a load_or_store, and works over any engine; what is added is a map of *flights*: the computations
 * that go on. A flight is in the frame of the call that computes, and in the list of one of some stripes, by its hash. So it needs
 * no memory, and computing a key takes two short locks of a mutex that few others want at the time.
 *
 *   1. Load. Present: that is all; no lock.
 *   2. Begin a flight. If another thread has one for the key, wait for its end, and go to 1.
 *   3. Load again: the flight that this thread did not see any more, between 1 and 2, may have stored the value.
 *   4. Call compute, and load_or_store what it made.
 *   5. End the flight, and wake who waits for it.
 *   6. Give up what was computed, and not stored.
 *
 * INVARIANTS
 *   C1  In a stripe there is one flight of a key and a map at most, but for those that one thread has begun inside each other (C4).
 *   C2  A value is stored before its flight ends. So who begins one after that finds it in step 3, unless it was deleted: while
 *       nobody deletes it, a key is computed once.
 *   C3  Who waits for whom has no cycle. A thread that is about to wait follows the chain from the flight's owner on, from each
 *       thread to the owner of the flight that that one waits for, under `flights_waiting`, under which alone waits_for is written;
 *       if it meets itself, it does not wait (SYNCMAP_EDEADLK). A thread that is in a chain is inside a call, so what is known of
 *       it (`own`) is there.
 *   C4  A call for the very key that an own flight is for would wait for itself: SYNCMAP_EDEADLK, too. Own flights are in a list of
 *       the thread's. For others, whose keys only have the same hash, it does not wait.
 *
 * No user code runs under the stripes' mutexes. So what is compared there are integers (by their hash, which is a bijection), and
 * the contents of strings and bytes, which are there while their flight is in the list. Custom keys go by their hash alone: those
 * with the same 64 bits are computed one after the other.
 *
 * A waiter is woken with `over` set, under the stripe's mutex, by who ends the flight, who also takes back waits_for (under both
 * mutexes), so that nobody follows a chain to a flight that has ended. Lock order: a stripe's, then flights_waiting.
 *
 * A fork takes all these mutexes. In the child there are no waiters, and the flights of its one thread only, which may have forked
 * while it computes. Only these are looked at: other child handlers may have run before, and started threads on the stacks that the
 * others were on.
 *
 * Compute may be left by pthread_exit() or cancellation: then the flight ends as if compute had failed.
 *
 * The idea is that of a map of calls in flight: Go's golang.org/x/sync/singleflight; that it is joined with a map's load and store,
 * that of computeIfAbsent in Java's ConcurrentHashMap, which holds the lock of a bin meanwhile, and reports recursion only there.
 */
#include "api.h"

struct waiter {
    struct waiter *next;
    struct thread_own *thread;
    bool over; /* the flight is */
};

struct flight {
    struct flight *next;  /* of its stripe */
    struct flight *outer; /* of its thread's, the one in whose compute it began */
    const struct syncmap *map;
    syncmap_key key;
    uint64_t hash; /* by the map's first secrets */
    struct thread_own *owner;
    struct waiter *waiters;
};

enum { STRIPES = 16 };
#define STRIPE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL}
static struct stripe {
    alignas(CACHE_LINE) pthread_mutex_t mutex;
    pthread_cond_t ended;
    struct flight *first;
} stripes[STRIPES] = {STRIPE, STRIPE, STRIPE, STRIPE, STRIPE, STRIPE, STRIPE, STRIPE,
                      STRIPE, STRIPE, STRIPE, STRIPE, STRIPE, STRIPE, STRIPE, STRIPE};
#undef STRIPE
static pthread_mutex_t flights_waiting = PTHREAD_MUTEX_INITIALIZER;

static struct stripe *stripe_of(const struct flight *f)
{
    return &stripes[f->hash % STRIPES];
}

/* ---- flights ---- */

/* Whether two flights are for the same key, as far as that can be told without user code. */
static bool flight_is_same(const struct flight *a, const struct flight *b)
{
    const struct key_type *type = &a->map->key;
    return a->map == b->map && a->hash == b->hash && (type->kind == SYNCMAP_CUSTOM || key_is_equal(type, a->key, b->key));
}

/* Whether the thread is computing this very key. Runs user code for custom keys. */
static bool flight_is_nested(const struct flight *f)
{
    for (const struct flight *o = own.flights; o != NULL; o = o->outer)
        if (o->map == f->map && o->hash == f->hash && key_is_equal(&f->map->key, o->key, f->key))
            return true;
    return false;
}

/* Says that the thread waits for `owner`; false: that one waits for it, directly or through others. */
static bool wait_begins(struct thread_own *owner)
{
    pthread_mutex_lock(&flights_waiting);
    const struct thread_own *t = owner;
    while (t != NULL && t != &own)
        t = t->waits_for;
    if (t == NULL)
        own.waits_for = owner;
    pthread_mutex_unlock(&flights_waiting);
    return t == NULL;
}

static void flight_link(struct flight *f)
{
    struct stripe *s = stripe_of(f);
    f->next = s->first;
    s->first = f;
}

/* 1 begun, 0 there was another, which has ended, SYNCMAP_EDEADLK. */
static int flight_begin(struct flight *f)
{
    if (flight_is_nested(f))
        return SYNCMAP_EDEADLK;
    struct stripe *s = stripe_of(f);
    int cancelable; /* not while it waits */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    pthread_mutex_lock(&s->mutex);
    struct flight *other = s->first;
    while (other != NULL && (other->owner == f->owner || !flight_is_same(other, f)))
        other = other->next;
    int result = other == NULL;
    if (other == NULL) {
        flight_link(f);
        f->outer = own.flights;
        own.flights = f;
    } else if (!wait_begins(other->owner)) {
        result = SYNCMAP_EDEADLK;
    } else {
        struct waiter w = {.next = other->waiters, .thread = &own};
        other->waiters = &w;
        while (!w.over)
            pthread_cond_wait(&s->ended, &s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    pthread_setcancelstate(cancelable, NULL);
    return result;
}

/* The thread's innermost one. */
static void flight_end(void *flight)
{
    struct flight *f = flight;
    struct stripe *s = stripe_of(f);
    own.flights = f->outer;
    pthread_mutex_lock(&s->mutex);
    struct flight **link = &s->first;
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    if (f->waiters != NULL) {
        pthread_mutex_lock(&flights_waiting);
        for (struct waiter *w = f->waiters; w != NULL; w = w->next) {
            w->thread->waits_for = NULL;
            w->over = true;
        }
        pthread_mutex_unlock(&flights_waiting);
        pthread_cond_broadcast(&s->ended);
    }
    pthread_mutex_unlock(&s->mutex);
}

/* ---- fork ---- */

static void flights_fork_prepare(void)
{
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_lock(&stripes[i].mutex);
    pthread_mutex_lock(&flights_waiting);
}

static void flights_fork_parent(void)
{
    pthread_mutex_unlock(&flights_waiting);
    for (unsigned i = STRIPES; i-- > 0;)
        pthread_mutex_unlock(&stripes[i].mutex);
}

static void flights_fork_child(void)
{
    for (unsigned i = 0; i < STRIPES; i++) {
        stripes[i].ended = (pthread_cond_t)PTHREAD_COND_INITIALIZER; /* it may count threads that are not there */
        stripes[i].first = NULL; /* others' stacks may be gone */
    }
    for (struct flight *f = own.flights; f != NULL; f = f->outer) {
        f->waiters = NULL;
        flight_link(f);
    }
    flights_fork_parent();
}

/* ---- the operation ---- */

/* What compute and its result need. */
struct computation {
    syncmap *m;
    syncmap_key key;
    int (*compute)(syncmap_key key, void **value, void *context);
    void *context;
    void **found; /* NULL: the caller does not want it */
    void *lost;   /* what was computed, and not stored; NULL: nothing */
};

/* Steps 3 and 4. */
static int compute_and_store(struct computation *c)
{
    syncmap *m = c->m;
    int result = syncmap_load(m, c->key, c->found);
    if (result != 0)
        return result;
    void *value = NULL;
    result = c->compute(c->key, &value, c->context);
    if (result < 0)
        return result;
    result = syncmap_load_or_store(m, c->key, value, c->found);
    if (result != 0 && !value_is_reserved(value))
        c->lost = value;
    return result;
}

/* Nobody else has seen it. As in release_some() (reclaim.c): a barrier in value_free returns at once, and the thread is not
 * cancelled there. */
static void value_give_up(const struct syncmap *m, void *value)
{
    if (value == NULL || m->value_free == NULL)
        return;
    int cancelable;
    bool releasing = own.releasing;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    own.releasing = true;
    m->value_free(value, m->context);
    own.releasing = releasing;
    pthread_setcancelstate(cancelable, NULL);
}

/* Steps 3 to 5, also if the thread ends in compute. */
static int fly(struct flight *f, struct computation *c)
{
    int result;
    pthread_cleanup_push(flight_end, f);
    result = compute_and_store(c);
    pthread_cleanup_pop(1);
    return result;
}

int syncmap_load_or_compute(syncmap *m, syncmap_key key, int (*compute)(syncmap_key key, void **value, void *context),
                            void *context, void **actual)
{
    if (m == NULL || compute == NULL)
        return SYNCMAP_EINVAL;
    void *found = NULL;
    struct computation c = {m, key, compute, context, actual != NULL ? &found : NULL, NULL};
    int result = syncmap_load(m, key, c.found);
    if (result == 0) {
        check_pinned(m, actual != NULL);
        struct flight f = {.map = m, .key = key, .hash = key_hash(&m->key, key), .owner = &own};
        int begun;
        do
            begun = flight_begin(&f);
        while (begun == 0 && (result = syncmap_load(m, key, c.found)) == 0);
        if (begun < 0)
            return begun;
        if (begun == 1)
            result = fly(&f, &c);
        value_give_up(m, c.lost); /* after the flight, so that nobody waits for it */
    }
    if (result >= 0 && actual != NULL)
        *actual = found;
    return result;
}
