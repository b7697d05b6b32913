"""The names that programs and standards give to leads mean what they say; names that say nothing are told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.ecg.lead_names import STANDARD_LEADS, LeadName, parse_lead_names

SPELLINGS = {
    "I": ["i", " I ", "Lead I", "LEAD_I", "ECG I", "ecg_i", "EKG I", "MDC_ECG_LEAD_I", "I (mV)", "I [uV]", "I_mV",
          "DI", "D1", "Lead D1", "ECG-I", "ECG - I", "leadI", "ecg.I", "'I'", "[I]", "I lead"],
    "III": ["iii", "DIII", "D3", "Lead III, mV", "MDC-ECG-LEAD-III", "ECG Lead: III"],
    "aVR": ["AVR", "avr", "MDC_ECG_LEAD_AVR", "aV R", "a-VR", "Lead aVR (µV)"],
    "V1": ["v1", "V 1", "V_1", "V-1", "C1", "c1", "ecg_v1", "ECG C1", "MDC_ECG_LEAD_V1", "ecgV1", "V1 (mV)", "V1/mV"],
    "V6": ["C6", "ch_V6", "Lead V6"],
}  # fmt: skip
INVERTED = ["-aVR", "- aVR", "\u2212aVR", "ECG -aVR", "MDC_ECG_LEAD_AVRneg", "aVR (-)", "minus aVR", "Lead -aVR (mV)"]
OTHERS = ["V7", "V8", "V9", "V3R", "V4R", "X", "Y", "Z", "vx", "PLETH", "ABP", "Resp", "C7", "IV", "VV1", "EASI ES"]
BLANKS = ["", " ", "1", "12", "ch1", "Channel 3", "ECG", "ECG 1", "signal_0", "Unnamed: 0", "lead 7", "sig0"]


@pytest.mark.parametrize(("lead", "name"), [(lead, name) for lead, names in SPELLINGS.items() for name in names])
def test_a_lead_is_found_by_any_spelling_of_its_name(lead: str, name: str) -> None:
    assert parse_lead_names([name]) == [LeadName(lead)]


@pytest.mark.parametrize("name", INVERTED)
def test_a_minus_sign_means_the_opposite_lead(name: str) -> None:
    assert parse_lead_names([name]) == [LeadName("aVR", inverted=True)]


@pytest.mark.parametrize("name", OTHERS)
def test_other_leads_and_signals_are_no_standard_leads(name: str) -> None:
    assert parse_lead_names([name]) == [LeadName(None)]


@pytest.mark.parametrize("name", BLANKS)
def test_names_that_say_nothing_are_told_from_other_names(name: str) -> None:
    assert parse_lead_names([name]) == [LeadName(None, blank=True)]


@pytest.mark.parametrize("letter", ["C", "D", "ECG C"])
def test_letters_that_count_the_channels_are_no_names(letter: str) -> None:
    assert parse_lead_names([f"{letter}{number}" for number in range(1, 13)]) == [LeadName(None, blank=True)] * 12
    assert parse_lead_names([f"{letter}{number}" for number in range(3)]) == [LeadName(None, blank=True)] * 3


@given(
    lead=st.sampled_from(STANDARD_LEADS),
    before=st.sampled_from(["", "Lead ", "ECG_", "ecg lead ", "MDC_ECG_LEAD_", "EKG: ", " "]),
    after=st.sampled_from(["", " (mV)", " [mV]", "_uV", " lead", "  "]),
    change=st.sampled_from([str.lower, str.upper, str]),
)
def test_words_case_and_units_around_a_name_do_not_matter(lead: str, before: str, after: str, change: type) -> None:
    assert parse_lead_names([change(before + lead + after)]) == [LeadName(lead)]


@given(st.lists(st.text(max_size=30)))
def test_any_names_are_parsed(names: list[str]) -> None:
    assert len(parse_lead_names(names)) == len(names)
