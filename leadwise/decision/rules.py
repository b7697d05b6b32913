"""Decide labels from the networks' probabilities, by thresholds and vote or by expected reward.

A rule is built from what a model folder stores about its folds; training and scoring use the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from leadwise.challenge.classes import CODES, reference_prevalence
from leadwise.challenge.metric import Booleans, Floats
from leadwise.decision.calibration import Calibration, pool_probabilities, shift_prior
from leadwise.decision.expected_reward import best_labels
from leadwise.decision.lead_sets import LEAD_SETS
from leadwise.decision.thresholds import apply_thresholds, vote
from leadwise.decision.typicality import Typicality
from leadwise.recipes import DecisionRecipe

Integers = NDArray[np.intp]
TWELVE = next(iter(LEAD_SETS))
# Probability that a recording acquired as the training data is from the training hospitals, before its content is seen.
# No training data can tell it. At home 0.6 costs 0.02 of the challenge metric (docs/log/ablation-and-ideas.md).
IN_DISTRIBUTION = 0.6
# Reward (1: that of a fully right answer) by which a label must raise the expectation for a recording that is surely
# out of distribution, where probabilities are less reliable: fewer wrong labels (docs/log/ablation-and-ideas.md).
LEAST_GAIN = 0.005


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a model for a batch of recordings."""

    labels: Booleans  # (recordings, 24)
    scores: Floats  # (recordings, 24) probabilities
    in_distribution: Floats | None = None  # (recordings,) probability of it; None: the rule does not distinguish


class Rule(Protocol):
    """A decision rule from the networks' probabilities (networks, recordings, 24)."""

    @property
    def thresholds(self) -> Floats:
        """Return (networks, 24); NaN for a class without a threshold."""

    def decide(
        self, probabilities: Floats, acquisition: Floats | None = None, lead_sets: Integers | None = None
    ) -> Predictions:
        """Return labels and scores; a recording with NaN probabilities gets NaN scores. `acquisition` is the log
        likelihood ratio (recordings,) of in distribution to out of distribution by how each recording was acquired,
        infinite if that is known; None: all are in distribution. `lead_sets` are their indices in `LEAD_SETS`,
        (recordings,); None: twelve leads."""


@dataclass(frozen=True, eq=False)
class VoteRule:
    """Labels by vote, each network with its own thresholds, and mean probabilities as scores (the published method)."""

    thresholds: Floats

    def decide(
        self, probabilities: Floats, acquisition: Floats | None = None, lead_sets: Integers | None = None
    ) -> Predictions:
        """Decide as `Rule` says; neither out-of-distribution recordings nor lead sets are treated differently."""
        answers = [apply_thresholds(p, t) for p, t in zip(probabilities, self.thresholds, strict=True)]
        return Predictions(vote(np.stack(answers)), probabilities.mean(0))


@dataclass(frozen=True, eq=False)
class SimulationNetwork:
    """The simulation-only network's part in a rule. It has learned diagnostic criteria, not a hospital's labels, and
    is pooled with the other networks for out-of-distribution recordings."""

    target_prevalence: Floats  # (24,) in its training targets
    weight: float  # of its logits beside those of the other networks

    def __post_init__(self) -> None:
        _check_prevalence(self.target_prevalence[None], 1)
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight {self.weight} is not in [0, 1]")


