"""Compute logits of ECG windows with the SE-ResNet of Zhao et al. 2020, section 2.2: 8,837,060 parameters as published.

The demographic branch is that of the authors' released program.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from leadwise.recipes import NetworkRecipe

Device = str | torch.device


def _fp32(device: Device) -> dict[str, Any]:
    """Return where and in which type a layer keeps its weights, whatever defaults a program has set in torch."""
    return {"device": device, "dtype": torch.float32}


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context without autocast for stem (ADC counts exceed the range of fp16), gates and logits: they are a
    fiftieth of the arithmetic and in fp32 halve the error that bf16 makes in a probability."""
    return torch.autocast(x.device.type, enabled=False)


def mean_over_time(x: Tensor) -> Tensor:
    """Return the means (batch, channels) over all later dimensions, at least in fp32."""
    return x.mean(tuple(range(2, x.dim())), dtype=torch.promote_types(x.dtype, torch.float32))


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate that depends on the means of all channels (Hu et al. 2018), without biases."""

    def __init__(self, channels: int, reduction: int, device: Device = "cpu") -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False, **_fp32(device))
        self.excite = nn.Linear(channels // reduction, channels, bias=False, **_fp32(device))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, time) to the same shape, each channel times a gate in (0, 1)."""
        with full_precision(x):
            gate = self.gate(mean_over_time(x))  # (batch, channels)
        return x * gate.unsqueeze(2).to(x.dtype)

    def gate(self, means: Tensor) -> Tensor:
        """Return the gates (batch, channels) for the means over time (batch, channels)."""
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))


DROPOUT_STEPS = 1 << 15  # a probability is rounded to a multiple of 1 / DROPOUT_STEPS on a CPU


def dropout_mask(shape: torch.Size, probability: float) -> tuple[Tensor, float]:
    """Draw which values dropout keeps on a CPU (bool, of that shape); return them and the scale of kept values."""
    # PyTorch draws one value at a time, a ninth of a training step; here a 64-bit draw serves four values with 15 bits
    # each, so the probability is rounded to a 32,768th (0.2 becomes 0.20001)
    dropped, size = round(probability * DROPOUT_STEPS), shape.numel()
    draws = torch.empty((size + 3) // 4, dtype=torch.int64, device="cpu").random_().view(torch.int16)[:size]
    return ((draws & (DROPOUT_STEPS - 1)) >= dropped).view(shape), DROPOUT_STEPS / (DROPOUT_STEPS - dropped)


class Dropout(nn.Dropout):
    """Set each value to 0 with the given probability and scale the others up; on a CPU faster than PyTorch does."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same shape; return x in evaluation."""
        if x.device.type != "cpu" or not self.training or self.p == 0:
            return super().forward(x)
        mask, scale = dropout_mask(x.shape, self.p)
        return x * mask.to(x.dtype).mul_(scale)


class ResidualBlock(nn.Module):
    """Add two convolutions and a gate to the identity, or to a 1-wide convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, recipe: NetworkRecipe, device: Device = "cpu") -> None:
        super().__init__()
        padding, fp32 = recipe.kernel // 2, _fp32(device)
        self.convolution1 = nn.Conv1d(inputs, outputs, recipe.kernel, stride, padding, bias=False, **fp32)
        self.norm1 = nn.BatchNorm1d(outputs, **fp32)
        self.dropout = Dropout(recipe.dropout)
        self.convolution2 = nn.Conv1d(outputs, outputs, recipe.kernel, 1, padding, bias=False, **fp32)
        self.norm2 = nn.BatchNorm1d(outputs, **fp32)
        self.gate = SqueezeExcitation(outputs, recipe.reduction, device)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            convolution = nn.Conv1d(inputs, outputs, 1, stride, bias=False, **fp32)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm1d(outputs, **fp32))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, time) to (batch, outputs, ceil(time / stride))."""
        y = torch.relu(self.norm1(self.convolution1(x)))  # (batch, outputs, time / stride)
        y = self.norm2(self.convolution2(self.dropout(y)))  # (batch, outputs, time / stride)
        # the gate before the sum, as in the paper's figure: it does not scale the identity
        return torch.relu(self.gate(y) + self.shortcut(x))


class SEResNet(nn.Module):
    """Map twelve leads and five demographic numbers to 24 logits. On the device "meta" it has shapes, no weights."""

    def __init__(self, recipe: NetworkRecipe, device: Device = "cpu") -> None:
        super().__init__()
        self.recipe = recipe
        stem, fp32 = recipe.stem_channels, _fp32(device)
        # two halvings of time before the first block, where channels begin to be costly
        self.stem = nn.Sequential(
            nn.Conv1d(recipe.leads, stem, recipe.stem_kernel, 2, recipe.stem_kernel // 2, bias=False, **fp32),
            nn.BatchNorm1d(stem, **fp32),
            nn.ReLU(),
            nn.MaxPool1d(3, 2, 1),
        )
        widths = (stem, *recipe.block_channels)
        blocks = [ResidualBlock(a, b, 1 if a == b else 2, recipe, device) for a, b in pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)
        self.demographics = nn.Linear(recipe.demographics, recipe.demographic_features, **fp32)
        self.classifier = nn.Linear(widths[-1] + recipe.demographic_features, recipe.classes, **fp32)
        # convolutions from He normal, fan-out; batch norms begin at 1 and 0, linear layers as PyTorch initialises them
        for module in self.modules():
            if isinstance(module, nn.Conv1d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Return logits (batch, classes) of signals (batch, 12, time) and demographics (batch, 5)."""
        features = self.features(signal)
        with full_precision(features):
            return self.classify(features, demographics)

    def features(self, signal: Tensor) -> Tensor:
        """Return the blocks' means over time (batch, 512), for any length of time, of signals (batch, 12, time)."""
        with full_precision(signal):
            x = self.stem(signal)  # (batch, 64, time / 4)
        return mean_over_time(self.blocks(x))  # (batch, 512, time / 32) before the mean

    def classify(self, features: Tensor, demographics: Tensor) -> Tensor:
        """Return logits (batch, classes) of the blocks' means over time (batch, 512) and demographics (batch, 5)."""
        joined = torch.cat([features, self.demographics(demographics)], dim=1)  # (batch, 522)
        logits: Tensor = self.classifier(joined)
        return logits


def forward_operations(recipe: NetworkRecipe, samples: int) -> int:
    """Count the operations of the published layers for one window (12, samples) forward; a multiplication and its
    addition are two. Training takes three times as many."""
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
