# SPDX-License-Identifier: MIT
"""What bench.py measures besides the lives: the read sections alone (pin*), what was written by hand beside the adapters
(by_hand_*), and instructions (callgrind)."""
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import plan
import samples
from process import run

PIN_REPS = 5
BY_HAND_REPS = 15  # (quick: 5) one process differs from the next by 8 %, wherever its pages lie
REPEATS_MOST = 2  # of a disturbed sample
BY_HAND = "by hand: "
FAIR = "fair:"
COUNT_REPS = 3
OPS = 100000  # under callgrind, of a timed phase
SECONDS = 2    # under callgrind: a quarter of it for the warm-up, in which helper threads come to rest

# The runner's functions round the loops; which of them are left depends on what the compiler inlined.
WORKING = re.compile(r"^fn=\(\d+\) (?:loop_|run_|timed\b|work\b)", re.MULTILINE)

# (name in the results, phases, operations a run): callgrind counts in the timed loops only.
COUNTED = (
    ("load_hit", ("fill", "load_hit"), OPS),
    ("load_miss", ("fill", "load_miss"), OPS),
    ("update", ("fill", "update"), OPS),
    ("mixed_90_5_5", ("fill", "mixed_90_5_5"), OPS),
    ("insert", ("insert",), 1000),
    ("churn", ("churn",), OPS),
)


