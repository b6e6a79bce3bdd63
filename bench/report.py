#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""report.py DIR: report.md and the plots, from the results.tsv, latencies.tsv and run.json in DIR.
report.py --ratios results.tsv: the README's table of ratios."""
import json
import os
import sys

sys.dont_write_bytecode = True
import plan  # noqa: E402
import plots  # noqa: E402
import samples  # noqa: E402

KIND = {m.name: m.kind for m in plan.MAPS}
ENGINES = [m.name for m in plan.MAPS if m.kind == plan.ENGINE]


# ---- small things --------------------------------------------------------------------------------------

def lower_is_better(unit):
    return unit.startswith(("ns", "B", "instructions"))


def figure(value):
    """Three significant digits."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"


def scale_of(row):
    """Nanoseconds are shown in the unit that fits: what to divide by, and its name."""
    if row.unit != "ns":
        return 1, ""
    return next((step, name) for step, name in ((1e9, " s"), (1e6, " ms"), (1e3, " µs"), (0, " ns")) if row.median >= step)


def cell(row, spread=True):
    """The median, and from the least to the greatest."""
    if row is None:
        return ""
    if row.median is None:
        return row.mark.split(":")[0] or "no result"
    by, unit = scale_of(row)
    by = by or 1
    text = figure(row.median / by) + unit
    if spread and row.min is not None and row.max > row.min:
        text += f" ({figure(row.min / by)}–{figure(row.max / by)})"
    mark = {"": "", "hung": " hung", "failed": " failed"}.get(row.mark, " " + row.mark.replace("*", "\\*"))
    return text + mark


def markdown(head, lines):
    """A table; the first column is text, the others are numbers."""
    out = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in lines])


def threads_text(threads):
    return f"{threads} thread" + ("s" if threads != 1 else "")


def size_text(n):
    return f"{n:,}".replace(",", " ")


# ---- ratios --------------------------------------------------------------------------------------------

class Index:
    """Rows by what they are of."""

    def __init__(self, rows):
        self.rows = rows
        self.by = {(row.key, row.map): row for row in rows}
        self.keys = list(dict.fromkeys(row.key for row in rows))

    def row(self, key, name):
        return self.by.get((key, name))

    def median(self, key, name):
        row = self.row(key, name)
        return row.median if row else None

    def best_peer(self, key):
        """The row of the best of Debian's C and C++ maps that are safe between threads."""
        peers = [row for row in self.rows if row.key == key and row.median is not None and KIND.get(row.map) == plan.PEER]
        if not peers:
            return None
        return (min if lower_is_better(peers[0].unit) else max)(peers, key=lambda row: row.median)

    def engines(self):
        return [name for name in ENGINES if any(row.map == name and row.median is not None for row in self.rows)]


def ratio(row, other):
    """How many times better a row is than another: above 1 is better, whatever the unit."""
    if row is None or other is None or not row.median or not other.median:
        return None
    return other.median / row.median if lower_is_better(row.unit) else row.median / other.median


def ratio_text(value):
    if value is None:
        return ""
    if value < 0.1:
        return figure(value)
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


RATIO_ROWS = (
    ("load_hit", 1000), ("load_hit", 1000000), ("load_hit_zipf", 1000000), ("load_hit", 10000000), ("load_miss", 1000000),
    ("update", 1000000), ("insert", 1000000), ("insert", 10000000), ("mixed_90_5_5", 1000000), ("mixed_50_25_25", 1000000),
    ("churn", 1000), ("hot_key", 1000), ("reader_beside_writer", 100000), ("range", 100000), ("oversubscribed_load_hit", 100000),
    ("str_load_hit", 1000000), ("str_mixed_90_5_5", 1000000), ("memory_full", 10000000))


