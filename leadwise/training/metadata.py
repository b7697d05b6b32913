"""Build what model.json says of a training: of each fold, and of the whole."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.decision.calibration import Calibration, fit
from leadwise.decision.rules import Answer, make_rule
from leadwise.decision.thresholds import best_constant_answer, search_thresholds
from leadwise.model.folder import (
    fold_file,
    save_network,
)
from leadwise.network.devices import Processor
from leadwise.recipes import Recipe
from leadwise.training.fold import FoldResult
from leadwise.training.time_plan import TimePlan
from leadwise.util.progress import log


def finish_fold(
    model: Path,
    fold: int,
    result: FoldResult,
    dataset: Dataset,
    validation: NDArray[np.bool_],
    recipe: Recipe,
    half: bool,
) -> dict[str, Any]:
    """Writes the fold's network and finds its way to labels on the validation part; returns what model.json says of
    the fold. The thresholds are searched whatever the recipe decides by: their scores are the published ones' kin."""
    labels = dataset.labels[validation]
    search = search_thresholds(labels, result.probabilities, recipe.decision)
    log.info(
        "fold %d: validation score %.3f at 0.5, %.3f with the common threshold %g, %.3f with one for each class",
        fold, search.score_half, search.score_common, search.common, search.score_full,
    )  # fmt: skip
    facts: dict[str, Any] = {
        "file": fold_file(fold),
        "sha256": save_network(model, fold_file(fold), result.state, half),
        "thresholds": search.thresholds.tolist(),
        "common_threshold": search.common,
        "validation_recordings": len(labels),
        "validation_scores": {"half": search.score_half, "common": search.score_common, "full": search.score_full},
    }
    if recipe.decision.method == "reward":
        facts |= calibration_facts(result, dataset, validation, recipe)
    # by the rule as the finished model will have it, of this one network: what the card says of each class
    answers = make_rule(recipe.decision, [facts]).answer(result.probabilities[None].astype(np.float64)).labels
    counts = {"tp": labels & answers, "fp": ~labels & answers, "fn": labels & ~answers}  # (recordings, 24) each
    if recipe.decision.method == "reward":
        facts["validation_scores"]["reward"] = challenge_metric(labels, answers)
        log.info("fold %d: validation score %.3f by expected reward", fold, facts["validation_scores"]["reward"])
    return facts | {
        "validation_counts": {name: right.sum(0).tolist() for name, right in counts.items()},
        "best_epoch": result.best_epoch + 1,
        "epochs": result.history,
        "setbacks": result.setbacks,
    }


def calibration_facts(
    result: FoldResult, dataset: Dataset, validation: NDArray[np.bool_], recipe: Recipe
) -> dict[str, Any]:
    """What `decision.RewardRule` asks for: the network's calibration, on the validation part, of what it was taught;
    how frequent the classes were in that, and among the labels, in the training part."""
    targets = dataset.targets(recipe.training.stand_ins)
    calibration: Calibration = fit(targets[validation], result.probabilities)
    frequencies = {"learned": targets[~validation].mean(0), "labelled": dataset.labels[~validation].mean(0)}
    return {"calibration": dataclasses.asdict(calibration)} | {key: each.tolist() for key, each in frequencies.items()}


def prior_answer(dataset: Dataset) -> Answer:
    """What to say of a recording that says nothing: the class frequencies, and the best labels for all alike."""
    return Answer(best_constant_answer(dataset.labels)[None], dataset.labels.mean(0, keepdims=True))


def training_facts(
    dataset: Dataset, processor: Processor, folds: Sequence[dict[str, Any]], plan: TimePlan, unfinished: str
) -> dict[str, Any]:
    """What model.json says of the training; `seconds` are those of all epochs, also of runs that were cut off, and
    `unfinished` says why more is to follow, if it is."""
    if not unfinished and len(folds) < plan.folds:  # a model in between: the next fold comes
        unfinished = f"{len(folds)} of {plan.folds} folds"
    return {
        "unfinished": unfinished,
        "shortened": "" if unfinished else shortened([len(fold["epochs"]) for fold in folds], *plan.wanted),
        "data": dataset.fingerprint,
        "recordings": len(dataset),
        "recordings_per_source": dict(sorted(Counter(dataset.sources).items())),
        "recordings_per_class": dict(zip(CODES, dataset.labels.sum(0).tolist(), strict=True)),
        "left_out": dict(sorted(Counter(dataset.left_out.values()).items())),
        "repairs": dataset.repairs,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "device": processor.name,
        "precision": processor.precision,
        "threads": torch.get_num_threads(),
        "seconds": round(sum(epoch["seconds"] for fold in folds for epoch in fold["epochs"]), 1),
    }


def shortened(epochs: Sequence[int], all_epochs: int, all_folds: int) -> str:
    """What the folds had of the recipe's epochs and folds, where time or losses that are not finite took some."""
    if len(epochs) == all_folds and min(epochs) == all_epochs:
        return ""
    return f"{len(epochs)} of {all_folds} folds, with {', '.join(map(str, epochs))} of {all_epochs} epochs"
