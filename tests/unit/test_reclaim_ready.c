/* SPDX-License-Identifier: MIT
 *
 * White box: what does not take long is released by and by (AMORTIZED in reclaim.h): in order, once, by its thread or by who takes it
 * over, and waited for.
 */
#include "unit/reclaim_works.h"

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
