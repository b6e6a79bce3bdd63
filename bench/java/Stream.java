/* SPDX-License-Identifier: MIT
 *
 * The operations of one thread, drawn beforehand, and the loops of the first set that read them: what is timed.
 *
 * Keys and values go to the map as to any ConcurrentHashMap: a long is boxed at the call. Boxes are not made beforehand,
 * since a program has its keys in longs; the compiler removes a box that does not outlive the call. In one process there
 * are streams of longs or streams of strings, never both, so the compiler calls key and value directly, and inlines them.
 */
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;

abstract class Stream<K> {
    static final byte LOAD = 0;
    static final byte LOAD_OR_STORE = 1;
    static final byte DELETE = 2;

    final int length;
    byte[] ops; // of the mixed phases only
    int at;
    long inserted, deleted; // by the mixed phases

    Stream(int length) {
        this.length = length;
    }

    abstract K key(int at);

    /** The value that belongs to that key. */
    abstract long value(int at);

    abstract void set(int at, K key, long i);

    /** Fills a stream by the numbers that draw returns. */
    static <K> Stream<K> of(Keys<K> keys, int count, LongSupplier draw) {
        Stream<K> stream = keys.stream(count);

        for (int at = 0; at < count; at++) {
            long i = draw.getAsLong();
            stream.set(at, keys.lookup(i), i);
        }
        return stream;
    }

    /** Loads, load_or_stores and deletes on keys 0 .. limit-1, by percentages; what is left to 100 are deletes. */
    static <K> Stream<K> mixed(Keys<K> keys, int count, Draws draws, long limit, int loads, int loadOrStores) {
        Stream<K> stream = keys.stream(count);

        stream.ops = new byte[count];
        for (int at = 0; at < count; at++) {
            long i = draws.below(limit);
            long percent = draws.below(100);

            if (percent < loads) {
                stream.ops[at] = LOAD;
            } else if (percent < loads + loadOrStores) {
                stream.ops[at] = LOAD_OR_STORE;
            } else {
                stream.ops[at] = DELETE;
            }
            stream.set(at, stream.ops[at] == LOAD_OR_STORE ? keys.stored(i) : keys.lookup(i), i);
        }
        return stream;
    }

    final long loadHits(ConcurrentHashMap<K, Long> map, int turns) {
        int place = at;

        for (int turn = 0; turn < turns; turn++) {
            Long value = map.get(key(place));
            if (value == null || value != value(place)) {
                Run.fail("a load of key " + key(place) + ": " + value);
            }
            if (++place == length) {
                place = 0;
            }
        }
        at = place;
        return turns;
    }

    final long loadMisses(ConcurrentHashMap<K, Long> map, int turns) {
        int place = at;

        for (int turn = 0; turn < turns; turn++) {
            Long value = map.get(key(place));
            if (value != null) {
                Run.fail("a load of the absent key " + key(place) + ": " + value);
            }
            if (++place == length) {
                place = 0;
            }
        }
        at = place;
        return turns;
    }

    final long updates(ConcurrentHashMap<K, Long> map, int turns) {
        int place = at;

        for (int turn = 0; turn < turns; turn++) {
            Long previous = map.put(key(place), value(place));
            if (previous == null || previous != value(place)) {
                Run.fail("an update of key " + key(place) + " replaced " + previous);
            }
            if (++place == length) {
                place = 0;
            }
        }
        at = place;
        return turns;
    }

    final long mixedOperations(ConcurrentHashMap<K, Long> map, int turns) {
        int place = at;

        for (int turn = 0; turn < turns; turn++) {
            Long value;
            switch (ops[place]) {
                case LOAD:
                    value = map.get(key(place));
                    break;
                case LOAD_OR_STORE:
                    value = map.putIfAbsent(key(place), value(place));
                    if (value == null) {
                        inserted++;
                    }
                    break;
                default:
                    value = map.remove(key(place));
                    if (value != null) {
                        deleted++;
                    }
                    break;
            }
            if (value != null && value != value(place)) {
                Run.fail("operation " + ops[place] + " of key " + key(place) + ": wrong value " + value);
            }
            if (++place == length) {
                place = 0;
            }
        }
        at = place;
        return turns;
    }

    static final class Longs extends Stream<Long> {
        private final long[] keys;

        Longs(int length) {
            super(length);
            keys = new long[length];
        }

        @Override
        Long key(int at) {
            return keys[at];
        }

        @Override
        long value(int at) {
            return keys[at] | 1;
        }

        @Override
        void set(int at, Long key, long i) {
            keys[at] = key;
        }
    }

    static final class Strings extends Stream<String> {
        private final String[] keys;
        private final long[] values;

        Strings(int length) {
            super(length);
            keys = new String[length];
            values = new long[length];
        }

        @Override
        String key(int at) {
            return keys[at];
        }

        @Override
        long value(int at) {
            return values[at];
        }

        @Override
        void set(int at, String key, long i) {
            keys[at] = key;
            values[at] = Keys.valueOfNumber(i);
        }
    }
}
