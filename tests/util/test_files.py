"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from leadwise.util.files import atomic_write, json_round_trip, read_json, sha256, write_json, write_text


def test_what_was_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "voilà\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "voilà\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert sha256(tmp_path / "a.txt") == hashlib.sha256("voilà\n".encode()).hexdigest()


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="half"), atomic_write(path) as handle:
        handle.write(b"half")
        raise RuntimeError("half")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_json_of_a_person(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"n": (1, 2), "name": "Zhao"})
    assert (tmp_path / "a.json").read_text().startswith('{\n "n"')
    assert (
        read_json(tmp_path / "a.json")
        == {"n": [1, 2], "name": "Zhao"}
        == json_round_trip({"n": (1, 2), "name": "Zhao"})
    )
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "")
    (tmp_path / "b.txt").write_text("")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
