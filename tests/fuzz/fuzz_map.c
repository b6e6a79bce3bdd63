/* SPDX-License-Identifier: MIT
 *
 * libFuzzer's target: bytes to calls on one or two maps, each result compared with the reference's. One thread, and the same
 * for the same bytes. An input is
 *
 *     configuration, flags, seed, number of keys     one byte each, see set_up()
 *     a length and a pattern for each key            two bytes each, not for custom keys
 *     operation, key, argument                       three bytes for each call, see call(); calls nest inside range,
 *                                                    the allocator and the dup of custom keys
 *
 * and where it ends there are zeros.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEYS_MAX = 24, HELD_MAX = 16, DEPTH_MAX = 2, PINS_MAX = 5, MAPS = 2, BATCH_MAX = 64 };
enum { RESERVE_AND_OTHERS = 19, OPERATIONS }; /* in a byte of the input: see dispatch() */

/* A key's content, and the first key that has the same: results are looked up under that one. */
struct fuzz_key {
    uint64_t integer;
    size_t len;
    uint8_t content[400];
    uint64_t same;
};

struct side {
    struct bed bed; /* bed.map is NULL while there is no map */
    struct reference reference;
    uint64_t changed[KEYS_MAX]; /* by which call */
    struct {
        syncmap_cursor cursor;
        bool begun;
        bool busy; /* a call goes on: one cursor is not for two */
        uint64_t began; /* by which call */
        bool seen[KEYS_MAX];
    } scan; /* goes on through many calls */
};

struct machine {
    const uint8_t *data;
    size_t left;
    const struct config *config;
    enum ownership ownership;
    bool equal, borrowed, faults, malloced;
    size_t capacity;
    uint64_t seed;
    uint64_t first_serial; /* of values: the first one of this input */
    uint64_t keys;
    struct fuzz_key key[KEYS_MAX];
    uint64_t original[KEYS_MAX][KEY_BUFFER / 8]; /* what custom keys point to for good, if they are borrowed */
    struct side side[MAPS];
    uint64_t calls;
    unsigned depth, pins;
    bool talks;          /* the next allocation makes a call first */
    struct {
        void *value;
        uint64_t index;
    } held[HELD_MAX]; /* loaded under the pin */
    unsigned held_count;
    void **plain; /* values of maps that do not own them */
    size_t plain_count;
};

static struct machine machine;

static uint8_t byte(struct machine *m)
{
    if (m->left == 0) return 0;
    m->left--;
    return *m->data++;
}

/* ---- keys ---- */

static void key_describe(struct machine *m, struct fuzz_key *key)
{
    uint8_t code = byte(m), pattern = byte(m);
    key->integer = code < 64 ? code : code == 255 ? UINT64_MAX : (uint64_t)code << (code < 128 ? 56 : 32) | pattern;
    key->len = code < 192 ? code % 40u : (code - 191u) * 6u;
    if (m->config->kind == SYNCMAP_STRING && pattern == 0) pattern = 'n';
    memset(key->content, pattern, key->len);
    if (key->len > 0 && code % 2 && pattern != UINT8_MAX) key->content[key->len - 1]++;
}

static bool keys_same(const struct machine *m, const struct fuzz_key *a, const struct fuzz_key *b)
{
    if (m->config->kind == SYNCMAP_U64) return a->integer == b->integer;
    return a->len == b->len && memcmp(a->content, b->content, a->len) == 0;
}

static void keys_make(struct machine *m)
{
    for (uint64_t i = 0; i < m->keys; i++) {
        m->key[i].same = i;
        if (m->config->kind == SYNCMAP_CUSTOM) continue;
        key_describe(m, &m->key[i]);
        for (uint64_t j = 0; j < i && m->key[i].same == i; j++) {
            if (keys_same(m, &m->key[i], &m->key[j])) m->key[i].same = j;
        }
    }
}

