/* SPDX-License-Identifier: MIT
 *
 * Faults that need a process of their own: at load time, at a thread's first call when no record can be reused, for a thread's
 * whole life, of membarrier, and in the child of a fork. Each script below runs in a child, which is this program again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault/trial.h"

static const struct fault_plan no_plan = {0, 0, 0};

/* ---- children ---- */

/* How a script ends: all is well, with a fault or (FINE_UNMET) without. */
enum { FINE = 0, FINE_UNMET = 3 };
enum { CHILD_SECONDS = 120, PIN_SECONDS = 20 };

static int wait_child(pid_t pid)
{
    int status;
    CHECK(pid > 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == FINE || WEXITSTATUS(status) == FINE_UNMET);
    return WEXITSTATUS(status);
}

/* Runs script(number) in a new process, with the plan armed from its very start. */
static int run_child(const char *script, unsigned number, struct fault_plan plan)
{
    char seed[32], argument[16], text[64];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)test_seed());
    snprintf(argument, sizeof argument, "%u", number);
    snprintf(text, sizeof text, "%u %ld %ld", plan.sites, plan.first, plan.count);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("SEED", seed, 1);
        if (plan.sites != 0) setenv("FAULT_PLAN", text, 1);
        alarm(CHILD_SECONDS);
        execl("/proc/self/exe", "fault_process", script, argument, (char *)NULL);
        _exit(127);
    }
    return wait_child(pid);
}

/* ---- several threads on one map ---- */

enum { STRESS_KEYS = 32, STRESS_THREADS = 3, STRESS_STEPS = 4000 / TEST_SCALE };

struct stress {
    struct bed bed;
    bool may_fail; /* ENOMEM is no surprise */
};

static void stress_store(struct stress *stress, uint64_t index)
{
    void *value = value_make(index);
    int result = syncmap_store(stress->bed.map, KEY(&stress->bed, index), value);
    CHECK(result >= 0 || (stress->may_fail && result == SYNCMAP_ENOMEM));
    if (result < 0) value_release(value);
}

static void stress_thread(size_t number, void *context)
{
    struct stress *stress = context;
    struct bed *bed = &stress->bed;
    struct rng rng = rng_make(test_seed(), 100 + number);
    for (int i = 0; i < STRESS_STEPS; i++) {
        uint64_t index = rng_below(&rng, STRESS_KEYS);
        void *value = NULL;
        switch (rng_below(&rng, 4)) {
        case 0:
            stress_store(stress, index);
            break;
        case 1:
            CHECK(syncmap_delete(bed->map, KEY(bed, index)) >= 0 || stress->may_fail);
            break;
        default:
            syncmap_pin();
            if (syncmap_load(bed->map, KEY(bed, index), &value) == 1) value_check(value, index);
            for (int again = 0; again < 20 && value; again++) value_check(value, index);
            syncmap_unpin();
        }
    }
}

/* On an owning map: what is freed too early is seen by value_check, what is lost at the end. */
static void stress_run(const struct config *config, bool may_fail)
{
    struct stress stress = {.may_fail = may_fail};
    bed_open(&stress.bed, config, OWNED);
    threads_run(STRESS_THREADS, stress_thread, &stress);
    CHECK(bed_range_count(&stress.bed) == syncmap_len(stress.bed.map));
    bed_close(&stress.bed);
}

/* ---- start: from load time on ---- */

/* More than any plan that ends. */
enum { TRIES = 30, LONG_WHILE = 12 };

static bool last_try(int try)
{
    if (try == TRIES) fault_disarm_process(); /* it would have gone on for ever */
    return try < TRIES;
}

static void release_counted(void *object)
{
    ++*(int *)object;
}

/* The library before its first map. */
static void use_without_map(void)
{
    int released = 0, retired;
    syncmap_pin();
    syncmap_unpin();
    CHECK(syncmap_len(NULL) == 0);
    retired = syncmap_retire(&released, release_counted);
    CHECK(retired == 0 || retired == SYNCMAP_ENOMEM);
    syncmap_barrier();
    CHECK(released == (retired == 0));
}

static int store_at_last(struct bed *bed, uint64_t index, void *value)
{
    int result = SYNCMAP_ENOMEM;
    for (int try = 0; result < 0; try++) {
        CHECK(last_try(try) || try == TRIES);
        result = syncmap_store(bed->map, KEY(bed, index), value);
        CHECK(result >= 0 || result == SYNCMAP_ENOMEM);
        CHECK(syncmap_len(bed->map) == index + (result == 0));
    }
    return result;
}

