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
    "arguments, registers, value, result": "syncmap_load load_finish syncmap_store syncmap_swap swap_as swap_any swap_quick swap_flat_slow swap_flat_full is_quick syncmap_delete delete_quick "
                                          "syncmap_load_and_delete load_and_delete_found load_and_delete_others load_and_delete_as load_and_delete_any query_make key_is_valid "
                                          "finish flat_swap flat_load_and_delete rd_swap "
                                          "load_read_dirty value_decode value_encode value_is_live value_is_reserved check_pinned is_flat flat_of engine_of",
    "hash": "hash_u64 unhash_u64",
    "pin and unpin": "pin_enter pin_enter_own pin_enter_section pin_leave pin_leave_own membarrier_light",
    "table, home": "root_table table_home table_home_slot read_table flat_load_integer flat_swap_integer flat_load_and_delete_integer home_open bucket_will_be_locked rd_load_integer spot_find query_fit flat_search flat_load",
    "the filter": "filter_denies filter_add filter_remove flat_denies",
    "search": "bucket_find_integer chain_find overflow_at line_hits find find_dirty find_unlocked find_to_write table_next_slot table_slot_count",
    "second look": "bucket_unchanged spot_value",
    "section, lock, unlock": "section_enter section_enter_own section_leave section_leave_own home_unlock spot_lock spot_unlock bucket_cas_lock bucket_unlock seat_lock lock unlock lock_to_write",
    "the value is replaced": "spot_replace value_replace entry_try_swap swapped",
    "something to move, to grow, to shrink?": "flat_help time_to_look table_buckets room_needed rd_is_amended rd_is_empty",
    "a new key gets its place": "home_add home_free_slot seat_fill query_again flat_swap_absent flat_swap_slow swap_slow seat_find_slot seat_reserve seat_release spot_insert bucket_fill "
                                "hash_tag word_has_record evicted_retire overflow_take overflow_give_back add_new table_add dirty_add "
                                "room_reserve room_has_table room_release entry_new key_copy key_copy_size memory_get table_limit table_free bump_version",
    "dirty is built": "build_dirty try_expunge",
    "a key leaves its place": "spot_delete foreign_word foreign_integer chain_trim entry_delete rd_load_and_delete entry_load",
    "count of keys": "counter_add counter_add_own era_count",
    "garbage, owned values": "reclaim_poll reclaim_poll_own take_value_slot",
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
