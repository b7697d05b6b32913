"""Hold a prepared data set on the training device and cut training windows from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadwise.data.dataset import Dataset
from leadwise.network.devices import fits
from leadwise.network.transfers import send
from leadwise.training.streaming import HostSamples


@dataclass(frozen=True, eq=False)
class Examples:
    """A prepared data set as tensors on the training device; if that is too small, the signals stay on the host."""

    samples: Tensor | HostSamples  # (samples of all, 12)
    starts: Tensor  # (n,) first row of each recording; these and the lengths are where the signals are
    lengths: Tensor  # (n,) rows
    host_lengths: Tensor  # (n,) the same on the host
    auxiliary: Tensor  # (n, 5), or (n, 6) with the signal's scale
    targets: Tensor  # (n, 24) float32: labels, with proxy labels if the recipe uses them

    @classmethod
    def of(
        cls, dataset: Dataset, device: torch.device, proxy_labels: bool = False, stream: bool | None = None
    ) -> Examples:
        """Copy the arrays to the device; the signals, unless `stream` (by default if a GPU's memory is too small)."""
        samples, lengths = torch.from_numpy(dataset.samples), torch.from_numpy(dataset.lengths)
        stream = not fits(dataset.samples.nbytes, device) if stream is None else stream
        place = torch.device("cpu") if stream else device
        return cls(
            samples=HostSamples(samples, device) if stream else samples.to(device),
            starts=torch.from_numpy(dataset.starts).to(place),
            lengths=lengths.to(place),
            host_lengths=lengths,
            auxiliary=torch.from_numpy(dataset.auxiliary_features).to(device),
            targets=torch.from_numpy(dataset.targets(proxy_labels)).to(device, torch.float32),
        )

    @property
    def device(self) -> torch.device:
        """Return the training device."""
        return self.targets.device

    def prefetch(self, indices: Tensor, offsets: Tensor, window: int) -> None:
        """Begin to fetch the windows to be cut next, if signals are streamed."""
        if isinstance(self.samples, HostSamples):
            self.samples.prefetch(self._rows(indices, offsets, window)[0])

    def windows(self, indices: Tensor, offsets: Tensor, window: int) -> Tensor:
        """Return windows (batch, 12, window) from row `offsets` (batch,) of the recordings `indices` (batch,) on; rows
        before a recording's first and after its last are zero."""
        rows, inside = self._rows(indices, offsets, window)
        values = self.samples.take(rows) if isinstance(self.samples, HostSamples) else self.samples[rows]
        values = values * send(inside, values.device).unsqueeze(2)  # (batch, window, 12)
        return values.transpose(1, 2).contiguous()  # (batch, 12, window)

    def _rows(self, indices: Tensor, offsets: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Return rows of the signals (batch, window), and which of them are inside their recording."""
        indices, offsets = send(indices, self.starts.device), send(offsets, self.starts.device)
        rows = offsets.unsqueeze(1) + torch.arange(window, device=offsets.device)  # (batch, window)
        lengths = self.lengths[indices].unsqueeze(1)
        inside = (rows >= 0) & (rows < lengths)
        return rows.clamp(min=0).minimum(lengths - 1) + self.starts[indices].unsqueeze(1), inside


def random_offsets(lengths: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """Draw the first row of each window (batch,): a uniformly random cut of a longer recording, a uniformly random
    split of the padding of a shorter one (then at most 0). `lengths` (batch,) are on the host."""
    excess = lengths - window
    shift = (
        torch.rand(excess.shape, generator=generator, dtype=torch.float64, device="cpu") * (excess.abs() + 1)
    ).long()
    return excess.clamp(max=0) + shift  # shift: 0 ... |excess|
