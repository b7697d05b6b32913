"""The SE-ResNet: tensors in, logits out. Knows no files, no labels, no thresholds.

Leaf to whole: squeeze-and-excitation, dropout, residual block, network. Zhao et al. 2020, section 2.2; the demographic
branch is the authors' released program's. With `NetworkRecipe()` as it is it has 8,837,060 parameters.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from leadwise.recipes import NetworkRecipe


def full_precision(x: Tensor) -> torch.autocast:
    """Where autocast rests: the stem, which sees ADC counts beyond the range of fp16, gates and logits. They are a
    fiftieth of the arithmetic and halve the error that bf16 makes in a probability."""
    return torch.autocast(x.device.type, enabled=False)


def at_least_fp32(x: Tensor) -> Tensor:
    """At least in fp32: halves are, doubles (of the tests' truth) stay."""
    return x if x.dtype == torch.float64 else x.float()


class SqueezeExcitation(nn.Module):
    """Weighs each channel by what all channels are like on average (Hu et al. 2018), without biases."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False)
        self.excite = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, time) -> the same shape, each channel times a gate in (0, 1)."""
        with full_precision(x):
            gate = self.gate(at_least_fp32(x).mean(dim=2))  # (batch, channels)
        return x * gate.unsqueeze(2).to(x.dtype)

    def gate(self, means: Tensor) -> Tensor:
        """Gates (batch, channels) of the channels' means over time (batch, channels)."""
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))


DROPOUT_STEPS = 1 << 15  # to which a probability is rounded on a CPU


def dropout_mask(shape: torch.Size, probability: float) -> tuple[Tensor, float]:
    """Which values dropout keeps on a CPU (bool, of that shape), and what it multiplies them by.

    PyTorch draws its mask one value at a time, a ninth of a training step; here one 64-bit draw serves four values with
    15 bits each, so the probability is rounded to a 32,768th (0.2 becomes 0.20001).
    """
    dropped, size = round(probability * DROPOUT_STEPS), shape.numel()
    draws = torch.empty((size + 3) // 4, dtype=torch.int64).random_().view(torch.int16)[:size]
    return ((draws & (DROPOUT_STEPS - 1)) >= dropped).view(shape), DROPOUT_STEPS / (DROPOUT_STEPS - dropped)


class Dropout(nn.Module):
    """Sets each value to 0 with the given probability and scales the others up, as `torch.nn.Dropout` does."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape; unchanged in evaluation."""
        if not self.training or self.probability == 0:
            return x
        if x.device.type != "cpu":  # there PyTorch's own is one kernel
            return nn.functional.dropout(x, self.probability)
        mask, scale = dropout_mask(x.shape, self.probability)
        return x * mask.to(x.dtype).mul_(scale)


class ResidualBlock(nn.Module):
    """Two convolutions and a gate beside the identity, or beside a 1-wide convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, recipe: NetworkRecipe) -> None:
        super().__init__()
        padding = recipe.kernel // 2
        self.convolution1 = nn.Conv1d(inputs, outputs, recipe.kernel, stride, padding, bias=False)
        self.norm1 = nn.BatchNorm1d(outputs)
        self.dropout = Dropout(recipe.dropout)
        self.convolution2 = nn.Conv1d(outputs, outputs, recipe.kernel, 1, padding, bias=False)
        self.norm2 = nn.BatchNorm1d(outputs)
        self.gate = SqueezeExcitation(outputs, recipe.reduction)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv1d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, time) -> (batch, outputs, ceil(time / stride))."""
        y = torch.relu(self.norm1(self.convolution1(x)))  # (batch, outputs, time / stride)
        y = self.norm2(self.convolution2(self.dropout(y)))  # (batch, outputs, time / stride)
        # the gate before the sum, as in the paper's figure: the identity passes whatever the gate says
        return torch.relu(self.gate(y) + self.shortcut(x))


class SEResNet(nn.Module):
    """Twelve leads and five demographic numbers in, 24 logits out."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        stem = recipe.stem_channels
        # two halvings before the first block: most of the time's length is gone where the channels begin to cost
        self.stem = nn.Sequential(
            nn.Conv1d(recipe.leads, stem, recipe.stem_kernel, 2, recipe.stem_kernel // 2, bias=False),
            nn.BatchNorm1d(stem),
            nn.ReLU(),
            nn.MaxPool1d(3, 2, 1),
        )
        widths = (stem, *recipe.block_channels)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(inputs, outputs, 1 if inputs == outputs else 2, recipe)
                for inputs, outputs in pairwise(widths)
            )
        )
        self.demographics = nn.Linear(recipe.demographics, recipe.demographic_features)
        self.classifier = nn.Linear(widths[-1] + recipe.demographic_features, recipe.classes)
        self.initialise()  # last, so that no module keeps PyTorch's own start

    def initialise(self) -> None:
        """Convolutions from He normal (fan-out); batch norms begin at 1 and 0, linear layers as PyTorch has them."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Logits (batch, classes) of signals (batch, 12, time) and demographics (batch, 5)."""
        with full_precision(signal):
            x = self.stem(signal)  # (batch, 64, time / 4)
        x = self.blocks(x)  # (batch, 512, time / 32)
        with full_precision(x):
            return self.classify(at_least_fp32(x).mean(dim=2), demographics)  # any length of time becomes one row

    def classify(self, features: Tensor, demographics: Tensor) -> Tensor:
        """Logits (batch, classes) of the blocks' means over time (batch, 512) and demographics (batch, 5)."""
        joined = torch.cat([features, self.demographics(demographics)], dim=1)  # (batch, 522)
        logits: Tensor = self.classifier(joined)  # (batch, 24)
        return logits


def parameter_count(network: nn.Module) -> int:
    """The number of trained parameters (running statistics of batch norms not counted)."""
    return sum(parameter.numel() for parameter in network.parameters())


def forward_operations(recipe: NetworkRecipe, samples: int) -> int:
    """Operations of one window (12, samples) forward, a multiplication and its addition being two: the convolutions'
    and linear layers' as they are published, whatever computes them. Training takes three times as many."""
    time = -(-samples // 2)  # after the stem's convolution
    products = time * recipe.leads * recipe.stem_channels * recipe.stem_kernel
    time, inputs = -(-time // 2), recipe.stem_channels
    for outputs in recipe.block_channels:
        if outputs != inputs:
            time = -(-time // 2)
            products += time * inputs * outputs  # the shortcut
        products += time * (inputs + outputs) * outputs * recipe.kernel
        products += 2 * outputs * (outputs // recipe.reduction)  # the gate
        inputs = outputs
    products += recipe.demographics * recipe.demographic_features
    products += (inputs + recipe.demographic_features) * recipe.classes
    return 2 * products
