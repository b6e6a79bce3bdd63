// SPDX-License-Identifier: MIT

// The threads: pinned, started at one line, and measured.
package main

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// ---- the system -----------------------------------------------------------------------------------

const (
	clockProcess = 2 // CLOCK_PROCESS_CPUTIME_ID
	clockThread  = 3 // CLOCK_THREAD_CPUTIME_ID
	rusageThread = 1 // RUSAGE_THREAD
)

// The processor time of this thread or process in ns. A raw system call: the scheduler is not told of it.
func cpuTime(clock uintptr) int64 {
	var t syscall.Timespec

	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		fail("clock_gettime: %v", errno)
	}
	return t.Nano()
}

// How often this thread gave its processor up by itself.
func sleepsSoFar() int64 {
	var usage syscall.Rusage

	if err := syscall.Getrusage(rusageThread, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return int64(usage.Nvcsw)
}

const wordBits = 64

type processorSet [1024 / wordBits]uint64

// The processors that this process may use. To be called before a thread is pinned.
func allowedProcessors() []int {
	var set processorSet
	var allowed []int

	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		fail("sched_getaffinity: %v", errno)
	}
	for i := 0; i < len(set)*wordBits; i++ {
		if set[i/wordBits]>>(i%wordBits)&1 != 0 {
			allowed = append(allowed, i)
		}
	}
	return allowed
}

func pinTo(processor int) {
	var set processorSet

	set[processor/wordBits] = 1 << (processor % wordBits)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		fail("sched_setaffinity to processor %d: %v", processor, errno)
	}
}

var origin = time.Now()

// Nanoseconds of the monotonic clock.
func now() int64 {
	return int64(time.Since(origin))
}

// ---- the threads ----------------------------------------------------------------------------------

type pool struct {
	tasks []chan func(index int) // to each thread
	done  sync.WaitGroup
}

// Starts goroutines that keep their operating system threads, each on a processor. A thread that the runtime starts later
// for itself is not pinned by that: it has one unpinned thread from which to start others.
func newPool(threads int) *pool {
	p := &pool{}
	allowed := allowedProcessors()

	for i := 0; i < threads; i++ {
		p.tasks = append(p.tasks, make(chan func(int)))
		go p.work(i, allowed[i%len(allowed)])
	}
	p.run(func(int) {}) // until all are pinned
	return p
}

func (p *pool) work(index, processor int) {
	runtime.LockOSThread()
	pinTo(processor)
	for task := range p.tasks[index] {
		task(index)
		p.done.Done()
	}
}

// Runs the task in all threads, and returns when all have returned.
func (p *pool) run(task func(index int)) {
	p.done.Add(len(p.tasks))
	for _, tasks := range p.tasks {
		tasks <- task
	}
	p.done.Wait()
}

// Runs the task in the first thread.
func (p *pool) runFirst(task func()) {
	p.run(func(index int) {
		if index == 0 {
			task()
		}
	})
}

// ---- a timed phase --------------------------------------------------------------------------------

// What one thread does in a timed phase. A turn is the unit of which a loop does some: one operation or a few.
type body struct {
	batch     func(turns int) (operations int64) // does some turns
	operation int                                // how many operations a turn has
	warmUp    int                                // turns, at the most, before the clock starts; 0: they would change the state
	turns     int                                // that the thread does in all; 0: the options say when it ends
	stops     bool                               // this thread ends the phase for all, by itself, when a turn ends after the time
}

const batchOperations = 64

func (b *body) batchTurns() int {
	return (batchOperations + b.operation - 1) / b.operation
}

// What was measured in a phase, one thread.
type timing struct {
	operations               int64
	begin, end               int64
	cpuBegin, cpuEnd         int64
	processBegin, processEnd int64
	sleeps                   int64
}

// What was measured in a phase.
type measurement struct {
	rates        []float64 // of each thread, in million operations a second
	share        float64   // of its processor that a thread had; the least of all
	processShare float64   // of as many processors that the process had, with the collector's threads
	sleeps       int64
	operations   int64
}

