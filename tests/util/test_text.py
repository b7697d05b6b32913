"""Text from files in CSV cells and lines."""

from __future__ import annotations

import pytest

from leadwise.util.text import no_formula, printable


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1"])
def test_a_cell_that_looks_like_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert no_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "A-1", "5 = 3", "X0001"])
def test_other_cells_are_unchanged(cell: str) -> None:
    assert no_formula(cell) == cell


def test_characters_that_cannot_be_printed_become_question_marks() -> None:
    assert printable("x\ny\udcff\x1b é") == "x?y?? é"
