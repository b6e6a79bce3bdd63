/* SPDX-License-Identifier: MIT
 *
 * Buffers, the clock, and what is done with events afterwards (recorder.h).
 */
#include "history/recorder.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/support.h"

void recorder_init(struct recorder *recorder, size_t room)
{
    *recorder = (struct recorder){.events = malloc(room * sizeof *recorder->events), .room = room};
    CHECK(recorder->events != NULL);
    /* Touched now, so that no page is missing later. */
    memset(recorder->events, 0, room * sizeof *recorder->events);
}

void recorder_reset(struct recorder *recorder)
{
    recorder->count = 0;
}

void recorder_end(struct recorder *recorder)
{
    free(recorder->events);
    recorder->events = NULL;
}

/* ---- the clock ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The clock is read by an instruction that waits for all before it, but what comes after may start before it: a load of the
 * call would see the past of its begin. */
static inline void clock_was_read(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_lfence();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

uint64_t recorder_before(struct recorder *recorder)
{
    uint64_t now;
    do {
        now = now_ns();
    } while (now <= recorder->last);
    clock_was_read();
    recorder->last = now;
    return now;
}

uint64_t recorder_after(struct recorder *recorder)
{
    recorder->last = now_ns();
    return recorder->last;
}

void recorder_add(struct recorder *recorder, struct history_event event)
{
    CHECK(recorder->count < recorder->room);
    recorder->events[recorder->count++] = event;
}

/* ---- afterwards ---- */

size_t recorder_merge(const struct recorder *recorders, size_t count, struct history_event *events, size_t room)
{
    size_t merged = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(recorders[i].count <= room - merged);
        memcpy(events + merged, recorders[i].events, recorders[i].count * sizeof *events);
        merged += recorders[i].count;
    }
    return merged;
}

unsigned history_overlap(const struct history_event *events, size_t count)
{
    unsigned most = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned now = 0;
        for (size_t j = 0; j < count; j++) now += events[j].begin <= events[i].begin && events[i].begin <= events[j].end;
        if (now > most) most = now;
    }
    return most;
}

static int begin_order(const void *a, const void *b)
{
    const struct history_event *e = a, *f = b;
    return (e->begin > f->begin) - (e->begin < f->begin);
}

void history_print(FILE *file, const struct history_event *events, size_t count, size_t marked, bool its_key)
{
    struct history_event *sorted = malloc((count ? count : 1) * sizeof *sorted);
    CHECK(sorted != NULL);
    memcpy(sorted, events, count * sizeof *events);
    qsort(sorted, count, sizeof *sorted, begin_order);
    const struct history_event *bad = &events[marked];
    uint64_t zero = count ? sorted[0].begin : 0;
    for (size_t i = 0; i < count; i++) {
        struct history_event e = sorted[i];
        if (its_key && bad->operation != H_CLEAR && e.operation != H_CLEAR && e.key != bad->key) continue;
        bool is_bad = e.begin == bad->begin && e.thread == bad->thread;
        e.begin -= zero;
        e.end -= zero;
        char text[256];
        history_text(&e, text, sizeof text);
        fprintf(file, "%s %s\n", is_bad ? "-->" : "   ", text);
    }
    free(sorted);
}
