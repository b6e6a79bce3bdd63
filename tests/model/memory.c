/* SPDX-License-Identifier: MIT
 *
 * The model's arena: nothing is used again within a run, and what is freed is remembered. See scheduler.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/scheduler_parts.h"

#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
#define UNPOISON(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
#else
#define POISON(memory, size) ((void)(memory), (void)(size))
#define UNPOISON(memory, size) ((void)(memory), (void)(size))
#endif

enum { ARENA_SIZE = 8 << 20, GRAIN = 16, GRAINS = ARENA_SIZE / GRAIN, REDZONE = 32 };
enum { NEVER, LIVE, FREED };

struct block {
    size_t start, size;
    enum model_owner owner;
    bool live;
};

static struct {
    _Alignas(4096) char bytes[ARENA_SIZE];
    unsigned char state[GRAINS];   /* of the grain */
    uint32_t block_at[GRAINS];     /* the number, from 1, of the block that starts there */
    struct block blocks[1 << 16];
    uint32_t block_count;
    size_t used;
    size_t live[MODEL_OWNERS];
} arena;

void memory_reset(void)
{
    size_t grains = arena.used / GRAIN;
    memset(arena.state, 0, grains);
    memset(arena.block_at, 0, grains * sizeof arena.block_at[0]);
    memset(arena.live, 0, sizeof arena.live);
    arena.block_count = 0;
    arena.used = 0;
    POISON(arena.bytes, ARENA_SIZE);
}

void *model_alloc(size_t size, size_t alignment, enum model_owner owner)
{
    if (alignment < GRAIN) alignment = GRAIN;
    size_t start = (arena.used + REDZONE + alignment - 1) / alignment * alignment;
    size_t end = (start + size + GRAIN) / GRAIN * GRAIN;
    uint32_t number = arena.block_count + 1;
    if (end > ARENA_SIZE || number == sizeof arena.blocks / sizeof arena.blocks[0]) model_fail("the model's arena is too small");
    arena.used = end;
    arena.blocks[number] = (struct block){start, size, owner, true};
    arena.block_count = number;
    arena.block_at[start / GRAIN] = number;
    memset(arena.state + start / GRAIN, LIVE, (size + GRAIN - 1) / GRAIN);
    arena.live[owner]++;
    UNPOISON(arena.bytes + start, size);
    memset(arena.bytes + start, 0xa5, size);
    return arena.bytes + start;
}

/* The offset in the arena; false: it is elsewhere. */
static bool offset_of(const volatile void *memory, size_t *offset)
{
    *offset = (uintptr_t)memory - (uintptr_t)arena.bytes;
    return *offset < ARENA_SIZE;
}

void model_free(void *memory)
{
    size_t offset;
    if (memory == NULL) return;
    if (!offset_of(memory, &offset) || offset % GRAIN != 0 || arena.block_at[offset / GRAIN] == 0)
        model_fail("free: this was never allocated");
    struct block *block = &arena.blocks[arena.block_at[offset / GRAIN]];
    if (!block->live) model_fail("free: this was freed before");
    model_freed(memory, block->size);
    block->live = false;
    arena.live[block->owner]--;
    memset(arena.bytes + offset, 0xdd, block->size);
    memset(arena.state + offset / GRAIN, FREED, (block->size + GRAIN - 1) / GRAIN);
    POISON(arena.bytes + offset, block->size);
}

void model_alive(const volatile void *memory, size_t size)
{
    size_t offset;
    if (!offset_of(memory, &offset)) {
        if ((uintptr_t)memory < 4096) model_fail("access to a NULL pointer");
        if ((uintptr_t)memory >> 32 == 0xdddddddd || (uintptr_t)memory >> 32 == 0xa5a5a5a5)
            model_fail("access by a pointer out of memory that was freed, or never written");
        return;
    }
    for (size_t grain = offset / GRAIN; grain <= (offset + size - 1) / GRAIN; grain++) {
        if (arena.state[grain] == FREED) model_fail("access to memory that was freed");
        if (arena.state[grain] == NEVER) model_fail("access to memory that was never allocated");
    }
}

size_t model_live(enum model_owner owner)
{
    return arena.live[owner];
}
