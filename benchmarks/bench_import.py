"""Measure start-up times against `import torch`, each in its own process: `import leadwise`, the evaluator on one
recording, `driver.py --help`, `leadwise predict` on one file. All times include the start of the interpreter."""

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
    """Run a Python process with these arguments."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@cache
def labels_and_outputs() -> tuple[str, str]:
    """Write one recording and its output; return the two folders."""
    folder = Path(FOLDER.name)
    write_recording(folder, "A0001")
    write_output(folder / "A0001.csv", "A0001", CODES, [0] * 23 + [1], [0.1] * 24)
    return str(folder), str(folder)


def rows() -> list[Row]:
    """Return the rows of start-up times."""
    calls = {
        "import leadwise": (lambda: start("-c", "import leadwise"), 5.0),
        "evaluator, one recording": (lambda: start("evaluate_12ECG_score.py", *labels_and_outputs()), 5.0),
        "driver.py --help": (lambda: start("driver.py", "--help"), 1.0),
        # at most 2.5 times as long as `import torch`
        "leadwise predict, one file": (
            lambda: start("-m", "leadwise", "predict", f"{labels_and_outputs()[0]}/A0001.hea"),
            0.4,
        ),
    }
    return [
        Row(
            name=f"{name}: import torch", ours=call, baseline=lambda: start("-c", "import torch"), target=least, pairs=5
        )
        for name, (call, least) in calls.items()
    ]
