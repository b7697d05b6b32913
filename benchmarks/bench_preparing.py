"""Measure the preparation of recordings of 10 s at 500 Hz: two processes against one, and one against `loadmat` and
`numpy.interp` that store nothing. The workers are warm: joblib keeps them from the first call, which is not timed."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from benchmarks import baseline
from benchmarks.material import write_recordings
from benchmarks.run import Row
from leadwise.data.prepare import prepare_dataset
from leadwise.recipes import PAPER
from leadwise.util.memory import freeze_gc, tune_malloc

FOLDER = tempfile.TemporaryDirectory(prefix="bench_preparing_")  # removed when the process ends
RECORDINGS, PART = 4_000, 1 / 16


@cache
def paths() -> list[Path]:
    """Write the recordings; return their paths."""
    return write_recordings(Path(FOLDER.name, "data"), RECORDINGS)


def ours(jobs: int) -> None:
    """Read, resample, store and checksum all recordings, with the memory settings of train_model.py."""
    tune_malloc()
    freeze_gc()
    prepare_dataset(paths()[0].parent, tempfile.mkdtemp(dir=works()), PAPER.signal, jobs)


def works() -> Path:
    """Return the folder that has a subfolder for each call."""
    folder = Path(FOLDER.name, "works")
    folder.mkdir(exist_ok=True)
    return folder


def clean() -> None:
    """Remove the prepared recordings."""
    shutil.rmtree(works())


def plainly() -> None:
    """Read and resample a part of the recordings by the published method."""
    for path in paths()[: round(RECORDINGS * PART)]:
        baseline.resample(*baseline.read_files(path))


def rows() -> list[Row]:
    """Return the rows of preparation."""
    name = f"prepare {RECORDINGS:,} recordings of 10 s"
    return [
        Row(
            name=f"{name}: 2 jobs against 1",
            ours=lambda: ours(2),
            baseline=lambda: ours(1),
            target=1.6,
            pairs=5,
            clean=clean,
        ),
        Row(
            name=f"{name}, 1 job: loadmat + numpy.interp (on {PART:.0%}), nothing stored",
            ours=lambda: ours(1),
            baseline=plainly,
            target=1.0,
            pairs=5,
            part=PART,
            clean=clean,
        ),
    ]
