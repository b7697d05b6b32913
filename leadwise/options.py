"""The commands' options, one table a command: the field `batch_size` is `--batch-size` and `LEADWISE_BATCH_SIZE`.

A flag wins over its variable. Our own commands read both (`parse`); what the organisers' scripts call, with no flags of
ours, reads the variables alone (`from_environment`). A flag or variable that does not exist, or a value that cannot be,
ends the command with one line and exit status 2. This file knows no recordings, arrays or tensors, and starts nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from leadwise.recipes import DEFAULT_RECIPE, RECIPES

PREFIX = "LEADWISE_"

# ---------------------------------------------------------------------------------------------------- kinds of values


@dataclass(frozen=True)
class Kind:
    """How the text of an option becomes its value: `parse` raises ValueError with what it wanted instead."""

    metavar: str
    parse: Callable[[str], Any]
    switch: bool = False  # a flag without a value: --fresh, --no-fresh


def whole(minimum: int) -> Kind:
    """A whole number of at least `minimum`."""

    def parse(text: str) -> int:
        # int() alone would take "1_000" and " 7 " too
        if not (text.isascii() and text.isdigit() and int(text) >= minimum):
            raise ValueError(f"a whole number of at least {minimum}")
        return int(text)

    return Kind("N", parse)


def hours() -> Kind:
    """A number of hours above 0, with a fraction or without."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or float(text) == 0:
            raise ValueError("a number of hours above 0")
        return float(text)

    return Kind("HOURS", parse)


def choice(*names: str) -> Kind:
    """One of a few names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return Kind("{" + ",".join(names) + "}", parse)


def folder() -> Kind:
    """A folder, by its path; whether it exists is the command's affair."""

    def parse(text: str) -> Path:
        if not text:
            raise ValueError("the name of a folder")
        return Path(text)

    return Kind("FOLDER", parse)


def file(*endings: str) -> Kind:
    """A file to be written, whose name has one of these endings, in any case; without them, any name.

    Whether it can be written is the command's affair.
    """

    def parse(text: str) -> Path:
        if not text:
            raise ValueError("the name of a file")
        if endings and not text.lower().endswith(endings):
            raise ValueError(f"the name of a file that ends in {', '.join(endings)}")
        return Path(text)

    return Kind("FILE", parse)


def switch() -> Kind:
    """On or off: flags without a value, and a variable that says yes or no."""
    states = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}

    def parse(text: str) -> bool:
        if text.lower() not in states:
            raise ValueError("1 or 0 (yes or no, true or false, on or off)")
        return states[text.lower()]

    return Kind("", parse, switch=True)


def cores() -> int:
    """The CPU cores that this process may use, by affinity and container limits."""
    import joblib  # here, since neither --help nor the evaluator needs it

    return int(joblib.cpu_count())


# ---------------------------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Option:
    """How one field of a table is given."""

    name: str  # the field's: batch_size
    kind: Kind
    help: str
    default: str  # in words, for --help

    @property
    def flag(self) -> str:
        """--batch-size."""
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """The flag, and for a switch its opposite, so that a flag can win over the variable both ways."""
        return (self.flag, self.flag.replace("--", "--no-", 1)) if self.kind.switch else (self.flag,)

    @property
    def variable(self) -> str:
        """LEADWISE_BATCH_SIZE."""
        return PREFIX + self.name.upper()

    def value(self, text: str, source: str) -> Any:
        """The value that `text` stands for; `source` is the flag or variable that an error names."""
        try:
            return self.kind.parse(text)
        except ValueError as wanted:
            raise _OptionError(f"{source}: {text!r} is not {wanted}") from None


def option(kind: Kind, help: str, default: Any = None, otherwise: str = "") -> Any:
    """A field of a table. Without flag and variable its value is `default` (called, where it can be).

    `otherwise` says in words what that means, where the value does not say it.
    """
    words = otherwise or ("off" if kind.switch else str(default))
    how: dict[str, Any] = {"default_factory": default} if callable(default) else {"default": default}
    return dataclasses.field(**how, metadata={"kind": kind, "help": help, "default": words})


