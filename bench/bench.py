#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench.py - measures all maps and writes results.tsv, report.md and plots. `make bench` builds the runners and calls this.

For each repetition, and for each life (a command line of a runner: keys, n, threads, phases), all maps take turns, in an order
that rotates. Each sample is a process of its own with a time limit. One whose threads had less than 0.9 of their
processors is repeated, unless that is the map's own doing: it sleeps in front of its locks, or has helper threads of its own.
So is one whose two processors were much nearer to each other, or much farther apart, than they usually are: in a virtual machine that changes.
A row is the median of all repetitions with the least and the greatest.
"""
import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import extra  # noqa: E402
import machine  # noqa: E402
import plan  # noqa: E402
import report  # noqa: E402
import samples  # noqa: E402
from process import Runners, run  # noqa: E402

REPEATS_MOST = 2   # of a disturbed sample
REPEATS_SHORT = 8  # of one whose processors were elsewhere, if it takes less than SHORT
SHORT = 4.0        # seconds
LEAST = 3          # repetitions, however long it takes
HANGS_MOST = 2     # then a map is not started in this life again


class Progress:
    """A bar on a terminal, lines otherwise."""

    def __init__(self, stream=sys.stderr):
        self.stream = stream
        self.terminal = stream.isatty()
        self.began = time.monotonic()

    def step(self, left, what):
        if not self.terminal:
            return
        passed = time.monotonic() - self.began
        done = passed / (passed + left) if passed + left > 0 else 1
        bar = "#" * round(done * 24)
        self.stream.write(f"\r[{bar:-<24}] {done:4.0%}  {clock(left)} left  {what[:70]}\x1b[K")
        self.stream.flush()

    def line(self, text):
        if self.terminal:
            self.stream.write("\r\x1b[K")
        self.stream.write(text + "\n")
        self.stream.flush()

    def whole_life(self, left, text):
        if not self.terminal:
            self.line(f"{text}; {clock(left)} left")


def clock(seconds):
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{seconds:02}"


class Bench:
    """The measurements of one run of this program."""

    def __init__(self, runners, maps, lives, minutes, progress):
        self.runners = runners
        self.cores = len(runners.processors)
        self.maps = maps
        self.lives = lives
        self.deadline = time.monotonic() + minutes * 60
        self.progress = progress
        self.estimate = plan.Estimate(lives, maps)
        self.table = samples.Table()
        self.curves = {}     # (n, threads, map) -> list of {percentile: ns}
        self.versions = {}
        self.raw = []        # of each process: repetition, life, map, its lines
        self.problems = []
        self.hangs = {}      # (life, map) -> how often
        self.repeats = 0
        self.line = None     # ns that a cache line usually takes to the other processor and back
        self.reserve = 0.0   # seconds of what comes after the repetitions

    # ---- one sample

    def process(self, life, the_map, repetition, phases=None):
        """Runs a life, or the part of it that these phases need. Returns what became of it, its Line objects by workload, and the
        percentiles of insert's latencies."""
        part = life if phases is None else plan.again(life, phases)
        command = self.runners.command(the_map, part, seed=repetition + 1)
        with tempfile.NamedTemporaryFile("r", prefix="latencies") as curve:
            if "insert" in part.phases:
                command += ["--latencies", curve.name]
            outcome = run(command, plan.time_limit(the_map, part))
            curve_text = curve.read()
        try:
            head, results = samples.parse(outcome.stdout)
            lines = samples.lines_of(results, life, self.cores, self.line)
        except (ValueError, KeyError) as error:
            outcome.status, outcome.stderr = "failed", f"{outcome.stderr}\n{error!r}"
            head, lines = {}, []
        self.versions[the_map.name] = head.get("version") or self.versions.get(the_map.name, "")
        self.raw.append({"repetition": repetition + 1, "life": life.title, "map": the_map.name, "status": outcome.status,
                         "seconds": round(outcome.seconds, 3), "command": shlex.join(command), "results": results if lines else []})
        curve = samples.curve_of(curve_text) if outcome.status == "ok" else {}
        return outcome, {line.workload: line for line in lines}, curve

    def measure_line(self):
        """How far the processors usually are from each other. Returns a text for the report."""
        able = [m for m in self.maps if m.file not in ("go", "java")]
        if self.cores < 2 or not able or all(life.threads < 2 for life in self.lives):
            return None
        life = plan.Life("line", 1, 2, ("line",), plan.LINE_SECONDS)
        _, lines, _ = self.process(life, able[0], 0)
        if "line" not in lines:
            return None
        self.line = lines["line"].value
        least, most = (lines[w].value for w in ("line_p10", "line_p90"))
        return f"{self.line:.0f} ns (a tenth of the time below {least:.0f}, a tenth above {most:.0f})"

    def to_repeat(self, life, lines, times):
        """The phases that are to be repeated, when that was done so many times already."""
        def bad(line):
            return line.elsewhere or (times < REPEATS_MOST and line.mark == samples.DISTURBED)
        return [phase for phase in life.phases if any(
            life.workload(w) in lines and bad(lines[life.workload(w)]) for w in plan.workloads_of(phase))]

    def sample(self, life, the_map, repetition):
        """One process, and more where others disturbed it: of each workload, the one whose threads had most of their processors.
        Returns the seconds of the first."""
        lacking = self.runners.lacks(the_map, life)
        if lacking:
            for workload in life.workloads():
                self.table.cell(workload, life.n, life.threads, the_map.name).absent = lacking
            return 0.0
        outcome, best, curve = self.process(life, the_map, repetition)
        seconds = outcome.seconds
        for times in range(REPEATS_SHORT if seconds < SHORT else REPEATS_MOST):
            disturbed = self.to_repeat(life, best, times)
            if outcome.status != "ok" or not disturbed or not self.time_for(life, the_map, repetition):
                break
            self.repeats += 1
            again, lines, other_curve = self.process(life, the_map, repetition, disturbed)
            if again.status != "ok":
                outcome = again
                break
            for workload in life.workloads(disturbed):
                if workload in lines and lines[workload].quality > best[workload].quality:
                    best[workload] = lines[workload]
                    curve = other_curve if workload == "insert" else curve
        if curve:
            self.curves.setdefault((life.n, life.threads, the_map.name), []).append(curve)
        self.record(life, the_map, outcome, best)
        return seconds

    def record(self, life, the_map, outcome, best):
        for line in best.values():
            self.table.add(line, the_map.name, self.versions.get(the_map.name))
        missing = [w for w in life.workloads() if w not in best]
        if outcome.status == "ok" and not missing:
            return
        kind = "hung" if outcome.status == "hung" else "failed"
        for workload in missing:
            cell = self.table.cell(workload, life.n, life.threads, the_map.name)
            if kind == "hung":
                cell.hung += 1
            else:
                cell.failed += 1
        key = life, the_map
        self.hangs[key] = self.hangs.get(key, 0) + 1
        last = outcome.stderr.strip().splitlines()[-1:] or ["no message"]
        text = f"{the_map.name}, {life.title}: {kind} ({outcome.detail}): {last[0]}"
        if text not in self.problems:
            self.problems.append(text)
            self.progress.line(text)

    # ---- all samples

    def time_for(self, life, the_map, repetition, seconds=None):
        """Whether an extra process still lets all that must be done be done in time."""
        now = time.monotonic()
        index = self.lives.index(life)
        rest = self.estimate.left(repetition, index, 0, self.maps) + self.reserve
        return now + rest + (self.estimate.of(life, the_map) if seconds is None else seconds) < self.deadline

    def may_start(self, life, the_map, repetition):
        """What hung or failed before is tried once more, if there is time for that."""
        times = self.hangs.get((life, the_map), 0)
        return times == 0 or (times < HANGS_MOST and self.time_for(life, the_map, repetition, plan.time_limit(the_map, life)))

    def turns(self, life, repetition, index):
        began = time.monotonic()
        order = plan.turns(self.maps, repetition)
        for i, the_map in enumerate(order):
            if not self.may_start(life, the_map, repetition):
                continue
            left = self.estimate.left(repetition, index, i, order) + self.reserve
            self.progress.step(left, f"repetition {repetition + 1}, {life.title}, {the_map.name}")
            seconds = self.sample(life, the_map, repetition)
            if (life, the_map) in self.hangs:
                self.estimate.give_up(life, the_map)
            else:
                self.estimate.add(life, the_map, seconds)
        left = self.estimate.left(repetition, index, len(order), order) + self.reserve
        self.progress.whole_life(left, f"repetition {repetition + 1}, {life.title}: {len(order)} maps in "
                                       f"{time.monotonic() - began:.1f} s")

    def measure(self):
        """Returns how many repetitions each life had."""
        done = {}
        for repetition in range(max((life.most for life in self.lives), default=0)):
            for index, life in enumerate(self.lives):
                must = repetition < life.must and (repetition < LEAST or time.monotonic() < self.deadline)
                may = repetition < life.most and self.time_for_life(life, repetition, index)
                if must or may:
                    self.turns(life, repetition, index)
                    done[life] = repetition + 1
        return done

    def time_for_life(self, life, repetition, index):
        rest = self.estimate.left(repetition, index, len(self.maps), self.maps)
        return time.monotonic() + rest + self.reserve + self.estimate.of_life(life) < self.deadline


