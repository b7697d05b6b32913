"""One fold: windows, loop, schedule, validation, checkpoint. Knows no recordings' files and no model folder.

Everything that happens to a batch (cutting, padding) is one tensor operation on the training device, the same code on
a CPU and on a GPU. After each epoch the whole state of the run is written, so that a killed run goes on where it was.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from leadwise.dataset import Dataset
from leadwise.devices import Processor
from leadwise.files import whole_file
from leadwise.metric import challenge_metric
from leadwise.network import SEResNet
from leadwise.progress import duration, log
from leadwise.recipes import Recipe, TrainingRecipe
from leadwise.signals import window_starts
from leadwise.thresholds import decide

State = dict[str, Tensor]
VALIDATION_BATCH = 128  # windows


@dataclass(frozen=True, eq=False)
class Examples:
    """A prepared data set as tensors on the training device."""

    samples: Tensor  # (samples of all, 12)
    starts: Tensor  # (n,) first row of each recording
    lengths: Tensor  # (n,) rows
    demographics: Tensor  # (n, 5)
    labels: Tensor  # (n, 24) float32

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> Examples:
        """The data set's arrays; on a CPU the signals stay in their memory map."""
        return cls(
            samples=torch.from_numpy(dataset.samples).to(device),
            starts=torch.from_numpy(dataset.starts).to(device),
            lengths=torch.from_numpy(dataset.lengths).to(device),
            demographics=torch.from_numpy(dataset.demographics).to(device),
            labels=torch.from_numpy(dataset.labels).to(device, torch.float32),
        )

    def windows(self, indices: Tensor, offsets: Tensor, window: int) -> Tensor:
        """Windows (batch, 12, window) that begin at row `offsets` (batch,) of the recordings `indices` (batch,).

        An offset may be negative: rows before a recording's first and behind its last are zero.
        """
        rows = offsets.unsqueeze(1) + torch.arange(window, device=offsets.device)  # (batch, window)
        lengths = self.lengths[indices].unsqueeze(1)
        inside = (rows >= 0) & (rows < lengths)
        rows = rows.clamp(min=0).minimum(lengths - 1) + self.starts[indices].unsqueeze(1)
        values = self.samples[rows] * inside.unsqueeze(2)  # (batch, window, 12)
        return values.transpose(1, 2).contiguous()  # (batch, 12, window)


