"""One fold: windows, loop, schedule, validation, checkpoint. Knows no recordings' files and no model folder.

Everything that happens to a batch (cutting, padding) is one tensor operation on the training device, the same code on
a CPU and on a GPU. After each epoch the whole state of the run is written, so that a killed run goes on where it was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.augmentation import Batch, augmented
from leadwise.checkpoint import State, load_checkpoint, save_checkpoint
from leadwise.columns import ColumnNetwork
from leadwise.dataset import Dataset
from leadwise.devices import Processor, fits, matrix_rate
from leadwise.distributed import ALONE, Group, share_norms
from leadwise.metric import challenge_metric
from leadwise.network import SEResNet, operations
from leadwise.plan import TimePlan
from leadwise.progress import duration, log
from leadwise.recipes import Recipe, TrainingRecipe
from leadwise.signals import window_starts
from leadwise.stopping import Stopped, check_stop, stoppable
from leadwise.streaming import HostSamples
from leadwise.thresholds import decide

VERSION = f"3, torch {torch.__version__}"  # another number when the same recipe and data would give other weights
VALIDATION_BATCH = 128  # windows
LOSS_CHECK = 32  # batches; asking a GPU for each would make it wait
SETBACK_FACTOR = 0.5  # of the rate, each time that a loss is not finite ...
SETBACKS = 5  # ... and so often in a fold at most
PLAIN_FACTS = ("history", "setbacks", "parts", "validation_batch", "over")  # fields of FoldRun that JSON can say


@dataclass(frozen=True, eq=False)
class Examples:
    """A prepared data set as tensors on the training device; where that is too small the signals stay on the host."""

    samples: Tensor | HostSamples  # (samples of all, 12)
    starts: Tensor  # (n,) first row of each recording; this and the lengths lie where the signals do
    lengths: Tensor  # (n,) rows
    host_lengths: Tensor  # (n,) the same on the host
    demographics: Tensor  # (n, 5)
    targets: Tensor  # (n, 24) float32; what is learned: labels, and what stands in for them where a recipe says so

    @classmethod
    def of(
        cls, dataset: Dataset, device: torch.device, stand_ins: bool = False, stream: bool | None = None
    ) -> Examples:
        """The data set's arrays; on a CPU the signals stay in their memory map. `stream` leaves them on the host also
        for a GPU; by default where they do not fit (`devices.fits`)."""
        samples, lengths = torch.from_numpy(dataset.samples), torch.from_numpy(dataset.lengths)
        stream = not fits(dataset.samples.nbytes, device) if stream is None else stream
        place = torch.device("cpu") if stream else device
        return cls(
            samples=HostSamples(samples, device) if stream else samples.to(device),
            starts=torch.from_numpy(dataset.starts).to(place),
            lengths=lengths.to(place),
            host_lengths=lengths,
            demographics=torch.from_numpy(dataset.demographics).to(device),
            targets=torch.from_numpy(dataset.targets(stand_ins)).to(device, torch.float32),
        )

    @property
    def device(self) -> torch.device:
        """Where windows are wanted."""
        return self.targets.device

    def expect(self, indices: Tensor, offsets: Tensor, window: int) -> None:
        """Begins to fetch windows that will be asked for next, where signals are streamed."""
        if isinstance(self.samples, HostSamples):
            self.samples.expect(self._rows(indices, offsets, window)[0])

    def windows(self, indices: Tensor, offsets: Tensor, window: int) -> Tensor:
        """Windows (batch, 12, window) that begin at row `offsets` (batch,) of the recordings `indices` (batch,).

        An offset may be negative: rows before a recording's first and behind its last are zero.
        """
        rows, inside = self._rows(indices, offsets, window)
        values = self.samples.take(rows) if isinstance(self.samples, HostSamples) else self.samples[rows]
        values = values * inside.to(values.device).unsqueeze(2)  # (batch, window, 12)
        return values.transpose(1, 2).contiguous()  # (batch, 12, window)

    def _rows(self, indices: Tensor, offsets: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Rows of the signals (batch, window), and which of them are inside their recording."""
        indices, offsets = indices.to(self.starts.device), offsets.to(self.starts.device)
        rows = offsets.unsqueeze(1) + torch.arange(window, device=offsets.device)  # (batch, window)
        lengths = self.lengths[indices].unsqueeze(1)
        inside = (rows >= 0) & (rows < lengths)
        return rows.clamp(min=0).minimum(lengths - 1) + self.starts[indices].unsqueeze(1), inside


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


