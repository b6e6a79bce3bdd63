/* SPDX-License-Identifier: MIT
 *
 * Kinds of keys; see key.h.
 */
#include "atomic.h"
#include "key.h"

/* For when the system has no random numbers to give (early at boot, in a strict sandbox): hard to guess, no more. */
static uint64_t key_weak_seed(const void *address)
{
    static _Atomic uint64_t calls;
    const uint64_t constants[2] = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu};
    uint64_t seed = hash_u64(platform_clock(), constants) ^ (uintptr_t)address;
    return hash_u64(seed + add_relaxed(&calls, 1), constants); /* relaxed: only that they differ matters */
}

static bool key_functions_fit(enum syncmap_kind kind, const syncmap_key_functions *f)
{
    if (kind == SYNCMAP_CUSTOM)
        return f->hash != NULL && f->equal != NULL && (f->drop == NULL || f->dup != NULL);
    return f->hash == NULL && f->equal == NULL && f->dup == NULL && f->drop == NULL;
}

static void key_type_init(struct key_type *type, enum syncmap_kind kind, const syncmap_options *options)
{
    type->kind = kind;
    type->custom = options->key;
    type->context = options->context;
    type->given = options->seed;
    if (options->seed != 0)
        hash_secret(type->secret, options->seed);
    else if (!platform_random(type->secret, sizeof type->secret))
        hash_secret(type->secret, key_weak_seed(type));
    memcpy(type->seed, type->secret, sizeof type->seed);
}

static void key_type_reseed(struct key_type *type, const struct key_type *from)
{
    *type = *from;
    type->number = from->number + 1;
    if (from->given != 0) /* the same for the same options */
        hash_secret(type->secret, hash_u64(from->given + type->number, from->seed));
    else if (!platform_random(type->secret, sizeof type->secret))
        hash_secret(type->secret, key_weak_seed(type));
    memcpy(type->seed, type->secret, sizeof type->seed);
}

static bool key_copy(const struct key_type *type, syncmap_key key, void *room, syncmap_key *copy)
{
    *copy = key;
    switch (type->kind) {
    case SYNCMAP_STRING:
    case SYNCMAP_BYTES:
        if (syncmap_key_len(key) > 0)
            memcpy(room, key.as.ptr, syncmap_key_len(key));
        if (type->kind == SYNCMAP_STRING)
            ((char *)room)[syncmap_key_len(key)] = '\0';
        copy->as.ptr = room;
        return true;
    case SYNCMAP_CUSTOM:
        if (type->custom.dup == NULL)
            return true;
        copy->as.ptr = type->custom.dup(key.as.ptr, type->context);
        return copy->as.ptr != NULL;
    case SYNCMAP_U64:
    default:
        return true;
    }
}
