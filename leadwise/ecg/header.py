"""What a header says: WFDB text in, facts out, with every quirk of real headers.

One parser for all ways in: tables of fields say what each column of a line looks like and how its text becomes a value.
What cannot be used ends in `RecordingError`; what is put right, or doubted, is named in `Header.repairs`. A header is
not trusted: no name in it leads out of its folder, no number in it goes beyond the limits below.
This file opens no files and knows no signals, no order of leads and no diagnoses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

from leadwise.ecg.repairs import RecordingError, Repair, RepairLog, UnreadableError, quote

Sex = Literal["female", "male"]


# Limits: beyond them a number in a file is an error or an attack. A day at 1000 Hz has 86 million samples.
MAX_SAMPLES: Final = 100_000_000
MAX_LEADS: Final = 256
MIN_FREQUENCY: Final = 20.0  # Hz
MAX_FREQUENCY: Final = 20_000.0  # Hz
MIN_GAIN: Final = 1e-3  # counts per mV
MAX_GAIN: Final = 1e9  # counts per mV
MAX_AGE: Final = 300.0  # years; PTB-XL writes 300 for "over 89", and it stays 300 here
DEFAULT_FREQUENCY: Final = 250.0  # Hz, where a header has none (WFDB header(5): DEFFREQ)
DEFAULT_GAIN: Final = 200.0  # counts per mV, where a header has none or 0 (WFDB header(5): DEFGAIN)


# The Challenge's first release declared these gains for files whose counts are 1000 per mV; its later release says 1000
# for the same files. Source prefix, lowest and highest wrong gain in counts per mV.
WRONG_GAINS: Final = (
    ("E", 4880.0, 4880.0),
    ("HR", 200.0, 200.0),
    ("S", 2_000_000.0, 2_000_000.0),
    ("I", 240_000.0, 1_041_000.0),
)
RIGHT_GAIN: Final = 1000.0  # counts per mV


# What a source's recordings are sampled at, in Hz, and their longest in seconds: the Challenge's descriptions of its
# data; PTB-XL publishes each recording at 100 Hz too. The one number of a signal that a header says only once.
USUAL_FREQUENCIES: Final = (
    ("A", 500.0, math.inf),
    ("Q", 500.0, math.inf),
    ("I", 257.0, math.inf),
    ("S", 1000.0, math.inf),
    ("HR", 500.0, math.inf),
    ("HR", 100.0, 10.0),
    ("E", 500.0, math.inf),
    ("JS", 500.0, math.inf),
)


class LeadHeader(NamedTuple):
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
    codes: tuple[str, ...]  # items of all Dx lines as they are, in order: SNOMED CT codes, or whatever text is there
    repairs: tuple[Repair, ...]

    @property
    def source(self) -> str:
        """The database's prefix, the letters before the number: A, Q, I, S, HR, E, JS; "" where there are none."""
        return _source(self.name)


def _source(name: str) -> str:
    match = re.match(r"[A-Za-z]+(?=[0-9])", name)
    return match.group() if match else ""


def strip_mat_suffix(name: str) -> str:
    """The name without the ending .mat, in any case."""
    return name[:-4] if name[-4:].lower() == ".mat" else name


def _record_name(text: str) -> str:
    if "/" in text or "\\" in text:
        raise UnreadableError(f"record name {quote(text)}: multi-segment records and paths are not read")
    if not text.strip("."):
        raise UnreadableError(f"record name {quote(text)} is no name")
    return strip_mat_suffix(text)


def _lead_count(text: str) -> int:
    if not 0 < float(text) <= MAX_LEADS:
        raise UnreadableError(f"declares {quote(text)} leads; 1 to {MAX_LEADS} are read")
    return int(text)


def _frequency(text: str) -> float:
    frequency = float(text.partition("/")[0].partition("(")[0])  # what follows: the counter's frequency and base
    if not MIN_FREQUENCY <= frequency <= MAX_FREQUENCY:
        raise UnreadableError(
            f"sampling frequency {quote(text)} is not within {MIN_FREQUENCY:g} to {MAX_FREQUENCY:g} Hz"
        )
    return frequency


def _sample_count(text: str) -> int | None:
    if not text.isdigit():
        return None  # a date or time: the number was left out
    if float(text) > MAX_SAMPLES:
        raise UnreadableError(f"declares {quote(text)} samples; at most {MAX_SAMPLES} are read")
    return int(text) or None  # 0 means unknown in WFDB


def _file_name(text: str) -> str:
    if "/" in text or "\\" in text or "\0" in text or not text.strip("."):
        raise UnreadableError(f"names the file {quote(text)}, which is not in the record's own folder")
    return text


