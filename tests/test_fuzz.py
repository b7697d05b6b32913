"""Fuzz targets pass on their seeds and a few random changes, and report a broken promise; mutants are as expected.

`python -m tests.fuzz.run` and `python -m tests.mutation` run any number of them.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from leadwise.model import ensemble
from leadwise.model.ensemble import load_model
from tests.fuzz import targets
from tests.fuzz.run import plain
from tests.mutation import mutants


@pytest.mark.parametrize("name, executions", [("header", 500), ("signal", 500), ("record", 100), ("model", 10)])
def test_readers_raise_only_their_own_errors(name: str, executions: int, tmp_path: Path) -> None:
    seeds = targets.SEEDS[name]()
    for raw in seeds:
        targets.TARGETS[name](raw)
    plain(targets.TARGETS[name], seeds, executions, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_seeds_of_the_model_target_are_valid_models(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(ensemble, "load_model", lambda folder: loaded.append(load_model(folder)))
    for raw in targets.SEEDS["model"]():
        targets.model(raw)
    assert [len(model.networks) for model in loaded] == [1, 2]


def test_a_failing_input_is_written_to_a_file_and_its_error_raised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(targets, "parse_header", lambda raw: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plain(targets.header, [b"A"], 3, 1, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["failed-0"]


def test_a_mutant_changes_one_place() -> None:
    source = "def f(a: int = 1) -> bool:\n    if a < 2 and not a:\n        g(a)\n    return a + 1.5 == True\n"
    found = mutants(source)
    descriptions = [text for text, _ in found]
    assert {"line 2, column 7: a < 2 -> a <= 2", "line 3, column 8: g(a) -> pass"} <= set(descriptions)
    assert {"line 2, column 17: not a -> a", "line 1, column 15: 1 -> 2"} <= set(descriptions)
    assert "line 4, column 11: a + 1.5 -> a - 1.5" in descriptions
    assert len({ast.unparse(tree) for _, tree in found} - {ast.unparse(ast.parse(source))}) == len(found)
