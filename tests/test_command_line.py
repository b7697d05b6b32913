"""Commands read flags and variables, and refuse what is invalid with one line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.command_line import command, from_environment, kind_argument
from leadwise.command_line import run as run_command
from leadwise.options import COMMANDS, PICTURE, DriverOptions, Options, TrainingOptions, cores
from leadwise.util.errors import LeadwiseError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LEADWISE_")]:
        monkeypatch.delenv(name)


@contextmanager
def variables(environ: Mapping[str, str] | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environ or {}).items():
            patch.setenv(name, value)
        yield


def run(table: type[Options], argv: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Run a command of two positional arguments; return its exit status and the arguments of its function."""
    called: list[dict[str, Any]] = []

    @command(table, "Does something.")
    @click.argument("data")
    @click.argument("model")
    def main(**values: Any) -> None:
        called.append(values)

    with variables(environ):
        status = run_command(main, "command", list(argv))
    return status, called[0] if called else None


def training(*argv: str, environ: Mapping[str, str] | None = None) -> TrainingOptions:
    status, values = run(TrainingOptions, ["data", "model", *argv], environ)
    assert status == 0
    options: TrainingOptions = values["options"]
    return options


def refusal(capsys: pytest.CaptureFixture[str], argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the line that a command prints before it exits with 2."""
    assert run(TrainingOptions, argv, environ) == (2, None)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n") and printed.err.count("\n") == 1
    return printed.err


def read(table: type[Any], environ: Mapping[str, str]) -> Any:
    with variables(environ):
        return from_environment(table)


def test_every_option_has_a_default() -> None:
    options = training()
    assert options == TrainingOptions()
    assert (options.recipe, options.epochs, options.folds, options.seed) == ("robust", None, None, None)
    assert (options.device, options.precision, options.work, options.fresh) == ("auto", "auto", None, False)
    assert options.jobs == options.threads == cores() >= 1
    assert options.overrides() == []


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default() -> None:
    environ = {"LEADWISE_EPOCHS": "12", "LEADWISE_FOLDS": "3"}
    options = training("--epochs", "7", "--work=folder", environ=environ)
    assert (options.epochs, options.folds, options.work) == (7, 3, Path("folder"))


@pytest.mark.parametrize("text, state", [("1", True), ("yes", True), ("ON", True), ("0", False), ("false", False)])
def test_a_switch_has_a_variable_and_a_flag_for_each_state(text: str, state: bool) -> None:
    environ = {"LEADWISE_FRESH": text}
    assert training(environ=environ).fresh is state
    assert training("--fresh", environ=environ).fresh is True
    assert training("--no-fresh", environ=environ).fresh is False


def test_an_empty_variable_counts_as_not_set() -> None:
    assert training(environ={"LEADWISE_EPOCHS": "", "LEADWISE_FRESH": ""}) == TrainingOptions()


def test_positional_arguments_stand_before_between_and_after_flags() -> None:
    for argv in (["a", "b", "--epochs", "2"], ["--epochs", "2", "a", "b"], ["a", "--epochs", "2", "b"]):
        _, values = run(TrainingOptions, argv)
        assert (values["data"], values["model"], values["options"].epochs) == ("a", "b", 2)


@pytest.mark.parametrize(
    "argv, environ, named",
    [
        (["data", "--epoch", "3"], {}, "--epoch: no such option; did you mean --epochs?"),
        (["data", "model", "--qqq"], {}, "--qqq: no such option"),
        (["data", "model", "--epochs=0"], {}, "--epochs: '0' is not a whole number of at least 1"),
        (["data", "model", "--epochs", "1e3"], {}, "--epochs: '1e3' is not a whole number"),
        (["data", "model", "--epochs"], {}, "--epochs"),
        (["data", "model", "--folds", "1"], {}, "--folds: '1' is not a whole number of at least 2"),
        (["data", "model", "--work", ""], {}, "--work: '' is not the name of a folder"),
        (["data", "model", "--recipe", "papers"], {}, "--recipe: 'papers' is not one of paper, robust, quick"),
        (["data"], {}, "MODEL"),
        (["data", "model", "more"], {}, "more"),
        (["data", "model"], {"LEADWISE_EPOCH": "3"}, "LEADWISE_EPOCH: no such variable; did you mean LEADWISE_EPOCHS?"),
        (["data", "model"], {"LEADWISE_QQQ": ""}, "LEADWISE_QQQ: no such variable"),
        (["data", "model"], {"LEADWISE_DEVICE": "gpu"}, "LEADWISE_DEVICE: 'gpu' is not one of auto, cpu, cuda"),
        (["data", "model"], {"LEADWISE_FRESH": "maybe"}, "LEADWISE_FRESH: 'maybe' is not 1 or 0"),
    ],
)
def test_an_invalid_argument_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], environ: dict[str, str], named: str
) -> None:
    assert named in refusal(capsys, argv, environ)


def test_a_flag_cannot_be_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean --precision?" in refusal(capsys, ["data", "model", "--precis", "fp32"], {})


def test_a_variable_of_another_command_is_no_error() -> None:
    assert training(environ={"LEADWISE_BATCH_SIZE": "none of my business"}) == TrainingOptions()
    with pytest.raises(SystemExit):
        read(DriverOptions, {"LEADWISE_BATCH_SIZE": "none of my business"})


def test_options_can_be_read_from_the_variables_alone(capsys: pytest.CaptureFixture[str]) -> None:
    options = read(TrainingOptions, {"LEADWISE_RECIPE": "quick", "LEADWISE_SEED": "0", "PATH": "/bin"})
    assert (options.recipe, options.seed) == ("quick", 0)
    with pytest.raises(SystemExit) as stopped:
        read(TrainingOptions, {"LEADWISE_SEED": "-1"})
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: LEADWISE_SEED: '-1' is not a whole number of at least 0\n"


def test_a_command_reads_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    @command(TrainingOptions, "Trains.")
    @click.argument("data")
    def main(data: str, options: TrainingOptions) -> int:
        called.append((data, options.epochs, options.folds))
        return 3

    monkeypatch.setenv("LEADWISE_EPOCHS", "4")
    monkeypatch.setattr(sys, "argv", ["train", "data", "--folds", "3"])
    assert run_command(main, "train") == 3
    assert called == [("data", 4, 3)]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("no"), 1, "no"),
        (LeadwiseError("no:\n\tnever "), 1, "no: never"),
        (click.UsageError("no"), 2, "error: no (--help lists the options)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command(Options, "Fails.")
    def main(options: Options) -> None:
        raise error

    assert run_command(main, "driver.py", []) == status
    assert capsys.readouterr().err == f"driver.py: {line}\n"


def test_a_failure_of_a_sub_command_begins_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    @command(TrainingOptions, "Fails.")
    def train(options: TrainingOptions) -> None:
        raise ValueError("no")

    group = click.Group("leadwise", commands={"train": train})
    assert run_command(group, "leadwise", ["train"]) == 1
    assert capsys.readouterr().err == "leadwise train: no\n"
    assert run_command(group, "leadwise", ["train", "--epoch", "3"]) == 2
    assert capsys.readouterr().err.startswith("leadwise train: error: --epoch: no such option")
    assert run_command(group, "leadwise", ["trian"]) == 2
    assert capsys.readouterr().err.startswith("leadwise: error: No such command 'trian'.")


def test_the_variables_of_a_sub_command_are_those_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @command(DriverOptions, "Scores.")
    def score(options: DriverOptions) -> None:
        seen.append(options.device)

    monkeypatch.setenv("LEADWISE_DEVICE", "cpu")
    assert run_command(score, "driver.py", []) == 0
    assert run_command(click.Group("leadwise", commands={"score": score}), "leadwise", ["score"]) == 0
    assert seen == ["cpu", "cpu"]


def test_an_argument_is_checked_as_an_option_is(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    @command(Options, "Draws.")
    @kind_argument("picture", PICTURE)
    def plot(picture: Path, options: Options) -> None:
        seen.append(picture)

    assert run_command(plot, "plot", ["ecg.PNG"]) == 0 and seen == [Path("ecg.PNG")]
    assert run_command(plot, "plot", ["ecg.jpg"]) == 2
    assert "'ecg.jpg' is not the name of a file that ends in .png, .svg, .pdf" in capsys.readouterr().err


def test_help_ends_with_an_example_of_the_command_that_was_called(capsys: pytest.CaptureFixture[str]) -> None:
    @command(DriverOptions, "Scores.", "pretrained ecgs")
    def score(options: DriverOptions) -> None:
        pass

    assert run_command(score, "driver.py", ["--help"]) == 0
    assert "Example: driver.py pretrained ecgs\n" in capsys.readouterr().out
    assert run_command(click.Group("leadwise", commands={"score": score}), "leadwise", ["score", "--help"]) == 0
    assert "Example: leadwise score pretrained ecgs\n" in capsys.readouterr().out


def test_an_override_is_described_with_the_replaced_value_and_its_origin() -> None:
    environ = {"LEADWISE_EPOCHS": "12", "LEADWISE_DEVICE": "cpu", "LEADWISE_RECIPE": "quick"}
    recipe = {"epochs": 50, "folds": 5}
    assert training("--folds", "5", environ=environ).overrides("recipe paper", recipe) == [
        "device: cpu (default auto), from LEADWISE_DEVICE",
        "recipe: quick (default robust), from LEADWISE_RECIPE",
        "epochs: 12 (recipe paper has 50), from LEADWISE_EPOCHS",
    ]
    assert training("--epochs", "3", environ={"LEADWISE_EPOCHS": "12"}).overrides("recipe paper", recipe) == [
        "epochs: 3 (recipe paper has 50; LEADWISE_EPOCHS has 12), from --epochs"
    ]
    batch = read(DriverOptions, {"LEADWISE_BATCH_SIZE": "8"})
    assert batch.overrides() == ["batch-size: 8 (default 64), from LEADWISE_BATCH_SIZE"]


def test_an_option_that_replaces_nothing_is_not_described() -> None:
    assert training("--device", "auto", "--jobs", "1", environ={"LEADWISE_DEVICE": "auto"}).overrides() == []


@pytest.mark.parametrize("table", COMMANDS)
def test_help_shows_flag_and_variable_of_every_option(table: type[Options], capsys: pytest.CaptureFixture[str]) -> None:
    @command(table, "Does something.")
    def main(options: Options) -> None:
        pass

    with variables({"LEADWISE_QQQ": "1"}):
        assert run_command(main, "command", ["--help"]) == 0
    shown = "".join(capsys.readouterr().out.split())  # click breaks long lines
    for one in table.table():
        assert one.flag in shown
        assert f"[{one.variable};default:" in shown


@given(st.text(max_size=8), st.integers(-5, 10**9))
def test_a_number_is_accepted_only_in_digits(text: str, number: int) -> None:
    for candidate in (text, str(number)):
        if candidate.isascii() and candidate.isdigit() and int(candidate) >= 1:
            assert training(f"--epochs={candidate}").epochs == int(candidate)
        else:
            assert run(TrainingOptions, ["data", "model", f"--epochs={candidate}"]) == (2, None)


def test_the_documentation_has_the_flag_and_the_variable_of_every_option() -> None:
    page = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text(encoding="utf-8")
    for option in {option.name: option for table in COMMANDS for option in table.table()}.values():
        assert f"| `{option.flag}` | `{option.variable}` | " in page
