"""Score recordings by subgroup: sex, age, device, sampling frequency, length, source, and leads that are used.

A subgroup is scored by itself, with the answers that its recordings have in the whole. Its constant baseline answers
the best constant labels of all recordings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.metric import challenge_metric
from leadwise.decision.thresholds import best_constant_labels
from leadwise.ecg.header import parse_header
from leadwise.ecg.repairs import RecordingError
from leadwise.model.validation_results import FEMALE, MALE, UNKNOWN, Validation
from leadwise.report.statistics import bootstrap_interval, rewards_of

MIN_RECORDINGS = 20  # smaller subgroups have no score
NOT_KNOWN = "unknown"
SEXES = {FEMALE: "female", MALE: "male", UNKNOWN: NOT_KNOWN}
AGES = {40: "under 40", 60: "40 to 59", 80: "60 to 79", np.inf: "80 and over"}  # years, by the age that ends the band
LENGTHS = {  # s, rounded to tenths, by the length that ends the band; most sources record 10 s
    5: "under 5 s", 10: "5 to under 10 s", 10.05: "10 s",
    30.05: "over 10 to 30 s", 120.05: "over 30 s to 2 min", np.inf: "over 2 min",
}  # fmt: skip
STEPS = np.outer(10.0 ** np.arange(-3, 4), (1, 2, 5)).ravel()  # uV: measured steps of one device type scatter a little

Booleans = NDArray[np.bool_]
Masks = dict[str, Booleans]  # (n,) by the name of the group


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of n recordings, (n,) each; an unknown number is NaN."""

    sexes: NDArray[np.int8]  # UNKNOWN, FEMALE or MALE
    ages: NDArray[np.float32]  # years
    frequencies: NDArray[np.float32]  # Hz
    seconds: NDArray[np.float32]
    steps: NDArray[np.float32]  # uV, of the analogue-to-digital converter
    sources: tuple[str, ...]  # letter prefix of the name

    @classmethod
    def of(cls, recordings: Validation) -> Facts:
        """Return what the validation results say."""
        return cls(**{field.name: getattr(recordings, field.name) for field in fields(cls)})

    @classmethod
    def of_headers(cls, paths: Sequence[Path]) -> Facts:
        """Return what header files say; nothing is known of a recording with an invalid header."""
        sexes, ages, frequencies, seconds, sources = zip(*map(_read_header, paths), strict=True)
        return cls(
            sexes=np.array(sexes, np.int8),
            ages=np.array(ages, np.float32),
            frequencies=np.array(frequencies, np.float32),
            seconds=np.array(seconds, np.float32),
            steps=np.full(len(paths), np.nan, np.float32),  # only a signal shows its step
            sources=sources,
        )


def _read_header(path: Path) -> tuple[int, float, float, float, str]:
    """Return sex, age, sampling frequency, length and source."""
    try:
        header = parse_header(path.read_bytes(), path.name)
    except (RecordingError, OSError):
        return UNKNOWN, math.nan, math.nan, math.nan, ""
    sex = {None: UNKNOWN, "female": FEMALE, "male": MALE}[header.sex]
    age = math.nan if header.age is None else header.age
    seconds = header.samples / header.sampling_frequency if header.samples else math.nan
    return sex, age, header.sampling_frequency, seconds, header.source


@dataclass(frozen=True, eq=False)
class Group:
    """Recordings that are scored together."""

    grouping: str  # "sex"
    name: str  # "female"
    labels: Booleans  # (recordings, 24)
    answers: Booleans  # (recordings, 24)


@dataclass(frozen=True)
class Subgroup:
    """A row of the table; the scores are NaN below `MIN_RECORDINGS`."""

    grouping: str
    name: str
    recordings: int
    score: float  # challenge metric
    interval: tuple[float, float]
    constant: float  # score of the constant baseline

    @property
    def scored(self) -> bool:
        """Return whether the subgroup is large enough for a score."""
        return self.recordings >= MIN_RECORDINGS


