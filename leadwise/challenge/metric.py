"""Every figure of the evaluator, from arrays of labels, answers and scores (recordings, 24).

The definitions are those of the Challenge's evaluation (2020). Whatever is counted is counted with whole arrays: sums
over recordings are matrix products, curves come from one sort per class. This file knows no files, no thresholds and no
tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadwise.challenge.classes import CODES, REWARDS, SINUS_RHYTHM

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]

BETA = 2.0  # of F-beta and G-beta: a missed diagnosis counts more than a false one


@dataclass(frozen=True, eq=False)
class Scores:
    """The seven figures of the evaluator, and those that exist class by class, each (24,) with NaN where undefined."""

    auroc: float
    auprc: float
    accuracy: float
    f_measure: float
    f_beta: float
    g_beta: float
    challenge_metric: float
    class_auroc: Floats
    class_auprc: Floats
    class_f_measure: Floats
    class_f_beta: Floats
    class_g_beta: Floats


def evaluate(labels: ArrayLike, answers: ArrayLike, scores: ArrayLike) -> Scores:
    """All figures for labels, answers (bool) and scores (probabilities), each (recordings, 24).

    A NaN score counts as 0. Raises ValueError where the shapes differ, are not (recordings, 24), or have no recording.
    """
    labels, answers = _classes_of(labels), _classes_of(answers)
    scores = np.asarray(scores, dtype=np.float64)
    if not labels.shape == answers.shape == scores.shape:
        raise ValueError(f"labels {labels.shape}, answers {answers.shape} and scores {scores.shape} differ in shape")
    auroc, auprc = areas_under_curves(labels, scores)
    # F-beta and G-beta: a recording with many labels must not weigh more than one with a single label.
    weights = np.stack([np.ones(len(labels)), 1 / np.maximum(count_classes(labels), 1)])
    tp, fp, fn = _confusion(labels, answers, weights)
    f_measure = _ratio(2 * tp[0], 2 * tp[0] + fp[0] + fn[0])
    f_beta = _ratio((1 + BETA**2) * tp[1], (1 + BETA**2) * tp[1] + fp[1] + BETA**2 * fn[1])
    g_beta = _ratio(tp[1], tp[1] + fp[1] + BETA * fn[1])
    return Scores(
        auroc=_macro(auroc),
        auprc=_macro(auprc),
        accuracy=float(np.mean(count_classes(labels != answers) == 0)),
        f_measure=_macro(f_measure),
        f_beta=_macro(f_beta),
        g_beta=_macro(g_beta),
        challenge_metric=challenge_metric(labels, answers),
        class_auroc=auroc,
        class_auprc=auprc,
        class_f_measure=f_measure,
        class_f_beta=f_beta,
        class_g_beta=g_beta,
    )


# The challenge metric ---------------------------------------------------------------------------------------


def challenge_metric(labels: ArrayLike, answers: ArrayLike, rewards: Floats = REWARDS) -> float:
    """The normalised score of answers (recordings, 24): 1 for the labels themselves, 0 for sinus rhythm every time.

    0 also where those two earn the same. NaN rewards are left out. Raises ValueError as `evaluate` does.
    """
    labels, answers = _classes_of(labels), _classes_of(answers)
    if labels.shape != answers.shape:
        raise ValueError(f"labels {labels.shape} and answers {answers.shape} differ in shape")
    rewards_of_blocks = [_rewards(labels[block], answers[block], rewards) for block in _blocks(len(labels))]
    return normalise_reward(*(sum(parts) for parts in zip(*rewards_of_blocks, strict=True)))


def _rewards(labels: Booleans, answers: Booleans, rewards: Floats) -> tuple[float, float, float]:
    """The reward sums of the answers, of sinus rhythm alone, and of the labels."""
    earned = earned_rewards(labels, rewards)
    return reward_sum(labels, answers, earned), *reward_bounds(labels, earned)


def earned_rewards(labels: Booleans, rewards: Floats = REWARDS) -> Floats:
    """What answering each class would earn in each recording, (recordings, 24), before it is shared."""
    return np.asarray(labels @ np.where(np.isnan(rewards), 0, rewards))


def reward_sum(labels: Booleans, answers: Booleans, earned: Floats) -> float:
    """The metric before normalisation: what answers earn, each recording's over the number of its labels or answers."""
    reward = np.einsum("rk,rk->r", earned, answers)
    return float(np.sum(reward / np.maximum(count_classes(labels | answers), 1)))


