"""Convolutions along time with fewer products (Winograd 1980; Lavin and Gray 2016): the numbers, and memory to work in.

What trains on a CPU (`columns.py`) and what scores on one (`inference.py`) share it. Knows no networks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

KERNEL = 7  # of the convolutions that are computed so: the published one of the blocks
TILE = 4  # outputs of a convolution that are computed together
POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2, 4, -1 / 4)  # in this order: 3e-7 to 1e-6 of relative error in fp32


def toom_cook(kernel: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Matrices (points, inputs), (points, kernel), (TILE, points): inputs and kernel to what is multiplied, and back.

    With n = TILE + kernel - 1 points, sum_j kernel[j] * inputs[i + j] for i < TILE is
    back @ ((to_kernel @ kernel) * (to_inputs @ inputs)). It is the transposed multiplication of polynomials by their
    values at n - 1 points and at infinity; rows are scaled by powers of two, so that the numbers stay of one size.
    """
    count = TILE + kernel - 1
    points = np.array(POINTS[: count - 1], np.float64)

    def values(terms: int) -> NDArray[np.float64]:
        return np.vstack([points[:, None] ** np.arange(terms), np.eye(terms)[-1]])

    to_inputs = np.linalg.inv(values(count)).T
    scale = 2.0 ** np.round(np.log2(np.abs(to_inputs).max(1, keepdims=True)))
    return to_inputs / scale, values(kernel) * scale, values(TILE).T


def paired(weight: Tensor) -> Tensor:
    """Weights (outputs, inputs, KERNEL) of a convolution of stride 2 as those of stride 1 over pairs of columns, which
    are columns of twice the channels: (outputs, 2 inputs, 4). A zero in front makes the kernel whole pairs."""
    pairs = nn.functional.pad(weight, (1, 0)).view(*weight.shape[:2], -1, 2)
    return pairs.permute(0, 3, 1, 2).flatten(1, 2)


class Workspace:
    """Memory that calls share instead of allocating it anew; what was taken under a name is lost at its next taking."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.held: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """An uninitialised tensor."""
        size = math.prod(shape)
        if name not in self.held or self.held[name].numel() < size:
            with torch.inference_mode(False):  # what inference makes could not be written to in training
                self.held[name] = torch.empty(size, dtype=self.dtype)
        return self.held[name][:size].view(shape)
