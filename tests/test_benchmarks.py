"""The harness of benchmarks/, with rows whose times are known: no real time is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.run import LONG, SHORTEST, Result, Row, cpu_seconds, find_rows, main, measure, results_json, table


class Clock:
    """A clock that only the timed calls advance."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *durations: float) -> Callable[[], None]:
        """Return a call that takes these seconds in turn, then the last one always."""
        left = list(durations)

        def call() -> None:
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_the_ratio_is_the_baselines_time_divided_by_ours() -> None:
    clock = Clock()
    row = Row(name="x", ours=clock.work("ours", 2.0), baseline=clock.work("base", 6.0), target=3.5, pairs=4)
    assert measure(row, clock) == Result("x", 3.0, 3.0, 3.0, 3.5, 2.0, 6.0)


def test_the_first_call_is_not_measured_and_pairs_alternate() -> None:
    clock = Clock()
    row = Row(name="x", ours=clock.work("o", 0.9, 0.1), baseline=clock.work("b", 0.8, 0.1), target=1, pairs=3)
    assert measure(row, clock).high == pytest.approx(1.0)
    assert "".join(clock.log) == "oobb" + "bo" + "ob" + "bo"


def test_a_long_call_is_warmed_up_once() -> None:
    clock = Clock()
    row = Row(name="x", ours=clock.work("o", LONG), baseline=clock.work("b", 2 * LONG), target=1, pairs=1)
    assert measure(row, clock).ratio == 2.0
    assert "".join(clock.log) == "ob" + "bo"


def test_a_baseline_may_do_a_part_of_the_work() -> None:
    clock = Clock()
    row = Row(name="x", ours=clock.work("o", 2.0), baseline=clock.work("b", 1.0), target=1, pairs=1, part=0.25)
    assert measure(row, clock)[1:] == (2.0, 2.0, 2.0, 1, 2.0, 4.0)


def test_median_and_range_are_taken_over_the_pairs() -> None:
    clock = Clock()
    # after the warm-up the pairs' ratios are 2, 8 and 4
    baseline = clock.work("base", 1.0, 2.0, 8.0, 4.0)
    result = measure(Row(name="x", ours=clock.work("ours", 1.0), baseline=baseline, target=1, pairs=3), clock)
    assert (result.ratio, result.low, result.high) == (4.0, 2.0, 8.0)


def test_fast_calls_are_repeated_until_the_timing_is_long_enough() -> None:
    clock = Clock()
    quick = SHORTEST / 8
    row = Row(name="x", ours=clock.work("o", quick), baseline=clock.work("b", 4 * quick), target=1, pairs=1)
    assert measure(row, clock).ratio == pytest.approx(4.0)
    assert clock.log[4:] == ["b"] * 2 + ["o"] * 8


BENCH = """
def rows():
    return [dict(name=name, ours=sum_up, baseline=sum_up, target=0.001, pairs=1) for name in ("{0} one", "{0} two")]

def sum_up():
    return sum(range(1000))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("alpha", "beta"):
        (tmp_path / f"bench_{name}.py").write_text(BENCH.format(name))
    (tmp_path / "other.py").write_text("raise RuntimeError")
    return tmp_path


def test_rows_of_every_bench_file_are_found_and_chosen_by_name(folder: Path) -> None:
    assert [row["name"] for row in find_rows(folder)] == ["alpha one", "alpha two", "beta one", "beta two"]
    assert [row["name"] for row in find_rows(folder, "two")] == ["alpha two", "beta two"]
    assert [row["name"] for row in find_rows(folder, "a*a o?e")] == ["alpha one"]


def test_a_complete_run_prints_a_table_and_writes_the_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(folder)]) == 0
    written = json.loads((folder / "results.json").read_text())
    assert set(written) == {"machine", "rows"} and "Python" in written["machine"]
    assert [row["name"] for row in written["rows"]] == ["alpha one", "alpha two", "beta one", "beta two"]
    for row in written["rows"]:
        assert set(row) == {"name", "ratio", "low", "high", "target"}
        assert 0 <= row["low"] <= row["ratio"] <= row["high"]
    shown = capsys.readouterr().out
    assert written["machine"] in shown and "beta two" in shown
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_selection_of_rows_does_not_write_the_results(folder: Path) -> None:
    (folder / "results.json").write_text("as it was")
    assert main(["--folder", str(folder), "--only", "beta"]) == 0
    assert (folder / "results.json").read_text() == "as it was"


def test_cpu_time_does_not_write_the_results_and_includes_children(folder: Path) -> None:
    assert main(["--folder", str(folder), "--cpu"]) == 0
    assert not (folder / "results.json").exists()
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    assert cpu_seconds() > before


def test_a_pattern_without_a_match_is_an_error(folder: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--folder", str(folder), "--only", "gamma"])
    assert stopped.value.code == 2


def test_the_table_shows_which_targets_are_met() -> None:
    results = [Result("good", 2.0, 1.5, 3.0, 1.9, 0.001, 0.002), Result("bad", 1.0, 0.9, 1.2, 1.9, 0.002, 0.002)]
    good, bad = table(results).splitlines()[1:]
    assert good.split()[:7] == ["good", "2.00", "1.50", "-", "3.00", "1.90", "yes"]
    assert bad.split()[6] == "NO"
    assert json.loads(results_json(results, "this one"))["rows"][1] == {
        "name": "bad", "ratio": 1.0, "low": 0.9, "high": 1.2, "target": 1.9,
    }  # fmt: skip
