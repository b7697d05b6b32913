"""Write the evaluation report: one self-contained HTML page with every figure of some outputs, and charts of them.

It works for the outputs of any program, since it needs only labels and outputs. Signals are read to draw the costliest
recordings, if they lie beside their headers. jinja2 escapes whatever comes from a file.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from leadwise.challenge.classes import DIAGNOSES
from leadwise.challenge.evaluation import EvaluationData, scores_by_name
from leadwise.challenge.metric import Scores, challenge_metric
from leadwise.decision.thresholds import best_constant_labels
from leadwise.ecg.leads import standard_leads
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import RecordingError
from leadwise.report import charts, statistics
from leadwise.report.charts import Bar
from leadwise.report.sheet.paper import figure_bytes
from leadwise.report.sheet.sheet import caption_of, draw_sheet
from leadwise.report.statistics import Rewards, bootstrap_interval, class_counts, rewards_of
from leadwise.report.subgroups import MIN_RECORDINGS, Facts, Subgroups, subgroups_of
from leadwise.util.progress import duration

COSTLIEST = 10
ECG_DPI = 80.0  # keeps a page with ten sheets below 5 MB
SHORT = [diagnosis.abbreviation for diagnosis in DIAGNOSES]
HEADS = ("class", "recordings", "prevalence", "AUROC", "AUPRC", "F", "sensitivity", "specificity", "lost")

# Challenge metric; Zhao et al. 2020 (doi 10.22489/CinC.2020.112) and the Challenge's final results.
PUBLISHED_STEPS = {"at 0.5": 0.630, "common threshold": 0.675, "class thresholds": 0.684}  # five-fold validation
PUBLISHED = (
    *(Bar(f"five-fold validation, {step}", score, published=True) for step, score in PUBLISHED_STEPS.items()),
    Bar("hidden validation set, class thresholds", 0.672, published=True),
    Bar("hidden test set: CPSC", 0.845, published=True),
    Bar("hidden test set: Georgia", 0.639, published=True),
    Bar("hidden test set: another hospital", 0.412, published=True),
    Bar("hidden test set, all", 0.520, published=True),
    Bar("hidden test set, all: the winner", 0.533, published=True),
)

# Of the predicted labels, means over the classes; Zhao et al. 2020, five-fold validation with class thresholds.
PUBLISHED_RATES = {"sensitivity": 0.758, "specificity": 0.969}


def report_page(data: EvaluationData, scores: Scores) -> str:
    """Return the page as text; `scores` are the evaluator's figures of `data`."""
    subgroups = subgroups_of(Facts.of_headers(data.headers), data.labels, data.answers)
    content = page_content(data, scores, subgroups, "these outputs")
    return render("evaluation_page.html", {"title": "Report of 12-lead ECG outputs", **content})


def page_content(data: EvaluationData, scores: Scores, subgroups: Subgroups, name: str) -> dict[str, Any]:
    """Return the template's variables; `name` is that of the outputs beside the published figures."""
    rewards = rewards_of(data.labels, data.answers)
    interval = bootstrap_interval(rewards)
    costliest = np.argsort(-rewards.lost, kind="stable")[:COSTLIEST]
    constant = np.broadcast_to(best_constant_labels(data.labels), data.labels.shape)
    return {
        "recordings": len(data.headers),
        "scores": scores,
        "interval": interval,
        "replicates": statistics.REPLICATES,
        "seed": statistics.SEED,
        "constant": challenge_metric(data.labels, constant),
        "figures": scores_by_name(scores),
        "rates": dict(zip(PUBLISHED_RATES, statistics.macro_rates(data.labels, data.answers), strict=True)),
        "published_rates": PUBLISHED_RATES,
        "subgroups": subgroups,
        "min_recordings": MIN_RECORDINGS,
        "heads": HEADS,
        "classes": _classes(data, scores, rewards),
        "pictures": _pictures(data, rewards, Bar(name, scores.challenge_metric, *interval)),
        "costliest": [_recording(data, rewards, int(place)) for place in costliest],
    }


def render(template: str, content: dict[str, Any]) -> str:
    """Return a template of this package, filled."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,  # a misspelt name in a template is an error
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "duration": duration}
    return str(environment.get_template(template).render(content))


def number(value: float | int) -> str:
    """Format a number for the tables: integers as they are, others with three decimals, a dash if undefined."""
    if isinstance(value, (int, np.integer)):
        return str(value)
    return f"{value:.3f}" if np.isfinite(value) else "–"


def lost_by_class(data: EvaluationData, rewards: Rewards) -> NDArray[np.float64]:
    """Return the lost score by class, (24,): each recording's loss, shared equally among its labels."""
    share = data.labels / np.maximum(data.labels.sum(axis=1, keepdims=True), 1)
    return np.asarray(rewards.lost @ share)


def _classes(data: EvaluationData, scores: Scores, rewards: Rewards) -> list[dict[str, Any]]:
    counts, positives = class_counts(data.labels, data.answers), data.labels.sum(axis=0)
    columns = (
        positives.tolist(), (positives / len(data.labels)).tolist(), scores.class_auroc, scores.class_auprc,
        scores.class_f_measure, counts.sensitivity, counts.specificity, lost_by_class(data, rewards),
    )  # fmt: skip
    return [
        {"name": diagnosis.name, "abbreviation": diagnosis.abbreviation, "numbers": numbers}
        for diagnosis, numbers in zip(DIAGNOSES, zip(*columns, strict=True), strict=True)
    ]


