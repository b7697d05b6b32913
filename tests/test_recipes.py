"""Recipes are data: frozen, complete, the same after a way through JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from leadwise.recipes import DEFAULT_RECIPE, PAPER, RECIPES, recipe_from_dict


def test_paper_is_what_was_published() -> None:
    signal, network, training, decision = PAPER.signal, PAPER.network, PAPER.training, PAPER.decision
    assert (signal.sampling_frequency, signal.unit, signal.resampling) == (257, "counts", "linear")
    assert (signal.window, signal.overlap) == (4096, 256)
    assert (network.stem_channels, network.stem_kernel, network.kernel) == (64, 15, 7)
    assert network.block_channels == (64, 64, 128, 128, 256, 256, 512, 512)
    assert (network.reduction, network.dropout, network.demographic_features) == (16, 0.2, 10)
    assert (training.folds, training.epochs, training.batch_size, training.seed) == (5, 50, 64, 2020)
    assert (training.learning_rate, training.betas, training.weight_decay) == (0.003, (0.9, 0.999), 1e-5)
    assert [share * training.epochs for share in training.decay_after] == [20, 40]
    assert (training.decay_factor, training.validation_cutoff) == (0.1, 0.2)
    assert (decision.common_steps, decision.class_steps) == (10, 100)


@pytest.mark.parametrize("name", RECIPES)
def test_through_json_and_back(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe_from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


@pytest.mark.parametrize("part", ["signal", "network", "training", "decision"])
def test_a_number_that_is_missing_or_unknown_is_an_error(part: str) -> None:
    values = json.loads(json.dumps(PAPER.as_dict()))
    values[part]["colour"] = 1
    with pytest.raises(ValueError, match="colour"):
        recipe_from_dict(values)
    values[part] = {}
    with pytest.raises(ValueError, match="missing"):
        recipe_from_dict(values)


def test_an_older_recipe_is_as_the_defaults_of_what_it_did_not_have() -> None:
    values = json.loads(json.dumps(PAPER.as_dict()))
    del values["training"]["simulated"]
    assert recipe_from_dict(values) == PAPER


def test_recipes_are_frozen_and_the_default_is_one_of_them() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.name = "mine"  # type: ignore[misc]
    assert DEFAULT_RECIPE in RECIPES