@dataclass(frozen=True, eq=False)
class ExpectedRewardRule:
    """Labels of highest expected reward under the scores, a mixture of two answers.

    In distribution: the mean of the networks' calibrated probabilities, shifted from the prevalence in the training
    targets to that in the training labels, which lack the proxy labels. Out of distribution: the same shifted to the
    reference prevalence, and pooled with those of the simulation-only network, the last of the networks, if there is
    one. The weights are the probability that the recording is in distribution and its complement, so that a class that
    the training labels never contain is answered where it is certain enough.
    """

    calibrations: tuple[Mapping[str, Calibration], ...]  # of each network, fitted on its validation set, by lead set
    target_prevalence: Floats  # (24,) in the training targets, proxy labels included
    label_prevalence: Floats  # (24,) in the training labels
    prevalence_shift: float  # share of the shift to the reference prevalence, 0 to 1
    simulation_network: SimulationNetwork | None = None
    typicalities: tuple[Typicality, ...] = ()  # of the networks; none for older models and few recordings

    @property
    def thresholds(self) -> Floats:
        """Return NaN (networks, 24): a class's label depends on the other classes."""
        return np.full((len(self.calibrations), len(CODES)), np.nan)

    def probabilities(self, probabilities: Floats, in_distribution: Floats | None, lead_sets: Integers) -> Floats:
        """Compute the scores (recordings, 24) from probabilities (networks, recordings, 24) without NaN, and from the
        probability that each recording is in distribution, (recordings,); None: 1."""
        trained, simulated = np.split(probabilities, [count := len(self.calibrations)])
        if len(simulated) != (self.simulation_network is not None):
            raise ValueError(f"probabilities of {len(probabilities)} networks, for {count} calibrations")
        calibrated = self._calibrated(trained, lead_sets)
        inside = shift_prior(calibrated, self.target_prevalence, self.label_prevalence)
        if in_distribution is None:
            return inside
        reference = reference_prevalence()
        outside = shift_prior(calibrated, self.target_prevalence, reference, self.prevalence_shift)
        if network := self.simulation_network:
            other = shift_prior(simulated[0], network.target_prevalence, reference, self.prevalence_shift)
            outside = pool_probabilities(outside, other, network.weight)
        weight = in_distribution[:, None]
        return np.asarray(weight * inside + (1 - weight) * outside)

    def in_distribution(self, probabilities: Floats, acquisition: Floats, lead_sets: Integers) -> Floats:
        """Return the probability that each recording is in distribution, (recordings,), from how it was acquired and,
        with twelve leads, from how typical the networks find it."""
        content = np.zeros(probabilities.shape[1])
        if self.typicalities:
            pairs = zip(self.typicalities, probabilities, strict=False)  # the simulation-only network has none
            content = np.mean([typicality.log_ratio(own) for typicality, own in pairs], axis=0)
        return np.asarray(expit(logit(IN_DISTRIBUTION) + acquisition + np.where(lead_sets == 0, content, 0)))

    def _calibrated(self, probabilities: Floats, lead_sets: Integers) -> Floats:
        """Return the mean of the networks' calibrated probabilities, each recording by its lead set."""
        calibrated = np.empty(probabilities.shape[1:])
        for index in np.unique(lead_sets):
            chosen, name = lead_sets == index, tuple(LEAD_SETS)[index]
            pairs = zip(self.calibrations, probabilities[:, chosen], strict=True)
            calibrated[chosen] = np.mean([own.get(name, own[TWELVE]).apply(p) for own, p in pairs], axis=0)
        return calibrated

    def decide(
        self, probabilities: Floats, acquisition: Floats | None = None, lead_sets: Integers | None = None
    ) -> Predictions:
        """Decide as `Rule` says."""
        valid = np.asarray(np.isfinite(probabilities).all(axis=(0, 2)))  # (recordings,)
        scores = np.full(probabilities.shape[1:], np.nan)
        labels = np.zeros(probabilities.shape[1:], np.bool_)
        lead_sets = np.zeros(len(valid), np.intp) if lead_sets is None else lead_sets
        inside = None
        if acquisition is not None and (self.prevalence_shift or self.simulation_network):
            inside = np.full(len(valid), np.nan)
            inside[valid] = self.in_distribution(probabilities[:, valid], acquisition[valid], lead_sets[valid])
        if valid.any():
            weights = None if inside is None else inside[valid]
            scores[valid] = self.probabilities(probabilities[:, valid], weights, lead_sets[valid])
            gain = 0.0 if weights is None else LEAST_GAIN * np.maximum(1 - 2 * weights, 0)
            labels[valid] = best_labels(scores[valid], least_gain=gain)
        return Predictions(labels, scores, inside)


def make_rule(
    recipe: DecisionRecipe, folds: Sequence[Mapping[str, Any]], simulation_network: Mapping[str, Any] | None = None
) -> Rule:
    """Build a model's rule from its folds (`thresholds`, or `calibration`, `lead_set_calibrations`, `typicality`,
    `target_prevalence` and `label_prevalence`) and its simulation-only network (`target_prevalence` and `weight`).
    Raises KeyError, TypeError or ValueError if something is missing or invalid."""
    if not folds:
        raise ValueError("needs at least one fold")
    if recipe.method == "search":
        if simulation_network:
            raise ValueError("a vote by thresholds has no simulation-only network")
        thresholds = np.array([fold["thresholds"] for fold in folds], np.float64)
        if thresholds.shape != (len(folds), len(CODES)):
            raise ValueError(f"{len(CODES)} thresholds a fold are needed, not {thresholds.shape}")
        if not np.isfinite(thresholds).all():
            raise ValueError("a threshold is not a finite number")
        return VoteRule(thresholds)
    if not 0 <= recipe.prevalence_shift <= 1:
        raise ValueError(f"prevalence_shift {recipe.prevalence_shift} is not in [0, 1]")
    calibrations = tuple(map(_calibrations, folds))
    target, label = (
        _check_prevalence([fold[name] for fold in folds], len(folds)).mean(0)
        for name in ("target_prevalence", "label_prevalence")
    )
    network = None
    if simulation_network:
        prevalence, weight = simulation_network["target_prevalence"], float(simulation_network["weight"])
        network = SimulationNetwork(np.array(prevalence, np.float64), weight)
    typicalities = tuple(Typicality.from_dict(fold["typicality"]) for fold in folds if fold.get("typicality"))
    if len(typicalities) not in (0, len(folds)) or any(len(each.mean) != len(CODES) for each in typicalities):
        raise ValueError(f"a typicality of {len(CODES)} classes for each fold, or for none, is needed")
    return ExpectedRewardRule(calibrations, target, label, recipe.prevalence_shift, network, typicalities)


def _calibrations(fold: Mapping[str, Any]) -> dict[str, Calibration]:
    """Return a fold's calibrations by lead set. Older models have one, for twelve leads."""
    found = {TWELVE: fold["calibration"], **fold.get("lead_set_calibrations", {})}
    calibrations = {name: Calibration(**values) for name, values in found.items()}
    if any(len(calibration.offsets) != len(CODES) for calibration in calibrations.values()):
        raise ValueError(f"{len(CODES)} offsets a calibration are needed")
    return calibrations


def _check_prevalence(values: ArrayLike, count: int) -> Floats:
    array = np.asarray(values, np.float64)
    if array.shape != (count, len(CODES)) or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{len(CODES)} class prevalences in [0, 1] are needed")
    return array
