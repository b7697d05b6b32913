"""Each limit of `leadwise/header.py` from both sides: what is just within is read, what is just beyond is not."""

from __future__ import annotations

import pytest

from leadwise.ecg.header import WRONG_GAINS, Header, header_codes, parse_header
from leadwise.ecg.repairs import RecordingError, quote


def header(
    name: str = "X0001",
    leads: str = "1",
    frequency: str = "500",
    samples: str = "5000",
    signal: str = "",
    rest: str = "",
) -> Header:
    """The header of one lead with these words."""
    signal = signal or f"{name}.mat 16+24 1000/mV 16 0 1 2 0 II"
    return parse_header(f"{name} {leads} {frequency} {samples}\n{signal}\n{rest}")


def lead(gain: str = "1000/mV", zero: str = "0", first: str = "1", checksum: str = "2") -> str:
    return f"X0001.mat 16+24 {gain} 16 {zero} {first} {checksum} 0 II"


LIMITS = {
    "samples": ({"samples": "100000000"}, {"samples": "100000001"}, "at most 100000000"),
    "slowest": ({"frequency": "20"}, {"frequency": "19.999"}, "within 20 to 20000 Hz"),
    "fastest": ({"frequency": "20000"}, {"frequency": "20000.1"}, "within 20 to 20000 Hz"),
    "least gain": ({"signal": lead("0.001/mV")}, {"signal": lead("0.00099/mV")}, "within 0.001 to 1e"),
    "largest gain": ({"signal": lead("1000000000/mV")}, {"signal": lead("1000000000.5/mV")}, "within 0.001 to 1e"),
    "digits": ({"signal": lead(zero="9" * 18)}, {"signal": lead(zero="9" * 19)}, "too large a number"),
    "leads in words": ({}, {"leads": "one"}, "number of leads 'one' cannot be read"),
    "no lead": ({}, {"leads": "0"}, "declares '0' leads"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_what_is_just_within_a_limit_is_read_and_what_is_just_beyond_is_refused(limit: str) -> None:
    within, beyond, reason = LIMITS[limit]
    assert not header(**within).repairs
    with pytest.raises(RecordingError, match=reason):
        header(**beyond)


def test_256_leads_are_read_and_257_are_refused() -> None:
    lines = "\n".join([lead()] * 257)
    assert len(parse_header(f"X0001 256 500 5000\n{lines}").leads) == 256
    with pytest.raises(RecordingError, match="1 to 256 are read"):
        parse_header(f"X0001 257 500 5000\n{lines}")


@pytest.mark.parametrize(("prefix", "lowest", "highest"), WRONG_GAINS)
def test_gains_known_to_be_wrong_are_corrected_and_their_neighbours_are_not(
    prefix: str, lowest: float, highest: float
) -> None:
    known = {"E": (4880, 4880), "HR": (200, 200), "S": (2_000_000, 2_000_000), "I": (240_000, 1_041_000)}
    assert (lowest, highest) == known[prefix]  # what the Challenge's first release declared
    for gain, read in ((lowest, 1000), (highest, 1000), (lowest - 1, lowest - 1), (highest + 1, highest + 1)):
        name = f"{prefix}00001"
        found = header(name, signal=f"{name}.mat 16+24 {gain:.0f}/mV 16 0 1 2 0 II")
        assert found.leads[0].adc_gain == read
        assert ("wrong-gain" in {repair.name for repair in found.repairs}) == (read == 1000)


@pytest.mark.parametrize(
    ("name", "frequency", "samples", "usual"),
    [
        ("HR00001", "100", "1000", True),  # PTB-XL has its ten seconds at 100 Hz too
        ("HR00001", "100", "1001", False),
        ("HR00001", "100", "1099", False),
        ("HR00001", "500", "5500", True),
        ("A0001", "500", "72000", True),
        ("A0001", "100", "1000", False),
        ("I0001", "257", "462600", True),
        ("X0001", "123", "1000", True),  # of an unknown source any may be right
    ],
)
def test_a_frequency_that_a_source_does_not_have_is_told(name: str, frequency: str, samples: str, usual: bool) -> None:
    found = header(name, frequency=frequency, samples=samples)
    assert found.sampling_frequency == float(frequency)
    assert [repair.name for repair in found.repairs] == ([] if usual else ["unusual-frequency"])


def test_a_signal_line_may_be_file_format_and_name_alone() -> None:
    found = header(signal="X0001.mat 16 V1").leads[0]
    assert (found.name, found.format, found.adc_gain) == ("V1", "16", 200)


@pytest.mark.parametrize("left_out", range(6))
def test_numbers_of_a_signal_line_may_be_left_out_from_the_right(left_out: int) -> None:
    words = ["X0001.mat", "16", "1000/mV", "16", "0", "1", "2", "0"]
    found = header(signal=" ".join([*words[: len(words) - left_out], "V1"])).leads[0]
    assert found.name == "V1" and found.file == "X0001.mat"
    assert found.first_value == (1 if left_out < 3 else None) and found.checksum == (2 if left_out < 2 else None)
    assert found.adc_gain == (1000 if left_out < 6 else 200)


def test_words_of_a_file_are_quoted_up_to_sixty_characters() -> None:
    assert quote("a" * 60) == repr("a" * 60)
    assert quote("a" * 61) == repr("a" * 57 + "...")
    assert quote("V1\n\x1b[31m\u00e9") == r"'V1\n\x1b[31m\xe9'"


def test_codes_are_found_also_where_a_header_is_refused() -> None:
    text = "X0001 1 500 -5\nno signal line\n#Age: 3\n#Dx: 1, 2,\n# Dx: 3\n"
    with pytest.raises(RecordingError):
        parse_header(text)
    assert header_codes(text) == ("1", "2", "3")
