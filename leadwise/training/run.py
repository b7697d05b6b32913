"""Run a whole training: prepare recordings, train each fold, search thresholds, save the model folder.

`train` is what train_model.py and the organisers' `training_code` call. A run that was interrupted is resumed; after
each fold the folder is a complete model of the folds so far.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.data.dataset import Dataset
from leadwise.data.folds import assign_folds
from leadwise.data.prepare import data_fingerprint, prepare_dataset
from leadwise.ecg.acquisition import acquisition_profiles
from leadwise.model.folder import (
    SIMULATION_NETWORK,
    ModelError,
    ModelMetadata,
    commit_pending,
    fold_file,
    network_files,
    read_metadata,
    save_metadata,
    save_network,
    save_seen,
)
from leadwise.model.initial_weights import InitialWeights, read_initial_weights
from leadwise.model.validation_results import Validation
from leadwise.network.devices import Processor, choose_processor
from leadwise.options import TrainingOptions
from leadwise.recipes import RECIPES, Recipe
from leadwise.training.checkpoint import begin_or_resume, checkpoint_name
from leadwise.training.distributed import SINGLE_PROCESS, ProcessGroup, process_group
from leadwise.training.epoch import FoldData
from leadwise.training.fold import FoldResult, FoldTask, train_fold
from leadwise.training.fold_state import VERSION
from leadwise.training.interrupt import EXIT_STATUS, Interrupted, handle_sigterm, interruptible
from leadwise.training.metadata import describe_fold, describe_training, prior_prediction
from leadwise.training.pretraining import pretrain
from leadwise.training.time_plan import TimePlan
from leadwise.util.files import json_round_trip, remove_partial_files
from leadwise.util.memory import freeze_gc, tune_malloc
from leadwise.util.progress import log

PAGES = ("report.html", "model_card.md")  # what a finished training leaves for people, beside model.json


def train(data_directory: str, model_directory: str, options: TrainingOptions) -> None:
    """Train a model on the recordings in `data_directory` and leave it in the folder `model_directory`.

    Resumes a run that was interrupted; leaves a finished model of the same recordings and recipe as it is. Where
    torchrun started several processes they train together. Raises SystemExit(143) if SIGTERM comes before the first
    epoch ends, ValueError if the recordings or the options allow no training.
    """
    tune_malloc()
    freeze_gc()
    processor = choose_processor(options.device, options.precision, options.threads)
    with process_group() as group:
        run = TrainingRun.create(data_directory, Path(model_directory), options, processor)
        _train(run, group)


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """One training: what was requested, and what its folds have in common."""

    data: str  # folder of the recordings
    model: Path  # folder of the model
    options: TrainingOptions
    processor: Processor
    recipe: Recipe
    identity: dict[str, Any]  # a run is resumed only where all of it is the same: it decides on the weights
    initial_weights: InitialWeights | None = None  # of all folds; None: random
    simulated: dict[str, Any] | None = None  # number of simulated ECGs behind the initial weights, and epochs

    @classmethod
    def create(cls, data: str, model: Path, options: TrainingOptions, processor: Processor) -> TrainingRun:
        """Return the training of the recordings in a folder."""
        recipe = requested_recipe(options)
        initial_weights = read_initial_weights(options.init, recipe) if options.init else None
        identity = {"recipe": recipe.as_dict(), "data": data_fingerprint(data, recipe.signal), "version": VERSION}
        identity["init"] = initial_weights.checksum if initial_weights else ""
        return cls(data, model, options, processor, recipe, identity, initial_weights)

    @property
    def checkpoint(self) -> Path:
        """Return the folder of everything that is unfinished."""
        return self.model / "checkpoint"

    @property
    def work(self) -> Path:
        """Return the folder of the prepared recordings."""
        return self.options.work or self.checkpoint

    def is_finished(self) -> bool:
        """Return whether the model folder holds all networks of this run. They are fewer than the recipe's if time was
        too short for all."""
        try:
            metadata = read_metadata(self.model)
        except ModelError:
            return False
        training = metadata["training"]
        # weights of another recipe or of other data are not this run's, however intact they are
        same = metadata["recipe"] == json_round_trip(self.identity["recipe"])
        same = same and training.get("data") == self.identity["data"]
        same = same and training.get("init", "") == self.identity["init"]
        complete = all((self.model / name).exists() for name in network_files(metadata))
        return same and not training.get("unfinished") and complete

    def prepare(self) -> FoldSplit:
        """Prepare the recordings and assign them to folds."""
        dataset = prepare_dataset(self.data, self.work, self.recipe.signal, self.options.jobs)
        seen = self.initial_weights.seen if self.initial_weights else frozenset()
        # the same seed for every run of a recipe: folds of two models can be compared
        folds = assign_folds(dataset, self.recipe.training.folds, self.recipe.training.seed)
        return FoldSplit(dataset, folds, np.isin(dataset.names, list(seen)), [*dataset.names, *seen])

    def pretrained(self) -> TrainingRun:
        """Return the run with initial weights from simulated ECGs, if the recipe wants them and none are given."""
        if not self.recipe.training.simulated or self.initial_weights:
            return self
        path = self.checkpoint / checkpoint_name("-simulated", self.identity)
        limit = 3600 * self.options.max_hours  # s
        trained = pretrain(self.recipe, path, self.work, self.processor, self.options.jobs, limit)
        if trained is None:  # time is too short: random weights, as published
            return self
        weights, metadata = trained
        prevalence = {"target_prevalence": metadata["target_prevalence"]}
        initial_weights = InitialWeights((weights,), frozenset(), "", (weights, prevalence))
        simulated = {key: metadata[key] for key in ("recordings", "epochs")}
        return dataclasses.replace(self, initial_weights=initial_weights, simulated=simulated)

    def save_simulation_network(self, dataset: Dataset) -> dict[str, Any] | None:
        """Write the simulation-only network, if the recipe uses one and there is one, and return its metadata.

        It weighs as much as one source of the training data.
        """
        known = self.initial_weights.simulation_network if self.initial_weights else None
        if not self.recipe.decision.simulation_network or known is None:
            return None
        weights, metadata = known
        return {
            "file": SIMULATION_NETWORK,
            "sha256": save_network(self.model, SIMULATION_NETWORK, weights, self.options.half),
            "weight": 1 / (1 + len(set(dataset.sources))),  # a half beside one source, a seventh beside six
            "target_prevalence": metadata["target_prevalence"],
        }

    def train_fold(self, split: FoldSplit, fold: int, plan: TimePlan, group: ProcessGroup) -> FoldResult | None:
        """Train one fold, or resume it."""
        weights = self.initial_weights.state(fold) if self.initial_weights else None
        task = FoldTask(
            data=split.fold(fold),
            recipe=self.recipe,
            processor=self.processor,
            checkpoint=self.checkpoint / checkpoint_name(fold, self.identity),
            seed=self.recipe.training.seed + fold,  # networks with the same initial weights must differ
            initial_weights=weights,
        )
        return train_fold(task, plan, group)

    @property
    def fewer_simulated(self) -> str:
        """Describe what is missing of the recipe's simulated ECGs and their epochs, if time was too short for all."""
        recipe, found = self.recipe.training, self.simulated or {"recordings": 0, "epochs": 0}
        recordings, epochs = found["recordings"], found["epochs"]
        complete = (recordings, epochs) == (recipe.simulated, recipe.simulated_epochs)
        if complete or not recipe.simulated or self.identity["init"]:
            return ""
        return (
            f"{recordings} of {recipe.simulated} simulated ECGs, {epochs} of {recipe.simulated_epochs} epochs of them"
        )


