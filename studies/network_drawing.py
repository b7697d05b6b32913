"""Draw the network of a recipe from its numbers: the sequence of layers above, the inside of a block below."""

from __future__ import annotations

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leadwise.recipes import Recipe
from leadwise.report.sheet.paper import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    PALE,
    add_box,
    add_lines,
    add_text,
    new_page,
    own_settings,
)

WIDTH, HEIGHT = 212.0, 112.0  # mm
TALL, MIDDLE = 34.0, 84.0  # mm: height of the highest box, centre line of the boxes
INSIDE = 24.0  # mm: centre line of the inside of a block
Box = tuple[str, float]  # text, width in mm


def draw_network(recipe: Recipe) -> Figure:
    """Draw the network; the label of the figure is its text alternative."""
    with own_settings():
        figure, page = new_page(WIDTH, HEIGHT)
        _draw_layers(page, recipe)
        _draw_block(page, recipe)
    figure.set_label(_alternative(recipe))
    return figure


def layer_shapes(recipe: Recipe) -> list[tuple[str, int, int]]:
    """Return name, channels and length of each output, from the input window to the last block."""
    network, samples = recipe.network, recipe.signal.window
    shapes = [("window", network.leads, samples)]
    samples = -(-samples // 2)
    samples = -(-samples // 2)  # convolution with stride 2, then max pool with stride 2
    shapes.append(("stem", network.stem_channels, samples))
    for number, (before, after) in enumerate(pairwise((network.stem_channels, *network.block_channels)), 1):
        samples = samples if before == after else -(-samples // 2)
        shapes.append((f"block {number}", after, samples))
    return shapes


def _draw_layers(page: Axes, recipe: Recipe) -> None:
    """Draw each output as a box: width by length in time, height by channels."""
    shapes, network = layer_shapes(recipe), recipe.network
    most, longest = max(channels for _, channels, _ in shapes), shapes[0][2]
    add_text(page, 4, HEIGHT - 6, "From a window to 24 probabilities", 9, fontweight="bold")
    left, before = 4.0, None
    for name, channels, samples in shapes:
        width, height = 5 + 14 * samples / longest, 6 + (TALL - 6) * (channels / most) ** 0.5
        colour = PALE if name == "window" else ORANGE if name == "stem" else BLUE
        if before is not None:
            _arrow(page, before, left, MIDDLE)
        add_box(page, left, MIDDLE - height / 2, width, height, facecolor=colour, edgecolor=BLACK, linewidth=0.5)
        centre = left + width / 2
        add_text(page, centre, MIDDLE - TALL / 2 - 5, name, 6.5, ha="center")
        add_text(page, centre, MIDDLE - TALL / 2 - 9, f"{channels} × {samples}", 5.5, ha="center", color=GREY)
        before, left = left + width, left + width + 7.5
    _draw_end(page, before or 0.0, left, f"{network.block_channels[-1]}", recipe)


def _draw_end(page: Axes, before: float, left: float, features: str, recipe: Recipe) -> None:
    """Draw the mean over time, the branch of age and sex, and the classes."""
    network, height = recipe.network, 20.0
    _arrow(page, before, left, MIDDLE)
    for text, below, width in (
        ("mean over\ntime", features, 15.0),
        ("join", f"+ {network.demographic_features}", 11.0),
        ("linear,\nsigmoid", f"{network.classes}", 15.0),
    ):
        add_box(page, left, MIDDLE - height / 2, width, height, facecolor="white", edgecolor=BLACK, linewidth=0.5)
        add_text(page, left + width / 2, MIDDLE, text, 6.5, ha="center", va="center")
        add_text(page, left + width / 2, MIDDLE - TALL / 2 - 9, below, 5.5, ha="center", color=GREY)
        if text == "join":
            add_text(page, left + width / 2, MIDDLE + 21, "age, sex", 6.5, ha="center")
            add_lines(page, [((left + width / 2, MIDDLE + 20), (left + width / 2, MIDDLE + height / 2))], 0.3, BLACK)
        if not text.startswith("linear"):
            _arrow(page, left + width, left + width + 4, MIDDLE)
        left += width + 4


def _draw_block(page: Axes, recipe: Recipe) -> None:
    """Draw the inside of a residual block, the squeeze-and-excitation branch above, the shortcut below."""
    network = recipe.network
    add_text(page, 4, 46, "Inside a block", 9, fontweight="bold")
    kernel = f"convolution {network.kernel}"
    boxes: list[Box] = [
        (f"{kernel}\n(stride 2 if wider)", 33), ("batch norm\nReLU", 17),
        (f"dropout\n{network.dropout:g}", 13), (kernel, 21), ("batch norm", 17),
    ]  # fmt: skip
    left, height = 14.0, 10.0
    _arrow(page, 4, left, INSIDE)
    for text, width in boxes:
        _box(page, left, INSIDE, width, height, text)
        _arrow(page, left + width, left + width + 5, INSIDE)
        left += width + 5
    gates = f"squeeze and excitation: mean over time, linear to C/{network.reduction}, ReLU, linear to C, sigmoid"
    add_text(page, left - 2, INSIDE + 16.5, gates, 6.5, ha="center", color=BLACK)
    _box(page, left, INSIDE, 16, height, "× gate of\nits channel", ORANGE)
    branch, over = left - 2.5, INSIDE + 15
    corners = [(branch, INSIDE), (branch, over), (left + 8, over), (left + 8, INSIDE + height / 2)]
    add_lines(page, list(pairwise(corners)), 0.3, BLACK)
    _arrow(page, left + 16, left + 21, INSIDE)
    _box(page, left + 21, INSIDE, 9, height, "+")
    _arrow(page, left + 30, left + 35, INSIDE)
    _box(page, left + 35, INSIDE, 12, height, "ReLU")
    _arrow(page, left + 47, left + 53, INSIDE)
    low, end = INSIDE - 14, left + 25.5
    corners = [(8, INSIDE), (8, low), (end, low), (end, INSIDE - height / 2)]
    add_lines(page, list(pairwise(corners)), 0.3, BLACK)
    shortcut = "identity, or convolution 1 and batch norm where the shape changes"
    add_text(page, (8 + end) / 2, low + 1.5, shortcut, 6.5, ha="center")


def _box(page: Axes, left: float, middle: float, width: float, height: float, text: str, colour: str = "white") -> None:
    add_box(page, left, middle - height / 2, width, height, facecolor=colour, edgecolor=BLACK, linewidth=0.5)
    add_text(page, left + width / 2, middle, text, 6.5, ha="center", va="center")


def _arrow(page: Axes, start: float, end: float, y: float) -> None:
    add_lines(
        page, [((start, y), (end, y)), ((end - 1.5, y + 1), (end, y)), ((end - 1.5, y - 1), (end, y))], 0.3, BLACK
    )


def _alternative(recipe: Recipe) -> str:
    layers = ", then ".join(f"{name} {channels} x {samples}" for name, channels, samples in layer_shapes(recipe))
    return (
        f"The network of recipe {recipe.name}: {layers}, then the mean over time, joined with age and sex, 24 classes."
    )
