"""Convolutions with fewer products against plain ones, and buffers that are reused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leadwise.network.toom_cook import KERNEL, TILE, Workspace, pair_columns, toom_cook


@pytest.mark.parametrize("kernel", [4, 7])
def test_tiles_of_outputs_are_the_convolution_s(kernel: int) -> None:
    random = np.random.default_rng(0)
    weights, inputs = random.normal(size=kernel), random.normal(size=TILE + kernel - 1)
    to_inputs, to_kernel, back = toom_cook(kernel)
    tile = back @ ((to_kernel @ torch.from_numpy(weights)) * (to_inputs @ torch.from_numpy(inputs)))
    np.testing.assert_allclose(tile, np.correlate(inputs, weights, "valid"), rtol=0, atol=1e-10)


def test_stride_2_is_stride_1_over_pairs_of_columns() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, KERNEL, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 3, 20, generator=generator, dtype=torch.float64)
    pairs = torch.nn.functional.pad(x, (4, 2)).view(2, 3, -1, 2).permute(0, 3, 1, 2).flatten(1, 2)
    found = torch.nn.functional.conv1d(pairs, pair_columns(weight))
    torch.testing.assert_close(found, torch.nn.functional.conv1d(x, weight, stride=2, padding=KERNEL // 2))


def test_a_workspace_reuses_its_memory() -> None:
    workspace = Workspace()
    first = workspace.take("a", 2, 3)
    assert workspace.take("a", 5).data_ptr() == first.data_ptr()
    assert workspace.take("b", 2, 3).data_ptr() != first.data_ptr()
    assert workspace.take("a", 7).shape == (7,)


def test_memory_from_inference_can_be_written_to_in_training() -> None:
    with torch.inference_mode():
        memory = Workspace().take("a", 3)
    assert not memory.is_inference()
