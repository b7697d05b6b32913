"""Build click commands from the option tables of `options.py`, and read the LEADWISE_ variables through them.

A flag wins over its variable. An unknown flag or variable, or an invalid value, ends the command with one line on
standard error and exit status 2, a failure with status 1, Ctrl-C with 130.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from leadwise.options import KNOWN_VARIABLES, Kind, Option, Options, Origin
from leadwise.util.errors import LeadwiseError
from leadwise.util.text import discard_output, emit, escape_unprintable_output

PREFIX = "LEADWISE"
Table = TypeVar("Table", bound=Options)


class _KindType(click.ParamType[Any]):
    """A click type that checks and converts text as a `Kind` says."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.name = kind, kind.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of a text; keep other values, which are defaults."""
        try:
            return self.kind.convert(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _SwitchType(_KindType, click.types.BoolParamType):
    """The same for a pair of flags, for which click wants a boolean type."""


class Command(click.Command):
    """A command whose option values arrive as one table, the keyword argument `options`."""

    def __init__(self, *arguments: Any, table: type[Options], example: str = "", **more: Any) -> None:
        super().__init__(*arguments, **more)
        # by itself click would call the variables of a sub-command LEADWISE_PREDICT_DEVICE
        self.context_settings["auto_envvar_prefix"] = PREFIX
        self.table, self.example = table, example
        self.params += [_click_option(one) for one in table.table()]

    def invoke(self, ctx: click.Context) -> Any:
        """Call the function with the positional arguments and the table."""
        try:
            ctx.params["options"] = self._table(ctx)
            return super().invoke(ctx)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        except KeyboardInterrupt:  # click would print an empty line
            raise click.Abort from None
        except BrokenPipeError:  # nobody reads what it prints last
            discard_output()
            return 0

    def _table(self, ctx: click.Context) -> Options:
        """Move the values of the options from the context to a table."""
        values, origins = {}, {}
        for one in self.table.table():
            value, source = ctx.params.pop(one.name), ctx.get_parameter_source(one.name)
            if source is ParameterSource.ENVIRONMENT:
                origins[one.name] = Origin(one.variable)
            elif source is ParameterSource.COMMANDLINE:
                origins[one.name] = Origin(one.flag, os.environ.get(one.variable) or None)
            if one.name in origins:
                values[one.name] = value
        return self.table(origins=origins, **values)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, and how flags and variables relate."""
        notes = [f"Example: {ctx.command_path} {self.example}"] if self.example else []
        notes += ["A flag wins over its variable."] if self.table.table() else []
        for note in notes:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(note)


def command(table: type[Options], help: str, example: str = "") -> Callable[[Callable[..., int | None]], Command]:
    """Make a click command of a function that takes positional arguments and `options`, an instance of `table`.

    The function returns its exit status, or None for 0. `example` are arguments, without the name of the command.
    """

    def decorate(function: Callable[..., int | None]) -> Command:
        made = Command(function.__name__, callback=function, table=table, example=example, help=help)
        made.params = [*reversed(getattr(function, "__click_params__", [])), *made.params]
        return made

    return decorate


def kind_argument(name: str, kind: Kind) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Declare a positional argument whose text is checked and converted as a `Kind` says."""
    return click.argument(name, type=_KindType(kind), metavar=name.upper())


def from_environment(table: type[Table]) -> Table:
    """Read the options from the LEADWISE_ variables alone, for functions that the organisers' scripts call.

    Exits with status 2 and one line on standard error for an unknown variable or an invalid value.
    """
    empty = Command("", callback=lambda options: options, table=table)
    try:
        _check_variables()
        with empty.make_context("", []) as context:
            options: Table = empty.invoke(context)
            return options
    except click.UsageError as error:
        print(f"error: {_message(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def run(made: click.Command, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command, or a group of them, as the process's own with the arguments of the process, and return the exit
    status. A failure, a usage error and Ctrl-C are one line on standard error, which begins with the command's name."""
    escape_unprintable_output()
    argv = sys.argv[1:] if argv is None else [*argv]
    path = " ".join([name, *argv[:1]]) if isinstance(made, click.Group) else name
    try:
        if "--help" not in argv:
            _check_variables()
        status = int(made.main(argv, name, standalone_mode=False) or 0)
        emit("")  # what is still buffered
        return status
    except click.UsageError as error:
        shown = error.ctx.command_path if error.ctx else name
        print(f"{shown}: error: {_message(error)} (--help lists the options)", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        print(f"{path}: interrupted", file=sys.stderr)
        return 130
    except (LeadwiseError, ValueError, OSError) as error:
        print(f"{path}: {' '.join(line.strip() for line in str(error).splitlines())}", file=sys.stderr)
        return 1


def _click_option(one: Option) -> click.Option:
    text = f"{one.help} [{one.variable}; default: {one.default}]"
    if one.kind.is_switch:
        flags = f"{one.flag}/{one.flag.replace('--', '--no-', 1)}"
        return click.Option([flags], default=None, help=text, type=_SwitchType(one.kind))
    return click.Option([one.flag], default=None, help=text, type=_KindType(one.kind), metavar=one.kind.metavar)


def _check_variables() -> None:
    for name in os.environ:
        if name.startswith(f"{PREFIX}_") and name not in KNOWN_VARIABLES:
            nearest = difflib.get_close_matches(name, KNOWN_VARIABLES, n=1)
            raise click.UsageError(f"{name}: no such variable{f'; did you mean {nearest[0]}?' if nearest else ''}")


def _message(error: click.UsageError) -> str:
    """Describe a usage error in one line that begins with the flag or variable."""
    if isinstance(error, click.NoSuchOption):
        nearest = f"; did you mean {error.possibilities[0]}?" if error.possibilities else ""
        return f"{error.option_name}: no such option{nearest}"
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Option) and error.ctx:
        source = error.ctx.get_parameter_source(error.param.name or "")
        flag = error.param.opts[0]
        variable = f"{PREFIX}_{flag[2:].replace('-', '_').upper()}"
        return f"{variable if source is ParameterSource.ENVIRONMENT else flag}: {error.message}"
    return " ".join(error.format_message().split())
