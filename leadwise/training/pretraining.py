"""Pretrain the initial weights of all networks on simulated ECGs, which show each of the 24 diagnoses."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from leadwise.data.dataset import Dataset, is_intact, load_dataset
from leadwise.data.prepare import prepare_dataset
from leadwise.network.devices import Processor
from leadwise.recipes import Recipe
from leadwise.simulate import write_folder
from leadwise.training.checkpoint import State, load_checkpoint, save_checkpoint
from leadwise.training.epoch import FoldData
from leadwise.training.fold import FoldTask, train_fold
from leadwise.training.interrupt import Interrupted, interruptible
from leadwise.training.time_plan import TimePlan
from leadwise.util.progress import log

NAME = "simulated ECGs"  # in the log
SHARE_OF_TIME = 0.2  # of the time limit of the whole training
CHUNK = 500  # recordings that a process simulates at a time
VALIDATION_STEP = 24  # every 24th recording is held out, for the log only
# of `write_folder`: all databases except INCART's half-hour recordings, each diagnosis in at least 2 %, at most 15 s
OPTIONS: dict[str, Any] = {"sources": ("A", "E", "HR", "Q", "S", "U"), "class_floor": 0.02, "longest": 15.0}


def pretrain(
    recipe: Recipe, checkpoint: Path, work: Path, processor: Processor, jobs: int, limit: float
) -> tuple[State, dict[str, Any]] | None:
    """Return the weights of a network trained on simulated ECGs only, and its metadata; None if time is too short.

    `limit` is the time of the whole training in seconds. The finished network is kept beside the file `checkpoint`.
    """
    finished = checkpoint.with_name(checkpoint.name + ".finished")
    if (found := load_checkpoint(finished)) is not None:
        return found
    plan = TimePlan(recipe.training.simulated_epochs, 1, limit=SHARE_OF_TIME * limit)
    folder = work / f"simulated{checkpoint.suffix}"
    with interruptible():
        dataset = simulated_dataset(recipe, folder, jobs, plan)
    if dataset is None:
        log.warning("no time for simulated ECGs: the initial weights are random")
        return None
    # Swapped electrodes would cost a network without real recordings the axis (docs/log/ablation-and-ideas.md).
    augmentation = replace(recipe.augmentation, swaps=0.0)
    training = replace(recipe.training, epochs=plan.epochs, keep="last")
    recipe = replace(recipe, augmentation=augmentation, training=training)
    held_out = np.arange(len(dataset)) % VALIDATION_STEP == 0
    data, seed = FoldData(dataset, held_out, 0), recipe.training.seed
    result = train_fold(FoldTask(data, recipe, processor, checkpoint, seed, name=NAME), plan)
    if result is None or result.unfinished:
        raise Interrupted
    prevalence = dataset.targets(recipe.training.proxy_labels)[~held_out].mean(0).tolist()
    metadata = {"recordings": len(dataset), "epochs": len(result.history), "target_prevalence": prevalence}
    save_checkpoint(finished, result.weights, metadata)
    shutil.rmtree(folder)
    return result.weights, metadata


def simulated_dataset(recipe: Recipe, folder: Path, jobs: int, plan: TimePlan) -> Dataset | None:
    """Simulate and prepare recordings in `folder`, or load those already there; fewer than the recipe's after half of
    the plan's time, None if there are none."""
    if (folder / "prepared").exists() and is_intact(folder / "prepared"):
        return load_dataset(folder / "prepared")
    for stale in folder.parent.glob("simulated.*"):  # of a killed run, or of another one
        shutil.rmtree(stale)
    folder.mkdir(parents=True)
    log.info("%s: %d, for the initial weights", NAME, recipe.training.simulated)
    count, seed, half = recipe.training.simulated, 10_000 * recipe.training.seed, plan.seconds_left() / 2
    chunks = [(number, min(CHUNK, count - number * CHUNK)) for number in range(math.ceil(count / CHUNK))]
    with tempfile.TemporaryDirectory(dir=folder) as raw:
        with joblib.Parallel(n_jobs=jobs) as parallel:
            for first in range(0, len(chunks), jobs):
                if plan.seconds_left() < half:
                    break
                parallel(
                    joblib.delayed(write_folder)(Path(raw) / f"part{number:04d}", size, seed + number, **OPTIONS)
                    for number, size in chunks[first : first + jobs]
                )
        return prepare_dataset(raw, folder, recipe.signal, jobs) if any(Path(raw).iterdir()) else None
