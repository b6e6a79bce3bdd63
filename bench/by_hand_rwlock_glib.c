/* SPDX-License-Identifier: MIT
 *
 * by_hand_rwlock_glib - a check that the runner is fair: the phases load_hit and update on GLib's GHashTable behind a
 * pthread_rwlock with one thread, written by hand against their APIs, without the runner and without its adapter. Same
 * keys, same streams, loops and clock of its own. What run_rwlock_glib says must be within 5 % of this.
 *
 *     by_hand_rwlock_glib --n N [--seconds S] [--seed R]
 */
#include "run_streams.h"

#include <getopt.h>
#include <glib.h>

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

/* Walks the stream in steps of 1024 keys for so many seconds; returns how many operations that were. */
static uint64_t run_for(double seconds, void (*step)(GHashTable *, const uint64_t *, size_t), GHashTable *table,
                        const uint64_t *stream, size_t count, size_t *at)
{
    uint64_t until = nanoseconds(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
    uint64_t done = 0;

    while (nanoseconds(CLOCK_MONOTONIC) < until) {
        size_t length = count - *at < 1024 ? count - *at : 1024;

        step(table, stream + *at, length);
        *at = *at + length == count ? 0 : *at + length;
        done += length;
    }
    return done;
}

static void measure(const char *workload, void (*step)(GHashTable *, const uint64_t *, size_t), GHashTable *table, size_t n,
                    double seconds, uint64_t seed)
{
    uint64_t *stream = stream_make(STREAM_HITS, n, seed, 0, NULL);
    size_t count = stream_count(STREAM_HITS, n);
    size_t at = 0;
    uint64_t sleeps, consumed, wall, done;
    double share;

    run_for(seconds / 4, step, table, stream, count, &at);
    sleeps = sleeps_so_far();
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    wall = nanoseconds(CLOCK_MONOTONIC);
    done = run_for(seconds, step, table, stream, count, &at);
    wall = nanoseconds(CLOCK_MONOTONIC) - wall;
    consumed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - consumed;
    share = (double)consumed / (double)wall;
    printf("{\"workload\":\"%s\",\"n\":%zu,\"threads\":1,\"unit\":\"Mops/s\",\"value\":%.9g,\"share\":%.4f,"
           "\"process_share\":%.4f,\"sleeps\":%llu,\"ops\":%llu}\n",
           workload, n, (double)done / (double)wall * 1e3, share, share,
           (unsigned long long)(sleeps_so_far() - sleeps), (unsigned long long)done);
    free(stream);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"n", 1, NULL, 'n'}, {"seconds", 1, NULL, 's'}, {"seed", 1, NULL, 'r'}, {NULL, 0, NULL, 0}};
    cpu_set_t allowed = allowed_processors();
    size_t n = 0;
    double seconds = 1;
    uint64_t seed = 1;
    GHashTable *table;
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        n = name == 'n' ? strtoull(optarg, NULL, 10) : n;
        seconds = name == 's' ? strtod(optarg, NULL) : seconds;
        seed = name == 'r' ? strtoull(optarg, NULL, 10) : seed;
    }
    if (n == 0 || n > 1000000000 || !(seconds > 0 && seconds <= 3600)) {
        fprintf(stderr, "usage: %s --n N [--seconds S] [--seed R]\n", program_invocation_short_name);
        return 2;
    }
    pin_to(0, &allowed);
    printf("{\"map\":\"by hand: rwlock + GLib\",\"version\":\"GLib %u.%u.%u\",\"language\":\"C\",\"keys\":\"u64\"}\n",
           glib_major_version, glib_minor_version, glib_micro_version);
    table = make_full(n);
    measure("load_hit", loads, table, n, seconds, seed);
    measure("update", updates, table, n, seconds, seed);
    g_hash_table_destroy(table);
    return EXIT_SUCCESS;
}
