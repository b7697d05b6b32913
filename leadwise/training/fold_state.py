"""One fold: windows, loop, schedule, validation, checkpoint. Knows no recordings' files and no model folder.

Everything that happens to a batch (cutting, padding) is one tensor operation on the training device, the same code on
a CPU and on a GPU. After each epoch the whole state of the run is written, so that a killed run goes on where it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.network.cpu_training import ColumnNetwork
from leadwise.network.devices import Processor, tune_convolutions
from leadwise.network.gpu_forward import channels_last_or_plain
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import Recipe
from leadwise.training.checkpoint import State, load_checkpoint, save_checkpoint
from leadwise.training.distributed import ALONE, Group, share_norms

VERSION = f"3, torch {torch.__version__}"  # another number when the same recipe and data would give other weights
VALIDATION_BATCH = 128  # windows


PLAIN_FACTS = ("history", "setbacks", "parts", "validation_batch", "over")  # fields of FoldRun that JSON can say


def fastest_forward(
    network: SEResNet, processor: Processor, recipe: Recipe, group: Group = ALONE
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the fastest function that computes the network there: `ColumnNetwork` on a CPU in fp32, with the published
    convolutions; `ChannelsLastNetwork` on a GPU that one process uses; else the network itself."""
    if processor.device.type == "cuda" and group.size == 1:
        return channels_last_or_plain(network, processor, recipe.signal.window)
    on_cpu = processor.device.type == "cpu" and processor.dtype == torch.float32
    return ColumnNetwork(network) if on_cpu and ColumnNetwork.can(recipe.network) else network


@dataclass(eq=False)
class FoldRun:
    """The whole state of one fold's training, between two epochs."""

    network: SEResNet
    forward: Callable[[Tensor, Tensor], Tensor]  # the network, or the same function computed faster
    processor: Processor
    optimiser: torch.optim.Optimizer
    judged: SEResNet  # whose probabilities count and whose weights are kept: the network, or an average of its weights
    judged_forward: Callable[[Tensor, Tensor], Tensor]
    generator: torch.Generator  # of the order of recordings and of their windows
    scaler: torch.amp.GradScaler  # keeps fp16 gradients from vanishing; does nothing in fp32 and bf16
    history: list[dict[str, float]] = field(default_factory=list)  # one entry an epoch
    best_state: State = field(default_factory=dict)
    best_probabilities: Tensor = field(default_factory=lambda: torch.empty(0))  # (validation recordings, 24)
    setbacks: list[dict[str, Any]] = field(default_factory=list)  # epochs whose loss was not finite
    parts: int = 1  # that a batch goes through in, so that it fits into the device's memory
    validation_batch: int = VALIDATION_BATCH
    over: bool = False  # no epoch is to follow
    keep: str = "best"  # TrainingRecipe.keep
    group: Group = ALONE  # of processes that train this network together
    label: str = "network"  # what the log calls it

    @classmethod
    def begin(
        cls,
        recipe: Recipe,
        seed: int,
        processor: Processor,
        start: State | None = None,
        group: Group = ALONE,
        label: str = "network",
    ) -> FoldRun:
        """A network with fresh weights, the same seed gives the same ones; or with those of `start`."""
        torch.manual_seed(seed)
        tune_convolutions(processor)
        network = SEResNet(recipe.network).to(processor.device)
        if start is not None:
            network.load_state_dict(start)
        share_norms(network, group)
        training = recipe.training
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimiser]
        optimiser = kind(
            network.parameters(), training.learning_rate, training.betas, weight_decay=training.weight_decay, fused=True
        )
        scaler = torch.amp.GradScaler(processor.device.type, enabled=processor.dtype == torch.float16)
        forward = judged_forward = fastest_forward(network, processor, recipe, group)
        judged = network
        if training.average:
            judged = copy.deepcopy(network)
            judged_forward = fastest_forward(judged, processor, recipe, group)
        generator = torch.Generator().manual_seed(seed)
        return cls(
            network, forward, processor, optimiser, judged, judged_forward, generator, scaler,
            keep=training.keep, group=group, label=label,
        )  # fmt: skip

    @property
    def best_epoch(self) -> int:
        """The first epoch (0, 1, ...) with the highest validation score; -1 before the first."""
        scores = [entry["validation_score"] for entry in self.history]
        return scores.index(max(scores)) if scores else -1

    @property
    def kept_epoch(self) -> int:
        """The epoch (0, 1, ...) whose weights are kept: the best one, or the last; -1 before the first."""
        return self.best_epoch if self.keep == "best" else len(self.history) - 1

    def note_epoch(self, entry: dict[str, float], probabilities: NDArray[np.float32]) -> None:
        """Adds an epoch to the history; keeps weights and probabilities (validation recordings, 24) where it is the one
        to keep."""
        self.history.append(entry)
        if self.kept_epoch == len(self.history) - 1:
            self.best_state = {key: value.detach().cpu().clone() for key, value in self.judged.state_dict().items()}
            self.best_probabilities = torch.from_numpy(probabilities)

    def save(self, path: Path) -> None:
        """Writes everything that the next epoch depends on as the newest checkpoint; of several processes one does."""
        if not self.group.leads:
            return
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        if self.judged is not self.network:
            tensors |= {f"average.{name}": value for name, value in self.judged.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        tensors |= {"random.torch": torch.get_rng_state(), "random.windows": self.generator.get_state()}
        if self.processor.device.type == "cuda":  # not where CUDA merely exists: to ask would take some of its memory
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.processor.device)
        tensors["best_probabilities"] = self.best_probabilities
        facts = {name: getattr(self, name) for name in PLAIN_FACTS} | {"scaler": self.scaler.state_dict()}
        save_checkpoint(path, tensors, facts)

    def load(self, path: Path) -> bool:
        """The inverse of `save`, onto the device that the network is on; False where there is no whole checkpoint."""
        stored = load_checkpoint(path)
        if stored is None:
            return False
        tensors, facts = stored
        for name in PLAIN_FACTS:
            setattr(self, name, facts[name])
        if facts["scaler"]:  # empty where the run was in fp32 or bf16 until now; then the scale begins anew
            self.scaler.load_state_dict(facts["scaler"])
        self.network.load_state_dict(_part(tensors, "network."))
        if self.judged is not self.network:
            self.judged.load_state_dict(_part(tensors, "average."))
        self.best_state = _part(tensors, "best.")
        self.best_probabilities = tensors["best_probabilities"]
        optimiser: dict[int, State] = {}
        for name, value in _part(tensors, "optimiser.").items():
            index, key = name.split(".", 1)
            optimiser.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": optimiser})
        torch.set_rng_state(tensors["random.torch"])
        self.generator.set_state(tensors["random.windows"])
        if self.processor.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.processor.device)
        return True


def _part(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def steps_of(network: SEResNet) -> int:
    """Return how many batches the network was trained on, as its batch norms count them; waits for a GPU."""
    return int(network.stem[1].num_batches_tracked)  # type: ignore[arg-type]
