"""Paper in millimetres for matplotlib, and figures as PNG, SVG or PDF files whose bytes are the same each time.

A page is one pair of axes over the whole figure in which a unit is a millimetre, from the lower left corner. Colours
and fonts of all pictures stand here. Uses matplotlib's objects, never pyplot, and needs no display. Knows no ECGs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as MplPath
from matplotlib.textpath import TextToPath

from leadwise.util.files import atomic_write

Segment = tuple[tuple[float, float], tuple[float, float]]
FORMATS = ("png", "svg", "pdf")
MM_PER_INCH = 25.4
POINTS_PER_MM = 72 / MM_PER_INCH
DPI = 254.0  # ten pixels a millimetre

# Okabe and Ito's colours (2008), which the colour-blind tell apart, and greys.
BLUE, ORANGE, BLACK, GREY, PALE = "#0072b2", "#e69f00", "#000000", "#5a5a5a", "#b8b8b8"

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "leadwise",  # the same ids each time
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # the first comes with matplotlib, the second is as wide
}
_MEASURE = TextToPath()
_KNOWN = re.compile("[\u0020-\u024f\u0380-\u04ff–…]")  # Latin, Greek, Cyrillic
# No dates and no versions: the same picture is the same file.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def own_settings() -> Iterator[None]:
    """Within it, matplotlib's defaults and ours hold, whatever the user's configuration says.

    These settings belong to the whole process, so pictures are drawn by one thread at a time.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_page(width: float, height: float) -> tuple[Figure, Axes]:
    """A picture with an empty white page of so many mm. Call it within `own_settings`."""
    figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH), dpi=DPI, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(0, height))
    page.set_axis_off()
    return figure, page


def add_lines(page: Axes, segments: Sequence[Segment], width: float, colour: str, **look: Any) -> None:
    """Straight lines, each from a point to another in mm, drawn as one path; `width` in mm."""
    points = [point for segment in segments for point in segment]
    path = MplPath(points, [MplPath.MOVETO, MplPath.LINETO] * len(segments))
    path.should_simplify = False
    page.add_patch(PathPatch(path, fill=False, linewidth=width * POINTS_PER_MM, edgecolor=colour, **look))


def add_text(page: Axes, x: float, y: float, text: str, size: float = 7, **look: Any) -> None:
    """Text on a baseline at (x, y) mm, `size` in points; `look` goes to matplotlib's Text. No character is markup."""
    page.text(x, y, text, fontsize=size, fontfamily="sans-serif", parse_math=False, **look)


def add_box(page: Axes, x: float, y: float, width: float, height: float, **look: Any) -> Rectangle:
    """A rectangle with its lower left corner at (x, y), mm; `look` goes to matplotlib's Rectangle."""
    box = Rectangle((x, y), width, height, **look)
    page.add_patch(box)
    return box


def printable(text: str, limit: int = 200) -> str:
    """Text of a file as it can be printed in one line: at most `limit` characters, strange ones as question marks.

    Control characters would make an SVG unreadable; beyond Latin, Greek and Cyrillic the font has gaps.
    """
    safe = "".join(c if c.isprintable() and _KNOWN.match(c) else "?" for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def fitting(text: str, room: float, size: float, weight: str = "normal") -> str:
    """`printable` text, cut so that it is no wider than `room` mm in letters of so many points."""
    font = FontProperties(family="sans-serif", size=size, weight=weight)
    text = printable(text)
    shown = text
    while _width(shown, font) > room and text:
        text = text[:-1].rstrip()
        shown = text + "…"
    return shown


def _width(text: str, font: FontProperties) -> float:
    """Millimetres."""
    return float(_MEASURE.get_text_width_height_descent(text, font, ismath=False)[0]) / POINTS_PER_MM


def figure_bytes(figure: Figure, kind: str, dpi: float = DPI) -> bytes:
    """The picture as a file of a kind of `FORMATS`, in true size; its label, if it has one, becomes the file's title.

    `dpi` is the resolution of a PNG. Raises ValueError for another kind.
    """
    if kind not in FORMATS:
        raise ValueError(f"pictures can be {', '.join(FORMATS)}, not {kind!r}")
    label = str(figure.get_label())
    metadata = _METADATA[kind] | ({"Title": label} if label else {})
    buffer = io.BytesIO()
    with own_settings():
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def save_figure(path: str | Path, figure: Figure, dpi: float = DPI) -> None:
    """Writes a picture whole or not at all, in the format that the name's ending says (see `figure_format`)."""
    content = figure_bytes(figure, figure_format(path), dpi)
    with atomic_write(Path(path), durable=False) as handle:
        handle.write(content)


def figure_format(path: str | Path) -> str:
    """The kind of a picture by its name: .png, .svg or .pdf in any case. Raises ValueError for other endings."""
    kind = Path(path).suffix[1:].lower()
    if kind not in FORMATS:
        raise ValueError(f"{path}: the name of a picture ends in .png, .svg or .pdf")
    return kind
