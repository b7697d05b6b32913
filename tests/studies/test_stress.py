"""Each perturbation does what its name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.material import write_recording
from leadwise.ecg.leads import standard_leads
from leadwise.ecg.recording import Recording, read_recording
from studies import stress


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return read_recording(write_recording(tmp_path))


def perturb(recording: Recording, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The leads before and after, (12, samples), mV."""
    after = stress.perturbed(recording, stress.PERTURBATIONS[name], np.random.default_rng(0))
    return tuple(standard_leads(each, "mV").values.astype(np.float64) for each in (recording, after))


def test_unchanged_recordings_stay_equal(recording: Recording) -> None:
    before, after = perturb(recording, "unchanged")
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("size, name", [(0.5, "offset of 0.5 mV"), (2.0, "offset of 2 mV")])
def test_an_offset_is_constant_within_a_lead(recording: Recording, size: float, name: str) -> None:
    before, after = perturb(recording, name)
    np.testing.assert_allclose(np.abs(after - before), size, atol=1e-3)
    assert len(np.unique(np.sign(after - before)[:, 0])) == 2


@pytest.mark.parametrize(
    "size, name",
    [
        (0.3, "baseline wander, 0.15 to 0.45 Hz, 0.3 mV"),
        (0.15, "mains hum, 50 Hz, 0.15 mV"),
        (0.1, "muscle noise, 0.1 mV"),
    ],
)
def test_added_noise_has_the_root_mean_square_of_its_name(recording: Recording, size: float, name: str) -> None:
    before, after = perturb(recording, name)
    assert np.sqrt(np.mean((after - before) ** 2)) == pytest.approx(size, rel=0.1)


def test_gain_and_lost_leads(recording: Recording) -> None:
    before, after = perturb(recording, "half the gain")
    np.testing.assert_allclose(after, before / 2, atol=1e-3)
    after = stress.perturbed(recording, stress.PERTURBATIONS["two leads lost"], np.random.default_rng(0))
    assert (after.counts == 0).all(1).sum() == 2


def test_swapped_arms_equal_leads_from_exchanged_potentials(recording: Recording) -> None:
    """Noise is no ECG: the limb leads are first computed from potentials."""
    before, _ = perturb(recording, "unchanged")
    left, leg = before[0], before[1]  # potentials, the right arm's is 0
    limbs = [left, leg, leg - left, -(left + leg) / 2, left - leg / 2, leg - left / 2]
    swapped = [-left, leg - left, leg, left - leg / 2, -(left + leg) / 2, leg - left / 2]
    found = stress.arms_swapped(np.array([*limbs, *before[6:]]), 500.0, np.random.default_rng(0))
    np.testing.assert_allclose(found, [*swapped, *before[6:]])
