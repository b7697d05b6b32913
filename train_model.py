#!/usr/bin/env python3
"""Train a model: train_model.py DATA MODEL. The steps are in team_code.py."""

import sys
from functools import partial

from leadwise.command_line import run
from leadwise.commands.train import train

main = partial(run, train, "train_model.py")

if __name__ == "__main__":
    sys.exit(main())
