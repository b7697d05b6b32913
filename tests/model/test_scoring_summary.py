"""What was wrong in a folder is counted by kind and listed in a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from leadwise.ecg.quality import QualityWarning
from leadwise.ecg.repairs import RecordingError, reason_kind
from leadwise.model.prediction import Prediction
from leadwise.model.scoring_summary import ScoringSummary
from leadwise.util.text import printable
from tests.model.models import PRIOR


def test_reasons_are_counted_without_numbers_and_names() -> None:
    assert reason_kind("is cut off: 7212 of 14424 bytes") == "is cut off: ... of ... bytes"
    assert reason_kind("has no lead of a standard name, only 'V 1' \"it's\"") == (
        "has no lead of a standard name, only ... ..."
    )
    summary = ScoringSummary()
    for size in (1, 20):
        error = RecordingError("x", f"is cut off: {size} of 90 bytes")
        summary.add("A", Prediction("A", PRIOR.labels[0], PRIOR.scores[0], (), error))
    summary.add("B", Prediction("B", PRIOR.labels[0], PRIOR.scores[0], ("renamed", "renamed"), None))
    assert summary.lines() == [
        "3 recordings scored, 2 of them could not be used and got the training prior",
        "  not usable: 2, is cut off: ... of ... bytes",
        "  repaired: 1, renamed",
    ]


def test_a_name_cannot_break_the_list_or_the_output(tmp_path: Path) -> None:
    summary = ScoringSummary(unusable=[("a,b", 'says "no", twice'), (printable("x\ny\udcff"), "empty")])
    summary.write_problems(tmp_path / "problems.csv")
    with (tmp_path / "problems.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["name", "reason"], ["a,b", 'says "no", twice'], ["x?y?", "empty"]]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1"])
def test_no_cell_of_the_list_is_a_formula(tmp_path: Path, cell: str) -> None:
    """A spreadsheet would compute it, or call a program; with an apostrophe in front it shows it."""
    ScoringSummary(unusable=[(cell, cell), ("A-1", "5 = 3")]).write_problems(tmp_path / "problems.csv")
    with (tmp_path / "problems.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [[f"'{cell}", f"'{cell}"], ["A-1", "5 = 3"]]


def test_recordings_out_of_distribution_are_counted() -> None:
    summary = ScoringSummary()
    for probability in (0.1, 0.9, 0.4, np.nan):
        summary.add("A", Prediction("A", PRIOR.labels[0], PRIOR.scores[0], (), None, in_distribution=probability))
    assert summary.lines()[1:] == ["  2 out of distribution (probably not from the hospitals of the training)"]


def test_quality_warnings_are_counted_by_name() -> None:
    summary, noisy = ScoringSummary(), QualityWarning("noisy", ("II",))
    for warnings in ((noisy, QualityWarning("flat", ("I",))), (), (noisy,)):
        summary.add("A", Prediction("A", PRIOR.labels[0], PRIOR.scores[0], (), None, warnings=warnings))
    assert summary.lines()[1:] == ["  quality: 2, noisy", "  quality: 1, flat"]
