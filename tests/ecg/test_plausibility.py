"""Typical sizes and units, and the times of the waves at right and wrong sampling frequencies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leadwise.ecg.heart_rate import find_beats
from leadwise.ecg.plausibility import (
    LARGEST_SIZE,
    SMALLEST_SIZE,
    fitting_frequency,
    is_doubtful,
    likely_unit,
    stretch,
    typical_size,
    wave_times,
)
from leadwise.simulate import simulate


def test_the_typical_size_ignores_what_is_no_signal() -> None:
    lead = np.array([0.0, 0.1, -0.1, 0.0, 0.2])
    assert typical_size(lead) == typical_size(lead[None]) == pytest.approx(0.1)
    gaps = np.array([0.0, np.nan, 0.1, -0.1, np.inf, 0.0, 0.2])
    several = np.array([gaps, np.zeros(7), np.full(7, 5.0), np.full(7, np.nan)])
    assert typical_size(several) == pytest.approx(0.1)
    assert (
        typical_size(np.zeros((12, 50))) == typical_size(np.full((2, 5), np.nan)) == typical_size(np.zeros((0, 5))) == 0
    )


values = st.one_of(st.floats(-100, 100), st.sampled_from([np.nan, np.inf, -np.inf]))


@given(signal=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=values))
def test_the_typical_size_equals_that_of_a_naive_search(signal: np.ndarray) -> None:
    distances = []
    for lead in signal:
        finite = [value for value in lead if np.isfinite(value)]
        if len(set(finite)) > 1:
            distances += [abs(value - np.median(finite)) for value in finite]
    assert typical_size(signal) == (np.median(distances) if distances else 0)


@pytest.mark.parametrize("diagnosis", ["NSR", "AF", "LQRSV", "LBBB"])
def test_units_are_told_by_the_typical_size(diagnosis: str) -> None:
    ecg = simulate(diagnosis, 1, 250)
    units = [likely_unit(typical_size(factor * ecg)) for factor in (1, 1e-3, 1e3, 1e6)]
    assert units == [None, "V", "uV", "ADC counts"]


def test_no_size_and_sizes_at_the_limits_are_plausible() -> None:
    assert [likely_unit(size) for size in (0.0, SMALLEST_SIZE, LARGEST_SIZE)] == [None] * 3


def times(ecg: np.ndarray, frequency: float) -> np.ndarray | None:
    return wave_times(ecg, frequency, find_beats(ecg, frequency))


@pytest.mark.parametrize("frequency", [100, 257, 500, 1000])
@pytest.mark.parametrize("diagnosis", ["NSR", "SB", "STach", "AF", "RBBB"])
def test_waves_fit_the_true_frequency(diagnosis: str, frequency: float) -> None:
    for seed in range(3):
        ecg = simulate(diagnosis, seed, frequency, 10)
        ratios = times(ecg, frequency)
        assert ratios is not None and ratios.shape == (3,)
        assert not is_doubtful(ratios) or fitting_frequency(ecg, frequency, ratios) is None


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), factor=st.sampled_from([0.5, 0.72, 1.4]))
def test_waves_last_longer_if_the_frequency_is_declared_too_low(seed: int, factor: float) -> None:
    ecg = simulate("NSR", seed, 500, 20)
    right, wrong = times(ecg, 500), times(ecg, 500 * factor)
    assert right is not None and wrong is not None
    np.testing.assert_allclose(wrong[0] - right[0], -np.log(factor), atol=0.06)  # the RR interval exactly
    assert np.sign(stretch(wrong) - stretch(right)) == np.sign(1 - factor)


@pytest.mark.parametrize("declared", [100, 250, 1000])
def test_the_frequency_that_fits_is_found_with_the_rate_at_the_declared_one(declared: float) -> None:
    ecg = simulate("NSR", 2, 500, 30)
    found = fitting_frequency(ecg, declared, times(ecg, declared))
    assert found is not None and found[0] == 500
    beats = find_beats(ecg, 500)
    assert found[1] == pytest.approx(60 * (len(beats) - 1) / np.ptp(beats) * declared / 500, rel=0.05)


def test_noise_fits_no_frequency() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (12, 10000))
    assert times(noise, 500) is None and fitting_frequency(noise, 500, None) is None


def test_signals_without_waves_have_no_times() -> None:
    for signal in (np.zeros((2, 5000)), np.ones((2, 5000)), np.zeros((1, 5))):
        assert wave_times(signal, 500, np.arange(1, 9, 1.0)) is None
    assert wave_times(simulate("NSR", 1), 500, np.array([1.0, 2.0])) is None
    assert is_doubtful(None)
