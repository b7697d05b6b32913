"""Read one ECG: a header and ADC counts, the same bit for bit from files and from the organisers' drivers.

Files are a `.hea`/`.mat` pair or any other WFDB record; any error in them raises `RecordingError`. Only regular files
of the record's own folder are opened, and nothing is allocated before the file is known to hold it. Samples are neither
scaled nor repaired: WFDB's "no value" (-32768) is kept, since a truly saturated sample is the same number. Stretches
without any ECG (`padding.py`) are cut out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.files.matlab import MatlabContent, read_matrix
from leadwise.ecg.files.segments import GAP, SegmentList, join_segments, parse_segments
from leadwise.ecg.files.signal_files import (
    MAX_SIGNAL_BYTES,
    WFDB_SUFFIXES,
    error_reason,
    existing,
    locate_signals,
    parse_format,
    read_bytes,
    read_wfdb,
)
from leadwise.ecg.header import Header, LeadHeader, declared_seconds, in_matlab_file, parse_header, parse_sex
from leadwise.ecg.lead_names import STANDARD_LEADS
from leadwise.ecg.padding import recorded_samples
from leadwise.ecg.repairs import RecordingError, Repair, RepairLog, UnreadableError, quote

MAX_HEADER_BYTES: Final = 1 << 20  # the Challenge's have about 1000
ASSUMED_FREQUENCY: Final = 500.0  # Hz, without a header
ASSUMED_GAIN: Final = 1000.0  # counts per mV, without a header
UNSIGNED_OFFSETS: Final = {"80": 1 << 7, "160": 1 << 15}  # WFDB signal(5): formats of unsigned numbers


@dataclass(frozen=True, eq=False)
class Recording:
    """A header and its signal."""

    header: Header
    counts: NDArray[Any]  # (leads, samples), read-only, in the memory order of the file: int16, int32 or float64
    repairs: tuple[Repair, ...]  # the header's, then the signal's

    @property
    def name(self) -> str:
        """Return the record's name as the header has it."""
        return self.header.name

    @property
    def sampling_frequency(self) -> float:
        """Return the sampling frequency in Hz."""
        return self.header.sampling_frequency

    @property
    def lead_names(self) -> tuple[str, ...]:
        """Return the names as the header spells them, in the order of `counts`."""
        return tuple(lead.name for lead in self.header.leads)

    @property
    def adc_gain(self) -> NDArray[np.float64]:
        """Return the counts per mV, (leads,)."""
        return np.array([lead.adc_gain for lead in self.header.leads], np.float64)

    @property
    def baseline(self) -> NDArray[np.float64]:
        """Return the counts that mean 0 mV, (leads,)."""
        return np.array([lead.baseline for lead in self.header.leads], np.float64)


def read_header(path: str | Path) -> Header:
    """Read NAME.hea, passed as NAME, NAME.hea or NAME.mat. Raises RecordingError, which names the file.

    Of a multi-segment record it has the leads of the first segment."""
    record = _record_path(path)
    raw, found = _header_bytes(record)
    segments = _segments(raw, found)
    if segments is None:
        return parse_header(raw, found)
    first = next((name for name, _ in segments.segments if name != GAP), GAP)
    leads = read_header(_in_same_folder(record, first)).leads
    return replace(segments.header, leads=leads, samples=sum(samples for _, samples in segments.segments))


def expected_seconds(path: str | Path) -> float:
    """Return the duration of a recording by the first line of its header, or else by the size of its file, as if that
    had 12 leads of 16 bits at `ASSUMED_FREQUENCY`. Reads no signal; 0 if there is no file."""
    record = _record_path(path)
    try:
        seconds = declared_seconds(_header_bytes(record)[0])
        if seconds is not None:
            return seconds
    except RecordingError:
        pass  # whoever reads the recording will say so
    try:
        size = os.stat(existing(record, ".mat") or existing(record, ".dat") or path).st_size  # noqa: PTH116 (faster)
    except (OSError, ValueError):
        return 0.0
    return size / (2 * len(STANDARD_LEADS) * ASSUMED_FREQUENCY)


def read_recording(path: str | Path, assume_header: bool = False) -> Recording:
    """Read the recording passed as NAME, NAME.hea or NAME.mat, with a signal in any MATLAB or WFDB format.

    The signal is NAME.mat if the header names MATLAB files, and otherwise the files that it names. With `assume_header`
    a NAME.mat without a header is read, with the repair "no-header". Raises RecordingError alone, naming the file."""
    record = _record_path(path)
    repairs = RepairLog()
    if assume_header and existing(record, ".hea") is None and (alone := existing(record, ".mat")) is not None:
        return _read_without_header(record, alone, repairs)
    raw, found = _header_bytes(record)
    segments = _segments(raw, found)
    if segments is not None:
        return _read_segments(record, segments, repairs)
    header, matrix = parse_header(raw, found), None
    try:
        paths = locate_signals(record, list(dict.fromkeys(lead.file for lead in header.leads)), repairs)
        matrix = _matrix_path(record, paths)
        if matrix is None:
            data = read_wfdb(header, paths, repairs)
        else:
            content = read_matrix(read_bytes(matrix, MAX_SIGNAL_BYTES), len(header.leads), repairs)
            header, data = _completed(header, content), content.matrix
        return _recording(header, data, repairs)
    except (UnreadableError, MemoryError) as refusal:
        raise RecordingError(matrix or f"{record}.hea", error_reason(refusal)) from None


