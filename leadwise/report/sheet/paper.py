"""Draw in millimetres with matplotlib, and encode figures as PNG, SVG or PDF with the same bytes each time.

A page is one pair of axes over the whole figure in which a unit is a millimetre, from the lower left corner. Colours
and fonts of all figures are defined here. Uses matplotlib's objects, never pyplot, and needs no display.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as MplPath
from matplotlib.textpath import TextToPath

Segment = tuple[tuple[float, float], tuple[float, float]]
FORMATS = ("png", "svg", "pdf")
MM_PER_INCH = 25.4
POINTS_PER_MM = 72 / MM_PER_INCH
DPI = 254.0  # ten pixels per millimetre

# Okabe and Ito's colours (2008), safe for colour-blind readers, and greys.
BLUE, ORANGE, BLACK, GREY, PALE = "#0072b2", "#e69f00", "#000000", "#5a5a5a", "#b8b8b8"

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text remains text
    "svg.hashsalt": "leadwise",  # the same ids each time
    "text.hinting": "no_hinting",  # hinted text is wider than `fitting` measures, by up to a tenth at few dots per inch
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # the first comes with matplotlib, the second is as wide
}
_MEASURE = TextToPath()
_PRINTABLE = re.compile("[\u0020-\u024f\u0380-\u04ff–…]")  # Latin, Greek, Cyrillic
# No dates and no versions: the same figure is the same file.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def own_settings() -> Iterator[None]:
    """Use matplotlib's defaults and our settings within the block, whatever the user's configuration says.

    The settings belong to the whole process, so only one thread at a time may draw.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_page(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with an empty white page of so many mm. Call it within `own_settings`."""
    figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH), dpi=DPI, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(0, height))
    page.set_axis_off()
    return figure, page


def add_lines(page: Axes, segments: Sequence[Segment], width: float, colour: str, **style: Any) -> None:
    """Draw straight lines, each from a point to another in mm, as one path; `width` in mm."""
    points = [point for segment in segments for point in segment]
    path = MplPath(points, [MplPath.MOVETO, MplPath.LINETO] * len(segments))
    path.should_simplify = False
    page.add_patch(PathPatch(path, fill=False, linewidth=width * POINTS_PER_MM, edgecolor=colour, **style))


def add_text(page: Axes, x: float, y: float, text: str, size: float = 7, **style: Any) -> None:
    """Write text on a baseline at (x, y) mm, `size` in points; no character is markup."""
    page.text(x, y, text, fontsize=size, fontfamily="sans-serif", parse_math=False, **style)


def add_box(page: Axes, x: float, y: float, width: float, height: float, **style: Any) -> Rectangle:
    """Draw and return a rectangle with its lower left corner at (x, y) mm."""
    box = Rectangle((x, y), width, height, **style)
    page.add_patch(box)
    return box


def printable(text: str, limit: int = 200) -> str:
    """Return text of a file as one line of at most `limit` characters, with unprintable ones as question marks.

    Control characters would make an SVG unreadable; beyond Latin, Greek and Cyrillic the font has gaps.
    """
    safe = "".join(c if c.isprintable() and _PRINTABLE.match(c) else "?" for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def fitting(text: str, room: float, size: float, weight: str = "normal") -> str:
    """Return `printable` text, cut so that it is no wider than `room` mm at `size` points."""
    font = FontProperties(family="sans-serif", size=size, weight=weight)
    shown = text = printable(text)
    while text and _MEASURE.get_text_width_height_descent(shown, font, ismath=False)[0] > room * POINTS_PER_MM:
        text = text[:-1].rstrip()
        shown = text + "…"
    return shown


def figure_bytes(figure: Figure, kind: str, dpi: float = DPI) -> bytes:
    """Return the figure as a file of a kind of `FORMATS`, in true size; its label becomes the file's title.

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
