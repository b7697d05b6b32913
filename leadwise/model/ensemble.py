"""A model folder: save it, load it, predict with it. Knows no data folders and no training.

`model.json` says everything that a person may want to know, `fold0.safetensors`, `fold1.safetensors`, ... are the plain
fp32 states of the networks and nothing else, `textbook.safetensors` that of one which only simulated ECGs have taught,
where there is one. Nothing in a model folder is ever executed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.challenge.classes import CODES
from leadwise.decision.rules import Predictions, Rule, make_rule
from leadwise.ecg.acquisition import AcquisitionProfile, out_of_distribution
from leadwise.ecg.preprocessing import window_starts
from leadwise.model.folder import ModelError, load_network, network_files, read_metadata
from leadwise.network.cpu_inference import StackedNetworks
from leadwise.network.devices import CPU, Processor
from leadwise.network.gpu_forward import ChannelsLastNetwork, channels_last_or_plain
from leadwise.network.se_resnet import SEResNet
from leadwise.network.transfers import send
from leadwise.recipes import Recipe, check_numbers, recipe_from_dict
from leadwise.util.progress import log

BATCH = 4  # windows that go through the stacked networks at once: more fall out of the cores' caches
PLAIN = 64  # windows that go through a plain network at once


@dataclass(eq=False)
class CpuFallback:
    """The networks of a model on a GPU once more, on the CPU: a GPU that fails takes its copy with it."""

    networks: tuple[SEResNet, ...]
    model: Model | None = None  # that goes on, once the GPU has failed

    def activate(self, failed: Model, error: RuntimeError) -> Model:
        """The model to go on with; says so, once."""
        if self.model is None:
            log.warning("the GPU failed: %s; the CPU goes on", (str(error).splitlines() or [type(error).__name__])[0])
            stacked = stack(self.networks, failed.recipe, CPU)  # now, not at load: few GPUs ever fail
            self.model = replace(
                failed, networks=self.networks, processor=CPU, stacked=stacked, cpu_fallback=None, channels_last=False
            )
        return self.model


@dataclass(frozen=True, eq=False)
class Model:
    """Networks, the rule by which they answer, and the answer for a recording that says nothing."""

    recipe: Recipe
    networks: tuple[SEResNet, ...]  # the folds' and, where the rule hears one, the textbook's as the last
    rule: Rule
    prior: Predictions  # one recording: the training recordings' class frequencies, the best constant labels
    processor: Processor
    metadata: dict[str, Any]  # model.json
    profiles: tuple[AcquisitionProfile, ...]  # in which the training recordings were acquired

    stacked: StackedNetworks | None = None  # the networks as one, where that is faster
    cpu_fallback: CpuFallback | None = None  # for a model on a GPU
    channels_last: bool = False  # whether the networks are computed by `ChannelsLastNetwork`, on a GPU

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds (networks, 24); NaN where the rule has none."""
        return self.rule.thresholds

    def probabilities(
        self, signals: Sequence[NDArray[np.float32]], demographics: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Probabilities (networks, recordings, 24) of prepared signals, (12, samples) each, and demographics
        (recordings, 5): the mean over the test windows of each recording. From the CPU where the GPU has failed, or
        fails now: then the same recordings are computed again."""
        if self.cpu_fallback is None or self.cpu_fallback.model is None:
            try:
                return self._probabilities(signals, demographics)
            except RuntimeError as error:  # what PyTorch raises when a GPU is lost, or its memory is full
                if self.cpu_fallback is None:  # on a CPU there is nothing to fall back to
                    raise
                return self.cpu_fallback.activate(self, error).probabilities(signals, demographics)
        return self.cpu_fallback.model.probabilities(signals, demographics)

    @torch.inference_mode()
    def _probabilities(
        self, signals: Sequence[NDArray[np.float32]], demographics: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        owners, starts, lengths = self._windows(signals)
        people = torch.from_numpy(demographics)[owners]
        totals = torch.zeros(len(self.networks), len(signals), len(CODES), dtype=torch.float64)
        # windows of one length together: the padding of the shorter ones would have to be computed
        order = torch.sort(lengths, descending=True, stable=True).indices
        found: list[tuple[Tensor, Tensor]] = []
        for rows in torch.split(order, BATCH if self.stacked else PLAIN):
            windows = self._cut(signals, owners[rows].tolist(), starts[rows].tolist(), int(lengths[rows[0]]))
            found.append((owners[rows], torch.sigmoid(self._logits(windows, people[rows]).float())))
        for whose, probabilities in found:  # now: a GPU computes while the host cuts the next windows
            # windows of one recording may come in several batches, in any order: a sum in doubles is the same
            totals.index_add_(1, whose, probabilities.double().cpu())
        count = torch.bincount(owners, minlength=len(signals)).view(1, -1, 1)
        return (totals / count).numpy()

    def predict(
        self,
        signals: Sequence[NDArray[np.float32]],
        demographics: NDArray[np.float32],
        acquisitions: NDArray[np.float32] | None = None,
    ) -> Predictions:
        """Labels and scores by the model's rule; `acquisitions` (recordings, 3) tell which recordings are foreign, none
        where they are not given."""
        strange = None if acquisitions is None else out_of_distribution(acquisitions, self.profiles)
        return self.rule.decide(self.probabilities(signals, demographics), strange)

    def _windows(self, signals: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor, Tensor]:
        """Of each test window of all signals: whose it is, its first sample, its samples without the padding."""
        window, overlap = self.recipe.signal.window, self.recipe.signal.overlap
        starts = [window_starts(signal.shape[1], window, overlap) for signal in signals]
        owners = np.repeat(np.arange(len(signals)), [len(these) for these in starts])
        samples = np.repeat([min(signal.shape[1], window) for signal in signals], [len(these) for these in starts])
        return torch.from_numpy(owners), torch.from_numpy(np.concatenate(starts)), torch.from_numpy(samples)

    def _cut(
        self, signals: Sequence[NDArray[np.float32]], owners: Sequence[int], starts: Sequence[int], length: int
    ) -> Tensor:
        """Windows (windows, 12, `length`, or the whole window for the plain networks), zero-padded on the right."""
        window = self.recipe.signal.window
        shape = (len(owners), 12, length if self.stacked else window)
        # in page-locked memory for a GPU, so that the host need not wait for the copy
        windows = torch.zeros(shape, pin_memory=self.processor.device.type == "cuda")
        for row, owner, start in zip(windows.numpy(), owners, starts, strict=True):
            piece = signals[owner][:, start : start + window]
            row[:, : piece.shape[1]] = piece
        return windows

    def _logits(self, windows: Tensor, people: Tensor) -> Tensor:
        """Logits (networks, windows, 24)."""
        if self.stacked is not None:
            return self.stacked(windows, people)
        device = self.processor.device
        windows, people = windows.to(device, non_blocking=True), send(people, device)
        with self.processor.autocast():
            return torch.stack([self._forward(network)(windows, people) for network in self.networks])

    def _forward(self, network: SEResNet) -> Callable[[Tensor, Tensor], Tensor]:
        return ChannelsLastNetwork(network) if self.channels_last else network


def load_model(folder: str | Path, processor: Processor = CPU) -> Model:
    """A model folder, ready to predict on a CPU or GPU. Raises ModelError naming the file that is wrong."""
    folder = Path(folder)
    metadata = read_metadata(folder)
    path = folder / "model.json"
    try:
        recipe = recipe_from_dict(metadata["recipe"])
        check_numbers(recipe)
        rule = make_rule(recipe.decision, metadata["folds"], metadata.get("simulation_network"))
        profiles = tuple(map(AcquisitionProfile.from_dict, metadata["acquisition_profiles"]))
        prior = Predictions(
            np.array([metadata["prior"]["labels"]], np.bool_), np.array([metadata["prior"]["scores"]], np.float64)
        )
        files = network_files(metadata)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ModelError(f"{path}: {type(error).__name__} {error}") from None
    if prior.scores.shape != (1, len(CODES)) or prior.labels.shape != (1, len(CODES)):
        raise ModelError(f"{path}: needs {len(CODES)} prior scores and labels")
    if not ((prior.scores >= 0) & (prior.scores <= 1)).all():
        raise ModelError(f"{path}: a prior score is not in [0, 1]")
    # last, since it is what takes time and memory: all that is said has been checked by now
    networks = tuple(load_network(folder, name, checksum, recipe) for name, checksum in files.items())
    if processor.device.type != "cpu":
        # the originals stay on the host, for the day on which the GPU fails
        there = tuple(copy.deepcopy(network).to(processor.device) for network in networks)
        fast = channels_last_or_plain(there[0], processor, recipe.signal.window) is not there[0]
        return Model(
            recipe,
            there,
            rule,
            prior,
            processor,
            metadata,
            profiles,
            cpu_fallback=CpuFallback(networks),
            channels_last=fast,
        )
    return Model(recipe, networks, rule, prior, processor, metadata, profiles, stack(networks, recipe, processor))


def stack(networks: Sequence[SEResNet], recipe: Recipe, processor: Processor) -> StackedNetworks | None:
    """The networks as one, after a first call with as many windows as any: memory and libraries are ready. None where
    that is not possible, or would not be faster."""
    if not StackedNetworks.supports(recipe.network, processor.device, processor.dtype):
        return None
    stacked = StackedNetworks(networks, recipe.signal.window, processor.dtype)
    stacked(
        torch.zeros(BATCH, recipe.network.leads, recipe.signal.window), torch.zeros(BATCH, recipe.network.demographics)
    )
    return stacked