def _integer(text: str) -> int:
    if len(text) > 18:
        raise UnreadableError(f"{quote(text)} is too large a number")
    return int(text)


_MILLIVOLTS = {"": 1.0, "mv": 1.0, "v": 1e-3, "uv": 1e3, "\N{MICRO SIGN}v": 1e3, "\N{GREEK SMALL LETTER MU}v": 1e3}


@dataclass(frozen=True)
class _Gain:
    """The third field of a signal line: counts per mV (0: not said), baseline, and whether the unit is known."""

    per_millivolt: float = 0.0
    baseline: int | None = None
    unit_known: bool = True


@lru_cache(maxsize=64)  # a data set has a handful
def _gain(text: str) -> _Gain:
    number, _, unit = text.partition("/")
    number, _, baseline = number.rstrip(")").partition("(")
    factor = _MILLIVOLTS.get(unit.lower())
    gain = float(number) * (factor or 1.0)
    if gain != 0 and not MIN_GAIN <= abs(gain) <= MAX_GAIN:
        raise UnreadableError(f"gain {quote(text)} is not within {MIN_GAIN:g} to {MAX_GAIN:g} counts per mV")
    return _Gain(gain, _integer(baseline) if baseline else None, factor is not None)


@dataclass(frozen=True, eq=False)
class _Field:
    """A column of a line: what it looks like, how its text becomes a value, and the value when it is missing."""

    name: str
    pattern: re.Pattern[str]
    convert: Callable[[str], Any]
    default: Any = None
    needed: bool = False  # a text that does not fit: True refuses the header, False counts as missing, with a repair


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)  # no digits of other scripts


# Patterns take one pass over any text: no two neighbouring parts of them match the same character.
_UNSIGNED = r"\d+"
_SIGNED = r"[+-]?\d+"
_REAL = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_GAIN = _pattern(rf"{_REAL}(?:\({_SIGNED}\))?(?:/\S*)?")
RECORD_FIELDS: Final = (  # date and time follow and are not used
    _Field("record name", _pattern(r"\S+"), _record_name, needed=True),
    _Field("number of leads", _pattern(_UNSIGNED), _lead_count, needed=True),
    _Field("sampling frequency", _pattern(rf"{_REAL}(?:/{_REAL})?(?:\({_REAL}\))?"), _frequency, needed=True),
    _Field("number of samples", _pattern(rf"{_UNSIGNED}|\w+[-:/.]\S*"), _sample_count),
)
SIGNAL_FIELDS: Final = (
    _Field("file name", _pattern(r"\S+"), _file_name, needed=True),
    _Field("format", _pattern(r"\d{1,4}(?:x\d{1,4})?(?::\d{1,9})?(?:\+\d{1,9})?"), str, needed=True),
    _Field("gain", _GAIN, _gain, _Gain(), needed=True),
    _Field("ADC resolution", _pattern(_SIGNED), _integer),
    _Field("ADC zero", _pattern(_SIGNED), _integer, 0, needed=True),
    _Field("first value", _pattern(_SIGNED), _integer),
    _Field("checksum", _pattern(_SIGNED), _integer),
    _Field("block size", _pattern(_SIGNED), _integer),
    _Field("lead name", _pattern(r".*"), str.strip, ""),
)
_FILE_OF = attrgetter("file")
_LEAD = partial(tuple.__new__, LeadHeader)  # LeadHeader._make, in a third of the time


# Signal lines as nearly all headers of the Challenge have them: what their fields would be read as is plain.
_PLAIN_LEADS = re.compile(
    r"^(\S+) (16(?:x1)?(?:\+24)?) (\S+) 16 0 (-?\d{1,17}) (-?\d{1,17}) 0 ([A-Za-z0-9]+)$", re.ASCII | re.MULTILINE
)
_UNKNOWN = frozenset({"", "nan", "unknown", "unspecified", "none", "null", "n/a", "na", "?", "-"})
_AGE = _pattern(_REAL)
_SEXES: dict[str, Sex] = {"female": "female", "f": "female", "male": "male", "m": "male"}


def _age(text: str, notes: RepairLog) -> float | None:
    if text.lower() in _UNKNOWN:
        return None
    age = float(text) if _AGE.fullmatch(text) else math.nan
    if age < 0:
        return None  # the Challenge writes -1 for unknown
    if not age <= MAX_AGE:
        notes.add("unreadable-age", quote(text))
        return None
    return age


def _sex(text: str, notes: RepairLog) -> Sex | None:
    sex = _SEXES.get(text.lower())
    if sex is None and text.lower() not in _UNKNOWN:
        notes.add("unreadable-sex", quote(text))
    return sex


