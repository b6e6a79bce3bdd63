/* SPDX-License-Identifier: MIT
 *
 * White box: what takes long is released in steps: no more than a budget at each pass, the rest kept for the next (UNFINISHED in
 * reclaim.h); and what does not, by and by (AMORTIZED). In order, once, and waited for.
 */
#include "unit/reclaim_fixture.h"

/* ---- unfinished batches ---- */

/* What takes several calls of its release. */
struct work {
    struct reclaim_link link;
    int steps;    /* that are left */
    int calls, position; /* when it was done, in the order of all; 0: not yet */
    uint64_t batch;      /* the number that was being released when it was called first */
};

static int work_done, work_calls;
static size_t work_retires; /* so many pieces, as the release of each seems to */

static bool work_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    struct work *work = container_of(link, struct work, link);
    CHECK(work->position == 0); /* not after it was done */
    struct thread *self = ld_relaxed(&own.record);
    if (work->calls++ == 0)
        work->batch = ld_acquire(&(self != NULL ? self : &thread_shared)->freeing);
    work_calls++;
    if (work_retires != 0)
        st_relaxed(&self->work, work_retires);
    CHECK(!collector_batches_done(work->batch)); /* not while it is being released, in whatever pass: nothing last may overtake it */
    if (--work->steps > 0)
        return false;
    work->position = ++work_done;
    return true;
}

static const struct reclaim_class work_class = {work_release};

enum { WORKS = 3 * RECLAIM_BUDGET + 10 };
static struct work works[WORKS];

/* Retires `count` of one step each, so that they are due at the next pass but one. */
static void works_retire_as(int count, size_t bytes)
{
    syncmap_barrier();
    memset(works, 0, sizeof works);
    work_done = work_calls = 0;
    for (int i = count - 1; i >= 0; i--) { /* a stack: number 0 is the first */
        works[i].steps = 1;
        reclaim_retire(&works[i].link, &work_class, i == 0 ? bytes : 1);
    }
}

/* Too much to be amortized. */
static void works_retire(int count)
{
    works_retire_as(count, RECLAIM_LARGE);
}

static void poll_once(void)
{
    collect(thread_attach(), EFFORT_POLL);
}

/* Until the first of them is touched. */
static void poll_until_due(void)
{
    for (int i = 0; work_calls == 0; i++) {
        assert_true(i < 3);
        poll_once();
    }
}

/* No more than the budget at each pass, all in order, and each once; what is retired meanwhile comes after. */
static void budget_of_a_pass(void **state)
{
    (void)state;
    struct work later = {.steps = 1};
    works_retire(WORKS);
    poll_until_due();
    for (int pass_number = 1; work_done < WORKS; pass_number++) {
        assert_int_equal(work_done, pass_number * RECLAIM_BUDGET);
        assert_non_null(collector.unfinished.head);
        assert_true(ld_relaxed(&reclaim.hurry));
        assert_int_equal(ld_relaxed(&thread_attach()->freeing), 0);
        if (pass_number == 1)
            reclaim_retire(&later.link, &work_class, 1);
        poll_once();
    }
    assert_null(collector.unfinished.head);
    for (int i = 0; i < WORKS; i++) {
        assert_int_equal(works[i].position, i + 1);
        assert_int_equal(works[i].calls, 1);
    }
    assert_true(later.position == 0 || later.position == WORKS + 1);
    syncmap_barrier();
    assert_int_equal(later.position, WORKS + 1);
}

/* A release that says false ends the pass of a thread that polls; the next goes on with the same. */
static void release_in_steps(void **state)
{
    (void)state;
    works_retire(4);
    works[1].steps = 5;
    works[2].steps = 2;
    poll_until_due();
    static const int calls[][4] = {{1, 1, 0, 0}, {1, 2, 0, 0}, {1, 3, 0, 0}, {1, 4, 0, 0}, {1, 5, 1, 0}, {1, 5, 2, 1}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (int k = 0; k < 4; k++)
            assert_int_equal(works[k].calls, calls[i][k]);
        assert_int_equal(collector.unfinished.head == NULL, i == 5);
        poll_once();
    }
    assert_int_equal(work_done, 4);
    assert_int_equal(work_calls, 1 + 5 + 2 + 1);
}

