"""A model predicts as its networks do one by one, whatever the batch, the arithmetic and the fate of its GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from leadwise.ecg.acquisition import MISMATCH
from leadwise.ecg.preprocessing import window_starts
from leadwise.model import ensemble
from leadwise.model.ensemble import Model, load_model
from leadwise.network.devices import Processor
from leadwise.network.se_resnet import SEResNet
from tests.model.models import examples, write_model, write_model_with_simulation_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path / "model"


def plain_predict(
    model: Model, networks: list[SEResNet], signal: NDArray[np.float32], person: NDArray[np.float32]
) -> tuple[list[bool], list[float]]:
    """Predict one recording by the published method, in loops: windows, mean, thresholds of each network, votes."""
    votes, scores = np.zeros(24, int), np.zeros(24)
    for network, thresholds in zip(networks, model.thresholds, strict=True):
        probabilities = []
        for start in window_starts(signal.shape[1], 256, 32):
            window = np.zeros((1, 12, 256), np.float32)
            piece = signal[:, start : start + 256]
            window[0, :, : piece.shape[1]] = piece
            with torch.inference_mode():
                logits = network(torch.from_numpy(window), torch.from_numpy(person[None]))
            probabilities.append(torch.sigmoid(logits)[0].double().numpy())
        mean = np.mean(probabilities, axis=0)
        scores += mean / len(networks)
        for k in range(24):
            votes[k] += bool(mean[k] >= thresholds[k] or k == mean.argmax())
    return [bool(2 * votes[k] >= len(networks) or k == votes.argmax()) for k in range(24)], scores.tolist()


def test_windows_at_fixed_distances_weigh_what_each_adds(tmp_path: Path) -> None:
    saved = write_model(tmp_path / "model", 2)
    model = load_model(tmp_path / "model")
    model = replace(model, recipe=replace(model.recipe, signal=replace(model.recipe.signal, windows="fixed")))
    signals, people = examples([256, 700])
    whole, long = model.probabilities(signals, people)[0]
    each = [model.probabilities([signals[1][:, start : start + 256]], people[1:])[0, 0] for start in (0, 224, 444)]
    np.testing.assert_allclose(long, (256 * each[0] + 224 * each[1] + 220 * each[2]) / 700, atol=1e-6)
    with torch.inference_mode():
        logits = saved[0](torch.from_numpy(signals[0][None]), torch.from_numpy(people[:1]))
    np.testing.assert_allclose(whole, torch.sigmoid(logits)[0], atol=1e-6)
    # one sample more than a window hardly counts: the published even windows would weigh it like the whole window
    longer = np.concatenate([signals[0], np.full((12, 1), 1e4, np.float32)], axis=1)
    change = np.abs(model.probabilities([longer], people[:1])[0, 0] - whole).max()
    assert change < 1 / 256


@pytest.mark.parametrize("networks", [1, 2, 5])
def test_predictions_are_those_of_the_published_method_in_loops(tmp_path: Path, networks: int) -> None:
    saved = write_model(tmp_path / "model", networks)
    model = load_model(tmp_path / "model")
    signals, people = examples([100, 256, 257, 1000, 3000])
    answer = model.predict(signals, people)
    for row, (signal, person) in enumerate(zip(signals, people, strict=True)):
        labels, scores = plain_predict(model, saved, signal, person)
        assert answer.labels[row].tolist() == labels
        np.testing.assert_allclose(answer.scores[row], scores, atol=1e-6)
        alone = model.predict([signal], person[None])
        assert (alone.labels[0] == answer.labels[row]).all()
        np.testing.assert_allclose(alone.scores[0], answer.scores[row], atol=1e-5)


def test_plain_networks_predict_as_stacked_ones(folder: Path) -> None:
    stacked = load_model(folder)
    assert stacked.stacked is not None
    signals, people = examples([100, 3000, 256, 40])
    expected = replace(stacked, stacked=None).probabilities(signals, people)
    np.testing.assert_allclose(stacked.probabilities(signals, people), expected, atol=1e-6)


@pytest.mark.parametrize(("dtype", "stacked"), [(torch.bfloat16, True), (torch.float16, False)])
def test_reduced_precision_stays_near(folder: Path, dtype: torch.dtype, stacked: bool) -> None:
    model = load_model(folder, Processor(torch.device("cpu"), dtype))
    assert (model.stacked is not None) == stacked
    signals, people = examples([100, 300])
    expected = load_model(folder).predict(signals, people)
    np.testing.assert_allclose(model.predict(signals, people).scores, expected.scores, atol=0.02)
    plain = replace(model, stacked=None).predict(signals, people)
    np.testing.assert_allclose(model.predict(signals, people).scores, plain.scores, atol=0.02)


def test_the_forward_pass_of_a_gpu_gives_the_same_probabilities(folder: Path) -> None:
    """Computed on the CPU, with channels last."""
    stacked = load_model(folder)
    signals, people = examples([100, 300, 700])
    found = replace(stacked, stacked=None, channels_last=True).probabilities(signals, people)
    np.testing.assert_allclose(found, stacked.probabilities(signals, people), atol=1e-5)


def test_the_cpu_predicts_if_the_gpu_is_lost(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The device `meta` keeps no values: networks that are copied there are lost, as with a lost GPU."""
    model = load_model(folder, Processor(torch.device("meta")))
    assert model.stacked is None
    signals, people = examples([100, 300])
    expected = load_model(folder).predict(signals, people)
    for _ in range(2):
        answer = model.predict(signals, people)
        np.testing.assert_array_equal(answer.scores, expected.scores)
        np.testing.assert_array_equal(answer.labels, expected.labels)
    assert caplog.text.count("the GPU failed") == caplog.text.count("continuing on the CPU") == 1


