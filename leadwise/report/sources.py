"""Name the Challenge's databases by the letter prefix of their records, and what to cite for each."""

from __future__ import annotations

CHALLENGE = (
    "Perez Alday EA et al.: Classification of 12-lead ECGs: the PhysioNet/Computing in Cardiology Challenge 2020. "
    "Physiol Meas 2020;41:124003"
)
CPSC = (
    "Liu F et al.: An Open Access Database for Evaluating the Algorithms of Electrocardiogram Rhythm and Morphology"
    " Abnormality Detection. J Med Imaging Health Inform 2018;8:1368-1373"
)
SOURCES: dict[str, tuple[str, str]] = {  # prefix -> name, citation
    "A": ("CPSC 2018, eleven hospitals in China", CPSC),
    "Q": ("CPSC-Extra, eleven hospitals in China", CPSC),
    "I": (
        "St Petersburg INCART, Holter recordings of 32 patients, Russia",
        "Tihonenko V et al.: St Petersburg INCART 12-lead Arrhythmia Database. PhysioBank 2008",
    ),
    "S": (
        "PTB Diagnostic ECG Database, Germany",
        "Bousseljot R, Kreiseler D, Schnabel A: Nutzung der EKG-Signaldatenbank CARDIODAT der PTB über das Internet. "
        "Biomed Tech 1995;40(S1):317",
    ),
    "HR": (
        "PTB-XL, Germany",
        "Wagner P et al.: PTB-XL, a large publicly available electrocardiography dataset. Sci Data 2020;7:154",
    ),
    "E": ("Georgia, Emory University, USA", CHALLENGE),
    "JS": (
        "Chapman-Shaoxing and Ningbo, China",
        "Zheng J et al.: A 12-lead electrocardiogram database for arrhythmia research covering more than 10,000 "
        "patients. Sci Data 2020;7:48",
    ),
}


def source_name(prefix: str) -> str:
    """Return the name of the database with a prefix, or a note that no database has it."""
    return SOURCES[prefix][0] if prefix in SOURCES else "no database of the Challenge has this prefix"


def citations(prefixes: list[str]) -> list[str]:
    """Return what to cite for recordings with these prefixes, the Challenge first, each once."""
    known = [SOURCES[prefix][1] for prefix in prefixes if prefix in SOURCES]
    return list(dict.fromkeys([CHALLENGE, *known])) if known else []
