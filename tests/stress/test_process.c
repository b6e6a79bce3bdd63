/* SPDX-License-Identifier: MIT
 *
 * The life of a process beside the map: forks while other threads are inside operations, threads that die with pins and
 * garbage, exits with threads running, loading and unloading of the library. A watchdog ends whatever hangs: SIGALRM
 * is a failure of the test that it ends.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker.h"

enum { WATCHDOG = 240, CHILD_WATCHDOG = 60, CROWD_WATCHDOG = SANITIZED ? 10 : CHILD_WATCHDOG };

static size_t thread_count(void)
{
    size_t threads = test_env("THREADS", 4);
    return threads < MAX_THREADS ? threads : MAX_THREADS;
}

static void begin(void)
{
    crash_plainly();
    test_seed();
    alarm(WATCHDOG);
}

static void end(void)
{
    alarm(0);
}

/* ---- a herd: threads inside operations on several maps, until they are told to stop ---- */

enum { SCENES = 5 };

struct herd {
    struct scene scenes[SCENES];
    struct thread threads[MAX_THREADS];
    size_t count;
    atomic_bool stop;
    atomic_ullong streams;
};

/* A short map: syncmap_new() and syncmap_free() change what a fork must lock. */
static void pass_through(struct rng *rng)
{
    syncmap_options options = {.engine = rng_below(rng, 2) == 0 ? SYNCMAP_ENGINE_READ_DIRTY : SYNCMAP_ENGINE_FLAT};
    syncmap *m = syncmap_new(SYNCMAP_U64, &options);
    CHECK(m != NULL);
    for (uint64_t i = rng_below(rng, 8); i > 0; i--) CHECK(syncmap_store(m, syncmap_u64(i), NULL) == 0);
    syncmap_free(m);
}

static void herd_life(void *context)
{
    struct herd *herd = context;
    struct rng rng = rng_make(test_seed(), atomic_fetch_add(&herd->streams, 1));
    while (!atomic_load(&herd->stop)) {
        struct worker w;
        worker_init(&w, &herd->scenes[rng_below(&rng, SCENES)]);
        live_a_while(&w);
        if (rng_below(&rng, 16) == 0) pass_through(&rng);
        if (rng_below(&rng, 32) == 0) syncmap_barrier();
    }
}

static void herd_open(struct herd *herd)
{
    memset(herd, 0, sizeof *herd);
    for (size_t i = 0; i < SCENES; i++) {
        struct scene *scene = &herd->scenes[i];
        bed_open(&scene->bed, &test_configs[i % test_config_count], (enum ownership)(i % OWNERSHIPS));
        scene->keys = i % 2 == 0 ? SMALL_KEYS : 40;
        scene->clears = i % 2 == 0;
    }
}

static void herd_start(struct herd *herd)
{
    herd->count = thread_count();
    for (size_t i = 0; i < herd->count; i++) thread_start(&herd->threads[i], herd_life, herd);
}

static void herd_stop(struct herd *herd)
{
    atomic_store(&herd->stop, true);
    for (size_t i = 0; i < herd->count; i++) thread_join(&herd->threads[i]);
}

/* All maps first, since finish_map() wants no value to be left in any. */
static void herd_close(struct herd *herd)
{
    for (size_t i = 0; i + 1 < SCENES; i++) syncmap_free(herd->scenes[i].bed.map);
    bed_close(&herd->scenes[SCENES - 1].bed);
    for (size_t i = 0; i + 1 < SCENES; i++) CHECK(atomic_load(&herd->scenes[i].bed.counting.live_blocks) == 0);
}

/* ---- the child of a fork ---- */

static void set_flag(void *flag)
{
    atomic_store((atomic_bool *)flag, true);
}

/* This thread is not pinned, nobody else is for good, and what is retired is released: else it does nothing, or hangs. */
static void check_barrier(void)
{
    static atomic_bool released;
    atomic_store(&released, false);
    CHECK(syncmap_retire(&released, set_flag) == 0);
    syncmap_barrier();
    CHECK(atomic_load(&released));
}

