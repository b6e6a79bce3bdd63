#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails if an atomic operation in src/ does not cite, on its line or the one above, its pair (P1, P2 ...) or `relaxed:`; if
# one is called past atomic.h; or if a fence stands outside of membarrier.
set -eu
cd "$(dirname "$0")/../src"
exec awk '
  FNR == 1 { above = "" }
  FILENAME != "atomic.h" {
    code = $0
    sub(/\/\*.*/, "", code)
    if (code ~ /^ \*/) code = "" # an essay
    if (code ~ /(^|[^a-z_])(ld|st|add|xchg|cas)_(relaxed|acquire|release|acq_rel|seq_cst)\(/) {
      sites++
      if (($0 " " above) !~ /P[0-9]|relaxed:/) { print FILENAME ":" FNR ": no pair cited: " $0; bad = 1 }
      if (code ~ /_relaxed\(/ && ($0 " " above) !~ /relaxed:/) { print FILENAME ":" FNR ": relaxed, but why? " $0; bad = 1 }
    }
    if (code ~ /atomic_(load|store|exchange|compare|fetch)|__atomic_|__sync_|volatile/) {
      print FILENAME ":" FNR ": not by atomic.h: " $0; bad = 1
    }
    if (code ~ /atomic_(thread|signal)_fence/ && FILENAME !~ /^membarrier/) { print FILENAME ":" FNR ": a fence: " $0; bad = 1 }
    above = $0
  }
  END { if (!sites) { print "no atomics found"; bad = 1 } if (!bad) print sites " lines with atomics, each cites its pair"; exit bad }' *.c *.h
