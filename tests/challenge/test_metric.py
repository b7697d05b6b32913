"""Tests of the metrics: equal to naive implementations, and to values worked out by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leadwise.challenge.classes import CODES, REWARDS, SINUS_RHYTHM, class_index
from leadwise.challenge.metric import challenge_metric, evaluate
from tests import naive

AF, STACH = class_index("164889003"), class_index("427084000")
TOLERANCE = 1e-12


@dataclasses.dataclass
class Case:
    """Parameters of random labels, answers and scores, degenerate ones included."""

    seed: int
    recordings: int
    label_rate: float
    answer_rate: float
    levels: int  # distinct scores: 1 ties all, 2 and 5 many
    nan_rate: float
    constant: str  # every fifth class: unchanged (""), all positive, or all negative

    def draw(self):
        rng = np.random.default_rng(self.seed)
        shape = (self.recordings, len(CODES))
        labels = rng.random(shape) < self.label_rate
        if self.constant:
            labels[:, ::5] = self.constant == "positive"
        scores = rng.integers(self.levels, size=shape) / max(self.levels - 1, 1)
        scores[rng.random(shape) < self.nan_rate] = np.nan
        return labels, rng.random(shape) < self.answer_rate, scores


RATES = st.sampled_from([0.0, 0.05, 0.3, 1.0])
CASES = st.builds(
    Case,
    seed=st.integers(0, 2**32 - 1),
    recordings=st.integers(1, 40),
    label_rate=RATES,
    answer_rate=RATES,
    levels=st.sampled_from([1, 2, 5, 2**52]),
    nan_rate=st.sampled_from([0.0, 0.2, 1.0]),
    constant=st.sampled_from(["", "positive", "negative"]),
)


def one_hot(*classes):
    return np.isin(np.arange(len(CODES)), classes)


@settings(max_examples=150)
@given(CASES)
@example(Case(0, 1, 0.0, 0.0, 1, 1.0, ""))  # no positive, no answer, no score
@example(Case(0, 7, 1.0, 1.0, 1, 0.0, ""))  # all positive, all answered, one tie
def test_every_metric_equals_the_naive_one(case):
    labels, answers, scores = case.draw()
    expected = naive.evaluate(labels.tolist(), answers.tolist(), scores.tolist())
    found = dataclasses.asdict(evaluate(labels, answers, scores))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=TOLERANCE, equal_nan=True, err_msg=name)


def test_many_recordings_do_not_lose_precision():
    rng = np.random.default_rng(1)
    labels = rng.random((4000, 24)) < rng.uniform(0.001, 0.5, 24)
    scores = rng.random((4000, 24)).round(3)
    expected = naive.evaluate(labels.tolist(), (scores > 0.7).tolist(), scores.tolist())
    for name, value in dataclasses.asdict(evaluate(labels, scores > 0.7, scores)).items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE, err_msg=name)


def test_areas_of_six_recordings_worked_out_by_hand():
    labels = np.zeros((6, 24), dtype=bool)
    scores = np.zeros((6, 24))
    labels[:, AF] = [1, 0, 1, 1, 0, 0]
    scores[:, AF] = [0.9, 0.8, 0.8, 0.7, 0.1, np.nan]
    found = evaluate(labels, labels, scores)
    # Recall 1/3 at precision 1, 2/3 at 2/3, 1 at 3/4; of nine pairs seven are in order, one is tied, one is not.
    assert found.class_auprc[AF] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, abs=TOLERANCE)
    assert found.class_auroc[AF] == pytest.approx((7 + 0.5) / 9, abs=TOLERANCE)
    assert found.auroc == found.class_auroc[AF]  # macro: without the classes that have no positive


def test_infinite_scores_rank_first_and_last():
    labels = np.zeros((4, 24), dtype=bool)
    labels[:2, AF] = True
    scores = np.zeros((4, 24))
    scores[:, AF] = [np.inf, np.inf, np.inf, -np.inf]
    found = evaluate(labels, labels, scores)
    assert found.class_auroc[AF] == pytest.approx(0.75) and found.class_auprc[AF] == pytest.approx(2 / 3)


def test_without_positives_only_accuracy_and_the_challenge_metric_are_defined():
    nothing = np.zeros((3, 24), dtype=bool)
    found = evaluate(nothing, nothing, np.zeros((3, 24)))
    assert np.isnan([found.auroc, found.auprc, found.f_measure, found.f_beta, found.g_beta]).all()
    assert (found.accuracy, found.challenge_metric) == (1.0, 0.0)


def test_without_negatives_auprc_is_defined_but_auroc_is_not():
    everything = np.ones((3, 24), dtype=bool)
    found = evaluate(everything, everything, np.zeros((3, 24)))
    assert np.isnan(found.auroc) and found.auprc == 1.0


def test_accuracy_requires_all_24_labels_right():
    labels = np.zeros((4, 24), dtype=bool)
    answers = labels.copy()
    answers[0, 3] = True
    assert evaluate(labels, answers, np.zeros((4, 24))).accuracy == 0.75


def test_beta_measures_weight_a_recording_by_its_number_of_labels():
    labels = np.array([one_hot(AF), one_hot(AF, STACH), one_hot()])
    answers = np.array([one_hot(AF), one_hot(STACH), one_hot(AF)])
    found = evaluate(labels, answers, np.zeros((3, 24)))
    # AF: TP 1, FN 1/2, and FP 1, for a recording without labels weighs 1.
    assert found.class_f_beta[AF] == pytest.approx(5 / (5 + 1 + 4 / 2), abs=TOLERANCE)
    assert found.class_g_beta[AF] == pytest.approx(1 / (1 + 1 + 2 / 2), abs=TOLERANCE)
    assert found.class_f_measure[AF] == pytest.approx(2 / (2 + 1 + 1), abs=TOLERANCE)
    assert found.f_beta == pytest.approx((5 / 8 + 1) / 2, abs=TOLERANCE)


def test_the_challenge_metric_is_one_for_the_labels_and_zero_for_sinus_rhythm():
    rng = np.random.default_rng(2)
    labels = rng.random((50, 24)) < 0.1
    sinus = np.tile(one_hot(SINUS_RHYTHM), (50, 1))
    assert challenge_metric(labels, labels) == 1.0
    assert challenge_metric(labels, sinus) == 0.0
    assert challenge_metric(sinus, ~sinus) == 0.0  # the labels earn what sinus rhythm earns: no scale, by definition 0


def test_the_challenge_metric_of_one_recording_worked_out_by_hand():
    labels, answers = one_hot(AF)[None], one_hot(AF, STACH)[None]
    inactive = REWARDS[AF, SINUS_RHYTHM] / 2
    reward = (REWARDS[AF, AF] + REWARDS[AF, STACH]) / 2
    assert challenge_metric(labels, answers) == pytest.approx((reward - inactive) / (1 - inactive), abs=TOLERANCE)


def test_rewards_that_are_nan_are_left_out():
    rewards = REWARDS.copy()
    rewards[AF, STACH] = np.nan
    zero = np.where(np.isnan(rewards), 0, rewards)
    rng = np.random.default_rng(3)
    labels, answers = rng.random((2, 30, 24)) < 0.3
    assert challenge_metric(labels, answers, rewards) == challenge_metric(labels, answers, zero)
    expected = naive.challenge_metric(labels.tolist(), answers.tolist(), rewards)
    assert challenge_metric(labels, answers, rewards) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("shapes", [((3, 24), (2, 24)), ((3, 23), (3, 23)), ((24,), (24,))])
def test_mismatched_shapes_are_refused(shapes):
    labels, answers = (np.zeros(shape, dtype=bool) for shape in shapes)
    with pytest.raises(ValueError):
        challenge_metric(labels, answers)
    with pytest.raises(ValueError):
        evaluate(labels, answers, np.zeros(shapes[1]))


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="no recordings"):
        evaluate(np.zeros((0, 24)), np.zeros((0, 24)), np.zeros((0, 24)))
    with pytest.raises(ValueError, match="no recordings"):
        challenge_metric(np.zeros((0, 24)), np.zeros((0, 24)))
