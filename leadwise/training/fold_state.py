"""Hold the state of a fold's training between two epochs, save it to a checkpoint and load it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.network.cpu_training import CpuTrainingNetwork
from leadwise.network.devices import Processor
from leadwise.network.gpu_forward import channels_last_or_plain
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import Recipe
from leadwise.training.checkpoint import State, load_checkpoint, save_checkpoint
from leadwise.training.distributed import SINGLE_PROCESS, ProcessGroup, synchronise_norms

VERSION = f"4, torch {torch.__version__}"  # another number when the same recipe and data would give other weights
VALIDATION_BATCH = 128  # windows
Forward = Callable[[Tensor, Tensor], Tensor]  # signals and auxiliary features to logits


@dataclass(eq=False)
class Networks:
    """The network that is trained and the EMA of its weights, which is validated and kept; the same without an EMA."""

    network: SEResNet
    ema_network: SEResNet
    forward: Forward  # the network, or the same function computed faster
    ema_forward: Forward

    @classmethod
    def create(
        cls, recipe: Recipe, processor: Processor, initial_weights: State | None, group: ProcessGroup
    ) -> Networks:
        """Create the networks with the initial weights, or with random ones by torch's seed."""
        network = SEResNet(recipe.network).to(processor.device)
        if initial_weights is not None:
            network.load_state_dict(initial_weights)
        synchronise_norms(network, group)
        forward = fastest_forward(network, processor, recipe, group)
        if not recipe.training.ema_decay:
            return cls(network, network, forward, forward)
        ema_network = copy.deepcopy(network)
        return cls(network, ema_network, forward, fastest_forward(ema_network, processor, recipe, group))

    @torch.no_grad()
    def update_ema(self, decay: float, steps: int) -> None:
        """Update the EMA of weights and running statistics with the given decay (0: there is none), which is reduced in
        the first steps (micro-batches trained on) so that the initial weights are forgotten."""
        if not decay:
            return
        decay = min(decay, (1 + steps) / (10 + steps))
        ema, network = self.ema_network, self.network
        torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - decay)
        pairs = list(zip(ema.buffers(), network.buffers(), strict=True))
        means = [pair for pair in pairs if pair[0].dtype.is_floating_point]
        torch._foreach_lerp_([mean for mean, _ in means], [value for _, value in means], 1 - decay)
        counts = [pair for pair in pairs if not pair[0].dtype.is_floating_point]
        torch._foreach_copy_([count for count, _ in counts], [value for _, value in counts])

    def steps_trained(self) -> int:
        """Return how many micro-batches the batch norms have seen in training. Waits for a GPU."""
        return int(self.network.stem[1].num_batches_tracked)  # type: ignore[arg-type]


def fastest_forward(network: SEResNet, processor: Processor, recipe: Recipe, group: ProcessGroup) -> Forward:
    """Return the fastest function that computes the network: `CpuTrainingNetwork` on a CPU in fp32 with the published
    kernel, `ChannelsLastNetwork` on a GPU that trains in one process, otherwise the network itself."""
    if processor.device.type == "cuda" and group.size == 1:
        return channels_last_or_plain(network, processor, recipe.signal.window)
    on_cpu = processor.device.type == "cpu" and processor.dtype == torch.float32
    return CpuTrainingNetwork(network) if on_cpu and CpuTrainingNetwork.supports(recipe.network) else network


@dataclass
class Progress:
    """The epochs of a fold so far, and settings that changed on the way; every field can be written as JSON."""

    history: list[dict[str, float]] = field(default_factory=list)  # one entry per epoch, see `epoch.run_epoch`
    rollbacks: list[dict[str, Any]] = field(default_factory=list)  # epochs whose loss was not finite
    micro_batches: int = 1  # per batch, so that it fits into the memory of the device
    validation_batch: int = VALIDATION_BATCH
    finished: bool = False  # no epoch follows


