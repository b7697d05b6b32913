#!/usr/bin/env python3
"""Score a folder of recordings: driver.py MODEL DATA OUTPUT."""

import sys
from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.options import DriverOptions

HELP = """Score every recording of a folder.

\b
MODEL   folder with a trained model
DATA    folder with recordings (.hea and .mat, also in subfolders)
OUTPUT  folder for NAME.csv of each recording; created if missing
"""


@command(DriverOptions, HELP)
@click.argument("model")
@click.argument("data")
@click.argument("output")
def main(model: str, data: str, output: str, options: DriverOptions) -> int:
    """Run the command and return its exit status."""
    # torch takes seconds to import: not for --help and for bad arguments
    from leadwise.model.ensemble import load_model
    from leadwise.model.folder import ModelError
    from leadwise.model.scoring import UnusableRecordingError, score_folder
    from leadwise.network.devices import choose_processor
    from leadwise.util.progress import log_to_stdout

    log_to_stdout()
    try:
        processor = choose_processor(options.device, options.precision, options.threads)
        loaded = load_model(model, processor, options.site)
        score_folder(loaded, Path(data), Path(output), options)
    except (ModelError, UnusableRecordingError) as error:
        print(f"driver.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
