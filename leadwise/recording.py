"""One ECG as its files say it: header facts and ADC counts, with every quirk of real files.

Text and bytes in, `Header` and `Recording` out; whatever is wrong with a file ends in `RecordingError`, whatever is put
right is named in `repairs`. The same recording comes out bit for bit whether it is read from a `.hea`/`.mat` pair, from
another WFDB record, or passed in by the organisers' drivers. Nothing from a file is trusted: no name in a header leads out
of its folder, no size that it declares is allocated.
This file knows no units of the signal, no order of leads, no diagnoses and no tensors: it neither scales nor repairs a
sample. Counts stay as they are, WFDB's "no value" (-32768) too, since an honest saturated sample has the same number.
"""

from __future__ import annotations

import math
import os
import re
import stat
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Sex = Literal["female", "male"]

# Limits: beyond them a number in a file is an error or an attack. A day at 1000 Hz has 86 million samples.
MAX_SAMPLES: Final = 100_000_000
MAX_LEADS: Final = 256
MAX_HEADER_BYTES: Final = 1 << 20
MAX_SIGNAL_BYTES: Final = 1 << 31
MIN_FREQUENCY: Final = 20.0  # Hz
MAX_FREQUENCY: Final = 20_000.0  # Hz
MIN_GAIN: Final = 1e-3  # counts per mV
MAX_GAIN: Final = 1e9  # counts per mV
MAX_AGE: Final = 300.0  # years; PTB-XL writes 300 for "over 89"

DEFAULT_FREQUENCY: Final = 250.0  # Hz, where a header has none (WFDB header(5), DEFFREQ)
DEFAULT_GAIN: Final = 200.0  # counts per mV, where a header has none or 0 (WFDB header(5), DEFGAIN)

# The Challenge's first release declared these gains for files whose counts are 1000 per mV; its later release says 1000.
# (source prefix, lowest and highest wrong gain in counts per mV)
WRONG_GAINS: Final = (
    ("E", 4880.0, 4880.0),
    ("HR", 200.0, 200.0),
    ("S", 2_000_000.0, 2_000_000.0),
    ("I", 240_000.0, 1_041_000.0),
)
RIGHT_GAIN: Final = 1000.0  # counts per mV

REPAIRS: Final[dict[str, str]] = {
    "wrong-gain": "a gain known to be wrong in the Challenge's first release is replaced by 1000 counts per mV",
    "default-gain": "a gain that is 0 or missing is taken as 200 counts per mV, as WFDB does",
    "default-frequency": "a missing sampling frequency is taken as 250 Hz, as WFDB does",
    "unknown-unit": "a gain in a unit other than V, mV or uV is taken as counts per mV",
    "lead-count": "the header describes fewer leads than it declares; those that it describes count",
    "extra-lines": "lines after the last lead that are no comments are ignored",
    "unnamed-leads": "leads without a name are kept under an empty one",
    "names-differ": "the record line and the signal lines name different records; the record line counts",
    "unreadable-field": "a field that is not needed and cannot be read is taken as missing",
    "unreadable-age": "an age that is no number from 0 to 300 is taken as unknown",
    "unreadable-sex": "a sex that is neither female nor male nor a word for unknown is taken as unknown",
    "repeated-comment": "a second, different age or sex is ignored",
    "renamed": "the header names another signal file; the one with the recording's name was read",
    "variable-name": "the matrix is not called val; it is the only one with the header's number of leads",
    "transposed": "the signal was stored as (samples, leads)",
    "length-differs": "the header declares another number of samples than there are; the signal counts",
    "checksum-differs": "first value or checksum of a lead are not those that the header declares",
}


