"""Score recordings with a model. The prediction of one that cannot be used has an error and the training prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import write_output
from leadwise.ecg.acquisition import measure_acquisition
from leadwise.ecg.discovery import describe_unread, find_ecgs, record_name
from leadwise.ecg.formats import other_format
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.quality import QualityWarning, quality_warnings
from leadwise.ecg.reading import read_ecg
from leadwise.ecg.recording import Recording, expected_seconds, recording_from_arrays
from leadwise.ecg.repairs import RecordingError, quote
from leadwise.model.ensemble import Model
from leadwise.model.prediction import Prediction
from leadwise.model.read_ahead import ReadAhead, Task
from leadwise.model.scoring_summary import ScoringSummary
from leadwise.options import DriverOptions
from leadwise.util.errors import LeadwiseError
from leadwise.util.files import remove_partial_files
from leadwise.util.progress import log, track
from leadwise.util.text import printable

UNEXPECTED = "unexpected error while reading"
NO_PROBABILITY = "values too large: the networks return no probability"


@dataclass(frozen=True, eq=False)
class _Input:
    """The network inputs for one recording."""

    name: str
    source: str  # for error messages: the file, or "header"
    signal: NDArray[np.float32]  # (12, samples)
    auxiliary_features: NDArray[np.float32]  # (5,), or (6,) with the signal's scale
    acquisition: NDArray[np.float32]  # (3,)
    repairs: tuple[str, ...]
    warnings: tuple[QualityWarning, ...]


@dataclass(frozen=True, eq=False)
class Features:
    """What a model's first network makes of one recording."""

    values: NDArray[np.float32] | None  # (512,) means over time of the last block
    error: RecordingError | None  # of one that cannot be used


Reader = tuple[str, Callable[[], Recording]]  # file or name for errors, and a function that reads the recording


def score_arrays(model: Model, header: str | Sequence[str], data: NDArray[Any]) -> Prediction:
    """Score a recording given as the text or lines of a header and ADC counts (leads, samples), as the organisers'
    drivers do: warn of one that cannot be used."""
    prediction = _score(model, [_input(model, ("", lambda: recording_from_arrays(header, data)), False)])[0]
    warn_of_prior(prediction)
    return prediction


def score_files(
    model: Model, paths: Iterable[Path], batch: int = 64, jobs: int = 1, *, quality: bool = False
) -> Iterator[Prediction]:
    """Score files in order, as `score_recordings` does."""
    readers = ((str(path), partial(read_ecg, path)) for path in paths)
    return score_recordings(model, readers, batch, jobs, quality=quality)


def score_recordings(
    model: Model, recordings: Iterable[Reader], batch: int = 64, jobs: int = 1, *, quality: bool = False
) -> Iterator[Prediction]:
    """Score recordings in order; `jobs` threads read the next two batches while one is computed, fewer recordings if
    they are long. `quality` adds the quality warnings."""
    for items in _read_ahead(model, recordings, batch, jobs, quality):
        predictions = _score(model, items)
        items.clear()  # before the next are read: the signal of a day has 0.5 GB
        yield from predictions


def embed_recordings(model: Model, recordings: Iterable[Reader], batch: int = 64, jobs: int = 1) -> Iterator[Features]:
    """Embed recordings in order, as `score_recordings` scores them."""
    for items in _read_ahead(model, recordings, batch, jobs, quality=False):
        found = _embed(model, items)
        items.clear()
        yield from found


def _read_ahead(
    model: Model, recordings: Iterable[Reader], batch: int, jobs: int, quality: bool
) -> ReadAhead[_Input | Prediction]:
    rate = 12 * model.recipe.signal.sampling_frequency  # numbers of a second
    tasks = (
        Task(partial(_input, model, reader, quality), math.ceil(rate * expected_seconds(reader[0])))
        for reader in recordings
    )
    return ReadAhead(tasks, batch, jobs)


class UnusableRecordingError(LeadwiseError):
    """Raised in a strict run for a recording that cannot be used."""


