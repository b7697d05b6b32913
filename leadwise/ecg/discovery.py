"""Find the recordings in a folder and its subfolders, and the files in it that are not read.

Links to folders are followed. Each folder is visited once, so that a link to a folder above is no loop.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

from leadwise.ecg.files.signal_files import WFDB_SUFFIXES, read_bytes
from leadwise.ecg.repairs import RecordingError
from leadwise.util.text import printable

HEADER_SUFFIX: Final = ".hea"
RECORD_SUFFIXES: Final = (".hea", ".mat")  # of the files that are read; in lower case
# Files that accompany a database of recordings, by their names before the first dot or hyphen, in capitals.
COMPANIONS: Final = frozenset({"RECORDS", "ANNOTATORS", "SHA256SUMS", "MD5SUMS", "README", "LICENSE"})
ENDINGS_NAMED: Final = 8  # of files that are not read; the others are counted together
MAX_HEADER_BYTES: Final = 1 << 16  # of a header that is searched for the names of signal files


def find_recordings(folder: str | Path, suffixes: str | tuple[str, ...] = HEADER_SUFFIX) -> list[Path]:
    """Return the files with such a suffix (in any case) in a folder and its subfolders, sorted, without hidden ones.
    Raises ValueError if `folder` is not a folder."""
    found = []
    for parent, files in _walk(folder):
        parts = parent.parts  # sorting by parts gives the order of paths, which would split each path again
        chosen = [name for name in files if name.lower().endswith(suffixes)]
        found += [((*parts, name), Path(parent, name)) for name in chosen]
    return [path for _, path in sorted(found, key=itemgetter(0))]


def record_name(path: str | Path) -> str:
    """Return a recording's file name without the ending of a header or signal file: an output is named so."""
    path = Path(path)
    return path.stem if path.suffix.lower() in WFDB_SUFFIXES or path.is_file() else path.name


def find_records(folder: str | Path) -> list[Path]:
    """Return the recordings in a folder and its subfolders as sorted paths without suffix: each file with one of
    `RECORD_SUFFIXES` is one. Raises ValueError if the folder does not exist or has no recordings, or if two would have
    the same output file."""
    return list(_by_record(folder, RECORD_SUFFIXES))


def find_ecgs(folder: str | Path) -> list[Path]:
    """Return the paths by which the ECGs in a folder and its subfolders are read, sorted: NAME.hea of each record of
    `find_records`, whether it is there or not, and each other file whose content is an ECG in another format. Raises
    ValueError as `find_records` does."""
    from leadwise.ecg.formats.detection import other_format  # here: a folder's headers are found without it

    records = {path.with_suffix("") for path in find_recordings(folder, RECORD_SUFFIXES)}
    found = {record.with_name(f"{record.name}.hea") for record in records}
    for parent, files in _walk(folder):
        found.update(parent / name for name in _unread(parent, files, RECORD_SUFFIXES) if other_format(parent / name))
    if not found:
        raise no_recordings(folder, RECORD_SUFFIXES)
    names: dict[str, Path] = {}
    for path in sorted(found):
        if names.setdefault(path.stem, path) != path:
            raise ValueError(f"two recordings are named {path.stem}: {names[path.stem]} and {path}")
    return list(names.values())


def find_headers(folder: str | Path) -> list[Path]:
    """Return the headers in a folder and its subfolders in the order of `find_records`; raise ValueError likewise."""
    return list(_by_record(folder, (HEADER_SUFFIX,)).values())


def _by_record(folder: str | Path, suffixes: tuple[str, ...]) -> dict[Path, Path]:
    """Return one file of each recording by its path without suffix, sorted."""
    files = {path.with_suffix(""): path for path in find_recordings(folder, suffixes)}
    if not files:
        raise no_recordings(folder, suffixes)
    seen: dict[str, Path] = {}
    for record in (records := sorted(files)):
        if seen.setdefault(record.name, record) != record:
            raise ValueError(f"two recordings are named {record.name}: {seen[record.name]} and {record}")
    return {record: files[record] for record in records}


def no_recordings(folder: str | Path, suffixes: tuple[str, ...] = (HEADER_SUFFIX,)) -> ValueError:
    """Return the error of a folder in which no file has one of the suffixes; it counts the files that are there."""
    unread = describe_unread(folder, suffixes)
    endings = " or ".join(suffixes)
    return ValueError(f"{folder} has no recordings: no file in it ends in {endings}{f' ({unread})' if unread else ''}")


