"""Fuzz one of the readers: header, signal, record or model (see targets.py).

    python -m tests.fuzz.run TARGET [--executions 1000000] [--seed 1] [--folder FOLDER] [--plain]

Guided by coverage if atheris is installed (`pip install atheris`, which includes libFuzzer); otherwise, and with
`--plain`, inputs are randomly changed seeds. FOLDER keeps the corpus and the inputs that failed; by default a temporary
folder. Exits with 0 if nothing failed, else writes the failing input to a file and prints its traceback.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"NaN",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"null",
    b"[]",
)
MAX_BYTES = 1 << 14  # of an input


def mutated(seeds: list[bytes], dice: random.Random) -> bytes:
    """Return a seed with one to eight changes: bytes replaced, cut, doubled, a number, a piece of another seed."""
    raw = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 8)):
        start = dice.randrange(len(raw) + 1)
        end = min(len(raw), start + int(dice.expovariate(0.2)))
        other = dice.choice(seeds)
        place = dice.randrange(len(other) + 1)
        raw[start:end] = dice.choice(
            (
                b"",
                raw[start:end] * 2,
                dice.randbytes(end - start),
                dice.choice(NUMBERS),
                other[place : place + dice.randrange(40)],
                bytes(byte ^ (1 << dice.randrange(8)) for byte in raw[start:end]),
            )
        )
    return bytes(raw[:MAX_BYTES])


def plain(target: Callable[[bytes], None], seeds: list[bytes], executions: int, seed: int, folder: Path) -> None:
    """Run the target on `executions` mutated inputs; write the first one that fails to the folder."""
    dice, began = random.Random(seed), time.monotonic()
    for number in range(executions):
        raw = mutated(seeds, dice)
        try:
            target(raw)
        except BaseException:
            (folder / f"failed-{number}").write_bytes(raw)
            print(f"execution {number}: {folder / f'failed-{number}'}", file=sys.stderr)
            raise
        if (number + 1) % 50_000 == 0:
            print(f"{number + 1} executions, {(number + 1) / (time.monotonic() - began):.0f}/s", flush=True)
    print(f"{executions} executions in {time.monotonic() - began:.0f} s, nothing failed")


def guided(name: str, executions: int, seed: int, folder: Path) -> None:
    """Run the target on inputs from libFuzzer, guided by the coverage that atheris reports; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["leadwise"]):
        from tests.fuzz.targets import SEEDS, TARGETS, limit_memory

        seeds = SEEDS[name]()  # here: making them imports the modules of the target, which are instrumented
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for index, raw in enumerate(seeds):
        (corpus / f"seed-{index}").write_bytes(raw)
    options = [f"-runs={executions}", f"-seed={seed}", f"-max_len={MAX_BYTES}", "-timeout=20", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], str(corpus), *options, f"-artifact_prefix={folder}/"], TARGETS[name])
    limit_memory()
    atheris.Fuzz()


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=("header", "signal", "record", "model"))
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    if not options.plain and importlib.util.find_spec("atheris"):
        guided(options.target, options.executions, options.seed, folder)
        return 0
    from tests.fuzz.targets import SEEDS, TARGETS, limit_memory

    seeds = SEEDS[options.target]()
    TARGETS[options.target](seeds[0])  # load all libraries before memory is limited
    limit_memory()
    plain(TARGETS[options.target], seeds, options.executions, options.seed, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
