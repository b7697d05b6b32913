"""A model folder: save it, load it, predict with it. Knows no data folders and no training.

`model.json` says everything that a person may want to know, `fold0.safetensors`, `fold1.safetensors`, ... are the plain
fp32 states of the networks and nothing else. Nothing in a model folder is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from leadwise.classes import CODES
from leadwise.decision import Answer, Rule, make_rule
from leadwise.devices import CPU, Processor
from leadwise.files import sha256, whole_file, write_json
from leadwise.inference import StackedNetworks
from leadwise.network import SEResNet
from leadwise.recipes import Recipe, recipe_from_dict
from leadwise.signals import window_starts

FORMAT = "leadwise model"
VERSION = 1
BATCH = 4  # windows that go through the stacked networks at once: more fall out of the cores' caches
PLAIN = 64  # windows that go through a plain network at once


class ModelError(Exception):
    """This folder is no model; says which file is wrong and why."""


@dataclass(frozen=True, eq=False)
class Model:
    """Networks, the rule by which they answer, and the answer for a recording that says nothing."""

    recipe: Recipe
    networks: tuple[SEResNet, ...]
    rule: Rule
    prior: Answer  # one recording: the training recordings' class frequencies, the best constant labels
    processor: Processor
    facts: dict[str, Any]  # model.json

    stacked: StackedNetworks | None = None  # the networks as one, where that is faster

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds (networks, 24); NaN where the rule has none."""
        return self.rule.thresholds

    @torch.inference_mode()
    def probabilities(
        self, signals: Sequence[NDArray[np.float32]], demographics: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Probabilities (networks, recordings, 24) of prepared signals, (12, samples) each, and demographics
        (recordings, 5): the mean over the test windows of each recording."""
        owners, starts, lengths = self._windows(signals)
        people = torch.from_numpy(demographics)[owners]
        totals = torch.zeros(len(self.networks), len(signals), len(CODES), dtype=torch.float64)
        # windows of one length together: the padding of the shorter ones would have to be computed
        order = torch.sort(lengths, descending=True, stable=True).indices
        for rows in torch.split(order, BATCH if self.stacked else PLAIN):
            windows = self._cut(signals, owners[rows].tolist(), starts[rows].tolist(), int(lengths[rows[0]]))
            probabilities = torch.sigmoid(self._logits(windows, people[rows]).float())
            totals.index_add_(1, owners[rows], probabilities.double().cpu())
        count = torch.bincount(owners, minlength=len(signals)).view(1, -1, 1)
        return (totals / count).numpy()

    def predict(self, signals: Sequence[NDArray[np.float32]], demographics: NDArray[np.float32]) -> Answer:
        """Labels and scores by the model's rule."""
        return self.rule.answer(self.probabilities(signals, demographics))

    def _windows(self, signals: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor, Tensor]:
        """Of each test window of all signals: whose it is, its first sample, its samples without the padding."""
        window, overlap = self.recipe.signal.window, self.recipe.signal.overlap
        starts = [window_starts(signal.shape[1], window, overlap) for signal in signals]
        owners = np.repeat(np.arange(len(signals)), [len(these) for these in starts])
        samples = np.repeat([min(signal.shape[1], window) for signal in signals], [len(these) for these in starts])
        return torch.from_numpy(owners), torch.from_numpy(np.concatenate(starts)), torch.from_numpy(samples)

    def _cut(
        self, signals: Sequence[NDArray[np.float32]], owners: Sequence[int], starts: Sequence[int], length: int
    ) -> Tensor:
        """Windows (windows, 12, `length`, or the whole window for the plain networks), zero-padded on the right."""
        window = self.recipe.signal.window
        windows = np.zeros((len(owners), 12, length if self.stacked else window), np.float32)
        for row, owner, start in zip(windows, owners, starts, strict=True):
            piece = signals[owner][:, start : start + window]
            row[:, : piece.shape[1]] = piece
        return torch.from_numpy(windows)

    def _logits(self, windows: Tensor, people: Tensor) -> Tensor:
        """Logits (networks, windows, 24)."""
        if self.stacked is not None:
            return self.stacked(windows, people)
        windows, people = windows.to(self.processor.device), people.to(self.processor.device)
        with self.processor.autocast():
            return torch.stack([network(windows, people) for network in self.networks])


def fold_file(fold: int | str) -> str:
    """The name of a fold's weights in a model folder."""
    return f"fold{fold}.safetensors"


def save_network(folder: Path, fold: int, state: dict[str, Tensor]) -> str:
    """Writes one network's state; returns the file's SHA-256."""
    path = folder / fold_file(fold)
    with whole_file(path) as handle:
        handle.write(save({name: value.contiguous() for name, value in state.items()}))
    return sha256(path)


def save_facts(
    folder: Path, recipe: Recipe, prior: Answer, folds: Sequence[dict[str, Any]], training: dict[str, Any]
) -> None:
    """Writes model.json, then removes networks of an earlier model that it does not name.

    Each of `folds` has at least `file`, `sha256` and what the recipe's rule asks for, see `decision.make_rule`.
    """
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "classes": list(CODES),
        "recipe": recipe.as_dict(),
        "prior": {"scores": prior.scores[0].tolist(), "labels": prior.labels[0].astype(int).tolist()},
        "folds": list(folds),
        "training": training,
    }
    write_json(folder / "model.json", facts)
    for path in set(folder.glob(fold_file("*"))) - {folder / fold["file"] for fold in folds}:
        path.unlink()


