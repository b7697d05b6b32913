"""Choose for each recording the labels of highest expected reward in the challenge metric.

For labels y the metric pays an answer S the sum of W[j, k] over j in y and k in S, divided by |y or S|; normalisation
does not depend on S. Classes are taken as independent, so |y or S| is |S| plus a Poisson-binomial number. The mean of
its reciprocal follows without that distribution: 1/n is the integral of t^(n-1) over [0, 1], and the mean of t^|y or S|
is a product with one factor for each class. That is a polynomial in t of a degree below the number of classes, which
Gauss-Legendre quadrature with half as many nodes integrates exactly. All terms are positive: nothing cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadwise.challenge.classes import REWARDS
from leadwise.challenge.metric import Booleans, Floats, blocks
from leadwise.decision.calibration import in_unit_interval

TIE = 1e-12  # expected rewards this close count as equal: rounding differs between batches and must decide nothing
BLOCK = 256  # recordings at once: their arrays of (nodes, recordings, classes) stay in the processor's cache


def expected_reward(probabilities: ArrayLike, answers: ArrayLike, rewards: ArrayLike = REWARDS) -> Floats:
    """Compute the expected reward of each answer, (recordings,), before normalisation; exact for independent classes.

    Probabilities and answers (bool) are (recordings, classes), rewards (classes, classes) with the right class first;
    NaN rewards are left out, as in the metric. An empty answer earns 0. Raises ValueError if the shapes do not fit or a
    probability is not in [0, 1].
    """
    probabilities, rewards = _check(probabilities, rewards)
    answers = np.asarray(answers, dtype=np.bool_)
    if answers.shape != probabilities.shape:
        raise ValueError(f"probabilities {probabilities.shape} and answers {answers.shape} differ in shape")
    expected = np.empty(len(probabilities))
    for block in blocks(len(probabilities), BLOCK):
        expected[block] = _expectation(probabilities[block], answers[block], rewards)
    return expected


def best_labels(probabilities: ArrayLike, rewards: ArrayLike = REWARDS, least_gain: float | Floats = 0.0) -> Booleans:
    """Choose labels (recordings, classes) of high expected reward by greedy search; at least one class per recording.

    Adds the class that raises the expected reward most (the first of equals) until none raises it by more than
    `least_gain`, a number or (recordings,). A recording's labels do not depend on the other recordings. The other
    arguments and errors are those of `expected_reward`.
    """
    probabilities, rewards = _check(probabilities, rewards)
    answers, least_gain = np.zeros(probabilities.shape, dtype=np.bool_), np.broadcast_to(least_gain, len(probabilities))
    for block in blocks(len(probabilities), BLOCK):
        answers[block] = _search(probabilities[block], rewards, least_gain[block])
    return answers


def _expectation(probabilities: Floats, answers: Booleans, rewards: Floats) -> Floats:
    times, weights = _quadrature(probabilities.shape[1])
    factors = np.where(answers, 1, _mean_power(probabilities, times))  # (nodes, recordings, classes)
    size = np.sum(answers, axis=1)
    density = weights * times ** (size - 1) * factors.prod(axis=2)  # (nodes, recordings)
    # A class outside the answer that is known to be a label has the factor t; one inside is counted in `size`.
    ratio = np.where(answers, 1, times[:, :, None] / factors)
    earned = probabilities * (answers @ rewards.T)  # (recordings, classes)
    return np.asarray(np.einsum("nr,nrk,rk->r", density, ratio, earned))


def _mean_power(probabilities: Floats, times: Floats) -> Floats:
    """Return the mean of t^y for each class's label y, (nodes, recordings, classes)."""
    return np.asarray(1 - probabilities + times[:, :, None] * probabilities)