def recording_from_arrays(header: str | Sequence[str], data: NDArray[Any]) -> Recording:
    """Return the recording that an organisers' driver passes: header text or lines, and ADC counts (leads, samples).
    Equals `read_recording` of the same files bit for bit; `data` is copied. Raises RecordingError."""
    return recording_from_counts(parse_header(header), data)


def recording_from_counts(header: Header, data: NDArray[Any]) -> Recording:
    """Return the recording of a parsed header and ADC counts (leads, samples), which are copied. Raises
    RecordingError."""
    try:
        return _recording(header, np.array(data), RepairLog())
    except (ValueError, MemoryError) as refusal:  # ours, or NumPy's if the data is no array
        raise RecordingError(header.name, error_reason(refusal)) from None


def _record_path(path: str | Path) -> str:
    """Return the path without its suffix, as a string, since names may have dots in them."""
    text = os.fspath(path)
    return text[:-4] if text[-4:].lower() in WFDB_SUFFIXES else text


def _header_bytes(record: str) -> tuple[bytes, str]:
    """Return the content of NAME.hea and its path."""
    path = f"{record}.hea"
    try:
        return read_bytes(path, MAX_HEADER_BYTES), path
    except RecordingError:
        found = existing(record, ".hea")  # only now: this test takes a fifth of the time of reading
        if found is None:
            raise RecordingError(path, "there is no such header") from None
        if found == path:
            raise
        return read_bytes(found, MAX_HEADER_BYTES), found


def _segments(raw: bytes, path: str) -> SegmentList | None:
    try:
        return parse_segments(raw, path)
    except UnreadableError as refusal:
        raise RecordingError(path, str(refusal)) from None


def _read_segments(record: str, segments: SegmentList, repairs: RepairLog) -> Recording:
    frequency = segments.header.sampling_frequency
    parts: dict[str, Recording] = {}
    for name in dict.fromkeys(name for name, _ in segments.segments if name != GAP):
        if _segments(*_header_bytes(_in_same_folder(record, name))) is not None:
            raise RecordingError(f"{record}.hea", f"segment {quote(name)} has segments itself")
        parts[name] = part = read_recording(_in_same_folder(record, name))
        if part.sampling_frequency != frequency:
            reason = f"segment {quote(name)} has {part.sampling_frequency:g} Hz, the record {frequency:g} Hz"
            raise RecordingError(f"{record}.hea", reason)
        for repair in part.repairs:
            repairs.add(repair.name, repair.detail)
    signals = {name: (part.header.leads, part.counts) for name, part in parts.items()}
    try:
        joined = join_segments(segments, [signals.get(name) for name, _ in segments.segments], repairs)
        return _recording(*joined, repairs, joined=True)
    except (UnreadableError, MemoryError) as refusal:
        raise RecordingError(f"{record}.hea", error_reason(refusal)) from None


def _in_same_folder(record: str, name: str) -> str:
    return os.path.join(os.path.dirname(record), name)  # noqa: PTH118, PTH120


def _read_without_header(record: str, matrix: str, repairs: RepairLog) -> Recording:
    """Read a MATLAB file as twelve standard leads. Whole numbers are counts, 1000 per mV; others are mV."""
    repairs.add("no-header", f"{len(STANDARD_LEADS)} leads at {ASSUMED_FREQUENCY:g} Hz")
    name = Path(record).name
    leads = tuple(LeadHeader(lead, f"{name}.mat", "16", ASSUMED_GAIN, 0) for lead in STANDARD_LEADS)
    header = Header(name, ASSUMED_FREQUENCY, None, leads, None, None, (), ())
    try:
        content = read_matrix(read_bytes(matrix, MAX_SIGNAL_BYTES), len(leads), repairs)
        data = content.matrix
        if data.dtype.kind == "f" and not np.array_equal(data, np.rint(data), equal_nan=True):
            data = data * ASSUMED_GAIN
        return _recording(_completed(header, content), data, repairs)
    except (UnreadableError, MemoryError) as refusal:
        raise RecordingError(matrix, error_reason(refusal)) from None


def _completed(header: Header, content: MatlabContent) -> Header:
    """Return the header with age and sex of a MATLAB structure, if it has none itself."""
    if content.age is None and content.sex is None:
        return header
    age = header.age if header.age is not None else content.age
    return replace(header, age=age, sex=header.sex or parse_sex(content.sex or ""))


