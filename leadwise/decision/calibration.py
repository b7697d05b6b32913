"""Calibrate probabilities, shift them to another prevalence, and pool two sets: all on logits, class by class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from leadwise.challenge.metric import Booleans, Floats

CLIP = 1e-7  # probabilities are kept this far from 0 and 1; float32 has none nearer to 1
RIDGE = 4.0  # of a class's offset from the shared one: as if offsets had a standard deviation of 1/2 among the classes
SHARED_RIDGE = 1.0  # of the temperature's logarithm and the shared offset: as if their standard deviation were 1


@dataclass(frozen=True)
class Calibration:
    """A calibration: calibrated logit = logit / temperature + the class's offset. `asdict` is ready for JSON.
    Raises ValueError if the temperature is not above 0 or a number is not finite."""

    temperature: float
    shared_offset: float  # the classes' offsets were regularised towards it; they contain it
    offsets: tuple[float, ...]  # (classes,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", tuple(self.offsets))  # JSON brings a list
        if not (np.isfinite([self.temperature, self.shared_offset, *self.offsets]).all() and self.temperature > 0):
            raise ValueError(f"no calibration: temperature {self.temperature}, offsets {self.offsets}")

    def apply(self, probabilities: ArrayLike) -> Floats:
        """Return calibrated probabilities (recordings, classes). Raises ValueError if one is not in [0, 1]."""
        probabilities = _check(probabilities)
        if probabilities.shape[1] != len(self.offsets):
            raise ValueError(f"probabilities {probabilities.shape} for a calibration of {len(self.offsets)} classes")
        return np.asarray(expit(_logits(probabilities) / self.temperature + np.array(self.offsets)))


def fit(labels: ArrayLike, probabilities: ArrayLike, ridge: float = RIDGE) -> Calibration:
    """Fit the calibration of highest penalised likelihood to labels and probabilities (recordings, classes).

    Minimises the summed binary cross-entropy + ridge/2 x sum of squares of the classes' offsets from the shared one +
    SHARED_RIDGE/2 x (log temperature)^2 + SHARED_RIDGE/2 x (shared offset)^2. A class without positives lowers its
    offset as far as the ridge allows. Raises ValueError if the shapes differ, there is no recording, ridge is not above
    0, or a probability is not in [0, 1].
    """
    from scipy.optimize import minimize  # here, since it is slow to import and only a training fits

    labels, probabilities = np.asarray(labels, dtype=np.bool_), _check(probabilities)
    if labels.shape != probabilities.shape or len(labels) == 0:
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape} cannot be fitted")
    if not 0 < ridge < np.inf:
        raise ValueError(f"the ridge must be above 0, not {ridge}")
    penalties = np.append([SHARED_RIDGE, SHARED_RIDGE], np.full(labels.shape[1], ridge))
    data, start, options = (labels, _logits(probabilities), penalties), np.zeros_like(penalties), {"gtol": 1e-5}
    # Newton steps, because first-order methods fail on the strongly coupled offsets. Errors are about gtol / ridge.
    found = minimize(_loss, start, data, "trust-exact", jac=_gradient, hess=_hessian, options=options)
    log_slope, shared, *own = found.x.tolist()
    return Calibration(math.exp(-log_slope), shared, tuple(shared + offset for offset in own))


def shift_prior(
    probabilities: ArrayLike, training_prevalence: ArrayLike, prevalence: ArrayLike, share: ArrayLike = 1.0
) -> Floats:
    """Shift probabilities (recordings, classes) from the training prevalence to another one, (classes,) each.

    By Bayes' rule each logit moves by the difference of the prevalences' logits, times `share`: one number or
    (recordings,), from 0 (no shift) to 1. If a class is never or always positive in training, its probability carries
    no information; its logit moves by `share` of the distance to that of the new prevalence.
    Raises ValueError if the shapes do not fit or a number is not in [0, 1].
    """
    probabilities, share = _check(probabilities), in_unit_interval(share, "the share")
    before, after = (in_unit_interval(values, "prevalences") for values in (training_prevalence, prevalence))
    if not before.shape == after.shape == probabilities.shape[1:] or share.shape not in ((), probabilities.shape[:1]):
        raise ValueError(
            f"probabilities {probabilities.shape}, prevalences {before.shape} and {after.shape}, share {share.shape}"
        )
    logits = _logits(probabilities)
    informative = (before > 0) & (before < 1)
    start = np.where(informative, _logits(before), logits)  # (recordings, classes)
    return np.asarray(expit(logits + share[..., None] * (_logits(after) - start)))


def pool_probabilities(probabilities: ArrayLike, others: ArrayLike, weight: float) -> Floats:
    """Average the logits of two sets of probabilities (recordings, classes), the others with `weight` (logarithmic
    opinion pool, Genest and Zidek 1986). Raises ValueError if the shapes differ or a number is not in [0, 1]."""
    first, second = _check(probabilities), _check(others)
    if first.shape != second.shape:
        raise ValueError(f"probabilities {first.shape} and {second.shape} differ in shape")
    weight = float(in_unit_interval(weight, "the weight"))
    return np.asarray(expit((1 - weight) * _logits(first) + weight * _logits(second)))


# The penalised likelihood. theta is (2 + classes,): log slope (slope = 1 / temperature), shared offset, own offsets.


def _loss(theta: Floats, labels: Booleans, logits: Floats, penalties: Floats) -> float:
    calibrated = _calibrated(theta, logits)
    entropy = np.sum(np.logaddexp(0, calibrated)) - np.sum(calibrated[labels])
    return float(entropy + np.sum(penalties * theta**2) / 2)


def _gradient(theta: Floats, labels: Booleans, logits: Floats, penalties: Floats) -> Floats:
    residuals = expit(_calibrated(theta, logits)) - labels  # (recordings, classes)
    by_class = residuals.sum(axis=0)
    of_slope = np.sum(residuals * math.exp(theta[0]) * logits)
    return np.asarray(np.concatenate([[of_slope, by_class.sum()], by_class]) + penalties * theta)


def _hessian(theta: Floats, labels: Booleans, logits: Floats, penalties: Floats) -> Floats:
    """Return (2 + classes, 2 + classes); the entries between two classes' own offsets are 0."""
    scaled = math.exp(theta[0]) * logits
    chances = expit(_calibrated(theta, logits))
    weights = chances * (1 - chances)  # (recordings, classes)
    own, mixed = weights.sum(axis=0), (weights * scaled).sum(axis=0)
    of_slope = np.sum(weights * scaled**2) + np.sum((chances - labels) * scaled)
    hessian = np.diag(np.concatenate([[of_slope, own.sum()], own]) + penalties)
    hessian[0, 1:] = hessian[1:, 0] = np.append(mixed.sum(), mixed)
    hessian[1, 2:] = hessian[2:, 1] = own
    return hessian


def _calibrated(theta: Floats, logits: Floats) -> Floats:
    return np.asarray(math.exp(theta[0]) * logits + theta[1] + theta[2:])


def _logits(probabilities: Floats) -> Floats:
    return np.asarray(logit(np.clip(probabilities, CLIP, 1 - CLIP)))


def _check(probabilities: ArrayLike) -> Floats:
    array = in_unit_interval(probabilities, "probabilities")
    if array.ndim != 2:
        raise ValueError(f"expected probabilities (recordings, classes), got {array.shape}")
    return array


def in_unit_interval(values: ArrayLike, name: str) -> Floats:
    """Return the values as float64. Raises ValueError with their name unless all are in [0, 1]."""
    array = np.asarray(values, dtype=np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} must lie in [0, 1]")
    return array
