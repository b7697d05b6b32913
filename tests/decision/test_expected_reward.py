"""Tests of expected rewards (means over all label sets) and of the greedy labels (nearly as good as the best)."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leadwise.challenge.classes import REWARDS
from leadwise.challenge.metric import earned_rewards, reward_sum
from leadwise.decision.expected_reward import best_labels, expected_reward

SEEDS = st.integers(0, 2**32 - 1)
EXTREMES = (0.0, 1.0, 1e-12, 1 - 1e-12, 0.5)


def draw(seed, recordings, classes, extremes=0.2):
    """Draw probabilities, a share of them at or near 0 and 1, answers, and the rewards of some of the 24 classes."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.4, 1.2, (recordings, classes))
    at_ends = rng.random(probabilities.shape) < extremes
    probabilities[at_ends] = rng.choice(EXTREMES, at_ends.sum())
    chosen = rng.choice(24, classes, replace=False)
    return probabilities, rng.random(probabilities.shape) < 0.4, REWARDS[np.ix_(chosen, chosen)]


def all_answers(classes):
    """Return every answer but the empty one, (2^classes - 1, classes)."""
    return np.array(list(product([False, True], repeat=classes)))[1:]


def by_all_label_sets(p, answer, rewards):
    """Compute the expected reward as the mean over all label sets, weighted by their probability."""
    classes, expected = range(len(p)), 0.0
    for y in product([False, True], repeat=len(p)):
        chance = math.prod(p[j] if y[j] else 1 - p[j] for j in classes)
        union = sum(1 for j in classes if y[j] or answer[j])
        earned = sum(float(rewards[j][k]) for j in classes for k in classes if y[j] and answer[k])
        expected += chance * earned / max(union, 1)
    return expected


def by_counting(p, answer, rewards):
    """Compute the expected reward from the distribution of the number of labels outside the answer."""
    classes, expected = range(len(p)), 0.0
    for j in classes:
        counts = [1.0]  # of labels among the classes outside the answer, j left out
        for i in classes:
            if not answer[i] and i != j:
                counts = [a * (1 - p[i]) + b * p[i] for a, b in zip([*counts, 0.0], [0.0, *counts], strict=True)]
        size = sum(answer) + (not answer[j])
        share = sum(count / (size + n) for n, count in enumerate(counts) if count)
        expected += p[j] * share * sum(float(rewards[j][k]) for k in classes if answer[k])
    return expected


def one_more(answer):
    """Return every answer with one class more, (classes that are off, classes)."""
    return answer | np.eye(len(answer), dtype=bool)[~answer]


# The expectation ------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 6), st.booleans())
def test_the_expectation_is_the_mean_over_all_label_sets(seed, classes, symmetric):
    probabilities, answers, rewards = draw(seed, 2, classes)
    if not symmetric:
        rewards = np.random.default_rng(seed).normal(size=rewards.shape)
    expected = [by_all_label_sets(*row, rewards) for row in zip(probabilities, answers, strict=True)]
    assert expected_reward(probabilities, answers, rewards) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25)
@given(SEEDS, st.sampled_from([0.0, 0.3, 1.0]))
def test_the_expectation_of_24_classes_equals_that_by_counting(seed, extremes):
    probabilities, answers, _ = draw(seed, 2, 24, extremes)
    expected = [by_counting(*row, REWARDS) for row in zip(probabilities, answers, strict=True)]
    assert expected_reward(probabilities, answers) == pytest.approx(expected, abs=1e-12)


@given(SEEDS)
def test_certain_labels_earn_the_reward_of_the_metric(seed):
    labels, answers = np.random.default_rng(seed).random((2, 5, 24)) < 0.15
    expected = expected_reward(labels, answers)
    assert expected.sum() == pytest.approx(reward_sum(labels, answers, earned_rewards(labels)), abs=1e-12)


