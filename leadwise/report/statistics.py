"""What the report says in numbers, beyond the evaluator's figures: where the reward went, how sure the score is.

Arrays of labels, answers and scores (recordings, 24) in, arrays out; counted with whole arrays. Knows no files and no
pictures.
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
AT_ONCE = 1 << 21  # drawn recordings in memory


@dataclass(frozen=True, eq=False)
class Rewards:
    """What each recording earns before normalisation, (recordings,): by its answers, by sinus rhythm, by its labels."""

    answers: Floats
    inactive: Floats
    correct: Floats

    @property
    def lost(self) -> Floats:
        """What each recording costs, on the scale of the challenge metric: the sum is 1 - score."""
        scale = float(np.sum(self.correct - self.inactive))
        return (self.correct - self.answers) / scale if scale else np.zeros_like(self.answers)


def rewards_of(labels: Booleans, answers: Booleans) -> Rewards:
    """The challenge metric's three reward sums, recording by recording."""
    earned = earned_rewards(labels)
    alone = earned[:, SINUS_RHYTHM] / (count_classes(labels) + ~labels[:, SINUS_RHYTHM])
    mine = np.einsum("rk,rk->r", earned, answers) / np.maximum(count_classes(labels | answers), 1)
    right = np.einsum("rk,rk->r", earned, labels) / np.maximum(count_classes(labels), 1)
    return Rewards(mine, alone, right)


def bootstrap_interval(rewards: Rewards, replicates: int = REPLICATES, seed: int = SEED) -> tuple[float, float]:
    """The 95 % interval of the challenge metric by percentiles over recordings drawn with replacement."""
    low, high = np.percentile(bootstrap_scores(rewards, replicates, seed), [2.5, 97.5])
    return float(low), float(high)


def bootstrap_scores(rewards: Rewards, replicates: int = REPLICATES, seed: int = SEED) -> Floats:
    """The challenge metric of recordings drawn with replacement, (replicates,); the same seed draws the same ones."""
    parts = np.stack([rewards.answers - rewards.inactive, rewards.correct - rewards.inactive])  # (2, recordings)
    random, recordings = np.random.default_rng(seed), parts.shape[1]
    some = max(1, AT_ONCE // recordings)
    sums = [
        parts[:, random.integers(recordings, size=(min(some, replicates - done), recordings))].sum(axis=2)
        for done in range(0, replicates, some)
    ]
    earned, possible = np.concatenate(sums, axis=1)
    return np.asarray(np.divide(earned, possible, out=np.zeros_like(earned), where=possible != 0))


@dataclass(frozen=True, eq=False)
class Confusion:
    """Missed labels against wrong answers, (25, 25) each; the last row and column stand for *none*.

    A recording in which labels were missed and others answered counts in each of their pairs; its loss is shared
    equally among them. Where nothing was missed the row is the last, where nothing wrong was answered the column.
    """

    counts: NDArray[np.int64]
    lost: Floats  # on the scale of the challenge metric; the sum is 1 - score


def confusion_of(labels: Booleans, answers: Booleans, lost: Floats) -> Confusion:
    """Who is taken for whom, and what that costs; `lost` (recordings,) as `Rewards.lost`."""
    missed, wrong = _with_none(labels & ~answers), _with_none(answers & ~labels)
    failed = (labels != answers).any(axis=1)[:, None]
    counts = (missed & failed).T.astype(np.int64) @ (wrong & failed).astype(np.int64)
    shares = [side / side.sum(axis=1, keepdims=True) for side in (missed, wrong)]
    return Confusion(counts, np.asarray((shares[0] * lost[:, None]).T @ shares[1]))


def _with_none(errors: Booleans) -> Booleans:
    """A last column that is on where no other is."""
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
        """NaN where the class never occurs."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Floats:
        """NaN where it always does."""
        return _share(self.tn, self.tn + self.fp)


def class_counts(labels: Booleans, answers: Booleans) -> ClassCounts:
    """The counts of each class."""
    pairs = ((labels, answers), (~labels, answers), (labels, ~answers), (~labels, ~answers))
    return ClassCounts(*((first & second).sum(axis=0) for first, second in pairs))


def macro_rates(labels: Booleans, answers: Booleans) -> tuple[float, float]:
    """Return the sensitivity and the specificity of the labels, each the mean over the classes that have one; NaN where
    none has."""
    counts = class_counts(labels, answers)
    rates = [each[np.isfinite(each)] for each in (counts.sensitivity, counts.specificity)]
    sensitivity, specificity = (float(each.mean()) if len(each) else float("nan") for each in rates)
    return sensitivity, specificity


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ten bins of equal width of each class's scores, (24, 10) each: recordings, mean score, share with the label."""

    counts: NDArray[np.int64]
    mean_score: Floats  # NaN where a bin is empty
    frequency: Floats  # NaN where a bin is empty


def calibration_of(labels: Booleans, scores: Floats, bins: int = 10) -> Calibration:
    """How often a diagnosis is there when its score says so; scores beyond [0, 1] count in the outer bins."""
    classes = labels.shape[1]
    place = np.clip((scores * bins).astype(np.int64), 0, bins - 1) + bins * np.arange(classes)
    counts, totals, hits = (
        np.bincount(place.ravel(), weights, classes * bins).reshape(classes, bins)
        for weights in (None, scores.ravel(), labels.ravel())
    )
    return Calibration(counts.astype(np.int64), _share(totals, counts), _share(hits, counts))


def _share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Floats:
    """Element by element; NaN where the whole is 0."""
    shares = np.full(part.shape, np.nan)
    return np.asarray(np.divide(part, whole, out=shares, where=np.asarray(whole != 0)))
