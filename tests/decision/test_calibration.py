"""Tests of calibration, prevalence shift and pooling, on simulated probabilities of known truth."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from leadwise.decision.calibration import RIDGE, SHARED_RIDGE, Calibration, fit, pool_probabilities, shift_prior

SEEDS = st.integers(0, 2**32 - 1)


def simulate(seed, recordings, temperature=1.0, offsets=0.0):
    """Draw labels (recordings, 24), and probabilities that a calibration with these parameters corrects."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-2.5, 1, 24) + rng.normal(0, 2, (recordings, 24))  # logits
    labels = rng.random(truth.shape) < expit(truth)
    return labels, expit(temperature * (truth - offsets))


def cross_entropy(labels, probabilities):
    return float(-np.mean(np.log(np.where(labels, probabilities, 1 - probabilities))))


def penalised(labels, probabilities, ridge, temperature, shared, offsets):
    """Compute the loss that `fit` minimises, by its definition, in loops."""
    loss = SHARED_RIDGE / 2 * (math.log(temperature) ** 2 + shared**2)
    loss += ridge / 2 * sum((offset - shared) ** 2 for offset in offsets)
    for y, p in zip(labels, probabilities, strict=True):
        for label, chance, offset in zip(y, p, offsets, strict=True):
            calibrated = math.log(chance / (1 - chance)) / temperature + offset
            loss += math.log1p(math.exp(-calibrated if label else calibrated))
    return loss


# Fitting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_the_true_parameters_of_simulated_networks_are_found(temperature):
    offsets = np.random.default_rng(3).normal(0.3, 0.4, 24)
    found = fit(*simulate(1, 6000, temperature, offsets))
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    assert found.shared_offset == pytest.approx(offsets.mean(), abs=0.08)
    assert np.abs(np.array(found.offsets) - offsets).mean() < 0.08


def test_calibrated_probabilities_hardly_change():
    found = fit(*simulate(2, 6000))
    assert found.temperature == pytest.approx(1, abs=0.03)
    assert np.abs(found.offsets).max() < 0.2


def test_a_calibration_of_one_fold_improves_new_recordings():
    offsets = np.random.default_rng(4).normal(-0.4, 0.4, 24)
    labels, probabilities = simulate(5, 4000, 1.5, offsets)
    calibration = fit(labels[:420], probabilities[:420])
    before, after = probabilities[420:], calibration.apply(probabilities[420:])
    assert cross_entropy(labels[420:], after) < cross_entropy(labels[420:], before) - 0.01
    # Nearly as good as the true parameters, and better than without a ridge, with so few recordings.
    truth = Calibration(1.5, -0.4, tuple(offsets)).apply(before)
    free = fit(labels[:420], probabilities[:420], ridge=1e-3).apply(before)
    assert cross_entropy(labels[420:], after) < cross_entropy(labels[420:], truth) + 0.003
    assert cross_entropy(labels[420:], after) < cross_entropy(labels[420:], free)


@settings(max_examples=15)
@given(SEEDS, st.integers(1, 30), st.sampled_from([0.1, RIDGE, 100.0]))
def test_no_neighbour_of_the_calibration_has_a_higher_penalised_likelihood(seed, recordings, ridge):
    labels, probabilities = simulate(seed, recordings, 1.3, 0.5)
    labels, probabilities = labels[:, :5], probabilities[:, :5]
    found = fit(labels, probabilities, ridge)
    numbers = np.array([found.temperature, found.shared_offset, *found.offsets])
    least = penalised(labels, probabilities, ridge, numbers[0], numbers[1], numbers[2:])
    for step in np.vstack([np.eye(7), np.random.default_rng(seed).normal(size=(5, 7)) / 3]) * 0.01:
        for near in (numbers + step, numbers - step):
            assert penalised(labels, probabilities, ridge, near[0], near[1], near[2:]) > least


def test_without_a_ridge_mean_probabilities_equal_the_prevalence():
    labels, probabilities = simulate(6, 500, 1.4, 0.5)
    calibrated = fit(labels, probabilities, ridge=1e-9).apply(probabilities)
    assert calibrated.mean(axis=0) == pytest.approx(labels.mean(axis=0), abs=1e-6)


def test_a_high_ridge_gives_every_class_the_shared_offset():
    found = fit(*simulate(7, 300, 1.2, 0.5), ridge=1e9)
    assert found.offsets == pytest.approx([found.shared_offset] * 24, abs=1e-5)


def test_a_higher_ridge_brings_the_offsets_closer_together():
    labels, probabilities = simulate(8, 300, 1.2, np.linspace(-1, 1, 24))
    spreads = [np.std(fit(labels, probabilities, ridge).offsets) for ridge in (0.1, 1, 10, 100)]
    assert spreads == sorted(spreads, reverse=True)


# Missing classes and other uninformative data --------------------------------------------------------------------


