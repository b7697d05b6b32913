"""Write Challenge files of noise to measure with; their content does not affect the time.

A few signals are hard-linked under many names, so that 16,000 recordings need the disk space of 32. All headers differ.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from leadwise.challenge.classes import CODES
from tests.conftest import header_text, v4_matrix

SIGNALS = 32  # different signals


def write_recording(
    folder: Path, name: str = "A0001", samples: int = 5000, sampling_frequency: int = 500, seed: int = 0
) -> Path:
    """Write a recording of noise, by default 10 s at 500 Hz; return its path without ending."""
    data = np.random.default_rng(seed).normal(0, 300, (12, samples)).astype(np.int16)
    comments = ("#Age: 74", "#Sex: Male", "#Dx: 426783006", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown")
    (folder / f"{name}.hea").write_text(header_text(name, data, sampling_frequency, comments=comments))
    (folder / f"{name}.mat").write_bytes(v4_matrix(data))
    return folder / name


def write_recordings(folder: Path, count: int) -> list[Path]:
    """Write `count` recordings of 10 s with one diagnosis each; return their paths without ending.

    Existing signal files are kept.
    """
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
