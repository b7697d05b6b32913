"""Parse WFDB headers, with every quirk of real ones.

Tables of fields state the pattern of each column and how its text becomes a value. What cannot be used raises
`RecordingError`; what is repaired or doubtful is named in `Header.repairs`. A signal line that cannot be used costs its
lead, not the recording. A header is not trusted: no number in it exceeds the limits below, and `signal_files.py` opens
no file outside its folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, repeat
from typing import Any, Final, Literal, NamedTuple

from leadwise.ecg.lead_names import STANDARD_LEADS as STANDARD_LEADS
from leadwise.ecg.lead_names import parse_lead_names
from leadwise.ecg.repairs import RecordingError, Repair, RepairLog, UnreadableError, quote

Sex = Literal["female", "male"]

# Limits: beyond them a number in a file is an error or an attack. A day at 1000 Hz has 86 million samples.
MAX_SAMPLES: Final = 100_000_000
MAX_LEADS: Final = 256
MIN_FREQUENCY, MAX_FREQUENCY = 20.0, 20_000.0  # Hz
MIN_GAIN, MAX_GAIN = 1e-6, 1e12  # counts per mV; 32 bits over 4 nV, and a count of 1 kV
MAX_AGE: Final = 300.0  # years; PTB-XL writes 300 for "over 89", and the value is kept
DEFAULT_FREQUENCY: Final = 250.0  # Hz, if a header has none (WFDB header(5): DEFFREQ)
DEFAULT_GAIN: Final = 200.0  # counts per mV, if a header has none or 0 (WFDB header(5): DEFGAIN)

# Source prefix -> lowest and highest wrong gain (counts per mV) in the Challenge's first release; the later says 1000.
WRONG_GAINS: Final = {"E": (4880.0, 4880.0), "HR": (200.0, 200.0), "S": (2e6, 2e6), "I": (240_000.0, 1_041_000.0)}
RIGHT_GAIN: Final = 1000.0  # counts per mV

# Source prefix -> sampling frequency (Hz), as the Challenge describes its data. A header states this number only once.
USUAL_FREQUENCIES: Final = {"A": 500.0, "Q": 500.0, "I": 257.0, "S": 1000.0, "HR": 500.0, "E": 500.0, "JS": 500.0}
PTB_XL_LOW_FREQUENCY: Final = 100.0  # Hz; PTB-XL publishes its recordings of ten seconds at this frequency too


class LeadHeader(NamedTuple):
    """One signal line of a header."""

    name: str
    file: str
    format: str  # as the header has it, such as "16", "16+24", "212"
    adc_gain: float  # counts per mV, after correction; NaN if impossible or unreadable
    baseline: int  # count that means 0 mV: from the gain field, else the ADC zero, else 0
    first_value: int | None = None  # counts
    checksum: int | None = None  # sum of all counts, modulo 2 ** 16


@dataclass(frozen=True)
class Header:
    """Hold the contents of a header."""

    name: str
    sampling_frequency: float  # Hz, of the leads with most samples per frame
    samples: int | None  # per lead at that frequency, as declared; None if the header does not say
    leads: tuple[LeadHeader, ...]
    age: float | None  # years
    sex: Sex | None
    codes: tuple[str, ...]  # unchanged items of all Dx lines, in order: SNOMED CT codes or any other text
    repairs: tuple[Repair, ...]

    @property
    def source(self) -> str:
        """Return the database's prefix, the letters before the number: A, Q, I, S, HR, E, JS; "" if there are none."""
        return _source(self.name)


def _source(name: str) -> str:
    match = re.match(r"[A-Za-z]+(?=[0-9])", name)
    return match.group() if match else ""


def strip_mat_suffix(name: str) -> str:
    """Return the name without a final ".mat" in any case."""
    return name[:-4] if in_matlab_file(name) else name


def in_matlab_file(file: str) -> bool:
    """Return whether a signal is said to be in a MATLAB file, which states its own format."""
    return file[-4:].lower() == ".mat"


def samples_per_frame_of(file: str, format: str) -> int:
    """Return the number of a lead's samples in each frame of a WFDB signal file, such as 4 for the format 16x4."""
    number = None if in_matlab_file(file) else re.search(r"x(\d+)", format)
    return int(number[1]) if number else 1


def last_part(name: str) -> str:
    """Return a file's name without the folders before it, separated as on any system."""
    return name.replace("\\", "/").rpartition("/")[2]


