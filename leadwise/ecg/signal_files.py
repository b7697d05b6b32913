"""Read the signal files that a header names: bytes of regular files, and WFDB formats through wfdb."""

from __future__ import annotations

import math
import os
import re
import stat
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import Header
from leadwise.ecg.repairs import RecordingError, RepairLog, UnreadableError, quote

MAX_SIGNAL_BYTES: Final = 1 << 31  # a day of 12 leads at 1000 Hz, int16

# Bytes of a sample in each of WFDB's formats (signal(5)); 508, 516 and 524 are FLAC, which may take far fewer.
_WFDB_BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5}
_WFDB_BYTES |= {"310": 4 / 3, "311": 4 / 3}
_FLAC_BYTES = dict.fromkeys(("508", "516", "524"), 1 / 1000)


def signal_path(record: str, name: str) -> Path:
    """Return the path of a file that the header names, its suffix in the header's, lower or upper case."""
    named = Path(f"{record}.hea").with_name(name)
    for suffix in (named.suffix, named.suffix.lower(), named.suffix.upper()):
        path = named.with_suffix(suffix)
        if os.path.lexists(path):
            return path
    raise RecordingError(str(named), "there is no such signal file")


def read_bytes(path: str, limit: int) -> bytes:
    """Read a regular file; a pipe, a device, a folder or a file beyond the limit is refused before it is opened."""
    size = _regular_size(path, limit)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # a file object doubles the time
        try:
            return os.read(descriptor, size)  # not more: this size is allocated at once
        finally:
            os.close(descriptor)
    except (OSError, MemoryError) as error:
        raise RecordingError(path, f"cannot be read: {error_reason(error)}") from error


def _regular_size(path: str | Path, limit: int) -> int:
    """Return the bytes of a regular file, symbolic links followed."""
    try:
        status = os.stat(path)  # noqa: PTH116 (as above); a loop of links is an OSError
    except (OSError, ValueError) as error:
        raise RecordingError(str(path), f"cannot be read: {error_reason(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise RecordingError(str(path), "is not a regular file")
    if status.st_size > limit:
        raise RecordingError(str(path), f"has {status.st_size} bytes; at most {limit} are read")
    return status.st_size


def error_reason(error: Exception) -> str:
    """Return the message of an exception without the file's name, which RecordingError adds."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Format(NamedTuple):
    code: str
    samples_per_frame: int
    skew: int  # samples
    offset: int  # bytes before the first sample


@lru_cache(maxsize=64)
def parse_format(text: str) -> _Format:
    """Parse the format field of a signal line, such as 16x2:5+24."""
    code, *parts = re.split(r"([x:+])", text)
    numbers = {"x": 1, ":": 0, "+": 0}
    numbers |= {mark: int(number) for mark, number in zip(parts[::2], parts[1::2], strict=True)}
    return _Format(code, numbers["x"], numbers[":"], numbers["+"])


def read_wfdb(record: str, header: Header, repairs: RepairLog) -> NDArray[Any]:
    """Read the ADC counts (leads, samples) of a record in any of WFDB's formats with wfdb. It gets a new header beside
    links to the signal files, so that only our parser decides what a header means and which files are opened."""
    paths = {name: signal_path(record, name) for name in dict.fromkeys(lead.file for lead in header.leads)}
    for name, path in paths.items():
        formats = [parse_format(lead.format) for lead in header.leads if lead.file == name]
        _check_size(path, formats, header.samples, repairs)
    import wfdb

    try:
        with tempfile.TemporaryDirectory(prefix="leadwise-") as folder:
            _link_record(Path(folder), header, paths)
            signal = wfdb.rdrecord(str(Path(folder, "record")), physical=False, return_res=32).d_signal
    except Exception as error:  # wfdb raises anything on a damaged file
        text = re.sub(r"\S*/leadwise-\w+/", "", error_reason(error))  # without the name of the temporary folder
        raise UnreadableError(f"wfdb cannot read its signal: {quote(text)}") from error
    return np.asarray(signal).T


def _link_record(folder: Path, header: Header, paths: dict[str, Path]) -> None:
    """Write record.hea with what wfdb needs of the header, and link the signal files beside it."""
    links = {name: f"signal{index}.dat" for index, name in enumerate(paths)}
    for name, path in paths.items():
        Path(folder, links[name]).symlink_to(path.absolute())
    lines = [f"record {len(header.leads)} {header.sampling_frequency!r} {header.samples or ''}"]
    for lead in header.leads:  # the differences of format 8 start from the first value
        lines.append(f"{links[lead.file]} {lead.format} 1(0)/mV 16 0 {lead.first_value or 0} 0 0 lead")
    Path(folder, "record.hea").write_text("\n".join(lines) + "\n", encoding="ascii")


def _check_size(path: Path, formats: Sequence[_Format], samples: int | None, repairs: RepairLog) -> None:
    """Refuse a signal file that cannot hold what the header declares, before wfdb allocates it."""
    size = _regular_size(path, MAX_SIGNAL_BYTES)
    code, offset = formats[0].code, formats[0].offset
    if any((part.code, part.offset) != (code, offset) for part in formats):
        raise RecordingError(str(path), "has leads of different formats")
    if code not in _WFDB_BYTES and code not in _FLAC_BYTES:
        raise RecordingError(str(path), f"has the unknown format {code}")
    frame = sum(part.samples_per_frame for part in formats) * (_WFDB_BYTES | _FLAC_BYTES)[code]  # bytes
    needed = offset + math.ceil((samples or 1) * frame)
    if needed > size or frame == 0:
        raise RecordingError(str(path), f"is cut off: {size} of at least {needed} bytes")
    if max(part.skew for part in formats) > size:  # wfdb appends as many samples
        raise RecordingError(str(path), "has a skew beyond its end")
    there = int((size - offset) / frame)
    if samples is not None and code in _WFDB_BYTES and there > samples + 1:  # blocks of samples may be padded
        repairs.add("length-differs", f"{samples} declared, {there} there")
