"""Write the report of a training and its model card from a model folder; with the data folder also what needs signals.

Nothing is trained or predicted again: the probabilities of each recording are those of the one network that was not
trained on it, as `validation.safetensors` has them. What a model folder lacks is left out of the page.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.evaluation import EvaluationData
from leadwise.challenge.metric import Scores, challenge_metric, evaluate
from leadwise.decision.lead_sets import LEAD_SETS
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
from leadwise.report import charts, lead_importance
from leadwise.report.card import model_card, source_name
from leadwise.report.charts import Bar
from leadwise.report.evaluation_page import HEADS, PUBLISHED_STEPS, SHORT, bar_text, page_content, render, value_text
from leadwise.report.lead_importance import Gates, LeadImportance, Prepared
from leadwise.report.statistics import bootstrap_interval, rewards_of
from leadwise.report.subgroups import Facts, Group, Subgroups, subgroups_of
from leadwise.util.files import write_text

AGES = tuple(range(0, 101, 5))  # years; the last bin holds all above
OLDEST = 97.5  # PTB-XL writes 300 for over 89
SEXES = {UNKNOWN: "sex unknown", FEMALE: "female", MALE: "male"}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Training:
    """A finished training, as its model folder describes it."""

    metadata: dict[str, Any]  # model.json
    all: Validation  # all recordings of the training
    held_out: Validation  # those with probabilities of a network that was not trained on them
    outputs: EvaluationData  # the same, with the predicted labels
    scores: Scores  # of them
    subgroups: Subgroups  # of them

    @property
    def folds(self) -> list[dict[str, Any]]:
        """Return the folds of model.json."""
        return list(self.metadata["folds"])

    @property
    def decision(self) -> str:
        """Return the method by which the model decides."""
        return str(self.metadata["recipe"]["decision"]["method"])


def write_pages(folder: Path, data: str | Path | None) -> None:
    """Write report.html and model_card.md into a model folder; `data` is the folder with its recordings, if available.

    Raises ModelError, ValueError or OSError if the folder has no model or no validation results.
    """
    training = read_training(folder, data)
    card = model_card(training.metadata, training.outputs, training.scores, training.subgroups)
    write_text(folder / "model_card.md", card)
    model = load_model(folder) if data else None  # the model is only needed for signals
    write_text(folder / "report.html", training_page(training, model))


def read_training(folder: Path, data: str | Path | None) -> Training:
    """Read a model folder; the recordings get their paths if the data folder is given."""
    metadata, validation = read_metadata(folder), load_validation(folder)
    held_out = validation.validated
    paths = {path.stem: path for path in find_recordings(data)} if data else {}
    headers = tuple(paths.get(name, Path(f"{name}.hea")) for name in held_out.names)
    outputs = EvaluationData(headers, held_out.labels, *_predictions(metadata, held_out))
    if not len(held_out) or not _belong_together(metadata, held_out, outputs):
        raise ValueError(f"{folder}: validation.safetensors does not belong to the model of model.json")
    scores = evaluate(outputs.labels, outputs.answers, outputs.scores)
    subgroups = subgroups_of(Facts.of(held_out), outputs.labels, outputs.answers, _lead_sets(metadata, held_out))
    return Training(metadata, validation, held_out, outputs, scores, subgroups)


def _lead_sets(metadata: dict[str, Any], held_out: Validation) -> list[Group]:
    """Return the recordings with the leads of each lead set alone, if they were validated with them."""
    if not np.isfinite(held_out.lead_set_probabilities).all():
        return []
    found = [(name, _predictions(metadata, held_out, place)[0]) for place, name in enumerate(LEAD_SETS)]
    return [Group("leads", name, held_out.labels, labels) for name, labels in found]


def _predictions(metadata: dict[str, Any], held_out: Validation, lead_set: int = 0) -> tuple[NDArray[np.bool_], Floats]:
    """Return labels and scores of each recording by the rule of its own fold, (recordings, 24) each, with the leads of
    a lead set alone (index in `LEAD_SETS`; 0: twelve)."""
    reduced = held_out.lead_set_probabilities
    probabilities = (reduced[:, lead_set - 1] if lead_set else held_out.probabilities).astype(np.float64)
    labels, scores = np.zeros_like(held_out.labels), np.zeros(held_out.labels.shape)
    decision = recipe_from_dict(metadata["recipe"]).decision
    for place, fold in enumerate(metadata["folds"]):
        chosen = held_out.folds == place
        lead_sets = np.full(chosen.sum(), lead_set)
        prediction = make_rule(decision, [fold]).decide(probabilities[None, chosen], None, lead_sets)
        labels[chosen], scores[chosen] = prediction.labels, prediction.scores
    return labels, scores


def _belong_together(metadata: dict[str, Any], held_out: Validation, outputs: EvaluationData) -> bool:
    """Return whether each fold has as many recordings and true positives as model.json says."""
    for place, fold in enumerate(metadata["folds"]):
        chosen = held_out.folds == place
        positives = (outputs.labels & outputs.answers)[chosen].sum(axis=0).tolist()
        if chosen.sum() != fold["validation_recordings"] or positives != fold["validation_counts"]["tp"]:
            return False
    return True


def training_page(training: Training, model: Model | None) -> str:
    """Return the page as text; with a model also the importance of the leads."""
    content = page_content(training.outputs, training.scores, training.subgroups, "this training, every recording once")
    if training.decision == "search":
        thresholds = np.mean([fold["thresholds"] for fold in training.folds], axis=0)
        content["heads"] = (*HEADS, "threshold")
        content["classes"] = [
            row | {"numbers": (*row["numbers"], threshold)}
            for row, threshold in zip(content["classes"], thresholds, strict=True)
        ]
    folds, steps, metadata = _folds(training), _steps(training), training.metadata["training"]
    left_out: Counter[str] = Counter()
    for reason, count in metadata.get("left_out", {}).items():
        left_out[reason_kind(reason)] += count  # without numbers and names of one file
    leads: dict[str, Any] = _leads(training, model) if model else {"why": "the data folder was not given"}
    drawn = _pictures(training, folds, steps) | leads.get("pictures", {})
    more = {
        "title": f"Report of a training: recipe {training.metadata['recipe']['name']}",
        "metadata": training.metadata,
        "counts": {"all": len(training.all), "held out": len(training.held_out)},
        "folds": folds,
        "steps": steps,
        "leads": leads,
        "sources": _sources(training.all),
        "repairs": sorted(metadata.get("repairs", {}).items(), key=lambda item: (-item[1], item[0])),
        "meanings": {**REPAIRS, **SIGNAL_REPAIRS},
        "left_out": left_out.most_common(),
        "pictures": content["pictures"] | drawn,
    }
    return render("training_page.html", content | more)


def _folds(training: Training) -> list[dict[str, Any]]:
    rows = []
    for place, fold in enumerate(training.folds):
        chosen = training.held_out.folds == place
        if not chosen.any():  # time was too short for this fold
            continue
        labels, answers = training.outputs.labels[chosen], training.outputs.answers[chosen]
        scores = evaluate(labels, answers, training.outputs.scores[chosen])
        interval = bootstrap_interval(rewards_of(labels, answers))
        epochs = f"{fold['best_epoch']} of {len(fold['epochs'])}"
        rows.append(
            {"place": place, "recordings": int(chosen.sum()), "scores": scores, "interval": interval, "epochs": epochs}
        )
    return rows


def _steps(training: Training) -> list[dict[str, Any]]:
    """Return the ablation of the decision steps over all recordings, beside the published scores."""
    by_fold, probabilities = training.held_out.folds, training.held_out.probabilities
    answers = {"at 0.5": apply_thresholds(probabilities, 0.5)}
    if all("thresholds" in fold for fold in training.folds):  # searched whatever the recipe decides by
        common = np.array([fold["common_threshold"] for fold in training.folds], np.float64)
        thresholds = np.array([fold["thresholds"] for fold in training.folds], np.float64)
        answers["common threshold"] = apply_thresholds(probabilities, common[by_fold, None])
        answers["class thresholds"] = apply_thresholds(probabilities, thresholds[by_fold])
    if training.decision == "reward":
        answers["expected reward"] = training.outputs.answers
    labels, rows = training.outputs.labels, []
    for name, predicted in answers.items():
        score, interval = challenge_metric(labels, predicted), bootstrap_interval(rewards_of(labels, predicted))
        folds = [challenge_metric(labels[by_fold == k], predicted[by_fold == k]) for k in np.unique(by_fold)]
        published = PUBLISHED_STEPS.get(name, np.nan)
        rows.append({"name": name, "score": score, "interval": interval, "folds": folds, "published": published})
    return rows


def _sources(recordings: Validation) -> list[dict[str, Any]]:
    rows = []
    for source in sorted(set(recordings.sources)):
        part = recordings.part(np.array(recordings.sources) == source)
        ages = part.ages[np.isfinite(part.ages)]
        shortest, longest = (f"{seconds:.1f}" for seconds in (part.seconds.min(), part.seconds.max()))
        rows.append(
            {
                "prefix": source or "none",
                "name": source_name(source),
                "recordings": len(part),
                "seconds": shortest if shortest == longest else f"{shortest} to {longest}",
                "frequencies": ", ".join(f"{hertz:g}" for hertz in np.unique(part.frequencies) if np.isfinite(hertz)),
                "age": f"{np.median(ages):.0f}" if len(ages) else "–",
                "female": float(np.mean(part.sexes == FEMALE)),
                "male": float(np.mean(part.sexes == MALE)),
            }
        )
    return rows


def _pictures(training: Training, folds: list[dict[str, Any]], steps: list[dict[str, Any]]) -> dict[str, str]:
    step_bars = []
    for row in steps:
        step_bars.append(Bar(row["name"], row["score"], *row["interval"]))
        if np.isfinite(row["published"]):
            step_bars.append(Bar(f"{row['name']}, published", row["published"], published=True))
    fold_bars = [
        Bar(f"fold {row['place']} ({row['recordings']})", row["scores"].challenge_metric, *row["interval"])
        for row in folds
    ]
    histories, kept = [fold["epochs"] for fold in training.folds], [fold["best_epoch"] for fold in training.folds]
    kept_text = "; ".join(
        f"fold {place}: {epochs[best - 1]['validation_score']:.3f} in epoch {best} of {len(epochs)}"
        for place, (epochs, best) in enumerate(zip(histories, kept, strict=True))
    )
    drawn = {
        "steps": charts.intervals(step_bars, "steps", f"Challenge metric by decision step. {bar_text(step_bars)}"),
        "folds": charts.intervals(fold_bars, "folds", f"Challenge metric of each fold. {bar_text(fold_bars)}"),
        "learning": charts.learning(
            histories, kept, "learning", f"Loss, validation score and learning rate by epoch. Kept: {kept_text}."
        ),
        "ages": _age_chart(training.all),
        "lengths": _count_chart(training.all.seconds, "lengths", "s", "length"),
        "frequencies": _count_chart(training.all.frequencies, "frequencies", "Hz", "sampling frequency"),
    }
    return drawn | ({"curves": _threshold_chart(training)} if training.decision == "search" else {})


def _threshold_chart(training: Training) -> str:
    thresholds, curves = np.array([fold["thresholds"] for fold in training.folds], np.float64), []
    for place, fixed in enumerate(thresholds):
        chosen = training.held_out.folds == place
        curves.append(threshold_curves(training.outputs.labels[chosen], training.held_out.probabilities[chosen], fixed))
    means = value_text(SHORT, thresholds.mean(axis=0))
    alt = f"Challenge metric by the threshold of each class, one panel for each class. Mean thresholds: {means}."
    return charts.threshold_panels(np.array(curves), thresholds, SHORT, "curves", alt)


def _age_chart(recordings: Validation) -> str:
    ages = np.minimum(recordings.ages, OLDEST)
    groups = {}
    for sex, name in SEXES.items():
        counts = np.histogram(ages[(recordings.sexes == sex) & np.isfinite(ages)], AGES)[0].astype(np.float64)
        if counts.any():
            groups[f"{name} ({counts.sum():.0f})"] = counts
    modes = "; ".join(
        f"{name}: most often {AGES[int(np.argmax(counts))]} to {AGES[int(np.argmax(counts)) + 1]} years"
        for name, counts in groups.items()
    )
    alt = f"Recordings by age in steps of five years. {modes}. {int(np.sum(~np.isfinite(ages)))} without age."
    return charts.ages(AGES, groups, "ages", alt)


def _count_chart(values: NDArray[np.float32], name: str, unit: str, quantity: str) -> str:
    """Draw how many recordings have which value; more than a dozen different values are grouped by quantiles."""
    known = values[np.isfinite(values)]
    rounded = np.round(known, 1)  # 9.998 s and 10 s are one length
    distinct = np.unique(rounded)
    if len(distinct) <= 12:
        counts = np.array([np.sum(rounded == value) for value in distinct], np.float64)
        names = [f"{value:g} {unit}" for value in distinct]
    else:
        # with lengths from 5 s to half an hour, nearly all bins of equal width would be empty
        edges = np.unique(np.round(np.quantile(known, np.linspace(0, 1, 13)), 1))
        counts = np.histogram(known, np.r_[edges[:-1], np.inf])[0].astype(np.float64)
        names = [f"{low:g} to {high:g} {unit}" for low, high in pairwise(edges)]
    if len(known) < len(values):
        names, counts = [*names, "not known"], np.r_[counts, len(values) - len(known)]
    return charts.bars(names, counts, "recordings", name, f"Recordings by {quantity}. {value_text(names, counts)}")


def _leads(training: Training, model: Model) -> dict[str, Any]:
    """Return the importance of the leads to the first network on a validation sample, or why it is missing."""
    members = np.flatnonzero(training.held_out.folds == 0)
    chosen = members[lead_importance.draw_sample(training.held_out.labels[members])]
    sample = _prepared(training, chosen, model)  # few: they go through the network once for each hidden lead
    if not len(sample.signals):
        return {"why": "none of the recordings could be read"}
    importance = lead_importance.lead_importance(lead_importance.one_network(model, 0), sample)
    gates = lead_importance.gates_by_class(model.networks[0], sample, model.recipe.signal.window)
    pictures = _importance_charts(importance) | {"gates": _gate_chart(gates, sample)}
    return {"recordings": len(sample.signals), "most": lead_importance.MAX_RECORDINGS, "pictures": pictures}


def _prepared(training: Training, places: NDArray[np.int64], model: Model) -> Prepared:
    """Return the recordings at these places that can be read."""
    signals, auxiliary, labels = [], [], []
    for place in places.tolist():
        try:
            recording = read_recording(training.outputs.headers[place])
            signal = prepare(recording, model.recipe.signal)
        except RecordingError:  # the folder has changed since the training
            continue
        signals.append(signal.values[:, : model.recipe.signal.window].copy())  # a view would keep half an hour
        auxiliary.append(auxiliary_features(recording.header, signal))
        labels.append(training.outputs.labels[place])
    return Prepared(signals, np.array(auxiliary, np.float32), np.array(labels, np.bool_).reshape(-1, 24))


def _importance_charts(importance: LeadImportance) -> dict[str, str]:
    bars = [
        Bar("nothing hidden" if name == "nothing" else f"without {name}", float(score))
        for name, score in zip(importance.names, importance.scores, strict=True)
    ]
    maximum = min(1.0, 1.1 * max(bar.value for bar in bars) + 0.02)
    alt = f"Challenge metric with leads hidden. {bar_text(bars)}"
    drawn = {"lead_scores": charts.intervals(bars, "leads", alt, maximum)}
    drops, names = importance.auroc[0] - importance.auroc[1:], importance.names[1:]
    known = np.flatnonzero(np.isfinite(drops).all(axis=0))
    if len(known):
        order = sorted(((drops[j, k], names[j], SHORT[k]) for j in range(len(drops)) for k in known), reverse=True)
        text = "; ".join(f"{name} without {lead}: {drop:.3f}" for drop, lead, name in order[:5])
        alt = f"Drop of each class's AUROC with each lead and group of leads hidden. The largest: {text}."
        table = {"drop of AUROC": drops[:, known]}
        drawn["lead_auroc"] = charts.heat(table, names, [SHORT[k] for k in known], 0.24, "auroc", alt)
    return drawn


def _gate_chart(gates: Gates, sample: Prepared) -> str:
    blocks = [f"block {place + 1}" for place in range(len(gates.shift))]
    present = np.flatnonzero(sample.labels.any(axis=0))
    columns = [f"{SHORT[k]} ({sample.labels[:, k].sum()})" for k in present]
    panels = {"distance from mean": gates.shift[:, present], "spread in class": gates.spread[:, present]}
    furthest = [columns[int(np.argmax(row))] for row in panels["distance from mean"]]
    text = "; ".join(f"{block}: {name}" for block, name in zip(blocks, furthest, strict=True))
    alt = f"Squeeze-and-excitation gates by block and class. Furthest from the mean: {text}"
    return charts.heat(panels, blocks, columns, 0.22, "gates", alt)
