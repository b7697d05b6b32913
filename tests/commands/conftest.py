"""Provide recordings, and a small model that was trained on them."""

from __future__ import annotations

from pathlib import Path

import pytest

import team_code
from leadwise.options import TrainingOptions
from leadwise.recipes import RECIPES
from leadwise.simulate import write_folder
from tests.training.folds import TINY


@pytest.fixture(scope="session")
def ecgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 24 recordings."""
    folder = tmp_path_factory.mktemp("ecgs")
    write_folder(folder, 24, 3, sources=["E"], class_floor=0.03)
    return folder


@pytest.fixture(scope="session")
def trained(ecgs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of recipe `tiny`, trained in this process, without pages."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", TINY)
        team_code.training_code(str(ecgs), str(folder), TrainingOptions(recipe="tiny", jobs=1, threads=1, pages=False))
    return folder