def random_offsets(lengths: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """Where each training window begins, (batch,): a uniformly random cut of a longer recording, a uniformly random
    split of the padding of a shorter one (then at most 0)."""
    spare = (lengths - window).cpu()  # (batch,)
    chance = torch.rand(spare.shape, generator=generator, dtype=torch.float64)
    shift = (chance * (spare.abs() + 1)).long()  # 0 ... |spare|
    return (spare.clamp(max=0) + shift).to(lengths.device)


def validation_windows(lengths: NDArray[np.int64], window: int, overlap: int) -> NDArray[np.int64]:
    """The test windows of all recordings, (windows, 2): which recording, first row."""
    starts = [window_starts(int(length), window, overlap) for length in lengths]
    owners = np.repeat(np.arange(len(lengths)), [len(these) for these in starts])
    return np.stack([owners, np.concatenate(starts)], axis=1)


def learning_rate(epoch: int, epochs: int, recipe: TrainingRecipe) -> float:
    """The rate of an epoch (0, 1, ...) of so many: multiplied by the decay after each share of them has passed."""
    passed = sum(epoch >= math.ceil(round(share * epochs, 6)) for share in recipe.decay_after)
    return recipe.learning_rate * recipe.decay_factor**passed


@dataclass(eq=False)
class FoldRun:
    """The whole state of one fold's training, between two epochs."""

    network: SEResNet
    processor: Processor
    optimiser: torch.optim.Adam
    generator: torch.Generator  # of the order of recordings and of their windows
    scaler: torch.amp.GradScaler  # keeps fp16 gradients from vanishing; does nothing in fp32 and bf16
    history: list[dict[str, float]] = field(default_factory=list)  # one entry an epoch
    best_state: State = field(default_factory=dict)
    best_probabilities: Tensor = field(default_factory=lambda: torch.empty(0))  # (validation recordings, 24)

    @classmethod
    def begin(cls, recipe: Recipe, seed: int, processor: Processor) -> FoldRun:
        """A network with fresh weights; the same seed gives the same ones."""
        torch.manual_seed(seed)
        network = SEResNet(recipe.network).to(processor.device)
        training = recipe.training
        optimiser = torch.optim.Adam(
            network.parameters(), training.learning_rate, training.betas, weight_decay=training.weight_decay, fused=True
        )
        scaler = torch.amp.GradScaler(processor.device.type, enabled=processor.dtype == torch.float16)
        return cls(network, processor, optimiser, torch.Generator().manual_seed(seed), scaler)

    @property
    def best_epoch(self) -> int:
        """The first epoch (0, 1, ...) with the highest validation score; -1 before the first."""
        scores = [entry["validation_score"] for entry in self.history]
        return scores.index(max(scores)) if scores else -1

    def save(self, path: Path) -> None:
        """Writes everything that the next epoch depends on into one safetensors file."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        tensors |= {"random.torch": torch.get_rng_state(), "random.windows": self.generator.get_state()}
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        tensors["best_probabilities"] = self.best_probabilities
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with whole_file(path) as handle:
            facts = {"history": json.dumps(self.history), "scaler": json.dumps(self.scaler.state_dict())}
            handle.write(save(tensors, facts))

    def load(self, path: Path) -> None:
        """The inverse of `save`, onto the device that the network is on."""
        with safe_open(path, "pt") as stored:
            self.history = json.loads(stored.metadata()["history"])
            self.scaler.load_state_dict(json.loads(stored.metadata()["scaler"]))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        self.network.load_state_dict(_part(tensors, "network."))
        self.best_state = _part(tensors, "best.")
        self.best_probabilities = tensors["best_probabilities"]
        optimiser: dict[int, State] = {}
        for name, value in _part(tensors, "optimiser.").items():
            index, key = name.split(".", 1)
            optimiser.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": optimiser})
        torch.set_rng_state(tensors["random.torch"])
        self.generator.set_state(tensors["random.windows"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])


def _part(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True, eq=False)
class FoldResult:
    """A trained fold: the best epoch's weights and what they say of the validation part."""

    state: State  # fp32, on the CPU
    probabilities: NDArray[np.float32]  # (validation recordings, 24)
    best_epoch: int  # 0, 1, ...
    history: list[dict[str, float]]  # per epoch: learning_rate, loss, validation_score, seconds, recordings_per_second


def train_fold(
    dataset: Dataset,
    validation: NDArray[np.bool_],
    recipe: Recipe,
    processor: Processor,
    checkpoint: Path,
    seed: int,
    name: str = "fold",
) -> FoldResult:
    """Trains one network on the recordings that are not in `validation` (n,), keeping the best epoch's weights.

    The state after each epoch is written to the file `checkpoint`; where that exists, training goes on from it.
    """
    examples = Examples.of(dataset, processor.device)
    run = FoldRun.begin(recipe, seed, processor)
    if checkpoint.exists():
        run.load(checkpoint)
        log.info("%s: goes on after epoch %d", name, len(run.history))
    members, held_out = np.flatnonzero(~validation), np.flatnonzero(validation)
    epochs = recipe.training.epochs
    for epoch in range(len(run.history), epochs):
        start = time.monotonic()
        rate = learning_rate(epoch, epochs, recipe.training)
        loss = train_epoch(run, examples, torch.from_numpy(members), rate, recipe)
        trained = time.monotonic() - start
        probabilities = predict(run, examples, dataset.lengths, held_out, recipe)
        answers = decide(probabilities, np.full(probabilities.shape[1], recipe.training.validation_cutoff))
        entry = {
            "learning_rate": rate,
            "loss": loss,
            "validation_score": challenge_metric(dataset.labels[held_out], answers),
            "seconds": time.monotonic() - start,
            "recordings_per_second": len(members) / trained,
        }
        run.history.append(entry)
        if run.best_epoch == epoch:
            run.best_state = {key: value.detach().cpu().clone() for key, value in run.network.state_dict().items()}
            run.best_probabilities = torch.from_numpy(probabilities)
        run.save(checkpoint)
        _report(name, epoch, epochs, entry)
    return FoldResult(run.best_state, run.best_probabilities.numpy(), run.best_epoch, run.history)


def train_epoch(run: FoldRun, examples: Examples, members: Tensor, rate: float, recipe: Recipe) -> float:
    """One pass over the recordings `members` in random order; the mean loss of its batches."""
    window, size = recipe.signal.window, min(recipe.training.batch_size, len(members))
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.network.train()
    order = members[torch.randperm(len(members), generator=run.generator)]
    losses = []
    for first in range(0, len(order) - size + 1, size):  # the last incomplete batch is dropped
        batch = order[first : first + size].to(examples.starts.device)
        offsets = random_offsets(examples.lengths[batch], window, run.generator)
        with run.processor.autocast():
            logits = run.network(examples.windows(batch, offsets, window), examples.demographics[batch])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), examples.labels[batch])
        run.optimiser.zero_grad()
        run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        run.scaler.step(run.optimiser)
        run.scaler.update()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@torch.inference_mode()
def predict(
    run: FoldRun, examples: Examples, lengths: NDArray[np.int64], members: NDArray[np.int64], recipe: Recipe
) -> NDArray[np.float32]:
    """Probabilities (members, 24): the mean over the test windows of each recording."""
    run.network.eval()
    device, window = examples.starts.device, recipe.signal.window
    table = torch.from_numpy(validation_windows(lengths[members], window, recipe.signal.overlap)).to(device)
    indices = torch.from_numpy(members).to(device)
    total = torch.zeros(len(members), examples.labels.shape[1], device=device)
    for first in range(0, len(table), VALIDATION_BATCH):
        owners, offsets = table[first : first + VALIDATION_BATCH].unbind(1)
        batch = indices[owners]
        with run.processor.autocast():
            logits = run.network(examples.windows(batch, offsets, window), examples.demographics[batch])
        total.index_add_(0, owners, torch.sigmoid(logits.float()))
    count = torch.bincount(table[:, 0], minlength=len(members)).unsqueeze(1)
    return (total / count).cpu().numpy()


def _report(name: str, epoch: int, epochs: int, entry: dict[str, float]) -> None:
    left = duration(entry["seconds"] * (epochs - epoch - 1))
    if not math.isfinite(entry["loss"]):
        log.warning("%s: the loss of epoch %d is %s", name, epoch + 1, entry["loss"])
    log.info(
        "%s epoch %d of %d: loss %.4f, validation score %.3f, rate %g, %.1f recordings/s, %s left",
        name, epoch + 1, epochs, entry["loss"], entry["validation_score"], entry["learning_rate"],
        entry["recordings_per_second"], left,
    )  # fmt: skip
