"""Part scores: measure the GPU's part of the driver, five networks of recipe `paper` on recordings of 10 s."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.gpu import speed
from benchmarks.gpu.material import random_dataset, recipes, settled_network
from benchmarks.gpu.setting import Check, Finding, Setting
from leadwise.challenge.classes import CODES
from leadwise.decision.rules import Predictions
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import ModelMetadata, fold_file, save_metadata, save_network
from leadwise.recipes import Recipe
from leadwise.util.progress import duration

NETWORKS = 5
HIDDEN = 16_630  # recordings of the Challenge's hidden data
BATCH = 64  # recordings per batch of the driver
GOAL = 0.6  # ms per recording


def model_folder(folder: Path, recipe: Recipe) -> Path:
    """Write a model of five networks with random weights."""
    folder.mkdir()
    folds = []
    for fold in range(NETWORKS):
        checksum = save_network(folder, fold_file(fold), settled_network(recipe, seed=fold).state_dict())
        folds.append({"file": fold_file(fold), "sha256": checksum, "thresholds": [0.5] * len(CODES)})
    prior = Predictions(np.zeros((1, len(CODES)), np.bool_), np.full((1, len(CODES)), 0.1))
    save_metadata(folder, ModelMetadata(recipe, prior, folds, training={}))
    return folder


def driver(setting: Setting) -> Iterator[Finding]:
    """Time the networks, windows and labels of the driver's batches, in the precisions that GPUs have."""
    recipe = recipes(setting.rehearse)[0]
    folder = model_folder(setting.folder / "five", recipe)
    count = setting.few(BATCH, 8)
    dataset = random_dataset(recipe, count)
    rows = zip(dataset.starts, dataset.lengths, strict=True)
    signals = [np.ascontiguousarray(dataset.samples[start : start + length].T) for start, length in rows]
    batches = setting.few(50, 1)
    for precision in ("bf16", "fp16", "fp32"):
        model = load_model(folder, setting.processor(precision))

        def score(model: Model = model) -> None:
            for _ in range(batches):
                model.predict(signals, dataset.auxiliary_features)

        score()
        taken = speed.seconds(setting, score) / (batches * count)
        goal = 1000 * taken < GOAL
        text = f"{1000 * taken:.3f} ms per recording, {1 / taken:,.0f} recordings/s; {HIDDEN:,} take "
        text += f"{duration(HIDDEN * taken)}; goal of {GOAL:g} ms {'met' if goal else 'missed'}"
        numbers = {"ms": 1000 * taken, "seconds_of_all": HIDDEN * taken, "goal": goal}
        yield Finding(f"driver, five networks, {precision}", True, text, numbers)


CHECKS: tuple[Check, ...] = (driver,)
