"""Run a whole training: prepare recordings, train each fold, search thresholds, save the model folder.

`train` is what train_model.py and the organisers' `training_code` call. A run that was interrupted is resumed; after
each fold the folder is a complete model of the folds so far.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.data.dataset import Dataset
from leadwise.data.folds import assign_folds
from leadwise.data.prepare import data_fingerprint, prepare_dataset
from leadwise.ecg.acquisition import ways_of
from leadwise.model.folder import (
    TEXTBOOK,
    ModelError,
    networks_of,
    read_facts,
    save_facts,
    save_network,
    save_seen,
    tidy,
)
from leadwise.model.initial_weights import Beginning, read_beginning
from leadwise.model.validation_results import Validation
from leadwise.network.devices import Processor, choose_processor
from leadwise.options import TrainingOptions
from leadwise.recipes import RECIPES, Recipe
from leadwise.training.checkpoint import begin_or_resume, checkpoint_name
from leadwise.training.distributed import ALONE, Group, joined
from leadwise.training.fold import FoldResult, train_fold
from leadwise.training.fold_state import VERSION
from leadwise.training.interrupt import EXIT_STATUS, Stopped, sigterm_stops, stoppable
from leadwise.training.metadata import finish_fold, prior_answer, training_facts
from leadwise.training.pretraining import pretrain
from leadwise.training.time_plan import TimePlan
from leadwise.util.files import as_json, remove_half_written
from leadwise.util.memory import keep_freed_memory, pass_over_imports
from leadwise.util.progress import log

PAGES = ("report.html", "model_card.md")  # what a finished training leaves for people, beside model.json


def train(data_directory: str, model_directory: str, options: TrainingOptions) -> None:
    """Train a model on the recordings in `data_directory` and leave it in the folder `model_directory`.

    Resumes a run that was interrupted; leaves a finished model of the same recordings and recipe as it is. Where
    torchrun started several processes they train together. Raises SystemExit(143) if SIGTERM comes before the first
    epoch ends, ValueError if the recordings or the options allow no training.
    """
    keep_freed_memory()
    pass_over_imports()
    processor = choose_processor(options.device, options.precision, options.threads)
    with joined() as group:
        train_model(data_directory, Path(model_directory), options, processor, group)


@dataclass(frozen=True, eq=False)
class Job:
    """One training: what was asked for, and what its folds have in common."""

    model: Path
    options: TrainingOptions
    processor: Processor
    recipe: Recipe
    beginning: Beginning | None  # the networks that its own begin with
    run: dict[str, Any]  # what tells it from any other training
    simulated: dict[str, Any] | None = None  # how many simulated ECGs its networks have learnt from before, if any
    textbook: dict[str, Any] | None = None  # what model.json says of the network that these alone have taught

    @classmethod
    def of(cls, data_directory: str, model: Path, options: TrainingOptions, processor: Processor) -> Job:
        """The training of the recordings in a folder."""
        recipe = chosen_recipe(options)
        beginning = read_beginning(options.init, recipe) if options.init else None
        # whatever would give another model is in it: a run is carried on only where all of that is the same
        run = {"recipe": recipe.as_dict(), "data": data_fingerprint(data_directory, recipe.signal), "version": VERSION}
        run["init"] = beginning.checksum if beginning else ""
        return cls(model, options, processor, recipe, beginning, run)

    @property
    def origin(self) -> dict[str, Any]:
        """What model.json says of where its networks began."""
        return {"init": self.run["init"], "simulated": self.simulated}

    @property
    def fewer_simulated(self) -> str:
        """What simulated ECGs had of the recipe's number and epochs, where time took some."""
        recipe, found = self.recipe.training, self.simulated or {"recordings": 0, "epochs": 0}
        recordings, epochs = found["recordings"], found["epochs"]
        whole = (recordings, epochs) == (recipe.simulated, recipe.simulated_epochs)
        if whole or not recipe.simulated or self.run["init"]:
            return ""
        return (
            f"{recordings} of {recipe.simulated} simulated ECGs, {epochs} of {recipe.simulated_epochs} epochs of them"
        )

    @property
    def checkpoint(self) -> Path:
        """Where all that is unfinished lies."""
        return self.model / "checkpoint"

    def pretrained(self) -> Job:
        """The same, with a network that simulated ECGs have taught for all of its own to begin with, where the recipe
        wants that and no other network is given."""
        if not self.recipe.training.simulated or self.beginning:
            return self
        path, work = self.checkpoint / checkpoint_name("-simulated", self.run), self.options.work or self.checkpoint
        limit = 3600 * self.options.max_hours  # s
        taught = pretrain(self.recipe, path, work, self.processor, self.options.jobs, limit)
        if taught is None:  # the time is too short: random weights, as published
            return self
        state, facts = taught
        simulated = {key: facts[key] for key in ("recordings", "epochs")}
        beginning = Beginning((state,), frozenset(), "", (state, {"learned": facts["learned"]}))
        return dataclasses.replace(self, beginning=beginning, simulated=simulated)

    def with_textbook(self, dataset: Dataset) -> Job:
        """The same, its textbook's network written, where the recipe hears one and there is one to begin with.

        Its opinion weighs as much as that of one source of the training data."""
        if not self.recipe.decision.textbook or not self.beginning or not self.beginning.textbook:
            return self
        state, facts = self.beginning.textbook
        checksum = save_network(self.model, TEXTBOOK, state, self.options.half)
        share = 1 / (1 + len(set(dataset.sources)))  # a half beside one source, a seventh beside six
        told = {"file": TEXTBOOK, "sha256": checksum, "share": share, "learned": facts["learned"]}
        return dataclasses.replace(self, textbook=told)

    def prepare(self, data_directory: str) -> Parts:
        """Its recordings, prepared, with the parts that validate its folds."""
        work = self.options.work or self.checkpoint
        dataset = prepare_dataset(data_directory, work, self.recipe.signal, self.options.jobs)
        seen = self.beginning.seen if self.beginning else frozenset()
        # the same seed for every run of a recipe: folds of two models can be compared
        folds = assign_folds(dataset, self.recipe.training.folds, self.recipe.training.seed)
        return Parts(dataset, folds, np.isin(dataset.names, list(seen)), [*dataset.names, *seen])

    def fit(self, parts: Parts, fold: int, plan: TimePlan, group: Group) -> FoldResult | None:
        """Trains one fold, or carries it on."""
        # another seed for each fold: networks of one beginning must differ
        path, seed = self.checkpoint / checkpoint_name(fold, self.run), self.recipe.training.seed + fold
        start = self.beginning.state(fold) if self.beginning else None
        return train_fold(
            parts.dataset, parts.validation(fold), self.recipe, self.processor, path, seed, fold, plan, start, group
        )