/* Who waits, or ends a map, has no budget. */
static void who_waits_has_no_budget(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        works_retire(WORKS);
        works[0].steps = 100;
        works[WORKS - 1].steps = 100;
        if (how > 0) { /* in the middle of it */
            poll_until_due();
            poll_once();
        }
        if (how == 2)
            reclaim_flush();
        else
            syncmap_barrier();
        assert_int_equal(work_done, WORKS);
        assert_int_equal(work_calls, WORKS + 2 * 99);
        assert_int_equal(works[0].calls, 100);
        assert_null(collector.unfinished.head);
    }
}

/* Any writer takes it up, soon, though it retires nothing itself. */
static void unfinished_hurries(void **state)
{
    (void)state;
    works_retire(WORKS);
    poll_until_due();
    st_relaxed(&thread_attach()->work, 0);
    int polls = 0;
    for (; work_done < WORKS; polls++) {
        assert_true(polls < 4 * 16 + 4);
        reclaim_poll();
    }
    assert_true(polls > 2 * 16);
}

static void *poll_and_exit(void *argument)
{
    (void)argument;
    poll_until_due();
    return NULL;
}

/* It outlives the thread that left it. */
static void unfinished_outlives_its_thread(void **state)
{
    (void)state;
    works_retire(WORKS);
    run_thread(poll_and_exit, NULL);
    assert_int_equal(work_done, RECLAIM_BUDGET);
    poll_once();
    assert_int_equal(work_done, 2 * RECLAIM_BUDGET);
    syncmap_barrier();
    assert_int_equal(work_done, WORKS);
}

static void *poll_without_record(void *argument)
{
    (void)argument;
    CHECK(thread_attach() == NULL);
    for (int i = 0; i < 3 && work_calls == 0; i++)
        collect(&thread_shared, EFFORT_POLL);
    CHECK(ld_relaxed(&thread_shared.freeing) == 0);
    return NULL;
}

static void unfinished_without_a_record(void **state)
{
    (void)state;
    struct thread *held[64];
    works_retire(WORKS);
    int count = hold_spare_records(held);
    refuse_record = true;
    run_thread(poll_without_record, NULL);
    assert_int_equal(work_done, RECLAIM_BUDGET);
    run_thread(poll_without_record, NULL); /* it has nothing to do: work_calls is not 0 */
    refuse_record = false;
    while (count > 0)
        st_release(&held[--count]->in_use, false);
    syncmap_barrier();
    assert_int_equal(work_done, WORKS);
}

/* A last thing waits for what is left of a batch before it, however many passes that takes. */
static void last_waits_for_the_unfinished(void **state)
{
    (void)state;
    struct last_thing last = {.released_before = -1};
    struct thing late = {0};
    works_retire(WORKS);
    works[WORKS - 1].steps = 20;
    reclaim_retire_last(&last.last, &last_class);
    reclaim_retire(&late.link, &thing_class, 1); /* after it: may go before or after */
    poll_until_due();
    for (int i = 0; work_done < WORKS; i++) {
        assert_true(i < 30);
        assert_int_equal(last.released_before, -1);
        poll_once();
    }
    for (int i = 0; i < 4; i++)
        poll_once();
    assert_int_not_equal(last.released_before, -1);
    assert_int_equal(late.released, 1);
}

/* Last things that take several steps themselves go in their order, too: none overtakes one that is not done. */
struct long_last {
    struct reclaim_last last;
    int steps, position;
};

static bool long_last_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    struct long_last *last = container_of(link, struct long_last, last.link);
    if (--last->steps > 0)
        return false;
    last->position = ++work_done;
    return true;
}

static const struct reclaim_class long_last_class = {long_last_release};

