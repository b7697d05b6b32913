"""What a header says: WFDB text in, facts out, with every quirk of real headers.

One parser for all ways in: tables of fields say what each column of a line looks like and how its text becomes a value.
What cannot be used ends in `RecordingError`; what is put right, or doubted, is named in `Header.repairs`. A header is
not trusted: no name in it leads out of its folder, no number in it goes beyond the limits below.
This file opens no files and knows no signals, no order of leads and no diagnoses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

REPAIRS: Final[dict[str, str]] = {
    "no-header": "a MATLAB file without a header is taken as 12 leads in standard order, 500 Hz, 1000 counts per mV, "
    "age and sex unknown; only when files are scored, never in training",
    "wrong-gain": "a gain known to be wrong in the Challenge's first release is replaced by 1000 counts per mV",
    "default-gain": "a gain that is 0 or missing is taken as 200 counts per mV, as WFDB does",
    "default-frequency": "a missing sampling frequency is taken as 250 Hz, as WFDB does",
    "unusual-frequency": "a sampling frequency that recordings of this source do not have; it counts all the same",
    "gains-differ": "the leads have different gains or baselines; each is taken as the header has it",
    "unknown-unit": "a gain in a unit other than V, mV or uV is taken as counts per mV",
    "lead-count": "the header describes fewer leads than it declares; those that it describes count",
    "extra-lines": "lines after the last declared lead that are no comments are ignored",
    "unnamed-leads": "leads without a name are kept under an empty one",
    "names-differ": "the record line and the signal lines name different records; the record line counts",
    "unreadable-field": "a field that can be done without and cannot be read is taken as missing",
    "unreadable-age": "an age that is no number up to 300 is taken as unknown",
    "unreadable-sex": "a sex that is neither female nor male nor a word for unknown is taken as unknown",
    "repeated-comment": "a second, different age or sex is ignored",
    "renamed": "the header names another signal file; the one with the recording's name was read",
    "variable-name": "the matrix is not called val; it is the only one with the header's number of leads",
    "transposed": "the signal was stored as (samples, leads)",
    "length-differs": "the header declares another number of samples than are there; a MATLAB file's number counts, "
    "of a longer file in another format the declared ones are read",
    "checksum-differs": "a lead's first value or checksum is not as the header declares: line or samples were changed",
}


class RecordingError(Exception):
    """A recording that cannot be used: `source` names the file or record, `reason` says why."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)  # both as args, so that the error survives pickling between processes
        self.source = source
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True)
class Repair:
    """Something that was put right or is doubtful: a name from `REPAIRS`, and what it was here."""

    name: str
    detail: str


class UnreadableError(ValueError):
    """Why a header or a signal cannot be used; becomes a RecordingError where the source's name is known."""


class RepairLog(dict[str, list[str]]):
    """Repairs while they are being found: name -> details."""

    def add(self, name: str, detail: str) -> None:
        """Notes one more case of a repair."""
        self.setdefault(name, []).append(detail)

    def repairs(self) -> tuple[Repair, ...]:
        """One repair a name, equal details once."""
        if not self:
            return ()
        return tuple(Repair(name, ", ".join(dict.fromkeys(details))) for name, details in self.items())


def quote(text: str) -> str:
    """Text of a file, safe to print within one line."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def reason_kind(reason: str) -> str:
    """A reason without what is of one file alone, numbers and quoted words: what reasons are counted by."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|(?<![A-Za-z])\d[\d.]*(?:e[+-]?\d+)?", "...", reason)
