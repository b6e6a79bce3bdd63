#!/bin/sh
# SPDX-License-Identifier: MIT
#
# identifiers.sh PROGRAM - tests the example `identifiers`: what it counts, what it says, how it exits.
#
# Counts are compared with numbers that are written here, and for many files in many threads with what
# tr, sort and uniq make of the same files.
set -u
LC_ALL=C
export LC_ALL

program=${1:?usage: identifiers.sh PROGRAM}
case $program in
/*) ;;
*) program=$PWD/$program ;;
esac
work=$(mktemp -d "${TMPDIR:-/tmp}/identifiers.XXXXXX") || exit 1
trap 'chmod -R u+rwx "$work" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
failures=0

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# run STATUS ARGUMENTS...: runs the program, leaves its output in `out` and `err`, expects that exit status.
run() {
    wanted=$1
    shift
    "$program" "$@" >out 2>err
    status=$?
    [ "$status" -eq "$wanted" ] || fail "status $status, not $wanted, of: $* ($(head -n 3 err))"
}

# said TEXT: the last run said this on stderr.
said() {
    grep -qF -- "$1" err || fail "no '$1' on stderr, but: $(head -n 3 err)"
}

silent() {
    [ ! -s "$1" ] || fail "something on std$1: $(head -n 3 "$1")"
}

# total LABEL NUMBER: the last run printed this total.
total() {
    got=$(awk -v label="$1" '$1 == label { print $2 }' out)
    [ "$got" = "$2" ] || fail "$1 is '$got', not $2"
}

# The table of the last run as lines of "count identifier", without its head.
table() {
    awk 'NR > 1 && NF == 0 { exit } NR > 1 { print $1, $2 }' out
}

# same_table FILE: the table of the last run is exactly this.
same_table() {
    table >got
    cmp -s got "$1" || fail "another table than $1: $(diff got "$1" | cut -c 1-80 | head -n 6)"
}

# repeat N CHARACTER: a word of N of it.
repeat() {
    awk -v n="$1" -v c="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", c }'
}

# ---- every kind of text, with counts known beforehand

mkdir -p tree/sub/deep
printf 'int alpha; /* alpha, in a comment */\nchar *s = "alpha, in a string";\n' >tree/plain.h
printf 'alpha beta' >tree/no_newline.hh
: >tree/empty.hpp
printf 'alpha\r\nbeta\r\n' >tree/crlf.hxx
printf 'alpha\000beta\000\000_\000' >tree/nul.h
printf '0x1fUL 1e5 123abc 42 1_000 3.14f 0 x1 _9\n' >tree/sub/numbers.h
printf 'na\303\257ve \316\261beta\n' >tree/sub/deep/utf8.h
{
    repeat 5000 L
    echo
    repeat 5000 L
    echo
    repeat 4999 L
    echo
    repeat 5001 L
} >tree/long.h
# None of these is a header, a regular file, or both.
echo 'wrong' >tree/wrong.c
echo 'wrong' >tree/wrong.h.in
echo 'wrong' >tree/h
mkdir tree/directory.h
mkfifo tree/fifo.h
ln -s plain.h tree/link.h
ln -s nowhere tree/dangling.h
ln -s .. tree/sub/loop

bytes=$(cat tree/plain.h tree/no_newline.hh tree/crlf.hxx tree/nul.h tree/sub/numbers.h tree/sub/deep/utf8.h \
    tree/long.h | wc -c)
{
    echo '6 alpha'
    echo '4 beta'
    echo "2 $(repeat 5000 L)"
    echo '2 a'
    echo '2 in'
    echo "1 $(repeat 4999 L)"
    echo "1 $(repeat 5001 L)"
    echo '1 _'
    echo '1 _9'
    echo '1 char'
    echo '1 comment'
    echo '1 int'
    echo '1 na'
    echo '1 s'
    echo '1 string'
    echo '1 ve'
    echo '1 x1'
} >expected

