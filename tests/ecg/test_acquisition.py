"""Whether a recording is acquired as the training recordings were, told from one recording."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from leadwise.ecg.acquisition import (
    LEAST_LEVELS,
    STEP_PERCENTILE,
    AcquisitionProfile,
    acquisition_profiles,
    measure_acquisition,
    out_of_distribution,
)
from leadwise.ecg.recording import Recording, recording_from_arrays
from leadwise.simulate import simulate


def recorded(
    frequency: int = 500, seconds: float = 10, step: float = 1.0, gain: int = 1000, seed: int = 0
) -> Recording:
    """A simulated ECG whose converter has steps of so many uV."""
    millivolts = simulate([], seed, frequency, seconds)
    counts = np.round(np.round(millivolts * 1000 / step) * step * gain / 1000).astype(np.int16)
    lines = [f"X1 12 {frequency} {counts.shape[1]}", *(f"X1.mat 16+24 {gain}/mV 16 0 0 0 0 L{i}" for i in range(12))]
    return recording_from_arrays("\n".join(lines) + "\n#Age: 60\n", counts)


@pytest.mark.parametrize(("step", "gain"), [(1.0, 1000), (4.88, 1000), (5.0, 200), (2.5, 400)])
@pytest.mark.parametrize("frequency", [100, 500])
def test_the_step_is_the_converter_s(step: float, gain: int, frequency: int) -> None:
    found = measure_acquisition(recorded(frequency, 10, step, gain))
    assert found[0] == frequency and found[2] == pytest.approx(10)
    assert found[1] == pytest.approx(step, rel=0.25)


@pytest.mark.parametrize("step", [1.0, 4.88])
def test_counts_of_16_bits_tell_what_wider_ones_tell(step: float) -> None:
    """They are not sorted; the ends of the range are values like others."""
    recording = recorded(step=step)
    counts = recording.counts.copy()
    counts[0, :2] = -(1 << 15), (1 << 15) - 1
    of_16, of_32, of_64 = (
        dataclasses.replace(recording, counts=counts.astype(kind)) for kind in (np.int16, np.int32, np.float64)
    )
    np.testing.assert_array_equal(measure_acquisition(of_16), measure_acquisition(of_32))
    np.testing.assert_array_equal(measure_acquisition(of_16), measure_acquisition(of_64))


@given(
    arrays(
        np.int16,
        st.integers(LEAST_LEVELS, 300),
        elements=st.one_of(st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-50, 50)),
        unique=True,
    )
)
def test_the_step_is_a_percentile_of_the_distances_of_levels(lead: NDArray[np.int16]) -> None:
    """Against numpy's own, on the sorted values."""
    recording = recorded(step=1.0)
    counts = np.broadcast_to(lead, (12, len(lead)))
    found = measure_acquisition(dataclasses.replace(recording, counts=counts))[1]
    plain = np.percentile(np.diff(np.unique(lead).astype(float)), STEP_PERCENTILE) / recording.adc_gain[0] * 1000
    assert found == pytest.approx(plain, rel=1e-6)


def test_flat_leads_tell_no_step() -> None:
    recording = recording_from_arrays(
        "X 2 500 100\nX.mat 16 1000/mV 16 0 0 0 0 I\nX.mat 16 1000/mV 16 0 0 0 0 II\n", np.zeros((2, 100), np.int16)
    )
    assert np.isnan(measure_acquisition(recording)[1])


def test_what_is_like_the_training_data_is_familiar_and_nothing_else_is() -> None:
    profiles = acquisition_profiles(
        np.array([measure_acquisition(recorded(500, 10, 1.0, seed=seed)) for seed in range(8)])
    )
    assert len(profiles) == 1 and profiles[0].recordings == 8
    others = {
        "the same": recorded(seed=99),
        "another frequency": recorded(frequency=250),
        "coarser steps": recorded(step=4.88),
        "longer": recorded(seconds=14),
        "shorter": recorded(seconds=6),
    }
    found = out_of_distribution(np.array([measure_acquisition(one) for one in others.values()]), profiles)
    assert found.tolist() == [False, True, True, True, True]


def test_an_unknown_step_is_no_reason() -> None:
    way = AcquisitionProfile(500.0, (1.0, 1.0), (10.0, 10.0), 5)
    assert way.fits(np.array([500, np.nan, 10], np.float32)) and not way.fits(np.array([500, np.nan, 12], np.float32))
    assert acquisition_profiles(np.array([[500, np.nan, 10]], np.float32))[0].fits(np.array([500, 3, 10], np.float32))


def test_a_rare_frequency_is_not_familiar() -> None:
    many = np.tile(np.array([[500, 1, 10]], np.float32), (300, 1))
    many[0, 0] = 250
    assert [way.sampling_frequency for way in acquisition_profiles(many)] == [500.0]


def test_a_model_without_ways_finds_everything_foreign() -> None:
    assert out_of_distribution(np.array([[500, 1, 10]], np.float32), ()).all()


def test_ways_through_json_and_back() -> None:
    (way,) = acquisition_profiles(np.array([[500, 1, 10], [500, 1.2, 12]], np.float32))
    assert AcquisitionProfile.from_dict(json.loads(json.dumps(dataclasses.asdict(way)))) == way
    with pytest.raises(KeyError):
        AcquisitionProfile.from_dict({})