class RecordingError(Exception):
    """This recording cannot be used: `source` names the file or record, `reason` says why."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)  # both as args, so that the error survives pickling between processes
        self.source = source
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True)
class Repair:
    """Something that was put right or doubted: a name from `REPAIRS` and what it was here."""

    name: str
    detail: str


@dataclass(frozen=True)
class LeadHeader:
    """One signal line of a header."""

    name: str
    file: str
    format: str  # as the header has it, such as "16", "16+24", "212"
    adc_gain: float  # counts per mV, after correction
    baseline: int  # count that means 0 mV: of the gain field, else the ADC zero, else 0
    first_value: int | None = None  # counts
    checksum: int | None = None  # sum of all counts, modulo 2 ** 16


@dataclass(frozen=True)
class Header:
    """What a header says."""

    name: str
    sampling_frequency: float  # Hz
    samples: int | None  # per lead, as declared; None where the header does not say
    leads: tuple[LeadHeader, ...]
    age: float | None  # years
    sex: Sex | None
    codes: tuple[str, ...]  # items of the Dx lines as they are, in order
    repairs: tuple[Repair, ...]

    @property
    def source(self) -> str:
        """The database's prefix, the letters before the number: A, Q, I, S, HR, E, JS; "" where there are none."""
        return _source(self.name)


@dataclass(frozen=True, eq=False)
class Recording:
    """A header and the signal that belongs to it; `counts` is (leads, samples), read-only, int16 where that is enough."""

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


class _Refused(ValueError):
    """Why a header or a signal cannot be used; becomes a RecordingError where the file's name is known."""


class _Notes(dict[str, list[str]]):
    """Repairs while they are being found: name -> details."""

    def add(self, name: str, detail: str) -> None:
        self.setdefault(name, []).append(detail)

    def repairs(self) -> tuple[Repair, ...]:
        return tuple(Repair(name, ", ".join(dict.fromkeys(details))) for name, details in self.items())


# ---------------------------------------------------------------------------------------------------- header: fields


def _source(name: str) -> str:
    match = re.match(r"[A-Za-z]+(?=[0-9])", name)
    return match.group() if match else ""


