"""Provide a folder with recordings in subfolders, and with files that cannot be prepared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leadwise.challenge.classes import CODES
from tests.conftest import v4_matrix
from tests.data.recordings import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for index in range(40):  # more than one chunk
        write(data / f"g{index % 2}", f"A{index:04d}", CODES[index % 24], 300 + 7 * index, index)
    write(data, "HR00001", "59118001, 55827005,284470004")
    write(data, "E00001", "55827005")
    write(data, "._A0001")
    (data / "RECORDS").write_text("A0000\nA0001\n")
    (data / "E00004.mat").write_bytes(v4_matrix(np.ones((12, 400))))  # no header
    (data / "E00002.hea").write_text("nonsense")
    (data / "E00003.hea").write_text((data / "HR00001.hea").read_text().replace("HR00001", "E00003"))
    return data
