#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails if a file of src/ includes one of a layer above it, or one that has no place in the order yet.
set -eu
cd "$(dirname "$0")/../src"
exec awk '
  BEGIN {
    n = split("platform atomic memory membarrier thread reclaim counter hash key map read_dirty bucket flat api", order, " ")
    for (i = 1; i <= n; i++) rank[order[i]] = i
    rank["read_dirty_table"] = rank["read_dirty_bulk"] = rank["read_dirty"] # files of one module
    rank["api_load"] = rank["api_compute"] = rank["api_quick"] = rank["api"]
    rank["flat_table"] = rank["flat_move"] = rank["flat_walk"] = rank["flat_integers"] = rank["flat_text"] = rank["flat"]
  }
  function module(file) { sub(/\.[ch]$/, "", file); sub(/.*\//, "", file); return file }
  FILENAME == "syncmap.c" { next } # the unit of all
  FNR == 1 && !(module(FILENAME) in rank) { print FILENAME ": not in the order of layers"; bad = 1 }
  /^#include "/ {
    split($0, part, "\""); target = module(part[2])
    if (target == "syncmap") next # the public header
    if (!(target in rank)) { print FILENAME ":" FNR ": " part[2] " is not in the order of layers"; bad = 1 }
    else if (rank[target] > rank[module(FILENAME)]) { print FILENAME ":" FNR ": " part[2] " is of a layer above"; bad = 1 }
    files++
  }
  END { if (!files) { print "no includes found"; bad = 1 } if (!bad) print files " includes point down"; exit bad }' *.c *.h
