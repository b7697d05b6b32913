"""Train whole small models, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import team_code
from leadwise.challenge.classes import CODES
from leadwise.options import TrainingOptions
from leadwise.recipes import RECIPES
from leadwise.training.fold import FoldResult
from tests.data.recordings import write
from tests.soak import kill
from tests.training.folds import TINY, train


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> FoldResult:
    return train(tmp_path_factory.mktemp("fold") / "fold0")


@pytest.fixture
def tiny_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Train recipe `tiny` with training_code; return the contents of the model folder, without times."""
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    data = tmp_path / "data"
    for index in range(16):
        write(data, f"A{index:04d}", CODES[index % 3], 300, index)

    def run(model: Path, **options: Any) -> dict[str, Any]:
        requested = TrainingOptions(recipe="tiny", jobs=1, threads=1, pages=False, **options)
        team_code.training_code(str(data), str(model), requested)
        return kill.contents(model)

    return run
