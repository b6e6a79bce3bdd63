/* SPDX-License-Identifier: MIT
 *
 * The public functions: checks arguments, pins, calls the engine, and settles who owns what comes out.
 *
 * Each operation has the same steps, in this order:
 *   1. check the arguments, hash the key (user code for custom keys);
 *   2. on an owning map, take a slot for the value that may have to be retired: the last thing that can fail
 *      before the engine's own reservations, all of them before the first visible step;
 *   3. pin, and let the engine work;
 *   4. still pinned, acquire what is handed out; retire what the map gives up; write the out parameters;
 *   5. unpin, give back what was not needed, and collect if it is time.
 */
#include <errno.h>
#include <limits.h>

#include "api.h"

/* ---- all maps of the process: a fork takes their mutexes ---- */

static pthread_mutex_t maps_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct syncmap *maps;

/* What a cursor's state says: whether it has ended, and above that, the number of the secrets by whose hashes it goes. */
enum { CURSOR_ENDED = 1 };

static void fork_prepare(void)
{
    pthread_mutex_lock(&maps_mutex);
    flights_fork_prepare();
    for (struct syncmap *m = maps; m != NULL; m = m->next)
        if (!is_flat(m))
            rd_fork_prepare(engine_of(m));
    sections_begin_fork();
    reclaim_fork_prepare();
    thread_fork_prepare();
}

static void fork_parent(void)
{
    thread_fork_parent();
    reclaim_fork_parent();
    sections_end_fork();
    for (struct syncmap *m = maps; m != NULL; m = m->next)
        if (!is_flat(m))
            rd_fork_resume(engine_of(m));
    flights_fork_parent();
    pthread_mutex_unlock(&maps_mutex);
}

static void fork_child(void)
{
    thread_fork_child();
    reclaim_fork_child();
    sections_end_fork();
    for (struct syncmap *m = maps; m != NULL; m = m->next)
        if (is_flat(m))
            flat_fork_child(flat_of(m));
        else
            rd_fork_resume(engine_of(m));
    flights_fork_child();
    pthread_mutex_unlock(&maps_mutex);
}

/* What the process needs before its first map. False: memory is out; may be called again. */
static bool process_init(void)
{
    static bool has_fork; /* under maps_mutex */
    pthread_mutex_lock(&maps_mutex);
    if (!has_fork)
        has_fork = pthread_atfork(fork_prepare, fork_parent, fork_child) == 0;
    bool ready = has_fork;
    pthread_mutex_unlock(&maps_mutex);
    return thread_process_init() && ready;
}

/* At load time, when there is one thread: so that no fork finds the work half done. What fails here is tried again. */
__attribute__((constructor)) static void process_load(void)
{
    process_init();
}

/* ---- life ---- */

static bool map_value_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    struct reclaim_slot *slot = container_of(link, struct reclaim_slot, link);
    struct syncmap *m = container_of(class, struct syncmap, value_class);
    m->value_free(slot->object, m->context);
    slot_give_back(slot);
    return true;
}

/* After a grace period, and after all that was retired from the map: see LAST THINGS in reclaim.h. */
static bool map_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    (void)class;
    struct syncmap *m = container_of(link, struct syncmap, last.link);
    if (!(is_flat(m) ? flat_destroy_step(flat_of(m)) : rd_destroy_step(engine_of(m))))
        return false;
    struct memory memory = m->memory;
    memory_put_lines(&memory, m->base, m->size);
    return true;
}

static bool options_fit(enum syncmap_kind kind, const syncmap_options *o)
{
    if ((unsigned)kind > SYNCMAP_CUSTOM || (unsigned)o->engine > SYNCMAP_ENGINE_FLAT)
        return false;
    if ((o->allocator.alloc == NULL) != (o->allocator.free == NULL))
        return false;
    if (o->value_acquire != NULL && o->value_free == NULL)
        return false;
    if ((unsigned)o->huge_pages > SYNCMAP_HUGE_PAGES_NEVER)
        return false;
    return key_functions_fit(kind, &o->key);
}

/* Which pages a map's tables are to have. Where there are records, or entries, which are in malloc's pages, huge ones are not asked for
 * unless the caller does: see syncmap.h. */
