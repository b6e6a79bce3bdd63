/* SPDX-License-Identifier: MIT
 *
 * The whole library in one unit, with the scheduler behind its atomics, locks, fences, memory and thread-specific data. A pass of
 * the collector follows each retirement (SYNCMAP_RECLAIM_WORK 1), and every invariant is checked (SYNCMAP_DEBUG).
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "model/library.h"
#include "model/scheduler.h"

#include "atomic.h" /* and with it the system's own names, before they change */

#define WITH_SITE(call, what) __extension__({ MODEL_SITE(what); call; })

#define pthread_mutex_init(mutex, attributes) model_mutex_init(mutex)
#define pthread_mutex_destroy(mutex) ((void)(mutex))
#define pthread_mutex_lock(mutex) WITH_SITE(model_mutex_lock(mutex, &model_here), "lock " #mutex)
#define pthread_mutex_trylock(mutex) WITH_SITE(model_mutex_trylock(mutex, &model_here), "trylock " #mutex)
#define pthread_mutex_unlock(mutex) WITH_SITE(model_mutex_unlock(mutex, &model_here), "unlock " #mutex)
#define pthread_cond_wait(cond, mutex) WITH_SITE(model_cond_wait(cond, mutex, &model_here), "wait " #cond)
#define pthread_cond_broadcast(cond) WITH_SITE(model_cond_wake(cond, true, &model_here), "broadcast " #cond)
#define pthread_cond_signal(cond) WITH_SITE(model_cond_wake(cond, false, &model_here), "signal " #cond)
#define platform_sleep(nanoseconds) WITH_SITE(((void)(nanoseconds), model_sleep(&model_here)), "sleep")
#define platform_pause() platform_sleep(0)
#define platform_yield() platform_sleep(0)
#define platform_membarrier(command) WITH_SITE(membarrier_call(command, &model_here), "membarrier")

static long membarrier_call(int command, const struct model_site *site)
{
    if (command == MEMBARRIER_QUERY) return MEMBARRIER_EXPEDITED | MEMBARRIER_REGISTER;
    if (command == MEMBARRIER_EXPEDITED) model_membarrier(site);
    return 0;
}

/* ---- memory ---- */

static void *library_malloc(size_t size)
{
    return model_alloc(size, 16, MODEL_LIBRARY);
}

static void *library_calloc(size_t count, size_t size)
{
    return memset(library_malloc(count * size), 0, count * size);
}

static unsigned refused; /* threads: their records */

static int library_memalign(void **memory, size_t alignment, size_t size)
{
    if (refused >> model_self() & 1) return ENOMEM;
    *memory = model_alloc(size, alignment, MODEL_LIBRARY);
    return 0;
}

#define malloc library_malloc
#define calloc library_calloc
#define posix_memalign library_memalign
#define free model_free /* (and, in this unit, the field of that name) */

/* ---- thread-specific data: one key ---- */

static void (*specific_destructor)(void *);
static void *specific[MODEL_THREADS];

static int specific_create(pthread_key_t *key, void (*destructor)(void *))
{
    *key = 0;
    specific_destructor = destructor;
    return 0;
}

static int specific_set(pthread_key_t key, const void *value)
{
    (void)key;
    specific[model_self()] = (void *)(uintptr_t)value;
    return 0;
}

#define pthread_key_create specific_create
#define pthread_setspecific specific_set

/* Nobody is cancelled here, and a run that is left early leaves its frames. */
#undef pthread_cleanup_push
#undef pthread_cleanup_pop
#define pthread_cleanup_push(function, argument) { void (*const cleanup)(void *) = (function); void *const cleaned = (argument)
#define pthread_cleanup_pop(execute) if (execute) cleanup(cleaned); }

/* ---- thread-local variables ---- */

static struct thread_own *own_of_self(void);
#define own (*own_of_self())
#include "thread.h"

static struct thread_own own_of[MODEL_THREADS];

static struct thread_own *own_of_self(void)
{
    return &own_of[model_self()];
}

/* ---- the library, as in src/syncmap.c ---- */

static unsigned filter_from; /* tables with more than two to this power */
enum { NO_FILTER = 32 };
#define SYNCMAP_FLAT_FILTER filter_from

#include "membarrier.c"
#include "thread.c"
#include "reclaim.c"
#include "key.c"
#include "read_dirty_table.c"
/* What only a debug build looks at is no step. */
#define rd_check(m) (model_quiet(true), rd_check(m), model_quiet(false))
#include "read_dirty.c"
#include "read_dirty_bulk.c"
#undef rd_check
#include "flat_table.c"
#define flat_check(m, t, home) (model_quiet(true), flat_check(m, t, home), model_quiet(false))
#include "flat_move.c"
#include "flat.c"
#include "flat_integers.c"
#include "flat_text.c"
#undef flat_check
#include "flat_walk.c"
#include "api_load.c"
#include "api_compute.c"
#include "api.c"
#include "api_quick.c"

/* ---- a run ---- */

/* Every variable that a run may change. One that is missing here makes repeated runs differ, which the scheduler notices. */
static struct {
    void *variable;
    size_t size;
    size_t start; /* of its copy, in `copies` */
} variables[] = {
#define VARIABLE(name) {&name, sizeof name, 0}
    VARIABLE(membarrier_expedited), VARIABLE(membarrier_cells), VARIABLE(thread_mutex),   VARIABLE(thread_key),
    VARIABLE(thread_ready),         VARIABLE(thread_count),     VARIABLE(thread_shared),  VARIABLE(thread_records),
    VARIABLE(reclaim),              VARIABLE(collector),        VARIABLE(maps_mutex),     VARIABLE(maps),
    VARIABLE(tombstone),            VARIABLE(specific),         VARIABLE(thread_forking), VARIABLE(sections_open),
    VARIABLE(stripes),              VARIABLE(flights_waiting),
#undef VARIABLE
};
enum { VARIABLES = sizeof variables / sizeof variables[0] };
static char copies[8192];

void library_begin(void)
{
    size_t used = 0;
    for (size_t i = 0; i < VARIABLES; i++) {
        variables[i].start = used;
        used += variables[i].size;
        if (used > sizeof copies) abort();
        memcpy(copies + variables[i].start, variables[i].variable, variables[i].size);
    }
    model_thread_local(own_of, sizeof own_of);
}

void library_reset(void)
{
    refused = 0;
    filter_from = NO_FILTER;
    for (size_t i = 0; i < VARIABLES; i++) memcpy(variables[i].variable, copies + variables[i].start, variables[i].size);
}

/* flat_flood_slow(), but for when, and whether it helps. */
void library_reseed(struct syncmap *map)
{
    if (!is_flat(map)) return;
    syncmap_pin();
    struct flat *m = flat_of(map);
    struct flat_table *t = root_table(ld_acquire(&m->root)); /* P1 */
    struct flat_seed *seed = memory_get(&m->map.memory, sizeof *seed);
    key_type_reseed(&seed->type, t->type);
    if (flat_resize(m, t, table_buckets(t), &seed->type) == RESIZE_BEGUN)
        seed_keep(m, seed);
    else
        memory_put(&m->map.memory, seed, sizeof *seed);
    syncmap_unpin();
}

void library_refuse_records(unsigned threads)
{
    refused = threads;
}

void library_filter(bool wanted)
{
    filter_from = wanted ? 0 : NO_FILTER;
}

void library_thread_attach(void)
{
    (void)thread_attach();
}

void library_thread_exit(void)
{
    for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS && specific[model_self()] != NULL; round++) {
        void *value = specific[model_self()];
        specific[model_self()] = NULL;
        specific_destructor(value);
    }
}