def ratios(rows):
    """The table of ratios: each engine beside the best peer of Debian's, Go's map, and the rwlock."""
    index = Index(rows)
    engines = index.engines()
    head = ["workload", "n", "threads"]
    for engine in engines:
        head += [engine, "÷ best of Debian's C and C++", "÷ Go sync.Map", "÷ rwlock + GLib"]
    lines = []
    for workload, n in RATIO_ROWS:
        for key in [k for k in index.keys if k[0] == workload and k[1] == n]:
            line = [workload, plan.short(n), str(key[2])]
            for engine in engines:
                row, best = index.row(key, engine), index.best_peer(key)
                line.append(f"{figure(row.median)} {row.unit}" if row and row.median is not None else "")
                best_text = ratio_text(ratio(row, best))
                line.append(f"{best_text} ({best.map})" if best_text else "")
                line += [ratio_text(ratio(row, index.row(key, name))) for name in (plan.GO, plan.RWLOCK)]
            if any(line[3:]):
                lines.append(line)
    return markdown(head, lines) + "\n"


# ---- tables --------------------------------------------------------------------------------------------

def columns_table(index, columns, names):
    """Maps as rows; `columns`: (head, key). The best of each column is bold; below, the engines beside the best peer."""
    head = ["map"] + [text for text, _ in columns]
    best = {}
    for _, key in columns:
        rows = [index.row(key, name) for name in names]
        rows = [row for row in rows if row and row.median is not None and KIND.get(row.map) != plan.LIMIT]
        if rows:
            best[key] = (min if lower_is_better(rows[0].unit) else max)(rows, key=lambda row: row.median).map
    lines = []
    for name in names:
        texts = [cell(index.row(key, name)) for _, key in columns]
        texts = [f"**{text}**" if text and best.get(key) == name else text for text, (_, key) in zip(texts, columns)]
        if any(texts):
            lines.append([name] + texts)
    for engine in [e for e in index.engines() if e in names]:
        texts = []
        for _, key in columns:
            peer = index.best_peer(key)
            text = ratio_text(ratio(index.row(key, engine), peer))
            texts.append(f"{text} ({peer.map})" if text else "")
        if any(texts):
            lines.append([f"*{engine} ÷ best peer*"] + [f"*{text}*" if text else "" for text in texts])
    return markdown(head, lines)


def workload_table(index, workload, names):
    """All n and numbers of threads of one workload."""
    keys = sorted((key for key in index.keys if key[0] == workload), key=lambda key: key[1:])
    if not keys:
        return None
    unit = next((row.unit for row in index.rows if row.key in keys and row.unit), "")
    columns = [(f"n = {plan.short(n)}, {threads_text(t)}", (w, n, t)) for w, n, t in keys]
    return unit, columns_table(index, columns, names)


WORKLOADS = (
    ("load_hit", "Loads of keys that are there, drawn uniformly."),
    ("load_hit_zipf", "The same, drawn by Zipf's law with exponent 0.99: few keys get most of the loads."),
    ("load_miss", "Loads of keys that are not there."),
    ("load_many", "Loads of keys that are there, 64 in one call. Only syncmap has such a call: beside load_hit, it shows what that is for."),
    ("update", "Stores to keys that are there."),
    ("hot_key", "All threads store and load one key, in turn."),
    ("mixed_90_5_5", "90 % loads, 5 % load_or_store, 5 % deletes, of twice as many keys as there are."),
    ("mixed_50_25_25", "50 % loads, 25 % load_or_store, 25 % deletes, likewise."),
    ("insert", "load_or_store of n new keys into an empty map, which grows by itself."),
    ("churn", "Insert a fresh key, load it four times, delete the key that was inserted 1,000 rounds before."),
    ("reader_beside_writer", "Loads, while another thread updates, inserts and deletes; the readers' rate."),
    ("writer_beside_reader", "The writer's rate in the same runs."),
    ("range", "One thread walks the whole map, again and again, while the others write."),
    ("writer_beside_range", "The writers' rate in the same runs."),
    ("oversubscribed_load_hit", "load_hit by eight threads for each core."),
    ("oversubscribed_mixed_90_5_5", "mixed_90_5_5 by eight threads for each core."),
    ("str_load_hit", "String keys of 8 to 64 bytes: load_hit."),
    ("str_load_miss", "String keys: load_miss."),
    ("str_mixed_90_5_5", "String keys: mixed_90_5_5."),
    ("str_mixed_50_25_25", "String keys: mixed_50_25_25."),
)


