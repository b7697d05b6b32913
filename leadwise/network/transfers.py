"""Signals that do not fit into the GPU's memory: gathered on the host, one batch ahead, and copied while it computes.

The next batch's rows go into page-locked memory in a thread of their own (indexing lets other threads run), and from
there to the GPU on a stream of their own. On a CPU, where tests run it, the same without locking and streams. `send`
and `Fetched` carry small tensors to and fro without making the host wait. Knows neither recordings nor networks.
"""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor on the host to the device without waiting for the GPU; a tensor that is there stays as it is."""
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    # from pageable memory the copy would wait for all that the GPU has to do; PyTorch keeps pinned memory for reuse and
    # gives it out again only when the copy is done
    return tensor.pin_memory().to(device, non_blocking=True)


class Fetched:
    """A small tensor on its way to the host: what computes it may still be in the GPU's queue."""

    def __init__(self, tensor: Tensor) -> None:
        self.event: torch.cuda.Event | None = None
        self.value = tensor.detach()
        if tensor.device.type == "cuda":
            pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self.value = pinned.copy_(self.value, non_blocking=True)
            self.event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.event.record(torch.cuda.current_stream(tensor.device))

    @property
    def arrived(self) -> bool:
        """Whether `result` returns at once."""
        return self.event is None or bool(self.event.query())  # type: ignore[no-untyped-call]

    def result(self) -> Tensor:
        """Wait for the tensor and return it, on the host."""
        if self.event is not None:
            self.event.synchronize()
        return self.value
