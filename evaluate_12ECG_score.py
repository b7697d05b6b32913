#!/usr/bin/env python3
"""Score outputs against labels: evaluate_12ECG_score.py LABELS OUTPUTS [SCORES.csv [CLASS_SCORES.csv]]."""

import sys
from pathlib import Path

import click

from leadwise.challenge.evaluation import class_scores_table, read_folders, scores_table
from leadwise.challenge.metric import evaluate
from leadwise.command_line import command
from leadwise.options import EvaluatorOptions
from leadwise.util.files import write_text

HELP = """Score outputs against labels, as the Challenge's evaluation of 2020 does.

\b
LABELS            folder with headers NAME.hea
OUTPUTS           folder with an output NAME.csv for each of them
SCORES.csv        file for the figures, which are printed otherwise
CLASS_SCORES.csv  file for AUROC, AUPRC and F-measure of each class
"""


@command(EvaluatorOptions, HELP)
@click.argument("labels")
@click.argument("outputs")
@click.argument("scores_file", metavar="[SCORES.csv]", required=False)
@click.argument("class_scores_file", metavar="[CLASS_SCORES.csv]", required=False)
def main(
    labels: str, outputs: str, scores_file: str | None, class_scores_file: str | None, options: EvaluatorOptions
) -> None:
    """Run the command."""
    read = read_folders(labels, outputs)
    scores = evaluate(read.labels, read.answers, read.scores)
    if scores_file is None:
        print(scores_table(scores), end="")
    else:
        write_text(Path(scores_file), scores_table(scores))
    if class_scores_file is not None:
        write_text(Path(class_scores_file), class_scores_table(scores))
    if options.report:
        from leadwise.report.evaluation_page import report_page  # here, since matplotlib takes its time to start

        write_text(options.report, report_page(read, scores))


if __name__ == "__main__":
    sys.exit(main())
