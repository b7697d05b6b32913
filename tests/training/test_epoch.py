"""One epoch: losses, memory, micro-batches, the steps of the EMA."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from leadwise.network.devices import CPU
from leadwise.training import epoch as epoch_module
from leadwise.training.checkpoint import read_checkpoint
from leadwise.training.epoch import LOSS_CHECK, EpochLosses, NotFiniteError
from leadwise.training.examples import Examples
from leadwise.training.fold import train_fold
from leadwise.training.fold_state import FoldState, Networks
from tests.training.folds import DATASET, TINY, WITH_EMA, make_dataset, task, train
from tests.training.interruptions import SmallMemory


class InTransit:
    """A block of losses on its way from a GPU, which arrives only when the host waits for it."""

    waited: ClassVar[list[int]] = []  # sizes of the blocks waited for

    def __init__(self, block: torch.Tensor) -> None:
        self.block = block

    def result(self) -> torch.Tensor:
        self.waited.append(len(self.block))
        return self.block


def test_losses_of_a_gpu_are_checked_a_block_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_module, "Fetched", InTransit)
    InTransit.waited.clear()
    losses = EpochLosses(torch.device("cuda"))
    for number in range(2 * LOSS_CHECK - 1):
        losses.add(torch.tensor(float("nan") if number == 3 else 1.0))
    assert not InTransit.waited  # the host does not wait for the newest block
    with pytest.raises(NotFiniteError, match="the loss is nan"):
        losses.add(torch.tensor(1.0))
    assert InTransit.waited == [LOSS_CHECK]


def test_losses_of_a_cpu_are_checked_at_once() -> None:
    losses = EpochLosses(torch.device("cpu"))
    for _ in range(LOSS_CHECK - 1):
        losses.add(torch.tensor(float("inf")))
    with pytest.raises(NotFiniteError, match="the loss is inf"):
        losses.add(torch.tensor(1.0))


def test_the_mean_loss_is_that_of_all_batches_and_must_be_finite() -> None:
    losses = EpochLosses(torch.device("cpu"))
    for value in (1.0, 2.0, 6.0):
        losses.add(torch.tensor(value))
    assert losses.mean() == 3
    losses.add(torch.tensor(float("nan")))
    with pytest.raises(NotFiniteError, match="the loss is nan"):
        losses.mean()


def test_out_of_memory_halves_the_micro_batches_and_the_validation_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = SmallMemory(1, monkeypatch)
    result = train(tmp_path / "fold0")
    assert set(memory.sizes) == {1} and len(result.history) == 3
    assert "out of memory: 4 micro-batches per batch" in caplog.text
    assert "out of memory: 1 windows at a time in validation" in caplog.text
    assert read_checkpoint(tmp_path / "fold0")[1]["micro_batches"] == 4  # a resumed run does not try again


def test_too_little_memory_for_one_recording_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallMemory(0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        train(tmp_path / "fold0")


@pytest.mark.parametrize("micro_batches", [2, 3, 4])
def test_micro_batches_give_the_gradient_of_the_batch(micro_batches: int) -> None:
    """Except for batch norm and dropout, which are switched off here. Where an activation is 0 up to rounding, as
    beside padding in an untrained network, the gradient of a ReLU is 0 or 1 by chance: biases avoid that.
    """
    gradients = []
    for number in (1, micro_batches):
        state = FoldState.begin(TINY, 7, CPU)
        state.progress.micro_batches = number
        state.networks.network.eval()
        for module in state.networks.network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                torch.nn.init.constant_(module.bias, 0.3)
        batch, offsets = torch.tensor([3, 0, 5, 9]), torch.zeros(4, dtype=torch.long)
        loss = epoch_module.train_batch(state, Examples.of(DATASET, CPU.device), batch, offsets)
        gradients.append([loss, *(weight.grad for weight in state.networks.network.parameters())])
    for expected, accumulated in zip(*gradients, strict=True):
        torch.testing.assert_close(accumulated, expected, rtol=1e-4, atol=1e-6)


def test_the_steps_of_the_ema_are_counted_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    state = FoldState.begin(WITH_EMA, 3, CPU)
    state.networks.network.stem[1].num_batches_tracked.fill_(100)  # steps of earlier epochs count
    seen, read = [], []
    monkeypatch.setattr(Networks, "update_ema", lambda *arguments: seen.append(arguments[-1]))
    original = Networks.steps_trained
    monkeypatch.setattr(Networks, "steps_trained", lambda networks: read.append(1) or original(networks))
    examples = Examples.of(make_dataset([300] * 12), CPU.device)
    epoch_module.train_epoch(state, examples, torch.arange(12), lambda share: 0.0)
    assert seen == [101, 102, 103] and len(read) == 1
    assert original(state.networks) == 103


def test_fewer_recordings_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, batch_size=64, epochs=1))
    result = train_fold(task(make_dataset([300] * 6), np.arange(6) < 2, recipe, tmp_path / "fold"))
    assert np.isfinite(result.history[0]["loss"])
