"""Save and read a model folder.

`model.json` describes the model. `fold0.safetensors`, `fold1.safetensors`, ... hold the states of the networks,
`simulation_network.safetensors` that of the simulation-only network. Nothing in a model folder is ever executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from leadwise.challenge.classes import CODES
from leadwise.decision.rules import Predictions
from leadwise.ecg.acquisition import AcquisitionProfile
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import NetworkRecipe, Recipe
from leadwise.util.errors import LeadwiseError
from leadwise.util.files import atomic_write, flush_folder, sha256, write_json, write_text

FORMAT = "leadwise model"
VERSION = 3
READ_VERSIONS = (2, 3)
SIMULATION_NETWORK = "simulation_network.safetensors"
WEIGHTS = ("fold*.safetensors", SIMULATION_NETWORK, "textbook.safetensors")  # the last one in version 2
SEEN = "seen.txt"  # names of the recordings that trained or validated the networks
MAX_NETWORK_BYTES = 1 << 32
MAX_JSON_BYTES = 1 << 26  # of model.json
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"  # the model of the package


class ModelError(LeadwiseError):
    """Raised for a folder that is not a usable model; names the file and the reason."""


def model_folder(name: str | Path) -> Path:
    """Return the folder of a model: of the package's own for the name `pretrained`, unless it is one here. A checkout
    without symbolic links, as on Windows, has a text file of that name."""
    folder = Path(name)
    is_name = folder == Path(PRETRAINED.name) and not (folder / "model.json").exists()
    return PRETRAINED if is_name and (PRETRAINED / "model.json").exists() else folder


def fold_file(fold: int) -> str:
    """Return the file name of a fold's weights."""
    return f"fold{fold}.safetensors"


def save_network(folder: Path, name: str, state: dict[str, Tensor], half: bool = False) -> str:
    """Write the state of a network as pending weights of the file `name`; return the SHA-256 of the file."""
    # half: the weights of convolutions and linear layers as fp16; the variance of a norm over ADC counts would overflow
    stored = {name: value.half() if half and value.dim() > 1 else value for name, value in state.items()}
    with atomic_write(pending_path(folder / name)) as handle:
        handle.write(save({name: value.contiguous() for name, value in stored.items()}))
    return sha256(pending_path(folder / name))


def pending_path(path: Path) -> Path:
    """Return the name of new weights until model.json describes them."""
    # two files cannot be renamed at once: a killed run leaves either the former model and new weights beside it, or the
    # new model.json, whose weights are found under this name by their checksum
    return path.with_name(f"{path.name}.new")


