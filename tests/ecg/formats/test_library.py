"""Tests of what is mended of ecgdatakit's records: groups, gaps, padding, ages, frequencies, units, real files."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leadwise.ecg.formats import read_other_format
from leadwise.ecg.leads import standard_leads
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from tests.conftest import LEADS
from tests.ecg.formats import files
from tests.ecg.formats.files import COUNTS

pytest.importorskip("ecgdatakit")
pytest.importorskip("pydicom")

Read = Callable[..., Recording]
MV = COUNTS / 1000


def repairs(recording: Recording) -> dict[str, str]:
    return {repair.name: repair.detail for repair in recording.repairs}


def millivolts(recording: Recording) -> dict[str, np.ndarray]:
    rows = (recording.counts - recording.baseline[:, None]) / recording.adc_gain[:, None]
    return dict(zip(recording.lead_names, rows, strict=True))


# --- DICOM


def test_the_rhythm_is_read_wherever_the_median_beat_stands(read: Read) -> None:
    median = {"counts": COUNTS[:, :300], "label": "MEDIAN BEAT", "fs": 1000}
    unlabelled = {**median, "label": ""}
    for groups in ([median, {}], [{}, median], [unlabelled, {}], [{}, unlabelled]):
        recording = read(files.dicom(groups))
        assert (recording.counts == COUNTS).all() and recording.sampling_frequency == 500
    with pytest.raises(RecordingError, match="has a median beat only"):
        read(files.dicom([median]))


def test_groups_of_three_leads_and_a_rhythm_strip_are_put_together(read: Read) -> None:
    groups = [
        {"counts": COUNTS[n : n + 3, 50 * n : 50 * n + 150], "leads": LEADS[n : n + 3], "offset": 100 * n}
        for n in (0, 3, 6, 9)
    ]
    strip = {"counts": COUNTS[1:2], "leads": ("II",)}
    recording = read(files.dicom([*groups, strip]))
    rows = dict(zip(recording.lead_names, recording.counts, strict=True))
    assert set(rows) == set(LEADS) and recording.counts.shape == (12, 600)
    assert (rows["II"] == COUNTS[1]).all() and "'II of RHYTHM'" in repairs(recording)["part-ignored"]
    assert (rows["V1"][300:450] == COUNTS[6, 300:450]).all() and np.isnan(rows["V1"][:300]).all()
    assert np.isnan(rows["V1"][450:]).all() and "lengths-differ" in repairs(recording)


def test_padding_is_missing_unless_it_is_an_ordinary_value(read: Read) -> None:
    counts = COUNTS.copy()
    counts[0, 100:200] = -32768
    recording = read(files.dicom([{"counts": counts, "padding": -32768}]))
    assert np.isnan(recording.counts[0, 100:200]).all() and (recording.counts[1:] == COUNTS[1:]).all()
    value = int(np.median(COUNTS[1]))
    recording = read(files.dicom([{"padding": value}]))
    assert (recording.counts[1] == COUNTS[1]).all() and f"{value} in 'II'" in repairs(recording)["padding-ignored"]


def test_fractional_frequencies_and_units_of_dicom(read: Read) -> None:
    assert read(files.dicom([{"fs": "499.5"}])).sampling_frequency == 499.5
    assert (read(files.dicom([{"unit": "mV"}])).adc_gain == 0.4).all()
    with pytest.raises(RecordingError, match="no channel with a known amplitude, of 12"):
        read(files.dicom([{"unit": "mm[Hg]"}]))


def test_the_age_of_dicom_in_other_units_and_from_dates(read: Read) -> None:
    assert read(files.dicom(PatientAge="030M")).header.age == 2
    born = {"PatientAge": "", "PatientBirthDate": "19600501", "AcquisitionDateTime": "20200430"}
    assert read(files.dicom(**born)).header.age == 59
    born["AcquisitionDateTime"] = "20200501100000"
    assert read(files.dicom(**born, PatientSex="O")).header.age == 60
    assert read(files.dicom(PatientAge="", PatientSex="O")).header.sex is None


def test_deflated_dicom_is_refused(read: Read) -> None:
    raw = files.dicom()
    plain, deflated = (f"1.2.840.10008.1.2.1{end}".encode() for end in ("\0", ".99"))
    assert plain in raw
    # the element is three bytes longer, with a zero to make it even
    raw = raw.replace(b"UI\x14\x00" + plain, b"UI\x16\x00" + deflated)
    with pytest.raises(RecordingError, match="deflated"):
        read(raw)


# --- EDF


def test_signals_of_other_rates_and_units_are_left_out(read: Read) -> None:
    signals = [(name, row, 100, "mV" if name == "II" else "uV") for name, row in zip(LEADS, COUNTS, strict=True)]
    signals += [("Pulse", COUNTS[0], 100, "bpm"), ("EEG", COUNTS[0, :300], 50, "uV")]
    recording = read(files.edf(signals))
    assert recording.lead_names == LEADS and (recording.counts == COUNTS).all()
    assert recording.adc_gain[:3].tolist() == [2000, 2000, 2000]
    assert repairs(recording) == {"channel-not-voltage": "'Pulse'", "frequencies-differ": "'EEG' at 250 Hz"}


def test_a_unit_that_edf_leaves_out_is_millivolts(read: Read) -> None:
    recording = read(files.edf([("I", COUNTS[0], 100, ""), ("II", COUNTS[1], 100, "")]))
    assert (recording.adc_gain == 2000).all() and repairs(recording) == {"unit-assumed": "mV"}


def test_the_longest_part_without_a_gap_is_used(read: Read) -> None:
    assert read(files.edf(onsets=np.arange(6) * 0.2)).counts.shape == (12, 600)
    recording = read(files.edf(onsets=[0, 0.2, 5.4, 5.6, 5.8, 90]))
    assert (recording.counts == COUNTS[:, 200:500]).all()
    assert repairs(recording) == {"longest-stretch": "3 of 6 data records"}


def test_edf_without_a_birth_date_has_no_age(read: Read) -> None:
    recording = read(files.edf(patient="X X X X"))
    assert recording.header.age is None and recording.header.sex is None


# --- XML


def test_philips_in_utf_16_compressed_or_as_numbers(read: Read) -> None:
    compressed = {"data": files.xli(COUNTS), "compressflag": "True", "compression": "XLI"}
    plain = {"data": " ".join(map(str, COUNTS.ravel().tolist())), "dataencoding": "Plain"}
    for arguments in (compressed, plain, {"encoding": "utf-16"}, {**compressed, "encoding": "utf-16"}):
        recording = read(files.philips(**arguments))
        assert (recording.counts == COUNTS).all() and (recording.adc_gain == 200).all()
    with pytest.raises(RecordingError, match="no channel with a known amplitude"):
        read(files.philips(resolution="0"))
    pulse = np.concatenate([COUNTS, np.tile(np.repeat([0, 200, 0], 30), (12, 1))], axis=1)
    recording = read(files.philips(pulse[:, :650]))  # the pulse is not complete
    assert (recording.counts == COUNTS).all() and "calibration-pulse" in repairs(recording)


def test_a_unit_that_muse_leaves_out_is_microvolts(read: Read) -> None:
    recording = read(files.muse(unit=""))
    assert np.allclose(recording.adc_gain, 1000 / 4.88) and repairs(recording) == {"unit-assumed": "uV"}
    with pytest.raises(RecordingError, match="no channel with a known amplitude"):
        read(files.muse(unit="FURLONGS"))


def test_muse_ages(read: Read) -> None:
    def age(text: str) -> float | None:
        old = b"<PatientAge>71</PatientAge><AgeUnits>YEARS</AgeUnits>"
        day = b"<TestDemographics><AcquisitionDate>04-30-2020</AcquisitionDate></TestDemographics></RestingECG>"
        return read(files.muse().replace(old, text.encode()).replace(b"</RestingECG>", day)).header.age

    assert age("<DateofBirth>05-01-1960</DateofBirth>") == 59
    assert age("<PatientAge>30</PatientAge><AgeUnits>MONTHS</AgeUnits>") == 2
    assert age("<PatientAge>30</PatientAge><DateofBirth>05-01-1960</DateofBirth>") == 59
    assert age("<DateofBirth>05-01-2060</DateofBirth>") is None
    assert age("") is None


def test_aecg_with_fractions_other_frequencies_and_missing_digits(read: Read) -> None:
    recording = read(files.aecg(COUNTS + 0.5, increment="0.00390625"))
    assert recording.sampling_frequency == 256 and (recording.counts == COUNTS + 0.5).all()
    assert read(files.aecg(increment="0.0027")).sampling_frequency == pytest.approx(1 / 0.0027)
    recording = read(files.aecg().replace(f"<digits>{COUNTS[0, 0]} ".encode(), b"<digits>NaN ", 1))
    assert np.isnan(recording.counts[0, 0]) and (recording.counts[1:] == COUNTS[1:]).all()


# --- SCP-ECG, ISHNE, MFER


def test_scp_leads_that_begin_later_and_fractional_frequencies(read: Read) -> None:
    starts = [1] * 6 + [601] * 6
    recording = read(files.scp(starts=starts))
    assert recording.counts.shape == (12, 1200) and np.isnan(recording.counts[6, :600]).all()
    assert (recording.counts[6, 600:] == COUNTS[6]).all()
    assert read(files.scp(interval=3906)).sampling_frequency == pytest.approx(1e6 / 3906)


def test_a_wrong_checksum_is_named(read: Read) -> None:
    raw = files.scp()
    recording = read(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert set(repairs(recording)) == {"checksum-differs"}


def test_a_lead_fault_of_ishne_is_missing(read: Read) -> None:
    counts = COUNTS.copy()
    counts[4, 7:9] = -32768
    recording = read(files.ishne(counts))
    assert np.isnan(recording.counts[4, 7:9]).all() and np.isfinite(recording.counts).sum() == 12 * 600 - 2


def test_mfer_without_a_sampling_interval_has_the_frequency_of_its_standard(read: Read) -> None:
    raw = files.mfer().replace(b"\x0b\x04\x00\x00\x01\xf4", b"")
    recording = read(raw)
    assert recording.sampling_frequency == 1000 and "frequency-assumed" in repairs(recording)


# --- Real files


@pytest.fixture
def real(shared_folder: Path) -> Callable[[str], Recording]:
    folder = shared_folder / "data" / "formats"
    if not folder.is_dir():
        pytest.skip("no real files: ../shared/data/formats is not there")
    return lambda name: read_other_format(folder / name)


def test_the_same_ecg_is_the_same_in_aecg_scp_and_dicom(real: Callable[[str], Recording], shared_folder: Path) -> None:
    recordings = [real(name) for name in ("hl7_aecg.xml", "scp_ecg.scp", "dicom.dcm")]
    signals = [standard_leads(recording, "mV").values for recording in recordings]
    assert (signals[0] == signals[1]).all() and (signals[0] == signals[2]).all()
    assert all(recording.sampling_frequency == 500 and recording.header.sex == "male" for recording in recordings)
    assert all((recording.adc_gain == 400).all() and recording.counts.dtype == np.int16 for recording in recordings)
    root = ET.parse(shared_folder / "data" / "formats" / "hl7_aecg.xml").getroot()
    for sequence in list(root.iter("{urn:hl7-org:v3}sequence"))[1:13]:
        code, digits = (next(sequence.iter(f"{{urn:hl7-org:v3}}{tag}")) for tag in ("code", "digits"))
        lead = next(name for name in LEADS if code.get("code") == f"MDC_ECG_LEAD_{name.upper()}")
        values = np.array((digits.text or "").split(), float) * 0.0025
        assert np.allclose(millivolts(recordings[0])[lead], values)


def test_real_muse(real: Callable[[str], Recording], shared_folder: Path) -> None:
    recording = real("ge_muse.xml")
    assert recording.counts.shape == (8, 5000) and recording.sampling_frequency == 500
    root = ET.parse(shared_folder / "data" / "formats" / "ge_muse.xml").getroot()
    waveform = next(item for item in root.iter("Waveform") if item.findtext("WaveformType") == "Rhythm")
    for lead in waveform.iter("LeadData"):
        values = np.frombuffer(base64.b64decode(lead.findtext("WaveFormData") or ""), "<i2") * 0.00488
        assert np.allclose(millivolts(recording)[lead.findtext("LeadID") or ""], values)


@pytest.mark.parametrize(("name", "samples"), [("philips_1_03.xml", 5264), ("philips_1_04_01.xml", 5300)])
def test_real_philips_obeys_einthoven_and_has_no_pulse(
    name: str, samples: int, real: Callable[[str], Recording]
) -> None:
    recording = real(name)
    one, two, three, right, left, foot = recording.counts[:6].astype(int)
    assert recording.counts.shape == (12, samples) and (recording.adc_gain == 200).all()
    assert np.abs(two - one - three).max() <= 2  # counts: rounding
    assert all(np.abs(lead - value).max() <= 2 for lead, value in zip(
        (right, left, foot), (-(one + two) / 2, (one - three) / 2, (two + three) / 2), strict=True
    ))  # fmt: skip


def test_real_edf(real: Callable[[str], Recording], shared_folder: Path) -> None:
    recording = real("edf.edf")
    raw = (shared_folder / "data" / "formats" / "edf.edf").read_bytes()[256 * 13 :]
    values = np.frombuffer(raw, "<i2").reshape(-1, 12).T
    assert recording.sampling_frequency == 800 and (recording.counts == values).all()
    assert np.allclose(recording.adc_gain, 65535 / 2000)
