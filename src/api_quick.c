/* SPDX-License-Identifier: MIT
 *
 * The public functions that write and have shortcuts. The steps are those of api.c, which does what is not in a hurry.
 */
#include "api.h"

/* ---- flat, integers, values that nobody owns: no slot, and nothing to hand out ---- */

static ALWAYS_INLINE bool is_quick(const syncmap *m, syncmap_key key, const struct thread *self)
{
    return likely(m != NULL && m->quick_write == FLAT_INTEGERS && key.len == SYNCMAP_KEY_TAG(SYNCMAP_U64) && self != NULL);
}

/* What the home bucket alone cannot do, pinned already: */
static NOINLINE int swap_flat_full(syncmap *m, uint64_t hash, void *value, void **previous, struct thread *pin, uintptr_t root, uint64_t header)
{
    void *old = NULL;
    int result = flat_swap_absent(flat_of(m), hash, value, &old, root, header);
    return finish(m, result, old, previous, NULL, pin);
}

static NOINLINE int swap_flat_slow(syncmap *m, uint64_t hash, void *value, void **previous, struct thread *pin)
{
    struct query q = {.hash = hash, .type = &m->key};
    void *old = NULL;
    int result = flat_swap(flat_of(m), &q, true, value, &old);
    return finish(m, result, old, previous, NULL, pin);
}

static int load_or_store_finish(int result, void *found, void **actual, struct thread *pin)
{
    if (result >= 0 && actual != NULL)
        *actual = found;
    pin_leave_own(pin);
    reclaim_poll();
    return result;
}

static NOINLINE int load_or_store_flat_full(syncmap *m, uint64_t hash, void *value, void **actual, struct thread *pin, uintptr_t root,
                                       uint64_t header)
{
    void *found = NULL;
    int result = flat_load_or_store_absent(flat_of(m), hash, value, &found, root, header);
    return load_or_store_finish(result, found, actual, pin);
}

static NOINLINE int load_or_store_flat_slow(syncmap *m, uint64_t hash, void *value, void **actual, struct thread *pin)
{
    struct query q = {.hash = hash, .type = &m->key};
    void *found = NULL;
    int result = flat_load_or_store(flat_of(m), &q, true, value, &found);
    return load_or_store_finish(result, found, actual, pin);
}

static ALWAYS_INLINE int load_or_store_quick(syncmap *m, uint64_t key, void *value, void **actual, struct thread *self)
{
    uint64_t hash = hash_u64(key, m->key.seed), header;
    uintptr_t root;
    struct thread *pin;
    void *found = NULL;
    if (unlikely(!pin_enter_section(self, &pin)))
        return load_or_store_flat_slow(m, hash, value, actual, pin);
    int result = flat_load_or_store_integer(flat_of(m), self, hash, value, &found, &root, &header);
    section_leave_own(self);
    if (likely(result <= HOME_PRESENT)) {
        if (actual != NULL)
            *actual = found;
        pin_leave_own(pin);
        return reclaim_poll_own(self, result);
    }
    return result == HOME_FULL ? load_or_store_flat_full(m, hash, value, actual, pin, root, header)
                               : load_or_store_flat_slow(m, hash, value, actual, pin);
}

static NOINLINE int delete_and_look(syncmap *m, uintptr_t root, struct thread *pin)
{
    flat_look(flat_of(m), root);
    pin_leave_own(pin);
    reclaim_poll();
    return 1;
}

static NOINLINE int delete_flat_slow(syncmap *m, uint64_t hash, void **previous, struct thread *pin)
{
    struct query q = {.hash = hash, .type = &m->key};
    void *old = NULL;
    int result = flat_load(flat_of(m), &q, true, &old);
    if (result != 0)
        result = flat_load_and_delete(flat_of(m), &q, true, &old);
    return finish(m, result, old, previous, NULL, pin);
}

static ALWAYS_INLINE int delete_quick(syncmap *m, uint64_t key, void **previous, struct thread *self)
{
    uint64_t hash = hash_u64(key, m->key.seed);
    uintptr_t root;
    struct thread *pin;
    void *old = NULL;
    if (unlikely(!pin_enter_section(self, &pin)))
        return delete_flat_slow(m, hash, previous, pin);
    int result = flat_load_and_delete_integer(flat_of(m), self, hash, &old, &root);
    section_leave_own(self);
    if (unlikely(result == HOME_UNKNOWN))
        return delete_flat_slow(m, hash, previous, pin);
    if (previous != NULL)
        *previous = old;
    if (unlikely(result == HOME_LOOK))
        return delete_and_look(m, root, pin);
    pin_leave_own(pin);
    return reclaim_poll_own(self, result);
}

