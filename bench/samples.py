# SPDX-License-Identifier: MIT
"""From the lines of the runners to rows: parsing, marks, medians, results.tsv. Nothing here runs anything."""
import json
from dataclasses import dataclass, field
from typing import List, Optional

from plan import workloads_of

SHARE_ENOUGH = 0.9
SLEEPS_MANY = 1000  # a second, in all threads: then the map itself gives the processor away

LINE_NEAR = 1.6     # times longer or shorter than usual, for a cache line to another processor and back: else it is elsewhere

FINE, OWN_DOING, DISTURBED, ELSEWHERE = "", "s", "*", "p"
COLUMNS = ("workload", "n", "threads", "map", "unit", "median", "min", "max", "cpu_share", "version", "mark")


@dataclass
class Line:
    """One result of one process."""
    workload: str
    n: int = 0
    threads: int = 1
    unit: str = ""
    value: float = 0.0
    share: Optional[float] = None  # of its processor that a thread had, the least of all; of 1 even when oversubscribed
    mark: str = FINE
    elsewhere: bool = False  # the processors were not as far from each other as usual, before or after
    absent: Optional[str] = None

    @property
    def marks(self):
        return {mark for mark in (self.mark, ELSEWHERE if self.elsewhere else FINE) if mark}

    @property
    def quality(self):
        """What of two samples of the same is the better one by."""
        return not self.elsewhere, self.share if self.share is not None else 1.0


def parse(text):
    """The runner's head (map, version, language) and its result lines, as dictionaries. A last line that was cut off is left out;
    any other that is no JSON object raises ValueError."""
    head, results = {}, []
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
        except ValueError:
            if i == len(lines) - 1:  # no newline after it
                break
            raise ValueError(f"not a result: {line[:200]}") from None
        if not isinstance(one, dict):
            raise ValueError(f"not a result: {line[:200]}")
        if "workload" in one:
            results.append(one)
        elif not head:
            head = one
    return head, results


def seconds_of(one, life_seconds):
    """How long the phase of a result line lasted."""
    if one["workload"] == "insert" and one.get("value"):
        return one["n"] / (one["value"] * 1e6)
    return life_seconds


def fair_share(one, cores):
    """What a thread had of its processor, and all of the process, as a part of what they could have had."""
    share, process = one.get("share"), one.get("process_share")
    if share is None:
        return None, None
    process = share if process is None else process
    threads = one.get("threads", 1)
    if threads > cores:  # the threads take turns, as long as they please; what counts is whether others did too
        return process * threads / cores, process * threads / cores
    return share, process


def judge(one, cores, life_seconds):
    """The share and the mark of a result line: undisturbed, the map's own doing, or disturbed."""
    share, process = fair_share(one, cores)
    if share is None or share >= SHARE_ENOUGH:
        return share, FINE
    sleeps = one.get("sleeps", 0) / max(seconds_of(one, life_seconds), 1e-9)
    if process >= SHARE_ENOUGH or sleeps > SLEEPS_MANY:
        return share, OWN_DOING
    return share, DISTURBED


def is_elsewhere(one, usual):
    """usual: ns, or None where it is not known."""
    return bool(usual) and not all(usual / LINE_NEAR <= ns <= usual * LINE_NEAR for ns in one.get("line_ns", ()))


def lines_of(results, life, cores, usual=None):
    """Result lines as Line objects, named as the life names them. A line without a share (a percentile of insert) has that of the
    one before it."""
    out, share, mark, elsewhere = [], None, FINE, False
    for one in results:
        one = {"n": life.n, "threads": life.threads, **one}
        one["n"] = one["n"] if life.n else 0
        if "absent" in one:
            out += [Line(life.workload(w), one["n"], one["threads"], absent=str(one["absent"]))
                    for w in workloads_of(one["workload"])]
            continue
        if not one["workload"].startswith("insert_"):
            share, mark = judge(one, cores, life.seconds)
            elsewhere = is_elsewhere(one, usual)
        out.append(Line(life.workload(one["workload"]), one["n"], one["threads"], one["unit"], float(one["value"]),
                        share, mark, elsewhere))
    return out


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        raise ValueError("median of nothing")
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass
class Cell:
    """All that was seen of one workload, n, number of threads and map."""
    unit: str = ""
    lines: List[Line] = field(default_factory=list)
    absent: Optional[str] = None
    hung: int = 0
    failed: int = 0
    version: str = ""


