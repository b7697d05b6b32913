"""Tests of the decision rules against their plain definitions."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from leadwise.challenge.classes import reference_prevalence
from leadwise.decision.calibration import Calibration, fit
from leadwise.decision.expected_reward import best_labels
from leadwise.decision.lead_sets import LEAD_SETS, REDUCED
from leadwise.decision.rules import IN_DISTRIBUTION, TWELVE, ExpectedRewardRule, SimulationNetwork, VoteRule, make_rule
from leadwise.decision.thresholds import apply_thresholds, vote
from leadwise.decision.typicality import fit_typicality
from leadwise.recipes import PAPER, ROBUST, DecisionRecipe

IDENTITY = Calibration(1.0, 0.0, (0.0,) * 24)
TENTH = np.full(24, 0.1)


def draw_probabilities(networks: int = 3, recordings: int = 40) -> np.ndarray:
    return expit(np.random.default_rng(1).normal(-3, 2, (networks, recordings, 24)))


def one_network(prevalence_shift: float, network: SimulationNetwork | None = None) -> ExpectedRewardRule:
    return ExpectedRewardRule(({TWELVE: IDENTITY},), TENTH, TENTH, prevalence_shift, network)


def fold_entry(temperature: float = 1.0, offsets: int = 24, target_prevalence: int = 24) -> dict[str, Any]:
    calibration = {"temperature": temperature, "shared_offset": 0.0, "offsets": [0.0] * offsets}
    return {"calibration": calibration, "target_prevalence": [0.1] * target_prevalence, "label_prevalence": [0.1] * 24}


def test_the_vote_rule_votes_by_each_networks_thresholds() -> None:
    probabilities, thresholds = draw_probabilities(), np.random.default_rng(0).random((3, 24))
    rule = make_rule(PAPER.decision, [{"thresholds": row.tolist()} for row in thresholds])
    predictions = rule.decide(probabilities)
    answers = [apply_thresholds(p, t) for p, t in zip(probabilities, thresholds, strict=True)]
    assert isinstance(rule, VoteRule)
    np.testing.assert_array_equal(predictions.labels, vote(answers))
    np.testing.assert_allclose(predictions.scores, probabilities.mean(0))


def test_the_expected_reward_rule_step_by_step() -> None:
    probabilities, random = draw_probabilities(2), np.random.default_rng(0)
    calibrations = [Calibration(1.3, -0.1, tuple(random.normal(0, 0.3, 24))) for _ in range(2)]
    target_prevalence = random.uniform(0.01, 0.3, (2, 24))
    folds = [
        {
            "calibration": dataclasses.asdict(calibration),
            "target_prevalence": row.tolist(),
            "label_prevalence": (row / 2).tolist(),
        }
        for calibration, row in zip(calibrations, target_prevalence, strict=True)
    ]
    rule = make_rule(DecisionRecipe(method="reward", prevalence_shift=0.5), folds)
    acquisition = np.random.default_rng(3).normal(0, 2, probabilities.shape[1])
    predictions = rule.decide(probabilities, acquisition)
    pairs = zip(probabilities, calibrations, strict=True)
    calibrated = np.mean([expit(logit(p) / c.temperature + c.offsets) for p, c in pairs], 0)
    outside = 0.5 * (logit(reference_prevalence()) - logit(target_prevalence.mean(0)))
    inside = logit(target_prevalence.mean(0) / 2) - logit(target_prevalence.mean(0))
    weight = expit(logit(IN_DISTRIBUTION) + acquisition)
    mixture = weight[:, None] * expit(logit(calibrated) + inside)
    mixture += (1 - weight[:, None]) * expit(logit(calibrated) + outside)
    np.testing.assert_allclose(predictions.scores, mixture, atol=1e-6)
    np.testing.assert_allclose(predictions.in_distribution, weight)
    gain = np.where(weight < 0.5, 0.005 * (1 - 2 * weight), 0)
    np.testing.assert_array_equal(predictions.labels, best_labels(predictions.scores, least_gain=gain))
    assert 0 < (gain == 0).sum() < len(gain)
    assert predictions.labels.any(1).all()
    assert np.isnan(rule.thresholds).all() and rule.thresholds.shape == (2, 24)


def test_without_a_shift_scores_are_the_calibrated_probabilities() -> None:
    probabilities = draw_probabilities(1)
    calibration = fit(probabilities[0] > 0.3, probabilities[0])
    rule = ExpectedRewardRule(({TWELVE: calibration},), TENTH, TENTH, 0.0)
    np.testing.assert_allclose(rule.decide(probabilities).scores, calibration.apply(probabilities[0]), atol=1e-6)


def test_a_class_learned_only_from_proxy_labels_is_answered_as_far_as_the_hospital_is_in_doubt() -> None:
    probabilities = np.full((1, 4, 24), 0.02)
    probabilities[:, :, [13, 20]] = 0.9
    label_prevalence = TENTH.copy()
    label_prevalence[13] = 0  # PVC, which the training labels never contain
    rule = ExpectedRewardRule(({TWELVE: IDENTITY},), TENTH, label_prevalence, 1.0)
    predictions = rule.decide(probabilities, np.array([np.inf, 0, -5, -np.inf]))
    assert predictions.labels[:, 13].tolist() == [False, True, True, True] and predictions.labels[:, 20].all()
    assert predictions.scores[0, 13] < 1e-4 and (np.diff(predictions.scores[:, 13]) > 0).all()


def test_each_lead_set_has_its_calibration_and_twelve_leads_have_that_of_older_models() -> None:
    probabilities, random = draw_probabilities(2), np.random.default_rng(0)
    own = {name: Calibration(1.0, 0.0, tuple(random.normal(0, 1, 24))) for name in LEAD_SETS}
    entry = fold_entry() | {"calibration": dataclasses.asdict(own[TWELVE])}
    more = {"lead_set_calibrations": {name: dataclasses.asdict(own[name]) for name in REDUCED}}
    lead_sets = np.arange(probabilities.shape[1]) % 3
    for fold, by_name in ((entry | more, own), (entry, dict.fromkeys(LEAD_SETS, own[TWELVE]))):
        found = make_rule(ROBUST.decision, [fold, fold]).decide(probabilities, None, lead_sets).scores
        for index, name in enumerate(LEAD_SETS):
            expected = np.mean([by_name[name].apply(each) for each in probabilities], axis=0)
            np.testing.assert_allclose(found[lead_sets == index], expected[lead_sets == index], atol=1e-9)


def test_a_prediction_does_not_depend_on_the_other_recordings() -> None:
    probabilities, rule = draw_probabilities(1), one_network(0.5)
    together = rule.decide(probabilities)
    alone = [rule.decide(probabilities[:, i : i + 1]) for i in range(probabilities.shape[1])]
    np.testing.assert_array_equal(together.labels, np.concatenate([each.labels for each in alone]))
    np.testing.assert_allclose(together.scores, np.concatenate([each.scores for each in alone]), atol=1e-12)


def test_nan_probabilities_give_nan_scores_for_that_recording_only() -> None:
    probabilities = draw_probabilities(1, 3)
    probabilities[0, 1, 5] = np.nan
    predictions = one_network(0.5).decide(probabilities)
    assert np.isnan(predictions.scores[1]).all() and np.isfinite(predictions.scores[[0, 2]]).all()


@pytest.mark.parametrize(
    ("recipe", "fold", "error"),
    [
        (PAPER, {}, KeyError),
        (PAPER, {"thresholds": [0.5] * 23}, ValueError),
        (PAPER, {"thresholds": [float("nan")] * 24}, ValueError),
        (ROBUST, {"thresholds": [0.5] * 24}, KeyError),
        (ROBUST, fold_entry(offsets=1), ValueError),
        (ROBUST, fold_entry(temperature=0.0), ValueError),
        (ROBUST, fold_entry(target_prevalence=1), ValueError),
        (ROBUST, {"calibration": {"colour": 1}, "target_prevalence": [0.1] * 24}, TypeError),
    ],
)  # fmt: skip
def test_a_fold_with_missing_or_invalid_values_is_refused(
    recipe: Any, fold: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make_rule(recipe.decision, [fold])


def test_a_rule_needs_a_fold() -> None:
    with pytest.raises(ValueError, match="at least one fold"):
        make_rule(PAPER.decision, [])


def test_a_prevalence_shift_above_1_is_refused() -> None:
    with pytest.raises(ValueError, match="prevalence_shift 2"):
        make_rule(DecisionRecipe(method="reward", prevalence_shift=2.0), [fold_entry()])


def test_predictions_have_the_probability_of_in_distribution_if_the_rule_distinguishes() -> None:
    probabilities, acquisition = draw_probabilities(1, 3), np.array([-np.inf, 0, np.inf])
    probabilities[0, 1, 0] = np.nan
    found = one_network(1.0).decide(probabilities, acquisition).in_distribution
    np.testing.assert_array_equal(found, [0, np.nan, 1])
    assert one_network(0.0).decide(probabilities, acquisition).in_distribution is None
    assert one_network(1.0).decide(probabilities).in_distribution is None
    assert VoteRule(np.full((1, 24), 0.5)).decide(probabilities, acquisition).in_distribution is None


def test_a_small_change_of_the_acquisition_changes_the_scores_little() -> None:
    probabilities, rule = draw_probabilities(1), one_network(1.0)
    acquisition = np.linspace(-5, 0, probabilities.shape[1])
    before, after = (rule.decide(probabilities, acquisition - change).scores for change in (0, 0.01))
    assert 0 < np.abs(after - before).max() < 0.01


def test_the_content_counts_with_twelve_leads_for_each_network_and_not_for_the_simulation_network() -> None:
    fitted = [fit_typicality(probabilities) for probabilities in draw_probabilities(2, 200)]
    folds = [fold_entry() | {"typicality": each.as_dict()} for each in fitted if each]
    folds = json.loads(json.dumps(folds))
    network = {"target_prevalence": [0.1] * 24, "weight": 0.5}
    rule = make_rule(DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True), folds, network)
    probabilities, lead_sets = draw_probabilities(3, 40), np.arange(40) % 3
    found = rule.decide(probabilities, np.zeros(40), lead_sets).in_distribution
    ratios = [each.log_ratio(own) for each, own in zip(fitted, probabilities, strict=False) if each]
    expected = expit(logit(IN_DISTRIBUTION) + np.where(lead_sets == 0, np.mean(ratios, axis=0), 0))
    assert found is not None and np.abs(found - expected).max() < 1e-3
    with pytest.raises(ValueError, match="for each fold, or for none"):
        make_rule(ROBUST.decision, [folds[0], fold_entry()])
    with pytest.raises(ValueError, match="typicality of"):
        make_rule(ROBUST.decision, [folds[0] | {"typicality": folds[0]["typicality"] | {"mean": [0.0]}}])


def test_the_simulation_network_is_used_only_for_out_of_distribution_recordings() -> None:
    probabilities, outside = draw_probabilities(3), np.arange(40) % 2 == 0
    acquisition = np.where(outside, -np.inf, np.inf)
    simulated_prevalence = np.random.default_rng(2).uniform(0.02, 0.5, 24)
    folds = [fold_entry(), fold_entry()]
    recipe = DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True)
    rule = make_rule(recipe, folds, {"target_prevalence": simulated_prevalence.tolist(), "weight": 0.25})
    without = make_rule(recipe, folds)
    predictions = rule.decide(probabilities, acquisition)
    trained = logit(probabilities[:2].mean(0)) + logit(reference_prevalence()) - logit(TENTH)
    simulated = logit(probabilities[2]) + logit(reference_prevalence()) - logit(simulated_prevalence)
    pooled = expit(0.75 * trained + 0.25 * simulated)
    np.testing.assert_allclose(predictions.scores[outside], pooled[outside], atol=1e-6)
    expected = without.decide(probabilities[:2], acquisition).scores
    np.testing.assert_array_equal(predictions.scores[~outside], expected[~outside])
    np.testing.assert_array_equal(rule.decide(probabilities).scores, without.decide(probabilities[:2]).scores)
    assert rule.thresholds.shape == (2, 24)


def test_the_simulation_network_alone_makes_a_rule_distinguish_recordings() -> None:
    probabilities, outside = draw_probabilities(2, 3), np.array([True, False, True])
    rule = one_network(0.0, SimulationNetwork(TENTH, 1.0))
    predictions = rule.decide(probabilities, np.where(outside, -np.inf, np.inf))
    np.testing.assert_array_equal(predictions.in_distribution, ~outside)
    expected = np.where(outside[:, None], probabilities[1], probabilities[0])
    np.testing.assert_allclose(predictions.scores, expected, atol=1e-6)


def test_a_wrong_number_of_networks_is_refused() -> None:
    recipe = DecisionRecipe(method="reward", prevalence_shift=1.0)
    with pytest.raises(ValueError, match="probabilities of 2 networks, for 1 calibrations"):
        make_rule(recipe, [fold_entry()]).decide(draw_probabilities(2))
    rule = make_rule(recipe, [fold_entry()], {"target_prevalence": [0.1] * 24, "weight": 0.5})
    with pytest.raises(ValueError, match="probabilities of 1 networks, for 1 calibrations"):
        rule.decide(draw_probabilities(1))


@pytest.mark.parametrize(
    ("recipe", "simulation_network", "error"),
    [
        (PAPER.decision, {"target_prevalence": [0.1] * 24, "weight": 0.5}, "has no simulation-only network"),
        (ROBUST.decision, {"target_prevalence": [0.1] * 23, "weight": 0.5}, "24 class prevalences"),
        (ROBUST.decision, {"target_prevalence": [1.1] * 24, "weight": 0.5}, "class prevalences in"),
        (ROBUST.decision, {"target_prevalence": [0.1] * 24, "weight": 1.5}, "weight 1.5 is not in"),
        (ROBUST.decision, {"target_prevalence": [0.1] * 24, "weight": float("nan")}, "weight nan is not in"),
    ],
)  # fmt: skip
def test_an_invalid_simulation_network_is_refused(
    recipe: DecisionRecipe, simulation_network: dict[str, Any], error: str
) -> None:
    fold = fold_entry() if recipe.method == "reward" else {"thresholds": [0.5] * 24}
    with pytest.raises(ValueError, match=error):
        make_rule(recipe, [fold], simulation_network)
