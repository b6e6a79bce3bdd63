// SPDX-License-Identifier: MIT

// Latencies of the phase insert, and their percentiles.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
)

// Room for so many, in ns, all pages of which are there: only writing to them makes them be.
func newLatencies(count int) []uint32 {
	latencies := make([]uint32, count)

	for i := range latencies {
		latencies[i] = 1
	}
	return latencies
}

func clamp(ns int64) uint32 {
	if ns > math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(ns)
}

// Sorts by eleven bits at a time.
func sortLatencies(latencies []uint32) {
	const bits = 11
	from, to := latencies, make([]uint32, len(latencies))

	for shift := 0; shift < 32; shift += bits {
		var places [1<<bits + 1]int
		for _, ns := range from {
			places[ns>>shift&(1<<bits-1)+1]++
		}
		for digit := 1; digit < len(places); digit++ {
			places[digit] += places[digit-1]
		}
		for _, ns := range from {
			digit := ns >> shift & (1<<bits - 1)
			to[places[digit]] = ns
			places[digit]++
		}
		from, to = to, from
	}
	copy(latencies, from)
}

// The least latency that is not exceeded by this percentage of all, which are sorted.
func percentile(sorted []uint32, percent float64) uint32 {
	rank := int(math.Ceil(percent*float64(len(sorted))/100 - 1e-6)) // 99.9 is not quite 99.9

	if rank < 1 {
		rank = 1
	}
	return sorted[rank-1]
}

var curve = []float64{
	0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 99.9995, 99.9999, 100,
}

func (r *runner[K]) reportLatencies(latencies []uint32, m measurement) {
	sortLatencies(latencies)
	for _, one := range []struct {
		name    string
		percent float64
	}{{"p50", 50}, {"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99}, {"max", 100}} {
		r.line("insert_"+one.name, "ns", float64(percentile(latencies, one.percent)), m)
	}
	if r.latencies != "" {
		writeCurve(r.latencies, latencies)
	}
}

func writeCurve(path string, sorted []uint32) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		fail("%v", err)
	}
	out := bufio.NewWriter(file)
	for _, percent := range curve {
		fmt.Fprintf(out, "%v\t%d\n", percent, percentile(sorted, percent))
	}
	if err = out.Flush(); err == nil {
		err = file.Close()
	}
	if err != nil {
		fail("%v", err)
	}
}
