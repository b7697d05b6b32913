"""Every quirk of real headers and signal files; each way in gives the same recording; nothing but RecordingError."""

import os
import pickle
import re
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leadwise.ecg import header as header_module
from leadwise.ecg.header import LeadHeader, parse_header
from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.ecg.recording import read_header, read_recording, recording_from_arrays
from leadwise.ecg.repairs import REPAIRS, RecordingError, Repair
from tests.conftest import LEADS, header_text, v4_matrix

# Headers of the Challenge, shortened to two leads.
STYLE_2020 = """A0001 2 500 7500 12-May-2020 12:33:59
A0001.mat 16+24 1000/mV 16 0 28 -1716 0 I
A0001.mat 16+24 1000/mV 16 0 7 2029 0 II
#Age: 74
#Sex: Male
#Dx: 59118001
#Rx: Unknown
"""
STYLE_EMORY = """E00018.mat 2 500 5000 05-May-2020 14:50:55
E00018.mat 16+24 4880/mV 16 0 58 -15141 0 I
E00018.mat 16+24 4880/mV 16 0 0 30738 0 II
#Age: 55
#Sex: Female
#Dx: 426783006,427084000
"""
STYLE_2021 = """JS20005 2 500 5000
JS20005.mat 16x1+24 1000.0(0)/mV 16 0 -346 5254 0 I
JS20005.mat 16x1+24 1000.0(0)/mV 16 0 -381 32659 0 II
# Age: 83
# Sex: Male
# Dx: 284470004,89792004
"""


def names(repairs):
    return [repair.name for repair in repairs]


def same(first, second):
    """Whether two recordings are equal in everything, to the bit."""
    return (
        first.header == second.header
        and first.repairs == second.repairs
        and first.counts.dtype == second.counts.dtype
        and first.counts.shape == second.counts.shape
        and first.counts.tobytes() == second.counts.tobytes()
    )


def saved(version="5", compressed=False, **variables):
    """The bytes of a MATLAB file that SciPy writes."""
    stream = BytesIO()
    scipy.io.savemat(stream, variables, format=version, do_compression=compressed)
    return stream.getvalue()


def first_line(line):
    return parse_header(STYLE_2020.replace("A0001 2 500 7500 12-May-2020 12:33:59", line))


def signal_line(line):
    return parse_header(f"A0001 1 500\n{line}\n").leads[0]


def comments(*lines):
    return parse_header("\n".join(["A0001 1 500 5000", "A0001.mat 16+24 1000/mV 16 0 0 0 0 I", *lines]))


# --- Headers


def test_a_header_of_2020():
    header = parse_header(STYLE_2020)
    assert (header.name, header.source, header.sampling_frequency, header.samples) == ("A0001", "A", 500.0, 7500)
    assert header.leads == (
        LeadHeader("I", "A0001.mat", "16+24", 1000.0, 0, 28, -1716),
        LeadHeader("II", "A0001.mat", "16+24", 1000.0, 0, 7, 2029),
    )
    assert (header.age, header.sex, header.codes, header.repairs) == (74.0, "male", ("59118001",), ())


def test_a_record_name_with_mat_and_a_wrong_gain():
    header = parse_header(STYLE_EMORY)
    assert (header.name, header.source, header.sex) == ("E00018", "E", "female")
    assert [lead.adc_gain for lead in header.leads] == [1000.0, 1000.0]
    assert header.repairs == (Repair("wrong-gain", "4880 declared, 1000 counts per mV used"),)


def test_a_header_of_2021():
    header = parse_header(STYLE_2021)
    assert (header.name, header.source, header.samples, header.age) == ("JS20005", "JS", 5000, 83.0)
    assert header.leads[1] == LeadHeader("II", "JS20005.mat", "16x1+24", 1000.0, 0, -381, 32659)
    assert header.codes == ("284470004", "89792004")
    assert header.repairs == ()


@pytest.mark.parametrize(
    ("line", "frequency", "samples"),
    [
        ("A0001 2 500 7500", 500.0, 7500),
        ("A0001.mat 2 500 7500 05-May-2020 14:50:55", 500.0, 7500),
        ("  A0001\t2   257.5 7500", 257.5, 7500),
        ("A0001 2 500/500(0) 7500 12:33:59 12/05/2020", 500.0, 7500),
        ("A0001 2 500.0/1000 7500", 500.0, 7500),
        ("A0001 2 5e2 7500", 500.0, 7500),
        ("A0001 2 500", 500.0, None),
        ("A0001 2 500 0", 500.0, None),
        ("A0001 2 500 12-May-2020 12:33:59", 500.0, None),
        ("A0001 2 500 12:33:59", 500.0, None),
    ],
)
def test_record_lines(line, frequency, samples):
    header = first_line(line)
    assert (header.name, header.sampling_frequency, header.samples) == ("A0001", frequency, samples)
    assert names(header.repairs) == ([] if frequency == 500 else ["unusual-frequency"])


