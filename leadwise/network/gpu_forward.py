"""A network's forward pass on a GPU, as two-dimensional convolutions with the channels last.

The plain twin is `network.SEResNet`, whose modules and parameters it takes as they are. A window is an image one pixel
high, (batch, channels, 1, time), stored as (batch, time, channels): that is the layout that cuDNN's tensor-core
kernels read, so that no convolution has to transpose its input and output. Knows no recipes of training and no files.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from leadwise.network.devices import Processor
from leadwise.network.se_resnet import ResidualBlock, SEResNet, full_precision
from leadwise.util.progress import log


class ChannelsLastNetwork:
    """A network as a function of signals and demographics: logits and gradients of `SEResNet.forward`, up to rounding.

    In training mode it draws the dropout, and moves the running statistics of the batch norms, as the network does.
    """

    def __init__(self, network: SEResNet) -> None:
        self.network = network

    def __call__(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Logits (batch, classes) of signals (batch, 12, time) and demographics (batch, 5)."""
        with full_precision(signal):
            x = self._stem(signal.unsqueeze(2).contiguous(memory_format=torch.channels_last))
        for block in self.network.blocks:
            assert isinstance(block, ResidualBlock)
            x = _block(block, x)
        with full_precision(x):
            return self.network.classify(_means(x), demographics)

    def _stem(self, x: Tensor) -> Tensor:
        """(batch, 12, 1, time) -> (batch, 64, 1, time / 4)."""
        convolution, norm = self.network.stem[0], self.network.stem[1]
        x = torch.relu_(_norm(norm, _convolution(convolution, x)))  # (batch, 64, 1, time / 2)
        return nn.functional.max_pool2d(x, (1, 3), (1, 2), (0, 1))


def channels_last_or_plain(network: SEResNet, processor: Processor, window: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return `ChannelsLastNetwork`, or the network itself where a trial of one step fails; a log line says why."""
    try:
        _try(network, processor, window)
    except RuntimeError as error:  # what PyTorch raises where cuDNN has no such kernel, too
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("convolutions with channels last fail on this GPU: %s; the plain network is used", reason)
        return network
    return ChannelsLastNetwork(network)


def _try(network: SEResNet, processor: Processor, window: int) -> None:
    """Compute one training step of a copy on zeros: neither the network nor the random numbers to come change."""
    devices = [processor.device] if processor.device.type == "cuda" else []
    with _untuned(), torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
        trial = copy.deepcopy(network).train()
        recipe = network.recipe
        signal = torch.zeros(2, recipe.leads, window, device=processor.device)
        with processor.autocast():
            logits = ChannelsLastNetwork(trial)(signal, signal.new_zeros(2, recipe.demographics))
        logits.sum().backward()  # type: ignore[no-untyped-call]
        logits.sum().item()  # waits: an error of a kernel shows only then


@contextmanager
def _untuned() -> Iterator[None]:
    """Keep cuDNN from timing its algorithms in the block: for shapes that do not come again it would take seconds."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _block(block: ResidualBlock, x: Tensor) -> Tensor:
    """(batch, inputs, 1, time) -> (batch, outputs, 1, time / stride)."""
    y = torch.relu_(_norm(block.norm1, _convolution(block.convolution1, x)))
    y = _norm(block.norm2, _convolution(block.convolution2, block.dropout(y)))
    with full_precision(y):
        gate = block.gate.gate(_means(y))  # (batch, outputs)
    if isinstance(block.shortcut, nn.Sequential):
        convolution, norm = block.shortcut
        x = _norm(norm, _convolution(convolution, x))
    # where the types differ (the first blocks add to the stem's fp32), autocast's rule is the wider one
    return torch.relu_(x + y * gate[:, :, None, None].to(y.dtype))


def _means(x: Tensor) -> Tensor:
    """Means over time, (batch, channels, 1, time) -> (batch, channels), at least in fp32, without a copy in fp32."""
    return x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))


def _convolution(convolution: nn.Module, x: Tensor) -> Tensor:
    """A convolution along time, of (batch, inputs, 1, time)."""
    assert isinstance(convolution, nn.Conv1d)
    stride, padding = (1, convolution.stride[0]), (0, int(convolution.padding[0]))
    return nn.functional.conv2d(x, convolution.weight.unsqueeze(2), None, stride, padding)


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    """A batch norm of (batch, channels, 1, time), as `torch.nn.BatchNorm1d` computes and counts it."""
    assert isinstance(norm, nn.BatchNorm1d) and norm.momentum is not None
    if norm.training:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
    return nn.functional.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
    )
