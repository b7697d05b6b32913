"""From probabilities to an answer: the rules against their plain form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, logit

from leadwise.challenge.classes import CODES, reference_prevalence
from leadwise.decision.calibration import Calibration, fit
from leadwise.decision.expected_reward import best_labels
from leadwise.decision.rules import ExpectedRewardRule, SimulationNetwork, VoteRule, make_rule
from leadwise.decision.thresholds import apply_thresholds, vote
from leadwise.recipes import PAPER, ROBUST, DecisionRecipe


def probabilities(networks: int = 3, recordings: int = 40) -> np.ndarray:
    return expit(np.random.default_rng(1).normal(-3, 2, (networks, recordings, 24)))


def test_a_vote_is_a_vote() -> None:
    given, thresholds = probabilities(), np.random.default_rng(0).random((3, 24))
    answer = make_rule(PAPER.decision, [{"thresholds": row.tolist()} for row in thresholds]).decide(given)
    np.testing.assert_array_equal(
        answer.labels, vote([apply_thresholds(p, t) for p, t in zip(given, thresholds, strict=True)])
    )
    np.testing.assert_allclose(answer.scores, given.mean(0))


def test_the_reward_rule_step_by_step() -> None:
    given, random = probabilities(2), np.random.default_rng(0)
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
    strange = np.arange(given.shape[1]) % 2 == 0
    answer = rule.decide(given, strange)
    calibrated = np.mean(
        [expit(logit(p) / c.temperature + c.offsets) for p, c in zip(given, calibrations, strict=True)], 0
    )
    elsewhere = 0.5 * (logit(reference_prevalence()) - logit(target_prevalence.mean(0)))
    at_home = logit(target_prevalence.mean(0) / 2) - logit(target_prevalence.mean(0))
    moved = logit(calibrated) + np.where(strange[:, None], elsewhere, at_home)
    np.testing.assert_allclose(answer.scores, expit(moved), atol=1e-6)
    np.testing.assert_array_equal(answer.labels, best_labels(answer.scores))
    assert answer.labels.any(1).all() and np.isnan(rule.thresholds).all() and rule.thresholds.shape == (2, 24)


def test_general_zero_leaves_the_calibrated_probabilities() -> None:
    given = probabilities(1)
    calibration = fit(given[0] > 0.3, given[0])
    rule = ExpectedRewardRule((calibration,), np.full(24, 0.1), np.full(24, 0.1), 0.0)
    np.testing.assert_allclose(rule.decide(given).scores, calibration.apply(given[0]), atol=1e-6)


def test_what_only_a_stand_in_taught_is_answered_elsewhere_alone() -> None:
    given = np.full((1, 2, 24), 0.02)
    given[:, :, [13, 20]] = 0.9
    label_prevalence = np.full(24, 0.1)
    label_prevalence[13] = 0  # PVC, which the training data never label
    answer = ExpectedRewardRule((Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), label_prevalence, 1.0).decide(
        given, np.array([False, True])
    )
    assert answer.labels[:, 13].tolist() == [False, True] and answer.labels[:, 20].all()
    assert answer.scores[0, 13] < 1e-4 < answer.scores[1, 13]


def test_an_answer_depends_on_its_recording_alone() -> None:
    given = probabilities(1)
    rule = ExpectedRewardRule((Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), np.full(24, 0.1), 0.5)
    together, alone = rule.decide(given), [rule.decide(given[:, i : i + 1]) for i in range(given.shape[1])]
    np.testing.assert_array_equal(together.labels, np.concatenate([a.labels for a in alone]))
    np.testing.assert_allclose(together.scores, np.concatenate([a.scores for a in alone]), atol=1e-12)


def test_what_is_not_a_number_is_told_as_that() -> None:
    given = probabilities(1, 3)
    given[0, 1, 5] = np.nan
    answer = ExpectedRewardRule((Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), np.full(24, 0.1), 0.5).decide(
        given
    )
    assert np.isnan(answer.scores[1]).all() and np.isfinite(answer.scores[[0, 2]]).all()


def calibrated(temperature: float = 1.0, offsets: int = 24, target_prevalence: int = 24) -> dict[str, object]:
    calibration = {"temperature": temperature, "shared_offset": 0.0, "offsets": [0.0] * offsets}
    return {"calibration": calibration, "target_prevalence": [0.1] * target_prevalence, "label_prevalence": [0.1] * 24}


@pytest.mark.parametrize(
    ("recipe", "fold", "error"),
    [
        (PAPER, {}, KeyError),
        (PAPER, {"thresholds": [0.5] * 23}, ValueError),
        (ROBUST, {"thresholds": [0.5] * 24}, KeyError),
        (ROBUST, calibrated(offsets=1), ValueError),
        (ROBUST, calibrated(temperature=0.0), ValueError),
        (ROBUST, calibrated(target_prevalence=1), ValueError),
        (ROBUST, {"calibration": {"colour": 1}, "target_prevalence": [0.1] * 24}, TypeError),
    ],
)  # fmt: skip
def test_a_fold_that_lacks_something_is_refused(
    recipe: object, fold: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make_rule(recipe.decision, [fold])  # type: ignore[attr-defined]


def test_a_share_beyond_the_whole_way_is_refused() -> None:
    with pytest.raises(ValueError, match="general 2"):
        make_rule(DecisionRecipe(method="reward", prevalence_shift=2.0), [calibrated()])


def test_general_frequencies_are_means_of_sources() -> None:
    frequencies = reference_prevalence()
    assert frequencies.shape == (24,) and (frequencies > 0).all()
    # sinus rhythm by hand: 918 of 5279 (A), 1752 of 9458 (E), 18092 of 21604 (HR), 4 of 1278 (Q)
    by_hand = (918 / 5279 + 1752 / 9458 + 18092 / 21604 + 4 / 1278) / 4
    assert frequencies[CODES.index("426783006")] == pytest.approx(by_hand)
    assert isinstance(make_rule(PAPER.decision, [{"thresholds": [0.5] * 24}]), VoteRule)


def test_the_answer_says_who_was_foreign_where_it_mattered() -> None:
    given, strange = probabilities(1, 3), np.array([True, False, True])
    calibration = Calibration(1.0, 0.0, (0.0,) * 24)
    assert (
        ExpectedRewardRule((calibration,), np.full(24, 0.1), np.full(24, 0.1), 1.0)
        .decide(given, strange)
        .out_of_distribution
        is strange
    )
    assert (
        ExpectedRewardRule((calibration,), np.full(24, 0.1), np.full(24, 0.1), 0.0)
        .decide(given, strange)
        .out_of_distribution
        is None
    )
    assert VoteRule(np.full((1, 24), 0.5)).decide(given, strange).out_of_distribution is None


def test_the_textbook_is_heard_of_foreign_recordings_alone() -> None:
    given, strange = probabilities(3), np.arange(40) % 2 == 0
    target_prevalence, written = np.full(24, 0.1), np.random.default_rng(2).uniform(0.02, 0.5, 24)
    fold = calibrated()
    recipe = DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True)
    rule = make_rule(recipe, [fold, fold], {"target_prevalence": written.tolist(), "share": 0.25})
    answer, without = rule.decide(given, strange), make_rule(recipe, [fold, fold]).decide(given[:2], strange)
    mean = logit(given[:2].mean(0)) + logit(reference_prevalence()) - logit(target_prevalence)
    simulation_network = logit(given[2]) + logit(reference_prevalence()) - logit(written)
    np.testing.assert_allclose(
        answer.scores[strange], expit(0.75 * mean + 0.25 * simulation_network)[strange], atol=1e-6
    )
    np.testing.assert_array_equal(answer.scores[~strange], without.scores[~strange])
    np.testing.assert_array_equal(rule.decide(given).scores, make_rule(recipe, [fold, fold]).decide(given[:2]).scores)
    assert rule.thresholds.shape == (2, 24) and answer.out_of_distribution is strange


def test_a_textbook_counts_as_foreign_where_frequencies_stay() -> None:
    given, strange = probabilities(2, 3), np.array([True, False, True])
    simulation_network = SimulationNetwork(np.full(24, 0.1), 1.0)
    rule = ExpectedRewardRule(
        (Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), np.full(24, 0.1), 0.0, simulation_network
    )
    answer = rule.decide(given, strange)
    assert answer.out_of_distribution is strange
    np.testing.assert_allclose(answer.scores, np.where(strange[:, None], given[1], given[0]), atol=1e-6)


def test_networks_without_a_place_in_the_rule_are_refused() -> None:
    recipe = DecisionRecipe(method="reward", prevalence_shift=1.0)
    with pytest.raises(ValueError, match="probabilities of 2 networks, for 1 calibrations"):
        make_rule(recipe, [calibrated()]).decide(probabilities(2))
    with pytest.raises(ValueError, match="probabilities of 1 networks, for 1 calibrations"):
        make_rule(recipe, [calibrated()], {"target_prevalence": [0.1] * 24, "share": 0.5}).decide(probabilities(1))


@pytest.mark.parametrize(
    ("recipe", "simulation_network", "error"),
    [
        (PAPER.decision, {"target_prevalence": [0.1] * 24, "share": 0.5}, "hears no textbook"),
        (ROBUST.decision, {"target_prevalence": [0.1] * 23, "share": 0.5}, "24 class frequencies"),
        (ROBUST.decision, {"target_prevalence": [1.1] * 24, "share": 0.5}, "class frequencies in"),
        (ROBUST.decision, {"target_prevalence": [0.1] * 24, "share": 1.5}, "share 1.5 is not in"),
        (ROBUST.decision, {"target_prevalence": [0.1] * 24, "share": float("nan")}, "share nan is not in"),
    ],
)  # fmt: skip
def test_a_textbook_of_another_form_is_refused(
    recipe: DecisionRecipe, simulation_network: dict[str, object], error: str
) -> None:
    fold = calibrated() if recipe.method == "reward" else {"thresholds": [0.5] * 24}
    with pytest.raises(ValueError, match=error):
        make_rule(recipe, [fold], simulation_network)
