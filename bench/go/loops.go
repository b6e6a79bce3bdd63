// SPDX-License-Identifier: MIT

// The loops of the first set: what is timed. A loop does some turns and returns how many operations they were.
//
// Keys and values go to the map as to any sync.Map, as `any`: the compiler boxes them at the call. Boxes are not made
// beforehand, since no program has its keys in boxes; that of a key to be loaded is on the stack. A value comes back by a
// type assertion. A delete is a LoadAndDelete, which is what Delete calls, because it tells whether the key was there. Store
// does not tell whether it replaced a value (Swap would, from Go 1.20 on), so the phase update is checked when it is over.
//
// The compiler makes one copy of these loops for integers and one for strings, with direct calls of the map.
package main

import "sync"

func (s *stream[K]) loadHits(m *sync.Map, turns int) int64 {
	at := s.at
	for turn := 0; turn < turns; turn++ {
		if value, ok := m.Load(s.keys[at]); !ok || value.(uint64) != s.value(at) {
			fail("a load of key %v: %v, %v", s.keys[at], value, ok)
		}
		if at++; at == len(s.keys) {
			at = 0
		}
	}
	s.at = at
	return int64(turns)
}

func (s *stream[K]) loadMisses(m *sync.Map, turns int) int64 {
	at := s.at
	for turn := 0; turn < turns; turn++ {
		if value, ok := m.Load(s.keys[at]); ok {
			fail("a load of the absent key %v: %v", s.keys[at], value)
		}
		if at++; at == len(s.keys) {
			at = 0
		}
	}
	s.at = at
	return int64(turns)
}

func (s *stream[K]) updates(m *sync.Map, turns int) int64 {
	at := s.at
	for turn := 0; turn < turns; turn++ {
		m.Store(s.keys[at], s.value(at))
		if at++; at == len(s.keys) {
			at = 0
		}
	}
	s.at = at
	return int64(turns)
}

// A thread of the phase insert. An operation is timed by one reading of the clock: it lasts from the reading before.
type inserter[K keyType] struct {
	m         *sync.Map
	keys      *stream[K]
	at        int
	last      int64
	latencies []uint32 // of all threads, by the place of the key
}

func (x *inserter[K]) loop(turns int) int64 {
	last := x.last
	if last == 0 {
		last = now()
	}
	for at := x.at; at < x.at+turns; at++ {
		if actual, loaded := x.m.LoadOrStore(x.keys.keys[at], x.keys.value(at)); loaded {
			fail("an insert of the fresh key %v: it is there with %v", x.keys.keys[at], actual)
		}
		end := now()
		x.latencies[at] = clamp(end - last)
		last = end
	}
	x.at += turns
	x.last = last
	return int64(turns)
}

// A thread of the mixed phases.
type mixer[K keyType] struct {
	m                 *sync.Map
	stream            *stream[K]
	inserted, deleted uint64
}

func (x *mixer[K]) loop(turns int) int64 {
	m, s := x.m, x.stream
	at := s.at
	for turn := 0; turn < turns; turn++ {
		switch s.ops[at] {
		case opLoad:
			if value, ok := m.Load(s.keys[at]); ok && value.(uint64) != s.value(at) {
				fail("a load of key %v: wrong value %v", s.keys[at], value)
			}
		case opLoadOrStore:
			actual, loaded := m.LoadOrStore(s.keys[at], s.value(at))
			if actual.(uint64) != s.value(at) {
				fail("a load_or_store of key %v: wrong value %v", s.keys[at], actual)
			}
			if !loaded {
				x.inserted++
			}
		default:
			if value, loaded := m.LoadAndDelete(s.keys[at]); loaded {
				if value.(uint64) != s.value(at) {
					fail("a delete of key %v: wrong value %v", s.keys[at], value)
				}
				x.deleted++
			}
		}
		if at++; at == len(s.keys) {
			at = 0
		}
	}
	s.at = at
	return int64(turns)
}

const churnAlive = 1000

// A thread of the phase churn. A round is an insert of a fresh key, four loads of it, and a delete of the key of churnAlive
// rounds before: six operations. If keys are strings, the making of the fresh one is in the time.
type churner[K keyType] struct {
	m       *sync.Map
	fresh   func(i uint64) K
	valueOf func(key K) uint64
	next    uint64
	alive   [churnAlive]K
	oldest  int
}

func (c *churner[K]) begin() {
	for i := range c.alive {
		c.alive[i] = c.fresh(c.next)
		c.m.Store(c.alive[i], c.valueOf(c.alive[i]))
		c.next++
	}
}

func (c *churner[K]) loop(turns int) int64 {
	for turn := 0; turn < turns; turn++ {
		key := c.fresh(c.next)
		want := c.valueOf(key)
		c.next++
		if _, loaded := c.m.LoadOrStore(key, want); loaded {
			fail("churn: the fresh key %v is there", key)
		}
		for i := 0; i < 4; i++ {
			if value, ok := c.m.Load(key); !ok || value.(uint64) != want {
				fail("churn: a load of key %v: %v, %v", key, value, ok)
			}
		}
		if _, loaded := c.m.LoadAndDelete(c.alive[c.oldest]); !loaded {
			fail("churn: key %v is gone", c.alive[c.oldest])
		}
		c.alive[c.oldest] = key
		if c.oldest++; c.oldest == churnAlive {
			c.oldest = 0
		}
	}
	return int64(turns) * 6
}

func hotKeyLoop[K keyType](m *sync.Map, stored, lookup K, value uint64, turns int) int64 {
	for turn := 0; turn < turns; turn++ {
		m.Store(stored, value)
		if loaded, ok := m.Load(lookup); !ok || loaded.(uint64) != value {
			fail("hot_key: a load: %v, %v", loaded, ok)
		}
	}
	return int64(turns) * 2
}

// A thread that writes beside readers or a walk, three operations a turn.
type writer[K keyType] struct {
	m       *sync.Map
	stream  *stream[K] // of keys that are there
	fresh   func(i uint64) K
	valueOf func(key K) uint64
	next    uint64
}

func (w *writer[K]) loop(turns int) int64 {
	m, s := w.m, w.stream
	for turn := 0; turn < turns; turn++ {
		m.Store(s.keys[s.at], s.value(s.at))
		if s.at++; s.at == len(s.keys) {
			s.at = 0
		}
		key := w.fresh(w.next)
		w.next++
		if _, loaded := m.LoadOrStore(key, w.valueOf(key)); loaded {
			fail("a writer: the fresh key %v is there", key)
		}
		if _, loaded := m.LoadAndDelete(key); !loaded {
			fail("a writer: key %v is gone", key)
		}
	}
	return int64(turns) * 3
}

// One walk over the map. Returns how many entries it met.
func walk[K keyType](m *sync.Map, least uint64, valueOf func(key K) uint64) int64 {
	visited := uint64(0)
	m.Range(func(key, value any) bool {
		if value.(uint64) != valueOf(key.(K)) {
			fail("range: key %v has the wrong value %v", key, value)
		}
		visited++
		return true
	})
	if visited < least {
		fail("range: a walk met %d entries, not %d", visited, least)
	}
	return int64(visited)
}
