"""Measure reading, and reading with preparing, of one recording of 10 s at 500 Hz, against plain code and wfdb."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import scipy.signal
import wfdb
from numpy.typing import NDArray

from benchmarks import baseline
from benchmarks.material import write_recording
from benchmarks.run import Row
from leadwise.ecg.preprocessing import prepare
from leadwise.ecg.recording import read_recording
from leadwise.recipes import RECIPES, SignalRecipe

FOLDER = tempfile.TemporaryDirectory(prefix="bench_reading_")  # removed when the process ends
PAPER = RECIPES["paper"].signal  # linear interpolation, counts
POLYPHASE = SignalRecipe(unit="mV", resampling="polyphase")  # comparable with resample_poly


@cache
def path() -> Path:
    """Write the recording; return its path."""
    return write_recording(Path(FOLDER.name))


def plain() -> NDArray[np.float32]:
    """Read and resample by the published method: loadmat, header lines, interpolation lead by lead."""
    return baseline.resample(*baseline.read_files(path()))


def by_wfdb() -> NDArray[np.float32]:
    """Read in mV with wfdb and resample with SciPy."""
    record = wfdb.rdrecord(str(path()))
    return np.asarray(scipy.signal.resample_poly(record.p_signal.T, 257, int(record.fs), axis=1), np.float32)


def rows() -> list[Row]:
    """Return the rows of reading."""
    both, alone = "read + prepare, 10 s at 500 Hz", "read header and counts, 10 s at 500 Hz"
    return [
        Row(
            name=f"{alone}: loadmat + the header's lines",
            ours=lambda: read_recording(path()),
            baseline=lambda: baseline.read_files(path()),
            target=1.5,
            pairs=15,
        ),
        Row(
            name=f"{alone}: wfdb.rdrecord",
            ours=lambda: read_recording(path()),
            baseline=lambda: wfdb.rdrecord(str(path()), physical=False),
            target=10.0,
            pairs=15,
        ),
        Row(
            name=f"{both}: loadmat + numpy.interp",
            ours=lambda: prepare(read_recording(path()), PAPER),
            baseline=plain,
            target=1.0,
            pairs=15,
        ),
        Row(
            name=f"{both}: wfdb.rdrecord + resample_poly",
            ours=lambda: prepare(read_recording(path()), POLYPHASE),
            baseline=by_wfdb,
            target=3.0,
            pairs=15,
        ),
    ]
