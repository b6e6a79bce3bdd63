// SPDX-License-Identifier: MIT

// run_go - the benchmarks of bench/run.c with Go's sync.Map: the same command line, workloads and output.
//
//	run_go --n N --threads T --seconds S --seed R --phases a,b,c [--keys u64|str] [--ops K] [--latencies FILE]
//
// `--phases list` prints the names of the phases, `--phases all` runs all of them.
//
// It makes one map and runs the phases on it in their order. For each result it writes one JSON object on a line.
// A wrong answer of the map ends it with a message and status 1.
//
// Needs Go 1.19 and no modules. What sync.Map got later is measured when the compiler has it: Swap, CompareAndSwap and
// CompareAndDelete from Go 1.20 on, Clear from 1.23.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

type options struct {
	n         uint64
	threads   int
	seconds   float64
	seed      uint64
	phases    []string
	keys      string
	ops       int64 // that a thread does in a timed phase, in place of seconds; or 0
	latencies string
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "run_go: "+format+"\n", arguments...)
	os.Exit(1)
}

func misuse(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "run_go: "+format+"\n", arguments...)
	os.Exit(2)
}

func parseOptions() options {
	var o options
	var phases string

	flag.Uint64Var(&o.n, "n", 1000, "number of keys")
	flag.IntVar(&o.threads, "threads", 1, "number of threads")
	flag.Float64Var(&o.seconds, "seconds", 1, "that a timed phase lasts")
	flag.Uint64Var(&o.seed, "seed", 1, "of the random draws")
	flag.StringVar(&phases, "phases", "", "names of phases, with commas between them")
	flag.StringVar(&o.keys, "keys", "u64", "u64 or str")
	flag.Int64Var(&o.ops, "ops", 0, "operations of each thread in a timed phase, in place of --seconds")
	flag.StringVar(&o.latencies, "latencies", "", "file to which insert appends its percentiles")
	flag.Parse()
	if flag.NArg() != 0 {
		misuse("unexpected argument %s", flag.Arg(0))
	}
	if phases == "" {
		misuse("--phases is missing")
	}
	if o.threads < 1 || o.seconds <= 0 || o.ops < 0 || (o.keys != "u64" && o.keys != "str") {
		misuse("--threads and --seconds must be positive, --ops not negative, --keys u64 or str")
	}
	switch phases {
	case "list":
		fmt.Println(strings.Join(allPhases(), "\n"))
		os.Exit(0)
	case "all":
		o.phases = allPhases()
	default:
		o.phases = strings.Split(phases, ",")
	}
	for _, name := range o.phases {
		if !strings.HasPrefix(name, goPrefix) && o.n == 0 {
			misuse("--n must be positive for %s", name)
		}
	}
	return o
}

// The state that the phases share.
type runner[K keyType] struct {
	options
	out     *bufio.Writer
	pool    *pool
	space   *keySpace[K]
	m       *sync.Map
	state   int
	present uint64 // how many of the keys 0 .. 2n-1 are in the map
}

// With eight digits, or all if it is whole.
func number(value float64) string {
	if value == math.Trunc(value) && math.Abs(value) < 1e15 {
		return strconv.FormatFloat(value, 'f', 0, 64)
	}
	return strconv.FormatFloat(value, 'g', 8, 64)
}

func (r *runner[K]) line(workload, unit string, value float64, m measurement) {
	fmt.Fprintf(r.out, `{"workload":%q,"n":%d,"threads":%d,"unit":%q,"value":%s,`, workload, r.n, r.threads, unit, number(value))
	fmt.Fprintf(r.out, `"share":%.4f,"process_share":%.4f,"sleeps":%d,"ops":%d}`+"\n",
		m.share, m.processShare, m.sleeps, m.operations)
	r.out.Flush()
}

func (r *runner[K]) absent(workload, why string) {
	fmt.Fprintf(r.out, `{"workload":%q,"absent":%q}`+"\n", workload, why)
	r.out.Flush()
}

func allPhases() []string {
	names := []string{"memory", "fill", "load_hit", "load_hit_zipf", "load_miss", "load_many", "update", "hot_key", "reader_beside_writer",
		"range", "mixed_90_5_5", "mixed_50_25_25", "delete_all", "insert", "churn"}

	for _, w := range goWorkloads {
		names = append(names, goPrefix+w.name)
	}
	return names
}

// The phases of the first set.
func phasesOf[K keyType]() map[string]func(r *runner[K]) {
	return map[string]func(r *runner[K]){
		"fill":                 (*runner[K]).fill,
		"insert":               (*runner[K]).insert,
		"load_hit":             (*runner[K]).loadHit,
		"load_hit_zipf":        (*runner[K]).loadHitZipf,
		"load_miss":            (*runner[K]).loadMiss,
		"load_many":            func(r *runner[K]) { r.absent("load_many", "no such call") },
		"update":               (*runner[K]).update,
		"mixed_90_5_5":         func(r *runner[K]) { r.mixed("mixed_90_5_5", 90, 5) },
		"mixed_50_25_25":       func(r *runner[K]) { r.mixed("mixed_50_25_25", 50, 25) },
		"churn":                (*runner[K]).churn,
		"hot_key":              (*runner[K]).hotKey,
		"reader_beside_writer": (*runner[K]).readerBesideWriter,
		"range":                (*runner[K]).rangeBesideWriters,
		"delete_all":           (*runner[K]).deleteAll,
		"memory":               (*runner[K]).memory,
	}
}

func run[K keyType](o options, space *keySpace[K]) {
	r := &runner[K]{options: o, out: bufio.NewWriter(os.Stdout), space: space, m: new(sync.Map)}
	known := phasesOf[K]()

	for _, name := range o.phases {
		if known[name] == nil && goWorkloadNamed(name) == nil {
			misuse("unknown phase %s", name)
		}
	}
	fmt.Fprintf(r.out, `{"map":"Go sync.Map","version":%q,"language":"Go","keys":%q}`+"\n", runtime.Version(), o.keys)
	r.out.Flush()
	r.pool = newPool(o.threads)
	for _, name := range o.phases {
		if phase := known[name]; phase != nil {
			phase(r)
		} else {
			r.goPhase(goWorkloadNamed(name))
		}
	}
}

func main() {
	o := parseOptions()

	// A worker keeps its operating system thread, and each of these needs a processor of the scheduler's to run, also
	// if there are more of them than of the machine's.
	if runtime.GOMAXPROCS(0) < o.threads {
		runtime.GOMAXPROCS(o.threads)
	}
	if o.keys == "str" {
		run(o, stringKeys(2*o.n))
	} else {
		run(o, integerKeys())
	}
}