def workload_tables(index, names):
    out = []
    for workload, text in WORKLOADS:
        found = workload_table(index, workload, names)
        if found:
            out.append(f"### {workload}\n\n{text} {found[0]}.\n\n{found[1]}")
    return out


LATENCY_ROWS = (("insert_p50", "50 %"), ("insert_p99", "99 %"), ("insert_p99.9", "99.9 %"), ("insert_p99.99", "99.99 %"),
                ("insert_max", "greatest"))


def latency_tables(index, names):
    out = []
    for n, threads in sorted({key[1:] for key in index.keys if key[0] == "insert_p50"}):
        columns = [(text, (workload, n, threads)) for workload, text in LATENCY_ROWS]
        out.append(f"n = {plan.short(n)}, {threads_text(threads)}:\n\n{columns_table(index, columns, names)}")
    return out


def memory_tables(index, names):
    out = []
    for n, threads in sorted({key[1:] for key in index.keys if key[0] == "memory_full"}):
        columns = [("full, B/entry", ("memory_full", n, threads)), ("peak, B/entry", ("memory_peak", n, threads)),
                   ("after deleting all, B/entry", ("memory_deleted", n, threads))]
        empty = [key for key in index.keys if key[0] == "memory_empty"]
        columns += [("an empty map, B", key) for key in empty[:1]]
        out.append(f"n = {plan.short(n)}:\n\n{columns_table(index, columns, names)}")
    return out


def go_tables(index, names):
    """Workloads as rows; medians only."""
    out = []
    for threads in sorted({key[2] for key in index.keys if key[0].startswith("go:")}):
        keys = [key for key in index.keys if key[0].startswith("go:") and key[2] == threads]
        order = {"go:" + name: i for i, name in enumerate(plan.GO_WORKLOADS)}
        keys.sort(key=lambda key: order.get(key[0], len(order)))
        shown = [n for n in names if any(index.median(key, n) is not None for key in keys)]
        engines = [e for e in index.engines() if e in shown]
        head = ["workload"] + shown + [f"{e} ÷ Go" for e in engines] + [f"{e} ÷ best peer" for e in engines]
        lines = []
        for key in keys:
            best = index.best_peer(key)
            line = [key[0][3:]] + [cell(index.row(key, name), spread=False) for name in shown]
            line += [ratio_text(ratio(index.row(key, e), index.row(key, plan.GO))) for e in engines]
            line += [ratio_text(ratio(index.row(key, e), best)) for e in engines]
            lines.append(line)
        out.append(f"{threads_text(threads).capitalize()}, Mops/s:\n\n{markdown(head, lines)}")
    return out


def prefixed_table(index, names, prefix):
    """All workloads whose names begin so, as columns."""
    keys = [key for key in index.keys if key[0].startswith(prefix)]
    extra = plots.in_order({row.map for row in index.rows if row.key in keys})
    shown = [name for name in extra if name in names] + [name for name in extra if name not in names]
    columns = [(key[0][len(prefix):] + (f", {threads_text(key[2])}" if key[2] > 1 else ""), key) for key in keys]
    return columns_table(index, columns, shown) if keys else None


def pin_table(index):
    """Schemes as rows: the ns of an empty read section."""
    rows = [row for row in index.rows if row.workload == "pin"]
    return markdown(["scheme", "a section", "version"], [[row.map, cell(row), row.version] for row in rows]) if rows else None


def fairness(index):
    """What was written by hand against a map's API, beside the adapter: `fair:` rows, in which each map has two."""
    lines = []
    for key in [k for k in index.keys if k[0].startswith("fair:")]:
        for row in [r for r in index.rows if r.key == key and r.map.startswith("by hand: ")]:
            name = row.map[len("by hand: "):]
            adapter = index.row(key, name)
            if adapter and adapter.median and row.median:
                difference = (adapter.median / row.median - 1) * 100
                lines.append([f"{key[0][5:]}, n = {plan.short(key[1])}, {threads_text(key[2])}", name, cell(row), cell(adapter),
                              row.unit, f"{difference:+.1f} %"])
    return markdown(["workload", "map", "by hand", "adapter", "unit", "adapter − by hand"], lines) if lines else None


