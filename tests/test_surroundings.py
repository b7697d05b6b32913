"""Loading, scoring and training work wherever they run: other defaults of torch, no temporary folder, a checkout
without links, copies of a model, other processes."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch

import leadwise
import team_code
from leadwise.model import ensemble, folder
from leadwise.model.ensemble import load_model
from leadwise.model.folder import ModelError, model_folder
from leadwise.model.initial_weights import read_initial_weights
from leadwise.network.devices import CPU, Processor
from tests.commands import run
from tests.data.recordings import write
from tests.model.models import TINY, edit, examples, write_model, write_model_with_simulation_network

OTHER_DEFAULTS = """
import hashlib, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, torch
from leadwise.model.ensemble import load_model
from tests.model.models import examples, write_model
from tests.training.folds import DATASET, TINY, VALIDATION, WITH_EMA, task, train_fold

def results(folder):
    folder.mkdir()
    write_model(folder / "model")
    model = load_model(folder / "model")
    models = (model, replace(model, stacked=None))
    found = [each.predict(*examples([100, 300, 700])).scores.tobytes() for each in models]
    for recipe in (TINY, WITH_EMA):
        features = np.ones((len(DATASET), recipe.network.demographics), np.float32)
        short = replace(recipe, training=replace(recipe.training, epochs=2))
        dataset = replace(DATASET, auxiliary_features=features)
        trained = train_fold(task(dataset, VALIDATION, short, folder / recipe.name))
        found += [trained.probabilities.tobytes(), *(value.numpy().tobytes() for value in trained.weights.values())]
    return found

folder = Path(sys.argv[1])
torch.set_num_threads(1)
usual = results(folder / "usual")
torch.set_default_dtype(torch.float64)
assert results(folder / "double") == usual
torch.set_default_dtype(torch.float32)
torch.set_default_device("meta")  # as "cuda" where there is none
assert results(folder / "meta") == usual
"""


def test_other_defaults_of_torch_change_nothing(tmp_path: Path) -> None:
    run("-c", OTHER_DEFAULTS, tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data", "A0001", samples=1500)
    return tmp_path / "data"


def test_no_temporary_folder_is_needed_to_score(tmp_path: Path, data: Path) -> None:
    """As in a container with a read-only root and no /tmp."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import tempfile\ndef none():\n    raise FileNotFoundError(2, 'No usable temporary directory found')\n"
        "tempfile._get_default_tempdir = none\n"
    )
    write_model(tmp_path / "model")
    run("driver.py", tmp_path / "model", data, tmp_path / "out", PYTHONPATH=str(tmp_path / "site"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["A0001.csv"]


def test_pretrained_is_the_package_s_model_unless_there_is_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").write_text("leadwise/pretrained")  # as git writes a link where there are none
    for name in ("pretrained", Path("pretrained"), "./pretrained/"):
        assert model_folder(name) == folder.PRETRAINED
    assert model_folder(tmp_path / "pretrained") == tmp_path / "pretrained"
    (tmp_path / "pretrained").unlink()
    write_model(tmp_path / "pretrained")
    assert len(leadwise.load("pretrained").model.networks) == 3


def test_every_door_finds_the_pretrained_model_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()
    write_model(tmp_path / "package" / "pretrained")
    folder.save_seen(tmp_path / "package" / "pretrained", ["A0001"])
    monkeypatch.setattr(folder, "PRETRAINED", tmp_path / "package" / "pretrained")
    monkeypatch.chdir(tmp_path)
    for model in (leadwise.load("pretrained").model, team_code.load_model("pretrained")):
        assert model.recipe == TINY
    assert read_initial_weights("pretrained", TINY).seen == {"A0001"}


@pytest.fixture
def model(tmp_path: Path) -> leadwise.Classifier:
    write_model_with_simulation_network(tmp_path / "model")
    return leadwise.load(tmp_path / "model", precision="fp32", site="unknown")


def test_copies_of_a_model_predict_as_it_does(model: leadwise.Classifier, data: Path) -> None:
    expected = model.predict(data / "A0001").probabilities
    for duplicate in (copy.copy, copy.deepcopy):
        assert np.array_equal(duplicate(model).predict(data / "A0001").probabilities, expected)
        assert duplicate(model.model) is model.model  # it is immutable


def test_a_pickled_model_is_small_and_loaded_once(model: leadwise.Classifier, data: Path) -> None:
    pickled = pickle.dumps(model)
    assert len(pickled) < 2000 and pickle.dumps(model.model)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: pickle.loads(pickled), range(20)))
    assert len({id(each.model) for each in models}) == 1 and models[0].model is not model.model
    result, expected = models[0].predict(data / "A0001"), model.predict(data / "A0001")
    assert np.array_equal(result.probabilities, expected.probabilities)
    assert result.out_of_distribution and repr(models[0]) == repr(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, r"model/model\.json: no such file"),
        (edit(lambda metadata: metadata["training"].update(recordings=1)), "has changed since the model was pickled"),
        (lambda folder: (folder / "fold0.safetensors").write_bytes(b"x"), r"fold0\.safetensors: damaged"),
    ],
)
def test_a_folder_that_has_changed_is_refused(
    model: leadwise.Classifier, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    pickled = pickle.dumps(model)
    change(tmp_path / "model")
    with pytest.raises(ModelError, match=message):
        pickle.loads(pickled)


def test_the_pretrained_model_is_found_where_the_other_process_has_it(
    model: leadwise.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(model)
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(ensemble, "PRETRAINED", tmp_path / "elsewhere")
    origin = pickle.loads(pickled).model.origin
    assert origin is not None and origin.folder == tmp_path / "elsewhere"


def test_a_model_that_is_not_as_it_was_loaded_is_not_pickled(model: leadwise.Classifier) -> None:
    with pytest.raises(TypeError, match="cannot pickle a model that is not as it was loaded"):
        pickle.dumps(replace(model.model, stacked=None))


def test_a_model_of_a_gpu_is_refused_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path)
    origin = load_model(tmp_path).origin
    assert origin is not None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="ran on a GPU, here is none"):
        ensemble.reload_model(replace(origin, processor=Processor(torch.device("cuda"))))


