"""Compute the report's statistics: lost reward, bootstrap intervals, confusion, class counts, calibration.

Labels and answers (the predicted labels) are bool arrays (recordings, 24), scores float arrays of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import SINUS_RHYTHM
from leadwise.challenge.metric import count_classes, earned_rewards

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]

REPLICATES, SEED = 2000, 2020  # of the bootstrap
BLOCK = 1 << 21  # bootstrap draws in memory at once


@dataclass(frozen=True, eq=False)
class Rewards:
    """Rewards of each recording before normalisation, (recordings,): of its answers, of sinus rhythm, of its labels."""

    answers: Floats
    inactive: Floats
    correct: Floats

    @property
    def lost(self) -> Floats:
        """Return each recording's loss on the scale of the challenge metric; the losses sum to 1 - score."""
        scale = float(np.sum(self.correct - self.inactive))
        return (self.correct - self.answers) / scale if scale else np.zeros_like(self.answers)


def rewards_of(labels: Booleans, answers: Booleans) -> Rewards:
    """Return the three reward sums of the challenge metric, recording by recording."""
    earned = earned_rewards(labels)
    inactive = earned[:, SINUS_RHYTHM] / (count_classes(labels) + ~labels[:, SINUS_RHYTHM])
    of_answers = np.einsum("rk,rk->r", earned, answers) / np.maximum(count_classes(labels | answers), 1)
    correct = np.einsum("rk,rk->r", earned, labels) / np.maximum(count_classes(labels), 1)
    return Rewards(of_answers, inactive, correct)


def bootstrap_interval(rewards: Rewards, replicates: int = REPLICATES, seed: int = SEED) -> tuple[float, float]:
    """Return the 95 % percentile interval of the challenge metric over bootstrap samples of the recordings."""
    low, high = np.percentile(bootstrap_scores(rewards, replicates, seed), [2.5, 97.5])
    return float(low), float(high)


def bootstrap_scores(rewards: Rewards, replicates: int = REPLICATES, seed: int = SEED) -> Floats:
    """Return the challenge metric of bootstrap samples, (replicates,); the same seed draws the same samples."""
    gains = np.stack([rewards.answers - rewards.inactive, rewards.correct - rewards.inactive])  # (2, recordings)
    random, recordings = np.random.default_rng(seed), gains.shape[1]
    size = max(1, BLOCK // recordings)
    sums = [
        gains[:, random.integers(recordings, size=(min(size, replicates - done), recordings))].sum(axis=2)
        for done in range(0, replicates, size)
    ]
    earned, possible = np.concatenate(sums, axis=1)
    return np.asarray(np.divide(earned, possible, out=np.zeros_like(earned), where=possible != 0))


@dataclass(frozen=True, eq=False)
class Confusion:
    """Missed labels (rows) against wrong answers (columns), (25, 25) each; the last row and column stand for *none*.

    A recording counts in each pair of a missed label and a wrong answer; its loss is shared equally among the pairs.
    """

    counts: NDArray[np.int64]
    lost: Floats  # on the scale of the challenge metric; the sum is 1 - score


def confusion_of(labels: Booleans, answers: Booleans, lost: Floats) -> Confusion:
    """Return which classes are confused, and the score that this costs; `lost` (recordings,) is `Rewards.lost`."""
    missed, wrong = _with_none(labels & ~answers), _with_none(answers & ~labels)
    failed = (labels != answers).any(axis=1)[:, None]
    counts = (missed & failed).T.astype(np.int64) @ (wrong & failed).astype(np.int64)
    shares = [side / side.sum(axis=1, keepdims=True) for side in (missed, wrong)]
    return Confusion(counts, np.asarray((shares[0] * lost[:, None]).T @ shares[1]))


def _with_none(errors: Booleans) -> Booleans:
    """Append a column that is true where no other is."""
    return np.concatenate([errors, ~errors.any(axis=1, keepdims=True)], axis=1)


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """True and false positives and negatives of each class, (24,)."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]

    @property
    def sensitivity(self) -> Floats:
        """Return the sensitivity of each class; NaN if no recording has the class."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Floats:
        """Return the specificity of each class; NaN if all recordings have the class."""
        return _share(self.tn, self.tn + self.fp)


def class_counts(labels: Booleans, answers: Booleans) -> ClassCounts:
    """Count true and false positives and negatives of each class."""
    pairs = ((labels, answers), (~labels, answers), (labels, ~answers), (~labels, ~answers))
    return ClassCounts(*((first & second).sum(axis=0) for first, second in pairs))


def macro_rates(labels: Booleans, answers: Booleans) -> tuple[float, float]:
    """Return sensitivity and specificity, each the mean over the classes that have one; NaN if none has."""
    counts = class_counts(labels, answers)
    rates = [each[np.isfinite(each)] for each in (counts.sensitivity, counts.specificity)]
    sensitivity, specificity = (float(each.mean()) if len(each) else float("nan") for each in rates)
    return sensitivity, specificity


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ten bins of equal width of each class's scores, (24, 10) each; means and frequencies of empty bins are NaN."""

    counts: NDArray[np.int64]  # recordings
    mean_score: Floats
    frequency: Floats  # share of the bin's recordings that have the label


def calibration_of(labels: Booleans, scores: Floats, bins: int = 10) -> Calibration:
    """Return how often a diagnosis is present, by its score; scores outside [0, 1] count in the outer bins."""
    classes = labels.shape[1]
    place = np.clip((scores * bins).astype(np.int64), 0, bins - 1) + bins * np.arange(classes)
    counts, totals, hits = (
        np.bincount(place.ravel(), weights, classes * bins).reshape(classes, bins)
        for weights in (None, scores.ravel(), labels.ravel())
    )
    return Calibration(counts.astype(np.int64), _share(totals, counts), _share(hits, counts))


def _share(part: NDArray[np.generic], total: NDArray[np.generic]) -> Floats:
    shares = np.full(part.shape, np.nan)
    return np.asarray(np.divide(part, total, out=shares, where=np.asarray(total != 0)))
