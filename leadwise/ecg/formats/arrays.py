"""Read NumPy files: an array of twelve leads (.npy), or arrays of samples, lead names and sampling frequency (.npz)."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.formats.channels import Channel, Contents, counts_in_microvolts
from leadwise.ecg.header import MILLIVOLTS, STANDARD_LEADS, Sex, parse_sex
from leadwise.ecg.repairs import RepairLog, UnreadableError, quote

MAX_MEMBERS: Final = 64  # of an archive
_KEYS: Final = {
    "signal": ("val", "signal", "signals", "ecg", "data", "p_signal", "x"),
    "names": ("leads", "lead_names", "lead", "names", "sig_name", "channels"),
    "frequency": ("fs", "sampling_frequency", "sampling_rate", "sample_rate", "frequency", "sfreq"),
    "unit": ("unit", "units"),
    "age": ("age",),
    "sex": ("sex", "gender"),
}
Arrays = Mapping[str, NDArray[Any]]


def read_array(raw: bytes, sampling_frequency: float | None, repairs: RepairLog) -> list[Channel]:
    """Return the channels of a .npy file, (12, samples) or transposed, in standard order. Raises UnreadableError."""
    return _channels(_load(raw), STANDARD_LEADS, sampling_frequency, None, repairs, named=False)


def read_archive(raw: bytes, sampling_frequency: float | None, limit: int, repairs: RepairLog) -> Contents:
    """Return the contents of a .npz file, whose arrays have at most `limit` bytes together.

    Arrays are known by their names, such as "signal", "leads" and "fs". Raises UnreadableError."""
    arrays = _members(raw, limit)
    signal = _find(arrays, "signal")
    if signal is None:
        matrices = [key for key, value in arrays.items() if value.ndim > 1 and value.dtype.kind in "iuf"]
        if len(matrices) != 1:
            raise UnreadableError(f"has no array named signal; arrays in it: {quote(', '.join(arrays))}")
        signal = arrays[matrices[0]]
    names = _find(arrays, "names")
    frequency, unit = _number(arrays, "frequency"), _text(arrays, "unit")
    if unit is not None and unit not in MILLIVOLTS:
        raise UnreadableError(f"has the unknown unit {quote(unit)}")
    leads = STANDARD_LEADS if names is None else [_as_text(name) for name in names.ravel()]
    channels = _channels(signal, leads, frequency or sampling_frequency, unit, repairs, named=names is not None)
    return Contents(channels, _number(arrays, "age"), _sex(_text(arrays, "sex") or "", repairs))


def _channels(
    signal: NDArray[Any],
    leads: Sequence[str],
    frequency: float | None,
    unit: str | None,
    repairs: RepairLog,
    named: bool,
) -> list[Channel]:
    if signal.dtype.kind not in "iuf":
        raise UnreadableError(f"the signal has values of type {signal.dtype}, which are not samples")
    if frequency is None:
        raise UnreadableError("does not state its sampling frequency; it must be given")
    while signal.ndim > 2 and 1 in signal.shape:
        signal = signal.squeeze(signal.shape.index(1))
    signal = signal[None] if signal.ndim == 1 else signal
    if signal.ndim != 2 or len(leads) not in signal.shape:
        shape = " x ".join(map(str, signal.shape))
        raise UnreadableError(f"the array is {shape}; {len(leads)} leads {'have names' if named else 'are expected'}")
    if len(signal) != len(leads):
        repairs.add("transposed", f"{signal.shape[0]} x {signal.shape[1]}")
        signal = signal.T
    if not named:
        repairs.add("leads-assumed", " ".join(leads))
    if unit is None:
        unit = "mV" if signal.dtype.kind == "f" else "uV"
        repairs.add("unit-assumed", unit)
    return [
        Channel(name, counts_in_microvolts(row, unit), frequency, 1e-3) for name, row in zip(leads, signal, strict=True)
    ]


def _load(raw: bytes) -> NDArray[Any]:
    """Return the array of a .npy file without unpickling and without allocating more than the file holds."""
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject or dtype.itemsize == 0:
        raise UnreadableError(f"has values of type {dtype}, which are not read")
    count, offset = math.prod(shape), stream.tell()
    if count * dtype.itemsize > len(raw) - offset:
        raise UnreadableError(f"is cut off: {len(raw) - offset} of {count * dtype.itemsize} bytes")
    values = np.frombuffer(raw, dtype, count, offset) if count else np.empty(0, dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _members(raw: bytes, limit: int) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise UnreadableError(f"has {len(members)} members; at most {MAX_MEMBERS} are read")
        size = sum(member.file_size for member in members)  # zipfile reads no more than is declared
        if size > limit:
            raise UnreadableError(f"has {size} bytes when unpacked; at most {limit} are read")
        names = [member.filename for member in members if member.filename.endswith(".npy")]
        return {name.removesuffix(".npy"): _load(archive.read(name)) for name in names}


def _find(arrays: Arrays, meaning: str) -> NDArray[Any] | None:
    lower = {key.lower(): value for key, value in arrays.items()}
    return next((lower[key] for key in _KEYS[meaning] if key in lower), None)


def _number(arrays: Arrays, meaning: str) -> float | None:
    value = _find(arrays, meaning)
    if value is None or value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        return None
    return float(value.ravel()[0])


def _text(arrays: Arrays, meaning: str) -> str | None:
    value = _find(arrays, meaning)
    return None if value is None or value.size != 1 or value.dtype.kind not in "US" else _as_text(value.ravel()[0])


def _sex(text: str, repairs: RepairLog) -> Sex | None:
    sex = parse_sex(text)
    if text and sex is None and text.lower() not in ("u", "unknown"):
        repairs.add("unreadable-sex", quote(text))
    return sex


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