/* `lost`: so many threads were lost in a fork, and may have been between an operation and its count. */
static void check_scene(struct scene *scene, size_t lost)
{
    struct worker w;
    worker_init(&w, scene);
    CHECK(syncmap_range(w.map, count_visit, &w) == 1);
    size_t len = syncmap_len(w.map);
    CHECK(len + lost >= w.held_count && len <= w.held_count + lost);
}

static void act_on_all(struct herd *herd, unsigned turns)
{
    for (size_t i = 0; i < SCENES; i++) {
        struct worker w;
        worker_init(&w, &herd->scenes[i]);
        for (unsigned j = 0; j < turns; j++) live_a_while(&w);
    }
}

/* Stacks of threads that were lost in the fork are used again: nothing of the library may still lie there. */
static void scribble(void *context)
{
    char stack[32 * 1024];
    memset(stack, 0xa5, sizeof stack);
    atomic_signal_fence(memory_order_seq_cst);
    act_on_all(context, stack[sizeof stack / 2] == 0 ? 0 : 2);
}

static void child_threads(struct herd *herd)
{
    struct thread threads[3];
    if (UNDER_TSAN) return; /* it refuses threads after a fork from many */
    for (size_t i = 0; i < 3; i++) thread_start(&threads[i], scribble, herd);
    for (size_t i = 0; i < 3; i++) thread_join(&threads[i]);
}

static void use_and_destroy(struct herd *herd, bool pinned)
{
    act_on_all(herd, 1);
    for (size_t i = 0; i < SCENES; i++) check_scene(&herd->scenes[i], herd->count);
    for (size_t i = 0; i < SCENES; i++) syncmap_free(herd->scenes[i].bed.map);
    if (!pinned) check_barrier();
}

/* False: it hung. */
static bool ended_well(pid_t child)
{
    int status;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    fprintf(stderr, "the child %s with %d\n", WIFSIGNALED(status) ? "died by signal" : "exited",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    CHECK(!"the child ended well");
    return false;
}

static void wait_for(pid_t child)
{
    CHECK(ended_well(child));
}

/* The locks of a sanitizer's malloc are not whole in the child of a process with many threads, as libc's are: such a child
 * may hang, and then proves nothing. */
static atomic_uint hung;

static void wait_for_crowded(pid_t child)
{
    bool ended = ended_well(child);
    CHECK(ended || SANITIZED);
    hung += !ended;
}

/* `pinned`: this thread is, for good: nothing can be waited for. Each fourth child has a child before it has done all. */
static _Noreturn void child_main(struct herd *herd, bool pinned)
{
    static struct rng rng;
    alarm(CROWD_WATCHDOG);
    rng = rng_make(test_seed(), 3000000 + (uint64_t)getpid());
    atomic_store(&herd->stop, true);
    for (size_t i = 0; i < SCENES; i++) check_scene(&herd->scenes[i], herd->count);
    act_on_all(herd, 3);
    pass_through(&rng);
    if (!pinned) { /* else its threads' barriers would wait for it, and it for them */
        child_threads(herd);
        check_barrier();
    }
    if (rng_below(&rng, 4) == 0) {
        pid_t child = fork();
        if (child == 0) {
            use_and_destroy(herd, pinned);
            child_exit(0);
        }
        wait_for_crowded(child);
    }
    use_and_destroy(herd, pinned);
    child_exit(0);
}

/* ---- fork ---- */

static void fork_plainly(void *context)
{
    pid_t child = fork();
    if (child == 0) child_main(context, false);
    wait_for_crowded(child);
}

static void fork_pinned(void *context)
{
    syncmap_pin();
    pid_t child = fork();
    if (child == 0) {
        syncmap_unpin();
        child_main(context, false);
    }
    wait_for_crowded(child);
    syncmap_unpin();
}

static bool visit_fork(syncmap_key key, void *value, void *context)
{
    (void)key, (void)value;
    pid_t child = fork();
    if (child == 0) child_main(context, true);
    wait_for_crowded(child);
    return false;
}

/* From a callback: no lock is held over it. */
static void fork_in_range(void *context)
{
    FOR_EACH_ENGINE(engine) {
        syncmap *m = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = engine});
        CHECK(m != NULL);
        CHECK(syncmap_store(m, syncmap_u64(1), NULL) == 0);
        CHECK(syncmap_range(m, visit_fork, context) == 0);
        syncmap_free(m);
    }
}

