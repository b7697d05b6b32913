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
from dataclasses import asdict, dataclass, replace
from itertools import chain, compress, groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray

from leadwise.classes import class_index, label_vector, stand_in_vector
from leadwise.familiarity import acquisition
from leadwise.files import flush_folder, sha256, whole_file, write_json
from leadwise.header import MIN_FREQUENCY, Sex, reason_kind
from leadwise.memory import keep_some_freed_memory
from leadwise.progress import log, track
from leadwise.recipes import SignalRecipe
from leadwise.recording import Header, RecordingError, read_recording
from leadwise.signals import prepare, resampled_length, side_numbers
from leadwise.store import ROW, Room, Store, Writer

PREPARATION_VERSION = 6  # raised when the same files would give other arrays
CHUNK = 128  # recordings that a worker prepares at a time, 16 MB of signal: joblib looks for results every 10 ms ...
CHUNK_BYTES = 32_000_000  # ... and at most so many bytes of their files: a recording of half an hour has 11 MB
GLANCE = 4000  # bytes of a header that have its first line's four fields and its diagnoses
AT_ONCE = 64  # chunks whose results are held where a joblib backend gives none before it has all
SAMPLES, ARRAYS = "samples.f32", "arrays.npz"  # the long array of signals, and the small ones
NO_DIAGNOSIS = "no scored diagnosis"


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
    stand_ins: NDArray[np.bool_]  # (n, 24) classes that an unscored code means (classes.STAND_INS)
    demographics: NDArray[np.float32]  # (n, 5), or (n, 6) with the signals' scales
    acquisitions: NDArray[np.float32]  # (n, 3), see familiarity.acquisition
    repairs: dict[str, int]  # how often each repair was made
    left_out: dict[str, str]  # recordings that are not here: name -> reason
    fingerprint: str  # of the files and of the preparation

    # arrays with a row a recording
    ROWS: ClassVar = ("starts", "lengths", "labels", "stand_ins", "demographics", "acquisitions")

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, chosen: NDArray[np.bool_]) -> Dataset:
        """The recordings that are chosen, (n,); their signals stay where they are."""
        rows: dict[str, Any] = {name: getattr(self, name)[chosen] for name in self.ROWS}
        rows |= {name: tuple(compress(getattr(self, name), chosen)) for name in ("names", "sources", "groups")}
        return replace(self, **rows)

    def targets(self, stand_ins: bool) -> NDArray[np.bool_]:
        """What a network is taught, (n, 24): the labels, with or without what stands in for them."""
        return self.labels | self.stand_ins if stand_ins else self.labels


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


def patient_groups(headers: Sequence[Header | _Prepared]) -> tuple[str, ...]:
    """A name for each recording's patient, (n,); recordings that may be of one patient get the same name.

    Only INCART tells: its two or three recordings of a patient are numbered in a row and carry the same age and sex.
    Neither PTB, PTB-XL nor any other header says whose recording it is, so each of theirs is a patient of its own.
    """
    groups = {header.name: header.name for header in headers}
    incart = sorted((header for header in headers if header.source == "I"), key=lambda header: header.name)
    for _, run in groupby(incart, key=lambda header: (header.age, header.sex)):
        members = [header.name for header in run]
        groups.update(dict.fromkeys(members, members[0]))
    return tuple(groups[header.name] for header in headers)


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


def load_dataset(folder: Path) -> Dataset:
    """What `prepare_dataset` stored, the signals as a memory map."""
    facts = json.loads((folder / "recordings.json").read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS, allow_pickle=False) as stored:
        arrays = dict(stored)
    del arrays["checksums"]
    rows = int((arrays["starts"] + arrays["lengths"]).max(initial=0))
    return Dataset(
        names=tuple(facts["names"]),
        sources=tuple(facts["sources"]),
        groups=tuple(facts["groups"]),
        samples=np.memmap(folder / SAMPLES, np.float32, "c", shape=(rows, 12)),
        repairs=facts["repairs"],
        left_out=facts["left_out"],
        fingerprint=facts["fingerprint"],
        **arrays,
    )


