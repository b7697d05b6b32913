"""The library: a model to load, ECGs to ask it about, results to look at. `import leadwise` gives what is here.

A face, nothing more: reading and scoring are `scoring.py`'s, the same for the container and for whoever imports this.
Knows no training, draws no pictures, and prints nothing by itself but a progress bar.

>>> import leadwise
>>> model = leadwise.load("MODEL")
>>> result = model.predict("ecgs/E00001")
>>> len(result.names), len(result.codes), result.probabilities.shape, result.labels.shape
(24, 24, (24,), (24,))
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

PRETRAINED = Path(__file__).resolve().parent / "pretrained"  # a folder of the package
COUNTS_PER_MV = 1000  # of all files of the Challenge, so that this is what a model of recipe `paper` has seen
LARGEST_MV = 10.0  # half of the samples of an ECG are never further than this from their lead's median
NAMES = tuple(diagnosis.name for diagnosis in DIAGNOSES)
ABBREVIATIONS = tuple(diagnosis.abbreviation for diagnosis in DIAGNOSES)

_Path = str | os.PathLike[str]


# ------------------------------------------------------------------------------------------------------------ a result


@dataclass(frozen=True, eq=False)
class Result:
    """What a model says of one ECG; arrays and names are in the order of the Challenge's weight matrix.

    `print(result)` is a table for the terminal, a notebook shows one of its own. Where `problem` is not None, the
    recording could not be used, and the answer is what the model would say of anyone: its training prior.

    >>> result = leadwise.load("MODEL").predict("ecgs/E00001")
    >>> sorted(result.found) == sorted(name for name, on in zip(result.names, result.labels) if on)
    True
    """

    name: str  # of the record
    probabilities: NDArray[np.float64]  # (24,) mean of the networks
    labels: NDArray[np.bool_]  # (24,) by the networks' vote
    thresholds: NDArray[np.float64]  # (24,) mean of the networks' own; NaN where the model decides without
    repairs: tuple[str, ...]  # names of what had to be put right, from recording.REPAIRS and signals.SIGNAL_REPAIRS
    problem: str | None  # why the recording could not be used
    sensitivity: NDArray[np.float64]  # (24,) of the model on its validation recordings; NaN where not known
    ppv: NDArray[np.float64]  # (24,) likewise: how many of those that it called so were so
    out_of_distribution: bool = False  # acquired as nothing was that the model has learned from, and answered so

    FOREIGN: ClassVar = "acquired as nothing that the model has learned from: answered as of another hospital"

    @property
    def names(self) -> tuple[str, ...]:
        """The 24 diagnoses in words."""
        return NAMES

    @property
    def codes(self) -> tuple[str, ...]:
        """Their SNOMED CT codes."""
        return CODES

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """Their abbreviations, as the Challenge has them."""
        return ABBREVIATIONS

    @property
    def order(self) -> list[int]:
        """The 24 places as a reader wants them: what is present first, the more probable before the less."""
        return [int(k) for k in np.lexsort((-self.probabilities, ~self.labels))]

    @property
    def found(self) -> list[str]:
        """The names of the diagnoses that are present, the most probable first."""
        return [NAMES[k] for k in self.order if self.labels[k]]

    def __repr__(self) -> str:
        """One line: a list of results stays readable."""
        if self.problem:
            return f"<Result {self.name}: cannot be used>"
        found = ", ".join(f"{ABBREVIATIONS[k]} {self.probabilities[k]:.2f}" for k in self.order if self.labels[k])
        return f"<Result {self.name}: {found}>"

    def __str__(self) -> str:
        """Name, remarks, table."""
        return "\n".join([self.name, *self._remarks(), self.table()])

    def table(self) -> str:
        """A line for each diagnosis, in `order`: mark, probability, threshold, validation, name."""
        lines = ["     probability  threshold  sensitivity    PPV  diagnosis"]
        for k in self.order:
            mark = "yes" if self.labels[k] else ""
            name = f"{NAMES[k]} ({ABBREVIATIONS[k]}, {CODES[k]})"
            validated = f"{_text(self.sensitivity[k]):>13}{_text(self.ppv[k]):>7}"
            threshold = _text(self.thresholds[k])
            lines.append(f"{mark:>5}{self.probabilities[k]:11.3f}{threshold:>11}{validated}  {name}")
        return "\n".join(lines)

    def _remarks(self) -> list[str]:
        """What a reader must know beside the numbers."""
        problem = [f"cannot be used, answered with the training prior: {self.problem}"] if self.problem else []
        repairs = [f"put right or doubtful: {', '.join(self.repairs)}"] if self.repairs else []
        return problem + repairs + [self.FOREIGN] * self.out_of_distribution

    def _repr_html_(self) -> str:
        """The same for a notebook: what is present in sight, the other diagnoses folded away."""
        present = [k for k in self.order if self.labels[k]]
        absent = [k for k in self.order if not self.labels[k]]
        notes = "".join(f"<p>{escape(remark)}</p>" for remark in self._remarks())
        return (
            f'<div class="leadwise-result"><p><b>{escape(self.name)}</b></p>{notes}{self._html_table(present)}'
            f"<details><summary>{len(absent)} other diagnoses</summary>{self._html_table(absent)}</details></div>"
        )

    def _html_table(self, places: Sequence[int]) -> str:
        columns = ("diagnosis", "code", "probability", "threshold", "sensitivity", "PPV")
        heads = "".join(f'<th scope="col">{head}</th>' for head in columns)
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(NAMES[k])} ({escape(ABBREVIATIONS[k])})</td><td>{CODES[k]}</td>'
            f"<td>{self.probabilities[k]:.3f}</td><td>{_text(self.thresholds[k])}</td>"
            f"<td>{_text(self.sensitivity[k])}</td><td>{_text(self.ppv[k])}</td></tr>"
            for k in places
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _text(value: float) -> str:
    """A number for a table; a dash where there is none, as a threshold of a model that decides by expected reward."""
    return f"{value:.2f}" if np.isfinite(value) else "-"


# ------------------------------------------------------------------------------------------------------------- a model


class Classifier:
    """A model that is ready to be asked; `load` makes it. `facts` is its model.json: recipe, data, validation scores.

    >>> leadwise.load("MODEL")
    <Classifier MODEL: recipe tiny, 3 networks>
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self.model = model
        self.folder = folder

    @property
    def metadata(self) -> dict[str, Any]:
        """What model.json says."""
        return self.model.metadata

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
        """What the model says of one ECG, or of many; no recording raises, see `Result.problem`.

        - A path (NAME.hea, NAME.mat, NAME.dat or NAME) of a WFDB record: one result.
        - Several paths: a list of results in their order, with a progress bar (`progress`; by default on a terminal and
          in a notebook). `batch_size` recordings go through the networks at once while `jobs` threads read the next.
        - A NumPy array (leads, samples) with `sampling_frequency` (Hz) and `lead_names` (I, II, ..., V6 in any order;
          what is missing is computed or zero, as for files): one result. `unit` is mV or uV; without it floats are mV,
          integers uV, which are the ADC counts of all the Challenge's files. `age` in years, `sex` female or male.

        Raises ValueError for arguments that cannot be: an array without frequency or names, too few or too many names,
        values that are no numbers, or so large that they cannot be mV where no unit is given.

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
            return self._predict_array(ecg, *details, **more)
        return self._predict_paths(ecg, *details, **more)

    def _predict_paths(
        self, paths: Iterable[_Path], *, progress: bool | None = None, batch_size: int = 64, jobs: int = 2
    ) -> list[Result]:
        records = [Path(path) for path in paths]
        # a log file wants no bar; a notebook's stderr is no terminal and shows one all the same
        shown = sys.stderr.isatty() or "ipykernel" in sys.modules if progress is None else progress
        answers = score_files(self.model, records, batch_size, jobs)
        bar = tqdm(answers, "scoring", len(records), unit=" recordings", disable=not shown)
        return [result_of(self.model, scored, path) for path, scored in zip(records, bar, strict=True)]

    def _predict_array(
        self,
        ecg: NDArray[Any],
        sampling_frequency: float | None = None,
        lead_names: Sequence[str] | None = None,
        *,
        unit: Literal["mV", "uV"] | None = None,
        age: float | None = None,
        sex: Literal["female", "male"] | None = None,
        name: str = "array",
    ) -> Result:
        if sampling_frequency is None or lead_names is None:
            raise ValueError("an array needs sampling_frequency (Hz) and lead_names")
        counts = _counts(ecg, unit)
        header = _header(counts.shape, sampling_frequency, lead_names, age, sex)
        return replace(result_of(self.model, score_arrays(self.model, header, counts)), name=name)


def result_of(model: Model, scored: Prediction, path: Path | None = None) -> Result:
    """A container's answer as a result; the file's name stands for that of a record which could not be read."""
    name = scored.name
    if scored.problem and path:
        name = path.stem if path.suffix.lower() in (".hea", ".mat", ".dat") else path.name
    # copies: what a user changes in a result must not change the prior, which all unusable recordings share
    arrays = (scored.scores.copy(), scored.labels.copy(), model.thresholds.mean(0))
    unknown = np.full(len(CODES), np.nan)
    sensitivity, ppv = validation_accuracy(model.metadata) or (unknown, unknown.copy())
    return Result(name, *arrays, scored.repairs, scored.problem, sensitivity, ppv, scored.out_of_distribution)


def validation_accuracy(metadata: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Sensitivity and PPV of each class on the validation parts of all folds, (24,) each, NaN where undefined.

    From the counts `validation_counts` of each fold in model.json, `tp`, `fp`, `fn` (24 each); None where a fold has
    none.
    """
    counts = [fold.get("validation_counts") for fold in metadata["folds"]]
    if not all(counts):
        return None
    tp, fp, fn = (np.sum([count[key] for count in counts], axis=0, dtype=np.float64) for key in ("tp", "fp", "fn"))
    with np.errstate(invalid="ignore"):
        return np.asarray(tp / (tp + fn)), np.asarray(tp / (tp + fp))


