"""Stacked networks against the plain ones: the same probabilities for any window, padding and batch."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from leadwise.network.cpu_inference import LEFT, StackedNetworks, fold, plan_cuts
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import RECIPES, NetworkRecipe
from leadwise.simulate import simulate

SMALL = NetworkRecipe(stem_channels=8, block_channels=(8, 8, 16, 16, 32), reduction=4)
SAMPLING_FREQUENCY = 257


@lru_cache
def ecgs(count: int, samples: int) -> Tensor:
    """Simulate ECGs (count, 12, samples) in ADC counts."""
    seconds = samples / SAMPLING_FREQUENCY + 1
    signals = [simulate([], seed, SAMPLING_FREQUENCY, seconds)[:, :samples] for seed in range(count)]
    return 1000 * torch.from_numpy(np.stack(signals))


def trained(count: int, recipe: NetworkRecipe, window: int) -> list[SEResNet]:
    """Return different networks whose batch norms have random weights and the statistics of ECGs, with and without
    padding, so that activations vary."""
    torch.manual_seed(7)
    signals = ecgs(4, window).clone()
    signals[:2, :, window // 2 :] = 0
    networks = []
    for _ in range(count):
        network = SEResNet(recipe)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = 1.0  # statistics of the one batch below
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
        with torch.no_grad():
            network.train()(signals, torch.rand(4, 5))
        networks.append(network.eval())
    return networks


@torch.inference_mode()
def plain(networks: list[SEResNet], signals: Tensor, people: Tensor, window: int) -> Tensor:
    """Compute logits (networks, batch, 24) of padded windows, one network after the other."""
    padded = nn.functional.pad(signals, (0, window - signals.shape[2]))
    return torch.stack([network(padded, people) for network in networks])


def assert_same(
    networks: list[SEResNet], signals: Tensor, window: int, stacked: StackedNetworks, error: float = 1e-5
) -> None:
    people = torch.rand(len(signals), 5, dtype=signals.dtype)
    expected = torch.sigmoid(plain(networks, signals, people, window))
    assert expected.std() > 0.05  # probabilities vary
    np.testing.assert_allclose(torch.sigmoid(stacked(signals, people)), expected, rtol=0, atol=error)


@lru_cache
def networks() -> list[SEResNet]:
    return trained(3, SMALL, 1000)


@lru_cache
def doubles() -> list[SEResNet]:
    """Return the same in float64, in which the direct convolution is exact."""
    return [deepcopy(network).double() for network in networks()]


@pytest.fixture
def small() -> list[SEResNet]:
    return networks()


def test_a_folded_norm_is_the_norm(small: list[SEResNet]) -> None:
    block = deepcopy(small[0].blocks[2]).double()
    x = torch.randn(2, 8, 50, dtype=torch.float64)
    weight, bias = fold(block.convolution1, block.norm1)
    expected = block.norm1(block.convolution1(x))
    torch.testing.assert_close(nn.functional.conv1d(x, weight, bias, 2, 3), expected)


@settings(max_examples=40)
@given(window=st.integers(16, 1000), share=st.floats(0, 1), batch=st.integers(1, 3))
def test_any_window_and_any_padding_give_the_plain_probabilities(window: int, share: float, batch: int) -> None:
    signals = ecgs(batch, 1000)[:, :, : round(share * window)]
    assert_same(networks(), signals, window, StackedNetworks(networks(), window))
    assert_same(doubles(), signals.double(), window, StackedNetworks(doubles(), window, torch.float64), 1e-12)
    assert_same(networks(), signals, window, StackedNetworks(networks(), window, torch.bfloat16), 0.05)


def test_batches_of_all_lengths_share_one_workspace(small: list[SEResNet]) -> None:
    stacked, exact = StackedNetworks(small, 1000), StackedNetworks(doubles(), 1000, torch.float64)
    for used, batch in ((1000, 3), (100, 1), (640, 5), (0, 2), (1000, 1), (333, 3)):
        signals = ecgs(batch, 1000)[:, :, :used]
        assert_same(small, signals, 1000, stacked)
        assert_same(doubles(), signals.double(), 1000, exact, 1e-12)


def test_zeros_in_the_input_equal_padding(small: list[SEResNet]) -> None:
    """The padding of a short recording is computed in a batch with a longer one, and left out alone."""
    stacked, signals, people = StackedNetworks(small, 1000), ecgs(2, 1000).clone(), torch.rand(2, 5)
    signals[1, :, 300:] = 0
    together = stacked(signals, people)
    alone = stacked(signals[1:, :, :300], people[1:])
    np.testing.assert_allclose(torch.sigmoid(together[:, 1:]), torch.sigmoid(alone), atol=1e-5)


def test_spikes_and_a_large_offset_change_nothing(small: list[SEResNet]) -> None:
    """Tiles add and subtract neighbouring samples, so a spike could harm its neighbours."""
    signals = ecgs(3, 700).clone()
    signals[0, 4, 200] = 32767
    signals[1] += 20000
    signals[2, :, ::50] = -32768
    assert_same(small, signals, 1000, StackedNetworks(small, 1000))


def test_the_published_networks_at_ten_seconds() -> None:
    recipe = RECIPES["paper"]
    networks = trained(2, recipe.network, recipe.signal.window)
    stacked = StackedNetworks(networks, recipe.signal.window)
    assert_same(networks, ecgs(2, 2570), recipe.signal.window, stacked)
    # a considerable part is left out, of 1024, 512 and 256 columns (docs/performance.md has the share of the time)
    computed, cuts = plan_cuts(2570, 4096, stacked.strides, recipe.network.stem_kernel)
    assert computed < 2800
    assert [cut.length for cut in cuts] == [1024, 1024, 512, 512, 256, 256, 128, 128]
    assert all(cut.left_out > cut.length / 6 for cut in cuts[:6])


@given(used=st.integers(0, 5000), window=st.integers(1, 5000))
def test_columns_that_are_left_out_are_constant(used: int, window: int) -> None:
    """Compare the plan with a brute-force search for the columns that see the signal or the right edge."""
    strides = (1, 1, 2, 1, 2)
    computed, cuts = plan_cuts(used, window, strides, 15)
    assert min(used, window) <= computed <= window
    # 0: constant, 1: sees the signal, 2: sees the edge
    columns = [1] * min(used, window) + [0] * max(window - used, 0)
    columns = spread(columns, 15, 2, edge=False)
    columns = spread(columns, 3, 2, edge=False)
    left_out = (window - computed) // 4
    for stride, cut in zip(strides, cuts, strict=True):
        assert cut.insert == left_out - stride * cut.left_out
        assert columns[cut.first : cut.first + stride * cut.left_out] == [0] * stride * cut.left_out
        columns = spread(spread(columns, 7, stride), 7, 1)
        assert len(columns) == cut.length
        if cut.left_out:
            assert columns[cut.constant : cut.constant + cut.left_out + 1] == [0] * (cut.left_out + 1)
        left_out = cut.left_out


def spread(columns: list[int], kernel: int, stride: int, edge: bool = True) -> list[int]:
    """Mark each output column of a convolution that sees other than constant columns. Padding on the left does not
    matter: all of the signal counts as signal."""
    half, outside = kernel // 2, [1] * (kernel // 2) if edge else [0] * (kernel // 2)
    padded = np.array([0] * half + columns + outside)
    views = np.lib.stride_tricks.sliding_window_view(padded, kernel)[::stride] if len(padded) >= kernel else padded
    return [int(view) for view in views.max(1)]


def test_other_kernels_devices_and_types_are_not_stacked() -> None:
    cpu, gpu, recipe = torch.device("cpu"), torch.device("cuda"), RECIPES["paper"].network
    for dtype in (torch.float32, torch.bfloat16):
        assert all(StackedNetworks.supports(recipe.network, cpu, dtype) for recipe in RECIPES.values())
        assert not StackedNetworks.supports(NetworkRecipe(kernel=5), cpu, dtype)
        assert not StackedNetworks.supports(recipe, gpu, dtype)
    assert not StackedNetworks.supports(recipe, cpu, torch.float16)
    assert LEFT > 7 // 2
