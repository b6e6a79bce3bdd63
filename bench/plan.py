# SPDX-License-Identifier: MIT
"""What bench.py runs: the maps, the lives, and how long they will take.

A *life* is one command line of a runner: one process that makes a map and runs some phases on it. For each repetition and
each life all maps take turns.
"""
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional, Tuple

ENGINE = "engine"      # of syncmap
PEER = "peer"          # from Debian's packages, C or C++, safe between threads: what one would use in its place
LIMIT = "limit"        # not safe between threads: what no map with threads can reach
LANGUAGE = "language"  # the map of another language, in that language


class Map(NamedTuple):
    file: str               # bench/adapters/<file>.h, compiled to run_<file> and run_<file>_str
    name: str               # as shown; the runner says the same in its first line
    kind: str
    colour: str             # in all plots; syncmap's are the strongest
    needs: Optional[str] = None  # the Debian package without which there is no executable


# To add a map, add a line (and its adapter).
MAPS = (
    Map("read_dirty", "syncmap read/dirty", ENGINE, "#d4001a"),
    Map("flat", "syncmap flat", ENGINE, "#ff7a00"),
    Map("rwlock_glib", "rwlock + GLib", PEER, "#8c8c8c"),
    Map("mutex_glib", "mutex + GLib", PEER, "#b8b8b8"),
    Map("lfht_memb", "cds_lfht memb", PEER, "#4f8f5b", "liburcu-dev"),
    Map("lfht_qsbr", "cds_lfht qsbr", PEER, "#93c79b", "liburcu-dev"),
    Map("ck_ht", "ck_ht + mutex", PEER, "#4d9c9c", "libck-dev"),
    Map("tbb", "oneTBB", PEER, "#5b86c0", "libtbb-dev"),
    Map("cuckoo", "libcuckoo", PEER, "#9a83bd", "libcuckoo-dev"),
    Map("sharded", "sharded unordered_map", PEER, "#a98a68", "g++"),
    Map("glib_alone", "GLib, no lock", LIMIT, "#d9d9d9"),
    Map("go", "Go sync.Map", LANGUAGE, "#56b9d3", "golang-go"),
    Map("java", "Java ConcurrentHashMap", LANGUAGE, "#cfa53a", "default-jdk-headless"),
)
RWLOCK = "rwlock + GLib"
GO = "Go sync.Map"

GO_WORKLOADS = tuple(
    "LoadMostlyHits LoadMostlyMisses LoadOrStoreBalanced LoadOrStoreUnique LoadOrStoreCollision LoadAndDeleteBalanced "
    "LoadAndDeleteUnique LoadAndDeleteCollision Range AdversarialAlloc AdversarialDelete DeleteCollision SwapCollision "
    "SwapMostlyHits SwapMostlyMisses CompareAndSwapCollision CompareAndSwapNoExistingKey CompareAndSwapValueNotEqual "
    "CompareAndSwapMostlyHits CompareAndSwapMostlyMisses CompareAndDeleteCollision CompareAndDeleteMostlyHits "
    "CompareAndDeleteMostlyMisses Clear".split())

# The result lines of a phase, where they are not one line with the phase's name.
PHASE_WORKLOADS = {
    "fill": (),
    "delete_all": (),
    "insert": ("insert", "insert_p50", "insert_p99", "insert_p99.9", "insert_p99.99", "insert_max"),
    "reader_beside_writer": ("reader_beside_writer", "writer_beside_reader"),
    "range": ("range", "writer_beside_range"),
    "memory": ("memory_full", "memory_peak", "memory_deleted", "memory_empty"),
    "line": ("line", "line_p10", "line_p90"),
}
UNTIMED = ("fill", "delete_all", "memory", "insert", "line")
# What leaves the map as it was, so that a later phase may be repeated without it.
STATELESS = ("load_hit", "load_hit_zipf", "load_miss", "load_many", "churn", "memory")


def workloads_of(phase):
    return PHASE_WORKLOADS.get(phase, (phase,))


