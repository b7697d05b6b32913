"""Test the GPU check: a rehearsal on the CPU, parts that fail or hang, machines without wfdb and click."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import part, waits
from benchmarks.gpu.__main__ import PARTS, Report, run_part
from benchmarks.gpu.setting import MARK, Finding, Setting

ROOT = Path(__file__).resolve().parents[1]


def test_a_rehearsal_runs_every_part(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    arguments = ["--rehearse", "--minutes", "15", "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["ok"] and found["rehearsal"] and list(found["parts"]) == list(found["seconds"]) == list(PARTS)
    printed = done.stdout.splitlines()
    findings = [finding for findings in found["parts"].values() for finding in findings]
    assert [line.split(None, 2)[2] for line in printed[:-1]] == [f"{each['name']}: {each['text']}" for each in findings]
    by_name = {finding["name"]: finding for finding in findings}
    assert by_name["a training killed and resumed"]["text"].startswith("killed, resumed, 3 epochs")
    assert by_name["conv1d"]["numbers"]["starts"] and not by_name["CUDA graphs"]["numbers"]["starts"]


def test_the_check_needs_neither_wfdb_nor_click(tmp_path: Path) -> None:
    """Import every file of the check without them, and run a part."""
    program = (
        "import sys; sys.modules.update(wfdb=None, click=None, pytest=None, hypothesis=None)\n"
        "import importlib, pathlib\n"
        "for path in sorted(pathlib.Path('benchmarks/gpu').glob('[a-z]*.py')):\n"
        "    importlib.import_module(f'benchmarks.gpu.{path.stem}')\n"
        "from benchmarks.gpu.part import main\n"
        "main('machine', pathlib.Path(sys.argv[1]), True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(MARK) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_check_fails_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu"])
    assert command.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "machine   FAILED machine: torch finds no CUDA device; --rehearse runs on the CPU"
    assert len(lines) == 2 and lines[-1].startswith("some checks FAILED")


def test_an_exception_in_a_check_becomes_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def failing_check(setting: Setting) -> Iterator[Finding]:
        yield Finding("first", True, "1")
        raise ZeroDivisionError("of something\nand more")

    part.run_check(failing_check, Setting(True, tmp_path))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(MARK)]
    assert [Finding.from_line(line) for line in lines] == [
        Finding("first", True, "1"),
        Finding("failing check", False, "ZeroDivisionError: of something"),
    ]


@pytest.mark.parametrize(("then", "status"), [("time.sleep(600)", -9), ("sys.exit(3)", 3)])
def test_a_part_that_hangs_or_dies_keeps_its_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, status: int
) -> None:
    finding = Finding("before", True, "kept")
    program = f"import sys, time; print({finding.as_line()!r}); print('last line'); {then}"
    start = subprocess.Popen

    def popen(arguments: list[str], **more: object) -> object:
        return start([sys.executable, "-u", "-c", program], **more)  # type: ignore[call-overload]

    monkeypatch.setattr(command.subprocess, "Popen", popen)
    report, began = Report(tmp_path / "gpu.json", {}), time.monotonic()
    run_part(report, "right", tmp_path, True, 1.0)
    assert time.monotonic() - began < 60
    kept, broken = report.parts["right"]
    assert kept == finding and not broken.ok and f"status {status}" in broken.text
    assert broken.numbers["log"] == ["last line"]
    assert [each["name"] for each in json.loads((tmp_path / "gpu.json").read_text())["parts"]["right"]] == [
        "before",
        "part right",
    ]


def test_calls_that_occur_once_per_epoch_are_not_counted_per_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from benchmarks.gpu.fast import Course
    from benchmarks.gpu.material import recipes

    monkeypatch.setattr(waits, "WAITING", ("aten::convolution", "aten::randperm", "cudaStreamSynchronize"))
    setting = Setting(True, tmp_path)
    course = Course.of(setting, recipes(True)[0], 8)
    found = waits.synchronisations(setting, course.state("fp32"), course.examples)
    assert found == {"aten::convolution": 8, "aten::randperm": 0}  # stem, two in each of three blocks, one shortcut
