"""Rewrite the report and the model card of a model folder: `leadwise report`."""

from __future__ import annotations

from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.options import Options

HELP = """Write report.html and model_card.md of a trained model anew.

\b
MODEL  folder with a trained model
DATA   folder with the recordings of its training, for what needs signals
"""


@command(Options, HELP, "model ecgs")
@click.argument("model")
@click.argument("data", required=False)
def report(model: str, data: str | None, options: Options) -> None:
    """Run the command."""
    from leadwise.report.training_page import write_pages

    write_pages(Path(model), data)
