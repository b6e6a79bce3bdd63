/* SPDX-License-Identifier: MIT
 *
 * pin - what an empty read section costs: syncmap's pin beside those of other schemes, and a lock's.
 *
 *     pin_static|pin_shared [--seconds S] [--ops K] [--only NAME]
 *
 * One thread; a line of JSON for each scheme, in ns for a section. Compiled twice: pin_static has all schemes, and syncmap in
 * the program itself; pin_shared (PIN_SHARED) has syncmap alone, from the shared library. "loop alone" is a section of
 * nothing, for comparison. With QSBR a section costs nothing at all; its price is the quiescent state that a thread has
 * to announce now and then, here once for each section. --ops does so many sections of each, for callgrind.
 */
#include "common.h"

#include <getopt.h>
#include <stddef.h>
#include <syncmap.h>

#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#ifndef CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#endif

#if !defined(PIN_SHARED) && defined(PIN_URCU)
#define _LGPL_SOURCE /* the inline read sections that liburcu offers */
#include <urcu/urcu-bp.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>
#endif
#if !defined(PIN_SHARED) && defined(PIN_CK)
#include <ck_epoch.h>
#endif

/* Defines a function that passes through so many sections. What is read in them is of no interest, but the compiler has to
 * think that there is something. */
#define DEFINE_SECTIONS(NAME, ENTER, LEAVE)                          \
    static __attribute__((noinline)) void NAME(uint64_t sections)    \
    {                                                                \
        for (uint64_t i = 0; i < sections; i++) {                    \
            ENTER;                                                   \
            __asm__ volatile("" : : : "memory");                     \
            LEAVE;                                                   \
        }                                                            \
    }

static void nothing(void)
{
}

#ifdef PIN_SHARED

DEFINE_SECTIONS(sections_syncmap, syncmap_pin(), syncmap_unpin())

#else

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

DEFINE_SECTIONS(sections_none, (void)0, (void)0)
DEFINE_SECTIONS(sections_syncmap, syncmap_pin(), syncmap_unpin())
DEFINE_SECTIONS(sections_rwlock, pthread_rwlock_rdlock(&rwlock), pthread_rwlock_unlock(&rwlock))

#ifdef PIN_URCU
DEFINE_SECTIONS(sections_memb, urcu_memb_read_lock(), urcu_memb_read_unlock())
DEFINE_SECTIONS(sections_qsbr, urcu_qsbr_read_lock(), (urcu_qsbr_read_unlock(), urcu_qsbr_quiescent_state()))
DEFINE_SECTIONS(sections_bp, urcu_bp_read_lock(), urcu_bp_read_unlock())
#endif

#ifdef PIN_CK
static ck_epoch_t epoch;
static ck_epoch_record_t record;

static void ck_enter(void)
{
    ck_epoch_init(&epoch);
    ck_epoch_register(&epoch, &record, NULL);
}

static void ck_leave(void)
{
    ck_epoch_unregister(&record);
}

DEFINE_SECTIONS(sections_ck, ck_epoch_begin(&record, NULL), ck_epoch_end(&record, NULL))
#endif
#endif

/* ---- measuring ------------------------------------------------------------------------------------ */

struct scheme {
    const char *name;
    const char *version;
    void (*enter)(void); /* the thread registers, */
    void (*sections)(uint64_t sections);
    void (*leave)(void); /* and ends that */
};

static const struct scheme schemes[] = {
#ifdef PIN_SHARED
    {"syncmap pin, shared library", "syncmap " SYNCMAP_VERSION_STRING, nothing, sections_syncmap, nothing},
#else
    {"loop alone", "", nothing, sections_none, nothing},
    {"syncmap pin, static library", "syncmap " SYNCMAP_VERSION_STRING, nothing, sections_syncmap, nothing},
#ifdef PIN_URCU
    {"urcu memb", "liburcu " URCU_VERSION_STRING, urcu_memb_register_thread, sections_memb,
     urcu_memb_unregister_thread},
    {"urcu qsbr, quiescent state", "liburcu " URCU_VERSION_STRING, urcu_qsbr_register_thread, sections_qsbr,
     urcu_qsbr_unregister_thread},
    {"urcu bp", "liburcu " URCU_VERSION_STRING, nothing, sections_bp, nothing},
#endif
#ifdef PIN_CK
    {"ck_epoch", "Concurrency Kit " CK_VERSION, ck_enter, sections_ck, ck_leave},
#endif
    {"pthread_rwlock", "", nothing, sections_rwlock, nothing},
#endif
};

#define CHUNK 65536 /* sections between two looks at the clock */

/* Sections for so many ns; returns how many. */
static uint64_t sections_for(const struct scheme *scheme, uint64_t ns)
{
    uint64_t from = nanoseconds(CLOCK_MONOTONIC);
    uint64_t done = 0;

    do {
        scheme->sections(CHUNK);
        done += CHUNK;
    } while (nanoseconds(CLOCK_MONOTONIC) - from < ns);
    return done;
}

static void measure(const struct scheme *scheme, double seconds, uint64_t operations)
{
    uint64_t sleeps, consumed, process, wall;
    uint64_t done = operations;

    scheme->enter();
    if (operations == 0) {
        sections_for(scheme, (uint64_t)(seconds * 0.25e9));
    } else {
        scheme->sections(1); /* what is done once only, such as binding a symbol */
    }
    sleeps = sleeps_so_far();
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    process = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    wall = nanoseconds(CLOCK_MONOTONIC);
    if (operations == 0) {
        done = sections_for(scheme, (uint64_t)(seconds * 1e9));
    } else {
        CALLGRIND_START_INSTRUMENTATION;
        scheme->sections(operations);
        CALLGRIND_STOP_INSTRUMENTATION;
    }
    wall = nanoseconds(CLOCK_MONOTONIC) - wall;
    process = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - process;
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - consumed;
    scheme->leave();
    printf("{\"map\":\"%s\",\"version\":\"%s\",\"language\":\"C\",\"workload\":\"pin\",\"n\":0,\"threads\":1,"
           "\"unit\":\"ns\",\"value\":%.6g,\"share\":%.4f,\"process_share\":%.4f,\"sleeps\":%llu,\"ops\":%llu}\n",
           scheme->name, scheme->version, (double)wall / (double)done, (double)consumed / (double)wall,
           (double)process / (double)wall, (unsigned long long)(sleeps_so_far() - sleeps), (unsigned long long)done);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"seconds", 1, NULL, 's'}, {"ops", 1, NULL, 'o'}, {"only", 1, NULL, 'n'}, {NULL, 0, NULL, 0}};
    cpu_set_t allowed = allowed_processors();
    const char *only = NULL;
    uint64_t operations = 0;
    double seconds = 1;
    int name, found = 0;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 's': seconds = strtod(optarg, NULL); break;
        case 'o': operations = strtoull(optarg, NULL, 10); break;
        case 'n': only = optarg; break;
        default: return 2;
        }
    }
    if (optind != argc || !(seconds > 0 && seconds <= 3600)) {
        fprintf(stderr, "usage: %s [--seconds S] [--ops K] [--only NAME]\n", program_invocation_short_name);
        return 2;
    }
    pin_to(0, &allowed);
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (!only || strcmp(only, schemes[i].name) == 0) {
            measure(&schemes[i], seconds, operations);
            found = 1;
        }
    }
    if (!found) {
        fprintf(stderr, "%s: there is no '%s' here\n", program_invocation_short_name, only);
        return 2;
    }
    return EXIT_SUCCESS;
}
