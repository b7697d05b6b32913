"""Read the signal files that a header names: bytes of regular files, and WFDB formats through wfdb."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import Header, in_matlab_file, last_part, strip_mat_suffix
from leadwise.ecg.repairs import RecordingError, RepairLog, UnreadableError, quote

WFDB_SUFFIXES: Final = (".hea", ".mat", ".dat")  # of a path that means the record
MAX_SIGNAL_BYTES: Final = 1 << 31  # a day of 12 leads at 1000 Hz, int16

# Bytes of a sample in each of WFDB's formats (signal(5)); 508, 516 and 524 are FLAC, which may take far fewer.
_WFDB_BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5}
_WFDB_BYTES |= {"310": 4 / 3, "311": 4 / 3}
_FLAC_BYTES = dict.fromkeys(("508", "516", "524"), 1 / 1000)


def locate_signals(record: str, names: Sequence[str], repairs: RepairLog) -> dict[str, str]:
    """Return the path of each file that a header names, looked for in the record's own folder alone.

    It is the named file, or its last part in any case, or the record's own NAME.mat or NAME.dat (a repair). If a
    MATLAB file is named, NAME.mat is preferred: the organisers' drivers read no other. Raises RecordingError."""
    own = existing(record, ".mat") if any(map(in_matlab_file, names)) else None
    if own is not None:
        if strip_mat_suffix(last_part(own)) not in {strip_mat_suffix(last_part(name)) for name in names}:
            repairs.add("renamed", quote(names[0]))
        return dict.fromkeys(names, own)
    paths = {name: _named_file(record, name) for name in names}
    for name in [name for name, path in paths.items() if path is None]:
        path = _own_file(record, name, alone=len(names) == 1)
        if path is None:
            raise RecordingError(_beside(record, last_part(name)), "there is no such signal file")
        repairs.add("renamed", quote(name))
        paths[name] = path
    return {name: path for name, path in paths.items() if path is not None}


def existing(record: str, suffix: str) -> str | None:
    """Return the path with this suffix in lower or upper case, whichever exists, even as a broken link."""
    return next((path for path in (record + suffix, record + suffix.upper()) if os.path.lexists(path)), None)


def _beside(record: str, name: str) -> str:
    return os.path.join(os.path.dirname(record), name)  # noqa: PTH118, PTH120


def _named_file(record: str, name: str) -> str | None:
    parts = name.replace("\\", "/").split("/")
    if len(parts) > 1 and parts[0] and ".." not in parts and ":" not in parts[0]:
        path = _beside(record, "/".join(parts))  # below the record's folder
        if os.path.isfile(path):  # noqa: PTH113
            return path
    if not parts[-1].strip("."):
        return None
    path = _beside(record, parts[-1])
    stem, dot, suffix = path.rpartition(".")
    return (existing(stem, dot + suffix) if dot else None) or (path if os.path.lexists(path) else _any_case(path))


def _any_case(path: str) -> str | None:
    """Return the only file whose name differs from that of `path` in upper and lower case alone."""
    folder, name = os.path.split(path)
    try:
        found = _names_by_lower_case(folder or os.curdir, os.stat(folder or os.curdir).st_mtime_ns)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    same = found.get(name.lower(), ())
    return os.path.join(folder, same[0]) if len(same) == 1 else None  # noqa: PTH118


@lru_cache(maxsize=4)
def _names_by_lower_case(folder: str, modified: int) -> dict[str, list[str]]:
    """Return the files of a folder by their names in lower case; `modified` is its time, so that changes are seen."""
    names: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208
        names.setdefault(name.lower(), []).append(name)
    return names


def _own_file(record: str, name: str, alone: bool) -> str | None:
    """Return the only signal file with the record's name: with the suffix of `name`, or if the header names no other
    file (`alone`) NAME.mat or NAME.dat."""
    suffix = os.path.splitext(last_part(name))[1]  # noqa: PTH122
    suffixes = dict.fromkeys((suffix.lower(), *((".mat", ".dat") if alone else ())))
    found = [path for each in suffixes if each not in ("", ".hea") and (path := _own_with(record, each))]
    return found[0] if len(found) == 1 or (found and suffix) else None


def _own_with(record: str, suffix: str) -> str | None:
    return existing(record, suffix) or _any_case(record + suffix)


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


