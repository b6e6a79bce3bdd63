/* SPDX-License-Identifier: MIT
 *
 * liburcu's cds_lfht: the body of the adapters lfht_memb.h and lfht_qsbr.h, which include a flavour of RCU under the short
 * names (URCU_API_MAP) and define LFHT_QSBR before they include this.
 *
 * A node holds key and value. A load is a lookup in a read section. A store to a present key writes the value in place,
 * which is one word: beside a delete of the same key it counts as before it. Because of that, an operation that
 * deletes or reports a value only if nobody changes it meanwhile cannot be atomic here, so there is none of those.
 * Deleted nodes are freed by call_rcu(). The table grows and shrinks by itself, from one bucket.
 *
 * Its helper threads (one that resizes, one that runs call_rcu's callbacks) inherit the processors of the thread that
 * starts them: they are started in map_create(), by a thread that is not pinned. A third is ours: liburcu 0.13 can lose a
 * request for a resize (its flag resize_initiated stays set), and the table then stays small for ever. So keys are counted,
 * 64 at a time, and a thread asks for a larger table by cds_lfht_resize() where it should have come by itself. With QSBR
 * whoever resizes has to be offline but while it changes the table, or the two wait for each other: one for the table's mutex,
 * online; the other for a grace period, with the mutex. So the table there gets a flavour of RCU whose read sections, which the
 * table's own code makes nowhere but where it changes buckets, bring a thread online.
 */
#ifndef ADAPTER_LFHT_H
#define ADAPTER_LFHT_H

#include <pthread.h>
#include <time.h>
#include <urcu/flavor.h>
#include <urcu/rculfhash.h>

#define MAP_VERSION "liburcu " URCU_VERSION_STRING
#define MAP_LANGUAGE "C"
#define MAP_HAS_RANGE 1
#define MAP_GO_ABSENT "values are stored in place, beside which it cannot be atomic"

/* A careful user needs no more than release. __ATOMIC_SEQ_CST is what syncmap gives: of two threads that each store to one key and then
 * load the other's, one sees the other's. */
#ifndef LFHT_STORE_ORDER
#define LFHT_STORE_ORDER __ATOMIC_RELEASE
#endif

typedef struct cds_lfht map_type;

struct adapter_node {
    struct cds_lfht_node node;
    struct rcu_head head;
    uint64_t value;
#ifdef KEYS_STRING
    size_t length;
    char text[];
#else
    uint64_t key;
#endif
};

#ifdef KEYS_STRING

static inline bench_key adapter_key(const struct adapter_node *node)
{
    bench_key key;

    key.bytes = node->text;
    key.len = node->length;
    return key;
}

static inline struct adapter_node *adapter_new_node(bench_key key, uint64_t value)
{
    struct adapter_node *node = (struct adapter_node *)malloc(sizeof *node + key.len);

    if (!node) {
        die("out of memory");
    }
    cds_lfht_node_init(&node->node);
    node->value = value;
    node->length = key.len;
    memcpy(node->text, key.bytes, key.len);
    return node;
}

#else

static inline bench_key adapter_key(const struct adapter_node *node)
{
    return node->key;
}

static inline struct adapter_node *adapter_new_node(bench_key key, uint64_t value)
{
    struct adapter_node *node = (struct adapter_node *)malloc(sizeof *node);

    if (!node) {
        die("out of memory");
    }
    cds_lfht_node_init(&node->node);
    node->value = value;
    node->key = key;
    return node;
}

#endif

BENCH_INLINE struct adapter_node *adapter_of(struct cds_lfht_node *node)
{
    return caa_container_of(node, struct adapter_node, node);
}

static inline int adapter_match(struct cds_lfht_node *node, const void *key)
{
    return bench_equal(adapter_key(adapter_of(node)), *(const bench_key *)key);
}

static inline void adapter_free(struct rcu_head *head)
{
    free(caa_container_of(head, struct adapter_node, head));
}

/* ---- the flavour of RCU that the table's own threads use ------------------------------------------- */

#if LFHT_QSBR

static inline void adapter_register_offline(void)
{
    rcu_register_thread();
    rcu_thread_offline();
}

