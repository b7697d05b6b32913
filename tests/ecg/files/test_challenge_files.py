"""Tests of writing Challenge files: read back, they are the same recording."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadwise.ecg.files.challenge_files import write_challenge_files
from leadwise.ecg.formats.channels import Channel, assemble
from leadwise.ecg.header import Header, LeadHeader
from leadwise.ecg.leads import standard_leads
from leadwise.ecg.recording import Recording, read_recording
from leadwise.ecg.repairs import RepairLog
from tests.conftest import LEADS

COUNTS = np.random.default_rng(5).integers(-3000, 3000, (12, 400)).astype(np.int16)


def recording_of(counts: np.ndarray, gain: float = 1000, baseline: int = 0, **more: Any) -> Recording:
    leads = tuple(LeadHeader(name, "x.edf", "16", gain, baseline) for name in LEADS)
    header = Header("x", 500.0, counts.shape[1], leads, None, None, (), ())
    return Recording(replace(header, **more), counts, ())


def millivolts(recording: Recording) -> np.ndarray:
    return (recording.counts - recording.baseline[:, None]) / recording.adc_gain[:, None]


@given(
    gain=st.floats(1e-3, 1e9),
    baseline=st.integers(-40_000, 40_000),
    frequency=st.floats(20, 20_000),
    age=st.none() | st.floats(0, 300),
    sex=st.sampled_from([None, "female", "male"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reading_back_gives_the_same(
    gain: float, baseline: int, frequency: float, age: float | None, sex: Any, tmp_path: Path
) -> None:
    more = {"sampling_frequency": frequency, "age": age, "sex": sex, "codes": ("426783006", "270492004")}
    recording = recording_of(COUNTS, gain, baseline, **more)
    path = write_challenge_files(recording, tmp_path, "A0001")
    again = read_recording(path)
    assert path == tmp_path / "A0001.hea" and again.counts.dtype == np.int16
    assert (again.counts == recording.counts).all() and (again.adc_gain == recording.adc_gain).all()
    assert (again.baseline == recording.baseline).all() and again.lead_names == recording.lead_names
    for key in ("sampling_frequency", "samples", "age", "sex", "codes"):
        assert getattr(again.header, key) == getattr(recording.header, key)
    assert {repair.name for repair in again.repairs} <= {"unusual-frequency"}


@pytest.mark.parametrize(
    ("counts", "step"),
    [
        (COUNTS.astype(np.int32) + 1_000_000, 1.0),  # moved
        (np.where(COUNTS % 97 == 0, np.nan, COUNTS), 1.0),  # missing samples
        (COUNTS / 7, 1 / 50),  # scaled up
        (COUNTS * 1000.0, 126.0),  # scaled down
        (np.full((12, 50), np.nan), 1.0),
    ],
)
def test_counts_that_do_not_fit_are_moved_or_scaled(counts: np.ndarray, step: float, tmp_path: Path) -> None:
    recording = recording_of(counts)
    again = read_recording(write_challenge_files(recording, tmp_path, "x"))
    missing = np.isnan(counts)
    assert again.counts.dtype == np.int16 and (again.counts[missing] == -32768).all()
    assert np.abs((millivolts(again) - millivolts(recording))[~missing]).max(initial=0) <= step / 2000
    assert ("#Moved or scaled to 16 bits: I, II" in (tmp_path / "x.hea").read_text()) == (
        step != 1 or "int" in str(counts.dtype)
    )


def test_missing_samples_are_missing_again(tmp_path: Path) -> None:
    counts = COUNTS.astype(np.float64)
    counts[7, 100:180] = np.nan
    again = read_recording(write_challenge_files(recording_of(counts), tmp_path, "x"))
    repairs = {repair.name: repair.detail for repair in standard_leads(again, "mV").repairs}
    assert repairs["no-value"] == "80 of 'V2'"


@pytest.mark.parametrize(("name", "gain"), [("HR001", 200), ("E1", 4880), ("S01", 2e6), ("I7", 250_000), ("HR1", 400)])
def test_a_gain_that_is_known_to_be_wrong_in_the_challenge_is_not_written(
    name: str, gain: float, tmp_path: Path
) -> None:
    recording = recording_of(COUNTS, gain)
    again = read_recording(write_challenge_files(recording, tmp_path, name))
    assert "wrong-gain" not in [repair.name for repair in again.repairs]
    assert np.allclose(millivolts(again), millivolts(recording))


@pytest.mark.parametrize("name", ["John Doe 2020", "a/b", "..", ".hidden", "#1", "x.mat", "ä\udcff\n", ""])
def test_any_name_becomes_one_that_can_be_read(name: str, tmp_path: Path) -> None:
    path = write_challenge_files(recording_of(COUNTS), tmp_path, name)
    assert path.parent == tmp_path and sorted(tmp_path.iterdir()) == [path, path.with_suffix(".mat")]
    again = read_recording(path)
    assert (again.counts == COUNTS).all() and not again.repairs


def test_lead_names_keep_their_line(tmp_path: Path) -> None:
    channels = [Channel(name, COUNTS[0], 500.0, 1e-3) for name in ("ECG\nI", "lead II (mV)")]
    recording = assemble("x.csv", channels, None, None, RepairLog())
    again = read_recording(write_challenge_files(recording, tmp_path, "x"))
    assert again.lead_names == ("ECG I", "lead II (mV)")
