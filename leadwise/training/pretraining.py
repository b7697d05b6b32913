"""What the networks of an ensemble know before they see a real ECG: what simulated ones have taught.

Some thousand recordings are too few to learn from them alone what an axis or a PR interval is; simulated ECGs show the
textbook's criterion of each of the 24 diagnoses, also of those that a hospital never labels. docs/results.md says what
that is worth. The training is the recipe's own (`training.py`), on the recordings of `simulate`; all networks of the
ensemble begin with its weights. Knows no model folders, no thresholds, and nothing of the real recordings.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from leadwise.data.dataset import Dataset, is_whole, load_dataset
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

LABEL = "simulated ECGs"  # in the log
SHARE_OF_TIME = 0.2  # of the time that the whole training has: the most that this takes
PART = 500  # recordings that a process simulates at a time
VALIDATING = 24  # one in so many, for the log alone
SOURCES = ("A", "E", "HR", "Q", "S", "U")  # the databases that are simulated: all but hour-long ones
CLASS_FLOOR = 0.02  # share of recordings that each diagnosis has at least
LONGEST = 15.0  # seconds


def pretrain(
    recipe: Recipe, checkpoint: Path, work: Path, processor: Processor, jobs: int, limit: float
) -> tuple[State, dict[str, Any]] | None:
    """Weights of a network that has learnt from simulated ECGs alone, and what model.json says of that.

    `limit` is the time of the whole training in seconds since the process's start. What is unfinished is kept in the
    file `checkpoint`, and simulated recordings in a folder in `work` until they are learnt; what is finished, beside
    `checkpoint`. None where the time is too short for any. Raises Stopped where SIGTERM comes before the end.
    """
    finished = checkpoint.with_name(checkpoint.name + ".finished")
    if (found := load_checkpoint(finished)) is not None:
        return found
    plan = TimePlan(recipe.training.simulated_epochs, 1, limit=SHARE_OF_TIME * limit)
    folder = work / f"simulated{checkpoint.suffix}"
    with interruptible():
        dataset = simulated_dataset(recipe, folder, jobs, plan)
    if dataset is None:
        log.warning("no time for simulated ECGs: networks begin with random weights")
        return None
    training = replace(recipe.training, epochs=recipe.training.simulated_epochs, keep="last")
    recipe, seed = replace(recipe, training=training), training.seed
    held_out = np.arange(len(dataset)) % VALIDATING == 0
    task = FoldTask(FoldData(dataset, held_out, 0), recipe, processor, checkpoint, seed, name=LABEL)
    result = train_fold(task, plan)
    if result is None or result.unfinished:
        raise Interrupted
    target_prevalence = dataset.targets(training.proxy_labels)[~held_out].mean(0).tolist()
    metadata = {"recordings": len(dataset), "epochs": len(result.history), "target_prevalence": target_prevalence}
    save_checkpoint(finished, result.weights, metadata)
    shutil.rmtree(folder)
    return result.weights, metadata


def simulated_dataset(recipe: Recipe, folder: Path, jobs: int, plan: TimePlan) -> Dataset | None:
    """Simulated recordings, prepared in `folder` as the recipe's signals are, or those that lie there already; fewer
    than the recipe's where half of the plan's time has passed, None where that leaves none."""
    if (folder / "prepared").exists() and is_whole(folder / "prepared"):
        return load_dataset(folder / "prepared")
    for stale in folder.parent.glob("simulated.*"):  # of a run that was killed, or of another one
        shutil.rmtree(stale)
    folder.mkdir(parents=True)
    log.info("%s: %d, for the networks to begin with", LABEL, recipe.training.simulated)
    with tempfile.TemporaryDirectory(dir=folder) as raw:
        if not _write_parts(recipe, Path(raw), jobs, plan):
            return None
        return prepare_dataset(raw, folder, recipe.signal, jobs)


def _write_parts(recipe: Recipe, raw: Path, jobs: int, plan: TimePlan) -> bool:
    """Writes the recordings to folders of `raw`, each part with a seed of its own; whether there are any."""
    count, seed = recipe.training.simulated, recipe.training.seed
    parts = [(number, min(PART, count - number * PART)) for number in range(math.ceil(count / PART))]
    enough = plan.seconds_left() / 2
    with joblib.Parallel(n_jobs=jobs) as parallel:
        for first in range(0, len(parts), jobs):
            if plan.seconds_left() < enough:
                return first > 0
            parallel(
                joblib.delayed(write_folder)(
                    raw / f"part{number:04d}", size, 10_000 * seed + number,
                    sources=SOURCES, class_floor=CLASS_FLOOR, longest=LONGEST,
                )
                for number, size in parts[first : first + jobs]
            )  # fmt: skip
    return True
