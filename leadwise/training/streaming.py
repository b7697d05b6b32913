"""Signals that do not fit into the GPU's memory: gathered on the host, one batch ahead, and copied while it computes.

The next batch's rows go into page-locked memory in a thread of their own (indexing lets other threads run), and from
there to the GPU on a stream of their own. On a CPU, where tests run it, the same without locking and streams. `send`
and `Fetched` carry small tensors to and fro without making the host wait. Knows neither recordings nor networks.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

BUFFERS = 2  # one is filled while the other is copied


def _choose(device: torch.device) -> None:
    """Make a GPU the current one of this thread. A thread begins with the first GPU, and to lock memory would take some
    of that one's memory for each process."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


class HostSamples:
    """Rows (samples of all, channels) in the host's memory or in a file, given out on a device."""

    def __init__(self, samples: Tensor, device: torch.device) -> None:
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        self.samples, self.device = samples, device
        # one thread: batches come in the order in which they are expected
        self.reader = ThreadPoolExecutor(1, initializer=partial(_choose, device))
        self.expected: deque[tuple[Tensor, Future[tuple[Tensor, torch.cuda.Event | None]]]] = deque()
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.buffers: list[tuple[Tensor, torch.cuda.Event | None]] = [(samples.new_empty(0), None)] * BUFFERS

    def prefetch(self, rows: Tensor) -> None:
        """Begins to fetch rows (batch, window), on the host, that will be asked for next."""
        self.expected.append((rows, self.reader.submit(self._fetch, rows)))

    def take(self, rows: Tensor) -> Tensor:
        """The values (batch, window, channels) at rows (batch, window), on the device; at once where expected."""
        while self.expected:  # an epoch that was broken off leaves expectations that nobody asks for any more
            known, values = self.expected.popleft()
            if torch.equal(known, rows):
                break
        else:
            values = self.reader.submit(self._fetch, rows)
        copied, event = values.result()
        if event is not None:
            now = torch.cuda.current_stream(self.device)
            now.wait_event(event)  # the GPU waits, the host goes on
            copied.record_stream(now)  # else its memory might be given away while this stream still reads it
        return copied

    def _fetch(self, rows: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        """Values on the device, and when they are there."""
        buffer = self._free_buffer(rows.numel())
        torch.index_select(self.samples, 0, rows.flatten(), out=buffer)
        values = buffer.view(*rows.shape, -1)
        if self.stream is None:
            return values.clone(), None  # the buffer is filled anew before this batch is learnt
        with torch.cuda.stream(self.stream):
            copied = values.to(self.device, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self.stream)
        self.buffers[-1] = (self.buffers[-1][0], event)
        return copied, event

    def _free_buffer(self, rows: int) -> Tensor:
        """The buffer that was used longest ago, once its copy is done: (rows, channels)."""
        buffer, event = self.buffers.pop(0)
        if event is not None:
            event.synchronize()  # or it would be overwritten while it is copied
        size = rows * self.samples.shape[1]
        if buffer.numel() < size:
            buffer = torch.empty(size, dtype=self.samples.dtype, pin_memory=self.stream is not None)
        self.buffers.append((buffer, None))
        return buffer[:size].view(rows, -1)
