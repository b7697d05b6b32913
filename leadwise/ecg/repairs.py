"""Name the repairs of files, collect them while a recording is read, and define what a refused recording raises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

REPAIRS: Final[dict[str, str]] = {
    "no-header": "a MATLAB file without a header is scored (never trained on) as 12 leads, 500 Hz, 1000 counts per mV",
    "wrong-gain": "a gain known to be wrong in the Challenge's first release is replaced by 1000 counts per mV",
    "default-gain": "a gain that is 0 or missing is taken as 200 counts per mV, as WFDB does",
    "default-frequency": "a missing sampling frequency is taken as 250 Hz, as WFDB does",
    "unusual-frequency": "this source does not use the sampling frequency; it is taken as declared",
    "gains-differ": "the leads have different gains or baselines; each lead's own are used",
    "lead-unreadable": "a signal line that cannot be read costs its lead, which is taken as missing",
    "impossible-gain": "a gain beyond 1e-6 to 1e12 counts per mV is no gain: the lead is taken as missing",
    "unknown-unit": "a gain in a unit other than V, mV or uV is taken as counts per mV",
    "lead-count": "the header describes fewer leads than it declares; those described are used",
    "extra-lines": "lines after the last declared lead that are not comments are ignored",
    "unnamed-leads": "leads without a name get an empty one",
    "names-differ": "the record line and the signal lines name different records; the record line's name is used",
    "unreadable-field": "an optional field that cannot be read is taken as missing",
    "unreadable-age": "an age that is not a number up to 300 is taken as unknown",
    "unreadable-sex": "a sex other than female, male or a word for unknown is taken as unknown",
    "repeated-comment": "a second, different age or sex is ignored",
    "renamed": "the named signal file does not exist; the one with the recording's name was read",
    "variable-name": "the matrix is not called val, but is the only one with the header's number of leads",
    "structure": "the signal was a field of a MATLAB structure, as in CPSC 2018",
    "padding": "stretches in which no lead changes (zeros, one value, no value) were cut out: they are no ECG",
    "samples-per-frame": "a lead with fewer samples per frame was interpolated to the frequency of the others",
    "segments": "the record has several segments, which were joined",
    "transposed": "the signal was stored as (samples, leads)",
    "length-differs": "the declared number of samples is wrong: of a MATLAB file all are used, else those declared",
    "checksum-differs": "a lead's first value or checksum is not as declared: the line or the samples were changed",
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
    """Hold something that was repaired or is doubtful: a name from `REPAIRS`, and the details of this recording."""

    name: str
    detail: str


class UnreadableError(ValueError):
    """Say why a header or a signal cannot be used; becomes a RecordingError once the name of the source is known."""


class RepairLog(dict[str, list[str]]):
    """Collect repairs by name, with the detail of each case."""

    def add(self, name: str, detail: str) -> None:
        """Record one case of a repair."""
        self.setdefault(name, []).append(detail)

    def merged(self) -> tuple[Repair, ...]:
        """Return one repair for each name, with every distinct detail once."""
        return tuple(Repair(name, ", ".join(dict.fromkeys(details))) for name, details in self.items())


def quote(text: str) -> str:
    """Return text from a file so that it is safe to print within one line."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def reason_kind(reason: str) -> str:
    """Return a reason with numbers and quoted words replaced by "...", so that equal reasons can be counted."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|(?<![A-Za-z])\d[\d.]*(?:e[+-]?\d+)?", "...", reason)
