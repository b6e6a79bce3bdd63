/* SPDX-License-Identifier: MIT
 *
 * White box: pins, epochs, lists and threads' records, and what they do when the system refuses something.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* What the system refuses, while set. */
static bool refuse_record, refuse_specific, refuse_membarrier, refuse_malloc;

static int test_memalign(void **memory, size_t alignment, size_t size)
{
    return refuse_record ? ENOMEM : posix_memalign(memory, alignment, size);
}

static int test_setspecific(pthread_key_t key, const void *value)
{
    return refuse_specific ? ENOMEM : pthread_setspecific(key, value);
}

static void *test_malloc(size_t size)
{
    return refuse_malloc ? NULL : malloc(size);
}

static long test_syscall(long number, int command, int flags, int cpu)
{
    return refuse_membarrier ? -1 : syscall(number, command, flags, cpu);
}

#include "platform.h" /* before the names below change, all but its own system call */
#define posix_memalign test_memalign
#define pthread_setspecific test_setspecific
#define malloc test_malloc
#define platform_membarrier(command) test_syscall(SYS_membarrier, command, 0, 0)
#include "syncmap.c"
#undef malloc

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "support/support.h"

/* ---- things to retire ---- */

struct thing {
    struct reclaim_link link;
    int released;
};

static int released_in_all;

static bool thing_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    container_of(link, struct thing, link)->released++;
    released_in_all++;
    return true;
}

static const struct reclaim_class thing_class = {thing_release};

/* One pass of this thread; the epoch after it. */
static uint64_t pass(void)
{
    collect(thread_attach(), EFFORT_WAIT);
    return ld_relaxed(&reclaim.epoch);
}

/* ---- another thread that pins and unpins when it is told to ---- */

struct reader {
    pthread_t thread;
    _Atomic int wanted, done; /* step numbers */
};

static void *reader_run(void *argument)
{
    struct reader *reader = argument;
    for (int step = 1;; step++) {
        while (atomic_load(&reader->wanted) < step)
            sched_yield();
        if (step % 2)
            syncmap_pin();
        else
            syncmap_unpin();
        atomic_store(&reader->done, step);
        if (step == 2)
            return NULL;
    }
}

static void reader_step(struct reader *reader)
{
    int step = atomic_fetch_add(&reader->wanted, 1) + 1;
    while (atomic_load(&reader->done) < step)
        sched_yield();
}

static void reader_start(struct reader *reader)
{
    *reader = (struct reader){0};
    assert_int_equal(pthread_create(&reader->thread, NULL, reader_run, reader), 0);
    reader_step(reader);
}

static void reader_finish(struct reader *reader)
{
    reader_step(reader);
    pthread_join(reader->thread, NULL);
}

/* ---- epochs ---- */

static void freed_after_exactly_two_steps(void **state)
{
    (void)state;
    struct thing thing = {0};
    uint64_t epoch = ld_relaxed(&reclaim.epoch);
    reclaim_retire(&thing.link, &thing_class, 100);
    assert_int_equal(pass(), epoch + 1); /* tagged `epoch` */
    assert_int_equal(thing.released, 0);
    assert_int_equal(pass(), epoch + 2);
    assert_int_equal(thing.released, 1);
    assert_int_equal(pass(), epoch + 3);
    assert_int_equal(thing.released, 1);
}

