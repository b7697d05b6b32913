"""Labels by expected reward: of all answers to one recording, the one that the challenge metric should pay best.

For labels y the metric pays an answer S the sum of W[j, k] over j in y and k in S, divided by |y or S|; its
normalisation does not depend on S. So the best answer maximises the expectation of that quotient under the
probabilities of y. Here the classes are independent: |y or S| is |S| and a Poisson-binomial number of others.

Its reciprocal needs no distribution of that number: 1/n is the integral of t^(n-1) over t from 0 to 1, and the mean of
t^|y or S| is a product with one factor for each class. The integrand is a polynomial in t of a degree below the number
of classes, which Gauss-Legendre quadrature with half as many nodes integrates exactly. All its terms are positive:
nothing cancels. This file knows no files, no thresholds and no tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadwise.challenge.classes import REWARDS

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]

TIE = 1e-12  # expected rewards this near count as equal, so that rounding decides nothing: batches round differently
BLOCK = 256  # recordings at once: their arrays of (nodes, recordings, classes) stay in the processor's cache


def expected_reward(probabilities: ArrayLike, answers: ArrayLike, rewards: ArrayLike = REWARDS) -> Floats:
    """What each answer earns on average, (recordings,), before normalisation; exact for independent classes.

    Probabilities and answers (bool) are (recordings, classes), rewards (classes, classes) with the right class first;
    NaN rewards are left out, as in the metric. An empty answer earns 0. Raises ValueError where the shapes do not fit
    or a probability is not in [0, 1].
    """
    probabilities, rewards = _checked(probabilities, rewards)
    answers = np.asarray(answers, dtype=np.bool_)
    if answers.shape != probabilities.shape:
        raise ValueError(f"probabilities {probabilities.shape} and answers {answers.shape} differ in shape")
    expected = np.empty(len(probabilities))
    for block in _blocks(len(probabilities)):
        expected[block] = _expectation(probabilities[block], answers[block], rewards)
    return expected


def best_labels(probabilities: ArrayLike, rewards: ArrayLike = REWARDS) -> Booleans:
    """The labels (recordings, classes) of highest expected reward that a greedy build-up finds; at least one class.

    Starting from nothing, the class that raises the expected reward most is added (the first of equals) until none
    does. Each recording is answered by itself. Arguments and errors are those of `expected_reward`.
    """
    probabilities, rewards = _checked(probabilities, rewards)
    answers = np.zeros(probabilities.shape, dtype=np.bool_)
    for block in _blocks(len(probabilities)):
        answers[block] = _build_up(probabilities[block], rewards)
    return answers


# One answer -------------------------------------------------------------------------------------------------


def _expectation(probabilities: Floats, answers: Booleans, rewards: Floats) -> Floats:
    """The expected reward of answers, (recordings,)."""
    times, weights = _quadrature(probabilities.shape[1])
    factors = np.where(answers, 1, _mean_power(probabilities, times))  # (nodes, recordings, classes)
    size = np.sum(answers, axis=1)
    density = weights * times ** (size - 1) * factors.prod(axis=2)  # (nodes, recordings)
    # A class outside the answer that is known to be a label has the factor t; one inside is counted in `size`.
    given = np.where(answers, 1, times[:, :, None] / factors)
    earned = probabilities * (answers @ rewards.T)  # (recordings, classes)
    return np.asarray(np.einsum("nr,nrk,rk->r", density, given, earned))


def _mean_power(probabilities: Floats, times: Floats) -> Floats:
    """The mean of t^y for each class's label y, (nodes, recordings, classes)."""
    return np.asarray(1 - probabilities + times[:, :, None] * probabilities)


