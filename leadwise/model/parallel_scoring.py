"""Score recordings with many processes or machines. Each task writes the outputs of its recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from leadwise.ecg.discovery import record_name
from leadwise.model.ensemble import Model
from leadwise.model.prediction import Prediction
from leadwise.model.scoring import score_files, warn_of_prior, write_prediction
from leadwise.model.scoring_summary import ScoringSummary
from leadwise.util.files import remove_partial_files
from leadwise.util.parallel import map_in_order
from leadwise.util.progress import track
from leadwise.util.text import printable

CHUNK: Final = 64  # recordings of a task: seconds of work, so that little is lost with a worker


def score_in_parallel(
    model: Model, paths: Sequence[Path], output: Path, jobs: int = -1, *, quality: bool = False
) -> ScoringSummary:
    """Write OUTPUT/NAME.csv for each recording with `jobs` workers of joblib's current backend, as `score_folder` does.

    The workers load the model from its folder, once each, and write to `output`: both are on a disk that all of them
    see. Raises ValueError if two recordings have one name, OSError if a file cannot be written."""
    names: dict[str, Path] = {}
    for path in paths:
        if names.setdefault(record_name(path), path) != path:
            raise ValueError(f"two recordings are named {record_name(path)}: {names[record_name(path)]} and {path}")
    output.mkdir(parents=True, exist_ok=True)
    files, summary = list(names.values()), ScoringSummary()
    chunks = [(model, files[first : first + CHUNK], output, quality) for first in range(0, len(files), CHUNK)]
    for predictions in track(map_in_order(_score_chunk, chunks, jobs), "scoring", len(chunks)):
        for name, prediction in predictions:
            summary.add(printable(name), prediction)
            warn_of_prior(prediction)
    remove_partial_files(output, names={f"{name}.csv" for name in names})  # of lost workers
    return summary


def _score_chunk(model: Model, paths: Sequence[Path], output: Path, quality: bool) -> list[tuple[str, Prediction]]:
    names = list(map(record_name, paths))
    predictions = list(score_files(model, paths, CHUNK, quality=quality))
    for name, prediction in zip(names, predictions, strict=True):
        write_prediction(output, name, prediction)
    return list(zip(names, predictions, strict=True))
