/* SPDX-License-Identifier: MIT
 *
 * A system that refuses: each call of the library to the C library that can fail passes through here, and fails when a plan
 * says so. The linker puts this between (CMakeLists.txt: ld -r --wrap on the library's object), so it is the library's calls
 * alone that fail, never those of the test, of its allocator or of its callbacks.
 */
#ifndef SYNCMAP_TEST_FAULTS_H
#define SYNCMAP_TEST_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

enum fault_site {
    FAULT_MALLOC,
    FAULT_CALLOC,
    FAULT_MEMALIGN,
    FAULT_KEY_CREATE,
    FAULT_SETSPECIFIC,
    FAULT_ATFORK,
    FAULT_MUTEX_INIT,
    FAULT_TRYLOCK,             /* as if another thread had the mutex */
    FAULT_MEMBARRIER_QUERY,
    FAULT_MEMBARRIER_REGISTER,
    FAULT_MEMBARRIER,          /* the barrier itself */
    FAULT_GETRANDOM,
    FAULT_MADVISE,
    FAULT_MMAP,
    FAULT_SITES
};

#define FAULT(site) (1u << (site))
enum { FAULT_ALL = (1u << FAULT_SITES) - 1 };
/* What may lead to SYNCMAP_ENOMEM. After any other fault an operation must do its work. */
enum {
    FAULT_MEMORY = FAULT(FAULT_MALLOC) | FAULT(FAULT_CALLOC) | FAULT(FAULT_MEMALIGN) | FAULT(FAULT_KEY_CREATE) |
                   FAULT(FAULT_SETSPECIFIC) | FAULT(FAULT_ATFORK) | FAULT(FAULT_MUTEX_INIT) | FAULT(FAULT_MMAP)
};

/* Of the calls to `sites`, counted from 1, those numbered first ... first + count - 1 fail. */
struct fault_plan {
    unsigned sites;
    long first, count;
};
enum { FAULT_FOREVER = 1000000000 };

/* What became of a plan. */
struct fault_report {
    long calls;      /* to the plan's sites */
    long failed;
    unsigned failed_sites;
};

/* From now on, for the calling thread; until fault_disarm(). */
void fault_arm(struct fault_plan plan);
struct fault_report fault_disarm(void);

/* The same for all threads; a plan of a thread's own goes first. The environment can arm it from before main on:
 * FAULT_PLAN="sites first count". */
void fault_arm_process(struct fault_plan plan);
struct fault_report fault_disarm_process(void);

/* Since the process began, of all threads, those that failed included. */
long fault_calls(enum fault_site site);
/* Blocks that the library has from malloc, calloc and posix_memalign and did not free yet. */
long fault_live_blocks(void);

const char *fault_site_name(enum fault_site site);

#endif
