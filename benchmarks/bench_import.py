"""What a start costs, against `import torch`, each in a process of its own: a program that only names leadwise, the
evaluator on one recording, `driver.py --help`. An interpreter's own start is in all times."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from benchmarks.material import write_recording
from benchmarks.run import Row
from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import write_output

ROOT = Path(__file__).resolve().parents[1]
FOLDER = tempfile.TemporaryDirectory(prefix="bench_import_")  # removed when the process ends


def start(*arguments: str) -> None:
    """A Python process with these arguments."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@cache
def labels_and_outputs() -> tuple[str, str]:
    """Two folders with one recording and its output."""
    folder = Path(FOLDER.name)
    write_recording(folder, "A0001")
    write_output(folder / "A0001.csv", "A0001", CODES, [0] * 23 + [1], [0.1] * 24)
    return str(folder), str(folder)


def rows() -> list[Row]:
    """The rows of starting."""
    calls = {
        "import leadwise": (lambda: start("-c", "import leadwise"), 5.0),
        "evaluator, one recording": (lambda: start("evaluate_12ECG_score.py", *labels_and_outputs()), 5.0),
        "driver.py --help": (lambda: start("driver.py", "--help"), 1.0),
    }
    return [
        Row(
            name=f"{name}: import torch", ours=call, baseline=lambda: start("-c", "import torch"), target=least, pairs=5
        )
        for name, (call, least) in calls.items()
    ]
