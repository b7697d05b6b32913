"""The `leadwise` command: its sub-commands, how fast they start, their variables, and output that nobody reads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

import leadwise
from leadwise import cli
from leadwise.cli import COMMANDS, main
from leadwise.model.folder import PRETRAINED
from tests.commands import ROOT, run


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LEADWISE_")]:
        monkeypatch.delenv(name)


def test_help_names_every_command_and_loads_neither_torch_nor_numpy() -> None:
    calls = [["--help"], *([name, "--help"] for name in COMMANDS)]
    program = f"""import sys
from leadwise.cli import main
statuses = [main(argv) for argv in {calls}]
loaded = {{"torch", "numpy", "scipy", "joblib", "matplotlib", "wfdb"}} & set(sys.modules)
sys.exit(repr((statuses, loaded)) if any(statuses) or loaded else 0)"""
    printed = run("-c", program).stdout
    for name in COMMANDS:
        assert f"\n  {name} " in printed
        assert f"Usage: leadwise {name} " in printed
        assert f"Example: leadwise {name} " in printed


def test_help_of_one_command_imports_no_other() -> None:
    program = """import sys
from leadwise.cli import main
main(["predict", "--help"])
print(*[name for name in sys.modules if name.startswith("leadwise.commands.")], file=sys.stderr)"""
    assert run("-c", program).stderr.split() == ["leadwise.commands.predict"]


@pytest.mark.parametrize("start", [("-m", "leadwise"), ("-m", "leadwise.cli")])
def test_the_package_and_the_module_run_it(start: Sequence[str]) -> None:
    assert run(*start, "--version").stdout == f"leadwise, version {leadwise.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "leadwise: error: Missing command."),
        (["predcit"], "leadwise: error: No such command 'predcit'."),
        (["predict"], "leadwise predict: error: Missing argument 'RECORD...'."),
        (["predict", "x", "--devise", "cpu"], "leadwise predict: error: --devise: no such option; did you mean"),
        (["predict", "x", "y", "--plot", "a.png"], "leadwise predict: error: --plot draws one recording, not 2"),
        (["plot", "x", "a.gif"], "leadwise plot: error: Invalid value for 'PICTURE': 'a.gif' is not the name of"),
        (["score", "model"], "leadwise score: error: Missing argument 'DATA'."),
        (["simulate", "folder"], "leadwise simulate: error: --recordings is missing"),
        (["train", "data", "model", "--recipe", "magic"], "leadwise train: error: --recipe: 'magic' is not one of"),
    ],
)
def test_a_bad_call_is_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert shown.err.startswith(line)


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("LEADWISE_DEVICE", "leadwise predict: error: LEADWISE_DEVICE: 'gpu' is not one of auto, cpu, cuda"),
        ("LEADWISE_PREDICT_DEVICE", "leadwise: error: LEADWISE_PREDICT_DEVICE: no such variable"),
    ],
)
def test_the_variables_are_those_of_the_scripts(
    variable: str, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "gpu")
    assert main(["predict", "x"]) == 2
    assert capsys.readouterr().err.startswith(line)


@pytest.mark.parametrize("argv", [["--help"], ["predict", "--help"], ["simulate", "{tmp}", "--recordings", "1"]])
def test_a_closed_pipe_leaves_no_traceback(argv: list[str], tmp_path: os.PathLike[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does, when it has enough
    command = [sys.executable, "-m", "leadwise", *[argument.format(tmp=tmp_path) for argument in argv]]
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""


def test_ctrl_c_while_a_command_is_imported_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert main(["predict", "x"]) == 130
    assert capsys.readouterr().err == "leadwise predict: interrupted\n"


def test_an_installed_package_has_the_command_and_the_included_model() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"leadwise": "leadwise.cli:main"}
    assert "pretrained/*" in project["tool"]["setuptools"]["package-data"]["leadwise"]
    assert PRETRAINED.is_relative_to(Path(leadwise.__file__).parent) and (PRETRAINED / "model.json").is_file()
