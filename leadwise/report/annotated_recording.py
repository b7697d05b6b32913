"""Annotate one recording with its prediction and the evidence for it: as a JSON object, and as an ECG sheet.

docs/command-line.md describes every key. The recording is read once more, for what the networks do not need: leads in
mV, heart rate, details of the repairs. Importing this module does not load matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES, DIAGNOSES, SINUS_RHYTHM
from leadwise.ecg.heart_rate import heart_rate
from leadwise.ecg.leads import STANDARD_LEADS, Signal, standard_leads
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.reading import read_ecg
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from leadwise.model.ensemble import Model
from leadwise.report.occlusion import MIN_DROP, Evidence, find_evidence
from leadwise.report.sheet.layout import SECONDS, Finding
from leadwise.result import Result, validation_accuracy
from leadwise.util.text import readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT, VERSION = "leadwise prediction", 3
RECORDING_KEYS = (
    "sampling_frequency_hz", "seconds", "missing_leads", "age_years", "sex", "heart_rate_per_minute",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class AnnotatedRecording:
    """A recording and its twelve leads in mV."""

    recording: Recording
    signal: Signal

    @property
    def repairs(self) -> dict[str, str]:
        """Return the details of the repairs by name."""
        return {repair.name: repair.detail for repair in (*self.recording.repairs, *self.signal.repairs)}


def load_annotated(path: Path, sampling_frequency: float | None = None) -> AnnotatedRecording | None:
    """Read a recording; return None if it cannot be read, which `Result.error` explains."""
    try:
        recording = read_ecg(path, sampling_frequency)
        return AnnotatedRecording(recording, standard_leads(recording, "mV"))
    except RecordingError:
        return None


def evidence_of(model: Model, annotated: AnnotatedRecording | None, result: Result) -> Evidence | None:
    """Return the evidence for the most probable finding other than sinus rhythm, if there is one, otherwise for the
    first diagnosis; None if the recording could not be used."""
    if annotated is None or result.error:
        return None
    signal = prepare(annotated.recording, model.recipe.signal)
    auxiliary = auxiliary_features(annotated.recording.header, signal)
    findings = [k for k in result.order if result.status(k) and k != SINUS_RHYTHM]
    return find_evidence(model, signal.values, auxiliary, [*findings, result.order[0]][0])


def json_object(
    path: Path,
    folder: Path,
    model: Model,
    annotated: AnnotatedRecording | None,
    result: Result,
    evidence: Evidence | None,
) -> dict[str, Any]:
    """Return the JSON object of one recording; `path` and `folder` (of the model) as the user gave them."""
    details, validation = annotated.repairs if annotated else {}, validation_accuracy(model.metadata)
    return {
        "format": FORMAT,
        "version": VERSION,
        "record": readable(str(path)),
        "name": readable(result.name),
        "error": result.error,
        "repairs": [{"name": name, "detail": details.get(name, "")} for name in result.repairs],
        "warnings": list(result.warnings),
        "in_distribution": _number(result.in_distribution),
        "out_of_distribution": result.out_of_distribution,
        "recording": _recording(annotated) if annotated else dict.fromkeys(RECORDING_KEYS),
        "model": {"folder": readable(str(folder)), "recipe": model.recipe.name, "networks": len(model.networks)},
        "diagnoses": [] if result.error else [_diagnosis(result, k, validation) for k in result.order],
        "evidence": _evidence(evidence) if evidence else None,
    }


def _recording(annotated: AnnotatedRecording) -> dict[str, Any]:
    header, values = annotated.recording.header, annotated.signal.values
    frequency = annotated.recording.sampling_frequency
    missing = [name for name, lead in zip(STANDARD_LEADS, values, strict=True) if not lead.any()]
    metadata = (frequency, values.shape[1] / frequency, missing, header.age, header.sex, heart_rate(values, frequency))
    return dict(zip(RECORDING_KEYS, metadata, strict=True))


def _diagnosis(result: Result, k: int, validation: Sequence[NDArray[np.float64]] | None) -> dict[str, Any]:
    return {
        "code": CODES[k],
        "abbreviation": DIAGNOSES[k].abbreviation,
        "name": DIAGNOSES[k].name,
        "present": bool(result.labels[k]),
        "status": result.status(k) or None,
        "probability": float(result.probabilities[k]),
        "threshold": _number(result.thresholds[k]),
        "validation": validation and {"sensitivity": _number(validation[0][k]), "ppv": _number(validation[1][k])},
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "code": CODES[evidence.diagnosis],
        "abbreviation": DIAGNOSES[evidence.diagnosis].abbreviation,
        "probability": evidence.probability,
        "from_s": evidence.start,
        "to_s": evidence.end,
        "spans": [
            {"lead": STANDARD_LEADS[span.lead], "from_s": span.start, "to_s": span.end, "drop": span.weight}
            for span in evidence.strongest()
        ],
        "leads": [
            {"lead": name, "drop": float(drop)} for name, drop in zip(STANDARD_LEADS, evidence.leads, strict=True)
        ],
    }


def draw_annotated(model: Model, annotated: AnnotatedRecording, result: Result, evidence: Evidence | None) -> Figure:
    """Draw the sheet with the diagnoses, the warnings and, shaded, the evidence; a note replaces them if the recording
    was not used. A long recording is drawn where the examined finding is most probable.
    """
    from leadwise.report.sheet.sheet import caption_of, draw_sheet  # here, since matplotlib takes its time to start

    caption = caption_of(annotated.recording, annotated.signal)
    warnings = [f"warning: {warning}" for warning in result.warnings]
    caption = replace(caption, notes=(*warnings, *caption.notes))
    values, frequency = annotated.signal.values, annotated.signal.sampling_frequency
    if result.error:
        notes = (f"the model could not use this recording: {result.error}", *caption.notes)
        return draw_sheet(values, frequency, replace(caption, notes=notes))
    findings = findings_of(model, result)
    if evidence is None:
        return draw_sheet(values, frequency, caption, findings)
    spans, name = evidence.strongest(), DIAGNOSES[evidence.diagnosis].abbreviation
    start = max(0.0, min(evidence.start, values.shape[1] / frequency - SECONDS))
    if not spans:
        notes = (f"hiding any half second of a lead lowers {name} by less than {MIN_DROP}", *caption.notes)
        return draw_sheet(values, frequency, replace(caption, notes=notes), findings, start=start)
    title = f"shaded: hiding it lowers {name} by up to {spans[0].weight:.3f}"
    return draw_sheet(values, frequency, caption, findings, spans, title, start)


def findings_of(model: Model, result: Result) -> list[Finding]:
    """Return the lines of the sheet's table of diagnoses."""
    validation = validation_accuracy(model.metadata)
    return [
        Finding(
            f"{DIAGNOSES[k].name} ({DIAGNOSES[k].abbreviation})",
            float(result.probabilities[k]),
            float(result.thresholds[k]),
            result.status(k),
            *((float(figures[k]) for figures in validation) if validation else ()),
        )
        for k in result.order
    ]
