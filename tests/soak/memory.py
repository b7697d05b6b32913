"""Check that the driver's memory stays constant over many recordings.

    python -m tests.soak.memory [--recordings 20000] [--batch-size 64] [--folder FOLDER]

Trains a model of recipe quick for one epoch on 60 simulated recordings of 6 to 60 s, then runs the driver on many
recordings: new headers with hard-linked signals. Prints the driver's resident memory and its number of outputs, then
the largest memory after the first thousand outputs against the first value after them. Exits with 1 if that is more
than 5 % higher, or if an output is missing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST = 1000  # recordings during which libraries, buffers and caches may still grow
MAX_GROWTH = 0.05


def multiplied(source: Path, target: Path, recordings: int) -> None:
    """Write `recordings` copies of those in `source` under new names."""
    target.mkdir()
    headers = sorted(source.rglob("*.hea"))
    for number, header in zip(range(recordings), itertools.cycle(headers), strict=False):
        name = f"E{100_000 + number}"
        text = header.read_text().replace(header.stem, name)
        (target / f"{name}.hea").write_text(text)
        os.link(header.with_suffix(".mat"), target / f"{name}.mat")


def command(*arguments: object) -> list[str]:
    """Return a command of the project, in this Python."""
    return [sys.executable, *map(str, arguments)]


def resident(pid: int) -> float:
    """Return a process's resident memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def count(folder: Path) -> int:
    """Return the number of files in a folder; 0 if it does not exist yet."""
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0


def watch(process: subprocess.Popen[bytes], output: Path, seconds: float) -> list[tuple[int, float]]:
    """Return (outputs, MiB) every few seconds until the process ends."""
    samples = []
    while process.poll() is None:
        outputs = count(output)
        samples.append((outputs, resident(process.pid)))
        if len(samples) % 10 == 0:
            print(f"{outputs} outputs, {samples[-1][1]:.1f} MiB", flush=True)
        time.sleep(seconds)
    return samples


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    quick = ("--recipe", "quick", "--epochs", 1, "--jobs", 1, "--threads", 1, "--device", "cpu")
    with tempfile.TemporaryDirectory(prefix="memory.", dir=options.folder) as folder:
        few, many, model, output = (Path(folder, name) for name in ("few", "many", "model", "output"))
        simulated = ("--recordings", 60, "--seed", 1, "--sources", "A,E,HR")
        subprocess.run(command("-m", "leadwise.simulate", few, *simulated), cwd=ROOT, check=True)
        subprocess.run(command("train_model.py", few, model, *quick), cwd=ROOT, check=True)
        multiplied(few, many, options.recordings)
        driver = ("driver.py", model, many, output, "--jobs", 1, "--threads", 1, "--batch-size", options.batch_size)
        process = subprocess.Popen(command(*driver, "--device", "cpu"), cwd=ROOT)
        samples = watch(process, output, options.every)
        outputs = count(output)
    later = [size for number, size in samples if number >= FIRST]
    growth = max(later) / later[0] - 1 if later else float("nan")
    sizes = f"{later[0]:.1f} MiB, at most {max(later):.1f} ({growth:+.1%}), at the end {later[-1]:.1f}" if later else ""
    print(f"{outputs} outputs; {len(later)} samples after {FIRST}: first {sizes}")
    return 0 if process.returncode == 0 and outputs == options.recordings and growth <= MAX_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
