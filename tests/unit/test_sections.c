/* SPDX-License-Identifier: MIT
 *
 * White box: sections (thread.h). No user code runs in one, a fork waits for all, and what a child finds goes on.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- what the system refuses, and what happens round a fork ---- */

static bool refuse_record;

static int test_memalign(void **memory, size_t alignment, size_t size)
{
    return refuse_record ? ENOMEM : posix_memalign(memory, alignment, size);
}

/* Before each load of an atomic: what a test looks for. */
static void (*before_load)(const volatile void *object);

static void loaded(const volatile void *object)
{
    if (before_load != NULL)
        before_load(object);
}

#define SYNCMAP_ATOMICS "unit/watched_atomics.h"
#define posix_memalign test_memalign
#include "unit/flat_fixture.h"
#undef posix_memalign

/* While the library has stopped all sections: registered before its own, so it runs after its prepare, and before its parent and
 * child. */
static void (*between_prepare_and_fork)(void), (*first_in_parent)(void);

static void in_prepare(void)
{
    if (between_prepare_and_fork != NULL)
        between_prepare_and_fork();
}

static void in_parent(void)
{
    if (first_in_parent != NULL)
        first_in_parent();
}

__attribute__((constructor(101))) static void register_first(void)
{
    pthread_atfork(in_prepare, in_parent, NULL);
}

enum { CHILD_SECONDS = 30 };

/* Runs `body` in a forked child, which has to come to its end. */
static void in_child(void (*body)(void *context), void *context)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        body(context);
        child_exit(0);
    }
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM); /* it hangs */
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void nothing(void *context)
{
    (void)context;
}

static pthread_t start(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
    return thread;
}

static void wait_for(_Atomic int *reached, int number)
{
    while (atomic_load(reached) < number)
        sched_yield();
}

/* So that no record can be reused, or made. */
static int refuse_records(struct thread *records[64])
{
    int held = 0;
    for (struct thread *t = ld_acquire(&thread_records); t != NULL && held < 64; t = t->next) {
        bool free = false;
        if (cas_acq_rel(&t->in_use, &free, true))
            records[held++] = t;
    }
    refuse_record = true;
    return held;
}

static void grant_records(struct thread *records[64], int held)
{
    while (held > 0)
        st_release(&records[--held]->in_use, false);
    refuse_record = false;
}

/* ---- who is in one ---- */

static void sections_are_marked(void **state)
{
    (void)state;
    struct thread *self = thread_attach();
    assert_int_equal(ld_relaxed(&self->section), 0);
    assert_ptr_equal(section_enter(), self);
    assert_int_equal(ld_relaxed(&self->section), 1);
    section_leave(self);
    assert_int_equal(ld_relaxed(&self->section), 0);
}

/* A shortcut looks whether it may be in one when it is, or the fork that it does not see does not see it. */
static int looks;

static void in_section_before_it_looks(const volatile void *object)
{
    if (object != &sections_open)
        return;
    looks++;
    CHECK(ld_relaxed(&own.record->section) == 1);
}

static void shortcuts_are_marked(void **state)
{
    (void)state;
    struct fixture f = make();
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), number(1)), 0);
    looks = 0;
    before_load = in_section_before_it_looks;
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), number(2)), 1);
    assert_int_equal(syncmap_swap(f.m, syncmap_u64(2), number(2), NULL), 0);
    before_load = NULL;
    assert_int_equal(looks, 2);
    assert_int_equal(ld_relaxed(&own.record->section), 0);
    finish_map(f.m, &counting);
}

/* Of threads without a record each counts. */
struct recordless {
    _Atomic int entered, leave;
    struct fixture f;
};

static void *enter_without_record(void *argument)
{
    struct recordless *r = argument;
    CHECK(thread_attach() == NULL);
    struct thread *self = section_enter();
    CHECK(self == &thread_shared);
    atomic_fetch_add(&r->entered, 1);
    wait_for(&r->leave, 1);
    section_leave(self);
    for (uint64_t key = 0; key < 500; key++) {
        CHECK(syncmap_store(r->f.m, syncmap_u64(key), number(key)) >= 0);
        CHECK(syncmap_delete(r->f.m, syncmap_u64(key / 2)) >= 0);
        CHECK(ld_relaxed(&own.record) == NULL);
    }
    return NULL;
}

