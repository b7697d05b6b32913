"""Run the `leadwise` command: `leadwise predict ecg.hea`, or python -m leadwise.

A sub-command is the function of its name in the module of its name in `leadwise.commands`, imported when it is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

import leadwise
from leadwise.command_line import run

COMMANDS = (
    "predict", "plot", "score", "train", "evaluate", "report", "simulate", "convert", "verify", "info",
)  # fmt: skip
HELP = """Find 24 diagnoses in 12-lead ECGs.

`leadwise COMMAND --help` describes a command.
"""


class _Commands(click.Group):
    """A group whose commands are imported by name, in the order of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command; return None for an unknown name."""
        if name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"leadwise.commands.{name}"), name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Import the command and call it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would print an empty line
            raise click.Abort from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments of the process, and return its exit status."""
    group = _Commands("leadwise", help=HELP, no_args_is_help=False, epilog="Example: leadwise predict ecgs/A0001.hea")
    return run(click.version_option(leadwise.__version__)(group), "leadwise", argv)


if __name__ == "__main__":
    sys.exit(main())
