"""Every number of a method, frozen: a recipe is data, never code.

A recipe says how signals are prepared (`SignalRecipe`), what the network looks like (`NetworkRecipe`), how it is
trained (`TrainingRecipe`, `AugmentationRecipe`) and how probabilities become labels (`DecisionRecipe`). The defaults
are the published method; `RECIPES` names the complete ones. `paper` is Zhao et al. 2020 (doi 10.22489/CinC.2020.112),
with the authors' released program deciding where the paper is silent; `robust` is what holds better in a hospital that
was not trained on (docs/results.md has each step's worth). This file knows no arrays, files or tensors.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class SignalRecipe:
    """How a recording becomes the network's input."""

    sampling_frequency: int = 257  # Hz; the lowest of the Challenge's sources (INCART)
    unit: Literal["counts", "mV"] = "counts"  # counts: ADC values as the file has them, no gain
    resampling: Literal["linear", "polyphase"] = "linear"
    band: tuple[float, float] | None = None  # Hz that a filter of zero phase passes after resampling; None: all
    scale: Literal["none", "rms"] = "none"  # rms: divided by its root mean square, whose logarithm is one input more
    window: int = 4096  # samples at sampling_frequency: 15.9 s
    overlap: int = 256  # samples that neighbouring test windows share at least


@dataclass(frozen=True)
class NetworkRecipe:
    """The shape of the SE-ResNet (paper, section 2.2 and figure 1)."""

    leads: int = 12
    stem_channels: int = 64
    stem_kernel: int = 15
    block_channels: tuple[int, ...] = (64, 64, 128, 128, 256, 256, 512, 512)  # a change of width comes with stride 2
    kernel: int = 7
    reduction: int = 16  # squeeze-and-excitation bottleneck: channels / reduction
    dropout: float = 0.2
    demographics: int = 5  # age / 100, age mask (always 0), female, male, sex known; 6 with a signal's scale
    demographic_features: int = 10
    classes: int = 24


@dataclass(frozen=True)
class TrainingRecipe:
    """How one fold's network is fitted."""

    folds: int = 5
    networks: int | None = None  # how many of the folds are trained, each to be validated on its part; None: all
    epochs: int = 50
    batch_size: int = 64
    optimiser: Literal["adam", "adamw"] = "adam"
    schedule: Literal["steps", "cosine"] = "steps"
    learning_rate: float = 0.003  # the highest
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-5  # adam: L2 added to the gradient; adamw: of the weights themselves
    decay_after: tuple[float, ...] = (0.4, 0.8)  # after these shares of the epochs (20 and 40 of 50) ...
    decay_factor: float = 0.1  # ... the rate is multiplied by this (schedule steps)
    warm_up: float = 0.1  # share of the epochs in which the rate rises from 0 (schedule cosine)
    ema_decay: float = 0.0  # of weights: how much of the average stays at each step; 0: the weights themselves
    keep: Literal["best", "last"] = "best"  # the weights of the epoch with the best validation score, or the last ones
    simulated: int = 0  # ECGs simulated for the networks to begin with; 0: they begin with random weights (published)
    simulated_epochs: int = 6  # passes over these
    proxy_labels: bool = False  # whether unscored codes that mean a scored class teach that class (classes.STAND_INS)
    validation_cutoff: float = 0.2  # labels of the epoch's validation score: probability at least this
    seed: int = 2020


@dataclass(frozen=True)
class AugmentationRecipe:
    """What a training window goes through, as if another hospital's machine had taken it; 0: nothing (published)."""

    filters: float = 0.0  # share of windows with another low-pass, and with another high-pass
    low_pass: tuple[float, float] = (12.0, 60.0)  # Hz; half power, drawn evenly in octaves
    high_pass: tuple[float, float] = (0.3, 1.2)  # Hz
    noise: float = 0.0  # largest root mean square of white noise, beside a signal of 1; in half of the windows
    gain: float = 0.0  # standard deviation of the logarithm of each lead's gain, and of the window's
    lead_loss: float = 0.0  # share of windows that lose leads, each lead with a chance of up to a half
    hidden_demographics: float = 0.0  # share of windows whose age and sex are unknown
    mixup: float = 0.0  # alpha of the beta distribution that pairs of windows are mixed by (Zhang et al. 2018)