@pytest.mark.parametrize(
    ("fields", "gain", "baseline"),
    [
        ("16+24 1000/mV 16 0 28 -1716 0 I", 1000.0, 0),
        ("16x1+24 1000.0(0)/mV 16 0 28 -1716 0 I", 1000.0, 0),
        ("16 1000/mv 16 0 28 -1716 0 I", 1000.0, 0),
        ("16 1000 16 0 28 -1716 0 I", 1000.0, 0),
        ("212 200(1024)/mV 11 0 995 -22131 0 I", 200.0, 1024),
        ("212 200(-7)/mV 11 1024 995 -22131 0 I", 200.0, -7),  # the gain field's baseline goes before the ADC zero
        ("212 200/mV 11 1024 995 -22131 0 I", 200.0, 1024),
        ("16:3 4880/mV 16 0 28 -1716 0 I", 4880.0, 0),
        ("16 -1000/mV 16 0 28 -1716 0 I", -1000.0, 0),
        ("16 1/uV 16 0 28 -1716 0 I", 1000.0, 0),
        ("16 1/\N{MICRO SIGN}V 16 0 28 -1716 0 I", 1000.0, 0),
        ("16 1e6/V 16 0 28 -1716 0 I", 1000.0, 0),
        ("16 1000/mV I", 1000.0, 0),  # numbers left out from the right
        ("16 1000/mV 16 5 I", 1000.0, 5),
    ],
)
def test_signal_lines(fields, gain, baseline):
    lead = signal_line(f"A0001.mat {fields}")
    assert (lead.name, lead.adc_gain, lead.baseline) == ("I", gain, baseline)


@pytest.mark.parametrize("name", ["aVR", "AVR", "avr", "V1 (chest)", "MLII"])
def test_lead_names_stay_as_they_are(name):
    assert signal_line(f"A0001.mat 16+24 1000/mV 16 0 28 -1716 0 {name}  ").name == name


@pytest.mark.parametrize(
    ("name", "declared", "gain"),
    [
        ("E00018", "4880", 1000.0),
        ("HR00599", "200", 1000.0),
        ("S0001", "2000000", 1000.0),
        ("I0001", "240000", 1000.0),
        ("I0001", "1041000", 1000.0),
        ("I0001", "612345.5", 1000.0),
        # nothing else is rescaled
        ("I0001", "239999", 239999.0),
        ("I0001", "1041001", 1041001.0),
        ("E00018", "4881", 4881.0),
        ("E00018", "200", 200.0),
        ("HR00599", "4880", 4880.0),
        ("HR00599", "-200", -200.0),
        ("A0001", "4880", 4880.0),
        ("JS00001", "200", 200.0),
        ("EX", "4880", 4880.0),  # no number: not the Challenge's Georgia
        ("100", "200", 200.0),
        ("S0001", "1000", 1000.0),
    ],
)
def test_known_wrong_gains_and_only_these_are_corrected(name, declared, gain):
    frequency = {"I0001": 257, "S0001": 1000}.get(name, 500)
    header = parse_header(f"{name} 1 {frequency} 5000\n{name}.mat 16+24 {declared}/mV 16 0 28 -1716 0 I\n")
    assert header.leads[0].adc_gain == gain
    assert names(header.repairs) == ([] if gain == float(declared) else ["wrong-gain"])


@pytest.mark.parametrize("field", ["0/mV", "0", "0.0(0)/mV", ""])
def test_gain_0_or_none_means_200(field):
    header = parse_header(f"HR1 1 500\nHR1.mat 16+24 {field}\n".replace("24 \n", "24\n"))
    assert header.leads[0].adc_gain == 200.0  # not taken for PTB-XL's wrong 200, which is declared
    assert "default-gain" in names(header.repairs)


@pytest.mark.parametrize(
    ("line", "age"),
    [
        ("#Age: 74", 74.0),
        ("# Age: 74", 74.0),
        ("#age:74", 74.0),
        ("  ##  AGE :  74  ", 74.0),
        ("#Age: 0", 0.0),
        ("#Age: 0.25", 0.25),
        ("#Age: 300", 300.0),
        ("#Age: NaN", None),
        ("#Age: -1", None),
        ("#Age: Unknown", None),
        ("#Age:", None),
        ("#Rx: none", None),
    ],
)
def test_ages(line, age):
    header = comments(line)
    assert header.age == age
    assert header.repairs == ()


