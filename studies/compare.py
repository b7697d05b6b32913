"""Compare two sets of outputs for the same recordings: python -m studies.compare LABELS OUTPUTS_A OUTPUTS_B

Prints the evaluator's seven figures of both, their differences, and a paired bootstrap of the challenge metric:
recordings are drawn with replacement, the same ones for both sets, and the difference is computed for each draw. The
middle 95 % of the differences is the interval. If it excludes 0, the two differ on recordings like these.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from leadwise.challenge.evaluation import read_folders, scores_by_name
from leadwise.challenge.metric import evaluate
from leadwise.report.statistics import REPLICATES, SEED, Rewards, bootstrap_scores, rewards_of


class Difference(NamedTuple):
    """The challenge metric of B minus that of A."""

    value: float
    low: float  # 2.5th percentile of the bootstrap
    high: float  # 97.5th percentile
    share_better: float  # of the bootstrap samples in which B scores higher


def compare(a: Rewards, b: Rewards, replicates: int = REPLICATES, seed: int = SEED) -> Difference:
    """Return the difference in the challenge metric of two sets of answers to the same recordings, with its interval.

    Raises ValueError if the recordings are not the same.
    """
    if not np.array_equal(a.correct, b.correct) or not np.array_equal(a.inactive, b.inactive):
        raise ValueError("these are answers to different recordings")
    differences = bootstrap_scores(b, replicates, seed) - bootstrap_scores(a, replicates, seed)  # one seed: paired
    low, high = np.percentile(differences, [2.5, 97.5])
    value = float(a.lost.sum() - b.lost.sum())
    return Difference(value, float(low), float(high), float(np.mean(differences > 0)))


def main(labels: str, *folders: str) -> None:
    """Print the table and the paired bootstrap."""
    outputs = [read_folders(labels, folder) for folder in folders]
    a, b = (scores_by_name(evaluate(each.labels, each.answers, each.scores)) for each in outputs)
    print(f"{'':18}{'A':>8}{'B':>8}{'B - A':>8}")
    for name in a:
        print(f"{name:18}{a[name]:8.3f}{b[name]:8.3f}{b[name] - a[name]:+8.3f}")
    difference = compare(*(rewards_of(each.labels, each.answers) for each in outputs))
    print(
        f"\nchallenge metric, B - A: {difference.value:+.3f}, 95 % interval {difference.low:+.3f} to"
        f" {difference.high:+.3f} ({REPLICATES} paired bootstrap samples of {len(outputs[0].headers)} recordings,"
        f" seed {SEED}); B is better in {100 * difference.share_better:.1f} % of them"
    )


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m studies.compare LABELS OUTPUTS_A OUTPUTS_B")
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"studies.compare: {error}")
