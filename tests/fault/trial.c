/* SPDX-License-Identifier: MIT */
#include "fault/trial.h"

#include <errno.h>

/* ---- open and close ---- */

static void *trial_value(struct trial *trial, uint64_t index)
{
    if (trial->bed.ownership == PLAIN && trial->nulls) return NULL;
    struct value *value = value_make(index);
    if (trial->bed.ownership == PLAIN) {
        CHECK(trial->kept_count < sizeof trial->kept / sizeof trial->kept[0]);
        trial->kept[trial->kept_count++] = value;
    }
    return value;
}

static void put(struct trial *trial, uint64_t index)
{
    void *value = trial_value(trial, index);
    CHECK(syncmap_store(trial->bed.map, KEY(&trial->bed, index), value) ==
          reference_store(&trial->reference, index, value));
}

static void take(struct trial *trial, uint64_t index)
{
    bed_delete(&trial->bed, index, 1);
    CHECK(reference_load_and_delete(&trial->reference, index, NULL) == 1);
}

static syncmap_options trial_options(struct trial *trial)
{
    struct bed *bed = &trial->bed;
    syncmap_options options = bed_options(bed->config, bed->ownership, trial->malloced ? NULL : &bed->counting);
    options_dup_may_fail(&options, &bed->counting);
    return options;
}

void trial_open(struct trial *trial, const struct config *config, enum ownership ownership, enum trial_state state)
{
    trial->bed = (struct bed){.config = config, .ownership = ownership};
    counting_init(&trial->bed.counting);
    reference_init(&trial->reference, NULL);
    syncmap_options options = trial_options(trial);
    options.seed = 1; /* a trial that is repeated takes the same steps */
    bed_open_with(&trial->bed, &options);
    if (state >= IN_DIRTY) {
        for (uint64_t i = 0; i < trial->early; i++) put(trial, i);
    }
    if (state >= PROMOTED) CHECK(bed_range_count(&trial->bed) == trial->early);
    if (state >= DELETED_IN_READ) {
        take(trial, 1);
        take(trial, 2);
    }
    if (state >= AMENDED) {
        for (uint64_t i = 0; i < TRIAL_LATE; i++) put(trial, trial->early + i);
    }
    if (state >= DELETED_IN_DIRTY) take(trial, trial->early + TRIAL_LATE - 1);
    if (state >= CLEARED) CHECK(syncmap_clear(trial->bed.map) == reference_clear(&trial->reference));
}

void trial_close(struct trial *trial)
{
    if (trial->bed.map) bed_compare(&trial->bed, &trial->reference, TRIAL_KEYS);
    syncmap_free(trial->bed.map);
    trial->bed.map = NULL;
    syncmap_barrier();
    CHECK(trial->released == trial->retired);
    for (size_t i = 0; i < trial->kept_count; i++) value_release(trial->kept[i]);
    finish_map(NULL, &trial->bed.counting);
    reference_end(&trial->reference);
}

/* ---- threads ---- */

static void release_nothing(void *object)
{
    (void)object;
}

void thread_drain(void)
{
    static char object;
    syncmap_pin();
    long before = fault_calls(FAULT_MALLOC);
    while (fault_calls(FAULT_MALLOC) == before) CHECK(syncmap_retire(&object, release_nothing) == 0);
}

/* More than a thread keeps: twice the retirements after which it collects, and a few. */
enum { MANY_SLOTS = 600 };

void thread_settle(void)
{
    static char object;
    syncmap_barrier();
    syncmap_pin();
    for (int i = 0; i < MANY_SLOTS; i++) CHECK(syncmap_retire(&object, release_nothing) == 0);
    syncmap_unpin();
    syncmap_barrier();
}

/* ---- one call ---- */

/* Whether the header lets the operation run out of memory. */
static bool may_fail(const struct trial *trial, enum trial_operation operation)
{
    switch (operation) {
    case STORE: case SWAP: case LOAD_OR_STORE: case LOAD_OR_COMPUTE: case CLEAR: case RETIRE: case NEW: return true;
    case LOAD_AND_DELETE: case DELETE: case COMPARE_AND_SWAP: case COMPARE_AND_DELETE:
        return trial->bed.ownership != PLAIN;
    default: return false;
    }
}

/* Around the call; the pin that the header asks for is part of it, as it may be a thread's first use of the library. */
static void call_begin(struct trial *trial, bool pinned)
{
    struct counting *counting = &trial->bed.counting;
    trial->allocations = -(long)atomic_load(&counting->calls);
    if (trial->plan.sites & TRIAL_ALLOCATOR) atomic_store(&counting->fail_after, trial->plan.first - 1);
    fault_arm(trial->plan);
    if (pinned) handed_begin(trial->bed.ownership);
}