def _quote(text: str) -> str:
    """Text of a file, safe to print in one line."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def _record_name(text: str) -> str:
    name = text[:-4] if text[-4:].lower() == ".mat" else text
    if "/" in name or "\\" in name:
        raise _Refused(f"record name {_quote(text)}: multi-segment records and paths are not read")
    if not name.strip("."):
        raise _Refused(f"record name {_quote(text)} is no name")
    return name


def _lead_count(text: str) -> int:
    if float(text) > MAX_LEADS:
        raise _Refused(f"declares {_quote(text)} leads; at most {MAX_LEADS} are read")
    if int(text) == 0:
        raise _Refused("declares no leads")
    return int(text)


def _frequency(text: str) -> float:
    frequency = float(text.partition("/")[0].partition("(")[0])  # what follows is the counter's frequency and base
    if not MIN_FREQUENCY <= frequency <= MAX_FREQUENCY:
        raise _Refused(f"sampling frequency {_quote(text)} is not within {MIN_FREQUENCY:g} to {MAX_FREQUENCY:g} Hz")
    return frequency


def _sample_count(text: str) -> int | None:
    if not text.isdigit():
        return None  # a date or time: the number was left out
    if float(text) > MAX_SAMPLES:
        raise _Refused(f"declares {_quote(text)} samples; at most {MAX_SAMPLES} are read")
    return int(text) or None  # 0 means unknown in WFDB


def _file_name(text: str) -> str:
    if "/" in text or "\\" in text or "\0" in text or not text.strip("."):
        raise _Refused(f"names the file {_quote(text)}, which is not in the recording's own folder")
    return text


def _integer(text: str) -> int:
    if len(text) > 18:
        raise _Refused(f"{_quote(text)} is too large a number")
    return int(text)


_MILLIVOLTS = {"": 1.0, "mv": 1.0, "uv": 1000.0, "\N{MICRO SIGN}v": 1000.0, "\N{GREEK SMALL LETTER MU}v": 1000.0, "v": 1e-3}
_GAIN = re.compile(r"([^(/]*)(?:\(([^)]*)\))?(?:/(.*))?")


@dataclass(frozen=True)
class _Gain:
    """The third field of a signal line: counts per mV (0: not said), baseline, and whether the unit is known."""

    per_millivolt: float = 0.0
    baseline: int | None = None
    unit_known: bool = True


def _gain(text: str) -> _Gain:
    match = _GAIN.fullmatch(text)
    if match is None:  # cannot be: the field's pattern is narrower
        raise _Refused(f"gain {_quote(text)}")
    number, baseline, unit = match.groups()
    factor = _MILLIVOLTS.get((unit or "").lower())
    gain = float(number) * (factor or 1.0)
    if gain != 0 and not MIN_GAIN <= abs(gain) <= MAX_GAIN:
        raise _Refused(f"gain {_quote(text)} is not within {MIN_GAIN:g} to {MAX_GAIN:g} counts per mV")
    return _Gain(gain, _integer(baseline) if baseline is not None else None, factor is not None)


@dataclass(frozen=True, eq=False)
class _Field:
    """A column of a header line: what it looks like, how its text becomes a value, and the value when it is missing."""

    name: str
    pattern: re.Pattern[str]
    convert: Callable[[str], Any]
    default: Any = None
    required: bool = False  # False: a text that does not fit counts as missing, with a repair


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


_UNSIGNED = r"\d+"
_SIGNED = r"[+-]?\d+"
_REAL = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"  # linear: no text takes more than one pass

RECORD_FIELDS: Final = (
    _Field("record name", _pattern(r"\S+"), _record_name, required=True),
    _Field("number of leads", _pattern(_UNSIGNED), _lead_count, required=True),
    _Field("sampling frequency", _pattern(rf"{_REAL}(?:/{_REAL})?(?:\({_REAL}\))?"), _frequency, required=True),
    _Field("number of samples", _pattern(rf"{_UNSIGNED}|\w+[-:/.].*"), _sample_count),
)

SIGNAL_FIELDS: Final = (
    _Field("file name", _pattern(r"\S+"), _file_name, required=True),
    _Field("format", _pattern(r"\d{1,4}(?:x\d{1,4})?(?::\d{1,9})?(?:\+\d{1,9})?"), str, required=True),
    _Field("gain", _pattern(rf"{_REAL}(?:\({_SIGNED}\))?(?:/\S*)?"), _gain, _Gain(), required=True),
    _Field("ADC resolution", _pattern(_SIGNED), _integer),
    _Field("ADC zero", _pattern(_SIGNED), _integer, 0, required=True),
    _Field("first value", _pattern(_SIGNED), _integer),
    _Field("checksum", _pattern(_SIGNED), _integer),
    _Field("block size", _pattern(_SIGNED), _integer),
    _Field("lead name", _pattern(r".*"), str.strip, ""),
)


def _age(text: str, notes: _Notes) -> float | None:
    if text.lower() in _UNKNOWN:
        return None
    age = float(text) if re.fullmatch(_REAL, text, re.ASCII) else math.nan
    if age < 0:
        return None  # the Challenge writes -1 for unknown
    if not age <= MAX_AGE:
        notes.add("unreadable-age", _quote(text))
        return None
    return age


_UNKNOWN = frozenset({"", "nan", "unknown", "unspecified", "none", "null", "n/a", "na", "?", "-"})
_SEXES: dict[str, Sex] = {"female": "female", "f": "female", "male": "male", "m": "male"}


def _sex(text: str, notes: _Notes) -> Sex | None:
    sex = _SEXES.get(text.lower())
    if sex is None and text.lower() not in _UNKNOWN:
        notes.add("unreadable-sex", _quote(text))
    return sex


def _codes(text: str, notes: _Notes) -> tuple[str, ...]:
    return tuple(code for item in text.split(",") if (code := item.strip()))


# Comment fields: key of the line (any case) -> how its text becomes a value. All others (Rx, Hx, Sx) are not used.
COMMENT_FIELDS: Final[dict[str, Callable[[str, _Notes], Any]]] = {"age": _age, "sex": _sex, "dx": _codes}
_COMMENT = re.compile(r"#[#\s]*(\w+)\s*:(.*)", re.ASCII | re.DOTALL)


# ------------------------------------------------------------------------------------------------------ header: lines


def parse_header(text: str | bytes | Sequence[str], source: str = "header") -> Header:
    """The header in a text, its bytes, or its lines with or without line ends.

    `source` names it in errors. Raises RecordingError where the record or signal lines cannot be used. Fields and their
    order: WFDB's header(5), https://physionet.org/physiotools/wag/header-5.htm.
    """
    lines, comments = _split_lines(text)
    notes = _Notes()
    try:
        if not lines:
            raise _Refused("the header is empty")
        name, declared, frequency, samples = _read_fields(RECORD_FIELDS, lines[0].split(), notes, {})
        if frequency is None:
            notes.add("default-frequency", f"{DEFAULT_FREQUENCY:g} Hz")
        leads = _read_leads(name, declared, lines[1:], notes)
        facts = _read_comments(comments, notes)
    except _Refused as refusal:
        raise RecordingError(source, str(refusal)) from None
    return Header(
        name=name,
        sampling_frequency=frequency or DEFAULT_FREQUENCY,
        samples=samples,
        leads=leads,
        age=facts.get("age"),
        sex=facts.get("sex"),
        codes=facts.get("dx", ()),
        repairs=notes.repairs(),
    )


def _split_lines(text: str | bytes | Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines that are not blank, and comment lines, without blanks around them; any line ends, any of three encodings."""
    if isinstance(text, bytes):
        text = _decode(text)
    elif not isinstance(text, str):
        text = "\n".join(line.rstrip("\r\n") for line in text)
    lines = text.removeprefix("\ufeff").replace("\r", "\n").split("\n")
    stripped = [line for item in lines if (line := item.strip())]
    return [line for line in stripped if line[0] != "#"], [line for line in stripped if line[0] == "#"]


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # never fails: one character a byte


