/* SPDX-License-Identifier: MIT
 *
 * The phases of the second set: the workloads of Go's own benchmarks of sync.Map, by their names.
 *
 * Keys and values are small integers, as there: Longs here, since a thread counts from a multiple of 2^32. What must
 * come out is checked, where other threads cannot make it come out otherwise. In terms of ConcurrentHashMap: LoadOrStore is
 * putIfAbsent, LoadAndDelete is remove(key), Swap is put, CompareAndSwap is replace(key, expected, desired),
 * CompareAndDelete is remove(key, expected).
 */
import java.util.Iterator;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/** One thread in such a workload. */
final class GoThread {
    final ConcurrentHashMap<Long, Long> map;
    long i; // counts the turns, from another start in each thread
    long stores, since; // of AdversarialAlloc
    private int visited; // of Range

    GoThread(ConcurrentHashMap<Long, Long> map, long i) {
        this.map = map;
        this.i = i;
    }

    private static void check(boolean right, String what, long key, Long got) {
        if (!right) {
            Run.fail(what + " " + key + ": " + got);
        }
    }

    private static boolean is(Long value, long expected) {
        return value != null && value == expected;
    }

    void loadModulo(int turns, int hits) {
        for (long end = i + turns; i < end; i++) {
            long j = i % GoSet.MODULUS;
            Long value = map.get(j);
            check(j < hits ? is(value, j) : value == null, "a load of", j, value);
        }
    }

    void loadOrStoreBalanced(int turns) {
        final int hits = 128, misses = 128;
        for (long end = i + turns; i < end; i++) {
            long j = i % (hits + misses);
            if (j < hits) {
                Long actual = map.putIfAbsent(j, i);
                check(is(actual, j), "a load_or_store of", j, actual);
            } else {
                Long actual = map.putIfAbsent(i, i);
                check(actual == null, "a load_or_store of the fresh key", i, actual);
            }
        }
    }

    void loadOrStoreUnique(int turns) {
        for (long end = i + turns; i < end; i++) {
            Long actual = map.putIfAbsent(i, i);
            check(actual == null, "a load_or_store of the fresh key", i, actual);
        }
    }

    void loadOrStoreCollision(int turns) {
        for (long end = i + turns; i < end; i++) {
            Long actual = map.putIfAbsent(0L, 0L);
            check(is(actual, 0), "a load_or_store of", 0, actual);
        }
    }

    void loadAndDeleteBalanced(int turns) {
        final int hits = 128, misses = 128;
        for (long end = i + turns; i < end; i++) {
            long j = i % (hits + misses);
            if (j < hits) {
                Long value = map.remove(j);
                check(value == null || value == j, "a delete of", j, value);
            } else {
                Long value = map.remove(i);
                check(value == null, "a delete of the absent key", i, value);
            }
        }
    }

    void loadAndDeleteUnique(int turns) {
        for (long end = i + turns; i < end; i++) {
            Long value = map.remove(i);
            check(value == null, "a delete of the absent key", i, value);
        }
    }

    void loadAndDeleteCollision(int turns) {
        for (long end = i + turns; i < end; i++) {
            Long value = map.remove(0L);
            if (value != null) {
                check(value == 0, "a delete of", 0, value);
                map.put(0L, 0L);
            }
        }
    }

    void range(int turns) {
        for (long end = i + turns; i < end; i++) {
            visited = 0;
            map.forEach((key, value) -> visited++);
            if (visited != GoSet.RANGE) {
                Run.fail("a walk met " + visited + " entries");
            }
        }
    }

    /** Stores a key whenever as many absent ones have been loaded as there are stores. */
    void adversarialAlloc(int turns) {
        for (long end = i + turns; i < end; i++) {
            Long value = map.get(i);
            check(value == null, "a load of the absent key", i, value);
            if (++since > stores) {
                Long actual = map.putIfAbsent(i, stores);
                check(actual == null, "a load_or_store of the fresh key", i, actual);
                since = 0;
                stores++;
            }
        }
    }