for threads in 1 2 7; do
    run 0 --threads "$threads" --top 1000 --check tree
    silent err
    same_table expected
    total files 8
    total bytes "$((bytes))"
    total identifiers "$(awk '{ n += $1 } END { print n }' expected)"
    total distinct "$(awk 'END { print NR }' expected)"
    total threads "$threads"
    grep -q '^check: 17 identifiers agree' out || fail 'the check does not agree'
done

run 0 --top 2 tree/
head -n 2 expected >top
same_table top
run 0 --top 0 tree
grep -q alpha out && fail 'a table with --top 0'
total distinct 17

# A link that is named on the command line is followed.
ln -s tree link
run 0 --top 1000 link
same_table expected

# ---- many files in many threads, against tr, sort and uniq

mkdir many
awk 'BEGIN {
    srand(1)
    for (file = 0; file < 300; file++) {
        name = "many/" file ".h"
        for (line = 0; line < 100; line++) {
            # words that all files share, words of few files, words of one
            printf "%s x%d = y_%d(0x%x, %dL); /* z%d_%d */\n", rand() < .5 ? "static" : "extern", rand() * 50,
                file / 3 * 100 + line, line, file, file, line > name
        }
        close(name)
    }
}'
cat many/*.h | tr -cs 'A-Za-z0-9_' '\n' | grep -v '^[0-9]' | grep . | sort | uniq -c | awk '{ print $1, $2 }' |
    sort -k1,1nr -k2,2 >expected_many
for threads in 1 2 16; do
    run 0 -j "$threads" -n 1000000 -c many
    silent err
    same_table expected_many
    total files 300
    total distinct "$(awk 'END { print NR }' expected_many)"
done

# ---- what cannot be read

run 2 nowhere
said 'nowhere: No such file'
silent out
run 2 tree/plain.h
said 'tree/plain.h: Not a directory'
silent out

mkdir none
echo 'word' >none/word.c
run 1 none
said 'none: no headers'
silent out

# Only an empty header: nothing to count, and nothing wrong.
mkdir blank
: >blank/empty.h
run 0 --check blank
total files 1
total distinct 0

# A path that is longer than the system takes cannot be read by anybody. The rest is counted.
mkdir long
printf 'alpha alpha' >long/short.h
(
    cd long || exit 1
    name=$(repeat 200 d)
    while [ "${depth:=0}" -lt 22 ]; do
        depth=$((depth + 1))
        mkdir "$name" && cd -P "$name" || exit 1
    done 2>/dev/null
    echo 'word' >deep.h
) && {
    run 1 --check long
    said 'File name too long'
    total files 1
    total identifiers 2
}

# Nor can root be kept from reading a file, so this is for everybody else.
if [ "$(id -u)" -ne 0 ]; then
    mkdir -p closed/closed
    printf 'alpha' >closed/open.h
    printf 'beta' >closed/closed.h
    printf 'beta' >closed/closed/inner.h
    chmod 000 closed/closed.h closed/closed
    run 1 --check closed
    said 'closed/closed.h: Permission denied'
    said 'closed/closed: Permission denied'
    total files 1
    total identifiers 1
    run 2 closed/closed
    said 'closed/closed: Permission denied'
fi

if [ -w /dev/full ]; then
    "$program" tree >/dev/full 2>err
    [ $? -eq 2 ] || fail 'a full disk is not noticed'
    said 'cannot write the output'
fi

# ---- the command line

for option in --threads=0 --threads=-1 --threads= --threads=two --threads=2x --threads=99999999999999999999 \
    '--threads= 2' --top=-1 --top=x --nonsense; do
    run 2 "$option" tree
    said "$(basename "$program"): "
    silent out
done
run 2 tree many
said "'many' is too much"
run 0 --help
grep -q 'Exit status' out || fail 'no help'
run 0 --version

if [ "$failures" -gt 0 ]; then
    echo "$failures failures"
    exit 1
fi
echo 'identifiers: all as expected'