static void call_end(struct trial *trial)
{
    struct counting *counting = &trial->bed.counting;
    trial->report = fault_disarm();
    atomic_store(&counting->fail_after, -1);
    trial->allocations += (long)atomic_load(&counting->calls);
    if (trial->plan.sites & TRIAL_ALLOCATOR) {
        trial->report.calls += trial->allocations;
        if (trial->allocations >= trial->plan.first) {
            trial->report.failed += trial->allocations - trial->plan.first + 1;
            trial->report.failed_sites |= TRIAL_ALLOCATOR;
        }
    }
    trial->met |= trial->report.failed_sites;
}

static void *unwritten(struct trial *trial)
{
    return trial;
}

/* What swap and load_and_delete handed over. Where it cannot be retired, it is kept until nobody can see it. */
static void previous_end(struct trial *trial, void *value)
{
    if (trial->bed.ownership == ACQUIRED && value) value_release(value);
    if (trial->bed.ownership != OWNED || syncmap_retire(value, value_release) == 0) return;
    CHECK(trial->kept_count < sizeof trial->kept / sizeof trial->kept[0]);
    trial->kept[trial->kept_count++] = value;
}

static int store_like(struct trial *trial, enum trial_operation operation, uint64_t index)
{
    struct bed *bed = &trial->bed;
    void *value = trial_value(trial, index), *out = unwritten(trial), *expected = out;
    syncmap_key key = KEY(bed, index);
    bool loads = operation == LOAD_OR_STORE || operation == LOAD_OR_COMPUTE;
    call_begin(trial, loads);
    int result = operation == STORE           ? syncmap_store(bed->map, key, value)
                 : operation == SWAP          ? syncmap_swap(bed->map, key, value, &out)
                 : operation == LOAD_OR_STORE ? syncmap_load_or_store(bed->map, key, value, &out)
                                              : computed_load_or_store(bed->map, key, value, &out, bed->ownership);
    call_end(trial);
    if (result >= 0) {
        int wanted = operation == STORE  ? reference_store(&trial->reference, index, value)
                     : operation == SWAP ? reference_swap(&trial->reference, index, value, &expected)
                                         : reference_load_or_store(&trial->reference, index, value, &expected);
        CHECK(result == wanted);
    }
    CHECK(out == expected);
    if (operation == SWAP && result >= 0) previous_end(trial, out);
    if (loads && result >= 0) handed_done(bed->ownership, out);
    if (loads) handed_end(bed->ownership);
    if (result < 0 || (loads && result == 1)) refused_done(bed->ownership, value);
    return result;
}

static int delete_like(struct trial *trial, enum trial_operation operation, uint64_t index)
{
    struct bed *bed = &trial->bed;
    void *out = unwritten(trial), *current;
    syncmap_key key = KEY(bed, index);
    reference_load(&trial->reference, index, &current);
    call_begin(trial, false);
    int result = operation == LOAD_AND_DELETE ? syncmap_load_and_delete(bed->map, key, &out)
                 : operation == DELETE        ? syncmap_delete(bed->map, key)
                                              : syncmap_compare_and_delete(bed->map, key, current);
    call_end(trial);
    CHECK(out == (operation == LOAD_AND_DELETE && result >= 0 ? current : unwritten(trial)));
    if (result < 0) return result;
    CHECK(result == reference_load_and_delete(&trial->reference, index, NULL));
    if (operation == LOAD_AND_DELETE) previous_end(trial, out);
    return result;
}

static int compare_and_swap(struct trial *trial, uint64_t index)
{
    void *current, *desired = trial_value(trial, index);
    syncmap_key key = KEY(&trial->bed, index);
    reference_load(&trial->reference, index, &current);
    call_begin(trial, false);
    int result = syncmap_compare_and_swap(trial->bed.map, key, current, desired);
    call_end(trial);
    if (result >= 0) CHECK(result == reference_compare_and_swap(&trial->reference, index, current, desired));
    if (result != 1) refused_done(trial->bed.ownership, desired);
    return result;
}

static int clear(struct trial *trial)
{
    call_begin(trial, false);
    int result = syncmap_clear(trial->bed.map);
    call_end(trial);
    if (result >= 0) CHECK(result == reference_clear(&trial->reference));
    return result;
}

/* Neither load nor what follows needs memory, and by the header a load gives none back either. */
static int load(struct trial *trial, enum trial_operation operation, uint64_t index)
{
    struct bed *bed = &trial->bed;
    void *value = unwritten(trial), *expected;
    syncmap_key key = KEY(bed, index);
    int present = reference_load(&trial->reference, index, &expected);
    call_begin(trial, operation != PEEK);
    if (operation == PIN) syncmap_pin();
    long long blocks = atomic_load(&bed->counting.live_blocks);
    int result = syncmap_load(bed->map, key, operation == PEEK ? NULL : &value);
    CHECK(atomic_load(&bed->counting.live_blocks) == blocks);
    if (operation == PIN) syncmap_unpin();
    call_end(trial);
    CHECK(result == present);
    CHECK(trial->allocations == 0);
    if (operation == PEEK) return 0;
    CHECK(value == expected);
    if (value) value_check(value, index);
    handed_done(bed->ownership, value);
    handed_end(bed->ownership);
    return 0;
}

