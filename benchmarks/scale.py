"""Measure time and memory as data grow: python -m benchmarks.scale [--sizes 1000 4000 16000] [--folder FOLDER]

At each size, each stage in its own process with one job and one thread: preparing, one training epoch, the driver and
the evaluator, with networks of recipe `quick`. Recordings are 10 s of noise, a few signals under many names. `--long N`
adds N recordings of half an hour: preparing them, and the driver with one of them and five networks of recipe `paper`.

Prints CPU seconds (of the process and its children), wall-clock seconds, and the peak of the process's anonymous memory
(RssAnon, sampled 20 times per second; pages of memory-mapped files are not counted).
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
    """Cost of a process."""

    cpu: float  # seconds
    clock: float  # seconds
    memory: float  # MB, peak of anonymous memory


def run(*command: str) -> Cost:
    """Run a Python command in the repository with one thread. Raises RuntimeError if it fails."""
    start, peak, ended = time.perf_counter(), [0.0], threading.Event()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    watcher = threading.Thread(target=watch, args=(Path(f"/proc/{process.pid}/status"), peak, ended))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    watcher.join()
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, peak[0])


def watch(status: Path, peak: list[float], ended: threading.Event) -> None:
    """Keep the largest RssAnon (MB) of a process in `peak`, until it has ended."""
    while not ended.wait(0.05):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        peak[0] = max([peak[0], *(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))])


# The steps, each in its own process: `python -m benchmarks.scale --step NAME ARGUMENT...`


def prepare(data: str, work: str) -> None:
    """Prepare a folder."""
    from leadwise.data.prepare import prepare_dataset
    from leadwise.recipes import QUICK

    prepare_dataset(data, work, QUICK.signal)


def epoch(data: str, work: str) -> None:
    """Train for one epoch on prepared recordings."""
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
    """Write an untrained model."""
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
    """Run one of `STEPS` in its own process."""
    return run("-m", "benchmarks.scale", "--step", name, *arguments)


def measure(folder: Path, size: int) -> dict[str, Cost]:
    """Return the cost of each stage with `size` recordings."""
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
    """Return the cost of preparing `count` recordings of half an hour at 257 Hz, and of the driver with one of them."""
    several, single, network = folder / "long", folder / "single", str(folder / "paper")
    single.mkdir()
    several.mkdir()
    for index in range(count):
        write_recording(several, f"I{index:04d}", HALF_HOUR, 257, seed=index)
    write_recording(single, "I0000", HALF_HOUR, 257)
    step("model", network, "paper", "5")
    return {
        "prepare": step("prepare", str(several), str(folder / "work")),
        "driver": run("driver.py", network, str(single), str(folder / "answers"), "--jobs", "1", "--threads", "1"),
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("benchmarks.scale", description="Time and memory as data grow.")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 4000, 16000], help="recordings")
    parser.add_argument("--long", type=int, default=0, metavar="N", help="also N recordings of half an hour")
    parser.add_argument("--folder", type=Path, help="where to put the files; by default the system's temporary folder")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        STEPS[arguments.step[0]](*arguments.step[1:])
        return
    print("recordings  stage      CPU (s)  clock (s)  ms CPU / recording  own memory (MB)", flush=True)
    with tempfile.TemporaryDirectory(prefix="scale_", dir=arguments.folder) as folder:
        for size in arguments.sizes:
            show(size, measure(Path(folder), size))
        if arguments.long:
            costs = measure_long(Path(folder), arguments.long)
            show(1, {"driver": costs.pop("driver")})
            show(arguments.long, costs)


def show(size: int, costs: dict[str, Cost]) -> None:
    """Print one line for each stage."""
    for name, cost in costs.items():
        each = 1000 * cost.cpu / size
        print(f"{size:10,}  {name:9} {cost.cpu:8.1f}  {cost.clock:9.1f}  {each:18.2f}  {cost.memory:15.0f}", flush=True)


if __name__ == "__main__":
    main()