class Extras:
    def __init__(self, runners, maps, options):
        self.runners = runners
        self.compiled = [m for m in maps if m.kind != plan.LANGUAGE]
        self.options = options
        self.notes = []
        self.pins = runners.executables("pin") if self.wanted("pin") else []
        self.by_name = {m.name: m for m in maps}
        self.by_hand = runners.executables("by_hand_") if self.wanted("by_hand") else []
        self.by_hand_reps = 5 if options.quick else BY_HAND_REPS
        self.by_hand_sizes = (1000,) if options.quick else (1000, 1000000)
        self.counts = self.wanted("callgrind") and not options.quick
        self.limit = 60

    def wanted(self, part):
        return not self.options.only and (not self.options.lives or part in self.options.lives)

    def expected_seconds(self):
        seconds = self.options.seconds
        pins = len(self.pins) * PIN_REPS * 4 * seconds * 1.3
        by_hand = len(self.by_hand) * 2 * self.by_hand_reps * sum(2 * seconds * 1.3 + 0.8e-6 * n for n in self.by_hand_sizes)
        counted = len(self.compiled) * len(COUNTED) * COUNT_REPS * 1.0 / len(self.runners.processors) if self.counts else 0
        return 5 + pins + by_hand + counted

    def run(self, progress, bench):
        """Returns rows."""
        rows = []
        for part, what in ((self.pin, self.pins), (self.fair, self.by_hand), (self.callgrind, self.counts)):
            if what:
                progress.step(0, part.__name__)
                rows += part(progress, bench)
        return rows

    def trouble(self, progress, bench, name, outcome):
        last = outcome.stderr.strip().splitlines()[-1:] or ["no message"]
        text = f"{name}: {outcome.status} ({outcome.detail}): {last[0]}"
        if text not in bench.problems:
            bench.problems.append(text)
            progress.line(text)

    # ---- the read sections alone

    def pin(self, progress, bench):
        table = samples.Table()
        life = plan.Life("pin", 0, 1, ("pin",), self.options.seconds)
        for repetition in range(PIN_REPS):
            for name in plan.turns(self.pins, repetition):
                command = [self.runners.path(name), "--seconds", f"{life.seconds:g}"]
                self.add(table, command, life, progress, bench)
        return table.rows()

    # ---- fairness

    def fair(self, progress, bench):
        """Each program written by hand and the adapter of its map take turns, who begins too. Which map and workloads that are,
        the program says."""
        table = samples.Table()
        for n in self.by_hand_sizes:
            for name in self.by_hand:
                life = plan.Life("by_hand", n, 1, ("fill",), self.options.seconds, prefix=FAIR)
                found = self.probe(name, progress, bench)
                if not found:
                    continue
                the_map, workloads = found
                life = replace(life, phases=("fill",) + workloads)
                for repetition in range(self.by_hand_reps):
                    turns = [self.by_hand_command(name, life, repetition), self.runners.command(the_map, life, repetition + 1)]
                    for command in plan.turns(turns, repetition):
                        self.add(table, command, life, progress, bench)
        return table.rows()

    def by_hand_command(self, name, life, repetition):
        return [self.runners.path(name), "--n", str(life.n), "--seconds", f"{life.seconds:g}", "--seed", str(repetition + 1)]

    def probe(self, name, progress, bench):
        life = plan.Life("by_hand", 1000, 1, (), 0.01)
        outcome = run(self.by_hand_command(name, life, 0), self.limit)
        if outcome.status != "ok":
            self.trouble(progress, bench, name, outcome)
            return None
        head, results = samples.parse(outcome.stdout)
        the_map = self.by_name.get(head["map"][len(BY_HAND):])
        return (the_map, tuple(one["workload"] for one in results)) if the_map else None

    def add(self, table, command, life, progress, bench):
        """Runs a program and adds its lines to a table; each line may name its map."""
        for _ in range(1 + REPEATS_MOST):
            outcome = run(command, self.limit)
            if outcome.status != "ok":
                self.trouble(progress, bench, os.path.basename(command[0]), outcome)
                return
            head, results = samples.parse(outcome.stdout)
            lines = [(one, line) for one in results for line in samples.lines_of([one], life, bench.cores)]
            if all(line.mark != samples.DISTURBED for _, line in lines):
                break
        for one, line in lines:
            table.add(line, one.get("map") or head["map"], one.get("version") or head.get("version"))

    # ---- instructions

    def callgrind(self, progress, bench):
        if not shutil.which("valgrind"):
            self.notes.append("valgrind is not installed: no instructions were counted.")
            return []
        null = os.access(self.runners.path("run_null"), os.X_OK)
        nothing = plan.Map("null", "null", plan.LIMIT, "#000000")
        counted_maps = ([nothing] if null else []) + self.compiled
        jobs = [(m, counted) for _ in range(COUNT_REPS) for counted in COUNTED for m in counted_maps]
        counts = {}
        with ThreadPoolExecutor(len(self.runners.processors)) as pool:
            for (the_map, counted), (count, outcome) in zip(jobs, pool.map(lambda job: self.count(*job), jobs)):
                if outcome.status != "ok":
                    self.trouble(progress, bench, f"{the_map.name}, callgrind, {counted[0]}", outcome)
                counts.setdefault((the_map, counted[0]), []).append((count, outcome.status))
        self.note_of_counts(null)
        return [self.counted_row(m, counted[0], counts, nothing, bench) for counted in COUNTED for m in self.compiled]

    @staticmethod
    def counted_row(the_map, name, counts, nothing, bench):
        several = counts[the_map, name]
        loops = [count for count, _ in counts.get((nothing, name), ()) if count is not None]
        net = [count - (samples.median(loops) if loops else 0) for count, _ in several if count is not None]
        failed = any(status != "ok" for _, status in several)
        mark = "failed" if failed else "" if net else "absent: no such phase"
        return samples.Row("callgrind_" + name, 1000, 1, the_map.name, "instructions/op", samples.median(net) if net else None,
                           min(net, default=None), max(net, default=None), None, bench.versions.get(the_map.name, ""), mark)

    def note_of_counts(self, null):
        self.notes.append("Instructions: one thread, 1,000 keys, by callgrind, in the timed loops only, of the thread that works: "
                          "helper threads of a map, if it has any, are not counted" + (
            ", and those of the same loops round a map that does nothing are subtracted." if null else
            "; those of the loop itself, about ten for an operation, are.") +
            " insert is the mean of 1,000 inserts into an empty map, with its growing and the reading of the clock; "
            "churn is the mean over an insert, four loads and a delete. The median of three runs. cds_lfht grows by a helper "
                          "thread, which valgrind may keep waiting; then the loop works on a table that is still too small.")

    def count(self, the_map, counted):
        """Instructions for an operation, or None; and what became of the process."""
        _, phases, operations = counted
        life = plan.Life("callgrind", 1000, 1, phases, SECONDS)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "callgrind.out")
            command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", "--fair-sched=yes",
                       f"--callgrind-out-file={path}"]
            command += self.runners.command(the_map, life, 1) + ["--ops", str(operations)]
            outcome = run(command, 4 * self.limit)
            if outcome.status != "ok" or not any_value(outcome.stdout):
                return None, outcome
            count = instructions_in(directory) / operations
            if count == 0:
                outcome.status, outcome.detail = "failed", "callgrind has counted nothing"
            return count or None, outcome


def instructions_in(directory):
    """Of the thread that ran the timed loop. Those of helper threads differ from run to run: they wait in loops, while valgrind runs one
    thread at a time."""
    texts = []
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
            texts.append(file.read())
    working = [text for text in texts if WORKING.search(text)]
    return sum(samples.callgrind_total(text) for text in working)


def any_value(text):
    return any("value" in one for one in samples.parse(text)[1])
