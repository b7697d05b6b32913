"""Measure the importance of leads to a network: score and AUROC with each lead and each group of leads hidden.

A hidden lead is zero throughout, like a missing one. `gates_by_class` shows how the squeeze-and-excitation gates depend
on the diagnosis. The cost is bounded: one network, and one window each of at most `MAX_RECORDINGS` recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leadwise.challenge.metric import areas_under_curves, challenge_metric
from leadwise.decision.rules import make_rule
from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.model.ensemble import Model, stack
from leadwise.network.se_resnet import SEResNet
from leadwise.report.occlusion import without_leads

MAX_RECORDINGS, SEED = 200, 2020  # of the sample, and of its random draw
PER_CLASS = 10  # recordings of each class are drawn first, if there are so many: rare classes would be missed
MIN_RECORDINGS = 5  # with the class, and without it, for an AUROC
BATCH = 50  # windows
GROUPS: dict[str, tuple[str, ...]] = {
    "I, II, III": STANDARD_LEADS[:3],
    "aVR, aVL, aVF": STANDARD_LEADS[3:6],
    "all six limb leads": STANDARD_LEADS[:6],
    "V1, V2, V3": STANDARD_LEADS[6:9],
    "V4, V5, V6": STANDARD_LEADS[9:],
    "all six chest leads": STANDARD_LEADS[6:],
}
HIDDEN: dict[str, tuple[str, ...]] = {**{name: (name,) for name in STANDARD_LEADS}, **GROUPS}

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Recordings as a network gets them."""

    signals: Sequence[NDArray[np.float32]]  # (12, samples) each
    auxiliary: NDArray[np.float32]  # (recordings, 5 or 6), see preprocessing.auxiliary_features
    labels: Booleans  # (recordings, 24)


@dataclass(frozen=True, eq=False)
class LeadImportance:
    """Scores with nothing hidden, then with each entry of `HIDDEN` hidden, in its order."""

    names: tuple[str, ...]
    scores: Floats  # (19,) challenge metric, decided as with all leads
    auroc: Floats  # (19, 24), NaN if fewer than `MIN_RECORDINGS` recordings have the class, or lack it


@dataclass(frozen=True, eq=False)
class Gates:
    """The gates of each block by diagnosis, (blocks, 24) each; NaN if no recording has the diagnosis."""

    shift: Floats  # mean over channels of the distance between the class's mean gate and that of all recordings
    spread: Floats  # standard deviation among the class's recordings, mean over channels


def draw_sample(
    labels: Booleans, size: int = MAX_RECORDINGS, per_class: int = PER_CLASS, seed: int = SEED
) -> NDArray[np.int64]:
    """Return the sorted indices of at most `size` recordings: `per_class` of each class, the rarest first, then any."""
    order = np.random.default_rng(seed).permutation(len(labels))
    labels, free, chosen = labels[order], np.ones(len(labels), np.bool_), np.empty(0, np.int64)
    for k in np.argsort(labels.sum(axis=0), kind="stable"):
        lacking = max(0, per_class - int(labels[chosen, k].sum()))
        more = np.flatnonzero(labels[:, k] & free)[:lacking]
        free[more] = False
        chosen = np.r_[chosen, more]
    return np.asarray(np.sort(order[np.r_[chosen, np.flatnonzero(free)][:size]]))


def one_network(model: Model, network: int) -> Model:
    """Return a model with only one of the networks."""
    chosen = slice(network, network + 1)
    networks, rule = model.networks[chosen], make_rule(model.recipe.decision, model.metadata["folds"][chosen])
    stacked = stack(networks, model.recipe, model.processor)
    return replace(model, networks=networks, rule=rule, stacked=stacked, cpu_fallback=None)


def lead_importance(model: Model, sample: Prepared) -> LeadImportance:
    """Return the scores of the sample without hidden leads and with each entry of `HIDDEN`; first windows only."""
    signals = [signal[:, : model.recipe.signal.window] for signal in sample.signals]
    scores, auroc = [], []
    for names in [(), *HIDDEN.values()]:
        leads = [STANDARD_LEADS.index(name) for name in names]
        prediction = model.predict([without_leads(signal, leads) for signal in signals], sample.auxiliary)
        scores.append(challenge_metric(sample.labels, prediction.labels))
        auroc.append(areas_under_curves(sample.labels, prediction.scores)[0])
    positives = sample.labels.sum(axis=0)
    enough = np.minimum(positives, len(sample.labels) - positives) >= MIN_RECORDINGS
    return LeadImportance(("nothing", *HIDDEN), np.array(scores), np.where(enough, np.array(auroc), np.nan))


def gates_by_class(network: SEResNet, sample: Prepared, window: int) -> Gates:
    """Return how the gates of a network depend on the diagnoses of the sample; first windows only."""
    blocks = gates_of(network, sample, window)
    shift, spread = np.full((2, len(blocks), sample.labels.shape[1]), np.nan)
    for block, gates in enumerate(blocks):
        for k in np.flatnonzero(sample.labels.any(axis=0)):
            of_class = gates[sample.labels[:, k]]
            shift[block, k] = np.abs(of_class.mean(axis=0) - gates.mean(axis=0)).mean()
            spread[block, k] = of_class.std(axis=0).mean()
    return Gates(shift, spread)


@torch.inference_mode()
def gates_of(network: SEResNet, sample: Prepared, window: int) -> list[NDArray[np.float32]]:
    """Return the gates of each block, (recordings, channels) each."""
    device = next(network.parameters()).device
    blocks: list[Any] = list(network.blocks)
    found: dict[nn.Module, list[Tensor]] = {block.gate.excite: [] for block in blocks}

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found[module].append(torch.sigmoid(output).float().cpu())

    handles = [module.register_forward_hook(keep) for module in found]
    try:
        for first in range(0, len(sample.signals), BATCH):
            rows = slice(first, first + BATCH)
            # zero-padded on the right, (batch, 12, window)
            windows = [torch.from_numpy(signal[:, :window]) for signal in sample.signals[rows]]
            padded = [nn.functional.pad(each, (0, window - each.shape[1])) for each in windows]
            network(torch.stack(padded).to(device), torch.from_numpy(sample.auxiliary[rows]).to(device))
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(gates).numpy() for gates in found.values()]
