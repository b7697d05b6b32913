"""Compute the figures of one run of the study from its probabilities, by several label rules, with intervals.

Takes arrays and returns text. Independent of recipes and training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.metric import areas_under_curves, challenge_metric
from leadwise.decision.calibration import Calibration, fit
from leadwise.decision.expected_reward import best_labels
from leadwise.decision.rules import TWELVE, ExpectedRewardRule, Predictions, SimulationNetwork
from leadwise.decision.thresholds import apply_thresholds, search_thresholds
from leadwise.decision.typicality import fit_typicality
from leadwise.ecg.acquisition import acquisition_match, acquisition_profiles
from leadwise.report.statistics import bootstrap_interval, rewards_of
from studies.compare import compare

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]  # of one run, as `studies.study.run` returns them

BINS = 10  # of the expected calibration error
FIGURES = (
    "AUROC", "0.5", "search", "reward uncalibrated", "reward", "reward shifted", "reward simulation", "interval",
    "difference", "interval of the difference", "labels", "ECE", "constant", "oracle",
    "AUROC of the simulation network", "validation", "by source",
)  # fmt: skip


def answers_of(run: Arrays, test: str, prevalence_shift: float) -> dict[str, Booleans]:
    """Return the answers (recordings, 24) on a test set by each label rule.

    "constant" is the constant baseline. "oracle" has thresholds that were fitted on the test set itself.
    """
    probabilities = run[test].astype(np.float64)
    search = search_thresholds(run["validation_labels"], run["validation"])
    return {
        "0.5": apply_thresholds(probabilities, 0.5),
        "search": apply_thresholds(probabilities, search.thresholds),
        "reward uncalibrated": best_labels(probabilities),
        "reward": predictions_of(run, test, 0.0).labels,
        "reward shifted": predictions_of(run, test, prevalence_shift).labels,
        "reward simulation": predictions_of(run, test, prevalence_shift, simulation_network=True).labels,
        "constant": np.broadcast_to(best_labels(run["train_labels"].mean(0)[None]), probabilities.shape),
        "oracle": apply_thresholds(probabilities, search_thresholds(run[f"{test}_labels"], run[test]).thresholds),
    }


def predictions_of(run: Arrays, test: str, prevalence_shift: float, simulation_network: bool = False) -> Predictions:
    """Return the labels and scores of a test set, by expected reward after calibration on the run's validation part.

    The less likely a recording is in distribution, the more its scores are shifted towards the reference prevalence.
    The simulation-only network takes part in them if requested, and if the run has one.
    """
    calibration: Calibration = fit(run["validation_targets"], run["validation"])
    sources = len(run["train_sources"]) if "train_sources" in run else 1  # runs on PTB-XL alone may lack them
    weight = 1 / (1 + sources)  # as much as one source of the training data
    network = (
        SimulationNetwork(run["simulation_prevalence"], weight)
        if simulation_network and "simulation_prevalence" in run
        else None
    )
    target_prevalence, label_prevalence = run["target_prevalence"].astype(np.float64), run["train_labels"].mean(0)
    typicality = fit_typicality(run["validation"])
    rule = ExpectedRewardRule(
        ({TWELVE: calibration},),
        target_prevalence,
        label_prevalence,
        prevalence_shift,
        network,
        (typicality,) if typicality else (),
    )
    match = acquisition_match(run[f"{test}_acquisitions"], acquisition_profiles(run["train_acquisitions"]))
    probabilities = [run[test], *([run[f"{test}_simulation"]] if network else [])]
    return rule.decide(np.stack(probabilities).astype(np.float64), match)


def pooled(runs: Sequence[Arrays], test: str, prevalence_shift: float) -> tuple[Booleans, dict[str, Booleans]]:
    """Return the labels (recordings, 24) of the test sets of all runs, and `answers_of` them."""
    answers = [answers_of(run, test, prevalence_shift) for run in runs]
    labels = np.concatenate([run[f"{test}_labels"] for run in runs])
    return labels, {name: np.concatenate([each[name] for each in answers]) for name in answers[0]}


def figures_of(
    runs: Sequence[Arrays],
    test: str,
    rule: str,
    prevalence_shift: float,
    reference: tuple[Sequence[Arrays], str] | None = None,
) -> dict[str, str]:
    """Return the figures of one or several runs on a test set, by the names in `FIGURES`.

    Interval and difference are those of the answers by `rule`, a key of `answers_of`. The difference is to the runs of
    the `reference` with their own rule, paired by recording.
    """
    labels, answers = pooled(runs, test, prevalence_shift)
    probabilities = np.concatenate([run[test] for run in runs])
    scores = np.concatenate([predictions_of(run, test, 0.0).scores for run in runs])
    sources = np.concatenate([run[f"{test}_sources"] for run in runs])
    rewards = rewards_of(labels, answers[rule])
    figures = {name: f"{challenge_metric(labels, answer):.3f}" for name, answer in answers.items()}
    figures["AUROC"] = mean_auroc(labels, probabilities)
    simulation = [run[f"{test}_simulation"] for run in runs if f"{test}_simulation" in run]
    figures["AUROC of the simulation network"] = mean_auroc(labels, np.concatenate(simulation)) if simulation else ""
    figures["interval"] = _range(bootstrap_interval(rewards))
    figures |= {"difference": "", "interval of the difference": ""}
    if reference is not None:
        reference_labels, reference_answers = pooled(reference[0], test, prevalence_shift)
        difference = compare(rewards_of(reference_labels, reference_answers[reference[1]]), rewards)
        figures["difference"] = f"{difference.value:+.3f}"
        figures["interval of the difference"] = _range((difference.low, difference.high))
    figures["labels"] = f"{answers[rule].sum(1).mean():.2f} ({labels.sum(1).mean():.2f})"
    figures["ECE"] = f"{calibration_error(labels, scores):.4f}"
    figures["validation"] = " ".join(map(validation_figures, runs))
    figures["by source"] = " ".join(
        f"{source} {challenge_metric(labels[inside], answers[rule][inside]):.2f} (n {inside.sum()})"
        for source in np.unique(sources)
        for inside in [sources == source]
    )
    return figures


def validation_figures(run: Arrays) -> str:
    """Return the cross-entropy of the calibrated probabilities and the mean AUROC of the validation part.

    These choose between recipes before any test set is used.
    """
    targets = run["validation_targets"]
    calibrated = fit(targets, run["validation"]).apply(run["validation"])
    entropy = -np.mean(np.log(np.where(targets, calibrated, 1 - calibrated)))
    return f"{entropy:.4f}, {mean_auroc(run['validation_labels'], run['validation'])}"


def mean_auroc(labels: Booleans, probabilities: NDArray[Any]) -> str:
    """Return the mean AUROC over the classes that occur."""
    with np.errstate(invalid="ignore"):
        return f"{np.nanmean(areas_under_curves(labels, probabilities)[0]):.3f}"


def calibration_error(labels: Booleans, scores: Floats) -> float:
    """Return the expected calibration error, the mean over the classes.

    Of each class the scores are sorted into bins of equal size; the distances of mean score and frequency are averaged.
    """
    errors = []
    for k in range(labels.shape[1]):
        bins = np.array_split(np.argsort(scores[:, k], kind="stable"), BINS)
        errors.append(
            sum(len(rows) * abs(scores[rows, k].mean() - labels[rows, k].mean()) for rows in bins if len(rows))
        )
    return float(np.mean(errors) / len(labels))


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"
