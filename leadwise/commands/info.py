"""Describe a model: `leadwise info`."""

from __future__ import annotations

import click

from leadwise.command_line import command
from leadwise.options import Options
from leadwise.util.text import emit

HELP = """Describe a model.

\b
MODEL  folder with a trained model; pretrained: the included one

Its recipe, training data, scores, decision rule and limits, as model.json and validation.safetensors have them.
"""


@command(Options, HELP, "pretrained")
@click.argument("model")
def info(model: str, options: Options) -> None:
    """Run the command."""
    from leadwise.model.folder import ModelError, model_folder, read_metadata
    from leadwise.model.validation_results import FILE
    from leadwise.report.card import model_summary
    from leadwise.report.training_page import read_training

    folder = model_folder(model)
    metadata, data, scores = read_metadata(folder), None, None
    try:
        if (folder / FILE).exists():
            training = read_training(folder, None)
            data, scores = training.outputs, training.scores
        emit(model_summary(model, metadata, data, scores))
    except (AttributeError, LookupError, TypeError) as error:
        raise ModelError(f"{folder / 'model.json'}: {type(error).__name__} {error}") from None
