"""Recordings that are changed on purpose: each change is what it says, and one of nothing changes nothing."""

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


def changed(recording: Recording, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The leads before and after, (12, samples), mV."""
    after = stress.changed(recording, stress.CHANGES[name], np.random.default_rng(0))
    return tuple(standard_leads(one, "mV").values.astype(np.float64) for one in (recording, after))


def test_nothing_changes_nothing(recording: Recording) -> None:
    before, after = changed(recording, "as it is")
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("size, name", [(0.5, "offset of 0.5 mV"), (2.0, "offset of 2 mV")])
def test_an_offset_is_the_same_throughout_a_lead(recording: Recording, size: float, name: str) -> None:
    before, after = changed(recording, name)
    np.testing.assert_allclose(np.abs(after - before), size, atol=1e-3)
    assert len(np.unique(np.sign(after - before)[:, 0])) == 2


@pytest.mark.parametrize(
    "size, name",
    [
        (0.3, "baseline wanders, 0.15 to 0.45 Hz, 0.3 mV"),
        (0.15, "mains hum, 50 Hz, 0.15 mV"),
        (0.1, "muscle noise, 0.1 mV"),
    ],
)
def test_what_is_added_has_the_strength_that_is_said(recording: Recording, size: float, name: str) -> None:
    before, after = changed(recording, name)
    assert np.sqrt(np.mean((after - before) ** 2)) == pytest.approx(size, rel=0.1)


def test_gains_and_leads(recording: Recording) -> None:
    before, after = changed(recording, "half the gain")
    np.testing.assert_allclose(after, before / 2, atol=1e-3)
    after = stress.changed(recording, stress.CHANGES["two leads lost"], np.random.default_rng(0))
    assert (after.counts == 0).all(1).sum() == 2


def test_swapped_arms_are_another_lead_system(recording: Recording) -> None:
    """Noise is no ECG: the leads are given their sums first."""
    before, _ = changed(recording, "as it is")
    left, leg = before[0], before[1]  # potentials, the right arm's is 0
    limbs = [left, leg, leg - left, -(left + leg) / 2, left - leg / 2, leg - left / 2]
    swapped = [-left, leg - left, leg, left - leg / 2, -(left + leg) / 2, leg - left / 2]
    found = stress.arms_swapped(np.array([*limbs, *before[6:]]), 500.0, np.random.default_rng(0))
    np.testing.assert_allclose(found, [*swapped, *before[6:]])