class _Prepared(NamedTuple):
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


def _prepare_chunk(paths: Sequence[str], recipe: SignalRecipe, room: Room) -> list[tuple[Any, ...]]:
    """Each path as `_prepare_one` has it. The signals go to the room, since to send them from process to process takes
    as long as to prepare them; what is sent is texts and plain tuples, which take a tenth of what objects take."""
    keep_some_freed_memory()  # or half of a worker's time may go to fresh pages
    with room.opened() as writer:
        return [tuple(_prepare_one(Path(path), recipe, writer)) for path in paths]


def _prepare_one(path: Path, recipe: SignalRecipe, writer: Writer) -> _Prepared | tuple[str, str]:
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
    return _Prepared(
        *(header.name, header.source, header.age, header.sex, header.codes),
        *(start, len(samples), zlib.crc32(samples)),
        numbers=tuple(side_numbers(header, signal).tolist()),
        acquisition=tuple(acquisition(recording).tolist()),
        repairs=tuple(repair.name for repair in (*recording.repairs, *signal.repairs)),
    )


def _chunks(headers: Sequence[Path]) -> Iterator[list[tuple[Path, int]]]:
    """The recordings in order and the sizes of their files, in lists of at most `CHUNK` and, but for single ones, of
    `CHUNK_BYTES`."""
    chunk: list[tuple[Path, int]] = []
    room = CHUNK_BYTES
    for header in headers:
        size = _signal_bytes(header)
        if chunk and (len(chunk) == CHUNK or size > room):
            yield chunk
            chunk, room = [], CHUNK_BYTES
        chunk.append((header, size))
        room -= size
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
    headers: Sequence[Path], recipe: SignalRecipe, jobs: int, store: Store
) -> Iterator[_Prepared | tuple[str, str]]:
    """Every recording in the order of the folder, prepared by `jobs` processes a few chunks ahead; its signal goes to
    the store."""
    if jobs == 1:
        writer = Writer(store.file)
        yield from (_prepare_one(path, recipe, writer) for path in headers)
        return

    def work() -> Iterator[Any]:
        for chunk in _chunks(headers):
            room = store.room(sum(_foreseen_rows(header, size, recipe) for header, size in chunk))
            yield joblib.delayed(_prepare_chunk)([str(header) for header, _ in chunk], recipe, room)

    try:
        results = joblib.Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="2 * n_jobs", batch_size=1)(work())
    except ValueError:  # joblib says so of a backend that gives no result before it has all, as Ray's
        parallel, rest = joblib.Parallel(n_jobs=jobs), work()
        results = chain.from_iterable(iter(lambda: parallel(islice(rest, AT_ONCE)), []))
    for number, rows in enumerate(results):
        before, beside = store.rows_beside, 0
        for row in rows:
            item = _Prepared(*row) if len(row) > 2 else row
            if isinstance(item, _Prepared) and item.start < 0:
                beside += item.samples
                item = item._replace(start=item.start - before)
            yield item
        store.note_beside(store.rooms[number], beside)
    store.move_behind()


def _write_dataset(headers: Sequence[Path], folder: Path, recipe: SignalRecipe, jobs: int, fingerprint: str) -> None:
    kept: list[_Prepared] = []
    repairs: Counter[str] = Counter()
    left_out: dict[str, str] = {}
    # not waited for until it is on the disk: what a power cut leaves of it is told by its checksums, and made again
    with whole_file(folder / SAMPLES, durable=False) as file:
        store = Store(file)
        for item in track(_prepare_all(headers, recipe, jobs, store), "preparing", len(headers)):
            if not isinstance(item, _Prepared):
                left_out[item[0]] = item[1]
                continue
            kept.append(item)
            repairs.update(item.repairs)
        starts = np.array([item.start for item in kept], np.int64)
        starts[starts < 0] = store.rows - 1 - starts[starts < 0]
        lengths = np.array([item.samples for item in kept], np.int64)
        file.truncate((starts + lengths).max(initial=0) * ROW)
    _write_arrays(folder, kept, starts)
    facts = {
        "fingerprint": fingerprint,
        "names": [item.name for item in kept],
        "sources": [item.source for item in kept],
        "groups": patient_groups(kept),
        "repairs": dict(repairs),
        "left_out": left_out,
        "checksums": {ARRAYS: sha256(folder / ARRAYS)},
    }
    write_json(folder / "recordings.json", facts | {"checksum": _checksum(facts)})
    _report(len(kept), left_out, repairs)


