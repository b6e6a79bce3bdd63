#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run.sh [SECONDS]: builds the fuzzer (clang, with the library as the tests have it: invariants checked, a collection after every
# retirement) in build/fuzz, and runs it for so long (60) from the corpus. New inputs go to build/fuzz/new, a finding to
# build/fuzz/findings. Fails on a finding. CC: the clang to use; FUZZ_ARGS: more for libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
cc=${CC:-clang}
out=build/fuzz
rm -rf "$out/new"
mkdir -p "$out/new" "$out/findings"

"$cc" -std=c11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Wpedantic -fno-omit-frame-pointer \
  -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -DSYNCMAP_DEBUG=1 -DSYNCMAP_RECLAIM_WORK=1 -DSYNCMAP_FLAT_CACHED=0 \
  -Iinclude -Itests src/syncmap.c tests/fuzz/fuzz_map.c tests/support/{support,harness,reference}.c \
  -pthread -o "$out/fuzz_map"

status=0
# -detect_leaks=0: what is live at the end is counted after each input; LeakSanitizer looks once more at the very end.
"$out/fuzz_map" -max_total_time="$seconds" -max_len=400 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
  -detect_leaks=0 -artifact_prefix="$out/findings/" ${FUZZ_ARGS:-} "$out/new" tests/fuzz/corpus 2>"$out/log" || status=$?

if [ "$status" -ne 0 ]; then
  grep -vE '^#[0-9]+	(NEW|REDUCE|RELOAD|pulse)' "$out/log" | tail -60
  found=$(sed -n 's/.*Test unit written to //p' "$out/log" | tail -1)
  printf '\nfound: %s\nreplay: %s %s   (or fuzz_replay of any build of the tests)\n' "${found:-see $out/log}" \
    "$out/fuzz_map" "$found"
  exit "$status"
fi
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log")
speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$out/log")
coverage=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$out/log" | tail -1)
echo "fuzz: $runs runs, $speed exec/s, $coverage, $(find "$out/new" -type f | wc -l) new inputs, nothing found"
