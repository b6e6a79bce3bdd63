/* SPDX-License-Identifier: MIT
 *
 * The threads: started at one line, and measured.
 */
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;

/** A timed phase. */
final class Timed {
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private static final class Timing {
        long operations;
        long begin, end;
        long cpu;
        long processBegin, processEnd;
    }

    private final Options options;
    private final Body[] bodies;
    private final Timing[] timings;
    private final AtomicInteger arrived = new AtomicInteger();
    private final CountDownLatch started = new CountDownLatch(1);
    private volatile boolean stop;

    Timed(Options options, Body[] bodies) {
        this.options = options;
        this.bodies = bodies;
        timings = new Timing[bodies.length];
    }

    /** Spins until all threads are here, so that they start within one transfer of a cache line. */
    private void startLine() {
        arrived.incrementAndGet();
        for (int spins = 1; arrived.get() < bodies.length; spins++) {
            if (spins % 1024 == 0) {
                Thread.yield(); // for more threads than processors
            }
        }
    }

    private long turnsOfOptions(Body body) {
        return (options.ops + body.operations - 1) / body.operations;
    }

    /** One pass, or a quarter of the phase's time; a fixed number of operations where the phase has one. */
    private void warmUp(Body body) {
        long begin = System.nanoTime();
        double most = options.ops > 0 ? Double.POSITIVE_INFINITY : options.seconds * 1e9 / 4;
        long turns = options.ops > 0 ? Math.min(body.warmUp, turnsOfOptions(body)) : body.warmUp;

        for (long left = turns; left > 0 && System.nanoTime() - begin < most; left -= body.turns) {
            body.batch.run((int) Math.min(left, body.turns));
        }
    }

    /** As many turns as are asked for, or until the phase is stopped. */
    private long loop(Body body, long begin) {
        long operations = 0;
        long all = body.all;

        if (all < 0 && options.ops > 0) {
            all = turnsOfOptions(body);
        }
        if (body.stops) {
            do {
                operations += body.batch.run(1);
            } while (options.ops > 0 ? operations < options.ops : System.nanoTime() - begin < options.seconds * 1e9);
            stop = true;
        } else if (all >= 0) {
            for (long left = all; left > 0; left -= body.turns) {
                operations += body.batch.run((int) Math.min(left, body.turns));
            }
        } else {
            while (!stop) {
                operations += body.batch.run(body.turns);
            }
        }
        return operations;
    }

    void work(int index) {
        Timing timing = new Timing();

        timings[index] = timing;
        warmUp(bodies[index]);
        startLine();
        if (index == 0) {
            started.countDown();
        }
        timing.processBegin = SYSTEM.getProcessCpuTime();
        timing.cpu = -THREADS.getCurrentThreadCpuTime();
        timing.begin = System.nanoTime();
        timing.operations = loop(bodies[index], timing.begin);
        timing.end = System.nanoTime();
        timing.cpu += THREADS.getCurrentThreadCpuTime();
        timing.processEnd = SYSTEM.getProcessCpuTime();
    }

    /** For the main thread: sleeps until it is time to stop. Not where the threads stop by themselves. */
    void watch() {
        if (options.ops > 0 || bodies[0].stops || bodies[0].all >= 0) {
            return;
        }
        try {
            started.await();
            Thread.sleep((long) (options.seconds * 1e3), (int) (options.seconds * 1e9 % 1e6));
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
        stop = true;
    }

    Measurement evaluate() {
        Measurement measurement = new Measurement();
        Timing first = timings[0];
        Timing last = timings[0];

        long cpu = 0;

        measurement.rates = new double[timings.length];
        for (int i = 0; i < timings.length; i++) {
            Timing timing = timings[i];
            double wall = Math.max(timing.end - timing.begin, 1);
            measurement.rates[i] = timing.operations / wall * 1e3;
            measurement.operations += timing.operations;
            measurement.share = Math.min(measurement.share, timing.cpu / wall);
            cpu += timing.cpu;
            first = timing.begin < first.begin ? timing : first;
            last = timing.end > last.end ? timing : last;
        }
        measurement.wall = Math.max(last.end - first.begin, 1);
        /* The time of the process comes in hundredths of a second, so it might seem to be less than that of its threads. */
        cpu = Math.max(cpu, last.processEnd - first.processBegin);
        measurement.processShare = (double) cpu / measurement.wall / timings.length;
        return measurement;
    }
}

final class Pool {
    private final ExecutorService threads;
    private final int count;

    Pool(int count) {
        this.count = count;
        threads = Executors.newFixedThreadPool(count);
    }

    void end() {
        threads.shutdown();
    }

    private List<Future<?>> start(IntConsumer task) {
        List<Future<?>> futures = new ArrayList<>();

        for (int i = 0; i < count; i++) {
            int index = i;
            futures.add(threads.submit(() -> {
                try {
                    task.accept(index);
                } catch (Throwable e) { // the other threads might wait for this one for ever
                    e.printStackTrace();
                    Run.fail("thread " + index + ": " + e);
                }
            }));
        }
        return futures;
    }

    private void await(List<Future<?>> futures) {
        try {
            for (Future<?> future : futures) {
                future.get();
            }
        } catch (InterruptedException | ExecutionException e) {
            throw new AssertionError(e);
        }
    }

    /** Runs the task in all threads, and returns when all have returned. */
    void run(IntConsumer task) {
        await(start(task));
    }

    /** Runs the task in one of the threads. */
    void runFirst(Runnable task) {
        run(index -> {
            if (index == 0) {
                task.run();
            }
        });
    }

    Measurement measure(Options options, Body[] bodies) {
        Timed timed = new Timed(options, bodies);
        List<Future<?>> futures = start(timed::work);

        timed.watch();
        await(futures);
        return timed.evaluate();
    }
}
