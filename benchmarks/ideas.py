"""Ideas that were tried on recipe `robust` and are not in it, so that whoever doubts a result can have it again.

    python -m benchmarks.study train RESULTS PTBXL INDEX.csv --away AWAY --recipes idea-swaps,idea-hum --splits home

Each changes one thing in the way a network is trained: what it is taught (`targets`), the loss, what its windows go
through, the network, or what it begins with. docs/results.md says what came of them. Knows no files and no splits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from leadwise import training
from leadwise.augmentation import Batch, uniform
from leadwise.classes import REWARDS, SINUS_RHYTHM
from leadwise.dataset import Dataset
from leadwise.devices import Processor
from leadwise.network import SEResNet, full_precision, widened
from leadwise.recipes import Recipe

CLASSES = 24
FAMILIES = ("CS-12", "CS100", "AT", "")  # of devices; the last one is all others
UNSCORED = ("164865005", "164861001", "164873001", "429622005")  # infarction, ischaemia, hypertrophy, ST depression
Loss = Callable[[Tensor, Tensor], Tensor]  # of logits (batch, columns) and targets (batch, columns)


@dataclass(frozen=True)
class Setting:
    """Where a network is trained."""

    index: Mapping[str, Mapping[str, str]]  # rows of the index by record
    networks: Path  # folder of the networks that `robust` has left on the same split
    recipe: Recipe
    processor: Processor


@dataclass(frozen=True)
class Taught(Dataset):
    """A data set whose networks are taught other targets than its labels, (n, 24 or more)."""

    others: NDArray[np.float32]

    ROWS = (*Dataset.ROWS, "others")

    def targets(self, stand_ins: bool) -> NDArray[Any]:
        """The other targets."""
        return self.others


@dataclass(frozen=True)
class Idea:
    """What is done otherwise; what is None is done as ever."""

    text: str
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # numbers of `robust` that are others
    targets: Callable[[Dataset, Setting], NDArray[Any]] | None = None
    loss: Callable[[], Loss] | None = None  # makes one for each run
    windows: Callable[[Tensor], Tensor] | None = None  # before the recipe's own augmentation
    network: type[SEResNet] | None = None
    second: bool = False  # begins with the network that `robust` has trained on the same split

    def taught(self, data: Dataset, setting: Setting) -> Dataset:
        """The data set with what the idea teaches."""
        if self.targets is None:
            return data
        facts = {one.name: getattr(data, one.name) for one in dataclasses.fields(data)}
        return Taught(**facts, others=self.targets(data, setting).astype(np.float32))

    @contextmanager
    def tried(self) -> Iterator[None]:
        """While this lasts, `leadwise.training` trains that way."""
        with ExitStack() as stack:
            if self.loss is not None:
                stack.enter_context(patch.object(training, "loss_of", self.loss()))
            if self.network is not None:
                stack.enter_context(patch.object(training, "SEResNet", self.network))
            if self.windows is not None:
                change, usual = self.windows, training.augmented

                def augmented(batch: Batch, *others: Any) -> Batch:
                    return usual(dataclasses.replace(batch, windows=change(batch.windows)), *others)

                stack.enter_context(patch.object(training, "augmented", augmented))
            yield


# ---------------------------------------------------------------------------------------------------------- the targets


def smoothed(data: Dataset, setting: Setting) -> NDArray[Any]:
    """Labels of 0.025 and 0.975 (Szegedy et al. 2016)."""
    return 0.95 * data.targets(True) + 0.025


def with_unscored(data: Dataset, setting: Setting) -> NDArray[Any]:
    """The labels, and a column for each of the frequent codes that are not scored."""
    unscored = [[code in setting.index[name]["dx"].split() for code in UNSCORED] for name in data.names]
    return np.concatenate([data.targets(True), unscored], axis=1)


def distilled(data: Dataset, setting: Setting) -> NDArray[Any]:
    """Half-way between the labels and what the networks of all seeds say in the mean (Hinton et al. 2015)."""
    run = training.FoldRun.begin(setting.recipe, 0, setting.processor)
    examples, members = training.Examples.of(data, setting.processor.device), np.arange(len(data))
    opinions = []
    for path in sorted(setting.networks.glob("*.safetensors")):
        run.judged.load_state_dict(load_file(path))
        opinions.append(training.predict(run, examples, data.lengths, members, setting.recipe))
    return (data.targets(True) + np.mean(opinions, axis=0)) / 2


def masked(data: Dataset, setting: Setting) -> NDArray[Any]:
    """The labels, NaN in classes that the source never writes: unknown, not absent."""
    targets = data.targets(True)
    return np.where(targets.any(0), targets, np.nan)


def with_family(data: Dataset, setting: Setting) -> NDArray[Any]:
    """The labels, and a column for each device family."""
    devices = [setting.index[name]["device"] for name in data.names]
    families = [next(one for one in FAMILIES if device.startswith(one)) for device in devices]
    return np.concatenate([data.targets(True), [[one == other for other in FAMILIES] for one in families]], axis=1)


# ---------------------------------------------------------------------------------------------------------- the losses


def of_known(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the targets that are not NaN."""
    known = ~targets.isnan()
    return binary_cross_entropy_with_logits(logits[known], targets[known])


