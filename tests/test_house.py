"""The house's walls: who may import whom, what starts without torch, what no file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (  # from the ground up; a module imports only from floors below its own
    {"files", "recipes", "classes", "progress", "header", "stopping", "toom_cook", "streaming", "store", "memory"},
    {"options", "matlab", "outputs", "metric", "plan", "checkpoint"},
    {
        "recording",
        "devices",
        "evaluation",
        "network",
        "simulate",
        "thresholds",
        "expected_reward",
        "calibration",
        "augmentation",
        "distributed",
    },
    {"signals", "decision", "familiarity"},
    {"dataset", "quality", "inference", "columns"},
    {"ensemble", "training", "validation"},
    {"scoring", "pretraining"},
    {"library"},
    {"report"},  # imported by commands and team_code alone
)
WITHOUT_TORCH = (
    "classes", "header", "matlab", "recording", "signals", "metric", "outputs", "evaluation", "thresholds", "simulate",
    "options", "recipes", "dataset", "quality", "expected_reward", "calibration", "report.sheet", "report.rate",
    "plan", "stopping", "validation",
)  # fmt: skip
COMMANDS = {path.stem for path in ROOT.glob("*.py")}


def modules() -> dict[str, list[Path]]:
    """The files of each part of the package: a module's one, a subpackage's several."""
    parts: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "leadwise").rglob("*.py")):
        part = path.relative_to(ROOT / "leadwise").parts[0].removesuffix(".py")
        if part != "__init__":
            parts.setdefault(part, []).append(path)
    return parts


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_its_floor() -> None:
    assert set().union(*FLOORS) == set(modules())


@pytest.mark.parametrize("part", modules())
def test_imports_come_from_floors_below(part: str) -> None:
    floor = next(index for index, names in enumerate(FLOORS) if part in names)
    below = set().union(*FLOORS[:floor])
    for path in modules()[part]:
        names = {name.split(".")[1] for name in imports(path) if name.startswith("leadwise.")}
        assert names - {part} <= below, path
        assert not {name.split(".")[0] for name in imports(path)} & COMMANDS, path


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_starts_without_torch(part: str) -> None:
    program = f"import sys, leadwise.{part}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_evaluator_runs_without_torch() -> None:
    program = "import sys, evaluate_12ECG_score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_network_knows_no_files() -> None:
    names = {name.split(".")[0] for name in imports(ROOT / "leadwise" / "network.py")}
    assert not names & {"pathlib", "os", "io", "json", "safetensors", "numpy"}


def test_no_pickle_no_exec_no_star() -> None:
    for path in [*ROOT.glob("*.py"), *(ROOT / "leadwise").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bpickle\.|import pickle|torch\.load\b|\bexec\(|(?<!\.)\beval\(|import \*", text), path