static void new_at_last(struct bed *bed)
{
    syncmap_options options = bed_options(bed->config, bed->ownership, NULL);
    for (int try = 0; bed->map == NULL; try++) {
        CHECK(last_try(try) || try == TRIES);
        errno = 0;
        bed->map = syncmap_new(bed->config->kind, &options);
        CHECK(bed->map != NULL || errno == ENOMEM);
        if (bed->map == NULL) use_without_map();
    }
}

static void fill(const struct config *config)
{
    struct bed bed = {.config = config, .ownership = OWNED};
    counting_init(&bed.counting);
    new_at_last(&bed);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK(store_at_last(&bed, i, value_make(i)) == 0);
        bed_check_present(&bed, i);
        bed_check_absent(&bed, i + 1);
    }
    syncmap_free(bed.map);
    syncmap_barrier();
    CHECK(values_live() == 0);
}

static void in_forked_child(void (*body)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(CHILD_SECONDS);
        body();
        child_exit(FINE);
    }
    wait_child(pid);
}

static void stress_all(void)
{
    for (size_t i = 0; i < test_config_count; i++) stress_run(&test_configs[i], false);
}

static void stress_one(void)
{
    stress_run(&test_configs[0], false);
}

/* number 1: the plan is not about memory, and stays armed to the end. */
static int script_start(unsigned number)
{
    use_without_map();
    for (size_t i = 0; i < test_config_count; i++) fill(&test_configs[i]);
    struct fault_report report = {0};
    if (number == 0) report = fault_disarm_process();
    if (number == 1) stress_all();
    else stress_one();
    in_forked_child(stress_one);
    if (number == 1) report = fault_disarm_process();
    return report.failed > 0 ? FINE : FINE_UNMET;
}

static void test_start(void **state)
{
    (void)state;
    int children = 0;
    for (long n = 1; children++, run_child("start", 0, (struct fault_plan){FAULT_ALL, n, 1}) == FINE; n++) {
        CHECK(n < 1000);
        /* What was met at load time and at the first calls, then for good. */
        if (n <= 10) run_child("start", 0, (struct fault_plan){FAULT_ALL & ~FAULT(FAULT_MEMBARRIER), n, FAULT_FOREVER});
        if (n >= 40 / TEST_SCALE) n += TEST_SCALE > 1 ? 20 : 6; /* by then each call is one of many like it */
    }
    printf("%d children with one fault each\n", children);
}

/* Each function by itself, for the whole life of the process. */
static void test_never(void **state)
{
    static const enum fault_site for_memory[] = {FAULT_KEY_CREATE, FAULT_ATFORK, FAULT_SETSPECIFIC, FAULT_MEMALIGN,
                                                 FAULT_MALLOC, FAULT_MUTEX_INIT};
    static const enum fault_site others[] = {FAULT_CALLOC, FAULT_MEMBARRIER_QUERY, FAULT_MEMBARRIER_REGISTER, FAULT_TRYLOCK,
                                             FAULT_GETRANDOM};
    (void)state;
    for (size_t i = 0; i < sizeof for_memory / sizeof for_memory[0]; i++) {
        harness_note(fault_site_name(for_memory[i]));
        CHECK(run_child("start", 0, (struct fault_plan){FAULT(for_memory[i]), 1, FAULT_FOREVER}) == FINE);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        harness_note(fault_site_name(others[i]));
        int status = run_child("start", 1, (struct fault_plan){FAULT(others[i]), 1, FAULT_FOREVER});
        CHECK(status == FINE || others[i] == FAULT_MEMBARRIER_REGISTER); /* not tried where there is none */
    }
}

/* ---- first: a thread's first call, where no record is to be reused ---- */

enum { THREADS_MAX = 600 };

struct newcomer {
    struct thread thread;
    struct trial trial;
    enum trial_operation operation;
    struct fault_plan plan;
    bool failed;
    struct stage *end; /* of the script */
    struct stage done;
};

/* It stays, so that the next one finds no record either. */
static void first_call(void *context)
{
    struct newcomer *newcomer = context;
    struct trial *trial = &newcomer->trial;
    newcomer->failed = trial_call(trial, newcomer->operation, newcomer->operation == NEW ? 0 : trial->early + TRIAL_LATE,
                                  newcomer->plan, newcomer->plan.first % 2);
    syncmap_barrier(); /* now it has a record in any case */
    stage_set(&newcomer->done, 1);
    stage_wait(newcomer->end, 1);
}

