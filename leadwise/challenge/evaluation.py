"""Folders of headers and outputs become the evaluator's figures and tables.

Of a header only the `Dx` lines are read here, and leniently: a label counts even where the signal lines would be
refused. What the figures mean stands in `metric.py`, what an output looks like in `outputs.py`. Knows no signals and no
networks.
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
from leadwise.ecg.header import header_codes

Warn = Callable[[str], object]  # is told, in one line, what is wrong with a file that does not stop the evaluation


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The headers of a folder in the order of their names, and what they and the outputs say, (recordings, 24) each."""

    headers: tuple[Path, ...]
    labels: NDArray[np.bool_]
    answers: NDArray[np.bool_]
    scores: NDArray[np.float64]


def read_folders(labels_folder: str | Path, outputs_folder: str | Path, warn: Warn = print) -> Evaluated:
    """Labels of the headers NAME.hea in one folder, answers and scores of the outputs NAME.csv in another.

    A malformed output counts as all negative with scores 0, and `remark` is told. Raises FileNotFoundError that names
    the output where one is missing, and ValueError where there are no headers; other outputs and files are ignored.
    """
    headers = find_headers(labels_folder)
    # all outputs are looked for before any is read: what is missing is known at once
    outputs = [_output_of(header, Path(outputs_folder)) for header in headers]
    labels = np.array([label_vector(header_codes(header.read_bytes())) for header in headers])
    answers, scores = zip(*(_output_vectors(output, warn) for output in outputs), strict=True)
    return Evaluated(tuple(headers), labels, np.array(answers), np.array(scores))


def evaluate_folders(labels_folder: str | Path, outputs_folder: str | Path, warn: Warn = print) -> Scores:
    """All figures of the outputs in one folder for the headers in another; raises as `read_folders` does."""
    read = read_folders(labels_folder, outputs_folder, warn)
    return evaluate(read.labels, read.answers, read.scores)


def find_headers(folder: str | Path) -> list[Path]:
    """The headers in a folder, not below it, sorted by name, hidden ones left out; ValueError where there is none."""
    headers = [
        path
        for path in Path(folder).iterdir()
        if path.suffix.lower() == ".hea" and not path.name.startswith(".") and path.is_file()
    ]
    if not headers:
        raise ValueError(f"no headers (.hea) in {folder}")
    return sorted(headers, key=lambda path: path.name)


def figures_by_name(scores: Scores) -> dict[str, float]:
    """The evaluator's seven figures by their names, in its order."""
    return {
        "AUROC": scores.auroc,
        "AUPRC": scores.auprc,
        "Accuracy": scores.accuracy,
        "F-measure": scores.f_measure,
        "Fbeta-measure": scores.f_beta,
        "Gbeta-measure": scores.g_beta,
        "Challenge metric": scores.challenge_metric,
    }


def scores_table(scores: Scores) -> str:
    """The evaluator's two lines: names of the seven figures, and their values with three decimals (`nan` for NaN)."""
    figures = figures_by_name(scores)
    return f"{','.join(figures)}\n{_three_decimals(figures.values())}\n"


def class_scores_table(scores: Scores) -> str:
    """The evaluator's table by class: codes, AUROC, AUPRC and F-measure, one line each, values with three decimals."""
    rows = {"AUROC": scores.class_auroc, "AUPRC": scores.class_auprc, "F-measure": scores.class_f_measure}
    lines = [f"Classes,{','.join(CODES)}", *(f"{name},{_three_decimals(row)}" for name, row in rows.items())]
    return "".join(f"{line}\n" for line in lines)


def _three_decimals(values: Iterable[float]) -> str:
    return ",".join(f"{value:.3f}" for value in values)


def _output_of(header: Path, folder: Path) -> Path:
    """The output that answers a header; FileNotFoundError names it where it is missing."""
    output = folder / f"{header.stem}.csv"
    if not output.is_file():
        raise FileNotFoundError(f"no output {output} for header {header}")
    return output


def _output_vectors(path: Path, warn: Warn) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Answers and scores of an output, (24,) each; nothing but zeros, and a remark, where the file is malformed."""
    try:
        return read_output(path).by_class()
    except ValueError as error:  # one bad file of another program must not cost all figures of it
        warn(f"{path}: malformed output ({error}), taken as all negative")
        return np.zeros(len(CODES), dtype=np.bool_), np.zeros(len(CODES))
