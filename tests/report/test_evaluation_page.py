"""The report of any outputs: its figures are the evaluator's, it needs nothing else, no text becomes markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.challenge.classes import CODES, DIAGNOSES, REWARDS
from leadwise.challenge.evaluation import read_folders
from leadwise.challenge.metric import challenge_metric, evaluate
from leadwise.challenge.outputs import write_output
from leadwise.report.evaluation_page import report_page
from leadwise.report.statistics import (
    bootstrap_interval,
    calibration_of,
    class_counts,
    confusion_of,
    macro_rates,
    rewards_of,
)
from leadwise.simulate import write_folder
from tests import naive
from tests.conftest import header_text
from tests.test_commands import run


def draw(seed: int, recordings: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, answers and scores of recordings, some of them without a label."""
    random = np.random.default_rng(seed)
    labels = random.random((recordings, 24)) < random.uniform(0, 0.2, 24)
    scores = np.clip(0.6 * labels + random.normal(0.2, 0.2, labels.shape), 0, 1).round(3)
    return labels, scores >= 0.5, scores


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two sources with outputs of a made-up program; one has a header alone."""
    folder = tmp_path_factory.mktemp("report")
    write_folder(folder / "labels", 30, 5, sources=["E", "S"], class_floor=0.02)
    (folder / "labels" / "X.hea").write_text(header_text("X", np.ones((12, 5), np.int16)))
    (folder / "outputs").mkdir()
    _, answers, scores = draw(2, 31)
    for header, said, score in zip(sorted((folder / "labels").glob("*.hea")), answers, scores, strict=True):
        write_output(folder / "outputs" / f"{header.stem}.csv", header.stem, CODES, said.astype(int), score)
    return folder


@pytest.fixture(scope="module")
def page(room: Path) -> str:
    read = read_folders(room / "labels", room / "outputs")
    return report_page(read, evaluate(read.labels, read.answers, read.scores))


class Page(HTMLParser):
    """Tables as lists of rows of texts by id, addresses, pictures with their text alternatives, all tags."""

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


# -------------------------------------------------------------------------------------------------------------- numbers


@given(seed=st.integers(0, 1000))
def test_rewards_confusion_and_classes_add_up_to_the_lost_score(seed: int) -> None:
    labels, answers, _ = draw(seed)
    score = challenge_metric(labels, answers)
    rewards = rewards_of(labels, answers)
    assert rewards.lost.sum() == pytest.approx(1 - score if rewards.correct.sum() != rewards.inactive.sum() else 0)
    for place in range(0, len(labels), 7):
        mine, said = np.flatnonzero(labels[place]), np.flatnonzero(answers[place])
        both = max(len(set(mine) | set(said)), 1)
        assert rewards.answers[place] == pytest.approx(sum(REWARDS[j, k] for j in mine for k in said) / both)
    confusion = confusion_of(labels, answers, rewards.lost)
    assert confusion.lost.sum() == pytest.approx(rewards.lost.sum())
    counts, lost = np.zeros((25, 25), int), np.zeros((25, 25))
    for y, s, cost in zip(labels, answers, rewards.lost, strict=True):
        missed, wrong = np.flatnonzero(y & ~s).tolist() or [24], np.flatnonzero(s & ~y).tolist() or [24]
        for j in missed:
            for k in wrong:
                counts[j, k] += (j, k) != (24, 24)
                lost[j, k] += cost / len(missed) / len(wrong)
    np.testing.assert_array_equal(confusion.counts, counts)
    np.testing.assert_allclose(confusion.lost, lost, atol=1e-12)


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    labels, answers, _ = draw(3, 60)
    random = np.random.default_rng(9)
    drawn = [random.integers(60, size=60) for _ in range(400)]
    plain = np.percentile([challenge_metric(labels[rows], answers[rows]) for rows in drawn], [2.5, 97.5])
    fast = bootstrap_interval(rewards_of(labels, answers), 400, 9)
    np.testing.assert_allclose(fast, plain, atol=1e-12)
    low, high = bootstrap_interval(rewards_of(labels, answers))
    assert low < challenge_metric(labels, answers) < high
    assert bootstrap_interval(rewards_of(labels, answers)) == (low, high)
    assert bootstrap_interval(rewards_of(labels, labels)) == (1, 1)


def test_counts_and_calibration_are_those_of_plain_loops() -> None:
    labels, answers, scores = draw(4)
    scores[0, 0], scores[1, 0] = 0.0, 1.0
    counts, calibration = class_counts(labels, answers), calibration_of(labels, scores)
    for k in range(24):
        y, s = labels[:, k], answers[:, k]
        assert (counts.tp[k], counts.fn[k]) == (sum(y & s), sum(y & ~s))
        if y.any():
            assert counts.sensitivity[k] == sum(y & s) / sum(y)
        assert counts.specificity[k] == sum(~y & ~s) / sum(~y)
        for b in range(10):
            inside = [r for r in range(len(y)) if min(int(scores[r, k] * 10), 9) == b]
            assert calibration.counts[k, b] == len(inside)
            if inside:
                assert calibration.frequency[k, b] == pytest.approx(y[inside].mean())
                assert calibration.mean_score[k, b] == pytest.approx(scores[inside, k].mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sensitivity_and_specificity_are_those_of_a_naive_twin(seed: int) -> None:
    labels, answers, _ = draw(seed)
    labels[:, 0], labels[:, 1] = False, True  # one class that never occurs, one that always does
    expected = naive.macro_rates(labels.tolist(), answers.tolist())
    assert macro_rates(labels, answers) == pytest.approx(expected, abs=1e-12)
    everywhere = np.ones_like(labels)
    sensitivity, specificity = macro_rates(everywhere, answers)
    assert sensitivity == pytest.approx(answers.mean()) and np.isnan(specificity)


# ------------------------------------------------------------------------------------------------------------- the page


def test_sensitivity_and_specificity_stand_beside_the_published_ones(room: Path, page: str) -> None:
    read = read_folders(room / "labels", room / "outputs")
    sensitivity, specificity = macro_rates(read.labels, read.answers)
    assert f"sensitivity {sensitivity:.3f} (published for five-fold validation: 0.758)" in page
    assert f"specificity {specificity:.3f} (published for five-fold validation: 0.969)" in page


def test_figures_are_those_of_the_evaluators_files(room: Path, page: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("scores.csv", "class_scores.csv", "report.html")]
    run("evaluate_12ECG_score.py", room / "labels", room / "outputs", *files[:2], "--report", files[2])
    assert files[2].read_text(encoding="utf-8") == page  # the same bytes each time
    tables = Page(page).tables
    names, values = (line.split(",") for line in files[0].read_text().splitlines())
    assert tables["figures"][0][1:] == names
    assert [text.replace("–", "nan") for text in tables["figures"][1][1:]] == values
    rows = {row[0]: row for row in tables["classes"][1:]}
    lines = [line.split(",") for line in files[1].read_text().splitlines()]
    for column, line in zip((3, 4, 5), lines[1:], strict=True):
        told = [rows[diagnosis.abbreviation][column].replace("–", "nan") for diagnosis in DIAGNOSES]
        assert told == line[1:]


def test_lost_scores_of_the_table_add_up(room: Path, page: str) -> None:
    read = read_folders(room / "labels", room / "outputs")
    cells = re.findall(r'data-value="([^"]*)"', page)
    lost = [float(cell) for cell in cells[8::9]]
    assert len(lost) == 24 and sum(lost) == pytest.approx(1 - challenge_metric(read.labels, read.answers))


def test_the_page_needs_nothing_else(page: str) -> None:
    parsed = Page(page)
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses), parsed.addresses
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    assert "default-src 'none'" in page and len(page.encode()) < 5_000_000
    assert len(parsed.alternatives) >= 8 and all(len(text) > 20 for text in parsed.alternatives)
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_dearest_recordings_are_drawn_where_there_is_a_signal(room: Path, page: str) -> None:
    read = read_folders(room / "labels", room / "outputs")
    lost = rewards_of(read.labels, read.answers).lost
    dearest = [read.headers[place].stem for place in np.argsort(-lost, kind="stable")[:10]]
    assert re.findall(r"<h3>(.*?)</h3>", page) == dearest
    drawn = sum((room / "labels" / f"{name}.mat").exists() for name in dearest)
    assert page.count("<img ") == drawn >= 9


def test_without_signals_nothing_is_drawn_and_the_reason_is_told(room: Path, tmp_path: Path) -> None:
    for header in (room / "labels").glob("*.hea"):
        shutil.copy(header, tmp_path)
    read = read_folders(tmp_path, room / "outputs")
    text = report_page(read, evaluate(read.labels, read.answers, read.scores))
    assert "<img " not in text and text.count("Not drawn: there is no such signal file") == 10


def test_text_of_files_is_never_markup(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>&\"'"
    (tmp_path / f"{name}.hea").write_text(f"{name} 12 500 5000\n#Age: <b>4</b>\n#Dx: {CODES[0]},<i>\n")
    write_output(tmp_path / f"{name}.csv", name, CODES, [0, 1] + [0] * 22, [0.0] * 24)
    read = read_folders(tmp_path, tmp_path)
    text = report_page(read, evaluate(read.labels, read.answers, read.scores))
    assert "img" not in Page(text).tags and "&lt;img src=x onerror" in text and "<b>4" not in text


def test_without_a_report_the_evaluator_loads_neither_torch_nor_matplotlib() -> None:
    run("-c", "import sys, evaluate_12ECG_score; sys.exit(bool({'torch', 'matplotlib', 'jinja2'} & set(sys.modules)))")


@pytest.mark.parametrize(
    ("name", "status", "message"), [("r.txt", 2, "ends in .html"), ("no/r.html", 1, "No such file")]
)
def test_what_cannot_be_written_says_so_in_one_line(
    room: Path, tmp_path: Path, name: str, status: int, message: str
) -> None:
    result = run(
        "evaluate_12ECG_score.py", room / "labels", room / "outputs", "--report", tmp_path / name, status=status
    )
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium to open the page in")
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, timeout=120)


def test_a_browser_sorts_the_table_and_asks_for_nothing(page: str, tmp_path: Path) -> None:
    click = "document.querySelectorAll('#classes th button')[1].click();"
    asked = (
        "performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:'))"
    )
    tell = f"addEventListener('load', () => document.title = 'asked for ' + {asked}.length);"
    (tmp_path / "report.html").write_text(page.replace("</script>", f"{click}{tell}</script>"), encoding="utf-8")
    shown = chromium(tmp_path, "--dump-dom", (tmp_path / "report.html").as_uri()).stdout
    assert "<title>asked for 0</title>" in shown
    rows = Page(shown).tables["classes"][1:]
    recordings = [int(row[1]) for row in rows]
    assert len(rows) == 24 and recordings == sorted(recordings, reverse=True) and recordings[0] > recordings[-1]
