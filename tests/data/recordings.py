"""Write recordings, and make data sets, for the tests of this folder."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from leadwise.data.dataset import Dataset
from leadwise.data.prepare import prepare_dataset
from leadwise.recipes import PAPER, SignalRecipe
from tests.conftest import header_text, v4_matrix

SIGNAL = PAPER.signal


def write(folder: Path, name: str, dx: str = "426783006", samples: int = 400, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(seed).integers(-900, 900, (12, samples)).astype(np.int16)
    header = header_text(name, counts, comments=(f"#Age: {40 + seed}", "#Sex: Female", f"#Dx: {dx}"))
    (folder / f"{name}.hea").write_text(header)
    (folder / f"{name}.mat").write_bytes(v4_matrix(counts))


def signals(dataset: Dataset) -> list[bytes]:
    return [
        dataset.samples[start : start + rows].tobytes()
        for start, rows in zip(dataset.starts, dataset.lengths, strict=True)
    ]


def in_memory(labels: np.ndarray, sources: list[str], groups: list[str] | None = None) -> Dataset:
    n = len(labels)
    names = tuple(f"{source}{index}" for index, source in enumerate(sources))
    zeros = np.zeros(n, np.int64)
    return Dataset(
        names, tuple(sources), tuple(groups or names), np.zeros((0, 12), np.float32), zeros, zeros, labels,
        np.zeros_like(labels),        np.zeros((n, 5), np.float32), np.zeros((n, 3), np.float32), {}, {}, "",
    )  # fmt: skip


def is_reused(folder: Path, work: Path, recipe: SignalRecipe, caplog: pytest.LogCaptureFixture) -> bool:
    caplog.clear()
    with caplog.at_level(logging.INFO, "leadwise"):
        prepare_dataset(folder, work, recipe)
    return "reused" in caplog.text