@dataclass(frozen=True, eq=False)
class FoldSplit:
    """The recordings of a training and the fold that each one validates."""

    dataset: Dataset
    folds: NDArray[np.int64]  # (n,) the fold that a recording validates ...
    seen: NDArray[np.bool_]  # (n,) ... unless the networks of the initial weights have seen it
    names: list[str]  # of all recordings that the networks have seen in the end

    def fold(self, number: int) -> FoldData:
        """Return a fold. Its validation part has no recording that was seen before, so that no score is flattered.

        Raises ValueError if that leaves none.
        """
        validation: NDArray[np.bool_] = (self.folds == number) & ~self.seen
        if not validation.any():
            raise ValueError(f"fold {number}: the networks given by --init have seen all of its validation recordings")
        return FoldData(self.dataset, validation, number)


def _train(run: TrainingRun, group: ProcessGroup) -> None:
    """Train in each process of the group; the main process writes the model."""
    model, options = run.model, run.options
    # first what a killed run left: partial files, or weights that model.json does not describe
    group.main_first(lambda: remove_partial_files(model, run.checkpoint))
    group.main_first(lambda: commit_pending(model))
    if group.main_first(lambda: run.is_finished() and not options.fresh):
        if group.is_main:
            _confirm_finished(run)
        return
    for name in PAGES:  # of an earlier model: they would describe weights that are no longer there
        (model / name).unlink(missing_ok=True)
    group.main_first(lambda: begin_or_resume(run.checkpoint, run.identity, options.fresh))
    folds: list[dict[str, Any]] = []
    with handle_sigterm():
        try:
            with interruptible():
                split = group.main_first(run.prepare)
            _train_folds(group.main_first(run.pretrained), split, folds, group)
        except Interrupted:
            return _report_interrupted(model, len(folds))
    if not group.is_main:
        return
    shutil.rmtree(run.checkpoint)  # only now: until here everything could be resumed
    log.info("%s: %d networks", model, len(folds))
    if options.pages:
        _write_pages(run)


