/* SPDX-License-Identifier: MIT
 *
 * Adapter: GLib's GHashTable behind a pthread_rwlock, with the attributes that it has by default.
 */
#ifndef ADAPTER_RWLOCK_GLIB_H
#define ADAPTER_RWLOCK_GLIB_H

#define MAP_NAME "rwlock + GLib"
#define LOCK_TYPE pthread_rwlock_t

static inline void lock_init(pthread_rwlock_t *lock)
{
    if (pthread_rwlock_init(lock, NULL) != 0) {
        die("pthread_rwlock_init failed");
    }
}

static inline void lock_end(pthread_rwlock_t *lock)
{
    pthread_rwlock_destroy(lock);
}

BENCH_INLINE void lock_read(pthread_rwlock_t *lock)
{
    if (BENCH_UNLIKELY(pthread_rwlock_rdlock(lock) != 0)) {
        die("pthread_rwlock_rdlock failed"); /* it can: so many readers are too many */
    }
}

BENCH_INLINE void lock_write(pthread_rwlock_t *lock)
{
    pthread_rwlock_wrlock(lock);
}

BENCH_INLINE void unlock(pthread_rwlock_t *lock)
{
    pthread_rwlock_unlock(lock);
}

#include "glib.h"

#endif
