"""Kill trainings (kill -9) at random moments and resume them: the model must equal the uninterrupted one.

    python -m tests.soak.kill --kills 20 [--minutes 60] [--seed 1] [--folder FOLDER]

Simulated recordings, recipe quick with two epochs and 16 simulated ECGs for the initial weights, one thread. Each cycle
trains into a new folder with several kills, two thirds of them at random moments, the others as soon as a partial file
of some kind exists, until the command ends by itself. Then every network's bytes and model.json without its times are
compared. Prints what was on the disk at each kill, and exits with 1 at the first difference.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from leadwise.util.files import PARTIAL

ROOT = Path(__file__).resolve().parents[2]
# partial files, and a network that model.json does not reference yet: a third of the kills
FILES = ("checkpoint/.prepared.*", "checkpoint/simulated.*", "checkpoint/.fold*", ".fold*", ".model*", "fold*.new")
TIMES = ("seconds", "recordings_per_second", "mfu", "seconds_left")
OPTIONS = ["--recipe", "quick", "--simulated", "16", "--epochs", "2", "--no-pages"]
OPTIONS += ["--jobs", "1", "--threads", "1", "--device", "cpu"]


def start(data: Path, model: Path, *options: str) -> subprocess.Popen[str]:
    """Start a training; its output and errors can be read from stdout."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEADWISE_")}
    command = [sys.executable, "train_model.py", str(data), str(model), *OPTIONS, *options]
    return subprocess.Popen(command, cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def train(data: Path, model: Path, *options: str) -> float:
    """Run an uninterrupted training; return its seconds after the first line. Raises RuntimeError if it fails."""
    process = start(data, model, *options)
    first = first_line(process)
    began = time.monotonic()
    printed = first + process.communicate()[0]
    if process.returncode:
        raise RuntimeError(printed)
    return time.monotonic() - began


def first_line(process: subprocess.Popen[str]) -> str:
    """Wait for the first line: before it Python loads its libraries, and kills show nothing."""
    assert process.stdout is not None
    return process.stdout.readline()


def without_times(value: Any) -> Any:
    """Return JSON without times."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def contents(model: Path) -> dict[str, Any]:
    """Return the content of each file of a model folder: bytes, or JSON without times."""
    found: dict[str, Any] = {}
    for path in sorted(model.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found[str(path.relative_to(model))] = (
                without_times(json.loads(content)) if path.suffix == ".json" else content
            )
    return found


def differences(model: Path, other: Path) -> list[str]:
    """Return the files of two model folders that differ, networks with the tensors that differ."""
    folders, differing = (contents(model), contents(other)), []
    for name in sorted({name for folder in folders for name in folder}):
        one, two = (folder.get(name) for folder in folders)
        if one != two:
            differing.append(f"{name}: {_unequal(one, two)}" if name.endswith(".safetensors") and one and two else name)
    return differing


def _unequal(one: bytes, other: bytes) -> str:
    pairs = ((name, value, load(other)[name]) for name, value in load(one).items())
    return ", ".join(f"{name} by {np.abs(a - b).max():.3g}" for name, a, b in pairs if not np.array_equal(a, b))


def moment(model: Path) -> str:
    """Return what a killed training was doing, by its files."""
    names = [path.name for path in model.rglob("*")] if model.exists() else []
    if any(name.startswith("simulated.") for name in names):
        return "simulating, or training on simulated ECGs"
    partial = [name for name in names if PARTIAL in name]
    if any(name.startswith(".prepared.") for name in names):
        return "preparing"
    if partial:
        return "saving a network or checkpoint" if partial[0].startswith(".fold") else "saving model.json or run.json"
    if any(name.endswith(".new") for name in names):
        return "between a network and model.json"
    if "checkpoint" not in names:
        return "finished" if "model.json" in names else "starting"
    epochs = "an epoch is finished" if any(name.startswith("fold") for name in names) else "no epoch is finished"
    return epochs if "prepared" in names else "starting"


def kill_and_resume(data: Path, model: Path, occasions: list[float | str]) -> list[str]:
    """Train into `model`, killed on each occasion that the run reaches, at last without a kill.

    An occasion is a number of seconds after the first line, or the first moment at which a file in the model folder
    matches a pattern. Returns the moments of the kills. Raises RuntimeError if the training fails by itself.
    """
    moments = []
    for occasion in occasions:
        process = start(data, model)
        printed = first_line(process)
        began = time.monotonic()
        while process.poll() is None and not is_due(occasion, time.monotonic() - began, model):
            time.sleep(0.001)
        process.kill()
        printed += process.communicate()[0]
        if process.returncode == -signal.SIGKILL:
            moments.append(moment(model))
        elif process.returncode:
            raise RuntimeError(printed)
        else:
            return moments
    train(data, model)
    return moments


def is_due(occasion: float | str, seconds: float, model: Path) -> bool:
    """Return whether it is time for the kill, `seconds` after the first line."""
    return any(model.glob(occasion)) if isinstance(occasion, str) else seconds >= occasion


def simulate(folder: Path, recordings: int) -> Path:
    """Write a data folder of simulated recordings."""
    command = [sys.executable, "-m", "leadwise.simulate", folder, "--recordings", recordings, "--seed", 1]
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder


def main() -> int:
    """Run cycles until there were enough kills and enough minutes; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill.", dir=options.folder) as folder:
        work = Path(folder)
        data = simulate(work / "data", options.recordings)
        uninterrupted = work / "uninterrupted"
        seconds = train(data, uninterrupted)
        print(f"uninterrupted: {seconds:.1f} s", flush=True)
        began, moments, cycles = time.monotonic(), Counter[str](), 0
        while moments.total() < options.kills or time.monotonic() - began < 60 * options.minutes:
            model = work / f"cycle{cycles}"
            kills = range(dice.randint(1, 4))
            occasions = [dice.choice(FILES) if dice.random() < 0.3 else dice.uniform(0, seconds) for _ in kills]
            moments.update(kill_and_resume(data, model, occasions))
            cycles += 1
            if differing := differences(model, uninterrupted):
                print(f"cycle {cycles}: differs from the uninterrupted model: {differing}", flush=True)
                return 1
            shutil.rmtree(model)
            print(f"{cycles} cycles, {moments.total()} kills, equal bytes: {dict(moments)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
