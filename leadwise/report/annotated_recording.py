"""All that is known of one ECG and its answer, as one JSON object; docs/json.md describes every key.

The recording is read once more, for what the networks do not need: leads in mV, heart rate, details of repairs. Knows
no matplotlib and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.api import Result, validation_accuracy
from leadwise.challenge.classes import CODES, DIAGNOSES
from leadwise.ecg.heart_rate import heart_rate
from leadwise.ecg.leads import STANDARD_LEADS, Signal, standard_leads
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import Recording, read_recording
from leadwise.ecg.repairs import RecordingError
from leadwise.model.ensemble import Model
from leadwise.report.occlusion import Evidence, find_evidence
from leadwise.report.sheet.layout import Span

FORMAT, VERSION = "leadwise answer", 1
RECORDING_KEYS = (
    "sampling_frequency_hz", "seconds", "missing_leads", "age_years", "sex", "heart_rate_per_minute",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class AnnotatedRecording:
    """An ECG to be looked at: the recording, and its twelve leads in mV."""

    recording: Recording
    signal: Signal

    @property
    def repairs(self) -> dict[str, str]:
        """Name -> what it was here."""
        return {repair.name: repair.detail for repair in (*self.recording.repairs, *self.signal.repairs)}


def load_annotated(path: Path) -> AnnotatedRecording | None:
    """The recording by its path; None where it cannot be read, which the answer says already."""
    try:
        recording = read_recording(path, assume_header=True)
        return AnnotatedRecording(recording, standard_leads(recording, "mV"))
    except RecordingError:
        return None


def evidence_of(model: Model, look: AnnotatedRecording | None, result: Result) -> Evidence | None:
    """The evidence for the first diagnosis of a result; None where the recording was not used."""
    if look is None or result.problem:
        return None
    signal = prepare(look.recording, model.recipe.signal)
    numbers = auxiliary_features(look.recording.header, signal)
    return find_evidence(model, signal.values, numbers, result.order[0])


def answer(
    path: Path, folder: Path, model: Model, look: AnnotatedRecording | None, result: Result, evidence: Evidence | None
) -> dict[str, Any]:
    """The object for one recording; `path` and `folder` (the model's) as the user gave them."""
    details = look.repairs if look else {}
    return {
        "format": FORMAT,
        "version": VERSION,
        "record": str(path),
        "name": result.name,
        "problem": result.problem,
        "repairs": [{"name": name, "detail": details.get(name, "")} for name in result.repairs],
        "out_of_distribution": result.out_of_distribution,
        "recording": _recording(look) if look else dict.fromkeys(RECORDING_KEYS),
        "model": {"folder": str(folder), "recipe": model.recipe.name, "networks": len(model.networks)},
        "diagnoses": _diagnoses(result, validation_accuracy(model.metadata)),
        "evidence": _evidence(evidence) if evidence else None,
    }


def _recording(look: AnnotatedRecording) -> dict[str, Any]:
    header, values = look.recording.header, look.signal.values
    frequency = look.recording.sampling_frequency
    missing = [name for name, lead in zip(STANDARD_LEADS, values, strict=True) if not lead.any()]
    metadata = (frequency, values.shape[1] / frequency, missing, header.age, header.sex, heart_rate(values, frequency))
    return dict(zip(RECORDING_KEYS, metadata, strict=True))


def _diagnoses(
    result: Result, validation: tuple[NDArray[np.float64], NDArray[np.float64]] | None
) -> list[dict[str, Any]]:
    """The 24, in the order of the table."""
    return [
        {
            "code": CODES[k],
            "abbreviation": DIAGNOSES[k].abbreviation,
            "name": DIAGNOSES[k].name,
            "present": bool(result.labels[k]),
            "probability": float(result.probabilities[k]),
            "threshold": _number(result.thresholds[k]),
            "validation": {"sensitivity": _number(validation[0][k]), "ppv": _number(validation[1][k])}
            if validation
            else None,
        }
        for k in result.order
    ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "code": CODES[evidence.diagnosis],
        "abbreviation": DIAGNOSES[evidence.diagnosis].abbreviation,
        "probability": evidence.probability,
        "from_s": evidence.start,
        "to_s": evidence.end,
        "spans": [_span(span) for span in evidence.strongest()],
        "leads": [
            {"lead": name, "fall": float(fall)} for name, fall in zip(STANDARD_LEADS, evidence.leads, strict=True)
        ],
    }


def _span(span: Span) -> dict[str, Any]:
    return {"lead": STANDARD_LEADS[span.lead], "from_s": span.start, "to_s": span.end, "fall": span.weight}
