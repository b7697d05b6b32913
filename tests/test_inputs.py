"""Whatever a caller passes becomes items in order, or an error that says what is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.inputs import Details, items_of
from tests.conftest import LEADS

ARRAY = np.random.default_rng(0).normal(0, 0.2, (3, 400))
DETAILS = Details(sampling_frequency=500, lead_names=["I", "II", "V1"])


@pytest.mark.parametrize(
    ("ecg", "count", "single"),
    [
        ("A0001", 1, True),
        (Path("x/A0001.hea"), 1, True),
        (["a", Path("b")], 2, False),
        (iter(["a", "b", "c"]), 3, False),
        ([], 0, False),
        ((), 0, False),
    ],
)
def test_paths_are_items(ecg: object, count: int, single: bool) -> None:
    items, one = items_of(ecg, Details())
    assert (len(items), one) == (count, single)


def test_arrays_are_items_with_their_own_details() -> None:
    items, single = items_of(ARRAY, DETAILS)
    assert single and items[0].name == "array" and np.allclose(items[0].read().counts, 1000 * ARRAY)
    details = Details(sampling_frequency=[500, 250], lead_names=[["I", "II", "V1"], ["V1", "V2", "V3"]], age=[None, 70])
    items, single = items_of([ARRAY, ARRAY[:, :300]], details)
    recordings = [item.read() for item in items]
    assert not single and [each.sampling_frequency for each in recordings] == [500, 250]
    assert [each.lead_names for each in recordings] == [("I", "II", "V1"), ("V1", "V2", "V3")]
    assert [each.header.age for each in recordings] == [None, 70]


@given(
    count=st.integers(1, 5),
    detail=st.sampled_from(["sampling_frequency", "age", "sex", "name", "unit"]),
    length=st.integers(0, 6),
)
def test_a_list_of_details_needs_one_for_each(count: int, detail: str, length: int) -> None:
    values = {"sampling_frequency": 500, "age": 40, "sex": "male", "name": "x", "unit": "mV"}
    details = Details(lead_names=LEADS[:3], **({"sampling_frequency": 500} | {detail: [values[detail]] * length}))
    if length == count:
        assert len(items_of([ARRAY] * count, details)[0]) == count
    else:
        with pytest.raises(ValueError, match=f"{detail}: {length} values for {count} ECGs"):
            items_of([ARRAY] * count, details)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner))


@given(NESTED)
def test_anything_else_is_a_value_error(value: object) -> None:
    try:
        items_of(value, DETAILS)
    except ValueError as error:
        assert str(error)