def learning_rate(epoch: float, epochs: int, recipe: TrainingRecipe) -> float:
    """The rate at a time in epochs (1.5: in the middle of the second one) of so many.

    Steps: multiplied by the decay after each share of the epochs has passed. Cosine: from 0 up in a straight line, then
    down to 0 in half a cosine (Loshchilov and Hutter 2017).
    """
    if recipe.schedule == "steps":
        passed = sum(math.floor(epoch) >= math.ceil(round(share * epochs, 6)) for share in recipe.decay_after)
        return recipe.learning_rate * recipe.decay_factor**passed
    share = epoch / epochs
    if share < recipe.warm_up:
        return recipe.learning_rate * share / recipe.warm_up
    return recipe.learning_rate * (1 + math.cos(math.pi * (share - recipe.warm_up) / (1 - recipe.warm_up))) / 2


def columns_serve(processor: Processor, recipe: Recipe) -> bool:
    """Whether the network is computed by `ColumnNetwork`: on a CPU in fp32, with the published convolutions."""
    on_cpu = processor.device.type == "cpu" and processor.dtype == torch.float32
    return on_cpu and ColumnNetwork.can(recipe.network)


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
        forward = judged_forward = ColumnNetwork(network) if columns_serve(processor, recipe) else network
        judged = network
        if training.average:
            judged = copy.deepcopy(network)
            judged_forward = ColumnNetwork(judged) if columns_serve(processor, recipe) else judged
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
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
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
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return True


def _part(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True, eq=False)
class FoldResult:
    """A trained fold: the best epoch's weights and what they say of the validation part."""

    state: State  # fp32, on the CPU
    probabilities: NDArray[np.float32]  # (validation recordings, 24)
    best_epoch: int  # 0, 1, ...: whose weights these are
    history: list[dict[str, float]]  # one entry an epoch, see `run_epoch`
    setbacks: list[dict[str, Any]]  # epochs that were given up since their loss was not finite, and what came then
    unfinished: str = ""  # why there are fewer epochs than planned, where more are to follow

    @classmethod
    def of(cls, run: FoldRun, unfinished: str = "") -> FoldResult:
        """What a run has by now; it has at least one epoch."""
        probabilities = run.best_probabilities.numpy()
        return cls(run.best_state, probabilities, run.kept_epoch, [*run.history], [*run.setbacks], unfinished)


class NotFiniteError(Exception):
    """A loss or a probability is NaN or infinite: the weights of this epoch are worth nothing."""


class OutOfTimeError(Exception):
    """The time of the plan ended within an epoch."""