@pytest.mark.parametrize("text", ["old", "74 years", "301", "inf", "1e999", "7_4", "\N{ARABIC-INDIC DIGIT SEVEN}"])
def test_unreadable_ages_are_unknown_and_named(text):
    header = comments(f"#Age: {text}")
    assert header.age is None
    assert names(header.repairs) == ["unreadable-age"]


@pytest.mark.parametrize(
    ("text", "sex"),
    [
        *((text, "female") for text in ("Female", "female", "FEMALE", "F", "f")),
        *((text, "male") for text in ("Male", "male", "M", "m")),
        *((text, None) for text in ("Unknown", "NaN", "", "unknown", "N/A")),
    ],
)
def test_sexes(text, sex):
    header = comments(f"#Sex: {text}")
    assert header.sex == sex
    assert header.repairs == ()


def test_unreadable_sex_is_unknown_and_named():
    assert comments("#Sex: Frau").sex is None
    assert comments("#Sex: Frau").repairs == (Repair("unreadable-sex", "'Frau'"),)
    assert comments().sex is None


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["#Dx: 270492004,164889003"], ("270492004", "164889003")),
        (["# Dx: 270492004,164889003"], ("270492004", "164889003")),
        (["#Dx:  270492004 ,  164889003 , "], ("270492004", "164889003")),
        (["#Dx: 270492004", "#Dx: 164889003,426783006"], ("270492004", "164889003", "426783006")),
        (["#Dx: ", "#dx: 164889003"], ("164889003",)),
        (["#Dx: AF, Normal"], ("AF", "Normal")),
        (["#Dx:"], ()),
        (["#Dx: ,,"], ()),
        (["#Rx: 1", "#Hx: 2", "#Sx: 3", "#Dxx: 4", "# no field"], ()),
    ],
)
def test_diagnoses(lines, codes):
    assert comments(*lines).codes == codes


def test_a_second_age_or_sex_is_named():
    header = comments("#Age: NaN", "#Age: 70", "#Age: 71", "#Age: 70", "#Sex: F", "#Sex: female", "#Sex: M")
    assert (header.age, header.sex) == (70.0, "female")
    assert header.repairs == (Repair("repeated-comment", "'#Age: 71', '#Sex: M'"),)


LINES = STYLE_2020.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        STYLE_2020.encode(),
        STYLE_2020.rstrip("\n"),
        STYLE_2020.replace("\n", "\r\n"),
        STYLE_2020.replace("\n", "\r\n").encode(),
        STYLE_2020.replace("\n", "\r"),
        STYLE_2020.replace("\n", "\n \n\n"),
        "\n\n" + STYLE_2020,
        "\ufeff" + STYLE_2020,
        b"\xef\xbb\xbf" + STYLE_2020.encode(),
        STYLE_2020.replace("Unknown", "Wei\N{LATIN SMALL LETTER SHARP S}").encode("latin-1"),
        STYLE_2020.replace("Unknown", "Wei\N{LATIN SMALL LETTER SHARP S}").encode("utf-8"),
        b"\xef\xbb\xbf" + STYLE_2020.encode() + b"#Hx: \xe9\n",
        LINES,
        [line + "\n" for line in LINES],
        [line + "\r\n" for line in LINES],
        tuple(f"  {line}\t" for line in LINES),
        [*LINES[3:], *LINES[:3]],  # comments first
    ],
)
def test_line_ends_marks_encodings_and_containers_make_no_difference(text):
    assert parse_header(text) == parse_header(STYLE_2020)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (STYLE_2020, "", "empty"),
        (STYLE_2020, "#Age: 74\n", "empty"),
        ("A0001 2 500 7500", "A0001", "number of leads"),
        ("A0001 2 500 7500", "A0001 two 500 7500", "number of leads 'two'"),
        ("A0001 2 500 7500", "A0001 0 500 7500", "leads"),
        ("A0001 2 500 7500", "A0001 1000000000 500 7500", "'1000000000' leads"),
        ("A0001 2 500 7500", f"A0001 {'9' * 5000} 500 7500", "leads"),
        ("A0001 2 500 7500", "A0001 2 500 1000000000000", "'1000000000000' samples"),
        ("A0001 2 500 7500", f"A0001 2 500 {'9' * 5000}", "samples"),
        ("A0001 2 500 7500", "A0001 2 0 7500", "sampling frequency"),
        ("A0001 2 500 7500", "A0001 2 -500 7500", "sampling frequency"),
        ("A0001 2 500 7500", "A0001 2 nan 7500", "sampling frequency"),
        ("A0001 2 500 7500", "A0001 2 1e300 7500", "sampling frequency"),
        ("A0001 2 500 7500", "A0001 2 1e-9 7500", "sampling frequency"),
        ("A0001 2 500 7500", "A0001 2 \N{ARABIC-INDIC DIGIT FIVE}00 7500", "sampling frequency"),
        ("A0001 2 500 7500", "A0001/3 2 500 7500", "multi-segment"),
        ("A0001 2 500 7500", "../A0001 2 500 7500", "paths"),
        ("A0001 2 500 7500", ".. 2 500 7500", "no name"),
        ("A0001.mat 16", "../../other.mat 16", "'../../other.mat'"),
        ("A0001.mat 16", "/etc/passwd 16", "'/etc/passwd'"),
        ("A0001.mat 16", "C:\\other.mat 16", "folder"),
        ("A0001.mat 16", ".. 16", "folder"),
        ("A0001.mat 16+24", "A0001.mat sixteen", "format 'sixteen'"),
        ("1000/mV", "much/mV", "gain 'much/mV'"),
        ("1000/mV", "1e-9/mV", "gain"),
        ("1000/mV", "1e99/mV", "gain"),
        ("1000/mV", f"1000({'9' * 30})/mV", "too large"),
        ("16 0 28", "16 zero 28", "ADC zero"),
        ("\nA0001.mat 16+24 1000/mV 16 0 28 -1716 0 I\nA0001.mat 16+24 1000/mV 16 0 7 2029 0 II", "", "none"),
        ("A0001.mat 16+24 1000/mV 16 0 28 -1716 0 I\n", "A0001.mat\n", "no format"),
    ],
)
def test_refused_headers(old, new, reason):
    assert old in STYLE_2020
    with pytest.raises(RecordingError, match=re.escape(reason)) as caught:
        parse_header(STYLE_2020.replace(old, new, 1), "A0001.hea")
    assert caught.value.source == "A0001.hea"
    assert str(caught.value) == f"A0001.hea: {caught.value.reason}"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(RecordingError("A0001.hea", "is empty")))
    assert (error.source, error.reason, str(error)) == ("A0001.hea", "is empty", "A0001.hea: is empty")


