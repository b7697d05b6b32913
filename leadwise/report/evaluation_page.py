"""The report: one page that needs nothing else, with every figure of some outputs and pictures of them.

For any outputs, those of other programs too: it knows labels and outputs alone, and reads signals only to draw the
dearest recordings, where they lie beside their headers. jinja2 escapes whatever comes from a file.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from leadwise.challenge.classes import DIAGNOSES
from leadwise.challenge.evaluation import Evaluated, figures_by_name
from leadwise.challenge.metric import Scores, challenge_metric
from leadwise.decision.thresholds import best_constant_labels
from leadwise.ecg.leads import standard_leads
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import RecordingError
from leadwise.report import charts
from leadwise.report.charts import Bar
from leadwise.report.sheet.paper import figure_bytes
from leadwise.report.sheet.sheet import caption_of, draw_sheet
from leadwise.report.statistics import (
    REPLICATES,
    SEED,
    Rewards,
    bootstrap_interval,
    calibration_of,
    class_counts,
    confusion_of,
    macro_rates,
    rewards_of,
)

WORST = 10
ECG_DPI = 80.0  # ten of them and the page stays below 5 MB
SHORT = [diagnosis.abbreviation for diagnosis in DIAGNOSES]
HEADS = ("class", "recordings", "prevalence", "AUROC", "AUPRC", "F", "sensitivity", "specificity", "lost")

# Challenge metric; Zhao et al. 2020 (doi 10.22489/CinC.2020.112) and the Challenge's final results.
PUBLISHED = (
    Bar("five-fold validation, at 0.5", 0.630, published=True),
    Bar("five-fold validation, common threshold", 0.675, published=True),
    Bar("five-fold validation, full search", 0.684, published=True),
    Bar("hidden validation set, full search", 0.672, published=True),
    Bar("hidden test set: CPSC", 0.845, published=True),
    Bar("hidden test set: Georgia", 0.639, published=True),
    Bar("hidden test set: another hospital", 0.412, published=True),
    Bar("hidden test set, all", 0.520, published=True),
    Bar("hidden test set, all: the winner", 0.533, published=True),
)

# Of the labels, means over the classes; Zhao et al. 2020, five-fold validation with both steps of the search.
PUBLISHED_RATES = {"sensitivity": 0.758, "specificity": 0.969}


def report_page(read: Evaluated, scores: Scores) -> str:
    """The page as text; `scores` are the evaluator's figures of what was `read`."""
    return render("evaluation_page.html", {"title": "Report of 12-lead ECG outputs", **page_content(read, scores)})


def page_content(read: Evaluated, scores: Scores, mine: str = "these outputs") -> dict[str, Any]:
    """What the template says of outputs, by name; `mine` is what they are called beside the published figures."""
    rewards = rewards_of(read.labels, read.answers)
    interval = bootstrap_interval(rewards)
    # the best that one answer for all could have: what the outputs must beat
    constant = np.broadcast_to(best_constant_labels(read.labels), read.labels.shape)
    return {
        "recordings": len(read.headers),
        "scores": scores,
        "interval": interval,
        "replicates": REPLICATES,
        "seed": SEED,
        "constant": challenge_metric(read.labels, constant),
        "figures": figures_by_name(scores),
        "rates": dict(zip(PUBLISHED_RATES, macro_rates(read.labels, read.answers), strict=True)),
        "published_rates": PUBLISHED_RATES,
        "heads": HEADS,
        "classes": _classes(read, scores, rewards),
        "pictures": _pictures(read, scores, rewards, Bar(mine, scores.challenge_metric, *interval)),
        "worst": [_worst(read, rewards, int(place)) for place in np.argsort(-rewards.lost, kind="stable")[:WORST]],
    }


def render(template: str, content: dict[str, Any]) -> str:
    """A template of this folder, filled."""
    # StrictUndefined: a name that the template misspells is an error, not a gap that nobody sees
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = number
    return str(environment.get_template(template).render(content))


def number(value: float | int) -> str:
    """As the tables show it: counts whole, others with three decimals, a dash where undefined."""
    if isinstance(value, (int, np.integer)):
        return str(value)
    return f"{value:.3f}" if np.isfinite(value) else "–"


def lost_by_class(read: Evaluated, rewards: Rewards) -> NDArray[np.float64]:
    """What the recordings with each label lack, (24,), a recording's loss shared equally among its labels; the sum is
    1 - score."""
    # a recording without labels loses nothing that a class could be blamed for
    share = read.labels / np.maximum(read.labels.sum(axis=1, keepdims=True), 1)
    return np.asarray(rewards.lost @ share)


def _classes(read: Evaluated, scores: Scores, rewards: Rewards) -> list[dict[str, Any]]:
    """The rows of the table."""
    counts, lost = class_counts(read.labels, read.answers), lost_by_class(read, rewards)
    positives = read.labels.sum(axis=0)
    columns = (
        positives.tolist(), (positives / len(read.labels)).tolist(), scores.class_auroc, scores.class_auprc,
        scores.class_f_measure, counts.sensitivity, counts.specificity, lost,
    )  # fmt: skip
    rows = zip(*columns, strict=True)
    return [
        {"name": diagnosis.name, "abbreviation": diagnosis.abbreviation, "numbers": numbers}
        for diagnosis, numbers in zip(DIAGNOSES, rows, strict=True)
    ]


# ------------------------------------------------------------------------------------------------------------ pictures


