"""A simulated patient: the numbers that decide what the ECG looks like, and which of them each diagnosis sets.

`CRITERIA` is the whole medicine of the simulator: a diagnosis is a row of ranges and choices. Two diagnoses can be
combined when they set different numbers. What is not set is drawn as in healthy people. Knows no signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from numpy.random import Generator

from leadwise.challenge.classes import find_diagnosis

Choice = tuple[float, float] | tuple[str, ...]  # a range, drawn from uniformly, or names, of which one is chosen


@dataclass(frozen=True)
class Patient:
    """What one recording is made from; ms, mV, degrees and beats a minute."""

    rhythm: str = "sinus"  # sinus, fibrillation, flutter, junctional, paced
    heart_rate: float = 75.0
    irregularity: float = 0.01  # breathing's share of the RR interval: RR swings by +- this much
    pac: float = 0.0  # premature atrial contractions in 10 s
    pvc: float = 0.0  # premature ventricular contractions in 10 s
    pr: float = 155.0  # onset of P to onset of QRS
    qrs: float = 90.0  # width of QRS
    qtc: float = 410.0  # QT by Bazett
    axis: float = 45.0  # of QRS in the frontal plane
    limb_voltage: float = 1.1  # largest QRS of the limb leads, peak to peak
    conduction: str = "normal"  # normal, RBBB, IRBBB, LBBB, slow (no bundle-branch pattern), paced
    fascicle: str = "normal"  # normal, anterior (block of the left anterior fascicle)
    q_wave: str = "none"  # none, or the wall that is lost: inferior, anterior, lateral
    t_wave: str = "normal"  # normal, flat, biphasic, secondary (against QRS), or inverted: lateral, anterior, inferior


# What healthy people have, drawn for all that no diagnosis sets.
HEALTHY: Mapping[str, Choice] = {
    "heart_rate": (62, 96),
    "irregularity": (0.005, 0.03),
    "pr": (125, 185),
    "qrs": (76, 104),
    "qtc": (380, 440),
    "axis": (-15, 82),
    "limb_voltage": (0.7, 2.0),
}

_NO_ATRIA: Mapping[str, Choice] = {"pr": (0, 0), "pac": (0, 0)}  # no P wave: nothing to be early or late

# Criteria: Surawicz et al. 2009 (conduction and axis; AHA/ACCF/HRS), Rautaharju et al. 2009 (QT and T waves; the same),
# Thygesen et al. 2018 (Q waves). Ranges keep a margin to the limits, so that a measurement agrees.
CRITERIA: Mapping[str, Mapping[str, Choice]] = {
    "NSR": {"rhythm": ("sinus",), "heart_rate": (63, 97)},
    "SB": {"rhythm": ("sinus",), "heart_rate": (40, 57)},
    "STach": {"rhythm": ("sinus",), "heart_rate": (104, 150), "irregularity": (0.002, 0.015)},
    "SA": {"rhythm": ("sinus",), "irregularity": (0.13, 0.22)},
    "Brady": {"rhythm": ("junctional",), "heart_rate": (35, 55), "irregularity": (0.002, 0.02), **_NO_ATRIA},
    "AF": {"rhythm": ("fibrillation",), "heart_rate": (62, 140), "irregularity": (0, 0), **_NO_ATRIA},
    "AFL": {"rhythm": ("flutter",), "heart_rate": (68, 155), "irregularity": (0, 0), **_NO_ATRIA},
    "PR": {
        "rhythm": ("paced",),
        "heart_rate": (60, 85),
        "irregularity": (0, 0.001),
        **_NO_ATRIA,
        "conduction": ("paced",),
        "qrs": (135, 180),
        "axis": (-85, -40),
        "fascicle": ("normal",),
        "q_wave": ("none",),
        "t_wave": ("secondary",),
        "limb_voltage": (0.8, 2.0),
    },
    "PAC": {"pac": (1.0, 3.0)},
    "PVC": {"pvc": (1.0, 3.5)},
    "IAVB": {"pr": (225, 340)},
    "LPR": {"pr": (209, 238)},
    "RBBB": {"conduction": ("RBBB",), "qrs": (127, 160), "q_wave": ("none",)},
    "IRBBB": {"conduction": ("IRBBB",), "qrs": (112, 118), "q_wave": ("none",), "fascicle": ("normal",)},
    "LBBB": {
        "conduction": ("LBBB",),
        "qrs": (130, 170),
        "fascicle": ("normal",),
        "q_wave": ("none",),
        "t_wave": ("secondary",),
        "limb_voltage": (0.6, 1.5),
    },
    "NSIVCB": {"conduction": ("slow",), "qrs": (112, 118), "fascicle": ("normal",), "q_wave": ("none",)},
    "LAnFB": {"fascicle": ("anterior",), "axis": (-78, -48), "q_wave": ("none",)},
    "LAD": {"axis": (-78, -36)},
    "RAD": {"axis": (97, 145)},
    "LQRSV": {"limb_voltage": (0.24, 0.44)},
    "LQT": {"qtc": (490, 560)},
    "QAb": {"q_wave": ("inferior", "anterior", "lateral"), "qrs": (98, 107), "conduction": ("normal",)},
    "TAb": {"t_wave": ("flat", "flat", "biphasic")},
    "TInv": {"t_wave": ("lateral", "anterior", "inferior")},
}

# Pairs that set different numbers but contradict each other, or would hide each other's criterion.
CONTRADICTIONS: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for pair in (
        ("STach", "SA"),  # fast hearts do not follow breathing
        ("LBBB", "RAD"),
        ("QAb", "LAD"),  # a lost wall turns the axis by itself
        ("QAb", "RAD"),
    )
)


def _abbreviation(diagnosis: str) -> str:
    """The key of `CRITERIA` for a code or an abbreviation."""
    found = find_diagnosis(diagnosis).abbreviation
    return {"CRBBB": "RBBB"}.get(found, found)


def diagnoses_of(diagnosis: str | Sequence[str]) -> tuple[str, ...]:
    """Keys of `CRITERIA` for one diagnosis or several, each by SNOMED CT code or abbreviation.

    Raises ValueError for a diagnosis that is not scored and for a pair that cannot be combined.
    """
    given = [diagnosis] if isinstance(diagnosis, str) else list(diagnosis)
    keys = tuple(dict.fromkeys(_abbreviation(key) for key in given))
    for position, key in enumerate(keys):
        for other in keys[:position]:
            if not compatible(other, key):
                raise ValueError(f"{other} and {key} cannot be simulated in one recording")
    return keys


def _narrower(one: Choice, other: Choice) -> Choice | None:
    """Of two ranges (or lists of names) the one that lies within the other; None where neither does."""
    for inner, outer in ((one, other), (other, one)):
        if isinstance(inner[0], str):
            within = set(inner) <= set(outer)
        else:
            within = not isinstance(outer[0], str) and outer[0] <= inner[0] and inner[1] <= outer[1]
        if within:
            return inner
    return None


def compatible(one: str, other: str) -> bool:
    """Whether two keys of `CRITERIA` can be had together: of each number that both set, one range is in the other."""
    if frozenset((one, other)) in CONTRADICTIONS:
        return False
    shared = CRITERIA[one].keys() & CRITERIA[other].keys()
    return all(_narrower(CRITERIA[one][name], CRITERIA[other][name]) is not None for name in shared)


def draw_patient(diagnoses: Sequence[str], rng: Generator) -> Patient:
    """A patient with these diagnoses (keys of `CRITERIA`, compatible) and no other; without any: healthy."""
    ranges: dict[str, Choice] = {}
    for diagnosis in diagnoses:
        for name, choice in CRITERIA[diagnosis].items():
            ranges[name] = _narrower(choice, ranges.get(name, choice)) or choice
    ranges = {**HEALTHY, **ranges}
    # Always all fields in one order: what a diagnosis leaves alone does not depend on it.
    values: dict[str, Any] = {}
    for field in fields(Patient):
        fraction = rng.random()
        if field.name in ranges:
            values[field.name] = _draw(ranges[field.name], fraction)
    return Patient(**values)


def _draw(choice: Choice, fraction: float) -> float | str:
    """The value at `fraction` (0 to below 1) of a range, or of a list of names."""
    if isinstance(choice[0], str):
        return choice[int(fraction * len(choice))]
    low, high = float(choice[0]), float(choice[1])
    return low + fraction * (high - low)
