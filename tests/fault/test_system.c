/* SPDX-License-Identifier: MIT
 *
 * Whichever call of the library to the system fails, in whichever operation, state and form of thread: nothing happened or
 * all did, nothing leaks, and the next call works. (test_allocator.c does the same for the map's own allocator.)
 */
#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault/trial.h"

/* ---- one call, every fault of it ---- */

enum form {
    ATTACHED, /* the thread has a record, and slots to spare */
    DRAINED,  /* it has a record and no slots, and is pinned */
    NEWCOMER, /* the call is its first; it takes over the record of a thread that is gone */
    FORMS
};

struct job {
    const struct config *config;
    enum ownership ownership;
    enum trial_state state;
    enum trial_operation operation;
    enum form form;
    uint64_t early, index;
    bool malloced;
    struct fault_plan plan;
    /* While it runs. */
    struct trial *trial;
    bool compare;
    bool failed;
};

static unsigned long long trials, faults;
static unsigned met[FAULT_SITES]; /* how many trials each site failed in */

static void call_in_place(void *context)
{
    struct job *job = context;
    job->failed = trial_call(job->trial, job->operation, job->index, job->plan, job->compare);
}

/* A thread that can have no record works on one that all such threads share; one that can takes over the one of a thread that is
 * gone. What was retired on these and not tried to collect must not depend on the trials before, or a pass comes in one trial and
 * not in the next: a barrier on either tries. */
static void settle_newcomer(void *context)
{
    (void)context;
    fault_arm((struct fault_plan){FAULT(FAULT_SETSPECIFIC), 1, FAULT_FOREVER});
    syncmap_barrier();
    fault_disarm();
    syncmap_barrier(); /* with a record, the one that the newcomer will have */
}

/* Builds the state anew, calls with the plan armed. True: a fault was met. */
static bool run(struct job *job)
{
    struct trial trial = {.early = job->early, .malloced = job->malloced, .pinned = job->form == DRAINED};
    job->trial = &trial;
    /* Looking changes the engine's state, so only every other time. */
    job->compare = (job->plan.first + (long)job->early + (long)job->index + job->operation) % 2;
    trial_open(&trial, job->config, job->ownership, job->state);
    if (job->form == DRAINED) thread_drain();
    if (job->form == NEWCOMER) {
        struct thread thread;
        thread_start(&thread, settle_newcomer, NULL);
        thread_join(&thread);
        thread_start(&thread, call_in_place, job);
        thread_join(&thread);
    } else {
        call_in_place(job);
    }
    if (job->form == DRAINED) syncmap_unpin();
    trial_close(&trial);
    trials++;
    faults += job->failed;
    for (int site = 0; site < FAULT_SITES; site++) {
        met[site] += (trial.met & FAULT(site)) != 0;
    }
    return job->failed;
}

/* How many failures in a row a barrier is given to wait through. */
enum { LONG_WHILE = 12 };

/* The n-th call to the system fails, for every n; all from the n-th on; and all to one function. */
static void every_fault(struct job *job)
{
    bool failed = true;
    for (long n = 1; failed; n++) {
        CHECK(n < 100);
        job->plan = (struct fault_plan){FAULT_ALL, n, 1};
        failed = run(job);
        if (!failed) break;
        job->plan.count = LONG_WHILE;
        CHECK(run(job));
    }
    for (int site = 0; site < FAULT_SITES; site++) {
        /* What no thread does that is there already. */
        if (FAULT(site) & (FAULT(FAULT_KEY_CREATE) | FAULT(FAULT_ATFORK))) continue;
        if (job->form != NEWCOMER && site == FAULT_SETSPECIFIC) continue;
        if ((FAULT(site) & (FAULT(FAULT_GETRANDOM) | FAULT(FAULT_MADVISE) | FAULT(FAULT_MUTEX_INIT))) && job->operation != NEW) continue;
        if (site == FAULT_MEMALIGN || site == FAULT_MEMBARRIER_QUERY || site == FAULT_MEMBARRIER_REGISTER) continue;
        job->plan = (struct fault_plan){FAULT(site), 1, LONG_WHILE};
        run(job);
    }
}

static void every_key(struct job *job)
{
    uint64_t indexes[TRIAL_INDEXES];
    size_t count = trial_indexes(job->operation, job->early, indexes);
    for (size_t i = 0; i < count; i++) {
        job->index = indexes[i];
        every_fault(job);
    }
}

static void settle(void *context)
{
    (void)context;
    thread_settle();
}

/* The blocks that the library keeps for this thread and for the next, whose record a thread that is gone has left. */
static long blocks_kept(void)
{
    struct thread thread;
    thread_settle();
    thread_start(&thread, settle, NULL);
    thread_join(&thread);
    return fault_live_blocks();
}

