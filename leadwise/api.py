"""Provide the library interface: load a model, predict from files or arrays, evaluate predictions.

Reading and scoring are those of the container (`leadwise.model.scoring`). `import leadwise` gives the public names.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from leadwise.challenge.classes import CODES, DIAGNOSES
from leadwise.challenge.evaluation import evaluate_folders
from leadwise.challenge.metric import Scores
from leadwise.challenge.metric import evaluate as evaluate_arrays
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import ModelError
from leadwise.model.prediction import Prediction
from leadwise.model.scoring import score_arrays, score_files
from leadwise.network.devices import choose_processor
from leadwise.util.progress import log

__all__ = ["Classifier", "Result", "evaluate", "load", "result_of"]

PRETRAINED = Path(__file__).resolve().parent / "pretrained"
COUNTS_PER_MV = 1000  # of the Challenge's files
LARGEST_MV = 10.0  # median distance of an ECG's samples from their lead's median is smaller
NAMES = tuple(diagnosis.name for diagnosis in DIAGNOSES)
ABBREVIATIONS = tuple(diagnosis.abbreviation for diagnosis in DIAGNOSES)

_Path = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Result:
    """A model's prediction for one ECG; arrays (24,) and names are in the order of the Challenge's weight matrix.

    `print(result)` prints a table, a notebook shows one. If `error` is set, the recording could not be used, and the
    prediction is the training prior. `labels` follow the model's decision rule: the highest expected reward (recipe
    robust), or the vote of the networks by their thresholds (recipes paper and quick); at least one is set.

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
    error: str | None  # why the recording could not be used
    sensitivity: NDArray[np.float64]  # (24,) on the validation recordings of the training; NaN if unknown
    ppv: NDArray[np.float64]  # (24,) positive predictive value on the same
    out_of_distribution: bool = False  # acquisition profile (frequency, ADC step, duration) not seen in training

    names: ClassVar = NAMES
    codes: ClassVar = CODES
    abbreviations: ClassVar = ABBREVIATIONS
    OUT_OF_DISTRIBUTION: ClassVar = "out of distribution: acquisition profile not seen in training"

    @property
    def order(self) -> list[int]:
        """Return the indices of the diagnoses: first those present, each group by falling probability."""
        return [int(k) for k in np.lexsort((-self.probabilities, ~self.labels))]

    @property
    def found(self) -> list[str]:
        """Return the names of the diagnoses that are present, the most probable first."""
        return [NAMES[k] for k in self.order if self.labels[k]]

    def __repr__(self) -> str:
        if self.error:
            return f"<Result {self.name}: cannot be used>"
        found = ", ".join(f"{ABBREVIATIONS[k]} {self.probabilities[k]:.2f}" for k in self.order if self.labels[k])
        return f"<Result {self.name}: {found}>"

    def __str__(self) -> str:
        return "\n".join([self.name, *self._notes(), self.table()])

    def table(self) -> str:
        """Return a table of the diagnoses in `order`, one line each."""
        lines = ["     probability  threshold  sensitivity    PPV  diagnosis"]
        for k in self.order:
            mark, name = "yes" if self.labels[k] else "", f"{NAMES[k]} ({ABBREVIATIONS[k]}, {CODES[k]})"
            probability, threshold, sensitivity, ppv = self._cells(k)
            lines.append(f"{mark:>5}{probability:>11}{threshold:>11}{sensitivity:>13}{ppv:>7}  {name}")
        return "\n".join(lines)

    def _cells(self, k: int) -> list[str]:
        """Return the numbers of a diagnosis as text; a dash for NaN."""
        numbers = (self.thresholds[k], self.sensitivity[k], self.ppv[k])
        return [f"{self.probabilities[k]:.3f}", *(f"{x:.2f}" if np.isfinite(x) else "-" for x in numbers)]

    def _notes(self) -> list[str]:
        error = [f"cannot be used, scored with the training prior: {self.error}"] if self.error else []
        repairs = [f"repaired or doubtful: {', '.join(self.repairs)}"] if self.repairs else []
        return error + repairs + [self.OUT_OF_DISTRIBUTION] * self.out_of_distribution

    def _repr_html_(self) -> str:
        """Return the table for a notebook, with the absent diagnoses folded."""
        present = [k for k in self.order if self.labels[k]]
        absent = [k for k in self.order if not self.labels[k]]
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        return (
            f'<div class="leadwise-result"><p><b>{escape(self.name)}</b></p>{notes}{self._html_table(present)}'
            f"<details><summary>{len(absent)} other diagnoses</summary>{self._html_table(absent)}</details></div>"
        )

    def _html_table(self, indices: Sequence[int]) -> str:
        columns = ("diagnosis", "code", "probability", "threshold", "sensitivity", "PPV")
        heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(NAMES[k])} ({escape(ABBREVIATIONS[k])})</td>'
            + "".join(f"<td>{cell}</td>" for cell in (CODES[k], *self._cells(k)))
            + "</tr>"
            for k in indices
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


