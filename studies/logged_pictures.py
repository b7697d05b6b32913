"""Draw the pictures of docs/results.md from the tables in docs/log: python -m studies.logged_pictures

Writes docs/pictures/study.png and stress.png without any training, so that a picture cannot differ from its table.
`studies.study_picture` and `studies.stress --picture` draw those of new runs.
"""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure

from leadwise.report.sheet.paper import BLUE, GREY, ORANGE, figure_bytes, own_settings
from leadwise.util.files import atomic_write
from studies import stress
from studies.pictures import reduce_colours

DOCS = Path(__file__).resolve().parents[1] / "docs"
SEED = "2020"
COLOURS = {"paper": ORANGE, "robust": BLUE}


def read_rows(page: str, head: str) -> list[list[str]]:
    """Return the cells of the table of a page of the log whose first line begins with `head`, that line first."""
    lines = (DOCS / "log" / page).read_text(encoding="utf-8").split("\n")
    start = next(place for place, line in enumerate(lines) if line.startswith(head))
    end = next(place for place in range(start, len(lines)) if not lines[place].startswith("|"))
    table = [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines[start:end]]
    return [table[0], *table[2:]]


def numbers(cell: str) -> list[float]:
    """Return the numbers of a cell."""
    return [float(number) for number in re.findall(r"-?\d+\.\d+", cell)]


def draw_scores() -> Figure:
    """Draw the score of each recipe with its interval on each test, the constant baseline and fitted thresholds."""
    head, *rows = read_rows("scores.md", "| test | recipe | seed ")
    rows = [row for row in rows if row[head.index("seed")] == SEED]
    tests = list(dict.fromkeys(row[0] for row in rows))
    own = next(place for place, name in enumerate(head) if name.startswith("own rule"))
    with own_settings():
        figure = Figure(figsize=(8.0, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for row in rows:
            y = tests.index(row[0]) + (0.15 if row[1] == "robust" else -0.15)
            score, low, high = numbers(row[own])
            constant, oracle = (numbers(row[head.index(name)])[0] for name in ("constant baseline", "oracle"))
            axes.plot([low, high], [y, y], color=COLOURS[row[1]], linewidth=2)
            axes.plot([score], [y], "o", color=COLOURS[row[1]], label=f"{row[1]}, 95 % interval")
            style = {"color": COLOURS[row[1]], "markerfacecolor": "none"}
            axes.plot([oracle], [y], "s", markersize=5, label=f"{row[1]}, thresholds fitted on the test set", **style)
            axes.plot([constant], [y], "|", color=GREY, markersize=12, label="constant baseline")
        counts = {row[0]: row[head.index("n")] for row in rows}
        axes.set_yticks(range(len(tests)), [f"{test} (n {counts[test]})" for test in tests])
        axes.set_ylim(len(tests) - 0.5, -0.5)
        axes.set_xlabel("challenge metric", fontsize=8)
        axes.grid(axis="x", alpha=0.25)
        handles, labels = axes.get_legend_handles_labels()
        kinds = dict(zip(labels, handles, strict=True))
        figure.legend(list(kinds.values()), list(kinds), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_perturbations() -> Figure:
    """Draw the score of each recipe on perturbed recordings."""
    head, *rows = read_rows("ablation-and-ideas.md", "| perturbation | `paper` |")
    pairs = list(zip(stress.PERTURBATIONS, rows, strict=True))  # the table has them in the same order
    return stress.draw(
        {recipe: {name: numbers(row[place])[0] for name, row in pairs} for place, recipe in enumerate(head[1:], 1)}
    )


def main() -> None:
    """Write both pictures."""
    for name, draw in (("study.png", draw_scores), ("stress.png", draw_perturbations)):
        with atomic_write(DOCS / "pictures" / name) as handle:
            handle.write(reduce_colours(figure_bytes(draw(), "png", 110)))
        print(DOCS / "pictures" / name)


if __name__ == "__main__":
    main()
