/* SPDX-License-Identifier: MIT
 *
 * What was measured in a phase.
 */

final class Measurement {
    double[] rates;          // of each thread, in million operations a second
    double share = 1;        // of a processor that a thread had; the least of all
    double processShare = 1; // of as many processors that the process had, with the collector's and the compiler's threads
    long operations;         // of all threads
    long wall;               // ns

    double sum(int first, int end) {
        double sum = 0;

        for (int i = first; i < end; i++) {
            sum += rates[i];
        }
        return sum;
    }
}
