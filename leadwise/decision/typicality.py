"""Judge by a network's probabilities whether a recording is typical of those that the network was validated on.

Another hospital's patients, electrodes and recorders move the probabilities of many classes at once. The distance of a
recording from the mean of the validation recordings, in logits, shows it without any recording from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from leadwise.challenge.metric import Floats

CLIP = 1e-4  # probabilities are kept this far from 0 and 1: beyond it logits say nothing about a hospital
SHRINKAGE = 0.1  # of the covariance towards its diagonal
PARTS = 10  # each recording's own distance is measured with a mean and covariance of the other nine parts
MIN_RECORDINGS = 100  # fewer do not determine a covariance of 24 classes
# Out of distribution, the share u of validation recordings that are farther from the mean has the density EXPONENT *
# u^(EXPONENT - 1); in distribution it is uniform. An AUROC of 1 / (1 + EXPONENT) follows, 0.77: measured are 0.75 and
# 0.79 for simulated ECGs of two other databases against PTB-XL (docs/log/ablation-and-ideas.md).
EXPONENT = 0.3
SMALLEST_SHARE = 0.01


@dataclass(frozen=True, eq=False)
class Typicality:
    """The distribution of the logits of the validation recordings.
    Raises ValueError if a shape is wrong or a number is not finite."""

    mean: Floats  # (classes,)
    precision: Floats  # (classes, classes) inverse covariance
    distances: Floats  # (101,) percentiles 0 to 100 of the squared Mahalanobis distances of the recordings

    def __post_init__(self) -> None:
        if self.precision.shape != (len(self.mean), len(self.mean)) or self.distances.shape != (101,):
            shapes = (self.mean.shape, self.precision.shape, self.distances.shape)
            raise ValueError(f"typicality of {shapes} numbers")
        finite = all(np.isfinite(each).all() for each in (self.mean, self.precision, self.distances))
        if not finite or (np.diff(self.distances) < 0).any():
            raise ValueError("typicality: a number is not finite, or the distances fall")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Typicality:
        """Invert `as_dict`, also through JSON. Raises KeyError, TypeError or ValueError."""
        return cls(*(np.array(values[name], np.float64) for name in ("mean", "precision", "distances")))

    def as_dict(self) -> dict[str, Any]:
        """Return lists, ready for JSON."""
        return {name: getattr(self, name).tolist() for name in ("mean", "precision", "distances")}

    def log_ratio(self, probabilities: ArrayLike) -> Floats:
        """Return the log likelihood ratio (recordings,) of in distribution to out of distribution from the network's
        probabilities (recordings, classes)."""
        own = _distances(_logits(probabilities), self.mean, self.precision)
        share = np.clip(1 - np.interp(own, self.distances, np.linspace(0, 1, 101)), SMALLEST_SHARE, 1)
        return np.asarray(-np.log(EXPONENT) - (EXPONENT - 1) * np.log(share))


def fit_typicality(probabilities: ArrayLike) -> Typicality | None:
    """Return the typicality of validation recordings from their probabilities (recordings, classes); None if there are
    fewer than `MIN_RECORDINGS`."""
    logits = _logits(probabilities)
    if len(logits) < MIN_RECORDINGS:
        return None
    part, distances = np.arange(len(logits)) % PARTS, np.empty(len(logits))
    for number in range(PARTS):
        distances[part == number] = _distances(logits[part == number], *_moments(logits[part != number]))
    mean, precision = _moments(logits)
    percentiles = np.percentile(distances, np.arange(101))
    return Typicality(*map(_short, (mean, precision, percentiles)))


def _moments(logits: Floats) -> tuple[Floats, Floats]:
    """Return mean and inverse covariance of logits (recordings, classes)."""
    covariance = np.cov(logits, rowvar=False)
    shrunk = (1 - SHRINKAGE) * covariance + np.diag(SHRINKAGE * np.diag(covariance) + 1e-6)
    return np.asarray(logits.mean(0)), np.asarray(np.linalg.inv(shrunk), np.float64)


def _distances(logits: Floats, mean: Floats, precision: Floats) -> Floats:
    """Return squared Mahalanobis distances (recordings,)."""
    offsets = logits - mean
    return np.asarray(np.einsum("ni,ij,nj->n", offsets, precision, offsets))


def _logits(probabilities: ArrayLike) -> Floats:
    return np.asarray(logit(np.clip(np.asarray(probabilities, np.float64), CLIP, 1 - CLIP)))


def _short(values: Floats) -> Floats:
    """Return numbers of six digits, for JSON."""
    return np.array([float(f"{value:.6g}") for value in values.flat]).reshape(values.shape)
