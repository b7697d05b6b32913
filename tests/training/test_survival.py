"""Training survives: damage, SIGTERM, losses that are not finite, too little time, memory or disk, and kill -9."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import logging
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import team_code
import train_model
from benchmarks.material import write_recordings
from leadwise import command_line
from leadwise.challenge.classes import CODES
from leadwise.data.dataset import Dataset
from leadwise.data.prepare import prepare_dataset
from leadwise.model.ensemble import load_model
from leadwise.network import cpu_training
from leadwise.network.devices import CPU, Processor
from leadwise.options import TrainingOptions
from leadwise.recipes import PAPER, RECIPES, DecisionRecipe
from leadwise.training import epoch as epoch_module
from leadwise.training import fold_state, validation
from leadwise.training import metadata as metadata_module
from leadwise.training import run as run_module
from leadwise.training.checkpoint import (
    DamagedError,
    generation_before,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from leadwise.training.examples import Examples
from leadwise.training.fold import MAX_ROLLBACKS, FoldResult, train_fold
from leadwise.training.fold_state import FoldState
from leadwise.training.interrupt import Interrupted, check_interrupt, handle_sigterm, interruptible
from leadwise.training.time_plan import TimePlan, seconds_since_start, shorten
from tests.data.test_prepare import write
from tests.soak import kill
from tests.training.test_fold import TINY, make_dataset, task

DATASET = make_dataset([300, 200, 256, 600] * 5)
VALIDATION = np.arange(len(DATASET)) % 4 == 0


def train(checkpoint: Path, dataset: Dataset = DATASET, epochs: int = 3, **more: Any) -> FoldResult:
    recipe = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, epochs=epochs))
    result = train_fold(task(dataset, VALIDATION, recipe, checkpoint), **more)
    assert result is not None
    return result


def assert_same(one: FoldResult, other: FoldResult) -> None:
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert one.best_epoch == other.best_epoch and one.rollbacks == other.rollbacks
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name]), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> FoldResult:
    return train(tmp_path_factory.mktemp("fold") / "fold0")


# ---------------------------------------------------------------------------------------------------------- checkpoints

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([], dtype=torch.uint8)}


@given(st.data())
def test_one_bit_flipped_or_a_cut_is_noticed_wherever_it_is(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "checkpoint"
    save_checkpoint(path, STATE, {"epoch": 3})
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read_checkpoint(path)


def test_two_generations_are_kept_and_a_damaged_one_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "fold0"
    assert load_checkpoint(path) is None
    for epoch in range(3):
        save_checkpoint(path, STATE, {"epoch": epoch})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fold0", "fold0.before"]
    stored = load_checkpoint(path)
    assert stored is not None and stored[1] == {"epoch": 2}
    assert all(torch.equal(stored[0][name], value) for name, value in STATE.items())
    path.write_bytes(path.read_bytes()[:-1])
    stored = load_checkpoint(path)
    assert stored is not None and stored[1] == {"epoch": 1}
    assert f"{path}: damaged" in caplog.text
    save_checkpoint(path, STATE, {"epoch": 9})  # the one that is whole is not replaced by the damaged one
    assert read_checkpoint(generation_before(path))[1] == {"epoch": 1}
    for each in tmp_path.iterdir():
        each.write_bytes(b"")
    assert load_checkpoint(path) is None


@pytest.mark.parametrize("damaged", [("",), ("", ".before")])
def test_a_fold_with_damaged_checkpoints_ends_as_the_uninterrupted_one(
    uninterrupted: FoldResult, tmp_path: Path, damaged: tuple[str, ...]
) -> None:
    path = tmp_path / "fold0"
    train(path)
    for ending in damaged:
        file = path.with_name(path.name + ending)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
    assert_same(train(path), uninterrupted)


# -------------------------------------------------------------------------------------------------------------- SIGTERM


def test_sigterm_raises_where_that_is_safe_and_is_remembered_elsewhere() -> None:
    with handle_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)  # nothing happens here
        with pytest.raises(Interrupted), interruptible():
            pytest.fail("the block must not begin")
    with handle_sigterm(), pytest.raises(Interrupted), interruptible():
        check_interrupt()
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the signal must break the block off")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_in_another_thread_no_handler_is_set() -> None:
    seen = []

    def work() -> None:
        with handle_sigterm(), interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def after_calls(count: int, function: Callable[..., Any], act: Callable[[], None]) -> Callable[..., Any]:
    """The function; in its call number `count` (1, 2, ...) `act` comes first."""
    calls = itertools.count(1)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if next(calls) == count:
            act()
        return function(*arguments, **named)

    return wrapped


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def tiny_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Trains recipe `tiny` in this process with training_code; gives the model folder's contents without times."""
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    data = tmp_path / "data"
    for index in range(16):
        write(data, f"A{index:04d}", CODES[index % 3], 300, index)

    def run(model: Path, **options: Any) -> dict[str, Any]:
        given = TrainingOptions(recipe="tiny", jobs=1, threads=1, pages=False, **options)
        team_code.training_code(str(data), str(model), given)
        return kill.contents(model)

    return run