@dataclass(frozen=True)
class Life:
    group: str                 # what --lives selects
    n: int                     # 0: the workloads say it themselves
    threads: int
    phases: Tuple[str, ...]
    seconds: float             # that a timed phase lasts
    keys: str = "u64"
    prefix: str = ""           # of the workloads' names in the results
    must: int = 5              # repetitions
    most: int = 5              # repetitions, if the time allows
    without: Tuple[str, ...] = ()  # files of maps for which it would take too long

    @property
    def title(self):
        size = f" n={short(self.n)}" if self.n else ""
        return f"{self.group}{size} T={self.threads}"

    def workload(self, name):
        return self.prefix + name

    def workloads(self, phases=None):
        return [self.workload(w) for phase in (self.phases if phases is None else phases) for w in workloads_of(phase)]

    def arguments(self, seed):
        keys = ["--keys", "str"] if self.keys == "str" else []
        return keys + ["--n", str(self.n or 1000), "--threads", str(self.threads), "--seconds", f"{self.seconds:g}",
                       "--seed", str(seed), "--phases", ",".join(self.phases)]


def short(n):
    """1000 -> '1e3', 1500 -> '1500'"""
    text = str(n)
    zeros = len(text) - 1
    return f"1e{zeros}" if zeros >= 3 and int(text) == 10 ** zeros else text


def again(life, phases):
    """The least life that repeats these phases in the state in which they were: with those before them that change it."""
    last = max(life.phases.index(phase) for phase in phases)
    chosen = [phase for i, phase in enumerate(life.phases)
              if phase in phases or (i < last and phase not in STATELESS and not phase.startswith("go:"))]
    return replace(life, phases=tuple(chosen))


# ---- the lives -----------------------------------------------------------------------------------------

LOADS = ("load_hit", "load_hit_zipf", "load_miss", "load_many", "update")
MIXED = ("mixed_90_5_5", "mixed_50_25_25")
ALL_OF_GO = tuple("go:" + name for name in GO_WORKLOADS)
OVERSUBSCRIPTION = 8
MINUTES_FULL = 45
LINE_SECONDS = 5  # for which it is measured, before all else, how far the processors are from each other
MINUTES_QUICK = 5
SECONDS = 0.1  # of a timed phase: what lets the whole fit


def full_lives(threads, cores, seconds):
    """Of `make bench`. What is large is repeated 3 times, and up to 5 times as the time allows."""
    lives = []
    beside = max(2, max(threads))
    for n, first in ((1000, "fill"), (1000000, "insert")):
        hot = ("hot_key",) if n == 1000 else ()  # of one key, it is the same with any n
        lives += [Life("u64", n, t, (first,) + LOADS + hot + MIXED, seconds) for t in threads]
    lives += [Life("churn", 1000, t, ("churn",), seconds) for t in threads]
    lives += [Life("beside", 100000, beside, ("fill", "reader_beside_writer"), seconds, must=3),
              Life("beside", 100000, beside, ("fill", "range"), seconds, must=3)]
    lives += [Life("oversubscribed", 100000, OVERSUBSCRIPTION * cores, ("fill", "load_hit", "mixed_90_5_5"), seconds,
                   prefix="oversubscribed_", must=3)]
    for n in (1000, 1000000):
        lives += [Life("str", n, t, ("fill", "load_hit", "load_miss") + MIXED, seconds, keys="str", prefix="str_", must=3)
                  for t in threads]
    lives += [Life("go", 0, t, ALL_OF_GO, seconds / 2) for t in threads]
    lives += [Life("large", 10000000, t, ("insert",) + LOADS, seconds, must=3) for t in threads]
    lives += [Life("memory", 10000000, 1, ("memory",), seconds, must=1, most=3)]
    return lives


def quick_lives(threads, cores, seconds):
    """Of `make bench QUICK=1`: what shows in five minutes."""
    del cores
    beside = max(2, max(threads))
    few = {"must": 3, "most": 5}
    lives = [Life("u64", 1000, t, ("fill", "load_hit", "load_miss", "update", "mixed_90_5_5"), seconds, **few) for t in threads]
    lives += [Life("u64", 1000000, beside, ("insert", "load_hit", "mixed_90_5_5"), seconds, **few),
              Life("churn", 1000, beside, ("churn",), seconds, **few),
              Life("beside", 100000, beside, ("fill", "reader_beside_writer"), seconds, **few),
              Life("beside", 100000, beside, ("fill", "range"), seconds, **few),
              Life("go", 0, beside, ALL_OF_GO, seconds / 2, without=("java",), **few),
              Life("memory", 1000000, 1, ("memory",), seconds, must=1, most=1)]
    return lives