# ---- the command line ----------------------------------------------------------------------------------

def list_of(convert):
    def parse(text):
        return [convert(part) for part in text.split(",") if part]
    return parse


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description="Measures all maps beside each other; writes results.tsv, report.md and plots.",
        epilog="For example: bench.py --maps read_dirty,tbb,go --only load_hit,mixed_90_5_5 --reps 3")
    add = parser.add_argument
    add("--quick", action="store_true", help=f"within {plan.MINUTES_QUICK} minutes; not to be quoted")
    add("--maps", type=list_of(str), metavar="LIST", help="only these: file names of adapters, go, java")
    add("--lives", type=list_of(str), metavar="LIST", help="only these groups: u64, large, churn, beside, oversubscribed, "
        "str, go, memory; and pin, by_hand, callgrind; or `none`")
    add("--only", type=list_of(str), metavar="LIST", help="only these workloads, with what they need")
    add("--threads", type=list_of(int), default=[1, 2], metavar="LIST", help="default: 1,2")
    add("--reps", type=int, help="repetitions; by default 5, of what is large 3 to 5 as the time allows")
    add("--seconds", type=float, default=plan.SECONDS, help=f"that a timed phase lasts; default: {plan.SECONDS}")
    add("--minutes", type=float, help=f"that the whole should take; default: {plan.MINUTES_FULL}, with --quick "
        f"{plan.MINUTES_QUICK}")
    add("--build", default="build/bench", help="the build's directory, with the runners in bench/; default: build/bench")
    add("--out", help="where the results go; default: BUILD/results")
    add("--estimate", action="store_true", help="print what would be run and how long it would take")
    options = parser.parse_args(arguments)
    options.minutes = options.minutes or (plan.MINUTES_QUICK if options.quick else plan.MINUTES_FULL)
    options.out = options.out or os.path.join(options.build, "results")
    known = {m.file for m in plan.MAPS}
    unknown = set(options.maps or []) - known
    if unknown:
        parser.error(f"no such maps: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return options


def choose_lives(options, cores):
    lives = (plan.quick_lives if options.quick else plan.full_lives)(options.threads, cores, options.seconds)
    chosen = plan.select(lives, options.lives, options.only, options.reps)
    return [life for life in chosen if life.threads in options.threads or life.group in ("beside", "oversubscribed", "memory")]


def print_estimate(lives, maps, estimate, reserve, progress):
    groups = {}
    for life in lives:
        entry = groups.setdefault(life.group, [0, 0.0])
        entry[0] += 1
        entry[1] += life.must * estimate.of_life(life)
    progress.line(f"{len(maps)} maps: {', '.join(m.name for m in maps)}")
    for group, (count, seconds) in groups.items():
        progress.line(f"  {group:<16} {count:2} command lines {clock(seconds):>7}")
    progress.line(f"  {'the rest':<16} {'':16} {clock(reserve):>7}")
    progress.line(f"estimate: {clock(estimate.total() + reserve)} (minutes:seconds)")


def write_results(bench, rows, facts, out):
    os.makedirs(out, exist_ok=True)

    def write(name, text):
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(text)
    write("results.tsv", samples.tsv_of(rows))
    write("latencies.tsv", samples.curves_tsv(bench.curves))
    write("run.json", json.dumps(facts, indent=1) + "\n")
    write("samples.jsonl", "".join(json.dumps(one) + "\n" for one in bench.raw))


def main(arguments):
    options = parse_arguments(arguments)
    runners = Runners(options.build)
    if not os.path.isdir(runners.directory):
        sys.exit(f"no runners in {runners.directory}: run `make bench`")
    wanted = [m for m in plan.MAPS if not options.maps or m.file in options.maps]
    maps = [m for m in wanted if runners.has(m)]
    absent = [m for m in wanted if not runners.has(m) and m.needs]
    lives = choose_lives(options, len(runners.processors))
    progress = Progress()
    bench = Bench(runners, maps, lives, options.minutes, progress)
    extras = extra.Extras(runners, maps, options)
    bench.reserve = extras.expected_seconds()
    print_estimate(lives, maps, bench.estimate, bench.reserve, progress)
    for the_map in absent:
        progress.line(f"absent: {the_map.name} (needs {the_map.needs}; `make bench-deps` installs it)")
    if options.estimate:
        return 0
    began = time.time()
    facts = machine.facts(arguments, options, began, absent)
    line = bench.measure_line()
    if line:
        facts["machine"]["a cache line to the other processor and back"] = line
        progress.line(f"a cache line to the other processor and back: {line}")
    done = bench.measure()
    rows = bench.table.rows() + extras.run(progress, bench)
    facts.update(machine.outcome(bench, done, began, extras))
    write_results(bench, rows, facts, options.out)
    report.write(options.out)
    progress.line(f"{os.path.join(options.out, 'report.md')}: {clock(time.time() - began)}")
    return 1 if bench.problems else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with the process that runs; see process.run
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
