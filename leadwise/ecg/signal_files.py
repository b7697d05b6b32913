"""One ECG as its files say it: a header and ADC counts, bit for bit the same by each way in.

From a `.hea`/`.mat` pair, from any other WFDB record (through wfdb), or from what the organisers' drivers pass in.
Whatever can be wrong with a file ends in `RecordingError`; what is put right is named in `repairs`. Nothing that a file
declares is allocated before the file is known to hold it; only regular files of the record's own folder are opened.
This file knows no millivolts, no order of leads, no diagnoses and no tensors: it neither scales nor repairs a sample.
WFDB's "no value" (-32768) stays too, since an honest saturated sample is the same number.
"""

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

from leadwise.ecg.header import Header, LeadHeader
from leadwise.ecg.repairs import RecordingError, RepairLog, UnreadableError, quote

READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0)
MAX_SIGNAL_BYTES: Final = 1 << 31  # a day of 12 leads at 1000 Hz, int16


def signal_path(record: str, name: str) -> Path:
    """The path of a file that the header names, its ending in the header's, lower or upper case."""
    named = Path(f"{record}.hea").with_name(name)
    for ending in (named.suffix, named.suffix.lower(), named.suffix.upper()):
        path = named.with_suffix(ending)
        if os.path.lexists(path):
            return path
    raise RecordingError(str(named), "there is no such signal file")


def read_bytes(path: str, limit: int) -> bytes:
    """A regular file's bytes; a pipe, a device, a folder or too large a file is refused before it is opened."""
    size = _regular_size(path, limit)
    try:
        descriptor = os.open(path, READ_ONLY)  # a file object takes as long as the reading
        try:
            return os.read(descriptor, size)  # not more: so much is allocated at once
        finally:
            os.close(descriptor)
    except (OSError, MemoryError) as error:
        raise RecordingError(path, f"cannot be read: {error_reason(error)}") from error


def _regular_size(path: str | Path, limit: int) -> int:
    """Bytes of a regular file, symbolic links followed."""
    try:
        status = os.stat(path)  # noqa: PTH116 (as above); a loop of links is an OSError
    except (OSError, ValueError) as error:
        raise RecordingError(str(path), f"cannot be read: {error_reason(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise RecordingError(str(path), "is no regular file")
    if status.st_size > limit:
        raise RecordingError(str(path), f"has {status.st_size} bytes; at most {limit} are read")
    return status.st_size


def error_reason(error: Exception) -> str:
    """What an exception says, without the file's name, which RecordingError gives."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# Bytes that a sample takes in each of WFDB's formats (signal(5)); 508, 516 and 524 are FLAC, which may take far fewer.
_WFDB_BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5}
_WFDB_BYTES |= {"310": 4 / 3, "311": 4 / 3}
_FLAC_BYTES = dict.fromkeys(("508", "516", "524"), 1 / 1000)


class _Format(NamedTuple):
    """The second field of a signal line, such as 16x2:5+24."""

    code: str
    samples_per_frame: int
    skew: int  # samples
    offset: int  # bytes before the first sample


@lru_cache(maxsize=64)
def parse_format(text: str) -> _Format:
    """Parse the format field of a signal line."""
    numbers = dict(zip("x:+", (1, 0, 0), strict=True))
    code, *parts = re.split(r"([x:+])", text)
    numbers |= {mark: int(number) for mark, number in zip(parts[::2], parts[1::2], strict=True)}
    return _Format(code, numbers["x"], numbers[":"], numbers["+"])


def read_wfdb(record: str, header: Header, notes: RepairLog) -> NDArray[Any]:
    """ADC counts (leads, samples) of a record in any of WFDB's formats, by wfdb.

    wfdb sees a header that is written anew beside links to the signal files, so that only one parser, ours, decides
    what a header means and which files are opened.
    """
    files: dict[str, list[LeadHeader]] = {}
    for lead in header.leads:
        files.setdefault(lead.file, []).append(lead)
    paths = {name: signal_path(record, name) for name in files}
    for name, leads in files.items():
        _check_size(paths[name], leads, header.samples, notes)
    import wfdb

    try:
        with tempfile.TemporaryDirectory(prefix="leadwise-") as folder:
            _link_record(Path(folder), header, paths)
            signal = wfdb.rdrecord(str(Path(folder, "record")), physical=False, return_res=32).d_signal
    except Exception as error:  # wfdb raises whatever a damaged file makes of it
        text = re.sub(r"\S*/leadwise-\w+/", "", error_reason(error))  # the temporary folder says nothing to anyone
        raise UnreadableError(f"wfdb cannot read its signal: {quote(text)}") from error
    return np.asarray(signal).T


def _link_record(folder: Path, header: Header, paths: dict[str, Path]) -> None:
    """Writes record.hea with what wfdb needs of the header, and links the signal files beside it."""
    links = {name: f"signal{index}.dat" for index, name in enumerate(paths)}
    for name, path in paths.items():
        Path(folder, links[name]).symlink_to(path.absolute())
    lines = [f"record {len(header.leads)} {header.sampling_frequency!r} {header.samples or ''}"]
    for lead in header.leads:  # the first value is where the differences of format 8 start
        lines.append(f"{links[lead.file]} {lead.format} 1(0)/mV 16 0 {lead.first_value or 0} 0 0 lead")
    Path(folder, "record.hea").write_text("\n".join(lines) + "\n", encoding="ascii")


def _check_size(path: Path, leads: Sequence[LeadHeader], samples: int | None, notes: RepairLog) -> None:
    """Refuses a signal file that cannot hold what the header declares, before wfdb allocates it."""
    size = _regular_size(path, MAX_SIGNAL_BYTES)
    formats = [parse_format(lead.format) for lead in leads]
    code, offset = formats[0].code, formats[0].offset
    if any((part.code, part.offset) != (code, offset) for part in formats):
        raise RecordingError(str(path), "has leads of different formats")
    if code not in _WFDB_BYTES and code not in _FLAC_BYTES:
        raise RecordingError(str(path), f"has the unknown format {code}")
    frame = sum(part.samples_per_frame for part in formats) * (_WFDB_BYTES | _FLAC_BYTES)[code]  # bytes
    needed = offset + math.ceil((samples or 1) * frame)
    if needed > size or frame == 0:
        raise RecordingError(str(path), f"is cut off: {size} of at least {needed} bytes")
    # A skew makes wfdb append as many samples.
    if max(part.skew for part in formats) > size:
        raise RecordingError(str(path), "has a skew beyond its end")
    there = int((size - offset) / frame)
    if samples is not None and code in _WFDB_BYTES and there > samples + 1:  # blocks of samples may be padded
        notes.add("length-differs", f"{samples} declared, {there} there")