def select(lives, groups=None, workloads=None, reps=None):
    """The lives of some groups, with the phases that some workloads need, each so many times."""
    chosen = []
    for life in lives:
        if groups and life.group not in groups:
            continue
        if workloads:
            phases = [p for p in life.phases if p in workloads or life.prefix + p in workloads
                      or any(life.workload(w) in workloads for w in workloads_of(p))]
            if not phases:
                continue
            life = again(life, phases)
        if reps:
            life = replace(life, must=reps, most=reps)
        chosen.append(life)
    return chosen


# ---- how long it takes ---------------------------------------------------------------------------------

WARM_UP = 0.25         # of the seconds of a timed phase
JAVA_REHEARSAL = 0.45  # seconds before each timed phase, see java/Run.java


def keys_visited(life):
    """How many operations a life does outside of its timed phases, in units of one insert."""
    visits = {"fill": 1.5, "insert": 2.5, "memory": 3.0, "mixed_90_5_5": 1.0, "mixed_50_25_25": 1.0}
    together = min(life.threads, 2) ** 0.6  # they share the work
    return life.n * sum(visits.get(phase, 0.1) for phase in life.phases) / together


def expected_seconds(the_map, life):
    """A guess at one process, before anything was measured; from an ordinary server of 2023, left to itself."""
    java = the_map.file == "java"
    timed = sum(1 for phase in life.phases if phase not in UNTIMED)
    if the_map.file in life.without or (the_map.kind == LIMIT and life.threads > 1):
        return 0.01
    ns = 60 if life.n < 1000000 else 170 if life.n < 10000000 else 250
    ns *= 3 if the_map.kind == LANGUAGE else 1
    ns *= 1.6 if life.keys == "str" else 1
    rehearsal = JAVA_REHEARSAL * sum(1 for phase in life.phases if phase not in ("fill", "delete_all", "memory")) if java else 0
    return 0.05 + 0.4 * java + timed * life.seconds * (1 + WARM_UP) + rehearsal + keys_visited(life) * ns / 1e9


def time_limit(the_map, life):
    """After so long a process counts as hung."""
    return 20 + 5 * expected_seconds(the_map, life)


class Estimate:
    """How long the rest takes: by what was measured of a life and map, or else by the guess, corrected by how wrong it has been."""

    def __init__(self, lives, maps):
        self.lives = lives
        self.maps = maps
        self.measured = {}  # (life, map) -> seconds of its last process
        self.guessed = 0.0
        self.took = 0.0

    def add(self, life, the_map, seconds):
        if (life, the_map) not in self.measured:
            self.guessed += expected_seconds(the_map, life)
            self.took += seconds
        self.measured[life, the_map] = seconds

    def give_up(self, life, the_map):
        """It hangs or fails: what that took says nothing of the rest."""
        self.measured[life, the_map] = 0.0

    def of(self, life, the_map):
        known = self.measured.get((life, the_map))
        factor = self.took / self.guessed if self.guessed > 10 else 1.0
        return expected_seconds(the_map, life) * factor if known is None else known

    def of_life(self, life):
        return sum(self.of(life, m) for m in self.maps)

    def total(self):
        """Of all repetitions that must be."""
        return sum(life.must * self.of_life(life) for life in self.lives)

    def left(self, repetition, life_index, map_index, order):
        """After this many whole repetitions, lives, and maps of the order."""
        seconds = 0.0
        for i, life in enumerate(self.lives):
            whole = max(0, life.must - repetition - (1 if i <= life_index else 0))
            seconds += whole * self.of_life(life)
        life = self.lives[life_index]
        if repetition < life.must:
            seconds += sum(self.of(life, m) for m in order[map_index:])
        return seconds


def turns(maps, repetition):
    """The order in which the maps take turns: it rotates, so that none is always after the same or always the first."""
    shift = repetition % len(maps) if maps else 0
    return list(maps[shift:]) + list(maps[:shift])
