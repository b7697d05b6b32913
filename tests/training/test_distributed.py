"""Several processes on one CPU: they give the result of one process, share folds or batches, and resume."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leadwise.network.devices import CPU
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import QUICK
from leadwise.training.distributed import SINGLE_PROCESS, ProcessGroup, process_group, synchronise_norms
from leadwise.training.epoch import train_epoch
from leadwise.training.fold_state import FoldState
from tests.soak import kill

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--epochs", "2", "--simulated", "16")  # of tests.soak.kill
TIMEOUT = 600  # seconds; an idle machine takes ten


def free_port() -> str:
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return str(connection.getsockname()[1])


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEADWISE_")}
    return kept | {"OMP_NUM_THREADS": "1"}


def steps(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "tests/training/distributed_steps.py", str(folder), *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment())


def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    port = free_port()
    processes = [steps(tmp_path), steps(tmp_path, "0", "2", port), steps(tmp_path, "1", "2", port)]
    try:
        assert [process.wait(TIMEOUT) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
    one, first, second = (load_file(tmp_path / f"rank{name}.safetensors") for name in ("0of1", "0of2", "1of2"))
    for name, expected in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=2e-4, atol=2e-5, msg=name)


def torchrun(data: Path, model: Path, processes: int, *options: str) -> list[str]:
    """Return the command that runs train_model.py in so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--master-addr", "127.0.0.1", "--master-port", free_port(), "train_model.py", str(data), str(model)]
    return [*command, "--recipe", "quick", "--jobs", "1", "--threads", "1", "--device", "cpu", "--no-pages", *options]


def train(data: Path, model: Path, processes: int, *options: str) -> str:
    """Run train_model.py by torchrun; return its output."""
    command = torchrun(data, model, processes, *options)
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def descendants(process: int) -> list[int]:
    """Return the ids of a process and of all that it and its children started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(found for child in children for found in descendants(int(child)))]


def metadata(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model / "model.json").read_text(encoding="utf-8"))
    return found


def test_processes_train_folds_that_equal_those_of_one_process(tmp_path: Path) -> None:
    data = kill.simulate(tmp_path / "data", 24)
    kill.train(data, tmp_path / "one")  # two folds of two epochs
    train(data, tmp_path / "two", 2, *OPTIONS)
    assert not kill.differences(tmp_path / "two", tmp_path / "one")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux lists the processes")
def test_processes_killed_within_a_fold_resume(tmp_path: Path) -> None:
    data = kill.simulate(tmp_path / "data", 24)
    kill.train(data, tmp_path / "one")
    process = subprocess.Popen(
        torchrun(data, tmp_path / "two", 2, *OPTIONS), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + TIMEOUT
    while not any((tmp_path / "two" / "checkpoint").glob("fold*")) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    for descendant in descendants(process.pid):
        os.kill(descendant, signal.SIGKILL)
    assert process.wait(TIMEOUT) == -signal.SIGKILL
    assert not (tmp_path / "two" / "model.json").exists()
    train(data, tmp_path / "two", 2, *OPTIONS)
    assert not kill.differences(tmp_path / "two", tmp_path / "one")


def test_processes_share_batches_and_find_a_finished_model(tmp_path: Path) -> None:
    data = kill.simulate(tmp_path / "data", 24)
    options = ("--folds", "3", "--epochs", "1")
    printed = train(data, tmp_path / "model", 2, *options)
    assert printed.count("epoch 1 of 1") == 3  # one process reports
    found = metadata(tmp_path / "model")
    assert len(found["folds"]) == 3 and not found["training"]["unfinished"]
    assert not (tmp_path / "model" / "checkpoint").exists()
    assert "nothing to do" in train(data, tmp_path / "model", 2, *options)


def test_without_torchrun_there_is_a_single_process() -> None:
    with process_group() as group:
        assert group is SINGLE_PROCESS and group.is_main
    network = SEResNet(QUICK.network)
    before = dict(network.named_modules())
    synchronise_norms(network, SINGLE_PROCESS)
    assert before == dict(network.named_modules())
    assert not SINGLE_PROCESS.any(False) and SINGLE_PROCESS.any(True)
    assert SINGLE_PROCESS.broadcast(3, 4) == (3, 4)


def test_more_processes_than_recordings_in_a_batch_are_refused() -> None:
    state = FoldState.begin(QUICK, 1, CPU)
    state.group = ProcessGroup(0, 64)
    with pytest.raises(ValueError, match="64 processes cannot share batches of 2"):
        train_epoch(state, None, torch.arange(2), lambda share: 0.1)  # type: ignore[arg-type]
