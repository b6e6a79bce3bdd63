# SPDX-License-Identifier: MIT
"""Tests of what bench.py computes; nothing is measured. Run: python3 bench/test_bench.py"""
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402
import placement  # noqa: E402
import plan  # noqa: E402
import plots  # noqa: E402
import process  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import samples  # noqa: E402

LIFE = plan.Life("u64", 1000, 2, ("fill", "load_hit", "mixed_90_5_5"), 0.2)
HEAD = {"map": "oneTBB", "version": "2021.8", "language": "C++"}


def line(workload="load_hit", **fields):
    return {"workload": workload, "n": 1000, "threads": 2, "unit": "Mops/s", "value": 10.0, "share": 1.0, "process_share": 1.0,
            "sleeps": 0, **fields}


def text_of(*lines):
    return "".join(json.dumps(one) + "\n" for one in lines)


class Parsing(unittest.TestCase):
    def test_head_and_results(self):
        head, results = samples.parse(text_of(HEAD, line(), line("update")))
        self.assertEqual(head["version"], "2021.8")
        self.assertEqual([one["workload"] for one in results], ["load_hit", "update"])

    def test_nothing(self):
        self.assertEqual(samples.parse(""), ({}, []))

    def test_a_process_that_was_killed_in_the_middle_of_a_line(self):
        _, results = samples.parse(text_of(HEAD, line()) + '{"workload":"upd')
        self.assertEqual(len(results), 1)

    def test_what_is_no_result(self):
        for bad in ("hello\n", "[1]\n", text_of(HEAD) + "oops\n" + text_of(line())):
            self.assertRaises(ValueError, samples.parse, bad)

    def test_absent_stands_for_all_lines_of_its_phase(self):
        life = plan.Life("beside", 100000, 2, ("fill", "range"), 0.2)
        lines = samples.lines_of([{"workload": "range", "absent": "why"}], life, 2)
        self.assertEqual([one.workload for one in lines], ["range", "writer_beside_range"])
        self.assertEqual({(one.n, one.threads, one.absent) for one in lines}, {(100000, 2, "why")})

    def test_a_percentile_has_the_share_of_its_insert(self):
        life = plan.Life("u64", 1000, 2, ("insert",), 0.2)
        results = [line("insert", share=0.5, process_share=0.5), {"workload": "insert_p99", "unit": "ns", "value": 700}]
        lines = samples.lines_of(results, life, 2)
        self.assertEqual([(one.share, one.mark) for one in lines], [(0.5, "*"), (0.5, "*")])

    def test_where_the_processors_were(self):
        def marks(*line_ns, usual=70, **fields):
            return samples.lines_of([line(line_ns=list(line_ns), **fields)], LIFE, 2, usual)[0].marks
        self.assertEqual(marks(70, 110), set())
        self.assertEqual(marks(45, 70), set())
        self.assertEqual(marks(70, 115), {"p"})
        self.assertEqual(marks(30, 70), {"p"})
        self.assertEqual(marks(330, 330, usual=None), set())
        self.assertEqual(marks(330, 330, share=0.5, process_share=0.5), {"*", "p"})
        self.assertEqual(samples.lines_of([line()], LIFE, 2, 70)[0].marks, set())

    def test_prefix(self):
        life = plan.Life("str", 1000, 2, ("fill", "load_hit"), 0.2, keys="str", prefix="str_")
        self.assertEqual(samples.lines_of([line()], life, 2)[0].workload, "str_load_hit")

    def test_callgrind(self):
        self.assertEqual(samples.callgrind_total("events: Ir\nfn=x\n1 2\nsummary: 300\ntotals: 400\n"), 400)
        self.assertEqual(samples.callgrind_total("events: Ir\nsummary: 300\n"), 300)
        self.assertRaises(ValueError, samples.callgrind_total, "events: Ir\n")

    def test_curve(self):
        self.assertEqual(samples.curve_of("50\t80\n99.9\t3000\n"), {50.0: 80.0, 99.9: 3000.0})