@dataclass
class Row:
    workload: str
    n: int
    threads: int
    map: str
    unit: str
    median: Optional[float]
    min: Optional[float]
    max: Optional[float]
    share: Optional[float]
    version: str
    mark: str

    @property
    def key(self):
        return self.workload, self.n, self.threads


def summarise(key, cell):
    """The row of a cell. A row with samples may be marked as hung too: some hung, some not."""
    workload, n, threads, name = key
    values = [line.value for line in cell.lines]
    shares = [line.share for line in cell.lines if line.share is not None]
    marks = {mark for line in cell.lines for mark in line.marks}
    mark = " ".join(m for m in (OWN_DOING, DISTURBED, ELSEWHERE) if m in marks)
    if cell.failed:
        mark = "failed"
    elif cell.hung:
        mark = "hung"
    elif not values:
        mark = "absent: " + (cell.absent or "no result")
    return Row(workload, n, threads, name, cell.unit, median(values) if values else None,
               min(values, default=None), max(values, default=None), min(shares, default=None), cell.version, mark)


class Table:
    """Cells by (workload, n, threads, map's name), in the order in which they came."""

    def __init__(self):
        self.cells = {}

    def cell(self, workload, n, threads, name):
        return self.cells.setdefault((workload, n, threads, name), Cell())

    def add(self, line, name, version):
        cell = self.cell(line.workload, line.n, line.threads, name)
        cell.version = version or cell.version
        if line.absent is not None:
            cell.absent = line.absent
            return
        cell.unit = line.unit
        cell.lines.append(line)

    def rows(self):
        return [summarise(key, cell) for key, cell in self.cells.items()]


# ---- results.tsv ---------------------------------------------------------------------------------------

NOTHING = "-"


def number(value):
    """Five significant digits, never in powers of ten."""
    if value is None:
        return NOTHING
    if value == 0 or abs(value) >= 10000:
        return f"{value:.0f}"
    text = f"{value:.5g}"
    return text if "e" not in text else f"{value:.9f}"


def clean(text):
    return " ".join(str(text).split()) or NOTHING


def tsv_of(rows):
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        share = NOTHING if row.share is None else f"{row.share:.3f}"
        lines.append("\t".join([row.workload, str(row.n), str(row.threads), clean(row.map), clean(row.unit),
                                number(row.median), number(row.min), number(row.max), share, clean(row.version),
                                clean(row.mark)]))
    return "\n".join(lines) + "\n"


def rows_of(text):
    """The rows of a results.tsv."""
    lines = text.splitlines()
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise ValueError("not a results.tsv: its first line is another")
    rows = []
    for line in lines[1:]:
        fields = line.split("\t")
        if len(fields) != len(COLUMNS):
            raise ValueError(f"not a row of results.tsv: {line[:200]}")
        w, n, threads, name, unit = fields[:5]
        numbers = [None if f == NOTHING else float(f) for f in fields[5:9]]
        version, mark = ("" if f == NOTHING else f for f in fields[9:11])
        rows.append(Row(w, int(n), int(threads), name, "" if unit == NOTHING else unit, *numbers, version, mark))
    return rows


def callgrind_total(text):
    """Instructions, from a callgrind.out file."""
    for wanted in ("totals:", "summary:"):
        for line in text.splitlines():
            if line.startswith(wanted):
                return int(line.split()[1])
    raise ValueError("no total in callgrind's file")


def curve_of(text):
    """Lines 'percentile<TAB>ns' as a dictionary."""
    return {float(p): float(ns) for p, ns in (line.split("\t") for line in text.splitlines() if line.strip())}


CURVE_COLUMNS = ("n", "threads", "map", "percentile", "ns", "min", "max")


def curves_tsv(curves):
    """Of each percentile of insert's latencies, the median over the repetitions; `curves`: (n, threads, map) -> a list of curves."""
    lines = ["\t".join(CURVE_COLUMNS)]
    for (n, threads, name), several in curves.items():
        for percentile in sorted(set.intersection(*(set(curve) for curve in several))):
            values = [curve[percentile] for curve in several]
            lines.append("\t".join([str(n), str(threads), name, f"{percentile:g}" if percentile < 99 else f"{percentile:.8g}",
                                    number(median(values)), number(min(values)), number(max(values))]))
    return "\n".join(lines) + "\n"


def curves_of(text):
    """(n, threads) -> map -> list of (percentile, ns), from a latencies.tsv."""
    curves = {}
    for line in text.splitlines()[1:]:
        n, threads, name, percentile, ns = line.split("\t")[:5]
        curves.setdefault((int(n), int(threads)), {}).setdefault(name, []).append((float(percentile), float(ns)))
    return curves
