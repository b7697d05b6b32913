"""Compute the logits of several trained SE-ResNets at once on a CPU, in fp32 or bf16: the plain ones, up to rounding.

- The networks are stacked, so that each layer is one call for all of them; batch norms are folded into convolutions.
- In fp32 a convolution of 7 takes 10 products for 4 outputs instead of 28, by Toom and Cook's algorithm. In bf16 it is
  one matrix product per network; the stem, which sees ADC counts, the means over time and the last layers stay in fp32.
- A window's zero padding is not computed. Well to the right of the signal every activation is constant in time, except
  near the window's right edge, where the convolutions' own padding reaches in. A part of the constant stretch is left
  out, a different one at each block, and one column of it is counted in the means as often. Nothing is approximated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from leadwise.network.se_resnet import ResidualBlock, SEResNet
from leadwise.network.toom_cook import KERNEL, TILE, Workspace, pair_columns, toom_cook
from leadwise.recipes import NetworkRecipe
from leadwise.util.processes import ProcessLock

LEFT = 4  # zero columns to the left of each activation: 3 of padding, and one that makes pairs of columns fit


@dataclass(frozen=True)
class Cut:
    """The columns of one block that are left out; counted at the block's output, unless stated otherwise."""

    first: int  # the first constant column at the block's input
    insert: int  # constant columns to insert there (below 0: to drop) in the output of the block before
    constant: int  # the first constant column
    left_out: int
    length: int  # of the whole window, including the columns left out


