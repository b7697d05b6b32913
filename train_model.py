#!/usr/bin/env python3
"""Train a model: train_model.py DATA MODEL. The steps are in team_code.py."""

import sys
from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.options import TrainingOptions

HELP = """Train a model on a folder of recordings.

\b
DATA   folder with the training recordings (.hea and .mat, also in subfolders)
MODEL  folder for the model; created if missing
"""


@command(TrainingOptions, HELP)
@click.argument("data")
@click.argument("model")
def main(data: str, model: str, options: TrainingOptions) -> None:
    """Run the command."""
    from team_code import training_code  # torch takes seconds to import: not for --help and for bad arguments

    Path(model).mkdir(parents=True, exist_ok=True)
    training_code(data, model, options)


if __name__ == "__main__":
    sys.exit(main())