static enum pages pages_wanted(enum syncmap_kind kind, const syncmap_options *o, bool flat)
{
    switch (o->huge_pages) {
    case SYNCMAP_HUGE_PAGES_ASK:
        return PAGES_HUGE;
    case SYNCMAP_HUGE_PAGES_NEVER:
        return PAGES_SMALL;
    case SYNCMAP_HUGE_PAGES_DEFAULT:
    default:
        return flat && kind == SYNCMAP_U64 ? PAGES_HUGE : PAGES_AS_THEY_COME;
    }
}

/* The processor is asked once: in a virtual machine that takes some microseconds. */
static bool prefetches_to_write(void)
{
    enum { UNKNOWN, NO, YES };
    static _Atomic int known;
    int is = ld_relaxed(&known); /* relaxed: whoever asks gets the same answer */
    if (is == UNKNOWN) {
        is = platform_has_prefetch_to_write() ? YES : NO;
        st_relaxed(&known, is); /* relaxed: as above */
    }
    return is == YES;
}

static struct syncmap *map_make(enum syncmap_kind kind, const syncmap_options *o)
{
    bool flat = o->engine != SYNCMAP_ENGINE_READ_DIRTY;
    struct memory memory = {o->allocator.alloc, o->allocator.free, o->allocator.context, pages_wanted(kind, o, flat)};
    if (memory.context == NULL)
        memory.context = o->context;
    size_t size = flat ? sizeof(struct flat) : sizeof(struct read_dirty);
    void *base;
    struct syncmap *m = memory_get_lines(&memory, size, &base); /* engines begin with it */
    if (m == NULL)
        return NULL;
    m->base = base;
    m->size = size;
    m->memory = memory;
    m->variant = kind == SYNCMAP_U64 ? (flat ? FLAT_INTEGERS : READ_DIRTY_INTEGERS) : flat ? FLAT_OTHERS : READ_DIRTY_OTHERS;
    m->prefetches_to_write = prefetches_to_write();
    m->context = o->context;
    m->value_free = o->value_free;
    m->value_acquire = o->value_acquire;
    m->value_equal = o->value_equal;
    m->value_class.release = map_value_release;
    m->map_class.release = map_release;
    m->quick = kind == SYNCMAP_U64 ? m->variant : flat && kind != SYNCMAP_CUSTOM ? FLAT_TEXT : FLAT_OTHERS;
    if (o->value_acquire != NULL)
        m->quick = FLAT_OTHERS;
    m->quick_write = o->value_free == NULL ? m->quick : FLAT_OTHERS;
    key_type_init(&m->key, kind, o);
    if (!(flat ? flat_init(flat_of(m), o->capacity) : rd_init(engine_of(m), o->capacity))) {
        memory_put_lines(&memory, base, size);
        return NULL;
    }
    return m;
}

syncmap *syncmap_new(enum syncmap_kind kind, const syncmap_options *options)
{
    static const syncmap_options defaults;
    const syncmap_options *o = options != NULL ? options : &defaults;
    int error = EINVAL;
    struct syncmap *m = NULL;
    if (options_fit(kind, o)) {
        thread_attach(); /* so that its signal handlers may load; without memory it goes on without a record */
        m = process_init() ? map_make(kind, o) : NULL;
        error = ENOMEM;
    }
    if (m == NULL) {
        errno = error;
        return NULL;
    }
    pthread_mutex_lock(&maps_mutex);
    m->next = maps;
    m->link = &maps;
    if (maps != NULL)
        maps->link = &m->next;
    maps = m;
    pthread_mutex_unlock(&maps_mutex);
    return m;
}

void syncmap_free(syncmap *m)
{
    if (m == NULL)
        return;
    pthread_mutex_lock(&maps_mutex);
    *m->link = m->next;
    if (m->next != NULL)
        m->next->link = m->link;
    pthread_mutex_unlock(&maps_mutex);
    reclaim_retire_last(&m->last, &m->map_class);
    reclaim_flush();
}

/* ---- the ten operations ---- */

/* Step 2. *slot is NULL where none is needed. False: memory is out. */
static inline bool take_value_slot(const syncmap *m, struct reclaim_slot **slot)
{
    *slot = NULL;
    return m->value_free == NULL || (*slot = slot_take()) != NULL;
}

