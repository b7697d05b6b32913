"""Evaluate folders of headers and outputs, and format the evaluator's tables.

Only the `Dx` lines of a header are read: a label counts even if the header's signal lines are invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES, label_vector
from leadwise.challenge.metric import Scores, evaluate
from leadwise.challenge.outputs import read_output
from leadwise.ecg.discovery import find_headers
from leadwise.ecg.header import header_codes

Warn = Callable[[str], object]  # receives one line about each malformed output


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """Headers in the order of `find_headers`, with their labels, answers and scores, (recordings, 24) each."""

    headers: tuple[Path, ...]
    labels: NDArray[np.bool_]
    answers: NDArray[np.bool_]
    scores: NDArray[np.float64]


def read_folders(labels_folder: str | Path, outputs_folder: str | Path, warn: Warn = print) -> EvaluationData:
    """Read the labels of the headers NAME.hea in one folder and its subfolders, and the outputs NAME.csv in another
    folder; ignore other files.

    A malformed output counts as all negative with scores 0, after a warning. Raises FileNotFoundError with the name of
    a missing output, and ValueError as `find_headers` does or if a header is not a regular file.
    """
    headers = find_headers(labels_folder)
    # Search all outputs before reading any, so that a missing one is reported at once.
    outputs = [Path(outputs_folder) / f"{header.stem}.csv" for header in headers]
    for header, output in zip(headers, outputs, strict=True):
        if not header.is_file():  # reading a pipe would never end
            raise ValueError(f"{header} is not a regular file")
        if not output.is_file():
            raise FileNotFoundError(f"no output {output} for header {header}")
    labels = np.array([label_vector(header_codes(header.read_bytes())) for header in headers])
    answers, scores = zip(*(_read_vectors(output, warn) for output in outputs), strict=True)
    return EvaluationData(tuple(headers), labels, np.array(answers), np.array(scores))


def evaluate_folders(labels_folder: str | Path, outputs_folder: str | Path, warn: Warn = print) -> Scores:
    """Compute all metrics of the outputs in one folder for the headers in another; raise as `read_folders` does."""
    data = read_folders(labels_folder, outputs_folder, warn)
    return evaluate(data.labels, data.answers, data.scores)


def scores_by_name(scores: Scores) -> dict[str, float]:
    """Return the evaluator's seven metrics by its names, in its order."""
    names = ("AUROC", "AUPRC", "Accuracy", "F-measure", "Fbeta-measure", "Gbeta-measure", "Challenge metric")
    areas, measures = (scores.auroc, scores.auprc), (scores.f_measure, scores.f_beta, scores.g_beta)
    return dict(zip(names, (*areas, scores.accuracy, *measures, scores.challenge_metric), strict=True))


def scores_table(scores: Scores) -> str:
    """Format the evaluator's two lines: seven names, and seven values with three decimals (`nan` for NaN)."""
    values = scores_by_name(scores)
    return f"{','.join(values)}\n{_three_decimals(values.values())}\n"


def class_scores_table(scores: Scores) -> str:
    """Format the evaluator's table by class: codes, then AUROC, AUPRC and F-measure with three decimals."""
    rows = {"AUROC": scores.class_auroc, "AUPRC": scores.class_auprc, "F-measure": scores.class_f_measure}
    lines = [f"Classes,{','.join(CODES)}", *(f"{name},{_three_decimals(row)}" for name, row in rows.items())]
    return "".join(f"{line}\n" for line in lines)


def _three_decimals(values: Iterable[float]) -> str:
    return ",".join(f"{value:.3f}" for value in values)


def _read_vectors(path: Path, warn: Warn) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Read the answers and scores of an output, (24,) each; if it is malformed, warn and return zeros."""
    try:
        return read_output(path).by_class()
    except ValueError as error:  # one malformed output must not cost the scores of all others
        warn(f"{path}: malformed output ({error}), taken as all negative")
        return np.zeros(len(CODES), dtype=np.bool_), np.zeros(len(CODES))
