"""Compare recipes on splits and seeds of PTB-XL and on external data. Runs are resumable; one table at the end.

    python -m studies.study train RESULTS PTBXL INDEX.csv --external FOLDER --recipes paper,robust \\
        --splits in-distribution,device:AT
    python -m studies.study table RESULTS

PTBXL is a folder of recordings. INDEX.csv has their fold, patient and device (columns record, fold, patient, device).
Splits:

- `in-distribution`: trains on folds 1 to 6, validates on fold 7, tests on fold 8, and on the recordings of other
  hospitals in the folder after --external.
- `crossed:K`: the same with fold K as test and the fold before it as validation part.
- `device:FAMILY`: tests on all recordings of a device family (CS-12, CS100, AT), whose patients are not trained on, and
  validates on fold 7 of the others.
- `third`: in-distribution with a third of the training recordings.
- `adapt:FAMILY:N`: trains on N recordings of a family's folds 1 to 5, validates on its fold 6, tests on folds 7 and 8.

One network per run, in the precision that train_model.py would take. A recipe's name with `+init` (robust+init) starts
from the network of the recipe's run on `device:FAMILY`, which has seen nothing of that family. Each run writes its
probabilities on validation part and test sets to RESULTS/RECIPE/SPLIT/SEED.npz and its network to SEED.safetensors, and
is not repeated.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from leadwise.data.dataset import Dataset
from leadwise.data.prepare import prepare_dataset
from leadwise.model.initial_weights import InitialWeights
from leadwise.network.devices import Processor, choose_processor
from leadwise.options import NetworkOptions
from leadwise.recipes import PAPER, RECIPES, ROBUST, Recipe, SignalRecipe
from leadwise.training.epoch import FoldData
from leadwise.training.examples import Examples
from leadwise.training.fold import FoldTask, train_fold
from leadwise.training.fold_state import FoldState
from leadwise.training.pretraining import pretrain
from leadwise.training.validation import predict
from leadwise.util.memory import tune_malloc
from leadwise.util.progress import log, log_to_stdout
from studies.run_metrics import FIGURES, figures_of

FAMILIES = ("CS-12", "CS100", "AT")

# From `paper` to `robust`, one step at a time; each has all that come before it.
LADDER: dict[str, Recipe] = {"paper": PAPER}


def changed(recipe: Recipe, **parts: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some numbers of some parts replaced."""
    replaced = {part: dataclasses.replace(getattr(recipe, part), **values) for part, values in parts.items()}
    return dataclasses.replace(recipe, **replaced)


def _step(name: str, **parts: Mapping[str, Any]) -> None:
    LADDER[name] = dataclasses.replace(changed(list(LADDER.values())[-1], **parts), name=name)


# The steps that make an epoch cheap come first.
_step("+rate", signal={"sampling_frequency": 128, "window": 640, "overlap": 160})
_step("+unit", signal={"unit": "mV", "resampling": "polyphase", "scale": "rms"}, network={"demographics": 6})
_step("+band", signal=dataclasses.asdict(ROBUST.signal))
SCHEDULE = ("optimiser", "schedule", "learning_rate", "weight_decay", "ema_decay", "keep")
_step("+schedule", training={name: getattr(ROBUST.training, name) for name in SCHEDULE})
_step("+machine", augmentation=dataclasses.asdict(dataclasses.replace(ROBUST.augmentation, mixup=0.0)))
_step("+mixup", augmentation={"mixup": ROBUST.augmentation.mixup})
_step(
    "+reward",
    training={"proxy_labels": True},
    decision={"method": "reward", "prevalence_shift": ROBUST.decision.prevalence_shift},
)
_step("+simulated", training={"simulated": ROBUST.training.simulated})

