"""Write simulated ECGs: `leadwise simulate`."""

from __future__ import annotations

import click

from leadwise.command_line import command
from leadwise.options import SimulationOptions
from leadwise.util.text import emit

HELP = """Write simulated ECGs as Challenge files.

\b
FOLDER  folder for the recordings; created if missing

The diagnoses are as frequent as in the Challenge's databases. The same options give the same files.
"""


@command(SimulationOptions, HELP, "ecgs --recordings 12 --seed 7")
@click.argument("folder")
def simulate(folder: str, options: SimulationOptions) -> None:
    """Run the command."""
    from leadwise.simulate import write_folder
    from leadwise.util.progress import log_to_stdout

    if options.recordings is None:
        raise click.UsageError("--recordings is missing")
    log_to_stdout()
    try:
        written = write_folder(
            folder, options.recordings, options.seed or 0, sources=options.sources, class_floor=options.class_floor,
            noise=options.noise, longest=options.longest,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    parts = ", ".join(f"{source} {number}" for source, number in written.items() if number)
    emit(f"{options.recordings} simulated recordings in {folder} ({parts})\n")
