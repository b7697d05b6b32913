"""Build the entries of model.json that describe a training and its folds."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import Booleans, challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.decision.calibration import fit
from leadwise.decision.lead_sets import REDUCED
from leadwise.decision.rules import Predictions, make_rule
from leadwise.decision.thresholds import best_constant_labels, search_thresholds
from leadwise.decision.typicality import fit_typicality
from leadwise.network.devices import Processor
from leadwise.recipes import Recipe
from leadwise.training.epoch import FoldData
from leadwise.training.fold import FoldResult
from leadwise.training.time_plan import TimePlan
from leadwise.util.progress import log


def describe_fold(result: FoldResult, data: FoldData, recipe: Recipe) -> dict[str, Any]:
    """Return the entry of a fold: thresholds, calibration, validation scores, epochs."""
    labels = data.dataset.labels[data.validation]
    # thresholds are searched with every decision method: their scores compare with the published ones
    search = search_thresholds(labels, result.probabilities, recipe.decision)
    log.info(
        "fold %d: validation score %.3f at 0.5, %.3f with the common threshold %g, %.3f with one for each class",
        data.number, search.score_fixed, search.score_common, search.common, search.score_class,
    )  # fmt: skip
    scores = {"fixed_threshold": search.score_fixed, "common_threshold": search.score_common}
    scores["class_thresholds"] = search.score_class
    metadata: dict[str, Any] = {
        "thresholds": search.thresholds.tolist(),
        "common_threshold": search.common,
        "validation_recordings": len(labels),
        "validation_scores": scores,
    }
    by_reward = recipe.decision.method == "reward"
    if by_reward:  # what `rules.ExpectedRewardRule` needs
        typicality = fit_typicality(result.probabilities)
        targets = data.dataset.targets(recipe.training.proxy_labels)
        metadata |= {
            "calibration": dataclasses.asdict(fit(targets[data.validation], result.probabilities)),
            "lead_set_calibrations": _lead_set_calibrations(targets[data.validation], result),
            "typicality": typicality.as_dict() if typicality else None,
            "target_prevalence": targets[~data.validation].mean(0).tolist(),
            "label_prevalence": data.dataset.labels[~data.validation].mean(0).tolist(),
        }
    # labels of this network alone, by the rule of the finished model: for the counts of each class
    answers = make_rule(recipe.decision, [metadata]).decide(result.probabilities[None].astype(np.float64)).labels
    if by_reward:
        scores["expected_reward"] = challenge_metric(labels, answers)
        log.info("fold %d: validation score %.3f by expected reward", data.number, scores["expected_reward"])
    counts = {"tp": labels & answers, "fp": ~labels & answers, "fn": labels & ~answers}  # (recordings, 24) each
    return metadata | {
        "validation_counts": {name: each.sum(0).tolist() for name, each in counts.items()},
        "best_epoch": result.best_epoch + 1,
        "epochs": result.history,
        "rollbacks": result.rollbacks,
    }


def _lead_set_calibrations(targets: Booleans, result: FoldResult) -> dict[str, Any]:
    """Fit the calibration of each reduced lead set; none if the fold was stopped before their validation."""
    if result.lead_set_probabilities is None:
        return {}
    found = zip(REDUCED, result.lead_set_probabilities.swapaxes(0, 1), strict=True)
    return {name: dataclasses.asdict(fit(targets, probabilities)) for name, probabilities in found}


def prior_prediction(dataset: Dataset) -> Predictions:
    """Return the prediction for a recording that cannot be used: class prevalences, and the best constant labels."""
    return Predictions(best_constant_labels(dataset.labels)[None], dataset.labels.mean(0, keepdims=True))


def describe_training(
    dataset: Dataset, processor: Processor, folds: Sequence[dict[str, Any]], plan: TimePlan, unfinished: str
) -> dict[str, Any]:
    """Return the entry of a training. `unfinished` says why more is to follow, if it is."""
    if not unfinished and len(folds) < plan.folds:  # a model in between: the next fold comes
        unfinished = f"{len(folds)} of {plan.folds} folds"
    done, (epochs, wanted) = [len(fold["epochs"]) for fold in folds], plan.wanted
    # of the recipe's epochs and folds, lack of time or of finite losses took some
    shortened = f"{len(done)} of {wanted} folds, with {', '.join(map(str, done))} of {epochs} epochs"
    return {
        "unfinished": unfinished,
        "shortened": "" if unfinished or done == [epochs] * wanted else shortened,
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
        # of all epochs, also before an interruption
        "seconds": round(sum(epoch["seconds"] for fold in folds for epoch in fold["epochs"]), 1),
    }
