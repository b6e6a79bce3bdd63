/* SPDX-License-Identifier: MIT
 *
 * Keys and values by their numbers.
 */
import java.nio.charset.StandardCharsets;

/**
 * How to get the key of a number, and the value of a key.
 *
 * A Long is made whenever it is needed, as in programs. Of each string there are two copies: the map is given the one
 * (stored), and asked by the other (lookup), as by a program whose keys come from elsewhere. The comparison of a string with
 * itself would read none of it. A String keeps its hash once it was computed: for a key that is used again, as those of a
 * stream are, Java's map need not compute it.
 */
abstract class Keys<K> {
    abstract K stored(long i);

    abstract K lookup(long i);

    /** Makes it, in the time of the caller: stored and lookup are tables, if keys are strings. */
    abstract K fresh(long i);

    abstract long valueOf(K key);

    abstract Stream<K> stream(int count);

    /** The i-th number of Steele, Lea and Flood's SplitMix64: a bijection, so different i give different keys. */
    static long splitmix64(long i) {
        long z = (i + 1) * 0x9e3779b97f4a7c15L;

        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    /** The value that belongs to key number i. */
    static long valueOfNumber(long i) {
        return splitmix64(i) | 1;
    }

    static final class Longs extends Keys<Long> {
        @Override
        Long stored(long i) {
            return splitmix64(i);
        }

        @Override
        Long lookup(long i) {
            return splitmix64(i);
        }

        @Override
        Long fresh(long i) {
            return splitmix64(i);
        }

        @Override
        long valueOf(Long key) {
            return key | 1;
        }

        @Override
        Stream<Long> stream(int count) {
            return new Stream.Longs(count);
        }
    }

    static final class Strings extends Keys<String> {
        private static final byte[] DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz".getBytes(StandardCharsets.ISO_8859_1);
        private static final int LEAST = 8;
        private static final int MOST = 64;

        private final int count;
        private String[] stored; // not made before a phase needs them: the phase memory does not
        private String[] lookup;

        Strings(long count) {
            this.count = (int) count;
        }

        private synchronized void make() {
            if (lookup == null) {
                stored = table();
                lookup = table();
            }
        }

        private String[] table() {
            String[] table = new String[count];

            for (int i = 0; i < count; i++) {
                table[i] = fresh(i);
            }
            return table;
        }

        @Override
        String stored(long i) {
            if (lookup == null) {
                make();
            }
            return stored[(int) i];
        }

        @Override
        String lookup(long i) {
            if (lookup == null) {
                make();
            }
            return lookup[(int) i];
        }

        /**
         * String key number i has 8 to 64 characters. The first eight are the number in base 36, its last digit first, so that
         * strings differ early; the rest is random.
         */
        @Override
        String fresh(long i) {
            int length = LEAST + (int) Long.remainderUnsigned(splitmix64(i ^ 0x5555555555555555L), MOST - LEAST + 1);
            byte[] text = new byte[length];
            long number = i;
            long state = splitmix64(i);

            for (int at = 0; at < LEAST; at++) {
                text[at] = DIGITS[(int) (number % 36)];
                number /= 36;
            }
            for (int at = LEAST; at < length; at++) {
                state = splitmix64(state);
                text[at] = DIGITS[(int) Long.remainderUnsigned(state, 36)];
            }
            return new String(text, StandardCharsets.ISO_8859_1);
        }

        /** The number is read back from the key. */
        @Override
        long valueOf(String key) {
            long i = 0;

            for (int at = LEAST - 1; at >= 0; at--) {
                int digit = key.charAt(at) - '0';
                i = i * 36 + (digit <= 9 ? digit : key.charAt(at) - 'a' + 10);
            }
            return valueOfNumber(i);
        }

        @Override
        Stream<String> stream(int count) {
            return new Stream.Strings(count);
        }
    }
}
