/* SPDX-License-Identifier: MIT
 *
 * How old is what readers see: elements that tell when they were retired, and a histogram of how many epochs ago that was
 * when a pinned reader still held them (as rcutorture does). White box: to be included after syncmap.c.
 *
 * Who takes an element out of its place (an exchange, a swap, a delete: all seq_cst) then reads reclaim.epoch, r, writes it
 * into the element, and retires it. A reader pins, reads reclaim.epoch, `first`, loads the element from its place,
 * dallies, and then reads the element's r and reclaim.epoch, `now`. Then
 *
 *   A1  now <= first + 1   the epoch moves at most once while a thread is pinned;
 *   A2  r >= first         an element that was found in its place was taken out after it was found;
 *   A3  now - r <= 1       the age, from A1 and A2. It is 0 as well as long as r is not yet set.
 *   A4  released >= r + 2  the epoch in which an element is released.
 *
 * A1. Let e be what the pin stored, and B the last pass whose heavy() came before the light() of the pin (M1 of membarrier.h);
 * let E be the epoch in which B began. It was stored before that heavy(), so all that the reader reads after light() is
 * E or later. Every pass C after B finds the pin e, since its heavy() came after light(), and so steps only from e to e + 1.
 * Whoever read e did so before light(), so before the heavy() of any such C: e is no later than what B left, E or E + 1.
 *   e < E      (the thread was held up between its two instructions) B may have stepped to E + 1, nobody steps again.
 *   e = E      B stepped to E + 1, or a later pass does: nobody steps from there.
 *   e = E + 1  B stepped, and did so before e was read. A later pass may step to E + 2, none from there.
 * In the first two `first` is E or E + 1 and `now` at most E + 1; in the third `first` is at least e = E + 1 (the thread has
 * read that before, and a later read of its own is no older) and `now` at most E + 2. So in each now <= first + 1.
 * (R2 of reclaim.h says it shorter, of a pin that is not held up.)
 *
 * A2. The reader's load of the place did not find what the exchange wrote. All four are seq_cst: in their one order the
 * read of `first` is before the load, the load before the exchange, the exchange before the read of r. Of two such
 * reads of one atomic the later sees nothing older (so C23; C11's wording has a gap there, no machine does).
 *
 * A4. The pass that takes the element began after it was retired, so its tag is r or later; then R3.
 *
 * An element that an owning map gives up by itself has no r: only that it is not released is checked.
 */
#ifndef SYNCMAP_TEST_AGE_H
#define SYNCMAP_TEST_AGE_H

#include <inttypes.h>

#include "stress.h"

/* All but retired_at is plain, so that ThreadSanitizer sees a release beside a reader. */
struct element {
    uint64_t magic, index, born;
    _Atomic uint64_t retired_at; /* 0: not, or nobody knows */
};

/* An element in the hands of a pinned reader. */
struct sight {
    const struct element *element;
    uint64_t index, first;
};

/* One thread's part of the histogram. */
struct tally {
    unsigned long long in_place, age[2];
};

enum { QUARANTINE = 4096 };
static const uint64_t ELEMENT_MAGIC = UINT64_C(0xe1e3e27e1e3e27e1), ELEMENT_RELEASED = UINT64_C(0xdeaddeaddeaddead);
static atomic_llong elements_live;

/* Released elements stay readable for a while, so that a reader that comes too late finds out by itself. */
static struct {
    pthread_mutex_t mutex;
    struct element *element[QUARANTINE];
    size_t at;
} quarantine = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint64_t epoch_now(void)
{
    return ld_seq_cst(&reclaim.epoch);
}

static struct element *element_make(uint64_t index)
{
    struct element *e = malloc(sizeof *e);
    CHECK(e != NULL);
    e->magic = ELEMENT_MAGIC;
    e->index = index;
    e->born = epoch_now();
    atomic_init(&e->retired_at, 0);
    atomic_fetch_add(&elements_live, 1);
    return e;
}

static void quarantine_put(struct element *e)
{
    pthread_mutex_lock(&quarantine.mutex);
    struct element **place = &quarantine.element[quarantine.at++ % QUARANTINE];
    struct element *oldest = *place;
    *place = e;
    pthread_mutex_unlock(&quarantine.mutex);
    free(oldest);
}

static void quarantine_empty(void)
{
    for (size_t i = 0; i < QUARANTINE; i++) quarantine_put(NULL);
}

/* For syncmap_retire, and at once for what was never published. */
static void element_release(void *object)
{
    struct element *e = object;
    uint64_t retired_at = atomic_load(&e->retired_at);
    CHECK(e->magic == ELEMENT_MAGIC);
    CHECK(retired_at == 0 || epoch_now() >= retired_at + 2); /* A4 */
    e->magic = ELEMENT_RELEASED;
    e->index = UINT64_MAX;
    atomic_fetch_sub(&elements_live, 1);
    quarantine_put(e);
}

/* For options.value_free. */
static void element_free(void *value, void *context)
{
    (void)context;
    element_release(value);
}

/* The caller has taken it out of the only place that it was in. */
static void element_retire(struct element *e)
{
    if (e == NULL) return;
    CHECK(e->magic == ELEMENT_MAGIC);
    CHECK(atomic_exchange(&e->retired_at, epoch_now()) == 0);
    CHECK(syncmap_retire(e, element_release) == 0);
}

/* It is not released, nor another. The thread that found it is still pinned. */
static void sight_check(struct tally *tally, struct sight sight)
{
    const struct element *e = sight.element;
    uint64_t magic = e->magic, index = e->index, retired_at = atomic_load(&e->retired_at), now = epoch_now();
    const char *wrong = magic != ELEMENT_MAGIC                          ? "a reader holds a released element"
                        : index != sight.index || e->born > now         ? "a reader holds another element"
                        : now > sight.first + 1                         ? "A1: the epoch moved twice under a pin"
                        : retired_at != 0 && retired_at < sight.first   ? "A2: retired before it was taken out"
                        : retired_at != 0 && now > retired_at + 1       ? "A3: retired two epochs ago, and still read"
                                                                        : NULL;
    if (wrong != NULL) {
        fprintf(stderr, "%s: index %" PRIu64 " (read %" PRIu64 "), magic %" PRIx64 ", first %" PRIu64
                        ", retired at %" PRIu64 ", now %" PRIu64 "\n",
                wrong, sight.index, index, magic, sight.first, retired_at, now);
        CHECK(!"a pinned reader sees nothing older than one epoch");
    }
    if (retired_at == 0)
        tally->in_place++;
    else
        tally->age[now - retired_at]++;
}

#endif