class Marks(unittest.TestCase):
    def judge(self, cores=2, **fields):
        return samples.judge(line(**fields), cores, 0.2)

    def test_undisturbed(self):
        self.assertEqual(self.judge(share=0.9, process_share=0.9), (0.9, ""))

    def test_disturbed(self):
        self.assertEqual(self.judge(share=0.89, process_share=0.89), (0.89, "*"))

    def test_few_sleeps_are_no_excuse(self):
        self.assertEqual(self.judge(share=0.5, process_share=0.5, sleeps=200)[1], "*")  # 1,000 a second

    def test_sleeps_in_front_of_a_lock(self):
        self.assertEqual(self.judge(share=0.5, process_share=0.5, sleeps=201)[1], "s")

    def test_helper_threads(self):
        self.assertEqual(self.judge(share=0.5, process_share=0.95)[1], "s")

    def test_more_threads_than_processors(self):
        self.assertEqual(self.judge(threads=16, share=0.1, process_share=0.125), (1.0, ""))
        self.assertEqual(self.judge(threads=16, share=0.05, process_share=0.06)[1], "*")

    def test_insert_lasts_as_long_as_it_takes(self):
        one = line("insert", n=1000000, value=1.0, share=0.5, process_share=0.5, sleeps=900)  # one second
        self.assertEqual(samples.judge(one, 2, 0.2)[1], "*")
        self.assertEqual(samples.judge({**one, "sleeps": 1100}, 2, 0.2)[1], "s")

    def test_no_share(self):
        self.assertEqual(samples.judge({"workload": "memory_full", "value": 70}, 2, 0.2), (None, ""))


class Rows(unittest.TestCase):
    def test_median(self):
        self.assertEqual(samples.median([3, 1, 2]), 2)
        self.assertEqual(samples.median([4, 1, 2, 3]), 2.5)
        self.assertRaises(ValueError, samples.median, [])

    def table(self, *lines):
        table = samples.Table()
        for one in samples.lines_of(lines, LIFE, 2):
            table.add(one, "oneTBB", "2021.8")
        return table

    def test_summary(self):
        row = self.table(line(value=3), line(value=1, share=0.95), line(value=2)).rows()[0]
        self.assertEqual((row.median, row.min, row.max, row.share, row.version, row.mark), (2, 1, 3, 0.95, "2021.8", ""))

    def test_marks_of_a_row(self):
        slept, disturbed = line(share=0.5, process_share=0.5, sleeps=9999), line(share=0.5, process_share=0.5)
        self.assertEqual(self.table(line(), slept).rows()[0].mark, "s")
        self.assertEqual(self.table(line(), slept, disturbed).rows()[0].mark, "s *")

    def test_hung_failed_absent(self):
        table = self.table(line(), {"workload": "range", "absent": "its lock"})
        table.cell("update", 1000, 2, "oneTBB").hung = 1
        table.cell("hot_key", 1000, 2, "oneTBB").failed = 1
        marks = {row.workload: row.mark for row in table.rows()}
        self.assertEqual(marks, {"load_hit": "", "range": "absent: its lock", "writer_beside_range": "absent: its lock",
                                 "update": "hung", "hot_key": "failed"})

    def test_there_and_back(self):
        table = self.table(line(value=12345.678), line("update", value=0.00001234), {"workload": "churn", "absent": "a\tb"})
        rows = table.rows()
        text = samples.tsv_of(rows)
        self.assertEqual(text.splitlines()[0].split("\t"), list(samples.COLUMNS))
        self.assertEqual(samples.tsv_of(samples.rows_of(text)), text)
        self.assertEqual(samples.rows_of(text)[2].mark, "absent: a b")
        self.assertAlmostEqual(samples.rows_of(text)[1].median, 0.00001234)
        self.assertRaises(ValueError, samples.rows_of, "a\tb\n")
        self.assertRaises(ValueError, samples.rows_of, text + "a\tb\n")

    def test_curves(self):
        text = samples.curves_tsv({(1000, 2, "oneTBB"): [{50.0: 10, 99.9999: 70}, {50.0: 30, 99.9999: 90}, {50.0: 20, 99.9999: 80}]})
        self.assertEqual(samples.curves_of(text), {(1000, 2): {"oneTBB": [(50.0, 20.0), (99.9999, 80.0)]}})


