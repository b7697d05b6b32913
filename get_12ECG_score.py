#!/usr/bin/env python3
"""Print the diagnoses of recordings: get_12ECG_score.py MODEL RECORD...

The organisers' driver of 2020 may import this module too.
"""

import json
import sys
from functools import partial
from pathlib import Path

import click

from leadwise.command_line import command
from leadwise.ecg.discovery import record_name
from leadwise.ecg.formats import FORMAT_REPAIRS
from leadwise.ecg.leads import SIGNAL_REPAIRS
from leadwise.ecg.reading import read_ecg
from leadwise.ecg.repairs import REPAIRS
from leadwise.model.ensemble import Model
from leadwise.model.ensemble import load_model as load_model_folder
from leadwise.model.folder import ModelError
from leadwise.model.scoring import score_recordings
from leadwise.network.devices import choose_processor
from leadwise.options import PredictionOptions
from leadwise.report.annotated_recording import draw_annotated, evidence_of, json_object, load_annotated
from leadwise.result import Result, result_of
from leadwise.util.text import printable
from team_code import load_12ECG_model, run_12ECG_classifier

__all__ = ["load_12ECG_model", "run_12ECG_classifier"]

HELP = """Print the diagnoses of recordings.

\b
MODEL   folder with a trained model
RECORD  recordings: NAME.hea, NAME.mat or NAME
"""


@command(PredictionOptions, HELP)
@click.argument("model_folder", metavar="MODEL")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
def main(model_folder: str, records: tuple[str, ...], options: PredictionOptions) -> int:
    """Run the command and return its exit status: 1 if a recording could not be used."""
    paths = [Path(record) for record in records]
    if options.plot and len(paths) > 1:
        raise click.UsageError(f"--plot draws one recording, not {len(paths)}")
    try:
        processor = choose_processor(options.device, options.precision, options.threads)
        model = load_model_folder(model_folder, processor, options.site)
        unusable = 0
        # one at a time, so that the first result does not wait for the last
        readers = [(str(path), partial(read_ecg, path, options.sampling_frequency)) for path in paths]
        for path, prediction in zip(paths, score_recordings(model, readers, batch=1, quality=True), strict=True):
            result = result_of(model, prediction, record_name(path) if prediction.error else None)
            if not options.json:
                print(f"\n{printable(str(path))}")
                print(f"  cannot be used: {result.error}" if result.error else result.table())
                print("".join(f"  {line}\n" for line in notes(result)), end="")
            if options.json or options.plot:
                print_json_and_plot(model, Path(model_folder), path, result, options)
            unusable += result.error is not None
        if not options.json:
            print(f"\n{validation_note(model)}")
    except ModelError as error:  # other failures are the command's
        print(f"get_12ECG_score.py: {error}", file=sys.stderr)
        return 1
    return 1 if unusable else 0


def validation_note(model: Model) -> str:
    """Explain the columns sensitivity and PPV."""
    counts = [fold.get("validation_recordings", 0) for fold in model.metadata["folds"]]
    if not all(fold.get("validation_counts") for fold in model.metadata["folds"]):
        return "sensitivity and PPV: not in model.json"
    return f"sensitivity and PPV: of the class on the {sum(counts)} validation recordings of the training"


def notes(result: Result) -> list[str]:
    """Describe what is doubtful and what was repaired in a recording."""
    found = [f"note: {Result.OUT_OF_DISTRIBUTION}"] * result.out_of_distribution
    found += [f"warning: {warning}" for warning in result.warnings]
    meanings = REPAIRS | dict(SIGNAL_REPAIRS) | dict(FORMAT_REPAIRS)
    return found + [f"repair ({name}): {meanings[name]}" for name in dict.fromkeys(result.repairs)]


def print_json_and_plot(model: Model, folder: Path, path: Path, result: Result, options: PredictionOptions) -> None:
    """Print the JSON line and draw the sheet of one recording, as the options say."""
    annotated = load_annotated(path, options.sampling_frequency)
    wanted = bool(options.plot) if options.evidence is None else options.evidence
    evidence = evidence_of(model, annotated, result) if wanted else None
    if options.json:
        print(json.dumps(json_object(path, folder, model, annotated, result, evidence), allow_nan=False), flush=True)
    if options.plot and annotated is None:
        print(f"get_12ECG_score.py: no sheet, {path} cannot be read", file=sys.stderr)
    elif options.plot and annotated:
        from leadwise.report.sheet.sheet import save_sheet  # here, since matplotlib takes its time to start

        save_sheet(options.plot, draw_annotated(model, annotated, result, evidence))


if __name__ == "__main__":
    sys.exit(main())