/* From a thread that has never called the library. */
static void fork_elsewhere(void *context)
{
    struct thread thread;
    thread_start(&thread, fork_plainly, context);
    thread_join(&thread);
}

/* Two forks at a time. */
static void fork_together(void *context)
{
    struct thread thread;
    thread_start(&thread, fork_plainly, context);
    fork_plainly(context);
    thread_join(&thread);
}

static void test_fork(void **state)
{
    static struct herd herd;
    static void (*const ways[])(void *) = {fork_plainly, fork_pinned, fork_in_range, fork_elsewhere, fork_together};
    (void)state;
    begin();
    struct rng rng = rng_make(test_seed(), 1000000);
    uint64_t forks = test_env("FORKS", SANITIZED ? 20 : 1000), start = now_us();
    herd_open(&herd);
    herd_start(&herd);
    for (uint64_t i = 0; i < forks; i++) {
        sleep_us(rng_below(&rng, 2000));
        ways[i % (sizeof ways / sizeof ways[0])](&herd);
    }
    unsigned hangs = atomic_load(&hung);
    printf("%" PRIu64 " forks in %.1f s\n", forks, (double)(now_us() - start) / 1e6);
    if (hangs > 0) printf("%u of them hung in the sanitizer's malloc\n", hangs);
    CHECK(hangs <= forks / 2);
    herd_stop(&herd);
    for (size_t i = 0; i < SCENES; i++) check_scene(&herd.scenes[i], 0);
    check_barrier();
    herd_close(&herd);
    end();
}

/* ---- exit with threads inside operations ---- */

static void exit_now(void *context)
{
    (void)context;
    exit(0);
}

/* By exit(), here or on another thread; or this one ends, and the last of the others takes the process with it. (That is nothing
 * for sanitizers: a thread of their own stays, and what this thread's stack refers to counts as leaked.) */
enum { ENDS = SANITIZED ? 2 : 3 };

static _Noreturn void end_process(unsigned way, struct herd *herd)
{
    struct thread thread;
    if (way == 0) exit(0);
    if (way == 1) {
        thread_start(&thread, exit_now, NULL);
        thread_join(&thread);
    }
    atomic_store(&herd->stop, true);
    pthread_exit(NULL);
}

static void test_exit(void **state)
{
    static struct herd herd;
    (void)state;
    begin();
    struct rng rng = rng_make(test_seed(), 1000001);
    for (unsigned i = 0; i < (SANITIZED ? 12 : 60); i++) {
        uint64_t us = rng_below(&rng, 20000);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            alarm(CHILD_WATCHDOG);
            herd_open(&herd);
            herd_start(&herd);
            sleep_us(us);
            end_process(i % ENDS, &herd);
        }
        wait_for(child);
    }
    end();
}

/* ---- threads that die ---- */

struct deaths {
    struct bed bed;
    pthread_key_t late; /* its destructor uses the map: after the library's own, which was made first */
    atomic_ullong streams;
    atomic_bool held;
};

static void late_use(void *context)
{
    struct deaths *d = context;
    syncmap_pin();
    CHECK(syncmap_load(d->bed.map, KEY(&d->bed, 1000), NULL) == 0);
    CHECK(syncmap_store(d->bed.map, KEY(&d->bed, 5), value_make(5)) >= 0);
}

