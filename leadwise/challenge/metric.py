"""Compute the Challenge's metrics (2020) from labels, answers (predicted labels) and scores (probabilities)."""

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
    """Hold the Challenge's metrics of a set of recordings.

    Attributes
    ----------
    auroc, auprc, f_measure, f_beta, g_beta : float
        Means over the classes in which they are defined; NaN if there is none. Beta is 2.
    accuracy : float
        Share of recordings with all 24 labels right.
    challenge_metric : float
        Normalised reward: 1 for the correct labels, 0 for sinus rhythm in every recording.
    class_auroc, class_auprc, class_f_measure, class_f_beta, class_g_beta : ndarray, (24,)
        Values by class in the order of `CODES`, NaN where undefined.
    """

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
    """Compute all metrics from labels, answers (bool) and scores (NaN counts as 0), each (recordings, 24).
    Raises ValueError if the shapes differ, are not (recordings, 24), or have no recording."""
    labels, answers = _check(labels), _check(answers)
    scores = np.asarray(scores, dtype=np.float64)
    if not labels.shape == answers.shape == scores.shape:
        raise ValueError(f"labels {labels.shape}, answers {answers.shape} and scores {scores.shape} differ in shape")
    auroc, auprc = areas_under_curves(labels, scores)
    # F-beta and G-beta weight a recording by 1 / its number of labels.
    weights = np.stack([np.ones(len(labels)), 1 / np.maximum(count_classes(labels), 1)])
    tp, fp, fn = _confusion(labels, answers, weights)
    f_measure = _ratio(2 * tp[0], 2 * tp[0] + fp[0] + fn[0])
    f_beta = _ratio((1 + BETA**2) * tp[1], (1 + BETA**2) * tp[1] + fp[1] + BETA**2 * fn[1])
    g_beta = _ratio(tp[1], tp[1] + fp[1] + BETA * fn[1])
    areas, measures = (_macro(auroc), _macro(auprc)), (_macro(f_measure), _macro(f_beta), _macro(g_beta))
    accuracy = float(np.mean(count_classes(labels != answers) == 0))
    metric = challenge_metric(labels, answers)
    return Scores(*areas, accuracy, *measures, metric, auroc, auprc, f_measure, f_beta, g_beta)


def challenge_metric(labels: ArrayLike, answers: ArrayLike, rewards: Floats = REWARDS) -> float:
    """Compute the normalised reward of answers (recordings, 24): 1 for the labels, 0 for sinus rhythm every time, 0
    also if these two earn the same. NaN rewards are left out. Raises ValueError as `evaluate` does."""
    labels, answers = _check(labels), _check(answers)
    if labels.shape != answers.shape:
        raise ValueError(f"labels {labels.shape} and answers {answers.shape} differ in shape")
    sums = []
    for block in blocks(len(labels)):
        earned = earned_rewards(labels[block], rewards)
        sums.append((reward_sum(labels[block], answers[block], earned), *reward_bounds(labels[block], earned)))
    return normalise_reward(*(sum(parts) for parts in zip(*sums, strict=True)))


def earned_rewards(labels: Booleans, rewards: Floats = REWARDS) -> Floats:
    """Return the reward of answering each class in each recording, (recordings, 24), before division."""
    return np.asarray(labels @ np.where(np.isnan(rewards), 0, rewards))


def reward_sum(labels: Booleans, answers: Booleans, earned: Floats) -> float:
    """Sum the rewards of answers, each recording's divided by the number of classes in its labels or answers."""
    reward = np.einsum("rk,rk->r", earned, answers)
    return float(np.sum(reward / np.maximum(count_classes(labels | answers), 1)))


def reward_bounds(labels: Booleans, earned: Floats) -> tuple[float, float]:
    """Return the reward sums that the metric maps to 0 and 1: sinus rhythm everywhere, and the labels themselves."""
    sinus_alone = earned[:, SINUS_RHYTHM] / (count_classes(labels) + ~labels[:, SINUS_RHYTHM])
    return float(np.sum(sinus_alone)), reward_sum(labels, labels, earned)


def normalise_reward(reward: float, inactive: float, correct: float) -> float:
    """Scale a reward sum linearly so that `inactive` becomes 0 and `correct` 1; return 0 if these are equal."""
    # They are equal only if every label is sinus rhythm or none; both are whole numbers then, so == is exact.
    return (reward - inactive) / (correct - inactive) if correct != inactive else 0.0


def areas_under_curves(labels: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """Compute AUROC and AUPRC, (classes,) each, of scores (recordings, classes), in which NaN counts as 0.
    Both are NaN if the class has no positive, AUROC also if it has no negative."""
    # Contiguous by class: selecting and sorting columns in place takes three times as long.
    rows = np.empty(scores.shape[::-1])  # (classes, recordings)
    for block in blocks(len(scores)):
        rows[:, block] = scores[block].T
    rows[np.isnan(rows)] = 0
    positives = [np.sort(row[y]) for row, y in zip(rows, np.ascontiguousarray(labels.T), strict=True)]
    rows.sort(axis=1)
    areas = np.array([_areas(found, row) for found, row in zip(positives, rows, strict=True)]).reshape(-1, 2)
    return areas[:, 0], areas[:, 1]


def _areas(positives: Floats, scores: Floats) -> tuple[float, float]:
    """Compute AUROC (trapezoids) and AUPRC (right-hand steps) from the sorted scores of the positives and of all.
    Both are sums over the steps of recall, which rises only at scores of positives."""
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
    # Integers until the one division, so that the trapezoids add up without rounding.
    return int(np.sum(steps * (rejected + rejected_above))) / (2 * len(positives) * negatives), auprc


def _check(values: ArrayLike) -> Booleans:
    """Return labels or answers as bool; raise ValueError unless they are (recordings, 24) with a recording."""
    array = np.asarray(values, dtype=np.bool_)
    if array.ndim != 2 or array.shape[1] != len(CODES):
        raise ValueError(f"expected (recordings, {len(CODES)}), got {array.shape}")
    if len(array) == 0:
        raise ValueError("no recordings to evaluate")
    return array


def count_classes(values: Booleans) -> NDArray[np.int64]:
    """Count the classes that are on in each recording, (recordings,)."""
    # 24 at most fit in a byte, which makes this several times as fast as `sum`.
    return np.asarray(np.einsum("rk->r", values.view(np.uint8)), dtype=np.int64)


def _confusion(labels: Booleans, answers: Booleans, weights: Floats) -> Floats:
    """Sum weighted true positives, false positives and false negatives: weights (w, recordings), result (3, w, 24)."""
    sums = np.zeros((3, len(weights), labels.shape[1]))
    for block in blocks(len(labels)):
        y, s, w = labels[block], answers[block], weights[:, block]
        sums += w @ np.stack([y & s, ~y & s, y & ~s])
    return sums


def blocks(recordings: int, size: int = 1024) -> list[slice]:
    """Return slices of up to `size` recordings; the float copies of 1024 fit in the processor's cache."""
    return [slice(start, start + size) for start in range(0, recordings, size)]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def _macro(values: Floats) -> float:
    """Return the mean over the classes that have a value; NaN if none has."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
