"""Write a file and read it in another format than WFDB."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadwise.ecg.formats import read_other_format
from leadwise.ecg.recording import Recording


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Recording]:
    """Return a function that writes bytes to a file of no telling name, and reads it."""

    def write_and_read(raw: bytes, *arguments: Any) -> Recording:
        path = tmp_path / "ecg.bin"
        path.write_bytes(raw)
        return read_other_format(path, *arguments)

    return write_and_read