/* R2: a reader pinned at e lets the epoch go to e + 1 and no further, and what it may hold stays. */
static void pinned_reader_holds_off(void **state)
{
    (void)state;
    struct reader reader;
    reader_start(&reader);
    struct thing thing = {0};
    uint64_t epoch = ld_relaxed(&reclaim.epoch);
    reclaim_retire(&thing.link, &thing_class, 1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(pass(), epoch + 1);
    assert_int_equal(thing.released, 0);
    assert_false(collect(thread_attach(), EFFORT_POLL)); /* who need not wait does not even try */
    reader_finish(&reader);
    assert_int_equal(pass(), epoch + 2);
    assert_int_equal(thing.released, 1);
}

/* The same for this thread's own pins, nested. */
static void own_pins_nest(void **state)
{
    (void)state;
    struct thing thing = {0};
    syncmap_unpin(); /* ignored */
    syncmap_pin();
    syncmap_pin();
    assert_null(pin_enter(false)); /* an operation leaves it as it is */
    reclaim_retire(&thing.link, &thing_class, 1);
    for (int i = 0; i < 5; i++)
        pass();
    syncmap_unpin();
    for (int i = 0; i < 5; i++)
        pass();
    assert_int_equal(thing.released, 0);
    assert_true(pin_held());
    syncmap_unpin();
    assert_false(pin_held());
    assert_int_equal(ld_relaxed(&thread_attach()->epoch), 0);
    for (int i = 0; i < 3; i++)
        pass();
    assert_int_equal(thing.released, 1);
}

static void each_is_released_once(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static struct thing things[MANY];
    memset(things, 0, sizeof things);
    released_in_all = 0;
    for (int i = 0; i < MANY; i++) {
        reclaim_retire(&things[i].link, &thing_class, 64);
        reclaim_poll();
    }
    assert_true(released_in_all > MANY / 2); /* without anyone asking for it */
    syncmap_barrier();
    assert_int_equal(released_in_all, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(things[i].released, 1);
}

/* Something large is collected soon after, by writers that retire nothing themselves. */
static void large_garbage_hurries(void **state)
{
    (void)state;
    syncmap_barrier();
    struct thing thing = {0};
    st_relaxed(&thread_attach()->work, 0);
    reclaim_retire(&thing.link, &thing_class, RECLAIM_LARGE);
    st_relaxed(&thread_attach()->work, 0); /* as if another thread had retired it */
    int polls = 0;
    while (!thing.released && polls++ < 1000)
        reclaim_poll();
    assert_true(polls <= 3 * 16 + 1);
    assert_false(ld_relaxed(&reclaim.hurry));
}

static void accounting_of_bytes(void **state)
{
    (void)state;
    syncmap_barrier();
    struct thing things[3] = {0};
    struct reader reader;
    reader_start(&reader);
    for (int i = 0; i < 3; i++)
        reclaim_retire(&things[i].link, &thing_class, 1000);
    pass();
    size_t waiting = collector.limbo[0].bytes + collector.limbo[1].bytes + collector.limbo[2].bytes;
    assert_int_equal(waiting, 3000);
    reader_finish(&reader);
    syncmap_barrier();
    waiting = collector.limbo[0].bytes + collector.limbo[1].bytes + collector.limbo[2].bytes;
    assert_int_equal(waiting, 0);
}

/* ---- last things ---- */

struct last_thing {
    struct reclaim_last last;
    int released_before; /* of the others, when it was released; -1: not yet */
};

static bool last_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    container_of(link, struct last_thing, last.link)->released_before = released_in_all;
    return true;
}

static const struct reclaim_class last_class = {last_release};

static void last_goes_after_all_before_it(void **state)
{
    (void)state;
    enum { MANY = 50 };
    static struct thing things[MANY];
    struct last_thing first = {.released_before = -1}, second = {.released_before = -1};
    released_in_all = 0;
    for (int i = 0; i < MANY; i++)
        reclaim_retire(&things[i].link, &thing_class, 1);
    reclaim_retire_last(&first.last, &last_class);
    reclaim_retire_last(&second.last, &last_class);
    for (int i = 0; i < 6; i++)
        pass();
    assert_int_equal(first.released_before, MANY);
    assert_int_equal(second.released_before, MANY);
}

/* A batch that another thread is still releasing holds it off, too. */
static void last_waits_for_batches(void **state)
{
    (void)state;
    syncmap_barrier();
    struct last_thing last = {.released_before = -1};
    struct reader reader;
    reader_start(&reader); /* any other record will do; it is not pinned from here on */
    reader_finish(&reader);
    struct thread *other = NULL;
    for (struct thread *t = ld_acquire(&thread_records); t; t = t->next)
        if (t != thread_attach())
            other = t;
    assert_non_null(other);
    st_release(&other->freeing, collector.batches); /* as if it were at the newest batch */
    reclaim_retire_last(&last.last, &last_class);
    for (int i = 0; i < 10; i++)
        pass();
    assert_int_equal(last.released_before, -1);
    st_release(&other->freeing, 0);
    for (int i = 0; i < 3; i++)
        pass();
    assert_int_not_equal(last.released_before, -1);
}

static int barrier_in_release;

static void release_with_barrier(void *object)
{
    (void)object;
    syncmap_barrier(); /* would wait for itself: returns at once */
    barrier_in_release++;
}

static void barrier_that_would_wait_for_itself(void **state)
{
    (void)state;
    int object;
    syncmap_pin();
    syncmap_barrier();
    syncmap_unpin();
    barrier_in_release = 0;
    assert_int_equal(syncmap_retire(&object, release_with_barrier), 0);
    syncmap_barrier();
    assert_int_equal(barrier_in_release, 1);
    assert_int_equal(syncmap_retire(&object, NULL), SYNCMAP_EINVAL);
    assert_int_equal(syncmap_retire(NULL, release_with_barrier), 0);
    syncmap_barrier();
    assert_int_equal(barrier_in_release, 1);
}

/* ---- threads ---- */

static void *retire_and_exit(void *argument)
{
    reclaim_retire(&((struct thing *)argument)->link, &thing_class, 1);
    syncmap_pin(); /* and exits without an unpin */
    return NULL;
}

static void run_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
    pthread_join(thread, NULL);
}

