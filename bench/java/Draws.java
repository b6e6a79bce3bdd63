/* SPDX-License-Identifier: MIT
 *
 * The random numbers from which streams of keys are drawn.
 */

/** A sequence of random numbers, for each seed and thread another. */
final class Draws {
    private long state;

    Draws(long seed, int thread) {
        state = Keys.splitmix64(Keys.splitmix64(seed) + thread);
    }

    long next() {
        return Keys.splitmix64(++state);
    }

    long below(long limit) {
        return Long.remainderUnsigned(next(), limit);
    }

    /**
     * Ranks 0 .. n-1 with a frequency of 1/(rank+1)^0.99, by rejection-inversion: W. Hörmann and G. Derflinger,
     * "Rejection-inversion to generate variates from monotone discrete distributions", 1996.
     */
    static final class Zipf {
        private static final double EXPONENT = 0.99;

        private final double n;
        private final double low = integral(1.5) - 1;
        private final double high;
        private final double s = 2 - inverse(integral(2.5) - h(2));

        Zipf(long n) {
            this.n = n;
            high = integral(n + 0.5);
        }

        private static double h(double x) {
            return Math.pow(x, -EXPONENT);
        }

        /** Of h. */
        private static double integral(double x) {
            return Math.pow(x, 1 - EXPONENT) / (1 - EXPONENT);
        }

        /** Of integral. */
        private static double inverse(double y) {
            return Math.pow(y * (1 - EXPONENT), 1 / (1 - EXPONENT));
        }

        long rank(Draws draws) {
            for (;;) {
                double u = high + (draws.next() >>> 11) * 0x1p-53 * (low - high);
                double x = inverse(u);
                double k = Math.min(Math.max(Math.floor(x + 0.5), 1), n);

                if (k - x <= s || u >= integral(k + 0.5) - h(k)) {
                    return (long) k - 1;
                }
            }
        }
    }
}