/* Step 4 for a value that left the map: handed to the caller, or given up. Uses up *slot if it retires. */
static void value_left(syncmap *m, void *value, void **previous, struct reclaim_slot **slot)
{
    if (previous != NULL) {
        value_hand_out(m, value);
        *previous = value;
        if (m->value_acquire == NULL)
            return; /* the map's reference is the caller's now */
    }
    if (*slot == NULL || value == NULL)
        return;
    (*slot)->object = value;
    reclaim_retire(&(*slot)->link, &m->value_class, sizeof **slot);
    *slot = NULL;
}

static NOINLINE int finish_owning(syncmap *m, int result, void *value, void **previous, struct reclaim_slot *slot, struct thread *pin)
{
    if (result == 1)
        value_left(m, value, previous, &slot);
    else if (result == 0 && previous != NULL)
        *previous = NULL;
    pin_leave(pin);
    slot_give_back(slot);
    reclaim_poll();
    return result;
}

/* Steps 4 and 5 of an operation whose `value` left the map if `result` is 1. */
static ALWAYS_INLINE int finish(syncmap *m, int result, void *value, void **previous, struct reclaim_slot *slot, struct thread *pin)
{
    if (slot != NULL)
        return finish_owning(m, result, value, previous, slot, pin);
    if (result >= 0 && previous != NULL)
        *previous = result == 1 ? value : NULL;
    pin_leave(pin);
    reclaim_poll();
    return result;
}

static ALWAYS_INLINE int swap_as(syncmap *m, syncmap_key key, void *value, void **previous, enum variant variant)
{
    struct query q;
    struct reclaim_slot *slot;
    if (value_is_reserved(value) || !query_make(&q, m, key, variant))
        return SYNCMAP_EINVAL;
    if (!take_value_slot(m, &slot))
        return SYNCMAP_ENOMEM;
    struct thread *pin = pin_enter(true);
    void *old = NULL;
    int result = ENGINE(m, variant, swap, &q, value, &old);
    return finish(m, result, old, previous, slot, pin);
}

static NOINLINE int swap_any(syncmap *m, syncmap_key key, void *value, void **previous)
{
    return FOR_VARIANT(m, swap_as, key, value, previous);
}

static ALWAYS_INLINE int load_or_store_as(syncmap *m, syncmap_key key, void *value, void **actual, enum variant variant)
{
    struct query q;
    if (value_is_reserved(value) || !query_make(&q, m, key, variant))
        return SYNCMAP_EINVAL;
    check_pinned(m, actual != NULL);
    struct thread *pin = pin_enter(true);
    void *found = NULL;
    int result = ENGINE(m, variant, load_or_store, &q, value, &found);
    if (result >= 0 && actual != NULL) {
        value_hand_out(m, found);
        *actual = found;
    }
    pin_leave(pin);
    reclaim_poll();
    return result;
}

static NOINLINE int load_or_store_any(syncmap *m, syncmap_key key, void *value, void **actual)
{
    return FOR_VARIANT(m, load_or_store_as, key, value, actual);
}

static ALWAYS_INLINE int load_and_delete_as(syncmap *m, syncmap_key key, void **previous, enum variant variant)
{
    struct query q;
    struct reclaim_slot *slot;
    if (unlikely(!key_is_valid(&m->key, key)))
        return SYNCMAP_EINVAL;
    if (variant < FLAT_INTEGERS && rd_is_empty(engine_of(m))) {
        if (previous != NULL)
            *previous = NULL;
        return 0;
    }
    if (!query_make(&q, m, key, variant))
        return SYNCMAP_EINVAL;
    if (!take_value_slot(m, &slot))
        return SYNCMAP_ENOMEM;
    struct thread *pin = pin_enter(true);
    void *old = NULL;
    int result = ENGINE(m, variant, load_and_delete, &q, &old);
    return finish(m, result, old, previous, slot, pin);
}

static NOINLINE int load_and_delete_any(syncmap *m, syncmap_key key, void **previous)
{
    return FOR_VARIANT(m, load_and_delete_as, key, previous);
}

static ALWAYS_INLINE int compare_and_swap_as(syncmap *m, syncmap_key key, void *expected, void *desired, enum variant variant)
{
    struct query q;
    struct reclaim_slot *slot;
    if (value_is_reserved(expected) || value_is_reserved(desired) || !query_make(&q, m, key, variant))
        return SYNCMAP_EINVAL;
    if (!take_value_slot(m, &slot))
        return SYNCMAP_ENOMEM;
    struct thread *pin = pin_enter(true);
    void *old = NULL;
    int result = ENGINE(m, variant, compare_and_swap, &q, expected, desired, &old);
    return finish(m, result, old, NULL, slot, pin);
}

