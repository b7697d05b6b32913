"""What a training keeps of its recordings: the same notes are the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leadwise.model.validation_results import ARRAYS, FILE, NAMES, Validation, load_validation


def notes() -> Validation:
    rows = {"labels": np.eye(2, 24, dtype=bool), "probabilities": np.full((2, 24), 0.25, np.float32)}
    rows |= {name: np.zeros(2, np.int8) for name in ("folds", "sexes")}
    rows |= {name: np.ones(2, np.float32) for name in ("seconds", "frequencies", "ages")}
    return Validation(names=("A1", "A2"), sources=("A", "A"), **rows)


def test_saved_twice_it_is_the_same_bytes(tmp_path: Path) -> None:
    """Safetensors shuffles what it is given as several texts."""
    contents = set()
    for _ in range(20):
        notes().save(tmp_path)
        contents.add((tmp_path / FILE).read_bytes())
    assert len(contents) == 1


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    notes().save(tmp_path)
    read = load_validation(tmp_path)
    for name in NAMES:
        assert getattr(read, name) == getattr(notes(), name)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(read, name), getattr(notes(), name))
