/* SPDX-License-Identifier: MIT
 *
 * Where a thread stops, and how (yield.h).
 */
#include "history/yield.h"

#include <sched.h>
#include <stdbool.h>
#include <time.h>

extern void history_yield_point(void);

enum { SLEEP_ONE_IN = 64, SPIN_ONE_IN = 4, SPIN_STEPS = 256 };

static _Thread_local struct {
    uint64_t state;
    uint32_t one_in;
    uint32_t left; /* points to pass before the next stop */
    uint64_t stops;
} me;

static uint32_t draw(uint32_t below)
{
    me.state ^= me.state << 13;
    me.state ^= me.state >> 7;
    me.state ^= me.state << 17;
    return (uint32_t)((me.state >> 32) % below);
}

void history_yield_begin(uint64_t seed, uint32_t one_in)
{
    me.state = seed | 1;
    me.one_in = one_in;
    me.left = one_in ? draw(2 * one_in) : 0;
}

uint64_t history_yields(void)
{
    return me.stops;
}

/* Mostly the others run on; now and then they run far, or this one is only a little late. */
static void stop(void)
{
    static const struct timespec short_sleep = {.tv_nsec = 2000};
    me.left = draw(2 * me.one_in);
    me.stops++;
    if (draw(SLEEP_ONE_IN) == 0) {
        nanosleep(&short_sleep, NULL);
    } else if (draw(SPIN_ONE_IN) == 0) {
        for (volatile uint32_t left = draw(SPIN_STEPS); left > 0; left--) {
        }
    } else {
        sched_yield();
    }
}

void history_yield_point(void)
{
    if (me.one_in == 0) return;
    if (me.left > 0)
        me.left--;
    else
        stop();
}
