"""Tests of thresholds, votes, the two-step search (equal to the naive one) and the constant baseline."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leadwise.challenge.classes import REWARDS, SINUS_RHYTHM
from leadwise.challenge.metric import challenge_metric
from leadwise.decision.thresholds import (
    apply_thresholds,
    best_constant_labels,
    search_thresholds,
    threshold_curves,
    vote,
)
from leadwise.recipes import DecisionRecipe
from tests import naive


def draw(seed, recordings, levels, label_rate, informative):
    """Draw labels, some classes without positives, and probabilities on `levels` + 1 values between 0 and 1."""
    rng = np.random.default_rng(seed)
    labels = rng.random((recordings, 24)) < label_rate * rng.random(24)
    labels[:, rng.random(24) < 0.2] = False
    probabilities = rng.beta(1, 4, labels.shape) * (0.6 if informative else 1.0) + 0.4 * labels * informative
    return labels, np.round(probabilities * levels) / levels


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.sampled_from([1, 4, 10, 100, 2**40]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.booleans(),
    st.sampled_from([(2, 4), (10, 20), (10, 5), (3, 7)]),
)
@example(143, 6, 10, 1.0, False, (10, 20))  # a tie that only holds within rounding
@example(2, 40, 10, 1.0, False, (10, 20))  # one in which the other classes' answers decide
def test_the_search_equals_the_naive_search(seed, recordings, levels, label_rate, informative, steps):
    labels, probabilities = draw(seed, recordings, levels, label_rate, informative)
    found = search_thresholds(labels, probabilities, DecisionRecipe(*steps))
    thresholds, common, score = naive.search_thresholds(labels, probabilities, *steps)
    assert found.thresholds.tolist() == thresholds
    assert found.common == common
    assert found.score_class == score


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1), st.sampled_from([10, 100, 2**40]))
@example(0, 100)
def test_the_published_search_of_101_values_equals_the_naive_search(seed, levels):
    labels, probabilities = draw(seed, 120, levels, 0.6, True)
    found = search_thresholds(labels, probabilities)
    thresholds, common, score = naive.search_thresholds(labels, probabilities)
    assert (found.thresholds.tolist(), found.common, found.score_class) == (thresholds, common, score)


def test_scores_are_those_of_the_metric_and_no_step_lowers_them():
    labels, probabilities = draw(5, 400, 2**40, 0.5, True)
    found = search_thresholds(labels, probabilities)
    assert found.score_fixed == challenge_metric(labels, apply_thresholds(probabilities, 0.5))
    assert found.score_common == challenge_metric(labels, apply_thresholds(probabilities, found.common))
    assert found.score_class == challenge_metric(labels, apply_thresholds(probabilities, found.thresholds))
    assert found.score_fixed <= found.score_common + 1e-12  # 0.5 is a candidate of step 1
    assert found.score_common <= found.score_class + 1e-12  # and the common one of step 2, for each class
    assert found.score_class > found.score_fixed


def test_candidates_are_tenths_and_hundredths_as_python_divides_them():
    labels, probabilities = draw(6, 300, 2**40, 0.5, True)
    found = search_thresholds(labels, probabilities)
    assert found.common in [i / 10 for i in range(11)]
    assert set(found.thresholds) <= {i / 100 for i in range(101)}


def test_of_equally_good_candidates_the_nearest_then_the_lower_is_taken():
    labels = np.zeros((1, 24), dtype=bool)
    labels[0, :2] = True
    probabilities = np.zeros((1, 24))
    probabilities[0, :2] = 0.9, 0.25
    # Both labels are on from 0.1 to 0.2: the nearer to 0.5 is taken, and no class then finds a better one.
    found = search_thresholds(labels, probabilities)
    assert found.common == 0.2 and (found.thresholds == 0.2).all() and found.score_class == 1.0
    # 0, 1/3, 2/3, 1: here 1/3 and 2/3 score alike and are equally far from 0.5.
    probabilities[0, 1] = 0.7
    assert search_thresholds(labels, probabilities, DecisionRecipe(3, 100)).common == 1 / 3


def test_a_threshold_moves_no_further_than_necessary():
    labels = np.zeros((2, 24), dtype=bool)
    labels[:, 0] = labels[1, 1] = True
    probabilities = np.zeros((2, 24))
    probabilities[:, 0] = 0.9
    probabilities[:, 1] = 0.62, 0.655
    found = search_thresholds(labels, probabilities)
    # 0.63, 0.64 and 0.65 separate the recordings in class 1; 0.63 is the nearest to the common threshold (0.5).
    assert found.common == 0.5
    assert found.thresholds.tolist() == [0.5, 0.63] + [0.5] * 22


def test_the_threshold_of_a_class_without_positives_stops_above_its_false_answers():
    labels = np.zeros((3, 24), dtype=bool)
    labels[:, :2] = True
    probabilities = np.zeros((3, 24))
    probabilities[:, 0], probabilities[:, 1], probabilities[:, 7] = 0.8, 0.605, [0.55, 0.7, 0.1]
    found = search_thresholds(labels, probabilities)
    assert found.common == 0.6
    assert found.thresholds[7] == 0.71 and np.delete(found.thresholds, 7).tolist() == [0.6] * 23
    assert found.score_common < found.score_class == 1.0


def test_thresholds_stay_at_half_if_the_metric_has_no_scale():
    labels = np.zeros((4, 24), dtype=bool)
    labels[:, SINUS_RHYTHM] = True
    found = search_thresholds(labels, np.random.default_rng(0).random((4, 24)))
    assert found.common == 0.5 and (found.thresholds == 0.5).all() and found.score_class == 0.0


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        (np.zeros((3, 24)), np.zeros((2, 24))),
        (np.zeros((3, 23)), np.zeros((3, 23))),
        (np.zeros((2, 24)), np.full((2, 24), np.nan)),
        (np.zeros((2, 24)), np.full((2, 24), 1.5)),
    ],
)
def test_mismatched_shapes_and_invalid_probabilities_are_refused(labels, probabilities):
    with pytest.raises(ValueError):
        search_thresholds(labels, probabilities)


def test_the_first_of_the_most_probable_classes_is_always_on():
    probabilities = np.zeros((3, 24))
    probabilities[0, [4, 9]] = 0.3, 0.2
    probabilities[1, [4, 9]] = 0.25
    answers = apply_thresholds(probabilities, 0.9)
    assert np.argwhere(answers).tolist() == [[0, 4], [1, 4], [2, 0]]


def test_a_probability_at_its_threshold_is_on():
    probabilities = np.full((1, 24), 0.3)
    thresholds = np.full(24, 0.31)
    thresholds[5] = 0.3
    assert np.flatnonzero(apply_thresholds(probabilities, thresholds)).tolist() == [0, 5]


def test_a_nan_is_neither_on_nor_the_most_probable():
    probabilities = np.full((1, 24), np.nan)
    probabilities[0, 6] = 0.01
    assert np.flatnonzero(apply_thresholds(probabilities, 0.5)).tolist() == [6]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_vote_needs_half_of_the_networks_or_the_most_votes(seed, networks):
    answers = np.random.default_rng(seed).random((networks, 3, 24)) < 0.2
    for r, row in enumerate(vote(answers)):
        votes = [sum(int(answers[n, r, k]) for n in range(networks)) for k in range(24)]
        expected = {k for k in range(24) if votes[k] >= networks / 2} | {votes.index(max(votes))}
        assert set(np.flatnonzero(row)) == expected


def test_the_vote_of_one_network_is_its_answer():
    answers = apply_thresholds(np.random.default_rng(4).random((10, 24)), 0.8)
    assert (vote(answers[None]) == answers).all()


def test_threshold_curves_equal_the_metric() -> None:
    random = np.random.default_rng(2)
    labels = random.random((40, 24)) < 0.15
    probabilities = np.clip(0.3 * labels + random.random(labels.shape) * 0.6, 0, 1)
    fixed = random.random(24)
    curves = threshold_curves(labels, probabilities, fixed, steps=20)
    assert curves.shape == (24, 21) and threshold_curves(labels, probabilities, fixed).shape == (24, 101)
    for k in (0, 7, 23):
        for step in (0, 5, 13, 20):
            thresholds = np.where(np.arange(24) == k, step / 20, fixed)
            assert curves[k, step] == pytest.approx(
                challenge_metric(labels, apply_thresholds(probabilities, thresholds))
            )
    with pytest.raises(ValueError, match=r"labels \(40, 24\) and probabilities \(39, 24\)"):
        threshold_curves(labels, probabilities[1:], fixed)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([0.0, 0.3, 1.0]))
def test_the_constant_baseline_is_built_greedily(seed, recordings, label_rate):
    labels = draw(seed, recordings, 10, label_rate, True)[0]

    def earned(answer):
        return naive.reward_sum(labels, np.tile(np.isin(np.arange(24), list(answer)), (recordings, 1)), REWARDS)

    answer = set()
    while len(answer) < 24:
        best = max((k for k in range(24) if k not in answer), key=lambda k: (earned(answer | {k}), -k))
        if answer and earned(answer | {best}) <= earned(answer) + 1e-12:
            break
        answer.add(best)
    found = set(np.flatnonzero(best_constant_labels(labels)).tolist())
    assert found and earned(found) == pytest.approx(earned(answer))
