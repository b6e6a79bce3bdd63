/* SPDX-License-Identifier: MIT
 *
 * parts - what parts.py counts the instructions of: KEYS calls of one operation on a map of integers, in measured().
 *
 *     parts flat|read_dirty load|absent|store|insert|delete
 */
#include <stdio.h>
#include <string.h>
#include <syncmap.h>

enum { KEYS = 1000 };

static uint64_t key_of(uint64_t i)
{
    uint64_t x = i * 0x9e3779b97f4a7c15u;

    return x ^ x >> 32;
}

/* No key comes twice; the answers are as many as must be 1. */
__attribute__((noinline)) static size_t measured(syncmap *map, const char *operation, const uint64_t *keys)
{
    size_t answers = 0;
    void *value;

    if (strcmp(operation, "load") == 0 || strcmp(operation, "absent") == 0) {
        for (size_t i = 0; i < KEYS; i++) {
            answers += syncmap_load(map, syncmap_u64(keys[i]), &value) == 1;
        }
    } else if (strcmp(operation, "delete") == 0) {
        for (size_t i = 0; i < KEYS; i++) {
            answers += syncmap_delete(map, syncmap_u64(keys[i])) == 1;
        }
    } else {
        for (size_t i = 0; i < KEYS; i++) {
            answers += syncmap_store(map, syncmap_u64(keys[i]), map) == 1;
        }
    }
    return answers;
}

int main(int argc, char **argv)
{
    static uint64_t keys[KEYS];
    syncmap_options options = {.capacity = 2 * KEYS};
    int others, present;
    syncmap *map;

    if (argc != 3) {
        fprintf(stderr, "usage: parts flat|read_dirty load|absent|store|insert|delete\n");
        return 2;
    }
    others = strcmp(argv[2], "absent") == 0 || strcmp(argv[2], "insert") == 0;
    present = !others;
    options.engine = strcmp(argv[1], "flat") == 0 ? SYNCMAP_ENGINE_FLAT : SYNCMAP_ENGINE_READ_DIRTY;
    map = syncmap_new(SYNCMAP_U64, &options);
    if (!map) {
        return 1;
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        keys[i] = key_of(others ? KEYS + i : i);
        if (syncmap_store(map, syncmap_u64(key_of(i)), map) != 0) {
            return 1;
        }
    }
    for (int round = 0; round < 3; round++) { /* read/dirty promotes meanwhile */
        for (uint64_t i = 0; i < KEYS; i++) {
            if (syncmap_load(map, syncmap_u64(key_of(i)), NULL) != 1) {
                return 1;
            }
        }
    }
    if (measured(map, argv[2], keys) != (present ? KEYS : 0)) {
        return 1;
    }
    syncmap_free(map);
    return 0;
}
