"""Signal files in WFDB's formats; files that cannot be opened, or are shorter or longer than the header declares."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import wfdb

from leadwise.ecg.files.signal_files import parse_format
from leadwise.ecg.recording import read_recording, recording_from_arrays
from leadwise.ecg.repairs import RecordingError, Repair
from tests.conftest import LEADS, header_text
from tests.ecg.recordings import same


def write_wfdb(folder, samples, formats, **options):
    """Write a record with wfdb; samples are (time, leads)."""
    leads = samples.shape[1]
    wfdb.wrsamp("rec1", fs=250, units=["mV"] * leads, sig_name=list(LEADS[:leads]), d_signal=samples, fmt=formats,
                adc_gain=[200.0] * leads, baseline=[10] * leads, write_dir=str(folder), **options)  # fmt: skip
    return folder / "rec1"


@pytest.mark.parametrize("code", ["16", "212", "24", "32", "80", "516"])
def test_formats_that_wfdb_writes_are_read(tmp_path, code):
    limit = {"80": 100, "212": 2000}.get(code, 30000)
    samples = np.random.default_rng(2).integers(-limit, limit, (333, 3))
    if code in ("24", "32"):
        samples *= 100
    path = write_wfdb(tmp_path, samples, [code] * 3, comments=["Age: 50", "Sex: F", "Dx: 426783006"])
    recording = read_recording(path)
    np.testing.assert_array_equal(recording.counts, samples.T)
    assert recording.counts.dtype == (np.int32 if code in ("24", "32") else np.int16)
    assert recording.repairs == ()
    header = recording.header
    assert (header.age, header.sex, header.codes, header.samples) == (50.0, "female", ("426783006",), 333)
    assert recording.adc_gain.tolist() == [200.0] * 3
    assert recording.baseline.tolist() == [10.0] * 3
    text = path.with_suffix(".hea").read_text()
    assert same(recording, recording_from_arrays(text, samples.T.astype(np.float64)))


ENCODERS = {  # formats that wfdb reads but does not write, one value after the other (signal(5))
    "61": lambda values: values.astype(">i2").tobytes(),
    "160": lambda values: (values + 32768).astype("<u2").tobytes(),
    "8": lambda values: np.diff(values, prepend=values[0]).astype(np.int8).tobytes(),
    "311": lambda values: ((values.reshape(-1, 3) & 1023) << [0, 10, 20]).sum(axis=1).astype("<u4").tobytes(),
}


@pytest.mark.parametrize("code", ENCODERS)
def test_formats_that_wfdb_only_reads_are_read(tmp_path, code):
    values = np.random.default_rng(4).integers(-60, 60, 300)
    (tmp_path / "old.dat").write_bytes(ENCODERS[code](values))
    (tmp_path / "old.hea").write_text(f"old 1 250 300\nold.dat {code} 200 12 0 {values[0]} {values.sum()} 0 II\n")
    recording = read_recording(tmp_path / "old")
    np.testing.assert_array_equal(recording.counts, values[None])
    assert recording.repairs == ()


def test_differences_without_a_first_value_begin_at_0(tmp_path):
    values = np.cumsum(np.random.default_rng(5).integers(-60, 60, 300))
    values -= values[0]
    (tmp_path / "old.dat").write_bytes(ENCODERS["8"](values))
    (tmp_path / "old.hea").write_text("old 1 250 300\nold.dat 8 200\n")
    assert read_recording(tmp_path / "old").counts.tolist() == [values.tolist()]


def test_wfdb_records_may_have_the_quirks_that_wfdb_refuses(tmp_path):
    """Only our parser decides: upper-case suffixes, a byte-order mark, a record name with a suffix, no length."""
    samples = np.random.default_rng(3).integers(-900, 900, (100, 2))
    path = write_wfdb(tmp_path, samples, ["16", "16"])
    text = path.with_suffix(".hea").read_text().replace("rec1 2 250 100", "rec1.mat 2 250/250(0)")
    path.with_suffix(".hea").unlink()
    path.with_suffix(".HEA").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"#Hx: \xe9")
    path.with_suffix(".dat").rename(path.with_suffix(".DAT"))
    np.testing.assert_array_equal(read_recording(path).counts, samples.T)


def test_wfdb_records_may_have_several_files_and_several_samples_a_frame(tmp_path):
    one = np.arange(60, dtype="<i2")
    (tmp_path / "one.dat").write_bytes(one.tobytes())
    (tmp_path / "two.dat").write_bytes(b"head" + (one[:30] * 2).astype("<i2").tobytes())
    header = "rec2 2 250 30\none.dat 16x2 200 16 0 0 0 0 I\ntwo.dat 16+4 200 16 0 0 0 0 II\n"
    (tmp_path / "rec2.hea").write_text(header)
    recording = read_recording(tmp_path / "rec2")
    assert recording.sampling_frequency == 500
    between = np.minimum(np.arange(60), 58)  # one is 0, 2, ... at every other sample: the other lead at its frequency
    np.testing.assert_array_equal(recording.counts, [one, between])
    assert recording.repairs == (Repair("samples-per-frame", "1 instead of 2 of 'II'"),)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("rec1 2 250 100", "rec1 2 250 5000", "cut off"),
        ("rec1 2 250 100", "rec1 2 250 100000000", "cut off"),
        ("rec1.dat 16 ", "rec1.dat 17 ", "different formats"),
        ("16 200.0(10)/mV 16 0 1 100 0 I\nrec1.dat 16 ", "17 200\nrec1.dat 17 ", "unknown format 17"),
        ("rec1.dat 16 ", "rec1.dat 16+9999 ", "different formats"),
        ("rec1.dat 16 ", "rec1.dat 16:999999999 ", "skew"),
        ("rec1.dat 16 ", "rec1.dat 16x9999 ", "outside 20 to 20000 Hz"),
        ("rec1.dat 16 ", "rec1.dat 16x50 ", "cut off"),
        ("rec1.dat 16 ", "folder 16 ", "not a regular file"),
    ],
)
def test_unusable_wfdb_records_are_refused(tmp_path, old, new, reason):
    path = write_wfdb(tmp_path, np.ones((100, 2), np.int64), ["16", "16"])
    (tmp_path / "folder").mkdir()
    header = path.with_suffix(".hea").read_text()
    assert old in header
    path.with_suffix(".hea").write_text(header.replace(old, new, 1))
    with pytest.raises(RecordingError, match=reason):
        read_recording(path)


def test_a_file_without_read_permission_is_named(write_record, monkeypatch):
    path, opened = write_record(), os.open

    def refuse(name, *flags):
        if str(name).endswith(".mat"):
            raise PermissionError(13, "Permission denied")
        return opened(name, *flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RecordingError, match=r"A0001\.mat: cannot be read: Permission denied"):
        read_recording(path)


# Bytes of 120 samples in each of WFDB's formats: signal(5).
BYTES_OF_120 = {"8": 120, "16": 240, "24": 360, "32": 480, "61": 240, "80": 120, "160": 240, "212": 180, "310": 160}
BYTES_OF_120 |= {"311": 160}


@pytest.mark.parametrize("code", BYTES_OF_120)
def test_a_signal_file_of_any_format_that_is_one_byte_short_is_refused(tmp_path: Path, code: str) -> None:
    needed = BYTES_OF_120[code]
    header = f"rec 1 250 120\nrec.dat {code} 200/mV 12 0 0 0 0 I\n"
    (tmp_path / "rec.hea").write_text(header)
    (tmp_path / "rec.dat").write_bytes(bytes(needed - 1))
    with pytest.raises(RecordingError, match=f"is cut off: {needed - 1} of at least {needed} bytes"):
        read_recording(tmp_path / "rec")
    (tmp_path / "rec.hea").write_text(header.replace(" 120\n", "\n"))  # without a length one sample is enough
    (tmp_path / "rec.dat").write_bytes(b"")
    with pytest.raises(RecordingError, match=rf"is cut off: 0 of at least {-(-needed // 120)} bytes"):
        read_recording(tmp_path / "rec")


def test_a_flac_file_may_have_a_thousandth_of_the_samples_in_bytes_but_not_less(tmp_path: Path) -> None:
    (tmp_path / "rec.hea").write_text("rec 1 250 2000000\nrec.dat 516 200/mV 12 0 0 0 0 I\n")
    (tmp_path / "rec.dat").write_bytes(bytes(1999))
    with pytest.raises(RecordingError, match="is cut off: 1999 of at least 2000 bytes"):
        read_recording(tmp_path / "rec")


@pytest.mark.parametrize("more", [0, 1, 2])
def test_a_longer_file_is_a_repair_beyond_one_sample_of_padding(tmp_path: Path, more: int) -> None:
    (tmp_path / "rec.hea").write_text("rec 1 250 100\nrec.dat 16 200/mV 16 0\n")
    (tmp_path / "rec.dat").write_bytes(np.arange(100 + more, dtype="<i2").tobytes())
    recording = read_recording(tmp_path / "rec")
    assert recording.counts[0].tolist() == list(range(100))
    assert [repair.detail for repair in recording.repairs if repair.name == "length-differs"] == (
        ["100 declared, 102 there"] if more == 2 else []
    )


@pytest.mark.parametrize(
    ("text", "parts"), [("16", ("16", 1, 0, 0)), ("16+24", ("16", 1, 0, 24)), ("212x4:3+9", ("212", 4, 3, 9))]
)
def test_a_format_has_samples_a_frame_skew_and_offset(text: str, parts: tuple[str, int, int, int]) -> None:
    assert parse_format(text) == parts


@pytest.mark.parametrize(
    ("named", "file", "repaired"),
    [
        ("./rec1.dat", "rec1.dat", False),
        ("data/rec1.dat", "rec1.dat", False),
        ("C:\\data\\rec1.dat", "rec1.dat", False),
        ("/somewhere/else/rec1.dat", "rec1.dat", False),
        ("../rec1.dat", "rec1.dat", False),
        ("rec1.dat", "REC1.DAT", False),
        ("Rec1.Dat", "rec1.dat", False),
        ("sub/rec1.dat", "sub/rec1.dat", False),
        ("rec1", "rec1.dat", True),
        ("old.dat", "rec1.dat", True),
        ("..", "rec1.dat", True),
    ],
)
def test_a_signal_file_is_found_in_the_record_s_folder(tmp_path: Path, named: str, file: str, repaired: bool) -> None:
    path = write_wfdb(tmp_path, np.arange(200).reshape(100, 2), ["16", "16"])
    expected = read_recording(path).counts
    (tmp_path / "sub").mkdir()
    (tmp_path / "rec1.dat").rename(tmp_path / file)
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace("rec1.dat", named))
    recording = read_recording(path)
    assert np.array_equal(recording.counts, expected)
    assert ("renamed" in [repair.name for repair in recording.repairs]) == repaired


@pytest.mark.parametrize("named", ["A0001", "./A0001.mat", "data/A0001.mat", "B7.mat", "B7", "/x/A0001.mat"])
def test_a_matlab_file_is_found_in_the_record_s_folder(write_record, counts, named: str) -> None:
    recording = read_recording(write_record(header=header_text("A0001", counts).replace("A0001.mat", named)))
    assert np.array_equal(recording.counts, counts)
    assert ("renamed" in [repair.name for repair in recording.repairs]) == (named in ("B7.mat", "B7", "A0001"))


def test_of_two_signal_files_none_is_guessed(tmp_path: Path) -> None:
    path = write_wfdb(tmp_path, np.arange(200).reshape(100, 2), ["16", "16"])
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace("rec1.dat", "old"))
    (tmp_path / "rec1.mat").write_bytes(b"")
    with pytest.raises(RecordingError, match="no such signal file"):
        read_recording(path)
    (tmp_path / "rec1.mat").unlink()
    header.write_text(header.read_text().replace("old", "other.xyz"))
    for name in ("OTHER.xyz", "Other.xyz"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(RecordingError, match=r"other\.xyz: there is no such signal file"):
        (tmp_path / "rec1.dat").unlink()
        read_recording(path)


def test_a_record_is_read_without_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wfdb(tmp_path, np.arange(200).reshape(100, 2), ["16", "16"])
    monkeypatch.setattr(tempfile, "_get_default_tempdir", lambda: 1 / 0)
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert read_recording(path).counts.shape == (2, 100)


def test_a_path_that_names_several_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a::b").mkdir()
    with pytest.raises(RecordingError, match="'::' in the path"):
        read_recording(write_wfdb(tmp_path / "a::b", np.arange(200).reshape(100, 2), ["212", "212"]))


@pytest.mark.parametrize("frames", [None, 40])
def test_one_file_of_16_bits_is_read_as_wfdb_does(tmp_path: Path, frames: int | None) -> None:
    counts = np.random.default_rng(4).integers(-32768, 32767, (50, 3)).astype("<i2")
    (tmp_path / "rec.dat").write_bytes(b"x" * 6 + counts.tobytes() + b"y")
    lines = [f"rec.dat 16+6 200/mV 16 0 {first} 0 0 {lead}" for lead, first in zip(LEADS, counts[0], strict=False)]
    (tmp_path / "rec.hea").write_text("\n".join([f"rec 3 250 {frames or ''}", *lines]))
    found = read_recording(tmp_path / "rec").counts.T
    assert np.array_equal(found, counts[:frames])
    if frames:
        assert np.array_equal(found, wfdb.rdrecord(tmp_path / "rec", physical=False).d_signal)


@pytest.mark.parametrize("frames", [8, 20])
def test_several_samples_a_frame_are_read_one_by_one(tmp_path: Path, frames: int) -> None:
    counts = np.random.default_rng(3).integers(-3000, 3000, (12, 50 * frames))
    (tmp_path / "F.dat").write_bytes(counts.reshape(12, 50, frames).transpose(1, 0, 2).astype("<i2").tobytes())
    lines = [f"F.dat 16x{frames} 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (tmp_path / "F.hea").write_text("\n".join([f"F 12 {500 / frames:g} 50", *lines]))
    recording = read_recording(tmp_path / "F")
    assert recording.sampling_frequency == 500 and np.array_equal(recording.counts, counts)
    assert not recording.repairs
