/* SPDX-License-Identifier: MIT
 *
 * The options of the command line.
 */
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

final class Options implements Cloneable {
    long n = 1000;
    int threads = 1;
    double seconds = 1;
    long seed = 1;
    List<String> phases = new ArrayList<>();
    boolean strings;
    long ops;         // that a thread does in a timed phase, in place of seconds; or 0
    String latencies; // the file to which insert appends its percentiles

    static Options parse(String[] arguments) {
        Options options = new Options();

        for (int i = 0; i < arguments.length; i++) {
            String[] parts = arguments[i].split("=", 2);
            if (parts.length == 1 && i + 1 == arguments.length) {
                Run.misuse("what is " + arguments[i] + "?");
            }
            String value = parts.length == 2 ? parts[1] : arguments[++i];
            try {
                options.set(parts[0], value);
            } catch (NumberFormatException e) {
                Run.misuse(parts[0] + ": " + value + " is no number");
            }
        }
        options.check();
        return options;
    }

    private void set(String name, String value) {
        switch (name) {
            case "--n" -> n = Long.parseLong(value);
            case "--threads" -> threads = Integer.parseInt(value);
            case "--seconds" -> seconds = Double.parseDouble(value);
            case "--seed" -> seed = Long.parseUnsignedLong(value);
            case "--phases" -> phases = value.equals("all") ? all() : Arrays.asList(value.split(","));
            case "--ops" -> ops = Long.parseLong(value);
            case "--latencies" -> latencies = value;
            case "--keys" -> {
                strings = value.equals("str");
                if (!strings && !value.equals("u64")) {
                    Run.misuse("--keys is u64 or str");
                }
            }
            default -> Run.misuse("unknown option " + name);
        }
    }

    private static List<String> all() {
        List<String> names = new ArrayList<>(Phases.NAMES);

        for (GoSet one : GoSet.values()) {
            names.add(one.workload);
        }
        return names;
    }

    private void check() {
        if (phases.equals(List.of("list"))) {
            all().forEach(System.out::println);
            System.out.flush();
            Runtime.getRuntime().halt(0);
        }
        if (phases.isEmpty()) {
            Run.misuse("--phases is missing");
        }
        if (threads < 1 || !(seconds > 0) || ops < 0) {
            Run.misuse("--threads and --seconds must be positive, --ops not negative");
        }
        for (String name : phases) {
            if (!Phases.NAMES.contains(name) && GoSet.named(name) == null) {
                Run.misuse("unknown phase " + name);
            }
            if (!name.startsWith(GoSet.PREFIX) && (n < 1 || n > 1 << 28)) {
                Run.misuse("--n must be positive for " + name + ", and less than an array can hold");
            }
        }
    }

    /**
     * The same, for a rehearsal. The map is large enough for two keys to have one hash of 32 bits: where that never
     * happened, the compiler makes no code for it, and has to compile again when it does.
     */
    Options small() {
        try {
            Options options = (Options) clone();
            options.n = 1 << 17;
            options.seconds = 0.1;
            options.ops = 0;
            options.latencies = null;
            return options;
        } catch (CloneNotSupportedException e) {
            throw new AssertionError(e);
        }
    }
}
