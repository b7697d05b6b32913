"""Refuse files that would take ecgdatakit unbounded time or memory: compressed data and declared sizes."""

from __future__ import annotations

import base64
import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from leadwise.ecg.header import MAX_LEADS
from leadwise.ecg.repairs import UnreadableError

MAX_EXPANDED: Final = 1 << 26  # bytes of a Philips file when its signal is unpacked: 12 leads for 46 minutes at 1000 Hz
MAX_DEPTH: Final = 8  # of MFER definitions within others
DEFLATED: Final = "1.2.840.10008.1.2.1.99"  # DICOM's transfer syntax for deflated files
_CHUNK_HEADER: Final = 8  # bytes: size, unused, start value
_CODE_BITS: Final = 10
_LITERALS, _END = 256, (1 << _CODE_BITS) - 1  # codes below the first are bytes; the last one ends the data


def refuse_deflated(path: Path) -> None:
    """Raise UnreadableError for a deflated DICOM file, which may unpack to a thousand times its size."""
    from pydicom.filereader import read_file_meta_info

    if str(read_file_meta_info(path).get("TransferSyntaxUID", "")) == DEFLATED:
        raise UnreadableError("is a deflated DICOM file, which is not read")


def limit_mfer(parser: Any) -> None:
    """Let ecgdatakit's parser refuse an MFER file with too many channels or with definitions nested too deeply."""
    walk, define, depth = parser._walk, parser._header, [0]

    def limited_walk(*args: Any) -> None:
        depth[0] += 1
        if depth[0] > MAX_DEPTH:
            raise UnreadableError(f"has definitions nested more than {MAX_DEPTH} deep")
        walk(*args)
        depth[0] -= 1

    def limited_define(*args: Any) -> None:
        define(*args)
        if parser._state.channels > MAX_LEADS:
            raise UnreadableError(f"declares {parser._state.channels} channels; at most {MAX_LEADS} are read")

    parser._walk, parser._header = limited_walk, limited_define


def limit_xli(parser: Any) -> None:
    """Let ecgdatakit's parser refuse a Philips file whose compressed signal is too large when unpacked."""
    read, compression = parser._read_leads, importlib.import_module(type(parser).__module__)._compression

    def limited_read(parsed: Any, signal: Any) -> Any:
        if not compression(parsed):
            return read(parsed, signal)
        node = parsed[0] if isinstance(parsed, list) else parsed
        text = node.get("#text") if isinstance(node, dict) else node
        size = expanded_size(base64.b64decode("".join(str(text or "").split())))
        if size > MAX_EXPANDED:
            raise UnreadableError(f"has {size} bytes when unpacked; at most {MAX_EXPANDED} are read")
        return read(parsed, signal)

    parser._read_leads = limited_read


def expanded_size(data: bytes) -> int:
    """Return the bytes that compressed leads (XLI: chunks of LZW codes of 10 bits) have when they are unpacked."""
    size = place = 0
    while place + _CHUNK_HEADER <= len(data):
        length = int.from_bytes(data[place : place + 4], "little", signed=True)
        place += _CHUNK_HEADER
        if not 0 < length <= len(data) - place:
            break  # not compressed, or damaged
        size += _expanded_chunk(data[place : place + length])
        place += length
    return size


def _expanded_chunk(chunk: bytes) -> int:
    """Follow the length of each LZW string alone; the table is complete after as many codes as it has."""
    codes = _codes(chunk)
    ends = np.flatnonzero(codes == _END)
    codes = codes[: ends[0]] if ends.size else codes
    lengths, previous, following, size = [1] * _LITERALS + [0] * (_END - _LITERALS + 1), 0, _LITERALS, 0
    for code in codes[:_END].tolist():
        if not lengths[code]:
            lengths[code] = previous + 1
        if previous and following < _END:
            lengths[following] = previous + 1
            following += 1
        previous = lengths[code]
        size += previous
    return size + int(np.array(lengths)[codes[_END:]].sum())


def _codes(chunk: bytes) -> Any:
    """Return the codes of 10 bits, the highest bit first: four in five bytes."""
    padded = np.frombuffer(chunk + bytes(-len(chunk) % 5), np.uint8).reshape(-1, 5).astype(np.intp)
    one, two, three, four, five = padded.T
    first, second = one << 2 | two >> 6, (two & 63) << 4 | three >> 4
    third, fourth = (three & 15) << 6 | four >> 2, (four & 3) << 8 | five
    return np.stack([first, second, third, fourth], axis=1).ravel()[: len(chunk) * 8 // _CODE_BITS]