def _record_name(text: str) -> str:
    if "/" in text or "\\" in text:
        raise UnreadableError(f"record name {quote(text)} is a path, or of several segments without their files")
    if not text.strip("."):
        raise UnreadableError(f"record name {quote(text)} is not a name")
    return strip_mat_suffix(text)


def _lead_count(text: str) -> int:
    if not 0 < float(text) <= MAX_LEADS:
        raise UnreadableError(f"declares {quote(text)} leads; 1 to {MAX_LEADS} are read")
    return int(float(text))


def _frequency(text: str) -> float:
    return float(text.partition("/")[0].partition("(")[0])  # the counter's frequency and base may follow


def _checked_frequency(frames: float, samples_per_frame: int) -> float:
    """Return the frequency (Hz) of the leads with most samples per frame."""
    frequency = frames * samples_per_frame
    if not MIN_FREQUENCY <= frequency <= MAX_FREQUENCY:
        raise UnreadableError(f"sampling frequency {frequency:g} is outside {MIN_FREQUENCY:g} to {MAX_FREQUENCY:g} Hz")
    return frequency


def _sample_count(text: str) -> int | None:
    if not text.partition(".")[0].isdigit() or text.partition(".")[2].strip("0"):
        return None  # a date or time: the number was left out
    if float(text) > MAX_SAMPLES:
        raise UnreadableError(f"declares {quote(text)} samples; at most {MAX_SAMPLES} are read")
    return int(float(text)) or None  # 0 means unknown in WFDB


def _integer(text: str) -> int:
    if len(text) > 18:
        raise UnreadableError(f"{quote(text)} is too large a number")
    return round(float(text)) if "." in text else int(text)


MILLIVOLTS: Final = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}  # mV of a unit
_PER_MILLIVOLT = {"": 1.0, "mv": 1.0, "v": 1e-3, "uv": 1e3, "\N{MICRO SIGN}v": 1e3, "\N{GREEK SMALL LETTER MU}v": 1e3}


@lru_cache(maxsize=64)  # a data set has a handful
def _gain(text: str) -> tuple[float, int | None, bool]:
    """Return counts per mV (0 if not stated, NaN if impossible), baseline, and whether the unit is known."""
    number, _, unit = text.partition("/")
    number, _, baseline = number.rstrip(")").partition("(")
    factor = _PER_MILLIVOLT.get(unit.lower())
    gain = float(number) * (factor or 1.0)
    if gain != 0 and not MIN_GAIN <= abs(gain) <= MAX_GAIN:
        gain = math.nan
    return gain, _integer(baseline) if baseline else None, factor is not None


@dataclass(frozen=True, eq=False)
class _Field:
    """A column of a line: its pattern, the conversion of its text, and the value if it is missing."""

    name: str
    pattern: re.Pattern[str]
    convert: Callable[[str], Any]
    default: Any = None
    required: bool = False  # if the pattern does not match: True refuses the header, False uses the default (a repair)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)  # no digits of other scripts


# Patterns take one pass over any text: no two neighbouring parts of them match the same character.
_UNSIGNED = r"\d+(?:\.0*)?"
_SIGNED = r"[+-]?\d+(?:\.\d*)?"  # some programs write whole numbers as 0.0
_REAL = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_GAIN = _pattern(rf"{_REAL}(?:\({_SIGNED}\))?(?:/\S*)?")
RECORD_LINE_BYTES: Final = 4000  # of a header that contain its first line
RECORD_FIELDS: Final = (  # a date and time that may follow are ignored
    _Field("record name", _pattern(r"\S+"), _record_name, required=True),
    _Field("number of leads", _pattern(_UNSIGNED), _lead_count, required=True),
    _Field("sampling frequency", _pattern(rf"{_REAL}(?:/{_REAL})?(?:\({_REAL}\))?"), _frequency, required=True),
    _Field("number of samples", _pattern(rf"{_UNSIGNED}|\w+[-:/.]\S*"), _sample_count),
)
SIGNAL_FIELDS: Final = (
    _Field("file name", _pattern(r"\S+"), str, required=True),
    _Field("format", _pattern(r"\d{1,4}(?:x\d{1,4})?(?::\d{1,9})?(?:\+\d{1,9})?"), str, required=True),
    _Field("gain", _GAIN, _gain, (0.0, None, True), required=True),
    _Field("ADC resolution", _pattern(_SIGNED), _integer),
    _Field("ADC zero", _pattern(_SIGNED), _integer, 0, required=True),
    _Field("first value", _pattern(_SIGNED), _integer),
    _Field("checksum", _pattern(_SIGNED), _integer),
    _Field("block size", _pattern(_SIGNED), _integer),
    _Field("lead name", _pattern(r".*"), str.strip, ""),
)
_LEAD = partial(tuple.__new__, LeadHeader)  # LeadHeader._make, in a third of the time

