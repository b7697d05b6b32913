"""Text from files in CSV cells and lines."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from leadwise.util.text import discard_output, emit, escape_unprintable_output, no_formula, printable, readable


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1"])
def test_a_cell_that_looks_like_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert no_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "A-1", "5 = 3", "X0001"])
def test_other_cells_are_unchanged(cell: str) -> None:
    assert no_formula(cell) == cell


def test_characters_that_cannot_be_printed_become_question_marks() -> None:
    assert printable("x\ny\udcff\x1b é") == "x?y?? é"


def test_text_that_is_no_utf_8_gets_escapes_and_other_text_none() -> None:
    assert readable("caf\udce9 患者") == "caf\\udce9 患者"


def test_a_console_that_lacks_a_character_shows_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252", errors="strict"))
    monkeypatch.setattr(sys, "stderr", None)  # as in a program without a console
    escape_unprintable_output()
    print("é 患 \udce9", flush=True)
    assert written.getvalue() == b"\xe9 \\u60a3 \\udce9\n"


@contextmanager
def closed_pipe() -> Iterator[None]:
    """Let standard output be a pipe whose reader has closed it, as `head` does."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        yield


def test_what_nobody_reads_is_discarded() -> None:
    with closed_pipe():
        printed = emit("first\n"), emit("second\n")
        print("third", flush=True)
    assert printed == (False, True)


def test_what_a_buffer_still_has_can_be_discarded() -> None:
    with closed_pipe():
        print("buffered")
        discard_output()
        sys.stdout.flush()


def test_what_is_read_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert emit("text") and capsys.readouterr().out == "text"