    /** Loads, and now and then deletes one key of many and stores another. */
    void adversarialDelete(int turns) {
        for (long end = i + turns; i < end; i++) {
            Long value = map.get(i);
            check(value == null || value == i, "a load of", i, value);
            if (i % GoSet.RANGE == 0) {
                Iterator<Long> keys = map.keySet().iterator();
                if (keys.hasNext()) {
                    map.remove(keys.next());
                }
                map.put(i, i);
            }
        }
    }

    void deleteCollision(int turns) {
        for (long end = i + turns; i < end; i++) {
            map.remove(0L);
        }
    }

    void swapCollision(int turns) {
        for (long end = i + turns; i < end; i++) {
            Long previous = map.put(0L, 0L);
            check(is(previous, 0), "a swap of", 0, previous);
        }
    }

    void swapModulo(int turns, int hits) {
        for (long end = i + turns; i < end; i++) {
            long j = i % GoSet.MODULUS;
            if (j < hits) {
                Long previous = map.put(j, j);
                check(is(previous, j), "a swap of", j, previous);
            } else {
                Long previous = map.put(i, i);
                check(previous == null, "a swap of the absent key", i, previous);
                map.remove(i);
            }
        }
    }

    void compareAndSwapCollision(int turns) {
        for (long end = i + turns; i < end; i++) {
            if (map.replace(0L, 0L, 42L)) {
                check(map.replace(0L, 42L, 0L), "only this thread may replace the value of", 0, null);
            }
        }
    }

    void compareAndSwapNoExistingKey(int turns) {
        for (long end = i + turns; i < end; i++) {
            check(!map.replace(i, 0L, 0L), "a compare_and_swap of the absent key", i, 0L);
        }
    }

    void compareAndSwapValueNotEqual(int turns) {
        for (long end = i + turns; i < end; i++) {
            check(!map.replace(0L, 1L, 2L), "a compare_and_swap with another value of", 0, 1L);
        }
    }

    /** The key of a turn: below hits one of those, else one that is absent. */
    private static long keyOfTurn(long i, int hits) {
        return i % GoSet.MODULUS < hits ? i % GoSet.MODULUS : i;
    }

    /** A value is replaced by itself, which never fails where the key is there: it never has another value. */
    void compareAndSwapModulo(int turns, int hits) {
        for (long end = i + turns; i < end; i++) {
            long key = keyOfTurn(i, hits);
            check(map.replace(key, key, key) == i % GoSet.MODULUS < hits, "a compare_and_swap of", key, null);
        }
    }

    void compareAndDeleteCollision(int turns) {
        for (long end = i + turns; i < end; i++) {
            if (map.remove(0L, 0L)) {
                map.put(0L, 0L);
            }
        }
    }

    void compareAndDeleteModulo(int turns, int hits) {
        for (long end = i + turns; i < end; i++) {
            long key = keyOfTurn(i, hits);
            if (map.remove(key, key)) {
                check(i % GoSet.MODULUS < hits, "a compare_and_delete of the absent key", key, key);
                map.put(key, key);
            }
        }
    }

    void clearAndStore(int turns) {
        for (long end = i + turns; i < end; i++) {
            long key = i % 256;
            map.clear();
            map.put(key, key);
        }
    }
}