def _train_folds(run: TrainingRun, split: FoldSplit, folds: list[dict[str, Any]], group: ProcessGroup) -> None:
    """Train fold after fold and add to `folds` what model.json says of each; the model is complete after each.

    With as many processes as folds each trains its own. Raises Interrupted if SIGTERM leaves more to do.
    """
    training = run.recipe.training
    networks = min(training.networks or training.folds, training.folds)
    plan = TimePlan(training.epochs, networks, limit=3600 * run.options.max_hours)
    writer = ModelWriter(run, split, plan) if group.is_main else None
    if group.size >= plan.folds > 1:
        _train_own_fold(run, split, plan, group)
        if not group.is_main:
            return
        group = SINGLE_PROCESS  # the main process finds all folds trained
    while (fold := len(folds)) < plan.folds:
        result = run.train_fold(split, fold, plan, group)
        folds += [{}] if result else []  # otherwise time is over, and the plan has no further folds
        unfinished = result.unfinished if result else ""
        if writer:  # the other processes only count
            if result:
                folds[fold] = writer.add_fold(fold, result)
            writer.write(folds, unfinished)
        if unfinished:
            raise Interrupted


class ModelWriter:
    """Writes the model folder of a run: each fold's network and model.json, after each fold."""

    def __init__(self, run: TrainingRun, split: FoldSplit, plan: TimePlan) -> None:
        self.run, self.split, self.plan = run, split, plan
        self.validation = Validation.of(split.dataset, run.recipe.signal.sampling_frequency)

    @cached_property
    def simulation_network(self) -> dict[str, Any] | None:
        """Write the simulation-only network, once; return what model.json says of it."""
        return self.run.save_simulation_network(self.split.dataset)

    def add_fold(self, fold: int, result: FoldResult) -> dict[str, Any]:
        """Write a fold's network and validation results; return what model.json says of the fold."""
        data, model = self.split.fold(fold), self.run.model
        name = fold_file(fold)
        checksum = save_network(model, name, result.weights, self.run.options.half)
        self.validation.record(fold, data.validation, result.probabilities)
        self.validation.save(model)
        return {"file": name, "sha256": checksum} | describe_fold(result, data, self.run.recipe)

    def write(self, folds: list[dict[str, Any]], unfinished: str) -> None:
        """Write model.json, and which recordings the networks have seen."""
        run, dataset = self.run, self.split.dataset
        training = describe_training(dataset, run.processor, folds, self.plan, unfinished)
        training |= {"init": run.identity["init"], "simulated": run.simulated}
        if not training["unfinished"]:
            training["shortened"] = "; ".join(filter(None, (training["shortened"], run.fewer_simulated)))
        save_seen(run.model, self.split.names)  # before model.json, so that no model is ever without it
        save_metadata(
            run.model,
            ModelMetadata(
                recipe=run.recipe,
                prior=prior_prediction(dataset),
                folds=folds,
                training=training,
                acquisition_profiles=acquisition_profiles(dataset.acquisitions),
                simulation_network=self.simulation_network,
            ),
        )


def _train_own_fold(run: TrainingRun, split: FoldSplit, plan: TimePlan, group: ProcessGroup) -> None:
    """Train the fold of this process's number, if there is one, into its checkpoint; then wait for all processes."""
    try:
        if group.rank < plan.folds:
            own = TimePlan(plan.epochs, group.rank + 1, limit=plan.limit)
            run.train_fold(split, group.rank, own, SINGLE_PROCESS)
    finally:
        group.wait()  # also if SIGTERM interrupts: the main process goes on with what there is


def requested_recipe(options: TrainingOptions) -> Recipe:
    """Return the named recipe with the numbers that the options replace; log each replacement."""
    recipe = RECIPES[options.recipe]
    # what replaces a number of the recipe is logged and recorded, so that no figure passes for the recipe's own
    numbers = {key: getattr(recipe.training, key) for key in ("epochs", "folds", "networks", "seed", "simulated")}
    for line in options.overrides(f"recipe {recipe.name}", numbers):
        log.info("%s", line)
    given = {key: getattr(options, key) for key in numbers if getattr(options, key) is not None}
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **given))


def _confirm_finished(run: TrainingRun) -> None:
    """Log that there is nothing to train; complete what a run that was killed at its very end left undone."""
    shutil.rmtree(run.checkpoint, ignore_errors=True)
    log.info("%s is finished, from the same recordings and recipe: nothing to do (--fresh trains anew)", run.model)
    if run.options.pages and not all((run.model / name).exists() for name in PAGES):
        _write_pages(run)


def _report_interrupted(model: Path, folds: int) -> None:
    """Log what SIGTERM leaves; raise SystemExit with the status of a terminated process if that is not a model yet."""
    if folds:
        log.info("%s: interrupted, a model of %d networks so far; the same command resumes", model, folds)
    else:
        log.info("interrupted before the end of the first epoch; the same command resumes")
        raise SystemExit(EXIT_STATUS)


def _write_pages(run: TrainingRun) -> None:
    """Write the report and the model card of a finished model. If that fails, log why; the model stays as it is."""
    try:
        from leadwise.report.training_page import write_pages  # here, since matplotlib takes its time to start

        with handle_sigterm(), interruptible():
            write_pages(run.model, run.data)
            log.info("%s: the report of this training", run.model / PAGES[0])
    except Interrupted:
        log.info("interrupted: the model is complete, its report is not")
    except Exception as error:  # whatever it is, a training of days must not end with it
        log.warning("no report of this training: %s: %s", type(error).__name__, error)
