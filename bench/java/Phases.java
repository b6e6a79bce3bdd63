/* SPDX-License-Identifier: MIT
 *
 * The phases of the first set: what is prepared, measured and checked.
 */
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.function.IntFunction;

final class Phases<K> {
    static final Set<String> UNTIMED = Set.of("fill", "delete_all", "memory");
    static final List<String> NAMES = List.of(
            "memory", "fill", "load_hit", "load_hit_zipf", "load_miss", "load_many", "update", "hot_key", "reader_beside_writer", "range",
            "mixed_90_5_5", "mixed_50_25_25", "delete_all", "insert", "churn");

    private static final int DRAWS_LEAST = 1 << 16;
    private static final int DRAWS_MOST = 10_000_000;
    private static final int DRAWS_ZIPF = 1 << 20;

    /** What is in the map: nothing, the keys 0 .. n-1, or some of the keys 0 .. 2n-1. */
    private enum State { EMPTY, FULL, MIXED }

    private final Options options;
    private final Keys<K> keys;
    private final Pool pool;
    private final boolean rehearsal; // says nothing, and does not collect
    private final int threads;
    private final long n;
    private final ConcurrentHashMap<K, Long> map = new ConcurrentHashMap<>();
    private State state = State.EMPTY;
    private long present; // how many of the keys 0 .. 2n-1 are in the map
    long measured;        // ns that timed loops took

    Phases(Options options, Keys<K> keys, Pool pool, boolean rehearsal) {
        this.options = options;
        this.keys = keys;
        this.pool = pool;
        this.rehearsal = rehearsal;
        threads = options.threads;
        n = options.n;
    }

    void run(String name) {
        switch (name) {
            case "fill" -> fill();
            case "insert" -> insert();
            case "load_hit" -> loadHit();
            case "load_hit_zipf" -> loadHitZipf();
            case "load_miss" -> loadMiss();
            case "load_many" -> absent(name, "no such call");
            case "update" -> update();
            case "mixed_90_5_5" -> mixed(name, 90, 5);
            case "mixed_50_25_25" -> mixed(name, 50, 25);
            case "churn" -> churn();
            case "hot_key" -> hotKey();
            case "reader_beside_writer" -> readerBesideWriter();
            case "range" -> rangeBesideWriters();
            case "delete_all" -> deleteAll();
            case "memory" -> Memory.measure(this, keys, n);
            default -> rate(name, measure(GoSet.named(name).bodies(pool, threads)));
        }
    }

    /* ---- results ------------------------------------------------------------------------------------- */

    void line(String workload, String unit, double value, Measurement measurement) {
        if (!rehearsal) {
            System.out.printf(Locale.ROOT, "{\"workload\":\"%s\",\"n\":%d,\"threads\":%d,\"unit\":\"%s\",\"value\":%s,"
                              + "\"share\":%.4f,\"process_share\":%.4f,\"sleeps\":0,\"ops\":%d}%n",
                              workload, n, threads, unit, number(value), measurement.share, measurement.processShare,
                              measurement.operations);
        }
    }

    /** With eight digits. */
    private static String number(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e15 ? Long.toString((long) value)
                                                                   : String.format(Locale.ROOT, "%.8g", value);
    }

    private void rate(String workload, Measurement measurement) {
        line(workload, "Mops/s", measurement.sum(0, threads), measurement);
    }

    /** The collector runs first: what the making of streams and the phase before left to it is not this phase's. */
    private Measurement measure(Body[] bodies) {
        if (!rehearsal) {
            System.gc();
        }
        Measurement measurement = pool.measure(options, bodies);
        measured += measurement.wall;
        return measurement;
    }

    private Measurement measure(IntFunction<Body> make) {
        Body[] bodies = new Body[threads];

        for (int thread = 0; thread < threads; thread++) {
            bodies[thread] = make.apply(thread);
        }
        return measure(bodies);
    }

    private void absent(String workload, String why) {
        if (!rehearsal) {
            System.out.printf("{\"workload\":\"%s\",\"absent\":\"%s\"}%n", workload, why);
        }
    }

    /** False, and says so, if there is one thread. */
    private boolean hasTwo(String workload) {
        if (threads < 2) {
            absent(workload, "needs two threads");
        }
        return threads >= 2;
    }