enum GoSet {
    LOAD_MOSTLY_HITS("LoadMostlyHits", primed(1023), (t, turns) -> t.loadModulo(turns, 1023)),
    LOAD_MOSTLY_MISSES("LoadMostlyMisses", primed(1), (t, turns) -> t.loadModulo(turns, 1)),
    LOAD_OR_STORE_BALANCED("LoadOrStoreBalanced", primed(128), GoThread::loadOrStoreBalanced),
    LOAD_OR_STORE_UNIQUE("LoadOrStoreUnique", map -> { }, GoThread::loadOrStoreUnique),
    LOAD_OR_STORE_COLLISION("LoadOrStoreCollision", primed(1), GoThread::loadOrStoreCollision),
    LOAD_AND_DELETE_BALANCED("LoadAndDeleteBalanced", primed(128), GoThread::loadAndDeleteBalanced),
    LOAD_AND_DELETE_UNIQUE("LoadAndDeleteUnique", map -> { }, GoThread::loadAndDeleteUnique),
    LOAD_AND_DELETE_COLLISION("LoadAndDeleteCollision", primed(1), GoThread::loadAndDeleteCollision),
    RANGE_ALL("Range", stored(), GoThread::range),
    ADVERSARIAL_ALLOC("AdversarialAlloc", map -> { }, GoThread::adversarialAlloc),
    ADVERSARIAL_DELETE("AdversarialDelete", stored(), GoThread::adversarialDelete),
    DELETE_COLLISION("DeleteCollision", primed(1), GoThread::deleteCollision),
    SWAP_COLLISION("SwapCollision", primed(1), GoThread::swapCollision),
    SWAP_MOSTLY_HITS("SwapMostlyHits", primed(1023), (t, turns) -> t.swapModulo(turns, 1023)),
    SWAP_MOSTLY_MISSES("SwapMostlyMisses", primed(1), (t, turns) -> t.swapModulo(turns, 1)),
    COMPARE_AND_SWAP_COLLISION("CompareAndSwapCollision", primed(1), GoThread::compareAndSwapCollision),
    COMPARE_AND_SWAP_NO_EXISTING_KEY("CompareAndSwapNoExistingKey", map -> { }, GoThread::compareAndSwapNoExistingKey),
    COMPARE_AND_SWAP_VALUE_NOT_EQUAL("CompareAndSwapValueNotEqual", primed(1), GoThread::compareAndSwapValueNotEqual),
    COMPARE_AND_SWAP_MOSTLY_HITS("CompareAndSwapMostlyHits", primed(1023), (t, turns) -> t.compareAndSwapModulo(turns, 1023)),
    COMPARE_AND_SWAP_MOSTLY_MISSES("CompareAndSwapMostlyMisses", primed(1), (t, turns) -> t.compareAndSwapModulo(turns, 1)),
    COMPARE_AND_DELETE_COLLISION("CompareAndDeleteCollision", primed(1), GoThread::compareAndDeleteCollision),
    COMPARE_AND_DELETE_MOSTLY_HITS("CompareAndDeleteMostlyHits", primed(1023),
                                   (t, turns) -> t.compareAndDeleteModulo(turns, 1023)),
    COMPARE_AND_DELETE_MOSTLY_MISSES("CompareAndDeleteMostlyMisses", primed(1),
                                     (t, turns) -> t.compareAndDeleteModulo(turns, 1)),
    CLEAR("Clear", map -> { }, GoThread::clearAndStore);

    static final String PREFIX = "go:";
    static final int MODULUS = 1024; // in the workloads with hits and misses
    static final int RANGE = 1 << 10;

    private interface Loop {
        void run(GoThread thread, int turns);
    }

    final String workload;
    private final Consumer<ConcurrentHashMap<Long, Long>> setup;
    private final Loop loop;

    GoSet(String name, Consumer<ConcurrentHashMap<Long, Long>> setup, Loop loop) {
        workload = PREFIX + name;
        this.setup = setup;
        this.loop = loop;
    }

    /** The keys below a number, which were loaded as well. */
    private static Consumer<ConcurrentHashMap<Long, Long>> primed(int hits) {
        return map -> {
            for (long i = 0; i < hits; i++) {
                map.putIfAbsent(i, i);
            }
            for (long i = 0; i < hits * 2; i++) {
                map.get(i % hits);
            }
        };
    }

    private static Consumer<ConcurrentHashMap<Long, Long>> stored() {
        return map -> {
            for (long i = 0; i < RANGE; i++) {
                map.put(i, i);
            }
        };
    }

    static GoSet named(String name) {
        for (GoSet one : values()) {
            if (one.workload.equals(name)) {
                return one;
            }
        }
        return null;
    }

    /** On a fresh map. */
    Body[] bodies(Pool pool, int threads) {
        ConcurrentHashMap<Long, Long> map = new ConcurrentHashMap<>();
        Body[] bodies = new Body[threads];

        pool.runFirst(() -> setup.accept(map));
        for (int i = 0; i < threads; i++) {
            GoThread thread = new GoThread(map, (long) i << 32);
            bodies[i] = new Body(1, turns -> {
                loop.run(thread, turns);
                return turns;
            });
        }
        return bodies;
    }
}
