#!/usr/bin/env python3
"""Scores a folder: driver.py MODEL DATA OUTPUT. One recording after the other would give the same, see team_code.py."""

import sys
from pathlib import Path

from leadwise.options import DriverOptions, Positional, parse

POSITIONALS = (
    Positional("MODEL", "folder with a trained model"),
    Positional("DATA", "folder with recordings (.hea and .mat, also in subfolders)"),
    Positional("OUTPUT", "folder that gets NAME.csv for each recording; made where it is missing"),
)


def main() -> int:
    """Runs the command; returns its exit status."""
    folders, options = parse(DriverOptions, "Scores every recording of a folder.", POSITIONALS)
    # torch takes seconds to import: not for --help and for bad arguments
    from leadwise.devices import choose_processor
    from leadwise.ensemble import ModelError, load_model
    from leadwise.progress import log_to_stdout
    from leadwise.scoring import UnusableError, score_folder

    log_to_stdout()
    try:
        model = load_model(folders.model, choose_processor(options))
        data, output = Path(folders.data), Path(folders.output)
        score_folder(model, data, output, options.batch_size, options.jobs, options.problems, options.strict)
    except (ModelError, UnusableError, ValueError, OSError) as error:
        print(f"driver.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