def test_a_class_without_positives_is_lowered_as_far_as_the_ridge_allows():
    labels, probabilities = simulate(9, 420)
    labels[:, [0, 5]] = False
    probabilities[:, 0] = np.random.default_rng(0).random(420) * 1e-4  # nearly excluded already
    found = fit(labels, probabilities)
    assert found.offsets[0] == pytest.approx(found.shared_offset, abs=0.01)
    assert -5 < found.offsets[5] < found.shared_offset
    calibrated = found.apply(probabilities)
    assert calibrated[:, 5].mean() < 0.05 < probabilities[:, 5].mean()
    # The price of the ridge is the expected number of false positives: their gradients balance.
    assert calibrated[:, 5].sum() == pytest.approx(RIDGE * (found.shared_offset - found.offsets[5]), abs=1e-3)


@pytest.mark.parametrize("answer", [False, True])
def test_constant_labels_give_finite_parameters(answer):
    found = fit(np.full((50, 24), answer), np.full((50, 24), 0.5))
    assert found.temperature == pytest.approx(1)
    assert 2 < abs(found.shared_offset) < 10


def test_certain_probabilities_give_finite_parameters():
    labels = np.random.default_rng(10).random((60, 24)) < 0.2
    right, wrong = fit(labels, labels.astype(float)), fit(labels, 1.0 - labels)
    assert right.temperature == pytest.approx(1, abs=0.05)
    assert wrong.temperature > 20  # probabilities that are always wrong are flattened, not inverted
    frequencies = wrong.apply(1.0 - labels)
    assert np.abs(frequencies - labels.mean()).max() < 0.15


def test_one_recording_changes_little():
    for seed in range(10):
        found = fit(*simulate(seed, 1))
        assert 0.5 < found.temperature < 2 and np.abs(found.offsets).max() < 1.2


# A calibration as data ------------------------------------------------------------------------------------------


@given(SEEDS, st.floats(0.2, 5))
def test_the_order_of_the_recordings_in_a_class_is_kept(seed, temperature):
    rng = np.random.default_rng(seed)
    probabilities = rng.random((20, 24))
    calibrated = Calibration(temperature, 0.0, tuple(rng.normal(size=24))).apply(probabilities)
    assert (np.argsort(calibrated, axis=0) == np.argsort(probabilities, axis=0)).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_applying_divides_logits_and_adds_offsets():
    calibrated = Calibration(2.0, 0.0, (0.0, 1.0)).apply([[0.9, 0.2]])
    assert logit(calibrated) == pytest.approx(np.array([[logit(0.9) / 2, logit(0.2) / 2 + 1]]))


def test_a_calibration_survives_json():
    found = fit(*simulate(12, 100, 1.2, 0.3))
    assert Calibration(**json.loads(json.dumps(asdict(found)))) == found


def test_fitting_is_deterministic():
    assert fit(*simulate(13, 200)) == fit(*simulate(13, 200))


@pytest.mark.parametrize(
    ("temperature", "offsets"), [(0.0, (0.0,)), (-1.0, (0.0,)), (math.nan, (0.0,)), (1.0, (math.inf,))]
)
def test_a_calibration_with_invalid_parameters_is_refused(temperature, offsets):
    with pytest.raises(ValueError):
        Calibration(temperature, 0.0, offsets)


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1])
def test_invalid_probabilities_and_prevalences_are_refused(wrong):
    labels, probabilities = simulate(14, 5)
    frequencies = np.full(24, 0.1)
    probabilities[3, 7] = wrong
    with pytest.raises(ValueError):
        fit(labels, probabilities)
    with pytest.raises(ValueError):
        Calibration(1.0, 0.0, (0.0,) * 24).apply(probabilities)
    with pytest.raises(ValueError):
        shift_prior(probabilities, frequencies, frequencies)
    with pytest.raises(ValueError):
        shift_prior(np.full((5, 24), 0.5), frequencies, np.full(24, wrong))
    with pytest.raises(ValueError):
        shift_prior(np.full((5, 24), 0.5), frequencies, frequencies, share=wrong)


def test_mismatched_shapes_are_refused():
    labels, probabilities = simulate(15, 5)
    for arguments in ((labels[:4], probabilities), (labels[:0], probabilities[:0]), (labels, probabilities, 0.0)):
        with pytest.raises(ValueError):
            fit(*arguments)
    with pytest.raises(ValueError):
        Calibration(1.0, 0.0, (0.0,) * 23).apply(probabilities)
    for frequencies, share in ((np.full(23, 0.1), 1.0), (np.full(24, 0.1), np.ones(4))):
        with pytest.raises(ValueError):
            shift_prior(probabilities, frequencies, frequencies, share)


# Other prevalences ----------------------------------------------------------------------------------------------


