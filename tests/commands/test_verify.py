"""`leadwise verify` accepts a complete model, and names the file of a damaged one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from leadwise import cli
from tests.model.models import edit

WEIGHTS = "fold1.safetensors"
RESULTS = "validation.safetensors"


def test_the_included_model_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "pretrained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "model.json", "fold0.safetensors", "simulation_network.safetensors", RESULTS, "prediction",
    ]  # fmt: skip
    assert "24 finite probabilities" in lines[-1]


def test_a_trained_model_is_complete(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(trained)]) == 0
    printed = capsys.readouterr().out
    for name in ("fold0.safetensors", WEIGHTS):
        assert f"{name}: SHA-256 {hashlib.sha256((trained / name).read_bytes()).hexdigest()}" in printed
    assert f"{RESULTS}: 24 recordings" in printed


def change_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """Return a function that changes the second network of a folder, with the right checksum."""

    def spoil(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        save_file(state, folder / WEIGHTS)
        checksum = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        edit(lambda metadata: metadata["folds"][1].update(sha256=checksum))(folder)

    return spoil


def flip_a_bit(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)

    return spoil


def set_recordings(metadata: dict[str, Any]) -> None:
    metadata["folds"][0]["validation_counts"]["tp"][0] += 1


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json: No such file"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json: not JSON"),
        (edit(lambda metadata: metadata.update(version=99)), "model.json: format version 99"),
        (edit(lambda metadata: metadata.pop("prior")), "model.json: KeyError 'prior'"),
        (edit(lambda metadata: metadata["folds"][0].update(thresholds=[0.5])), "model.json: ValueError"),
        (edit(set_recordings), RESULTS),
        (edit(lambda metadata: metadata["folds"][0].pop("validation_counts")), "model.json: KeyError"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS}: No such file"),
        (flip_a_bit(WEIGHTS), f"{WEIGHTS}: damaged, its checksum is not the one in model.json"),
        (change_weights(lambda state: state.popitem()), f"{WEIGHTS}: "),
        (change_weights(lambda state: state.update({"extra": torch.zeros(2)})), f"{WEIGHTS}: "),
        (change_weights(lambda state: state["classifier.bias"].resize_(3)), f"{WEIGHTS}: size mismatch"),
        (change_weights(lambda state: state["classifier.bias"].fill_(torch.nan)), f"{WEIGHTS}: classifier.bias has"),
        (lambda folder: (folder / RESULTS).write_bytes(b"no results"), f"{RESULTS}: damaged"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    trained: Path, tmp_path: Path, spoil: Callable[[Path], Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(trained, tmp_path / "model")
    spoil(copy)
    assert cli.main(["verify", str(copy)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"leadwise verify: {copy}") and shown.count("\n") == 1
    assert named in shown


def test_a_model_without_validation_results_can_be_used(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(trained, tmp_path / "model")
    (copy / RESULTS).unlink()
    assert cli.main(["verify", str(copy)]) == 0
    assert f"{RESULTS}: not there" in capsys.readouterr().out


def test_the_test_knows_the_files_of_a_model(trained: Path) -> None:
    metadata = json.loads((trained / "model.json").read_text())
    assert metadata["folds"][1]["file"] == WEIGHTS and (trained / RESULTS).exists()