@pytest.mark.parametrize(
    "batch, networks, epochs, unfinished",
    [
        (5, 1, 2, "stopped after 2 of 3 epochs of fold 0"),
        (8, 1, 3, "1 of 2 folds"),  # in the first epoch of the second fold
        (10, 2, 1, "stopped after 1 of 3 epochs of fold 1"),
    ],
)
def test_sigterm_leaves_a_model_of_the_epochs_so_far_and_the_command_carries_on(
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    networks: int,
    epochs: int,
    unfinished: str,
) -> None:
    """Eight recordings train a fold: two batches an epoch, three epochs, two folds."""
    expected = tiny_runs(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(epoch_module, "train_batch", after_calls(batch, epoch_module.train_batch, terminate))
        metadata = tiny_runs(tmp_path / "model")["model.json"]
    model = load_model(tmp_path / "model")
    assert len(model.networks) == networks and len(metadata["folds"][-1]["epochs"]) == epochs
    assert model.thresholds.shape == (networks, 24)
    assert metadata["training"]["unfinished"] == unfinished
    assert tiny_runs(tmp_path / "model") == expected


def test_sigterm_while_a_fold_is_finished_waits_for_it(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for search, networks, unfinished in ((1, 1, "1 of 2 folds"), (2, 2, "")):
        with monkeypatch.context() as patch:
            patch.setattr(
                metadata_module, "search_thresholds", after_calls(search, metadata_module.search_thresholds, terminate)
            )
            metadata = tiny_runs(tmp_path / f"model{search}")["model.json"]
        assert len(metadata["folds"]) == networks and metadata["training"]["unfinished"] == unfinished
        assert len(load_model(tmp_path / f"model{search}").networks) == networks


def test_sigterm_before_the_first_epoch_ends_with_143_and_keeps_the_former_model(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = tiny_runs(tmp_path / "model", epochs=1)
    for where, name in ((run_module, "assign_folds"), (epoch_module, "predict")):
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
            patch.setattr(where, name, after_calls(1, getattr(where, name), terminate))
            tiny_runs(tmp_path / "model")
        assert stopped.value.code == 143
        assert {path: value for path, value in kill.contents(tmp_path / "model").items() if "/" not in path} == former
        assert (tmp_path / "model" / "checkpoint" / "prepared" / "recordings.json").exists()
    assert tiny_runs(tmp_path / "model") == tiny_runs(tmp_path / "whole")


# ------------------------------------------------------------------------------------------------------- losses, memory


def spoil(epoch: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the loss of an epoch (1, 2, ...) NaN, the first so many times that it is trained."""
    original = epoch_module.train_batch
    spoilt: list[int] = []

    def batch(run: FoldState, *arguments: Any) -> torch.Tensor:
        loss = original(run, *arguments)
        if len(run.progress.history) == epoch - 1 and len(run.progress.rollbacks) < times:
            spoilt.append(epoch)
            for weight in run.networks.network.parameters():
                weight.data.fill_(torch.nan)
            return torch.tensor(torch.nan)
        return loss

    monkeypatch.setattr(epoch_module, "train_batch", batch)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_loss_that_is_not_finite_goes_back_to_the_last_good_epoch_at_a_lower_rate(
    uninterrupted: FoldResult,
    epoch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(epoch, 2, monkeypatch)
    result = train(tmp_path / "fold0")
    assert result.rollbacks == [{"epoch": epoch, "reason": "the loss is nan"}] * 2
    assert f"fold 0 epoch {epoch}: the loss is nan; back to its start, at half the rate (2 of 5)" in caplog.text
    for index, (entry, usual) in enumerate(zip(result.history, uninterrupted.history, strict=True), 1):
        share = 0.25 if index >= epoch else 1
        assert entry["learning_rate"] == pytest.approx(share * usual["learning_rate"])
        assert (entry["loss"] == usual["loss"]) == (index < epoch)
        assert np.isfinite(entry["loss"])
    assert all(value.isfinite().all() for value in result.weights.values())


def test_a_fold_ends_with_its_good_epochs_where_no_rate_helps(
    uninterrupted: FoldResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(2, 99, monkeypatch)
    result = train(tmp_path / "fold0")
    assert len(result.history) == 1 and len(result.rollbacks) == MAX_ROLLBACKS + 1
    assert result.history[0]["loss"] == uninterrupted.history[0]["loss"]
    monkeypatch.undo()
    assert_same(train(tmp_path / "fold0"), result)  # it is over, and said so in its checkpoint


def test_without_one_good_epoch_training_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(1, 99, monkeypatch)
    with pytest.raises(ValueError, match=r"fold 0: the loss is nan in the first epoch, also at 0\.03125 of the rate"):
        train(tmp_path / "fold0")


class Travelling:
    """What a GPU sends to the host, in small: it arrives when somebody waits for it."""

    waited: ClassVar[list[int]] = []  # how many losses there were by then

    def __init__(self, block: torch.Tensor) -> None:
        self.block, self.arrived = block, False

    def result(self) -> torch.Tensor:
        self.waited.append(len(self.block))
        return self.block


def test_losses_of_a_gpu_are_checked_a_block_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_module, "Fetched", Travelling)
    Travelling.waited.clear()
    losses = epoch_module.EpochLosses()
    for number in range(2 * epoch_module.LOSS_CHECK - 1):
        losses.add(torch.tensor(float("nan") if number == 3 else 1.0))
    assert not Travelling.waited  # nobody waits for the newest block
    with pytest.raises(epoch_module.NotFiniteError, match="the loss is nan"):
        losses.add(torch.tensor(1.0))
    assert Travelling.waited == [epoch_module.LOSS_CHECK]


def test_losses_of_a_cpu_are_checked_at_once() -> None:
    losses = epoch_module.EpochLosses()
    for _ in range(epoch_module.LOSS_CHECK - 1):
        losses.add(torch.tensor(float("inf")))
    with pytest.raises(epoch_module.NotFiniteError, match="the loss is inf"):
        losses.add(torch.tensor(1.0))


def test_a_run_in_fp32_goes_on_in_fp16(tmp_path: Path) -> None:
    train(tmp_path / "fold0", epochs=1)
    run = FoldState.begin(TINY, 7, Processor(torch.device("cpu"), torch.float16))
    assert run.load(tmp_path / "fold0") and len(run.progress.history) == 1
    assert run.scaler.is_enabled() and run.scaler.get_scale() == 2**16  # PyTorch's first


def test_a_probability_that_is_not_finite_is_a_setback_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = validation.predict, itertools.count()

    def predict(*arguments: Any) -> Any:
        return original(*arguments) * (np.nan if next(calls) == 1 else 1)

    monkeypatch.setattr(epoch_module, "predict", predict)
    result = train(tmp_path / "fold0")
    assert result.rollbacks == [{"epoch": 2, "reason": "a probability is not finite"}] and len(result.history) == 3


class SmallMemory:
    """A forward pass that fails, as a GPU's does, for more than so many windows."""

    def __init__(self, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        forward = cpu_training.CpuTrainingNetwork.__call__  # what computes the network on a CPU

        def limited(network: Any, signal: torch.Tensor, demographics: torch.Tensor) -> torch.Tensor:
            if len(signal) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.sizes.append(len(signal))
            return forward(network, signal, demographics)

        monkeypatch.setattr(cpu_training.CpuTrainingNetwork, "__call__", limited)


def test_out_of_memory_halves_what_goes_through_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = SmallMemory(1, monkeypatch)
    result = train(tmp_path / "fold0")
    assert set(memory.sizes) == {1} and len(result.history) == 3
    assert "out of memory: batches go through in 4 parts" in caplog.text
    assert "out of memory: 1 windows at a time in validation" in caplog.text
    assert read_checkpoint(tmp_path / "fold0")[1]["micro_batches"] == 4  # a resumed run does not try again


def test_too_little_memory_for_one_recording_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallMemory(0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        train(tmp_path / "fold0")


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(parts: int) -> None:
    """Apart from batch norm and dropout, which are switched off here. Where an activation is 0 but for rounding, as
    beside padding in a network that has not learned yet, the gradient of a ReLU is 0 or 1 by chance: biases avoid that.
    """
    gradients = []
    for number in (1, parts):
        run = FoldState.begin(TINY, 7, CPU)
        run.progress.micro_batches = number
        run.networks.network.eval()
        for module in run.networks.network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                torch.nn.init.constant_(module.bias, 0.3)
        batch, offsets = torch.tensor([3, 0, 5, 9]), torch.zeros(4, dtype=torch.long)
        loss = epoch_module.train_batch(run, Examples.of(DATASET, CPU.device), batch, offsets)
        gradients.append([loss, *(weight.grad for weight in run.networks.network.parameters())])
    for whole, sum_of_parts in zip(*gradients, strict=True):
        torch.testing.assert_close(sum_of_parts, whole, rtol=1e-4, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------------- time


def plain_shorten(affordable: int, fold: int, done: int, epochs: int, folds: int, least: int) -> tuple[int, int]:
    """All plans, the best one taken: most folds, then most epochs; too few epochs only where no fold is left."""
    plans = []
    for number in range(fold + 1, folds + 1):
        for each in range(epochs + 1):
            cost = max(0, each - done) + each * (number - fold - 1)
            if cost <= affordable and (each >= least or number == fold + 1):
                plans.append((number, each))
    number, each = max(plans)
    return each, number


@given(st.data())
def test_a_shortened_plan_is_the_best_of_all_that_fit(data: st.DataObject) -> None:
    folds, epochs = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 20))
    fold, done = data.draw(st.integers(0, folds - 1)), data.draw(st.integers(1, epochs))
    least, affordable = data.draw(st.integers(1, epochs)), data.draw(st.integers(0, 120))
    numbers = (affordable, fold, done, epochs, folds, least)
    assert shorten(*numbers) == plain_shorten(*numbers)


class Clock:
    """Time that only training batches move."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds = 0.0, seconds
        original = epoch_module.train_batch

        def batch(*arguments: Any) -> torch.Tensor:
            self.now += self.seconds
            return original(*arguments)

        monkeypatch.setattr(epoch_module, "train_batch", batch)

    def __call__(self) -> float:
        return self.now


def test_without_want_of_time_nothing_is_shortened() -> None:
    plan = TimePlan(50, 5, limit=68 * 3600, clock=lambda: 100.0)
    plan.after_epoch(0, 1, 900.0)
    assert (plan.epochs, plan.folds) == (50, 5)


def test_fewer_epochs_come_before_fewer_folds() -> None:
    plan = TimePlan(50, 5, limit=100_000, clock=lambda: 600.0)
    plan.after_epoch(0, 1, 1000.0)  # (100000 - 600 - 600) / 1050: 94 more epochs, 19 a fold
    assert (plan.epochs, plan.folds) == (19, 5)
    plan = TimePlan(50, 5, limit=30_000, clock=lambda: 600.0)
    plan.after_epoch(0, 1, 1000.0)  # 27 more: ten epochs, the least, are had in two folds; 14 then fit
    assert (plan.epochs, plan.folds) == (14, 2)


def test_the_time_of_the_process_is_the_system_s() -> None:
    first = seconds_since_start()
    assert 0 < first <= seconds_since_start() < 1e6


@pytest.mark.parametrize("seconds, folds, least_epochs", [(1.0, 2, 3), (5.0, 2, 1), (40.0, 1, 1), (1000.0, 1, 1)])
def test_the_model_is_complete_before_the_limit(
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    folds: int,
    least_epochs: int,
) -> None:
    """Two batches an epoch of so many seconds each; the limit is a minute."""
    clock = Clock(seconds, monkeypatch)
    monkeypatch.setattr(run_module, "TimePlan", lambda epochs, folds, limit: TimePlan(epochs, folds, limit, clock))
    found = tiny_runs(tmp_path / "model", max_hours=1 / 60)["model.json"]
    assert clock.now <= max(60, seconds)  # one batch is the least
    assert len(load_model(tmp_path / "model").networks) == len(found["folds"]) == folds
    assert all(len(fold["epochs"]) >= least_epochs and len(fold["thresholds"]) == 24 for fold in found["folds"])
    assert found["training"]["unfinished"] == ""
    numbers = ", ".join(str(len(fold["epochs"])) for fold in found["folds"])
    expected = "" if seconds == 1 else f"{folds} of 2 folds, with {numbers} of 3 epochs"
    assert found["training"]["shortened"] == expected
    assert not (tmp_path / "model" / "checkpoint").exists()
    batches = clock.now
    tiny_runs(tmp_path / "model", max_hours=1 / 60)
    assert clock.now == batches  # it is finished


def test_a_fold_for_which_there_is_no_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = TimePlan(3, 2, limit=100, clock=Clock(60, monkeypatch))
    assert train_fold(task(DATASET, VALIDATION, TINY, tmp_path / "fold1", fold=1), plan) is None
    assert plan.folds == 1


# ---------------------------------------------------------------------------------------------------------------- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def command(
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Path], str]:
    """Runs train_model.py in this process with recipe `tiny`, which must fail; gives its one line."""

    def run(model: Path) -> str:
        options = TrainingOptions(recipe="tiny", jobs=1, threads=1, pages=False)
        monkeypatch.setattr(command_line, "_table", lambda *arguments: options)
        monkeypatch.setattr(logging, "raiseExceptions", False)  # the log's handler may have an earlier test's stream
        capsys.readouterr()
        assert train_model.main([str(tmp_path / "data"), str(model)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.startswith("train_model.py: ")
        return error

    return run


def visible(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}


@pytest.mark.parametrize("megabytes", [0.01, 0.1, 0.2, 0.3])
def test_a_full_disk_is_one_line_and_harms_nothing(
    command: Callable[[Path], str],
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    disk: Path,
    megabytes: float,
) -> None:
    """So much is free, so that preparation, a checkpoint or a network is what does not fit."""
    model = disk / "model"
    tiny_runs(model, epochs=1)
    former = visible(model)
    filling = disk / "filling"
    filling.write_bytes(bytes(shutil.disk_usage(disk).free - int(megabytes * 1e6)))
    assert "No space left on device: " in command(model)
    assert not list(model.rglob("*half-written*")) and not list(model.rglob(".prepared*"))
    assert set(visible(model)) == set(former)
    assert len(load_model(model).networks) >= 1
    filling.unlink()
    assert tiny_runs(model) == tiny_runs(tmp_path / "whole")


def test_workers_that_find_the_disk_full_say_so_and_leave_nothing(tmp_path: Path, disk: Path) -> None:
    """60 recordings take 7 MB, and both processes write into one file."""
    write_recordings(tmp_path / "many", 60)
    with pytest.raises(OSError, match=r"No space left on device: .*samples\.f32"):
        prepare_dataset(tmp_path / "many", disk / "work", PAPER.signal, jobs=2)
    assert not list((disk / "work").iterdir())


def test_a_read_only_disk_is_one_line_and_harms_nothing(
    command: Callable[[Path], str], tiny_runs: Callable[..., dict[str, Any]], disk: Path
) -> None:
    former = tiny_runs(disk / "model", epochs=1)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert f"Read-only file system: '{disk / 'model'}" in command(disk / "model")
    assert "Read-only file system" in command(disk / "new")
    assert kill.contents(disk / "model") == former
    assert not (disk / "new").exists()


def test_a_folder_without_permission_is_one_line(command: Callable[[Path], str], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "model").mkdir(mode=0o555)
    assert "Permission denied" in command(tmp_path / "model")
    assert not list((tmp_path / "model").iterdir())


HEARING = dataclasses.replace(  # begins with simulated ECGs and keeps their network as the textbook
    TINY,
    training=dataclasses.replace(TINY.training, epochs=2, simulated=3, simulated_epochs=1),
    decision=DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True),
)
OPERATIONS = ("replace", "unlink", "mkdir", "fsync", "rmdir", "fchmod")  # of the module os: pathlib and shutil use them


def test_each_file_operation_may_fail_once(
    command: Callable[[Path], str],
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The training ends with one line or goes on; the folder is a model before and after, the same one in the end."""
    monkeypatch.setitem(RECIPES, "tiny", HEARING)
    expected = tiny_runs(tmp_path / "whole")
    tiny_runs(tmp_path / "former", seed=5)  # other weights: they must not be taken for the new ones
    failed, refused = 0, 0

    def fail() -> None:
        nonlocal failed
        failed += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for number in itertools.count(1):
        model = shutil.copytree(tmp_path / "former", tmp_path / f"model{number}")
        before = failed
        with monkeypatch.context() as patch:
            counter = itertools.count(1)
            for name in OPERATIONS:
                patch.setattr(os, name, at_call(number, counter, getattr(os, name), fail))
            try:
                tiny_runs(model)
            except OSError as error:
                refused += 1
                assert error.errno == errno.ENOSPC
        assert load_model(model).networks
        assert tiny_runs(model) == expected
        shutil.rmtree(model)
        if failed == before:
            break
    assert failed > 30 and refused > failed / 2


@pytest.mark.parametrize("former", [False, True])
def test_a_kill_between_the_weights_and_their_description_leaves_a_model(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: bool
) -> None:
    """At each renaming and removal in the model folder itself, as a kill or a power cut would stop there."""
    monkeypatch.setitem(RECIPES, "tiny", HEARING)
    expected, model = tiny_runs(tmp_path / "whole"), tmp_path / "model"
    stopped = 0
    for number in itertools.count(1):
        shutil.rmtree(model, ignore_errors=True)
        if former:
            tiny_runs(model, seed=5)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            counter = itertools.count(1)
            for name in ("replace", "unlink"):
                patch.setattr(os, name, dead_after(number, counter, getattr(os, name), model))
            tiny_runs(model)
            break
        stopped += 1
        described = (model / "model.json").exists()
        assert described or not former
        if described:
            assert load_model(model).networks
        assert tiny_runs(model) == expected
    # of two folds and the textbook weights, notes on validation, names seen, model.json, weights; pages that are not
    # there are removed first, and a former network last
    assert stopped == (15 if former else 14)


def dead_after(number: int, counter: Iterator[int], function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The function; from its call number `number` about a file in the folder itself on, the process does nothing."""

    def wrapped(path: Any, *arguments: Any, **named: Any) -> Any:
        if Path(path).parent == folder and next(counter) >= number:
            raise KeyboardInterrupt
        return function(path, *arguments, **named)

    return wrapped


def at_call(
    number: int, counter: Iterator[int], function: Callable[..., Any], act: Callable[[], None]
) -> Callable[..., Any]:
    """The function; `act` comes before the call that gets this number from the counter, which others may share."""

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if next(counter) == number:
            act()
        return function(*arguments, **named)

    return wrapped


# ------------------------------------------------------------------------------------------------- starting anew, kills


def test_fresh_and_what_changed_start_anew_and_say_why(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level(logging.INFO, "leadwise")
    model, expected = tmp_path / "model", tiny_runs(tmp_path / "whole")
    reasons = []
    for change in ("fresh", "recipe", "data", "version", "nothing"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(run_module, "describe_fold", interrupt)
            tiny_runs(model, seed=5 if change == "recipe" else None)
        if change == "data":
            write(tmp_path / "data", "A9999", CODES[0], 300, 99)
        if change == "version":
            monkeypatch.setattr(run_module, "VERSION", "another")
        caplog.clear()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(run_module, "describe_fold", interrupt)
            tiny_runs(model, fresh=change == "fresh")
        reasons.append([text for text in caplog.messages if "anew" in text or "goes on" in text])
    assert reasons == [
        ["starting anew: asked to"],
        ["starting anew: the recipe changed"],
        ["starting anew: the data changed"],
        ["starting anew: the version changed"],
        ["fold 0: goes on after epoch 3"],
    ]
    (tmp_path / "data" / "A9999.hea").unlink()
    (tmp_path / "data" / "A9999.mat").unlink()
    monkeypatch.setattr(run_module, "VERSION", fold_state.VERSION)
    assert tiny_runs(model) == expected


def interrupt(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_damaged_prepared_recordings_are_prepared_again(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = tiny_runs(tmp_path / "whole", work=tmp_path / "work")
    prepared = tmp_path / "work" / "prepared"
    for name in ("samples.f32", "arrays.npz", "recordings.json"):
        content = bytearray((prepared / name).read_bytes())
        content[len(content) // 2] ^= 1
        (prepared / name).write_bytes(content)
        caplog.clear()
        assert tiny_runs(tmp_path / name, work=tmp_path / "work") == expected
        assert "prepared again" in caplog.text or name == "recordings.json"


def test_a_process_that_is_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Four moments, one of them random; `python -m tests.soak.kill` has as many as one likes."""
    data = kill.simulate(tmp_path / "data", 24)
    seconds = kill.train(data, tmp_path / "whole")
    occasions = ["checkpoint/.prepared.*", "checkpoint/simulated.*", "checkpoint/.fold*"]
    moments = kill.kill_and_resume(data, tmp_path / "model", [*occasions, random.Random(3).uniform(0, seconds)])
    assert len(moments) >= 3
    assert not kill.differences(tmp_path / "model", tmp_path / "whole")


def test_a_process_that_gets_sigterm_ends_in_good_order(tmp_path: Path) -> None:
    data = kill.simulate(tmp_path / "data", 24)
    process = kill.start(data, tmp_path / "model", "--epochs", "50")
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2 of 50" in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    metadata = load_model(tmp_path / "model").metadata
    assert metadata["training"]["unfinished"].startswith("stopped after")
    assert 2 <= len(metadata["folds"][0]["epochs"]) < 50
    process = kill.start(data, tmp_path / "other", "--epochs", "50")
    kill.first_line(process)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate()
    assert process.returncode in (143, -signal.SIGTERM), printed
    assert not (tmp_path / "other" / "model.json").exists()
