#!/usr/bin/env python3
"""Says what recordings show: get_12ECG_score.py MODEL RECORD... Also the module that the driver of 2020 may import."""

import json
import sys
from pathlib import Path

from leadwise.devices import choose_processor
from leadwise.ensemble import Model, ModelError
from leadwise.ensemble import load_model as load_model_folder
from leadwise.library import Result, result_of
from leadwise.options import AnswerOptions, Positional, parse
from leadwise.quality import remarks
from leadwise.recording import REPAIRS, read_recording
from leadwise.report.answer import answer, evidence_of, look_at
from leadwise.scoring import score_files
from leadwise.signals import SIGNAL_REPAIRS
from team_code import load_12ECG_model, run_12ECG_classifier

__all__ = ["load_12ECG_model", "run_12ECG_classifier"]

POSITIONALS = (
    Positional("MODEL", "folder with a trained model"),
    Positional("RECORD", "recordings: NAME.hea, NAME.mat or NAME", nargs="+"),
)


def main() -> int:
    """Runs the command; returns its exit status: 1 where a recording could not be used."""
    arguments, options = parse(AnswerOptions, "Prints the diagnoses of recordings.", POSITIONALS)
    paths = [Path(record) for record in arguments.record]
    if options.plot and len(paths) > 1:
        print(f"get_12ECG_score.py: error: --plot draws one recording, not {len(paths)}", file=sys.stderr)
        return 2
    try:
        model = load_model_folder(arguments.model, choose_processor(options))
        unusable = 0
        # one at a time, so that the first answer does not wait for the last
        for path, scored in zip(paths, score_files(model, paths, batch=1), strict=True):
            result = result_of(model, scored, path)
            if not options.json:
                print(f"\n{path}")
                print(f"  cannot be used: {result.problem}" if result.problem else result.table())
                print("".join(f"  {line}\n" for line in doubts(path, result)), end="")
            look_closer(model, Path(arguments.model), path, result, options)
            unusable += result.problem is not None
        if not options.json:
            print(f"\n{validation_note(model)}")
    except (ModelError, ValueError, OSError) as error:
        print(f"get_12ECG_score.py: {error}", file=sys.stderr)
        return 1
    return 1 if unusable else 0


def validation_note(model: Model) -> str:
    """Where the columns sensitivity and PPV come from."""
    counts = [fold.get("validation_recordings", 0) for fold in model.facts["folds"]]
    if not all(fold.get("validation_counts") for fold in model.facts["folds"]):
        return "sensitivity and PPV: model.json does not tell them"
    return f"sensitivity and PPV: of the class on the {sum(counts)} validation recordings of the training"


def doubts(path: Path, result: Result) -> list[str]:
    """In words, what is doubtful in a recording that was used, and what had to be put right in it."""
    if result.problem:
        return []
    found = [f"note: {Result.FOREIGN}"] * result.foreign
    found += [f"note: {remark}" for remark in remarks(read_recording(path, assume_header=True))]
    meanings = REPAIRS | dict(SIGNAL_REPAIRS)
    return found + [f"put right ({name}): {meanings[name]}" for name in dict.fromkeys(result.repairs)]


def look_closer(model: Model, folder: Path, path: Path, result: Result, options: AnswerOptions) -> None:
    """What --json prints and --plot draws of one recording."""
    if not (options.json or options.plot):
        return
    look = look_at(path)
    wanted = bool(options.plot) if options.evidence is None else options.evidence
    evidence = evidence_of(model, look, result) if wanted else None
    if options.json:
        print(json.dumps(answer(path, folder, model, look, result, evidence), allow_nan=False), flush=True)
    if options.plot and look is None:
        print(f"get_12ECG_score.py: no sheet, {path} cannot be read", file=sys.stderr)
    elif options.plot and look:
        from leadwise.report.answer_sheet import draw_answer  # here, since matplotlib takes its time to start
        from leadwise.report.sheet import save_sheet

        save_sheet(options.plot, draw_answer(model, look, result, evidence))


if __name__ == "__main__":
    sys.exit(main())
