"""`leadwise score` and driver.py write the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import driver
from leadwise import cli
from leadwise.simulate import write_folder
from tests.commands import run
from tests.model.models import write_model


def test_it_writes_and_prints_what_the_driver_does(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    write_folder(tmp_path / "ecgs", 5, 3, sources=["E"])
    (tmp_path / "ecgs" / "E00009.mat").write_bytes(b"no matrix")
    program = """import sys
import driver
from leadwise import cli
*arguments, folder = sys.argv[1:]
for number, command in enumerate([driver.main, lambda argv: cli.main(["score", *argv])]):
    print("START")
    assert command([*arguments, f"{folder}/output{number}", "--problems", f"{folder}/problems{number}.csv"]) == 0"""
    done = run("-c", program, tmp_path / "model", tmp_path / "ecgs", tmp_path, LEADWISE_JOBS="1")
    _, *printed = re.sub(r"\d\d:\d\d:\d\d", "", done.stdout).split("START\n")
    outputs = []
    for number in range(2):
        problems = (tmp_path / f"problems{number}.csv").read_bytes()
        outputs.append({path.name: path.read_bytes() for path in (tmp_path / f"output{number}").iterdir()})
        outputs[-1][""] = problems
    assert "6 recordings scored, 1 of them could not be used" in printed[0]
    assert printed[0] == printed[1]
    assert outputs[0] == outputs[1] and len(outputs[0]) == 7


def test_a_failure_begins_with_the_name_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path), str(tmp_path), str(tmp_path / "output")]
    assert cli.main(["score", *arguments]) == driver.main(arguments) == 1
    reason = f"{tmp_path}/model.json: No such file or directory"
    assert capsys.readouterr().err == f"leadwise score: {reason}\ndriver.py: {reason}\n"
