"""The entries of model.json that describe folds and trainings."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from leadwise.challenge.metric import challenge_metric
from leadwise.decision.calibration import fit
from leadwise.decision.lead_sets import REDUCED
from leadwise.decision.thresholds import apply_thresholds
from leadwise.network.devices import CPU
from leadwise.training.epoch import FoldData
from leadwise.training.fold import FoldResult
from leadwise.training.metadata import describe_fold, describe_training, prior_prediction
from leadwise.training.time_plan import TimePlan
from tests.training.folds import DATASET, TINY, VALIDATION, WITH_EMA

DATA = FoldData(DATASET, VALIDATION, 0)


def test_a_fold_has_its_thresholds_scores_and_counts(uninterrupted: FoldResult) -> None:
    entry = describe_fold(uninterrupted, DATA, TINY)
    assert json.loads(json.dumps(entry)) == entry
    labels = DATASET.labels[VALIDATION]
    answers = apply_thresholds(uninterrupted.probabilities, np.array(entry["thresholds"]))
    assert entry["validation_scores"]["class_thresholds"] == pytest.approx(challenge_metric(labels, answers))
    counts = entry["validation_counts"]
    assert counts["tp"] == (labels & answers).sum(0).tolist()
    assert np.add(counts["tp"], counts["fn"]).tolist() == labels.sum(0).tolist()
    assert entry["best_epoch"] == uninterrupted.best_epoch + 1 and len(entry["epochs"]) == 3
    assert "calibration" not in entry


def test_a_fold_decided_by_expected_reward_has_calibration_and_prevalences(uninterrupted: FoldResult) -> None:
    entry = describe_fold(uninterrupted, DATA, WITH_EMA)
    assert entry["label_prevalence"] == DATASET.labels[~VALIDATION].mean(0).tolist()
    assert entry["target_prevalence"] == DATASET.targets(True)[~VALIDATION].mean(0).tolist()
    assert set(entry["validation_scores"]) == {
        "fixed_threshold", "common_threshold", "class_thresholds", "expected_reward",
    }  # fmt: skip
    assert json.dumps(entry["calibration"]) and len(entry["calibration"]["offsets"]) == 24
    assert entry["lead_set_calibrations"] == {}  # not validated with reduced lead sets
    found = np.random.default_rng(0).random((VALIDATION.sum(), len(REDUCED), 24)).astype(np.float32)
    entry = describe_fold(dataclasses.replace(uninterrupted, lead_set_probabilities=found), DATA, WITH_EMA)
    assert list(entry["lead_set_calibrations"]) == list(REDUCED)
    for place, name in enumerate(REDUCED):
        expected = fit(DATASET.targets(True)[VALIDATION], found[:, place])
        assert entry["lead_set_calibrations"][name] == dataclasses.asdict(expected)


@pytest.mark.parametrize(
    ("epochs", "unfinished", "expected"),
    [
        ([3, 3], "", ("", "")),
        ([3, 2], "", ("", "2 of 2 folds, with 3, 2 of 3 epochs")),
        ([3], "", ("1 of 2 folds", "")),
        ([3, 1], "stopped after 1 of 3 epochs of fold 1", ("stopped after 1 of 3 epochs of fold 1", "")),
    ],
)
def test_a_training_says_what_is_missing(epochs: list[int], unfinished: str, expected: tuple[str, str]) -> None:
    folds = [{"epochs": [{"seconds": 2.0}] * count} for count in epochs]
    entry = describe_training(DATASET, CPU, folds, TimePlan(3, 2), unfinished)
    assert (entry["unfinished"], entry["shortened"]) == expected
    assert entry["seconds"] == 2 * sum(epochs) and entry["recordings_per_source"] == {"A": len(DATASET)}


def test_folds_that_were_given_up_are_missing() -> None:
    plan = TimePlan(3, 2)
    plan.give_up_from(1)
    entry = describe_training(DATASET, CPU, [{"epochs": [{"seconds": 2.0}] * 3}], plan, "")
    assert (entry["unfinished"], entry["shortened"]) == ("", "1 of 2 folds, with 3 of 3 epochs")


def test_the_prior_is_the_prevalence_of_each_class() -> None:
    prior = prior_prediction(DATASET)
    assert prior.scores.tolist() == [DATASET.labels.mean(0).tolist()] and prior.labels.shape == (1, 24)
