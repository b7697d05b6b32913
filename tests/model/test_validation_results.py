"""Validation results are read as they were saved, and equal results are equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from leadwise.model.validation_results import ARRAYS, FILE, NAMES, Validation, load_validation


def results() -> Validation:
    rows = {"labels": np.eye(2, 24, dtype=bool), "probabilities": np.full((2, 24), 0.25, np.float32)}
    rows["lead_set_probabilities"] = np.full((2, 2, 24), 0.125, np.float32)
    rows |= {name: np.zeros(2, np.int8) for name in ("folds", "sexes")}
    rows |= {name: np.ones(2, np.float32) for name in ("seconds", "frequencies", "steps", "ages")}
    return Validation(names=("A1", "A2"), sources=("A", "A"), **rows)


def test_equal_results_are_equal_bytes(tmp_path: Path) -> None:
    """Safetensors would write several metadata entries in random order."""
    contents = set()
    for _ in range(20):
        results().save(tmp_path)
        contents.add((tmp_path / FILE).read_bytes())
    assert len(contents) == 1


def test_results_are_read_as_they_were_saved(tmp_path: Path) -> None:
    results().save(tmp_path)
    read = load_validation(tmp_path)
    for name in NAMES:
        assert getattr(read, name) == getattr(results(), name)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(read, name), getattr(results(), name))


def test_an_older_file_is_read_and_what_it_lacks_is_unknown(tmp_path: Path) -> None:
    results().save(tmp_path)
    with safe_open(tmp_path / FILE, "np") as file:
        metadata = file.metadata()
    arrays = load_file(tmp_path / FILE)
    del arrays["steps"], arrays["lead_set_probabilities"]
    save_file(arrays, tmp_path / FILE, metadata)
    read = load_validation(tmp_path)
    assert np.isnan(read.steps).all() and len(read.steps) == 2
    assert np.isnan(read.lead_set_probabilities).all() and read.lead_set_probabilities.shape == (2, 2, 24)
    assert read.names == results().names and (read.seconds == results().seconds).all()


@pytest.mark.parametrize("damage", [lambda raw: raw[:50], lambda raw: b"", lambda raw: raw.replace(b"names", b"games")])
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    results().save(tmp_path)
    (tmp_path / FILE).write_bytes(damage((tmp_path / FILE).read_bytes()))
    with pytest.raises(ValueError, match=rf"{FILE}: damaged"):
        load_validation(tmp_path)


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    replace(results(), ages=np.ones(3, np.float32)).save(tmp_path)
    with pytest.raises(ValueError, match="not of the same recordings"):
        load_validation(tmp_path)


def test_recorded_probabilities_make_a_recording_validated() -> None:
    validation = replace(results(), folds=np.full(2, -1, np.int8))
    assert len(validation.validated) == 0
    of_sets = np.stack([np.full((1, 24), 0.1), np.full((1, 24), 0.2)], axis=1).astype(np.float32)
    validation.record(3, np.array([False, True]), np.full((1, 24), 0.5, np.float32), of_sets)
    assert validation.validated.lead_set_probabilities[0, :, 0].tolist() == of_sets[0, :, 0].tolist()
    assert validation.validated.names == ("A2",) and validation.folds.tolist() == [-1, 3]
    assert validation.part(np.array([1, 0])).names == ("A2", "A1")