def posterior(measured, frequency):
    """Compute P(class | a measurement that is normal around 1 with the class and around -1 without) by Bayes' rule."""
    present, absent = np.exp(-((measured - 1) ** 2) / 2), np.exp(-((measured + 1) ** 2) / 2)
    return frequency * present / (frequency * present + (1 - frequency) * absent)


@given(SEEDS)
def test_shifting_gives_the_posterior_of_the_other_prevalence(seed):
    rng = np.random.default_rng(seed)
    measured = rng.normal(size=(10, 24))
    here, there = rng.uniform(0.01, 0.9, (2, 24))
    shifted = shift_prior(posterior(measured, here), here, there)
    assert shifted == pytest.approx(posterior(measured, there), abs=1e-9)


def test_shifted_probabilities_are_calibrated_at_the_other_prevalence():
    rng = np.random.default_rng(16)
    labels = rng.random((20000, 2)) < [0.3, 0.05]
    measured = rng.normal(np.where(labels, 1, -1))
    trained = posterior(measured, np.array([0.1, 0.4]))
    shifted = shift_prior(trained, [0.1, 0.4], [0.3, 0.05])
    assert shifted.mean(axis=0) == pytest.approx(labels.mean(axis=0), abs=0.01)
    assert np.abs(trained.mean(axis=0) - labels.mean(axis=0)).min() > 0.1
    calibration = fit(labels, shifted)
    assert calibration.temperature == pytest.approx(1, abs=0.05)
    assert calibration.offsets == pytest.approx([0, 0], abs=0.1)


@given(SEEDS, st.floats(0, 1))
def test_partial_shifts_add_up(seed, share):
    rng = np.random.default_rng(seed)
    probabilities, (here, there) = rng.uniform(0.001, 0.999, (6, 24)), rng.uniform(0.01, 0.5, (2, 24))
    first = shift_prior(probabilities, here, there, share)
    assert shift_prior(first, here, there, 1 - share) == pytest.approx(
        shift_prior(probabilities, here, there), abs=1e-9
    )
    assert shift_prior(first, there, here, share) == pytest.approx(probabilities, abs=1e-9)


@given(SEEDS)
def test_each_recording_may_have_its_own_share(seed):
    rng = np.random.default_rng(seed)
    probabilities, (here, there) = rng.uniform(0.001, 0.999, (4, 24)), rng.uniform(0.01, 0.5, (2, 24))
    shares = rng.random(4)
    together = shift_prior(probabilities, here, there, shares)
    for r, share in enumerate(shares):
        assert (together[r] == shift_prior(probabilities[r : r + 1], here, there, share)[0]).all()
    assert (shift_prior(probabilities, here, there) > probabilities)[:, there > here].all()


def test_a_class_missing_in_training_gets_the_prevalence_as_its_probability():
    probabilities = np.array([[1e-6, 0.5], [3e-4, 0.5], [0.2, 0.5]])
    shifted = shift_prior(probabilities, [0.0, 0.2], [0.06, 0.2])
    assert shifted == pytest.approx(np.array([[0.06, 0.5]] * 3))
    half_way = shift_prior(probabilities, [0.0, 0.2], [0.06, 0.2], share=0.5)[:, 0]
    assert logit(half_way) == pytest.approx((logit(probabilities[:, 0]) + logit(0.06)) / 2)


def test_a_class_of_prevalence_zero_is_excluded():
    assert shift_prior([[0.7, 0.5]], [0.1, 0.2], [0.0, 0.2])[0] == pytest.approx([0, 0.5], abs=1e-5)


@given(SEEDS, st.floats(0, 1))
def test_pooling_averages_logits(seed, share):
    first, second = np.random.default_rng(seed).uniform(0.001, 0.999, (2, 5, 24))
    pooled = pool_probabilities(first, second, share)
    assert logit(pooled) == pytest.approx((1 - share) * logit(first) + share * logit(second), abs=1e-6)
    assert pool_probabilities(second, first, 1 - share) == pytest.approx(pooled, abs=1e-9)
    assert pool_probabilities(first, first, share) == pytest.approx(first, abs=1e-6)
    here, there = np.full(24, 0.1), np.full(24, 0.3)  # shifting both is shifting the pool
    both = pool_probabilities(shift_prior(first, here, there), shift_prior(second, here, there), share)
    assert both == pytest.approx(shift_prior(pooled, here, there), abs=1e-6)


@pytest.mark.parametrize(
    ("others", "weight", "error"),
    [
        (np.full((2, 23), 0.5), 0.5, "differ in shape"),
        (np.full((2, 24), 0.5), 1.5, "weight"),
        ([[2.0] * 24] * 2, 0.5, "probabilities must lie"),
    ],
)
def test_probabilities_that_cannot_be_pooled_are_refused(others, weight, error):
    with pytest.raises(ValueError, match=error):
        pool_probabilities(np.full((2, 24), 0.5), others, weight)