class Classifier:
    """A loaded model; `load` makes it. `metadata` is its model.json: recipe, training, validation scores.

    Examples
    --------
    >>> leadwise.load("MODEL")
    <Classifier MODEL: recipe tiny, 3 networks>
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder, self.metadata = model, folder, model.metadata

    def __repr__(self) -> str:
        networks = len(self.model.networks)
        return f"<Classifier {self.folder}: recipe {self.model.recipe.name}, {networks} network{'s'[: networks - 1]}>"

    @overload
    def predict(
        self,
        ecg: NDArray[Any],
        sampling_frequency: float,
        lead_names: Sequence[str],
        *,
        unit: Literal["mV", "uV"] | None = None,
        age: float | None = None,
        sex: Literal["female", "male"] | None = None,
        name: str = "array",
    ) -> Result: ...

    @overload
    def predict(self, ecg: _Path) -> Result: ...  # type: ignore[overload-overlap]  # a str is an iterable of str

    @overload
    def predict(
        self, ecg: Iterable[_Path], *, progress: bool | None = None, batch_size: int = 64, jobs: int = 2
    ) -> list[Result]: ...

    def predict(self, ecg: Any, *details: Any, **more: Any) -> Result | list[Result]:
        """Predict the diagnoses of one ECG or of several.

        A recording that cannot be used does not raise: see `Result.error`.

        Parameters
        ----------
        ecg : path, iterable of paths, or (leads, samples) array
            WFDB records (NAME.hea, NAME.mat, NAME.dat or NAME), or one ECG, which the next parameters describe.
        sampling_frequency : float
            In Hz.
        lead_names : sequence of str
            I, II, ..., V6 in any order. Missing leads are computed or zero, as for files.
        unit : {"mV", "uV"}, optional
            By default floats are mV and integers uV, the ADC counts of the Challenge's files.
        age, sex, name : float (years), {"female", "male"} and str, optional
            Of the person, and `Result.name`.
        progress, batch_size, jobs : bool, int and int, optional
            For several paths: a progress bar (by default on a terminal and in a notebook), recordings per pass of the
            networks, and threads that read the next ones.

        Returns
        -------
        Result, or for several paths a list of Result in their order

        Raises
        ------
        ValueError
            For an array without frequency or names, with another number of leads than names, with values that are no
            numbers, or, without `unit`, with values that are too large for mV.

        Examples
        --------
        >>> model = leadwise.load("MODEL")
        >>> ecg = leadwise.simulate.simulate(["AF"], seed=1, sampling_frequency=500, seconds=10)  # mV
        >>> leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
        >>> model.predict(ecg, sampling_frequency=500, lead_names=leads, age=71, sex="female").repairs
        ()
        >>> model.predict(ecg[:2], sampling_frequency=500, lead_names=["I", "II"]).repairs
        ('lead-derived', 'lead-missing')
        >>> [result.name for result in model.predict(["ecgs/E00001", "ecgs/E00002"])]
        ['E00001', 'E00002']
        """
        if isinstance(ecg, (str, os.PathLike)):
            return self._predict_paths([ecg], *details, progress=False, **more)[0]
        if isinstance(ecg, np.ndarray):
            name = more.pop("name", "array")
            return replace(result_of(self.model, score_arrays(self.model, *_as_file(ecg, *details, **more))), name=name)
        return self._predict_paths(ecg, *details, **more)

    def _predict_paths(
        self, paths: Iterable[_Path], *, progress: bool | None = None, batch_size: int = 64, jobs: int = 2
    ) -> list[Result]:
        records = [Path(path) for path in paths]
        # no bar in a log file, but in a notebook, whose stderr is no terminal either
        shown = sys.stderr.isatty() or "ipykernel" in sys.modules if progress is None else progress
        predictions = score_files(self.model, records, batch_size, jobs)
        bar = tqdm(predictions, "scoring", len(records), unit=" recordings", disable=not shown)
        return [result_of(self.model, prediction, path) for path, prediction in zip(records, bar, strict=True)]


def result_of(model: Model, prediction: Prediction, path: Path | None = None) -> Result:
    """Return a prediction as a result, named after the file if its header could not be read."""
    name = prediction.name
    if prediction.error and path:
        name = path.stem if path.suffix.lower() in (".hea", ".mat", ".dat") else path.name
    # copies, so that a changed result leaves the prior as it is
    arrays = (prediction.scores.copy(), prediction.labels.copy(), model.thresholds.mean(0))
    unknown = np.full(len(CODES), np.nan)
    sensitivity, ppv = validation_accuracy(model.metadata) or (unknown, unknown.copy())
    outside = prediction.out_of_distribution
    return Result(name, *arrays, prediction.repairs, prediction.error, sensitivity, ppv, outside)


def validation_accuracy(metadata: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Compute sensitivity and PPV, (24,) each, from the counts of all folds; NaN if undefined, None without counts."""
    counts = [fold.get("validation_counts") for fold in metadata["folds"]]
    if not all(counts):
        return None
    tp, fp, fn = (np.sum([count[key] for count in counts], axis=0, dtype=np.float64) for key in ("tp", "fp", "fn"))
    with np.errstate(invalid="ignore"):
        return np.asarray(tp / (tp + fn)), np.asarray(tp / (tp + fp))


