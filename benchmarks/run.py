"""Measure our speed against baselines, in one run on one machine: python -m benchmarks.run [--only PATTERN].

Each `benchmarks/bench_*.py` has a function `rows()` that returns `Row`s: a name, ours and the baseline as calls without
arguments, and the target ratio. Both are warmed up and timed in turn, so that a slow minute of the machine affects
both. A ratio is the baseline's time / ours; table and results.json have its median and range over the pairs.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

HERE = Path(__file__).resolve().parent
SHORTEST = 0.05  # seconds; a faster call is repeated until its timing lasts this long
SIDES: tuple[Literal["ours"], Literal["baseline"]] = ("ours", "baseline")
LONG = 20 * SHORTEST  # seconds; a call that takes this long is warmed up only once


class Row(TypedDict):
    """One line of the table, before it is measured."""

    name: str
    ours: Callable[[], object]
    baseline: Callable[[], object]
    target: float  # lowest acceptable ratio
    pairs: int  # timings of each, in turn
    part: NotRequired[float]  # share of our work that the baseline does, if all of it would take too long; at most 1
    clean: NotRequired[Callable[[], object]]  # removes the files of a timing, after it


class Result(NamedTuple):
    """One measured line: the ratio's median and range over the pairs, and the median times in seconds a call."""

    name: str
    ratio: float
    low: float
    high: float
    target: float
    ours: float
    baseline: float


def cpu_seconds() -> float:
    """Return the CPU time of this process and its ended children over all threads; comparable on a busy machine too."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def seconds(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Return the time of one call, from `repeats` calls in a row."""
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def repeats(call: Callable[[], object], clock: Callable[[], float]) -> int:
    """Warm a call up; return how often to repeat it so that the timing lasts `SHORTEST`."""
    first = seconds(call, 1, clock)  # with first-time costs: imports, caches, compilation
    once = seconds(call, 1, clock) if first < LONG else first
    return max(1, round(SHORTEST / once)) if once > 0 else 1000


def measure(row: Row, clock: Callable[[], float] = time.perf_counter) -> Result:
    """Time ours and the baseline in turn."""
    counts = {side: repeats(row[side], clock) for side in SIDES}
    clean = row.get("clean", lambda: None)
    clean()
    times = []
    for pair in range(row["pairs"]):
        taken: dict[str, float] = {}
        # the order alternates: the first side warms the caches for the second
        for side in SIDES if pair % 2 else reversed(SIDES):
            taken[side] = seconds(row[side], counts[side], clock)
            clean()
        times.append((taken["ours"], taken["baseline"] / row.get("part", 1.0)))
    ratios = [baseline / ours for ours, baseline in times]
    middle = [statistics.median(column) for column in zip(*times, strict=True)]
    return Result(row["name"], statistics.median(ratios), min(ratios), max(ratios), row["target"], *middle)


def find_rows(folder: Path, pattern: str = "*") -> Iterable[Row]:
    """Yield the rows of each bench_*.py whose name matches `pattern`, a wild card or a part of the name."""
    for path in sorted(folder.glob("bench_*.py")):
        spec = importlib.util.spec_from_file_location(f"benchmarks.{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path}: not a Python module")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        rows: list[Row] = module.rows()
        yield from (row for row in rows if fnmatch.fnmatch(row["name"], f"*{pattern}*"))


def machine() -> str:
    """Return processor, usable cores, system, and the versions that speed depends on."""
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "scipy", "torch", "wfdb")]
    return ", ".join([processor, f"{cores} cores", platform.system(), f"Python {platform.python_version()}", *versions])


def table(results: Sequence[Result]) -> str:
    """Return the results as a table, times in milliseconds."""
    width = max([len(result.name) for result in results], default=4)
    lines = [f"{'what':{width}}   ratio   low - high    target  met   ours (ms)  baseline (ms)"]
    for r in results:
        met = "yes" if r.ratio >= r.target else "NO"
        spread = f"{r.low:.2f} - {r.high:.2f}"
        times = f"{1000 * r.ours:10.3f}  {1000 * r.baseline:13.3f}"
        lines.append(f"{r.name:{width}}  {r.ratio:6.2f}  {spread:>13}  {r.target:6.2f}  {met:3}  {times}")
    return "\n".join(lines)


def results_json(results: Sequence[Result], machine: str) -> str:
    """Return the content of results.json: ratios only, since times of two machines are not comparable."""
    keys = ("name", "ratio", "low", "high", "target")
    rows: list[dict[str, Any]] = [{key: getattr(result, key) for key in keys} for result in results]
    for row in rows:
        row |= {key: round(row[key], 3) for key in keys[1:]}
    return json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. A missed target is shown and is no error, since machines are noisy."""
    parser = argparse.ArgumentParser("benchmarks.run", description="Measures ratios of speed.", allow_abbrev=False)
    parser.add_argument("--only", metavar="PATTERN", help="measure only these rows; results.json is not written")
    parser.add_argument("--folder", type=Path, default=HERE, help="folder of bench_*.py and results.json")
    parser.add_argument(
        "--cpu", action="store_true", help="measure CPU time, for a busy machine; results.json is not written"
    )
    arguments = parser.parse_args(argv)
    rows = list(find_rows(arguments.folder, arguments.only or "*"))
    if not rows:
        parser.error(f"no row of {arguments.folder} matches {arguments.only or '*'}")
    results = []
    for row in rows:
        print(f"measuring {row['name']} ({row['pairs']} pairs)", file=sys.stderr, flush=True)
        results.append(measure(row, cpu_seconds if arguments.cpu else time.perf_counter))
    print(machine(), table(results), sep="\n")
    if arguments.only is None and not arguments.cpu:
        # only after complete runs: all ratios in the file come from one run
        temporary = arguments.folder / ".results.json"
        temporary.write_text(results_json(results, machine()))
        temporary.replace(arguments.folder / "results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