/* First called by the thread that makes the first map. */
static inline const struct rcu_flavor_struct *adapter_flavor(void)
{
    static struct rcu_flavor_struct flavor;

    if (!flavor.register_thread) {
        flavor = rcu_flavor;
        flavor.read_lock = rcu_thread_online;
        flavor.read_unlock = rcu_thread_offline;
        flavor.register_thread = adapter_register_offline;
    }
    return &flavor;
}

#else

static inline const struct rcu_flavor_struct *adapter_flavor(void)
{
    return &rcu_flavor;
}

#endif

/* ---- the watcher ---------------------------------------------------------------------------------- */

enum { ADAPTER_BATCH = 64, ADAPTER_KEYS_PER_BUCKET = 4 };

/* Of the one map in the process that has more than a few keys. */
static struct {
    map_type *map;
    pthread_t thread;
    cpu_set_t processors; /* of who made the map */
    long keys;            /* but for what each thread has not yet told */
    int started;
    int stop;
} adapter_watcher;

static __thread long adapter_untold;

/* It is never online outside of the table's own read sections. It looks every 5 ms only: the table's own resizing is nearly always before it. */
static inline void *adapter_watch(void *context)
{
    const struct timespec pause = {0, 5000000};
    map_type *map = (map_type *)context;
    long size = ADAPTER_BATCH;

    adapter_flavor()->register_thread();
    while (!__atomic_load_n(&adapter_watcher.stop, __ATOMIC_ACQUIRE)) {
        long keys = __atomic_load_n(&adapter_watcher.keys, __ATOMIC_RELAXED);

        if (keys > size * ADAPTER_KEYS_PER_BUCKET) {
            while (size < keys) {
                size *= 2;
            }
            cds_lfht_resize(map, (unsigned long)size);
        }
        nanosleep(&pause, NULL);
    }
    adapter_flavor()->unregister_thread();
    return NULL;
}