def score_folder(model: Model, data: Path, output: Path, options: DriverOptions | None = None) -> ScoringSummary:
    """Write OUTPUT/NAME.csv for each recording below `data`, and the list `problems` of those that cannot be used.

    Raises ValueError as `find_ecgs` does, OSError if a file cannot be written, and with `strict`
    UnusableRecordingError at the first recording that cannot be used, after the outputs of those before it.
    """
    options = options or DriverOptions()
    paths, summary, problems = find_ecgs(data), ScoringSummary(), options.problems
    if unread := describe_unread(data, read=other_format):
        log.info("%s", unread)
    output.mkdir(parents=True, exist_ok=True)
    if problems:
        summary.write_problems(problems)  # fails now rather than after hours
    readers = [(str(path), partial(read_ecg, path, options.sampling_frequency)) for path in paths]
    predictions = score_recordings(model, readers, options.batch_size, options.jobs, quality=options.quality)
    predictions = track(predictions, "scoring", len(paths))
    try:
        for path, prediction in zip(paths, predictions, strict=True):
            name = printable(record_name(path))
            summary.add(name, prediction)
            warn_of_prior(prediction)
            if options.strict and prediction.error:
                error = printable(str(prediction.error))
                raise UnusableRecordingError(f"{error} (--strict stops at the first that cannot be used)")
            write_prediction(output, record_name(path), prediction)
    finally:
        if problems:
            summary.write_problems(problems)
    remove_partial_files(output, names={f"{record_name(path)}.csv" for path in paths})  # of a run that was killed
    for line in summary.lines():
        log.info("%s", line)
    return summary


def write_prediction(output: Path, name: str, prediction: Prediction) -> None:
    """Write OUTPUT/NAME.csv."""
    labels = prediction.labels.astype(int).tolist()
    write_output(output / f"{name}.csv", printable(name), CODES, labels, prediction.scores.tolist())


def warn_of_prior(prediction: Prediction) -> None:
    """Log a warning if the prediction is the training prior."""
    if prediction.error:
        log.warning("scored with the training prior: %s", printable(str(prediction.error)))


def _input(model: Model, reader: Reader, quality: bool) -> _Input | Prediction:
    """Return the network inputs, or the prior's prediction for a recording that cannot be used."""
    source, read = reader
    try:
        recording = read()
    except RecordingError as error:
        return _prior(model, error)
    except Exception as error:  # one recording must not end a run over thousands
        return _prior(model, _unexpected(source, error))
    source = source or recording.name
    try:
        signal = prepare(recording, model.recipe.signal)
        features, acquisition = auxiliary_features(recording.header, signal), measure_acquisition(recording)
        repairs = tuple(repair.name for repair in (*recording.repairs, *signal.repairs))
        warnings = _quality_warnings(recording, source) if quality else ()
        return _Input(recording.name, source, signal.values, features, acquisition, repairs, warnings)
    except RecordingError as error:
        return _prior(model, RecordingError(source, error.reason), recording.name)
    except Exception as error:
        return _prior(model, _unexpected(source, error), recording.name)


def _unexpected(source: str, error: Exception) -> RecordingError:
    return RecordingError(source or "recording", f"{UNEXPECTED}: {type(error).__name__}: {quote(str(error))}")


def _quality_warnings(recording: Recording, source: str) -> tuple[QualityWarning, ...]:
    try:
        return quality_warnings(recording)
    except Exception as error:  # a check must not change the answer
        log.warning("no quality warnings: %s: %s", printable(source), quote(f"{type(error).__name__}: {error}"))
        return ()


def _prior(model: Model, error: RecordingError, name: str = "") -> Prediction:
    return Prediction(name, model.prior.labels[0], model.prior.scores[0], (), error)


def _score(model: Model, items: Sequence[_Input | Prediction]) -> list[Prediction]:
    inputs = [item for item in items if isinstance(item, _Input)]
    predictions = iter(_predict(model, inputs) if inputs else ())
    return [item if isinstance(item, Prediction) else next(predictions) for item in items]


def _embed(model: Model, items: Sequence[_Input | Prediction]) -> list[Features]:
    signals = [item.signal for item in items if isinstance(item, _Input)]
    values = iter(model.embed(signals) if signals else ())
    return [Features(next(values), None) if isinstance(item, _Input) else Features(None, item.error) for item in items]


def _predict(model: Model, inputs: Sequence[_Input]) -> list[Prediction]:
    features = np.stack([item.auxiliary_features for item in inputs])
    acquisitions = np.stack([item.acquisition for item in inputs])
    found = model.predict([item.signal for item in inputs], features, acquisitions)
    inside = np.full(len(inputs), np.nan) if found.in_distribution is None else found.in_distribution
    return [
        Prediction(item.name, labels, scores, item.repairs, None, float(probability), item.warnings)
        if np.isfinite(scores).all()
        else _prior(model, RecordingError(item.source, NO_PROBABILITY), item.name)
        for item, labels, scores, probability in zip(inputs, found.labels, found.scores, inside, strict=True)
    ]
