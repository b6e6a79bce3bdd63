// SPDX-License-Identifier: MIT

// Keys and values by their numbers, and streams of keys drawn beforehand.
package main

import (
	"math"
	"sync"
)

// The i-th number of Steele, Lea and Flood's SplitMix64: a bijection, so different i give different keys.
func splitmix64(i uint64) uint64 {
	z := (i + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// The value that belongs to key number i.
func valueOf(i uint64) uint64 {
	return splitmix64(i) | 1
}

type keyType interface{ uint64 | string }

// How to get the key of a number, and the value of a key.
//
// An integer is an integer. Of each string there are two copies: the map is given the one (stored), and asked by the other
// (lookup), as by a program whose keys come from elsewhere. The comparison of a string with itself would read none of it.
type keySpace[K keyType] struct {
	stored  func(i uint64) K
	lookup  func(i uint64) K
	fresh   func(i uint64) K // makes it, in the time of its caller: stored and lookup are tables, if keys are strings
	valueOf func(key K) uint64
}

func integerKeys() *keySpace[uint64] {
	return &keySpace[uint64]{splitmix64, splitmix64, splitmix64, func(key uint64) uint64 { return key | 1 }}
}

const (
	digits      = "0123456789abcdefghijklmnopqrstuvwxyz"
	stringLeast = 8
	stringMost  = 64
	stride      = 72
)

// Writes string key number i and returns its length, 8 to 64. The first eight characters are the number in base 36, its last
// digit first, so that strings differ early; the rest is random.
func putString(to *[stride]byte, i uint64) int {
	length := stringLeast + int(splitmix64(i^0x5555555555555555)%(stringMost-stringLeast+1))
	state := splitmix64(i)

	for at, number := 0, i; at < stringLeast; at++ {
		to[at] = digits[number%36]
		number /= 36
	}
	for at := stringLeast; at < length; at++ {
		state = splitmix64(state)
		to[at] = digits[state%36]
	}
	return length
}

func makeString(i uint64) string {
	var text [stride]byte

	return string(text[:putString(&text, i)])
}

// The value of string key number i, with the number read back from the key.
func valueOfString(key string) uint64 {
	i := uint64(0)

	for at := stringLeast - 1; at >= 0; at-- {
		digit := uint64(key[at] - '0')
		if digit > 9 {
			digit = uint64(key[at]-'a') + 10
		}
		i = i*36 + digit
	}
	return valueOf(i)
}

// All string keys up to a number, in one piece of memory.
func stringTable(count uint64) []string {
	arena := make([]byte, count*stride)
	lengths := make([]uint8, count)
	table := make([]string, count)

	for i := range table {
		lengths[i] = uint8(putString((*[stride]byte)(arena[i*stride:]), uint64(i)))
	}
	text := string(arena)
	for i := range table {
		table[i] = text[i*stride : i*stride+int(lengths[i])]
	}
	return table
}

func stringKeys(count uint64) *keySpace[string] {
	var stored, lookup []string
	var once sync.Once
	make := func() { // not before a phase needs them: the phase memory does not
		stored = stringTable(count)
		lookup = stringTable(count)
	}

	return &keySpace[string]{
		func(i uint64) string { once.Do(make); return stored[i] },
		func(i uint64) string { once.Do(make); return lookup[i] },
		makeString, valueOfString,
	}
}

// ---- draws ----------------------------------------------------------------------------------------

// A sequence of random numbers, for each seed and thread another.
type draws struct{ state uint64 }

func newDraws(seed uint64, thread int) *draws {
	return &draws{splitmix64(splitmix64(seed) + uint64(thread))}
}

func (d *draws) next() uint64 {
	d.state++
	return splitmix64(d.state)
}

func (d *draws) below(limit uint64) uint64 {
	return d.next() % limit
}

// Ranks 0 .. n-1 with a frequency of 1/(rank+1)^0.99, by rejection-inversion: W. Hörmann and G. Derflinger,
// "Rejection-inversion to generate variates from monotone discrete distributions", 1996.
type zipf struct {
	n            float64
	low, high, s float64
}

const exponent = 0.99

func zipfH(x float64) float64 { return math.Pow(x, -exponent) }

// The integral of zipfH, and its inverse.
func zipfIntegral(x float64) float64 { return math.Pow(x, 1-exponent) / (1 - exponent) }
func zipfInverse(y float64) float64  { return math.Pow(y*(1-exponent), 1/(1-exponent)) }

func newZipf(n uint64) *zipf {
	return &zipf{float64(n), zipfIntegral(1.5) - 1, zipfIntegral(float64(n) + 0.5),
		2 - zipfInverse(zipfIntegral(2.5)-zipfH(2))}
}

func (z *zipf) rank(d *draws) uint64 {
	for {
		u := z.high + float64(d.next()>>11)/(1<<53)*(z.low-z.high)
		x := zipfInverse(u)
		k := math.Min(math.Max(math.Floor(x+0.5), 1), z.n)

		if k-x <= z.s || u >= zipfIntegral(k+0.5)-zipfH(k) {
			return uint64(k) - 1
		}
	}
}

// ---- streams --------------------------------------------------------------------------------------

const (
	opLoad = iota
	opLoadOrStore
	opDelete
)

// The operations of one thread: the loops read it cyclically.
type stream[K keyType] struct {
	keys   []K
	values []uint64 // that belong to the keys; nil for integers, which tell theirs
	ops    []uint8  // of the mixed phases only
	at     int
}

// The value that belongs to keys[at]. The compiler makes one copy of this for integers and one for strings.
func (s *stream[K]) value(at int) uint64 {
	if number, ok := any(s.keys[at]).(uint64); ok {
		return number | 1
	}
	return s.values[at]
}

func newStream[K keyType](count int) *stream[K] {
	var key K
	s := &stream[K]{keys: make([]K, count)}

	if _, integers := any(key).(uint64); !integers {
		s.values = make([]uint64, count)
	}
	return s
}

func (s *stream[K]) set(at int, key K, i uint64) {
	s.keys[at] = key
	if s.values != nil {
		s.values[at] = valueOf(i)
	}
}

const (
	drawsLeast = 1 << 16
	drawsMost  = 10000000
	drawsZipf  = 1 << 20
)

func drawsFor(n uint64) int {
	if n < drawsLeast {
		return drawsLeast
	}
	if n > drawsMost {
		return drawsMost
	}
	return int(n)
}

// A stream of this many keys, each by the number that draw returns.
func (space *keySpace[K]) stream(count int, draw func() uint64) *stream[K] {
	s := newStream[K](count)

	for at := range s.keys {
		i := draw()
		s.set(at, space.lookup(i), i)
	}
	return s
}

// A stream of loads, load_or_stores and deletes on keys 0 .. limit-1, by percentages; what is left to 100 are deletes.
func (space *keySpace[K]) mixedStream(count int, d *draws, limit uint64, loads, loadOrStores uint64) *stream[K] {
	s := newStream[K](count)

	s.ops = make([]uint8, count)
	for at := range s.keys {
		i, percent := d.below(limit), d.below(100)
		key := space.lookup(i)

		switch {
		case percent < loads:
			s.ops[at] = opLoad
		case percent < loads+loadOrStores:
			s.ops[at] = opLoadOrStore
			key = space.stored(i)
		default:
			s.ops[at] = opDelete
		}
		s.set(at, key, i)
	}
	return s
}
