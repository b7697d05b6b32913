"""Read CSV files: a row of lead names, then a row for each sample, with or without a column of times."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.formats.channels import Channel, counts_in_microvolts
from leadwise.ecg.header import MAX_LEADS, MIN_FREQUENCY
from leadwise.ecg.repairs import RepairLog, UnreadableError, quote

MISSING: Final = frozenset({"", "-", "na", "n/a", "nan", "null", "none"})
NEAR_INTEGER: Final = 5e-4  # of a sampling frequency; times are rounded
JITTER: Final = 1.0  # steps by which a time may differ from its place, for the same reason

_LEAD = re.compile(
    r"(?:^|[^a-z0-9])(?:d?i{1,3}|d[1-3]|-?av[rlf]|[vc][1-9]r?|m?lii?i?|[ek][ck]g\d*|(?:lead|ch(?:annel)?)\W?\d+)(?:$|[^a-z0-9])"
)
_TIME = re.compile(r"(?:elapsed[\W_]*)?(?:time(?:[\W_]*stamp)?|t|s|secs?|seconds?|ms|msecs?|milliseconds?)(?![a-z0-9])")
_TIME_UNITS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0}
_TIME_UNITS |= dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1e-3)
_TIME_UNITS |= dict.fromkeys(("us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s", "microseconds"), 1e-6)
_UNIT = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]\s*$|[\s_](nV|uV|mV|V)$")
_UNITS = {"v": "V", "mv": "mV", "nv": "nV", "uv": "uV", "\N{MICRO SIGN}v": "uV", "\N{GREEK SMALL LETTER MU}v": "uV"}


@dataclass(frozen=True)
class _Layout:
    delimiter: str
    names: list[str]


def looks_like_ecg(head: bytes) -> bool:
    """Return whether a file begins as a table with a name of a lead in its first row and numbers in its second."""
    if b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return False
    lines = [line for line in _lines(head) if line.strip()][:2]
    layout = _layout(lines[0]) if len(lines) == 2 else None
    if layout is None or not any(_LEAD.search(name.lower()) for name in layout.names):
        return False
    try:
        return len(_row(lines[1], layout)) == len(layout.names)
    except ValueError:
        return False


def read_table(raw: bytes, sampling_frequency: float | None, repairs: RepairLog) -> list[Channel]:
    """Return the channels of a CSV file. `sampling_frequency` in Hz is for a file without a column of times.

    Raises UnreadableError."""
    lines = enumerate(_lines(raw), 1)
    layout = next((_layout(line) for _, line in lines if line.strip()), None)
    if layout is None:
        raise UnreadableError("its first line has no names of leads")
    if len(layout.names) > MAX_LEADS:
        raise UnreadableError(f"has {len(layout.names)} columns; at most {MAX_LEADS} are read")
    values = _values(lines, layout)  # (samples, columns)
    if not len(values):
        raise UnreadableError("the signal has no samples")
    columns = dict(enumerate(layout.names))
    times = next((column for column, name in columns.items() if _TIME.match(name.lower())), None)
    if times is not None:
        sampling_frequency = _frequency(values[:, times], columns.pop(times))
    if sampling_frequency is None:
        raise UnreadableError("has no column of times; its sampling frequency must be given")
    for column in [column for column, name in columns.items() if not name]:
        repairs.add("column-ignored", f"column {column + 1}")
        del columns[column]
    assumed = assumed_unit(values[:, [column for column, name in columns.items() if _unit(name) is None]])
    return [_channel(name, values[:, column], sampling_frequency, assumed, repairs) for column, name in columns.items()]


def assumed_unit(values: NDArray[np.float64]) -> str:
    """Return the unit that numbers without one are taken to have: uV for integers, as in the Challenge, else mV."""
    finite = values[np.isfinite(values)]
    return "uV" if (finite == np.rint(finite)).all() else "mV"


def _lines(raw: bytes) -> io.TextIOWrapper:
    """Return the lines one by one, since a day has millions; any line ends."""
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return io.TextIOWrapper(io.BytesIO(raw), encoding, errors="replace")


def _layout(line: str) -> _Layout | None:
    """Return the delimiter and the names of the first row; None unless it has several, of which some are no numbers."""
    delimiter = next((mark for mark in "\t;," if mark in line), None)
    if delimiter is None:
        return None
    try:
        names = [name.strip().strip("'\"").strip() for name in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return None
    if not any(re.search("[^0-9.,eE+ -]", name) for name in names):
        return None
    return _Layout(delimiter, names)


def _row(line: str, layout: _Layout) -> list[float]:
    """Return the numbers of a line, NaN for missing ones. Raises ValueError for other text."""
    if layout.delimiter != ",":
        line = line.replace(",", ".")  # a decimal comma
    if '"' in line or "_" in line:
        line = line.replace('"', "").replace("_", "?")  # float() would take 1_0 for 10
    words = line.split(layout.delimiter)
    return [math.nan if word.strip().lower() in MISSING else float(word) for word in words]


def _values(lines: Iterator[tuple[int, str]], layout: _Layout) -> NDArray[np.float64]:
    """Return the numbers of all rows, (samples, columns)."""
    values, columns = array("d"), len(layout.names)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = _row(line, layout)
        except ValueError:
            raise UnreadableError(f"line {number} has a value that is no number: {quote(line.strip())}") from None
        if len(row) != columns:
            raise UnreadableError(f"line {number} has {len(row)} values, the first line {columns} names")
        values.extend(row)
    return np.frombuffer(values, np.float64).reshape(-1, columns)


def _frequency(times: NDArray[np.float64], name: str) -> float:
    """Return the sampling frequency in Hz of a column of equidistant times in s, ms or us, by its name.

    Without a unit, steps beyond 50 ms would be below the lowest sampling frequency, so they are ms."""
    if len(times) < 2 or not np.isfinite(times).all():
        raise UnreadableError(f"times are missing in its column {quote(name)}")
    step = (times[-1] - times[0]) / (len(times) - 1)
    if not step > 0 or np.abs(times - times[0] - step * np.arange(len(times))).max() > JITTER * step:
        raise UnreadableError(f"the times in its column {quote(name)} are not equidistant")
    words = re.split(r"[^a-z\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}]+", name.lower())
    guess = 1.0 if step <= 1 / MIN_FREQUENCY else 1e-3
    seconds = step * next((_TIME_UNITS[word] for word in reversed(words) if word in _TIME_UNITS), guess)
    frequency = float(1 / seconds)
    nearest = float(round(frequency))
    return nearest if abs(frequency - nearest) <= NEAR_INTEGER * frequency else frequency


def _unit(name: str) -> str | None:
    """Return what stands in brackets or after a blank at the end of a name, as a known unit or as it is."""
    match = _UNIT.search(name)
    if match is None:
        return None
    text = match.group(1) or match.group(2) or ""
    return _UNITS.get(text.lower(), text) or None


def _channel(name: str, values: NDArray[np.float64], frequency: float, assumed: str, repairs: RepairLog) -> Channel:
    unit = _unit(name)
    if unit is not None and unit not in _UNITS.values():
        return Channel(name, values, frequency, None)
    if unit is None:
        repairs.add("unit-assumed", assumed)
    return Channel(name, counts_in_microvolts(values, unit or assumed), frequency, 1e-3)
