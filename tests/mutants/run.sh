#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run.sh [NAME...]: each patch of this directory is a bug. Applies one at a time to a copy of the tree, builds, and runs the tests, the
# quickest first, until one fails; prints a row of a Markdown table for each. Fails if a mutant survives, or a patch does not apply.
# NAME: only the patches whose names contain one of these. Runs in build/mutants. run.sh --check: only whether all apply, and compile.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/build/mutants
jobs=$(nproc)

if [ "${1:-}" = --check ]; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  for patch in "$here"/*.patch; do
    rm -rf "$copy/src"
    cp -r "$root/src" "$copy"
    patch -s -p1 -d "$copy" <"$patch" || { echo "$(basename "$patch") does not apply to src/ as it is now"; exit 1; }
    ${CC:-cc} -std=gnu11 -fsyntax-only -w -I"$root/include" -DSYNCMAP_DEBUG=1 "$copy/src/syncmap.c" ||
      { echo "$(basename "$patch") does not compile"; exit 1; }
  done
  echo "$(find "$here" -name '*.patch' | wc -l) mutants apply, and compile"
  exit 0
fi

# Stages: build directory, targets, environment, and the tests (a regular expression of ctest's) that are run then.
stages=(
  "plain|model|BOUND=1|^model/[12]"
  "plain|units||^unit/"
  "plain|model||^model/[12]"
  "plain|history_map||^history/map"
  "plain|all||^(api|fault|fuzz)/"
  "plain|all||^(stress|torture)/"
  "thread|all||^(unit|history|stress)/"
)

mkdir -p "$work"
rm -rf "$work/tree" "$work/src"
mkdir "$work/tree"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf - 2>/dev/null) | tar -xf - -C "$work/tree"
cp -r "$work/tree/src" "$work/src"

configure() {
  [ -f "$work/$1/CMakeCache.txt" ] && return
  local sanitize=
  [ "$1" = plain ] || sanitize=-DSYNCMAP_SANITIZE=$1
  cmake -S "$work/tree" -B "$work/$1" -DSYNCMAP_TESTS=ON -DSYNCMAP_DEBUG=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSYNCMAP_TEST_TIMEOUT=90 $sanitize >/dev/null
}

# The first test that fails, and of what; nothing if none does.
hunt() {
  local stage directory targets environment tests log=$work/log
  for stage in "${stages[@]}"; do
    IFS='|' read -r directory targets environment tests <<<"$stage"
    tests=${stage#*|*|*|}
    configure "$directory"
    # shellcheck disable=SC2086
    if ! cmake --build "$work/$directory" --parallel "$jobs" --target $targets >"$log" 2>&1; then
      echo "does not compile: $(grep -m1 error: "$log")"
      return
    fi
    # shellcheck disable=SC2086
    if ! (cd "$work/$directory" && env $environment ctest --parallel "$jobs" --stop-on-failure --output-on-failure -R "$tests" >"$log" 2>&1); then
      local test reason
      test=$(grep -oE '(Failed|\*\*\*[A-Za-z ]+)' "$log" >/dev/null && grep -E '\*\*\*' "$log" | head -n 1 | sed -E 's/.*Test +#[0-9]+: ([^ ]+) .*/\1/')
      reason=$(grep -E -m1 'FAILED: |does not hold|CHECK|check failed|WARNING: ThreadSanitizer|ERROR: AddressSanitizer|\[  ERROR   \]|Timeout' "$log" || true)
      [ "$directory" = plain ] || test="$test ($directory sanitizer)"
      echo "$test | $(echo "$reason" | sed 's/|/\\|/g; s/^ *//; s,/[^ ]*/build/mutants/tree/,,' | cut -c1-110)"
      return
    fi
  done
}

survivors=0 count=0
echo "| mutant | the bug | caught by | how it showed | seconds |"
echo "|---|---|---|---|---|"
for patch in "$here"/*.patch; do
  name=$(basename "$patch" .patch)
  if [ $# -gt 0 ]; then
    wanted=no
    for part in "$@"; do [[ $name == *$part* ]] && wanted=yes; done
    [ $wanted = yes ] || continue
  fi
  rm -rf "$work/tree/src"
  cp -r "$work/src" "$work/tree/src"
  if ! patch -s -p1 -d "$work/tree" <"$patch" >&2; then
    echo "| $name | $(head -n 1 "$patch") | DOES NOT APPLY | | |"
    survivors=$((survivors + 1))
    continue
  fi
  start=$SECONDS
  found=$(hunt)
  count=$((count + 1))
  if [ -z "$found" ] || [[ $found == does\ not\ compile* ]]; then
    survivors=$((survivors + 1))
    found="SURVIVED $found |"
  fi
  echo "| $name | $(head -n 1 "$patch") | $found | $((SECONDS - start)) |"
done
echo
echo "$count mutants, $survivors not caught"
[ $survivors = 0 ]
