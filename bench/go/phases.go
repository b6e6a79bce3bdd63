// SPDX-License-Identifier: MIT

// The phases of the first set: what is prepared, measured and checked. Their loops are in loops.go.
package main

import "sync"

// A stream for each thread, each made by its thread.
func (r *runner[K]) streams(make_ func(d *draws) *stream[K]) []*stream[K] {
	streams := make([]*stream[K], r.threads)

	r.pool.run(func(thread int) { streams[thread] = make_(newDraws(r.seed, thread)) })
	return streams
}

// Streams of the keys first .. first+n-1, uniform.
func (r *runner[K]) uniform(first uint64) []*stream[K] {
	return r.streams(func(d *draws) *stream[K] {
		return r.space.stream(drawsFor(r.n), func() uint64 { return first + d.below(r.n) })
	})
}

// Measures the loop on all streams, with a warm-up of one pass.
func (r *runner[K]) measureStreams(streams []*stream[K], loop func(s *stream[K], turns int) int64) measurement {
	bodies := make([]body, r.threads)

	for thread := range bodies {
		s := streams[thread]
		bodies[thread] = body{operation: 1, warmUp: len(s.keys), batch: func(turns int) int64 { return loop(s, turns) }}
	}
	return r.pool.measure(&r.options, bodies)
}

func (r *runner[K]) rate(workload string, m measurement) {
	r.line(workload, "Mops/s", m.sum(0, r.threads), m)
}

// The keys first .. end-1 of one thread, when all threads share the keys 0 .. n-1.
func (r *runner[K]) part(thread int) (first, end uint64) {
	threads := uint64(r.threads)
	return r.n * uint64(thread) / threads, r.n * (uint64(thread) + 1) / threads
}

// What is in the map.
const (
	empty = iota
	full  // the keys 0 .. n-1
	mixed // some of the keys 0 .. 2n-1
)

func (r *runner[K]) fill() {
	r.needEmpty()
	r.pool.run(func(thread int) {
		for i, end := r.part(thread); i < end; i++ {
			if actual, loaded := r.m.LoadOrStore(r.space.stored(i), valueOf(i)); loaded || actual.(uint64) != valueOf(i) {
				fail("fill: key number %d was there", i)
			}
		}
	})
	r.isFull("fill")
}

// Phases may come in any order: the state that one needs is made, if the phase before left another.
func (r *runner[K]) needFull() {
	if r.state != full {
		r.fill()
	}
}

func (r *runner[K]) needEmpty() {
	if r.state != empty {
		r.deleteAll()
	}
}

// After the keys 0 .. n-1 have been inserted: loads each once, by one thread, so that the map promotes them.
func (r *runner[K]) isFull(after string) {
	r.state, r.present = full, r.n
	r.pool.runFirst(func() {
		if count := r.countPresent(r.n); count != r.n {
			fail("%s: %d keys are there, not %d", after, count, r.n)
		}
	})
}

// How many of the keys 0 .. limit-1 are there, each with its value.
func (r *runner[K]) countPresent(limit uint64) (count uint64) {
	for i := uint64(0); i < limit; i++ {
		if value, ok := r.m.Load(r.space.lookup(i)); ok {
			if value.(uint64) != valueOf(i) {
				fail("key number %d has a wrong value", i)
			}
			count++
		}
	}
	return count
}

func (r *runner[K]) insert() {
	r.needEmpty()
	order := newStream[K](int(r.n))
	d := newDraws(r.seed, -1)
	numbers := make([]uint64, r.n)
	for i := range numbers {
		numbers[i] = uint64(i)
	}
	for at := range numbers {
		other := at + int(d.below(r.n-uint64(at)))
		numbers[at], numbers[other] = numbers[other], numbers[at]
		order.set(at, r.space.stored(numbers[at]), numbers[at])
	}
	numbers = nil

	latencies := newLatencies(int(r.n))
	bodies := make([]body, r.threads)
	for thread := range bodies {
		first, end := r.part(thread)
		inserts := &inserter[K]{m: r.m, keys: order, at: int(first), latencies: latencies}
		bodies[thread] = body{operation: 1, turns: int(end - first), batch: inserts.loop}
		if end == first { // more threads than keys
			bodies[thread] = body{operation: 1, turns: 1, batch: func(int) int64 { return 0 }}
		}
	}
	m := r.pool.measure(&r.options, bodies)
	r.rate("insert", m)
	r.reportLatencies(latencies, m)
	r.isFull("insert")
}

func (r *runner[K]) loadHit() {
	r.needFull()
	m := r.m
	r.rate("load_hit", r.measureStreams(r.uniform(0), func(s *stream[K], turns int) int64 { return s.loadHits(m, turns) }))
}

func (r *runner[K]) loadHitZipf() {
	r.needFull()
	z := newZipf(r.n)
	streams := r.streams(func(d *draws) *stream[K] {
		return r.space.stream(drawsZipf, func() uint64 { return z.rank(d) })
	})
	m := r.m
	r.rate("load_hit_zipf", r.measureStreams(streams, func(s *stream[K], turns int) int64 { return s.loadHits(m, turns) }))
}

