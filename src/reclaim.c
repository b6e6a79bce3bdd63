/* SPDX-License-Identifier: MIT
 *
 * Safe reclamation. The essay, with R1 to R4 and the proof, is in reclaim.h.
 */
#include "reclaim.h"

/* ---- pins ---- */

/* thread_shared.epoch: the first pin's epoch above SHARED_BITS bits of how many pinned. */
static void pin_enter_shared(void)
{
    uint64_t word = ld_relaxed(&thread_shared.epoch), pinned; /* relaxed: the CAS checks it */
    do {
        uint64_t epoch = ld_relaxed(&reclaim.epoch); /* relaxed: see Pairs */
        pinned = (word & SHARED_COUNT) ? word + 1 : (epoch << SHARED_BITS) | 1;
    } while (!cas_acq_rel(&thread_shared.epoch, &word, pinned)); /* P1 */
}

static NOINLINE struct thread *pin_enter_slow(bool may_attach)
{
    if ((may_attach || !ld_relaxed(&own.tried)) && thread_attach() != NULL) /* relaxed: its own */
        return pin_enter(false);
    struct thread *ours = NULL;
    if (!ld_relaxed(&own.shared)) { /* relaxed: its own */
        pin_enter_shared();
        st_release(&own.shared, true); /* P3 of thread.h: after it is true */
        ours = &thread_shared;
    }
    membarrier_light(&thread_shared.cell);
    return ours;
}

void syncmap_pin(void)
{
    struct thread *ours = pin_enter(false);
    /* P3 of thread.h: the order matters to handlers (SIGNALS); relaxed: its own */
    st_release(&own.depth, ld_relaxed(&own.depth) + 1);
    if (ours != NULL)
        st_release(&own.pin_owner, ours); /* P3 of thread.h */
}

void syncmap_unpin(void)
{
    unsigned depth = ld_relaxed(&own.depth); /* relaxed: its own */
    if (depth == 0)
        return;
    struct thread *owner = ld_relaxed(&own.pin_owner); /* relaxed: its own */
    if (depth > 1 || owner == NULL) {
        st_release(&own.depth, depth - 1); /* P3 of thread.h */
        return;
    }
    st_release(&own.pin_owner, NULL); /* P3 of thread.h: in this order */
    st_release(&own.depth, 0); /* P3 of thread.h */
    pin_leave(owner);
}

/* ---- lists ---- */

struct reclaim_list {
    struct reclaim_link *head, *tail;
    size_t bytes;
};

static void list_append(struct reclaim_list *to, struct reclaim_list *from)
{
    if (from->head == NULL)
        return;
    if (to->head == NULL)
        to->head = from->head;
    else
        to->tail->next = from->head;
    to->tail = from->tail;
    to->bytes += from->bytes;
    *from = (struct reclaim_list){0};
}

static void list_find_tail(struct reclaim_list *list)
{
    list->tail = list->head;
    while (list->tail->next != NULL)
        list->tail = list->tail->next;
}

static void list_add(struct reclaim_list *list, struct reclaim_link *link)
{
    struct reclaim_list one = {link, link, 0};
    link->next = NULL;
    list_append(list, &one);
}

/* ---- slots ---- */

static struct reclaim_slot *slot_take(void)
{
    struct thread *self = thread_attach();
    if (self == NULL)
        return NULL;
    struct reclaim_slot *slot = ld_relaxed(&self->slots); /* relaxed: its own */
    if (slot == NULL)
        return malloc(sizeof *slot);
    st_release(&self->slots, slot->next_spare); /* P5 */
    self->slot_count--;
    return slot;
}

static void slot_give_back(struct reclaim_slot *slot)
{
    if (slot == NULL)
        return;
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    if (self == NULL || self->slot_count >= RECLAIM_SLOTS) {
        free(slot);
        return;
    }
    slot->next_spare = ld_relaxed(&self->slots); /* relaxed: its own */
    st_release(&self->slots, slot); /* P5 */
    self->slot_count++;
}

/* ---- retire ---- */

static void reclaim_retire(struct reclaim_link *link, const struct reclaim_class *class, size_t bytes)
{
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    if (unlikely(self == NULL))
        self = &thread_shared;
    link->class = class;
    link->next = ld_relaxed(&self->retired); /* relaxed: the CAS checks it */
    while (!cas_release(&self->retired, &link->next, link)) /* P2 */
        continue;
    if (likely(self != &thread_shared))
        st_relaxed(&self->retired_bytes, ld_relaxed(&self->retired_bytes) + bytes); /* relaxed: a statistic; a handler in between is not in it */
    else
        add_relaxed(&self->retired_bytes, bytes); /* relaxed: a statistic */
    /* relaxed: a hint when to collect; a handler in between loses a few pieces */
    st_relaxed(&self->work, ld_relaxed(&self->work) + 1 + bytes / RECLAIM_PIECE);
    if (bytes >= RECLAIM_LARGE)
        st_relaxed(&reclaim.hurry, true); /* relaxed: a hint when to collect */
}