/* ---- flat, strings and bytes, values that nobody owns ---- */

/* (Where no section may begin by the short way, a record would be made in vain.) */
static ALWAYS_INLINE bool is_quick_text(const syncmap *m, syncmap_key key, const struct thread *self)
{
    return likely(m != NULL && m->quick_write == FLAT_TEXT && self != NULL && key_is_text(&m->key, key) &&
                  ld_relaxed(&sections_open)); /* relaxed: a hint; the section looks again */
}

static ALWAYS_INLINE struct query query_text(const syncmap *m, syncmap_key key)
{
    return (struct query){.key = key, .hash = hash_bytes(key.as.ptr, syncmap_key_len(key), m->key.secret), .type = &m->key};
}

static NOINLINE int swap_text_slow(syncmap *m, struct query q, void *value, void **previous, struct thread *pin)
{
    void *old = NULL;
    int result = flat_swap(flat_of(m), &q, false, value, &old);
    return finish(m, result, old, previous, NULL, pin);
}

static NOINLINE int swap_text(syncmap *m, syncmap_key key, void *value, void **previous, struct thread *self)
{
    struct query q = query_text(m, key);
    struct thread *pin = pin_enter_own(self);
    void *old = NULL;
    int result = flat_swap_text(flat_of(m), self, &q, value, &old);
    if (unlikely(result == HOME_UNKNOWN))
        return swap_text_slow(m, q, value, previous, pin);
    if (previous != NULL && result >= 0)
        *previous = old;
    pin_leave_own(pin);
    return reclaim_poll_own(self, result);
}

static ALWAYS_INLINE int swap_quick(syncmap *m, syncmap_key key, void *value, void **previous)
{
    struct thread *self = ld_relaxed(&own.record), *pin; /* relaxed: its own */
    if (!is_quick(m, key, self) || unlikely(value_is_reserved(value)))
        return is_quick_text(m, key, self) && likely(!value_is_reserved(value)) ? swap_text(m, key, value, previous, self)
                                                                                : swap_any(m, key, value, previous);
    uint64_t hash = hash_u64(key.as.u64, m->key.seed), header;
    uintptr_t root;
    void *old = NULL;
    if (unlikely(!pin_enter_section(self, &pin)))
        return swap_flat_slow(m, hash, value, previous, pin);
    int result = flat_swap_integer(flat_of(m), self, hash, value, &old, &root, &header);
    section_leave_own(self);
    if (likely(result <= HOME_PRESENT)) {
        if (previous != NULL)
            *previous = old;
        pin_leave_own(pin);
        return reclaim_poll_own(self, result);
    }
    return result == HOME_FULL ? swap_flat_full(m, hash, value, previous, pin, root, header) : swap_flat_slow(m, hash, value, previous, pin);
}

int syncmap_swap(syncmap *m, syncmap_key key, void *value, void **previous)
{
    return swap_quick(m, key, value, previous);
}

int syncmap_store(syncmap *m, syncmap_key key, void *value)
{
    return swap_quick(m, key, value, NULL);
}

static NOINLINE int load_or_store_text_slow(syncmap *m, struct query q, void *value, void **actual, struct thread *pin)
{
    void *found = NULL;
    int result = flat_load_or_store(flat_of(m), &q, false, value, &found);
    return load_or_store_finish(result, found, actual, pin);
}

static NOINLINE int load_or_store_text(syncmap *m, syncmap_key key, void *value, void **actual, struct thread *self)
{
    struct query q = query_text(m, key);
    struct thread *pin = pin_enter_own(self);
    void *found = NULL;
    int result = flat_load_or_store_text(flat_of(m), self, &q, value, &found);
    if (unlikely(result == HOME_UNKNOWN))
        return load_or_store_text_slow(m, q, value, actual, pin);
    if (actual != NULL && result >= 0)
        *actual = found;
    pin_leave_own(pin);
    return reclaim_poll_own(self, result);
}

static NOINLINE int delete_text_slow(syncmap *m, struct query q, void **previous, struct thread *pin)
{
    void *old = NULL;
    int result = flat_load_and_delete(flat_of(m), &q, false, &old);
    return finish(m, result, old, previous, NULL, pin);
}

