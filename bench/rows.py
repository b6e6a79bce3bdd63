#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rows.py RESULTS.TSV...: flat's rows of one run or several, each divided by the best of the C and C++ maps in the same run.

One line for each workload, number of keys and number of threads: for each run the ratio and the best peer, and, of several runs, their geometric
mean. Then how many rows of each run are ahead (1.00 and more, as printed). A row that a run has not, or whose flat or best peer is marked as
failed or hung, is left out of that run.
"""
import csv
import math
import sys

FLAT = "syncmap flat"
OTHERS = ("syncmap", "Go", "Java", "GLib, no lock")  # not peers: this project's, other languages', and what threads cannot share
WORKLOADS = ("load_hit", "load_miss", "mixed_90_5_5", "mixed_50_25_25", "update", "insert", "churn", "str_load_hit", "str_load_miss",
             "str_mixed_90_5_5", "str_mixed_50_25_25")
LEAST_OF_INSERT = 1000000  # fewer are an allocation or two, and the clock


def read(path):
    """{(workload, n, threads): {map: Mops/s}}"""
    rows = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            n = int(row["n"])
            if row["workload"] not in WORKLOADS or row["unit"] != "Mops/s" or (row["workload"] == "insert" and n < LEAST_OF_INSERT):
                continue
            try:
                rows.setdefault((row["workload"], n, int(row["threads"])), {})[row["map"]] = float(row["median"])
            except ValueError:
                continue  # it has no figure
    return rows


def compare(figures):
    """flat's figure, divided by that of the best peer, and that peer; None without either."""
    peers = {name: value for name, value in figures.items() if not name.startswith(OTHERS)}
    if FLAT not in figures or not peers:
        return None
    best = max(peers, key=peers.get)
    return figures[FLAT] / peers[best], best


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def ahead(ratios):
    return sum(round(ratio, 2) >= 1 for ratio in ratios), len(ratios)


def main(paths):
    runs = [read(path) for path in paths]
    keys = sorted({key for run in runs for key in run}, key=lambda key: (WORKLOADS.index(key[0]), key[1:]))
    table = {key: [compare(run.get(key, {})) for run in runs] for key in keys}
    means = {}
    for key, columns in table.items():
        ratios = [column[0] for column in columns if column]
        if not ratios:
            continue
        means[key] = geometric_mean(ratios)
        cells = [f"{column[0]:.2f} ({column[1]})" if column else "-" for column in columns]
        figures = f"{runs[-1][key][FLAT]:.1f}" if columns[-1] else "-"
        mean = f"\tmean {means[key]:.2f}" if len(runs) > 1 else ""
        print(f"{key[0]}\t{key[1]}\t{key[2]}\t{figures}\t" + "\t".join(cells) + mean)
    for path, columns in zip(paths, zip(*table.values())):
        print("{}: ahead in {} of {}".format(path, *ahead([column[0] for column in columns if column])))
    if len(runs) > 1:
        print("geometric mean: ahead in {} of {}".format(*ahead(list(means.values()))))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
