"""Augment batches of training windows, as if devices of other hospitals had recorded them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leadwise.network.transfers import send
from leadwise.recipes import AugmentationRecipe

DEMOGRAPHICS = 5  # auxiliary features of age and sex, which come first; the log of a signal's scale may follow
V2 = 7  # its row among the twelve leads
# Rows and signs of I, II, III, aVR, aVL, aVF with two electrodes exchanged: none, both arms, left arm and leg, right
# arm and left leg. Follows from the leads' definitions (I = LA - RA, II = LL - RA, III = LL - LA).
SWAPS = (
    ((0, 1, 2, 3, 4, 5), (1, 1, 1, 1, 1, 1)),
    ((0, 2, 1, 4, 3, 5), (-1, 1, 1, 1, 1, 1)),
    ((1, 0, 2, 3, 5, 4), (1, 1, -1, 1, 1, 1)),
    ((2, 1, 0, 5, 4, 3), (-1, -1, -1, 1, 1, 1)),
)
LARGEST_HUM, LARGEST_WANDER = 0.5, 1.0  # amplitude; the root mean square of the signal is 1
WANDER = (0.1, 0.6)  # Hz


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
    if recipe.swaps:
        windows = swap_electrodes(windows, recipe.swaps)
    if recipe.interference:
        windows = add_interference(windows, recipe.interference, sampling_frequency)
    if recipe.lead_loss:
        windows, auxiliary = drop_leads(windows, auxiliary, recipe.lead_loss)
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


def swap_electrodes(windows: Tensor, share: float) -> Tensor:
    """Exchange two limb electrodes of some windows: right and left arm in half of them. Chest leads stay, since their
    reference is the mean of the three."""
    exchanged = _uniform(windows) < share  # (batch,)
    limits = torch.tensor([0.5, 0.75], dtype=windows.dtype, device=windows.device)
    kind = (1 + torch.bucketize(_uniform(windows), limits)) * exchanged
    order = torch.tensor([order for order, _ in SWAPS], device=windows.device)[kind]  # (batch, 6)
    signs = torch.tensor([signs for _, signs in SWAPS], dtype=windows.dtype, device=windows.device)[kind]
    limbs = torch.gather(windows[:, :6], 1, order.unsqueeze(2).expand(-1, -1, windows.shape[2]))
    return torch.cat([limbs * signs.unsqueeze(2), windows[:, 6:]], dim=1)


def add_interference(windows: Tensor, share: float, sampling_frequency: float) -> Tensor:
    """Add mains hum of 50 or 60 Hz to some windows, and a baseline that wanders as with breath to some; each lead has
    its own strength and phase; zeros (padding) stay zeros."""
    time = torch.arange(windows.shape[2], dtype=windows.dtype, device=windows.device) / sampling_frequency
    hum = 50 + 10 * (_uniform(windows, 1, 1) < 0.5)  # (batch, 1, 1) Hz
    breath = WANDER[0] + (WANDER[1] - WANDER[0]) * _uniform(windows, 1, 1)
    for frequency, largest in ((hum, LARGEST_HUM), (breath, LARGEST_WANDER)):
        chosen = _uniform(windows, 1, 1) < share
        strength = largest * _uniform(windows, 1, 1) * chosen * _uniform(windows, windows.shape[1], 1)
        phase = _uniform(windows, windows.shape[1], 1)
        windows = windows + strength * torch.sin(2 * torch.pi * (frequency * time + phase)) * (windows != 0)
    return windows


def drop_leads(windows: Tensor, auxiliary: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Set leads of some windows to zero: in half of them up to half of the twelve, as lost electrodes do, in the other
    half the chest leads, all or all but V2, as in the reduced lead sets of the Challenge of 2021 (its limb leads
    determine each other). If auxiliary features have the logarithm of the scale, the rest is normalised anew."""
    losing, of_set = (_uniform(windows, 1, 1) < chance for chance in (share, 0.5))
    lost = _uniform(windows, windows.shape[1], 1) < 0.5 * _uniform(windows, 1, 1)
    chest = torch.tensor([False] * 6 + [True] * 6, device=windows.device).view(1, -1, 1)
    without_v2 = torch.arange(windows.shape[1], device=windows.device).view(1, -1, 1) != V2
    missing = torch.where(of_set, chest & (without_v2 | (_uniform(windows, 1, 1) < 0.5)), lost)  # (batch, 12, 1)
    kept = windows * ~(losing & missing)
    if auxiliary.shape[1] == DEMOGRAPHICS:
        return kept, auxiliary
    before, after = map(_rms, (windows, kept))  # (batch, 1)
    ratio = torch.where((before > 0) & (after > 0), after / before.clamp(min=1e-6), 1.0)
    scale = auxiliary[:, DEMOGRAPHICS:] + torch.log(ratio)
    return kept / ratio.unsqueeze(2), torch.cat([auxiliary[:, :DEMOGRAPHICS], scale], dim=1)


def _rms(windows: Tensor) -> Tensor:
    """Return the root mean square over the leads that are not zero, (batch, 1)."""
    present = (windows != 0).any(2).sum(1, keepdim=True).clamp(min=1)
    return torch.sqrt(windows.square().mean(2).sum(1, keepdim=True) / present)


def mix_up(batch: Batch, alpha: float) -> Batch:
    """Mix each window with another of the batch: signals, auxiliary features and targets, at least half its own."""
    concentration = torch.tensor(alpha, dtype=batch.windows.dtype, device="cpu")
    beta = torch.distributions.Beta(concentration, concentration)
    share = send(beta.sample((len(batch.windows),)), batch.windows.device)
    share = torch.maximum(share, 1 - share)  # (batch,)
    other = torch.randperm(len(share), device=share.device)
    tensors = (batch.windows, batch.auxiliary, batch.targets)
    return Batch(*(torch.lerp(x[other], x, share.view(-1, *[1] * (x.dim() - 1))) for x in tensors))
