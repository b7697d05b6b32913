"""The 24 diagnoses of the Challenge: codes, names, equivalents, rewards.

Everything comes from the Challenge's own two tables in `data/`: `weights2020.csv` (27 scored SNOMED CT codes and the
reward of answering one where another is right) and `dx_mapping_scored.csv` (their names). Three pairs are scored as one
diagnosis, which leaves 24. This file knows no recordings, no answers and no tensors.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

DATA_FOLDER = Path(__file__).resolve().parent / "tables"

# Replaced code -> the code that represents both; notes of dx_mapping_scored.csv: "We score ... as the same diagnosis."
EQUIVALENTS: Mapping[str, str] = MappingProxyType(
    {
        "59118001": "713427006",  # RBBB -> CRBBB
        "63593006": "284470004",  # SVPB -> PAC
        "17338001": "427172004",  # VPB -> PVC
    }
)


# Unscored code -> scored class that it means, for sources that write the one and never the other.
PROXY_CODES: Mapping[str, str] = MappingProxyType({"164884008": "427172004"})  # ventricular ectopics -> PVC

# The larger sources of the Challenge, for what a hospital is like in general (columns of class_counts.csv).
REFERENCE_SOURCES = ("A", "E", "HR", "Q")


@dataclass(frozen=True)
class Diagnosis:
    """One scored diagnosis: SNOMED CT code, name and abbreviation as the Challenge's table has them."""

    code: str
    name: str
    abbreviation: str


def _read_rewards() -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The codes of the weight matrix, representatives only, in its order, and the (24, 24) rewards between them."""
    with (DATA_FOLDER / "weights2020.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    codes = tuple(code for code in header[1:] if code not in EQUIVALENTS)
    by_label = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}
    rewards = np.array([[float(by_label[right][answer]) for answer in codes] for right in codes])
    rewards.flags.writeable = False  # shared by every caller
    return codes, rewards


def _read_names() -> dict[str, Diagnosis]:
    """Code -> diagnosis for all 27 codes of the Challenge's table."""
    with (DATA_FOLDER / "dx_mapping_scored.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["SNOMED CT Code"]: Diagnosis(row["SNOMED CT Code"], row["Dx"], row["Abbreviation"]) for row in rows}


CODES, REWARDS = _read_rewards()
_NAMES = _read_names()
DIAGNOSES: tuple[Diagnosis, ...] = tuple(_NAMES[code] for code in CODES)
SINUS_RHYTHM: int = CODES.index("426783006")

_INDICES = {code: index for index, code in enumerate(CODES)} | {
    replaced: CODES.index(representative) for replaced, representative in EQUIVALENTS.items()
}
# Abbreviations in any case, those of the replaced codes too: RBBB finds CRBBB, SVPB finds PAC, VPB finds PVC.
_ABBREVIATIONS = {diagnosis.abbreviation.lower(): _INDICES[code] for code, diagnosis in _NAMES.items()}


@cache
def reference_prevalence() -> NDArray[np.float64]:
    """How frequent the 24 classes are in a hospital of which nothing is known, (24,): the mean over the Challenge's
    larger sources, each weighing alike (class_counts.csv: recordings of each class among those with a scored one)."""
    with (DATA_FOLDER / "class_counts.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    counts = np.array([[float(rows[code][source]) for source in REFERENCE_SOURCES] for code in (*CODES, "recordings")])
    frequencies = np.asarray((counts[:-1] / counts[-1]).mean(axis=1))
    frequencies.flags.writeable = False  # shared by every caller
    return frequencies


def find_diagnosis(key: str) -> Diagnosis:
    """The diagnosis of a SNOMED CT code or an abbreviation (any case); a replaced one gives its representative.

    Raises ValueError where `key` is none of the 27 scored codes or their abbreviations.
    """
    index = _INDICES.get(key.strip(), _ABBREVIATIONS.get(key.strip().lower()))
    if index is None:
        raise ValueError(f"{key!r} is no scored diagnosis: neither a code nor an abbreviation of the Challenge's table")
    return DIAGNOSES[index]


def class_index(code: str) -> int | None:
    """Where a SNOMED CT code stands among the 24, a replaced one where its representative does; None: not scored."""
    return _INDICES.get(code)


def label_vector(codes: Iterable[str]) -> NDArray[np.bool_]:
    """Which of the 24 diagnoses `codes` name, (24,): equivalents replaced, codes that are not scored dropped."""
    labels = np.zeros(len(CODES), dtype=np.bool_)
    for code in codes:
        index = class_index(code.strip())
        if index is not None:
            labels[index] = True
    return labels


def proxy_label_vector(codes: Iterable[str]) -> NDArray[np.bool_]:
    """Which of the 24 diagnoses `codes` mean by a stand-in, (24,)."""
    return label_vector(PROXY_CODES[code.strip()] for code in codes if code.strip() in PROXY_CODES)