@dataclass(frozen=True)
class Given:
    """Where a value that was given comes from."""

    origin: str  # "--epochs" or "LEADWISE_EPOCHS"
    variable: Any = None  # what the variable said, where the flag won over it


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a command was told, a field an option; the base of all, and the table of a command that has none."""

    given: Mapping[str, Given] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def table(cls) -> tuple[Option, ...]:
        """The options, in the order of --help."""
        return tuple(Option(f.name, **f.metadata) for f in dataclasses.fields(cls) if "kind" in f.metadata)

    def overrides(self, owner: str = "", standing: Mapping[str, Any] | None = None) -> list[str]:
        """One line for each option that was given another value than it would have, with what that replaces.

        `standing` are values that hold without the options, by name, and `owner` whose they are; an option that is not
        among them replaces its default: "epochs: 12 (recipe robust has 10), from LEADWISE_EPOCHS".
        """
        usual = {f.name: (f.default, f"default {f.default}") for f in dataclasses.fields(self)}
        usual |= {name: (value, f"{owner} has {value}") for name, value in (standing or {}).items()}
        lines = []
        for one in (one for one in self.table() if one.name in self.given):
            value, given = getattr(self, one.name), self.given[one.name]
            replaced = [usual[one.name], (given.variable, f"{one.variable} has {given.variable}")]
            words = [text for other, text in replaced if other not in (None, dataclasses.MISSING, value)]
            if words:
                lines.append(f"{one.flag[2:]}: {value} ({'; '.join(words)}), from {given.origin}")
        return lines


@dataclass(frozen=True, kw_only=True)
class EvaluatorOptions(Options):
    """The options of evaluate_12ECG_score.py."""

    report: Path | None = option(file(".html"), "write a page with all figures and pictures", None, "none")  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(Options):
    """Whatever runs networks; by itself what load_model needs for the organisers' drivers."""

    device: str = option(choice("auto", "cpu", "cuda"), "where the networks run; auto: CUDA where there is one", "auto")
    precision: str = option(
        choice("auto", "fp32", "bf16", "fp16"), "the networks' arithmetic; auto: what suits the device", "auto"
    )
    threads: int = option(whole(1), "threads of the networks' arithmetic on a CPU", cores, "one a core")


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(NetworkOptions):
    """The options of get_12ECG_score.py."""

    json: bool = option(switch(), "print a line of JSON for each recording, docs/json.md describes it", False)
    plot: Path | None = option(file(".png", ".svg", ".pdf"), "draw the sheet of one recording", None, "none")  # noqa: RUF009
    evidence: bool | None = option(
        switch(), "find the leads and seconds that carry the first diagnosis", None, "on with --plot"
    )


@dataclass(frozen=True, kw_only=True)
class FolderOptions(NetworkOptions):
    """Whatever reads whole folders of recordings."""

    jobs: int = option(whole(1), "processes that read and prepare recordings", cores, "one a core")


@dataclass(frozen=True, kw_only=True)
class DriverOptions(FolderOptions):
    """The options of driver.py."""

    batch_size: int = option(whole(1), "windows that go through the networks together", 64)
    problems: Path | None = option(file(), "CSV list of the recordings that cannot be used", None, "none")  # noqa: RUF009
    strict: bool = option(switch(), "stop at the first recording that cannot be used, with status 1", False)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(FolderOptions):
    """The options of train_model.py, and of training_code for the organisers' scripts. None: as the recipe has it."""

    recipe: str = option(choice(*RECIPES), "the method to train", DEFAULT_RECIPE)
    epochs: int | None = option(whole(1), "passes over the training part of a fold", None, "the recipe's")
    folds: int | None = option(whole(2), "parts of the data, each to validate one network", None, "the recipe's")
    networks: int | None = option(whole(1), "networks of the ensemble, at most one a fold", None, "the recipe's")
    simulated: int | None = option(whole(0), "simulated ECGs that the networks begin with", None, "the recipe's")
    seed: int | None = option(whole(0), "seed of folds, weights, windows and dropout", None, "the recipe's")
    work: Path | None = option(folder(), "where prepared recordings are kept", None, "MODEL/checkpoint")  # noqa: RUF009
    max_hours: float = option(
        hours(), "the model is complete so long after the start, with fewer epochs if need be", 68.0
    )
    init: Path | None = option(folder(), "begin with the networks of this model folder", None, "new networks")  # noqa: RUF009
    half: bool = option(switch(), "store the networks' weights in half precision", False)
    fresh: bool = option(switch(), "start anew whatever MODEL holds already", False)
    pages: bool = option(switch(), "leave report.html and model_card.md in MODEL", True, "on")


# All commands share one set of variables: LEADWISE_EPOCHS, set for the training, does not stop the driver.
COMMANDS: tuple[type[Options], ...] = (TrainingOptions, DriverOptions, AnswerOptions, EvaluatorOptions)
KNOWN_VARIABLES = tuple(dict.fromkeys(one.variable for command in COMMANDS for one in command.table()))