static void lasts_in_steps_keep_their_order(void **state)
{
    (void)state;
    enum { LASTS = 5 };
    struct long_last lasts[LASTS] = {{.steps = 7}, {.steps = 1}, {.steps = 3}, {.steps = 1}, {.steps = 2}};
    syncmap_barrier();
    work_done = 0;
    for (int i = 0; i < LASTS; i++) {
        reclaim_retire_last(&lasts[i].last, &long_last_class);
        if (i % 2)
            poll_once(); /* so that they are at several stages */
    }
    for (int i = 0; i < 40; i++) {
        poll_once();
        for (int k = 1; k < LASTS; k++)
            assert_true(lasts[k].position == 0 || lasts[k - 1].position != 0);
    }
    for (int i = 0; i < LASTS; i++)
        assert_int_equal(lasts[i].position, i + 1);
}

/* ---- two threads, each in the middle of a batch ---- */

struct pause_work {
    struct work work;
    _Atomic int entered, go;
};

static bool pause_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    struct pause_work *pause = container_of(container_of(link, struct work, link), struct pause_work, work);
    atomic_store(&pause->entered, 1);
    while (!atomic_load(&pause->go))
        sched_yield();
    return work_release(link, class);
}

static const struct reclaim_class pause_class = {pause_release};

/* Releases what is due, and is held up in it, with one more step to do; leaves the rest. */
static void *poll_into_pause(void *argument)
{
    struct pause_work *pause = argument;
    while (!atomic_load(&pause->entered))
        poll_once();
    return NULL;
}

static void pause_start(struct pause_work *pause, pthread_t *thread)
{
    *pause = (struct pause_work){.work.steps = 2};
    reclaim_retire(&pause->work.link, &pause_class, RECLAIM_LARGE);
    assert_int_equal(pthread_create(thread, NULL, poll_into_pause, pause), 0);
    while (!atomic_load(&pause->entered))
        sched_yield();
}

static void pause_end(struct pause_work *pause, pthread_t thread)
{
    atomic_store(&pause->go, 1);
    pthread_join(thread, NULL);
    assert_int_equal(pause->work.calls, 1);
    assert_int_equal(pause->work.position, 0);
}

/* Two rests, of an earlier and a later batch, whichever came first: the last thing that came in between waits for the earlier one. */
static void two_threads_leave_a_rest(void **state)
{
    (void)state;
    for (int earlier_first = 0; earlier_first < 2; earlier_first++) {
        struct pause_work earlier, later;
        struct last_thing last = {.released_before = -1};
        pthread_t a, b;
        syncmap_barrier();
        work_done = work_calls = 0;
        pause_start(&earlier, &a);
        reclaim_retire_last(&last.last, &last_class);
        for (int i = 0; i < 6; i++)
            pass(); /* its turn has come but for the batch of thread a */
        assert_int_equal(last.released_before, -1);
        pause_start(&later, &b);
        uint64_t number = 0;
        for (struct thread *t = ld_acquire(&thread_records); t; t = t->next) {
            uint64_t freeing = ld_acquire(&t->freeing);
            if (freeing != 0 && (number == 0 || freeing < number))
                number = freeing;
        }
        if (earlier_first)
            pause_end(&earlier, a);
        pause_end(&later, b);
        if (!earlier_first)
            pause_end(&earlier, a);
        assert_int_equal(collector.unfinished_batch, number); /* the lower one */
        assert_ptr_equal(collector.unfinished.head, earlier_first ? &earlier.work.link : &later.work.link);
        assert_int_equal(last.released_before, -1);
        poll_once(); /* the first of the rests; a step is all it takes */
        for (int i = 0; i < 4; i++)
            poll_once();
        assert_int_equal(earlier.work.position, earlier_first ? 1 : 2);
        assert_int_equal(later.work.position, earlier_first ? 2 : 1);
        assert_int_not_equal(last.released_before, -1);
    }
}

/* One thread is in the middle of what it has taken up: the others do not touch it, and last things wait for it. */
static void taken_up_by_one(void **state)
{
    (void)state;
    struct pause_work pause;
    struct last_thing last = {.released_before = -1};
    pthread_t thread;
    syncmap_barrier();
    work_done = work_calls = 0;
    pause_start(&pause, &thread);
    pause_end(&pause, thread);
    assert_ptr_equal(collector.unfinished.head, &pause.work.link);
    atomic_store(&pause.entered, 0);
    atomic_store(&pause.go, 0);
    assert_int_equal(pthread_create(&thread, NULL, poll_into_pause, &pause), 0);
    while (!atomic_load(&pause.entered))
        sched_yield();
    assert_null(collector.unfinished.head);
    reclaim_retire_last(&last.last, &last_class);
    for (int i = 0; i < 8; i++)
        pass();
    assert_int_equal(pause.work.calls, 1);
    assert_int_equal(last.released_before, -1);
    atomic_store(&pause.go, 1);
    pthread_join(thread, NULL);
    assert_int_equal(pause.work.calls, 2);
    assert_int_equal(work_done, 1);
    for (int i = 0; i < 4; i++)
        pass();
    assert_int_not_equal(last.released_before, -1);
}

