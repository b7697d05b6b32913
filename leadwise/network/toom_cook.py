"""Compute convolutions along time with fewer products: the algorithm of Toom and Cook (Winograd 1980; Lavin 2016)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

KERNEL = 7  # length of the convolutions that are computed so: the published one of the blocks
TILE = 4  # outputs of a convolution that are computed together
POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2, 4, -1 / 4)  # in this order: 3e-7 to 1e-6 of relative error in fp32


@lru_cache
def toom_cook(kernel: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Return the transforms of inputs (points, inputs), of the kernel (points, kernel) and back (TILE, points).

    With n = TILE + kernel - 1 points, sum_j kernel[j] * inputs[i + j] for i < TILE is
    back @ ((to_kernel @ kernel) * (to_inputs @ inputs)): the transposed multiplication of polynomials by their values
    at n - 1 points and at infinity. Powers of two scale the rows, so that all numbers have about the same size.
    """
    count = TILE + kernel - 1
    points = np.array(POINTS[: count - 1], np.float64)

    def values(terms: int) -> NDArray[np.float64]:
        return np.vstack([points[:, None] ** np.arange(terms), np.eye(terms)[-1]])

    inverse = np.linalg.inv(values(count)).T
    scale = 2.0 ** np.round(np.log2(np.abs(inverse).max(1, keepdims=True)))
    matrices = (inverse / scale, values(kernel) * scale, values(TILE).T)
    to_inputs, to_kernel, back = (torch.from_numpy(matrix).to(dtype) for matrix in matrices)
    return to_inputs, to_kernel, back


def pair_columns(weight: Tensor) -> Tensor:
    """Convert weights (outputs, inputs, 7) of stride 2 to weights (outputs, 2 inputs, 4) of stride 1 over pairs."""
    # a zero in front makes the kernel a whole number of pairs
    pairs = nn.functional.pad(weight, (1, 0)).view(*weight.shape[:2], -1, 2)
    return pairs.permute(0, 3, 1, 2).flatten(1, 2)


class Workspace:
    """Buffers that calls reuse instead of allocating them anew. Taking a name again overwrites its content."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return an uninitialised tensor."""
        size = math.prod(shape)
        if name not in self.buffers or self.buffers[name].numel() < size:
            with torch.inference_mode(False):  # training cannot write to tensors that inference mode made
                self.buffers[name] = torch.empty(size, dtype=self.dtype, device="cpu")
        return self.buffers[name][:size].view(shape)