def _quadrature(classes: int) -> tuple[Floats, Floats]:
    """Nodes and weights, (nodes, 1) each, that integrate polynomials of degree < classes over [0, 1] exactly."""
    nodes, weights = np.polynomial.legendre.leggauss((classes + 1) // 2)  # exact up to degree 2 nodes - 1
    return (nodes[:, None] + 1) / 2, weights[:, None] / 2


# The build-up -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Growth:
    """Answers that may still grow, and what the next step needs so that it costs (nodes x classes) a recording."""

    rows: NDArray[np.int64]  # (recordings,): where they stand in the block
    probabilities: Floats  # (recordings, classes)
    answers: Booleans  # (recordings, classes)
    best: Floats  # (recordings,): their expected reward
    density: Floats  # (nodes, recordings): weight x mean of t^(|y or S| - 1)
    given: Floats  # (nodes, recordings, classes): the factor of the density when the class is a label or answered
    earned: Floats  # (nodes, recordings, classes): what answering the class would earn at the present size

    def keep(self, chosen: Booleans) -> _Growth:
        """Only the chosen recordings."""
        return _Growth(
            rows=self.rows[chosen],
            probabilities=self.probabilities[chosen],
            answers=self.answers[chosen],
            best=self.best[chosen],
            density=self.density[:, chosen],
            given=self.given[:, chosen],
            earned=self.earned[:, chosen],
        )


def _build_up(probabilities: Floats, rewards: Floats) -> Booleans:
    """Labels (recordings, classes) of one block."""
    labels = np.zeros(probabilities.shape, dtype=np.bool_)
    growth = _nothing_answered(probabilities, rewards)
    while len(growth.rows):
        trials = _rewards_with_one_more(growth, rewards)
        top = trials.max(axis=1)
        helps = top > growth.best + TIE
        labels[growth.rows[~helps]] = growth.answers[~helps]
        first_of_equals = np.argmax(trials >= top[:, None] - TIE, axis=1)
        growth = _with_one_more(growth.keep(helps), first_of_equals[helps], top[helps], rewards)
    return labels


def _nothing_answered(probabilities: Floats, rewards: Floats) -> _Growth:
    """Where the build-up starts: empty answers, worth less than any other."""
    times, weights = _quadrature(probabilities.shape[1])
    factors = _mean_power(probabilities, times)
    given = times[:, :, None] / factors
    return _Growth(
        rows=np.arange(len(probabilities)),
        probabilities=probabilities,
        answers=np.zeros(probabilities.shape, dtype=np.bool_),
        best=np.full(len(probabilities), -np.inf),  # so that one class at least is answered
        density=weights / times * factors.prod(axis=2),
        given=given,
        earned=(probabilities * given) @ rewards,
    )


def _rewards_with_one_more(growth: _Growth, rewards: Floats) -> Floats:
    """The expected reward of each answer with each class added, (recordings, classes); -inf where it is on already."""
    so_far = np.einsum("nrk,rk->nr", growth.earned, growth.answers)
    # Answering a class takes it out of the uncertain ones: where it is a label, the union grows no more through it.
    own = growth.probabilities * (growth.answers @ rewards.T + np.diag(rewards))  # (recordings, classes)
    total = so_far[:, :, None] + growth.earned + (1 - growth.given) * own
    trials = np.einsum("nr,nrk->rk", growth.density, growth.given * total)
    return np.where(growth.answers, -np.inf, trials)


def _with_one_more(growth: _Growth, added: NDArray[np.int64], best: Floats, rewards: Floats) -> _Growth:
    """The growth after one class (recordings,) was added to each answer, for the expected rewards that this gives."""
    rows = np.arange(len(added))
    given = growth.given[:, rows, added]  # (nodes, recordings)
    certain = growth.probabilities[rows, added] * (1 - given)
    return replace(
        growth,
        answers=growth.answers | (added[:, None] == np.arange(growth.answers.shape[1])),
        best=best,
        density=growth.density * given,  # `given` itself is asked no more for a class that is on
        earned=growth.earned + certain[:, :, None] * rewards[added],
    )


# Arguments --------------------------------------------------------------------------------------------------


def _blocks(recordings: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, recordings, BLOCK)]


def _checked(probabilities: ArrayLike, rewards: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 and their NaN rewards as 0; ValueError where the shapes or values are wrong."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    rewards = np.nan_to_num(np.asarray(rewards, dtype=np.float64), nan=0.0)
    classes = probabilities.shape[1] if probabilities.ndim == 2 else 0
    if classes == 0 or rewards.shape != (classes, classes):
        raise ValueError(f"probabilities {probabilities.shape} and rewards {rewards.shape} do not fit together")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    return probabilities, rewards
