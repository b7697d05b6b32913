"""Define the recipes: every number of a method, as frozen dataclasses. The defaults are the published method (Zhao et
al. 2020, doi 10.22489/CinC.2020.112); where the paper is silent, the authors' released program decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class SignalRecipe:
    """Preprocessing of a recording into the network's input."""

    sampling_frequency: int = 257  # Hz; the lowest of the Challenge's sources (INCART)
    unit: Literal["counts", "mV"] = "counts"  # counts: ADC values as stored in the file, no gain
    resampling: Literal["linear", "polyphase"] = "linear"
    band: tuple[float, float] | None = None  # Hz; zero-phase band-pass after resampling; None: no filter
    scale: Literal["none", "rms"] = "none"  # rms: divided by the root mean square, whose log is an extra input
    window: int = 4096  # samples at sampling_frequency: 15.9 s
    overlap: int = 256  # samples; least overlap of neighbouring test windows
    # Test windows of a longer recording. even: at equal distances, plain mean (published). fixed: a step of
    # window - overlap, mean weighted by the samples that each window adds: a slightly shorter recording changes little.
    windows: Literal["even", "fixed"] = "even"


@dataclass(frozen=True)
class NetworkRecipe:
    """Architecture of the SE-ResNet (paper, section 2.2 and figure 1)."""

    leads: int = 12
    stem_channels: int = 64
    stem_kernel: int = 15
    block_channels: tuple[int, ...] = (64, 64, 128, 128, 256, 256, 512, 512)  # stride 2 where the width changes
    kernel: int = 7
    reduction: int = 16  # squeeze-and-excitation bottleneck: channels / reduction
    dropout: float = 0.2
    demographics: int = 5  # age / 100, age mask (always 0), female, male, sex known; 6 with the signal's scale
    demographic_features: int = 10
    classes: int = 24


@dataclass(frozen=True)
class TrainingRecipe:
    """Training of one fold's network."""

    folds: int = 5
    networks: int | None = None  # number of folds that are trained; None: all
    epochs: int = 50
    batch_size: int = 64
    optimiser: Literal["adam", "adamw"] = "adam"
    schedule: Literal["steps", "cosine"] = "steps"
    learning_rate: float = 0.003  # peak
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-5  # adam: as L2 in the gradient; adamw: decoupled
    decay_after: tuple[float, ...] = (0.4, 0.8)  # schedule steps: after these shares of the epochs (20 and 40 of 50)
    decay_factor: float = 0.1  # ... the rate is multiplied by this
    warm_up: float = 0.1  # schedule cosine: share of the epochs in which the rate rises from 0
    ema_decay: float = 0.0  # of the moving average of the weights; 0: no average
    keep: Literal["best", "last"] = "best"  # weights of the epoch with the best validation score, or of the last epoch
    simulated: int = 0  # simulated ECGs for pretraining the initial weights; 0: random initial weights (published)
    simulated_epochs: int = 6  # epochs of pretraining
    proxy_labels: bool = False  # train also on proxy labels (challenge.classes.PROXY_CODES)
    validation_cutoff: float = 0.2  # threshold of the epoch's validation score
    seed: int = 2020


@dataclass(frozen=True)
class AugmentationRecipe:
    """Augmentation of training windows that imitates other hospitals' devices; 0: none (published)."""

    filters: float = 0.0  # share of windows with a random low-pass, and with a random high-pass
    low_pass: tuple[float, float] = (12.0, 60.0)  # Hz; half-power cut-off, log-uniform
    high_pass: tuple[float, float] = (0.3, 1.2)  # Hz
    noise: float = 0.0  # largest rms of white noise (signal: 1), in half of the windows
    gain: float = 0.0  # standard deviation of the log gain of each lead, and of the window
    lead_loss: float = 0.0  # share of windows that lose leads: half of them some of the twelve, half the chest leads
    swaps: float = 0.0  # share of windows with two limb electrodes exchanged
    interference: float = 0.0  # share of windows with mains hum, and with a wandering baseline
    hidden_demographics: float = 0.0  # share of windows whose age and sex are unknown
    mixup: float = 0.0  # alpha of the beta distribution of mixup (Zhang et al. 2018)


@dataclass(frozen=True)
class DecisionRecipe:
    """Decision by two-step threshold search (paper, section 2.4) or by expected reward of calibrated probabilities."""

    common_steps: int = 10  # step 1: one threshold for all classes, over 0, 1/10, ..., 1
    class_steps: int = 100  # step 2: each class in turn, over 0, 1/100, ..., 1
    method: Literal["search", "reward"] = "search"
    prevalence_shift: float = 0.0  # reward, out of distribution: share of the shift to the reference prevalence
    simulation_network: bool = False  # reward, out of distribution: pool with a network trained on simulated ECGs only


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
        """Return nested dictionaries, ready for JSON (tuples become lists there)."""
        return asdict(self)