class Plan(unittest.TestCase):
    def test_turns_rotate(self):
        self.assertEqual([plan.turns("ABC", r) for r in range(4)], [list("ABC"), list("BCA"), list("CAB"), list("ABC")])

    def test_again_keeps_what_changes_the_state(self):
        life = plan.Life("u64", 1000, 1, ("fill", "load_hit", "update", "mixed_90_5_5", "load_miss", "mixed_50_25_25"), 0.2)
        self.assertEqual(plan.again(life, ["load_hit"]).phases, ("fill", "load_hit"))
        self.assertEqual(plan.again(life, ["mixed_50_25_25"]).phases, ("fill", "update", "mixed_90_5_5", "mixed_50_25_25"))
        self.assertEqual(plan.again(plan.Life("go", 0, 1, plan.ALL_OF_GO, 0.1), ["go:Range"]).phases, ("go:Range",))

    def test_select(self):
        lives = plan.full_lives([1, 2], 2, 0.2)
        self.assertEqual({life.group for life in plan.select(lives, ["go", "churn"])}, {"go", "churn"})
        chosen = plan.select(lives, ["u64"], ["load_miss"], 7)
        self.assertEqual({life.phases[-1] for life in chosen}, {"load_miss"})
        self.assertEqual({(life.must, life.most) for life in chosen}, {(7, 7)})
        self.assertEqual({life.group for life in plan.select(lives, None, ["str_load_hit"])}, {"str"})
        self.assertEqual({life.phases for life in plan.select(lives, None, ["writer_beside_range"])}, {("fill", "range")})

    def test_arguments(self):
        life = plan.Life("str", 1000000, 2, ("fill", "load_hit"), 0.2, keys="str")
        self.assertEqual(" ".join(life.arguments(3)), "--keys str --n 1000000 --threads 2 --seconds 0.2 --seed 3 --phases fill,load_hit")

    def test_short(self):
        self.assertEqual([plan.short(n) for n in (1000, 10000000, 1500, 100, 0)], ["1e3", "1e7", "1500", "100", "0"])

    def test_the_whole_fits(self):
        for lives, minutes, rest in ((plan.full_lives, plan.MINUTES_FULL, 180), (plan.quick_lives, plan.MINUTES_QUICK, 30)):
            self.assertLess(plan.Estimate(lives([1, 2], 2, plan.SECONDS), plan.MAPS).total(), minutes * 60 - rest)

    def test_colours_and_names_differ(self):
        for of in (lambda m: m.file, lambda m: m.name, lambda m: m.colour):
            self.assertEqual(len({of(m) for m in plan.MAPS}), len(plan.MAPS))

    def test_estimate_learns(self):
        lives = [plan.Life("u64", 1000, 1, ("churn",), 100, must=3, most=3)]
        maps = plan.MAPS[:2]
        estimate = plan.Estimate(lives, maps)
        before = estimate.total()
        self.assertAlmostEqual(estimate.left(0, 0, 0, maps), before)
        estimate.add(lives[0], maps[0], 1.0)  # a hundredth of the guess
        self.assertLess(estimate.total(), before / 50)
        self.assertEqual(estimate.of(lives[0], maps[0]), 1.0)
        estimate.add(lives[0], maps[1], 2.0)
        self.assertAlmostEqual(estimate.left(0, 0, 2, maps), 2 * 3.0)
        self.assertAlmostEqual(estimate.left(2, 0, 1, maps), 2.0)
        self.assertAlmostEqual(estimate.left(3, 0, 0, maps), 0.0)

    def test_clock(self):
        self.assertEqual([bench.clock(s) for s in (0, 59.6, 3600)], ["0:00", "1:00", "60:00"])


class Processes(unittest.TestCase):
    def test_ok(self):
        outcome = process.run(["sh", "-c", "echo out; echo err >&2"], 10)
        self.assertEqual((outcome.status, outcome.stdout, outcome.stderr), ("ok", "out\n", "err\n"))

    def test_failed(self):
        self.assertEqual(process.run(["sh", "-c", "exit 3"], 10).detail, "exit status 3")
        self.assertEqual(process.run(["sh", "-c", "kill -ABRT $$"], 10).detail, "signal 6")
        self.assertEqual(process.run(["/nonexistent/program"], 10).status, "failed")

    def test_hung_with_its_children(self):
        outcome = process.run(["sh", "-c", "echo first; sleep 60 & sleep 60"], 0.2)
        self.assertEqual((outcome.status, outcome.stdout), ("hung", "first\n"))
        self.assertLess(outcome.seconds, 10)


FAKE = """#!/bin/sh
echo '{"map":"FAKE","version":"1","language":"C"}'
case "$*" in *load_hit*) ;; *) exit 0 ;; esac
LOAD
echo '{"workload":"load_hit","n":1000,"threads":1,"unit":"Mops/s","value":5,"share":SHARE,"process_share":0.5,"sleeps":0,"line_ns":'"${line:-[]}"'}'
THEN
"""