def load(
    folder: _Path | None = None, *, device: str = "auto", precision: str = "auto", threads: int | None = None
) -> Classifier:
    """The model in a folder that train_model.py left; without one, the pretrained model that the package brings.

    `device` is auto, cpu or cuda; `precision` auto, fp32, bf16 or fp16 (see `leadwise.devices`); `threads` limits those
    of torch in this process, and leaves them as they are when not given. Raises ModelError naming the file that is
    wrong, ValueError for a device that is not there.

    >>> leadwise.load("nowhere")
    Traceback (most recent call last):
        ...
    leadwise.ensemble.ModelError: nowhere/model.json: No such file or directory
    """
    if folder is None and not (PRETRAINED / "model.json").exists():
        raise ModelError(f"{PRETRAINED}: this version of Leadwise brings no pretrained model; give a model folder")
    path = PRETRAINED if folder is None else Path(folder)
    return Classifier(load_model(path, choose_processor(device, precision, threads)), path)


# -------------------------------------------------------------------------------------------------- arrays, as if files


def _counts(ecg: NDArray[Any], unit: str | None) -> NDArray[Any]:
    """The array as ADC counts, 1000 per mV."""
    if unit not in (None, "mV", "uV"):
        raise ValueError(f"unit {unit!r} is neither 'mV' nor 'uV'")
    if ecg.dtype.kind not in "iuf" or ecg.ndim != 2:
        raise ValueError(f"an ECG is an array of numbers (leads, samples), not {ecg.dtype} {ecg.shape}")
    if unit == "uV" or (unit is None and ecg.dtype.kind in "iu"):
        return ecg
    values = ecg.astype(np.float64)
    # an ECG in uV taken for mV would be answered with confidence, and wrongly
    if unit is None and _typical_size(values) > LARGEST_MV:
        raise ValueError(f"half of the samples lie beyond {LARGEST_MV:g} mV: are they uV? Say which by unit=")
    return COUNTS_PER_MV * values


