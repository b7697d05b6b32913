"""Every figure of the evaluator, from arrays of labels, answers and scores (recordings, 24).

The definitions are those of the Challenge's evaluation (2020). Whatever is counted is counted with whole arrays: sums
over recordings are matrix products, curves come from one sort per class. This file knows no files, no thresholds and no
tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadwise.classes import CODES, REWARDS, SINUS_RHYTHM

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

    A NaN score counts as 0. Raises ValueError where the shapes differ or there is no recording.
    """
    labels, answers = _classes_of(labels), _classes_of(answers)
    scores = np.asarray(scores, dtype=np.float64)
    if not labels.shape == answers.shape == scores.shape:
        raise ValueError(f"labels {labels.shape}, answers {answers.shape} and scores {scores.shape} differ in shape")
    if len(labels) == 0:
        raise ValueError("no recordings to evaluate")
    auroc, auprc = areas_under_curves(labels, scores)
    f_measure = _f_measure(*_confusion(labels, answers, np.ones(len(labels))))
    # A recording with many labels must not weigh more than one with a single label.
    f_beta, g_beta = _beta_measures(*_confusion(labels, answers, 1 / np.maximum(labels.sum(axis=1), 1)))
    return Scores(
        auroc=_macro(auroc),
        auprc=_macro(auprc),
        accuracy=float(np.mean((labels == answers).all(axis=1))),
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

    0 also where those two earn the same. NaN rewards are left out. Raises ValueError where the shapes differ.
    """
    labels, answers = _classes_of(labels), _classes_of(answers)
    if labels.shape != answers.shape:
        raise ValueError(f"labels {labels.shape} and answers {answers.shape} differ in shape")
    return normalise_reward(reward_sum(labels, answers, rewards), *reward_bounds(labels, rewards))


def reward_sum(labels: Booleans, answers: Booleans, rewards: Floats = REWARDS) -> float:
    """The sum of rewards before normalisation: each recording spreads 1 over the union of its labels and answers."""
    union = np.maximum((labels | answers).sum(axis=1, keepdims=True), 1)
    confusion = (labels / union).T @ answers.astype(np.float64)  # (24, 24), labels x answers
    return float(np.nansum(rewards * confusion))


def reward_bounds(labels: Booleans, rewards: Floats = REWARDS) -> tuple[float, float]:
    """What sinus rhythm alone earns for every recording, and what the labels themselves earn: the metric's 0 and 1."""
    inactive = np.zeros_like(labels)
    inactive[:, SINUS_RHYTHM] = True
    return reward_sum(labels, inactive, rewards), reward_sum(labels, labels, rewards)


def normalise_reward(reward: float, inactive: float, correct: float) -> float:
    """A reward sum on the scale on which `inactive` is 0 and `correct` is 1; 0 where the two are equal."""
    # Both are whole numbers where every label is sinus rhythm or none, so that equality is exact where it can occur.
    return (reward - inactive) / (correct - inactive) if correct != inactive else 0.0


# Curves -----------------------------------------------------------------------------------------------------


def areas_under_curves(labels: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """AUROC and AUPRC, (classes,) each, for labels and scores (recordings, classes); NaN scores count as 0.

    NaN where the class has no positive; AUROC also where it has no negative.
    """
    scores = np.where(np.isnan(scores), 0.0, scores)
    areas = [_areas(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
    return np.array([area[0] for area in areas]), np.array([area[1] for area in areas])


def _areas(labels: Booleans, scores: Floats) -> tuple[float, float]:
    """AUROC (trapezoids) and AUPRC (steps to the right end) of one class, (recordings,) each."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0:
        return float("nan"), float("nan")
    order = np.argsort(-scores)
    descending = scores[order]
    ends = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(scores) - 1)  # last of each distinct score
    above = np.cumsum(labels[order])[ends]  # true positives when the threshold is that score
    gained = np.diff(above, prepend=0)
    auprc = float(np.sum(gained * (above / (ends + 1)))) / positives
    if negatives == 0:
        return float("nan"), auprc
    # Counts stay whole numbers until the one division, so the trapezoids add up without rounding.
    rejected = negatives - (ends + 1 - above)  # true negatives
    auroc = int(np.sum(gained * (rejected + np.append(negatives, rejected[:-1])))) / (2 * positives * negatives)
    return auroc, auprc


# Counts -----------------------------------------------------------------------------------------------------


def _classes_of(values: ArrayLike) -> Booleans:
    """Labels or answers as bool (recordings, 24); ValueError for any other shape."""
    array = np.asarray(values, dtype=np.bool_)
    if array.ndim != 2 or array.shape[1] != len(CODES):
        raise ValueError(f"expected (recordings, {len(CODES)}), got {array.shape}")
    return array


def _confusion(labels: Booleans, answers: Booleans, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """True positives, false positives and false negatives of each class, (24,) each, recordings weighted."""
    return weights @ (labels & answers), weights @ (~labels & answers), weights @ (labels & ~answers)


def _f_measure(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _beta_measures(tp: Floats, fp: Floats, fn: Floats) -> tuple[Floats, Floats]:
    """F-beta and G-beta of each class."""
    f_beta = _ratio((1 + BETA**2) * tp, (1 + BETA**2) * tp + fp + BETA**2 * fn)
    return f_beta, _ratio(tp, tp + fp + BETA * fn)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element by element; NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def _macro(values: Floats) -> float:
    """The mean over the classes that have a value; NaN where none has."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
