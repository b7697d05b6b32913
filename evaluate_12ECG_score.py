#!/usr/bin/env python3
"""Score outputs against labels: evaluate_12ECG_score.py LABELS OUTPUTS [SCORES.csv [CLASS_SCORES.csv]]."""

import sys
from functools import partial

from leadwise.command_line import run
from leadwise.commands.evaluate import evaluate

main = partial(run, evaluate, "evaluate_12ECG_score.py")

if __name__ == "__main__":
    sys.exit(main())
