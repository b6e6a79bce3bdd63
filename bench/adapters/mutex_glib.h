/* SPDX-License-Identifier: MIT
 *
 * Adapter: GLib's GHashTable behind a pthread_mutex, with the attributes that it has by default.
 */
#ifndef ADAPTER_MUTEX_GLIB_H
#define ADAPTER_MUTEX_GLIB_H

#define MAP_NAME "mutex + GLib"
#define LOCK_TYPE pthread_mutex_t

static inline void lock_init(pthread_mutex_t *lock)
{
    pthread_mutex_init(lock, NULL);
}

static inline void lock_end(pthread_mutex_t *lock)
{
    pthread_mutex_destroy(lock);
}

BENCH_INLINE void lock_read(pthread_mutex_t *lock)
{
    pthread_mutex_lock(lock);
}

BENCH_INLINE void lock_write(pthread_mutex_t *lock)
{
    pthread_mutex_lock(lock);
}

BENCH_INLINE void unlock(pthread_mutex_t *lock)
{
    pthread_mutex_unlock(lock);
}

#include "glib.h"

#endif
