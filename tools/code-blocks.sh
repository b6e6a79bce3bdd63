#!/bin/sh
# SPDX-License-Identifier: MIT
# code-blocks.sh FILE.md PREFIX: writes each ```c block of a Markdown file to PREFIX_1.c, PREFIX_2.c ... and prints
# their names. Fails if there is none.
set -eu
awk -v prefix="$2" '
  /^```c$/ { inside = 1; file = prefix "_" ++count ".c"; printf "" > file; print file; next }
  /^```/ { inside = 0 }
  inside { print >> file }
  END { exit count == 0 }' "$1"
