"""Whole trainings: SIGTERM, too little time, failing disks and file operations, kill -9, changed data."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import logging
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import train_model
from benchmarks.material import write_recordings
from leadwise.challenge.classes import CODES
from leadwise.data.prepare import prepare_dataset
from leadwise.model.ensemble import load_model
from leadwise.options import TrainingOptions
from leadwise.recipes import PAPER, RECIPES, DecisionRecipe
from leadwise.training import epoch as epoch_module
from leadwise.training import fold_state
from leadwise.training import metadata as metadata_module
from leadwise.training import run as run_module
from leadwise.training.time_plan import TimePlan
from tests.data.recordings import write
from tests.soak import kill
from tests.training.folds import TINY
from tests.training.interruptions import Clock, after_calls, at_call, dead_after, die, terminate

# initial weights from simulated ECGs, whose network is kept as the simulation-only network
SIMULATING = dataclasses.replace(
    TINY,
    training=dataclasses.replace(TINY.training, epochs=2, simulated=3, simulated_epochs=1),
    decision=DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True),
)
OPERATIONS = ("replace", "unlink", "mkdir", "fsync", "rmdir", "fchmod")  # of the module os: pathlib and shutil use them


@pytest.mark.parametrize(
    "batch, networks, epochs, unfinished",
    [
        (5, 1, 2, "stopped after 2 of 3 epochs of fold 0"),
        (8, 1, 3, "1 of 2 folds"),  # in the first epoch of the second fold
        (10, 2, 1, "stopped after 1 of 3 epochs of fold 1"),
    ],
)
def test_sigterm_leaves_a_model_of_the_epochs_so_far_and_the_command_resumes(
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    networks: int,
    epochs: int,
    unfinished: str,
) -> None:
    """Eight recordings train a fold: two batches an epoch, three epochs, two folds."""
    expected = tiny_runs(tmp_path / "uninterrupted")
    with monkeypatch.context() as patch:
        patch.setattr(epoch_module, "train_batch", after_calls(batch, epoch_module.train_batch, terminate))
        metadata = tiny_runs(tmp_path / "model")["model.json"]
    model = load_model(tmp_path / "model")
    assert len(model.networks) == networks and len(metadata["folds"][-1]["epochs"]) == epochs
    assert model.thresholds.shape == (networks, 24)
    assert metadata["training"]["unfinished"] == unfinished
    assert tiny_runs(tmp_path / "model") == expected


def test_sigterm_waits_until_a_finished_fold_is_written(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for search, networks, unfinished in ((1, 1, "1 of 2 folds"), (2, 2, "")):
        with monkeypatch.context() as patch:
            patch.setattr(
                metadata_module, "search_thresholds", after_calls(search, metadata_module.search_thresholds, terminate)
            )
            metadata = tiny_runs(tmp_path / f"model{search}")["model.json"]
        assert len(metadata["folds"]) == networks and metadata["training"]["unfinished"] == unfinished
        assert len(load_model(tmp_path / f"model{search}").networks) == networks


def test_sigterm_before_the_end_of_the_first_epoch_exits_with_143_and_keeps_the_earlier_model(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = tiny_runs(tmp_path / "model", epochs=1)
    for where, name in ((run_module, "assign_folds"), (epoch_module, "predict")):
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
            patch.setattr(where, name, after_calls(1, getattr(where, name), terminate))
            tiny_runs(tmp_path / "model")
        assert stopped.value.code == 143
        assert {path: value for path, value in kill.contents(tmp_path / "model").items() if "/" not in path} == earlier
        assert (tmp_path / "model" / "checkpoint" / "prepared" / "recordings.json").exists()
    assert tiny_runs(tmp_path / "model") == tiny_runs(tmp_path / "uninterrupted")


@pytest.mark.parametrize("seconds, folds, least_epochs", [(1.0, 2, 3), (5.0, 2, 1), (40.0, 1, 1), (1000.0, 1, 1)])
def test_the_model_is_complete_before_the_limit(
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    folds: int,
    least_epochs: int,
) -> None:
    """Two batches an epoch of so many seconds each; the limit is a minute."""
    clock = Clock(seconds, monkeypatch)
    monkeypatch.setattr(run_module, "TimePlan", lambda epochs, folds, limit: TimePlan(epochs, folds, limit, clock))
    found = tiny_runs(tmp_path / "model", max_hours=1 / 60)["model.json"]
    assert clock.now <= max(60, seconds)  # one batch is the least
    assert len(load_model(tmp_path / "model").networks) == len(found["folds"]) == folds
    assert all(len(fold["epochs"]) >= least_epochs and len(fold["thresholds"]) == 24 for fold in found["folds"])
    assert found["training"]["unfinished"] == ""
    numbers = ", ".join(str(len(fold["epochs"])) for fold in found["folds"])
    expected = "" if seconds == 1 else f"{folds} of 2 folds, with {numbers} of 3 epochs"
    assert found["training"]["shortened"] == expected
    assert not (tmp_path / "model" / "checkpoint").exists()
    batches = clock.now
    tiny_runs(tmp_path / "model", max_hours=1 / 60)
    assert clock.now == batches  # nothing is trained again


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of three megabytes; skip the test if that is impossible."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def command(
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Path], str]:
    """Run train_model.py in this process with recipe `tiny`, which must fail; return its one line."""
    train = run_module.train
    tiny = TrainingOptions(recipe="tiny", jobs=1, threads=1, pages=False)

    def run(model: Path) -> str:
        monkeypatch.setattr(run_module, "train", lambda data, folder, options, report: train(data, folder, tiny))
        monkeypatch.setattr(logging, "raiseExceptions", False)  # the log's handler may have an earlier test's stream
        capsys.readouterr()
        assert train_model.main([str(tmp_path / "data"), str(model)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.startswith("train_model.py: ")
        return error

    return run


def visible(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}


@pytest.mark.parametrize("megabytes", [0.01, 0.1, 0.2, 0.3])
def test_a_full_disk_is_one_line_and_harms_nothing(
    command: Callable[[Path], str],
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    disk: Path,
    megabytes: float,
) -> None:
    """Depending on the free space, preparation, a checkpoint or a network does not fit."""
    model = disk / "model"
    tiny_runs(model, epochs=1)
    earlier = visible(model)
    filling = disk / "filling"
    filling.write_bytes(bytes(shutil.disk_usage(disk).free - int(megabytes * 1e6)))
    assert "No space left on device: " in command(model)
    assert not list(model.rglob("*.partial-*")) and not list(model.rglob(".prepared*"))
    assert set(visible(model)) == set(earlier)
    assert len(load_model(model).networks) >= 1
    filling.unlink()
    assert tiny_runs(model) == tiny_runs(tmp_path / "uninterrupted")


def test_workers_report_a_full_disk_and_leave_nothing(tmp_path: Path, disk: Path) -> None:
    """60 recordings take 7 MB, and both processes write into one file."""
    write_recordings(tmp_path / "many", 60)
    with pytest.raises(OSError, match=r"No space left on device: .*samples\.f32"):
        prepare_dataset(tmp_path / "many", disk / "work", PAPER.signal, jobs=2)
    assert not list((disk / "work").iterdir())


def test_a_read_only_disk_is_one_line_and_harms_nothing(
    command: Callable[[Path], str], tiny_runs: Callable[..., dict[str, Any]], disk: Path
) -> None:
    earlier = tiny_runs(disk / "model", epochs=1)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert f"Read-only file system: '{disk / 'model'}" in command(disk / "model")
    assert "Read-only file system" in command(disk / "new")
    assert kill.contents(disk / "model") == earlier
    assert not (disk / "new").exists()


def test_a_folder_without_permission_is_one_line(command: Callable[[Path], str], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "model").mkdir(mode=0o555)
    assert "Permission denied" in command(tmp_path / "model")
    assert not list((tmp_path / "model").iterdir())


def test_each_file_operation_may_fail_once(
    command: Callable[[Path], str],
    tiny_runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The training fails with one error or continues; the folder is a model before and after, finally the same one."""
    monkeypatch.setitem(RECIPES, "tiny", SIMULATING)
    expected = tiny_runs(tmp_path / "uninterrupted")
    tiny_runs(tmp_path / "earlier", seed=5)  # other weights, which must not be mistaken for the new ones
    failed, refused = 0, 0

    def fail() -> None:
        nonlocal failed
        failed += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for number in itertools.count(1):
        model = shutil.copytree(tmp_path / "earlier", tmp_path / f"model{number}")
        before = failed
        with monkeypatch.context() as patch:
            counter = itertools.count(1)
            for name in OPERATIONS:
                patch.setattr(os, name, at_call(number, counter, getattr(os, name), fail))
            try:
                tiny_runs(model)
            except OSError as error:
                refused += 1
                assert error.errno == errno.ENOSPC
        assert load_model(model).networks
        assert tiny_runs(model) == expected
        shutil.rmtree(model)
        if failed == before:
            break
    assert failed > 30 and refused > failed / 2


