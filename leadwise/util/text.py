"""Make text from files, and names of files, safe for lines, table cells and any console."""

from __future__ import annotations

import io
import os
import sys


def no_formula(text: str) -> str:
    """Return text for a CSV cell, with an apostrophe before a spreadsheet formula (OWASP, CSV injection)."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def printable(text: str) -> str:
    """Return text with "?" for each character that cannot be printed in a line, such as line ends and stray bytes."""
    return "".join(character if character.isprintable() else "?" for character in text)


def readable(text: str) -> str:
    """Return text that can be encoded as UTF-8: bytes of a file name that are no UTF-8 become escapes (\\udce9)."""
    return text.encode(errors="backslashreplace").decode()


def escape_unprintable_output() -> None:
    """Print characters that the console's encoding lacks as escapes (\\u60a3) from now on, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not a notebook's
            stream.reconfigure(errors="backslashreplace")


def emit(text: str) -> bool:
    """Print text at once; return False if its reader has closed the pipe, as `head` does when it has enough."""
    try:
        print(text, end="", flush=True)
        return True
    except BrokenPipeError:
        discard_output()
        return False


def discard_output() -> None:
    """Discard standard output from now on: what is still buffered would fail once more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