/* ---- collect ---- */

static struct {
    pthread_mutex_t mutex;
    struct reclaim_list limbo[3];
    uint64_t tag[3];              /* of each */
    struct reclaim_list untagged; /* taken by a pass whose heavy() failed */
    struct reclaim_list lasts;    /* of struct reclaim_last, in the order they came */
    uint64_t batches;             /* how many were given out */
    struct reclaim_list unfinished; /* what was given out, and came back */
    uint64_t unfinished_batch;      /* the lowest number that it had */
} collector = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void collector_take_from(struct thread *t)
{
    if (ld_relaxed(&t->retired) == NULL) /* relaxed: a hint for the exchange */
        return;
    struct reclaim_list taken = {0};
    size_t bytes = ld_relaxed(&t->retired_bytes); /* relaxed: a statistic; what it lags behind is counted next time */
    taken.head = xchg_acquire(&t->retired, NULL); /* P2 */
    list_find_tail(&taken);
    taken.bytes = bytes > t->stolen_bytes ? bytes - t->stolen_bytes : 0; /* (it falls by what a handler added) */
    t->stolen_bytes = bytes;
    list_append(&collector.untagged, &taken);
}

/* Step 5: whether nobody is pinned at an older epoch than `epoch`. */
static bool collector_may_step(uint64_t epoch)
{
    uint64_t shared = ld_acquire(&thread_shared.epoch); /* P1 */
    if (shared != 0 && shared >> SHARED_BITS != epoch)
        return false;
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) { /* P2 of thread.h */
        uint64_t pinned = ld_acquire(&t->epoch); /* P1 */
        if (pinned != 0 && pinned != epoch)
            return false;
    }
    return true;
}

/* Whether batch `batch` and all before it were released. In a pass: what was unfinished is somebody's again, who says so. */
static bool collector_batches_done(uint64_t batch)
{
    uint64_t freeing = ld_acquire(&thread_shared.freeing); /* P3 */
    if (freeing != 0 && freeing <= batch)
        return false;
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) { /* P2 of thread.h */
        freeing = ld_acquire(&t->freeing); /* P3 */
        if (freeing != 0 && freeing <= batch)
            return false;
    }
    return true;
}

/* Moves each last thing on by the stages of the essay; `tag` is this pass's, `epoch` the one after it. What is due
 * goes to the end of `ready`, whose batch will have the number `batch`. (None overtakes another: a batch may be done
 * between two looks, so a later one may find all batches done where an earlier one did not.) */
static void collector_move_lasts(uint64_t tag, uint64_t epoch, struct reclaim_list *ready, uint64_t batch)
{
    struct reclaim_list waiting = {0};
    bool gone = false;
    for (struct reclaim_link *next, *link = collector.lasts.head; link; link = next) {
        struct reclaim_last *last = container_of(link, struct reclaim_last, link);
        next = link->next;
        if (last->stage == LAST_GIVEN) {
            last->stage = LAST_TAGGED;
            last->tag = tag;
        } else if (last->stage == LAST_TAGGED && last->tag + 2 <= epoch) {
            last->stage = LAST_TAKEN;
            last->batch = batch;
        } else if (last->stage == LAST_TAKEN && waiting.head == NULL && collector_batches_done(last->batch)) {
            list_add(ready, link);
            gone = true;
            continue;
        }
        if (gone && last->stage == LAST_TAKEN) /* not before the ones that this batch releases */
            last->batch = batch;
        list_add(&waiting, link);
    }
    collector.lasts = waiting;
}

/* Marks a thread as releasing a batch, beside what it has taken already: with the lowest number. Under the mutex. */
static void collector_mark(struct thread *self, uint64_t batch)
{
    uint64_t mine = ld_relaxed(&self->freeing); /* relaxed: its own */
    if (mine == 0 || batch < mine)
        st_release(&self->freeing, batch); /* P3: under the mutex */
}

/* Takes up what others left. `self` is marked as releasing it at once, so that no last thing finds it gone. Under the mutex. */
static void collector_take_unfinished(struct thread *self, struct reclaim_list *ready)
{
    if (collector.unfinished.head == NULL)
        return;
    collector_mark(self, collector.unfinished_batch);
    list_append(ready, &collector.unfinished);
}