static inline void adapter_watcher_start(map_type *map)
{
    pthread_attr_t attributes;

    if (__atomic_exchange_n(&adapter_watcher.started, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    adapter_watcher.map = map;
    if (pthread_attr_init(&attributes) != 0
        || pthread_attr_setaffinity_np(&attributes, sizeof adapter_watcher.processors, &adapter_watcher.processors) != 0
        || pthread_create(&adapter_watcher.thread, &attributes, adapter_watch, map) != 0) {
        die("the watcher of cds_lfht cannot be started");
    }
    pthread_attr_destroy(&attributes);
}

/* No operation runs. */
static inline void adapter_watcher_stop(map_type *map)
{
    if (adapter_watcher.map == map) {
        __atomic_store_n(&adapter_watcher.stop, 1, __ATOMIC_RELEASE);
        pthread_join(adapter_watcher.thread, NULL);
        memset(&adapter_watcher, 0, sizeof adapter_watcher);
    }
}

BENCH_INLINE void adapter_count(map_type *map, long keys)
{
    adapter_untold += keys;
    if (BENCH_UNLIKELY(adapter_untold >= ADAPTER_BATCH || adapter_untold <= -ADAPTER_BATCH)) {
        __atomic_fetch_add(&adapter_watcher.keys, adapter_untold, __ATOMIC_RELAXED);
        adapter_untold = 0;
        adapter_watcher_start(map);
    }
}

/* ---- life ----------------------------------------------------------------------------------------- */

static inline map_type *map_create(void)
{
    map_type *map = cds_lfht_new_flavor(1, 1, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING, adapter_flavor(), NULL);

    if (!map || !get_default_call_rcu_data()) {
        die("cds_lfht_new failed");
    }
    if (sched_getaffinity(0, sizeof adapter_watcher.processors, &adapter_watcher.processors) != 0) {
        die("sched_getaffinity failed");
    }
    return map;
}

static inline void map_thread_enter(map_type *map)
{
    (void)map;
    rcu_register_thread();
}

static inline void map_thread_leave(map_type *map)
{
    (void)map;
    rcu_unregister_thread();
}

/* A registered thread that waits must not hold up those that wait for grace periods, the one that resizes among them. */
static inline void map_idle(map_type *map)
{
    (void)map;
#if LFHT_QSBR
    rcu_thread_offline();
#endif
}

static inline void map_busy(map_type *map)
{
    (void)map;
#if LFHT_QSBR
    rcu_thread_online();
#endif
}

BENCH_INLINE void map_tick(map_type *map)
{
    (void)map;
#if LFHT_QSBR
    rcu_quiescent_state();
#endif
}

static inline void map_quiesce(map_type *map)
{
    (void)map;
    rcu_barrier();
}

static inline void map_destroy(map_type *map)
{
    struct cds_lfht_iter at;
    struct adapter_node *node;
    int deleted = 0;

    map_idle(map);
    adapter_watcher_stop(map);
    map_busy(map);
    rcu_read_lock();
    cds_lfht_for_each_entry(map, &at, node, node) {
        if (cds_lfht_del(map, &node->node) == 0) {
            call_rcu(&node->head, adapter_free);
            deleted = 1;
        }
    }
    rcu_read_unlock();
    if (deleted) {
        rcu_barrier();
    }
    map_idle(map);
    if (cds_lfht_destroy(map, NULL) != 0) {
        die("cds_lfht_destroy failed");
    }
    map_thread_leave(map);
}

/* ---- operations ----------------------------------------------------------------------------------- */

BENCH_INLINE struct adapter_node *adapter_find(map_type *map, bench_key key)
{
    struct cds_lfht_iter at;
    struct cds_lfht_node *node;

    cds_lfht_lookup(map, bench_hash(key), adapter_match, &key, &at);
    node = cds_lfht_iter_get_node(&at);
    return node ? adapter_of(node) : NULL;
}

BENCH_INLINE int map_load(map_type *map, bench_key key, uint64_t *value)
{
    struct adapter_node *node;

    rcu_read_lock();
    node = adapter_find(map, key);
    *value = node ? __atomic_load_n(&node->value, __ATOMIC_ACQUIRE) : 0;
    rcu_read_unlock();
    return node != NULL;
}

/* In a read section. NULL if the key was absent and is now present with `value`, else the node that is there. */
static inline struct adapter_node *adapter_add(map_type *map, bench_key key, uint64_t value)
{
    struct adapter_node *made = adapter_new_node(key, value);
    struct cds_lfht_node *there = cds_lfht_add_unique(map, bench_hash(key), adapter_match, &key, &made->node);

    if (there == &made->node) {
        adapter_count(map, 1);
        return NULL;
    }
    free(made);
    return adapter_of(there);
}

BENCH_INLINE int map_store(map_type *map, bench_key key, uint64_t value)
{
    struct adapter_node *node;

    rcu_read_lock();
    node = adapter_find(map, key);
    if (!node) {
        node = adapter_add(map, key, value);
    }
    if (node) {
        __atomic_store_n(&node->value, value, LFHT_STORE_ORDER);
    }
    rcu_read_unlock();
    return node != NULL;
}

BENCH_INLINE int map_load_or_store(map_type *map, bench_key key, uint64_t value, uint64_t *actual)
{
    struct adapter_node *node;

    rcu_read_lock();
    node = adapter_add(map, key, value);
    *actual = node ? __atomic_load_n(&node->value, __ATOMIC_ACQUIRE) : value;
    rcu_read_unlock();
    return node != NULL;
}

BENCH_INLINE int map_delete(map_type *map, bench_key key)
{
    struct adapter_node *node;
    int deleted;

    rcu_read_lock();
    node = adapter_find(map, key);
    deleted = node && cds_lfht_del(map, &node->node) == 0;
    if (deleted) {
        adapter_count(map, -1);
        call_rcu(&node->head, adapter_free);
    }
    rcu_read_unlock();
    return deleted;
}

static inline void map_range(map_type *map, int (*visit)(bench_key, uint64_t, void *), void *context)
{
    struct cds_lfht_iter at;
    struct adapter_node *node;

    rcu_read_lock();
    cds_lfht_for_each_entry(map, &at, node, node) {
        if (!visit(adapter_key(node), __atomic_load_n(&node->value, __ATOMIC_ACQUIRE), context)) {
            break;
        }
    }
    rcu_read_unlock();
}

#endif
