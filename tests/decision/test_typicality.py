"""Tests of how typical a recording is of the validation recordings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from leadwise.decision.typicality import (
    EXPONENT,
    MIN_RECORDINGS,
    PARTS,
    SHRINKAGE,
    SMALLEST_SHARE,
    Typicality,
    fit_typicality,
)


def draw(count: int, seed: int = 0, shift: float = 0.0) -> NDArray[np.float64]:
    """Draw probabilities (count, 24) whose logits are correlated."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(0, 1, (24, 24))
    return np.asarray(expit(random.normal(shift, 0.3, (count, 24)) @ mixing - 2))


def plain_distance(of: NDArray[np.float64], among: NDArray[np.float64]) -> float:
    """Return the squared Mahalanobis distance of one recording's probabilities, with one matrix after the other."""
    logits = logit(np.clip(among, 1e-4, 1 - 1e-4))
    covariance = np.cov(logits.T)
    for row in range(24):
        for column in range(24):
            covariance[row, column] *= 1 if row == column else 1 - SHRINKAGE
    offset = logit(np.clip(of, 1e-4, 1 - 1e-4)) - logits.mean(0)
    return float(offset @ np.linalg.solve(covariance, offset))


def fitted(count: int = 300) -> Typicality:
    found = fit_typicality(draw(count))
    assert found is not None
    return found


def test_the_ratio_is_that_of_a_uniform_and_a_beta_density_at_the_share_of_more_distant_recordings() -> None:
    training, others = draw(300), draw(30, seed=5, shift=0.2)
    distances = []
    for row in range(300):
        rest = training[np.arange(300) % PARTS != row % PARTS]
        distances.append(plain_distance(training[row], rest))
    for other, found in zip(others, fitted().log_ratio(others), strict=True):
        share = max(np.mean(np.array(distances) > plain_distance(other, training)), SMALLEST_SHARE)
        # percentiles are interpolated between recordings
        low, high = (
            -np.log(EXPONENT * np.clip(share + d, SMALLEST_SHARE, 1) ** (EXPONENT - 1)) for d in (-0.012, 0.012)
        )
        assert low <= found <= high


def test_typical_recordings_are_in_distribution_and_shifted_ones_are_not() -> None:
    typicality = fitted()
    assert np.median(typicality.log_ratio(draw(200, seed=8))) > 0.5
    assert np.median(typicality.log_ratio(draw(200, seed=8, shift=0.4))) < -1
    assert np.isfinite(typicality.log_ratio(np.array([np.zeros(24), np.ones(24)]))).all()


def test_it_survives_a_round_trip_through_json() -> None:
    typicality = fitted()
    again = Typicality.from_dict(json.loads(json.dumps(typicality.as_dict())))
    np.testing.assert_array_equal(again.log_ratio(draw(5)), typicality.log_ratio(draw(5)))


def test_few_recordings_have_none() -> None:
    assert fit_typicality(draw(MIN_RECORDINGS - 1)) is None and fit_typicality(draw(MIN_RECORDINGS)) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.0]}, "typicality of"),
        ({"distances": [1.0] * 100}, "typicality of"),
        ({"distances": [1.0] * 100 + [0.5]}, "the distances fall"),
        ({"mean": [float("nan")] * 24}, "not finite"),
    ],
)
def test_wrong_numbers_are_refused(change: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Typicality.from_dict(fitted().as_dict() | change)
