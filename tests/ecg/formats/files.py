"""Write small files in the formats of leadwise.ecg.formats: 12 leads of integer counts, mostly with age and sex."""

from __future__ import annotations

import base64
import binascii
import io
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tests.conftest import LEADS

FREQUENCY = 500
COUNTS = np.cumsum(np.random.default_rng(3).integers(-9, 10, (12, 600)), axis=1)  # 1.2 s
COUNTS[2] = COUNTS[1] - COUNTS[0]
SMALL = COUNTS[:, :40]  # for tests that change bytes


def aecg(
    counts: np.ndarray = COUNTS, leads: Sequence[str] = LEADS, scale: str = "2.5", increment: str = "0.002"
) -> bytes:
    """Return HL7 aECG: a woman born on 1 May 1960, recorded on 30 April 2020."""
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/><value><origin value="0" unit="uV"/>'
        f'<scale value="{scale}" unit="uV"/><digits>{" ".join(map(str, row))}</digits></value></sequence></component>'
        for lead, row in zip(leads, counts.tolist(), strict=True)
    )
    person = '<administrativeGenderCode code="F"/><birthTime value="19600501"/>'
    for tag in ("subjectDemographicPerson", "trialSubject", "subject", "subjectAssignment", "componentOf"):
        person = f"<{tag}>{person}</{tag}>"
    return (
        '<?xml version="1.0"?><!-- <RestingECG> --><AnnotatedECG xmlns="urn:hl7-org:v3"><effectiveTime><low'
        f' value="20200430"/></effectiveTime><componentOf><timepointEvent>{person}</timepointEvent></componentOf>'
        '<component><series><code code="RHYTHM"/><component><sequenceSet><component><sequence><code'
        f' code="TIME_RELATIVE"/><value><head value="0" unit="s"/><increment value="{increment}" unit="s"/></value>'
        f"</sequence></component>{sequences}</sequenceSet></component></series></component></AnnotatedECG>"
    ).encode()


def muse(counts: np.ndarray = COUNTS, unit: str = "MICROVOLTS", before: str = "") -> bytes:
    """Return GE MUSE XML with a median beat of zeros before the eight leads that MUSE stores, of a man of 71."""
    eight = [0, 1, *range(6, 12)]

    def waveform(kind: str, rows: np.ndarray) -> str:
        data = "".join(
            f"<LeadData><LeadID>{LEADS[lead]}</LeadID><LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>"
            f"<LeadAmplitudeUnits>{unit}</LeadAmplitudeUnits><LeadSampleSize>2</LeadSampleSize>"
            f"<WaveFormData>{base64.b64encode(row.astype('<i2').tobytes()).decode()}</WaveFormData></LeadData>"
            for lead, row in zip(eight, rows, strict=True)
        )
        head = f"<WaveformType>{kind}</WaveformType><SampleBase>500</SampleBase><SampleExponent>0</SampleExponent>"
        return f"<Waveform>{head}{data}</Waveform>"

    person = "<PatientAge>71</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>MALE</Gender>"
    return (
        f'<?xml version="1.0"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd">{before}<RestingECG><PatientDemographics>'
        f"{person}</PatientDemographics>{waveform('Median', np.zeros((8, 300)))}{waveform('Rhythm', counts[eight])}"
        "</RestingECG>"
    ).encode()


def philips(counts: np.ndarray = COUNTS, data: str | None = None, encoding: str = "utf-8", **attributes: str) -> bytes:
    """Return Philips XML 1.04.01 with counts of 5 uV, of a man of 50: Base64, or any `data` and attributes."""
    milliseconds = counts.shape[1] * 1000 // FREQUENCY
    values = {"dataencoding": "Base64", "durationperchannel": milliseconds, "samplespersecond": FREQUENCY}
    values |= {"numberofleads": len(counts), "leadlabels": " ".join(LEADS), "resolution": 5, **attributes}
    text = base64.b64encode(counts.astype("<i2").tobytes()).decode() if data is None else data
    return (
        f'<?xml version="1.0" encoding="{encoding}"?><restingecgdata><documentinfo><documenttype>PhilipsECG'
        "</documenttype><documentversion>1.04.01</documentversion></documentinfo><patient><generalpatientdata>"
        "<age><years>50</years></age><sex>Male</sex></generalpatientdata></patient><waveforms><parsedwaveforms "
        + " ".join(f'{key}="{value}"' for key, value in values.items())
        + f">{text}</parsedwaveforms></waveforms></restingecgdata>"
    ).encode(encoding)


def xli(counts: np.ndarray) -> str:
    """Compress leads as Philips does, in the simplest way: LZW with literals alone."""
    first, second, third = counts[:3]
    residuals = counts.copy()
    residuals[2] = second - first - third
    residuals[3] = -counts[3] - (first + second) // 2
    residuals[4] = (first - third) // 2 - counts[4]
    residuals[5] = (second + third) // 2 - counts[5]
    chunks = b""
    for row in residuals.tolist():
        bends = [2 * row[i] - row[i - 1] - row[i + 1] for i in range(1, len(row) - 1)]
        words = [*row[:2], *(64 + bend for bend in bends[1:]), 64]
        high, low = (bytes(word >> shift & 255 for word in words) for shift in (8, 0))
        codes = lzw_codes([*high, *low])
        chunks += struct.pack("<ihh", len(codes), 0, bends[0]) + codes
    return base64.b64encode(chunks).decode()


