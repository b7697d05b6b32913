"""A model folder: what is saved is what is loaded, what is wrong is named, batches answer as single recordings do."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from leadwise.challenge.classes import CODES
from leadwise.decision.rules import Predictions
from leadwise.ecg.preprocessing import window_starts
from leadwise.model import ensemble
from leadwise.model import folder as folder_module
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import (
    SEEN,
    SIMULATION_NETWORK,
    ModelError,
    ModelMetadata,
    fold_file,
    save_metadata,
    save_network,
    save_seen,
)
from leadwise.model.initial_weights import read_initial_weights
from leadwise.network.devices import CPU, Processor
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import DecisionRecipe, NetworkRecipe, Recipe, SignalRecipe
from leadwise.util.files import sha256

TINY = Recipe(
    "tiny",
    signal=SignalRecipe(window=256, overlap=32),
    network=NetworkRecipe(stem_channels=4, block_channels=(4, 8), reduction=2),
)
PRIOR = Predictions(np.arange(24)[None] == 5, np.full((1, 24), 0.25))


def write_model(folder: Path, networks: int = 3) -> list[SEResNet]:
    """An untrained model folder; its networks as they were saved."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(4)
    saved, folds = [], []
    for fold in range(networks):
        network = SEResNet(TINY.network).eval()
        thresholds = np.random.default_rng(fold).uniform(0.3, 0.7, 24).round(2)
        checksum = save_network(folder, fold_file(fold), network.state_dict())
        folds.append({"file": fold_file(fold), "sha256": checksum, "thresholds": thresholds.tolist()})
        saved.append(network)
    save_metadata(folder, ModelMetadata(TINY, PRIOR, folds, {"recordings": 0}))
    return saved


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path / "model"