static void *barrier_and_tell(void *argument)
{
    syncmap_barrier();
    atomic_store((_Atomic int *)argument, 1);
    return NULL;
}

/* A barrier of another thread waits while one is in the middle of it; and does the rest itself. */
static void barrier_waits_for_what_another_has(void **state)
{
    (void)state;
    struct pause_work pause;
    _Atomic int passed = 0;
    pthread_t thread, waiter;
    syncmap_barrier();
    work_done = work_calls = 0;
    pause_start(&pause, &thread);
    assert_int_equal(pthread_create(&waiter, NULL, barrier_and_tell, (void *)&passed), 0);
    usleep(20000);
    assert_int_equal(atomic_load(&passed), 0);
    atomic_store(&pause.go, 1);
    pthread_join(thread, NULL);
    pthread_join(waiter, NULL);
    assert_int_equal(work_done, 1);
    assert_int_equal(pause.work.calls, 2);
}

/* What was left when a process forks is there in both. */
static void unfinished_in_a_forked_child(void **state)
{
    (void)state;
    works_retire(WORKS);
    poll_until_due();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        syncmap_barrier();
        child_exit(work_done == WORKS ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    syncmap_barrier();
    assert_int_equal(work_done, WORKS);
}

/* ---- amortized ---- */

enum { FEW = 10 * RECLAIM_SHARE };

/* Retires FEW, and polls until they are ready. */
static void few_made_ready(void)
{
    struct thread *self = thread_attach();
    works_retire_as(FEW, 1);
    for (int i = 0; ld_relaxed(&self->ready) == NULL; i++) {
        CHECK(i < 3);
        st_relaxed(&self->work, RECLAIM_WORK);
        reclaim_poll();
    }
    CHECK(work_done == 0);
    CHECK(ld_relaxed(&self->freeing) != 0);
}

/* As if RECLAIM_SHARE more had been retired. */
static void share_poll(void)
{
    struct thread *self = thread_attach();
    st_relaxed(&self->work, ld_relaxed(&self->work) + RECLAIM_SHARE);
    reclaim_poll();
}

static void works_check_in_order(int count)
{
    assert_int_equal(work_done, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(works[i].position, i + 1);
        assert_int_equal(works[i].calls, works[i].batch != 0);
    }
}

/* A few at a time, and none before something was retired. */
static void by_and_by(void **state)
{
    (void)state;
    few_made_ready();
    for (int done = 0; done < FEW; done += 2 * RECLAIM_SHARE) {
        works_check_in_order(done);
        for (int i = 0; i < 100; i++)
            reclaim_poll();
        assert_int_equal(work_done, done);
        assert_int_not_equal(ld_relaxed(&thread_attach()->freeing), 0);
        share_poll();
    }
    works_check_in_order(FEW);
    share_poll();
    assert_null(ld_relaxed(&thread_attach()->ready));
    assert_int_equal(ld_relaxed(&thread_attach()->freeing), 0);
    assert_int_equal(ld_relaxed(&thread_attach()->due), RECLAIM_WORK);
}

/* One that takes several calls ends what is released of a share, but comes to its end. */
static void by_and_by_in_steps(void **state)
{
    (void)state;
    few_made_ready();
    works[3].steps = 4;
    for (int i = 1; i <= 4; i++) {
        share_poll();
        assert_int_equal(works[3].calls, i);
        assert_int_equal(work_done >= 4, i == 4);
    }
    while (work_done < FEW)
        share_poll();
    assert_int_equal(work_calls, FEW + 3);
}

/* The next pass finds nothing left, as do a barrier and a flush. */
static void all_before_the_next_pass(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        few_made_ready();
        share_poll();
        assert_int_equal(work_done, 2 * RECLAIM_SHARE);
        if (how == 0)
            poll_once();
        else if (how == 1)
            syncmap_barrier();
        else
            reclaim_flush();
        works_check_in_order(FEW);
        assert_int_equal(ld_relaxed(&thread_attach()->freeing), 0);
    }
}

