"""Train one fold: begin or resume, epoch after epoch, roll back if a loss is not finite, stop on SIGTERM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.network.devices import Processor
from leadwise.recipes import Recipe
from leadwise.training.checkpoint import State
from leadwise.training.distributed import SINGLE_PROCESS, ProcessGroup
from leadwise.training.epoch import FoldData, NotFiniteError, OutOfTimeError, run_epoch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState
from leadwise.training.interrupt import Interrupted, interruptible
from leadwise.training.schedule import MAX_ROLLBACKS, ROLLBACK_FACTOR
from leadwise.training.time_plan import TimePlan
from leadwise.training.validation import predict_lead_sets
from leadwise.util.progress import duration, log


@dataclass(frozen=True, eq=False)
class FoldTask:
    """One network to train: on which recordings, how, and where its checkpoint is."""

    data: FoldData
    recipe: Recipe
    processor: Processor
    checkpoint: Path
    seed: int
    initial_weights: State | None = None  # None: random
    name: str = ""  # in the log; by default the number of the fold
    lead_sets: bool = False  # predict the validation recordings also with reduced lead sets

    def begin(self, group: ProcessGroup) -> FoldState:
        """Return the state before the first epoch."""
        name = self.name or f"fold {self.data.number}"
        return FoldState.begin(self.recipe, self.seed, self.processor, self.initial_weights, group, name)


@dataclass(frozen=True, eq=False)
class FoldResult:
    """A trained fold: the kept weights and their probabilities on the validation part."""

    weights: State  # fp32, on the CPU
    probabilities: NDArray[np.float32]  # (validation recordings, 24)
    best_epoch: int  # 0, 1, ...: whose weights these are
    history: list[dict[str, float]]  # one entry per epoch, see `run_epoch`
    rollbacks: list[dict[str, Any]]  # number and reason of each epoch whose loss was not finite
    lead_set_probabilities: NDArray[np.float32] | None = None  # (validation recordings, reduced lead sets, 24)
    unfinished: str = ""  # why there are fewer epochs than planned, if more are to follow

    @classmethod
    def of(cls, state: FoldState) -> FoldResult | None:
        """Return the result of the epochs so far; None before the first."""
        history, rollbacks = [*state.progress.history], [*state.progress.rollbacks]
        if not history:
            return None
        return cls(state.kept_weights, state.kept_probabilities.numpy(), state.kept_epoch, history, rollbacks)


def train_fold(task: FoldTask, plan: TimePlan | None = None, group: ProcessGroup = SINGLE_PROCESS) -> FoldResult | None:
    """Train one network and return the weights that the recipe keeps.

    The state is saved to the checkpoint after each epoch; an existing checkpoint is resumed. On SIGTERM the result is
    that of the epochs so far. Returns None if time ends before the first epoch of a later fold. Raises Interrupted if
    SIGTERM comes before the end of the first epoch, ValueError if no epoch has a finite loss.
    """
    plan = plan or TimePlan(task.recipe.training.epochs, task.data.number + 1)
    examples = Examples.of(task.data.dataset, task.processor.device, task.recipe.training.proxy_labels)
    state = task.begin(group)
    if group.main_first(lambda: state.load(task.checkpoint)):
        history = state.progress.history
        log.info("%s: resumes after epoch %d", state.name, len(history))
        if not state.progress.finished:
            plan.after_epoch(task.data.number, len(history), history[-1]["seconds"])
            plan.epochs, plan.folds = group.broadcast(plan.epochs, plan.folds)
    result = FoldResult.of(state)  # of the epochs in the checkpoint
    try:
        with interruptible():
            while not state.progress.finished and len(state.progress.history) < plan.epochs:
                try:
                    run_epoch(state, task.data, examples, plan)
                    state.save(task.checkpoint)
                    result = FoldResult.of(state)
                    _report(state, plan)
                except NotFiniteError as error:
                    state = _roll_back(state, task, str(error))
                    result = FoldResult.of(state)
                except OutOfTimeError:
                    break
            if result and task.lead_sets:
                state.networks.ema_network.load_state_dict(result.weights)
                members = np.flatnonzero(task.data.validation)
                found = predict_lead_sets(state, task.data.dataset, members)
                result = replace(result, lead_set_probabilities=found)
    except Interrupted:
        if result is None:
            raise
        epochs = f"{len(result.history)} of {plan.epochs} epochs of {state.name}"
        return replace(result, unfinished=f"stopped after {epochs}")
    if result is None:
        plan.give_up_from(task.data.number)
    return result


def _roll_back(failed: FoldState, task: FoldTask, reason: str) -> FoldState:
    """Return the state after the last good epoch, to continue at a lower rate; finished after too many rollbacks,
    when ValueError is raised if there is no good epoch."""
    epoch, state = len(failed.progress.history) + 1, task.begin(failed.group)
    state.load(task.checkpoint)
    progress, old = state.progress, failed.progress
    progress.micro_batches, progress.validation_batch = old.micro_batches, old.validation_batch
    progress.rollbacks = [*old.rollbacks, {"epoch": epoch, "reason": reason}]
    if len(progress.rollbacks) <= MAX_ROLLBACKS:
        times = f"{len(progress.rollbacks)} of {MAX_ROLLBACKS}"
        log.warning("%s epoch %d: %s; back to its start, at half the rate (%s)", state.name, epoch, reason, times)
    elif progress.history:
        progress.finished = True
        state.save(task.checkpoint)
        log.warning("%s epoch %d: %s; the fold ends with the epochs before", state.name, epoch, reason)
    else:
        rate = f"{ROLLBACK_FACTOR**MAX_ROLLBACKS:g}"
        raise ValueError(f"{state.name}: {reason} in the first epoch, also at {rate} of the rate")
    return state


def _report(state: FoldState, plan: TimePlan) -> None:
    last = state.progress.history[-1]
    log.info(
        "%s epoch %d of %d: loss %.4f, validation score %.3f, rate %g, %s, %.1f recordings/s, MFU %.0f %%, %s left",
        state.name, len(state.progress.history), plan.epochs, last["loss"], last["validation_score"],
        last["learning_rate"], duration(last["seconds"]), last["recordings_per_second"], 100 * last["mfu"],
        duration(last["seconds_left"]),
    )  # fmt: skip
