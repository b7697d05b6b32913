"""From recordings to answers, one at a time or a folder in batches; every recording gets one.

A recording that cannot be used is answered with the model's prior, and the reason is told, listed and counted; what
had to be put right in the others is counted too. Knows no training.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.classes import CODES
from leadwise.dataset import find_recordings
from leadwise.ensemble import Model
from leadwise.familiarity import acquisition
from leadwise.files import write_text
from leadwise.header import quote, reason_kind
from leadwise.outputs import write_output
from leadwise.progress import log, track
from leadwise.recording import Recording, RecordingError, read_recording, recording_from_arrays
from leadwise.signals import prepare, side_numbers

UNEXPECTED = "reading it failed in a way that the program does not know"
NO_PROBABILITY = "the networks give no probability for values so large"


@dataclass(frozen=True, eq=False)
class Scored:
    """The answer for one recording."""

    name: str
    labels: NDArray[np.bool_]  # (24,)
    scores: NDArray[np.float64]  # (24,) probabilities
    repairs: tuple[str, ...]  # names of what had to be mended
    problem: str | None  # file and reason why the recording could not be used, and the answer is the prior's
    reason: str | None = None  # the reason alone
    foreign: bool = False  # answered as of another hospital: acquired as no training recording was


@dataclass(frozen=True, eq=False)
class _Input:
    """What the networks see of one recording."""

    name: str
    source: str  # what an error names
    signal: NDArray[np.float32]  # (12, samples)
    demographics: NDArray[np.float32]  # (5,), or (6,) with the signal's scale
    acquisition: NDArray[np.float32]  # (3,)
    repairs: tuple[str, ...]


def score_arrays(model: Model, header: str | Sequence[str], data: NDArray[Any]) -> Scored:
    """The answer for what an organiser's driver passes in: a header's text or lines, ADC counts (leads, samples)."""
    return _score(model, [_given(model, "header", lambda: recording_from_arrays(header, data))])[0]


def score_files(model: Model, paths: Iterable[Path], batch: int = 64, jobs: int = 1) -> Iterator[Scored]:
    """The answers for recordings by their paths, in their order, `batch` of them going through the networks at once.

    `jobs` threads read the next two batches meanwhile; neither number changes an answer by more than rounding.
    """
    with ThreadPoolExecutor(jobs) as readers:
        inputs = _ahead(readers, partial(_read, model), paths, 2 * batch)
        while given := list(islice(inputs, batch)):
            yield from _score(model, given)


def _ahead(
    readers: ThreadPoolExecutor, read: Callable[[Path], _Input | Scored], paths: Iterable[Path], ahead: int
) -> Iterator[_Input | Scored]:
    """What `read` gives for each path, in order, begun for the `ahead` next ones."""
    waiting: deque[Future[_Input | Scored]] = deque()
    for path in paths:
        waiting.append(readers.submit(read, path))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class UnusableError(Exception):
    """A recording cannot be used, and the command was told to stop then."""


@dataclass
class Account:
    """What was wrong in a folder of recordings."""

    recordings: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)  # (name, reason) of those that cannot be used
    repairs: Counter[str] = field(default_factory=Counter)  # recordings in which each repair was made
    foreign: int = 0  # recordings answered as of another hospital

    def add(self, name: str, scored: Scored) -> None:
        """Counts one more recording."""
        self.recordings += 1
        self.repairs.update(set(scored.repairs))
        self.foreign += scored.foreign
        if scored.reason is not None:
            self.problems.append((name, scored.reason))

    def lines(self) -> list[str]:
        """The account for a log: how many cannot be used, by kind of reason, and how many were put right, by repair."""
        unusable = f"{len(self.problems)} of them could not be used and got the training prior"
        kinds = Counter(reason_kind(reason) for _, reason in self.problems)
        foreign = "were acquired as no training recording was, and answered as of another hospital"
        return [
            f"{self.recordings} recordings scored, {unusable}",
            *([f"  {self.foreign} {foreign}"] if self.foreign else []),
            *(f"  not usable: {count}, {kind}" for kind, count in kinds.most_common()),
            *(f"  repaired: {count}, {repair}" for repair, count in self.repairs.most_common()),
        ]

    def write_problems(self, path: Path) -> None:
        """Writes the list as CSV: a line `name,reason`, then one for each recording that cannot be used."""
        rows = [(no_formula(name), no_formula(reason)) for name, reason in self.problems]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("name", "reason"), *rows])
        write_text(path, text.getvalue())


def score_folder(
    model: Model,
    data: Path,
    output: Path,
    batch: int = 64,
    jobs: int = 1,
    problems: Path | None = None,
    strict: bool = False,
) -> Account:
    """Writes OUTPUT/NAME.csv for each recording below `data`; logs, returns and lists in `problems` what was wrong.

    Raises ValueError as `find_records` does, OSError where a file cannot be written, UnusableError at the first
    recording that cannot be used where `strict` is set (what comes before it has its output).
    """
    records, account = find_records(data), Account()
    output.mkdir(parents=True, exist_ok=True)
    if problems:
        account.write_problems(problems)  # now, since that this is possible should not turn out after hours
    headers = [record.with_name(f"{record.name}.hea") for record in records]  # without it NAME.dat would be cut to NAME
    answers = track(score_files(model, headers, batch, jobs), "scoring", len(records))
    try:
        for record, scored in zip(records, answers, strict=True):
            name = printable(record.name)
            account.add(name, scored)
            if strict and scored.problem:
                raise UnusableError(f"{scored.problem} (--strict stops at the first that cannot be used)")
            labels = scored.labels.astype(int).tolist()
            write_output(output / f"{record.name}.csv", name, CODES, labels, scored.scores.tolist())
    finally:
        if problems:
            account.write_problems(problems)
    for line in account.lines():
        log.info("%s", line)
    return account


def no_formula(text: str) -> str:
    """Text for a cell of a CSV file: with an apostrophe before what a spreadsheet would take for a formula, as a file's
    name may look (OWASP, CSV injection)."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def printable(text: str) -> str:
    """A file's name as it may stand in a line of text: what cannot be printed (line ends, bytes) becomes "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)


def find_records(folder: Path) -> list[Path]:
    """The recordings of a folder and its subfolders, as paths without suffix, sorted: each .mat and each .hea is one.

    Raises ValueError where the folder is none or has no recordings, or where two would give the same output.
    """
    records = sorted({path.with_suffix("") for suffix in (".mat", ".hea") for path in find_recordings(folder, suffix)})
    if not records:
        raise ValueError(f"{folder} has no recordings: no file in it ends in .mat or .hea")
    seen: dict[str, Path] = {}
    for record in records:
        if record.name in seen:
            raise ValueError(f"two recordings are named {record.name}: {seen[record.name]} and {record}")
        seen[record.name] = record
    return records


def _read(model: Model, path: Path) -> _Input | Scored:
    return _given(model, str(path), lambda: read_recording(path, assume_header=True))


def _given(model: Model, source: str, read: Callable[[], Recording]) -> _Input | Scored:
    """What the networks will see, or the prior's answer where they cannot."""
    try:
        return _network_input(model, source, read())
    except RecordingError as error:
        return _prior(model, error)
    except Exception as error:  # one recording more or less read must not end a run over thousands
        return _prior(model, RecordingError(source, f"{UNEXPECTED}: {type(error).__name__}: {quote(str(error))}"))