def source_of(header: Path) -> str:
    """The letters before the number of a record's name; "other" where there are none."""
    match = re.match(r"[A-Za-z]+(?=[0-9])", header.stem)
    return match.group() if match else "other"


def source_bars(read: Evaluated) -> list[Bar]:
    """The challenge metric of each source with its interval."""
    sources = np.array([source_of(header) for header in read.headers])
    result = []
    for source in sorted(set(sources.tolist())):
        mine = sources == source
        labels, answers = read.labels[mine], read.answers[mine]
        interval = bootstrap_interval(rewards_of(labels, answers))
        result.append(Bar(f"{source} ({mine.sum()})", challenge_metric(labels, answers), *interval))
    return result


def _pictures(read: Evaluated, scores: Scores, rewards: Rewards, mine: Bar) -> dict[str, Markup]:
    """All pictures, each with its text alternative."""
    counts, lost = class_counts(read.labels, read.answers), lost_by_class(read, rewards)
    here = [mine, *PUBLISHED]
    sources, order = source_bars(read), np.argsort(-lost, kind="stable")
    # a class that no recording has, or all have, lacks one of the two rates
    known = [k for k in range(len(SHORT)) if np.isfinite(counts.sensitivity[k] + counts.specificity[k])]
    names = [SHORT[k] for k in order]
    there, said = read.labels.sum(axis=0), read.answers.sum(axis=0)
    drawn = {
        "score": charts.intervals(here, "score", f"Challenge metric. {listed(here)}"),
        "sources": charts.intervals(sources, "sources", f"Challenge metric by source. {listed(sources)}"),
        "lost": charts.bars(
            names, lost[order], "lost score", "lost", f"Lost score by class. {told_of(names, lost[order])}"
        ),
        "rates": charts.pairs(
            [SHORT[k] for k in known], counts.sensitivity[known], counts.specificity[known],
            ("sensitivity", "specificity"), "rates", "Sensitivity and specificity by class, as in the table above.",
        ),
        "frequency": charts.pairs(
            SHORT, there.astype(float), said.astype(float), ("labels", "answers"), "frequency",
            f"Recordings by class. Labels: {told_of(SHORT, there)}. Answers: {told_of(SHORT, said)}",
        ),
        **_confusions(read, rewards),
        "calibration": charts.reliability(
            calibration_of(read.labels, read.scores), SHORT, "calibration",
            "Calibration: share of recordings with each diagnosis against its score, one small picture a class.",
        ),
    }  # fmt: skip
    return {name: Markup(svg) for name, svg in drawn.items()}


def _confusions(read: Evaluated, rewards: Rewards) -> dict[str, str]:
    confusion, names = confusion_of(read.labels, read.answers, rewards.lost), [*SHORT, "none"]
    told = []
    for values in (confusion.counts.astype(float), confusion.lost):
        largest = np.argsort(-values, axis=None, kind="stable")[:5]  # for the text: all 625 cells would tell nothing
        cells = [np.unravel_index(place, values.shape) for place in largest]
        told.append("; ".join(f"{names[j]} missed, {names[k]} answered: {values[j, k]:.4g}" for j, k in cells))
    counts = charts.matrix(
        confusion.counts.astype(float),
        names,
        "recordings",
        "counts",
        f"Confusion as counts. The largest: {told[0]}",
        True,
    )
    reward = charts.matrix(
        confusion.lost, names, "lost score", "reward", f"Confusion as lost score. The largest: {told[1]}"
    )
    return {"counts": counts, "reward": reward}


def listed(bars: Sequence[Bar]) -> str:
    """Bars in words, for those who do not see them."""
    return "; ".join(f"{bar.name}: {bar.value:.3f}{', published' if bar.published else ''}" for bar in bars)


def told_of(names: Sequence[str], values: NDArray[Any]) -> str:
    """Names with their values, likewise."""
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(names, values.tolist(), strict=True))


# ---------------------------------------------------------------------------------------------- the dearest recordings


def _worst(read: Evaluated, rewards: Rewards, place: int) -> dict[str, Any]:
    """One recording with labels, answers and scores; drawn where its signal can be read."""
    labels, answers, scores = read.labels[place], read.answers[place], read.scores[place]
    shown = np.flatnonzero(labels | answers)  # what neither says would be twenty rows of nothing
    rows = [
        {
            "name": SHORT[k],
            "label": "yes" if labels[k] else "",
            "answer": "yes" if answers[k] else "",
            "score": scores[k],
        }
        for k in shown[np.argsort(-scores[shown], kind="stable")]
    ]
    return {
        "name": read.headers[place].stem,
        "lost": rewards.lost[place],
        "labels": [DIAGNOSES[k].name for k in np.flatnonzero(labels)],
        "answers": [DIAGNOSES[k].name for k in np.flatnonzero(answers)],
        "rows": rows,
        **_drawn(read.headers[place]),
    }


def _drawn(header: Path) -> dict[str, Any]:
    """The sheet of a recording as a PNG, or why there is none."""
    try:  # outputs can be judged where there are headers alone
        recording = read_recording(header)
        signal = standard_leads(recording, "mV")
    except RecordingError as error:
        return {"picture": None, "why": error.reason}
    figure = draw_sheet(signal.values, signal.sampling_frequency, caption_of(recording, signal))
    width, height = (figure.get_size_inches() * ECG_DPI).round().astype(int).tolist()
    png = base64.b64encode(figure_bytes(figure, "png", ECG_DPI)).decode()
    return {"picture": png, "alternative": str(figure.get_label()), "width": width, "height": height}
