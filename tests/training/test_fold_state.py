"""The state of a fold: the EMA against a plain loop, checkpoints of another precision."""

from __future__ import annotations

from pathlib import Path

import torch

from leadwise.network.devices import CPU, Processor
from leadwise.training.fold_state import FoldState
from tests.training.folds import TINY, WITH_EMA, train


def test_the_ema_of_weights_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    networks = FoldState.begin(WITH_EMA, 3, CPU).networks
    expected = {name: value.double().clone() for name, value in networks.ema_network.state_dict().items()}
    for step in range(1, 6):
        networks.network.stem[1].num_batches_tracked.fill_(step)
        with torch.no_grad():
            for parameter in networks.network.parameters():
                parameter.add_(torch.randn_like(parameter))
        networks.update_ema(0.3, networks.steps_trained())
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in networks.network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
    for name, parameter in networks.ema_network.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=1e-4, atol=1e-5)
    assert int(networks.ema_network.stem[1].num_batches_tracked) == 5


def test_a_run_in_fp32_is_resumed_in_fp16(tmp_path: Path) -> None:
    train(tmp_path / "fold0", epochs=1)
    state = FoldState.begin(TINY, 7, Processor(torch.device("cpu"), torch.float16))
    assert state.load(tmp_path / "fold0") and len(state.progress.history) == 1
    assert state.scaler.is_enabled() and state.scaler.get_scale() == 2**16  # PyTorch's first


def test_without_a_checkpoint_nothing_is_loaded(tmp_path: Path) -> None:
    state = FoldState.begin(TINY, 7, CPU)
    before = {name: value.clone() for name, value in state.networks.network.state_dict().items()}
    assert not state.load(tmp_path / "fold0") and state.kept_epoch == -1
    assert all(torch.equal(before[name], value) for name, value in state.networks.network.state_dict().items())
