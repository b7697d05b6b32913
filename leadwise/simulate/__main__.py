"""Run the command `python -m leadwise.simulate FOLDER --recordings N --seed S`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from leadwise.simulate.databases import DATABASES, DEFAULT_SOURCES
from leadwise.simulate.folder import write_folder
from leadwise.util.progress import log_to_stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 for a failure, 2 for bad arguments, 130 after Ctrl-C."""
    about = "Write simulated 12-lead ECGs as PhysioNet/CinC Challenge files, mixed as in its databases."
    sources = f"prefixes out of {','.join(DATABASES)}; U is another hospital, with 300 Hz (default: %(default)s)"
    floor = "share of recordings that each diagnosis has at least, 0 to 1/24 (default: 0, as in the databases)"
    parser = argparse.ArgumentParser(prog="python -m leadwise.simulate", description=about, allow_abbrev=False)
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="output folder, created if missing")
    add("--recordings", type=int, required=True, metavar="N", help="number of recordings")
    add("--seed", type=int, default=0, metavar="S", help="same seed, same files (default: 0)")
    add("--sources", default=",".join(DEFAULT_SOURCES), metavar="LIST", help=sources)
    add("--class-floor", type=float, default=0.0, metavar="SHARE", help=floor)
    add("--noise", type=float, default=1.0, metavar="FACTOR", help="of wander, hum, muscle (default: 1)")
    add("--longest", type=float, default=math.inf, metavar="SECONDS", help="cut longer recordings (default: no limit)")
    options = vars(parser.parse_args(arguments))
    options["sources"] = options["sources"].split(",")
    log_to_stdout()
    try:
        written = write_folder(**options)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    parts = ", ".join(f"{source} {number}" for source, number in written.items() if number)
    print(f"{options['recordings']} simulated recordings in {options['folder']} ({parts})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