func (r *runner[K]) loadMiss() {
	r.needFull()
	m := r.m
	r.rate("load_miss", r.measureStreams(r.uniform(r.n), func(s *stream[K], turns int) int64 { return s.loadMisses(m, turns) }))
}

// Afterwards all keys must be there, still with their values.
func (r *runner[K]) update() {
	r.needFull()
	m := r.m
	r.rate("update", r.measureStreams(r.uniform(0), func(s *stream[K], turns int) int64 { return s.updates(m, turns) }))
	r.isFull("update")
}

func (r *runner[K]) checkPresent(after string, expected uint64) {
	r.pool.runFirst(func() {
		if r.present = r.countPresent(2 * r.n); r.present != expected {
			fail("%s: %d keys are there, not %d", after, r.present, expected)
		}
	})
}

func (r *runner[K]) mixed(name string, loads, loadOrStores uint64) {
	if r.state == empty {
		r.fill()
	}
	r.state = mixed
	streams := r.streams(func(d *draws) *stream[K] {
		return r.space.mixedStream(drawsFor(r.n), d, 2*r.n, loads, loadOrStores)
	})
	bodies := make([]body, r.threads)
	mixers := make([]*mixer[K], r.threads)
	for thread := range bodies {
		mixers[thread] = &mixer[K]{m: r.m, stream: streams[thread]}
		bodies[thread] = body{operation: 1, warmUp: len(streams[thread].keys), batch: mixers[thread].loop}
	}
	m := r.pool.measure(&r.options, bodies)
	expected := r.present
	for _, x := range mixers {
		expected += x.inserted - x.deleted
	}
	r.checkPresent(name, expected)
	r.rate(name, m)
}

func (r *runner[K]) churn() {
	bodies := make([]body, r.threads)
	m := new(sync.Map)
	r.pool.run(func(thread int) {
		c := &churner[K]{m: m, fresh: r.space.fresh, valueOf: r.space.valueOf, next: uint64(thread) << 40}
		c.begin()
		bodies[thread] = body{operation: 6, batch: c.loop}
	})
	r.rate("churn", r.pool.measure(&r.options, bodies))
}

func (r *runner[K]) hotKey() {
	r.needFull()
	stored, lookup, value, m := r.space.stored(0), r.space.lookup(0), valueOf(0), r.m
	bodies := make([]body, r.threads)
	for thread := range bodies {
		bodies[thread] = body{operation: 2, warmUp: drawsLeast / 2, batch: func(turns int) int64 {
			return hotKeyLoop(m, stored, lookup, value, turns)
		}}
	}
	r.rate("hot_key", r.pool.measure(&r.options, bodies))
}

// A thread that updates a key which is there, inserts a fresh key, and deletes that one.
func (r *runner[K]) writerBody(thread int, s *stream[K]) body {
	w := &writer[K]{m: r.m, stream: s, fresh: r.space.fresh, valueOf: r.space.valueOf, next: uint64(thread+1) << 34}
	return body{operation: 3, batch: w.loop}
}

func (r *runner[K]) readerBesideWriter() {
	if r.threads < 2 {
		r.absent("reader_beside_writer", "needs two threads")
		return
	}
	r.needFull()
	streams := r.uniform(0)
	bodies := make([]body, r.threads)
	bodies[0] = r.writerBody(0, streams[0])
	for thread := 1; thread < r.threads; thread++ {
		s, m := streams[thread], r.m
		bodies[thread] = body{operation: 1, warmUp: len(s.keys), batch: func(turns int) int64 { return s.loadHits(m, turns) }}
	}
	m := r.pool.measure(&r.options, bodies)
	r.line("reader_beside_writer", "Mops/s", m.sum(1, r.threads), m)
	r.line("writer_beside_reader", "Mops/s", m.sum(0, 1), m)
	r.checkPresent("reader_beside_writer", r.present)
}

func (r *runner[K]) rangeBesideWriters() {
	if r.threads < 2 {
		r.absent("range", "needs two threads")
		return
	}
	r.needFull()
	streams := r.uniform(0)
	bodies := make([]body, r.threads)
	m, n, value := r.m, r.n, r.space.valueOf
	bodies[0] = body{operation: 1, stops: true, batch: func(int) int64 { return walk(m, n, value) }}
	for thread := 1; thread < r.threads; thread++ {
		bodies[thread] = r.writerBody(thread, streams[thread])
	}
	measured := r.pool.measure(&r.options, bodies)
	r.line("range", "Mentries/s", measured.sum(0, 1), measured)
	r.line("writer_beside_range", "Mops/s", measured.sum(1, r.threads), measured)
	r.checkPresent("range", r.present)
}

func (r *runner[K]) deleteAll() {
	r.pool.runFirst(func() {
		count := uint64(0)
		for i := uint64(0); i < 2*r.n; i++ {
			if _, loaded := r.m.LoadAndDelete(r.space.lookup(i)); loaded {
				count++
			}
		}
		if count != r.present {
			fail("delete_all: %d keys were there, not %d", count, r.present)
		}
	})
	r.checkPresent("delete_all", 0)
	r.state = empty
}
