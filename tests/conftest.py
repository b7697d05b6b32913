"""Provide the folder with real data, and recordings in the Challenge's format in a temporary folder."""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from leadwise.util.progress import log

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


# Without deadlines: the time of an example depends on the machine. benchmarks/ measures speed.
settings.register_profile("leadwise", deadline=None)
settings.load_profile("leadwise")


THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def same_number_of_threads() -> Iterator[None]:
    """Undo what a command under test has set: sums of another number of threads differ in the last bit."""
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Return the folder with real recordings beside the project; skip the test if it does not exist."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no real recordings: ../shared/data is not there")
    return folder


def header_text(
    name: str,
    counts: np.ndarray,
    frequency: float = 500,
    gain: str = "1000/mV",
    leads: Sequence[str] = LEADS,
    comments: Sequence[str] = ("#Age: 74", "#Sex: Male", "#Dx: 59118001"),
) -> str:
    """Return a header in the style of 2020 for int16 counts (leads, samples), with right first values and checksums."""
    lines = [f"{name} {len(counts)} {frequency} {counts.shape[1]} 12-May-2020 12:33:59"]
    for lead, row in zip(leads, counts, strict=False):
        checksum = (int(row.sum(dtype=np.int64)) + 32768) % 65536 - 32768
        lines.append(f"{name}.mat 16+24 {gain} 16 0 {int(row[0])} {checksum} 0 {lead}")
    return "\n".join([*lines, *comments]) + "\n"


def v4_matrix(matrix: np.ndarray, name: str = "val") -> bytes:
    """Return a MATLAB v4 file with one int16 matrix, as in the Challenge."""
    label = name.encode() + b"\0"
    head = struct.pack("<5i", 30, *matrix.shape, 0, len(label)) + label
    return head + np.asarray(matrix, "<i2").tobytes("F")


@pytest.fixture
def counts() -> np.ndarray:
    """Return (12, 500) int16 counts with twelve different leads."""
    return np.random.default_rng(1).integers(-3000, 3000, (12, 500)).astype(np.int16)


@pytest.fixture
def write_record(tmp_path: Path, counts: np.ndarray) -> Callable[..., Path]:
    """Return a function that writes NAME.hea and NAME.mat, whose content may be given, and returns the path of NAME."""

    def write(name: str = "A0001", header: str | bytes | None = None, matrix: bytes | None = None) -> Path:
        header = header_text(name, counts) if header is None else header
        (tmp_path / f"{name}.hea").write_bytes(header.encode() if isinstance(header, str) else header)
        (tmp_path / f"{name}.mat").write_bytes(v4_matrix(counts) if matrix is None else matrix)
        return tmp_path / name

    return write


@pytest.fixture(autouse=True)
def _log_of_a_new_process() -> None:
    """Undo `log_to_stdout` of commands that ran in this process."""
    log.handlers.clear()
    log.setLevel(logging.NOTSET)