# `robust` without one of its parts. Augmentation and schedule are left out for real recordings only: the initial
# weights are those of `robust`, except for `-band`, whose signals differ.
AUGMENTED = dict.fromkeys(("filters", "noise", "gain", "lead_loss", "hidden_demographics"), 0.0)
ABLATIONS = {
    "robust-band": changed(ROBUST, signal={"band": None}),
    "robust-machine": changed(ROBUST, augmentation=AUGMENTED),
    "robust-schedule": changed(ROBUST, training={name: getattr(PAPER.training, name) for name in SCHEDULE}),
    "robust-mixup": changed(ROBUST, augmentation={"mixup": 0.0}),
    "robust-both": changed(ROBUST, augmentation=AUGMENTED | {"mixup": 0.0}),
}
VARIANTS = LADDER | {name: RECIPES[name] for name in ("robust", "quick")} | ABLATIONS


# --- the splits


def read_index(path: Path) -> dict[str, dict[str, str]]:
    """Read the rows of an index, by record."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["record"]: row for row in csv.DictReader(file)}


def masks(split: str, names: Sequence[str], index: Mapping[str, Mapping[str, str]]) -> dict[str, NDArray[np.bool_]]:
    """Return the recordings of the parts "train", "validation" and "test" of a split, (n,) each.

    Raises ValueError for an unknown split.
    """
    folds = np.array([int(index[name]["fold"]) for name in names])
    patients = np.array([index[name]["patient"] for name in names])
    kind, _, which = split.partition(":")
    if split == "in-distribution" or (kind == "crossed" and which in map(str, range(1, 9))):
        tested = 8 if split == "in-distribution" else int(which)
        validated = (tested - 2) % 8 + 1
        train = ~np.isin(folds, [tested, validated])
        return {"train": train, "validation": folds == validated, "test": folds == tested}
    if split == "third":
        parts = masks("in-distribution", names, index)
        return parts | {"train": spread(parts["train"], math.ceil(parts["train"].sum() / 3))}
    if kind == "adapt" and (found := re.fullmatch(f"({'|'.join(FAMILIES)}):([1-9][0-9]*)", which)):
        family = np.char.startswith([index[name]["device"] for name in names], found[1])
        train = spread(family & (folds <= 5), int(found[2]))
        return {"train": train, "validation": family & (folds == 6), "test": family & (folds >= 7)}
    if kind == "device" and which in FAMILIES:
        devices = np.array([index[name]["device"] for name in names])
        test = np.char.startswith(devices, which)
        others = ~np.isin(patients, patients[test])
        validation = others & (folds == 7) & (devices != "")
        return {"train": others & (folds != 7), "validation": validation, "test": test}
    families = ", ".join(f"device:{family}, adapt:{family}:N" for family in FAMILIES)
    raise ValueError(f"{split!r} is no split: in-distribution, third, crossed:1 to crossed:8, {families}")


def spread(mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return `count` of the recordings in a mask (n,), evenly spaced. Raises ValueError if it has fewer."""
    members = np.flatnonzero(mask)
    if count > len(members):
        raise ValueError(f"{count} recordings are requested, there are {len(members)}")
    chosen = np.zeros_like(mask)
    chosen[members[np.arange(count) * len(members) // count]] = True
    return chosen


# --- the runs


def run(
    recipe: Recipe,
    parts: Mapping[str, Dataset],
    seed: int,
    path: Path,
    processor: Processor,
    initial: InitialWeights | None,
) -> dict[str, NDArray[Any]]:
    """Train one network, write it to `path`.safetensors, and return the arrays of the run.

    They are the probabilities of the validation part and of each test set (by the names of the parts), those of the
    simulation-only network if there is one, and the labels and acquisitions that `run_metrics` needs.
    """
    train, validation = parts["train"], parts["validation"]
    both = join(train, validation)
    data = FoldData(both, np.arange(len(both)) >= len(train), 0)
    weights = initial.state(0) if initial else None
    result = train_fold(FoldTask(data, recipe, processor, path.with_suffix(".checkpoint"), seed, weights))
    assert result is not None  # there is no time limit
    state = FoldState.begin(recipe, seed, processor)
    state.networks.ema_network.load_state_dict(result.weights)
    save_file(result.weights, path.with_suffix(".safetensors"))
    found: dict[str, NDArray[Any]] = {
        "validation": result.probabilities,
        "validation_labels": validation.labels,
        "validation_targets": validation.targets(recipe.training.proxy_labels),
        "target_prevalence": train.targets(recipe.training.proxy_labels).mean(0),
        "train_labels": train.labels,
        "train_acquisitions": train.acquisitions,
    }
    tests = test_sets(parts)
    for name in tests:
        part = parts[name]
        found[name] = probabilities_of(state, part)
        found |= {f"{name}_labels": part.labels, f"{name}_sources": np.array(part.sources)}
        found[f"{name}_acquisitions"] = part.acquisitions
    if initial and initial.simulation_network:
        simulation_weights, metadata = initial.simulation_network
        state.networks.ema_network.load_state_dict(simulation_weights)
        found |= {f"{name}_simulation": probabilities_of(state, parts[name]) for name in tests}
        found["simulation_prevalence"] = np.array(metadata["target_prevalence"])
    return found


def probabilities_of(state: FoldState, part: Dataset) -> NDArray[np.float32]:
    """Return the probabilities of a part's recordings, (recordings, 24)."""
    return predict(state, Examples.of(part, state.processor.device), part.lengths, np.arange(len(part)))


def join(*parts: Dataset) -> Dataset:
    """Join parts of one prepared data set."""
    rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Dataset.ROWS}
    lists = {name: tuple(chain(*(getattr(part, name) for part in parts))) for name in ("names", "sources", "groups")}
    return dataclasses.replace(parts[0], **rows, **lists)


def train(arguments: argparse.Namespace) -> None:
    """Train every requested run that has no results yet."""
    index, processor = read_index(arguments.index), choose_processor(threads=arguments.threads)
    splits, seeds = arguments.splits.split(","), map(int, arguments.seeds.split(","))
    for name, split, seed in product(arguments.recipes.split(","), splits, list(seeds)):
        path = arguments.results / name / split.replace(":", "-") / f"{seed}.npz"
        if path.exists():
            continue
        log.info("%s, %s, seed %d", name, split, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe = VARIANTS[name.removesuffix("+init")]
        if arguments.epochs is not None:
            recipe = changed(recipe, training={"epochs": arguments.epochs})
        initial = initial_weights(name, recipe, split, seed, arguments.results, processor)
        found = run(recipe, prepared(recipe, split, index, arguments), seed, path, processor, initial)
        temporary = path.with_suffix(".partial.npz")
        np.savez(temporary, epochs=recipe.training.epochs, **found)
        temporary.replace(path)
        for checkpoint in path.parent.glob(f"{seed}.checkpoint*"):
            checkpoint.unlink()


def initial_weights(
    name: str, recipe: Recipe, split: str, seed: int, results: Path, processor: Processor
) -> InitialWeights | None:
    """Return the initial weights of a run; None: random.

    With `+init` they are the network of the run on the other device families. Otherwise, if the recipe wants it, they
    are trained on simulated ECGs as those of `robust` are, once for all splits, seeds and recipes with equal signals.
    """
    if name.endswith("+init"):
        folder = results / name.removesuffix("+init") / f"device-{split.split(':')[1]}"
        return InitialWeights((load_file(folder / f"{seed}.safetensors"),), frozenset(), "")
    if not recipe.training.simulated:
        return None
    work = results / "initial" / f"{recipe.training.simulated}-{signal_name(recipe.signal)}"
    work.mkdir(parents=True, exist_ok=True)
    schedule = {name: getattr(ROBUST.training, name) for name in SCHEDULE}
    usual = changed(recipe, training=schedule, augmentation=dataclasses.asdict(ROBUST.augmentation))
    pretrained = pretrain(usual, work / "pretraining", work, processor, 1, math.inf)
    assert pretrained is not None  # there is no time limit
    return InitialWeights((pretrained[0],), frozenset(), "", pretrained)


def prepared(
    recipe: Recipe, split: str, index: Mapping[str, Mapping[str, str]], arguments: argparse.Namespace
) -> dict[str, Dataset]:
    """Prepare the parts of a split for a recipe; the external test set belongs to split `in-distribution`."""
    work = arguments.results / "prepared" / signal_name(recipe.signal)
    data = prepare_dataset(arguments.data, work / "in-distribution", recipe.signal, 1)
    parts = {name: data.subset(mask) for name, mask in masks(split, data.names, index).items()}
    if split == "in-distribution" and arguments.external:
        parts["test_external"] = prepare_dataset(arguments.external, work / "external", recipe.signal, 1)
    return parts


def signal_name(recipe: SignalRecipe) -> str:
    """Return a folder name that is equal for recipes with equal prepared signals."""
    parts = recipe.sampling_frequency, recipe.unit, recipe.resampling, recipe.band is not None, recipe.scale
    return "-".join(map(str, parts))


# --- the table


def results(folder: Path) -> Iterator[tuple[str, str, int, dict[str, NDArray[Any]]]]:
    """Yield recipe, split, seed and arrays of every finished run."""
    for path in sorted(folder.glob("*/*/*.npz")):
        if ".partial" not in path.name:
            with np.load(path, allow_pickle=False) as stored:
                yield path.parts[-3], path.parts[-2], int(path.stem), dict(stored)


def label_rule(name: str) -> str:
    """Return the recipe's own label rule, a key of `run_metrics.answers_of`."""
    decision = VARIANTS[name.removesuffix("+init")].decision
    reward = "reward simulation" if decision.simulation_network else "reward shifted"
    return {"search": "search", "reward": reward}[decision.method]


Runs = dict[tuple[str, str, int], list[dict[str, NDArray[Any]]]]  # by recipe, split and seed


def grouped(folder: Path) -> Runs:
    """Return all finished runs, those of the crossed folds together."""
    runs: Runs = {}
    for name, split, seed, found in results(folder):
        runs.setdefault((name, re.sub("^crossed-.*", "crossed", split), seed), []).append(found)
    return runs


def table(arguments: argparse.Namespace) -> None:
    """Print one line for each run and test set, with intervals and differences to another recipe.

    Each recipe has its own label rule. The crossed folds of a recipe share one line.
    """
    runs = grouped(arguments.results)
    order = {name: place for place, name in enumerate(VARIANTS)}
    print("recipe | test | seed | n | " + " | ".join(FIGURES))
    for name, split, seed in sorted(runs, key=lambda key: (key[1], order.get(key[0], 99), key[2])):
        own, other = runs[name, split, seed], runs.get((arguments.against, split, seed))
        reference = (other, label_rule(arguments.against)) if other and len(other) == len(own) else None
        for test in test_sets(own[0]):
            figures = figures_of(own, test, label_rule(name), arguments.prevalence_shift, reference)
            count = sum(len(found[test]) for found in own)
            cells = [name, test_name(split, test), str(seed), str(count), *(figures[key] for key in FIGURES)]
            print(" | ".join(cells))


def test_sets(found: Mapping[str, object]) -> list[str]:
    """Return the names of the test sets of a split or run."""
    return [key for key in ("test", "test_external") if key in found]


def test_name(split: str, test: str) -> str:
    """Return the name of a test set in table and picture."""
    return split if test == "test" else "external"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("studies.study", description="Compares recipes on splits.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train", help="train the runs that have no results yet")
    training.set_defaults(do=train)
    training.add_argument("results", type=Path)
    training.add_argument("data", type=Path, help="folder with the recordings of the index")
    training.add_argument("index", type=Path)
    training.add_argument(
        "--external", type=Path, help="recordings of other hospitals, a test set of split in-distribution"
    )
    training.add_argument("--recipes", default="paper,robust", help=f"of {', '.join(VARIANTS)}; or one with +init")
    training.add_argument("--splits", default="in-distribution")
    training.add_argument("--seeds", default="2020")
    training.add_argument("--epochs", type=int, help="instead of the recipes' own")
    training.add_argument(
        "--threads", type=int, default=NetworkOptions().threads, help="of the CPU; default %(default)s"
    )
    showing = commands.add_parser("table", help="print the table of the finished runs")
    showing.set_defaults(do=table)
    showing.add_argument("results", type=Path)
    showing.add_argument("--against", default="paper", choices=VARIANTS, help="default %(default)s")
    showing.add_argument(
        "--prevalence-shift", type=float, default=ROBUST.decision.prevalence_shift, help="see DecisionRecipe"
    )
    arguments = parser.parse_args(argv)
    log_to_stdout()
    tune_malloc()
    arguments.do(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