def with_reward(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, and what probabilities miss of the challenge metric where they are taken for labels."""
    answer, rewards = torch.sigmoid(logits), torch.tensor(REWARDS, dtype=torch.float32)
    union = (targets + answer - targets * answer).sum(1).clamp(min=1)  # (batch,)
    earned = ((targets @ rewards) * answer).sum(1) / union
    right = ((targets @ rewards) * targets).sum(1) / targets.sum(1).clamp(min=1)
    inactive = (targets @ rewards[:, SINUS_RHYTHM]) / (targets.sum(1) + 1 - targets[:, SINUS_RHYTHM])
    missed = (right - earned).mean() / (right - inactive).mean().clamp(min=0.1)
    return binary_cross_entropy_with_logits(logits, targets) + 0.1 * missed


class OfTheWorst:
    """Cross-entropy in which the device family that does worst weighs most (Sagawa et al. 2020)."""

    def __init__(self) -> None:
        self.weights = torch.full((len(FAMILIES),), 1 / len(FAMILIES))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss; the weights move with it."""
        labels, members = targets.split([CLASSES, len(FAMILIES)], dim=1)
        each = binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)  # (batch,)
        there = members.sum(0) > 0
        of_family = (members * each.unsqueeze(1)).sum(0)[there] / members.sum(0)[there]
        self.weights[there] *= torch.exp(0.3 * of_family.detach())
        self.weights /= self.weights.sum()
        return (self.weights[there] * of_family).sum() / self.weights[there].sum()