def read_wfdb(header: Header, paths: Mapping[str, str], repairs: RepairLog) -> NDArray[Any]:
    """Read the ADC counts (leads, samples) of a record in any of WFDB's formats, from files that are regular and long
    enough. Leads with fewer samples per frame than others are interpolated (a repair)."""
    formats = [parse_format(lead.format) for lead in header.leads]
    most = max(part.samples_per_frame for part in formats)
    frames = None if header.samples is None else header.samples // most
    for name, path in paths.items():
        own = [part for part, lead in zip(formats, header.leads, strict=True) if lead.file == name]
        there = _check_size(Path(path), own, frames, repairs)
        frames = there if frames is None else frames
    if len(paths) == 1 and {part[:3] for part in formats} == {("16", 1, 0)}:  # as wfdb does, in half of its memory
        raw = read_bytes(next(iter(paths.values())), MAX_SIGNAL_BYTES)
        count = (frames or 0) * len(formats)
        return np.frombuffer(raw, "<i2", count, formats[0].offset).reshape(-1, len(formats)).T
    leads = _read_frames(header, paths, formats, frames or 0)
    samples = max(map(len, leads), default=0)
    for row, lead in enumerate(leads):
        if len(lead) < samples:
            name = header.leads[row].name
            repairs.add("samples-per-frame", f"{formats[row].samples_per_frame} instead of {most} of {quote(name)}")
            leads[row] = np.rint(np.interp(np.arange(samples) * len(lead) / samples, np.arange(len(lead)), lead))
    return np.stack(leads)


def _read_frames(
    header: Header, paths: Mapping[str, str], formats: Sequence[_Format], frames: int
) -> list[NDArray[Any]]:
    """Read each lead's counts at its own rate with wfdb's reader of signal files. The public `wfdb.rdrecord` would
    parse the header itself, from a file with the names of ours."""
    files = [str(Path(paths[lead.file]).absolute()) for lead in header.leads]
    if any("::" in file for file in files):  # wfdb opens files through fsspec, for which this is a chain of addresses
        raise UnreadableError("'::' in the path of a WFDB signal file is not read")
    from wfdb.io import _signal

    try:
        leads: list[NDArray[Any]] = _signal._rd_segment(
            file_name=files,
            dir_name="",
            pn_dir=None,
            fmt=[part.code for part in formats],
            n_sig=len(files),
            sig_len=frames,
            byte_offset=[part.offset for part in formats],
            samps_per_frame=[part.samples_per_frame for part in formats],
            skew=[part.skew for part in formats],
            init_value=[lead.first_value or 0 for lead in header.leads],  # the differences of format 8 start from it
            sampfrom=0,
            sampto=frames,
            channels=list(range(len(files))),
            ignore_skew=False,
        )
    except Exception as error:  # wfdb raises anything on a damaged file
        text = error_reason(error)
        for file in files:
            text = text.replace(file, Path(file).name)
        raise UnreadableError(f"wfdb cannot read its signal: {quote(text)}") from error
    return leads


def _check_size(path: Path, formats: Sequence[_Format], frames: int | None, repairs: RepairLog) -> int:
    """Refuse a signal file that cannot hold what the header declares, before wfdb allocates it; return its frames."""
    size = _regular_size(path, MAX_SIGNAL_BYTES)
    code, offset = formats[0].code, formats[0].offset
    if any((part.code, part.offset) != (code, offset) for part in formats):
        raise RecordingError(str(path), "has leads of different formats")
    if code not in _WFDB_BYTES and code not in _FLAC_BYTES:
        raise RecordingError(str(path), f"has the unknown format {code}")
    frame = sum(part.samples_per_frame for part in formats) * (_WFDB_BYTES | _FLAC_BYTES)[code]  # bytes
    needed = offset + math.ceil((frames or 1) * frame)
    if needed > size or frame == 0:
        raise RecordingError(str(path), f"is cut off: {size} of at least {needed} bytes")
    if max(part.skew for part in formats) > size:  # wfdb appends as many samples
        raise RecordingError(str(path), "has a skew beyond its end")
    there = int((size - offset) / frame)
    if frames is None and code in _FLAC_BYTES:
        raise RecordingError(str(path), "is compressed, and its header does not declare the number of samples")
    if frames is not None and code in _WFDB_BYTES and there > frames + 1:  # blocks of samples may be padded
        repairs.add("length-differs", f"{frames} declared, {there} there")
    return there
