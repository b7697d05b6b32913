"""The fast training pass on a CPU against the plain network: logits, gradients, running statistics."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from leadwise.network.cpu_training import Correlation, CpuTrainingNetwork, RectifiedDropout
from leadwise.network.se_resnet import SEResNet
from leadwise.network.toom_cook import Workspace
from leadwise.recipes import RECIPES, NetworkRecipe

SMALL = NetworkRecipe(stem_channels=8, block_channels=(8, 8, 16, 16, 32), reduction=4, dropout=0.0)


def step(network: SEResNet, forward: object, signal: Tensor, people: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and all gradients, flattened, of one training step."""
    network.zero_grad()
    logits = forward(signal, people)  # type: ignore[operator]
    nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
    return logits.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def batch(size: int, samples: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(size, 12, samples, generator=generator, dtype=dtype)
    signal[: size // 2, :, samples // 2 :] = 0  # like padding
    people = torch.rand(size, 5, generator=generator, dtype=dtype)
    return signal, people, (torch.rand(size, 24, generator=generator) < 0.2).to(dtype)


def error(found: Tensor, true: Tensor) -> float:
    return float((found.double() - true).norm() / true.norm())


@pytest.mark.parametrize(
    ("recipe", "samples", "size"), [(SMALL, 1000, 5), (SMALL, 333, 1), (RECIPES["paper"].network, 2570, 2)]
)
def test_a_step_is_as_accurate_as_that_of_the_plain_network(recipe: NetworkRecipe, samples: int, size: int) -> None:
    """The reference is the plain network in float64; the plain network in fp32 has the error to compare with."""
    torch.manual_seed(0)
    network = SEResNet(NetworkRecipe(**{**vars(recipe), "dropout": 0.0}))
    double, plain = deepcopy(network).double(), deepcopy(network)
    true_logits, true_gradient = step(double, double, *batch(size, samples, torch.float64))
    plain_logits, plain_gradient = step(plain, plain, *(x.float() for x in batch(size, samples, torch.float64)))
    logits, gradient = step(
        network, CpuTrainingNetwork(network), *(x.float() for x in batch(size, samples, torch.float64))
    )
    assert error(logits, true_logits) < 10 * error(plain_logits, true_logits) + 1e-6
    # An activation that rounding moves across 0 has another gradient. The share of such activations is that of the
    # rounding, so the gradient's error may be the square root of the logits'. A wrong gradient is off by far more.
    chance = math.sqrt(error(logits, true_logits) + 1e-7)
    assert error(gradient, true_gradient) < 10 * error(plain_gradient, true_gradient) + chance
    for found, expected in zip(network.buffers(), double.buffers(), strict=True):
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(16, 600), size=st.integers(1, 4))
def test_evaluation_of_any_window_equals_the_plain_network(samples: int, size: int) -> None:
    torch.manual_seed(0)
    network = SEResNet(SMALL).eval()
    signal, people, _ = batch(size, samples)
    with torch.inference_mode():
        torch.testing.assert_close(
            CpuTrainingNetwork(network)(signal, people), network(signal, people), rtol=1e-4, atol=1e-5
        )


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 3), time=st.integers(1, 40), inputs=st.integers(1, 5), outputs=st.integers(1, 5),
    kernel=st.sampled_from([4, 7]),
)  # fmt: skip
def test_correlation_and_gradients_equal_pytorch_s(
    size: int, time: int, inputs: int, outputs: int, kernel: int
) -> None:
    """Compare with PyTorch's convolution in float64; a kernel of 4 is that of pairs of columns."""
    torch.manual_seed(0)
    x = torch.randn(size, time, inputs, requires_grad=True)
    weight = torch.randn(outputs, inputs, kernel, requires_grad=True)
    output_gradient = torch.randn(size, time, outputs)
    y = Correlation.apply(x, weight, Workspace())
    y.backward(output_gradient)
    x2, weight2 = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    padded = nn.functional.pad(x2.transpose(1, 2), (kernel // 2, kernel - 1 - kernel // 2))
    expected = nn.functional.conv1d(padded, weight2).transpose(1, 2)
    expected.backward(output_gradient.double())
    for found, true in ((y, expected), (x.grad, x2.grad), (weight.grad, weight2.grad)):
        torch.testing.assert_close(found.double(), true, rtol=0, atol=2e-3)


def test_steps_that_share_a_workspace_do_not_disturb_each_other() -> None:
    """Another pass between forward and backward does not overwrite what the backward pass needs."""
    torch.manual_seed(0)
    network = SEResNet(SMALL)
    fast = CpuTrainingNetwork(network)
    signal, people, labels = batch(3, 500)
    _, alone = step(network, fast, signal, people, labels)
    network.zero_grad()
    logits = fast(signal, people)
    fast(*batch(4, 700)[:2])
    nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
    found = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    torch.testing.assert_close(found, alone)


def test_dropout_drops_scales_and_passes_the_same_gradient() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 500, requires_grad=True)
    y = RectifiedDropout.apply(x, 0.2)
    y.backward(torch.ones_like(y))
    positive = x > 0
    assert float((y[positive] == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose((y / x)[y > 0].detach(), 1.25, rtol=1e-3)
    assert x.grad is not None and torch.equal(x.grad > 0, y > 0)
    np.testing.assert_allclose(x.grad[y > 0], 1.25, rtol=1e-3)


def test_other_kernels_are_left_to_the_plain_network() -> None:
    assert all(CpuTrainingNetwork.supports(recipe.network) for recipe in RECIPES.values())
    assert not CpuTrainingNetwork.supports(NetworkRecipe(kernel=5))
