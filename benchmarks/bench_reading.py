"""Reading and preparing one 10-s recording of 500 Hz, against the plain way and against wfdb with SciPy."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import scipy.io
import scipy.signal
import wfdb
from numpy.typing import NDArray

from benchmarks.run import Row
from leadwise.recipes import RECIPES, SignalRecipe
from leadwise.recording import read_recording
from leadwise.signals import prepare
from tests.conftest import header_text, v4_matrix

FOLDER = tempfile.TemporaryDirectory(prefix="bench_reading_")  # removed when the process ends
PAPER = RECIPES["paper"].signal  # linear interpolation, counts
POLYPHASE = SignalRecipe(unit="mV", resampling="polyphase")  # what resample_poly is to be compared with


def write_recording(folder: Path, name: str = "A0001", samples: int = 5000, sampling_frequency: int = 500) -> Path:
    """A Challenge recording of noise: what it shows does not matter for the time."""
    data = np.random.default_rng(0).normal(0, 300, (12, samples)).astype(np.int16)
    comments = ("#Age: 74", "#Sex: Male", "#Dx: 426783006", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown")
    (folder / f"{name}.hea").write_text(header_text(name, data, sampling_frequency, comments=comments))
    (folder / f"{name}.mat").write_bytes(v4_matrix(data))
    return folder / name


def plain(path: Path) -> NDArray[np.float32]:
    """The published way: loadmat, the header's lines, interpolation lead by lead."""
    counts = scipy.io.loadmat(path.with_suffix(".mat"))["val"]
    with path.with_suffix(".hea").open() as header:
        lines = header.readlines()
    sampling_frequency = float(lines[0].split(" ")[2])
    length = counts.shape[1]
    target = int(length / sampling_frequency * 257)
    source_times = np.linspace(0, length, length) / sampling_frequency
    target_times = np.linspace(0, target, target) / 257
    return np.array([np.interp(target_times, source_times, lead) for lead in counts], np.float32)


def by_wfdb(path: Path) -> NDArray[np.float32]:
    """Two libraries: wfdb reads in mV, SciPy resamples."""
    record = wfdb.rdrecord(str(path))
    return np.asarray(scipy.signal.resample_poly(record.p_signal.T, 257, int(record.fs), axis=1), np.float32)


def rows() -> list[Row]:
    """The two rows of reading."""
    path = write_recording(Path(FOLDER.name))
    name = "read + prepare, 10 s at 500 Hz"
    return [
        Row(
            name=f"{name}: loadmat + numpy.interp",
            ours=lambda: prepare(read_recording(path), PAPER),
            baseline=lambda: plain(path),
            target=1.0,
            pairs=15,
        ),
        Row(
            name=f"{name}: wfdb.rdrecord + resample_poly",
            ours=lambda: prepare(read_recording(path), POLYPHASE),
            baseline=lambda: by_wfdb(path),
            target=3.0,
            pairs=15,
        ),
    ]
