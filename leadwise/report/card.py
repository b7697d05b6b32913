"""Write the model card: what a model is, what it was trained on, its figures, its intended use and its limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from leadwise.challenge.classes import CODES, DIAGNOSES, read_table
from leadwise.challenge.evaluation import EvaluationData
from leadwise.challenge.metric import Scores
from leadwise.report.evaluation_page import render
from leadwise.report.statistics import bootstrap_interval, class_counts, rewards_of
from leadwise.report.subgroups import MIN_RECORDINGS, Subgroups

SOURCES = {row["prefix"]: row for row in read_table("sources.csv")}  # databases by the prefix of their records
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
    training, counts = metadata["training"], class_counts(data.labels, data.answers)
    trained = [training["recordings_per_class"][code] for code in CODES]
    columns = (DIAGNOSES, CODES, trained, scores.class_auroc, counts.sensitivity, counts.specificity)
    by_source = training["recordings_per_source"]
    content = {
        "metadata": metadata,
        "training": training,
        "sources": [(prefix or "none", source_name(prefix), count) for prefix, count in by_source.items()],
        "recordings": len(data.headers),
        "scores": scores,
        "interval": bootstrap_interval(rewards_of(data.labels, data.answers)),
        "subgroups": subgroups,
        "min_recordings": MIN_RECORDINGS,
        "classes": list(zip(*columns, strict=True)),
        "few": FEW,
        # classes without recordings have probabilities too, which mean nothing or are the simulation-only network's
        "absent": [diagnosis.name for diagnosis, count in zip(DIAGNOSES, trained, strict=True) if count == 0],
        "rare": [f"{each.name} ({count})" for each, count in zip(DIAGNOSES, trained, strict=True) if 0 < count < FEW],
        # by the letters of the names alone: the signals do not tell whose data they are
        "citations": citations(by_source),
    }
    return render("model_card.md", content)
