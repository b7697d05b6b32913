"""MATLAB files of any version and type give the same matrix; damaged files and packed bombs are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.ecg.files.matlab import read_matrix
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import RecordingError, Repair, RepairLog, UnreadableError
from tests.conftest import v4_matrix
from tests.ecg.recordings import ANYTHING, EDITS, HEADER, MATRIX, mutated, same, saved


def big_endian5(matrix):
    """Return a version 5 file as a big-endian machine writes it."""
    data = matrix.astype(">i2").tobytes("F")
    body = struct.pack(">4I", 6, 8, 10, 0) + struct.pack(">2I2i", 5, 8, *matrix.shape)
    body += struct.pack(">2I", 1, 3) + b"val".ljust(8, b"\0") + struct.pack(">2I", 3, len(data)) + data
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + struct.pack(">2I", 14, len(body)) + body


VARIANTS = {
    "v4": lambda counts: v4_matrix(counts),
    "v4 of SciPy": lambda counts: saved("4", val=counts),
    "v4 float64": lambda counts: saved("4", val=counts.astype(np.float64)),
    "v4 float32": lambda counts: saved("4", val=counts.astype(np.float32)),
    "v4 int32": lambda counts: saved("4", val=counts.astype(np.int32)),
    "v4 big-endian": lambda counts: (
        struct.pack(">5i4s", 1030, *counts.shape, 0, 4, b"val\0") + counts.astype(">i2").tobytes("F")
    ),
    "v4 with another variable": lambda counts: v4_matrix(np.ones((3, 4)), "other") + v4_matrix(counts),
    "v4 with one after it": lambda counts: v4_matrix(counts) + v4_matrix(np.ones((3, 4)), "other"),
    "v5": lambda counts: saved(val=counts),
    "v5 int32": lambda counts: saved(val=counts.astype(np.int32)),
    "v5 float64": lambda counts: saved(val=counts.astype(np.float64)),
    "v5 compressed": lambda counts: saved(val=counts, compressed=True),
    "v5 big-endian": lambda counts: big_endian5(counts),
    "v5 with others": lambda counts: saved(fs=500, text="ECG", cells=np.array([1, "a"], object), val=counts, x=counts),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_matlab_files_of_all_kinds_are_the_same_recording(write_record, counts, variant):
    """Samples first too, since the header has the number of leads."""
    plain = read_recording(write_record())
    assert same(read_recording(write_record(matrix=VARIANTS[variant](counts))), plain)
    turned = read_recording(write_record(matrix=VARIANTS[variant](np.ascontiguousarray(counts.T))))
    np.testing.assert_array_equal(turned.counts, counts)
    assert turned.repairs == (Repair("transposed", "500 x 12"),)


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (b"", "is empty"),
        (b"MAT", "not a MATLAB file: 3 bytes"),
        (b"MATLAB", "not a readable MATLAB file"),
        (v4_matrix(np.ones((12, 500)))[:-2], "cut off: 12022 of 12024 bytes"),
        (struct.pack("<5i4s", 30, 12, 2**31 - 1, 0, 4, b"val\0"), "cut off"),
        (struct.pack("<5i4s", 30, 12, -5, 0, 4, b"val\0"), "not a readable MATLAB file"),
        (v4_matrix(np.ones((12, 5)), "x") + v4_matrix(np.ones((12, 500)))[:-2], "cut off"),
        (v4_matrix(np.ones((12, 0))), "no samples"),
        (v4_matrix(np.ones((11, 500))), "11 x 500, the header describes 12 leads"),
        (v4_matrix(np.ones((12, 500)), "ecg") + v4_matrix(np.ones((12, 500)), "raw"), "no matrix val"),
        (saved(val=np.array(["a", "b"])), "no matrix val"),
        (saved(val=np.ones((12, 5), complex)), "no matrix val"),
        (saved(val=np.ones((2, 12, 500))), "no matrix val"),
        (saved(val={"a": 1}), "no matrix val"),
        (struct.pack("<5i4s", 2030, 12, 5, 0, 4, b"val\0") + bytes(120), "not a readable MATLAB file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "not a readable MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600), "HDF5"),
        (bytes(range(256)) * 4, "MATLAB"),
    ],
)
def test_damaged_and_unusable_matlab_files_are_refused(write_record, matrix, reason):
    path = write_record(matrix=matrix)
    with pytest.raises(RecordingError, match=reason) as caught:
        read_recording(path)
    assert caught.value.source == f"{path}.mat"


def test_a_packed_bomb_is_refused_before_it_is_unpacked(write_record):
    bomb = saved(val=np.zeros((12, 1_500_000), np.int16), compressed=True)
    assert len(bomb) < 50_000
    with pytest.raises(RecordingError, match="declares a matrix of 12 x 1500000"):
        read_recording(write_record(matrix=bomb))


def test_a_packed_signal_of_zeros_is_not_refused(write_record):
    silence = np.zeros((12, 60_000), np.int16)
    assert not read_recording(write_record(matrix=saved(val=silence, compressed=True))).counts.any()


def test_a_wrong_type_inside_a_matrix_of_version_5_is_refused(write_record):
    """SciPy's own reader looks such a type up outside its table and crashes the process."""
    raw = saved(val=np.ones((12, 40), np.int16))
    tag = struct.pack("<2I", 3, 960)
    assert raw.count(tag) == 1
    with pytest.raises(RecordingError, match="no matrix val"):
        read_recording(write_record(matrix=raw.replace(tag, struct.pack("<2I", 0x9203, 960))))


@given(EDITS, st.sampled_from([v4_matrix(MATRIX), saved(val=MATRIX), saved(val=MATRIX, compressed=True)]))
@ANYTHING
def test_a_mutated_matrix_is_read_or_refused(write_record, edits, raw):
    path = write_record(header=HEADER, matrix=mutated(raw, edits))
    try:
        recording = read_recording(path)
    except RecordingError:
        return
    assert recording.counts.shape[0] == 12
    assert recording.counts.nbytes < 64 * 1032 * (len(raw) + 100)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("data", [MATRIX, MATRIX / 8.0], ids=["counts", "mV"])
def test_a_structure_gives_its_matrix_age_and_sex(compressed: bool, data: np.ndarray) -> None:
    repairs = RepairLog()
    content = read_matrix(saved(compressed=compressed, ECG={"sex": "Male", "age": 74, "data": data}), 12, repairs)
    assert np.array_equal(content.matrix, data) and content.matrix.dtype == data.dtype
    assert (content.age, content.sex) == (74.0, "Male")
    assert list(repairs) == ["structure"]


def test_a_structure_without_a_matrix_of_leads_is_refused_with_its_fields() -> None:
    with pytest.raises(UnreadableError, match=r"ECG\.sex 1 x 4, ECG\.data 3 x 40"):
        read_matrix(saved(ECG={"sex": "Male", "data": MATRIX[:3]}), 12, RepairLog())


@given(EDITS)
@ANYTHING
def test_a_mutated_structure_is_read_or_refused(edits: list[tuple[float, str, bytes]]) -> None:
    raw = mutated(saved(ECG={"sex": "Male", "age": 74, "data": MATRIX}), edits)
    try:
        content = read_matrix(raw, 12, RepairLog())
    except UnreadableError:
        return
    assert content.matrix.nbytes <= len(raw)
