"""A data folder becomes prepared arrays, labels and folds. Knows no tensors and no networks.

Every recording with a scored diagnosis is read and resampled once, in parallel, into one long memory-mapped array of
shape (samples of all recordings, 12), float32: a window is then a run of rows, whatever recording it comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import class_index, label_vector, proxy_label_vector
from leadwise.data.dataset import ARRAYS, SAMPLES, Dataset, is_whole, load_dataset, metadata_checksum
from leadwise.data.folds import patient_groups
from leadwise.data.sample_store import ROW, SampleStore, SampleWriter, Segment
from leadwise.ecg.acquisition import measure_acquisition
from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.header import MIN_FREQUENCY, Sex
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import RecordingError, reason_kind
from leadwise.ecg.resampling import resampled_length
from leadwise.recipes import SignalRecipe
from leadwise.util.files import atomic_write, flush_folder, sha256, write_json
from leadwise.util.memory import tune_malloc_for_preparation
from leadwise.util.progress import log, track

PREPARATION_VERSION = 7  # raised when the same files would give other arrays
CHUNK = 128  # recordings that a worker prepares at a time, 16 MB of signal: joblib looks for results every 10 ms ...
CHUNK_BYTES = 32_000_000  # ... and at most so many bytes of their files: a recording of half an hour has 11 MB
GLANCE = 4000  # bytes of a header that have its first line's four fields and its diagnoses
AT_ONCE = 64  # chunks whose results are held where a joblib backend gives none before it has all
NO_DIAGNOSIS = "no scored diagnosis"


def prepare_dataset(folder: str | Path, work: str | Path, recipe: SignalRecipe, jobs: int = 1) -> Dataset:
    """Reads, resamples and stores all recordings of `folder` under `work`; what lies there already is reused.

    It is reused when the recordings (names, sizes, times) and the preparation are the same. `jobs` processes read.
    Raises ValueError where the folder has no recordings.
    """
    headers = find_recordings(folder)
    target = Path(work) / "prepared"
    fingerprint = _fingerprint(Path(folder), headers, recipe)
    if _stored_fingerprint(target) == fingerprint and is_whole(target):
        log.info("prepared recordings reused from %s", target)
        return load_dataset(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(".prepared.*"):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=".prepared.", dir=target.parent))
    try:
        _write_dataset(headers, temporary, recipe, jobs, fingerprint)
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
        flush_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return load_dataset(target)


class PreparedRecording(NamedTuple):
    """One recording on its way to the small arrays; its signal is in the store."""

    name: str
    source: str
    age: float | None
    sex: Sex | None
    codes: tuple[str, ...]
    start: int  # row of the store; -1 - row of what comes behind its rooms
    samples: int
    checksum: int  # CRC-32 of the signal
    numbers: tuple[float, ...]  # 5 or 6, beside the signal
    acquisition: tuple[float, ...]  # 3
    repairs: tuple[str, ...]


def _prepare_chunk(paths: Sequence[str], recipe: SignalRecipe, segment: Segment) -> list[tuple[Any, ...]]:
    """Each path as `_prepare_one` has it. The signals go to the room, since to send them from process to process takes
    as long as to prepare them; what is sent is texts and plain tuples, which take a tenth of what objects take."""
    tune_malloc_for_preparation()  # or half of a worker's time may go to fresh pages
    with segment.opened() as writer:
        return [tuple(_prepare_one(Path(path), recipe, writer)) for path in paths]


def _prepare_one(path: Path, recipe: SignalRecipe, writer: SampleWriter) -> PreparedRecording | tuple[str, str]:
    try:
        recording = read_recording(path)
        if not label_vector(recording.header.codes).any():
            return path.stem, NO_DIAGNOSIS
        # all that follows goes along a lead
        recording = replace(recording, counts=np.ascontiguousarray(recording.counts))
        signal = prepare(recording, recipe)
    except RecordingError as error:
        return path.stem, error.reason
    samples = np.ascontiguousarray(signal.values.T).data
    start = writer.put(samples)
    header = recording.header
    return PreparedRecording(
        *(header.name, header.source, header.age, header.sex, header.codes),
        *(start, len(samples), zlib.crc32(samples)),
        numbers=tuple(auxiliary_features(header, signal).tolist()),
        acquisition=tuple(measure_acquisition(recording).tolist()),
        repairs=tuple(repair.name for repair in (*recording.repairs, *signal.repairs)),
    )


def _chunks(headers: Sequence[Path]) -> Iterator[list[tuple[Path, int]]]:
    """The recordings in order and the sizes of their files, in lists of at most `CHUNK` and, but for single ones, of
    `CHUNK_BYTES`."""
    chunk: list[tuple[Path, int]] = []
    segment = CHUNK_BYTES
    for header in headers:
        size = _signal_bytes(header)
        if chunk and (len(chunk) == CHUNK or size > segment):
            yield chunk
            chunk, segment = [], CHUNK_BYTES
        chunk.append((header, size))
        segment -= size
    if chunk:
        yield chunk


def _signal_bytes(header: Path) -> int:
    """The size of the file beside a header that probably has its signal."""
    without_ending = _without_ending(os.fspath(header))
    for ending in (".mat", ".MAT", ".dat", ".DAT"):
        try:
            return os.stat(without_ending + ending).st_size  # noqa: PTH116 (a Path takes longer than the system)
        except OSError:
            continue
    return 0


def _foreseen_rows(header: Path, size: int, recipe: SignalRecipe) -> int:
    """How long a recording of so many bytes will probably be, from a glance at its header: nothing is lost where that
    is wrong."""
    try:
        with open(header, "rb", buffering=0) as file:  # noqa: PTH123 (a third of a Path's time)
            text = file.read(GLANCE).decode("latin-1")
        _, _, frequency, samples = text.split(None, 4)[:4]
        codes = text.rpartition("Dx:")[2].partition("\n")[0].split(",")
        if float(frequency) < MIN_FREQUENCY or all(class_index(code.strip()) is None for code in codes):
            return 0  # will be left out
        return resampled_length(min(int(samples), size // 2), float(frequency), recipe.sampling_frequency)
    except (OSError, ValueError, OverflowError):
        return 0


def _prepare_all(
    headers: Sequence[Path], recipe: SignalRecipe, jobs: int, store: SampleStore
) -> Iterator[PreparedRecording | tuple[str, str]]:
    """Every recording in the order of the folder, prepared by `jobs` processes a few chunks ahead; its signal goes to
    the store."""
    if jobs == 1:
        writer = SampleWriter(store.file)
        yield from (_prepare_one(path, recipe, writer) for path in headers)
        return

    def work() -> Iterator[Any]:
        for chunk in _chunks(headers):
            segment = store.segment(sum(_foreseen_rows(header, size, recipe) for header, size in chunk))
            yield joblib.delayed(_prepare_chunk)([str(header) for header, _ in chunk], recipe, segment)

    try:
        results = joblib.Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="2 * n_jobs", batch_size=1)(work())
    except ValueError:  # joblib says so of a backend that gives no result before it has all, as Ray's
        parallel, rest = joblib.Parallel(n_jobs=jobs), work()
        results = chain.from_iterable(iter(lambda: parallel(islice(rest, AT_ONCE)), []))
    for number, rows in enumerate(results):
        before, beside = store.overflow_rows, 0
        for row in rows:
            item = PreparedRecording(*row) if len(row) > 2 else row
            if isinstance(item, PreparedRecording) and item.start < 0:
                beside += item.samples
                item = item._replace(start=item.start - before)
            yield item
        store.record_overflow(store.segments[number], beside)
    store.append_overflow()


def _write_dataset(headers: Sequence[Path], folder: Path, recipe: SignalRecipe, jobs: int, fingerprint: str) -> None:
    kept: list[PreparedRecording] = []
    repairs: Counter[str] = Counter()
    left_out: dict[str, str] = {}
    # not waited for until it is on the disk: what a power cut leaves of it is told by its checksums, and made again
    with atomic_write(folder / SAMPLES, durable=False) as file:
        store = SampleStore(file)
        for item in track(_prepare_all(headers, recipe, jobs, store), "preparing", len(headers)):
            if not isinstance(item, PreparedRecording):
                left_out[item[0]] = item[1]
                continue
            kept.append(item)
            repairs.update(item.repairs)
        starts = np.array([item.start for item in kept], np.int64)
        starts[starts < 0] = store.rows - 1 - starts[starts < 0]
        lengths = np.array([item.samples for item in kept], np.int64)
        file.truncate((starts + lengths).max(initial=0) * ROW)
    _write_arrays(folder, kept, starts)
    metadata = {
        "fingerprint": fingerprint,
        "names": [item.name for item in kept],
        "sources": [item.source for item in kept],
        "groups": patient_groups(kept),
        "repairs": dict(repairs),
        "left_out": left_out,
        "checksums": {ARRAYS: sha256(folder / ARRAYS)},
    }
    write_json(folder / "recordings.json", metadata | {"checksum": metadata_checksum(metadata)})
    _report(len(kept), left_out, repairs)


def _write_arrays(folder: Path, kept: Sequence[PreparedRecording], starts: NDArray[np.int64]) -> None:
    """The small arrays, one row a recording."""
    codes = [item.codes for item in kept]
    with atomic_write(folder / ARRAYS) as handle:
        np.savez(
            handle,
            lengths=np.array([item.samples for item in kept], np.int64),
            starts=starts,
            checksums=np.array([item.checksum for item in kept], np.uint32),
            labels=np.array([label_vector(of_one) for of_one in codes], bool).reshape(-1, 24),
            proxy_labels=np.array([proxy_label_vector(of_one) for of_one in codes], bool).reshape(-1, 24),
            auxiliary_features=np.array([item.numbers for item in kept], np.float32).reshape(
                len(kept), -1 if kept else 5
            ),
            acquisitions=np.array([item.acquisition for item in kept], np.float32).reshape(-1, 3),
        )


def _report(kept: int, left_out: dict[str, str], repairs: Counter[str]) -> None:
    log.info("%d recordings prepared, %d left out", kept, len(left_out))
    for reason, count in Counter(map(reason_kind, left_out.values())).most_common(10):
        log.info("  left out: %d, %s", count, reason)
    for repair, count in repairs.most_common():
        log.info("  repaired: %d, %s", count, repair)


def data_fingerprint(folder: str | Path, recipe: SignalRecipe) -> str:
    """A checksum of what the prepared arrays depend on: versions, recipe, and each file's name, size and time.

    Raises ValueError where the folder has no recordings.
    """
    return _fingerprint(Path(folder), find_recordings(folder), recipe)


def _fingerprint(folder: Path, headers: Sequence[Path], recipe: SignalRecipe) -> str:
    if not headers:
        raise ValueError(f"{folder} has no recordings: no file in it ends in .hea")
    digest = hashlib.sha256(json.dumps([PREPARATION_VERSION, _input_recipe(recipe)]).encode())
    for parent, members in groupby(map(os.path.split, headers), key=itemgetter(0)):
        beside, place = _by_stem(parent or os.curdir), os.path.relpath(parent or os.curdir, folder)
        for _, name in members:
            for entry in beside[_without_ending(name)]:
                metadata = entry.stat()
                digest.update(f"{place}/{entry.name} {metadata.st_size} {metadata.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _by_stem(folder: str) -> dict[str, list[os.DirEntry[str]]]:
    """What is in a folder by what stands before a dot in its name, before each dot where there are several; sorted."""
    entries: dict[str, list[os.DirEntry[str]]] = defaultdict(list)
    with os.scandir(folder) as found:
        for entry in sorted(found, key=attrgetter("name")):
            place = entry.name.find(".")
            while place >= 0:
                entries[entry.name[:place]].append(entry)
                place = entry.name.find(".", place + 1)
    return entries


def _without_ending(path: str) -> str:
    """A path without the last dot of its name and what follows."""
    return path.rpartition(".")[0]


def _input_recipe(recipe: SignalRecipe) -> dict[str, Any]:
    """What of the recipe shapes the stored signals: not the windows, which are cut later."""
    return {name: value for name, value in asdict(recipe).items() if name not in ("window", "overlap")}


def _stored_fingerprint(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / "recordings.json").read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError):
        return None