def _read_fields(
    fields: Sequence[_Field], tokens: Sequence[str], notes: _Notes, known: dict[tuple[_Field, str], Any]
) -> list[Any]:
    """The values of a line's fields, from its words in order; `known` keeps what equal words meant in other lines."""
    values = [field.default for field in fields]
    for column, key in enumerate(zip(fields, tokens, strict=False)):
        if key not in known:
            known[key] = _read_field(*key, notes)
        values[column] = known[key]
    for field in fields[len(tokens) : 2]:  # WFDB lets all but the first two fields of a line be left out
        raise _Refused(f"a line has no {field.name}")
    return values


def _read_field(field: _Field, token: str, notes: _Notes) -> Any:
    if field.pattern.fullmatch(token):
        return field.convert(token)
    if field.required:
        raise _Refused(f"{field.name} {_quote(token)} cannot be read")
    notes.add("unreadable-field", f"{field.name} {_quote(token)}")
    return field.default


def _read_leads(record: str, declared: int, lines: Sequence[str], notes: _Notes) -> tuple[LeadHeader, ...]:
    """The leads that the signal lines describe, with gains corrected."""
    if not lines:
        raise _Refused(f"declares {declared} leads and describes none")
    if len(lines) < declared:
        notes.add("lead-count", f"{declared} declared, {len(lines)} described")
    for line in lines[declared:]:
        notes.add("extra-lines", _quote(line))
    source = _source(record)
    known: dict[tuple[_Field, str], Any] = {}
    leads = tuple(_read_lead(line, source, notes, known) for line in lines[:declared])
    files = {_stem(lead.file) for lead in leads}
    if files != {record} and leads[0].file.lower().endswith(".mat"):
        notes.add("names-differ", f"{_quote(record)} and {', '.join(_quote(name) for name in sorted(files - {record}))}")
    return leads


def _stem(file: str) -> str:
    return file[:-4] if file[-4:].lower() == ".mat" else file


