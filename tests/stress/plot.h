/* SPDX-License-Identifier: MIT
 *
 * One map of the torture, from its making to the proof that nothing of it is left: what is played on it, by which rules, and
 * what must hold when it ends. White box: to be included after syncmap.c.
 */
#ifndef SYNCMAP_TEST_PLOT_H
#define SYNCMAP_TEST_PLOT_H

#include "age.h"
#include "owner.h"

enum game {
    GAME_CLEARED,  /* few keys, with clear, and values that count as equal though they are not the same */
    GAME_MANY,     /* keys that have owners, and many that have none */
    GAME_BALANCED, /* keys that have owners, and few that have none, all of whose values are accounted for */
    GAME_AGES      /* values are elements */
};
enum { GAMES = GAME_AGES + 1, SEATS = 4, AGE_KEYS = 16, OWNED_KEYS = STABLE + SEATS * OWN };

struct plot {
    struct scene scene;
    enum game game;
    /* Whoever has a seat owns its keys; what is known of them passes from one to the next. */
    struct {
        atomic_bool taken;
        struct known known[OWN];
    } seats[SEATS];
    struct plot *next;
};

static uint64_t keys_for(struct rng *rng, enum game game, const struct config *config)
{
    switch (game) {
    case GAME_CLEARED:
        return SMALL_KEYS;
    case GAME_MANY:
        return OWNED_KEYS + (config->hash == TEST_HASH_GOOD ? 40 + rng_below(rng, MAX_KEYS - OWNED_KEYS - 40) : 20);
    case GAME_BALANCED:
        return OWNED_KEYS + SMALL_KEYS;
    default:
        return AGE_KEYS;
    }
}

static struct plot *plot_new(struct rng *rng)
{
    struct plot *plot = calloc(1, sizeof *plot);
    CHECK(plot != NULL);
    struct scene *scene = &plot->scene;
    struct bed *bed = &scene->bed;
    plot->game = (enum game)rng_below(rng, GAMES);
    bed->config = &test_configs[rng_below(rng, test_config_count)];
    bed->ownership = (enum ownership)rng_below(rng, plot->game == GAME_AGES ? ACQUIRED : OWNERSHIPS);
    scene->keys = keys_for(rng, plot->game, bed->config);
    scene->first = plot->game == GAME_MANY || plot->game == GAME_BALANCED ? OWNED_KEYS : 0;
    scene->clears = plot->game == GAME_CLEARED;
    scene->balanced = plot->game == GAME_BALANCED;
    scene->streams = rng_next(rng);
    counting_init(&bed->counting);
    syncmap_options options = bed_options(bed->config, bed->ownership, &bed->counting);
    if (plot->game == GAME_AGES && bed->ownership == OWNED) options.value_free = element_free;
    if (plot->game == GAME_CLEARED && bed->ownership != PLAIN) options.value_equal = equal_parity;
    options.capacity = rng_below(rng, 4) == 0 ? rng_below(rng, 400) : 0;
    options.seed = rng_next(rng);
    bed_open_with(bed, &options);
    for (uint64_t i = 0; scene->first > 0 && i < STABLE; i++)
        CHECK(syncmap_store(bed->map, KEY(bed, i), item_make(bed->ownership, i, 0)) == 0);
    return plot;
}

/* ---- the end ---- */

static void check_seats(struct plot *plot)
{
    struct bed *bed = &plot->scene.bed;
    struct owner o = {.w = {.map = bed->map, .ownership = bed->ownership, .scene = &plot->scene}};
    syncmap_pin();
    for (o.number = 0; o.number < SEATS; o.number++) {
        CHECK(!atomic_load(&plot->seats[o.number].taken));
        for (size_t i = 0; i < OWN; i++) {
            void *value = NULL;
            int result = syncmap_load(bed->map, KEY(bed, own_index(&o, i)), &value);
            check_known(&o, &plot->seats[o.number].known[i], result, value);
            handed_done(bed->ownership, value);
        }
    }
    syncmap_unpin();
}

static bool visit_drain(syncmap_key key, void *value, void *context)
{
    struct plot *plot = context;
    void *previous = NULL;
    CHECK(syncmap_load_and_delete(plot->scene.bed.map, key, &previous) == 1 && previous == value);
    element_retire(previous);
    return true;
}

