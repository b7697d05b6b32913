"""The sheet of one ECG with its answer: the diagnoses below the trace, the evidence for the first one shaded on it."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure

from leadwise.api import Result, validation_accuracy
from leadwise.challenge.classes import DIAGNOSES
from leadwise.model.ensemble import Model
from leadwise.report.annotated_recording import AnnotatedRecording
from leadwise.report.occlusion import Evidence
from leadwise.report.sheet.layout import SECONDS
from leadwise.report.sheet.panel import Finding
from leadwise.report.sheet.sheet import caption_of, draw_sheet


def draw_answer(model: Model, look: AnnotatedRecording, result: Result, evidence: Evidence | None) -> Figure:
    """The sheet, the diagnoses in the order of the table. A recording that was not used has a note instead of them.

    Of a long recording the seconds are drawn in which the first diagnosis is most probable.
    """
    caption = caption_of(look.recording, look.signal)
    frequency = look.signal.sampling_frequency
    if result.problem:
        notes = (f"the model could not use it: {result.problem}", *caption.notes)
        return draw_sheet(look.signal.values, frequency, replace(caption, notes=notes))
    findings = findings_of(model, result)
    if evidence is None:
        return draw_sheet(look.signal.values, frequency, caption, findings)
    spans, name = evidence.strongest(), DIAGNOSES[evidence.diagnosis].abbreviation
    seconds = look.signal.values.shape[1] / frequency
    start = max(0.0, min(evidence.start, seconds - SECONDS))
    if not spans:
        caption = replace(caption, notes=(f"no piece that is hidden makes {name} less probable", *caption.notes))
        return draw_sheet(look.signal.values, frequency, caption, findings, start=start)
    title = f"shaded: hidden, {name} falls by up to {spans[0].weight:.3f}"
    return draw_sheet(look.signal.values, frequency, caption, findings, spans, title, start)


def findings_of(model: Model, result: Result) -> list[Finding]:
    """The lines of the table of diagnoses."""
    validation = validation_accuracy(model.metadata)
    return [
        Finding(
            f"{DIAGNOSES[k].name} ({DIAGNOSES[k].abbreviation})",
            float(result.probabilities[k]),
            float(result.thresholds[k]),
            bool(result.labels[k]),
            *((float(figures[k]) for figures in validation) if validation else ()),
        )
        for k in result.order
    ]
