"""Write simulated ECGs as Challenge files, mixed as in the Challenge's databases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leadwise.ecg.files.challenge_files import write_record
from leadwise.ecg.header import STANDARD_LEADS, LeadHeader
from leadwise.simulate.databases import DATABASES, DEFAULT_SOURCES
from leadwise.simulate.ecg import simulate
from leadwise.simulate.patient import CRITERIA
from leadwise.util.progress import track

COUNTS_PER_MV = 1000


_LEADS = [LeadHeader(lead, "", "16+24", COUNTS_PER_MV, 0) for lead in STANDARD_LEADS]


def _write_record(folder: Path, name: str, signal: NDArray[np.float32], frequency: int, comments: list[str]) -> None:
    """Write a signal (12, samples) in mV, sampled at `frequency` Hz, as NAME.mat and NAME.hea."""
    # -32768 would be WFDB's "no value"
    counts = np.rint(signal * COUNTS_PER_MV).clip(-32767, 32767).astype(np.int16)
    write_record(folder, name, frequency, _LEADS, counts, comments)


def _plan(recordings: int, sources: Sequence[str], class_floor: float, rng: Generator) -> list[tuple[str, str | None]]:
    """Draw the source of each recording and the diagnosis that it must have (None: any), in random order.
    Every diagnosis of the sources is required in a share of `class_floor` of the recordings."""
    databases = [DATABASES[source] for source in sources]
    plan: list[tuple[str, str | None]] = []
    for key in CRITERIA:
        # A required diagnosis comes from a source that writes it, in proportion to its counts.
        weights = np.array([database.count(key) for database in databases], dtype=np.float64)
        if weights.sum() > 0:
            places = rng.choice(len(sources), size=math.ceil(class_floor * recordings), p=weights / weights.sum())
            plan += [(sources[place], key) for place in places]
    plan = [plan[place] for place in rng.permutation(len(plan))[:recordings]]  # rounding up may require too many
    sizes = np.array([database.count("recordings") for database in databases], dtype=np.float64)
    places = rng.choice(len(sources), size=recordings - len(plan), p=sizes / sizes.sum())
    plan += [(sources[place], None) for place in places]
    return [plan[place] for place in rng.permutation(len(plan))]


def _check(recordings: int, sources: Sequence[str], class_floor: float, longest: float) -> None:
    if not sources or len(set(sources)) < len(sources) or not set(sources) <= set(DATABASES):
        raise ValueError(f"sources are some of {', '.join(DATABASES)}, each once, not {','.join(sources)!r}")
    if recordings < 1:
        raise ValueError(f"a folder needs at least 1 recording, not {recordings}")
    if not 0 <= class_floor * len(CRITERIA) <= 1:
        raise ValueError(f"the class floor must be from 0 to 1/{len(CRITERIA)}, not {class_floor}")
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
    """Write simulated recordings as Challenge files, drawn with the frequencies of the real databases.

    Parameters
    ----------
    folder : str or Path
        Created if missing. Files are named by source and number, from 1 in each source.
    recordings, seed : int
        Same arguments, same bytes; with another number of recordings all of them differ.
    sources : sequence of str
        Prefixes out of `DATABASES`.
    class_floor : float
        Least share of recordings with each diagnosis, 0 to 1/24; most are far rarer in the databases.
    noise, longest : float
        Factor as in `simulate`; length in seconds to which longer recordings are cut.

    Returns
    -------
    dict of str to int
        Number of recordings by source.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    _check(recordings, sources, class_floor, longest)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # One stream for each recording, so that the draws of one do not affect the others.
    mix, *streams = np.random.default_rng(seed).spawn(1 + recordings)
    written = dict.fromkeys(sources, 0)
    plan = _plan(recordings, sources, class_floor, mix)
    for (source, first), rng in track(zip(plan, streams, strict=True), "simulating", recordings):
        database = DATABASES[source]
        written[source] += 1
        name = f"{source}{written[source]:0{database.digits}d}"
        diagnoses = database.draw_diagnoses(rng, first)
        seconds = min(database.draw_seconds(rng), longest)
        age, sex = database.draw_person(diagnoses, rng)
        frequency, mains, signal_seed = database.sampling_frequency, database.mains, int(rng.integers(2**63))
        signal = simulate(diagnoses, signal_seed, frequency, seconds, noise=noise, mains=mains)
        codes = ",".join(database.draw_code(key, rng) for key in diagnoses)
        comments = [f"#Age: {'NaN' if age is None else age}", f"#Sex: {sex}", f"#Dx: {codes}"]
        comments += ["#Rx: Unknown", "#Hx: Unknown", f"#Sx: simulated, seed {seed}"]
        _write_record(folder, name, signal, frequency, comments)
    return written