def lzw_codes(codes: Sequence[int]) -> bytes:
    """Return codes of 10 bits as bytes, the highest bit first; the last byte is filled up with zeros."""
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def dicom(groups: Sequence[dict[str, Any]] = ({},), **elements: Any) -> bytes:
    """Return a DICOM file. A group may have `counts`, `leads`, `fs`, `label`, `offset` (ms), `padding`, `unit`."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage

    def item(**values: Any) -> Dataset:
        data = Dataset()
        for key, value in values.items():
            setattr(data, key, value)
        return data

    def channel(lead: str, unit: str) -> Dataset:
        source = item(CodeValue="X", CodingSchemeDesignator="99", CodeMeaning=f"Lead {lead}")
        return item(
            ChannelSourceSequence=[source],
            ChannelSensitivity="2.5",
            ChannelSensitivityUnitsSequence=[item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)],
            ChannelSensitivityCorrectionFactor="1",
            ChannelBaseline="0",
            WaveformBitsStored=16,
        )

    def waveform(group: dict[str, Any]) -> Dataset:
        counts, leads = group.get("counts", COUNTS), group.get("leads", LEADS)
        data = item(
            MultiplexGroupLabel=group.get("label", "RHYTHM"),
            MultiplexGroupTimeOffset=str(group.get("offset", 0)),
            NumberOfWaveformChannels=len(counts),
            NumberOfWaveformSamples=counts.shape[1],
            SamplingFrequency=str(group.get("fs", FREQUENCY)),
            ChannelDefinitionSequence=[channel(lead, group.get("unit", "uV")) for lead in leads],
            WaveformBitsAllocated=16,
            WaveformSampleInterpretation="SS",
            WaveformData=counts.T.astype("<i2").tobytes(),
        )
        data["WaveformData"].VR = "OW"
        if "padding" in group:
            data.add_new("WaveformPaddingValue", "OW", struct.pack("<h", group["padding"]))
        return data

    dataset = item(SOPClassUID=TwelveLeadECGWaveformStorage, SOPInstanceUID="1.2.3", PatientAge="063Y", PatientSex="F")
    for key, value in elements.items():
        setattr(dataset, key, value)
    dataset.WaveformSequence = [waveform(group) for group in groups]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def edf(
    signals: Sequence[tuple[str, np.ndarray, int, str]] | None = None,
    onsets: Sequence[float] | None = None,
    patient: str = "X F 01-MAY-1960 X",
) -> bytes:
    """Return EDF+ with data records of 0.2 s: (name, counts, samples in a record, unit) for each signal.

    A count is 0.5 uV, or 0.0005 of another unit. With `onsets` (s), one for each data record, times are annotated."""
    signals = [(name, row, 100, "uV") for name, row in zip(LEADS, COUNTS, strict=True)] if signals is None else signals
    records = len(signals[0][1]) // signals[0][2]
    rows = [(name, row.reshape(records, share), unit) for name, row, share, unit in signals]
    if onsets is not None:
        texts = [f"+{onset:g}\x14\x14\0".encode().ljust(40, b"\0") for onset in onsets]
        rows.append(("EDF Annotations", np.stack([np.frombuffer(text, "<i2") for text in texts]), ""))

    def column(width: int, values: Sequence[object]) -> str:
        return "".join(str(value).ljust(width) for value in values)

    largest = ["16384" if unit == "uV" else "16.384" for _, _, unit in rows]
    fields = (
        (16, [name for name, _, _ in rows]),
        (80, [""] * len(rows)),
        (8, [unit for _, _, unit in rows]),
        (8, [f"-{value}" for value in largest]),
        (8, largest),
        (8, [-32768] * len(rows)),
        (8, [32768] * len(rows)),
        (80, [""] * len(rows)),
        (8, [row.shape[1] for _, row, _ in rows]),
        (32, [""] * len(rows)),
    )
    kind = "EDF+C" if onsets is None or all(b > a for a, b in pairwise(onsets)) else "EDF+D"
    head = column(8, ["0"]) + patient.ljust(80) + "Startdate 30-APR-2020 X X X".ljust(80) + "30.04.20" + "10.00.00"
    head += column(8, [256 * (len(rows) + 1)]) + kind.ljust(44) + column(8, [records, "0.2"]) + column(4, [len(rows)])
    head += "".join(column(width, values) for width, values in fields)
    return head.encode("ascii") + np.concatenate([row for _, row, _ in rows], axis=1).astype("<i2").tobytes()


_SCP_CODES = dict(zip(LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))


def scp(counts: np.ndarray = COUNTS, starts: Sequence[int] = (1,) * 12, interval: int = 2000) -> bytes:
    """Return SCP-ECG without compression, with counts of 2.5 uV, of a man born on 1 May 1960."""

    def section(number: int, body: bytes) -> bytes:
        rest = struct.pack("<HI", number, 16 + len(body)) + bytes((20, 20)) + bytes(6) + body
        return struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest

    def tag(number: int, value: bytes) -> bytes:
        return struct.pack("<BH", number, len(value)) + value

    samples = counts.shape[1]
    born, recorded = (struct.pack("<HBB", *day) for day in ((1960, 5, 1), (2020, 4, 30)))
    person = tag(5, born) + tag(8, b"\1") + tag(25, recorded) + tag(255, b"")
    leads = bytes((len(counts), 4)) + b"".join(
        struct.pack("<IIB", start, start + samples - 1, _SCP_CODES[lead])
        for lead, start in zip(LEADS, starts, strict=False)
    )
    signal = struct.pack("<HHBB", 2500, interval, 0, 0) + struct.pack("<H", 2 * samples) * len(counts)
    signal += counts.astype("<i2").tobytes()
    bodies = {1: section(1, person), 3: section(3, leads), 6: section(6, signal)}
    length, place, pointers = 16 + 10 * (len(bodies) + 1), 7, b""
    sizes = {0: length} | {number: len(body) for number, body in bodies.items()}
    for number, size in sizes.items():
        pointers += struct.pack("<HII", number, size, place)
        place += size
    rest = struct.pack("<I", place - 1) + section(0, pointers) + b"".join(bodies.values())
    return struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest


def ishne(counts: np.ndarray = COUNTS) -> bytes:
    """Return ISHNE with counts of 2.5 uV, of a woman born on 1 May 1960."""
    head = bytearray(522)
    codes = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
    struct.pack_into("<8sHiiii", head, 0, b"ISHNE1.0", 0, 0, counts.shape[1], 522, 522)
    struct.pack_into("<hh6h", head, 128, 2, 0, 1, 5, 1960, 30, 4, 2020)
    struct.pack_into("<6h", head, 144, 30, 4, 2020, 10, 0, 0)
    struct.pack_into("<h12h12h12h", head, 156, len(counts), *codes, *([1] * 12), *([2500] * 12))
    struct.pack_into("<h", head, 272, FREQUENCY)
    return bytes(head) + counts.T.astype("<i2").tobytes()


def mfer(counts: np.ndarray = COUNTS, channels: int | None = None, before: bytes = b"") -> bytes:
    """Return MFER with counts of 2.5 uV, of a man of 71."""

    def define(tag: int, value: bytes) -> bytes:
        size = len(value)
        return bytes((tag, size) if size < 128 else (tag, 0x84, *size.to_bytes(4, "big"))) + value

    leads = [b"\x3f" + bytes((lead,)) + b"\x04\x09\x02\x00" + bytes((_SCP_CODES[LEADS[lead]],)) for lead in range(12)]
    return b"".join(
        (
            define(0x40, b"MFR Standard 12 leads ECG       "),
            define(0x01, b"\0"),  # big-endian
            before,
            define(0x83, bytes((71, 0, 0))),
            define(0x84, b"\1"),
            define(0x0B, bytes((0, 0)) + struct.pack(">h", FREQUENCY)),  # Hz
            define(0x0C, bytes((0, 256 - 7)) + struct.pack(">h", 25)),  # 25e-7 V
            define(0x04, struct.pack(">I", counts.shape[1])),
            define(0x05, struct.pack(">I", len(counts) if channels is None else channels)),
            *leads,
            define(0x1E, counts.astype(">i2").tobytes()),
        )
    )


def table(counts: np.ndarray = COUNTS, names: Sequence[str] = LEADS, time: str | None = "time") -> bytes:
    """Return CSV in mV with counts of 1 uV and a column of times in s."""
    rows = [",".join([*([time] if time else []), *names])]
    for sample, values in enumerate(counts.T.tolist()):
        moment = [f"{sample / FREQUENCY:.3f}"] if time else []
        rows.append(",".join([*moment, *(f"{value / 1000:.3f}" for value in values)]))
    return "\n".join(rows).encode() + b"\n"


def npy(values: np.ndarray = COUNTS) -> bytes:
    """Return a NumPy array."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    """Return a compressed NumPy archive."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


# Format -> a file with 12 leads (GE MUSE: 8), and the size of a count in uV.
EXAMPLES: dict[str, tuple[Callable[[], bytes], float]] = {
    "HL7 aECG": (aecg, 2.5),
    "GE MUSE XML": (muse, 4.88),
    "Philips XML": (philips, 5.0),
    "DICOM": (dicom, 2.5),
    "EDF": (edf, 0.5),
    "SCP-ECG": (scp, 2.5),
    "ISHNE": (ishne, 2.5),
    "MFER": (mfer, 2.5),
    "CSV": (table, 1.0),
    "NumPy array": (npy, 1.0),
    "NumPy archive": (lambda: npz(signal=COUNTS, leads=np.array(LEADS), fs=FREQUENCY), 1.0),
}
BY_LIBRARY = ("HL7 aECG", "GE MUSE XML", "Philips XML", "DICOM", "EDF", "SCP-ECG", "ISHNE", "MFER")
