"""Recordings are found in subfolders and behind links, once, sorted; files that are not read are counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.ecg.discovery import describe_unread, find_headers, find_recordings, find_records


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
    (tmp_path / "a.xml").touch()
    with pytest.raises(
        ValueError, match=r"ends in \.hea or \.mat \(not read: 1 file \.txt .*1 file \.xml \(a\.xml\)\)$"
    ):
        find_records(tmp_path)
    with pytest.raises(ValueError, match=r"ends in \.hea \(not read: .*a\.xml"):
        find_headers(tmp_path)


def test_headers_are_in_the_order_of_the_records(tmp_path: Path) -> None:
    for name in ("A.hea", "A-1.HEA", "A10.hea", "b/A2.hea", "A2.hea.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    headers = find_headers(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in headers] == ["A.hea", "A-1.HEA", "A10.hea", "b/A2.hea"]
    assert [path.with_suffix("") for path in headers] == find_records(tmp_path)
    (tmp_path / "b" / "A.hea").touch()
    for find in (find_headers, find_records):
        with pytest.raises(ValueError, match="two recordings are named A: "):
            find(tmp_path)


# Links ----------------------------------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_recordings(folder)]


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    for name in ("data/A.hea", "site1/deep/B.hea", "site2/C.hea", ".hidden/D.hea"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data" / "one").symlink_to("../site1")
    (tmp_path / "site1" / "deep" / "more").symlink_to(tmp_path / "site2")
    (tmp_path / "data" / ".not").symlink_to("../.hidden")
    assert names(tmp_path / "data") == ["A.hea", "one/deep/B.hea", "one/deep/more/C.hea"]


def test_each_folder_is_visited_once_and_at_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "A.hea").touch()
    for name, target in (("a", "z"), ("b", "z"), ("z/up", ".."), ("z/self", "."), ("nothing", "nowhere")):
        (tmp_path / name).symlink_to(target)
    assert names(tmp_path) == ["z/A.hea"]
    (tmp_path / "link").symlink_to(tmp_path / "z")
    assert names(tmp_path / "link") == ["A.hea"]  # the folder itself may be a link; the one above it is found by "up"


@settings(max_examples=40)
@given(st.lists(st.integers(0, 9), max_size=6), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6))
def test_what_can_be_reached_is_found_once(
    tmp_path_factory: pytest.TempPathFactory, parents: list[int], links: list[tuple[int, int]]
) -> None:
    """Compare with a plain search of real folders."""
    folders = [tmp_path_factory.mktemp("tree").resolve()]
    for number, parent in enumerate(parents):
        folders.append(folders[parent % len(folders)] / f"f{number}")
        folders[-1].mkdir()
    for number, folder in enumerate(folders):
        (folder / f"{number}.hea").touch()
    for number, (place, target) in enumerate(links):
        (folders[place % len(folders)] / f"l{number}").symlink_to(folders[target % len(folders)])
    start = folders[links[0][0] % len(folders)] if links else folders[0]
    reached, pending = {start}, [start]
    while pending:
        for child in pending.pop().iterdir():
            if child.is_dir() and child.resolve() not in reached:
                reached.add(child.resolve())
                pending.append(child)
    found = [path.resolve() for path in find_recordings(start)]
    assert sorted(found) == sorted(path for folder in reached for path in folder.glob("*.hea"))


# What is not read -----------------------------------------------------------------------------------------------


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


def test_files_that_are_not_read_are_counted_by_ending_with_an_example(tmp_path: Path) -> None:
    touch(tmp_path, "A1.hea", "A1.mat", "c.xml", "g/b.XML", "g/a.xml", "scan.pdf", "notes", ".hidden.edf", ".g/x.edf")
    assert describe_unread(tmp_path) == (
        "not read: 3 files .xml (c.xml, ...), 1 file without ending (notes), 1 file .pdf (scan.pdf)"
    )
    touch(tmp_path, *(f"x.e{number}" for number in range(9)))
    assert describe_unread(tmp_path).endswith("1 file .e5 (x.e5), 4 files with other endings (scan.pdf, ...)")


def test_files_of_recordings_and_of_databases_are_not_counted(tmp_path: Path) -> None:
    touch(tmp_path, "A1.hea", "A1.dat", "A1.atr", "a.b.hea", "a.b.mat", "a.b.qrs.txt", "B1.MAT", "B1.xml")
    touch(tmp_path, "RECORDS", "RECORDS-500", "SHA256SUMS.txt", "LICENSE.txt", "README.md", "annotators")
    assert describe_unread(tmp_path) == ""
    touch(tmp_path, "g/A1.xml")  # of another folder
    assert describe_unread(tmp_path) == "not read: 1 file .xml (g/A1.xml)"


def test_signal_files_with_another_name_belong_to_the_header_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "A1.hea").write_text("A1 3 500 10\n# x.dat\nold.dat 16\n./sub/Old2.DAT 16\n\nold3 16\n#Dx: y.dat\n")
    touch(tmp_path, "old.dat", "old2.dat", "old3.mat2", "x.dat", "y.dat")
    assert describe_unread(tmp_path) == "not read: 2 files .dat (x.dat, ...)"
    touch(tmp_path, "A1.dat")  # now the header has a signal of its own name, and is not opened
    assert describe_unread(tmp_path) == "not read: 4 files .dat (old.dat, ...), 1 file .mat2 (old3.mat2)"


def test_signals_without_a_header_are_not_read_for_training(tmp_path: Path) -> None:
    touch(tmp_path, "A1.hea", "A1.mat", "B1.mat")
    assert describe_unread(tmp_path) == ""
    assert describe_unread(tmp_path, (".hea",)) == "not read: 1 file .mat (B1.mat)"


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "A1.hea", "closed/A2.hea")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert describe_unread(tmp_path) == "not read: 1 folder that cannot be opened (closed)"


def test_odd_names_do_not_break_the_line(tmp_path: Path) -> None:
    touch(tmp_path, "a\nb.x\ny", os.fsdecode(b"caf\xe9.xml"))
    assert describe_unread(tmp_path) == "not read: 1 file .x?y (a?b.x?y), 1 file .xml (caf?.xml)"