def test_an_empty_answer_and_impossible_labels_earn_0():
    answers = np.zeros((2, 24), bool)
    answers[1, 3] = True
    probabilities = np.array([np.full(24, 0.5), np.zeros(24)])
    assert expected_reward(probabilities, answers).tolist() == [0.0, 0.0]


def test_nan_rewards_are_left_out():
    probabilities, answers, rewards = draw(1, 20, 5)
    without = rewards.copy()
    rewards[1, 3], without[1, 3] = np.nan, 0.0
    assert (expected_reward(probabilities, answers, rewards) == expected_reward(probabilities, answers, without)).all()
    assert (best_labels(probabilities, rewards) == best_labels(probabilities, without)).all()


@given(SEEDS, st.integers(2, 24), st.floats(0, 1))
def test_an_answered_class_of_higher_probability_earns_more(seed, classes, chance):
    probabilities, answers, rewards = draw(seed, 3, classes)
    answers[:, 0] = True
    raised = probabilities.copy()
    raised[:, 0] = np.maximum(probabilities[:, 0], chance)
    before, after = (expected_reward(p, answers, rewards) for p in (probabilities, raised))
    assert (after >= before - 1e-12).all()


@given(SEEDS, st.integers(2, 24), st.floats(0, 1))
def test_without_partial_credit_an_unanswered_class_of_higher_probability_earns_less(seed, classes, chance):
    probabilities, answers, _ = draw(seed, 3, classes)
    answers[:, 0] = False
    raised = probabilities.copy()
    raised[:, 0] = np.maximum(probabilities[:, 0], chance)
    before, after = (expected_reward(p, answers, np.eye(classes)) for p in (probabilities, raised))
    assert (after <= before + 1e-12).all()


# The labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4, 7])
def test_greedy_labels_nearly_always_earn_as_much_as_the_best_answer(classes):
    losses = []
    answers = all_answers(classes)
    for seed in range(100):
        p, _, rewards = draw(seed, 1, classes, extremes=0.0)
        top = expected_reward(np.repeat(p, len(answers), axis=0), answers, rewards).max()
        losses.append(1 - expected_reward(p, best_labels(p, rewards), rewards)[0] / top)
    assert min(losses) >= -1e-12  # nothing is better than the best
    assert np.mean(np.array(losses) > 1e-9) <= 0.04 and np.mean(losses) < 0.001 and max(losses) < 0.05


@given(SEEDS, st.integers(1, 24))
@example(0, 24)
def test_at_least_one_class_is_answered_and_no_single_class_more_earns_more(seed, classes):
    probabilities, _, rewards = draw(seed, 3, classes)
    labels = best_labels(probabilities, rewards)
    assert labels.any(axis=1).all()
    for p, answer, reward in zip(probabilities, labels, expected_reward(probabilities, labels, rewards), strict=True):
        alone = np.eye(classes, dtype=bool)
        for others in (one_more(answer), alone):
            found = expected_reward(np.repeat(p[None], len(others), axis=0), others, rewards)
            assert (found <= reward + 1e-11).all()


def naive_labels(p, rewards, least_gain):
    """Try each class in turn by `expected_reward`."""
    classes = len(p)
    answer, best = np.zeros(classes, bool), -np.inf
    while not answer.all():
        trials = [answer | row for row in np.eye(classes, dtype=bool) if not (answer & row).any()]
        found = expected_reward(np.repeat(p[None], len(trials), axis=0), np.array(trials), rewards)
        if not found.max() > best + least_gain + 1e-12:
            break
        answer, best = trials[int(found.argmax())], found.max()
    return answer


@given(SEEDS, st.integers(2, 24), st.floats(0, 0.2))
def test_each_label_raises_the_expected_reward_by_the_least_gain(seed, classes, least_gain):
    probabilities, _, rewards = draw(seed, 3, classes, extremes=0.0)
    gains = np.array([0.0, least_gain, 1.0])  # each recording its own; more than any label raises it
    labels = best_labels(probabilities, rewards, gains)
    for p, answer, gain in zip(probabilities, labels, gains, strict=True):
        assert answer.tolist() == naive_labels(p, rewards, gain).tolist()
    assert labels[2].sum() == 1


