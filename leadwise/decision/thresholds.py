"""Probabilities become labels: thresholds by the published two-step search, and the vote of an ensemble.

The search maximises the challenge metric on the probabilities of a validation part (Zhao et al. 2020, section 2.4). The
most probable class of a recording is always on, in the search as in every answer (the authors' released program). This
file knows no files, no networks and no tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import (
    challenge_metric,
    count_classes,
    earned_rewards,
    normalise_reward,
    reward_bounds,
    reward_sum,
)
from leadwise.recipes import DecisionRecipe

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]

PUBLISHED = DecisionRecipe()
TIE = 1e-12  # normalised scores this near to the best count as equal: sums in another order differ by 1e-15 or so


@dataclass(frozen=True, eq=False)
class ThresholdSearch:
    """What the search found: thresholds (24,), the common threshold of step 1, and three challenge metrics."""

    thresholds: Floats
    common: float
    score_fixed: float  # every threshold 0.5
    score_common: float  # after step 1
    score_class: float  # after both steps


def apply_thresholds(probabilities: ArrayLike, thresholds: ArrayLike) -> Booleans:
    """Labels (recordings, 24): probability >= threshold, and the most probable class (the first of equals) always.

    `thresholds` is one number or (24,). A NaN probability is never on, unless all 24 are NaN.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    return (probabilities >= np.asarray(thresholds)) | _most_probable(probabilities)


def vote(answers: ArrayLike) -> Booleans:
    """Labels (recordings, 24) of an ensemble's answers (networks, recordings, 24), bool.

    A class is on where at least half of the networks say so; the one with most votes (the first of equals) always is.
    """
    answers = np.asarray(answers, dtype=np.bool_)
    votes = answers.sum(axis=0)  # (recordings, 24)
    return np.asarray(2 * votes >= len(answers)) | _most_probable(votes)


def search_thresholds(
    labels: ArrayLike, probabilities: ArrayLike, recipe: DecisionRecipe = PUBLISHED
) -> ThresholdSearch:
    """The thresholds (24,) that the two-step search finds for labels and probabilities (recordings, 24).

    Step 1 tries one threshold for all classes, i / common_steps; step 2 goes once through the classes and tries
    i / class_steps for each, the others fixed. Of candidates that score alike (normalised, within 1e-12) the nearest to
    the present threshold is taken, the lower one of two: present is 0.5 in step 1, the common threshold in step 2.
    Raises ValueError where the shapes differ or a probability is not in [0, 1].
    """
    labels = np.asarray(labels, dtype=np.bool_)
    probabilities = _checked(labels, np.asarray(probabilities, dtype=np.float64))
    earned = earned_rewards(labels)
    part = _Part(labels, probabilities, _most_probable(probabilities), earned, *reward_bounds(labels, earned))
    common = _common_threshold(part, _candidates(recipe.common_steps))
    thresholds = _class_thresholds(part, _candidates(recipe.class_steps), common)
    return ThresholdSearch(
        thresholds=thresholds,
        common=common,
        score_fixed=challenge_metric(labels, apply_thresholds(probabilities, 0.5)),
        score_common=challenge_metric(labels, apply_thresholds(probabilities, common)),
        score_class=challenge_metric(labels, apply_thresholds(probabilities, thresholds)),
    )


def threshold_curves(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, steps: int = 100) -> Floats:
    """The challenge metric (24, steps + 1) with each class's threshold at 0, 1/steps, ..., 1 and all others fixed.

    Labels and probabilities are (recordings, 24), `thresholds` (24,) are the fixed ones. Raises ValueError as
    `search_thresholds` does.
    """
    labels = np.asarray(labels, dtype=np.bool_)
    probabilities = _checked(labels, np.asarray(probabilities, dtype=np.float64))
    earned = earned_rewards(labels)
    part = _Part(labels, probabilities, _most_probable(probabilities), earned, *reward_bounds(labels, earned))
    answers = (probabilities >= np.asarray(thresholds)) | part.always
    curves = np.empty((len(CODES), steps + 1))
    for k in range(len(CODES)):
        others = answers & (np.arange(len(CODES)) != k)
        rewards = _rewards_of_candidates(part, others, k, _candidates(steps))
        curves[k] = [normalise_reward(float(reward), part.inactive, part.correct) for reward in rewards]
    return curves