# --- Ways in


def test_all_real_recordings_by_each_way(shared_folder):
    """The 152 as SciPy reads them, and the same from what the drivers of 2020 and 2021 pass in."""
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
def test_any_of_a_recordings_names(write_record, counts, ending):
    recording = read_recording(f"{write_record()}{ending}")
    np.testing.assert_array_equal(recording.counts, counts)
    assert (recording.name, recording.sampling_frequency, recording.repairs) == ("A0001", 500.0, ())
    assert recording.baseline.tolist() == [0.0] * 12


def test_upper_case_endings(write_record, counts):
    path = write_record()
    for ending in (".hea", ".mat"):
        path.with_suffix(ending).rename(path.with_suffix(ending.upper()))
    np.testing.assert_array_equal(read_recording(path).counts, counts)
    assert read_recording(path.with_suffix(".MAT")).repairs == ()


def test_names_with_dots_and_subfolders(write_record, counts, tmp_path, monkeypatch):
    (tmp_path / "g1").mkdir()
    path = write_record("g1/A0001.v2", header_text("A0001.v2", counts))
    assert same(read_recording(path), read_recording(f"{path}.mat"))
    monkeypatch.chdir(path.parent)
    assert read_recording("A0001.v2").name == "A0001.v2"


def big_endian5(matrix):
    """A version 5 file as a big-endian machine writes it."""
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
    """Also with samples first, which the header's number of leads tells."""
    plain = read_recording(write_record())
    assert same(read_recording(write_record(matrix=VARIANTS[variant](counts))), plain)
    turned = read_recording(write_record(matrix=VARIANTS[variant](np.ascontiguousarray(counts.T))))
    np.testing.assert_array_equal(turned.counts, counts)
    assert turned.repairs == (Repair("transposed", "500 x 12"),)


DTYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64)
DTYPES += (np.dtype(">i2"), np.dtype(">f8"))


@given(st.data(), st.sampled_from(DTYPES))
@settings(deadline=None)
def test_counts_come_in_the_smallest_type_that_holds_them(data, dtype):
    """The naive twin: each value looked at on its own."""
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


def test_saturation_no_value_and_nan_stay(write_record, counts):
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
def test_fewer_leads_in_any_order(write_record, counts, leads):
    few = counts[: len(leads)]
    recording = read_recording(write_record(header=header_text("A0001", few, leads=leads), matrix=v4_matrix(few)))
    assert (recording.lead_names, recording.counts.shape, recording.repairs) == (leads, few.shape, ())