def _source_bars(data: EvaluationData) -> list[Bar]:
    """Return the challenge metric of each source, the letters before the number of a record's name."""
    matches = [re.match(r"[A-Za-z]+(?=[0-9])", header.stem) for header in data.headers]
    sources = np.array([match.group() if match else "other" for match in matches])
    bars = []
    for source in sorted(set(sources.tolist())):
        chosen = sources == source
        labels, answers = data.labels[chosen], data.answers[chosen]
        interval = bootstrap_interval(rewards_of(labels, answers))
        bars.append(Bar(f"{source} ({chosen.sum()})", challenge_metric(labels, answers), *interval))
    return bars


def _pictures(data: EvaluationData, rewards: Rewards, score: Bar) -> dict[str, str]:
    counts, lost = class_counts(data.labels, data.answers), lost_by_class(data, rewards)
    bars, sources, order = [score, *PUBLISHED], _source_bars(data), np.argsort(-lost, kind="stable")
    # a class that no recording has, or all have, lacks one of the two rates
    known = np.flatnonzero(np.isfinite(counts.sensitivity + counts.specificity)).tolist()
    names = [SHORT[k] for k in order]
    labelled, predicted = data.labels.sum(axis=0), data.answers.sum(axis=0)
    return {
        "score": charts.intervals(bars, "score", f"Challenge metric. {bar_text(bars)}"),
        "sources": charts.intervals(sources, "sources", f"Challenge metric by source. {bar_text(sources)}"),
        "lost": charts.bars(
            names, lost[order], "lost score", "lost", f"Lost score by class. {value_text(names, lost[order])}"
        ),
        "rates": charts.pairs(
            [SHORT[k] for k in known], counts.sensitivity[known], counts.specificity[known],
            ("sensitivity", "specificity"), "rates", "Sensitivity and specificity by class, as in the table above.",
        ),
        "frequency": charts.pairs(
            SHORT, labelled.astype(float), predicted.astype(float), ("labels", "predicted labels"), "frequency",
            f"Recordings by class. Labels: {value_text(SHORT, labelled)}. Predicted: {value_text(SHORT, predicted)}",
        ),
        **_confusion_charts(data, rewards),
        "calibration": charts.reliability(
            statistics.calibration_of(data.labels, data.scores), SHORT, "calibration",
            "Calibration: share of recordings with each diagnosis against its score, one panel for each class.",
        ),
    }  # fmt: skip


def _confusion_charts(data: EvaluationData, rewards: Rewards) -> dict[str, str]:
    confusion, names = statistics.confusion_of(data.labels, data.answers, rewards.lost), [*SHORT, "none"]
    tables = {"counts": confusion.counts.astype(float), "reward": confusion.lost}
    drawn = {}
    for name, title, unit in (("counts", "counts", "recordings"), ("reward", "lost score", "lost score")):
        values = tables[name]
        largest = np.argsort(-values, axis=None, kind="stable")[:5]  # for the text: nobody listens to all 625 cells
        cells = [np.unravel_index(place, values.shape) for place in largest]
        text = "; ".join(f"{names[j]} missed, {names[k]} predicted: {values[j, k]:.4g}" for j, k in cells)
        alt = f"Confusion as {title}. The largest: {text}"
        drawn[name] = charts.matrix(values, names, unit, name, alt, counts=name == "counts")
    return drawn


def bar_text(bars: Sequence[Bar]) -> str:
    """Return bars as text, for the text alternative of a chart."""
    return "; ".join(f"{bar.name}: {bar.value:.3f}{', published' if bar.published else ''}" for bar in bars)


def value_text(names: Sequence[str], values: NDArray[Any]) -> str:
    """Return names with their values as text, for the text alternative of a chart."""
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(names, values.tolist(), strict=True))


def _recording(data: EvaluationData, rewards: Rewards, place: int) -> dict[str, Any]:
    labels, answers, scores = data.labels[place], data.answers[place], data.scores[place]
    shown = np.flatnonzero(labels | answers)
    return {
        "name": data.headers[place].stem,
        "lost": rewards.lost[place],
        "labels": [DIAGNOSES[k].name for k in np.flatnonzero(labels)],
        "answers": [DIAGNOSES[k].name for k in np.flatnonzero(answers)],
        "rows": [
            {"name": SHORT[k], "label": labels[k], "answer": answers[k], "score": scores[k]}
            for k in shown[np.argsort(-scores[shown], kind="stable")]
        ],
        **_sheet(data.headers[place]),
    }


def _sheet(header: Path) -> dict[str, Any]:
    """Return the sheet of a recording as a PNG, or the reason why there is none."""
    try:  # outputs can be evaluated with headers alone
        recording = read_recording(header)
        signal = standard_leads(recording, "mV")
    except RecordingError as error:
        return {"picture": None, "why": error.reason}
    figure = draw_sheet(signal.values, signal.sampling_frequency, caption_of(recording, signal))
    width, height = (figure.get_size_inches() * ECG_DPI).round().astype(int).tolist()
    png = base64.b64encode(figure_bytes(figure, "png", ECG_DPI)).decode()
    return {"picture": png, "alternative": str(figure.get_label()), "width": width, "height": height}
