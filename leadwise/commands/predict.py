"""Print the diagnoses of recordings: `leadwise predict`, get_12ECG_score.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadwise.command_line import command
from leadwise.options import EvidenceOptions, FileOptions, ModelOptions, PredictionOptions, PredictOptions
from leadwise.util.processes import let_waiting_threads_sleep
from leadwise.util.text import emit, printable

if TYPE_CHECKING:
    from leadwise.model.ensemble import Model
    from leadwise.report.annotated_recording import AnnotatedRecording
    from leadwise.report.occlusion import Evidence
    from leadwise.result import Result

HELP = """Print the diagnoses of recordings.

\b
{model}RECORD  recordings: NAME.hea, NAME.mat or NAME, or files of other formats

The exit status is 1 if a recording cannot be used.
"""
INCLUDED = Path("pretrained")  # the name of the included model


@command(PredictOptions, HELP.format(model=""), "ecgs/A0001.hea")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
def predict(records: tuple[str, ...], options: PredictOptions) -> int:
    """Run `leadwise predict`."""
    return predict_records(options.model, records, options)


@command(PredictionOptions, HELP.format(model="MODEL   folder with a trained model\n"), "pretrained ecgs/A0001")
@click.argument("model_folder", metavar="MODEL")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
def predict_with(model_folder: str, records: tuple[str, ...], options: PredictionOptions) -> int:
    """Run get_12ECG_score.py."""
    return predict_records(Path(model_folder), records, options)


def load(folder: Path | None, options: ModelOptions) -> Model:
    """Load the model of a folder, or the included one. Raises ModelError."""
    let_waiting_threads_sleep()  # before torch is imported
    from leadwise.model.ensemble import load_model
    from leadwise.model.folder import PRETRAINED
    from leadwise.network.devices import choose_processor

    processor = choose_processor(options.device, options.precision, options.threads)
    return load_model(folder or PRETRAINED, processor, options.site)


def predict_records(folder: Path | None, records: Sequence[str], options: PredictionOptions) -> int:
    """Print the result of each record by the model in a folder, or the included one, and draw the sheet, as the options
    say. Return the exit status: 1 if a recording could not be used."""
    paths, unusable, is_read = [Path(record) for record in records], 0, True
    if options.plot and len(paths) > 1:
        raise click.UsageError(f"--plot draws one recording, not {len(paths)}")
    model = load(folder, options)
    for path, result in results(model, paths, options):
        unusable += result.error is not None
        if not options.json:
            is_read = emit(f"\n{describe(path, result)}")
        if options.json or options.plot:
            annotated, evidence = annotate(model, path, result, options, by_default=bool(options.plot))
            if options.json:
                from leadwise.report.annotated_recording import json_object

                line = json_object(path, folder or INCLUDED, model, annotated, result, evidence)
                is_read = emit(f"{json.dumps(line, allow_nan=False)}\n")
            if options.plot:
                draw(options.plot, path, model, annotated, result, evidence)
        if not is_read:  # as by `head`, which has enough
            break
    if not options.json:
        emit(f"\n{validation_note(model)}\n")
    return 1 if unusable else 0


def results(model: Model, paths: Sequence[Path], options: FileOptions) -> Iterator[tuple[Path, Result]]:
    """Yield each path with its result; one at a time, so that the first does not wait for the last. Warn once if the
    included model takes a recording for one of its training hospital."""
    from leadwise.ecg.discovery import record_name
    from leadwise.ecg.reading import read_ecg
    from leadwise.model.scoring import score_recordings
    from leadwise.result import SITE_WARNING, result_of, site_is_assumed

    readers, warned = [(str(path), partial(read_ecg, path, options.sampling_frequency)) for path in paths], False
    for path, prediction in zip(paths, score_recordings(model, readers, batch=1, quality=True), strict=True):
        result = result_of(model, prediction, record_name(path) if prediction.error else None)
        yield path, result
        if not warned and site_is_assumed(model, result):
            warned = True
            print(f"{click.get_current_context().command_path}: {SITE_WARNING}", file=sys.stderr)


def describe(path: Path, result: Result) -> str:
    """Return the lines of a result: its path, the table or the error, what is doubtful and what was repaired."""
    body = f"  cannot be used: {result.error}" if result.error else result.table()
    return "".join(f"{line}\n" for line in (printable(str(path)), body, *(f"  {note}" for note in notes(result))))


def notes(result: Result) -> list[str]:
    """Describe what is doubtful and what was repaired in a recording."""
    from leadwise.ecg.formats import FORMAT_REPAIRS
    from leadwise.ecg.leads import SIGNAL_REPAIRS
    from leadwise.ecg.repairs import REPAIRS

    found = [f"note: {result.OUT_OF_DISTRIBUTION}"] * result.out_of_distribution
    found += [f"warning: {warning}" for warning in result.warnings]
    meanings = REPAIRS | dict(SIGNAL_REPAIRS) | dict(FORMAT_REPAIRS)
    return found + [f"repair ({name}): {meanings[name]}" for name in dict.fromkeys(result.repairs)]


def validation_note(model: Model) -> str:
    """Explain the columns sensitivity and PPV."""
    counts = [fold.get("validation_recordings", 0) for fold in model.metadata["folds"]]
    if not all(fold.get("validation_counts") for fold in model.metadata["folds"]):
        return "sensitivity and PPV: not in model.json"
    return f"sensitivity and PPV: of the class on the {sum(counts)} validation recordings of the training"


def annotate(
    model: Model, path: Path, result: Result, options: EvidenceOptions, by_default: bool
) -> tuple[AnnotatedRecording | None, Evidence | None]:
    """Read the recording again, and find the evidence if the options, or else `by_default`, want it."""
    from leadwise.report.annotated_recording import evidence_of, load_annotated

    annotated = load_annotated(path, options.sampling_frequency)
    wanted = by_default if options.evidence is None else options.evidence
    return annotated, evidence_of(model, annotated, result) if wanted else None


def draw(
    picture: Path, path: Path, model: Model, annotated: AnnotatedRecording | None, result: Result,
    evidence: Evidence | None,
) -> None:  # fmt: skip
    """Write the sheet of one recording; say so if there is none."""
    if annotated is None:
        print(f"{click.get_current_context().command_path}: no sheet, {path} cannot be read", file=sys.stderr)
        return
    from leadwise.report.annotated_recording import draw_annotated
    from leadwise.report.sheet.sheet import save_sheet  # here, since matplotlib takes its time to start

    save_sheet(picture, draw_annotated(model, annotated, result, evidence))
