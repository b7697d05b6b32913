"""Find the recordings in a folder and its subfolders."""

from __future__ import annotations

import os
from operator import itemgetter
from pathlib import Path


def find_recordings(folder: str | Path, suffix: str = ".hea") -> list[Path]:
    """Return the files with this suffix (in any case) in a folder and its subfolders, sorted, without hidden ones.
    Raises ValueError if `folder` is not a folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = (name for name in folders if not name.startswith("."))
        parts = Path(parent).parts  # sorting by parts gives the order of paths, which would split each path again
        chosen = [name for name in files if name.lower().endswith(suffix) and not name.startswith(".")]
        found += [((*parts, name), Path(parent, name)) for name in chosen]
    return [path for _, path in sorted(found, key=itemgetter(0))]


def find_records(folder: Path) -> list[Path]:
    """Return the recordings in a folder and its subfolders as sorted paths without suffix: each .mat or .hea is one.
    Raises ValueError if the folder does not exist or has no recordings, or if two would have the same output file."""
    records = sorted({path.with_suffix("") for suffix in (".mat", ".hea") for path in find_recordings(folder, suffix)})
    if not records:
        raise ValueError(f"{folder} has no recordings: no file in it ends in .mat or .hea")
    seen: dict[str, Path] = {}
    for record in records:
        if seen.setdefault(record.name, record) != record:
            raise ValueError(f"two recordings are named {record.name}: {seen[record.name]} and {record}")
    return records
