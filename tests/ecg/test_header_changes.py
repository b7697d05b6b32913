"""A header with one changed place is refused, its repair is named, or the signal is the same; `python -m
tests.ecg.header_changes` does as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadwise.ecg.header import USUAL_FREQUENCIES, parse_header
from leadwise.simulate import write_folder
from tests.ecg.header_changes import examples, outcomes


def test_no_change_of_simulated_headers_is_silent(tmp_path: Path) -> None:
    write_folder(tmp_path, 8, 3, sources=["A", "E", "HR", "S"])
    counted, silent = outcomes(examples(tmp_path), 400, 1)
    assert silent == []
    assert len(counted) >= 8 and counted.total() == 400  # all kinds, all ends


def test_no_change_of_real_headers_is_silent(shared_folder: Path) -> None:
    recordings = examples(shared_folder / "data" / "challenge")[::5]
    counted, silent = outcomes(recordings, 400, 1)
    assert silent == []
    assert counted.total() == 400


def repairs_of(name: str, frequency: str, samples: str = "5000") -> list[str]:
    header = parse_header(f"{name} 1 {frequency} {samples}\n{name}.mat 16 1000/mV 16 0 0 0 0 I\n")
    assert header.sampling_frequency == float(frequency)  # whatever is thought of it
    return [repair.name for repair in header.repairs]


@pytest.mark.parametrize("source, frequency", [(source, hertz) for source, hertz, _ in USUAL_FREQUENCIES])
def test_the_frequency_that_a_source_never_has_is_named(source: str, frequency: float) -> None:
    assert repairs_of(f"{source}0001", f"{frequency:g}", "1000") == []
    assert repairs_of(f"{source}0001", f"{frequency + 1:g}", "1000") == ["unusual-frequency"]
    assert repairs_of(f"{source}0001", f"{frequency - 1:g}", "1000") == ["unusual-frequency"]


@pytest.mark.parametrize("name", ["X0001", "0001", "U00001", "rec", "HRX00001"])
def test_of_another_source_any_frequency_may_be_right(name: str) -> None:
    assert repairs_of(name, "300") == repairs_of(name, "499.5") == []


def test_the_short_form_of_ptb_xl_is_ten_seconds_long() -> None:
    assert repairs_of("HR00001", "100", "1000") == repairs_of("HR00001", "100", "0") == []
    assert repairs_of("HR00001", "100", "5000") == ["unusual-frequency"]


def test_no_real_recording_has_an_unusual_frequency(shared_folder: Path) -> None:
    for path in (shared_folder / "data" / "challenge").rglob("*.hea"):
        assert "unusual-frequency" not in {repair.name for repair in parse_header(path.read_bytes()).repairs}, path