def train_fold(
    dataset: Dataset,
    validation: NDArray[np.bool_],
    recipe: Recipe,
    processor: Processor,
    checkpoint: Path,
    seed: int,
    fold: int = 0,
    plan: TimePlan | None = None,
    start: State | None = None,
    group: Group = ALONE,
    label: str = "",
) -> FoldResult | None:
    """Trains one network on the recordings that are not in `validation` (n,), keeping the weights that the recipe says.

    It begins with the weights `start`, where they are given. The log calls it `label`, or by its fold's number.

    The state after each epoch is written to the file `checkpoint`; where that exists, training goes on from it. Where
    SIGTERM comes, the result is that of the epochs so far and says so. None where the plan's time ends before the first
    epoch of a later fold. Raises Stopped where SIGTERM comes before the end of the first epoch, ValueError where no
    epoch has a finite loss.
    """
    plan = plan or TimePlan(recipe.training.epochs, fold + 1)
    examples = Examples.of(dataset, processor.device, recipe.training.stand_ins)
    begin = partial(FoldRun.begin, recipe, seed, processor, start, group, label or f"fold {fold}")
    run = _begin_or_resume(begin(), checkpoint, fold, plan)
    result = FoldResult.of(run) if run.history else None
    try:
        with stoppable():
            while not run.over and len(run.history) < plan.epochs:
                try:
                    run_epoch(run, dataset, examples, validation, recipe, fold, plan)
                    run.save(checkpoint)
                    result = FoldResult.of(run)
                    _report(run.label, run.history, plan.epochs)
                except NotFiniteError as error:
                    run = _step_back(run, begin(), checkpoint, str(error))
                    result = FoldResult.of(run) if run.history else None
                except OutOfTimeError:
                    break
    except Stopped:
        if result is None:
            raise
        epochs = f"{len(result.history)} of {plan.epochs} epochs of {run.label}"
        return replace(result, unfinished=f"stopped after {epochs}")
    if result is None:
        plan.give_up_from(fold)
    return result


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


def _begin_or_resume(run: FoldRun, checkpoint: Path, fold: int, plan: TimePlan) -> FoldRun:
    """The run as its checkpoint has it, or as it is where there is none."""
    if run.group.leader_first(lambda: run.load(checkpoint)):
        log.info("%s: goes on after epoch %d", run.label, len(run.history))
        if not run.over:
            plan.after_epoch(fold, len(run.history), run.history[-1]["seconds"])
            plan.epochs, plan.folds = run.group.agree(plan.epochs, plan.folds)
    return run


def _step_back(run: FoldRun, good: FoldRun, checkpoint: Path, reason: str) -> FoldRun:
    """The run as it was after its last good epoch, to go on at a lower rate; over where that was tried often enough.

    `good` is the run as it begins, and becomes that. Raises ValueError where it was tried often enough and there is no
    good epoch.
    """
    epoch, setbacks = len(run.history) + 1, run.setbacks
    good.load(checkpoint)
    good.parts, good.validation_batch = run.parts, run.validation_batch
    good.setbacks = [*setbacks, {"epoch": epoch, "reason": reason}]
    if len(good.setbacks) <= SETBACKS:
        times = f"{len(good.setbacks)} of {SETBACKS}"
        log.warning("%s epoch %d: %s; back to its start, at half the rate (%s)", run.label, epoch, reason, times)
    elif good.history:
        good.over = True
        good.save(checkpoint)
        log.warning("%s epoch %d: %s; it ends with the epochs before", run.label, epoch, reason)
    else:
        raise ValueError(f"{run.label}: {reason} in the first epoch, also at {SETBACK_FACTOR**SETBACKS:g} of the rate")
    return good


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
    losses: list[Tensor] = []
    for first, batch, offsets in _batches(run, examples, order, size, recipe.signal.window):
        for group in run.optimiser.param_groups:
            group["lr"] = rate(first / len(order))
        losses.append(train_batch(run, examples, batch, offsets, recipe))
        if run.judged is not run.network:
            average_weights(run.judged, run.network, recipe.training.average)
        if len(losses) % LOSS_CHECK == 0:
            _check_finite(losses[-LOSS_CHECK:])
        check_stop()
        if run.group.any(time_is_up(size * len(losses))):
            break
    _check_finite(losses)
    return float(torch.stack(losses).mean()), size * len(losses)