def examples(lengths: list[int]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    random = np.random.default_rng(1)
    signals = [random.normal(0, 1, (12, length)).astype(np.float32) for length in lengths]
    return signals, random.random((len(lengths), 5)).astype(np.float32)


def plain_predict(
    model: Model, networks: list[SEResNet], signal: NDArray[np.float32], person: NDArray[np.float32]
) -> tuple[list[bool], list[float]]:
    """The published way for one recording, in loops: windows, mean, own thresholds, votes."""
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


@pytest.mark.parametrize("networks", [1, 2, 5])
def test_answers_are_the_plain_way_s(tmp_path: Path, networks: int) -> None:
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


def test_networks_one_after_the_other_answer_as_stacked_ones_do(folder: Path) -> None:
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


def test_a_gpus_forward_pass_gives_the_same_answers(folder: Path) -> None:
    """On the CPU: what `Model` does where the networks are computed with channels last."""
    stacked = load_model(folder)
    signals, people = examples([100, 300, 700])
    found = replace(stacked, stacked=None, channels_last=True).probabilities(signals, people)
    np.testing.assert_allclose(found, stacked.probabilities(signals, people), atol=1e-5)


def test_a_gpu_that_is_lost_leaves_the_answers_to_the_cpu(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The device `meta` keeps no values: what was copied there is lost, as with a GPU that went away."""
    model = load_model(folder, Processor(torch.device("meta")))
    assert model.stacked is None
    signals, people = examples([100, 300])
    expected = load_model(folder).predict(signals, people)
    for _ in range(2):
        answer = model.predict(signals, people)
        np.testing.assert_array_equal(answer.scores, expected.scores)
        np.testing.assert_array_equal(answer.labels, expected.labels)
    assert caplog.text.count("the GPU failed") == caplog.text.count("the CPU goes on") == 1


def test_a_gpu_that_fails_on_the_way_is_not_asked_again(
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
    assert caplog.messages == ["the GPU failed: CUDA error: unspecified launch failure; the CPU goes on"]
    model.predict(signals, people)
    assert len(calls) == 5 and len(caplog.messages) == 1


def test_an_error_of_the_cpu_stays_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(load_model(folder), stacked=None)
    monkeypatch.setattr(SEResNet, "forward", lambda *arguments: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError):
        model.predict(*examples([100]))


def test_the_folder_holds_plain_fp32_states_and_readable_facts(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "fold0.safetensors",
        "fold1.safetensors",
        "fold2.safetensors",
        "model.json",
    ]
    state = load_file(folder / "fold0.safetensors")
    assert set(state) == set(SEResNet(TINY.network).state_dict())
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}  # int64: batches seen by a norm
    metadata = json.loads((folder / "model.json").read_text())
    assert metadata["classes"] == list(CODES)
    assert metadata["recipe"] == json.loads(json.dumps(TINY.as_dict()))


def test_weights_and_description_of_a_new_model_are_one_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each of the steps the folder is the former model or the new one, and ends without leftovers."""
    other = replace(PRIOR, labels=~PRIOR.labels)
    folder = tmp_path / "model"
    write_model(folder)
    state = {name: value + 1 for name, value in load_file(folder / "fold0.safetensors").items()}
    former = load_model(folder)
    checksum = save_network(folder, fold_file(0), state)
    unchanged = load_model(folder)
    assert unchanged.metadata == former.metadata and same_weights(unchanged, former.networks[0].state_dict())
    description = [{"file": fold_file(0), "sha256": checksum, "thresholds": [0.5] * 24}]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folder_module, "commit_pending", stop)
        save_metadata(folder, ModelMetadata(TINY, other, description, {}))
    assert same_weights(load_model(folder), state)
    folder_module.commit_pending(folder)
    assert same_weights(load_model(folder), state)
    assert not list(folder.glob("*.new"))
    save_network(folder, fold_file(1), state)  # not described by anything: nobody will need it
    folder_module.commit_pending(folder)
    assert not list(folder.glob("*.new"))


def stop(folder: Path) -> None:
    raise KeyboardInterrupt


def same_weights(model: Model, state: dict[str, torch.Tensor]) -> bool:
    found = model.networks[0].state_dict()
    return all(torch.equal(found[name], value) for name, value in state.items())


def test_halves_are_loaded_as_fp32(tmp_path: Path) -> None:
    network = write_model(tmp_path, 1)[0]
    checksum = save_network(tmp_path, fold_file(0), network.state_dict(), half=True)
    fold = {"file": fold_file(0), "sha256": checksum, "thresholds": [0.5] * 24}
    save_metadata(tmp_path, ModelMetadata(TINY, PRIOR, [fold], {"recordings": 0}))
    found = load_model(tmp_path).networks[0].state_dict()
    for name, value in network.state_dict().items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)
    stored = {name: value.dtype for name, value in load_file(tmp_path / fold_file(0)).items()}
    assert (
        stored["stem.0.weight"] == torch.float16 and stored["stem.1.weight"] == torch.float32
    )  # norms stay as they are


def test_plain_networks_see_short_recordings_in_whole_windows(folder: Path) -> None:
    """As on a GPU; the stacked ones leave the padding out."""
    model, given = load_model(folder), examples([100, 120])
    assert model.stacked is not None
    plain = replace(model, stacked=None).probabilities(*given)
    np.testing.assert_allclose(plain, model.probabilities(*given), atol=1e-5)


def test_a_bottleneck_of_every_channel_is_read(tmp_path: Path) -> None:
    shape = replace(TINY.network, reduction=1)
    checksum = save_network(tmp_path, fold_file(0), SEResNet(shape).state_dict())
    fold = {"file": fold_file(0), "sha256": checksum, "thresholds": [0.5] * 24}
    save_metadata(tmp_path, ModelMetadata(replace(TINY, network=shape), PRIOR, [fold], {}))
    assert load_model(tmp_path).recipe.network.reduction == 1


def test_a_moved_folder_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    signals, people = examples([300])
    before = load_model(folder).predict(signals, people)
    folder.rename(tmp_path / "elsewhere")
    after = load_model(tmp_path / "elsewhere", CPU).predict(signals, people)
    np.testing.assert_array_equal(before.scores, after.scores)


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        metadata = json.loads((folder / "model.json").read_text())
        change(metadata)
        (folder / "model.json").write_text(json.dumps(metadata))

    return spoil