static NOINLINE int delete_text(syncmap *m, syncmap_key key, void **previous, struct thread *self)
{
    struct query q = query_text(m, key);
    struct thread *pin = pin_enter_own(self);
    uintptr_t root;
    void *old = NULL;
    int result = flat_load_and_delete_text(flat_of(m), self, key, q.hash, &old, &root);
    if (unlikely(result == HOME_UNKNOWN))
        return delete_text_slow(m, q, previous, pin);
    if (previous != NULL)
        *previous = old;
    if (unlikely(result == HOME_LOOK))
        return delete_and_look(m, root, pin);
    pin_leave_own(pin);
    return reclaim_poll_own(self, result);
}

/* ---- other integers: what is there, or is not, needs no more than a load does ---- */

static NOINLINE int load_or_store_others(syncmap *m, syncmap_key key, void *value, void **actual, struct thread *self)
{
    if (unlikely(m == NULL || m->quick != READ_DIRTY_INTEGERS || key.len != SYNCMAP_KEY_TAG(SYNCMAP_U64) || self == NULL ||
                 value_is_reserved(value)))
        return load_or_store_any(m, key, value, actual);
    void *found = NULL;
    struct thread *pin = pin_enter_own(self);
    int result = rd_load_integer(engine_of(m), hash_u64(key.as.u64, m->key.seed), &found);
    if (likely(result == 1)) {
        load_finish(m, result, found, actual, pin);
        reclaim_poll();
        return result;
    }
    pin_leave_own(pin);
    return load_or_store_any(m, key, value, actual);
}

int syncmap_load_or_store(syncmap *m, syncmap_key key, void *value, void **actual)
{
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    if (!is_quick(m, key, self) || unlikely(value_is_reserved(value)))
        return is_quick_text(m, key, self) && likely(!value_is_reserved(value)) ? load_or_store_text(m, key, value, actual, self)
                                                                                : load_or_store_others(m, key, value, actual, self);
    return load_or_store_quick(m, key.as.u64, value, actual, self);
}

/* The rest of it, for an integer that was found to be there; hashed and pinned already. */
static NOINLINE int load_and_delete_found(struct syncmap *m, uint64_t hash, void **previous, struct thread *pin)
{
    struct query q = {.hash = hash, .type = &m->key};
    struct reclaim_slot *slot;
    if (!take_value_slot(m, &slot)) {
        pin_leave_own(pin);
        return SYNCMAP_ENOMEM;
    }
    void *old = NULL;
    int result = flat_load_and_delete(flat_of(m), &q, true, &old);
    return finish(m, result, old, previous, slot, pin);
}

static NOINLINE int load_and_delete_others(syncmap *m, syncmap_key key, void **previous, struct thread *self)
{
    if (unlikely(m == NULL || m->quick >= FLAT_TEXT || key.len != SYNCMAP_KEY_TAG(SYNCMAP_U64) || self == NULL))
        return load_and_delete_any(m, key, previous);
    if (is_flat(m) || !rd_is_empty(engine_of(m))) {
        if (!is_flat(m) && rd_is_amended(engine_of(m)))
            return load_and_delete_any(m, key, previous);
        uint64_t hash = hash_u64(key.as.u64, m->key.seed);
        struct thread *pin = pin_enter_own(self);
        void *found;
        int result = is_flat(m) ? flat_load_integer(flat_of(m), hash, true, &found) : rd_load_integer(engine_of(m), hash, &found);
        if (result < 0 && is_flat(m))
            result = flat_load(flat_of(m), &(struct query){.hash = hash, .type = &m->key}, true, &found);
        if (result != 0 && is_flat(m))
            return load_and_delete_found(m, hash, previous, pin);
        pin_leave_own(pin);
        if (result != 0)
            return load_and_delete_any(m, key, previous);
    }
    if (previous != NULL)
        *previous = NULL;
    return 0;
}

int syncmap_load_and_delete(syncmap *m, syncmap_key key, void **previous)
{
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    if (!is_quick(m, key, self))
        return is_quick_text(m, key, self) ? delete_text(m, key, previous, self) : load_and_delete_others(m, key, previous, self);
    return delete_quick(m, key.as.u64, previous, self);
}

int syncmap_delete(syncmap *m, syncmap_key key)
{
    return syncmap_load_and_delete(m, key, NULL);
}