/* A thread that has some ready, and then does nothing, until it is told to. */
struct idler {
    pthread_t thread;
    struct thread *record;
    _Atomic int ready, go;
};

static void *idler_run(void *argument)
{
    struct idler *idler = argument;
    few_made_ready();
    share_poll();
    idler->record = thread_attach();
    atomic_store(&idler->ready, 1);
    while (!atomic_load(&idler->go))
        sched_yield();
    for (int i = 0; i < 20; i++)
        share_poll();
    return NULL;
}

static void idler_start(struct idler *idler)
{
    *idler = (struct idler){0};
    assert_int_equal(pthread_create(&idler->thread, NULL, idler_run, idler), 0);
    while (!atomic_load(&idler->ready))
        sched_yield();
    assert_int_equal(work_done, 2 * RECLAIM_SHARE);
}

static void idler_end(struct idler *idler)
{
    atomic_store(&idler->go, 1);
    pthread_join(idler->thread, NULL);
    works_check_in_order(FEW);
}

static void idler_check_taken_over(const struct idler *idler)
{
    works_check_in_order(FEW);
    assert_null(ld_relaxed(&idler->record->ready));
    assert_int_equal(ld_relaxed(&idler->record->freeing), 0);
}

/* Who waits for the end takes over what another thread has ready; who does not leaves it to that thread, for some time. */
static void taken_over_from_the_idle(void **state)
{
    (void)state;
    struct idler idler;
    struct last_thing last = {.released_before = -1};
    for (int how = 0; how < 5; how++) {
        idler_start(&idler);
        if (how == 0)
            syncmap_barrier();
        if (how == 1)
            reclaim_flush();
        if (how == 2) {
            reclaim_retire_last(&last.last, &last_class);
            for (int i = 0; last.released_before < 0; i++) {
                assert_true(i < 6);
                poll_once();
            }
        }
        if (how >= 3)
            for (int i = 0; i < RECLAIM_IDLE - 4; i++) {
                poll_once();
                assert_int_equal(work_done, 2 * RECLAIM_SHARE);
            }
        if (how == 3) /* it goes on by itself */
            idler_end(&idler);
        for (int i = 0; how == 4 && ld_relaxed(&idler.record->ready) != NULL; i++) {
            assert_true(i < 8);
            poll_once();
        }
        idler_check_taken_over(&idler); /* by that pass: it is not left ready again */
        if (how != 3)
            idler_end(&idler);
    }
}

/* A pass that takes over an old batch and takes up a newer one has the mark of the old. */
static void the_lowest_mark(void **state)
{
    (void)state;
    static struct work later[RECLAIM_BUDGET + 10];
    struct last_thing last = {.released_before = -1};
    struct idler idler;
    memset(later, 0, sizeof later);
    idler_start(&idler);
    uint64_t batch = ld_relaxed(&idler.record->freeing);
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        later[i].steps = 1;
        reclaim_retire(&later[i].link, &work_class, i == 0 ? RECLAIM_LARGE : 1);
    }
    for (int i = 0; collector.unfinished.head == NULL; i++) {
        assert_true(i < 4);
        poll_once();
    }
    assert_true(collector.unfinished_batch > batch);
    assert_int_equal(works[FEW - 1].calls, 0);
    reclaim_retire_last(&last.last, &last_class);
    poll_once();
    assert_int_equal(works[FEW - 1].calls, 1);
    assert_int_equal(works[FEW - 1].batch, batch);
    assert_int_equal(later[0].batch, batch);
    idler.go = 1;
    pthread_join(idler.thread, NULL);
    syncmap_barrier();
    assert_int_not_equal(last.released_before, -1);
}