# ---- the report ----------------------------------------------------------------------------------------

METHOD = """- One runner, one source: it is compiled once for each map with that map's adapter, so that all calls are
  inlined. Go's and Java's maps run the same workloads in their own languages. Each sample is a process of its own.
- For each repetition and each command line all maps take turns, in an order that rotates. A row is the median of all
  repetitions; in parentheses the least and the greatest.
- Threads are pinned, warm up, start together, and draw nothing while the clock runs. Keys are scattered over 64 bits; every
  result is checked, and a wrong one ends the run with an error.
- Maps grow by themselves from empty; none is told how many keys will come.
- Mops/s: million operations a second, of all threads together.
- A sample one of whose threads had less than 0.9 of its processor is repeated, up to twice. **\\***: still so. **s**: the map's
  own doing, as its threads sleep in front of its locks (more than 1,000 times a second) or it has helper threads of its own; not
  repeated.
- A virtual machine's processors are now neighbours, now far apart. So before and after each timed part of C and C++ maps two threads
  pass a cache line to and fro. A sample where that took more than 1.6 times longer or shorter than is usual (the median
  before all else) is repeated, up to eight times, up to twice what takes long. **p**: still so.
- **Bold**: the best of the column, without the table that has no lock and only shows a limit. *÷ best peer*: how many times better syncmap is than the best of the C and C++ maps that are
  safe between threads, whatever the unit: above 1 it is better, below 1 worse."""


def repetitions(facts):
    """'5; large: 3', where 5 is of all that are not named."""
    groups = {}
    for life in facts["lives"]:
        groups.setdefault(life["group"], set()).add(life["repetitions"])
    counts = [count for several in groups.values() for count in several]
    usual = max(set(counts), key=counts.count, default=0)
    others = [f"{group}: {', '.join(str(count) for count in sorted(several))}" for group, several in groups.items()
              if several != {usual}]
    return "; ".join([str(usual)] + others)


def machine_table(facts):
    lines = [[name, text] for name, text in facts["machine"].items()]
    lines += [["repetitions", repetitions(facts)], ["disturbed samples repeated", str(facts["repeats"])], ["it took", f"{facts['minutes']} minutes"]]
    out = ["| | |", "|---|---|"] + [f"| {name} | {text} |" for name, text in lines]
    return "\n".join(out)


def not_measured(rows, facts):
    """What is absent, hung or failed, by map: never left out in silence."""
    lines = [f"- {name}: {why}" for name, why in facts["absent"].items()]
    by = {}
    for row in rows:
        if row.mark.startswith(("absent", "hung", "failed")):
            size = f"n = {plan.short(row.n)}, " if row.n else ""
            by.setdefault((row.map, row.mark), []).append(f"{row.workload} ({size}{threads_text(row.threads)})")
    for (name, mark), what in by.items():
        lines.append(f"- {name}: {mark}: {', '.join(what)}" if len(what) <= 12 else
                     f"- {name}: {mark}: {len(what)} rows, from {what[0]} to {what[-1]}")
    lines += [f"- {problem}" for problem in facts["problems"]]
    return "\n".join(lines) if lines else "Nothing: all maps did all workloads."


def command_lines(facts):
    lines = []
    for life in facts["lives"]:
        suffix = "_str" if life["keys"] == "str" else ""
        arguments = life["arguments"].replace("--keys str ", "")
        lines.append(f"run_MAP{suffix} {arguments}")
    return "```\n" + "\n".join(dict.fromkeys(lines)) + "\n```"


def section(title, parts):
    parts = [part for part in parts if part]
    return f"## {title}\n\n" + "\n\n".join(parts) if parts else None


def picture(name, text, made):
    return f"![{text}]({name}.svg)" if name in made else None