@dataclass(frozen=True)
class Subgroups:
    """The table by subgroup."""

    rows: tuple[Subgroup, ...]  # those of one grouping in a row
    uniform: dict[str, str]  # groupings in which all recordings are in one group, with its name

    @property
    def groupings(self) -> list[tuple[str, list[Subgroup]]]:
        """Return the rows of each grouping."""
        return [(name, list(rows)) for name, rows in groupby(self.rows, lambda row: row.grouping)]


def subgroups_of(facts: Facts, labels: Booleans, answers: Booleans, more: Sequence[Group] = ()) -> Subgroups:
    """Return the table of recordings with their labels and answers, (n, 24) each; its first row has all of them, its
    last ones are those of `more`."""
    groups, uniform = [Group("all", "all recordings", labels, answers)], {}
    for grouping, masks in masks_of(facts).items():
        if len(masks) == 1:
            uniform[grouping] = next(iter(masks))
        else:
            groups += [Group(grouping, name, labels[mask], answers[mask]) for name, mask in masks.items()]
    return Subgroups(tuple(score_groups([*groups, *more], best_constant_labels(labels))), uniform)


def score_groups(groups: Iterable[Group], constant: Booleans) -> list[Subgroup]:
    """Return a row for each group; `constant` (24,) are the labels of the constant baseline."""
    return [_score(group, constant) for group in groups]


def _score(group: Group, constant: Booleans) -> Subgroup:
    labels, answers, count = group.labels, group.answers, len(group.labels)
    if count < MIN_RECORDINGS:
        return Subgroup(group.grouping, group.name, count, np.nan, (np.nan, np.nan), np.nan)
    interval = bootstrap_interval(rewards_of(labels, answers))
    baseline = challenge_metric(labels, np.broadcast_to(constant, labels.shape))
    return Subgroup(group.grouping, group.name, count, challenge_metric(labels, answers), interval, baseline)


def masks_of(facts: Facts) -> dict[str, Masks]:
    """Return the groups of each grouping without the empty ones; each recording is in one group of each."""
    sources = np.array(facts.sources)
    found: dict[str, Masks] = {
        "sex": {name: facts.sexes == sex for sex, name in SEXES.items()},
        "age": _bands(np.round(facts.ages, 2), AGES),  # a stored age may read 59.999996
        "device": _devices(facts.frequencies, nominal_steps(facts.steps)),
        "sampling frequency": _values(facts.frequencies, "{:g} Hz"),
        "length": _bands(np.round(facts.seconds, 1), LENGTHS),
        "source": {source or "none": sources == source for source in np.unique(sources).tolist()},
    }
    return {grouping: {name: mask for name, mask in masks.items() if mask.any()} for grouping, masks in found.items()}


def nominal_steps(steps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return for each ADC step, (n,), the nearest value of the series 1, 2, 5, 10, ... uV, NaN for NaN."""
    distances = np.abs(np.log(steps[:, None]) - np.log(STEPS))  # (n, values)
    return np.where(np.isfinite(steps), STEPS[np.argmin(distances, axis=1)], np.nan)


def _bands(values: NDArray[np.float32], ends: Mapping[float, str]) -> Masks:
    """Return the values below each end and not below the end before."""
    place = np.digitize(values, list(ends)[:-1])
    bands = {name: np.isfinite(values) & (place == k) for k, name in enumerate(ends.values())}
    return bands | {NOT_KNOWN: ~np.isfinite(values)}


def _values(values: NDArray[np.floating], text: str) -> Masks:
    """Return the recordings of each value, formatted with `text`."""
    known = np.unique(values[np.isfinite(values)]).tolist()
    return {text.format(value): values == value for value in known} | {NOT_KNOWN: ~np.isfinite(values)}


def _devices(frequencies: NDArray[np.float32], steps: NDArray[np.float64]) -> Masks:
    """Return the recordings of each sampling frequency and ADC step."""
    groups: Masks = {}
    for hertz, same_frequency in _values(frequencies, "{:g} Hz").items():
        for microvolts, same_step in _values(steps, "{:g} µV").items():
            known = NOT_KNOWN not in (hertz, microvolts)
            name = f"{hertz}, {microvolts}" if known else NOT_KNOWN
            groups[name] = groups.get(name, False) | (same_frequency & same_step)
    return groups