static int range_or_len(struct trial *trial, bool range)
{
    call_begin(trial, false);
    size_t keys = range ? bed_range_count(&trial->bed) : syncmap_len(trial->bed.map);
    call_end(trial);
    CHECK(keys == reference_len(&trial->reference));
    CHECK(trial->allocations == 0);
    return 0;
}

static void release_counted(void *object)
{
    ++*(int *)object;
}

static int retire(struct trial *trial)
{
    call_begin(trial, false);
    int result = syncmap_retire(&trial->released, release_counted);
    call_end(trial);
    trial->retired += result == 0;
    syncmap_barrier();
    CHECK(trial->pinned || trial->released == trial->retired);
    return result;
}

/* With something to wait for. On a thread that is pinned it has to return at once. */
static int barrier(struct trial *trial)
{
    trial->retired += syncmap_retire(&trial->released, release_counted) == 0;
    call_begin(trial, false);
    syncmap_barrier();
    call_end(trial);
    CHECK(trial->pinned || trial->released == trial->retired);
    return 0;
}

static int new_map(struct trial *trial, uint64_t index)
{
    /* The last one is large enough for huge pages. */
    static const size_t capacities[] = {0, 100, 100000};
    syncmap_options options = trial_options(trial);
    options.capacity = capacities[trial->malloced ? index % 3 : index % 2];
    call_begin(trial, false);
    errno = 0;
    syncmap *m = syncmap_new(trial->bed.config->kind, &options);
    int error = errno;
    call_end(trial);
    CHECK(m != NULL || error == ENOMEM);
    if (m == NULL) return SYNCMAP_ENOMEM;
    /* (Unlike store this needs no slot, which the thread may be unable to get.) */
    CHECK(syncmap_load_or_store(m, KEY(&trial->bed, index), NULL, NULL) == 0);
    CHECK(syncmap_load(m, KEY(&trial->bed, index), NULL) == 1);
    syncmap_free(m);
    return 0;
}

static int free_map(struct trial *trial)
{
    call_begin(trial, false);
    syncmap_free(trial->bed.map);
    call_end(trial);
    trial->bed.map = NULL;
    return 0;
}

static int operate(struct trial *trial, enum trial_operation operation, uint64_t index)
{
    switch (operation) {
    case STORE: case SWAP: case LOAD_OR_STORE: case LOAD_OR_COMPUTE: return store_like(trial, operation, index);
    case LOAD_AND_DELETE: case DELETE: case COMPARE_AND_DELETE: return delete_like(trial, operation, index);
    case COMPARE_AND_SWAP: return compare_and_swap(trial, index);
    case CLEAR: return clear(trial);
    case LOAD: case PEEK: case PIN: return load(trial, operation, index);
    case RANGE: case LEN: return range_or_len(trial, operation == RANGE);
    case RETIRE: return retire(trial);
    case BARRIER: return barrier(trial);
    case NEW: return new_map(trial, index);
    default: return free_map(trial);
    }
}

int trial_try(struct trial *trial, enum trial_operation operation, uint64_t index, struct fault_plan plan)
{
    trial->plan = plan;
    return operate(trial, operation, index);
}

bool trial_call(struct trial *trial, enum trial_operation operation, uint64_t index, struct fault_plan plan, bool compare)
{
    int result = trial_try(trial, operation, index, plan);
    struct fault_report report = trial->report;
    CHECK(result >= 0 || result == SYNCMAP_ENOMEM);
    if (result >= 0) return report.failed > 0;
    CHECK(may_fail(trial, operation));
    CHECK(report.failed_sites & (FAULT_MEMORY | TRIAL_ALLOCATOR));
    if (compare) bed_compare(&trial->bed, &trial->reference, TRIAL_KEYS);
    CHECK(trial_try(trial, operation, index, (struct fault_plan){0}) >= 0);
    return true;
}

size_t trial_indexes(enum trial_operation operation, uint64_t early, uint64_t indexes[TRIAL_INDEXES])
{
    const uint64_t keys[TRIAL_INDEXES] = {0, 1, early, early + TRIAL_LATE - 1, early + TRIAL_LATE};
    for (size_t i = 0; i < TRIAL_INDEXES; i++) indexes[i] = operation == NEW ? i : keys[i];
    return operation == NEW ? 3 : operation == CLEAR || operation >= RANGE ? 1 : TRIAL_INDEXES;
}
