"""Command: `python -m leadwise.simulate FOLDER --recordings N --seed S`. Arguments in, files out."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from leadwise.simulate.databases import DATABASES, DEFAULT_SOURCES
from leadwise.simulate.folder import write_folder
from leadwise.util.progress import log_to_stdout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m leadwise.simulate",
        description="Writes simulated 12-lead ECGs as PhysioNet/CinC Challenge files, mixed as its databases are.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files go; made where it is missing")
    parser.add_argument("--recordings", type=int, required=True, metavar="N", help="how many recordings")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same files (default: 0)")
    parser.add_argument(
        "--sources",
        default=",".join(DEFAULT_SOURCES),
        metavar="LIST",
        help=f"prefixes out of {','.join(DATABASES)}; U is another hospital, with 300 Hz (default: %(default)s)",
    )
    parser.add_argument(
        "--class-floor",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of recordings that each diagnosis has at least, 0 to 1/24 (default: 0, as in the databases)",
    )
    parser.add_argument(
        "--noise", type=float, default=1.0, metavar="FACTOR", help="of wander, hum, muscle (default: 1)"
    )
    parser.add_argument(
        "--longest",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="longer recordings are cut (default: none is)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, 1 for what failed, 2 for bad arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    log_to_stdout()
    try:
        written = write_folder(
            options.folder,
            options.recordings,
            options.seed,
            sources=options.sources.split(","),
            class_floor=options.class_floor,
            noise=options.noise,
            longest=options.longest,
        )
    except ValueError as problem:
        parser.error(str(problem))
    except OSError as problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 1
    parts = ", ".join(f"{source} {number}" for source, number in written.items() if number)
    print(f"{options.recordings} simulated recordings in {options.folder} ({parts})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