static void every_call(struct job *job)
{
    for (int state = 0; state < TRIAL_STATES; state++) {
        for (int operation = 0; operation < TRIAL_OPERATIONS; operation++) {
            /* What has nothing to do with the map, once; and less where draining and new threads take long. */
            if (operation >= RETIRE && operation <= NEW && state != AMENDED) continue;
            if (TEST_SCALE > 1 && job->form != ATTACHED && state != AMENDED) continue;
            job->state = (enum trial_state)state;
            job->operation = (enum trial_operation)operation;
            every_key(job);
        }
    }
}

/* ---- the tests ---- */

static void in_every_state(const struct config *config, enum ownership ownership, enum form form)
{
    /* At 6 and 12 the next new key makes the table grow. */
    static const uint64_t earlies[] = {6, 12};
    size_t sizes = TEST_SCALE > 1 || form == NEWCOMER ? 1 : sizeof earlies / sizeof earlies[0];
    long blocks = blocks_kept();
    for (size_t i = 0; i < sizes; i++) {
        struct job job = {.config = config, .ownership = ownership, .form = form, .early = earlies[i], .malloced = i == 0};
        every_call(&job);
        CHECK(blocks_kept() == blocks);
    }
}

static void attached(const struct config *config, enum ownership ownership)
{
    in_every_state(config, ownership, ATTACHED);
}

static void drained(const struct config *config, enum ownership ownership)
{
    in_every_state(config, ownership, DRAINED);
}

static void newcomer(const struct config *config, enum ownership ownership)
{
    in_every_state(config, ownership, NEWCOMER);
}

static void report(void)
{
    printf("%llu trials, %llu with a fault:", trials, faults);
    for (int site = 0; site < FAULT_SITES; site++) printf(" %s %u", fault_site_name((enum fault_site)site), met[site]);
    printf("\n");
    trials = faults = 0;
    for (int site = 0; site < FAULT_SITES; site++) met[site] = 0;
}

static void test_attached(void **state)
{
    (void)state;
    for_each_ownership(attached);
    report();
}

static void test_drained(void **state)
{
    (void)state;
    for_each_ownership(drained);
    report();
}

static void test_newcomer(void **state)
{
    (void)state;
    for_each_ownership(newcomer);
    report();
}

/* A thread that exits pinned is unpinned, even if it is refused the second round of destructors that it asks for. */
static void exit_pinned(void *context)
{
    (void)context;
    syncmap_pin();
    fault_arm((struct fault_plan){FAULT(FAULT_SETSPECIFIC), 1, FAULT_FOREVER}); /* to the very end of the thread */
}

static void test_exit(void **state)
{
    struct bed bed;
    (void)state;
    bed_open(&bed, &test_configs[0], OWNED);
    bed_store(&bed, 0, 0);
    for (int i = 0; i < 10; i++) {
        struct thread thread;
        thread_start(&thread, exit_pinned, NULL);
        thread_join(&thread);
        bed_store(&bed, 0, 1);
        syncmap_barrier();
        CHECK(values_live() == 1);
    }
    bed_close(&bed);
}

/* Tables that come from the system: none at first, none to grow to, none to reserve; and none is needed to go on. */
static void test_large_tables(void **state)
{
    (void)state;
    syncmap_options options = {.engine = SYNCMAP_ENGINE_FLAT, .capacity = 200000};
    fault_arm((struct fault_plan){FAULT(FAULT_MMAP), 1, FAULT_FOREVER});
    CHECK(syncmap_new(SYNCMAP_U64, &options) == NULL && errno == ENOMEM);
    CHECK(fault_disarm().failed == 1);
    options.capacity = 0;
    syncmap *m = syncmap_new(SYNCMAP_U64, &options);
    CHECK(m != NULL);
    long first = fault_calls(FAULT_MMAP);
    fault_arm((struct fault_plan){FAULT(FAULT_MMAP), 1, FAULT_FOREVER});
    CHECK(syncmap_reserve(m, 10000000) == SYNCMAP_ENOMEM);
    for (uint64_t key = 0; key < 200000; key++) CHECK(syncmap_store(m, syncmap_u64(key), NULL) == 0);
    struct fault_report report = fault_disarm();
    CHECK(report.failed > 2 && report.failed < 1000); /* it tries again, but not all the time */
    CHECK(fault_calls(FAULT_MMAP) == first + report.calls);
    CHECK(syncmap_len(m) == 200000);
    for (uint64_t key = 200000; key < 400000; key++) CHECK(syncmap_store(m, syncmap_u64(key), NULL) == 0);
    CHECK(fault_calls(FAULT_MMAP) > first + report.calls); /* it has grown now */
    for (uint64_t key = 0; key < 400000; key++) CHECK(syncmap_load(m, syncmap_u64(key), NULL) == 1);
    syncmap_free(m);
    syncmap_barrier();
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attached),
        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_newcomer),
        cmocka_unit_test(test_exit),
        cmocka_unit_test(test_large_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