@dataclass(frozen=True)
class DecisionRecipe:
    """How probabilities become labels: the two-step search (paper, section 2.4), or the labels of highest expected
    reward under calibrated probabilities."""

    common_steps: int = 10  # step 1: one threshold for all classes, over 0, 1/10, ..., 1
    class_steps: int = 100  # step 2: each class in turn, over 0, 1/100, ..., 1
    method: Literal["search", "reward"] = "search"
    # reward: how far class frequencies move (in logits) from the training data's to those of hospitals in general (the
    # mean of the Challenge's four larger sources), for recordings acquired as no training recording was
    prevalence_shift: float = 0.0
    # reward: whether the network that only simulated ECGs have taught is kept, and heard on such recordings: as one
    # opinion more beside the training data's sources
    simulation_network: bool = False


@dataclass(frozen=True)
class Recipe:
    """A complete method: signal, network, training, decision."""

    name: str
    signal: SignalRecipe = SignalRecipe()
    network: NetworkRecipe = NetworkRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    decision: DecisionRecipe = DecisionRecipe()

    def as_dict(self) -> dict[str, Any]:
        """The recipe as nested plain dictionaries, ready for JSON (tuples become lists there)."""
        return dataclasses.asdict(self)


PAPER = Recipe("paper")

# What another machine, another frequency of diseases and few recordings ask for; docs/results.md measures it.
ROBUST = Recipe(
    "robust",
    signal=SignalRecipe(128, "mV", "polyphase", band=(0.5, 40.0), scale="rms", window=640, overlap=160),
    network=NetworkRecipe(demographics=6),
    training=TrainingRecipe(
        folds=8,
        networks=2,
        epochs=10,
        optimiser="adamw",
        schedule="cosine",
        learning_rate=0.002,
        weight_decay=0.02,
        ema_decay=0.99,
        keep="last",
        simulated=24_000,
        proxy_labels=True,
    ),
    augmentation=AugmentationRecipe(
        filters=0.5, noise=0.3, gain=0.1, lead_loss=0.3, hidden_demographics=0.1, mixup=0.3
    ),
    decision=DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True),
)

# A quarter of the channels, a smaller window: minutes on two cores, for the demo and the tests.
QUICK = Recipe(
    "quick",
    signal=SignalRecipe(window=2570),
    network=NetworkRecipe(stem_channels=16, block_channels=(16, 16, 32, 32, 64, 64, 128, 128), reduction=4),
    training=TrainingRecipe(folds=2, epochs=10, batch_size=32),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (PAPER, ROBUST, QUICK)}
DEFAULT_RECIPE = ROBUST.name  # docs/results.md: better at home and away, for a sixth of the arithmetic

# Numbers that recipes did not have when the first model folders were written, which were made as the defaults say.
YOUNGER = frozenset({"simulated", "simulated_epochs", "simulation_network"})


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """The inverse of `Recipe.as_dict`, also after a way through JSON; what is younger than the stored recipe is as its
    default. Raises KeyError, TypeError or ValueError where a number is missing, unknown or of another type."""
    parts = {
        "signal": SignalRecipe,
        "network": NetworkRecipe,
        "training": TrainingRecipe,
        "augmentation": AugmentationRecipe,
        "decision": DecisionRecipe,
    }
    return Recipe(values["name"], **{name: _part_from_dict(part, values[name]) for name, part in parts.items()})


def _part_from_dict(part: type[Any], values: dict[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(part)}
    if strange := (names - YOUNGER - set(values)) | (set(values) - names):
        raise ValueError(f"{part.__name__}: {', '.join(sorted(strange))} missing or unknown")
    return part(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


# What a model folder may say: far more than any model has, and little enough for any machine.
MOST = 1 << 17  # a number of a recipe: windows of eight minutes at 257 Hz


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
