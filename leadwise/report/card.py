"""A model card: what a model is, what it knows, for whom it is meant and for whom not; Markdown from its facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from leadwise.challenge.classes import CODES, DIAGNOSES
from leadwise.challenge.evaluation import Evaluated
from leadwise.challenge.metric import Scores
from leadwise.report.sources import CHALLENGE, citations, source_name
from leadwise.report.statistics import bootstrap_interval, class_counts, rewards_of

FEW = 20  # recordings of a class: with fewer a model hardly knows it


def model_card(metadata: dict[str, Any], read: Evaluated, scores: Scores) -> str:
    """The card; `facts` are model.json, `read` the recordings that validated a network with its answers, `scores` the
    evaluator's figures of them."""
    parts = [_what(metadata), _use(), _data(metadata), _figures(read, scores), _classes(metadata, read, scores)]
    return "\n".join([*parts, _limits(metadata), _licence(metadata)])


def _what(metadata: dict[str, Any]) -> str:
    training, folds = metadata["training"], metadata["folds"]
    # a model that time cut short says so in its first lines, wherever the card is read
    state = training.get("unfinished") or training.get("shortened")
    note = f" Not the whole recipe: {state}." if state else ""
    networks = "an SE-ResNet" if len(folds) == 1 else f"an ensemble of {len(folds)} SE-ResNets"
    return f"""# Model card

This is {networks} (recipe `{metadata["recipe"]["name"]}` of Leadwise, after Zhao et al. 2020,
doi 10.22489/CinC.2020.112) that answers 24 diagnoses from a 12-lead ECG, each with a probability and a label. Trained
on {training["recordings"]} recordings.{note}{_beginning(metadata)}
`model.json` has every number of the recipe, `report.html` the pictures.
"""


def _beginning(metadata: dict[str, Any]) -> str:
    """What simulated ECGs had to do with it, if anything."""
    simulated = metadata["training"].get("simulated")
    began = f"\nIt began with what {simulated['recordings']} simulated ECGs taught." if simulated else ""
    if metadata.get("simulation_network"):
        file = metadata["simulation_network"]["file"]
        began += f"\nA network that simulated ECGs alone have taught (`{file}`) is heard of recordings\n"
        began += "that were acquired as no training recording was."
    return began


def _use() -> str:
    return """## Intended use

Research on the data of the PhysioNet/CinC Challenge 2020: reproducing, comparing and improving methods. **Not a
medical device**: no decision about a patient may rest on its answers. It is not meant for ECGs of fewer leads than it
was trained with, for pacemakers, exercise or children, unless its figures were measured there first.
"""


def _data(metadata: dict[str, Any]) -> str:
    training = metadata["training"]
    rows = [(prefix or "none", source_name(prefix), n) for prefix, n in training["recordings_per_source"].items()]
    left_out = sum(training.get("left_out", {}).values())  # the reasons are many and long: the report has them
    return f"""## Training data

{_table(("letters", "database", "recordings"), rows)}

Databases are told by the letters of the recordings' names; simulated recordings carry the same letters. {left_out} more
recordings were left out, {sum(training.get("repairs", {}).values())} repairs were made; `report.html` has the reasons.
"""


def _figures(read: Evaluated, scores: Scores) -> str:
    low, high = bootstrap_interval(rewards_of(read.labels, read.answers))
    rows = [
        ("challenge metric", f"{scores.challenge_metric:.3f} ({low:.3f} to {high:.3f})"),
        ("AUROC, mean of classes", f"{scores.auroc:.3f}"),
        ("AUPRC, mean of classes", f"{scores.auprc:.3f}"),
        ("F-measure, mean of classes", f"{scores.f_measure:.3f}"),
        ("all 24 labels right", f"{scores.accuracy:.3f}"),
    ]
    return f"""## Figures

On {len(read.headers)} recordings, each answered by the one network that was not trained on it (95 % bootstrap interval
over recordings). The epochs kept and the way to labels were chosen on the same recordings: the figures flatter.

{_table(("figure", "value"), rows)}
"""


def _classes(metadata: dict[str, Any], read: Evaluated, scores: Scores) -> str:
    there = metadata["training"]["recordings_per_class"]
    counts = class_counts(read.labels, read.answers)
    rows = [
        (
            f"{diagnosis.name} ({diagnosis.abbreviation})", diagnosis.code, there[diagnosis.code],
            _number(scores.class_auroc[k]), _number(counts.sensitivity[k]), _number(counts.specificity[k]),
        )
        for k, diagnosis in enumerate(DIAGNOSES)
    ]  # fmt: skip
    heads = ("diagnosis", "SNOMED CT", "recordings", "AUROC", "sensitivity", "specificity")
    # a class without any recording has a probability all the same, which is worth nothing or the textbook's opinion
    unknown = [DIAGNOSES[k].name for k, code in enumerate(CODES) if there[code] == 0]
    hardly = [f"{DIAGNOSES[k].name} ({there[code]})" for k, code in enumerate(CODES) if 0 < there[code] < FEW]
    return f"""## Classes

{_table(heads, rows)}

It cannot know: {", ".join(unknown) or "none of the 24 was missing from the training data"}.
It hardly knows (fewer than {FEW} recordings): {", ".join(hardly) or "none"}.
"""


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"


def _limits(metadata: dict[str, Any]) -> str:
    sources = len(metadata["training"]["recordings_per_source"])
    hospitals = "one database" if sources == 1 else f"{sources} databases"
    return f"""## Limits

- It knows what {hospitals} labelled, in their way of labelling. In a hospital that it has never seen the score
  falls; the published method fell from 0.672 to 0.412.
- Most databases do not tell whose recording it is: those of one patient may lie on both sides of a fold.
- How far its probabilities can be believed is in `report.html`, under calibration.
- A recording that cannot be used is answered with the training recordings' class frequencies, and said so.
"""


def _licence(metadata: dict[str, Any]) -> str:
    # by the letters of the names alone: whose data it is cannot be seen from the signals
    cited = citations(list(metadata["training"]["recordings_per_source"]))
    if not cited:
        said = "The recordings' names tell no database of the Challenge, so no data is cited here."
        return f"## Licence and citation\n\n{said}\n"
    lines = "\n".join(f"- {citation}" for citation in cited)
    return f"""## Licence and citation

If the recordings are what their names say, they were published with the
{CHALLENGE.name}; whoever shares this model names:

{lines}
"""


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
