"""The functions that the organisers' scripts of 2020 and 2021 call: train a model, load it, score a recording.

Training (`leadwise.training.run.train`): prepare the recordings, train each fold, search its thresholds, save the
model. Loading (`leadwise.model.ensemble.load_model`): read the folder, check it, build the networks. Scoring
(`leadwise.model.scoring.score_arrays`): read the header, prepare the signal, run the networks, decide on labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from leadwise.challenge.classes import CODES
from leadwise.command_line import from_environment
from leadwise.commands.train import write_report
from leadwise.model.ensemble import Model
from leadwise.model.ensemble import load_model as load_model_folder
from leadwise.model.scoring import score_arrays
from leadwise.network.devices import choose_processor
from leadwise.options import ModelOptions, TrainingOptions
from leadwise.training.run import train
from leadwise.util.progress import log_to_stdout


def training_code(data_directory: str, model_directory: str, options: TrainingOptions | None = None) -> None:
    """Train a model on the recordings in a folder.

    Parameters
    ----------
    data_directory : str
        Folder with the training recordings, also in subfolders.
    model_directory : str
        Folder for the model. A run that was interrupted is resumed; a finished model of the same recordings and recipe
        is left as it is. After each fold the folder is a model of the folds so far, and after SIGTERM also of the
        epochs so far of the current fold.
    options : TrainingOptions, optional
        By default from the LEADWISE_* variables.

    Raises
    ------
    SystemExit
        With status 143 if SIGTERM comes before the first epoch ends; with status 2 if a variable cannot be used.
    ValueError
        If the recordings or the options allow no training.
    """
    log_to_stdout()
    train(data_directory, model_directory, options or from_environment(TrainingOptions), write_report)


def load_model(model_folder: str, leads: Sequence[str] | None = None) -> Model:
    """Load the model in a folder for `run_model`.

    Parameters
    ----------
    model_folder : str
        Folder that a training left.
    leads : sequence of str, optional
        The leads of the recordings (2021). Not used: one model serves every lead set.

    Returns
    -------
    Model
        The networks and their decision rule, on the device of the LEADWISE_* variables.

    Raises
    ------
    ModelError
        If the folder is not a model; names the file.
    """
    options = from_environment(ModelOptions)
    processor = choose_processor(options.device, options.precision, options.threads)
    return load_model_folder(model_folder, processor, options.site)


def run_model(model: Model, header: str, recording: NDArray[Any]) -> tuple[list[str], list[int], list[float]]:
    """Score one recording as the organisers' script of 2021 asks for it; never raises for a recording.

    Parameters
    ----------
    model : Model
        From `load_model`.
    header : str
        Text of the header.
    recording : (leads, samples) array
        ADC counts.

    Returns
    -------
    classes, labels, probabilities
        24 SNOMED CT codes, labels (0 or 1) and probabilities, in the order of the weight matrix. A recording
        that cannot be used gets the training prior.
    """
    prediction = score_arrays(model, header, recording)
    return list(CODES), prediction.labels.astype(int).tolist(), prediction.scores.tolist()


def load_12ECG_model(model_folder: str) -> Model:
    """Load the model in a folder, as the driver of 2020 asks for it. See `load_model`."""
    return load_model(model_folder)


def run_12ECG_classifier(
    data: NDArray[Any], header_data: Sequence[str], model: Model
) -> tuple[list[int], list[float], list[str]]:
    """Score one recording as the organisers' driver of 2020 asks for it; never raises for a recording.

    Parameters
    ----------
    data : (leads, samples) array
        ADC counts.
    header_data : sequence of str
        Lines of the header.
    model : Model
        From `load_12ECG_model`.

    Returns
    -------
    labels, scores, classes
        24 labels (0 or 1), probabilities and SNOMED CT codes, in the order of the Challenge's weight matrix.
    """
    prediction = score_arrays(model, header_data, data)
    return prediction.labels.astype(int).tolist(), prediction.scores.tolist(), list(CODES)
