"""Augmentation: what each step may change and what it must leave alone, on simulated ECGs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from leadwise.recipes import PAPER, ROBUST, AugmentationRecipe
from leadwise.training.augmentation import Batch, augmented, filtered, mixed, noisy, regained, without_leads

FREQUENCY = 128.0  # Hz


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(3)
    windows = torch.randn(200, 12, 256)
    windows[:, :, 200:] = 0  # padding
    return Batch(windows, torch.rand(200, 6), (torch.rand(200, 24) < 0.2).float())


def test_the_published_recipe_changes_nothing(batch: Batch) -> None:
    result = augmented(batch, PAPER.augmentation, FREQUENCY)
    assert all(after is before for before, after in zip(vars(batch).values(), vars(result).values(), strict=True))


def test_everything_at_once_stays_finite_and_in_shape(batch: Batch) -> None:
    result = augmented(batch, ROBUST.augmentation, FREQUENCY)
    for before, after in zip(vars(batch).values(), vars(result).values(), strict=True):
        assert after.shape == before.shape and torch.isfinite(after).all()
    assert result.targets.min() >= 0 and result.targets.max() <= 1


def test_filters_weaken_what_lies_outside_and_keep_the_middle() -> None:
    torch.manual_seed(0)
    time = torch.arange(512) / FREQUENCY
    tones = {f: torch.sin(2 * np.pi * f * time).expand(300, 12, -1) for f in (0.25, 4.0, 50.0)}
    recipe = AugmentationRecipe(filters=0.5)
    strength = {f: float(filtered(tone, recipe, FREQUENCY).std() / tone.std()) for f, tone in tones.items()}
    assert strength[4.0] == pytest.approx(1, abs=0.02)
    assert strength[0.25] < 0.9 and strength[50.0] < 0.9


def test_noise_is_in_half_of_the_windows_and_never_in_padding(batch: Batch) -> None:
    added = noisy(batch.windows, 0.3) - batch.windows
    assert (added[:, :, 200:] == 0).all()
    touched = added.flatten(1).any(1).float().mean()
    assert float(touched) == pytest.approx(0.5, abs=0.1)
    assert float(added.flatten(1).std(1).max()) <= 0.31


def test_gain_is_one_number_a_lead_and_moves_the_scale_alone(batch: Batch) -> None:
    windows, numbers = regained(batch.windows, batch.numbers, 0.1)
    ratio = windows[:, :, :200] / batch.windows[:, :, :200]
    torch.testing.assert_close(ratio, ratio[:, :, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)
    assert float(torch.log(ratio[:, :, 0]).std()) == pytest.approx(0.14, abs=0.02)
    assert torch.equal(numbers[:, :5], batch.numbers[:, :5]) and not torch.equal(numbers[:, 5], batch.numbers[:, 5])
    windows, numbers = regained(batch.windows, batch.numbers[:, :5], 0.1)
    assert torch.equal(numbers, batch.numbers[:, :5])


def test_lead_loss_takes_whole_leads_and_leaves_the_others(batch: Batch) -> None:
    windows = without_leads(batch.windows, 0.3)
    lost = (windows == 0).all(2) & ~(batch.windows == 0).all(2)  # (batch, 12)
    assert torch.equal(windows[~lost], batch.windows[~lost])
    assert 0.1 < float(lost.any(1).float().mean()) < 0.35


def test_anonymous_windows_have_neither_age_nor_sex_but_their_scale(batch: Batch) -> None:
    numbers = augmented(batch, AugmentationRecipe(hidden_demographics=0.4), FREQUENCY).auxiliary
    unknown = (numbers[:, :5] == 0).all(1)
    assert float(unknown.float().mean()) == pytest.approx(0.4, abs=0.12)
    assert torch.equal(numbers[:, 5], batch.numbers[:, 5]) and torch.equal(numbers[~unknown], batch.numbers[~unknown])


def test_mixing_is_a_mean_of_two_whose_own_part_is_the_larger(batch: Batch) -> None:
    result = mixed(batch, 0.3)
    for index in range(20):
        share, other = parts(result, batch, index)
        assert 0.5 <= share <= 1
        for mixed_, own in zip(vars(result).values(), vars(batch).values(), strict=True):
            expected = share * own[index] + (1 - share) * own[other]
            torch.testing.assert_close(mixed_[index], expected, rtol=1e-3, atol=1e-3)


def parts(result: Batch, batch: Batch, index: int) -> tuple[float, int]:
    """By least squares: how much of a mixed window is its own, and whose the rest is."""
    best = (float("inf"), 1.0, index)
    for other in range(len(batch.windows)):
        difference = (batch.windows[index] - batch.windows[other]).flatten()
        rest = (result.windows[index] - batch.windows[other]).flatten()
        share = float(difference @ rest / (difference @ difference).clamp(min=1e-9)) if other != index else 1.0
        error = float((rest - share * difference).norm())
        best = min(best, (error, share, other))
    return best[1], best[2]


def test_the_same_seed_is_the_same_batch(batch: Batch) -> None:
    results: list[Tensor] = []
    for _ in range(2):
        torch.manual_seed(9)
        results.append(augmented(batch, ROBUST.augmentation, FREQUENCY).windows)
    assert torch.equal(*results)
