/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: what writes strings and bytes with values that nobody owns, where the key's home bucket alone can tell all, and
 * nothing is to be moved: as flat_integers.c does integers, and for the same reason. All are called pinned. They return the
 * operation's result (a delete: or HOME_LOOK), or HOME_UNKNOWN: flat.c must do it, and nothing has been done. A section begins when
 * all is at hand, as in flat.c: memory is had, and keys are compared, before.
 */
#include "flat.h"

enum text_place { TEXT_THERE, TEXT_KEPT, TEXT_NOWHERE, TEXT_UNKNOWN };

/* Where the key is, for as long as the header stays what it was. */
static ALWAYS_INLINE enum text_place home_find_text(const struct bucket *home, syncmap_key key, uint64_t hash, unsigned *slot)
{
    uint64_t tags = ld_acquire(&home->tags); /* P5 */
    for (uint64_t hits = bucket_candidates(hash, tags); hits != 0; hits &= hits - 1) {
        *slot = candidate_slot(hits);
        void *p = ld_seq_cst(&home->value[*slot]); /* P4 */
        const struct record *r = word_record(ld_acquire(&home->word[*slot])); /* P3 */
        if (r != NULL && record_has_text(r, key))
            return p != NULL ? TEXT_THERE : TEXT_KEPT;
    }
    return tags >> LINK_SHIFT == 0 ? TEXT_NOWHERE : TEXT_UNKNOWN;
}

/* The first slot that has no key, and keeps none; SLOTS: there is none. */
static ALWAYS_INLINE unsigned home_free_slot_text(const struct bucket *home)
{
    bool first = ld_acquire(&home->word[0]) != 0;  /* P3 */
    bool second = ld_acquire(&home->word[1]) != 0; /* P3 */
    bool third = ld_acquire(&home->word[2]) != 0;  /* P3 */
    return (unsigned)first + (first & second) + (first & second & third);
}

/* Begins a section, and takes the lock. */
static ALWAYS_INLINE bool home_lock(struct thread *self, struct bucket *home, uint64_t *header, uint64_t version)
{
    if (unlikely(!section_enter_own(self)))
        return false;
    if (likely(bucket_cas_lock(home, header, version)))
        return true;
    section_leave_own(self);
    return false;
}

static ALWAYS_INLINE void home_leave(struct flat *m, struct thread *self, struct flat_table *t, struct bucket *home, uint64_t header)
{
    home_unlock(m, t, home, header);
    section_leave_own(self);
}

static ALWAYS_INLINE int home_replace_text(struct flat *m, struct thread *self, struct flat_table *t, struct bucket *home, uint64_t header,
                                           unsigned slot, void *value, void **previous)
{
    if (unlikely(!home_lock(self, home, &header, 0)))
        return HOME_UNKNOWN;
    *previous = value_replace(home, slot, value);
    home_leave(m, self, t, home, header);
    return HOME_PRESENT;
}

/* Adds a key that the bucket keeps, or one that it has nothing of. */
static ALWAYS_INLINE int home_add_text(struct flat *m, struct thread *self, uintptr_t root, struct bucket *home, uint64_t header,
                                       const struct query *q, enum text_place place, unsigned slot, void *value)
{
    struct flat_table *t = root_table(root);
    struct record *r = NULL;
    if (place == TEXT_NOWHERE) {
        slot = home_free_slot_text(home);
        if (slot == SLOTS)
            return HOME_UNKNOWN;
        r = record_new(m, q);
        if (r == NULL)
            return SYNCMAP_ENOMEM;
    }
    /* As in seat_lock(): an allocator of the user's may have cleared the map. */
    if (unlikely(ld_seq_cst(&m->root) != root || !home_lock(self, home, &header, BUCKET_VERSION))) { /* P1 */
        if (r != NULL)
            record_free(m, r);
        return HOME_UNKNOWN;
    }
    filter_add(t, q->hash);
    if (r != NULL) {
        st_relaxed(&r->age, ld_seq_cst(&m->ages)); /* P9; relaxed: P3 publishes it */
        st_relaxed(&r->hash[q->type->number & 1], q->hash); /* relaxed: as above */
        bucket_fill(home, slot, q->hash, (uint64_t)(uintptr_t)r, value_encode(value));
    } else {
        st_release(&home->value[slot], value_encode(value)); /* P4 */
    }
    counter_add_own(&t->era->keys, self, 1);
    home_leave(m, self, t, home, header);
    return HOME_ABSENT;
}