def test_reading_a_challenge_file_needs_neither_scipy_nor_wfdb_nor_torch(write_record):
    program = (
        "import sys\nfrom leadwise.recording import read_recording\nread_recording(sys.argv[1])\n"
        "print([name for name in ('scipy', 'wfdb', 'torch', 'pandas') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(write_record())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


# --- Other WFDB records


def write_wfdb(folder, samples, formats, **options):
    """A record of wfdb's own writing; samples are (time, leads)."""
    leads = samples.shape[1]
    wfdb.wrsamp("rec1", fs=250, units=["mV"] * leads, sig_name=list(LEADS[:leads]), d_signal=samples, fmt=formats,
                adc_gain=[200.0] * leads, baseline=[10] * leads, write_dir=str(folder), **options)  # fmt: skip
    return folder / "rec1"


@pytest.mark.parametrize("code", ["16", "212", "24", "32", "80", "516"])
def test_wfdb_formats(tmp_path, code):
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
def test_older_wfdb_formats(tmp_path, code):
    values = np.random.default_rng(4).integers(-60, 60, 300)
    (tmp_path / "old.dat").write_bytes(ENCODERS[code](values))
    (tmp_path / "old.hea").write_text(f"old 1 250 300\nold.dat {code} 200 12 0 {values[0]} {values.sum()} 0 II\n")
    recording = read_recording(tmp_path / "old")
    np.testing.assert_array_equal(recording.counts, values[None])
    assert recording.repairs == ()


def test_differences_without_a_first_value_begin_at_nought(tmp_path):
    values = np.cumsum(np.random.default_rng(5).integers(-60, 60, 300))
    values -= values[0]
    (tmp_path / "old.dat").write_bytes(ENCODERS["8"](values))
    (tmp_path / "old.hea").write_text("old 1 250 300\nold.dat 8 200\n")
    assert read_recording(tmp_path / "old").counts.tolist() == [values.tolist()]


def test_wfdb_records_with_the_quirks_that_wfdb_refuses(tmp_path):
    """Our parser alone decides: upper-case endings, a byte-order mark, a record name with an ending, no length."""
    samples = np.random.default_rng(3).integers(-900, 900, (100, 2))
    path = write_wfdb(tmp_path, samples, ["16", "16"])
    text = path.with_suffix(".hea").read_text().replace("rec1 2 250 100", "rec1.mat 2 250/250(0)")
    path.with_suffix(".hea").unlink()
    path.with_suffix(".HEA").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"#Hx: \xe9")
    path.with_suffix(".dat").rename(path.with_suffix(".DAT"))
    np.testing.assert_array_equal(read_recording(path).counts, samples.T)


def test_wfdb_records_in_several_files_and_with_several_samples_a_frame(tmp_path):
    one = np.arange(60, dtype="<i2")
    (tmp_path / "one.dat").write_bytes(one.tobytes())
    (tmp_path / "two.dat").write_bytes(b"head" + (one[:30] * 2).astype("<i2").tobytes())
    header = "rec2 2 250 30\none.dat 16x2 200 16 0 0 0 0 I\ntwo.dat 16+4 200 16 0 0 0 0 II\n"
    (tmp_path / "rec2.hea").write_text(header)
    recording = read_recording(tmp_path / "rec2")
    np.testing.assert_array_equal(recording.counts, [one[::2], one[:30] * 2])  # means of 0 and 1, 2 and 3, ... floored


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("rec1 2 250 100", "rec1 2 250 5000", "cut off"),
        ("rec1 2 250 100", "rec1 2 250 100000000", "cut off"),
        ("rec1.dat 16 ", "rec1.dat 17 ", "different formats"),
        ("16 200.0(10)/mV 16 0 1 100 0 I\nrec1.dat 16 ", "17 200\nrec1.dat 17 ", "unknown format 17"),
        ("rec1.dat 16 ", "rec1.dat 16+9999 ", "different formats"),
        ("rec1.dat 16 ", "rec1.dat 16:999999999 ", "skew"),
        ("rec1.dat 16 ", "rec1.dat 16x9999 ", "cut off"),
        ("rec1.dat 16 ", "rec9.dat 16 ", "no such signal file"),
        ("rec1.dat 16 ", "folder 16 ", "no regular file"),
    ],
)
def test_refused_wfdb_records(tmp_path, old, new, reason):
    path = write_wfdb(tmp_path, np.ones((100, 2), np.int64), ["16", "16"])
    (tmp_path / "folder").mkdir()
    header = path.with_suffix(".hea").read_text()
    assert old in header
    path.with_suffix(".hea").write_text(header.replace(old, new, 1))
    with pytest.raises(RecordingError, match=reason):
        read_recording(path)


# --- Repairs: how each comes about. The header text and the matrix of a good record go in, changed ones come out.


def changed(old, new, times=-1):
    def change(header, matrix):
        assert old in header
        return header.replace(old, new, times), matrix

    return change


