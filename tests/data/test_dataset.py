"""A stored data set is loaded as it was prepared, and damage to its files is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leadwise.data.dataset import ARRAYS, METADATA, SAMPLES, Dataset, is_intact, load_dataset
from leadwise.data.prepare import prepare_dataset
from tests.data.recordings import SIGNAL, in_memory, is_reused, write


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-48], lambda raw: raw + b"0", lambda raw: b"", lambda raw: raw[48:] + raw[:48]]
)
def test_damaged_signals_are_noticed_and_prepared_again(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    expected = prepare_dataset(folder, tmp_path, SIGNAL).samples.copy()
    path = tmp_path / "prepared" / "samples.f32"
    path.write_bytes(damage(path.read_bytes()))
    assert not is_reused(folder, tmp_path, SIGNAL, caplog)
    assert "samples.f32 in" in caplog.text and "damaged" in caplog.text
    np.testing.assert_array_equal(prepare_dataset(folder, tmp_path, SIGNAL).samples, expected)


@pytest.mark.parametrize("name", [SAMPLES, ARRAYS, METADATA])
def test_the_damaged_file_is_named(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    prepare_dataset(folder, tmp_path, SIGNAL)
    stored = tmp_path / "prepared"
    assert is_intact(stored) and not caplog.records
    content = bytearray((stored / name).read_bytes())
    content[len(content) // 2] ^= 1
    (stored / name).write_bytes(content)
    assert not is_intact(stored)
    assert len(caplog.messages) == 1 and name in caplog.text and "damaged" in caplog.text


def test_a_data_set_of_other_files_is_not_the_same(folder: Path, tmp_path: Path) -> None:
    dataset = prepare_dataset(folder, tmp_path, SIGNAL)
    assert is_intact(tmp_path / "prepared", dataset.fingerprint)
    assert not is_intact(tmp_path / "prepared", "another fingerprint")
    assert not is_intact(tmp_path / "nowhere")


def test_what_is_loaded_is_what_was_prepared(folder: Path, tmp_path: Path) -> None:
    prepared = prepare_dataset(folder, tmp_path, SIGNAL)
    loaded = load_dataset(tmp_path / "prepared")
    for name in (*Dataset.ROWS, "samples"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(prepared, name))
    for name in (*Dataset.TEXTS, "repairs", "left_out", "fingerprint"):
        assert getattr(loaded, name) == getattr(prepared, name)


def test_a_subset_has_the_chosen_recordings_and_the_same_signals() -> None:
    dataset = in_memory(np.eye(4, 24, dtype=bool), ["A", "E", "A", "Q"])
    part = dataset.subset(np.array([True, False, False, True]))
    assert (part.names, part.sources, part.groups) == (("A0", "Q3"), ("A", "Q"), ("A0", "Q3"))
    np.testing.assert_array_equal(part.labels, np.eye(4, 24, dtype=bool)[[0, 3]])
    assert len(part) == 2 and part.samples is dataset.samples


def test_proxy_labels_are_targets_where_they_are_wanted(tmp_path: Path) -> None:
    write(tmp_path / "data", "A0001", "426783006,164884008")  # sinus rhythm, and an unscored code for PVC
    dataset = prepare_dataset(tmp_path / "data", tmp_path / "work", SIGNAL)
    assert dataset.targets(proxy_labels=False).sum() == 1 and dataset.targets(proxy_labels=True).sum() == 2
