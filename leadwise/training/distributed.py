"""Several processes that train together, as `torchrun --nproc-per-node N train_model.py DATA MODEL` starts them.

A `Group` is what they know of each other; the group of one process does nothing anywhere, so that training has one
story. Where there are at least as many processes as networks to train, each trains its own; else all train the same
one, each on its share of every batch, with the batch norms' statistics and the gradient of the whole batch.
Knows no data, no recipes and no files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from leadwise.util.progress import log

T = TypeVar("T")
TIMEOUT = timedelta(days=4)  # that processes wait for each other: one fold may take much longer than another


@dataclass(frozen=True)
class ProcessGroup:
    """This process among `size` of them; the first one leads: it alone writes files."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes what the group found."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        self.any(False)

    def main_first(self, call: Callable[[], T]) -> T:
        """What `call` gives in each process; the leader begins, then come the others, and all wait for the last."""
        if not self.is_main:
            self.wait()
        result = call()
        if self.is_main:
            self.wait()  # lets the others begin
        self.wait()  # for the last of them
        return result

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        # who waits for nobody needs no message
        return flag if self.size == 1 else bool(self.all_reduce(torch.tensor(float(flag))) > 0)

    def broadcast(self, *numbers: int) -> tuple[int, ...]:
        """The leader's numbers."""
        if self.size == 1:
            return numbers
        told = torch.tensor(numbers)
        dist.broadcast(told, 0)
        return tuple(told.tolist())

    def shard(self, items: Tensor) -> Tensor:
        """This process's part of what all of them have, (n, ...): every `size`th of its rows."""
        return items[self.rank :: self.size]  # a long recording's windows, neighbours, are shared

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place, also returned."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def all_reduce_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Each gradient becomes the sum over all processes, all in one message."""
        if self.size == 1:
            return
        # one message for all: many small ones would each cost a round trip
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        sums = self.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, torch.split(sums, [each.numel() for each in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def seed_per_process(self, generator: torch.Generator) -> None:
        """Lets dropout and augmentation draw other numbers in each process; they follow from the common `generator`."""
        if self.size > 1:
            # all draw the same number, so that a run that is resumed draws the same again; the rank tells them apart
            torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator)) + self.rank)


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """The group that torchrun made this process part of (its variables RANK and WORLD_SIZE); `ALONE` without it.

    Tensors on CPUs go by gloo, on GPUs by nccl, each process with a GPU and with CPU cores of its own.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SINGLE_PROCESS
        return
    local, beside = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    # processes on one machine share its cores, instead of each taking all of them
    torch.set_num_threads(max(1, torch.get_num_threads() // beside))
    dist.init_process_group(backend, timeout=TIMEOUT)
    group = ProcessGroup(dist.get_rank(), size)
    if not group.is_main:
        log.setLevel(logging.WARNING)  # one line of progress is enough
    try:
        yield group
    finally:
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """What each process's x does to the losses of all."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SynchronisedBatchNorm(nn.BatchNorm1d):
    """A batch norm with the statistics of all processes' rows, on any device: PyTorch's own (`SyncBatchNorm`) is for
    CUDA alone. (batch, channels) or (batch, channels, time) -> the same shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Two sums go around: of the values, then of their squared distances from the mean."""
        if not self.training:
            return super().forward(x)
        dims = [dim for dim in range(x.dim()) if dim != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x if x.dtype == torch.float64 else x.float()  # sums of halves would lose what is small
        count = values.new_tensor(values.numel() / values.shape[1])
        dist.all_reduce(count)  # the last process may have fewer rows
        mean = _Sum.apply(values.sum(dims)) / count  # type: ignore[no-untyped-call]
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(dims)) / count  # type: ignore[no-untyped-call]
        self._follow(mean.detach(), variance.detach() * count / (count - 1))  # unbiased, as PyTorch has it
        scale = self.weight * torch.rsqrt(variance + self.eps)
        result: Tensor = (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)
        return result

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics, as PyTorch's batch norm does."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


def synchronise_norms(network: nn.Module, group: ProcessGroup) -> None:
    """Replaces each batch norm by one with the whole group's statistics; parameters and state stay the same."""
    if group.size == 1:
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d):
                setattr(parent, name, _shared(child))


def _shared(norm: nn.BatchNorm1d) -> nn.Module:
    if norm.weight.device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
        return synchronised
    shared = SynchronisedBatchNorm(norm.num_features, norm.eps, norm.momentum)
    shared.load_state_dict(norm.state_dict())  # the same names: a checkpoint fits both kinds
    return shared.to(norm.weight.device, norm.weight.dtype)
