"""Write files atomically, read and write JSON, and compute checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from leadwise.util.text import readable

# What a write to an open file may raise, without the file's name.
WRITE_ERRORS = {errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}
PARTIAL = ".partial-"  # in the temporary name of a file that is being written


@contextmanager
def atomic_write(path: Path, durable: bool = True, before: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under its name only if the block succeeds: temporary name, flush, rename.

    `durable` waits some milliseconds until it is on the disk: for results that took long to compute. An earlier file of
    that name is renamed to `before`, if passed. Raises OSError that names `path`.
    """
    path = Path(path)
    prefix = f".{path.name}{PARTIAL}"  # hidden, so that nobody reads it
    try:
        # in the same folder, since a file can only be renamed within one disk
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False)  # noqa: SIM115
        try:
            with handle:
                yield handle
                handle.flush()
                if durable:
                    os.fsync(handle.fileno())
                umask = os.umask(0)  # it can only be read by setting it
                os.umask(umask)
                os.fchmod(handle.fileno(), 0o666 & ~umask)  # temporary files are readable by their owner alone
            if before is not None and path.exists():
                path.replace(before)
            Path(handle.name).replace(path)
        except BaseException:  # also an interrupt: a partial file is useless
            Path(handle.name).unlink(missing_ok=True)
            raise
        if durable:
            flush_folder(path.parent)
    except OSError as error:  # it names the temporary file, or none if the disk is full
        unnamed = error.filename is None and error.errno in WRITE_ERRORS
        if not (unnamed or prefix in str(error.filename)):  # of something else in the block
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_partial_files(*folders: Path, names: Collection[str] | None = None) -> None:
    """Remove the partial files that a killed process left in these folders (not below): of all files, or of `names`."""
    for folder in folders:
        for path in folder.glob(f".*{PARTIAL}*"):
            if names is None or path.name[1:].rpartition(PARTIAL)[0] in names:
                path.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, so that a power cut does not undo a renaming."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write UTF-8 text atomically; see `readable` for file names in it."""
    with atomic_write(path, durable) as handle:
        handle.write(readable(text).encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON from a UTF-8 file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def json_round_trip(value: Any) -> Any:
    """Return the value as it comes back from JSON: tuples as lists, keys as text."""
    return json.loads(json.dumps(value))


def sha256(path: Path) -> str:
    """Return the checksum of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
