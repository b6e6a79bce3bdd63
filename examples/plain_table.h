/* SPDX-License-Identifier: MIT
 *
 * A plain hash table from byte strings to counts, for one thread: what `identifiers --check` trusts. It is kept
 * as simple as a hash table can be (open addressing, linear probing, nothing is ever deleted), so that
 * it is right by inspection.
 */
#ifndef PLAIN_TABLE_H
#define PLAIN_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct plain_slot {
    char *bytes; /* a copy that the table owns; NULL: the slot is free */
    size_t len;
    uint64_t hash;
    uint64_t count;
};

/* Zero-initialised is empty. `room` is 0 or a power of two, and at most half of it is used, so that a probe
 * always ends at a free slot. */
struct plain_table {
    struct plain_slot *slots;
    size_t used;
    size_t room;
};

/* FNV-1a, with its high half folded in as the index is made of low bits. */
static inline uint64_t plain_hash(const char *bytes, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    }
    return hash ^ hash >> 32;
}

/* The slot of a key, or the free slot where it would go. Needs room > 0. */
static inline struct plain_slot *plain_probe(const struct plain_table *table, const char *bytes, size_t len,
                                             uint64_t hash)
{
    size_t i = hash & (table->room - 1);

    for (;; i = (i + 1) & (table->room - 1)) {
        struct plain_slot *slot = &table->slots[i];

        if (!slot->bytes || (slot->hash == hash && slot->len == len && memcmp(slot->bytes, bytes, len) == 0)) {
            return slot;
        }
    }
}

/* Doubles the table. 0, or -1 if memory is out: it is then as it was. */
static inline int plain_grow(struct plain_table *table)
{
    struct plain_table bigger = {NULL, table->used, table->room ? 2 * table->room : 1024};

    bigger.slots = calloc(bigger.room, sizeof *bigger.slots);
    if (!bigger.slots) {
        return -1;
    }
    for (size_t i = 0; i < table->room; i++) {
        const struct plain_slot *slot = &table->slots[i];

        if (slot->bytes) {
            *plain_probe(&bigger, slot->bytes, slot->len, slot->hash) = *slot;
        }
    }
    free(table->slots);
    *table = bigger;
    return 0;
}

/* The count of a key, or NULL if it was never added. */
static inline const uint64_t *plain_find(const struct plain_table *table, const char *bytes, size_t len)
{
    const struct plain_slot *slot;

    if (table->room == 0) {
        return NULL;
    }
    slot = plain_probe(table, bytes, len, plain_hash(bytes, len));
    return slot->bytes ? &slot->count : NULL;
}

/* Adds 1 to the count of a key. 0, or -1 if memory is out: then nothing was counted. */
static inline int plain_count(struct plain_table *table, const char *bytes, size_t len)
{
    uint64_t hash = plain_hash(bytes, len);
    struct plain_slot *slot;

    if (2 * table->used >= table->room && plain_grow(table) < 0) {
        return -1;
    }
    slot = plain_probe(table, bytes, len, hash);
    if (!slot->bytes) {
        char *copy = malloc(len + 1); /* one more, as malloc(0) may be NULL */

        if (!copy) {
            return -1;
        }
        memcpy(copy, bytes, len);
        *slot = (struct plain_slot){copy, len, hash, 0};
        table->used++;
    }
    slot->count++;
    return 0;
}

static inline void plain_free(struct plain_table *table)
{
    for (size_t i = 0; i < table->room; i++) {
        free(table->slots[i].bytes);
    }
    free(table->slots);
    *table = (struct plain_table){NULL, 0, 0};
}

#endif
