"""Check a model folder: `leadwise verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from leadwise.command_line import command
from leadwise.options import Options
from leadwise.util.text import emit

if TYPE_CHECKING:
    from leadwise.api import Classifier

HELP = """Check that a model folder is complete and undamaged.

\b
MODEL  folder with a trained model; pretrained: the included one

Checks model.json, checksum and shapes of each weight file, the validation results, and a prediction. Prints a line for
each. The exit status is 1 for a model that cannot be used; the error names the file.
"""


@command(Options, HELP, "pretrained")
@click.argument("model")
def verify(model: str, options: Options) -> None:
    """Run the command."""
    from leadwise.api import load
    from leadwise.model.folder import ModelError

    # checks model.json, checksums and shapes; the prediction then needs all networks
    classifier = load(model, device="cpu", site="unknown")
    version, recipe = classifier.metadata["version"], classifier.metadata["recipe"]["name"]
    emit(f"model.json: format version {version}, recipe {recipe}, {len(classifier.model.networks)} networks\n")
    emit(check_weights(classifier))
    try:
        emit(check_validation(classifier))
        emit(check_prediction(classifier))
    except (ArithmeticError, LookupError, TypeError, RuntimeError) as error:  # of numbers that loading does not check
        raise ModelError(f"{classifier.folder / 'model.json'}: {type(error).__name__} {error}") from error


def check_weights(classifier: Classifier) -> str:
    """Return a line for each weight file. Raises ModelError for weights that are no numbers."""
    from leadwise.model.folder import ModelError, network_files

    lines = []
    for (name, checksum), network in zip(
        network_files(classifier.metadata).items(), classifier.model.networks, strict=True
    ):
        for tensor, values in network.state_dict().items():
            if not values.isfinite().all():
                raise ModelError(f"{classifier.folder / name}: {tensor} has values that are not finite")
        parameters = sum(parameter.numel() for parameter in network.parameters())
        lines.append(f"{name}: SHA-256 {checksum}, {parameters:,} parameters\n")
    return "".join(lines)


def check_validation(classifier: Classifier) -> str:
    """Return a line about the validation results, which a model may lack. Raises ValueError if they are damaged, or are
    not this model's."""
    from leadwise.model.validation_results import FILE
    from leadwise.report.training_page import read_training

    if not (classifier.folder / FILE).exists():
        return f"{FILE}: not there; predictions do not need it\n"
    return f"{FILE}: {len(read_training(classifier.folder, None).held_out)} recordings, counts as in model.json\n"


def check_prediction(classifier: Classifier) -> str:
    """Return a line about the prediction for a simulated ECG. Raises ModelError if a probability is no number."""
    import numpy as np

    from leadwise.ecg.leads import STANDARD_LEADS
    from leadwise.model.folder import ModelError
    from leadwise.simulate import simulate

    ecg = simulate("NSR", seed=1, sampling_frequency=500, seconds=10)
    result = classifier.predict(ecg, 500, STANDARD_LEADS, unit="mV", errors="return")
    if result.error or not np.isfinite(result.probabilities).all():
        raise ModelError(f"{classifier.folder}: no probabilities for a simulated ECG: {result.error}")
    return f"prediction: {len(result.probabilities)} finite probabilities for a simulated ECG\n"
