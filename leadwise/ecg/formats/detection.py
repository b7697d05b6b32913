"""Tell the format of a file from its first bytes, whatever its name is."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable
from typing import Final

from leadwise.ecg.formats.tables import looks_like_ecg

HEAD_BYTES: Final = 1 << 14  # comments may stand before the root of an XML file

# Tags of MFER (ISO 22077-1): byte order, version, character set, block, channels, sequences, waveform, and others that
# a file may begin with.
_MFER_TAGS: Final = frozenset({*range(0x01, 0x10), 0x11, 0x16, 0x17, 0x40, *range(0x81, 0x89)})
_MFER_DEFINITIONS: Final = 4  # that follow one another in a file without a preamble


def other_format(path: str | os.PathLike[str]) -> str | None:
    """Return the name of a file's format, a key of `FORMATS`; None if it is WFDB, MATLAB, unknown or not readable."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (a pipe would block)
            return None
        with open(path, "rb") as handle:  # noqa: PTH123
            head = handle.read(HEAD_BYTES)
    except (OSError, ValueError):
        return None
    return next((name for name, belongs in FORMATS.items() if belongs(head)), None)


def _root(head: bytes) -> str:
    """Return the name of the first element of an XML file in UTF-8 or UTF-16, "" if it is none."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = head.decode(encoding, errors="ignore").lstrip()
    if not text.startswith("<"):
        return ""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    element = re.search(r"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)[\s/>]", text)
    return element.group(1).lower() if element else ""


def _is_scp(head: bytes) -> bool:
    """Return whether section 0 stands at its place and its first pointer describes itself."""
    if len(head) < 32:
        return False
    size, number, length = struct.unpack_from("<IxxHI", head, 2)
    pointed, place = struct.unpack_from("<H4xI", head, 22)
    return bool(number == 0 and length >= 26 and (length - 16) % 10 == 0 and size >= 6 + length and pointed == 0) and (
        place == 7
    )


def _is_mfer(head: bytes) -> bool:
    if head[:1] == b"\x40" and head[2:6] == b"MFR ":
        return True
    if not re.match(rb"\x01\x01[\x00\x01]", head):  # byte order
        return False
    place = 0
    for _ in range(_MFER_DEFINITIONS):
        if len(head) < place + 2 or head[place] not in _MFER_TAGS or head[place + 1] > 0x7F:
            return False
        place += 2 + head[place + 1]
    return True


def _is_edf(head: bytes) -> bool:
    return head[:8] == b"0       " and re.fullmatch(rb"\d+ *", head[252:256]) is not None


def _is_npz(head: bytes) -> bool:
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head[:4] == b"PK\x03\x04" and name.endswith(b".npy")


FORMATS: Final[dict[str, Callable[[bytes], bool]]] = {
    "DICOM": lambda head: head[128:132] == b"DICM",
    "ISHNE": lambda head: head[:8] == b"ISHNE1.0",
    "NumPy array": lambda head: head[:6] == b"\x93NUMPY",
    "NumPy archive": _is_npz,
    "EDF": _is_edf,
    "SCP-ECG": _is_scp,
    "GE MUSE XML": lambda head: _root(head) == "restingecg",
    "Philips XML": lambda head: _root(head) == "restingecgdata",
    "HL7 aECG": lambda head: _root(head) == "annotatedecg",
    "MFER": _is_mfer,
    "CSV": looks_like_ecg,
}