REPAIRED = {
    "wrong-gain": lambda h, m: (h.replace("A0001", "E0001").replace("1000/mV", "4880/mV"), m),
    "default-gain": changed("1000/mV", "0/mV"),
    "gains-differ": changed("1000/mV", "1009/mV", 1),
    "default-frequency": changed("12 500 500 12-May-2020 12:33:59", "12"),
    "unusual-frequency": changed("12 500 500", "12 400 500"),
    "unknown-unit": changed("1000/mV", "1000/mmHg", 1),
    "lead-count": changed("A0001 12 ", "A0001 13 "),
    "extra-lines": changed("#Age", "Age"),
    "unnamed-leads": changed(" 0 aVR\n", " 0\n"),
    "names-differ": changed("A0001.mat", "A0002.mat", 1),
    "unreadable-field": changed(" 500 12-May-2020", " 5OO 12-May-2020"),
    "unreadable-age": changed("Age: 74", "Age: x4"),
    "unreadable-sex": changed("Sex: Male", "Sex: Mole"),
    "repeated-comment": changed("#Sex", "#Age: 75\n#Sex"),
    "renamed": lambda h, m: (h.replace("A0001", "A0002"), m),
    "variable-name": lambda h, m: (h, m.replace(b"val\0", b"ecg\0", 1)),
    "transposed": lambda h, m: (h, v4_matrix(np.frombuffer(m, "<i2", offset=24).reshape(-1, 12))),
    "length-differs": changed(" 500 12-May-2020", " 501 12-May-2020"),
    "checksum-differs": lambda h, m: (h, m[:-1] + bytes([m[-1] ^ 1])),
}


def test_a_missing_header_is_assumed_where_that_is_asked_for(write_record, counts):
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
    path.with_suffix(".hea").write_text("no header")  # one that is there counts, whatever it says
    with pytest.raises(RecordingError):
        read_recording(path, assume_header=True)


@pytest.mark.parametrize("code", ["16+24", "16x1+24"])
def test_a_first_value_that_differs_is_enough(write_record, counts, code):
    text = header_text("A0001", counts).replace(" 16+24 ", f" {code} ")
    assert read_recording(write_record(header=text)).repairs == ()
    text = text.replace(f" 16 0 {counts[3, 0]} ", f" 16 0 {counts[3, 0] + 1} ")
    assert read_recording(write_record(header=text)).repairs == (Repair("checksum-differs", f"'{LEADS[3]}'"),)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not tell what is open")
def test_reading_leaves_nothing_open(write_record):
    path = write_record()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        read_recording(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_signal_that_the_system_does_not_give_is_named(write_record, monkeypatch):
    path, opened = write_record(), os.open

    def refuse(name, *flags):
        if str(name).endswith(".mat"):
            raise PermissionError(13, "Permission denied")
        return opened(name, *flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RecordingError, match=r"A0001\.mat: cannot be read: Permission denied"):
        read_recording(path)


@pytest.mark.parametrize("name", [name for name in REPAIRS if name != "no-header"])
def test_each_repair_is_named_and_the_signal_stays(write_record, counts, name):
    header, matrix = REPAIRED[name](header_text("A0001", counts), v4_matrix(counts))
    recording = read_recording(write_record("E0001" if name == "wrong-gain" else "A0001", header, matrix))
    assert names(recording.repairs) == [name]
    assert recording.repairs[0].detail
    assert recording.counts.shape == counts.shape
    if name != "checksum-differs":
        np.testing.assert_array_equal(recording.counts, counts)
    if name == "default-frequency":
        assert recording.sampling_frequency == 250.0


def test_permuted_signal_lines_are_noticed(write_record, counts):
    lines = header_text("A0001", counts).splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    recording = read_recording(write_record(header="\n".join(lines)))
    assert recording.repairs == (Repair("checksum-differs", "'II', 'I'"),)


def test_checksums_of_zero_everywhere_are_none(write_record, counts):
    header = re.sub(r"16 0 -?\d+ -?\d+ 0", "16 0 0 0 0", header_text("A0001", counts))
    assert read_recording(write_record(header=header)).repairs == ()


def test_equal_repairs_of_many_leads_are_one():
    header = parse_header("X1 2 500\nX1.mat 16+24 0/mV 16 0 1 2 0 I\nX1.mat 16+24 0/mV 16 0 1 2 0 II\n")
    assert header.repairs == (Repair("default-gain", "200 counts per mV"),)


# --- Refusals


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (b"", "is empty"),
        (b"MAT", "no MATLAB file: 3 bytes"),
        (b"MATLAB", "no MATLAB file"),
        (v4_matrix(np.ones((12, 500)))[:-2], "cut off: 12022 of 12024 bytes"),
        (struct.pack("<5i4s", 30, 12, 2**31 - 1, 0, 4, b"val\0"), "cut off"),
        (struct.pack("<5i4s", 30, 12, -5, 0, 4, b"val\0"), "no MATLAB file"),
        (v4_matrix(np.ones((12, 5)), "x") + v4_matrix(np.ones((12, 500)))[:-2], "cut off"),
        (v4_matrix(np.ones((12, 0))), "no samples"),
        (v4_matrix(np.ones((11, 500))), "11 x 500, the header describes 12 leads"),
        (v4_matrix(np.ones((12, 500)), "ecg") + v4_matrix(np.ones((12, 500)), "raw"), "no matrix val"),
        (saved(val=np.array(["a", "b"])), "no matrix val"),
        (saved(val=np.ones((12, 5), complex)), "no matrix val"),
        (saved(val=np.ones((2, 12, 500))), "no matrix val"),
        (saved(val={"a": 1}), "no matrix val"),
        (struct.pack("<5i4s", 2030, 12, 5, 0, 4, b"val\0") + bytes(120), "no MATLAB file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "no MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600), "HDF5"),
        (bytes(range(256)) * 4, "MATLAB"),
    ],
)
def test_refused_matrices(write_record, matrix, reason):
    path = write_record(matrix=matrix)
    with pytest.raises(RecordingError, match=reason) as caught:
        read_recording(path)
    assert caught.value.source == f"{path}.mat"


