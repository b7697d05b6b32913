#!/usr/bin/env python
"""Scores outputs against labels: python evaluate_12ECG_score.py LABELS OUTPUTS [SCORES.csv [CLASS_SCORES.csv]].

LABELS holds headers NAME.hea, OUTPUTS an answer NAME.csv for each. The figures are those of the Challenge's evaluation.
Exit code 0: scored; 1: it failed; 2: wrong arguments. One line on the standard error stream says why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from leadwise.evaluation import class_scores_table, evaluate_folders, scores_table
from leadwise.files import write_text


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; ends the program with exit code 2 where it is wrong."""
    parser = OneLineParser(description="Scores outputs against labels, as the Challenge's evaluation does.")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="folder of headers NAME.hea")
    parser.add_argument("outputs", type=Path, metavar="OUTPUTS", help="folder of outputs NAME.csv")
    parser.add_argument("scores", type=Path, nargs="?", metavar="SCORES.csv", help="write the figures, not print them")
    parser.add_argument("class_scores", type=Path, nargs="?", metavar="CLASS_SCORES.csv", help="write those by class")
    parsed = parser.parse_args(arguments)
    for folder in (parsed.labels, parsed.outputs):
        if not folder.is_dir():
            parser.error(f"{folder} is not a folder")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates, then prints the two lines or writes them; returns the exit code."""
    parsed = parse_arguments(arguments)
    try:
        scores = evaluate_folders(parsed.labels, parsed.outputs)
        if parsed.scores is None:
            print(scores_table(scores), end="")
        else:
            write_text(parsed.scores, scores_table(scores))
        if parsed.class_scores is not None:
            write_text(parsed.class_scores, class_scores_table(scores))
    except (OSError, ValueError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
