"""The architecture, read from the tree: who may import whom, what starts without torch, what no file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import leadwise

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "leadwise"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
PACKAGES = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
WITHOUT_TORCH = (
    "util",
    "ecg",
    "challenge",
    "decision",
    "simulate",
    "data",
    "options",
    "recipes",
    "command_line",
    "cli",
    "commands",
)
WITHOUT_TORCH_BESIDE = ("report.sheet.sheet", "training.time_plan", "training.interrupt", "model.validation_results")


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(name: str) -> str:
    """The package, or the module beside the packages, that a dotted name below leadwise belongs to."""
    return name.split(".")[1]


def test_packages_import_only_downwards() -> None:
    """No two packages import each other, directly or through others; only commands import the reports."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        if path == PACKAGE / "__init__.py" or path.name == "__main__.py":
            continue  # the one names the public parts of the others, the others run a command
        part = part_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        names = {part_of(name) for name in imports(path) if name.startswith("leadwise.")}
        graph.setdefault(part, set()).update(names - {part})
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert {"util", "ecg", "report", "api"} <= set(order)
    assert {part for part, imported in graph.items() if "report" in imported} == {"commands"}
    assert not any("commands" in imported for part, imported in graph.items() if part != "cli")


def test_modules_of_a_package_do_not_import_each_other_in_circles() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES if path.stem[0] != "_"}
    graph = {name: imports(path) & modules.keys() for name, path in modules.items()}
    list(TopologicalSorter(graph).static_order())


def test_the_architecture_page_names_every_package_and_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in FILES:
        if not path.name.startswith("__"):
            assert re.search(rf"\b{path.name}\b", page), path
    assert all(f"{package.name}/" in page for package in PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_imports_no_script(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & SCRIPTS


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_says_what_belongs_in_it_and_stays_small(package: Path) -> None:
    assert len(ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or "") > 40
    assert len([path for path in package.glob("*.py") if not path.name.startswith("__")]) <= 15


def test_each_module_has_a_test_file_of_its_name() -> None:
    shared = {"report", "simulate"}  # small modules of these share test files
    for path in FILES:
        place = path.relative_to(PACKAGE)
        if not path.name.startswith("__") and place.parts[0] not in shared:
            assert (ROOT / "tests" / place.with_name(f"test_{place.name}")).exists(), place


def test_the_public_names_are_exactly_those_of_all() -> None:
    assert sorted(leadwise.__all__) == leadwise.__all__ == sorted(set(leadwise.__all__))
    code = "import leadwise; print(*[getattr(leadwise, name) and name for name in leadwise.__all__])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown.split() == leadwise.__all__
    code = "import leadwise; print(*[name for name in vars(leadwise) if not name.startswith('_')])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(shown.split()) <= {"annotations", *leadwise.__all__}


@pytest.mark.parametrize("part", [*WITHOUT_TORCH, *WITHOUT_TORCH_BESIDE])
def test_starts_without_torch(part: str) -> None:
    inside = sorted((PACKAGE / part).glob("[!_]*.py"))
    names = [f"leadwise.{part}", *(f"leadwise.{part}.{path.stem}" for path in inside)]
    program = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", sorted((PACKAGE / "network").glob("[!_]*.py")), ids=lambda path: path.name)
def test_the_network_knows_no_files(path: Path) -> None:
    allowed = {"pathlib"} if path.name == "devices.py" else set()  # /proc/cpuinfo
    names = {name.split(".")[0] for name in imports(path)}
    assert not (names - allowed) & {"pathlib", "os", "io", "json", "safetensors"}


def test_no_pickle_no_exec_no_star() -> None:
    for path in [*ROOT.glob("*.py"), *FILES]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bpickle\.|import pickle|torch\.load\b|\bexec\(|(?<!\.)\beval\(|import \*", text), path
