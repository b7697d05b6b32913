"""Run one part of the check in its own process: python -m benchmarks.gpu.part NAME FOLDER [--rehearse]"""

from __future__ import annotations

import gc
import importlib
import sys
import traceback
from pathlib import Path

import torch

from benchmarks.gpu.setting import Check, Finding, Setting
from leadwise.util.progress import log_to_stdout


def run_check(check: Check, setting: Setting) -> None:
    """Print the findings of a check; an exception becomes a finding with its reason, and the part continues."""
    try:
        for finding in check(setting):
            print(finding.as_line(), flush=True)
    except Exception as error:
        traceback.print_exc()
        reason = (str(error).strip().splitlines() or [""])[0]
        failed = Finding(check.__name__.replace("_", " "), False, f"{type(error).__name__}: {reason}")
        print(failed.as_line(), flush=True)
    gc.collect()
    torch.cuda.empty_cache()


def main(name: str, folder: Path, rehearse: bool) -> None:
    """Run all checks of a part, in order."""
    log_to_stdout()
    if rehearse:
        torch.set_num_threads(1)  # the rehearsal is small, and other processes may use the other cores
    for check in importlib.import_module(f"benchmarks.gpu.{name}").CHECKS:
        run_check(check, Setting(rehearse, folder))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), "--rehearse" in sys.argv[3:])
