"""`leadwise report` writes the pages that the training wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from leadwise import cli
from tests.commands import run

PAGES = ("report.html", "model_card.md")


def test_it_writes_the_pages_of_the_training_again(trained: Path, ecgs: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "model")
    for name in PAGES:
        (copy / name).unlink()
    run("-m", "leadwise.report", copy, ecgs)
    assert all((copy / name).read_bytes() == (trained / name).read_bytes() for name in PAGES)


def test_a_folder_without_a_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"leadwise report: {tmp_path / 'model.json'}: No such file or directory\n"
