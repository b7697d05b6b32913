"""One fold: windows, loop, schedule, validation, checkpoint. Knows no recordings' files and no model folder.

Everything that happens to a batch (cutting, padding) is one tensor operation on the training device, the same code on
a CPU and on a GPU. After each epoch the whole state of the run is written, so that a killed run goes on where it was.
"""

from __future__ import annotations

import math

from leadwise.recipes import TrainingRecipe

SETBACK_FACTOR = 0.5  # of the rate, each time that a loss is not finite ...


def learning_rate(epoch: float, epochs: int, recipe: TrainingRecipe) -> float:
    """The rate at a time in epochs (1.5: in the middle of the second one) of so many.

    Steps: multiplied by the decay after each share of the epochs has passed. Cosine: from 0 up in a straight line, then
    down to 0 in half a cosine (Loshchilov and Hutter 2017).
    """
    if recipe.schedule == "steps":
        passed = sum(math.floor(epoch) >= math.ceil(round(share * epochs, 6)) for share in recipe.decay_after)
        return recipe.learning_rate * recipe.decay_factor**passed
    share = epoch / epochs
    if share < recipe.warm_up:
        return recipe.learning_rate * share / recipe.warm_up
    return recipe.learning_rate * (1 + math.cos(math.pi * (share - recipe.warm_up) / (1 - recipe.warm_up))) / 2
