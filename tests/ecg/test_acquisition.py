"""Acquisition profiles: measured from one recording, learned from many, and matched."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from leadwise.ecg.acquisition import (
    MIN_LEVELS,
    MISMATCH,
    STEP_PERCENTILE,
    AcquisitionProfile,
    acquisition_match,
    acquisition_profiles,
    measure_acquisition,
)
from leadwise.ecg.recording import Recording, recording_from_arrays
from leadwise.simulate import simulate


def recorded(
    frequency: int = 500, seconds: float = 10, step: float = 1.0, gain: int = 1000, seed: int = 0
) -> Recording:
    """Simulate an ECG whose converter has steps of `step` uV."""
    millivolts = simulate([], seed, frequency, seconds)
    counts = np.round(np.round(millivolts * 1000 / step) * step * gain / 1000).astype(np.int16)
    lines = [f"X1 12 {frequency} {counts.shape[1]}", *(f"X1.mat 16+24 {gain}/mV 16 0 0 0 0 L{i}" for i in range(12))]
    return recording_from_arrays("\n".join(lines) + "\n#Age: 60\n", counts)


@pytest.mark.parametrize(("step", "gain"), [(1.0, 1000), (4.88, 1000), (5.0, 200), (2.5, 400)])
@pytest.mark.parametrize("frequency", [100, 500])
def test_the_measured_step_is_that_of_the_converter(step: float, gain: int, frequency: int) -> None:
    found = measure_acquisition(recorded(frequency, 10, step, gain))
    assert found[0] == frequency and found[2] == pytest.approx(10)
    assert found[1] == pytest.approx(step, rel=0.25)


@pytest.mark.parametrize("step", [1.0, 4.88])
def test_counts_of_16_bits_give_the_same_step_as_wider_ones(step: float) -> None:
    """They are not sorted; the ends of the range are values like any other."""
    recording = recorded(step=step)
    counts = recording.counts.copy()
    counts[0, :2] = -(1 << 15), (1 << 15) - 1
    int16, int32, float64 = (
        dataclasses.replace(recording, counts=counts.astype(kind)) for kind in (np.int16, np.int32, np.float64)
    )
    np.testing.assert_array_equal(measure_acquisition(int16), measure_acquisition(int32))
    np.testing.assert_array_equal(measure_acquisition(int16), measure_acquisition(float64))


@given(
    arrays(
        np.int16,
        st.integers(MIN_LEVELS, 300),
        elements=st.one_of(st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-50, 50)),
        unique=True,
    )
)
def test_the_step_is_a_percentile_of_the_distances_between_levels(lead: NDArray[np.int16]) -> None:
    """Compare with numpy's percentile of the sorted values."""
    recording = recorded(step=1.0)
    counts = np.tile(lead, (12, 2))  # each level twice: levels that are all different show no step
    found = measure_acquisition(dataclasses.replace(recording, counts=counts))[1]
    plain = np.percentile(np.diff(np.unique(lead).astype(float)), STEP_PERCENTILE) / recording.adc_gain[0] * 1000
    assert found == pytest.approx(plain, rel=1e-6)


def test_flat_leads_have_no_step() -> None:
    recording = recording_from_arrays(
        "X 2 500 100\nX.mat 16 1000/mV 16 0 0 0 0 I\nX.mat 16 1000/mV 16 0 0 0 0 II\n", np.zeros((2, 100), np.int16)
    )
    assert np.isnan(measure_acquisition(recording)[1])


def changed(recording: Recording, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Recording:
    """Return the recording with a change of its signal in mV, in counts that are no whole numbers."""
    gains = recording.adc_gain[:, None]
    return dataclasses.replace(recording, counts=change(recording.counts / gains) * gains)


def test_a_signal_whose_levels_are_no_multiples_of_a_step_shows_none() -> None:
    recording = recorded()
    noise = np.random.default_rng(0).normal(0, 1e-6, recording.counts.shape)  # 1 nV
    band = butter(2, (0.5, 40), "bandpass", fs=500, output="sos")
    half = np.where(np.arange(recording.counts.shape[1]) < 2500, 0, noise)  # the levels of the first half repeat
    for change in (
        lambda signal: signal + noise,
        lambda signal: sosfiltfilt(band, signal),
        lambda signal: signal + half,
        lambda signal: signal * (half == 0) + half,
    ):
        assert np.isnan(measure_acquisition(changed(recording, change))[1])
    assert measure_acquisition(changed(recording, lambda signal: signal))[1] == pytest.approx(1)


def test_the_match_falls_with_the_distance_from_the_training_data() -> None:
    training = [recorded(500, 10, 1.0, seed=seed) for seed in range(8)]
    profiles = acquisition_profiles(np.array([measure_acquisition(recording) for recording in training]))
    assert len(profiles) == 1 and profiles[0].recordings == 8
    noise = np.random.default_rng(0).normal(0, 1e-6, training[0].counts.shape)
    others = {
        "the same": recorded(seed=99),
        "with a noise of 1 nV": changed(training[0], lambda signal: signal + noise),
        "a little shorter": recorded(seconds=9.4),
        "another frequency": recorded(frequency=250),
        "coarser steps": recorded(step=4.88),
        "longer": recorded(seconds=16),
        "shorter": recorded(seconds=6),
    }
    found = acquisition_match(np.array([measure_acquisition(recording) for recording in others.values()]), profiles)
    assert found[:2].tolist() == [0, 0] and -0.3 < found[2] < 0
    assert found[3:].tolist() == [MISMATCH] * 4
    seconds = np.linspace(6, 16, 50, dtype=np.float32)
    match = acquisition_match(np.stack([np.full(50, 500), np.ones(50), seconds], axis=1), profiles)
    assert np.abs(np.diff(match)).max() < 0.8  # no jump
    rises = np.diff(match) >= 0
    assert not np.diff(rises[match[1:] > MISMATCH].astype(int)).max() > 0  # towards 10 s it rises, then it falls


def test_an_unknown_step_matches_any_profile() -> None:
    profile = AcquisitionProfile(500.0, (1.0, 1.0), (10.0, 10.0), 5)
    assert profile.log_match(np.array([500, np.nan, 10], np.float32)) == 0
    assert profile.log_match(np.array([500, np.nan, 14], np.float32)) == MISMATCH
    (without,) = acquisition_profiles(np.array([[500, np.nan, 10]], np.float32))
    assert without.log_match(np.array([500, 3, 10], np.float32)) == 0


def test_a_rare_frequency_has_no_profile() -> None:
    many = np.tile(np.array([[500, 1, 10]], np.float32), (300, 1))
    many[0, 0] = 250
    assert [profile.sampling_frequency for profile in acquisition_profiles(many)] == [500.0]


def test_the_best_profile_counts_and_without_profiles_nothing_matches() -> None:
    acquired = np.array([[500, 1, 10], [100, 1, 10]], np.float32)
    profiles = acquisition_profiles(acquired)
    assert len(profiles) == 2 and acquisition_match(acquired, profiles).tolist() == [0, 0]
    assert acquisition_match(acquired, ()).tolist() == [MISMATCH] * 2


def test_profiles_survive_a_round_trip_through_json() -> None:
    (profile,) = acquisition_profiles(np.array([[500, 1, 10], [500, 1.2, 12]], np.float32))
    assert AcquisitionProfile.from_dict(json.loads(json.dumps(dataclasses.asdict(profile)))) == profile
    with pytest.raises(KeyError):
        AcquisitionProfile.from_dict({})
