"""The forward pass for GPUs against the plain network, on a CPU: logits, gradients, running statistics."""

from __future__ import annotations

import logging
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from leadwise.network import gpu_forward
from leadwise.network.devices import CPU, Processor
from leadwise.network.gpu_forward import ChannelsLastNetwork, channels_last_or_plain
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import RECIPES, NetworkRecipe

SMALL = NetworkRecipe(stem_channels=8, block_channels=(8, 8, 16, 16, 32), reduction=4)
BF16 = Processor(torch.device("cpu"), torch.bfloat16)


def batch(size: int, samples: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    signal = 300 * torch.randn(size, 12, samples, generator=generator, dtype=dtype)
    signal[: size // 2, :, samples // 2 :] = 0  # like padding
    people = torch.rand(size, 5, generator=generator, dtype=dtype)
    return signal, people, (torch.rand(size, 24, generator=generator) < 0.2).to(dtype)


def step(network: SEResNet, forward: object, data: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return logits and all gradients of one step; the dropout is the same each time."""
    torch.manual_seed(5)
    network.zero_grad()
    logits = forward(*data[:2])  # type: ignore[operator]
    nn.functional.binary_cross_entropy_with_logits(logits.double(), data[2]).backward()
    return logits.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("recipe", "samples", "size"), [(SMALL, 1000, 5), (SMALL, 333, 2), (RECIPES["quick"].network, 640, 3)]
)
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_step_equals_that_of_the_plain_network(
    recipe: NetworkRecipe, samples: int, size: int, dropout: float
) -> None:
    torch.manual_seed(0)
    plain = SEResNet(NetworkRecipe(**{**vars(recipe), "dropout": dropout})).double()
    other = deepcopy(plain)
    if dropout:  # the plain network draws its mask in another order of memory: give both the same masks
        for network in (plain, other):
            for block in network.blocks:
                block.dropout = Alternating()  # type: ignore[assignment,union-attr]
    data = batch(size, samples)
    logits, gradient = step(plain, plain, data)
    found, found_gradient = step(other, ChannelsLastNetwork(other), data)
    torch.testing.assert_close(found, logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-9, atol=1e-12 * float(gradient.abs().max()))
    for value, expected in zip(other.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    with torch.inference_mode():
        expected = plain.eval()(*data[:2])
        torch.testing.assert_close(ChannelsLastNetwork(other.eval())(*data[:2]), expected, rtol=1e-12, atol=1e-12)


class Alternating(nn.Module):
    """Drop every fifth column in training: the same for both layouts."""

    def forward(self, x: Tensor) -> Tensor:
        dropout_mask = torch.arange(x.shape[-1]) % 5 > 0
        return x * dropout_mask.to(x.dtype) / 0.8 if self.training else x


def test_dropout_is_drawn_only_in_training() -> None:
    torch.manual_seed(0)
    network = SEResNet(SMALL).double()
    signal, people, _ = batch(3, 400)
    forward = ChannelsLastNetwork(network)
    assert not torch.equal(forward(signal, people), forward(signal, people))
    network.eval()
    assert torch.equal(forward(signal, people), forward(signal, people))


def test_bf16_is_as_accurate_as_in_the_plain_network() -> None:
    torch.manual_seed(0)
    network = SEResNet(NetworkRecipe(**{**vars(SMALL), "dropout": 0.0}))
    signal, people, _ = (x.float() for x in batch(8, 1000))
    double = deepcopy(network).double()
    reference = double(signal.double(), people.double())
    with BF16.autocast():
        plain = deepcopy(network)(signal, people)
        fast = ChannelsLastNetwork(network)(signal, people)
    assert fast.dtype == plain.dtype == torch.float32
    assert (fast - reference).norm() < 2 * (plain - reference).norm() + 1e-3


def test_a_trial_changes_nothing() -> None:
    torch.manual_seed(0)
    network = SEResNet(SMALL)
    before, random = deepcopy(network.state_dict()), torch.get_rng_state()
    assert isinstance(channels_last_or_plain(network, CPU, 256), ChannelsLastNetwork)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_if_the_trial_fails_the_plain_network_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*arguments: object) -> Tensor:
        raise RuntimeError("GET was unable to find an engine\nto execute this computation")

    monkeypatch.setattr(gpu_forward, "_convolution", failing)
    network = SEResNet(SMALL)
    with caplog.at_level(logging.WARNING):
        assert channels_last_or_plain(network, CPU, 256) is network
    assert "unable to find an engine; the plain network is used" in caplog.text
