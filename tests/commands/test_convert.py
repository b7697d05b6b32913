"""`leadwise convert` writes Challenge files that are answered as their sources are."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from leadwise import cli
from leadwise.ecg.files import challenge_files
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


def test_of_a_folder_every_ecg_is_converted_and_repairs_are_named(
    ecgs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some" / "site").mkdir(parents=True)
    for ending in (".hea", ".mat"):
        (tmp_path / "some" / f"E00001{ending}").write_bytes((ecgs / f"E00001{ending}").read_bytes())
    (tmp_path / "some" / "site" / "table.csv").write_text("I,II\n" + "0.1,0.2\n0.3,-0.1\n" * 2000)
    header = (tmp_path / "some" / "E00001.hea").read_text()
    (tmp_path / "some" / "E00001.hea").write_text(header.replace("#Sex: ", "#Sex: x"))
    assert cli.main(["convert", str(tmp_path / "some"), str(tmp_path / "new"), "--sampling-frequency", "250"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("E00001.hea (repairs: unreadable-sex)") and "table.hea (repairs: " in lines[1]
    table = read_recording(tmp_path / "new" / "table")
    assert (table.sampling_frequency, table.lead_names) == (250, ("I", "II"))


def test_a_failure_leaves_no_half_of_a_recording(
    ecgs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(challenge_files, "write_text", full)
    assert cli.main(["convert", str(ecgs / "E00001"), str(tmp_path)]) == 1
    assert "No space left" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_two_files_of_one_written_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a b.csv", "a_b.csv"):  # a record's name has no blank
        (tmp_path / name).write_text("I,II\n0.1,0.2\n")
    assert cli.main(["convert", str(tmp_path / "a b.csv"), str(tmp_path / "a_b.csv"), str(tmp_path / "new")]) == 2
    assert "would both be" in capsys.readouterr().err and not (tmp_path / "new").exists()
