// SPDX-License-Identifier: MIT

// The phases of the second set: the workloads of Go's own benchmarks of sync.Map, by their names.
//
// Keys and values are ints, as there. What must come out is checked, where other threads cannot make it come out otherwise.
//
// Go's file calls the map through an interface, and so boxes each key that it loads on the heap. Here it is called as in
// programs, directly, and a key that is only loaded or deleted is boxed on the stack: these loops are faster than Go's.
package main

import (
	"runtime"
	"strings"
	"sync"
)

const goPrefix = "go:"

// One thread in such a workload.
type goThread struct {
	m      *sync.Map
	i      int // counts the turns, from another start in each thread
	stores int // of AdversarialAlloc
	since  int
}

type goWorkload struct {
	name  string
	setup func(m *sync.Map)
	loop  func(t *goThread, turns int) // nil: this version of sync.Map cannot do it
	lacks string                       // what it would need
}

var goWorkloads = append(append([]goWorkload{
	modulo("LoadMostlyHits", 1023, loadModulo),
	modulo("LoadMostlyMisses", 1, loadModulo),
	{name: "LoadOrStoreBalanced", setup: primed(128), loop: loadOrStoreBalanced},
	{name: "LoadOrStoreUnique", loop: loadOrStoreUnique},
	{name: "LoadOrStoreCollision", setup: zero, loop: loadOrStoreCollision},
	{name: "LoadAndDeleteBalanced", setup: primed(128), loop: loadAndDeleteBalanced},
	{name: "LoadAndDeleteUnique", loop: loadAndDeleteUnique},
	{name: "LoadAndDeleteCollision", setup: zero, loop: loadAndDeleteCollision},
	{name: "Range", setup: stored(rangeSize), loop: rangeAll},
	{name: "AdversarialAlloc", loop: adversarialAlloc},
	{name: "AdversarialDelete", setup: stored(rangeSize), loop: adversarialDelete},
	{name: "DeleteCollision", setup: zero, loop: deleteCollision},
}, swapWorkloads...), clearWorkloads...)

// A workload on as many keys that are there as it has hits of modulus turns.
func modulo(name string, hits int, loop func(t *goThread, turns, hits int)) goWorkload {
	return goWorkload{name: name, setup: primed(hits), loop: func(t *goThread, turns int) { loop(t, turns, hits) }}
}

func goWorkloadNamed(name string) *goWorkload {
	for i := range goWorkloads {
		if goPrefix+goWorkloads[i].name == name {
			return &goWorkloads[i]
		}
	}
	return nil
}

func (r *runner[K]) goPhase(w *goWorkload) {
	if w.loop == nil {
		r.absent(goPrefix+w.name, "no "+w.lacks+" in "+strings.Replace(runtime.Version(), "go", "Go ", 1))
		return
	}
	m := new(sync.Map)
	if w.setup != nil {
		r.pool.runFirst(func() { w.setup(m) })
	}
	bodies := make([]body, r.threads)
	for thread := range bodies {
		t := &goThread{m: m, i: thread << 32}
		bodies[thread] = body{operation: 1, batch: func(turns int) int64 { w.loop(t, turns); return int64(turns) }}
	}
	r.rate(goPrefix+w.name, r.pool.measure(&r.options, bodies))
}

// ---- what a map is at first -----------------------------------------------------------------------

func zero(m *sync.Map) {
	m.LoadOrStore(0, 0)
}

// The keys below a number, loaded often enough to be promoted.
func primed(hits int) func(m *sync.Map) {
	return func(m *sync.Map) {
		for i := 0; i < hits; i++ {
			m.LoadOrStore(i, i)
		}
		for i := 0; i < hits*2; i++ {
			m.Load(i % hits)
		}
	}
}

const rangeSize = 1 << 10

func stored(size int) func(m *sync.Map) {
	return func(m *sync.Map) {
		for i := 0; i < size; i++ {
			m.Store(i, i)
		}
	}
}

// ---- the loops ------------------------------------------------------------------------------------

const modulus = 1024 // in the workloads with hits and misses

func loadModulo(t *goThread, turns, hits int) {
	for end := t.i + turns; t.i < end; t.i++ {
		j := t.i % modulus
		if value, ok := t.m.Load(j); ok != (j < hits) || ok && value.(int) != j {
			fail("a load of %d: %v, %v", j, value, ok)
		}
	}
}

func loadOrStoreBalanced(t *goThread, turns int) {
	const hits, misses = 128, 128
	for end := t.i + turns; t.i < end; t.i++ {
		if j := t.i % (hits + misses); j < hits {
			if actual, loaded := t.m.LoadOrStore(j, t.i); !loaded || actual.(int) != j {
				fail("a load_or_store of %d: %v, %v", j, actual, loaded)
			}
		} else if actual, loaded := t.m.LoadOrStore(t.i, t.i); loaded {
			fail("a load_or_store of the fresh key %d: %v", t.i, actual)
		}
	}
}

func loadOrStoreUnique(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if actual, loaded := t.m.LoadOrStore(t.i, t.i); loaded {
			fail("a load_or_store of the fresh key %d: %v", t.i, actual)
		}
	}
}

func loadOrStoreCollision(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if actual, loaded := t.m.LoadOrStore(0, 0); !loaded || actual.(int) != 0 {
			fail("a load_or_store of 0: %v, %v", actual, loaded)
		}
	}
}

func loadAndDeleteBalanced(t *goThread, turns int) {
	const hits, misses = 128, 128
	for end := t.i + turns; t.i < end; t.i++ {
		if j := t.i % (hits + misses); j < hits {
			if value, loaded := t.m.LoadAndDelete(j); loaded && value.(int) != j {
				fail("a delete of %d: wrong value %v", j, value)
			}
		} else if value, loaded := t.m.LoadAndDelete(t.i); loaded {
			fail("a delete of the absent key %d: %v", t.i, value)
		}
	}
}

func loadAndDeleteUnique(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if value, loaded := t.m.LoadAndDelete(t.i); loaded {
			fail("a delete of the absent key %d: %v", t.i, value)
		}
	}
}

func loadAndDeleteCollision(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if value, loaded := t.m.LoadAndDelete(0); loaded {
			if value.(int) != 0 {
				fail("a delete of 0: wrong value %v", value)
			}
			t.m.Store(0, 0)
		}
	}
}

func rangeAll(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		visited := 0
		t.m.Range(func(_, _ any) bool {
			visited++
			return true
		})
		if visited != rangeSize {
			fail("a walk met %d entries, not %d", visited, rangeSize)
		}
	}
}

// Stores a key whenever as many absent ones have been loaded as there are stores.
func adversarialAlloc(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if value, ok := t.m.Load(t.i); ok {
			fail("a load of the absent key %d: %v", t.i, value)
		}
		if t.since++; t.since > t.stores {
			if actual, loaded := t.m.LoadOrStore(t.i, t.stores); loaded {
				fail("a load_or_store of the fresh key %d: %v", t.i, actual)
			}
			t.since = 0
			t.stores++
		}
	}
}

// Loads, and now and then deletes one key of many and stores another.
func adversarialDelete(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if value, ok := t.m.Load(t.i); ok && value.(int) != t.i {
			fail("a load of %d: wrong value %v", t.i, value)
		}
		if t.i%rangeSize == 0 {
			t.m.Range(func(key, _ any) bool {
				t.m.Delete(key)
				return false
			})
			t.m.Store(t.i, t.i)
		}
	}
}

func deleteCollision(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		t.m.Delete(0)
	}
}
