"""Tests of output files: writing, reading, and tolerated deviations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.challenge.classes import CODES, class_index
from leadwise.challenge.outputs import read_output, write_output

RBBB, CRBBB, AF, SINUS = "59118001", "713427006", "164889003", "426783006"


def vectors(tmp_path, text):
    """Write an output with this text; return its labels and scores of the 24 classes."""
    path = tmp_path / "A0001.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_output(path).by_class()


def test_an_output_has_four_lines(tmp_path):
    write_output(tmp_path / "A0001.csv", "A0001", CODES[:3], [0, 1, True], [0.0132, np.float32(0.9127), 1])
    expected = "#A0001\n270492004,164889003,164890007\n0,1,1\n0.0132,0.912699997,1\n"
    assert (tmp_path / "A0001.csv").read_text() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["A0001.csv"]  # no temporary file is left


@given(st.lists(st.booleans(), min_size=24, max_size=24), st.lists(st.floats(0, 1, width=32), min_size=24, max_size=24))
def test_reading_returns_what_was_written(tmp_path_factory, labels, scores):
    path = tmp_path_factory.mktemp("output") / "E00001.csv"
    write_output(path, "E00001", CODES, labels, scores)
    read_labels, read_scores = read_output(path).by_class()
    assert read_labels.tolist() == labels
    assert np.array_equal(read_scores.astype(np.float32), np.array(scores, dtype=np.float32))


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([0], [0.5, 0.5]), ([0, 2], [0.5, 0.5]), ([0, 1], [0.5, math.nan]), ([0, 1], [0.5, 1.1]), ([0, 1], [0.5, -0.1])],
)
def test_an_invalid_output_is_not_written(tmp_path, labels, scores):
    with pytest.raises(ValueError, match="A0001"):
        write_output(tmp_path / "A0001.csv", "A0001", [AF, SINUS], labels, scores)
    assert not list(tmp_path.iterdir())


def test_blank_lines_and_comments_are_skipped_everywhere(tmp_path):
    text = f"\r\n#A0001\r\n  \r\n {SINUS} , {AF} \r\n # labels\r\n 0 , 1\r\n\r\n0.25 , 0.75"
    labels, scores = vectors(tmp_path, text)
    assert labels[class_index(AF)] and labels.sum() == 1
    assert (scores[class_index(SINUS)], scores[class_index(AF)], scores.sum()) == (0.25, 0.75, 1.0)


def test_a_byte_order_mark_and_invalid_utf8_do_not_hide_the_classes(tmp_path):
    labels, scores = vectors(tmp_path, f"\ufeff{AF},caf".encode() + b"\xe9\n1,1\n0.75,0.5\n")
    assert labels[class_index(AF)] and labels.sum() == 1 and scores.sum() == 0.75


@pytest.mark.parametrize("text", ["1", "True", "true", "T", "t", " 1 "])
def test_labels_that_mean_one(tmp_path, text):
    assert vectors(tmp_path, f"{AF}\n{text}\n0.5\n")[0][class_index(AF)]


@pytest.mark.parametrize("text", ["0", "1.0", "TRUE", "yes", "2", "-1", "nan", "False"])
def test_all_other_labels_mean_zero(tmp_path, text):
    assert not vectors(tmp_path, f"{AF}\n{text}\n0.5\n")[0].any()


@pytest.mark.parametrize(
    ("text", "score"), [("0.5", 0.5), ("1e-3", 0.001), ("high", 0), ("", 0), ("nan", 0), ("inf", math.inf), ("-2", -2)]
)
def test_a_score_that_is_no_number_is_zero(tmp_path, text, score):
    # A second column, because a single column without a score would be a blank line.
    assert vectors(tmp_path, f"{AF},{SINUS}\n1,0\n{text},0.5\n")[1][class_index(AF)] == score


@pytest.mark.parametrize(
    ("scores", "mean"), [("0.2,0.4", 0.3), ("nan,0.4", 0.4), ("nan,nan", 0.0), ("high,0.4", 0.2), ("inf,-inf", 0.0)]
)
def test_columns_of_one_class_combine_labels_by_or_and_average_scores_without_nan(tmp_path, scores, mean):
    for codes in (f"{CRBBB},{RBBB}", f"{RBBB},{CRBBB}", f"{RBBB},{RBBB}"):
        labels, means = vectors(tmp_path, f"{codes}\n0,1\n{scores}\n")
        assert labels[class_index(CRBBB)] and labels.sum() == 1
        assert means[class_index(CRBBB)] == pytest.approx(mean, abs=1e-15) and np.count_nonzero(means) <= 1


def test_missing_classes_are_zero_and_unscored_ones_are_dropped(tmp_path):
    labels, scores = vectors(tmp_path, f"55827005,{AF},LVH,\n1,1,1,1\n0.9,0.8,0.9,0.9\n")
    assert np.flatnonzero(labels).tolist() == np.flatnonzero(scores).tolist() == [class_index(AF)]


@pytest.mark.parametrize(
    "text",
    ["", "#A0001\n", f"#A0001\n{AF}\n1\n", f"{AF},{SINUS}\n1\n0.5,0.5\n", f"{AF}\n1\n0.5,0.5\n", "a,b\n0,1\n,\n0\n"],
)
def test_too_few_lines_and_lines_of_different_length_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match="lines"):
        vectors(tmp_path, text)


def test_a_fourth_line_of_the_same_length_is_ignored(tmp_path):
    labels, scores = vectors(tmp_path, f"{AF}\n1\n0.5\n0\n")
    assert labels.sum() == 1 and scores.sum() == 0.5