func (m *measurement) sum(first, end int) float64 {
	sum := 0.0
	for _, rate := range m.rates[first:end] {
		sum += rate
	}
	return sum
}

type phase struct {
	options *options
	bodies  []body
	timings []timing
	arrived int64
	stop    atomic.Bool
}

// Spins until all threads are here, so that they start within one transfer of a cache line.
func (p *phase) startLine() {
	atomic.AddInt64(&p.arrived, 1)
	for spins := 1; atomic.LoadInt64(&p.arrived) < int64(len(p.bodies)); spins++ {
		if spins%1024 == 0 { // for more threads than processors
			syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
}

func (p *phase) turnsOfOptions(b *body) int {
	return (int(p.options.ops) + b.operation - 1) / b.operation
}

// One pass, or a quarter of the phase's time; a fixed number of operations where the phase has one.
func (p *phase) warmUp(b *body) {
	end := now() + int64(p.options.seconds*1e9/4)
	left := b.warmUp
	if p.options.ops > 0 {
		left = min(left, p.turnsOfOptions(b))
		end = math.MaxInt64
	}
	for ; left > 0 && now() < end; left -= b.batchTurns() {
		b.batch(min(left, b.batchTurns()))
	}
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

// As many turns as are asked for, or until the phase is stopped.
func (p *phase) loop(b *body, began int64) (operations int64) {
	turns := b.turns
	if turns == 0 && p.options.ops > 0 {
		turns = p.turnsOfOptions(b)
	}
	switch {
	case b.stops:
		for ok := true; ok; ok = p.goesOn(began, operations) {
			operations += b.batch(1)
		}
		p.stop.Store(true)
	case turns > 0:
		for left := turns; left > 0; left -= b.batchTurns() {
			operations += b.batch(min(left, b.batchTurns()))
		}
	default:
		for !p.stop.Load() {
			operations += b.batch(b.batchTurns())
		}
	}
	return operations
}

func (p *phase) goesOn(began, operations int64) bool {
	if p.options.ops > 0 {
		return operations < p.options.ops
	}
	return float64(now()-began) < p.options.seconds*1e9
}

// One thread's part. The timer, not this thread, sets the stop flag: it is another goroutine.
func (p *phase) work(index int) {
	b, t := &p.bodies[index], &p.timings[index]

	p.warmUp(b)
	p.startLine()
	if index == 0 && !b.stops && p.options.ops == 0 && b.turns == 0 {
		time.AfterFunc(time.Duration(p.options.seconds*1e9), func() { p.stop.Store(true) })
	}
	t.sleeps = -sleepsSoFar()
	t.processBegin = cpuTime(clockProcess)
	t.cpuBegin = cpuTime(clockThread)
	t.begin = now()
	t.operations = p.loop(b, t.begin)
	t.end = now()
	t.cpuEnd = cpuTime(clockThread)
	t.processEnd = cpuTime(clockProcess)
	t.sleeps += sleepsSoFar()
}

// The collector runs first: what the making of streams and the phase before left to it is not this phase's.
func (p *pool) measure(o *options, bodies []body) measurement {
	ph := &phase{options: o, bodies: bodies, timings: make([]timing, len(bodies))}

	runtime.GC()
	p.run(ph.work)
	return evaluate(ph.timings)
}

func evaluate(timings []timing) measurement {
	m := measurement{share: 1}
	all := timings[0]

	for _, t := range timings {
		wall := float64(t.end - t.begin)
		if wall <= 0 {
			wall = 1
		}
		m.rates = append(m.rates, float64(t.operations)/wall*1e3)
		if share := float64(t.cpuEnd-t.cpuBegin) / wall; share < m.share {
			m.share = share
		}
		m.sleeps += t.sleeps
		m.operations += t.operations
		if t.begin < all.begin {
			all.begin, all.processBegin = t.begin, t.processBegin
		}
		if t.end > all.end {
			all.end, all.processEnd = t.end, t.processEnd
		}
	}
	m.processShare = float64(all.processEnd-all.processBegin) / float64(all.end-all.begin) / float64(len(timings))
	return m
}
