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

/* `size` zero bytes that start on a cache line. *base is what memory_put_lines() wants back. From malloc, a large
 * block costs nothing until it is touched. */
static inline void *memory_get_lines(const struct memory *memory, size_t size, void **base)
{
    if (size > SIZE_MAX - CACHE_LINE)
        return NULL;
    char *raw = memory->alloc ? memory->alloc(size + CACHE_LINE, memory->context) : calloc(1, size + CACHE_LINE);
    if (raw == NULL)
        return NULL;
    if (memory->alloc)
        memset(raw, 0, size + CACHE_LINE);
    *base = raw;
    return raw + (CACHE_LINE - (uintptr_t)raw % CACHE_LINE);
}

static inline void memory_put_lines(const struct memory *memory, void *base, size_t size)
{
    memory_put(memory, base, size + CACHE_LINE);
}

#endif
