#!/usr/bin/env python3
"""Print the diagnoses of recordings: get_12ECG_score.py MODEL RECORD...

The organisers' driver of 2020 may import this module too.
"""

import sys
from functools import partial

from leadwise.command_line import run
from leadwise.commands.predict import predict_with

main = partial(run, predict_with, "get_12ECG_score.py")

if __name__ == "__main__":
    sys.exit(main())
else:  # for the organisers' driver; the command needs no training, which takes its time to import
    from team_code import load_12ECG_model, run_12ECG_classifier

    __all__ = ["load_12ECG_model", "run_12ECG_classifier"]
