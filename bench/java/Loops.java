/* SPDX-License-Identifier: MIT
 *
 * The other loops of the first set: of threads that keep more than a place in a stream.
 */
import java.util.concurrent.ConcurrentHashMap;

final class Loops {
    private Loops() {
    }

    /** A thread of the phase insert. An operation is timed by one reading of the clock: it lasts from the reading before. */
    static final class Inserter<K> implements Body.Batch {
        private final ConcurrentHashMap<K, Long> map;
        private final Stream<K> keys;
        private final Latencies latencies; // of all threads, by the place of the key
        private int at;
        private long last;

        Inserter(ConcurrentHashMap<K, Long> map, Stream<K> keys, Latencies latencies, int first) {
            this.map = map;
            this.keys = keys;
            this.latencies = latencies;
            at = first;
        }

        @Override
        public long run(int turns) {
            if (last == 0) {
                last = System.nanoTime();
            }
            for (int end = at + turns; at < end; at++) {
                Long value = map.putIfAbsent(keys.key(at), keys.value(at));
                if (value != null) {
                    Run.fail("an insert of the fresh key " + keys.key(at) + ": it is there with " + value);
                }
                long now = System.nanoTime();
                latencies.set(at, now - last);
                last = now;
            }
            return turns;
        }
    }

    /**
     * A thread of the phase churn. A round is an insert of a fresh key, four loads of it, and a delete of the key of ALIVE
     * rounds before: six operations. If keys are strings, the making of the fresh one is in the time.
     */
    static final class Churner<K> implements Body.Batch {
        private static final int ALIVE = 1000;

        private final ConcurrentHashMap<K, Long> map;
        private final Keys<K> keys;
        private final Object[] alive = new Object[ALIVE];
        private long next;
        private int oldest;

        Churner(ConcurrentHashMap<K, Long> map, Keys<K> keys, long first) {
            this.map = map;
            this.keys = keys;
            next = first;
            for (int i = 0; i < ALIVE; i++) {
                K key = keys.fresh(next++);
                map.put(key, keys.valueOf(key));
                alive[i] = key;
            }
        }

        @Override
        public long run(int turns) {
            for (int turn = 0; turn < turns; turn++) {
                K key = keys.fresh(next++);
                long want = keys.valueOf(key);

                if (map.putIfAbsent(key, want) != null) {
                    Run.fail("churn: the fresh key " + key + " is there");
                }
                for (int i = 0; i < 4; i++) {
                    Long value = map.get(key);
                    if (value == null || value != want) {
                        Run.fail("churn: a load of key " + key + ": " + value);
                    }
                }
                if (map.remove(alive[oldest]) == null) {
                    Run.fail("churn: key " + alive[oldest] + " is gone");
                }
                alive[oldest] = key;
                if (++oldest == ALIVE) {
                    oldest = 0;
                }
            }
            return turns * 6L;
        }
    }

    /** A thread that writes beside readers or a walk: updates a key that is there, inserts a fresh key, deletes that one. */
    static final class Writer<K> implements Body.Batch {
        private final ConcurrentHashMap<K, Long> map;
        private final Keys<K> keys;
        private final Stream<K> stream;
        private long next;

        Writer(ConcurrentHashMap<K, Long> map, Keys<K> keys, Stream<K> stream, long first) {
            this.map = map;
            this.keys = keys;
            this.stream = stream;
            next = first;
        }

        @Override
        public long run(int turns) {
            for (int turn = 0; turn < turns; turn++) {
                stream.updates(map, 1);
                K key = keys.fresh(next++);
                if (map.putIfAbsent(key, keys.valueOf(key)) != null) {
                    Run.fail("a writer: the fresh key " + key + " is there");
                }
                if (map.remove(key) == null) {
                    Run.fail("a writer: key " + key + " is gone");
                }
            }
            return turns * 3L;
        }
    }

    /** The thread that walks over the map. A turn is a walk. */
    static final class Walker<K> implements Body.Batch {
        private final ConcurrentHashMap<K, Long> map;
        private final Keys<K> keys;
        private final long least;
        private long visited;

        Walker(ConcurrentHashMap<K, Long> map, Keys<K> keys, long least) {
            this.map = map;
            this.keys = keys;
            this.least = least;
        }

        @Override
        public long run(int turns) {
            visited = 0;
            map.forEach((key, value) -> {
                if (value != keys.valueOf(key)) {
                    Run.fail("range: key " + key + " has the wrong value " + value);
                }
                visited++;
            });
            if (visited < least) {
                Run.fail("range: a walk met " + visited + " entries, not " + least);
            }
            return visited;
        }
    }

    /** A thread of the phase hot_key: a store of one key and a load of it. */
    static final class HotKey<K> implements Body.Batch {
        private final ConcurrentHashMap<K, Long> map;
        private final Stream<K> one; // the key to store, and the same to load

        HotKey(ConcurrentHashMap<K, Long> map, Keys<K> keys) {
            this.map = map;
            one = keys.stream(2);
            one.set(0, keys.stored(0), 0);
            one.set(1, keys.lookup(0), 0);
        }

        @Override
        public long run(int turns) {
            for (int turn = 0; turn < turns; turn++) {
                Long previous = map.put(one.key(0), one.value(0));
                Long value = map.get(one.key(1));
                if (previous == null || previous != one.value(0) || value == null || value != one.value(1)) {
                    Run.fail("hot_key: a store replaced " + previous + ", a load returned " + value);
                }
            }
            return turns * 2L;
        }
    }
}