int syncmap_compare_and_swap(syncmap *m, syncmap_key key, void *expected, void *desired)
{
    return FOR_VARIANT(m, compare_and_swap_as, key, expected, desired);
}

static ALWAYS_INLINE int compare_and_delete_as(syncmap *m, syncmap_key key, void *expected, enum variant variant)
{
    struct query q;
    struct reclaim_slot *slot;
    if (value_is_reserved(expected) || !query_make(&q, m, key, variant))
        return SYNCMAP_EINVAL;
    if (!take_value_slot(m, &slot))
        return SYNCMAP_ENOMEM;
    struct thread *pin = pin_enter(true);
    void *old = NULL;
    int result = ENGINE(m, variant, compare_and_delete, &q, expected, &old);
    return finish(m, result, old, NULL, slot, pin);
}

int syncmap_compare_and_delete(syncmap *m, syncmap_key key, void *expected)
{
    return FOR_VARIANT(m, compare_and_delete_as, key, expected);
}

int syncmap_range(syncmap *m, bool (*visit)(syncmap_key key, void *value, void *context), void *context)
{
    if (m == NULL || visit == NULL)
        return SYNCMAP_EINVAL;
    syncmap_pin();
    int result = is_flat(m) ? flat_range(flat_of(m), visit, context) : rd_range(engine_of(m), visit, context);
    syncmap_unpin();
    reclaim_poll();
    return result;
}

int syncmap_scan(syncmap *m, syncmap_cursor *cursor, size_t count,
                 bool (*visit)(syncmap_key key, void *value, void *context), void *context)
{
    if (m == NULL || cursor == NULL || visit == NULL)
        return SYNCMAP_EINVAL;
    bool begun = cursor->place != 0 || cursor->state != 0, ended = cursor->state & CURSOR_ENDED;
    uint64_t number = cursor->state >> 1;
    if ((begun && ended != (cursor->place == 0)) || number > (is_flat(m) ? UINT_MAX : 0))
        return SYNCMAP_EINVAL;
    if (ended)
        return 0;
    struct scan scan = {visit, context, count > 0 ? count : 1, 0};
    uint64_t place = cursor->place;
    int error = 0;
    syncmap_pin();
    if (is_flat(m))
        error = flat_scan(flat_of(m), &place, &number, &scan);
    else
        rd_scan(engine_of(m), &place, &scan);
    syncmap_unpin();
    if (error != 0)
        return error;
    cursor->place = place;
    cursor->state = number << 1 | (place != 0 ? 0 : CURSOR_ENDED);
    return place != 0;
}

int syncmap_reserve(syncmap *m, size_t keys)
{
    if (m == NULL)
        return SYNCMAP_EINVAL;
    struct thread *pin = pin_enter(true);
    int result = is_flat(m) ? flat_reserve(flat_of(m), keys) : rd_reserve(engine_of(m), keys);
    pin_leave(pin);
    reclaim_poll();
    return result;
}

int syncmap_clear(syncmap *m)
{
    if (m == NULL)
        return SYNCMAP_EINVAL;
    struct thread *pin = pin_enter(true);
    int result = is_flat(m) ? flat_clear(flat_of(m)) : rd_clear(engine_of(m));
    pin_leave(pin);
    reclaim_poll();
    return result;
}

size_t syncmap_len(syncmap *m)
{
    if (m == NULL)
        return 0;
    struct thread *pin = pin_enter(false);
    size_t keys = is_flat(m) ? flat_len(flat_of(m)) : rd_len(engine_of(m));
    pin_leave(pin);
    return keys;
}

/* ---- the rest ---- */

void syncmap_free_value(void *value, void *context)
{
    (void)context;
    free(value);
}

const char *syncmap_strerror(int error)
{
    switch (error) {
    case 0:
        return "no";
    case 1:
        return "yes";
    case SYNCMAP_ENOMEM:
        return "out of memory; nothing was changed";
    case SYNCMAP_ESTALE:
        return "the cursor is out of date; nothing was visited";
    case SYNCMAP_EDEADLK:
        return "the call would have waited for itself; nothing was changed";
    case SYNCMAP_EINVAL:
        return "invalid argument; nothing was changed";
    default:
        return "not a result of syncmap";
    }
}

int syncmap_version(void)
{
    return SYNCMAP_VERSION;
}
