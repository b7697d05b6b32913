"""Read the one matrix with an ECG from the bytes of a MATLAB file.

Version 4 (the Challenge's) is a list of plain matrices. Of version 5 the wanted matrix is located and its tags are
checked here. SciPy gets that matrix alone: damaged tags crash its reader (a segmentation fault, SciPy 1.17), and packed
files may declare any size. The fields of a structure, as CPSC 2018 published its recordings, count as matrices.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.repairs import RepairLog, UnreadableError, quote

# Unpacked bytes that are accepted: 100 for one of the file, which no ECG comes near, plus the size of an all-zero one.
MAX_INFLATION: Final = 100
MAX_SILENCE: Final = 1 << 24


class MatlabContent(NamedTuple):
    """What a MATLAB file says of one ECG."""

    matrix: NDArray[Any]  # (leads, samples) or transposed
    age: float | None = None  # years; from the fields of a structure
    sex: str | None = None  # the text of such a field


def read_matrix(raw: bytes, leads: int, repairs: RepairLog) -> MatlabContent:
    """Return the matrix `val`, or the only one with `leads` rows or columns (a repair), as a view of `raw` if possible.

    Raises UnreadableError before more is allocated than the file holds, or `MAX_INFLATION` times that if it is packed.
    Formats: MathWorks, MAT-File Format, levels 4 and 5."""
    if len(raw) < 4:
        raise UnreadableError(f"is not a MATLAB file: {len(raw)} bytes" if raw else "is empty")
    # version 5 begins with a text
    matrices: Mapping[str, _Matrix4 | _Matrix5] = _matrices4(raw) if 0 in raw[:4] else _matrices5(raw)
    chosen = _choose({name: matrix.shape for name, matrix in matrices.items()}, leads, repairs)
    structure, dot, _ = chosen.rpartition(".")
    if not dot:
        return MatlabContent(matrices[chosen].array(raw))
    repairs.add("structure", quote(chosen))
    fields = {name.removeprefix(f"{structure}.").lower(): matrix for name, matrix in matrices.items()}
    age, sex = (fields[name].array(raw) if name in fields else np.zeros(0) for name in ("age", "sex"))
    return MatlabContent(
        matrices[chosen].array(raw),
        float(age.flat[0]) if age.size == 1 and age.dtype.kind in "iuf" else None,
        "".join(map(str, sex.flat)) if sex.dtype.kind == "U" else None,
    )


def _choose(shapes: Mapping[str, tuple[int, int]], leads: int, repairs: RepairLog) -> str:
    if "val" in shapes:
        return "val"
    fitting = [name for name, shape in shapes.items() if leads in shape and (leads == 1 or min(shape) > 1)]
    if len(fitting) != 1:
        inside = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in shapes.items())
        raise UnreadableError(f"has no matrix val of real numbers; matrices in it: {quote(inside)}")
    if "." not in fitting[0]:
        repairs.add("variable-name", quote(fitting[0]))
    return fitting[0]


# --- Version 4: five integers, a name, the numbers; then the next matrix

_TYPES4 = ("f8", "f4", "i4", "i2", "u2", "u1")


class _Matrix4(NamedTuple):
    shape: tuple[int, int]
    dtype: str
    offset: int  # bytes

    def array(self, raw: bytes) -> NDArray[Any]:
        rows, columns = self.shape
        return np.frombuffer(raw, self.dtype, rows * columns, self.offset).reshape(columns, rows).T


def _matrices4(raw: bytes) -> dict[str, _Matrix4]:
    """Return the full real matrices by name, up to the first bytes that are no matrix."""
    matrices: dict[str, _Matrix4] = {}
    position = 0
    while position + 20 <= len(raw):  # each round advances by 21 bytes or more
        # Types are below 5000, so the position of the two bytes that are 0 shows the byte order.
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
        raise UnreadableError("is not a readable MATLAB file")
    return matrices


# --- Version 5: a text of 128 bytes, then elements of a tag (type, bytes) and data; packed ones hold one element each

_INT8, _INT32, _UINT32, _MATRIX, _PACKED, _UTF8 = 1, 5, 6, 14, 15, 16  # types
_STRUCTURE, _TEXT = 2, 4  # classes
_SIZES5 = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # types of real numbers and their bytes
_REAL_CLASSES = range(6, 16)  # double, single, integers; below: cells, structures, objects, text, sparse
_HEAD = 512  # bytes that hold a matrix's tags and name
_FIELD = "field"  # name under which SciPy reads a field of a structure


@dataclass(frozen=True)
class _Matrix5:
    """A matrix of real numbers, or a text, whose size fits its tags; its element may be packed."""

    name: str  # "" for a field of a structure
    shape: tuple[int, int]
    element: bytes
    packed: bool
    size: int  # bytes of the unpacked element, with its tag

    def array(self, raw: bytes) -> NDArray[Any]:
        """Read the matrix with SciPy, from a file with nothing else in it."""
        import scipy.io

        try:
            unpacked = zlib.decompressobj().decompress(self.element, self.size) if self.packed else self.element
            if len(unpacked) >= self.size:
                name = self.name or _FIELD
                return np.asarray(scipy.io.loadmat(self._file(raw, unpacked), variable_names=[name])[name])
        except Exception as error:  # SciPy's readers raise anything on a damaged file
            reason = quote(str(error) or type(error).__name__)
            raise UnreadableError(f"is not a readable MATLAB file: {reason}") from error
        raise UnreadableError(f"is cut off: {len(unpacked)} of {self.size} bytes of its matrix")

    def _file(self, raw: bytes, unpacked: bytes) -> BytesIO:
        order, body = _order5(raw), unpacked[8 : self.size]
        if not self.name:  # which takes 8 bytes, after the flags and the dimensions
            body = body[:32] + struct.pack(f"{order}2I8s", _INT8, len(_FIELD), _FIELD.encode()) + body[40:]
        return BytesIO(raw[:128] + struct.pack(f"{order}2I", _MATRIX, len(body)) + body + bytes(-len(body) % 8))


def _matrices5(raw: bytes) -> dict[str, _Matrix5]:
    """Return the matrices of real numbers by name, those of structures as "structure.field"; others are skipped."""
    order = _order5(raw)
    matrices: dict[str, _Matrix5] = {}
    end = 128
    while end + 8 <= len(raw):
        start, (kind, size) = end, struct.unpack_from(f"{order}2I", raw, end)
        end += 8 + size
        if end > len(raw):
            raise UnreadableError(f"is cut off: {len(raw)} of {end} bytes")
        if kind not in (_MATRIX, _PACKED):
            continue
        packed = kind == _PACKED
        element = raw[start + 8 : end] if packed else raw[start:end]  # a packed one contains its tag
        limit = MAX_INFLATION * len(element) + MAX_SILENCE if packed else len(element)
        try:
            head = zlib.decompressobj().decompress(element, _HEAD) if packed else element[:_HEAD]
            if _is_structure(head, order):
                unpacked = zlib.decompressobj().decompress(element, limit) if packed else element
                matrices = _fields5(unpacked, order) | matrices
                continue
            name, shape, size = _parse_head(head, order)
        except (zlib.error, struct.error, KeyError, ValueError):
            continue  # no matrix of real numbers, or damaged
        if size > limit:
            raise UnreadableError(f"declares a matrix of {shape[0]} x {shape[1]} in {len(element)} bytes")
        matrices.setdefault(name, _Matrix5(name, shape, element, packed, size))  # SciPy too takes the first of a name
    return matrices


def _is_structure(head: bytes, order: str) -> bool:
    words = struct.unpack_from(f"{order}10I", head)
    return words[0] == _MATRIX and words[4] & 255 == _STRUCTURE and words[6:] == (_INT32, 8, 1, 1)


def _fields5(element: bytes, order: str) -> dict[str, _Matrix5]:
    """Return the fields of a structure that are matrices of real numbers or texts, as "structure.field"."""
    _, length, start, position = _tag5(element, 40, order)
    name = element[start : start + length].decode("latin-1")
    _, _, start, position = _tag5(element, position, order)
    width = int(struct.unpack_from(f"{order}i", element, start)[0])  # bytes of each field's name
    _, length, start, position = _tag5(element, position, order)
    if width < 1:
        raise ValueError("damaged tags")
    fields = {}
    for offset in range(start, min(start + length, len(element)), width):
        size = struct.unpack_from(f"{order}2I", element, position)[1] + 8
        field, position = element[position : position + size], position + size
        try:
            _, shape, used = _parse_head(field[:_HEAD], order, texts=True)
        except (struct.error, KeyError, ValueError):
            continue
        if used <= len(field):
            key = element[offset : offset + width].partition(b"\0")[0].decode("latin-1")
            fields[f"{name}.{key}"] = _Matrix5("", shape, field, False, used)
    return fields


def _order5(raw: bytes) -> str:
    order = {b"IM": "<", b"MI": ">"}.get(raw[126:128])
    if order is None:
        raise UnreadableError("is not a readable MATLAB file")
    if raw[124:126] in (b"\0\2", b"\2\0"):
        raise UnreadableError("is a MATLAB 7.3 (HDF5) file; version 7 or earlier is needed")
    return order


def _parse_head(head: bytes, order: str, texts: bool = False) -> tuple[str, tuple[int, int], int]:
    """Return name, shape and bytes of a matrix element of real numbers, or with `texts` of a text. Raises ValueError or
    the like for others."""
    # Tag; flags with theirs; rows and columns with theirs; then name and numbers, each with its tag.
    words = struct.unpack_from(f"{order}10I", head)
    if words[0] != _MATRIX or words[2:4] != (_UINT32, 8) or words[6:8] != (_INT32, 8):
        raise ValueError("other tags than those of a plain two-dimensional matrix")
    flags, rows, columns = words[4], *struct.unpack_from(f"{order}2i", head, 32)
    is_text = texts and flags & 255 == _TEXT
    if not (flags & 255 in _REAL_CLASSES or is_text) or flags & 0x800 or min(rows, columns) < 0:
        raise ValueError("no real numbers")
    kind, length, start, position = _tag5(head, 40, order)
    name = head[start : start + length].decode("latin-1")
    number, length, start, _ = _tag5(head, position, order)
    size = 1 if is_text and number == _UTF8 else _SIZES5[number]
    if kind != _INT8 or length != rows * columns * size:
        raise ValueError("damaged tags")
    return name, (rows, columns), start + length


def _tag5(head: bytes, position: int, order: str) -> tuple[int, int, int, int]:
    """Return type, bytes and start of an element's data, and the start of the next; up to 4 bytes lie in the tag."""
    kind, length = struct.unpack_from(f"{order}2I", head, position)
    if kind >> 16:
        return kind & 0xFFFF, kind >> 16, position + 4, position + 8
    return kind, length, position + 8, position + 8 + -(-length // 8) * 8