# -------------------------------------------------------------------------------------------------- what was asked for

Table = TypeVar("Table", bound=Options)


@dataclass(frozen=True)
class Positional:
    """One positional argument: `nargs` None for exactly one, "?" for one or none, "+" for one or more."""

    name: str  # as --help shows it: DATA, SCORES.csv
    help: str
    nargs: str | None = None

    @property
    def key(self) -> str:
        """The attribute of the namespace, without what follows a dot: data, scores."""
        return self.name.partition(".")[0].lower()


class _OptionError(ValueError):
    """A flag or variable that does not exist, or whose value cannot be; the message is one line that names it."""


def parse(
    table: type[Table],
    description: str,
    positionals: Sequence[Positional],
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    prog: str | None = None,
) -> tuple[argparse.Namespace, Table]:
    """The positional arguments and the options of one of our commands.

    `argv` and `environ` are the process's where they are not given. Exits with status 2 and one line on standard error
    where something is wrong; --help prints and exits with 0.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser(table, description, positionals, prog)
    try:
        _refuse_unknown_flags(argv, table)
        arguments = parser.parse_intermixed_args(argv)
        texts = {one: getattr(arguments, one.name) for one in table.table()}
        flags = {one.name: one.value(text, one.flag) for one, text in texts.items() if text is not None}
        variables = _read_variables(table, os.environ if environ is None else environ)
    except _OptionError as error:
        parser.error(str(error))
    named = argparse.Namespace(**{positional.key: getattr(arguments, positional.key) for positional in positionals})
    return named, _fill(table, flags, variables)


def from_environment(table: type[Table], environ: Mapping[str, str] | None = None) -> Table:
    """The options by LEADWISE_ variables alone, for what the organisers' scripts call.

    Exits with status 2 and one line on standard error where a variable does not exist or its value cannot be.
    """
    try:
        return _fill(table, {}, _read_variables(table, os.environ if environ is None else environ))
    except _OptionError as error:
        _exit(f"error: {error}")


def _fill(table: type[Table], flags: Mapping[str, Any], variables: Mapping[str, Any]) -> Table:
    """Defaults, then variables, then flags: what comes later wins."""
    given = {one.name: Given(one.variable) for one in table.table() if one.name in variables}
    given |= {one.name: Given(one.flag, variables.get(one.name)) for one in table.table() if one.name in flags}
    return table(given=given, **{**variables, **flags})


# ------------------------------------------------------------------------------------------------- variables and flags


def _read_variables(table: type[Options], environ: Mapping[str, str]) -> dict[str, Any]:
    """The values of those options whose variable is set; an empty variable counts as not set."""
    for name in environ:
        if name.startswith(PREFIX) and name not in KNOWN_VARIABLES:
            raise _OptionError(f"{name}: no such variable{_nearest(name, KNOWN_VARIABLES)}")
    texts = {one: environ.get(one.variable) for one in table.table()}
    return {one.name: one.value(text, one.variable) for one, text in texts.items() if text}


def _refuse_unknown_flags(argv: Sequence[str], table: type[Options]) -> None:
    """Left to argparse, a misspelt flag that takes a value would often be told as a missing argument."""
    known = [flag for one in table.table() for flag in one.flags] + ["--help"]
    until = argv.index("--") if "--" in argv else len(argv)
    for argument in argv[:until]:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            raise _OptionError(f"{flag}: no such option{_nearest(flag, known)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _exit(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    raise SystemExit(2)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of argparse's usage and message."""
        _exit(f"{self.prog}: error: {message} (--help lists what there is)")


def _parser(
    table: type[Options], description: str, positionals: Sequence[Positional], prog: str | None
) -> argparse.ArgumentParser:
    """An argparse parser that leaves all values as text and knows no defaults: variables come between the two."""
    parser = _Parser(prog, description=description, allow_abbrev=False, epilog="A flag wins over its variable.")
    for positional in positionals:
        parser.add_argument(positional.key, metavar=positional.name, nargs=positional.nargs, help=positional.help)
    for one in table.table():
        text = f"{one.help} [{one.variable}; default: {one.default}]"
        if one.kind.switch:
            on, off = one.flags
            parser.add_argument(on, dest=one.name, action="store_const", const="yes", help=text)
            parser.add_argument(off, dest=one.name, action="store_const", const="no", help=argparse.SUPPRESS)
        else:
            parser.add_argument(one.flag, dest=one.name, metavar=one.kind.metavar, help=text)
    return parser