def _read_lead(line: str, source: str, notes: _Notes, known: dict[tuple[_Field, str], Any]) -> LeadHeader:
    """One signal line; `source` is the prefix that known wrong gains go by."""
    tokens = line.split(None, len(SIGNAL_FIELDS) - 1)
    last = len(tokens) - 1
    short_name = ""
    if 2 <= last < len(SIGNAL_FIELDS) - 1 and not SIGNAL_FIELDS[last].pattern.fullmatch(tokens[last]):
        short_name = tokens.pop()  # numbers may be left out from the right; the name follows all the same
    file, format_, gain, _, zero, first_value, checksum, _, name = _read_fields(SIGNAL_FIELDS, tokens, notes, known)
    name = name or short_name
    if not name:
        notes.add("unnamed-leads", _quote(line))
    if not gain.unit_known:
        notes.add("unknown-unit", f"{_quote(name)} {_quote(tokens[2])}")
    baseline = zero if gain.baseline is None else gain.baseline
    adc_gain = _corrected_gain(gain.per_millivolt, source, notes)
    return LeadHeader(name, file, format_, adc_gain, baseline, first_value, checksum)


def _corrected_gain(gain: float, source: str, notes: _Notes) -> float:
    """Counts per mV: the declared gain, WFDB's default for 0, or 1000 where the declared one is known to be wrong."""
    if gain == 0:
        notes.add("default-gain", f"{DEFAULT_GAIN:g} counts per mV")
        return DEFAULT_GAIN
    for prefix, lowest, highest in WRONG_GAINS:
        if source == prefix and lowest <= gain <= highest:
            notes.add("wrong-gain", f"{gain:.15g} declared, {RIGHT_GAIN:g} counts per mV used")
            return RIGHT_GAIN
    return gain


def _read_comments(comments: Iterable[str], notes: _Notes) -> dict[str, Any]:
    """Values of `COMMENT_FIELDS` that the comment lines give; several Dx lines are joined."""
    values: dict[str, Any] = {}
    for comment in comments:
        match = _COMMENT.fullmatch(comment)
        key = match.group(1).lower() if match else ""
        if match is None or key not in COMMENT_FIELDS:
            continue
        value = COMMENT_FIELDS[key](match.group(2).strip(), notes)
        if key == "dx":
            values[key] = values.get(key, ()) + value
        elif values.get(key) is None:
            values[key] = value
        elif value is not None and value != values[key]:
            notes.add("repeated-comment", _quote(comment))
    return values


# ------------------------------------------------------------------------------------------------------------- files


def read_header(path: str | Path) -> Header:
    """The header NAME.hea, given as NAME, NAME.hea or NAME.mat. Raises RecordingError."""
    return _read_header(_record_path(path))


def read_recording(path: str | Path) -> Recording:
    """The recording given as NAME, NAME.hea or NAME.mat, whatever WFDB or MATLAB format its signal has.

    The signal is NAME.mat where the header speaks of MATLAB files, as the organisers' drivers have it, and otherwise
    the files that the header names, read by wfdb. Raises RecordingError, which names the file, and nothing else.
    """
    record = _record_path(path)
    header = _read_header(record)
    notes = _Notes()
    try:
        matrix = _matrix_path(record, header, notes)
        source = matrix or f"{record}.hea"
        data = _read_matrix(_read_bytes(matrix, MAX_SIGNAL_BYTES), header, notes) if matrix else _read_wfdb(record, header)
        return _recording(header, data, notes)
    except _Refused as refusal:
        raise RecordingError(source, str(refusal)) from None


def recording_from_arrays(header: str | Sequence[str], data: NDArray[Any]) -> Recording:
    """The recording that an organisers' driver passes in: header text or lines, and ADC counts (leads, samples).

    Equal in every bit to `read_recording` of the files that they were taken from; `data` is copied. Raises RecordingError.
    """
    parsed = parse_header(header)
    try:
        return _recording(parsed, np.asarray(data), _Notes())
    except _Refused as refusal:
        raise RecordingError(parsed.name, str(refusal)) from None


def _record_path(path: str | Path) -> str:
    """The path without its ending."""
    text = os.fspath(path)
    return text[:-4] if text[-4:].lower() in (".hea", ".mat", ".dat") else text


def _existing(record: str, ending: str) -> str | None:
    """The path with the ending in lower or upper case, whichever is there."""
    for path in (record + ending, record + ending.upper()):
        if os.path.lexists(path):
            return path
    return None


def _read_header(record: str) -> Header:
    path = _existing(record, ".hea")
    if path is None:
        raise RecordingError(f"{record}.hea", "there is no such header")
    return parse_header(_read_bytes(path, MAX_HEADER_BYTES), path)


