"""Save and load checkpoints: tensors and metadata with a checksum, in two generations in case one is damaged."""

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
    """The checkpoint is not as it was written; the message says how."""


def checkpoint_name(fold: int | str, run: dict[str, Any]) -> str:
    """Return the file name of a fold's checkpoint, which contains a digest of the run's identity (JSON)."""
    return f"fold{fold}.{hashlib.sha256(json.dumps(run).encode()).hexdigest()[:12]}"


def begin_or_resume(folder: Path, run: dict[str, Any], fresh: bool) -> None:
    """Create the checkpoint folder; remove checkpoints of another run, and log the reason."""
    note = folder / "run.json"
    folder.mkdir(parents=True, exist_ok=True)
    if fresh or set(folder.glob("fold*")) - set(folder.glob(checkpoint_name("*", run) + "*")):
        log.info("starting anew: %s", "as requested" if fresh else _difference(note, run))
        for path in folder.glob("fold*"):
            path.unlink()
    write_json(note, run)


def _difference(note: Path, run: dict[str, Any]) -> str:
    try:
        stored = read_json(note)
        changed = [key for key in run if stored.get(key) != json_round_trip(run)[key]]
    except (OSError, ValueError, AttributeError):
        changed = []
    return f"the {' and the '.join(changed)} changed" if changed else f"{note} does not describe the earlier run"


def previous_generation(path: Path) -> Path:
    """Return the path of the checkpoint before the newest one."""
    return path.with_name(path.name + ".before")


def save_checkpoint(path: Path, tensors: State, metadata: dict[str, Any]) -> None:
    """Write tensors and metadata (JSON) as the newest generation; the newest so far becomes the previous one."""
    # safetensors instead of pickle: reading a file must never run code in it
    texts = {name: json.dumps(value) for name, value in metadata.items()}
    content = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, texts)
    with atomic_write(path, before=previous_generation(path)) as handle:  # one of the two is intact at any moment
        handle.write(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n")
        handle.write(content)


def load_checkpoint(path: Path) -> tuple[State, dict[str, Any]] | None:
    """Return the newest intact generation, or None if there is none; log and remove damaged ones."""
    for generation in (path, previous_generation(path)):
        try:
            return read_checkpoint(generation)
        except FileNotFoundError:
            continue
        except DamagedError as error:
            log.warning("%s: %s; the previous checkpoint is used, if there is one", generation, error)
            generation.unlink()  # otherwise the next save would replace the intact one with it
    return None


def read_checkpoint(path: Path) -> tuple[State, dict[str, Any]]:
    """Read a file of `save_checkpoint`. Raises DamagedError if it is anything else, OSError if it cannot be read."""
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise DamagedError("damaged, it does not begin as a checkpoint")
    head, content = content[len(MAGIC) : HEAD], content[HEAD:]
    if head != hashlib.sha256(content).hexdigest().encode() + b"\n":  # before anything is parsed
        raise DamagedError("damaged, its checksum is not that of its content")
    try:
        tensors = load(content)
        # safetensors: eight bytes with the length of the header, then the header as JSON
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, {name: json.loads(text) for name, text in header.get("__metadata__", {}).items()}
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"damaged, {error}") from None