@dataclass(frozen=True, eq=False)
class ModelMetadata:
    """The content of model.json."""

    recipe: Recipe
    prior: Predictions  # for a recording that cannot be used
    folds: Sequence[dict[str, Any]]  # each with `file`, `sha256` and the arguments of the decision rule (`make_rule`)
    training: dict[str, Any]
    acquisition_profiles: Sequence[AcquisitionProfile] = ()
    simulation_network: dict[str, Any] | None = None  # like a fold

    def as_dict(self) -> dict[str, Any]:
        """Return the content of model.json."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "classes": list(CODES),
            "recipe": self.recipe.as_dict(),
            "prior": {"scores": self.prior.scores[0].tolist(), "labels": self.prior.labels[0].astype(int).tolist()},
            "acquisition_profiles": [dataclasses.asdict(profile) for profile in self.acquisition_profiles],
            "folds": list(self.folds),
            "simulation_network": self.simulation_network,
            "training": self.training,
        }


def save_metadata(folder: Path, model: ModelMetadata) -> None:
    """Write model.json, rename the pending networks that it describes and remove those of an earlier model."""
    metadata = model.as_dict()
    try:
        write_json(folder / "model.json", metadata)
    finally:
        commit_pending(folder)  # also if the disk is full: deletes weights that nothing describes
    described = {folder / name for name in network_files(metadata)}
    for pattern in WEIGHTS:
        for path in set(folder.glob(pattern)) - described:
            path.unlink()


def network_files(metadata: dict[str, Any]) -> dict[str, str]:
    """Return the weight files of model.json, in order, with checksums. Raises KeyError, TypeError or ValueError."""
    described = [*metadata["folds"], *([metadata["simulation_network"]] if metadata.get("simulation_network") else [])]
    files = {str(each["file"]): str(each["sha256"]) for each in described}
    if len(files) < len(described):
        raise ValueError("two networks name the same file")
    return files


def commit_pending(folder: Path) -> None:
    """Rename the pending weight files that model.json describes and delete the others.

    Called after model.json is written, and at start-up to complete an interrupted save.
    """
    pending = [path for name in WEIGHTS for path in folder.glob(pending_path(Path(name)).name)]
    if not pending:
        return
    try:
        described = network_files(read_metadata(folder))
    except (ModelError, KeyError, TypeError, ValueError):
        described = {}
    for path in pending:
        name = path.with_suffix("")  # without .new
        if described.get(name.name) == sha256(path):
            path.replace(name)
        else:
            path.unlink()
    flush_folder(folder)


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """Read model.json. Raises ModelError if it is missing, damaged, or of another format or version."""
    path = Path(folder) / "model.json"
    content = _metadata_bytes(path)
    try:
        metadata: dict[str, Any] = json.loads(content.decode())
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: not JSON") from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ModelError(f"{path}: not a description of a Leadwise model")
    if metadata.get("version") not in READ_VERSIONS:
        raise ModelError(f"{path}: format version {metadata.get('version')}, this program reads {READ_VERSIONS}")
    if metadata["version"] == 2:
        # not in `training`, whose keys are also names of sources, reasons and repairs
        metadata = upgraded(metadata) | {"version": VERSION, "training": metadata.get("training")}
    if metadata.get("classes") != list(CODES):
        raise ModelError(f"{path}: its classes are not the Challenge's 24, in their order")
    for name, kind in (("recipe", dict), ("prior", dict), ("folds", list), ("training", dict)):
        if not isinstance(metadata.get(name), kind):
            raise ModelError(f"{path}: KeyError '{name}'")
    return metadata


def metadata_checksum(folder: Path) -> str:
    """Return the SHA-256 of model.json, which contains those of the networks. Raises ModelError."""
    return hashlib.sha256(_metadata_bytes(folder / "model.json")).hexdigest()


def _metadata_bytes(path: Path) -> bytes:
    try:
        return _read(path, MAX_JSON_BYTES)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None


# Keys of version 2 and their names in version 3.
RENAMED_KEYS = {
    **{"textbook": "simulation_network", "share": "weight", "learned": "target_prevalence"},
    **{"labelled": "label_prevalence", "acquisitions": "acquisition_profiles", "setbacks": "rollbacks"},
    **{"share_of_matrix_rate": "mfu", "average": "ema_decay", "stand_ins": "proxy_labels"},
    **{"anonymous": "hidden_demographics", "general": "prevalence_shift", "half": "fixed_threshold"},
    **{"common": "common_threshold", "full": "class_thresholds", "reward": "expected_reward"},
}


def upgraded(metadata: Any) -> Any:
    """Return metadata of format version 2 with the keys of version 3."""
    if isinstance(metadata, list):
        return [upgraded(value) for value in metadata]
    if not isinstance(metadata, dict):
        return metadata
    return {RENAMED_KEYS.get(key, key): upgraded(value) for key, value in metadata.items()}


def save_seen(folder: Path, names: Iterable[str]) -> None:
    """Write the names of the recordings that trained or validated the networks, one per line, sorted."""
    write_text(folder / SEEN, "".join(f"{name}\n" for name in sorted(set(names))))


def load_network(folder: Path, name: str, checksum: str, recipe: Recipe) -> SEResNet:
    """Load one network of a model folder. Raises ModelError."""
    path = folder / name
    if Path(name).name != name or "\0" in name:
        raise ModelError(f"{folder / 'model.json'}: {name!r} is not a file name in the folder")
    try:
        content = _weights(path, checksum)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    try:
        return _network(load(content), recipe.network)
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(f"{path}: {error}") from None


def _network(state: dict[str, Tensor], recipe: NetworkRecipe) -> SEResNet:
    """Return the network of a recipe with these weights, without allocating more than the weights take."""
    if len(recipe.block_channels) > len(state):
        raise ValueError(f"{len(recipe.block_channels)} blocks, {len(state)} tensors")
    network = SEResNet(recipe, "meta")  # takes no memory
    expected = network.state_dict()
    state = {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}
    for name in state.keys() & expected.keys():
        found, usual = ((tuple(tensor.shape), tensor.dtype) for tensor in (state[name], expected[name]))
        if found != usual:
            raise ValueError(f"size mismatch for {name}: {found} in the file, {usual} by model.json")
    network.load_state_dict(state, assign=True)  # raises RuntimeError for missing or unknown names
    return network.eval()


def _weights(path: Path, checksum: str) -> bytes:
    """Read the weights that model.json describes, pending or not. Raises OSError, or ModelError if they differ."""
    for each in (pending_path(path), path):
        if each == path or each.exists():
            content = _read(each, MAX_NETWORK_BYTES)
            if hashlib.sha256(content).hexdigest() == checksum:
                return content
    raise ModelError(f"{path}: damaged, its checksum is not the one in model.json")


def _read(path: Path, limit: int) -> bytes:
    """Read a regular file: a pipe or a device may have no end. Raises OSError, ModelError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path}: is no regular file")
    if status.st_size > limit:
        raise ModelError(f"{path}: has {status.st_size} bytes; at most {limit} are read")
    return path.read_bytes()
