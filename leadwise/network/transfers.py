"""Copy small tensors between the host and a GPU without making the host wait for the GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor on the host to the device without waiting for the GPU; a tensor already there is returned as is."""
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    # from pageable memory the copy would wait for all that the GPU has to do; PyTorch keeps pinned memory for reuse and
    # gives it out again only when the copy is done
    return tensor.pin_memory().to(device, non_blocking=True)


class Fetched:
    """A small tensor on its way to the host. The GPU may not have computed it yet."""

    def __init__(self, tensor: Tensor) -> None:
        self.event: torch.cuda.Event | None = None
        self.value = tensor.detach()
        if tensor.device.type == "cuda":
            pinned = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
            self.value = pinned.copy_(self.value, non_blocking=True)
            self.event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.event.record(torch.cuda.current_stream(tensor.device))

    def result(self) -> Tensor:
        """Wait for the tensor and return it, on the host."""
        if self.event is not None:
            self.event.synchronize()
        return self.value
