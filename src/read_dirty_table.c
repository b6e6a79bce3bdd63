/* SPDX-License-Identifier: MIT
 *
 * Tables and entries of read/dirty: made, filled, freed, and retired whole. The algorithm, its invariants (I1 to I6) and
 * pairs (P1 to P5) are in read_dirty.c.
 */
#include "read_dirty.h"

/* ---- tables ---- */

static inline struct slot *table_slots(const struct table *t)
{
    return (struct slot *)(uintptr_t)(t + 1);
}

static inline size_t table_slot_count(const struct table *t)
{
    return (t->mask + 1) * LINE_SLOTS;
}

/* The first slot of the line that is a hash's home; the next slots, round the end, are those that a search goes on to. */
static inline size_t table_home_slot(const struct table *t, uint64_t hash)
{
    return (hash & t->mask) * LINE_SLOTS;
}

static inline size_t table_next_slot(const struct table *t, size_t slot)
{
    return (slot + 1) & (table_slot_count(t) - 1);
}

static inline size_t table_limit(const struct table *t)
{
    size_t slots = table_slot_count(t);
    return slots - slots / 4;
}

/* Puts an entry into a table that has room. Nobody else can see the table, or mu is held. */
static void table_add(struct table *t, uint64_t hash, struct entry *e, bool shared)
{
    struct slot *slots = table_slots(t);
    size_t i = table_home_slot(t, hash);
    while (ld_relaxed(&slots[i].entry) != NULL) /* relaxed: under mu, or not shared */
        i = table_next_slot(t, i);
    st_relaxed(&slots[i].hash, hash); /* relaxed: P3 publishes it */
    if (shared)
        st_seq_cst(&slots[i].entry, e); /* P3 */
    else
        st_relaxed(&slots[i].entry, e); /* relaxed: P4 publishes it */
    st_relaxed(&t->len, ld_relaxed(&t->len) + 1);   /* relaxed: under mu, or not shared */
    st_relaxed(&t->used, ld_relaxed(&t->used) + 1); /* relaxed: as above */
    debug_assert(ld_relaxed(&t->used) <= table_limit(t)); /* relaxed: as above */
}

static size_t table_size(const struct table *t)
{
    return sizeof *t + table_slot_count(t) * sizeof(struct slot);
}

/* A table with room for `keys`; NULL: memory is out. */
static struct table *table_new(const struct read_dirty *m, size_t keys)
{
    size_t slots = LINE_SLOTS;
    while (slots - slots / 4 < keys) {
        if (slots > SIZE_MAX / 4 / sizeof(struct slot))
            return NULL;
        slots *= 2;
    }
    void *base;
    struct table *t = memory_get_lines(&m->map.memory, sizeof *t + slots * sizeof(struct slot), &base);
    if (t == NULL)
        return NULL;
    t->mask = slots / LINE_SLOTS - 1;
    t->base = base;
    return t;
}

static void table_free(const struct read_dirty *m, struct table *t)
{
    if (t != NULL && t->base != NULL)
        memory_put_lines(&m->map.memory, t->base, table_size(t));
}

/* ---- searches ---- */

/* Which slots of a line have the hash: a bit each. In a table that is or was read. */
static ALWAYS_INLINE unsigned line_hits(const struct slot *line, uint64_t hash)
{
    unsigned hits = ld_relaxed(&line[0].hash) == hash; /* relaxed: frozen since P1 published it */
    hits |= (unsigned)(ld_relaxed(&line[1].hash) == hash) << 1; /* relaxed: as above */
    hits |= (unsigned)(ld_relaxed(&line[2].hash) == hash) << 2; /* relaxed: as above */
    return hits | (unsigned)(ld_relaxed(&line[3].hash) == hash) << 3; /* relaxed: as above */
}

/* The entry of a key, or NULL, in a table that is or was read. A line at a time: in which slot of it a key is, nobody can predict. */
static ALWAYS_INLINE struct entry *find(const struct table *t, const struct query *q)
{
    for (size_t i = table_home_slot(t, q->hash);; i = (i + LINE_SLOTS) & (table_slot_count(t) - 1)) {
        const struct slot *line = &table_slots(t)[i];
        for (unsigned hits = line_hits(line, q->hash); hits != 0; hits &= hits - 1) {
            struct entry *e = ld_relaxed(&line[__builtin_ctz(hits)].entry); /* relaxed: as in line_hits() */
            if (likely(e != NULL && e != TOMBSTONE) && query_matches(q, e, e->key))
                return e;
        }
        if (likely(ld_relaxed(&line[LINE_SLOTS - 1].entry) == NULL)) /* relaxed: as in line_hits() */
            return NULL;
    }
}