def _read_bytes(path: str, limit: int) -> bytes:
    """A regular file's bytes; a pipe, a device, a folder or too large a file is refused before it is opened."""
    try:
        status = os.stat(path)  # follows links; a loop of them is an OSError
        if not stat.S_ISREG(status.st_mode):
            raise RecordingError(path, "is no regular file")
        if status.st_size > limit:
            raise RecordingError(path, f"has {status.st_size} bytes; at most {limit} are read")
        with open(path, "rb", buffering=0) as file:
            return file.read(status.st_size)  # not more: so much is allocated at once
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RecordingError(path, f"cannot be read: {reason}") from error


def _matrix_path(record: str, header: Header, notes: _Notes) -> str | None:
    """The MATLAB file with the signal, or None where the header speaks of other WFDB files."""
    names = dict.fromkeys(lead.file for lead in header.leads)
    own = _existing(record, ".mat")
    if not any(name.lower().endswith(".mat") for name in names):
        others = all(os.path.lexists(os.path.join(os.path.dirname(record), name)) for name in names)
        return None if others else own
    if own is not None:
        if os.path.basename(own) not in names:
            notes.add("renamed", _quote(header.leads[0].file))
        return own
    named = os.path.join(os.path.dirname(record), header.leads[0].file)
    if len(names) == 1 and os.path.lexists(named):
        return named
    raise RecordingError(f"{record}.mat", "there is no such signal file")


# ------------------------------------------------------------------------------------------------------------ signal

# MATLAB v4: type, rows, columns, imaginary part, length of the name; then the name. Types 0 to 50 are little-endian.
_V4_HEADER = struct.Struct("<5i4s")
_V4_TYPES = {0: "<f8", 10: "<f4", 20: "<i4", 30: "<i2", 40: "<u2", 50: "u1"}


def _read_matrix(raw: bytes, header: Header, notes: _Notes) -> NDArray[Any]:
    """The matrix of a MATLAB file: straight from the bytes where it is a lone v4 `val`, through SciPy elsewhere."""
    if len(raw) >= _V4_HEADER.size:
        kind, rows, columns, imaginary, name_length, name = _V4_HEADER.unpack_from(raw)
        if kind in _V4_TYPES and (imaginary, name_length, name) == (0, 4, b"val\0") and rows > 0 and columns > 0:
            dtype = np.dtype(_V4_TYPES[kind])
            expected = _V4_HEADER.size + rows * columns * dtype.itemsize
            if len(raw) < expected:
                raise _Refused(f"is cut off: {len(raw)} of {expected} bytes")
            if len(raw) == expected:
                return np.frombuffer(raw, dtype, offset=_V4_HEADER.size).reshape(columns, rows).T
    if not raw:
        raise _Refused("is empty")
    return _read_scipy(raw, header, notes)


def _read_scipy(raw: bytes, header: Header, notes: _Notes) -> NDArray[Any]:
    """The matrix of any MATLAB file up to version 7.2."""
    import scipy.io

    try:
        name = _choose_variable(scipy.io.whosmat(BytesIO(raw)), len(header.leads), len(raw), notes)
        data = scipy.io.loadmat(BytesIO(raw), variable_names=[name])[name]
    except _Refused:
        raise
    except NotImplementedError:
        raise _Refused("is a MATLAB 7.3 (HDF5) file; version 7 or earlier is needed") from None
    except Exception as error:  # SciPy's readers raise whatever a damaged file makes of them
        raise _Refused(f"is no MATLAB file that can be read: {_quote(str(error))}") from error
    return np.asarray(data)


