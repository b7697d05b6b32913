"""Test the report's statistics against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.challenge.classes import REWARDS
from leadwise.challenge.metric import challenge_metric
from leadwise.report.statistics import (
    bootstrap_interval,
    calibration_of,
    class_counts,
    confusion_of,
    macro_rates,
    rewards_of,
)
from tests import naive


def draw(seed: int, recordings: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random labels, answers and scores of recordings, some of them without a label."""
    random = np.random.default_rng(seed)
    labels = random.random((recordings, 24)) < random.uniform(0, 0.2, 24)
    scores = np.clip(0.6 * labels + random.normal(0.2, 0.2, labels.shape), 0, 1).round(3)
    return labels, scores >= 0.5, scores


@given(seed=st.integers(0, 1000))
def test_losses_and_confusion_sum_to_the_lost_score(seed: int) -> None:
    labels, answers, _ = draw(seed)
    score = challenge_metric(labels, answers)
    rewards = rewards_of(labels, answers)
    assert rewards.lost.sum() == pytest.approx(1 - score if rewards.correct.sum() != rewards.inactive.sum() else 0)
    for place in range(0, len(labels), 7):
        expected, predicted = np.flatnonzero(labels[place]), np.flatnonzero(answers[place])
        both = max(len(set(expected) | set(predicted)), 1)
        assert rewards.answers[place] == pytest.approx(sum(REWARDS[j, k] for j in expected for k in predicted) / both)
    confusion = confusion_of(labels, answers, rewards.lost)
    assert confusion.lost.sum() == pytest.approx(rewards.lost.sum())
    counts, lost = np.zeros((25, 25), int), np.zeros((25, 25))
    for y, s, cost in zip(labels, answers, rewards.lost, strict=True):
        missed, wrong = np.flatnonzero(y & ~s).tolist() or [24], np.flatnonzero(s & ~y).tolist() or [24]
        for j in missed:
            for k in wrong:
                counts[j, k] += (j, k) != (24, 24)
                lost[j, k] += cost / len(missed) / len(wrong)
    np.testing.assert_array_equal(confusion.counts, counts)
    np.testing.assert_allclose(confusion.lost, lost, atol=1e-12)


def test_the_interval_equals_that_of_a_plain_bootstrap() -> None:
    labels, answers, _ = draw(3, 60)
    random = np.random.default_rng(9)
    drawn = [random.integers(60, size=60) for _ in range(400)]
    plain = np.percentile([challenge_metric(labels[rows], answers[rows]) for rows in drawn], [2.5, 97.5])
    fast = bootstrap_interval(rewards_of(labels, answers), 400, 9)
    np.testing.assert_allclose(fast, plain, atol=1e-12)
    low, high = bootstrap_interval(rewards_of(labels, answers))
    assert low < challenge_metric(labels, answers) < high
    assert bootstrap_interval(rewards_of(labels, answers)) == (low, high)
    assert bootstrap_interval(rewards_of(labels, labels)) == (1, 1)


def test_counts_and_calibration_equal_those_of_plain_loops() -> None:
    labels, answers, scores = draw(4)
    scores[0, 0], scores[1, 0] = 0.0, 1.0
    counts, calibration = class_counts(labels, answers), calibration_of(labels, scores)
    for k in range(24):
        y, s = labels[:, k], answers[:, k]
        assert (counts.tp[k], counts.fn[k]) == (sum(y & s), sum(y & ~s))
        if y.any():
            assert counts.sensitivity[k] == sum(y & s) / sum(y)
        assert counts.specificity[k] == sum(~y & ~s) / sum(~y)
        for b in range(10):
            inside = [r for r in range(len(y)) if min(int(scores[r, k] * 10), 9) == b]
            assert calibration.counts[k, b] == len(inside)
            if inside:
                assert calibration.frequency[k, b] == pytest.approx(y[inside].mean())
                assert calibration.mean_score[k, b] == pytest.approx(scores[inside, k].mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sensitivity_and_specificity_equal_those_of_the_naive_implementation(seed: int) -> None:
    labels, answers, _ = draw(seed)
    labels[:, 0], labels[:, 1] = False, True  # one class that never occurs, one that always does
    expected = naive.macro_rates(labels.tolist(), answers.tolist())
    assert macro_rates(labels, answers) == pytest.approx(expected, abs=1e-12)
    everywhere = np.ones_like(labels)
    sensitivity, specificity = macro_rates(everywhere, answers)
    assert sensitivity == pytest.approx(answers.mean()) and np.isnan(specificity)