/* A key as long as `*room` is not freed: a block of exactly its size. */
static syncmap_key key_of(struct machine *m, uint64_t index, void **room)
{
    const struct fuzz_key *key = &m->key[index];
    size_t len = key->len + (m->config->kind == SYNCMAP_STRING);
    *room = NULL;
    if (m->config->kind == SYNCMAP_U64) return syncmap_u64(key->integer);
    if (m->borrowed) return config_key(m->config, index, (char *)m->original[index]);
    if (m->config->kind == SYNCMAP_BYTES && len == 0) return syncmap_bytes(NULL, 0);
    *room = malloc(m->config->kind == SYNCMAP_CUSTOM ? KEY_BUFFER : len);
    CHECK(*room != NULL);
    if (m->config->kind == SYNCMAP_CUSTOM) return config_key(m->config, index, *room);
    memcpy(*room, key->content, key->len);
    if (m->config->kind == SYNCMAP_BYTES) return syncmap_bytes(*room, len);
    ((char *)*room)[key->len] = '\0';
    return syncmap_str(*room);
}

static uint64_t key_index(const struct machine *m, syncmap_key key)
{
    if (m->config->kind == SYNCMAP_CUSTOM) return config_key_index(m->config, key);
    CHECK(key.len >> SYNCMAP_KEY_LEN_BITS == SYNCMAP_KEY_TAG(m->config->kind) >> SYNCMAP_KEY_LEN_BITS);
    for (uint64_t i = 0; i < m->keys; i++) {
        const struct fuzz_key *mine = &m->key[i];
        if (m->config->kind == SYNCMAP_U64) {
            if (mine->integer == key.as.u64) return i;
            continue;
        }
        if (mine->len != syncmap_key_len(key) || (mine->len && memcmp(mine->content, key.as.ptr, mine->len))) continue;
        if (m->config->kind == SYNCMAP_STRING) CHECK(((const char *)key.as.ptr)[mine->len] == '\0');
        return i;
    }
    CHECK(!"a key that was stored");
}

/* ---- values ---- */

static bool values_alike(const void *stored, const void *expected, void *context)
{
    const struct value *a = stored, *b = expected;
    (void)context;
    value_check(a, a->key_index);
    value_check(b, b->key_index);
    return (a->serial - machine.first_serial) % 2 == (b->serial - machine.first_serial) % 2;
}

static void *fresh(struct machine *m, uint64_t index)
{
    struct value *value = value_make(index);
    if (m->ownership == PLAIN) m->plain[m->plain_count++] = value; /* there is room for two in each call */
    return value;
}

/* What to store: a new value, NULL, or once more what is there, with a reference for that. */
static void *value_for(struct machine *m, struct side *side, uint64_t index, uint8_t argument)
{
    void *current;
    switch (argument % 8) {
    case 0:
        return NULL;
    case 1:
        reference_load(&side->reference, index, &current);
        if (current && m->ownership != PLAIN) value_acquire(current, NULL);
        return current;
    default:
        return fresh(m, index);
    }
}

/* What a compare expects: what is there, NULL, or some other value, which *other says. */
static void *expected_for(struct machine *m, struct side *side, uint64_t index, uint8_t argument, void **other)
{
    void *current;
    *other = NULL;
    reference_load(&side->reference, index, &current);
    switch (argument / 8 % 4) {
    case 0:
        return NULL;
    case 1:
        return *other = fresh(m, index);
    default:
        return current;
    }
}

static void held_check(struct machine *m)
{
    for (unsigned i = 0; i < m->held_count; i++) value_check(m->held[i].value, m->held[i].index);
}

/* A value that was loaded. Under a pin it is looked at again later. */
static void hold(struct machine *m, void *value, uint64_t index)
{
    if (value) value_check(value, index);
    if (!value || m->pins == 0 || m->held_count == HELD_MAX) return;
    m->held[m->held_count].value = value;
    m->held[m->held_count++].index = index;
}

/* ---- calls on a key ---- */

struct call {
    struct machine *m;
    struct side *side;
    uint64_t index;
    uint8_t argument;
    bool fault;       /* the allocator fails somewhere in it */
    bool wanted;      /* the out parameter is not NULL */
    syncmap *map;
    syncmap_key key;
};

