/* SPDX-License-Identifier: MIT
 *
 * The choices of a run: all within a bound in turn, at random, or as they were printed. See scheduler.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/scheduler_parts.h"

struct choice {
    unsigned char taken, count;
    const struct model_site *site;
};

enum { CHOICES_MAX = 1 << 16 };

static struct {
    enum explore_mode mode;
    unsigned bound, spent;
    struct choice path[CHOICES_MAX];
    unsigned length; /* of path: what is given when the run begins, EXHAUSTIVE */
    unsigned depth;  /* how many were made in this run */
    uint64_t rng;
    unsigned one_in; /* RANDOM: how often a costly choice is taken */
    const char *replay;
    unsigned char replay_value;
    unsigned replay_left;
} c;

/* splitmix64 (Sebastiano Vigna, public domain) */
static uint64_t random_next(void)
{
    uint64_t z = c.rng += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void choices_begin(enum explore_mode mode, const struct model_limits *limits, uint64_t stream, const char *replay)
{
    c.mode = mode;
    c.bound = limits->bound;
    c.spent = 0;
    c.depth = 0;
    c.rng = limits->seed ^ stream * 0xd1342543de82ef95u;
    c.one_in = 2u << random_next() % 5;
    c.replay_left = 0;
    c.replay = replay;
    if (mode == REPLAY) { /* "b2 ..." or "r ...", see choices_print */
        if (*c.replay == 'b') c.bound = (unsigned)strtoul(c.replay + 1, (char **)(uintptr_t)&c.replay, 10);
        else c.bound = CHOICES_MAX, c.replay++;
    }
}

static unsigned replay_next(void)
{
    while (c.replay_left == 0) {
        char *end;
        c.replay_value = (unsigned char)strtoul(c.replay, &end, 10);
        if (end == c.replay) return 0; /* at its end: go on for free */
        c.replay_left = *end == 'x' ? (unsigned)strtoul(end + 1, &end, 10) : 1;
        c.replay = end;
    }
    c.replay_left--;
    return c.replay_value;
}

static unsigned take(unsigned count, bool costly)
{
    switch (c.mode) {
    case RANDOM:
        if (costly && random_next() % c.one_in != 0) return 0;
        return (unsigned)(costly ? 1 + random_next() % (count - 1) : random_next() % count);
    case REPLAY:
        return replay_next();
    case EXHAUSTIVE:
    default:
        return c.depth < c.length ? c.path[c.depth].taken : 0;
    }
}

unsigned choose(unsigned count, bool costly, const struct model_site *site)
{
    if (c.mode != RANDOM && costly && c.spent >= c.bound) return 0;
    if (count <= 1) return 0;
    if (c.depth == CHOICES_MAX) model_fail("more choices than the model can keep");
    struct choice *choice = &c.path[c.depth];
    if (c.mode == EXHAUSTIVE && c.depth < c.length && (choice->count != count || choice->site != site))
        model_fail("the model is at fault: a repeated run went another way");
    unsigned taken = take(count, costly);
    if (taken >= count) model_fail("these choices are not of this scenario");
    *choice = (struct choice){(unsigned char)taken, (unsigned char)count, site};
    c.depth++;
    c.spent += costly && taken != 0;
    return taken;
}

bool choices_advance(void)
{
    for (c.length = c.depth; c.length > 0; c.length--) {
        struct choice *last = &c.path[c.length - 1];
        if (last->taken + 1 < last->count) {
            last->taken++;
            return true;
        }
    }
    return false;
}

void choices_forget(void)
{
    c.length = 0;
}

bool choices_exhaustive(void)
{
    return c.mode == EXHAUSTIVE;
}

unsigned choices_made(void)
{
    return c.depth;
}

unsigned choices_cost(void)
{
    return c.spent;
}

void choices_keep(unsigned count)
{
    c.depth = count;
}

void choices_print(void)
{
    if (c.mode == RANDOM)
        fprintf(stderr, "r");
    else
        fprintf(stderr, "b%u", c.bound);
    for (unsigned i = 0, run; i < c.depth; i += run) {
        for (run = 1; i + run < c.depth && c.path[i + run].taken == c.path[i].taken; run++) continue;
        fprintf(stderr, run > 1 ? " %ux%u" : " %u", c.path[i].taken, run);
    }
}
