"""Several trained SE-ResNets run as one on a CPU, in fp32 or bf16: the plain networks' logits in less time.

Knows no files and no thresholds. `network.SEResNet` is the plain twin, and what runs on GPUs. What is saved, and where:

- The networks are stacked, so that each layer is one call for all of them; batch norms are folded into convolutions.
- In fp32 a convolution of 7 along time is computed by Toom and Cook's algorithm (Winograd 1980; Lavin and Gray 2016):
  10 products for 4 outputs where the plain way takes 28. Its weights are transformed once, in float64.
- In bf16, for processors that multiply faster in it, a convolution is one matrix product a network. The stem, which
  sees ADC counts, the means over time and the last layers stay in fp32.
- A window's zero padding is not computed. Well to the right of the signal every activation is constant in time, except
  near the window's right edge, where the convolutions' own padding reaches in. So a part of the constant stretch is
  left out, a different one at each block, and counted in the means by one column of it. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import torch
from torch import Tensor, nn

from leadwise.network.se_resnet import ResidualBlock, SEResNet
from leadwise.network.toom_cook import KERNEL, TILE, Workspace, paired, toom_cook
from leadwise.recipes import NetworkRecipe

LEFT = 4  # zero columns to the left of each activation: 3 of padding, and one that makes pairs of columns fit


@dataclass(frozen=True)
class Cut:
    """Which columns of one block are left out. Lengths are columns at the block's output unless they say otherwise."""

    first: int  # the first constant column at the block's input
    insert: int  # constant columns to insert there (below 0: to drop) in what the block before gave
    constant: int  # the first constant column at the output
    left_out: int
    length: int  # of the whole window, with what is left out


