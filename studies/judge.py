"""What one run of the study is worth: figures of its probabilities by several ways to labels, with intervals.

Arrays in, text out. Knows neither recipes nor training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.metric import areas_under_curves, challenge_metric
from leadwise.decision.calibration import Calibration, fit
from leadwise.decision.expected_reward import best_labels
from leadwise.decision.rules import ExpectedRewardRule, SimulationNetwork
from leadwise.decision.thresholds import apply_thresholds, search_thresholds
from leadwise.ecg.acquisition import acquisition_profiles, out_of_distribution
from leadwise.report.statistics import bootstrap_interval, rewards_of
from studies.compare import compare

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

BINS = 10  # of the expected calibration error
SHARE = 0.5  # of the textbook's opinion, where one source taught the rest

FIGURES = (
    "AUROC", "0.5", "search", "reward raw", "reward", "reward general", "reward textbook", "interval", "difference",
    "interval of that",
    "labels", "ECE", "nothing", "oracle", "AUROC of textbook", "chosen by", "by source",
)  # fmt: skip


def answers_of(found: Arrays, test: str, prevalence_shift: float) -> dict[str, Booleans]:
    """The answers (recordings, 24) on a test set by each way to labels."""
    probabilities = found[test].astype(np.float64)
    search = search_thresholds(found["choose_labels"], found["choose"])
    return {
        "0.5": apply_thresholds(probabilities, 0.5),
        "search": apply_thresholds(probabilities, search.thresholds),
        "reward raw": best_labels(probabilities),
        "reward": best_labels(scores_of(found, test, 0.0)),
        "reward general": best_labels(scores_of(found, test, prevalence_shift)),
        "reward textbook": best_labels(scores_of(found, test, prevalence_shift, simulation_network=True)),
        "nothing": np.broadcast_to(best_labels(found["prior"].mean(0)[None]), probabilities.shape),
        "oracle": apply_thresholds(probabilities, search_thresholds(found[f"{test}_labels"], found[test]).thresholds),
    }


def scores_of(found: Arrays, test: str, prevalence_shift: float, simulation_network: bool = False) -> Floats:
    """Probabilities (recordings, 24), calibrated on what the run was chosen on; of foreign recordings moved towards
    hospitals in general, the textbook heard where that is asked for and the run began with one."""
    calibration: Calibration = fit(found["choose_targets"], found["choose"])
    label_prevalence = found["prior"].mean(0)
    heard = (
        SimulationNetwork(found["textbook_learned"], SHARE)
        if simulation_network and "textbook_learned" in found
        else None
    )
    rule = ExpectedRewardRule(
        (calibration,), found["target_prevalence"].astype(np.float64), label_prevalence, prevalence_shift, heard
    )
    strange = out_of_distribution(found[f"{test}_acquisitions"], acquisition_profiles(found["acquisitions"]))
    given = [found[test], *([found[f"{test}_textbook"]] if heard else [])]
    return rule.probabilities(np.stack(given).astype(np.float64), strange)


def together(runs: Sequence[Arrays], test: str, prevalence_shift: float) -> tuple[Booleans, dict[str, Booleans]]:
    """The labels (recordings, 24) of the test sets of all runs, and `answers_of` them."""
    each = [answers_of(found, test, prevalence_shift) for found in runs]
    labels = np.concatenate([found[f"{test}_labels"] for found in runs])
    return labels, {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def judge(
    runs: Sequence[Arrays],
    test: str,
    way: str,
    prevalence_shift: float,
    reference: tuple[Sequence[Arrays], str] | None = None,
) -> dict[str, str]:
    """The figures of a run on one of its test sets, by the names of `FIGURES`; of several runs on all of theirs.

    Interval and difference are of the answers by `way`, a key of `answers_of`; the difference is to other runs and
    their own way, recording by recording.
    """
    labels, answers = together(runs, test, prevalence_shift)
    probabilities = np.concatenate([found[test] for found in runs])
    scores = np.concatenate([scores_of(found, test, 0.0) for found in runs])
    sources = np.concatenate([found[f"{test}_sources"] for found in runs])
    rewards = rewards_of(labels, answers[way])
    figures = {name: f"{challenge_metric(labels, answer):.3f}" for name, answer in answers.items()}
    figures["AUROC"] = mean_auroc(labels, probabilities)
    heard = [found[f"{test}_textbook"] for found in runs if f"{test}_textbook" in found]
    figures["AUROC of textbook"] = mean_auroc(labels, np.concatenate(heard)) if heard else ""
    figures["interval"] = _range(bootstrap_interval(rewards))
    figures |= {"difference": "", "interval of that": ""}
    if reference is not None:
        others, theirs = together(reference[0], test, prevalence_shift)
        found_out = compare(rewards_of(others, theirs[reference[1]]), rewards)
        figures |= {"difference": f"{found_out.value:+.3f}", "interval of that": _range(found_out[1:3])}
    figures["labels"] = f"{answers[way].sum(1).mean():.2f} ({labels.sum(1).mean():.2f})"
    figures["ECE"] = f"{calibration_error(labels, scores):.4f}"
    figures["chosen by"] = " ".join(map(choice_of, runs))
    figures["by source"] = " ".join(
        f"{source} {challenge_metric(labels[mine], answers[way][mine]):.2f} (n {mine.sum()})"
        for source in np.unique(sources)
        for mine in [sources == source]
    )
    return figures


def choice_of(found: Arrays) -> str:
    """Cross-entropy of the calibrated probabilities, and mean AUROC, of what a run was chosen on: what tells recipes
    apart before any test is looked at."""
    targets = found["choose_targets"]
    calibrated = fit(targets, found["choose"]).apply(found["choose"])
    entropy = -np.mean(np.log(np.where(targets, calibrated, 1 - calibrated)))
    return f"{entropy:.4f}, {mean_auroc(found['choose_labels'], found['choose'])}"


def mean_auroc(labels: Booleans, probabilities: NDArray[Any]) -> str:
    """The mean over the classes that occur."""
    with np.errstate(invalid="ignore"):
        return f"{np.nanmean(areas_under_curves(labels, probabilities)[0]):.3f}"


def calibration_error(labels: Booleans, scores: Floats) -> float:
    """The expected calibration error: over bins of equal numbers of probabilities, class by class, the mean distance of
    mean probability and frequency, weighed by the bins' sizes; the mean over classes."""
    errors = []
    for k in range(labels.shape[1]):
        bins = np.array_split(np.argsort(scores[:, k], kind="stable"), BINS)
        errors.append(sum(len(one) * abs(scores[one, k].mean() - labels[one, k].mean()) for one in bins if len(one)))
    return float(np.mean(errors) / len(labels))


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"
