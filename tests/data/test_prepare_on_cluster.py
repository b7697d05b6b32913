"""Other joblib backends prepare the same: a Dask cluster, and a backend that returns all results at once."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pytest

from leadwise.challenge.classes import CODES
from leadwise.data import prepare
from leadwise.data.dataset import Dataset
from leadwise.data.prepare import prepare_dataset
from leadwise.util import parallel
from tests.data.recordings import SIGNAL, signals, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(9):
        write(tmp_path / "data", f"A{index:04d}", CODES[index], 300 + 7 * index, index)
    return tmp_path / "data"


@pytest.fixture
def expected(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Prepared by one process; the tests use smaller chunks."""
    prepared = prepare_dataset(folder, tmp_path / "plain", SIGNAL)
    monkeypatch.setattr(prepare, "CHUNK", 2)
    monkeypatch.setattr(parallel, "TASKS_HELD", 2)
    return prepared


def check(found: Dataset, expected: Dataset) -> None:
    assert found.names == expected.names
    assert signals(found) == signals(expected)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_a_dask_cluster_prepares_the_same(folder: Path, expected: Dataset, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="no Dask: distributed is not installed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "local_directory": str(tmp_path)}
    cluster = distributed.LocalCluster(**settings)
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        check(prepare_dataset(folder, tmp_path / "dask", SIGNAL, jobs=2), expected)


def test_a_backend_without_early_results_prepares_the_same(folder: Path, expected: Dataset, tmp_path: Path) -> None:
    """Such as Ray, and joblib's multiprocessing backend, which is used here."""
    with joblib.parallel_config(backend="multiprocessing"):
        check(prepare_dataset(folder, tmp_path / "pool", SIGNAL, jobs=2), expected)
