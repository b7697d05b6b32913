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

    log_to_stdout()
    try:
        model = load_model(folders.model, choose_processor(options))
        output = Path(folders.output)
        output.mkdir(parents=True, exist_ok=True)
        score_folder(model, Path(folders.data), output, options.batch_size)
    except (ModelError, ValueError, OSError) as error:
        print(f"driver.py: {error}", file=sys.stderr)
        return 1
    return 0


def score_folder(model: "Model", data: Path, output: Path, batch: int) -> None:
    """Writes an answer for each recording below `data`; says at the end how many could not be used, and why."""
    from leadwise.classes import CODES
    from leadwise.outputs import write_output
    from leadwise.progress import log, track
    from leadwise.scoring import find_records, score_files

    records = find_records(data)
    problems = 0
    for record, scored in zip(records, score_files(model, track(records, "scoring", len(records)), batch), strict=True):
        labels = scored.labels.astype(int).tolist()
        write_output(output / f"{record.name}.csv", record.name, CODES, labels, scored.scores.tolist())
        problems += scored.problem is not None
    log.info("%d recordings scored, %d of them could not be used and got the training prior", len(records), problems)


if __name__ == "__main__":
    sys.exit(main())
