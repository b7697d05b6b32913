"""Whose recordings these are, by the letters of their names, and whom to cite for them. Knows no models."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """A database of the Challenge."""

    name: str
    citation: str


CHALLENGE = Source(
    "PhysioNet/Computing in Cardiology Challenge 2020 (CC BY 4.0)",
    "Perez Alday EA et al.: Classification of 12-lead ECGs: the PhysioNet/Computing in Cardiology Challenge 2020. "
    "Physiol Meas 2020;41:124003",
)
CPSC = (
    "Liu F et al.: An Open Access Database for Evaluating the Algorithms of Electrocardiogram Rhythm and Morphology"
    " Abnormality Detection. J Med Imaging Health Inform 2018;8:1368-1373"
)
SOURCES: dict[str, Source] = {
    "A": Source("CPSC 2018, eleven hospitals in China", CPSC),
    "Q": Source("CPSC-Extra, eleven hospitals in China", CPSC),
    "I": Source(
        "St Petersburg INCART, Holter recordings of 32 patients, Russia",
        "Tihonenko V et al.: St Petersburg INCART 12-lead Arrhythmia Database. PhysioBank 2008",
    ),
    "S": Source(
        "PTB Diagnostic ECG Database, Germany",
        "Bousseljot R, Kreiseler D, Schnabel A: Nutzung der EKG-Signaldatenbank CARDIODAT der PTB über das Internet. "
        "Biomed Tech 1995;40(S1):317",
    ),
    "HR": Source(
        "PTB-XL, Germany",
        "Wagner P et al.: PTB-XL, a large publicly available electrocardiography dataset. Sci Data 2020;7:154",
    ),
    "E": Source("Georgia, Emory University, USA", CHALLENGE.citation),
    "JS": Source(
        "Chapman-Shaoxing and Ningbo, China",
        "Zheng J et al.: A 12-lead electrocardiogram database for arrhythmia research covering more than 10,000 "
        "patients. Sci Data 2020;7:48",
    ),
}


def source_name(prefix: str) -> str:
    """What is known of a database by its prefix."""
    return SOURCES[prefix].name if prefix in SOURCES else "no database of the Challenge has this prefix"


def citations(prefixes: list[str]) -> list[str]:
    """Whom to cite for recordings with these prefixes, the Challenge first, each once."""
    known = [SOURCES[prefix].citation for prefix in prefixes if prefix in SOURCES]
    return list(dict.fromkeys([CHALLENGE.citation, *known])) if known else []