static void sections_without_a_record(void **state)
{
    (void)state;
    struct thread *records[64];
    struct recordless r = {.f = make()};
    pthread_t threads[3];
    int held = refuse_records(records);
    for (int i = 0; i < 3; i++) {
        threads[i] = start(enter_without_record, &r);
        wait_for(&r.entered, i + 1);
        assert_int_equal(ld_relaxed(&thread_shared.section), i + 1);
    }
    atomic_store(&r.leave, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(ld_relaxed(&thread_shared.section), 0);
    grant_records(records, held);
    in_child(nothing, NULL); /* nothing is left to wait for */
    move_all(r.f);
    finish_map(r.f.m, &counting);
}

/* ---- no user code in one (V6) ---- */

static unsigned long calls[10];

static void outside(int function)
{
    struct thread *self = ld_relaxed(&own.record);
    calls[function]++;
    CHECK(self != NULL && ld_relaxed(&self->section) == 0);
    CHECK(ld_relaxed(&thread_shared.section) == 0);
}

static uint64_t outside_hash(const void *key, uint64_t seed, void *context)
{
    (void)seed;
    (void)context;
    outside(0);
    return *(const uint64_t *)key % 200; /* some are the same */
}

static bool outside_equal(const void *a, const void *b, void *context)
{
    (void)context;
    outside(1);
    return *(const uint64_t *)a == *(const uint64_t *)b;
}

static void *outside_dup(const void *key, void *context)
{
    (void)context;
    outside(2);
    uint64_t *copy = malloc(sizeof *copy);
    CHECK(copy != NULL);
    *copy = *(const uint64_t *)key;
    return copy;
}

static void outside_drop(void *key, void *context)
{
    (void)context;
    outside(3);
    free(key);
}

static void outside_value_free(void *value, void *context)
{
    outside(4);
    value_free(value, context);
}

static void outside_value_acquire(void *value, void *context)
{
    outside(5);
    value_acquire(value, context);
}

static bool outside_value_equal(const void *stored, const void *expected, void *context)
{
    (void)context;
    outside(6);
    return ((const struct value *)stored)->key_index == ((const struct value *)expected)->key_index;
}

static bool refuse_memory;

static void *outside_alloc(size_t size, void *context)
{
    outside(7);
    if (refuse_memory)
        return NULL;
    return counting_allocator(context).alloc(size, context);
}

static void outside_free(void *memory, size_t size, void *context)
{
    outside(8);
    counting_allocator(context).free(memory, size, context);
}

static bool outside_visit(syncmap_key key, void *value, void *context)
{
    (void)key;
    (void)context;
    outside(9);
    value_release(value);
    return true;
}

static void release_if(void *value)
{
    if (value != NULL)
        value_release(value);
}

static void outside_operation(syncmap *m, struct rng *rng)
{
    static const uint64_t range[] = {30, 600};
    uint64_t index = rng_below(rng, range[rng_below(rng, 2)]);
    syncmap_key key = syncmap_obj(&index);
    struct value *value = value_make(index), *expected = value_make(index);
    void *out = NULL;
    int kept = 0;
    switch (rng_below(rng, 9)) {
    case 0: CHECK(syncmap_load(m, key, &out) >= 0); break;
    case 1: CHECK(syncmap_store(m, key, value) >= 0); kept = 1; break;
    case 2: CHECK(syncmap_swap(m, key, value, &out) >= 0); kept = 1; break;
    case 3: kept = syncmap_load_or_store(m, key, value, &out) == 0; break;
    case 4: CHECK(syncmap_load_and_delete(m, key, &out) >= 0); break;
    case 5: CHECK(syncmap_delete(m, key) >= 0); break;
    case 6: kept = syncmap_compare_and_swap(m, key, expected, value) == 1; break;
    case 7: CHECK(syncmap_compare_and_delete(m, key, expected) >= 0); break;
    default:
        if (rng_below(rng, 100) == 0)
            CHECK(syncmap_clear(m) == 0);
        if (rng_below(rng, 100) == 0)
            CHECK(syncmap_reserve(m, (size_t)rng_below(rng, 3000)) == 0);
        if (rng_below(rng, 30) == 0)
            CHECK(syncmap_range(m, outside_visit, NULL) == 1);
    }
    release_if(out);
    release_if(expected);
    if (!kept)
        release_if(value);
}

static void no_user_code_in_a_section(void **state)
{
    (void)state;
    struct rng rng = rng_make(test_seed(), 21);
    syncmap_options options = {
        .engine = SYNCMAP_ENGINE_FLAT,
        .key = {outside_hash, outside_equal, outside_dup, outside_drop},
        .value_free = outside_value_free, .value_acquire = outside_value_acquire, .value_equal = outside_value_equal,
        .allocator = {outside_alloc, outside_free, &counting},
    };
    counting_init(&counting);
    thread_attach();
    syncmap *m = syncmap_new(SYNCMAP_CUSTOM, &options);
    for (int i = 0; i < 30000; i++)
        outside_operation(m, &rng);
    finish_map(m, &counting);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        assert_true(calls[i] > 0);
}

/* Integers that nobody owns have shortcuts; what is left for user code is the allocator. */
static void no_allocation_in_a_section(void **state)
{
    (void)state;
    struct rng rng = rng_make(test_seed(), 22);
    syncmap_options options = {.engine = SYNCMAP_ENGINE_FLAT, .allocator = {outside_alloc, outside_free, &counting}};
    memset(calls, 0, sizeof calls);
    counting_init(&counting);
    syncmap *m = syncmap_new(SYNCMAP_U64, &options);
    CHECK(m->quick_write == FLAT_INTEGERS);
    for (int i = 0; i < 30000; i++) {
        syncmap_key key = syncmap_u64(rng_below(&rng, 600));
        if (rng_below(&rng, 3) == 0)
            CHECK(syncmap_delete(m, key) >= 0);
        else
            CHECK(syncmap_store(m, key, number(i)) >= 0);
        if (rng_below(&rng, 1000) == 0)
            CHECK(syncmap_clear(m) == 0);
    }
    assert_true(calls[7] > 100 && calls[8] > 100);
    refuse_memory = true; /* chains get longer, until there is no bucket for them */
    uint64_t key = 1000;
    int result;
    while ((result = syncmap_store(m, syncmap_u64(key), NULL)) == 0)
        key++;
    assert_int_equal(result, SYNCMAP_ENOMEM);
    assert_int_equal(ld_relaxed(&own.record->section), 0);
    assert_int_equal(syncmap_store(m, syncmap_u64(key - 1), number(1)), 1);
    refuse_memory = false;
    finish_map(m, &counting);
}

/* ---- fork and sections wait for each other ---- */

struct stay {
    bool recordless;
    _Atomic int entered, leave, forked;
};

static void *stay_in_section(void *argument)
{
    struct stay *stay = argument;
    CHECK((thread_attach() == NULL) == stay->recordless);
    struct thread *self = section_enter();
    atomic_store(&stay->entered, 1);
    wait_for(&stay->leave, 1);
    section_leave(self);
    return NULL;
}

static void *fork_once(void *argument)
{
    struct stay *stay = argument;
    in_child(nothing, NULL);
    atomic_store(&stay->forked, 1);
    return NULL;
}

static void fork_waits_for_a_section(void **state)
{
    (void)state;
    for (int recordless = 0; recordless < 2; recordless++) {
        struct stay stay = {.recordless = recordless};
        struct thread *records[64];
        int held = recordless ? refuse_records(records) : 0;
        pthread_t in_section = start(stay_in_section, &stay);
        wait_for(&stay.entered, 1);
        pthread_t forking = start(fork_once, &stay);
        while (!ld_acquire(&thread_forking))
            sched_yield();
        usleep(20000);
        assert_int_equal(atomic_load(&stay.forked), 0);
        atomic_store(&stay.leave, 1);
        pthread_join(in_section, NULL);
        pthread_join(forking, NULL);
        assert_int_equal(atomic_load(&stay.forked), 1);
        assert_false(ld_acquire(&thread_forking));
        if (recordless)
            grant_records(records, held);
    }
}

/* A thread that comes while a fork is under way waits, whether it has a record or not, and goes on after it. */
static struct stay late;

static void late_may_not_enter(void)
{
    static const struct timespec pause = {0, 10000000};
    CHECK(ld_acquire(&thread_forking));
    atomic_store(&late.forked, 1);
    nanosleep(&pause, NULL);
    CHECK(atomic_load(&late.entered) == 0);
}

static void *enter_late(void *argument)
{
    CHECK((thread_attach() == NULL) == late.recordless);
    wait_for(&late.forked, 1);
    return stay_in_section(argument);
}

/* The same by the shortcut of stores, which begins its section with its pin. */
static void *store_late(void *argument)
{
    struct fixture *f = argument;
    CHECK(thread_attach() != NULL);
    wait_for(&late.forked, 1);
    CHECK(syncmap_store(f->m, syncmap_u64(1), number(2)) == 1);
    atomic_store(&late.entered, 1);
    return NULL;
}

static void shortcuts_wait_for_a_fork(void **state)
{
    (void)state;
    struct fixture f = make();
    assert_int_equal(syncmap_store(f.m, syncmap_u64(1), number(1)), 0);
    assert_int_equal(f.m->quick_write, FLAT_INTEGERS);
    assert_int_equal(ld_acquire(&sections_open), ld_acquire(&membarrier_expedited));
    late = (struct stay){.leave = 1};
    pthread_t thread = start(store_late, &f);
    between_prepare_and_fork = late_may_not_enter;
    in_child(nothing, NULL);
    between_prepare_and_fork = NULL;
    pthread_join(thread, NULL);
    assert_int_equal(ld_acquire(&sections_open), ld_acquire(&membarrier_expedited));
    void *value;
    assert_int_equal(syncmap_load(f.m, syncmap_u64(1), &value), 1);
    assert_ptr_equal(value, number(2));
    finish_map(f.m, &counting);
}

static void sections_wait_for_a_fork(void **state)
{
    (void)state;
    for (int recordless = 0; recordless < 2; recordless++) {
        struct thread *records[64];
        late = (struct stay){.recordless = recordless, .leave = 1};
        int held = recordless ? refuse_records(records) : 0;
        pthread_t thread = start(enter_late, &late);
        between_prepare_and_fork = late_may_not_enter;
        in_child(nothing, NULL);
        between_prepare_and_fork = NULL;
        pthread_join(thread, NULL);
        assert_int_equal(atomic_load(&late.entered), 1);
        if (recordless)
            grant_records(records, held);
    }
}

/* A thread that has said that it is in a section, and is about to see that a fork is under way, and to take it back. It is not there in
 * the child, which forks, too. */
static struct thread *just_entering;

static void enter_for_a_moment(void)
{
    add_acq_rel(&just_entering->section, 1);
}

static void leave_again(void)
{
    add_acq_rel(&just_entering->section, -1u);
}

static void fork_again(void *context)
{
    (void)context;
    between_prepare_and_fork = NULL;
    first_in_parent = NULL;
    in_child(nothing, NULL);
}

static void *attach_and_exit(void *argument)
{
    *(struct thread **)argument = thread_attach();
    return NULL;
}

static void a_child_does_not_wait_for_the_dead(void **state)
{
    (void)state;
    for (int recordless = 0; recordless < 2; recordless++) {
        pthread_join(start(attach_and_exit, &just_entering), NULL);
        if (recordless)
            just_entering = &thread_shared;
        between_prepare_and_fork = enter_for_a_moment;
        first_in_parent = leave_again;
        in_child(fork_again, NULL);
        between_prepare_and_fork = NULL;
        first_in_parent = NULL;
    }
}

/* ---- fork beside writers ---- */

enum { WRITERS = 3, RANGE = 600, FORKS = 150, LITTLE = 40 };

struct crowd {
    struct fixture f;
    enum syncmap_kind kind;
    _Atomic int over;
    _Atomic unsigned long writes;
};

static syncmap_key crowd_key(const struct crowd *crowd, uint64_t n, char text[24])
{
    if (crowd->kind == SYNCMAP_U64)
        return syncmap_u64(n);
    snprintf(text, 24, "key %llu", (unsigned long long)n);
    return syncmap_str(text);
}

static void *write_on(void *argument)
{
    struct crowd *crowd = argument;
    static _Atomic uint64_t streams;
    struct rng rng = rng_make(test_seed(), 70 + atomic_fetch_add(&streams, 1));
    char text[24];
    for (uint64_t i = 0; !atomic_load(&crowd->over); i++) {
        uint64_t n = rng_below(&rng, RANGE);
        bool grows = i / 2000 % 2 == 0; /* up and down: there is something to be moved most of the time */
        if (rng_below(&rng, 10) < (grows ? 8u : 1u))
            CHECK(syncmap_store(crowd->f.m, crowd_key(crowd, n, text), number(n)) >= 0);
        else
            CHECK(syncmap_delete(crowd->f.m, crowd_key(crowd, n, text)) >= 0);
        if (rng_below(&rng, 5000) == 0)
            CHECK(syncmap_clear(crowd->f.m) == 0);
        atomic_fetch_add(&crowd->writes, 1);
    }
    return NULL;
}

/* No lock is taken, each bucket is as it ought to be, the count is exact; and each key can be written, and each bucket. */
static void child_writes_all(void *context)
{
    struct crowd *crowd = context;
    struct flat_table *t = root_of(crowd->f), *next = next_of(crowd->f);
    uint64_t keys = 0;
    char text[24];
    for (uint64_t i = 0; i < table_buckets(t); i++) {
        CHECK(!(header_of(t, i) & BUCKET_LOCKED));
        if (!is_moved(t, i))
            flat_check(crowd->f.flat, t, home_of(t, i));
    }
    for (uint64_t i = 0; next != NULL && i < table_buckets(next); i++) {
        if (!is_made(t, next, i))
            continue;
        CHECK(!(header_of(next, i) & BUCKET_LOCKED));
        flat_check(crowd->f.flat, next, home_of(next, i));
    }
    CHECK(syncmap_range(crowd->f.m, count_visit, &keys) == 1);
    CHECK(keys == syncmap_len(crowd->f.m));
    for (uint64_t n = 0; n < RANGE; n++)
        CHECK(syncmap_store(crowd->f.m, crowd_key(crowd, n, text), number(n)) >= 0);
    CHECK(syncmap_len(crowd->f.m) == RANGE);
    for (uint64_t n = 0; n < RANGE; n++)
        CHECK(syncmap_delete(crowd->f.m, crowd_key(crowd, n, text)) == 1);
    CHECK(syncmap_len(crowd->f.m) == 0);
    CHECK(syncmap_clear(crowd->f.m) == 0);
    syncmap_barrier();
    syncmap_free(crowd->f.m);
    syncmap_barrier();
}

static void fork_beside_writers(void (*child)(void *context), int forks)
{
    for (int kind = 0; kind < 2; kind++) {
        struct crowd crowd = {.kind = kind ? SYNCMAP_STRING : SYNCMAP_U64};
        crowd.f = make_with(crowd.kind, 0, false);
        pthread_t threads[WRITERS];
        for (int i = 0; i < WRITERS; i++)
            threads[i] = start(write_on, &crowd);
        for (int i = 0; i < forks; i++) {
            unsigned long before = atomic_load(&crowd.writes);
            in_child(child, &crowd);
            while (atomic_load(&crowd.writes) < before + 50) /* the parent's go on */
                sched_yield();
        }
        atomic_store(&crowd.over, 1);
        for (int i = 0; i < WRITERS; i++)
            pthread_join(threads[i], NULL);
        finish_map(crowd.f.m, &counting);
    }
}

static void a_child_can_write_every_bucket(void **state)
{
    (void)state;
    fork_beside_writers(child_writes_all, FORKS);
}

/* What was being moved goes on being moved: the table grows in the child as it would in the parent. */
static void child_grows(void *context)
{
    struct crowd *crowd = context;
    char text[24];
    for (uint64_t n = 0; n < 8 * RANGE; n++)
        CHECK(syncmap_store(crowd->f.m, crowd_key(crowd, n, text), number(n)) >= 0);
    CHECK(table_buckets(root_of(crowd->f)) >= 8 * RANGE / 4); /* at less than 2.5 keys a bucket, but for what is just being moved */
    CHECK(syncmap_reserve(crowd->f.m, 50000) == 0);
    CHECK(table_buckets(root_of(crowd->f)) >= buckets_for(50000));
    for (uint64_t n = 0; n < 8 * RANGE; n++)
        CHECK(syncmap_load(crowd->f.m, crowd_key(crowd, n, text), NULL) == 1);
}

static void a_child_goes_on_moving(void **state)
{
    (void)state;
    fork_beside_writers(child_grows, LITTLE);
}

/* ---- a fork while another makes a next, or moves, held up where it asks for memory ---- */

static struct {
    bool (*at)(size_t size);
    pthread_t thread;
    _Atomic int armed, reached, go;
} hold;

static bool hold_up(size_t size)
{
    if (atomic_load(&hold.armed) && pthread_equal(pthread_self(), hold.thread) && hold.at(size)) {
        atomic_store(&hold.armed, 0);
        atomic_store(&hold.reached, 1);
        wait_for(&hold.go, 1);
    }
    return false;
}

struct mover {
    struct crowd crowd;
    uint64_t first, count;
};

static void *store_many(void *argument)
{
    struct mover *mover = argument;
    hold.thread = pthread_self();
    atomic_store(&hold.armed, 1);
    for (uint64_t key = mover->first; key < mover->first + mover->count; key++)
        CHECK(syncmap_store(mover->crowd.f.m, syncmap_u64(key), number(key)) >= 0);
    atomic_store(&hold.armed, 0);
    return NULL;
}

static void fork_while_held_up(struct mover *mover, bool (*at)(size_t size))
{
    hold.at = at;
    atomic_store(&hold.reached, 0);
    atomic_store(&hold.go, 0);
    refuses = hold_up;
    pthread_t thread = start(store_many, mover);
    wait_for(&hold.reached, 1);
    in_child(child_grows, &mover->crowd);
    atomic_store(&hold.go, 1);
    pthread_join(thread, NULL);
    refuses = NULL;
    check_map(mover->crowd.f, mover->first + mover->count);
    finish_map(mover->crowd.f.m, &counting);
}

static void fork_while_a_next_is_made(void **state)
{
    (void)state;
    struct mover mover = {.crowd = {.kind = SYNCMAP_U64, .f = make()}, .count = RANGE};
    fork_while_held_up(&mover, refuse_tables);
}

/* The mover has moved a part of its chunk, and asks for overflow memory: a chain in the middle needs more than there is. */
static void fork_while_a_chunk_is_moved(void **state)
{
    (void)state;
    struct mover mover = {.crowd = {.kind = SYNCMAP_U64, .f = make_sized(64)}, .first = 0, .count = 1};
    struct fixture f = mover.crowd.f;
    refuses = refuse_tables;
    uint64_t flood = SLOTS * (table_first_overflow(128) + 3);
    for (uint64_t n = 0; n < flood; n++)
        assert_int_equal(store(f, key_in(f, 64, 10, n), n), 0);
    refuses = NULL;
    begin_move(f, 128);
    hold.at = refuse_overflow;
    atomic_store(&hold.reached, 0);
    atomic_store(&hold.go, 0);
    refuses = hold_up;
    pthread_t thread = start(store_many, &mover);
    wait_for(&hold.reached, 1);
    assert_true(is_moved(root_of(f), 9));
    assert_false(is_moved(root_of(f), 10));
    in_child(child_grows, &mover.crowd);
    atomic_store(&hold.go, 1);
    pthread_join(thread, NULL);
    refuses = NULL;
    move_all(f);
    check_map(f, flood + 1);
    finish_map(f.m, &counting);
}

/* Several threads fork at once, beside writers. */
static void *fork_some(void *argument)
{
    for (int i = 0; i < LITTLE / 4; i++)
        in_child(child_writes_all, argument);
    return NULL;
}

static void forks_beside_forks(void **state)
{
    (void)state;
    struct crowd crowd = {.kind = SYNCMAP_U64, .f = make()};
    pthread_t writers[WRITERS], forkers[3];
    for (int i = 0; i < WRITERS; i++)
        writers[i] = start(write_on, &crowd);
    for (int i = 0; i < 3; i++)
        forkers[i] = start(fork_some, &crowd);
    for (int i = 0; i < 3; i++)
        pthread_join(forkers[i], NULL);
    atomic_store(&crowd.over, 1);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    finish_map(crowd.f.m, &counting);
}

int main(void)
{
    test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_are_marked), cmocka_unit_test(shortcuts_are_marked),
        cmocka_unit_test(sections_without_a_record),
        cmocka_unit_test(no_user_code_in_a_section), cmocka_unit_test(no_allocation_in_a_section),
        cmocka_unit_test(fork_waits_for_a_section),
        cmocka_unit_test(sections_wait_for_a_fork), cmocka_unit_test(shortcuts_wait_for_a_fork),
        cmocka_unit_test(a_child_does_not_wait_for_the_dead),
        cmocka_unit_test(a_child_can_write_every_bucket),
        cmocka_unit_test(a_child_goes_on_moving),
        cmocka_unit_test(fork_while_a_next_is_made),
        cmocka_unit_test(fork_while_a_chunk_is_moved),
        cmocka_unit_test(forks_beside_forks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
