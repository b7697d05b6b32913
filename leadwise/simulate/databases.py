"""What the Challenge's databases are like: prefixes, machines, patients, and how often each diagnosis occurs in them.

Counts of diagnoses come from `class_counts.csv` (recordings of each scored class among the 37,749 with one), the codes
that stand for them from `dx_mapping_scored.csv`. Knows no signals and writes no files.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator

from leadwise.challenge.classes import DATA_FOLDER, DIAGNOSES, EQUIVALENTS, find_diagnosis
from leadwise.simulate.patient import CRITERIA, compatible, diagnoses_of


@dataclass(frozen=True)
class Database:
    """One source of recordings: design and machine, patients, and where its counts stand."""

    prefix: str
    digits: int  # of the number in a recording's name
    sampling_frequency: int  # Hz
    seconds: tuple[float, float, float]  # shortest, most frequent, longest
    usual: float  # share of recordings of the most frequent length; the others lie between the other two
    mains: int  # Hz
    age: float  # mean, years
    female: float  # share
    columns: tuple[str, ...]  # of class_counts.csv; the first also tells which codes the database writes


# Sampling frequencies and lengths: the Challenge's description (Alday et al. 2020, table 1), ages and sexes likewise.
DATABASES: Mapping[str, Database] = {
    database.prefix: database
    for database in (
        Database("A", 4, 500, (6, 10, 60), 0.4, 50, 60.2, 0.46, ("A",)),
        Database("Q", 4, 500, (6, 10, 60), 0.4, 50, 63.7, 0.47, ("Q",)),
        Database("I", 4, 257, (1800, 1800, 1800), 1.0, 50, 56.0, 0.46, ("I",)),
        Database("S", 4, 1000, (10, 115.2, 120), 0.8, 50, 56.3, 0.27, ("S",)),
        Database("HR", 5, 500, (10, 10, 10), 1.0, 50, 59.8, 0.48, ("HR",)),
        Database("E", 5, 500, (5, 10, 10), 0.95, 60, 60.5, 0.46, ("E",)),
        # Another hospital, after the Challenge's undisclosed one: 300 Hz, 10 s, diagnoses as in both large databases.
        Database("U", 5, 300, (10, 10, 10), 1.0, 60, 63.0, 0.47, ("E", "HR")),
    )
}
DEFAULT_SOURCES = ("A", "E", "HR", "I", "Q", "S")

MAPPING_COLUMNS = {"A": "CPSC", "Q": "CPSC-Extra", "I": "StPetersburg", "S": "PTB", "HR": "PTB-XL", "E": "Georgia"}

# One of these is the rhythm of a recording; all other diagnoses come on top of it.
RHYTHMS = ("NSR", "SB", "STach", "AF", "AFL", "PR", "Brady")

# Years by which PTB-XL's patients with a diagnosis are older than all of them; diagnoses within 5 years are left out.
OLDER: Mapping[str, float] = {
    "IAVB": 12, "AF": 12, "RBBB": 12, "LAnFB": 10, "LAD": 6, "LBBB": 13, "LQRSV": 9, "NSIVCB": 6, "PR": 11, "PAC": 13,
    "LPR": 15, "QAb": 11, "RAD": -9, "SA": -13, "STach": 6, "TAb": 7, "TInv": 13,
}  # fmt: skip


@cache
def _counts() -> Mapping[str, Mapping[str, int]]:
    """Recordings by diagnosis (a key of `CRITERIA`, or 'recordings' for all) and column."""
    with (DATA_FOLDER / "class_counts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = {
        row["class"]: "recordings" if row["class"] == "recordings" else diagnoses_of(row["class"])[0] for row in rows
    }
    return {keys[row["class"]]: {name: int(value) for name, value in row.items() if name != "class"} for row in rows}


def count(database: Database, key: str) -> int:
    """How many recordings of a database have a diagnosis (a key of `CRITERIA`); 'recordings': how many there are."""
    return sum(_counts()[key][column] for column in database.columns)


@cache
def _code_counts() -> Mapping[str, Mapping[str, int]]:
    """How often each of the 27 codes occurs, by code and column of class_counts.csv."""
    with (DATA_FOLDER / "dx_mapping_scored.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        row["SNOMED CT Code"]: {prefix: int(row[column]) for prefix, column in MAPPING_COLUMNS.items()} for row in rows
    }


def draw_code(database: Database, key: str, rng: Generator) -> str:
    """The SNOMED CT code that the database would write for a diagnosis: of two that are equivalent, its usual one."""
    code = find_diagnosis(key).code
    codes = [code, *(replaced for replaced, kept in EQUIVALENTS.items() if kept == code)]
    weights = np.array([_code_counts()[code][database.columns[0]] for code in codes], dtype=np.float64)
    weights += 1e-9 * (np.arange(len(codes)) == 0)  # never counted: the representative
    return codes[int(rng.choice(len(codes), p=weights / weights.sum()))]


def shares(database: Database) -> dict[str, float]:
    """The share of recordings that each diagnosis is drawn for; left anterior block brings left axis with it."""
    total = count(database, "recordings")
    result = {key: count(database, key) / total for key in CRITERIA}
    result["LAD"] = max(0.0, result["LAD"] - result["LAnFB"])
    return result


def _choose(weights: Mapping[str, float], chosen: Collection[str], rng: Generator) -> str | None:
    """One diagnosis by weight among those that go with all chosen ones; None where there is none."""
    open_ = {
        key: weight
        for key, weight in weights.items()
        if weight > 0 and key not in chosen and all(compatible(key, other) for other in chosen)
    }
    if not open_:
        return None
    values = np.array(list(open_.values()))
    return list(open_)[int(rng.choice(len(values), p=values / values.sum()))]


def draw_diagnoses(database: Database, rng: Generator, first: str | None = None) -> tuple[str, ...]:
    """Diagnoses (keys of `CRITERIA`) of one recording, at least one, as often and as many as in the database.

    A rhythm (or none that is named) by its share, then others on top: as many as keep the database's mean number.
    Where two contradict each other the later one gives way. `first` is a diagnosis that the recording must have.
    """
    share = shares(database)
    rhythm = {key: share[key] for key in RHYTHMS}
    others = {key: value for key, value in share.items() if key not in RHYTHMS}
    unnamed = max(0.0, 1 - sum(rhythm.values()))
    chosen = [first] if first else []
    if first not in RHYTHMS and rng.random() >= unnamed:
        chosen += [key for key in [_choose(rhythm, chosen, rng)] if key]
    extra = rng.poisson(max(0.0, sum(others.values()) - unnamed)) + (not chosen)
    for _ in range(extra):
        chosen += [key for key in [_choose(others, chosen, rng)] if key]
    if not chosen:
        chosen = ["NSR"]  # a database without any count: as a healthy heart
    if "LAnFB" in chosen and "LAD" not in chosen and all(compatible("LAD", other) for other in chosen):
        chosen.append("LAD")  # its axis lies beyond -45 degrees by definition
    order = [diagnoses_of(diagnosis.code)[0] for diagnosis in DIAGNOSES]
    return tuple(sorted(chosen, key=order.index))


def draw_seconds(database: Database, rng: Generator) -> float:
    """The length of a recording, s, in whole milliseconds; short ones are more frequent than long ones."""
    shortest, usual, longest = database.seconds
    if rng.random() < database.usual:
        return usual
    return round(float(shortest * (longest / shortest) ** rng.beta(2, 3)), 3)


def draw_person(database: Database, diagnoses: Collection[str], rng: Generator) -> tuple[int | None, str]:
    """Age in years (None: not known, one in a hundred) and sex of a patient with these diagnoses."""
    older = float(np.mean([OLDER.get(key, 0.0) for key in diagnoses]))
    age = int(np.clip(rng.normal(database.age + older, 16), 18, 89))
    sex = "Female" if rng.random() < database.female else "Male"
    return (None if rng.random() < 0.01 else age), sex