def test_the_processor_is_pickled_too_but_never_more_threads_than_there_may_be(tmp_path: Path) -> None:
    write_model(tmp_path)
    threads = torch.get_num_threads()
    try:
        model = load_model(tmp_path, Processor(CPU.device, torch.bfloat16, threads=64))
        assert pickle.loads(pickle.dumps(model)).processor == model.processor
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads)


def probabilities(model: Any, path: Path) -> tuple[int, np.ndarray]:
    return os.getpid(), model.predict(path).probabilities


def test_other_processes_predict_the_same(model: leadwise.Classifier, data: Path) -> None:
    """Each pool is given up after two minutes: a child that hangs must not stop the tests."""
    model.predict(data / "A0001")
    torch.mm(torch.ones(2000, 2000), torch.ones(2000, 2000))  # in several threads, which a forked child does not have
    expected, calls = model.predict(data / "A0001").probabilities, [(model, data / "A0001")] * 4
    if hasattr(os, "fork"):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert_same(pool.starmap_async(probabilities, calls).get(120), expected)
    with_new_interpreters = joblib.Parallel(2, timeout=120)
    assert_same(with_new_interpreters(joblib.delayed(probabilities)(*call) for call in calls), expected)


def assert_same(found: list[tuple[int, np.ndarray]], expected: np.ndarray) -> None:
    for process, probabilities in found:
        assert process != os.getpid()
        np.testing.assert_allclose(probabilities, expected, atol=1e-4)  # another number of threads: other roundings


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_that_is_forked_during_a_prediction_predicts_and_loads(
    model: leadwise.Classifier, data: Path, tmp_path: Path
) -> None:
    signals, people = examples([700] * 40)
    signals = [np.pad(signal, ((0, 0), (0, 30_000))) for signal in signals]
    people = np.pad(people, ((0, 0), (0, 1)))[:, : model.model.recipe.network.demographics]
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        busy = thread.submit(model.model.predict, signals, people)  # holds the lock of the networks
        context = multiprocessing.get_context("fork")
        child = context.Process(target=predict_and_load, args=(model, data / "A0001", tmp_path))
        child.start()
        child.join(120)
        busy.result()
    try:
        assert child.exitcode == 0
    finally:
        child.kill()


def predict_and_load(model: leadwise.Classifier, path: Path, folder: Path) -> None:
    first = model.predict(path).probabilities
    other = leadwise.load(folder / "model", threads=2, precision="fp32", site="unknown")
    np.testing.assert_allclose(other.predict(path).probabilities, first, atol=1e-4)
    assert torch.get_num_threads() == 1
