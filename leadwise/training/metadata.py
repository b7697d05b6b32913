"""Build what model.json says of a training: of each fold, and of the whole."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.decision.calibration import Calibration, fit
from leadwise.decision.rules import Predictions, make_rule
from leadwise.decision.thresholds import best_constant_labels, search_thresholds
from leadwise.network.devices import Processor
from leadwise.recipes import Recipe
from leadwise.training.epoch import FoldData
from leadwise.training.fold import FoldResult
from leadwise.training.time_plan import TimePlan
from leadwise.util.progress import log


def describe_fold(result: FoldResult, data: FoldData, recipe: Recipe) -> dict[str, Any]:
    """Return what model.json says of a fold: thresholds, calibration, validation scores, epochs.

    Thresholds are searched whatever the recipe decides by: their scores compare with the published ones.
    """
    labels = data.dataset.labels[data.validation]
    search = search_thresholds(labels, result.probabilities, recipe.decision)
    log.info(
        "fold %d: validation score %.3f at 0.5, %.3f with the common threshold %g, %.3f with one for each class",
        data.number, search.score_fixed, search.score_common, search.common, search.score_class,
    )  # fmt: skip
    metadata: dict[str, Any] = {
        "thresholds": search.thresholds.tolist(),
        "common_threshold": search.common,
        "validation_recordings": len(labels),
        "validation_scores": {
            "fixed_threshold": search.score_fixed,
            "common_threshold": search.score_common,
            "class_thresholds": search.score_class,
        },
    }
    if recipe.decision.method == "reward":
        metadata |= describe_calibration(result, data, recipe)
    # by the rule as the finished model will have it, of this one network: what the card says of each class
    answers = make_rule(recipe.decision, [metadata]).decide(result.probabilities[None].astype(np.float64)).labels
    counts = {"tp": labels & answers, "fp": ~labels & answers, "fn": labels & ~answers}  # (recordings, 24) each
    if recipe.decision.method == "reward":
        score = challenge_metric(labels, answers)
        metadata["validation_scores"]["expected_reward"] = score
        log.info("fold %d: validation score %.3f by expected reward", data.number, score)
    return metadata | {
        "validation_counts": {name: these.sum(0).tolist() for name, these in counts.items()},
        "best_epoch": result.best_epoch + 1,
        "epochs": result.history,
        "rollbacks": result.rollbacks,
    }


def describe_calibration(result: FoldResult, data: FoldData, recipe: Recipe) -> dict[str, Any]:
    """Return what `rules.ExpectedRewardRule` needs of a fold: the calibration of its network on the validation part,
    and the prevalence of each class among targets and labels of the training part."""
    targets = data.dataset.targets(recipe.training.proxy_labels)
    calibration: Calibration = fit(targets[data.validation], result.probabilities)
    return {
        "calibration": dataclasses.asdict(calibration),
        "target_prevalence": targets[~data.validation].mean(0).tolist(),
        "label_prevalence": data.dataset.labels[~data.validation].mean(0).tolist(),
    }


def prior_prediction(dataset: Dataset) -> Predictions:
    """Return the prediction for a recording that cannot be used: class prevalences, and the best constant labels."""
    return Predictions(best_constant_labels(dataset.labels)[None], dataset.labels.mean(0, keepdims=True))


def describe_training(
    dataset: Dataset, processor: Processor, folds: Sequence[dict[str, Any]], plan: TimePlan, unfinished: str
) -> dict[str, Any]:
    """Return what model.json says of a training.

    `seconds` sums all epochs, also those before an interruption; `unfinished` says why more is to follow, if it is.
    """
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
    """Describe which epochs and folds of the recipe are missing, for lack of time or finite losses."""
    if len(epochs) == all_folds and min(epochs) == all_epochs:
        return ""
    return f"{len(epochs)} of {all_folds} folds, with {', '.join(map(str, epochs))} of {all_epochs} epochs"
