"""A model folder: save it, load it, predict with it. Knows no data folders and no training.

`model.json` says everything that a person may want to know, `fold0.safetensors`, `fold1.safetensors`, ... are the plain
fp32 states of the networks and nothing else, `textbook.safetensors` that of one which only simulated ECGs have taught,
where there is one. Nothing in a model folder is ever executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from leadwise.model.ensemble import load_model
from leadwise.model.folder import SEEN, ModelError, network_files
from leadwise.recipes import Recipe


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """What a training may begin with: the networks of a finished model, and the recordings that they have seen."""

    states: tuple[dict[str, Tensor], ...]
    seen: frozenset[str]  # names
    checksum: str  # of the networks, so that a run that is carried on has begun with the same
    simulation_network: tuple[dict[str, Tensor], dict[str, Any]] | None = (
        None  # its network's state, and what model.json says
    )

    def state(self, fold: int) -> dict[str, Tensor]:
        """The network that fold number `fold` begins with; they take turns."""
        return self.states[fold % len(self.states)]


def read_initial_weights(folder: str | Path, recipe: Recipe) -> InitialWeights:
    """The networks of a model folder, to begin another training with. Raises ModelError as `load_model` does, and where
    they are of another shape than the recipe's, or the folder does not say what they have seen."""
    folder = Path(folder)
    model = load_model(folder)
    if model.recipe.network != recipe.network or model.recipe.signal != recipe.signal:
        raise ModelError(f"{folder}: recipe {model.recipe.name} has other signals or networks than {recipe.name}")
    try:
        names = (folder / SEEN).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / SEEN}: {getattr(error, 'strerror', None) or error}") from None
    states, folds = [network.state_dict() for network in model.networks], len(model.metadata["folds"])
    checksum = " ".join(network_files(model.metadata).values())
    simulation_network = (
        (states[-1], model.metadata["simulation_network"]) if model.metadata.get("simulation_network") else None
    )
    return InitialWeights(tuple(states[:folds]), frozenset(filter(None, names)), checksum, simulation_network)
