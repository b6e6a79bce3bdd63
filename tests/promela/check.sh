#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs the Promela models with spin: each variant of a model must be explored to its end and have no error, and each
# switch, which takes away one fence or one check, must make spin find one.
#
#   check.sh [NAME]     NAME: only that model, reclaim, lasts, entry, across or flat
#
# QUICK=1: without the variants that take ten seconds or more each; `make check` runs it so, `make check-model` all.
#
# CC: the compiler. What would be compiled for longer than it runs, the switches above all, goes to tcc, if it is there.
#
# One line each. Of a variant: states, transitions, depth, seconds. Of a switch: what was found, and after how many states.
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
only=${1:-}
compiler=${CC:-cc}
command -v spin >/dev/null || { echo "check.sh: spin is not installed (Debian: apt-get install spin)" >&2; exit 1; }
command -v "$compiler" >/dev/null || { echo "check.sh: there is no C compiler ($compiler)" >&2; exit 1; }
# Most models are run for less time than it takes to compile them. (Of gcc's -O1, dead stores in the one huge function are 0.4.)
optimizing="$compiler -O1 -fno-dse -fno-tree-dse"
fast=$(command -v tcc) || fast="$compiler -O0"
[ -z "$only" ] || [ -f "$here/$only.pml" ] || { echo "check.sh: there is no model $only" >&2; exit 1; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
failed=0

# explore MODEL COMPILER OPTIONS...: its output in `log`. All states are kept (no bit state hashing), in at most 2 GB.
explore()
{
    model=$1 compile=$2
    shift 2
    rm -f pan pan.* log ./*.trail
    if ! spin -a "$@" "$here/$model.pml" >log 2>&1 ||
       ! $compile -w -DSAFETY -DCOLLAPSE -DMEMLIM=2000 -o pan pan.c >>log 2>&1; then
        echo "check.sh: $model $* does not compile" >&2
        cat log >&2
        return
    fi
    timeout 200 ./pan -m100000 -w22 >log 2>&1 || echo "pan: stopped" >>log
}

number() { sed -n "$1" log | head -n 1; }

wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }

# variant MODEL OPTIONS...; long: the same, of one that is left out by QUICK; small: of one that is soon done
variant() { variant_by "$optimizing" "$@"; }
long() { [ "${QUICK:-0}" != 0 ] || variant "$@"; }
small() { variant_by "$fast" "$@"; }
variant_by()
{
    by=$1
    shift
    wanted "$1" || return
    name=$*
    model=$1
    shift
    explore "$model" "$by" "$@"
    if grep -q 'errors: 0$' log && grep -q '^pan: elapsed' log &&
       ! grep -Eiq 'too small|out of memory|reached -DMEMLIM|not completed|pan: stopped|violated|invalid end state \(' log; then
        printf '%-36s %8s states, %9s transitions, depth %3s, %6s s, no error\n' "$name" \
            "$(number 's/^ *\([0-9.e+]*\) states, stored.*/\1/p')" "$(number 's/^ *\([0-9.e+]*\) transitions.*/\1/p')" \
            "$(number 's/.*depth reached \([0-9]*\).*/\1/p')" "$(number 's/^pan: elapsed time \([0-9.]*\).*/\1/p')"
    else
        failed=1
        echo "$name: FAILED: an error, or not explored to its end"
        sed 's/^/    /' log
    fi
}

# switch MODEL OPTIONS...: one of the options is the switch
switch()
{
    wanted "$1" || return
    name=$*
    model=$1
    shift
    explore "$model" "$fast" "$@"
    found=$(number 's/^pan:1: \(.*\) (at depth [0-9]*)$/\1/p')
    if [ -n "$found" ] && grep -q 'errors: 1$' log; then
        printf '%-36s found: %s after %s states\n' "$name" "$found" "$(number 's/^ *\([0-9.e+]*\) states, stored.*/\1/p')"
    else
        failed=1
        echo "$name: FAILED: nothing found"
        sed 's/^/    /' log
    fi
}

small reclaim
variant reclaim -DREPIN
variant reclaim -DOBJECTS=2
variant reclaim -DCOLLECTORS=2
small reclaim -DSHARED
small reclaim -DTSO
small reclaim -DTSO -DTAKE_AFTER_HEAVY # no bug there: see the file
switch reclaim -DNO_HEAVY
switch reclaim -DFAILED_HEAVY
switch reclaim -DNO_LIGHT
switch reclaim -DTSO -DNO_HEAVY
switch reclaim -DTSO -DNO_LIGHT
switch reclaim -DEARLY
switch reclaim -DNO_LOOK
switch reclaim -DCOLLECTORS=2 -DNO_MUTEX
switch reclaim -DCOLLECTORS=2 -DTAG_BEFORE_MUTEX
switch reclaim -DTAG_AT_UNLINK
switch reclaim -DTAKE_AFTER_HEAVY
switch reclaim -DPUSH_FIRST
switch reclaim -DUNPIN_RELAXED
switch reclaim -DREPIN -DREPIN_RELAXED
switch reclaim -DTAKE_NO_XCHG
switch reclaim -DOBJECTS=2 -DPUSH_NO_CAS
switch reclaim -DEXIT_NO_CLEAR
switch reclaim -DEXIT_GIVES_FIRST
switch reclaim -DSHARED -DSHARED_CLEARS

variant lasts
switch lasts -DNO_WAIT_FOR_BATCHES
switch lasts -DAT_ONCE
switch lasts -DNO_TAG
switch lasts -DMARK_AFTER_MUTEX
switch lasts -DMARK_CLEARED_EARLY
switch lasts -DNO_BATCH_OF_GONE
switch lasts -DOUT_OF_ORDER
switch lasts -DREADY_UNMARKED
switch lasts -DSHARE_CLEARS_MARK
switch lasts -DREAD_NOT_TAKEN
switch lasts -DTAKEN_OVER_UNMARKED
switch lasts -DNOT_TAKEN_OVER

variant entry -DPROCS=3 -DOPS=1
variant entry -DPROCS=2 -DOPS=2
small entry -DPROCS=2 -DOPS=1 -DGROW
for name in STORE_EXPUNGED NO_JOIN UNEXPUNGE_NO_MU LOAD_NO_SECOND_LOOK STORE_NO_SECOND_LOOK DELETE_NO_SECOND_LOOK NO_RECHECK \
    EXPUNGE_NO_CAS EMPTY_FIRST NEVER_EMPTIES RETIRE_FIRST KEEP_EXPUNGED KEEP_DIRTY KEEP_AMENDED DIRTY_FIRST \
    PROMOTE_RETIRES_FIRST; do
    switch entry -DPROCS=2 -DOPS=2 -D$name
done
switch entry -DPROCS=2 -DOPS=3 -DBEGIN=4 -DFREED_BY_LOOKING

small across -DFEW
switch across -DFEW -DNO_HEAVY
switch across -DFEW -DNO_LIGHT
switch across -DFEW -DLIGHT_EARLY
switch across -DFEW -DLOCK_NOT_SEEN

small across -DFEW -DFILTER
switch across -DFEW -DFILTER -DBIT_NOT_SEEN
switch across -DFEW -DFILTER -DNO_HEAVY

long flat -DPROCS=3 -DOPS=1 -DBEGIN=2 -DALSO=5
variant flat -DPROCS=3 -DOPS=1 -DBEGIN=4 -DFEW
variant flat -DPROCS=3 -DOPS=1 -DBEGIN=2 -DALSO=5 -DFEW -DHALVE
variant flat -DPROCS=2 -DOPS=2 -DBEGIN=1 -DFEW
long flat -DPROCS=2 -DOPS=2 -DBEGIN=4 -DFEW
long flat -DPROCS=2 -DOPS=2 -DBEGIN=2 -DALSO=5 -DFEW -DHALVE
variant flat -DPROCS=3 -DOPS=1 -DBEGIN=1 -DALSO=5 -DFEW -DLOOK_WITHOUT_MOVED -DVALUE_FIRST # no bug there: see the file
for name in INSERT_KEEPS_VERSION DELETE_KEEPS_VERSION VERSION_AT_UNLOCK; do
    switch flat -DRESULTS_ONLY -DPROCS=3 -DOPS=1 -DBEGIN=1 -D$name
done
for name in UNLINK_KEEPS_VERSION GIVEN_EARLY; do
    switch flat -DRESULTS_ONLY -DPROCS=3 -DOPS=1 -DBEGIN=4 -DFEW -D$name
done
for name in FREE_KEEPS_WORD HIT_NOT_VALIDATED MOVED_IGNORED PROMOTED_EARLY; do
    switch flat -DRESULTS_ONLY -DPROCS=2 -DOPS=2 -DBEGIN=1 -DFEW -D$name
done
switch flat -DRESULTS_ONLY -DPROCS=2 -DOPS=2 -DBEGIN=4 -DFEW -DMISS_NOT_VALIDATED
for name in LOCK_IGNORES_VERSION LOCK_IGNORES_MOVED NO_RECHECK MOVED_EARLY; do
    switch flat -DRESULTS_ONLY -DPROCS=2 -DOPS=1 -DBEGIN=1 -D$name
done
switch flat -DRESULTS_ONLY -DPROCS=2 -DOPS=1 -DBEGIN=6 -DLINKED_FIRST
switch flat -DRESULTS_ONLY -DPROCS=2 -DOPS=1 -DBEGIN=2 -DHALVE -DONE_HALF
variant flat -DFILTER -DPROCS=3 -DOPS=1 -DBEGIN=4 -DFEW
variant flat -DFILTER -DPROCS=2 -DOPS=2 -DBEGIN=1 -DFEW
long flat -DFILTER -DPROCS=3 -DOPS=1 -DBEGIN=2 -DALSO=5
long flat -DFILTER -DPROCS=2 -DOPS=2 -DBEGIN=4 -DFEW
long flat -DFILTER -DPROCS=2 -DOPS=2 -DBEGIN=2 -DALSO=5 -DFEW -DHALVE
long flat -DFILTER -DKEEP -DPROCS=2 -DOPS=2 -DBEGIN=8 -DFEW -DWIDE
switch flat -DRESULTS_ONLY -DFILTER -DPROCS=2 -DOPS=2 -DBEGIN=1 -DBIT_LATE
for name in CLEARS_BIT CLEARS_CHAIN; do
    switch flat -DRESULTS_ONLY -DFILTER -DPROCS=2 -DOPS=2 -DBEGIN=4 -DFEW -D$name
done
switch flat -DRESULTS_ONLY -DFILTER -DPROCS=2 -DOPS=2 -DBEGIN=1 -DFEW -DOPENED_EARLY
for name in NOT_OPENED OPENED_LATE BITS_NOT_MOVED; do
    switch flat -DRESULTS_ONLY -DFILTER -DPROCS=2 -DOPS=2 -DBEGIN=6 -DFEW -D$name
done
long flat -DKEEP -DPROCS=3 -DOPS=1 -DBEGIN=7
long flat -DKEEP -DPROCS=2 -DOPS=2 -DBEGIN=8 -DALSO=9 -DFEW
variant flat -DKEEP -DPROCS=2 -DOPS=2 -DBEGIN=8 -DFEW -DHALVE
long flat -DKEEP -DPROCS=2 -DOPS=2 -DBEGIN=2 -DFEW -DLARGE=2
long flat -DKEEP -DPROCS=2 -DOPS=2 -DBEGIN=8 -DFEW -DWIDE
variant flat -DKEEP -DPROCS=3 -DOPS=1 -DBEGIN=7 -DFEW -DLOADS_FIND_KEPT -DVALUE_FIRST # no bug there: see the file
for name in EVICTS_IN_ONE_VERSION EVICTS_AT_UNLOCK EVICTS_AFTER_VERSION REVIVAL_KEEPS_VERSION DELETES_KEPT LOCK_IGNORES_VERSION; do
    switch flat -DRESULTS_ONLY -DKEEP -DPROCS=2 -DOPS=1 -DBEGIN=7 -D$name
done
switch flat -DRESULTS_ONLY -DKEEP -DPROCS=2 -DOPS=1 -DBEGIN=1 -DDELETE_KEEPS_VERSION
switch flat -DRESULTS_ONLY -DKEEP -DPROCS=2 -DOPS=2 -DBEGIN=1 -DFEW -DTEXT_NOT_VALIDATED
switch flat -DRESULTS_ONLY -DKEEP -DPROCS=3 -DOPS=1 -DBEGIN=4 -DFEW -DUNLINK_KEEPS_VERSION
switch flat -DRESULTS_ONLY -DKEEP -DPROCS=2 -DOPS=1 -DBEGIN=7 -DWIDE -DKEPT_IGNORED
switch flat -DKEEP -DPROCS=2 -DOPS=1 -DBEGIN=8 -DHALVE -DMOVES_KEPT

exit $failed