/* Whether a pass takes over what another record has ready. all: wherever there is any. */
static bool collector_may_take_ready(struct thread *t, bool all)
{
    if (ld_relaxed(&t->ready) == NULL) /* relaxed: a hint for the exchange */
        return false;
    return all || !ld_relaxed(&t->in_use) || ld_relaxed(&t->freeing) + RECLAIM_IDLE < collector.batches; /* relaxed: when to, not whether */
}

/* Takes over what others have ready (AMORTIZED), and marks `self` first, as above: if the thread itself was not faster. */
static void collector_take_ready(struct thread *self, struct reclaim_list *ready, bool all)
{
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) { /* P2 of thread.h */
        if (!collector_may_take_ready(t, all))
            continue;
        struct reclaim_list taken = {0};
        uint64_t batch = ld_acquire(&t->freeing); /* P3: before the exchange; after it a thread that exits may clear it */
        taken.head = xchg_acquire(&t->ready, NULL); /* P6 */
        if (taken.head == NULL)
            continue;
        debug_assert(t != self && batch != 0); /* what it had ready itself it has released */
        collector_mark(self, batch);
        st_release(&t->freeing, 0); /* P3: under the mutex */
        list_find_tail(&taken);
        list_append(ready, &taken);
    }
}

/* One pass, under the mutex. What may be released goes to `ready`, and then `self` is marked as releasing it. */
static void collector_pass(struct thread *self, struct reclaim_list *ready)
{
    uint64_t epoch = ld_relaxed(&reclaim.epoch); /* relaxed: only passes change it, under the mutex */
    debug_count(passes);
    collector_take_unfinished(self, ready);
    collector_take_from(&thread_shared);
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) /* P2 of thread.h */
        collector_take_from(t);
    if (!membarrier_heavy())
        return;

    size_t now = epoch % 3;
    if (collector.tag[now] != epoch) /* older by 3 or more: free to go */
        list_append(ready, &collector.limbo[now]);
    collector.tag[now] = epoch;
    list_append(&collector.limbo[now], &collector.untagged);

    uint64_t tag = epoch;
    if (collector_may_step(epoch)) {
        debug_assert(ld_relaxed(&reclaim.epoch) == epoch); /* relaxed: under the mutex */
        epoch++;
        st_release(&reclaim.epoch, epoch); /* P1: no reader needs it; whoever debugs a hang may */
    }
    size_t waiting = 0;
    for (size_t i = 0; i < 3; i++) {
        if (collector.tag[i] + 2 <= epoch)
            list_append(ready, &collector.limbo[i]);
        waiting += collector.limbo[i].bytes;
    }
    st_relaxed(&reclaim.hurry, waiting >= RECLAIM_LARGE); /* relaxed: a hint when to collect */
    collector_move_lasts(tag, epoch, ready, collector.batches + 1);
    collector.batches++;
    if (ready->head != NULL && ld_relaxed(&self->freeing) == 0) /* relaxed: its own */
        st_release(&self->freeing, collector.batches); /* P3: under the mutex */
}

/* Leaves what is left of a batch to the next pass. */
static void collector_leave_unfinished(struct thread *self, struct reclaim_list *rest)
{
    uint64_t batch = ld_relaxed(&self->freeing); /* relaxed: its own */
    pthread_mutex_lock(&collector.mutex);
    if (collector.unfinished.head == NULL || batch < collector.unfinished_batch)
        collector.unfinished_batch = batch;
    list_append(&collector.unfinished, rest);
    st_release(&self->freeing, 0); /* P3: under the mutex: in between it would belong to nobody */
    pthread_mutex_unlock(&collector.mutex);
    st_relaxed(&reclaim.hurry, true); /* relaxed: a hint when to collect */
}

/* How much a thread that collects is ready to do. */
enum effort {
    EFFORT_POLL,  /* a little: it has other things to do */
    EFFORT_FLUSH, /* all that can be done without waiting */
    EFFORT_WAIT   /* all, and it waits for the mutex */
};

#define RELEASE_ALL SIZE_MAX

/* Releases some of what the thread has taken, `budget` objects, of a large one only a part; or all. The rest is kept ready, or left to the
 * next pass. Runs user code, which may retire, but not collect. A thread that is cancelled there would lose the rest. */
