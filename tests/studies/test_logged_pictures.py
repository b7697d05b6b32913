"""The pictures of the results are drawn from the tables of the log."""

from __future__ import annotations

from studies import logged_pictures, stress


def test_the_scores_of_the_log_are_drawn() -> None:
    (axes,) = logged_pictures.draw_scores().axes
    points = {round(line.get_xdata()[0], 3) for line in axes.lines if line.get_marker() == "o"}
    assert {0.449, 0.548, 0.368, 0.588} <= points and len(axes.get_yticks()) == 7


def test_the_perturbations_of_the_log_are_drawn() -> None:
    (axes,) = logged_pictures.draw_perturbations().axes
    marks = {line.get_label(): list(line.get_xdata()) for line in axes.lines if not line.get_label().startswith("_")}
    assert marks["paper"][1] == 0.052 and marks["robust"][-1] == 0.248
    assert all(len(values) == len(stress.PERTURBATIONS) for values in marks.values())
