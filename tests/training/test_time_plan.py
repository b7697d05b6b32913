"""The plan for the time that is left, against all plans that fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leadwise.training.time_plan import TimePlan, seconds_since_start, shorten


def plain_shorten(affordable: int, fold: int, done: int, epochs: int, folds: int, least: int) -> tuple[int, int]:
    """Return the best of all plans: most folds, then most epochs; too few epochs only in the last fold."""
    plans = []
    for number in range(fold + 1, folds + 1):
        for each in range(epochs + 1):
            cost = max(0, each - done) + each * (number - fold - 1)
            if cost <= affordable and (each >= least or number == fold + 1):
                plans.append((number, each))
    number, each = max(plans)
    return each, number


@given(st.data())
def test_a_shortened_plan_is_the_best_of_all_that_fit(data: st.DataObject) -> None:
    folds, epochs = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 20))
    fold, done = data.draw(st.integers(0, folds - 1)), data.draw(st.integers(1, epochs))
    least, affordable = data.draw(st.integers(1, epochs)), data.draw(st.integers(0, 120))
    numbers = (affordable, fold, done, epochs, folds, least)
    assert shorten(*numbers) == plain_shorten(*numbers)


def test_with_enough_time_nothing_is_shortened() -> None:
    plan = TimePlan(50, 5, limit=68 * 3600, clock=lambda: 100.0)
    plan.after_epoch(0, 1, 900.0)
    assert (plan.epochs, plan.folds) == (50, 5)


def test_fewer_epochs_come_before_fewer_folds() -> None:
    plan = TimePlan(50, 5, limit=100_000, clock=lambda: 600.0)
    plan.after_epoch(0, 1, 1000.0)  # (100000 - 600 - 600) / 1050: 94 more epochs, 19 a fold
    assert (plan.epochs, plan.folds) == (19, 5)
    plan = TimePlan(50, 5, limit=30_000, clock=lambda: 600.0)
    plan.after_epoch(0, 1, 1000.0)  # 27 more: two folds can have ten epochs, the least; 14 then fit
    assert (plan.epochs, plan.folds) == (14, 2)


def test_the_age_of_the_process_is_positive_and_grows() -> None:
    first = seconds_since_start()
    assert 0 < first <= seconds_since_start() < 1e6
