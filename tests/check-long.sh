#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The long runs, after `make check` has built build/check: more of everything that `make check` does a little of, and every mutant.
# Prints each run's own figures, and its time. SCALE=n makes all but the mutants n times as long (1: its parts add up to an hour and a half on two cores).
set -euo pipefail
cd "$(dirname "$0")/.."
scale=${SCALE:-1}
build=build/check

run() {
  local start=$SECONDS
  printf '\n== %s\n' "$*"
  env "$@"
  printf -- '-- %s s\n' $((SECONDS - start))
}

# All variants of the models; CTest runs those that are soon done.
run tests/promela/check.sh

# All interleavings of a cost of 3 (plays of three threads: 2); the two halves side by side.
run BOUND=3 RANDOM=$((20000 * scale)) PLAYS=$((20000 * scale)) PART=1/2 $build/tests/model/model >$build/long-model.txt 2>&1 &
half=$!
run BOUND=3 RANDOM=$((20000 * scale)) PLAYS=$((20000 * scale)) PART=2/2 $build/tests/model/model
wait $half || { cat $build/long-model.txt; exit 1; }
cat $build/long-model.txt
run HISTORIES=$((40000 * scale)) $build/tests/history/history_map
run HISTORIES=1000 $build/tests/history/history_checker
run SECONDS=$((300 * scale)) THREADS=4 $build/tests/torture/torture
run SECONDS=$((300 * scale)) THREADS=16 $build/tests/torture/torture_eager
run FORKS=$((2000 * scale)) DEATHS=$((100000 * scale)) $build/tests/stress_process
run SECONDS=$((120 * scale)) $build/tests/stress_stress
run tests/fuzz/run.sh $((300 * scale))
run tests/mutants/run.sh