def test_a_packed_bomb_is_refused_before_it_is_unpacked(write_record):
    bomb = saved(val=np.zeros((12, 1_500_000), np.int16), compressed=True)
    assert len(bomb) < 50_000
    with pytest.raises(RecordingError, match="declares a matrix of 12 x 1500000"):
        read_recording(write_record(matrix=bomb))


def test_a_packed_silence_is_none(write_record):
    silence = np.zeros((12, 60_000), np.int16)
    assert not read_recording(write_record(matrix=saved(val=silence, compressed=True))).counts.any()


def test_a_wrong_type_inside_a_matrix_of_version_5_is_refused(write_record):
    """SciPy's own reader looks such a type up outside its table and takes the process with it."""
    raw = saved(val=np.ones((12, 40), np.int16))
    tag = struct.pack("<2I", 3, 960)
    assert raw.count(tag) == 1
    with pytest.raises(RecordingError, match="no matrix val"):
        read_recording(write_record(matrix=raw.replace(tag, struct.pack("<2I", 0x9203, 960))))


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
    matrix, target = path.with_suffix(".mat"), tmp_path / "elsewhere.bin"
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
            with pytest.raises(RecordingError, match=r"no regular file|cannot be read") as caught:
                read_recording(path)
            assert caught.value.source == f"{path}{ending}"


def test_a_header_leads_nowhere_else(write_record, tmp_path, counts):
    (tmp_path / "other.mat").write_bytes(v4_matrix(counts))
    (tmp_path / "inside").mkdir()
    for name in ("../other.mat", str(tmp_path / "other.mat"), "..\\other.mat"):
        path = write_record("inside/A0001", header_text("A0001", counts).replace("A0001.mat", name))
        path.with_suffix(".mat").unlink()
        with pytest.raises(RecordingError, match="own folder"):
            read_recording(path)


def test_a_header_that_is_too_large_is_refused(write_record, counts):
    path = write_record(header=header_text("A0001", counts) + "#\n" * 600_000)
    with pytest.raises(RecordingError, match="bytes; at most"):
        read_recording(path)


@pytest.mark.parametrize(
    "data", [np.ones(5), np.ones((3, 12, 5)), np.ones((12, 5), bool), np.ones((12, 0)), 5.0, [[1], [1, 2]]]
)
def test_refused_arrays(counts, data):
    with pytest.raises(RecordingError, match="A0001: "):
        recording_from_arrays(header_text("A0001", counts), data)


# --- Anything at all

HEADER = header_text("A0001", np.arange(12 * 40, dtype=np.int16).reshape(12, 40)).encode()
MATRIX = np.arange(12 * 40, dtype=np.int16).reshape(12, 40)
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from("=+-"), st.binary(max_size=3)), min_size=1, max_size=5
)
ANYTHING = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mutated(raw, edits):
    """Bytes replaced, inserted or deleted at random places."""
    for place, kind, new in edits:
        start = int(place * len(raw))
        end = start + (0 if kind == "+" else len(new) if kind == "=" else 1 + len(new))
        raw = raw[:start] + (b"" if kind == "-" else new) + raw[end:]
    return raw


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


