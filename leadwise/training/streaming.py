"""Stream signals that do not fit into the GPU's memory: gather the next batch on the host while the GPU computes.

A thread gathers it in page-locked memory (indexing lets other threads run), a CUDA stream copies it.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

BUFFERS = 2  # one is filled while the other is copied


class HostSamples:
    """Rows (samples of all, channels) in the host's memory or in a file, to be taken on a device."""

    def __init__(self, samples: Tensor, device: torch.device) -> None:
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        self.samples, self.device = samples, device
        # one thread, so that batches come in the order of their requests; it would use the first GPU by default
        on_gpu = device.type == "cuda"
        self.reader = ThreadPoolExecutor(1, initializer=lambda: torch.cuda.set_device(device) if on_gpu else None)
        self.requested: deque[tuple[Tensor, Future[tuple[Tensor, torch.cuda.Event | None]]]] = deque()
        self.stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self.buffers: list[tuple[Tensor, torch.cuda.Event | None]] = [(samples.new_empty(0), None)] * BUFFERS

    def prefetch(self, rows: Tensor) -> None:
        """Begin to fetch rows (batch, window), on the host, that will be taken next."""
        self.requested.append((rows, self.reader.submit(self._fetch, rows)))

    def take(self, rows: Tensor) -> Tensor:
        """Return the values (batch, window, channels) at rows (batch, window), on the device."""
        while self.requested:  # an interrupted epoch leaves requests that are never taken
            known, values = self.requested.popleft()
            if torch.equal(known, rows):
                break
        else:
            values = self.reader.submit(self._fetch, rows)
        copied, event = values.result()
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)  # the GPU waits, the host does not
            copied.record_stream(current)  # otherwise its memory could be reused while this stream still reads it
        return copied

    def _fetch(self, rows: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        """Return values on the device, and the event of their arrival."""
        buffer, event = self.buffers.pop(0)  # used longest ago
        if event is not None:
            event.synchronize()  # its copy must be done before it is overwritten
        size = rows.numel() * self.samples.shape[1]
        if buffer.numel() < size:
            buffer = torch.empty(size, dtype=self.samples.dtype, device="cpu", pin_memory=self.stream is not None)
        self.buffers.append((buffer, None))
        values = buffer[:size].view(*rows.shape, -1)
        torch.index_select(self.samples, 0, rows.flatten(), out=buffer[:size].view(rows.numel(), -1))
        if self.stream is None:
            return values.clone(), None  # the buffer may be filled again before this batch is used
        with torch.cuda.stream(self.stream):
            copied = values.to(self.device, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self.stream)
        self.buffers[-1] = (buffer, event)
        return copied, event
