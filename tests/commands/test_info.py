"""`leadwise info` says what a model is, with the figures of its card."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from leadwise import cli
from leadwise.model.folder import PRETRAINED
from leadwise.report.card import model_card
from leadwise.report.training_page import read_training
from tests.model.models import edit, write_model


def test_the_included_model_is_described_in_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "pretrained"]) == 0
    printed = capsys.readouterr().out
    score = re.findall(r"challenge metric \| (\S+)", (PRETRAINED / "model_card.md").read_text(encoding="utf-8"))[0]
    for words in (
        "pretrained: recipe robust", "3,314 recordings", "PTB-XL", f"challenge metric {score}", "expected reward",
        "Not a medical device", "Not in the training data: bradycardia, premature ventricular contractions",
    ):  # fmt: skip
        assert words in printed
    assert len(printed.splitlines()) < 30 and max(map(len, printed.splitlines())) <= 120


def test_the_score_has_the_interval_of_the_card(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(trained)]) == 0
    training = read_training(trained, None)
    card = model_card(training.metadata, training.outputs, training.scores, training.subgroups)
    score, low, high = re.search(r"challenge metric \| (\S+) \((\S+) to (\S+)\)", card).groups()
    printed = capsys.readouterr().out
    assert f"challenge metric {score} (95 % interval {low} to {high})" in printed
    assert "24 recordings" in printed and "votes by its thresholds" in printed


def test_a_model_with_little_metadata_is_described_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "model")
    assert cli.main(["info", str(tmp_path / "model")]) == 0
    assert "Scores: not in model.json" in capsys.readouterr().out


@pytest.mark.parametrize("change", [lambda m: m["training"].clear(), lambda m: m["recipe"].clear()])
def test_metadata_that_say_nothing_are_named(
    trained: Path, tmp_path: Path, change: object, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(trained, tmp_path / "model")
    (copy / "validation.safetensors").unlink()
    edit(change)(copy)  # type: ignore[arg-type]
    assert cli.main(["info", str(copy)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"leadwise info: {copy / 'model.json'}: ") and shown.count("\n") == 1
