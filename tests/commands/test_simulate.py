"""`leadwise simulate` writes what `write_folder` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadwise import cli
from leadwise.options import SimulationOptions
from leadwise.simulate import write_folder
from leadwise.simulate.databases import DEFAULT_SOURCES
from tests.commands import run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_writes_what_the_library_writes(tmp_path: Path) -> None:
    more = ("--recordings", 3, "--sources", "HR,U", "--longest", "8", "--noise", "0.5", "--class-floor", "0.01")
    done = run("-m", "leadwise", "simulate", tmp_path / "one", *more, LEADWISE_SEED="5")
    assert done.stdout.startswith(f"3 simulated recordings in {tmp_path / 'one'} (")
    write_folder(tmp_path / "two", 3, 5, sources=["HR", "U"], longest=8, noise=0.5, class_floor=0.01)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_its_defaults_are_those_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SimulationOptions().sources == DEFAULT_SOURCES
    monkeypatch.delenv("LEADWISE_SEED", raising=False)
    assert cli.main(["simulate", str(tmp_path / "one"), "--recordings", "2"]) == 0
    write_folder(tmp_path / "two", 2, 0)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ([], "--recordings is missing"),
        (["--recordings", "0"], "--recordings: '0' is not a whole number of at least 1"),
        (["--recordings", "2", "--sources", "X"], "not 'X'"),
        (["--recordings", "2", "--class-floor", "0.05"], "the class floor must be from 0 to 1/24"),
        (["--recordings", "2", "--noise", "-1"], "--noise: '-1' is not a number of at least 0"),
    ],
)
def test_a_bad_argument_is_named_and_nothing_is_written(
    tmp_path: Path, more: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["simulate", str(tmp_path / "new"), *more]) == 2
    shown = capsys.readouterr().err
    assert named in shown and shown.count("\n") == 1
    assert not (tmp_path / "new").exists()
