"""The evaluator and the threshold search against the plain ways of doing the same, at the size of the Challenge.

`rows()` gives what is timed; nothing is drawn or computed before it is called.
"""

import numpy as np

from leadwise.metric import challenge_metric, evaluate
from leadwise.thresholds import decide, search_thresholds
from tests import naive

RECORDINGS = 37_749  # training recordings of the Challenge with a scored diagnosis
FOLD = 7_550  # a fifth of them


def rows():
    """Name, the two ways as callables, the ratio wanted and how many pairs are timed, for each row of the table."""
    return [evaluator_row(), search_row()]


def evaluator_row():
    """All figures of 37,749 x 24 with whole arrays, against the loops of the definition on lists."""
    labels, probabilities = draw(RECORDINGS)
    answers = decide(probabilities, 0.3)
    lists = labels.tolist(), answers.tolist(), probabilities.tolist()
    return {
        "name": "evaluator, 37,749 x 24, against naive loops",
        "ours": lambda: evaluate(labels, answers, probabilities),
        "baseline": lambda: naive.evaluate(*lists),
        "target": 50.0,
        "pairs": 3,
    }


def search_row():
    """The two-step search of one fold, against the vectorised metric for each of 11 + 24 x 101 candidates."""
    labels, probabilities = draw(FOLD)
    ours, (thresholds, _, _) = (
        search_thresholds(labels, probabilities),
        search_by_calling_the_metric(labels, probabilities),
    )
    if ours.thresholds.tolist() != thresholds:
        raise RuntimeError("the two searches found different thresholds: their times say nothing")
    return {
        "name": "threshold search, 7,550 x 24, against calling the metric 2,435 times",
        "ours": lambda: search_thresholds(labels, probabilities),
        "baseline": lambda: search_by_calling_the_metric(labels, probabilities),
        "target": 30.0,
        "pairs": 3,
    }


def search_by_calling_the_metric(labels, probabilities):
    """The naive search, made as fast as it gets without a new idea: only the class in question is decided again."""
    most_probable = decide(probabilities, np.inf)
    candidates = [i / 10 for i in range(11)]
    scores = [challenge_metric(labels, decide(probabilities, candidate)) for candidate in candidates]
    common = naive.best_candidate(candidates, scores, present=0.5)
    thresholds = [common] * 24
    candidates = [i / 100 for i in range(101)]
    answers = decide(probabilities, common)
    for k in range(24):
        scores = []
        for candidate in candidates:
            answers[:, k] = (probabilities[:, k] >= candidate) | most_probable[:, k]
            scores.append(challenge_metric(labels, answers))
        thresholds[k] = naive.best_candidate(candidates, scores, present=common)
        answers[:, k] = (probabilities[:, k] >= thresholds[k]) | most_probable[:, k]
    return thresholds, common, max(scores)


def draw(recordings):
    """Labels and probabilities (recordings, 24) with rare and frequent classes, told apart fairly well."""
    rng = np.random.default_rng(2020)
    labels = rng.random((recordings, 24)) < np.geomspace(0.007, 0.5, 24)
    logits = rng.normal(size=labels.shape) + 2.5 * labels + np.linspace(-5, 0, 24)
    return labels, 1 / (1 + np.exp(-logits))