static void release_some(struct thread *self, struct reclaim_list *list, size_t budget, bool keep)
{
    if (list->head == NULL)
        return;
    int cancelable;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    own.releasing = true;
    while (list->head != NULL && budget > 0) {
        struct reclaim_link *link = list->head, *next = link->next;
        bool done = link->class->release(link, link->class);
        if (done)
            list->head = next;
        if (budget != RELEASE_ALL)
            budget = done ? budget - 1 : 0;
    }
    own.releasing = false;
    if (list->head == NULL)
        st_release(&self->freeing, 0); /* P3 */
    else if (keep)
        st_release(&self->ready, list->head); /* P6 */
    else
        collector_leave_unfinished(self, list);
    pthread_setcancelstate(cancelable, NULL);
}

/* The same of what it has ready, unless that was taken over. */
static void release_ready(struct thread *self, size_t budget, bool keep)
{
    struct reclaim_list taken = {0};
    if (ld_relaxed(&self->ready) == NULL) /* relaxed: a hint for the exchange */
        return;
    taken.head = xchg_acquire(&self->ready, NULL); /* P6 */
    if (taken.head != NULL && !keep)
        list_find_tail(&taken);
    release_some(self, &taken, budget, keep);
}

/* Whether a pass is not worth its membarrier, as a reader is in the way (what waits for it goes on without: it may be a
 * reader that came later); or not possible, as another thread without a record is releasing on thread_shared. */
static bool collector_would_fail(struct thread *self, enum effort effort)
{
    if (ld_acquire(&self->freeing) != 0) /* P3 */
        return true;
    if (effort == EFFORT_WAIT || collector.unfinished.head != NULL || collector.lasts.head != NULL)
        return false;
    if (collector_may_step(ld_relaxed(&reclaim.epoch))) /* relaxed: under the mutex */
        return false;
    st_relaxed(&reclaim.hurry, false); /* relaxed: a hint when to collect */
    return true;
}

/* Whether what a pass has found may wait, and its thread release it by and by (AMORTIZED). */
static bool may_be_amortized(const struct thread *self, const struct reclaim_list *ready)
{
    return RECLAIM_SHARE > 0 && self != &thread_shared && ready->head != NULL && ready->bytes < RECLAIM_LARGE;
}

/* A pass and its releases. False: there was none to be had, or nothing is left to collect. */
static bool collect(struct thread *self, enum effort effort)
{
    struct reclaim_list ready = {0};
    release_ready(self, effort == EFFORT_POLL ? RECLAIM_BUDGET : RELEASE_ALL, false);
    if (effort == EFFORT_WAIT)
        pthread_mutex_lock(&collector.mutex);
    else if (pthread_mutex_trylock(&collector.mutex) != 0)
        return false;
    if (collector_would_fail(self, effort)) {
        pthread_mutex_unlock(&collector.mutex);
        st_relaxed(&self->work, 0); /* relaxed: a hint when to collect */
        return false;
    }
    bool all = effort != EFFORT_POLL || collector.lasts.head != NULL;
    collector_take_ready(self, &ready, all);
    bool at_once = all || ready.head != NULL || collector.unfinished.head != NULL; /* what is old is not amortized again */
    collector_pass(self, &ready);
    bool left = collector.untagged.head || collector.lasts.head || collector.unfinished.head;
    for (size_t i = 0; i < 3; i++)
        left |= collector.limbo[i].head != NULL;
    pthread_mutex_unlock(&collector.mutex);
    st_relaxed(&self->work, 0); /* relaxed: a hint when to collect */
    if (!at_once && may_be_amortized(self, &ready))
        st_release(&self->ready, ready.head); /* P6 */
    else
        release_some(self, &ready, effort == EFFORT_POLL ? RECLAIM_BUDGET : RELEASE_ALL, false);
    return left;
}

static NOINLINE int reclaim_poll_slow(struct thread *self, size_t work, int result)
{
    if (own.releasing)
        return result;
    if (work >= RECLAIM_WORK)
        collect(self, EFFORT_POLL);
    else
        release_ready(self, 2 * RECLAIM_SHARE, true);
    size_t due = RECLAIM_WORK;
    if (RECLAIM_SHARE > 0 && ld_relaxed(&self->ready) != NULL) /* relaxed: a hint when to release */
        due = ld_relaxed(&self->work) + RECLAIM_SHARE; /* relaxed: as above */
    st_relaxed(&self->due, due < RECLAIM_WORK ? due : RECLAIM_WORK); /* relaxed: as above */
    return result;
}

