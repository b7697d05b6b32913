"""The report of a training and its model card, from a model folder; with the data folder also what needs signals.

Nothing is trained again: every recording is answered by the one network that has not seen it, as the training noted it
in `validation.safetensors`. What a model folder lacks (thresholds, notes of an older version) is left out of the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from leadwise.challenge.evaluation import Evaluated
from leadwise.challenge.metric import Scores, challenge_metric, evaluate
from leadwise.decision.rules import make_rule
from leadwise.decision.thresholds import apply_thresholds, threshold_curves
from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.leads import SIGNAL_REPAIRS
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import REPAIRS, RecordingError, reason_kind
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import read_metadata
from leadwise.model.validation_results import FEMALE, MALE, UNKNOWN, Validation, load_validation
from leadwise.recipes import recipe_from_dict
from leadwise.report import charts
from leadwise.report.card import model_card
from leadwise.report.charts import Bar
from leadwise.report.evaluation_page import HEADS, SHORT, listed, page_content, render, told_of
from leadwise.report.lead_importance import (
    MOST,
    Gates,
    LeadImportance,
    Prepared,
    draw_sample,
    gates_by_class,
    lead_importance,
    one_network,
)
from leadwise.report.sources import source_name
from leadwise.report.statistics import bootstrap_interval, rewards_of
from leadwise.util.files import write_text
from leadwise.util.progress import duration

AGES = tuple(range(0, 101, 5))  # years; the last bin holds all above
OLDEST = 97.5  # PTB-XL writes 300 for over 89
PUBLISHED_STEPS = {"half": 0.630, "common": 0.675, "full": 0.684}  # Zhao et al. 2020, five-fold cross-validation
STEP_NAMES = {"half": "at 0.5", "common": "common threshold", "full": "full search", "reward": "expected reward"}
KINDS = {UNKNOWN: "sex unknown", FEMALE: "female", MALE: "male"}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Training:
    """What a page is made from."""

    metadata: dict[str, Any]  # model.json
    learnt: Validation  # all recordings of the training
    held_out: Validation  # those that a network has answered
    read: Evaluated  # the same, as outputs
    scores: Scores  # of them

    @property
    def folds(self) -> list[dict[str, Any]]:
        """What model.json says of each fold."""
        return list(self.metadata["folds"])

    @property
    def decision(self) -> str:
        """How the model comes from probabilities to labels."""
        return str(self.metadata["recipe"]["decision"]["method"])


def write_pages(folder: Path, data: str | Path | None) -> None:
    """Writes report.html and model_card.md into a model folder; `data` is the folder with its recordings, if it is
    there.

    Raises ModelError, ValueError or OSError where the folder has no model or no notes of its validation.
    """
    training = read_training(folder, data)
    write_text(folder / "model_card.md", model_card(training.metadata, training.read, training.scores))
    model = load_model(folder) if data else None  # without signals there is nothing to ask it
    write_text(folder / "report.html", training_page(training, model))


def read_training(folder: Path, data: str | Path | None) -> Training:
    """A model folder's facts and notes; the recordings' paths where the data folder is given."""
    metadata, learnt = read_metadata(folder), load_validation(folder)
    held_out = learnt.validated
    there = {path.stem: path for path in find_recordings(data)} if data else {}
    headers = tuple(there.get(name, Path(f"{name}.hea")) for name in held_out.names)
    read = Evaluated(headers, held_out.labels, *_answers(metadata, held_out))
    # figures of one model under the name of another would be worse than none
    if not len(held_out) or not _belong_together(metadata, held_out, read):
        raise ValueError(f"{folder}: validation.safetensors is not of the model that model.json tells of")
    return Training(metadata, learnt, held_out, read, evaluate(read.labels, read.answers, read.scores))


def _answers(metadata: dict[str, Any], held_out: Validation) -> tuple[NDArray[np.bool_], Floats]:
    """Labels and scores of each recording by the rule of its fold alone, (recordings, 24) each."""
    labels, scores = np.zeros_like(held_out.labels), np.zeros(held_out.labels.shape)
    decision = recipe_from_dict(metadata["recipe"]).decision
    for place, fold in enumerate(metadata["folds"]):
        mine = held_out.folds == place
        # by its fold's own network and rule, which has not seen it
        answer = make_rule(decision, [fold]).decide(held_out.probabilities[None, mine].astype(np.float64))
        labels[mine], scores[mine] = answer.labels, answer.scores
    return labels, scores


def _belong_together(metadata: dict[str, Any], held_out: Validation, read: Evaluated) -> bool:
    """Whether the notes have as many recordings and right answers in each fold as model.json says."""
    for place, fold in enumerate(metadata["folds"]):
        mine = held_out.folds == place
        right = (read.labels & read.answers)[mine].sum(axis=0).tolist()
        if mine.sum() != fold["validation_recordings"] or right != fold["validation_counts"]["tp"]:
            return False
    return True


def training_page(training: Training, model: Model | None) -> str:
    """The page as text; with a model also what its leads are worth."""
    content = page_content(training.read, training.scores, "this training, every recording once")
    pictures = content["pictures"] | {name: Markup(svg) for name, svg in _pictures(training).items()}
    leads: dict[str, Any] = _leads(training, model) if model else {"why": "the recordings were not there"}
    thresholds = _thresholds(training)
    if thresholds is not None:
        content["heads"] = (*HEADS, "threshold")
        content["classes"] = [
            row | {"numbers": (*row["numbers"], threshold)}
            for row, threshold in zip(content["classes"], thresholds.mean(axis=0), strict=True)
        ]
    more = {
        "title": f"Report of a training: recipe {training.metadata['recipe']['name']}",
        "facts": _facts(training),
        "folds": _folds(training),
        "steps": _steps(training),
        "leads": leads,
        "sources": _sources(training.learnt),
        "repairs": _repairs(training.metadata),
        "left_out": _left_out(training.metadata),
    }
    pictures |= {name: Markup(svg) for name, svg in leads.get("pictures", {}).items()}
    return render("training_page.html", content | more | {"pictures": pictures})


# ------------------------------------------------------------------------------------------------------- facts, tables


def _facts(training: Training) -> list[tuple[str, str]]:
    """What was trained, name and value."""
    metadata, told = training.metadata["training"], training.metadata["recipe"]
    signal = told["signal"]
    versions = ", ".join(f"{name} {version}" for name, version in metadata.get("versions", {}).items())
    epochs = ", ".join(str(len(fold["epochs"])) for fold in training.folds)
    return [
        ("recipe", f"{told['name']} ({signal['sampling_frequency']} Hz, windows of {signal['window']} samples)"),
        ("networks", f"{len(training.folds)}, of {epochs} epochs"),
        *_beginning(training.metadata),
        ("recordings", f"{len(training.learnt)}; {len(training.held_out)} were held out from one network"),
        ("trained", f"{duration(metadata['seconds'])} on {metadata['device']}, {metadata['precision']}; {versions}"),
        ("complete", metadata.get("unfinished") or metadata.get("shortened") or "all folds and epochs of the recipe"),
    ]


def _beginning(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What simulated ECGs had to do with it, if anything."""
    if simulated := metadata["training"].get("simulated"):
        yield "began with", f"what {simulated['recordings']} simulated ECGs taught in {simulated['epochs']} epochs"
    if simulation_network := metadata.get("simulation_network"):
        yield (
            "simulation_network",
            f"these alone taught it; weighs {simulation_network['share']:.2g} for recordings from elsewhere",
        )


