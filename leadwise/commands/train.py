"""Train a model: `leadwise train`, train_model.py."""

from __future__ import annotations

from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.options import TrainingOptions

HELP = """Train a model on a folder of recordings.

\b
DATA   folder with the training recordings (.hea and .mat, also in subfolders)
MODEL  folder for the model; created if missing

The same command resumes an interrupted training.
"""


@command(TrainingOptions, HELP, "ecgs model --recipe quick")
@click.argument("data")
@click.argument("model")
def train(data: str, model: str, options: TrainingOptions) -> None:
    """Run the command."""
    from leadwise.training import run
    from leadwise.util.progress import log_to_stdout

    log_to_stdout()
    Path(model).mkdir(parents=True, exist_ok=True)
    run.train(data, model, options, write_report)


def write_report(model: Path, data: str) -> None:
    """Write the report and the model card of a finished training."""
    from leadwise.report.training_page import write_pages  # here, since matplotlib starts slowly

    write_pages(model, data)
