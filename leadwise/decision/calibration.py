"""Probabilities that mean what they say: calibration on a validation part, and the step to other class frequencies.

Both move logits and nothing else, each class by itself, so that the order of the recordings in a class (its AUROC)
stays as the network gave it. Every number that is fitted is drawn towards one that does no harm: few recordings move
little. This file knows no rewards, no files and no tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]

SURE = 1e-7  # probabilities are kept this far from 0 and 1; float32 has none nearer to 1
RIDGE = 4.0  # of a class's offset from the shared one: as if offsets had a standard deviation of 1/2 among the classes
ANCHOR = 1.0  # of the temperature's logarithm and the shared offset to 0: as if their standard deviation were 1


@dataclass(frozen=True)
class Calibration:
    """A calibrated logit is logit / temperature + the class's offset. Plain numbers: `asdict` is ready for JSON.

    Raises ValueError where the temperature is not above 0 or a number is not finite.
    """

    temperature: float
    shared_offset: float  # what the classes' offsets were drawn to; they contain it
    offsets: tuple[float, ...]  # (classes,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", tuple(self.offsets))  # JSON brings a list
        if not (np.isfinite([self.temperature, self.shared_offset, *self.offsets]).all() and self.temperature > 0):
            raise ValueError(f"no calibration: temperature {self.temperature}, offsets {self.offsets}")

    def apply(self, probabilities: ArrayLike) -> Floats:
        """Calibrated probabilities (recordings, classes). Raises ValueError where one is not in [0, 1]."""
        probabilities = _checked(probabilities)
        if probabilities.shape[1] != len(self.offsets):
            raise ValueError(f"probabilities {probabilities.shape} for a calibration of {len(self.offsets)} classes")
        return np.asarray(expit(_logits(probabilities) / self.temperature + np.array(self.offsets)))


def fit(labels: ArrayLike, probabilities: ArrayLike, ridge: float = RIDGE) -> Calibration:
    """The calibration of highest penalised likelihood for labels and probabilities (recordings, classes).

    Minimises the binary cross-entropy, summed, + ridge/2 x sum of squares of the classes' offsets from the shared one +
    ANCHOR/2 x (log temperature)^2 + ANCHOR/2 x (shared offset)^2. A class without positives counts too: that it never
    occurred lowers its offset, as far as the ridge lets it.
    Raises ValueError where the shapes differ, there is no recording, ridge is not above 0, or a probability is not in
    [0, 1].
    """
    labels, probabilities = np.asarray(labels, dtype=np.bool_), _checked(probabilities)
    if labels.shape != probabilities.shape or len(labels) == 0:
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape} cannot be fitted")
    if not 0 < ridge < np.inf:
        raise ValueError(f"the ridge must be above 0, not {ridge}")
    penalties = np.append([ANCHOR, ANCHOR], np.full(labels.shape[1], ridge))
    found = minimize(
        _loss,
        x0=np.zeros_like(penalties),
        args=(labels, _logits(probabilities), penalties),
        jac=_gradient,
        hess=_curvature,
        method="trust-exact",  # Newton's steps: the offsets hang together too closely for methods without curvature
        options={"gtol": 1e-5},  # leaves errors of gtol over ridge or so
    )
    slope, shared, *own = found.x.tolist()
    return Calibration(math.exp(-slope), shared, tuple(shared + offset for offset in own))


def shift_prior(
    probabilities: ArrayLike, training_frequencies: ArrayLike, frequencies: ArrayLike, share: ArrayLike = 1.0
) -> Floats:
    """Probabilities (recordings, classes) where the classes are as frequent as `frequencies` says, both (classes,).

    Bayes' rule for each class: its logit moves by the difference of the frequencies' logits, `share` of the way; share
    is one number or (recordings,), from 0 (nothing moves) to 1. Where a class is never or always in the training part
    its probability knows nothing of it, and moves `share` of the way (in logits) to the frequency itself.
    Raises ValueError where the shapes do not fit or a number is not in [0, 1].
    """
    probabilities, share = _checked(probabilities), _in_unit_interval(share, "the share")
    before, after = (_in_unit_interval(values, "frequencies") for values in (training_frequencies, frequencies))
    if not before.shape == after.shape == probabilities.shape[1:] or share.shape not in ((), probabilities.shape[:1]):
        raise ValueError(
            f"probabilities {probabilities.shape}, frequencies {before.shape} and {after.shape}, share {share.shape}"
        )
    logits = _logits(probabilities)
    known = (before > 0) & (before < 1)
    start = np.where(known, _logits(before), logits)  # (recordings, classes)
    return np.asarray(expit(logits + share[..., None] * (_logits(after) - start)))


def pool_probabilities(probabilities: ArrayLike, others: ArrayLike, share: float) -> Floats:
    """Two opinions on the same recordings, (recordings, classes) each, as one: the mean of their logits, in which the
    others weigh `share`. That is the logarithmic opinion pool (Genest and Zidek 1986). Raises ValueError where the
    shapes differ or a number is not in [0, 1].
    """
    first, second = _checked(probabilities), _checked(others)
    if first.shape != second.shape:
        raise ValueError(f"opinions {first.shape} and {second.shape} differ in shape")
    weight = float(_in_unit_interval(share, "the share"))
    return np.asarray(expit((1 - weight) * _logits(first) + weight * _logits(second)))


# The penalised likelihood -----------------------------------------------------------------------------------
# theta is (2 + classes,): log slope (slope = 1 / temperature), shared offset, the classes' own offsets.


def _loss(theta: Floats, labels: Booleans, logits: Floats, penalties: Floats) -> float:
    """Cross-entropy, summed, and the penalties."""
    calibrated = _calibrated(theta, logits)
    entropy = np.sum(np.logaddexp(0, calibrated)) - np.sum(calibrated[labels])
    return float(entropy + np.sum(penalties * theta**2) / 2)


def _gradient(theta: Floats, labels: Booleans, logits: Floats, penalties: Floats) -> Floats:
    """Of `_loss`, (2 + classes,)."""
    residuals = expit(_calibrated(theta, logits)) - labels  # (recordings, classes)
    by_class = residuals.sum(axis=0)
    of_slope = np.sum(residuals * math.exp(theta[0]) * logits)
    return np.asarray(np.concatenate([[of_slope, by_class.sum()], by_class]) + penalties * theta)


def _curvature(theta: Floats, labels: Booleans, logits: Floats, penalties: Floats) -> Floats:
    """Of `_loss`, (2 + classes, 2 + classes): the classes' own offsets meet each other nowhere."""
    scaled = math.exp(theta[0]) * logits
    chances = expit(_calibrated(theta, logits))
    weights = chances * (1 - chances)  # (recordings, classes)
    own, mixed = weights.sum(axis=0), (weights * scaled).sum(axis=0)
    of_slope = np.sum(weights * scaled**2) + np.sum((chances - labels) * scaled)
    curvature = np.diag(np.concatenate([[of_slope, own.sum()], own]) + penalties)
    curvature[0, 1:] = curvature[1:, 0] = np.append(mixed.sum(), mixed)
    curvature[1, 2:] = curvature[2:, 1] = own
    return curvature


def _calibrated(theta: Floats, logits: Floats) -> Floats:
    return np.asarray(math.exp(theta[0]) * logits + theta[1] + theta[2:])


# Arguments --------------------------------------------------------------------------------------------------


def _logits(probabilities: Floats) -> Floats:
    """Log odds, the probabilities kept off 0 and 1."""
    return np.asarray(logit(np.clip(probabilities, SURE, 1 - SURE)))


def _checked(probabilities: ArrayLike) -> Floats:
    array = _in_unit_interval(probabilities, "probabilities")
    if array.ndim != 2:
        raise ValueError(f"expected probabilities (recordings, classes), got {array.shape}")
    return array


def _in_unit_interval(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} must lie in [0, 1]")
    return array
