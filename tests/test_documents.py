"""The documents: every link leads somewhere, every name of the package exists, no line is too long."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# these describe the present version; log and changelog describe earlier ones
PRESENT = [page for page in PAGES if "log" not in page.parts and page.name != "CHANGELOG.md"]
PACKAGES = "|".join(path.parent.name for path in (ROOT / "leadwise").glob("*/__init__.py"))
LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """The text of a page without its code blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:", link)]
    missing = [target for target in targets if target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_text_has_more_than_120_characters(page: Path) -> None:
    lines = [line for line in prose(page).splitlines() if not line.lstrip().startswith(("|", "!["))]
    assert not [line for line in lines if len(line) > 120]


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_function_that_a_document_names_exists(page: Path) -> None:
    pattern = rf"`(?:leadwise\.)?((?:{PACKAGES})\.[a-z_.]+\.\w+)(?:\(.*?\))?`"
    for name in re.findall(pattern, prose(page)):
        if not name.endswith((".py", ".json")):
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(f"leadwise.{module}"), attribute), name


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_the_project_that_a_document_names_exists(page: Path) -> None:
    folders = "leadwise|tests|benchmarks|studies|docs"
    for name in re.findall(rf"(?<![\w./-])((?:{folders})/[\w./-]*\w)", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or "NAME" in name, name
    for name in re.findall(r"python3? -m ((?:leadwise|tests|benchmarks|studies)[\w.]*\w)", page.read_text("utf-8")):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name
