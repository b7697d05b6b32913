"""One ECG as its files say it: a header and ADC counts, bit for bit the same by each way in.

From a `.hea`/`.mat` pair, from any other WFDB record (through wfdb), or from what the organisers' drivers pass in.
Whatever can be wrong with a file ends in `RecordingError`; what is put right is named in `repairs`. Nothing that a file
declares is allocated before the file is known to hold it; only regular files of the record's own folder are opened.
This file knows no millivolts, no order of leads, no diagnoses and no tensors: it neither scales nor repairs a sample.
WFDB's "no value" (-32768) stays too, since an honest saturated sample is the same number.
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

from leadwise.ecg.header import Header, LeadHeader, parse_header, strip_mat_suffix
from leadwise.ecg.matlab import read_matrix
from leadwise.ecg.repairs import REPAIRS, RecordingError, Repair, RepairLog, UnreadableError, quote
from leadwise.ecg.signal_files import MAX_SIGNAL_BYTES, error_reason, parse_format, read_bytes, read_wfdb, signal_path

__all__ = [
    "REPAIRS",
    "Header",
    "LeadHeader",
    "Recording",
    "RecordingError",
    "Repair",
    "parse_header",
    "read_header",
    "read_recording",
    "recording_from_arrays",
]
MAX_HEADER_BYTES: Final = 1 << 20  # the Challenge's have about 1000


# What a header would most likely say where there is none.
ASSUMED_FREQUENCY: Final = 500.0  # Hz
ASSUMED_GAIN: Final = 1000.0  # counts per mV
ASSUMED_LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


@dataclass(frozen=True, eq=False)
class Recording:
    """A header and its signal: `counts` is (leads, samples), read-only; int16 where that holds all, int32, float64.

    Counts lie in memory as they lay in the file: of MATLAB files one sample's leads side by side.
    """

    header: Header
    counts: NDArray[Any]
    repairs: tuple[Repair, ...]  # the header's, then the signal's

    @property
    def name(self) -> str:
        """The record's name as the header has it."""
        return self.header.name

    @property
    def sampling_frequency(self) -> float:
        """Hz."""
        return self.header.sampling_frequency

    @property
    def lead_names(self) -> tuple[str, ...]:
        """Names as the header spells them, in the order of `counts`."""
        return tuple(lead.name for lead in self.header.leads)

    @property
    def adc_gain(self) -> NDArray[np.float64]:
        """(leads,), counts per mV."""
        return np.array([lead.adc_gain for lead in self.header.leads], np.float64)

    @property
    def baseline(self) -> NDArray[np.float64]:
        """(leads,), counts that mean 0 mV."""
        return np.array([lead.baseline for lead in self.header.leads], np.float64)


def read_header(path: str | Path) -> Header:
    """Reads NAME.hea, given as NAME, NAME.hea or NAME.mat. Raises RecordingError, which names the file."""
    return _read_header(_record_path(path))


def read_recording(path: str | Path, assume_header: bool = False) -> Recording:
    """Reads the recording given as NAME, NAME.hea or NAME.mat, whatever WFDB or MATLAB format its signal has.

    The signal is NAME.mat where the header speaks of MATLAB files, as the organisers' drivers have it, and otherwise
    the files that the header names. With `assume_header` a NAME.mat without any header is read as what the Challenge
    has most of, with the repair "no-header". Raises RecordingError, which names the file, and nothing else.
    """
    record = _record_path(path)
    notes = RepairLog()
    assumed = assume_header and _existing(record, ".hea") is None and _existing(record, ".mat") is not None
    header = _assumed_header(record, notes) if assumed else _read_header(record)
    matrix = _matrix_path(record, header, notes)
    try:
        if matrix is None:
            data = read_wfdb(record, header, notes)
        else:
            data = read_matrix(read_bytes(matrix, MAX_SIGNAL_BYTES), len(header.leads), notes)
        return _recording(header, data, notes)
    except (UnreadableError, MemoryError) as refusal:
        raise RecordingError(str(matrix or f"{record}.hea"), error_reason(refusal)) from None


def recording_from_arrays(header: str | Sequence[str], data: NDArray[Any]) -> Recording:
    """The recording that an organisers' driver passes in: header text or lines, and ADC counts (leads, samples).

    Equal in every bit to `read_recording` of the files that these came from; `data` is copied. Raises RecordingError.
    """
    parsed = parse_header(header)
    try:
        return _recording(parsed, np.array(data), RepairLog())
    except (ValueError, MemoryError) as refusal:  # ours, or NumPy's where the data is no array
        raise RecordingError(parsed.name, error_reason(refusal)) from None


def _record_path(path: str | Path) -> str:
    """The path without its ending; a plain string, since names may have dots in them."""
    text = os.fspath(path)
    return text[:-4] if text[-4:].lower() in (".hea", ".mat", ".dat") else text


def _existing(record: str, ending: str) -> str | None:
    """The path with this ending in lower or upper case, whichever is there, be it a broken link."""
    for path in (record + ending, record + ending.upper()):
        if os.path.lexists(path):
            return path
    return None


