"""`leadwise convert` writes Challenge files that are answered as their sources are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leadwise import cli
from leadwise.ecg.recording import read_recording
from tests.commands import run


def test_a_converted_recording_is_the_same(ecgs: Path, tmp_path: Path) -> None:
    files = [ecgs / "E00001.hea", ecgs / "E00002"]
    done = run("-m", "leadwise", "convert", *files, tmp_path / "new")
    assert done.stdout == "".join(f"{file}: {tmp_path / 'new' / file.stem}.hea\n" for file in files)
    for file in files:
        old, new = read_recording(file), read_recording(tmp_path / "new" / file.stem)
        np.testing.assert_array_equal(old.counts, new.counts)
        assert old.sampling_frequency == new.sampling_frequency
        assert (old.header.age, old.header.sex, old.header.codes) == (new.header.age, new.header.sex, new.header.codes)


def test_the_files_after_one_that_cannot_be_read_are_converted(
    ecgs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["convert", str(ecgs / "missing"), str(ecgs / "E00001"), str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("leadwise convert: ") and "missing" in shown.err and shown.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["E00001.hea", "E00001.mat"]


@pytest.mark.parametrize(
    ("files", "folder", "named"),
    [
        (["E00001.hea", "E00001.mat"], "{tmp}", "would both be"),
        (["E00001.hea"], "{ecgs}", "E00001.hea exists, and would be overwritten"),
        (["E00001"], "{ecgs}/../{name}", "E00001.hea exists, and would be overwritten"),
    ],
)
def test_nothing_is_overwritten(
    ecgs: Path, tmp_path: Path, files: list[str], folder: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in ecgs.iterdir()}
    target = folder.format(tmp=tmp_path, ecgs=ecgs, name=ecgs.name)
    assert cli.main(["convert", *(str(ecgs / file) for file in files), target]) == 2
    assert named in capsys.readouterr().err
    assert {path: path.read_bytes() for path in ecgs.iterdir()} == before and not list(tmp_path.iterdir())
