"""Training on a CPU, recipe `paper`: recordings a second on prepared data, against the published way.

Threads are PyTorch's own choice, one a core: OMP_NUM_THREADS=1 limits ours and the baseline's alike. Both sides keep
freed memory (`keep_freed_memory`), which the published way would not: its time is a little too short.
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
    """The recordings of a few batches."""
    tune_malloc()
    return write_recordings(Path(FOLDER.name, "data"), BATCHES * PAPER.training.batch_size)


@cache
def processor() -> Processor:
    """The CPU as a command takes it: in bf16 where it is faster in that."""
    return choose_processor("cpu")


@cache
def fold() -> tuple[FoldState, Examples]:
    """A run with fresh weights, on the prepared recordings."""
    dataset = prepare_dataset(paths()[0].parent, Path(FOLDER.name, "work"), PAPER.signal)
    return FoldState.begin(PAPER, 0, processor()), Examples.of(dataset, processor().device)


@cache
def trainer() -> Trainer:
    """The published way, with fresh weights."""
    return Trainer()


def ours() -> float:
    """Our epoch over the recordings; its loss."""
    run, examples = fold()
    return train_epoch(run, examples, torch.arange(len(examples.starts)), lambda share: 1e-4)[0]


def rows() -> list[Row]:
    """The row of training."""
    precision = processor().precision
    return [
        Row(
            name=f"training, recipe paper, {BATCHES} batches of 64, prepared data, {precision}: published way",
            ours=ours,
            baseline=lambda: trainer().epoch(paths()),
            target=1.8 if precision == "bf16" else 1.1,
            pairs=5,
        )
    ]
