"""Every command survives file names that the console cannot print, and ends with one line after Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import read_output
from tests.commands import ROOT
from tests.data.recordings import write
from tests.model.models import write_model

CHINESE, LATIN = "患者一", os.fsdecode(b"caf\xe9")  # the second is no UTF-8
CONSOLES = ("cp1252:strict", "utf-8:strict")
QUICK = ("--recipe", "quick", "--epochs", "1", "--simulated", "0", "--jobs", "1")


def environment(**variables: str) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEADWISE_")}
    return environ | {"LEADWISE_THREADS": "1"} | variables


def run(console: str, *arguments: object, status: int = 0, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *(os.fsencode(str(argument)) for argument in arguments)]
    environ = environment(PYTHONIOENCODING=console, **variables)
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=False)
    assert result.returncode == status, result.stdout + result.stderr
    assert b"Traceback" not in result.stderr and b"Logging error" not in result.stderr
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small model, and data with odd names: four good recordings, two empty headers, others."""
    folder = tmp_path_factory.mktemp("names")
    data = folder / "data"
    for number, name in enumerate(("A0001", "A0002", CHINESE, "E0001")):
        write(data, name, f"{CODES[0]},{CODES[1]}", 5000, number)
    for ending in (".hea", ".mat"):
        (data / f"E0001{ending}").rename(data / f"{LATIN}{ending}")
    for name in ("空.hea", f"x{LATIN}.hea", "其他.xml", "fran\udce7.x\udce9"):
        (data / name).write_text("")
    write_model(folder / "model")
    return folder


@pytest.fixture(scope="module", params=CONSOLES)
def outputs(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Path]:
    console = request.param
    output = folder / f"out {LATIN} {console[:3]}"
    result = run(console, "driver.py", folder / "model", folder / "data", output, "--problems", folder / "bad.csv")
    assert b"6 recordings scored, 2 of them could not be used" in result.stdout
    assert b"not read: 1 file .x? (fran?.x?), 1 file .xml (" in result.stdout
    return console, output


def test_the_driver_answers_every_recording(outputs: tuple[str, Path], folder: Path) -> None:
    _, output = outputs
    assert sorted(path.stem for path in output.iterdir()) == sorted(
        ["A0001", "A0002", CHINESE, LATIN, "空", f"x{LATIN}"]
    )
    for path in output.iterdir():
        assert len(read_output(path).codes) == 24
        assert path.read_text(encoding="utf-8").startswith("#")
    problems = (folder / "bad.csv").read_text(encoding="utf-8").splitlines()
    assert problems == ["name,reason", "xcaf?,the header is empty", "空,the header is empty"]


def test_the_evaluator_prints_its_warning_and_writes_its_report(outputs: tuple[str, Path], folder: Path) -> None:
    console, output = outputs
    for name in (CHINESE, LATIN):
        (output / f"{name}.csv").write_text("1\n")
    page = folder / "report.html"
    lines = run(console, "evaluate_12ECG_score.py", folder / "data", output, "--report", page).stdout.splitlines()
    assert len(lines) == 4 and all(b"malformed output" in line for line in lines[:2])
    assert (b"\\u60a3" in b"".join(lines)) == (console[:2] == "cp") and b"caf\\udce9" in b"".join(lines)
    assert CHINESE in page.read_text(encoding="utf-8")
    (output / f"{CHINESE}.csv").unlink()
    error = run(console, "evaluate_12ECG_score.py", folder / "data", output, status=1).stderr
    assert len(error.splitlines()) == 1 and b"no output" in error


@pytest.mark.parametrize("console", CONSOLES)
def test_one_name_does_not_end_the_answers_for_the_next_recordings(folder: Path, console: str) -> None:
    data = folder / "data"
    records = [data / name for name in (CHINESE, LATIN, f"x{LATIN}", "A0001")]
    printed = run(console, "get_12ECG_score.py", folder / "model", *records, status=1).stdout
    assert printed.count(b"probability  threshold") == 3


def test_json_has_readable_names(folder: Path) -> None:
    data = folder / "data"
    records = [data / name for name in (CHINESE, LATIN, f"x{LATIN}")]
    lines = run("cp1252:strict", "get_12ECG_score.py", folder / "model", *records, "--json", status=1).stdout
    objects = [json.loads(line) for line in lines.splitlines()]
    assert [each["record"] for each in objects] == [str(data / name) for name in (CHINESE, "caf\\udce9", "xcaf\\udce9")]
    assert [each["name"] for each in objects] == [CHINESE, "E0001", "xcaf\\udce9"]


@pytest.mark.parametrize("console", CONSOLES)
def test_a_training_reads_and_leaves_out_odd_names(folder: Path, tmp_path: Path, console: str) -> None:
    """By the command, and by the function that the organisers' scripts call."""
    model, variables = tmp_path / LATIN, {"LEADWISE_PAGES": "0"}
    command: tuple[str, ...] = ("train_model.py",)
    if console == CONSOLES[1]:
        command = ("-c", "import sys; from team_code import training_code; training_code(*sys.argv[1:])")
    for name, value in zip(QUICK[::2], QUICK[1::2], strict=True):
        variables[f"LEADWISE_{name[2:].upper()}"] = value
    printed = run(console, *command, folder / "data", model, **variables).stdout
    assert b"4 recordings prepared, 2 left out" in printed and b"caf\\udce9: 2 networks" in printed
    assert CHINESE in (model / "seen.txt").read_text(encoding="utf-8")


# Ctrl-C ---------------------------------------------------------------------------------------------------------

# Press Ctrl-C when a command calls a function for the second time.
INTERRUPTED = """
import importlib, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal; a job in the background ignores it
module, name, command, *sys.argv[1:] = sys.argv[1:]
owner = importlib.import_module(module)
original, calls = getattr(owner, name), []
def interrupted(*arguments, **options):
    calls.append(1)
    if len(calls) == 2:
        signal.raise_signal(signal.SIGINT)
    return original(*arguments, **options)
setattr(owner, name, interrupted)
sys.argv[0] = command
runpy.run_path(command, run_name="__main__") if command.endswith(".py") else runpy.run_module(command, None, "__main__")
"""


@pytest.mark.parametrize(
    ("module", "function", "command", "arguments"),
    [
        ("leadwise.model.scoring", "write_output", "driver.py", ["model", "data", "out"]),
        ("leadwise.ecg.reading", "read_ecg", "get_12ECG_score.py", ["model", "data/A0001", "data/A0002"]),
        ("leadwise.training.epoch", "train_batch", "train_model.py", ["data", "trained", *QUICK]),
        ("leadwise.challenge.evaluation", "read_output", "evaluate_12ECG_score.py", ["data", "empty"]),
        ("leadwise.simulate.folder", "simulate", "leadwise.simulate", ["simulated", "--recordings", "3"]),
    ],
)
def test_ctrl_c_ends_a_command_with_one_line_and_130(
    folder: Path, tmp_path: Path, module: str, function: str, command: str, arguments: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for path in (folder / "data").glob("*.hea"):
        (tmp_path / "empty" / f"{path.stem}.csv").touch()
    for name in ("model", "data"):
        (tmp_path / name).symlink_to(folder / name)
    place = str(ROOT / command) if command.endswith(".py") else command
    environ = environment(PYTHONPATH=str(ROOT))
    arguments = [sys.executable, "-c", INTERRUPTED, module, function, place, *arguments]
    result = subprocess.run(arguments, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 130, result.stderr
    name = command if command.endswith(".py") else f"python -m {command}"
    assert result.stderr.splitlines() == [f"{name}: interrupted"]