@dataclass(frozen=True, eq=False)
class _Part:
    """A validation part as the search sees it; arrays are (recordings, 24)."""

    labels: Booleans
    probabilities: Floats
    always: Booleans  # the most probable class
    earned: Floats  # what answering a class earns, before it is shared
    inactive: float  # the reward sums that the metric calls 0 ...
    correct: float  # ... and 1


def _common_threshold(part: _Part, candidates: Floats) -> float:
    """Step 1: the best threshold for all classes at once."""
    answers = (part.probabilities >= candidate for candidate in candidates)
    rewards = [reward_sum(part.labels, answer | part.always, part.earned) for answer in answers]
    return _best_candidate(part, candidates, np.array(rewards), present=0.5)


def _class_thresholds(part: _Part, candidates: Floats, common: float) -> Floats:
    """Step 2: the best threshold of each class in turn, (24,), the earlier classes already at theirs."""
    thresholds = np.full(len(CODES), common)
    answers = (part.probabilities >= thresholds) | part.always
    for k in range(len(CODES)):
        answers[:, k] = False  # now those of the other classes
        rewards = _rewards_of_candidates(part, answers, k, candidates)
        thresholds[k] = _best_candidate(part, candidates, rewards, present=common)
        answers[:, k] = (part.probabilities[:, k] >= thresholds[k]) | part.always[:, k]
    return thresholds


def _rewards_of_candidates(part: _Part, others: Booleans, k: int, candidates: Floats) -> Floats:
    """The reward sum for each candidate threshold of class k, (candidates,), beside the other classes' answers."""
    reward = np.einsum("rk,rk->r", part.earned, others)
    union = count_classes(part.labels | others)  # has class k already where it is a label
    off = reward / np.maximum(union, 1)
    on = (reward + part.earned[:, k]) / (union + ~part.labels[:, k])
    always = part.always[:, k]
    base = float(np.sum(np.where(always, on, off)))
    # A lower threshold turns recordings on in the order of their probability; those always on change nothing.
    order = np.argsort(-part.probabilities[:, k])
    gains = np.where(always, 0.0, on - off)[order]
    reached = np.searchsorted(
        -part.probabilities[order, k], -candidates, side="right"
    )  # recordings with p >= candidate
    return base + np.concatenate([[0.0], np.cumsum(gains)])[reached]


def _best_candidate(part: _Part, candidates: Floats, rewards: Floats, present: float) -> float:
    """The candidate of the highest normalised score; of equals the nearest to `present`, the lower one of two."""
    scores = np.array([normalise_reward(float(reward), part.inactive, part.correct) for reward in rewards])
    best = candidates[scores >= scores.max() - TIE]
    # Rounded, for 0.3 and 0.7 are equally far from 0.5 but not in binary; argmin then takes the first, the lower one.
    return float(best[np.argmin(np.round(np.abs(best - present), 9))])


def _candidates(steps: int) -> Floats:
    """0, 1/steps, ..., 1."""
    return np.arange(steps + 1) / steps


def _most_probable(values: NDArray[np.floating] | NDArray[np.integer]) -> Booleans:
    """True at the largest value of each recording (the first of equals), else False; (recordings, 24)."""
    top = np.argmax(np.where(np.isnan(values), -np.inf, values), axis=1)
    return np.asarray(top[:, None] == np.arange(values.shape[1]))


def _checked(labels: Booleans, probabilities: Floats) -> Floats:
    if labels.shape != probabilities.shape or labels.shape[1:] != (len(CODES),):
        raise ValueError(
            f"labels {labels.shape} and probabilities {probabilities.shape} must both be (recordings, {len(CODES)})"
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    return probabilities


def best_constant_labels(labels: Booleans) -> Booleans:
    """The labels (24,) that earn the most when given for every recording: what to say when nothing is known.

    Built up greedily, one class at a time, on the labels (recordings, 24) of the training part; at least one class.
    """
    earned = earned_rewards(labels)
    answer = np.zeros(len(CODES), np.bool_)
    best = -np.inf
    while not answer.all():
        trials = [answer | (np.arange(len(CODES)) == k) for k in range(len(CODES))]
        rewards = [reward_sum(labels, np.broadcast_to(trial, labels.shape), earned) for trial in trials]
        if max(rewards) <= best:
            break
        best, answer = max(rewards), trials[int(np.argmax(rewards))]
    return answer