/* Whether it may be that nothing happened. `always`: also on a map that does not own its values. */
static bool refused(const struct call *c, int result, bool always)
{
    if (result >= 0) return false;
    CHECK(result == SYNCMAP_ENOMEM);
    CHECK(c->fault && (always || c->m->ownership != PLAIN));
    return true;
}

static void changed(struct call *c)
{
    c->side->changed[c->index] = c->m->calls;
}

static void call_load(struct call *c)
{
    void *value = c, *expected;
    handed_begin(c->m->ownership);
    CHECK(syncmap_load(c->map, c->key, c->wanted ? &value : NULL) ==
          reference_load(&c->side->reference, c->index, &expected));
    if (c->wanted) {
        CHECK(value == expected);
        hold(c->m, value, c->index);
        handed_done(c->m->ownership, value);
    }
    handed_end(c->m->ownership);
}

static void call_store(struct call *c)
{
    void *value = value_for(c->m, c->side, c->index, c->argument);
    int result = syncmap_store(c->map, c->key, value);
    if (refused(c, result, true)) {
        refused_done(c->m->ownership, value);
        return;
    }
    CHECK(result == reference_store(&c->side->reference, c->index, value));
    changed(c);
}

static void call_load_or_store(struct call *c)
{
    void *value = value_for(c->m, c->side, c->index, c->argument), *actual = c, *expected;
    handed_begin(c->m->ownership);
    void **out = c->wanted ? &actual : NULL;
    bool computed = c->m->depth == 0 && c->index % 2 == 1; /* what an allocator calls within it might be for the same key */
    int result = computed ? computed_load_or_store(c->map, c->key, value, out, c->m->ownership)
                          : syncmap_load_or_store(c->map, c->key, value, out);
    if (refused(c, result, true)) {
        CHECK(actual == c);
    } else {
        CHECK(result == reference_load_or_store(&c->side->reference, c->index, value, &expected));
        CHECK(!c->wanted || actual == expected);
        if (c->wanted) {
            hold(c->m, actual, c->index);
            handed_done(c->m->ownership, actual);
        }
        if (result == 0) changed(c);
    }
    handed_end(c->m->ownership);
    if (result != 0) refused_done(c->m->ownership, value);
}

/* load_and_delete, else swap: they differ in what they leave. */
static void call_taking(struct call *c, bool deleting)
{
    void *value = deleting ? NULL : value_for(c->m, c->side, c->index, c->argument), *previous = c, *expected;
    void **out = c->wanted ? &previous : NULL;
    int result = deleting ? syncmap_load_and_delete(c->map, c->key, out) : syncmap_swap(c->map, c->key, value, out);
    if (refused(c, result, !deleting)) {
        CHECK(previous == c);
        refused_done(c->m->ownership, value);
        return;
    }
    CHECK(result == (deleting ? reference_load_and_delete(&c->side->reference, c->index, &expected)
                              : reference_swap(&c->side->reference, c->index, value, &expected)));
    changed(c);
    if (!c->wanted) return;
    CHECK(previous == expected);
    if (previous) value_check(previous, c->index);
    previous_done(c->m->ownership, previous);
}

static void call_delete(struct call *c)
{
    int result = syncmap_delete(c->map, c->key);
    if (refused(c, result, false)) return;
    CHECK(result == reference_load_and_delete(&c->side->reference, c->index, NULL));
    changed(c);
}

/* The reference may look at a value that the map has given up: it does so under a pin. */
static void call_compare(struct call *c, bool deleting)
{
    void *other, *desired = deleting ? NULL : value_for(c->m, c->side, c->index, c->argument);
    void *expected = expected_for(c->m, c->side, c->index, c->argument, &other);
    syncmap_pin();
    int result = deleting ? syncmap_compare_and_delete(c->map, c->key, expected)
                          : syncmap_compare_and_swap(c->map, c->key, expected, desired);
    if (!refused(c, result, false)) {
        CHECK(result == (deleting ? reference_compare_and_delete(&c->side->reference, c->index, expected)
                                  : reference_compare_and_swap(&c->side->reference, c->index, expected, desired)));
        if (result == 1) changed(c);
    }
    syncmap_unpin();
    if (result != 1) refused_done(c->m->ownership, desired);
    refused_done(c->m->ownership, other);
}

