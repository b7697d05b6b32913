"""What is unfinished, on the disk: tensors and facts in two generations, each with its checksum.

A power cut, a dying disk or a full one may damage the newest file; then the one before it is taken, and training
repeats what lies between. This file knows no networks.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from leadwise.util.files import atomic_write, json_round_trip, read_json, write_json
from leadwise.util.progress import log

State = dict[str, Tensor]
MAGIC = b"leadwise checkpoint 1 "  # followed by the SHA-256 of the rest in hexadecimal, a line end, and the rest
HEAD = len(MAGIC) + 64 + 1


class DamagedError(Exception):
    """This checkpoint is not what was written; says how that shows."""


def checkpoint_name(fold: int | str, run: dict[str, Any]) -> str:
    """The file name of a fold's checkpoint, another one for each run (JSON): each recipe, data folder and version."""
    return f"fold{fold}.{hashlib.sha256(json.dumps(run).encode()).hexdigest()[:12]}"


def begin_or_resume(folder: Path, run: dict[str, Any], fresh: bool) -> None:
    """Makes the folder of what is unfinished; what another run left there is removed, with the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "run.json"
    # the file names carry the run's digest: whatever has another one is of another run
    if fresh or set(folder.glob("fold*")) - set(folder.glob(checkpoint_name("*", run) + "*")):
        log.info("starting anew: %s", "asked to" if fresh else _difference(note, run))
        for path in folder.glob("fold*"):
            path.unlink()
    write_json(note, run)


def _difference(note: Path, run: dict[str, Any]) -> str:
    """How this run differs from the one that the note in its folder tells of."""
    try:
        stored = read_json(note)
        changed = [key for key in run if stored.get(key) != json_round_trip(run)[key]]
    except (OSError, ValueError, AttributeError):
        changed = []
    return f"the {' and the '.join(changed)} changed" if changed else f"{note} does not say what was begun"


def generation_before(path: Path) -> Path:
    """Where the checkpoint lies that was the newest before the newest."""
    return path.with_name(path.name + ".before")


def save_checkpoint(path: Path, tensors: State, metadata: dict[str, Any]) -> None:
    """Writes tensors and facts (JSON) as the newest generation; the newest until now becomes the one before."""
    # safetensors instead of pickle: to read a file must never run what it says
    content = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, _as_text(metadata))
    with atomic_write(path, before=generation_before(path)) as handle:  # at each moment one of the two is whole
        handle.write(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n")
        handle.write(content)


def load_checkpoint(path: Path) -> tuple[State, dict[str, Any]] | None:
    """The newest generation that is whole, or None where there is none; a damaged one is named and removed."""
    for generation in (path, generation_before(path)):
        try:
            return read_checkpoint(generation)
        except FileNotFoundError:
            continue
        except DamagedError as error:
            log.warning("%s: %s; the checkpoint before it is taken, if there is one", generation, error)
            generation.unlink()  # else the next save would put it in the place of the one that is whole
    return None


def read_checkpoint(path: Path) -> tuple[State, dict[str, Any]]:
    """What `save_checkpoint` wrote. Raises DamagedError where the file is anything else, OSError where it cannot be
    read."""
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise DamagedError("damaged, it does not begin as a checkpoint")
    # the checksum comes before any parsing: what follows is known to be what was written
    if content[len(MAGIC) : HEAD] != hashlib.sha256(content[HEAD:]).hexdigest().encode() + b"\n":
        raise DamagedError("damaged, its checksum is not that of its content")
    try:
        tensors = load(content[HEAD:])
        metadata = _metadata(content[HEAD:])
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"damaged, {error}") from None
    return tensors, metadata


def _as_text(metadata: dict[str, Any]) -> dict[str, str]:
    """The facts as safetensors stores them, which is as text."""
    return {name: json.dumps(value) for name, value in metadata.items()}


def _metadata(content: bytes) -> dict[str, Any]:
    """The facts in a safetensors file: eight bytes with the header's length, then the header, JSON."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {name: json.loads(text) for name, text in header.get("__metadata__", {}).items()}
