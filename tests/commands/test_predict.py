"""`leadwise predict` and get_12ECG_score.py give the same answers; a reader that has enough ends them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import get_12ECG_score
import leadwise
from leadwise import cli
from leadwise.simulate.folder import write_folder
from tests.commands import ROOT
from tests.model.models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    write_model(folder)
    return folder


def test_without_a_model_the_included_one_answers_and_its_site_is_doubted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path, 4, seed=1, sources=["HR"])  # acquired as PTB-XL's
    records = sorted(map(str, tmp_path.glob("*.hea")))
    assert cli.main(["predict", *records]) == 0
    printed = capsys.readouterr()
    assert get_12ECG_score.main(["pretrained", *records]) == 0
    assert capsys.readouterr() == (printed.out, printed.err.replace("leadwise predict", "get_12ECG_score.py"))
    assert "sinus rhythm" in printed.out
    assert printed.err.startswith("leadwise predict: ") and printed.err.count("PTB-XL's prevalences") == 1
    assert cli.main(["predict", *records, "--site", "unknown"]) == 0
    assert "PTB-XL" not in capsys.readouterr().err


def test_a_table_is_answered_and_drawn_at_the_sampling_frequency_of_the_option(
    ecgs: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = leadwise.read(ecgs / "E00001")
    rows = [recording.lead_names, *(recording.counts / 1000).T.tolist()]  # mV
    table = tmp_path / "ecg.csv"
    table.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    arguments = ["predict", str(table), "--model", str(model), "--json"]
    assert cli.main(arguments) == 1
    assert "sampling frequency" in json.loads(capsys.readouterr().out)["error"]
    picture = tmp_path / "ecg.svg"
    assert cli.main([*arguments, "--sampling-frequency", "250", "--plot", str(picture), "--no-evidence"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["name"], line["recording"]["sampling_frequency_hz"], line["error"]) == ("ecg", 250, None)
    assert picture.exists()


@pytest.mark.parametrize("options", [[], ["--json"], ["--json", "--evidence"]])
def test_it_prints_what_the_script_prints(
    ecgs: Path, model: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records = [str(ecgs / "E00001.hea"), str(ecgs / "missing"), str(ecgs / "E00002")]
    assert get_12ECG_score.main([str(model), *records, *options]) == 1
    by_script = capsys.readouterr()
    assert cli.main(["predict", *records, "--model", str(model), *options]) == 1
    assert capsys.readouterr() == by_script
    if options:
        lines = [json.loads(line) for line in by_script.out.splitlines()]
        assert [line["record"] for line in lines] == records
        assert {line["model"]["folder"] for line in lines} == {str(model)}


def test_a_flag_wins_over_its_variable(
    ecgs: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADWISE_MODEL", str(ecgs))  # no model
    assert cli.main(["predict", str(ecgs / "E00001")]) == 1
    assert capsys.readouterr().err == f"leadwise predict: {ecgs / 'model.json'}: No such file or directory\n"
    assert cli.main(["predict", str(ecgs / "E00001"), "--model", str(model)]) == 0


def test_a_reader_that_has_enough_ends_it_but_the_picture_is_written(ecgs: Path, model: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # before the first line is printed
    arguments = ["predict", ecgs / "E00001", "--model", model, "--plot", tmp_path / "ecg.svg", "--no-evidence"]
    command = [sys.executable, "-m", "leadwise", *map(str, arguments)]
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "ecg.svg").read_bytes().startswith(b"<?xml")