static void *attach_and_exit(void *argument)
{
    *(struct thread **)argument = thread_attach();
    return NULL;
}

static void garbage_outlives_its_thread(void **state)
{
    (void)state;
    struct thing thing = {0};
    run_thread(retire_and_exit, &thing);
    syncmap_barrier();
    assert_int_equal(thing.released, 1);
}

static void records_are_reused(void **state)
{
    (void)state;
    struct thread *first, *next;
    run_thread(attach_and_exit, &first);
    for (int i = 0; i < 100; i++) {
        run_thread(attach_and_exit, &next);
        assert_ptr_equal(next, first);
        assert_false(ld_relaxed(&next->in_use));
    }
    assert_ptr_not_equal(first, thread_attach());
}

/* ---- what the system may refuse ---- */

static void *use_without_record(void *argument)
{
    syncmap *m = argument;
    struct thing thing = {0};
    void *value = NULL;
    /* The first use: no record is to be had, and loads and pins work. */
    CHECK(syncmap_load(m, syncmap_u64(1), &value) == 1 && value == (void *)16);
    CHECK(ld_relaxed(&own.record) == NULL && ld_relaxed(&own.tried));
    syncmap_pin();
    syncmap_pin();
    CHECK(syncmap_load(m, syncmap_u64(1), &value) == 1);
    CHECK(ld_relaxed(&thread_shared.epoch) != 0);
    syncmap_unpin();
    CHECK(ld_relaxed(&thread_shared.epoch) != 0);
    reclaim_retire(&thing.link, &thing_class, 1);
    CHECK(syncmap_len(m) == 1);
    syncmap_unpin();
    CHECK(ld_relaxed(&thread_shared.epoch) == 0);
    CHECK(syncmap_retire(&thing, free) == SYNCMAP_ENOMEM);
    CHECK(syncmap_store(m, syncmap_u64(1), (void *)16) == 1); /* nothing to retire: works */
    syncmap_barrier();
    CHECK(thing.released == 1);
    refuse_record = refuse_specific = false; /* memory is back */
    CHECK(syncmap_store(m, syncmap_u64(1), (void *)16) == 1);
    CHECK(ld_relaxed(&own.record) != NULL);
    return NULL;
}

/* So that none can be reused. */
static int hold_spare_records(struct thread *records[64])
{
    int held = 0;
    for (struct thread *t = ld_acquire(&thread_records); t && held < 64; t = t->next) {
        bool free = false;
        if (cas_acq_rel(&t->in_use, &free, true))
            records[held++] = t;
    }
    return held;
}

static void first_use_without_memory_in(enum syncmap_engine engine)
{
    syncmap *m = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = engine});
    struct thread *records[64];
    for (int round = 0; round < 2; round++) {
        assert_int_equal(syncmap_store(m, syncmap_u64(1), (void *)16), round);
        int held = hold_spare_records(records);
        refuse_record = round == 0;
        refuse_specific = round == 1;
        run_thread(use_without_record, m);
        while (held > 0)
            st_release(&records[--held]->in_use, false);
    }
    syncmap_free(m);
    syncmap_barrier();
}

static void first_use_without_memory(void **state)
{
    (void)state;
    FOR_EACH_ENGINE(engine)
        first_use_without_memory_in(engine);
}

/* A pin that a thread without a record holds counts for all. */
static void *pin_without_record(void *argument)
{
    (void)argument;
    st_release(&own.tried, EFFORT_WAIT); /* as if it had been refused */
    return reader_run(argument);
}

