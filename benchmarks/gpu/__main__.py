"""Check a GPU: python -m benchmarks.gpu [--rehearse] [--minutes M] [--output FILE.json]

The parts, in order of importance: right (the GPU computes what the CPU computes), survives (kills, too little memory, a
failing GPU), fast (an epoch at the Challenge's full size), scores (speed of the driver), variants of a training step.
Each part runs in its own process with its own time limit, so that a part that hangs does not take the time of the
others. A line is printed at the end of each check, and the JSON file is rewritten. The exit status is 1 if a check
failed, otherwise 0, even if a speed goal was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import MARK, NO_GPU, Finding
from leadwise.util.files import write_json

ROOT = Path(__file__).resolve().parents[2]
# Parts in order of importance, and their shares of the time; unused time goes to the later parts.
PARTS = {"machine": 2.0, "right": 2.5, "survives": 2.5, "fast": 3.0, "scores": 1.0, "variants": 2.0}
LOG_LINES = 15  # shown of a part that failed


@dataclass(eq=False)
class Report:
    """The findings so far, on the screen and in a file."""

    path: Path | None
    metadata: dict[str, Any]
    parts: dict[str, list[Finding]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # that each part took

    def add(self, part: str, finding: Finding) -> None:
        """Print a finding and rewrite the file."""
        self.parts.setdefault(part, []).append(finding)
        print(f"{part:9} {'ok    ' if finding.ok else 'FAILED'} {finding.name}: {finding.text}", flush=True)
        self.write()

    def write(self) -> None:
        """Write the file, if one was requested."""
        if self.path:
            parts = {name: [asdict(finding) for finding in findings] for name, findings in self.parts.items()}
            write_json(self.path, self.metadata | {"ok": self.ok, "seconds": self.seconds, "parts": parts})

    @property
    def ok(self) -> bool:
        """Return whether no check has failed."""
        return all(finding.ok for findings in self.parts.values() for finding in findings)


def main() -> int:
    """Run all parts; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="every part in small, on the CPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all parts (default 8)")
    parser.add_argument("--output", type=Path, help="JSON file with all figures")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these")
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC)
    metadata = {"commit": commit(), "date": started.isoformat(timespec="seconds"), "rehearsal": options.rehearse}
    report, end = Report(options.output, metadata), time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="leadwise-gpu-") as folder:
        for place, part in enumerate(options.parts):
            left = end - time.monotonic()
            limit = left * PARTS[part] / sum(PARTS[each] for each in options.parts[place:])
            run_part(report, part, Path(folder), options.rehearse, limit)
            if Finding("machine", False, NO_GPU) in report.parts.get(part, []):
                break
    report.write()
    print(f"{'all checks hold' if report.ok else 'some checks FAILED'}, {sum(report.seconds.values()):.0f} s")
    return 0 if report.ok else 1


def commit() -> str:
    """Return the current commit, or "unknown" without git."""
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def run_part(report: Report, part: str, folder: Path, rehearse: bool, limit: float) -> None:
    """Run a part in its own process, killed at its time limit, and add its findings as they arrive."""
    command = [sys.executable, "-u", "-m", "benchmarks.gpu.part", part, str(folder), *["--rehearse"][: int(rehearse)]]
    start, log = time.monotonic(), deque[str](maxlen=LOG_LINES)
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    with _killed_after(process, limit):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(MARK):
                report.add(part, Finding.from_line(line))
            else:
                log.append(line.rstrip())
        status = process.wait()
    report.seconds[part] = taken = round(time.monotonic() - start, 1)
    if status:
        reason = f"ended after {taken:.0f} of {limit:.0f} s with status {status}"
        report.add(part, Finding(f"part {part}", False, reason, {"log": list(log)}))
        print("\n".join(f"          | {line}" for line in log), flush=True)


@contextlib.contextmanager
def _killed_after(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """Kill the process and its children when the time is over, and at the end of the block."""

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(max(seconds, 0.0), kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        kill()


if __name__ == "__main__":
    sys.exit(main())
