"""A data folder becomes prepared arrays, labels and folds. Knows no tensors and no networks.

Every recording with a scored diagnosis is read and resampled once, in parallel, into one long memory-mapped array of
shape (samples of all recordings, 12), float32: a window is then a run of rows, whatever recording it comes from.
"""

from __future__ import annotations

import os
from operator import itemgetter
from pathlib import Path


def find_recordings(folder: str | Path, suffix: str = ".hea") -> list[Path]:
    """The files of a folder and its subfolders that end so (in any case), sorted; hidden ones are passed over.

    Raises ValueError where the folder is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = (name for name in folders if not name.startswith("."))
        place = Path(parent).parts  # files stand as their paths compare, which takes their parts each time
        chosen = [name for name in files if name.lower().endswith(suffix) and not name.startswith(".")]
        found += [((*place, name), Path(parent, name)) for name in chosen]
    return [path for _, path in sorted(found, key=itemgetter(0))]


def find_records(folder: Path) -> list[Path]:
    """The recordings of a folder and its subfolders, as paths without suffix, sorted: each .mat and each .hea is one.

    Raises ValueError where the folder is none or has no recordings, or where two would give the same output.
    """
    records = sorted({path.with_suffix("") for suffix in (".mat", ".hea") for path in find_recordings(folder, suffix)})
    if not records:
        raise ValueError(f"{folder} has no recordings: no file in it ends in .mat or .hea")
    seen: dict[str, Path] = {}
    for record in records:
        if record.name in seen:
            raise ValueError(f"two recordings are named {record.name}: {seen[record.name]} and {record}")
        seen[record.name] = record
    return records
