"""The paired bootstrap equals a plain one, and the command prints it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import challenge_metric
from leadwise.challenge.outputs import write_output
from leadwise.report.statistics import rewards_of
from studies.compare import compare
from tests.commands import run
from tests.conftest import header_text


def draw(seed: int, recordings: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, answers and scores of recordings, some of them without a label."""
    random = np.random.default_rng(seed)
    labels = random.random((recordings, 24)) < random.uniform(0, 0.2, 24)
    scores = np.clip(0.6 * labels + random.normal(0.2, 0.2, labels.shape), 0, 1).round(3)
    return labels, scores >= 0.5, scores


def test_the_difference_equals_that_of_a_plain_paired_bootstrap() -> None:
    labels, answers, scores = draw(5, 60)
    others = scores >= 0.35
    random = np.random.default_rng(9)
    drawn = [random.integers(60, size=60) for _ in range(300)]
    plain = [
        challenge_metric(labels[rows], others[rows]) - challenge_metric(labels[rows], answers[rows]) for rows in drawn
    ]
    found = compare(rewards_of(labels, answers), rewards_of(labels, others), 300, 9)
    assert found.value == pytest.approx(challenge_metric(labels, others) - challenge_metric(labels, answers))
    np.testing.assert_allclose((found.low, found.high), np.percentile(plain, [2.5, 97.5]), atol=1e-12)
    assert found.share_better == pytest.approx(np.mean(np.array(plain) > 0))


def test_equal_answers_do_not_differ_and_other_recordings_are_refused() -> None:
    labels, answers, _ = draw(6)
    assert compare(rewards_of(labels, answers), rewards_of(labels, answers)) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="different recordings"):
        compare(rewards_of(labels, answers), rewards_of(~labels, answers))


def test_the_command_prints_both_and_the_interval(tmp_path: Path) -> None:
    labels, answers, scores = draw(7, 20)
    for folder in ("labels", "a", "b"):
        (tmp_path / folder).mkdir()
    for place in range(20):
        name, codes = f"A{place:04d}", ",".join(np.array(CODES)[labels[place]])
        text = header_text(name, np.ones((12, 5), np.int16), comments=[f"#Dx: {codes}"])
        (tmp_path / "labels" / f"{name}.hea").write_text(text)
        write_output(tmp_path / "a" / f"{name}.csv", name, CODES, answers[place].astype(int), scores[place])
        write_output(tmp_path / "b" / f"{name}.csv", name, CODES, labels[place].astype(int), scores[place])
    printed = run("-m", "studies.compare", tmp_path / "labels", tmp_path / "a", tmp_path / "b").stdout
    score = challenge_metric(labels, answers)
    assert f"Challenge metric  {score:8.3f}{1:8.3f}{1 - score:+8.3f}" in printed
    assert f"B - A: {1 - score:+.3f}, 95 % interval" in printed and "of 20 recordings" in printed
    assert "usage: " in run("-m", "studies.compare", tmp_path, status=1).stderr
    missing = run("-m", "studies.compare", tmp_path / "labels", tmp_path / "a", tmp_path / "none", status=1).stderr
    assert "no output" in missing and len(missing.splitlines()) == 1