def read_facts(folder: str | Path) -> dict[str, Any]:
    """model.json of a model folder. Raises ModelError where it is missing, damaged or of another format or version."""
    path = Path(folder) / "model.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except ValueError:
        raise ModelError(f"{path}: not JSON") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ModelError(f"{path}: not a description of a Leadwise model")
    if facts.get("version") != VERSION:
        raise ModelError(f"{path}: format version {facts.get('version')}, this program reads version {VERSION}")
    if facts.get("classes") != list(CODES):
        raise ModelError(f"{path}: its classes are not the Challenge's 24, in their order")
    return facts


def load_model(folder: str | Path, processor: Processor = CPU) -> Model:
    """A model folder, ready to predict on a CPU or GPU. Raises ModelError naming the file that is wrong."""
    folder = Path(folder)
    facts = read_facts(folder)
    path = folder / "model.json"
    try:
        recipe = recipe_from_dict(facts["recipe"])
        rule = make_rule(recipe.decision, facts["folds"])
        prior = Answer(np.array([facts["prior"]["labels"]], np.bool_), np.array([facts["prior"]["scores"]], np.float64))
        files = [(fold["file"], fold["sha256"]) for fold in facts["folds"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: {type(error).__name__} {error}") from None
    if prior.scores.shape != (1, len(CODES)):
        raise ModelError(f"{path}: needs {len(CODES)} prior scores")
    networks = tuple(_load_network(folder, name, checksum, recipe).to(processor.device) for name, checksum in files)
    stacked = _stack(networks, recipe) if processor == CPU and StackedNetworks.can(recipe.network) else None
    return Model(recipe, networks, rule, prior, processor, facts, stacked)


def _stack(networks: Sequence[SEResNet], recipe: Recipe) -> StackedNetworks:
    """The networks as one, after a first call with as many windows as any: memory and libraries are ready."""
    stacked = StackedNetworks(networks, recipe.signal.window)
    stacked(
        torch.zeros(BATCH, recipe.network.leads, recipe.signal.window), torch.zeros(BATCH, recipe.network.demographics)
    )
    return stacked


def _load_network(folder: Path, name: str, checksum: str, recipe: Recipe) -> SEResNet:
    path = folder / name
    if Path(name).name != name:
        raise ModelError(f"{folder / 'model.json'}: {name!r} is not a file name in the folder")
    try:
        content = path.read_bytes()
        if sha256(path) != checksum:
            raise ModelError(f"{path}: damaged, its checksum is not the one in model.json")
        network = SEResNet(recipe.network)
        network.load_state_dict(load(content))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: {error}") from None
    return network.eval()