static ALWAYS_INLINE int reclaim_poll_own(struct thread *self, int result)
{
    size_t work = ld_relaxed(&self->work); /* relaxed: its own hint */
    if (unlikely(ld_relaxed(&reclaim.hurry))) { /* relaxed: a hint when to collect */
        work += RECLAIM_WORK / 16;
        st_relaxed(&self->work, work); /* relaxed: its own hint */
    }
    if (unlikely(work >= ld_relaxed(&self->due))) /* relaxed: as above */
        return reclaim_poll_slow(self, work, result);
    return result;
}

static ALWAYS_INLINE void reclaim_poll(void)
{
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    (void)reclaim_poll_own(likely(self != NULL) ? self : &thread_shared, 0);
}

static void reclaim_retire_last(struct reclaim_last *last, const struct reclaim_class *class)
{
    last->link.class = class;
    last->stage = LAST_GIVEN;
    pthread_mutex_lock(&collector.mutex);
    list_add(&collector.lasts, &last->link);
    pthread_mutex_unlock(&collector.mutex);
}

static void reclaim_flush(void)
{
    struct thread *self = thread_attach();
    if (self == NULL)
        self = &thread_shared;
    if (own.releasing)
        return;
    for (int passes = 0; passes < 6; passes++)
        if (!collect(self, EFFORT_FLUSH))
            return;
}

/* A last thing on the stack of a thread that waits for it. */
struct barrier {
    struct reclaim_last last;
    const struct thread_own *waiting; /* whose stack it is */
    _Atomic bool passed;
};

static bool barrier_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    struct barrier *barrier = container_of(link, struct barrier, last.link);
    st_release(&barrier->passed, true); /* P4: the last touch; all releases before it happened before */
    return true;
}

static const struct reclaim_class barrier_class = {barrier_release};

/* In the child of a fork: the barriers of threads that are not there, on stacks that may be reused, are nobody's. */
static void collector_forget_barriers(void)
{
    struct reclaim_list kept = {0};
    for (struct reclaim_link *next, *link = collector.lasts.head; link; link = next) {
        next = link->next;
        if (link->class != &barrier_class || container_of(link, struct barrier, last.link)->waiting == &own)
            list_add(&kept, link);
    }
    collector.lasts = kept;
}

static void reclaim_fork_prepare(void)
{
    pthread_mutex_lock(&collector.mutex);
}

static void reclaim_fork_parent(void)
{
    pthread_mutex_unlock(&collector.mutex);
}

/* What another thread was just releasing is lost to the child; all that was retired and not taken is there. */
static void reclaim_fork_child(void)
{
    uint64_t epoch = ld_relaxed(&reclaim.epoch); /* relaxed: nobody else is there */
    bool pinned = ld_relaxed(&own.shared); /* relaxed: its own */
    st_release(&thread_shared.epoch, pinned ? ((epoch - 1) << SHARED_BITS) | 1 : 0); /* P1: as if pinned long ago */
    if (!own.releasing || ld_relaxed(&own.record) != NULL) /* relaxed: its own */
        st_release(&thread_shared.freeing, 0); /* P3 */
    collector_forget_barriers();
    pthread_mutex_unlock(&collector.mutex);
}

/* ---- the public part ---- */

static bool object_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    struct reclaim_slot *slot = container_of(link, struct reclaim_slot, link);
    slot->release(slot->object);
    slot_give_back(slot);
    return true;
}

int syncmap_retire(void *object, void (*release)(void *object))
{
    static const struct reclaim_class object_class = {object_release};
    if (release == NULL)
        return SYNCMAP_EINVAL;
    if (object == NULL)
        return 0;
    struct reclaim_slot *slot = slot_take();
    if (slot == NULL)
        return SYNCMAP_ENOMEM;
    slot->object = object;
    slot->release = release;
    reclaim_retire(&slot->link, &object_class, sizeof *slot);
    reclaim_poll();
    return 0;
}

void syncmap_barrier(void)
{
    struct thread *self = thread_attach();
    if (self == NULL)
        self = &thread_shared;
    else if (ld_relaxed(&self->epoch) != 0) /* relaxed: its own */
        return;
    if (own.releasing || pin_held() || ld_relaxed(&own.shared)) /* relaxed: its own */
        return;
    int cancelable; /* the barrier lies on this stack, and on a list */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    struct barrier barrier = {.waiting = &own};
    reclaim_retire_last(&barrier.last, &barrier_class);
    collect(self, EFFORT_WAIT);
    for (long round = 1; !ld_acquire(&barrier.passed); round++) { /* P4 */
        if (round > 8) /* a reader is pinned, or another thread is releasing */
            platform_sleep(round < 100 ? 20000 : 500000);
        collect(self, EFFORT_WAIT);
    }
    pthread_setcancelstate(cancelable, NULL);
}
