"""Files and arrays give the same recording, and nothing but RecordingError is raised."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leadwise.ecg.header import declared_seconds
from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.ecg.recording import expected_seconds, read_header, read_recording, recording_from_arrays
from leadwise.ecg.repairs import REPAIRS, RecordingError, Repair
from tests.conftest import LEADS, header_text, v4_matrix
from tests.ecg.recordings import ANYTHING, EDITS, HEADER, MATRIX, mutated, names, same, saved


def test_real_files_and_the_drivers_arrays_give_the_same_recordings(shared_folder):
    """All 152 recordings as SciPy reads them, and from the arguments of the drivers of 2020 and 2021."""
    repaired = {}
    paths = sorted((shared_folder / "data" / "challenge").glob("*.hea"))
    assert len(paths) == 152
    for path in paths:
        recording = read_recording(path)
        matrix = scipy.io.loadmat(path.with_suffix(".mat"))["val"]
        np.testing.assert_array_equal(recording.counts, matrix)
        assert recording.counts.dtype == np.int16
        with path.open() as file:
            lines = file.readlines()
        assert same(recording, recording_from_arrays(lines, matrix.astype(np.float64)))
        assert same(recording, recording_from_arrays("".join(lines), matrix))
        assert (recording.lead_names, recording.adc_gain.tolist()) == (LEADS, [1000.0] * 12)
        repaired |= {path.stem: names(recording.repairs)} if recording.repairs else {}
    assert set(map(tuple, repaired.values())) == {("wrong-gain",)}
    assert sorted(name[:2] for name in repaired) == ["E0", "E0", "HR", "HR"]


@pytest.mark.parametrize("ending", ["", ".hea", ".mat", ".HEA"])
def test_a_recording_is_found_by_its_path_with_any_suffix(write_record, counts, ending):
    recording = read_recording(f"{write_record()}{ending}")
    np.testing.assert_array_equal(recording.counts, counts)
    assert (recording.name, recording.sampling_frequency, recording.repairs) == ("A0001", 500.0, ())
    assert recording.baseline.tolist() == [0.0] * 12


def test_suffixes_in_upper_case_are_found(write_record, counts):
    path = write_record()
    for ending in (".hea", ".mat"):
        path.with_suffix(ending).rename(path.with_suffix(ending.upper()))
    np.testing.assert_array_equal(read_recording(path).counts, counts)
    assert read_recording(path.with_suffix(".MAT")).repairs == ()


def test_names_may_have_dots_and_subfolders(write_record, counts, tmp_path, monkeypatch):
    (tmp_path / "g1").mkdir()
    path = write_record("g1/A0001.v2", header_text("A0001.v2", counts))
    assert same(read_recording(path), read_recording(f"{path}.mat"))
    monkeypatch.chdir(path.parent)
    assert read_recording("A0001.v2").name == "A0001.v2"


DTYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64)
DTYPES += (np.dtype(">i2"), np.dtype(">f8"))


@given(st.data(), st.sampled_from(DTYPES))
@settings(deadline=None)
def test_counts_come_in_the_smallest_type_that_holds_them(data, dtype):
    """Compare with a test of each value on its own."""
    values = data.draw(arrays(dtype, st.tuples(st.just(2), st.integers(1, 5))))
    counts = recording_from_arrays("X 2 500\na.dat 16\na.dat 16\n", values).counts
    whole = [float(value).is_integer() for value in values.ravel()]
    fits = {
        kind: all(np.iinfo(kind).min <= value <= np.iinfo(kind).max for value in values.ravel().tolist())
        for kind in (np.int16, np.int32)
    }
    expected = np.int16 if all(whole) and fits[np.int16] else np.int32 if all(whole) and fits[np.int32] else np.float64
    assert counts.dtype == expected
    assert counts.flags.c_contiguous
    assert not counts.flags.writeable
    np.testing.assert_array_equal(counts, values.astype(np.float64))


def test_saturation_no_value_and_nan_are_kept(write_record, counts):
    counts[0, :3] = [32767, -32768, -32768]
    counts[1] = 0
    path = write_record(header=header_text("A0001", counts), matrix=v4_matrix(counts))
    np.testing.assert_array_equal(read_recording(path).counts, counts)
    values = counts.astype(np.float64)
    values[2, 5] = np.nan
    recording = recording_from_arrays(header_text("A0001", counts), values)
    assert recording.counts.dtype == np.float64
    np.testing.assert_array_equal(recording.counts, values)


def test_the_drivers_array_is_copied(counts):
    recording = recording_from_arrays(header_text("A0001", counts), counts)
    before = recording.counts.copy()
    counts += 1
    np.testing.assert_array_equal(recording.counts, before)


@pytest.mark.parametrize("leads", [LEADS[:6], ("I", "II", "III", "V2"), ("I", "II", "V2"), ("I", "II"), ("V3", "avr")])
def test_any_leads_in_any_order_are_read(write_record, counts, leads):
    few = counts[: len(leads)]
    recording = read_recording(write_record(header=header_text("A0001", few, leads=leads), matrix=v4_matrix(few)))
    assert (recording.lead_names, recording.counts.shape, recording.repairs) == (leads, few.shape, ())


def test_reading_a_challenge_file_needs_neither_scipy_nor_wfdb_nor_torch(write_record):
    program = (
        "import sys\nfrom leadwise.ecg.recording import read_recording\nread_recording(sys.argv[1])\n"
        "print([name for name in ('scipy', 'wfdb', 'torch', 'pandas') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(write_record())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_missing_header_is_assumed_only_on_request(write_record, counts):
    path = write_record()
    path.with_suffix(".hea").unlink()
    with pytest.raises(RecordingError, match="no such header"):
        read_recording(path)
    recording = read_recording(path, assume_header=True)
    np.testing.assert_array_equal(recording.counts, counts)
    assert recording.lead_names == STANDARD_LEADS and recording.sampling_frequency == 500.0
    assert recording.header.age is None and recording.header.sex is None and recording.header.codes == ()
    assert not recording.baseline.any() and set(recording.adc_gain) == {1000.0}
    assert recording.repairs == (Repair("no-header", "12 leads at 500 Hz"),)
    path.with_suffix(".hea").write_text("no header")  # an existing header is used, readable or not
    with pytest.raises(RecordingError):
        read_recording(path, assume_header=True)


@pytest.mark.parametrize("code", ["16+24", "16x1+24"])
def test_a_wrong_first_value_is_detected(write_record, counts, code):
    text = header_text("A0001", counts).replace(" 16+24 ", f" {code} ")
    assert read_recording(write_record(header=text)).repairs == ()
    text = text.replace(f" 16 0 {counts[3, 0]} ", f" 16 0 {counts[3, 0] + 1} ")
    assert read_recording(write_record(header=text)).repairs == (Repair("checksum-differs", f"'{LEADS[3]}'"),)


def test_exchanged_signal_lines_are_detected(write_record, counts):
    lines = header_text("A0001", counts).splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    recording = read_recording(write_record(header="\n".join(lines)))
    assert recording.repairs == (Repair("checksum-differs", "'II', 'I'"),)


def test_checksums_that_are_all_zero_are_ignored(write_record, counts):
    header = re.sub(r"16 0 -?\d+ -?\d+ 0", "16 0 0 0 0", header_text("A0001", counts))
    assert read_recording(write_record(header=header)).repairs == ()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list open files")
def test_reading_leaves_no_file_open(write_record):
    path = write_record()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        read_recording(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_missing_files_are_named(write_record, tmp_path):
    path = write_record()
    path.with_suffix(".mat").unlink()
    with pytest.raises(RecordingError, match=r"A0001\.mat: there is no such signal file"):
        read_recording(path)
    path.with_suffix(".hea").unlink()
    for read in (read_header, read_recording):
        with pytest.raises(RecordingError, match=r"A0001\.hea: there is no such header"):
            read(path.with_suffix(".mat"))
    with pytest.raises(RecordingError, match="no such header"):
        read_recording(tmp_path)
    with pytest.raises(RecordingError):
        read_recording("a\0b")


def test_only_regular_files_are_opened(write_record, tmp_path, counts):
    path = write_record()
    matrix, target = path.with_suffix(".mat"), tmp_path / "target.bin"
    matrix.rename(target)
    matrix.symlink_to(target)
    np.testing.assert_array_equal(read_recording(path).counts, counts)  # a link to a regular file is one
    for name, make in {
        "FIFO": os.mkfifo,
        "folder": os.mkdir,
        "device": lambda place: place.symlink_to("/dev/zero"),
        "loop": lambda place: place.symlink_to(place),
        "broken": lambda place: place.symlink_to(tmp_path / "nothing"),
    }.items():
        for ending in (".mat", ".hea"):
            path = write_record(f"{name}{ending[1:]}")
            path.with_suffix(ending).unlink()
            make(path.with_suffix(ending))
            with pytest.raises(RecordingError, match=r"not a regular file|cannot be read") as caught:
                read_recording(path)
            assert caught.value.source == f"{path}{ending}"


def test_a_header_cannot_name_files_of_another_folder(write_record, tmp_path, counts):
    (tmp_path / "other.mat").write_bytes(v4_matrix(counts))
    (tmp_path / "inside").mkdir()
    for name in ("../other.mat", str(tmp_path / "other.mat"), "..\\other.mat"):
        path = write_record("inside/A0001", header_text("A0001", counts).replace("A0001.mat", name))
        path.with_suffix(".mat").unlink()
        with pytest.raises(RecordingError, match="no such signal file") as caught:
            read_recording(path)
        assert caught.value.source == str(tmp_path / "inside" / "other.mat")


def test_a_header_that_is_too_large_is_refused(write_record, counts):
    path = write_record(header=header_text("A0001", counts) + "#\n" * 600_000)
    with pytest.raises(RecordingError, match="bytes; at most"):
        read_recording(path)


@pytest.mark.parametrize(
    "data", [np.ones(5), np.ones((3, 12, 5)), np.ones((12, 5), bool), np.ones((12, 0)), 5.0, [[1], [1, 2]]]
)
def test_unusable_arrays_are_refused(counts, data):
    with pytest.raises(RecordingError, match="A0001: "):
        recording_from_arrays(header_text("A0001", counts), data)


@given(EDITS)
@ANYTHING
def test_a_mutated_header_is_read_or_refused(write_record, edits):
    path = write_record(header=mutated(HEADER, edits), matrix=v4_matrix(MATRIX))
    try:
        recording = read_recording(path)
    except RecordingError:
        return
    np.testing.assert_array_equal(recording.counts, MATRIX)
    assert {repair.name for repair in recording.repairs} <= set(REPAIRS)


def test_a_header_of_several_matlab_files_needs_the_record_s_own_file(tmp_path: Path) -> None:
    lines = ["A0001 2 500 5000", *(f"B{i}.mat 16+24 1000/mV 16 0 0 0 0 {name}" for i, name in enumerate(("I", "II")))]
    (tmp_path / "A0001.hea").write_text("\n".join(lines))
    for index in range(2):
        (tmp_path / f"B{index}.mat").write_bytes(v4_matrix(np.ones((2, 5000), np.int16)))
    with pytest.raises(RecordingError, match=r"A0001\.mat: there is no such signal file"):
        read_recording(tmp_path / "A0001")


@pytest.mark.parametrize(("code", "dtype", "offset"), [("80", "u1", 128), ("160", "<u2", 32768)])
def test_the_offset_of_unsigned_numbers_is_subtracted(write_record, counts, code: str, dtype: str, offset: int) -> None:
    signed = counts // 32 if code == "80" else counts
    header = header_text("A0001", signed).replace("16+24", f"{code}+24")
    stored = (signed.astype(int) + offset).astype(dtype)
    from_file = read_recording(write_record(header=header, matrix=saved("4", val=stored)))
    assert np.array_equal(from_file.counts, signed) and not from_file.repairs
    assert same(from_file, recording_from_arrays(header, stored.astype(float)))
    assert np.array_equal(recording_from_arrays(header, signed).counts, signed)  # subtracted already


@pytest.mark.parametrize("unit", ["counts", "mV"])
def test_a_structure_without_header_is_read_in_counts_or_mv(tmp_path: Path, counts, unit: str) -> None:
    data = counts if unit == "counts" else counts / 1000
    (tmp_path / "S1.mat").write_bytes(saved(ECG={"sex": "Female", "age": 61, "data": data}))
    recording = read_recording(tmp_path / "S1", assume_header=True)
    np.testing.assert_allclose(recording.counts / recording.adc_gain[:, None], counts / 1000, atol=1e-12)
    assert (recording.header.age, recording.header.sex) == (61.0, "female")
    assert [repair.name for repair in recording.repairs] == ["no-header", "structure"]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("A1 12 500 7500 12-May-2020 12:33:59\n", 15.0),
        ("\ufeff# comment\n\n A1 12 360.5/360(0) 721\nA1.mat 16 1000/mV\n", 2.0),
        ("A1/3 12 250 21600000\n", 86400.0),
        ("A1 12 500\nA1.mat 16 1000/mV 16 0\n", 1.0),  # the rest: by the size of the signal file
        ("A1 12 0 500\n", 1.0),
        ("A1 12 500 many\n", 1.0),
        ("A1 12 nan 500\n", 1.0),
        ("", 1.0),
        (None, 1.0),
    ],
)
def test_the_duration_is_expected_by_the_first_line_or_by_the_size(
    tmp_path: Path, header: str | None, seconds: float
) -> None:
    assert expected_seconds(tmp_path / "A1.hea") == 0
    (tmp_path / "A1.mat").write_bytes(bytes(12 * 500 * 2))
    if header is not None:
        (tmp_path / "A1.hea").write_text(header, encoding="utf-8")
    assert expected_seconds(tmp_path / "A1.hea") == seconds
    assert expected_seconds(tmp_path / "array 1") == 0


@given(raw=st.binary(max_size=60))
def test_no_header_makes_the_expected_duration_fail(raw: bytes) -> None:
    assert (declared_seconds(raw) or 1) > 0
