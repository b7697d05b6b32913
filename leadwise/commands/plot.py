"""Draw the sheet of a recording: `leadwise plot`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from leadwise.command_line import command, kind_argument
from leadwise.commands.predict import annotate, draw, load, results
from leadwise.options import PICTURE, PlotOptions

HELP = """Draw the ECG sheet of a recording, with its diagnoses.

\b
RECORD   recording: NAME.hea, NAME.mat or NAME, or a file of another format
PICTURE  file for the sheet: .png, .svg or .pdf

The evidence for a finding is shaded, which may take a minute; --no-evidence leaves it out. The exit status is 1 if the
recording cannot be used.
"""


@command(PlotOptions, HELP, "ecgs/A0001.hea ecg.png")
@click.argument("record")
@kind_argument("picture", PICTURE)
def plot(record: str, picture: Path, options: PlotOptions) -> int:
    """Run the command."""
    model, path = load(options.model, options), Path(record)
    ((_, result),) = results(model, [path], options)
    annotated, evidence = annotate(model, path, result, options, by_default=True)
    if result.error:
        print(f"{click.get_current_context().command_path}: {result.error}", file=sys.stderr)
    if annotated or not result.error:
        draw(picture, path, model, annotated, result, evidence)
    return 1 if result.error or not annotated else 0
