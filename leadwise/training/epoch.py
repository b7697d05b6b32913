"""One fold: windows, loop, schedule, validation, checkpoint. Knows no recordings' files and no model folder.

Everything that happens to a batch (cutting, padding) is one tensor operation on the training device, the same code on
a CPU and on a GPU. After each epoch the whole state of the run is written, so that a killed run goes on where it was.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.challenge.metric import challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.decision.thresholds import decide
from leadwise.network.devices import matrix_rate
from leadwise.network.se_resnet import SEResNet, operations
from leadwise.network.transfers import Fetched, send
from leadwise.recipes import Recipe
from leadwise.training.augmentation import Batch, augmented
from leadwise.training.examples import Examples, random_offsets
from leadwise.training.fold_state import FoldRun, steps_of
from leadwise.training.interrupt import check_stop
from leadwise.training.schedule import SETBACK_FACTOR, learning_rate
from leadwise.training.time_plan import TimePlan
from leadwise.training.validation import predict, validation_windows
from leadwise.util.progress import log

LOSS_CHECK = 32  # batches whose losses are checked together


class NotFiniteError(Exception):
    """A loss or a probability is NaN or infinite: the weights of this epoch are worth nothing."""


class OutOfTimeError(Exception):
    """The time of the plan ended within an epoch."""


class Losses:
    """The losses of an epoch's batches, on the device. A GPU is never waited for: a block of them travels to the host
    while the next one is computed."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.travelling: deque[Fetched] = deque()  # one block at most

    def add(self, loss: Tensor) -> None:
        """Add the loss of a batch. Raises NotFiniteError where a block that has arrived by now has one."""
        self.values.append(loss)
        if len(self.values) % LOSS_CHECK == 0:
            self.travelling.append(Fetched(torch.stack(self.values[-LOSS_CHECK:])))
        # of two blocks the first was computed long ago: a GPU's queue is shorter than that
        while self.travelling and (self.travelling[0].arrived or len(self.travelling) > 1):
            _check_finite(self.travelling.popleft().result())

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


def run_epoch(
    run: FoldRun,
    dataset: Dataset,
    examples: Examples,
    validation: NDArray[np.bool_],
    recipe: Recipe,
    fold: int,
    plan: TimePlan,
) -> None:
    """Trains for an epoch, validates, notes both in `run` and plans the rest anew.

    Raises NotFiniteError, and OutOfTimeError where the time ends within the epoch. The very first epoch of a run is cut
    short instead, in time to be validated: without it there would be no model.
    """
    start, epoch, first = plan.clock(), len(run.history), fold == 0 and not run.history
    members, held_out = np.flatnonzero(~validation), np.flatnonzero(validation)
    windows = len(validation_windows(dataset.lengths[held_out], recipe.signal.window, recipe.signal.overlap))

    def time_is_up(trained: int) -> bool:
        # a window takes no longer in validation than it took in training
        needed = windows * (plan.clock() - start) / trained if first else 0.0
        return plan.seconds_left() <= needed

    def rate(share: float) -> float:
        return learning_rate(epoch + share, plan.epochs, recipe.training) * SETBACK_FACTOR ** len(run.setbacks)

    loss, trained = train_epoch(run, examples, torch.from_numpy(members), rate, recipe, time_is_up)
    speed = trained / max(plan.clock() - start, 1e-9)
    if trained < len(members) and run.group.any(time_is_up(trained)) and not first:
        raise OutOfTimeError
    probabilities = predict(run, examples, dataset.lengths, held_out, recipe)
    if not np.isfinite(probabilities).all():
        raise NotFiniteError("a probability is not finite")
    answers = decide(probabilities, np.full(probabilities.shape[1], recipe.training.validation_cutoff))
    work = 3 * operations(recipe.network, recipe.signal.window)  # of a recording, forward and backward
    entry = {
        "learning_rate": rate(0.5),
        "loss": loss,
        "validation_score": challenge_metric(dataset.labels[held_out], answers),
        "seconds": plan.clock() - start,
        "recordings_per_second": speed,
        "share_of_matrix_rate": speed * work / (run.group.size * matrix_rate(run.processor)),
    }
    plan.after_epoch(fold, epoch + 1, entry["seconds"])
    plan.epochs, plan.folds = run.group.agree(plan.epochs, plan.folds)
    entry["seconds_left"] = entry["seconds"] * max(0, plan.epochs - epoch - 1)  # of this fold
    run.note_epoch(entry, probabilities)
    run.over = len(run.history) >= plan.epochs


