/* SPDX-License-Identifier: MIT
 *
 * What one thread does in a timed phase.
 */

final class Body {
    /** Does some turns, and returns how many operations they were. A turn is the unit of a loop: one operation or a few. */
    interface Batch {
        long run(int turns);
    }

    static final int BATCH = 64; // operations

    final Batch batch;
    final int operations; // that a turn has
    final int turns;      // of a batch
    int warmUp;           // turns, at the most, before the clock starts; 0: they would change the state
    long all = -1;        // turns that the thread does in all; -1: the options say when it ends
    boolean stops;        // this thread ends the phase for all, by itself, when a turn ends after the time

    Body(int operations, Batch batch) {
        this.operations = operations;
        this.batch = batch;
        turns = (BATCH + operations - 1) / operations;
    }
}
