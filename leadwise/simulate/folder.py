"""Writes simulated ECGs as the Challenge's files, mixed as its databases are. Knows no training and reads nothing."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leadwise.simulate.databases import (
    DATABASES,
    DEFAULT_SOURCES,
    count,
    draw_code,
    draw_diagnoses,
    draw_person,
    draw_seconds,
)
from leadwise.simulate.dipole import LEADS
from leadwise.simulate.ecg import simulate
from leadwise.simulate.patient import CRITERIA
from leadwise.util.files import atomic_write, write_text
from leadwise.util.progress import track

COUNTS_PER_MV = 1000


def _header(name: str, counts: NDArray[np.int16], sampling_frequency: int, comments: Sequence[str]) -> str:
    """A header in the Challenge's style: 16 bits behind a 24-byte preamble, first value and checksum of each lead."""
    lines = [f"{name} {len(counts)} {sampling_frequency} {counts.shape[1]}"]
    for lead, row in zip(LEADS, counts, strict=True):
        # WFDB's: the sum of all counts in 16 bits with a sign
        checksum = (int(row.sum(dtype=np.int64)) + 32768) % 65536 - 32768
        lines.append(f"{name}.mat 16+24 {COUNTS_PER_MV}/mV 16 0 {row[0]} {checksum} 0 {lead}")
    return "\n".join([*lines, *comments]) + "\n"


def write_record(
    folder: Path, name: str, signal: NDArray[np.float32], sampling_frequency: int, comments: Sequence[str]
) -> None:
    """Writes NAME.mat (MATLAB v4, int16, 1000 counts per mV) and then NAME.hea; `signal` is (12, samples) in mV."""
    # -32768 would be WFDB's "no value"
    counts = np.rint(signal * COUNTS_PER_MV).clip(-32767, 32767).astype(np.int16)
    with atomic_write(folder / f"{name}.mat") as handle:
        # type 30: little-endian, int16, full matrix; rows, columns, no imaginary part, length of the name
        handle.write(struct.pack("<5i4s", 30, *counts.shape, 0, 4, b"val\0"))
        handle.write(counts.astype("<i2").tobytes(order="F"))
    # the header last: a recording is found by it, so none is found whose signal is still to come
    write_text(folder / f"{name}.hea", _header(name, counts, sampling_frequency, comments))


def _plan(recordings: int, sources: Sequence[str], class_floor: float, rng: Generator) -> list[tuple[str, str | None]]:
    """Source of each recording, and the diagnosis that it must have (None: as it comes), in random order.

    Of every diagnosis that the sources know, `class_floor` of all recordings are promised; the rest is as it comes.
    """
    plan: list[tuple[str, str | None]] = []
    for key in CRITERIA:
        # a promised diagnosis comes from a source that writes it, as often as it does
        weights = np.array([count(DATABASES[source], key) for source in sources], dtype=np.float64)
        if weights.sum() > 0:
            places = rng.choice(len(sources), size=math.ceil(class_floor * recordings), p=weights / weights.sum())
            plan += [(sources[place], key) for place in places]
    plan = [plan[place] for place in rng.permutation(len(plan))[:recordings]]  # rounding up may promise too many
    sizes = np.array([count(DATABASES[source], "recordings") for source in sources], dtype=np.float64)
    places = rng.choice(len(sources), size=recordings - len(plan), p=sizes / sizes.sum())
    plan += [(sources[place], None) for place in places]
    return [plan[place] for place in rng.permutation(len(plan))]


def _check(recordings: int, sources: Sequence[str], class_floor: float, longest: float) -> None:
    """Raises ValueError for what `write_folder` cannot do."""
    unknown = [source for source in sources if source not in DATABASES]
    if unknown or not sources or len(set(sources)) < len(sources):
        raise ValueError(f"sources are some of {', '.join(DATABASES)}, each once, not {','.join(sources)!r}")
    if recordings < 1:
        raise ValueError(f"a folder needs at least 1 recording, not {recordings}")
    if not 0 <= class_floor * len(CRITERIA) <= 1:
        raise ValueError(
            f"the share of each of {len(CRITERIA)} classes is from 0 to 1/{len(CRITERIA)}, not {class_floor}"
        )
    if not longest >= 1:
        raise ValueError(f"the longest recording has at least 1 second, not {longest}")


def write_folder(
    folder: str | Path,
    recordings: int,
    seed: int,
    *,
    sources: Sequence[str] = DEFAULT_SOURCES,
    class_floor: float = 0.0,
    noise: float = 1.0,
    longest: float = math.inf,
) -> dict[str, int]:
    """Writes simulated recordings as Challenge files and returns how many there are of each source.

    Sources, lengths, sampling frequencies, ages, sexes, diagnoses and the codes for them are drawn as they occur in the
    real databases (`sources`: prefixes out of `DATABASES`). `class_floor`: the share of recordings that every diagnosis
    has at least (0 to 1/24; most are far rarer in the databases). `noise` as in `simulate`. `longest`: seconds to which
    longer recordings are shortened. Names are source and number, from 1 within each source. The same arguments give the
    same bytes; the first recordings of a longer folder are other ones. Raises ValueError for arguments out of range.
    """
    _check(recordings, sources, class_floor, longest)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # a stream of its own for each recording: what one draws does not move all that follow
    mix, *streams = np.random.default_rng(seed).spawn(1 + recordings)
    written = dict.fromkeys(sources, 0)
    plan = _plan(recordings, sources, class_floor, mix)
    for (source, first), rng in track(zip(plan, streams, strict=True), "simulating", recordings):
        database = DATABASES[source]
        written[source] += 1
        name = f"{source}{written[source]:0{database.digits}d}"
        diagnoses = draw_diagnoses(database, rng, first)
        seconds = min(draw_seconds(database, rng), longest)
        age, sex = draw_person(database, diagnoses, rng)
        signal = simulate(
            diagnoses, int(rng.integers(2**63)), database.sampling_frequency, seconds, noise=noise, mains=database.mains
        )
        codes = ",".join(draw_code(database, key, rng) for key in diagnoses)
        comments = [f"#Age: {'NaN' if age is None else age}", f"#Sex: {sex}", f"#Dx: {codes}"]
        comments += ["#Rx: Unknown", "#Hx: Unknown", f"#Sx: simulated, seed {seed}"]
        write_record(folder, name, signal, database.sampling_frequency, comments)
    return written
