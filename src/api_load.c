/* SPDX-License-Identifier: MIT
 *
 * The public functions that only load: of one key and of many, with shortcuts for what is in a hurry. The steps are those of api.c.
 */
#include "api.h"

/* ---- one key ---- */

static ALWAYS_INLINE int load_as(syncmap *m, syncmap_key key, void **value, enum variant variant)
{
    struct query q;
    if (!query_make(&q, m, key, variant))
        return SYNCMAP_EINVAL;
    struct thread *pin = pin_enter(false);
    void *found = NULL;
    int result = ENGINE(m, variant, load, &q, &found);
    check_pinned(m, result == 1 && value != NULL);
    if (value != NULL) {
        value_hand_out(m, found);
        *value = found;
    }
    pin_leave(pin);
    return result;
}

static NOINLINE int load_any(syncmap *m, syncmap_key key, void **value)
{
    return FOR_VARIANT(m, load_as, key, value);
}

/* The home bucket cannot tell. */
static NOINLINE int load_flat_slow(syncmap *m, uint64_t hash, void **value, struct thread *pin)
{
    struct query q = {.hash = hash, .type = &m->key};
    void *found = NULL;
    int result = flat_load(flat_of(m), &q, true, &found);
    return load_finish(m, result, found, value, pin);
}

/* The home line cannot tell. */
static NOINLINE int load_read_dirty_slow(syncmap *m, uint64_t hash, void **value, struct thread *pin)
{
    struct query q = {.key = syncmap_u64(unhash_u64(hash, m->key.seed)), .hash = hash, .type = &integer_keys};
    void *found = NULL;
    int result = rd_load(engine_of(m), &q, &found);
    return load_finish(m, result, found, value, pin);
}

static NOINLINE int load_read_dirty(syncmap *m, uint64_t key, void **value, struct thread *self)
{
    uint64_t hash = hash_u64(key, m->key.seed);
    struct thread *pin = pin_enter_own(self);
    void *found = NULL;
    int result = rd_load_integer(engine_of(m), hash, &found);
    return likely(result >= 0) ? load_finish(m, result, found, value, pin) : load_read_dirty_slow(m, hash, value, pin);
}

/* The home bucket cannot tell. */
static NOINLINE int load_text_slow(syncmap *m, syncmap_key key, uint64_t hash, void **value, struct thread *pin)
{
    struct query q = {.key = key, .hash = hash, .type = &m->key};
    void *found = NULL;
    int result = flat_load(flat_of(m), &q, false, &found);
    return load_finish(m, result, found, value, pin);
}

static NOINLINE int load_others(syncmap *m, syncmap_key key, void **value, struct thread *self)
{
    if (unlikely(m == NULL || m->quick != FLAT_TEXT || self == NULL || !key_is_text(&m->key, key)))
        return load_any(m, key, value);
    uint64_t hash = hash_bytes(key.as.ptr, syncmap_key_len(key), m->key.secret);
    struct thread *pin = pin_enter_own(self);
    void *found = NULL;
    int result = flat_load_text(flat_of(m), key, hash, &found);
    return likely(result >= 0) ? load_finish(m, result, found, value, pin) : load_text_slow(m, key, hash, value, pin);
}

/* What is in a hurry: integers, and nothing to be acquired. It calls nothing but in its last step, so it saves one register at most. (That and
 * a search without a branch on the slot are a fifth of the speed, in the cache and out of it.) */
int syncmap_load(syncmap *m, syncmap_key key, void **value)
{
    struct thread *self = ld_relaxed(&own.record); /* relaxed: its own */
    if (unlikely(m == NULL || key.len != SYNCMAP_KEY_TAG(SYNCMAP_U64) || self == NULL))
        return load_others(m, key, value, self);
    if (unlikely(m->quick != FLAT_INTEGERS))
        return m->quick == READ_DIRTY_INTEGERS ? load_read_dirty(m, key.as.u64, value, self) : load_any(m, key, value);
    uint64_t hash = hash_u64(key.as.u64, m->key.seed);
    struct thread *pin = pin_enter_own(self);
    void *found = NULL;
    int result = flat_load_integer(flat_of(m), hash, true, &found);
    return likely(result >= 0) ? load_finish(m, result, found, value, pin) : load_flat_slow(m, hash, value, pin);
}

/* ---- many keys ---- */

enum { GROUP = 16, AHEAD = 32, BLOCK = 256 };