static ALWAYS_INLINE int flat_swap_text(struct flat *m, struct thread *self, const struct query *q, void *value, void **previous)
{
    uintptr_t root;
    struct bucket *home;
    uint64_t header;
    unsigned slot = 0;
    if (!home_open(m, q->hash, true, &root, &home, &header))
        return HOME_UNKNOWN;
    enum text_place place = home_find_text(home, q->key, q->hash, &slot);
    if (place == TEXT_THERE)
        return home_replace_text(m, self, root_table(root), home, header, slot, value, previous);
    return place != TEXT_UNKNOWN ? home_add_text(m, self, root, home, header, q, place, slot, value) : HOME_UNKNOWN;
}

static ALWAYS_INLINE int flat_load_or_store_text(struct flat *m, struct thread *self, const struct query *q, void *value, void **actual)
{
    uintptr_t root;
    struct bucket *home;
    uint64_t header;
    unsigned slot = 0;
    if (!home_open(m, q->hash, false, &root, &home, &header))
        return HOME_UNKNOWN;
    enum text_place place = home_find_text(home, q->key, q->hash, &slot);
    if (place == TEXT_THERE) {
        void *p = ld_seq_cst(&home->value[slot]); /* P4 */
        if (unlikely(p == NULL || !bucket_unchanged(home, header)))
            return HOME_UNKNOWN;
        *actual = value_decode(p);
        return HOME_PRESENT;
    }
    *actual = value;
    return place != TEXT_UNKNOWN ? home_add_text(m, self, root, home, header, q, place, slot, value) : HOME_UNKNOWN;
}

/* *root: for flat_look(), if the result is HOME_LOOK. */
static ALWAYS_INLINE int flat_load_and_delete_text(struct flat *m, struct thread *self, syncmap_key key, uint64_t hash, void **previous,
                                                   uintptr_t *root)
{
    *root = ld_seq_cst(&m->root); /* P1 */
    struct flat_table *t = root_table(*root);
    if (unlikely(t->type != &m->map.key))
        return HOME_UNKNOWN;
    if (filter_denies(t, *root & ROOT_SHIFT, hash))
        return HOME_ABSENT;
    struct bucket *home = table_home(t, *root & ROOT_SHIFT, hash);
    uint64_t index = hash >> (*root & ROOT_SHIFT), header = ld_seq_cst(&home->header); /* P2 */
    unsigned slot;
    if (unlikely((header & (BUCKET_LOCKED | BUCKET_MOVED)) != 0 || ld_acquire(&t->next) != NULL)) /* P6 */
        return HOME_UNKNOWN;
    enum text_place place = home_find_text(home, key, hash, &slot);
    if (place != TEXT_THERE)
        return place != TEXT_UNKNOWN && bucket_unchanged(home, header) ? HOME_ABSENT : HOME_UNKNOWN;
    if (unlikely(!home_lock(self, home, &header, BUCKET_VERSION)))
        return HOME_UNKNOWN;
    uint64_t word = ld_relaxed(&home->word[slot]); /* relaxed: under the lock */
    *previous = value_decode(ld_relaxed(&home->value[slot])); /* relaxed: as above */
    st_release(&home->value[slot], NULL); /* P4: before the word, as in spot_delete() */
    bool keeps = record_is_to_keep(t, word);
    if (!keeps)
        st_release(&home->word[slot], 0); /* P3 */
    filter_remove(t, home, index);
    long keys = counter_add_own(&t->era->keys, self, -1);
    home_leave(m, self, t, home, header);
    if (!keeps)
        record_retire(m, word_record(word));
    return unlikely(time_to_look(t, keys)) ? HOME_LOOK : HOME_PRESENT;
}
