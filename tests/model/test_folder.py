"""A model folder is read as it was saved, an invalid one is refused with the file and the reason."""

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
from safetensors.torch import load_file

from leadwise.challenge.classes import CODES
from leadwise.model import folder as folder_module
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import SIMULATION_NETWORK, ModelError, ModelMetadata, fold_file, save_metadata, save_network
from leadwise.network.devices import CPU
from leadwise.network.se_resnet import SEResNet
from leadwise.util.files import sha256
from tests.model.models import PRIOR, TINY, edit, examples, write_model, write_model_with_simulation_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path / "model"


def test_the_folder_has_fp32_states_and_readable_metadata(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "fold0.safetensors",
        "fold1.safetensors",
        "fold2.safetensors",
        "model.json",
    ]
    state = load_file(folder / "fold0.safetensors")
    assert set(state) == set(SEResNet(TINY.network).state_dict())
    assert {value.dtype for value in state.values()} == {
        torch.float32,
        torch.int64,
    }  # int64: number of batches of a norm
    metadata = json.loads((folder / "model.json").read_text())
    assert metadata["classes"] == list(CODES)
    assert metadata["recipe"] == json.loads(json.dumps(TINY.as_dict()))


def test_weights_and_model_json_of_a_new_model_change_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each step the folder is the former model or the new one, and in the end nothing is left over."""
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
    save_network(folder, fold_file(1), state)  # not described by model.json
    folder_module.commit_pending(folder)
    assert not list(folder.glob("*.new"))


def stop(folder: Path) -> None:
    raise KeyboardInterrupt


def same_weights(model: Model, state: dict[str, torch.Tensor]) -> bool:
    found = model.networks[0].state_dict()
    return all(torch.equal(found[name], value) for name, value in state.items())


def test_fp16_weights_are_loaded_as_fp32(tmp_path: Path) -> None:
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
    )  # norms are not converted


def test_a_reduction_of_1_is_read(tmp_path: Path) -> None:
    shape = replace(TINY.network, reduction=1)
    checksum = save_network(tmp_path, fold_file(0), SEResNet(shape).state_dict())
    fold = {"file": fold_file(0), "sha256": checksum, "thresholds": [0.5] * 24}
    save_metadata(tmp_path, ModelMetadata(replace(TINY, network=shape), PRIOR, [fold], {}))
    assert load_model(tmp_path).recipe.network.reduction == 1


def test_a_folder_can_be_moved(folder: Path, tmp_path: Path) -> None:
    signals, people = examples([300])
    before = load_model(folder).predict(signals, people)
    folder.rename(tmp_path / "moved")
    after = load_model(tmp_path / "moved", CPU).predict(signals, people)
    np.testing.assert_array_equal(before.scores, after.scores)


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
    """Change the weights and their checksum, as a malicious folder might."""

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
    "a file outside the folder": (edit(lambda m: m["folds"][0].update(file="../x")), r"'\.\./x' is not a file name"),
    "no weights": (lambda folder: (folder / "fold2.safetensors").unlink(), r"fold2\.safetensors: No such file"),
    "a flipped bit": (flip_one_bit, r"fold1\.safetensors: damaged"),
    "a name with a zero byte": (edit(lambda m: m["folds"][0].update(file="x\0")), r"is not a file name"),
    "a name that is a number": (edit(lambda m: m["folds"][0].update(file=5)), r"5: No such file"),
    "a checksum that is a number": (edit(lambda m: m["folds"][0].update(sha256=5)), r"fold0.*: damaged"),
    "a fold that is a number": (edit(lambda m: m["folds"].append(5)), r"model\.json: TypeError"),
    "a network twice": (edit(lambda m: m["folds"].append(m["folds"][0])), "networks name the same file"),
    "thresholds in words": (edit(lambda m: m["folds"][0].update(thresholds=["x"] * 24)), r"model\.json"),
    "a threshold of NaN": (edit(lambda m: m["folds"][0]["thresholds"].__setitem__(3, np.nan)), "not a finite number"),
    "a threshold beyond numbers": (edit(lambda m: m["folds"][0]["thresholds"].__setitem__(3, 10**400)), "Over"),
    "few prior labels": (edit(lambda m: m["prior"]["labels"].pop()), r"model\.json: needs .* prior"),
    "a prior beyond 1": (edit(lambda m: m["prior"]["scores"].__setitem__(0, 1.5)), r"not in \[0, 1\]"),
    "no training": (edit(lambda m: m.pop("training")), r"model\.json: .*training"),
    "folds that are no list": (edit(lambda m: m.update(folds={"a": 1})), r"model\.json: .*folds"),
    "deeply nested JSON": (lambda folder: (folder / "model.json").write_text("[" * 100_000), r"model\.json: not JSON"),
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
def test_the_invalid_file_and_the_reason_are_named(folder: Path, what: str) -> None:
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


def test_the_simulation_only_network_is_removed_with_its_model(tmp_path: Path) -> None:
    write_model_with_simulation_network(tmp_path)
    write_model(tmp_path, 1)
    assert not (tmp_path / SIMULATION_NETWORK).exists() and load_model(tmp_path).metadata["simulation_network"] is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda metadata: metadata["simulation_network"].update(file=fold_file(0)), "two networks name the same file"),
        (lambda metadata: metadata["simulation_network"].update(sha256="0"), r"network\.safetensors: damaged"),
        (lambda metadata: metadata["simulation_network"].update(weight=2), "weight 2.0"),
        (lambda metadata: metadata["simulation_network"].pop("target_prevalence"), "KeyError 'target_prevalence'"),
        (lambda metadata: metadata.update(simulation_network=[1]), "TypeError"),
        (lambda metadata: metadata.update(simulation_network=7), "TypeError"),
        (lambda metadata: metadata.pop("simulation_network"), "probabilities of"),
    ],
)  # fmt: skip
def test_an_invalid_simulation_only_network_is_named(
    tmp_path: Path, change: Callable[[dict], object], error: str
) -> None:
    write_model_with_simulation_network(tmp_path)
    edit(change)(tmp_path)
    if error == "probabilities of":  # a model without one, whose file is not read
        assert load_model(tmp_path).rule.thresholds.shape == (1, 24)
        return
    with pytest.raises(ModelError, match=error):
        load_model(tmp_path)


FORMER_KEYS = {
    **{"ema_decay": "average", "proxy_labels": "stand_ins", "hidden_demographics": "anonymous"},
    **{"prevalence_shift": "general", "simulation_network": "textbook", "weight": "share"},
    **{"acquisition_profiles": "acquisitions", "target_prevalence": "learned", "label_prevalence": "labelled"},
    **{"rollbacks": "setbacks", "fixed_threshold": "half", "common_threshold": "common"},
    **{"class_thresholds": "full", "expected_reward": "reward", "mfu": "share_of_matrix_rate"},
}


def former(value: object) -> object:
    """Return metadata with the keys of format version 2."""
    if isinstance(value, dict):
        return {FORMER_KEYS.get(key, key): former(item) for key, item in value.items()}
    return [former(item) for item in value] if isinstance(value, list) else value


def write_version_2(folder: Path) -> dict:
    """Write a model with a simulation-only network as format version 2 had it; return the metadata of version 3."""
    write_model_with_simulation_network(folder)
    scores = ("fixed_threshold", "common_threshold", "class_thresholds", "expected_reward")
    metadata = json.loads((folder / "model.json").read_text())
    profile = {"sampling_frequency": 500.0, "step": [1.0, 1.0], "seconds": [5.0, 10.0], "recordings": 9}
    metadata["acquisition_profiles"] = [profile]
    metadata["training"]["recordings_per_source"] = {"half": 3, "general": 1}  # sources, not keys
    metadata["folds"][0] |= {"rollbacks": 1, "validation_scores": dict.fromkeys(scores, 0.5), "epochs": [{"mfu": 0.5}]}
    save = metadata | {"simulation_network": metadata["simulation_network"] | {"file": "textbook.safetensors"}}
    (folder / SIMULATION_NETWORK).rename(folder / "textbook.safetensors")
    (folder / "model.json").write_text(json.dumps(former(save) | {"version": 2}))
    return save


def test_a_folder_of_format_version_2_predicts_the_same(tmp_path: Path) -> None:
    write_model_with_simulation_network(tmp_path / "new")
    metadata = write_version_2(tmp_path / "old")
    text = (tmp_path / "old" / "model.json").read_text()
    assert '"textbook"' in text and '"share"' in text and "simulation_network" not in text and "prevalence" not in text
    old, new = load_model(tmp_path / "old"), load_model(tmp_path / "new")
    assert old.metadata == metadata and old.metadata["version"] == 3
    assert old.recipe == new.recipe and old.profiles[0].sampling_frequency == 500
    signals, features = examples([256, 300, 100])
    np.testing.assert_array_equal(old.probabilities(signals, features), new.probabilities(signals, features))
    acquired = np.full((3, 3), 300, np.float32)  # out of distribution for both
    for acquisitions in (None, acquired):
        before, after = (model.predict(signals, features, acquisitions) for model in (old, new))
        np.testing.assert_array_equal(before.scores, after.scores)
        np.testing.assert_array_equal(before.labels, after.labels)


def test_a_new_model_replaces_one_of_format_version_2(tmp_path: Path) -> None:
    write_version_2(tmp_path)
    (tmp_path / "textbook.safetensors.new").write_bytes(b"of an interrupted save")
    write_model(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold0.safetensors", "model.json"]


def test_no_key_of_format_version_2_is_a_key_of_version_3() -> None:
    assert not folder_module.RENAMED_KEYS.keys() & set(folder_module.RENAMED_KEYS.values())
    assert {new: old for old, new in folder_module.RENAMED_KEYS.items()} == FORMER_KEYS
