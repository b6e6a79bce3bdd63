#!/bin/sh
# SPDX-License-Identifier: MIT
# deps.sh build|check|bench|bench-all|fuzz|coverage: has the Debian packages that a target needs. Installs those that are missing
# if it is run by root, else says which they are and fails. On a system without dpkg it leaves that to the user.
set -eu
bench="gcc libc6-dev make cmake libxxhash-dev pkg-config python3 gnuplot-nox libglib2.0-dev liburcu-dev libck-dev valgrind"
case $1 in
build) packages="gcc libc6-dev make cmake libxxhash-dev" ;;
check) packages="gcc libc6-dev make cmake libxxhash-dev libcmocka-dev pkg-config g++ spin tcc patch" ;;
bench) packages=$bench ;;
bench-all) packages="$bench g++ libtbb-dev libcuckoo-dev golang-go default-jdk-headless" ;; # the maps of other languages too
fuzz) packages="clang libclang-rt-14-dev libc6-dev make cmake libxxhash-dev libcmocka-dev pkg-config" ;;
coverage) packages="gcc libc6-dev make cmake libxxhash-dev libcmocka-dev pkg-config g++ gcovr" ;;
*) echo "usage: deps.sh build|check|bench|bench-all|fuzz|coverage" >&2; exit 2 ;;
esac
command -v dpkg-query >/dev/null 2>&1 || exit 0
missing=
for package in $packages; do
  status=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | head -n 1 || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "missing Debian packages; as root: apt-get install$missing" >&2
  exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 ||
  { apt-get update >/dev/null && apt-get install -y --no-install-recommends $missing >/dev/null; }
