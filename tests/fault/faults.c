/* SPDX-License-Identifier: MIT
 *
 * The wraps, and the plans that they look at. See faults.h.
 */
#include "fault/faults.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/support.h"

/* ---- plans ---- */

static _Thread_local struct {
    bool armed;
    struct fault_plan plan;
    struct fault_report report;
} mine;

/* For all threads. `armed` is written last, and by one thread. */
static struct {
    atomic_bool armed;
    atomic_uint sites;
    atomic_long first, count, calls, failed;
    atomic_uint failed_sites;
} everybody;

static atomic_long site_calls[FAULT_SITES];
static atomic_long live_blocks;

void fault_arm(struct fault_plan plan)
{
    CHECK(!mine.armed);
    mine.plan = plan;
    mine.report = (struct fault_report){0};
    mine.armed = true;
}

struct fault_report fault_disarm(void)
{
    CHECK(mine.armed);
    mine.armed = false;
    return mine.report;
}

void fault_arm_process(struct fault_plan plan)
{
    CHECK(!atomic_load(&everybody.armed));
    atomic_store(&everybody.sites, plan.sites);
    atomic_store(&everybody.first, plan.first);
    atomic_store(&everybody.count, plan.count);
    atomic_store(&everybody.calls, 0);
    atomic_store(&everybody.failed, 0);
    atomic_store(&everybody.failed_sites, 0);
    atomic_store(&everybody.armed, true);
}

struct fault_report fault_disarm_process(void)
{
    atomic_store(&everybody.armed, false);
    return (struct fault_report){atomic_load(&everybody.calls), atomic_load(&everybody.failed),
                                 atomic_load(&everybody.failed_sites)};
}

/* Before the library's own constructor, which makes the first calls. */
__attribute__((constructor(101))) static void arm_from_environment(void)
{
    struct fault_plan plan;
    const char *text = getenv("FAULT_PLAN");
    if (text && sscanf(text, "%u %ld %ld", &plan.sites, &plan.first, &plan.count) == 3) fault_arm_process(plan);
}

static bool planned(long number, long first, long count)
{
    return number >= first && number - first < count;
}

/* Counts a call; true: it has to fail. */
static bool refused(enum fault_site site)
{
    atomic_fetch_add(&site_calls[site], 1);
    if (mine.armed) {
        if (!(mine.plan.sites & FAULT(site))) return false;
        if (!planned(++mine.report.calls, mine.plan.first, mine.plan.count)) return false;
        mine.report.failed++;
        mine.report.failed_sites |= FAULT(site);
        return true;
    }
    if (!atomic_load(&everybody.armed) || !(atomic_load(&everybody.sites) & FAULT(site))) return false;
    long number = atomic_fetch_add(&everybody.calls, 1) + 1;
    if (!planned(number, atomic_load(&everybody.first), atomic_load(&everybody.count))) return false;
    atomic_fetch_add(&everybody.failed, 1);
    atomic_fetch_or(&everybody.failed_sites, FAULT(site));
    return true;
}

long fault_calls(enum fault_site site)
{
    return atomic_load(&site_calls[site]);
}

long fault_live_blocks(void)
{
    return atomic_load(&live_blocks);
}

const char *fault_site_name(enum fault_site site)
{
    static const char *const names[FAULT_SITES] = {
        "malloc", "calloc", "posix_memalign", "pthread_key_create", "pthread_setspecific", "pthread_atfork",
        "pthread_mutex_init", "pthread_mutex_trylock", "membarrier(query)", "membarrier(register)", "membarrier(expedited)", "getrandom",
        "madvise", "mmap"};
    return names[site];
}

/* ---- the wraps: what the library calls in place of each ---- */

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void __wrap_free(void *memory);
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __wrap_pthread_setspecific(pthread_key_t key, const void *value);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
long __wrap_syscall(long number, ...);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
int __wrap_madvise(void *start, size_t size, int advice);
void *__wrap_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset);

static void *counted(void *block)
{
    if (block) atomic_fetch_add(&live_blocks, 1);
    return block;
}

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *__wrap_malloc(size_t size)
{
    return refused(FAULT_MALLOC) ? no_memory() : counted(malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refused(FAULT_CALLOC) ? no_memory() : counted(calloc(count, size));
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (refused(FAULT_MEMALIGN)) return ENOMEM;
    int error = posix_memalign(memory, alignment, size);
    if (error == 0) counted(*memory);
    return error;
}

void __wrap_free(void *memory)
{
    if (memory) CHECK(atomic_fetch_sub(&live_blocks, 1) > 0);
    free(memory);
}

int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    return refused(FAULT_KEY_CREATE) ? EAGAIN : pthread_key_create(key, destructor);
}

int __wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
    return refused(FAULT_SETSPECIFIC) ? ENOMEM : pthread_setspecific(key, value);
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    return refused(FAULT_MUTEX_INIT) ? ENOMEM : pthread_mutex_init(mutex, attributes);
}

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    return refused(FAULT_ATFORK) ? ENOMEM : pthread_atfork(prepare, parent, child);
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    return refused(FAULT_TRYLOCK) ? EBUSY : pthread_mutex_trylock(mutex);
}

/* membarrier(command, 0, 0) is the only one that the library makes: 0 asks, 1 << 4 registers. */
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    int command = va_arg(arguments, int);
    va_end(arguments);
    CHECK(number == SYS_membarrier);
    if (refused(command == 0 ? FAULT_MEMBARRIER_QUERY : command == 1 << 4 ? FAULT_MEMBARRIER_REGISTER : FAULT_MEMBARRIER)) {
        errno = command == 0 ? ENOSYS : command == 1 << 4 ? EPERM : ENOMEM;
        return -1;
    }
    return syscall(number, command, 0, 0);
}

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    if (!refused(FAULT_GETRANDOM)) return getrandom(bytes, size, flags);
    errno = EAGAIN;
    return -1;
}

int __wrap_madvise(void *start, size_t size, int advice)
{
    if (!refused(FAULT_MADVISE)) return madvise(start, size, advice);
    errno = EINVAL;
    return -1;
}

void *__wrap_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset)
{
    if (!refused(FAULT_MMAP)) return mmap(start, size, protection, flags, file, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}