/* So that dirty is promoted: as many loads of what is not in read. */
static void call_misses(struct call *c)
{
    for (unsigned i = 0; i < c->argument % 32u; i++) {
        CHECK(syncmap_load(c->map, c->key, NULL) == reference_load(&c->side->reference, c->index, NULL));
    }
}

static void call_many(struct call *c)
{
    static const uint8_t counts[] = {1, 2, 3, 5, 8, 17, 40, BATCH_MAX};
    struct machine *m = c->m;
    size_t count = counts[c->argument / 4 % 8];
    syncmap_key keys[BATCH_MAX];
    void *rooms[BATCH_MAX], *values[BATCH_MAX];
    bool present[BATCH_MAX], all = true, told = c->argument / 32 % 2;
    uint64_t index[BATCH_MAX];
    for (size_t i = 0; i < count; i++) {
        index[i] = (c->index + i) % m->keys;
        keys[i] = key_of(m, index[i], &rooms[i]);
        index[i] = m->key[index[i]].same;
    }
    handed_begin(m->ownership);
    int result = syncmap_load_many(c->map, count, keys, c->wanted ? values : NULL, told ? present : NULL);
    for (size_t i = 0; i < count; i++) {
        void *expected;
        bool there = reference_load(&c->side->reference, index[i], &expected);
        all = all && there;
        CHECK(!told || present[i] == there);
        free(rooms[i]);
        if (!c->wanted) continue;
        CHECK(values[i] == expected);
        hold(m, values[i], index[i]);
        handed_done(m->ownership, values[i]);
    }
    CHECK(result == all);
    handed_end(m->ownership);
}

static size_t room_of(uint8_t argument)
{
    static const uint16_t keys[] = {0, 1, 7, 20, 50, 100, 300, 1000};
    return keys[argument / 4 % 8];
}

static void call_reserve(struct call *c)
{
    int result = syncmap_reserve(c->map, room_of(c->argument));
    if (!refused(c, result, true)) CHECK(result == 0);
}

/* ---- calls from callbacks ---- */

static void call(struct machine *m);

/* If the next call is a reserve, makes it. */
static void talk_of_room(struct machine *m)
{
    if (m->left < 3 || m->data[0] % OPERATIONS != RESERVE_AND_OTHERS || m->data[2] % 4 != 0) return;
    byte(m);
    bool second = byte(m) & 0x80;
    size_t room = room_of(byte(m));
    if (m->side[second].bed.map == NULL) return;
    m->talks = false;
    int result = syncmap_reserve(m->side[second].bed.map, room);
    CHECK(result == 0 || (result == SYNCMAP_ENOMEM && m->faults));
}

/* Memory that an operation needs is got before its first visible step, so a call from there is over before the operation is. (For
 * a call from `equal` that could be either way, so it makes none. Nor does one that flat makes a table by after a key came or went,
 * which the reference does not know of yet: but a reserve, which changes no key.) */
static void talk(struct machine *m)
{
    if (!m->talks || m->left == 0 || m->depth == DEPTH_MAX) return;
    for (int i = 0; i < MAPS; i++) {
        if (m->side[i].bed.map && syncmap_len(m->side[i].bed.map) != reference_len(&m->side[i].reference)) {
            talk_of_room(m);
            return;
        }
    }
    m->talks = false;
    m->depth++;
    call(m);
    m->depth--;
}

static void *alloc_that_talks(size_t size, void *context)
{
    talk(&machine);
    return counting_allocator(context).alloc(size, context);
}

static void *(*dup_of_options)(const void *key, void *context);

