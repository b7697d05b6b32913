"""Checkpoints: damage is noticed wherever it is, and the previous generation is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leadwise.training.checkpoint import (
    DamagedError,
    checkpoint_name,
    load_checkpoint,
    previous_generation,
    read_checkpoint,
    save_checkpoint,
)
from leadwise.training.fold import FoldResult
from tests.training.folds import assert_same, train

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([], dtype=torch.uint8)}


@given(st.data())
def test_a_flipped_bit_and_a_truncation_are_noticed_anywhere(
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


def test_two_generations_are_kept_and_a_damaged_one_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    save_checkpoint(path, STATE, {"epoch": 9})  # the intact one is not replaced by the damaged one
    assert read_checkpoint(previous_generation(path))[1] == {"epoch": 1}
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


def test_each_fold_and_each_run_has_its_own_checkpoint_name() -> None:
    runs = [{"recipe": {"epochs": 3}}, {"recipe": {"epochs": 4}}]
    names = {checkpoint_name(fold, run) for fold in (0, 1, "-simulated") for run in runs}
    assert len(names) == 6 and all(name.startswith("fold") for name in names)
    assert checkpoint_name(0, runs[0]) == checkpoint_name(0, {"recipe": {"epochs": 3}})
