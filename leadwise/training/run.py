"""Run a training: prepare recordings, train each fold, search thresholds, save the model folder, resume."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
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
from leadwise.model import folder as model_folder
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

PAGES = ("report.html", "model_card.md")  # written at the end of a training, for people
Report = Callable[[Path, str], None]


def train(data_directory: str, model_directory: str, options: TrainingOptions, report: Report | None = None) -> None:
    """Train a model on the recordings of a folder and save it to another, as `team_code.training_code` documents.

    `report` writes PAGES for the folders of the model and of the recordings.
    """
    tune_malloc()
    freeze_gc()
    processor = choose_processor(options.device, options.precision, options.threads)
    with process_group() as group:
        run = TrainingRun.create(data_directory, Path(model_directory), options, processor)
        _train(dataclasses.replace(run, report=report if options.pages else None), group)


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """One training: what was requested, and what its folds have in common."""

    data: str  # folder of the recordings
    model: Path  # folder of the model
    options: TrainingOptions
    processor: Processor
    recipe: Recipe
    identity: dict[str, Any]  # everything that the weights depend on: a run is resumed only if it is the same
    initial_weights: InitialWeights | None = None  # of all folds; None: random
    report: Report | None = None
    simulated: dict[str, Any] | None = None  # number and epochs of the simulated ECGs behind the initial weights

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
        """Return the folder of everything unfinished."""
        return self.model / "checkpoint"

    def is_finished(self) -> bool:
        """Return whether the model folder has all networks of this run, as many as there was time for."""
        try:
            metadata = model_folder.read_metadata(self.model)
        except model_folder.ModelError:
            return False
        training, identity = metadata["training"], self.identity
        # a model of another recipe or of other data is not this run's, even if it is complete
        same = metadata["recipe"] == json_round_trip(identity["recipe"]) and training.get("data") == identity["data"]
        same = same and training.get("init", "") == identity["init"]
        complete = all((self.model / name).exists() for name in model_folder.network_files(metadata))
        return same and not training.get("unfinished") and complete

    def prepare(self) -> FoldSplit:
        """Prepare the recordings and assign them to folds."""
        work = self.options.work or self.checkpoint
        dataset = prepare_dataset(self.data, work, self.recipe.signal, self.options.jobs)
        seen = self.initial_weights.seen if self.initial_weights else frozenset()
        # the same seed for every run of a recipe: folds of two models can be compared
        folds = assign_folds(dataset, self.recipe.training.folds, self.recipe.training.seed)
        return FoldSplit(dataset, folds, np.isin(dataset.names, list(seen)), [*dataset.names, *seen])

    def pretrained(self) -> TrainingRun:
        """Return the run with initial weights from simulated ECGs, if the recipe uses them and none are provided."""
        if not self.recipe.training.simulated or self.initial_weights:
            return self
        path, options = self.checkpoint / checkpoint_name("-simulated", self.identity), self.options
        work, limit = options.work or self.checkpoint, 3600 * options.max_hours  # s
        trained = pretrain(self.recipe, path, work, self.processor, options.jobs, limit)
        if trained is None:  # time is too short: random weights, as published
            return self
        simulated = {key: trained[1][key] for key in ("recordings", "epochs")}
        initial_weights = InitialWeights((trained[0],), frozenset(), "", trained)
        return dataclasses.replace(self, initial_weights=initial_weights, simulated=simulated)

    def train_fold(self, split: FoldSplit, fold: int, plan: TimePlan, group: ProcessGroup) -> FoldResult | None:
        """Train one fold, or resume it."""
        path = self.checkpoint / checkpoint_name(fold, self.identity)
        seed = self.recipe.training.seed + fold  # networks with the same initial weights differ by it
        weights = self.initial_weights.state(fold) if self.initial_weights else None
        lead_sets = self.recipe.decision.method == "reward"  # which calibrates for each of them
        task = FoldTask(split.fold(fold), self.recipe, self.processor, path, seed, weights, lead_sets=lead_sets)
        return train_fold(task, plan, group)


@dataclass(frozen=True, eq=False)
class FoldSplit:
    """The recordings of a training and the fold that each one validates."""

    dataset: Dataset
    folds: NDArray[np.int64]  # (n,) the fold that a recording validates ...
    seen: NDArray[np.bool_]  # (n,) ... unless the networks of the initial weights have seen it
    names: list[str]  # of all recordings that the networks have seen in the end

    def fold(self, number: int) -> FoldData:
        """Return a fold, without seen recordings in its validation part. Raises ValueError if that leaves none."""
        validation: NDArray[np.bool_] = (self.folds == number) & ~self.seen
        if not validation.any():
            raise ValueError(f"fold {number}: the networks given by --init have seen all of its validation recordings")
        return FoldData(self.dataset, validation, number)


def _train(run: TrainingRun, group: ProcessGroup) -> None:
    model, options = run.model, run.options
    # first clean up after a killed run: partial files, and weights that model.json does not describe
    group.main_first(lambda: remove_partial_files(model, run.checkpoint))
    group.main_first(lambda: model_folder.commit_pending(model))
    if group.main_first(lambda: run.is_finished() and not options.fresh):
        if group.is_main:
            shutil.rmtree(run.checkpoint, ignore_errors=True)
            log.info("%s is finished, from the same recordings and recipe: nothing to do (--fresh trains anew)", model)
            if not all((model / name).exists() for name in PAGES):
                _write_report(run)
        return
    for name in PAGES:  # of an earlier model
        (model / name).unlink(missing_ok=True)
    group.main_first(lambda: begin_or_resume(run.checkpoint, run.identity, options.fresh))
    folds: list[dict[str, Any]] = []
    with handle_sigterm():
        try:
            with interruptible():
                split = group.main_first(run.prepare)
            _train_folds(group.main_first(run.pretrained), split, folds, group)
        except Interrupted:
            if not folds:
                log.info("interrupted before the end of the first epoch; the same command resumes")
                raise SystemExit(EXIT_STATUS) from None
            log.info("%s: interrupted, a model of %d networks so far; the same command resumes", model, len(folds))
            return
    if not group.is_main:
        return
    shutil.rmtree(run.checkpoint)  # only now: until here everything could be resumed
    log.info("%s: %d networks", model, len(folds))
    _write_report(run)


def _train_folds(run: TrainingRun, split: FoldSplit, folds: list[dict[str, Any]], group: ProcessGroup) -> None:
    """Train fold after fold and add their entries of model.json to `folds`; with as many processes as folds each trains
    its own. Raises Interrupted if SIGTERM leaves more to do."""
    training = run.recipe.training
    networks = min(training.networks or training.folds, training.folds)
    plan = TimePlan(training.epochs, networks, limit=3600 * run.options.max_hours)
    writer = ModelWriter(run, split, plan) if group.is_main else None
    if group.size >= plan.folds > 1:
        try:
            if group.rank < plan.folds:
                own_plan = TimePlan(plan.epochs, group.rank + 1, limit=plan.limit)
                run.train_fold(split, group.rank, own_plan, SINGLE_PROCESS)
        finally:
            group.wait()  # also on SIGTERM: the main process continues with the folds that are trained
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
    """Write the model folder of a run: each fold's network and model.json, after each fold."""

    def __init__(self, run: TrainingRun, split: FoldSplit, plan: TimePlan) -> None:
        self.run, self.split, self.plan = run, split, plan
        self.validation = Validation.of(split.dataset, run.recipe.signal.sampling_frequency)

    @cached_property
    def simulation_network(self) -> dict[str, Any] | None:
        """Write the simulation-only network, once, if the recipe uses one and there is one; return its entry."""
        run = self.run
        network = run.initial_weights.simulation_network if run.initial_weights else None
        if not run.recipe.decision.simulation_network or network is None:
            return None
        weights, metadata = network
        return {
            "file": model_folder.SIMULATION_NETWORK,
            "sha256": model_folder.save_network(run.model, model_folder.SIMULATION_NETWORK, weights, run.options.half),
            "weight": 1 / (1 + len(set(self.split.dataset.sources))),  # as much as one source of the training data
            "target_prevalence": metadata["target_prevalence"],
        }

    def add_fold(self, fold: int, result: FoldResult) -> dict[str, Any]:
        """Write a fold's network and validation results; return its entry of model.json."""
        data, model, name = self.split.fold(fold), self.run.model, model_folder.fold_file(fold)
        checksum = model_folder.save_network(model, name, result.weights, self.run.options.half)
        self.validation.record(fold, data.validation, result.probabilities, result.lead_set_probabilities)
        self.validation.save(model)
        return {"file": name, "sha256": checksum} | describe_fold(result, data, self.run.recipe)

    def write(self, folds: list[dict[str, Any]], unfinished: str) -> None:
        """Write model.json, and the names of the recordings that the networks have seen."""
        run, dataset = self.run, self.split.dataset
        training = describe_training(dataset, run.processor, folds, self.plan, unfinished)
        training |= {"init": run.identity["init"], "simulated": run.simulated}
        if not training["unfinished"]:
            training["shortened"] = "; ".join(filter(None, (training["shortened"], self._fewer_simulated())))
        model_folder.save_seen(run.model, self.split.names)  # before model.json, so that no model is ever without it
        prior, profiles = prior_prediction(dataset), acquisition_profiles(dataset.acquisitions)
        entries = (prior, folds, training, profiles, self.simulation_network)
        model_folder.save_metadata(run.model, model_folder.ModelMetadata(run.recipe, *entries))

    def _fewer_simulated(self) -> str:
        """Describe which simulated ECGs and epochs of the recipe are missing, for lack of time."""
        recipe, found = self.run.recipe.training, self.run.simulated or {"recordings": 0, "epochs": 0}
        count, epochs = found["recordings"], found["epochs"]
        complete = (count, epochs) == (recipe.simulated, recipe.simulated_epochs)
        if complete or not recipe.simulated or self.run.identity["init"]:
            return ""
        return f"{count} of {recipe.simulated} simulated ECGs, {epochs} of {recipe.simulated_epochs} epochs of them"


def requested_recipe(options: TrainingOptions) -> Recipe:
    """Return the named recipe with the numbers that the options replace; log each replacement."""
    recipe = RECIPES[options.recipe]
    numbers = {key: getattr(recipe.training, key) for key in ("epochs", "folds", "networks", "seed", "simulated")}
    for line in options.overrides(f"recipe {recipe.name}", numbers):
        log.info("%s", line)
    replaced = {key: getattr(options, key) for key in numbers if getattr(options, key) is not None}
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **replaced))


def _write_report(run: TrainingRun) -> None:
    """Write the report and the model card of a finished model. If that fails, log why; the model stays as it is."""
    if run.report is None:
        return
    try:
        with handle_sigterm(), interruptible():
            run.report(run.model, run.data)
            log.info("%s: the report of this training", run.model / PAGES[0])
    except Interrupted:
        log.info("interrupted: the model is complete, its report is not")
    except Exception as error:  # no error of a report may end a training of days
        log.warning("no report of this training: %s: %s", type(error).__name__, error)
