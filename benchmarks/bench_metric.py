"""Measure evaluator and threshold search against plain implementations, at the size of the Challenge.

Nothing is drawn or computed before the first call, which is not timed.
"""

from functools import cache

import numpy as np

from leadwise.challenge.metric import challenge_metric, evaluate
from leadwise.decision.thresholds import apply_thresholds, search_thresholds
from tests import naive

RECORDINGS = 37_749  # training recordings of the Challenge with a scored diagnosis
FOLD = 7_550  # a fifth of them


def rows():
    """Return the rows of evaluator and threshold search."""
    return [
        {
            "name": "evaluator, 37,749 x 24, against naive loops",
            "ours": lambda: evaluate(*case()),
            "baseline": lambda: naive.evaluate(*case_as_lists()),
            "target": 50.0,
            "pairs": 5,
        },
        {
            "name": "threshold search, 7,550 x 24, against the vectorised metric for each candidate",
            "ours": lambda: search_thresholds(*draw(FOLD)),
            "baseline": search_by_calling_the_metric,
            "target": 30.0,
            "pairs": 3,
        },
    ]


@cache
def case():
    """Return labels, answers and scores for the evaluator."""
    labels, probabilities = draw(RECORDINGS)
    return labels, apply_thresholds(probabilities, 0.3), probabilities


@cache
def case_as_lists():
    """Return the same as lists: the loops are a fifth slower on arrays."""
    return [array.tolist() for array in case()]


@cache
def draw(recordings):
    """Return labels and probabilities (recordings, 24) with rare and frequent classes, fairly well separated."""
    rng = np.random.default_rng(2020)
    labels = rng.random((recordings, 24)) < np.geomspace(0.007, 0.5, 24)
    logits = rng.normal(size=labels.shape) + 2.5 * labels + np.linspace(-5, 0, 24)
    return labels, 1 / (1 + np.exp(-logits))


def search_by_calling_the_metric():
    """Search thresholds in two steps by calling the metric 11 + 24 x 101 times.

    Raises RuntimeError if the thresholds differ from ours: the comparison would be meaningless.
    """
    labels, probabilities = draw(FOLD)
    most_probable = apply_thresholds(probabilities, np.inf)
    candidates = [i / 10 for i in range(11)]
    scores = [challenge_metric(labels, apply_thresholds(probabilities, candidate)) for candidate in candidates]
    common = naive.best_candidate(candidates, scores, present=0.5)
    thresholds = [common] * 24
    candidates = [i / 100 for i in range(101)]
    answers = apply_thresholds(probabilities, common)
    for k in range(24):
        scores = []
        for candidate in candidates:
            answers[:, k] = (probabilities[:, k] >= candidate) | most_probable[:, k]
            scores.append(challenge_metric(labels, answers))
        thresholds[k] = naive.best_candidate(candidates, scores, present=common)
        answers[:, k] = (probabilities[:, k] >= thresholds[k]) | most_probable[:, k]
    if thresholds != search_thresholds(labels, probabilities).thresholds.tolist():
        raise RuntimeError("the two searches found different thresholds")
