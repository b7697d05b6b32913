#!/usr/bin/env python3
"""Score a folder of recordings: driver.py MODEL DATA OUTPUT. The steps are in leadwise/commands/score.py."""

import sys
from functools import partial

from leadwise.command_line import run
from leadwise.commands.score import score

main = partial(run, score, "driver.py")

if __name__ == "__main__":
    sys.exit(main())
