"""Durations in words, progress as log lines or a bar, and the log on standard output."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadwise.util import progress
from leadwise.util.progress import duration, log_to_stdout, track


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (41.6, "42 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (7559, "2 h 05 min"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten seconds pass between two readings of the clock."""
    times: Iterator[int] = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


def test_a_log_gets_a_line_every_thirty_seconds(
    clock: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    caplog.set_level(logging.INFO, "leadwise")
    assert list(track("abcdefg", "scoring", 7, "files")) == list("abcdefg")
    assert [record.getMessage() for record in caplog.records] == [
        "scoring: 3 of 7 files, 0.1/s, 40 s left",
        "scoring: 6 of 7 files, 0.1/s, 10 s left",
    ]


def test_a_terminal_gets_a_bar_and_no_lines(
    clock: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    caplog.set_level(logging.INFO, "leadwise")
    assert list(track(range(5), "scoring", 5)) == list(range(5))
    assert not caplog.records
    assert "scoring" in capsys.readouterr().err


def test_the_log_goes_to_standard_output_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.Logger("test")
    monkeypatch.setattr(progress, "log", logger)
    log_to_stdout()
    log_to_stdout()
    logger.info("prepared %d recordings", 3)
    assert capsys.readouterr().out[8:] == " prepared 3 recordings\n"


def test_a_log_that_nobody_reads_ends_in_silence(tmp_path: Path) -> None:
    program = """import os, sys
from leadwise.util.progress import log, log_to_stdout
log_to_stdout()
log.info("one")
log.info("two")
open(sys.argv[1], "w").close()"""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", program, str(tmp_path / "result")]
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "result").exists()
