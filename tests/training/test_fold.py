"""One fold: it learns, an interrupted run ends as an uninterrupted one, rollbacks, too little time."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leadwise.network.devices import CPU
from leadwise.recipes import Recipe
from leadwise.training import epoch as epoch_module
from leadwise.training import validation
from leadwise.training.fold import FoldResult, train_fold
from leadwise.training.fold_state import FoldState
from leadwise.training.schedule import MAX_ROLLBACKS
from leadwise.training.time_plan import TimePlan
from tests.training.folds import DATASET, TINY, VALIDATION, WITH_EMA, assert_same, make_dataset, task, train
from tests.training.interruptions import Clock, spoil


def test_a_fold_learns_and_keeps_its_best_epoch(uninterrupted: FoldResult) -> None:
    result = uninterrupted
    scores = [entry["validation_score"] for entry in result.history]
    assert len(scores) == 3 and result.best_epoch == scores.index(max(scores))
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert all(entry["mfu"] > 0 for entry in result.history)
    assert [entry["seconds_left"] > 0 for entry in result.history] == [True, True, False]
    assert result.probabilities.shape == (VALIDATION.sum(), 24)
    assert ((result.probabilities > 0) & (result.probabilities < 1)).all()


@pytest.mark.parametrize("epochs_before", [1, 2, 3])
@pytest.mark.parametrize("recipe", [TINY, WITH_EMA], ids=["tiny", "ema"])
def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    uninterrupted: FoldResult, recipe: Recipe, epochs_before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted
    if recipe is WITH_EMA:
        found = train_fold(task(DATASET, VALIDATION, recipe, tmp_path / "expected.safetensors"))
        assert found is not None and found.best_epoch == 2  # the last one is kept
        expected = found
    path = tmp_path / "fold0.safetensors"
    saves = []

    def save_then_die(state: FoldState, target: Path) -> None:
        original(state, target)
        saves.append(target)
        if len(saves) == epochs_before:
            raise KeyboardInterrupt

    original = FoldState.save
    monkeypatch.setattr(FoldState, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train_fold(task(DATASET, VALIDATION, recipe, path))
    monkeypatch.setattr(FoldState, "save", original)
    torch.rand(3)  # another process would have other random states
    resumed = train_fold(task(DATASET, VALIDATION, recipe, path))
    assert resumed is not None
    assert_same(resumed, expected)


def test_another_seed_is_another_network(uninterrupted: FoldResult, tmp_path: Path) -> None:
    other = train_fold(task(DATASET, VALIDATION, TINY, tmp_path / "fold0.safetensors", seed=8))
    assert other is not None and not np.array_equal(other.probabilities, uninterrupted.probabilities)


def test_reduced_precision_trains_too(tmp_path: Path) -> None:
    dataset = make_dataset([300] * 12)
    device = dataclasses.replace(CPU, dtype=torch.bfloat16)
    result = train_fold(task(dataset, np.arange(12) % 3 == 0, TINY, tmp_path / "fold0.safetensors", processor=device))
    assert result is not None and result.history[-1]["loss"] < result.history[0]["loss"]
    assert all(value.dtype != torch.bfloat16 for value in result.weights.values())


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_loss_that_is_not_finite_rolls_back_to_the_last_good_epoch_at_a_lower_rate(
    uninterrupted: FoldResult,
    epoch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(epoch, 2, monkeypatch)
    result = train(tmp_path / "fold0")
    assert result.rollbacks == [{"epoch": epoch, "reason": "the loss is nan"}] * 2
    assert f"fold 0 epoch {epoch}: the loss is nan; back to its start, at half the rate (2 of 5)" in caplog.text
    for index, (entry, usual) in enumerate(zip(result.history, uninterrupted.history, strict=True), 1):
        share = 0.25 if index >= epoch else 1
        assert entry["learning_rate"] == pytest.approx(share * usual["learning_rate"])
        assert (entry["loss"] == usual["loss"]) == (index < epoch)
        assert np.isfinite(entry["loss"])
    assert all(value.isfinite().all() for value in result.weights.values())


def test_a_fold_ends_with_its_good_epochs_if_no_rate_helps(
    uninterrupted: FoldResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(2, 99, monkeypatch)
    result = train(tmp_path / "fold0")
    assert len(result.history) == 1 and len(result.rollbacks) == MAX_ROLLBACKS + 1
    assert result.history[0]["loss"] == uninterrupted.history[0]["loss"]
    monkeypatch.undo()
    assert_same(train(tmp_path / "fold0"), result)  # the checkpoint says that it is finished


def test_without_a_good_epoch_training_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(1, 99, monkeypatch)
    with pytest.raises(ValueError, match=r"fold 0: the loss is nan in the first epoch, also at 0\.03125 of the rate"):
        train(tmp_path / "fold0")


def test_a_probability_that_is_not_finite_rolls_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = validation.predict, itertools.count()

    def predict(*arguments: Any) -> Any:
        return original(*arguments) * (np.nan if next(calls) == 1 else 1)

    monkeypatch.setattr(epoch_module, "predict", predict)
    result = train(tmp_path / "fold0")
    assert result.rollbacks == [{"epoch": 2, "reason": "a probability is not finite"}] and len(result.history) == 3


def test_a_fold_without_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = TimePlan(3, 2, limit=100, clock=Clock(60, monkeypatch))
    assert train_fold(task(DATASET, VALIDATION, TINY, tmp_path / "fold1", fold=1), plan) is None
    assert plan.folds == 1