@dataclass(frozen=True, eq=False)
class Parts:
    """The recordings of a training and what validates each fold."""

    dataset: Dataset
    folds: NDArray[np.int64]  # (n,) the fold that each recording validates ...
    seen: NDArray[np.bool_]  # (n,) ... unless the networks that the training begins with have seen it
    names: list[str]  # of all recordings that its networks have seen in the end

    def validation(self, fold: int) -> NDArray[np.bool_]:
        """What validates a fold, (n,): nothing that was seen, so that no score is flattered. Raises ValueError where
        that leaves none."""
        validation: NDArray[np.bool_] = (self.folds == fold) & ~self.seen
        if not validation.any():
            raise ValueError(f"fold {fold}: the networks given by --init have seen every recording that would validate")
        return validation


def train_model(data_directory: str, model: Path, options: TrainingOptions, processor: Processor, group: Group) -> None:
    """What `training_code` says, in each of the processes of the group; the leader writes the model."""
    job = Job.of(data_directory, model, options, processor)
    # first what a run that was killed has left: half a file, or weights that model.json does not know of
    group.leader_first(lambda: remove_half_written(model, job.checkpoint))
    group.leader_first(lambda: tidy(model))
    if group.leader_first(lambda: is_finished(model, job.run) and not options.fresh):
        if group.leads:
            end_finished(model, job.checkpoint, data_directory, options.pages)
        return

    for name in PAGES:  # of an earlier model: they would tell of weights that are no longer there
        (model / name).unlink(missing_ok=True)
    group.leader_first(lambda: begin_or_resume(job.checkpoint, job.run, options.fresh))
    folds: list[dict[str, Any]] = []
    with sigterm_stops():
        try:
            with stoppable():
                parts = group.leader_first(lambda: job.prepare(data_directory))
            job = group.leader_first(job.pretrained)
            train_folds(job.with_textbook(parts.dataset) if group.leads else job, parts, folds, group)
        except Stopped:
            return end_unfinished(model, len(folds))
    if not group.leads:
        return
    shutil.rmtree(job.checkpoint)  # only now: until here everything could be carried on
    log.info("%s: %d networks", model, len(folds))
    if options.pages:
        leave_pages(model, data_directory)


