"""Turn probabilities into labels by thresholds, search these in two steps, and combine networks by vote.

The search maximises the challenge metric on a validation set (Zhao et al. 2020, section 2.4). The most probable class
of a recording is always on, in the search as in every answer (the authors' released program).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadwise.challenge import metric
from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import Booleans, Floats
from leadwise.decision.calibration import in_unit_interval
from leadwise.recipes import DecisionRecipe

PUBLISHED = DecisionRecipe()
TIE = 1e-12  # normalised scores this close to the best count as equal: sums in another order differ by about 1e-15


@dataclass(frozen=True, eq=False)
class ThresholdSearch:
    """The result of a search: thresholds (24,), the common threshold of step 1, and three challenge metrics."""

    thresholds: Floats
    common: float
    score_fixed: float  # every threshold 0.5
    score_common: float  # after step 1
    score_class: float  # after both steps


def apply_thresholds(probabilities: ArrayLike, thresholds: ArrayLike) -> Booleans:
    """Return labels (recordings, 24): probability >= threshold, and always the most probable class (first of equals).
    `thresholds` is one number or (24,). A NaN probability is never on, unless all 24 are NaN."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    return (probabilities >= np.asarray(thresholds)) | _most_probable(probabilities)


def vote(answers: ArrayLike) -> Booleans:
    """Combine the answers (networks, recordings, 24), bool, of an ensemble into labels (recordings, 24): on in at least
    half of the networks, and always the class with most votes (first of equals)."""
    answers = np.asarray(answers, dtype=np.bool_)
    votes = answers.sum(axis=0)  # (recordings, 24)
    return np.asarray(2 * votes >= len(answers)) | _most_probable(votes)


def search_thresholds(
    labels: ArrayLike, probabilities: ArrayLike, recipe: DecisionRecipe = PUBLISHED
) -> ThresholdSearch:
    """Search the thresholds (24,) for labels and probabilities (recordings, 24) in two steps.

    Step 1 tries one threshold for all classes, i / common_steps; step 2 goes once through the classes and tries
    i / class_steps for each, the others fixed. Of equally good candidates (within 1e-12) the nearest to the present
    threshold wins, then the lower one; it is 0.5 in step 1, the common threshold in step 2. Raises ValueError if the
    shapes differ or a probability is not in [0, 1].
    """
    data = _validation_set(labels, probabilities)
    common = _common_threshold(data, _candidates(recipe.common_steps))
    thresholds = _class_thresholds(data, _candidates(recipe.class_steps), common)
    scores = (
        metric.challenge_metric(data.labels, apply_thresholds(data.probabilities, t)) for t in (0.5, common, thresholds)
    )
    return ThresholdSearch(thresholds, common, *scores)


def threshold_curves(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, steps: int = 100) -> Floats:
    """Compute the challenge metric (24, steps + 1) with each class's threshold at 0, 1/steps, ..., 1 and the others
    fixed at `thresholds` (24,). Raises ValueError as `search_thresholds` does."""
    data = _validation_set(labels, probabilities)
    answers = (data.probabilities >= np.asarray(thresholds)) | data.always
    curves = np.empty((len(CODES), steps + 1))
    for k in range(len(CODES)):
        others = answers & (np.arange(len(CODES)) != k)
        curves[k] = data.normalise(_rewards_of_candidates(data, others, k, _candidates(steps)))
    return curves


@dataclass(frozen=True, eq=False)
class _ValidationSet:
    labels: Booleans  # (recordings, 24) each:
    probabilities: Floats
    always: Booleans  # the most probable class
    earned: Floats  # the reward of answering a class, before division
    inactive: float  # the reward sums at which the metric is 0 ...
    correct: float  # ... and 1

    def normalise(self, rewards: Floats) -> Floats:
        return np.array([metric.normalise_reward(float(reward), self.inactive, self.correct) for reward in rewards])


