"""Write the model card: what a model is, what it was trained on, its figures, its intended use and its limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from leadwise.challenge.classes import CODES, DIAGNOSES, read_table
from leadwise.challenge.evaluation import EvaluationData
from leadwise.challenge.metric import Scores
from leadwise.report.evaluation_page import render
from leadwise.report.statistics import bootstrap_interval, class_counts, rewards_of
from leadwise.report.subgroups import MIN_RECORDINGS, Subgroups

SOURCES = {row["prefix"]: row for row in read_table("sources.csv")}  # databases by the prefix of their records
DECISION_SCORES = {"search": "class_thresholds", "reward": "expected_reward"}  # in `validation_scores` of a fold
FEW = 20  # recordings of a class: with fewer, a model hardly learns it


def source_name(prefix: str) -> str:
    """Return the name of the database with a prefix, or a note that no database has it."""
    return SOURCES[prefix]["name"] if prefix in SOURCES else "no database of the Challenge has this prefix"


def citations(prefixes: Iterable[str]) -> list[str]:
    """Return what to cite for recordings with these prefixes, the Challenge first, each once."""
    known = [SOURCES[prefix]["citation"] for prefix in prefixes if prefix in SOURCES]
    return list(dict.fromkeys([SOURCES["E"]["citation"], *known])) if known else []  # Georgia came with the Challenge


def model_card(metadata: dict[str, Any], data: EvaluationData, scores: Scores, subgroups: Subgroups) -> str:
    """Return the card as Markdown, from model.json, the held-out recordings with their outputs, and their scores."""
    counts, content = class_counts(data.labels, data.answers), _content(metadata)
    trained = [metadata["training"]["recordings_per_class"][code] for code in CODES]
    columns = (DIAGNOSES, CODES, trained, scores.class_auroc, counts.sensitivity, counts.specificity)
    content |= {
        "recordings": len(data.headers),
        "scores": scores,
        "interval": bootstrap_interval(rewards_of(data.labels, data.answers)),
        "subgroups": subgroups,
        "min_recordings": MIN_RECORDINGS,
        "classes": list(zip(*columns, strict=True)),
        # by the letters of the names alone: the signals do not tell whose data they are
        "citations": citations(metadata["training"]["recordings_per_source"]),
    }
    return render("model_card.md", content)


def model_summary(name: str, metadata: dict[str, Any], data: EvaluationData | None, scores: Scores | None) -> str:
    """Return a short card for a terminal, from the model's name, model.json, and the same as for `model_card` where the
    folder has it; without it the scores are those of model.json."""
    folds = metadata["folds"]
    counts = [fold.get("validation_recordings", 0) for fold in folds]
    key = DECISION_SCORES[metadata["recipe"]["decision"]["method"]]
    stored = [fold.get("validation_scores", {}).get(key) for fold in folds]
    content = _content(metadata) | {
        "name": name,
        "scores": scores,
        "recordings": sum(counts),
        "stored": np.average(stored, weights=counts) if all(counts) and None not in stored else None,
        "interval": bootstrap_interval(rewards_of(data.labels, data.answers)) if data else None,
    }
    return render("model_summary.txt", content)


def _content(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what both cards say about the training data."""
    training = metadata["training"]
    trained = [training.get("recordings_per_class", {}).get(code) for code in CODES]
    known = [(each.name, count) for each, count in zip(DIAGNOSES, trained, strict=True) if count is not None]
    sources = training.get("recordings_per_source", {})
    return {
        "metadata": metadata,
        "training": training,
        "sources": [(prefix or "none", source_name(prefix), count) for prefix, count in sources.items()],
        "few": FEW,
        # classes without recordings have probabilities too, which mean nothing or are the simulation-only network's
        "absent": [name for name, count in known if count == 0],
        "rare": [f"{name} ({count})" for name, count in known if 0 < count < FEW],
    }
