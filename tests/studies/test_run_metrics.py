"""The figures of a run: calibration error, and the label rules on a run with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from leadwise.challenge.metric import challenge_metric
from studies.run_metrics import FIGURES, answers_of, calibration_error, figures_of, predictions_of


def example_run() -> dict[str, np.ndarray]:
    """A run whose probabilities separate the classes well; its test recordings are out of distribution."""
    random = np.random.default_rng(4)
    run: dict[str, np.ndarray] = {}
    for part, count in (("train", 200), ("validation", 100), ("test", 60)):
        labels = random.random((count, 24)) < np.linspace(0.05, 0.4, 24)
        scores = 1 / (1 + np.exp(-(random.normal(0, 1, labels.shape) + 5 * labels - 2.5)))
        run |= {part: scores.astype(np.float32), f"{part}_labels": labels}
        run[f"{part}_acquisitions"] = np.tile(np.float32([250 if part == "test" else 500, 5, 10]), (count, 1))
    run |= {"validation_targets": run["validation_labels"], "target_prevalence": run["train_labels"].mean(0)}
    run |= {"test_sources": np.array(["A", "E"] * 30), "test_simulation": run["test"]}
    return run | {"simulation_prevalence": np.full(24, 0.1)}


def test_calibration_error_is_0_for_calibrated_scores() -> None:
    random = np.random.default_rng(0)
    scores = random.random((20_000, 24))
    labels = random.random(scores.shape) < scores
    assert calibration_error(labels, scores) < 0.02
    assert calibration_error(labels, np.zeros_like(scores)) == pytest.approx(labels.mean(), abs=1e-9)


def test_figures_of_a_run_have_every_column_and_the_scores_of_the_label_rules() -> None:
    run = example_run()
    answers, labels = answers_of(run, "test", 1.0), run["test_labels"]
    figures = figures_of([run], "test", "search", 1.0, ([run], "search"))
    assert set(FIGURES) == set(figures)
    assert all(figures[rule] == f"{challenge_metric(labels, answer):.3f}" for rule, answer in answers.items())
    assert (figures["difference"], figures["interval of the difference"]) == ("+0.000", "0.000 to 0.000")
    assert "A 0." in figures["by source"] and "(n 30)" in figures["by source"]
    assert float(figures["AUROC"]) > 0.95 and float(figures["constant"]) < float(figures["search"])


def test_the_shift_and_the_simulation_network_change_only_out_of_distribution_recordings() -> None:
    run = example_run()
    shifted = answers_of(run, "test", 1.0)
    assert (shifted["reward"] != shifted["reward shifted"]).any()
    assert (shifted["reward shifted"] != shifted["reward simulation"]).any()
    known = answers_of(run | {"test_acquisitions": run["train_acquisitions"][:60]}, "test", 1.0)
    assert (known["reward"] == known["reward shifted"]).all() and (known["reward"] == known["reward simulation"]).all()


def test_the_simulation_network_weighs_as_much_as_one_source_of_the_training_data() -> None:
    run = example_run()
    run["test_simulation"] = run["test"][::-1]
    trained, one, five = (
        np.log(scores / (1 - scores))
        for scores in (
            predictions_of(run, "test", 0.0).scores,
            predictions_of(run | {"train_sources": np.array(["A"])}, "test", 0.0, simulation_network=True).scores,
            predictions_of(run | {"train_sources": np.array(["A", "E", "HR", "Q", "S"])}, "test", 0.0, True).scores,
        )
    )
    # a sixth instead of a half; the acquisition leaves a chance of 0.01 that it is in distribution after all
    np.testing.assert_allclose((five - trained) * 3, one - trained, rtol=0.05, atol=0.05)
