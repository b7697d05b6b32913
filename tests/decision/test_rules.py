"""From probabilities to an answer: the rules against their plain form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, logit

from leadwise.challenge.classes import CODES, general_frequencies
from leadwise.decision.calibration import Calibration, fit
from leadwise.decision.expected_reward import best_labels
from leadwise.decision.rules import RewardRule, Textbook, VoteRule, make_rule
from leadwise.decision.thresholds import decide, vote
from leadwise.recipes import PAPER, ROBUST, DecisionRecipe


def probabilities(networks: int = 3, recordings: int = 40) -> np.ndarray:
    return expit(np.random.default_rng(1).normal(-3, 2, (networks, recordings, 24)))


def test_a_vote_is_a_vote() -> None:
    given, thresholds = probabilities(), np.random.default_rng(0).random((3, 24))
    answer = make_rule(PAPER.decision, [{"thresholds": row.tolist()} for row in thresholds]).answer(given)
    np.testing.assert_array_equal(answer.labels, vote([decide(p, t) for p, t in zip(given, thresholds, strict=True)]))
    np.testing.assert_allclose(answer.scores, given.mean(0))


def test_the_reward_rule_step_by_step() -> None:
    given, random = probabilities(2), np.random.default_rng(0)
    calibrations = [Calibration(1.3, -0.1, tuple(random.normal(0, 0.3, 24))) for _ in range(2)]
    learned = random.uniform(0.01, 0.3, (2, 24))
    folds = [
        {"calibration": dataclasses.asdict(calibration), "learned": row.tolist(), "labelled": (row / 2).tolist()}
        for calibration, row in zip(calibrations, learned, strict=True)
    ]
    rule = make_rule(DecisionRecipe(method="reward", general=0.5), folds)
    strange = np.arange(given.shape[1]) % 2 == 0
    answer = rule.answer(given, strange)
    calibrated = np.mean(
        [expit(logit(p) / c.temperature + c.offsets) for p, c in zip(given, calibrations, strict=True)], 0
    )
    elsewhere = 0.5 * (logit(general_frequencies()) - logit(learned.mean(0)))
    at_home = logit(learned.mean(0) / 2) - logit(learned.mean(0))
    moved = logit(calibrated) + np.where(strange[:, None], elsewhere, at_home)
    np.testing.assert_allclose(answer.scores, expit(moved), atol=1e-6)
    np.testing.assert_array_equal(answer.labels, best_labels(answer.scores))
    assert answer.labels.any(1).all() and np.isnan(rule.thresholds).all() and rule.thresholds.shape == (2, 24)


def test_general_zero_leaves_the_calibrated_probabilities() -> None:
    given = probabilities(1)
    calibration = fit(given[0] > 0.3, given[0])
    rule = RewardRule((calibration,), np.full(24, 0.1), np.full(24, 0.1), 0.0)
    np.testing.assert_allclose(rule.answer(given).scores, calibration.apply(given[0]), atol=1e-6)


def test_what_only_a_stand_in_taught_is_answered_elsewhere_alone() -> None:
    given = np.full((1, 2, 24), 0.02)
    given[:, :, [13, 20]] = 0.9
    labelled = np.full(24, 0.1)
    labelled[13] = 0  # PVC, which the training data never label
    answer = RewardRule((Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), labelled, 1.0).answer(
        given, np.array([False, True])
    )
    assert answer.labels[:, 13].tolist() == [False, True] and answer.labels[:, 20].all()
    assert answer.scores[0, 13] < 1e-4 < answer.scores[1, 13]


def test_an_answer_depends_on_its_recording_alone() -> None:
    given = probabilities(1)
    rule = RewardRule((Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), np.full(24, 0.1), 0.5)
    together, alone = rule.answer(given), [rule.answer(given[:, i : i + 1]) for i in range(given.shape[1])]
    np.testing.assert_array_equal(together.labels, np.concatenate([a.labels for a in alone]))
    np.testing.assert_allclose(together.scores, np.concatenate([a.scores for a in alone]), atol=1e-12)


def test_what_is_not_a_number_is_told_as_that() -> None:
    given = probabilities(1, 3)
    given[0, 1, 5] = np.nan
    answer = RewardRule((Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), np.full(24, 0.1), 0.5).answer(given)
    assert np.isnan(answer.scores[1]).all() and np.isfinite(answer.scores[[0, 2]]).all()


def calibrated(temperature: float = 1.0, offsets: int = 24, learned: int = 24) -> dict[str, object]:
    calibration = {"temperature": temperature, "shared_offset": 0.0, "offsets": [0.0] * offsets}
    return {"calibration": calibration, "learned": [0.1] * learned, "labelled": [0.1] * 24}


@pytest.mark.parametrize(
    ("recipe", "fold", "error"),
    [
        (PAPER, {}, KeyError),
        (PAPER, {"thresholds": [0.5] * 23}, ValueError),
        (ROBUST, {"thresholds": [0.5] * 24}, KeyError),
        (ROBUST, calibrated(offsets=1), ValueError),
        (ROBUST, calibrated(temperature=0.0), ValueError),
        (ROBUST, calibrated(learned=1), ValueError),
        (ROBUST, {"calibration": {"colour": 1}, "learned": [0.1] * 24}, TypeError),
    ],
)  # fmt: skip
def test_a_fold_that_lacks_something_is_refused(
    recipe: object, fold: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make_rule(recipe.decision, [fold])  # type: ignore[attr-defined]


def test_a_share_beyond_the_whole_way_is_refused() -> None:
    with pytest.raises(ValueError, match="general 2"):
        make_rule(DecisionRecipe(method="reward", general=2.0), [calibrated()])


def test_general_frequencies_are_means_of_sources() -> None:
    frequencies = general_frequencies()
    assert frequencies.shape == (24,) and (frequencies > 0).all()
    # sinus rhythm by hand: 918 of 5279 (A), 1752 of 9458 (E), 18092 of 21604 (HR), 4 of 1278 (Q)
    by_hand = (918 / 5279 + 1752 / 9458 + 18092 / 21604 + 4 / 1278) / 4
    assert frequencies[CODES.index("426783006")] == pytest.approx(by_hand)
    assert isinstance(make_rule(PAPER.decision, [{"thresholds": [0.5] * 24}]), VoteRule)


def test_the_answer_says_who_was_foreign_where_it_mattered() -> None:
    given, strange = probabilities(1, 3), np.array([True, False, True])
    calibration = Calibration(1.0, 0.0, (0.0,) * 24)
    assert RewardRule((calibration,), np.full(24, 0.1), np.full(24, 0.1), 1.0).answer(given, strange).foreign is strange
    assert RewardRule((calibration,), np.full(24, 0.1), np.full(24, 0.1), 0.0).answer(given, strange).foreign is None
    assert VoteRule(np.full((1, 24), 0.5)).answer(given, strange).foreign is None


def test_the_textbook_is_heard_of_foreign_recordings_alone() -> None:
    given, strange = probabilities(3), np.arange(40) % 2 == 0
    learned, written = np.full(24, 0.1), np.random.default_rng(2).uniform(0.02, 0.5, 24)
    fold = calibrated()
    recipe = DecisionRecipe(method="reward", general=1.0, textbook=True)
    rule = make_rule(recipe, [fold, fold], {"learned": written.tolist(), "share": 0.25})
    answer, without = rule.answer(given, strange), make_rule(recipe, [fold, fold]).answer(given[:2], strange)
    mean = logit(given[:2].mean(0)) + logit(general_frequencies()) - logit(learned)
    textbook = logit(given[2]) + logit(general_frequencies()) - logit(written)
    np.testing.assert_allclose(answer.scores[strange], expit(0.75 * mean + 0.25 * textbook)[strange], atol=1e-6)
    np.testing.assert_array_equal(answer.scores[~strange], without.scores[~strange])
    np.testing.assert_array_equal(rule.answer(given).scores, make_rule(recipe, [fold, fold]).answer(given[:2]).scores)
    assert rule.thresholds.shape == (2, 24) and answer.foreign is strange


def test_a_textbook_counts_as_foreign_where_frequencies_stay() -> None:
    given, strange = probabilities(2, 3), np.array([True, False, True])
    textbook = Textbook(np.full(24, 0.1), 1.0)
    rule = RewardRule((Calibration(1.0, 0.0, (0.0,) * 24),), np.full(24, 0.1), np.full(24, 0.1), 0.0, textbook)
    answer = rule.answer(given, strange)
    assert answer.foreign is strange
    np.testing.assert_allclose(answer.scores, np.where(strange[:, None], given[1], given[0]), atol=1e-6)


def test_networks_without_a_place_in_the_rule_are_refused() -> None:
    recipe = DecisionRecipe(method="reward", general=1.0)
    with pytest.raises(ValueError, match="probabilities of 2 networks, for 1 calibrations"):
        make_rule(recipe, [calibrated()]).answer(probabilities(2))
    with pytest.raises(ValueError, match="probabilities of 1 networks, for 1 calibrations"):
        make_rule(recipe, [calibrated()], {"learned": [0.1] * 24, "share": 0.5}).answer(probabilities(1))


@pytest.mark.parametrize(
    ("recipe", "textbook", "error"),
    [
        (PAPER.decision, {"learned": [0.1] * 24, "share": 0.5}, "hears no textbook"),
        (ROBUST.decision, {"learned": [0.1] * 23, "share": 0.5}, "24 class frequencies"),
        (ROBUST.decision, {"learned": [1.1] * 24, "share": 0.5}, "class frequencies in"),
        (ROBUST.decision, {"learned": [0.1] * 24, "share": 1.5}, "share 1.5 is not in"),
        (ROBUST.decision, {"learned": [0.1] * 24, "share": float("nan")}, "share nan is not in"),
    ],
)  # fmt: skip
def test_a_textbook_of_another_form_is_refused(recipe: DecisionRecipe, textbook: dict[str, object], error: str) -> None:
    fold = calibrated() if recipe.method == "reward" else {"thresholds": [0.5] * 24}
    with pytest.raises(ValueError, match=error):
        make_rule(recipe, [fold], textbook)
