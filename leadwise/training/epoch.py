"""Train one epoch: batches, micro-batches, losses that are not finite, validation, the plan for the remaining time.

Everything that happens to a batch is a tensor operation on the training device, the same code on a CPU and on a GPU.
No step waits for a GPU.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.challenge.metric import challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.decision.thresholds import apply_thresholds
from leadwise.network.devices import peak_matrix_rate
from leadwise.network.se_resnet import forward_operations
from leadwise.network.transfers import Fetched, send
from leadwise.training.augmentation import Batch, augmented
from leadwise.training.examples import Examples, random_offsets
from leadwise.training.fold_state import FoldState
from leadwise.training.interrupt import check_interrupt
from leadwise.training.schedule import ROLLBACK_FACTOR, learning_rate
from leadwise.training.time_plan import TimePlan
from leadwise.training.validation import predict, validation_windows
from leadwise.util.progress import log

LOSS_CHECK = 32  # batches whose losses are checked together


class NotFiniteError(Exception):
    """A loss or a probability is NaN or infinite: the weights of this epoch are useless."""


class OutOfTimeError(Exception):
    """The time of the plan ended within an epoch."""


class EpochLosses:
    """The losses of an epoch's batches, on the device.

    The host never waits for a GPU: a block of losses is copied to the host while the next one is computed.
    """

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.in_transit: deque[Fetched] = deque()  # one block at most

    def add(self, loss: Tensor) -> None:
        """Add the loss of a batch. Raises NotFiniteError if a block that has arrived contains one."""
        self.values.append(loss)
        if len(self.values) % LOSS_CHECK == 0:
            self.in_transit.append(Fetched(torch.stack(self.values[-LOSS_CHECK:])))
        # of two blocks the first was computed long ago: a GPU's queue is shorter than that
        while self.in_transit and (self.in_transit[0].arrived or len(self.in_transit) > 1):
            _check_finite(self.in_transit.popleft().result())

    def mean(self) -> float:
        """Wait for all batches and return the mean of their losses. Raises NotFiniteError."""
        losses = torch.stack(self.values)
        _check_finite(losses.cpu())
        return float(losses.mean())

    def __len__(self) -> int:
        return len(self.values)


def _check_finite(losses: Tensor) -> None:
    if not losses.isfinite().all():
        raise NotFiniteError(f"the loss is {float(losses[~losses.isfinite()][0])}")


@dataclass(frozen=True, eq=False)
class FoldData:
    """The recordings of one fold: what is trained on, and what is held out for validation."""

    dataset: Dataset
    validation: NDArray[np.bool_]  # (n,)
    number: int  # of the fold

    @property
    def members(self) -> NDArray[np.int64]:
        """Return the indices of the recordings to train on."""
        return np.flatnonzero(~self.validation)

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Return the indices of the validation recordings."""
        return np.flatnonzero(self.validation)


def run_epoch(state: FoldState, data: FoldData, examples: Examples, plan: TimePlan) -> None:
    """Train for an epoch, validate, record both in the state and update the plan.

    Raises NotFiniteError, and OutOfTimeError if the time ends within the epoch. The very first epoch of a run is cut
    short instead, in time to be validated: without it there would be no model.
    """
    recipe, progress, start = state.recipe, state.progress, plan.clock()
    epoch, is_first = len(progress.history), data.number == 0 and not progress.history
    members, held_out = data.members, data.held_out
    windows = len(validation_windows(data.dataset.lengths[held_out], recipe.signal.window, recipe.signal.overlap))

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
    entry = {
        "learning_rate": rate(0.5),
        "loss": loss,
        "validation_score": challenge_metric(data.dataset.labels[held_out], answers),
        "seconds": plan.clock() - start,
        "recordings_per_second": speed,
        "mfu": model_flop_utilisation(state, speed),
    }
    plan.after_epoch(data.number, epoch + 1, entry["seconds"])
    plan.epochs, plan.folds = state.group.broadcast(plan.epochs, plan.folds)
    entry["seconds_left"] = entry["seconds"] * max(0, plan.epochs - epoch - 1)  # of this fold
    state.record_epoch(entry, probabilities)
    progress.finished = len(progress.history) >= plan.epochs


