"""Measure training of recipe `paper` on a CPU in recordings per second of prepared data, against the published method.

The number of threads is PyTorch's default, one per core. OMP_NUM_THREADS=1 limits both sides. Both keep freed memory
(`tune_malloc`), which the published program does not: the baseline is slightly favoured.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch

from benchmarks.baseline import Trainer
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
def trainer() -> Trainer:
    """Return the baseline with new weights."""
    return Trainer()


def ours() -> float:
    """Train for one epoch; return the loss."""
    state, examples = fold()
    return train_epoch(state, examples, torch.arange(len(examples.starts)), lambda share: 1e-4)[0]


def rows() -> list[Row]:
    """Return the row of training."""
    precision = processor().precision
    return [
        Row(
            name=f"training, recipe paper, {BATCHES} batches of 64, prepared data, {precision}: published method",
            ours=ours,
            baseline=lambda: trainer().epoch(paths()),
            target=1.8 if precision == "bf16" else 1.1,
            pairs=5,
        )
    ]
