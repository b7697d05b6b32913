"""From recordings to answers, one at a time or a folder in batches; every recording gets one.

A recording that cannot be used is answered with the model's prior, and the reason is told, listed and counted; what
had to be put right in the others is counted too. Knows no training.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import write_output
from leadwise.ecg.acquisition import measure_acquisition
from leadwise.ecg.discovery import find_records
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import Recording, read_recording, recording_from_arrays
from leadwise.ecg.repairs import RecordingError, quote
from leadwise.model.ensemble import Model
from leadwise.model.prediction import Prediction
from leadwise.model.scoring_summary import ScoringSummary
from leadwise.util.progress import log, track
from leadwise.util.text import printable

UNEXPECTED = "reading it failed in a way that the program does not know"
NO_PROBABILITY = "the networks give no probability for values so large"


@dataclass(frozen=True, eq=False)
class _Input:
    """What the networks see of one recording."""

    name: str
    source: str  # what an error names
    signal: NDArray[np.float32]  # (12, samples)
    demographics: NDArray[np.float32]  # (5,), or (6,) with the signal's scale
    acquisition: NDArray[np.float32]  # (3,)
    repairs: tuple[str, ...]


def score_arrays(model: Model, header: str | Sequence[str], data: NDArray[Any]) -> Prediction:
    """The answer for what an organiser's driver passes in: a header's text or lines, ADC counts (leads, samples)."""
    return _score(model, [_given(model, "header", lambda: recording_from_arrays(header, data))])[0]


def score_files(model: Model, paths: Iterable[Path], batch: int = 64, jobs: int = 1) -> Iterator[Prediction]:
    """The answers for recordings by their paths, in their order, `batch` of them going through the networks at once.

    `jobs` threads read the next two batches meanwhile; neither number changes an answer by more than rounding.
    """
    with ThreadPoolExecutor(jobs) as readers:
        inputs = _ahead(readers, partial(_read, model), paths, 2 * batch)
        while given := list(islice(inputs, batch)):
            yield from _score(model, given)


def _ahead(
    readers: ThreadPoolExecutor, read: Callable[[Path], _Input | Prediction], paths: Iterable[Path], ahead: int
) -> Iterator[_Input | Prediction]:
    """What `read` gives for each path, in order, begun for the `ahead` next ones."""
    waiting: deque[Future[_Input | Prediction]] = deque()
    for path in paths:
        waiting.append(readers.submit(read, path))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class UnusableRecordingError(Exception):
    """A recording cannot be used, and the command was told to stop then."""


def score_folder(
    model: Model,
    data: Path,
    output: Path,
    batch: int = 64,
    jobs: int = 1,
    problems: Path | None = None,
    strict: bool = False,
) -> ScoringSummary:
    """Writes OUTPUT/NAME.csv for each recording below `data`; logs, returns and lists in `problems` what was wrong.

    Raises ValueError as `find_records` does, OSError where a file cannot be written, UnusableError at the first
    recording that cannot be used where `strict` is set (what comes before it has its output).
    """
    records, account = find_records(data), ScoringSummary()
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
                raise UnusableRecordingError(f"{scored.problem} (--strict stops at the first that cannot be used)")
            labels = scored.labels.astype(int).tolist()
            write_output(output / f"{record.name}.csv", name, CODES, labels, scored.scores.tolist())
    finally:
        if problems:
            account.write_problems(problems)
    for line in account.lines():
        log.info("%s", line)
    return account


def _read(model: Model, path: Path) -> _Input | Prediction:
    return _given(model, str(path), lambda: read_recording(path, assume_header=True))


def _given(model: Model, source: str, read: Callable[[], Recording]) -> _Input | Prediction:
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
        recording.name,
        source,
        signal.values,
        auxiliary_features(recording.header, signal),
        measure_acquisition(recording),
        repairs,
    )


def _prior(model: Model, error: RecordingError, name: str = "") -> Prediction:
    problem = printable(str(error))
    log.warning("answered with the training prior: %s", problem)
    return Prediction(name, model.prior.labels[0], model.prior.scores[0], (), problem, printable(error.reason))


def _score(model: Model, given: Sequence[_Input | Prediction]) -> list[Prediction]:
    """Answers in the order of `given`, where some may have theirs already."""
    usable = [item for item in given if isinstance(item, _Input)]
    answers = iter(_predict(model, usable) if usable else ())
    return [item if isinstance(item, Prediction) else next(answers) for item in given]


def _predict(model: Model, inputs: Sequence[_Input]) -> list[Prediction]:
    numbers = np.stack([item.demographics for item in inputs]), np.stack([item.acquisition for item in inputs])
    answer = model.predict([item.signal for item in inputs], *numbers)
    strange = np.zeros(len(inputs), np.bool_) if answer.out_of_distribution is None else answer.out_of_distribution
    return [
        Prediction(item.name, labels, scores, item.repairs, None, out_of_distribution=bool(out_of_distribution))
        if np.isfinite(scores).all()
        else _prior(model, RecordingError(item.source, NO_PROBABILITY), item.name)
        for item, labels, scores, out_of_distribution in zip(inputs, answer.labels, answer.scores, strange, strict=True)
    ]