/* Leaves replaced and deleted values, keys, objects of its own, and mostly a pin. */
static void die(void *context)
{
    struct deaths *d = context;
    struct rng rng = rng_make(test_seed(), atomic_fetch_add(&d->streams, 1));
    uint64_t pins = rng_below(&rng, 4);
    for (uint64_t i = 0; i < pins; i++) syncmap_pin();
    for (uint64_t i = 1 + rng_below(&rng, 8); i > 0; i--) {
        uint64_t index = rng_below(&rng, SMALL_KEYS);
        CHECK(syncmap_store(d->bed.map, KEY(&d->bed, index), value_make(index)) >= 0);
        CHECK(syncmap_delete(d->bed.map, KEY(&d->bed, rng_below(&rng, SMALL_KEYS))) >= 0);
        CHECK(syncmap_retire(value_make(0), value_release) == 0);
    }
    if (rng_below(&rng, 2) == 0) CHECK(pthread_setspecific(d->late, d) == 0);
}

static void deaths_open(struct deaths *d, void (*late)(void *context))
{
    memset(d, 0, sizeof *d);
    bed_open(&d->bed, &test_configs[test_config_count / 2], OWNED);
    CHECK(pthread_key_create(&d->late, late) == 0);
}

static void deaths_close(struct deaths *d)
{
    CHECK(pthread_key_delete(d->late) == 0);
    bed_close(&d->bed);
}

static void die_by_fours(struct deaths *d, uint64_t count)
{
    struct thread threads[4];
    for (uint64_t i = 0; i < count; i += 4) {
        for (size_t j = 0; j < 4; j++) thread_start(&threads[j], die, d);
        for (size_t j = 0; j < 4; j++) thread_join(&threads[j]);
    }
}

static void hold_and_die(void *context)
{
    struct deaths *d = context;
    syncmap_pin();
    syncmap_pin();
    atomic_store(&d->held, true);
    sleep_ms(5);
}

/* What the dead had pinned, retired and left is given up by a barrier; one that waits for them does not wait for ever. */
static void test_death(void **state)
{
    static struct deaths d;
    (void)state;
    begin();
    deaths_open(&d, late_use);
    for (int i = 0; i < 20; i++) {
        struct thread thread;
        die_by_fours(&d, 8);
        atomic_store(&d.held, false);
        thread_start(&thread, hold_and_die, &d);
        while (!atomic_load(&d.held)) sleep_us(100);
        check_barrier();
        CHECK((size_t)values_live() == syncmap_len(d.bed.map));
        thread_join(&thread);
    }
    deaths_close(&d);
    end();
}

static void late_pin(void *context)
{
    struct deaths *d = context;
    syncmap_pin();
    CHECK(syncmap_load(d->bed.map, KEY(&d->bed, 1000), NULL) == 0);
}

static void use_and_die(void *context)
{
    struct deaths *d = context;
    CHECK(syncmap_load(d->bed.map, KEY(&d->bed, 1000), NULL) == 0);
    CHECK(pthread_setspecific(d->late, d) == 0);
}

/* A thread that has nothing left of the library when it pins for the last time, and leaves it at that. */
static void test_late_pin(void **state)
{
    static struct deaths d;
    (void)state;
    begin();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct thread thread;
        alarm(CHILD_WATCHDOG);
        deaths_open(&d, late_pin);
        thread_start(&thread, use_and_die, &d);
        thread_join(&thread);
        check_barrier();
        deaths_close(&d);
        child_exit(0);
    }
    wait_for(child);
    end();
}

/* What malloc has handed out, in bytes; where it cannot tell, what the process occupies. */
static long long memory_in_use(void)
{
    syncmap_barrier();
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();
    return (long long)(info.uordblks + info.hblkhd);
#else
    long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%lld %lld", &total, &resident) == 2);
    CHECK(fclose(file) == 0);
    return resident * sysconf(_SC_PAGESIZE);
#endif
}

