"""A network's forward and backward pass on a CPU in fp32, with less arithmetic: what training and validation run there.

The plain twin is `network.SEResNet`, whose modules and parameters it takes as they are; it is what runs on GPUs and in
other precisions. Knows no recipes of training and no files. What is saved, and where:

- Activations lie as (batch, time, channels), so that a convolution is a few large matrix products.
- A convolution of 7 along time, its gradient by the input and by the weights are computed by Toom and Cook's algorithm:
  10 products for 4 outputs where the plain way takes 28; with stride 2, 14 where it takes 28.
- What is large and short-lived stays in one memory; what can be computed again in a moment (the transformed input) is
  not kept for the backward pass.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from leadwise.network.se_resnet import ResidualBlock, SEResNet, dropout_mask
from leadwise.network.toom_cook import KERNEL, TILE, Workspace, paired, toom_cook
from leadwise.recipes import NetworkRecipe

BEHIND = 8  # rows of zeros behind the last recording, which the tiles of its end reach into


@lru_cache
def matrices(kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    """`toom_cook` as fp32 tensors: (points, inputs), (points, kernel), (TILE, points)."""
    to_inputs, to_kernel, back = (torch.from_numpy(matrix).float() for matrix in toom_cook(kernel))
    return to_inputs, to_kernel, back


class PaddedRows:
    """A batch (batch, time, channels) as rows with zeros between the recordings, (rows, channels), so that all tiles of
    the batch lie at equal distances: one tile more a recording than it has outputs, the last of no meaning."""

    def __init__(self, rows: Tensor, batch: int, length: int, front: int) -> None:
        self.rows, self.batch, self.length, self.front = rows, batch, length, front
        self.tiles = (len(rows) - BEHIND) // TILE  # of all recordings

    @classmethod
    def of(cls, x: Tensor, front: int, workspace: Workspace | None = None) -> PaddedRows:
        """With `front` zeros before each recording, in memory of its own or in the workspace's."""
        batch, length, channels = x.shape
        rows = TILE * (-(-length // TILE) + 1)  # whole tiles, and one more, so that no tile sees two recordings
        shape = (batch * rows + BEHIND, channels)
        padded = x.new_empty(shape) if workspace is None else workspace.take("padded", *shape)
        recordings = padded[: batch * rows].view(batch, rows, channels)
        # only what no recording covers is set to 0: the memory is used again and holds the last batch
        recordings[:, :front] = 0
        recordings[:, front : front + length] = x
        recordings[:, front + length :] = 0
        padded[batch * rows :] = 0
        return cls(padded, batch, length, front)

    def transformed(self, matrix: Tensor, out: Tensor, first: int = 0) -> Tensor:
        """`matrix` (points, inputs) times the rows of each tile, which begin at row `first`: (tiles, points, channels),
        written to `out`."""
        channels = self.rows.shape[1]
        strides = (TILE * channels, channels, 1)
        start = self.rows.storage_offset() + first * channels
        # tiles overlap, and are looked at where they lie instead of being copied
        windows = self.rows.as_strided((self.tiles, matrix.shape[1], channels), strides, start)
        return torch.bmm(matrix.expand(self.tiles, -1, -1), windows, out=out)

    def correlated(self, products: Tensor, kernel: int, workspace: Workspace) -> Tensor:
        """Each recording correlated with a transformed kernel (points, channels, outputs): (batch, time, outputs)."""
        to_inputs, _, back = matrices(kernel)
        points, channels, outputs = products.shape
        inputs = self.transformed(to_inputs, workspace.take("inputs", self.tiles, points, channels))
        product = workspace.take("products", points, self.tiles, outputs)
        torch.bmm(inputs.transpose(0, 1), products, out=product)  # nearly all of the arithmetic is here
        result = workspace.take("outputs", self.tiles, TILE, outputs)
        torch.bmm(back.expand(self.tiles, -1, -1), product.transpose(0, 1), out=result)
        recordings = result.view(self.batch, -1, outputs)[:, : self.length]
        return recordings.clone(memory_format=torch.contiguous_format)  # the workspace's memory is the next call's


class Correlation(torch.autograd.Function):
    """(batch, time, inputs) and weights (outputs, inputs, kernel) -> (batch, time, outputs), `kernel // 2` zeros
    before each recording: a convolution of stride 1 whose time does not change."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, workspace: Workspace) -> Tensor:
        """Keeps the padded input."""
        outputs, inputs, kernel = weight.shape
        padded = PaddedRows.of(x, kernel // 2)
        by_tap = weight.permute(2, 1, 0).reshape(kernel, -1)  # (kernel, inputs x outputs)
        products = (matrices(kernel)[1] @ by_tap).view(-1, inputs, outputs)
        ctx.save_for_backward(padded.rows, weight)
        ctx.shape, ctx.workspace = x.shape, workspace
        return padded.correlated(products, kernel, workspace)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """By the input: the correlation with the reversed kernel. By the weights: the adjoint of the forward pass."""
        rows, weight = ctx.saved_tensors
        outputs, inputs, kernel = weight.shape
        to_inputs, to_kernel, back = matrices(kernel)
        points, workspace = len(to_kernel), ctx.workspace
        x = PaddedRows(rows, ctx.shape[0], ctx.shape[1], kernel // 2)
        g = PaddedRows.of(gradient, kernel - 1 - kernel // 2, workspace)
        # what was transformed in the forward pass is transformed again: to keep it would take more memory than time
        of_x = x.transformed(to_inputs, workspace.take("inputs", x.tiles, points, inputs))
        of_g = g.transformed(back.T, workspace.take("products", g.tiles, points, outputs), g.front)
        by_products = torch.bmm(of_x.permute(1, 2, 0), of_g.transpose(0, 1))  # (points, inputs, outputs)
        by_weight = (to_kernel.T @ by_products.view(points, -1)).view(kernel, inputs, outputs).permute(2, 1, 0)
        by_tap = weight.permute(2, 0, 1).reshape(kernel, -1)
        reversed_products = (to_kernel.flip(1) @ by_tap).view(points, outputs, inputs)
        return g.correlated(reversed_products, kernel, workspace), by_weight, None


class RectifiedDropout(torch.autograd.Function):
    """ReLU and dropout at once, which keep the output alone for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        """Any shape -> the same shape."""
        y, ctx.scale = torch.relu(x), 1.0  # of what is kept, so that the mean stays
        if probability > 0:
            mask, ctx.scale = dropout_mask(x.shape, probability)
            y.mul_(mask).mul_(ctx.scale)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """What was neither dropped nor below 0 is above 0."""
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, y, 0).mul_(ctx.scale), None


class CpuTrainingNetwork:
    """A network as a function of signals and demographics: logits and gradients of `SEResNet.forward`, up to rounding.

    In training mode it draws the dropout, and moves the running statistics of the batch norms, as the network does.
    """

    @staticmethod
    def supports(recipe: NetworkRecipe) -> bool:
        """Whether networks of this recipe can be computed so: convolutions of 7 in the blocks, as published."""
        return recipe.kernel == KERNEL

    def __init__(self, network: SEResNet) -> None:
        self.network, self.workspace = network, Workspace()

    def __call__(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Logits (batch, classes) of signals (batch, 12, time) and demographics (batch, 5)."""
        x = self.network.stem(signal).transpose(1, 2).contiguous()  # (batch, time / 4, 64)
        for block in self.network.blocks:
            assert isinstance(block, ResidualBlock)
            x = self._block(block, x)
        return self.network.classify(x.mean(1), demographics)

    def _block(self, block: ResidualBlock, x: Tensor) -> Tensor:
        """(batch, time, inputs) -> (batch, time / stride, outputs)."""
        y = _norm(block.norm1, self._convolution(block.convolution1, x))
        probability = block.dropout.probability if block.training else 0.0
        y = RectifiedDropout.apply(y, probability)  # type: ignore[no-untyped-call]
        y = _norm(block.norm2, self._convolution(block.convolution2, y))
        gate = block.gate.gate(y.mean(1)).unsqueeze(1)  # (batch, 1, outputs)
        if isinstance(block.shortcut, nn.Sequential):
            convolution, norm = block.shortcut
            assert isinstance(convolution, nn.Conv1d)
            # a convolution of 1 with a stride sees every second row
            given = x[:, :: convolution.stride[0]].contiguous()
            x = _norm(norm, nn.functional.linear(given, convolution.weight[:, :, 0]))
        return torch.relu_(torch.addcmul(x, y, gate))

    def _convolution(self, convolution: nn.Conv1d, x: Tensor) -> Tensor:
        weight = convolution.weight
        if convolution.stride[0] == 2:
            # two rows side by side are one of twice the channels: stride 2 becomes stride 1
            x = nn.functional.pad(x, (0, 0, 0, x.shape[1] % 2))
            x = x.view(len(x), -1, 2 * x.shape[2])  # (batch, time / 2, 2 x inputs)
            weight = paired(weight)
        result: Tensor = Correlation.apply(x, weight, self.workspace)  # type: ignore[no-untyped-call]
        return result


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    """A batch norm of (batch, time, channels)."""
    y: Tensor = norm(x.flatten(0, 1))  # (batch x time, channels), as batch norms take rows without a time
    return y.view_as(x)