/* The same in dirty: slots are filled meanwhile, unless mu is held. So each entry is read before its hash. */
static NOINLINE struct entry *find_dirty(const struct table *t, const struct query *q)
{
    const struct slot *slots = table_slots(t);
    for (size_t i = table_home_slot(t, q->hash);; i = table_next_slot(t, i)) {
        struct entry *e = ld_seq_cst(&slots[i].entry); /* P3 */
        if (e == NULL)
            return NULL;
        if (ld_relaxed(&slots[i].hash) == q->hash && e != TOMBSTONE && query_matches(q, e, e->key)) /* relaxed: P3 */
            return e;
    }
}

/* ---- entries ---- */

static struct entry *entry_new(const struct read_dirty *m, const struct query *q)
{
    size_t size = sizeof(struct entry) + key_copy_size(q->type, q->key);
    struct entry *e = memory_get(&m->map.memory, size);
    if (e == NULL)
        return NULL;
    memset(e, 0, sizeof *e);
    if (!key_copy(q->type, q->key, e + 1, &e->key)) {
        memory_put(&m->map.memory, e, size);
        return NULL;
    }
    return e;
}

/* Frees an entry that nobody can see, with the value that it still has. */
static void entry_free(const struct read_dirty *m, struct entry *e)
{
    void *p = ld_relaxed(&e->p); /* relaxed: a grace period has passed, or it was never shared */
    if (value_is_live(p) && value_decode(p) != NULL && m->map.value_free != NULL)
        m->map.value_free(p, m->map.context);
    size_t size = sizeof *e + key_copy_size(&m->map.key, e->key);
    key_drop(&m->map.key, e->key);
    memory_put(&m->map.memory, e, size);
}

static bool entry_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    entry_free(container_of(class, struct read_dirty, entry_class), container_of(link, struct entry, link.retired));
    return true;
}

/* ---- what is retired whole ---- */

/* Frees a part of the table's entries, or what is left of it; true: all. */
static bool table_free_step(const struct read_dirty *m, struct table *t)
{
    size_t budget = FREE_STEP;
    for (; t->expunged != NULL && budget > 0; budget--) {
        struct entry *e = t->expunged;
        t->expunged = e->link.dead.next;
        entry_free(m, e);
    }
    struct slot *slots = table_slots(t);
    for (; t->owns_entries && t->freed < table_slot_count(t) && budget > 0; budget--) {
        struct entry *e = ld_relaxed(&slots[t->freed++].entry); /* relaxed: a grace period has passed */
        if (e != NULL && e != TOMBSTONE)
            entry_free(m, e);
    }
    if (budget == 0)
        return false;
    table_free(m, t);
    return true;
}

static bool table_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    return table_free_step(container_of(class, struct read_dirty, table_class), container_of(link, struct table, retired));
}

/* An era's empty table is part of the era. */
static void table_retire(struct read_dirty *m, struct table *t, size_t entries)
{
    if (t->base != NULL)
        reclaim_retire(&t->retired, &m->table_class, table_size(t) + entries * sizeof(struct entry));
}

static struct era *era_new(const struct read_dirty *m)
{
    void *base;
    struct era *era = memory_get_lines(&m->map.memory, sizeof *era, &base);
    if (era == NULL)
        return NULL;
    era->base = base;
    era->empty.era = era;
    return era;
}

static bool era_release(struct reclaim_link *link, const struct reclaim_class *class)
{
    struct era *era = container_of(link, struct era, retired);
    memory_put_lines(&container_of(class, struct read_dirty, era_class)->map.memory, era->base, sizeof *era);
    return true;
}

static inline void era_count(struct era *era, long keys)
{
    (void)counter_add(&era->keys, keys);
}

static size_t rd_len(struct read_dirty *m)
{
    return counter_sum(&read_table(ld_seq_cst(&m->read))->era->keys); /* P1 */
}

/* ---- invariants ---- */

/* Whether a table has an entry, and how many times. */
static size_t table_count(const struct table *t, uint64_t hash, const struct entry *wanted)
{
    const struct slot *slots = table_slots(t);
    size_t count = 0;
    for (size_t i = table_home_slot(t, hash);; i = table_next_slot(t, i)) {
        const struct entry *e = ld_relaxed(&slots[i].entry); /* relaxed: under mu */
        if (e == NULL)
            return count;
        count += e == wanted;
    }
}