def _codes(text: str, notes: RepairLog) -> tuple[str, ...]:
    return tuple(code for item in text.split(",") if (code := item.strip()))


# Comment lines `#Key: text`, the key in any case. All other keys (Rx, Hx, Sx) are not used.
COMMENT_FIELDS: Final[dict[str, Callable[[str, RepairLog], Any]]] = {"age": _age, "sex": _sex, "dx": _codes}
_BLANKS = " \t\n\r\f\v"


def parse_header(text: str | bytes | Sequence[str], source: str = "header") -> Header:
    """Reads a header from its text, its bytes, or its lines with or without line ends.

    `source` names it in errors. Raises RecordingError where the record line or a signal line cannot be used. Fields and
    their order: WFDB's header(5), https://physionet.org/physiotools/wag/header-5.htm.
    """
    lines, comments = _split_lines(text)
    notes = RepairLog()
    try:
        if not lines:
            raise UnreadableError("the header is empty")
        words, known = lines[0].split(), _nothing_known(RECORD_FIELDS)
        name, declared, frequency, samples = _read_fields(RECORD_FIELDS, words, notes, known)
        database = _source(name)
        if frequency is None:
            notes.add("default-frequency", f"{DEFAULT_FREQUENCY:g} Hz")
        elif not _is_usual(database, frequency, samples):
            notes.add("unusual-frequency", f"{frequency:.15g} Hz in a recording of source {database}")
        leads = _read_leads(name, database, declared, lines[1:], notes)
        metadata = _read_comments(comments, notes)
    except UnreadableError as refusal:
        raise RecordingError(source, str(refusal)) from None
    return Header(
        name=name,
        sampling_frequency=frequency or DEFAULT_FREQUENCY,
        samples=samples,
        leads=leads,
        age=metadata.get("age"),
        sex=metadata.get("sex"),
        codes=metadata.get("dx", ()),
        repairs=notes.repairs(),
    )


def _is_usual(source: str, frequency: float, samples: int | None) -> bool:
    """Whether recordings of the source have this sampling frequency; of one that is not known any may be right."""
    usual = _usual_frequencies(source)
    return not usual or any(frequency == hertz and (samples or 0) / hertz <= longest for hertz, longest in usual)


@lru_cache(maxsize=64)
def _usual_frequencies(source: str) -> tuple[tuple[float, float], ...]:
    return tuple((hertz, longest) for prefix, hertz, longest in USUAL_FREQUENCIES if prefix == source)


def header_codes(text: str | bytes | Sequence[str]) -> tuple[str, ...]:
    """The items of all Dx lines alone, as `Header.codes` has them, also where a signal line would refuse the header."""
    codes: tuple[str, ...] = _read_comments(_split_lines(text)[1], RepairLog()).get("dx", ())
    return codes


