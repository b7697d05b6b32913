"""MATLAB files: bytes in, the one matrix with an ECG out.

Version 4 (what the Challenge has) is a list of plain matrices and is read straight from the bytes. Of version 5 the
one matrix that is wanted is looked up and its tags are checked; SciPy then sees that matrix alone, because on damaged
tags its reader ends the process (a segmentation fault, SciPy 1.17), and because packed files may declare any size.
This file knows no headers and no recordings; a file that cannot be used is `Refused`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.repairs import RepairLog, UnreadableError, quote

# Unpacked bytes that are believed: 100 for one of the file, which no ECG comes near, and the size of a silent one.
MAX_INFLATION: Final = 100
MAX_SILENCE: Final = 1 << 24


def read_matrix(raw: bytes, leads: int, notes: RepairLog) -> NDArray[Any]:
    """The matrix `val`, or the only matrix with `leads` rows or columns (a repair), as it lies in the file's bytes.

    Returns (rows, columns), a view of `raw` where it can be. Raises Refused, before more is allocated than the file
    holds, or `MAX_INFLATION` times that where it is packed. Formats: MathWorks, MAT-File Format, levels 4 and 5.
    """
    if len(raw) < 4:
        raise UnreadableError(f"is no MATLAB file: {len(raw)} bytes" if raw else "is empty")
    if 0 in raw[:4]:  # version 5 begins with a text
        matrices = _matrices4(raw)
        name = _choose({name: matrix.shape for name, matrix in matrices.items()}, leads, notes)
        return matrices[name].array(raw)
    elements = _matrices5(raw)
    name = _choose({name: element.shape for name, element in elements.items()}, leads, notes)
    return _read_scipy(raw, name, elements[name])


def _choose(shapes: Mapping[str, tuple[int, int]], leads: int, notes: RepairLog) -> str:
    """The name of the matrix with the signal."""
    if "val" in shapes:
        return "val"
    fitting = [name for name, shape in shapes.items() if leads in shape]
    if len(fitting) != 1:
        raise UnreadableError(f"has no matrix val of real numbers; matrices in it: {quote(', '.join(shapes))}")
    notes.add("variable-name", quote(fitting[0]))
    return fitting[0]


# --- Version 4: five integers, a name, the numbers; then the next matrix

_TYPES4 = ("f8", "f4", "i4", "i2", "u2", "u1")


class _Matrix4(NamedTuple):
    """Where a matrix of real numbers lies."""

    shape: tuple[int, int]
    dtype: str
    offset: int

    def array(self, raw: bytes) -> NDArray[Any]:
        rows, columns = self.shape
        return np.frombuffer(raw, self.dtype, rows * columns, self.offset).reshape(columns, rows).T


def _matrices4(raw: bytes) -> dict[str, _Matrix4]:
    """Full real matrices by name; the walk ends where what follows is no matrix."""
    matrices: dict[str, _Matrix4] = {}
    position = 0
    while position + 20 <= len(raw):  # each round goes on by 21 bytes at least
        # Types are below 5000, so the two bytes that are 0 tell the byte order.
        order = "<" if raw[position + 3] == 0 and raw[position + 2] == 0 else ">"
        kind, rows, columns, imaginary, name_length = struct.unpack_from(f"{order}5i", raw, position)
        machine, zero, number, form = kind // 1000 % 10, kind // 100 % 10, kind // 10 % 10, kind % 10
        if machine != "<>".index(order) or zero or number >= len(_TYPES4) or min(rows, columns, name_length - 1) < 0:
            break
        name_end = position + 20 + name_length
        dtype = order + _TYPES4[number]
        end = name_end + rows * columns * np.dtype(dtype).itemsize * (2 if imaginary else 1)
        if end > len(raw):
            raise UnreadableError(f"is cut off: {len(raw)} of {end} bytes")
        if form == 0 and not imaginary:  # others: text, sparse
            name = raw[position + 20 : name_end].rstrip(b"\0").decode("latin-1")
            matrices.setdefault(name, _Matrix4((rows, columns), dtype, name_end))
        position = end
    if position == 0:
        raise UnreadableError("is no MATLAB file that can be read")
    return matrices


# --- Version 5: a text of 128 bytes, then elements of a tag (type, bytes) and data; packed ones hold one element each

_MATRIX, _PACKED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_SIZES5 = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # types of real numbers and their bytes
_REAL_CLASSES = range(6, 16)  # double, single, integers; below: cells, structures, objects, text, sparse
_HEAD = 512  # bytes that hold a matrix's tags and name


@dataclass(frozen=True)
class _Matrix5:
    """A matrix of real numbers that is as large as it says: its element, still packed where the file packs it."""

    shape: tuple[int, int]
    element: bytes
    packed: bool
    size: int  # bytes of the element, unpacked, its tag included

    def unpacked(self) -> bytes:
        element = zlib.decompressobj().decompress(self.element, self.size) if self.packed else self.element[: self.size]
        if len(element) < self.size:
            raise UnreadableError(f"is cut off: {len(element)} of {self.size} bytes of its matrix")
        return element


def _matrices5(raw: bytes) -> dict[str, _Matrix5]:
    """Matrices of real numbers by name; others are passed over unread."""
    order = _order5(raw)
    matrices: dict[str, _Matrix5] = {}
    for kind, element in _elements5(raw, order):
        try:
            head = zlib.decompressobj().decompress(element, _HEAD) if kind == _PACKED else element[:_HEAD]
            name, shape, size = _parse_head(head, order)
        except (zlib.error, struct.error, KeyError, ValueError):
            continue  # no matrix of real numbers, or damaged
        if size > (MAX_INFLATION * len(element) + MAX_SILENCE if kind == _PACKED else len(element)):
            raise UnreadableError(f"declares a matrix of {shape[0]} x {shape[1]} in {len(element)} bytes")
        # The first of a name counts, as in SciPy.
        matrices.setdefault(name, _Matrix5(shape, element, kind == _PACKED, size))
    return matrices


def _order5(raw: bytes) -> str:
    """The byte order that the file's text ends with."""
    order = {b"IM": "<", b"MI": ">"}.get(raw[126:128])
    if order is None:
        raise UnreadableError("is no MATLAB file that can be read")
    if raw[124:126] in (b"\0\2", b"\2\0"):
        raise UnreadableError("is a MATLAB 7.3 (HDF5) file; version 7 or earlier is needed")
    return order


