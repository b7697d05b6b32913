"""Evaluate outputs: `leadwise evaluate`, evaluate_12ECG_score.py."""

from __future__ import annotations

from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.options import EvaluatorOptions

HELP = """Score outputs against labels, as the Challenge does.

\b
LABELS            folder with headers NAME.hea
OUTPUTS           folder with an output NAME.csv for each of them
SCORES.csv        file for the figures, which are printed otherwise
CLASS_SCORES.csv  file for AUROC, AUPRC and F-measure of each class
"""


@command(EvaluatorOptions, HELP, "ecgs outputs --report evaluation.html")
@click.argument("labels")
@click.argument("outputs")
@click.argument("scores_file", metavar="[SCORES.csv]", required=False)
@click.argument("class_scores_file", metavar="[CLASS_SCORES.csv]", required=False)
def evaluate(
    labels: str, outputs: str, scores_file: str | None, class_scores_file: str | None, options: EvaluatorOptions
) -> None:
    """Run the command."""
    from leadwise.challenge.evaluation import class_scores_table, read_folders, scores_table
    from leadwise.challenge.metric import evaluate
    from leadwise.util.files import write_text
    from leadwise.util.text import emit

    read = read_folders(labels, outputs)
    scores = evaluate(read.labels, read.answers, read.scores)
    if scores_file is None:
        emit(scores_table(scores))
    else:
        write_text(Path(scores_file), scores_table(scores))
    if class_scores_file is not None:
        write_text(Path(class_scores_file), class_scores_table(scores))
    if options.report:
        from leadwise.report.evaluation_page import report_page  # here, since matplotlib takes its time to start

        write_text(options.report, report_page(read, scores))