def _split_lines(text: str | bytes | Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines and comment lines, without blank ones and blanks around them; any line ends, with or without a mark."""
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
    fields: Sequence[_Field], tokens: Sequence[str], notes: RepairLog, known: Sequence[dict[str, Any]]
) -> list[Any]:
    """Values of a line's fields, from its words in order; defaults for those that are left out.

    `known` has a dictionary for each field, word -> value, kept from line to line: most words are the same in all.
    """
    values = []
    for field, token, meanings in zip(fields, tokens, known, strict=False):
        if token not in meanings:
            meanings[token] = _read_field(field, token, notes)
        values.append(meanings[token])
    for field in fields[len(values) :]:
        if field in fields[:2]:  # WFDB lets all but the first two fields of a line be left out
            raise UnreadableError(f"a line has no {field.name}")
        values.append(field.default)
    return values


def _nothing_known(fields: Sequence[_Field]) -> list[dict[str, Any]]:
    return [{} for _ in fields]


def _read_field(field: _Field, token: str, notes: RepairLog) -> Any:
    if field.pattern.fullmatch(token):
        return field.convert(token)
    if field.needed:
        raise UnreadableError(f"{field.name} {quote(token)} cannot be read")
    notes.add("unreadable-field", f"{field.name} {quote(token)}")
    return field.default


def _read_leads(
    record: str, source: str, declared: int, lines: Sequence[str], notes: RepairLog
) -> tuple[LeadHeader, ...]:
    """Leads that the signal lines describe, with gains corrected."""
    if not lines:
        raise UnreadableError(f"declares {declared} leads and describes none")
    if len(lines) < declared:
        notes.add("lead-count", f"{declared} declared, {len(lines)} described")
    for line in lines[declared:]:
        notes.add("extra-lines", quote(line))
    lines = lines[:declared]
    leads = _read_plain_leads(lines, source, notes)
    if leads is None:
        known = _nothing_known(SIGNAL_FIELDS)
        leads = tuple(_read_lead(line, source, notes, known) for line in lines)
        _compare_leads(leads, notes)
    # Only MATLAB files are bound to have the record's name; others may be called anything.
    files = set(map(_FILE_OF, leads))
    names = {strip_mat_suffix(file) for file in files if file[-4:].lower() == ".mat"}
    if names - {record}:
        notes.add("names-differ", ", ".join(map(quote, (record, *sorted(names - {record})))))
    return leads


def _compare_leads(leads: Sequence[LeadHeader], notes: RepairLog) -> None:
    different = dict.fromkeys((lead.adc_gain, lead.baseline) for lead in leads)
    if len(different) > 1:
        notes.add("gains-differ", "; ".join(f"{gain:.15g} counts per mV from {zero}" for gain, zero in different))


def _read_plain_leads(lines: Sequence[str], source: str, notes: RepairLog) -> tuple[LeadHeader, ...] | None:
    """What `_read_lead` says of each line, at once, where all are plain and of one file, format and gain; else None.

    This is for speed alone: a third of the time.
    """
    found = _PLAIN_LEADS.findall("\n".join(lines))
    if len(found) != len(lines):
        return None
    files, formats, gains, firsts, checksums, names = zip(*found, strict=True)
    if len(set(files)) > 1 or len(set(formats)) > 1 or len(set(gains)) > 1 or not _GAIN.fullmatch(gains[0]):
        return None
    file, gain = _file_name(files[0]), _gain(gains[0])
    if not gain.unit_known:
        return None  # a repair that names each lead
    adc_gain, baseline = _corrected_gain(gain.per_millivolt, source, notes), gain.baseline or 0
    same = map(repeat, (file, formats[0], adc_gain, baseline))
    rows = zip(names, *same, map(int, firsts), map(int, checksums), strict=False)
    return tuple(map(_LEAD, rows))


def _read_lead(line: str, source: str, notes: RepairLog, known: Sequence[dict[str, Any]]) -> LeadHeader:
    """One signal line; `source` is the prefix that known wrong gains go by, `known` is `_read_fields`'s."""
    tokens = line.split(None, len(SIGNAL_FIELDS) - 1)
    last = len(tokens) - 1
    short_name = ""
    if 2 <= last < len(SIGNAL_FIELDS) - 1 and not SIGNAL_FIELDS[last].pattern.fullmatch(tokens[last]):
        short_name = tokens.pop()  # numbers may be left out from the right; the name follows all the same
    file, format_, gain, _, zero, first_value, checksum, _, name = _read_fields(SIGNAL_FIELDS, tokens, notes, known)
    name = name or short_name
    if not name:
        notes.add("unnamed-leads", quote(line))
    if not gain.unit_known:
        notes.add("unknown-unit", f"{quote(tokens[2])} of {quote(name)}")
    baseline = zero if gain.baseline is None else gain.baseline
    adc_gain = _corrected_gain(gain.per_millivolt, source, notes)
    return LeadHeader(name, file, format_, adc_gain, baseline, first_value, checksum)


def _corrected_gain(gain: float, source: str, notes: RepairLog) -> float:
    """Counts per mV: as declared, WFDB's default for 0, or 1000 where the declared gain is known to be wrong."""
    if gain == 0:
        notes.add("default-gain", f"{DEFAULT_GAIN:g} counts per mV")
        return DEFAULT_GAIN
    for prefix, lowest, highest in WRONG_GAINS:
        if source == prefix and lowest <= gain <= highest:
            notes.add("wrong-gain", f"{gain:.15g} declared, {RIGHT_GAIN:g} counts per mV used")
            return RIGHT_GAIN
    return gain


def _read_comments(comments: Iterable[str], notes: RepairLog) -> dict[str, Any]:
    """Values of `COMMENT_FIELDS` that the comment lines give; several Dx lines are joined."""
    values: dict[str, Any] = {}
    for comment in comments:
        key, colon, text = comment.lstrip("#" + _BLANKS).partition(":")
        key = key.rstrip(_BLANKS).lower()
        if not colon or key not in COMMENT_FIELDS:
            continue
        value = COMMENT_FIELDS[key](text.strip(), notes)
        if key == "dx":
            values[key] = values.get(key, ()) + value
        elif values.get(key) is None:
            values[key] = value
        elif value is not None and value != values[key]:
            notes.add("repeated-comment", quote(comment))
    return values
