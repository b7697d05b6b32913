"""Provide the library interface: load a model, predict from files or arrays, evaluate predictions.

Reading and scoring are those of the container (`leadwise.model.scoring`). `import leadwise` gives the public names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from joblib import parallel_config
from numpy.typing import ArrayLike, NDArray

from leadwise.challenge.classes import CODES
from leadwise.challenge.evaluation import evaluate_folders
from leadwise.challenge.metric import Scores
from leadwise.challenge.metric import evaluate as evaluate_arrays
from leadwise.ecg.discovery import find_ecgs
from leadwise.ecg.reading import read_ecg
from leadwise.inputs import Call, Details
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import PRETRAINED, ModelError, model_folder
from leadwise.model.parallel_scoring import score_in_parallel
from leadwise.model.scoring import embed_recordings, score_recordings
from leadwise.model.scoring_summary import ScoringSummary
from leadwise.network.devices import choose_processor
from leadwise.result import SITE_WARNING, Result, result_of, site_is_assumed
from leadwise.util.progress import log

read = read_ecg

__all__ = ["Classifier", "evaluate", "load", "read", "score"]

_Path = str | os.PathLike[str]


class Classifier:
    """A loaded model; `load` makes it. `metadata` is its model.json: recipe, training, validation scores.

    Examples
    --------
    >>> leadwise.load("MODEL")
    <Classifier MODEL: recipe tiny, 3 networks>
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder, self.metadata = model, folder, model.metadata
        self._site_warned = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Classifier, (self.model, self.folder)

    def __repr__(self) -> str:
        networks = len(self.model.networks)
        return f"<Classifier {self.folder}: recipe {self.model.recipe.name}, {networks} network{'s'[: networks - 1]}>"

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, ecg: _Path, *, errors: Literal["raise", "return"] | None = None, quality: bool = True
    ) -> Result: ...

    @overload
    def predict(
        self,
        ecg: Iterable[_Path],
        *,
        errors: Literal["raise", "return"] | None = None,
        progress: bool | None = None,
        batch_size: int = 64,
        jobs: int = 2,
        quality: bool = True,
    ) -> list[Result]: ...

    @overload
    def predict(self, ecg: Any, *details: Any, **more: Any) -> Any: ...

    def predict(
        self,
        ecg: Any,
        sampling_frequency: ArrayLike | None = None,
        lead_names: Sequence[Any] | None = None,
        *,
        unit: str | Sequence[str] | None = None,
        age: ArrayLike | None = None,
        sex: str | Sequence[str | None] | None = None,
        name: str | Sequence[str] | None = None,
        errors: Literal["raise", "return"] | None = None,
        progress: bool | None = None,
        batch_size: int = 64,
        jobs: int = 2,
        quality: bool = True,
    ) -> Any:
        """Predict the diagnoses of one ECG or of several.

        Parameters
        ----------
        ecg : path, array, table, Recording, or several of them
            A WFDB record (NAME.hea, NAME.mat, NAME.dat or NAME) or a file in another format; an array (leads, samples),
            or transposed, that NumPy can read (a tensor, nested lists, a masked array); a DataFrame whose columns are
            leads; a dictionary of leads. Several: a list or iterator of these, or an array (ECGs, leads, samples).
        sampling_frequency, lead_names : float (Hz) and sequence of str
            Of an array: 20 to 20,000, and I, II, ..., V6 in any order and usual spelling. A table names its leads
            itself. The frequency is used for CSV and NumPy files, too, that do not state it.
        unit : {"V", "mV", "uV"}, optional
            By default floats are mV and integers uV, the ADC counts of the Challenge's files.
        age, sex, name : float (years), {"female", "male"} and str, optional
            Of the person, and `Result.name`. Of several arrays each detail is one value for all, or one for each.
        errors : {"raise", "return"}, optional
            Whether an unusable recording raises, or gives a result with `error`. By default only a single one raises.
        progress, batch_size, jobs : bool, int and int, optional
            For several: show a bar, recordings per pass of the networks, threads that read files ahead.
        quality : bool
            Whether to look for quality warnings (`Result.warnings`), which takes time with many ECGs.

        Returns
        -------
        Result, or for several a list of Result in their order

        Raises
        ------
        RecordingError
            For a recording that cannot be used, and for an array without `unit` that is no ECG in mV; names the reason.
        ValueError
            For an array without frequency or names, with another number of leads than names, or no numbers.

        Examples
        --------
        >>> model = leadwise.load("MODEL")
        >>> ecg = leadwise.simulate.simulate(["AF"], seed=1, sampling_frequency=500, seconds=10)  # mV
        >>> leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
        >>> model.predict(ecg[:2], 500, leads[:2], age=71, sex="female").repairs
        ('lead-derived', 'lead-missing')
        >>> [result.name for result in model.predict(["ecgs/E00001", "ecgs/E00002"])]
        ['E00001', 'E00002']
        """
        details = Details(
            sampling_frequency=sampling_frequency, lead_names=lead_names, unit=unit, age=age, sex=sex, name=name
        )
        call = Call.of(ecg, details, errors, progress, batch_size, jobs)
        jobs = self._reading_threads(call, jobs)
        predictions = score_recordings(self.model, call.readers, call.batch_size, jobs, quality=quality)
        results = [
            result_of(self.model, prediction, item.name if prediction.error else None)
            for item, prediction in call.each(predictions, lambda prediction: prediction.error)
        ]
        self._warn_of_site(results)
        return results[0] if call.single else results

    def embed(
        self,
        ecg: Any,
        sampling_frequency: ArrayLike | None = None,
        lead_names: Sequence[Any] | None = None,
        *,
        unit: str | Sequence[str] | None = None,
        age: ArrayLike | None = None,
        sex: str | Sequence[str | None] | None = None,
        name: str | Sequence[str] | None = None,
        errors: Literal["raise", "return"] | None = None,
        progress: bool | None = None,
        batch_size: int = 64,
        jobs: int = 2,
    ) -> NDArray[np.float32]:
        """Return the features of one ECG or of several that the network's classifier sees, for a model of one's own.

        They are the means over time of the first network's last block, averaged over the recording's test windows. They
        depend on the signal alone: age and sex join them only in the classifier.

        Parameters
        ----------
        ecg, sampling_frequency, lead_names, unit, age, sex, name, errors, progress, batch_size, jobs
            As of `predict`. With `errors="return"`, the default for several, the features of an unusable recording are
            NaN.

        Returns
        -------
        (512,) float32, or for several (ECGs, 512); 128 with recipe `quick`

        Raises
        ------
        RecordingError, ValueError
            As `predict` does.

        Examples
        --------
        >>> model = leadwise.load("MODEL")
        >>> features = model.embed(["ecgs/E00001", "ecgs/E00002"])
        >>> len(features), bool((features >= 0).all())
        (2, True)
        """
        details = Details(
            sampling_frequency=sampling_frequency, lead_names=lead_names, unit=unit, age=age, sex=sex, name=name
        )
        call = Call.of(ecg, details, errors, progress, batch_size, jobs)
        found = embed_recordings(self.model, call.readers, call.batch_size, self._reading_threads(call, jobs))
        width = self.model.recipe.network.block_channels[-1]
        rows = np.full((len(call.items), width), np.nan, np.float32)
        for row, (_, features) in zip(rows, call.each(found, lambda each: each.error), strict=True):
            if features.error is None:
                row[:] = features.values
        return np.asarray(rows[0] if call.single else rows)

    def _reading_threads(self, call: Call, jobs: int) -> int:
        """Return how many threads prepare the recordings of a call: none if neither a disk nor a GPU is waited for."""
        return 0 if call.in_memory and self.model.processor.device.type == "cpu" else jobs

    def _warn_of_site(self, results: Sequence[Result]) -> None:
        """Warn once if the included model takes a recording for one of its training hospital."""
        if not self._site_warned and any(site_is_assumed(self.model, result) for result in results):
            self._site_warned = True
            log.warning("%s", SITE_WARNING)


