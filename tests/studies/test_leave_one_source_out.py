"""Leave one source out: the parts of its splits, its table, and the command on simulated sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.challenge.metric import challenge_metric
from leadwise.report.statistics import bootstrap_interval, rewards_of
from leadwise.simulate import write_folder
from studies.leave_one_source_out import COLUMNS, FOLDS, Result, source_masks, table_rows
from studies.run_metrics import answers_of
from studies.study import command_line, label_rule
from tests.commands import run
from tests.data.recordings import in_memory
from tests.studies.test_run_metrics import example_run

SOURCES = ("A", "E", "HR", "I", "Q", "S")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(SOURCES))
def test_the_test_part_is_the_source_and_the_other_parts_are_disjoint(seed: int, source: str) -> None:
    random = np.random.default_rng(seed)
    sources = np.array([*SOURCES, *random.choice(SOURCES, 300)])
    patients = [f"patient {place // 3}" if name == "I" else f"{place}" for place, name in enumerate(sorted(sources))]
    data = in_memory(random.random((306, 24)) < 0.1, sorted(sources), patients)
    parts = source_masks(source, data)
    np.testing.assert_array_equal(sum(part.astype(int) for part in parts.values()), np.ones(306))
    np.testing.assert_array_equal(parts["test"], np.array(data.sources) == source)
    groups = {name: {data.groups[k] for k in np.flatnonzero(part)} for name, part in parts.items()}
    assert not groups["train"] & groups["validation"]
    for other in set(SOURCES) - {source, "I"}:
        members = np.array(data.sources) == other
        assert abs((parts["validation"] & members).sum() - members.sum() / FOLDS) <= 6  # of each source about its share


@pytest.mark.parametrize(("sources", "source"), [("AE", "X"), ("AE", "a"), ("A", "A")])
def test_a_source_that_cannot_be_left_out_is_named(sources: str, source: str) -> None:
    data = in_memory(np.eye(24, dtype=bool), list(sources * 24)[:24])
    with pytest.raises(ValueError, match=f"source:{source} is no split .* sources are {', '.join(sources)}"):
        source_masks(source, data)


def results() -> dict[tuple[str, str, int], Result]:
    """Results of two recipes on two sources of different size."""
    random, found = np.random.default_rng(0), {}
    for source, count in (("A", 80), ("E", 30)):
        labels = random.random((count, 24)) < 0.15
        for recipe, noise in (("paper", 0.1), ("robust", 0.05)):
            answers = labels ^ (random.random(labels.shape) < noise)
            probabilities = np.clip(answers + random.normal(0, 0.3, labels.shape), 0, 1).astype(np.float32)
            found[recipe, source, 1] = Result(labels, probabilities, answers, np.tile(np.arange(24) == 1, (count, 1)))
    return found


def test_the_table_has_each_source_and_the_mean_of_the_sources() -> None:
    found = results()
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table_rows(found, "paper")]
    assert [(row["source"], row["recipe"], row["n"]) for row in rows] == [
        ("A", "paper", "80"), ("A", "robust", "80"), ("E", "paper", "30"), ("E", "robust", "30"),
        ("mean", "paper", "2 sources"), ("mean", "robust", "2 sources"),
    ]  # fmt: skip
    scores = {key: challenge_metric(each.labels, each.answers) for key, each in found.items()}
    for row in rows[:4]:
        result = found[row["recipe"], row["source"], 1]
        low, high = bootstrap_interval(rewards_of(result.labels, result.answers))
        assert row["challenge metric"] == f"{scores[row['recipe'], row['source'], 1]:.3f}"
        assert row["interval"] == f"{low:.3f} to {high:.3f}"
        assert row["constant baseline"] == f"{challenge_metric(result.labels, result.constant):.3f}"
        counts = result.answers.sum() / len(result.labels), result.labels.sum() / len(result.labels)
        assert row["labels a recording (true)"] == "{:.2f} ({:.2f})".format(*counts)
    gains = [scores["robust", source, 1] - scores["paper", source, 1] for source in "AE"]
    assert [row["difference"] for row in rows] == [
        "",
        f"{gains[0]:+.3f}",
        "",
        f"{gains[1]:+.3f}",
        "",
        rows[5]["difference"],
    ]
    assert float(rows[5]["difference"]) == pytest.approx(np.mean(gains), abs=6e-4)
    assert float(rows[5]["challenge metric"]) == pytest.approx(sum(scores["robust", s, 1] for s in "AE") / 2, abs=6e-4)
    low, high = map(float, rows[5]["interval of the difference"].split(" to "))
    assert low < np.mean(gains) < high and low > 0  # half the errors


def test_without_the_other_recipe_there_is_no_difference() -> None:
    found = results()
    del found["paper", "E", 1]
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table_rows(found, "paper")]
    differences = {(row["source"], row["recipe"]): row["difference"] for row in rows}
    assert differences["A", "robust"] and not differences["E", "robust"] and not differences["mean", "robust"]
    assert [row["n"] for row in rows[-2:]] == ["1 source", "2 sources"]


def test_recipes_on_different_recordings_are_not_compared() -> None:
    found = results()
    found["paper", "A", 1] = found["paper", "E", 1]
    with pytest.raises(ValueError, match="robust and paper were tested on different recordings"):
        table_rows(found, "paper")


def test_a_result_has_the_answers_of_the_recipes_own_rule() -> None:
    arrays = example_run()
    result = Result.of(arrays, label_rule("robust"), 1.0)
    np.testing.assert_array_equal(result.answers, answers_of(arrays, "test", 1.0)["reward simulation"])
    np.testing.assert_array_equal(result.labels, arrays["test_labels"])


def test_the_command_trains_and_ends_with_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "data", 72, seed=3, sources=["A", "E", "Q"], longest=10)
    arguments = ["--splits", "source:A,source:E", "--recipes", "quick", "--epochs", "1", "--threads", "1"]
    printed = run("-m", "studies.study", *arguments, tmp_path / "results", tmp_path / "data").stdout
    lines = [line.split(" | ") for line in printed.splitlines() if " | " in line]
    counts = {source: len(list((tmp_path / "data").rglob(f"{source}*.hea"))) for source in "AE"}
    assert lines[0] == list(COLUMNS)
    assert [line[:4] for line in lines[1:]] == [
        *([source, "quick", "2020", str(count)] for source, count in counts.items()),
        ["mean", "quick", "2020", "2 sources"],
    ]
    with np.load(tmp_path / "results" / "quick" / "source-A" / "2020.npz") as stored:
        assert stored["train_sources"].tolist() == ["E", "Q"] and set(stored["test_sources"]) == {"A"}
        assert len(stored["train_labels"]) + len(stored["validation_labels"]) + counts["A"] == 72
    folders = [str(tmp_path / name) for name in ("results", "data")]
    do("all", *arguments, *folders)  # nothing is left to train
    shown = capsys.readouterr().out
    assert [line.split(" | ") for line in shown.splitlines()] == lines
    do("table", folders[0])
    assert capsys.readouterr().out == shown


def do(*arguments: str) -> None:
    """Run a command of the study in this process."""
    parsed = command_line().parse_args(arguments)
    parsed.do(parsed)


@pytest.mark.parametrize(
    ("splits", "message"),
    [("source:A,device:AT", "INDEX.csv is needed for device:AT; only source"), ("source:A,source:B", "source:B is no")],
)
def test_an_impossible_split_is_named_before_any_training(tmp_path: Path, splits: str, message: str) -> None:
    write_folder(tmp_path / "data", 40, seed=3, sources=["A", "E"], longest=10)
    with pytest.raises(ValueError, match=message):
        do("train", str(tmp_path / "results"), str(tmp_path / "data"), "--recipes", "quick", "--splits", splits)
    assert not (tmp_path / "results" / "quick").exists()
