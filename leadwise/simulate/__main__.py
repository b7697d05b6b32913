"""Run `leadwise simulate`: python -m leadwise.simulate FOLDER --recordings N."""

import sys

from leadwise.command_line import run
from leadwise.commands.simulate import simulate

if __name__ == "__main__":
    sys.exit(run(simulate, "python -m leadwise.simulate"))