static void test_many_deaths(void **state)
{
    enum { TOLERANCE = 256 * 1024 }; /* a record and its slots for each of 10,000 would be two megabytes at least */
    static struct deaths d;
    (void)state;
    begin();
    deaths_open(&d, late_use);
    die_by_fours(&d, 400);
    long long before = memory_in_use();
    uint64_t count = test_env("DEATHS", SANITIZED ? 1000 : 10000);
    die_by_fours(&d, count);
    long long after = memory_in_use();
    printf("%" PRIu64 " threads: %lld bytes in use before, %lld after\n", count, before, after);
    if (!SANITIZED) CHECK(after - before < TOLERANCE); /* a sanitizer's malloc keeps what was freed */
    deaths_close(&d);
    end();
}

/* ---- the shared library, loaded and unloaded ---- */

struct library {
    void *handle;
    syncmap *(*new)(enum syncmap_kind kind, const syncmap_options *options);
    int (*store)(syncmap *m, syncmap_key key, void *value);
    int (*load)(syncmap *m, syncmap_key key, void **value);
    void (*pin)(void);
    void (*free)(syncmap *m);
    void (*barrier)(void);
    syncmap *map;
    atomic_ullong keys;
};

/* ISO C knows no way from dlsym()'s object pointer to a function pointer but through memory. */
static void library_find(struct library *l, const char *name, void *function, size_t size)
{
    void *address = dlsym(l->handle, name);
    CHECK(address != NULL && size == sizeof address);
    memcpy(function, &address, sizeof address);
}

static void library_use(void *context)
{
    struct library *l = context;
    for (int i = 0; i < 50; i++) {
        uint64_t key = atomic_fetch_add(&l->keys, 1);
        void *value = NULL;
        CHECK(l->store(l->map, syncmap_u64(key), l) == 0);
        CHECK(l->load(l->map, syncmap_u64(key), &value) == 1 && value == l);
        CHECK(l->store(l->map, syncmap_u64(key), NULL) == 1);
    }
}

/* The end of a pinned thread runs code of the library. */
static void library_use_and_die(void *context)
{
    struct library *l = context;
    library_use(l);
    l->pin();
}

static void library_once(const char *path)
{
    struct library l = {.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    struct thread threads[2];
    if (l.handle == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(l.handle != NULL);
    library_find(&l, "syncmap_new", &l.new, sizeof l.new);
    library_find(&l, "syncmap_store", &l.store, sizeof l.store);
    library_find(&l, "syncmap_load", &l.load, sizeof l.load);
    library_find(&l, "syncmap_pin", &l.pin, sizeof l.pin);
    library_find(&l, "syncmap_free", &l.free, sizeof l.free);
    library_find(&l, "syncmap_barrier", &l.barrier, sizeof l.barrier);
    l.map = l.new(SYNCMAP_U64, NULL);
    CHECK(l.map != NULL);
    library_use(&l);
    for (size_t i = 0; i < 2; i++) thread_start(&threads[i], library_use_and_die, &l);
    for (size_t i = 0; i < 2; i++) thread_join(&threads[i]);
    l.free(l.map);
    l.barrier();
    CHECK(dlclose(l.handle) == 0);
}

static void library_life(void *context)
{
    library_once(context);
}

static void test_dlopen(void **state)
{
    (void)state;
    begin();
    char *path = getenv("SYNCMAP_SO");
    if (path == NULL || *path == '\0') {
        printf("skipped: SYNCMAP_SO does not say where the shared library is\n");
        end();
        skip();
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_WATCHDOG);
        for (int i = 0; i < 50; i++) {
            struct thread thread; /* the thread that unloads it ends, too */
            thread_start(&thread, library_life, path);
            thread_join(&thread);
        }
        exit(0);
    }
    wait_for(child);
    end();
}

int main(void)
{
    keep_crash_handlers();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit), /* before the others: its children start threads */
        cmocka_unit_test(test_dlopen),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_death),
        cmocka_unit_test(test_many_deaths),
        cmocka_unit_test(test_late_pin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
