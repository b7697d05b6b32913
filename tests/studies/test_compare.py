"""Two programs compared: the paired bootstrap is the plain one, and the command says what it found. The network drawn
has the network's own numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import challenge_metric
from leadwise.challenge.outputs import write_output
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import RECIPES
from studies.network_drawing import draw_network, steps_of
from leadwise.report.sheet.paper import figure_bytes
from leadwise.report.statistics import rewards_of
from studies.compare import compare
from tests.conftest import header_text
from tests.report.test_evaluation_page import draw
from tests.test_commands import run


def test_the_difference_is_that_of_a_plain_paired_bootstrap() -> None:
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
    assert found.above == pytest.approx(np.mean(np.array(plain) > 0))


def test_the_same_answers_do_not_differ_and_other_recordings_are_refused() -> None:
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


@pytest.mark.parametrize("name", ["paper", "quick"])
def test_the_drawing_has_the_networks_shapes(name: str) -> None:
    recipe = RECIPES[name]
    with torch.inference_mode():
        network = SEResNet(recipe.network).eval()
        x = torch.zeros(1, 12, recipe.signal.window)
        shapes = [tuple(x.shape[1:]), tuple((x := network.stem(x)).shape[1:])]
        for block in network.blocks:
            shapes.append(tuple((x := block(x)).shape[1:]))
    assert [step[1:] for step in steps_of(recipe)] == shapes
    svg = figure_bytes(draw_network(recipe), "svg").decode()
    for channels, samples in shapes:
        assert f"{channels} × {samples}" in svg
    assert re.search(r"<title>The network of recipe", svg)
