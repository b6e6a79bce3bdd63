/* SPDX-License-Identifier: MIT
 *
 * Adapter: GLib's GHashTable with no lock at all, for one thread: a limit to hold the others against, not a peer.
 */
#ifndef ADAPTER_GLIB_ALONE_H
#define ADAPTER_GLIB_ALONE_H

#define MAP_NAME "GLib, no lock"
#define MAP_THREADS_MOST 1
#define LOCK_TYPE char

BENCH_INLINE void lock_init(char *lock)
{
    (void)lock;
}

BENCH_INLINE void lock_end(char *lock)
{
    (void)lock;
}

BENCH_INLINE void lock_read(char *lock)
{
    (void)lock;
}

BENCH_INLINE void lock_write(char *lock)
{
    (void)lock;
}

BENCH_INLINE void unlock(char *lock)
{
    (void)lock;
}

#include "glib.h"

#endif
