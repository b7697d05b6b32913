"""Test the scores by subgroup: every recording in one group of each grouping, each group scored as if it were alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.challenge.metric import challenge_metric
from leadwise.decision.thresholds import best_constant_labels
from leadwise.model.validation_results import FEMALE, MALE, UNKNOWN
from leadwise.report.statistics import bootstrap_interval, rewards_of
from leadwise.report.subgroups import MIN_RECORDINGS, Facts, Group, masks_of, nominal_steps, score_groups, subgroups_of
from tests.conftest import header_text
from tests.report.test_statistics import draw


def facts(recordings: int, seed: int = 1) -> Facts:
    """Made-up facts, some of them unknown."""
    random = np.random.default_rng(seed)

    def choose(*values: float) -> np.ndarray:
        return random.choice(values, recordings).astype(np.float32)

    return Facts(
        sexes=choose(UNKNOWN, FEMALE, MALE).astype(np.int8),
        ages=choose(18, 39, 40, 59.5, 60, 79, 80, 300, np.nan),
        steps=choose(1, 4.1, 4.88, 5, np.nan),
        frequencies=choose(257, 500, 1000),
        seconds=choose(4.9, 5, 9.9, 9.998, 10, 10.1, 30, 60, 120, 1800, np.nan),
        sources=tuple(random.choice(["A", "HR", ""], recordings).tolist()),
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_each_recording_is_in_one_group_of_each_grouping(recordings: int, seed: int) -> None:
    for masks in masks_of(facts(recordings, seed)).values():
        np.testing.assert_array_equal(np.sum(list(masks.values()), axis=0), np.ones(recordings))
        assert all(mask.any() for mask in masks.values())


def test_a_subgroup_is_scored_as_if_it_were_alone() -> None:
    labels, answers, _ = draw(3, 400)
    known = facts(400)
    found = subgroups_of(known, labels, answers)
    rows = {(row.grouping, row.name): row for row in found.rows}
    constant = best_constant_labels(labels)
    places = [k for k in range(400) if 40 <= known.ages[k] < 60]
    row = rows["age", "40 to 59"]
    assert row.recordings == len(places) and row.score == challenge_metric(labels[places], answers[places])
    assert row.interval == bootstrap_interval(rewards_of(labels[places], answers[places]))
    assert row.constant == challenge_metric(labels[places], np.tile(constant, (len(places), 1)))
    assert found.rows[0].name == "all recordings" and found.rows[0].score == challenge_metric(labels, answers)
    assert [name for name, _ in found.groupings] == ["all", *masks_of(known)] and not found.uniform


def test_groups_are_in_the_order_of_their_values() -> None:
    masks = masks_of(facts(2000))
    names = {grouping: list(groups) for grouping, groups in masks.items()}
    assert names["sex"] == ["female", "male", "unknown"]
    assert names["age"] == ["under 40", "40 to 59", "60 to 79", "80 and over", "unknown"]
    assert names["sampling frequency"] == ["257 Hz", "500 Hz", "1000 Hz"]
    devices = [f"{hertz} Hz, {step} µV" for hertz in (257, 500, 1000) for step in (1, 5)]
    assert set(names["device"]) == {*devices, "unknown"}
    assert [name for name in names["device"] if name != "unknown"] == devices
    lengths = ["under 5 s", "5 to under 10 s", "10 s", "over 10 to 30 s", "over 30 s to 2 min", "over 2 min", "unknown"]
    assert names["length"] == lengths and names["source"] == ["none", "A", "HR"]


def test_lengths_and_ages_at_the_edge_of_a_band() -> None:
    seconds = np.array([9.998, 30.02, 120, 5, 10.1], np.float32)
    masks = masks_of(replace(facts(5), seconds=seconds, ages=np.full(5, 59.999996, np.float32)))
    lengths = [next(name for name, mask in masks["length"].items() if mask[k]) for k in range(5)]
    assert lengths == ["10 s", "over 10 to 30 s", "over 30 s to 2 min", "5 to under 10 s", "over 10 to 30 s"]
    assert list(masks["age"]) == ["60 to 79"]


def test_a_grouping_of_one_group_is_no_row() -> None:
    labels, answers, _ = draw(3, 60)
    known = replace(facts(60), frequencies=np.full(60, 500, np.float32), steps=np.full(60, np.nan, np.float32))
    found = subgroups_of(known, labels, answers)
    assert found.uniform == {"device": "unknown", "sampling frequency": "500 Hz"}
    assert not {"device", "sampling frequency"} & {row.grouping for row in found.rows}


def test_a_small_group_has_no_score() -> None:
    labels, answers, _ = draw(3, MIN_RECORDINGS)
    groups = [Group("lead set", str(count), labels[:count], answers[:count]) for count in (0, 19, MIN_RECORDINGS)]
    rows = score_groups(groups, best_constant_labels(labels))
    assert [row.recordings for row in rows] == [0, 19, MIN_RECORDINGS] and [row.scored for row in rows] == [0, 0, 1]
    assert np.isnan([rows[1].score, *rows[1].interval, rows[1].constant]).all() and np.isfinite(rows[2].score)


def test_steps_are_those_of_a_type_of_device() -> None:
    steps = np.array([0.98, 1, 1.1, 4, 4.3, 4.88, 5, 2.44, np.nan], np.float32)
    np.testing.assert_allclose(nominal_steps(steps), [1, 1, 1, 5, 5, 5, 5, 2, np.nan])


def test_facts_are_read_from_headers(tmp_path: Path) -> None:
    text = header_text("HR0001", np.ones((12, 5000), np.int16), comments=["#Age: 63", "#Sex: Female", "#Dx: 426783006"])
    (tmp_path / "HR0001.hea").write_text(text)
    (tmp_path / "bad.hea").write_text("bad\n")
    known = Facts.of_headers([tmp_path / name for name in ("HR0001.hea", "bad.hea", "missing.hea")])
    assert known.sexes.tolist() == [FEMALE, UNKNOWN, UNKNOWN] and known.sources == ("HR", "", "")
    expected = {"ages": 63, "frequencies": 500, "seconds": 10, "steps": np.nan}
    for name, value in expected.items():
        np.testing.assert_array_equal(getattr(known, name), [value, np.nan, np.nan])
