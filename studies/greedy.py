"""How far the greedy labels of expected reward are from the best ones: python -m studies.greedy [RUN.npz ...]

The best are found by trying all: of 200 random draws of 5, 7, 9 and 11 classes each answer there is; of a run of the
study each answer within the ten most probable classes of a recording. Prints, for each: how often the greedy answer
earns as much as the best, and what it earns less, on average and at most, as a share of the best.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import REWARDS
from leadwise.decision.expected_reward import TIE, best_labels, expected_reward
from studies.judge import scores_of

Floats = NDArray[np.float64]
MOST = 10  # classes of a recording, of which each answer is tried


def lost(probabilities: Floats, rewards: Floats, most: int) -> Floats:
    """The share of the best answer's expected reward that the greedy one misses, (recordings,)."""
    greedy = expected_reward(probabilities, best_labels(probabilities, rewards), rewards)
    sets = np.array(list(product([False, True], repeat=most)))[1:]  # (answers, most)
    best = np.empty(len(probabilities))
    for row, chances in enumerate(probabilities):
        answers = np.zeros((len(sets), len(chances)), np.bool_)
        answers[:, np.argsort(-chances)[:most]] = sets
        best[row] = expected_reward(np.tile(chances, (len(sets), 1)), answers, rewards).max()
    return np.maximum(best - greedy, 0) / best


def main(runs: Sequence[str]) -> None:
    """Prints a line for each kind of probabilities."""
    random = np.random.default_rng(0)
    cases = {}
    for count in (5, 7, 9, 11):
        chosen = random.choice(len(REWARDS), count, replace=False)
        drawn = random.beta(0.4, 1.2, (200, count))
        cases[f"random, {count} classes"] = lost(drawn, REWARDS[np.ix_(chosen, chosen)], count)
    for run in runs:
        with np.load(run, allow_pickle=False) as stored:
            cases[run] = lost(scores_of(dict(stored), "test", 0.0), REWARDS, MOST)
    for name, shares in cases.items():
        same = np.sum(shares < TIE)
        print(f"{name}: as good in {same} of {len(shares)}, {shares.mean():.2e} less, {shares.max():.2e} at most")


if __name__ == "__main__":
    main(sys.argv[1:])