def _validation_set(labels: ArrayLike, probabilities: ArrayLike) -> _ValidationSet:
    labels, probabilities = np.asarray(labels, dtype=np.bool_), np.asarray(probabilities, dtype=np.float64)
    if labels.shape != probabilities.shape or labels.shape[1:] != (len(CODES),):
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape} are not both (recordings, 24)")
    in_unit_interval(probabilities, "probabilities")
    earned = metric.earned_rewards(labels)
    return _ValidationSet(
        labels, probabilities, _most_probable(probabilities), earned, *metric.reward_bounds(labels, earned)
    )


def _common_threshold(data: _ValidationSet, candidates: Floats) -> float:
    answers = (data.probabilities >= candidate for candidate in candidates)
    rewards = [metric.reward_sum(data.labels, answer | data.always, data.earned) for answer in answers]
    return _best_candidate(data, candidates, np.array(rewards), present=0.5)


def _class_thresholds(data: _ValidationSet, candidates: Floats, common: float) -> Floats:
    """Search the threshold of each class in turn, (24,), the earlier classes already at theirs."""
    thresholds = np.full(len(CODES), common)
    answers = (data.probabilities >= thresholds) | data.always
    for k in range(len(CODES)):
        answers[:, k] = False  # only the other classes
        rewards = _rewards_of_candidates(data, answers, k, candidates)
        thresholds[k] = _best_candidate(data, candidates, rewards, present=common)
        answers[:, k] = (data.probabilities[:, k] >= thresholds[k]) | data.always[:, k]
    return thresholds


def _rewards_of_candidates(data: _ValidationSet, others: Booleans, k: int, candidates: Floats) -> Floats:
    """Compute the reward sum for each candidate threshold of class k, (candidates,), given the other answers."""
    reward = np.einsum("rk,rk->r", data.earned, others)
    union = metric.count_classes(data.labels | others)  # contains class k if it is a label
    off = reward / np.maximum(union, 1)
    on = (reward + data.earned[:, k]) / (union + ~data.labels[:, k])
    always = data.always[:, k]
    base = float(np.sum(np.where(always, on, off)))
    # A falling threshold turns recordings on in the order of their probability; those always on change nothing.
    order = np.argsort(-data.probabilities[:, k])
    gains = np.where(always, 0.0, on - off)[order]
    reached = np.searchsorted(-data.probabilities[order, k], -candidates, side="right")  # recordings >= candidate
    return base + np.concatenate([[0.0], np.cumsum(gains)])[reached]


def _best_candidate(data: _ValidationSet, candidates: Floats, rewards: Floats, present: float) -> float:
    scores = data.normalise(rewards)
    best = candidates[scores >= scores.max() - TIE]
    # Rounded because 0.3 and 0.7 are equally far from 0.5 but not in binary; argmin takes the first, the lower one.
    return float(best[np.argmin(np.round(np.abs(best - present), 9))])


def _candidates(steps: int) -> Floats:
    return np.arange(steps + 1) / steps


def _most_probable(values: NDArray[np.floating] | NDArray[np.integer]) -> Booleans:
    """Mark the largest value of each recording (the first of equals), (recordings, 24); NaN is never the largest."""
    top = np.argmax(np.where(np.isnan(values), -np.inf, values), axis=1)
    return np.asarray(top[:, None] == np.arange(values.shape[1]))


def best_constant_labels(labels: Booleans) -> Booleans:
    """Search greedily the labels (24,), at least one, that earn the most if answered for every recording: the constant
    baseline of training labels (recordings, 24)."""
    earned = metric.earned_rewards(labels)
    answer = np.zeros(len(CODES), np.bool_)
    best = -np.inf
    while not answer.all():
        trials = [answer | (np.arange(len(CODES)) == k) for k in range(len(CODES))]
        rewards = [metric.reward_sum(labels, np.broadcast_to(trial, labels.shape), earned) for trial in trials]
        if max(rewards) <= best:
            break
        best, answer = max(rewards), trials[int(np.argmax(rewards))]
    return answer