/* Aborts unless I1 to I5 hold. Under mu. Only in debug builds, and on tables small enough. */
static void rd_check(struct read_dirty *m)
{
    uintptr_t word = ld_relaxed(&m->read); /* relaxed: under mu */
    const struct table *read = read_table(word), *dirty = ld_relaxed(&m->dirty); /* relaxed: under mu */
    if (read->mask > 15 || (dirty != NULL && dirty->mask > 15))
        return;
    size_t expunged = 0, listed = 0;
    for (const struct entry *e = m->expunged; e != NULL; e = e->link.dead.next)
        listed++;
    debug_assert(amended(word) == (dirty != NULL)); /* I1 */
    for (size_t i = 0; i < table_slot_count(read); i++) {
        const struct slot *slot = &table_slots(read)[i];
        struct entry *e = ld_relaxed(&slot->entry); /* relaxed: under mu */
        if (e == NULL || e == TOMBSTONE)
            continue;
        bool is_expunged = ld_relaxed(&e->p) == EXPUNGED; /* relaxed: under mu */
        size_t places = dirty != NULL ? table_count(dirty, ld_relaxed(&slot->hash), e) : 0; /* relaxed: under mu */
        debug_assert(places == (dirty != NULL && !is_expunged)); /* I2, I3 */
        expunged += is_expunged;
    }
    debug_assert(expunged == listed && listed == ld_relaxed(&m->expunged_count)); /* I2; relaxed: under mu */
    if (dirty == NULL)
        return;
    debug_assert(ld_relaxed(&dirty->used) + listed <= table_limit(dirty)); /* I4; relaxed: under mu */
    size_t len = 0;
    for (size_t i = 0; i < table_slot_count(dirty); i++) {
        struct entry *e = ld_relaxed(&table_slots(dirty)[i].entry); /* relaxed: under mu */
        if (e == NULL || e == TOMBSTONE)
            continue;
        debug_assert(ld_relaxed(&e->p) != EXPUNGED); /* I3; relaxed: under mu */
        len++;
    }
    debug_assert(len == ld_relaxed(&dirty->len)); /* relaxed: under mu */
}

/* ---- life ---- */

/* Gives all entries to the tables, to be freed with them: to dirty, if there is one, and the EXPUNGED ones to read. Under
 * mu, or alone. */
static void give_entries_to_tables(struct read_dirty *m, struct table *read, struct table *dirty)
{
    (dirty != NULL ? dirty : read)->owns_entries = true;
    read->expunged = m->expunged;
    m->expunged = NULL;
    st_relaxed(&m->expunged_count, 0); /* relaxed: under mu; room_reserve() only guesses by it */
}

static bool rd_init(struct read_dirty *m, size_t capacity)
{
    m->table_class.release = table_release;
    m->entry_class.release = entry_release;
    m->era_class.release = era_release;
    st_relaxed(&m->capacity, capacity); /* relaxed: nobody else has the map yet */
    if (!platform_mutex_init(&m->mu))
        return false;
    m->era = era_new(m);
    if (m->era == NULL) {
        pthread_mutex_destroy(&m->mu);
        return false;
    }
    uintptr_t read = read_word(&m->era->empty);
    if (capacity != 0) {
        struct table *dirty = table_new(m, capacity);
        if (dirty == NULL) {
            memory_put_lines(&m->map.memory, m->era->base, sizeof *m->era);
            pthread_mutex_destroy(&m->mu);
            return false;
        }
        dirty->era = m->era;
        st_relaxed(&m->dirty, dirty); /* relaxed: nobody else has the map yet */
        read |= AMENDED;
    }
    st_relaxed(&m->read, read); /* relaxed: as above */
    return true;
}

/* Frees a part of all that the map holds, once nobody can see it; true: all. */
static bool rd_destroy_step(struct read_dirty *m)
{
    struct table *read = read_table(ld_relaxed(&m->read)), *dirty = ld_relaxed(&m->dirty); /* relaxed: alone */
    if (!m->ending) {
        m->ending = true;
        give_entries_to_tables(m, read, dirty);
    }
    if (dirty != NULL) {
        if (table_free_step(m, dirty))
            st_relaxed(&m->dirty, NULL); /* relaxed: alone */
        return false;
    }
    if (!table_free_step(m, read))
        return false;
    memory_put_lines(&m->map.memory, m->era->base, sizeof *m->era);
    pthread_mutex_destroy(&m->mu);
    return true;
}

static void rd_fork_prepare(struct read_dirty *m)
{
    pthread_mutex_lock(&m->mu);
}

static void rd_fork_resume(struct read_dirty *m)
{
    pthread_mutex_unlock(&m->mu);
}
