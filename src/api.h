/* SPDX-License-Identifier: MIT
 *
 * What the public functions have in common: the choice of the engine, and the first and last step of a load. The steps are in api.c.
 */
#ifndef SYNCMAP_API_H
#define SYNCMAP_API_H

#include "flat.h"
#include "map.h"
#include "read_dirty.h"

static inline struct read_dirty *engine_of(struct syncmap *m)
{
    return container_of(m, struct read_dirty, map);
}

static inline struct flat *flat_of(struct syncmap *m)
{
    return container_of(m, struct flat, map);
}

static inline bool is_flat(const struct syncmap *m)
{
    return m->variant >= FLAT_INTEGERS;
}

/* The operation of the engine that `variant`, a constant where speed counts, says. */
#define ENGINE(m, variant, operation, q, ...) \
    ((variant) < FLAT_INTEGERS ? rd_##operation(engine_of(m), q, __VA_ARGS__) \
                               : flat_##operation(flat_of(m), q, (variant) == FLAT_INTEGERS, __VA_ARGS__))

/* A function with a last argument `variant`, compiled for each. */
#define FOR_VARIANT(m, function, ...) \
    (unlikely((m) == NULL) ? SYNCMAP_EINVAL \
     : (m)->variant == FLAT_INTEGERS ? function(m, __VA_ARGS__, FLAT_INTEGERS) \
     : (m)->variant == READ_DIRTY_INTEGERS ? function(m, __VA_ARGS__, READ_DIRTY_INTEGERS) \
     : (m)->variant == READ_DIRTY_OTHERS ? function(m, __VA_ARGS__, READ_DIRTY_OTHERS) : function(m, __VA_ARGS__, FLAT_OTHERS))

/* Step 1. False: invalid. */
static ALWAYS_INLINE bool query_make(struct query *q, const struct syncmap *m, syncmap_key key, enum variant variant)
{
    if (variant == READ_DIRTY_OTHERS || variant == FLAT_OTHERS)
        return query_init(q, m, key);
    if (unlikely(key.len != SYNCMAP_KEY_TAG(SYNCMAP_U64)))
        return false;
    *q = (struct query){.hash = hash_u64(key.as.u64, m->key.seed), .type = variant == FLAT_INTEGERS ? &m->key : &integer_keys};
    q->key.as.u64 = key.as.u64;
    q->key.len = key.len;
    return true;
}

/* An owning map without value_acquire hands out values that only a pin protects. */
static inline void check_pinned(const syncmap *m, bool hands_out)
{
    bool needs_pin = hands_out && m->value_free != NULL && m->value_acquire == NULL;
    debug_assert(!needs_pin || pin_held());
}

/* The end of a load that has a shortcut. */
static ALWAYS_INLINE int load_finish(syncmap *m, int result, void *found, void **value, struct thread *pin)
{
    check_pinned(m, result == 1 && value != NULL);
    if (likely(value != NULL))
        *value = found;
    pin_leave_own(pin);
    return result;
}

#endif
