# SPDX-License-Identifier: MIT
"""The pictures, by gnuplot, each as SVG and as PNG. A map has the same colour in all of them."""
import os
import shutil
import subprocess
import sys

import plan

FONT = "DejaVu Sans"
FALLBACKS = "DejaVu Sans, Verdana, Arial, sans-serif"
COLOUR = {m.name: m.colour for m in plan.MAPS}
ORDER = {m.name: i for i, m in enumerate(plan.MAPS)}
ENGINES = {m.name for m in plan.MAPS if m.kind == plan.ENGINE}
OTHER_COLOUR = "#404040"
TEXT = "#202020"


def colour_of(name):
    return COLOUR.get(name, OTHER_COLOUR)


def paler(colour, part=0.55):
    """Mixed with white."""
    parts = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (255 - c) * part):02x}" for c in parts)


def in_order(names):
    return sorted(names, key=lambda name: (ORDER.get(name, len(ORDER)), name))


def quoted(text):
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def short_number(value):
    """Three digits, for the end of a bar."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def draw(path, width, height, body):
    """Runs gnuplot twice: path.svg and path.png. The body draws within a multiplot."""
    terminals = {"png": f'pngcairo noenhanced size {width},{height} font "{FONT},10" background rgb "white"',
                 "svg": f'svg noenhanced size {width},{height} font "{FONT},10" background rgb "white" dynamic'}
    for suffix, terminal in terminals.items():
        script = "\n".join([f"set terminal {terminal}", f"set output {quoted(path + '.' + suffix)}", "set multiplot", body,
                            "unset multiplot", "set output"])
        result = subprocess.run(["gnuplot"], input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if result.returncode != 0 or not os.path.exists(path + "." + suffix):
            sys.exit(f"gnuplot: {result.stdout.strip()[:2000]}")
    with open(path + ".svg", encoding="utf-8") as file:
        text = file.read()
    with open(path + ".svg", "w", encoding="utf-8") as file:
        file.write(text.replace(f'font-family="{FONT}"', f'font-family="{FALLBACKS}"'))


HEAD = 62  # pixels above the first panel's title


def heading(title, note, width, height):
    """A title at the top left, and a line below it that says how to read the picture."""
    return "\n".join([
        "unset label",
        f"set label 1 {quoted(title)} at screen {12 / width:.5f},{1 - 20 / height:.5f} left font \"{FONT} Bold,13\"",
        f"set label 2 {quoted(note)} at screen {12 / width:.5f},{1 - 42 / height:.5f} left font \"{FONT},10\" tc rgb \"#404040\"",
    ])


def margins(left, right, top, bottom, width, height):
    """Of a panel, in pixels from the left and from the top."""
    return (f"set lmargin at screen {left / width:.5f}; set rmargin at screen {right / width:.5f}; "
            f"set tmargin at screen {1 - top / height:.5f}; set bmargin at screen {1 - bottom / height:.5f}")


# ---- panels of bars ------------------------------------------------------------------------------------

class Panel:
    """Bars of all maps, from zero. `bars`: map -> list of (name of the bar, row or None)."""

    def __init__(self, title, unit, bars):
        self.title = title
        self.unit = unit
        self.bars = bars
        self.scale = None  # the greatest value on the axis; by default, of this panel

    def greatest(self):
        return max((row.max for bars in self.bars.values() for _, row in bars if row and row.max is not None), default=1.0) or 1.0

    def script(self, names, with_names):
        kinds = max((len(bars) for bars in self.bars.values()), default=1)
        thick = 0.84 / kinds
        boxes, whiskers, texts = [], [], []
        for place, name in enumerate(names):
            bars = self.bars.get(name, [])
            for i, (_, row) in enumerate(bars):
                y = place - 0.42 + thick * (i + 0.5)
                colour = colour_of(name)
                colour = paler(colour, 0.55 * (len(bars) - 1 - i) / (len(bars) - 1)) if len(bars) > 1 else colour
                if row is None or row.median is None:
                    texts.append((0, y, why_not(row), "#909090"))
                    continue
                boxes.append((row.median, y, y - thick / 2, y + thick / 2, int(colour[1:], 16)))
                whiskers.append((row.min, y, row.max))
                texts.append((row.max, y, short_number(row.median) + stars(row), TEXT))
        return self.gnuplot(names, with_names, boxes, whiskers, texts, self.scale or self.greatest())

    def gnuplot(self, names, with_names, boxes, whiskers, texts, greatest):
        tics = ", ".join(f"{quoted(name if with_names else '')} {i}" for i, name in enumerate(names))
        lines = ["$boxes << EOD"] + [f"0 {y} 0 {value} {low} {high} {colour}" for value, y, low, high, colour in boxes] + ["EOD"]
        lines += ["$whiskers << EOD"] + [f"{low} {y} {high - low} 0" for low, y, high in whiskers] + ["EOD"]
        lines += ["$texts << EOD"] + [f"{x} {y} {quoted(text)} {int(colour[1:], 16)}" for x, y, text, colour in texts] + ["EOD"]
        lines += [
            f"set title {quoted(self.title)} font \"{FONT} Bold,10\" offset 0,-0.6",
            f"set xrange [0:{greatest * 1.3}]; set yrange [{len(names) - 0.4}:-0.6]",
            f"set ytics ({tics}) scale 0; set xtics autofreq scale 0.5 font \",8\" nomirror; set xtics {step(greatest * 1.3)}",
            f"set tics textcolor rgb \"{TEXT}\"; set xlabel {quoted(self.unit)} font \",9\" offset 0,0.5",
            "set border 3 lc rgb \"#808080\"; set grid x lc rgb \"#e4e4e4\" lt 1; unset key",
        ]
        parts = []
        if boxes:
            parts.append("$boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1.0 noborder lc rgb variable")
            parts.append("$whiskers using 1:2:3:4 with vectors nohead lc rgb \"#303030\" lw 1")
        parts.append("$texts using 1:2:3:4 with labels left offset 0.6,0 font \",8\" tc rgb variable")
        return "\n".join(lines + ["plot " + ", ".join(parts)])


def step(greatest):
    """A round distance between marks, so that there are three to five."""
    unit = 10.0 ** -6
    while True:
        for factor in (1, 2, 5):
            if greatest / (unit * factor) <= 4.5:
                return f"{unit * factor:g}"
        unit *= 10


def stars(row):
    if row.mark == "hung":
        return " (some hung)"
    return " " + row.mark if row.mark and set(row.mark.split()) <= {"*", "s", "p"} else ""


def why_not(row):
    if row is None:
        return "not run"
    return row.mark.split(":")[0] if row.mark else "no result"


def marks_note(all_panels):
    marks = {mark for panel in all_panels for bars in panel.bars.values() for _, row in bars if row for mark in row.mark.split()}
    texts = {"s": "s: its threads sleep in its own locks, or it has helper threads", "*": "*: disturbed by others",
             "p": "p: the processors were elsewhere"}
    return "; ".join(text for mark, text in texts.items() if mark in marks)


def panels(path, title, note, all_panels, columns, same_scale=False):
    """A grid of panels; the maps' names stand at the left of each row of panels. Only panels of one unit can have the same scale."""
    if same_scale:
        scale = max((panel.greatest() for panel in all_panels), default=1.0)
        for panel in all_panels:
            panel.scale = scale
    marks = marks_note(all_panels)
    head = HEAD + (18 if marks else 0)
    note += "\n" + marks if marks else ""
    names = in_order({name for panel in all_panels for name in panel.bars})
    kinds = max((len(bars) for panel in all_panels for bars in panel.bars.values()), default=1)
    tall = len(names) * (13 * kinds + 5) + 10
    second = 14 * any("\n" in panel.title for panel in all_panels)  # for a second line of titles
    gap_x, gap_y, left, wide = 26, 78 + second, 200, 300
    rows = -(-len(all_panels) // columns)
    width = left + columns * (wide + gap_x)
    height = head + rows * (tall + gap_y)
    lines = []
    for i, panel in enumerate(all_panels):
        row, column = divmod(i, columns)
        x, y = left + column * (wide + gap_x), head + 26 + second + row * (tall + gap_y)
        lines += [heading(title, note, width, height) if i == 0 else "unset label", margins(x, x + wide, y, y + tall, width, height),
                  panel.script(names, column == 0)]
    draw(path, width, height, "\n".join(lines))


def bar_panel(title, rows, names, workload, n, threads):
    """A panel of one workload; a bar for each number of threads."""
    found = {(row.map, row.threads): row for row in rows if row.workload == workload and row.n == n}
    unit = next((row.unit for row in found.values() if row.unit), "")
    bars = {name: [(t, found.get((name, t))) for t in threads] for name in names}
    return Panel(title, unit, bars)


# ---- latencies -----------------------------------------------------------------------------------------

# Percents are doubled, as labels of marks are formats.
LATENCY_TICS = ((1, "0"), (2, "50 %%"), (10, "90 %%"), (100, "99 %%"), (1000, "99.9 %%"), (10000, "99.99 %%"), (100000, "99.999 %%"),
                (1000000, "99.9999 %%"))


def latency_points(curve, n):
    """1 / (1 - p), in which the tail has room; the greatest of n is drawn at n."""
    return [(min(1 / (1 - p / 100), n) if p < 100 else n, max(ns, 1)) for p, ns in curve]


def latencies(path, title, note, n, curves_by_threads):
    """A panel for each number of threads, and the names at the right."""
    threads = sorted(curves_by_threads)
    names = in_order({name for t in threads for name in curves_by_threads[t]})
    wide, tall, left, gap, legend = 560, 520, 95, 75, 260
    width = left + len(threads) * (wide + gap) - gap + legend
    height = HEAD + 30 + tall + 70
    greatest = max(ns for t in threads for curve in curves_by_threads[t].values() for _, ns in curve)
    least = min(max(ns, 1) for t in threads for curve in curves_by_threads[t].values() for _, ns in curve)
    lines = []
    tics = ", ".join(f'"{text}" {x}' for x, text in LATENCY_TICS if x <= n / 3)
    for i, t in enumerate(threads):
        x = left + i * (wide + gap)
        last = i == len(threads) - 1
        for k, name in enumerate(names):
            points = latency_points(curves_by_threads[t].get(name, []), n)
            lines += [f"$curve{k} << EOD"] + [f"{px} {py}" for px, py in points] + ["EOD"]
        key = f"set key at screen {1 - (legend - 16) / width:.5f},{1 - (HEAD + 30) / height:.5f} left top Left reverse samplen 2.5 spacing 1.35"
        lines += [heading(title, note, width, height) if i == 0 else "unset label",
                  margins(x, x + wide, HEAD + 30, HEAD + 30 + tall, width, height), key if last else "unset key",
                  f"set title \"{t} thread{'s' if t > 1 else ''}\" font \"{FONT} Bold,11\" offset 0,-0.4; set tics textcolor rgb \"{TEXT}\"",
                  f"set logscale xy; set xrange [1:{n}]; set yrange [{least * 0.8}:{greatest * 1.3}]",
                  f"set xtics ({tics}, \"max\" {n}) rotate by 0 font \",8\" nomirror; set ytics format \"\" nomirror; "
                  f"set ytics ({latency_ytics(greatest * 1.3)}) font \",9\"",
                  "set xlabel \"percentile of all inserts\" offset 0,-0.3; "
                  + ("set ylabel \"time of one insert (log scale)\" offset 0.5,0" if i == 0 else "unset ylabel"),
                  "set border 3 lc rgb \"#808080\"; set grid x y lc rgb \"#e4e4e4\" lt 1",
                  "plot " + ", ".join(curve_plot(k, name) for k, name in enumerate(names)
                                      if last or name in curves_by_threads[t])]
    draw(path, width, height, "\n".join(lines))


def latency_ytics(greatest):
    tics, ns = [], 10
    while ns <= greatest:
        text = f"{ns} ns" if ns < 1000 else f"{ns // 1000} µs" if ns < 1000000 else f"{ns // 1000000} ms"
        text = text if ns < 1000000000 else f"{ns // 1000000000} s"
        tics.append(f'"{text}" {ns}')
        ns *= 10
    return ", ".join(tics)


def curve_plot(k, name):
    """Lines of two maps with similar colours differ in their marks."""
    thick = 3 if name in ENGINES else 1.6
    marks = (7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 2, 1, 3)
    return (f"$curve{k} using 1:2 with linespoints lc rgb \"{colour_of(name)}\" lw {thick} pt {marks[k % len(marks)]} ps 0.7 "
            f"title {quoted(name)}")


# ---- Go's workloads ------------------------------------------------------------------------------------

def dots(path, title, note, rows, threads, workloads, prefix):
    """A line for each workload, a dot for each map, on a log axis; a panel for each number of threads."""
    found = {(row.workload, row.threads, row.map): row for row in rows if row.median}
    names = in_order({row.map for row in rows if row.median})
    shown = [w for w in workloads if any((w, t, name) in found for t in threads for name in names)]
    if not shown:
        return
    wide, left, gap, legend, each = 520, 250, 24, 260, 24
    tall = len(shown) * each + 10
    width, height = left + len(threads) * (wide + gap) - gap + legend, HEAD + 30 + tall + 60
    values = [found[key].median for key in found if key[0] in shown and key[1] in threads]
    low, high = min(values) / 1.6, max(values) * 1.6
    lines = []
    for i, t in enumerate(threads):
        last = i == len(threads) - 1
        x = left + i * (wide + gap)
        for k, name in enumerate(names):
            points = [f"{found[w, t, name].median} {y}" for y, w in enumerate(shown) if (w, t, name) in found]
            lines += [f"$dots{k} << EOD"] + points + ["EOD"]
        tics = ", ".join(f"{quoted(w[len(prefix):] if i == 0 else '')} {y}" for y, w in enumerate(shown))
        key = f"set key at screen {1 - (legend - 16) / width:.5f},{1 - (HEAD + 30) / height:.5f} left top Left reverse samplen 1 spacing 1.35"
        lines += [heading(title, note, width, height) if i == 0 else "unset label",
                  margins(x, x + wide, HEAD + 30, HEAD + 30 + tall, width, height), key if last else "unset key",
                  f"set title \"{t} thread{'s' if t > 1 else ''}\" font \"{FONT} Bold,11\" offset 0,-0.4; set tics textcolor rgb \"{TEXT}\"",
                  f"set logscale x; set xrange [{low}:{high}]; set yrange [{len(shown) - 0.4}:-0.6]",
                  f"set ytics ({tics}) scale 0; set xtics ({log_tics(low, high)}) scale 0.5 nomirror",
                  f"set xlabel {quoted('Mops/s, all threads (log scale)')}; set border 3 lc rgb \"#808080\"; "
                  "set grid x y lc rgb \"#e4e4e4\" lt 1",
                  "plot " + ", ".join(dot_plots(names))]
    draw(path, width, height, "\n".join(lines))


def dot_plots(names):
    """In the order of the legend; and syncmap's again, to lie on top."""
    for again in (False, True):
        for k, name in enumerate(names):
            size, mark = (1.5, 7) if name in ENGINES else (1.5, 5) if name == plan.GO else (1.1, (9, 11, 13, 5)[ORDER.get(name, 0) % 4])
            if name in ENGINES or not again:
                title = "notitle" if again else "title " + quoted(name)
                yield f"$dots{k} using 1:2 with points pt {mark} ps {size} lc rgb \"{colour_of(name)}\" {title}"


def log_tics(low, high):
    tics, value = [], 0.0001
    while value <= high:
        if value >= low:
            tics.append(f'"{value:g}" {value:g}')
        value *= 10
    return ", ".join(tics)


def available():
    return shutil.which("gnuplot") is not None