@settings(max_examples=5)
@given(SEEDS)
def test_the_labels_of_a_recording_do_not_depend_on_the_others(seed):
    probabilities, _, _ = draw(seed, 600, 24)  # more than a block
    order = np.random.default_rng(seed).permutation(len(probabilities))
    labels = best_labels(probabilities)
    assert (best_labels(probabilities[order]) == labels[order]).all()
    for one in order[:5]:
        assert (best_labels(probabilities[one : one + 1]) == labels[one]).all()


@given(SEEDS, st.integers(2, 24))
def test_the_order_of_the_classes_affects_only_ties(seed, classes):
    probabilities, _, rewards = draw(seed, 4, classes, extremes=0.0)
    order = np.random.default_rng(seed).permutation(classes)
    labels = best_labels(probabilities[:, order], rewards[np.ix_(order, order)])
    assert (labels == best_labels(probabilities, rewards)[:, order]).all()


def test_one_or_two_certain_diagnoses_are_the_answer():
    sets = [*combinations(range(24), 1), *combinations(range(24), 2)]
    labels = np.array([np.isin(np.arange(24), chosen) for chosen in sets])
    assert (best_labels(labels.astype(float)) == labels).all()


@given(SEEDS, st.integers(1, 24))
def test_without_partial_credit_certain_diagnoses_are_the_answer(seed, classes):
    labels = np.random.default_rng(seed).random((5, classes)) < 0.5
    labels[~labels.any(axis=1), 0] = True
    assert (best_labels(labels.astype(float), np.eye(classes)) == labels).all()


def test_the_first_of_equal_classes_is_answered():
    assert np.flatnonzero(best_labels(np.zeros((1, 24)))).tolist() == [0]
    against = np.array([[1.0, -1.0], [-1.0, 1.0]])  # each class costs what the other earns
    assert best_labels(np.array([[0.4, 0.4]]), against).tolist() == [[True, False]]


def test_a_class_that_adds_no_reward_is_not_answered():
    # One certain class and one of probability q: alone 1 - q/2, together (1 + q)/2, equal at 1/2.
    added = [best_labels(np.array([[1.0, q]]), np.eye(2))[0, 1] for q in (0.49, 0.5, 0.51)]
    assert added == [False, False, True]


def test_partial_credit_can_make_an_impossible_class_part_of_the_best_answer():
    # Two diagnoses that pay each other nothing, and an impossible one that both pay well: 0.507 with it, 0.449 without.
    rewards = np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.9], [0.9, 0.9, 1.0]])
    probabilities = np.array([[0.4, 0.4, 0.0]])
    assert best_labels(probabilities, rewards).tolist() == [[True, True, True]]
    assert best_labels(probabilities, np.eye(3)).tolist() == [[True, True, False]]


def test_no_recordings_are_no_error():
    assert expected_reward(np.zeros((0, 24)), np.zeros((0, 24), bool)).shape == (0,)
    assert best_labels(np.zeros((0, 24))).shape == (0, 24)


@pytest.mark.parametrize(
    "probabilities",
    [
        np.full((2, 24), np.nan),
        np.full((2, 24), 1.01),
        np.full((2, 24), -0.01),
        np.zeros((2, 23)),
        np.zeros(24),
        np.zeros((2, 0)),
    ],
)
def test_invalid_probabilities_are_refused(probabilities):
    with pytest.raises(ValueError):
        best_labels(probabilities)
    with pytest.raises(ValueError):
        expected_reward(probabilities, np.zeros(probabilities.shape, bool))


def test_answers_of_another_shape_are_refused():
    with pytest.raises(ValueError):
        expected_reward(np.zeros((2, 24)), np.zeros((1, 24), bool))
    with pytest.raises(ValueError):
        expected_reward(np.zeros((2, 3)), np.zeros((2, 3), bool), np.eye(4))
