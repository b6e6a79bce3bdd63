/* SPDX-License-Identifier: MIT
 *
 * Engine 2, flat: what writes integers, where the key's home bucket alone can tell all, and nothing is to be moved. These are the
 * operations of flat.c, by V1 to V11 and with the same pairs, in a third to half of the instructions: no struct spot, which compilers
 * do not keep in registers, no chain, one bucket. A processor that waits for a bucket's line looks ahead over some hundred
 * instructions; so the shorter an operation is, the more of those that follow wait at the same time.
 *
 * The three operations are called pinned, and in a section of thread.h's that began with the pin (pin_enter_section() of reclaim.h). They
 * return the operation's result, or tell that flat.c must do it: nothing has been done then.
 */
#include "flat.h"

enum {
    HOME_ABSENT = 0,
    HOME_PRESENT = 1,
    HOME_LOOK = 2, /* HOME_PRESENT, and it is time to look whether the table is too large */
    HOME_FULL = 3, /* the key is absent at the header that was read, and its bucket has no room */
    HOME_UNKNOWN = 4
};

/* Finds the home bucket. False: it is LOCKED or MOVED, or there are other secrets, or something to move. locks: whether its lock will
 * be taken, most likely. */
static ALWAYS_INLINE bool home_open(struct flat *m, uint64_t hash, bool locks, uintptr_t *root, struct bucket **home, uint64_t *header)
{
    *root = ld_seq_cst(&m->root); /* P1 */
    struct flat_table *t = root_table(*root);
    *home = table_home(t, *root & ROOT_SHIFT, hash);
    if (locks)
        bucket_will_be_locked(m, *home);
    *header = ld_seq_cst(&(*home)->header); /* P2 */
    return likely((*header & (BUCKET_LOCKED | BUCKET_MOVED)) == 0 && t->type == &m->map.key && ld_acquire(&t->next) == NULL); /* P6 */
}

static ALWAYS_INLINE void home_unlock(struct flat *m, struct flat_table *t, struct bucket *home, uint64_t header)
{
    if (DEBUG_BUILD)
        flat_check(m, t, home);
    bucket_unlock(home, header);
}

/* The first slot without a value; SLOTS: all have one. Without a branch, as in bucket_find_integer(). */
static ALWAYS_INLINE unsigned home_free_slot(const struct bucket *home)
{
    bool first = ld_acquire(&home->value[0]) != NULL;  /* P4 */
    bool second = ld_acquire(&home->value[1]) != NULL; /* P4 */
    bool third = ld_acquire(&home->value[2]) != NULL;  /* P4 */
    return (unsigned)first + (first & second) + (first & second & third);
}

/* Adds a key that was not found in the bucket. */
static ALWAYS_INLINE int home_add(struct flat *m, struct thread *self, uintptr_t root, struct bucket *home, uint64_t header, uint64_t hash,
                                  void *value)
{
    struct flat_table *t = root_table(root);
    if (ld_acquire(&home->tags) >> LINK_SHIFT != 0) /* P5 */
        return HOME_UNKNOWN;
    unsigned slot = home_free_slot(home);
    if (slot == SLOTS)
        return HOME_FULL;
    if (unlikely(!bucket_cas_lock(home, &header, BUCKET_VERSION)))
        return HOME_UNKNOWN;
    filter_add(t, hash);
    bucket_fill(home, slot, hash, hash, value_encode(value));
    counter_add_own(&t->era->keys, self, 1);
    home_unlock(m, t, home, header);
    return HOME_ABSENT;
}

/* *root and *header: for flat_swap_absent(), if the result is HOME_FULL. */
static ALWAYS_INLINE int flat_swap_integer(struct flat *m, struct thread *self, uint64_t hash, void *value, void **previous,
                                           uintptr_t *root, uint64_t *header)
{
    struct bucket *home;
    unsigned slot;
    if (!home_open(m, hash, true, root, &home, header))
        return HOME_UNKNOWN;
    if (!bucket_find_integer(home, hash, &slot))
        return home_add(m, self, *root, home, *header, hash, value);
    uint64_t found = *header;
    if (unlikely(!bucket_cas_lock(home, &found, 0)))
        return HOME_UNKNOWN;
    *previous = value_replace(home, slot, value);
    home_unlock(m, root_table(*root), home, found);
    return HOME_PRESENT;
}

/* The same, for flat_load_or_store_absent(). */
static ALWAYS_INLINE int flat_load_or_store_integer(struct flat *m, struct thread *self, uint64_t hash, void *value, void **actual,
                                                    uintptr_t *root, uint64_t *header)
{
    struct bucket *home;
    unsigned slot;
    if (!home_open(m, hash, false, root, &home, header))
        return HOME_UNKNOWN;
    if (!bucket_find_integer(home, hash, &slot)) {
        *actual = value;
        return home_add(m, self, *root, home, *header, hash, value);
    }
    void *p = ld_seq_cst(&home->value[slot]); /* P4 */
    if (unlikely(p == NULL || !bucket_unchanged(home, *header)))
        return HOME_UNKNOWN;
    *actual = value_decode(p);
    return HOME_PRESENT;
}

/* What is absent needs no more than a load does, so the filter comes first. *root: for flat_look(), if the result is HOME_LOOK. */
static ALWAYS_INLINE int flat_load_and_delete_integer(struct flat *m, struct thread *self, uint64_t hash, void **previous, uintptr_t *root)
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
    if (unlikely((header & (BUCKET_LOCKED | BUCKET_MOVED)) != 0))
        return HOME_UNKNOWN;
    if (!bucket_find_integer(home, hash, &slot))
        return ld_acquire(&home->tags) >> LINK_SHIFT == 0 && bucket_unchanged(home, header) ? HOME_ABSENT : HOME_UNKNOWN; /* P5 */
    if (unlikely(ld_acquire(&t->next) != NULL)) /* P6 */
        return HOME_UNKNOWN;
    if (unlikely(!bucket_cas_lock(home, &header, BUCKET_VERSION)))
        return HOME_UNKNOWN;
    *previous = value_decode(ld_relaxed(&home->value[slot])); /* relaxed: under the lock */
    st_release(&home->value[slot], NULL); /* P4: before the word, as in spot_delete() */
    st_release(&home->word[slot], foreign_integer(t, index)); /* P3 */
    filter_remove(t, home, index);
    long keys = counter_add_own(&t->era->keys, self, -1);
    home_unlock(m, t, home, header);
    return unlikely(time_to_look(t, keys)) ? HOME_LOOK : HOME_PRESENT;
}

/* ---- where they leave off: pinned, in no section ---- */

static int flat_swap_absent(struct flat *m, uint64_t hash, void *value, void **previous, uintptr_t root, uint64_t header)
{
    struct flat_table *t = root_table(root);
    struct spot s = {.root = root, .t = t, .home = table_home(t, root & ROOT_SHIFT, hash), .header = header};
    return flat_swap_slow(m, (struct query){.hash = hash, .type = &m->map.key}, s, value, previous);
}

static int flat_load_or_store_absent(struct flat *m, uint64_t hash, void *value, void **actual, uintptr_t root, uint64_t header)
{
    struct flat_table *t = root_table(root);
    struct spot s = {.root = root, .t = t, .home = table_home(t, root & ROOT_SHIFT, hash), .header = header};
    return flat_load_or_store_slow(m, (struct query){.hash = hash, .type = &m->map.key}, s, value, actual);
}

static void flat_look(struct flat *m, uintptr_t root)
{
    flat_shrink_slow(m, root_table(root));
}
