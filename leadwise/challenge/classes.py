"""Define the 24 scored diagnoses: codes, names, equivalents, rewards and reference prevalence."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATA_FOLDER = Path(__file__).resolve().parent / "tables"

# The tables have 27 codes; three pairs are scored as one diagnosis (notes of dx_mapping_scored.csv).
# Replaced code -> the code that represents both: RBBB -> CRBBB, SVPB -> PAC, VPB -> PVC.
EQUIVALENTS: Mapping[str, str] = {"59118001": "713427006", "63593006": "284470004", "17338001": "427172004"}

# The Challenge of 2021 scores one more pair as one diagnosis: complete LBBB -> LBBB. In labels of a training it counts
# as that; for the evaluator of 2020 it is an unscored code.
EQUIVALENTS_2021: Mapping[str, str] = {"733534002": "164909002"}

# Unscored code -> the scored class it implies. Some sources write only the unscored code.
PROXY_CODES: Mapping[str, str] = {"164884008": "427172004"}  # ventricular ectopics -> PVC

# The four largest sources of the Challenge (columns of class_counts.csv); their mean is the reference prevalence.
REFERENCE_SOURCES = ("A", "E", "HR", "Q")


@dataclass(frozen=True)
class Diagnosis:
    """One scored diagnosis: SNOMED CT code, name and abbreviation as in the Challenge's table."""

    code: str
    name: str
    abbreviation: str


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of one of the Challenge's tables, each as column name -> text."""
    with (DATA_FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _read_rewards() -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the 24 codes in the order of the weight matrix, and the (24, 24) rewards [right code, answered code]."""
    rows = {row[""]: row for row in read_table("weights2020.csv")}
    codes = tuple(code for code in rows if code not in EQUIVALENTS)
    rewards = np.array([[float(rows[right][answer]) for answer in codes] for right in codes])
    rewards.flags.writeable = False  # shared by every caller
    return codes, rewards


CODES, REWARDS = _read_rewards()
_ROWS = [(row["SNOMED CT Code"], row["Dx"], row["Abbreviation"]) for row in read_table("dx_mapping_scored.csv")]
_BY_CODE = {row[0]: Diagnosis(*row) for row in _ROWS}  # all 27
DIAGNOSES: tuple[Diagnosis, ...] = tuple(_BY_CODE[code] for code in CODES)
SINUS_RHYTHM: int = CODES.index("426783006")

_INDICES = {code: CODES.index(EQUIVALENTS.get(code, code)) for code in _BY_CODE}
# Lower-case abbreviations, including those of replaced codes: RBBB finds CRBBB, SVPB finds PAC, VPB finds PVC.
_ABBREVIATIONS = {diagnosis.abbreviation.lower(): _INDICES[code] for code, diagnosis in _BY_CODE.items()}


@cache
def reference_prevalence() -> NDArray[np.float64]:
    """Return the prevalence (24,) that an unknown hospital is assumed to have: the mean over `REFERENCE_SOURCES` of
    each class's share of the recordings with a scored class."""
    rows = {row["class"]: row for row in read_table("class_counts.csv")}
    counts = np.array([[float(rows[code][source]) for source in REFERENCE_SOURCES] for code in (*CODES, "recordings")])
    prevalence = np.asarray((counts[:-1] / counts[-1]).mean(axis=1))
    prevalence.flags.writeable = False  # shared by every caller
    return prevalence


def find_diagnosis(key: str) -> Diagnosis:
    """Return the diagnosis of one of the 27 scored SNOMED CT codes or abbreviations (any case), or of its
    representative. Raises ValueError for any other key."""
    index = _INDICES.get(key.strip(), _ABBREVIATIONS.get(key.strip().lower()))
    if index is None:
        raise ValueError(f"{key!r} is no scored diagnosis: neither a code nor an abbreviation of the Challenge's table")
    return DIAGNOSES[index]


def class_index(code: str) -> int | None:
    """Return the index of a SNOMED CT code, or of its representative, among the 24; None if it is not scored."""
    return _INDICES.get(code)


def label_vector(codes: Iterable[str]) -> NDArray[np.bool_]:
    """Return the labels (24,) of SNOMED CT codes: equivalents replaced, unscored codes dropped."""
    labels = np.zeros(len(CODES), dtype=np.bool_)
    labels[[index for code in codes if (index := class_index(code.strip())) is not None]] = True
    return labels


def training_label_vector(codes: Iterable[str]) -> NDArray[np.bool_]:
    """Return the labels (24,) of SNOMED CT codes for a training: equivalents of 2020 and 2021 replaced."""
    return label_vector(EQUIVALENTS_2021.get(code.strip(), code) for code in codes)


def proxy_label_vector(codes: Iterable[str]) -> NDArray[np.bool_]:
    """Return the proxy labels (24,): scored classes that unscored codes imply (see `PROXY_CODES`)."""
    return label_vector(PROXY_CODES[code.strip()] for code in codes if code.strip() in PROXY_CODES)
