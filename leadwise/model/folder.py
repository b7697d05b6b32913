"""A model folder: save it, load it, predict with it. Knows no data folders and no training.

`model.json` says everything that a person may want to know, `fold0.safetensors`, `fold1.safetensors`, ... are the plain
fp32 states of the networks and nothing else, `textbook.safetensors` that of one which only simulated ECGs have taught,
where there is one. Nothing in a model folder is ever executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from leadwise.challenge.classes import CODES
from leadwise.decision.rules import Answer
from leadwise.ecg.acquisition import Way
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import NetworkRecipe, Recipe
from leadwise.util.files import flush_folder, sha256, whole_file, write_json, write_text

FORMAT = "leadwise model"


VERSION = 2


TEXTBOOK = "textbook.safetensors"


SEEN = "seen.txt"  # names of the recordings that the networks have seen, in training or validation


MOST_BYTES = 1 << 32  # of a network


MOST_JSON = 1 << 26  # bytes of model.json


class ModelError(Exception):
    """This folder is no model; says which file is wrong and why."""


def fold_file(fold: int | str) -> str:
    """The name of a fold's weights in a model folder."""
    return f"fold{fold}.safetensors"


def save_network(folder: Path, name: str, state: dict[str, Tensor], half: bool = False) -> str:
    """Writes one network's state to the file `name` (`fold_file`, `TEXTBOOK`), under another name that no model.json
    uses until `save_facts` describes it; returns the file's SHA-256.

    With `half`, weights of convolutions and linear layers are stored in half precision (fp16); norms and their
    statistics, which may be large and are few, stay in fp32. Loading makes fp32 of all.
    """
    path = _arriving(folder / name)
    # half of the size for a loss in the eleventh bit; a variance of ADC counts would overflow, so norms stay
    stored = {name: value.half() if half and value.dim() > 1 else value for name, value in state.items()}
    with whole_file(path) as handle:
        handle.write(save({name: value.contiguous() for name, value in stored.items()}))
    return sha256(path)


def _arriving(path: Path) -> Path:
    """The name of new weights until model.json describes them.

    Two files cannot be renamed at once: what a run that is killed between them leaves is either the former model with
    new weights beside it, or the new model.json, whose weights are found by their checksum under this name.
    """
    return path.with_name(f"{path.name}.new")


def save_facts(
    folder: Path,
    recipe: Recipe,
    prior: Answer,
    folds: Sequence[dict[str, Any]],
    training: dict[str, Any],
    ways: Sequence[Way] = (),
    textbook: dict[str, Any] | None = None,
) -> None:
    """Writes model.json, gives the networks that it describes their names and removes those of an earlier model.

    Each of `folds`, and `textbook`, has at least `file`, `sha256` and what the recipe's rule asks for, see
    `decision.make_rule`.
    """
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "classes": list(CODES),
        "recipe": recipe.as_dict(),
        "prior": {"scores": prior.scores[0].tolist(), "labels": prior.labels[0].astype(int).tolist()},
        "acquisitions": [dataclasses.asdict(way) for way in ways],
        "folds": list(folds),
        "textbook": textbook,
        "training": training,
    }
    try:
        write_json(folder / "model.json", facts)
    finally:
        tidy(folder)  # also where the disk was full: weights that nothing describes go
    for path in {*folder.glob(fold_file("*")), *folder.glob(TEXTBOOK)} - {folder / name for name in networks_of(facts)}:
        path.unlink()


def networks_of(facts: dict[str, Any]) -> dict[str, str]:
    """The files of networks that model.json describes, in their order, with their checksums. Raises KeyError or
    TypeError where it does not, ValueError where a file is named twice."""
    described = [*facts["folds"], *([facts["textbook"]] if facts.get("textbook") else [])]
    files = {str(each["file"]): str(each["sha256"]) for each in described}
    if len(files) < len(described):
        raise ValueError("two networks name the same file")
    return files


def tidy(folder: Path) -> None:
    """Gives new weights that model.json describes their name, and removes others: what `save_facts` does at its end,
    and the next run where that one was killed before."""
    arrived = [path for name in (fold_file("*"), TEXTBOOK) for path in folder.glob(_arriving(Path(name)).name)]
    if not arrived:
        return
    try:
        described = networks_of(read_facts(folder))
    except (ModelError, KeyError, TypeError, ValueError):
        described = {}
    for path in arrived:
        name = path.with_suffix("")  # without .new
        if described.get(name.name) == sha256(path):
            path.replace(name)
        else:
            path.unlink()
    flush_folder(folder)


def read_facts(folder: str | Path) -> dict[str, Any]:
    """model.json of a model folder. Raises ModelError where it is missing, damaged or of another format or version."""
    path = Path(folder) / "model.json"
    try:
        facts = json.loads(_read(path, MOST_JSON).decode())
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: not JSON") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ModelError(f"{path}: not a description of a Leadwise model")
    if facts.get("version") != VERSION:
        raise ModelError(f"{path}: format version {facts.get('version')}, this program reads version {VERSION}")
    if facts.get("classes") != list(CODES):
        raise ModelError(f"{path}: its classes are not the Challenge's 24, in their order")
    for name, kind in (("recipe", dict), ("prior", dict), ("folds", list), ("training", dict)):
        if not isinstance(facts.get(name), kind):
            raise ModelError(f"{path}: KeyError '{name}'")
    return facts


def save_seen(folder: Path, names: Iterable[str]) -> None:
    """Writes which recordings the networks of a model have seen, a line each, in order."""
    write_text(folder / SEEN, "".join(f"{name}\n" for name in sorted(set(names))))


def load_network(folder: Path, name: str, checksum: str, recipe: Recipe) -> SEResNet:
    """Load one network of a model folder. Raises ModelError."""
    path = folder / name
    if Path(name).name != name or "\0" in name:
        raise ModelError(f"{folder / 'model.json'}: {name!r} is not a file name in the folder")
    try:
        return _network(load(_weights(path, checksum)), recipe.network)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(f"{path}: {error}") from None


def _network(state: dict[str, Tensor], recipe: NetworkRecipe) -> SEResNet:
    """The network of a recipe with the weights of a file, whose bytes are the only measure of what is allocated."""
    if len(recipe.block_channels) > len(state):
        raise ValueError(f"{len(recipe.block_channels)} blocks, {len(state)} tensors")
    with torch.device("meta"):  # takes no memory
        network = SEResNet(recipe)
    wanted = network.state_dict()
    state = {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}
    for name, value in state.items():
        if name in wanted and (value.shape, value.dtype) != (wanted[name].shape, wanted[name].dtype):
            found, usual = ((tuple(tensor.shape), tensor.dtype) for tensor in (value, wanted[name]))
            raise ValueError(f"size mismatch for {name}: {found} in the file, {usual} by model.json")
    network.load_state_dict(state, assign=True)  # raises RuntimeError where names are missing or unknown
    return network.eval()


def _weights(path: Path, checksum: str) -> bytes:
    """The bytes of the weights that model.json describes. Raises OSError, or ModelError where they are not those."""
    for each in (_arriving(path), path):
        if each == path or each.exists():
            content = _read(each, MOST_BYTES)
            if hashlib.sha256(content).hexdigest() == checksum:
                return content
    raise ModelError(f"{path}: damaged, its checksum is not the one in model.json")


def _read(path: Path, limit: int) -> bytes:
    """A regular file's bytes: of a pipe or a device there would be no end. Raises OSError, ModelError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path}: is no regular file")
    if status.st_size > limit:
        raise ModelError(f"{path}: has {status.st_size} bytes; at most {limit} are read")
    return path.read_bytes()
