"""Read and resample every recording of a folder that has a scored diagnosis, in parallel, and store the results."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import proxy_label_vector, training_label_vector
from leadwise.data.dataset import (
    ARRAYS,
    METADATA,
    NO_DIAGNOSIS,
    SAMPLES,
    Dataset,
    describe_left_out,
    is_intact,
    load_dataset,
    metadata_checksum,
)  # fmt: skip
from leadwise.data.folds import patient_groups
from leadwise.data.sample_store import ROW, Place, SampleStore, SampleWriter, Segment
from leadwise.ecg.acquisition import measure_acquisition
from leadwise.ecg.discovery import HEADER_SUFFIX, describe_unread, find_recordings, no_recordings
from leadwise.ecg.header import MIN_FREQUENCY, Sex
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import RecordingError, reason_kind
from leadwise.ecg.resampling import resampled_length
from leadwise.recipes import SignalRecipe
from leadwise.util.files import atomic_write, flush_folder, sha256, write_json
from leadwise.util.memory import tune_malloc_for_preparation
from leadwise.util.parallel import results_in_order
from leadwise.util.progress import log, track

PREPARATION_VERSION = 8  # increased when the same files would give other arrays
CHUNK = 128  # recordings per task of a worker, 16 MB of signal: joblib looks for results every 10 ms
CHUNK_BYTES = 32_000_000  # size of their files at most: half an hour of ECG has 11 MB
HEADER_BYTES = 4000  # of a header that contain its first line and its diagnoses


def prepare_dataset(folder: str | Path, work: str | Path, recipe: SignalRecipe, jobs: int = 1) -> Dataset:
    """Read, resample and store all recordings of `folder` under `work`, with `jobs` processes; reuse unchanged ones.

    Raises ValueError for a folder without recordings, or if none of them can be used.
    """
    headers = find_recordings(folder)
    target = Path(work) / "prepared"
    fingerprint = data_fingerprint(folder, recipe, headers)
    if unread := describe_unread(folder, (HEADER_SUFFIX,)):
        log.info("%s", unread)
    if is_intact(target, fingerprint):
        log.info("prepared recordings reused from %s", target)
        return load_dataset(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(".prepared.*"):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".prepared.", dir=target.parent, ignore_cleanup_errors=True) as temporary:
        kept, left_out = _write_dataset(headers, Path(temporary), recipe, jobs, fingerprint)
        if not kept:
            raise ValueError(f"no recording of {folder} can be used: {describe_left_out(left_out.values())}")
        shutil.rmtree(target, ignore_errors=True)
        Path(temporary).replace(target)
        flush_folder(target.parent)
    return load_dataset(target)


class PreparedRecording(NamedTuple):
    """A recording whose signal is in the store; plain values, which are sent between processes quickly."""

    name: str
    source: str
    age: float | None
    sex: Sex | None
    codes: tuple[str, ...]
    place: Place
    samples: int
    checksum: int  # CRC-32 of the signal
    auxiliary_features: tuple[float, ...]  # 5 or 6
    acquisition: tuple[float, ...]  # 3
    repairs: tuple[str, ...]


class LeftOut(NamedTuple):
    """A recording that was not prepared."""

    name: str
    reason: str


def _prepare_chunk(paths: Sequence[str], recipe: SignalRecipe, segment: Segment) -> list[PreparedRecording | LeftOut]:
    tune_malloc_for_preparation()  # or up to half of a worker's time goes to fresh pages
    with segment.opened() as put:
        return [_prepare_one(Path(path), recipe, put) for path in paths]


def _prepare_one(path: Path, recipe: SignalRecipe, put: Callable[[memoryview], Place]) -> PreparedRecording | LeftOut:
    try:
        recording = read_recording(path)
        if not training_label_vector(recording.header.codes).any():
            return LeftOut(path.stem, NO_DIAGNOSIS)
        # contiguous along a lead, as all of the following steps run
        recording = replace(recording, counts=np.ascontiguousarray(recording.counts))
        signal = prepare(recording, recipe)
    except RecordingError as error:
        return LeftOut(path.stem, error.reason)
    samples = np.ascontiguousarray(signal.values.T).data
    header = recording.header
    return PreparedRecording(
        *(header.name, header.source, header.age, header.sex, header.codes),
        *(put(samples), len(samples), zlib.crc32(samples)),
        auxiliary_features=tuple(auxiliary_features(header, signal).tolist()),
        acquisition=tuple(measure_acquisition(recording).tolist()),
        repairs=tuple(repair.name for repair in (*recording.repairs, *signal.repairs)),
    )


def _chunks(headers: Sequence[Path]) -> Iterator[list[tuple[Path, int]]]:
    """Yield the recordings with the sizes of their files, at most `CHUNK` and, unless it is one, `CHUNK_BYTES`."""
    chunk: list[tuple[Path, int]] = []
    free = CHUNK_BYTES
    for header in headers:
        size = _signal_bytes(header)
        if chunk and (len(chunk) == CHUNK or size > free):
            yield chunk
            chunk, free = [], CHUNK_BYTES
        chunk.append((header, size))
        free -= size
    if chunk:
        yield chunk


def _signal_bytes(header: Path) -> int:
    """Return the size of the signal file that probably belongs to a header; 0 if there is none."""
    stem = os.fspath(header).rpartition(".")[0]
    for ending in (".mat", ".MAT", ".dat", ".DAT"):
        try:
            return os.stat(stem + ending).st_size  # noqa: PTH116 (a Path takes longer than the system call)
        except OSError:
            continue
    return 0


def _expected_rows(header: Path, size: int, recipe: SignalRecipe) -> int:
    """Estimate the rows of a recording from the size of its signal file and a quick parse of its header."""
    try:
        with open(header, "rb", buffering=0) as file:  # noqa: PTH123 (a third of a Path's time)
            text = file.read(HEADER_BYTES).decode("latin-1")
        _, _, frequency, samples = text.split(None, 4)[:4]
        codes = text.rpartition("Dx:")[2].partition("\n")[0].split(",")
        if float(frequency) < MIN_FREQUENCY or not training_label_vector(codes).any():
            return 0  # will be left out
        return resampled_length(min(int(samples), size // 2), float(frequency), recipe.sampling_frequency)
    except (OSError, ValueError, OverflowError):
        return 0


def _prepare_all(
    headers: Sequence[Path], recipe: SignalRecipe, jobs: int, store: SampleStore
) -> Iterator[PreparedRecording | LeftOut]:
    """Prepare every recording in the order of the folder, with `jobs` processes a few chunks ahead."""
    if jobs == 1:
        put = SampleWriter(store.file).put
        yield from (_prepare_one(path, recipe, put) for path in headers)
        return

    def tasks() -> Iterator[Any]:
        for chunk in _chunks(headers):
            segment = store.reserve(sum(_expected_rows(header, size, recipe) for header, size in chunk))
            yield joblib.delayed(_prepare_chunk)([str(header) for header, _ in chunk], recipe, segment)

    yield from chain.from_iterable(results_in_order(tasks(), jobs))
    store.append_overflow()


def _write_dataset(
    headers: Sequence[Path], folder: Path, recipe: SignalRecipe, jobs: int, fingerprint: str
) -> tuple[int, dict[str, str]]:
    """Return the number of recordings that are written, and why others are left out, by name."""
    kept: list[PreparedRecording] = []
    left_out: dict[str, str] = {}
    # not durable: what a power cut destroys is found by its checksums and prepared again
    with atomic_write(folder / SAMPLES, durable=False) as file:
        store = SampleStore(file)
        for item in track(_prepare_all(headers, recipe, jobs, store), "preparing", len(headers)):
            if isinstance(item, LeftOut):
                left_out[item.name] = item.reason
            else:
                kept.append(item)
        starts = np.array([store.row(item.place) for item in kept], np.int64)
        lengths = np.array([item.samples for item in kept], np.int64)
        file.truncate((starts + lengths).max(initial=0) * ROW)
    _write_arrays(folder, kept, starts, lengths)
    names, sources = [item.name for item in kept], [item.source for item in kept]
    repairs = Counter(repair for item in kept for repair in item.repairs)
    metadata = {
        "fingerprint": fingerprint,
        "names": names,
        "sources": sources,
        "groups": patient_groups(names, sources, [(item.age, item.sex) for item in kept]),
        "repairs": dict(repairs),
        "left_out": left_out,
        "checksums": {ARRAYS: sha256(folder / ARRAYS)},
    }
    write_json(folder / METADATA, metadata | {"checksum": metadata_checksum(metadata)})
    log.info("%d recordings prepared, %d left out", len(kept), len(left_out))
    for reason, count in Counter(map(reason_kind, left_out.values())).most_common(10):
        log.info("  left out: %d, %s", count, reason)
    for repair, count in repairs.most_common():
        log.info("  repaired: %d, %s", count, repair)
    return len(kept), left_out


def _write_arrays(
    folder: Path, kept: Sequence[PreparedRecording], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> None:
    features = np.array([item.auxiliary_features for item in kept], np.float32)
    with atomic_write(folder / ARRAYS) as handle:
        np.savez(
            handle,
            lengths=lengths,
            starts=starts,
            checksums=np.array([item.checksum for item in kept], np.uint32),
            labels=np.array([training_label_vector(item.codes) for item in kept], bool).reshape(-1, 24),
            proxy_labels=np.array([proxy_label_vector(item.codes) for item in kept], bool).reshape(-1, 24),
            auxiliary_features=features.reshape(len(kept), -1 if kept else 5),
            acquisitions=np.array([item.acquisition for item in kept], np.float32).reshape(-1, 3),
        )


def data_fingerprint(folder: str | Path, recipe: SignalRecipe, headers: Sequence[Path] | None = None) -> str:
    """Return a checksum of preparation, recipe, and name, size and time of each file of the recordings.

    `headers` are those of the folder, if they are known. Raises ValueError for a folder without recordings.
    """
    headers = find_recordings(folder) if headers is None else headers
    if not headers:
        raise no_recordings(folder)
    # without the windows, which are cut later
    signal = {name: value for name, value in asdict(recipe).items() if name not in ("window", "overlap")}
    digest = hashlib.sha256(json.dumps([PREPARATION_VERSION, signal]).encode())
    for parent, members in groupby(map(os.path.split, headers), key=itemgetter(0)):
        entries, place = _group_by_stem(parent or os.curdir), os.path.relpath(parent or os.curdir, folder)
        for _, name in members:
            for entry in entries[name.rpartition(".")[0]]:
                digest.update(os.fsencode(f"{place}/{entry.name} {_size_and_time(entry)}\n"))
    return digest.hexdigest()


def _size_and_time(entry: os.DirEntry[str]) -> str:
    try:
        status = entry.stat()
    except OSError:  # a link to nothing, which is left out when it is read
        return "-"
    return f"{status.st_size} {status.st_mtime_ns}"


def _group_by_stem(folder: str) -> dict[str, list[os.DirEntry[str]]]:
    """Group the sorted entries of a folder by stem; "a.b.mat" belongs to "a" and to "a.b"."""
    entries: dict[str, list[os.DirEntry[str]]] = defaultdict(list)
    with os.scandir(folder) as found:
        for entry in sorted(found, key=attrgetter("name")):
            place = entry.name.find(".")
            while place >= 0:
                entries[entry.name[:place]].append(entry)
                place = entry.name.find(".", place + 1)
    return entries