/* Nobody else is inside an operation on it. Returns it for plot_is_gone(). */
static struct plot *plot_end(struct plot *plot)
{
    struct scene *scene = &plot->scene;
    if (plot->game == GAME_AGES) {
        CHECK(syncmap_range(scene->bed.map, visit_drain, plot) == 1);
        CHECK(syncmap_len(scene->bed.map) == 0);
    } else {
        check_sums(scene);
    }
    if (scene->first > 0) check_seats(plot);
    syncmap_free(scene->bed.map);
    return plot;
}

/* After a barrier that began after plot_end(): nothing of the map is left. */
static void plot_is_gone(struct plot *plot)
{
    CHECK(atomic_load(&plot->scene.bed.counting.live_blocks) == 0);
    CHECK(atomic_load(&plot->scene.bed.counting.live_bytes) == 0);
    free(plot);
}

/* ---- elements as values ---- */

/* What the game needs of the thread that plays it. `see` is called pinned, for an element that was found. */
struct player {
    struct plot *plot;
    struct rng *rng;
    void (*see)(struct player *player, struct sight sight);
    bool in_visit;
    uint64_t range_first; /* the epoch before the range began */
};

static void ages_act(struct player *p);

static bool visit_ages(syncmap_key key, void *value, void *context)
{
    struct player *p = context;
    uint64_t index = config_key_index(p->plot->scene.bed.config, key);
    CHECK(index < AGE_KEYS);
    p->see(p, (struct sight){value, index, p->range_first});
    if (rng_below(p->rng, 8) == 0) ages_act(p);
    return rng_below(p->rng, 16) != 0;
}

static void ages_compare(struct player *p, uint64_t index, bool swap)
{
    struct bed *bed = &p->plot->scene.bed;
    void *value = NULL, *desired = swap ? element_make(index) : NULL;
    uint64_t first = epoch_now();
    int result = syncmap_load(bed->map, KEY(bed, index), &value);
    if (result == 1) {
        p->see(p, (struct sight){value, index, first});
        result = swap ? syncmap_compare_and_swap(bed->map, KEY(bed, index), value, desired)
                      : syncmap_compare_and_delete(bed->map, KEY(bed, index), value);
    }
    CHECK(result == 1 || result == 0);
    if (result == 0 && swap) element_release(desired);
    if (result == 1 && bed->ownership == PLAIN) element_retire(value);
}

static void ages_take(struct player *p, uint64_t index, bool swap)
{
    struct bed *bed = &p->plot->scene.bed;
    void *previous = NULL;
    int result = swap ? syncmap_swap(bed->map, KEY(bed, index), element_make(index), &previous)
                      : syncmap_load_and_delete(bed->map, KEY(bed, index), &previous);
    CHECK(result == (previous != NULL));
    element_retire(previous);
}

static void ages_find(struct player *p, uint64_t index, bool store)
{
    struct bed *bed = &p->plot->scene.bed;
    struct element *fresh = store ? element_make(index) : NULL;
    void *value = NULL;
    uint64_t first = epoch_now();
    int result = store ? syncmap_load_or_store(bed->map, KEY(bed, index), fresh, &value)
                       : syncmap_load(bed->map, KEY(bed, index), &value);
    CHECK(result == 1 || (result == 0 && value == fresh));
    if (value != NULL) p->see(p, (struct sight){value, index, first});
    if (store && result == 1) element_release(fresh);
}

/* What the map gives up by itself, if it owns. */
static void ages_give(struct player *p, uint64_t index)
{
    struct bed *bed = &p->plot->scene.bed;
    if (bed->ownership == PLAIN)
        ages_find(p, index, true);
    else if (rng_below(p->rng, 64) == 0)
        CHECK(syncmap_clear(bed->map) == 0);
    else if (rng_below(p->rng, 2) == 0)
        CHECK(syncmap_delete(bed->map, KEY(bed, index)) >= 0);
    else
        CHECK(syncmap_store(bed->map, KEY(bed, index), element_make(index)) >= 0);
}

/* One action. The caller is pinned. */
static void ages_act(struct player *p)
{
    uint64_t what = rng_below(p->rng, 32), index = rng_below(p->rng, AGE_KEYS);
    if (what < 14)
        ages_find(p, index, what < 4);
    else if (what < 22)
        ages_take(p, index, what < 18);
    else if (what < 26)
        ages_compare(p, index, what < 24);
    else if (what < 31 || p->in_visit)
        ages_give(p, index);
    else {
        p->in_visit = true;
        p->range_first = epoch_now();
        CHECK(syncmap_range(p->plot->scene.bed.map, visit_ages, p) >= 0);
        p->in_visit = false;
    }
}

#endif