@pytest.mark.parametrize("earlier", [False, True])
def test_a_kill_between_the_weights_and_their_description_leaves_a_model(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    """Dies at each renaming and removal in the model folder itself, as by a kill or a power cut."""
    monkeypatch.setitem(RECIPES, "tiny", SIMULATING)
    expected, model = tiny_runs(tmp_path / "uninterrupted"), tmp_path / "model"
    stopped = 0
    for number in itertools.count(1):
        shutil.rmtree(model, ignore_errors=True)
        if earlier:
            tiny_runs(model, seed=5)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            counter = itertools.count(1)
            for name in ("replace", "unlink"):
                patch.setattr(os, name, dead_after(number, counter, getattr(os, name), model))
            tiny_runs(model)
            break
        stopped += 1
        described = (model / "model.json").exists()
        assert described or not earlier
        if described:
            assert load_model(model).networks
        assert tiny_runs(model) == expected
    # two folds and the simulation-only network: validation results, names seen, model.json, weights; first the
    # removal of pages that do not exist, last of an earlier network
    assert stopped == (15 if earlier else 14)


def test_fresh_and_changes_start_anew_and_log_why(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level(logging.INFO, "leadwise")
    model, expected = tmp_path / "model", tiny_runs(tmp_path / "uninterrupted")
    reasons = []
    for change in ("fresh", "recipe", "data", "version", "nothing"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(run_module, "describe_fold", die)
            tiny_runs(model, seed=5 if change == "recipe" else None)
        if change == "data":
            write(tmp_path / "data", "A9999", CODES[0], 300, 99)
        if change == "version":
            monkeypatch.setattr(run_module, "VERSION", "another")
        caplog.clear()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(run_module, "describe_fold", die)
            tiny_runs(model, fresh=change == "fresh")
        reasons.append([text for text in caplog.messages if "anew" in text or "resumes" in text])
    assert reasons == [
        ["starting anew: as requested"],
        ["starting anew: the recipe changed"],
        ["starting anew: the data changed"],
        ["starting anew: the version changed"],
        ["fold 0: resumes after epoch 3"],
    ]
    (tmp_path / "data" / "A9999.hea").unlink()
    (tmp_path / "data" / "A9999.mat").unlink()
    monkeypatch.setattr(run_module, "VERSION", fold_state.VERSION)
    assert tiny_runs(model) == expected


def test_damaged_prepared_recordings_are_prepared_again(
    tiny_runs: Callable[..., dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = tiny_runs(tmp_path / "uninterrupted", work=tmp_path / "work")
    prepared = tmp_path / "work" / "prepared"
    for name in ("samples.f32", "arrays.npz", "recordings.json"):
        content = bytearray((prepared / name).read_bytes())
        content[len(content) // 2] ^= 1
        (prepared / name).write_bytes(content)
        caplog.clear()
        assert tiny_runs(tmp_path / name, work=tmp_path / "work") == expected
        assert "prepared again" in caplog.text or name == "recordings.json"


def test_a_process_that_is_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Kills at four moments, one of them random; `python -m tests.soak.kill` does so any number of times."""
    data = kill.simulate(tmp_path / "data", 24)
    seconds = kill.train(data, tmp_path / "uninterrupted")
    occasions = ["checkpoint/.prepared.*", "checkpoint/simulated.*", "checkpoint/.fold*"]
    moments = kill.kill_and_resume(data, tmp_path / "model", [*occasions, random.Random(3).uniform(0, seconds)])
    assert len(moments) >= 3
    assert not kill.differences(tmp_path / "model", tmp_path / "uninterrupted")


def test_a_process_that_receives_sigterm_leaves_a_model_or_exits_with_143(tmp_path: Path) -> None:
    data = kill.simulate(tmp_path / "data", 24)
    process = kill.start(data, tmp_path / "model", "--epochs", "50")
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2 of 50" in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    metadata = load_model(tmp_path / "model").metadata
    assert metadata["training"]["unfinished"].startswith("stopped after")
    assert 2 <= len(metadata["folds"][0]["epochs"]) < 50
    process = kill.start(data, tmp_path / "other", "--epochs", "50")
    kill.first_line(process)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate()
    assert process.returncode in (143, -signal.SIGTERM), printed
    assert not (tmp_path / "other" / "model.json").exists()
