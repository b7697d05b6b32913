"""Compute a network's forward pass on a GPU as two-dimensional convolutions with the channels last.

A window is an image one pixel high, (batch, channels, 1, time), stored as (batch, time, channels): the layout that
cuDNN's tensor-core kernels read, so that no convolution has to transpose its input and output.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from leadwise.network.devices import Processor
from leadwise.network.se_resnet import ResidualBlock, SEResNet, full_precision, mean_over_time
from leadwise.util.progress import log


class ChannelsLastNetwork:
    """Compute a network's logits and gradients as `SEResNet.forward` does, up to rounding; in training mode draw the
    dropout and update the running statistics of the batch norms."""

    def __init__(self, network: SEResNet) -> None:
        self.network = network

    def __call__(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Return logits (batch, classes) of signals (batch, 12, time) and demographics (batch, 5)."""
        convolution, norm = self.network.stem[0], self.network.stem[1]
        with full_precision(signal):
            x = signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (batch, 12, 1, time)
            x = torch.relu_(_norm(norm, _convolution(convolution, x)))  # (batch, 64, 1, time / 2)
            x = nn.functional.max_pool2d(x, (1, 3), (1, 2), (0, 1))  # (batch, 64, 1, time / 4)
        for block in self.network.blocks:
            x = _block(block, x)
        with full_precision(x):
            return self.network.classify(mean_over_time(x), demographics)


def channels_last_or_plain(network: SEResNet, processor: Processor, window: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return `ChannelsLastNetwork`, or the network itself if a training step of a copy fails; log the reason."""
    devices = [processor.device] if processor.device.type == "cuda" else []
    tuned = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False  # to time algorithms for shapes that never come again would take seconds
    try:
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            trial, recipe = copy.deepcopy(network).train(), network.recipe
            signal = torch.zeros(2, recipe.leads, window, dtype=torch.float32, device=processor.device)
            with processor.autocast():
                logits = ChannelsLastNetwork(trial)(signal, signal.new_zeros(2, recipe.demographics))
            logits.sum().backward()  # type: ignore[no-untyped-call]
            logits.sum().item()  # waits: an error of a kernel shows only then
    except RuntimeError as error:  # PyTorch raises it also if cuDNN has no such kernel
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("convolutions with channels last fail on this GPU: %s; the plain network is used", reason)
        return network
    finally:
        torch.backends.cudnn.benchmark = tuned
    return ChannelsLastNetwork(network)


def _block(block: nn.Module, x: Tensor) -> Tensor:
    """Map (batch, inputs, 1, time) to (batch, outputs, 1, time / stride)."""
    assert isinstance(block, ResidualBlock)
    y = torch.relu_(_norm(block.norm1, _convolution(block.convolution1, x)))
    y = _norm(block.norm2, _convolution(block.convolution2, block.dropout(y)))
    with full_precision(y):
        gate = block.gate.gate(mean_over_time(y))  # (batch, outputs)
    if isinstance(block.shortcut, nn.Sequential):
        convolution, norm = block.shortcut
        x = _norm(norm, _convolution(convolution, x))
    # if the types differ (the first blocks add to the stem's fp32), the sum has the wider one, as under autocast
    return torch.relu_(x + y * gate[:, :, None, None].to(y.dtype))


def _convolution(convolution: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(convolution, nn.Conv1d)
    stride, padding = (1, convolution.stride[0]), (0, int(convolution.padding[0]))
    return nn.functional.conv2d(x, convolution.weight.unsqueeze(2), None, stride, padding)


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a batch norm to (batch, channels, 1, time) and count the batch, as `torch.nn.BatchNorm1d` does."""
    assert isinstance(norm, nn.BatchNorm1d) and norm.momentum is not None
    if norm.training:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
    return nn.functional.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
    )
