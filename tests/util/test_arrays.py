"""The median against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from leadwise.util.arrays import median


@given(arrays(np.float64, array_shapes(max_dims=3), elements=st.floats(-1e6, 1e6)), st.data())
def test_the_median_has_the_bits_of_numpy_s(values: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.sampled_from(range(values.ndim)))
    assert np.array_equal(median(values, axis), np.median(values, axis=axis, keepdims=True))


@pytest.mark.parametrize("samples", [1, 2, 1250, 5000])
def test_the_median_over_leads_is_one_signal(samples: int) -> None:
    leads = np.random.default_rng(0).normal(size=(12, samples))
    assert np.array_equal(median(leads, axis=0)[0], np.median(leads, axis=0))
