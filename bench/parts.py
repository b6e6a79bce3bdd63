#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the instructions of each operation on integer keys, and which function of the sources they come from, also where it was compiled
into another one. Needs cc and valgrind.

    parts.py [flat|read_dirty]      a Markdown table: the mean of 1,000 calls on a map of 1,000 keys that need not grow
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPERATIONS = {"load": "load, present", "absent": "load, absent", "store": "store, present", "insert": "store, new key", "delete": "delete"}
CALLS = 1000

# Where a function is not named here, it stands by itself.
PARTS = {
    "the loop, and making the key": "measured syncmap_u64",
    "hash": "hash_u64 unhash_u64",
    "pin and unpin": "pin_enter pin_enter_own pin_leave pin_leave_own pin_enter_slow",
    "arguments, registers, value, result": "syncmap_load syncmap_store syncmap_delete syncmap_swap load_finish value_decode value_encode query_make swap_as store_any "
                                          "swap_any delete_any load_and_delete_as load_and_delete_any value_is_reserved check_pinned is_flat flat_of engine_of query_again",
    "root, table, home bucket": "root_table table_home flat_load_integer spot_find query_fit flat_search flat_load",
    "search of a bucket": "bucket_find_integer chain_find overflow_at bucket_candidates",
    "second look": "bucket_unchanged spot_value",
    "section, lock, unlock": "section_enter section_leave spot_lock spot_unlock bucket_cas_lock bucket_unlock membarrier_light seat_lock",
    "something to move, to grow, to shrink?": "flat_help flat_grow flat_shrink flat_grow_if_full flat_shrink_slow flat_grow_slow",
    "place for a new key": "seat_find_slot seat_reserve seat_give_back seat_fill bucket_fill flat_add hash_tag",
    "count of keys": "counter_add era_count",
    "garbage, owned values": "reclaim_poll value_give_up slot_take slot_give_back value_retire value_slot_take settle",
}
PART_OF = {function: part for part, functions in PARTS.items() for function in functions.split()}


def functions_of(path):
    """The lines on which the functions of a source begin, with their names."""
    begins = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        found = re.match(r"[a-z_A-Z].*?\b([a-z_0-9]+)\(", line)
        if found and not line.endswith(";") and not line.startswith(("#", "typedef")):
            begins.append((number, found.group(1)))
    return begins


def function_at(begins, line):
    name = "?"
    for number, function in begins:
        if number > line:
            break
        name = function
    return name


def count(program, engine, operation, work):
    """Instructions of all calls by (file, line)."""
    out = work / "callgrind.out"
    subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=measured*", "--compress-strings=no", "--compress-pos=no",
                    f"--callgrind-out-file={out}", program, engine, operation], check=True, stderr=subprocess.DEVNULL)
    costs = collections.Counter()
    file, skip = "", False
    for line in out.read_text(encoding="utf-8").splitlines():
        if line.startswith(("fl=", "fi=", "fe=")):
            file = line.partition("=")[2]
        elif line.startswith("calls="):
            skip = True  # the next line is what the callee cost, which stands by itself
        elif re.match(r"\d+ \d+$", line):
            if not skip:
                number, cost = line.split()
                costs[file, int(number)] += int(cost)
            skip = False
    return costs


def parts_of(costs, known):
    parts = collections.Counter()
    for (file, line), cost in costs.items():
        path = pathlib.Path(file)
        if not path.is_file() or ROOT not in path.parents:
            parts["the C library"] += cost
            continue
        if path not in known:
            known[path] = functions_of(path)
        name = function_at(known[path], line)
        parts[PART_OF.get(name, f"`{name}`")] += cost
    return parts


def main():
    engine = sys.argv[1] if len(sys.argv) > 1 else "flat"
    if engine not in ("flat", "read_dirty") or len(sys.argv) > 2:
        sys.exit(__doc__)
    table, known = {}, {}
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        program = work / "parts"
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-DNDEBUG", f"-I{ROOT}/include", f"{ROOT}/bench/parts.c", f"{ROOT}/src/syncmap.c",
                        "-o", program, "-pthread"], check=True)
        for operation in OPERATIONS:
            table[operation] = parts_of(count(program, engine, operation, work), known)
    names = sorted({name for parts in table.values() for name in parts}, key=lambda name: -sum(parts[name] for parts in table.values()))
    print("| " + engine.replace("_", "/") + " | " + " | ".join(OPERATIONS.values()) + " |")
    print("|---|" + "---:|" * len(OPERATIONS))
    rest = collections.Counter()
    for name in names:
        means = [table[operation][name] / CALLS for operation in OPERATIONS]
        if max(means) < 1.5:
            rest.update({operation: table[operation][name] for operation in OPERATIONS})
            continue
        print(f"| {name} | " + " | ".join(f"{mean:.0f}" if mean >= 0.5 else "" for mean in means) + " |")
    print("| what is less than two each | " + " | ".join(f"{rest[operation] / CALLS:.0f}" for operation in OPERATIONS) + " |")
    print("| **all** | " + " | ".join(f"**{sum(table[operation].values()) / CALLS:.0f}**" for operation in OPERATIONS) + " |")


if __name__ == "__main__":
    main()
