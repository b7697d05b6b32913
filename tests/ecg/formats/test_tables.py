"""Tests of CSV files: delimiters, units, times, missing values, errors."""

from collections.abc import Callable

import numpy as np
import pytest

from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from tests.ecg.formats import files

Read = Callable[..., Recording]


def text(head: str, step: float = 0.002, rows: int = 50) -> bytes:
    lines = [f"{n * step:.6g},{n % 7 / 1000:.3f},{-n / 1000:.3f}" for n in range(rows)]
    return "\n".join([head, *lines]).encode()


def names(recording: Recording) -> list[str]:
    return [repair.name for repair in recording.repairs]


@pytest.mark.parametrize(
    ("head", "step", "frequency"),
    [
        ("time,I,II", 0.002, 500),
        ("t,I,II", 0.004, 250),
        ("Time (s),I,II", 0.001, 1000),
        ("time_ms,I,II", 2, 500),
        ("TIME [ms],I,II", 10, 100),
        ("time,I,II", 4, 250),  # seconds would be a quarter of a hertz
        ("elapsed time,I,II", 1 / 257, 257),
        ("time (us),I,II", 2000, 500),
        ("s,I,II", 0.008, 125),
    ],
)
def test_times_give_the_sampling_frequency(head: str, step: float, frequency: float, read: Read) -> None:
    recording = read(text(head, step), 999)
    assert recording.sampling_frequency == frequency and recording.lead_names == ("I", "II")
    assert (recording.counts[1] == -np.arange(50)).all() and set(recording.adc_gain) == {1000}


def test_without_times_the_frequency_must_be_given(read: Read) -> None:
    raw = files.table(time=None)
    assert read(raw, 360).sampling_frequency == 360
    with pytest.raises(RecordingError, match="its sampling frequency must be given"):
        read(raw)


@pytest.mark.parametrize(
    ("head", "row", "microvolts", "assumed"),
    [
        ("I (mV),II (uV)", "0.5,250", (500, 250), False),
        ("I [V],II_mV", "0.0005,0.25", (500, 250), False),
        ("I (µV),II (μV)", "500,250", (500, 250), False),
        ("I,II", "0.5,0.25", (500, 250), True),
        ("I,II", "500,250", (500, 250), True),
    ],
)
def test_units_stand_behind_the_name_or_are_assumed(
    head: str, row: str, microvolts: tuple[int, int], assumed: bool, read: Read
) -> None:
    recording = read(f"{head}\n{row}\n{row}\n".encode(), 500)
    assert recording.counts[:, 0].tolist() == list(microvolts) and set(recording.adc_gain) == {1000}
    assert names(recording) == ["unit-assumed"] * assumed


def test_other_channels_are_left_out_and_names_are_kept(read: Read) -> None:
    recording = read(b"lead I (mV),SpO2 (%),MDC_ECG_LEAD_AVR,\n0.1,97,0.2,0\n0.3,97,0.4,1\n", 500)
    assert recording.lead_names == ("lead I (mV)", "MDC_ECG_LEAD_AVR")
    assert sorted(names(recording)) == ["channel-not-voltage", "column-ignored", "unit-assumed"]


@pytest.mark.parametrize(
    "raw", [b"I;II\n0,5;-1,25\n;0,75\n", b"\xef\xbb\xbf'I'\t\"II\"\r\n0.5\t-1.25\r\nNaN\t0.75\r\n"]
)
def test_decimal_commas_quotes_line_ends_and_missing_values(raw: bytes, read: Read) -> None:
    counts = read(raw, 500).counts
    assert np.array_equal(counts, [[500, np.nan], [-1250, 750]], equal_nan=True)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"I,II\n0.1,0.2\n0.1,x\n", "line 3 has a value that is no number: '0.1,x'"),
        (b"I,II\n0.1,0.2\n\n0.1\n", "line 4 has 1 values, the first line 2 names"),
        (b"I,II\n0.1,0.2\n1_0,0\n", "line 3 has a value that is no number"),
        (text("time,I,II", rows=20) + b"\n1.5,0,0\n", "the times in its column 'time' are not equidistant"),
        (b"time,I\n0,1\n0,1\n", "not equidistant"),
        (b"time,I\n0,1\n,1\n", "times are missing"),
        (b"time,I\n0,1\n", "times are missing"),
        (b"V1" + b",x" * 300 + b"\n0" + b",0" * 300 + b"\n", "301 columns; at most 256"),
    ],
)
def test_errors_name_the_line_or_column(raw: bytes, reason: str, read: Read) -> None:
    with pytest.raises(RecordingError, match=reason.replace("'", ".")):
        read(raw, 500)
