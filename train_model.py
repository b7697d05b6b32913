#!/usr/bin/env python3
"""Trains a model: train_model.py DATA MODEL. The story is in team_code.py."""

import sys
from pathlib import Path

from leadwise.options import Positional, TrainingOptions, parse

POSITIONALS = (
    Positional("DATA", "folder with the training recordings (.hea and .mat, also in subfolders)"),
    Positional("MODEL", "folder that the model is written to; made where it is missing"),
)


def main() -> int:
    """Runs the command; returns its exit status."""
    folders, options = parse(TrainingOptions, "Trains a model on a folder of recordings.", POSITIONALS)
    from team_code import training_code  # torch takes seconds to import: not for --help and for bad arguments

    try:
        Path(folders.model).mkdir(parents=True, exist_ok=True)
        training_code(folders.data, folders.model, options)
    except (ValueError, OSError) as error:
        print(f"train_model.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