def test_a_gpu_that_fails_in_between_is_not_used_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = load_model(folder)
    model = replace(plain, stacked=None, cpu_fallback=ensemble.CpuFallback(plain.networks))
    original, calls = SEResNet.forward, []

    def fail(network: SEResNet, *arguments: torch.Tensor) -> torch.Tensor:
        calls.append(network)
        if len(calls) > 4:  # the second network of the second batch
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")
        return original(network, *arguments)

    monkeypatch.setattr(SEResNet, "forward", fail)
    signals, people = examples([100] * (ensemble.PLAIN + 1))
    answer = model.predict(signals, people)
    np.testing.assert_array_equal(answer.scores, plain.predict(signals, people).scores)
    assert caplog.messages == ["the GPU failed: CUDA error: unspecified launch failure; continuing on the CPU"]
    model.predict(signals, people)
    assert len(calls) == 5 and len(caplog.messages) == 1


def test_features_are_means_over_time_and_windows_of_the_first_network_s_last_block(folder: Path) -> None:
    model = load_model(folder)
    signals, _ = examples([100, 256, 600])
    network, window = model.networks[0], model.recipe.signal.window
    expected = []
    for signal in signals:
        starts = window_starts(signal.shape[1], window, model.recipe.signal.overlap)
        pieces = [signal[:, start : start + window] for start in starts]
        padded = torch.tensor(np.stack([np.pad(piece, ((0, 0), (0, window - piece.shape[1]))) for piece in pieces]))
        with torch.inference_mode():
            expected.append(network.blocks(network.stem(padded)).mean((0, 2)).numpy())
    found = model.embed(signals)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    on_gpu = replace(model, stacked=None, cpu_fallback=ensemble.CpuFallback(model.networks))
    np.testing.assert_array_equal(on_gpu.embed(signals), found)


def test_features_come_from_the_cpu_if_the_gpu_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_model(folder)
    model = replace(plain, stacked=None, cpu_fallback=ensemble.CpuFallback(plain.networks))
    signals, _ = examples([100, 300])
    expected, original = plain.embed(signals), SEResNet.features

    def fail(network: SEResNet, signal: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(SEResNet, "features", original)
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(SEResNet, "features", fail)
    np.testing.assert_array_equal(model.embed(signals), expected)


def test_an_error_on_the_cpu_is_raised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(load_model(folder), stacked=None)
    monkeypatch.setattr(SEResNet, "forward", lambda *arguments: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError):
        model.predict(*examples([100]))


def test_plain_networks_pad_short_recordings_to_a_full_window(folder: Path) -> None:
    """As on a GPU; stacked networks leave the padding out."""
    model, inputs = load_model(folder), examples([100, 120])
    assert model.stacked is not None
    plain = replace(model, stacked=None).probabilities(*inputs)
    np.testing.assert_allclose(plain, model.probabilities(*inputs), atol=1e-5)


def test_the_simulation_only_network_is_used_for_recordings_out_of_distribution(tmp_path: Path) -> None:
    networks, (signals, people) = write_model_with_simulation_network(tmp_path), examples([256, 300])
    model = load_model(tmp_path)
    found = model.probabilities(signals, people)
    with torch.inference_mode():
        first = torch.from_numpy(signals[0])[None], torch.from_numpy(people[:1])
        expected = [torch.sigmoid(network(*first)).numpy()[0] for network in networks]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
    acquired = np.full((2, 3), 500, np.float32)  # the model has no acquisition profiles
    answer = model.predict(signals, people, acquired)
    np.testing.assert_array_equal(answer.scores, model.rule.decide(found, np.full(2, MISMATCH)).scores)
    assert answer.in_distribution is not None and (answer.in_distribution < 0.05).all()
    assert not np.allclose(answer.scores, model.predict(signals, people).scores)
