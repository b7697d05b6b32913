"""Recordings to measure with: Challenge files of noise, as many as one likes. What they show does not matter for the
time. Signals are few and linked under many names, so that 16,000 recordings take the disk of 32; headers are all
different."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from leadwise.challenge.classes import CODES
from tests.conftest import header_text, v4_matrix

SIGNALS = 32  # different ones


def write_recording(
    folder: Path, name: str = "A0001", samples: int = 5000, sampling_frequency: int = 500, seed: int = 0
) -> Path:
    """A recording of noise, 10 s at 500 Hz; its path without ending."""
    data = np.random.default_rng(seed).normal(0, 300, (12, samples)).astype(np.int16)
    comments = ("#Age: 74", "#Sex: Male", "#Dx: 426783006", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown")
    (folder / f"{name}.hea").write_text(header_text(name, data, sampling_frequency, comments=comments))
    (folder / f"{name}.mat").write_bytes(v4_matrix(data))
    return folder / name


def write_recordings(folder: Path, count: int) -> list[Path]:
    """`count` recordings of 10 s, each with a diagnosis; their paths without ending. What is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    originals = [write_recording(folder, f"A{index:06d}", seed=index) for index in range(min(SIGNALS, count))]
    texts = [Path(f"{original}.hea").read_text() for original in originals]
    paths = []
    for index in range(count):
        original, name = originals[index % SIGNALS], f"A{index:06d}"
        text = texts[index % SIGNALS].replace(original.name, name).replace("426783006", CODES[index % len(CODES)])
        (folder / f"{name}.hea").write_text(text.replace("#Age: 74", f"#Age: {20 + index % 70}"))
        if not (folder / f"{name}.mat").exists():
            os.link(f"{original}.mat", folder / f"{name}.mat")
        paths.append(folder / name)
    return paths
