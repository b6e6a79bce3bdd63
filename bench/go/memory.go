// SPDX-License-Identifier: MIT

// The phase memory: what an entry takes, what remains when all are deleted, and what an empty map takes.
package main

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
)

// Bytes that the heap and the stacks take, after two collections: the first one leaves what has a finalizer and the pools.
func bytesInUse() float64 {
	var stats runtime.MemStats

	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapInuse + stats.StackInuse)
}

// A figure of /proc/self/status that is in kB.
func statusBytes(name string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail("%v", err)
	}
	match := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(text)
	if match == nil {
		fail("/proc/self/status has no %s", name)
	}
	kilobytes, _ := strconv.ParseFloat(string(match[1]), 64)
	return kilobytes * 1024
}

// Keys are made one by one and go to the map, which then holds all there is of a string.
func (r *runner[K]) memory() {
	alone := measurement{share: 1, processShare: 1}
	n := float64(r.n)
	m := new(sync.Map)
	resident := statusBytes("VmRSS")
	before := bytesInUse()

	for i := uint64(0); i < r.n; i++ {
		if _, loaded := m.LoadOrStore(r.space.fresh(i), valueOf(i)); loaded {
			fail("memory: key number %d is there", i)
		}
	}
	for i := uint64(0); i < r.n; i++ {
		if value, ok := m.Load(r.space.fresh(i)); !ok || value.(uint64) != valueOf(i) {
			fail("memory: key number %d: %v, %v", i, value, ok)
		}
	}
	r.line("memory_full", "B/entry", (bytesInUse()-before)/n, alone)
	r.line("memory_peak", "B/entry", (statusBytes("VmHWM")-resident)/n, alone)
	for i := uint64(0); i < r.n; i++ {
		if _, loaded := m.LoadAndDelete(r.space.fresh(i)); !loaded {
			fail("memory: key number %d is gone", i)
		}
	}
	for i := r.n; i < r.n+r.n/10; i++ {
		if _, ok := m.Load(r.space.fresh(i)); ok {
			fail("memory: key number %d is there", i)
		}
	}
	r.line("memory_deleted", "B/entry", (bytesInUse()-before)/n, alone)
	runtime.KeepAlive(m)
	r.line("memory_empty", "B", emptyMaps(1000), alone)
}

func emptyMaps(count int) float64 {
	maps := make([]*sync.Map, count)
	before := bytesInUse()

	for i := range maps {
		maps[i] = new(sync.Map)
	}
	after := bytesInUse()
	runtime.KeepAlive(maps)
	return (after - before) / float64(count)
}