def load(
    folder: _Path | None = None, *, device: str = "auto", precision: str = "auto", threads: int | None = None
) -> Classifier:
    """Load a model.

    Parameters
    ----------
    folder : path, optional
        By default the pretrained model of the package.
    device, precision : {"auto", "cpu", "cuda"} and {"auto", "fp32", "bf16", "fp16"}
        Where and in which arithmetic the networks run; auto: CUDA if available, the fastest arithmetic.
    threads : int, optional
        CPU threads of torch in this process. By default unchanged.

    Raises
    ------
    ModelError, ValueError
        For a folder that is not a model (names the file); for a device that does not exist or is unknown.

    Examples
    --------
    >>> leadwise.load("nowhere")
    Traceback (most recent call last):
        ...
    leadwise.model.folder.ModelError: nowhere/model.json: No such file or directory
    """
    if folder is None and not (PRETRAINED / "model.json").exists():
        raise ModelError(f"{PRETRAINED}: this version of Leadwise has no pretrained model; give a model folder")
    path = PRETRAINED if folder is None else Path(folder)
    return Classifier(load_model(path, choose_processor(device, precision, threads)), path)


def _as_file(
    ecg: NDArray[Any],
    sampling_frequency: float | None = None,
    lead_names: Sequence[str] | None = None,
    *,
    unit: str | None = None,
    age: float | None = None,
    sex: str | None = None,
) -> tuple[list[str], NDArray[Any]]:
    """Return header and ADC counts of a file with these samples, so that files and arrays are checked alike."""
    if sampling_frequency is None or lead_names is None:
        raise ValueError("an array needs sampling_frequency (Hz) and lead_names")
    counts, names = _counts(ecg, unit), [lead_names] if isinstance(lead_names, str) else list(lead_names)
    if len(names) not in ecg.shape:
        raise ValueError(f"{len(names)} lead names for an array of {ecg.shape[0]} leads, {ecg.shape[1]} samples")
    if not all(isinstance(name, str) and name.strip() and name.isprintable() for name in names):
        raise ValueError(f"lead names are words such as 'aVR', not {names!r}")
    if not 0 < sampling_frequency < math.inf:
        raise ValueError(f"a sampling frequency is positive, in Hz, not {sampling_frequency}")
    samples = ecg.shape[1] if ecg.shape[0] == len(names) else ecg.shape[0]  # transposed arrays are read too
    signals = [f"array.mat 16 {COUNTS_PER_MV}/mV 16 0 0 0 0 {name}" for name in names]
    person = [f"#Age: {math.nan if age is None else float(age)}", f"#Sex: {sex or 'Unknown'}"]
    return [f"array {len(names)} {float(sampling_frequency)!r} {samples}", *signals, *person], counts