def model_flop_utilisation(state: FoldState, recordings_per_second: float) -> float:
    """Return the share of the processors' measured matrix rate that training uses for the network's own operations."""
    operations = 3 * forward_operations(state.recipe.network, state.recipe.signal.window)  # forward and backward
    return recordings_per_second * operations / (state.group.size * peak_matrix_rate(state.processor))


def train_epoch(
    state: FoldState,
    examples: Examples,
    members: Tensor,
    rate: Callable[[float], float],
    time_is_up: Callable[[int], bool] = lambda trained: False,
) -> tuple[float, int]:
    """Train on the recordings `members` once, in random order; return the mean loss and the number of recordings.

    `rate` gives the learning rate at a share of the epoch. `time_is_up` is asked after each batch, with the number of
    recordings so far, whether to end. Raises NotFiniteError.
    """
    size = min(state.recipe.training.batch_size, len(members))
    if size < state.group.size:
        raise ValueError(f"{state.group.size} processes cannot share batches of {size} recordings")
    networks = state.networks
    networks.network.train()
    state.group.seed_per_process(state.generator)
    order = members[torch.randperm(len(members), generator=state.generator)]
    losses, steps = EpochLosses(), networks.steps_trained()
    for first, batch, offsets in _batches(state, examples, order, size):
        for parameters in state.optimiser.param_groups:
            parameters["lr"] = rate(first / len(order))
        losses.add(train_batch(state, examples, batch, offsets))
        steps += state.progress.micro_batches
        if networks.has_ema:
            networks.update_ema(state.recipe.training.ema_decay, steps)
        check_interrupt()
        if state.group.any(time_is_up(size * len(losses))):
            break
    return losses.mean(), size * len(losses)


def _batches(state: FoldState, examples: Examples, order: Tensor, size: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the first position of each batch in `order`, its recordings and the offsets of their windows, on the host.

    Batches are drawn one ahead, so that their signals can be fetched meanwhile.
    """
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

    If the batch does not fit into the memory of the device, the number of micro-batches is doubled from then on: the
    optimiser gets the same mean gradient, batch norms see the statistics of the micro-batches. Raises
    torch.OutOfMemoryError if one recording does not fit.
    """
    while True:
        try:
            loss = _accumulate(state, examples, batch, offsets)
            break
        except torch.OutOfMemoryError:
            if state.progress.micro_batches >= len(batch) or state.group.size > 1:  # the others would wait for this one
                raise
        state.progress.micro_batches *= 2  # outside the handler, which holds on to the tensors of what failed
        torch.cuda.empty_cache()
        log.warning("out of memory: %d micro-batches per batch", state.progress.micro_batches)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    return loss


def _accumulate(state: FoldState, examples: Examples, batch: Tensor, offsets: Tensor) -> Tensor:
    """Accumulate the gradient of the batch's mean loss over its micro-batches; return the loss."""
    recipe = state.recipe
    state.optimiser.zero_grad()
    total = torch.zeros((), device=examples.device)
    for members, starts in _micro_batches(state, batch, offsets):
        windows = examples.windows(members, starts, recipe.signal.window)
        rows = send(members, examples.device)
        seen = Batch(windows, examples.auxiliary[rows], examples.targets[rows])
        seen = augmented(seen, recipe.augmentation, recipe.signal.sampling_frequency)
        with state.processor.autocast():
            logits = state.networks.forward(seen.windows, seen.auxiliary)
        loss = loss_of(logits.float(), seen.targets)
        loss = loss * (len(members) / len(batch))  # by 1 where there is one micro-batch
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
