"""Two sets of outputs for the same recordings, compared: python -m studies.compare LABELS OUTPUTS_A OUTPUTS_B

Prints the evaluator's seven figures of both and their differences, then, for the challenge metric, the paired
bootstrap: recordings are drawn with replacement, the same ones for both, and the difference is computed each time. Its
middle 95 % is the interval; where it does not hold 0, recordings like these tell the two apart.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from leadwise.challenge.evaluation import figures_by_name, read_folders
from leadwise.challenge.metric import evaluate
from leadwise.report.statistics import REPLICATES, SEED, Rewards, bootstrap_scores, rewards_of


class Difference(NamedTuple):
    """The challenge metric of B less that of A."""

    value: float
    low: float  # the middle 95 % of the bootstrap ...
    high: float
    above: float  # ... and the share of it in which B is the better one


def compare(a: Rewards, b: Rewards, replicates: int = REPLICATES, seed: int = SEED) -> Difference:
    """The difference in the challenge metric of two programs' answers to the same recordings, with its interval.

    Raises ValueError where the recordings are not the same.
    """
    if not np.array_equal(a.correct, b.correct) or not np.array_equal(a.inactive, b.inactive):
        raise ValueError("these are answers to different recordings")
    differences = bootstrap_scores(b, replicates, seed) - bootstrap_scores(a, replicates, seed)  # one seed: paired
    low, high = np.percentile(differences, [2.5, 97.5])
    value = float(a.lost.sum() - b.lost.sum())
    return Difference(value, float(low), float(high), float(np.mean(differences > 0)))


def main(labels: str, *folders: str) -> None:
    """Prints the table and the paired bootstrap."""
    read = [read_folders(labels, folder) for folder in folders]
    a, b = (figures_by_name(evaluate(one.labels, one.answers, one.scores)) for one in read)
    print(f"{'':18}{'A':>8}{'B':>8}{'B - A':>8}")
    for name in a:
        print(f"{name:18}{a[name]:8.3f}{b[name]:8.3f}{b[name] - a[name]:+8.3f}")
    found = compare(*(rewards_of(one.labels, one.answers) for one in read))
    print(
        f"\nchallenge metric, B - A: {found.value:+.3f}, 95 % interval {found.low:+.3f} to {found.high:+.3f}"
        f" ({REPLICATES} paired bootstrap samples of {len(read[0].headers)} recordings, seed {SEED});"
        f" B is better in {100 * found.above:.1f} % of them"
    )


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m studies.compare LABELS OUTPUTS_A OUTPUTS_B")
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"studies.compare: {error}")
