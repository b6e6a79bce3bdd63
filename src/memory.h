/* SPDX-License-Identifier: MIT
 *
 * Where a map's memory comes from: malloc, or the allocator of its options.
 */
#ifndef SYNCMAP_MEMORY_H
#define SYNCMAP_MEMORY_H

#include <string.h>

#include "platform.h"

struct memory {
    void *(*alloc)(size_t size, void *context); /* NULL: malloc */
    void (*free)(void *memory, size_t size, void *context);
    void *context;
    enum pages pages; /* of large tables from malloc and the system */
};

static inline void *memory_get(const struct memory *memory, size_t size)
{
    return memory->alloc ? memory->alloc(size, memory->context) : malloc(size);
}

static inline void memory_put(const struct memory *memory, void *object, size_t size)
{
    if (memory->free)
        memory->free(object, size, memory->context);
    else
        free(object);
}

/* glibc's calloc() does not take from the cache in which its free() puts blocks about so small. */
enum { MEMORY_SMALL = 960 };

/* `size` zero bytes that start on a cache line. *base is what memory_put_lines() wants back. A large block from malloc is
 * for what is written at once, all of it, and gets pages of the map's sort. */
static inline void *memory_get_lines(const struct memory *memory, size_t size, void **base)
{
    size_t border = memory->alloc == NULL && size >= HUGE_PAGE ? HUGE_PAGE : CACHE_LINE;
    debug_assert(size <= SIZE_MAX / 2); /* table_new() sees to it */
    bool small = size <= MEMORY_SMALL;
    char *raw = memory->alloc || small ? memory_get(memory, size + border) : calloc(1, size + border);
    if (raw == NULL)
        return NULL;
    *base = raw;
    raw += border - (uintptr_t)raw % border;
    if (memory->alloc || small) {
        memset(raw, 0, size);
    } else if (border == HUGE_PAGE) {
        platform_advise(raw, size, memory->pages);
        if (memory->pages != PAGES_HUGE)
            platform_populate(raw, size);
    }
    return raw;
}

/* (malloc's free() needs no size, so it does not matter which border there was.) */
static inline void memory_put_lines(const struct memory *memory, void *base, size_t size)
{
    memory_put(memory, base, size + CACHE_LINE);
}

/* So much of a table is given back at once: unmapping costs by the page. */
#define TABLE_PART (2 * HUGE_PAGE)

/* `size` bytes for a table, not zeroed, that start on a cache line. From the system, if they are large: then they cost nothing until they
 * are touched, start on a huge page, and are given back by memory_put_table_part() without a detour. */
static inline void *memory_get_table(const struct memory *memory, size_t size, void **base)
{
    if (memory->alloc == NULL && size >= HUGE_PAGE)
        return *base = platform_map(size, memory->pages);
    char *raw = memory_get(memory, size + CACHE_LINE);
    if (raw == NULL)
        return NULL;
    *base = raw;
    return raw + CACHE_LINE - (uintptr_t)raw % CACHE_LINE;
}

/* Whether what memory_get_table() got is from the system: then it is zero. */
static inline bool memory_table_is_zero(const struct memory *memory, size_t size)
{
    return memory->alloc == NULL && size >= HUGE_PAGE;
}

/* So much of a table has its pages made at once, where they are small: some ten microseconds. */
#define TABLE_AHEAD ((size_t)16 << 10)

/* The part from `from` to `to` of a table is written next, and so on, in order: has the system make pages TABLE_AHEAD bytes ahead. (Else they
 * are made one by one, at twice the cost, and under a bucket's lock.) */
static inline void memory_table_ahead(const struct memory *memory, void *table, size_t size, const void *from, const void *to)
{
    if (memory->pages == PAGES_HUGE || !memory_table_is_zero(memory, size))
        return;
    char *start = table;
    size_t begin = ((size_t)((const char *)from - start) + TABLE_AHEAD - 1) / TABLE_AHEAD * TABLE_AHEAD;
    size_t end = ((size_t)((const char *)to - start) + TABLE_AHEAD - 1) / TABLE_AHEAD * TABLE_AHEAD;
    end = end < size ? end : size;
    if (begin < end)
        platform_populate(start + begin, end - begin);
}

/* Gives back a table of `size` bytes; one from the system in parts, from its end: `left` bytes are left of it. Returns how many are then; 0:
 * it is gone. */
static inline size_t memory_put_table_part(const struct memory *memory, void *base, size_t size, size_t left)
{
    if (memory->alloc != NULL || size < HUGE_PAGE) {
        memory_put(memory, base, size + CACHE_LINE);
        return 0;
    }
    size_t rest = left > TABLE_PART ? (left - TABLE_PART) / HUGE_PAGE * HUGE_PAGE : 0;
    platform_unmap((char *)base + rest, left - rest);
    return rest;
}

#endif
