"""Read one file of another format than WFDB; any error in it raises `RecordingError`."""

from __future__ import annotations

import os
from typing import Final

from leadwise.ecg.files.signal_files import MAX_SIGNAL_BYTES, error_reason, read_bytes
from leadwise.ecg.formats.arrays import read_archive, read_array
from leadwise.ecg.formats.channels import Contents, assemble
from leadwise.ecg.formats.detection import other_format
from leadwise.ecg.formats.library import read_with_library
from leadwise.ecg.formats.tables import read_table
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError, RepairLog, UnreadableError

# Bytes of a file. While it is read, its samples are float64, four times as large as in most files; XML takes more.
MAX_BYTES: Final = MAX_SIGNAL_BYTES // 4
SMALLER: Final = {"GE MUSE XML": 1 << 25, "HL7 aECG": 1 << 25, "Philips XML": 1 << 23, "SCP-ECG": 1 << 22}
MAX_REASON: Final = 200  # characters of a library's message


def read_other_format(path: str | os.PathLike[str], sampling_frequency: float | None = None) -> Recording:
    """Read an ECG in any format of `detection.FORMATS`, which its content tells.

    `sampling_frequency` (Hz) is for CSV and NumPy files that do not state it. Raises RecordingError alone, which names
    the file. Assumptions and repairs are in `Recording.repairs`: names from `FORMAT_REPAIRS` or `REPAIRS`."""
    path = os.fspath(path)
    name = other_format(path)
    if name is None:
        raise RecordingError(path, _unknown(path))
    try:
        repairs = RepairLog()
        contents = _contents(path, name, sampling_frequency, repairs)
        return assemble(path, contents.channels, contents.age, contents.sex, repairs)
    except UnreadableError as refusal:
        raise RecordingError(path, str(refusal)) from None
    except RecordingError:
        raise
    except Exception as error:  # libraries raise anything on a damaged file
        raise RecordingError(path, f"is not a readable {name} file: {_reason(error, path)}") from error


def _contents(path: str, name: str, sampling_frequency: float | None, repairs: RepairLog) -> Contents:
    limit = SMALLER.get(name, MAX_BYTES)
    if name == "CSV":
        return Contents(read_table(read_bytes(path, limit), sampling_frequency, repairs))
    if name == "NumPy array":
        return Contents(read_array(read_bytes(path, limit), sampling_frequency, repairs))
    if name == "NumPy archive":
        return read_archive(read_bytes(path, limit), sampling_frequency, limit, repairs)
    size = os.stat(path).st_size  # noqa: PTH116
    if size > limit:
        raise UnreadableError(f"has {size} bytes; at most {limit} are read")
    return read_with_library(path, name, repairs)


def _unknown(path: str) -> str:
    return "is in no format that is read" if read_bytes(path, MAX_BYTES) else "is empty"


def _reason(error: Exception, path: str) -> str:
    """Return a library's message in one line of ASCII, without the path."""
    text = " ".join(error_reason(error).replace(f" in {path}", "").replace(path, "the file").split())
    return ascii(text)[1:-1][:MAX_REASON]