static void *dup_that_talks(const void *key, void *context)
{
    talk(&machine);
    return dup_of_options(key, context);
}

/* ---- calls on a map ---- */

struct walk {
    struct call *c;
    unsigned left; /* visits until it stops; 0: at none */
    uint64_t began, visits;
    bool nests, stopped;
    bool *seen;
    syncmap_key first;
};

static bool visit(syncmap_key key, void *value, void *context)
{
    struct walk *walk = context;
    struct machine *m = walk->c->m;
    struct side *side = walk->c->side;
    void *expected;
    uint64_t index = key_index(m, key);
    CHECK(index < m->keys && !walk->seen[index]);
    walk->seen[index] = true;
    if (walk->visits++ == 0) walk->first = key;
    CHECK(walk->seen[key_index(m, walk->first)]); /* the first key is still there to be read */
    if (side->changed[index] < walk->began) {
        CHECK(reference_load(&side->reference, index, &expected) == 1);
        CHECK(value == expected);
    }
    hold(m, value, index);
    if (walk->nests && m->left > 0) call(m);
    if (value) value_check(value, index);
    handed_done(m->ownership, value);
    if (walk->left != 0 && --walk->left == 0) walk->stopped = true;
    return !walk->stopped;
}

/* All that a walk saw, if it went through to the end. */
static void walk_check(const struct walk *walk)
{
    const struct machine *m = walk->c->m;
    struct side *side = walk->c->side;
    for (uint64_t i = 0; i < m->keys; i++) {
        if (m->key[i].same != i || side->changed[i] >= walk->began) continue;
        CHECK(walk->seen[i] == reference_load(&side->reference, i, NULL));
    }
}

static void call_range(struct call *c)
{
    struct machine *m = c->m;
    bool seen[KEYS_MAX] = {false};
    struct walk walk = {.c = c, .left = c->argument % 16u / 2u, .began = m->calls, .nests = c->argument / 16 % 2, .seen = seen};
    if (m->depth == DEPTH_MAX) walk.nests = false;
    m->depth++;
    int result = syncmap_range(c->map, visit, &walk);
    m->depth--;
    CHECK(result == !walk.stopped);
    if (result == 1) walk_check(&walk);
}

/* The next keys of this map's scan. (There are too few keys for other secrets: no error.) */
static void call_scan(struct call *c)
{
    struct machine *m = c->m;
    struct side *side = c->side;
    size_t count = c->argument / 4 % 8;
    if (side->scan.busy) return;
    if (!side->scan.begun) {
        memset(&side->scan, 0, sizeof side->scan);
        side->scan.begun = true;
        side->scan.began = m->calls;
    }
    struct walk walk = {.c = c, .began = side->scan.began, .nests = c->argument / 32 % 2 && m->depth < DEPTH_MAX,
                        .left = c->argument / 64 % 2 * (1 + (unsigned)count / 2), .seen = side->scan.seen};
    side->scan.busy = true;
    m->depth++;
    int result = syncmap_scan(c->map, &side->scan.cursor, count, visit, &walk);
    m->depth--;
    if (m->config->hash == TEST_HASH_GOOD) CHECK(walk.visits <= count + !count);
    if (result == 1) {
        CHECK(walk.stopped || walk.visits >= count + !count);
    } else {
        CHECK(result == 0);
        walk_check(&walk);
        CHECK(syncmap_scan(c->map, &side->scan.cursor, 1, NULL, NULL) == SYNCMAP_EINVAL);
        walk.visits = 0;
        CHECK(syncmap_scan(c->map, &side->scan.cursor, 1, visit, &walk) == 0 && walk.visits == 0);
        side->scan.begun = false;
    }
    side->scan.busy = false;
}

static void call_clear(struct call *c)
{
    int result = syncmap_clear(c->map);
    if (refused(c, result, true)) return;
    CHECK(result == reference_clear(&c->side->reference));
    for (uint64_t i = 0; i < c->m->keys; i++) c->side->changed[i] = c->m->calls;
}

