"""Score the constant baseline: python -m studies.constant_baseline MODEL LABELS

Gives every recording in the folder LABELS the same answer, the training prior of the model in MODEL (class frequencies
as scores, best constant labels), and prints the evaluator's figures.
"""

from __future__ import annotations

import sys

import numpy as np

from leadwise.challenge.classes import label_vector
from leadwise.challenge.evaluation import scores_table
from leadwise.challenge.metric import evaluate
from leadwise.ecg.discovery import find_headers
from leadwise.ecg.header import header_codes
from leadwise.model.folder import ModelError, read_metadata


def main(model: str, labels_folder: str) -> None:
    """Print the two lines of the evaluator."""
    prior = read_metadata(model)["prior"]
    labels = np.array([label_vector(header_codes(header.read_bytes())) for header in find_headers(labels_folder)])
    answers = np.tile(np.array(prior["labels"], bool), (len(labels), 1))
    scores = np.tile(np.array(prior["scores"]), (len(labels), 1))
    print(scores_table(evaluate(labels, answers, scores)), end="")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m studies.constant_baseline MODEL LABELS")
    try:
        main(*sys.argv[1:])
    except (ModelError, ValueError, OSError) as error:
        sys.exit(f"studies.constant_baseline: {error}")
