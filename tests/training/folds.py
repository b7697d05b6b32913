"""Train small folds of random recordings, for the tests of this folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leadwise.data.dataset import Dataset
from leadwise.network.devices import CPU, Processor
from leadwise.recipes import ROBUST, NetworkRecipe, Recipe, SignalRecipe, TrainingRecipe
from leadwise.training.epoch import FoldData
from leadwise.training.fold import FoldResult, FoldTask, train_fold

TINY = Recipe(
    "tiny",
    signal=SignalRecipe(window=256, overlap=32),
    network=NetworkRecipe(stem_channels=4, block_channels=(4, 8), reduction=2),
    training=TrainingRecipe(folds=2, epochs=3, batch_size=4),
)
WITH_EMA = dataclasses.replace(  # everything that recipe `robust` adds, in small
    ROBUST,
    signal=dataclasses.replace(TINY.signal, sampling_frequency=128),
    network=TINY.network,
    training=dataclasses.replace(ROBUST.training, folds=2, epochs=3, batch_size=4),
)


def make_dataset(lengths: list[int], seed: int = 0) -> Dataset:
    """Return noise whose first lead is large in recordings of class 3."""
    random = np.random.default_rng(seed)
    n, rows = len(lengths), sum(lengths)
    labels = random.random((n, 24)) < 0.1
    labels[:, 3] = np.arange(n) % 2 == 0
    samples = random.normal(0, 1, (rows, 12)).astype(np.float32)
    samples[:, 0] *= np.repeat(1 + 9 * labels[:, 3], lengths)
    starts = np.cumsum(lengths) - lengths
    names = tuple(f"A{index:04d}" for index in range(n))
    return Dataset(
        names, ("A",) * n, names, samples, starts, np.array(lengths), labels, np.zeros_like(labels),
        random.random((n, 5)).astype(np.float32), np.ones((n, 3), np.float32),        {}, {}, "none",
    )  # fmt: skip


DATASET = make_dataset([300, 200, 256, 600] * 5)
VALIDATION = np.arange(len(DATASET)) % 4 == 0


def plain_window(signal: NDArray[np.float32], offset: int, window: int) -> NDArray[np.float32]:
    """Cut a window (12, window) from a signal (samples, 12), sample by sample."""
    result = np.zeros((12, window), np.float32)
    for t in range(window):
        if 0 <= offset + t < len(signal):
            result[:, t] = signal[offset + t]
    return result


def task(
    dataset: Dataset,
    validation: NDArray[np.bool_],
    recipe: Recipe,
    checkpoint: Path,
    seed: int = 7,
    processor: Processor = CPU,
    fold: int = 0,
) -> FoldTask:
    return FoldTask(FoldData(dataset, validation, fold), recipe, processor, checkpoint, seed)


def train(checkpoint: Path, dataset: Dataset = DATASET, epochs: int = 3, **more: Any) -> FoldResult:
    recipe = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, epochs=epochs))
    result = train_fold(task(dataset, VALIDATION, recipe, checkpoint), **more)
    assert result is not None
    return result


def assert_same(one: FoldResult, other: FoldResult) -> None:
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert one.best_epoch == other.best_epoch and one.rollbacks == other.rollbacks
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name]), name
