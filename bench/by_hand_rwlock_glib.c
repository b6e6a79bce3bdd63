/* SPDX-License-Identifier: MIT
 *
 * by_hand_rwlock_glib - a check that the runner is fair: the phases load_hit and update on GLib's GHashTable behind a
 * pthread_rwlock with one thread, written by hand against their APIs, without the runner and without its adapter. What
 * run_rwlock_glib says must be within 5 % of this.
 */
#include <glib.h>
#include <pthread.h>

typedef GHashTable hand_map;
#include "by_hand.h"

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

/* Of a key that is the pointer itself. */
static guint hash(gconstpointer key)
{
    return (guint)((uintptr_t)key ^ (uintptr_t)key >> 32);
}

static GHashTable *make_full(size_t n)
{
    GHashTable *table = g_hash_table_new(hash, NULL);

    for (size_t i = 0; i < n; i++) {
        if (!g_hash_table_insert(table, (gpointer)splitmix64(i), (gpointer)value_of_number(i))) {
            die("insert");
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (g_hash_table_lookup(table, (gpointer)splitmix64(i)) != (gpointer)value_of_number(i)) {
            die("lookup");
        }
    }
    return table;
}

static void loads(GHashTable *table, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        gpointer value;

        pthread_rwlock_rdlock(&lock);
        value = g_hash_table_lookup(table, (gpointer)keys[i]);
        pthread_rwlock_unlock(&lock);
        if (value != (gpointer)(keys[i] | 1)) {
            die("wrong answer of a lookup");
        }
    }
}

static void updates(GHashTable *table, const uint64_t *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        gboolean added;

        pthread_rwlock_wrlock(&lock);
        added = g_hash_table_insert(table, (gpointer)keys[i], (gpointer)(keys[i] | 1));
        pthread_rwlock_unlock(&lock);
        if (added) {
            die("wrong answer of an insertion");
        }
    }
}

static void destroy(hand_map *table)
{
    g_hash_table_destroy(table);
}

static void head(void)
{
    printf("{\"map\":\"by hand: rwlock + GLib\",\"version\":\"GLib %u.%u.%u\",\"language\":\"C\",\"keys\":\"u64\"}\n",
           glib_major_version, glib_minor_version, glib_micro_version);
}