/* All of a map, by load, load_many, range, scan and len. It changes the state of the engine, so an input asks for it. */
static void compare(struct machine *m, struct side *side)
{
    struct call c = {.m = m, .side = side, .wanted = true, .map = side->bed.map};
    for (uint64_t i = 0; i < m->keys; i++) {
        void *room;
        c.index = m->key[i].same;
        c.key = key_of(m, i, &room);
        call_load(&c);
        free(room);
    }
    c.argument = 5 * 4 + 32; /* more than there are keys, told whether they are there */
    call_many(&c);
    c.argument = 0;
    call_range(&c);
    do call_scan(&c);
    while (side->scan.begun && !side->scan.busy);
    CHECK(syncmap_len(c.map) == reference_len(&side->reference));
}

/* ---- calls on no map ---- */

static void release_and_look(void *object)
{
    if (machine.side[0].bed.map) (void)syncmap_len(machine.side[0].bed.map);
    syncmap_barrier(); /* would wait for itself: returns at once */
    value_release(object);
}

static void release_twice(void *object)
{
    CHECK(syncmap_retire(object, value_release) == 0);
}

static void call_retire(struct call *c)
{
    static void (*const releases[])(void *) = {value_release, release_and_look, release_twice};
    CHECK(syncmap_retire(value_make(c->index), releases[c->argument % 3]) == 0);
    CHECK(syncmap_retire(NULL, value_release) == 0);
}

static void call_pin(struct machine *m)
{
    if (m->depth > 0 || m->pins == PINS_MAX) { /* a visit leaves pins as it found them */
        syncmap_pin();
        syncmap_unpin();
        return;
    }
    syncmap_pin();
    m->pins++;
}

static void call_unpin(struct machine *m)
{
    if (m->depth > 0) return;
    held_check(m);
    syncmap_unpin(); /* ignored where there is no pin */
    if (m->pins > 0 && --m->pins == 0) m->held_count = 0;
}