def _matrix_path(record: str, paths: Mapping[str, str]) -> str | None:
    """Return the MATLAB file with the signal, or None for WFDB's own formats."""
    found = set(paths.values())
    if not any(map(in_matlab_file, found)):
        return None
    if len(found) > 1:
        raise RecordingError(f"{record}.mat", "there is no such signal file")
    return found.pop()


def _recording(header: Header, data: NDArray[Any], repairs: RepairLog, joined: bool = False) -> Recording:
    """Return the recording if header and array agree, or a repair makes them agree; `joined` from segments, which were
    compared with their own headers."""
    leads, stored = len(header.leads), data.shape
    if data.ndim == 1 and leads == 1:
        data = data[None]  # (1, samples)
    if data.ndim != 2 or leads not in data.shape:
        shape = " x ".join(map(str, stored)) or "a single number"
        raise UnreadableError(f"the signal is {shape}, the header describes {leads} leads")
    if 0 in data.shape:
        raise UnreadableError("the signal has no samples")
    if data.shape[0] != leads:
        repairs.add("transposed", f"{stored[0]} x {stored[1]}")
        data = data.T
    counts = _without_offset(smallest_type(data), header)
    if header.samples not in (None, counts.shape[1]):
        repairs.add("length-differs", f"{header.samples} declared, {counts.shape[1]} there")
    if not joined:
        _compare_checksums(header.leads, counts, repairs)
    recorded = recorded_samples(counts, header.sampling_frequency)
    if recorded is not None:
        repairs.add("padding", f"{np.count_nonzero(~recorded)} of {counts.shape[1]} samples")
        counts = counts[:, recorded]
    counts.flags.writeable = False  # a recording is what its files say; whoever changes samples makes a copy
    return Recording(header, counts, header.repairs + repairs.merged())


def smallest_type(data: NDArray[Any]) -> NDArray[Any]:
    """Return counts as int16, int32 or float64, the first of them that holds every value. Raises UnreadableError for
    what is no real number."""
    if data.dtype.kind not in "iuf":
        raise UnreadableError(f"the signal has values of type {data.dtype}, which are not counts")
    if data.dtype == np.int16:  # as in the Challenge's files: the values need no check
        return data
    for dtype in (np.int16, np.int32):
        with np.errstate(invalid="ignore"):
            counts = data.astype(dtype)  # values that do not fit change, and the comparison fails
        if np.array_equal(counts, data):
            return counts
    return data.astype(np.float64)


def _without_offset(counts: NDArray[Any], header: Header) -> NDArray[Any]:
    """Subtract the offset of WFDB's formats 80 and 160 from a MATLAB file's numbers without sign."""
    offset = UNSIGNED_OFFSETS.get(parse_format(header.leads[0].format).code)  # a matrix has one type for all leads
    if (
        offset is None
        or not in_matlab_file(header.leads[0].file)
        or counts.dtype == np.float64
        or counts.min() < 0
        or counts.max() >= 2 * offset
    ):
        return counts
    return smallest_type(counts.astype(np.int32) - offset)


def _compare_checksums(leads: Sequence[LeadHeader], counts: NDArray[Any], repairs: RepairLog) -> None:
    """Add a repair if a lead's first value or checksum is not as declared, as after a change or exchange of lines."""
    if counts.dtype == np.float64:
        return
    firsts, totals = counts[:, 0].tolist(), _sums(counts).tolist()
    if [lead.first_value for lead in leads] == firsts and [lead.checksum for lead in leads] == totals:
        return  # nearly always
    if not any(lead.first_value or lead.checksum for lead in leads):
        return  # some writers fill these columns with zeros
    if any(parse_format(text)[1:3] != (1, 0) for text in {lead.format for lead in leads}):
        return  # several samples a frame, or skewed: the numbers are of the samples as stored
    differing = [
        quote(lead.name)
        for lead, first, total in zip(leads, firsts, totals, strict=True)
        if (lead.first_value is not None and lead.first_value != first)
        or (lead.checksum is not None and (lead.checksum - total) % 65536)
    ]
    if differing:
        repairs.add("checksum-differs", ", ".join(differing))


def _sums(counts: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of each lead's counts, (leads,), which wraps around as the checksum does. Where a sample's leads
    lie side by side, rows of hundreds of numbers take a tenth of the time of rows of a dozen."""
    add, dtype = np.add.reduce, counts.dtype
    if counts.flags.c_contiguous:
        return np.asarray(add(counts, axis=1, dtype=dtype))
    leads, samples = counts.shape
    row = _samples_per_row(samples)
    end = samples // row * row
    rows = add(counts.T[:end].reshape(-1, row * leads), dtype=dtype)
    sums = add(rows.reshape(row, leads), dtype=dtype)
    return np.asarray(sums if end == samples else sums + add(counts.T[end:], dtype=dtype))


@lru_cache(maxsize=64)
def _samples_per_row(samples: int) -> int:
    return next((row for row in range(100, 31, -1) if samples % row == 0), 64)  # if possible, no samples are left over
