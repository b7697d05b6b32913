"""Tests of NumPy files: shapes, names, units, errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from tests.conftest import LEADS
from tests.ecg.formats import files
from tests.ecg.formats.files import COUNTS

Read = Callable[..., Recording]
MV = COUNTS / 1000


@pytest.mark.parametrize(
    "values",
    [
        MV,
        MV.astype(np.float32),
        np.asfortranarray(MV),
        MV.T,
        MV[None],
        MV.T[..., None],
        COUNTS,
        COUNTS.astype(">i4"),
        MV.astype("<f8"),
    ],
    ids=str,
)
def test_twelve_leads_in_standard_order(values: np.ndarray, read: Read) -> None:
    recording = read(files.npy(values), 500)
    assert recording.lead_names == LEADS and (recording.counts == COUNTS).all() and set(recording.adc_gain) == {1000}
    repairs = {repair.name for repair in recording.repairs} - {"transposed"}
    assert repairs == {"leads-assumed", "unit-assumed"}


def test_an_archive_names_leads_frequency_and_person(read: Read) -> None:
    arrays: dict[str, Any] = {"ecg": MV[:2].T, "lead_names": np.array([b"V1", b"ii"]), "fs": 250.0, "unit": "mV"}
    recording = read(files.npz(**arrays, age=71, sex="F", rpeaks=np.arange(5)))
    assert recording.lead_names == ("V1", "ii") and recording.sampling_frequency == 250
    assert (recording.header.age, recording.header.sex) == (71, "female")
    assert (recording.counts == COUNTS[:2]).all()
    assert [repair.name for repair in recording.repairs] == ["transposed"]
    recording = read(files.npz(anything=COUNTS, sex="other"), 500)
    assert (recording.counts == COUNTS).all() and recording.header.sex is None
    assert {repair.name for repair in recording.repairs} == {"unreadable-sex", "leads-assumed", "unit-assumed"}


def test_missing_samples_stay_missing(read: Read) -> None:
    values = MV.copy()
    values[3, 10:20] = np.nan
    counts = read(files.npy(values), 500).counts
    assert np.isnan(counts[3, 10:20]).all() and (counts[4] == COUNTS[4]).all()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (files.npy(MV[:8]), "the array is 8 x 600; 12 leads are expected"),
        (files.npy(np.zeros((12, 3, 4))), "the array is 12 x 3 x 4"),
        (files.npy(np.zeros((12, 0))), "the signal has no samples"),
        (files.npy(MV + 1j), "type complex128"),
        (files.npy(np.full((12, 9), "a")), "type <U1"),
        (files.npy(np.zeros((12, 9), "U0")), "type <U"),
        (files.npy(MV)[:-1], "is cut off"),
        (files.npz(a=MV, b=MV), "no array named signal; arrays in it: 'a, b'"),
        (files.npz(signal=MV, unit="bananas"), "unknown unit 'bananas'"),
        (files.npz(signal=MV, leads=["I", "II"]), "2 leads have names"),
        (files.npz(**{f"a{n}": np.zeros(1) for n in range(70)}), "has 70 members"),
    ],
)
def test_errors(raw: bytes, reason: str, read: Read) -> None:
    with pytest.raises(RecordingError, match=reason):
        read(raw, 500)


def test_the_frequency_must_be_known(read: Read) -> None:
    for raw in (files.npy(MV), files.npz(signal=MV)):
        with pytest.raises(RecordingError, match="does not state its sampling frequency"):
            read(raw)
