"""The fuzzer's targets hold for their seeds and a few random changes, and notice a broken promise; the mutants of a
module are those that one expects. `python -m tests.fuzz.run` and `python -m tests.mutation` do as many as one likes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.run import plain
from tests.mutation import mutants


@pytest.mark.parametrize("name, executions", [("header", 500), ("signal", 500), ("record", 100), ("model", 10)])
def test_readers_keep_their_promises(name: str, executions: int, tmp_path: Path) -> None:
    seeds = targets.SEEDS[name]()
    for raw in seeds:
        targets.TARGETS[name](raw)
    plain(targets.TARGETS[name], seeds, executions, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_fails_is_kept_and_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(targets, "parse_header", lambda raw: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plain(targets.header, [b"A"], 3, 1, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["failed-0"]


def test_mutants_change_one_place_each() -> None:
    source = "def f(a: int = 1) -> bool:\n    if a < 2 and not a:\n        g(a)\n    return a + 1.5 == True\n"
    found = mutants(source)
    told = [text for text, _ in found]
    assert {"line 2, column 7: a < 2 -> a <= 2", "line 3, column 8: g(a) -> pass"} <= set(told)
    assert {"line 2, column 17: not a -> a", "line 1, column 15: 1 -> 2"} <= set(told)
    assert "line 4, column 11: a + 1.5 -> a - 1.5" in told
    assert len({ast.unparse(tree) for _, tree in found} - {ast.unparse(ast.parse(source))}) == len(found)