def _elements5(raw: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Types and bytes of the matrix elements: with their tag, or, where they are packed, as they are packed."""
    position = 128
    while position + 8 <= len(raw):
        kind, size = struct.unpack_from(f"{order}2I", raw, position)
        end = position + 8 + size
        if end > len(raw):
            raise UnreadableError(f"is cut off: {len(raw)} of {end} bytes")
        if kind in (_MATRIX, _PACKED):
            yield kind, raw[position + (8 if kind == _PACKED else 0) : end]
        position = end


def _parse_head(head: bytes, order: str) -> tuple[str, tuple[int, int], int]:
    """Name, shape and bytes of a matrix element of real numbers. Raises ValueError or the like where it is none."""
    # Tag; flags with theirs; rows and columns with theirs; then name and numbers, each with its tag.
    words = struct.unpack_from(f"{order}10I", head)
    if words[0] != _MATRIX or words[2:4] != (_UINT32, 8) or words[6:8] != (_INT32, 8):
        raise ValueError("other tags than those of a plain two-dimensional matrix")
    flags, rows, columns = words[4], *struct.unpack_from(f"{order}2i", head, 32)
    if flags & 255 not in _REAL_CLASSES or flags & 0x800 or min(rows, columns) < 0:
        raise ValueError("no real numbers")
    kind, length, start, position = _tag5(head, 40, order)
    name = head[start : start + length].decode("latin-1")
    number, length, start, _ = _tag5(head, position, order)
    if kind != _INT8 or length != rows * columns * _SIZES5[number]:
        raise ValueError("damaged tags")
    return name, (rows, columns), start + length


def _tag5(head: bytes, position: int, order: str) -> tuple[int, int, int, int]:
    """Type, bytes and place of an element's data, and where the next begins; up to 4 bytes lie in the tag itself."""
    kind, length = struct.unpack_from(f"{order}2I", head, position)
    if kind >> 16:
        return kind & 0xFFFF, kind >> 16, position + 4, position + 8
    return kind, length, position + 8, position + 8 + -(-length // 8) * 8


def _read_scipy(raw: bytes, name: str, matrix: _Matrix5) -> NDArray[Any]:
    """A matrix of version 5, by SciPy, which sees a file with nothing else in it."""
    import scipy.io

    try:
        tag = struct.pack(f"{_order5(raw)}2I", _MATRIX, matrix.size - 8)
        lone = raw[:128] + tag + matrix.unpacked()[8:] + bytes(-matrix.size % 8)
        return np.asarray(scipy.io.loadmat(BytesIO(lone), variable_names=[name])[name])
    except UnreadableError:
        raise
    except Exception as error:  # SciPy's readers raise whatever a damaged file makes of them
        raise UnreadableError(
            f"is no MATLAB file that can be read: {quote(str(error) or type(error).__name__)}"
        ) from error
