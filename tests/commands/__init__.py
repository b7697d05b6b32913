"""Run the project's commands as processes; the tests of `leadwise.commands`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository, without other LEADWISE_ variables; its exit status must be `status`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEADWISE_")}
    environ |= {"LEADWISE_PAGES": "0"} | variables
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == status, result.stdout + result.stderr
    return result
