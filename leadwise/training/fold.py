"""One fold: windows, loop, schedule, validation, checkpoint. Knows no recordings' files and no model folder.

Everything that happens to a batch (cutting, padding) is one tensor operation on the training device, the same code on
a CPU and on a GPU. After each epoch the whole state of the run is written, so that a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.data.dataset import Dataset
from leadwise.network.devices import Processor
from leadwise.recipes import Recipe
from leadwise.training.checkpoint import State
from leadwise.training.distributed import ALONE, Group
from leadwise.training.epoch import NotFiniteError, OutOfTimeError, run_epoch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldRun
from leadwise.training.interrupt import Stopped, stoppable
from leadwise.training.schedule import SETBACK_FACTOR
from leadwise.training.time_plan import TimePlan
from leadwise.util.progress import duration, log

SETBACKS = 5  # ... and so often in a fold at most


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


def _report(label: str, history: Sequence[dict[str, float]], epochs: int) -> None:
    last = history[-1]
    log.info(
        "%s epoch %d of %d: loss %.4f, validation score %.3f, rate %g, %s, %.1f recordings/s, "
        "%.0f %% of the matrix rate, %s left",
        label, len(history), epochs, last["loss"], last["validation_score"], last["learning_rate"],
        duration(last["seconds"]), last["recordings_per_second"], 100 * last["share_of_matrix_rate"],
        duration(last["seconds_left"]),
    )  # fmt: skip
