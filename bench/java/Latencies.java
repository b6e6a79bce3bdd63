/* SPDX-License-Identifier: MIT
 *
 * Latencies of the phase insert, and their percentiles.
 */
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;

final class Latencies {
    private static final String[] CURVE = {
        "0", "10", "20", "30", "40", "50", "60", "70", "80", "90", "95", "99", "99.5", "99.9", "99.95", "99.99", "99.995",
        "99.999", "99.9995", "99.9999", "100",
    };

    /* In ns, unsigned, with the sign bit turned round, so that they sort as ints. Java writes to new arrays, so the
     * pages are there. */
    private final int[] latencies;

    Latencies(int count) {
        latencies = new int[count];
    }

    void set(int at, long ns) {
        latencies[at] = (int) Math.min(ns, 0xffffffffL) ^ Integer.MIN_VALUE;
    }

    void sort() {
        Arrays.parallelSort(latencies);
    }

    /** The least latency that is not exceeded by this percentage of all, after sort. */
    long percentile(double percent) {
        int rank = (int) Math.ceil(percent * latencies.length / 100 - 1e-6); // 99.9 is not quite 99.9

        return Integer.toUnsignedLong(latencies[Math.max(rank, 1) - 1] ^ Integer.MIN_VALUE);
    }

    void appendCurve(String path) {
        try (PrintWriter out = new PrintWriter(
                Files.newBufferedWriter(Path.of(path), StandardOpenOption.CREATE, StandardOpenOption.APPEND))) {
            for (String percent : CURVE) {
                out.printf("%s\t%d%n", percent, percentile(Double.parseDouble(percent)));
            }
            if (out.checkError()) {
                Run.fail("cannot write " + path);
            }
        } catch (IOException e) {
            Run.fail("cannot write " + path + ": " + e);
        }
    }
}