def _typical_size(values: NDArray[np.float64]) -> float:
    """The median distance of all samples from their lead's median; 0 where there is no number."""
    finite = np.where(np.isfinite(values), values, np.nan)  # medians: a few saturated samples say nothing of the unit
    usable = finite[~np.isnan(finite).all(axis=1)]
    return float(np.nanmedian(np.abs(usable - np.nanmedian(usable, axis=1, keepdims=True)))) if usable.size else 0.0


def _header(
    shape: tuple[int, ...], sampling_frequency: float, lead_names: Sequence[str], age: float | None, sex: str | None
) -> list[str]:
    """The header that a file with these samples would have: one reader judges both."""
    names = [lead_names] if isinstance(lead_names, str) else list(lead_names)
    if len(names) not in shape:
        raise ValueError(f"{len(names)} lead names for an array of {shape[0]} leads, {shape[1]} samples")
    if not all(isinstance(name, str) and name.strip() and name.isprintable() for name in names):
        raise ValueError(f"lead names are words such as 'aVR', not {names!r}")
    if not 0 < sampling_frequency < math.inf:
        raise ValueError(f"a sampling frequency is positive, in Hz, not {sampling_frequency}")
    samples = shape[1] if shape[0] == len(names) else shape[0]  # an array that lies the other way round is read too
    signals = [f"array.mat 16 {COUNTS_PER_MV}/mV 16 0 0 0 0 {name}" for name in names]
    person = [f"#Age: {math.nan if age is None else float(age)}", f"#Sex: {sex or 'Unknown'}"]
    return [f"array {len(names)} {float(sampling_frequency)!r} {samples}", *signals, *person]


# ----------------------------------------------------------------------------------------------------------- evaluation


@overload
def evaluate(labels: _Path, outputs: _Path) -> Scores: ...


@overload
def evaluate(labels: ArrayLike, outputs: Sequence[Result]) -> Scores: ...


def evaluate(labels: Any, outputs: Any) -> Scores:
    """Every figure of the Challenge's evaluation, as evaluate_12ECG_score.py computes them.

    For two folders, of headers NAME.hea and of outputs NAME.csv; or for labels (recordings, 24), bool, and the results
    of the same recordings in the same order. Raises ValueError where something does not fit, FileNotFoundError naming
    an output that is missing; a malformed output counts as all negative, and the log says so.

    >>> scores = leadwise.evaluate("ecgs", "answers")
    >>> round(scores.challenge_metric, 3), round(scores.auroc, 3)
    (1.0, 1.0)
    """
    if isinstance(labels, (str, os.PathLike)) and isinstance(outputs, (str, os.PathLike)):
        return evaluate_folders(Path(labels), Path(outputs), log.warning)
    results = list(outputs)
    if not all(isinstance(result, Result) for result in results):
        raise ValueError("outputs are a folder, where labels are one, or a list of results")
    shape = (len(results), len(CODES))
    answers = np.array([result.labels for result in results], np.bool_).reshape(shape)
    return evaluate_arrays(labels, answers, np.array([result.probabilities for result in results]).reshape(shape))
