"""From the networks' probabilities to an answer: by each network's thresholds and a vote, or by expected reward.

A rule is what a model folder stores of it: made from validation parts in training, read back in scoring, the same
function in both. Knows no networks, no files and no tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES, reference_prevalence
from leadwise.decision.calibration import Calibration, pool_probabilities, shift_prior
from leadwise.decision.expected_reward import best_labels
from leadwise.decision.thresholds import apply_thresholds, vote
from leadwise.recipes import DecisionRecipe

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of some recordings."""

    labels: Booleans  # (recordings, 24)
    scores: Floats  # (recordings, 24) probabilities
    out_of_distribution: Booleans | None = (
        None  # (recordings,) which were answered as of another hospital; None: no difference
    )


class Rule(Protocol):
    """How the networks' probabilities (networks, recordings, 24) become an answer."""

    @property
    def thresholds(self) -> Floats:
        """(networks, 24); NaN where a class has none."""

    def decide(self, probabilities: Floats, out_of_distribution: Booleans | None = None) -> Predictions:
        """Labels and scores; recordings with NaN probabilities get NaN scores. `foreign` says which recordings,
        (recordings,), were acquired as no training recording was; None: none of them."""


@dataclass(frozen=True, eq=False)
class VoteRule:
    """Labels by vote, each network with its own thresholds, and mean probabilities as scores (the published way)."""

    thresholds: Floats

    def decide(self, probabilities: Floats, out_of_distribution: Booleans | None = None) -> Predictions:
        """See `Rule`; it makes no difference who is foreign."""
        answers = [apply_thresholds(p, t) for p, t in zip(probabilities, self.thresholds, strict=True)]
        return Predictions(vote(np.stack(answers)), probabilities.mean(0))


@dataclass(frozen=True, eq=False)
class SimulationNetwork:
    """What a network that only simulated ECGs have taught (`pretraining.py`) says of foreign recordings: whether the
    textbook's criterion of a diagnosis is met, which no hospital's way of labelling has bent."""

    target_prevalence: Floats  # (24,) how frequent the classes were among the simulated ECGs
    weight: float  # what its opinion weighs beside the other networks'

    def __post_init__(self) -> None:
        _check_frequencies(self.target_prevalence[None], 1)
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight {self.weight} is not in [0, 1]")


@dataclass(frozen=True, eq=False)
class ExpectedRewardRule:
    """Labels of highest expected reward under the scores: the mean of the networks' calibrated probabilities, moved to
    the class frequencies of where a recording comes from.

    That is the training data's labels, which never have what only a stand-in taught (classes.STAND_INS); for foreign
    recordings it is a hospital of which nothing is known, and the textbook is heard too: of the `probabilities` of a
    rule with one, its network's are the last.
    """

    calibrations: tuple[Calibration, ...]  # one for each network, fitted on its validation part
    target_prevalence: Floats  # (24,) how frequent the classes were in what the networks were taught ...
    label_prevalence: Floats  # ... and among the labels
    prevalence_shift: float  # how far they move to `classes.general_frequencies` for a foreign recording
    simulation_network: SimulationNetwork | None = None

    @property
    def thresholds(self) -> Floats:
        """There are none: whether a class is on depends on the others."""
        return np.full((len(self.calibrations), len(CODES)), np.nan)

    def probabilities(self, probabilities: Floats, out_of_distribution: Booleans | None = None) -> Floats:
        """The scores, (recordings, 24), of probabilities (networks, recordings, 24) without NaN."""
        own, others = np.split(probabilities, [len(self.calibrations)])
        if len(others) != (self.simulation_network is not None):
            raise ValueError(
                f"probabilities of {len(probabilities)} networks, for {len(self.calibrations)} calibrations"
            )
        pairs = zip(self.calibrations, own, strict=True)
        calibrated = np.mean([calibration.apply(p) for calibration, p in pairs], axis=0)
        at_home = shift_prior(calibrated, self.target_prevalence, self.label_prevalence)
        if out_of_distribution is None:
            return at_home
        elsewhere = shift_prior(calibrated, self.target_prevalence, reference_prevalence(), self.prevalence_shift)
        if self.simulation_network:
            written = shift_prior(
                others[0], self.simulation_network.target_prevalence, reference_prevalence(), self.prevalence_shift
            )
            elsewhere = pool_probabilities(elsewhere, written, self.simulation_network.weight)
        return np.where(out_of_distribution[:, None], elsewhere, at_home)

    def decide(self, probabilities: Floats, out_of_distribution: Booleans | None = None) -> Predictions:
        """See `Rule`."""
        strange = out_of_distribution if self.prevalence_shift or self.simulation_network else None
        known = np.isfinite(probabilities).all(axis=(0, 2))  # (recordings,)
        scores = np.full(probabilities.shape[1:], np.nan)
        labels = np.zeros(probabilities.shape[1:], np.bool_)
        if known.any():
            scores[known] = self.probabilities(probabilities[:, known], None if strange is None else strange[known])
            labels[known] = best_labels(scores[known])
        return Predictions(labels, scores, strange)


def make_rule(
    recipe: DecisionRecipe, folds: Sequence[Mapping[str, Any]], simulation_network: Mapping[str, Any] | None = None
) -> Rule:
    """The rule of a model from what its folds found: `thresholds` (24), or `calibration` and the class frequencies
    `learned` and `labelled` (24); from `learned` and `share` of its textbook, where it has one. Raises KeyError,
    TypeError or ValueError where something is missing or of another form."""
    if not folds:
        raise ValueError("needs at least one fold")
    if recipe.method == "search":
        if simulation_network:
            raise ValueError("a vote by thresholds hears no textbook")
        thresholds = np.array([fold["thresholds"] for fold in folds], np.float64)
        if thresholds.shape != (len(folds), len(CODES)):
            raise ValueError(f"{len(CODES)} thresholds a fold are needed, not {thresholds.shape}")
        if not np.isfinite(thresholds).all():
            raise ValueError("a threshold is no number")
        return VoteRule(thresholds)
    if not 0 <= recipe.prevalence_shift <= 1:
        raise ValueError(f"general {recipe.prevalence_shift} is not in [0, 1]")
    calibrations = tuple(Calibration(**fold["calibration"]) for fold in folds)
    if any(len(calibration.offsets) != len(CODES) for calibration in calibrations):
        raise ValueError(f"{len(CODES)} offsets a fold are needed")
    target_prevalence, label_prevalence = (
        _frequencies([fold[name] for fold in folds]) for name in ("target_prevalence", "label_prevalence")
    )
    heard = (
        SimulationNetwork(
            np.array(simulation_network["target_prevalence"], np.float64), float(simulation_network["weight"])
        )
        if simulation_network
        else None
    )
    return ExpectedRewardRule(calibrations, target_prevalence, label_prevalence, recipe.prevalence_shift, heard)


def _frequencies(folds: Sequence[Sequence[float]]) -> Floats:
    """The mean over the folds of their class frequencies, (24,)."""
    each = np.array(folds, np.float64)
    _check_frequencies(each, len(folds))
    return np.asarray(each.mean(0))


def _check_frequencies(each: Floats, count: int) -> None:
    if each.shape != (count, len(CODES)) or not ((each >= 0) & (each <= 1)).all():
        raise ValueError(f"{len(CODES)} class frequencies in [0, 1] are needed")