PAPER = Recipe("paper")

# For other devices, other prevalences and small training sets; docs/results.md measures each step.
ROBUST = Recipe(
    "robust",
    signal=SignalRecipe(
        128, "mV", "polyphase", band=(0.5, 40.0), scale="rms", window=640, overlap=160, windows="fixed"
    ),
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
        filters=0.5, noise=0.3, gain=0.1, lead_loss=0.4, swaps=0.1, interference=0.2, hidden_demographics=0.1, mixup=0.3
    ),
    decision=DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True),
)

# A quarter of the channels and a smaller window: trains in minutes on two cores, for the demo and the tests.
QUICK = Recipe(
    "quick",
    signal=SignalRecipe(window=2570),
    network=NetworkRecipe(stem_channels=16, block_channels=(16, 16, 32, 32, 64, 64, 128, 128), reduction=4),
    training=TrainingRecipe(folds=2, epochs=10, batch_size=32),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (PAPER, ROBUST, QUICK)}
DEFAULT_RECIPE = ROBUST.name  # better in distribution and out of it, for a sixth of the arithmetic (docs/results.md)

# Fields that stored recipes may lack, because the first model folders are older; they get their defaults.
OPTIONAL_FIELDS = frozenset({"simulated", "simulated_epochs", "simulation_network", "swaps", "interference", "windows"})
LARGEST_NUMBER = 1 << 17  # in a stored recipe: windows of eight minutes at 257 Hz


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """Invert `Recipe.as_dict`, also after JSON; missing `OPTIONAL_FIELDS` get their defaults. Raises KeyError,
    TypeError or ValueError if a field is missing, unknown or of another type."""
    parts = {name: part for name, part in get_type_hints(Recipe).items() if name != "name"}
    return Recipe(values["name"], **{name: _part_from_dict(part, values[name]) for name, part in parts.items()})


def _part_from_dict(part: type[Any], values: dict[str, Any]) -> Any:
    names = {field.name for field in fields(part)}
    if wrong := (names - OPTIONAL_FIELDS - set(values)) | (set(values) - names):
        raise ValueError(f"{part.__name__}: {', '.join(sorted(wrong))} missing or unknown")
    return part(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def validate_recipe(recipe: Recipe) -> None:
    """Raise ValueError for values of a wrong type or range: a file must not decide what memory or code is used."""
    for part in (recipe.signal, recipe.network, recipe.decision):
        for name, hint in get_type_hints(type(part)).items():
            if get_origin(hint) is Literal and getattr(part, name) not in get_args(hint):
                raise ValueError(f"{name} {getattr(part, name)!r} is none of {', '.join(get_args(hint))}")
        for field in fields(part):
            if field.default is not None:  # a band has its own check
                _validate_value(field.name, getattr(part, field.name), field.default)
    signal, network, default = recipe.signal, recipe.network, NetworkRecipe()
    if not signal.overlap < signal.window or signal.sampling_frequency == 0:
        raise ValueError(f"window {signal.window}, overlap {signal.overlap}, at {signal.sampling_frequency} Hz")
    if signal.band is not None:
        if not all(type(edge) in (int, float) for edge in signal.band) or len(signal.band) != 2:
            raise ValueError(f"band {signal.band!r}")
        low, high = signal.band
        if not 0 < low < high < signal.sampling_frequency / 2:
            raise ValueError(f"band {low} to {high} Hz at {signal.sampling_frequency} Hz")
    features = default.demographics + (signal.scale != "none")
    if (network.leads, network.demographics, network.classes) != (default.leads, features, default.classes):
        raise ValueError(f"not {default.leads} leads, {features} demographic features, {default.classes} classes")
    if not 0 < network.reduction <= min(network.block_channels) or network.stem_channels == 0:
        raise ValueError(f"channels {network.stem_channels}, {network.block_channels}, reduction {network.reduction}")
    if not network.kernel % 2 == network.stem_kernel % 2 == 1:
        raise ValueError(f"kernels {network.stem_kernel} and {network.kernel}")


def _validate_value(name: str, value: Any, default: Any) -> None:
    if isinstance(default, tuple) and isinstance(value, tuple) and value:
        for item in value:
            _validate_value(name, item, default[0])
    elif type(value) is not type(default) and (type(value), type(default)) != (int, float):
        raise ValueError(f"{name} {value!r}")
    elif value == () or (isinstance(value, int | float) and not 0 <= value <= LARGEST_NUMBER):
        raise ValueError(f"{name} {value!r} is not within 0 to {LARGEST_NUMBER}")