static bool run_newcomer(struct newcomer *newcomer, const struct config *config, enum ownership ownership)
{
    newcomer->trial.early = 6;
    trial_open(&newcomer->trial, config, ownership, AMENDED);
    thread_start(&newcomer->thread, first_call, newcomer);
    stage_wait(&newcomer->done, 1);
    trial_close(&newcomer->trial);
    return newcomer->failed;
}

static int script_first(unsigned number)
{
    static struct newcomer newcomers[THREADS_MAX];
    static struct stage end;
    const struct config *config = &test_configs[number / OWNERSHIPS];
    enum ownership ownership = (enum ownership)(number % OWNERSHIPS);
    int count = 0;
    harness_note(config->name);
    for (int operation = 0; operation < TRIAL_OPERATIONS; operation++) {
        bool failed = true;
        for (long n = 1; failed; n++) {
            for (long length = 1; failed && length <= LONG_WHILE; length += LONG_WHILE - 1) {
                CHECK(n < 50 && count < THREADS_MAX);
                newcomers[count] = (struct newcomer){.operation = (enum trial_operation)operation, .end = &end,
                                                     .plan = {FAULT_ALL, n, length}};
                failed = run_newcomer(&newcomers[count++], config, ownership);
            }
        }
    }
    stage_set(&end, 1);
    for (int i = 0; i < count; i++) thread_join(&newcomers[i].thread);
    /* Each of them was new. */
    CHECK(fault_calls(FAULT_MEMALIGN) >= count);
    return FINE;
}

static void test_first(void **state)
{
    (void)state;
    for (size_t i = 0; i < test_config_count * OWNERSHIPS; i++) run_child("first", (unsigned)i, no_plan);
}

/* ---- without: no record for a thread's whole life ---- */

static struct fault_plan without; /* what refuses them one */

struct visitor {
    struct trial trial;
    enum trial_operation operation;
    uint64_t index;
};

/* What needs a slot has none, all else works. */
static bool needs_slot(const struct visitor *visitor)
{
    switch (visitor->operation) {
    case RETIRE: return true;
    case STORE: case SWAP: case LOAD_AND_DELETE: case DELETE: case COMPARE_AND_SWAP: case COMPARE_AND_DELETE:
        return visitor->trial.bed.ownership != PLAIN;
    default: return false;
    }
}

static void call_without(void *context)
{
    struct visitor *visitor = context;
    for (int round = 0; round < 2 && visitor->trial.bed.map; round++) {
        bool deletes = visitor->operation == LOAD_AND_DELETE || visitor->operation == DELETE;
        bool empty = deletes && syncmap_len(visitor->trial.bed.map) == 0; /* then it need not look, nor have a slot */
        int result = trial_try(&visitor->trial, visitor->operation, visitor->index, without);
        if (needs_slot(visitor)) CHECK(result == SYNCMAP_ENOMEM || (empty && result == 0));
        else CHECK(result >= 0);
    }
    if (without.sites == FAULT(FAULT_MEMALIGN)) syncmap_pin(); /* it exits so */
}

static void calls_without(const struct config *config, enum ownership ownership)
{
    for (int state = TEST_SCALE > 1 ? AMENDED : EMPTY; state < TRIAL_STATES; state += TEST_SCALE) {
        for (int operation = 0; operation < TRIAL_OPERATIONS; operation++) {
            for (uint64_t index = 0; index < (operation < RETIRE ? 9 : 1); index++) {
                struct visitor visitor = {.trial.early = 6, .operation = (enum trial_operation)operation, .index = index};
                struct thread thread;
                trial_open(&visitor.trial, config, ownership, (enum trial_state)state);
                thread_start(&thread, call_without, &visitor);
                thread_join(&thread);
                trial_close(&visitor.trial); /* its barrier would wait for ever for a pin that has not ended */
            }
        }
    }
}

static int script_without(unsigned number)
{
    syncmap_barrier(); /* this thread has its record */
    without = (struct fault_plan){FAULT((enum fault_site)number), 1, FAULT_FOREVER};
    fault_arm_process(without);
    for_each_ownership(calls_without);
    /* None was made: a record that is refused its key's value goes to the next one. */
    CHECK(fault_live_blocks() <= 700);
    stress_run(&test_configs[0], true);
    CHECK(fault_disarm_process().failed > 0);
    stress_run(&test_configs[0], false);
    return FINE;
}

static void test_without(void **state)
{
    (void)state;
    run_child("without", FAULT_MEMALIGN, no_plan);
    run_child("without", FAULT_SETSPECIFIC, no_plan);
}

/* ---- membarrier, after it was registered ---- */

