"""Atomic writes leave the complete file or the one before it; JSON and checksums."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from leadwise.util import files
from leadwise.util.files import (
    PARTIAL,
    atomic_write,
    json_round_trip,
    read_json,
    remove_partial_files,
    sha256,
    write_json,
    write_text,
)


def test_a_written_file_is_complete_and_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "voilà\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "voilà\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert sha256(tmp_path / "a.txt") == hashlib.sha256("voilà\n".encode()).hexdigest()


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="half"), atomic_write(path) as handle:
        handle.write(b"half")
        raise RuntimeError("half")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_the_earlier_file_may_be_kept_under_another_name(tmp_path: Path) -> None:
    path, before = tmp_path / "a.txt", tmp_path / "before.txt"
    for text in ("first", "second"):
        with atomic_write(path, before=before) as handle:
            handle.write(text.encode())
    assert (path.read_text(), before.read_text()) == ("second", "first")


@pytest.mark.parametrize("filename", [None, "temporary"])
def test_an_error_of_the_system_names_the_file_and_not_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: str | None
) -> None:
    path = tmp_path / "a.txt"

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device", filename and f"{tmp_path}/.a.txt{PARTIAL}x1")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=re.escape(f"No space left on device: '{path}'")) as caught:
        write_text(path, "text")
    assert caught.value.errno == 28
    assert not list(tmp_path.iterdir())


def test_an_error_about_another_file_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"other\.txt"), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "other.txt").read_text()


def test_only_durable_writes_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Path] = []
    monkeypatch.setattr(files, "flush_folder", waited.append)
    write_text(tmp_path / "a.txt", "", durable=False)
    assert waited == []
    write_text(tmp_path / "a.txt", "")
    assert waited == [tmp_path]


def test_partial_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in (f".a.txt{PARTIAL}x1", "a.txt", ".hidden", f"below/.b.txt{PARTIAL}x2"):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "a.txt", "below"]
    assert len(list((tmp_path / "below").iterdir())) == 1


def test_partial_files_of_others_stay(tmp_path: Path) -> None:
    mine, other = tmp_path / f".a.csv{PARTIAL}x1", tmp_path / f".b.csv{PARTIAL}x2"
    mine.touch()
    other.touch()
    remove_partial_files(tmp_path, names={"a.csv"})
    assert list(tmp_path.iterdir()) == [other]


def test_json_is_indented_and_read_back(tmp_path: Path) -> None:
    value = {"n": (1, 2), "name": "Zhao"}
    write_json(tmp_path / "a.json", value)
    assert (tmp_path / "a.json").read_text().startswith('{\n "n"')
    assert read_json(tmp_path / "a.json") == {"n": [1, 2], "name": "Zhao"} == json_round_trip(value)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "")
    (tmp_path / "b.txt").write_text("")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