def compose(rows, facts, made):
    index = Index(rows)
    names = plots.in_order({row.map for row in rows if not row.map.startswith("by hand: ") and row.map in KIND})
    versions = [[name, facts["versions"].get(name, "")] for name in names]
    throughput = [picture(name, "Throughput: " + name.rpartition("_")[2], made) for name in sorted(made)
                  if name.startswith("throughput_")]
    sections = [
        "# Benchmark report", f"`{facts['command']}`" + ("\n\nA quick run: fewer and shorter samples. Not to be quoted."
                                                         if facts["quick"] else ""),
        section("Machine", [machine_table(facts)]),
        section("Maps", [markdown(["map", "version"], versions)]),
        section("Method", [METHOD, "\n".join(f"- {note}" for note in facts["notes"])]),
        section("Ratios", [ratios(rows)]),
        section("Throughput", throughput + workload_tables(index, names)),
        section("Latency of an insert", [picture(name, "Latency percentiles of insert", made) for name in sorted(made)
                                         if name.startswith("latency_")] + latency_tables(index, names)),
        section("Memory", [picture("memory", "Memory", made)] + memory_tables(index, names)),
        section("The workloads of Go's own benchmarks of sync.Map", [picture("go", "Go's workloads", made)] + go_tables(index, names)),
        section("Read sections alone", [pin_table(index)]),
        section("Instructions for an operation (callgrind)", [picture("instructions", "Instructions", made),
                                                              prefixed_table(index, names, "callgrind_")]),
        section("Fairness: written by hand against the map's API, beside the adapter", [fairness(index)]),
        section("Absent, hung, failed", [not_measured(rows, facts)]),
        section("Command lines", ["With `run_MAP` for each map; the seed is the repetition's number:", command_lines(facts)]),
    ]
    return "\n\n".join(part for part in sections if part) + "\n"


# ---- the pictures --------------------------------------------------------------------------------------

PICTURED = ("load_hit", "load_hit_zipf", "load_miss", "update", "hot_key", "mixed_90_5_5", "mixed_50_25_25", "insert")
BARS_NOTE = "million operations a second, all threads together; longer is better; line: least to greatest of the repetitions"


def shades(threads):
    if len(threads) == 1:
        return threads_text(threads[0])
    return "bars from top to bottom, pale to strong: " + ", ".join(threads_text(t) for t in threads)


def throughput_pictures(rows, names, out):
    made = []
    for n in sorted({row.n for row in rows if row.workload == "load_hit"}):
        of_n = [row for row in rows if row.n == n]
        threads = sorted({row.threads for row in of_n if row.workload in PICTURED})
        shown = [w for w in PICTURED if any(row.workload == w and row.median is not None for row in of_n)]
        panels = [plots.bar_panel(w, of_n, names, w, n, threads) for w in shown]
        if panels:
            name = "throughput_" + plan.short(n)
            plots.panels(os.path.join(out, name), f"Throughput with {size_text(n)} keys", f"{BARS_NOTE}; {shades(threads)}",
                         panels, min(4, len(panels)))
            made.append(name)
    return made


def overview_picture(rows, names, out):
    """For the README: what fits in one look."""
    n = max((row.n for row in rows if row.workload == "mixed_90_5_5" and row.n <= 1000000), default=None)
    shown = [w for w in ("load_hit", "mixed_90_5_5", "insert") if any(r.workload == w and r.n == n and r.median for r in rows)]
    if not shown:
        return []
    of_n = [row for row in rows if row.n == n]
    threads = sorted({row.threads for row in of_n if row.workload in shown})
    plots.panels(os.path.join(out, "overview"), f"Throughput with {size_text(n)} keys", f"Mops/s; longer is better; {shades(threads)}",
                 [plots.bar_panel(w, of_n, names, w, n, threads) for w in shown], len(shown))
    return ["overview"]


