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


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name only when the block ends well: temporary name, flush, rename.

    `durable` waits until it is on the disk, some milliseconds: for what took long to make.
    """
    path = Path(path)
    handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    try:
        with handle:
            yield handle
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
            os.fchmod(handle.fileno(), 0o666 & ~_umask())
        Path(handle.name).replace(path)
    except BaseException:
        Path(handle.name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Writes UTF-8 text as a whole file."""
    with whole_file(path, durable) as handle:
        handle.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes JSON that a person can read, as a whole file."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def as_json(value: Any) -> Any:
    """The value as it comes back from JSON: tuples as lists, keys as text."""
    return json.loads(json.dumps(value))


def sha256(path: Path) -> str:
    """The checksum of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
