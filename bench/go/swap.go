// SPDX-License-Identifier: MIT

//go:build go1.20

// The workloads of the second set for which sync.Map of Go 1.20 or later is needed.
package main

var swapWorkloads = []goWorkload{
	{name: "SwapCollision", setup: zero, loop: swapCollision},
	modulo("SwapMostlyHits", 1023, swapModulo),
	modulo("SwapMostlyMisses", 1, swapModulo),
	{name: "CompareAndSwapCollision", setup: zero, loop: compareAndSwapCollision},
	{name: "CompareAndSwapNoExistingKey", loop: compareAndSwapNoExistingKey},
	{name: "CompareAndSwapValueNotEqual", setup: zero, loop: compareAndSwapValueNotEqual},
	modulo("CompareAndSwapMostlyHits", 1023, compareAndSwapModulo),
	modulo("CompareAndSwapMostlyMisses", 1, compareAndSwapModulo),
	{name: "CompareAndDeleteCollision", setup: zero, loop: compareAndDeleteCollision},
	modulo("CompareAndDeleteMostlyHits", 1023, compareAndDeleteModulo),
	modulo("CompareAndDeleteMostlyMisses", 1, compareAndDeleteModulo),
}

func swapCollision(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if previous, loaded := t.m.Swap(0, 0); !loaded || previous.(int) != 0 {
			fail("a swap of 0: %v, %v", previous, loaded)
		}
	}
}

func swapModulo(t *goThread, turns, hits int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if j := t.i % modulus; j < hits {
			if previous, loaded := t.m.Swap(j, j); !loaded || previous.(int) != j {
				fail("a swap of %d: %v, %v", j, previous, loaded)
			}
		} else {
			if previous, loaded := t.m.Swap(t.i, t.i); loaded {
				fail("a swap of the absent key %d: %v", t.i, previous)
			}
			t.m.Delete(t.i)
		}
	}
}

func compareAndSwapCollision(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if t.m.CompareAndSwap(0, 0, 42) && !t.m.CompareAndSwap(0, 42, 0) {
			fail("a compare_and_swap of 0 lost the value that only this thread may replace")
		}
	}
}

func compareAndSwapNoExistingKey(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if t.m.CompareAndSwap(t.i, 0, 0) {
			fail("a compare_and_swap of the absent key %d succeeded", t.i)
		}
	}
}

func compareAndSwapValueNotEqual(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if t.m.CompareAndSwap(0, 1, 2) {
			fail("a compare_and_swap of 0 with another value succeeded")
		}
	}
}

// The key of a turn: below hits one of those, else one that is absent.
func keyOfTurn(i, hits int) (key int, hit bool) {
	if j := i % modulus; j < hits {
		return j, true
	}
	return i, false
}

// A value is replaced by itself, which never fails where the key is there: it never has another value.
func compareAndSwapModulo(t *goThread, turns, hits int) {
	for end := t.i + turns; t.i < end; t.i++ {
		key, hit := keyOfTurn(t.i, hits)
		if t.m.CompareAndSwap(key, key, key) != hit {
			fail("a compare_and_swap of %d: it should be %v", key, hit)
		}
	}
}

func compareAndDeleteCollision(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		if t.m.CompareAndDelete(0, 0) {
			t.m.Store(0, 0)
		}
	}
}

func compareAndDeleteModulo(t *goThread, turns, hits int) {
	for end := t.i + turns; t.i < end; t.i++ {
		key, hit := keyOfTurn(t.i, hits)
		if t.m.CompareAndDelete(key, key) {
			if !hit {
				fail("a compare_and_delete of the absent key %d succeeded", key)
			}
			t.m.Store(key, key)
		}
	}
}
