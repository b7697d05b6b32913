"""Ideas that were tried: each trains, changes what it says and nothing else, and leaves training as it was."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from benchmarks import ideas
from benchmarks.study import TRIED
from leadwise import training
from leadwise.classes import REWARDS
from leadwise.devices import Processor
from leadwise.metric import challenge_metric
from leadwise.network import SEResNet
from leadwise.recipes import ROBUST
from tests.test_training import make_dataset

CPU = Processor(torch.device("cpu"), torch.float32)
DATA = make_dataset([640] * 8)
DATA = dataclasses.replace(DATA, demographics=np.pad(DATA.demographics, ((0, 0), (0, 1))))
INDEX = {
    name: {"dx": "426783006 164865005"[: 9 if i % 2 else None], "device": ("AT-6 C", "CS-12   E", "")[i % 3]}
    for i, name in enumerate(DATA.names)
}


def setting(folder: Path) -> ideas.Setting:
    return ideas.Setting(INDEX, folder, ROBUST, CPU)


@pytest.mark.parametrize("name", list(ideas.IDEAS))
def test_an_idea_trains_a_network_and_leaves_no_trace(name: str, tmp_path: Path) -> None:
    before = {part: getattr(training, part) for part in ("loss_of", "augmented", "SEResNet")}
    idea, amounts = ideas.IDEAS[name], {"batch_size": 2, "epochs": 1}  # its first batch has rate 0
    recipe = TRIED["idea-" + name]
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **amounts))
    start = SEResNet(recipe.network).state_dict()
    save_file(start, tmp_path / "2020.safetensors")
    with idea.tried():
        data = idea.taught(DATA, setting(tmp_path))
        held_out = np.arange(len(data)) >= 6
        result = training.train_fold(data, held_out, recipe, CPU, tmp_path / "checkpoint", 0, start=start)
    assert result is not None and result.probabilities.shape == (2, 24)
    assert not torch.equal(result.state["classifier.weight"], start["classifier.weight"])
    assert before == {part: getattr(training, part) for part in before}


@pytest.mark.parametrize("kind", [ideas.Attentive, ideas.Mixed, ideas.WithAdversary, ideas.WithUnscored])
def test_what_is_added_to_a_network_changes_nothing_before_it_is_trained(kind: type[ideas.Grown]) -> None:
    plain, other = SEResNet(ROBUST.network).eval(), kind(ROBUST.network)
    other.load_state_dict(plain.state_dict())
    signal, numbers = torch.randn(2, 12, 640), torch.randn(2, 6)
    torch.testing.assert_close(copy.deepcopy(other).eval()(signal, numbers), plain(signal, numbers), atol=1e-5, rtol=0)


def test_swapped_electrodes_are_what_the_leads_definitions_make_of_them() -> None:
    def leads(right: torch.Tensor, left: torch.Tensor, leg: torch.Tensor, chest: torch.Tensor) -> torch.Tensor:
        limbs = (left - right, leg - right, leg - left)
        augmented = (right - (left + leg) / 2, left - (right + leg) / 2, leg - (right + left) / 2)
        return torch.stack([*limbs, *augmented, *(chest - (right + left + leg) / 3)])

    right, left, leg, *rest = torch.randn(9, 50, dtype=torch.float64)
    chest = torch.stack(rest)
    usual = leads(right, left, leg, chest)
    expected = [leads(left, right, leg, chest), leads(right, leg, left, chest), leads(leg, left, right, chest)]
    expected += [
        leads(right, left, leg, chest[[*range(i), i + 1, i, *range(i + 2, 6)]]) for i in range(5)
    ]  # neighbours
    for matrix, wanted in zip(ideas.swaps().double(), expected, strict=True):
        torch.testing.assert_close(matrix @ usual, wanted)


def test_a_part_of_a_window_is_kept_as_it_is() -> None:
    windows = torch.randn(64, 12, 1280)
    kept = ideas.cut(windows)
    on = (kept != 0).all(1)
    assert torch.equal(kept[on.unsqueeze(1).expand_as(kept)], windows[on.unsqueeze(1).expand_as(windows)])
    lengths = on.sum(1)
    assert (torch.diff(on.int(), dim=1).abs().sum(1) <= 2).all() and lengths.min() >= 319
    assert (lengths == 1280).sum() not in (0, 64)


def test_the_surrogate_of_whole_labels_is_the_metric() -> None:
    random = np.random.default_rng(0)
    labels, answers = random.random((2, 40, 24)) < 0.1
    labels[:, 3] |= ~labels.any(1)

    def surrogate(answer: NDArray[np.bool_]) -> float:
        logits = torch.from_numpy(np.where(answer, 100.0, -100.0)).float()
        targets = torch.from_numpy(labels).float()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
        return float((ideas.with_reward(logits, targets) - entropy) / 0.1)

    assert surrogate(labels) == pytest.approx(0, abs=1e-4)
    assert surrogate(answers) == pytest.approx(1 - challenge_metric(labels, answers), abs=1e-3)
    assert REWARDS.shape == (24, 24)


def test_the_family_that_does_worst_weighs_most() -> None:
    loss = ideas.OfTheWorst()
    labels = torch.zeros(4, 24)
    families = torch.eye(4)
    logits = torch.tensor([[5.0], [-5.0], [-5.0], [-5.0]]).expand(4, 24)
    first = loss(logits, torch.cat([labels, families], 1))
    second = loss(logits, torch.cat([labels, families], 1))
    assert second > first and loss.weights.argmax() == 0


def test_masks_hide_the_classes_that_no_recording_has() -> None:
    targets = ideas.masked(DATA, setting(Path()))
    there = DATA.labels.any(0)
    assert np.isnan(targets[:, ~there]).all() and (targets[:, there] == DATA.labels[:, there]).all()
    logits = torch.randn(len(DATA), 24)
    given = torch.from_numpy(targets).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, there], given[:, there])
    torch.testing.assert_close(ideas.of_known(logits, given), expected)