# Matches the signal lines of nearly all headers of the Challenge, whose fields need no conversion but int().
_PLAIN_LEADS = re.compile(
    r"^(\S+) (16(?:x1)?(?:\+24)?) (\S+) 16 0 (-?\d{1,17}) (-?\d{1,17}) 0 ([A-Za-z0-9]+)$", re.ASCII | re.MULTILINE
)
_UNKNOWN = frozenset({"", "nan", "unknown", "unspecified", "none", "null", "n/a", "na", "?", "-"})
_AGE = _pattern(_REAL)
_SEXES: dict[str, Sex] = {"female": "female", "f": "female", "male": "male", "m": "male"}


def _age(text: str, repairs: RepairLog) -> float | None:
    age = float(text) if _AGE.fullmatch(text) else math.nan
    if 0 <= age <= MAX_AGE:
        return age
    if not age < 0 and text.lower() not in _UNKNOWN:  # the Challenge writes -1 for unknown
        repairs.add("unreadable-age", quote(text))
    return None


def parse_sex(text: str) -> Sex | None:
    """Return the meaning of a word; None for any other than female, male, f and m."""
    return _SEXES.get(text.strip().lower())


def _sex(text: str, repairs: RepairLog) -> Sex | None:
    sex = parse_sex(text)
    if sex is None and text.lower() not in _UNKNOWN:
        repairs.add("unreadable-sex", quote(text))
    return sex


def _codes(text: str, repairs: RepairLog) -> tuple[str, ...]:
    return tuple(code for item in text.split(",") if (code := item.strip()))


# Comment lines `#Key: text`, the key in any case. All other keys (Rx, Hx, Sx) are ignored.
COMMENT_FIELDS: Final[dict[str, Callable[[str, RepairLog], Any]]] = {"age": _age, "sex": _sex, "dx": _codes}
_BLANKS = " \t\n\r\f\v"
_BRACKETED = re.compile(r"<(age|sex|dx)>:?([^<]*)", re.IGNORECASE)  # as in PhysioNet's "<age>: 74 <sex>: M"


def parse_header(text: str | bytes | Sequence[str], source: str = "header") -> Header:
    """Parse a header, passed as text, bytes, or lines with or without line ends; `source` names it in errors.

    Raises RecordingError if the record line or a signal line cannot be used. Fields and their order: WFDB's header(5),
    https://physionet.org/physiotools/wag/header-5.htm."""
    lines, comments = split_lines(text)
    repairs = RepairLog()
    try:
        if not lines:
            raise UnreadableError("the header is empty")
        words = lines[0].split()
        name, declared, frames, samples = _read_fields(RECORD_FIELDS, words, repairs, [{} for _ in words])
        database = _source(name)
        if frames is None:
            repairs.add("default-frequency", f"{DEFAULT_FREQUENCY:g} Hz")
        leads = _read_leads(name, database, declared, lines[1:], repairs)
        samples_per_frame = max(samples_per_frame_of(*each) for each in {(lead.file, lead.format) for lead in leads})
        frequency = _checked_frequency(DEFAULT_FREQUENCY if frames is None else frames, samples_per_frame)
        samples = samples and samples * samples_per_frame
        if frames is not None and not _is_usual(database, frequency, samples):
            repairs.add("unusual-frequency", f"{frequency:.15g} Hz in a recording of source {database}")
        found = _read_comments(comments, repairs)
    except UnreadableError as refusal:
        raise RecordingError(source, str(refusal)) from None
    age, sex, codes = found.get("age"), found.get("sex"), found.get("dx", ())
    return Header(name, frequency, samples, leads, age, sex, codes, repairs.merged())


def declared_seconds(raw: bytes) -> float | None:
    """Return the duration by the record line alone, of one or of several segments; None if it does not say."""
    start = raw[:RECORD_LINE_BYTES].removeprefix(b"\xef\xbb\xbf")
    lines = (line.split() for line in start.splitlines())
    words = next((words for words in lines if words and not words[0].startswith(b"#")), [])
    try:
        seconds = float(words[3]) / float(words[2].partition(b"/")[0].partition(b"(")[0])
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return seconds if 0 < seconds < math.inf else None


