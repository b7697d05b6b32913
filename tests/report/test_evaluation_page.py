"""Test the evaluation report: the evaluator's figures, a self-contained page, no text that becomes markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from leadwise.challenge.classes import CODES, DIAGNOSES
from leadwise.challenge.evaluation import read_folders
from leadwise.challenge.metric import challenge_metric, evaluate
from leadwise.challenge.outputs import write_output
from leadwise.report.evaluation_page import report_page
from leadwise.report.statistics import macro_rates, rewards_of
from leadwise.simulate import write_folder
from tests.commands import run
from tests.conftest import header_text
from tests.report.test_statistics import draw


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with recordings of two sources and made-up outputs; one recording has only a header."""
    folder = tmp_path_factory.mktemp("report")
    write_folder(folder / "labels", 30, 5, sources=["E", "S"], class_floor=0.02)
    (folder / "labels" / "X.hea").write_text(header_text("X", np.ones((12, 5), np.int16)))
    (folder / "outputs").mkdir()
    _, answers, scores = draw(2, 31)
    for header, predicted, score in zip(sorted((folder / "labels").glob("*.hea")), answers, scores, strict=True):
        write_output(folder / "outputs" / f"{header.stem}.csv", header.stem, CODES, predicted.astype(int), score)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    read = read_folders(folder / "labels", folder / "outputs")
    return report_page(read, evaluate(read.labels, read.answers, read.scores))


class Page(HTMLParser):
    """A parsed page: tables as lists of rows of texts by id, addresses, text alternatives of pictures, all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.addresses: list[str] = []
        self.alternatives: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self._rows: list[list[str]] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("href", "src", "xlink:href", "action") if name in values]
        if tag == "table":
            self._rows = self.tables.setdefault(values.get("id", str(len(self.tables))), [])
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._cell = True
            self._rows[-1].append("")
        if tag == "img":
            self.alternatives.append(values["alt"])
        if tag == "svg":
            assert values["role"] == "img"
            self.alternatives.append(values["aria-label"])

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self._rows[-1][-1] += data


def test_sensitivity_and_specificity_are_beside_the_published_ones(folder: Path, page: str) -> None:
    read = read_folders(folder / "labels", folder / "outputs")
    sensitivity, specificity = macro_rates(read.labels, read.answers)
    assert f"sensitivity {sensitivity:.3f} (published for five-fold validation: 0.758)" in page
    assert f"specificity {specificity:.3f} (published for five-fold validation: 0.969)" in page


def test_figures_are_those_of_the_evaluators_files(folder: Path, page: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("scores.csv", "class_scores.csv", "report.html")]
    run("evaluate_12ECG_score.py", folder / "labels", folder / "outputs", *files[:2], "--report", files[2])
    assert files[2].read_text(encoding="utf-8") == page  # the same bytes each time
    tables = Page(page).tables
    names, values = (line.split(",") for line in files[0].read_text().splitlines())
    assert tables["figures"][0][1:] == names
    assert [text.replace("–", "nan") for text in tables["figures"][1][1:]] == values
    rows = {row[0]: row for row in tables["classes"][1:]}
    lines = [line.split(",") for line in files[1].read_text().splitlines()]
    for column, line in zip((3, 4, 5), lines[1:], strict=True):
        column_of_page = [rows[diagnosis.abbreviation][column].replace("–", "nan") for diagnosis in DIAGNOSES]
        assert column_of_page == line[1:]


def test_scores_by_subgroup_are_those_of_the_headers(folder: Path, page: str) -> None:
    read = read_folders(folder / "labels", folder / "outputs")
    table = Page(page).tables["subgroups"]
    chosen = np.array([header.stem[0] == "E" for header in read.headers])
    count, score = chosen.sum(), challenge_metric(read.labels[chosen], read.answers[chosen])
    assert count >= 20 and [row[:3] for row in table if row[0] == "E"] == [["E", str(count), f"{score:.3f}"]]
    assert re.search("The same for all recordings: .*device unknown", page)


def test_lost_scores_of_the_table_sum_to_the_lost_score(folder: Path, page: str) -> None:
    read = read_folders(folder / "labels", folder / "outputs")
    cells = re.findall(r'data-value="([^"]*)"', page)
    lost = [float(cell) for cell in cells[8::9]]
    assert len(lost) == 24 and sum(lost) == pytest.approx(1 - challenge_metric(read.labels, read.answers))


def test_the_page_is_self_contained(page: str) -> None:
    parsed = Page(page)
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses), parsed.addresses
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    assert "default-src 'none'" in page and len(page.encode()) < 5_000_000
    assert len(parsed.alternatives) >= 8 and all(len(text) > 20 for text in parsed.alternatives)
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_costliest_recordings_are_drawn_if_there_is_a_signal(folder: Path, page: str) -> None:
    read = read_folders(folder / "labels", folder / "outputs")
    lost = rewards_of(read.labels, read.answers).lost
    costliest = [read.headers[place].stem for place in np.argsort(-lost, kind="stable")[:10]]
    assert re.findall(r"<h3>(.*?)</h3>", page) == costliest
    drawn = sum((folder / "labels" / f"{name}.mat").exists() for name in costliest)
    assert page.count("<img ") == drawn >= 9


def test_without_signals_the_page_says_why_nothing_is_drawn(folder: Path, tmp_path: Path) -> None:
    for header in (folder / "labels").glob("*.hea"):
        shutil.copy(header, tmp_path)
    read = read_folders(tmp_path, folder / "outputs")
    text = report_page(read, evaluate(read.labels, read.answers, read.scores))
    assert "<img " not in text and text.count("Not drawn: there is no such signal file") == 10


def test_text_of_files_never_becomes_markup(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>&\"'"
    (tmp_path / f"{name}.hea").write_text(f"{name} 12 500 5000\n#Age: <b>4</b>\n#Dx: {CODES[0]},<i>\n")
    write_output(tmp_path / f"{name}.csv", name, CODES, [0, 1] + [0] * 22, [0.0] * 24)
    read = read_folders(tmp_path, tmp_path)
    text = report_page(read, evaluate(read.labels, read.answers, read.scores))
    assert "img" not in Page(text).tags and "&lt;img src=x onerror" in text and "<b>4" not in text


@pytest.mark.parametrize(
    ("name", "status", "message"), [("r.txt", 2, "ends in .html"), ("no/r.html", 1, "No such file")]
)
def test_a_page_that_cannot_be_written_is_reported_in_one_line(
    folder: Path, tmp_path: Path, name: str, status: int, message: str
) -> None:
    result = run(
        "evaluate_12ECG_score.py", folder / "labels", folder / "outputs", "--report", tmp_path / name, status=status
    )
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium to open the page in")
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, timeout=120)


def test_a_browser_sorts_the_table_and_requests_nothing(page: str, tmp_path: Path) -> None:
    click = "document.querySelectorAll('#classes th button')[1].click();"
    requests = (
        "performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:'))"
    )
    report = f"addEventListener('load', () => document.title = 'requests: ' + {requests}.length);"
    (tmp_path / "report.html").write_text(page.replace("</script>", f"{click}{report}</script>"), encoding="utf-8")
    shown = chromium(tmp_path, "--dump-dom", (tmp_path / "report.html").as_uri()).stdout
    assert "<title>requests: 0</title>" in shown
    rows = Page(shown).tables["classes"][1:]
    recordings = [int(row[1]) for row in rows]
    assert len(rows) == 24 and recordings == sorted(recordings, reverse=True) and recordings[0] > recordings[-1]
