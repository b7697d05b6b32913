"""Run `leadwise report`: python -m leadwise.report MODEL [DATA]."""

import sys

from leadwise.command_line import run
from leadwise.commands.report import report

if __name__ == "__main__":
    sys.exit(run(report, "python -m leadwise.report"))