def _batches(
    run: FoldRun, examples: Examples, order: Tensor, size: int, window: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Where each batch begins in `order`, its recordings and the offsets of their windows, both on the host; drawn one
    batch ahead, so that it can be fetched meanwhile."""
    upcoming: list[tuple[int, Tensor, Tensor]] = []
    for first in range(0, len(order) - size + 1, size):  # the last incomplete batch is dropped
        batch = order[first : first + size]
        offsets = random_offsets(examples.host_lengths[batch], window, run.generator)
        examples.expect(run.group.share(batch), run.group.share(offsets), window)
        upcoming.append((first, batch, offsets))
        if len(upcoming) > 1:
            yield upcoming.pop(0)
    yield from upcoming


@torch.no_grad()
def average_weights(average: SEResNet, network: SEResNet, stays: float) -> None:
    """Moves an average of weights, and of running statistics, towards the network; `stays` of it stays.

    Where it begins it follows faster, so that the random weights of the start are soon forgotten.
    """
    steps = int(network.stem[1].num_batches_tracked)  # type: ignore[arg-type]
    stays = min(stays, (1 + steps) / (10 + steps))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - stays)
    for mean, value in zip(average.buffers(), network.buffers(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - stays)
        else:
            mean.copy_(value)


def _check_finite(losses: list[Tensor]) -> None:
    stacked = torch.stack(losses)
    if not stacked.isfinite().all():
        raise NotFiniteError(f"the loss is {float(stacked[~stacked.isfinite()][0])}")


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
    own, places = run.group.share(batch), run.group.share(offsets)
    size = math.ceil(len(own) / run.parts)
    run.optimiser.zero_grad()
    total = torch.zeros((), device=examples.device)
    for members, starts in zip(torch.split(own, size), torch.split(places, size), strict=True):
        windows = examples.windows(members, starts, recipe.signal.window)
        seen = Batch(windows, examples.demographics[members], examples.targets[members])
        seen = augmented(seen, recipe.augmentation, recipe.signal.sampling_frequency)
        with run.processor.autocast():
            logits = run.forward(seen.windows, seen.numbers)
        loss = loss_of(logits.float(), seen.targets)
        loss = loss * (len(members) / len(batch))  # by 1 where there is one part
        run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    run.group.add_up_gradients(run.network.parameters())
    return run.group.add_up(total)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (batch, 24) against targets (batch, 24) in [0, 1], as published."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)


@torch.inference_mode()
def predict(
    run: FoldRun, examples: Examples, lengths: NDArray[np.int64], members: NDArray[np.int64], recipe: Recipe
) -> NDArray[np.float32]:
    """Probabilities (members, 24): the mean over the test windows of each recording."""
    run.judged.eval()
    window = recipe.signal.window
    table = torch.from_numpy(validation_windows(lengths[members], window, recipe.signal.overlap))
    count = torch.bincount(table[:, 0], minlength=len(members)).unsqueeze(1)
    table, indices = run.group.share(table), torch.from_numpy(members)
    total = torch.zeros(len(members), recipe.network.classes, device=examples.device)
    first = 0
    while first < len(table):
        owners, offsets = table[first : first + run.validation_batch].unbind(1)
        try:
            probabilities = _probabilities(run, examples, indices[owners], offsets, window)
        except torch.OutOfMemoryError:
            if run.validation_batch == 1:
                raise
            probabilities = None
        if probabilities is None:
            run.validation_batch //= 2
            torch.cuda.empty_cache()
            log.warning("out of memory: %d windows at a time in validation", run.validation_batch)
            continue
        total.index_add_(0, owners.to(total.device), probabilities)
        first += len(owners)
        check_stop()
    return (run.group.add_up(total).cpu() / count).numpy()


def _probabilities(run: FoldRun, examples: Examples, batch: Tensor, offsets: Tensor, window: int) -> Tensor:
    with run.processor.autocast():
        logits = run.judged_forward(examples.windows(batch, offsets, window), examples.demographics[batch])
    return torch.sigmoid(logits.float())


def _report(label: str, history: Sequence[dict[str, float]], epochs: int) -> None:
    last = history[-1]
    log.info(
        "%s epoch %d of %d: loss %.4f, validation score %.3f, rate %g, %s, %.1f recordings/s, "
        "%.0f %% of the matrix rate, %s left",
        label, len(history), epochs, last["loss"], last["validation_score"], last["learning_rate"],
        duration(last["seconds"]), last["recordings_per_second"], 100 * last["share_of_matrix_rate"],
        duration(last["seconds_left"]),
    )  # fmt: skip
