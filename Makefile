# SPDX-License-Identifier: MIT
# The door to the build; CMake is its truth. Every target installs the Debian packages that it needs when root runs it, and
# else names them.
#
#   make              the library, static and shared, in build/release
#   make run          counts the C identifiers below DIR (/usr/include) with all cores, and checks the result
#   make check        all tests; check-asan, check-tsan, check-ubsan: the same under a sanitizer
#   make check-model  the protocol models (spin) with all their variants, and all interleavings of small plays, with their figures
#   make check-long   what takes an hour or two: more interleavings, more histories, more torture, fuzzing, every mutant
#   make torture      everything at once for SECONDS (60) on THREADS (4)
#   make fuzz         libFuzzer for SECONDS (60)
#   make mutants      plants each bug of tests/mutants, and tells which test finds it
#   make coverage     lines and branches of src/ that the tests reach
#   make bench        all maps beside each other, in 45 minutes: build/bench/results/report.md; QUICK=1: in 5 minutes
#   make bench-deps   the packages of all those maps: C++, Go and Java are measured where they are installed
#   make install      as `cmake --install`, to PREFIX (/usr/local), below DESTDIR
#   make clean
#
# CC, CFLAGS, and ARGS (for run and bench) are passed on.

DIR ?= /usr/include
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
export CTEST_OUTPUT_ON_FAILURE = 1
MAKEFLAGS += --no-print-directory
CONFIGURE = cmake -S . $(if $(filter default,$(origin CC)),,-DCMAKE_C_COMPILER='$(CC)')

# Of check-asan; address,undefined are two in one.
ASAN ?= address

.PHONY: all run check check-asan check-tsan check-ubsan check-model check-long torture fuzz mutants coverage bench bench-deps install clean \
  deps-build deps-check deps-bench deps-bench-all deps-fuzz deps-coverage

all: deps-build
	$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX='$(PREFIX)'
	cmake --build build/release --parallel $(JOBS)

run: all
	build/release/identifiers --check $(ARGS) '$(DIR)'

# check_in DIRECTORY,OPTIONS
define check_in
	$(CONFIGURE) -B build/$(1) -DSYNCMAP_TESTS=ON -DSYNCMAP_DEBUG=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo $(2)
	cmake --build build/$(1) --parallel $(JOBS)
	cd build/$(1) && ctest --parallel $(JOBS) $(CTEST_ARGS)
endef

check: deps-check
	$(call check_in,check,)

# At -O2, or with all of -g, these are compiled for half as long again, or twice.
SANITIZED = -DCMAKE_C_FLAGS_RELWITHDEBINFO='-O1 -g1 -DNDEBUG' -DSYNCMAP_SANITIZE

check-asan: deps-check
	$(call check_in,asan,$(SANITIZED)=$(ASAN))

check-tsan: deps-check
	$(call check_in,tsan,$(SANITIZED)=thread)

check-ubsan: deps-check
	$(call check_in,ubsan,$(SANITIZED)=undefined)

# The figures of build/check, which `check` has built.
build-check: deps-check
	$(CONFIGURE) -B build/check -DSYNCMAP_TESTS=ON -DSYNCMAP_DEBUG=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo
	cmake --build build/check --parallel $(JOBS)

check-model: build-check
	tests/promela/check.sh
	build/check/tests/model/model

torture: build-check
	env SECONDS=$(or $(SECONDS),60) build/check/tests/torture/torture

fuzz: deps-fuzz
	tests/fuzz/run.sh $(or $(SECONDS),60)

mutants: deps-check
	tests/mutants/run.sh $(ARGS)

check-long: build-check deps-fuzz
	tests/check-long.sh

# Branches are not counted in builds where the atomics' names stand for more than themselves, nor in what only a debug build looks
# at. (gcov can count below zero where processes that fork write at once; gcovr is told to go on.)
COVERAGE = gcovr --root . --filter src/ --gcov-ignore-parse-errors
COVERAGE_BRANCHES = --branches --exclude-throw-branches --exclude-unreachable-branches \
  --exclude-directories '.*/tests/(.*/)?CMakeFiles/(model|syncmap_yielding|torture_jitter)\.dir.*' \
  --exclude-branches-by-pattern '.*(debug_assert|debug_count|DEBUG_BUILD).*'
coverage: deps-coverage
	$(CONFIGURE) -B build/coverage -DSYNCMAP_TESTS=ON -DSYNCMAP_DEBUG=ON -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_C_FLAGS='--coverage -O0 -fprofile-update=atomic' -DCMAKE_EXE_LINKER_FLAGS=-Wl,-u,__gcov_dump
	cmake --build build/coverage --parallel $(JOBS)
	find build/coverage -name '*.gcda' -delete
	cd build/coverage && BOUND=1 ctest --parallel $(JOBS) --exclude-regex '^(model/promela_|consumer|style|symbols|header)' $(CTEST_ARGS)
	$(COVERAGE) --html-details build/coverage/index.html --txt - build/coverage
	$(COVERAGE) $(COVERAGE_BRANCHES) --txt - build/coverage

bench: deps-bench
	$(CONFIGURE) -B build/bench -DSYNCMAP_BENCH=ON -DCMAKE_BUILD_TYPE=Release
	cmake --build build/bench --parallel $(JOBS)
	bench/bench.py --build build/bench $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

bench-deps: deps-bench-all

install: all
	cmake --install build/release

clean:
	rm -rf build

deps-build deps-check deps-bench deps-bench-all deps-fuzz deps-coverage:
	@tools/deps.sh $(@:deps-%=%)
