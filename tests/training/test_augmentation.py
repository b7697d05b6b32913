"""Augmentation: each step changes what it should and leaves the rest alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from leadwise.ecg.preprocessing import TYPICAL_RMS, normalise_rms
from leadwise.recipes import PAPER, ROBUST, AugmentationRecipe
from leadwise.training.augmentation import (
    Batch,
    add_interference,
    add_noise,
    augment,
    change_gain,
    drop_leads,
    filter_windows,
    mix_up,
    swap_electrodes,
)

FREQUENCY = 128.0  # Hz


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(3)
    windows = torch.randn(200, 12, 256)
    windows[:, :, 200:] = 0  # padding
    return Batch(windows, torch.rand(200, 6), (torch.rand(200, 24) < 0.2).float())


def test_the_published_recipe_changes_nothing(batch: Batch) -> None:
    result = augment(batch, PAPER.augmentation, FREQUENCY)
    assert all(after is before for before, after in zip(vars(batch).values(), vars(result).values(), strict=True))


def test_everything_at_once_stays_finite_and_in_shape(batch: Batch) -> None:
    result = augment(batch, ROBUST.augmentation, FREQUENCY)
    for before, after in zip(vars(batch).values(), vars(result).values(), strict=True):
        assert after.shape == before.shape and torch.isfinite(after).all()
    assert result.targets.min() >= 0 and result.targets.max() <= 1


def test_filters_weaken_the_edges_of_the_band_and_keep_the_middle() -> None:
    torch.manual_seed(0)
    time = torch.arange(512) / FREQUENCY
    tones = {f: torch.sin(2 * np.pi * f * time).expand(300, 12, -1) for f in (0.25, 4.0, 50.0)}
    recipe = AugmentationRecipe(filters=0.5)
    strength = {f: float(filter_windows(tone, recipe, FREQUENCY).std() / tone.std()) for f, tone in tones.items()}
    assert strength[4.0] == pytest.approx(1, abs=0.02)
    assert strength[0.25] < 0.9 and strength[50.0] < 0.9


def test_half_of_the_windows_get_noise_and_padding_none(batch: Batch) -> None:
    added = add_noise(batch.windows, 0.3) - batch.windows
    assert (added[:, :, 200:] == 0).all()
    touched = added.flatten(1).any(1).float().mean()
    assert float(touched) == pytest.approx(0.5, abs=0.1)
    assert float(added.flatten(1).std(1).max()) <= 0.31


def test_gain_is_one_factor_per_lead_and_shifts_only_the_scale(batch: Batch) -> None:
    windows, auxiliary = change_gain(batch.windows, batch.auxiliary, 0.1)
    ratio = windows[:, :, :200] / batch.windows[:, :, :200]
    torch.testing.assert_close(ratio, ratio[:, :, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)
    assert float(torch.log(ratio[:, :, 0]).std()) == pytest.approx(0.14, abs=0.02)
    assert torch.equal(auxiliary[:, :5], batch.auxiliary[:, :5]) and not torch.equal(
        auxiliary[:, 5], batch.auxiliary[:, 5]
    )
    windows, auxiliary = change_gain(batch.windows, batch.auxiliary[:, :5], 0.1)
    assert torch.equal(auxiliary, batch.auxiliary[:, :5])


def lost_leads(batch: Batch, windows: Tensor) -> Tensor:
    return (windows == 0).all(2) & ~(batch.windows == 0).all(2)  # (batch, 12)


def test_lead_loss_zeroes_whole_leads_and_leaves_the_others(batch: Batch) -> None:
    windows, auxiliary = drop_leads(batch.windows, batch.auxiliary[:, :5], 0.4)
    lost = lost_leads(batch, windows)
    assert torch.equal(windows[~lost], batch.windows[~lost])
    assert 0.15 < float(lost.any(1).float().mean()) < 0.45
    assert torch.equal(auxiliary, batch.auxiliary[:, :5])
    limbs = ~lost[:, :6].any(1) & lost[:, [6, 8, 9, 10, 11]].all(1)  # the reduced lead sets
    assert 0.1 < float(limbs.float().mean()) < 0.3 and 0 < int((limbs & lost[:, 7]).sum()) < int(limbs.sum())


def test_leads_that_are_left_are_normalised_as_a_recording_without_the_others_is() -> None:
    torch.manual_seed(1)
    millivolts = torch.randn(50, 12, 256) * torch.rand(50, 12, 1)
    signals = millivolts.clone()
    features = [[0.0] * 5 + [np.log(normalise_rms(each) / TYPICAL_RMS)] for each in signals.numpy()]  # in place
    windows, auxiliary = drop_leads(signals, torch.tensor(features, dtype=torch.float32), 0.9)
    for k in range(50):
        expected = (millivolts[k] * windows[k].any(1, keepdim=True)).numpy()
        scale = normalise_rms(expected)
        np.testing.assert_allclose(windows[k], expected, atol=1e-4)
        assert float(auxiliary[k, 5]) == pytest.approx(np.log(scale / TYPICAL_RMS), abs=1e-4)


def limb_leads(electrodes: Tensor) -> Tensor:
    """Return I to aVF, (batch, 6, time), from the potentials of right arm, left arm and left leg, (batch, 3, time)."""
    ra, la, ll = electrodes.unbind(1)
    return torch.stack([la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2], 1)


def test_swaps_exchange_two_electrodes_of_the_limbs(batch: Batch) -> None:
    electrodes = torch.randn(200, 3, 256)
    windows = torch.cat([limb_leads(electrodes), batch.windows[:, 6:]], 1)
    swapped = swap_electrodes(windows, 0.6)
    orders = ((0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 1, 0))  # none, arms, left arm and leg, right arm and leg
    errors = torch.stack([(limb_leads(electrodes[:, order]) - swapped[:, :6]).abs().amax((1, 2)) for order in orders])
    assert float(errors.amin(0).max()) < 1e-5
    counts = torch.bincount(errors.argmin(0), minlength=4) / 200
    torch.testing.assert_close(counts, torch.tensor([0.4, 0.3, 0.15, 0.15]), atol=0.1, rtol=0)
    assert torch.equal(swapped[:, 6:], windows[:, 6:])


def test_interference_is_a_tone_of_the_mains_and_of_breath(batch: Batch) -> None:
    windows = torch.full((200, 12, 512), 1e-9)
    windows[:, :, 500:] = 0  # padding
    added = add_interference(windows, 0.3, FREQUENCY)
    assert (added[:, :, 500:] == 0).all()
    power = torch.fft.rfft(added[:, :, :256]).abs().amax(1)  # (batch, bins), 2 to a hertz
    mains, breath = power[:, [100, 120]].amax(1) > 1, power[:, :3].amax(1) > 1
    assert 0.15 < float(mains.float().mean()) < 0.45 and 0.15 < float(breath.float().mean()) < 0.45
    assert float(added.abs().max()) < 1.5


def test_hidden_demographics_remove_age_and_sex_and_keep_the_scale(batch: Batch) -> None:
    auxiliary = augment(batch, AugmentationRecipe(hidden_demographics=0.4), FREQUENCY).auxiliary
    unknown = (auxiliary[:, :5] == 0).all(1)
    assert float(unknown.float().mean()) == pytest.approx(0.4, abs=0.12)
    assert torch.equal(auxiliary[:, 5], batch.auxiliary[:, 5]) and torch.equal(
        auxiliary[~unknown], batch.auxiliary[~unknown]
    )


def test_mixup_is_a_weighted_mean_with_at_least_half_its_own(batch: Batch) -> None:
    result = mix_up(batch, 0.3)
    for index in range(20):
        share, other = shares(result, batch, index)
        assert 0.5 <= share <= 1
        for mixed, own in zip(vars(result).values(), vars(batch).values(), strict=True):
            expected = share * own[index] + (1 - share) * own[other]
            torch.testing.assert_close(mixed[index], expected, rtol=1e-3, atol=1e-3)


def shares(result: Batch, batch: Batch, index: int) -> tuple[float, int]:
    """Return the share of a mixed window that is its own, by least squares, and the index of the other window."""
    best = (float("inf"), 1.0, index)
    for other in range(len(batch.windows)):
        difference = (batch.windows[index] - batch.windows[other]).flatten()
        rest = (result.windows[index] - batch.windows[other]).flatten()
        share = float(difference @ rest / (difference @ difference).clamp(min=1e-9)) if other != index else 1.0
        error = float((rest - share * difference).norm())
        best = min(best, (error, share, other))
    return best[1], best[2]


def test_the_same_seed_gives_the_same_batch(batch: Batch) -> None:
    results: list[Tensor] = []
    for _ in range(2):
        torch.manual_seed(9)
        results.append(augment(batch, ROBUST.augmentation, FREQUENCY).windows)
    assert torch.equal(*results)