def test_no_changed_digit_of_a_header_changes_the_signal_in_silence():
    """Each digit replaced in turn: refused, a named repair, or the same leads at the same scale.

    The record's name is one of CPSC's, which has 500 Hz alone. Lead names are for signals.py.
    """
    text = HEADER.decode()
    plain = recording_from_arrays(text, MATRIX)
    for place in (match.start() for match in re.finditer("(?<!V)[0-9]", text)):
        changed_text = text[:place] + str((int(text[place]) + 7) % 10) + text[place + 1 :]
        try:
            recording = recording_from_arrays(changed_text, MATRIX)
        except RecordingError:
            continue
        unchanged = (
            recording.lead_names == plain.lead_names
            and recording.adc_gain.tolist() == plain.adc_gain.tolist()
            and recording.baseline.tolist() == plain.baseline.tolist()
        )
        assert recording.repairs or unchanged, changed_text[:place][-40:]


@given(st.text(max_size=200) | st.binary(max_size=200) | st.lists(st.text(max_size=50), max_size=5))
@ANYTHING
def test_any_text_is_read_or_refused(text):
    try:
        parse_header(text)
    except RecordingError as error:
        assert "\n" not in str(error)


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


LINE_WORDS = st.tuples(
    st.sampled_from(["A0001.mat", "A0001.mat", "A0001.mat", "B.mat", "a/b.mat"]),
    st.sampled_from(["16+24", "16", "16x1+24", "16x2", "212"]),
    st.sampled_from(["1000/mV", "1000.0(0)/mV", "4880/mV", "0/mV", "1(3)/mV", "5/kg", "1e99/mV"]),
    st.sampled_from(["16", "16", "12"]),
    st.sampled_from(["0", "0", "7", "x"]),
    st.integers(-40_000, 40_000).map(str) | st.sampled_from(["+3", "9" * 19]),
    st.integers(-40_000, 40_000).map(str) | st.just("no"),
    st.sampled_from(["0", "1"]),
    st.sampled_from(["I", "aVR", "V1", "lead 1", "", "\u00b5", "MLII\u00a0"]),
)


@given(st.lists(LINE_WORDS, min_size=1, max_size=4), st.sampled_from([" ", " ", "  ", "\t"]), st.booleans())
def test_plain_signal_lines_are_read_as_all_others(lines: list[tuple[str, ...]], blank: str, alike: bool) -> None:
    """The short way of reading lines, against the way that every line can go."""
    if alike:  # in file, format and gain
        lines = [(*lines[0][:3], *words[3:]) for words in lines]
    text = "\n".join([f"E0001 {len(lines)} 500 5000", *(blank.join(words) for words in lines)])

    def read() -> object:
        try:
            return parse_header(text)
        except RecordingError as error:
            return str(error)

    short = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(header_module, "_read_plain_leads", lambda lines, source, notes: None)
        assert read() == short


# Bytes that 120 samples take in each of WFDB's formats: signal(5).
BYTES_OF_120 = {"8": 120, "16": 240, "24": 360, "32": 480, "61": 240, "80": 120, "160": 240, "212": 180, "310": 160}
BYTES_OF_120 |= {"311": 160}


@pytest.mark.parametrize("code", BYTES_OF_120)
def test_a_signal_file_that_is_one_byte_short_is_cut_off_whatever_its_format(tmp_path: Path, code: str) -> None:
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


def test_a_header_of_several_matlab_files_without_the_record_s_own_is_refused(tmp_path: Path) -> None:
    lines = ["A0001 2 500 5000", *(f"B{i}.mat 16+24 1000/mV 16 0 0 0 0 {name}" for i, name in enumerate(("I", "II")))]
    (tmp_path / "A0001.hea").write_text("\n".join(lines))
    for index in range(2):
        (tmp_path / f"B{index}.mat").write_bytes(v4_matrix(np.ones((2, 5000), np.int16)))
    with pytest.raises(RecordingError, match=r"A0001\.mat: there is no such signal file"):
        read_recording(tmp_path / "A0001")


def test_a_packed_signal_may_be_a_thousand_times_smaller_and_no_smaller(tmp_path: Path) -> None:
    (tmp_path / "rec.hea").write_text("rec 1 250 2000000\nrec.dat 516 200/mV 12 0 0 0 0 I\n")
    (tmp_path / "rec.dat").write_bytes(bytes(1999))
    with pytest.raises(RecordingError, match="is cut off: 1999 of at least 2000 bytes"):
        read_recording(tmp_path / "rec")


@pytest.mark.parametrize("more", [0, 1, 2])
def test_a_longer_file_is_told_beyond_one_sample_of_padding(tmp_path: Path, more: int) -> None:
    (tmp_path / "rec.hea").write_text("rec 1 250 100\nrec.dat 16 200/mV 16 0\n")
    (tmp_path / "rec.dat").write_bytes(np.arange(100 + more, dtype="<i2").tobytes())
    recording = read_recording(tmp_path / "rec")
    assert recording.counts[0].tolist() == list(range(100))
    assert [repair.detail for repair in recording.repairs if repair.name == "length-differs"] == (
        ["100 declared, 102 there"] if more == 2 else []
    )
