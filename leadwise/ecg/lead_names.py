"""Understand the names that files give to leads: "Lead I", "MDC_ECG_LEAD_AVR", "ecg_v1", "C1", "DII", "-aVR"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

STANDARD_LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_WORD = r"(?:mdc|ecg|ekg|leads?|ableitung|derivation|signal|sig|channel|chan|ch|column|col|unnamed|analog|adc)"
_BETWEEN = r"[\s_.:,;/|]"
# Words without meaning before the name; a hyphen that touches them on the left separates, any other is a minus sign.
_PREFIX = re.compile(rf"^{_BETWEEN}*(?:{_WORD}(?:-(?=\S)|{_BETWEEN}+-(?=\s)|(?![a-z])){_BETWEEN}*)+")
_GLUED = re.compile(r"^(?:ecg|ekg|lead|ch|sig)(?=(?:i{1,3}|av[rlf]|v\d|c\d|d\d|\d+)$)")  # "leadII", "ecgV1", "ch12"
_SUFFIX = re.compile(rf"{_BETWEEN}+(?:{_WORD}|[mu\u00b5\u03bc]v){_BETWEEN}*$|{_BETWEEN}*[(\[][mu\u00b5\u03bc]?v[)\]]$")
_MINUS = re.compile(
    r"^(?:[-\u2212\u2013]|\(-\)|minus|neg|inv(?:erted)?)[\s_]*(?=\S)|[\s_]*(?:\(-\)|neg|inv(?:erted)?)$"
)

_SPELLINGS: Final = (
    {name.lower(): name for name in STANDARD_LEADS}
    | {f"d{roman}": lead for roman, lead in (("i", "I"), ("ii", "II"), ("iii", "III"))}
    | {f"d{number}": lead for number, lead in enumerate(STANDARD_LEADS[:3], 1)}
    | {f"c{number}": f"V{number}" for number in range(1, 7)}  # IEC 60601-2-25
)
_NUMBER = re.compile(r"[a-z]?\d+")


class LeadName(NamedTuple):
    """The meaning of a lead's name."""

    lead: str | None  # one of `STANDARD_LEADS`; None: another lead, or no name at all
    inverted: bool = False  # stored with the opposite sign, such as -aVR
    blank: bool = False  # carries no meaning: empty, a number, or words such as "channel 3"


def parse_lead_names(names: Sequence[str]) -> list[LeadName]:
    """Return what the names of a recording's leads mean, in any case, with prefixes, separators and units.

    C1 to C6 are V1 to V6, and D1 to D3 (DI to DIII) are I to III, unless the names count on (C0, C10, D4 ...): then
    they are numbers of channels."""
    cores = [_core(name) for name in names]
    counted = {letter for letter, last in (("c", 9), ("d", 3)) if any(_beyond(core, letter, last) for core, _ in cores)}
    return [_meaning(core, inverted, counted) for core, inverted in cores]


def _core(name: str) -> tuple[str, bool]:
    """Return a name in lower case without words, units and separators around it, and whether it has a minus sign."""
    text = name.strip().lower()
    text = _PREFIX.sub("", text)
    while (shorter := _SUFFIX.sub("", text)) != text:
        text = shorter
    inverted = bool(_MINUS.search(text))
    text = re.sub(r"[\s_.:\-'\"\[\]]", "", _MINUS.sub("", text))
    return _GLUED.sub("", text), inverted


def _beyond(core: str, letter: str, last: int) -> bool:
    """Return whether a name is a number of a channel with this letter that no lead has."""
    number = core[1:]
    return core[:1] == letter and number.isascii() and number.isdigit() and not 1 <= int(number[:9]) <= last


def _meaning(core: str, inverted: bool, counted: set[str]) -> LeadName:
    if core[:1] in counted and _NUMBER.fullmatch(core):
        return LeadName(None, blank=True)
    lead = _SPELLINGS.get(core)
    return LeadName(lead, inverted and lead is not None, blank=not core or core.isdigit())
