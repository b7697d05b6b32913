"""Read an ECG file of any format: a WFDB record, or what `formats` reads, told by its content."""

from __future__ import annotations

import os
from pathlib import Path

from leadwise.ecg.files.signal_files import WFDB_SUFFIXES, existing
from leadwise.ecg.formats import other_format, read_other_format
from leadwise.ecg.recording import Recording, read_recording


def read_ecg(path: str | Path, sampling_frequency: float | None = None) -> Recording:
    """Read one ECG file.

    Parameters
    ----------
    path : path
        A WFDB record (NAME, NAME.hea, NAME.mat or NAME.dat; a NAME.mat without a header as 12 leads of 500 Hz), or a
        file in a format of docs/file-formats.md, whatever its ending.
    sampling_frequency : float, optional
        In Hz; for CSV and NumPy files that do not state it.

    Returns
    -------
    Recording
        Header and counts (leads, samples); `counts / adc_gain` and `baseline` give mV. `repairs` says what was assumed.

    Raises
    ------
    RecordingError
        If the file cannot be read: names the file and the reason.

    Examples
    --------
    >>> recording = leadwise.read("ecgs/E00001")
    >>> recording.lead_names[:3], recording.sampling_frequency
    (('I', 'II', 'III'), 500.0)
    """
    text = os.fspath(path)
    stem, suffix = os.path.splitext(text)  # noqa: PTH122
    if suffix.lower() != ".hea" and os.path.isfile(text):  # noqa: PTH113
        record = stem if suffix.lower() in WFDB_SUFFIXES else text
        unknown = suffix.lower() not in WFDB_SUFFIXES
        if existing(record, ".hea") is None and (unknown or other_format(text) is not None):
            return read_other_format(text, sampling_frequency)
    return read_recording(text, assume_header=True)