def train_epoch(
    run: FoldRun,
    examples: Examples,
    members: Tensor,
    rate: Callable[[float], float],
    recipe: Recipe,
    time_is_up: Callable[[int], bool] = lambda trained: False,
) -> tuple[float, int]:
    """One pass over the recordings `members` in random order; the mean loss of its batches, and how many recordings.

    `rate` gives the learning rate when a share of the epoch has passed. After each batch `time_is_up` is asked, with
    the recordings so far, whether to end. Raises NotFiniteError.
    """
    size = min(recipe.training.batch_size, len(members))
    if size < run.group.size:
        raise ValueError(f"{run.group.size} processes cannot share batches of {size} recordings")
    run.network.train()
    run.group.draw_apart(run.generator)
    order = members[torch.randperm(len(members), generator=run.generator)]
    losses, steps = Losses(), steps_of(run.network)
    for first, batch, offsets in _batches(run, examples, order, size, recipe.signal.window):
        for group in run.optimiser.param_groups:
            group["lr"] = rate(first / len(order))
        losses.add(train_batch(run, examples, batch, offsets, recipe))
        steps += run.parts
        if run.judged is not run.network:
            average_weights(run.judged, run.network, recipe.training.average, steps)
        check_stop()
        if run.group.any(time_is_up(size * len(losses))):
            break
    return losses.mean(), size * len(losses)


def _batches(
    run: FoldRun, examples: Examples, order: Tensor, size: int, window: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Where each batch begins in `order`, its recordings and the offsets of their windows, both on the host; drawn one
    batch ahead, so that it can be fetched meanwhile."""
    upcoming: list[tuple[int, Tensor, Tensor]] = []
    for first in range(0, len(order) - size + 1, size):  # the last incomplete batch is dropped
        batch = order[first : first + size]
        offsets = random_offsets(examples.host_lengths[batch], window, run.generator)
        for members, starts in _split(run, batch, offsets):
            examples.expect(members, starts, window)
        upcoming.append((first, batch, offsets))
        if len(upcoming) > 1:
            yield upcoming.pop(0)
    yield from upcoming


@torch.no_grad()
def average_weights(average: SEResNet, network: SEResNet, stays: float, steps: int) -> None:
    """Update the EMA of the weights, and of the running statistics, with the decay `stays`.

    `steps` batches were trained on until now (`steps_of`, counted on the host since). The decay is reduced during the
    first ones, so that the initial weights are forgotten.
    """
    stays = min(stays, (1 + steps) / (10 + steps))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - stays)
    pairs = list(zip(average.buffers(), network.buffers(), strict=True))
    means = [pair for pair in pairs if pair[0].dtype.is_floating_point]
    torch._foreach_lerp_([mean for mean, _ in means], [value for _, value in means], 1 - stays)
    counts = [pair for pair in pairs if not pair[0].dtype.is_floating_point]
    torch._foreach_copy_([count for count, _ in counts], [value for _, value in counts])


def train_batch(run: FoldRun, examples: Examples, batch: Tensor, offsets: Tensor, recipe: Recipe) -> Tensor:
    """One step of the optimiser on the windows at `offsets` (batch,) of the recordings `batch` (batch,); their loss.

    Where the device's memory does not hold the batch it goes through in parts, twice as many as before, from then on:
    the optimiser gets the same mean gradient, batch norms see the statistics of the parts. Raises
    torch.OutOfMemoryError where one recording is too much.
    """
    while True:
        try:
            loss = _accumulate(run, examples, batch, offsets, recipe)
            break
        except torch.OutOfMemoryError:
            if run.parts >= len(batch) or run.group.size > 1:  # the others would wait for this process
                raise
        run.parts *= 2  # outside the handler, which holds on to the tensors of what failed
        torch.cuda.empty_cache()
        log.warning("out of memory: batches go through in %d parts", run.parts)
    run.scaler.step(run.optimiser)
    run.scaler.update()
    return loss


def _accumulate(run: FoldRun, examples: Examples, batch: Tensor, offsets: Tensor, recipe: Recipe) -> Tensor:
    """Leaves the gradient of the batch's mean loss in the network, from as many parts as the run needs."""
    run.optimiser.zero_grad()
    total = torch.zeros((), device=examples.device)
    for members, starts in _split(run, batch, offsets):
        windows = examples.windows(members, starts, recipe.signal.window)
        rows = send(members, examples.device)
        seen = Batch(windows, examples.demographics[rows], examples.targets[rows])
        seen = augmented(seen, recipe.augmentation, recipe.signal.sampling_frequency)
        with run.processor.autocast():
            logits = run.forward(seen.windows, seen.numbers)
        loss = loss_of(logits.float(), seen.targets)
        loss = loss * (len(members) / len(batch))  # by 1 where there is one part
        run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    run.group.add_up_gradients(run.network.parameters())
    return run.group.add_up(total)


def _split(run: FoldRun, batch: Tensor, offsets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The micro-batches in which this process's share of a batch goes through: recordings and offsets of each."""
    own, places = run.group.share(batch), run.group.share(offsets)
    size = math.ceil(len(own) / run.parts)
    yield from zip(torch.split(own, size), torch.split(places, size), strict=True)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (batch, 24) against targets (batch, 24) in [0, 1], as published."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
