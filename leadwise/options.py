"""Define the options of every command as dataclasses: one field per option, one table per command.

The field `batch_size` is the flag `--batch-size` and the variable `LEADWISE_BATCH_SIZE`. `command_line.py` makes click
commands from these tables; a program may construct a table directly, which needs no click.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadwise.recipes import DEFAULT_RECIPE, RECIPES


@dataclass(frozen=True)
class Kind:
    """How the text of an option is checked and converted to a value."""

    metavar: str
    expected: str  # in words, for errors
    accepts: Callable[[str], object]
    value: Callable[[str], Any] = str
    is_switch: bool = False  # a pair of flags without a value: --fresh, --no-fresh

    def convert(self, text: str) -> Any:
        """Return the value of a text. Raises ValueError."""
        if not self.accepts(text):
            raise ValueError(f"{text!r} is not {self.expected}")
        return self.value(text)


def whole(minimum: int) -> Kind:
    """Accept a whole number of at least `minimum`, in digits alone; int() would take "1_000" and " 7 " too."""
    accepts = lambda text: text.isascii() and text.isdigit() and int(text) >= minimum  # noqa: E731
    return Kind("N", f"a whole number of at least {minimum}", accepts, int)


def choice(*names: str) -> Kind:
    """Accept one of a few names."""
    return Kind("{" + ",".join(names) + "}", f"one of {', '.join(names)}", names.__contains__)


def file(*endings: str) -> Kind:
    """Accept a file name with one of these endings, in any case; without endings any name."""
    expected = f"the name of a file{' that ends in ' if endings else ''}{', '.join(endings)}"
    return Kind("FILE", expected, lambda text: text.lower().endswith(endings) if endings else text, Path)


STATES = dict.fromkeys(("1", "yes", "true", "on"), True) | dict.fromkeys(("0", "no", "false", "off"), False)
STATES_IN_WORDS = "1 or 0 (yes or no, true or false, on or off)"
PICTURE = file(".png", ".svg", ".pdf")
SWITCH = Kind("", STATES_IN_WORDS, lambda text: text.lower() in STATES, lambda text: STATES[text.lower()], True)
FOLDER = Kind("FOLDER", "the name of a folder", bool, Path)
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
PREFIXES = Kind("LIST", "prefixes with commas between them", bool, lambda text: tuple(text.split(",")))
FACTOR = Kind("X", "a number of at least 0", NUMBER.fullmatch, float)
HOURS = Kind("HOURS", "a number of hours above 0", lambda text: NUMBER.fullmatch(text) and float(text), float)
HERTZ = Kind("HZ", "a number of Hz above 0", lambda text: NUMBER.fullmatch(text) and float(text), float)


def cores() -> int:
    """Return the number of CPU cores that this process may use, by affinity and container limits."""
    import joblib  # here, since neither --help nor the evaluator needs it

    return int(joblib.cpu_count())


@dataclass(frozen=True)
class Origin:
    """The source of an option's value."""

    name: str  # "--epochs" or "LEADWISE_EPOCHS"
    overridden: str | None = None  # text of the variable that a flag replaced


@dataclass(frozen=True)
class Option:
    """One option of a table."""

    name: str  # of the field: batch_size
    kind: Kind
    help: str
    default: str  # in words, for --help

    @property
    def flag(self) -> str:
        """Return the flag, such as --batch-size."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Return the environment variable, such as LEADWISE_BATCH_SIZE."""
        return f"LEADWISE_{self.name.upper()}"


def option(kind: Kind, help: str, default: Any = None, default_words: str = "") -> Any:
    """Declare a field of a table, with its default (called if it is callable) and the words for it in --help."""
    words = default_words or ("off" if kind.is_switch else str(default))
    how: dict[str, Any] = {"default_factory": default} if callable(default) else {"default": default}
    return dataclasses.field(**how, metadata={"kind": kind, "help": help, "default": words})


@dataclass(frozen=True, kw_only=True)
class Options:
    """The values of a command's options; the base of all tables."""

    origins: Mapping[str, Origin] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def table(cls) -> tuple[Option, ...]:
        """Return the options in the order of --help."""
        return tuple(Option(f.name, **f.metadata) for f in dataclasses.fields(cls) if "kind" in f.metadata)

    def overrides(self, owner: str = "", defaults: Mapping[str, Any] | None = None) -> list[str]:
        """Describe each option whose value replaces another one, one line each.

        `defaults` are values of `owner` that hold without the options; the others are the defaults of the table.
        Example: "epochs: 12 (recipe robust has 10), from LEADWISE_EPOCHS".
        """
        usual = {f.name: (f.default, f"default {f.default}") for f in dataclasses.fields(self)}
        usual |= {name: (value, f"{owner} has {value}") for name, value in (defaults or {}).items()}
        lines = []
        for one in (one for one in self.table() if one.name in self.origins):
            value, origin = getattr(self, one.name), self.origins[one.name]
            replaced = [usual[one.name][1]] if usual[one.name][0] not in (None, dataclasses.MISSING, value) else []
            if origin.overridden is not None and one.kind.value(origin.overridden) != value:
                replaced.append(f"{one.variable} has {origin.overridden}")
            if replaced:
                lines.append(f"{one.flag[2:]}: {value} ({'; '.join(replaced)}), from {origin.name}")
        return lines


