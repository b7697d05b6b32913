"""Read the networks of a finished model as initial weights of another training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from leadwise.model.ensemble import load_model
from leadwise.model.folder import SEEN, ModelError, model_folder, network_files
from leadwise.recipes import Recipe


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """Network states to start from, and the recordings that were used to train or validate them."""

    states: tuple[dict[str, Tensor], ...]
    seen: frozenset[str]  # names
    checksum: str  # of the networks: a resumed run must have started from the same ones
    simulation_network: tuple[dict[str, Tensor], dict[str, Any]] | None = None  # state, entry in model.json

    def state(self, fold: int) -> dict[str, Tensor]:
        """Return the initial state for a fold; the networks take turns."""
        return self.states[fold % len(self.states)]


def read_initial_weights(folder: str | Path, recipe: Recipe) -> InitialWeights:
    """Read initial weights from a model folder. Raises ModelError, also for other signals or networks."""
    folder = model_folder(folder)
    model = load_model(folder)
    if model.recipe.network != recipe.network or model.recipe.signal != recipe.signal:
        raise ModelError(f"{folder}: recipe {model.recipe.name} has other signals or networks than {recipe.name}")
    try:
        names = (folder / SEEN).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / SEEN}: {getattr(error, 'strerror', None) or error}") from None
    states, folds = [network.state_dict() for network in model.networks], len(model.metadata["folds"])
    checksum = " ".join(network_files(model.metadata).values())
    simulated = model.metadata.get("simulation_network")
    simulation_network = (states[-1], simulated) if simulated else None
    return InitialWeights(tuple(states[:folds]), frozenset(filter(None, names)), checksum, simulation_network)
