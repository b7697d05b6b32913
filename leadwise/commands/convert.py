"""Convert recordings to Challenge files: `leadwise convert`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadwise.command_line import command
from leadwise.options import ReadingOptions
from leadwise.util.text import emit, printable

if TYPE_CHECKING:
    from leadwise.ecg.recording import Recording

HELP = """Convert recordings of any format to Challenge files.

\b
FILE    recordings, in a format that `leadwise predict` reads, or folders with such
FOLDER  folder for NAME.hea and NAME.mat of each; created if missing

NAME is that of FILE without its ending. Nothing is overwritten. The exit status is 1 if a file cannot be converted.
"""


@command(ReadingOptions, HELP, "muse/ecg.xml challenge")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.argument("folder")
def convert(files: tuple[str, ...], folder: str, options: ReadingOptions) -> int:
    """Run the command."""
    from leadwise.ecg.reading import read_ecg
    from leadwise.ecg.repairs import RecordingError

    names, failed = targets([Path(file) for file in files], Path(folder)), 0
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, path in names.items():
        try:
            recording = read_ecg(path, options.sampling_frequency)
        except RecordingError as error:
            print(f"{click.get_current_context().command_path}: {printable(str(error))}", file=sys.stderr)
            failed += 1
            continue
        header = write_whole(recording, Path(folder), name)
        repairs = ", ".join(repair.name for repair in recording.repairs)
        emit(f"{printable(str(path))}: {printable(str(header))}{f' (repairs: {repairs})' if repairs else ''}\n")
    return 1 if failed else 0


def targets(files: list[Path], folder: Path) -> dict[str, Path]:
    """Return the files, and those in folders, by the names of their Challenge files. Raises UsageError if two have the
    same name, or if a file would be overwritten."""
    from leadwise.ecg.discovery import find_ecgs, record_name
    from leadwise.ecg.files.challenge_files import challenge_name

    names: dict[str, Path] = {}
    found = [path for file in files for path in (find_ecgs(file) if file.is_dir() else [file])]
    for file in found:
        name = challenge_name(record_name(file))
        if name in names:
            raise click.UsageError(f"{names[name]} and {file} would both be {folder / name}.hea")
        for path in challenge_paths(folder, name):
            if path.exists():
                raise click.UsageError(f"{path} exists, and would be overwritten by that of {file}; name a new folder")
        names[name] = file
    return names


def challenge_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a record's two files."""
    return folder / f"{name}.hea", folder / f"{name}.mat"


def write_whole(recording: Recording, folder: Path, name: str) -> Path:
    """Write both files of a recording, or none; return the path of the header."""
    from leadwise.ecg.files.challenge_files import write_challenge_files

    try:
        return write_challenge_files(recording, folder, name)
    except BaseException:  # also for Ctrl-C: a signal without a header would be read as 12 leads of 500 Hz
        for path in challenge_paths(folder, name):
            path.unlink(missing_ok=True)
        raise
