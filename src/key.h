/* SPDX-License-Identifier: MIT
 *
 * Kinds of keys: which key arguments are good, how they are hashed, compared, copied and let go.
 */
#ifndef SYNCMAP_KEY_H
#define SYNCMAP_KEY_H

#include "../include/syncmap.h"
#include "hash.h"
#include "memory.h"

/* How one map handles its keys. Never changes after key_type_init(), or key_type_reseed(). */
struct key_type {
    enum syncmap_kind kind;
    unsigned number; /* of the secrets, which a map may change: 0, 1, 2 ... */
    uint64_t given;  /* options.seed */
    uint64_t seed[2]; /* of hash_u64; [0] is what a custom hash gets */
    void *context;    /* of the custom functions */
    syncmap_key_functions custom;
    unsigned char secret[HASH_SECRET_SIZE]; /* of hash_bytes */
};

/* Whether a kind and key functions go together. */
static bool key_functions_fit(enum syncmap_kind kind, const syncmap_key_functions *f);
static void key_type_init(struct key_type *type, enum syncmap_kind kind, const syncmap_options *options);
/* The same type with other secrets. */
static void key_type_reseed(struct key_type *type, const struct key_type *from);

/* Whether `key` is one that a map of this type can have. (Integers first, here and below: they are what is in a hurry.) */
static inline bool key_is_valid(const struct key_type *type, syncmap_key key)
{
    if (likely(type->kind == SYNCMAP_U64))
        return key.len == SYNCMAP_KEY_TAG(SYNCMAP_U64);
    if (key.len >> SYNCMAP_KEY_LEN_BITS != SYNCMAP_KEY_TAG(type->kind) >> SYNCMAP_KEY_LEN_BITS)
        return false;
    switch (type->kind) {
    case SYNCMAP_STRING:
        return key.as.ptr != NULL;
    case SYNCMAP_BYTES:
        return key.as.ptr != NULL || key.len == 0;
    case SYNCMAP_U64:
    case SYNCMAP_CUSTOM:
    default:
        return true;
    }
}

/* Whether `key` is a valid one, other than "no bytes at NULL", for a type that is one of strings or bytes. */
static inline bool key_is_text(const struct key_type *type, syncmap_key key)
{
    return key.as.ptr != NULL && (key.len ^ SYNCMAP_KEY_TAG(type->kind)) >> SYNCMAP_KEY_LEN_BITS == 0;
}

/* Runs user code for custom keys. */
static inline uint64_t key_hash(const struct key_type *type, syncmap_key key)
{
    if (likely(type->kind == SYNCMAP_U64))
        return hash_u64(key.as.u64, type->seed);
    switch (type->kind) {
    case SYNCMAP_STRING:
    case SYNCMAP_BYTES:
        return hash_bytes(key.as.ptr, syncmap_key_len(key), type->secret);
    case SYNCMAP_U64:
    case SYNCMAP_CUSTOM:
    default:
        return hash_u64(type->custom.hash(key.as.ptr, type->seed[0], type->context), type->seed);
    }
}

/* Whether two valid keys with the same whole hash are equal. Runs user code for custom keys. */
static inline bool key_is_equal(const struct key_type *type, syncmap_key stored, syncmap_key key)
{
    if (likely(type->kind == SYNCMAP_U64))
        return true; /* H1 of hash.h */
    switch (type->kind) {
    case SYNCMAP_STRING:
    case SYNCMAP_BYTES:
        return stored.len == key.len &&
               (syncmap_key_len(key) == 0 || memcmp(stored.as.ptr, key.as.ptr, syncmap_key_len(key)) == 0);
    case SYNCMAP_U64:
    case SYNCMAP_CUSTOM:
    default:
        return type->custom.equal(stored.as.ptr, key.as.ptr, type->context);
    }
}

/* The bytes that the map's copy of a key needs behind what holds it: the contents of a string or bytes. */
static inline size_t key_copy_size(const struct key_type *type, syncmap_key key)
{
    switch (type->kind) {
    case SYNCMAP_STRING:
        return syncmap_key_len(key) + 1;
    case SYNCMAP_BYTES:
        return syncmap_key_len(key);
    case SYNCMAP_U64:
    case SYNCMAP_CUSTOM:
    default:
        return 0;
    }
}

/* The map's copy of a key in *copy, its contents at `room` (key_copy_size bytes). False: memory is out. Runs user code
 * for custom keys. */
static bool key_copy(const struct key_type *type, syncmap_key key, void *room, syncmap_key *copy);

/* The end of a copy. Runs user code for custom keys. */
static inline void key_drop(const struct key_type *type, syncmap_key copy)
{
    if (type->kind == SYNCMAP_CUSTOM && type->custom.drop != NULL)
        type->custom.drop((void *)(uintptr_t)copy.as.ptr, type->context);
}

#endif