static void group_prefetch(syncmap *m, struct query q[GROUP], const syncmap_key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        query_init(&q[i], m, keys[i]); /* they were checked */
        if (is_flat(m))
            flat_prefetch(flat_of(m), q[i].hash);
        else
            rd_prefetch(engine_of(m), q[i].hash);
    }
    if (is_flat(m) && m->key.kind == SYNCMAP_U64)
        return; /* what a bucket has is all there is */
    for (size_t i = 0; i < count; i++) {
        if (is_flat(m))
            flat_prefetch_record(flat_of(m), &q[i]);
        else
            rd_prefetch_record(engine_of(m), &q[i]);
    }
}

/* What one of the loads has found; 1 if it has. */
static ALWAYS_INLINE size_t many_found(syncmap *m, int result, void *found, size_t at, void **values, bool *present)
{
    check_pinned(m, result == 1 && values != NULL);
    if (values != NULL)
        values[at] = found;
    if (present != NULL)
        present[at] = result == 1;
    return result == 1;
}

static size_t many_of_any_kind(syncmap *m, size_t count, const syncmap_key *keys, void **values, bool *present)
{
    size_t hits = 0;
    for (size_t begin = 0; begin < count; begin += GROUP) {
        struct query q[GROUP];
        size_t group = count - begin < GROUP ? count - begin : GROUP;
        group_prefetch(m, q, keys + begin, group);
        for (size_t i = 0; i < group; i++) {
            void *found = NULL;
            int result = is_flat(m) ? flat_load_prefetched(flat_of(m), &q[i], m->variant == FLAT_INTEGERS, &found)
                                    : rd_load(engine_of(m), &q[i], &found);
            if (values != NULL)
                value_hand_out(m, found);
            hits += many_found(m, result, found, begin + i, values, present);
        }
    }
    return hits;
}

/* One whose shortcut did not tell. */
static NOINLINE size_t many_slow(syncmap *m, uint64_t hash, size_t at, void **values, bool *present)
{
    void *found = NULL;
    int result = flat_load_prefetched(flat_of(m), &(struct query){.hash = hash, .type = &m->key}, true, &found);
    return many_found(m, result, found, at, values, present);
}

/* What a load needs is a line, which is asked for AHEAD keys before it is read; and for one key in some another, which the first one
 * tells: that is asked for then, and those keys come last. */
static size_t many_integers_of_block(syncmap *m, size_t count, const syncmap_key *keys, size_t at, void **values, bool *present)
{
    uint64_t hashes[BLOCK];
    uint16_t late[BLOCK];
    size_t hits = 0, lates = 0;
    for (size_t i = 0; i < count + AHEAD; i++) {
        if (i < count) {
            hashes[i] = hash_u64(keys[at + i].as.u64, m->key.seed);
            flat_prefetch(flat_of(m), hashes[i]);
        }
        if (i < AHEAD)
            continue;
        size_t now = i - AHEAD;
        void *found = NULL;
        int result = flat_load_integer(flat_of(m), hashes[now], false, &found);
        if (likely(result >= 0)) {
            hits += many_found(m, result, found, at + now, values, present);
        } else {
            flat_prefetch_overflow(flat_of(m), hashes[now]);
            late[lates++] = (uint16_t)now;
        }
    }
    for (size_t i = 0; i < lates; i++)
        hits += many_slow(m, hashes[late[i]], at + late[i], values, present);
    return hits;
}

static size_t many_integers(syncmap *m, size_t count, const syncmap_key *keys, void **values, bool *present)
{
    size_t hits = 0;
    if (flat_is_cached(flat_of(m))) {
        for (size_t i = 0; i < count; i++) {
            uint64_t hash = hash_u64(keys[i].as.u64, m->key.seed);
            void *found = NULL;
            int result = flat_load_integer(flat_of(m), hash, false, &found);
            hits += likely(result >= 0) ? many_found(m, result, found, i, values, present) : many_slow(m, hash, i, values, present);
        }
        return hits;
    }
    for (size_t i = 0; i < count; i += BLOCK)
        hits += many_integers_of_block(m, count - i < BLOCK ? count - i : BLOCK, keys, i, values, present);
    return hits;
}

int syncmap_load_many(syncmap *m, size_t count, const syncmap_key *keys, void **values, bool *present)
{
    if (m == NULL || (keys == NULL && count > 0))
        return SYNCMAP_EINVAL;
    for (size_t i = 0; i < count; i++)
        if (!key_is_valid(&m->key, keys[i]))
            return SYNCMAP_EINVAL;
    struct thread *pin = pin_enter(false);
    bool quick = m->quick == FLAT_INTEGERS;
    size_t hits = quick ? many_integers(m, count, keys, values, present) : many_of_any_kind(m, count, keys, values, present);
    pin_leave(pin);
    return hits == count;
}