def _counts(ecg: NDArray[Any], unit: str | None) -> NDArray[Any]:
    """Return an array as ADC counts, 1000 per mV."""
    if unit not in (None, "mV", "uV"):
        raise ValueError(f"unit {unit!r} is neither 'mV' nor 'uV'")
    if ecg.dtype.kind not in "iuf" or ecg.ndim != 2:
        raise ValueError(f"an ECG is an array of numbers (leads, samples), not {ecg.dtype} {ecg.shape}")
    if unit == "uV" or (unit is None and ecg.dtype.kind in "iu"):
        return ecg
    values = ecg.astype(np.float64)
    # uV taken for mV would give a confident and wrong prediction
    if unit is None and _typical_size(values) > LARGEST_MV:
        raise ValueError(f"half of the samples lie beyond {LARGEST_MV:g} mV: are they uV? Say which by unit=")
    return COUNTS_PER_MV * values


def _typical_size(values: NDArray[np.float64]) -> float:
    """Return the median distance of all samples from their lead's median; 0 if there are no numbers."""
    finite = np.where(np.isfinite(values), values, np.nan)
    usable = finite[~np.isnan(finite).all(axis=1)]
    return float(np.nanmedian(np.abs(usable - np.nanmedian(usable, axis=1, keepdims=True)))) if usable.size else 0.0


def evaluate(labels: _Path | ArrayLike, outputs: _Path | Sequence[Result]) -> Scores:
    """Compute the scores of the Challenge's evaluation, as evaluate_12ECG_score.py does.

    Parameters
    ----------
    labels : path or (recordings, 24) bool array
        Folder with headers NAME.hea, or labels in the order of the weight matrix.
    outputs : path or sequence of Result
        Folder with outputs NAME.csv, or the results for `labels`. A malformed output counts as all negative, with a
        warning in the log.

    Raises
    ------
    ValueError, FileNotFoundError
        If labels and outputs do not fit together; for a missing output (names it).

    Examples
    --------
    >>> scores = leadwise.evaluate("ecgs", "answers")
    >>> round(scores.challenge_metric, 3), round(scores.auroc, 3)
    (1.0, 1.0)
    """
    if isinstance(labels, (str, os.PathLike)) and isinstance(outputs, (str, os.PathLike)):
        return evaluate_folders(Path(labels), Path(outputs), log.warning)
    results: list[Any] = list(outputs)  # type: ignore[arg-type]  # of a path: fails in the next line
    if not all(isinstance(result, Result) for result in results):
        raise ValueError("outputs are a folder, where labels are one, or a list of results")
    shape = (len(results), len(CODES))
    answers = np.array([result.labels for result in results], np.bool_).reshape(shape)
    scores = np.array([result.probabilities for result in results]).reshape(shape)
    return evaluate_arrays(np.asarray(labels), answers, scores)
