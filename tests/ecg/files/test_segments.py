"""Multi-segment WFDB records of fixed layout are read as wfdb reads them; others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from leadwise.ecg.recording import read_header, read_recording
from leadwise.ecg.repairs import RecordingError
from tests.ecg.recordings import names, random_counts

PARTS = {"D1": random_counts(3, 400, 1), "D2": random_counts(3, 250, 2)}
MASTER = "MS/3 3 250 1050\nD1 400\nD2 250\nD1 400\n# Age: 50\n"


def write(folder: Path, master: str = MASTER, gain: str = "200", second: str = "I II V1") -> Path:
    for name, counts in PARTS.items():
        leads = second if name == "D2" else "I II V1"
        own_gain = gain if name == "D2" else "200"
        lines = [f"{name}.dat 16 {own_gain} 16 0 0 0 0 {lead}" for row, lead in zip(counts, leads.split(), strict=True)]
        (folder / f"{name}.hea").write_text("\n".join([f"{name} 3 250 {counts.shape[1]}", *lines]) + "\n")
        (folder / f"{name}.dat").write_bytes(counts.astype("<i2").tobytes("F"))
    (folder / "MS.hea").write_text(master)
    return folder / "MS"


def test_segments_are_joined_as_wfdb_joins_them(tmp_path: Path) -> None:
    recording = read_recording(write(tmp_path))
    assert np.array_equal(recording.counts, np.concatenate([PARTS["D1"], PARTS["D2"], PARTS["D1"]], axis=1))
    expected = wfdb.rdrecord(str(tmp_path / "MS")).p_signal.T
    np.testing.assert_allclose(recording.counts / recording.adc_gain[:, None], expected)
    assert recording.lead_names == ("I", "II", "V1") and recording.sampling_frequency == 250
    assert (recording.name, recording.header.age) == ("MS", 50)
    assert names(recording.repairs) == ["segments"]
    header = read_header(tmp_path / "MS")
    assert (header.samples, header.leads, header.age) == (1050, recording.header.leads, 50)


def test_a_segment_without_signal_is_cut_out(tmp_path: Path) -> None:
    recording = read_recording(write(tmp_path, "MS/3 3 250 1150\nD1 400\n~ 500\nD2 250\n"))
    assert np.array_equal(recording.counts, np.concatenate([PARTS["D1"], PARTS["D2"]], axis=1))
    assert {"segments", "padding"} <= set(names(recording.repairs))


def test_counts_of_another_gain_are_converted(tmp_path: Path) -> None:
    recording = read_recording(write(tmp_path, gain="400(10)"))
    np.testing.assert_allclose(recording.counts[:, 400:650], (PARTS["D2"] - 10) / 400 * 200)
    assert (recording.adc_gain == 200).all()


@pytest.mark.parametrize(
    ("master", "reason"),
    [
        ("MS/2 3 250 650\nD1 0\nD2 250\n", "variable layout"),
        ("MS/3 3 250 650\nD1 400\nD2 250\n", "declares 3 segments, names 2"),
        ("MS/1 3 250 650\n../D1 400\n", "no segment of the record's own folder"),
        ("MS/1 3 250 650\n.. 400\n", "no segment of the record's own folder"),
        ("MS/1 3 250 650\nD1 many\n", "no segment of the record's own folder"),
        ("MS/2 3 250 650\nD1 400\nD3 250\n", "no such header"),
        ("MS/2 3 500 650\nD1 400\nD2 250\n", "has 250 Hz, the record 500 Hz"),
        ("MS/1 3 250 650\nMS 400\n", "has segments itself"),
        ("MS/1 3 250 650\n~ 400\n", "no segment with a signal"),
        ("MS/2 3 250 650\nD1 90000000\nD2 90000000\n", "more than 100000000 samples"),
    ],
)
def test_other_records_of_segments_are_refused(tmp_path: Path, master: str, reason: str) -> None:
    with pytest.raises(RecordingError, match=reason):
        read_recording(write(tmp_path, master))


def test_segments_of_other_leads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="segment 'D2' has other leads"):
        read_recording(write(tmp_path, second="I II V2"))