@lru_cache(maxsize=256)
def plan_cuts(used: int, window: int, strides: tuple[int, ...], stem: int) -> tuple[int, tuple[Cut, ...]]:
    """Return how many samples of a window to compute if all after the first `used` are 0, and each block's cut."""
    # two numbers follow the layers: how far the signal reaches from the left, and the edge's padding from the right;
    # what is left out of a block's input is a multiple of its stride, so that the other columns keep their phase
    half = KERNEL // 2
    length, signal, edge = (
        math.ceil(window / 2),
        math.ceil((min(used, window) + stem // 2) / 2),
        0,
    )  # after the stem's convolution
    length, signal = (
        math.ceil(length / 2),
        math.ceil((signal + 1) / 2),
    )  # after pooling, which zero padding leaves constant
    cuts: list[Cut] = []
    left_out = computed = 0
    for stride in strides:
        first, reached = signal, (length - 1 - half - edge) // stride + 1  # the first column that the edge reaches
        whole = math.ceil(length / stride)
        signal, edge = math.ceil((signal + half) / stride) + half, whole - reached + half
        constant_columns = max(whole - (signal + edge + 1), 0)
        if not cuts:
            computed = window - 4 * stride * constant_columns
            left_out = stride * constant_columns
        cuts.append(Cut(first, left_out - stride * constant_columns, signal, constant_columns, whole))
        length, left_out = whole, constant_columns
    return computed, tuple(cuts)


def take_columns(workspace: Workspace, name: str, stacked: int, length: int, channels: int) -> Tensor:
    """Return a buffer (stacked, columns, channels): LEFT zero columns, `length` uninitialised ones, zeros for tiles."""
    columns = workspace.take(name, stacked, LEFT + length + 2 * TILE + 10 + length % 2, channels)  # an even number
    columns[:, :LEFT] = 0
    columns[:, LEFT + length :] = 0
    return columns


class DirectConvolution:
    """A convolution of 7 and its batch norm, of each network, as one matrix product each, in any precision.

    For bf16, whose rounding Toom and Cook's algorithm would make ten times as coarse.
    """

    def __init__(self, convolutions: Sequence[nn.Conv1d], norms: Sequence[nn.BatchNorm1d], dtype: torch.dtype) -> None:
        weight, self.bias = fold_all(convolutions, norms, dtype)
        self.stride = convolutions[0].stride[0]
        self.weight = weight.permute(0, 3, 2, 1).flatten(1, 2).to(dtype)  # (networks, 7 * inputs, outputs)

    def __call__(self, columns: Tensor, length: int, workspace: Workspace) -> Tensor:
        """Map columns from `take_columns` to (networks, batch, length, 1, outputs), without the bias."""
        stacked, count, channels = columns.shape
        networks, size, outputs = self.weight.shape
        strides = (count * channels, self.stride * channels, 1)
        offset = columns.storage_offset() + (LEFT - KERNEL // 2) * channels
        windows = workspace.take("windows", stacked, length, size)
        windows.copy_(columns.as_strided(windows.shape, strides, offset))
        products = workspace.take("products", networks, stacked // networks * length, outputs)
        torch.bmm(windows.view(networks, -1, size), self.weight, out=products)
        return products.view(networks, -1, length, 1, outputs)


class TiledConvolution:
    """The same in fp32 by Toom and Cook's algorithm, TILE outputs at a time."""

    def __init__(self, convolutions: Sequence[nn.Conv1d], norms: Sequence[nn.BatchNorm1d], dtype: torch.dtype) -> None:
        weight, self.bias = fold_all(convolutions, norms, dtype)
        self.stride = convolutions[0].stride[0]
        if self.stride == 2:
            weight = torch.stack([pair_columns(each) for each in weight])
        self.networks, self.outputs, self.inputs, kernel = weight.shape
        to_inputs, to_kernel, back = toom_cook(kernel)
        self.points = len(to_inputs)
        self.to_inputs, self.back = to_inputs.to(dtype), back.to(dtype)
        products = torch.einsum("pk,noik->pnio", to_kernel, weight)
        self.weight = products.flatten(0, 1).to(dtype).contiguous()  # (points * networks, inputs, outputs)

    def __call__(self, columns: Tensor, length: int, workspace: Workspace) -> Tensor:
        """Map columns from `take_columns` to a view (networks, batch, tiles, TILE, outputs), without the bias."""
        stacked, count, channels = columns.shape
        tiles = math.ceil(length / TILE)
        offset = columns.storage_offset() + (channels if self.stride == 1 else 0)
        strides = (self.inputs, count * channels, TILE * self.inputs, 1)
        windows = workspace.take("windows", self.points, stacked, tiles, self.inputs)
        windows.copy_(columns.as_strided((self.points, stacked, tiles, self.inputs), strides, offset))
        inputs = workspace.take("inputs", self.points, windows[0].numel())
        torch.mm(self.to_inputs, windows.view(self.points, -1), out=inputs)
        products = workspace.take("products", len(self.weight), stacked // self.networks * tiles, self.outputs)
        torch.bmm(inputs.view(len(self.weight), -1, self.inputs), self.weight, out=products)
        result = workspace.take("windows", TILE, stacked * tiles * self.outputs)
        torch.mm(self.back, products.view(self.points, -1), out=result)
        return result.view(TILE, self.networks, -1, tiles, self.outputs).permute(1, 2, 3, 0, 4)


class StackedBlock:
    """A residual block of each network."""

    def __init__(self, blocks: Sequence[ResidualBlock], dtype: torch.dtype) -> None:
        kind = TiledConvolution if dtype == torch.float32 else DirectConvolution
        self.convolution1 = kind([b.convolution1 for b in blocks], [b.norm1 for b in blocks], dtype)
        self.convolution2 = kind([b.convolution2 for b in blocks], [b.norm2 for b in blocks], dtype)
        wide = torch.promote_types(dtype, torch.float32)
        self.squeeze = torch.stack([b.gate.squeeze.weight.T for b in blocks]).to(wide)  # (networks, C, C / 16)
        self.excite = torch.stack([b.gate.excite.weight.T for b in blocks]).to(wide)  # (networks, C / 16, C)
        self.shortcut: tuple[Tensor, Tensor] | None = None
        if isinstance(blocks[0].shortcut, nn.Sequential):
            folded = [fold(b.shortcut[0], b.shortcut[1]) for b in blocks]  # type: ignore[index]
            weights = torch.stack([weight[:, :, 0].T for weight, _ in folded]).to(dtype)
            self.shortcut = weights, torch.stack([bias for _, bias in folded]).to(dtype)[:, None]

    def __call__(self, columns: Tensor, length: int, cut: Cut, workspace: Workspace) -> Tensor:
        """Map `length` columns to (networks, batch, whole tiles, outputs) before the last ReLU."""
        networks, outputs, stride = self.squeeze.shape[0], self.squeeze.shape[1], self.convolution1.stride
        stacked, computed = len(columns), cut.length - cut.left_out
        between = take_columns(workspace, "between", stacked, computed, outputs)
        first = self.convolution1(columns, computed, workspace)
        inside = between[:, LEFT : LEFT + first.shape[2] * first.shape[3]]
        torch.add(first, self.convolution1.bias, out=inside.view(first.shape))
        inside.relu_()
        between[:, LEFT + computed :] = 0
        second = self.convolution2(between, computed, workspace)
        y = workspace.take("outputs", *second.shape)
        torch.add(second, self.convolution2.bias, out=y)
        y = y.view(networks, stacked // networks, -1, outputs)
        identity = columns[:, LEFT : LEFT + length : stride]
        if self.shortcut is not None:
            weight, bias = self.shortcut
            identity = torch.baddbmm(bias, identity.reshape(networks, -1, identity.shape[2]), weight)
        squeezed = torch.relu(torch.bmm(mean(y, cut), self.squeeze))  # (networks, batch, C / 16)
        gate = torch.sigmoid(torch.bmm(squeezed, self.excite)).to(y.dtype).unsqueeze(2)
        inside = y[:, :, :computed]
        torch.addcmul(identity.view_as(inside), inside, gate, out=inside)
        return y


def mean(y: Tensor, cut: Cut) -> Tensor:
    """Return the mean over the whole window (networks, batch, C) of y (networks, batch, columns, C)."""
    total = y[:, :, : cut.length - cut.left_out].sum(2, dtype=torch.promote_types(y.dtype, torch.float32))
    if cut.left_out:
        total += cut.left_out * y[:, :, cut.constant]
    return total / cut.length


def fold(convolution: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Fold the batch norm after a convolution into weights and bias of the convolution, in float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return convolution.weight.double() * scale[:, None, None], norm.bias.double() - norm.running_mean.double() * scale


def fold_all(
    convolutions: Sequence[nn.Conv1d], norms: Sequence[nn.BatchNorm1d], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Fold a layer of each network: weights (networks, outputs, inputs, kernel) in float64, biases in `dtype`."""
    weights, biases = zip(*map(fold, convolutions, norms), strict=True)
    return torch.stack(weights), torch.stack(biases).to(dtype)[:, None, None, None]


class StackedNetworks:
    """Trained networks of one shape, computed together. Thread-safe: calls from several threads wait for each other."""

    @staticmethod
    def supports(recipe: NetworkRecipe, device: torch.device, dtype: torch.dtype) -> bool:
        """Return whether stacking works and is faster: on a CPU, with the published kernel, in fp32 or bf16."""
        return device.type == "cpu" and recipe.kernel == KERNEL and dtype != torch.float16

    @torch.inference_mode()
    def __init__(self, networks: Sequence[SEResNet], window: int, dtype: torch.dtype = torch.float32) -> None:
        self.window, self.count, self.stem_kernel = window, len(networks), networks[0].recipe.stem_kernel
        wide = torch.promote_types(dtype, torch.float32)
        folded = [fold(n.stem[0], n.stem[1]) for n in networks]  # type: ignore[arg-type]
        # (kernel * leads, networks * channels): one product for all networks, since they see the same signal
        stem = torch.cat([weight.permute(2, 1, 0).flatten(0, 1) for weight, _ in folded], 1)
        self.stem, self.stem_bias = stem.to(wide).contiguous(), torch.cat([bias for _, bias in folded]).to(wide)
        self.blocks = [StackedBlock([n.blocks[i] for n in networks], dtype) for i in range(len(networks[0].blocks))]  # type: ignore[misc]
        self.strides = tuple(block.convolution1.stride for block in self.blocks)
        last = [[n.demographics for n in networks], [n.classifier for n in networks]]
        self.weights = [torch.stack([m.weight for m in layers]).transpose(1, 2).to(wide) for layers in last]
        self.biases = [torch.stack([m.bias for m in layers]).to(wide).unsqueeze(1) for layers in last]
        self.workspace, self.lock = Workspace(dtype), ProcessLock()
        self.stem_workspace = self.workspace if dtype == wide else Workspace()

    @torch.inference_mode()
    def __call__(self, signals: Tensor, demographics: Tensor) -> Tensor:
        """Return logits (networks, batch, classes) of signals (batch, 12, samples), which zeros would fill up to the
        window, and demographics (batch, 5)."""
        computed, cuts = plan_cuts(signals.shape[2], self.window, self.strides, self.stem_kernel)
        with self.lock:
            y = self._stem(signals, computed)  # (networks, batch, columns, channels)
            length = y.shape[2]
            for block, cut in zip(self.blocks, cuts, strict=True):
                columns = self._rectified(y, length, cut)
                y = block(columns, length + cut.insert, cut, self.workspace)
                length = cut.length - cut.left_out
            features = mean(y[:, :, :length].relu_(), cut)  # (networks, batch, 512)
        people = demographics.to(features.dtype).expand(self.count, -1, -1)
        people = torch.baddbmm(self.biases[0], people, self.weights[0])  # (networks, batch, 10)
        return torch.baddbmm(self.biases[1], torch.cat([features, people], 2), self.weights[1])

    def _stem(self, signals: Tensor, computed: int) -> Tensor:
        """Map (batch, leads, samples) to (networks, batch, columns, channels) after pooling, a view."""
        batch, leads, samples = signals.shape
        length, half, kernel = math.ceil(computed / 2), self.stem_kernel // 2, self.stem_kernel
        padded = self.stem_workspace.take("padded", batch, 2 * length + kernel, leads)
        padded[:, :half] = 0
        padded[:, half : half + samples] = signals.transpose(1, 2)
        padded[:, half + samples :] = 0
        rows = self.stem_workspace.take("windows", batch, length, kernel * leads)
        rows.copy_(padded.as_strided(rows.shape, (padded.stride(0), 2 * leads, 1), padded.storage_offset()))
        y = self.stem_workspace.take("products", batch * length, self.stem.shape[1])
        torch.addmm(self.stem_bias, rows.view(batch * length, -1), self.stem, out=y)
        y = y.relu_().view(batch, length, -1)
        pooled = self.stem_workspace.take("inputs", batch, math.ceil(length / 2), y.shape[2])
        pooled.copy_(y[:, ::2])  # the padding needs no column: after the ReLU no zero is the maximum of a pool
        odd = y[:, 1::2]
        torch.maximum(pooled[:, : odd.shape[1]], odd, out=pooled[:, : odd.shape[1]])
        before = y[:, 1 : 2 * pooled.shape[1] - 2 : 2]
        torch.maximum(pooled[:, 1:], before, out=pooled[:, 1:])
        pooled = pooled.to(self.workspace.dtype)
        return pooled.view(batch, pooled.shape[1], self.count, -1).permute(2, 0, 1, 3)

    def _rectified(self, y: Tensor, length: int, cut: Cut) -> Tensor:
        """Apply ReLU and insert or drop constant columns; return a block's input (networks * batch, columns, C)."""
        networks, batch, _, channels = y.shape
        columns = take_columns(self.workspace, "columns", networks * batch, length + cut.insert, channels)
        inside = columns.view(networks, batch, -1, channels)[:, :, LEFT : LEFT + length + cut.insert]
        first = min(cut.first, length)
        rest = length - first + min(cut.insert, 0)  # columns after the change
        torch.clamp(y[:, :, :first], min=0, out=inside[:, :, :first])
        torch.clamp(y[:, :, length - rest : length], min=0, out=inside[:, :, inside.shape[2] - rest :])
        if cut.insert > 0:
            new = inside[:, :, first : first + cut.insert]
            torch.clamp(y[:, :, first : first + 1].expand_as(new), min=0, out=new)
        return columns
