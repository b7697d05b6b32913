"""Whole files or none: everything that the project writes goes through here. Knows nothing of what it writes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

HALF = ".half-written-"  # in a temporary name


@contextmanager
def atomic_write(path: Path, durable: bool = True, before: Path | None = None) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name only when the block ends well: temporary name, flush, rename.

    `durable` waits until it is on the disk, some milliseconds: for what took long to make. What had the name until then
    moves to the name `before`, where one is given. Raises OSError that names `path`.
    """
    path = Path(path)
    with name_in_errors(path):
        # in the same folder, since a file can be renamed within one disk alone; hidden: nobody takes it for whole
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}{HALF}", delete=False)  # noqa: SIM115
        try:
            with handle:
                yield handle
                handle.flush()
                if durable:
                    os.fsync(handle.fileno())
                os.fchmod(handle.fileno(), 0o666 & ~_umask())  # temporary files are for their owner alone
            if before is not None and path.exists():
                path.replace(before)
            Path(handle.name).replace(path)
        except BaseException:  # also an interrupt: half a file is worth nothing
            Path(handle.name).unlink(missing_ok=True)
            raise
        if durable:
            flush_folder(path.parent)


def remove_partial_files(*folders: Path) -> None:
    """Removes what `whole_file` had under temporary names in these folders (not below) when the process was killed."""
    for folder in folders:
        for path in folder.glob(f".*{HALF}*"):
            path.unlink()


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """What the system refuses in the block is told with the name of `path`: of a full disk it names no file, of a
    temporary file a name that nobody knows."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not (error.filename is None or f".{path.name}{HALF}" in str(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def flush_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, so that a power cut does not undo a renaming."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Writes UTF-8 text as a whole file."""
    with atomic_write(path, durable) as handle:
        handle.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes JSON that a person can read, as a whole file."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def json_round_trip(value: Any) -> Any:
    """The value as it comes back from JSON: tuples as lists, keys as text."""
    return json.loads(json.dumps(value))


def sha256(path: Path) -> str:
    """The checksum of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)  # it can only be read by setting it
    os.umask(mask)
    return mask