    /* ---- states -------------------------------------------------------------------------------------- */

    /** The first of the keys of a thread, when all threads share the keys 0 .. n-1; of the one after the last: n. */
    private int first(int thread) {
        return (int) (n * thread / threads);
    }

    private void fill() {
        needEmpty();
        pool.run(thread -> {
            for (int i = first(thread); i < first(thread + 1); i++) {
                if (map.putIfAbsent(keys.stored(i), Keys.valueOfNumber(i)) != null) {
                    Run.fail("fill: key number " + i + " was there");
                }
            }
        });
        isFull("fill");
    }

    /** Phases may come in any order: the state that one needs is made, if the phase before left another. */
    private void needFull() {
        if (state != State.FULL) {
            fill();
        }
    }

    private void needEmpty() {
        if (state != State.EMPTY) {
            deleteAll();
        }
    }

    /** After the keys 0 .. n-1 have been inserted: loads each once, by one thread. */
    private void isFull(String after) {
        state = State.FULL;
        present = n;
        pool.runFirst(() -> {
            long count = countPresent(n);
            if (count != n) {
                Run.fail(after + ": " + count + " keys are there, not " + n);
            }
        });
    }

    /** How many of the keys 0 .. limit-1 are there, each with its value. */
    private long countPresent(long limit) {
        long count = 0;

        for (long i = 0; i < limit; i++) {
            Long value = map.get(keys.lookup(i));
            if (value != null) {
                if (value != Keys.valueOfNumber(i)) {
                    Run.fail("key number " + i + " has the wrong value " + value);
                }
                count++;
            }
        }
        return count;
    }

    private void checkPresent(String after, long expected) {
        pool.runFirst(() -> {
            present = countPresent(2 * n);
            if (present != expected) {
                Run.fail(after + ": " + present + " keys are there, not " + expected);
            }
        });
    }

    private void deleteAll() {
        pool.runFirst(() -> {
            long count = 0;
            for (long i = 0; i < 2 * n; i++) {
                if (map.remove(keys.lookup(i)) != null) {
                    count++;
                }
            }
            if (count != present) {
                Run.fail("delete_all: " + count + " keys were there, not " + present);
            }
        });
        checkPresent("delete_all", 0);
        state = State.EMPTY;
    }

    /* ---- streams ------------------------------------------------------------------------------------- */

    private int draws() {
        return (int) Math.max(DRAWS_LEAST, Math.min(n, DRAWS_MOST));
    }

    /** A stream for each thread, each made by a thread of its own. */
    private Stream<K>[] streams(Function<Draws, Stream<K>> make) {
        @SuppressWarnings({"unchecked", "rawtypes"})
        Stream<K>[] streams = new Stream[threads];

        pool.run(thread -> streams[thread] = make.apply(new Draws(options.seed, thread)));
        return streams;
    }

    /** Streams of the keys first .. first+n-1. */
    private Stream<K>[] uniform(long first) {
        return streams(draws -> Stream.of(keys, draws(), () -> first + draws.below(n)));
    }

    private static Body withWarmUp(int turns, Body.Batch batch) {
        Body body = new Body(1, batch);

        body.warmUp = turns;
        return body;
    }

    private Body loads(Stream<K> stream) {
        return withWarmUp(stream.length, turns -> stream.loadHits(map, turns));
    }

    /* ---- phases -------------------------------------------------------------------------------------- */

    private void loadHit() {
        needFull();
        Stream<K>[] streams = uniform(0);
        rate("load_hit", measure(thread -> loads(streams[thread])));
    }

    private void loadHitZipf() {
        needFull();
        Draws.Zipf zipf = new Draws.Zipf(n);
        int count = rehearsal ? DRAWS_LEAST : DRAWS_ZIPF;
        Stream<K>[] streams = streams(draws -> Stream.of(keys, count, () -> zipf.rank(draws)));
        rate("load_hit_zipf", measure(thread -> loads(streams[thread])));
    }

    private void loadMiss() {
        needFull();
        Stream<K>[] streams = uniform(n);
        rate("load_miss", measure(thread -> {
            Stream<K> stream = streams[thread];
            return withWarmUp(stream.length, turns -> stream.loadMisses(map, turns));
        }));
    }

