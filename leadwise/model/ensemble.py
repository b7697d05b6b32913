"""Load a model folder and predict with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.challenge.classes import CODES
from leadwise.decision.lead_sets import nearest_lead_set
from leadwise.decision.rules import Predictions, Rule, make_rule
from leadwise.ecg.acquisition import AcquisitionProfile, acquisition_match
from leadwise.ecg.preprocessing import prediction_windows
from leadwise.model.folder import (
    PRETRAINED,
    ModelError,
    load_network,
    metadata_checksum,
    model_folder,
    network_files,
    read_metadata,
)
from leadwise.network.cpu_inference import StackedNetworks
from leadwise.network.devices import CPU, Processor, set_matrix_precision, use_one_thread_after_fork
from leadwise.network.gpu_forward import ChannelsLastNetwork, channels_last_or_plain
from leadwise.network.se_resnet import SEResNet
from leadwise.network.transfers import send
from leadwise.recipes import Recipe, recipe_from_dict, validate_recipe
from leadwise.util.memory import return_freed_memory
from leadwise.util.processes import ProcessLock
from leadwise.util.progress import log

SITES = ("auto", "training", "unknown")  # whether recordings come from the training hospitals
BATCH = 4  # windows per pass of the stacked networks: more do not fit into the CPU's caches
PLAIN = 64  # windows per pass of a plain network


@dataclass(eq=False)
class CpuFallback:
    """The networks of a model on a GPU, kept on the CPU in case that the GPU fails."""

    networks: tuple[SEResNet, ...]
    model: Model | None = None  # on the CPU, once the GPU has failed

    def activate(self, failed: Model, error: RuntimeError) -> Model:
        """Return the model on the CPU; log the failure once."""
        if self.model is None:
            log.warning(
                "the GPU failed: %s; continuing on the CPU", (str(error).splitlines() or [type(error).__name__])[0]
            )
            stacked = stack(self.networks, failed.recipe, CPU)  # not when loading: few GPUs ever fail
            self.model = replace(
                failed, networks=self.networks, processor=CPU, stacked=stacked, cpu_fallback=None, channels_last=False
            )
        return self.model


@dataclass(frozen=True)
class ModelOrigin:
    """What is pickled of a model: enough to load it again."""

    folder: Path  # absolute
    checksum: str  # SHA-256 of model.json, which contains those of the networks
    processor: Processor
    site: str


@dataclass(frozen=True, eq=False)
class Model:
    """An ensemble of networks with its decision rule. Immutable: a copy is the model itself.

    Pickling passes on where it was loaded from. The other process loads it there, once, or raises ModelError.
    """

    recipe: Recipe
    networks: tuple[SEResNet, ...]  # of the folds, then the simulation-only network if the rule uses one
    rule: Rule
    prior: Predictions  # for one recording that cannot be used: training prevalence, best constant labels
    processor: Processor
    metadata: dict[str, Any]  # model.json
    profiles: tuple[AcquisitionProfile, ...]  # of the training recordings

    stacked: StackedNetworks | None = None  # the networks in one, if that is faster
    cpu_fallback: CpuFallback | None = None  # for a model on a GPU
    channels_last: bool = False  # compute with `ChannelsLastNetwork`, on a GPU
    site: str = "auto"  # of `SITES`; auto: by acquisition and content
    origin: ModelOrigin | None = field(default=None, init=False)  # None after `dataclasses.replace`

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is None:
            raise TypeError("cannot pickle a model that is not as it was loaded")
        return reload_model, (self.origin,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Return the thresholds (networks, 24); NaN if the rule has none."""
        return self.rule.thresholds

    def probabilities(
        self, signals: Sequence[NDArray[np.float32]], features: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return probabilities (networks, recordings, 24), means over test windows, from prepared signals (12, samples)
        and auxiliary features (recordings, 5 or 6). If a GPU fails, the CPU computes."""
        return self._compute(Model._probabilities, signals, features)

    def embed(self, signals: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the first network's features before the classifier (recordings, 512), means over test windows, from
        prepared signals (12, samples). If a GPU fails, the CPU computes."""
        return self._compute(Model._embed, signals)

    def _compute(self, function: Callable[..., NDArray[Any]], *inputs: Any) -> NDArray[Any]:
        use_one_thread_after_fork()
        if self.cpu_fallback is None or self.cpu_fallback.model is None:
            try:
                return function(self, *inputs)
            except RuntimeError as error:  # of a lost GPU or full GPU memory
                if self.cpu_fallback is None:  # on the CPU already
                    raise
                return self.cpu_fallback.activate(self, error)._compute(function, *inputs)
        return self.cpu_fallback.model._compute(function, *inputs)

    def _probabilities(
        self, signals: Sequence[NDArray[np.float32]], features: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        def compute(windows: Tensor, owners: Tensor) -> Tensor:
            return torch.sigmoid(self._logits(windows, torch.from_numpy(features)[owners]).float())

        return self._mean_over_windows(signals, compute, self.stacked is None)

    def _embed(self, signals: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        def compute(windows: Tensor, owners: Tensor) -> Tensor:
            with self.processor.autocast():
                return self.networks[0].features(windows.to(self.processor.device, non_blocking=True)).float()

        return self._mean_over_windows(signals, compute, padded=True).astype(np.float32)

    @torch.inference_mode()
    def _mean_over_windows(
        self, signals: Sequence[NDArray[np.float32]], compute: Callable[[Tensor, Tensor], Tensor], padded: bool
    ) -> NDArray[np.float64]:
        """Return weighted means (..., recordings, values) over the test windows of each recording. `compute` maps
        windows (n, 12, samples) and the indices of their recordings (n,) to (..., n, values)."""
        owners, starts, weights, lengths = self._windows(signals)
        # windows of one length together, or the padding of the shorter ones would be computed
        order = torch.sort(lengths, descending=True, stable=True).indices
        found: list[tuple[Tensor, Tensor]] = []
        for rows in torch.split(order, PLAIN if padded else BATCH):
            length = self.recipe.signal.window if padded else int(lengths[rows[0]])
            windows = self._cut(signals, owners[rows].tolist(), starts[rows].tolist(), length)
            found.append((rows, compute(windows, owners[rows])))
        *before, _, values = found[0][1].shape
        totals = torch.zeros(*before, len(signals), values, dtype=torch.float64, device="cpu")
        for rows, result in found:  # not in the loop above: a GPU computes while the host cuts windows
            # in doubles, so that the order of a recording's windows does not matter
            totals.index_add_(-2, owners[rows], result.double().cpu() * weights[rows].unsqueeze(1))
        total_weights = torch.bincount(owners, weights, minlength=len(signals)).unsqueeze(1)
        return (totals / total_weights).numpy()

    def predict(
        self,
        signals: Sequence[NDArray[np.float32]],
        features: NDArray[np.float32],
        acquisitions: NDArray[np.float32] | None = None,
    ) -> Predictions:
        """Return labels and scores; all recordings are in distribution without `acquisitions` (recordings, 3). A lead
        without signal is one that a recording does not have."""
        match = None
        if acquisitions is not None and self.site == "auto":
            match = acquisition_match(acquisitions, self.profiles)
        elif acquisitions is not None:
            match = np.full(len(acquisitions), np.inf if self.site == "training" else -np.inf)
        lead_sets = nearest_lead_set(np.array([signal.any(axis=1) for signal in signals]).reshape(-1, 12))
        return self.rule.decide(self.probabilities(signals, features), match, lead_sets)

    def _windows(self, signals: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return for each test window the index of its signal, its first sample, its weight in the mean, and its length
        without padding."""
        recipe = self.recipe.signal
        lengths = [signal.shape[1] for signal in signals]
        owners, starts, weights = torch.from_numpy(prediction_windows(lengths, recipe)).unbind(1)
        return owners, starts, weights, torch.from_numpy(np.minimum(lengths, recipe.window))[owners]

    def _cut(
        self, signals: Sequence[NDArray[np.float32]], owners: Sequence[int], starts: Sequence[int], length: int
    ) -> Tensor:
        """Return windows (windows, 12, length), zero-padded on the right."""
        window, shape = self.recipe.signal.window, (len(owners), 12, length)
        # page-locked for a GPU: copied without waiting
        pinned = self.processor.device.type == "cuda"
        windows = torch.zeros(shape, dtype=torch.float32, device="cpu", pin_memory=pinned)
        for row, owner, start in zip(windows.numpy(), owners, starts, strict=True):
            piece = signals[owner][:, start : start + window]
            row[:, : piece.shape[1]] = piece
        return windows

    def _logits(self, windows: Tensor, features: Tensor) -> Tensor:
        if self.stacked is not None:
            return self.stacked(windows, features)
        device = self.processor.device
        windows, features = windows.to(device, non_blocking=True), send(features, device)
        networks = map(ChannelsLastNetwork, self.networks) if self.channels_last else self.networks
        with self.processor.autocast():
            return torch.stack([network(windows, features) for network in networks])


def load_model(folder: str | Path, processor: Processor = CPU, site: str = "auto") -> Model:
    """Load a model folder, ready to predict on a CPU or GPU; `pretrained` is the model of the package.

    Raises ModelError, which names the wrong file, and ValueError for an unknown site.
    """
    if site not in SITES:
        raise ValueError(f"site: {site!r} is not one of {', '.join(SITES)}")
    use_one_thread_after_fork()
    folder = model_folder(folder)
    model = replace(_load(folder, processor), site=site)
    return_freed_memory()  # weights in double precision were folded: 200 MB
    object.__setattr__(model, "origin", ModelOrigin(folder.absolute(), metadata_checksum(folder), processor, site))
    return model


_reloading = ProcessLock()


def reload_model(origin: ModelOrigin) -> Model:
    """Load a model that another process has pickled; the last few are kept. Raises ModelError if its folder is not
    there, or has another model now, or if the model ran on a GPU and there is none."""
    with _reloading:  # threads of a worker that begin together
        return _reload(origin)


@lru_cache(maxsize=4)
def _reload(origin: ModelOrigin) -> Model:
    path, processor = origin.folder / "model.json", origin.processor
    if processor.device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"{path}: the pickled model ran on a GPU, here is none; load it with device cpu before pickling"
        )
    # the package may be installed elsewhere in the other process
    found = [folder for folder in (origin.folder, PRETRAINED) if (folder / "model.json").exists()]
    same = [folder for folder in found if metadata_checksum(folder) == origin.checksum]
    if not same:
        there = path.exists()
        reason = (
            "has changed since the model was pickled" if there else "no such file: a pickled model needs its folder"
        )
        raise ModelError(f"{path}: {reason}")
    if processor.threads is not None:
        torch.set_num_threads(min(processor.threads, torch.get_num_threads()))  # a pool of workers may allow fewer
    set_matrix_precision(processor)
    return load_model(same[0], processor, origin.site)


def _load(folder: Path, processor: Processor) -> Model:
    metadata = read_metadata(folder)
    path = folder / "model.json"
    try:
        recipe = recipe_from_dict(metadata["recipe"])
        validate_recipe(recipe)
        rule = make_rule(recipe.decision, metadata["folds"], metadata.get("simulation_network"))
        profiles = tuple(map(AcquisitionProfile.from_dict, metadata["acquisition_profiles"]))
        prior = Predictions(
            np.array([metadata["prior"]["labels"]], np.bool_), np.array([metadata["prior"]["scores"]], np.float64)
        )
        files = network_files(metadata)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ModelError(f"{path}: {type(error).__name__} {error}") from None
    if prior.scores.shape != (1, len(CODES)) or prior.labels.shape != (1, len(CODES)):
        raise ModelError(f"{path}: needs {len(CODES)} prior scores and labels")
    if not ((prior.scores >= 0) & (prior.scores <= 1)).all():
        raise ModelError(f"{path}: a prior score is not in [0, 1]")
    # last, since it takes time and memory
    networks = tuple(load_network(folder, name, checksum, recipe) for name, checksum in files.items())
    model = Model(recipe, networks, rule, prior, processor, metadata, profiles)
    if processor.device.type == "cpu":
        return replace(model, stacked=stack(networks, recipe, processor))
    on_device = tuple(copy.deepcopy(network).to(processor.device) for network in networks)
    fast = channels_last_or_plain(on_device[0], processor, recipe.signal.window) is not on_device[0]
    return replace(model, networks=on_device, cpu_fallback=CpuFallback(networks), channels_last=fast)


def stack(networks: Sequence[SEResNet], recipe: Recipe, processor: Processor) -> StackedNetworks | None:
    """Stack the networks and warm them up with a full batch; return None if that is impossible or not faster."""
    if not StackedNetworks.supports(recipe.network, processor.device, processor.dtype):
        return None
    stacked = StackedNetworks(networks, recipe.signal.window, processor.dtype)
    shape = recipe.network
    signals = torch.zeros(BATCH, shape.leads, recipe.signal.window, dtype=torch.float32, device="cpu")
    stacked(signals, signals.new_zeros(BATCH, shape.demographics))
    return stacked