def _is_usual(database: str, frequency: float, samples: int | None) -> bool:
    """Return whether the database has recordings of this sampling frequency; True for an unknown database."""
    if database == "HR" and frequency == PTB_XL_LOW_FREQUENCY:
        return (samples or 0) <= 10 * frequency
    return USUAL_FREQUENCIES.get(database, frequency) == frequency


def header_codes(text: str | bytes | Sequence[str]) -> tuple[str, ...]:
    """Return the same as `Header.codes`, also from a header that is refused for its other lines."""
    return tuple(_read_comments(split_lines(text)[1], RepairLog()).get("dx", ()))


def split_lines(text: str | bytes | Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a header into lines and comment lines, stripped, without blank ones and a byte-order mark."""
    if isinstance(text, bytes):
        raw = text
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # never fails: one character a byte
    elif not isinstance(text, str):
        text = "\n".join(line.rstrip("\r\n") for line in text)
    lines = text.removeprefix("\ufeff").replace("\r", "\n").split("\n")
    stripped = [line for item in lines if (line := item.strip())]
    return [line for line in stripped if line[0] != "#"], [line for line in stripped if line[0] == "#"]


def _read_fields(
    fields: Sequence[_Field], tokens: list[str], repairs: RepairLog, cache: list[dict[str, Any]]
) -> list[Any]:
    """Return the values of a line's fields, defaults for those left out. `cache` (token -> value, for each field) is
    kept from line to line, since most tokens are the same in all."""
    values = []
    for field, token, known in zip(fields, tokens, cache, strict=False):
        if token not in known:
            known[token] = _read_field(field, token, repairs)
        values.append(known[token])
    for field in fields[len(values) :]:
        if field in fields[:2]:  # WFDB lets all but the first two fields of a line be left out
            raise UnreadableError(f"a line has no {field.name}")
        values.append(field.default)
    return values


def _read_field(field: _Field, token: str, repairs: RepairLog) -> Any:
    if field.pattern.fullmatch(token):
        return field.convert(token)
    if field.required:
        raise UnreadableError(f"{field.name} {quote(token)} cannot be read")
    repairs.add("unreadable-field", f"{field.name} {quote(token)}")
    return field.default


def _read_leads(
    record: str, database: str, declared: int, lines: list[str], repairs: RepairLog
) -> tuple[LeadHeader, ...]:
    if not lines:
        raise UnreadableError(f"declares {declared} leads and describes none")
    if len(lines) < declared:
        repairs.add("lead-count", f"{declared} declared, {len(lines)} described")
    for line in lines[declared:]:
        repairs.add("extra-lines", quote(line))
    lines = lines[:declared]
    leads = _read_plain_leads(lines, database, repairs)
    if leads is None:
        cache: list[dict[str, Any]] = [{} for _ in SIGNAL_FIELDS]
        leads = _with_lost_leads([_read_or_lose(line, database, repairs, cache) for line in lines])
        scales = dict.fromkeys((lead.adc_gain, lead.baseline) for lead in leads if not math.isnan(lead.adc_gain))
        if len(scales) > 1:
            repairs.add("gains-differ", "; ".join(f"{gain:.15g} counts per mV from {zero}" for gain, zero in scales))
    # Only MATLAB files must have the record's name; others may be called anything.
    files = {lead.file for lead in leads}
    others = {strip_mat_suffix(last_part(file)) for file in files if in_matlab_file(file)} - {record}
    if others:
        repairs.add("names-differ", ", ".join(map(quote, (record, *sorted(others)))))
    return leads


def _read_plain_leads(lines: Sequence[str], database: str, repairs: RepairLog) -> tuple[LeadHeader, ...] | None:
    """Return `_read_lead` of all lines at once, in a third of the time; None unless all are plain and of one file,
    format and gain."""
    found = _PLAIN_LEADS.findall("\n".join(lines))
    if len(found) != len(lines):
        return None
    files, formats, gains, firsts, checksums, names = zip(*found, strict=True)
    if len(set(files)) > 1 or len(set(formats)) > 1 or len(set(gains)) > 1 or not _GAIN.fullmatch(gains[0]):
        return None
    gain, baseline, unit_known = _gain(gains[0])
    if not unit_known or math.isnan(gain):
        return None  # a repair that names each lead
    same = map(repeat, (files[0], formats[0], _corrected_gain(gain, database, repairs), baseline or 0))
    return tuple(map(_LEAD, zip(names, *same, map(int, firsts), map(int, checksums), strict=False)))


def _read_or_lose(
    line: str, database: str, repairs: RepairLog, cache: list[dict[str, Any]]
) -> LeadHeader | UnreadableError:
    """Return the lead of a signal line, or why the line cannot be read."""
    try:
        return _read_lead(line, database, repairs, cache)
    except UnreadableError as error:
        name = line.split()[-1]
        if parse_lead_names([name])[0].lead is None:
            name = ""
        repairs.add("lead-unreadable", f"{quote(name)}: {error}")
        error.args = (str(error), name)
        return error


def _with_lost_leads(leads: Sequence[LeadHeader | UnreadableError]) -> tuple[LeadHeader, ...]:
    """Return the leads, those whose lines cannot be read without a gain. Raises UnreadableError if none can be read, or
    if the others are in files of several formats, which leaves the place of its samples unknown."""
    places = {(lead.file, lead.format) for lead in leads if isinstance(lead, LeadHeader)}
    lost = [lead for lead in leads if isinstance(lead, UnreadableError)]
    if lost and len(places) != 1:
        raise UnreadableError(lost[0].args[0])
    return tuple(
        lead if isinstance(lead, LeadHeader) else LeadHeader(lead.args[1], *next(iter(places)), math.nan, 0)
        for lead in leads
    )


def _read_lead(line: str, database: str, repairs: RepairLog, cache: list[dict[str, Any]]) -> LeadHeader:
    tokens = line.split(None, len(SIGNAL_FIELDS) - 1)
    last = len(tokens) - 1
    short_name = ""
    if 2 <= last < len(SIGNAL_FIELDS) - 1 and not SIGNAL_FIELDS[last].pattern.fullmatch(tokens[last]):
        short_name = tokens.pop()  # numbers may be left out from the right; the name still follows
    file, format_, scale, _, zero, first_value, checksum, _, name = _read_fields(SIGNAL_FIELDS, tokens, repairs, cache)
    gain, baseline, unit_known = scale
    name = name or short_name
    if not name:
        repairs.add("unnamed-leads", quote(line))
    if not unit_known:
        repairs.add("unknown-unit", f"{quote(tokens[2])} of {quote(name)}")
    if math.isnan(gain):
        repairs.add("impossible-gain", f"{quote(tokens[2])} of {quote(name)}")
    baseline = zero if baseline is None else baseline
    return LeadHeader(name, file, format_, _corrected_gain(gain, database, repairs), baseline, first_value, checksum)


def _corrected_gain(gain: float, database: str, repairs: RepairLog) -> float:
    """Return counts per mV: as declared, WFDB's default for 0, or 1000 if the declared gain is known to be wrong."""
    if gain == 0:
        repairs.add("default-gain", f"{DEFAULT_GAIN:g} counts per mV")
        return DEFAULT_GAIN
    lowest, highest = WRONG_GAINS.get(database, (math.inf, math.inf))
    if not lowest <= gain <= highest:
        return gain
    repairs.add("wrong-gain", f"{gain:.15g} declared, {RIGHT_GAIN:g} counts per mV used")
    return RIGHT_GAIN


def _read_comments(comments: Iterable[str], repairs: RepairLog) -> dict[str, Any]:
    """Return the values of `COMMENT_FIELDS` in the comment lines, with several Dx lines joined."""
    values: dict[str, Any] = {}
    for key, text in chain.from_iterable(map(_comment_fields, comments)):
        value = COMMENT_FIELDS[key](text, repairs)
        if key == "dx":
            values[key] = values.get(key, ()) + value
        elif values.get(key) is None:
            values[key] = value
        elif value is not None and value != values[key]:
            repairs.add("repeated-comment", f"{key} {quote(text)}")
    return values


def _comment_fields(comment: str) -> list[tuple[str, str]]:
    """Return the `COMMENT_FIELDS` of a comment with their texts: one at its start, or any number in brackets."""
    key, colon, text = comment.lstrip("#" + _BLANKS).partition(":")
    if colon and (key := key.rstrip(_BLANKS).lower()) in COMMENT_FIELDS:
        return [(key, text.strip())]
    return [(key.lower(), text.strip()) for key, text in _BRACKETED.findall(comment)] if "<" in comment else []
