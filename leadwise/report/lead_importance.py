"""What the leads are worth to a network: each lead, and each group of leads, hidden from it on some recordings.

A hidden lead is zero throughout, as a missing one is to the network. Beside it, how far the squeeze-and-excitation
gates follow the diagnosis. The cost is bounded: one network, one window each of at most `MOST` recordings. Asks the
model alone, draws nothing and reads no files.
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

MOST, SEED = 200, 2020  # recordings, and how they are drawn
EACH = 10  # recordings of each class are drawn first, where there are so many: rare ones would be missed
LEAST = 5  # recordings with a class, and without it, for an AUROC that is told
AT_ONCE = 50  # windows through the plain network
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
    """Some recordings as a network sees them."""

    signals: Sequence[NDArray[np.float32]]  # (12, samples) each
    demographics: NDArray[np.float32]  # (recordings, 5 or 6), see signals.side_numbers
    labels: Booleans  # (recordings, 24)


@dataclass(frozen=True, eq=False)
class LeadImportance:
    """What hiding does, first with nothing hidden, then in the order of `HIDDEN`."""

    recordings: int
    names: tuple[str, ...]
    scores: Floats  # (19,) challenge metric, decided as with all leads
    auroc: Floats  # (19, 24), NaN where fewer than `LEAST` recordings have the class, or lack it


@dataclass(frozen=True, eq=False)
class Gates:
    """How the gates of each block go with each diagnosis, (blocks, 24) each; NaN where no recording has it."""

    shift: Floats  # mean over channels of the distance between the class's mean gate and that of all recordings
    spread: Floats  # standard deviation among the class's recordings, mean over channels; of one recording 0


def draw_sample(labels: Booleans, most: int = MOST, each: int = EACH, seed: int = SEED) -> NDArray[np.int64]:
    """Places of at most `most` recordings, sorted: `each` of every class, the rarest first, then any."""
    order = np.random.default_rng(seed).permutation(len(labels))
    labels, free, chosen = labels[order], np.ones(len(labels), np.bool_), np.empty(0, np.int64)
    for k in np.argsort(labels.sum(axis=0), kind="stable"):
        lacking = max(0, each - int(labels[chosen, k].sum()))
        more = np.flatnonzero(labels[:, k] & free)[:lacking]
        free[more] = False
        chosen = np.r_[chosen, more]
    return np.asarray(np.sort(order[np.r_[chosen, np.flatnonzero(free)][:most]]))


def one_network(model: Model, network: int) -> Model:
    """A model of one of its networks alone, as fast as the whole."""
    chosen = slice(network, network + 1)
    alone, rule = model.networks[chosen], make_rule(model.recipe.decision, model.metadata["folds"][chosen])
    fast = stack(alone, model.recipe, model.processor)
    return replace(model, networks=alone, rule=rule, stacked=fast, cpu_fallback=None)


def lead_importance(model: Model, sample: Prepared) -> LeadImportance:
    """Scores with nothing hidden and with each entry of `HIDDEN` hidden; of a long recording its first window."""
    signals = [signal[:, : model.recipe.signal.window] for signal in sample.signals]
    scores, auroc = [], []
    for leads in [(), *HIDDEN.values()]:
        answer = model.predict([without(signal, leads) for signal in signals], sample.demographics)
        scores.append(challenge_metric(sample.labels, answer.labels))
        auroc.append(areas_under_curves(sample.labels, answer.scores)[0])
    there = sample.labels.sum(axis=0)
    told = np.minimum(there, len(sample.labels) - there) >= LEAST
    names = ("nothing", *HIDDEN)
    return LeadImportance(len(signals), names, np.array(scores), np.where(told, np.array(auroc), np.nan))


def without(signal: NDArray[np.float32], leads: Sequence[str]) -> NDArray[np.float32]:
    """The signal (12, samples) with these leads zero; a copy where there are any."""
    if not leads:
        return signal
    hidden = signal.copy()
    hidden[[STANDARD_LEADS.index(name) for name in leads]] = 0
    return hidden


def gates_by_class(network: SEResNet, sample: Prepared, window: int) -> Gates:
    """How the gates of a network go with each diagnosis of the sample; of a long recording its first window."""
    blocks = gates_of(network, sample, window)
    shift, spread = np.full((2, len(blocks), sample.labels.shape[1]), np.nan)
    for block, gates in enumerate(blocks):
        for k in np.flatnonzero(sample.labels.any(axis=0)):
            mine = gates[sample.labels[:, k]]
            shift[block, k] = np.abs(mine.mean(axis=0) - gates.mean(axis=0)).mean()
            spread[block, k] = mine.std(axis=0).mean()
    return Gates(shift, spread)


@torch.inference_mode()
def gates_of(network: SEResNet, sample: Prepared, window: int) -> list[NDArray[np.float32]]:
    """The gates of each block, (recordings, channels) each."""
    device = next(network.parameters()).device
    found: list[list[Tensor]] = [[] for _ in network.blocks]
    handles = [block.gate.excite.register_forward_hook(_keeper(kept)) for block, kept in _blocks(network, found)]
    try:
        for first in range(0, len(sample.signals), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            windows = torch.from_numpy(_windows(sample.signals[rows], window)).to(device)
            network(windows, torch.from_numpy(sample.demographics[rows]).to(device))
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(kept).numpy() for kept in found]


def _blocks(network: SEResNet, found: list[list[Tensor]]) -> list[tuple[Any, list[Tensor]]]:
    return list(zip(network.blocks, found, strict=True))


def _keeper(kept: list[Tensor]) -> Any:
    """A hook that keeps the gates that come of a block's last linear layer."""

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        kept.append(torch.sigmoid(output).float().cpu())

    return keep


def _windows(signals: Sequence[NDArray[np.float32]], window: int) -> NDArray[np.float32]:
    """The first window of each, (signals, 12, window), zero-padded on the right."""
    windows = np.zeros((len(signals), len(STANDARD_LEADS), window), np.float32)
    for row, signal in zip(windows, signals, strict=True):
        row[:, : min(window, signal.shape[1])] = signal[:, :window]
    return windows