def _write_arrays(folder: Path, kept: Sequence[_Prepared], starts: NDArray[np.int64]) -> None:
    """The small arrays, one row a recording."""
    codes = [item.codes for item in kept]
    with whole_file(folder / ARRAYS) as handle:
        np.savez(
            handle,
            lengths=np.array([item.samples for item in kept], np.int64),
            starts=starts,
            checksums=np.array([item.checksum for item in kept], np.uint32),
            labels=np.array([label_vector(of_one) for of_one in codes], bool).reshape(-1, 24),
            stand_ins=np.array([stand_in_vector(of_one) for of_one in codes], bool).reshape(-1, 24),
            demographics=np.array([item.numbers for item in kept], np.float32).reshape(len(kept), -1 if kept else 5),
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
                facts = entry.stat()
                digest.update(f"{place}/{entry.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
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


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether the stored arrays are those that were written; damaged ones are named."""
    try:
        facts = json.loads((folder / "recordings.json").read_text(encoding="utf-8"))
        damaged = [] if facts.pop("checksum") == _checksum(facts) else ["recordings.json"]
        if sha256(folder / ARRAYS) != facts["checksums"][ARRAYS]:
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


def assign_folds(dataset: Dataset, folds: int, seed: int) -> NDArray[np.int64]:
    """The validation fold of each recording, (n,), multi-label stratified within each source.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1) over patients. Raises ValueError
    where there are fewer than two recordings a fold.
    """
    if len(dataset) < 2 * folds:
        raise ValueError(
            f"{folds} folds need at least {2 * folds} recordings with a scored diagnosis, {len(dataset)} can be used:"
            " give more recordings or fewer folds"
        )
    random = np.random.default_rng(seed)
    assigned = np.empty(len(dataset), np.int64)
    sources, groups = np.array(dataset.sources), np.array(dataset.groups)
    for source in np.unique(sources):
        members = np.flatnonzero(sources == source)
        _, units = np.unique(groups[members], return_inverse=True)  # (members,) patient of each recording
        labels = np.zeros((units.max() + 1, dataset.labels.shape[1]), np.int64)
        np.add.at(labels, units, dataset.labels[members])
        assigned[members] = stratify(labels, np.bincount(units), folds, random)[units]
    return assigned


def stratify(
    labels: NDArray[np.int64], sizes: NDArray[np.int64], folds: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """A fold for each unit, (units,): the rarest label that is left is shared out first.

    `labels` (units, classes) counts each class in each unit, `sizes` (units,) the recordings. A unit goes where its
    label is missed most, then where recordings are missed most, then by lot.
    """
    wanted = np.tile(labels.sum(0) / folds, (folds, 1))  # (folds, classes) labels still to come
    room = np.full(folds, sizes.sum() / folds)  # (folds,) recordings still to come
    assigned = np.full(len(labels), -1)
    while (free := np.flatnonzero(assigned < 0)).size:
        counts = labels[free].sum(0)
        rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        members = free[labels[free, rarest] > 0] if counts.any() else free
        for unit in random.permutation(members):
            best = np.lexsort((random.random(folds), -room, -wanted[:, rarest]))[0]
            assigned[unit] = best
            wanted[best] -= labels[unit]
            room[best] -= sizes[unit]
    return assigned
