/* SPDX-License-Identifier: MIT
 *
 * White box: what takes long is released in steps (UNFINISHED in reclaim.h): no more than a budget at each pass, the rest kept for
 * the next, in order, and waited for.
 */
#include "unit/reclaim_works.h"

/* ---- unfinished batches ---- */

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
