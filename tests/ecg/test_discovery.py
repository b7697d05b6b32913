"""Recordings are found in subfolders, in any case, sorted, and without hidden files."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadwise.ecg.discovery import find_recordings, find_records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("B.hea", "a/A2.HEA", "a/A10.hea", "a-b/C.hea", "A2.mat", "D.MAT", "._B.hea", ".hidden/E.hea", "notes.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_files_are_found_in_subfolders_in_any_case_and_sorted_as_paths(folder: Path) -> None:
    found = find_recordings(folder)
    assert [str(path.relative_to(folder)) for path in found] == ["B.hea", "a/A10.hea", "a/A2.HEA", "a-b/C.hea"]
    assert found == sorted(found)
    assert find_recordings(str(folder), ".mat") == [folder / "A2.mat", folder / "D.MAT"]


def test_a_path_that_is_not_a_folder_is_refused(folder: Path) -> None:
    for path in (folder / "nowhere", folder / "notes.txt"):
        with pytest.raises(ValueError, match="is not a folder"):
            find_recordings(path)


def test_each_header_or_signal_is_one_record(folder: Path) -> None:
    (folder / "a" / "A2.HEA").unlink()
    (folder / "B.mat").touch()
    names = ["A2", "B", "D", "a/A10", "a-b/C"]
    assert find_records(folder) == sorted(folder / name for name in names)


def test_two_records_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"two recordings are named A2: .*A2 and .*A2"):
        find_records(folder)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert find_recordings(tmp_path) == []
    with pytest.raises(ValueError, match="has no recordings"):
        find_records(tmp_path)
