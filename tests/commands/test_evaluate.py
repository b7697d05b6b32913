"""`leadwise evaluate` and evaluate_12ECG_score.py print and write the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

import evaluate_12ECG_score
from leadwise import cli
from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import write_output
from tests.commands import run


@pytest.fixture(scope="module")
def outputs(ecgs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    for number, header in enumerate(sorted(ecgs.glob("*.hea"))):
        labels = [int((number + k) % 5 == 0) for k in range(24)]
        write_output(folder / f"{header.stem}.csv", header.stem, CODES, labels, [label / 2 for label in labels])
    return folder


def test_it_prints_what_the_evaluator_prints(ecgs: Path, outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("-m", "leadwise", "evaluate", ecgs, outputs).stdout
    assert evaluate_12ECG_score.main([str(ecgs), str(outputs)]) == 0
    assert printed == capsys.readouterr().out and printed.startswith("AUROC,AUPRC,Accuracy,")


def test_it_writes_what_the_evaluator_writes(ecgs: Path, outputs: Path, tmp_path: Path) -> None:
    written = []
    for number, command in enumerate((evaluate_12ECG_score.main, lambda argv: cli.main(["evaluate", *argv]))):
        files = [tmp_path / f"{number}{name}" for name in ("scores.csv", "classes.csv")]
        assert command([str(ecgs), str(outputs), *map(str, files)]) == 0
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
