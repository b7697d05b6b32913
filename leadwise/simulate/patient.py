"""Define a simulated patient: the parameters of an ECG, and which of them each diagnosis sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from numpy.random import Generator

from leadwise.challenge.classes import find_diagnosis

Choice = tuple[float, float] | tuple[str, ...]  # a range, drawn from uniformly, or names, of which one is chosen


@dataclass(frozen=True)
class Patient:
    """The parameters of one recording; ms, mV, degrees and beats a minute."""

    rhythm: str = "sinus"  # sinus, fibrillation, flutter, junctional, paced
    heart_rate: float = 75.0
    irregularity: float = 0.01  # RR varies by +- this share with each breath
    pac: float = 0.0  # premature atrial contractions in 10 s
    pvc: float = 0.0  # premature ventricular contractions in 10 s
    pr: float = 155.0  # onset of P to onset of QRS
    qrs: float = 90.0  # width of QRS
    qtc: float = 410.0  # QT by Bazett
    axis: float = 45.0  # of QRS in the frontal plane
    limb_voltage: float = 1.1  # largest QRS of the limb leads, peak to peak
    conduction: str = "normal"  # normal, RBBB, IRBBB, LBBB, slow (no bundle-branch pattern), paced
    fascicle: str = "normal"  # normal, anterior (block of the left anterior fascicle)
    q_wave: str = "none"  # none, or the infarcted wall: inferior, anterior, lateral
    t_wave: str = "normal"  # normal, flat, biphasic, secondary (against QRS), or inverted: lateral, anterior, inferior


# Healthy people; used for parameters that no diagnosis sets.
HEALTHY: Mapping[str, Choice] = {
    "heart_rate": (62, 96), "irregularity": (0.005, 0.03), "pr": (125, 185), "qrs": (76, 104), "qtc": (380, 440),
    "axis": (-15, 82), "limb_voltage": (0.7, 2.0),
}  # fmt: skip

_NO_ATRIA: Mapping[str, Choice] = {"pr": (0, 0), "pac": (0, 0)}  # no P wave
_NO_Q: Mapping[str, Choice] = {"q_wave": ("none",)}
_NO_BLOCK: Mapping[str, Choice] = {"fascicle": ("normal",), **_NO_Q}
_SECONDARY: Mapping[str, Choice] = {"t_wave": ("secondary",), **_NO_BLOCK}

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
    "PR": {"rhythm": ("paced",), "heart_rate": (60, 85), "irregularity": (0, 0.001), **_NO_ATRIA, **_SECONDARY}
    | {"conduction": ("paced",), "qrs": (135, 180), "axis": (-85, -40), "limb_voltage": (0.8, 2.0)},
    "PAC": {"pac": (1.0, 3.0)},
    "PVC": {"pvc": (1.0, 3.5)},
    "IAVB": {"pr": (225, 340)},
    "LPR": {"pr": (209, 238)},
    "RBBB": {"conduction": ("RBBB",), "qrs": (127, 160), **_NO_Q},
    "IRBBB": {"conduction": ("IRBBB",), "qrs": (112, 118), **_NO_BLOCK},
    "LBBB": {"conduction": ("LBBB",), "qrs": (130, 170), "limb_voltage": (0.6, 1.5), **_SECONDARY},
    "NSIVCB": {"conduction": ("slow",), "qrs": (112, 118), **_NO_BLOCK},
    "LAnFB": {"fascicle": ("anterior",), "axis": (-78, -48), **_NO_Q},
    "LAD": {"axis": (-78, -36)},
    "RAD": {"axis": (97, 145)},
    "LQRSV": {"limb_voltage": (0.24, 0.44)},
    "LQT": {"qtc": (490, 560)},
    "QAb": {"q_wave": ("inferior", "anterior", "lateral"), "qrs": (98, 107), "conduction": ("normal",)},
    "TAb": {"t_wave": ("flat", "flat", "biphasic")},
    "TInv": {"t_wave": ("lateral", "anterior", "inferior")},
}

# Pairs that set different parameters but contradict each other, or would hide each other's criterion: fast hearts do
# not follow breathing, and an infarcted wall turns the axis by itself.
CONTRADICTIONS = ({"STach", "SA"}, {"LBBB", "RAD"}, {"QAb", "LAD"}, {"QAb", "RAD"})


def diagnoses_of(diagnosis: str | Sequence[str]) -> tuple[str, ...]:
    """Return the keys of `CRITERIA` for one diagnosis or several, given by SNOMED CT code or abbreviation.
    Raises ValueError for a diagnosis that is not scored and for a pair that cannot be combined."""
    requested = [diagnosis] if isinstance(diagnosis, str) else list(diagnosis)
    found = dict.fromkeys(find_diagnosis(key).abbreviation for key in requested)
    keys = tuple("RBBB" if name == "CRBBB" else name for name in found)
    for position, key in enumerate(keys):
        for other in keys[:position]:
            if not compatible(other, key):
                raise ValueError(f"{other} and {key} cannot be simulated in one recording")
    return keys


def _narrower(first: Choice, second: Choice) -> Choice | None:
    """Return the range (or names) that lies within the other, or None."""
    for inner, outer in ((first, second), (second, first)):
        if isinstance(inner[0], str):
            within = set(inner) <= set(outer)
        else:
            within = not isinstance(outer[0], str) and outer[0] <= inner[0] and inner[1] <= outer[1]
        if within:
            return inner
    return None


def compatible(first: str, second: str) -> bool:
    """Return whether two diagnoses (keys of `CRITERIA`) can be simulated in one recording.

    For each parameter that both set, one range must lie within the other; and they must not contradict each other.

    Examples
    --------
    >>> compatible("AF", "LAD"), compatible("AF", "SB")
    (True, False)
    """
    if {first, second} in CONTRADICTIONS:
        return False
    shared = CRITERIA[first].keys() & CRITERIA[second].keys()
    return all(_narrower(CRITERIA[first][name], CRITERIA[second][name]) is not None for name in shared)


def draw_patient(diagnoses: Sequence[str], rng: Generator) -> Patient:
    """Draw a patient with these diagnoses (compatible keys of `CRITERIA`) and no other; without any, a healthy one."""
    ranges: dict[str, Choice] = {}
    for diagnosis in diagnoses:
        for name, choice in CRITERIA[diagnosis].items():
            ranges[name] = _narrower(choice, ranges.get(name, choice)) or choice
    ranges = {**HEALTHY, **ranges}
    # One draw for every field in a fixed order: parameters that a diagnosis does not set do not depend on it.
    fractions = {field.name: rng.random() for field in fields(Patient)}
    values: dict[str, Any] = {name: _draw(choice, fractions[name]) for name, choice in ranges.items()}
    return Patient(**values)


def _draw(choice: Choice, fraction: float) -> float | str:
    if isinstance(choice[0], str):
        return choice[int(fraction * len(choice))]
    low, high = float(choice[0]), float(choice[1])
    return low + fraction * (high - low)