def reward_bounds(labels: Booleans, earned: Floats) -> tuple[float, float]:
    """What sinus rhythm alone earns for every recording, and what the labels themselves earn: the metric's 0 and 1."""
    alone = earned[:, SINUS_RHYTHM] / (count_classes(labels) + ~labels[:, SINUS_RHYTHM])
    return float(np.sum(alone)), reward_sum(labels, labels, earned)


def normalise_reward(reward: float, inactive: float, correct: float) -> float:
    """A reward sum on the scale on which `inactive` is 0 and `correct` is 1; 0 where the two are equal."""
    # Both are whole numbers where every label is sinus rhythm or none, so that equality is exact where it can occur.
    return (reward - inactive) / (correct - inactive) if correct != inactive else 0.0


# Curves -----------------------------------------------------------------------------------------------------


def areas_under_curves(labels: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """AUROC and AUPRC, (classes,) each, for labels and scores (recordings, classes); NaN scores count as 0.

    NaN where the class has no positive; AUROC also where it has no negative.
    """
    # Class by class in memory: picking and sorting columns in place takes three times as long.
    rows = np.empty(scores.shape[::-1])  # (classes, recordings)
    for block in _blocks(len(scores)):
        rows[:, block] = scores[block].T
    rows[np.isnan(rows)] = 0
    positives = [np.sort(row[y]) for row, y in zip(rows, np.ascontiguousarray(labels.T), strict=True)]
    rows.sort(axis=1)
    areas = [_areas(found, row) for found, row in zip(positives, rows, strict=True)]
    return np.array([auroc for auroc, _ in areas]), np.array([auprc for _, auprc in areas])


def _areas(positives: Floats, scores: Floats) -> tuple[float, float]:
    """AUROC (trapezoids) and AUPRC (steps, to their right end) from sorted scores: those of positives, and all.

    Both are sums over the steps of recall. Recall rises at the scores of positives alone: no other is looked at.
    """
    negatives = len(scores) - len(positives)
    if len(positives) == 0:
        return float("nan"), float("nan")
    starts = np.flatnonzero(np.append(True, positives[1:] != positives[:-1]))  # the first of equal scores
    values, steps = positives[starts], np.diff(starts, append=len(positives))
    below = np.searchsorted(scores, values, side="left")  # answered 0 when this score is the threshold
    auprc = float(np.sum(steps * ((len(positives) - starts) / (len(scores) - below)))) / len(positives)
    if negatives == 0:
        return float("nan"), auprc
    rejected = below - starts  # true negatives, and those one threshold higher:
    rejected_above = np.searchsorted(scores, values, side="right") - (starts + steps)
    # Whole numbers until the one division, so that the trapezoids add up without rounding.
    return int(np.sum(steps * (rejected + rejected_above))) / (2 * len(positives) * negatives), auprc


# Counts -----------------------------------------------------------------------------------------------------


def _classes_of(values: ArrayLike) -> Booleans:
    """Labels or answers as bool (recordings, 24); ValueError for any other shape and where there is no recording."""
    array = np.asarray(values, dtype=np.bool_)
    if array.ndim != 2 or array.shape[1] != len(CODES):
        raise ValueError(f"expected (recordings, {len(CODES)}), got {array.shape}")
    if len(array) == 0:
        raise ValueError("no recordings to evaluate")
    return array


def count_classes(values: Booleans) -> NDArray[np.int64]:
    """The number of classes that are on in each recording, (recordings,)."""
    # 24 at most fit in a byte, which makes this several times as fast as `sum`.
    return np.asarray(np.einsum("rk->r", values.view(np.uint8)), dtype=np.int64)


def _confusion(labels: Booleans, answers: Booleans, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """True and false positives and false negatives, (weightings, 24), for weights (weightings, recordings)."""
    tp, fp, fn = np.zeros((3, len(weights), labels.shape[1]))
    for block in _blocks(len(labels)):
        y, s, w = labels[block], answers[block], weights[:, block]
        tp += w @ (y & s)
        fp += w @ (~y & s)
        fn += w @ (y & ~s)
    return tp, fp, fn


def _blocks(recordings: int) -> list[slice]:
    """Slices of up to 1024 recordings: their float copies stay in the processor's cache."""
    return [slice(start, start + 1024) for start in range(0, recordings, 1024)]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element by element; NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def _macro(values: Floats) -> float:
    """The mean over the classes that have a value; NaN where none has."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
