"""Tests of recipes: frozen, complete, unchanged by JSON, and validated when read from a file."""

from __future__ import annotations

import dataclasses
import json

import pytest

from leadwise.recipes import DEFAULT_RECIPE, PAPER, RECIPES, recipe_from_dict, validate_recipe


def test_paper_has_the_published_numbers() -> None:
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
def test_a_recipe_survives_json(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe_from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe
    validate_recipe(recipe)


@pytest.mark.parametrize(
    ("part", "field", "value", "error"),
    [
        ("signal", "unit", "V", "unit 'V' is none of counts, mV"),
        ("signal", "window", True, "window True"),
        ("signal", "window", 1 << 18, "window 262144 is not within 0 to 131072"),
        ("signal", "overlap", 4096, "window 4096, overlap 4096"),
        ("signal", "sampling_frequency", 0, "at 0 Hz"),
        ("signal", "band", (0.5, 128.5), "band 0.5 to 128.5 Hz at 257 Hz"),
        ("signal", "band", (0.5, "40"), "band"),
        ("signal", "scale", "rms", "6 demographic features"),
        ("network", "block_channels", (), "block_channels"),
        ("network", "dropout", float("nan"), "dropout nan"),
        ("network", "classes", 23, "24 classes"),
        ("network", "reduction", 65, "reduction 65"),
        ("network", "kernel", 8, "kernels 15 and 8"),
        ("decision", "method", "guess", "method 'guess'"),
    ],
)
def test_values_of_a_wrong_type_or_range_are_refused(part: str, field: str, value: object, error: str) -> None:
    changed = dataclasses.replace(getattr(PAPER, part), **{field: value})
    with pytest.raises(ValueError, match=error):
        validate_recipe(dataclasses.replace(PAPER, **{part: changed}))


@pytest.mark.parametrize("part", ["signal", "network", "training", "decision"])
def test_a_missing_or_unknown_field_is_an_error(part: str) -> None:
    values = json.loads(json.dumps(PAPER.as_dict()))
    values[part]["colour"] = 1
    with pytest.raises(ValueError, match="colour"):
        recipe_from_dict(values)
    values[part] = {}
    with pytest.raises(ValueError, match="missing"):
        recipe_from_dict(values)


def test_fields_missing_in_older_recipes_get_their_defaults() -> None:
    values = json.loads(json.dumps(PAPER.as_dict()))
    del values["training"]["simulated"]
    assert recipe_from_dict(values) == PAPER


def test_recipes_are_frozen_and_the_default_is_one_of_them() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.name = "mine"  # type: ignore[misc]
    assert DEFAULT_RECIPE in RECIPES
