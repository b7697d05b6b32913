"""`import leadwise` against `import torch`, each in a process of its own: what a program pays that only names it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.run import Row

ROOT = Path(__file__).resolve().parents[1]


def start(program: str) -> None:
    """A Python process that runs this one line."""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def rows() -> list[Row]:
    """The row; an interpreter's own start is in both times."""
    ours, baseline = partial(start, "import leadwise"), partial(start, "import torch")
    return [Row(name="import leadwise: import torch", ours=ours, baseline=baseline, target=5.0, pairs=5)]