static bool has_membarrier(void)
{
    long before = fault_calls(FAULT_MEMBARRIER);
    syncmap_barrier();
    return fault_calls(FAULT_MEMBARRIER) > before;
}

enum { OBJECTS = 2000 / TEST_SCALE };

/* While it fails nothing is freed, and nothing is waited for but by a barrier; then all is freed. */
static void refused_for_a_while(const struct config *config, enum ownership ownership)
{
    static int released[OBJECTS];
    struct bed bed;
    memset(released, 0, sizeof released);
    bed_open(&bed, config, ownership);
    bed_store(&bed, 0, 0);
    syncmap_barrier();
    struct fault_plan plan = {FAULT(FAULT_MEMBARRIER), 1, FAULT_FOREVER};
    fault_arm_process(plan);
    long long values = values_live(), keys = custom_keys_live();
    for (int i = 0; i < OBJECTS; i++) {
        CHECK(syncmap_retire(&released[i], release_counted) == 0);
        bed_store(&bed, 0, 1);
        bed_store(&bed, 1 + (uint64_t)i % 7, i >= 7);
        if (i % 100 == 99) CHECK(bed_range_count(&bed) == syncmap_len(bed.map));
    }
    syncmap_free(bed.map);
    for (int i = 0; i < OBJECTS; i++) CHECK(released[i] == 0);
    CHECK(values_live() == (ownership == PLAIN ? 0 : values + 2 * OBJECTS));
    CHECK(custom_keys_live() >= keys);
    CHECK(fault_disarm_process().failed > 0);
    finish_map(NULL, &bed.counting);
    for (int i = 0; i < OBJECTS; i++) CHECK(released[i] == 1);
}

struct weather {
    struct stress stress;
    atomic_bool over;
};

/* Every few calls one fails, or a few in a row do. */
static void weather_thread(void *context)
{
    struct weather *weather = context;
    struct rng rng = rng_make(test_seed(), 7);
    while (!atomic_load(&weather->over)) {
        struct fault_plan plan = {FAULT(FAULT_MEMBARRIER), 1 + (long)rng_below(&rng, 4), 1 + (long)rng_below(&rng, 6)};
        fault_arm_process(plan);
        sleep_ms(1);
        fault_disarm_process();
    }
}

static int script_membarrier(unsigned number)
{
    (void)number;
    if (!has_membarrier()) return FINE_UNMET;
    for_each_ownership(refused_for_a_while);
    struct weather weather = {.stress.may_fail = false};
    struct thread thread;
    thread_start(&thread, weather_thread, &weather);
    stress_all();
    atomic_store(&weather.over, true);
    thread_join(&thread);
    return FINE;
}

static void test_membarrier(void **state)
{
    (void)state;
    if (run_child("membarrier", 0, no_plan) == FINE_UNMET) skip();
}

/* ---- fork: the child may be refused what its parent has ---- */

static struct bed forked;

static void after_fork(void)
{
    for (uint64_t i = 0; i < 8; i++) {
        bed_check_present(&forked, i);
        bed_store(&forked, i, 1);
    }
    bed_store(&forked, 8, 0);
    bed_close(&forked);
    stress_one();
}

static int script_fork(unsigned number)
{
    fault_arm_process((struct fault_plan){FAULT((enum fault_site)number), 1, FAULT_FOREVER});
    for (size_t i = 0; i < test_config_count; i++) {
        bed_open(&forked, &test_configs[i], OWNED);
        for (uint64_t j = 0; j < 8; j++) bed_store(&forked, j, 0);
        in_forked_child(after_fork);
        bed_close(&forked);
    }
    fault_disarm_process();
    return FINE;
}

static void test_fork(void **state)
{
    (void)state;
    run_child("fork", FAULT_MEMBARRIER_QUERY, no_plan);
    run_child("fork", FAULT_MEMBARRIER_REGISTER, no_plan);
}

/* ---- pins: what a thread has pinned, it unpins, whatever it was refused ---- */

static struct bed pins_bed;

struct pinner {
    void (*body)(void);
    struct stage unpinned, end;
};

static void pinner_thread(void *context)
{
    struct pinner *pinner = context;
    pinner->body();
    stage_set(&pinner->unpinned, 1);
    stage_wait(&pinner->end, 1);
}