def _folds(training: Training) -> list[dict[str, Any]]:
    """The rows of the table of folds."""
    rows = []
    for place, fold in enumerate(training.folds):
        mine = training.held_out.folds == place
        if not mine.any():  # a fold that the time was too short for
            continue
        labels, answers = training.read.labels[mine], training.read.answers[mine]
        scores = evaluate(labels, answers, training.read.scores[mine])
        interval = bootstrap_interval(rewards_of(labels, answers))
        epochs = f"{fold['best_epoch']} of {len(fold['epochs'])}"
        rows.append(
            {"place": place, "recordings": int(mine.sum()), "scores": scores, "interval": interval, "epochs": epochs}
        )
    return rows


def _steps(training: Training) -> list[dict[str, Any]]:
    """What each step of the decision is worth, over all recordings; with the published figure where there is one."""
    by_fold, probabilities = training.held_out.folds, training.held_out.probabilities
    answers = {"half": apply_thresholds(probabilities, 0.5)}
    if all("thresholds" in fold for fold in training.folds):  # searched whatever the recipe decides by
        common = np.array([fold["common_threshold"] for fold in training.folds], np.float64)
        each = np.array([fold["thresholds"] for fold in training.folds], np.float64)
        answers["common"] = apply_thresholds(probabilities, common[by_fold, None])
        answers["full"] = apply_thresholds(probabilities, each[by_fold])
    if training.decision == "reward":
        answers["reward"] = training.read.answers
    rows = []
    for name, said in answers.items():
        interval = bootstrap_interval(rewards_of(training.read.labels, said))
        folds = [challenge_metric(training.read.labels[by_fold == k], said[by_fold == k]) for k in np.unique(by_fold)]
        rows.append(
            {
                "name": STEP_NAMES.get(name, name),
                "score": challenge_metric(training.read.labels, said),
                "interval": interval,
                "folds": folds,
                "published": PUBLISHED_STEPS.get(name, np.nan),
            }
        )
    return rows


