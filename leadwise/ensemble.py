"""A model folder: save it, load it, predict with it. Knows no data folders and no training.

`model.json` says everything that a person may want to know, `fold0.safetensors`, `fold1.safetensors`, ... are the plain
fp32 states of the networks and nothing else, `textbook.safetensors` that of one which only simulated ECGs have taught,
where there is one. Nothing in a model folder is ever executed.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from leadwise.classes import CODES
from leadwise.decision import Answer, Rule, make_rule
from leadwise.devices import CPU, Processor
from leadwise.familiarity import Way, foreign
from leadwise.files import flush_folder, sha256, whole_file, write_json, write_text
from leadwise.inference import StackedNetworks
from leadwise.network import SEResNet
from leadwise.progress import log
from leadwise.recipes import NetworkRecipe, Recipe, SignalRecipe, recipe_from_dict
from leadwise.signals import window_starts

FORMAT = "leadwise model"
VERSION = 2
TEXTBOOK = "textbook.safetensors"
SEEN = "seen.txt"  # names of the recordings that the networks have seen, in training or validation
BATCH = 4  # windows that go through the stacked networks at once: more fall out of the cores' caches
PLAIN = 64  # windows that go through a plain network at once

# What a model folder may say: far more than any model has, and little enough for any machine.
MOST = 1 << 17  # a number of a recipe: windows of eight minutes at 257 Hz
MOST_BYTES = 1 << 32  # of a network
MOST_JSON = 1 << 26  # bytes of model.json


class ModelError(Exception):
    """This folder is no model; says which file is wrong and why."""


@dataclass(eq=False)
class Spare:
    """The networks of a model on a GPU once more, on the CPU: a GPU that fails takes its copy with it."""

    networks: tuple[SEResNet, ...]
    model: Model | None = None  # that goes on, once the GPU has failed

    def take_over(self, failed: Model, error: RuntimeError) -> Model:
        """The model to go on with; says so, once."""
        if self.model is None:
            log.warning("the GPU failed: %s; the CPU goes on", (str(error).splitlines() or [type(error).__name__])[0])
            stacked = stack(self.networks, failed.recipe, CPU)  # now, not at load: few GPUs ever fail
            self.model = replace(failed, networks=self.networks, processor=CPU, stacked=stacked, spare=None)
        return self.model


@dataclass(frozen=True, eq=False)
class Model:
    """Networks, the rule by which they answer, and the answer for a recording that says nothing."""

    recipe: Recipe
    networks: tuple[SEResNet, ...]  # the folds' and, where the rule hears one, the textbook's as the last
    rule: Rule
    prior: Answer  # one recording: the training recordings' class frequencies, the best constant labels
    processor: Processor
    facts: dict[str, Any]  # model.json
    ways: tuple[Way, ...]  # in which the training recordings were acquired

    stacked: StackedNetworks | None = None  # the networks as one, where that is faster
    spare: Spare | None = None  # for a model on a GPU

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds (networks, 24); NaN where the rule has none."""
        return self.rule.thresholds

    def probabilities(
        self, signals: Sequence[NDArray[np.float32]], demographics: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Probabilities (networks, recordings, 24) of prepared signals, (12, samples) each, and demographics
        (recordings, 5): the mean over the test windows of each recording. From the CPU where the GPU has failed, or
        fails now: then the same recordings are computed again."""
        if self.spare is None or self.spare.model is None:
            try:
                return self._probabilities(signals, demographics)
            except RuntimeError as error:  # what PyTorch raises when a GPU is lost, or its memory is full
                if self.spare is None:  # on a CPU there is nothing to fall back to
                    raise
                return self.spare.take_over(self, error).probabilities(signals, demographics)
        return self.spare.model.probabilities(signals, demographics)

    @torch.inference_mode()
    def _probabilities(
        self, signals: Sequence[NDArray[np.float32]], demographics: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        owners, starts, lengths = self._windows(signals)
        people = torch.from_numpy(demographics)[owners]
        totals = torch.zeros(len(self.networks), len(signals), len(CODES), dtype=torch.float64)
        # windows of one length together: the padding of the shorter ones would have to be computed
        order = torch.sort(lengths, descending=True, stable=True).indices
        for rows in torch.split(order, BATCH if self.stacked else PLAIN):
            windows = self._cut(signals, owners[rows].tolist(), starts[rows].tolist(), int(lengths[rows[0]]))
            probabilities = torch.sigmoid(self._logits(windows, people[rows]).float())
            # windows of one recording may come in several batches, in any order: a sum in doubles is the same
            totals.index_add_(1, owners[rows], probabilities.double().cpu())
        count = torch.bincount(owners, minlength=len(signals)).view(1, -1, 1)
        return (totals / count).numpy()

    def predict(
        self,
        signals: Sequence[NDArray[np.float32]],
        demographics: NDArray[np.float32],
        acquisitions: NDArray[np.float32] | None = None,
    ) -> Answer:
        """Labels and scores by the model's rule; `acquisitions` (recordings, 3) tell which recordings are foreign, none
        where they are not given."""
        strange = None if acquisitions is None else foreign(acquisitions, self.ways)
        return self.rule.answer(self.probabilities(signals, demographics), strange)

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


def load_model(folder: str | Path, processor: Processor = CPU) -> Model:
    """A model folder, ready to predict on a CPU or GPU. Raises ModelError naming the file that is wrong."""
    folder = Path(folder)
    facts = read_facts(folder)
    path = folder / "model.json"
    try:
        recipe = recipe_from_dict(facts["recipe"])
        check_numbers(recipe)
        rule = make_rule(recipe.decision, facts["folds"], facts.get("textbook"))
        ways = tuple(map(Way.from_dict, facts["acquisitions"]))
        prior = Answer(np.array([facts["prior"]["labels"]], np.bool_), np.array([facts["prior"]["scores"]], np.float64))
        files = networks_of(facts)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ModelError(f"{path}: {type(error).__name__} {error}") from None
    if prior.scores.shape != (1, len(CODES)) or prior.labels.shape != (1, len(CODES)):
        raise ModelError(f"{path}: needs {len(CODES)} prior scores and labels")
    if not ((prior.scores >= 0) & (prior.scores <= 1)).all():
        raise ModelError(f"{path}: a prior score is not in [0, 1]")
    # last, since it is what takes time and memory: all that is said has been checked by now
    networks = tuple(_load_network(folder, name, checksum, recipe) for name, checksum in files.items())
    if processor.device.type != "cpu":
        # the originals stay on the host, for the day on which the GPU fails
        there = tuple(copy.deepcopy(network).to(processor.device) for network in networks)
        return Model(recipe, there, rule, prior, processor, facts, ways, spare=Spare(networks))
    return Model(recipe, networks, rule, prior, processor, facts, ways, stack(networks, recipe, processor))


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a training may begin with: the networks of a finished model, and the recordings that they have seen."""

    states: tuple[dict[str, Tensor], ...]
    seen: frozenset[str]  # names
    checksum: str  # of the networks, so that a run that is carried on has begun with the same
    textbook: tuple[dict[str, Tensor], dict[str, Any]] | None = None  # its network's state, and what model.json says

    def state(self, fold: int) -> dict[str, Tensor]:
        """The network that fold number `fold` begins with; they take turns."""
        return self.states[fold % len(self.states)]


def save_seen(folder: Path, names: Iterable[str]) -> None:
    """Writes which recordings the networks of a model have seen, a line each, in order."""
    write_text(folder / SEEN, "".join(f"{name}\n" for name in sorted(set(names))))


def read_beginning(folder: str | Path, recipe: Recipe) -> Beginning:
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
    states, folds = [network.state_dict() for network in model.networks], len(model.facts["folds"])
    checksum = " ".join(networks_of(model.facts).values())
    textbook = (states[-1], model.facts["textbook"]) if model.facts.get("textbook") else None
    return Beginning(tuple(states[:folds]), frozenset(filter(None, names)), checksum, textbook)


def check_numbers(recipe: Recipe) -> None:
    """Raises ValueError where a recipe has a value of another type than usual, or one that no recording fits: a file
    decides neither how much memory is taken nor what runs."""
    for part in (recipe.signal, recipe.network, recipe.decision):
        for name, hint in get_type_hints(type(part)).items():
            if get_origin(hint) is Literal and getattr(part, name) not in get_args(hint):
                raise ValueError(f"{name} {getattr(part, name)!r} is none of {', '.join(get_args(hint))}")
        for field in dataclasses.fields(part):
            if field.default is not None:  # a band has its own check
                _check_value(field.name, getattr(part, field.name), field.default)
    signal, network, usual = recipe.signal, recipe.network, NetworkRecipe()
    if not signal.overlap < signal.window or signal.sampling_frequency == 0:
        raise ValueError(f"window {signal.window}, overlap {signal.overlap}, at {signal.sampling_frequency} Hz")
    check_band(signal)
    numbers = usual.demographics + (signal.scale != "none")
    if (network.leads, network.demographics, network.classes) != (usual.leads, numbers, usual.classes):
        raise ValueError(f"not {usual.leads} leads, {numbers} numbers beside the signal, {usual.classes} classes")
    if not 0 < network.reduction <= min(network.block_channels) or network.stem_channels == 0:
        raise ValueError(f"channels {network.stem_channels}, {network.block_channels}, reduction {network.reduction}")
    if not network.kernel % 2 == network.stem_kernel % 2 == 1:
        raise ValueError(f"kernels {network.stem_kernel} and {network.kernel}")


def _check_value(name: str, value: Any, usual: Any) -> None:
    """Raises ValueError where a value is not of the usual one's type, or a number beyond what is believed."""
    if isinstance(usual, tuple) and isinstance(value, tuple) and value:
        for item in value:
            _check_value(name, item, usual[0])
    elif type(value) is not type(usual) and (type(value), type(usual)) != (int, float):
        raise ValueError(f"{name} {value!r}")
    elif value == () or (isinstance(value, int | float) and not 0 <= value <= MOST):
        raise ValueError(f"{name} {value!r} is not within 0 to {MOST}")


def check_band(signal: SignalRecipe) -> None:
    """Raises ValueError where a recipe's band is none."""
    if signal.band is None:
        return
    if not all(type(edge) in (int, float) for edge in signal.band) or len(signal.band) != 2:
        raise ValueError(f"band {signal.band!r}")
    low, high = signal.band
    if not 0 < low < high < signal.sampling_frequency / 2:
        raise ValueError(f"band {low} to {high} Hz at {signal.sampling_frequency} Hz")


def stack(networks: Sequence[SEResNet], recipe: Recipe, processor: Processor) -> StackedNetworks | None:
    """The networks as one, after a first call with as many windows as any: memory and libraries are ready. None where
    that is not possible, or would not be faster."""
    if not StackedNetworks.can(recipe.network, processor.device, processor.dtype):
        return None
    stacked = StackedNetworks(networks, recipe.signal.window, processor.dtype)
    stacked(
        torch.zeros(BATCH, recipe.network.leads, recipe.signal.window), torch.zeros(BATCH, recipe.network.demographics)
    )
    return stacked


def _load_network(folder: Path, name: str, checksum: str, recipe: Recipe) -> SEResNet:
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