/* Every call with a bad map or key is refused, and writes nothing. */
static void refuse_key(struct call *c, syncmap *map, syncmap_key bad)
{
    void *out = c, *value = c;
    CHECK(syncmap_load(map, bad, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_store(map, bad, value) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_or_store(map, bad, value, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_load_and_delete(map, bad, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_delete(map, bad) == SYNCMAP_EINVAL);
    CHECK(syncmap_swap(map, bad, value, &out) == SYNCMAP_EINVAL);
    CHECK(syncmap_compare_and_swap(map, bad, value, value) == SYNCMAP_EINVAL);
    CHECK(syncmap_compare_and_delete(map, bad, value) == SYNCMAP_EINVAL);
    syncmap_key keys[3] = {c->key, c->key, bad};
    void *values[3] = {c, c, c};
    bool present[3] = {true, true, true};
    CHECK(syncmap_load_many(map, 3, keys, values, present) == SYNCMAP_EINVAL);
    for (int i = 0; i < 3; i++) CHECK(values[i] == c && present[i]);
    CHECK(out == c);
}

static void call_invalid(struct call *c)
{
    enum syncmap_kind kind = c->m->config->kind;
    syncmap_options options = {.value_acquire = value_acquire};
    switch (c->argument % 4) {
    case 0:
        refuse_key(c, NULL, c->key);
        CHECK(syncmap_range(NULL, visit, c) == SYNCMAP_EINVAL);
        CHECK(syncmap_scan(NULL, &(syncmap_cursor){0}, 1, visit, c) == SYNCMAP_EINVAL);
        CHECK(syncmap_reserve(NULL, 1) == SYNCMAP_EINVAL);
        CHECK(syncmap_clear(NULL) == SYNCMAP_EINVAL);
        CHECK(syncmap_len(NULL) == 0);
        break;
    case 1:
        refuse_key(c, c->map, kind == SYNCMAP_BYTES ? syncmap_u64(c->argument) : syncmap_bytes("key", 3));
        break;
    case 2:
        if (kind == SYNCMAP_STRING) refuse_key(c, c->map, syncmap_str(NULL));
        if (kind == SYNCMAP_BYTES) refuse_key(c, c->map, syncmap_bytes(NULL, 1 + c->argument));
        break;
    default:
        CHECK(syncmap_range(c->map, NULL, c) == SYNCMAP_EINVAL);
        CHECK(syncmap_scan(c->map, NULL, 1, visit, c) == SYNCMAP_EINVAL);
        CHECK(syncmap_load_many(c->map, 1, NULL, NULL, NULL) == SYNCMAP_EINVAL);
        CHECK(syncmap_retire(c, NULL) == SYNCMAP_EINVAL);
        errno = 0;
        CHECK(syncmap_new((enum syncmap_kind)(SYNCMAP_CUSTOM + 1), NULL) == NULL && errno == EINVAL);
        errno = 0;
        CHECK(syncmap_new(kind, &options) == NULL && errno == EINVAL);
        options = (syncmap_options){.allocator.alloc = alloc_that_talks};
        CHECK(syncmap_new(kind, &options) == NULL && errno == EINVAL);
    }
}

/* ---- maps come and go ---- */

static void side_open(struct machine *m, struct side *side, bool fault)
{
    syncmap_options options = bed_options(m->config, m->ownership, m->malloced ? NULL : &side->bed.counting);
    if (m->equal) options.value_equal = values_alike;
    if (m->borrowed) options.key.dup = NULL, options.key.drop = NULL;
    options_dup_may_fail(&options, &side->bed.counting);
    if (!m->malloced) options.allocator.alloc = alloc_that_talks;
    if (options.key.dup) {
        dup_of_options = options.key.dup;
        options.key.dup = dup_that_talks;
    }
    options.capacity = m->capacity;
    options.seed = m->seed;
    errno = 0;
    side->bed.map = syncmap_new(m->config->kind, &options);
    CHECK(side->bed.map != NULL || (fault && errno == ENOMEM));
}

/* The second map: there or not. */
static void call_other(struct call *c)
{
    struct side *side = &c->m->side[1];
    if (c->m->depth > 0) return; /* a range may be running on it */
    if (side->bed.map == NULL) {
        side_open(c->m, side, c->fault);
        return;
    }
    syncmap_free(side->bed.map);
    side->bed.map = NULL;
    side->scan.begun = false;
    CHECK(reference_clear(&side->reference) == 0);
}

/* What the first map has for a key goes to the second one, too, with a reference of its own. */
static void call_share(struct call *c)
{
    struct machine *m = c->m;
    struct side *to = &m->side[1];
    void *value;
    if (to->bed.map == NULL || !reference_load(&m->side[0].reference, c->index, &value)) return;
    if (value && m->ownership != PLAIN) value_acquire(value, NULL);
    int result = syncmap_store(to->bed.map, c->key, value);
    if (result < 0) {
        CHECK(result == SYNCMAP_ENOMEM && c->fault);
        refused_done(m->ownership, value);
        return;
    }
    CHECK(result == reference_store(&to->reference, c->index, value));
    to->changed[c->index] = m->calls;
}

/* ---- an input ---- */

static void dispatch(struct call *c, uint8_t operation)
{
    struct machine *m = c->m;
    switch (operation % OPERATIONS) {
    case 0: call_load(c); break;
    case 1: call_store(c); break;
    case 2: call_load_or_store(c); break;
    case 3: call_taking(c, true); break;
    case 4: call_delete(c); break;
    case 5: call_taking(c, false); break;
    case 6: call_compare(c, false); break;
    case 7: call_compare(c, true); break;
    case 8: call_range(c); break;
    case 9: call_clear(c); break;
    case 10: call_misses(c); break;
    case 11: call_retire(c); break;
    case 12: call_pin(m); break;
    case 13: call_unpin(m); break;
    case 14: syncmap_barrier(); break;
    case 15: call_invalid(c); break;
    case 16: call_other(c); break;
    case 17: call_share(c); break;
    case 18: compare(m, c->side); break;
    case RESERVE_AND_OTHERS: /* these share a number, as the corpus was made when there was none for them */
        switch (c->argument % 4) {
        case 0: call_reserve(c); break;
        case 1: call_many(c); break;
        case 2: call_scan(c); break;
        default: call_store(c); break;
        }
        break;
    }
}

static void faults_set(struct machine *m, long long allocations)
{
    for (int i = 0; i < MAPS; i++) atomic_store(&m->side[i].bed.counting.fail_after, allocations);
}

/* Operation, key, argument. The top bit of the key says which map, if there are two, the next one that a callback makes the
 * call that follows in the input. The top bit of the argument says that the allocator fails, if this input has faults, and the
 * three bits below after how many allocations. */
static void call(struct machine *m)
{
    uint8_t operation = byte(m), key = byte(m), argument = byte(m);
    bool second = key & 0x80 && m->side[1].bed.map != NULL;
    uint64_t index = (key & 0x3f) % m->keys;
    struct call c = {.m = m, .side = &m->side[second], .index = m->key[index].same, .argument = argument,
                     .fault = m->faults && argument & 0x80, .wanted = (argument & 0x60) != 0x60};
    void *room;
    c.map = c.side->bed.map;
    c.key = key_of(m, index, &room);
    m->calls++;
    faults_set(m, c.fault ? argument >> 4 & 7 : -1); /* also for a call inside a range that had some */
    m->talks = key & 0x40;
    dispatch(&c, operation);
    m->talks = false;
    faults_set(m, -1);
    free(room);
    for (int i = 0; i < MAPS; i++) CHECK(syncmap_len(m->side[i].bed.map) == reference_len(&m->side[i].reference));
}

static void set_up(struct machine *m)
{
    static const enum ownership ownerships[] = {PLAIN, OWNED, ACQUIRED, OWNED};
    static const size_t capacities[] = {0, 1, 7, 100};
    m->config = &test_configs[byte(m) % test_config_count];
    uint8_t flags = byte(m);
    m->ownership = ownerships[flags & 3];
    m->equal = flags & 4;
    m->borrowed = flags & 8 && m->config->kind == SYNCMAP_CUSTOM;
    m->faults = flags & 16;
    m->malloced = flags & 32;
    m->capacity = capacities[flags >> 6];
    m->seed = 1 + byte(m);
    m->keys = 1 + byte(m) % KEYS_MAX;
    struct value *value = value_make(0);
    m->first_serial = value->serial;
    value_release(value);
    m->plain = malloc((2 * m->left + 2) * sizeof *m->plain);
    CHECK(m->plain != NULL);
    keys_make(m);
    for (int i = 0; i < MAPS; i++) {
        struct side *side = &m->side[i];
        side->bed.config = m->config;
        side->bed.ownership = m->ownership;
        counting_init(&side->bed.counting);
        reference_init(&side->reference, m->equal ? values_alike : NULL);
    }
    side_open(m, &m->side[0], false);
}

static void tear_down(struct machine *m)
{
    held_check(m);
    m->calls++;
    for (; m->pins > 0; m->pins--) syncmap_unpin();
    for (int i = 0; i < MAPS; i++) {
        if (m->side[i].bed.map) compare(m, &m->side[i]);
    }
    syncmap_barrier(); /* what was retired, and what its release functions retire, which look at a map */
    for (int i = 0; i < MAPS; i++) {
        syncmap_free(m->side[i].bed.map);
        m->side[i].bed.map = NULL;
    }
    syncmap_barrier();
    syncmap_barrier();
    for (size_t i = 0; i < m->plain_count; i++) value_release(m->plain[i]);
    free(m->plain);
    for (int i = 0; i < MAPS; i++) {
        finish_map(NULL, &m->side[i].bed.counting);
        reference_end(&m->side[i].reference);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) return 0;
    memset(&machine, 0, sizeof machine);
    machine.data = data;
    machine.left = size;
    set_up(&machine);
    while (machine.left > 0) call(&machine);
    tear_down(&machine);
    return 0;
}
