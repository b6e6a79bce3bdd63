#!/bin/sh
# SPDX-License-Identifier: MIT
# install.sh BUILD_DIR CC SANITIZE: installs the build below a temporary directory, and builds and runs a program against
# that, by CMake's package and by pkg-config.
set -eu
build=$1 cc=$2 sanitize=$3
here=$(cd "$(dirname "$0")" && pwd)
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
flags=${sanitize:+-fsanitize=$sanitize}
wrapper=
[ "$sanitize" = thread ] && wrapper="setarch -R"

cmake --install "$build" --prefix "$prefix/usr" >"$prefix/log"
cmake -S "$here" -B "$prefix/cmake" -DCMAKE_C_COMPILER="$cc" -DCMAKE_C_FLAGS="$flags" \
  -DCMAKE_PREFIX_PATH="$prefix/usr" >"$prefix/log"
cmake --build "$prefix/cmake" >"$prefix/log" || { cat "$prefix/log"; exit 1; }
for program in with_syncmap with_syncmap_static; do
  $wrapper "$prefix/cmake/$program"
done

# The .pc file names the prefix of the configuration; the one of this test comes first.
pc=$(find "$prefix/usr" -name syncmap.pc)
libdir=$(dirname "$(dirname "$pc")")
sed -e "s|^prefix=.*|prefix=$prefix/usr|" -e "s|^libdir=.*|libdir=$libdir|" \
  -e "s|^includedir=.*|includedir=$prefix/usr/include|" "$pc" >"$prefix/syncmap.pc"
# shellcheck disable=SC2046
"$cc" $flags "$here/consumer.c" -o "$prefix/program" \
  $(PKG_CONFIG_PATH=$prefix pkg-config --cflags --libs syncmap) -pthread
LD_LIBRARY_PATH=$libdir $wrapper "$prefix/program"
echo "installed, and used by CMake's package (shared, static) and by pkg-config"
