"""From recordings to answers, one at a time or a folder in batches; every recording gets one.

A recording that cannot be used is answered with the model's prior, and the reason is told. Knows no training.
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

from leadwise.classes import CODES
from leadwise.dataset import find_recordings
from leadwise.ensemble import Model
from leadwise.outputs import write_output
from leadwise.progress import log, track
from leadwise.recording import Recording, RecordingError, read_recording, recording_from_arrays
from leadwise.signals import demographics, prepare


@dataclass(frozen=True, eq=False)
class Scored:
    """The answer for one recording."""

    name: str
    labels: NDArray[np.bool_]  # (24,)
    scores: NDArray[np.float64]  # (24,) probabilities
    repairs: tuple[str, ...]  # names of what had to be mended
    problem: str | None  # why the recording could not be used, and the answer is the prior's


@dataclass(frozen=True, eq=False)
class _Input:
    """What the networks see of one recording."""

    name: str
    signal: NDArray[np.float32]  # (12, samples)
    demographics: NDArray[np.float32]  # (5,)
    repairs: tuple[str, ...]


def score_arrays(model: Model, header: str | Sequence[str], data: NDArray[Any]) -> Scored:
    """The answer for what an organiser's driver passes in: a header's text or lines, ADC counts (leads, samples)."""
    try:
        given: _Input | Scored = _network_input(model, recording_from_arrays(header, data))
    except RecordingError as error:
        given = _prior(model, error)
    return _score(model, [given])[0]


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


def score_folder(model: Model, data: Path, output: Path, batch: int = 64, jobs: int = 1) -> None:
    """Writes OUTPUT/NAME.csv for each recording below `data`; says at the end how many could not be used.

    Raises ValueError as `find_records` does, OSError where the output cannot be written.
    """
    records = find_records(data)
    output.mkdir(parents=True, exist_ok=True)
    problems = 0
    answers = track(score_files(model, records, batch, jobs), "scoring", len(records))
    for record, scored in zip(records, answers, strict=True):
        labels = scored.labels.astype(int).tolist()
        write_output(output / f"{record.name}.csv", record.name, CODES, labels, scored.scores.tolist())
        problems += scored.problem is not None
    log.info("%d recordings scored, %d of them could not be used and got the training prior", len(records), problems)


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
    try:
        return _network_input(model, read_recording(path))
    except RecordingError as error:
        return _prior(model, error, path.name)


def _network_input(model: Model, recording: Recording) -> _Input:
    signal = prepare(recording, model.recipe.signal)
    repairs = tuple(repair.name for repair in (*recording.repairs, *signal.repairs))
    return _Input(recording.name, signal.values, demographics(recording.header), repairs)


def _prior(model: Model, error: RecordingError, name: str = "") -> Scored:
    log.warning("answered with the training prior: %s", error)
    return Scored(name, model.prior.labels[0], model.prior.scores[0], (), str(error))


def _score(model: Model, given: Sequence[_Input | Scored]) -> list[Scored]:
    """Answers in the order of `given`, where some may have theirs already."""
    usable = [item for item in given if isinstance(item, _Input)]
    answers = iter(_predict(model, usable) if usable else ())
    return [item if isinstance(item, Scored) else next(answers) for item in given]


def _predict(model: Model, inputs: Sequence[_Input]) -> list[Scored]:
    answer = model.predict([item.signal for item in inputs], np.stack([item.demographics for item in inputs]))
    rows = zip(inputs, answer.labels, answer.scores, strict=True)
    return [Scored(item.name, labels, scores, item.repairs, None) for item, labels, scores in rows]