def train_folds(job: Job, parts: Parts, folds: list[dict[str, Any]], group: Group) -> None:
    """Trains fold after fold, and adds to `folds` what model.json says of each; the model is complete after each.

    With as many processes as folds each trains its own. Raises Stopped where SIGTERM leaves more to do.
    """
    recipe = job.recipe
    networks = min(recipe.training.networks or recipe.training.folds, recipe.training.folds)
    plan = TimePlan(recipe.training.epochs, networks, limit=3600 * job.options.max_hours)
    learnt = Validation.of(parts.dataset, recipe.signal.sampling_frequency)
    if group.size >= plan.folds > 1:
        fit_own(job, parts, plan, group)
        if not group.leads:
            return
        group = ALONE  # the leader finds all folds trained
    while (fold := len(folds)) < plan.folds:
        validation, result = parts.validation(fold), job.fit(parts, fold, plan, group)
        folds += [{}] if result else []  # else the time is over, and the plan has no further folds
        stopped = result.unfinished if result else ""
        if group.leads:  # the others only count
            if result:
                folds[fold] = finish_fold(job.model, fold, result, parts.dataset, validation, recipe, job.options.half)
                learnt.note(fold, validation, result.probabilities)
                learnt.save(job.model)
            facts = training_facts(parts.dataset, job.processor, folds, plan, stopped) | job.origin
            if not facts["unfinished"]:
                facts["shortened"] = "; ".join(filter(None, (facts["shortened"], job.fewer_simulated)))
            save_seen(job.model, parts.names)  # before the facts, so that no model is ever without it
            ways = ways_of(parts.dataset.acquisitions)
            save_facts(job.model, recipe, prior_answer(parts.dataset), folds, facts, ways, job.textbook)
        if stopped:
            raise Stopped


def fit_own(job: Job, parts: Parts, plan: TimePlan, group: Group) -> None:
    """Trains the fold of this process's number, where there is one, into its checkpoint; then all wait for the last."""
    try:
        if group.rank < plan.folds:
            job.fit(parts, group.rank, TimePlan(plan.epochs, group.rank + 1, limit=plan.limit), ALONE)
    finally:
        group.wait()  # also where SIGTERM stops it: the leader goes on with what there is


def chosen_recipe(options: TrainingOptions) -> Recipe:
    """The named recipe with the numbers that the options replace, each replacement told."""
    recipe = RECIPES[options.recipe]
    # what replaces a number of the recipe is told and recorded, so that no figure passes for the recipe's own
    numbers = {key: getattr(recipe.training, key) for key in ("epochs", "folds", "networks", "seed", "simulated")}
    for line in options.overrides(f"recipe {recipe.name}", numbers):
        log.info("%s", line)
    given = {key: getattr(options, key) for key in numbers if getattr(options, key) is not None}
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **given))


def is_finished(model: Path, run: dict[str, Any]) -> bool:
    """Whether the folder holds all networks of this run: of the same recordings and the same recipe, not stopped on
    the way. Fewer than the recipe's where the time was too short for all."""
    try:
        facts = read_facts(model)
    except ModelError:
        return False
    training = facts["training"]
    # weights of another recipe or of other data are not this run's, however whole they are
    same = facts["recipe"] == as_json(run["recipe"]) and training.get("data") == run["data"]
    same = same and training.get("init", "") == run["init"]
    return same and not training.get("unfinished") and all((model / name).exists() for name in networks_of(facts))


def end_finished(model: Path, checkpoint: Path, data_directory: str, pages: bool) -> None:
    """Says that there is nothing to train; does what a run that was killed at its very end had still to do."""
    shutil.rmtree(checkpoint, ignore_errors=True)
    log.info("%s is finished, from the same recordings and recipe: nothing to do (--fresh trains anew)", model)
    if pages and not all((model / name).exists() for name in PAGES):
        leave_pages(model, data_directory)


def end_unfinished(model: Path, folds: int) -> None:
    """Says what SIGTERM leaves; raises SystemExit with the status of a stopped process where that is no model yet."""
    if folds:
        log.info("%s: stopped, a model of %d networks so far; the same command carries on", model, folds)
    else:
        log.info("stopped before the end of the first epoch; the same command carries on")
        raise SystemExit(EXIT_STATUS)


def leave_pages(model: Path, data_directory: str) -> None:
    """Writes the report and the model card into a finished model's folder; where that fails the model stays as it is,
    and a line says why."""
    try:
        from leadwise.report.training_page import write_pages  # here, since matplotlib takes its time to start

        with sigterm_stops(), stoppable():
            write_pages(model, data_directory)
            log.info("%s: the report of this training", model / PAGES[0])
    except Stopped:
        log.info("stopped: the model is complete, its report is not")
    except Exception as error:  # whatever it is, a training of days must not end with it
        log.warning("no report of this training: %s: %s", type(error).__name__, error)
