"""Make the pictures of README and docs: python -m studies.pictures MODEL RECORDINGS

Writes docs/pictures/: the network of recipe `paper` (network.svg), the ECG sheet of the first of the RECORDINGS with
the included model's result (ecg.png; README's are `ecgs`), and the top of the report in the folder MODEL in a browser
(report.png; needs Chromium; docs/getting-started.md makes work/model).
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from leadwise.api import PRETRAINED
from leadwise.ecg.discovery import find_recordings
from leadwise.model.ensemble import load_model
from leadwise.model.folder import ModelError
from leadwise.model.scoring import score_files
from leadwise.recipes import RECIPES
from leadwise.report.annotated_recording import draw_annotated, evidence_of, load_annotated
from leadwise.report.sheet.paper import figure_bytes
from leadwise.result import result_of
from leadwise.util.files import atomic_write
from studies.network_drawing import draw_network

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
LARGEST = 150_000  # bytes
WIDTH, HEIGHT = 1000, 1150  # of the browser's window


def main(model: Path, recordings: Path) -> None:
    """Write the pictures and print their sizes."""
    FOLDER.mkdir(exist_ok=True)
    pictures = {
        "network.svg": lambda: figure_bytes(draw_network(RECIPES["paper"]), "svg"),
        "ecg.png": lambda: reduce_colours(sheet(PRETRAINED, find_recordings(recordings)[0])),
        "report.png": lambda: reduce_colours(screenshot(model / "report.html")),
    }
    for name, picture in pictures.items():
        content = picture()
        with atomic_write(FOLDER / name) as handle:
            handle.write(content)
        print(f"{FOLDER / name}: {len(content)} bytes{', too large' if len(content) > LARGEST else ''}", flush=True)


def sheet(folder: Path, record: Path) -> bytes:
    """Return the sheet of one recording with its answer and evidence, as PNG."""
    model = load_model(folder)
    result = result_of(model, next(iter(score_files(model, [record], batch=1))))
    annotated = load_annotated(record)
    if annotated is None:
        raise ValueError(f"{record} cannot be drawn")
    return figure_bytes(draw_annotated(model, annotated, result, evidence_of(model, annotated, result)), "png", 100)


def screenshot(page: Path) -> bytes:
    """Return the top of a page as a browser shows it, as PNG."""
    if not page.exists():
        raise OSError(f"{page} does not exist")
    program = shutil.which("chromium")
    if program is None:
        raise OSError("Chromium is not installed; report.png needs it")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}"]
        size = f"--window-size={WIDTH},{HEIGHT}"
        command = [program, *options, size, f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        return shot.read_bytes()


def reduce_colours(png: bytes, colours: int = 64) -> bytes:
    """Return the picture with a palette of `colours` colours."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(colours).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m studies.pictures MODEL RECORDINGS")
    try:
        main(*map(Path, sys.argv[1:]))
    except (ModelError, ValueError, OSError) as error:
        sys.exit(f"studies.pictures: {error}")
