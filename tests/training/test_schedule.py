"""The learning rate over the epochs."""

from __future__ import annotations

import numpy as np
import pytest

from leadwise.recipes import PAPER, ROBUST
from leadwise.training.schedule import learning_rate


def test_published_schedule() -> None:
    rates = [learning_rate(epoch, 50, PAPER.training) for epoch in range(50)]
    assert rates == pytest.approx([0.003] * 20 + [0.0003] * 20 + [0.00003] * 10)
    assert [learning_rate(epoch, 1, PAPER.training) for epoch in range(1)] == [0.003]


def test_cosine_schedule_rises_from_0_and_falls_to_0() -> None:
    training_recipe = ROBUST.training
    rates = [learning_rate(step / 10, 20, training_recipe) for step in range(201)]
    top = int(np.argmax(rates))
    assert rates[0] == 0 and rates[-1] == pytest.approx(0, abs=1e-12) and max(rates) == training_recipe.learning_rate
    assert top == pytest.approx(training_recipe.warm_up * 200)
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()
