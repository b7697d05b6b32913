"""`leadwise plot` draws the sheet that `leadwise predict --plot` draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadwise import cli
from tests.model.models import write_model


def test_it_draws_the_sheet_that_predict_draws(ecgs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "model")
    more = ("--model", str(tmp_path / "model"), "--no-evidence")
    assert cli.main(["plot", str(ecgs / "E00001"), str(tmp_path / "one.svg"), *more]) == 0
    assert capsys.readouterr() == ("", "")
    assert cli.main(["predict", str(ecgs / "E00001"), *more, "--plot", str(tmp_path / "two.svg")]) == 0
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_recording_that_cannot_be_read_has_no_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "model")
    arguments = [str(tmp_path / "missing"), str(tmp_path / "ecg.png"), "--model", str(tmp_path / "model")]
    assert cli.main(["plot", *arguments]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("leadwise plot: ") and shown.err.count("\n") == 1
    assert str(tmp_path / "missing") in shown.err
    assert not (tmp_path / "ecg.png").exists()
