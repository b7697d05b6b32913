"""Read XML, SCP-ECG, DICOM, EDF, ISHNE and MFER files with ecgdatakit, and mend what it leaves open.

What it leaves open: sampling frequencies are rounded to integers, of a DICOM file with several groups of leads only the
first is used, gaps in an EDF file are closed, lead faults in an ISHNE file are samples, ages need a time of day. The
files are not trusted: what could take unbounded time or memory is refused before. `parser._...` are its own methods,
wrapped for one file, so pyproject.toml limits its version.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from leadwise.ecg.formats.channels import Channel, Contents
from leadwise.ecg.formats.safeguards import limit_mfer, limit_xli, refuse_deflated
from leadwise.ecg.header import MILLIVOLTS, Sex
from leadwise.ecg.repairs import RepairLog, UnreadableError, quote

INSTALL: Final = 'pip install "leadwise[formats]"'
ISHNE_FAULT: Final = -32768  # counts
GAP_SHARE: Final = 0.01  # of a data record
_SEXES: Final[dict[str, Sex]] = {"M": "male", "F": "female"}
_DATES: Final = ("%Y-%m-%d", "%m-%d-%Y", "%m/%d/%Y", "%Y%m%d", "%d-%b-%Y")

# Its warnings that change what is read -> repair
_REMARKS: Final = (
    (r"CRC|checksum", "checksum-differs"),
    (r"waveform ignored|only the first is read|redefine the channels|Section 12", "part-ignored"),
    (r"truncated|records is -1|shorter than the frame|no waveform data|incomplete|odd number", "file-cut-off"),
    (r"was not applied", "offset-ignored"),
    (r"no sampling interval", "frequency-assumed"),
)
_lock = threading.Lock()  # catch_warnings changes the state of the process


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # another thread may hold it


def read_with_library(path: str, name: str, repairs: RepairLog) -> Contents:
    """Read a file of a format of `READERS`. Raises UnreadableError, or any exception of the library."""
    try:
        with _lock, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record, channels = READERS[name](Path(path), repairs)
    except ImportError:
        raise UnreadableError(f"is a {name} file, which needs: {INSTALL}") from None
    for message in [str(warning.message) for warning in caught]:
        for pattern, repair in _REMARKS:
            if re.search(pattern, message):
                repairs.add(repair, quote(message.replace(path, name).replace(Path(path).name, name)))
    return Contents(channels, _age(record), _SEXES.get(record.patient.sex))


def _parser(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"ecgdatakit.parsing.parsers.{module}"), name)()


def _channel(lead: Any, frequency: float | None = None, start: int = 0, unit: str = "") -> Channel:
    """Return a lead of ecgdatakit as a channel; `frequency` is the exact one, if known, `unit` that of the scale."""
    scale = MILLIVOLTS.get(lead.resolution_unit or unit)
    rate = float(lead.sampling_rate if frequency is None else round(frequency, 6))
    if scale is None:
        return Channel(lead.label, lead.samples, rate, None, start=start)
    return Channel(lead.label, lead.samples, rate, lead.resolution * scale, lead.offset * scale, start)


def _assumed_unit(lead: Any, unit: str, repairs: RepairLog) -> str:
    """Return the unit of a scale that the file states without one, "" if it states no scale."""
    if lead.resolution_unit or lead.adc_resolution_unit or lead.adc_resolution in (0.0, 1.0):
        return ""
    repairs.add("unit-assumed", unit)
    return unit


# --- One function a format, which returns ecgdatakit's record and the channels

Read = tuple[Any, Sequence[Channel]]


def _read_muse(path: Path, repairs: RepairLog) -> Read:
    record = _parser("ge_muse_xml", "GEMuseXMLParser").parse(path)
    return record, [_channel(lead, unit=_assumed_unit(lead, "uV", repairs)) for lead in record.leads]


def _read_philips(path: Path, repairs: RepairLog) -> Read:
    parser = _parser("sierra_xml", "SierraXMLParser")
    limit_xli(parser)
    record = parser.parse(path)
    return record, [_channel(lead) for lead in record.leads]


def _read_aecg(path: Path, repairs: RepairLog) -> Read:
    record = _parser("hl7_aecg", "HL7aECGParser").parse(path)
    frequency = record.raw_metadata["rhythm_time"]["sampling_rate_exact"]
    return record, [_channel(lead, frequency) for lead in record.leads]


def _read_scp(path: Path, repairs: RepairLog) -> Read:
    record = _parser("scp_ecg", "SCPECGParser").parse(path)
    frequency = 1e6 / record.raw_metadata["rhythm_sample_interval_us"]
    starts = [int(lead.annotations.get("start_sample", 1)) for lead in record.leads]
    return record, [
        _channel(lead, frequency, start - min(starts)) for lead, start in zip(record.leads, starts, strict=True)
    ]


def _read_ishne(path: Path, repairs: RepairLog) -> Read:
    record = _parser("ishne_holter", "ISHNEHolterParser").parse(path)
    for lead in record.leads:
        lead.samples[lead.samples == ISHNE_FAULT] = np.nan
    return record, [_channel(lead) for lead in record.leads]


def _read_mfer(path: Path, repairs: RepairLog) -> Read:
    parser = _parser("mfer", "MFERParser")
    limit_mfer(parser)
    record = parser._parse(path)  # parse() would work on a copy without the limits
    rates = record.raw_metadata.get("sampling_rates", ())
    return record, [_channel(lead, rate) for lead, rate in zip(record.leads, rates, strict=True)]


def _read_edf(path: Path, repairs: RepairLog) -> Read:
    record = _parser("edf", "EDFParser").parse(path)
    exact = record.raw_metadata.get("exact_sampling_rates", {})
    channels = [_channel(lead, exact.get(lead.label), unit=_assumed_unit(lead, "mV", repairs)) for lead in record.leads]
    return record, _longest_stretch(channels, record.raw_metadata, repairs)


def _longest_stretch(channels: Sequence[Channel], metadata: dict[str, Any], repairs: RepairLog) -> Sequence[Channel]:
    """Return the samples of the longest run of data records without a gap between them."""
    onsets, duration, count = (metadata.get(key) for key in ("record_onsets", "record_duration", "num_records"))
    if not onsets or len(onsets) != count or not duration:
        return channels
    gaps = np.flatnonzero(np.abs(np.diff(onsets) - duration) > GAP_SHARE * duration) + 1
    if not gaps.size:
        return channels
    edges = np.array([0, *gaps, count])
    longest = int(np.diff(edges).argmax())
    first, end = edges[longest], edges[longest + 1]
    repairs.add("longest-stretch", f"{end - first} of {count} data records")
    shares = [len(channel.samples) // count for channel in channels]  # samples in a data record
    return [
        replace(channel, samples=channel.samples[first * share : end * share])
        for channel, share in zip(channels, shares, strict=True)
    ]


def _read_dicom(path: Path, repairs: RepairLog) -> Read:
    refuse_deflated(path)
    parser, groups = _parser("dicom_waveform", "DICOMWaveformParser"), []
    read_group = parser._read_group

    def collect(waveform: Any, index: int, little_endian: bool) -> Any:
        group = read_group(waveform, index, little_endian)
        if group is not None:
            _restore_padding(group["leads"], waveform, lambda: read_group(waveform, index, little_endian), repairs)
            groups.append((group, float(waveform.get("MultiplexGroupTimeOffset") or 0) / 1000))
        return group

    parser._read_group = collect
    record = parser.parse(path)
    return record, _longest_of_each_lead(groups, repairs)


def _restore_padding(leads: Sequence[Any], waveform: Any, read: Callable[[], Any], repairs: RepairLog) -> None:
    """Undo the padding of leads that exceed the padding value in both directions: it is an ordinary value there.
    `read` decodes the group again."""
    if "WaveformPaddingValue" not in waveform or not any(np.isnan(lead.samples).any() for lead in leads):
        return
    del waveform.WaveformPaddingValue
    for lead, plain in zip(leads, read()["leads"], strict=True):
        missing = np.isnan(lead.samples)
        if missing.any() and not missing.all():
            value, rest = plain.samples[missing][0], lead.samples[~missing]
            if rest.min() < value < rest.max():
                lead.samples[missing] = value
                repairs.add("padding-ignored", f"{value:g} in {quote(lead.label)}")


def _longest_of_each_lead(groups: Sequence[tuple[Any, float]], repairs: RepairLog) -> list[Channel]:
    """Return each lead once, from the group in which it is longest, at its group's time (s)."""
    rhythm = [(group, seconds) for group, seconds in groups if not group["is_median"]]
    if not rhythm:
        raise UnreadableError("has a median beat only, no rhythm")
    rhythm.sort(key=lambda item: item[0]["num_samples"] / item[0]["sampling_frequency"], reverse=True)
    begin, chosen = min(seconds for _, seconds in rhythm), dict[str, Channel]()
    for group, seconds in rhythm:
        frequency = group["sampling_frequency"]
        for lead in group["leads"]:
            if lead.label in chosen:
                repairs.add("part-ignored", quote(f"{lead.label} of {group['label'] or 'another group'}"))
            else:
                chosen[lead.label] = _channel(lead, frequency, round((seconds - begin) * frequency))
    return list(chosen.values())


READERS: Final[dict[str, Callable[[Path, RepairLog], Read]]] = {
    "GE MUSE XML": _read_muse,
    "Philips XML": _read_philips,
    "HL7 aECG": _read_aecg,
    "SCP-ECG": _read_scp,
    "DICOM": _read_dicom,
    "EDF": _read_edf,
    "ISHNE": _read_ishne,
    "MFER": _read_mfer,
}


def _age(record: Any) -> float | None:
    """Return the age as stated, or at the day of the recording, which may lack a time of day."""
    patient = record.patient
    if patient.age is not None or patient.birth_date is None:
        return patient.age if patient.age is None else float(patient.age)
    metadata = record.raw_metadata
    when = record.recording.date or _date(str(metadata.get("acquisition_date") or metadata.get("effective_time") or ""))
    if when is None:
        return None
    born = patient.birth_date
    return float(when.year - born.year - ((when.month, when.day) < (born.month, born.day)))


def _date(text: str) -> date | None:
    word = text.split()[0] if text.split() else ""
    for layout in _DATES:
        try:
            return datetime.strptime(word[:8] if layout == "%Y%m%d" else word, layout).date()
        except ValueError:
            continue
    return None