/* A thread runs `body`, which leaves it unpinned, and stays: nothing may wait for it. The alarm tells if something does. */
static void pins_end(void (*body)(void))
{
    struct pinner pinner = {.body = body};
    struct thread thread;
    alarm(PIN_SECONDS);
    thread_start(&thread, pinner_thread, &pinner);
    stage_wait(&pinner.unpinned, 1);
    bed_store(&pins_bed, 0, 1);
    syncmap_barrier();
    CHECK(values_live() == 1);
    stage_set(&pinner.end, 1);
    thread_join(&thread);
}

/* Refused a record where it pins, perhaps given one in a delete, and then it pins once more. */
static void pins_across_attach(void)
{
    fault_arm((struct fault_plan){FAULT_MEMORY, 1, 1});
    syncmap_pin();
    CHECK(fault_disarm().failed == 1);
    (void)syncmap_delete(pins_bed.map, KEY(&pins_bed, 1)); /* takes a slot */
    syncmap_pin();
    syncmap_unpin();
    syncmap_unpin();
}

/* A random walk over all that pins, with a system that refuses now and then. */
static void pins_at_random(void)
{
    static atomic_ullong walks;
    struct rng rng = rng_make(test_seed(), 900 + atomic_fetch_add(&walks, 1));
    unsigned depth = 0;
    for (int step = 0; step < 30 || depth > 0; step++) {
        struct fault_plan plan = {FAULT(FAULT_MEMALIGN) | FAULT(FAULT_SETSPECIFIC), 1, rng_below(&rng, 2) ? FAULT_FOREVER : 0};
        fault_arm(plan);
        switch (rng_below(&rng, step < 30 ? 5 : 2)) {
        case 0: case 1:
            syncmap_unpin();
            depth -= depth > 0;
            break;
        case 2:
            syncmap_pin();
            depth++;
            break;
        case 3:
            CHECK(bed_range_count(&pins_bed) == 1);
            break;
        default:
            (void)syncmap_delete(pins_bed.map, KEY(&pins_bed, 1)); /* takes a slot */
        }
        fault_disarm();
    }
}

static pthread_key_t late_key;

static void pin_late(void *value)
{
    (void)value;
    syncmap_pin();
}

/* A destructor pins, on a thread that has no record, after the library's own has run. (These two exit pinned.) */
static void exit_pins_late(void)
{
    CHECK(pthread_setspecific(late_key, &late_key) == 0);
    fault_arm((struct fault_plan){FAULT(FAULT_MEMALIGN), 1, FAULT_FOREVER});
    syncmap_pin();
    syncmap_unpin();
}

static void exit_refused_once(void)
{
    fault_arm((struct fault_plan){FAULT(FAULT_SETSPECIFIC), 1, 1});
    syncmap_pin();
}

static void exit_thread(void *context)
{
    void (**body)(void) = context;
    (*body)();
}

static void exits(void (*body)(void))
{
    struct thread thread;
    alarm(PIN_SECONDS);
    thread_start(&thread, exit_thread, &body);
    thread_join(&thread);
    bed_store(&pins_bed, 0, 1);
    syncmap_barrier();
    CHECK(values_live() == 1);
}

enum { PINS_ACROSS, PINS_RANDOM, EXIT_LATE, EXIT_REFUSED, PIN_SCRIPTS };

static int script_pins(unsigned number)
{
    CHECK(pthread_key_create(&late_key, pin_late) == 0);
    bed_open(&pins_bed, &test_configs[0], OWNED);
    bed_store(&pins_bed, 0, 0);
    if (number == PINS_ACROSS) pins_end(pins_across_attach);
    for (int i = 0; number == PINS_RANDOM && i < 200; i++) pins_end(pins_at_random);
    if (number == EXIT_LATE) exits(exit_pins_late);
    if (number == EXIT_REFUSED) exits(exit_refused_once);
    bed_close(&pins_bed);
    return FINE;
}

static void test_pins(void **state)
{
    (void)state;
    for (unsigned number = 0; number < PIN_SCRIPTS; number++) run_child("pins", number, no_plan);
}

/* ---- main ---- */

static int run_script(const char *name, unsigned number)
{
    static const struct {
        const char *name;
        int (*run)(unsigned number);
    } scripts[] = {{"start", script_start},           {"first", script_first}, {"without", script_without},
                   {"membarrier", script_membarrier}, {"fork", script_fork},
                   {"pins", script_pins}};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (strcmp(scripts[i].name, name) == 0) return scripts[i].run(number);
    }
    fprintf(stderr, "no script %s\n", name);
    return 1;
}

int main(int argc, char **argv)
{
    test_seed();
    if (argc == 3) return run_script(argv[1], (unsigned)atoi(argv[2]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_without),
        cmocka_unit_test(test_membarrier),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_pins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
