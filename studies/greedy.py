"""Measure how close the greedy labels of expected reward come to the best: python -m studies.greedy [RUN.npz ...]

The best labels are found by exhaustive search: for 200 random probability vectors of 5, 7, 9 and 11 classes over all
label sets; for each recording of a run of the study over the label sets within its ten most probable classes. Prints
how often the greedy labels earn as much as the best, and their loss as a share of the best, mean and maximum.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import REWARDS
from leadwise.decision.expected_reward import TIE, best_labels, expected_reward
from studies.run_metrics import predictions_of

Floats = NDArray[np.float64]
SEARCHED = 10  # most probable classes of a recording, all subsets of which are tried


def relative_loss(probabilities: Floats, rewards: Floats, classes: int) -> Floats:
    """Return the share of the best labels' expected reward that the greedy labels miss, (recordings,).

    The search covers all label sets within the most probable classes, so many of them as `classes` says.
    """
    greedy = expected_reward(probabilities, best_labels(probabilities, rewards), rewards)
    sets = np.array(list(product([False, True], repeat=classes)))[1:]  # (label sets, classes)
    best = np.empty(len(probabilities))
    for row, chances in enumerate(probabilities):
        answers = np.zeros((len(sets), len(chances)), np.bool_)
        answers[:, np.argsort(-chances)[:classes]] = sets
        best[row] = expected_reward(np.tile(chances, (len(sets), 1)), answers, rewards).max()
    return np.maximum(best - greedy, 0) / best


def main(runs: Sequence[str]) -> None:
    """Print one line for each set of probabilities."""
    random = np.random.default_rng(0)
    cases = {}
    for count in (5, 7, 9, 11):
        chosen = random.choice(len(REWARDS), count, replace=False)
        drawn = random.beta(0.4, 1.2, (200, count))
        cases[f"random, {count} classes"] = relative_loss(drawn, REWARDS[np.ix_(chosen, chosen)], count)
    for run in runs:
        with np.load(run, allow_pickle=False) as stored:
            cases[run] = relative_loss(predictions_of(dict(stored), "test", 0.0).scores, REWARDS, SEARCHED)
    for name, losses in cases.items():
        equal = np.sum(losses < TIE)
        print(f"{name}: as good in {equal} of {len(losses)}, {losses.mean():.2e} less, {losses.max():.2e} at most")


if __name__ == "__main__":
    if any(argument.startswith("-") for argument in sys.argv[1:]):
        sys.exit("usage: python -m studies.greedy [RUN.npz ...]")
    try:
        main(sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"studies.greedy: {error}")
