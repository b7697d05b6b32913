"""Train one epoch: batches, losses that are not finite, validation, remaining time. No step waits for a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.challenge.metric import challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.decision.thresholds import apply_thresholds
from leadwise.ecg.preprocessing import prediction_windows
from leadwise.network.devices import peak_matrix_rate
from leadwise.network.se_resnet import forward_operations
from leadwise.network.transfers import Fetched, send
from leadwise.training.augmentation import Batch, augment
from leadwise.training.examples import Examples, random_offsets
from leadwise.training.fold_state import FoldState
from leadwise.training.interrupt import check_interrupt
from leadwise.training.schedule import ROLLBACK_FACTOR, learning_rate
from leadwise.training.time_plan import TimePlan
from leadwise.training.validation import predict
from leadwise.util.progress import log

LOSS_CHECK = 32  # batches whose losses are checked together


class NotFiniteError(Exception):
    """A loss or a probability is NaN or infinite: the weights of this epoch are useless."""


class OutOfTimeError(Exception):
    """The time of the plan ended within an epoch."""


class EpochLosses:
    """The losses of an epoch's batches. On a GPU a block of losses is checked while the next one is computed."""

    def __init__(self, device: torch.device) -> None:
        self.values: list[Tensor] = []
        self.in_transit: list[Fetched] = []
        # a fixed number, so that processes that train together stop at the same batch
        self.blocks_late = 1 if device.type == "cuda" else 0

    def add(self, loss: Tensor) -> None:
        """Add the loss of a batch. Raises NotFiniteError if a block checked now contains one."""
        self.values.append(loss)
        if len(self.values) % LOSS_CHECK == 0:
            self.in_transit.append(Fetched(torch.stack(self.values[-LOSS_CHECK:])))
        if len(self.in_transit) > self.blocks_late:
            _check_finite(self.in_transit.pop(0).result())

    def mean(self) -> float:
        """Wait for all batches and return the mean of their losses. Raises NotFiniteError."""
        losses = torch.stack(self.values)
        _check_finite(losses.cpu())
        return float(losses.mean())


def _check_finite(losses: Tensor) -> None:
    if not losses.isfinite().all():
        raise NotFiniteError(f"the loss is {float(losses[~losses.isfinite()][0])}")


@dataclass(frozen=True, eq=False)
class FoldData:
    """The recordings of one fold: those in `validation` (n,) are held out, the others are trained on."""

    dataset: Dataset
    validation: NDArray[np.bool_]
    number: int  # of the fold


def run_epoch(state: FoldState, data: FoldData, examples: Examples, plan: TimePlan) -> None:
    """Train for an epoch, validate, record both and update the plan. Raises NotFiniteError, and OutOfTimeError if the
    time ends within the epoch; the first epoch of a run is cut short instead, in time for validation."""
    recipe, progress, start = state.recipe, state.progress, plan.clock()
    epoch, is_first = len(progress.history), data.number == 0 and not progress.history
    members, held_out = np.flatnonzero(~data.validation), np.flatnonzero(data.validation)
    windows = len(prediction_windows(data.dataset.lengths[held_out].tolist(), recipe.signal))

    def time_is_up(trained: int) -> bool:
        # a window takes no longer in validation than it took in training
        needed = windows * (plan.clock() - start) / trained if is_first else 0.0
        return plan.seconds_left() <= needed

    def rate(share: float) -> float:
        return learning_rate(epoch + share, plan.epochs, recipe.training) * ROLLBACK_FACTOR ** len(progress.rollbacks)

    loss, trained = train_epoch(state, examples, torch.from_numpy(members), rate, time_is_up)
    speed = trained / max(plan.clock() - start, 1e-9)
    if trained < len(members) and state.group.any(time_is_up(trained)) and not is_first:
        raise OutOfTimeError
    probabilities = predict(state, examples, data.dataset.lengths, held_out)
    if not np.isfinite(probabilities).all():
        raise NotFiniteError("a probability is not finite")
    answers = apply_thresholds(probabilities, np.full(probabilities.shape[1], recipe.training.validation_cutoff))
    operations = 3 * forward_operations(recipe.network, recipe.signal.window)  # of a recording, forward and backward
    entry = {
        "learning_rate": rate(0.5),
        "loss": loss,
        "validation_score": challenge_metric(data.dataset.labels[held_out], answers),
        "seconds": plan.clock() - start,
        "recordings_per_second": speed,
        "mfu": speed * operations / (state.group.size * peak_matrix_rate(state.processor)),  # model FLOP utilisation
    }
    plan.after_epoch(data.number, epoch + 1, entry["seconds"])
    plan.epochs, plan.folds = state.group.broadcast(plan.epochs, plan.folds)
    entry["seconds_left"] = entry["seconds"] * max(0, plan.epochs - epoch - 1)  # of this fold
    state.record_epoch(entry, probabilities)
    progress.finished = len(progress.history) >= plan.epochs


