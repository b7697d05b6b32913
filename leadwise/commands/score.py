"""Score a folder of recordings: `leadwise score`, driver.py."""

from __future__ import annotations

from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.options import DriverOptions
from leadwise.util.processes import let_waiting_threads_sleep

HELP = """Score every recording of a folder.

\b
MODEL   folder with a trained model; pretrained: the included one
DATA    folder with recordings of any format, also in subfolders
OUTPUT  folder for NAME.csv of each recording; created if missing
"""


@command(DriverOptions, HELP, "pretrained ecgs outputs")
@click.argument("model")
@click.argument("data")
@click.argument("output")
def score(model: str, data: str, output: str, options: DriverOptions) -> None:
    """Run the command."""
    let_waiting_threads_sleep()  # before torch is imported
    from leadwise.model.ensemble import load_model
    from leadwise.model.scoring import score_folder
    from leadwise.network.devices import choose_processor
    from leadwise.util.progress import log_to_stdout

    log_to_stdout()
    processor = choose_processor(options.device, options.precision, options.threads)
    score_folder(load_model(model, processor, options.site), Path(data), Path(output), options)