/* What a release retires may be much; then it is time for a pass at the next look. */
static void due_is_soon(void **state)
{
    (void)state;
    few_made_ready();
    work_retires = 1000 * RECLAIM_WORK;
    share_poll();
    work_retires = 0;
    assert_true(ld_relaxed(&thread_attach()->due) <= RECLAIM_WORK);
    syncmap_barrier();
    assert_true(ld_relaxed(&thread_attach()->due) <= RECLAIM_WORK);
}

static void *few_made_ready_and_exit(void *argument)
{
    (void)argument;
    few_made_ready();
    return NULL;
}

/* A thread's end leaves it to the next pass, or to the next thread that has the record. */
static void ready_outlives_its_thread(void **state)
{
    (void)state;
    run_thread(few_made_ready_and_exit, NULL);
    assert_int_equal(work_done, 0);
    poll_once();
    poll_once(); /* there may have been something unfinished */
    works_check_in_order(FEW);
    struct idler idler = {.go = 1};
    run_thread(few_made_ready_and_exit, NULL);
    assert_int_equal(pthread_create(&idler.thread, NULL, idler_run, &idler), 0);
    pthread_join(idler.thread, NULL);
    syncmap_barrier();
    assert_int_equal(work_done, FEW);
}

/* In the middle of a share: nobody else touches it, and last things wait. */
static void *share_into_pause(void *argument)
{
    struct thread *self = thread_attach();
    struct pause_work *pause = argument;
    while (ld_relaxed(&self->ready) == NULL)
        poll_once();
    CHECK(!atomic_load(&pause->entered));
    st_relaxed(&self->work, ld_relaxed(&self->due));
    share_poll();
    while (work_done == 0) /* two steps */
        share_poll();
    return NULL;
}

static void nobody_interrupts_a_share(void **state)
{
    (void)state;
    struct pause_work pause = {.work.steps = 2};
    struct last_thing last = {.released_before = -1};
    pthread_t thread;
    syncmap_barrier();
    work_done = work_calls = 0;
    reclaim_retire(&pause.work.link, &pause_class, 1);
    assert_int_equal(pthread_create(&thread, NULL, share_into_pause, &pause), 0);
    while (!atomic_load(&pause.entered))
        sched_yield();
    reclaim_retire_last(&last.last, &last_class);
    for (int i = 0; i < 8; i++)
        pass();
    reclaim_flush();
    assert_int_equal(work_calls, 0);
    assert_int_equal(last.released_before, -1);
    atomic_store(&pause.go, 1);
    pthread_join(thread, NULL);
    assert_int_equal(pause.work.calls, 2);
    for (int i = 0; i < 4; i++)
        pass();
    assert_int_not_equal(last.released_before, -1);
}

/* What another thread has ready when a process forks is there in both. */
static void ready_in_a_forked_child(void **state)
{
    (void)state;
    struct idler idler;
    idler_start(&idler);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        syncmap_barrier();
        child_exit(work_done == FEW ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    idler_end(&idler);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget_of_a_pass),
        cmocka_unit_test(release_in_steps),
        cmocka_unit_test(who_waits_has_no_budget),
        cmocka_unit_test(unfinished_hurries),
        cmocka_unit_test(unfinished_outlives_its_thread),
        cmocka_unit_test(unfinished_without_a_record),
        cmocka_unit_test(last_waits_for_the_unfinished),
        cmocka_unit_test(lasts_in_steps_keep_their_order),
        cmocka_unit_test(two_threads_leave_a_rest),
        cmocka_unit_test(taken_up_by_one),
        cmocka_unit_test(barrier_waits_for_what_another_has),
        cmocka_unit_test(unfinished_in_a_forked_child),
        cmocka_unit_test(by_and_by),
        cmocka_unit_test(by_and_by_in_steps),
        cmocka_unit_test(all_before_the_next_pass),
        cmocka_unit_test(taken_over_from_the_idle),
        cmocka_unit_test(the_lowest_mark),
        cmocka_unit_test(due_is_soon),
        cmocka_unit_test(ready_outlives_its_thread),
        cmocka_unit_test(nobody_interrupts_a_share),
        cmocka_unit_test(ready_in_a_forked_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
