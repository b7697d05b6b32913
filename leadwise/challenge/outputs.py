"""Read and write the four-line CSV output of one recording:

#NAME
270492004,164889003,...      classes (SNOMED CT codes)
0,1,...                      labels
0.0132,0.9127,...            scores
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES, class_index
from leadwise.util.files import write_text

TRUE_LABELS = frozenset({"1", "True", "true", "T", "t"})  # everything else means 0


@dataclass(frozen=True)
class Output:
    """The columns of one output file: any codes, in any order, possibly repeated; scores may be NaN."""

    codes: tuple[str, ...]
    labels: tuple[bool, ...]
    scores: tuple[float, ...]

    def by_class(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Return labels and scores of the 24 classes, (24,) each; False and 0 for a class without a column.
        Of several columns of one class, labels are combined by *or*, and scores averaged without NaN."""
        labels = [False] * len(CODES)
        columns: list[list[float]] = [[] for _ in CODES]
        for code, label, score in zip(self.codes, self.labels, self.scores, strict=True):
            k = class_index(code)
            if k is not None:
                labels[k] |= label
                columns[k] += [] if math.isnan(score) else [score]
        scores = np.array([sum(column) / len(column) if column else 0.0 for column in columns])
        return np.array(labels), np.where(np.isnan(scores), 0.0, scores)  # inf - inf is NaN again


def read_output(path: str | Path) -> Output:
    """Read an output file; the first three lines that are neither blank nor begin with # are its columns.
    Raises ValueError if there are fewer or lines differ in length, OSError as `open` does."""
    # An invalid UTF-8 byte affects only its own column.
    with Path(path).open(encoding="utf-8-sig", errors="replace") as file:
        lines = [line.strip() for line in file]
    rows = [[field.strip() for field in line.split(",")] for line in lines if line and not line.startswith("#")]
    if len(rows) < 3:
        raise ValueError(f"{len(rows)} lines instead of classes, labels, scores")
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"lines of {', '.join(str(len(row)) for row in rows)} columns")
    codes, labels, scores = rows[:3]
    return Output(tuple(codes), tuple(label in TRUE_LABELS for label in labels), tuple(map(_number, scores)))


def write_output(
    path: str | Path, name: str, codes: Sequence[str], labels: Sequence[int], scores: Sequence[float]
) -> None:
    """Write the output of recording `name` atomically. Raises ValueError if the lengths differ, a label is neither 0
    nor 1, or a score is not in [0, 1]."""
    if not len(codes) == len(labels) == len(scores):
        raise ValueError(f"{name}: {len(codes)} codes, {len(labels)} labels and {len(scores)} scores")
    if not all(label in (0, 1) for label in labels):
        raise ValueError(f"{name}: labels must be 0 or 1")
    if not all(0 <= score <= 1 for score in scores):
        raise ValueError(f"{name}: scores must lie in [0, 1]")
    # Nine significant digits distinguish any two float32 values.
    rows = [codes, [str(int(label)) for label in labels], [f"{score:.9g}" for score in scores]]
    text = "".join(f"{line}\n" for line in [f"#{name}", *(",".join(row) for row in rows)])
    # Not flushed to disk: that took longer than reading and preparing, and an output is quickly recomputed.
    write_text(Path(path), text, durable=False)


def _number(text: str) -> float:
    """Convert text to a number (NaN and infinity included); 0 if it is none."""
    try:
        return float(text)
    except ValueError:
        return 0.0
