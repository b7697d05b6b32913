"""Compute the learning rate at a time within the training of a fold."""

from __future__ import annotations

import math

from leadwise.recipes import TrainingRecipe

ROLLBACK_FACTOR = 0.5  # of the rate, at each rollback
MAX_ROLLBACKS = 5  # per fold


def learning_rate(epoch: float, epochs: int, recipe: TrainingRecipe) -> float:
    """Return the learning rate at a time in epochs (1.5: in the middle of the second epoch).

    `steps`: times the decay factor after each share of the epochs. `cosine`: linear warm-up from 0, then half a cosine
    down to 0 (Loshchilov and Hutter 2017).
    """
    if recipe.schedule == "steps":
        passed = sum(math.floor(epoch) >= math.ceil(round(share * epochs, 6)) for share in recipe.decay_after)
        return recipe.learning_rate * recipe.decay_factor**passed
    share = epoch / epochs
    if share < recipe.warm_up:
        return recipe.learning_rate * share / recipe.warm_up
    return recipe.learning_rate * (1 + math.cos(math.pi * (share - recipe.warm_up) / (1 - recipe.warm_up))) / 2