def train_epoch(
    state: FoldState,
    examples: Examples,
    members: Tensor,
    rate: Callable[[float], float],
    time_is_up: Callable[[int], bool] = lambda trained: False,
) -> tuple[float, int]:
    """Train on the recordings `members` once, in random order; return the mean loss and the number of recordings.

    `rate` maps a share of the epoch to a learning rate; `time_is_up`, given the recordings so far, ends the epoch.
    """
    size = min(state.recipe.training.batch_size, len(members))
    if size < state.group.size:
        raise ValueError(f"{state.group.size} processes cannot share batches of {size} recordings")
    networks = state.networks
    networks.network.train()
    state.group.seed_per_process(state.generator)
    order = members[torch.randperm(len(members), generator=state.generator, device="cpu")]
    losses, steps, trained = EpochLosses(examples.device), networks.steps_trained(), 0
    for first, batch, offsets in _batches(state, examples, order, size):
        for parameters in state.optimiser.param_groups:
            parameters["lr"] = rate(first / len(order))
        losses.add(train_batch(state, examples, batch, offsets))
        steps, trained = steps + state.progress.micro_batches, trained + size
        networks.update_ema(state.recipe.training.ema_decay, steps)
        check_interrupt()
        if state.group.any(time_is_up(trained)):
            break
    return losses.mean(), trained


def _batches(state: FoldState, examples: Examples, order: Tensor, size: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the first position of each batch in `order`, its recordings and the offsets of their windows (host)."""
    # drawn one ahead, so that their signals can be fetched meanwhile
    upcoming: list[tuple[int, Tensor, Tensor]] = []
    for first in range(0, len(order) - size + 1, size):  # the last incomplete batch is dropped
        batch = order[first : first + size]
        offsets = random_offsets(examples.host_lengths[batch], state.recipe.signal.window, state.generator)
        for members, starts in _micro_batches(state, batch, offsets):
            examples.prefetch(members, starts, state.recipe.signal.window)
        upcoming.append((first, batch, offsets))
        if len(upcoming) > 1:
            yield upcoming.pop(0)
    yield from upcoming


def train_batch(state: FoldState, examples: Examples, batch: Tensor, offsets: Tensor) -> Tensor:
    """Take one optimiser step on the windows at `offsets` (batch,) of the recordings `batch` (batch,); return the loss.

    Doubles the number of micro-batches while memory runs out: same mean gradient, other batch norm statistics.
    """
    while True:
        try:
            loss = _accumulate(state, examples, batch, offsets)
            break
        except torch.OutOfMemoryError:
            if state.progress.micro_batches >= len(batch) or state.group.size > 1:  # the others would wait for this one
                raise
        state.progress.micro_batches *= 2  # outside the handler, which holds on to the tensors of the failed step
        torch.cuda.empty_cache()
        log.warning("out of memory: %d micro-batches per batch", state.progress.micro_batches)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    return loss


def _accumulate(state: FoldState, examples: Examples, batch: Tensor, offsets: Tensor) -> Tensor:
    """Accumulate the gradient of the batch's mean loss over its micro-batches; return the loss."""
    recipe = state.recipe
    state.optimiser.zero_grad()
    total = torch.zeros((), dtype=torch.float32, device=examples.device)
    for members, starts in _micro_batches(state, batch, offsets):
        windows, rows = examples.windows(members, starts, recipe.signal.window), send(members, examples.device)
        seen = Batch(windows, examples.auxiliary[rows], examples.targets[rows])
        seen = augment(seen, recipe.augmentation, recipe.signal.sampling_frequency)
        with state.processor.autocast():
            logits = state.networks.forward(seen.windows, seen.auxiliary)
        loss = loss_of(logits.float(), seen.targets) * (len(members) / len(batch))  # times 1 for one micro-batch
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    state.group.all_reduce_gradients(state.networks.network.parameters())
    return state.group.all_reduce(total)


def _micro_batches(state: FoldState, batch: Tensor, offsets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield recordings and offsets of each micro-batch of this process's share of a batch."""
    own, places = state.group.shard(batch), state.group.shard(offsets)
    size = math.ceil(len(own) / state.progress.micro_batches)
    yield from zip(torch.split(own, size), torch.split(places, size), strict=True)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits (batch, 24) against targets (batch, 24) in [0, 1]."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
