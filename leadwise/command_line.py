"""Build click commands from the option tables of `options.py`, and read the LEADWISE_ variables through them.

A flag wins over its variable. An unknown flag or variable, or an invalid value, ends the command with one line on
standard error and exit status 2, a failure with status 1, Ctrl-C with 130.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from leadwise.options import KNOWN_VARIABLES, Kind, Option, Options, Origin
from leadwise.util.text import escape_unprintable_output

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


class _Command(click.Command):
    """A command whose option values arrive as one table, the keyword argument `options`."""

    def __init__(self, *arguments: Any, table: type[Options], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.table = table
        self.params += [_click_option(one) for one in table.table()]

    def invoke(self, ctx: click.Context) -> Any:
        """Call the function with the positional arguments and the table."""
        try:
            ctx.params["options"] = self._table(ctx)
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would print an empty line
            raise click.Abort from None

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


def command(table: type[Options], help: str) -> Callable[[Callable[..., int | None]], Callable[..., int]]:
    """Make a click command of a function that takes positional arguments and `options`, an instance of `table`.

    The function returns its exit status, or None for 0. The command returns the status instead of exiting, prints one
    line for a ValueError, OSError or usage error, and reads `sys.argv` if it is called without arguments.
    """

    def decorate(function: Callable[..., int | None]) -> Callable[..., int]:
        name = Path(function.__code__.co_filename).name
        made = _Command(name, callback=function, table=table, help=help, epilog="A flag wins over its variable.")
        made.params = [*reversed(getattr(function, "__click_params__", [])), *made.params]

        @wraps(function)
        def run(argv: Sequence[str] | None = None) -> int:
            return _run(made, sys.argv[1:] if argv is None else argv)

        return run

    return decorate


def from_environment(table: type[Table]) -> Table:
    """Read the options from the LEADWISE_ variables alone, for functions that the organisers' scripts call.

    Exits with status 2 and one line on standard error for an unknown variable or an invalid value.
    """
    empty = _Command("", callback=lambda options: options, table=table)
    try:
        _check_variables()
        with empty.make_context("", [], auto_envvar_prefix=PREFIX) as context:
            options: Table = empty.invoke(context)
            return options
    except click.UsageError as error:
        print(f"error: {_message(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _run(made: click.Command, argv: Sequence[str]) -> int:
    escape_unprintable_output()
    try:
        if "--help" not in argv:
            _check_variables()
        status = made.main([*argv], made.name, standalone_mode=False, auto_envvar_prefix=PREFIX)
        return int(status or 0)
    except click.UsageError as error:
        print(f"{made.name}: error: {_message(error)} (--help lists the options)", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        print(f"{made.name}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"{made.name}: {error}", file=sys.stderr)
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
