"""What a batch of training windows goes through, as if another hospital's machine had taken it.

Tensors in, tensors out, on the training device, a whole batch at a time. Knows no files, no networks and no epochs.
Every random number comes from PyTorch's own generators, whose state a checkpoint keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadwise.network.transfers import send
from leadwise.recipes import AugmentationRecipe

PERSON = 5  # auxiliary features of age and sex; a signal's log scale follows


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows (batch, 12, time), auxiliary features (batch, 5 or 6) and targets (batch, 24) in [0, 1]."""

    windows: Tensor
    auxiliary: Tensor
    targets: Tensor


def augmented(batch: Batch, recipe: AugmentationRecipe, sampling_frequency: float) -> Batch:
    """The batch after everything that the recipe asks for; the same tensors where it asks for nothing."""
    windows, auxiliary = batch.windows, batch.auxiliary
    if recipe.filters:
        windows = filtered(windows, recipe, sampling_frequency)
    if recipe.noise:
        windows = noisy(windows, recipe.noise)
    if recipe.gain:
        windows, auxiliary = regained(windows, auxiliary, recipe.gain)
    if recipe.lead_loss:
        windows = without_leads(windows, recipe.lead_loss)
    if recipe.hidden_demographics:
        unknown = uniform(windows, 1) < recipe.hidden_demographics  # (batch, 1)
        auxiliary = torch.cat([auxiliary[:, :PERSON] * ~unknown, auxiliary[:, PERSON:]], dim=1)
    batch = Batch(windows, auxiliary, batch.targets)
    return mixed(batch, recipe.mixup) if recipe.mixup else batch


def uniform(windows: Tensor, *shape: int) -> Tensor:
    """Return random numbers in [0, 1) for each window, (batch, *shape), on its device."""
    return torch.rand(len(windows), *shape, device=windows.device)


def filtered(windows: Tensor, recipe: AugmentationRecipe, sampling_frequency: float) -> Tensor:
    """Some windows with a low-pass and some with a high-pass of random frequency, both without phase: machines differ
    in what they let through, by the standards' choice of 40, 100 or 150 Hz and of 0.05 or 0.5 Hz."""
    frequencies = torch.fft.rfftfreq(windows.shape[2], 1 / sampling_frequency, device=windows.device)  # (bins,)
    low, high = (torch.log(torch.tensor(edges)) for edges in (recipe.low_pass, recipe.high_pass))
    top = torch.exp(low[0] + uniform(windows, 1, 1) * (low[1] - low[0]))  # (batch, 1, 1) Hz
    bottom = torch.exp(high[0] + uniform(windows, 1, 1) * (high[1] - high[0]))
    response_low = 1 / torch.sqrt(1 + (frequencies / top) ** 6)  # (batch, 1, bins): Butterworth's of third order
    response_high = 1 / torch.sqrt(1 + (bottom / frequencies.clamp(min=1e-3)) ** 4)  # ... and of second
    response = torch.where(uniform(windows, 1, 1) < recipe.filters, response_low, 1.0)
    response = response * torch.where(uniform(windows, 1, 1) < recipe.filters, response_high, 1.0)
    result: Tensor = torch.fft.irfft(torch.fft.rfft(windows) * response, n=windows.shape[2])
    return result


def noisy(windows: Tensor, largest: float) -> Tensor:
    """Half of the windows with white noise of random strength, small ones more often; zeros (padding) stay zeros."""
    strength = largest * uniform(windows, 1, 1) ** 2 * (uniform(windows, 1, 1) < 0.5)
    return windows + strength * torch.randn_like(windows) * (windows != 0)


def regained(windows: Tensor, auxiliary: Tensor, deviation: float) -> tuple[Tensor, Tensor]:
    """Each window, and each of its leads, louder or softer; a log scale beside it moves too, by up to twice as much."""
    shape = (len(windows), windows.shape[1], 1)
    of_lead, of_window = (torch.randn(size, device=windows.device) for size in (shape, (len(windows), 1, 1)))
    windows = windows * torch.exp(deviation * (of_lead + of_window))
    moved = 2 * deviation * torch.randn(len(windows), auxiliary.shape[1] - PERSON, device=windows.device)
    return windows, torch.cat([auxiliary[:, :PERSON], auxiliary[:, PERSON:] + moved], dim=1)


def without_leads(windows: Tensor, share: float) -> Tensor:
    """Some windows with leads that are zero throughout, as a lost electrode leaves them: up to half of them."""
    chance = 0.5 * uniform(windows, 1, 1) * (uniform(windows, 1, 1) < share)
    return windows * (uniform(windows, windows.shape[1], 1) >= chance)


def mixed(batch: Batch, alpha: float) -> Batch:
    """Each window mixed with another of the batch, signals, auxiliary and targets alike; its own part is the larger."""
    beta = torch.distributions.Beta(alpha, alpha)
    share = send(beta.sample((len(batch.windows),)), batch.windows.device)  # (batch,); drawn on the host
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(share), device=share.device)

    def mix(x: Tensor) -> Tensor:
        return torch.lerp(x[other], x, share.view(-1, *[1] * (x.dim() - 1)))

    return Batch(mix(batch.windows), mix(batch.auxiliary), mix(batch.targets))
