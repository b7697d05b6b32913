"""A result names what is likely and what is possible, in the table, in the notebook and in its lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leadwise.result import LIKELY, NAMES, Result

UNKNOWN = np.full(24, np.nan)


def result(probabilities: np.ndarray, labels: np.ndarray, **more: object) -> Result:
    return Result("A1", probabilities, labels, UNKNOWN, (), None, UNKNOWN, UNKNOWN, **more)  # type: ignore[arg-type]


@given(arrays(float, 24, elements=st.floats(0, 1)), arrays(bool, 24))
def test_likely_and_possible_divide_what_is_shown(probabilities: np.ndarray, labels: np.ndarray) -> None:
    one = result(probabilities, labels)
    assert set(one.likely) == {NAMES[k] for k in range(24) if probabilities[k] >= LIKELY}
    assert set(one.possible) == {NAMES[k] for k in range(24) if labels[k] and probabilities[k] < LIKELY}
    assert set(one.found) == {NAMES[k] for k in range(24) if labels[k]}
    assert sorted(one.order) == list(range(24))
    words = [one.status(k) for k in one.order]
    assert words == sorted(words, key=("likely", "possible", "").index)
    for status in ("likely", "possible", ""):
        group = [probabilities[k] for k in one.order if one.status(k) == status]
        assert group == sorted(group, reverse=True)
    rows = one.table().splitlines()[1:]
    assert [row[:10].strip() for row in rows] == words
    assert one._repr_html_().count("<td>likely</td>") == len(one.likely)


def test_warnings_come_before_the_table() -> None:
    one = result(np.full(24, 0.2), np.eye(24, dtype=bool)[3], warnings=("V2 is flat", "hardly an ECG"))
    lines = str(one).splitlines()
    assert lines[:3] == ["A1", "warning: V2 is flat", "warning: hardly an ECG"]
    assert "<p>warning: V2 is flat</p>" in one._repr_html_()