static void shared_pin_holds_off(void **state)
{
    (void)state;
    struct reader a = {0}, b = {0};
    struct thing thing = {0};
    assert_int_equal(pthread_create(&a.thread, NULL, pin_without_record, &a), 0);
    assert_int_equal(pthread_create(&b.thread, NULL, pin_without_record, &b), 0);
    reader_step(&a);
    uint64_t epoch = ld_relaxed(&reclaim.epoch);
    pass();
    reader_step(&b); /* joins a pin that is one epoch old */
    reclaim_retire(&thing.link, &thing_class, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pass(), epoch + 1);
    reader_finish(&a);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pass(), epoch + 1);
    assert_int_equal(thing.released, 0);
    reader_finish(&b);
    syncmap_barrier();
    assert_int_equal(thing.released, 1);
    assert_int_equal(ld_relaxed(&thread_shared.epoch), 0);
}

/* A thread that never got a record exits while it is pinned. */
static void *pin_and_exit(void *argument)
{
    (void)argument;
    syncmap_pin();
    CHECK(ld_relaxed(&thread_shared.epoch) != 0);
    return NULL;
}

static void shared_pin_ends_with_its_thread(void **state)
{
    (void)state;
    struct thread *held[64];
    int count = hold_spare_records(held);
    refuse_record = true;
    run_thread(pin_and_exit, NULL);
    refuse_record = false;
    while (count > 0)
        st_release(&held[--count]->in_use, false);
    assert_int_equal(ld_relaxed(&thread_shared.epoch), 0);
}

/* A thread without a record that is just releasing: the others of its kind do not collect meanwhile, and last things wait. */
struct gate {
    struct reclaim_link link;
    _Atomic int entered, open;
};

static bool gate_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    struct gate *gate = container_of(link, struct gate, link);
    atomic_store(&gate->entered, 1);
    while (!atomic_load(&gate->open))
        sched_yield();
    return true;
}

static void *release_without_record(void *argument)
{
    static const struct reclaim_class gate_class = {gate_release};
    struct gate *gate = argument;
    CHECK(thread_attach() == NULL);
    reclaim_retire(&gate->link, &gate_class, 1);
    while (!atomic_load(&gate->entered))
        collect(&thread_shared, EFFORT_WAIT);
    return NULL;
}

static void *collect_without_record(void *argument)
{
    (void)argument;
    CHECK(thread_attach() == NULL);
    CHECK(!collect(&thread_shared, EFFORT_WAIT));
    return NULL;
}

static void shared_record_releases_one_batch_at_a_time(void **state)
{
    (void)state;
    struct gate gate = {.entered = 0};
    static const struct reclaim_class nothing_class = {barrier_release};
    struct barrier barrier = {.waiting = NULL};
    struct thread *held[64];
    int count = hold_spare_records(held);
    pthread_t releasing;
    refuse_record = true;
    assert_int_equal(pthread_create(&releasing, NULL, release_without_record, &gate), 0);
    while (!atomic_load(&gate.entered))
        sched_yield();
    reclaim_retire_last(&barrier.last, &nothing_class);
    for (int i = 0; i < 8; i++)
        pass();
    assert_false(ld_acquire(&barrier.passed));
    run_thread(collect_without_record, NULL);
    atomic_store(&gate.open, 1);
    pthread_join(releasing, NULL);
    refuse_record = false;
    for (int i = 0; i < 8; i++)
        pass();
    assert_true(ld_acquire(&barrier.passed));
    while (count > 0)
        st_release(&held[--count]->in_use, false);
}

/* Cancelled while it waits: its barrier is on its stack, and on a list. */
static void *wait_at_barrier(void *argument)
{
    (void)argument;
    syncmap_barrier();
    pthread_testcancel();
    return NULL;
}

static void barrier_is_not_cancelled(void **state)
{
    (void)state;
    pthread_t waiter;
    void *result;
    syncmap_pin();
    assert_int_equal(pthread_create(&waiter, NULL, wait_at_barrier, NULL), 0);
    usleep(5000);
    pthread_cancel(waiter);
    usleep(5000);
    syncmap_unpin();
    pthread_join(waiter, &result);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    syncmap_barrier();
}

