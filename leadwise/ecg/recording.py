"""Read one ECG: a header and ADC counts, the same bit for bit from files and from the organisers' drivers.

Files are a `.hea`/`.mat` pair or any other WFDB record; any error in them raises `RecordingError`. Only regular files
of the record's own folder are opened, and nothing is allocated before the file is known to hold it. Samples are neither
scaled nor repaired: WFDB's "no value" (-32768) is kept, since a truly saturated sample is the same number.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import STANDARD_LEADS, Header, LeadHeader, parse_header, strip_mat_suffix
from leadwise.ecg.matlab import read_matrix
from leadwise.ecg.repairs import RecordingError, Repair, RepairLog, UnreadableError, quote
from leadwise.ecg.signal_files import MAX_SIGNAL_BYTES, error_reason, parse_format, read_bytes, read_wfdb, signal_path

MAX_HEADER_BYTES: Final = 1 << 20  # the Challenge's have about 1000
ASSUMED_FREQUENCY: Final = 500.0  # Hz, without a header
ASSUMED_GAIN: Final = 1000.0  # counts per mV, without a header


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
    """Read NAME.hea, passed as NAME, NAME.hea or NAME.mat. Raises RecordingError, which names the file."""
    record = _record_path(path)
    path = f"{record}.hea"
    try:
        raw = read_bytes(path, MAX_HEADER_BYTES)
    except RecordingError:
        found = _existing(record, ".hea")  # only now: this test takes a fifth of the time of reading
        if found is None:
            raise RecordingError(path, "there is no such header") from None
        if found == path:
            raise
        path, raw = found, read_bytes(found, MAX_HEADER_BYTES)
    return parse_header(raw, path)


def read_recording(path: str | Path, assume_header: bool = False) -> Recording:
    """Read the recording passed as NAME, NAME.hea or NAME.mat, with a signal in any MATLAB or WFDB format.

    The signal is NAME.mat if the header names MATLAB files, and otherwise the files that it names. With `assume_header`
    a NAME.mat without a header is read, with the repair "no-header". Raises RecordingError alone, naming the file."""
    record = _record_path(path)
    repairs = RepairLog()
    assumed = assume_header and _existing(record, ".hea") is None and _existing(record, ".mat") is not None
    header = _assumed_header(record, repairs) if assumed else read_header(path)
    matrix = _matrix_path(record, header, repairs)
    try:
        if matrix is None:
            data = read_wfdb(record, header, repairs)
        else:
            data = read_matrix(read_bytes(matrix, MAX_SIGNAL_BYTES), len(header.leads), repairs)
        return _recording(header, data, repairs)
    except (UnreadableError, MemoryError) as refusal:
        raise RecordingError(str(matrix or f"{record}.hea"), error_reason(refusal)) from None


def recording_from_arrays(header: str | Sequence[str], data: NDArray[Any]) -> Recording:
    """Return the recording that an organisers' driver passes: header text or lines, and ADC counts (leads, samples).
    Equals `read_recording` of the same files bit for bit; `data` is copied. Raises RecordingError."""
    parsed = parse_header(header)
    try:
        return _recording(parsed, np.array(data), RepairLog())
    except (ValueError, MemoryError) as refusal:  # ours, or NumPy's if the data is no array
        raise RecordingError(parsed.name, error_reason(refusal)) from None


def _record_path(path: str | Path) -> str:
    """Return the path without its suffix, as a string, since names may have dots in them."""
    text = os.fspath(path)
    return text[:-4] if text[-4:].lower() in (".hea", ".mat", ".dat") else text


def _existing(record: str, suffix: str) -> str | None:
    """Return the path with this suffix in lower or upper case, whichever exists, even as a broken link."""
    return next((path for path in (record + suffix, record + suffix.upper()) if os.path.lexists(path)), None)


def _assumed_header(record: str, repairs: RepairLog) -> Header:
    repairs.add("no-header", f"{len(STANDARD_LEADS)} leads at {ASSUMED_FREQUENCY:g} Hz")
    name = Path(record).name
    leads = tuple(LeadHeader(lead, f"{name}.mat", "16", ASSUMED_GAIN, 0) for lead in STANDARD_LEADS)
    return Header(name, ASSUMED_FREQUENCY, None, leads, None, None, (), ())


def _matrix_path(record: str, header: Header, repairs: RepairLog) -> str | None:
    """Return the MATLAB file with the signal, or None if the header names other WFDB files."""
    names = {lead.file for lead in header.leads}
    stems = {strip_mat_suffix(name) for name in names}
    if stems == names:  # no name ends in .mat
        return None
    own = _existing(record, ".mat")  # preferred to the file that the header names: the drivers read no other
    if own is None:
        if len(names) != 1:
            raise RecordingError(f"{record}.mat", "there is no such signal file")
        return str(signal_path(record, header.leads[0].file))
    if strip_mat_suffix(own.rpartition(os.sep)[2]) not in stems:
        repairs.add("renamed", quote(header.leads[0].file))
    return own


def _recording(header: Header, data: NDArray[Any], repairs: RepairLog) -> Recording:
    """Return the recording if header and array agree, or a repair makes them agree."""
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
    counts = _canonical(data)
    if header.samples not in (None, counts.shape[1]):
        repairs.add("length-differs", f"{header.samples} declared, {counts.shape[1]} there")
    _compare_checksums(header.leads, counts, repairs)
    counts.flags.writeable = False  # a recording is what its files say; whoever changes samples makes a copy
    return Recording(header, counts, header.repairs + repairs.merged())


def _canonical(data: NDArray[Any]) -> NDArray[Any]:
    """Return the counts as int16, int32 or float64, the first of them that holds every value."""
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