@lru_cache(maxsize=256)
def plan(used: int, window: int, strides: tuple[int, ...], stem: int) -> tuple[int, tuple[Cut, ...]]:
    """How many samples of a window to compute when all after the first `used` are 0, and each block's cut.

    Follows two numbers through the layers: how far the signal reaches from the left, how far the right edge's padding
    reaches from the right. What is left out of a block's input is a multiple of its stride, so that both parts keep
    their places under the stride.
    """
    half = KERNEL // 2
    length, signal, edge = -(-window // 2), _ceil(min(used, window) + stem // 2, 2), 0  # after the stem's convolution
    length, signal = -(-length // 2), _ceil(signal + 1, 2)  # after the pooling; padding of zeros is what zeros give
    cuts: list[Cut] = []
    left_out = computed = 0
    for stride in strides:
        first, reached = signal, (length - 1 - half - edge) // stride + 1  # the first column that the edge reaches
        whole = _ceil(length, stride)
        signal, edge = _ceil(signal + half, stride) + half, whole - reached + half
        constant_columns = max(whole - (signal + edge + 1), 0)
        if not cuts:
            computed = window - 4 * stride * constant_columns
            left_out = stride * constant_columns
        cuts.append(Cut(first, left_out - stride * constant_columns, signal, constant_columns, whole))
        length, left_out = whole, constant_columns
    return computed, tuple(cuts)


def _ceil(number: int, by: int) -> int:
    return -(-number // by)


class Columns(Workspace):
    """A workspace that knows how activations lie."""

    def columns(self, name: str, stacked: int, length: int, channels: int) -> Tensor:
        """(stacked, LEFT + length + room for whole tiles, channels), an even number of columns, zero around
        `length` columns that are not initialised."""
        room = LEFT + length + 2 * TILE + 10 + length % 2
        columns = self.take(name, stacked, room, channels)
        columns[:, :LEFT] = 0
        columns[:, LEFT + length :] = 0
        return columns


class DirectConvolution:
    """One convolution of 7 of each network, with stride 1 or 2 and its batch norm, in any precision: one product a
    network, of all its windows of columns. Toom and Cook's algorithm would make bf16's rounding ten times as coarse."""

    def __init__(self, convolutions: Sequence[nn.Conv1d], norms: Sequence[nn.BatchNorm1d], dtype: torch.dtype) -> None:
        weight, self.bias = folded(convolutions, norms, dtype)
        self.stride = convolutions[0].stride[0]
        self.weight = weight.permute(0, 3, 2, 1).flatten(1, 2).to(dtype)  # (networks, 7 * inputs, outputs)

    def __call__(self, columns: Tensor, length: int, workspace: Columns) -> Tensor:
        """(networks * batch, room, channels) from `Columns.columns`, of which `length` are outputs -> (networks, batch,
        length, 1, outputs) without the bias."""
        stacked, room, channels = columns.shape
        networks, size, outputs = self.weight.shape
        strides = (room * channels, self.stride * channels, 1)
        offset = columns.storage_offset() + (LEFT - KERNEL // 2) * channels
        windows = workspace.take("windows", stacked, length, size)
        windows.copy_(columns.as_strided(windows.shape, strides, offset))
        products = workspace.take("products", networks, stacked // networks * length, outputs)
        torch.bmm(windows.view(networks, -1, size), self.weight, out=products)
        return products.view(networks, -1, length, 1, outputs)


class TiledConvolution:
    """The same in fp32 by Toom and Cook's algorithm, TILE outputs at a time."""

    def __init__(self, convolutions: Sequence[nn.Conv1d], norms: Sequence[nn.BatchNorm1d], dtype: torch.dtype) -> None:
        weight, self.bias = folded(convolutions, norms, dtype)
        self.stride = convolutions[0].stride[0]
        if self.stride == 2:
            weight = torch.stack([paired(of_one) for of_one in weight])  # pairs of columns
        self.networks, self.outputs, self.inputs, kernel = weight.shape
        to_inputs, to_kernel, back = toom_cook(kernel)
        self.points = len(to_inputs)
        self.to_inputs, self.back = torch.from_numpy(to_inputs).to(dtype), torch.from_numpy(back).to(dtype)
        products = torch.einsum("pk,noik->pnio", torch.from_numpy(to_kernel), weight)
        self.weight = products.flatten(0, 1).to(dtype).contiguous()  # (points * networks, inputs, outputs)

    def __call__(self, columns: Tensor, length: int, workspace: Columns) -> Tensor:
        """(networks * batch, room, channels) from `Columns.columns`, of which `length` are outputs -> a view
        (networks, batch, tiles, TILE, outputs) without the bias."""
        stacked, room, channels = columns.shape
        tiles = _ceil(length, TILE)
        offset = columns.storage_offset() + (channels if self.stride == 1 else 0)
        strides = (self.inputs, room * channels, TILE * self.inputs, 1)
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
        self.squeeze = torch.stack([b.gate.squeeze.weight.T for b in blocks]).to(exact(dtype))  # (networks, C, C / 16)
        self.excite = torch.stack([b.gate.excite.weight.T for b in blocks]).to(exact(dtype))
        self.shortcut: tuple[Tensor, Tensor] | None = None
        if isinstance(blocks[0].shortcut, nn.Sequential):
            folded = [fold(b.shortcut[0], b.shortcut[1]) for b in blocks]  # type: ignore[index]
            weights = torch.stack([weight[:, :, 0].T for weight, _ in folded]).to(dtype)
            self.shortcut = weights, torch.stack([bias for _, bias in folded]).to(dtype)[:, None]

    def __call__(self, columns: Tensor, length: int, cut: Cut, workspace: Columns) -> Tensor:
        """(networks * batch, room, inputs) with `length` columns -> (networks, batch, columns, outputs) before the
        last ReLU, with whole tiles of columns: those after the last are of no meaning."""
        networks, outputs, stride = self.squeeze.shape[0], self.squeeze.shape[1], self.convolution1.stride
        stacked, computed = len(columns), cut.length - cut.left_out
        between = workspace.columns("between", stacked, computed, outputs)
        first = self.convolution1(columns, computed, workspace)
        inside = between[:, LEFT : LEFT + first.shape[2] * first.shape[3]]
        torch.add(first, self.convolution1.bias, out=inside.view(first.shape))
        inside.relu_()
        between[:, LEFT + computed :] = 0
        second = self.convolution2(between, computed, workspace)
        y = workspace.take("outputs", *second.shape)
        torch.add(second, self.convolution2.bias, out=y)
        y = y.view(networks, stacked // networks, -1, outputs)
        given = columns[:, LEFT : LEFT + length : stride]
        if self.shortcut is not None:
            weight, bias = self.shortcut
            given = torch.baddbmm(bias, given.reshape(networks, -1, given.shape[2]), weight)
        gate = self._gate(mean(y, cut)).to(y.dtype).unsqueeze(2)
        inside = y[:, :, :computed]
        torch.addcmul(given.view_as(inside), inside, gate, out=inside)
        return y

    def _gate(self, means: Tensor) -> Tensor:
        """(networks, batch, C) -> gates of that shape."""
        return torch.sigmoid(torch.bmm(torch.relu(torch.bmm(means, self.squeeze)), self.excite))


def mean(y: Tensor, cut: Cut) -> Tensor:
    """(networks, batch, columns, C) -> (networks, batch, C), the mean over the whole window, left-out columns too."""
    total = y[:, :, : cut.length - cut.left_out].sum(2, dtype=exact(y.dtype))
    if cut.left_out:
        total += cut.left_out * y[:, :, cut.constant]
    return total / cut.length


def exact(dtype: torch.dtype) -> torch.dtype:
    """The precision of what is not computed in `dtype`: fp32 at least."""
    return torch.promote_types(dtype, torch.float32)


def fold(convolution: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """A convolution's weights and bias, in float64, that do what it and the batch norm after it do in evaluation."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return convolution.weight.double() * scale[:, None, None], norm.bias.double() - norm.running_mean.double() * scale


def _stacked_linear(layers: Sequence[nn.Linear], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights (networks, inputs, outputs) and biases (networks, 1, outputs) of one linear layer of each network."""
    weights, biases = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
    return weights.transpose(1, 2).to(dtype), biases.unsqueeze(1).to(dtype)


def folded(
    convolutions: Sequence[nn.Conv1d], norms: Sequence[nn.BatchNorm1d], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One convolution of each network as `fold` makes it: weights (networks, outputs, inputs, kernel) in float64, and
    biases (networks, 1, 1, 1, outputs) as they are added to what is computed in `dtype`."""
    weights, biases = zip(*map(fold, convolutions, norms), strict=True)
    return torch.stack(weights), torch.stack(biases).to(dtype)[:, None, None, None]


class StackedNetworks:
    """Trained networks of one shape as one. Made once; calls from several threads wait for each other."""

    @staticmethod
    def supports(recipe: NetworkRecipe, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether networks of this recipe can be stacked and are faster so: on a CPU, with convolutions of 7 in the
        blocks, as published, in a type that CPUs multiply in."""
        return device.type == "cpu" and recipe.kernel == KERNEL and dtype != torch.float16

    @torch.inference_mode()
    def __init__(self, networks: Sequence[SEResNet], window: int, dtype: torch.dtype = torch.float32) -> None:
        recipe = networks[0].recipe
        self.window, self.count, self.stem_kernel = window, len(networks), recipe.stem_kernel
        folded = [fold(n.stem[0], n.stem[1]) for n in networks]  # type: ignore[arg-type]
        # (kernel * leads, networks * channels): one product for all networks, since they see the same signal
        stem = torch.cat([weight.permute(2, 1, 0).flatten(0, 1) for weight, _ in folded], 1)
        self.stem = stem.to(exact(dtype)).contiguous()
        self.stem_bias = torch.cat([bias for _, bias in folded]).to(exact(dtype))
        self.blocks = [StackedBlock([n.blocks[i] for n in networks], dtype) for i in range(len(networks[0].blocks))]  # type: ignore[misc]
        self.strides = tuple(block.convolution1.stride for block in self.blocks)
        self.demographics = _stacked_linear([n.demographics for n in networks], exact(dtype))
        self.classifier = _stacked_linear([n.classifier for n in networks], exact(dtype))
        self.workspace, self.lock = Columns(dtype), Lock()
        self.memory = self.workspace if dtype == exact(dtype) else Workspace()  # the stem's

    @torch.inference_mode()
    def __call__(self, signals: Tensor, demographics: Tensor) -> Tensor:
        """Logits (networks, batch, classes) of windows (batch, 12, samples), which zeros would fill up to the window's
        length, and demographics (batch, 5)."""
        computed, cuts = plan(signals.shape[2], self.window, self.strides, self.stem_kernel)
        with self.lock:
            y = self._stem(signals, computed)  # (networks, batch, columns, channels)
            length = y.shape[2]
            for block, cut in zip(self.blocks, cuts, strict=True):
                columns = self._rectified(y, length, cut)
                y = block(columns, length + cut.insert, cut, self.workspace)
                length = cut.length - cut.left_out
            features = mean(y[:, :, :length].relu_(), cut)  # (networks, batch, 512)
        (weight, bias), (to_classes, class_bias) = self.demographics, self.classifier
        people = torch.baddbmm(bias, demographics.to(bias.dtype).expand(self.count, -1, -1), weight)
        return torch.baddbmm(class_bias, torch.cat([features, people], 2), to_classes)

    def _stem(self, signals: Tensor, computed: int) -> Tensor:
        """(batch, leads, samples) -> (networks, batch, columns, channels) after pooling, a view."""
        batch, leads, samples = signals.shape
        length, half, kernel = _ceil(computed, 2), self.stem_kernel // 2, self.stem_kernel
        padded = self.memory.take("padded", batch, 2 * length + kernel, leads)
        padded[:, :half] = 0
        padded[:, half : half + samples] = signals.transpose(1, 2)
        padded[:, half + samples :] = 0
        room = padded.shape[1] * leads
        rows = self.memory.take("windows", batch, length, kernel * leads)
        rows.copy_(padded.as_strided(rows.shape, (room, 2 * leads, 1), padded.storage_offset()))
        y = self.memory.take("products", batch * length, self.stem.shape[1])
        torch.addmm(self.stem_bias, rows.view(batch * length, -1), self.stem, out=y)
        y = y.relu_().view(batch, length, -1)
        pooled = self.memory.take("inputs", batch, _ceil(length, 2), y.shape[2])
        pooled.copy_(y[:, ::2])  # after the ReLU no padding is larger than what is there
        odd = y[:, 1::2]
        torch.maximum(pooled[:, : odd.shape[1]], odd, out=pooled[:, : odd.shape[1]])
        before = y[:, 1 : 2 * pooled.shape[1] - 2 : 2]
        torch.maximum(pooled[:, 1:], before, out=pooled[:, 1:])
        pooled = pooled.to(self.workspace.dtype)
        return pooled.view(batch, pooled.shape[1], self.count, -1).permute(2, 0, 1, 3)

    def _rectified(self, y: Tensor, length: int, cut: Cut) -> Tensor:
        """ReLU of (networks, batch, columns, channels), with the block's constant columns inserted or dropped, as the
        block takes it: (networks * batch, room, channels)."""
        networks, batch, _, channels = y.shape
        columns = self.workspace.columns("columns", networks * batch, length + cut.insert, channels)
        inside = columns.view(networks, batch, -1, channels)[:, :, LEFT : LEFT + length + cut.insert]
        if cut.insert == 0:
            torch.clamp(y[:, :, :length], min=0, out=inside)
            return columns
        rest = length - cut.first + min(cut.insert, 0)  # columns after the change
        torch.clamp(y[:, :, : cut.first], min=0, out=inside[:, :, : cut.first])
        torch.clamp(y[:, :, length - rest : length], min=0, out=inside[:, :, inside.shape[2] - rest :])
        if cut.insert > 0:
            new = inside[:, :, cut.first : cut.first + cut.insert]
            torch.clamp(y[:, :, cut.first : cut.first + 1].expand_as(new), min=0, out=new)
        return columns
