"""`leadwise train` and train_model.py start the same training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import train_model
from leadwise import cli
from leadwise.options import TrainingOptions
from leadwise.training import run as run_module


@pytest.mark.parametrize("command", [train_model.main, lambda argv: cli.main(["train", *argv])])
def test_it_passes_folders_and_options_to_the_training(
    command: Callable[[list[str]], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(run_module, "train", lambda *arguments: calls.append(arguments))
    monkeypatch.setenv("LEADWISE_RECIPE", "quick")
    model = tmp_path / "new" / "model"
    assert command(["ecgs", str(model), "--epochs", "3", "--jobs", "1", "--threads", "1"]) == 0
    ((data, folder, options, report),) = calls
    assert (data, folder, callable(report)) == ("ecgs", str(model), True)
    assert options == TrainingOptions(recipe="quick", epochs=3, jobs=1, threads=1)
    assert model.is_dir()


def test_a_failure_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", str(tmp_path / "nowhere"), str(tmp_path / "model")]) == 1
    assert capsys.readouterr().err == f"leadwise train: {tmp_path / 'nowhere'} is not a folder\n"
