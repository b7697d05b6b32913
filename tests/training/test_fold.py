"""One fold: windows against a plain loop, schedule, checkpoint, and that a killed run ends as an uninterrupted one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leadwise.data.dataset import Dataset
from leadwise.ecg.preprocessing import window_starts
from leadwise.network.devices import CPU, Processor
from leadwise.recipes import PAPER, ROBUST, NetworkRecipe, Recipe, SignalRecipe, TrainingRecipe
from leadwise.training import epoch
from leadwise.training import fold as fold_module
from leadwise.training.epoch import FoldData
from leadwise.training.examples import Examples, random_offsets
from leadwise.training.fold import FoldTask, train_fold
from leadwise.training.fold_state import FoldState, Networks
from leadwise.training.schedule import learning_rate
from leadwise.training.validation import validation_windows

TINY = Recipe(
    "tiny",
    signal=SignalRecipe(window=256, overlap=32),
    network=NetworkRecipe(stem_channels=4, block_channels=(4, 8), reduction=2),
    training=TrainingRecipe(folds=2, epochs=3, batch_size=4),
)


AVERAGED = dataclasses.replace(  # everything that recipe `robust` adds, in small
    ROBUST,
    signal=dataclasses.replace(TINY.signal, sampling_frequency=128),
    network=TINY.network,
    training=dataclasses.replace(ROBUST.training, folds=2, epochs=3, batch_size=4),
)


def make_dataset(lengths: list[int], seed: int = 0) -> Dataset:
    """Noise whose first lead is large where class 3 is on."""
    random = np.random.default_rng(seed)
    n, rows = len(lengths), sum(lengths)
    labels = random.random((n, 24)) < 0.1
    labels[:, 3] = np.arange(n) % 2 == 0
    samples = random.normal(0, 1, (rows, 12)).astype(np.float32)
    samples[:, 0] *= np.repeat(1 + 9 * labels[:, 3], lengths)
    starts = np.cumsum(lengths) - lengths
    names = tuple(f"A{index:04d}" for index in range(n))
    return Dataset(
        names, ("A",) * n, names, samples, starts, np.array(lengths), labels, np.zeros_like(labels),
        random.random((n, 5)).astype(np.float32), np.ones((n, 3), np.float32),        {}, {}, "none",
    )  # fmt: skip


def plain_window(signal: NDArray[np.float32], offset: int, window: int) -> NDArray[np.float32]:
    """(samples, 12) -> (12, window), sample by sample."""
    result = np.zeros((12, window), np.float32)
    for t in range(window):
        if 0 <= offset + t < len(signal):
            result[:, t] = signal[offset + t]
    return result


def task(
    dataset: Dataset,
    validation: NDArray[np.bool_],
    recipe: Recipe,
    checkpoint: Path,
    seed: int = 7,
    processor: Processor = CPU,
    fold: int = 0,
) -> FoldTask:
    return FoldTask(FoldData(dataset, validation, fold), recipe, processor, checkpoint, seed)


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(-70, 70)), min_size=1, max_size=5), st.integers(1, 64))
def test_windows_equal_a_plain_loop(recordings: list[tuple[int, int]], window: int) -> None:
    dataset = make_dataset([length for length, _ in recordings])
    examples = Examples.of(dataset, torch.device("cpu"))
    offsets = torch.tensor([offset for _, offset in recordings])
    windows = examples.windows(torch.arange(len(recordings)), offsets, window)
    for index, (length, offset) in enumerate(recordings):
        start = int(dataset.starts[index])
        expected = plain_window(dataset.samples[start : start + length], offset, window)
        np.testing.assert_array_equal(windows[index].numpy(), expected)


def test_random_offsets_reach_every_place_alike() -> None:
    generator = torch.Generator().manual_seed(1)
    longer = random_offsets(torch.full((30_000,), 12), 10, generator)
    shorter = random_offsets(torch.full((30_000,), 7), 10, generator)
    exact = random_offsets(torch.full((5,), 10), 10, generator)
    for offsets, places in ((longer, [0, 1, 2]), (shorter, [-3, -2, -1, 0])):
        values, counts = offsets.unique(return_counts=True)
        assert values.tolist() == places
        assert (counts / len(offsets)).numpy() == pytest.approx(1 / len(places), abs=0.02)
    assert (exact == 0).all()


def test_validation_windows_are_the_test_windows_of_each() -> None:
    table = validation_windows(np.array([100, 256, 700]), 256, 32)
    assert [owner for owner, _ in table] == [0, 1, 2, 2, 2]
    assert [first for _, first in table] == [0, 0, *window_starts(700, 256, 32)]
    assert table[-1, 1] + 256 == 700


def test_published_schedule() -> None:
    rates = [learning_rate(epoch, 50, PAPER.training) for epoch in range(50)]
    assert rates == pytest.approx([0.003] * 20 + [0.0003] * 20 + [0.00003] * 10)
    assert [learning_rate(epoch, 1, PAPER.training) for epoch in range(1)] == [0.003]


def test_cosine_schedule_rises_from_nought_and_falls_to_it() -> None:
    training_recipe = ROBUST.training
    rates = [learning_rate(step / 10, 20, training_recipe) for step in range(201)]
    top = int(np.argmax(rates))
    assert rates[0] == 0 and rates[-1] == pytest.approx(0, abs=1e-12) and max(rates) == training_recipe.learning_rate
    assert top == pytest.approx(training_recipe.warm_up * 200)
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()


def test_the_average_of_weights_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    networks = FoldState.begin(AVERAGED, 3, CPU).networks
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


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Dataset, NDArray[np.bool_], fold_module.FoldResult]:
    dataset = make_dataset([300, 200, 256, 600] * 5)
    validation = np.arange(len(dataset)) % 4 == 0
    path = tmp_path_factory.mktemp("fold") / "fold0.safetensors"
    return dataset, validation, train_fold(task(dataset, validation, TINY, path))


def test_a_fold_learns_and_keeps_its_best_epoch(
    uninterrupted: tuple[Dataset, NDArray[np.bool_], fold_module.FoldResult],
) -> None:
    _, validation, result = uninterrupted
    scores = [entry["validation_score"] for entry in result.history]
    assert len(scores) == 3 and result.best_epoch == scores.index(max(scores))
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert all(entry["mfu"] > 0 for entry in result.history)
    assert [entry["seconds_left"] > 0 for entry in result.history] == [True, True, False]
    assert result.probabilities.shape == (validation.sum(), 24)
    assert ((result.probabilities > 0) & (result.probabilities < 1)).all()


def test_probabilities_are_the_saved_network_s_over_all_windows(
    uninterrupted: tuple[Dataset, NDArray[np.bool_], fold_module.FoldResult],
) -> None:
    dataset, validation, result = uninterrupted
    network = FoldState.begin(TINY, 1, CPU).networks.network
    network.load_state_dict(result.weights)
    network.eval()
    for row, index in enumerate(np.flatnonzero(validation)):
        start, length = dataset.starts[index], int(dataset.lengths[index])
        signal = dataset.samples[start : start + length]
        windows = [plain_window(signal, int(first), 256) for first in window_starts(length, 256, 32)]
        person = torch.from_numpy(dataset.auxiliary_features[index]).expand(len(windows), -1)
        with torch.inference_mode():
            expected = torch.sigmoid(network(torch.from_numpy(np.stack(windows)), person)).mean(0)
        np.testing.assert_allclose(result.probabilities[row], expected, atol=1e-6)


@pytest.mark.parametrize("epochs_before", [1, 2, 3])
@pytest.mark.parametrize("recipe", [TINY, AVERAGED], ids=["tiny", "averaged"])
def test_a_run_that_was_cut_off_ends_as_the_uninterrupted_one(
    uninterrupted: tuple[Dataset, NDArray[np.bool_], fold_module.FoldResult],
    recipe: Recipe,
    epochs_before: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, validation, whole = uninterrupted
    if recipe is AVERAGED:
        whole = train_fold(task(dataset, validation, recipe, tmp_path / "whole.safetensors"))
        assert whole.best_epoch == 2  # the last one is kept
    path = tmp_path / "fold0.safetensors"
    saves = []

    def save_then_die(run: FoldState, target: Path) -> None:
        original(run, target)
        saves.append(target)
        if len(saves) == epochs_before:
            raise KeyboardInterrupt

    original = FoldState.save
    monkeypatch.setattr(FoldState, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train_fold(task(dataset, validation, recipe, path))
    monkeypatch.setattr(FoldState, "save", original)
    torch.rand(3)  # another process would have other random states
    resumed = train_fold(task(dataset, validation, recipe, path))
    assert resumed.best_epoch == whole.best_epoch
    np.testing.assert_array_equal(resumed.probabilities, whole.probabilities)
    for name, value in whole.weights.items():
        assert torch.equal(value, resumed.weights[name]), name


def test_the_steps_of_the_average_are_counted_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    state = FoldState.begin(AVERAGED, 3, CPU)
    state.networks.network.stem[1].num_batches_tracked.fill_(100)  # what it has learnt before counts
    seen, asked = [], []
    monkeypatch.setattr(Networks, "update_ema", lambda *arguments: seen.append(arguments[-1]))
    original = Networks.steps_trained
    monkeypatch.setattr(Networks, "steps_trained", lambda networks: asked.append(1) or original(networks))
    examples = Examples.of(make_dataset([300] * 12), CPU.device)
    epoch.train_epoch(state, examples, torch.arange(12), lambda share: 0.0)
    assert seen == [101, 102, 103] and len(asked) == 1
    assert original(state.networks) == 103


def test_another_seed_is_another_network(
    uninterrupted: tuple[Dataset, NDArray[np.bool_], fold_module.FoldResult], tmp_path: Path
) -> None:
    dataset, validation, whole = uninterrupted
    other = train_fold(task(dataset, validation, TINY, tmp_path / "fold0.safetensors", seed=8))
    assert not np.array_equal(other.probabilities, whole.probabilities)


def test_reduced_precision_trains_too(tmp_path: Path) -> None:
    dataset = make_dataset([300] * 12)
    device = dataclasses.replace(CPU, dtype=torch.bfloat16)
    result = train_fold(task(dataset, np.arange(12) % 3 == 0, TINY, tmp_path / "fold0.safetensors", processor=device))
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert all(value.dtype != torch.bfloat16 for value in result.weights.values())


def test_a_part_smaller_than_a_batch_is_one_batch(tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, batch_size=64, epochs=1))
    result = train_fold(task(make_dataset([300] * 6), np.arange(6) < 2, recipe, tmp_path / "fold"))
    assert np.isfinite(result.history[0]["loss"])
