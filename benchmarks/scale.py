"""Time and memory as data grow: python -m benchmarks.scale [--sizes 1000 4000 16000] [--folder FOLDER]

At each size, each in a process of its own with one job and one thread: preparing, one training epoch, the driver and
the evaluator, the networks being of recipe `quick`. Recordings are 10 s of noise, a few signals under many names.
`--long N` adds N of half an hour by themselves: preparing them, and the driver with one of them and five networks of
recipe `paper`.

Prints CPU seconds (of the process and its children; on an idle machine they are the clock's), the clock's seconds, and
the most memory that was the process's own (RssAnon, looked at 20 times a second: pages of files, as those of a memory
map, are the system's to drop).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.material import write_recording, write_recordings

ROOT = Path(__file__).resolve().parents[1]
HALF_HOUR = 462_600  # samples at 257 Hz, as INCART has


class Cost(NamedTuple):
    """What a process took."""

    cpu: float  # seconds
    clock: float  # seconds
    memory: float  # MB of its own, at most


def run(*command: str) -> Cost:
    """Runs a Python command in the repository with one thread. Raises RuntimeError where it fails."""
    start, most, over = time.perf_counter(), [0.0], threading.Event()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    watcher = threading.Thread(target=watch, args=(Path(f"/proc/{process.pid}/status"), most, over))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    over.set()
    watcher.join()
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, most[0])


def watch(status: Path, most: list[float], over: threading.Event) -> None:
    """Keeps the largest RssAnon (MB) of a process in `most`, until it is over."""
    while not over.wait(0.05):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        most[0] = max([most[0], *(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))])


# What the processes do, by name: `python -m benchmarks.scale --step NAME ARGUMENT...`


def prepare(data: str, work: str) -> None:
    """Prepares a folder."""
    from leadwise.data.prepare import prepare_dataset
    from leadwise.recipes import QUICK

    prepare_dataset(data, work, QUICK.signal)


def epoch(data: str, work: str) -> None:
    """Trains for one epoch on prepared recordings."""
    import torch

    from leadwise.data.dataset import load_dataset
    from leadwise.network.devices import CPU
    from leadwise.recipes import QUICK
    from leadwise.training.epoch import train_epoch
    from leadwise.training.examples import Examples
    from leadwise.training.fold_state import FoldState
    from leadwise.util.memory import tune_malloc

    tune_malloc()
    dataset = load_dataset(Path(work, "prepared"))
    examples, members = Examples.of(dataset, CPU.device), torch.arange(len(dataset))
    train_epoch(FoldState.begin(QUICK, 0, CPU), examples, members, lambda share: 1e-4)


def model(folder: str, recipe: str, networks: str) -> None:
    """Writes a model that never learned."""
    from leadwise.decision.rules import Predictions
    from leadwise.model.folder import ModelMetadata, fold_file, save_metadata, save_network
    from leadwise.network.se_resnet import SEResNet
    from leadwise.recipes import RECIPES

    path, folds = Path(folder), []
    path.mkdir(parents=True)
    for fold in range(int(networks)):
        checksum = save_network(path, fold_file(fold), SEResNet(RECIPES[recipe].network).state_dict())
        folds.append({"file": fold_file(fold), "sha256": checksum, "thresholds": [0.5] * 24})
    save_metadata(
        path, ModelMetadata(RECIPES[recipe], Predictions(np.zeros((1, 24), np.bool_), np.zeros((1, 24))), folds, {})
    )


STEPS: dict[str, Callable[..., None]] = {"prepare": prepare, "epoch": epoch, "model": model}


def step(name: str, *arguments: str) -> Cost:
    """One of `STEPS` in a process of its own."""
    return run("-m", "benchmarks.scale", "--step", name, *arguments)


def measure(folder: Path, size: int) -> dict[str, Cost]:
    """Each stage's cost with so many recordings."""
    data, work, outputs, network = (str(folder / f"{name}{size}") for name in ("data", "work", "outputs", "model"))
    write_recordings(Path(data), size)
    step("model", network, "quick", "2")
    return {
        "prepare": step("prepare", data, work),
        "epoch": step("epoch", data, work),
        "driver": run("driver.py", network, data, outputs, "--jobs", "1", "--threads", "1"),
        "evaluator": run("evaluate_12ECG_score.py", data, outputs),
    }


def measure_long(folder: Path, count: int) -> dict[str, Cost]:
    """Preparing so many recordings of half an hour at 257 Hz; the driver with one, five networks of recipe `paper`."""
    several, one, network = folder / "long", folder / "one", str(folder / "paper")
    one.mkdir()
    several.mkdir()
    for index in range(count):
        write_recording(several, f"I{index:04d}", HALF_HOUR, 257, seed=index)
    write_recording(one, "I0000", HALF_HOUR, 257)
    step("model", network, "paper", "5")
    return {
        "prepare": step("prepare", str(several), str(folder / "work")),
        "driver": run("driver.py", network, str(one), str(folder / "answers"), "--jobs", "1", "--threads", "1"),
    }


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser("benchmarks.scale", description="Time and memory as data grow.")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 4000, 16000], help="recordings")
    parser.add_argument("--long", type=int, default=0, metavar="N", help="also N recordings of half an hour")
    parser.add_argument("--folder", type=Path, help="where the files go, for a while; the system's temporary folder")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        STEPS[arguments.step[0]](*arguments.step[1:])
        return
    print("recordings  stage      CPU (s)  clock (s)  ms CPU a recording  own memory (MB)", flush=True)
    with tempfile.TemporaryDirectory(prefix="scale_", dir=arguments.folder) as folder:
        for size in arguments.sizes:
            show(size, measure(Path(folder), size))
        if arguments.long:
            costs = measure_long(Path(folder), arguments.long)
            show(1, {"driver": costs.pop("driver")})
            show(arguments.long, costs)


def show(size: int, costs: dict[str, Cost]) -> None:
    """A line for each stage."""
    for name, cost in costs.items():
        each = 1000 * cost.cpu / size
        print(f"{size:10,}  {name:9} {cost.cpu:8.1f}  {cost.clock:9.1f}  {each:18.2f}  {cost.memory:15.0f}", flush=True)


if __name__ == "__main__":
    main()
