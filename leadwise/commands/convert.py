"""Convert recordings to Challenge files: `leadwise convert`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.options import Options
from leadwise.util.text import emit, printable

HELP = """Convert recordings of any format to Challenge files.

\b
FILE    recordings, in a format that `leadwise predict` reads
FOLDER  folder for NAME.hea and NAME.mat of each; created if missing

NAME is that of FILE without its ending. The exit status is 1 if a file cannot be converted.
"""


@command(Options, HELP, "muse/ecg.xml challenge")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.argument("folder")
def convert(files: tuple[str, ...], folder: str, options: Options) -> int:
    """Run the command."""
    from leadwise.ecg.challenge_files import write_challenge_files  # type: ignore[import-not-found, unused-ignore]
    from leadwise.ecg.recording import read_recording
    from leadwise.ecg.repairs import RecordingError

    names = targets([Path(file) for file in files], Path(folder))
    Path(folder).mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, path in names.items():
        try:
            written = write_challenge_files(read_recording(path, assume_header=True), Path(folder), name)
            emit(f"{printable(str(path))}: {printable(str(written))}\n")
        except RecordingError as error:
            print(f"{click.get_current_context().command_path}: {printable(str(error))}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def targets(files: list[Path], folder: Path) -> dict[str, Path]:
    """Return the files by the names of their Challenge files. Raises UsageError if two have the same name, or if one
    would be overwritten by its own copy."""
    names: dict[str, Path] = {}
    for file in files:
        name = file.stem if file.suffix else file.name
        if name in names:
            raise click.UsageError(f"{names[name]} and {file} would both be {folder / name}.hea")
        if file.resolve() in {(folder / f"{name}{ending}").resolve() for ending in ("", ".hea", ".mat")}:
            raise click.UsageError(f"{file} would be overwritten by its copy")
        names[name] = file
    return names