def _read_header(record: str) -> Header:
    path = f"{record}.hea"
    try:
        raw = read_bytes(path, MAX_HEADER_BYTES)
    except RecordingError:
        found = _existing(record, ".hea")  # only now: looking takes a fifth of the reading
        if found is None:
            raise RecordingError(path, "there is no such header") from None
        if found == path:
            raise
        path, raw = found, read_bytes(found, MAX_HEADER_BYTES)
    return parse_header(raw, path)


def _assumed_header(record: str, notes: RepairLog) -> Header:
    """What is said of a MATLAB file without header: twelve leads in standard order, nothing of the person."""
    notes.add("no-header", f"{len(ASSUMED_LEADS)} leads at {ASSUMED_FREQUENCY:g} Hz")
    name = Path(record).name
    leads = tuple(LeadHeader(lead, f"{name}.mat", "16", ASSUMED_GAIN, 0) for lead in ASSUMED_LEADS)
    return Header(name, ASSUMED_FREQUENCY, None, leads, None, None, (), ())


def _matrix_path(record: str, header: Header, notes: RepairLog) -> str | None:
    """The MATLAB file with the signal, or None where the header speaks of other WFDB files."""
    names = {lead.file for lead in header.leads}
    stems = {strip_mat_suffix(name) for name in names}
    if stems == names:  # none ends so
        return None
    own = _existing(record, ".mat")  # goes before the file that the header names: the drivers read no other
    if own is None:
        if len(names) != 1:
            raise RecordingError(f"{record}.mat", "there is no such signal file")
        return str(signal_path(record, header.leads[0].file))
    if strip_mat_suffix(own.rpartition(os.sep)[2]) not in stems:
        notes.add("renamed", quote(header.leads[0].file))
    return own


def _recording(header: Header, data: NDArray[Any], notes: RepairLog) -> Recording:
    """The recording, where header and array fit or can be made to."""
    counts = _canonical(_oriented(data, len(header.leads), notes))
    samples = counts.shape[1]
    if header.samples is not None and header.samples != samples:
        notes.add("length-differs", f"{header.samples} declared, {samples} there")
    _compare_checksums(header.leads, counts, notes)
    counts.flags.writeable = False  # a recording is what its files say; whoever changes samples makes a copy
    return Recording(header, counts, header.repairs + notes.repairs())


def _oriented(data: NDArray[Any], leads: int, notes: RepairLog) -> NDArray[Any]:
    """The array as (leads, samples)."""
    given = data
    if data.ndim == 1 and leads == 1:
        data = data[None]  # (1, samples)
    if data.ndim != 2 or leads not in data.shape:
        raise UnreadableError(f"the signal is {_shape(given)}, the header describes {leads} leads")
    if 0 in data.shape:
        raise UnreadableError("the signal has no samples")
    if data.shape[0] != leads:
        notes.add("transposed", _shape(given))
        data = data.T
    return data


def _shape(data: NDArray[Any]) -> str:
    return " x ".join(map(str, data.shape)) or "a single number"


def _canonical(data: NDArray[Any]) -> NDArray[Any]:
    """The counts as int16, int32 or float64, the first of them that holds every value."""
    if data.dtype.kind not in "iuf":
        raise UnreadableError(f"the signal has values of type {data.dtype}, which are no counts")
    if data.dtype == np.int16:  # what the Challenge has: no second look at the values
        return data
    for dtype in (np.int16, np.int32):
        with np.errstate(invalid="ignore"):
            counts = data.astype(dtype)  # what does not fit changes, and the comparison finds it
        if np.array_equal(counts, data):
            return counts
    return data.astype(np.float64)


def _compare_checksums(leads: Sequence[LeadHeader], counts: NDArray[Any], notes: RepairLog) -> None:
    """Notes leads whose first value or checksum is not as declared: lines that were changed or permuted show so."""
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
        lead.name
        for lead, first, total in zip(leads, firsts, totals, strict=True)
        if (lead.first_value is not None and lead.first_value != first)
        or (lead.checksum is not None and (lead.checksum - total) % 65536)
    ]
    if differing:
        notes.add("checksum-differs", ", ".join(map(quote, differing)))


def _sums(counts: NDArray[Any]) -> NDArray[Any]:
    """The sum of each lead's counts, (leads,), which wraps around as the checksum does.

    Where one sample's leads lie side by side NumPy would add up rows of a dozen numbers; rows of hundreds take a tenth
    of the time.
    """
    add, dtype = np.add.reduce, counts.dtype
    if counts.flags.c_contiguous:
        return np.asarray(add(counts, axis=1, dtype=dtype))
    leads, samples = counts.shape
    at_once = _row(samples)
    whole = samples // at_once * at_once
    rows = add(counts.T[:whole].reshape(-1, at_once * leads), dtype=dtype)
    sums = add(rows.reshape(at_once, leads), dtype=dtype)
    return np.asarray(sums if whole == samples else sums + add(counts.T[whole:], dtype=dtype))


@lru_cache(maxsize=64)
def _row(samples: int) -> int:
    """How many samples are added up side by side: some tens, and if possible so many that none are left over."""
    return next((row for row in range(100, 31, -1) if samples % row == 0), 64)
