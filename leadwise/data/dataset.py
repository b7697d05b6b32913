"""Hold prepared recordings, load them, and check them for damage. A window is a run of rows of one array of signals."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from leadwise.data.sample_store import ROW
from leadwise.ecg.repairs import reason_kind
from leadwise.util.files import read_json, sha256
from leadwise.util.progress import log

SAMPLES, ARRAYS, METADATA = "samples.f32", "arrays.npz", "recordings.json"  # signals, small arrays, texts
NO_DIAGNOSIS = "no scored diagnosis"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A set of n prepared recordings."""

    names: tuple[str, ...]
    sources: tuple[str, ...]  # letter prefix of the name
    groups: tuple[str, ...]  # the same for recordings of one patient, as far as that is known
    samples: NDArray[np.float32]  # (samples of all, 12), memory-mapped
    starts: NDArray[np.int64]  # (n,) first row of each recording
    lengths: NDArray[np.int64]  # (n,) rows
    labels: NDArray[np.bool_]  # (n, 24)
    proxy_labels: NDArray[np.bool_]  # (n, 24) classes that an unscored code implies (`PROXY_CODES`)
    auxiliary_features: NDArray[np.float32]  # (n, 5), or (n, 6) with the signals' scales
    acquisitions: NDArray[np.float32]  # (n, 3) of `measure_acquisition`
    repairs: dict[str, int]  # number of times that each repair was made
    left_out: dict[str, str]  # recordings that were not prepared: name -> reason
    fingerprint: str  # of the files and of the preparation

    ROWS: ClassVar = ("starts", "lengths", "labels", "proxy_labels", "auxiliary_features", "acquisitions")
    TEXTS: ClassVar = ("names", "sources", "groups")

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, chosen: NDArray[np.bool_]) -> Dataset:
        """Return the recordings of a mask (n,), without copying their signals."""
        rows: dict[str, Any] = {name: getattr(self, name)[chosen] for name in self.ROWS}
        return replace(self, **rows | {name: tuple(compress(getattr(self, name), chosen)) for name in self.TEXTS})

    def targets(self, proxy_labels: bool) -> NDArray[np.bool_]:
        """Return the training targets (n, 24), with or without the proxy labels."""
        return self.labels | self.proxy_labels if proxy_labels else self.labels


def describe_left_out(reasons: Iterable[str]) -> str:
    """Count the reasons for which recordings were not prepared, the most frequent first."""
    kinds = Counter(map(reason_kind, reasons)).most_common()
    words = {NO_DIAGNOSIS: "without a scored diagnosis (headers need #Dx with SNOMED CT codes)"}
    return ", ".join(f"{count} {words.get(kind, f'not usable ({kind})')}" for kind, count in kinds)


def load_dataset(folder: Path) -> Dataset:
    """Load what `prepare_dataset` stored, with the signals as a memory map."""
    metadata = read_json(folder / METADATA)
    with np.load(folder / ARRAYS, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in Dataset.ROWS}
    rows = int((arrays["starts"] + arrays["lengths"]).max(initial=0))
    texts: dict[str, Any] = {name: tuple(metadata[name]) for name in Dataset.TEXTS}
    texts |= {name: metadata[name] for name in ("repairs", "left_out", "fingerprint")}
    return Dataset(samples=np.memmap(folder / SAMPLES, np.float32, "c", shape=(rows, 12)), **arrays, **texts)


def metadata_checksum(metadata: dict[str, Any]) -> str:
    """Return the SHA-256 of the metadata of a prepared data set."""
    return hashlib.sha256(json.dumps(metadata).encode()).hexdigest()


def is_intact(folder: Path, fingerprint: str | None = None) -> bool:
    """Compare the stored files with their checksums, and with the fingerprint if one is given; log the damaged file."""
    if not folder.exists():
        return False
    damaged = ""
    try:
        metadata = read_json(folder / METADATA)
        if fingerprint not in (None, metadata["fingerprint"]):
            return False
        if metadata.pop("checksum") != metadata_checksum(metadata):
            damaged = METADATA
        elif sha256(folder / ARRAYS) != metadata["checksums"][ARRAYS]:
            damaged = ARRAYS
        elif not _samples_are_intact(folder):
            damaged = SAMPLES
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        damaged = f"{METADATA}, or a file that it names,"
    if damaged:
        log.warning("%s in %s is damaged: the recordings are prepared again", damaged, folder)
    return not damaged


def _samples_are_intact(folder: Path) -> bool:
    """Compare each signal with its checksum, and the size of the file with its content."""
    with np.load(folder / ARRAYS, allow_pickle=False) as stored:
        starts, lengths, checksums = (stored[name].tolist() for name in ("starts", "lengths", "checksums"))
    with (folder / SAMPLES).open("rb") as file:
        for start, length, checksum in zip(starts, lengths, checksums, strict=True):
            file.seek(start * ROW)
            if zlib.crc32(file.read(length * ROW)) != checksum:
                return False
        return file.seek(0, os.SEEK_END) == ROW * max(map(sum, zip(starts, lengths, strict=True)), default=0)
