# SPDX-License-Identifier: MIT
# The door to the build; CMake is its truth. Every target installs the Debian packages that it needs when root runs it, and
# else names them.
#
#   make              the library, static and shared, in build/release
#   make run          counts the C identifiers below DIR (/usr/include) with all cores, and checks the result
#   make check        all tests; check-asan, check-tsan, check-ubsan: the same under a sanitizer
#   make bench        the table of bench/compare.c
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

.PHONY: all run check check-asan check-tsan check-ubsan bench install clean deps-build deps-check deps-bench

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

check-asan: deps-check
	$(call check_in,asan,-DSYNCMAP_SANITIZE=address)

check-tsan: deps-check
	$(call check_in,tsan,-DSYNCMAP_SANITIZE=thread)

check-ubsan: deps-check
	$(call check_in,ubsan,-DSYNCMAP_SANITIZE=undefined)

bench: deps-bench
	$(CONFIGURE) -B build/bench -DSYNCMAP_BENCH=ON -DCMAKE_BUILD_TYPE=Release
	cmake --build build/bench --parallel $(JOBS)
	build/bench/bench/compare $(ARGS)

install: all
	cmake --install build/release

clean:
	rm -rf build

deps-build deps-check deps-bench:
	@tools/deps.sh $(@:deps-%=%)
