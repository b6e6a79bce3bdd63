/* SPDX-License-Identifier: MIT
 *
 * Run - the benchmarks of bench/run.c with Java's ConcurrentHashMap: the same command line, workloads and output.
 *
 *     java -cp CLASSES Run --n N --threads T --seconds S --seed R --phases a,b,c [--keys u64|str] [--ops K]
 *                          [--latencies FILE]
 *
 * `--phases list` prints the names of the phases, `--phases all` runs all of them.
 *
 * It makes one map and runs the phases on it in their order. For each result it writes one JSON object on a line.
 * A wrong answer of the map ends it with a message and status 1.
 *
 * What is different from C:
 *
 *   - A thread is not pinned to one processor, as Java has no call for that. `taskset` can give the process as many
 *     processors as it has threads; the collector and the compiler then run on these too.
 *   - A timed phase is rehearsed: it runs on small maps that are thrown away, until its loops took a second in all.
 *     By then the compiler has made its last version of them. Nothing is different from one phase to the next.
 *   - The switches of a thread that gave its processor up ("sleeps") cannot be had, and are said to be 0.
 */
public final class Run {
    private static final long REHEARSAL = 400_000_000L; // ns

    /** For a wrong answer: ends the process, whatever the other threads do. */
    static void fail(String message) {
        System.err.println("Run: " + message);
        Runtime.getRuntime().halt(1);
    }

    static void misuse(String message) {
        System.err.println("Run: " + message);
        Runtime.getRuntime().halt(2);
    }

    /** Runs the phase on small maps until its loops took a second in all. */
    private static <K> void rehearse(Options small, Keys<K> few, Pool pool, String name) {
        long took;

        for (long all = 0; all < REHEARSAL; all += took) {
            Phases<K> phases = new Phases<>(small, few, pool, true);

            phases.run(name);
            took = phases.measured;
            if (took == 0) { // it is absent
                break;
            }
        }
    }

    private static <K> void run(Options options, Keys<K> keys, Keys<K> few) {
        Pool pool = new Pool(options.threads);
        Phases<K> phases = new Phases<>(options, keys, pool, false);

        for (String name : options.phases) {
            if (!Phases.UNTIMED.contains(name)) {
                rehearse(options.small(), few, pool, name);
            }
            phases.run(name);
        }
        pool.end();
    }

    public static void main(String[] arguments) {
        Options options = Options.parse(arguments);

        System.out.printf("{\"map\":\"Java ConcurrentHashMap\",\"version\":\"%s\",\"language\":\"Java\","
                          + "\"keys\":\"%s\"}%n", System.getProperty("java.version"), options.strings ? "str" : "u64");
        if (options.strings) {
            run(options, new Keys.Strings(2 * options.n), new Keys.Strings(2 * options.small().n));
        } else {
            run(options, new Keys.Longs(), new Keys.Longs());
        }
    }
}
