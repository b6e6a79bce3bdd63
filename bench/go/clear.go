// SPDX-License-Identifier: MIT

//go:build go1.23

// The workload of the second set for which sync.Map of Go 1.23 or later is needed.
package main

var clearWorkloads = []goWorkload{{name: "Clear", loop: clearAndStore}}

func clearAndStore(t *goThread, turns int) {
	for end := t.i + turns; t.i < end; t.i++ {
		key, value := t.i%256, t.i%256
		t.m.Clear()
		t.m.Store(key, value)
	}
}
