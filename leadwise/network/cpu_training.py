"""Compute a network's forward and backward pass on a CPU in fp32 with less arithmetic, for training and validation.

Activations are stored as (batch, time, channels), so that a convolution is a few large matrix products. A convolution
of 7 along time takes 10 products for 4 outputs instead of 28 by Toom and Cook's algorithm, with stride 2 14 instead of
28, and so do its gradients. Large intermediate results share buffers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from leadwise.network.se_resnet import ResidualBlock, SEResNet, dropout_mask
from leadwise.network.toom_cook import KERNEL, TILE, Workspace, pair_columns, toom_cook
from leadwise.recipes import NetworkRecipe

TRAILING = 8  # rows of zeros after the last recording, which its last tiles read


class PaddedRows:
    """A batch as rows (rows, channels) with zeros between the recordings: all tiles lie at equal distances."""

    def __init__(self, rows: Tensor, batch: int, length: int, front: int) -> None:
        self.rows, self.batch, self.length, self.front = rows, batch, length, front
        self.tiles = (len(rows) - TRAILING) // TILE  # of all recordings

    @classmethod
    def of(cls, x: Tensor, front: int, workspace: Workspace | None = None) -> PaddedRows:
        """Copy x with `front` zeros before each recording, into new memory or into a buffer of the workspace."""
        batch, length, channels = x.shape
        rows = TILE * (-(-length // TILE) + 1)  # whole tiles, and one more, so that no tile sees two recordings
        shape = (batch * rows + TRAILING, channels)
        padded = x.new_empty(shape) if workspace is None else workspace.take("padded", *shape)
        recordings = padded[: batch * rows].view(batch, rows, channels)
        # only rows that no recording covers are set to 0; a reused buffer holds an earlier batch there
        recordings[:, :front] = 0
        recordings[:, front : front + length] = x
        recordings[:, front + length :] = 0
        padded[batch * rows :] = 0
        return cls(padded, batch, length, front)

    def transformed(self, matrix: Tensor, out: Tensor, first: int = 0) -> Tensor:
        """Write `matrix` (points, inputs) times each tile, from row `first` on, to `out` (tiles, points, channels)."""
        channels = self.rows.shape[1]
        strides = (TILE * channels, channels, 1)
        start = self.rows.storage_offset() + first * channels
        # tiles overlap: a strided view, not a copy
        windows = self.rows.as_strided((self.tiles, matrix.shape[1], channels), strides, start)
        return torch.bmm(matrix.expand(self.tiles, -1, -1), windows, out=out)

    def correlated(self, products: Tensor, kernel: int, workspace: Workspace) -> Tensor:
        """Correlate each recording with a transformed kernel (points, channels, outputs): (batch, time, outputs)."""
        to_inputs, _, back = toom_cook(kernel, torch.float32)
        points, channels, outputs = products.shape
        inputs = self.transformed(to_inputs, workspace.take("inputs", self.tiles, points, channels))
        product = workspace.take("products", points, self.tiles, outputs)
        torch.bmm(inputs.transpose(0, 1), products, out=product)  # nearly all of the arithmetic is here
        result = workspace.take("outputs", self.tiles, TILE, outputs)
        torch.bmm(back.expand(self.tiles, -1, -1), product.transpose(0, 1), out=result)
        recordings = result.view(self.batch, -1, outputs)[:, : self.length]
        return recordings.clone(memory_format=torch.contiguous_format)  # the next call overwrites the buffer


class Correlation(torch.autograd.Function):
    """Convolve (batch, time, inputs) with (outputs, inputs, kernel) to (batch, time, outputs), zero-padded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, workspace: Workspace) -> Tensor:
        """Keep the padded input for the backward pass."""
        outputs, inputs, kernel = weight.shape
        padded = PaddedRows.of(x, kernel // 2)
        by_tap = weight.permute(2, 1, 0).reshape(kernel, -1)  # (kernel, inputs x outputs)
        products = (toom_cook(kernel, torch.float32)[1] @ by_tap).view(-1, inputs, outputs)
        ctx.save_for_backward(padded.rows, weight)
        ctx.shape, ctx.workspace = x.shape, workspace
        return padded.correlated(products, kernel, workspace)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradient by x, a correlation with the reversed kernel, and by the weights, the adjoint."""
        rows, weight = ctx.saved_tensors
        outputs, inputs, kernel = weight.shape
        to_inputs, to_kernel, back = toom_cook(kernel, torch.float32)
        points, workspace = len(to_kernel), ctx.workspace
        x = PaddedRows(rows, ctx.shape[0], ctx.shape[1], kernel // 2)
        g = PaddedRows.of(gradient, kernel - 1 - kernel // 2, workspace)
        # the input is transformed again: keeping the result of the forward pass would cost memory and save little time
        of_x = x.transformed(to_inputs, workspace.take("inputs", x.tiles, points, inputs))
        of_g = g.transformed(back.T, workspace.take("products", g.tiles, points, outputs), g.front)
        by_products = torch.bmm(of_x.permute(1, 2, 0), of_g.transpose(0, 1))  # (points, inputs, outputs)
        by_weight = (to_kernel.T @ by_products.view(points, -1)).view(kernel, inputs, outputs).permute(2, 1, 0)
        by_tap = weight.permute(2, 0, 1).reshape(kernel, -1)
        reversed_products = (to_kernel.flip(1) @ by_tap).view(points, outputs, inputs)
        return g.correlated(reversed_products, kernel, workspace), by_weight, None


class RectifiedDropout(torch.autograd.Function):
    """Apply ReLU and dropout at once; only the output is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        """Map any shape to the same shape."""
        y, ctx.scale = torch.relu(x), 1.0
        if probability > 0:
            mask, ctx.scale = dropout_mask(x.shape, probability)
            y.mul_(mask).mul_(ctx.scale)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Pass the gradient where the output is above 0: neither dropped nor cut by the ReLU."""
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, y, 0).mul_(ctx.scale), None


class CpuTrainingNetwork:
    """Compute a network's logits and gradients as `SEResNet.forward` does, up to rounding; in training mode draw the
    dropout and update the running statistics of the batch norms."""

    @staticmethod
    def supports(recipe: NetworkRecipe) -> bool:
        """Return whether networks of this recipe can be computed so: convolutions of 7 in the blocks, as published."""
        return recipe.kernel == KERNEL

    def __init__(self, network: SEResNet) -> None:
        self.network, self.workspace = network, Workspace()

    def __call__(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Return logits (batch, classes) of signals (batch, 12, time) and demographics (batch, 5)."""
        x = self.network.stem(signal).transpose(1, 2).contiguous()  # (batch, time / 4, 64)
        for block in self.network.blocks:
            assert isinstance(block, ResidualBlock)
            x = self._block(block, x)
        return self.network.classify(x.mean(1), demographics)

    def _block(self, block: ResidualBlock, x: Tensor) -> Tensor:
        """Map (batch, time, inputs) to (batch, time / stride, outputs)."""
        y = _norm(block.norm1, self._convolution(block.convolution1, x))
        probability = block.dropout.p if block.training else 0.0
        y = RectifiedDropout.apply(y, probability)  # type: ignore[no-untyped-call]
        y = _norm(block.norm2, self._convolution(block.convolution2, y))
        gate = block.gate.gate(y.mean(1)).unsqueeze(1)  # (batch, 1, outputs)
        if isinstance(block.shortcut, nn.Sequential):
            convolution, norm = block.shortcut
            assert isinstance(convolution, nn.Conv1d)
            every_second = x[:, :: convolution.stride[0]].contiguous()  # all that a kernel of 1 sees
            x = _norm(norm, nn.functional.linear(every_second, convolution.weight[:, :, 0]))
        return torch.relu_(torch.addcmul(x, y, gate))

    def _convolution(self, convolution: nn.Conv1d, x: Tensor) -> Tensor:
        weight = convolution.weight
        if convolution.stride[0] == 2:
            # two rows side by side are one of twice the channels: stride 2 becomes stride 1
            x = nn.functional.pad(x, (0, 0, 0, x.shape[1] % 2))
            x = x.view(len(x), -1, 2 * x.shape[2])  # (batch, time / 2, 2 x inputs)
            weight = pair_columns(weight)
        result: Tensor = Correlation.apply(x, weight, self.workspace)  # type: ignore[no-untyped-call]
        return result


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = norm(x.flatten(0, 1))  # (batch x time, channels), as batch norms take rows without a time
    return y.view_as(x)
