"""Train in several processes, started by torchrun: each its own network, or all the same one with shared batches.

Shared batches have the batch norm statistics and the gradient of the whole batch. A single process is a group, too.
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
TIMEOUT = timedelta(days=4)  # of waiting for other processes: one fold may take much longer than another


@dataclass(frozen=True)
class ProcessGroup:
    """This process among `size` of them. Only the main process (rank 0) writes files."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Return whether this is the main process."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(False)

    def main_first(self, call: Callable[[], T]) -> T:
        """Return the result of `call` in each process: first the main process, then the others; wait for all."""
        if not self.is_main:
            self.wait()
        result = call()
        if self.is_main:
            self.wait()  # lets the others begin
        self.wait()
        return result

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return (
            flag
            if self.size == 1
            else bool(self.all_reduce(torch.tensor(float(flag), dtype=torch.float32, device="cpu")) > 0)
        )

    def broadcast(self, *numbers: int) -> tuple[int, ...]:
        """Return the main process's numbers."""
        return tuple(self.all_reduce(torch.tensor(numbers, device="cpu") * self.is_main).tolist())

    def shard(self, items: Tensor) -> Tensor:
        """Return this process's share of (n, ...): every `size`th row, so that a long recording's windows are split."""
        return items[self.rank :: self.size]

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place; return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def all_reduce_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum each gradient over all processes, all in one message: many small ones would each cost a round trip."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        sums = self.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, total in zip(gradients, torch.split(sums, [each.numel() for each in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def seed_per_process(self, generator: torch.Generator) -> None:
        """Seed dropout and augmentation differently in each process, from the common `generator`."""
        if self.size > 1:  # all draw the same number, as a resumed run does; the rank makes it different
            torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator, device="cpu")) + self.rank)


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """Join the group that torchrun put this process into (RANK, WORLD_SIZE); `SINGLE_PROCESS` without torchrun."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SINGLE_PROCESS
        return
    local, local_size = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    torch.set_num_threads(max(1, torch.get_num_threads() // local_size))  # processes of one machine share its cores
    dist.init_process_group(backend, timeout=TIMEOUT)
    group = ProcessGroup(dist.get_rank(), size)
    if not group.is_main:
        log.setLevel(logging.WARNING)  # one process reports progress
    try:
        yield group
    finally:
        dist.destroy_process_group()


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    backward = forward  # the gradient of a sum over processes is the sum of their gradients


class SynchronisedBatchNorm(nn.BatchNorm1d):
    """A batch norm with the statistics of all processes on any device; PyTorch's `SyncBatchNorm` needs CUDA."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels) or (batch, channels, time)."""
        if not self.training:
            return super().forward(x)
        dims = [dim for dim in range(x.dim()) if dim != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x if x.dtype == torch.float64 else x.float()  # sums in half precision would lose small values
        count = values.new_tensor(values.numel() / values.shape[1])
        dist.all_reduce(count)  # the last process may have fewer rows
        mean = _AllReduce.apply(values.sum(dims)) / count  # type: ignore[no-untyped-call]
        centred = values - mean.view(shape)
        variance = _AllReduce.apply(centred.square().sum(dims)) / count  # type: ignore[no-untyped-call]
        with torch.no_grad():  # running statistics as PyTorch has them, of the unbiased variance
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        result: Tensor = (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)
        return result


def synchronise_norms(network: nn.Module, group: ProcessGroup) -> None:
    """Replace each batch norm by one with the statistics of the whole group; parameters and state stay the same."""
    if group.size == 1:
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d):
                if child.weight.device.type == "cuda":
                    norm = nn.SyncBatchNorm.convert_sync_batchnorm(child)  # type: ignore[no-untyped-call]
                else:
                    norm = SynchronisedBatchNorm(
                        child.num_features, child.eps, child.momentum, device="cpu", dtype=child.weight.dtype
                    )
                    norm.load_state_dict(child.state_dict())  # the same names: a checkpoint fits both kinds
                setattr(parent, name, norm)
