/* SPDX-License-Identifier: MIT
 *
 * The phase memory: what an entry takes, what remains when all are deleted, and what an empty map takes.
 */
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ConcurrentHashMap;

final class Memory {
    private Memory() {
    }

    /**
     * Bytes of the heap that are in use after collections, as the collector left them. What Runtime calls used has the
     * piece of memory in it from which a thread will allocate next, some megabytes.
     */
    private static double bytesInUse() {
        double bytes = 0;

        System.gc();
        System.gc();
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            if (pool.getType() == MemoryType.HEAP && pool.getCollectionUsage() != null) {
                bytes += pool.getCollectionUsage().getUsed();
            }
        }
        return bytes;
    }

    /** A figure of /proc/self/status that is in kB. */
    private static double statusBytes(String name) {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith(name + ":")) {
                    return Double.parseDouble(line.replaceAll("[^0-9]", "")) * 1024;
                }
            }
        } catch (IOException e) {
            Run.fail("/proc/self/status: " + e);
        }
        Run.fail("/proc/self/status has no " + name);
        return 0;
    }

    /** Keys are made one by one and go to the map, which then holds all there is of a key. */
    static <K> void measure(Phases<K> out, Keys<K> keys, long n) {
        Measurement alone = new Measurement();
        ConcurrentHashMap<K, Long> map = new ConcurrentHashMap<>();
        double resident = statusBytes("VmRSS");
        double before = bytesInUse();

        for (long i = 0; i < n; i++) {
            if (map.putIfAbsent(keys.fresh(i), Keys.valueOfNumber(i)) != null) {
                Run.fail("memory: key number " + i + " is there");
            }
        }
        for (long i = 0; i < n; i++) {
            Long value = map.get(keys.fresh(i));
            if (value == null || value != Keys.valueOfNumber(i)) {
                Run.fail("memory: key number " + i + ": " + value);
            }
        }
        out.line("memory_full", "B/entry", (bytesInUse() - before) / n, alone);
        out.line("memory_peak", "B/entry", (statusBytes("VmHWM") - resident) / n, alone);
        for (long i = 0; i < n; i++) {
            if (map.remove(keys.fresh(i)) == null) {
                Run.fail("memory: key number " + i + " is gone");
            }
        }
        for (long i = n; i < n + n / 10; i++) {
            if (map.get(keys.fresh(i)) != null) {
                Run.fail("memory: key number " + i + " is there");
            }
        }
        out.line("memory_deleted", "B/entry", (bytesInUse() - before) / n, alone);
        if (!map.isEmpty()) { // it is needed up to here
            Run.fail("memory: the map is not empty");
        }
        out.line("memory_empty", "B", emptyMaps(1000), alone);
    }

    private static double emptyMaps(int count) {
        Object[] maps = new Object[count];
        double before = bytesInUse();

        for (int i = 0; i < count; i++) {
            maps[i] = new ConcurrentHashMap<Long, Long>();
        }
        double after = bytesInUse();
        if (maps[count - 1].hashCode() == 0 && maps[0] == null) { // they are needed up to here
            Run.fail("memory: no maps");
        }
        return (after - before) / count;
    }
}