def other_picture(rows, names, out):
    """The workloads of one size each."""
    wanted = [key for key in dict.fromkeys(row.key for row in rows) if key[0] in (
        "churn", "reader_beside_writer", "range", "oversubscribed_load_hit", "oversubscribed_mixed_90_5_5")]
    by = {}
    for workload, n, threads in wanted:
        by.setdefault((workload, n), []).append(threads)
    panels = []
    for (workload, n), threads in by.items():
        text = ", ".join(str(t) for t in sorted(threads))
        panels.append(plots.bar_panel(f"{workload}\nn = {plan.short(n)}, threads: {text}", rows, names, workload, n, sorted(threads)))
    if panels:
        plots.panels(os.path.join(out, "throughput_others"), "Throughput of other workloads", BARS_NOTE, panels, min(3, len(panels)))
        return ["throughput_others"]
    return []


def memory_picture(rows, names, out):
    n = max((row.n for row in rows if row.workload == "memory_full"), default=None)
    titles = (("memory_full", "full"), ("memory_peak", "peak on the way"), ("memory_deleted", "after deleting all"))
    panels = [plots.bar_panel(title, rows, names, workload, n, [1]) for workload, title in titles
              if any(row.workload == workload and row.median is not None for row in rows)]
    if not panels:
        return []
    plots.panels(os.path.join(out, "memory"), f"Memory with {size_text(n)} integer keys and values",
                 "bytes for each of these entries; shorter is better; line: least to greatest of the repetitions", panels, len(panels),
                 same_scale=True)
    return ["memory"]


def instructions_picture(rows, names, out):
    workloads = list(dict.fromkeys(row.workload for row in rows if row.workload.startswith("callgrind_") and row.median))
    panels = [plots.bar_panel(w[len("callgrind_"):], rows, names, w, 1000, [1]) for w in workloads]
    if not panels:
        return []
    names = [name for name in names if any(row.map == name and row.workload in workloads for row in rows)]
    for panel in panels:
        panel.bars = {name: panel.bars[name] for name in names}
    plots.panels(os.path.join(out, "instructions"), "Instructions for an operation, with 1 000 keys and one thread",
                 "counted by callgrind; shorter is better", panels, min(3, len(panels)))
    return ["instructions"]


def latency_pictures(out):
    path = os.path.join(out, "latencies.tsv")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        curves = samples.curves_of(file.read())
    made = []
    for n in sorted({n for n, _ in curves}):
        name = "latency_" + plan.short(n)
        plots.latencies(os.path.join(out, name), f"Latency of an insert, {size_text(n)} new keys into an empty map",
                        "which grows by itself; lower is better; the further right, the rarer: one insert in 10, 100, 1 000 ...", n,
                        {t: curves[m, t] for m, t in curves if m == n})
        made.append(name)
    return made


def go_picture(rows, out):
    of_go = [row for row in rows if row.workload.startswith("go:")]
    threads = sorted({row.threads for row in of_go if row.median})
    if not threads:
        return []
    plots.dots(os.path.join(out, "go"), "The workloads of Go's own benchmarks of sync.Map", "further right is better", of_go, threads,
               ["go:" + name for name in plan.GO_WORKLOADS], "go:")
    return ["go"]


def pictures(rows, out):
    """Draws all that there are rows for. Returns their names."""
    names = plots.in_order({row.map for row in rows if row.map in KIND})
    plain = [row for row in rows if not row.workload.startswith("fair:")]
    made = throughput_pictures(plain, names, out) + overview_picture(plain, names, out) + other_picture(plain, names, out)
    made += memory_picture(plain, names, out) + instructions_picture(plain, names, out)
    return made + latency_pictures(out) + go_picture(plain, out)


def read_rows(path):
    with open(path, encoding="utf-8") as file:
        return samples.rows_of(file.read())


def write(out):
    rows = read_rows(os.path.join(out, "results.tsv"))
    with open(os.path.join(out, "run.json"), encoding="utf-8") as file:
        facts = json.load(file)
    made = pictures(rows, out) if plots.available() else []
    with open(os.path.join(out, "report.md"), "w", encoding="utf-8") as file:
        file.write(compose(rows, facts, made))


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--ratios":
        sys.stdout.write(ratios(read_rows(arguments[1])))
    elif len(arguments) == 1 and os.path.isdir(arguments[0]):
        write(arguments[0])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
