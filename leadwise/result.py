"""Hold a model's prediction for one ECG, and print it: a table for a terminal, another for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES, DIAGNOSES
from leadwise.model.ensemble import Model
from leadwise.model.folder import PRETRAINED
from leadwise.model.prediction import Prediction
from leadwise.util.text import printable

NAMES = tuple(diagnosis.name for diagnosis in DIAGNOSES)
ABBREVIATIONS = tuple(diagnosis.abbreviation for diagnosis in DIAGNOSES)
SITE_WARNING: Final = (
    "a recording looks more like PTB-XL's, on which the shipped model was trained, than like another hospital's, and"
    " PTB-XL's prevalences count more; if it is from another hospital, load the model with site='unknown'"
    " (--site unknown)"
)
LIKELY: Final = 0.5  # probability from which a diagnosis is called likely: more probable than not


@dataclass(frozen=True, eq=False)
class Result:
    """A model's prediction for one ECG; arrays (24,) and names are in the order of the Challenge's weight matrix.

    `print(result)` prints a table, a notebook shows one. `labels` follow the model's decision rule: the highest
    expected reward (recipe robust), or the vote of the networks by their thresholds (recipes paper and quick); at least
    one is set. The Challenge's reward pays for naming related diagnoses, so that many labels are below a probability of
    0.5: these are `possible`, those above are `likely`. If `error` is set, the recording could not be used: no label is
    set, and the probabilities are NaN.

    Examples
    --------
    >>> result = leadwise.load("MODEL").predict("ecgs/E00001")
    >>> sorted(result.found) == sorted(name for name, on in zip(result.names, result.labels) if on)
    True
    """

    name: str  # of the record
    probabilities: NDArray[np.float64]  # (24,) mean of the networks, calibrated if the model decides by expected reward
    labels: NDArray[np.bool_]  # (24,) diagnoses that are present
    thresholds: NDArray[np.float64]  # (24,) mean of the networks; NaN if the model decides by expected reward
    repairs: tuple[str, ...]  # names of repairs and doubts, see docs/file-formats.md
    error: str | None  # file and reason, if the recording could not be used
    sensitivity: NDArray[np.float64]  # (24,) on the validation recordings of the training; NaN if unknown
    ppv: NDArray[np.float64]  # (24,) positive predictive value on the same
    in_distribution: float = np.nan  # probability that it is from the training hospitals; NaN: not distinguished
    warnings: tuple[str, ...] = ()  # sentences about a doubtful signal, see docs/file-formats.md

    names: ClassVar = NAMES
    codes: ClassVar = CODES
    abbreviations: ClassVar = ABBREVIATIONS
    OUT_OF_DISTRIBUTION: ClassVar = "out of distribution: probably not from the hospitals of the training"

    @property
    def out_of_distribution(self) -> bool:
        """Return whether it is more likely from another hospital than from those of the training."""
        return self.in_distribution < 0.5

    @property
    def order(self) -> list[int]:
        """Return the indices of the diagnoses: the likely, the possible, the others, each by falling probability."""
        ranks = [("likely", "possible", "").index(self.status(k)) for k in range(len(NAMES))]
        return [int(k) for k in np.lexsort((-self.probabilities, np.array(ranks)))]

    @property
    def found(self) -> list[str]:
        """Return the names of the diagnoses whose labels are set, the most probable first."""
        return [NAMES[k] for k in self.order if self.labels[k]]

    @property
    def likely(self) -> list[str]:
        """Return the names of the diagnoses with a probability of at least 0.5, the most probable first."""
        return [NAMES[k] for k in self.order if self.status(k) == "likely"]

    @property
    def possible(self) -> list[str]:
        """Return the names of the diagnoses whose labels are set at a lower probability, the most probable first."""
        return [NAMES[k] for k in self.order if self.status(k) == "possible"]

    def status(self, k: int) -> str:
        """Return "likely", "possible" or "" for a diagnosis."""
        if self.probabilities[k] >= LIKELY:
            return "likely"
        return "possible" if self.labels[k] else ""

    def __repr__(self) -> str:
        if self.error:
            return f"<Result {self.name}: cannot be used>"
        shown = ", ".join(f"{ABBREVIATIONS[k]} {self.probabilities[k]:.2f}" for k in self.order if self.status(k))
        return f"<Result {self.name}: {shown}>"

    def __str__(self) -> str:
        return "\n".join([self.name, *self._notes(), *([] if self.error else [self.table()])])

    def table(self) -> str:
        """Return a table of the diagnoses in `order`, one line each."""
        lines = ["          probability  threshold  sensitivity    PPV  diagnosis"]
        for k in self.order:
            name = f"{NAMES[k]} ({ABBREVIATIONS[k]}, {CODES[k]})"
            probability, threshold, sensitivity, ppv = self._cells(k)
            lines.append(f"{self.status(k):>10}{probability:>11}{threshold:>11}{sensitivity:>13}{ppv:>7}  {name}")
        return "\n".join(lines)

    def _cells(self, k: int) -> list[str]:
        """Return the numbers of a diagnosis as text; a dash for NaN."""
        numbers = (self.thresholds[k], self.sensitivity[k], self.ppv[k])
        return [f"{self.probabilities[k]:.3f}", *(f"{x:.2f}" if np.isfinite(x) else "-" for x in numbers)]

    def _notes(self) -> list[str]:
        error = [f"cannot be used: {self.error}"] if self.error else []
        warnings = [f"warning: {warning}" for warning in self.warnings]
        repairs = [f"repaired or doubtful: {', '.join(self.repairs)}"] if self.repairs else []
        return error + warnings + repairs + [self.OUT_OF_DISTRIBUTION] * self.out_of_distribution

    def _repr_html_(self) -> str:
        """Return the table for a notebook, with the other diagnoses folded."""
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        title = f"<p><b>{escape(self.name)}</b></p>{notes}"
        if self.error:
            return f'<div class="leadwise-result">{title}</div>'
        shown = [k for k in self.order if self.status(k)]
        others = [k for k in self.order if not self.status(k)]
        return (
            f'<div class="leadwise-result">{title}{self._html_table(shown)}'
            f"<details><summary>{len(others)} other diagnoses</summary>{self._html_table(others)}</details></div>"
        )

    def _html_table(self, indices: Sequence[int]) -> str:
        columns = ("", "diagnosis", "code", "probability", "threshold", "sensitivity", "PPV")
        heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
        rows = "".join(
            f'<tr><td>{self.status(k)}</td><td style="text-align:left">{escape(NAMES[k])}'
            f" ({escape(ABBREVIATIONS[k])})</td>"
            + "".join(f"<td>{cell}</td>" for cell in (CODES[k], *self._cells(k)))
            + "</tr>"
            for k in indices
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def result_of(model: Model, prediction: Prediction, name: str | None = None) -> Result:
    """Return a prediction as a result, under another name than the record's if one is passed."""
    # copies, so that a changed result leaves the prior as it is
    probabilities, labels = prediction.scores.copy(), prediction.labels.copy()
    if prediction.error:
        probabilities[:], labels[:] = np.nan, False
    error = printable(str(prediction.error)) if prediction.error else None
    unknown = np.full(len(CODES), np.nan)
    sensitivity, ppv = validation_accuracy(model.metadata) or (unknown, unknown.copy())
    return Result(
        name or prediction.name,
        probabilities,
        labels,
        model.thresholds.mean(0),
        prediction.repairs,
        error,
        sensitivity,
        ppv,
        prediction.in_distribution,
        tuple(map(str, prediction.warnings)),
    )


def site_is_assumed(model: Model, result: Result) -> bool:
    """Return whether the included model took a recording for one of its training hospital by looks alone."""
    is_included = model.origin is not None and model.origin.folder.resolve() == PRETRAINED.resolve()
    return is_included and model.site == "auto" and result.error is None and not result.out_of_distribution


def validation_accuracy(metadata: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Compute sensitivity and PPV, (24,) each, from the counts of all folds; NaN if undefined, None without counts."""
    counts = [fold.get("validation_counts") for fold in metadata["folds"]]
    if not all(counts):
        return None
    tp, fp, fn = (np.sum([count[key] for count in counts], axis=0, dtype=np.float64) for key in ("tp", "fp", "fn"))
    with np.errstate(invalid="ignore"):
        return np.asarray(tp / (tp + fn)), np.asarray(tp / (tp + fp))
