/* SPDX-License-Identifier: MIT
 *
 * by_hand_syncmap - a check that the runner is fair: the phases load_hit and update on syncmap with one thread, written by
 * hand against its API, without the runner and without its adapter. What run_read_dirty says must be within 5 % of this.
 */
#include <pthread.h>
#include <stdbool.h>
#include <syncmap.h>

typedef syncmap hand_map;
#include "by_hand.h"

static void *pointer_of(uint64_t value)
{
    return (void *)(uintptr_t)value;
}

static syncmap *make_full(size_t n)
{
    syncmap *map = syncmap_new(SYNCMAP_U64, &(syncmap_options){.engine = SYNCMAP_ENGINE_READ_DIRTY});
    void *value;

    if (!map) {
        die("syncmap_new failed");
    }
    for (size_t i = 0; i < n; i++) {
        if (syncmap_load_or_store(map, syncmap_u64(splitmix64(i)), pointer_of(value_of_number(i)), NULL) != 0) {
            die("load_or_store");
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (syncmap_load(map, syncmap_u64(splitmix64(i)), &value) != 1 || value != pointer_of(value_of_number(i))) {
            die("load");
        }
    }
    syncmap_barrier();
    return map;
}

static void loads(syncmap *map, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *value;

        if (syncmap_load(map, syncmap_u64(keys[i]), &value) != 1 || value != pointer_of(keys[i] | 1)) {
            die("wrong answer of a load");
        }
    }
}

static void updates(syncmap *map, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (syncmap_store(map, syncmap_u64(keys[i]), pointer_of(keys[i] | 1)) != 1) {
            die("wrong answer of a store");
        }
    }
}

static void destroy(hand_map *map)
{
    syncmap_free(map);
}

static void head(void)
{
    printf("{\"map\":\"by hand: syncmap read/dirty\",\"version\":\"syncmap " SYNCMAP_VERSION_STRING
           "\",\"language\":\"C\",\"keys\":\"u64\"}\n");
}
