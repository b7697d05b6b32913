"""A data folder becomes prepared arrays, labels and folds. Knows no tensors and no networks.

Every recording with a scored diagnosis is read and resampled once, in parallel, into one long memory-mapped array of
shape (samples of all recordings, 12), float32: a window is then a run of rows, whatever recording it comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from leadwise.data.sample_store import ROW
from leadwise.util.files import sha256
from leadwise.util.progress import log

SAMPLES, ARRAYS = "samples.f32", "arrays.npz"  # the long array of signals, and the small ones


@dataclass(frozen=True, eq=False)
class Dataset:
    """Prepared recordings: n of them, their signals one after the other."""

    names: tuple[str, ...]
    sources: tuple[str, ...]  # letter prefix of the name, see design of the Challenge's databases
    groups: tuple[str, ...]  # recordings of one group are of one patient, as far as that is known
    samples: NDArray[np.float32]  # (samples of all, 12), memory-mapped
    starts: NDArray[np.int64]  # (n,) first row of each recording
    lengths: NDArray[np.int64]  # (n,) rows
    labels: NDArray[np.bool_]  # (n, 24)
    proxy_labels: NDArray[np.bool_]  # (n, 24) classes that an unscored code means (classes.STAND_INS)
    auxiliary_features: NDArray[np.float32]  # (n, 5), or (n, 6) with the signals' scales
    acquisitions: NDArray[np.float32]  # (n, 3), see familiarity.acquisition
    repairs: dict[str, int]  # how often each repair was made
    left_out: dict[str, str]  # recordings that are not here: name -> reason
    fingerprint: str  # of the files and of the preparation

    # arrays with a row a recording
    ROWS: ClassVar = ("starts", "lengths", "labels", "proxy_labels", "auxiliary_features", "acquisitions")

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, chosen: NDArray[np.bool_]) -> Dataset:
        """The recordings that are chosen, (n,); their signals stay where they are."""
        rows: dict[str, Any] = {name: getattr(self, name)[chosen] for name in self.ROWS}
        rows |= {name: tuple(compress(getattr(self, name), chosen)) for name in ("names", "sources", "groups")}
        return replace(self, **rows)

    def targets(self, proxy_labels: bool) -> NDArray[np.bool_]:
        """What a network is taught, (n, 24): the labels, with or without what stands in for them."""
        return self.labels | self.proxy_labels if proxy_labels else self.labels


def load_dataset(folder: Path) -> Dataset:
    """What `prepare_dataset` stored, the signals as a memory map."""
    metadata = json.loads((folder / "recordings.json").read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS, allow_pickle=False) as stored:
        arrays = dict(stored)
    del arrays["checksums"]
    rows = int((arrays["starts"] + arrays["lengths"]).max(initial=0))
    return Dataset(
        names=tuple(metadata["names"]),
        sources=tuple(metadata["sources"]),
        groups=tuple(metadata["groups"]),
        samples=np.memmap(folder / SAMPLES, np.float32, "c", shape=(rows, 12)),
        repairs=metadata["repairs"],
        left_out=metadata["left_out"],
        fingerprint=metadata["fingerprint"],
        **arrays,
    )


def metadata_checksum(metadata: dict[str, Any]) -> str:
    """Return the SHA-256 of the metadata of a prepared data set."""
    return hashlib.sha256(json.dumps(metadata).encode()).hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether the stored arrays are those that were written; damaged ones are named."""
    try:
        metadata = json.loads((folder / "recordings.json").read_text(encoding="utf-8"))
        damaged = [] if metadata.pop("checksum") == metadata_checksum(metadata) else ["recordings.json"]
        if sha256(folder / ARRAYS) != metadata["checksums"][ARRAYS]:
            damaged.append(ARRAYS)
        elif not _samples_are_whole(folder):
            damaged.append(SAMPLES)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        damaged = ["recordings.json, or a file that it names,"]
    for name in damaged:
        log.warning("%s in %s is damaged: the recordings are prepared again", name, folder)
    return not damaged


def _samples_are_whole(folder: Path) -> bool:
    """Whether each recording's signal has its checksum, and nothing follows the last."""
    with np.load(folder / ARRAYS, allow_pickle=False) as stored:
        places = [stored[name].tolist() for name in ("starts", "lengths", "checksums")]
    with (folder / SAMPLES).open("rb") as file:
        end = 0
        for start, length, checksum in zip(*places, strict=True):
            if end != start:
                file.seek(start * ROW)
            if zlib.crc32(file.read(length * ROW)) != checksum:
                return False
            end = start + length
        return file.seek(0, os.SEEK_END) == max(map(sum, zip(*places[:2], strict=True)), default=0) * ROW
