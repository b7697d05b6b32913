"""Augment batches of training windows, as if devices of other hospitals had recorded them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leadwise.network.transfers import send
from leadwise.recipes import AugmentationRecipe

DEMOGRAPHICS = 5  # auxiliary features of age and sex, which come first; the log of a signal's scale may follow


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows (batch, 12, time), auxiliary features (batch, 5 or 6) and targets (batch, 24) in [0, 1]."""

    windows: Tensor
    auxiliary: Tensor
    targets: Tensor


def augment(batch: Batch, recipe: AugmentationRecipe, sampling_frequency: float) -> Batch:
    """Apply all steps of the recipe; return the same tensors if it has none."""
    windows, auxiliary = batch.windows, batch.auxiliary
    if recipe.filters:
        windows = filter_windows(windows, recipe, sampling_frequency)
    if recipe.noise:
        windows = add_noise(windows, recipe.noise)
    if recipe.gain:
        windows, auxiliary = change_gain(windows, auxiliary, recipe.gain)
    if recipe.lead_loss:
        windows = drop_leads(windows, recipe.lead_loss)
    if recipe.hidden_demographics:
        hidden = _uniform(windows, 1) < recipe.hidden_demographics  # (batch, 1)
        auxiliary = torch.cat([auxiliary[:, :DEMOGRAPHICS] * ~hidden, auxiliary[:, DEMOGRAPHICS:]], dim=1)
    batch = Batch(windows, auxiliary, batch.targets)
    return mix_up(batch, recipe.mixup) if recipe.mixup else batch


def _uniform(windows: Tensor, *shape: int) -> Tensor:
    """Draw numbers in [0, 1) for each window, (batch, *shape)."""
    return torch.rand(len(windows), *shape, dtype=windows.dtype, device=windows.device)


def filter_windows(windows: Tensor, recipe: AugmentationRecipe, sampling_frequency: float) -> Tensor:
    """Apply low-passes and high-passes of random frequency and no phase to some windows; devices differ in theirs."""
    kind: dict[str, Any] = {"dtype": windows.dtype, "device": windows.device}
    frequencies = torch.fft.rfftfreq(windows.shape[2], 1 / sampling_frequency, **kind)  # (bins,)
    edges = (recipe.low_pass, recipe.high_pass)
    low, high = (torch.log(torch.tensor(each, dtype=windows.dtype, device="cpu")) for each in edges)
    top = torch.exp(low[0] + _uniform(windows, 1, 1) * (low[1] - low[0]))  # (batch, 1, 1) Hz
    bottom = torch.exp(high[0] + _uniform(windows, 1, 1) * (high[1] - high[0]))
    low_pass = 1 / torch.sqrt(1 + (frequencies / top) ** 6)  # (batch, 1, bins): Butterworth of third order
    high_pass = 1 / torch.sqrt(1 + (bottom / frequencies.clamp(min=1e-3)) ** 4)  # of second order
    response = torch.where(_uniform(windows, 1, 1) < recipe.filters, low_pass, 1.0)
    response = response * torch.where(_uniform(windows, 1, 1) < recipe.filters, high_pass, 1.0)
    result: Tensor = torch.fft.irfft(torch.fft.rfft(windows) * response, n=windows.shape[2])
    return result


def add_noise(windows: Tensor, largest: float) -> Tensor:
    """Add white noise of random strength, mostly weak, to half of the windows; zeros (padding) stay zeros."""
    strength = largest * _uniform(windows, 1, 1) ** 2 * (_uniform(windows, 1, 1) < 0.5)
    return windows + strength * torch.randn_like(windows) * (windows != 0)


def change_gain(windows: Tensor, auxiliary: Tensor, deviation: float) -> tuple[Tensor, Tensor]:
    """Multiply each window and each of its leads by a random gain; shift the log scale too, by up to twice as much."""
    kind: dict[str, Any] = {"dtype": windows.dtype, "device": windows.device}
    of_lead, of_window = (torch.randn(len(windows), n, 1, **kind) for n in (windows.shape[1], 1))
    windows = windows * torch.exp(deviation * (of_lead + of_window))
    shift = 2 * deviation * torch.randn(len(windows), auxiliary.shape[1] - DEMOGRAPHICS, **kind)
    return windows, torch.cat([auxiliary[:, :DEMOGRAPHICS], auxiliary[:, DEMOGRAPHICS:] + shift], dim=1)


def drop_leads(windows: Tensor, share: float) -> Tensor:
    """Set up to half of the leads of some windows to zero, as a lost electrode does."""
    chance = 0.5 * _uniform(windows, 1, 1) * (_uniform(windows, 1, 1) < share)
    return windows * (_uniform(windows, windows.shape[1], 1) >= chance)


def mix_up(batch: Batch, alpha: float) -> Batch:
    """Mix each window with another of the batch: signals, auxiliary features and targets, at least half its own."""
    concentration = torch.tensor(alpha, dtype=batch.windows.dtype, device="cpu")
    beta = torch.distributions.Beta(concentration, concentration)
    share = send(beta.sample((len(batch.windows),)), batch.windows.device)
    share = torch.maximum(share, 1 - share)  # (batch,)
    other = torch.randperm(len(share), device=share.device)
    tensors = (batch.windows, batch.auxiliary, batch.targets)
    return Batch(*(torch.lerp(x[other], x, share.view(-1, *[1] * (x.dim() - 1))) for x in tensors))