def of_recipe(part: str, name: str, value: object) -> Callable[[Path], None]:
    return edit(lambda m: m["recipe"][part].update({name: value}))


def flip_one_bit(folder: Path) -> None:
    content = bytearray((folder / "fold1.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "fold1.safetensors").write_bytes(content)


def pipe(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Other weights whose checksum is right: what a malicious folder may have."""

    def spoil(folder: Path) -> None:
        path = folder / "fold0.safetensors"
        path.write_bytes(change(path.read_bytes()))
        edit(lambda m: m["folds"][0].update(sha256=sha256(path)))(folder)

    return spoil


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no description": (lambda folder: (folder / "model.json").unlink(), r"model\.json: No such file"),
    "no JSON": (lambda folder: (folder / "model.json").write_text("{"), r"model\.json: not JSON"),
    "no text": (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe{}"), r"model\.json: not JSON"),
    "a list": (lambda folder: (folder / "model.json").write_text("[]"), r"model\.json: not a description"),
    "another version": (edit(lambda m: m.update(version=99)), r"version 99.*reads"),
    "other classes": (edit(lambda m: m["classes"].reverse()), r"classes are not"),
    "no folds": (edit(lambda m: m["folds"].clear()), r"model\.json: ValueError needs at least one fold"),
    "no thresholds": (edit(lambda m: m["folds"][1].pop("thresholds")), r"model\.json: .*thresholds"),
    "few thresholds": (edit(lambda m: m["folds"][1]["thresholds"].pop()), r"model\.json"),
    "an unknown number": (edit(lambda m: m["recipe"]["network"].update(colour=1)), r"model\.json.*colour"),
    "no prior": (edit(lambda m: m.pop("prior")), r"model\.json: .*prior"),
    "a file elsewhere": (edit(lambda m: m["folds"][0].update(file="../x")), r"'\.\./x' is not a file name"),
    "no weights": (lambda folder: (folder / "fold2.safetensors").unlink(), r"fold2\.safetensors: No such file"),
    "a flipped bit": (flip_one_bit, r"fold1\.safetensors: damaged"),
    "a name with a zero byte": (edit(lambda m: m["folds"][0].update(file="x\0")), r"is not a file name"),
    "a name that is a number": (edit(lambda m: m["folds"][0].update(file=5)), r"5: No such file"),
    "a checksum that is a number": (edit(lambda m: m["folds"][0].update(sha256=5)), r"fold0.*: damaged"),
    "a fold that is a number": (edit(lambda m: m["folds"].append(5)), r"model\.json: TypeError"),
    "a network twice": (edit(lambda m: m["folds"].append(m["folds"][0])), "networks name the same file"),
    "thresholds in words": (edit(lambda m: m["folds"][0].update(thresholds=["x"] * 24)), r"model\.json"),
    "a threshold of NaN": (edit(lambda m: m["folds"][0]["thresholds"].__setitem__(3, np.nan)), "no number"),
    "a threshold beyond numbers": (edit(lambda m: m["folds"][0]["thresholds"].__setitem__(3, 10**400)), "Over"),
    "few prior labels": (edit(lambda m: m["prior"]["labels"].pop()), r"model\.json: needs .* prior"),
    "a prior beyond 1": (edit(lambda m: m["prior"]["scores"].__setitem__(0, 1.5)), r"not in \[0, 1\]"),
    "no training": (edit(lambda m: m.pop("training")), r"model\.json: .*training"),
    "folds that are no list": (edit(lambda m: m.update(folds={"a": 1})), r"model\.json: .*folds"),
    "JSON of many floors": (lambda folder: (folder / "model.json").write_text("[" * 100_000), r"model\.json: not JSON"),
    "a description that is a pipe": (pipe("model.json"), r"model\.json: is no regular file"),
    "weights that are a pipe": (pipe("fold1.safetensors"), r"fold1\.safetensors: is no regular file"),
    "weights that are no tensors": (rewritten(lambda content: b"ECG" * 99), r"fold0\.safetensors: "),
    "weights of an unknown type": (rewritten(lambda content: content.replace(b'"F32"', b'"F99"')), r"fold0.*: "),
    "weights of another type": (rewritten(lambda content: content.replace(b'"F32"', b'"I32"')), r"fold0.*: .*int32"),
    **{
        f"{part} {name} {str(value)[:20]}": (of_recipe(part, name, value), found)
        for part, name, value, found in (
            ("signal", "window", 10**12, "window 1000000000000 is not within"),
            ("signal", "window", "256", "window '256'"),
            ("signal", "window", 10, "window 10, overlap 32"),
            ("signal", "overlap", -1, "overlap -1 is not within"),
            ("signal", "sampling_frequency", 0, "at 0 Hz"),
            ("signal", "unit", 5, "unit 5"),
            ("signal", "band", [0.5, "40"], "band"),
            ("signal", "band", [True, 40.0], "band"),
            ("signal", "band", [0.5], "band"),
            ("signal", "band", [0.5, 40.0, 60.0], "band"),
            ("signal", "band", [0.0, 40.0], "band 0"),
            ("signal", "band", [40.0, 0.5], "band 40"),
            ("signal", "band", [0.5, 128.5], "band 0.5 to 128.5 Hz at 257 Hz"),
            ("network", "stem_channels", 10**5, "size mismatch"),
            ("network", "stem_channels", 0, "channels 0"),
            ("network", "stem_channels", True, "stem_channels True"),
            ("network", "block_channels", [4] * 9999, "9999 blocks"),
            ("network", "block_channels", [], "block_channels"),
            ("network", "block_channels", 8, "block_channels 8"),
            ("network", "kernel", 8, "kernels 15 and 8"),
            ("network", "reduction", 0, "reduction 0"),
            ("network", "reduction", 5, "reduction 5"),
            ("network", "leads", 8, "not 12 leads"),
            ("network", "demographics", 4, "not 12 leads"),
            ("network", "classes", 27, "not 12 leads"),
            ("network", "dropout", None, "dropout None"),
        )
    },
    "another shape": (
        edit(lambda m: m["recipe"]["network"].update(stem_channels=8)),
        r"fold0\.safetensors: .*size mismatch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(folder: Path, what: str) -> None:
    spoil, message = WRONG[what]
    spoil(folder)
    with pytest.raises(ModelError, match=f"(?s){message}"):
        load_model(folder)


def test_a_pickle_in_the_folder_is_never_opened(folder: Path, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    content = pickle.dumps(Malicious())
    for name in ("fold0.safetensors", "model.pkl"):
        (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="fold0"):
        load_model(folder)
    assert not (tmp_path / "executed").exists()


def test_a_band_below_half_the_frequency_and_a_certain_prior_are_read(folder: Path) -> None:
    of_recipe("signal", "band", [0.5, 128.4])(folder)
    edit(lambda m: m["prior"].update(scores=[1.0, 0.0, *[0.5] * 22]))(folder)
    model = load_model(folder)
    assert model.recipe.signal.band == (0.5, 128.4) and model.prior.scores[0, :2].tolist() == [1.0, 0.0]


def test_a_training_begins_with_networks_of_its_own_signals_and_shape_alone(folder: Path) -> None:
    save_seen(folder, ["E00002", "E00001", "E00002"])
    initial_weights = read_initial_weights(folder, TINY)
    assert initial_weights.seen == {"E00001", "E00002"} and (folder / SEEN).read_text() == "E00001\nE00002\n"
    assert initial_weights.state(4)["classifier.bias"].equal(
        load_model(folder).networks[1].state_dict()["classifier.bias"]
    )
    other_signal = replace(TINY, name="other", signal=replace(TINY.signal, unit="mV"))
    other_network = replace(TINY, name="other", network=replace(TINY.network, dropout=0.1))
    for other in (other_signal, other_network):
        with pytest.raises(ModelError, match="recipe tiny has other signals or networks than other"):
            read_initial_weights(folder, other)
    (folder / SEEN).unlink()
    with pytest.raises(ModelError, match=r"seen\.txt: No such file"):
        read_initial_weights(folder, TINY)


HEARING = replace(
    TINY, name="hearing", decision=DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True)
)


def write_hearing(folder: Path) -> list[SEResNet]:
    """A model of one network and a textbook's; the two as they were saved."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(5)
    networks = [SEResNet(TINY.network).eval() for _ in range(2)]
    names = (fold_file(0), SIMULATION_NETWORK)
    one, simulation_network = (
        {"file": name, "sha256": save_network(folder, name, network.state_dict())}
        for name, network in zip(names, networks, strict=True)
    )
    calibration = {"temperature": 1.0, "shared_offset": 0.0, "offsets": [0.0] * 24}
    one |= {"calibration": calibration, "target_prevalence": [0.1] * 24, "label_prevalence": [0.1] * 24}
    simulation_network |= {"target_prevalence": [0.2] * 24, "weight": 0.5}
    save_metadata(folder, ModelMetadata(HEARING, PRIOR, [one], {"recordings": 0}, (), simulation_network))
    return networks


def test_a_textbook_is_saved_and_heard_of_foreign_recordings(tmp_path: Path) -> None:
    networks, (signals, people) = write_hearing(tmp_path), examples([256, 300])
    model = load_model(tmp_path)
    found = model.probabilities(signals, people)
    with torch.inference_mode():
        first = torch.from_numpy(signals[0])[None], torch.from_numpy(people[:1])
        expected = [torch.sigmoid(network(*first)).numpy()[0] for network in networks]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
    acquired = np.full((2, 3), 500, np.float32)  # as nothing was, since the model names no ways
    answer = model.predict(signals, people, acquired)
    np.testing.assert_array_equal(answer.scores, model.rule.decide(found, np.array([True, True])).scores)
    assert answer.out_of_distribution is not None and answer.out_of_distribution.all()
    assert not np.allclose(answer.scores, model.predict(signals, people).scores)


def test_a_training_begins_with_a_models_textbook_too(tmp_path: Path) -> None:
    networks = write_hearing(tmp_path)
    save_seen(tmp_path, ["E00001"])
    initial_weights = read_initial_weights(tmp_path, HEARING)
    assert len(initial_weights.states) == 1 and initial_weights.simulation_network is not None
    state, metadata = initial_weights.simulation_network
    assert all(torch.equal(value, state[name]) for name, value in networks[1].state_dict().items())
    assert metadata["target_prevalence"] == [0.2] * 24 and initial_weights.checksum.count(" ") == 1


def test_a_textbook_goes_with_the_model_that_it_belongs_to(tmp_path: Path) -> None:
    write_hearing(tmp_path)
    write_model(tmp_path, 1)
    assert not (tmp_path / SIMULATION_NETWORK).exists() and load_model(tmp_path).metadata["simulation_network"] is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda metadata: metadata["simulation_network"].update(file=fold_file(0)), "two networks name the same file"),
        (lambda metadata: metadata["simulation_network"].update(sha256="0"), r"textbook\.safetensors: damaged"),
        (lambda metadata: metadata["simulation_network"].update(share=2), "share 2.0"),
        (lambda metadata: metadata["simulation_network"].pop("target_prevalence"), "KeyError 'learned'"),
        (lambda metadata: metadata.update(simulation_network=[1]), "TypeError"),
        (lambda metadata: metadata.update(simulation_network=7), "TypeError"),
        (lambda metadata: metadata.pop("simulation_network"), "probabilities of"),
    ],
)  # fmt: skip
def test_a_wrong_textbook_is_named(tmp_path: Path, change: Callable[[dict], object], error: str) -> None:
    write_hearing(tmp_path)
    edit(change)(tmp_path)
    if error == "probabilities of":  # a model without one, whose file nobody asks for
        assert load_model(tmp_path).rule.thresholds.shape == (1, 24)
        return
    with pytest.raises(ModelError, match=error):
        load_model(tmp_path)