def against_adversary(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the labels, and of the device family that the adversary tells; with ten times its weight the
    training diverges."""
    labels, families = targets.split([CLASSES, len(FAMILIES)], dim=1)
    own, told = logits.split([CLASSES, len(FAMILIES)], dim=1)
    return binary_cross_entropy_with_logits(own, labels) + 0.01 * cross_entropy(told, families)


# --------------------------------------------------------------------------------------------------------- the windows

LIMBS = {  # leads I, II, III, aVR, aVL, aVF where two electrodes of the limbs are swapped: which lead, and its sign
    "RA and LA": ((0, 2, 1, 4, 3, 5), (-1, 1, 1, 1, 1, 1)),
    "LA and LL": ((1, 0, 2, 3, 5, 4), (1, 1, -1, 1, 1, 1)),
    "RA and LL": ((2, 1, 0, 5, 4, 3), (-1, -1, -1, 1, 1, 1)),
}


@cache
def swaps() -> Tensor:
    """What electrode swaps make of the twelve leads, (swaps, 12, 12): of two limbs, of two neighbours on the chest."""
    found = []
    for order, signs in LIMBS.values():
        found.append(torch.eye(12))
        found[-1][:6] = torch.eye(12)[list(order)] * torch.tensor(signs).unsqueeze(1)
    for first in range(6, 11):
        order = [*range(first), first + 1, first, *range(first + 2, 12)]
        found.append(torch.eye(12)[order])
    return torch.stack(found)


def swapped(windows: Tensor) -> Tensor:
    """A tenth of the windows with two electrodes swapped."""
    matrices = swaps()[torch.randint(len(swaps()), (len(windows),))]  # (batch, 12, 12)
    return torch.where(uniform(windows, 1, 1) < 0.1, matrices @ windows, windows)


def with_hum(windows: Tensor) -> Tensor:
    """Half of the windows with mains hum of 50 or 60 Hz, half with a baseline that wanders at 0.1 to 0.5 Hz, in each
    lead of its own strength and phase."""
    time = torch.arange(windows.shape[2]) / 128  # s
    for largest, frequency in (
        (0.2, torch.where(uniform(windows, 1, 1) < 0.5, 50.0, 60.0)),
        (0.5, 0.1 + 0.4 * uniform(windows, 1, 1)),
    ):
        strength = largest * uniform(windows, 12, 1) ** 2 * (uniform(windows, 1, 1) < 0.5)
        wave = strength * torch.sin(2 * torch.pi * (frequency * time + uniform(windows, 12, 1)))
        windows = windows + wave * (windows != 0)
    return windows


def cut(windows: Tensor) -> Tensor:
    """Half of the windows without a random part at either end: a quarter of a window is left at least."""
    length = windows.shape[2] * torch.where(uniform(windows, 1, 1) < 0.5, 1, 0.25 + 0.75 * uniform(windows, 1, 1))
    first = (windows.shape[2] - length) * uniform(windows, 1, 1)
    time = torch.arange(windows.shape[2])
    return windows * ((time >= first) & (time < first + length))


# -------------------------------------------------------------------------------------------------------- the networks


class Grown(SEResNet):
    """The network with something that what it begins with does not have."""

    def begin_own(self) -> None:
        """To be called when all is there: what the network is like before it is trained."""
        self.own = {name: value.clone() for name, value in self.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As ever, and the rest as it was in the beginning."""
        return super().load_state_dict(self.own | dict(state), strict, assign)


class Pooled(Grown):
    """The network with another mean over time, which begins as the plain one."""

    def forward(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Logits (batch, 24)."""
        with full_precision(signal):
            x = self.stem(signal)
        x = self.blocks(x)  # (batch, 512, time)
        with full_precision(x):
            return self.classify(self.pooled(widened(x)), demographics)

    def pooled(self, x: Tensor) -> Tensor:
        """(batch, 512, time) -> (batch, 512)."""
        raise NotImplementedError


class Attentive(Pooled):
    """A mean in which eight groups of channels weigh the times by what they see there."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.look = nn.Conv1d(512, 8, 1)
        nn.init.zeros_(self.look.weight)
        self.begin_own()

    def pooled(self, x: Tensor) -> Tensor:
        """(batch, 512, time) -> (batch, 512)."""
        weights = torch.softmax(self.look(x), dim=2).repeat_interleave(64, dim=1)  # (batch, 512, time)
        return (weights * x).sum(2)


class Mixed(Pooled):
    """A mixture of mean and maximum, each channel its own."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.share = nn.Parameter(torch.zeros(512))
        self.begin_own()

    def pooled(self, x: Tensor) -> Tensor:
        """(batch, 512, time) -> (batch, 512)."""
        return torch.lerp(x.mean(2), x.amax(2), self.share)


class Reversed(torch.autograd.Function):
    """The identity, whose gradient has the other sign (Ganin et al. 2016)."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """As it is."""
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        """Turned round."""
        return -gradient


class Headed(Grown):
    """The network with more logits in training than in use."""

    def __init__(self, *arguments: Any, more: int) -> None:
        super().__init__(*arguments)
        self.head = nn.Linear(512, more)
        self.begin_own()

    def classify(self, features: Tensor, demographics: Tensor) -> Tensor:
        """Logits (batch, 24), in training (batch, 24 and more)."""
        logits = super().classify(features, demographics)
        return torch.cat([logits, self.head(self.shown(features))], dim=1) if self.training else logits

    def shown(self, features: Tensor) -> Tensor:
        """What the head sees."""
        return features


class WithAdversary(Headed):
    """The network beside one that tells the device family from its features, which it tries to make impossible."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, more=len(FAMILIES))

    def shown(self, features: Tensor) -> Tensor:
        """The features, whose gradient comes back turned round."""
        return Reversed.apply(features)


class WithUnscored(Headed):
    """The network that is taught more codes than are scored."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, more=len(UNSCORED))


# ----------------------------------------------------------------------------------------------------------- the ideas

TEN_SECONDS = {"window": 1280}
SECOND_STAGE = {"epochs": 3, "learning_rate": 0.0005}
IDEAS = {
    "smoothing": Idea("labels of 0.025 and 0.975", targets=smoothed),
    "unscored": Idea("four unscored codes as extra targets", targets=with_unscored, network=WithUnscored),
    "masks": Idea("nothing taught of classes that the source never writes", targets=masked, loss=lambda: of_known),
    "distilled": Idea("half of the target from three networks' mean", targets=distilled),
    "reward": Idea(
        "3 epochs more, of a surrogate of the challenge metric",
        {"training": SECOND_STAGE},
        loss=lambda: with_reward,
        second=True,
    ),
    "worst": Idea("the worst device family weighs most", targets=with_family, loss=OfTheWorst),
    "adversary": Idea(
        "features that do not tell the device",
        targets=with_family,
        loss=lambda: against_adversary,
        network=WithAdversary,
    ),
    "swaps": Idea("electrodes swapped in a tenth of the windows", windows=swapped),
    "hum": Idea("mains hum and a wandering baseline", windows=with_hum),
    "ten": Idea("windows of 10 s instead of 5", {"signal": TEN_SECONDS}),
    "durations": Idea("windows of 2.5 to 10 s", {"signal": TEN_SECONDS}, windows=cut),
    "attention": Idea("attention instead of the mean over time", network=Attentive),
    "mixed": Idea("a learnt mixture of mean and maximum over time", network=Mixed),
    # without the band: to be compared with robust-band
    "simulated": Idea(
        "48,000 simulated ECGs instead of 24,000", {"signal": {"band": None}, "training": {"simulated": 48_000}}
    ),
}