@dataclass(eq=False)
class FoldState:
    """The state of one fold's training between two epochs."""

    recipe: Recipe
    processor: Processor
    networks: Networks
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # keeps fp16 gradients from vanishing; does nothing in fp32 and bf16
    generator: torch.Generator  # of the order of recordings and of their windows
    group: ProcessGroup = SINGLE_PROCESS  # processes that train this network together
    name: str = "network"  # in the log
    progress: Progress = field(default_factory=Progress)
    kept_weights: State = field(default_factory=dict)
    kept_probabilities: Tensor = field(
        default_factory=lambda: torch.empty(0, dtype=torch.float32, device="cpu")
    )  # (validation recordings, 24)

    @classmethod
    def begin(
        cls,
        recipe: Recipe,
        seed: int,
        processor: Processor,
        initial_weights: State | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
        name: str = "network",
    ) -> FoldState:
        """Return the state before the first epoch, with the initial weights or random ones by the seed."""
        torch.manual_seed(seed)
        if processor.device.type == "cuda":  # shapes repeat in training: cuDNN times its algorithms once for each.
            torch.backends.cudnn.benchmark = True  # The choice, and with it the last bits, may change from run to run
        networks, training = Networks.create(recipe, processor, initial_weights, group), recipe.training
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimiser]
        weights, decay = networks.network.parameters(), training.weight_decay
        optimiser = kind(weights, training.learning_rate, training.betas, weight_decay=decay, fused=True)
        scaler = torch.amp.GradScaler(processor.device.type, enabled=processor.dtype == torch.float16)
        generator = torch.Generator("cpu").manual_seed(seed)
        return cls(recipe, processor, networks, optimiser, scaler, generator, group, name)

    @property
    def kept_epoch(self) -> int:
        """Return the epoch (0, 1, ...) whose weights are kept: the best or the last one; -1 before the first."""
        scores = [entry["validation_score"] for entry in self.progress.history]
        return scores.index(max(scores)) if scores and self.recipe.training.keep == "best" else len(scores) - 1

    def record_epoch(self, entry: dict[str, float], probabilities: NDArray[np.float32]) -> None:
        """Add an epoch to the history; keep weights and probabilities (validation recordings, 24) if it is better."""
        self.progress.history.append(entry)
        if self.kept_epoch == len(self.progress.history) - 1:
            weights = self.networks.ema_network.state_dict()
            self.kept_weights = {key: value.detach().cpu().clone() for key, value in weights.items()}
            self.kept_probabilities = torch.from_numpy(probabilities)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on as the newest checkpoint, in the main process."""
        if not self.group.is_main:
            return
        tensors = {f"network.{name}": value for name, value in self.networks.network.state_dict().items()}
        if self.recipe.training.ema_decay:
            tensors |= {f"ema.{name}": value for name, value in self.networks.ema_network.state_dict().items()}
        tensors |= {f"kept.{name}": value for name, value in self.kept_weights.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        tensors |= {"random.torch": torch.get_rng_state(), "random.windows": self.generator.get_state()}
        if self.processor.device.type == "cuda":  # a training on the CPU leaves the memory of a GPU alone
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.processor.device)
        tensors["probabilities"] = self.kept_probabilities
        save_checkpoint(path, tensors, asdict(self.progress) | {"scaler": self.scaler.state_dict()})

    def load(self, path: Path) -> bool:
        """Restore what `save` wrote, onto the device of the network. Return False if there is no intact checkpoint."""
        stored = load_checkpoint(path)
        if stored is None:
            return False
        tensors, metadata = stored
        scaler = metadata.pop("scaler")
        self.progress = Progress(**metadata)
        if scaler:  # empty if the run was in fp32 or bf16 until now; then the scale begins anew
            self.scaler.load_state_dict(scaler)
        self.networks.network.load_state_dict(_with_prefix(tensors, "network."))
        if self.recipe.training.ema_decay:
            self.networks.ema_network.load_state_dict(_with_prefix(tensors, "ema."))
        self.kept_weights, self.kept_probabilities = _with_prefix(tensors, "kept."), tensors["probabilities"]
        optimiser: dict[int, State] = {}
        for name, value in _with_prefix(tensors, "optimiser.").items():
            index, key = name.split(".", 1)
            optimiser.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": optimiser})
        torch.set_rng_state(tensors["random.torch"])
        self.generator.set_state(tensors["random.windows"])
        if self.processor.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.processor.device)
        return True


def _with_prefix(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
