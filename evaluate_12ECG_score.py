#!/usr/bin/env python3
"""Scores outputs by labels: evaluate_12ECG_score.py LABELS OUTPUTS [SCORES.csv [CLASS_SCORES.csv]]."""

import sys
from pathlib import Path

from leadwise.evaluation import class_scores_table, read_folders, scores_table
from leadwise.files import write_text
from leadwise.metric import evaluate
from leadwise.options import EvaluatorOptions, Positional, parse

POSITIONALS = (
    Positional("LABELS", "folder with headers NAME.hea"),
    Positional("OUTPUTS", "folder with an output NAME.csv for each of them"),
    Positional("SCORES.csv", "file that gets the figures, which are printed otherwise", nargs="?"),
    Positional("CLASS_SCORES.csv", "file that gets AUROC, AUPRC and F-measure of each class", nargs="?"),
)


def main() -> int:
    """Runs the command; returns its exit status."""
    paths, options = parse(
        EvaluatorOptions, "Scores outputs by labels, as the Challenge's evaluation of 2020 does.", POSITIONALS
    )
    try:
        read = read_folders(paths.labels, paths.outputs)
        scores = evaluate(read.labels, read.answers, read.scores)
        if paths.scores is None:
            print(scores_table(scores), end="")
        else:
            write_text(Path(paths.scores), scores_table(scores))
        if paths.class_scores is not None:
            write_text(Path(paths.class_scores), class_scores_table(scores))
        if options.report:
            from leadwise.report.page import report_page  # here, since matplotlib takes its time to start

            write_text(options.report, report_page(read, scores))
    except (ValueError, OSError) as error:
        print(f"evaluate_12ECG_score.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