    private void update() {
        needFull();
        Stream<K>[] streams = uniform(0);
        rate("update", measure(thread -> {
            Stream<K> stream = streams[thread];
            return withWarmUp(stream.length, turns -> stream.updates(map, turns));
        }));
        isFull("update");
    }

    private void mixed(String name, int loads, int loadOrStores) {
        if (state == State.EMPTY) {
            fill();
        }
        state = State.MIXED;
        Stream<K>[] streams = streams(draws -> Stream.mixed(keys, draws(), draws, 2 * n, loads, loadOrStores));
        Measurement measurement = measure(thread -> {
            Stream<K> stream = streams[thread];
            return withWarmUp(stream.length, turns -> stream.mixedOperations(map, turns));
        });
        long expected = present;
        for (Stream<K> stream : streams) {
            expected += stream.inserted - stream.deleted;
        }
        checkPresent(name, expected);
        rate(name, measurement);
    }

    /** A random order of the keys 0 .. n-1. */
    private Stream<K> permutation() {
        Stream<K> order = keys.stream((int) n);
        Draws draws = new Draws(options.seed, -1);
        int[] numbers = new int[(int) n];

        for (int i = 0; i < n; i++) {
            numbers[i] = i;
        }
        for (int at = 0; at < n; at++) {
            int other = at + (int) draws.below(n - at);
            int number = numbers[other];
            numbers[other] = numbers[at];
            order.set(at, keys.stored(number), number);
        }
        return order;
    }

    private void insert() {
        needEmpty();
        Stream<K> order = permutation();
        Latencies latencies = new Latencies((int) n);
        Measurement measurement = measure(thread -> {
            Body body = new Body(1, new Loops.Inserter<>(map, order, latencies, first(thread)));
            body.all = first(thread + 1) - first(thread);
            return body;
        });

        rate("insert", measurement);
        if (!rehearsal) {
            latencies.sort();
            line("insert_p50", "ns", latencies.percentile(50), measurement);
            line("insert_p99", "ns", latencies.percentile(99), measurement);
            line("insert_p99.9", "ns", latencies.percentile(99.9), measurement);
            line("insert_p99.99", "ns", latencies.percentile(99.99), measurement);
            line("insert_max", "ns", latencies.percentile(100), measurement);
        }
        if (options.latencies != null) {
            latencies.appendCurve(options.latencies);
        }
        isFull("insert");
    }

    private void churn() {
        ConcurrentHashMap<K, Long> own = new ConcurrentHashMap<>();
        Body[] bodies = new Body[threads];

        pool.run(thread -> bodies[thread] = new Body(6, new Loops.Churner<>(own, keys, (long) thread << 40)));
        rate("churn", measure(bodies));
    }

    private void hotKey() {
        needFull();
        rate("hot_key", measure(thread -> {
            Body body = new Body(2, new Loops.HotKey<>(map, keys));
            body.warmUp = DRAWS_LEAST / 2;
            return body;
        }));
    }

    private Body writer(int thread, Stream<K> stream) {
        return new Body(3, new Loops.Writer<>(map, keys, stream, (long) (thread + 1) << 34));
    }

    private void readerBesideWriter() {
        if (!hasTwo("reader_beside_writer")) {
            return;
        }
        needFull();
        Stream<K>[] streams = uniform(0);
        Measurement measurement =
                measure(thread -> thread == 0 ? writer(thread, streams[thread]) : loads(streams[thread]));
        line("reader_beside_writer", "Mops/s", measurement.sum(1, threads), measurement);
        line("writer_beside_reader", "Mops/s", measurement.sum(0, 1), measurement);
        checkPresent("reader_beside_writer", n);
    }

    private void rangeBesideWriters() {
        if (!hasTwo("range")) {
            return;
        }
        needFull();
        Stream<K>[] streams = uniform(0);
        Measurement measurement = measure(thread -> {
            if (thread > 0) {
                return writer(thread, streams[thread]);
            }
            Body body = new Body(1, new Loops.Walker<>(map, keys, n));
            body.stops = true;
            return body;
        });
        line("range", "Mentries/s", measurement.sum(0, 1), measurement);
        line("writer_beside_range", "Mops/s", measurement.sum(1, threads), measurement);
        checkPresent("range", n);
    }
}
