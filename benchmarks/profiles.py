"""Profile training or the driver: python -m benchmarks.profiles training DATA | driver MODEL DATA

`training` prepares the recordings in the folder DATA and times a few steps of recipe `paper`, by kind of operation;
`driver` scores the recordings of the folder and times each stage. Both print a table of shares. Files go to a temporary
folder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import write_output
from leadwise.data.prepare import prepare_dataset
from leadwise.ecg.discovery import find_records
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import read_recording
from leadwise.model.ensemble import load_model
from leadwise.network.devices import choose_processor
from leadwise.recipes import PAPER
from leadwise.training.epoch import train_epoch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState

STEPS = 4
# Kind of operation by parts of the kernel's name; the first match counts.
KINDS = (
    ("convolution, backward", ("convolution_backward",)),
    ("convolution, forward", ("convolution",)),
    ("batch norm", ("batch_norm",)),
    ("dropout mask", ("random_", "bitwise", "ge")),
    ("cutting windows", ("index", "arange", "clamp_min_", "where")),
    ("optimiser", ("_fused_adam", "zero_")),
    ("ReLU, sums, products, pooling", ("",)),
)


class Stopwatch:
    """Stopwatch that adds up the time of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


def print_table(seconds: dict[str, float], count: int, unit: str) -> None:
    """Print stage, share of the total, milliseconds per unit."""
    total = sum(seconds.values())
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{name:32} {value / total:6.1%} {1000 * value / count:10.3f} ms per {unit}")
    print(f"{'all':32} {1:6.0%} {1000 * total / count:10.3f} ms per {unit}, {count / total:.1f} {unit}s per second")


def profile_training(data: str) -> None:
    """Profile a few training steps of one fold, by kind of operation."""
    processor = choose_processor()
    with tempfile.TemporaryDirectory() as work:
        dataset = prepare_dataset(data, work, PAPER.signal)
        examples = Examples.of(dataset, processor.device)
        state = FoldState.begin(PAPER, seed=0, processor=processor)
        size = PAPER.training.batch_size
        members = torch.arange(len(dataset))[: size * STEPS]
        train_epoch(state, examples, members[:size], lambda share: 1e-4)  # warm-up
        activities = [ProfilerActivity.CPU]
        if processor.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with profile(activities=activities) as profiler:
            train_epoch(state, examples, members, lambda share: 1e-4)
    seconds: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        own = event.self_device_time_total if processor.device.type == "cuda" else event.self_cpu_time_total
        kind = next(kind for kind, names in KINDS if any(name in event.key for name in names))
        seconds[kind] += own / 1e6
    print_table(seconds, len(members), "recording")


def profile_driver(model_folder: str, data: str) -> None:
    """Profile the scoring of a folder from files to CSVs, by stage, in batches like the driver's."""
    model = load_model(model_folder, choose_processor())
    records, stopwatch = find_records(Path(data)), Stopwatch()
    with tempfile.TemporaryDirectory() as output:
        for first in range(0, len(records), 64):
            batch = records[first : first + 64]
            with stopwatch.stage("reading"):
                recordings = [read_recording(path) for path in batch]
            with stopwatch.stage("preparing"):
                signals = [prepare(recording, model.recipe.signal) for recording in recordings]
                pairs = zip(recordings, signals, strict=True)
                people = np.stack([auxiliary_features(recording.header, signal) for recording, signal in pairs])
            with stopwatch.stage("networks, labels"):
                answer = model.predict([signal.values for signal in signals], people)
            with stopwatch.stage("writing"):
                for path, labels, scores in zip(batch, answer.labels, answer.scores, strict=True):
                    rows = labels.astype(int).tolist(), scores.tolist()
                    write_output(Path(output, f"{path.name}.csv"), path.name, CODES, *rows)
    print_table(stopwatch.seconds, len(records), "recording")


COMMANDS: dict[str, tuple[Callable[..., None], int]] = {
    "training": (profile_training, 1),
    "driver": (profile_driver, 2),
}

if __name__ == "__main__":
    command, count = COMMANDS.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != 2 + count:
        sys.exit("usage: python -m benchmarks.profiles training DATA | driver MODEL DATA")
    command(*sys.argv[2:])
