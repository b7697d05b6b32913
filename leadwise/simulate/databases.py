"""Describe the Challenge's databases: prefixes, recorders, patients, and the frequency of each diagnosis."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator

from leadwise.challenge.classes import DIAGNOSES, EQUIVALENTS, find_diagnosis, read_table
from leadwise.simulate.patient import CRITERIA, compatible, diagnoses_of

# A recording has at most one of these; all other diagnoses are added to it.
RHYTHMS = ("NSR", "SB", "STach", "AF", "AFL", "PR", "Brady")

# Mean age of PTB-XL's patients with a diagnosis minus that of all patients, years; differences below 5 are left out.
AGE_DIFFERENCES: Mapping[str, float] = {
    "IAVB": 12, "AF": 12, "RBBB": 12, "LAnFB": 10, "LAD": 6, "LBBB": 13, "LQRSV": 9, "NSIVCB": 6, "PR": 11, "PAC": 13,
    "LPR": 15, "QAb": 11, "RAD": -9, "SA": -13, "STach": 6, "TAb": 7, "TInv": 13,
}  # fmt: skip


@dataclass(frozen=True)
class Database:
    """One source of recordings: names, recorder, patients, and the columns of its counts."""

    prefix: str
    digits: int  # of the number in a recording's name
    sampling_frequency: int  # Hz
    seconds: tuple[float, float, float]  # shortest, most frequent, longest
    most_frequent: float  # share of recordings of the most frequent length; the others lie between the other two
    mains: int  # Hz
    age: float  # mean, years
    female: float  # share
    columns: tuple[str, ...]  # of class_counts.csv; the first also decides which codes the database writes

    def count(self, key: str) -> int:
        """Count the recordings with a diagnosis (a key of `CRITERIA`), or all with the key 'recordings'."""
        return sum(_counts()[key][column] for column in self.columns)

    def draw_code(self, key: str, rng: Generator) -> str:
        """Draw the SNOMED CT code that the database writes for a diagnosis, among equivalents by their frequency."""
        code = find_diagnosis(key).code
        codes = [code, *(replaced for replaced, kept in EQUIVALENTS.items() if kept == code)]
        weights = np.array([_code_counts()[code][self.columns[0]] for code in codes], dtype=np.float64)
        weights += 1e-9 * (np.arange(len(codes)) == 0)  # never counted: the representative
        return codes[int(rng.choice(len(codes), p=weights / weights.sum()))]

    def draw_diagnoses(self, rng: Generator, first: str | None = None) -> tuple[str, ...]:
        """Draw the diagnoses (keys of `CRITERIA`) of one recording, at least one, among them `first`: a rhythm, or
        none, then as many others as keep the database's mean number. Contradictory ones are not drawn."""
        share = {key: self.count(key) / self.count("recordings") for key in CRITERIA}
        share["LAD"] = max(0.0, share["LAD"] - share["LAnFB"])  # left anterior block adds left axis below
        rhythm = {key: share[key] for key in RHYTHMS}
        others = {key: value for key, value in share.items() if key not in RHYTHMS}
        no_rhythm = max(0.0, 1 - sum(rhythm.values()))
        chosen = [first] if first else []
        if first not in RHYTHMS and rng.random() >= no_rhythm:
            chosen += _choose(rhythm, chosen, rng)
        for _ in range(rng.poisson(max(0.0, sum(others.values()) - no_rhythm)) + (not chosen)):
            chosen += _choose(others, chosen, rng)
        if not chosen:
            chosen = ["NSR"]  # a database without any count
        if "LAnFB" in chosen and "LAD" not in chosen and all(compatible("LAD", other) for other in chosen):
            chosen.append("LAD")  # by definition its axis lies beyond -45 degrees
        order = [diagnoses_of(diagnosis.code)[0] for diagnosis in DIAGNOSES]
        return tuple(sorted(chosen, key=order.index))

    def draw_seconds(self, rng: Generator) -> float:
        """Draw the length of a recording, s, in whole milliseconds; short ones are more frequent than long ones."""
        shortest, usual, longest = self.seconds
        if rng.random() < self.most_frequent:
            return usual
        return round(float(shortest * (longest / shortest) ** rng.beta(2, 3)), 3)

    def draw_person(self, diagnoses: Collection[str], rng: Generator) -> tuple[int | None, str]:
        """Draw the age in years (None, unknown, for one in a hundred) and sex of a patient with these diagnoses."""
        difference = float(np.mean([AGE_DIFFERENCES.get(key, 0.0) for key in diagnoses]))
        age = int(np.clip(rng.normal(self.age + difference, 16), 18, 89))
        sex = "Female" if rng.random() < self.female else "Male"
        return (None if rng.random() < 0.01 else age), sex


# Sampling frequencies, lengths, ages and sexes: the Challenge's description (Alday et al. 2020, table 1).
_ALL = (
    Database("A", 4, 500, (6, 10, 60), 0.4, 50, 60.2, 0.46, ("A",)),
    Database("Q", 4, 500, (6, 10, 60), 0.4, 50, 63.7, 0.47, ("Q",)),
    Database("I", 4, 257, (1800, 1800, 1800), 1.0, 50, 56.0, 0.46, ("I",)),
    Database("S", 4, 1000, (10, 115.2, 120), 0.8, 50, 56.3, 0.27, ("S",)),
    Database("HR", 5, 500, (10, 10, 10), 1.0, 50, 59.8, 0.48, ("HR",)),
    Database("E", 5, 500, (5, 10, 10), 0.95, 60, 60.5, 0.46, ("E",)),
    # Another hospital, after the Challenge's undisclosed one: 300 Hz, 10 s, diagnoses as in both large databases.
    Database("U", 5, 300, (10, 10, 10), 1.0, 60, 63.0, 0.47, ("E", "HR")),
)
DATABASES: Mapping[str, Database] = {database.prefix: database for database in _ALL}
DEFAULT_SOURCES = ("A", "E", "HR", "I", "Q", "S")
MAPPING_COLUMNS = {"A": "CPSC", "Q": "CPSC-Extra", "I": "StPetersburg", "S": "PTB", "HR": "PTB-XL", "E": "Georgia"}


@cache
def _counts() -> Mapping[str, Mapping[str, int]]:
    """Return recordings by diagnosis (a key of `CRITERIA`, or 'recordings' for all) and column."""
    rows = {row.pop("class"): row for row in read_table("class_counts.csv")}
    by_key = {code if code == "recordings" else diagnoses_of(code)[0]: row for code, row in rows.items()}
    return {key: {column: int(value) for column, value in row.items()} for key, row in by_key.items()}


@cache
def _code_counts() -> Mapping[str, Mapping[str, int]]:
    """Return the recordings with each of the 27 codes, by code and database prefix."""
    rows = {row["SNOMED CT Code"]: row for row in read_table("dx_mapping_scored.csv")}  # has MAPPING_COLUMNS
    return {code: {prefix: int(row[name]) for prefix, name in MAPPING_COLUMNS.items()} for code, row in rows.items()}


def _choose(weights: Mapping[str, float], chosen: Collection[str], rng: Generator) -> list[str]:
    """Draw a diagnosis by weight among those compatible with all chosen ones; return it, or nothing, as a list."""
    positive = [key for key, weight in weights.items() if weight > 0 and key not in chosen]
    candidates = [key for key in positive if all(compatible(key, other) for other in chosen)]
    if not candidates:
        return []
    values = np.array([weights[key] for key in candidates])
    return [candidates[int(rng.choice(len(values), p=values / values.sum()))]]