def _network_input(model: Model, source: str, recording: Recording) -> _Input:
    signal = prepare(recording, model.recipe.signal)
    repairs = tuple(repair.name for repair in (*recording.repairs, *signal.repairs))
    return _Input(
        recording.name, source, signal.values, side_numbers(recording.header, signal), acquisition(recording), repairs
    )


def _prior(model: Model, error: RecordingError, name: str = "") -> Scored:
    problem = printable(str(error))
    log.warning("answered with the training prior: %s", problem)
    return Scored(name, model.prior.labels[0], model.prior.scores[0], (), problem, printable(error.reason))


def _score(model: Model, given: Sequence[_Input | Scored]) -> list[Scored]:
    """Answers in the order of `given`, where some may have theirs already."""
    usable = [item for item in given if isinstance(item, _Input)]
    answers = iter(_predict(model, usable) if usable else ())
    return [item if isinstance(item, Scored) else next(answers) for item in given]


def _predict(model: Model, inputs: Sequence[_Input]) -> list[Scored]:
    numbers = np.stack([item.demographics for item in inputs]), np.stack([item.acquisition for item in inputs])
    answer = model.predict([item.signal for item in inputs], *numbers)
    strange = np.zeros(len(inputs), np.bool_) if answer.foreign is None else answer.foreign
    return [
        Scored(item.name, labels, scores, item.repairs, None, foreign=bool(foreign))
        if np.isfinite(scores).all()
        else _prior(model, RecordingError(item.source, NO_PROBABILITY), item.name)
        for item, labels, scores, foreign in zip(inputs, answer.labels, answer.scores, strange, strict=True)
    ]