class Turns(unittest.TestCase):
    """The loop, with runners that are scripts."""

    def run_with(self, reps=3, **scripts):
        with tempfile.TemporaryDirectory() as build:
            os.mkdir(os.path.join(build, "bench"))
            for name, changes in scripts.items():
                text = FAKE
                for old, new in {"FAKE": name, "LOAD": "", "THEN": "", "SHARE": "1", **changes}.items():
                    text = text.replace(old, new)
                path = os.path.join(build, "bench", "run_" + name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                os.chmod(path, 0o755)
            runners = process.Runners(build)
            maps = [m for m in plan.MAPS if runners.has(m)]
            lives = [plan.Life("u64", 1000, 1, ("fill", "load_hit"), 0.01, must=reps, most=reps)]
            with open(os.devnull, "w", encoding="utf-8") as nothing:
                result = bench.Bench(runners, maps, lives, 5, bench.Progress(nothing))
                result.measure()
            return result, {row.map: row for row in result.table.rows()}

    def test_turns(self):
        result, rows = self.run_with(tbb={}, cuckoo={})
        self.assertEqual([one["map"] for one in result.raw], ["oneTBB", "libcuckoo", "libcuckoo", "oneTBB", "oneTBB", "libcuckoo"])
        self.assertEqual({name: (row.median, row.mark) for name, row in rows.items()}, {"oneTBB": (5, ""), "libcuckoo": (5, "")})
        self.assertEqual(result.problems, [])

    def test_disturbed_is_repeated_twice(self):
        result, rows = self.run_with(reps=1, tbb={"SHARE": "0.6"})
        self.assertEqual((len(result.raw), result.repeats, rows["oneTBB"].mark), (3, 2, "*"))

    def test_elsewhere_is_repeated_until_it_is_not(self):
        bench_of, line_of = bench.Bench, 70
        class Near(bench_of):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                self.line = line_of
        bench.Bench = Near
        try:
            once = "if [ -e $0.seen ]; then line='[70,71]'; else line='[70,330]'; fi; touch $0.seen"
            result, rows = self.run_with(reps=1, tbb={"LOAD": once}, cuckoo={"LOAD": "line='[28,28]'"}, ck_ht={"LOAD": "line='[70,60]'"})
        finally:
            bench.Bench = bench_of
        self.assertEqual((rows["oneTBB"].mark, rows["libcuckoo"].mark, rows["ck_ht + mutex"].mark), ("", "p", ""))
        self.assertEqual((len(result.raw), result.repeats), (2 + 1 + bench.REPEATS_SHORT + 1, 1 + bench.REPEATS_SHORT))

    def test_wrong_result(self):
        result, rows = self.run_with(tbb={"LOAD": "echo 'wrong value' >&2; exit 1"}, cuckoo={})
        self.assertEqual((rows["oneTBB"].mark, rows["libcuckoo"].mark), ("failed", ""))
        self.assertIn("wrong value", result.problems[0])

    def test_hung(self):
        limit, plan.time_limit = plan.time_limit, lambda *_: 0.2
        try:
            result, rows = self.run_with(tbb={"LOAD": "sleep 60"}, cuckoo={"THEN": "sleep 60"})
        finally:
            plan.time_limit = limit
        self.assertEqual((rows["oneTBB"].mark, rows["oneTBB"].median), ("hung", None))
        self.assertEqual(len([one for one in result.raw if one["map"] == "oneTBB"]), bench.HANGS_MOST)
        self.assertEqual(rows["libcuckoo"].median, 5)  # it had said so before it hung
        self.assertTrue(any("libcuckoo" in problem for problem in result.problems))


class Report(unittest.TestCase):
    def rows(self):
        def row(name, value, unit="Mops/s", workload="load_hit", mark=""):
            return samples.Row(workload, 1000, 2, name, unit, value, value, value, 1.0, "1", mark)
        return [row("syncmap read/dirty", 60.0), row("oneTBB", 20.0), row("libcuckoo", 30.0), row("GLib, no lock", 90.0),
                row("rwlock + GLib", 3.0), row("Go sync.Map", 15.0), row("oneTBB", None, workload="churn", mark="hung"),
                row("syncmap read/dirty", 50.0, "B/entry", "memory_full"), row("oneTBB", 100.0, "B/entry", "memory_full")]

    def test_best_peer(self):
        index = report.Index(self.rows())
        self.assertEqual(index.best_peer(("load_hit", 1000, 2)).map, "libcuckoo")  # the limit is no peer
        self.assertIsNone(index.best_peer(("churn", 1000, 2)))

    def test_ratios_above_one_are_better(self):
        by = {(row.workload, row.map): row for row in self.rows()}
        self.assertEqual(report.ratio(by["load_hit", "syncmap read/dirty"], by["load_hit", "libcuckoo"]), 2)
        self.assertEqual(report.ratio(by["memory_full", "syncmap read/dirty"], by["memory_full", "oneTBB"]), 2)
        self.assertIsNone(report.ratio(by["churn", "oneTBB"], by["load_hit", "oneTBB"]))

    def test_table_of_ratios(self):
        lines = report.ratios(self.rows()).splitlines()
        self.assertEqual(lines[2], "| load_hit | 1e3 | 2 | 60 Mops/s | 2.00 (libcuckoo) | 4.00 | 20.0 |")

    def test_report_names_what_hung(self):
        facts = {"machine": {"processor": "x"}, "command": "bench.py", "quick": False, "absent": {"Java ConcurrentHashMap": "not built"},
                 "versions": {}, "lives": [], "problems": ["oneTBB hung"], "repeats": 0, "minutes": 1, "notes": []}
        text = report.compose(self.rows(), facts, [])
        for wanted in ("Java ConcurrentHashMap: not built", "oneTBB: hung: churn (n = 1e3, 2 threads)", "oneTBB hung", "**60**"):
            self.assertIn(wanted, text)

    def test_figures(self):
        self.assertEqual([report.figure(v) for v in (None, 0.01234, 1.2345, 123.4, 12345.6)], ["", "0.0123", "1.23", "123", "12346"])
        row = samples.Row("insert_max", 1, 1, "x", "ns", 4.2e7, 4e7, 4.4e7, 1.0, "", "*")
        self.assertEqual(report.cell(row), "42 ms (40–44) \\*")

    def test_pictures(self):
        self.assertEqual(plots.step(185 * 1.3), "100")
        self.assertEqual(plots.paler("#000000", 0.5), "#808080")
        self.assertEqual(plots.latency_points([(0, 5), (50, 10), (100, 99)], 1000), [(1.0, 5), (2.0, 10), (1000, 99)])


class Placement(unittest.TestCase):
    def test_parts(self):
        def sample(name, value, line_ns, life="u64 n=1e3 T=2", threads=2):
            return json.dumps({"life": life, "map": name, "results": [{"workload": "update", "n": 1000, "threads": threads,
                                                                      "unit": "Mops/s", "value": value, "line_ns": line_ns}]})
        rows = placement.parted([
            sample("syncmap flat", 40, [60, 70]), sample("syncmap flat", 20, [400, 500]), sample("oneTBB", 1, [60, 400]),
            sample("oneTBB", 2, [199, 100]), sample("oneTBB", 3, [60, 60], threads=1), sample("oneTBB", 4, [360, 360], "str n=1e3 T=2"),
            json.dumps({"life": "memory", "map": "oneTBB", "results": [{"workload": "memory_full"}]})], 1000)
        self.assertEqual({key: dict(maps) for key, maps in rows.items() if maps},
                         {("update", "near"): {"syncmap flat": [40], "oneTBB": [2]}, ("update", "far"): {"syncmap flat": [20]},
                          ("strings: update", "far"): {"oneTBB": [4]}})


class Rows(unittest.TestCase):
    @staticmethod
    def file(*lines):
        head = "workload\tn\tthreads\tmap\tunit\tmedian\tmin\tmax\tcpu_share\tversion\tmark\n"
        with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False, encoding="utf-8") as file:
            file.write(head + "".join(f"{w}\t{n}\t2\t{m}\tMops/s\t{v}\t0\t0\t1\tx\t-\n" for w, n, m, v in lines))
        return file.name

    def setUp(self):
        self.path = self.file(("update", 1000, "syncmap flat", "30.0"), ("update", 1000, "oneTBB", "15"), ("update", 1000, "libcuckoo", "20"),
                              ("update", 1000, "Go sync.Map", "99"), ("update", 1000, "GLib, no lock", "99"), ("update", 1000, "syncmap read/dirty", "99"),
                              ("insert", 1000, "syncmap flat", "1"), ("insert", 1000, "oneTBB", "2"), ("hot_key", 1000, "syncmap flat", "1"),
                              ("churn", 1000, "syncmap flat", "-"), ("churn", 1000, "oneTBB", "2"))

    def tearDown(self):
        os.unlink(self.path)

    def test_the_best_peer_is_a_concurrent_map_of_c_or_c_plus_plus(self):
        table = rows.read(self.path)
        self.assertEqual(rows.compare(table["update", 1000, 2]), (1.5, "libcuckoo"))

    def test_what_has_no_figure_is_no_row(self):
        table = rows.read(self.path)
        self.assertEqual(set(table), {("update", 1000, 2), ("churn", 1000, 2)})
        self.assertIsNone(rows.compare(table["churn", 1000, 2]))

    def test_means_and_counts(self):
        self.assertAlmostEqual(rows.geometric_mean([0.5, 2, 1]), 1)
        self.assertEqual(rows.ahead([0.994, 0.996, 1, 2]), (3, 4))


if __name__ == "__main__":
    unittest.main()