/* heavy() that fails frees nothing and loses nothing. */
static void membarrier_refused_later(void **state)
{
    (void)state;
    if (!ld_relaxed(&membarrier_expedited) || CHECKED_FENCES)
        skip();
    struct thing thing = {0};
    uint64_t epoch = ld_relaxed(&reclaim.epoch);
    refuse_membarrier = true;
    reclaim_retire(&thing.link, &thing_class, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pass(), epoch);
    assert_int_equal(thing.released, 0);
    refuse_membarrier = false;
    syncmap_barrier();
    assert_int_equal(thing.released, 1);
}

/* A kernel without membarrier: the fences. */
static void membarrier_missing(void **state)
{
    (void)state;
    refuse_membarrier = true;
    membarrier_init();
    assert_false(ld_relaxed(&membarrier_expedited));
    sections_settle();
    assert_false(ld_relaxed(&sections_open)); /* no shortcut does without the fence */
    pinned_reader_holds_off(NULL);
    each_is_released_once(NULL);
    refuse_membarrier = false;
    membarrier_init();
    sections_settle();
}

static void *no_slots(void *argument)
{
    struct syncmap *m = argument;
    void *old = value_make(1);
    syncmap_pin();
    CHECK(syncmap_store(m, syncmap_u64(1), old) == 0);
    struct thread *self = thread_attach();
    while (self->slot_count > 0)
        free(slot_take());
    refuse_malloc = true;
    void *value = value_make(1);
    CHECK(syncmap_store(m, syncmap_u64(1), value) == SYNCMAP_ENOMEM);
    CHECK(syncmap_swap(m, syncmap_u64(1), value, NULL) == SYNCMAP_ENOMEM);
    CHECK(syncmap_delete(m, syncmap_u64(1)) == SYNCMAP_ENOMEM);
    CHECK(syncmap_compare_and_swap(m, syncmap_u64(1), old, value) == SYNCMAP_ENOMEM);
    CHECK(syncmap_compare_and_delete(m, syncmap_u64(1), old) == SYNCMAP_ENOMEM);
    CHECK(syncmap_retire(value, value_release) == SYNCMAP_ENOMEM);
    void *found;
    CHECK(syncmap_load(m, syncmap_u64(1), &found) == 1 && found == old);
    refuse_malloc = false;
    syncmap_unpin();
    CHECK(syncmap_store(m, syncmap_u64(1), value) == 1);
    return NULL;
}

/* What retires a value takes its slot before anything is changed. */
static void slots_are_taken_first(void **state)
{
    (void)state;
    static struct counting counting;
    counting_init(&counting);
    FOR_EACH_ENGINE(engine) {
        syncmap_options options = {.engine = engine, .value_free = value_free, .allocator = counting_allocator(&counting)};
        syncmap *m = syncmap_new(SYNCMAP_U64, &options);
        run_thread(no_slots, m);
        finish_map(m, &counting);
    }
}

/* Slots that are given back are kept up to a limit. */
static void slots_are_kept(void **state)
{
    (void)state;
    struct thread *self = thread_attach();
    static struct reclaim_slot *slots[RECLAIM_SLOTS + 10];
    for (size_t i = 0; i < RECLAIM_SLOTS + 10; i++)
        assert_non_null(slots[i] = slot_take());
    assert_int_equal(self->slot_count, 0);
    for (size_t i = 0; i < RECLAIM_SLOTS + 10; i++)
        slot_give_back(slots[i]);
    assert_int_equal(self->slot_count, RECLAIM_SLOTS);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_after_exactly_two_steps),
        cmocka_unit_test(pinned_reader_holds_off),
        cmocka_unit_test(own_pins_nest),
        cmocka_unit_test(each_is_released_once),
        cmocka_unit_test(large_garbage_hurries),
        cmocka_unit_test(accounting_of_bytes),
        cmocka_unit_test(last_goes_after_all_before_it),
        cmocka_unit_test(last_waits_for_batches),
        cmocka_unit_test(barrier_that_would_wait_for_itself),
        cmocka_unit_test(garbage_outlives_its_thread),
        cmocka_unit_test(records_are_reused),
        cmocka_unit_test(first_use_without_memory),
        cmocka_unit_test(shared_pin_holds_off),
        cmocka_unit_test(shared_pin_ends_with_its_thread),
        cmocka_unit_test(shared_record_releases_one_batch_at_a_time),
        cmocka_unit_test(barrier_is_not_cancelled),
        cmocka_unit_test(membarrier_refused_later),
        cmocka_unit_test(membarrier_missing),
        cmocka_unit_test(slots_are_taken_first),
        cmocka_unit_test(slots_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
