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
    """A prepared data set as tensors on the training device; where that is too small the signals stay on the host."""

    samples: Tensor | HostSamples  # (samples of all, 12)
    starts: Tensor  # (n,) first row of each recording; this and the lengths lie where the signals do
    lengths: Tensor  # (n,) rows
    host_lengths: Tensor  # (n,) the same on the host
    auxiliary: Tensor  # (n, 5), or (n, 6) with the signal's scale
    targets: Tensor  # (n, 24) float32; what is learned: labels, and what stands in for them where a recipe says so

    @classmethod
    def of(
        cls, dataset: Dataset, device: torch.device, proxy_labels: bool = False, stream: bool | None = None
    ) -> Examples:
        """The data set's arrays; on a CPU the signals stay in their memory map. `stream` leaves them on the host also
        for a GPU; by default where they do not fit (`devices.fits`)."""
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
        """Where windows are wanted."""
        return self.targets.device

    def prefetch(self, indices: Tensor, offsets: Tensor, window: int) -> None:
        """Begins to fetch windows that will be asked for next, where signals are streamed."""
        if isinstance(self.samples, HostSamples):
            self.samples.prefetch(self._rows(indices, offsets, window)[0])

    def windows(self, indices: Tensor, offsets: Tensor, window: int) -> Tensor:
        """Windows (batch, 12, window) that begin at row `offsets` (batch,) of the recordings `indices` (batch,).

        An offset may be negative: rows before a recording's first and behind its last are zero.
        """
        rows, inside = self._rows(indices, offsets, window)
        values = self.samples.take(rows) if isinstance(self.samples, HostSamples) else self.samples[rows]
        values = values * send(inside, values.device).unsqueeze(2)  # (batch, window, 12)
        return values.transpose(1, 2).contiguous()  # (batch, 12, window)

    def _rows(self, indices: Tensor, offsets: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Rows of the signals (batch, window), and which of them are inside their recording."""
        indices, offsets = send(indices, self.starts.device), send(offsets, self.starts.device)
        rows = offsets.unsqueeze(1) + torch.arange(window, device=offsets.device)  # (batch, window)
        lengths = self.lengths[indices].unsqueeze(1)
        inside = (rows >= 0) & (rows < lengths)
        return rows.clamp(min=0).minimum(lengths - 1) + self.starts[indices].unsqueeze(1), inside


def random_offsets(lengths: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """Where each training window begins, (batch,): a uniformly random cut of a longer recording, a uniformly random
    split of the padding of a shorter one (then at most 0)."""
    spare = (lengths - window).cpu()  # (batch,)
    chance = torch.rand(spare.shape, generator=generator, dtype=torch.float64)
    shift = (chance * (spare.abs() + 1)).long()  # 0 ... |spare|
    return (spare.clamp(max=0) + shift).to(lengths.device)
