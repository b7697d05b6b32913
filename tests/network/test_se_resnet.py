"""The network: its published shape, its parts against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leadwise.network.se_resnet import Dropout, SEResNet, SqueezeExcitation, forward_operations, mean_over_time
from leadwise.recipes import QUICK, NetworkRecipe

TINY = NetworkRecipe(stem_channels=4, block_channels=(4, 8), reduction=2)


def test_published_network_has_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in SEResNet(NetworkRecipe()).parameters()) == 8_837_060


def test_every_layer_shortens_time_as_published() -> None:
    network = SEResNet(NetworkRecipe()).eval()
    x = torch.zeros(1, 12, 4096)
    with torch.inference_mode():
        x = network.stem(x)
        lengths = [x.shape[1:]]
        for block in network.blocks:
            x = block(x)
            lengths.append(x.shape[1:])
    shapes = [
        (64, 1024),
        (64, 1024),
        (64, 1024),
        (128, 512),
        (128, 512),
        (256, 256),
        (256, 256),
        (512, 128),
        (512, 128),
    ]
    assert [tuple(shape) for shape in lengths] == shapes


@pytest.mark.parametrize("recipe", [TINY, QUICK.network])
@pytest.mark.parametrize("samples", [33, 2570, 4096])
def test_logits_for_any_window(recipe: NetworkRecipe, samples: int) -> None:
    network = SEResNet(recipe).eval()
    logits = network(torch.randn(3, 12, samples), torch.rand(3, 5))
    assert logits.shape == (3, 24)
    assert torch.isfinite(logits).all()


def test_demographics_reach_the_logits() -> None:
    network = SEResNet(TINY).eval()
    signal = torch.randn(1, 12, 512)
    assert not torch.equal(network(signal, torch.zeros(1, 5)), network(signal, torch.ones(1, 5)))


def test_initial_convolutions_are_he_normal_with_fan_out() -> None:
    torch.manual_seed(0)
    network = SEResNet(NetworkRecipe())
    for module in network.modules():
        if isinstance(module, torch.nn.Conv1d) and module.weight.numel() > 10_000:
            expected = np.sqrt(2 / (module.out_channels * module.kernel_size[0]))
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.03)
        if isinstance(module, torch.nn.BatchNorm1d):
            assert (module.weight == 1).all() and (module.bias == 0).all()


def test_gate_against_its_formula() -> None:
    gate = SqueezeExcitation(8, 2)
    x = torch.randn(2, 8, 50)
    hidden = np.maximum(x.numpy().mean(2) @ gate.squeeze.weight.detach().numpy().T, 0)
    weights = 1 / (1 + np.exp(-hidden @ gate.excite.weight.detach().numpy().T))
    np.testing.assert_allclose(gate(x).detach().numpy(), x.numpy() * weights[:, :, None], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100_003])
def test_dropout_drops_or_scales_each_value(size: int) -> None:
    torch.manual_seed(1)
    y = Dropout(0.2).train()(torch.ones(size))
    assert y.shape == (size,)
    assert set(np.round(y.unique().numpy(), 3)) <= {0.0, 1.25}


def test_dropout_has_the_statistics_of_torch_s_own() -> None:
    torch.manual_seed(1)
    x = torch.ones(200, 1000, requires_grad=True)
    y = Dropout(0.2).train()(x)
    y.sum().backward()
    dropped = (y == 0).float()
    assert float(dropped.mean()) == pytest.approx(0.2, abs=0.005)
    assert float(y.detach().mean()) == pytest.approx(1, abs=0.006)
    # independent from value to value: each fifth of a fifth is dropped twice in a row, at any small distance
    for distance in (1, 2, 3, 4):
        assert float((dropped[:, distance:] * dropped[:, :-distance]).mean()) == pytest.approx(0.04, abs=0.004)
    assert x.grad is not None and torch.equal(x.grad, y.detach())


def test_dropout_does_nothing_in_evaluation_and_at_probability_0() -> None:
    x = torch.randn(10)
    assert torch.equal(Dropout(0.2).eval()(x), x)
    before = torch.get_rng_state()
    assert torch.equal(Dropout(0.0).train()(x), x) and torch.equal(torch.get_rng_state(), before)


def test_same_seed_same_dropout() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(Dropout(0.5).train()(torch.ones(64)))
    assert torch.equal(*draws)


@pytest.mark.parametrize("recipe, samples", [(NetworkRecipe(), 4096), (QUICK.network, 1111)])
def test_operations_are_the_sum_over_all_layers(recipe: NetworkRecipe, samples: int) -> None:
    counted = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        weight = module.weight
        assert isinstance(weight, Tensor)
        counted += 2 * output.numel() * weight[0].numel()

    network = SEResNet(recipe).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 12, samples), torch.zeros(1, 5))
    assert forward_operations(recipe, samples) == counted


def test_training_of_the_published_network_takes_9_65e9_operations_per_window() -> None:
    assert 3 * forward_operations(NetworkRecipe(), 4096) == pytest.approx(9.65e9, rel=0.01)


@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_means_over_time_are_at_least_in_fp32(dtype: torch.dtype, expected: torch.dtype) -> None:
    x = torch.randn(2, 3, 40).to(dtype)
    means = mean_over_time(x)
    assert means.dtype == expected and torch.equal(means, x.to(expected).mean(2))