def _quadrature(classes: int) -> tuple[Floats, Floats]:
    """Return nodes and weights, (nodes, 1) each, that integrate polynomials of degree < classes over [0, 1] exactly."""
    nodes, weights = np.polynomial.legendre.leggauss((classes + 1) // 2)  # exact up to degree 2 nodes - 1
    return (nodes[:, None] + 1) / 2, weights[:, None] / 2


@dataclass(frozen=True, eq=False)
class _State:
    """Unfinished answers of a greedy search, with the terms that make a step cost (nodes x classes) a recording."""

    rows: NDArray[np.int64]  # (recordings,): their indices in the block
    probabilities: Floats  # (recordings, classes)
    answers: Booleans  # (recordings, classes)
    best: Floats  # (recordings,): their expected reward
    density: Floats  # (nodes, recordings): weight x mean of t^(|y or S| - 1)
    ratio: Floats  # (nodes, recordings, classes): multiplies the density if the class is a label or answered
    earned: Floats  # (nodes, recordings, classes): reward of answering the class at the present size

    def select(self, chosen: Booleans) -> _State:
        by_row = self.rows[chosen], self.probabilities[chosen], self.answers[chosen], self.best[chosen]
        return _State(*by_row, self.density[:, chosen], self.ratio[:, chosen], self.earned[:, chosen])


def _search(probabilities: Floats, rewards: Floats, least_gain: Floats) -> Booleans:
    """Choose the labels (recordings, classes) of one block."""
    labels = np.zeros(probabilities.shape, dtype=np.bool_)
    state = _empty_answers(probabilities, rewards)
    while len(state.rows):
        trials = _try_each_class(state, rewards)
        top = trials.max(axis=1)
        better = top > state.best + least_gain[state.rows] + TIE
        labels[state.rows[~better]] = state.answers[~better]
        first_of_equals = np.argmax(trials >= top[:, None] - TIE, axis=1)
        state = _add_class(state.select(better), first_of_equals[better], top[better], rewards)
    return labels


def _empty_answers(probabilities: Floats, rewards: Floats) -> _State:
    times, weights = _quadrature(probabilities.shape[1])
    factors = _mean_power(probabilities, times)
    ratio = times[:, :, None] / factors
    return _State(
        rows=np.arange(len(probabilities)),
        probabilities=probabilities,
        answers=np.zeros(probabilities.shape, dtype=np.bool_),
        best=np.full(len(probabilities), -np.inf),  # so that at least one class is answered
        density=weights / times * factors.prod(axis=2),
        ratio=ratio,
        earned=(probabilities * ratio) @ rewards,
    )


def _try_each_class(state: _State, rewards: Floats) -> Floats:
    """Compute the expected reward with each class added, (recordings, classes); -inf if it is answered already."""
    so_far = np.einsum("nrk,rk->nr", state.earned, state.answers)
    # Answering a class makes its part of the union certain: if it is a label, the union no longer grows by it.
    own = state.probabilities * (state.answers @ rewards.T + np.diag(rewards))  # (recordings, classes)
    total = so_far[:, :, None] + state.earned + (1 - state.ratio) * own
    trials = np.einsum("nr,nrk->rk", state.density, state.ratio * total)
    return np.where(state.answers, -np.inf, trials)


def _add_class(state: _State, added: NDArray[np.int64], best: Floats, rewards: Floats) -> _State:
    """Return the state after one class (recordings,) was added to each answer, with its new expected rewards."""
    rows = np.arange(len(added))
    ratio = state.ratio[:, rows, added]  # (nodes, recordings)
    certain = state.probabilities[rows, added] * (1 - ratio)
    return replace(
        state,
        answers=state.answers | (added[:, None] == np.arange(state.answers.shape[1])),
        best=best,
        density=state.density * ratio,  # `state.ratio` is not used again for an answered class
        earned=state.earned + certain[:, :, None] * rewards[added],
    )


def _check(probabilities: ArrayLike, rewards: ArrayLike) -> tuple[Floats, Floats]:
    """Return both as float64, NaN rewards as 0. Raises ValueError if shapes or values are wrong."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    rewards = np.nan_to_num(np.asarray(rewards, dtype=np.float64), nan=0.0)
    classes = probabilities.shape[1] if probabilities.ndim == 2 else 0
    if classes == 0 or rewards.shape != (classes, classes):
        raise ValueError(f"probabilities {probabilities.shape} and rewards {rewards.shape} do not fit together")
    return in_unit_interval(probabilities, "probabilities"), rewards