def describe_unread(
    folder: str | Path, suffixes: tuple[str, ...] = RECORD_SUFFIXES, read: Callable[[Path], object] | None = None
) -> str:
    """Count the visible files below a folder that are not read, by ending and with an example, and name subfolders that
    cannot be opened; "" if there are none. Example: "not read: 3 files .xml (a.xml, ...), 1 file .pdf (b.pdf)".

    `suffixes` are those that are read, and `read` tells other files that are. Files with the name of a recording and
    another ending belong to it, and so do the signal files that a header names."""
    unread: dict[str, list[str]] = defaultdict(list)
    closed: list[str] = []
    for parent, files in _walk(folder, lambda error: closed.append(_relative(error.filename, folder))):
        for name in _unread(parent, files, suffixes):
            if read is not None and read(parent / name):
                continue
            unread[printable(Path(name).suffix.lower())].append(_relative(parent / name, folder))
    groups = sorted(unread.items(), key=lambda item: (-len(item[1]), item[0]))
    if more := groups[ENDINGS_NAMED:]:
        groups[ENDINGS_NAMED:] = [("with other endings", [name for _, names in more for name in names])]
    parts = [_count("file", ending or "without ending", names) for ending, names in groups]
    if closed:
        parts.append(_count("folder", "that cannot be opened", closed))
    return f"not read: {', '.join(parts)}" if parts else ""


def _count(what: str, which: str, names: Sequence[str]) -> str:
    several = len(names) > 1
    return f"{len(names)} {what}{'s' * several} {which} ({min(names)}{', ...' * several})"


def _relative(path: str | Path, folder: str | Path) -> str:
    return printable(Path(os.path.relpath(path, folder)).as_posix())


def _unread(parent: Path, files: Sequence[str], suffixes: tuple[str, ...]) -> list[str]:
    """Return the files of one folder that belong to no recording in it."""
    recordings = {name: name.rpartition(".")[0] for name in files if name.lower().endswith(suffixes)}
    stems = set(recordings.values())
    others = (name for name in files if name not in recordings and not _is_companion(name))
    unread = [name for name in others if stems.isdisjoint(_stems(name))]
    if unread and stems:
        # only a header without another file of its name needs one of another name; the others are not opened
        complete = {stem for name in files if not name.lower().endswith(HEADER_SUFFIX) for stem in _stems(name)}
        headers = [name for name, stem in recordings.items() if stem not in complete]
        named = {signal for header in headers for signal in _named_files(parent / header)}
        unread = [name for name in unread if named.isdisjoint({name.lower(), *_stems(name.lower())})]
    return unread


def _stems(name: str) -> Iterator[str]:
    """Yield what stands before each dot of a file name: "a.b.mat" belongs to "a.b" and to "a"."""
    while (place := name.rfind(".")) > 0:
        name = name[:place]
        yield name


def _is_companion(name: str) -> bool:
    return name.upper().partition(".")[0].partition("-")[0] in COMPANIONS


def _named_files(header: Path) -> set[str]:
    """Return the file names in the signal lines of a header, in lower case and without folders."""
    try:
        lines = read_bytes(str(header), MAX_HEADER_BYTES).decode("latin-1").splitlines()
    except RecordingError:  # is reported when the recording is read
        return set()
    words = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return {word.replace("\\", "/").rpartition("/")[2].lower() for word in words[1:]}


def _walk(folder: str | Path, refused: Callable[[OSError], object] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder at and below a folder, with the names of its visible files. Links are followed last, so that a
    folder with a place of its own is found there. `refused` gets the error of each folder that cannot be opened."""
    if not Path(folder).is_dir():
        raise ValueError(f"{folder} is not a folder")
    visited: set[tuple[int, int]] = set()
    pending = deque([Path(folder)])
    while pending:
        for name, folders, files in os.walk(pending.popleft(), onerror=refused):
            parent = Path(name)
            status = parent.stat()
            visible = sorted(child for child in folders if not child.startswith("."))
            links = [child for child in visible if (parent / child).is_symlink()]
            folders[:] = [child for child in visible if child not in links]
            if (status.st_dev, status.st_ino) in visited:
                folders.clear()
                continue
            visited.add((status.st_dev, status.st_ino))
            pending.extend(parent / link for link in links)
            yield parent, [file for file in files if not file.startswith(".")]
