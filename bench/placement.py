#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""placement.py RESULTS/samples.jsonl [N]: the two-thread rows of N keys (1000) of a run, by how far the processors were apart.

What two threads write together is twice as fast where a cache line is near. A virtual machine's processors move, so a map's median may be
of near samples and another's of far ones. Here the samples are parted by what their own lines took, before and after, and the
best peer is that of the same part. All samples count, also those that were repeated. A row: the median, and of how many samples."""
import collections
import json
import statistics
import sys

NEAR, FAR = 200, 350  # ns there and back: below, above; what lies between, or moved meanwhile, is in no part


def part_of(line_ns):
    if all(ns < NEAR for ns in line_ns):
        return "near"
    return "far" if all(ns > FAR for ns in line_ns) else None


def parted(lines, n):
    """(workload, part) -> map -> values"""
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    for text in lines:
        sample = json.loads(text)
        prefix = "strings: " if sample["life"].startswith("str") else ""
        for result in sample["results"]:
            part = part_of(result["line_ns"]) if "line_ns" in result else None
            if part and result["n"] == n and result["threads"] == 2 and result["unit"] == "Mops/s":
                rows[prefix + result["workload"], part][sample["map"]].append(result["value"])
    return rows


def told(values):
    return f"{statistics.median(values):.1f} ({len(values)})"


def main(path, n=1000):
    with open(path, encoding="utf-8") as file:
        rows = parted(file, int(n))
    print("workload\tpart\tflat\tread/dirty\tbest peer\tflat / best peer")
    for (workload, part), maps in rows.items():
        peers = {name: values for name, values in maps.items() if not name.startswith("syncmap")}
        flat = maps.get("syncmap flat")
        if not peers or not flat:
            continue
        best = max(peers, key=lambda name: statistics.median(peers[name]))
        ratio = statistics.median(flat) / statistics.median(peers[best])
        print(f"{workload}\t{part}\t{told(flat)}\t{told(maps.get('syncmap read/dirty', [0]))}\t{told(peers[best])} {best}\t{ratio:.2f}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
