#!/usr/bin/env python3
"""Says what recordings show: get_12ECG_score.py MODEL RECORD... Also the module that the driver of 2020 may import."""

import sys
from pathlib import Path

import numpy as np

from leadwise.classes import DIAGNOSES
from leadwise.devices import choose_processor
from leadwise.ensemble import Model, ModelError
from leadwise.ensemble import load_model as load_model_folder
from leadwise.options import NetworkOptions, Positional, parse
from leadwise.quality import remarks
from leadwise.recording import REPAIRS, read_recording
from leadwise.scoring import Scored, score_files
from leadwise.signals import SIGNAL_REPAIRS
from team_code import load_12ECG_model, run_12ECG_classifier

__all__ = ["load_12ECG_model", "run_12ECG_classifier"]

POSITIONALS = (
    Positional("MODEL", "folder with a trained model"),
    Positional("RECORD", "recordings: NAME.hea, NAME.mat or NAME", nargs="+"),
)


def main() -> int:
    """Runs the command; returns its exit status: 1 where a recording could not be used."""
    arguments, options = parse(NetworkOptions, "Prints the diagnoses of recordings.", POSITIONALS)
    try:
        model = load_model_folder(arguments.model, choose_processor(options))
    except (ModelError, ValueError) as error:
        print(f"get_12ECG_score.py: {error}", file=sys.stderr)
        return 1
    paths = [Path(record) for record in arguments.record]
    unusable = 0
    for path, scored in zip(paths, score_files(model, paths, batch=1), strict=True):
        print(f"\n{path}")
        print(f"  cannot be used: {scored.problem}" if scored.problem else table(model, scored))
        print("".join(f"  {line}\n" for line in doubts(path, scored)), end="")
        unusable += scored.problem is not None
    return 1 if unusable else 0


def table(model: Model, scored: Scored) -> str:
    """A line for each diagnosis, those present first and the more probable first: mark, probability, threshold, name.

    The threshold is the mean of the networks' own; a diagnosis is present when at least half of the networks say so.
    """
    thresholds = model.thresholds.mean(0)
    lines = ["     probability  threshold  diagnosis"]
    for k in np.lexsort((-scored.scores, ~scored.labels)):
        mark = "yes" if scored.labels[k] else "   "
        name = f"{DIAGNOSES[k].name} ({DIAGNOSES[k].abbreviation}, {DIAGNOSES[k].code})"
        lines.append(f"{mark:>5}{scored.scores[k]:11.3f}{thresholds[k]:11.2f}  {name}")
    return "\n".join(lines)


def doubts(path: Path, scored: Scored) -> list[str]:
    """In words, what is doubtful in a recording that was used, and what had to be put right in it."""
    if scored.problem:
        return []
    found = [f"note: {remark}" for remark in remarks(read_recording(path, assume_header=True))]
    meanings = REPAIRS | dict(SIGNAL_REPAIRS)
    return found + [f"put right ({name}): {meanings[name]}" for name in dict.fromkeys(scored.repairs)]


if __name__ == "__main__":
    sys.exit(main())
