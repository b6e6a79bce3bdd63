#!/bin/sh
# SPDX-License-Identifier: MIT
# check-symbols.sh LIBRARY.so HEADER: fails unless the library exports exactly the functions that the header declares, and
# needs no other library than libc (and what a sanitizer brings).
set -eu
exported=$(nm -D --defined-only "$1" | awk '$2 ~ /[TDBRVW]/ { print $3 }' | sed 's/@.*//' | grep -v '^_' | sort)
declared=$(sed -n 's/^SYNCMAP_API .*[ *]\(syncmap_[a-z_]*\)(.*/\1/p' "$2" | sort)
[ -n "$declared" ]
if [ "$exported" != "$declared" ]; then
  printf 'exported:\n%s\ndeclared:\n%s\n' "$exported" "$declared"
  exit 1
fi
needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -Ev '^(libc|libpthread|ld-linux.*|lib[atu].*san|libgcc_s|libm|libdl|librt)\.' || true)
[ -z "$needed" ] || { echo "needs $needed"; exit 1; }
echo "exports the $(echo "$declared" | wc -l) functions of the header, and nothing else"
