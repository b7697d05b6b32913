"""Tests of making a recording of channels: choice of channels, counts, limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.ecg.formats.channels import FORMAT_REPAIRS, Channel, assemble, counts_in_microvolts
from leadwise.ecg.header import MAX_LEADS
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import REPAIRS, RepairLog, UnreadableError
from tests.ecg.formats.files import COUNTS


def channel(name: str = "I", samples: np.ndarray = COUNTS[0], frequency: float = 500, **more: float | None) -> Channel:
    return Channel(name, samples, frequency, **{"scale": 1e-3, **more})  # type: ignore[arg-type]


def assembled(*channels: Channel, age: float | None = None) -> tuple[Recording, dict[str, str]]:
    recording = assemble("/data/ecg.dcm", channels, age, None, RepairLog())
    return recording, {repair.name: repair.detail for repair in recording.repairs}


def test_gain_and_baseline_give_the_millivolts_back() -> None:
    recording, repairs = assembled(channel("I", scale=0.0025, offset=0.5), channel("II", scale=-0.001))
    assert (recording.adc_gain == [400, -1000]).all() and (recording.baseline == [-200, 0]).all() and not repairs
    assert np.allclose((recording.counts[0] - recording.baseline[0]) / recording.adc_gain[0], COUNTS[0] * 0.0025 + 0.5)
    assert recording.name == "ecg" and recording.header.leads[0].file == "ecg.dcm"


@pytest.mark.parametrize(
    ("samples", "dtype"),
    [
        (COUNTS[0], np.int16),
        (COUNTS[0] * 100_000, np.int32),
        (COUNTS[0] + 0.5, np.float64),
        (COUNTS[0] * 1e9, np.float64),
    ],
)
def test_counts_have_the_smallest_type_that_holds_them(samples: np.ndarray, dtype: type) -> None:
    recording, _ = assembled(channel("I", samples.astype(np.float64)), channel("II"))
    assert recording.counts.dtype == dtype and (recording.counts == [samples, COUNTS[0]]).all()


def test_channels_without_a_voltage_or_with_an_absurd_scale_are_left_out() -> None:
    others = [channel(f"X{n}", scale=scale) for n, scale in enumerate((None, 0.0, 1e9, 1e-13, np.nan, np.inf))]
    recording, repairs = assembled(*others, channel("II"), channel("far", offset=1e12))
    assert recording.lead_names == ("II",) and "'X0', 'X1'" in repairs["channel-not-voltage"]
    with pytest.raises(UnreadableError, match="no channel with a known amplitude, of 6"):
        assembled(*others)


def test_the_frequency_of_most_leads_is_used() -> None:
    slow = [channel(f"EEG {n}", COUNTS[0][:300], 250) for n in range(20)]
    recording, repairs = assembled(*slow, channel("I"), channel("V1"))
    assert recording.sampling_frequency == 500 and recording.lead_names == ("I", "V1")
    assert "'EEG 3' at 250 Hz" in repairs["frequencies-differ"]


def test_leads_of_different_times_have_missing_samples() -> None:
    recording, repairs = assembled(channel("I", COUNTS[0][:100]), channel("II", COUNTS[1][:150], start=50))
    assert recording.counts.shape == (2, 200) and repairs["lengths-differ"] == "'I', 'II'"
    assert np.isnan(recording.counts[0, 100:]).all() and np.isnan(recording.counts[1, :50]).all()
    assert (recording.counts[1, 50:] == COUNTS[1][:150]).all()
    with pytest.raises(UnreadableError, match="not of the same time"):
        assembled(channel("I"), channel("II", start=90_000_000))


def test_limits() -> None:
    with pytest.raises(UnreadableError, match=f"at most {MAX_LEADS}"):
        assembled(*[channel()] * (MAX_LEADS + 1))
    for frequency in (0.0, 19.0, 1e6, np.nan):
        with pytest.raises(UnreadableError, match="sampling frequency"):
            assembled(channel(frequency=frequency))
    with pytest.raises(UnreadableError, match="no samples"):
        assembled(channel(samples=COUNTS[0][:0]))


@pytest.mark.parametrize("age", [-1.0, 301.0, np.nan])
def test_an_impossible_age_is_unknown(age: float) -> None:
    recording, repairs = assembled(channel(), age=age)
    assert recording.header.age is None and "unreadable-age" in repairs


def pulse(counts: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.concatenate([counts, np.repeat(shape[None], len(counts), axis=0)], axis=1)


def test_a_calibration_pulse_at_the_end_is_cut_off() -> None:
    shape = np.repeat([0, 1000, 0], [40, 100, 40])
    leads = [channel(f"V{n}", row) for n, row in enumerate(pulse(COUNTS, shape))]
    recording, repairs = assembled(*leads)
    assert (recording.counts == COUNTS).all() and repairs == {"calibration-pulse": "180 samples"}
    # nothing is cut that is not both levels in all leads, or that is the whole recording
    for counts in (pulse(COUNTS, shape * 2), pulse(COUNTS, shape * 0), COUNTS, pulse(COUNTS[:, :0], shape)):
        recording, repairs = assembled(*[channel(f"V{n}", row) for n, row in enumerate(counts)])
        assert (recording.counts == counts).all() and not repairs
    counts = pulse(COUNTS, shape)
    counts[5, -5] = 300
    recording, _ = assembled(*[channel(f"V{n}", row) for n, row in enumerate(counts)])
    assert recording.counts.shape == counts.shape


@given(values=st.lists(st.integers(-5000, 5000), min_size=1), dtype=st.sampled_from([np.float32, np.float64]))
def test_whole_microvolts_are_integers_in_every_unit(values: list[int], dtype: type) -> None:
    for unit, factor in (("V", 1e6), ("mV", 1e3), ("uV", 1.0), ("nV", 1e-3)):
        assert (counts_in_microvolts((np.array(values) / factor).astype(dtype), unit) == values).all()


def test_fractions_of_microvolts_and_missing_values_are_kept() -> None:
    counts = counts_in_microvolts(np.array([0.0015, np.nan, 0.1]), "mV")
    assert np.allclose(counts, [1.5, np.nan, 100], equal_nan=True)


def test_names_of_repairs_are_no_others() -> None:
    assert not set(FORMAT_REPAIRS) & set(REPAIRS)