_NUMERIC = frozenset({"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))})
_MAX_INFLATION = 1032  # the most that deflate can shrink anything


def _choose_variable(
    variables: Iterable[tuple[str, tuple[int, ...], str]], leads: int, size: int, notes: _Notes
) -> str:
    """`val`, or the only matrix with the right number of leads; refused where it cannot be as large as it says."""
    matrices = {name: shape for name, shape, kind in variables if kind in _NUMERIC and len(shape) == 2}
    fitting = [name for name, shape in matrices.items() if leads in shape]
    if "val" not in matrices and len(fitting) != 1:
        raise _Refused(f"has no matrix val; variables: {_quote(', '.join(matrices))}")
    name = "val" if "val" in matrices else fitting[0]
    if name != "val":
        notes.add("variable-name", _quote(name))
    rows, columns = matrices[name]
    if rows * columns > min(MAX_LEADS * MAX_SAMPLES, size * _MAX_INFLATION):
        raise _Refused(f"declares a matrix of {rows} x {columns} in {size} bytes")
    return name


def _read_wfdb(record: str, header: Header) -> NDArray[Any]:
    """ADC counts (leads, samples) of a record in any of WFDB's formats."""
    folder = os.path.dirname(record)
    for name in dict.fromkeys(lead.file for lead in header.leads):
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            raise RecordingError(path, "there is no such signal file")
        leads = sum(lead.file == name for lead in header.leads)
        if (header.samples or 0) * leads > _MAX_INFLATION * os.path.getsize(path):
            raise RecordingError(path, f"has too few bytes for {leads} leads of {header.samples} samples")
    import wfdb

    try:
        signal = wfdb.rdrecord(os.path.abspath(record), physical=False, return_res=32).d_signal
    except Exception as error:  # wfdb raises whatever a damaged file makes of it
        raise _Refused(f"wfdb cannot read it: {_quote(str(error))}") from error
    if signal is None:
        raise _Refused("wfdb finds no signal")
    return np.asarray(signal).T


def _recording(header: Header, data: NDArray[Any], notes: _Notes) -> Recording:
    """Header and array together, where they can be brought together."""
    counts = _canonical(_oriented(data, len(header.leads), notes))
    samples = counts.shape[1]
    if header.samples is not None and header.samples != samples:
        notes.add("length-differs", f"{header.samples} declared, {samples} there")
    _compare_checksums(header.leads, counts, notes)
    counts.flags.writeable = False
    return Recording(header, counts, header.repairs + notes.repairs())


def _oriented(data: NDArray[Any], leads: int, notes: _Notes) -> NDArray[Any]:
    """The array as (leads, samples)."""
    shape = " x ".join(map(str, data.shape))
    if data.ndim == 1 and leads == 1:
        data = data[None]
    if data.ndim != 2 or leads not in data.shape:
        raise _Refused(f"the signal is {shape or 'a single number'}, the header describes {leads} leads")
    if 0 in data.shape:
        raise _Refused("the signal has no samples")
    if data.shape[0] != leads:
        notes.add("transposed", shape)
        data = data.T
    return data


def _canonical(data: NDArray[Any]) -> NDArray[Any]:
    """A C-ordered copy of the counts as int16, int32 or float64: the first that holds every value."""
    if data.dtype.kind not in "iuf":
        raise _Refused(f"the signal has values of type {data.dtype}, which are no counts")
    if data.dtype == np.int16:
        return np.array(data, np.int16, order="C")
    for dtype in (np.int16, np.int32):
        with np.errstate(invalid="ignore"):
            counts = data.astype(dtype, order="C")  # wraps what does not fit, which the comparison finds
        if np.array_equal(counts, data):
            return counts
    return data.astype(np.float64, order="C")


def _compare_checksums(leads: Sequence[LeadHeader], counts: NDArray[Any], notes: _Notes) -> None:
    """Notes leads whose first value or checksum is not as declared: lines that were permuted or changed show so."""
    if counts.dtype == np.float64 or not any(lead.first_value or lead.checksum for lead in leads):
        return  # some writers fill these columns with zeros
    sums = counts.sum(axis=1, dtype=counts.dtype)  # wraps around, as the checksum does
    differing = [
        lead.name
        for lead, first, total in zip(leads, counts[:, 0].tolist(), sums.tolist(), strict=True)
        if (lead.first_value is not None and lead.first_value != first)
        or (lead.checksum is not None and (lead.checksum - total) % 65536)
    ]
    if differing:
        notes.add("checksum-differs", ", ".join(map(_quote, differing)))
