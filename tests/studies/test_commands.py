"""The small commands of studies/: constant baseline, quality, heart rates, pictures."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leadwise.simulate import write_folder
from studies import pictures, quality, rates
from tests.commands import run

COMMANDS = {
    "compare": "LABELS OUTPUTS_A OUTPUTS_B",
    "constant_baseline": "MODEL LABELS",
    "greedy": "[RUN.npz ...]",
    "pictures": "MODEL RECORDINGS",
    "quality": "FOLDER [INDEX.csv]",
    "rates": "FOLDER...",
    "study_picture": "RESULTS PICTURE.png",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_its_arguments_prints_its_usage(name: str) -> None:
    arguments = ["--help"] if name in ("greedy", "quality") else []
    if name == "quality":
        arguments *= 3
    stderr = run("-m", f"studies.{name}", *arguments, status=1).stderr
    assert stderr == f"usage: python -m studies.{name} {COMMANDS[name]}\n"


@pytest.mark.parametrize("name", ["study", "stress"])
def test_a_command_with_options_prints_its_help(name: str) -> None:
    assert f"usage: studies.{name}" in run("-m", f"studies.{name}", "--help").stdout


def test_the_constant_baseline_gives_every_recording_the_same_answer(tmp_path: Path) -> None:
    write_folder(tmp_path, 20, seed=3, sources=["E"], longest=10)
    printed = run("-m", "studies.constant_baseline", "pretrained", tmp_path).stdout.splitlines()
    figures = dict(zip(*(line.split(",") for line in printed), strict=True))
    assert figures["AUROC"] == "0.500" and float(figures["Challenge metric"]) < 1
    assert "none" in run("-m", "studies.constant_baseline", tmp_path / "none", tmp_path, status=1).stderr


def test_rates_counts_bradycardia_by_the_heart_rate_in_the_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path, 12, seed=3, sources=["E"], longest=10)
    rates.main(tmp_path)
    rows = re.findall(r"(\d+) to +(\d+) beats a minute: +(\d+) recordings, +(\d+) sinus", capsys.readouterr().out)
    assert [int(row[1]) for row in rows] == list(rates.EDGES[1:])
    assert 0 < sum(int(row[2]) for row in rows) <= 12
    assert all(int(labelled) == 0 for low, _, _, labelled in rows if int(low) >= 65)  # the simulator's criterion is 60


def test_quality_counts_warnings_by_the_quality_of_the_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path, 6, seed=3, sources=["E"], longest=10)
    records = sorted(path.stem for path in tmp_path.glob("*.hea"))
    (tmp_path / f"{records[0]}.mat").write_bytes(b"")
    (tmp_path / "index.csv").write_text("record,quality\n" + "".join(f"{name},good\n" for name in records[1:]))
    quality.main(str(tmp_path), str(tmp_path / "index.csv"))
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    table = {line[0]: line[1:] for line in lines[2:]}
    assert lines[0] == ["all", "good"]
    assert table["recordings"] == ["1", "5"] and table[quality.UNUSABLE] == ["1", "0"]
    assert all(f"warning {name}" in table for name in quality.QUALITY_WARNINGS)
    assert table["recordings of twelve leads"] == ["0", "5"]
    assert all(int(table[f"changed: {name}"][1]) > 0 for name in quality.CHANGES if "declared" not in name)


def test_pictures_reduces_colours() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    with Image.open(io.BytesIO(pictures.reduce_colours(buffer.getvalue(), 8))) as image:
        assert image.size == (40, 40) and len(image.getcolors()) <= 8