@dataclass(frozen=True, kw_only=True)
class EvaluatorOptions(Options):
    """The options of evaluate_12ECG_score.py and `leadwise evaluate`."""

    report: Path | None = option(file(".html"), "write a page with all figures and pictures", None, "none")  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(Options):
    """The options of everything that runs networks."""

    device: str = option(choice("auto", "cpu", "cuda"), "where the networks run; auto: CUDA if available", "auto")
    precision: str = option(
        choice("auto", "fp32", "bf16", "fp16"), "arithmetic of the networks; auto: the fastest for the device", "auto"
    )
    threads: int = option(whole(1), "CPU threads of the networks", cores, "one per core")


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(Options):
    """The options of everything that reads single files; by itself those of `leadwise convert`."""

    sampling_frequency: float | None = option(
        HERTZ, "of CSV and NumPy files that do not state it", None, "none: such files cannot be used"
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(NetworkOptions):
    """The options of everything that predicts; by itself those of `load_model` in team_code.py."""

    site: str = option(
        choice("auto", "training", "unknown"),
        "whether recordings come from the training hospitals; auto: by acquisition and content",
        "auto",
    )


@dataclass(frozen=True, kw_only=True)
class FileOptions(ModelOptions, ReadingOptions):
    """The options of everything that predicts from files."""


@dataclass(frozen=True, kw_only=True)
class DefaultModelOptions(Options):
    """The option of commands that take the included model if none is named."""

    model: Path | None = option(FOLDER, "folder with a trained model", None, "the included model")  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions(FileOptions):
    """The options of everything that draws a sheet."""

    evidence: bool | None = option(
        SWITCH, "find the leads and seconds that support a finding", None, "on for a sheet, otherwise off"
    )


@dataclass(frozen=True, kw_only=True)
class PredictionOptions(EvidenceOptions):
    """The options of get_12ECG_score.py."""

    json: bool = option(SWITCH, "print one line of JSON per recording; docs/command-line.md describes it", False)
    plot: Path | None = option(PICTURE, "draw the ECG sheet of one recording", None, "none")  # noqa: RUF009


@dataclass(frozen=True, kw_only=True)
class PredictOptions(PredictionOptions, DefaultModelOptions):
    """The options of `leadwise predict`."""


@dataclass(frozen=True, kw_only=True)
class PlotOptions(EvidenceOptions, DefaultModelOptions):
    """The options of `leadwise plot`."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions(NetworkOptions):
    """The options of everything that reads folders of recordings."""

    jobs: int = option(whole(1), "processes that read and prepare recordings", cores, "one per core")


@dataclass(frozen=True, kw_only=True)
class DriverOptions(FolderOptions, FileOptions):
    """The options of driver.py and `leadwise score`."""

    batch_size: int = option(whole(1), "recordings that go through the networks together", 64)
    problems: Path | None = option(file(), "CSV list of the recordings that cannot be used", None, "none")  # noqa: RUF009
    quality: bool = option(SWITCH, "count the quality warnings, such as noisy or loose leads, at the end", False)
    strict: bool = option(SWITCH, "stop at the first recording that cannot be used, with status 1", False)


SEED = "seed of a training (folds, weights, windows, dropout) or of a simulation"
SEED_DEFAULT = "the recipe's; 0 for a simulation"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(FolderOptions):
    """The options of train_model.py, of `leadwise train`, and of `training_code` in team_code.py. None: the value of
    the recipe."""

    recipe: str = option(choice(*RECIPES), "the method to train", DEFAULT_RECIPE)
    epochs: int | None = option(whole(1), "passes over the training part of a fold", None, "the recipe's")
    folds: int | None = option(whole(2), "parts of the data, each validates one network", None, "the recipe's")
    networks: int | None = option(whole(1), "networks of the ensemble, at most one per fold", None, "the recipe's")
    simulated: int | None = option(whole(0), "simulated ECGs for the initial weights", None, "the recipe's")
    seed: int | None = option(whole(0), SEED, None, SEED_DEFAULT)
    work: Path | None = option(FOLDER, "where prepared recordings are kept", None, "MODEL/checkpoint")  # noqa: RUF009
    max_hours: float = option(HOURS, "time limit; the model is complete by then, with fewer epochs if necessary", 68.0)
    init: Path | None = option(FOLDER, "start from the networks of this model folder", None, "new networks")  # noqa: RUF009
    half: bool = option(SWITCH, "store the weights in half precision (fp16)", False)
    fresh: bool = option(SWITCH, "start anew whatever MODEL already contains", False)
    pages: bool = option(SWITCH, "write report.html and model_card.md to MODEL", True, "on")


@dataclass(frozen=True, kw_only=True)
class SimulationOptions(Options):
    """The options of `leadwise simulate`."""

    recordings: int | None = option(whole(1), "number of recordings", None, "none, it must be given")
    seed: int | None = option(whole(0), SEED, None, SEED_DEFAULT)
    sources: tuple[str, ...] = option(
        PREFIXES, "databases, by the prefixes of their recordings; U: a foreign hospital, 300 Hz",
        ("A", "E", "HR", "I", "Q", "S"), "A,E,HR,I,Q,S",
    )  # fmt: skip
    class_floor: float = option(FACTOR, "share of recordings that each diagnosis has at least, 0 to 1/24", 0.0)
    noise: float = option(FACTOR, "factor of baseline wander, hum and muscle noise", 1.0)
    longest: float = option(FACTOR, "cut longer recordings to this number of seconds", math.inf, "no limit")


# All commands share one set of variables: LEADWISE_EPOCHS, set for the training, does not stop the driver.
COMMANDS: tuple[type[Options], ...] = (
    TrainingOptions, DriverOptions, PredictionOptions, PredictOptions, PlotOptions, EvaluatorOptions, SimulationOptions,
    ReadingOptions,
)  # fmt: skip
KNOWN_VARIABLES = tuple(dict.fromkeys(one.variable for command in COMMANDS for one in command.table()))