def load(
    folder: _Path | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    site: str = "auto",
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
    site : {"auto", "training", "unknown"}
        Whether recordings come from the hospitals of the training data, whose prevalences then count. auto: as far as
        their sampling frequency, ADC step, duration and content make it probable (`Result.in_distribution`). It can
        hardly tell a recording of 500 Hz, 10 s and 1 uV of another hospital from PTB-XL's: say "unknown" for these.

    Raises
    ------
    ModelError, ValueError
        For a folder that is not a model (names the file); for a device that does not exist, or an unknown word.

    Examples
    --------
    >>> leadwise.load("nowhere")
    Traceback (most recent call last):
        ...
    leadwise.model.folder.ModelError: nowhere/model.json: No such file or directory
    """
    if folder is None and not (PRETRAINED / "model.json").exists():
        raise ModelError(f"{PRETRAINED}: this version of Leadwise has no pretrained model; give a model folder")
    path = PRETRAINED if folder is None else model_folder(os.fspath(folder))
    return Classifier(load_model(path, choose_processor(device, precision, threads), site), path)


def score(
    paths: _Path | Iterable[_Path],
    model: Classifier | _Path | None,
    output: _Path,
    *,
    backend: str | None = None,
    jobs: int = -1,
    quality: bool = False,
) -> ScoringSummary:
    """Score many recordings with many processes or machines: write OUTPUT/NAME.csv for each, as driver.py does.

    Parameters
    ----------
    paths : path or iterable of paths
        A folder, which is searched with its subfolders, or recordings.
    model : Classifier, path or None
        A loaded model or its folder; None is the pretrained model.
    output : path
        Folder for the outputs; created if missing.
    backend : str, optional
        A backend of joblib: "loky" (processes of this machine), "dask", "ray", or another that is registered. By
        default the current one. The workers must see the same folders.
    jobs : int
        Workers; -1 for all.
    quality : bool
        Whether the summary counts quality warnings.

    Returns
    -------
    ScoringSummary
        Counts of recordings, repairs, warnings, and the names and reasons of those that could not be used, whose
        outputs are the training prior.

    Raises
    ------
    ValueError, OSError
        If there are no recordings, two have one name, or a file cannot be written.

    Examples
    --------
    >>> leadwise.score("ecgs", "MODEL", "outputs", jobs=1).recordings
    2
    """
    if model is None or isinstance(model, (str, os.PathLike)):
        model = load(model)
    if isinstance(paths, (str, os.PathLike)):
        records = find_ecgs(Path(paths)) if Path(paths).is_dir() else [Path(paths)]
    else:
        records = [Path(path) for path in paths]
    with nullcontext() if backend is None else parallel_config(backend=backend):
        return score_in_parallel(model.model, records, Path(output), jobs, quality=quality)


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
