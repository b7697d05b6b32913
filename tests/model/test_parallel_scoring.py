"""Scoring with many processes gives the outputs of one, in any backend, also after a worker was lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import leadwise
from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import read_output
from leadwise.model import parallel_scoring
from leadwise.model.ensemble import load_model
from leadwise.model.parallel_scoring import score_in_parallel
from leadwise.model.scoring import score_folder
from leadwise.options import DriverOptions
from leadwise.util.files import PARTIAL
from tests.data.recordings import write
from tests.model.models import write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a model, recordings of which one cannot be used, and the outputs of one process."""
    folder = tmp_path_factory.mktemp("cluster")
    write_model(folder / "model")
    for k in range(11):
        write(folder / "data", f"A{k:04d}", CODES[k], samples=700 + 60 * k, seed=k)
    (folder / "data" / "A0003.mat").write_bytes(b"no matrix")
    # as many recordings together as in a task: others in a batch change the last digits
    score_folder(load_model(folder / "model"), folder / "data", folder / "expected", DriverOptions(batch_size=2))
    return folder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_scoring, "CHUNK", 2)


def assert_outputs_as_expected(output: Path, expected: Path) -> None:
    """Compare two output folders: no other file, the same labels, scores within what another number of threads adds."""
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in expected.iterdir())
    for path in expected.iterdir():
        one, other = read_output(output / path.name), read_output(path)
        assert (one.codes, one.labels) == (other.codes, other.labels)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


@pytest.mark.parametrize("backend", ["loky", "threading", None])
def test_outputs_are_those_of_one_process(folder: Path, tmp_path: Path, backend: str | None) -> None:
    summary = leadwise.score(folder / "data", folder / "model", tmp_path / "out", backend=backend, jobs=2)
    assert_outputs_as_expected(tmp_path / "out", folder / "expected")
    assert summary.recordings == 11 and [name for name, _ in summary.unusable] == ["A0003"]


def test_a_dask_cluster_scores_the_same_and_does_the_part_of_a_lost_worker_again(folder: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="no Dask: distributed is not installed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "local_directory": str(tmp_path)}
    model = leadwise.load(folder / "model", threads=1)
    paths = sorted((folder / "data").glob("*.hea"))
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster):
        killer = threading.Thread(target=kill_once, args=(tmp_path / "out", cluster.workers[0].pid))
        killer.start()
        summary = leadwise.score(paths, model, tmp_path / "out", backend="dask", quality=True)
        killer.join()
    assert_outputs_as_expected(tmp_path / "out", folder / "expected")
    assert [name for name, _ in summary.unusable] == ["A0003"] and summary.warnings


def kill_once(output: Path, process: int) -> None:
    """Kill a process when the first output is there."""
    end = time.monotonic() + 120
    while time.monotonic() < end and not (output.is_dir() and any(output.iterdir())):
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)


def test_what_a_killed_worker_left_is_removed_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / f".B0001.csv{PARTIAL}x"  # being written by a run over other recordings
    for name in (f".A0001.csv{PARTIAL}x", other.name):
        (tmp_path / name).touch()
    leadwise.score([folder / "data" / "A0001"], folder / "model", tmp_path, backend="threading", jobs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "A0001.csv"]


def test_names_decide_the_outputs(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder / "model")
    record = folder / "data" / "A0001"
    assert score_in_parallel(model, [record, record], tmp_path, 1).recordings == 1
    with pytest.raises(ValueError, match="two recordings are named A0001"):
        score_in_parallel(model, [record, tmp_path / "A0001.hea"], tmp_path, 1)
    with pytest.raises(ValueError, match="has no recordings"):
        leadwise.score(tmp_path / "none" if (tmp_path / "none").mkdir() is None else "", model_of(folder), tmp_path)


def model_of(folder: Path) -> leadwise.Classifier:
    return leadwise.load(folder / "model")


def test_an_iterator_of_paths_is_scored(folder: Path, tmp_path: Path) -> None:
    def paths() -> Iterator[str]:
        yield str(folder / "data" / "A0001")
        yield str(folder / "data" / "A0002.mat")

    assert leadwise.score(paths(), folder / "model", tmp_path / "out", jobs=1).recordings == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["A0001.csv", "A0002.csv"]
