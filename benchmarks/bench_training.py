"""Measure training of recipe `paper` on a CPU on prepared recordings, against the published method and against what a
user would write today: an eager network with a DataLoader over arrays in memory, in the precision that is the fastest
on this processor, and the same compiled.

The number of threads is PyTorch's default, one per core. OMP_NUM_THREADS=1 limits both sides. Both keep freed memory
(`tune_malloc`), which the published program does not: the baseline is slightly favoured.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from benchmarks.baseline import Trainer, Windows
from benchmarks.material import write_recordings
from benchmarks.run import Row
from leadwise.data.prepare import prepare_dataset
from leadwise.network.devices import Processor, choose_processor
from leadwise.recipes import PAPER
from leadwise.training.epoch import train_epoch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState
from leadwise.util.memory import tune_malloc

FOLDER = tempfile.TemporaryDirectory(prefix="bench_training_")  # removed when the process ends
BATCHES = 2


@cache
def paths() -> list[Path]:
    """Write the recordings of a few batches; return their paths."""
    tune_malloc()
    return write_recordings(Path(FOLDER.name, "data"), BATCHES * PAPER.training.batch_size)


@cache
def processor() -> Processor:
    """Return the CPU as a command does: in bf16 if that is faster."""
    return choose_processor("cpu")


@cache
def fold() -> tuple[FoldState, Examples]:
    """Return a fold with new weights, and the prepared recordings."""
    dataset = prepare_dataset(paths()[0].parent, Path(FOLDER.name, "work"), PAPER.signal)
    return FoldState.begin(PAPER, 0, processor()), Examples.of(dataset, processor().device)


@cache
def trainer(dtype: torch.dtype = torch.float32, compiled: bool = False) -> Trainer:
    """Return the baseline with new weights."""
    return Trainer(dtype, compiled)


@cache
def windows(in_memory: bool) -> Windows:
    """Return the baseline's recordings."""
    return Windows(paths(), in_memory)


def ours() -> float:
    """Train for one epoch; return the loss."""
    state, examples = fold()
    return train_epoch(state, examples, torch.arange(len(examples.starts)), lambda share: 1e-4)[0]


def row(peer: str, target: float, peer_trainer: Callable[[], Trainer], in_memory: bool = True) -> Row:
    """Return the row against a baseline."""
    return Row(
        name=f"training, recipe paper, {BATCHES} batches of 64, prepared data, {processor().precision}: {peer}",
        ours=ours,
        baseline=lambda: peer_trainer().epoch(windows(in_memory)),
        target=target,
        pairs=5,
    )


def rows() -> list[Row]:
    """Return the rows of training."""
    dtype, fast = processor().dtype, processor().precision == "bf16"
    found = [
        row("published method", 1.8 if fast else 1.1, trainer, in_memory=False),
        row("eager fp32, arrays in memory", 1.3, trainer),
    ]
    if fast:
        found.append(row("eager bf16, arrays in memory", 1.0, lambda: trainer(dtype)))
    else:
        print("no row of training in eager bf16: this CPU is not faster in it", file=sys.stderr)
    if shutil.which("g++"):
        compiled = f"torch.compile {processor().precision}, arrays in memory"
        found.append(row(compiled, 1.0, lambda: trainer(dtype, True)))
    else:
        print("no row of training with torch.compile: no compiler", file=sys.stderr)
    return found