def _thresholds(training: Training) -> Floats | None:
    """The thresholds (folds, 24) by which the model decides; None where it decides without."""
    found = [fold.get("thresholds") for fold in training.folds]
    return np.array(found, np.float64) if training.decision == "search" else None


def _sources(learnt: Validation) -> list[dict[str, Any]]:
    """The rows of the table of databases."""
    sources = np.array(learnt.sources)
    rows = []
    for source in sorted(set(learnt.sources)):
        mine = learnt.part(sources == source)
        known = mine.ages[np.isfinite(mine.ages)]
        rows.append(
            {
                "prefix": source or "none",
                "name": source_name(source),
                "recordings": len(mine),
                "seconds": _range(mine.seconds, 1),
                "frequencies": ", ".join(f"{hertz:g}" for hertz in np.unique(mine.frequencies) if np.isfinite(hertz)),
                "age": f"{np.median(known):.0f}" if len(known) else "–",
                "female": float(np.mean(mine.sexes == FEMALE)),
                "male": float(np.mean(mine.sexes == MALE)),
            }
        )
    return rows


def _range(values: NDArray[np.float32], decimals: int) -> str:
    low, high = (f"{value:.{decimals}f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _repairs(metadata: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Name, how often, what it means; the most frequent first."""
    meanings = {**REPAIRS, **SIGNAL_REPAIRS}
    counts = sorted(metadata["training"].get("repairs", {}).items(), key=lambda item: (-item[1], item[0]))
    return [(name, count, meanings.get(name, "")) for name, count in counts]


def _left_out(metadata: dict[str, Any]) -> list[tuple[str, int]]:
    """Reason, how often; numbers and names of one file are left out of the reasons."""
    counts: Counter[str] = Counter()
    for reason, count in metadata["training"].get("left_out", {}).items():
        counts[reason_kind(reason)] += count
    return counts.most_common()


# ------------------------------------------------------------------------------------------------------------ pictures


def _pictures(training: Training) -> dict[str, str]:
    """The pictures that need no signals."""
    steps, folds = _step_bars(training), _fold_bars(training)
    histories, kept = [fold["epochs"] for fold in training.folds], [fold["best_epoch"] for fold in training.folds]
    told = "; ".join(
        f"fold {place}: {epochs[best - 1]['validation_score']:.3f} in epoch {best} of {len(epochs)}"
        for place, (epochs, best) in enumerate(zip(histories, kept, strict=True))
    )
    drawn = {
        "steps": charts.intervals(steps, "steps", f"Challenge metric by step of the decision. {listed(steps)}"),
        "folds": charts.intervals(folds, "folds", f"Challenge metric of each fold. {listed(folds)}"),
        "learning": charts.learning(
            histories, kept, "learning", f"Loss, validation score and rate by epoch; the epoch kept: {told}."
        ),
        "ages": _age_picture(training.learnt),
        "lengths": _count_picture(training.learnt.seconds, "lengths", "s", "length"),
        "frequencies": _count_picture(training.learnt.frequencies, "frequencies", "Hz", "sampling frequency"),
    }
    thresholds = _thresholds(training)
    return drawn if thresholds is None else drawn | {"curves": _curve_picture(training, thresholds)}


def _fold_bars(training: Training) -> list[Bar]:
    return [
        Bar(f"fold {row['place']} ({row['recordings']})", row["scores"].challenge_metric, *row["interval"])
        for row in _folds(training)
    ]


def _step_bars(training: Training) -> list[Bar]:
    bars = []
    for row in _steps(training):
        bars.append(Bar(row["name"], row["score"], *row["interval"]))
        if np.isfinite(row["published"]):
            bars.append(Bar(f"{row['name']}, published", row["published"], published=True))
    return bars


def _curve_picture(training: Training, thresholds: Floats) -> str:
    curves = []
    for place, fixed in enumerate(thresholds):
        mine = training.held_out.folds == place
        curves.append(threshold_curves(training.read.labels[mine], training.held_out.probabilities[mine], fixed))
    told = told_of(SHORT, thresholds.mean(axis=0))
    return charts.threshold_panels(
        np.array(curves), thresholds, SHORT, "curves",
        f"Challenge metric against each class's threshold, one small picture a class. Mean thresholds: {told}.",
    )  # fmt: skip


def _age_picture(learnt: Validation) -> str:
    # PTB-XL writes 300 for all over 89
    known = np.where(learnt.ages > OLDEST, OLDEST, learnt.ages)
    groups = {}
    for sex, name in KINDS.items():
        counts = np.histogram(known[(learnt.sexes == sex) & np.isfinite(known)], AGES)[0].astype(np.float64)
        if counts.any():
            groups[f"{name} ({counts.sum():.0f})"] = counts
    unknown = int(np.sum(~np.isfinite(learnt.ages)))
    told = "; ".join(
        f"{name}: most often from {AGES[int(np.argmax(counts))]} years on" for name, counts in groups.items()
    )
    return charts.ages(
        AGES, groups, "ages", f"Recordings by age in steps of five years. {told}. {unknown} without age."
    )


def _count_picture(values: NDArray[np.float32], name: str, unit: str, what: str) -> str:
    """How many recordings have which value; where there are more than a dozen different ones, in so many bins."""
    known = values[np.isfinite(values)]
    distinct = np.unique(np.round(known, 1))  # 9.998 s and 10 s are one length
    if len(distinct) <= 12:
        counts = np.array([np.sum(np.round(known, 1) == value) for value in distinct], np.float64)
        names = [f"{value:g} {unit}" for value in distinct]
    else:
        # quantiles: lengths from 5 s to half an hour would leave nearly all bins of equal width empty
        edges = np.unique(np.round(np.quantile(known, np.linspace(0, 1, 13)), 1))
        counts = np.histogram(known, np.r_[edges[:-1], np.inf])[0].astype(np.float64)
        names = [f"{low:g} to {high:g} {unit}" for low, high in pairwise(edges)]
    if len(known) < len(values):
        names, counts = [*names, "not known"], np.r_[counts, len(values) - len(known)]
    return charts.bars(names, counts, "recordings", name, f"Recordings by {what}. {told_of(names, counts)}")


# --------------------------------------------------------------------------------------------------------------- leads


def _leads(training: Training, model: Model) -> dict[str, Any]:
    """What the leads are worth to the first network, on a sample of its validation part; or why that is not told."""
    members = np.flatnonzero(training.held_out.folds == 0)
    # a sample: each recording goes through the network once for each lead that is hidden
    chosen = members[draw_sample(training.held_out.labels[members])]
    sample = _prepared(training, chosen, model)
    if not len(sample.signals):
        return {"why": "none of the recordings could be read"}
    worth = lead_importance(one_network(model, 0), sample)
    gates = gates_by_class(model.networks[0], sample, model.recipe.signal.window)
    return {"recordings": len(sample.signals), "most": MOST, "pictures": _lead_pictures(worth, gates, sample)}


def _prepared(training: Training, places: NDArray[np.int64], model: Model) -> Prepared:
    """The recordings at these places that can be read."""
    signals, people, labels = [], [], []
    for place in places.tolist():
        try:
            recording = read_recording(training.read.headers[place])
            signal = prepare(recording, model.recipe.signal)
        except RecordingError:  # the folder has changed since the training
            continue
        signals.append(signal.values[:, : model.recipe.signal.window].copy())  # the rest of half an hour is not kept
        people.append(auxiliary_features(recording.header, signal))
        labels.append(training.read.labels[place])
    return Prepared(signals, np.array(people, np.float32), np.array(labels, np.bool_).reshape(-1, 24))


def _lead_pictures(worth: LeadImportance, gates: Gates, sample: Prepared) -> dict[str, str]:
    bars = [
        Bar("nothing hidden" if name == "nothing" else f"without {name}", float(score))
        for name, score in zip(worth.names, worth.scores, strict=True)
    ]
    most = min(1.0, 1.1 * max(bar.value for bar in bars) + 0.02)
    falls = worth.auroc[0] - worth.auroc[1:]
    known = np.flatnonzero(np.isfinite(falls).all(axis=0))
    largest = sorted(
        ((falls[j, k], worth.names[j + 1], SHORT[k]) for j in range(len(falls)) for k in known), reverse=True
    )
    told = "; ".join(f"{name} without {lead}: {fall:.3f}" for fall, lead, name in largest[:5])
    blocks = [f"block {place + 1}" for place in range(len(gates.shift))]
    there = np.flatnonzero(sample.labels.any(axis=0))
    columns = [f"{SHORT[k]} ({sample.labels[:, k].sum()})" for k in there]
    panels = {"distance from mean": gates.shift[:, there], "spread in class": gates.spread[:, there]}
    strongest = [columns[int(np.argmax(row))] for row in panels["distance from mean"]]
    drawn = {
        "lead_scores": charts.intervals(bars, "leads", f"Challenge metric with leads hidden. {listed(bars)}", most),
        "gates": charts.heat(
            panels, blocks, columns, 0.22, "gates",
            "Squeeze-and-excitation gates by block and class. Furthest from the mean: "
            + "; ".join(f"{block}: {name}" for block, name in zip(blocks, strongest, strict=True)),
        ),
    }  # fmt: skip
    if len(known):
        drawn["lead_auroc"] = charts.heat(
            {"fall of AUROC": falls[:, known]}, worth.names[1:], [SHORT[k] for k in known], 0.24, "auroc",
            f"Fall of each class's AUROC with each lead and lead group hidden. The largest: {told}.",
        )  # fmt: skip
    return drawn
